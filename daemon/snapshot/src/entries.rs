//! Interned base entries: one id for each base path that was looked at, shared by all
//! snapshots of a workspace.
//!
//! An entry knows its parent and its name, not its path, so moving a directory is one
//! change for everything below it. A commit that moves, removes or places base objects
//! changes the entries with them, under the workspace's gate, and every live snapshot
//! follows: what a tool made keeps its inode once it is a base object. Grows with what
//! was looked up, and is freed with the workspace.
//!
//! An entry has one name, unless a commit placed one file under several.

use crate::name;
use crate::node::{Inode, Link};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The table of a workspace.
pub(crate) struct Entries {
    next: AtomicU64,
    moves: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Where each entry is in the base. An entry that was removed is not in it.
    places: HashMap<Inode, Link>,
    /// Further names of files that were placed under several.
    further: HashMap<Inode, Vec<Link>>,
    children: HashMap<Inode, HashMap<Arc<str>, Inode>>,
}

impl Entries {
    pub(crate) fn new() -> Entries {
        Entries {
            next: AtomicU64::new(Inode::ROOT.0 + 1),
            moves: AtomicU64::new(0),
            known: Mutex::default(),
        }
    }

    /// An inode that nothing else has.
    pub(crate) fn fresh(&self) -> Inode {
        Inode(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// How often entries may have moved, or given way to others: as long as it is the
    /// same, so are paths and what they are entries of.
    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Acquire)
    }

    /// The entry for a name in a base directory.
    pub(crate) fn intern(&self, directory: Inode, name: &str) -> Inode {
        let mut known = self.lock();
        if let Some(inode) = known.find_in(directory, name) {
            return inode;
        }
        let inode = self.fresh();
        known.insert(inode, directory, name.into());
        inode
    }

    /// Where an entry is in the base: its directory's entry and its name; the first if
    /// it has several.
    pub(crate) fn place(&self, inode: Inode) -> Option<Link> {
        self.lock().places.get(&inode).cloned()
    }

    /// All names of an entry.
    pub(crate) fn links(&self, inode: Inode) -> Vec<Link> {
        let known = self.lock();
        let further = known.further.get(&inode).into_iter().flatten();
        known
            .places
            .get(&inode)
            .into_iter()
            .chain(further)
            .cloned()
            .collect()
    }

    /// Whether an entry has more names than one.
    pub(crate) fn has_several(&self, inode: Inode) -> bool {
        self.lock().further.contains_key(&inode)
    }

    /// A new entry for a name that is not what it was an entry of any more.
    pub(crate) fn separate(&self, directory: Inode, name: &str) -> Inode {
        let mut known = self.lock();
        self.moves.fetch_add(1, Ordering::AcqRel);
        known.forget_name(directory, name);
        let inode = self.fresh();
        known.insert(inode, directory, name.into());
        inode
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
        self.moves.fetch_add(1, Ordering::AcqRel);
        let gone: Vec<_> = removed.iter().filter_map(|p| known.find_link(p)).collect();
        let moves: Vec<_> = moved
            .iter()
            .filter_map(|(from, to)| Some((known.find_link(from)?, *to)))
            .collect();
        let mut moves: Vec<_> = moves
            .into_iter()
            .filter_map(|(link, to)| Some((known.detach_link(&link)?, to)))
            .collect();
        for link in gone {
            known.forget_name(link.directory, &link.name);
        }
        // Parents first, so that a directory is at its new place before what goes into it.
        moves.sort_by(|(_, a), (_, b)| name::order(a, b));
        for (inode, to) in moves {
            let (directory, name) = name::split(to);
            let directory = self.intern_path(&mut known, directory);
            known.forget_name(directory, name);
            known.insert(inode, directory, name.into());
        }
    }

