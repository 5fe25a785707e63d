//! What the planner is told. Everything that is not pure happened before: actions are
//! canonical, prefixes are hashed, users are authorised.

use forerun_types::{
    ActionKey, ActionKind, CallId, Digest, ExecutionId, NodeId, PrefixId, Role, StepIndex,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One thing that happened. Ties (equal times) are fed in the order user, target,
/// approximation, executions (rule 13).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A role has an agent, or its capacity is another one. For a session that stalled
    /// because of its target it is a retry.
    AgentAttached {
        /// What the agent does.
        role: Role,
        /// How many calls of that role it takes at once; 0 counts as 1.
        capacity: u32,
    },
    /// A role has no agent any more: the re-attach window is over. Its calls in flight
    /// have failed by this; no [`Input::Failed`] is needed for them.
    AgentLost {
        /// What the agent did.
        role: Role,
    },
    /// An agent answered a call.
    Answered {
        /// The call.
        call: CallId,
        /// Its answer; of the approximation agent, the best one.
        candidate: Candidate,
        /// Further ones of the approximation agent, best first. Those that are equal to an
        /// earlier one, or beyond the session's width, are not used.
        others: Vec<Candidate>,
        /// Of the target's answer: the candidates of its step that are near it, for the matcher
        /// `fuzzy` (see [`forerun_types::Matcher::near`]). They can be told when it arrives:
        /// none comes after it.
        near: Vec<ActionKey>,
    },
    /// Somebody who was not asked knows candidates for the step of this prefix: they join those
    /// of the approximation agent, as far as the session's width goes. If that step has a
    /// verdict, or is not there, they come too late and are not used.
    Offered {
        /// What they come after.
        prefix: PrefixId,
        /// Best first.
        candidates: Vec<Candidate>,
    },
    /// There is an agent that judges, or its capacity is another one. One that comes after a
    /// verdict is not asked about it any more.
    JudgeAttached {
        /// How many calls it takes at once; 0 counts as 1.
        capacity: u32,
    },
    /// There is no agent that judges any more. Its calls in flight have failed by this.
    JudgeLost,
    /// The judge answered [`crate::Effect::Judge`].
    Judged {
        /// The call.
        call: CallId,
        /// The candidates that mean the verdict on their step. The others of the call do not;
        /// those that it did not name are not looked at.
        same: Vec<NodeId>,
    },
    /// A call failed; this covers idle and total deadlines, which the server keeps.
    Failed {
        /// The call.
        call: CallId,
        /// How it failed.
        failure: Failure,
    },
    /// An execution ended.
    Executed {
        /// The execution.
        execution: ExecutionId,
        /// How it ended.
        outcome: Outcome,
    },
    /// A running execution wants to reach beyond its snapshot, and is parked. It may once
    /// [`crate::Effect::Release`] says so. Said again, or of one that may, it changes nothing.
    Parked {
        /// The execution.
        execution: ExecutionId,
    },
    /// The step that was to retire is recorded, or could not be.
    Retired {
        /// The node that [`crate::Effect::Retire`] named.
        node: NodeId,
        /// What became of it.
        result: RetireResult,
    },
    /// What [`crate::Effect::Undo`] wanted is done, as far as it can be.
    Undone(Undone),
    /// Time went by: [`crate::Planner::next_timeout`] is reached.
    Tick,
}

/// An action, as far as the planner has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its identity; what the `exact` matcher compares.
    pub action: ActionKey,
    /// Its meaning.
    pub kind: ActionKind,
    /// A number for its tool: how often candidates are right is learned for each.
    pub tool: u64,
}

impl Candidate {
    /// The matcher `exact`: equal actions; `terminate` matches by name (rule 7).
    pub fn matches(&self, other: &Candidate) -> bool {
        self.action == other.action
            || (self.kind == ActionKind::Terminate && other.kind == ActionKind::Terminate)
    }

    /// The action of a step whose verdict means this candidate: it stays as it was executed.
    /// Of a `terminate`, which is not, the verdict's answer counts.
    pub(crate) fn meant_by(self, verdict: Candidate) -> Candidate {
        match verdict.kind {
            ActionKind::Terminate => verdict,
            ActionKind::Tool | ActionKind::AskUser => self,
        }
    }
}

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// May succeed if it is asked again.
    Transient {
        /// For people.
        reason: String,
    },
    /// The agent's provider wants fewer calls. No failure: it is asked again later.
    RateLimited {
        /// How long to wait.
        retry_after: Duration,
    },
    /// Asking again is pointless before somebody changed something.
    Permanent {
        /// For people.
        reason: String,
    },
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It ended in an observation (which may well be an error).
    Completed {
        /// Digest of the observation.
        observation: Digest,
        /// Digest of the net changes.
        changes: Digest,
        /// The prefix below the node, hashed at the edge.
        next: PrefixId,
    },
    /// Policy holds it, or a limit stopped it that verified work would not have met
    /// (rule 11). The node becomes a leaf and is executed at its verdict.
    NotExecuted {
        /// For people.
        reason: String,
    },
    /// The daemon could not run it at all. Of verified work this stalls the session; of
    /// speculative work it is like [`Outcome::NotExecuted`].
    Failed {
        /// For people.
        reason: String,
    },
}

/// How far verified steps were taken back, and what a session goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// The first step that is not verified any more. A later one than was wanted, if an
    /// earlier one can not be taken back.
    pub first: StepIndex,
    /// The node of the step before, the last one that is verified.
    pub node: Option<NodeId>,
    /// The prefix of the first step.
    pub next: PrefixId,
    /// Why it is not what was wanted; for people.
    pub refused: Option<String>,
}

/// The prefixes that a suggestion changes, hashed at the edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehashed {
    /// The prefix below the last verified step, if it is another one now.
    pub head: Option<PrefixId>,
    /// The prefix below each node that has a result and whose prefix is another one now.
    pub below: Vec<(NodeId, PrefixId)>,
}

/// What became of a step that was to retire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetireResult {
    /// It is recorded.
    Done,
    /// Somebody changed what the step saw: executed now, it might observe something else.
    /// Nothing was recorded. It is executed again, and its verdict stays.
    Stale {
        /// For people; names the path.
        reason: String,
    },
    /// It could not be recorded, and the workspace is as it was before: somebody changed
    /// what it changes, or a path cannot be written.
    Conflict {
        /// For people; names the path.
        reason: String,
        /// What to do about it.
        hint: String,
    },
}
