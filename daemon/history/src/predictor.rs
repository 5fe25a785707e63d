//! The predictor: what it proposes, and what that proved to be worth.
//!
//! ```text
//!   Run that goes on ──► predict ──► candidates, each with what is proven of ones like it
//!                          ▲
//!   Run that ended ──► learn: 1. what would have been predicted at each step, and was it right?
//!                             2. what followed this very call   3. which tool followed
//!                             4. where its arguments came from
//! ```

use crate::arguments::Arguments;
use crate::calls::Calls;
use crate::pairs::{self, Used};
use crate::record::Record;
use crate::run::{Run, View};
use crate::sequence::Sequence;
use forerun_types::{ASK_USER, Action};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most candidates of one step; stops a caller from having everything tried.
pub const CANDIDATES_MAX: usize = 8;
/// Candidates of each step whose outcome is learned: as many as a preset executes.
const CANDIDATES_JUDGED: usize = 3;
/// Most tools whose candidates have a record; the least recently used go. Stops an agent that
/// invents tools from filling the memory.
pub(crate) const TOOLS_MAX: usize = 128;
/// Tools that are tried at one step, the most probable ones; stops a predictor that knows many
/// from trying all of them, for nothing.
const TOOLS_TRIED: usize = 5;
/// Grades of what is thought of a candidate. Ones of a tool and a grade have a record of how
/// many of them were right.
const GRADES: usize = 10;

/// Predicts the next call of an agent from the calls of runs that ended.
///
/// It learns at the end of a run, and what it predicts is a function of what it learned and
/// of the run so far: the same history gives the same candidates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predictor {
    /// Runs that were learned.
    runs: u64,
    calls: Calls,
    sequence: Sequence,
    arguments: Arguments,
    #[serde(with = "pairs")]
    grades: BTreeMap<String, Grades>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grades {
    records: [Record; GRADES],
    used: u64,
}

/// A call that may come next.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The call: a tool and all of its arguments.
    pub action: Action,
    /// A lower bound (95 %) of the rate at which candidates like this one were right, in runs
    /// that were predicted before they were learned. 0 if none ever was.
    pub confidence: f64,
}

/// A candidate, and what is thought of it.
struct Thought {
    action: Action,
    grade: usize,
}

impl Predictor {
    /// The calls that may come next, the most probable first; at most `most`, and at most
    /// [`CANDIDATES_MAX`]. They are in the order of what is thought of them, and their
    /// confidence is what is proven: that is not the same order.
    pub fn predict(&self, run: &Run, most: usize) -> Vec<Candidate> {
        if run.is_overlong() {
            return Vec::new();
        }
        let thoughts = self.think(run.before(run.len()), most.min(CANDIDATES_MAX));
        let candidates = thoughts.into_iter().map(|thought| Candidate {
            confidence: self.proven(&thought),
            action: thought.action,
        });
        candidates.collect()
    }

    /// The tools that may come next with their probabilities, most probable first. What is
    /// missing to 1 is the probability that the run ends.
    pub fn tools(&self, run: &Run) -> Vec<(String, f64)> {
        self.sequence.next(&run.before(run.len()))
    }

    /// The calls of one tool that may come next with their probabilities if it does, the most
    /// probable first; at most `most`, and at most [`CANDIDATES_MAX`]. For a caller that knows
    /// the tool before its arguments, as one does that reads an agent's answer as it comes.
    pub fn calls_of(&self, run: &Run, tool: &str, most: usize) -> Vec<(Action, f64)> {
        if run.is_overlong() {
            return Vec::new();
        }
        let view = run.before(run.len());
        self.arguments.propose(view, tool, most.min(CANDIDATES_MAX))
    }

    /// Learns from a run that has ended. Only what was decided belongs into it: what an agent
    /// does below a wrong prefix is not what it does.
    pub fn learn(&mut self, run: &Run) {
        if run.is_overlong() {
            return;
        }
        self.runs = self.runs.saturating_add(1);
        let judged = self.judge(run);
        self.calls.learn(run, self.runs);
        self.sequence.learn(run, self.runs);
        for (step, made) in run.made().iter().enumerate() {
            self.arguments.learn(run.before(step), made, self.runs);
        }
        self.arguments.forget();
        for (thought, hit) in judged {
            let grades = self.grades.entry(thought.action.tool).or_default();
            grades.records[thought.grade].note(hit);
            grades.used = self.runs;
        }
        pairs::forget(&mut self.grades, TOOLS_MAX);
    }

    /// What would have been predicted at each step, by what was learned before this run, and
    /// whether it was right. At the end of the run everything is wrong.
    fn judge(&self, run: &Run) -> Vec<(Thought, bool)> {
        let steps = 0..=run.len();
        let judged = steps.flat_map(|step| {
            let made = run.made().get(step);
            let thoughts = self.think(run.before(step), CANDIDATES_JUDGED).into_iter();
            thoughts.map(move |thought| {
                let hit = made.is_some_and(|made| made.key == thought.action.key());
                (thought, hit)
            })
        });
        judged.collect()
    }

    fn think(&self, view: View, most: usize) -> Vec<Thought> {
        let (mut found, left) = self.calls.next(&view);
        found.retain(|(action, _)| action.tool != ASK_USER);
        let tools = self.sequence.next(&view).into_iter();
        let tools = tools.filter(|(tool, _)| tool != ASK_USER);
        for (tool, chance) in tools.take(TOOLS_TRIED) {
            let chance = left * chance;
            // Tools come with falling probability: what follows can not be better.
            if found.iter().filter(|(_, other)| *other >= chance).count() >= most {
                break;
            }
            for (action, share) in self.arguments.propose(view, &tool, most) {
                match found.iter_mut().find(|(other, _)| *other == action) {
                    Some((_, known)) => *known += chance * share,
                    None => found.push((action, chance * share)),
                }
            }
        }
        found.sort_by(|one, other| other.1.total_cmp(&one.1));
        found.truncate(most);
        let thoughts = found.into_iter().map(|(action, chance)| Thought {
            action,
            grade: ((chance * GRADES as f64) as usize).min(GRADES - 1),
        });
        thoughts.collect()
    }

    fn proven(&self, thought: &Thought) -> f64 {
        match self.grades.get(&thought.action.tool) {
            Some(grades) => grades.records[thought.grade].lower_bound(),
            None => 0.0,
        }
    }

    /// Whether it can have come about by learning.
    pub(crate) fn is_valid(&self) -> bool {
        let grades = self.grades.values().flat_map(|grades| &grades.records);
        self.grades.len() <= TOOLS_MAX
            && self.grades.values().all(|grades| grades.used <= self.runs)
            && grades.copied().all(Record::is_valid)
            && self.calls.is_valid(self.runs)
            && self.sequence.is_valid(self.runs)
            && self.arguments.is_valid(self.runs)
    }
}

impl Used for Grades {
    fn used(&self) -> u64 {
        self.used
    }
}
