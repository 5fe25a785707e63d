//! Anthropic's messages (`POST /v1/messages`, streamed, version 2023-06-01).

use super::error::CallError;
use super::options::{CallOptions, Tokens};
use super::turn::{Answer, End, Fold, Reply, Speaker, ToolChoice, Turn, body};
use serde::Deserialize;
use serde_json::{Value, json};

/// The version of the protocol that is spoken.
pub(super) const VERSION: &str = "2023-06-01";
/// The protocol wants a limit. Room for a file of some 30 KB in one call; no current model
/// allows less.
const OUTPUT_TOKENS_DEFAULT: u32 = 8_192;

/// The request's body. The prompt is cached up to each block with a `cache_control`: the
/// tools and the system text, then the plan so far. A question about a longer plan finds
/// the shorter one, because each entry is a block of its own.
pub(super) fn request(turn: &Turn<'_>, model: &str, options: &CallOptions) -> Value {
    let cached = json!({ "type": "ephemeral" });
    let mut first: Vec<Value> = turn
        .stable
        .iter()
        .map(|text| json!({ "type": "text", "text": text }))
        .collect();
    if let Some(last) = first.last_mut() {
        last["cache_control"] = cached.clone();
    }
    first.push(json!({ "type": "text", "text": turn.ask }));
    let mut messages = vec![json!({ "role": Speaker::User.as_str(), "content": first })];
    messages.extend(turn.rest.iter().map(|(speaker, text)| {
        let content = json!([{ "type": "text", "text": text }]);
        json!({ "role": speaker.as_str(), "content": content })
    }));
    let tools = turn.tools.iter().map(|tool| {
        json!({
            "name": tool.name,
            "description": tool.description,
            "input_schema": tool.schema,
        })
    });
    let mut body = body(model, options);
    body["max_tokens"] = options
        .max_output_tokens
        .unwrap_or(OUTPUT_TOKENS_DEFAULT)
        .into();
    body["system"] = json!([{ "type": "text", "text": turn.system, "cache_control": cached }]);
    body["tools"] = tools.collect();
    body["messages"] = messages.into();
    body["tool_choice"] = match turn.choice {
        ToolChoice::Auto => json!({ "type": "auto", "disable_parallel_tool_use": true }),
        ToolChoice::Required => json!({ "type": "any", "disable_parallel_tool_use": true }),
        ToolChoice::None => json!({ "type": "none" }),
    };
    body
}

/// Folds the events of a stream. The blocks of an answer come one after another.
#[derive(Debug, Default)]
pub(super) struct Events {
    answer: Answer,
    tokens: Tokens,
    generated: usize,
    /// The block that is open is a tool call, the last one of the answer.
    in_call: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Message,
    },
    ContentBlockStart {
        content_block: Block,
    },
    ContentBlockDelta {
        delta: BlockDelta,
    },
    ContentBlockStop {},
    MessageDelta {
        delta: MessageDelta,
        usage: Option<Usage>,
    },
    MessageStop {},
    Error {
        error: Value,
    },
    /// `ping`, and what later versions add.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Message {
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockDelta {
    TextDelta {
        text: String,
    },
    InputJsonDelta {
        partial_json: String,
    },
    ThinkingDelta {
        thinking: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct MessageDelta {
    stop_reason: Option<String>,
}

/// Counts so far, not what an event adds. `input_tokens` leaves out what concerns a cache.
#[derive(Deserialize)]
struct Usage {
    input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Fold for Events {
    fn event(&mut self, data: &str) -> Result<bool, CallError> {
        let event: Event = serde_json::from_str(data)
            .map_err(|error| CallError::Malformed(format!("an event: {error}")))?;
        match event {
            Event::MessageStart { message } => self.count(message.usage),
            Event::ContentBlockStart { content_block } => self.start(content_block)?,
            Event::ContentBlockDelta { delta } => self.delta(delta)?,
            Event::ContentBlockStop {} => self.in_call = false,
            Event::MessageDelta { delta, usage } => {
                self.count(usage);
                if let Some(reason) = delta.stop_reason {
                    self.answer.end = Some(match reason.as_str() {
                        "max_tokens" => End::OutputLimit,
                        "model_context_window_exceeded" => End::ContextFull,
                        "refusal" => End::Refused,
                        _ => End::Complete,
                    });
                }
            }
            Event::MessageStop {} => return Ok(true),
            Event::Error { error } => return Err(super::http::failed_stream(&error)),
            Event::Other => {}
        }
        Ok(false)
    }

    fn generated(&self) -> usize {
        self.generated
    }

    fn finish(self: Box<Self>) -> Reply {
        Reply {
            answers: vec![self.answer],
            tokens: self.tokens,
        }
    }
}

impl Events {
    fn start(&mut self, block: Block) -> Result<(), CallError> {
        self.in_call = false;
        match block {
            Block::Text { text } => self.answer.add_text(&text)?,
            Block::ToolUse { id, name } => {
                self.generated += name.len();
                let call = self.answer.call(self.answer.calls.len())?;
                call.id = id;
                call.tool = name;
                self.in_call = true;
            }
            Block::Other => {}
        }
        Ok(())
    }

    fn delta(&mut self, delta: BlockDelta) -> Result<(), CallError> {
        match delta {
            BlockDelta::TextDelta { text } => {
                self.generated += text.len();
                self.answer.add_text(&text)
            }
            BlockDelta::ThinkingDelta { thinking } => {
                self.generated += thinking.len();
                Ok(())
            }
            BlockDelta::InputJsonDelta { partial_json } => {
                let open = self.answer.calls.last_mut().filter(|_| self.in_call);
                let call = open.ok_or_else(|| {
                    CallError::Malformed("arguments come outside of a tool call".to_owned())
                })?;
                self.generated += partial_json.len();
                call.add_arguments(&partial_json)
            }
            BlockDelta::Other => Ok(()),
        }
    }

    fn count(&mut self, usage: Option<Usage>) {
        let Some(usage) = usage else { return };
        if let Some(plain) = usage.input_tokens {
            self.tokens.cached = usage.cache_read_input_tokens.unwrap_or(0);
            self.tokens.written = usage.cache_creation_input_tokens.unwrap_or(0);
            self.tokens.input = plain
                .saturating_add(self.tokens.cached)
                .saturating_add(self.tokens.written);
        }
        if let Some(output) = usage.output_tokens {
            self.tokens.output = output;
        }
    }
}
