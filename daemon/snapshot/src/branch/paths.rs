//! Whole paths: one system call tells whether an answer that was given still holds.
//!
//! The first time, each name of a path is resolved by itself, safely (see
//! [`crate::base`]). From then on a glance at the whole path will do, as long as it finds
//! the object that was found then, and, where attributes are to be shown, with those that
//! were shown then. Anything else is resolved safely again.
//!
//! On its way a glance may be led through a link that somebody put where a directory was.
//! **Invariant**: what it finds is compared, never shown: it can repeat what this branch
//! was told, and nothing else. Repeating it binds the branch to nothing new either: the
//! answer is pinned, and pins are checked safely. So a link that leads to the very object
//! that was there is noticed later than other changes: by the next branch, by whoever
//! asks for more than was told, and in any case by the commit.
//!
//! What a listing of the base had is not looked up again at all, as long as nobody wants
//! more than its kind: the listing is pinned.

use super::{Branch, FsError, Metadata, node_kind, of_base};
use crate::base::Glance;
use crate::node::{Inode, NodeKind};
use crate::version::ObjectKind;
use crate::workspace::Found;
use std::collections::HashMap;

/// Paths that one branch remembers; stops a tool that walks through everything from
/// filling memory.
const PATHS_MAX: usize = 100_000;
/// Names of listings that one branch remembers, for the same reason.
const LISTED_MAX: usize = 100_000;

/// Where a path of plain names leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// The directory that the last name is in.
    pub directory: Inode,
    /// What the last name names, if anything visible has it.
    pub node: Option<(Inode, NodeKind)>,
}

/// Paths of base objects that a branch was told of, by where the path starts.
#[derive(Default)]
pub(super) struct Paths {
    known: HashMap<Inode, HashMap<Box<str>, Known>>,
    count: usize,
    listings: HashMap<Inode, Listing>,
    listed: usize,
}

/// What a base directory had when it was listed.
struct Listing {
    /// In order of the names.
    entries: Vec<Listed>,
    /// Moves of base entries until then.
    moves: u64,
}

struct Listed {
    name: String,
    kind: ObjectKind,
    /// Its entry, once it was looked up.
    node: Option<Inode>,
}

/// Whether what was listed will do for an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fresh {
    No,
    Yes,
}

/// An answer, and what has to be as it was for it to hold.
pub(super) struct Known {
    directory: Inode,
    pub(super) node: Inode,
    glance: Glance,
    /// Whether the attributes were shown, too.
    shown: bool,
    /// The path in the base.
    path: String,
    /// Moves of base entries until then.
    moves: u64,
    /// Changes of the branch until then.
    changes: u64,
}

/// What a name was found to be.
pub(super) struct Step {
    pub(super) node: Inode,
    pub(super) kind: NodeKind,
    /// What was seen, if it is of the base.
    pub(super) found: Option<Found>,
}

/// The end of a path.
struct At<'a> {
    /// Where the base's part of the path starts, and that part.
    start: Inode,
    path: &'a str,
    directory: Inode,
    step: Option<Step>,
}

impl Paths {
    /// Notes that the attributes were shown, too.
    fn show(&mut self, start: Inode, path: &str) {
        let known = self.known.get_mut(&start);
        if let Some(known) = known.and_then(|known| known.get_mut(path)) {
            known.shown = true;
        }
    }

    /// Remembers a listing of the base, in order of the names.
    pub(super) fn list(&mut self, dir: Inode, entries: Vec<(String, ObjectKind)>, moves: u64) {
        let listed = self.listed + entries.len();
        if listed <= LISTED_MAX {
            self.listed = listed;
            let entries = entries.into_iter().map(|(name, kind)| Listed {
                name,
                kind,
                node: None,
            });
            let entries = entries.collect();
            let old = self.listings.insert(dir, Listing { entries, moves });
            self.listed -= old.map_or(0, |old| old.entries.len());
        }
    }
}

impl Branch {
    /// As [`Branch::lookup`] of one name after another: proper components, separated by
    /// single slashes. No link is followed.
    ///
    /// # Errors
    /// As [`Branch::lookup`], for all names but the last; [`FsError::InvalidName`].
    pub fn lookup_path(&mut self, start: Inode, path: &str) -> Result<Located, FsError> {
        if let Some((known, _)) = self.recall(start, path) {
            return Ok(Located {
                directory: known.directory,
                node: Some((known.node, node_kind(known.glance.version.kind)?)),
            });
        }
        let At {
            directory, step, ..
        } = self.follow(start, path, Fresh::No)?;
        Ok(Located {
            directory,
            node: step.map(|step| (step.node, step.kind)),
        })
    }

