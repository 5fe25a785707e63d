//! The record of a commit: what it does, in order, and how to tell what was done.
//!
//! An intent is written durably before the first change of the base; with it and the
//! slots, a recovery finishes the commit or takes it back. Who keeps intents is not this
//! crate's business: see [`IntentLog`].

use super::error::CommitError;
use crate::version::{Timestamp, Version};
use forerun_types::{CommitId, Digest};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What a commit is going to do. Opaque to the log: store it as JSON, give it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Version of this format.
    pub(crate) format: u32,
    /// Where the slots are.
    pub(crate) slots: SlotPlace,
    /// The commit's own directory among the slots.
    pub(crate) directory: String,
    /// The directory that it is for.
    #[serde(default)]
    pub(crate) identity: Option<Identity>,
    /// Set if this commit undoes another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undoes: Option<Undoes>,
    /// The operations, in the order of their application.
    pub(crate) operations: Vec<Operation>,
}

/// Tells one directory from another that takes its path, be it a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) ino: u64,
    /// When it was made, where the file system knows: inode numbers are used again.
    pub(crate) born: Option<Timestamp>,
}

/// The commit that another one undoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undoes {
    /// Its id.
    pub commit: CommitId,
    /// Whether nothing of it is left, so that what it displaced is needed no more.
    pub whole: bool,
}

/// Where staged and displaced objects are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SlotPlace {
    /// The daemon's state directory.
    State,
    /// `.forerun/slots` in the workspace.
    Workspace,
}

/// One change of the base; each is a compare-and-swap. Slots are names within the
/// commit's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// `path` goes into the slot: to be deleted, or to be placed elsewhere where it can not
    /// be moved there straight.
    Park {
        path: String,
        slot: String,
        pre: Recorded,
        /// Set if the next operation places the file's replacement, because the two can
        /// not change places. Then the path is that of the version after.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        replaced: bool,
    },
    /// What is at `from` goes to `path`, where nothing is.
    Move {
        from: String,
        path: String,
        pre: Recorded,
        /// Where it goes when it is taken back and somebody else is at `from` by then.
        slot: String,
        /// Where it is when its turn comes, if the directory that it was in has moved by
        /// then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        via: Option<String>,
    },
    /// The emptied directory at `path` goes away.
    Rmdir { path: String, pre: RemovedDirectory },
    /// What is in the slot goes to `path`, where nothing is.
    Place {
        slot: String,
        path: String,
        post: Recorded,
        /// What a staged directory contains, relative to it, parents first. `None` for
        /// a base object that is moved, and was parked.
        contents: Option<Vec<(String, Recorded)>>,
    },
    /// The slot and `path` change places.
    Exchange {
        slot: String,
        path: String,
        pre: Recorded,
        post: Recorded,
    },
    /// The directory at `path` gets explicit times.
    SetTimes {
        path: String,
        pre: TimesOf,
        post: TimesOf,
    },
}

/// An object as an intent records it: version, and what its content is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) version: Version,
    /// Digest of a file's content or of a link's target. `None` for a directory, and
    /// for a file too large to be read for its removal alone.
    pub(crate) digest: Option<Digest>,
}

/// A directory that is removed, with what making it again takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RemovedDirectory {
    pub(crate) recorded: Recorded,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A pair of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimesOf {
    pub(crate) accessed: Timestamp,
    pub(crate) modified: Timestamp,
}

impl Intent {
    /// The format that this version writes. Version 1 has no [`Operation::Move`], version 2
    /// no `via` in it; both are read as well.
    pub(crate) const FORMAT: u32 = 3;

    /// Refuses what a later version of this program recorded.
    pub(super) fn check_format(&self, id: CommitId) -> Result<(), CommitError> {
        match self.format {
            1..=Intent::FORMAT => Ok(()),
            format => Err(CommitError::Malformed {
                reason: format!("{id} has the unknown format {format}"),
            }),
        }
    }

    /// The commit's own directory among the slots: a name that no other commit has.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The commit that this one undoes.
    pub fn undoes(&self) -> Option<Undoes> {
        self.undoes
    }

    /// Bytes of the versions that are kept to undo it.
    pub fn kept_bytes(&self) -> u64 {
        let kept = self.operations.iter().map(|operation| match operation {
            Operation::Park { pre, .. } | Operation::Exchange { pre, .. } => pre.version.size,
            Operation::Move { .. }
            | Operation::Rmdir { .. }
            | Operation::Place { .. }
            | Operation::SetTimes { .. } => 0,
        });
        kept.fold(0, u64::saturating_add)
    }
}

/// What became of an intent. No end is one in part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntentState {
    /// All of it is in the base, and what it displaced is in its slots.
    Applied,
    /// It failed, and not all of it could be taken back: that is the first thing to be
    /// done. Not an end.
    Failed,
    /// None of it is in the base.
    Reverted,
    /// Another commit undid it.
    Undone,
    /// All of it is in the base; what it displaced is not kept any more.
    Expired,
}

/// A commit that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its id.
    pub commit: CommitId,
    /// When it was recorded.
    pub recorded: Timestamp,
    /// [`Intent::kept_bytes`].
    pub bytes: u64,
}

/// The durable list of intents.
pub trait IntentLog: Send + Sync {
    /// Records an intent in one transaction and gives it an id. It is durable when this
    /// returns: the commit point. An error means that it was not recorded.
    ///
    /// # Errors
    /// If the intent could not be made durable.
    fn record(&self, workspace: &Path, intent: &Intent) -> Result<CommitId, IntentLogError>;

    /// Records in one transaction what became of intents. Where one that undoes another
    /// as a whole is applied, the other is undone with it.
    ///
    /// # Errors
    /// If that could not be made durable; the intents then stay as they were.
    fn mark(&self, commits: &[CommitId], state: IntentState) -> Result<(), IntentLogError>;

    /// An intent and what became of it; no state while it is unfinished.
    ///
    /// # Errors
    /// If it could not be read, or there is none of that id.
    fn load(&self, commit: CommitId) -> Result<(Intent, Option<IntentState>), IntentLogError>;

    /// The commit that has a slot directory, if one was recorded.
    ///
    /// # Errors
    /// If the log could not be read.
    fn owner(&self, directory: &str) -> Result<Option<CommitId>, IntentLogError>;

    /// The commits of a workspace that are marked as applied, oldest first.
    ///
    /// # Errors
    /// If they could not be read.
    fn kept(&self, workspace: &Path) -> Result<Vec<Kept>, IntentLogError>;

    /// All intents of a workspace that were recorded and not marked, or marked as failed,
    /// oldest first.
    ///
    /// # Errors
    /// If they could not be read.
    fn unfinished(&self, workspace: &Path) -> Result<Vec<(CommitId, Intent)>, IntentLogError>;
}

/// The log failed; what it failed with is its own.
#[derive(Debug, thiserror::Error)]
#[error("the commit log failed")]
pub struct IntentLogError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl IntentLogError {
    /// Wraps the log's own error, or a text.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> IntentLogError {
        IntentLogError(error.into())
    }
}
