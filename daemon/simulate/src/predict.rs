//! How often history alone would have known the next call: recorded runs are predicted from
//! other recorded runs, beside two ways that need no predictor.

use crate::chance::{Chance, Purpose};
use crate::table::{Cell, Table};
use crate::trace::{Episode, Step};
use forerun_history::{Predictor, Run};
use forerun_types::{Action, CanonicalJson};
use std::collections::{BTreeMap, BTreeSet};

/// How many guesses count as being among the first.
const FIRST: usize = 3;
/// Confidences from which on candidates are counted.
const CONFIDENCES: [f64; 6] = [0.0, 0.05, 0.1, 0.2, 0.3, 0.5];

/// Which runs are learned before one is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Those of all other tasks.
    Tasks,
    /// Tasks are dealt into so many parts; those of the other parts.
    Folds {
        /// How many parts.
        parts: usize,
        /// How tasks are dealt.
        seed: u64,
    },
    /// Those before it, of whatever task: as a daemon learns that is given task after task.
    Order,
}

/// Hits of one way to predict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// Calls that were to be predicted.
    pub calls: u64,
    /// Calls whose tool was the first guess.
    pub tool_first: u64,
    /// Calls whose tool was among the first three.
    pub tool_any: u64,
    /// Calls that were the first guess, arguments included.
    pub call_first: u64,
    /// Calls that were among the first three.
    pub call_any: u64,
}

/// What came of predicting the runs of one trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The predictor.
    pub history: Hits,
    /// The tool that most often followed the one before, with the arguments it last had.
    pub bigram: Hits,
    /// The predictor, where the tool that is called is given.
    pub derived: Hits,
    /// The last arguments of the tool that is called, where it is given.
    pub repeated: Hits,
    /// The predictor's candidates: their confidence, and whether they were right. At the end
    /// of a run they were not.
    pub candidates: Vec<(f64, bool)>,
}

/// Each trace of `episodes`, predicted.
pub fn tables(episodes: &[Episode], split: Split) -> [Table; 2] {
    let mut hits = Table::new(
        "Recorded runs, predicted from others",
        &[
            "trace",
            "predictor",
            "calls",
            "tool_first",
            "tool_any",
            "call_first",
            "call_any",
        ],
    );
    let mut confidence = Table::new(
        "Candidates of history by confidence",
        &["trace", "confidence", "candidates", "right"],
    );
    let mut names: Vec<&str> = Vec::new();
    for episode in episodes {
        if !names.contains(&episode.trace.as_str()) {
            names.push(&episode.trace);
        }
    }
    for name in names {
        let of = episodes.iter().filter(|episode| episode.trace == name);
        let outcome = Outcome::of(&of.collect::<Vec<_>>(), split);
        let ways = [
            ("history", false, outcome.history),
            ("bigram, last arguments", false, outcome.bigram),
            ("history, tool given", true, outcome.derived),
            ("last arguments, tool given", true, outcome.repeated),
        ];
        for (way, is_given, found) in ways {
            let tool = |hits| share(hits, if is_given { 0 } else { found.calls });
            let share = |hits| share(hits, found.calls);
            hits.rows.push(vec![
                name.into(),
                way.into(),
                Cell::Count(found.calls),
                tool(found.tool_first),
                tool(found.tool_any),
                share(found.call_first),
                share(found.call_any),
            ]);
        }
        for least in CONFIDENCES {
            let of = outcome.candidates.iter().filter(|one| one.0 >= least);
            let right = of.clone().filter(|one| one.1).count() as u64;
            let count = of.count() as u64;
            confidence.rows.push(vec![
                name.into(),
                Cell::Number(least, 2),
                Cell::Count(count),
                share(right, count),
            ]);
        }
    }
    [hits, confidence]
}

fn share(hits: u64, of: u64) -> Cell {
    match of {
        0 => Cell::None,
        of => Cell::Number(hits as f64 / of as f64, 3),
    }
}

impl Outcome {
    /// Of predicting these runs.
    pub fn of(episodes: &[&Episode], split: Split) -> Outcome {
        let mut outcome = Outcome::default();
        match split {
            Split::Order => {
                let mut learned = Learned::default();
                for episode in episodes {
                    outcome.add(&learned, episode);
                    learned.add(episode);
                }
            }
            Split::Tasks => outcome.split(episodes, usize::MAX, 0),
            Split::Folds { parts, seed } => outcome.split(episodes, parts, seed),
        }
        outcome
    }

