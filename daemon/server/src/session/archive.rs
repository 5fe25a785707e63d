//! What can be done with a session whose plan has ended: its diff, its commit or discard,
//! from the deltas that the journal kept, and the undo of what was committed. No actor is
//! needed, and it works the same after a restart.

use super::decided::policy_decided;
use super::retire::{Asked, Committed, commit, describe};
use super::summary::{Phase, Summary};
use super::{Log, Unretired};
use forerun_journal::{CommitMode, CommitRecord, Journal, SessionRecord};
use forerun_policy::PolicySet;
use forerun_snapshot::{CommitError, Delta, FileDiff, IntentState, Snapshot, Workspace};
use forerun_types::{
    CommitId, Event, EventKind, PathChange, SessionId, Source, StepIndex, Time, Undone,
};
use std::collections::BTreeSet;

/// Events of one read; a long log is read in pages.
const PAGE: usize = 1_024;
/// Events that a kept summary must be behind before it is kept again.
const SUMMARY_EVENTS_MIN: u64 = 32;
/// Changes with what [`Summary`] is, or is made from.
const SUMMARY_FORMAT: u32 = 2;

/// What is to become of a session's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FinishOutcome {
    Commit,
    Discard,
    Keep,
}

/// What became of them.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) outcome: FinishOutcome,
    pub(crate) commit: Option<(CommitId, Vec<PathChange>)>,
}

/// Why an ended session could not be read or finished.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the journal could not be read")]
    Journal(#[from] forerun_journal::JournalError),
    #[error("{what}")]
    State { what: String, hint: String },
    #[error("{reason}")]
    Conflict { reason: String, hint: String },
}

/// The whole log of a session.
pub(crate) fn events(log: &Log, session: &SessionId) -> Result<Vec<Event>, ArchiveError> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.sequence);
        let page = log.journal().events(session, after, PAGE)?;
        if page.is_empty() {
            return Ok(events);
        }
        events.extend(page);
    }
}

/// What the log adds up to. Of a long log the sum is kept, so that only what came after it
/// is read the next time.
pub(crate) fn summary(log: &Log, session: &SessionId) -> Result<Summary, ArchiveError> {
    let journal = log.journal();
    let kept = journal.summary(session)?;
    let mut summary = kept.and_then(|(sequence, text)| {
        let (format, summary) = serde_json::from_str::<(u32, Summary)>(&text).ok()?;
        (format == SUMMARY_FORMAT && summary.last_sequence == sequence).then_some(summary)
    });
    let known = summary.as_ref().map_or(0, |summary| summary.last_sequence);
    let summary = summary.get_or_insert_default();
    loop {
        let page = journal.events(session, summary.last_sequence, PAGE)?;
        page.iter().for_each(|event| summary.add(event));
        if page.len() < PAGE {
            break;
        }
    }
    if summary.last_sequence - known >= SUMMARY_EVENTS_MIN
        && let Ok(text) = serde_json::to_string(&(SUMMARY_FORMAT, &*summary))
        && let Err(error) = journal.keep_summary(session, summary.last_sequence, text)
    {
        tracing::warn!(%session, %error, "a session's summary was not kept");
    }
    Ok(summary.clone())
}

/// The session's changes on top of the workspace as it is now.
pub(crate) fn changes(
    log: &Log,
    session: &SessionId,
    workspace: &Workspace,
) -> Result<Snapshot, ArchiveError> {
    let mut snapshot = workspace.snapshot();
    for (step, bytes) in log.journal().deltas(session)? {
        let state = |error: &dyn std::error::Error| ArchiveError::Conflict {
            reason: format!(
                "the changes of step {step} can not be put on the workspace: {}",
                describe(error)
            ),
            hint: "the workspace changed meanwhile; discard the session, or undo what was changed"
                .to_owned(),
        };
        let delta = Delta::from_bytes(&bytes).map_err(|error| state(&error))?;
        snapshot = snapshot.graft(&delta).map_err(|error| state(&error))?;
    }
    Ok(snapshot)
}

