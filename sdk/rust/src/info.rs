//! What a session is and does, as the daemon tells it.

use crate::error::{Error, Result};
use forerun_proto::conversions::{At as _, ConversionError, enumeration, list, text};
use forerun_proto::v1;
use forerun_types::{
    ApprovalId, CommitId, FileDiff, PathChange, Role, SessionId, StepIndex, Undone, Usage,
};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// When step i may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// When step i - depth is decided.
    #[default]
    Sliding,
    /// When all steps of the window before are decided.
    Barrier,
}

/// How the depth of a session is found, up to the one that is configured. In texts: `fixed`,
/// `auto`, `dynamic`, or `dynamic=0.7`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DepthControl {
    /// It is the one that is configured.
    #[default]
    Fixed,
    /// As many calls of the target as fit into the time of one.
    Auto,
    /// As far as the approximation agent is expected to be right (*Dynamic Speculative
    /// Planning*).
    Dynamic {
        /// What a second that is saved is worth beside one that agents work in vain, in
        /// thousandths, 1 to 999: below 500 is cheaper, above is faster.
        tau: u16,
    },
}

/// A text that is no [`DepthControl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of fixed, auto, dynamic and dynamic=TAU, with tau from 0.001 to 0.999")]
pub struct DepthControlError(String);

impl FromStr for DepthControl {
    type Err = DepthControlError;

    fn from_str(text: &str) -> Result<DepthControl, DepthControlError> {
        let odd = || DepthControlError(text.to_owned());
        match text {
            "fixed" => Ok(DepthControl::Fixed),
            "auto" => Ok(DepthControl::Auto),
            "dynamic" => Ok(DepthControl::Dynamic { tau: 500 }),
            _ => {
                let tau = text.strip_prefix("dynamic=").ok_or_else(odd)?;
                let tau: f64 = tau.parse().map_err(|_| odd())?;
                // What is no number becomes 0, what is too large the largest.
                match (tau * 1_000.0).round() as u16 {
                    tau @ 1..=999 => Ok(DepthControl::Dynamic { tau }),
                    _ => Err(odd()),
                }
            }
        }
    }
}

/// When verified changes reach the workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommitMode {
    /// Each step when it is verified.
    #[default]
    Step,
    /// All at once, by [`Session::finish`](crate::Session::finish).
    Session,
}

/// What is to become of a session's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// They are written to the workspace, all or none.
    Commit,
    /// They are dropped.
    Discard,
    /// They stay with the daemon for a later call.
    Keep,
}

/// What became of a session's changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finished {
    /// What was done.
    pub outcome: Finish,
    /// The commit, if there was something to write.
    pub commit: Option<CommitId>,
    /// The paths that it wrote.
    pub changed: Vec<PathChange>,
}

/// What a session is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// The plan goes on.
    Open,
    /// Its owner paused it.
    Paused,
    /// It waits for its owner.
    Stalled {
        /// The step that it can not take.
        step: StepIndex,
        /// Why not.
        reason: String,
        /// What the owner can do.
        hint: String,
    },
    /// The plan ended. With [`CommitMode::Session`], a finish is awaited.
    Ended,
    /// Nothing more can happen to it, except that kept changes are committed.
    Finished,
    /// The daemon stopped before it ended.
    Interrupted,
}

impl SessionState {
    /// The state's name as it is spelled everywhere.
    pub fn as_str(&self) -> &'static str {
        match self {
            SessionState::Open => "open",
            SessionState::Paused => "paused",
            SessionState::Stalled { .. } => "stalled",
            SessionState::Ended => "ended",
            SessionState::Finished => "finished",
            SessionState::Interrupted => "interrupted",
        }
    }

    /// Whether the plan can still go on.
    pub fn is_running(&self) -> bool {
        matches!(
            self,
            SessionState::Open | SessionState::Paused | SessionState::Stalled { .. }
        )
    }
}

