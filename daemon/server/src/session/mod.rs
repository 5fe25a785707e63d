//! One session: one task owns its state, and everything reaches it as one closed
//! [`Message`] enum. It feeds the planner, carries out what the planner decides, and
//! writes every event to the journal before anybody sees it.
//!
//! ```text
//!   agents ──► Message ──► Actor ──► Planner ──► effects ──► agents, sandboxes, commits
//!   owner  ──►                │
//!   sandboxes, commits ──►    └──► Log (journal, then watchers)
//! ```
//!
//! The actor lives as long as its plan. What comes later (the diff of an ended session,
//! its commit or its discard) is done by [`archive`] on what the journal kept.

mod actor;
mod agents;
mod approval;
pub(crate) mod archive;
mod backtrack;
mod caller;
pub(crate) mod decided;
mod effects;
mod execute;
mod foresee;
mod log;
mod outgoing;
mod retire;
mod sending;
mod settle;
mod suggest;
mod summary;
mod trajectory;

pub(crate) use actor::{Context, SessionSettings, millis, spawn};
pub(crate) use agents::{AGENT_QUEUE_MAX, Attach, Deadlines, StreamId, ToAgent};
pub(crate) use caller::{ActError, ActRequest, PredictRequest};
pub(crate) use log::Log;
pub(crate) use outgoing::{PARKED_MAX, Sent};
pub(crate) use settle::Settler;
pub(crate) use summary::{PendingApproval, Phase, RoleSummary, Summary};

use forerun_planner::{Failure, Refusal, Seen};
use forerun_policy::Decision;
use forerun_sandbox::{Done, Outgoing, Toolbox};
use forerun_snapshot::FileDiff;
use forerun_types::{
    Action, AllowFor, ApprovalId, CallId, CommitId, ExecutionId, NodeId, Observation, PathChange,
    Role, StepIndex, Undone, Usage,
};
use std::fmt;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Messages that may wait for one session; senders wait beyond it.
const SESSION_QUEUE_MAX: usize = 1_024;

/// Everything that a session reacts to.
pub(crate) enum Message {
    /// An agent wants to take roles.
    Attach(Attach, oneshot::Sender<Result<Welcome, String>>),
    /// An agent's stream ended.
    Detached(StreamId),
    /// An agent said something about a call.
    FromAgent(StreamId, CallId, FromAgent),
    /// A sandbox finished an action.
    Executed(ExecutionId, Box<Done>),
    /// A client executed its tool, or there is no answer and this is why.
    ClientAnswered(ExecutionId, Result<Observation, String>, Duration),
    /// An action wants to send a request.
    WantsOut(ExecutionId, Box<Outgoing>),
    /// A request was answered, or was not.
    Sent(Box<Sent>),
    /// An execution is parked for as long as one may be.
    ParkedTooLong(ExecutionId),
    /// A step was committed or journaled, or could not be.
    Retired(NodeId, StepIndex, Retired),
    /// A commit was taken back.
    Undone(Undone),
    /// What was to be taken back is, or could not be.
    WentBack(WentBack),
    /// A caller acts.
    Act(ActRequest),
    /// A caller says what it expects to do.
    Predict(PredictRequest),
    /// The owner interrupts.
    Interrupt(Box<Interruption>),
    /// Somebody asks how things are.
    Inspect(oneshot::Sender<View>),
    /// Somebody asks what the unfinished session has changed.
    Diff(oneshot::Sender<Result<Vec<FileDiff>, String>>),
    /// The owner closes the session, or the daemon stops.
    Close {
        reason: String,
        by_daemon: bool,
        done: oneshot::Sender<()>,
    },
}

/// What an agent says about a call.
pub(crate) enum FromAgent {
    /// Candidates, best first; at least one.
    Generated {
        actions: Result<Vec<Action>, String>,
        usage: Usage,
    },
    Progress,
    Failed {
        failure: Failure,
        /// For people.
        reason: String,
    },
    Cancelled,
    Rebase,
}

/// What a successful attach is told.
pub(crate) struct Welcome {
    /// Calls that the agent named and that are still waited for.
    pub(crate) open_calls: Vec<CallId>,
    pub(crate) reattach: Duration,
    /// The session's tools, whatever was added or removed since.
    pub(crate) tools: Toolbox,
}

/// How a retirement ended: with a commit, if there was something to commit.
pub(crate) type Retirement = Result<Option<(CommitId, Vec<PathChange>)>, Unretired>;

/// What a retirement tells.
pub(crate) struct Retired {
    /// What policy said of its commit, and what it was asked, in JSON.
    pub(crate) decided: Option<(Decision, String)>,
    pub(crate) retirement: Retirement,
}

impl From<Retirement> for Retired {
    /// One that policy was not asked about.
    fn from(retirement: Retirement) -> Retired {
        Retired {
            decided: None,
            retirement,
        }
    }
}

