//! Whatever a server sends instead of an answer: the agent says what it was, and whether
//! asking again may help.

use super::ask::{BOTH, agent_with, failure, propose, request, says};
use super::rules::KEY;
use super::said::{Said, calls, events};
use super::server::{ModelServer, Respond};
use forerun_sdk::model::CallOptions;
use forerun_sdk::{Agent as _, AgentError};
use serde_json::json;
use std::time::Duration;

/// An error as both protocols tell it.
fn error(kind: &str, code: &str, message: &str) -> String {
    json!({ "type": "error", "error": { "type": kind, "code": code, "message": message } })
        .to_string()
}

fn transient(error: &AgentError, says: &str) {
    assert!(
        matches!(error, AgentError::Transient(text) if text.contains(says)),
        "{error:?}"
    );
}

fn permanent(error: &AgentError, says: &str) {
    assert!(
        matches!(error, AgentError::Permanent(text) if text.contains(says)),
        "{error:?}"
    );
}

#[tokio::test]
async fn too_many_requests_are_a_rate_limit_and_no_failure() {
    for kind in BOTH {
        let body = error("rate_limit_error", "rate_limit_exceeded", "slow down");
        let respond = Respond::status(429, &body).header("retry-after", "7");
        let (error, requests) = failure(kind, vec![respond]).await;
        let limited = AgentError::RateLimited {
            reason: "slow down".to_owned(),
            retry_after: Duration::from_secs(7),
        };
        assert_eq!(error, limited);
        assert_eq!(requests, 1, "who asked decides when to ask again");
    }
}

#[tokio::test]
async fn a_used_up_quota_is_no_rate_limit() {
    let body = error("insufficient_quota", "insufficient_quota", "pay first");
    let (error, _) = failure("openai", vec![Respond::status(429, &body)]).await;
    permanent(&error, "quota of the account is used up: pay first");
}

