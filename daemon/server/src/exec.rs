//! A command that a person runs: a session of one step, decided by its owner before it
//! begins, and without agents. What it changed is finished and undone as any session's.
//!
//! ```text
//! start: Opened, Decided, ExecutionStarted ── the command runs ── end: Verified, Ended
//!                                                └─ nobody waits any more: Interrupted
//! ```

use crate::auth::Tokens;
use crate::daemon::{Daemon, NewSession};
use crate::error::RequestError;
use crate::session::SessionSettings;
use crate::session::archive::{FinishOutcome, Finished};
use forerun_journal::{CommitMode, SessionRecord, SessionState};
use forerun_policy::PolicySet;
use forerun_sandbox::{Command, Done, Exec, Execution, Run, Streams};
use forerun_snapshot::Workspace;
use forerun_types::{
    Action, Digest, EventKind, ExecutionEnd, ExecutionId, Limits, NodeId, ObservationStatus,
    PathChange, SnapshotId, Source, StepIndex, Time,
};
use std::path::PathBuf;
use std::time::Instant;

/// The tool that such a step names.
const EXEC: &str = "exec";
const STEP: StepIndex = StepIndex(0);
const NODE: NodeId = NodeId(0);
const EXECUTION: ExecutionId = ExecutionId(0);

/// What is to be run.
pub(crate) struct NewExec {
    pub(crate) wasm: Vec<u8>,
    pub(crate) command: Command,
    /// `None`: an empty one.
    pub(crate) workspace: Option<PathBuf>,
    pub(crate) policy: String,
    pub(crate) limits: Limits,
}

/// A command that runs.
pub(crate) struct Running {
    /// `None` without a workspace: then there is nothing to be finished.
    pub(crate) session: Option<SessionRecord>,
    /// Open as long as it runs.
    _workspace: Option<Workspace>,
    parent: SnapshotId,
    began: Instant,
}

/// How it ended.
pub(crate) struct Ended {
    /// `None` if it was stopped; the text says why.
    pub(crate) exit_code: Option<i32>,
    pub(crate) text: String,
    pub(crate) denied: Option<String>,
    pub(crate) changed: Vec<PathChange>,
}

impl Daemon {
    /// Compiles and starts a command. Blocks.
    pub(crate) fn start_exec(
        &self,
        new: NewExec,
        streams: Streams,
    ) -> Result<(Running, Execution), RequestError> {
        let program = self.sandboxes.program(&new.wasm)?;
        let policy = self.policy(&new.policy)?;
        let workspace = match &new.workspace {
            Some(path) => Some(self.open_workspace(path)?),
            None => None,
        };
        let action = action(&new)?;
        let tokens = Tokens::draw()?;
        let session = NewSession {
            workspace: new.workspace.clone().unwrap_or_default(),
            task: format!("exec {}", new.command.arguments.join(" ")),
            instructions: String::new(),
            policy: new.policy.clone(),
            depth: 0,
            commit: CommitMode::Session,
            seed: None,
            clock_ns: None,
            settings: SessionSettings {
                limits: new.limits.clone(),
                ..SessionSettings::default()
            },
        };
        let snapshot = match &workspace {
            Some(workspace) => workspace.snapshot(),
            None => self.sandboxes.empty(),
        };
        let base = snapshot.workspace();
        let record = self.record_of(&session, base, &policy, &tokens)?;
        if workspace.is_some() {
            self.log.journal().create_session(&record)?;
            self.log
                .append_blocking(&record.id, began(&record, &action))?;
        }
        let parent = self.sandboxes.open(snapshot);
        let request = request(&record, action, parent, &policy, new.limits);
        let exec = Exec {
            request,
            command: new.command,
            streams,
        };
        let running = Running {
            session: workspace.is_some().then_some(record),
            _workspace: workspace,
            parent,
            began: Instant::now(),
        };
        Ok((running, self.sandboxes.exec(&program, exec)))
    }

