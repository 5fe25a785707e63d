//! Where the value of an argument comes from: the hypotheses.

use crate::run::{Origin, Slot, Values, View};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Elements of the newest observation that are told apart by their number; those after them
/// are found as "the next" or "the last" only. Stops a list from becoming as many hypotheses.
const ELEMENTS_MAX: u8 = 4;

/// Where a value comes from. Of equally good ones the earlier variant counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Source {
    /// One of the values that came up in the run.
    Picked { pick: Pick, origin: Origin },
    /// The last value of the same argument, and so much more: pages, offsets.
    Step(i64),
    /// Always the same, as JSON text.
    Constant(String),
}

/// Which of the values of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Pick {
    /// The first that the argument has not had in this run: lists are gone through.
    Next,
    /// The newest that the argument has not had in this run.
    Recent,
    /// The newest.
    Last,
    /// The one with this number among those that came with the newest.
    Element(u8),
    /// The oldest.
    First,
}

/// Sources of a kind have much in common: a constant that once was one more often stays one
/// where others did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    SameArgument,
    OtherArgument,
    Observed,
    Token,
    Task,
    Step,
    Constant,
}

impl Kind {
    /// How many there are.
    pub(crate) const COUNT: usize = 7;
}

/// An argument that is to be filled in, in a run.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) view: View<'a>,
    pub(crate) slot: &'a Slot,
    used: BTreeSet<&'a str>,
}

impl<'a> Question<'a> {
    pub(crate) fn new(view: View<'a>, slot: &'a Slot) -> Question<'a> {
        Question {
            view,
            slot,
            used: view.used(slot),
        }
    }

    /// The sources that would have given this value.
    pub(crate) fn explain(&self, value: &str) -> Vec<Source> {
        let mut found = Vec::new();
        for (origin, values) in self.view.origins() {
            if !values.iter().any(|(_, text)| text == value) {
                continue;
            }
            let elements = (0..ELEMENTS_MAX).map(Pick::Element);
            let picks = [Pick::Next, Pick::Recent, Pick::Last, Pick::First].into_iter();
            let right = picks
                .chain(elements)
                .filter(|pick| self.pick(*pick, values) == Some(value));
            found.extend(right.map(|pick| Source::Picked {
                pick,
                origin: origin.clone(),
            }));
        }
        let number = value.parse::<i64>().ok();
        if let (Some(number), Some(last)) = (number, self.last_number()) {
            found.extend(number.checked_sub(last).map(Source::Step));
        }
        found.push(Source::Constant(value.to_owned()));
        found
    }

    /// The value that a source gives, if it gives one.
    pub(crate) fn answer(&self, source: &Source) -> Option<String> {
        match source {
            Source::Picked { pick, origin } => self
                .pick(*pick, self.view.values(origin)?)
                .map(str::to_owned),
            Source::Step(by) => Some(self.last_number()?.checked_add(*by)?.to_string()),
            Source::Constant(text) => Some(text.clone()),
        }
    }

    /// What kind of source that is for this argument.
    pub(crate) fn kind(&self, source: &Source) -> Kind {
        match source {
            Source::Picked { origin, .. } => match origin {
                Origin::Argument(slot) if slot == self.slot => Kind::SameArgument,
                Origin::Argument(_) => Kind::OtherArgument,
                Origin::Observed(_) => Kind::Observed,
                Origin::Token { .. } => Kind::Token,
                Origin::Task { .. } => Kind::Task,
            },
            Source::Step(_) => Kind::Step,
            Source::Constant(_) => Kind::Constant,
        }
    }

    fn pick<'v>(&self, pick: Pick, values: Values<'v>) -> Option<&'v str> {
        let text = |value: &'v (usize, String)| value.1.as_str();
        let is_new = |text: &&str| !self.used.contains(text);
        let (step, _) = values.last()?;
        match pick {
            Pick::Next => values.iter().map(text).find(is_new),
            Pick::Recent => values.iter().rev().map(text).find(is_new),
            Pick::Last => values.last().map(text),
            Pick::Element(number) => {
                let newest = &values[values.partition_point(|(other, _)| other < step)..];
                newest.get(usize::from(number)).map(text)
            }
            Pick::First => values.first().map(text),
        }
    }

    fn last_number(&self) -> Option<i64> {
        let values = self.view.values(&Origin::Argument(self.slot.clone()))?;
        values.last()?.1.parse().ok()
    }
}
