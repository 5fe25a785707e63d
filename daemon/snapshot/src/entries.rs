//! Interned base entries: one id for each base path that was looked at, shared by all
//! snapshots of a workspace.
//!
//! An entry knows its parent and its name, not its path, so moving a directory is one
//! change for everything below it. A commit that moves or removes base objects changes
//! the entries with them, under the workspace's gate, and every live snapshot follows.
//! Grows with what was looked up, and is freed with the workspace.

use crate::name;
use crate::node::{Inode, Link};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The table of a workspace.
pub(crate) struct Entries {
    next: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Where each entry is in the base. An entry that was removed is not in it.
    places: HashMap<Inode, Link>,
    children: HashMap<Inode, HashMap<Arc<str>, Inode>>,
}

impl Entries {
    pub(crate) fn new() -> Entries {
        Entries {
            next: AtomicU64::new(Inode::ROOT.0 + 1),
            known: Mutex::default(),
        }
    }

    /// An inode that nothing else has.
    pub(crate) fn fresh(&self) -> Inode {
        Inode(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The entry for a name in a base directory.
    pub(crate) fn intern(&self, directory: Inode, name: &str) -> Inode {
        let mut known = self.lock();
        if let Some(inode) = known.children.get(&directory).and_then(|c| c.get(name)) {
            return *inode;
        }
        let inode = self.fresh();
        known.insert(inode, directory, name.into());
        inode
    }

    /// Where an entry is in the base: its directory's entry and its name.
    pub(crate) fn place(&self, inode: Inode) -> Option<Link> {
        self.lock().places.get(&inode).cloned()
    }

    /// The base path of an entry; `None` if it is gone, or was never one.
    pub(crate) fn path(&self, inode: Inode) -> Option<String> {
        let known = self.lock();
        let mut names = Vec::new();
        let mut at = inode;
        while at != Inode::ROOT {
            let link = known.places.get(&at)?;
            names.push(link.name.as_ref());
            at = link.directory;
        }
        names.reverse();
        Some(names.join("/"))
    }

    /// Follows a commit: what was at these base paths is gone or elsewhere. All `from`
    /// paths are those before the commit, all `to` paths those after it.
    pub(crate) fn follow(&self, removed: &[&str], moved: &[(&str, &str)]) {
        let mut known = self.lock();
        let gone: Vec<_> = removed.iter().filter_map(|p| known.find(p)).collect();
        let moves: Vec<_> = moved
            .iter()
            .filter_map(|(from, to)| Some((known.find(from)?, *to)))
            .collect();
        for inode in gone.iter().chain(moves.iter().map(|(inode, _)| inode)) {
            known.detach(*inode);
        }
        // Parents first, so that a directory is at its new place before what goes into it.
        let mut moves = moves;
        moves.sort_by(|(_, a), (_, b)| name::order(a, b));
        for (inode, to) in moves {
            let (directory, name) = name::split(to);
            let directory = self.intern_path(&mut known, directory);
            if let Some(stale) = known.find_in(directory, name) {
                known.detach(stale);
            }
            known.insert(inode, directory, name.into());
        }
    }

    fn intern_path(&self, known: &mut Known, path: &str) -> Inode {
        let mut at = Inode::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = known.find_in(at, name).unwrap_or_else(|| {
                let inode = self.fresh();
                known.insert(inode, at, name.into());
                inode
            });
        }
        at
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn insert(&mut self, inode: Inode, directory: Inode, name: Arc<str>) {
        let children = self.children.entry(directory).or_default();
        children.insert(Arc::clone(&name), inode);
        self.places.insert(inode, Link { directory, name });
    }

    fn detach(&mut self, inode: Inode) {
        let Some(link) = self.places.remove(&inode) else {
            return;
        };
        if let Some(children) = self.children.get_mut(&link.directory)
            && children.get(&link.name) == Some(&inode)
        {
            children.remove(&link.name);
        }
    }

    fn find_in(&self, directory: Inode, name: &str) -> Option<Inode> {
        self.children.get(&directory)?.get(name).copied()
    }

    fn find(&self, path: &str) -> Option<Inode> {
        path.split('/')
            .try_fold(Inode::ROOT, |at, name| self.find_in(at, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_directory_takes_everything_below_it_along() {
        let entries = Entries::new();
        let a = entries.intern(Inode::ROOT, "a");
        let b = entries.intern(a, "b");
        let file = entries.intern(b, "file");
        entries.follow(&[], &[("a/b", "c")]);
        assert_eq!(entries.path(file).as_deref(), Some("c/file"));
        assert_eq!(entries.path(a).as_deref(), Some("a"));
        assert_ne!(entries.intern(a, "b"), b);
    }

    #[test]
    fn names_can_be_swapped_and_nested_moves_land_in_their_new_parents() {
        let entries = Entries::new();
        let a = entries.intern(Inode::ROOT, "a");
        let b = entries.intern(Inode::ROOT, "b");
        let x = entries.intern(a, "x");
        entries.follow(&[], &[("a", "b"), ("b", "a"), ("a/x", "a/y")]);
        assert_eq!(entries.path(a).as_deref(), Some("b"));
        assert_eq!(entries.path(b).as_deref(), Some("a"));
        assert_eq!(entries.path(x).as_deref(), Some("a/y"));
    }

    #[test]
    fn a_removed_entry_is_nowhere() {
        let entries = Entries::new();
        let a = entries.intern(Inode::ROOT, "a");
        entries.follow(&["a"], &[]);
        assert_eq!(entries.path(a), None);
        assert_ne!(entries.intern(Inode::ROOT, "a"), a);
    }
}
