//! Opening a workspace: the directory by capability, locked, and shared by every
//! session of this process that opens it.
//!
//! **Invariants**
//! - A directory is held by one process at a time (`flock` on the directory itself);
//!   within the process every opening of it is the same workspace.
//! - Branches look at the base only through the accessors here, which hold the gate, so
//!   none of them sees a commit half applied.

mod open;

use crate::base::{Base, Glance, OpenFile};
use crate::chunks::ChunkStore;
use crate::commit::intent::{Identity, Intent};
use crate::commit::slots::{Probes, ReadySlots};
use crate::commit::storage::Storage;
use crate::commit::{self, Backlog};
use crate::content::Content;
use crate::entries::Entries;
use crate::node::{Inode, Link};
use crate::seen::Lineage;
use crate::version::{ObjectKind, Version};
use crate::{CommitError, Delta, FsError, Snapshot, name};
use forerun_types::Digest;
pub use open::{OpenError, OpenOptions};
use rustix::fs::Stat;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

/// A real directory that sandboxes see through snapshots. Cheap to clone; all clones,
/// and all openings of the same directory in this process, are one.
#[derive(Clone)]
pub struct Workspace {
    pub(crate) inner: Arc<Inner>,
}

/// Where the bytes of changed files are. What several snapshots share counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentUsage {
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes of disk in the temporary file.
    pub spilled: u64,
}

/// A visible base object that was looked up.
pub(crate) struct Found {
    pub(crate) node: Inode,
    pub(crate) glance: Glance,
    /// Its base path, and the moves of entries until then. `None` if it may have other
    /// names, so that the path alone does not tell which entry it is.
    pub(crate) place: Option<(String, u64)>,
}

pub(crate) struct Inner {
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    base: Base,
    pub(crate) entries: Entries,
    /// Where the bytes of changed files are.
    pub(crate) chunks: Arc<ChunkStore>,
    /// Held for one access to the base, or for one application of a commit.
    gate: RwLock<()>,
    pub(crate) committer: Mutex<Committer>,
    /// Held for one flush, one undo, or one expiry. Taken before the committer's lock, if
    /// both are.
    flush: Mutex<()>,
    pub(crate) storage: Arc<dyn Storage>,
    /// Mode of a new file and of a new directory.
    pub(crate) default_modes: (u32, u32),
    /// Base paths of hidden directories; what contains one can not be moved.
    masked_paths: Vec<String>,
    /// How long a commit waits for git to finish.
    pub(crate) git_wait: Duration,
    root: Arc<Lineage>,
    /// Dropped last: frees the directory for another opening.
    _registration: open::Registration,
}

/// What only the committer may use; locked for the length of a commit.
#[derive(Default)]
pub(crate) struct Committer {
    pub(crate) backlog: Backlog,
    /// What the file system can do, once that was tried.
    pub(crate) probes: Option<Probes>,
    /// Whether what an earlier process left was brought to its end.
    pub(crate) recovered: bool,
    /// Where the next commits stage.
    pub(crate) slots: ReadySlots,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let committer = self.committer.get_mut();
        let committer = committer.unwrap_or_else(PoisonError::into_inner);
        if let Some(probes) = committer.probes {
            committer.slots.clear(&*self.storage, probes.place);
        }
    }
}

