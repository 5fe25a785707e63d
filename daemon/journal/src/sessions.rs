//! The sessions' table, and the deltas of sessions that are committed at their end.

use crate::chain::Link;
use crate::{Journal, JournalError, SessionRecord, SessionState};
use forerun_types::{SessionId, StepIndex};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Largest serialised delta that is kept: the unverified delta of a session is limited
/// to 1 GiB by default, and SQLite holds no value of 2 GiB.
const DELTA_BYTES_MAX: usize = 1_900_000_000;

/// A session's row, as far as the writer needs it.
pub(crate) struct SessionRow {
    /// What the other tables refer to.
    pub(crate) number: i64,
    /// Sequence of its last event, 0 without one.
    pub(crate) sequence: u64,
    /// Link of its last event, or of its record.
    pub(crate) last: Link,
    /// The anchored head.
    pub(crate) head: Vec<u8>,
    /// The record as it was chained.
    pub(crate) record: String,
}

impl Journal {
    /// Remembers a new session.
    ///
    /// # Errors
    /// If there is one with this id, or the journal can not be written.
    pub fn create_session(&self, record: &SessionRecord) -> Result<(), JournalError> {
        let id = record.id.clone();
        let state = record.state;
        let text = serde_json::to_string(record).map_err(|error| JournalError::Unstorable {
            what: format!("the record of session {id}"),
            reason: error.to_string(),
        })?;
        let start = self.key().record(&id, &text);
        let head = self.key().head(&id, 0, &start);
        self.write(move |savepoint| {
            savepoint
                .prepare_cached(
                    "INSERT INTO sessions (id, record, state, sequence, last, head)
                     VALUES (?1, ?2, ?3, 0, ?4, ?5)",
                )
                .and_then(|mut insert| {
                    insert.execute(params![id.as_str(), text, state.as_str(), start.0, head.0])
                })
                .map(drop)
                .map_err(|error| match error.sqlite_error_code() {
                    Some(rusqlite::ErrorCode::ConstraintViolation) => {
                        JournalError::SessionExists(id)
                    }
                    _ => JournalError::database("remember a session")(error),
                })
        })
    }

    /// All sessions, oldest first.
    ///
    /// # Errors
    /// If the journal can not be read or a record is damaged.
    pub fn sessions(&self) -> Result<Vec<SessionRecord>, JournalError> {
        let failed = JournalError::database("list the sessions");
        self.read(|connection| {
            let mut select = connection
                .prepare_cached("SELECT record, state FROM sessions ORDER BY number")
                .map_err(&failed)?;
            let rows = select.query_map([], record_texts).map_err(&failed)?;
            rows.map(|row| record(&row.map_err(&failed)?)).collect()
        })
    }

