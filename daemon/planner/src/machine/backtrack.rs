//! Going back: the steps from one on leave the tree, and what of them is recorded is undone.
//!
//! ```text
//! backtrack ─▶ (a commit is under way: wait for it) ─▶ (verified steps: Undo ─▶ Undone) ─▶ the
//! step is open again, on its prefix, with the user's action if there is one
//! ```
//!
//! **Invariant:** from the backtrack to its end nothing is asked, executed, decided or retired.
//! **Invariant:** a session that could not go back all the way says so and pauses.

use super::{Head, Planner, STOPPED, WENT_BACK};
use crate::{Candidate, Effect, EndReason, Presented, Undone};
use forerun_types::{PrefixId, StepIndex};

/// Where the user wants to go back to.
#[derive(Clone, Debug)]
pub(super) struct Backtrack {
    pub(super) step: StepIndex,
    /// The step's prefix, with what the user suggests for it.
    pub(super) prefix: PrefixId,
    /// u_i, if the user decides it.
    pub(super) candidate: Option<Candidate>,
}

impl Planner {
    pub(super) fn backtrack(&mut self, to: Backtrack) {
        // A commit can not be called off: its step stays until it is known.
        let kept = usize::from(self.is_retiring());
        let position = self.tree.position(to.step).unwrap_or(0).max(kept);
        while let Some(slot) = self.tree.pop_from(position) {
            self.ledger.drop_slot(slot, WENT_BACK);
        }
        let waits = to.step < self.tree.first() || to.step < self.tree.end();
        self.backtrack = Some(to);
        if waits {
            self.go_back();
        } else {
            self.open_anew();
        }
    }

    /// Goes on with a backtrack, once no commit is under way.
    pub(super) fn go_back(&mut self) {
        if self.is_retiring() {
            return;
        }
        let Some(to) = &self.backtrack else {
            return;
        };
        let from = to.step;
        while let Some(slot) = self.tree.pop_from(0) {
            self.ledger.drop_slot(slot, WENT_BACK);
        }
        if from < self.tree.first() {
            self.ledger.emit(Effect::Undo { from });
        } else {
            self.open_anew();
        }
    }

    pub(super) fn undone(&mut self, undone: Undone) {
        let Some(to) = self.backtrack.as_ref().filter(|_| !self.is_retiring()) else {
            self.ledger.counters.unknown += 1;
            return;
        };
        let step = to.step;
        self.tree.rewind(undone.first);
        self.head = Head {
            node: undone.node,
            next: Some(undone.next),
        };
        if let Some(reason) = undone.refused {
            self.backtrack = None;
            self.went_back(undone.first);
            self.ledger.present(Presented::Refused { step, reason });
            if !self.clock.is_paused() {
                self.clock.pause();
                self.ledger.present(Presented::Paused);
            }
        } else {
            debug_assert_eq!(undone.first, step);
            self.open_anew();
        }
        if self.stopping {
            self.drop_all(STOPPED);
            self.end(EndReason::Stopped);
        }
    }

    /// The step that the user went back to is the next one again.
    fn open_anew(&mut self) {
        let Some(to) = self.backtrack.take() else {
            return;
        };
        self.went_back(to.step);
        match self.tree.slots_mut().last_mut() {
            None => self.head.next = Some(to.prefix),
            Some(above) => {
                if let Some(result) = above.node.as_mut().and_then(|node| node.result.as_mut()) {
                    result.next = to.prefix;
                }
            }
        }
        self.tree.open(to.prefix);
        if let Some(slot) = self.tree.slots_mut().last_mut() {
            slot.user = to.candidate;
        }
    }

    fn went_back(&mut self, step: StepIndex) {
        self.ledger.counters.backtracks += 1;
        let generation = self.ledger.counters.backtracks;
        self.window.restart(step);
        self.ledger
            .present(Presented::Backtracked { step, generation });
    }
}
