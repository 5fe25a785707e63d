//! The agents, sandboxes and commits of a case: pure functions of its numbers, and in each case
//! others.

use super::Trouble;
use crate::sim::wording::{self, reworded};
use crate::sim::*;
use forerun_planner::{Candidate, Failure, Outcome, Pair, RetireResult};
use forerun_types::{NodeId, PrefixId};
use std::time::Duration;

/// Failures come to an end, so that a session that is helped does too.
const TRIES_MAX: u64 = 6;

/// T: mostly tools, now and then a question or the end.
pub(crate) fn verdict(seed: u64, prefix: &PrefixId) -> Candidate {
    let text = draw(seed, ("truth", prefix));
    match draw(seed, ("kind", prefix)) % 100 {
        0..5 => action(&format!("terminate {text}")),
        5..15 => action(&format!("ask_user {text}")),
        _ => action(&format!("tool {text}")),
    }
}

/// A: T's answer, maybe in another way, or a mistake, which may be an end or a question too.
fn proposal(trouble: &Trouble, prefix: &PrefixId) -> Candidate {
    let seed = trouble.seed;
    if draw(seed, ("accuracy", prefix)) % 100 < trouble.accuracy {
        return trouble.said(verdict(seed, prefix), 0, prefix);
    }
    let mistake = draw(seed, ("mistake", prefix));
    match mistake % 5 {
        0 => action("terminate too early"),
        1 => action("ask_user nothing"),
        _ => action(&format!("tool {mistake}")),
    }
}

/// One of the ways to fail.
pub(super) fn failure(draw: u64) -> Failure {
    let reason = "a failure".to_owned();
    match draw % 3 {
        0 => Failure::Transient { reason },
        1 => Failure::Permanent { reason },
        _ => Failure::RateLimited {
            retry_after: Duration::from_micros(draw % 5000),
        },
    }
}

/// The world of a case.
pub(super) fn world(trouble: &Trouble, judges: u32) -> World {
    let (target, approximation) = (trouble.clone(), trouble.clone());
    let (parking, judging) = (trouble.clone(), trouble.clone());
    let (executing, recording, undoing) = (trouble.clone(), trouble.clone(), trouble.clone());
    World {
        target: Box::new(move |asked| target.target(asked)),
        approximation: Box::new(move |asked| approximation.approximation(asked)),
        execute: Box::new(move |running| executing.execute(running)),
        parks: Box::new(move |running| {
            let Running { count, prefix, .. } = running;
            parking.happens("parks", count, parking.parked, &prefix)
        }),
        retire: Box::new(move |count| recording.retire(count)),
        judges,
        judge: Box::new(move |count, pairs| judging.judge(count, pairs)),
        undo: Box::new(move |count| {
            let stays = undoing.happens("stays", count, undoing.conflicts, &root());
            (
                undoing.takes("undo", count, undoing.commit, &root()),
                u32::from(stays),
            )
        }),
    }
}

impl Trouble {
    /// Whether something happens that does so in so many cases of a hundred.
    fn happens(&self, what: &str, count: u64, percent: u64, prefix: &PrefixId) -> bool {
        count < TRIES_MAX && draw(self.seed, (what, count, prefix)) % 100 < percent
    }

    /// How long something takes, up to a longest time.
    fn takes(&self, what: &str, count: u64, longest: u64, prefix: &PrefixId) -> u64 {
        draw(self.seed, ("time", what, count, prefix)) % (longest + 1)
    }

    /// What T will say, as A says it at this place.
    fn said(&self, verdict: Candidate, place: u64, prefix: &PrefixId) -> Candidate {
        let way = draw(self.seed, ("way", place, prefix));
        if way % 100 < self.other_ways {
            reworded(verdict, way / 100)
        } else {
            verdict
        }
    }

    fn judge(&self, count: u64, pairs: &[Pair]) -> Judgement {
        let prefix = &pairs[0].prefix;
        let after = self.takes("j", count, self.judging, prefix);
        if self.happens("j fails", count, self.judge_fails, prefix) {
            return (after, Err(failure(draw(self.seed, ("j failure", prefix)))));
        }
        let same = pairs
            .iter()
            .filter(|pair| wording::is_judged_same(self.seed, &pair.action, &pair.verdict));
        // And something that it was not asked.
        let more = (count % 3 == 1).then_some(NodeId(pairs[0].node.0 + 1));
        let more = more.filter(|node| pairs.iter().all(|pair| pair.node != *node));
        (after, Ok(same.map(|pair| pair.node).chain(more).collect()))
    }

    fn target(&self, Asked { count, prefix }: Asked) -> Answer {
        let after = self.takes("t", count, self.t, &prefix);
        if self.happens("t fails", count, self.target_fails, &prefix) {
            return (after, Err(failure(draw(self.seed, ("failure", &prefix)))));
        }
        (after, Ok(vec![verdict(self.seed, &prefix)]))
    }

    fn approximation(&self, Asked { count, prefix }: Asked) -> Answer {
        let after = self.takes("a", count, self.a, &prefix);
        if self.happens("a fails", count, self.approximation_fails, &prefix) {
            return (after, Err(failure(draw(self.seed, ("a failure", &prefix)))));
        }
        let others = (1..self.candidates).map(|place| {
            if draw(self.seed, ("place", place, &prefix)).is_multiple_of(3) {
                self.said(verdict(self.seed, &prefix), place, &prefix)
            } else {
                let other = draw(self.seed, ("other", &prefix)) % 1000 + place % 4;
                action(&format!("tool {other}"))
            }
        });
        let candidates = std::iter::once(proposal(self, &prefix)).chain(others);
        (after, Ok(candidates.collect()))
    }

    fn execute(&self, running: Running) -> (u64, Outcome) {
        let Running {
            count,
            prefix,
            action,
            speculative,
        } = running;
        let after = self.takes("e", count, self.e, &prefix);
        let reason = "a reason".to_owned();
        if speculative && self.happens("held", count, self.not_executed, &prefix) {
            return (after, Outcome::NotExecuted { reason });
        }
        if self.happens("fails", count, self.execution_fails, &prefix) {
            return (after, Outcome::Failed { reason });
        }
        let (version, changes) = if self.unstable {
            (count / 2, count)
        } else {
            (0, 0)
        };
        let observation = digest((&prefix, wording::seen(&action), version));
        let next = below(&prefix, &action, &observation);
        let outcome = Outcome::Completed {
            observation,
            changes: digest((wording::changed(&action), changes)),
            next,
        };
        (after, outcome)
    }

    fn retire(&self, count: u64) -> (u64, RetireResult) {
        let after = self.takes("r", count, self.commit, &root());
        let happens =
            |what, percent| count < 40 && self.happens(what, count % TRIES_MAX, percent, &root());
        let result = if happens("conflict", self.conflicts) {
            RetireResult::Conflict {
                reason: "a person was there".to_owned(),
                hint: "retry".to_owned(),
            }
        } else if happens("stale", self.stales) {
            RetireResult::Stale {
                reason: "a person was at what it read".to_owned(),
            }
        } else {
            RetireResult::Done
        };
        (after, result)
    }
}
