//! What a request says. That it is one at all is checked by the server.

use super::ask::{BOTH, agent, agent_with, propose, request};
use super::said::calls;
use super::server::ModelServer;
use forerun_sdk::Agent as _;
use forerun_sdk::model::CallOptions;
use serde_json::{Value, json};

fn names(body: &Value) -> Vec<&str> {
    let tools = body["tools"].as_array().expect("tools");
    tools
        .iter()
        .map(|tool| tool.get("function").unwrap_or(tool))
        .map(|tool| tool["name"].as_str().expect("a name"))
        .collect()
}

#[tokio::test]
async fn the_tools_are_offered_with_the_reserved_ones_and_one_has_to_be_called() {
    for kind in BOTH {
        let (answer, server) = propose(kind, vec![calls(kind, "stat", "{}")]).await;
        answer.expect("an answer");
        let body = server.seen().remove(0).body;
        assert_eq!(
            names(&body),
            ["read_file", "write_file", "terminate", "ask_user"]
        );
        match kind {
            "openai" => assert_eq!(body["tool_choice"], "required"),
            _ => assert_eq!(body["tool_choice"]["type"], "any"),
        }
        assert_eq!(body.get("n"), None);
        assert_eq!(body.get("temperature"), None);
    }
}

#[tokio::test]
async fn the_prompt_of_a_longer_plan_begins_like_that_of_a_shorter_one() {
    for kind in BOTH {
        let server = ModelServer::in_order(vec![calls(kind, "stat", "{}")]).await;
        let agent = agent(kind, &server);
        for steps in [2, 3] {
            agent.propose(&request(steps)).await.expect("an answer");
        }
        let seen = server.seen();
        let (short, long) = (&seen[0].body, &seen[1].body);
        assert_eq!(short["tools"], long["tools"]);
        match kind {
            "openai" => {
                assert_eq!(short["messages"][0], long["messages"][0]);
                let text = |body: &Value| body["messages"][1]["content"].to_string();
                let (short, long) = (text(short), text(long));
                let (stable, _ask) = short.split_once("# Step 2").expect("the question");
                assert!(stable.contains("content 1") && long.starts_with(stable));
            }
            _ => {
                assert_eq!(short["system"], long["system"]);
                let blocks = |body: &Value| {
                    let blocks = &body["messages"][0]["content"];
                    blocks.as_array().cloned().expect("blocks")
                };
                let (short, long) = (blocks(short), blocks(long));
                // The task, two or three steps, the question.
                assert_eq!((short.len(), long.len()), (4, 5));
                let texts = |blocks: &[Value]| {
                    let texts = blocks.iter().map(|block| block["text"].clone());
                    texts.collect::<Vec<_>>()
                };
                assert_eq!(texts(&short[..3]), texts(&long[..3]));
                // Each is to be cached up to its last step.
                let ephemeral = json!({ "type": "ephemeral" });
                assert_eq!(short[2]["cache_control"], ephemeral);
                assert_eq!(long[3]["cache_control"], ephemeral);
                assert_eq!(long[2].get("cache_control"), None);
            }
        }
    }
}

#[tokio::test]
async fn what_is_configured_is_sent() {
    for kind in BOTH {
        let server = ModelServer::in_order(vec![calls(kind, "stat", "{}")]).await;
        let call = CallOptions {
            max_output_tokens: Some(77),
            temperature: Some(0.5),
            ..CallOptions::default()
        };
        let agent = agent_with(kind, &server, call);
        agent.propose(&request(0)).await.expect("an answer");
        let body = server.seen().remove(0).body;
        assert_eq!(body["temperature"], 0.5);
        let limit = match kind {
            "openai" => "max_completion_tokens",
            _ => "max_tokens",
        };
        assert_eq!(body[limit], 77);
    }
}
