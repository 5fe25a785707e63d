//! One question to a model and its reply, in words that both protocols share.

use super::error::{CallError, said};
use super::options::{CallOptions, Tokens};
use forerun_types::{ASK_USER, TERMINATE, ToolDescription};
use serde_json::{Value, json};

/// Most bytes of a reply's text: stops a model, or a server, that talks without end.
pub(super) const TEXT_BYTES_MAX: usize = 1 << 20;
/// Most bytes of one tool call's arguments: stops one that never closes its string.
pub(super) const ARGUMENTS_BYTES_MAX: usize = 1 << 20;
/// Most tool calls of one reply: stops a server that opens ever more of them.
pub(super) const TOOL_CALLS_MAX: usize = 16;
/// Most alternatives that are asked for, and accepted, in one reply.
pub(super) const ANSWERS_MAX: u32 = 8;

/// A question. Everything that two questions about the same plan share comes first, so
/// that a provider's prompt cache finds it: tools, `system`, then `stable`.
#[derive(Clone, Debug)]
pub(super) struct Turn<'a> {
    pub(super) system: &'a str,
    /// The tools that the model can call.
    pub(super) tools: &'a [Tool<'a>],
    pub(super) choice: ToolChoice,
    /// The user's first message: parts that stay the same while the plan grows.
    pub(super) stable: &'a [String],
    /// The end of the user's first message.
    pub(super) ask: &'a str,
    /// What follows it, the model's words and the user's in turn.
    pub(super) rest: &'a [(Speaker, String)],
    /// How many answers are wanted at most.
    pub(super) width: u32,
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    User,
    Model,
}

impl Speaker {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Speaker::User => "user",
            Speaker::Model => "assistant",
        }
    }
}

/// Whether a tool has to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToolChoice {
    /// After some text, perhaps.
    Auto,
    /// One, whichever.
    Required,
    /// None: text is wanted.
    None,
}

/// A tool as a model is offered it.
#[derive(Clone, Debug)]
pub(super) struct Tool<'a> {
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) schema: Value,
}

/// The toolbox's tools by name, then the reserved ones: the same order for the same set.
pub(super) fn tools(descriptions: &[ToolDescription]) -> Vec<Tool<'_>> {
    let mut tools: Vec<Tool<'_>> = descriptions
        .iter()
        .map(|tool| Tool {
            name: &tool.name,
            description: &tool.description,
            schema: tool.input_schema.clone(),
        })
        .collect();
    tools.sort_by_key(|tool| tool.name);
    tools.push(Tool {
        name: TERMINATE,
        description: include_str!("prompts/terminate.txt").trim_ascii(),
        schema: text_argument("answer", "The answer to the task."),
    });
    tools.push(Tool {
        name: ASK_USER,
        description: include_str!("prompts/ask_user.txt").trim_ascii(),
        schema: text_argument("question", "The question."),
    });
    tools
}

fn text_argument(name: &str, description: &str) -> Value {
    json!({
        "type": "object",
        "properties": { name: { "type": "string", "description": description } },
        "required": [name],
        "additionalProperties": false,
    })
}

/// A reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// The alternatives; one, unless more were asked for.
    pub(super) answers: Vec<Answer>,
    pub(super) tokens: Tokens,
}

/// One alternative of a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) refusal: String,
    pub(super) calls: Vec<ToolCall>,
    pub(super) end: Option<End>,
}

/// A tool call, as the model wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ToolCall {
    pub(super) id: String,
    pub(super) tool: String,
    pub(super) arguments: String,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It had said what it wanted to.
    Complete,
    /// Its output limit was reached.
    OutputLimit,
    /// Its context was full.
    ContextFull,
    /// It, or a filter behind it, refused.
    Refused,
}

impl Answer {
    pub(super) fn add_text(&mut self, text: &str) -> Result<(), CallError> {
        append(&mut self.text, text, TEXT_BYTES_MAX, "a text")
    }

    pub(super) fn add_refusal(&mut self, text: &str) -> Result<(), CallError> {
        append(&mut self.refusal, text, TEXT_BYTES_MAX, "a refusal")
    }

    /// The call at `index`, which may be the next one.
    pub(super) fn call(&mut self, index: usize) -> Result<&mut ToolCall, CallError> {
        if index >= TOOL_CALLS_MAX {
            return Err(CallError::Limit(format!(
                "a reply has more than {TOOL_CALLS_MAX} tool calls"
            )));
        }
        if index > self.calls.len() {
            return Err(CallError::Malformed(format!(
                "tool call {index} comes after {} others",
                self.calls.len()
            )));
        }
        if index == self.calls.len() {
            self.calls.push(ToolCall::default());
        }
        Ok(&mut self.calls[index])
    }

    /// The answer, if it is one.
    ///
    /// # Errors
    /// If the model refused or was cut off, or the stream ended before it.
    pub(super) fn check(self) -> Result<Answer, CallError> {
        match self.end {
            None => Err(CallError::Truncated),
            Some(End::Refused) if self.refusal.is_empty() => {
                Err(CallError::Refused(said(&self.text)))
            }
            Some(End::Refused) => Err(CallError::Refused(said(&self.refusal))),
            Some(End::OutputLimit) => Err(CallError::OutputLimit),
            Some(End::ContextFull) => Err(CallError::ContextTooLong(
                "it was full before the answer was complete".to_owned(),
            )),
            Some(End::Complete) if !self.refusal.is_empty() && self.calls.is_empty() => {
                Err(CallError::Refused(said(&self.refusal)))
            }
            Some(End::Complete) => Ok(self),
        }
    }
}

impl ToolCall {
    pub(super) fn add_arguments(&mut self, text: &str) -> Result<(), CallError> {
        append(&mut self.arguments, text, ARGUMENTS_BYTES_MAX, "arguments")
    }
}

fn append(to: &mut String, text: &str, max: usize, what: &str) -> Result<(), CallError> {
    if to.len() + text.len() > max {
        return Err(CallError::Limit(format!("{what} of more than {max} bytes")));
    }
    to.push_str(text);
    Ok(())
}

/// What a protocol is: requests out, events of a stream in.
pub(super) trait Fold: Send {
    /// Takes one event. Says whether the reply is complete.
    ///
    /// # Errors
    /// If it is malformed, exceeds a limit, or says that the call failed.
    fn event(&mut self, data: &str) -> Result<bool, CallError>;

    /// Bytes that the model has generated so far.
    fn generated(&self) -> usize;

    /// The reply, once the stream is at its end.
    fn finish(self: Box<Self>) -> Reply;
}

/// The parts of a request's body that both protocols spell alike.
pub(super) fn body(model: &str, options: &CallOptions) -> Value {
    let mut body = json!({ "model": model, "stream": true });
    if let Some(temperature) = options.temperature {
        body["temperature"] = temperature.into();
    }
    body
}
