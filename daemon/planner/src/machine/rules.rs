//! The rules: what is done with what is recorded, until none applies any more.
//!
//! The order in which they are tried, and what each does, is told in words at the top of
//! the machine.

use super::{ALIKE, ANSWERED, BY_USER, Cause, MISMATCH, Planner, Stall};
use crate::clockwork;
use crate::presentation::next_line;
use crate::tree::{Call, Gate, Meaning, Node, Review, Run, Slot};
use crate::{Candidate, Effect, EndReason, Presented};
use forerun_types::{ActionKind, AskEnd, Matcher, NodeId, PrefixId, Role, Source, StepIndex};

impl Planner {
    pub(super) fn advance(&mut self) {
        if self.ended || self.stopping || self.backtrack.is_some() || self.clock.is_paused() {
            return;
        }
        let now = self.clock.now();
        clockwork::expire_claims(&mut self.tree, &mut self.ledger, now);
        loop {
            self.compare();
            self.present(false);
            if !self.decide_next() {
                break;
            }
        }
        let review = self.config.review;
        clockwork::turn_reviews(&mut self.tree, &mut self.ledger, now, review);
        if self.finish() {
            return;
        }
        self.open_lowest();
        self.turn_stall();
        self.leave_parked();
        self.ask();
        self.ask_judge();
        self.execute();
        self.release();
        self.present(true);
        self.retire_next();
    }

    /// Rule 4, for every step that has a verdict.
    fn compare(&mut self) {
        let mut position = 0;
        while position < self.tree.len() {
            self.find_out(position);
            let slot = &self.tree.slots()[position];
            match (slot.decided, slot.verdict(), slot.answer) {
                (Some(_), Some((candidate, Source::User)), _) => {
                    self.decide_again(position, candidate);
                }
                (None, Some((candidate, source)), _) => {
                    self.adopt(position, candidate, source);
                }
                (None, None, Some(answer)) => self.stand_beside(position, answer),
                _ => {}
            }
            position += 1;
        }
    }

    /// The path goes through `candidate`: through the node that matches, or through a new one.
    /// `false`: it is not known yet through which, and the path stays as it is.
    fn adopt(&mut self, position: usize, candidate: Candidate, source: Source) -> bool {
        let slot = &mut self.tree.slots_mut()[position];
        let reason = match source {
            Source::User => BY_USER,
            Source::Target | Source::Approximation => ANSWERED,
        };
        if source == Source::User {
            let role = Role::Target;
            self.ledger.end_call(slot, role, AskEnd::Dropped, reason);
            slot.answer = None;
        }
        let rival = slot.rival.as_ref();
        if rival.is_some_and(|rival| !rival.candidate.matches(&candidate)) {
            self.ledger.squash_rival(slot, reason);
        }
        if slot.approximation.call.in_flight() {
            let role = Role::Approximation;
            self.ledger.end_call(slot, role, AskEnd::Dropped, reason);
        }
        let path = slot.node.as_ref().map(|node| node.id);
        let matching = match slot.matching(&candidate) {
            Meaning::Candidate(node) => Some(node),
            Meaning::None => None,
            Meaning::Open => {
                if self.config.matcher == Matcher::Effect && slot.rival.is_none() {
                    let id = self.ledger.node_id();
                    slot.rival = Some(Box::new(Node::new(id, candidate, source)));
                }
                return false;
            }
        };
        if matching.is_none() || matching != path {
            self.drop_below(position, MISMATCH);
        }
        let slot = &mut self.tree.slots_mut()[position];
        if let Some(kept) = matching {
            slot.put_on_path(kept);
            self.ledger.squash_siblings(slot, MISMATCH);
            self.ledger.squash_rival(slot, ALIKE);
            if let Some(node) = slot.node.as_mut() {
                node.candidate = node.candidate.meant_by(candidate);
            }
            return true;
        }
        self.ledger.squash_candidates(slot, MISMATCH);
        let rival = slot.rival.take().map(|node| *node);
        let node = rival.unwrap_or_else(|| Node::new(self.ledger.node_id(), candidate, source));
        slot.node = Some(node);
        true
    }

