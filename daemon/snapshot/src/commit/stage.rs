//! Staging: everything that a commit will put into the base is written to slots first,
//! durably, and the operations are planned.

use super::apply::not_staged;
use super::error::CommitError;
use super::intent::{Operation, Recorded};
use super::order::{Carrier, Step, order};
use super::storage::{Attributes, Hold, Location};
use super::validate::{Found, Gone, times_of};
use super::{Like, STAGING, slots};
use crate::content::{Content, SparseHasher};
use crate::delta::{Placed, What};
use crate::name;
use crate::version::{ObjectKind, Version};
use crate::workspace::Inner;
use crate::{Delta, FsError};
use forerun_types::Digest;
use rustix::io::Errno;
use std::collections::HashMap;
use std::io;
use std::ops::Range;

/// The planned operations, and what keeps the staged objects alive.
pub(super) struct Staged {
    pub(super) operations: Vec<Operation>,
    pub(super) holds: Vec<Box<dyn Hold>>,
}

/// Most files that are synced one by one. For more, one sync of the file system costs
/// less, though it may have to wait for what others wrote.
const SYNC_EACH_MAX: usize = 32;

/// Writes slots below `directory`, which exists and is empty.
pub(super) fn stage(
    inner: &Inner,
    delta: &Delta,
    found: &Found,
    likes: &HashMap<String, Like>,
    exchange: bool,
    directory: &Location,
) -> Result<Staged, CommitError> {
    let mut stage = Stage::new(inner, found, likes, directory);
    stage.exchange = exchange;
    for removed in delta.removed() {
        stage.remove(&removed.path, removed.moved_to.is_some())?;
    }
    let mut of_placed = Vec::with_capacity(delta.placed().len());
    for placed in delta.placed() {
        let first = stage.staged.operations.len();
        stage.place(placed)?;
        of_placed.push(first..stage.staged.operations.len());
    }
    stage.bring_in_order(delta, &of_placed);
    // Placing into a directory changes its times, so explicit ones come last.
    for placed in delta.placed().iter().rev() {
        stage.set_times(placed)?;
    }
    stage.sync()?;
    Ok(stage.staged)
}

/// Writes the slot of an operation again, which somebody removed, and lets the operation
/// expect that. Files that were one under several names may come apart.
pub(super) fn stage_again(
    inner: &Inner,
    delta: &Delta,
    found: &Found,
    likes: &HashMap<String, Like>,
    directory: &Location,
    operation: &mut Operation,
) -> Result<Vec<Box<dyn Hold>>, CommitError> {
    let (slot, root, post, contents) = match operation {
        Operation::Exchange {
            slot, path, post, ..
        } => (slot, path, post, None),
        Operation::Place {
            slot,
            path,
            post,
            contents,
        } => (slot, path, post, contents.as_mut()),
        _ => {
            let made = slots::make(&*inner.storage, directory);
            return made
                .map(|()| Vec::new())
                .map_err(|error| staging_failed(operation.path(), error));
        }
    };
    let storage = &*inner.storage;
    let failed = |error| staging_failed(root, error);
    let mut left = HashMap::new();
    for (path, like) in likes {
        let is_there = match like {
            Like::File(at) => storage.observe(at).map_err(failed)?.is_some(),
            Like::Directory { .. } => true,
        };
        if is_there {
            left.insert(path.clone(), like.clone());
        }
    }
    let mut stage = Stage::new(inner, found, &left, directory);
    stage.again = true;
    let top = directory.join(slot);
    slots::make(storage, directory)
        .and_then(|()| slots::clear_staging(storage, &top))
        .map_err(failed)?;
    let mut staged = Vec::new();
    for placed in delta.placed() {
        let is_in_tree = || stage.trees.contains_key(name::split(&placed.path).0);
        if placed.path != *root && !is_in_tree()
            || matches!(placed.what, What::Moved { .. } | What::Times { .. })
        {
            continue;
        }
        let relative = placed.path[root.len()..].trim_start_matches('/');
        let at = match relative {
            "" => top.clone(),
            relative => top.join(relative),
        };
        stage.write(&placed.path, &placed.what, &at)?;
        let recorded = stage.record(&placed.path, &at, placed.what.digest())?;
        if matches!(placed.what, What::Directory { .. }) {
            let tree = Tree {
                at,
                operation: 0,
                root: root.clone(),
            };
            stage.trees.insert(&placed.path, tree);
        }
        staged.push((relative.to_owned(), recorded));
    }
    stage.sync()?;
    let mut staged = staged.into_iter();
    // What was moved, and waited there, is gone with the slot.
    let (_, of_top) = staged.next().ok_or_else(|| not_staged(root))?;
    *post = of_top;
    if let Some(contents) = contents {
        *contents = staged.collect();
    }
    Ok(stage.staged.holds)
}

