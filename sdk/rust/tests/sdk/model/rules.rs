//! What a request has to be: the parts of both providers' references that concern us, as
//! strictly as the providers, who refuse a field that they do not know.

use super::server::Seen;
use serde_json::{Map, Value};

/// The key that tests use.
pub(crate) const KEY: &str = "sk-test-key-that-nobody-sees";

/// Everything that is wrong with a request.
pub(crate) fn problems(seen: &Seen) -> Vec<String> {
    let mut found = Found::default();
    let header = |name: &str| seen.headers.get(name).map_or("", String::as_str);
    found.unless(header("content-type") == "application/json", "content-type");
    found.unless(header("user-agent").starts_with("forerun/"), "user-agent");
    let body = &seen.body;
    found.unless(body["stream"] == true, "stream");
    match seen.path.as_str() {
        "/v1/chat/completions" => {
            let bearer = format!("Bearer {KEY}");
            found.unless(header("authorization") == bearer, "authorization");
            openai(body, &mut found);
        }
        "/v1/messages" => {
            found.unless(header("x-api-key") == KEY, "x-api-key");
            found.unless(
                header("authorization").is_empty(),
                "authorization beside x-api-key",
            );
            found.unless(
                header("anthropic-version") == "2023-06-01",
                "anthropic-version",
            );
            anthropic(body, &mut found);
        }
        other => found.0.push(format!("path {other}")),
    }
    found.0
}

#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn unless(&mut self, fine: bool, what: impl Into<String>) {
        if !fine {
            self.0.push(what.into());
        }
    }

    fn known(&mut self, object: &Value, known: &[&str]) {
        self.unless(object.is_object(), "what should be an object");
        for key in object.as_object().into_iter().flat_map(Map::keys) {
            self.unless(
                known.contains(&key.as_str()),
                format!("unknown field {key}"),
            );
        }
    }
}

fn openai(body: &Value, found: &mut Found) {
    found.known(
        body,
        &[
            "model",
            "stream",
            "stream_options",
            "messages",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "n",
            "temperature",
            "max_completion_tokens",
        ],
    );
    found.unless(body["parallel_tool_calls"] == false, "parallel_tool_calls");
    found.unless(
        body["stream_options"]["include_usage"] == true,
        "stream_options",
    );
    let choices = ["auto", "required", "none"].map(Value::from);
    found.unless(choices.contains(&body["tool_choice"]), "tool_choice");
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    for (index, message) in messages.iter().enumerate() {
        let role = ["system", "user", "assistant"][if index == 0 { 0 } else { 2 - index % 2 }];
        found.unless(
            message["role"] == role,
            format!("message {index} is not the {role}'s"),
        );
        let text = message["content"].as_str().unwrap_or_default();
        found.unless(!text.is_empty(), format!("message {index} is empty"));
    }
    found.unless(
        messages.len() % 2 == 0 && messages.len() >= 2,
        "the last message",
    );
    for tool in body["tools"].as_array().into_iter().flatten() {
        found.unless(tool["type"] == "function", "a tool's type");
        let function = &tool["function"];
        let known = ["name", "description", "parameters"];
        found.known(function, &known);
        definition(function, &function["parameters"], found);
    }
}

fn anthropic(body: &Value, found: &mut Found) {
    found.known(
        body,
        &[
            "model",
            "stream",
            "max_tokens",
            "system",
            "messages",
            "tools",
            "tool_choice",
            "temperature",
        ],
    );
    found.unless(body["max_tokens"].as_u64() > Some(0), "max_tokens");
    let choice = &body["tool_choice"];
    match choice["type"].as_str() {
        Some("none") => {}
        Some("auto" | "any") => {
            found.unless(
                choice["disable_parallel_tool_use"] == true,
                "parallel tool use",
            );
        }
        _ => found.unless(false, "tool_choice"),
    }
    let mut marks = 0;
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    let contents = messages.iter().map(|message| &message["content"]);
    for content in contents.chain([&body["system"]]) {
        let blocks = content.as_array().cloned().unwrap_or_default();
        found.unless(!blocks.is_empty(), "a message without blocks");
        for block in &blocks {
            found.unless(block["type"] == "text", "a block's type");
            let text = block["text"].as_str().unwrap_or_default();
            found.unless(!text.trim().is_empty(), "an empty block");
            marks += usize::from(block["cache_control"]["type"] == "ephemeral");
        }
    }
    found.unless((1..=4).contains(&marks), format!("{marks} cache marks"));
    for (index, message) in messages.iter().enumerate() {
        let role = ["user", "assistant"][index % 2];
        found.unless(
            message["role"] == role,
            format!("message {index} is not the {role}'s"),
        );
    }
    found.unless(messages.len() % 2 == 1, "the last message");
    for tool in body["tools"].as_array().into_iter().flatten() {
        let known = ["name", "description", "input_schema"];
        found.known(tool, &known);
        definition(tool, &tool["input_schema"], found);
    }
}

/// A tool's name, description and schema.
fn definition(tool: &Value, schema: &Value, found: &mut Found) {
    let name = tool["name"].as_str().unwrap_or_default();
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    found.unless((1..=64).contains(&name.len()), "a tool's name");
    found.unless(name.chars().all(legal), format!("the tool's name {name:?}"));
    let description = tool["description"].as_str().unwrap_or_default();
    found.unless(
        !description.is_empty(),
        format!("{name} has no description"),
    );
    found.unless(
        schema["type"] == "object",
        format!("{name} takes no object"),
    );
    let properties = schema["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for required in schema["required"].as_array().into_iter().flatten() {
        let there = required
            .as_str()
            .is_some_and(|key| properties.contains_key(key));
        found.unless(
            there,
            format!("{name} requires {required}, which it does not have"),
        );
    }
}
