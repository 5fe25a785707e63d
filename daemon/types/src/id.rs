//! Typed ids. Each is made in one place and printed with a prefix, so that a session
//! can not be taken for a call on a command line or in a log.

use crate::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A text that is not an id of the kind that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no {kind} id: it looks like {prefix}…")]
pub struct IdParseError {
    kind: &'static str,
    prefix: &'static str,
    found: String,
}

impl IdParseError {
    fn new(kind: &'static str, prefix: &'static str, text: &str) -> Self {
        IdParseError {
            kind,
            prefix,
            found: text.chars().take(80).collect(),
        }
    }
}

macro_rules! numbered_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdParseError;
            fn from_str(text: &str) -> Result<Self, IdParseError> {
                text.strip_prefix($prefix)
                    .and_then(|number| number.parse().ok())
                    .map($name)
                    .ok_or_else(|| IdParseError::new($kind, $prefix, text))
            }
        }
    };
}

numbered_id!(
    /// One call of an agent. Made by the planner, unique within a session.
    CallId, "call", "call_"
);
numbered_id!(
    /// One node of the speculation tree. Made by the planner, unique within a session.
    NodeId, "node", "node_"
);
numbered_id!(
    /// One launch of a node's action. A node that is executed again gets a new one, so
    /// a late result of the first can not be taken for the second. Made by the planner.
    ExecutionId, "execution", "exec_"
);
numbered_id!(
    /// An immutable version of a workspace, as the sandboxes hold it. Unique within a
    /// running daemon.
    SnapshotId, "snapshot", "snap_"
);
numbered_id!(
    /// One question that policy puts to a session's owner. Unique within a session.
    ApprovalId, "approval", "apr_"
);
numbered_id!(
    /// One commit to a workspace. Made by the journal, unique within a state directory.
    CommitId, "commit", "commit_"
);

/// A session: 16 lower-case letters and digits after `ses_`, from 80 random bits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(String);

impl SessionId {
    const PREFIX: &str = "ses_";
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    /// Makes the id from 80 bits that the caller drew at random.
    pub fn from_random(bytes: [u8; 10]) -> SessionId {
        let bits = bytes
            .iter()
            .fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
        let letters = (0..16).map(|i| {
            let index = (bits >> (75 - 5 * i)) & 31;
            char::from(Self::ALPHABET[index as usize])
        });
        SessionId(Self::PREFIX.chars().chain(letters).collect())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionId {
    type Err = IdParseError;
    fn from_str(text: &str) -> Result<Self, IdParseError> {
        let valid = text.strip_prefix(Self::PREFIX).is_some_and(|rest| {
            rest.len() == 16 && rest.bytes().all(|byte| Self::ALPHABET.contains(&byte))
        });
        if valid {
            Ok(SessionId(text.to_owned()))
        } else {
            Err(IdParseError::new("session", Self::PREFIX, text))
        }
    }
}

impl TryFrom<String> for SessionId {
    type Error = IdParseError;
    fn try_from(text: String) -> Result<Self, IdParseError> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> String {
        id.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A position in the plan, counted from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct StepIndex(pub u32);

impl StepIndex {
    /// The position after this one.
    pub fn next(self) -> StepIndex {
        StepIndex(self.0 + 1)
    }
}

impl From<u32> for StepIndex {
    fn from(index: u32) -> StepIndex {
        StepIndex(index)
    }
}

impl fmt::Display for StepIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an attached agent does in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// **A**: fast, possibly wrong; proposes candidates for the next step.
    Approximation,
    /// **T**: slow, authoritative; its answer is the verdict.
    Target,
}

impl Role {
    /// The role's name as it is spelled everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Approximation => "approximation",
            Role::Target => "target",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = IdParseError;
    fn from_str(text: &str) -> Result<Self, IdParseError> {
        match text {
            "approximation" => Ok(Role::Approximation),
            "target" => Ok(Role::Target),
            _ => Err(IdParseError::new("role", "approximation or target", text)),
        }
    }
}

/// Who an action comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The approximation agent proposed it.
    Approximation,
    /// The target agent gave it as its verdict.
    Target,
    /// The user decided it.
    User,
}

impl Source {
    /// The source's name as it is spelled everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Approximation => "approximation",
            Source::Target => "target",
            Source::User => "user",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The seed of one action: H(session seed, step, canonical action), so that a replay
/// or the `off` arm of a pair draws the same random numbers.
pub(crate) fn action_seed(session_seed: u64, step: StepIndex, action: &Digest) -> [u8; 32] {
    crate::Hasher::new("forerun action seed v1")
        .field(session_seed.to_le_bytes())
        .field(step.0.to_le_bytes())
        .digest(action)
        .finish()
        .0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_and_refuse_another_kind() {
        let session = SessionId::from_random([0xab; 10]);
        assert_eq!(session.as_str().parse(), Ok(session.clone()));
        assert_eq!("call_7".parse(), Ok(CallId(7)));
        assert!("node_7".parse::<CallId>().is_err());
        assert!("ses_short".parse::<SessionId>().is_err());
        assert!("ses_../../etc/passwd".parse::<SessionId>().is_err());
    }

    #[test]
    fn every_random_bit_reaches_the_session_id() {
        let zero = SessionId::from_random([0; 10]);
        for bit in 0..80 {
            let mut bytes = [0; 10];
            bytes[bit / 8] = 1 << (bit % 8);
            assert_ne!(SessionId::from_random(bytes), zero, "bit {bit}");
        }
    }
}
