//! The one log of a session. Every event is journaled before anybody sees it.
//!
//! Two views of it: *presented*, the orderly stream for people (Algorithm 2 of
//! Interactive Speculative Planning, as planner.md corrects it), and *trace*, which has
//! every launch, answer, cancel and squash, with times.

use crate::{
    Action, ApprovalId, CallId, CommitId, Digest, ExecutionId, NodeId, Observation, PrefixId, Role,
    Source, StepIndex, Time,
};
use serde::{Deserialize, Serialize};

/// One journaled event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the session's log, from 1, without gaps.
    pub sequence: u64,
    /// When it happened, in session time.
    pub at: Time,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Which stream an event belongs to. The trace has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Shown to people.
    Presented,
    /// Only in the full log.
    Trace,
}

/// How a call of an agent ended. Every call ends exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskEnd {
    /// Its answer was used.
    Used,
    /// It was cancelled, or its answer was dropped.
    Dropped,
    /// It failed.
    Failed,
}

/// How an execution ended. Every execution ends exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionEnd {
    /// Its step was verified.
    Used,
    /// It was squashed.
    Dropped,
    /// It did not end in an observation that could be used.
    Failed,
}

/// How a question that policy put to the owner ended. Every one ends exactly once, unless
/// its session ends before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalEnd {
    /// The owner allowed it.
    Allowed,
    /// The owner allows it, and the like, until the session ends.
    AllowedForSession,
    /// The owner allows it, and the like, in every session under this policy set.
    AllowedAlways,
    /// The owner refused it.
    Refused,
    /// Nobody answered in time, which refuses it.
    TimedOut,
    /// Its step went another way.
    Withdrawn,
}

/// For how long the owner allows what policy put to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowFor {
    /// This once.
    #[default]
    Once,
    /// And the like, until the session ends.
    Session,
    /// And the like, in every session under this policy set: the permit that the question
    /// shows is added to the user's policies.
    Always,
}

/// What became of something that an action does beyond the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectEnd {
    /// It was sent, and answered.
    Answered,
    /// It was sent when the action ran before, and the answer of then was used.
    Replayed,
    /// It was not sent.
    Refused,
    /// It was sent, or may have been, and there is no answer. Unless it only reads, it is
    /// not sent again.
    Unknown,
}

/// Who predicts an action without being asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Predictor {
    /// What was done in the workspace before.
    History,
    /// The agent that keeps its own loop.
    Caller,
}

/// What an agent's answer cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Prompt tokens.
    pub input_tokens: u64,
    /// Prompt tokens that came from a cache.
    pub cached_input_tokens: u64,
    /// Generated tokens.
    pub output_tokens: u64,
    /// Cost in millionths of the configured currency.
    pub cost_micros: u64,
}

/// One changed path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathChange {
    /// Relative to the workspace, `/`-separated.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// One changed path with its difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDiff {
    /// What changed, and how.
    pub change: PathChange,
    /// Whether the content is not text, so that `unified` only names it.
    pub binary: bool,
    /// The difference in unified format. Empty if only attributes are other.
    pub unified: String,
}

/// What happened to a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// Its content or link target is another.
    Modified,
    /// It is gone.
    Deleted,
    /// It came from another path of the workspace.
    Renamed {
        /// Where it was, relative to the workspace.
        from: String,
    },
    /// Only its mode or times are other.
    Attributes,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
#[expect(
    missing_docs,
    reason = "the fields are named by the words of planner.md"
)]
pub enum EventKind {
    /// The session was opened.
    Opened {
        workspace: String,
        task: String,
        policy: String,
        /// What policy refuses is only noted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        audit: bool,
        depth: u32,
    },
    /// An agent took a role, or took it again.
    AgentAttached {
        role: Role,
        agent: String,
        model: String,
        capacity: u32,
        reattached: bool,
    },
    /// An agent's stream ended. Its calls wait for `reattach_ms`, then fail.
    AgentDetached {
        role: Role,
        agent: String,
        reattach_ms: u64,
    },
    /// The re-attach window is over.
    AgentLost { role: Role, agent: String },

