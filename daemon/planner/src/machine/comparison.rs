//! Which candidates a verdict means beside those that are equal to it: what the matcher of the
//! session says of each is recorded with it, and found out as far as it is not known.
//!
//! ```text
//! verdict ─▶ exact: none │ fuzzy: the edge has said which
//!          ├▶ effect: Open ─(its own node is executed beside them)─▶ both executed: Yes │ No
//!          │            └─ one of them is parked, or was not executed ─▶ No
//!          └▶ judge:  Open ─ask─▶ Asked ─judged─▶ Yes │ No
//!                       └─ there is none ─┴─ it failed, or is lost ─▶ No
//! ```
//!
//! What is said is about one verdict: the user's, or else T's. When that changes, all of it is
//! forgotten, and a call of the judge that nobody waits for any more is cancelled. A candidate
//! that is equal to the verdict makes it needless: nothing is executed or asked then.
//!
//! With `effect` the candidate is kept with everything below it, since its snapshot is the one
//! that the verdict's own action would have left; that one's execution is dropped.
//!
//! **Invariant:** only tools are taken for one another; no end of the plan, and no question.
//! **Invariant:** of two equal things that reach beyond the snapshot one at most is released:
//! what is parked is compared with nothing by its effect, and a step whose verdict is open is
//! neither released nor retired.
//! **Invariant:** whatever can not be found out is a mismatch.

use super::{BY_USER, Planner};
use crate::tree::{Likeness, Node};
use crate::{Candidate, Failure, Pair};
use forerun_types::{ActionKey, ActionKind, AskEnd, CallId, Matcher, NodeId, Role, StepIndex};

/// A word of T or the user is recorded.
impl Planner {
    pub(super) fn replace(&mut self, step: StepIndex, candidate: Candidate, near: &[ActionKey]) {
        let Some(position) = self.tree.position(step) else {
            return;
        };
        let slot = &self.tree.slots()[position];
        let before = slot.user.or(slot.answer).map(|before| before.action);
        self.choose(position, candidate);
        // Of what T said as well the same is known, and the same is being found out.
        if before != Some(candidate.action) {
            self.liken(position, &candidate, near);
        }
    }

    /// Accepting means this very candidate.
    pub(super) fn accept(&mut self, step: StepIndex, node: Option<NodeId>) {
        let Some(position) = self.tree.position(step) else {
            return;
        };
        let slot = &self.tree.slots()[position];
        let named = node.and_then(|id| slot.there(id)).or(slot.node.as_ref());
        if let Some(candidate) = named.map(|node| node.candidate) {
            self.choose(position, candidate);
            let candidates = self.tree.slots_mut()[position].candidates_mut();
            candidates.for_each(|node| self.ledger.forget_likeness(node));
        }
    }

    /// Records u_i.
    fn choose(&mut self, position: usize, candidate: Candidate) {
        let slot = &mut self.tree.slots_mut()[position];
        slot.user = Some(candidate);
        self.ledger.unclaim(slot, BY_USER);
    }

    /// Records what can be said of the candidates when a verdict comes; of one that comes
    /// later than the verdict, which is possible in a pause, only whether it is equal counts.
    pub(super) fn liken(&mut self, position: usize, verdict: &Candidate, near: &[ActionKey]) {
        let matcher = self.config.matcher;
        for node in self.tree.slots_mut()[position].candidates_mut() {
            self.ledger.forget_likeness(node);
            node.likeness = likeness(matcher, &node.candidate, verdict, near);
        }
    }
}

fn likeness(
    matcher: Matcher,
    candidate: &Candidate,
    verdict: &Candidate,
    near: &[ActionKey],
) -> Likeness {
    if (candidate.kind, verdict.kind) != (ActionKind::Tool, ActionKind::Tool) {
        return Likeness::No;
    }
    match matcher {
        Matcher::Fuzzy { .. } if near.contains(&candidate.action) => Likeness::Yes,
        // To execute it a second time pays only if there is a chance.
        Matcher::Effect if candidate.tool == verdict.tool => Likeness::Open,
        Matcher::Judge { .. } => Likeness::Open,
        Matcher::Exact | Matcher::Fuzzy { .. } | Matcher::Effect => Likeness::No,
    }
}

