//! The planning styles: which questions are asked, in which order, and what counts.

use super::ask::{agent, request, says};
use super::said::{Said, calls, events};
use super::server::{ModelServer, Respond, Seen};
use forerun_sdk::{Agent as _, Candidate};
use serde_json::Value;

const STEP: &str = r#"{"path":"a"}"#;

async fn ask(spec: &str, responses: Vec<Respond>) -> (Candidate, Vec<Seen>) {
    let server = ModelServer::in_order(responses).await;
    let mut answer = agent(spec, &server)
        .propose(&request(1))
        .await
        .expect("an answer");
    (answer.remove(0), server.seen())
}

fn reasons_and_calls(spec: &str, text: &str, tool: &str) -> Respond {
    Respond::events(events(
        spec,
        &Said {
            text,
            calls: &[(tool, STEP)],
            end: "tool",
        },
    ))
}

/// Whether a tool has to be called, can be, or must not be, as either protocol says it.
fn choice(seen: &Seen) -> &str {
    let choice = &seen.body["tool_choice"];
    match choice["type"].as_str().or(choice.as_str()) {
        Some("any") => "required",
        Some(choice) => choice,
        None => "missing",
    }
}

/// The texts of the messages, without the system's.
fn messages(seen: &Seen) -> Vec<String> {
    let messages = seen.body["messages"].as_array().expect("messages");
    messages
        .iter()
        .filter(|message| message["role"] != "system")
        .map(|message| match &message["content"] {
            Value::String(text) => text.clone(),
            blocks => blocks
                .as_array()
                .expect("blocks")
                .iter()
                .filter_map(|block| block["text"].as_str())
                .collect(),
        })
        .collect()
}

#[tokio::test]
async fn chain_of_thought_reasons_and_acts_in_one_answer() {
    for spec in ["openai+cot", "anthropic+cot"] {
        let respond = reasons_and_calls(spec, "First, look.", "read_file");
        let (candidate, seen) = ask(spec, vec![respond]).await;
        assert_eq!(candidate.action.tool, "read_file");
        assert_eq!(candidate.note, "First, look.");
        assert_eq!(candidate.usage.output_tokens, 50);
        assert_eq!(seen.len(), 1);
        assert_eq!(choice(&seen[0]), "auto");
        assert!(messages(&seen[0])[0].contains("think step by step"));
    }
}

#[tokio::test]
async fn a_model_that_only_reasons_is_asked_once_more_and_has_to_act() {
    for spec in ["openai+cot", "anthropic+cot"] {
        let responses = vec![says(spec, "First, look."), calls(spec, "read_file", STEP)];
        let (candidate, seen) = ask(spec, responses).await;
        assert_eq!(candidate.action.tool, "read_file");
        assert_eq!(candidate.note, "First, look.");
        assert_eq!(candidate.usage.output_tokens, 100);
        let choices: Vec<_> = seen.iter().map(choice).collect();
        assert_eq!(choices, ["auto", "required"]);
        let messages = messages(&seen[1]);
        assert_eq!(messages.len(), 3);
        assert_eq!(messages[1], "First, look.");
    }
}

#[tokio::test]
async fn react_thinks_in_one_call_and_acts_in_another() {
    for spec in ["openai+react", "anthropic+react"] {
        let responses = vec![says(spec, "Look at a."), calls(spec, "read_file", STEP)];
        let (candidate, seen) = ask(spec, responses).await;
        assert_eq!(candidate.action.tool, "read_file");
        assert_eq!(candidate.usage.input_tokens, 2_000);
        let choices: Vec<_> = seen.iter().map(choice).collect();
        assert_eq!(choices, ["none", "required"]);
        assert_eq!(messages(&seen[1])[1], "Look at a.");
    }
}

#[tokio::test]
async fn a_debate_has_two_agents_and_two_rounds_and_the_first_decides() {
    for spec in ["openai+debate", "anthropic+debate"] {
        let server = ModelServer::answering(move |seen| {
            let messages = messages(seen);
            let careful = messages[0].contains("what could go wrong");
            let (text, tool) = match (messages.len(), careful) {
                (1, false) => ("Write it at once.", "write_file"),
                (1, true) => ("Look at it first.", "read_file"),
                (_, false) => ("The other is right.", "read_file"),
                (_, true) => ("I was too careful.", "write_file"),
            };
            reasons_and_calls(spec, text, tool)
        })
        .await;
        let mut answer = agent(spec, &server)
            .propose(&request(1))
            .await
            .expect("an answer");
        let candidate = answer.remove(0);
        assert_eq!(candidate.action.tool, "read_file");
        assert_eq!(candidate.note, "The other is right.");
        assert_eq!(candidate.usage.output_tokens, 200);
        let seen = server.seen();
        assert_eq!(seen.len(), 4);
        let revised: Vec<_> = seen[2..].iter().map(messages).collect();
        for messages in &revised {
            let careful = messages[0].contains("what could go wrong");
            let (own, other) = match careful {
                false => ("I propose: write_file", "Look at it first."),
                true => ("I propose: read_file", "Write it at once."),
            };
            assert!(messages[1].contains(own), "{messages:?}");
            assert!(messages[2].contains(other), "{messages:?}");
        }
    }
}