/// An agent of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttachedAgent {
    /// What it does.
    pub role: Role,
    /// Its id.
    pub agent: String,
    /// The model behind it.
    pub model: String,
    /// How many calls at once.
    pub capacity: u32,
    /// False while the daemon waits for it to attach again.
    pub connected: bool,
}

/// How many of each there were so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Steps that are verified.
    pub verified: u32,
    /// Steps whose changes are in the workspace.
    pub committed: u32,
    /// Steps with a proposal of the approximation agent.
    pub proposed: u32,
    /// Proposals that the verdict matched.
    pub matched: u32,
    /// Proposals that the verdict corrected: rollbacks.
    pub corrected: u32,
    /// Nodes that left the tree without being verified.
    pub squashed: u32,
    /// Calls of the approximation agent.
    pub approximation_calls: u32,
    /// Calls of the target agent.
    pub target_calls: u32,
    /// Executions of actions.
    pub executions: u32,
    /// Executions whose result was not used.
    pub executions_dropped: u32,
    /// Calls of agents that were in flight at once, at most.
    pub peak_calls: u32,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// From opening to the end of the plan, or to now.
    pub elapsed: Duration,
    /// The approximation agent's calls, summed; they overlap.
    pub approximation: Duration,
    /// The target agent's calls, summed; they overlap.
    pub target: Duration,
    /// Executions, summed; they overlap.
    pub execution: Duration,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Its id.
    pub id: SessionId,
    /// What it is doing.
    pub state: SessionState,
    /// The directory that it works on.
    pub workspace: PathBuf,
    /// What the user wants done.
    pub task: String,
    /// How agents should go about it.
    pub instructions: String,
    /// Name of its policy set.
    pub policy: String,
    /// How many steps may be undecided at once; 0 is without speculation.
    pub depth: u32,
    /// How many candidates are executed side by side for a step.
    pub width: u32,
    /// When a step may start.
    pub window: Window,
    /// How long a verdict can be replaced before it takes effect.
    pub review: Duration,
    /// The plan ends after so many steps.
    pub max_steps: u32,
    /// Whether actions are predicted from what was done in the workspace before.
    pub predict: bool,
    /// When verified changes reach the workspace.
    pub commit: CommitMode,
    /// Where tools get their random numbers from.
    pub seed: u64,
    /// What tools see as the time when the session starts, in nanoseconds since 1970.
    pub clock_ns: u64,
    /// Milliseconds since 1970.
    pub opened_at_ms: u64,
    /// Its agents.
    pub agents: Vec<AttachedAgent>,
    /// How many of each there were so far.
    pub counts: Counts,
    /// Where the time went.
    pub timings: Timings,
    /// What the approximation agent's answers cost.
    pub approximation_usage: Usage,
    /// What the target agent's answers cost.
    pub target_usage: Usage,
    /// Why the plan ended; empty while it has not.
    pub end_reason: String,
    /// The session's result, once there is one.
    pub answer: Option<String>,
    /// The last event of its log.
    pub last_sequence: u64,
    /// What waits for the owner's approval, if anything does.
    pub approval: Option<Approval>,
}

/// What policy puts to the owner of a session: a step's action, or its commit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Approval {
    /// Its id, unique within the session.
    pub id: ApprovalId,
    /// The step that waits.
    pub step: StepIndex,
    /// The action, or what the commit changes.
    pub what: String,
    /// The policies that demand it, by id.
    pub policies: Vec<String>,
    /// Why, in one sentence.
    pub reason: String,
    /// The permit that allows the like always, in Cedar, if one can.
    pub always: Option<String>,
}

impl Window {
    pub(crate) fn to_wire(self) -> v1::Window {
        match self {
            Window::Sliding => v1::Window::Sliding,
            Window::Barrier => v1::Window::Barrier,
        }
    }
}

impl DepthControl {
    /// With tau, in thousandths.
    pub(crate) fn to_wire(self) -> (v1::DepthControl, u32) {
        match self {
            DepthControl::Fixed => (v1::DepthControl::Fixed, 0),
            DepthControl::Auto => (v1::DepthControl::Auto, 0),
            DepthControl::Dynamic { tau } => (v1::DepthControl::Dynamic, tau.into()),
        }
    }
}

