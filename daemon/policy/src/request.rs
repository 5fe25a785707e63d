//! What is asked of a policy set, and what it answers.

use forerun_types::{Action, PathChange, Source, StepIndex};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// May this action be executed?
#[derive(Clone, Debug, Serialize)]
pub struct CallRequest<'a> {
    /// Who it comes from.
    pub principal: Source,
    /// The action.
    #[serde(rename = "tool", serialize_with = "tool")]
    pub action: &'a Action,
    /// Its position in the plan.
    pub step: StepIndex,
    /// How many unverified steps it stands on.
    pub depth: u32,
    /// Whether its verdict is still awaited.
    pub speculative: bool,
    /// What was used so far on the way to it.
    pub counters: Counters,
    /// Whether something sensitive was read on the way to it.
    pub read_sensitive: bool,
}

/// May this verified delta reach the workspace?
#[derive(Clone, Debug, Serialize)]
pub struct CommitRequest<'a> {
    /// Who it comes from: the source of the step, or the user for a whole session.
    pub principal: Source,
    /// The paths that it changes.
    #[serde(serialize_with = "number")]
    pub changed: &'a [PathChange],
    /// Files among them that are to be replaced and have further names.
    pub shared: usize,
}

fn tool<S: Serializer>(action: &&Action, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&action.tool)
}

fn number<S: Serializer>(changed: &&[PathChange], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(changed.len() as u64)
}

/// What was used on the path from the start of the session to an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Calls of tools.
    pub calls: u64,
    /// Bytes of changes.
    pub bytes_written: u64,
    /// Commits to the workspace.
    pub commits: u64,
    /// Bytes of requests that were sent.
    pub bytes_out: u64,
}

/// What may become of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It may run now.
    Run,
    /// It waits for its verdict, and is decided again then.
    Hold,
    /// The user is asked.
    Ask,
    /// It is refused.
    Deny,
}

impl Outcome {
    /// The outcome's name as it is spelled everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Run => "run",
            Outcome::Hold => "hold",
            Outcome::Ask => "ask",
            Outcome::Deny => "deny",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The answer, with why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// What may become of the action.
    pub outcome: Outcome,
    /// The policies that decided, by id: first those that forbade more, then those that
    /// permitted this. Empty when nothing permits.
    pub policies: Vec<String>,
    /// One sentence for the agent and the user.
    pub reason: String,
    /// A stable name of the kind of answer: `policy_run`, `policy_hold`, `policy_ask`,
    /// `policy_forbidden`, `policy_not_permitted`, `policy_unknown_tool`,
    /// `policy_arguments` or `policy_error`.
    pub code: &'static str,
    /// What a set that is enforced decides; there if this one only takes note of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforced: Option<Outcome>,
    /// Whether a permit is all that is missing: no policy forbids to run it.
    #[serde(skip)]
    pub grantable: bool,
}

impl Decision {
    pub(crate) fn deny(
        code: &'static str,
        policies: Vec<String>,
        reason: impl fmt::Display,
    ) -> Decision {
        Decision {
            outcome: Outcome::Deny,
            policies,
            reason: format!("{reason}; it will be denied again, so do not retry it"),
            code,
            enforced: None,
            grantable: false,
        }
    }
}
