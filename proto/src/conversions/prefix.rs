//! Prefixes: whole, or as what one adds to another; and what a user saw of them.

use super::{ConversionError, text};
use crate::v1;
use crate::v1::prefix_entry::Entry as Wire;
use forerun_types::{Action, Entry, NodeId, Observation, PrefixId};

/// What a list of wire entries says: a whole prefix if it has a task, else an addition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Task and instructions; only at the start of a whole prefix.
    pub head: Option<(String, String)>,
    /// The entries, in order.
    pub entries: Vec<Entry>,
}

/// A whole prefix.
pub fn prefix_to_wire(task: &str, instructions: &str, entries: &[Entry]) -> Vec<v1::PrefixEntry> {
    [
        Wire::Task(task.to_owned()),
        Wire::Instructions(instructions.to_owned()),
    ]
    .into_iter()
    .map(wire)
    .chain(entries_to_wire(entries))
    .collect()
}

/// What a prefix adds to a shorter one.
pub fn entries_to_wire(entries: &[Entry]) -> Vec<v1::PrefixEntry> {
    let mut wires = Vec::with_capacity(2 * entries.len());
    for entry in entries {
        match entry {
            Entry::Step {
                action,
                observation,
            } => {
                wires.push(wire(Wire::Action(action.clone().into())));
                wires.push(wire(Wire::Observation(observation.clone().into())));
            }
            Entry::Suggestion { text } => wires.push(wire(Wire::Suggestion(text.clone()))),
        }
    }
    wires
}

fn wire(entry: Wire) -> v1::PrefixEntry {
    v1::PrefixEntry { entry: Some(entry) }
}

impl TryFrom<Vec<v1::PrefixEntry>> for Appended {
    type Error = ConversionError;
    fn try_from(wires: Vec<v1::PrefixEntry>) -> Result<Appended, ConversionError> {
        let mut appended = Appended::default();
        let mut wires = wires
            .into_iter()
            .enumerate()
            .map(|(index, wire)| (index, wire.entry));
        while let Some((index, entry)) = wires.next() {
            let problem = |what: &str| ConversionError::new(&format!("[{index}]"), what);
            match entry {
                Some(Wire::Task(task)) if index == 0 => match wires.next() {
                    Some((_, Some(Wire::Instructions(instructions)))) => {
                        appended.head = Some((task, instructions));
                    }
                    _ => return Err(problem("a task without its instructions")),
                },
                Some(Wire::Action(action)) => {
                    let action = Action::try_from(action)
                        .map_err(|error| error.inside(&format!("[{index}].action")))?;
                    let Some((_, Some(Wire::Observation(observation)))) = wires.next() else {
                        return Err(problem("an action without its observation"));
                    };
                    let observation = Observation::try_from(observation)
                        .map_err(|error| error.inside(&format!("[{}].observation", index + 1)))?;
                    appended.entries.push(Entry::Step {
                        action,
                        observation,
                    });
                }
                Some(Wire::Suggestion(text)) => appended.entries.push(Entry::Suggestion { text }),
                Some(Wire::Task(_)) => return Err(problem("a task that is not at the start")),
                Some(Wire::Instructions(_)) => {
                    return Err(problem("instructions that do not follow a task"));
                }
                Some(Wire::Observation(_)) => {
                    return Err(problem("an observation that does not follow an action"));
                }
                None => return Err(ConversionError::not_set(&format!("[{index}].entry"))),
            }
        }
        Ok(appended)
    }
}

/// What a user saw when they interrupted; the interrupt is refused if it changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// Whatever it is by now.
    #[default]
    Any,
    /// The prefix of the step that was waited for.
    Prefix(PrefixId),
    /// The node that was shown.
    Node(NodeId),
}

impl From<Seen> for Option<v1::Seen> {
    fn from(seen: Seen) -> Option<v1::Seen> {
        let seen = match seen {
            Seen::Any => return None,
            Seen::Prefix(prefix) => v1::seen::Seen::Prefix(prefix.to_string()),
            Seen::Node(node) => v1::seen::Seen::Node(node.to_string()),
        };
        Some(v1::Seen { seen: Some(seen) })
    }
}

/// What a user saw, from the wire.
///
/// # Errors
/// If it is no prefix and no node.
pub fn seen_from_wire(seen: Option<v1::Seen>) -> Result<Seen, ConversionError> {
    match seen.and_then(|seen| seen.seen) {
        None => Ok(Seen::Any),
        Some(v1::seen::Seen::Prefix(prefix)) => text("seen.prefix", &prefix).map(Seen::Prefix),
        Some(v1::seen::Seen::Node(node)) => text("seen.node", &node).map(Seen::Node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerun_types::{Digest, ObservationStatus};

    fn entries() -> Vec<Entry> {
        vec![
            Entry::Step {
                action: Action::parse("read_file", r#"{"path":"a"}"#).expect("valid"),
                observation: Observation::new(ObservationStatus::Success, "text"),
            },
            Entry::Suggestion {
                text: "be brief".to_owned(),
            },
        ]
    }

    #[test]
    fn a_prefix_comes_back_unchanged_whole_or_as_an_addition() {
        let entries = entries();
        let whole = Appended::try_from(prefix_to_wire("task", "how", &entries)).expect("valid");
        assert_eq!(whole.head, Some(("task".to_owned(), "how".to_owned())));
        assert_eq!(whole.entries, entries);
        let added = Appended::try_from(entries_to_wire(&entries)).expect("valid");
        assert_eq!(added.head, None);
        assert_eq!(added.entries, entries);
    }

    #[test]
    fn entries_out_of_order_are_refused_with_their_index() {
        let whole = prefix_to_wire("task", "how", &entries());
        let refused = |wires: Vec<v1::PrefixEntry>| {
            Appended::try_from(wires)
                .expect_err("out of order")
                .inside("append")
                .to_string()
        };
        assert_eq!(
            refused(whole[..1].to_vec()),
            "append[0]: a task without its instructions"
        );
        assert_eq!(
            refused(whole[1..].to_vec()),
            "append[0]: instructions that do not follow a task"
        );
        assert_eq!(
            refused(whole[..3].to_vec()),
            "append[2]: an action without its observation"
        );
        assert_eq!(
            refused(whole[3..].to_vec()),
            "append[0]: an observation that does not follow an action"
        );
        assert_eq!(
            refused([&whole[2..4], &whole[..2]].concat()),
            "append[2]: a task that is not at the start"
        );
        assert_eq!(
            refused(vec![v1::PrefixEntry::default()]),
            "append[0].entry: is not set"
        );
    }

    #[test]
    fn what_was_seen_comes_back_unchanged() {
        for seen in [
            Seen::Any,
            Seen::Prefix(PrefixId(Digest::of("p"))),
            Seen::Node(NodeId(4)),
        ] {
            assert_eq!(seen_from_wire(seen.into()), Ok(seen));
        }
        let wrong = v1::Seen {
            seen: Some(v1::seen::Seen::Node("call_4".to_owned())),
        };
        assert_eq!(
            seen_from_wire(Some(wrong)).expect_err("no node").path(),
            "seen.node"
        );
    }
}
