//! A world in virtual time: agents, sandboxes and commits with given latencies and answers,
//! and a queue that breaks ties as rule 13 says: user, T, A, executions.

pub(crate) mod wording;

use crate::monitor::Monitor;
use forerun_planner::{
    Candidate, Config, DepthControl, Effect, Failure, Input, Interrupt, Outcome, Pair, Planner,
    RetireResult, State, Window,
};
use forerun_types::{
    ActionKey, ActionKind, Digest, ExecutionId, Matcher, NodeId, PrefixId, Role, StepIndex, Time,
};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// No session of a test is told more than this.
const INPUTS_MAX: usize = 100_000;

pub(crate) fn config(depth: u32, window: Window, max_steps: u32) -> Config {
    Config {
        depth,
        width: 1,
        window,
        control: DepthControl::Fixed,
        matcher: Matcher::Exact,
        review: Duration::ZERO,
        max_steps,
    }
}

pub(crate) fn root() -> PrefixId {
    PrefixId::root("task", "", &Digest::of("tools"))
}

/// A digest that tells things of a test apart, and costs little.
pub(crate) fn digest(of: impl Hash) -> Digest {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&hasher.finish().to_le_bytes());
    Digest(bytes)
}

/// `x~3` is another way of saying `x`.
pub(crate) fn action(text: &str) -> Candidate {
    let (text, way) = wording::parse(text);
    let kind = match text.split(' ').next() {
        Some("terminate") => ActionKind::Terminate,
        Some("ask_user") => ActionKind::AskUser,
        _ => ActionKind::Tool,
    };
    let what = digest(text);
    Candidate {
        action: wording::key(what, way),
        kind,
        tool: u64::from_le_bytes(what.0[..8].try_into().expect("eight bytes")),
    }
}

/// A number in 0..2^64 from anything.
pub(crate) fn draw(seed: u64, what: impl Hash) -> u64 {
    let digest = digest((seed, what));
    u64::from_le_bytes(digest.0[..8].try_into().expect("eight bytes"))
}

/// The prefix below an action with an observation.
pub(crate) fn below(prefix: &PrefixId, action: &ActionKey, observation: &Digest) -> PrefixId {
    PrefixId(digest((prefix, action, observation)))
}

/// The prefix with something that the user said.
pub(crate) fn said(prefix: &PrefixId, text: &str) -> PrefixId {
    PrefixId(digest((prefix, text)))
}

/// A deterministic tool: its outcome depends on the prefix and the action alone.
pub(crate) fn outcome(prefix: &PrefixId, action: &ActionKey) -> Outcome {
    let observation = digest((prefix, wording::seen(action)));
    Outcome::Completed {
        observation,
        changes: wording::changed(action).0,
        next: below(prefix, action, &observation),
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) count: u64,
    pub(crate) prefix: PrefixId,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) count: u64,
    pub(crate) prefix: PrefixId,
    pub(crate) action: ActionKey,
    pub(crate) speculative: bool,
}

/// When an agent answers, and what: its candidates, best first.
pub(crate) type Answer = (u64, Result<Vec<Candidate>, Failure>);

/// When the judge answers, and what: the candidates that it takes for the verdict.
pub(crate) type Judgement = (u64, Result<Vec<NodeId>, Failure>);
type Judging = dyn Fn(u64, &[Pair]) -> Judgement;

/// What happens to whom after how many microseconds. All pure functions.
pub(crate) struct World {
    pub(crate) target: Box<dyn Fn(Asked) -> Answer>,
    pub(crate) approximation: Box<dyn Fn(Asked) -> Answer>,
    pub(crate) execute: Box<dyn Fn(Running) -> (u64, Outcome)>,
    /// Whether an execution is parked, and has still all to do when it is released.
    pub(crate) parks: Box<dyn Fn(Running) -> bool>,
    pub(crate) retire: Box<dyn Fn(u64) -> (u64, RetireResult)>,
    /// How many calls the judge takes at once; 0: there is none.
    pub(crate) judges: u32,
    /// Which candidates it takes for the verdict.
    pub(crate) judge: Box<Judging>,
    /// Undoing: how many steps of those that were wanted stay.
    pub(crate) undo: Box<dyn Fn(u64) -> (u64, u32)>,
}

