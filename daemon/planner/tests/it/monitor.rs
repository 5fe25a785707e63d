//! Watches a planner from outside and panics when an effect breaks a rule, or when one that a
//! rule wants does not come. It keeps its own books from inputs and effects alone, and a double
//! of what the workspace and each snapshot hold ([`state`]).

mod edge;
mod matching;
mod presented;
mod state;

use forerun_planner::{Candidate, Config, Effect, Input, Interrupt, Outcome, RetireResult};
use forerun_types::{
    ActionKey, ActionKind, AskEnd, CallId, Digest, ExecutionEnd, ExecutionId, NodeId, PrefixId,
    Role, Source, Time,
};
use state::{State, States};
use std::collections::{BTreeMap, BTreeSet};

/// A verified step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) node: NodeId,
    pub(crate) action: ActionKey,
    pub(crate) source: Source,
    /// What it was decided on, and what comes below it.
    pub(crate) prefix: PrefixId,
    pub(crate) next: PrefixId,
    /// The workspace after it.
    pub(crate) state: State,
}

/// An answer that came in time, until its call is accounted for.
#[derive(Clone, Copy, Debug)]
struct Answer {
    role: Role,
    step: u32,
    prefix: PrefixId,
    action: ActionKey,
}

#[derive(Clone, Debug)]
struct Decided {
    node: NodeId,
    action: ActionKey,
    source: Source,
    shown: bool,
}

pub(crate) struct Monitor {
    config: Config,
    capacity: u32,
    pub(crate) root: PrefixId,
    /// In flight.
    pub(crate) calls: BTreeMap<CallId, (Role, u32, PrefixId)>,
    /// Answered, failed or cancelled, and not accounted for.
    answered: BTreeSet<CallId>,
    answers: BTreeMap<CallId, Answer>,
    /// T's answers that were used, and are no decision yet.
    used: BTreeMap<u32, Answer>,
    /// What anybody said in time for each step.
    known: BTreeSet<(u32, ActionKey)>,
    /// Every action that anybody said.
    pub(crate) candidates: BTreeMap<ActionKey, Candidate>,
    /// Steps that the user decided, until that takes effect.
    chosen: BTreeSet<u32>,
    ended_calls: BTreeSet<CallId>,
    pub(crate) ends: Vec<(Role, AskEnd)>,
    pub(crate) asked: BTreeMap<Role, u32>,
    /// Running.
    pub(crate) executions: BTreeMap<ExecutionId, (NodeId, u32)>,
    completed: BTreeMap<ExecutionId, (NodeId, u32)>,
    ended_executions: BTreeMap<ExecutionId, ExecutionEnd>,
    launched_executions: u32,
    /// Executions that wanted to reach beyond their snapshot, and those that might.
    parked: BTreeSet<ExecutionId>,
    released: BTreeSet<ExecutionId>,
    states: States,
    /// What is in the tree, or was.
    nodes: BTreeSet<NodeId>,
    /// The prefix below each executed node.
    next_of: BTreeMap<NodeId, PrefixId>,
    squashed: BTreeSet<NodeId>,
    decided: BTreeMap<u32, Decided>,
    proposed: BTreeSet<NodeId>,
    /// The answer of a step that was shown last during a claim.
    announced: BTreeMap<u32, (NodeId, Source)>,
    pub(crate) verified: Vec<Verified>,
    /// Steps that were verified, and taken back.
    pub(crate) undone: Vec<Verified>,
    /// From which step on the user is going back, and the prefix of that step.
    going_back: Option<(u32, PrefixId)>,
    undoing: bool,
    /// What the user wants there.
    decides_there: Option<Candidate>,
    /// What the user said before each step, and what is said where the user goes back to.
    said: BTreeMap<u32, Vec<String>>,
    pub(crate) says: Option<String>,
    pub(crate) generation: u32,
    /// What is needed to hash the prefix below a node anew.
    hashed_from: BTreeMap<NodeId, (Option<NodeId>, u32, ActionKey, Digest)>,
    launched_as: BTreeMap<ExecutionId, (Option<NodeId>, ActionKey)>,
    /// The step and the action of each node that was executed and is in the tree.
    launched: BTreeMap<NodeId, (u32, ActionKey)>,
    likeness: matching::Likeness,
    retiring: Option<(NodeId, u32)>,
    /// What did not retire, and was not executed since.
    outdated: Option<NodeId>,
    /// The step that was stale last, and how often in a row.
    stale: (u32, u32),
    claims: BTreeSet<u32>,
    /// When the windows that were opened close.
    reviews: BTreeMap<u32, Time>,
    stopping: bool,
    paused: bool,
    stalled: bool,
    pub(crate) ended: bool,
    pub(crate) peak_target: usize,
}

