//! Session time: what waits for it, and how a pause holds it.
//!
//! **Invariant:** time never goes back, whatever it is told.
//! **Invariant:** claims and review windows lose nothing of their time to a pause. Waits
//! that others imposed (rate limits, back-offs) go on.

use crate::Presented;
use crate::ledger::Ledger;
use crate::tree::{Review, Tree};
use forerun_types::Time;
use std::time::Duration;

/// The clock of one session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    now: Time,
    paused_at: Option<Time>,
}

impl Clock {
    pub(crate) fn observe(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// The time of those who wait: it stands still in a pause.
    pub(crate) fn waiting_time(&self) -> Time {
        self.paused_at.unwrap_or(self.now)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused_at.is_some()
    }

    pub(crate) fn pause(&mut self) {
        self.paused_at = Some(self.now);
    }

    /// Ends a pause; how long it was.
    pub(crate) fn resume(&mut self) -> Duration {
        self.paused_at
            .take()
            .map_or(Duration::ZERO, |since| self.now - since)
    }
}

/// Ends the claims whose time is over.
pub(crate) fn expire_claims(tree: &mut Tree, ledger: &mut Ledger, now: Time) {
    for slot in tree.slots_mut() {
        if slot.claim.is_some_and(|until| until <= now) {
            ledger.unclaim(slot, "its time is over");
        }
    }
}

/// Opens and closes review windows, one after another, as far as `now` allows.
pub(crate) fn turn_reviews(tree: &mut Tree, ledger: &mut Ledger, now: Time, review: Duration) {
    for slot in tree.slots_mut() {
        let Some(node) = slot.node.as_ref().filter(|_| slot.decided.is_some()) else {
            return;
        };
        if slot.review == Review::Waiting && review.is_zero() {
            slot.review = Review::Over;
        }
        if slot.review == Review::Waiting {
            let until = now + review;
            slot.review = Review::Open { until };
            ledger.present(Presented::ReviewOpened {
                step: slot.step,
                node: node.id,
                until,
            });
        }
        if let Review::Open { until } = slot.review {
            // What the user said last may still have to be compared with the step.
            if slot.claim.is_some() || slot.user.is_some() || until > now {
                return;
            }
            slot.review = Review::Over;
        }
    }
}

/// Gives claims and windows back what a pause took, and says so.
pub(crate) fn postpone(tree: &mut Tree, ledger: &mut Ledger, pause: Duration) {
    for slot in tree.slots_mut() {
        if let (Review::Open { until }, Some(node)) = (&mut slot.review, &slot.node) {
            *until = *until + pause;
            ledger.present(Presented::ReviewOpened {
                step: slot.step,
                node: node.id,
                until: *until,
            });
        }
        if let Some(until) = &mut slot.claim {
            *until = *until + pause;
            ledger.present(Presented::Claimed {
                step: slot.step,
                until: *until,
            });
        }
    }
}

/// When a claim or a review window ends by itself, at the earliest.
pub(crate) fn next_end(tree: &Tree) -> Option<Time> {
    let ends = tree.slots().iter().filter_map(|slot| match slot.review {
        Review::Open { until } if slot.claim.is_none() && slot.user.is_none() => Some(until),
        _ => slot.claim,
    });
    ends.min()
}