#[derive(Clone, Debug)]
enum Event {
    User(Interrupt),
    Input(Input),
}

/// Where ties are broken.
fn rank(event: &Event, role: Option<Role>) -> u8 {
    match (event, role) {
        (Event::User(_), _) => 0,
        (_, Some(Role::Target)) => 1,
        (_, Some(Role::Approximation)) => 2,
        (Event::Input(Input::Executed { .. }), _) => 3,
        (Event::Input(Input::Retired { .. } | Input::Undone(_)), _) => 4,
        (Event::Input(_), _) => 5,
    }
}

/// Something that a world may be asked for again.
type Tried = (&'static str, Option<PrefixId>, Option<ActionKey>);

pub(crate) struct Sim {
    pub(crate) planner: Planner,
    pub(crate) monitor: Monitor,
    pub(crate) world: World,
    pub(crate) now: u64,
    queue: BTreeMap<(u64, u8, u64), Event>,
    sequence: u64,
    counts: BTreeMap<Tried, u64>,
    parked: BTreeMap<ExecutionId, (u64, Outcome)>,
    /// What the planner was told and said, for a replay.
    pub(crate) tape: Vec<(Time, Result<Input, Interrupt>, Vec<Effect>)>,
    pub(crate) refusals: u32,
}

impl Sim {
    pub(crate) fn new(config: Config, world: World) -> Sim {
        let capacity = config.depth.max(1);
        let mut sim = Sim {
            planner: Planner::new(config.clone(), root()),
            monitor: Monitor::new(config, root()),
            world,
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            counts: BTreeMap::new(),
            parked: BTreeMap::new(),
            tape: Vec::new(),
            refusals: 0,
        };
        for (role, capacity) in [(Role::Approximation, 1), (Role::Target, capacity)] {
            sim.at(0, Input::AgentAttached { role, capacity });
        }
        let capacity = sim.world.judges;
        if capacity > 0 {
            sim.at(0, Input::JudgeAttached { capacity });
        }
        sim
    }

    /// The candidates of a step that are near an action, as the edge finds them. It says so
    /// whatever the matcher is.
    pub(crate) fn near(&self, step: u32, of: &Candidate) -> Vec<ActionKey> {
        let mut views = self.planner.steps().into_iter();
        let view = views.find(|view| view.step == StepIndex(step));
        let actions = view.into_iter().flat_map(|view| {
            let siblings = view.siblings.into_iter().map(|(_, action)| action);
            view.action.into_iter().chain(siblings)
        });
        actions
            .filter(|action| wording::is_near(action, &of.action))
            .collect()
    }

    pub(crate) fn at(&mut self, time: u64, input: Input) {
        self.push(time, Event::Input(input), None);
    }

    pub(crate) fn user_at(&mut self, time: u64, interrupt: Interrupt) {
        self.push(time, Event::User(interrupt), None);
    }

    fn push(&mut self, time: u64, event: Event, role: Option<Role>) {
        self.sequence += 1;
        let key = (time, rank(&event, role), self.sequence);
        self.queue.insert(key, event);
    }

    /// Counts how often something was tried, so that a world can answer differently then.
    fn count(&mut self, what: Tried) -> u64 {
        let count = self.counts.entry(what).or_default();
        *count += 1;
        *count - 1
    }

    /// Runs until nothing happens any more; the time.
    pub(crate) fn run(&mut self) -> u64 {
        while self.step() {}
        self.now
    }

    /// Runs what comes before `time`, and stays there.
    pub(crate) fn run_until(&mut self, time: u64) {
        loop {
            let timeout = self.planner.next_timeout().map(|time| time.0);
            let event = self.queue.keys().next().map(|(time, ..)| *time);
            match timeout.into_iter().chain(event).min() {
                Some(next) if next < time => self.step(),
                _ => break,
            };
        }
        self.now = self.now.max(time);
    }

    /// Runs until the plan ended, helping a session that waits for its owner.
    pub(crate) fn run_to_the_end(&mut self) -> u64 {
        for _ in 0..1000 {
            self.run();
            let now = self.now + 1;
            match self.planner.state() {
                State::Ended => return self.now,
                State::Paused => self.user_at(now, Interrupt::Resume),
                State::Stalled { .. } => {
                    for role in [Role::Approximation, Role::Target] {
                        self.at(now, Input::AgentAttached { role, capacity: 3 });
                    }
                    self.user_at(now + 1, Interrupt::Retry);
                }
                State::Running | State::Stopping | State::Backtracking => {
                    panic!("it hangs: {:#?}", self.planner)
                }
            }
        }
        panic!("no end: {:#?}", self.planner.state());
    }

    fn step(&mut self) -> bool {
        let timeout = self.planner.next_timeout().map(|time| time.0);
        let next = self.queue.keys().next().copied();
        let tick = timeout.filter(|timeout| next.is_none_or(|(time, ..)| *timeout < time));
        if let Some(time) = tick {
            assert!(time >= self.now, "a time-out in the past");
            self.now = time;
            self.feed(Input::Tick);
            let next = self.planner.next_timeout();
            assert!(next.is_none_or(|next| next.0 > time), "ticks for ever");
            return true;
        }
        let Some(key) = next else {
            return false;
        };
        let event = self.queue.remove(&key).expect("it is there");
        self.now = key.0;
        match event {
            Event::User(interrupt) => self.interrupt(interrupt),
            Event::Input(input) => self.feed(input),
        }
        true
    }

    /// The user says something; whether that was possible.
    pub(crate) fn suggest(&mut self, text: &str) {
        let refusals = self.refusals;
        self.interrupt(Interrupt::Suggest {
            step: StepIndex(self.monitor.lowest()),
            prefixes: self.monitor.rehash(text),
        });
        if self.refusals == refusals {
            self.monitor.was_said(text);
        }
    }

    pub(crate) fn feed(&mut self, mut input: Input) {
        // The prefix is hashed when the execution ends: the user may have spoken meanwhile.
        if let Input::Executed {
            execution,
            outcome: Outcome::Completed {
                observation, next, ..
            },
        } = &mut input
            && let Some(now) = self.monitor.below_execution(*execution, observation)
        {
            *next = now;
        }
        if let Input::Answered {
            call,
            candidate,
            near,
            ..
        } = &mut input
            && let Some((Role::Target, step, _)) = self.monitor.calls.get(call)
        {
            *near = self.near(*step, candidate);
        }
        self.monitor.before(&input);
        let effects = self.planner.handle(Time(self.now), input.clone());
        self.tape.push((Time(self.now), Ok(input), effects.clone()));
        self.carry_out(effects);
    }

    pub(crate) fn interrupt(&mut self, interrupt: Interrupt) {
        match self.planner.interrupt(Time(self.now), interrupt.clone()) {
            Ok(effects) => {
                self.monitor.interrupted(&interrupt);
                let record = (Time(self.now), Err(interrupt), effects.clone());
                self.tape.push(record);
                self.carry_out(effects);
            }
            Err(_) => self.refusals += 1,
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        self.monitor.after(Time(self.now), &effects);
        self.check_progress();
        for effect in &effects {
            self.schedule(effect);
        }
    }

    /// No deadlock: somebody works, or the session waits for its owner, for a time that comes, or
    /// for its first target.
    fn check_progress(&self) {
        let goes_on = match self.planner.state() {
            State::Running => {
                self.monitor.is_busy()
                    || self.planner.next_timeout().is_some()
                    || !self.monitor.knows_target()
            }
            State::Stopping | State::Backtracking => self.monitor.is_recording(),
            State::Paused | State::Stalled { .. } | State::Ended => true,
        };
        assert!(goes_on, "nobody works: {:#?}", self.planner);
        assert!(self.tape.len() < INPUTS_MAX, "it goes on for ever");
    }

    fn schedule(&mut self, effect: &Effect) {
        match effect {
            Effect::Ask {
                call, role, prefix, ..
            } => {
                let asked = Asked {
                    count: self.count((role.as_str(), Some(*prefix), None)),
                    prefix: *prefix,
                };
                let (after, answer) = match role {
                    Role::Target => (self.world.target)(asked),
                    Role::Approximation => (self.world.approximation)(asked),
                };
                let call = *call;
                let input = match answer {
                    Ok(mut candidates) => Input::Answered {
                        call,
                        candidate: candidates.remove(0),
                        others: candidates,
                        near: Vec::new(),
                    },
                    Err(failure) => Input::Failed { call, failure },
                };
                self.push(self.now + after, Event::Input(input), Some(*role));
            }
            Effect::Judge { call, pairs } => {
                let count = self.count(("judge", Some(pairs[0].prefix), None));
                let (after, answer) = (self.world.judge)(count, pairs);
                let call = *call;
                let input = match answer {
                    Ok(same) => Input::Judged { call, same },
                    Err(failure) => Input::Failed { call, failure },
                };
                self.at(self.now + after, input);
            }
            Effect::Execute {
                execution,
                parent,
                action,
                speculative,
                ..
            } => {
                let prefix = self.monitor.prefix_below(*parent);
                let how = if *speculative { "speculate" } else { "execute" };
                let running = Running {
                    count: self.count((how, Some(prefix), Some(*action))),
                    prefix,
                    action: *action,
                    speculative: *speculative,
                };
                let (after, outcome) = (self.world.execute)(running);
                let execution = *execution;
                if (self.world.parks)(running) {
                    self.parked.insert(execution, (after, outcome));
                    self.at(self.now + after, Input::Parked { execution });
                } else {
                    self.at(self.now + after, Input::Executed { execution, outcome });
                }
            }
            Effect::Release { execution } => {
                let execution = *execution;
                let parked = self.parked.remove(&execution);
                let (after, outcome) = parked.expect("it is parked");
                self.at(self.now + after, Input::Executed { execution, outcome });
            }
            Effect::Retire { node, .. } => {
                let count = self.count(("retire", None, None));
                let (after, result) = (self.world.retire)(count);
                let node = *node;
                self.at(self.now + after, Input::Retired { node, result });
            }
            Effect::Undo { from } => {
                let count = self.count(("undo", None, None));
                let (after, stay) = (self.world.undo)(count);
                let undone = self.monitor.undone_to(from.0, stay);
                self.at(self.now + after, Input::Undone(undone));
            }
            // Answers of cancelled calls and stopped executions still come: late.
            _ => {}
        }
    }

    /// The process ends, and another one goes on from the record of what the planner was told.
    /// Agents attach again after a while and know of no call; what was executing starts over;
    /// what was being recorded or undone is brought to its end.
    pub(crate) fn crash(&mut self, away: u64, capacity: u32) {
        self.planner = self.replay();
        for ((time, ..), event) in std::mem::take(&mut self.queue) {
            match event {
                Event::Input(
                    Input::Answered { .. } | Input::Failed { .. } | Input::Judged { .. },
                ) => {}
                Event::Input(Input::Executed { .. }) => self.push(time + away, event, None),
                Event::Input(_) | Event::User(_) => self.push(time, event, None),
            }
        }
        for role in [Role::Approximation, Role::Target] {
            self.feed(Input::AgentLost { role });
            self.at(self.now + away, Input::AgentAttached { role, capacity });
        }
        if self.world.judges > 0 {
            self.feed(Input::JudgeLost);
            self.at(self.now + away, Input::JudgeAttached { capacity });
        }
    }

    /// Runs the tape through a fresh planner, which is as this one is then; panics if it says
    /// anything else.
    pub(crate) fn replay(&self) -> Planner {
        let mut planner = Planner::new(self.planner.config().clone(), root());
        for (time, event, effects) in &self.tape {
            let again = match event.clone() {
                Ok(input) => planner.handle(*time, input),
                Err(interrupt) => planner
                    .interrupt(*time, interrupt)
                    .expect("it was admitted before"),
            };
            assert_eq!(&again, effects);
        }
        assert_eq!(planner.steps(), self.planner.steps());
        assert_eq!(planner.counters(), self.planner.counters());
        planner
    }
}
