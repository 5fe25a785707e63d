//! What an agent wants done: a tool and its arguments.

use crate::id::action_seed;
use crate::{CanonicalJson, Digest, Hasher, JsonError, StepIndex};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Reserved tool: ends the plan; its `answer` is the session's result.
pub const TERMINATE: &str = "terminate";
/// Reserved tool: asks the owner its `question`; never speculated.
pub const ASK_USER: &str = "ask_user";

/// Most bytes in a tool's name; stops an agent from filling the journal with one.
const TOOL_NAME_BYTES_MAX: usize = 128;

/// A tool name and JSON arguments in canonical form. Two actions are equal (the
/// `exact` matcher) if and only if their keys are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The tool's name. Not necessarily one that exists: calling an unknown tool is an
    /// action whose observation is the error.
    pub tool: String,
    /// The arguments, an object for every shipped tool.
    pub arguments: CanonicalJson,
}

/// The identity of an action: digest of its tool and canonical arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionKey(pub Digest);

/// What the planner has to know of an action's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Executed by a tool.
    Tool,
    /// [`TERMINATE`]: not executed; nothing is asked below it.
    Terminate,
    /// [`ASK_USER`]: answered by the owner, never speculated.
    AskUser,
}

impl Action {
    /// An action from a tool name and the JSON text of its arguments.
    ///
    /// # Errors
    /// If the text is not JSON that has a canonical form (see [`CanonicalJson`]).
    pub fn parse(tool: &str, arguments: &str) -> Result<Action, JsonError> {
        if tool.is_empty() || tool.len() > TOOL_NAME_BYTES_MAX {
            return Err(JsonError::ToolName {
                max: TOOL_NAME_BYTES_MAX,
                found: tool.len(),
            });
        }
        Ok(Action {
            tool: tool.to_owned(),
            arguments: CanonicalJson::parse(arguments)?,
        })
    }

    /// The identity that matching, cancelling and accounting use.
    pub fn key(&self) -> ActionKey {
        ActionKey(
            Hasher::new("forerun action v1")
                .field(&self.tool)
                .field(self.arguments.as_str())
                .finish(),
        )
    }

    /// What the planner has to know of it.
    pub fn kind(&self) -> ActionKind {
        match self.tool.as_str() {
            TERMINATE => ActionKind::Terminate,
            ASK_USER => ActionKind::AskUser,
            _ => ActionKind::Tool,
        }
    }

    /// A number for its tool. Equal tools have equal numbers; others may, but seldom do.
    pub fn tool_number(&self) -> u64 {
        let digest = Digest::of(&self.tool);
        digest.0[..8]
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The action's random seed: H(session seed, step, canonical action).
    pub fn seed(&self, session_seed: u64, step: StepIndex) -> [u8; 32] {
        action_seed(session_seed, step, &self.key().0)
    }

    /// `terminate`'s answer, if this is one with a text for an answer.
    pub fn answer(&self) -> Option<String> {
        if self.kind() != ActionKind::Terminate {
            return None;
        }
        let arguments = self.arguments.to_value();
        Some(match arguments.get("answer")? {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }
}

/// One line for people: the tool and its arguments.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.tool, self.arguments.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_ignores_spelling_and_sees_meaning() {
        let one = Action::parse("read_file", r#"{"path": "a", "limit": 1.0}"#).expect("valid");
        let two = Action::parse("read_file", r#"{"limit":1,"path":"\u0061"}"#).expect("valid");
        let other = Action::parse("read_file", r#"{"limit":2,"path":"a"}"#).expect("valid");
        assert_eq!(one.key(), two.key());
        assert_ne!(one.key(), other.key());
    }

    #[test]
    fn terminate_carries_the_answer() {
        let end = Action::parse(TERMINATE, r#"{"answer":"done"}"#).expect("valid");
        assert_eq!(end.kind(), ActionKind::Terminate);
        assert_eq!(end.answer().as_deref(), Some("done"));
    }
}
