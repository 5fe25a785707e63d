//! The prefixes that an agent has seen, so that the daemon need only send what a new one
//! adds. They share their entries.
//!
//! **Invariant** A prefix is only ever used if its entries hash to its id: what an agent
//! is asked on is what the daemon decided on, or it is not asked.

use crate::agent::Prefix;
use forerun_proto::conversions::{Appended, ConversionError};
use forerun_proto::v1;
use forerun_types::{Digest, PrefixId};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Prefixes that are remembered; beyond it the oldest goes, and a call that builds on it
/// asks for the whole. Stops a long session from filling memory.
const PREFIXES_MAX: usize = 4_096;

/// The prefixes of one session.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    known: HashMap<PrefixId, Arc<Prefix>>,
    order: VecDeque<PrefixId>,
}

/// What a call's prefix turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resolved {
    /// This one.
    Prefix(Arc<Prefix>),
    /// It builds on one that is not known, or not what the daemon thinks it is.
    Rebase,
}

/// A prefix that can not be used even if it is sent again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PrefixError {
    #[error("the prefix is not valid: {0}")]
    Invalid(#[from] ConversionError),
    #[error("the prefix is not what its digest says")]
    Digest,
    #[error("the prefix is neither whole nor an addition")]
    Headless,
}

impl Prefixes {
    /// The prefix `id`, which is `append` on top of `base`, or `append` alone.
    pub(super) fn resolve(
        &mut self,
        id: PrefixId,
        base: Option<PrefixId>,
        append: Vec<v1::PrefixEntry>,
        tools: &Digest,
    ) -> Result<Resolved, PrefixError> {
        let appended = Appended::try_from(append).map_err(|error| error.inside("append"))?;
        let (root, mut prefix) = match (base, appended.head) {
            (None, Some((task, instructions))) => (
                PrefixId::root(&task, &instructions, tools),
                Prefix {
                    task: task.into(),
                    instructions: instructions.into(),
                    entries: Vec::new(),
                },
            ),
            (Some(base), None) => match self.known.get(&base) {
                Some(known) => (base, Prefix::clone(known)),
                None => return Ok(Resolved::Rebase),
            },
            _ => return Err(PrefixError::Headless),
        };
        let found = appended
            .entries
            .iter()
            .fold(root, |prefix, entry| prefix.extend(entry));
        if found != id {
            return if base.is_some() {
                Ok(Resolved::Rebase)
            } else {
                Err(PrefixError::Digest)
            };
        }
        prefix
            .entries
            .extend(appended.entries.into_iter().map(Arc::new));
        let prefix = Arc::new(prefix);
        self.remember(id, Arc::clone(&prefix));
        Ok(Resolved::Prefix(prefix))
    }

    /// Drops a prefix; those that build on it stay.
    pub(super) fn forget(&mut self, id: PrefixId) {
        if self.known.remove(&id).is_some() {
            self.order.retain(|known| *known != id);
        }
    }

    fn remember(&mut self, id: PrefixId, prefix: Arc<Prefix>) {
        if self.known.insert(id, prefix).is_some() {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > PREFIXES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerun_proto::conversions::{entries_to_wire, prefix_to_wire};
    use forerun_types::Entry;

    fn suggestion(text: &str) -> Entry {
        Entry::Suggestion {
            text: text.to_owned(),
        }
    }

    fn tools() -> Digest {
        Digest::of("tools")
    }

    fn resolved(resolved: Result<Resolved, PrefixError>) -> Arc<Prefix> {
        match resolved {
            Ok(Resolved::Prefix(prefix)) => prefix,
            other => panic!("a prefix, not {other:?}"),
        }
    }

    #[test]
    fn an_addition_shares_the_entries_of_its_base() {
        let mut prefixes = Prefixes::default();
        let root = PrefixId::root("task", "", &tools());
        let (one, two) = (suggestion("one"), suggestion("two"));
        let first = root.extend(&one);
        let whole = prefix_to_wire("task", "", std::slice::from_ref(&one));
        let base = resolved(prefixes.resolve(first, None, whole, &tools()));
        let second = first.extend(&two);
        let addition = entries_to_wire(std::slice::from_ref(&two));
        let longer = resolved(prefixes.resolve(second, Some(first), addition, &tools()));
        assert_eq!(&*longer.task, "task");
        assert_eq!(*longer.entries[1], two);
        assert!(Arc::ptr_eq(&base.entries[0], &longer.entries[0]));
    }

    #[test]
    fn an_unknown_or_forgotten_base_is_asked_for() {
        let mut prefixes = Prefixes::default();
        let root = PrefixId::root("task", "", &tools());
        let entry = suggestion("one");
        let next = root.extend(&entry);
        let addition = || entries_to_wire(std::slice::from_ref(&entry));
        let unknown = prefixes.resolve(next, Some(root), addition(), &tools());
        assert_eq!(unknown, Ok(Resolved::Rebase));
        resolved(prefixes.resolve(root, None, prefix_to_wire("task", "", &[]), &tools()));
        resolved(prefixes.resolve(next, Some(root), addition(), &tools()));
        prefixes.forget(root);
        let forgotten = prefixes.resolve(next, Some(root), addition(), &tools());
        assert_eq!(forgotten, Ok(Resolved::Rebase));
    }

    #[test]
    fn a_prefix_that_is_not_what_its_digest_says_is_not_used() {
        let mut prefixes = Prefixes::default();
        let root = PrefixId::root("task", "", &tools());
        let whole = || prefix_to_wire("task", "", &[]);
        let other_tools = prefixes.resolve(root, None, whole(), &Digest::of("others"));
        assert_eq!(other_tools, Err(PrefixError::Digest));
        resolved(prefixes.resolve(root, None, whole(), &tools()));
        let next = root.extend(&suggestion("one"));
        let addition = entries_to_wire(&[suggestion("another")]);
        let wrong = prefixes.resolve(next, Some(root), addition, &tools());
        assert_eq!(wrong, Ok(Resolved::Rebase));
        let headless = prefixes.resolve(root, None, Vec::new(), &tools());
        assert_eq!(headless, Err(PrefixError::Headless));
    }

    #[test]
    fn the_oldest_prefixes_go_when_there_are_too_many() {
        let mut prefixes = Prefixes::default();
        let root = PrefixId::root("task", "", &tools());
        resolved(prefixes.resolve(root, None, prefix_to_wire("task", "", &[]), &tools()));
        let mut last = root;
        for index in 0..PREFIXES_MAX {
            let entry = suggestion(&index.to_string());
            let next = root.extend(&entry);
            let whole = prefix_to_wire("task", "", &[entry]);
            resolved(prefixes.resolve(next, None, whole, &tools()));
            last = next;
        }
        assert_eq!(prefixes.known.len(), PREFIXES_MAX);
        assert_eq!(prefixes.order.len(), PREFIXES_MAX);
        let gone = prefixes.resolve(root, Some(root), Vec::new(), &tools());
        assert_eq!(gone, Ok(Resolved::Rebase));
        resolved(prefixes.resolve(last, Some(last), Vec::new(), &tools()));
    }
}
