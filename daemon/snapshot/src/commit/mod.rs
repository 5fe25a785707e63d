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
mod error;
pub(crate) mod intent;
mod lease;
mod recover;
pub(crate) mod slots;
mod stage;
pub(crate) mod storage;
pub(crate) mod storage_fs;
mod undo;
mod validate;

pub(crate) use validate::shared;

use crate::version::Timestamp;
use crate::workspace::{Committer, Inner};
use crate::{Delta, Workspace};
use apply::Work;
pub use error::CommitError;
use forerun_types::{CommitId, PathChange};
use intent::{Intent, IntentLog, IntentLogError, IntentState, Operation, SlotPlace, Undoes};
use slots::Probes;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use storage::Location;
pub use undo::Undo;

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

/// What recovery did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Commits that are in the workspace now.
    pub applied: Vec<CommitId>,
    /// Commits that were taken back, and why.
    pub reverted: Vec<(CommitId, String)>,
    /// Objects of somebody else that were kept aside, with the commit that displaced them,
    /// if that is known.
    pub kept: Vec<(Option<CommitId>, KeptCopy)>,
}

/// How much is kept to undo commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The oldest commit that can be undone.
    pub age: Duration,
    /// All that is kept of one workspace.
    pub bytes: u64,
}

/// What an expiry did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Commits that can not be undone any more, oldest first.
    pub commits: Vec<CommitId>,
    /// Objects of somebody else that were found among what was kept.
    pub kept: Vec<(CommitId, KeptCopy)>,
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
}

/// A commit that is in the base, and not known to be durable there.
struct Unflushed {
    id: CommitId,
    intent: Intent,
    /// Whether something may have been written to what it displaced.
    unleased: bool,
}

/// A commit that failed, and whose end could not be brought about yet.
#[derive(Clone)]
struct Failed {
    id: CommitId,
    intent: Intent,
    /// Whether it is out of the base.
    taken_back: bool,
}

/// What commits have left to do.
#[derive(Default)]
pub(crate) struct Backlog {
    unflushed: Vec<Unflushed>,
    failed: Option<Failed>,
    /// What was kept aside of failed commits, for the next flush to say.
    kept: Vec<(CommitId, KeptCopy)>,
}

/// Where a staged object takes attributes from that a delta does not have.
#[derive(Clone)]
enum Like {
    /// Owner, extended attributes and access lists of this file.
    File(Location),
    /// Permission bits of a directory.
    Mode(u32),
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

        let reads = delta.check_reads(inner);
        if let Err(error @ CommitError::Stale(_)) = reads {
            return Err(error);
        }
        // Of a conflict, this names the cause.
        let found = validate::validate(inner, delta)?;
        reads?;
        let Probes {
            place, exchange, ..
        } = committer.probes(inner)?;
        let directory = committer.next_directory();
        let work = Work::new(&*inner.storage, slots::root(place).join(&directory));
        let prepared = prepare(inner, delta, &found, likes, exchange, &work)
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
            stage::stage_again(inner, delta, &found, likes, &work.slots, operation)
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

    /// Makes durable what was committed, and says what was kept aside of it: versions of
    /// other programs that wrote to a file while it was replaced. Commits go on meanwhile.
    ///
    /// # Errors
    /// If the storage or the log failed; the rest is left for the next time.
    pub fn flush(&self, log: &dyn IntentLog) -> Result<Vec<(CommitId, KeptCopy)>, CommitError> {
        let inner = &*self.inner;
        let _one_at_a_time = inner.lock_flush();
        let (mut batch, mut kept) = {
            let backlog = &mut inner.lock_committer().backlog;
            let batch = std::mem::take(&mut backlog.unflushed);
            (batch, std::mem::take(&mut backlog.kept))
        };
        let flushed = flush(inner, &batch, log, &mut kept);
        if flushed.is_err() {
            let backlog = &mut inner.lock_committer().backlog;
            batch.append(&mut backlog.unflushed);
            backlog.unflushed = batch;
            backlog.kept.append(&mut kept);
        }
        flushed.map(|()| kept)
    }

