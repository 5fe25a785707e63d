//! Slots: where staged and displaced objects are kept during a commit, and how they are
//! cleared.
//!
//! **Invariant**: an object in a slot is unlinked only after it was found to be what was
//! staged, or the recorded version that a finished commit displaced. Anything else goes
//! to `.forerun/conflicts` in the workspace and is reported.

use super::apply::Work;
use super::end::EndError;
use super::error::CommitError;
use super::intent::{Intent, IntentLog, IntentState, Operation, Recorded, SlotPlace};
use super::storage::{Attributes, Location, Place, Storage};
use super::{BUSY_POLL, KeptCopy, STAGING};
use crate::name::OWN_DIRECTORY;
use crate::version::{ObjectKind, Timestamp};
use forerun_types::CommitId;
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::io;

/// What `.forerun` hides from git: only what belongs to one machine.
const IGNORED: &[u8] = b"/slots\n/conflicts\n/id\n";
/// Where the slots of all workspaces are in the state directory.
pub(crate) const STATE_SLOTS: &str = "slots";
/// Copy of the intent beside its slots, so that slots that nobody knows of any more can
/// be classified.
const MANIFEST: &str = "intent";
/// A directory that is made again; with an inode number behind it, the note that the
/// directory of that number was.
pub(super) const AGAIN: &str = "again";
/// Longest manifest that is read back; one line an operation is far below it.
const MANIFEST_BYTES_MAX: u64 = 1 << 30;
/// Slot directories that are made at once.
const READY: usize = 8;
/// How often we look whether a file is still open for writing, before it is kept.
const CLOSE_TRIES: usize = 5;
/// Most names that are tried for a copy in the conflicts directory.
const COPY_NAMES_MAX: u32 = 10_000;

/// Where the slots of a place are.
pub(super) fn root(place: SlotPlace) -> Location {
    match place {
        SlotPlace::State => Location {
            place: Place::State,
            path: String::new(),
        },
        SlotPlace::Workspace => Location::workspace(format!("{OWN_DIRECTORY}/slots")),
    }
}

/// What a workspace's file system can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probes {
    pub(crate) place: SlotPlace,
    /// Whether two files can change places in one step. Without that, a path that is
    /// replaced is empty for a moment.
    pub(crate) exchange: bool,
    /// Whether it is known who has a file open for writing.
    pub(crate) leases: bool,
    /// Whether every directory can be moved.
    pub(crate) directories: bool,
}

/// Finds a place for slots on the workspace's mount: the state directory, so that the
/// workspace stays clean, else `.forerun`; and tries what can be done there.
pub(crate) fn probe(storage: &dyn Storage) -> Result<Probes, CommitError> {
    let failed = |error| CommitError::of_io(STAGING, ".", error);
    let directories = storage.moves_directories().map_err(failed)?;
    let state = root(SlotPlace::State);
    let workspace = Location::workspace("");
    let in_state = storage.make_own_directory(&state).is_ok()
        && storage.same_mount(&state, &workspace).unwrap_or(false);
    if in_state && let Ok((exchange, leases)) = try_out(storage, &state) {
        return Ok(Probes {
            place: SlotPlace::State,
            exchange,
            leases,
            directories,
        });
    }
    let slots = root(SlotPlace::Workspace);
    make_durable(storage, &slots).map_err(failed)?;
    let (exchange, leases) =
        try_out(storage, &slots).map_err(|error| match is_missing(&error) {
            true => CommitError::UnsupportedFileSystem(error),
            false => failed(error),
        })?;
    Ok(Probes {
        place: SlotPlace::Workspace,
        exchange,
        leases,
        directories,
    })
}

/// Whether the file system does not have an operation.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)
    )
}