impl CommitMode {
    pub(crate) fn to_wire(self) -> v1::CommitMode {
        match self {
            CommitMode::Step => v1::CommitMode::Step,
            CommitMode::Session => v1::CommitMode::Session,
        }
    }
}

impl Finish {
    pub(crate) fn to_wire(self) -> v1::FinishOutcome {
        match self {
            Finish::Commit => v1::FinishOutcome::Commit,
            Finish::Discard => v1::FinishOutcome::Discard,
            Finish::Keep => v1::FinishOutcome::Keep,
        }
    }
}

/// One session, from an answer that has to have it.
pub(crate) fn session(info: Option<v1::SessionInfo>) -> Result<SessionInfo> {
    info.ok_or_else(|| ConversionError::new("session", "is not set"))
        .and_then(|info| convert(info).at("session"))
        .map_err(|source| Error::Invalid {
            what: "session",
            source,
        })
}

pub(crate) fn sessions(answer: v1::SessionServiceListResponse) -> Result<Vec<SessionInfo>> {
    answer
        .sessions
        .into_iter()
        .enumerate()
        .map(|(index, info)| convert(info).at(&format!("sessions[{index}]")))
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Invalid {
            what: "list of sessions",
            source,
        })
}

pub(crate) fn diff(answer: v1::SessionServiceDiffResponse) -> Result<Vec<FileDiff>> {
    list("files", answer.files).map_err(|source| Error::Invalid {
        what: "diff",
        source,
    })
}

pub(crate) fn undone(answer: v1::SessionServiceUndoResponse) -> Result<Vec<Undone>> {
    list("undone", answer.undone).map_err(|source| Error::Invalid {
        what: "answer to undo",
        source,
    })
}

pub(crate) fn finished(answer: v1::SessionServiceFinishResponse) -> Result<Finished> {
    let convert = || -> Result<Finished, ConversionError> {
        let outcome = match answer.outcome() {
            v1::FinishOutcome::Commit => Finish::Commit,
            v1::FinishOutcome::Discard => Finish::Discard,
            v1::FinishOutcome::Keep => Finish::Keep,
            v1::FinishOutcome::Unspecified => {
                return Err(ConversionError::new("outcome", "is not set or not known"));
            }
        };
        let commit = answer.commit.as_deref();
        Ok(Finished {
            outcome,
            commit: commit.map(|commit| text("commit", commit)).transpose()?,
            changed: list("changed", answer.changed)?,
        })
    };
    convert().map_err(|source| Error::Invalid {
        what: "answer to finish",
        source,
    })
}

fn convert(info: v1::SessionInfo) -> Result<SessionInfo, ConversionError> {
    let counts = info.counts.unwrap_or_default();
    let timings = info.timings.unwrap_or_default();
    Ok(SessionInfo {
        id: text("id", &info.id)?,
        state: state(&info)?,
        window: match info.window() {
            v1::Window::Barrier => Window::Barrier,
            v1::Window::Sliding | v1::Window::Unspecified => Window::Sliding,
        },
        commit: match info.commit() {
            v1::CommitMode::Session => CommitMode::Session,
            v1::CommitMode::Step | v1::CommitMode::Unspecified => CommitMode::Step,
        },
        workspace: info.workspace.into(),
        task: info.task,
        instructions: info.instructions,
        policy: info.policy,
        depth: info.depth,
        width: info.width.max(1),
        review: Duration::from_millis(info.review_ms),
        max_steps: info.max_steps,
        predict: info.predict,
        seed: info.seed,
        clock_ns: info.clock_ns,
        opened_at_ms: info.opened_at_ms,
        agents: info
            .agents
            .into_iter()
            .enumerate()
            .map(|(index, attached)| agent(attached).at(&format!("agents[{index}]")))
            .collect::<Result<_, _>>()?,
        counts: Counts {
            verified: counts.verified,
            committed: counts.committed,
            proposed: counts.proposed,
            matched: counts.matched,
            corrected: counts.corrected,
            squashed: counts.squashed,
            approximation_calls: counts.approximation_calls,
            target_calls: counts.target_calls,
            executions: counts.executions,
            executions_dropped: counts.executions_dropped,
            peak_calls: counts.peak_calls,
        },
        timings: Timings {
            elapsed: Duration::from_micros(timings.elapsed_us),
            approximation: Duration::from_micros(timings.approximation_us),
            target: Duration::from_micros(timings.target_us),
            execution: Duration::from_micros(timings.execution_us),
        },
        approximation_usage: info.approximation_usage.unwrap_or_default().into(),
        target_usage: info.target_usage.unwrap_or_default().into(),
        end_reason: info.end_reason,
        answer: info.answer,
        last_sequence: info.last_sequence,
        approval: info.approval.map(approval).transpose().at("approval")?,
    })
}