    /// One session; `None` if there is none with this id.
    ///
    /// # Errors
    /// As [`Journal::sessions`].
    pub fn session(&self, id: &SessionId) -> Result<Option<SessionRecord>, JournalError> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT record, state FROM sessions WHERE id = ?1")
                .and_then(|mut select| select.query_row([id.as_str()], record_texts).optional())
                .map_err(JournalError::database("find a session"))?
                .map(|texts| record(&texts))
                .transpose()
        })
    }

    /// Notes where a session is in its life.
    ///
    /// # Errors
    /// If there is no such session, or the journal can not be written.
    pub fn set_state(&self, id: &SessionId, state: SessionState) -> Result<(), JournalError> {
        let id = id.clone();
        self.write(move |savepoint| {
            let changed = savepoint
                .prepare_cached("UPDATE sessions SET state = ?2 WHERE id = ?1")
                .and_then(|mut update| update.execute(params![id.as_str(), state.as_str()]))
                .map_err(JournalError::database("note a session's state"))?;
            if changed == 1 {
                Ok(())
            } else {
                Err(JournalError::UnknownSession(id))
            }
        })
    }

    /// Keeps the delta of a verified step; one that is kept for the step is replaced.
    ///
    /// # Errors
    /// If there is no such session, the delta is too large, or the journal can not be
    /// written.
    pub fn store_delta(
        &self,
        session: &SessionId,
        step: StepIndex,
        bytes: &[u8],
    ) -> Result<(), JournalError> {
        if bytes.len() > DELTA_BYTES_MAX {
            return Err(JournalError::TooLarge {
                what: "a delta",
                found: bytes.len(),
                max: DELTA_BYTES_MAX,
            });
        }
        let (session, bytes) = (session.clone(), bytes.to_vec());
        self.write(move |savepoint| {
            let number = session_row(savepoint, &session)?.number;
            savepoint
                .prepare_cached("INSERT OR REPLACE INTO deltas VALUES (?1, ?2, ?3)")
                .and_then(|mut insert| insert.execute(params![number, step.0, bytes]))
                .map(drop)
                .map_err(JournalError::database("keep a delta"))
        })
    }

    /// The deltas that are kept of a session, in the order of the steps.
    ///
    /// # Errors
    /// If there is no such session, or the journal can not be read.
    pub fn deltas(&self, session: &SessionId) -> Result<Vec<(StepIndex, Vec<u8>)>, JournalError> {
        let failed = JournalError::database("read the deltas");
        self.read(|connection| {
            let number = session_row(connection, session)?.number;
            let mut select = connection
                .prepare_cached("SELECT step, bytes FROM deltas WHERE session = ?1 ORDER BY step")
                .map_err(&failed)?;
            let rows = select
                .query_map([number], |row| Ok((StepIndex(row.get(0)?), row.get(1)?)))
                .map_err(&failed)?;
            rows.collect::<Result<_, _>>().map_err(&failed)
        })
    }

    /// What was kept of a session's log, summed up, and the sequence of the last event in
    /// it; `None` if nothing was. Not part of the chain: a copy, to spare a reading.
    ///
    /// # Errors
    /// If there is no such session, or the journal can not be read.
    pub fn summary(&self, session: &SessionId) -> Result<Option<(u64, String)>, JournalError> {
        self.read(|connection| {
            let number = session_row(connection, session)?.number;
            connection
                .prepare_cached("SELECT sequence, summary FROM summaries WHERE session = ?1")
                .and_then(|mut select| {
                    select
                        .query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))
                        .optional()
                })
                .map_err(JournalError::database("read a summary"))
        })
    }

    /// Keeps a session's log, summed up to an event, in place of an earlier summary.
    ///
    /// # Errors
    /// If there is no such session, or the journal can not be written.
    pub fn keep_summary(
        &self,
        session: &SessionId,
        sequence: u64,
        summary: String,
    ) -> Result<(), JournalError> {
        let session = session.clone();
        self.write(move |savepoint| {
            let number = session_row(savepoint, &session)?.number;
            savepoint
                .prepare_cached("INSERT OR REPLACE INTO summaries VALUES (?1, ?2, ?3)")
                .and_then(|mut insert| insert.execute(params![number, sequence, summary]))
                .map(drop)
                .map_err(JournalError::database("keep a summary"))
        })
    }

    /// Forgets the deltas of a session: they were committed or discarded.
    ///
    /// # Errors
    /// If there is no such session, or the journal can not be written.
    pub fn drop_deltas(&self, session: &SessionId) -> Result<(), JournalError> {
        self.drop_deltas_from(session, StepIndex(0))
    }

    /// Forgets the deltas of a step and of those after it.
    ///
    /// # Errors
    /// If there is no such session, or the journal can not be written.
    pub fn drop_deltas_from(
        &self,
        session: &SessionId,
        from: StepIndex,
    ) -> Result<(), JournalError> {
        let session = session.clone();
        self.write(move |savepoint| {
            let number = session_row(savepoint, &session)?.number;
            savepoint
                .execute(
                    "DELETE FROM deltas WHERE session = ?1 AND step >= ?2",
                    params![number, from.0],
                )
                .map(drop)
                .map_err(JournalError::database("drop the deltas"))
        })
    }
}

/// Finds a session's row.
pub(crate) fn session_row(
    connection: &Connection,
    id: &SessionId,
) -> Result<SessionRow, JournalError> {
    let parts = connection
        .prepare_cached("SELECT number, sequence, last, head, record FROM sessions WHERE id = ?1")
        .and_then(|mut select| {
            select
                .query_row([id.as_str()], |row| {
                    Ok((
                        row.get(0)?,
                        row.get(1)?,
                        row.get::<_, Vec<u8>>(2)?,
                        row.get(3)?,
                        row.get(4)?,
                    ))
                })
                .optional()
        })
        .map_err(JournalError::database("find a session"))?;
    let Some((number, sequence, last, head, record)) = parts else {
        return Err(JournalError::UnknownSession(id.clone()));
    };
    // A damaged link is shown by `verify`; it must not keep the session from going on.
    let mut link = [0; crate::chain::KEY_BYTES];
    if last.len() == link.len() {
        link.copy_from_slice(&last);
    }
    Ok(SessionRow {
        number,
        sequence,
        last: Link(link),
        head,
        record,
    })
}

fn record_texts(row: &Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn record((text, state): &(String, String)) -> Result<SessionRecord, JournalError> {
    let damaged = |reason: String| JournalError::Corrupt {
        what: "the record of a session".to_owned(),
        reason,
    };
    let mut record: SessionRecord =
        serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    record.state = SessionState::ALL
        .into_iter()
        .find(|known| known.as_str() == state)
        .ok_or_else(|| damaged(format!("{state:?} is no state")))?;
    Ok(record)
}
