//! Undoing a commit: the inverse of its net changes is committed like any other, made
//! from what the commit displaced. Redo is an undo of the undo.
//!
//! **Invariant**: a path whose content is not what the commit left there was changed by
//! somebody since; it is left alone and reported, unless the caller insists. Then what
//! is displaced there can be brought back by a redo.

use super::apply::Work;
use super::end::EndError;
use super::intent::{Intent, IntentLog, IntentState, Operation, Recorded, Undoes};
use super::storage::Location;
use super::{Commit, CommitError, Like, validate, work_of};
use crate::chunks::ChunkStore;
use crate::content::Content;
use crate::delta::{Placed, Pre, Removed, What};
use crate::name;
use crate::version::{ObjectKind, Version};
use crate::{Delta, Workspace};
use forerun_types::{CommitId, Digest, LeftAlone};
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

/// Largest file that an undo brings back; it is read into memory for that.
const UNDO_FILE_BYTES_MAX: u64 = 4 << 30;

/// What an undo did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// The commit that took the changes back; `None` if there was nothing to take back.
    pub commit: Option<Commit>,
    /// Paths that were not taken back.
    pub left: Vec<LeftAlone>,
}

impl Workspace {
    /// Takes a commit back, in one commit of its own, which can be undone in turn.
    ///
    /// With `force`, what somebody changed since is taken back, too; of a directory that
    /// the commit made, what others put into it stays all the same.
    ///
    /// # Errors
    /// [`CommitError::NotUndoable`] if it was undone before, is not in the workspace, or
    /// what it displaced is not kept any more; else as [`Workspace::commit`].
    pub fn undo(
        &self,
        id: CommitId,
        force: bool,
        log: &dyn IntentLog,
    ) -> Result<Undo, CommitError> {
        self.flush(log)?;
        let inner = &*self.inner;
        let _copies_stay = inner.lock_flush();
        let (intent, state) = log.load(id)?;
        intent.check_format(id)?;
        let refused = match state {
            Some(IntentState::Applied) => None,
            None | Some(IntentState::Failed) => Some("it has not come to its end"),
            Some(IntentState::Reverted) => Some("it never was in the workspace"),
            Some(IntentState::Undone) => Some("it was undone before"),
            Some(IntentState::Expired) => Some("what it replaced is not kept any more"),
        };
        if let Some(reason) = refused {
            return Err(CommitError::NotUndoable { commit: id, reason });
        }
        if !inner.is_for_us(&intent) {
            return Err(CommitError::NotUndoable {
                commit: id,
                reason: "another directory is at the workspace's path now",
            });
        }
        let work = work_of(inner, &intent);
        let mut inverse = Inverse::of(&work, &inner.chunks, &intent, force)?;
        let delta = loop {
            let delta = inverse.delta();
            match validate::validate(inner, &delta) {
                Ok(_) => break delta,
                Err(CommitError::Conflict {
                    path,
                    expected,
                    found,
                }) => inverse.settle(&path, &expected, &found)?,
                Err(error) => return Err(error),
            }
        };
        let mut left = std::mem::take(&mut inverse.left);
        left.sort_by(|a, b| name::order(&a.path, &b.path));
        if delta.is_empty() {
            return Ok(Undo { commit: None, left });
        }
        let undoes = Undoes {
            commit: id,
            whole: left.is_empty(),
        };
        let commit = self.commit_as(&delta, &inverse.likes, Some(undoes), log)?;
        Ok(Undo {
            commit: Some(commit),
            left,
        })
    }
}

/// The inverse of an intent, as far as it can be committed.
struct Inverse<'a> {
    work: &'a Work<'a>,
    chunks: &'a Arc<ChunkStore>,
    force: bool,
    removed: Vec<Removed>,
    placed: Vec<Placed>,
    likes: HashMap<String, Like>,
    /// Paths that were insisted on once; a second conflict there is a race.
    forced: HashSet<String>,
    left: Vec<LeftAlone>,
}