fn approval(approval: v1::Approval) -> Result<Approval, ConversionError> {
    Ok(Approval {
        id: text("id", &approval.id)?,
        step: StepIndex(approval.step),
        what: approval.what,
        policies: approval.policies,
        reason: approval.reason,
        always: approval.always,
    })
}

fn state(info: &v1::SessionInfo) -> Result<SessionState, ConversionError> {
    Ok(match v1::SessionState::try_from(info.state) {
        Ok(v1::SessionState::Open) => SessionState::Open,
        Ok(v1::SessionState::Paused) => SessionState::Paused,
        Ok(v1::SessionState::Stalled) => {
            let stall = info.stall.clone().unwrap_or_default();
            SessionState::Stalled {
                step: StepIndex(stall.step),
                reason: stall.reason,
                hint: stall.hint,
            }
        }
        Ok(v1::SessionState::Ended) => SessionState::Ended,
        Ok(v1::SessionState::Finished) => SessionState::Finished,
        Ok(v1::SessionState::Interrupted) => SessionState::Interrupted,
        Ok(v1::SessionState::Unspecified) => {
            return Err(ConversionError::new("state", "is not set"));
        }
        Err(_) => {
            let problem = format_args!("unknown value {}", info.state).to_string();
            return Err(ConversionError::new("state", problem));
        }
    })
}

fn agent(agent: v1::AttachedAgent) -> Result<AttachedAgent, ConversionError> {
    Ok(AttachedAgent {
        role: enumeration::<v1::Role, _>("role", agent.role)?,
        agent: agent.agent,
        model: agent.model,
        capacity: agent.capacity,
        connected: agent.connected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> v1::SessionInfo {
        v1::SessionInfo {
            id: SessionId::from_random([3; 10]).to_string(),
            state: v1::SessionState::Stalled.into(),
            stall: Some(v1::Stall {
                step: 4,
                reason: "the target failed".to_owned(),
                hint: "retry".to_owned(),
            }),
            commit: v1::CommitMode::Session.into(),
            review_ms: 250,
            ..v1::SessionInfo::default()
        }
    }

    #[test]
    fn a_stalled_session_says_where_and_why() {
        let info = session(Some(wire())).expect("valid");
        assert_eq!(
            info.state,
            SessionState::Stalled {
                step: StepIndex(4),
                reason: "the target failed".to_owned(),
                hint: "retry".to_owned(),
            }
        );
        assert_eq!(info.commit, CommitMode::Session);
        assert_eq!(info.review, Duration::from_millis(250));
    }

    #[test]
    fn an_invalid_session_names_the_field() {
        let mut info = wire();
        info.agents = vec![v1::AttachedAgent::default()];
        let error = session(Some(info)).expect_err("no role");
        assert_eq!(error.code(), "DAEMON_MESSAGE_INVALID");
        assert!(
            error.to_string().contains("session.agents[0].role"),
            "{error}"
        );
        session(None).expect_err("nothing");
    }
}
