//! The committer: the only code that writes to a workspace.
//!
//! ```text
//! validate ── stage ── record ── apply ─────────────── flush: sync ── mark applied
//!    │          │         │        └─ take back ── clear slots ── sync ── mark reverted
//!    └──────────┴─────────┴─ the workspace was not touched
//! ```
//!
//! *Record* is the commit point: from there on a crash is followed by a recovery that
//! finishes the intent, or takes it back if a person interfered. What was staged and
//! recorded is durable, so a commit need not wait until the names in the workspace are:
//! a flush makes them so for all commits since the last one. What a commit displaced
//! stays in its slots, and is what undoes it, until it is expired.
//!
//! **Invariant**: on an error the workspace is as it was, except for what other people
//! did to it; their objects are where they put them, or in `.forerun/conflicts`.

mod apply;
mod end;
mod error;
mod expand;
pub(crate) mod intent;
mod lease;
mod order;
mod recover;
pub(crate) mod slots;
mod stage;
pub(crate) mod storage;
pub(crate) mod storage_fs;
mod undo;
mod validate;

use crate::delta::Removed;
use crate::version::ObjectKind;
use crate::workspace::{Committer, Inner};
use crate::{Delta, Workspace};
use apply::Work;
pub(crate) use end::Backlog;
pub use end::{Expired, Recovery, Retention};
use end::{Failed, Unflushed, finish_failed};
pub use error::CommitError;
use forerun_types::{CommitId, PathChange};
use intent::{Intent, IntentLog, IntentState, Operation, SlotPlace, Undoes};
use slots::Probes;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use storage::Location;
pub use undo::Undo;
pub(crate) use validate::shared;

/// What fails where no path of the workspace is to blame.
const STAGING: &str = "make room for a commit to";
/// How often a waiting commit looks whether another program has finished.
const BUSY_POLL: Duration = Duration::from_millis(20);
/// How long a commit waits for a program that has a file open for writing.
const WRITER_WAIT: Duration = Duration::from_secs(2);
/// How often one operation is staged again, while somebody keeps removing its slot.
const STAGINGS_MAX: usize = 8;
/// Most commits that may wait for a flush; bounds what recovery has to look through.
const UNFLUSHED_MAX: usize = 1_000;

/// A commit that is in the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id in the log.
    pub id: CommitId,
    /// What it changed, by path.
    pub changed: Vec<PathChange>,
}

/// An object that is neither ours nor the recorded version, kept rather than removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCopy {
    /// The path that it belongs to.
    pub path: String,
    /// Where it is now, relative to the workspace.
    pub copy: String,
}

/// What a workspace's file system can do for commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Whether staged and displaced files can be in the state directory; else they are in
    /// `.forerun`.
    pub slots_in_state: bool,
    /// Whether a file can be replaced in one step; else its path is empty for a moment.
    pub exchange: bool,
    /// Whether it is known that a file is open for writing; else it is replaced all the
    /// same, and what is written later is kept aside.
    pub leases: bool,
    /// Whether a directory can be moved in one step; else what is in it is moved one by
    /// one.
    pub directories: bool,
}

/// Where a staged object takes attributes from that a delta does not have.
#[derive(Clone)]
enum Like {
    /// Owner, extended attributes and access lists of this file.
    File(Location),
    /// Permission bits, owner and group of a directory.
    Directory {
        mode: u32,
        owner: Option<(u32, u32)>,
    },
}

impl Committer {
    fn probes(&mut self, inner: &Inner) -> Result<Probes, CommitError> {
        Ok(match self.probes {
            Some(probes) => probes,
            None => *self.probes.insert(slots::probe(&*inner.storage)?),
        })
    }
}

impl Workspace {
    /// Tries what the workspace's file system can do.
    ///
    /// # Errors
    /// [`CommitError::UnsupportedFileSystem`] if nothing could be committed there; also if
    /// the workspace can not be written at all.
    pub fn abilities(&self) -> Result<Abilities, CommitError> {
        let probes = self.inner.lock_committer().probes(&self.inner)?;
        Ok(Abilities {
            slots_in_state: probes.place == SlotPlace::State,
            exchange: probes.exchange,
            leases: probes.leases,
            directories: probes.directories,
        })
    }

