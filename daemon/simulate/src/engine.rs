//! Drives a planner in virtual time: a queue of what will happen, and the world that says
//! what that is.
//!
//! The planner is the one that serves sessions; nothing is decided here. Its effects are
//! put to a [`World`], which says after how long they are answered and with what, and an
//! [`Observer`] sees all that the planner is told and says.
//!
//! **Invariant:** what happens at the same instant is fed in the order user, T, A,
//! executions, retirements (rule 13 of planner.md), and else in the order in which it was
//! caused.
//! **Invariant:** the same planner, world and observer do the same again.

use forerun_planner::{
    Candidate, Effect, Failure, Input, Interrupt, Outcome, Pair, Planner, Presented, Refusal,
    RetireResult, Undone,
};
use forerun_types::{
    ActionKey, CallId, ExecutionId, Matcher, NodeId, PrefixId, Role, Source, StepIndex, Time, Usage,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A planner in a world.
pub struct Simulation<W, O> {
    /// The planner.
    pub planner: Planner,
    /// Who answers it.
    pub world: W,
    /// Who watches.
    pub observer: O,
    now: Time,
    queue: BTreeMap<(Time, Rank, u64), Event>,
    sequence: u64,
    /// The prefix below each executed node that is still there.
    below: BTreeMap<NodeId, PrefixId>,
    root: PrefixId,
    /// The verified steps, with the prefix below each.
    verified: Vec<(NodeId, PrefixId)>,
    /// The nodes of the executions that run.
    nodes: BTreeMap<ExecutionId, NodeId>,
    /// The steps of the target's calls that were not answered or cancelled.
    asked: BTreeMap<CallId, StepIndex>,
    /// What was cancelled or stopped, and has an event in the queue.
    cancelled: BTreeSet<CallId>,
    stopped: BTreeSet<ExecutionId>,
}

/// What a planner is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// By agents, sandboxes and the clock.
    Input(Input),
    /// By the user.
    Interrupt(Interrupt),
}

/// Whose event comes first at the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    User,
    Target,
    Approximation,
    Execution,
    Retirement,
    Other,
}

/// A call of an agent.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The call.
    pub call: CallId,
    /// Who is asked.
    pub role: Role,
    /// For which step.
    pub step: StepIndex,
    /// On which prefix.
    pub prefix: PrefixId,
}

/// How a call of an agent ends, if nobody cancels it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// When.
    pub after: Duration,
    /// What it says.
    pub answer: Result<Candidate, Failure>,
    /// What it costs, if it is not cancelled.
    pub usage: Usage,
}

/// An execution of an action.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Its step.
    pub step: StepIndex,
    /// What its step was asked on.
    pub prefix: PrefixId,
    /// The action.
    pub action: ActionKey,
    /// On whose behalf.
    pub source: Source,
    /// Whether its step is undecided.
    pub speculative: bool,
}

/// Everybody but the planner. Each method says what happens, and after how long.
pub trait World {
    /// What an agent answers.
    fn answer(&mut self, asked: &Asked) -> Reply;

    /// How an execution ends.
    fn execute(&mut self, running: &Running) -> (Duration, Outcome);

    /// How the recording of a verified step ends.
    fn retire(&mut self, _step: StepIndex) -> (Duration, RetireResult) {
        (Duration::ZERO, RetireResult::Done)
    }

    /// What a person does who reads a line.
    fn person(&mut self, _line: &Presented) -> Option<(Duration, Interrupt)> {
        None
    }

    /// Whether an action is near a verdict, for the matcher `fuzzy`.
    fn is_near(&mut self, _action: &ActionKey, _verdict: &Candidate) -> bool {
        false
    }

    /// Which candidates a judge takes for the verdict on their step.
    fn judge(&mut self, _pairs: &[Pair]) -> (Duration, Result<Vec<NodeId>, Failure>) {
        (Duration::ZERO, Ok(Vec::new()))
    }

    /// Whether what was cancelled answers nevertheless, at its time.
    fn answers_late(&self) -> bool {
        false
    }
}

/// Sees everything, and changes nothing.
pub trait Observer {
    /// An agent was asked, and will answer so.
    fn asked(&mut self, _now: Time, _asked: &Asked, _reply: &Reply) {}

    /// The planner is about to be told something.
    fn before(&mut self, _now: Time, _event: &Event) {}

    /// What the planner said to that.
    fn after(&mut self, _now: Time, _event: &Event, _effects: &[Effect]) {}

    /// The planner refused an interrupt.
    fn refused(&mut self, _now: Time, _interrupt: &Interrupt, _refusal: Refusal) {}
}