    /// Brings every unfinished intent of an earlier process to its end. To be called
    /// after opening, before anything else; once that is done, it only flushes.
    ///
    /// # Errors
    /// If the log or the storage failed; what was recovered until then stays so.
    pub fn recover(&self, log: &dyn IntentLog) -> Result<Recovery, CommitError> {
        let kept = self.flush(log)?;
        let inner = &*self.inner;
        let mut committer = inner.lock_committer();
        finish_failed(inner, &mut committer, log)?;
        let mut recovery = Recovery {
            kept: kept
                .into_iter()
                .map(|(id, kept)| (Some(id), kept))
                .collect(),
            ..Recovery::default()
        };
        if committer.recovered {
            return Ok(recovery);
        }
        let mut unfinished = log.unfinished(self.path())?;
        unfinished.retain(|(id, intent)| {
            let is_for_us = inner.is_for_us(intent);
            if !is_for_us {
                tracing::warn!(%id, workspace = %self.path().display(), "a commit is for another directory that was at this path; it is left alone");
            }
            is_for_us
        });
        let (mut begun, mut stopped) = (0, false);
        let mut found = Vec::new();
        for (index, (id, intent)) in unfinished.iter().enumerate() {
            let evidence = evidence(inner, *id, intent)?;
            if evidence.begun || (evidence.maybe_begun && !stopped) {
                begun = index;
            }
            stopped |= evidence.unfinished;
            found.push(evidence);
        }
        for (index, (id, intent)) in unfinished.iter().enumerate() {
            // Commits are applied one after another: before one that has begun, all are
            // in the base, but for what the crash lost. After one that was taken back, none
            // can be.
            let revert =
                |reason| revert_one(inner, intent).map(|()| (IntentState::Reverted, reason));
            let has_failed = log.load(*id)?.1 == Some(IntentState::Failed);
            let ended = match &*recovery.reverted {
                [.., (first, _)] => revert(format!("{first} was taken back")),
                [] if has_failed => revert("it had failed before".to_owned()),
                [] if index < begun => complete_one(inner, intent, &found[index + 1..]),
                [] => recover_one(inner, intent),
            };
            let (state, reason) = ended?;
            let kept = end(inner, log, *id, intent, state)?;
            let kept = kept.into_iter().map(|copy| (Some(*id), copy));
            recovery.kept.extend(kept);
            match state {
                IntentState::Reverted => recovery.reverted.push((*id, reason)),
                _ => recovery.applied.push(*id),
            }
        }
        for place in [SlotPlace::State, SlotPlace::Workspace] {
            recovery
                .kept
                .extend(slots::clear_orphans(&*inner.storage, place, log)?);
        }
        committer.recovered = true;
        Ok(recovery)
    }

    /// Drops what is kept to undo commits, as far as it is more than that.
    ///
    /// # Errors
    /// If the log or the storage failed; the next recovery clears what is left.
    pub fn expire(
        &self,
        retention: Retention,
        now: Timestamp,
        log: &dyn IntentLog,
    ) -> Result<Expired, CommitError> {
        let inner = &*self.inner;
        let _no_undo = inner.lock_flush();
        let kept = log.kept(self.path())?;
        let mut bytes = kept
            .iter()
            .map(|kept| kept.bytes)
            .fold(0, u64::saturating_add);
        let oldest = now.secs.saturating_sub_unsigned(retention.age.as_secs());
        let mut expired = Vec::new();
        for kept in kept {
            if bytes <= retention.bytes && kept.recorded.secs >= oldest {
                break;
            }
            bytes = bytes.saturating_sub(kept.bytes);
            expired.push(kept.commit);
        }
        if expired.is_empty() {
            return Ok(Expired::default());
        }
        log.mark(&expired, IntentState::Expired)?;
        let mut copies = Vec::new();
        for id in &expired {
            let found = clear(inner, log, *id)?;
            copies.extend(found.into_iter().map(|copy| (*id, copy)));
        }
        Ok(Expired {
            commits: expired,
            kept: copies,
        })
    }

