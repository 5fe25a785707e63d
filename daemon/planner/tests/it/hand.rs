//! A planner that is driven by hand: tests say who answers what, and look at each effect.
//! Commits are answered at once unless a test holds them.

use crate::monitor::Monitor;
use crate::sim::{action, below, outcome, root, said};
use forerun_planner::{
    Config, Effect, Failure, Input, Interrupt, Outcome, Planner, Presented, Refusal, RetireResult,
    Seen, StepView, Window,
};
use forerun_types::{CallId, Digest, ExecutionId, NodeId, Role, StepIndex, Time};
use std::time::Duration;

pub(crate) const A: Role = Role::Approximation;
pub(crate) const T: Role = Role::Target;
pub(crate) const SECOND: u64 = 1_000_000;

pub(crate) struct Hand {
    pub(crate) planner: Planner,
    pub(crate) monitor: Monitor,
    pub(crate) now: u64,
    /// Commits wait for [`Hand::committed`].
    pub(crate) hold_commits: bool,
    /// How many steps stay when the user goes back.
    pub(crate) undo_keeps: u32,
    /// The effects of the last thing that a test did, and of what followed at once.
    pub(crate) last: Vec<Effect>,
}

impl Hand {
    /// A session without review and with agents attached.
    pub(crate) fn new(depth: u32) -> Hand {
        Hand::with(Config {
            depth,
            ..Config::default()
        })
    }

    pub(crate) fn reviewed(depth: u32, review: u64) -> Hand {
        Hand::with(Config {
            depth,
            review: Duration::from_secs(review),
            ..Config::default()
        })
    }

    pub(crate) fn with(config: Config) -> Hand {
        let mut hand = Hand::unattended(config);
        for (role, capacity) in [(A, 1), (T, 100)] {
            hand.input(Input::AgentAttached { role, capacity });
        }
        hand
    }

    pub(crate) fn unattended(config: Config) -> Hand {
        Hand {
            planner: Planner::new(config.clone(), root()),
            monitor: Monitor::new(config, root()),
            now: 0,
            hold_commits: false,
            undo_keeps: 0,
            last: Vec::new(),
        }
    }

    pub(crate) fn barrier(depth: u32) -> Hand {
        Hand::with(Config {
            depth,
            window: Window::Barrier,
            ..Config::default()
        })
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.last.clear();
        self.feed(input);
    }

    fn feed(&mut self, input: Input) {
        self.monitor.before(&input);
        let effects = self.planner.handle(Time(self.now), input);
        self.follow(effects);
    }

    fn follow(&mut self, effects: Vec<Effect>) {
        self.monitor.after(Time(self.now), &effects);
        let retire = effects.iter().find_map(|effect| match effect {
            Effect::Retire { node, .. } => Some(*node),
            _ => None,
        });
        let undo = effects.iter().find_map(|effect| match effect {
            Effect::Undo { from } => Some(*from),
            _ => None,
        });
        self.last.extend(effects);
        if let Some(from) = undo {
            let undone = self.monitor.undone_to(from.0, self.undo_keeps);
            self.feed(Input::Undone(undone));
        }
        if let Some(node) = retire.filter(|_| !self.hold_commits) {
            let result = RetireResult::Done;
            self.feed(Input::Retired { node, result });
        }
    }

    /// Lets time go by; time-outs come when they are due.
    pub(crate) fn wait(&mut self, seconds: u64) {
        self.last.clear();
        let until = self.now + seconds * SECOND;
        while let Some(time) = self.planner.next_timeout().filter(|time| time.0 <= until) {
            self.now = time.0;
            self.feed(Input::Tick);
        }
        self.now = until;
    }

    pub(crate) fn call(&self, role: Role, step: u32) -> Option<CallId> {
        let mut calls = self.monitor.calls.iter();
        let found = calls.find(|(_, (of, at, _))| (*of, *at) == (role, step));
        found.map(|(call, _)| *call)
    }

    /// Whether an agent is being asked for a step.
    pub(crate) fn asks(&self, role: Role, step: u32) -> bool {
        self.call(role, step).is_some()
    }

    pub(crate) fn running(&self, step: u32) -> Option<(ExecutionId, NodeId)> {
        let mut executions = self.monitor.executions.iter();
        let found = executions.find(|(_, (_, at))| *at == step);
        found.map(|(execution, (node, _))| (*execution, *node))
    }

    /// An agent answers.
    #[track_caller]
    pub(crate) fn says(&mut self, role: Role, step: u32, text: &str) {
        self.says_near(role, step, text, &[]);
    }