impl<'a> Inverse<'a> {
    fn of(
        work: &'a Work<'a>,
        chunks: &'a Arc<ChunkStore>,
        intent: &'a Intent,
        force: bool,
    ) -> Result<Inverse<'a>, EndError> {
        let mut inverse = Inverse {
            work,
            chunks,
            force,
            removed: Vec::new(),
            placed: Vec::new(),
            likes: HashMap::new(),
            forced: HashSet::new(),
            left: Vec::new(),
        };
        let moved_to = intent.placed_slots();
        let (_, moves) = intent.moves();
        let mut parked = None;
        for operation in &intent.operations {
            match (operation, parked.take()) {
                (
                    Operation::Park {
                        slot,
                        pre,
                        replaced: true,
                        ..
                    },
                    _,
                ) => parked = Some((slot, pre)),
                (Operation::Place { path, post, .. }, Some((slot, pre))) => {
                    let path = before(&moves, path);
                    inverse.bring_back(&path, slot, pre, Some(expect(post)))?;
                }
                (operation, _) => inverse.invert(operation, &moved_to, &moves)?,
            }
        }
        inverse
            .removed
            .sort_by(|a, b| name::order(&b.path, &a.path));
        inverse.placed.sort_by(|a, b| name::order(&a.path, &b.path));
        Ok(inverse)
    }

    fn invert(
        &mut self,
        operation: &Operation,
        moved_to: &HashMap<&str, &str>,
        moves: &[(&str, &str)],
    ) -> Result<(), EndError> {
        match operation {
            Operation::Park {
                path, slot, pre, ..
            } => match moved_to.get(slot.as_str()) {
                Some(to) => self.move_back(path, to, pre)?,
                None => self.bring_back(path, slot, pre, None)?,
            },
            Operation::Move {
                from, path, pre, ..
            } => self.move_back(from, path, pre)?,
            Operation::Exchange {
                slot,
                path,
                pre,
                post,
            } => self.bring_back(&before(moves, path), slot, pre, Some(expect(post)))?,
            Operation::Rmdir { path, pre } => {
                let what = What::Directory { times: None };
                let like = Like::Directory {
                    mode: pre.recorded.version.mode,
                    owner: Some((pre.uid, pre.gid)),
                };
                self.likes.insert(path.clone(), like);
                let path = path.clone();
                self.placed.push(Placed { path, what });
            }
            Operation::Place {
                slot,
                path,
                post,
                contents,
            } => {
                if contents.is_none() && moves.iter().any(|(_, to)| to == path) {
                    return Ok(());
                }
                debug_assert!(!slot.is_empty());
                self.take_away(path.clone(), post)?;
                for (below, post) in contents.iter().flatten() {
                    self.take_away(name::join(path, below), post)?;
                }
            }
            Operation::SetTimes { path, pre, post } => {
                let at = Location::workspace(path);
                let found = self.work.storage.observe(&at)?;
                let is_ours = found.is_some_and(|found| found.version.modified == post.modified);
                // A directory that goes away needs no times. These operations come last.
                let goes_away = |removed: &Removed| removed.path == *path;
                if let Some((from, _)) = moves.iter().find(|(_, to)| to == path) {
                    let moved = self.placed.iter_mut().find(|placed| placed.path == *from);
                    if let (true, Some(What::Moved { times, .. })) =
                        (is_ours, moved.map(|placed| &mut placed.what))
                    {
                        *times = Some(*pre);
                    }
                } else if is_ours && !self.removed.iter().any(goes_away) {
                    let what = What::Times { times: *pre };
                    let path = before(moves, path);
                    self.placed.push(Placed { path, what });
                }
            }
        }
        Ok(())
    }

    fn move_back(&mut self, from: &str, to: &str, pre: &Recorded) -> Result<(), EndError> {
        self.removed.push(Removed {
            path: to.to_owned(),
            pre: self.whatever_is_at(to, pre)?,
            moved_to: Some(from.to_owned()),
        });
        let what = What::Moved {
            from: to.to_owned(),
            times: None,
        };
        let path = from.to_owned();
        self.placed.push(Placed { path, what });
        Ok(())
    }

    /// What was placed goes away again. A directory is what it holds: an undo of a later
    /// commit may have made it again.
    fn take_away(&mut self, path: String, post: &Recorded) -> Result<(), EndError> {
        let pre = match post.version.kind {
            ObjectKind::Directory => self.whatever_is_at(&path, post)?,
            _ => expect(post),
        };
        let moved_to = None;
        self.removed.push(Removed {
            path,
            pre,
            moved_to,
        });
        Ok(())
    }

    /// What was displaced comes back, if it is what it was then.
    fn bring_back(
        &mut self,
        path: &str,
        slot: &str,
        pre: &Recorded,
        replaces: Option<Pre>,
    ) -> Result<(), EndError> {
        let at = self.work.slot(slot);
        if !self.work.is(&at, pre)? {
            self.leave(
                path,
                "its earlier version is not kept, or was changed there",
            );
            return Ok(());
        }
        let storage = self.work.storage;
        let what = if pre.version.kind == ObjectKind::Symlink {
            What::Symlink {
                target: storage.read_link(&at)?,
                times: None,
                replaces,
            }
        } else {
            let bytes = storage.read(&at, UNDO_FILE_BYTES_MAX)?;
            let digest = Digest::of(&bytes);
            let mut content = Content::default();
            content
                .write(self.chunks, 0, &bytes)
                .map_err(|error| EndError::Storage(io::Error::other(error)))?;
            content.presume_digest(digest);
            if pre.digest.is_some_and(|known| known != digest) {
                self.leave(path, "its earlier version was changed where it was kept");
                return Ok(());
            }
            self.likes.insert(path.to_owned(), Like::File(at));
            What::File {
                content,
                digest,
                mode: Some(pre.version.mode),
                times: None,
                group: None,
                replaces,
            }
        };
        let path = path.to_owned();
        self.placed.push(Placed { path, what });
        Ok(())
    }

    /// A moved object moves back as it is now: a program that saves by rename made
    /// another one of it.
    fn whatever_is_at(&self, path: &str, moved: &Recorded) -> Result<Pre, EndError> {
        let found = self.work.storage.observe(&Location::workspace(path))?;
        Ok(match found {
            Some(found) if found.version.kind == moved.version.kind => as_found(found.version),
            _ => expect(moved),
        })
    }

    fn delta(&self) -> Delta {
        Delta::new(self.removed.clone(), self.placed.clone(), None)
    }

    /// Gives way to what is at a path, or insists.
    fn settle(&mut self, path: &str, expected: &str, found: &str) -> Result<(), CommitError> {
        let at = Location::workspace(path);
        let current = self.work.storage.observe(&at).map_err(EndError::Storage)?;
        let current = current.map(|found| found.version);
        let insist = self.force && self.forced.insert(path.to_owned());
        if insist && self.expect_instead(path, current) {
            return Ok(());
        }
        let is_done = self.is_done(path, current.as_ref())?;
        let dropped = self.give_way(path);
        if dropped.is_empty() {
            return Err(CommitError::Conflict {
                path: path.to_owned(),
                expected: expected.to_owned(),
                found: found.to_owned(),
            });
        }
        if !is_done {
            let reason = format!("changed since: expected {expected}, found {found}");
            for path in dropped {
                self.leave(&path, &reason);
            }
        }
        Ok(())
    }

    /// Expects what is there; whether that makes a difference.
    fn expect_instead(&mut self, path: &str, current: Option<Version>) -> bool {
        let mut changed = false;
        if let Some(current) = current {
            for removed in self
                .removed
                .iter_mut()
                .filter(|removed| removed.path == path)
            {
                let is_directory = removed.pre.kind == ObjectKind::Directory;
                if is_directory == (current.kind == ObjectKind::Directory) {
                    removed.pre = as_found(current);
                    changed = true;
                }
            }
        }
        for placed in self.placed.iter_mut().filter(|placed| placed.path == path) {
            let pre = current
                .filter(|current| current.kind != ObjectKind::Directory)
                .map(as_found);
            if current.is_some() && pre.is_none() {
                continue;
            }
            if let What::File { replaces, .. } | What::Symlink { replaces, .. } = &mut placed.what {
                *replaces = pre;
                changed = true;
            }
        }
        changed
    }

    /// Whether a path already is as the undo would leave it.
    fn is_done(&self, path: &str, current: Option<&Version>) -> Result<bool, CommitError> {
        let placed = self.placed.iter().find(|placed| placed.path == path);
        Ok(match (placed.map(|placed| &placed.what), current) {
            (None, None) => true,
            (Some(What::Directory { .. }), Some(current)) => current.kind == ObjectKind::Directory,
            (Some(what), Some(_)) if what.digest().is_some() => {
                let at = Location::workspace(path);
                let found = self.work.storage.digest(&at);
                found.is_ok_and(|(_, digest)| Some(digest) == what.digest())
            }
            _ => false,
        })
    }

    /// Takes everything out of the inverse that has to do with a path, and returns the
    /// paths of that.
    fn give_way(&mut self, path: &str) -> Vec<String> {
        let mut gone: HashSet<String> = HashSet::new();
        // Something of that path; else the directory that is to be removed above it; else
        // all that is to be placed below it.
        let is_it = |candidate: &str| candidate == path;
        let is_above = |candidate: &str| name::is_below(path, candidate);
        let is_under = |candidate: &str| name::is_below(candidate, path);
        let tests: [&dyn Fn(&str) -> bool; 3] = [&is_it, &is_above, &is_under];
        for (round, test) in tests.into_iter().enumerate() {
            for removed in self.removed.iter().filter(|removed| test(&removed.path)) {
                gone.insert(removed.path.clone());
                gone.extend(removed.moved_to.clone());
            }
            for placed in self.placed.iter().filter(|placed| test(&placed.path)) {
                // A directory that is made again above does not stand in the way.
                if round == 1 {
                    continue;
                }
                gone.insert(placed.path.clone());
                if let What::Moved { from, .. } = &placed.what {
                    gone.insert(from.clone());
                }
            }
            if !gone.is_empty() {
                break;
            }
        }
        self.removed.retain(|removed| !gone.contains(&removed.path));
        self.placed.retain(|placed| !gone.contains(&placed.path));
        let mut gone: Vec<_> = gone.into_iter().collect();
        gone.sort();
        gone
    }

    fn leave(&mut self, path: &str, reason: &str) {
        self.left.push(LeftAlone {
            path: path.to_owned(),
            reason: reason.to_owned(),
        });
    }
}

/// Where a path of the version after was before.
fn before(moves: &[(&str, &str)], path: &str) -> String {
    let above = moves
        .iter()
        .filter(|(_, to)| path != *to && name::is_below(path, to))
        .max_by_key(|(_, to)| to.len());
    match above {
        Some((from, to)) => format!("{from}{}", &path[to.len()..]),
        None => path.to_owned(),
    }
}

fn expect(recorded: &Recorded) -> Pre {
    Pre {
        digest: recorded.digest,
        ..as_found(recorded.version)
    }
}

/// Whatever it holds, as long as it is that version.
pub(super) fn as_found(version: Version) -> Pre {
    Pre {
        kind: version.kind,
        version: Some(version),
        digest: None,
        mode: (version.kind == ObjectKind::File).then_some(version.mode),
        old: None,
        read: true,
    }
}