    /// T answered a claimed step: the answer is shown, and the path stays as it is.
    fn stand_beside(&mut self, position: usize, answer: Candidate) {
        let slot = &mut self.tree.slots_mut()[position];
        match &slot.node {
            None => {
                let id = self.ledger.node_id();
                slot.node = Some(Node::new(id, answer, Source::Target));
            }
            Some(_) if slot.rival.is_none() => match slot.matching(&answer) {
                Meaning::Candidate(_) => {}
                Meaning::None | Meaning::Open => {
                    let id = self.ledger.node_id();
                    slot.rival = Some(Box::new(Node::new(id, answer, Source::Target)));
                }
            },
            Some(_) => {}
        }
    }

    /// Scenario 2: the user replaces a decided step in its review.
    fn decide_again(&mut self, position: usize, candidate: Candidate) {
        let end = self.tree.slots()[position].step.next();
        let before = self.tree.slots()[position]
            .node
            .as_ref()
            .map(|node| node.id);
        if !self.adopt(position, candidate, Source::User) {
            return;
        }
        let slot = &mut self.tree.slots_mut()[position];
        if slot.node.as_ref().map(|node| node.id) != before {
            self.window.restart(end);
        }
        self.decide(position, Source::User);
    }

    /// Rule 5: decides the lowest undecided step, if it can be.
    fn decide_next(&mut self) -> bool {
        let position = self.tree.lowest();
        if !self.tree.settled(position) {
            return false;
        }
        let Some(slot) = self.tree.slots_mut().get_mut(position) else {
            return false;
        };
        let Some((verdict, source)) = slot.verdict().filter(|_| !slot.is_open()) else {
            return false;
        };
        let counters = &mut self.ledger.counters;
        match (source, slot.is_proposal(), slot.proposals.first()) {
            (Source::User, ..) => {}
            (_, true, _) => {
                let node = slot.node.as_ref();
                let equal = node.is_some_and(|node| node.candidate.matches(&verdict));
                counters.matched += 1;
                counters.matched_loosely += u64::from(!equal);
            }
            (_, false, Some(_)) => counters.mismatched += 1,
            (_, false, None) => counters.uncontested += 1,
        }
        if !slot.is_proposal() {
            self.window.restart(slot.step.next());
        }
        self.decide(position, source);
        true
    }

    fn decide(&mut self, position: usize, source: Source) {
        let slot = &mut self.tree.slots_mut()[position];
        slot.user = None;
        slot.answer = None;
        slot.decided = Some(source);
        slot.review = if source == Source::User {
            // The user's own decision needs no review.
            self.ledger.counters.by_user += 1;
            Review::Over
        } else {
            Review::Waiting
        };
        let used = "its answer is the verdict";
        self.ledger.end_call(slot, Role::Target, AskEnd::Used, used);
        let used = "its candidate is the verdict";
        let role = Role::Approximation;
        self.ledger.end_call(slot, role, AskEnd::Used, used);
        if let Some(node) = &slot.node {
            self.ledger.emit(Effect::Decide {
                step: slot.step,
                node: node.id,
                source,
                action: node.candidate.action,
            });
        }
    }

    fn present(&mut self, is_done: bool) {
        while let Some((position, line, shown)) = next_line(self.tree.slots(), is_done) {
            self.tree.slots_mut()[position].shown = shown;
            self.ledger.present(line);
        }
    }

    /// Ends the plan if its last step is verified (rule 7).
    fn finish(&mut self) -> bool {
        if self.head.next.is_none() {
            self.end(EndReason::Terminated);
        } else if self.tree.first().0 >= self.config.max_steps {
            self.end(EndReason::StepLimit);
        }
        self.ended
    }

    pub(super) fn end(&mut self, reason: EndReason) {
        debug_assert!(self.ledger.is_settled() && self.tree.len() == 0);
        let reason = match self.head.next {
            None => EndReason::Terminated,
            Some(_) => reason,
        };
        self.ended = true;
        self.stall = None;
        self.backtrack = None;
        self.ledger.present(Presented::Ended {
            reason,
            node: self.head.node,
            steps: self.tree.first().0,
        });
    }

    /// The prefix of the first step that has no slot, if it can have one.
    fn next_prefix(&self) -> Option<PrefixId> {
        if self.tree.end().0 >= self.config.max_steps || !self.tree.settled(self.tree.len()) {
            return None;
        }
        match self.tree.slots().last() {
            None => self.head.next,
            Some(slot) => slot.node.as_ref()?.next_prefix(),
        }
    }

