//! What the edge hashes and answers: prefixes below nodes, those that a suggestion changes, and
//! how far steps were undone.

use super::Monitor;
use crate::sim::{below, said, wording};
use forerun_planner::{Rehashed, Undone};
use forerun_types::{ActionKey, Digest, ExecutionId, Matcher, NodeId, PrefixId, StepIndex};
use std::collections::BTreeMap;

impl Monitor {
    /// The prefix below `parent`, or below the head.
    pub(crate) fn prefix_below(&self, parent: Option<NodeId>) -> PrefixId {
        match parent {
            Some(node) => self.next_of[&node],
            None => self.verified.last().map_or(self.root, |step| step.next),
        }
    }

    /// The prefixes that change when the user says `text` before the lowest undecided step.
    pub(crate) fn rehash(&self, text: &str) -> Rehashed {
        let step = self.lowest();
        let above = self.decided.values().next_back().map(|of| of.node);
        let mut rehashed = Rehashed::default();
        let mut now = BTreeMap::new();
        match above {
            None => {
                let prefix = said(&self.prefix_below(None), text);
                rehashed.head = Some(prefix);
            }
            Some(node) => {
                if let Some(next) = self.next_of.get(&node) {
                    now.insert(node, said(next, text));
                }
            }
        }
        for (node, (parent, at, action, observation)) in &self.hashed_from {
            if *at < step || self.squashed.contains(node) {
                continue;
            }
            let prefix = match parent.filter(|parent| !self.is_verified(*parent)) {
                None => rehashed.head.unwrap_or_else(|| self.prefix_below(None)),
                Some(parent) => now
                    .get(&parent)
                    .copied()
                    .unwrap_or_else(|| self.next_of[&parent]),
            };
            now.insert(*node, self.below(&prefix, *at, action, observation));
        }
        rehashed.below = now.into_iter().collect();
        rehashed
    }

    /// The prefix of a step that is verified or decided, or of the lowest undecided one;
    /// `None` while that is not known.
    pub(crate) fn known_prefix_of(&self, step: u32) -> Option<PrefixId> {
        if let Some(verified) = self.verified.get(step as usize) {
            return Some(verified.prefix);
        }
        let above = step.checked_sub(1).and_then(|step| self.decided.get(&step));
        match above {
            None => Some(self.prefix_below(None)),
            Some(above) => self.next_of.get(&above.node).copied(),
        }
    }

    /// What the edge answers after undoing the steps from `from` on, but for `stay` of them.
    pub(crate) fn undone_to(&self, from: u32, stay: u32) -> Undone {
        let verified = self.verified.len() as u32;
        let first = (from + stay).min(verified - 1);
        Undone {
            first: StepIndex(first),
            node: first
                .checked_sub(1)
                .map(|step| self.verified[step as usize].node),
            next: self.verified[first as usize].prefix,
            refused: (first > from).then(|| "what it replaced is not kept any more".to_owned()),
        }
    }

    /// The prefix below an execution that ends now.
    pub(crate) fn below_execution(
        &self,
        execution: ExecutionId,
        observation: &Digest,
    ) -> Option<PrefixId> {
        let (_, step) = self.executions.get(&execution)?;
        let (parent, action) = &self.launched_as[&execution];
        let parent = parent.filter(|parent| !self.is_verified(*parent));
        let prefix = self.prefix_below(parent);
        Some(self.below(&prefix, *step, action, observation))
    }

    fn below(
        &self,
        prefix: &PrefixId,
        step: u32,
        action: &ActionKey,
        observation: &Digest,
    ) -> PrefixId {
        let said_there = self.said.get(&(step + 1)).into_iter().flatten();
        // `effect` keeps the workspace, and not the words: with it agents look at what was done,
        // and not at how it was said, so that it can be seen that the workspace is kept.
        let done = match self.config.matcher {
            Matcher::Effect => wording::what(action),
            Matcher::Exact | Matcher::Fuzzy { .. } | Matcher::Judge { .. } => *action,
        };
        said_there.fold(below(prefix, &done, observation), |prefix, text| {
            said(&prefix, text)
        })
    }

    /// The user said something before the lowest undecided step.
    pub(crate) fn was_said(&mut self, text: &str) {
        let step = self.lowest();
        self.said.entry(step).or_default().push(text.to_owned());
    }

    /// The step that is asked on this prefix.
    pub(super) fn step_below(&self, prefix: PrefixId) -> Option<u32> {
        if prefix == self.prefix_below(None) {
            return Some(self.verified.len() as u32);
        }
        let mut below = self.next_of.iter().filter(|(_, next)| **next == prefix);
        below.find_map(|(node, _)| Some(self.hashed_from.get(node)?.1 + 1))
    }

    pub(super) fn set_prefix_below(&mut self, parent: Option<NodeId>, prefix: PrefixId) {
        match (parent, self.verified.last_mut()) {
            (Some(node), _) => drop(self.next_of.insert(node, prefix)),
            (None, Some(step)) => step.next = prefix,
            (None, None) => self.root = prefix,
        }
    }
}
