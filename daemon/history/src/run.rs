//! A run as the predictor sees it: the calls, and an index of every value that came up, where
//! and when. A [`View`] is the run as it was before one of its steps, so that one and the same
//! structure serves a session that goes on and one that has ended.

use crate::calls::ARGUMENT_BYTES_MAX;
use crate::values::{self, Argument, Shape};
use forerun_types::{Action, ActionKey, Observation};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most steps of a run; past it nothing is predicted and nothing learned. Stops a session
/// without end from growing without end.
pub(crate) const STEPS_MAX: usize = 512;
/// Most values of one origin; stops "the next one" from being searched for in endless lists.
const VALUES_PER_ORIGIN_MAX: usize = 128;
/// Most values that observations add to one run; stops them from filling the memory.
const OBSERVED_MAX: usize = 16_384;

/// Where a value came up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Origin {
    /// An argument of a call: this slot of it.
    Argument(Slot),
    /// In an observation of JSON: the tool that returned it, and the path in it.
    Observed(Slot),
    /// A token of an observation, with the tool that returned it.
    Token { tool: String, shape: Shape },
    /// A token of the task.
    Task { shape: Shape },
}

/// A place that a tool has: an argument of its calls, or a member of its observations.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slot {
    pub(crate) tool: String,
    pub(crate) path: String,
}

/// A tool, and how the call ended. The sequence of these is what the next tool follows from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Symbol {
    pub(crate) tool: String,
    pub(crate) failed: bool,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) symbol: Symbol,
    pub(crate) key: ActionKey,
    /// The arguments as they were given, unless they are too long to be remembered.
    pub(crate) text: Option<String>,
    /// None if there are too many of them.
    pub(crate) arguments: Option<Vec<Argument>>,
}

/// A task and the calls that were made for it, in order, with what they returned. What is
/// predicted follows from one that goes on; what is learned, from one that has ended.
#[derive(Clone, Debug, Default)]
pub struct Run {
    made: Vec<Made>,
    /// The values of each origin, with the number of calls made before they were known.
    values: BTreeMap<Origin, Vec<(usize, String)>>,
    observed: usize,
    is_overlong: bool,
}

impl Run {
    /// A run that begins with this task.
    pub fn new(task: &str) -> Run {
        let mut run = Run::default();
        for (shape, text) in values::tokens(task) {
            run.add(Origin::Task { shape }, text);
        }
        run
    }

    /// One more call. Where the observation is not known, nothing is derived from it.
    pub fn push(&mut self, action: &Action, observation: Option<&Observation>) {
        if self.made.len() >= STEPS_MAX {
            self.is_overlong = true;
            return;
        }
        let tool = &action.tool;
        let arguments = values::arguments(&action.arguments);
        self.made.push(Made {
            symbol: Symbol {
                tool: tool.clone(),
                failed: observation.is_some_and(Observation::is_error),
            },
            key: action.key(),
            text: Some(action.arguments.as_str())
                .filter(|text| text.len() <= ARGUMENT_BYTES_MAX)
                .map(str::to_owned),
            arguments: arguments.clone(),
        });
        for (path, text) in arguments.into_iter().flatten() {
            if let Some(text) = text {
                self.add(Origin::Argument(Slot::new(tool, &path)), text);
            }
        }
        if let Some(observation) = observation {
            self.observe(tool, observation);
        }
    }

    /// How many calls were made, up to the most that are looked at.
    pub fn len(&self) -> usize {
        self.made.len()
    }

    /// Whether no call was made.
    pub fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Whether there were more steps than are looked at.
    pub(crate) fn is_overlong(&self) -> bool {
        self.is_overlong
    }

    pub(crate) fn made(&self) -> &[Made] {
        &self.made
    }

    /// The run as it was before its step with this number.
    pub(crate) fn before(&self, step: usize) -> View<'_> {
        View { run: self, step }
    }

    fn observe(&mut self, tool: &str, observation: &Observation) {
        let json = observation.structured.as_ref().unwrap_or(&observation.text);
        let leaves = values::leaves(json)
            .into_iter()
            .map(|(path, text)| (Origin::Observed(Slot::new(tool, &path)), text));
        let tokens = values::tokens(&observation.text)
            .into_iter()
            .map(|(shape, text)| {
                let tool = tool.to_owned();
                (Origin::Token { tool, shape }, text)
            });
        for (origin, text) in leaves.chain(tokens) {
            if self.observed < OBSERVED_MAX {
                self.observed += 1;
                self.add(origin, text);
            }
        }
    }

    fn add(&mut self, origin: Origin, text: String) {
        let step = self.made.len();
        let values = self.values.entry(origin).or_default();
        if values.len() < VALUES_PER_ORIGIN_MAX {
            values.push((step, text));
        }
    }
}

impl Slot {
    pub(crate) fn new(tool: &str, path: &str) -> Slot {
        Slot {
            tool: tool.to_owned(),
            path: path.to_owned(),
        }
    }
}

/// A run as it was before one of its steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    run: &'a Run,
    step: usize,
}

/// The values of one origin, in order; never empty.
pub(crate) type Values<'a> = &'a [(usize, String)];

impl<'a> View<'a> {
    /// The calls so far.
    pub(crate) fn made(&self) -> &'a [Made] {
        &self.run.made[..self.step]
    }

    /// The tool that was called last.
    pub(crate) fn last_tool(&self) -> &'a str {
        self.made().last().map_or("", |made| &made.symbol.tool)
    }

    /// The last call; None at the beginning.
    pub(crate) fn last_key(&self) -> Option<ActionKey> {
        self.made().last().map(|made| made.key)
    }

    /// What is known of an origin, if anything is.
    pub(crate) fn values(&self, origin: &Origin) -> Option<Values<'a>> {
        self.known(self.run.values.get(origin)?)
    }

    /// Everything that is known.
    pub(crate) fn origins(&self) -> impl Iterator<Item = (&'a Origin, Values<'a>)> {
        let view = *self;
        let all = self.run.values.iter();
        all.filter_map(move |(origin, values)| Some((origin, view.known(values)?)))
    }

    /// The values that calls so far had at an argument.
    pub(crate) fn used(&self, slot: &Slot) -> BTreeSet<&'a str> {
        let values = self.values(&Origin::Argument(slot.clone()));
        let texts = values.into_iter().flatten();
        texts.map(|(_, text)| text.as_str()).collect()
    }

    fn known(&self, values: &'a [(usize, String)]) -> Option<Values<'a>> {
        let end = values.partition_point(|(step, _)| *step <= self.step);
        Some(&values[..end]).filter(|values| !values.is_empty())
    }
}
