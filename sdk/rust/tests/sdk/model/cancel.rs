//! A call that is not wanted any more closes its connection at once, whatever it waits for.

use super::ask::{BOTH, agent, request};
use super::said::{Said, events};
use super::server::{ModelServer, Respond};
use forerun_sdk::Agent as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the server may have to wait until it sees that it is not wanted any more.
const AT_ONCE: Duration = Duration::from_millis(100);

async fn leaves_at_once(kind: &str, respond: Respond) {
    let server = ModelServer::in_order(vec![respond]).await;
    let agent = Arc::new(agent(kind, &server));
    let call = tokio::spawn({
        let agent = Arc::clone(&agent);
        async move { agent.propose(&request(1)).await }
    });
    server.until("it is asked", |seen| seen.len() == 1).await;
    let cancelled = Instant::now();
    call.abort();
    let seen = server
        .until("the client leaves", |seen| seen[0].left.is_some())
        .await;
    let waited = seen[0].left.expect("it left").duration_since(cancelled);
    assert!(waited < AT_ONCE, "{kind}: {waited:?}");
    assert!(call.await.expect_err("no answer").is_cancelled());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_closes_the_request_before_the_first_byte() {
    for kind in BOTH {
        leaves_at_once(kind, Respond::silence()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_closes_the_request_in_the_middle_of_the_stream() {
    for kind in BOTH {
        let said = Said {
            text: "I am thinking",
            calls: &[],
            end: "stop",
        };
        let begun = events(kind, &said).into_iter().take(3);
        leaves_at_once(kind, Respond::events(begun).hanging()).await;
    }
}