    /// Puts a delta into the workspace, whole or not at all. It survives a crash from
    /// then on; [`Workspace::flush`] should follow within a second or so.
    ///
    /// # Errors
    /// See [`CommitError`]; on any error the workspace is as it was before. The one
    /// exception is a storage that fails while a failed commit is taken back: then the
    /// next commit or recovery goes on with that first.
    pub fn commit(&self, delta: &Delta, log: &dyn IntentLog) -> Result<Commit, CommitError> {
        let waiting = self.inner.lock_committer().backlog.unflushed.len();
        if waiting >= UNFLUSHED_MAX {
            self.flush(log)?;
        }
        self.commit_as(delta, &HashMap::new(), None, log)
    }

    fn commit_as(
        &self,
        delta: &Delta,
        likes: &HashMap<String, Like>,
        undoes: Option<Undoes>,
        log: &dyn IntentLog,
    ) -> Result<Commit, CommitError> {
        let inner = &*self.inner;
        let mut committer = inner.lock_committer();
        finish_failed(inner, &mut committer, log)?;

        // Validation names the cause of a conflict, and finds those of which no read tells.
        let found = match (delta.check_reads(inner), validate::validate(inner, delta)) {
            (Err(CommitError::Stale(_)), Err(error @ CommitError::Conflict { .. }))
                if error
                    .path()
                    .is_some_and(|path| delta.changes_unread_at(path)) =>
            {
                return Err(error);
            }
            (Err(stale @ CommitError::Stale(_)), _) => return Err(stale),
            (reads, found) => {
                let found = found?;
                reads?;
                found
            }
        };
        let Probes {
            place,
            exchange,
            directories,
            ..
        } = committer.probes(inner)?;
        let moves = |removed: &Removed| {
            removed.moved_to.is_some() && removed.pre.kind == ObjectKind::Directory
        };
        let expanded = match !directories && delta.removed().iter().any(moves) {
            true => Some(expand::expand(inner, delta, likes)?),
            false => None,
        };
        let (plan, likes, found) = match &expanded {
            Some((plan, likes)) => (plan, likes, validate::validate(inner, plan)?),
            None => (delta, likes, found),
        };
        let directory = committer
            .slots
            .take(&*inner.storage, place)
            .map_err(|error| CommitError::of_io(STAGING, ".", error))?;
        let work = Work::new(&*inner.storage, slots::root(place).join(&directory));
        let prepared = stage::stage(inner, plan, &found, likes, exchange, &work.slots)
            .and_then(|staged| wait_for_git(inner).map(|()| staged))
            .and_then(|staged| {
                let intent = Intent {
                    format: Intent::FORMAT,
                    slots: place,
                    directory,
                    identity: Some(inner.identity),
                    undoes,
                    operations: staged.operations,
                };
                slots::write_manifest(&work, &intent)
                    .map_err(|error| CommitError::of_io(STAGING, ".", error))?;
                let id = log.record(self.path(), &intent)?;
                Ok((id, intent, staged.holds))
            });
        let (id, mut intent, mut holds) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                if let Err(error) = slots::clear_staging(&*inner.storage, &work.slots) {
                    tracing::warn!(%error, slots = work.slots.path, "failed to clear slots");
                }
                return Err(error);
            }
        };

        let mut stage_again = |operation: &mut Operation| {
            stage::stage_again(inner, plan, &found, likes, &work.slots, operation)
                .map(|more| holds.extend(more))
        };
        let applied =
            wait_for_writers(|| apply_recorded(inner, &work, delta, &mut intent, &mut stage_again));
        drop(holds);
        if let Err((error, taken_back)) = applied {
            committer.backlog.failed = Some(Failed {
                id,
                intent,
                taken_back,
            });
            if let Err(error) = finish_failed(inner, &mut committer, log) {
                tracing::error!(%error, %id, "failed to take a commit back; recovery will");
                // Its caller is told that it failed, so no recovery may apply it.
                if let Err(error) = log.mark(&[id], IntentState::Failed) {
                    tracing::error!(%error, %id, "failed to note that a commit failed");
                }
            }
            return Err(error);
        }
        committer.backlog.unflushed.push(Unflushed {
            id,
            intent,
            unleased: work.is_unleased(),
        });
        Ok(Commit {
            id,
            changed: delta.changed(),
        })
    }
}

