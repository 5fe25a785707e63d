//! A command or a tool that a person runs: a session of one step, decided by its owner
//! before it begins, and without agents. What it changed is finished and undone as any
//! session's.
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
use crate::session::decided::{inputs, policy_decided, touch_noted};
use forerun_journal::{CommitMode, SessionRecord, SessionState};
use forerun_policy::{CallRequest, Counters, Enforcement, Outcome, PolicySet};
use forerun_sandbox::{Command, Done, Exec, Execution, Run, Sandboxes, Streams};
use forerun_snapshot::Workspace;
use forerun_types::{
    Action, Digest, EventKind, ExecutionEnd, ExecutionId, Limits, NodeId, Observation,
    ObservationStatus, PathChange, SnapshotId, Source, StepIndex, Time,
};
use std::path::PathBuf;
use std::time::Instant;

/// The tool that such a step names.
const EXEC: &str = "exec";
const STEP: StepIndex = StepIndex(0);
const NODE: NodeId = NodeId(0);
const EXECUTION: ExecutionId = ExecutionId(0);

/// Where and how something is to be run.
pub(crate) struct Setting {
    /// `None`: an empty one.
    pub(crate) workspace: Option<PathBuf>,
    pub(crate) policy: String,
    pub(crate) limits: Limits,
}

/// What runs.
pub(crate) struct Running {
    /// `None` without a workspace: then there is nothing to be finished.
    pub(crate) session: Option<SessionRecord>,
    /// Open as long as it runs.
    _workspace: Option<Workspace>,
    sandboxes: Sandboxes,
    parent: SnapshotId,
    began: Instant,
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) observation: Observation,
    pub(crate) denied: Option<String>,
    pub(crate) changed: Vec<PathChange>,
}

impl Daemon {
    /// Compiles and starts a command. Blocks.
    pub(crate) fn start_exec(
        &self,
        wasm: &[u8],
        command: Command,
        setting: Setting,
        streams: Streams,
    ) -> Result<(Running, Execution), RequestError> {
        let sandboxes = self.sandboxes();
        let program = sandboxes.program(wasm)?;
        let action = exec_action(wasm, &command)?;
        let task = format!("exec {}", command.arguments.join(" "));
        let policy = self.policy_of(&sandboxes, &setting)?;
        let (running, request) = self.begin(sandboxes, (policy, None), action, task, setting)?;
        let exec = Exec {
            request,
            command,
            streams,
        };
        let execution = running.sandboxes.exec(&program, exec);
        Ok((running, execution))
    }

    /// Starts a call of a tool, or brings the reason for which policy refuses it. Blocks.
    pub(crate) fn start_call(
        &self,
        action: Action,
        setting: Setting,
    ) -> Result<Result<(Running, Execution), Observation>, RequestError> {
        let sandboxes = self.sandboxes();
        let policy = self.policy_of(&sandboxes, &setting)?;
        let asked = CallRequest {
            principal: Source::User,
            action: &action,
            step: STEP,
            depth: 0,
            speculative: false,
            counters: Counters::default(),
            read_sensitive: false,
        };
        let decision = policy.decide_call(&asked);
        let decided = policy_decided(Some(NODE), STEP, false, &decision, inputs(&asked));
        if let Err(observation) = sandboxes.toolbox().check(&action) {
            return Ok(Err(*observation));
        }
        if decision.outcome != Outcome::Run {
            let text = format!("{}: {}", decision.code, decision.reason);
            return Ok(Err(Observation::new(ObservationStatus::Denied, text)));
        }
        let task = format!("call {action}");
        let decided = (policy, Some(decided));
        let (running, request) = self.begin(sandboxes, decided, action, task, setting)?;
        let execution = running.sandboxes.run(request);
        Ok(Ok((running, execution)))
    }

    fn policy_of(
        &self,
        sandboxes: &Sandboxes,
        setting: &Setting,
    ) -> Result<PolicySet, RequestError> {
        let at = setting.workspace.as_deref();
        let (name, tools) = (&setting.policy, sandboxes.toolbox());
        Ok(self.policies.set(name, tools, at)?)
    }