impl Monitor {
    pub(crate) fn new(config: Config, root: PrefixId) -> Monitor {
        Monitor {
            config,
            capacity: 0,
            root,
            calls: BTreeMap::new(),
            answered: BTreeSet::new(),
            answers: BTreeMap::new(),
            used: BTreeMap::new(),
            known: BTreeSet::new(),
            candidates: BTreeMap::new(),
            chosen: BTreeSet::new(),
            ended_calls: BTreeSet::new(),
            ends: Vec::new(),
            asked: BTreeMap::new(),
            executions: BTreeMap::new(),
            completed: BTreeMap::new(),
            ended_executions: BTreeMap::new(),
            launched_executions: 0,
            parked: BTreeSet::new(),
            released: BTreeSet::new(),
            states: States::default(),
            nodes: BTreeSet::new(),
            next_of: BTreeMap::new(),
            squashed: BTreeSet::new(),
            decided: BTreeMap::new(),
            proposed: BTreeSet::new(),
            announced: BTreeMap::new(),
            verified: Vec::new(),
            undone: Vec::new(),
            going_back: None,
            undoing: false,
            decides_there: None,
            said: BTreeMap::new(),
            says: None,
            generation: 0,
            hashed_from: BTreeMap::new(),
            launched_as: BTreeMap::new(),
            launched: BTreeMap::new(),
            likeness: matching::Likeness::default(),
            retiring: None,
            outdated: None,
            stale: (0, 0),
            claims: BTreeSet::new(),
            reviews: BTreeMap::new(),
            stopping: false,
            paused: false,
            stalled: false,
            ended: false,
            peak_target: 0,
        }
    }

    fn is_verified(&self, node: NodeId) -> bool {
        self.verified.iter().any(|step| step.node == node)
    }

    /// An interrupt that was admitted, before its effects.
    pub(crate) fn interrupted(&mut self, interrupt: &Interrupt) {
        assert!(!self.ended);
        self.word_came(interrupt);
        match interrupt {
            Interrupt::Replace {
                step, candidate, ..
            } => {
                self.learn(step.0, candidate);
                self.chosen.insert(step.0);
            }
            Interrupt::Accept { step, .. } => drop(self.chosen.insert(step.0)),
            Interrupt::Stop => self.stopping = true,
            Interrupt::Suggest { prefixes, .. } => {
                if let Some(prefix) = prefixes.head {
                    self.set_prefix_below(None, prefix);
                }
                for (node, prefix) in &prefixes.below {
                    self.set_prefix_below(Some(*node), *prefix);
                }
            }
            Interrupt::Backtrack {
                step,
                prefix,
                candidate,
                ..
            } => {
                assert_eq!(self.going_back, None);
                self.going_back = Some((step.0, *prefix));
                self.decides_there = *candidate;
                // What is decided anew has not been stale.
                self.stale = (0, 0);
            }
            _ => {}
        }
    }

    /// The lowest undecided step.
    pub(crate) fn lowest(&self) -> u32 {
        self.verified.len() as u32 + self.decided.len() as u32
    }