/// Why a step was not retired.
pub(crate) enum Unretired {
    /// Policy puts the commit to the owner.
    Asked { what: String, decision: Decision },
    /// Executed again, the step sees what somebody changed.
    Stale { reason: String },
    /// The owner has to do something about it.
    Conflict { reason: String, hint: String },
}

/// How far a session was taken back.
pub(crate) struct WentBack {
    /// The first step that is not verified any more.
    pub(crate) first: StepIndex,
    /// Why earlier ones that were to be taken back are not.
    pub(crate) refused: Option<String>,
}

/// An interrupt of the owner, its idempotency key, and where the answer goes.
pub(crate) struct Interruption {
    pub(crate) what: UserInterrupt,
    pub(crate) key: String,
    pub(crate) reply: oneshot::Sender<Result<u64, InterruptError>>,
}

/// What an owner can do, in values rather than in the planner's ids.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum UserInterrupt {
    Claim {
        step: StepIndex,
        seen: Seen,
        ttl: Duration,
    },
    Unclaim {
        step: StepIndex,
    },
    Replace {
        step: StepIndex,
        seen: Seen,
        action: Action,
    },
    Accept {
        step: StepIndex,
        node: Option<NodeId>,
    },
    Answer {
        step: StepIndex,
        text: String,
    },
    Approve {
        approval: ApprovalId,
        allow_for: AllowFor,
    },
    Refuse {
        approval: ApprovalId,
        reason: String,
    },
    Suggest {
        text: String,
    },
    Backtrack {
        step: StepIndex,
        seen: Seen,
        anew: Anew,
        /// Although something was sent that can not be taken back.
        keep_effects: bool,
    },
    Retry,
    Pause,
    Resume,
    Stop {
        undo: bool,
    },
}

/// How a step that the user went back to is decided.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Anew {
    /// By the user.
    Action(Action),
    /// By the agents, who see this.
    Suggestion(String),
}

impl fmt::Display for UserInterrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserInterrupt::Claim { step, .. } => write!(f, "claim of step {step}"),
            UserInterrupt::Unclaim { step } => write!(f, "unclaim of step {step}"),
            UserInterrupt::Replace { step, action, .. } => {
                write!(f, "replace of step {step} by {action}")
            }
            UserInterrupt::Accept { step, .. } => write!(f, "accept of step {step}"),
            UserInterrupt::Answer { step, .. } => write!(f, "answer to step {step}"),
            UserInterrupt::Approve { approval, .. } => write!(f, "approval of {approval}"),
            UserInterrupt::Refuse { approval, .. } => write!(f, "refusal of {approval}"),
            UserInterrupt::Suggest { .. } => f.write_str("suggestion"),
            UserInterrupt::Backtrack { step, .. } => write!(f, "backtrack to step {step}"),
            UserInterrupt::Retry => f.write_str("retry"),
            UserInterrupt::Pause => f.write_str("pause"),
            UserInterrupt::Resume => f.write_str("resume"),
            UserInterrupt::Stop { undo: false } => f.write_str("stop"),
            UserInterrupt::Stop { undo: true } => f.write_str("stop and undo"),
        }
    }
}

/// Why an interrupt had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InterruptError {
    /// The state does not allow it; says which state it needs.
    #[error("{reason}")]
    Refused {
        reason: String,
        needed: &'static str,
        /// What the user saw is not there any more.
        changed: bool,
    },
    /// The action that the user gave can not be executed.
    #[error("{0}")]
    InvalidAction(String),
    /// What the user said can not be part of a prompt.
    #[error("the suggestion can not be used: {0}")]
    InvalidSuggestion(String),
    /// The key was used for something else.
    #[error("the idempotency key was used for another interrupt")]
    KeyReused,
    /// The session ended.
    #[error("the session has ended")]
    Ended,
}

impl From<Refusal> for InterruptError {
    fn from(refusal: Refusal) -> InterruptError {
        InterruptError::Refused {
            reason: refusal.to_string(),
            needed: refusal.needed(),
            changed: matches!(refusal, Refusal::Changed { .. }),
        }
    }
}

/// How a live session is.
pub(crate) struct View {
    pub(crate) summary: Summary,
    /// The step whose `ask_user` waits for its answer.
    pub(crate) question: Option<StepIndex>,
    pub(crate) elapsed: Duration,
    pub(crate) agents: Vec<Seat>,
}

/// Who holds a role.
pub(crate) struct Seat {
    pub(crate) role: Role,
    pub(crate) agent: String,
    pub(crate) model: String,
    pub(crate) capacity: u32,
    pub(crate) connected: bool,
}

/// The way to a session's actor.
#[derive(Clone)]
pub(crate) struct SessionHandle {
    messages: mpsc::Sender<Message>,
}

impl SessionHandle {
    /// Sends a message; `false` if the session has ended.
    pub(crate) async fn send(&self, message: Message) -> bool {
        self.messages.send(message).await.is_ok()
    }

    /// Sends a message that carries where its answer goes; `None` if the session ended.
    pub(crate) async fn call<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(message(reply)).await.ok()?;
        answer.await.ok()
    }
}
