//! What can go wrong with the journal, in words for people and codes for programs.

use forerun_types::{CommitId, SessionId};
use std::path::PathBuf;

/// Why the journal could not do what it was asked to. Nothing was written, or, for a
/// read, nothing is returned.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A file of the state directory could not be made, read or secured.
    #[error("{what} {}: {reason}", path.display())]
    File {
        /// What was tried, such as `create`.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        reason: String,
    },
    /// The state directory belongs to another user.
    #[error("use {}: it belongs to the user with id {owner}", path.display())]
    ForeignOwner {
        /// The state directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Another process has the journal open.
    #[error("open the journal in {}: another process has it open", path.display())]
    InUse {
        /// The state directory.
        path: PathBuf,
    },
    /// The file is no journal: not a database, or one of another program.
    #[error("open {}: {found}", path.display())]
    NotAJournal {
        /// The database file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// A newer Forerun wrote the journal.
    #[error("open {}: its schema is version {found}, this program knows versions up to {known}", path.display())]
    NewerSchema {
        /// The database file.
        path: PathBuf,
        /// The version that was found.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The key of the event chains is not there, though there is a journal.
    #[error("open the journal: its key {} is missing", path.display())]
    KeyMissing {
        /// Where the key should be.
        path: PathBuf,
    },
    /// The key is not the one that the journal was begun with.
    #[error("open the journal: {} is not the key that it was begun with", path.display())]
    KeyMismatch {
        /// The key file.
        path: PathBuf,
    },
    /// There is no such session.
    #[error("find session {0}")]
    UnknownSession(SessionId),
    /// There is a session with this id already.
    #[error("create session {0}: there is one with this id")]
    SessionExists(SessionId),
    /// There is no such commit.
    #[error("find {0} in the journal")]
    UnknownCommit(CommitId),
    /// Something has no stored form, such as a workspace whose path is no text.
    #[error("store {what}: {reason}")]
    Unstorable {
        /// What was to be stored.
        what: String,
        /// Why it can not be.
        reason: String,
    },
    /// What is stored can not be what was written.
    #[error("read {what}: {reason}")]
    Corrupt {
        /// What was read.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value over a limit.
    #[error("store {what}: {found} bytes; at most {max} are kept")]
    TooLarge {
        /// What was to be stored.
        what: &'static str,
        /// Its size in bytes.
        found: usize,
        /// The largest size in bytes.
        max: usize,
    },
    /// The database refused.
    #[error("{what}: {reason}")]
    Database {
        /// What was tried.
        what: &'static str,
        /// SQLite's reason.
        reason: String,
    },
    /// The writer has stopped, because the journal is closing or a bug stopped it.
    #[error("write to the journal: its writer has stopped")]
    Closed,
}

impl JournalError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            JournalError::File { .. } => "journal_file",
            JournalError::ForeignOwner { .. } => "journal_foreign_owner",
            JournalError::InUse { .. } => "journal_in_use",
            JournalError::NotAJournal { .. } => "journal_not_a_journal",
            JournalError::NewerSchema { .. } => "journal_newer_schema",
            JournalError::KeyMissing { .. } => "journal_key_missing",
            JournalError::KeyMismatch { .. } => "journal_key_mismatch",
            JournalError::UnknownSession(_) => "unknown_session",
            JournalError::SessionExists(_) => "session_exists",
            JournalError::UnknownCommit(_) => "unknown_commit",
            JournalError::Unstorable { .. } => "journal_unstorable",
            JournalError::Corrupt { .. } => "journal_corrupt",
            JournalError::TooLarge { .. } => "journal_too_large",
            JournalError::Database { .. } => "journal_database",
            JournalError::Closed => "journal_closed",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            JournalError::ForeignOwner { .. } => {
                "choose a state directory of your own, for example with XDG_STATE_HOME"
            }
            JournalError::InUse { .. } => "stop the other daemon, or use another state directory",
            JournalError::NotAJournal { .. } | JournalError::Corrupt { .. } => {
                "restore journal.db from a backup, or move it away to begin a new journal"
            }
            JournalError::NewerSchema { .. } => {
                "use the version of forerun that wrote it, or a newer one, or another state directory"
            }
            JournalError::KeyMissing { .. } | JournalError::KeyMismatch { .. } => {
                "restore journal.key, or move journal.db away to begin a new journal"
            }
            JournalError::UnknownSession(_) => "`forerun session list` shows the sessions",
            JournalError::File { .. } => {
                "check the permissions of the state directory and its free space"
            }
            JournalError::Database { .. } => "check the free space of the state directory",
            JournalError::SessionExists(_)
            | JournalError::UnknownCommit(_)
            | JournalError::Unstorable { .. }
            | JournalError::TooLarge { .. }
            | JournalError::Closed => return None,
        })
    }

    /// Wraps a database error, telling damage from refusal.
    pub(crate) fn database(what: &'static str) -> impl Fn(rusqlite::Error) -> JournalError {
        move |error| {
            use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
            match error.sqlite_error_code() {
                Some(DatabaseCorrupt | NotADatabase) => JournalError::Corrupt {
                    what: "the journal's database".to_owned(),
                    reason: error.to_string(),
                },
                _ => JournalError::Database {
                    what,
                    reason: error.to_string(),
                },
            }
        }
    }

    pub(crate) fn file(
        what: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> JournalError {
        move |error| JournalError::File {
            what,
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }
}
