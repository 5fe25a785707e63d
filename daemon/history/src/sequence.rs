//! Which tool comes next: a Markov model of variable order with back-off.
//!
//! The last four calls are looked up, then three, two, one, none; each context that was seen
//! says how often which tool followed, and leaves a part of the probability to the one that
//! is a call shorter: interpolated absolute discounting (Ney, Essen and Kneser 1994; what
//! Kneser and Ney smooth with, without their counts of continuations). The idea of backing off
//! from the longest context that was seen is that of prediction by partial matching (Cleary and Witten 1984).

use crate::pairs::{self, Used};
use crate::run::{Run, Symbol, View};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Calls that are looked back at.
const ORDER: usize = 4;
/// What each tool that followed a context gives up, of its count, to shorter contexts.
pub(crate) const DISCOUNT: f64 = 0.75;
/// Most contexts; the least recently used go. Stops a tool's outcomes from filling the memory.
pub(crate) const CONTEXTS_MAX: usize = 4096;
/// Most tools that may follow one context; later ones are not counted. Stops an agent that
/// invents tools from filling the memory.
const FOLLOWERS_MAX: usize = 64;
/// At such a sum all counts of a context are halved: old habits weigh less.
const COUNT_MAX: u32 = 4096;

/// Counts of what followed what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sequence {
    #[serde(with = "pairs")]
    contexts: BTreeMap<Context, Followers>,
}

/// The calls before a step, newest last; at the beginning of a run there is one that is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
struct Context(Vec<Option<Symbol>>);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Followers {
    /// None is the end of the run.
    #[serde(with = "pairs")]
    counts: BTreeMap<Option<String>, u32>,
    used: u64,
}

impl Sequence {
    /// The tools that may come next with their probabilities, most probable first. What is
    /// missing to 1 is the probability that the run ends.
    pub(crate) fn next(&self, view: &View) -> Vec<(String, f64)> {
        let contexts = contexts(view);
        let known: Vec<&Followers> = contexts
            .iter()
            .filter_map(|context| self.contexts.get(context))
            .filter(|followers| !followers.counts.is_empty())
            .collect();
        let all: BTreeSet<&Option<String>> = known
            .iter()
            .flat_map(|followers| followers.counts.keys())
            .collect();
        let mut chances: BTreeMap<&Option<String>, f64> = all
            .iter()
            .map(|tool| (*tool, 1.0 / all.len() as f64))
            .collect();
        for followers in known {
            let total: f64 = followers.counts.values().map(|n| f64::from(*n)).sum();
            let left = DISCOUNT * followers.counts.len() as f64 / total;
            for (tool, chance) in &mut chances {
                let count = followers.counts.get(*tool).map_or(0.0, |n| f64::from(*n));
                *chance = (count - DISCOUNT).max(0.0) / total + left * *chance;
            }
        }
        let tools = chances.into_iter();
        let mut found: Vec<(String, f64)> = tools
            .filter_map(|(tool, chance)| Some((tool.clone()?, chance)))
            .collect();
        // Stable: equally probable tools stay in the order of their names.
        found.sort_by(|one, other| other.1.total_cmp(&one.1));
        found
    }

    /// Counts what followed what in a run that has ended.
    pub(crate) fn learn(&mut self, run: &Run, number: u64) {
        for step in 0..=run.len() {
            let next = run.made().get(step).map(|made| made.symbol.tool.clone());
            for context in contexts(&run.before(step)) {
                let followers = self.contexts.entry(context).or_default();
                followers.used = number;
                followers.count(next.clone());
            }
        }
        pairs::forget(&mut self.contexts, CONTEXTS_MAX);
    }

    /// Whether it can have come about by learning.
    pub(crate) fn is_valid(&self, runs: u64) -> bool {
        self.contexts.len() <= CONTEXTS_MAX
            && self
                .contexts
                .values()
                .all(|followers| followers.used <= runs)
            && self.contexts.iter().all(|(context, followers)| {
                let total = followers.counts.values().map(|n| u64::from(*n));
                context.0.len() <= ORDER
                    && followers.counts.len() <= FOLLOWERS_MAX
                    && followers.counts.values().all(|n| *n > 0)
                    && total.sum::<u64>() < u64::from(COUNT_MAX)
            })
    }
}

impl Followers {
    fn count(&mut self, next: Option<String>) {
        if self.counts.len() < FOLLOWERS_MAX || self.counts.contains_key(&next) {
            *self.counts.entry(next).or_default() += 1;
        }
        if self.counts.values().sum::<u32>() >= COUNT_MAX {
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

/// What is looked up before a step, the least telling first.
fn contexts(view: &View) -> Vec<Context> {
    let made = view.made();
    let symbols = made.iter().map(|made| Some(made.symbol.clone()));
    let history: Vec<Option<Symbol>> = [None]
        .into_iter()
        .chain(symbols.skip(made.len().saturating_sub(ORDER)))
        .collect();
    // With more calls than are looked back at, the one that is none is out of sight.
    (0..=history.len().min(ORDER))
        .map(|order| Context(history[history.len() - order..].to_vec()))
        .collect()
}
