//! Commit intents: what the committer means to do, durable before it does it.

use crate::{Journal, JournalError};
use forerun_snapshot::{Intent, IntentLog, IntentLogError, IntentState};
use forerun_types::{CommitId, SessionId, StepIndex};
use rusqlite::params;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The intent log of one step: what is recorded through it says whose step it is, so
/// that a restart can tell a verified step from a lost one.
#[derive(Clone)]
pub struct StepIntents {
    journal: Journal,
    session: SessionId,
    step: StepIndex,
}

impl Journal {
    /// The log in which the commit of this step records its intent.
    pub fn intents(&self, session: &SessionId, step: StepIndex) -> StepIntents {
        StepIntents {
            journal: self.clone(),
            session: session.clone(),
            step,
        }
    }

    /// The commits of a session that were recorded and not reverted, oldest first.
    ///
    /// # Errors
    /// If the database can not be read.
    pub fn commits(&self, session: &SessionId) -> Result<Vec<(CommitId, StepIndex)>, JournalError> {
        let failed = JournalError::database("read the commits");
        self.read(|connection| {
            let mut select = connection
                .prepare_cached(
                    "SELECT id, step FROM intents
                     WHERE session = ?1 AND state <> 'reverted' ORDER BY id",
                )
                .map_err(&failed)?;
            let rows = select
                .query_map([session.as_str()], |row| {
                    Ok((CommitId(row.get(0)?), StepIndex(row.get(1)?)))
                })
                .map_err(&failed)?;
            rows.collect::<Result<_, _>>().map_err(&failed)
        })
    }

    /// Workspaces with commits that were recorded and have not come to their end.
    ///
    /// # Errors
    /// If the database can not be read.
    pub fn unfinished_workspaces(&self) -> Result<Vec<PathBuf>, JournalError> {
        let failed = JournalError::database("read the intents");
        self.read(|connection| {
            let mut select = connection
                .prepare_cached("SELECT DISTINCT workspace FROM intents WHERE state = 'recorded'")
                .map_err(&failed)?;
            let rows = select
                .query_map([], |row| Ok(PathBuf::from(OsString::from_vec(row.get(0)?))))
                .map_err(&failed)?;
            rows.collect::<Result<_, _>>().map_err(&failed)
        })
    }
}

impl IntentLog for StepIntents {
    fn record(&self, workspace: &Path, intent: &Intent) -> Result<CommitId, IntentLogError> {
        let step = Some((self.session.clone(), self.step));
        self.journal.record(workspace, intent, step)
    }

    fn mark(&self, commit: CommitId, state: IntentState) -> Result<(), IntentLogError> {
        self.journal.mark(commit, state)
    }

    fn unfinished(&self, workspace: &Path) -> Result<Vec<(CommitId, Intent)>, IntentLogError> {
        self.journal.unfinished(workspace)
    }
}

impl IntentLog for Journal {
    fn record(&self, workspace: &Path, intent: &Intent) -> Result<CommitId, IntentLogError> {
        self.record(workspace, intent, None)
    }

    fn mark(&self, commit: CommitId, state: IntentState) -> Result<(), IntentLogError> {
        let state = match state {
            IntentState::Applied => "applied",
            IntentState::Reverted => "reverted",
        };
        self.mark_intent(commit, state).map_err(IntentLogError::new)
    }

    fn unfinished(&self, workspace: &Path) -> Result<Vec<(CommitId, Intent)>, IntentLogError> {
        let intents = self
            .unfinished_intents(workspace)
            .map_err(IntentLogError::new)?;
        intents
            .into_iter()
            .map(|(commit, text)| {
                let intent = serde_json::from_str(&text).map_err(|error| {
                    IntentLogError::new(JournalError::Corrupt {
                        what: format!("the intent of {commit}"),
                        reason: error.to_string(),
                    })
                })?;
                Ok((commit, intent))
            })
            .collect()
    }
}

impl Journal {
    fn record(
        &self,
        workspace: &Path,
        intent: &Intent,
        step: Option<(SessionId, StepIndex)>,
    ) -> Result<CommitId, IntentLogError> {
        let intent = serde_json::to_string(intent).map_err(IntentLogError::new)?;
        let workspace = workspace.as_os_str().as_bytes().to_vec();
        let (session, step) = step.map(|(id, step)| (id.to_string(), step.0)).unzip();
        self.write(move |savepoint| {
            let insert = || -> rusqlite::Result<CommitId> {
                savepoint
                    .prepare_cached(
                        "INSERT INTO intents (workspace, session, step, intent, state)
                         VALUES (?1, ?2, ?3, ?4, 'recorded')",
                    )?
                    .execute(params![workspace, session, step, intent])?;
                // AUTOINCREMENT: from 1, and never one that was used before.
                Ok(CommitId(savepoint.last_insert_rowid().unsigned_abs()))
            };
            insert().map_err(JournalError::database("record an intent"))
        })
        .map_err(IntentLogError::new)
    }

    fn mark_intent(&self, commit: CommitId, state: &'static str) -> Result<(), JournalError> {
        self.write(move |savepoint| {
            let changed = savepoint
                .prepare_cached("UPDATE intents SET state = ?2 WHERE id = ?1")
                .and_then(|mut update| update.execute(params![commit.0, state]))
                .map_err(JournalError::database("mark an intent"))?;
            if changed == 1 {
                Ok(())
            } else {
                Err(JournalError::UnknownCommit(commit))
            }
        })
    }

    fn unfinished_intents(
        &self,
        workspace: &Path,
    ) -> Result<Vec<(CommitId, String)>, JournalError> {
        let failed = JournalError::database("read the intents");
        self.read(|connection| {
            let mut select = connection
                .prepare_cached(
                    "SELECT id, intent FROM intents
                     WHERE workspace = ?1 AND state = 'recorded' ORDER BY id",
                )
                .map_err(&failed)?;
            let rows = select
                .query_map([workspace.as_os_str().as_bytes()], |row| {
                    Ok((CommitId(row.get(0)?), row.get(1)?))
                })
                .map_err(&failed)?;
            rows.collect::<Result<_, _>>().map_err(&failed)
        })
    }
}
