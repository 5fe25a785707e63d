//! The task that owns a session.
//!
//! A turn: take one message, feed the planner, carry out its effects, write the events
//! that came of it, and only then do what must not happen before they are durable
//! (retirements). Nothing here waits for an agent, a sandbox or a commit.

use super::agents::{Agents, Attach, Expired};
use super::approval::Approvals;
use super::backtrack::{Backtracking, Verified};
use super::caller::Caller;
use super::foresee::Foresight;
use super::log::Log;
use super::outgoing::{Parked, Waiting};
use super::sending::Sequence;
use super::summary::Summary;
use super::trajectory::{Prefixes, Tree};
use super::{
    FromAgent, InterruptError, Interruption, Message, SESSION_QUEUE_MAX, SessionHandle, Settler,
    StreamId, UserInterrupt, View, Welcome,
};
use crate::client_tools::Registration;
use crate::egress::Egress;
use crate::experience::Experiences;
use crate::foresight;
use crate::session::Deadlines;
use forerun_journal::{CommitMode, SessionRecord};
use forerun_planner::{
    Candidate, DepthControl, Experience, Failure, Input, Interrupt, Outcome, Planner, Window,
};
use forerun_policy::{Enforcement, PolicySet};
use forerun_sandbox::Sandboxes;
use forerun_snapshot::Workspace;
use forerun_types::{
    ASK_USER, Action, ActionKey, AllowFor, ApprovalEnd, CallId, EventKind, ExecutionId, Limits,
    Matcher, NodeId, Observation, ObservationStatus, PrefixId, Role, SnapshotId, Source, StepIndex,
    Time,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Interrupts whose answers are remembered for their idempotency keys.
const REMEMBERED_INTERRUPTS_MAX: usize = 1_024;

/// What a session needs of the daemon.
pub(crate) struct Context {
    pub(crate) log: Log,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) workspace: Workspace,
    pub(crate) settler: Settler,
    pub(crate) policy: PolicySet,
    pub(crate) deadlines: Deadlines,
    pub(crate) limits: Limits,
    /// Sends what policy lets out.
    pub(crate) egress: Arc<Egress>,
    /// Places for what is parked ahead of its verdict, of all sessions.
    pub(crate) parking: Arc<Semaphore>,
    /// Who executes the tools that no sandbox does.
    pub(crate) clients: BTreeMap<String, Arc<Registration>>,
    /// What is known of the workspace, for a session that predicts.
    pub(crate) foresight: Option<Arc<foresight::Workspace>>,
    /// What earlier sessions learned of the agents, and where it is kept.
    pub(crate) experience: (Experiences, Experience),
}

/// What is set when a session is created, beside what the journal knows of every session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SessionSettings {
    /// 0 in sessions of a daemon that knew no width; it counts as 1.
    pub(crate) width: u32,
    pub(crate) window: Window,
    pub(crate) review_ms: u64,
    pub(crate) max_steps: u32,
    pub(crate) limits: Limits,
    pub(crate) predict: bool,
    pub(crate) control: DepthControl,
    pub(crate) matcher: Matcher,
}