    /// An agent answers something that is near candidates.
    #[track_caller]
    pub(crate) fn says_near(&mut self, role: Role, step: u32, text: &str, near: &[&str]) {
        let call = self.call(role, step).expect("it was asked");
        self.input(Input::Answered {
            call,
            candidate: action(text),
            others: Vec::new(),
            near: near.iter().map(|text| action(text).action).collect(),
        });
    }

    /// A has several candidates.
    #[track_caller]
    pub(crate) fn offers(&mut self, step: u32, texts: &[&str]) {
        let call = self.call(A, step).expect("it was asked");
        let mut candidates = texts.iter().map(|text| action(text));
        self.input(Input::Answered {
            call,
            candidate: candidates.next().expect("one"),
            others: candidates.collect(),
            near: Vec::new(),
        });
    }

    /// Somebody who was not asked has candidates for a step.
    #[track_caller]
    pub(crate) fn foresees(&mut self, step: u32, texts: &[&str]) {
        let prefix = self.step(step).expect("it is in the tree").prefix;
        let candidates = texts.iter().map(|text| action(text)).collect();
        self.input(Input::Offered { prefix, candidates });
    }

    /// The running action of a candidate completes.
    #[track_caller]
    pub(crate) fn candidate_runs(&mut self, step: u32, text: &str) {
        let view = self.step(step).expect("it is in the tree");
        let outcome = outcome(&view.prefix, &action(text).action);
        self.candidate_ends(step, text, outcome);
    }

    #[track_caller]
    pub(crate) fn candidate_ends(&mut self, step: u32, text: &str, outcome: Outcome) {
        let node = self.candidate(step, text).expect("a candidate");
        let mut executions = self.monitor.executions.iter();
        let found = executions.find(|(_, (of, _))| *of == node);
        let execution = *found.expect("it runs").0;
        self.input(Input::Executed { execution, outcome });
    }

    /// The node of a candidate.
    pub(crate) fn candidate(&self, step: u32, text: &str) -> Option<NodeId> {
        let view = self.step(step)?;
        let path = view.node.zip(view.action);
        let mut candidates = path.into_iter().chain(view.siblings);
        let found = candidates.find(|(_, of)| *of == action(text).action);
        found.map(|(node, _)| node)
    }

    /// An agent fails.
    #[track_caller]
    pub(crate) fn fails(&mut self, role: Role, step: u32, failure: Failure) {
        let call = self.call(role, step).expect("it was asked");
        self.input(Input::Failed { call, failure });
    }

    /// The running action of a step completes, always with the same result.
    #[track_caller]
    pub(crate) fn runs(&mut self, step: u32) {
        let view = self.step(step).expect("it is in the tree");
        let outcome = outcome(&view.prefix, &view.action.expect("it has a node"));
        self.ends(step, outcome);
    }

    /// The same with another observation or other changes.
    #[track_caller]
    pub(crate) fn runs_with(&mut self, step: u32, observation: &str, changes: &str) {
        let view = self.step(step).expect("it is in the tree");
        let observation = Digest::of(observation);
        let outcome = Outcome::Completed {
            observation,
            changes: Digest::of(changes),
            next: below(
                &view.prefix,
                &view.action.expect("it has a node"),
                &observation,
            ),
        };
        self.ends(step, outcome);
    }

    #[track_caller]
    pub(crate) fn ends(&mut self, step: u32, outcome: Outcome) {
        let (execution, _) = self.running(step).expect("it runs");
        self.input(Input::Executed { execution, outcome });
    }

    /// A answers and its action runs.
    #[track_caller]
    pub(crate) fn speculates(&mut self, step: u32, text: &str) {
        self.says(A, step, text);
        self.runs(step);
    }

    #[track_caller]
    pub(crate) fn user(&mut self, interrupt: Interrupt) {
        self.try_user(interrupt).expect("it is possible");
    }

    pub(crate) fn try_user(&mut self, interrupt: Interrupt) -> Result<(), Refusal> {
        self.last.clear();
        let effects = self.planner.interrupt(Time(self.now), interrupt.clone())?;
        self.monitor.interrupted(&interrupt);
        self.follow(effects);
        Ok(())
    }

    /// A held commit ends.
    #[track_caller]
    pub(crate) fn committed(&mut self, result: RetireResult) {
        let retiring = self.planner.steps();
        let node = retiring.first().and_then(|view| view.node);
        let node = node.expect("a step retires");
        self.input(Input::Retired { node, result });
    }