struct Stage<'a> {
    inner: &'a Inner,
    found: &'a Found,
    likes: &'a HashMap<String, Like>,
    directory: &'a Location,
    /// Whether files can change places in one step.
    exchange: bool,
    /// Whether this was staged before.
    again: bool,
    slots: usize,
    /// Slots of objects that are moved, by their path before.
    parked: HashMap<&'a str, String>,
    /// New directories by their path after: where they are staged, which operation
    /// places them, and the path that this one is relative to.
    trees: HashMap<&'a str, Tree>,
    /// The first slot of each group of hard links.
    groups: HashMap<u32, Location>,
    staged: Staged,
}

#[derive(Clone)]
struct Tree {
    at: Location,
    operation: usize,
    root: String,
}

impl<'a> Stage<'a> {
    fn new(
        inner: &'a Inner,
        found: &'a Found,
        likes: &'a HashMap<String, Like>,
        directory: &'a Location,
    ) -> Stage<'a> {
        Stage {
            inner,
            found,
            likes,
            directory,
            exchange: true,
            again: false,
            slots: 0,
            parked: HashMap::new(),
            trees: HashMap::new(),
            groups: HashMap::new(),
            staged: Staged {
                operations: Vec::new(),
                holds: Vec::new(),
            },
        }
    }

    fn slot(&mut self) -> String {
        self.slots += 1;
        format!("s{}", self.slots)
    }

    fn remove(&mut self, path: &'a str, is_moved: bool) -> Result<(), CommitError> {
        let gone = self.found.removed.get(path);
        let operation = match gone.ok_or_else(|| unplanned(path))? {
            Gone::Emptied(pre) => Operation::Rmdir {
                path: path.to_owned(),
                pre: pre.clone(),
            },
            Gone::Parked(pre) => {
                let slot = self.slot();
                if is_moved {
                    self.parked.insert(path, slot.clone());
                }
                Operation::Park {
                    path: path.to_owned(),
                    slot,
                    pre: pre.clone(),
                    replaced: false,
                }
            }
        };
        self.staged.operations.push(operation);
        Ok(())
    }

    fn place(&mut self, placed: &'a Placed) -> Result<(), CommitError> {
        let path = placed.path.as_str();
        match &placed.what {
            What::Times { .. } => Ok(()),
            What::Moved { from, .. } => {
                let slot = self.parked.get(from.as_str()).cloned();
                let slot = slot.ok_or_else(|| unplanned(path))?;
                let post = match self.found.removed.get(from) {
                    Some(Gone::Parked(pre)) => pre.clone(),
                    _ => return Err(unplanned(path)),
                };
                self.staged.operations.push(Operation::Place {
                    slot,
                    path: path.to_owned(),
                    post,
                    contents: None,
                });
                Ok(())
            }
            what => {
                let (directory, name) = name::split(path);
                let tree = self.trees.get(directory).cloned();
                let (slot, at) = match &tree {
                    Some(tree) => (String::new(), tree.at.join(name)),
                    None => {
                        let slot = self.slot();
                        let at = self.directory.join(&slot);
                        (slot, at)
                    }
                };
                self.write(path, what, &at)?;
                let digest = what.digest();
                let post = self.record(path, &at, digest)?;
                let operation = match &tree {
                    Some(tree) => {
                        let relative = path[tree.root.len() + 1..].to_owned();
                        if let Some(Operation::Place {
                            contents: Some(contents),
                            ..
                        }) = self.staged.operations.get_mut(tree.operation)
                        {
                            contents.push((relative, post));
                        }
                        tree.operation
                    }
                    None => {
                        self.swap_in(path, slot, post);
                        self.staged.operations.len() - 1
                    }
                };
                if let What::Directory { .. } = what {
                    let root = tree.map_or_else(|| path.to_owned(), |tree| tree.root);
                    self.trees.insert(
                        path,
                        Tree {
                            at,
                            operation,
                            root,
                        },
                    );
                }
                Ok(())
            }
        }
    }

    /// Brings the operations into the order of their application, and moves straight what
    /// need not wait in a slot. `of_placed` tells which of them are those of each placed
    /// object; before these are those of the removed ones.
    fn bring_in_order(&mut self, delta: &Delta, of_placed: &[Range<usize>]) {
        let removed: Vec<_> = delta.removed().iter().map(|it| it.path.as_str()).collect();
        let placed: Vec<_> = delta.placed().iter().map(|it| it.path.as_str()).collect();
        let to: HashMap<_, _> = placed.iter().copied().zip(0..).collect();
        let moves = delta.removed().iter().enumerate().filter_map(|(from, it)| {
            let to = *to.get(it.moved_to.as_deref()?)?;
            Some((from, to))
        });
        let moves: Vec<_> = moves.collect();
        let planned = std::mem::take(&mut self.staged.operations);
        let mut planned: Vec<_> = planned.into_iter().map(Some).collect();
        let operations = &mut self.staged.operations;
        for step in order(&removed, &placed, &moves) {
            match step {
                Step::Remove(it) => operations.extend(planned[it].take()),
                Step::Place(it) => {
                    let planned = &mut planned[of_placed[it].clone()];
                    operations.extend(planned.iter_mut().filter_map(Option::take));
                }
                Step::Move {
                    removed: from,
                    placed: to,
                    carrier,
                } => {
                    let via = carrier.and_then(|by| {
                        Carrier::brings(removed[from], removed[by.removed], placed[by.placed])
                    });
                    let parked = planned[from].take();
                    operations.extend(parked.map(|it| straight(it, placed[to], via)));
                }
            }
        }
    }

    /// How a staged object gets to its path; what places it comes last.
    fn swap_in(&mut self, path: &str, slot: String, post: Recorded) {
        let path = path.to_owned();
        let replaced = self.found.replaced.get(&path);
        if let (Some((_, pre)), true) = (replaced, self.exchange) {
            self.staged.operations.push(Operation::Exchange {
                slot,
                path,
                pre: pre.clone(),
                post,
            });
            return;
        }
        if let Some((_, pre)) = replaced {
            let park = Operation::Park {
                slot: self.slot(),
                path: path.clone(),
                pre: pre.clone(),
                replaced: true,
            };
            self.staged.operations.push(park);
        }
        self.staged.operations.push(Operation::Place {
            slot,
            path,
            contents: (post.version.kind == ObjectKind::Directory).then(Vec::new),
            post,
        });
    }

    fn write(&mut self, path: &str, what: &What, at: &Location) -> Result<(), CommitError> {
        let storage = &*self.inner.storage;
        let failed = |error: io::Error| staging_failed(path, error);
        match what {
            What::File {
                content,
                digest,
                mode,
                times,
                group,
                ..
            } => {
                if let Some(first) = group.and_then(|group| self.groups.get(&group)) {
                    return storage.link(first, at).map_err(failed);
                }
                let like = match (self.likes.get(path), self.found.replaced.get(path)) {
                    (Some(Like::File(at)), _) => Some(at.clone()),
                    // Staged again, it may be away already.
                    (_, Some((at, pre)))
                        if pre.version.kind == ObjectKind::File
                            && (!self.again || storage.observe(at).map_err(failed)?.is_some()) =>
                    {
                        Some(at.clone())
                    }
                    _ => None,
                };
                let attributes = Attributes {
                    mode: mode.unwrap_or(self.inner.default_modes.0),
                    times: times.map(|times| (times.accessed, times.modified)),
                    like,
                };
                let hold = self.write_content(path, content, digest, at, &attributes)?;
                self.staged.holds.push(hold);
                if let Some(group) = group {
                    self.groups.insert(*group, at.clone());
                }
                Ok(())
            }
            What::Symlink { target, times, .. } => {
                let times = times.map(|times| (times.accessed, times.modified));
                storage.make_symlink(at, target, times).map_err(failed)
            }
            What::Directory { .. } => {
                let (mode, owner) = match self.likes.get(path) {
                    Some(Like::Directory { mode, owner }) => (*mode, *owner),
                    _ => (self.inner.default_modes.1, None),
                };
                storage.make_directory(at, mode, owner).map_err(failed)
            }
            What::Moved { .. } | What::Times { .. } => Err(unplanned(path)),
        }
    }

    /// Writes a content, and checks what part of it was read from the base.
    fn write_content(
        &self,
        path: &str,
        content: &Content,
        digest: &Digest,
        at: &Location,
        attributes: &Attributes,
    ) -> Result<Box<dyn Hold>, CommitError> {
        let failed = |error: io::Error| staging_failed(path, error);
        let completed = match content.expected() {
            None => None,
            Some((expected, _)) => {
                let old = self.inner.content_at(expected);
                let completed = old.and_then(|old| content.completed(&old));
                Some(completed.map_err(|error| failed(unread(error)))?)
            }
        };
        let content = completed.as_ref().unwrap_or(content);
        let mut hasher = content.has_lower().then(SparseHasher::default);
        let mut pieces = content.pieces().map(|piece| {
            let (offset, bytes) = piece.map_err(unread)?;
            if let Some(hasher) = &mut hasher {
                hasher.add(offset, &bytes);
            }
            Ok((offset, bytes))
        });
        let hold = self
            .inner
            .storage
            .write_file(at, content.len(), &mut pieces, attributes)
            .map_err(failed)?;
        drop(pieces);
        match hasher.map(|hasher| hasher.finish(content.len())) {
            Some(staged) if staged != *digest => Err(failed(Errno::STALE.into())),
            _ => Ok(hold),
        }
    }

    fn record(
        &self,
        path: &str,
        at: &Location,
        digest: Option<Digest>,
    ) -> Result<Recorded, CommitError> {
        let observed = self.inner.storage.observe(at);
        let observed = observed.map_err(|error| staging_failed(path, error))?;
        let gone = || staging_failed(path, io::Error::other("its slot was removed"));
        let version: Version = observed.ok_or_else(gone)?.version;
        Ok(Recorded { version, digest })
    }

    fn set_times(&mut self, placed: &Placed) -> Result<(), CommitError> {
        let path = &placed.path;
        let times = match &placed.what {
            What::Times { times } => Some(*times),
            What::Directory { times } | What::Moved { times, .. } => *times,
            What::File { .. } | What::Symlink { .. } => None,
        };
        let Some(post) = times else {
            return Ok(());
        };
        let pre = match (self.found.times.get(path), &placed.what) {
            (Some(pre), _) => *pre,
            (None, What::Moved { from, .. }) => {
                let at = Location::workspace(from);
                let observed = self.inner.storage.observe(&at);
                let observed = observed.map_err(|error| staging_failed(from, error))?;
                times_of(&observed.ok_or_else(|| unplanned(from))?)
            }
            (None, _) => post,
        };
        self.staged.operations.push(Operation::SetTimes {
            path: path.clone(),
            pre,
            post,
        });
        Ok(())
    }

    fn sync(&self) -> Result<(), CommitError> {
        let storage = &self.inner.storage;
        let failed = |error| CommitError::of_io(STAGING, ".", error);
        if self.staged.holds.len() > SYNC_EACH_MAX {
            return storage.sync_all(self.directory).map_err(failed);
        }
        for hold in &self.staged.holds {
            hold.sync().map_err(failed)?;
        }
        for at in self
            .trees
            .values()
            .map(|tree| &tree.at)
            .chain([self.directory])
        {
            storage.sync_directory(at).map_err(failed)?;
        }
        Ok(())
    }
}

/// Moves what would be parked to where it belongs.
fn straight(parked: Operation, to: &str, via: Option<String>) -> Operation {
    match parked {
        Operation::Park {
            path, slot, pre, ..
        } => Operation::Move {
            from: path,
            path: to.to_owned(),
            pre,
            slot,
            via,
        },
        other => other,
    }
}

/// A content that could not be read; if somebody changed the base, that is a conflict.
fn unread(error: FsError) -> io::Error {
    match error {
        FsError::Changed | FsError::NotFound => Errno::STALE.into(),
        FsError::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// Staging writes nothing but slots, so whatever fails there is no conflict, unless the
/// file that is to be replaced went away while its attributes were read.
fn staging_failed(path: &str, error: io::Error) -> CommitError {
    CommitError::of_io("stage", path, error)
}

/// Something was placed that was not validated: a delta that contradicts itself.
fn unplanned(path: &str) -> CommitError {
    CommitError::Malformed {
        reason: format!("contradictory changes at {path:?}"),
    }
}