/// A session's task and its state.
pub(super) struct Actor {
    pub(super) context: Context,
    pub(super) record: SessionRecord,
    pub(super) planner: Planner,
    pub(super) agents: Agents,
    pub(super) caller: Caller,
    /// The step of an act that can not be done, and why.
    pub(super) stalled_act: Option<(StepIndex, String)>,
    pub(super) foresight: Option<Foresight>,
    pub(super) prefixes: Prefixes,
    pub(super) tree: Tree,
    /// The snapshot of the last verified step.
    pub(super) head: SnapshotId,
    /// The prefix below the last verified step.
    pub(super) head_prefix: PrefixId,
    /// Bytes that were written on the way to it; what was undone counts as well.
    pub(super) head_written: u64,
    pub(super) executions: BTreeMap<ExecutionId, Running>,
    /// What policy puts to the owner.
    pub(super) approvals: Approvals,
    /// `ask_user` waits for its answer.
    pub(super) question: Option<(ExecutionId, StepIndex)>,
    /// What the planner is to be told in this turn.
    pub(super) inputs: VecDeque<Input>,
    /// Verified requests that wait for their turn.
    pub(super) waiting: Waiting,
    /// Requests that are being sent, by node and number.
    pub(super) under_way: BTreeMap<(NodeId, u32), (StepIndex, String)>,
    /// Requests of this turn, sent once its events are written.
    pub(super) sending: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// What was sent that can not be taken back, by step.
    pub(super) effects: Vec<(StepIndex, String)>,
    /// Bytes of all requests that were sent.
    pub(super) bytes_out: u64,
    /// Whether something sensitive was read on the way to the head, or ever before.
    pub(super) head_sensitive: bool,
    /// Why calls of this turn failed, in the words of their agents.
    pub(super) failures: BTreeMap<CallId, String>,
    /// Events of this turn, not written yet.
    pub(super) unwritten: Vec<(Time, EventKind)>,
    /// Retirements of this turn, started once its events are written.
    pub(super) retirements: Vec<Retiring>,
    pub(super) summary: Summary,
    /// Who decided each decided node.
    pub(super) sources: BTreeMap<NodeId, Source>,
    /// The answer of the last decided action, if that was `terminate`.
    pub(super) answer: Option<String>,
    /// A commit, or an undo, is under way.
    pub(super) retiring: bool,
    /// The steps that are verified.
    pub(super) history: Vec<Verified>,
    pub(super) backtracking: Option<Backtracking>,
    /// What is to be undone in this turn, once its events are written.
    pub(super) undo_from: Option<StepIndex>,
    /// The owner wants everything undone when the plan has ended.
    pub(super) undo_at_end: bool,
    /// The last event of a plan that is being undone.
    pub(super) ended_event: Option<EventKind>,
    /// The daemon stops, and why.
    closing: Option<String>,
    pub(super) messages: mpsc::WeakSender<Message>,
    pub(super) ended: bool,
    remembered: VecDeque<(String, UserInterrupt, Result<u64, InterruptError>)>,
    opened: Instant,
}

/// A step that is to be retired.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retiring {
    pub(super) node: NodeId,
    pub(super) step: StepIndex,
    /// The owner allowed what policy asks of the commit.
    pub(super) approved: bool,
}

/// An execution that was started.
pub(super) struct Running {
    pub(super) node: NodeId,
    pub(super) step: StepIndex,
    pub(super) parent: Option<NodeId>,
    /// The snapshot that a sandbox runs on.
    pub(super) base: Option<SnapshotId>,
    pub(super) source: Source,
    pub(super) speculative: bool,
    /// None for what is done neither by a sandbox nor by a client.
    pub(super) task: Option<AbortHandle>,
    /// How long a client took.
    pub(super) elapsed: Duration,
    /// What waits for its release.
    pub(super) parked: Vec<Parked>,
    /// Counts it among what is parked ahead of a verdict.
    pub(super) parking: Option<OwnedSemaphorePermit>,
    /// Whether it may reach beyond its snapshot.
    pub(super) released: bool,
    /// What it has sent.
    pub(super) sequence: Sequence,
}

/// Starts the session's task. It ends with its plan; `on_end` runs then.
pub(crate) fn spawn(
    context: Context,
    record: SessionRecord,
    settings: &SessionSettings,
    on_end: impl FnOnce() + Send + 'static,
) -> SessionHandle {
    let (messages, inbox) = mpsc::channel(SESSION_QUEUE_MAX);
    let tools = context.sandboxes.toolbox().digest();
    let prefixes = Prefixes::new(&record.task, &record.instructions, &tools);
    let config = forerun_planner::Config {
        depth: record.depth,
        width: settings.width,
        window: settings.window,
        review: Duration::from_millis(settings.review_ms),
        max_steps: settings.max_steps,
        control: settings.control,
        matcher: settings.matcher,
    };
    let actor = Actor {
        planner: Planner::experienced(config, prefixes.root(), context.experience.1.clone()),
        agents: Agents::new(context.deadlines.clone(), settings.width),
        caller: Caller::default(),
        stalled_act: None,
        foresight: (context.foresight.clone())
            .map(|workspace| Foresight::new(workspace, &record.task, prefixes.root())),
        head_prefix: prefixes.root(),
        head_written: 0,
        prefixes,
        tree: Tree::default(),
        head: context.sandboxes.open(context.workspace.snapshot()),
        executions: BTreeMap::new(),
        approvals: Approvals::default(),
        question: None,
        inputs: VecDeque::new(),
        waiting: Waiting::default(),
        under_way: BTreeMap::new(),
        sending: Vec::new(),
        effects: Vec::new(),
        bytes_out: 0,
        head_sensitive: false,
        failures: BTreeMap::new(),
        unwritten: Vec::new(),
        retirements: Vec::new(),
        summary: Summary::default(),
        sources: BTreeMap::new(),
        answer: None,
        retiring: false,
        history: Vec::new(),
        backtracking: None,
        undo_from: None,
        undo_at_end: false,
        ended_event: None,
        closing: None,
        messages: messages.downgrade(),
        ended: false,
        remembered: VecDeque::new(),
        opened: Instant::now(),
        context,
        record,
    };
    let settler = actor.context.settler.clone();
    tokio::spawn(async move {
        actor.run(inbox).await;
        settler.at_end().await;
        on_end();
    });
    SessionHandle { messages }
}