/// Nobody watches.
impl Observer for () {}

impl<W: World, O: Observer> Simulation<W, O> {
    /// A session that begins at time zero, with both agents, and a judge if its matcher is one;
    /// the target and the judge take as many calls at once as the session is deep. `root` is the
    /// prefix that the planner begins with.
    pub fn new(planner: Planner, root: PrefixId, world: W, observer: O) -> Simulation<W, O> {
        let capacity = planner.config().depth.max(1);
        let mut simulation = Simulation {
            planner,
            world,
            observer,
            now: Time::ZERO,
            queue: BTreeMap::new(),
            sequence: 0,
            below: BTreeMap::new(),
            root,
            verified: Vec::new(),
            nodes: BTreeMap::new(),
            asked: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            stopped: BTreeSet::new(),
        };
        for (role, capacity) in [(Role::Approximation, 1), (Role::Target, capacity)] {
            simulation.at(Time::ZERO, Input::AgentAttached { role, capacity });
        }
        if let Matcher::Judge { .. } = simulation.planner.config().matcher {
            simulation.at(Time::ZERO, Input::JudgeAttached { capacity });
        }
        simulation
    }

    /// The present.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The planner will be told something.
    pub fn at(&mut self, time: Time, input: Input) {
        let rank = match input {
            Input::Executed { .. } => Rank::Execution,
            Input::Retired { .. } => Rank::Retirement,
            _ => Rank::Other,
        };
        self.push(time, rank, Event::Input(input));
    }

    /// The user will say something.
    pub fn user_at(&mut self, time: Time, interrupt: Interrupt) {
        self.push(time, Rank::User, Event::Interrupt(interrupt));
    }

    fn push(&mut self, time: Time, rank: Rank, event: Event) {
        self.sequence += 1;
        self.queue.insert((time, rank, self.sequence), event);
    }

    /// Runs until nothing happens any more; the time.
    pub fn run(&mut self) -> Time {
        while self.step() {}
        self.now
    }

    /// Runs what comes before `time`, and stays there.
    pub fn run_until(&mut self, time: Time) {
        loop {
            let event = self.queue.keys().next().map(|(time, ..)| *time);
            match self.planner.next_timeout().into_iter().chain(event).min() {
                Some(next) if next < time => self.step(),
                _ => break,
            };
        }
        self.now = self.now.max(time);
    }

    /// Lets the next thing happen, if there is one.
    pub fn step(&mut self) -> bool {
        let next = self.queue.keys().next().map(|(time, ..)| *time);
        if let Some(time) = self.planner.next_timeout()
            && next.is_none_or(|next| time < next)
        {
            assert!(time >= self.now, "a time-out in the past");
            self.now = time;
            self.feed(Input::Tick);
            let next = self.planner.next_timeout();
            assert!(next.is_none_or(|next| next > time), "ticks for ever");
            return true;
        }
        let Some((key, event)) = self.queue.pop_first() else {
            return false;
        };
        if self.happens(&event) {
            self.now = key.0;
            match event {
                Event::Interrupt(interrupt) => self.interrupt(interrupt),
                Event::Input(input) => self.feed(input),
            }
        }
        true
    }

    /// Whether an event of the queue happens: what was cancelled does not, unless the world
    /// is one in which answers come late.
    fn happens(&mut self, event: &Event) -> bool {
        let cancelled = match event {
            Event::Input(
                Input::Answered { call, .. }
                | Input::Judged { call, .. }
                | Input::Failed { call, .. },
            ) => self.cancelled.remove(call),
            Event::Input(Input::Executed { execution, .. }) => self.stopped.remove(execution),
            _ => false,
        };
        !cancelled || self.world.answers_late()
    }

    /// Tells the planner something now.
    pub fn feed(&mut self, mut input: Input) {
        if let Input::Answered {
            call,
            candidate,
            near,
            ..
        } = &mut input
            && let Some(step) = self.asked.remove(call)
        {
            *near = self.near(step, candidate);
        }
        if let Input::Executed { execution, outcome } = &input
            && let Some(node) = self.nodes.remove(execution)
            && let Outcome::Completed { next, .. } = outcome
        {
            self.below.insert(node, *next);
        }
        if let Input::Retired { node, result } = &input
            && *result == RetireResult::Done
            && let Some(next) = self.below.remove(node)
        {
            self.verified.push((*node, next));
        }
        let event = Event::Input(input.clone());
        self.observer.before(self.now, &event);
        let effects = self.planner.handle(self.now, input);
        self.carry_out(&event, &effects);
    }