/// Renames a file to where nothing is, which has to work; lets two change places, and
/// takes a lease: whether these work.
fn try_out(storage: &dyn Storage, slots: &Location) -> io::Result<(bool, bool)> {
    let files = [slots.join("probe-a"), slots.join("probe-b")];
    let remove = || -> io::Result<()> {
        for file in &files {
            if storage.observe(file)?.is_some() {
                storage.remove_file(file)?;
            }
        }
        Ok(())
    };
    // A crash may have left them behind; they are empty.
    remove()?;
    let attributes = Attributes {
        mode: 0o600,
        ..Attributes::default()
    };
    let write = |file: &Location| storage.write_file(file, 0, &mut std::iter::empty(), &attributes);
    let attempt = || -> io::Result<(bool, bool)> {
        write(&files[0])?;
        storage.rename(&files[0], &files[1])?;
        write(&files[0])?;
        let exchange = match storage.exchange(&files[0], &files[1]) {
            Ok(()) => true,
            Err(error) if is_missing(&error) => false,
            Err(error) => return Err(error),
        };
        let ino = storage.observe(&files[0])?.map(|found| found.version.ino);
        let lease = ino.map_or(Ok(None), |ino| storage.lease(&files[0], ino))?;
        Ok((exchange, lease.is_some()))
    };
    let found = attempt();
    remove()?;
    found
}

/// Empty slot directories for the next commits. One sync makes the names of all of them
/// durable, so that one commit in so many waits for it.
#[derive(Default)]
pub(crate) struct ReadySlots {
    names: Vec<String>,
    /// Number of the last one.
    sequence: u64,
}

impl ReadySlots {
    /// An empty slot directory that no commit had before.
    pub(super) fn take(&mut self, storage: &dyn Storage, place: SlotPlace) -> io::Result<String> {
        let root = root(place);
        while let Some(name) = self.names.pop() {
            // Somebody may have removed it.
            if storage.observe(&root.join(&name))?.is_some() {
                return Ok(name);
            }
        }
        let names: Vec<_> = std::iter::repeat_with(|| self.next_name())
            .take(READY)
            .collect();
        let made = names
            .iter()
            .try_for_each(|name| make(storage, &root.join(name)))
            .and_then(|()| storage.sync_directory(&root));
        self.names = names;
        if let Err(error) = made {
            self.clear(storage, place);
            return Err(error);
        }
        self.names.pop().ok_or(io::ErrorKind::NotFound.into())
    }

    /// Removes those that nobody took; what stays is an orphan for the next opening.
    pub(crate) fn clear(&mut self, storage: &dyn Storage, place: SlotPlace) {
        for name in self.names.drain(..) {
            let _ = storage.remove_directory(&root(place).join(&name));
        }
    }

    fn next_name(&mut self) -> String {
        self.sequence += 1;
        let now = Timestamp::now();
        let process = std::process::id();
        format!(
            "{:x}-{:x}-{process:x}-{:x}",
            now.secs, now.nanos, self.sequence
        )
    }
}

/// Makes a directory for slots, wherever they are.
pub(super) fn make(storage: &dyn Storage, directory: &Location) -> io::Result<()> {
    match directory.place {
        Place::State => storage.make_own_directory(directory),
        Place::Workspace if storage.observe(&root(SlotPlace::Workspace))?.is_some() => {
            make_own(storage, directory)
        }
        // Somebody removed all of it.
        Place::Workspace => make_durable(storage, directory),
    }
}

/// As [`make_own`]: what is staged there is durable only if all that leads there is.
fn make_durable(storage: &dyn Storage, directory: &Location) -> io::Result<()> {
    make_own(storage, directory)?;
    for above in [OWN_DIRECTORY, ""] {
        storage.sync_directory(&Location::workspace(above))?;
    }
    Ok(())
}

/// Makes a directory in `.forerun`, and what keeps git from seeing it.
fn make_own(storage: &dyn Storage, directory: &Location) -> io::Result<()> {
    let own = Location::workspace(OWN_DIRECTORY);
    storage.make_own_directory(&own)?;
    let ignore = own.join(".gitignore");
    if storage.observe(&ignore)?.is_none() {
        let attributes = Attributes {
            mode: 0o600,
            ..Attributes::default()
        };
        let mut pieces = std::iter::once(Ok((0, IGNORED.into())));
        let len = IGNORED.len() as u64;
        // Synced at once: nobody writes it again if it is found empty.
        storage
            .write_file(&ignore, len, &mut pieces, &attributes)?
            .sync()?;
    }
    storage.make_own_directory(directory)
}