impl Workspace {
    /// The directory's path, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The verified state: the base, without changes.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.clone(), Arc::clone(&self.inner.root))
    }

    /// Sets how many bytes of changed files are kept in memory from now on, for all
    /// snapshots together; what is over goes to a temporary file. 64 MiB at first.
    pub fn set_content_memory(&self, bytes: u64) {
        self.inner.chunks.set_memory_max(bytes);
    }

    /// What the changed files of all snapshots take up until they are committed.
    pub fn content_usage(&self) -> ContentUsage {
        ContentUsage {
            memory: self.inner.chunks.memory(),
            spilled: self.inner.chunks.spilled(),
        }
    }

    /// How much is known of base objects that were looked up: a measure of memory.
    pub fn entries_known(&self) -> usize {
        self.inner.entries.len()
    }

    /// Asks whether executing the step now would show it the same, without committing it.
    ///
    /// # Errors
    /// [`CommitError::Stale`] names the first object of which the step was told something
    /// else, [`CommitError::Conflict`] one that it would also change without a look.
    pub fn validate(&self, delta: &Delta) -> Result<(), CommitError> {
        let _committer = self.inner.lock_committer();
        delta.check_reads(&self.inner)
    }

    /// Paths of files that the delta replaces, and that have names beyond those that it
    /// replaces: under these, the old version stays.
    ///
    /// # Errors
    /// If the workspace can not be read.
    pub fn shared(&self, delta: &Delta) -> Result<Vec<String>, CommitError> {
        commit::shared(&self.inner, delta)
    }

    /// Notes that a step was verified which changed nothing: what it saw no longer
    /// binds the steps after it. A commit does this by itself.
    ///
    /// # Errors
    /// As [`Workspace::validate`]; nothing is noted then.
    pub fn retire(&self, delta: &Delta) -> Result<(), CommitError> {
        let _committer = self.inner.lock_committer();
        delta.check_reads(&self.inner)?;
        let _gate = self.inner.write_gate();
        delta.verify(&self.inner);
        Ok(())
    }
}

impl Inner {
    /// Whether an intent that was recorded for the path was recorded for this directory.
    pub(crate) fn is_for_us(&self, intent: &Intent) -> bool {
        intent
            .identity
            .is_none_or(|of_intent| of_intent == self.identity)
    }

