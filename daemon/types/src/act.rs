//! What an agent that keeps its own loop is told of an action that it did through a
//! session (planner.md, "The caller's own loop").

use crate::{Action, ApprovalId, CommitId, Observation, PathChange, StepIndex};
use std::time::Duration;

/// How much of an action had been done before it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hit {
    /// Nothing.
    #[default]
    None,
    /// It was running.
    Joined,
    /// All of it.
    Full,
}

/// An action that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acted {
    /// The step that it is.
    pub step: StepIndex,
    /// What executing it returned.
    pub observation: Observation,
    /// The commit that has its changes; `None` without changes, and with
    /// `commit = session`.
    pub commit: Option<CommitId>,
    /// What it changed.
    pub changed: Vec<PathChange>,
    /// How much of it had been done before it was asked for.
    pub hit: Hit,
    /// The part of its time that was over when it was asked for.
    pub hidden: Duration,
    /// What the owner did in its place, if they did.
    pub instead: Option<Action>,
}

/// What became of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActOutcome {
    /// Its step is verified.
    Done(Acted),
    /// It waits for the owner.
    Pending {
        /// What for.
        reason: String,
        /// What policy put to the owner, if that is it.
        approval: Option<ApprovalId>,
    },
}