    /// As [`Workspace::expire`], by age alone, for a directory that is not there any
    /// more: only what is kept in the state directory can be dropped.
    ///
    /// # Errors
    /// If the log or the storage failed.
    pub fn forget(
        dir: &Path,
        state_dir: &Path,
        age: Duration,
        now: Timestamp,
        log: &dyn IntentLog,
    ) -> Result<(), CommitError> {
        let oldest = now.secs.saturating_sub_unsigned(age.as_secs());
        let old = |kept: &intent::Kept| kept.recorded.secs < oldest;
        for kept in log.kept(dir)?.into_iter().filter(old) {
            let (intent, _) = log.load(kept.commit)?;
            log.mark(&[kept.commit], IntentState::Expired)?;
            slots::remove_of_gone(state_dir, &intent.directory).map_err(EndError::Storage)?;
        }
        Ok(())
    }
}

/// Stages a delta and plans its operations.
fn prepare(
    inner: &Inner,
    delta: &Delta,
    found: &validate::Found,
    likes: &HashMap<String, Like>,
    exchange: bool,
    work: &Work<'_>,
) -> Result<stage::Staged, CommitError> {
    let failed = |error| CommitError::of_io(STAGING, ".", error);
    let storage = &*inner.storage;
    slots::make(storage, &work.slots).map_err(failed)?;
    let staged = stage::stage(inner, delta, found, likes, exchange, &work.slots)?;
    let above = Location {
        place: work.slots.place,
        path: crate::name::split(&work.slots.path).0.to_owned(),
    };
    storage.sync_directory(&above).map_err(failed)?;
    Ok(staged)
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
        follow(inner, intent);
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

/// Brings a commit to its end that failed before: whoever asked for it was told so.
fn finish_failed(
    inner: &Inner,
    committer: &mut Committer,
    log: &dyn IntentLog,
) -> Result<(), CommitError> {
    let Some(failed) = committer.backlog.failed.clone() else {
        return Ok(());
    };
    if !failed.taken_back {
        revert_one(inner, &failed.intent)?;
        committer.backlog.failed = Some(Failed {
            taken_back: true,
            ..failed.clone()
        });
    }
    let kept = end(inner, log, failed.id, &failed.intent, IntentState::Reverted)?;
    let kept = kept.into_iter().map(|copy| (failed.id, copy));
    committer.backlog.kept.extend(kept);
    committer.backlog.failed = None;
    Ok(())
}

/// Makes a batch durable and marks it, in order.
fn flush(
    inner: &Inner,
    batch: &[Unflushed],
    log: &dyn IntentLog,
    kept: &mut Vec<(CommitId, KeptCopy)>,
) -> Result<(), CommitError> {
    if batch.is_empty() {
        return Ok(());
    }
    sync(inner)?;
    let failed = |error| CommitError::from(EndError::Storage(error));
    for Unflushed { id, intent, .. } in batch.iter().filter(|commit| commit.unleased) {
        let work = work_of(inner, intent);
        let found = work.keep_foreign(intent, IntentState::Applied, &id.to_string());
        let found = found.map_err(failed)?;
        kept.extend(found.into_iter().map(|copy| (*id, copy)));
    }
    let ids: Vec<_> = batch.iter().map(|commit| commit.id).collect();
    log.mark(&ids, IntentState::Applied)?;
    for Unflushed { id, intent, .. } in batch {
        let found = clear_undone(inner, log, intent)?;
        kept.extend(found.into_iter().map(|copy| (*id, copy)));
    }
    Ok(())
}

fn sync(inner: &Inner) -> Result<(), EndError> {
    Ok(inner.storage.sync_all(&Location::workspace(""))?)
}

fn evidence(
    inner: &Inner,
    id: CommitId,
    intent: &Intent,
) -> Result<recover::Evidence, CommitError> {
    if intent.format != Intent::FORMAT {
        return Err(CommitError::Malformed {
            reason: format!("{id} has the unknown format {}", intent.format),
        });
    }
    let _gate = inner.write_gate();
    let evidence = work_of(inner, intent).evidence(intent);
    Ok(evidence.map_err(EndError::Storage)?)
}

fn recover_one(inner: &Inner, intent: &Intent) -> Result<(IntentState, String), CommitError> {
    let work = work_of(inner, intent);
    let ended = wait_for_writers(|| {
        let _gate = inner.write_gate();
        // What was applied so far stays so for the next attempt.
        work.roll_forward(intent).map_err(|error| (error, true))
    });
    match ended {
        Ok(()) => {
            follow(inner, intent);
            Ok((IntentState::Applied, String::new()))
        }
        Err((error, _)) if error.path().is_some() && !matches!(error, CommitError::Io { .. }) => {
            revert_one(inner, intent)?;
            Ok((IntentState::Reverted, error.to_string()))
        }
        Err((error, _)) => Err(error),
    }
}

/// As [`recover_one`], of a commit that later ones build on: it is not taken back.
fn complete_one(
    inner: &Inner,
    intent: &Intent,
    later: &[recover::Evidence],
) -> Result<(IntentState, String), CommitError> {
    let work = work_of(inner, intent);
    let completed = wait_for_writers(|| {
        let _gate = inner.write_gate();
        work.complete(intent, later).map_err(|error| (error, true))
    });
    match completed {
        Ok(()) => Ok((IntentState::Applied, String::new())),
        Err((error, _)) => Err(error),
    }
}

fn revert_one(inner: &Inner, intent: &Intent) -> Result<(), CommitError> {
    let _gate = inner.write_gate();
    work_of(inner, intent).roll_back(intent)
}

fn work_of<'a>(inner: &'a Inner, intent: &Intent) -> Work<'a> {
    let slots = slots::root(intent.slots).join(&intent.directory);
    Work::new(&*inner.storage, slots)
}