/// The difference between the workspace and what the session made of it.
pub(crate) fn diff(
    log: &Log,
    session: &SessionId,
    workspace: &Workspace,
) -> Result<Vec<FileDiff>, ArchiveError> {
    changes(log, session, workspace)?
        .diff()
        .map_err(|error| unreadable(&error))
}

/// Commits, discards or keeps what an ended session changed. Blocks on the disk.
pub(crate) fn finish(
    log: &Log,
    record: &SessionRecord,
    workspace: &Workspace,
    policy: &PolicySet,
    outcome: FinishOutcome,
) -> Result<Finished, ArchiveError> {
    let summary = summary(log, &record.id)?;
    if record.commit == CommitMode::Step {
        return Err(ArchiveError::State {
            what: "the session commits each step, so nothing is left to finish".to_owned(),
            hint: "open sessions with commit = session to decide at the end".to_owned(),
        });
    }
    match summary.phase {
        Phase::Ended | Phase::Interrupted => {}
        Phase::Finished => {
            return Err(ArchiveError::State {
                what: "the session is finished already".to_owned(),
                hint: "`forerun session show` says how".to_owned(),
            });
        }
        _ => {
            return Err(ArchiveError::State {
                what: "the session has not ended yet".to_owned(),
                hint: "wait for its end, or `forerun stop` it".to_owned(),
            });
        }
    }
    // A commit that was recorded, and whose end nobody heard of: it is in the workspace.
    if let Some(commit) = log.journal().commits(&record.id)?.last() {
        log.journal().drop_deltas(&record.id)?;
        return Ok(Finished {
            outcome: FinishOutcome::Commit,
            commit: Some((commit.id, Vec::new())),
        });
    }
    if outcome != FinishOutcome::Commit {
        if outcome == FinishOutcome::Discard {
            log.journal().drop_deltas(&record.id)?;
        }
        return Ok(Finished {
            outcome,
            commit: None,
        });
    }
    let delta = changes(log, &record.id, workspace)?
        .delta()
        .map_err(|error| unreadable(&error))?;
    if delta.is_empty() {
        log.journal().drop_deltas(&record.id)?;
        return Ok(Finished {
            outcome,
            commit: None,
        });
    }
    let intents = log
        .journal()
        .intents(&record.id, StepIndex(summary.verified));
    let asked = Asked {
        principal: Source::User,
        approved: false,
    };
    let Committed { decided, result } = commit(workspace, policy, asked, &delta, &intents);
    if let Some((decision, inputs)) = decided {
        let step = StepIndex(summary.verified);
        let event = policy_decided(None, step, false, &decision, inputs);
        log.append_blocking(&record.id, vec![(summary.last_at, event)])?;
    }
    let committed = result.map_err(|unretired| match unretired {
        Unretired::Conflict { reason, hint } => ArchiveError::Conflict { reason, hint },
        Unretired::Asked { decision, .. } => ArchiveError::Conflict {
            reason: decision.reason,
            hint: "commit fewer paths, or change the policy".to_owned(),
        },
        Unretired::Stale { reason } => ArchiveError::Conflict {
            reason,
            hint: "the workspace changed meanwhile; discard the session".to_owned(),
        },
    })?;
    log.journal().drop_deltas(&record.id)?;
    Ok(Finished {
        outcome,
        commit: Some(committed),
    })
}

/// What is to be undone, or redone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UndoRequest {
    /// Only this step and later ones.
    pub(crate) from: Option<StepIndex>,
    /// Also what somebody changed since.
    pub(crate) force: bool,
    /// What was undone comes back.
    pub(crate) redo: bool,
}

