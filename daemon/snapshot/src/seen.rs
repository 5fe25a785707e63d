//! What a branch has seen of base objects, so that a commit can tell whether somebody
//! changed them since; and the chain of unverified snapshots that share the knowledge.
//!
//! What counts is the first look of the oldest unverified snapshot: a delta made from
//! what was seen then must not replace what came later.

use crate::branch::DeltaUsage;
use crate::content::Content;
use crate::node::{Inode, Table};
use crate::version::Version;
use forerun_types::Digest;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One base object as it was first seen.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) version: Version,
    /// Digest of the whole content, or of a link's target, if all of it was read.
    pub(crate) digest: Option<Digest>,
    /// The content itself, if it is small: for showing what changed.
    pub(crate) content: Option<Content>,
}

/// Objects that were seen, by entry.
pub(crate) type SeenMap = HashMap<Inode, Seen>;

/// A frozen version: the table, and what was seen to make it. Links to the snapshot it
/// was branched from for as long as that is not in the base.
pub(crate) struct Lineage {
    pub(crate) table: Table,
    pub(crate) usage: DeltaUsage,
    seen: SeenMap,
    /// Whether the base holds all of this version's changes.
    verified: AtomicBool,
    parent: Mutex<Option<Arc<Lineage>>>,
}

impl Lineage {
    /// The base itself.
    pub(crate) fn base() -> Lineage {
        Lineage {
            table: Table::new(),
            usage: DeltaUsage::default(),
            seen: SeenMap::new(),
            verified: AtomicBool::new(true),
            parent: Mutex::new(None),
        }
    }

    pub(crate) fn child(
        parent: &Arc<Lineage>,
        table: Table,
        usage: DeltaUsage,
        seen: SeenMap,
    ) -> Lineage {
        Lineage {
            table,
            usage,
            seen,
            verified: AtomicBool::new(false),
            parent: Mutex::new(Some(Arc::clone(parent))),
        }
    }

    /// What was first seen by the branch that became this version.
    pub(crate) fn seen(&self) -> &SeenMap {
        &self.seen
    }

    /// The base holds these changes now; what came before is of no more interest.
    pub(crate) fn verify(&self) {
        self.verified.store(true, Ordering::Release);
        drop(self.take_parent());
    }

    /// This version and its unverified ancestors, newest first, and the version that the
    /// base holds below them.
    pub(crate) fn unverified(self: &Arc<Lineage>) -> (Vec<Arc<Lineage>>, Arc<Lineage>) {
        let mut chain = Vec::new();
        let mut at = Arc::clone(self);
        loop {
            if at.verified.load(Ordering::Acquire) {
                return (chain, at);
            }
            let parent = at.lock_parent().clone();
            match parent {
                Some(parent) => chain.push(std::mem::replace(&mut at, parent)),
                // Verified between the two looks.
                None => return (chain, at),
            }
        }
    }

    fn lock_parent(&self) -> std::sync::MutexGuard<'_, Option<Arc<Lineage>>> {
        self.parent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_parent(&self) -> Option<Arc<Lineage>> {
        self.lock_parent().take()
    }
}

/// Unlinks the chain one by one; a long session must not overflow the stack.
impl Drop for Lineage {
    fn drop(&mut self) {
        let mut next = self.take_parent();
        while let Some(lineage) = next {
            next = Arc::into_inner(lineage).and_then(|lineage| lineage.take_parent());
        }
    }
}

/// The first look at an entry: that of the oldest in `newest_first`, with what later
/// looks at the same version added to it.
pub(crate) fn first_look<'a>(
    entry: Inode,
    newest_first: impl Iterator<Item = &'a SeenMap>,
) -> Option<Seen> {
    let mut first: Option<Seen> = None;
    for seen in newest_first.filter_map(|map| map.get(&entry)) {
        let mut seen = seen.clone();
        if let Some(later) = first
            && later.version == seen.version
        {
            seen.digest = seen.digest.or(later.digest);
            seen.content = seen.content.or(later.content);
        }
        first = Some(seen);
    }
    first
}

/// As [`first_look`], in a chain of versions.
pub(crate) fn first_look_in(entry: Inode, own: &SeenMap, chain: &[Arc<Lineage>]) -> Option<Seen> {
    let maps = std::iter::once(own).chain(chain.iter().map(|lineage| &lineage.seen));
    first_look(entry, maps)
}