    /// Opens what such a step needs, its session included. `decided` is what policy said of
    /// it, if it was asked.
    fn begin(
        &self,
        sandboxes: Sandboxes,
        (policy, decided): (PolicySet, Option<EventKind>),
        action: Action,
        task: String,
        setting: Setting,
    ) -> Result<(Running, Run), RequestError> {
        let workspace = match &setting.workspace {
            Some(path) => Some(self.open_workspace(path)?),
            None => None,
        };
        let session = NewSession {
            workspace: setting.workspace.unwrap_or_default(),
            task,
            instructions: String::new(),
            policy: setting.policy,
            depth: 0,
            commit: CommitMode::Session,
            seed: None,
            clock_ns: None,
            settings: SessionSettings {
                limits: setting.limits.clone(),
                ..SessionSettings::default()
            },
            registrations: Vec::new(),
        };
        let snapshot = match &workspace {
            Some(workspace) => workspace.snapshot(),
            None => sandboxes.empty(),
        };
        let tokens = Tokens::draw()?;
        let tools = sandboxes.toolbox().digest();
        let record = self.record_of(&session, snapshot.workspace(), &policy, tools, &tokens)?;
        if workspace.is_some() {
            self.log.journal().create_session(&record)?;
            let audit = policy.enforcement() == Enforcement::Audit;
            let began = began(&record, audit, &action, decided);
            self.log.append_blocking(&record.id, began)?;
        }
        let parent = sandboxes.open(snapshot);
        let run = Run {
            seed: action.seed(record.seed, STEP),
            action,
            parent,
            limits: setting.limits,
            clock_ns: record.clock_ns,
            rules: policy.path_rules(Source::User, false),
        };
        let running = Running {
            session: workspace.is_some().then_some(record),
            _workspace: workspace,
            sandboxes,
            parent,
            began: Instant::now(),
        };
        Ok((running, run))
    }

    /// Notes how it ended, and keeps its changes, or says that they are lost. Blocks on the
    /// disk.
    pub(crate) fn end(&self, running: &Running, done: Done) -> Result<Ended, RequestError> {
        let ended = self.note_end(running, done);
        if let Err(error) = &ended {
            self.abandon(running, &format!("its changes can not be kept: {error}"))?;
        }
        ended
    }

    fn note_end(&self, running: &Running, done: Done) -> Result<Ended, RequestError> {
        let delta = running.sandboxes.delta(done.snapshot);
        for held in [running.parent, done.snapshot] {
            running.sandboxes.drop_snapshot(held);
        }
        let changed = delta
            .as_ref()
            .map(|delta| delta.changed())
            .unwrap_or_default();
        let ended = Ended {
            observation: done.observation.clone(),
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
        let reason = match ended.exit_code() {
            Some(code) => format!("exit code {code}"),
            None if ended.observation.is_error() => ended.observation.text.clone(),
            None => "done".to_owned(),
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
        let who = (Source::User, false);
        let noted = done.noted.into_iter();
        let noted = noted.map(|denied| touch_noted(NODE, STEP, who, denied));
        let events = noted.chain(events).map(|kind| (at, kind)).collect();
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

    /// It was stopped, or came to nothing. Blocks on the disk.
    pub(crate) fn abandon(&self, running: &Running, reason: &str) -> Result<(), RequestError> {
        running.sandboxes.drop_snapshot(running.parent);
        let Some(record) = &running.session else {
            return Ok(());
        };
        let reason = reason.to_owned();
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
fn exec_action(wasm: &[u8], command: &Command) -> Result<Action, RequestError> {
    let names = command.environment.iter().map(|(name, _)| name);
    let arguments = serde_json::json!({
        "component": Digest::of(wasm).to_string(),
        "arguments": command.arguments,
        "environment": names.collect::<Vec<_>>(),
        "mount": command.mount,
    });
    Action::parse(EXEC, &arguments.to_string())
        .map_err(|error| RequestError::Internal(error.to_string()))
}

fn began(
    record: &SessionRecord,
    audit: bool,
    action: &Action,
    decided: Option<EventKind>,
) -> Vec<(Time, EventKind)> {
    let mut events = vec![
        EventKind::Opened {
            workspace: record.workspace.display().to_string(),
            task: record.task.clone(),
            policy: record.policy.clone(),
            audit,
            depth: record.depth,
        },
        EventKind::Decided {
            step: STEP,
            node: NODE,
            source: Source::User,
            action: action.clone(),
        },
    ];
    events.extend(decided);
    events.push(EventKind::ExecutionStarted {
        execution: EXECUTION,
        node: NODE,
        step: STEP,
        speculative: false,
    });
    events.into_iter().map(|kind| (Time::ZERO, kind)).collect()
}

impl Ended {
    /// A program's exit code; `None` if it was stopped, or is none.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        if let ObservationStatus::Stopped(_) | ObservationStatus::Invalid = self.observation.status
        {
            return None;
        }
        let structured = self.observation.structured.as_deref()?;
        let structured: serde_json::Value = serde_json::from_str(structured).ok()?;
        i32::try_from(structured.get("exit_code")?.as_i64()?).ok()
    }
}
