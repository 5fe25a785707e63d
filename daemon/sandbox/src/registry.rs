//! The snapshots that are held, by id.

use forerun_snapshot::{Delta, Snapshot};
use forerun_types::SnapshotId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A version of everything that a tool can change: the workspace, and the directory for
/// temporary files, which is empty at the start of a session and is never committed.
#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) workspace: Snapshot,
    pub(crate) tmp: Snapshot,
}

struct Held {
    version: Version,
    delta: Option<Delta>,
}

/// All held snapshots. Ids are never used twice.
pub(crate) struct Registry {
    held: Mutex<HashMap<SnapshotId, Held>>,
    next: AtomicU64,
}

impl Registry {
    pub(crate) fn new() -> Registry {
        Registry {
            held: Mutex::new(HashMap::new()),
            next: AtomicU64::new(1),
        }
    }

    /// Holds a version; `delta` is what it differs by from its parent.
    pub(crate) fn insert(&self, version: Version, delta: Option<Delta>) -> SnapshotId {
        let id = SnapshotId(self.next.fetch_add(1, Ordering::Relaxed));
        self.held().insert(id, Held { version, delta });
        id
    }

    pub(crate) fn version(&self, id: SnapshotId) -> Option<Version> {
        self.held().get(&id).map(|held| held.version.clone())
    }

    pub(crate) fn delta(&self, id: SnapshotId) -> Option<Delta> {
        self.held().get(&id).and_then(|held| held.delta.clone())
    }

    pub(crate) fn drop_snapshot(&self, id: SnapshotId) {
        // Freed outside of the lock: a snapshot may hold a lot.
        let held = self.held().remove(&id);
        drop(held);
    }

    pub(crate) fn count(&self) -> usize {
        self.held().len()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<SnapshotId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