    pub(crate) fn before(&mut self, input: &Input) {
        match input {
            Input::Answered {
                call,
                candidate,
                others,
                near,
            } => {
                for candidate in others.iter().chain([candidate]) {
                    self.candidates.insert(candidate.action, *candidate);
                }
                let Some((role, step, prefix)) = self.calls.remove(call) else {
                    return;
                };
                self.answered.insert(*call);
                let answer = Answer {
                    role,
                    step,
                    prefix,
                    action: candidate.action,
                };
                self.answers.insert(*call, answer);
                for candidate in others.iter().chain([candidate]) {
                    self.learn(step, candidate);
                }
                if role == Role::Target {
                    self.verdict_came(step, candidate, near);
                }
            }
            Input::Offered { prefix, candidates } => {
                for candidate in candidates {
                    self.candidates.insert(candidate.action, *candidate);
                    if let Some(step) = self.step_below(*prefix) {
                        self.learn(step, candidate);
                    }
                }
            }
            Input::Failed { call, .. } if self.calls.remove(call).is_some() => {
                self.answered.insert(*call);
            }
            Input::Failed { call, .. } => self.judge_failed(*call),
            Input::JudgeAttached { capacity } => self.judge_came(*capacity.max(&1)),
            Input::JudgeLost => self.judge_gone(),
            Input::Judged { call, same } => self.judged(*call, same),
            Input::AgentAttached {
                role: Role::Target,
                capacity,
            } => self.capacity = *capacity,
            Input::Executed { execution, outcome } => {
                if let Some((node, step)) = self.executions.remove(execution) {
                    self.completed.insert(*execution, (node, step));
                    if let Outcome::Completed {
                        next,
                        observation,
                        changes,
                    } = outcome
                    {
                        self.states.completed(*execution, node, changes);
                        self.completed_with(*execution, outcome);
                        self.next_of.insert(node, *next);
                        let (parent, action) = self.launched_as[execution];
                        self.hashed_from
                            .insert(node, (parent, step, action, *observation));
                    }
                }
            }
            Input::Parked { execution } if self.executions.contains_key(execution) => {
                self.parked.insert(*execution);
            }
            Input::Undone(undone) if self.undoing => {
                self.undoing = false;
                let first = undone.first.0 as usize;
                assert!(first <= self.verified.len());
                self.undone.extend(self.verified.drain(first..));
                if undone.refused.is_some() {
                    self.says = None;
                    self.decides_there = None;
                    self.going_back = Some((undone.first.0, undone.next));
                }
            }
            Input::Retired { node, result } => {
                let Some((retiring, step)) = self.retiring.filter(|(of, _)| of == node) else {
                    return;
                };
                self.retiring = None;
                if *result != RetireResult::Done && self.next_of.contains_key(node) {
                    self.outdated = Some(retiring);
                }
                if let RetireResult::Stale { .. } = result {
                    let before = if self.stale.0 == step {
                        self.stale.1
                    } else {
                        0
                    };
                    self.stale = (step, before + 1);
                } else {
                    self.stale = (step, 0);
                }
                if *result == RetireResult::Done {
                    assert_eq!(step as usize, self.verified.len());
                    let prefix = self.prefix_below(None);
                    let decided = self.decided.remove(&step).expect("it was decided");
                    self.launched.remove(node);
                    self.verified.push(Verified {
                        node: retiring,
                        action: decided.action,
                        source: decided.source,
                        prefix,
                        next: self.next_of.get(node).copied().unwrap_or(prefix),
                        state: self.states.of(*node).unwrap_or(self.head_state()),
                    });
                }
            }
            _ => {}
        }
    }

    /// What the planner wants, at a time. While it waits for nobody's word, there is nothing
    /// that it could do and does not.
    pub(crate) fn after(&mut self, now: Time, effects: &[Effect]) {
        self.likeness.just_squashed.clear();
        for effect in effects {
            assert!(!self.ended, "an effect after the end: {effect:?}");
            self.effect(now, effect);
        }
        self.check_promptness();
        assert!(
            self.ended || self.stale.1 <= 3,
            "stale for ever, and nobody is told"
        );
        if self.ended {
            self.check_accounts();
        }
    }

    /// Rules 4c and 5: who has spoken is not kept waiting.
    fn check_promptness(&self) {
        for (role, step, _) in self.calls.values() {
            let mut answers = self.answers.values();
            let answered = answers.any(|of| (of.role, of.step) == (Role::Target, *step));
            assert!(
                *role == Role::Target || !answered,
                "A is asked, and T has answered"
            );
        }
        let lowest = self.lowest();
        let held = self.paused || self.stopping || self.going_back.is_some() || self.ended;
        let settled = self.decided.values().all(|of| self.holds(of.node));
        if held || !settled {
            return;
        }
        for step in &self.chosen {
            let compared = self.is_being_compared(*step, true);
            assert!(compared || *step > lowest, "the user's verdict waits");
        }
        let prefix = self.known_prefix_of(lowest);
        let mut answers = self.answers.values();
        let waits =
            answers.any(|of| (of.role, of.step, Some(of.prefix)) == (Role::Target, lowest, prefix));
        let may_wait = self.claims.contains(&lowest) || self.is_being_compared(lowest, false);
        assert!(!waits || may_wait, "T's answer waits");
    }