    fn open_lowest(&mut self) {
        if self.tree.lowest() == self.tree.len()
            && let Some(prefix) = self.next_prefix()
        {
            self.tree.open(prefix);
        }
    }

    /// Stalls the session if T can give no verdict for the lowest undecided step, and
    /// ends a stall whose cause is gone.
    fn turn_stall(&mut self) {
        let wanted = self.target_stall();
        let holds = match self.stall.as_ref().map(|stall| (stall.step, stall.cause)) {
            None => false,
            Some((step, Cause::Step(node))) => self.tree.position(step).is_some_and(|position| {
                let of = self.tree.slots()[position].node.as_ref();
                of.is_some_and(|of| of.id == node)
            }),
            Some((step, cause)) => wanted
                .as_ref()
                .is_some_and(|wanted| wanted.step == step && wanted.cause == cause),
        };
        if holds {
            return;
        }
        if self.stall.take().is_some() {
            let reason = "the step goes on";
            self.ledger.present(Presented::Continued { reason });
        }
        if let Some(stall) = wanted {
            self.stall_at(stall.step, stall.cause, stall.reason, stall.hint);
        }
    }

    fn target_stall(&self) -> Option<Stall> {
        let position = self.tree.lowest();
        let slot = self.tree.slots().get(position)?;
        let unanswered = slot.target.call == Call::None && slot.user.is_none();
        if !unanswered || !self.tree.settled(position) {
            return None;
        }
        let (reason, hint) = if slot.target.exhausted {
            let reason = format!("the target agent failed: {}", slot.target.reason);
            (reason, "retry asks it again; or decide the step yourself")
        } else if self.target.is_lost() {
            let reason = "no target agent is attached".to_owned();
            (reason, "attach one; or decide the step yourself")
        } else {
            return None;
        };
        Some(Stall {
            step: slot.step,
            cause: Cause::Target(slot.prefix),
            reason,
            hint: hint.to_owned(),
        })
    }

    pub(super) fn stall_at(&mut self, step: StepIndex, cause: Cause, reason: String, hint: String) {
        self.ledger.present(Presented::Stalled {
            step,
            reason: reason.clone(),
            hint: hint.clone(),
        });
        self.stall = Some(Stall {
            step,
            cause,
            reason,
            hint,
        });
    }

    /// Rules 1, 3 and 9.
    fn ask(&mut self) {
        if self.stall.is_some() {
            return;
        }
        for position in 0..self.tree.len() {
            self.ask_target(position);
        }
        while self.may_open() {
            let Some(prefix) = self.next_prefix() else {
                break;
            };
            self.tree.open(prefix);
            self.ask_target(self.tree.len() - 1);
        }
        self.ask_approximation();
    }

    fn ask_target(&mut self, position: usize) {
        let lowest = position == self.tree.lowest();
        let settled = self.tree.settled(position);
        let in_flight = self.ledger.in_flight(Role::Target);
        let slot = &mut self.tree.slots_mut()[position];
        let wanted = slot.decided.is_none()
            && slot.user.is_none()
            && slot.target.call == Call::None
            && !slot.target.exhausted
            && (lowest || slot.target.failures == 0);
        if wanted && settled && self.target.may_ask(self.clock.now(), in_flight, lowest) {
            self.ledger.ask(slot, Role::Target);
        }
    }

    /// Whether the step after the last slot may start now, ahead of the lowest one.
    fn may_open(&mut self) -> bool {
        let depth = self.depth.limit(self.target.depth(self.config.depth));
        let lowest = self.tree.lowest_step();
        let below_answer = self
            .tree
            .slots()
            .last()
            .is_some_and(|slot| slot.decided.is_none() && !slot.is_proposal());
        let in_flight = self.ledger.in_flight(Role::Target);
        let is_lowest = self.tree.end() == lowest;
        self.target.may_ask(self.clock.now(), in_flight, is_lowest)
            && (!below_answer || self.window.goes_below_undecided_answers())
            && self.window.allows(self.tree.end(), lowest, depth)
            && self.depth.reaches(self.tree.guesses())
    }

