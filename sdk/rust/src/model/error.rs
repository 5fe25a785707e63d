//! How a model agent can not be made, and how a call of a model fails.
//!
//! What a server says becomes part of an error by [`said`]; the key was taken out of it where
//! it came in (`http`).

use crate::agent::AgentError;
use std::time::Duration;

/// Most characters of a server's words that are repeated: stops an error page from filling
/// the log of a session.
const SAID_CHARS_MAX: usize = 300;

/// Why a model agent can not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The specification names no model.
    #[error("{spec:?} names no model: {problem}")]
    Spec {
        /// What was given.
        spec: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The base URL is not one.
    #[error("the base URL {url:?} {problem}")]
    BaseUrl {
        /// What was given.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The provider wants a key, and there is none.
    #[error("{variable} is not set")]
    KeyMissing {
        /// The variable of the environment.
        variable: &'static str,
    },
    /// The key has characters that no header can have.
    #[error("{variable} has characters that no key has")]
    KeyInvalid {
        /// The variable of the environment.
        variable: &'static str,
    },
    /// No encrypted connection can be made.
    #[error("no TLS connection can be made: {problem}")]
    Tls {
        /// Why.
        problem: String,
    },
}

impl ModelError {
    /// A stable name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            ModelError::Spec { .. } => "MODEL_SPEC_INVALID",
            ModelError::BaseUrl { .. } => "MODEL_BASE_URL_INVALID",
            ModelError::KeyMissing { .. } => "MODEL_KEY_MISSING",
            ModelError::KeyInvalid { .. } => "MODEL_KEY_INVALID",
            ModelError::Tls { .. } => "MODEL_TLS",
        }
    }

    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            ModelError::Spec { .. } => {
                "a model is given as openai:MODEL or anthropic:MODEL, with +cot, +react or +debate \
                 after the protocol for another planning style, and @BASE_URL after the model \
                 for another server"
                    .to_owned()
            }
            ModelError::BaseUrl { .. } => {
                "such as https://api.example.com/v1 or http://localhost:8080/v1".to_owned()
            }
            ModelError::KeyMissing { variable } => format!(
                "export {variable}=…; or name a server that wants none with @BASE_URL, or use a \
                 script: script:FILE"
            ),
            ModelError::KeyInvalid { .. } => "is it quoted, or of two lines?".to_owned(),
            ModelError::Tls { .. } => {
                "install the CA certificates of the system (often: ca-certificates)".to_owned()
            }
        })
    }
}

/// Why one call of a model gave no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    #[error("the model's server can not be reached: {0}")]
    Connect(String),
    #[error("the model's server failed with {status}: {said}")]
    Server {
        status: u16,
        said: String,
        retry_after: Option<Duration>,
    },
    #[error("{said}")]
    RateLimited { said: String, retry_after: Duration },
    #[error("the model's server sent nothing for {} s, {during}", .after.as_secs_f64())]
    Silent {
        during: &'static str,
        after: Duration,
    },
    #[error("the model's server broke the stream off before the answer was complete")]
    Truncated,
    #[error("the model's server sent something malformed: {0}")]
    Malformed(String),
    #[error("the model's server exceeded a limit: {0}")]
    Limit(String),
    #[error("the key is refused with {status}: {said}")]
    Key { status: u16, said: String },
    #[error("the quota of the account is used up: {0}")]
    Quota(String),
    #[error("the context is too long for the model: {0}")]
    ContextTooLong(String),
    #[error("the request is refused with {status}: {said}")]
    Request { status: u16, said: String },
    #[error("the model refused: {0}")]
    Refused(String),
    #[error("the model's answer was cut off at its output limit (models.call.max_output_tokens)")]
    OutputLimit,
    #[error("the model answered with text instead of a tool call: {0}")]
    NoToolCall(String),
    #[error("the model's tool call is none: {0}")]
    ToolCall(String),
}

impl CallError {
    /// Whether the same request may work at once or after a moment. Time-outs are left to
    /// who asked: they have taken long enough.
    pub(super) fn is_worth_repeating(&self) -> bool {
        matches!(
            self,
            CallError::Connect(_)
                | CallError::Server { .. }
                | CallError::Truncated
                | CallError::Malformed(_)
        )
    }
}

impl From<CallError> for AgentError {
    fn from(error: CallError) -> AgentError {
        match error {
            CallError::RateLimited { said, retry_after } => AgentError::RateLimited {
                reason: said,
                retry_after,
            },
            CallError::Connect(_)
            | CallError::Server { .. }
            | CallError::Silent { .. }
            | CallError::Truncated
            | CallError::Malformed(_)
            | CallError::NoToolCall(_)
            | CallError::ToolCall(_) => AgentError::Transient(error.to_string()),
            CallError::Limit(_)
            | CallError::Key { .. }
            | CallError::Quota(_)
            | CallError::ContextTooLong(_)
            | CallError::Request { .. }
            | CallError::Refused(_)
            | CallError::OutputLimit => AgentError::Permanent(error.to_string()),
        }
    }
}

/// Foreign words as part of an error: in one line, cut.
pub(super) fn said(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut characters = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut cut: String = characters.by_ref().take(SAID_CHARS_MAX).collect();
    if characters.next().is_some() {
        cut.push('…');
    }
    if cut.is_empty() {
        cut.push_str("(nothing was said)");
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_are_one_short_line() {
        assert_eq!(
            said("a\n\tword\u{1b}[31m is wrong "),
            "a word [31m is wrong"
        );
        let cut = said(&"x".repeat(1_000));
        assert_eq!(cut.chars().count(), SAID_CHARS_MAX + 1);
        assert!(cut.ends_with('…'));
        assert_eq!(said(" \n"), "(nothing was said)");
    }
}
