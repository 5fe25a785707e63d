//! Why a commit did not happen.

use super::intent::IntentLogError;
use crate::Stale;
use forerun_types::CommitId;
use rustix::io::Errno;
use std::io;

/// A commit that did not happen: the workspace is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody changed what the delta was made from.
    #[error("conflict at {path}: expected {expected}, found {found}")]
    Conflict {
        /// The path, relative to the workspace.
        path: String,
        /// What the delta was made from.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Somebody changed what the step has seen.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The workspace does not let us.
    #[error("{path} can not be written: {reason}")]
    Unwritable {
        /// The path, relative to the workspace.
        path: String,
        /// Why.
        reason: String,
    },
    /// Another program is at work on the workspace and did not finish in time.
    #[error("the workspace is busy: {path} {reason}")]
    Busy {
        /// What shows it, relative to the workspace.
        path: String,
        /// How it shows.
        reason: &'static str,
    },
    /// The file system can not exchange two files in one step.
    #[error("the file system can not exchange files")]
    UnsupportedFileSystem(#[source] io::Error),
    /// The commit can not be undone.
    #[error("commit {commit} can not be undone: {reason}")]
    NotUndoable {
        /// The commit.
        commit: CommitId,
        /// Why.
        reason: &'static str,
    },
    /// The delta is not one that a branch of this workspace could have made.
    #[error("the delta is malformed: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// The intent could not be recorded, or not be marked.
    #[error("the commit could not be recorded")]
    Log(#[from] IntentLogError),
    /// An operation of the file system failed.
    #[error("failed to {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The path it was tried on.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl CommitError {
    /// Sorts a failed operation on a path: into what a person did, what we may not do,
    /// and the rest.
    pub(crate) fn of_io(doing: &'static str, path: &str, source: io::Error) -> CommitError {
        let path = if path.is_empty() { "." } else { path }.to_owned();
        match Errno::from_io_error(&source) {
            Some(
                Errno::EXIST
                | Errno::NOTEMPTY
                | Errno::NOENT
                | Errno::NOTDIR
                | Errno::ISDIR
                | Errno::LOOP
                | Errno::STALE,
            ) => CommitError::Conflict {
                path,
                expected: "what the changes were made from".into(),
                found: "something that was changed at this moment".into(),
            },
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::XDEV) => {
                CommitError::Unwritable {
                    path,
                    reason: source.to_string(),
                }
            }
            _ => CommitError::Io {
                doing,
                path,
                source,
            },
        }
    }

    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            CommitError::Conflict { .. } => "conflict",
            CommitError::Stale(_) => "stale",
            CommitError::Unwritable { .. } => "unwritable",
            CommitError::Busy { .. } => "busy",
            CommitError::UnsupportedFileSystem(_) => "unsupported_file_system",
            CommitError::NotUndoable { .. } => "not_undoable",
            CommitError::Malformed { .. } => "malformed_delta",
            CommitError::Log(_) => "commit_log",
            CommitError::Io { .. } => "commit_io",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            CommitError::Stale(_) => "`retry` runs the step again on what is there now",
            CommitError::Conflict { .. } => {
                "your version was kept; `retry` runs the step again on what is there now"
            }
            CommitError::Unwritable { .. } => "check the owner and the permissions, then `retry`",
            CommitError::Busy { .. } => {
                "wait until the other program is done, or remove a stale lock file of git, then `retry`"
            }
            CommitError::UnsupportedFileSystem(_) => {
                "use a workspace on a local file system such as ext4, xfs, btrfs or tmpfs"
            }
            CommitError::NotUndoable { .. }
            | CommitError::Malformed { .. }
            | CommitError::Log(_) => return None,
            CommitError::Io { .. } => "check that the disk is not full, then `retry`",
        })
    }

    /// The path in the workspace that stopped the commit, if one did.
    pub fn path(&self) -> Option<&str> {
        match self {
            CommitError::Stale(Stale { path, .. })
            | CommitError::Conflict { path, .. }
            | CommitError::Unwritable { path, .. }
            | CommitError::Busy { path, .. }
            | CommitError::Io { path, .. } => Some(path),
            _ => None,
        }
    }
}
