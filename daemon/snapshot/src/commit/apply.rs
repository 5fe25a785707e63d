//! Applying operations, and taking them back: each a compare-and-swap against whoever
//! else is at work in the directory.
//!
//! **Invariant**: what is at a path and is neither ours nor the recorded version stays
//! at the path, or returns to it; nothing here unlinks anything.

use super::error::CommitError;
use super::intent::{Operation, Recorded, RemovedDirectory};
use super::slots::AGAIN;
use super::storage::{Lease, Location, Observed, Place, Storage};
use super::validate::conflict;
use crate::version::{ObjectKind, Version};
use std::cell::Cell;
use std::collections::HashSet;
use std::io;

/// How often two parties may take turns at one path before we give in.
const TURNS_MAX: usize = 16;

/// A commit's slots and the workspace.
pub(super) struct Work<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) slots: Location,
    /// Whether a file was displaced that somebody may have open for writing, because no
    /// lease on it was to be had.
    unleased: Cell<bool>,
}

impl<'a> Work<'a> {
    pub(super) fn new(storage: &'a dyn Storage, slots: Location) -> Work<'a> {
        Work {
            storage,
            slots,
            unleased: Cell::new(false),
        }
    }
}

impl Work<'_> {
    /// Whether something may still be written to what was displaced.
    pub(super) fn is_unleased(&self) -> bool {
        self.unleased.get()
    }

    pub(super) fn slot(&self, name: &str) -> Location {
        self.slots.join(name)
    }

    /// Applies one operation, or leaves everything as it was, unless the storage fails.
    pub(super) fn apply(&self, operation: &Operation) -> Result<(), CommitError> {
        let failed = |error| CommitError::of_io("change", operation.path(), error);
        match operation {
            Operation::Park {
                path, slot, pre, ..
            } => {
                let slot = self.slot(slot);
                self.move_away(path, &slot, &slot, pre)
            }
            Operation::Move {
                from,
                path,
                pre,
                slot,
                via,
            } => {
                let to = Location::workspace(path);
                self.move_away(via.as_ref().unwrap_or(from), &to, &self.slot(slot), pre)
            }
            Operation::Rmdir { path, pre } => {
                let at = Location::workspace(path);
                if !self.is_removable(&at, &pre.recorded).map_err(failed)? {
                    let found = self.storage.observe(&at).map_err(failed)?;
                    return Err(differs(path, &pre.recorded, found.as_ref()));
                }
                self.storage.remove_directory(&at).map_err(failed)
            }
            Operation::Place {
                slot,
                path,
                contents,
                ..
            } => {
                let (slot, at) = (self.slot(slot), Location::workspace(path));
                let contents = contents.as_deref().unwrap_or_default();
                // Who removes slots may be at work in this one, and still be after that.
                if !self.holds_all(&slot, contents).map_err(failed)? {
                    return Err(not_staged(path));
                }
                self.storage.rename(&slot, &at).map_err(failed)?;
                if self.holds_all(&at, contents).map_err(failed)? {
                    return Ok(());
                }
                super::slots::make(self.storage, &self.slots).map_err(failed)?;
                self.storage.rename(&at, &slot).map_err(failed)?;
                Err(not_staged(path))
            }
            Operation::Exchange {
                slot,
                path,
                pre,
                post,
            } => self.exchange(path, &self.slot(slot), pre, post),
            Operation::SetTimes { path, post, .. } => self
                .storage
                .set_times(&Location::workspace(path), post.accessed, post.modified)
                .map_err(failed),
        }
    }

