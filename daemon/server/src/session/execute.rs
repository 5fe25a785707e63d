//! Launches one action: policy decides it, then a sandbox runs it on a branch of its
//! parent's snapshot, or the client whose tool it is.
//!
//! What policy holds, or asks for, while the action is unverified waits for the verdict,
//! and then for the owner, if they are to be asked; what policy would refuse the target
//! too has the refusal as its observation.

use super::Message;
use super::actor::{Actor, Running};
use super::approval::{Subject, WHAT_BYTES_MAX, cut};
use super::decided::{inputs, policy_decided, touch_noted};
use super::sending::Sequence;
use super::trajectory::NodeResult;
use crate::client_tools::{ClientCall, Registration};
use forerun_journal::{CommitMode, EffectFate, EffectId, Journal};
use forerun_planner::{Input, Outcome};
use forerun_policy::{CallRequest, Counters, Decision, Outcome as PolicyOutcome};
use forerun_sandbox::{Done, Run};
use forerun_types::{
    Action, ActionKind, CanonicalJson, Digest, Entry, EventKind, ExecutionId, NodeId, Observation,
    ObservationStatus, PrefixId, SnapshotId, Source, Speculation, StepIndex, TouchDenied,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long what a client's tool answered ahead of its verdict counts. Nobody knows what it
/// looked at, so it can not be told whether that has changed; after this it is asked again.
const CLIENT_RESULT_FRESH: Duration = Duration::from_secs(10);

/// One launch.
pub(super) struct Launch {
    pub(super) execution: ExecutionId,
    pub(super) node: NodeId,
    pub(super) parent: Option<NodeId>,
    pub(super) step: StepIndex,
    pub(super) action: Action,
    pub(super) kind: ActionKind,
    pub(super) source: Source,
    pub(super) speculative: bool,
}

impl Actor {
    pub(super) fn execute(&mut self, launch: Launch) {
        let Launch {
            execution,
            node,
            step,
            speculative,
            ..
        } = launch;
        self.executions.insert(
            execution,
            Running {
                node,
                step,
                parent: launch.parent,
                base: None,
                source: launch.source,
                speculative,
                task: None,
                elapsed: Duration::ZERO,
                parked: Vec::new(),
                parking: None,
                released: false,
                sequence: Sequence::default(),
            },
        );
        self.event(EventKind::ExecutionStarted {
            execution,
            node,
            step,
            speculative,
        });
        match launch.kind {
            ActionKind::AskUser => self.ask_owner(&launch),
            ActionKind::Terminate => {
                let observation = Observation::new(ObservationStatus::Success, "");
                self.complete_without_sandbox(execution, observation);
            }
            ActionKind::Tool => self.execute_tool(launch),
        }
    }

    fn ask_owner(&mut self, launch: &Launch) {
        let arguments = launch.action.arguments.to_value();
        let question = arguments.get("question").and_then(|text| text.as_str());
        let question = question
            .unwrap_or(launch.action.arguments.as_str())
            .to_owned();
        self.question = Some((launch.execution, launch.step));
        self.event(EventKind::Question {
            step: launch.step,
            node: launch.node,
            question,
        });
    }

    fn execute_tool(&mut self, launch: Launch) {
        let never = self
            .context
            .sandboxes
            .toolbox()
            .get(&launch.action.tool)
            .is_some_and(|tool| tool.speculation == Speculation::Never);
        if launch.speculative && never {
            let reason = format!("{} never runs before its verdict", launch.action.tool);
            return self.not_executed(launch.execution, reason);
        }
        // A call that can not be started has the error as its observation, whoever makes it.
        if let Some(observation) = not_json(&launch.action) {
            return self.complete_without_sandbox(launch.execution, observation);
        }
        if let Err(observation) = self.context.sandboxes.toolbox().check(&launch.action) {
            return self.complete_without_sandbox(launch.execution, *observation);
        }
        let asked = self.call_request(&launch, launch.source, launch.speculative);
        let (decision, inputs) = (self.context.policy.decide_call(&asked), inputs(&asked));
        self.event(policy_decided(
            Some(launch.node),
            launch.step,
            launch.speculative,
            &decision,
            inputs,
        ));
        match decision.outcome {
            PolicyOutcome::Run => self.start(launch),
            _ if launch.speculative => {
                let verified = self.call_request(&launch, Source::Target, false);
                let verified = self.context.policy.decide_call(&verified);
                if verified.outcome == PolicyOutcome::Deny {
                    self.complete_without_sandbox(launch.execution, denial(&verified));
                } else {
                    self.not_executed(launch.execution, decision.reason);
                }
            }
            PolicyOutcome::Ask => {
                let what = launch.action.to_string();
                self.request_approval(Subject::Call(Box::new(launch)), what, decision);
            }
            _ => self.complete_without_sandbox(launch.execution, denial(&decision)),
        }
    }

    fn call_request<'a>(
        &self,
        launch: &'a Launch,
        principal: Source,
        speculative: bool,
    ) -> CallRequest<'a> {
        CallRequest {
            principal,
            action: &launch.action,
            step: launch.step,
            depth: launch.step.0.saturating_sub(self.summary.verified),
            speculative,
            counters: Counters {
                calls: launch.step.0.into(),
                bytes_written: self.written_below(launch.parent),
                commits: self.summary.committed.into(),
                bytes_out: self.bytes_out,
            },
            read_sensitive: self.sensitive_below(launch.parent),
        }
    }

    /// Bytes that were written on the way to a child of `parent`.
    pub(super) fn written_below(&self, parent: Option<NodeId>) -> u64 {
        let parent = parent.and_then(|parent| self.tree.get(parent)?.result.as_ref());
        parent.map_or(self.head_written, |result| result.written)
    }

    /// Whether something sensitive was read on the way to a child of `parent`.
    pub(super) fn sensitive_below(&self, parent: Option<NodeId>) -> bool {
        let parent = parent.and_then(|parent| self.tree.get(parent)?.result.as_ref());
        self.head_sensitive || parent.is_some_and(|result| result.sensitive)
    }

    /// Starts what policy, or the owner, has allowed.
    pub(super) fn start(&mut self, launch: Launch) {
        match self.context.clients.get(&launch.action.tool) {
            Some(_) if launch.speculative => self.ask_client(launch),
            Some(_) => self.hold_client(launch),
            None => self.start_sandbox(launch),
        }
    }

    /// Has a client execute its tool. What it does is done: nothing holds it up or takes it
    /// back, which is why policy says when it may be asked.
    pub(super) fn ask_client(&mut self, launch: Launch) {
        let Some(client) = self.context.clients.get(&launch.action.tool) else {
            return;
        };
        let execution = launch.execution;
        let call = ClientCall {
            session: self.record.id.clone(),
            step: launch.step,
            action: launch.action,
            speculative: launch.speculative,
        };
        let hints = self.context.sandboxes.toolbox().get(&call.action.tool);
        let harmless = hints.is_some_and(|tool| {
            let hints = tool.annotations;
            hints.read_only || hints.idempotent
        });
        let once = (!call.speculative && !harmless).then(|| {
            let what = cut(call.action.to_string(), WHAT_BYTES_MAX);
            self.effects.push((call.step, what));
            Once {
                journal: self.context.log.journal().clone(),
                id: EffectId {
                    session: call.session.clone(),
                    node: launch.node,
                    effect: 0,
                },
            }
        });
        let (client, messages) = (Arc::clone(client), self.messages.clone());
        let task = tokio::spawn(async move {
            let started = Instant::now();
            let answer = match once {
                Some(once) => once.call(&client, call).await,
                None => client.call(call).await,
            };
            if let Some(messages) = messages.upgrade() {
                let answered = Message::ClientAnswered(execution, answer, started.elapsed());
                let _ = messages.send(answered).await;
            }
        });
        if let Some(running) = self.executions.get_mut(&execution) {
            running.task = Some(task.abort_handle());
        }
    }

    /// A client answered, or went away.
    pub(super) fn client_answered(
        &mut self,
        execution: ExecutionId,
        answer: Result<Observation, String>,
        elapsed: Duration,
    ) {
        let Some(running) = self.executions.get_mut(&execution) else {
            // It was stopped, and answered at the same time.
            return;
        };
        running.elapsed = elapsed;
        let observation = match answer {
            Ok(observation) => observation,
            Err(reason) if running.speculative => return self.not_executed(execution, reason),
            Err(reason) => Observation::new(ObservationStatus::ToolError, reason),
        };
        self.complete_without_sandbox(execution, observation);
    }

    fn start_sandbox(&mut self, launch: Launch) {
        let Some(parent) = self.parent_snapshot(launch.parent, launch.node) else {
            tracing::error!(node = %launch.node, "the parent of a launched node has no snapshot");
            let outcome = Outcome::Failed {
                reason: "the parent's snapshot is gone".to_owned(),
            };
            self.executions.remove(&launch.execution);
            return self.plan(Input::Executed {
                execution: launch.execution,
                outcome,
            });
        };
        let step_clock = Duration::from_secs(u64::from(launch.step.0));
        let run = Run {
            seed: launch.action.seed(self.record.seed, launch.step),
            action: launch.action,
            parent,
            limits: self.context.limits.clone(),
            // A second a step, so that times order by step and do not depend on the day.
            clock_ns: self.record.clock_ns.saturating_add(nanos(step_clock)),
            rules: self
                .context
                .policy
                .path_rules(launch.source, launch.speculative),
        };
        let execution = launch.execution;
        if let Some(running) = self.executions.get_mut(&execution) {
            running.base = Some(parent);
        }
        let (outgoing, mut wants) = mpsc::unbounded_channel();
        let mut sandbox = self.context.sandboxes.run_with(run, Some(outgoing));
        let messages = self.messages.clone();
        let task = tokio::spawn(async move {
            let done = loop {
                tokio::select! {
                    biased;
                    Some(outgoing) = wants.recv() => {
                        let wants = Message::WantsOut(execution, Box::new(outgoing));
                        match messages.upgrade() {
                            Some(messages) => drop(messages.send(wants).await),
                            None => return,
                        }
                    }
                    done = &mut sandbox => break Box::new(done),
                }
            };
            if let Some(messages) = messages.upgrade() {
                let _ = messages.send(Message::Executed(execution, done)).await;
            }
        });
        if let Some(running) = self.executions.get_mut(&execution) {
            running.task = Some(task.abort_handle());
        }
    }

    /// The snapshot that `node`, a child of `parent`, starts from. With `commit = step` the
    /// head is read from the workspace anew when nothing else unverified stands on it, and
    /// when the node is executed again, which is for what changed there.
    fn parent_snapshot(&mut self, parent: Option<NodeId>, node: NodeId) -> Option<SnapshotId> {
        if let Some(parent) = parent.and_then(|parent| self.tree.get(parent)) {
            return Some(parent.result.as_ref()?.snapshot);
        }
        let again = self
            .tree
            .get(node)
            .is_some_and(|node| node.result.is_some());
        if self.record.commit == CommitMode::Step
            && (again || !self.tree.has_snapshots_beside(node))
        {
            let sandboxes = &self.context.sandboxes;
            let fresh = sandboxes.reopen(self.head, self.context.workspace.snapshot())?;
            sandboxes.drop_snapshot(std::mem::replace(&mut self.head, fresh));
        }
        Some(self.head)
    }

    /// The prefix on which a child of `parent` was given.
    pub(super) fn prefix_below(&self, parent: Option<NodeId>) -> PrefixId {
        parent
            .and_then(|parent| {
                self.tree
                    .get(parent)?
                    .result
                    .as_ref()
                    .map(|result| result.next)
            })
            .unwrap_or(self.head_prefix)
    }

    /// A sandbox finished.
    pub(super) fn executed(&mut self, execution: ExecutionId, mut done: Done) {
        let Some(running) = self.executions.get(&execution) else {
            // It was stopped, and finished at the same time.
            if !self.is_base(done.snapshot) {
                self.context.sandboxes.drop_snapshot(done.snapshot);
            }
            return;
        };
        // A sandbox that failed to run brings no snapshot of its own.
        if running.base == Some(done.snapshot) {
            return if running.speculative {
                self.not_executed(execution, done.observation.text);
            } else {
                self.complete_without_sandbox(execution, done.observation);
            };
        }
        let speculative = running.speculative;
        if speculative && !running.parked.is_empty() {
            // What it wanted to send would be lost: at its verdict it goes out.
            self.context.sandboxes.drop_snapshot(done.snapshot);
            let reason = "it ended while a request of it waited for its verdict".to_owned();
            return self.not_executed(execution, reason);
        }
        if let ObservationStatus::Stopped(limit) = done.observation.status
            && speculative
            && limit.depends_on_load()
        {
            self.context.sandboxes.drop_snapshot(done.snapshot);
            return self.not_executed(execution, done.observation.text);
        }
        if speculative && done.denied.is_some() && self.verified_rules_differ(execution) {
            self.context.sandboxes.drop_snapshot(done.snapshot);
            let reason = done.denied.unwrap_or_default();
            return self.not_executed(execution, reason);
        }
        self.noted(execution, std::mem::take(&mut done.noted));
        let observation = done.observation.clone();
        if let Some(outcome) = self.keep_result(execution, observation, Some(done)) {
            self.plan(Input::Executed { execution, outcome });
        }
    }

    /// Tells of the touches that were only noted.
    fn noted(&mut self, execution: ExecutionId, noted: Vec<TouchDenied>) {
        let Some(running) = self.executions.get(&execution) else {
            return;
        };
        let (node, step) = (running.node, running.step);
        let who = (running.source, running.speculative);
        for denied in noted {
            self.event(touch_noted(node, step, who, denied));
        }
    }

    /// Whether a snapshot is the head's or a node's, and must not be dropped.
    fn is_base(&self, snapshot: SnapshotId) -> bool {
        snapshot == self.head || self.tree.snapshots().any(|held| held == snapshot)
    }

    /// Whether the target, not speculating, may touch other paths than this execution
    /// could: then a denial is no observation, and the step runs at its verdict (rule 11).
    fn verified_rules_differ(&self, execution: ExecutionId) -> bool {
        let source = self
            .executions
            .get(&execution)
            .map(|running| running.source);
        let policy = &self.context.policy;
        source.is_some_and(|source| {
            policy.path_rules(source, true) != policy.path_rules(Source::Target, false)
        })
    }

    /// Notes what an execution brought, and puts it into the planner's terms. `done` is
    /// none for what no sandbox did: its state is its parent's.
    pub(super) fn keep_result(
        &mut self,
        execution: ExecutionId,
        observation: Observation,
        done: Option<Done>,
    ) -> Option<Outcome> {
        self.forget_requests_of(execution);
        let running = self.executions.remove(&execution)?;
        let node = self.tree.get(running.node)?;
        let action = node.action.clone();
        let entry = Entry::Step {
            action: action.clone(),
            observation: observation.clone(),
        };
        let next = self.prefixes.below(node.prefix, node.step, entry);
        let sandboxed = done.is_some();
        let fresh = running.speculative && self.context.clients.contains_key(&action.tool);
        let sensitive = done.as_ref().is_some_and(|done| done.read_sensitive)
            || self.sensitive_below(running.parent);
        let (snapshot, changes, delta, elapsed_us) = match done {
            Some(done) => (
                done.snapshot,
                done.digests.changes,
                done.digests.delta,
                done.usage.wall_us,
            ),
            None => {
                let parent = self.parent_snapshot(running.parent, running.node)?;
                let snapshot = self.context.sandboxes.snapshot(parent)?;
                let none = Digest::of("");
                (
                    self.context.sandboxes.reopen(parent, snapshot)?,
                    none,
                    none,
                    micros(running.elapsed),
                )
            }
        };
        let (changed, bytes) = self
            .context
            .sandboxes
            .delta(snapshot)
            .map(|delta| (delta.changed(), delta.bytes()))
            .unwrap_or_default();
        let written = self.written_below(running.parent).saturating_add(bytes);
        let digest = observation.digest();
        if let Some(foresight) = self.context.foresight.as_ref().filter(|_| elapsed_us > 0) {
            foresight.executed(&action.tool, Duration::from_micros(elapsed_us));
        }
        self.event(EventKind::ExecutionFinished {
            execution,
            node: running.node,
            step: running.step,
            elapsed_us,
            observation: digest,
            changes,
        });
        let result = NodeResult {
            observation,
            snapshot,
            sandboxed,
            delta,
            changed,
            written,
            sensitive,
            next,
            fresh_until: fresh.then(|| self.now() + CLIENT_RESULT_FRESH),
        };
        let earlier = self.tree.get_mut(running.node)?.result.replace(result);
        if let Some(earlier) = earlier {
            self.context.sandboxes.drop_snapshot(earlier.snapshot);
        }
        Some(Outcome::Completed {
            observation: digest,
            changes,
            next,
        })
    }

    pub(super) fn stop_execution(&mut self, execution: ExecutionId) {
        if let Some(running) = self.executions.remove(&execution)
            && let Some(task) = running.task
        {
            task.abort();
        }
        self.forget_requests_of(execution);
        if self.question.is_some_and(|(asked, _)| asked == execution) {
            self.question = None;
        }
    }
}