    pub(crate) fn write_gate(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_gate(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an access to the base at the entry's current path.
    fn at<T>(
        &self,
        entry: Inode,
        access: impl FnOnce(&Base, &str) -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        let _gate = self.read_gate();
        let path = self.entries.path(entry).ok_or(FsError::NotFound)?;
        access(&self.base, &path)
    }

    /// A visible name in a base directory.
    pub(crate) fn lookup(&self, directory: Inode, name: &str) -> Result<Option<Found>, FsError> {
        self.at(directory, |base, path| {
            let path = name::join(path, name);
            let stat = base.stat(&path)?.filter(|stat| base.is_visible(stat));
            let Some(stat) = stat else { return Ok(None) };
            let mut node = self.entries.intern(directory, name);
            let has_several = self.entries.has_several(node);
            if has_several && !self.is_same(base, node, &stat)? {
                node = self.entries.separate(directory, name);
            }
            Ok(Some(Found {
                glance: Glance::of(&stat),
                node,
                place: (!has_several).then(|| (path, self.entries.moves())),
            }))
        })
    }

    /// What is at a base path, unless entries moved since it was told. For comparing
    /// with what was found there, never for showing: see [`Base::glance`].
    pub(crate) fn glance(&self, path: &str, moves: u64) -> Option<Glance> {
        let _gate = self.read_gate();
        match self.entries.moves() == moves {
            true => self.base.glance(path),
            false => None,
        }
    }

    /// What a visible name in a base directory names.
    pub(crate) fn version_at(&self, dir: Inode, name: &str) -> Result<Option<Version>, FsError> {
        self.at(dir, |base, path| {
            let stat = base.stat(&name::join(path, name))?;
            let visible = stat.filter(|stat| base.is_visible(stat));
            Ok(visible.map(|stat| Version::of(&stat)))
        })
    }

    /// Whether a name that was one of several of an entry still is.
    pub(crate) fn is_linked(&self, entry: Inode, link: &Link) -> Result<bool, FsError> {
        self.at(link.directory, |base, path| {
            match base.stat(&name::join(path, &link.name))? {
                Some(stat) => self.is_same(base, entry, &stat),
                None => Ok(false),
            }
        })
    }

    fn is_same(&self, base: &Base, entry: Inode, stat: &Stat) -> Result<bool, FsError> {
        let Some(path) = self.entries.path(entry) else {
            return Ok(false);
        };
        let first = base.stat(&path)?;
        Ok(first.is_some_and(|first| (first.st_dev, first.st_ino) == (stat.st_dev, stat.st_ino)))
    }

    /// The visible entries of a base directory and their versions, by name.
    pub(crate) fn survey(&self, directory: Inode) -> Result<Vec<(String, Version)>, FsError> {
        self.at(directory, |base, path| {
            let mut found = Vec::new();
            for (name, _) in base.list(path)? {
                if let Some(stat) = base.stat(&name::join(path, &name))? {
                    found.push((name, Version::of(&stat)));
                }
            }
            found.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            Ok(found)
        })
    }

    /// Whether a name is taken in a base directory, be it by something hidden.
    pub(crate) fn is_taken(&self, directory: Inode, name: &str) -> Result<bool, FsError> {
        self.at(directory, |base, path| {
            Ok(base.stat(&name::join(path, name))?.is_some())
        })
    }

    /// Attributes of a visible base object.
    pub(crate) fn stat(&self, entry: Inode) -> Result<Stat, FsError> {
        self.at(entry, |base, path| {
            base.stat(path)?
                .filter(|stat| base.is_visible(stat))
                .ok_or(FsError::NotFound)
        })
    }

    /// Opens a file for reading, where one was just seen; `None` if too many are open.
    pub(crate) fn open(&self, entry: Inode) -> Result<Option<OpenFile>, FsError> {
        self.at(entry, |base, path| base.open(path))
    }

    pub(crate) fn read(
        &self,
        entry: Inode,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<(usize, Version), FsError> {
        self.at(entry, |base, path| base.read(path, offset, buf))
    }

    pub(crate) fn load(
        &self,
        entry: Inode,
        bytes_max: u64,
    ) -> Result<(Content, Version, Digest), FsError> {
        self.at(entry, |base, path| base.load(path, bytes_max, &self.chunks))
    }

    /// A file's content; without a digest if it was not read yet.
    pub(crate) fn content(
        &self,
        entry: Inode,
        bytes_max: u64,
    ) -> Result<(Content, Version, Option<Digest>), FsError> {
        self.at(entry, |base, path| {
            base.content(path, bytes_max, &self.chunks)
        })
    }

    /// A base file's content, by its path in the base.
    pub(crate) fn content_at(&self, path: &str) -> Result<Content, FsError> {
        let _gate = self.read_gate();
        let (content, ..) = self.base.content(path, u64::MAX, &self.chunks)?;
        Ok(content)
    }

    /// Digest of a base file, without keeping its content.
    pub(crate) fn digest(&self, entry: Inode) -> Result<(Version, Digest), FsError> {
        self.at(entry, |base, path| {
            let (stat, digest) = crate::base::read_whole(base.root(), path, u64::MAX, |_, _| {})?;
            Ok((Version::of(&stat), digest))
        })
    }

    pub(crate) fn read_link(&self, entry: Inode) -> Result<String, FsError> {
        self.at(entry, |base, path| base.read_link(path))
    }

    pub(crate) fn list(&self, entry: Inode) -> Result<Vec<(String, ObjectKind)>, FsError> {
        self.at(entry, |base, path| base.list(path))
    }

    pub(crate) fn raw_names(&self, entry: Inode) -> Result<Vec<Vec<u8>>, FsError> {
        self.at(entry, |base, path| base.raw_names(path))
    }

    /// Whether a hidden directory lies below a base directory.
    pub(crate) fn contains_mask(&self, entry: Inode) -> bool {
        !self.masked_paths.is_empty()
            && self.entries.path(entry).is_some_and(|path| {
                self.masked_paths
                    .iter()
                    .any(|mask| name::is_below(mask, &path))
            })
    }

    /// Base paths of hidden directories.
    pub(crate) fn masked_paths(&self) -> &[String] {
        &self.masked_paths
    }

    /// The lock of a flush: one at a time, and commits are marked in order.
    pub(crate) fn lock_flush(&self) -> MutexGuard<'_, ()> {
        self.flush.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The committer's lock: one commit at a time.
    pub(crate) fn lock_committer(&self) -> MutexGuard<'_, Committer> {
        self.committer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
