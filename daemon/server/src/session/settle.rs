//! What follows a commit, when nobody waits for it any more: it is made durable, what was
//! kept aside of it is told, and what undoes old commits is dropped. Blocks on the disk.

use super::Log;
use super::archive::{self, ArchiveError};
use forerun_snapshot::{KeptCopy, Retention, Timestamp, Workspace};
use forerun_types::{CommitId, EventKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a commit may wait to be made durable in the workspace. Until then a crash of
/// the machine is followed by a recovery, which does it again.
const FLUSH_DELAY: Duration = Duration::from_secs(1);

/// Flushes the workspace of a session, at most once in [`FLUSH_DELAY`].
#[derive(Clone)]
pub(crate) struct Settler {
    pub(crate) log: Log,
    pub(crate) workspace: Workspace,
    pub(crate) retention: Retention,
    scheduled: Arc<AtomicBool>,
}

impl Settler {
    pub(crate) fn new(log: Log, workspace: Workspace, retention: Retention) -> Settler {
        Settler {
            log,
            workspace,
            retention,
            scheduled: Arc::default(),
        }
    }

    /// Something was committed.
    pub(crate) fn soon(&self) {
        if self.scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(FLUSH_DELAY).await;
            this.scheduled.store(false, Ordering::Release);
            let _ = tokio::task::spawn_blocking(move || this.flush()).await;
        });
    }

    /// Nothing more will be committed for now.
    pub(crate) async fn at_end(self) {
        let work = move || {
            self.flush();
            self.expire();
        };
        let _ = tokio::task::spawn_blocking(work).await;
    }

    /// Makes what was committed durable. What fails is done by the next flush.
    pub(crate) fn flush(&self) {
        match self.workspace.flush(self.log.journal()) {
            Ok(kept) => self.tell(of_commits(kept)),
            Err(error) => {
                tracing::error!(%error, workspace = %self.workspace.path().display(), "commits could not be made durable yet");
            }
        }
    }

    /// Drops what undoes commits that are too old, or too many.
    pub(crate) fn expire(&self) {
        let now = Timestamp::now();
        match self
            .workspace
            .expire(self.retention, now, self.log.journal())
        {
            Ok(expired) => self.tell(of_commits(expired.kept)),
            Err(error) => {
                tracing::warn!(%error, workspace = %self.workspace.path().display(), "old commits could not be expired");
            }
        }
    }

    /// Writes to the log of each commit's session what was kept aside.
    pub(crate) fn tell(&self, kept: Vec<(Option<CommitId>, KeptCopy)>) {
        for (commit, KeptCopy { path, copy }) in kept {
            let Some(commit) = commit else {
                tracing::warn!(
                    path,
                    copy,
                    "kept aside what a forgotten commit had displaced"
                );
                continue;
            };
            let told = || -> Result<(), ArchiveError> {
                let Some(session) = self.log.journal().session_of(commit)? else {
                    return Ok(());
                };
                let at = archive::summary(&self.log, &session)?.last_at;
                let event = EventKind::Kept { commit, path, copy };
                self.log.append_blocking(&session, vec![(at, event)])?;
                Ok(())
            };
            if let Err(error) = told() {
                tracing::error!(%error, %commit, "what was kept aside could not be logged");
            }
        }
    }
}

fn of_commits(kept: Vec<(CommitId, KeptCopy)>) -> Vec<(Option<CommitId>, KeptCopy)> {
    let with_commit = kept.into_iter().map(|(commit, copy)| (Some(commit), copy));
    with_commit.collect()
}
