//! The committer: the only code that writes to a workspace.
//!
//! ```text
//! validate ── stage ── record ── apply ──────────── sync ── mark applied ── clear slots
//!    │          │         │        └─ take back ─── clear slots ── mark reverted
//!    └──────────┴─────────┴─ the workspace was not touched
//! ```
//!
//! *Record* is the commit point: from there on a crash is followed by a recovery that
//! finishes the intent, or takes it back if a person interfered. A commit is durable
//! when it returns; there is at most one unfinished intent for a workspace.
//!
//! **Invariant**: on an error the workspace is as it was, except for what other people
//! did to it; their objects are where they put them, or in `.forerun/conflicts`.

mod apply;
mod error;
pub(crate) mod intent;
mod recover;
mod slots;
mod stage;
pub(crate) mod storage;
pub(crate) mod storage_fs;
mod validate;

use crate::workspace::{Committer, Inner, Pending};
use crate::{Delta, Workspace};
use apply::Work;
pub use error::CommitError;
use forerun_types::{CommitId, PathChange};
use intent::{Intent, IntentLog, IntentState, SlotPlace};
use std::io;
use std::time::{Duration, Instant};
use storage::Location;

/// How often a waiting commit looks whether git has finished.
const GIT_POLL: Duration = Duration::from_millis(20);

/// A commit that is in the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its id in the log.
    pub id: CommitId,
    /// What it changed, by path.
    pub changed: Vec<PathChange>,
    /// Objects of somebody else that were kept aside.
    pub kept: Vec<KeptCopy>,
}

/// An object that is neither ours nor the recorded version, kept rather than removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCopy {
    /// The path that it belongs to.
    pub path: String,
    /// Where it is now, relative to the workspace.
    pub copy: String,
}

/// What recovery did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Commits that are in the workspace now.
    pub applied: Vec<CommitId>,
    /// Commits that were taken back, and why.
    pub reverted: Vec<(CommitId, String)>,
    /// Objects of somebody else that were kept aside.
    pub kept: Vec<KeptCopy>,
}

impl Workspace {
    /// Puts a delta into the workspace, whole or not at all, and makes it durable.
    ///
    /// # Errors
    /// See [`CommitError`]; on any error the workspace is as it was before. The one
    /// exception is a storage that fails while a failed commit is taken back: then the
    /// next commit or recovery goes on with that first.
    pub fn commit(&self, delta: &Delta, log: &dyn IntentLog) -> Result<Commit, CommitError> {
        let inner = &*self.inner;
        let mut committer = inner.lock_committer();
        finish_pending(inner, &mut committer, log)?;

        let found = validate::validate(inner, delta)?;
        let place = match committer.slot_place {
            Some(place) => place,
            None => *committer.slot_place.insert(slots::choose(&*inner.storage)?),
        };
        let directory = committer.next_directory();
        let work = Work {
            storage: &*inner.storage,
            slots: slots::root(place).join(&directory),
        };
        let prepared = prepare(inner, delta, &found, &work, place, directory)
            .and_then(|prepared| wait_for_git(inner).map(|()| prepared))
            .and_then(|(intent, holds)| {
                let id = log.record(self.path(), &intent)?;
                Ok((id, intent, holds))
            });
        let (id, intent, holds) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                if let Err(error) = slots::clear_staging(&*inner.storage, &work.slots) {
                    tracing::warn!(%error, slots = work.slots.path, "failed to clear slots");
                }
                return Err(error);
            }
        };

        let applied = apply_recorded(inner, &mut committer, &work, id, &intent);
        drop(holds);
        if let Err(error) = applied {
            conclude(
                inner,
                &mut committer,
                log,
                id,
                intent,
                IntentState::Reverted,
            );
            return Err(error);
        }
        delta.verify();
        let kept = conclude(inner, &mut committer, log, id, intent, IntentState::Applied);
        Ok(Commit {
            id,
            changed: delta.changed(),
            kept,
        })
    }

    /// Brings every unfinished intent to its end. To be called after opening, before
    /// anything else.
    ///
    /// # Errors
    /// If the log or the storage failed; what was recovered until then stays so.
    pub fn recover(&self, log: &dyn IntentLog) -> Result<Recovery, CommitError> {
        let inner = &*self.inner;
        let storage = &*inner.storage;
        let mut committer = inner.lock_committer();
        finish_pending(inner, &mut committer, log)?;
        let mut recovery = Recovery::default();
        let unfinished = log.unfinished(self.path())?;
        let owned: Vec<_> = unfinished
            .iter()
            .map(|(_, intent)| intent.directory.as_str())
            .collect();
        for (id, intent) in &unfinished {
            let (state, reason) = recover_one(inner, *id, intent)?;
            let kept =
                end(inner, log, *id, intent, state).map_err(|error| error.into_commit_error())?;
            recovery.kept.extend(kept);
            match state {
                IntentState::Applied => recovery.applied.push(*id),
                IntentState::Reverted => {
                    recovery.reverted.push((*id, reason.unwrap_or_default()));
                }
            }
        }
        for place in [SlotPlace::State, SlotPlace::Workspace] {
            match slots::clear_orphans(storage, place, &owned) {
                Ok(kept) => recovery.kept.extend(kept),
                Err(error) => {
                    let path = slots::root(place).path;
                    return Err(CommitError::of_io("clear", &path, error));
                }
            }
        }
        Ok(recovery)
    }
}

