//! What the user says while a plan goes on: it becomes part of the prefix, from the next
//! undecided step on.
//!
//! Actions that ran do not run again for it: a sandbox sees no prefix. Only what agents are
//! asked on is hashed anew.

use super::InterruptError;
use super::actor::Actor;
use forerun_planner::{Interrupt, Rehashed};
use forerun_types::{Entry, EventKind, NodeId, PrefixId, StepIndex};
use std::collections::BTreeMap;

/// Most bytes of a suggestion: it is part of every prompt from then on.
const SUGGESTION_BYTES_MAX: usize = 64 << 10;

/// The prefixes that a suggestion changes.
#[derive(Default)]
struct Changed {
    /// Below the last verified step.
    head: Option<PrefixId>,
    /// On which a node was given.
    of: BTreeMap<NodeId, PrefixId>,
    /// Below a node that has a result.
    below: BTreeMap<NodeId, PrefixId>,
}

impl Actor {
    pub(super) fn suggest(&mut self, text: &str) -> Result<(), InterruptError> {
        check_suggestion(text)?;
        // With nothing undecided, the planner refuses it.
        let undecided = self.planner.admission().undecided;
        let step = undecided.unwrap_or(StepIndex(self.verified()));
        let changed = self.changed_by(step, text);
        let now = self.now();
        let interrupt = Interrupt::Suggest {
            step,
            prefixes: Rehashed {
                head: changed.head,
                below: changed
                    .below
                    .iter()
                    .map(|(id, below)| (*id, *below))
                    .collect(),
            },
        };
        let effects = self.planner.interrupt(now, interrupt)?;
        self.prefixes.suggest(step, text);
        if let Some(head) = changed.head {
            self.head_prefix = head;
        }
        for (id, node) in self.tree.nodes_mut() {
            if let Some(prefix) = changed.of.get(&id) {
                node.prefix = *prefix;
            }
            if let (Some(below), Some(result)) = (changed.below.get(&id), node.result.as_mut()) {
                result.next = *below;
            }
        }
        let text = text.to_owned();
        self.event(EventKind::Suggested { step, text });
        self.perform(effects);
        Ok(())
    }

    /// What the prefixes become when `text` joins before `step`.
    fn changed_by(&mut self, step: StepIndex, text: &str) -> Changed {
        let suggestion = || Entry::Suggestion {
            text: text.to_owned(),
        };
        let mut changed = Changed::default();
        if step.0 == self.verified() {
            let head = self.prefixes.extend(self.head_prefix, suggestion());
            changed.head = Some(head);
        }
        for (id, node) in self.tree.nodes_mut() {
            if node.step < step {
                if let Some(result) = node.result.as_ref().filter(|_| node.step.next() == step) {
                    let below = self.prefixes.extend(result.next, suggestion());
                    changed.below.insert(id, below);
                }
                continue;
            }
            let above = node.parent.and_then(|parent| changed.below.get(&parent));
            let prefix = match above.copied().or(changed.head) {
                Some(prefix) if above.is_some() || node.step == step => prefix,
                _ => continue,
            };
            changed.of.insert(id, prefix);
            if let Some(result) = &node.result {
                let entry = Entry::Step {
                    action: node.action.clone(),
                    observation: result.observation.clone(),
                };
                let below = self.prefixes.below(prefix, node.step, entry);
                changed.below.insert(id, below);
            }
        }
        changed
    }

    /// How many steps are verified.
    pub(super) fn verified(&self) -> u32 {
        self.planner.verified()
    }
}

/// Whether a suggestion can be part of a prompt.
pub(super) fn check_suggestion(text: &str) -> Result<(), InterruptError> {
    if text.trim().is_empty() {
        return Err(InterruptError::InvalidSuggestion("it is empty".to_owned()));
    }
    if text.len() > SUGGESTION_BYTES_MAX {
        return Err(InterruptError::InvalidSuggestion(format!(
            "it has {} bytes; at most {SUGGESTION_BYTES_MAX}",
            text.len()
        )));
    }
    Ok(())
}