    /// Every part of the tasks is predicted from all other parts.
    fn split(&mut self, episodes: &[&Episode], parts: usize, seed: u64) {
        let tasks: BTreeSet<&str> = episodes.iter().map(|one| one.task.as_str()).collect();
        let tasks: Vec<&str> = tasks.into_iter().collect();
        let count = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        let dealt = Chance::of(seed, Purpose::Fold).choose(tasks.len(), count);
        let parts = parts.clamp(1, tasks.len().max(1));
        for part in 0..parts {
            let here = dealt.iter().skip(part).step_by(parts);
            let here: BTreeSet<&str> = here.map(|task| tasks[*task as usize]).collect();
            let is_here = |episode: &&&Episode| here.contains(episode.task.as_str());
            let mut learned = Learned::default();
            let others = episodes.iter().filter(|episode| !is_here(episode));
            others.for_each(|episode| learned.add(episode));
            for episode in episodes.iter().filter(is_here) {
                self.add(&learned, episode);
            }
        }
    }

    /// Predicts one run.
    fn add(&mut self, learned: &Learned, episode: &Episode) {
        let mut run = Run::default();
        let mut last = learned.last.clone();
        for (number, step) in episode.steps.iter().enumerate() {
            let target = &step.target;
            let candidates = learned.predictor.predict(&run, FIRST);
            let tools = learned.predictor.tools(&run);
            let judged = candidates
                .iter()
                .map(|one| (one.confidence, one.action == *target));
            self.candidates.extend(judged);
            self.history.count(
                target,
                tools.iter().map(|(tool, _)| tool.as_str()),
                candidates.iter().map(|one| &one.action),
            );

            let before = number.checked_sub(1).map(|before| &episode.steps[before]);
            let tools = learned.following(before);
            let repeated = |tool: &&str| {
                let arguments = last.get(*tool)?.clone();
                let tool = (*tool).to_owned();
                Some(Action { tool, arguments })
            };
            let calls: Vec<Action> = tools.iter().filter_map(repeated).collect();
            self.bigram
                .count(target, tools.iter().copied(), calls.iter());
            let given = [target.tool.as_str()];
            let derived = learned.predictor.calls_of(&run, given[0], FIRST);
            let calls = derived.iter().map(|(action, _)| action);
            self.derived.count(target, given.into_iter(), calls);
            let call = repeated(&given[0]);
            self.repeated.count(target, given.into_iter(), call.iter());

            run.push(target, None);
            last.insert(target.tool.clone(), target.arguments.clone());
        }
        let end = learned.predictor.predict(&run, FIRST).into_iter();
        self.candidates
            .extend(end.map(|one| (one.confidence, false)));
    }
}

impl Hits {
    fn count<'a>(
        &mut self,
        target: &Action,
        tools: impl Iterator<Item = &'a str>,
        calls: impl Iterator<Item = &'a Action>,
    ) {
        self.calls += 1;
        let tool = tools.take(FIRST).position(|tool| tool == target.tool);
        self.tool_first += u64::from(tool == Some(0));
        self.tool_any += u64::from(tool.is_some());
        let call = calls.take(FIRST).position(|call| call == target);
        self.call_first += u64::from(call == Some(0));
        self.call_any += u64::from(call.is_some());
    }
}

/// What was learned, by the predictor and for what it is compared with.
#[derive(Default)]
struct Learned {
    predictor: Predictor,
    /// How often which tool followed which, and how often it was called at all.
    pairs: BTreeMap<Option<String>, BTreeMap<String, u64>>,
    all: BTreeMap<String, u64>,
    /// The last arguments of each tool.
    last: BTreeMap<String, CanonicalJson>,
}

impl Learned {
    fn add(&mut self, episode: &Episode) {
        let mut run = Run::default();
        let mut before = None;
        for Step { target, .. } in &episode.steps {
            let tool = &target.tool;
            let followers = self.pairs.entry(before.take()).or_default();
            *followers.entry(tool.clone()).or_default() += 1;
            *self.all.entry(tool.clone()).or_default() += 1;
            self.last.insert(tool.clone(), target.arguments.clone());
            before = Some(tool.clone());
            run.push(target, None);
        }
        self.predictor.learn(&run);
    }

    /// The tools that followed this one, the most frequent first; after them, all others.
    fn following(&self, before: Option<&Step>) -> Vec<&str> {
        let before = before.map(|step| step.target.tool.clone());
        let followers = self.pairs.get(&before);
        let count = |tool: &String| followers.and_then(|all| all.get(tool)).copied();
        let mut tools: Vec<(&String, &u64)> = self.all.iter().collect();
        tools.sort_by_key(|(tool, all)| std::cmp::Reverse((count(tool).unwrap_or(0), **all)));
        tools.into_iter().map(|(tool, _)| tool.as_str()).collect()
    }
}