    /// The candidates of a step that are near a verdict.
    fn near(&mut self, step: StepIndex, verdict: &Candidate) -> Vec<ActionKey> {
        if !matches!(self.planner.config().matcher, Matcher::Fuzzy { .. }) {
            return Vec::new();
        }
        let mut views = self.planner.steps().into_iter();
        let view = views.find(|view| view.step == step);
        let actions = view.into_iter().flat_map(|view| {
            let siblings = view.siblings.into_iter().map(|(_, action)| action);
            view.action.into_iter().chain(siblings)
        });
        actions
            .filter(|action| self.world.is_near(action, verdict))
            .collect()
    }

    /// What the step after the last verified one is asked on.
    fn head(&self) -> PrefixId {
        self.verified.last().map_or(self.root, |(_, next)| *next)
    }

    /// Tells the planner now what the user wants.
    pub fn interrupt(&mut self, mut interrupt: Interrupt) {
        if let Interrupt::Replace {
            step,
            candidate,
            near,
            ..
        } = &mut interrupt
        {
            *near = self.near(*step, candidate);
        }
        match self.planner.interrupt(self.now, interrupt.clone()) {
            Ok(effects) => self.carry_out(&Event::Interrupt(interrupt), &effects),
            Err(refusal) => self.observer.refused(self.now, &interrupt, refusal),
        }
    }

    fn carry_out(&mut self, event: &Event, effects: &[Effect]) {
        self.observer.after(self.now, event, effects);
        for effect in effects {
            self.schedule(effect);
        }
    }

    fn schedule(&mut self, effect: &Effect) {
        match effect {
            Effect::Ask {
                call,
                role,
                step,
                prefix,
            } => self.ask(&Asked {
                call: *call,
                role: *role,
                step: *step,
                prefix: *prefix,
            }),
            Effect::CancelCall { call } => {
                self.asked.remove(call);
                self.cancelled.insert(*call);
            }
            Effect::Judge { call, pairs } => {
                let (after, answer) = self.world.judge(pairs);
                let call = *call;
                let input = match answer {
                    Ok(same) => Input::Judged { call, same },
                    Err(failure) => Input::Failed { call, failure },
                };
                self.at(self.now + after, input);
            }
            Effect::Execute {
                execution,
                node,
                parent,
                step,
                action,
                source,
                speculative,
                ..
            } => {
                self.nodes.insert(*execution, *node);
                let below = |parent| self.below.get(&parent).copied();
                let (after, outcome) = self.world.execute(&Running {
                    step: *step,
                    prefix: parent.and_then(below).unwrap_or(self.head()),
                    action: *action,
                    source: *source,
                    speculative: *speculative,
                });
                let execution = *execution;
                self.at(self.now + after, Input::Executed { execution, outcome });
            }
            // What runs here reaches nothing, so it is never parked.
            Effect::Release { .. } => {}
            Effect::StopExecution { execution } => {
                self.nodes.remove(execution);
                self.stopped.insert(*execution);
            }
            Effect::Squash { node, .. } => {
                self.below.remove(node);
            }
            Effect::Retire { node, step } => {
                let (after, result) = self.world.retire(*step);
                let node = *node;
                self.at(self.now + after, Input::Retired { node, result });
            }
            Effect::Undo { from } => {
                self.verified.truncate(from.0 as usize);
                let undone = Undone {
                    first: *from,
                    node: self.verified.last().map(|(node, _)| *node),
                    next: self.head(),
                    refused: None,
                };
                self.at(self.now, Input::Undone(undone));
            }
            Effect::Present(line) => {
                if let Some((after, interrupt)) = self.world.person(line) {
                    self.user_at(self.now + after, interrupt);
                }
            }
            Effect::CallEnded { .. }
            | Effect::JudgeEnded { .. }
            | Effect::ExecutionEnded { .. }
            | Effect::Decide { .. } => {}
        }
    }

    fn ask(&mut self, asked: &Asked) {
        let reply = self.world.answer(asked);
        self.observer.asked(self.now, asked, &reply);
        let call = asked.call;
        if asked.role == Role::Target {
            self.asked.insert(call, asked.step);
        }
        let input = match reply.answer {
            Ok(candidate) => Input::Answered {
                call,
                candidate,
                others: Vec::new(),
                near: Vec::new(),
            },
            Err(failure) => Input::Failed { call, failure },
        };
        let rank = match asked.role {
            Role::Target => Rank::Target,
            Role::Approximation => Rank::Approximation,
        };
        self.push(self.now + reply.after, rank, Event::Input(input));
    }
}
