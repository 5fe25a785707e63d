//! Which arguments a tool is called with: for each argument, where its value came from so far.
//!
//! A source is tried at each call of the tool, whether or not it was needed to explain it, and
//! has a record of how often it gave the value that was there. Records are small, so they are
//! read with back-off, as sequences are: after this tool, else after any; and a source that
//! is new is as good as its kind was at this argument (an empirical Bayes estimate).

use crate::pairs::{self, Used};
use crate::record::Record;
use crate::run::{Made, Slot, View};
use crate::source::{Kind, Question, Source};
use crate::values::{self, ARGUMENTS_MAX, PATH_BYTES_MAX, VALUE_BYTES_MAX};
use forerun_types::{Action, ActionKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most arguments, of all tools; the least recently used go. Stops an agent that invents
/// arguments from filling the memory.
pub(crate) const SLOTS_MAX: usize = 512;
/// Most sources of an argument; the worst goes for a better one. Stops values that are never
/// the same from being kept as constants.
const SOURCES_MAX: usize = 16;
/// Most new sources that one call adds to an argument; stops a value that is everywhere.
const NEW_SOURCES_MAX: usize = 8;
/// Most tools after which a source has a record of its own; stops it from having many.
const AFTER_MAX: usize = 8;
/// Most tools with known forms; the least recently used go. Stops an agent that invents tools.
pub(crate) const TOOLS_MAX: usize = 128;
/// Most forms of a tool, that is sets of arguments it is called with; stops free-form objects.
const FORMS_MAX: usize = 8;
/// Forms of a tool that are filled in, the most frequent ones.
const FORMS_TRIED: usize = 2;
/// Values of one argument that are tried.
const VALUES_TRIED: usize = 3;
/// At so many calls the counts of a tool's forms are halved: old habits weigh less.
const CALLS_MAX: u32 = 4096;
/// What is believed of a kind of source of which nothing is known.
const UNKNOWN: f64 = 0.5;

/// What is known of arguments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Arguments {
    #[serde(with = "pairs")]
    slots: BTreeMap<Slot, Sources>,
    #[serde(with = "pairs")]
    forms: BTreeMap<String, Forms>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sources {
    #[serde(with = "pairs")]
    sources: BTreeMap<Source, Evidence>,
    kinds: [Record; Kind::COUNT],
    used: u64,
}

/// How often a source was right, and after which tools.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Evidence {
    overall: Record,
    #[serde(with = "pairs")]
    after: BTreeMap<String, Record>,
    /// The call before the one at which it was right last.
    right_after: Option<ActionKey>,
}

/// The sets of arguments that a tool was called with, as their paths.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Forms {
    #[serde(with = "pairs")]
    counts: BTreeMap<Vec<String>, u32>,
    used: u64,
}

/// The values of a form's arguments, in their order, and how probable that is.
type Filled = (Vec<String>, f64);

impl Arguments {
    /// The calls of this tool that may come next, and the probability of each if the tool does;
    /// the most probable first, at most `most`.
    pub(crate) fn propose(&self, view: View, tool: &str, most: usize) -> Vec<(Action, f64)> {
        let Some(forms) = self.forms.get(tool) else {
            return Vec::new();
        };
        let calls: f64 = forms.counts.values().map(|n| f64::from(*n)).sum();
        let mut by_count: Vec<(&Vec<String>, &u32)> = forms.counts.iter().collect();
        by_count.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut found = Vec::new();
        for (paths, count) in by_count.into_iter().take(FORMS_TRIED) {
            for (values, chance) in self.fill(view, tool, paths) {
                let pairs = paths
                    .iter()
                    .map(String::as_str)
                    .zip(values.iter().map(String::as_str));
                let action = values::assemble(tool, pairs);
                found.extend(action.map(|action| (action, chance * f64::from(*count) / calls)));
            }
        }
        found.sort_by(|one, other| other.1.total_cmp(&one.1));
        found.truncate(most);
        found
    }

    /// The best value for each argument; and for each of them, the next best in its place.
    fn fill(&self, view: View, tool: &str, paths: &[String]) -> Vec<Filled> {
        let ranked: Option<Vec<Vec<(String, f64)>>> = paths
            .iter()
            .map(|path| {
                let slot = Slot::new(tool, path);
                let values = self.slots.get(&slot)?.rank(&Question::new(view, &slot));
                Some(values).filter(|values| !values.is_empty())
            })
            .collect();
        let Some(ranked) = ranked else {
            return Vec::new();
        };
        let with = |place: usize, rank: usize| -> Filled {
            let chosen = ranked
                .iter()
                .enumerate()
                .map(|(other, values)| &values[if other == place { rank } else { 0 }]);
            let values = chosen.clone().map(|(value, _)| value.clone()).collect();
            (values, chosen.map(|(_, chance)| chance).product())
        };
        let mut found = vec![with(0, 0)];
        for (place, values) in ranked.iter().enumerate() {
            found.extend((1..values.len()).map(|rank| with(place, rank)));
        }
        found
    }

    /// Learns from a call, and from the run before it.
    pub(crate) fn learn(&mut self, view: View, made: &Made, number: u64) {
        let Some(arguments) = &made.arguments else {
            return;
        };
        let tool = &made.symbol.tool;
        for (path, value) in arguments {
            let slot = Slot::new(tool, path);
            let question = Question::new(view, &slot);
            let sources = self.slots.entry(slot.clone()).or_default();
            sources.used = number;
            sources.learn(&question, value.as_deref());
        }
        let paths = arguments.iter().map(|(path, _)| path.clone()).collect();
        let forms = self.forms.entry(tool.clone()).or_default();
        forms.used = number;
        forms.count(paths);
    }

