//! What a verdict may mean: a candidate that is equal to it, or one that the session's matcher
//! takes for it. What the matcher says is known here from what the planner was told, and from
//! what executions did: never from the planner.

use super::Monitor;
use super::state::State;
use forerun_planner::{Candidate, Interrupt, Outcome, Pair};
use forerun_types::{
    ActionKey, ActionKind, AskEnd, CallId, Digest, ExecutionId, Matcher, NodeId, Role, Source,
};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of likeness.
#[derive(Default)]
pub(super) struct Likeness {
    /// How many calls the judge takes; 0: there is none.
    capacity: u32,
    /// Its calls in flight, and those that it failed or answered and that have not ended.
    pub(super) judging: BTreeMap<CallId, Vec<Pair>>,
    ending: BTreeMap<CallId, AskEnd>,
    ended: BTreeSet<CallId>,
    /// Which actions the edge said are near a verdict on a step.
    near: BTreeSet<(u32, ActionKey, ActionKey)>,
    /// Which candidates were judged to be the same as a verdict on their step.
    judged: BTreeSet<(u32, ActionKey, NodeId)>,
    /// What executing an action did last at a step.
    did: BTreeMap<(u32, ActionKey), Did>,
    /// What was there when T answered, and is equal to its answer, or else near it.
    equal: BTreeMap<u32, NodeId>,
    near_there: BTreeMap<u32, BTreeSet<NodeId>>,
    /// What was squashed since the planner was told something.
    pub(super) just_squashed: BTreeSet<NodeId>,
    /// What the user said of a step, until that takes effect.
    words: BTreeMap<u32, Word>,
    /// What was let reach beyond its snapshot.
    released: BTreeMap<u32, NodeId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Did {
    on: State,
    observation: Digest,
    changes: Digest,
}

#[derive(Clone, Copy)]
enum Word {
    /// This candidate.
    Accepted(Option<NodeId>),
    /// This action.
    Said(ActionKey),
}

impl Monitor {
    fn is_effect(&self) -> bool {
        self.config.matcher == Matcher::Effect
    }

    /// How many nodes of a step are executed at once.
    pub(super) fn side_by_side(&self) -> usize {
        self.config.width.clamp(1, 8) as usize + usize::from(self.is_effect())
    }

    /// The candidates of a step that are there, and were executed.
    fn there(&self, step: u32) -> impl Iterator<Item = (NodeId, ActionKey)> {
        let launched = self.launched.iter();
        let of_step = launched.filter(move |(_, (at, _))| *at == step);
        of_step.map(|(node, (_, action))| (*node, *action))
    }

    /// T answered in time.
    pub(super) fn verdict_came(&mut self, step: u32, verdict: &Candidate, near: &[ActionKey]) {
        self.learn_near(step, verdict.action, near);
        let is_fuzzy = matches!(self.config.matcher, Matcher::Fuzzy { .. });
        let mut there = self.there(step);
        let equal = there.find(|(_, action)| *action == verdict.action);
        let equal = equal.map(|(node, _)| node);
        drop(there);
        let near = self
            .there(step)
            .filter(|(_, action)| is_fuzzy && near.contains(action));
        let near = near.map(|(node, _)| node).collect();
        self.verdict_gone(step);
        if let Some(equal) = equal {
            self.likeness.equal.insert(step, equal);
        } else {
            self.likeness.near_there.insert(step, near);
        }
    }

    fn learn_near(&mut self, step: u32, verdict: ActionKey, near: &[ActionKey]) {
        let near = near.iter().map(|action| (step, verdict, *action));
        self.likeness.near.extend(near);
    }

    /// T's answer is not waited for any more.
    pub(super) fn verdict_gone(&mut self, step: u32) {
        self.likeness.equal.remove(&step);
        self.likeness.near_there.remove(&step);
    }

    pub(super) fn word_came(&mut self, interrupt: &Interrupt) {
        match interrupt {
            Interrupt::Replace {
                step,
                candidate,
                near,
                ..
            } => {
                self.learn_near(step.0, candidate.action, near);
                self.user_said(step.0, candidate.action);
                self.judged_in_vain(step.0, Some(candidate.action));
            }
            Interrupt::Accept { step, node } => {
                self.judged_in_vain(step.0, None);
                self.likeness.words.insert(step.0, Word::Accepted(*node));
            }
            _ => {}
        }
    }