    pub(crate) fn step(&self, step: u32) -> Option<StepView> {
        let mut steps = self.planner.steps().into_iter();
        steps.find(|view| view.step == StepIndex(step))
    }

    pub(crate) fn node(&self, step: u32) -> NodeId {
        let view = self.step(step).expect("it is in the tree");
        view.node.expect("it has a node")
    }

    /// What was presented last, one short line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.last.iter().filter_map(|effect| match effect {
            Effect::Present(line) => Some(short(line)),
            _ => None,
        });
        lines.collect()
    }

    pub(crate) fn has(&self, is: impl Fn(&Effect) -> bool) -> bool {
        self.last.iter().any(is)
    }

    pub(crate) fn squashed(&self) -> Vec<u32> {
        let squashed = self.last.iter().filter_map(|effect| match effect {
            Effect::Squash { step, .. } => Some(step.0),
            _ => None,
        });
        squashed.collect()
    }
}

/// A line of the presented stream, as a test writes it.
pub(crate) fn short(line: &Presented) -> String {
    match line {
        Presented::Proposed { step, siblings, .. } => {
            format!("a{step}{}", "+".repeat(siblings.len()))
        }
        Presented::Observed { step, .. } => format!("o{step}"),
        Presented::Waiting { step, .. } => format!("waiting {step}"),
        Presented::Answer {
            step,
            source,
            matched,
            corrects,
            ..
        } => {
            let who = source.as_str().chars().next().expect("it has a name");
            let how = match (matched, corrects) {
                (true, None) => " matches",
                (false, None) => "",
                (true, Some(_)) => " goes back",
                (false, Some(_)) => " corrects",
            };
            format!("{who}{step}{how}")
        }
        Presented::ReviewOpened { step, until, .. } => {
            format!("review {step} until {}", until.0 / SECOND)
        }
        Presented::Claimed { step, until } => format!("claimed {step} until {}", until.0 / SECOND),
        Presented::Unclaimed { step, reason } => format!("unclaimed {step}: {reason}"),
        Presented::Stalled { step, reason, .. } => format!("stalled {step}: {reason}"),
        Presented::Continued { reason } => format!("continued: {reason}"),
        Presented::Paused => "paused".to_owned(),
        Presented::Resumed => "resumed".to_owned(),
        Presented::Refused { step, reason } => format!("refused {step}: {reason}"),
        Presented::Backtracked { step, generation } => {
            format!("back to {step}, generation {generation}")
        }
        Presented::Ended { reason, steps, .. } => format!("{} after {steps}", reason.as_str()),
    }
}

pub(crate) fn claim(step: u32, seconds: u64) -> Interrupt {
    Interrupt::Claim {
        step: StepIndex(step),
        seen: Seen::Any,
        ttl: Duration::from_secs(seconds),
    }
}

pub(crate) fn unclaim(step: u32) -> Interrupt {
    Interrupt::Unclaim {
        step: StepIndex(step),
    }
}

pub(crate) fn replace(step: u32, text: &str) -> Interrupt {
    replace_seen(step, Seen::Any, text)
}

pub(crate) fn replace_seen(step: u32, seen: Seen, text: &str) -> Interrupt {
    Interrupt::Replace {
        step: StepIndex(step),
        seen,
        candidate: action(text),
        near: Vec::new(),
    }
}

pub(crate) fn accept(step: u32, node: Option<NodeId>) -> Interrupt {
    Interrupt::Accept {
        step: StepIndex(step),
        node,
    }
}

/// Goes back to a step and suggests something for it, or decides it.
pub(crate) fn backtrack(hand: &Hand, step: u32, text: Option<&str>) -> Interrupt {
    let prefix = hand.monitor.known_prefix_of(step);
    let prefix = prefix.expect("it was asked for");
    Interrupt::Backtrack {
        step: StepIndex(step),
        seen: Seen::Any,
        prefix: match text {
            None => said(&prefix, "do it differently"),
            Some(_) => prefix,
        },
        candidate: text.map(action),
    }
}

pub(crate) fn suggest(hand: &Hand, text: &str) -> Interrupt {
    Interrupt::Suggest {
        step: StepIndex(hand.monitor.lowest()),
        prefixes: hand.monitor.rehash(text),
    }
}

pub(crate) fn transient() -> Failure {
    Failure::Transient {
        reason: "no route".to_owned(),
    }
}

pub(crate) fn permanent() -> Failure {
    Failure::Permanent {
        reason: "no such model".to_owned(),
    }
}

pub(crate) fn rate_limited(seconds: u64) -> Failure {
    Failure::RateLimited {
        retry_after: Duration::from_secs(seconds),
    }
}