    /// Drops what is too much.
    pub(crate) fn forget(&mut self) {
        pairs::forget(&mut self.slots, SLOTS_MAX);
        pairs::forget(&mut self.forms, TOOLS_MAX);
    }

    /// Whether it can have come about by learning.
    pub(crate) fn is_valid(&self, runs: u64) -> bool {
        let used = self.forms.values().map(Used::used);
        let used = used.chain(self.slots.values().map(Used::used)).max();
        let forms = self.forms.values().all(|forms| {
            let calls: u64 = forms.counts.values().map(|n| u64::from(*n)).sum();
            forms.counts.len() <= FORMS_MAX
                && forms
                    .counts
                    .keys()
                    .all(|paths| paths.len() <= ARGUMENTS_MAX)
                && forms.counts.values().all(|count| *count > 0)
                && calls < u64::from(CALLS_MAX)
        });
        let slots = self
            .slots
            .iter()
            .all(|(slot, sources)| slot.path.len() <= PATH_BYTES_MAX && sources.is_valid());
        forms
            && slots
            && used <= Some(runs)
            && self.slots.len() <= SLOTS_MAX
            && self.forms.len() <= TOOLS_MAX
    }
}

impl Sources {
    /// The values that sources give, the best first, each with how probable it is.
    fn rank(&self, question: &Question) -> Vec<(String, f64)> {
        let mut values: Vec<(String, f64)> = Vec::new();
        for (source, evidence) in &self.sources {
            let Some(value) = question.answer(source) else {
                continue;
            };
            let chance = self.chance(question, source, evidence);
            match values.iter_mut().find(|(other, _)| *other == value) {
                // Two that agree are no better than the better one: they are not independent.
                Some((_, best)) => *best = best.max(chance),
                None => values.push((value, chance)),
            }
        }
        values.sort_by(|one, other| other.1.total_cmp(&one.1));
        values.truncate(VALUES_TRIED);
        values
    }

    fn chance(&self, question: &Question, source: &Source, evidence: &Evidence) -> f64 {
        let overall = evidence.overall.estimate(self.prior(question, source));
        match evidence.after.get(question.view.last_tool()) {
            Some(record) => record.estimate(overall),
            None => overall,
        }
    }

    fn prior(&self, question: &Question, source: &Source) -> f64 {
        self.kinds[question.kind(source) as usize].estimate(UNKNOWN)
    }

    /// Takes note of the value that an argument had; None is one that no source gives.
    fn learn(&mut self, question: &Question, value: Option<&str>) {
        let after = question.view.last_tool();
        let before = question.view.last_key();
        for (source, evidence) in &mut self.sources {
            let Some(answer) = question.answer(source) else {
                continue;
            };
            let hit = value == Some(answer.as_str());
            // A constant that is right after the very call that it was right after before is
            // part of a task that came again, and says nothing of other tasks.
            let is_constant = matches!(source, Source::Constant(_));
            if hit && is_constant && evidence.right_after == before {
                continue;
            }
            if hit {
                evidence.right_after = before;
            }
            self.kinds[question.kind(source) as usize].note(hit);
            evidence.overall.note(hit);
            if evidence.after.len() < AFTER_MAX || evidence.after.contains_key(after) {
                evidence
                    .after
                    .entry(after.to_owned())
                    .or_default()
                    .note(hit);
            }
        }
        let Some(value) = value else {
            return;
        };
        // That a source explains the value it was found with says nothing: it begins without
        // a record.
        let new = question.explain(value).into_iter();
        let new: Vec<Source> = new
            .filter(|source| !self.sources.contains_key(source))
            .take(NEW_SOURCES_MAX)
            .collect();
        for source in new {
            self.admit(question, source);
        }
    }

    /// Takes a source in; if there is no room, in place of the worst that is not better.
    fn admit(&mut self, question: &Question, source: Source) {
        if self.sources.len() >= SOURCES_MAX {
            let prior = self.prior(question, &source);
            let all = self.sources.iter();
            let chances = all.map(|(other, evidence)| {
                let prior = self.prior(question, other);
                (evidence.overall.estimate(prior), other)
            });
            let worst = chances.min_by(|one, other| one.0.total_cmp(&other.0));
            match worst.filter(|(chance, _)| *chance <= prior) {
                Some((_, other)) => self.sources.remove(&other.clone()),
                None => return,
            };
        }
        let evidence = Evidence {
            right_after: question.view.last_key(),
            ..Evidence::default()
        };
        self.sources.insert(source, evidence);
    }

    fn is_valid(&self) -> bool {
        let records = self.sources.values().flat_map(|evidence| {
            let after = evidence.after.values();
            after.chain([&evidence.overall])
        });
        self.sources.len() <= SOURCES_MAX
            && self.sources.iter().all(|(source, evidence)| {
                evidence.after.len() <= AFTER_MAX
                    && !matches!(source, Source::Constant(text) if text.len() > VALUE_BYTES_MAX)
            })
            && records.chain(&self.kinds).all(|record| record.is_valid())
    }
}

impl Forms {
    fn count(&mut self, paths: Vec<String>) {
        if self.counts.len() < FORMS_MAX || self.counts.contains_key(&paths) {
            *self.counts.entry(paths).or_default() += 1;
        }
        if self.counts.values().sum::<u32>() >= CALLS_MAX {
            self.counts.values_mut().for_each(|count| *count /= 2);
            self.counts.retain(|_, count| *count > 0);
        }
    }
}

impl Used for Sources {
    fn used(&self) -> u64 {
        self.used
    }
}

impl Used for Forms {
    fn used(&self) -> u64 {
        self.used
    }
}