    /// As [`Branch::lookup_path`] and [`Branch::metadata`] of what was found.
    ///
    /// # Errors
    /// As those.
    pub fn metadata_at(&mut self, start: Inode, path: &str) -> Result<(Inode, Metadata), FsError> {
        if let Some((known, now)) = self.recall(start, path)
            && known.shown
            && known.glance == now
        {
            return Ok((known.node, of_base(&now)?));
        }
        let At {
            start, path, step, ..
        } = self.follow(start, path, Fresh::Yes)?;
        let step = step.ok_or(FsError::NotFound)?;
        let Some(found) = step.found else {
            return Ok((step.node, self.metadata(step.node)?));
        };
        self.make_room_beside(step.node)?;
        self.pins.attributes(step.node, found.glance.version);
        if !self.pins.is_full() {
            self.paths.show(start, path);
        }
        Ok((step.node, of_base(&found.glance)?))
    }

    /// The answer that was given for a path, if it still holds, and what the glance saw.
    pub(super) fn recall(&self, start: Inode, path: &str) -> Option<(&Known, Glance)> {
        let known = self.paths.known.get(&start)?.get(path)?;
        if known.changes != self.nodes.changes() {
            return None;
        }
        let now = self.workspace.inner.glance(&known.path, known.moves)?;
        now.is_same_object(&known.glance).then_some((known, now))
    }

    /// What a name was listed as, if its directory was listed.
    pub(super) fn listed(&mut self, dir: Inode, name: &str) -> Option<(Inode, NodeKind)> {
        let listing = self.paths.listings.get_mut(&dir)?;
        let entries = &self.workspace.inner.entries;
        if listing.moves != entries.moves() || self.pins.is_full() {
            return None;
        }
        let entry = listing.entries.binary_search_by(|it| (*it.name).cmp(name));
        let entry = &mut listing.entries[entry.ok()?];
        let kind = node_kind(entry.kind).ok()?;
        if let Some(node) = entry.node {
            return Some((node, kind));
        }
        let node = entries.intern(dir, name);
        // Of one that may have other names, the name alone does not tell which it is.
        if entries.has_several(node) {
            return None;
        }
        entry.node = Some(node);
        self.pins.name(dir, name, Some((entry.kind, node)));
        Some((node, kind))
    }

    /// Remembers an answer that the base gave, and that is pinned.
    pub(super) fn remember(&mut self, start: Inode, path: &str, directory: Inode, step: &Step) {
        let Some(Found {
            glance,
            place: Some((at, moves)),
            ..
        }) = &step.found
        else {
            return;
        };
        if self.pins.is_full() {
            return;
        }
        let known = Known {
            directory,
            node: step.node,
            glance: *glance,
            shown: false,
            path: at.clone(),
            moves: *moves,
            changes: self.nodes.changes(),
        };
        let paths = self.paths.known.entry(start).or_default();
        if let Some(old) = paths.get_mut(path) {
            *old = known;
        } else if self.paths.count < PATHS_MAX {
            self.paths.count += 1;
            paths.insert(path.into(), known);
        }
    }

    /// Looks one name up after another: in the table as far as that has them, then from
    /// as far as an answer reaches that was given before.
    fn follow<'a>(
        &mut self,
        mut start: Inode,
        mut path: &'a str,
        fresh: Fresh,
    ) -> Result<At<'a>, FsError> {
        loop {
            let (name, rest) = path.split_once('/').unwrap_or((path, ""));
            let Some(Some(node)) = self.bound(start, name)? else {
                break;
            };
            self.pin_derived(start, name, Some(node));
            if rest.is_empty() && name.len() == path.len() {
                let kind = self.kind_of(node)?;
                let step = Some(Step {
                    node,
                    kind,
                    found: None,
                });
                return Ok(At {
                    start,
                    path,
                    directory: start,
                    step,
                });
            }
            (start, path) = (node, rest);
        }
        let (mut directory, mut begin) = (start, 0);
        if let Some((above, _)) = path.rsplit_once('/')
            && let Some((known, _)) = self.recall(start, above)
        {
            (directory, begin) = (known.node, above.len() + 1);
        }
        loop {
            let end = path[begin..]
                .find('/')
                .map_or(path.len(), |len| begin + len);
            let is_last = end == path.len();
            let fresh = if is_last { fresh } else { Fresh::No };
            let step = self.search(directory, &path[begin..end], fresh)?;
            if let Some(step) = &step {
                self.remember(start, &path[..end], directory, step);
            }
            if is_last {
                return Ok(At {
                    start,
                    path,
                    directory,
                    step,
                });
            }
            (directory, begin) = (step.ok_or(FsError::NotFound)?.node, end + 1);
        }
    }
}
