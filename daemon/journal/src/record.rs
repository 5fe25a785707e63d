//! What is remembered of a session besides its events.

use forerun_types::{Digest, SessionId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// A session as it was opened, and the state that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Its id.
    pub id: SessionId,
    /// The workspace's directory.
    pub workspace: PathBuf,
    /// What the agents are to do.
    pub task: String,
    /// Further instructions to the agents.
    pub instructions: String,
    /// Name of the policy set.
    pub policy: String,
    /// Digest of the policy set that the session was started with.
    pub policy_digest: Digest,
    /// Digest of the tool set, as every prefix contains it.
    pub tools: Digest,
    /// How far the approximation agent may run ahead; 0 is off.
    pub depth: u32,
    /// When changes reach the workspace.
    pub commit: CommitMode,
    /// Seed of every random number that an action draws.
    pub seed: u64,
    /// The guests' wall clock at the start, in nanoseconds since 1970.
    pub clock_ns: u64,
    /// When it was opened, in milliseconds since 1970.
    pub opened_at_ms: u64,
    /// Hashes of its tokens.
    pub tokens: TokenHashes,
    /// Everything else that the server needs to restore the session; not interpreted.
    #[serde(default)]
    pub settings: serde_json::Value,
    /// Where it is in its life. Changes; everything above does not.
    pub state: SessionState,
}

/// Digests of a session's tokens. The tokens themselves are not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenHashes {
    /// The owner's.
    pub owner: Digest,
    /// The approximation agent's.
    pub approximation: Digest,
    /// The target agent's.
    pub target: Digest,
}

/// When verified changes reach the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitMode {
    /// After each verified step.
    Step,
    /// Once, when the owner has seen the diff at the end.
    Session,
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It is running, or waits for agents or its owner.
    Open,
    /// The plan ended; with [`CommitMode::Session`] its changes wait for the owner.
    Ended,
    /// Nothing more can happen to it.
    Finished,
    /// The daemon stopped before it ended.
    Interrupted,
}

impl SessionState {
    pub(crate) const ALL: [SessionState; 4] = [
        SessionState::Open,
        SessionState::Ended,
        SessionState::Finished,
        SessionState::Interrupted,
    ];

    /// The state's name as it is spelled everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            SessionState::Open => "open",
            SessionState::Ended => "ended",
            SessionState::Finished => "finished",
            SessionState::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for SessionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