impl Actor {
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        self.event(EventKind::Opened {
            workspace: self.record.workspace.display().to_string(),
            task: self.record.task.clone(),
            policy: self.record.policy.clone(),
            audit: self.context.policy.enforcement() == Enforcement::Audit,
            depth: self.record.depth,
        });
        let mut closed = None;
        loop {
            self.finish_closing();
            if let Err(error) = self.write().await {
                // Without a journal nothing may go on: what is shown must be durable.
                tracing::error!(session = %self.record.id, %error, "the journal failed; the session stops");
                break;
            }
            if self.ended {
                break;
            }
            if self.serve_caller() || self.foresee_callers() {
                continue;
            }
            let wake = [
                self.planner.next_timeout(),
                self.agents.next_timeout(),
                self.approvals.next_timeout(),
            ];
            let wake = wake
                .into_iter()
                .flatten()
                .min()
                .map(|at| self.opened + (at - Time::ZERO));
            let message = tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => Some(message),
                    // Every handle is gone: nobody can reach the session any more.
                    None => break,
                },
                () = sleep_until(wake) => None,
            };
            match message {
                Some(Message::Close {
                    reason,
                    by_daemon,
                    done,
                }) => {
                    self.close(&reason, by_daemon);
                    closed = Some(done);
                }
                Some(message) => self.handle(message),
                None => self.tick(),
            }
            self.decide();
            self.give_up_act();
        }
        self.release();
        // Results that came too late hold snapshots.
        inbox.close();
        while let Ok(message) = inbox.try_recv() {
            if let Message::Executed(_, done) = message {
                self.context.sandboxes.drop_snapshot(done.snapshot);
            }
        }
        if let Some(done) = closed {
            let _ = done.send(());
        }
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Attach(attach, reply) => self.attach(attach, reply),
            Message::Detached(stream) => self.detached(stream),
            Message::FromAgent(stream, call, said) => self.hear(stream, call, said),
            Message::Executed(execution, done) => self.executed(execution, *done),
            Message::WantsOut(execution, outgoing) => self.wants_out(execution, *outgoing),
            Message::Sent(sent) => self.sent(*sent),
            Message::ParkedTooLong(execution) => self.parked_too_long(execution),
            Message::ClientAnswered(execution, answer, elapsed) => {
                self.client_answered(execution, answer, elapsed);
            }
            Message::Retired(node, step, retirement) => self.retired(node, step, retirement),
            Message::Undone(undone) => self.event(EventKind::Undone(undone)),
            Message::WentBack(went_back) => self.went_back(went_back),
            Message::Act(request) => self.act(request),
            Message::Predict(request) => self.caller_predicts(request),
            Message::Interrupt(interruption) => self.interrupt(*interruption),
            Message::Inspect(reply) => {
                let _ = reply.send(self.view());
            }
            Message::Diff(reply) => {
                let _ = reply.send(self.diff());
            }
            Message::Close { .. } => {}
        }
    }

    /// The session's time.
    pub(super) fn now(&self) -> Time {
        Time::ZERO + self.opened.elapsed()
    }

    /// Notes an event; it is written at the end of the turn.
    pub(super) fn event(&mut self, kind: EventKind) {
        self.unwritten.push((self.now(), kind));
    }

    /// Has the planner told of something in this turn, after what it was told before.
    pub(super) fn plan(&mut self, input: Input) {
        self.inputs.push_back(input);
    }

    /// Feeds the planner and carries out what it decides, until it has been told all.
    /// One input's effects are carried out before the next is fed.
    pub(super) fn decide(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            let now = self.now();
            let effects = self.planner.handle(now, input);
            self.perform(effects);
        }
        self.failures.clear();
    }

    async fn write(&mut self) -> Result<(), forerun_journal::JournalError> {
        if !self.unwritten.is_empty() {
            let events = std::mem::take(&mut self.unwritten);
            let written = self.context.log.append(&self.record.id, events).await?;
            for event in &written {
                self.summary.add(event);
            }
            self.caller.hear(&written);
        }
        for sending in std::mem::take(&mut self.sending) {
            // Once the session is over, nothing of it goes out any more.
            if !self.ended && self.closing.is_none() {
                tokio::spawn(sending);
            }
        }
        for retiring in std::mem::take(&mut self.retirements) {
            // Once the session is over, nothing of it may reach the workspace any more.
            if !self.ended && self.closing.is_none() {
                self.start_retirement(retiring);
            }
        }
        if let Some(from) = self.undo_from.take()
            && !self.ended
            && self.closing.is_none()
        {
            self.start_undo(from);
        }
        Ok(())
    }

    fn tick(&mut self) {
        let now = self.now();
        for expired in self.agents.expire(now) {
            match expired {
                Expired::Call { call, reason } => {
                    self.failures.insert(call, reason.clone());
                    self.plan(Input::Failed {
                        call,
                        failure: Failure::Transient { reason },
                    });
                }
                Expired::Role { role, agent } => {
                    self.event(EventKind::AgentLost { role, agent });
                    self.plan(Input::AgentLost { role });
                }
            }
        }
        self.expire_approval(now);
        self.plan(Input::Tick);
    }

    fn attach(&mut self, attach: Attach, reply: oneshot::Sender<Result<Welcome, String>>) {
        let (agent, model) = (attach.agent.clone(), attach.model.clone());
        let named = attach.open_calls.clone();
        let stream = attach.stream;
        let attached = match self.agents.attach(attach, &self.prefixes) {
            Ok(attached) => attached,
            Err(reason) => {
                let what = format!("attaching agent {agent:?}");
                self.event(EventKind::Refused {
                    what,
                    reason: reason.clone(),
                });
                let _ = reply.send(Err(reason));
                return;
            }
        };
        let roles: Vec<_> = attached
            .iter()
            .map(|role| (role.role, role.capacity))
            .collect();
        for role in &attached {
            self.event(EventKind::AgentAttached {
                role: role.role,
                agent: agent.clone(),
                model: model.clone(),
                capacity: role.capacity,
                reattached: role.reattached,
            });
        }
        let open_calls = named
            .into_iter()
            .filter(|call| self.agents.holds(stream, *call))
            .collect();
        let reattach = self.context.deadlines.reattach;
        let _ = reply.send(Ok(Welcome {
            open_calls,
            reattach,
            tools: self.context.sandboxes.toolbox().clone(),
        }));
        for (role, capacity) in roles {
            self.plan(Input::AgentAttached { role, capacity });
        }
    }

    fn detached(&mut self, stream: StreamId) {
        let now = self.now();
        let reattach_ms = millis(self.context.deadlines.reattach);
        for (role, agent) in self.agents.detached(now, stream) {
            self.event(EventKind::AgentDetached {
                role,
                agent,
                reattach_ms,
            });
        }
    }

    fn hear(&mut self, stream: StreamId, call: CallId, said: FromAgent) {
        let now = self.now();
        match said {
            FromAgent::Progress => self.agents.progress(now, stream, call),
            FromAgent::Rebase => self.agents.rebase(stream, call, &self.prefixes),
            FromAgent::Cancelled => {}
            FromAgent::Failed { failure, reason } => {
                if self.agents.end(stream, call).is_some() {
                    self.failures.insert(call, reason);
                    self.plan(Input::Failed { call, failure });
                }
            }
            FromAgent::Generated { actions, usage } => {
                // A late answer to a call that has ended is counted by the planner's
                // accounting of that call, and never used.
                let prefix = self.agents.prefix_of(call);
                let Some((role, step)) = self.agents.end(stream, call) else {
                    return;
                };
                let wanted = match role {
                    Role::Target => 1,
                    Role::Approximation => self.planner.config().width.max(1) as usize,
                };
                let actions = actions.and_then(|mut actions| {
                    actions.truncate(wanted);
                    let mut actions = actions.into_iter();
                    let first = actions.next().ok_or("it has no candidate")?;
                    Ok((first, actions.collect::<Vec<_>>()))
                });
                match actions {
                    Ok((action, others)) => {
                        let prefix = prefix.filter(|_| role == Role::Approximation);
                        let near = match role {
                            Role::Target => self.near(step, &action),
                            Role::Approximation => Vec::new(),
                        };
                        let candidate = self.candidate(&action);
                        let candidates = others.iter().map(|other| self.candidate(other));
                        let candidates = candidates.collect();
                        self.event(EventKind::Answered {
                            call,
                            role,
                            step,
                            action,
                            others,
                            usage,
                        });
                        self.plan(Input::Answered {
                            call,
                            candidate,
                            others: candidates,
                            near,
                        });
                        if let Some(prefix) = prefix {
                            self.foresee_beside(step, prefix);
                        }
                    }
                    Err(reason) => {
                        let what = format!("the answer of {role} to {call}");
                        self.event(EventKind::Refused {
                            what,
                            reason: reason.clone(),
                        });
                        self.plan(Input::Failed {
                            call,
                            failure: Failure::Transient { reason },
                        });
                    }
                }
            }
        }
    }

    /// The candidates of a step that are near a verdict, if the session's matcher knows such:
    /// of tools that change nothing.
    fn near(&self, step: StepIndex, verdict: &Action) -> Vec<ActionKey> {
        let toolbox = self.context.sandboxes.toolbox();
        let harmless = |tool: &str| {
            let tool = toolbox.get(tool);
            tool.is_some_and(|tool| tool.annotations.read_only)
        };
        let matcher = self.planner.config().matcher;
        matcher.near(verdict, self.tree.actions_at(step), harmless)
    }

    /// Remembers the action and says what the planner has to know of it.
    pub(super) fn candidate(&mut self, action: &Action) -> Candidate {
        Candidate {
            action: self.tree.intern(action),
            kind: action.kind(),
            tool: action.tool_number(),
        }
    }

    fn interrupt(&mut self, interruption: Interruption) {
        let Interruption { what, key, reply } = interruption;
        if !key.is_empty()
            && let Some((_, earlier, answer)) = self.remembered.iter().find(|(k, ..)| *k == key)
        {
            let answer = if *earlier == what {
                answer.clone()
            } else {
                Err(InterruptError::KeyReused)
            };
            let _ = reply.send(answer);
            return;
        }
        let answer = self.try_interrupt(&what).map(|()| {
            // The events of this turn follow the last one that is written.
            self.summary.last_sequence + self.unwritten.len() as u64
        });
        if let Err(error) = &answer {
            let what = what.to_string();
            self.event(EventKind::Refused {
                what,
                reason: error.to_string(),
            });
        }
        if !key.is_empty() {
            if self.remembered.len() >= REMEMBERED_INTERRUPTS_MAX {
                self.remembered.pop_front();
            }
            self.remembered.push_back((key, what, answer.clone()));
        }
        let _ = reply.send(answer);
    }

    fn try_interrupt(&mut self, what: &UserInterrupt) -> Result<(), InterruptError> {
        let interrupt = match what {
            UserInterrupt::Claim { step, seen, ttl } => Interrupt::Claim {
                step: *step,
                seen: *seen,
                ttl: *ttl,
            },
            UserInterrupt::Unclaim { step } => Interrupt::Unclaim { step: *step },
            UserInterrupt::Replace { step, seen, action } => {
                self.check_user_action(action)?;
                Interrupt::Replace {
                    step: *step,
                    seen: *seen,
                    near: self.near(*step, action),
                    candidate: self.candidate(action),
                }
            }
            UserInterrupt::Accept { step, node } => Interrupt::Accept {
                step: *step,
                node: *node,
            },
            UserInterrupt::Answer { step, text } => return self.answer_question(*step, text),
            UserInterrupt::Approve {
                approval,
                allow_for,
            } => {
                let end = match allow_for {
                    AllowFor::Once => ApprovalEnd::Allowed,
                    AllowFor::Session => ApprovalEnd::AllowedForSession,
                    AllowFor::Always => ApprovalEnd::AllowedAlways,
                };
                return self.answer_approval(*approval, end, "");
            }
            UserInterrupt::Refuse { approval, reason } => {
                return self.answer_approval(*approval, ApprovalEnd::Refused, reason);
            }
            UserInterrupt::Suggest { text } => {
                self.suggest(text)?;
                self.decide();
                return Ok(());
            }
            UserInterrupt::Backtrack {
                step,
                seen,
                anew,
                keep_effects,
            } => {
                if !keep_effects {
                    self.check_nothing_sent(*step)?;
                }
                self.withdraw_approval_of_commit();
                self.backtrack(*step, *seen, anew)?;
                self.decide();
                return Ok(());
            }
            UserInterrupt::Retry => Interrupt::Retry,
            UserInterrupt::Pause => Interrupt::Pause,
            UserInterrupt::Resume => Interrupt::Resume,
            UserInterrupt::Stop { .. } => {
                self.withdraw_approval_of_commit();
                Interrupt::Stop
            }
        };
        let now = self.now();
        let effects = self.planner.interrupt(now, interrupt)?;
        self.undo_at_end |= *what == UserInterrupt::Stop { undo: true };
        self.perform(effects);
        self.decide();
        Ok(())
    }

    /// What a person types is checked before it decides anything (planner.md, `replace`).
    pub(super) fn check_user_action(&self, action: &Action) -> Result<(), InterruptError> {
        if action.kind() == forerun_types::ActionKind::Tool
            && let Err(observation) = self.context.sandboxes.toolbox().check(action)
        {
            return Err(InterruptError::InvalidAction(observation.text));
        }
        Ok(())
    }

    fn answer_question(&mut self, step: StepIndex, text: &str) -> Result<(), InterruptError> {
        match self.question {
            Some((execution, asked)) if asked == step => {
                self.question = None;
                let observation = Observation::new(ObservationStatus::Success, text);
                self.complete_without_sandbox(execution, observation);
                Ok(())
            }
            _ => Err(InterruptError::Refused {
                reason: format!("step {step} asks no question: this needs a decided {ASK_USER}"),
                needed: "a decided ask_user",
                changed: false,
            }),
        }
    }

    fn view(&self) -> View {
        View {
            summary: self.summary.clone(),
            question: self.question.map(|(_, step)| step),
            elapsed: self.opened.elapsed(),
            agents: self.agents.seats().collect(),
        }
    }

    /// What the session has changed and not committed: with `commit = step`, that is what
    /// was committed; it is read from the journal by the archive.
    fn diff(&self) -> Result<Vec<forerun_snapshot::FileDiff>, String> {
        if self.record.commit == CommitMode::Step {
            return Ok(Vec::new());
        }
        let head = self.context.sandboxes.snapshot(self.head);
        let head = head.ok_or("the session's head is gone")?;
        head.diff().map_err(|error| error.to_string())
    }

    /// Closes the session: as `stop` does, or, when the daemon stops, as it is. A commit
    /// that is under way is waited for.
    fn close(&mut self, reason: &str, by_daemon: bool) {
        let now = self.now();
        if by_daemon {
            self.closing = Some(reason.to_owned());
        } else {
            self.withdraw_approval_of_commit();
            if let Ok(effects) = self.planner.interrupt(now, Interrupt::Stop) {
                self.perform(effects);
            }
        }
    }

    /// With the daemon stopping and no commit under way, the session is over.
    fn finish_closing(&mut self) {
        if !self.retiring
            && !self.ended
            && let Some(reason) = self.closing.take()
        {
            self.leave_under_way();
            self.event(EventKind::Interrupted { reason });
            self.ended = true;
        }
    }

    /// Frees what the session holds outside of itself.
    fn release(&mut self) {
        for running in self.executions.values() {
            if let Some(task) = &running.task {
                task.abort();
            }
        }
        let before = self.history.iter().map(|verified| verified.before);
        let snapshots: Vec<_> = self
            .tree
            .snapshots()
            .chain(before)
            .chain([self.head])
            .collect();
        for snapshot in snapshots {
            self.context.sandboxes.drop_snapshot(snapshot);
        }
        self.agents.close_all("the session has ended");
        self.learn();
        let experience = self.planner.experience().clone();
        let kept = self.context.experience.0.clone();
        tokio::task::spawn_blocking(move || kept.keep(&experience));
    }

    /// Tells the planner how an execution ended that no sandbox did.
    pub(super) fn complete_without_sandbox(
        &mut self,
        execution: ExecutionId,
        observation: Observation,
    ) {
        let outcome = self.keep_result(execution, observation, None);
        if let Some(outcome) = outcome {
            self.plan(Input::Executed { execution, outcome });
        }
    }

    /// Tells the planner that an execution did not take place.
    pub(super) fn not_executed(&mut self, execution: ExecutionId, reason: String) {
        self.forget_requests_of(execution);
        if let Some(running) = self.executions.remove(&execution) {
            self.event(EventKind::NotExecuted {
                execution,
                node: running.node,
                step: running.step,
                reason: reason.clone(),
            });
            self.plan(Input::Executed {
                execution,
                outcome: Outcome::NotExecuted { reason },
            });
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
