//! What a model says, as the events of either protocol.

use super::server::Respond;
use serde_json::{Value, json};

/// A reply as a stream of events.
pub(crate) struct Said<'a> {
    pub(crate) text: &'a str,
    pub(crate) calls: &'a [(&'a str, &'a str)],
    pub(crate) end: &'a str,
}

/// One tool call and nothing else.
pub(crate) fn calls(kind: &str, tool: &str, arguments: &str) -> Respond {
    Respond::events(events(
        kind,
        &Said {
            text: "",
            calls: &[(tool, arguments)],
            end: "tool",
        },
    ))
}

/// The events of a reply: 1000 prompt tokens, 600 of them cached; 50 generated.
pub(crate) fn events(kind: &str, said: &Said<'_>) -> Vec<String> {
    let events = match kind.split('+').next() {
        Some("openai") => openai(said),
        _ => anthropic(said),
    };
    let mut texts: Vec<String> = events.iter().map(Value::to_string).collect();
    if kind.starts_with("openai") {
        texts.push("[DONE]".to_owned());
    }
    texts
}

/// In the middle, where a character begins.
fn halves(text: &str) -> (&str, &str) {
    text.split_at(text.ceil_char_boundary(text.len() / 2))
}

fn openai(said: &Said<'_>) -> Vec<Value> {
    let chunk = |delta: Value, end: Value| {
        json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "test-model",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": end }],
            "usage": null,
        })
    };
    let mut chunks = vec![chunk(
        json!({ "role": "assistant", "content": null }),
        Value::Null,
    )];
    if !said.text.is_empty() {
        let (one, two) = halves(said.text);
        chunks.push(chunk(json!({ "content": one }), Value::Null));
        chunks.push(chunk(json!({ "content": two }), Value::Null));
    }
    for (index, (tool, arguments)) in said.calls.iter().enumerate() {
        let (one, two) = halves(arguments);
        let first = json!({
            "index": index, "id": format!("call_{index}"), "type": "function",
            "function": { "name": tool, "arguments": "" },
        });
        chunks.push(chunk(json!({ "tool_calls": [first] }), Value::Null));
        for part in [one, two] {
            let next = json!({ "index": index, "function": { "arguments": part } });
            chunks.push(chunk(json!({ "tool_calls": [next] }), Value::Null));
        }
    }
    let end = match said.end {
        "tool" => "tool_calls",
        "limit" => "length",
        "refusal" => "content_filter",
        other => other,
    };
    chunks.push(chunk(json!({}), end.into()));
    chunks.push(json!({
        "choices": [],
        "usage": {
            "prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050,
            "prompt_tokens_details": { "cached_tokens": 600 },
        },
    }));
    chunks
}

fn anthropic(said: &Said<'_>) -> Vec<Value> {
    let mut events = vec![
        json!({ "type": "message_start", "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "test-model",
            "content": [], "stop_reason": null,
            "usage": {
                "input_tokens": 300, "cache_read_input_tokens": 600,
                "cache_creation_input_tokens": 100, "output_tokens": 1,
            },
        }}),
        json!({ "type": "ping" }),
    ];
    let mut index = 0;
    let mut block = |start: Value, deltas: Vec<Value>| {
        events
            .push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
        events.extend(
            deltas.into_iter().map(
                |delta| json!({ "type": "content_block_delta", "index": index, "delta": delta }),
            ),
        );
        events.push(json!({ "type": "content_block_stop", "index": index }));
        index += 1;
    };
    if !said.text.is_empty() {
        let (one, two) = halves(said.text);
        let deltas = [one, two].map(|text| json!({ "type": "text_delta", "text": text }));
        block(json!({ "type": "text", "text": "" }), deltas.to_vec());
    }
    for (number, (tool, arguments)) in said.calls.iter().enumerate() {
        let (one, two) = halves(arguments);
        let start = json!({
            "type": "tool_use", "id": format!("toolu_{number}"), "name": tool, "input": {},
        });
        let deltas =
            ["", one, two].map(|part| json!({ "type": "input_json_delta", "partial_json": part }));
        block(start, deltas.to_vec());
    }
    let end = match said.end {
        "tool" => "tool_use",
        "limit" => "max_tokens",
        "stop" => "end_turn",
        other => other,
    };
    let usage = json!({ "output_tokens": 50 });
    let delta = json!({ "stop_reason": end, "stop_sequence": null });
    events.push(json!({ "type": "message_delta", "delta": delta, "usage": usage }));
    events.push(json!({ "type": "message_stop" }));
    events
}
