//! What an agent is asked on: the task, and the steps before the one it is to give.

use crate::{Action, Digest, Hasher, Observation};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Digest of task, instructions, tool-set digest and every entry before a step. Equal
/// ids mean that an agent, a pure function of the prefix, would be asked the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrefixId(pub Digest);

/// One entry of a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Entry {
    /// A step that came before: what was done and what was seen.
    Step {
        /// The action, canonical.
        action: Action,
        /// What executing it returned.
        observation: Observation,
    },
    /// What the user said at this place.
    Suggestion {
        /// The user's words.
        text: String,
    },
}

impl PrefixId {
    /// The prefix of step 0.
    pub fn root(task: &str, instructions: &str, tools: &Digest) -> PrefixId {
        PrefixId(
            Hasher::new("forerun prefix root v1")
                .field(task)
                .field(instructions)
                .digest(tools)
                .finish(),
        )
    }

    /// This prefix with one more entry.
    pub fn extend(&self, entry: &Entry) -> PrefixId {
        let hasher = Hasher::new("forerun prefix entry v1").digest(&self.0);
        PrefixId(match entry {
            Entry::Step {
                action,
                observation,
            } => hasher
                .field("step")
                .digest(&action.key().0)
                .digest(&observation.digest())
                .finish(),
            Entry::Suggestion { text } => hasher.field("suggestion").field(text).finish(),
        })
    }
}

impl fmt::Display for PrefixId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PrefixId {
    type Err = crate::DigestParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(PrefixId)
    }
}