/// Writes the intent beside its slots. It is of use only if the log is lost, hence not
/// synced.
pub(super) fn write_manifest(work: &Work<'_>, intent: &Intent) -> io::Result<()> {
    let bytes = serde_json::to_vec(intent).map_err(io::Error::other)?;
    let attributes = Attributes {
        mode: 0o600,
        ..Attributes::default()
    };
    let mut pieces = std::iter::once(Ok((0, bytes.as_slice().into())));
    let len = bytes.len() as u64;
    work.storage
        .write_file(&work.slot(MANIFEST), len, &mut pieces, &attributes)
        .map(drop)
}

/// What a slot may hold once its commit has ended.
struct Expected<'a> {
    slot: &'a str,
    path: &'a str,
    staged: Option<&'a Recorded>,
    /// Of a staged directory.
    contents: Option<&'a [(String, Recorded)]>,
    displaced: Option<&'a Recorded>,
}

fn expected(operation: &Operation) -> Option<Expected<'_>> {
    match operation {
        Operation::Park {
            slot, path, pre, ..
        } => Some(Expected {
            slot,
            path,
            staged: None,
            contents: None,
            displaced: Some(pre),
        }),
        // What could not go back.
        Operation::Move { slot, from, .. } => Some(Expected {
            slot,
            path: from,
            staged: None,
            contents: None,
            displaced: None,
        }),
        Operation::Exchange {
            slot,
            path,
            pre,
            post,
        } => Some(Expected {
            slot,
            path,
            staged: Some(post),
            contents: None,
            displaced: Some(pre),
        }),
        Operation::Place {
            slot,
            path,
            post,
            contents,
        } if contents.is_some() || post.version.kind != ObjectKind::Directory => Some(Expected {
            slot,
            path,
            staged: Some(post),
            contents: contents.as_deref(),
            displaced: None,
        }),
        Operation::Place { .. } | Operation::Rmdir { .. } | Operation::SetTimes { .. } => None,
    }
}

