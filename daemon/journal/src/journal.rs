//! The journal: opening it, and the way from a call to the writer and back.

use crate::JournalError;
use crate::chain::Key;
use crate::connection::{Readers, make_durable, open_writer};
use crate::migrations::migrate;
use crate::state_dir::StateDir;
use crate::writer::Writer;
use rusqlite::{Connection, OptionalExtension, Savepoint, params};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

/// The daemon's memory. Clones are handles of the same journal; it closes, and lets go
/// of the state directory, when the last of them is dropped.
///
/// Calls that are not `async` wait for the disk: a fraction of a millisecond, as a rule.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    // The order of the fields is the order in which they are dropped: first the writer,
    // which finishes what waits; last the lock.
    writer: Writer,
    readers: Readers,
    key: Key,
    _state_dir: StateDir,
}

impl Journal {
    /// Opens the journal in `state_dir`, making both if they are not there. A schema of
    /// an older version is brought forward.
    ///
    /// # Errors
    /// If the directory can not be made private or is another user's, another process
    /// has the journal open, the database is damaged, foreign or of a newer version, or
    /// its key is missing or another.
    pub fn open(state_dir: &Path) -> Result<Journal, JournalError> {
        let state_dir = StateDir::open(state_dir)?;
        let key = state_dir.key()?;
        let path = state_dir.database()?;
        let failed = JournalError::database("open the journal");
        let mut connection = open_writer(&path).map_err(&failed)?;
        migrate(&mut connection, &path)?;
        make_durable(&connection).map_err(&failed)?;
        check_key(&connection, &key, &state_dir)?;
        Ok(Journal(Arc::new(Inner {
            writer: Writer::start(connection)?,
            readers: Readers::new(path),
            key,
            _state_dir: state_dir,
        })))
    }

    pub(crate) fn key(&self) -> &Key {
        &self.0.key
    }

    /// Writes, and waits until it is durable.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Savepoint<'_>) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, replied) = sync_channel(1);
        self.0.writer.submit(work, move |result| {
            // A caller that is gone needs no reply.
            let _ = reply.send(result);
        });
        replied.recv().unwrap_or(Err(JournalError::Closed))
    }

    /// As [`Journal::write`], without blocking the thread. Once called, the write
    /// happens even if the future is dropped.
    pub(crate) fn write_async<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, JournalError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&Savepoint<'_>) -> Result<T, JournalError> + Send + 'static,
    {
        let (reply, replied) = tokio::sync::oneshot::channel();
        self.0.writer.submit(work, move |result| {
            // A caller that is gone needs no reply.
            let _ = reply.send(result);
        });
        async move { replied.await.unwrap_or(Err(JournalError::Closed)) }
    }

    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        self.0.readers.read(read)
    }
}

/// Notes the key's fingerprint in a new journal, compares it in an old one.
fn check_key(connection: &Connection, key: &Key, dir: &StateDir) -> Result<(), JournalError> {
    const NAME: &str = "key fingerprint";
    let failed = JournalError::database("read the journal's key fingerprint");
    let known: Option<Vec<u8>> = connection
        .query_row("SELECT value FROM facts WHERE name = ?1", [NAME], |row| {
            row.get(0)
        })
        .optional()
        .map_err(&failed)?;
    let fingerprint = key.fingerprint().0;
    match known {
        Some(known) if known == fingerprint => Ok(()),
        Some(_) => Err(JournalError::KeyMismatch {
            path: dir.key_path(),
        }),
        None => connection
            .execute(
                "INSERT INTO facts VALUES (?1, ?2)",
                params![NAME, fingerprint],
            )
            .map(drop)
            .map_err(&failed),
    }
}