    /// Takes one applied operation back, unless a person changed the object since; such
    /// an object stays. `is_moved` for what an operation before it parked. Idempotent.
    pub(super) fn take_back(&self, operation: &Operation, is_moved: bool) -> io::Result<()> {
        match operation {
            Operation::Park { path, slot, .. } => {
                let slot = self.slot(slot);
                if self.storage.observe(&slot)?.is_some() {
                    lenient(self.storage.rename(&slot, &Location::workspace(path)))?;
                }
                Ok(())
            }
            Operation::Move {
                from,
                path,
                pre,
                slot,
                via,
            } => {
                let from = Location::workspace(via.as_ref().unwrap_or(from));
                let at = Location::workspace(path);
                if !self.is_same_object(&at, pre)? {
                    return Ok(());
                }
                let back = self.give_back(&at, from, &self.slot(slot))?;
                // Look again: another object may have come to the path meanwhile.
                if !self.is_same_object(&back, pre)? {
                    lenient(self.storage.rename(&back, &at))?;
                }
                Ok(())
            }
            Operation::Rmdir { path, pre } => self.make_again(&Location::workspace(path), pre),
            Operation::Place {
                slot,
                path,
                post,
                contents,
            } => {
                let slot = self.slot(slot);
                self.take_back_placed(path, &slot, post, contents.as_deref(), is_moved)
            }
            Operation::Exchange {
                slot, path, post, ..
            } => {
                let (at, slot) = (Location::workspace(path), self.slot(slot));
                if self.is(&at, post)? && self.storage.observe(&slot)?.is_some() {
                    self.swap_back(&at, &slot, &post.version)?;
                }
                Ok(())
            }
            Operation::SetTimes { path, pre, post } => {
                let at = Location::workspace(path);
                match self.storage.observe(&at)? {
                    Some(found) if found.version.modified == post.modified => {
                        lenient(self.storage.set_times(&at, pre.accessed, pre.modified))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// Makes a directory again that was removed. It is another inode, and the commit may be
    /// tried once more, by a recovery if need be: so it is noted in the slots before it comes
    /// to its place. Where there is no room for that, it is made all the same.
    fn make_again(&self, at: &Location, pre: &RemovedDirectory) -> io::Result<()> {
        let make = |at: &Location| {
            let owner = Some((pre.uid, pre.gid));
            let mode = pre.recorded.version.mode;
            self.storage.make_directory(at, mode, owner)?;
            if let Err(error) = self.note_again(at) {
                tracing::warn!(%error, path = at.path, "failed to note a directory as ours");
            }
            Ok(())
        };
        let fresh = self.slot(AGAIN);
        let placed = super::slots::make(self.storage, &self.slots)
            .and_then(|()| make(&fresh))
            .and_then(|()| self.storage.rename(&fresh, at));
        if placed.is_ok() {
            return Ok(());
        }
        if let Ok(Some(unplaced)) = self.observe(&fresh) {
            let _ = self.storage.remove_directory(&fresh);
            let _ = self.storage.remove_directory(&self.note_of(&unplaced));
        }
        // Who may not write to a directory can make it, and not move it.
        lenient(make(at))
    }

    fn note_again(&self, at: &Location) -> io::Result<()> {
        match self.observe(at)? {
            Some(made) => self.storage.make_own_directory(&self.note_of(&made)),
            None => Ok(()),
        }
    }

    fn note_of(&self, made_again: &Version) -> Location {
        self.slot(&format!("{AGAIN}-{:x}", made_again.ino))
    }

    /// Whether a directory is the recorded one, or was made again by us in its place.
    pub(super) fn is_removable(&self, at: &Location, recorded: &Recorded) -> io::Result<bool> {
        let Some(found) = self.observe(at)? else {
            return Ok(false);
        };
        Ok(found.same_object(&recorded.version)
            || (found.kind == ObjectKind::Directory
                && self.observe(&self.note_of(&found))?.is_some()))
    }

    /// Moves what is at a path to where nothing is. If it is not what was recorded, it goes
    /// back, or into the slot, if the path is taken again by then.
    fn move_away(
        &self,
        path: &str,
        to: &Location,
        slot: &Location,
        pre: &Recorded,
    ) -> Result<(), CommitError> {
        let failed = |error| CommitError::of_io("move", path, error);
        let at = Location::workspace(path);
        let lease = self.lease(path, pre)?;
        self.expect(path, pre)?;
        self.storage.rename(&at, to).map_err(|error| {
            let is_taken = error.kind() == io::ErrorKind::AlreadyExists && to != slot;
            CommitError::of_io("move", if is_taken { &to.path } else { path }, error)
        })?;
        let is_ours = self.is(to, pre).map_err(failed)?;
        let is_quiet = is_held(lease.as_deref()).map_err(failed)?;
        if is_ours && is_quiet {
            return Ok(());
        }
        // Somebody was faster.
        let found = self.storage.observe(to).map_err(failed)?;
        self.give_back(to, at, slot).map_err(failed)?;
        match is_ours {
            true => Err(open_for_writing(path)),
            false => Err(differs(path, pre, found.as_ref())),
        }
    }

    /// Moves an object back to where it was. If somebody has taken that name since, it goes
    /// into the slot, and is kept when the slots are cleared. Returns where it is.
    fn give_back(&self, at: &Location, from: Location, slot: &Location) -> io::Result<Location> {
        match self.storage.rename(at, &from) {
            Ok(()) => return Ok(from),
            error => lenient(error)?,
        }
        if at != slot {
            super::slots::make(self.storage, &self.slots)?;
            lenient(self.storage.rename(at, slot))?;
        }
        Ok(slot.clone())
    }

    /// Makes sure that nobody has a file open for writing that is to lose its place: what
    /// was written to it later would be lost with it.
    fn lease(&self, path: &str, pre: &Recorded) -> Result<Option<Box<dyn Lease>>, CommitError> {
        if pre.version.kind != ObjectKind::File {
            return Ok(None);
        }
        let at = Location::workspace(path);
        match self.storage.lease(&at, pre.version.ino) {
            Ok(Some(lease)) => Ok(Some(lease)),
            Ok(None) => {
                self.unleased.set(true);
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(open_for_writing(path)),
            Err(error) => Err(CommitError::of_io("look at", path, error)),
        }
    }

    fn exchange(
        &self,
        path: &str,
        slot: &Location,
        pre: &Recorded,
        post: &Recorded,
    ) -> Result<(), CommitError> {
        let failed = |error| CommitError::of_io("replace", path, error);
        let at = Location::workspace(path);
        let lease = self.lease(path, pre)?;
        self.expect(path, pre)?;
        // What is about to go into the base is what was staged.
        if !self.is(slot, post).map_err(failed)? {
            return Err(not_staged(path));
        }
        self.storage.exchange(slot, &at).map_err(failed)?;
        let is_ours = self.is(slot, pre).map_err(failed)?;
        let is_quiet = is_held(lease.as_deref()).map_err(failed)?;
        if is_ours && is_quiet {
            return Ok(());
        }
        let found = self.storage.observe(slot).map_err(failed)?;
        // Before the lease is given back: who waits for it gets the file at its place.
        self.swap_back(&at, slot, &post.version).map_err(failed)?;
        match is_ours {
            true => Err(open_for_writing(path)),
            false => Err(differs(path, pre, found.as_ref())),
        }
    }

    /// Of an operation that failed, whether it took place all the same; `None` unless
    /// somebody removed what it needs of the slots, as `git clean -fdx` does with slots in
    /// the workspace. What it displaced is gone then, too.
    pub(super) fn took_place_without_slot(
        &self,
        operation: &Operation,
    ) -> io::Result<Option<bool>> {
        if self.slots.place != Place::Workspace {
            return Ok(None);
        }
        let at = Location::workspace(operation.path());
        let is_there = |slot: &str| Ok::<_, io::Error>(self.observe(&self.slot(slot))?.is_some());
        Ok(match operation {
            Operation::Park { slot, replaced, .. } if !is_there(slot)? => {
                let no_slots = self.observe(&self.slots)?.is_none();
                match self.observe(&at)?.is_none() {
                    // A person may have removed it; then it is not to be made again.
                    true => (no_slots || !replaced).then_some(true),
                    false => no_slots.then_some(false),
                }
            }
            Operation::Exchange { slot, post, .. } if !is_there(slot)? => {
                Some(self.is_same_object(&at, post)?)
            }
            Operation::Place {
                slot,
                post,
                contents,
                ..
            } => {
                let contents = contents.as_deref().unwrap_or_default();
                if !is_there(slot)? {
                    Some(self.is_same_object(&at, post)? && self.holds_all(&at, contents)?)
                } else {
                    let is_whole = self.holds_all(&self.slot(slot), contents)?;
                    (!is_whole).then_some(false)
                }
            }
            _ => None,
        })
    }

    /// Whether a staged directory holds all that was staged in it. Looked up only where
    /// somebody else might remove it.
    fn holds_all(&self, at: &Location, contents: &[(String, Recorded)]) -> io::Result<bool> {
        if self.slots.place != Place::Workspace {
            return Ok(true);
        }
        for (path, recorded) in contents {
            if !self.is_same_object(&at.join(path), recorded)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Exchanges back until what comes out is what we last put in. The newest foreign
    /// object ends at the path, every older one in the slot.
    pub(super) fn swap_back(
        &self,
        at: &Location,
        slot: &Location,
        ours: &Version,
    ) -> io::Result<()> {
        let mut last_put = Some(*ours);
        for _ in 0..TURNS_MAX {
            let going_in = self.observe(slot)?;
            match self.storage.exchange(slot, at) {
                // Somebody removed it: the name is free, and stays so.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other?,
            }
            let came_out = self.observe(slot)?;
            if unchanged(last_put.as_ref(), came_out.as_ref()) {
                return Ok(());
            }
            last_put = going_in;
        }
        Ok(())
    }

    fn take_back_placed(
        &self,
        path: &str,
        slot: &Location,
        post: &Recorded,
        contents: Option<&[(String, Recorded)]>,
        is_moved: bool,
    ) -> io::Result<()> {
        let at = Location::workspace(path);
        let ours = match contents {
            // What is moved goes back as it is by now; what was staged only as it was.
            None if is_moved => self.is_same_object(&at, post)?,
            None => self.is(&at, post)?,
            Some(contents) => self.is(&at, post)? && self.holds_only(&at, contents)?,
        };
        if !ours || self.storage.observe(slot)?.is_some() {
            return Ok(());
        }
        lenient(self.storage.rename(&at, slot))?;
        // Look again: what was added between the look and the rename goes back with it.
        let still = match contents {
            Some(contents) => self.holds_only(slot, contents)?,
            None if post.version.kind == ObjectKind::Directory => true,
            None if is_moved => self.is_same_object(slot, post)?,
            None => self.is(slot, post)?,
        };
        if !still {
            lenient(self.storage.rename(slot, &at))?;
        }
        Ok(())
    }

    /// Whether a staged directory holds nothing but what was staged in it; some of that
    /// may be missing.
    pub(super) fn holds_only(
        &self,
        directory: &Location,
        contents: &[(String, Recorded)],
    ) -> io::Result<bool> {
        let mut directories = vec![""];
        for (path, recorded) in contents {
            let at = directory.join(path);
            let is_there = self.observe(&at)?.is_some();
            if is_there && !self.is(&at, recorded)? {
                return Ok(false);
            }
            if is_there && recorded.version.kind == ObjectKind::Directory {
                directories.push(path);
            }
        }
        let known: HashSet<_> = contents.iter().map(|(path, _)| path.as_str()).collect();
        for relative in directories {
            let at = match relative {
                "" => directory.clone(),
                relative => directory.join(relative),
            };
            for raw in self.storage.list(&at)? {
                let path = String::from_utf8(raw).map(|name| crate::name::join(relative, &name));
                if !path.is_ok_and(|path| known.contains(path.as_str())) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn observe(&self, at: &Location) -> io::Result<Option<Version>> {
        Ok(self.storage.observe(at)?.map(|observed| observed.version))
    }

    fn expect(&self, path: &str, recorded: &Recorded) -> Result<(), CommitError> {
        let failed = |error| CommitError::of_io("look at", path, error);
        let at = Location::workspace(path);
        if self.is(&at, recorded).map_err(failed)? {
            return Ok(());
        }
        let found = self.storage.observe(&at).map_err(failed)?;
        Err(differs(path, recorded, found.as_ref()))
    }

    /// Whether the recorded object is at a location, unchanged. An equal digest beats a
    /// changed time.
    pub(super) fn is(&self, at: &Location, recorded: &Recorded) -> io::Result<bool> {
        let Some(found) = self.observe(at)? else {
            return Ok(false);
        };
        if found.same_version(&recorded.version) {
            return Ok(true);
        }
        let same_kind = found.kind == recorded.version.kind
            && (found.kind != ObjectKind::File || found.mode == recorded.version.mode);
        match recorded.digest {
            Some(digest) if same_kind && found.size == recorded.version.size => {
                Ok(self.storage.digest(at)?.1 == digest)
            }
            _ => Ok(false),
        }
    }

    /// Whether the recorded inode is at a location, whatever it holds by now.
    pub(super) fn is_same_object(&self, at: &Location, recorded: &Recorded) -> io::Result<bool> {
        let found = self.observe(at)?;
        Ok(found.is_some_and(|found| found.same_object(&recorded.version)))
    }
}

impl Operation {
    /// The path that it changes; of a move, the one after.
    pub(super) fn path(&self) -> &str {
        match self {
            Operation::Park { path, .. }
            | Operation::Move { path, .. }
            | Operation::Rmdir { path, .. }
            | Operation::Place { path, .. }
            | Operation::Exchange { path, .. }
            | Operation::SetTimes { path, .. } => path,
        }
    }
}

/// Whether nobody wants to write to the file; where there is no lease, nobody knows.
fn is_held(lease: Option<&dyn Lease>) -> io::Result<bool> {
    lease.map_or(Ok(true), Lease::is_held)
}

pub(super) fn not_staged(path: &str) -> CommitError {
    CommitError::Io {
        doing: "find the staged version of",
        path: path.to_owned(),
        source: io::ErrorKind::NotFound.into(),
    }
}

fn open_for_writing(path: &str) -> CommitError {
    CommitError::Busy {
        path: path.to_owned(),
        reason: "is open for writing",
    }
}

fn unchanged(put: Option<&Version>, came_out: Option<&Version>) -> bool {
    match (put, came_out) {
        (Some(put), Some(came_out)) => put.same_version(came_out),
        (None, None) => true,
        _ => false,
    }
}

fn differs(path: &str, expected: &Recorded, found: Option<&Observed>) -> CommitError {
    let found = found.map(|found| &found.version);
    conflict(path, expected.version.to_string(), found)
}

/// While taking back, a name that a person took, or a directory that a person removed,
/// is theirs.
fn lenient(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::AlreadyExists
                    | io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}