    /// What is asked of the judge about another verdict on the step does not count any more.
    fn judged_in_vain(&mut self, step: u32, verdict: Option<ActionKey>) {
        for pairs in self.likeness.judging.values_mut() {
            pairs.retain(|pair| pair.step.0 != step || Some(pair.verdict) == verdict);
        }
    }

    pub(super) fn user_said(&mut self, step: u32, action: ActionKey) {
        self.likeness.words.insert(step, Word::Said(action));
    }

    pub(super) fn completed_with(&mut self, execution: ExecutionId, outcome: &Outcome) {
        let Outcome::Completed {
            observation,
            changes,
            ..
        } = outcome
        else {
            return;
        };
        let (node, step) = self.completed[&execution];
        let (_, action) = self.launched_as[&execution];
        let did = Did {
            on: self.states.below(node).expect("it completed"),
            observation: *observation,
            changes: *changes,
        };
        self.likeness.did.insert((step, action), did);
    }

    /// A decision: the node has to be what the verdict means.
    pub(super) fn check_meaning(
        &mut self,
        step: u32,
        node: NodeId,
        source: Source,
        action: ActionKey,
        answer: Option<ActionKey>,
    ) {
        let equal = self.likeness.equal.remove(&step);
        let near = self.likeness.near_there.remove(&step).unwrap_or_default();
        let verdict = match source {
            Source::User => match self.likeness.words.remove(&step) {
                Some(Word::Accepted(accepted)) => {
                    // It may be gone since the user spoke in a pause, and its action not.
                    let gone = |of: &NodeId| {
                        let just = &self.likeness.just_squashed;
                        self.squashed.contains(of) && !just.contains(of)
                    };
                    let same = |of: NodeId| of == node || gone(&of);
                    assert!(accepted.is_none_or(same), "it is not the accepted one");
                    return;
                }
                Some(Word::Said(action)) => action,
                None => panic!("the user said nothing"),
            },
            Source::Target | Source::Approximation => {
                let verdict = answer.expect("T decides by an answer");
                let is_near = self.likeness.near.contains(&(step, verdict, action));
                let passed = !near.is_empty() && !near.contains(&node) && !is_near;
                assert!(!passed, "a candidate that is near was passed over");
                let is_equal = |of| of == node;
                assert!(equal.is_none_or(is_equal), "an equal one was passed over");
                verdict
            }
        };
        if verdict == action {
            return;
        }
        for of in [verdict, action] {
            let kind = self.candidates[&of].kind;
            assert_eq!(kind, ActionKind::Tool, "taken for something else");
        }
        match self.config.matcher {
            Matcher::Exact => panic!("the verdict is another action"),
            Matcher::Fuzzy { .. } => {
                let near = self.likeness.near.contains(&(step, verdict, action));
                assert!(near, "it is not near");
            }
            Matcher::Effect => {
                let did = |of| self.likeness.did.get(&(step, of));
                let (own, kept) = (did(verdict), did(action));
                assert!(own.is_some(), "the verdict's action was not executed");
                assert!(own == kept, "it did something else");
                let on = kept.map(|did| did.on);
                assert_eq!(self.states.below(node), on, "it ran again meanwhile");
            }
            Matcher::Judge { .. } => {
                let judged = self.likeness.judged.contains(&(step, verdict, node));
                assert!(judged, "nobody says that it is the same");
            }
        }
    }

    /// Whether a step may be undecided although there is a verdict.
    pub(super) fn is_being_compared(&self, step: u32, by_user: bool) -> bool {
        if let Some(Word::Accepted(_)) = self.likeness.words.get(&step) {
            return false;
        }
        match self.config.matcher {
            Matcher::Exact | Matcher::Fuzzy { .. } => false,
            Matcher::Effect => {
                let mut running = self.executions.iter();
                running.any(|(id, (_, at))| *at == step && !self.parked.contains(id))
            }
            Matcher::Judge { steps } => {
                let t_thinks = self.calls.values().any(|(role, ..)| *role == Role::Target);
                let postponed = steps > 1 && t_thinks && !by_user;
                !self.likeness.judging.is_empty() || postponed
            }
        }
    }

