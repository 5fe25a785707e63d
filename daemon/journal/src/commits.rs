//! Commits: what the committer means to do, durable before it does it, and what became
//! of it.

use crate::{Journal, JournalError};
use forerun_snapshot::{Intent, IntentLog, IntentLogError, IntentState, Kept, Timestamp};
use forerun_types::{CommitId, SessionId, StepIndex};
use rusqlite::{OptionalExtension, Row, params};
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

/// A commit of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRecord {
    /// Its id.
    pub id: CommitId,
    /// The step that it belongs to; the last one, for a session committed as a whole.
    pub step: StepIndex,
    /// The commit that it undoes, as far as it can be undone.
    pub undoes: Option<CommitId>,
    /// Whether it brings back what an undo took away.
    pub redoes: bool,
    /// What became of it; `None` while that is not known.
    pub state: Option<IntentState>,
}

impl CommitRecord {
    /// Whether it does what the session did, and is not an undo of that.
    pub fn is_forward(&self) -> bool {
        self.undoes.is_none() || self.redoes
    }
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

    /// The commits of a session that were not reverted, oldest first: undone ones,
    /// undos and redos included.
    ///
    /// # Errors
    /// If the database can not be read.
    pub fn commits(&self, session: &SessionId) -> Result<Vec<CommitRecord>, JournalError> {
        let failed = JournalError::database("read the commits");
        self.read(|connection| {
            let mut select = connection
                .prepare_cached(
                    "SELECT id, step, undoes, redoes, state FROM commits
                     WHERE session = ?1 AND state <> 'reverted' ORDER BY id",
                )
                .map_err(&failed)?;
            let rows = select
                .query_map([session.as_str()], |row| {
                    Ok(CommitRecord {
                        id: CommitId(row.get(0)?),
                        step: StepIndex(row.get(1)?),
                        undoes: row.get::<_, Option<u64>>(2)?.map(CommitId),
                        redoes: row.get(3)?,
                        state: state_of(row, 4)?,
                    })
                })
                .map_err(&failed)?;
            rows.collect::<Result<_, _>>().map_err(&failed)
        })
    }

    /// The session that a commit belongs to, if it belongs to one.
    ///
    /// # Errors
    /// If the database can not be read.
    pub fn session_of(&self, commit: CommitId) -> Result<Option<SessionId>, JournalError> {
        let found: Option<String> = self.read(|connection| {
            connection
                .prepare_cached("SELECT session FROM commits WHERE id = ?1")
                .and_then(|mut select| select.query_row([commit.0], |row| row.get(0)).optional())
                .map(Option::flatten)
                .map_err(JournalError::database("read a commit"))
        })?;
        Ok(found.and_then(|id| id.parse().ok()))
    }

    /// Workspaces with commits that were recorded and have not come to their end.
    ///
    /// # Errors
    /// If the database can not be read.
    pub fn unfinished_workspaces(&self) -> Result<Vec<PathBuf>, JournalError> {
        self.workspaces(
            "SELECT DISTINCT workspace FROM commits WHERE state IN ('recorded', 'failed')",
        )
    }

    /// Workspaces with commits that can be undone.
    ///
    /// # Errors
    /// If the database can not be read.
    pub fn undoable_workspaces(&self) -> Result<Vec<PathBuf>, JournalError> {
        self.workspaces("SELECT DISTINCT workspace FROM commits WHERE state = 'applied'")
    }

    fn workspaces(&self, query: &str) -> Result<Vec<PathBuf>, JournalError> {
        let failed = JournalError::database("read the commits");
        self.read(|connection| {
            let mut select = connection.prepare_cached(query).map_err(&failed)?;
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

    fn mark(&self, commits: &[CommitId], state: IntentState) -> Result<(), IntentLogError> {
        self.journal.mark(commits, state)
    }

    fn load(&self, commit: CommitId) -> Result<(Intent, Option<IntentState>), IntentLogError> {
        self.journal.load(commit)
    }

    fn owner(&self, directory: &str) -> Result<Option<CommitId>, IntentLogError> {
        self.journal.owner(directory)
    }

    fn kept(&self, workspace: &Path) -> Result<Vec<Kept>, IntentLogError> {
        self.journal.kept(workspace)
    }

    fn unfinished(&self, workspace: &Path) -> Result<Vec<(CommitId, Intent)>, IntentLogError> {
        self.journal.unfinished(workspace)
    }
}

/// An undo is recorded for the session and the step of what it undoes.
impl IntentLog for Journal {
    fn record(&self, workspace: &Path, intent: &Intent) -> Result<CommitId, IntentLogError> {
        self.record(workspace, intent, None)
    }

    fn mark(&self, commits: &[CommitId], state: IntentState) -> Result<(), IntentLogError> {
        let commits = commits.to_vec();
        self.write(move |savepoint| {
            for commit in commits {
                let changed = savepoint
                    .prepare_cached("UPDATE commits SET state = ?2 WHERE id = ?1")
                    .and_then(|mut update| update.execute(params![commit.0, name_of(state)]))
                    .map_err(JournalError::database("mark a commit"))?;
                if changed != 1 {
                    return Err(JournalError::UnknownCommit(commit));
                }
                if state == IntentState::Applied {
                    savepoint
                        .prepare_cached(
                            "UPDATE commits SET state = 'undone' WHERE id =
                                (SELECT undoes FROM commits WHERE id = ?1
                                 AND json_extract(intent, '$.undoes.whole'))",
                        )
                        .and_then(|mut update| update.execute([commit.0]))
                        .map_err(JournalError::database("mark an undone commit"))?;
                }
            }
            Ok(())
        })
        .map_err(IntentLogError::new)
    }

    fn load(&self, commit: CommitId) -> Result<(Intent, Option<IntentState>), IntentLogError> {
        let found = self.read(|connection| {
            connection
                .prepare_cached("SELECT intent, state FROM commits WHERE id = ?1")
                .and_then(|mut select| {
                    select
                        .query_row([commit.0], |row| {
                            Ok((row.get::<_, String>(0)?, state_of(row, 1)?))
                        })
                        .optional()
                })
                .map_err(JournalError::database("read a commit"))
        });
        let found = found.map_err(IntentLogError::new)?;
        let (text, state) =
            found.ok_or_else(|| IntentLogError::new(JournalError::UnknownCommit(commit)))?;
        Ok((parse(commit, &text)?, state))
    }

    fn owner(&self, directory: &str) -> Result<Option<CommitId>, IntentLogError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT id FROM commits WHERE directory = ?1")
                .and_then(|mut select| {
                    select
                        .query_row([directory], |row| Ok(CommitId(row.get(0)?)))
                        .optional()
                })
                .map_err(JournalError::database("read the commits"))
        })
        .map_err(IntentLogError::new)
    }

