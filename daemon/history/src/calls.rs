//! Which call comes next after exactly this one: what was done before, done again.
//!
//! The longest context of all, above those of [`crate::sequence`]: the last call with its
//! arguments, followed by whole calls. It knows what nothing can derive, but only where a task
//! comes again; what it leaves of the probability is for calls that are derived.

use crate::pairs::{self, Used};
use crate::run::{Made, Run, View};
use crate::sequence::DISCOUNT;
use forerun_types::{Action, ActionKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most calls that are remembered; the least recently used go. Stops an agent that never does
/// the same from filling the memory.
const CALLS_MAX: usize = 2048;
/// Most calls that are remembered after one; stops one that anything follows.
const FOLLOWERS_MAX: usize = 4;
/// Most bytes of the arguments of one that is remembered; stops documents from being kept.
pub(crate) const ARGUMENT_BYTES_MAX: usize = 512;
/// At such a sum all counts are halved: old habits weigh less.
const COUNT_MAX: u32 = 4096;

/// Whole calls, and what followed them. None is the beginning of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Calls(#[serde(with = "pairs")] BTreeMap<Option<ActionKey>, Followers>);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Followers {
    /// The tool and its arguments.
    #[serde(with = "pairs")]
    counts: BTreeMap<(String, String), u32>,
    /// All that followed, the ends of runs and what is not kept included.
    total: u32,
    used: u64,
}

impl Calls {
    /// The calls that followed the last one with their probabilities, and the probability that
    /// it is another.
    pub(crate) fn next(&self, view: &View) -> (Vec<(Action, f64)>, f64) {
        let Some(followers) = self.0.get(&view.last_key()) else {
            return (Vec::new(), 1.0);
        };
        let chance = |count: u32| (f64::from(count) - DISCOUNT) / f64::from(followers.total);
        let all = followers.counts.iter();
        let found: Vec<(Action, f64)> = all
            .filter_map(|((tool, arguments), count)| {
                Some((Action::parse(tool, arguments).ok()?, chance(*count)))
            })
            .collect();
        let taken: f64 = found.iter().map(|(_, chance)| chance).sum();
        (found, 1.0 - taken)
    }

    /// Counts what followed what in a run that has ended.
    pub(crate) fn learn(&mut self, run: &Run, number: u64) {
        for step in 0..=run.len() {
            let key = run.before(step).last_key();
            let followers = self.0.entry(key).or_default();
            followers.used = number;
            followers.count(run.made().get(step));
        }
        pairs::forget(&mut self.0, CALLS_MAX);
    }

    /// Whether it can have come about by learning.
    pub(crate) fn is_valid(&self, runs: u64) -> bool {
        self.0.len() <= CALLS_MAX
            && self.0.values().all(|followers| followers.used <= runs)
            && self.0.values().all(|followers| {
                let counts = followers.counts.values();
                let sum: u64 = counts.clone().map(|n| u64::from(*n)).sum();
                followers.counts.len() <= FOLLOWERS_MAX
                    && counts.clone().all(|n| *n > 0)
                    && sum <= u64::from(followers.total)
                    && followers.total < COUNT_MAX
            })
    }
}

impl Followers {
    fn count(&mut self, next: Option<&Made>) {
        self.total += 1;
        let kept = next.and_then(|made| Some((made.symbol.tool.clone(), made.text.clone()?)));
        if let Some(call) = kept
            && (self.counts.len() < FOLLOWERS_MAX || self.counts.contains_key(&call))
        {
            *self.counts.entry(call).or_default() += 1;
        }
        if self.total >= COUNT_MAX {
            self.total /= 2;
            self.counts.values_mut().for_each(|n| *n /= 2);
            self.counts.retain(|_, n| *n > 0);
        }
    }
}

impl Used for Followers {
    fn used(&self) -> u64 {
        self.used
    }
}