impl Work<'_> {
    /// Moves everything out of the slots that is neither ours nor, unless the commit was
    /// reverted, the version that it displaced.
    pub(super) fn keep_foreign(
        &self,
        intent: &Intent,
        state: IntentState,
        label: &str,
    ) -> io::Result<Vec<KeptCopy>> {
        let mut kept = Vec::new();
        let parked: HashSet<_> = intent.parked_slots().collect();
        let placed = intent.placed_slots();
        for expected in intent.operations.iter().filter_map(expected) {
            let slot = self.slot(expected.slot);
            let Some(found) = self.storage.observe(&slot)? else {
                continue;
            };
            let moved_elsewhere =
                parked.contains(expected.slot) && placed.contains_key(expected.slot);
            let ours = match expected.staged {
                Some(post) if !moved_elsewhere => {
                    self.is_exactly(&slot, post)?
                        && expected.contents.is_none_or(|contents| {
                            self.holds_only(&slot, contents).unwrap_or(false)
                                && contents.iter().all(|(path, post)| {
                                    self.is_closed(&slot.join(path), post).unwrap_or(false)
                                })
                        })
                }
                _ => false,
            };
            let displaced = match expected.displaced {
                Some(pre)
                    if state != IntentState::Reverted
                        && !moved_elsewhere
                        && found.version.kind != ObjectKind::Directory =>
                {
                    self.is_exactly(&slot, pre)?
                }
                _ => false,
            };
            if !ours && !displaced {
                let copy = self.keep(&slot, expected.path, label)?;
                kept.push(KeptCopy {
                    path: expected.path.to_owned(),
                    copy,
                });
            }
        }
        Ok(kept)
    }

    /// Whether nobody has a file open for writing, as far as the system tells. In a slot,
    /// nobody can open it any more.
    fn is_closed(&self, at: &Location, recorded: &Recorded) -> io::Result<bool> {
        if recorded.version.kind != ObjectKind::File {
            return Ok(true);
        }
        for _ in 0..CLOSE_TRIES {
            match self.storage.lease(at, recorded.version.ino) {
                Ok(_) => return Ok(true),
                // A child of ours has all our files open until it runs its program.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(BUSY_POLL);
                }
                // Another inode with the same content.
                Err(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => {
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// As [`Work::is`], nobody writes to it, and its content was read again: a program
    /// that had the file open may have written to it after it was displaced.
    fn is_exactly(&self, at: &Location, recorded: &Recorded) -> io::Result<bool> {
        if !self.is(at, recorded)? || !self.is_closed(at, recorded)? {
            return Ok(false);
        }
        match recorded.digest {
            Some(digest) => match self.storage.digest(at) {
                Ok((_, found)) => Ok(found == digest),
                Err(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => Ok(false),
                Err(error) => Err(error),
            },
            None => Ok(true),
        }
    }

    /// Moves an object to the conflicts directory; returns its path in the workspace.
    fn keep(&self, slot: &Location, path: &str, label: &str) -> io::Result<String> {
        let (directory, name) = crate::name::split(path);
        let base = format!("{OWN_DIRECTORY}/conflicts/{label}");
        let directory = Location::workspace(crate::name::join(&base, directory));
        let directory = Location::workspace(directory.path.trim_end_matches('/'));
        make_own(self.storage, &directory)?;
        for attempt in 0..COPY_NAMES_MAX {
            let copy = match attempt {
                0 => directory.join(name),
                attempt => directory.join(&format!("{name}~{attempt}")),
            };
            match self.storage.rename(slot, &copy) {
                Ok(()) => {
                    tracing::warn!(path, copy = copy.path, "kept a foreign version");
                    return Ok(copy.path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Removes the slots of an intent that has ended; what is foreign was kept before.
    /// What was written to since then, by a program that still had it open, is kept now.
    pub(super) fn clear(&self, intent: &Intent, label: &str) -> io::Result<()> {
        for expected in intent.operations.iter().filter_map(expected) {
            let slot = self.slot(expected.slot);
            if let Some(contents) = expected.contents {
                self.clear_tree(&slot, contents)?;
                continue;
            }
            let known = [expected.staged, expected.displaced];
            let mut is_known = self.storage.observe(&slot)?.is_none();
            for recorded in known.into_iter().flatten() {
                is_known = is_known || self.is(&slot, recorded)?;
            }
            if is_known {
                absent_is_fine(self.storage.remove_file(&slot))?;
            } else {
                self.keep(&slot, expected.path, label)?;
            }
        }
        self.clear_directory()
    }

    fn clear_tree(&self, slot: &Location, contents: &[(String, Recorded)]) -> io::Result<()> {
        for (path, recorded) in contents.iter().rev() {
            let at = slot.join(path);
            absent_is_fine(match recorded.version.kind {
                ObjectKind::Directory => self.storage.remove_directory(&at),
                _ => self.storage.remove_file(&at),
            })?;
        }
        absent_is_fine(self.storage.remove_directory(slot))
    }

    fn clear_directory(&self) -> io::Result<()> {
        absent_is_fine(self.storage.remove_file(&self.slot(MANIFEST)))?;
        let removed = self.storage.remove_directory(&self.slots);
        if !matches!(&removed, Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty) {
            return absent_is_fine(removed);
        }
        for raw in self.storage.list(&self.slots)? {
            let name = String::from_utf8(raw).map_err(|_| io::ErrorKind::InvalidData)?;
            if name.starts_with(AGAIN) {
                absent_is_fine(self.storage.remove_directory(&self.slot(&name)))?;
            }
        }
        absent_is_fine(self.storage.remove_directory(&self.slots))
    }
}

/// Clears slot directories that nothing needs any more: of a commit that was never
/// recorded, or that has ended. If the log lost an intent, what its commit displaced is
/// kept.
pub(super) fn clear_orphans(
    storage: &dyn Storage,
    place: SlotPlace,
    log: &dyn IntentLog,
) -> Result<Vec<(Option<CommitId>, KeptCopy)>, EndError> {
    let root = root(place);
    let mut kept = Vec::new();
    let names = match storage.observe(&root)? {
        Some(_) => storage.list(&root)?,
        None => return Ok(kept),
    };
    for name in names
        .into_iter()
        .filter_map(|raw| String::from_utf8(raw).ok())
    {
        let work = Work::new(storage, root.join(&name));
        let owner = log.owner(&name)?;
        let known = match owner {
            Some(id) => match log.load(id)? {
                (_, None | Some(IntentState::Failed | IntentState::Applied)) => continue,
                (intent, Some(state)) => Some((intent, state)),
            },
            None => read_manifest(&work)?.map(|intent| (intent, IntentState::Reverted)),
        };
        match known {
            Some((intent, state)) => {
                let found = work.keep_foreign(&intent, state, &name)?;
                kept.extend(found.into_iter().map(|copy| (owner, copy)));
                work.clear(&intent, &name)?;
            }
            // Staging did not end, so nothing in it was ever in the workspace.
            None => clear_staging(storage, &work.slots)?,
        }
    }
    Ok(kept)
}

/// The copy of the intent beside its slots, if there is a whole one.
fn read_manifest(work: &Work<'_>) -> io::Result<Option<Intent>> {
    let manifest = work.slot(MANIFEST);
    if work.storage.observe(&manifest)?.is_none() {
        return Ok(None);
    }
    let bytes = work.storage.read(&manifest, MANIFEST_BYTES_MAX);
    Ok(bytes
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Removes a slot directory from the state directory, of a workspace that is gone.
pub(super) fn remove_of_gone(state_dir: &std::path::Path, directory: &str) -> io::Result<()> {
    let of_workspaces = match std::fs::read_dir(state_dir.join(STATE_SLOTS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for slots in of_workspaces {
        let slots = slots?.path();
        absent_is_fine(std::fs::remove_dir_all(slots.join(directory)))?;
        // Refused as long as there are others.
        let _ = std::fs::remove_dir(&slots);
    }
    Ok(())
}

/// Removes a directory in which only staging wrote.
pub(super) fn clear_staging(storage: &dyn Storage, directory: &Location) -> io::Result<()> {
    let Some(found) = storage.observe(directory)? else {
        return Ok(());
    };
    if found.version.kind != ObjectKind::Directory {
        return absent_is_fine(storage.remove_file(directory));
    }
    for raw in storage.list(directory)? {
        let name = String::from_utf8(raw).map_err(|_| io::ErrorKind::InvalidData)?;
        clear_staging(storage, &directory.join(&name))?;
    }
    absent_is_fine(storage.remove_directory(directory))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Intent {
    pub(super) fn parked_slots(&self) -> impl Iterator<Item = &str> {
        self.operations
            .iter()
            .filter_map(|operation| match operation {
                Operation::Park { slot, .. } => Some(slot.as_str()),
                _ => None,
            })
    }

    /// Where a base object or a staged file goes from its slot, by slot.
    pub(super) fn placed_slots(&self) -> HashMap<&str, &str> {
        let placed = self
            .operations
            .iter()
            .filter_map(|operation| match operation {
                Operation::Place {
                    slot,
                    path,
                    contents: None,
                    ..
                } => Some((slot.as_str(), path.as_str())),
                _ => None,
            });
        placed.collect()
    }

    /// Base paths that it removes, and those that it moves, from and to.
    pub(super) fn moves(&self) -> (Vec<&str>, Vec<(&str, &str)>) {
        let placed = self.placed_slots();
        let (mut removed, mut moved) = (Vec::new(), Vec::new());
        for operation in &self.operations {
            match operation {
                Operation::Move { from, path, .. } => moved.push((from.as_str(), path.as_str())),
                Operation::Rmdir { path, .. } => removed.push(path.as_str()),
                Operation::Park { replaced: true, .. } => {}
                Operation::Park { path, slot, .. } => match placed.get(slot.as_str()) {
                    Some(to) => moved.push((path.as_str(), *to)),
                    None => removed.push(path.as_str()),
                },
                _ => {}
            }
        }
        (removed, moved)
    }
}
