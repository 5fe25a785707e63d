//! What the user may do to a running session, and how it is refused.

use crate::{Candidate, Rehashed};
use forerun_types::{ActionKey, NodeId, PrefixId, StepIndex};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A call of the session's owner. The server has checked who calls, and that the action
/// is valid; [`crate::Admission`] says whether it is possible now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interrupt {
    /// A person is typing: the target goes on, but its answer is no verdict until
    /// `replace`, `accept`, `unclaim` or the end of the claim. Claiming again renews it.
    Claim {
        /// The awaited step, or one in review.
        step: StepIndex,
        /// What the user saw.
        seen: Seen,
        /// How long the claim lasts, at most [`Interrupt::CLAIM_TTL_MAX`].
        ttl: Duration,
    },
    /// Gives a claim back.
    Unclaim {
        /// The claimed step.
        step: StepIndex,
    },
    /// u_i: the user decides a step, in place of the target (scenario 1) or in the
    /// review window of the target's answer (scenario 2).
    Replace {
        /// The awaited step, or one in review.
        step: StepIndex,
        /// What the user saw.
        seen: Seen,
        /// The user's action.
        candidate: Candidate,
        /// The candidates of the step that are near it, for the matcher `fuzzy`.
        near: Vec<ActionKey>,
    },
    /// u_i is a candidate that is there: this one, whatever the matcher takes for it.
    Accept {
        /// The awaited step, or one in review.
        step: StepIndex,
        /// Which candidate; `None` if there is only one.
        node: Option<NodeId>,
    },
    /// What the user says joins the prefix from the next undecided step on (rule 6). It
    /// ends the calls on the prefixes that change, and decides nothing. In a pause it takes
    /// effect at once, too: an answer on the prefix without it could not be used anyway.
    Suggest {
        /// The lowest undecided step, or the next one if all are decided.
        step: StepIndex,
        /// The prefixes that it changes.
        prefixes: Rehashed,
    },
    /// Goes back to a step: it and all after it are undone, and it is decided anew. Acts at
    /// once, in a pause too.
    Backtrack {
        /// A verified step, or one that is awaited or decided.
        step: StepIndex,
        /// What the user saw; only of a step that is not verified.
        seen: Seen,
        /// The step's prefix, with what the user suggests for it.
        prefix: PrefixId,
        /// u_i, if the user decides it.
        candidate: Option<Candidate>,
    },
    /// A stalled session asks, executes or commits again.
    Retry,
    /// Nothing is launched, decided or retired from now on.
    Pause,
    /// Goes on after a pause.
    Resume,
    /// Ends the session. What is verified is kept.
    Stop,
}

impl Interrupt {
    /// Longest claim: stops a forgotten one from holding up a session for ever.
    pub const CLAIM_TTL_MAX: Duration = Duration::from_secs(3600);
}

/// What the user saw of a step when interrupting. If it changed, the interrupt was
/// meant for something else and is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// Whatever is there.
    Any,
    /// The step, asked on this prefix.
    Prefix(PrefixId),
    /// This candidate or answer.
    Node(NodeId),
}

/// An interrupt that is not possible now. Each says which state it would have needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing can be done to a session that ended.
    #[error("the session ended: this needs one that is open")]
    Ended,
    /// A stop was accepted and waits for a commit.
    #[error("the session is stopping: this needs one that is open")]
    Stopping,
    /// A backtrack was accepted and waits for steps to be undone.
    #[error("the session goes back: this needs one that has done so")]
    Backtracking,
    /// Nothing comes after the last decided step.
    #[error("the plan is decided to its end: this needs a step that is undecided")]
    NothingUndecided,
    /// `pause` twice.
    #[error("the session is paused: this needs one that is not")]
    Paused,
    /// `resume` without a pause.
    #[error("the session is not paused: this needs one that is")]
    NotPaused,
    /// `retry` without a stall.
    #[error("the session is not stalled: this needs one that is")]
    NotStalled,
    /// The step left the tree.
    #[error("step {step} is verified: this needs a step that is awaited or in review")]
    Verified {
        /// The step.
        step: StepIndex,
    },
    /// The step is decided, and its review is over.
    #[error("step {step} is decided: this needs a step that is awaited or in review")]
    Decided {
        /// The step.
        step: StepIndex,
    },
    /// An earlier step is not decided, or has no observation yet.
    #[error(
        "step {step} is not awaited yet: this needs every step before it to be decided and executed"
    )]
    NotAwaited {
        /// The step.
        step: StepIndex,
    },
    /// What the user saw is not there any more.
    #[error("step {step} changed since it was seen: this needs the step as it is now")]
    Changed {
        /// The step.
        step: StepIndex,
    },
    /// `accept`, and nothing is there to accept.
    #[error("step {step} has no candidate: this needs one")]
    NoCandidate {
        /// The step.
        step: StepIndex,
    },
    /// `accept` without a name, and several candidates are there.
    #[error("step {step} has several candidates: this needs one to be named")]
    Ambiguous {
        /// The step.
        step: StepIndex,
    },
    /// `unclaim` without a claim.
    #[error("step {step} is not claimed: this needs a claimed step")]
    NotClaimed {
        /// The step.
        step: StepIndex,
    },
}

impl Refusal {
    /// Stable name of the reason, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Ended => "session_ended",
            Refusal::Stopping => "session_stopping",
            Refusal::Backtracking => "session_backtracking",
            Refusal::NothingUndecided => "nothing_undecided",
            Refusal::Paused => "session_paused",
            Refusal::NotPaused => "session_not_paused",
            Refusal::NotStalled => "session_not_stalled",
            Refusal::Verified { .. } => "step_verified",
            Refusal::Decided { .. } => "step_decided",
            Refusal::NotAwaited { .. } => "step_not_awaited",
            Refusal::Changed { .. } => "step_changed",
            Refusal::NoCandidate { .. } => "no_candidate",
            Refusal::Ambiguous { .. } => "candidate_ambiguous",
            Refusal::NotClaimed { .. } => "step_not_claimed",
        }
    }

    /// The state that the interrupt would have needed.
    pub fn needed(&self) -> &'static str {
        match self {
            Refusal::Ended | Refusal::Stopping => "an open session",
            Refusal::Backtracking => "a session that does not go back",
            Refusal::NothingUndecided => "an undecided step",
            Refusal::Paused => "a session that is not paused",
            Refusal::NotPaused => "a paused session",
            Refusal::NotStalled => "a stalled session",
            Refusal::Verified { .. } | Refusal::Decided { .. } => {
                "a step that is awaited or in review"
            }
            Refusal::NotAwaited { .. } => "every earlier step decided and executed",
            Refusal::Changed { .. } => "the step as it was seen",
            Refusal::NoCandidate { .. } => "a candidate",
            Refusal::Ambiguous { .. } => "one named candidate",
            Refusal::NotClaimed { .. } => "a claimed step",
        }
    }
}