/// A call of a client's tool that is not to be made twice.
struct Once {
    journal: Journal,
    id: EffectId,
}

impl Once {
    /// Calls, or finds what came of it when the step was executed before.
    async fn call(self, client: &Registration, call: ClientCall) -> Result<Observation, String> {
        let Once { journal, id } = self;
        let (step, what) = (call.step, cut(call.action.to_string(), WHAT_BYTES_MAX));
        let digest = call.action.key().0;
        let (noting, effect) = (journal.clone(), id.clone());
        let begin = move || noting.begin_effect(&effect, step, &digest, &what);
        let fate = tokio::task::spawn_blocking(begin).await;
        let fate = fate.map_err(|error| error.to_string())?;
        match fate.map_err(|error| format!("it was not called: {error}"))? {
            EffectFate::New => {}
            EffectFate::Answered(answer) => {
                return serde_json::from_slice(&answer).map_err(|error| error.to_string());
            }
            EffectFate::Unknown | EffectFate::Diverged => {
                return Err(
                    "effect_unknown: it was called before and nobody knows what became of it; it \
                     is not called again"
                        .to_owned(),
                );
            }
        }
        let observation = client.call(call).await?;
        let kept = serde_json::to_vec(&observation).map_err(|error| error.to_string())?;
        let end = move || journal.end_effect(&id, &kept);
        let ended = tokio::task::spawn_blocking(end).await;
        ended
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("effect_unknown: its answer could not be kept: {error}"))?;
        Ok(observation)
    }
}