    /// A is asked where the path ends, while T thinks about the same step: one call at a
    /// time, also where candidates that were offered have led the path on.
    fn ask_approximation(&mut self) {
        let Some(last) = self.tree.len().checked_sub(1) else {
            return;
        };
        let may_ask = self.config.depth > 0
            && self.approximation.may_ask(self.clock.now())
            && self.ledger.in_flight(Role::Approximation) == 0
            && self.tree.settled(last);
        let slot = &mut self.tree.slots_mut()[last];
        let wanted = slot.node.is_none()
            && slot.user.is_none()
            && slot.target.call.in_flight()
            && slot.approximation.call == Call::None
            && !slot.approximation.exhausted;
        if may_ask && wanted {
            self.ledger.ask(slot, Role::Approximation);
        }
    }

    /// Rule 2: the path goes on below the next candidate if its own is parked. Below a
    /// parked one there is nothing.
    fn leave_parked(&mut self) {
        let Some(slot) = self.tree.slots_mut().last_mut() else {
            return;
        };
        let parked = slot.node.as_ref().is_some_and(Node::is_parked);
        let next = slot.siblings.iter().find(|node| !node.is_parked());
        if let Some(next) = next.map(|node| node.id).filter(|_| parked) {
            slot.put_on_path(next);
        }
    }

    /// Executes what has a parent that holds.
    fn execute(&mut self) {
        let mut parent = None;
        let stalled = self.stalled_node();
        let beside = self.config.matcher == Matcher::Effect;
        for slot in self.tree.slots_mut() {
            let (step, decided) = (slot.step, slot.decided);
            for node in slot.candidates_mut() {
                if stalled == Some(node.id) {
                    return;
                }
                let due = match node.run {
                    Run::Proposed => node.candidate.kind == ActionKind::Tool || decided.is_some(),
                    Run::Leaf => decided.is_some(),
                    Run::Executing { .. } | Run::Executed => false,
                };
                if due {
                    self.ledger.execute(node, parent, step, decided);
                }
            }
            if beside
                && slot.is_open()
                && let Some(rival) = slot.rival.as_deref_mut()
                && rival.run == Run::Proposed
            {
                // Nobody decided it, even if it is to replace what was.
                self.ledger.execute(rival, parent, step, None);
            }
            match slot.node.as_ref().filter(|node| node.is_executed()) {
                None => return,
                Some(node) => parent = Some(node.id),
            }
        }
    }

    /// Rule 12: what the first step does beyond its snapshot is done, once nobody can
    /// take the step's verdict back.
    fn release(&mut self) {
        if let Some(slot) = self.concluded()
            && let Some(node) = slot.node.as_mut()
            && let Run::Executing {
                execution, gate, ..
            } = &mut node.run
            && *gate == Gate::Awaited
        {
            *gate = Gate::Open;
            let execution = *execution;
            self.ledger.emit(Effect::Release { execution });
        }
    }

    /// Rule 12: the first step leaves the tree when all is done.
    fn retire_next(&mut self) {
        if let Some(slot) = self.concluded()
            && let Some(node) = slot.node.as_ref().filter(|node| node.is_executed())
        {
            let (node, step) = (node.id, slot.step);
            slot.retiring = true;
            self.ledger.emit(Effect::Retire { node, step });
        }
    }

    /// The decided node that can not be executed or recorded at present.
    pub(super) fn stalled_node(&self) -> Option<NodeId> {
        match self.stall.as_ref().map(|stall| stall.cause) {
            Some(Cause::Step(node)) => Some(node),
            Some(Cause::Target(_)) | None => None,
        }
    }

    /// The first step, if it is decided and reviewed, and nothing holds it up.
    fn concluded(&mut self) -> Option<&mut Slot> {
        let stalled = self.stalled_node().is_some();
        let slot = self.tree.slots_mut().first_mut()?;
        let over = slot.decided.is_some()
            && slot.review == Review::Over
            && slot.claim.is_none()
            && slot.user.is_none()
            && !slot.retiring;
        (over && !stalled).then_some(slot)
    }

    /// Drops every slot below the node at `position`.
    pub(super) fn drop_below(&mut self, position: usize, reason: &'static str) {
        let mut dropped = false;
        while let Some(slot) = self.tree.pop_from(position + 1) {
            self.ledger.drop_slot(slot, reason);
            dropped = true;
        }
        if dropped {
            self.window.restart(self.tree.lowest_step());
        }
    }

    /// Drops every slot.
    pub(super) fn drop_all(&mut self, reason: &'static str) {
        while let Some(slot) = self.tree.pop_from(0) {
            self.ledger.drop_slot(slot, reason);
        }
    }
}
