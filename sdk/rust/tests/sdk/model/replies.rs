//! What a reply becomes.

use super::ask::{BOTH, agent, propose, request};
use super::said::{Said, calls, events};
use super::server::{ModelServer, Respond};
use forerun_sdk::{Agent as _, Usage};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_tool_call_that_is_split_over_chunks_becomes_the_step_and_is_paid() {
    for kind in BOTH {
        for size in [1, 7, 10_000] {
            let arguments = r#"{"path": "näme.txt"}"#;
            let respond = calls(kind, "read_file", arguments).cut(size);
            let (candidates, server) = propose(kind, vec![respond]).await;
            let candidates = candidates.expect("an answer");
            assert_eq!(candidates.len(), 1);
            assert_eq!(
                candidates[0].action.to_string(),
                r#"read_file {"path":"näme.txt"}"#
            );
            // 600 of 1000 prompt tokens came from the cache, at a quarter of the price.
            let paid = Usage {
                input_tokens: 1_000,
                cached_input_tokens: 600,
                output_tokens: 50,
                cost_micros: 400 * 2 + 300 + 50 * 8,
            };
            assert_eq!(candidates[0].usage, paid, "{kind} in chunks of {size}");
            assert_eq!(server.seen().len(), 1);
        }
    }
}

#[tokio::test]
async fn reasons_before_the_call_become_the_note() {
    for kind in BOTH {
        let said = Said {
            text: "I have to look first.",
            calls: &[("read_file", r#"{"path":"a"}"#), ("write_file", "{}")],
            end: "tool",
        };
        let respond = Respond::events(events(kind, &said));
        let (candidates, _server) = propose(kind, vec![respond]).await;
        let candidate = candidates.expect("an answer").remove(0);
        assert_eq!(candidate.action.tool, "read_file");
        assert_eq!(
            candidate.note,
            "[of 2 tool calls only the first counts] I have to look first."
        );
    }
}

#[tokio::test]
async fn a_tool_that_does_not_exist_and_arguments_that_are_no_json_stay_a_step() {
    for kind in BOTH {
        let (unknown, _server) = propose(kind, vec![calls(kind, "fly", "")]).await;
        assert_eq!(unknown.expect("an answer")[0].action.to_string(), "fly {}");
        let (broken, _server) = propose(kind, vec![calls(kind, "read_file", "{\"pa")]).await;
        let action = &broken.expect("an answer")[0].action;
        assert_eq!(action.arguments.to_value(), json!("{\"pa"));
    }
}

#[tokio::test]
async fn a_connection_is_used_for_the_next_question_too() {
    let slow = calls("openai", "stat", "{}").after(Duration::from_millis(20));
    let server = ModelServer::in_order(vec![slow]).await;
    let agent = agent("openai", &server);
    for steps in 0..3 {
        agent.propose(&request(steps)).await.expect("an answer");
    }
    assert_eq!(server.seen().len(), 3);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_stream_may_end_without_saying_so_once_all_is_said() {
    let said = Said {
        text: "",
        calls: &[("stat", "{}")],
        end: "tool",
    };
    let mut events = events("openai", &said);
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let (answer, _server) = propose("openai", vec![Respond::events(events)]).await;
    assert_eq!(answer.expect("an answer")[0].action.tool, "stat");
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion",
        "choices": [{
            "index": 0, "finish_reason": "tool_calls",
            "message": { "role": "assistant", "content": null, "tool_calls": [{
                "id": "call_1", "type": "function",
                "function": { "name": "stat", "arguments": "{\"path\":\"a\"}" },
            }]},
        }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 5 },
    });
    let respond = Respond::status(200, &body.to_string());
    let (answer, _server) = propose("openai", vec![respond]).await;
    let candidate = answer.expect("an answer").remove(0);
    assert_eq!(candidate.action.to_string(), r#"stat {"path":"a"}"#);
    assert_eq!(candidate.usage.input_tokens, 10);
}