#[tokio::test]
async fn a_server_that_fails_once_is_asked_again() {
    for kind in BOTH {
        let responses = vec![
            Respond::status(500, "<html>oops</html>"),
            calls(kind, "stat", "{}"),
        ];
        let (answer, server) = propose(kind, responses).await;
        assert_eq!(answer.expect("an answer")[0].action.tool, "stat");
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_server_that_goes_on_failing_is_given_up() {
    let body = error("overloaded_error", "", "overloaded");
    let (error, requests) = failure("anthropic", vec![Respond::status(529, &body)]).await;
    transient(&error, "failed with 529: overloaded");
    assert_eq!(requests, 3);
}

#[tokio::test]
async fn a_server_that_wants_a_long_pause_is_not_waited_for() {
    let respond = Respond::status(503, "{}").header("retry-after", "3600");
    let (error, requests) = failure("openai", vec![respond]).await;
    transient(&error, "failed with 503");
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn a_context_that_is_too_long_is_named_as_such() {
    for (kind, code, message) in [
        (
            "openai",
            "context_length_exceeded",
            "Your messages resulted in 9000 tokens",
        ),
        (
            "anthropic",
            "",
            "prompt is too long: 9000 tokens > 8000 maximum",
        ),
    ] {
        let body = error("invalid_request_error", code, message);
        let (error, requests) = failure(kind, vec![Respond::status(400, &body)]).await;
        permanent(&error, "the context is too long for the model");
        permanent(&error, "9000 tokens");
        assert_eq!(requests, 1);
    }
}

#[tokio::test]
async fn a_key_that_is_refused_is_not_repeated() {
    for kind in BOTH {
        let body = error(
            "authentication_error",
            "invalid_api_key",
            &format!("Wrong key {KEY}!"),
        );
        let (error, _) = failure(kind, vec![Respond::status(401, &body)]).await;
        permanent(&error, "the key is refused with 401: Wrong key …!");
        assert!(!format!("{error:?} {error}").contains(KEY));
    }
}

#[tokio::test]
async fn a_key_in_the_middle_of_what_a_server_sends_is_not_repeated_either() {
    for kind in BOTH {
        let failed = Respond::events([error("invalid_request_error", "", KEY)]);
        let refused = says(kind, KEY);
        for respond in [failed, refused] {
            let (error, _) = failure(kind, vec![respond]).await;
            assert!(!format!("{error:?} {error}").contains(KEY), "{error}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = ModelServer::in_order(vec![calls("openai", "stat", "{}")]).await;
    let there = format!("{}/v1/chat/completions", elsewhere.address());
    let respond = Respond::status(307, "{}").header("location", there);
    let (error, _) = failure("openai", vec![respond]).await;
    permanent(&error, "refused with 307");
    assert_eq!(elsewhere.seen().len(), 0);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_key() {
    let server = ModelServer::in_order(vec![Respond::silence()]).await;
    let agent = agent_with("openai", &server, CallOptions::default());
    drop(server);
    let error = agent
        .propose(&request(0))
        .await
        .expect_err("nobody is there");
    transient(&error, "can not be reached");
    transient(&error, "refused");
}

#[tokio::test]
async fn a_refusal_is_a_failure_with_the_models_words() {
    let delta = json!({ "choices": [{ "index": 0, "delta": { "refusal": "I will not." },
        "finish_reason": "stop" }] });
    let (error, _) = failure("openai", vec![Respond::events([delta.to_string()])]).await;
    permanent(&error, "the model refused: I will not.");
    for kind in BOTH {
        let said = Said {
            text: "No.",
            calls: &[],
            end: "refusal",
        };
        let (error, _) = failure(kind, vec![Respond::events(events(kind, &said))]).await;
        permanent(&error, "the model refused: No.");
    }
}

#[tokio::test]
async fn text_instead_of_a_tool_call_is_a_failure_with_the_text() {
    for kind in BOTH {
        let (error, requests) = failure(kind, vec![says(kind, "Hello,\nhow are you?")]).await;
        transient(&error, "text instead of a tool call: Hello, how are you?");
        assert_eq!(requests, 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_at_the_output_limit_is_no_step() {
    for kind in BOTH {
        let said = Said {
            text: "",
            calls: &[("write_file", r#"{"path":"a","content":"begins"#)],
            end: "limit",
        };
        let (error, _) = failure(kind, vec![Respond::events(events(kind, &said))]).await;
        permanent(&error, "models.call.max_output_tokens");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_asked_for_again_and_then_given_up() {
    for kind in BOTH {
        let said = Said {
            text: "",
            calls: &[("stat", r#"{"path":"a"}"#)],
            end: "tool",
        };
        let begun = events(kind, &said).into_iter().take(4);
        let broken = Respond::events(begun.clone()).broken_off();
        let (answer, server) = propose(kind, vec![broken, calls(kind, "stat", "{}")]).await;
        answer.expect("the second answer");
        assert_eq!(server.seen().len(), 2);
        // It also breaks off if it ends well before everything was said.
        let (error, requests) = failure(kind, vec![Respond::events(begun)]).await;
        transient(&error, "broke the stream off");
        assert_eq!(requests, 3);
    }
}

#[tokio::test]
async fn what_is_no_json_is_named_as_such() {
    for kind in BOTH {
        let respond = Respond::events(["{\"choices\": [", "{}"]);
        let (error, requests) = failure(kind, vec![respond]).await;
        transient(&error, "something malformed");
        assert_eq!(requests, 3);
    }
    let (error, _) = failure("openai", vec![Respond::status(200, "<html>")]).await;
    transient(&error, "something malformed");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let call = CallOptions {
        first_byte_ms: 150,
        idle_ms: 150,
        ..CallOptions::default()
    };
    for kind in BOTH {
        let said = Said {
            text: "I am thinking",
            calls: &[],
            end: "stop",
        };
        let begun = events(kind, &said).into_iter().take(3);
        for (respond, when) in [
            (Respond::silence(), "before it answered"),
            (
                Respond::events([] as [&str; 0]).hanging(),
                "before the first byte",
            ),
            (Respond::events(begun).hanging(), "in the middle"),
        ] {
            let server = ModelServer::in_order(vec![respond]).await;
            let agent = agent_with(kind, &server, call.clone());
            let error = agent.propose(&request(0)).await.expect_err("it hangs");
            transient(&error, when);
            transient(&error, "0.15 s");
            assert_eq!(server.seen().len(), 1);
        }
    }
}

#[tokio::test]
async fn errors_in_the_middle_of_a_stream_are_what_they_say() {
    for kind in BOTH {
        let limited = Respond::events([error("rate_limit_error", "", "slow down")]);
        let (limited, _) = failure(kind, vec![limited]).await;
        assert!(
            matches!(limited, AgentError::RateLimited { .. }),
            "{limited:?}"
        );
        let overloaded = Respond::events([error("overloaded_error", "", "too busy")]);
        let (overloaded, requests) = failure(kind, vec![overloaded]).await;
        transient(&overloaded, "too busy");
        assert_eq!(requests, 3);
    }
}

#[tokio::test]
async fn no_limit_can_be_exceeded() {
    let endless_line = Respond::events(["x".repeat(2 << 20)]);
    let many: Vec<_> = (0..20).map(|_| ("stat", "{}")).collect();
    for kind in BOTH {
        let many = Said {
            text: "",
            calls: &many,
            end: "tool",
        };
        let many = Respond::events(events(kind, &many));
        let long = calls(kind, "write_file", &"x".repeat((1 << 20) + 1));
        let text = "x".repeat(1 << 20);
        let part = match kind {
            "openai" => json!({ "choices": [{ "delta": { "reasoning_content": text } }] }),
            _ => json!({ "type": "content_block_delta",
                "delta": { "type": "thinking_delta", "thinking": text } }),
        };
        // Each line is just short enough, and nothing of it is kept; but it does not end.
        let endless = (0..20).map(|_| part.to_string().replacen("xxxxxxxxxx", "", 20));
        for (respond, what) in [
            (endless_line.clone(), "a line"),
            (many, "more than 16 tool calls"),
            (long, "arguments of more than"),
            (Respond::events(endless), "a reply of more than"),
        ] {
            let (error, requests) = failure(kind, vec![respond]).await;
            permanent(&error, "exceeded a limit");
            permanent(&error, what);
            assert_eq!(requests, 1);
        }
    }
}
