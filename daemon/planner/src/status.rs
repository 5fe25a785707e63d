//! What others may know of a planner: for `Get`, for status lines, for metrics.

use crate::StepPhase;
use forerun_types::{ActionKey, NodeId, PrefixId, Source, StepIndex, Time};
use serde::Serialize;

/// What a session is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    /// It goes on as agents and sandboxes answer.
    Running,
    /// Its owner paused it.
    Paused,
    /// It waits for its owner.
    Stalled {
        /// The step that does not go on.
        step: StepIndex,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// Its owner went back; steps are being undone.
    Backtracking,
    /// Its owner stopped it; a commit that had begun is still awaited.
    Stopping,
    /// The plan ended.
    Ended,
}

/// One step that is not verified yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepView {
    /// Its position.
    pub step: StepIndex,
    /// What it is asked on.
    pub prefix: PrefixId,
    /// How far it is.
    pub phase: StepPhase,
    /// Its node, if there is a candidate or a verdict.
    pub node: Option<NodeId>,
    /// The node's action.
    pub action: Option<ActionKey>,
    /// The other candidates.
    pub siblings: Vec<(NodeId, ActionKey)>,
    /// Who decided it, or else who proposed it.
    pub source: Option<Source>,
    /// Whether the node has an observation.
    pub executed: bool,
    /// Until when it is claimed.
    pub claimed_until: Option<Time>,
    /// Until when it is in review.
    pub review_until: Option<Time>,
}

/// What was counted since the session's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Decided steps whose candidate was T's answer.
    pub matched: u64,
    /// Those of them whose candidate was not equal to T's answer.
    pub matched_loosely: u64,
    /// Decided steps whose candidate was not T's answer.
    pub mismatched: u64,
    /// Decided steps that had no candidate when T answered.
    pub uncontested: u64,
    /// Decisions of the user.
    pub by_user: u64,
    /// How often the user went back: the generation of the plan.
    pub backtracks: u32,
    /// Answers and failures of calls that had ended.
    pub late_answers: u64,
    /// Results of executions that had ended.
    pub late_results: u64,
    /// Inputs that name something that never was.
    pub unknown: u64,
    /// The most calls of both agents in flight at once (MC).
    pub peak_calls: u32,
    /// The most calls of the target in flight at once.
    pub peak_target_calls: u32,
}
