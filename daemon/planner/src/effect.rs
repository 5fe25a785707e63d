//! What the planner wants done. Effects are carried out in their order; those of one
//! input belong together.

use forerun_types::{
    ActionKey, ActionKind, AskEnd, CallId, ExecutionEnd, ExecutionId, NodeId, PrefixId, Role,
    Source, StepIndex, Time,
};
use serde::Serialize;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Effect {
    /// Ask an agent for a step.
    Ask {
        /// A new call.
        call: CallId,
        /// Whom to ask.
        role: Role,
        /// For which step.
        step: StepIndex,
        /// On which prefix.
        prefix: PrefixId,
    },
    /// Ask the judge which candidates mean the verdict on their step, and answer with
    /// [`crate::Input::Judged`] or [`crate::Input::Failed`].
    Judge {
        /// A new call.
        call: CallId,
        /// Of one or more steps, in their order.
        pairs: Vec<Pair>,
    },
    /// A call of the judge is accounted for; once for each call.
    JudgeEnded {
        /// The call.
        call: CallId,
        /// How it ended.
        end: AskEnd,
        /// Why.
        reason: &'static str,
    },
    /// Tell the agent that nobody waits for this call any more. Always followed by its
    /// [`Effect::CallEnded`], or [`Effect::JudgeEnded`].
    CancelCall {
        /// The call.
        call: CallId,
    },
    /// A call is accounted for; once for each call.
    CallEnded {
        /// The call.
        call: CallId,
        /// Who was asked.
        role: Role,
        /// For which step.
        step: StepIndex,
        /// How it ended.
        end: AskEnd,
        /// Why.
        reason: &'static str,
    },
    /// Execute a node's action. A node may be executed again; the last result counts.
    Execute {
        /// A new execution.
        execution: ExecutionId,
        /// The node.
        node: NodeId,
        /// The node whose snapshot it runs on; `None` is the session's head.
        parent: Option<NodeId>,
        /// Its step.
        step: StepIndex,
        /// The action's identity.
        action: ActionKey,
        /// The action's meaning; never `terminate`, which is not executed.
        kind: ActionKind,
        /// On whose behalf: who proposed it, or who decided it.
        source: Source,
        /// Whether its step is still undecided.
        speculative: bool,
    },
    /// Stop a running execution. Always followed by its [`Effect::ExecutionEnded`].
    StopExecution {
        /// The execution.
        execution: ExecutionId,
    },
    /// A parked execution may reach beyond its snapshot, now and until it ends: every step
    /// before its own is verified, its own is decided and reviewed. Once for an execution.
    Release {
        /// The execution.
        execution: ExecutionId,
    },
    /// An execution is accounted for; once for each execution.
    ExecutionEnded {
        /// The execution.
        execution: ExecutionId,
        /// Its node.
        node: NodeId,
        /// Its step.
        step: StepIndex,
        /// How it ended.
        end: ExecutionEnd,
    },
    /// A node left the tree without being verified: free its snapshot. Its action may
    /// still be presented: keep that until its step is verified.
    Squash {
        /// The node.
        node: NodeId,
        /// Its step.
        step: StepIndex,
        /// Why.
        reason: &'static str,
    },
    /// A step is decided: journal it before anything that follows. A step is decided
    /// again if the user replaced it in review, or if an earlier step changed.
    Decide {
        /// The step.
        step: StepIndex,
        /// The node that stays.
        node: NodeId,
        /// Whose verdict it is.
        source: Source,
        /// The action that is executed: the verdict's, or that of the candidate that a lossy
        /// matcher takes for it. Of a `terminate` that matched by name it is the verdict's, not
        /// the one that was proposed with the node.
        action: ActionKey,
    },
    /// Show something to people.
    Present(Presented),
    /// Record a decided, executed and reviewed step, and answer with
    /// [`crate::Input::Retired`]. At most one is outstanding.
    Retire {
        /// The node.
        node: NodeId,
        /// Its step.
        step: StepIndex,
    },
    /// Take back what was recorded of verified steps, newest first, and answer with
    /// [`crate::Input::Undone`]. Nothing else is outstanding meanwhile.
    Undo {
        /// The first step that is not to be verified any more.
        from: StepIndex,
    },
}