    /// A call of an agent was launched.
    Asked {
        call: CallId,
        role: Role,
        step: StepIndex,
        prefix: PrefixId,
    },
    /// An agent answered; the answer may still be dropped.
    Answered {
        call: CallId,
        role: Role,
        step: StepIndex,
        action: Action,
        /// Further candidates of the approximation agent, best first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        others: Vec<Action>,
        usage: Usage,
    },
    /// Candidates that no agent was asked for: they are executed beside those of the
    /// approximation agent.
    Predicted {
        step: StepIndex,
        by: Predictor,
        actions: Vec<Action>,
    },
    /// A call ended.
    CallEnded {
        call: CallId,
        role: Role,
        step: StepIndex,
        end: AskEnd,
        reason: String,
    },
    /// Policy decided a call of a tool, a request, a touch or a commit.
    PolicyDecided {
        /// None for the commit of a whole session.
        node: Option<NodeId>,
        step: StepIndex,
        speculative: bool,
        decision: String,
        policies: Vec<String>,
        reason: String,
        /// What was asked, in JSON. The arguments of a call are those of the node's action.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        inputs: String,
        /// What would have been decided, if this was only noted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        enforced: Option<String>,
    },
    /// An action was started.
    ExecutionStarted {
        execution: ExecutionId,
        node: NodeId,
        step: StepIndex,
        speculative: bool,
    },
    /// An action ended; the observation may still be dropped.
    ExecutionFinished {
        execution: ExecutionId,
        node: NodeId,
        step: StepIndex,
        elapsed_us: u64,
        observation: Digest,
        changes: Digest,
    },
    /// An action was not executed, or not to an end: held by policy, or stopped by a
    /// limit that verified work would not have met. It runs at its verdict.
    NotExecuted {
        execution: ExecutionId,
        node: NodeId,
        step: StepIndex,
        reason: String,
    },
    /// An execution was accounted for.
    ExecutionEnded {
        execution: ExecutionId,
        node: NodeId,
        step: StepIndex,
        end: ExecutionEnd,
    },
    /// A node left the tree without being verified.
    Squashed {
        node: NodeId,
        step: StepIndex,
        reason: String,
    },

