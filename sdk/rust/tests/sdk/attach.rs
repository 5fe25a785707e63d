//! Attached agents: prefixes by what they add, cancelled calls, streams that break.

use crate::fake::{AgentStream, Fake, refusal, soon, tools_digest};
use forerun_proto::conversions::{entries_to_wire, prefix_to_wire};
use forerun_proto::v1::agent_service_attach_request::Message as FromAgent;
use forerun_proto::v1::agent_service_attach_response::Message as ToAgent;
use forerun_proto::{reason, v1};
use forerun_sdk::{
    Action, Agent, AgentError, AttachOptions, Candidate, Entry, Observation, ObservationStatus,
    PrefixId, Request, Role, async_trait,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tonic::Code;

/// Waits for a permit at each call, then gives the number of steps that came before.
#[derive(Clone)]
struct Counting {
    permits: Arc<Semaphore>,
    started: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    seen: mpsc::UnboundedSender<Request>,
}

/// Counts the futures that ended, however they did.
struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Counting {
    fn new(permits: usize) -> (Counting, mpsc::UnboundedReceiver<Request>) {
        let (seen, requests) = mpsc::unbounded_channel();
        let agent = Counting {
            permits: Arc::new(Semaphore::new(permits)),
            started: Arc::default(),
            dropped: Arc::default(),
            seen,
        };
        (agent, requests)
    }
}

#[async_trait]
impl Agent for Counting {
    async fn propose(&self, request: &Request) -> Result<Vec<Candidate>, AgentError> {
        let _guard = Guard(Arc::clone(&self.dropped));
        self.started.fetch_add(1, Ordering::SeqCst);
        request.progress(11);
        let _ = self.seen.send(request.clone());
        self.permits.acquire().await.expect("never closed").forget();
        let mut candidate = Candidate::new(step_action(request.steps_before()));
        candidate.usage.output_tokens = 5;
        Ok(vec![candidate])
    }

    fn model(&self) -> String {
        "counting".to_owned()
    }
}

fn step_action(number: usize) -> Action {
    Action::parse("read_file", &format!("{{\"n\":{number}}}")).expect("valid")
}

fn step(number: usize) -> Entry {
    Entry::Step {
        action: step_action(number),
        observation: Observation::new(ObservationStatus::Success, "seen"),
    }
}

fn entries(length: usize) -> Vec<Entry> {
    (0..length).map(step).collect()
}

fn prefix(length: usize) -> PrefixId {
    let root = PrefixId::root("task", "how", &tools_digest());
    entries(length)
        .iter()
        .fold(root, |prefix, entry| prefix.extend(entry))
}

/// Asks for step `length` with a whole prefix.
fn whole(call: &str, length: usize) -> v1::Generate {
    v1::Generate {
        call: call.to_owned(),
        role: v1::Role::Target.into(),
        step: u32::try_from(length).expect("small"),
        prefix: prefix(length).to_string(),
        base: None,
        append: prefix_to_wire("task", "how", &entries(length)),
        tools_digest: tools_digest().to_string(),
        width: 1,
        deadline_ms: 60_000,
        idle_deadline_ms: 10_000,
        priority: 0,
    }
}

/// Asks for step `length` with what it adds to the prefix of length `base`.
fn addition(call: &str, base: usize, length: usize) -> v1::Generate {
    v1::Generate {
        base: Some(prefix(base).to_string()),
        append: entries_to_wire(&entries(length)[base..]),
        ..whole(call, length)
    }
}

async fn generated(stream: &mut AgentStream) -> v1::Generated {
    match stream.receive().await {
        FromAgent::Generated(generated) => generated,
        other => panic!("an answer, not {other:?}"),
    }
}

async fn failed(stream: &mut AgentStream) -> v1::Failed {
    match stream.receive().await {
        FromAgent::Failed(failed) => failed,
        other => panic!("a failure, not {other:?}"),
    }
}

async fn cancelled(stream: &mut AgentStream) -> v1::Cancelled {
    match stream.receive().await {
        FromAgent::Cancelled(cancelled) => cancelled,
        other => panic!("an acknowledgement, not {other:?}"),
    }
}

fn cancel(call: &str) -> ToAgent {
    ToAgent::Cancel(v1::Cancel {
        call: call.to_owned(),
    })
}

/// Attaches `agent` as target, and plays the daemon until it is welcomed.
async fn attached(
    fake: &mut Fake,
    agent: impl Agent,
) -> (forerun_sdk::Attachment, AgentStream, v1::Hello) {
    let session = fake.session().await;
    let options = AttachOptions::default().agent_id("agent-1");
    let attach =
        tokio::spawn(async move { session.attach_with(Role::Target, agent, options).await });
    let (stream, hello) = fake.welcomed(&[]).await;
    let attachment = soon(attach).await.expect("no panic").expect("welcomed");
    (attachment, stream, hello)
}

#[tokio::test]
async fn an_agent_introduces_itself_with_the_token_of_its_role() {
    let mut fake = Fake::started();
    let (agent, _requests) = Counting::new(0);
    let (attachment, stream, hello) = attached(&mut fake, agent).await;
    assert_eq!(stream.bearer, "tgt_1");
    assert_eq!(hello.agent, attachment.agent_id());
    assert_eq!(hello.model, "counting");
    assert_eq!(hello.protocol, Some(forerun_proto::PROTOCOL));
    let expected = v1::RoleCapacity {
        role: v1::Role::Target.into(),
        capacity: 8,
    };
    assert_eq!(hello.roles, [expected]);
    assert!(hello.open_calls.is_empty());
}

#[tokio::test]
async fn a_prefix_that_comes_as_an_addition_is_whole_for_the_agent() {
    let mut fake = Fake::started();
    let (agent, mut requests) = Counting::new(9);
    let (_attachment, mut stream, _) = attached(&mut fake, agent).await;
    stream.send(ToAgent::Generate(whole("call_1", 1)));
    stream.send(ToAgent::Generate(addition("call_2", 1, 3)));
    for (call, length) in [("call_1", 1), ("call_2", 3)] {
        let request = soon(requests.recv()).await.expect("asked");
        assert_eq!((request.task(), request.instructions()), ("task", "how"));
        assert_eq!(
            request.entries().cloned().collect::<Vec<_>>(),
            entries(length)
        );
        assert_eq!(request.prefix_id(), prefix(length));
        assert_eq!(request.tools()[0].name, "read_file");
        assert_eq!(request.role(), Role::Target);
        assert_eq!(request.step().0 as usize, length);
        assert!(request.deadline().is_some());
        let answer = generated(&mut stream).await;
        assert_eq!(answer.call, call);
        let action = answer.candidates[0].action.as_ref().expect("one");
        assert_eq!(action.arguments, step_action(length).arguments.as_str());
        assert_eq!(answer.usage.expect("counted").output_tokens, 5);
    }
}

#[tokio::test]
async fn a_prefix_whose_base_is_not_there_is_asked_for_as_a_whole() {
    let mut fake = Fake::started();
    let (agent, mut requests) = Counting::new(9);
    let (_attachment, mut stream, _) = attached(&mut fake, agent).await;
    let rebase = |message| match message {
        FromAgent::Rebase(rebase) => rebase.call,
        other => panic!("a request for the whole, not {other:?}"),
    };
    stream.send(ToAgent::Generate(addition("call_1", 1, 2)));
    assert_eq!(rebase(stream.receive().await), "call_1");
    stream.send(ToAgent::Generate(whole("call_1", 2)));
    assert_eq!(generated(&mut stream).await.call, "call_1");
    assert_eq!(
        soon(requests.recv()).await.expect("asked").entries().len(),
        2
    );
    stream.send(ToAgent::Forget(v1::Forget {
        prefixes: vec![prefix(2).to_string()],
    }));
    stream.send(ToAgent::Generate(addition("call_2", 2, 3)));
    assert_eq!(rebase(stream.receive().await), "call_2");
    // A damaged addition is no reason to ask the agent something else.
    stream.send(ToAgent::Generate(whole("call_2", 3)));
    assert_eq!(generated(&mut stream).await.call, "call_2");
    let mut damaged = addition("call_3", 3, 5);
    damaged.append.truncate(2);
    stream.send(ToAgent::Generate(damaged));
    assert_eq!(rebase(stream.receive().await), "call_3");
}

#[tokio::test]
async fn a_prefix_that_is_not_what_its_digest_says_fails_the_call() {
    let mut fake = Fake::started();
    let (agent, _requests) = Counting::new(9);
    let started = Arc::clone(&agent.started);
    let (_attachment, mut stream, _) = attached(&mut fake, agent).await;
    let mut wrong = whole("call_1", 2);
    wrong.append = prefix_to_wire("another task", "how", &entries(2));
    stream.send(ToAgent::Generate(wrong));
    let failure = failed(&mut stream).await;
    assert_eq!(failure.kind(), v1::FailureKind::Permanent);
    assert!(failure.reason.contains("digest"), "{}", failure.reason);
    assert_eq!(started.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_cancelled_call_is_dropped_acknowledged_and_counted() {
    let mut fake = Fake::started();
    let (agent, mut requests) = Counting::new(0);
    let (dropped, permits) = (Arc::clone(&agent.dropped), Arc::clone(&agent.permits));
    let (_attachment, mut stream, _) = attached(&mut fake, agent).await;
    stream.send(ToAgent::Generate(whole("call_1", 0)));
    soon(requests.recv()).await.expect("asked");
    stream.send(cancel("call_1"));
    let acknowledged = cancelled(&mut stream).await;
    assert_eq!(acknowledged.call, "call_1");
    assert_eq!(acknowledged.usage.expect("counted").output_tokens, 11);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    // One that was answered is not acknowledged; one that is not known is.
    permits.add_permits(1);
    stream.send(ToAgent::Generate(whole("call_2", 0)));
    assert_eq!(generated(&mut stream).await.call, "call_2");
    stream.send(cancel("call_2"));
    stream.send(cancel("call_9"));
    assert_eq!(cancelled(&mut stream).await.call, "call_9");
}

#[tokio::test]
async fn a_call_that_is_asked_twice_runs_once() {
    let mut fake = Fake::started();
    let (agent, mut requests) = Counting::new(0);
    let (started, permits) = (Arc::clone(&agent.started), Arc::clone(&agent.permits));
    let (_attachment, mut stream, _) = attached(&mut fake, agent).await;
    stream.send(ToAgent::Generate(whole("call_1", 0)));
    soon(requests.recv()).await.expect("asked");
    stream.send(ToAgent::Generate(whole("call_1", 0)));
    // Messages are read in order: once this one is asked, the second has been read.
    stream.send(ToAgent::Generate(whole("call_2", 1)));
    assert_eq!(
        soon(requests.recv()).await.expect("asked").steps_before(),
        1
    );
    permits.add_permits(9);
    let mut answered = vec![
        generated(&mut stream).await.call,
        generated(&mut stream).await.call,
    ];
    answered.sort();
    assert_eq!(answered, ["call_1", "call_2"]);
    assert_eq!(started.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_call_survives_a_broken_stream_and_is_answered_on_the_next() {
    let mut fake = Fake::started();
    let (agent, mut requests) = Counting::new(0);
    let (started, permits) = (Arc::clone(&agent.started), Arc::clone(&agent.permits));
    let (_attachment, stream, _) = attached(&mut fake, agent).await;
    stream.send(ToAgent::Generate(whole("call_1", 0)));
    soon(requests.recv()).await.expect("asked");
    stream.break_off();
    let (mut stream, hello) = fake.welcomed(&["call_1"]).await;
    assert_eq!(hello.agent, "agent-1");
    assert_eq!(hello.open_calls, ["call_1"]);
    permits.add_permits(1);
    assert_eq!(generated(&mut stream).await.call, "call_1");
    assert_eq!(started.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_that_was_lost_with_its_stream_is_given_again_not_made_again() {
    let mut fake = Fake::started();
    let (agent, _requests) = Counting::new(9);
    let started = Arc::clone(&agent.started);
    let (_attachment, mut stream, _) = attached(&mut fake, agent).await;
    stream.send(ToAgent::Generate(whole("call_1", 0)));
    let first = generated(&mut stream).await;
    stream.break_off();
    let (mut stream, hello) = fake.welcomed(&["call_1"]).await;
    assert_eq!(hello.open_calls, ["call_1"]);
    assert_eq!(generated(&mut stream).await, first);
    // The daemon may also ask again for what it does not have.
    stream.send(ToAgent::Generate(whole("call_1", 0)));
    assert_eq!(generated(&mut stream).await, first);
    assert_eq!(started.load(Ordering::SeqCst), 1);
    // What it does not wait for any more is forgotten.
    stream.break_off();
    fake.welcomed(&[]).await.0.break_off();
    let (_stream, hello) = fake.welcomed(&[]).await;
    assert!(hello.open_calls.is_empty(), "{:?}", hello.open_calls);
}

#[tokio::test]
async fn a_call_that_ended_while_the_stream_was_broken_is_stopped() {
    let mut fake = Fake::started();
    let (agent, mut requests) = Counting::new(0);
    let dropped = Arc::clone(&agent.dropped);
    let (_attachment, stream, _) = attached(&mut fake, agent).await;
    stream.send(ToAgent::Generate(whole("call_1", 0)));
    soon(requests.recv()).await.expect("asked");
    stream.break_off();
    let (mut stream, _) = fake.welcomed(&[]).await;
    assert_eq!(cancelled(&mut stream).await.call, "call_1");
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_agent_outlives_a_daemon_that_is_away_for_a_while() {
    let mut fake = Fake::started();
    let (agent, _requests) = Counting::new(9);
    let (attachment, stream, _) = attached(&mut fake, agent).await;
    fake.stop();
    drop(stream);
    fake.start();
    let (mut stream, _) = fake.welcomed(&[]).await;
    stream.send(ToAgent::Generate(whole("call_1", 0)));
    assert_eq!(generated(&mut stream).await.call, "call_1");
    assert!(!attachment.is_over());
}

#[tokio::test]
async fn a_daemon_that_goes_silent_is_left_for_a_new_stream() {
    let mut fake = Fake::started();
    let session = fake.session().await;
    let (agent, _requests) = Counting::new(0);
    let attach = tokio::spawn(async move { session.attach(Role::Target, agent).await });
    let mut silent = fake.attached().await;
    silent.hello().await;
    silent.welcome_with(&[], 50);
    soon(attach).await.expect("no panic").expect("welcomed");
    // It keeps saying that it is there, and leaves because nothing comes back.
    assert!(matches!(
        silent.receive_any().await,
        Some(FromAgent::Heartbeat(_))
    ));
    let (_stream, hello) = fake.welcomed(&[]).await;
    assert!(hello.agent.starts_with("target-"));
}

#[tokio::test]
async fn when_the_session_needs_it_no_more_the_agent_ends() {
    let mut fake = Fake::started();
    let (agent, _requests) = Counting::new(0);
    let (attachment, stream, _) = attached(&mut fake, agent).await;
    stream.send(ToAgent::Closing(v1::Closing {
        reason: "the plan ended".to_owned(),
    }));
    assert_eq!(
        soon(attachment.ended()).await.expect("in peace"),
        "the plan ended"
    );
}

#[tokio::test]
async fn an_agent_that_leaves_fails_its_calls_at_once() {
    let mut fake = Fake::started();
    let (agent, mut requests) = Counting::new(0);
    let (attachment, mut stream, _) = attached(&mut fake, agent).await;
    stream.send(ToAgent::Generate(whole("call_1", 0)));
    soon(requests.recv()).await.expect("asked");
    let detach = tokio::spawn(attachment.detach());
    let failure = failed(&mut stream).await;
    assert_eq!(failure.kind(), v1::FailureKind::Transient);
    assert_eq!(stream.receive_any().await, None);
    drop(stream);
    soon(detach).await.expect("no panic").expect("in peace");
}

#[tokio::test]
async fn an_agent_that_is_refused_at_first_or_later_says_why() {
    let mut fake = Fake::started();
    let refused = refusal(
        Code::PermissionDenied,
        reason::TOKEN_NOT_ALLOWED,
        "the token is not one of the target",
        "use the target's token",
    );
    fake.state().attach_refusal = Some(refused.clone());
    let session = fake.session().await;
    let (agent, _requests) = Counting::new(0);
    let error = session
        .attach(Role::Target, agent.clone())
        .await
        .expect_err("refused");
    assert_eq!(error.code(), reason::TOKEN_NOT_ALLOWED);
    fake.state().attach_refusal = None;
    let (attachment, stream, _) = attached(&mut fake, agent).await;
    fake.state().attach_refusal = Some(refused);
    stream.break_off();
    let error = soon(attachment.ended()).await.expect_err("refused");
    assert_eq!(error.code(), reason::TOKEN_NOT_ALLOWED);
}

/// Fails in the way that its step says.
struct Failing;

#[async_trait]
impl Agent for Failing {
    async fn propose(&self, request: &Request) -> Result<Vec<Candidate>, AgentError> {
        match request.steps_before() {
            0 => Err(AgentError::Transient("try again".to_owned())),
            1 => Err(AgentError::RateLimited {
                reason: "slower".to_owned(),
                retry_after: Duration::from_millis(1500),
            }),
            2 => Err(AgentError::Permanent("never".to_owned())),
            3 => panic!("a bug in an agent"),
            4 => Ok(Vec::new()),
            _ => Ok(vec![Candidate::new(step_action(0)); 3]),
        }
    }
}

#[tokio::test]
async fn every_way_to_fail_ends_its_call_and_no_other() {
    use v1::FailureKind::{Permanent, RateLimited, Transient};
    let mut fake = Fake::started();
    let (_attachment, mut stream, _) = attached(&mut fake, Failing).await;
    let expected = [
        (Transient, "try again", 0),
        (RateLimited, "slower", 1500),
        (Permanent, "never", 0),
        (Permanent, "the agent panicked", 0),
        (Permanent, "the agent gave no candidate", 0),
    ];
    for (length, (kind, reason, retry_after_ms)) in expected.into_iter().enumerate() {
        stream.send(ToAgent::Generate(whole(&format!("call_{length}"), length)));
        let failure = failed(&mut stream).await;
        assert_eq!(failure.call, format!("call_{length}"));
        assert_eq!(failure.kind(), kind);
        assert_eq!(failure.reason, reason);
        assert_eq!(failure.retry_after_ms, retry_after_ms);
    }
    let mut two = whole("call_5", 5);
    two.width = 2;
    stream.send(ToAgent::Generate(two));
    assert_eq!(generated(&mut stream).await.candidates.len(), 2);
}

#[tokio::test]
async fn progress_is_reported_well_within_the_idle_deadline() {
    let mut fake = Fake::started();
    let (agent, mut requests) = Counting::new(0);
    let (_attachment, mut stream, _) = attached(&mut fake, agent).await;
    let mut generate = whole("call_1", 0);
    generate.idle_deadline_ms = 200;
    stream.send(ToAgent::Generate(generate));
    let request = soon(requests.recv()).await.expect("asked");
    for output_tokens in [11, 20] {
        request.progress(output_tokens);
        match stream.receive().await {
            FromAgent::Progress(progress) => {
                assert_eq!(progress.call, "call_1");
                assert_eq!(progress.output_tokens, output_tokens);
            }
            other => panic!("progress, not {other:?}"),
        }
    }
}