/// While git works on the workspace, its index and the files must not be changed under
/// it.
fn wait_for_git(inner: &Inner) -> Result<(), CommitError> {
    let start = Instant::now();
    let git = Location::workspace(".git");
    loop {
        let lock = inner
            .storage
            .list(&git)
            .unwrap_or_default()
            .into_iter()
            .find(|name| name.ends_with(b".lock"));
        let Some(lock) = lock else {
            return Ok(());
        };
        if start.elapsed() >= inner.git_wait {
            return Err(CommitError::Busy {
                path: format!(".git/{}", String::from_utf8_lossy(&lock)),
                reason: "exists",
            });
        }
        std::thread::sleep(BUSY_POLL);
    }
}

/// Tries again, for a while, as long as another program has a file open for writing.
/// With an error comes whether everything was taken back.
fn wait_for_writers<T>(
    mut attempt: impl FnMut() -> Result<T, (CommitError, bool)>,
) -> Result<T, (CommitError, bool)> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err((CommitError::Busy { .. }, true)) if start.elapsed() < WRITER_WAIT => {
                std::thread::sleep(BUSY_POLL);
            }
            other => return other,
        }
    }
}

/// Applies an intent, or takes it back; tells whether that went well, too.
fn apply_recorded(
    inner: &Inner,
    work: &Work<'_>,
    delta: &Delta,
    intent: &mut Intent,
    stage_again: &mut dyn FnMut(&mut Operation) -> Result<(), CommitError>,
) -> Result<(), (CommitError, bool)> {
    let _gate = inner.write_gate();
    let applied = intent
        .operations
        .iter_mut()
        .try_for_each(|operation| apply_staged(work, operation, stage_again));
    let Err(error) = applied else {
        let (removed, moved) = delta.moves();
        inner.entries.follow(&removed, &moved);
        delta.verify(inner);
        return Ok(());
    };
    // What took place is looked up: of the operation that failed, nobody knows.
    match work.roll_back(intent) {
        Ok(()) => Err((error, true)),
        Err(failure) => {
            tracing::error!(%failure, "failed to take a commit back");
            Err((error, false))
        }
    }
}

/// Applies an operation, whose slot somebody may have removed: after the record, forward
/// is the only way on which nothing is lost.
fn apply_staged(
    work: &Work<'_>,
    operation: &mut Operation,
    stage_again: &mut dyn FnMut(&mut Operation) -> Result<(), CommitError>,
) -> Result<(), CommitError> {
    for _ in 0..STAGINGS_MAX {
        let Err(error) = work.apply(operation) else {
            return Ok(());
        };
        match work.took_place_without_slot(operation) {
            Ok(Some(true)) => return Ok(()),
            Ok(Some(false)) => {
                tracing::warn!(%error, "slots were removed; staging again");
                stage_again(operation)?;
            }
            Ok(None) | Err(_) => return Err(error),
        }
    }
    work.apply(operation)
}

/// Lets every live snapshot follow what was moved and removed.
fn follow(inner: &Inner, intent: &Intent) {
    let (removed, moved) = intent.moves();
    inner.entries.follow(&removed, &moved);
}

fn work_of<'a>(inner: &'a Inner, intent: &Intent) -> Work<'a> {
    let slots = slots::root(intent.slots).join(&intent.directory);
    Work::new(&*inner.storage, slots)
}