    /// Notes how a command ended, and keeps its changes. Blocks on the disk.
    pub(crate) fn end_exec(&self, running: &Running, done: Done) -> Result<Ended, RequestError> {
        let delta = self.sandboxes.delta(done.snapshot);
        for held in [running.parent, done.snapshot] {
            self.sandboxes.drop_snapshot(held);
        }
        let changed = delta
            .as_ref()
            .map(|delta| delta.changed())
            .unwrap_or_default();
        let ended = Ended {
            exit_code: exit_code(&done),
            text: done.observation.text.clone(),
            denied: done.denied.clone(),
            changed: changed.clone(),
        };
        let Some(record) = &running.session else {
            return Ok(ended);
        };
        let journal = self.log.journal();
        if let Some(delta) = delta.filter(|delta| !delta.is_empty()) {
            let bytes = delta.to_bytes();
            let bytes = bytes.map_err(|error| RequestError::Internal(error.to_string()))?;
            journal.store_delta(&record.id, STEP, &bytes)?;
        }
        let at = running.at();
        let reason = match ended.exit_code {
            Some(code) => format!("exit code {code}"),
            None => ended.text.clone(),
        };
        let events = [
            EventKind::ExecutionFinished {
                execution: EXECUTION,
                node: NODE,
                step: STEP,
                elapsed_us: done.usage.wall_us,
                observation: done.digests.observation,
                changes: done.digests.changes,
            },
            EventKind::Observed {
                step: STEP,
                node: NODE,
                observation: done.observation,
            },
            EventKind::ExecutionEnded {
                execution: EXECUTION,
                node: NODE,
                step: STEP,
                end: ExecutionEnd::Used,
            },
            EventKind::Verified {
                step: STEP,
                node: NODE,
                delta: done.digests.delta,
                changed: changed.clone(),
            },
            EventKind::Ended {
                reason,
                answer: None,
                steps: 1,
            },
        ];
        let events = events.into_iter().map(|kind| (at, kind)).collect();
        self.log.append_blocking(&record.id, events)?;
        journal.set_state(&record.id, SessionState::Ended)?;
        if changed.is_empty() {
            let nothing = Finished {
                outcome: FinishOutcome::Discard,
                commit: None,
            };
            self.record_finish(record, &nothing)?;
        }
        Ok(ended)
    }

    /// Nobody waits for the command any more; it was stopped. Blocks on the disk.
    pub(crate) fn abandon_exec(&self, running: &Running) -> Result<(), RequestError> {
        self.sandboxes.drop_snapshot(running.parent);
        let Some(record) = &running.session else {
            return Ok(());
        };
        let reason = "its terminal went away before it ended".to_owned();
        let event = (running.at(), EventKind::Interrupted { reason });
        self.log.append_blocking(&record.id, vec![event])?;
        let journal = self.log.journal();
        Ok(journal.set_state(&record.id, SessionState::Interrupted)?)
    }
}

impl Running {
    fn at(&self) -> Time {
        let elapsed = self.began.elapsed().as_micros();
        Time(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

/// The step as the log has it. Of the environment only the names: the values may be
/// secrets.
fn action(new: &NewExec) -> Result<Action, RequestError> {
    let names = new.command.environment.iter().map(|(name, _)| name);
    let arguments = serde_json::json!({
        "component": Digest::of(&new.wasm).to_string(),
        "arguments": new.command.arguments,
        "environment": names.collect::<Vec<_>>(),
        "mount": new.command.mount,
    });
    Action::parse(EXEC, &arguments.to_string())
        .map_err(|error| RequestError::Internal(error.to_string()))
}

fn began(record: &SessionRecord, action: &Action) -> Vec<(Time, EventKind)> {
    let events = [
        EventKind::Opened {
            workspace: record.workspace.display().to_string(),
            task: record.task.clone(),
            policy: record.policy.clone(),
            depth: record.depth,
        },
        EventKind::Decided {
            step: STEP,
            node: NODE,
            source: Source::User,
            action: action.clone(),
        },
        EventKind::ExecutionStarted {
            execution: EXECUTION,
            node: NODE,
            step: STEP,
            speculative: false,
        },
    ];
    events.into_iter().map(|kind| (Time::ZERO, kind)).collect()
}

fn request(
    record: &SessionRecord,
    action: Action,
    parent: SnapshotId,
    policy: &PolicySet,
    limits: Limits,
) -> Run {
    Run {
        seed: action.seed(record.seed, STEP),
        action,
        parent,
        limits,
        clock_ns: record.clock_ns,
        rules: policy.path_rules(Source::User, false),
    }
}

fn exit_code(done: &Done) -> Option<i32> {
    let ended = matches!(
        done.observation.status,
        ObservationStatus::Success | ObservationStatus::ToolError | ObservationStatus::Denied
    );
    let structured = done.observation.structured.as_deref().filter(|_| ended)?;
    let structured: serde_json::Value = serde_json::from_str(structured).ok()?;
    i32::try_from(structured.get("exit_code")?.as_i64()?).ok()
}