    /// Whether somebody works: an agent, a sandbox, or who records and undoes.
    pub(crate) fn is_busy(&self) -> bool {
        let asked = !self.calls.is_empty() || !self.likeness.judging.is_empty();
        asked || !self.executions.is_empty() || self.is_recording()
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.retiring.is_some() || self.undoing
    }

    /// Whether there was a target agent yet.
    pub(crate) fn knows_target(&self) -> bool {
        self.capacity > 0
    }

    /// Whether the node has a result that holds.
    fn holds(&self, node: NodeId) -> bool {
        self.states.holds(node).is_some()
    }

    /// The state of the workspace.
    fn head_state(&self) -> State {
        self.verified.last().map_or(State::default(), |of| of.state)
    }

    /// Somebody said something in time.
    fn learn(&mut self, step: u32, candidate: &Candidate) {
        self.candidates.insert(candidate.action, *candidate);
        self.known.insert((step, candidate.action));
    }

    fn launch(&self, what: &Effect) {
        assert!(
            !self.paused,
            "launched, decided or retired while paused: {what:?}"
        );
        assert_eq!(self.going_back, None, "while going back: {what:?}");
    }

    fn effect(&mut self, now: Time, effect: &Effect) {
        match effect {
            Effect::Ask {
                call,
                role,
                step,
                prefix,
            } => {
                self.launch(effect);
                assert!(!self.stalled, "asked while stalled");
                assert!(!self.ended_calls.contains(call) && !self.calls.contains_key(call));
                let depth = self.config.depth.max(1);
                assert!(step.0 >= self.lowest(), "asked for a decided step");
                assert!(step.0 - self.lowest() < depth, "too far ahead: {step}");
                assert!(step.0 < self.config.max_steps);
                let same = self
                    .calls
                    .values()
                    .any(|(of, other, _)| of == role && *other == step.0);
                assert!(!same, "{role} is asked twice at once for {step}");
                self.calls.insert(*call, (*role, step.0, *prefix));
                *self.asked.entry(*role).or_default() += 1;
                let of = |role| self.calls.values().filter(|call| call.0 == role).count();
                self.peak_target = self.peak_target.max(of(Role::Target));
                match role {
                    Role::Target => {
                        assert!(of(Role::Target) <= depth as usize);
                        assert!(of(Role::Target) <= self.capacity.max(1) as usize);
                    }
                    Role::Approximation => {
                        assert!(self.config.depth > 0, "A was asked at depth 0");
                        assert_eq!(of(Role::Approximation), 1);
                        let target = self
                            .calls
                            .values()
                            .any(|call| call.0 == Role::Target && call.1 == step.0);
                        assert!(target, "A is asked while T thinks");
                    }
                }
            }
            Effect::CancelCall { call } if self.cancels_judge(*call) => {}
            Effect::Judge { call, pairs } => {
                self.launch(effect);
                assert!(!self.ended_calls.contains(call) && !self.calls.contains_key(call));
                self.asks_judge(*call, pairs);
            }
            Effect::JudgeEnded { call, end, .. } => self.judge_ended(*call, *end),
            Effect::CancelCall { call } => {
                assert!(self.calls.remove(call).is_some(), "{call} is not in flight");
                self.answered.insert(*call);
            }
            Effect::CallEnded {
                call,
                role,
                step,
                end,
                ..
            } => {
                let known = self.answered.remove(call) || self.calls.remove(call).is_some();
                assert!(known, "{call} was not asked or ended before");
                let answer = self.answers.remove(call);
                if *end == AskEnd::Used {
                    let answer = answer.expect("what is used was answered in time");
                    let prefix = self.known_prefix_of(step.0);
                    assert_eq!(Some(answer.prefix), prefix, "used on another prefix");
                    if *role == Role::Target {
                        self.used.insert(step.0, answer);
                    }
                }
                if *role == Role::Target && *end != AskEnd::Used {
                    self.verdict_gone(step.0);
                }
                assert!(self.ended_calls.insert(*call), "{call} ended twice");
                self.ends.push((*role, *end));
            }
            Effect::Execute {
                execution,
                node,
                parent,
                step,
                kind,
                speculative,
                action,
                ..
            } => {
                self.launch(effect);
                assert_ne!(*kind, ActionKind::Terminate);
                assert!(!self.squashed.contains(node));
                match self.decided.get(&step.0) {
                    // What the user wants in its place is compared with it.
                    Some(of) if *speculative => {
                        assert!(of.node != *node && self.chosen.contains(&step.0));
                    }
                    of => assert_eq!(*speculative, of.is_none()),
                }
                assert!(*kind != ActionKind::AskUser || !speculative);
                match parent {
                    None => assert_eq!(step.0 as usize, self.verified.len()),
                    Some(parent) => assert!(
                        self.next_of.contains_key(parent) && !self.squashed.contains(parent)
                    ),
                }
                let twice = self.executions.values().any(|(of, _)| of == node);
                assert!(!twice, "{node} is executed twice at once");
                assert!(
                    self.known.contains(&(step.0, *action)),
                    "nobody wants {action:?}, or too late"
                );
                let on = match parent.filter(|parent| !self.is_verified(*parent)) {
                    None => self.head_state(),
                    Some(parent) => {
                        let state = self.states.of(parent);
                        state.expect("the parent has a result that holds")
                    }
                };
                self.states.launched(*execution, *node, on);
                self.nodes.insert(*node);
                self.outdated.take_if(|outdated| outdated == node);
                self.launched_executions += 1;
                let beside = self.executions.values().filter(|(_, at)| *at == step.0);
                let most = self.side_by_side();
                assert!(beside.count() < most, "too many at once for {step}");
                self.launched.insert(*node, (step.0, *action));
                self.launched_as.insert(*execution, (*parent, *action));
                self.executions.insert(*execution, (*node, step.0));
            }
            Effect::Release { execution } => {
                self.launch(effect);
                let (node, step) = self.executions[execution];
                assert_eq!(step as usize, self.verified.len(), "released out of order");
                let decided = &self.decided[&step];
                assert!(decided.node == node && decided.shown, "released unseen");
                let reviewed = self.reviews.get(&step).is_some_and(|end| *end <= now);
                assert!(
                    reviewed || self.config.review.is_zero() || decided.source == Source::User,
                    "released before its review is over"
                );
                assert!(!self.claims.contains(&step), "released while claimed");
                assert!(self.parked.contains(execution), "it is not parked");
                assert!(self.released.insert(*execution), "released twice");
                self.released_of(step, node);
            }
            Effect::StopExecution { execution } => {
                let of = self.executions.remove(execution).expect("it runs");
                self.completed.insert(*execution, of);
            }
            Effect::ExecutionEnded {
                execution,
                node,
                step,
                end,
            } => {
                assert_eq!(self.completed.remove(execution), Some((*node, step.0)));
                match end {
                    ExecutionEnd::Used => {
                        let of = self.states.holds(*node);
                        assert_eq!(of, Some(*execution), "used, and not its result");
                    }
                    ExecutionEnd::Dropped | ExecutionEnd::Failed => {
                        self.states.dropped(*execution, *node);
                    }
                }
                let before = self.ended_executions.insert(*execution, *end);
                assert_eq!(before, None, "{execution} ended twice");
            }
            Effect::Squash { node, step, .. } => {
                assert!(self.squashed.insert(*node), "{node} is squashed twice");
                self.launched.remove(node);
                self.likeness.just_squashed.insert(*node);
                self.nodes.insert(*node);
                assert!(self.verified.iter().all(|step| step.node != *node));
                // What was decided on it is undecided.
                if self.decided.get(&step.0).is_some_and(|of| of.node == *node) {
                    self.decided.retain(|other, _| *other < step.0);
                }
            }
            Effect::Decide {
                step,
                node,
                source,
                action,
            } => {
                self.launch(effect);
                assert_ne!(*source, Source::Approximation);
                assert!(!self.squashed.contains(node));
                let again = self.decided.get(&step.0);
                match again {
                    Some(before) => {
                        assert_eq!((before.node, *source), (*node, Source::User));
                    }
                    None => assert_eq!(step.0, self.lowest(), "decided out of order"),
                }
                assert!(
                    *source == Source::User || !self.claims.contains(&step.0),
                    "T decides while the user is deciding"
                );
                let chosen = self.chosen.remove(&step.0);
                assert_eq!(chosen, *source == Source::User, "the user outranks T");
                let answer = self.used.remove(&step.0).map(|answer| answer.action);
                let by_target = answer.is_some();
                assert_eq!(
                    by_target,
                    *source == Source::Target,
                    "decided without an answer"
                );
                self.check_meaning(step.0, *node, *source, *action, answer);
                self.nodes.insert(*node);
                self.reviews.remove(&step.0);
                self.decided.insert(
                    step.0,
                    Decided {
                        node: *node,
                        action: *action,
                        source: *source,
                        shown: self.announced.get(&step.0) == Some(&(*node, *source)),
                    },
                );
            }
            Effect::Retire { node, step } => {
                self.launch(effect);
                assert_eq!(self.retiring, None, "two steps retire at once");
                assert_eq!(step.0 as usize, self.verified.len());
                assert!(
                    !self.executions.values().any(|(_, at)| *at == step.0),
                    "a sibling still runs"
                );
                let decided = &self.decided[&step.0];
                assert_eq!(decided.node, *node);
                assert!(decided.shown, "retired before it was shown");
                assert!(!self.claims.contains(&step.0), "retired while claimed");
                let reviewed = self.reviews.get(&step.0).is_some_and(|end| *end <= now);
                assert!(
                    reviewed || self.config.review.is_zero() || decided.source == Source::User,
                    "retired before its review is over"
                );
                let ends = self.candidates[&decided.action].kind == ActionKind::Terminate;
                let ran = self.states.holds(*node).map(|of| self.launched_as[&of].1);
                assert!(ends || ran.is_some(), "retired without an observation");
                assert!(
                    ends || ran == Some(decided.action),
                    "it is not what was executed"
                );
                let on = self.states.below(*node).unwrap_or(self.head_state());
                assert_eq!(on, self.head_state(), "it ran on something else");
                assert!(!self.executions.values().any(|(of, _)| of == node));
                assert_ne!(
                    self.outdated,
                    Some(*node),
                    "retired without another execution"
                );
                self.retiring = Some((*node, step.0));
            }
            Effect::Undo { from } => {
                assert_eq!(self.going_back.map(|(step, _)| step), Some(from.0));
                assert!((from.0 as usize) < self.verified.len() && !self.undoing);
                assert!(self.calls.is_empty() && self.executions.is_empty());
                assert!(self.retiring.is_none() && self.decided.is_empty());
                self.undoing = true;
            }
            Effect::Present(line) => self.present(line),
        }
    }

    fn check_accounts(&self) {
        assert!(self.calls.is_empty() && self.answered.is_empty());
        self.check_judge();
        assert!(self.executions.is_empty() && self.completed.is_empty());
        assert!(self.claims.is_empty());
        assert_eq!(self.retiring, None);
        let gone = |node: &NodeId| {
            let mut steps = self.verified.iter().chain(&self.undone);
            self.squashed.contains(node) || steps.any(|step| step.node == *node)
        };
        for node in &self.nodes {
            assert!(gone(node), "{node} is neither verified nor squashed");
        }
        let asked: u32 = self.asked.values().sum();
        assert_eq!(asked as usize, self.ended_calls.len());
        assert_eq!(
            self.launched_executions as usize,
            self.ended_executions.len()
        );
        let used = self
            .ended_executions
            .values()
            .filter(|end| **end == ExecutionEnd::Used);
        let executed = self
            .verified
            .iter()
            .chain(&self.undone)
            .filter(|step| self.next_of.contains_key(&step.node));
        assert_eq!(used.count(), executed.count());
    }
}
