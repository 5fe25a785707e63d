//! Immutable versions of a workspace.

use crate::branch::{Branch, Quota};
use crate::seen::{Lineage, SeenMap};
use crate::{Delta, FileDiff, FsError, GraftError, Workspace, graft, net};
use std::sync::Arc;

/// A version of a workspace: the base seen through a table of changes. Cheap to clone;
/// dropping it is all that a rollback takes.
#[derive(Clone)]
pub struct Snapshot {
    workspace: Workspace,
    lineage: Arc<Lineage>,
}

impl Snapshot {
    pub(crate) fn new(workspace: Workspace, lineage: Arc<Lineage>) -> Snapshot {
        Snapshot { workspace, lineage }
    }

    /// The workspace that it is a version of.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// A mutable version that starts as this one, in O(1), with the default [`Quota`].
    pub fn branch(&self) -> Branch {
        self.branch_with(Quota::default())
    }

    /// As [`Snapshot::branch`], with a limit on the unverified changes of the branch and
    /// its unverified ancestors together.
    pub fn branch_with(&self, quota: Quota) -> Branch {
        Branch::new(self.workspace.clone(), Arc::clone(&self.lineage), quota)
    }

    /// The delta applied to this snapshot, if this holds what the delta was made from.
    ///
    /// # Errors
    /// [`GraftError::Stale`] names the first path that is something else here.
    pub fn graft(&self, delta: &Delta) -> Result<Snapshot, GraftError> {
        graft::graft(self, delta)
    }

    /// The net changes of this snapshot against what the base is known to hold: all of
    /// them, except those of ancestors that were committed already.
    ///
    /// # Errors
    /// [`FsError::Changed`] if another session's commit took away a directory that has
    /// changes in it.
    pub fn delta(&self) -> Result<Delta, FsError> {
        let (chain, verified) = self.lineage.unverified();
        net::delta(
            &self.workspace,
            &verified.table,
            &self.lineage.table,
            &SeenMap::new(),
            (&chain, verified.seen()),
            Arc::clone(&self.lineage),
            None,
        )
    }

    /// What [`Snapshot::delta`] changes, for reading.
    ///
    /// # Errors
    /// As [`Snapshot::delta`].
    pub fn diff(&self) -> Result<Vec<FileDiff>, FsError> {
        Ok(self.delta()?.diff())
    }
}