/// A verdict and a candidate of its step that is not equal to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The step.
    pub step: StepIndex,
    /// What it was asked on.
    pub prefix: PrefixId,
    /// Whose verdict it is.
    pub source: Source,
    /// The verdict's action.
    pub verdict: ActionKey,
    /// The candidate.
    pub node: NodeId,
    /// The candidate's action.
    pub action: ActionKey,
}

/// One line of the presented stream (Algorithm 2 of Interactive Speculative Planning, as
/// planner.md corrects it): a_0 t_0 a_1 t_1 …, and nothing beyond the first mismatch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Presented {
    /// a_i: what the approximation agent proposes. The nodes may be squashed already, if
    /// T answered out of order; then the correction follows.
    Proposed {
        /// The step.
        step: StepIndex,
        /// The first candidate.
        node: NodeId,
        /// What it was asked on.
        prefix: PrefixId,
        /// The first candidate's action.
        action: ActionKey,
        /// Its siblings, in the agent's order.
        siblings: Vec<(NodeId, ActionKey)>,
    },
    /// What executing a presented node returned.
    Observed {
        /// The step.
        step: StepIndex,
        /// The node.
        node: NodeId,
    },
    /// The verdict is awaited; the step can be interrupted.
    Waiting {
        /// The step.
        step: StepIndex,
        /// What it is asked on.
        prefix: PrefixId,
    },
    /// t_i or u_i; which of several candidates is kept. During a claim T's answer is shown, but is no verdict: if another node
    /// is on the path, the answer's own is squashed, or becomes the step's when it decides.
    Answer {
        /// The step.
        step: StepIndex,
        /// The node of this action.
        node: NodeId,
        /// Who gave it.
        source: Source,
        /// The action; of a candidate that a lossy matcher takes for the verdict, its own.
        action: ActionKey,
        /// Whether a candidate had it.
        matched: bool,
        /// The node that was shown for this step, if this one was not shown with it.
        corrects: Option<NodeId>,
    },
    /// The step can be replaced until then. Said again when the time changes.
    ReviewOpened {
        /// The step.
        step: StepIndex,
        /// Its node.
        node: NodeId,
        /// The end of the window, if nobody claims the step.
        until: Time,
    },
    /// The user is deciding this step. Said again when the time changes.
    Claimed {
        /// The step.
        step: StepIndex,
        /// When the claim ends by itself.
        until: Time,
    },
    /// The claim ended; once for each claim.
    Unclaimed {
        /// The step.
        step: StepIndex,
        /// Why.
        reason: &'static str,
    },
    /// The session waits for its owner.
    Stalled {
        /// The step that does not go on.
        step: StepIndex,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// The session goes on after a stall.
    Continued {
        /// Why.
        reason: &'static str,
    },
    /// The session is paused.
    Paused,
    /// The session goes on after a pause.
    Resumed,
    /// A recorded `replace` or `accept` can not take effect: what the user saw is gone. Or
    /// a `backtrack` did not come as far as it should, and the session pauses.
    Refused {
        /// The step.
        step: StepIndex,
        /// Why.
        reason: String,
    },
    /// The user went back: this step and all after it are undone, and it is decided anew.
    Backtracked {
        /// The first step that is not decided any more.
        step: StepIndex,
        /// How often the user went back; what follows belongs to this generation of the
        /// plan, until the next such line.
        generation: u32,
    },
    /// The plan ended. No effect follows, except for what another input is answered with.
    Ended {
        /// Why.
        reason: EndReason,
        /// The node of the last verified step.
        node: Option<NodeId>,
        /// How many steps are verified.
        steps: u32,
    },
}

/// Why a plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum EndReason {
    /// The last verified action is `terminate`.
    Terminated,
    /// As many steps are verified as the session may have.
    StepLimit,
    /// The owner stopped it.
    Stopped,
}

impl EndReason {
    /// The reason as it is spelled in events.
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Terminated => "terminated",
            EndReason::StepLimit => "step limit",
            EndReason::Stopped => "stopped",
        }
    }
}
