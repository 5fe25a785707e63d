//! A machine whose power goes off after so many changes of its storage and of its log, and
//! where somebody may have a file open for writing when that is in the way.

use crate::support::{MemoryLog, delegate};
use forerun_snapshot::{
    Attributes, Hold, Intent, IntentLog, IntentLogError, IntentState, Kept, Lease, Location,
    Observed, Place, Storage, Timestamp,
};
use forerun_types::{CommitId, Digest};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

/// Counts changes down; at zero the machine is off, and everything fails.
pub(crate) struct Power {
    left: AtomicUsize,
    /// Leases until one is not to be had, once.
    leases: AtomicIsize,
}

impl Power {
    pub(crate) fn for_operations(left: usize) -> Arc<Power> {
        Power::with_writer(left, isize::MAX)
    }

    /// After so many leases a file is open for writing, and is not the next time.
    pub(crate) fn with_writer(left: usize, leases: isize) -> Arc<Power> {
        Arc::new(Power {
            left: AtomicUsize::new(left),
            leases: AtomicIsize::new(leases),
        })
    }

    /// Whether so many leases were asked for.
    pub(crate) fn met_writer(&self) -> bool {
        self.leases.load(Ordering::SeqCst) < 0
    }

    /// Whether one more operation takes place.
    fn step(&self) -> bool {
        let step = |left: usize| left.checked_sub(1);
        self.left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, step)
            .is_ok()
    }

    pub(crate) fn is_off(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn change<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.step() { operation() } else { Err(off()) }
    }
}

fn off() -> io::Error {
    io::Error::other("the machine is off")
}

/// The storage of a machine that may go off.
pub(crate) struct Stopping {
    pub(crate) inner: Arc<dyn Storage>,
    pub(crate) power: Arc<Power>,
}

impl Storage for Stopping {
    delegate!(inner: observe digest read read_link list is_writable same_mount moves_directories);

    fn lease(&self, at: &Location, ino: u64) -> io::Result<Option<Box<dyn Lease>>> {
        match self.power.leases.fetch_sub(1, Ordering::SeqCst) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            _ => self.inner.lease(at, ino),
        }
    }
    fn make_own_directory(&self, at: &Location) -> io::Result<()> {
        self.power.change(|| self.inner.make_own_directory(at))
    }
    fn make_directory(
        &self,
        at: &Location,
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> io::Result<()> {
        self.power
            .change(|| self.inner.make_directory(at, mode, owner))
    }
    /// Stops with half of the file written.
    fn write_file(
        &self,
        at: &Location,
        len: u64,
        pieces: &mut forerun_snapshot::Pieces<'_>,
        attributes: &Attributes,
    ) -> io::Result<Box<dyn Hold>> {
        if self.power.is_off() {
            return Err(off());
        }
        if self.power.step() && self.power.is_off() {
            let half = Attributes::default();
            let _ = self
                .inner
                .write_file(at, len / 2, &mut std::iter::empty(), &half);
            return Err(off());
        }
        let inner = self.inner.write_file(at, len, pieces, attributes)?;
        let power = Arc::clone(&self.power);
        Ok(Box::new(StoppingHold { inner, power }))
    }
    fn make_symlink(
        &self,
        at: &Location,
        target: &str,
        times: Option<(Timestamp, Timestamp)>,
    ) -> io::Result<()> {
        self.power
            .change(|| self.inner.make_symlink(at, target, times))
    }
    fn link(&self, existing: &Location, at: &Location) -> io::Result<()> {
        self.power.change(|| self.inner.link(existing, at))
    }
    fn set_times(&self, at: &Location, accessed: Timestamp, modified: Timestamp) -> io::Result<()> {
        self.power
            .change(|| self.inner.set_times(at, accessed, modified))
    }
    fn rename(&self, from: &Location, to: &Location) -> io::Result<()> {
        self.power.change(|| self.inner.rename(from, to))
    }
    fn exchange(&self, a: &Location, b: &Location) -> io::Result<()> {
        self.power.change(|| self.inner.exchange(a, b))
    }
    fn remove_file(&self, at: &Location) -> io::Result<()> {
        self.power.change(|| self.inner.remove_file(at))
    }
    fn remove_directory(&self, at: &Location) -> io::Result<()> {
        self.power.change(|| self.inner.remove_directory(at))
    }
    fn sync_directory(&self, at: &Location) -> io::Result<()> {
        self.power.change(|| self.inner.sync_directory(at))
    }
    fn sync_all(&self, at: &Location) -> io::Result<()> {
        self.power.change(|| self.inner.sync_all(at))
    }
}

/// The storage of a file system that can not let files change places, or that can not
/// move directories.
pub(crate) struct Lesser {
    pub(crate) inner: Arc<dyn Storage>,
    pub(crate) exchanges: bool,
    pub(crate) moves_directories: bool,
}

impl Storage for Lesser {
    delegate!(inner: observe digest read read_link list is_writable same_mount lease);
    delegate!(inner: make_own_directory make_directory write_file make_symlink link set_times);
    delegate!(inner: remove_file sync_directory sync_all);

    fn moves_directories(&self) -> io::Result<bool> {
        Ok(self.moves_directories)
    }
    fn rename(&self, from: &Location, to: &Location) -> io::Result<()> {
        // What is staged is in no lower layer.
        let is_in_lower = |at: &Location| {
            at.place == Place::Workspace && self.inner.list(at).is_ok() && !self.moves_directories
        };
        match is_in_lower(from) {
            true => Err(rustix::io::Errno::XDEV.into()),
            false => self.inner.rename(from, to),
        }
    }
    fn exchange(&self, a: &Location, b: &Location) -> io::Result<()> {
        match self.exchanges {
            true => self.inner.exchange(a, b),
            false => Err(rustix::io::Errno::INVAL.into()),
        }
    }
    fn remove_directory(&self, at: &Location) -> io::Result<()> {
        self.inner.remove_directory(at)
    }
}

struct StoppingHold {
    inner: Box<dyn Hold>,
    power: Arc<Power>,
}

impl Hold for StoppingHold {
    fn sync(&self) -> io::Result<()> {
        self.power.change(|| self.inner.sync())
    }
}

/// The log of a machine that may go off.
pub(crate) struct StoppingLog<'a> {
    pub(crate) inner: &'a MemoryLog,
    pub(crate) power: Arc<Power>,
}

impl StoppingLog<'_> {
    fn step(&self) -> Result<(), IntentLogError> {
        match self.power.step() {
            true => Ok(()),
            false => Err(IntentLogError::new("the machine is off")),
        }
    }
}

impl IntentLog for StoppingLog<'_> {
    fn record(&self, workspace: &Path, intent: &Intent) -> Result<CommitId, IntentLogError> {
        self.step()?;
        self.inner.record(workspace, intent)
    }
    fn mark(&self, commits: &[CommitId], state: IntentState) -> Result<(), IntentLogError> {
        self.step()?;
        self.inner.mark(commits, state)
    }
    fn load(&self, commit: CommitId) -> Result<(Intent, Option<IntentState>), IntentLogError> {
        self.inner.load(commit)
    }
    fn owner(&self, directory: &str) -> Result<Option<CommitId>, IntentLogError> {
        self.inner.owner(directory)
    }
    fn kept(&self, workspace: &Path) -> Result<Vec<Kept>, IntentLogError> {
        self.inner.kept(workspace)
    }
    fn unfinished(&self, workspace: &Path) -> Result<Vec<(CommitId, Intent)>, IntentLogError> {
        self.inner.unfinished(workspace)
    }
}