/// Stages a delta and plans its operations.
fn prepare(
    inner: &Inner,
    delta: &Delta,
    found: &validate::Found,
    work: &Work<'_>,
    place: SlotPlace,
    directory: String,
) -> Result<(Intent, Vec<Box<dyn storage::Hold>>), CommitError> {
    let failed = |error| CommitError::of_io("make", &work.slots.path, error);
    inner
        .storage
        .make_own_directory(&work.slots)
        .map_err(failed)?;
    let staged = stage::stage(inner, delta, found, &work.slots)?;
    let intent = Intent {
        format: Intent::FORMAT,
        slots: place,
        directory,
        operations: staged.operations,
    };
    slots::write_manifest(&*inner.storage, &work.slots, &intent).map_err(failed)?;
    let root = slots::root(place);
    inner.storage.sync_directory(&root).map_err(failed)?;
    Ok((intent, staged.holds))
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
            });
        }
        std::thread::sleep(GIT_POLL);
    }
}

/// Applies an intent, or takes it back. An error of a storage that can do neither leaves
/// it to recovery.
fn apply_recorded(
    inner: &Inner,
    committer: &mut Committer,
    work: &Work<'_>,
    id: CommitId,
    intent: &Intent,
) -> Result<(), CommitError> {
    let _gate = inner.write_gate();
    let mut done = 0;
    let Err(error) = work.apply_all(&intent.operations, &mut done) else {
        let (removed, moved) = intent.moves();
        inner.entries.follow(&removed, &moved);
        return Ok(());
    };
    for operation in intent.operations[..done].iter().rev() {
        if let Err(failure) = work.take_back(operation) {
            let path = operation.path();
            tracing::error!(%failure, path, "failed to take a commit back; recovery will");
            committer.pending = Some(Pending::Recover(id, intent.clone()));
            break;
        }
    }
    Err(error)
}

/// Ends an intent as far as possible now; the rest is done before the next commit.
fn conclude(
    inner: &Inner,
    committer: &mut Committer,
    log: &dyn IntentLog,
    id: CommitId,
    intent: Intent,
    state: IntentState,
) -> Vec<KeptCopy> {
    if committer.pending.is_some() {
        return Vec::new();
    }
    match end(inner, log, id, &intent, state) {
        Ok(kept) => kept,
        Err(failure) => {
            tracing::error!(error = %failure.into_commit_error(), %id, "a commit is not finished yet");
            committer.pending = Some(Pending::End(id, intent, state));
            Vec::new()
        }
    }
}