/// Takes the commits of an ended session back, newest first, or brings back what was
/// undone, and tells the log of each. Blocks on the disk.
pub(crate) fn undo(
    log: &Log,
    record: &SessionRecord,
    workspace: &Workspace,
    request: UndoRequest,
) -> Result<Vec<Undone>, ArchiveError> {
    let Summary {
        phase, last_at: at, ..
    } = summary(log, &record.id)?;
    if !matches!(phase, Phase::Ended | Phase::Finished | Phase::Interrupted) {
        return Err(ArchiveError::State {
            what: "the session has not ended yet".to_owned(),
            hint: "wait for its end, or `forerun stop` it".to_owned(),
        });
    }
    workspace
        .flush(log.journal())
        .map_err(|error| undo_failed(&error))?;
    let mut commits = undoable(log.journal().commits(&record.id)?, request);
    if request.redo {
        let abandoned = abandoned(&events(log, &record.id)?);
        commits.retain(|commit| !abandoned.contains(&commit.id));
    }
    if commits.is_empty() {
        let what = match (request.redo, request.from) {
            (true, _) => "nothing of this session was undone".to_owned(),
            (false, None) => "nothing of this session can be undone".to_owned(),
            (false, Some(from)) => format!("nothing from step {from} on can be undone"),
        };
        let hint = "what was not committed, was undone, or is older than what is kept can not be";
        let hint = hint.to_owned();
        return Err(ArchiveError::State { what, hint });
    }
    let mut done = Vec::new();
    take_back(workspace, log.journal(), commits, request, |undone| {
        log.append_blocking(&record.id, vec![(at, EventKind::Undone(undone.clone()))])?;
        done.push(undone);
        Ok(())
    })
    .map_err(|(_, error)| error)?;
    Ok(done)
}

/// Those of a session's commits that a request is about.
pub(super) fn undoable(commits: Vec<CommitRecord>, request: UndoRequest) -> Vec<CommitRecord> {
    let mut commits = commits;
    commits.retain(|commit| {
        commit.state == Some(IntentState::Applied)
            && commit.is_forward() != request.redo
            && request.from.is_none_or(|from| commit.step >= from)
    });
    commits
}

/// Takes commits back, newest first, and tells of each. Blocks on the disk.
///
/// # Errors
/// With the step whose commit could not be taken back; those after it were.
pub(super) fn take_back(
    workspace: &Workspace,
    journal: &Journal,
    commits: Vec<CommitRecord>,
    request: UndoRequest,
    mut tell: impl FnMut(Undone) -> Result<(), ArchiveError>,
) -> Result<(), (StepIndex, ArchiveError)> {
    for commit in commits.into_iter().rev() {
        let undo = workspace
            .undo(commit.id, request.force, journal)
            .map_err(|error| (commit.step, undo_failed(&error)))?;
        let (id, changed) = undo.commit.map(|undo| (undo.id, undo.changed)).unzip();
        tell(Undone {
            step: commit.step,
            undoes: commit.id,
            redo: request.redo,
            commit: id,
            changed: changed.unwrap_or_default(),
            left: undo.left,
        })
        .map_err(|error| (commit.step, error))?;
    }
    Ok(())
}

/// What was undone because the owner went back: the plan has gone another way since, and a
/// redo does not bring it back.
fn abandoned(events: &[Event]) -> BTreeSet<CommitId> {
    let went_back = |event: &Event| matches!(event.kind, EventKind::Backtracked { .. });
    let last = events.iter().rposition(went_back).unwrap_or(0);
    let undone = events[..last].iter().filter_map(|event| match &event.kind {
        EventKind::Undone(undone) => undone.commit,
        _ => None,
    });
    undone.collect()
}

fn undo_failed(error: &CommitError) -> ArchiveError {
    ArchiveError::Conflict {
        reason: describe(error),
        hint: "steps before this one in the list were done; try again for the rest".to_owned(),
    }
}

/// The workspace changed under the session in a way that can not be put right.
fn unreadable(error: &dyn std::error::Error) -> ArchiveError {
    ArchiveError::Conflict {
        reason: format!("the session's changes can not be read: {}", describe(error)),
        hint: "put back what was changed meanwhile, or discard the session".to_owned(),
    }
}

/// The last event of a session whose changes were committed or discarded.
pub(crate) fn finished_event(at: Time, finished: &Finished) -> Option<(Time, EventKind)> {
    let outcome = match finished.outcome {
        FinishOutcome::Commit => "committed",
        FinishOutcome::Discard => "discarded",
        FinishOutcome::Keep => return None,
    };
    let (commit, changed) = finished.commit.clone().unzip();
    Some((
        at,
        EventKind::Finished {
            outcome: outcome.to_owned(),
            commit,
            changed: changed.unwrap_or_default(),
        },
    ))
}