/// What is not known is found out.
impl Planner {
    /// As far as it can be known now.
    pub(super) fn find_out(&mut self, position: usize) {
        let judged = match self.config.matcher {
            Matcher::Exact | Matcher::Fuzzy { .. } => return,
            Matcher::Effect => false,
            Matcher::Judge { .. } if self.judge.is_there(self.clock.now()) => return,
            Matcher::Judge { .. } => true,
        };
        let stalled = self.stalled_node();
        let slot = &mut self.tree.slots_mut()[position];
        let Some((verdict, _)) = slot.verdict() else {
            return;
        };
        let rival = slot.rival.take();
        let own = rival
            .as_deref()
            .filter(|node| node.candidate.matches(&verdict));
        let open = slot
            .candidates_mut()
            .filter(|node| node.likeness == Likeness::Open);
        for node in open {
            let same = if judged || stalled == Some(node.id) || !node.is_comparable() {
                Some(false)
            } else {
                own.and_then(|own| own.did_as(node))
            };
            node.likeness = match same {
                None => Likeness::Open,
                Some(true) => Likeness::Yes,
                Some(false) => Likeness::No,
            };
        }
        slot.rival = rival;
    }

    /// From `position` on nodes are executed again on other snapshots. Those that were taken
    /// for a verdict since they did the same have to do so there, too.
    pub(super) fn compare_again(&mut self, position: usize) {
        if self.config.matcher != Matcher::Effect {
            return;
        }
        for slot in self.tree.slots_mut().iter_mut().skip(position) {
            for node in slot.candidates_mut() {
                if node.likeness == Likeness::Yes {
                    node.likeness = Likeness::Open;
                }
            }
        }
    }

    /// Asks about the steps that wait for the judge, of several at once if that was wanted: as
    /// soon as so many wait, or no answer of T can add one, or one of them is the user's.
    pub(super) fn ask_judge(&mut self) {
        let Matcher::Judge { steps } = self.config.matcher else {
            return;
        };
        let steps = steps.clamp(1, Matcher::STEPS_MAX) as usize;
        let now = self.clock.now();
        while self.judge.may_ask(now, self.ledger.judgements().len()) {
            let slots = self.tree.slots().iter().enumerate();
            let waiting: Vec<usize> = slots
                .filter(|(_, slot)| slot.is_open() && slot.candidates().any(is_unasked))
                .map(|(position, _)| position)
                .collect();
            let others_come = self.ledger.in_flight(Role::Target) > 0;
            let by_user = |position: &usize| self.tree.slots()[*position].user.is_some();
            let postponed = waiting.len() < steps && others_come && !waiting.iter().any(by_user);
            if waiting.is_empty() || postponed {
                return;
            }
            self.ask_judge_about(&waiting[..steps.min(waiting.len())]);
        }
    }

    fn ask_judge_about(&mut self, positions: &[usize]) {
        let mut pairs = Vec::new();
        for position in positions {
            let slot = &self.tree.slots()[*position];
            let Some((verdict, source)) = slot.verdict() else {
                continue;
            };
            pairs.extend(
                slot.candidates()
                    .filter(|node| is_unasked(node))
                    .map(|node| Pair {
                        step: slot.step,
                        prefix: slot.prefix,
                        source,
                        verdict: verdict.action,
                        node: node.id,
                        action: node.candidate.action,
                    }),
            );
        }
        let call = self.ledger.ask_judge(pairs);
        for position in positions {
            let candidates = self.tree.slots_mut()[*position].candidates_mut();
            for node in candidates.filter(|node| is_unasked(node)) {
                node.likeness = Likeness::Asked(call);
            }
        }
    }

    pub(super) fn judged(&mut self, call: CallId, same: &[NodeId]) {
        self.settle(call, same, AskEnd::Used, "it was judged");
    }

    /// A judge that fails says no: nothing is taken for the same because nobody looked.
    pub(super) fn judge_failed(&mut self, call: CallId, failure: &Failure) {
        if let Failure::RateLimited { retry_after } = failure {
            self.judge.rate_limited(self.clock.now(), *retry_after);
        }
        self.settle(call, &[], AskEnd::Failed, "the judge failed");
    }

    pub(super) fn judge_lost(&mut self) {
        self.judge.lose();
        let calls: Vec<CallId> = self.ledger.judgements().keys().copied().collect();
        for call in calls {
            self.settle(call, &[], AskEnd::Failed, "the judge is lost");
        }
    }

    fn settle(&mut self, call: CallId, same: &[NodeId], end: AskEnd, reason: &'static str) {
        if !self.ledger.end_judgement(call, end, reason) {
            return;
        }
        for slot in self.tree.slots_mut() {
            for node in slot.candidates_mut() {
                if node.likeness == Likeness::Asked(call) {
                    node.likeness = if same.contains(&node.id) {
                        Likeness::Yes
                    } else {
                        Likeness::No
                    };
                }
            }
        }
    }
}

fn is_unasked(node: &Node) -> bool {
    node.likeness == Likeness::Open
}