/// What is said of arguments that came as no JSON: they were kept as text.
fn not_json(action: &Action) -> Option<Observation> {
    let serde_json::Value::String(text) = action.arguments.to_value() else {
        return None;
    };
    let problem = match CanonicalJson::parse(&text) {
        Ok(_) => "they are a JSON text inside of a string".to_owned(),
        Err(error) => error.to_string(),
    };
    Some(Observation::new(
        ObservationStatus::Invalid,
        format!(
            "the arguments of {} are no JSON object: {problem}",
            action.tool
        ),
    ))
}

/// What an agent is told of a refusal: a stable code, one sentence, and not to retry.
fn denial(decision: &Decision) -> Observation {
    let text = format!("{}: {}", decision.code, decision.reason);
    Observation::new(ObservationStatus::Denied, text)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_are_text_are_observed_as_no_json_with_the_reason() {
        let said = |arguments: &str| {
            let text = serde_json::Value::from(arguments).to_string();
            let action = Action::parse("read_file", &text).expect("canonical");
            not_json(&action).expect("an observation").text
        };
        assert!(
            said("{nonsense").contains("line 1"),
            "{}",
            said("{nonsense")
        );
        assert!(said(r#"{"a":1,"a":2}"#).contains("twice"));
        assert!(said("{}").contains("inside of a string"));
        let valid = Action::parse("read_file", "{}").expect("canonical");
        assert_eq!(not_json(&valid), None);
    }
}