/// Brings whatever an earlier commit left undone to its end.
fn finish_pending(
    inner: &Inner,
    committer: &mut Committer,
    log: &dyn IntentLog,
) -> Result<(), CommitError> {
    let Some(pending) = committer.pending.clone() else {
        return Ok(());
    };
    let (id, intent, state) = match pending {
        Pending::End(id, intent, state) => (id, intent, state),
        Pending::Recover(id, intent) => {
            // It was to be taken back; whoever asked for it was told so.
            let work = work_of(inner, &intent);
            let _gate = inner.write_gate();
            work.roll_back(&intent)?;
            (id, intent, IntentState::Reverted)
        }
    };
    committer.pending = Some(Pending::End(id, intent.clone(), state));
    end(inner, log, id, &intent, state).map_err(EndError::into_commit_error)?;
    committer.pending = None;
    Ok(())
}

fn recover_one(
    inner: &Inner,
    id: CommitId,
    intent: &Intent,
) -> Result<(IntentState, Option<String>), CommitError> {
    if intent.format != Intent::FORMAT {
        return Err(CommitError::Malformed {
            reason: format!("{id} has the unknown format {}", intent.format),
        });
    }
    let _gate = inner.write_gate();
    let work = work_of(inner, intent);
    let finished = work
        .is_finished()
        .map_err(|error| CommitError::of_io("look at", &work.slots.path, error))?;
    let ended = match finished {
        true => (IntentState::Applied, None),
        false => work.finish_or_revert(intent)?,
    };
    if ended.0 == IntentState::Applied {
        let (removed, moved) = intent.moves();
        inner.entries.follow(&removed, &moved);
    }
    Ok(ended)
}

fn work_of<'a>(inner: &'a Inner, intent: &Intent) -> Work<'a> {
    Work {
        storage: &*inner.storage,
        slots: slots::root(intent.slots).join(&intent.directory),
    }
}

enum EndError {
    Storage(io::Error),
    Log(intent::IntentLogError),
}

impl EndError {
    fn into_commit_error(self) -> CommitError {
        match self {
            EndError::Storage(error) => CommitError::of_io("finish the commit in", ".", error),
            EndError::Log(error) => error.into(),
        }
    }
}

/// Keeps what is foreign, makes the result durable, marks the intent, clears its slots.
/// Of an intent that was taken back the slots go first, so that no recovery can apply it.
fn end(
    inner: &Inner,
    log: &dyn IntentLog,
    id: CommitId,
    intent: &Intent,
    state: IntentState,
) -> Result<Vec<KeptCopy>, EndError> {
    let storage = &*inner.storage;
    let work = work_of(inner, intent);
    let label = id.to_string();
    if work.is_finished().map_err(EndError::Storage)? {
        log.mark(id, state).map_err(EndError::Log)?;
        let finished = work.mark_finished().map_err(EndError::Storage)?;
        clear_finished(&finished, id, intent);
        return Ok(Vec::new());
    }
    let kept = work
        .keep_foreign(intent, Some(state), &label)
        .map_err(EndError::Storage)?;
    if state == IntentState::Reverted {
        work.clear(intent, &label).map_err(EndError::Storage)?;
    }
    storage
        .sync_all(&Location::workspace(""))
        .map_err(EndError::Storage)?;
    if state == IntentState::Reverted {
        log.mark(id, state).map_err(EndError::Log)?;
        return Ok(kept);
    }
    let finished = work.mark_finished().map_err(EndError::Storage)?;
    log.mark(id, state).map_err(EndError::Log)?;
    clear_finished(&finished, id, intent);
    Ok(kept)
}

/// Removes what is not needed any more; recovery finds and clears what is left.
fn clear_finished(finished: &Work<'_>, id: CommitId, intent: &Intent) {
    if let Err(error) = finished.clear(intent, &id.to_string()) {
        tracing::warn!(%error, %id, "failed to clear the slots of a commit");
    }
}