    pub(super) fn judge_came(&mut self, capacity: u32) {
        self.likeness.capacity = capacity;
    }

    pub(super) fn judge_gone(&mut self) {
        self.likeness.capacity = 0;
        let calls: Vec<CallId> = self.likeness.judging.keys().copied().collect();
        for call in calls {
            self.judge_failed(call);
        }
    }

    pub(super) fn judge_failed(&mut self, call: CallId) {
        if self.likeness.judging.remove(&call).is_some() {
            self.likeness.ending.insert(call, AskEnd::Failed);
        }
    }

    pub(super) fn judged(&mut self, call: CallId, same: &[NodeId]) {
        if let Some(pairs) = self.likeness.judging.remove(&call) {
            self.likeness.ending.insert(call, AskEnd::Used);
            let same = pairs.iter().filter(|pair| same.contains(&pair.node));
            let same = same.map(|pair| (pair.step.0, pair.verdict, pair.node));
            self.likeness.judged.extend(same);
        }
    }

    pub(super) fn asks_judge(&mut self, call: CallId, pairs: &[Pair]) {
        let Matcher::Judge { steps } = self.config.matcher else {
            panic!("no judge was wanted");
        };
        let Likeness {
            judging, capacity, ..
        } = &self.likeness;
        assert!(judging.len() < (*capacity).max(1) as usize && *capacity > 0);
        let of: BTreeSet<u32> = pairs.iter().map(|pair| pair.step.0).collect();
        assert!((1..=steps.max(1) as usize).contains(&of.len()));
        for pair in pairs {
            let about = |of: &Pair| (of.prefix, of.verdict, of.node);
            let asked = |of: &Pair| about(of) == about(pair);
            let mut others = judging.values().flatten();
            assert!(!others.any(asked), "the judge is asked twice at once");
            assert!(!self.squashed.contains(&pair.node));
            assert!(self.known.contains(&(pair.step.0, pair.action)));
            for action in [pair.verdict, pair.action] {
                assert_eq!(self.candidates[&action].kind, ActionKind::Tool);
            }
            let word = self.likeness.words.get(&pair.step.0);
            match (pair.source, word) {
                (Source::User, Some(Word::Said(action))) => assert_eq!(*action, pair.verdict),
                (Source::Target, None) => {
                    let mut answers = self.answers.values();
                    assert!(answers.any(|of| {
                        (of.role, of.step, of.action) == (Role::Target, pair.step.0, pair.verdict)
                    }));
                }
                _ => panic!("{} is not who decides", pair.source.as_str()),
            }
        }
        self.likeness.judging.insert(call, pairs.to_vec());
    }

    /// Whether the judge was asked with this call, and nobody waits for it any more.
    pub(super) fn cancels_judge(&mut self, call: CallId) -> bool {
        let asked = self.likeness.judging.remove(&call).is_some();
        if asked {
            self.likeness.ending.insert(call, AskEnd::Dropped);
        }
        asked
    }

    pub(super) fn judge_ended(&mut self, call: CallId, end: AskEnd) {
        assert_eq!(self.likeness.ending.remove(&call), Some(end));
        assert!(self.likeness.ended.insert(call), "{call} ended twice");
    }

    /// One thing of a step at most reaches beyond its snapshot.
    pub(super) fn released_of(&mut self, step: u32, node: NodeId) {
        let before = self.likeness.released.insert(step, node);
        assert!(
            before.is_none_or(|of| of == node),
            "two of {step} are released"
        );
    }

    /// The user goes back to a step.
    pub(super) fn likeness_before(&mut self, step: u32) {
        self.likeness.released.retain(|at, _| *at < step);
    }

    /// A word of the user can not take effect.
    pub(super) fn word_refused(&mut self, step: u32) {
        self.likeness.words.remove(&step);
    }

    pub(super) fn check_judge(&self) {
        assert!(self.likeness.judging.is_empty() && self.likeness.ending.is_empty());
    }
}