    fn kept(&self, workspace: &Path) -> Result<Vec<Kept>, IntentLogError> {
        let failed = JournalError::database("read the commits");
        self.read(|connection| {
            let mut select = connection
                .prepare_cached(
                    "SELECT id, recorded_ms, kept_bytes FROM commits
                     WHERE workspace = ?1 AND state = 'applied' ORDER BY id",
                )
                .map_err(&failed)?;
            let rows = select
                .query_map([workspace.as_os_str().as_bytes()], |row| {
                    Ok(Kept {
                        commit: CommitId(row.get(0)?),
                        recorded: Timestamp {
                            secs: row.get::<_, i64>(1)? / 1_000,
                            nanos: 0,
                        },
                        bytes: row.get(2)?,
                    })
                })
                .map_err(&failed)?;
            rows.collect::<Result<_, _>>().map_err(&failed)
        })
        .map_err(IntentLogError::new)
    }

    fn unfinished(&self, workspace: &Path) -> Result<Vec<(CommitId, Intent)>, IntentLogError> {
        let intents = self
            .unfinished_intents(workspace)
            .map_err(IntentLogError::new)?;
        intents
            .into_iter()
            .map(|(commit, text)| Ok((commit, parse(commit, &text)?)))
            .collect()
    }
}

fn parse(commit: CommitId, text: &str) -> Result<Intent, IntentLogError> {
    serde_json::from_str(text).map_err(|error| {
        IntentLogError::new(JournalError::Corrupt {
            what: format!("the intent of {commit}"),
            reason: error.to_string(),
        })
    })
}

fn name_of(state: IntentState) -> &'static str {
    match state {
        IntentState::Failed => "failed",
        IntentState::Applied => "applied",
        IntentState::Reverted => "reverted",
        IntentState::Undone => "undone",
        IntentState::Expired => "expired",
    }
}

/// The database allows no other names.
fn state_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<IntentState>> {
    Ok(match row.get_ref(column)?.as_str()? {
        "failed" => Some(IntentState::Failed),
        "applied" => Some(IntentState::Applied),
        "reverted" => Some(IntentState::Reverted),
        "undone" => Some(IntentState::Undone),
        "expired" => Some(IntentState::Expired),
        _ => None,
    })
}

impl Journal {
    fn record(
        &self,
        workspace: &Path,
        intent: &Intent,
        step: Option<(SessionId, StepIndex)>,
    ) -> Result<CommitId, IntentLogError> {
        let text = serde_json::to_string(intent).map_err(IntentLogError::new)?;
        let workspace = workspace.as_os_str().as_bytes().to_vec();
        let (session, step) = step.map(|(id, step)| (id.to_string(), step.0)).unzip();
        let directory = intent.directory().to_owned();
        let recorded = Timestamp::now();
        let recorded_ms = recorded.secs * 1_000 + i64::from(recorded.nanos / 1_000_000);
        let kept_bytes = i64::try_from(intent.kept_bytes()).unwrap_or(i64::MAX);
        let undoes = intent.undoes().map(|undoes| undoes.commit.0);
        self.write(move |savepoint| {
            let insert = || -> rusqlite::Result<CommitId> {
                savepoint
                    .prepare_cached(
                        "INSERT INTO commits (workspace, session, step, undoes, redoes, directory,
                            recorded_ms, kept_bytes, intent, state)
                         VALUES (?1,
                            coalesce(?2, (SELECT session FROM commits WHERE id = ?4)),
                            coalesce(?3, (SELECT step FROM commits WHERE id = ?4)),
                            ?4,
                            coalesce((SELECT undoes IS NOT NULL AND NOT redoes
                                FROM commits WHERE id = ?4), 0),
                            ?5, ?6, ?7, ?8, 'recorded')",
                    )?
                    .execute(params![
                        workspace,
                        session,
                        step,
                        undoes,
                        directory,
                        recorded_ms,
                        kept_bytes,
                        text
                    ])?;
                // AUTOINCREMENT: from 1, and never one that was used before.
                Ok(CommitId(savepoint.last_insert_rowid().unsigned_abs()))
            };
            insert().map_err(JournalError::database("record an intent"))
        })
        .map_err(IntentLogError::new)
    }

    fn unfinished_intents(
        &self,
        workspace: &Path,
    ) -> Result<Vec<(CommitId, String)>, JournalError> {
        let failed = JournalError::database("read the commits");
        self.read(|connection| {
            let mut select = connection
                .prepare_cached(
                    "SELECT id, intent FROM commits
                     WHERE workspace = ?1 AND state IN ('recorded', 'failed') ORDER BY id",
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
