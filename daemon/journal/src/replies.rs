//! Idempotency keys: a call that is repeated gets the reply of the first, and a key that
//! is used for another call is noticed.

use crate::{Journal, JournalError};
use forerun_types::Digest;
use rusqlite::{OptionalExtension, params};

/// Most bytes of an idempotency key; stops a client from filling the journal with one.
const KEY_BYTES_MAX: usize = 256;
/// Most bytes of a stored reply. Replies to calls that change something are small.
const REPLY_BYTES_MAX: usize = 1 << 20;
/// Replies kept per scope; older ones are forgotten. Stops a client that never repeats
/// a key from filling the journal.
const REPLIES_MAX: i64 = 1_024;

/// What is known of an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recall {
    /// Nothing: the call is new.
    None,
    /// The same call was made before, and this was the reply.
    Reply(Vec<u8>),
    /// The key was used for another call.
    Mismatch,
}

impl Journal {
    /// Remembers the reply to a call. `scope` is the session's id, or another name for
    /// calls that belong to none; `request` is the digest of the call. A key that is
    /// known keeps its first reply.
    ///
    /// # Errors
    /// If the key or the reply is too large, or the journal can not be written.
    pub fn remember(
        &self,
        scope: &str,
        key: &str,
        request: &Digest,
        reply: &[u8],
    ) -> Result<(), JournalError> {
        limited("an idempotency key", key.len(), KEY_BYTES_MAX)?;
        limited("a reply", reply.len(), REPLY_BYTES_MAX)?;
        let (scope, key) = (scope.to_owned(), key.to_owned());
        let (request, reply) = (*request, reply.to_vec());
        let failed = JournalError::database("remember a reply");
        self.write(move |savepoint| {
            savepoint
                .prepare_cached(
                    "INSERT OR IGNORE INTO replies (scope, name, request, reply)
                     VALUES (?1, ?2, ?3, ?4)",
                )
                .and_then(|mut insert| insert.execute(params![scope, key, request.0, reply]))
                .map_err(&failed)?;
            savepoint
                .prepare_cached(
                    "DELETE FROM replies WHERE scope = ?1 AND id <= (
                         SELECT id FROM replies WHERE scope = ?1
                         ORDER BY id DESC LIMIT 1 OFFSET ?2)",
                )
                .and_then(|mut delete| delete.execute(params![scope, REPLIES_MAX]))
                .map(drop)
                .map_err(&failed)
        })
    }

    /// What is known of a key.
    ///
    /// # Errors
    /// If the key is too large, or the journal can not be read.
    pub fn recall(&self, scope: &str, key: &str, request: &Digest) -> Result<Recall, JournalError> {
        limited("an idempotency key", key.len(), KEY_BYTES_MAX)?;
        self.read(|connection| {
            let known: Option<(Vec<u8>, Vec<u8>)> = connection
                .prepare_cached("SELECT request, reply FROM replies WHERE scope = ?1 AND name = ?2")
                .and_then(|mut select| {
                    select
                        .query_row([scope, key], |row| Ok((row.get(0)?, row.get(1)?)))
                        .optional()
                })
                .map_err(JournalError::database("recall a reply"))?;
            Ok(match known {
                None => Recall::None,
                Some((known, reply)) if known == request.0 => Recall::Reply(reply),
                Some(_) => Recall::Mismatch,
            })
        })
    }
}

fn limited(what: &'static str, found: usize, max: usize) -> Result<(), JournalError> {
    if found > max {
        return Err(JournalError::TooLarge { what, found, max });
    }
    Ok(())
}
