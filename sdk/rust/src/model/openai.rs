//! OpenAI's chat completions (`POST /chat/completions`, streamed), as OpenAI and the many
//! servers that follow it speak them.
//!
//! Read leniently where servers differ: a usage that is missing, a stream that ends
//! without `[DONE]`, a whole body instead of a stream.

use super::error::CallError;
use super::options::{CallOptions, Tokens};
use super::turn::{ANSWERS_MAX, Answer, End, Fold, Reply, Speaker, ToolChoice, Turn, body};
use serde::Deserialize;
use serde_json::{Value, json};

/// The request's body. Prompts are cached by the provider, by equal beginnings.
pub(super) fn request(turn: &Turn<'_>, model: &str, options: &CallOptions) -> Value {
    let mut first = turn.stable.concat();
    first.push_str(turn.ask);
    let mut messages = vec![
        json!({ "role": "system", "content": turn.system }),
        json!({ "role": Speaker::User.as_str(), "content": first }),
    ];
    messages.extend(
        turn.rest
            .iter()
            .map(|(speaker, text)| json!({ "role": speaker.as_str(), "content": text })),
    );
    let tools = turn.tools.iter().map(|tool| {
        json!({
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.schema,
            },
        })
    });
    let mut body = body(model, options);
    body["stream_options"] = json!({ "include_usage": true });
    body["messages"] = messages.into();
    body["tools"] = tools.collect();
    body["parallel_tool_calls"] = false.into();
    body["tool_choice"] = match turn.choice {
        ToolChoice::Auto => "auto",
        ToolChoice::Required => "required",
        ToolChoice::None => "none",
    }
    .into();
    if turn.width > 1 {
        body["n"] = turn.width.min(ANSWERS_MAX).into();
    }
    if let Some(max) = options.max_output_tokens {
        body["max_completion_tokens"] = max.into();
    }
    body
}

/// Folds the chunks of a stream.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    reply: Reply,
    generated: usize,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: usize,
    /// Of a body that is no stream: `message`.
    #[serde(alias = "message")]
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
    /// Not OpenAI's, but what many servers send while a model reasons.
    reasoning_content: Option<String>,
    tool_calls: Option<Vec<CallDelta>>,
}

#[derive(Deserialize)]
struct CallDelta {
    index: Option<usize>,
    id: Option<String>,
    function: Option<FunctionDelta>,
}

#[derive(Deserialize)]
struct FunctionDelta {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Deserialize)]
struct PromptTokens {
    cached_tokens: Option<u64>,
}

impl Fold for Chunks {
    fn event(&mut self, data: &str) -> Result<bool, CallError> {
        if data == "[DONE]" {
            return Ok(true);
        }
        let chunk: Chunk = serde_json::from_str(data)
            .map_err(|error| CallError::Malformed(format!("a chunk: {error}")))?;
        if let Some(error) = chunk.error {
            return Err(super::http::failed_stream(&error));
        }
        if let Some(usage) = chunk.usage {
            let details = usage.prompt_tokens_details;
            self.reply.tokens = Tokens {
                input: usage.prompt_tokens,
                cached: details
                    .and_then(|details| details.cached_tokens)
                    .unwrap_or(0),
                written: 0,
                output: usage.completion_tokens,
            };
        }
        for choice in chunk.choices {
            self.choice(choice)?;
        }
        Ok(false)
    }

    fn generated(&self) -> usize {
        self.generated
    }

    fn finish(self: Box<Self>) -> Reply {
        self.reply
    }
}

impl Chunks {
    fn choice(&mut self, choice: Choice) -> Result<(), CallError> {
        if choice.index >= ANSWERS_MAX as usize {
            return Err(CallError::Limit(format!(
                "a reply has more than {ANSWERS_MAX} answers"
            )));
        }
        if self.reply.answers.len() <= choice.index {
            self.reply
                .answers
                .resize_with(choice.index + 1, Answer::default);
        }
        let answer = &mut self.reply.answers[choice.index];
        if let Some(delta) = choice.delta {
            if let Some(text) = &delta.content {
                self.generated += text.len();
                answer.add_text(text)?;
            }
            if let Some(text) = &delta.refusal {
                answer.add_refusal(text)?;
            }
            if let Some(text) = &delta.reasoning_content {
                self.generated += text.len();
            }
            for call in delta.tool_calls.into_iter().flatten() {
                self.generated += add_call(answer, call)?;
            }
        }
        if let Some(reason) = choice.finish_reason {
            answer.end = Some(match reason.as_str() {
                "length" => End::OutputLimit,
                "content_filter" => End::Refused,
                _ => End::Complete,
            });
        }
        Ok(())
    }
}

/// Adds a part of a tool call, and returns how many bytes were generated.
fn add_call(answer: &mut Answer, delta: CallDelta) -> Result<usize, CallError> {
    let begins = delta.id.as_ref().is_some_and(|id| !id.is_empty());
    let index = match delta.index {
        Some(index) => index,
        // Some servers send whole calls without an index.
        None if begins => answer.calls.len(),
        None => answer.calls.len().saturating_sub(1),
    };
    let call = answer.call(index)?;
    if let Some(id) = delta.id {
        call.id = id;
    }
    let Some(function) = delta.function else {
        return Ok(0);
    };
    let mut generated = 0;
    if let Some(name) = function.name.filter(|name| !name.is_empty()) {
        generated += name.len();
        call.tool = name;
    }
    if let Some(arguments) = function.arguments {
        generated += arguments.len();
        call.add_arguments(&arguments)?;
    }
    Ok(generated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_answers_are_asked_for_and_come_interleaved() {
        let turn = |width| Turn {
            system: "system",
            tools: &[],
            choice: ToolChoice::Required,
            stable: &[],
            ask: "ask",
            rest: &[],
            width,
        };
        let asked = |width| request(&turn(width), "model", &CallOptions::default())["n"].clone();
        assert_eq!(asked(1), Value::Null);
        assert_eq!(asked(3), 3);
        assert_eq!(asked(99), ANSWERS_MAX);
        let mut fold = Box::<Chunks>::default();
        let part = |index, text| {
            json!({ "choices": [{ "index": index, "delta": { "content": text } }] }).to_string()
        };
        for (index, text) in [(1, "b"), (0, "a"), (1, "B"), (0, "A")] {
            fold.event(&part(index, text)).expect("a chunk");
        }
        let refused = fold.event(&part(ANSWERS_MAX, "too many"));
        assert!(matches!(refused, Err(CallError::Limit(_))));
        let texts: Vec<_> = fold
            .finish()
            .answers
            .into_iter()
            .map(|one| one.text)
            .collect();
        assert_eq!(texts, ["aA", "bB"]);
    }

    #[test]
    fn whole_calls_without_an_index_are_told_apart_by_their_ids() {
        let mut fold = Box::<Chunks>::default();
        let call = |id: &str, tool: &str| json!({ "id": id, "function": { "name": tool, "arguments": "{}" } });
        let calls = [call("1", "one"), call("2", "two")];
        let chunk = json!({ "choices": [{ "delta": { "tool_calls": calls } }] });
        fold.event(&chunk.to_string()).expect("a chunk");
        let answer = fold.finish().answers.remove(0);
        let tools: Vec<_> = answer.calls.iter().map(|call| call.tool.as_str()).collect();
        assert_eq!(tools, ["one", "two"]);
    }
}
