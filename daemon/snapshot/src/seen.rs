//! What a branch has seen of the base objects that it changed, so that a commit can tell
//! whether somebody changed them since; and the chain of unverified snapshots that share
//! the knowledge. What a branch was merely told is in [`crate::pins`].
//!
//! What counts is the first look of the oldest unverified snapshot: a delta made from
//! what was seen then must not replace what came later.

use crate::branch::DeltaUsage;
use crate::content::Content;
use crate::node::{Inode, Link, NodeRef, Table};
use crate::pins::{Pins, Reads};
use crate::promote::promote;
use crate::version::Version;
use crate::workspace::Inner;
use forerun_types::Digest;
use imbl::ordmap::DiffItem;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One base object as it was first seen.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) version: Version,
    /// Whether a change right after the look could have left the version as it is.
    pub(crate) racy: bool,
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
    pub(crate) reads: Arc<Reads>,
    /// Whether the base holds all of this version's changes.
    verified: Arc<AtomicBool>,
    parent: Mutex<Option<Arc<Lineage>>>,
    current: Mutex<Current>,
}

/// A table to go on from, as long as `oldest` is not verified.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) table: Table,
    /// Of the oldest unverified version of the chain; `None` for the one that it is
    /// the table of.
    oldest: Option<Arc<AtomicBool>>,
}

impl Lineage {
    /// The base itself.
    pub(crate) fn base() -> Lineage {
        let verified = Arc::new(AtomicBool::new(true));
        Lineage {
            table: Table::new(),
            usage: DeltaUsage::default(),
            reads: Arc::new(Reads::new(
                Pins::default(),
                SeenMap::new(),
                Table::new(),
                Arc::clone(&verified),
                Weak::new(),
            )),
            current: Mutex::new(Current {
                table: Table::new(),
                oldest: None,
            }),
            verified,
            parent: Mutex::new(None),
        }
    }

    /// What became of a branch of `parent` that started with `origin`.
    pub(crate) fn child(
        parent: &Arc<Lineage>,
        origin: Current,
        table: Table,
        usage: DeltaUsage,
        (pins, seen): (Pins, SeenMap),
        workspace: Weak<Inner>,
    ) -> Lineage {
        let verified = Arc::new(AtomicBool::new(false));
        let Current {
            table: origin,
            oldest,
        } = origin;
        Lineage {
            current: Mutex::new(Current {
                table: table.clone(),
                oldest: oldest.or_else(|| Some(Arc::clone(&verified))),
            }),
            table,
            usage,
            reads: Arc::new(Reads::new(
                pins,
                seen,
                origin,
                Arc::clone(&parent.verified),
                workspace,
            )),
            verified,
            parent: Mutex::new(Some(Arc::clone(parent))),
        }
    }

    /// What was first seen by the branch that became this version.
    pub(crate) fn seen(&self) -> &SeenMap {
        &self.reads.seen
    }

    /// The table to go on from: this version's, without what the base holds by now.
    pub(crate) fn current(self: &Arc<Lineage>) -> Current {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let is_verified = |flag: &Arc<AtomicBool>| flag.load(Ordering::Acquire);
        if current.oldest.as_ref().is_some_and(is_verified) {
            let (chain, verified) = self.unverified();
            *current = match chain.last() {
                Some(oldest) => Current {
                    table: {
                        let between: Vec<_> = chain.iter().map(|version| &version.table).collect();
                        promote(&self.table, &verified.table, &between)
                    },
                    oldest: Some(Arc::clone(&oldest.verified)),
                },
                None => Current {
                    table: Table::new(),
                    oldest: None,
                },
            };
        }
        current.clone()
    }

    /// The base holds these changes now: what they placed is known there by its inode,
    /// and what came before is of no more interest. To be called under the gate.
    pub(crate) fn verify(self: &Arc<Lineage>, inner: &Inner) {
        for version in self.unverified().0.iter().rev() {
            let changed: Vec<_> = version
                .reads
                .origin
                .diff(&version.table)
                .filter_map(|item| match item {
                    DiffItem::Add(inode, node) => Some((*inode, node)),
                    DiffItem::Update { new, .. } => Some((*new.0, new.1)),
                    DiffItem::Remove(..) => None,
                })
                .collect();
            let links = |(inode, node): &(Inode, &'_ NodeRef)| (*inode, node.links.clone());
            let changed: Vec<(Inode, Vec<Link>)> = changed.iter().map(links).collect();
            let nodes = changed.iter().map(|(inode, links)| (*inode, &links[..]));
            inner.entries.settle(nodes);
        }
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
    let maps = std::iter::once(own).chain(chain.iter().map(|lineage| lineage.seen()));
    first_look(entry, maps)
}
