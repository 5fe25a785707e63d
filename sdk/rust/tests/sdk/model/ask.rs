//! Asking a model, in both protocols: the same tests run on either.

use super::rules::KEY;
use super::said::{Said, events};
use super::server::{ModelServer, Respond};
use forerun_sdk::model::{CallOptions, ModelAgent, ModelOptions, Price};
use forerun_sdk::{
    Action, Agent as _, AgentError, Candidate, Digest, Entry, Observation, ObservationStatus,
    Request, Role, ToolDescription,
};
use serde_json::json;

pub(crate) const BOTH: [&str; 2] = ["openai", "anthropic"];

/// The agent for a server.
pub(crate) fn agent(kind: &str, server: &ModelServer) -> ModelAgent {
    agent_with(kind, server, CallOptions::default())
}

pub(crate) fn agent_with(kind: &str, server: &ModelServer, call: CallOptions) -> ModelAgent {
    let path = if kind.starts_with("openai") {
        "/v1"
    } else {
        ""
    };
    let spec = format!("{kind}:test-model@{}{path}", server.address());
    let price = Price {
        input: 2.0,
        output: 8.0,
        cached_input: Some(0.5),
        cache_write: None,
    };
    let options = ModelOptions {
        call,
        prices: [("test-model".to_owned(), price)].into(),
    };
    ModelAgent::from_variables(&spec.parse().expect("valid"), &options, |name| {
        name.ends_with("_API_KEY").then(|| KEY.to_owned())
    })
    .expect("an agent")
}

/// A question after so many steps.
pub(crate) fn request(steps: usize) -> Request {
    let entries = (0..steps)
        .map(|index| Entry::Step {
            action: Action::parse(
                "read_file",
                &json!({ "path": format!("{index}.txt") }).to_string(),
            )
            .expect("valid"),
            observation: Observation::new(ObservationStatus::Success, format!("content {index}\n")),
        })
        .collect();
    let tool = |name: &str| ToolDescription {
        name: name.to_owned(),
        title: String::new(),
        description: format!("What {name} does."),
        input_schema: json!({
            "type": "object",
            "properties": { "path": { "type": "string" } },
            "required": ["path"],
        }),
        output_schema: None,
        annotations: Default::default(),
        deterministic: true,
        speculation: forerun_types::Speculation::Pure,
        component: Digest::of("component"),
        client: false,
    };
    let tools = vec![tool("write_file"), tool("read_file")];
    Request::new(Role::Target, "Tidy up.", "", entries, tools)
}

/// Asks once.
pub(crate) async fn propose(
    kind: &str,
    responses: Vec<Respond>,
) -> (Result<Vec<Candidate>, AgentError>, ModelServer) {
    let server = ModelServer::in_order(responses).await;
    let answer = agent(kind, &server).propose(&request(1)).await;
    (answer, server)
}

/// Asks once, and returns why there is no answer.
pub(crate) async fn failure(kind: &str, responses: Vec<Respond>) -> (AgentError, usize) {
    let (answer, server) = propose(kind, responses).await;
    (answer.expect_err("no answer"), server.seen().len())
}

/// Text and nothing else.
pub(crate) fn says(kind: &str, text: &str) -> Respond {
    Respond::events(events(
        kind,
        &Said {
            text,
            calls: &[],
            end: "stop",
        },
    ))
}