/// What can fail while a commit is brought to its end.
enum EndError {
    Storage(io::Error),
    Log(IntentLogError),
}

impl From<io::Error> for EndError {
    fn from(error: io::Error) -> EndError {
        EndError::Storage(error)
    }
}

impl From<IntentLogError> for EndError {
    fn from(error: IntentLogError) -> EndError {
        EndError::Log(error)
    }
}

impl From<EndError> for CommitError {
    fn from(error: EndError) -> CommitError {
        match error {
            EndError::Storage(error) => CommitError::of_io("finish the commit in", ".", error),
            EndError::Log(error) => error.into(),
        }
    }
}

/// Keeps what is foreign, makes the result durable, and marks the intent. The slots of
/// one that was taken back are cleared before, so that no recovery can apply it.
fn end(
    inner: &Inner,
    log: &dyn IntentLog,
    id: CommitId,
    intent: &Intent,
    state: IntentState,
) -> Result<Vec<KeptCopy>, EndError> {
    let work = work_of(inner, intent);
    let label = id.to_string();
    let mut kept = work.keep_foreign(intent, state, &label)?;
    if state == IntentState::Reverted {
        work.clear(intent, &label)?;
    }
    sync(inner)?;
    log.mark(&[id], state)?;
    if state == IntentState::Applied {
        kept.extend(clear_undone(inner, log, intent)?);
    }
    Ok(kept)
}

/// Drops what the commit displaced that this one undid: it is back where it was.
fn clear_undone(
    inner: &Inner,
    log: &dyn IntentLog,
    intent: &Intent,
) -> Result<Vec<KeptCopy>, EndError> {
    match intent.undoes {
        Some(undoes) if undoes.whole => clear(inner, log, undoes.commit),
        _ => Ok(Vec::new()),
    }
}

/// Clears the slots of a commit that was marked as over.
fn clear(inner: &Inner, log: &dyn IntentLog, id: CommitId) -> Result<Vec<KeptCopy>, EndError> {
    let (intent, _) = log.load(id)?;
    let work = work_of(inner, &intent);
    let kept = work.keep_foreign(&intent, IntentState::Expired, &id.to_string())?;
    work.clear(&intent, &id.to_string())?;
    Ok(kept)
}