    /// a_i: what the approximation agent proposes, best first.
    Proposed {
        step: StepIndex,
        node: NodeId,
        prefix: PrefixId,
        action: Action,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        siblings: Vec<Sibling>,
    },
    /// What executing a presented node returned.
    Observed {
        step: StepIndex,
        node: NodeId,
        observation: Observation,
    },
    /// The step's verdict is awaited; it can be interrupted.
    Waiting { step: StepIndex, prefix: PrefixId },
    /// t_i or u_i: the step's action. `node` says which of several candidates is kept,
    /// `corrects` is the node that it replaces.
    Answer {
        step: StepIndex,
        node: NodeId,
        source: Source,
        action: Action,
        matched: bool,
        corrects: Option<NodeId>,
    },
    /// The step's action is decided. Nothing of it was in the workspace before.
    Decided {
        step: StepIndex,
        node: NodeId,
        source: Source,
        action: Action,
    },
    /// A review window is open until then.
    ReviewOpened {
        step: StepIndex,
        node: NodeId,
        until: Time,
    },
    /// A person is deciding this step; T's answer is shown, but is no verdict.
    Claimed { step: StepIndex, until: Time },
    /// The claim ended.
    Unclaimed { step: StepIndex, reason: String },
    /// The owner is asked.
    Question {
        step: StepIndex,
        node: NodeId,
        question: String,
    },
    /// Policy puts the step's action, or its commit, to the owner; the step waits.
    ApprovalRequested {
        step: StepIndex,
        node: NodeId,
        approval: ApprovalId,
        /// The action, or what the commit changes.
        what: String,
        /// The policies that demand it.
        policies: Vec<String>,
        reason: String,
        /// The permit that allows the like always, if one can.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        always: Option<String>,
    },
    /// The owner is not asked any more.
    ApprovalEnded {
        step: StepIndex,
        approval: ApprovalId,
        end: ApprovalEnd,
        /// What the owner said to a refusal.
        reason: String,
    },
    /// An action wants to send something beyond the workspace, and waits until its step is
    /// decided and reviewed.
    EffectHeld {
        step: StepIndex,
        node: NodeId,
        /// Which of the action's effects it is, from 0.
        effect: u32,
        /// Method and address.
        what: String,
        /// Why it waits.
        reason: String,
    },
    /// It is being sent.
    EffectSent {
        step: StepIndex,
        node: NodeId,
        effect: u32,
        what: String,
    },
    /// What became of it. Without an [`EventKind::EffectSent`] before, nothing was sent.
    EffectEnded {
        step: StepIndex,
        node: NodeId,
        effect: u32,
        what: String,
        end: EffectEnd,
        /// The status and size of the response, or why there is none.
        detail: String,
    },
    /// The step left the tree: decided, executed, reviewed, recorded.
    Verified {
        step: StepIndex,
        node: NodeId,
        delta: Digest,
        changed: Vec<PathChange>,
    },
    /// The step's changes are in the workspace.
    Committed {
        step: StepIndex,
        commit: CommitId,
        changed: Vec<PathChange>,
    },
    /// The owner said something; it is part of the prefix from this step on.
    Suggested { step: StepIndex, text: String },
    /// The owner went back: this step and all after it are undone, and it is decided anew.
    /// What follows belongs to this generation of the plan, until the next such event.
    Backtracked { step: StepIndex, generation: u32 },
    /// The session waits for its owner. `retry` asks again.
    Stalled {
        step: StepIndex,
        reason: String,
        hint: String,
    },
    /// The session goes on after a stall.
    Continued { reason: String },
    /// The owner paused the session.
    Paused,
    /// The owner resumed the session.
    Resumed,
    /// An interrupt, an answer or a message was refused.
    Refused { what: String, reason: String },
    /// The plan ended.
    Ended {
        reason: String,
        answer: Option<String>,
        steps: u32,
    },
    /// What became of the changes: `committed`, `discarded`, or `undone` by a stop that was
    /// to undo them.
    Finished {
        outcome: String,
        commit: Option<CommitId>,
        changed: Vec<PathChange>,
    },
    /// The daemon stopped before the session ended.
    Interrupted { reason: String },
    /// A version of somebody else, found where a commit put ours, is kept aside.
    Kept {
        commit: CommitId,
        path: String,
        /// Where it is now, relative to the workspace.
        copy: String,
    },
    /// The owner took a step's changes back, or brought them back.
    Undone(Undone),
}

/// A candidate beside the first one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sibling {
    /// Its node.
    pub node: NodeId,
    /// What it does.
    pub action: Action,
}

/// What an undo, or a redo, did to the changes of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// The step whose changes these are; the last one, for a session committed as a whole.
    pub step: StepIndex,
    /// The commit that was undone.
    pub undoes: CommitId,
    /// Whether that was itself an undo, so that the changes are back.
    pub redo: bool,
    /// The commit that did it; `None` if there was nothing to do.
    pub commit: Option<CommitId>,
    /// The paths that it wrote.
    pub changed: Vec<PathChange>,
    /// The paths that it did not touch.
    pub left: Vec<LeftAlone>,
}

/// A path that an undo did not touch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftAlone {
    /// The path, relative to the workspace.
    pub path: String,
    /// Why.
    pub reason: String,
}

impl EventKind {
    /// The view it belongs to.
    pub fn view(&self) -> View {
        use EventKind::*;
        match self {
            // What an agent, or its provider, could not do is for people to see.
            CallEnded {
                end: AskEnd::Failed,
                ..
            } => View::Presented,
            Asked { .. }
            | Answered { .. }
            | Predicted { .. }
            | CallEnded { .. }
            | PolicyDecided { .. }
            | ExecutionStarted { .. }
            | ExecutionFinished { .. }
            | NotExecuted { .. }
            | EffectHeld { .. }
            | ExecutionEnded { .. }
            | Squashed { .. } => View::Trace,
            _ => View::Presented,
        }
    }

    /// Whether nothing is to be waited for: only an undo can follow.
    pub fn is_last(&self) -> bool {
        matches!(
            self,
            EventKind::Finished { .. } | EventKind::Interrupted { .. }
        )
    }
}
