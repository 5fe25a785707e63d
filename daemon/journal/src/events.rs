//! The sessions' events: append, read, verify.

use crate::chain::Key;
use crate::sessions::session_row;
use crate::{Journal, JournalError};
use forerun_types::{Event, EventKind, SessionId, Time};
use rusqlite::{Connection, params};

/// What [`Journal::verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Events that are as they were written, counted from the first.
    pub intact: u64,
    /// The first place where the log is not what was written.
    pub broken: Option<Broken>,
}

/// Where and how a log is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Sequence of the first event that can not be trusted; 0 for the session's record.
    pub sequence: u64,
    /// What is wrong there.
    pub reason: &'static str,
}

impl Journal {
    /// Appends events to a session's log, all or none. They are durable when this
    /// returns. Calls for one session are done in the order in which they were made,
    /// and once made, they are done even if the future is dropped.
    ///
    /// # Errors
    /// If there is no such session, or the journal can not be written.
    pub fn append(
        &self,
        session: &SessionId,
        events: Vec<(Time, EventKind)>,
    ) -> impl Future<Output = Result<Vec<Event>, JournalError>> + Send + use<> {
        let (session, key) = (session.clone(), self.key().clone());
        self.write_async(move |savepoint| insert(savepoint, &key, &session, events))
    }

    /// As [`Journal::append`], for callers that may wait.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_blocking(
        &self,
        session: &SessionId,
        events: Vec<(Time, EventKind)>,
    ) -> Result<Vec<Event>, JournalError> {
        let (session, key) = (session.clone(), self.key().clone());
        self.write(move |savepoint| insert(savepoint, &key, &session, events))
    }

    /// At most `limit` events of a session after the sequence `after` (0: from the
    /// first), in order.
    ///
    /// # Errors
    /// If there is no such session, the journal can not be read, or an event is damaged.
    pub fn events(
        &self,
        session: &SessionId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, JournalError> {
        let failed = JournalError::database("read events");
        self.read(|connection| {
            let number = session_row(connection, session)?.number;
            let mut select = connection
                .prepare_cached(
                    "SELECT sequence, at_us, kind FROM events
                     WHERE session = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
                )
                .map_err(&failed)?;
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows = select
                .query_map(params![number, after, limit], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?))
                })
                .map_err(&failed)?;
            rows.map(|row| {
                let (sequence, at, kind) = row.map_err(&failed)?;
                let kind = serde_json::from_str(&kind).map_err(|error| JournalError::Corrupt {
                    what: format!("event {sequence} of session {session}"),
                    reason: error.to_string(),
                })?;
                Ok(Event {
                    sequence,
                    at: Time(at),
                    kind,
                })
            })
            .collect()
        })
    }

    /// Checks a session's log, from its record to its anchored head, and names the
    /// first event that is not what was written.
    ///
    /// # Errors
    /// If there is no such session, or the journal can not be read.
    pub fn verify(&self, session: &SessionId) -> Result<Verification, JournalError> {
        self.read(|connection| check(connection, self.key(), session))
    }
}

fn insert(
    connection: &Connection,
    key: &Key,
    session: &SessionId,
    events: Vec<(Time, EventKind)>,
) -> Result<Vec<Event>, JournalError> {
    let failed = JournalError::database("append events");
    let row = session_row(connection, session)?;
    let (mut sequence, mut last) = (row.sequence, row.last);
    let mut insert = connection
        .prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5)")
        .map_err(&failed)?;
    let mut appended = Vec::with_capacity(events.len());
    for (at, kind) in events {
        let text = serde_json::to_string(&kind).map_err(|error| JournalError::Unstorable {
            what: format!("an event of session {session}"),
            reason: error.to_string(),
        })?;
        sequence += 1;
        last = key.event(&last, session, sequence, at.0, &text);
        insert
            .execute(params![row.number, sequence, at.0, text, last.0])
            .map_err(&failed)?;
        appended.push(Event { sequence, at, kind });
    }
    connection
        .prepare_cached("UPDATE sessions SET sequence = ?2, last = ?3, head = ?4 WHERE number = ?1")
        .and_then(|mut update| {
            let head = key.head(session, sequence, &last);
            update.execute(params![row.number, sequence, last.0, head.0])
        })
        .map_err(&failed)?;
    Ok(appended)
}

fn check(
    connection: &Connection,
    key: &Key,
    session: &SessionId,
) -> Result<Verification, JournalError> {
    let failed = JournalError::database("verify events");
    let session_row = session_row(connection, session)?;
    let mut select = connection
        .prepare_cached(
            "SELECT sequence, at_us, kind, link FROM events WHERE session = ?1 ORDER BY sequence",
        )
        .map_err(&failed)?;
    let mut rows = select.query([session_row.number]).map_err(&failed)?;
    let mut last = key.record(session, &session_row.record);
    let mut intact = 0;
    let broken = |intact, sequence, reason| {
        Ok(Verification {
            intact,
            broken: Some(Broken { sequence, reason }),
        })
    };
    while let Some(row) = rows.next().map_err(&failed)? {
        let expected = intact + 1;
        let read = || -> rusqlite::Result<(u64, u64, String, Vec<u8>)> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        };
        let Ok((sequence, at, kind, link)) = read() else {
            return broken(intact, expected, "the event was changed");
        };
        if sequence != expected {
            return broken(intact, expected, "the event is missing");
        }
        let made = key.event(&last, session, sequence, at, &kind);
        if made.0 != *link {
            let reason = if intact == 0 {
                "the event, or the session's record, was changed"
            } else {
                "the event was changed"
            };
            return broken(intact, expected, reason);
        }
        (last, intact) = (made, expected);
    }
    let head = key.head(session, intact, &last);
    if head.0 != *session_row.head || last != session_row.last {
        return if session_row.sequence > intact {
            broken(intact, intact + 1, "the end of the log was cut")
        } else if intact == 0 {
            broken(0, 0, "the session's record was changed")
        } else {
            broken(
                intact,
                intact,
                "the log's end is not the one that was written",
            )
        };
    }
    Ok(Verification {
        intact,
        broken: None,
    })
}
