//! What follows a commit: it is made durable and marked, or, after a crash, brought to
//! its end first; in time, what undoes it is dropped.
//!
//! **Invariant**: an intent that is marked is durable in the workspace, or durably out of
//! it; nothing that a crash could still need is cleared before.

use super::error::CommitError;
use super::intent::{self, Intent, IntentLog, IntentLogError, IntentState, SlotPlace};
use super::storage::Location;
use super::{KeptCopy, follow, recover, slots, wait_for_writers, work_of};
use crate::Workspace;
use crate::version::Timestamp;
use crate::workspace::{Committer, Inner};
use forerun_types::CommitId;
use std::io;
use std::path::Path;
use std::time::Duration;

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

/// A commit that is in the base, and not known to be durable there.
pub(super) struct Unflushed {
    pub(super) id: CommitId,
    pub(super) intent: Intent,
    /// Whether something may have been written to what it displaced.
    pub(super) unleased: bool,
}

/// A commit that failed, and whose end could not be brought about yet.
#[derive(Clone)]
pub(super) struct Failed {
    pub(super) id: CommitId,
    pub(super) intent: Intent,
    /// Whether it is out of the base.
    pub(super) taken_back: bool,
}

/// What commits have left to do.
#[derive(Default)]
pub(crate) struct Backlog {
    pub(super) unflushed: Vec<Unflushed>,
    pub(super) failed: Option<Failed>,
    /// What was kept aside of failed commits, for the next flush to say.
    kept: Vec<(CommitId, KeptCopy)>,
}

impl Workspace {
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
        let kept = kept.into_iter().map(|(id, kept)| (Some(id), kept));
        let mut recovery = Recovery {
            kept: kept.collect(),
            ..Recovery::default()
        };
        let done = self.recover_into(&mut recovery, &mut committer, log);
        if let Err(error) = done {
            // To be told by the next one.
            let kept = recovery.kept.into_iter();
            let kept = kept.filter_map(|(id, copy)| Some((id?, copy)));
            committer.backlog.kept.extend(kept);
            return Err(error);
        }
        Ok(recovery)
    }

    fn recover_into(
        &self,
        recovery: &mut Recovery,
        committer: &mut Committer,
        log: &dyn IntentLog,
    ) -> Result<(), CommitError> {
        let inner = &*self.inner;
        finish_failed(inner, committer, log)?;
        if committer.recovered {
            return Ok(());
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
        Ok(())
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
/// Brings a commit to its end that failed before: whoever asked for it was told so.
pub(super) fn finish_failed(
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
    intent.check_format(id)?;
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

/// What can fail while a commit is brought to its end.
pub(super) enum EndError {
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