    /// Follows a commit by what its version holds: these inodes have exactly these names
    /// in the base now, whatever had them before.
    pub(crate) fn settle<'a>(&self, nodes: impl Iterator<Item = (Inode, &'a [Link])> + Clone) {
        let mut known = self.lock();
        self.moves.fetch_add(1, Ordering::AcqRel);
        for (inode, _) in nodes.clone() {
            known.detach(inode);
        }
        for (inode, links) in nodes {
            for link in links {
                known.forget_name(link.directory, &link.name);
                known.insert(inode, link.directory, Arc::clone(&link.name));
            }
            if links.is_empty() && inode != Inode::ROOT {
                known.forget(inode);
            }
        }
    }

    /// How many entries are known, in all the ways in which they are.
    pub(crate) fn len(&self) -> usize {
        let known = self.lock();
        known.places.len() + known.further.len() + known.children.len()
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
        let link = Link { directory, name };
        match self.places.entry(inode) {
            Entry::Vacant(place) => drop(place.insert(link)),
            Entry::Occupied(_) => self.further.entry(inode).or_default().push(link),
        }
    }

    /// Takes all its names from an entry; what is below a directory stays below it.
    fn detach(&mut self, inode: Inode) {
        while let Some(link) = self.places.get(&inode).cloned() {
            self.detach_link(&link);
            if self.places.get(&inode) == Some(&link) {
                // Another entry has the name by now.
                self.drop_place(inode, &link);
            }
        }
    }

    /// Takes a name from the entry that has it.
    fn detach_link(&mut self, link: &Link) -> Option<Inode> {
        let children = self.children.get_mut(&link.directory)?;
        let inode = children.remove(&link.name)?;
        if children.is_empty() {
            self.children.remove(&link.directory);
        }
        self.drop_place(inode, link);
        Some(inode)
    }

    fn drop_place(&mut self, inode: Inode, link: &Link) {
        let mut further = self.further.remove(&inode).unwrap_or_default();
        if self.places.get(&inode) == Some(link) {
            match further.is_empty() {
                true => self.places.remove(&inode),
                false => self.places.insert(inode, further.remove(0)),
            };
        } else {
            further.retain(|other| other != link);
        }
        if !further.is_empty() {
            self.further.insert(inode, further);
        }
    }

    /// Removes a name, and all below it if nothing else names what had it.
    fn forget_name(&mut self, directory: Inode, name: &str) {
        let link = Link {
            directory,
            name: name.into(),
        };
        if let Some(inode) = self.detach_link(&link)
            && !self.places.contains_key(&inode)
        {
            self.forget(inode);
        }
    }

    /// Removes everything below an entry that is at no place any more.
    fn forget(&mut self, inode: Inode) {
        let mut gone = vec![inode];
        while let Some(inode) = gone.pop() {
            for (name, child) in self.children.remove(&inode).into_iter().flatten() {
                let directory = inode;
                self.drop_place(child, &Link { directory, name });
                if !self.places.contains_key(&child) {
                    gone.push(child);
                }
            }
        }
    }

    fn find_in(&self, directory: Inode, name: &str) -> Option<Inode> {
        self.children.get(&directory)?.get(name).copied()
    }

    fn find(&self, path: &str) -> Option<Inode> {
        path.split('/')
            .filter(|name| !name.is_empty())
            .try_fold(Inode::ROOT, |at, name| self.find_in(at, name))
    }

    /// The name at a base path, if it is known.
    fn find_link(&self, path: &str) -> Option<Link> {
        let (directory, name) = name::split(path);
        let directory = self.find(directory)?;
        self.find_in(directory, name)?;
        let name = name.into();
        Some(Link { directory, name })
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

    #[test]
    fn a_new_node_takes_its_names_from_what_had_them_and_loses_them_one_by_one() {
        let entries = Entries::new();
        let old = entries.intern(Inode::ROOT, "a");
        let below = entries.intern(old, "below");
        let node = entries.fresh();
        let link = |name: &str| Link {
            directory: Inode::ROOT,
            name: name.into(),
        };
        let links = [link("a"), link("b")];
        entries.settle([(node, &links[..])].into_iter());
        assert_eq!(entries.path(old), None);
        assert_eq!(entries.path(below), None);
        assert_eq!(entries.intern(Inode::ROOT, "a"), node);
        assert_eq!(entries.intern(Inode::ROOT, "b"), node);
        entries.follow(&["a"], &[("b", "c")]);
        assert_eq!(entries.links(node), [link("c")]);
        assert!(!entries.has_several(node));
        entries.settle([(node, &[][..])].into_iter());
        assert_eq!(entries.len(), 0);
    }
}
