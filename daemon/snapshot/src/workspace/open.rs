//! Finding, checking and locking the directory.

use super::{Committer, Inner, Workspace};
use crate::base::Base;
use crate::chunks::ChunkStore;
use crate::commit::intent::Identity;
use crate::commit::slots::STATE_SLOTS;
use crate::commit::storage::Storage;
use crate::commit::storage_fs::FsStorage;
use crate::entries::Entries;
use crate::name;
use crate::seen::Lineage;
use crate::version::Timestamp;
use forerun_types::Digest;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

/// `FS_CASEFOLD_FL`: the directory compares names without regard to case.
const CASEFOLD_FLAG: u32 = 0x4000_0000;
/// Entries of the root that are looked at for one whose name shows how names compare.
const CASE_PROBE_ENTRIES: usize = 64;
/// File systems that fold case and have no flag for it: vfat, exfat, ntfs, ntfs3, smb.
const FOLDING_FILE_SYSTEMS: [u64; 5] = [0x4d44, 0x2011_bab0, 0x5346_544e, 0x7366_746e, 0xfe53_4d42];

/// How long a commit waits while a git command holds a lock in the workspace.
const GIT_WAIT: Duration = Duration::from_secs(5);

/// How a workspace is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The daemon's state directory; it must exist. Hidden from tools.
    pub state_dir: PathBuf,
    /// Further directories to hide, wherever they appear in the workspace.
    pub masks: Vec<PathBuf>,
}

/// Why a workspace could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nothing at the path.
    #[error("the workspace {0} does not exist")]
    NotFound(PathBuf),
    /// The path names something else.
    #[error("the workspace {0} is not a directory")]
    NotADirectory(PathBuf),
    /// The whole system is nobody's workspace: one wrong step would take it down.
    #[error("the workspace {0} is the root of the file system")]
    Root(PathBuf),
    /// The workspace lies in the daemon's own files.
    #[error("the workspace {0} lies in the daemon's state")]
    InsideState(PathBuf),
    /// Another process has it open.
    #[error("the workspace {0} is in use by another daemon")]
    Locked(PathBuf),
    /// Two spellings would be one file.
    #[error("the workspace {0} does not tell upper from lower case in names")]
    CaseInsensitive(PathBuf),
    /// The path can not be shown to people or kept in the journal.
    #[error("the path of the workspace {0} is not UTF-8")]
    NotUtf8(PathBuf),
    /// The operating system refused.
    #[error("failed to open {path}")]
    Io {
        /// What was opened.
        path: PathBuf,
        /// Why that failed.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            OpenError::NotFound(_) => "workspace_not_found",
            OpenError::NotADirectory(_) => "workspace_not_a_directory",
            OpenError::Root(_) => "workspace_root",
            OpenError::InsideState(_) => "workspace_inside_state",
            OpenError::Locked(_) => "workspace_locked",
            OpenError::CaseInsensitive(_) => "workspace_case_insensitive",
            OpenError::NotUtf8(_) => "workspace_not_utf8",
            OpenError::Io { .. } => "workspace_io",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            OpenError::NotFound(_) => "create the directory first, or check the spelling",
            OpenError::NotADirectory(_) => "name the directory that contains the file",
            OpenError::Root(_) => "name the directory of the project",
            OpenError::InsideState(_) => "choose a directory outside the daemon's state",
            OpenError::Locked(_) => {
                "use the daemon that has it open, or stop that one; a directory has one daemon"
            }
            OpenError::CaseInsensitive(_) => {
                "use a directory on a case-sensitive file system, such as ext4 without casefold"
            }
            OpenError::NotUtf8(_) => "rename the directory, or reach it by another path",
            OpenError::Io { .. } => "check that you may read and enter the directory",
        })
    }
}

type Key = (u64, u64);

/// Workspaces that are open in this process, by device and inode of the directory.
static REGISTRY: LazyLock<Mutex<HashMap<Key, Weak<Inner>>>> = LazyLock::new(Mutex::default);
/// Signalled when one of them is closed.
static CLOSED: Condvar = Condvar::new();

fn registry() -> MutexGuard<'static, HashMap<Key, Weak<Inner>>> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the workspace out of the registry when all else of it is closed.
pub(super) struct Registration {
    key: Key,
    /// Holds the `flock`, together with its duplicates; hence unlocked explicitly.
    lock: OwnedFd,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut registry = registry();
        if let Err(error) = rustix::fs::flock(&self.lock, FlockOperation::Unlock) {
            tracing::warn!(%error, "failed to unlock a workspace");
        }
        registry.remove(&self.key);
        CLOSED.notify_all();
    }
}

impl Workspace {
    /// Opens a directory, or shares it if this process has it open already.
    ///
    /// Costs the same whatever the directory contains: nothing is scanned.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dir: &Path, options: &OpenOptions) -> Result<Workspace, OpenError> {
        Workspace::open_with(dir, options, |storage| storage)
    }

    /// As [`Workspace::open`], with the committer's storage wrapped: for tests that stop
    /// or watch it. The wrapper of the first opening counts.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_with(
        dir: &Path,
        options: &OpenOptions,
        wrap: impl FnOnce(Arc<dyn Storage>) -> Arc<dyn Storage>,
    ) -> Result<Workspace, OpenError> {
        let io = |path: &Path, source: io::Error| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        let path = std::fs::canonicalize(dir).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::NotFound(dir.to_owned()),
            io::ErrorKind::NotADirectory => OpenError::NotADirectory(dir.to_owned()),
            _ => io(dir, error),
        })?;
        if path.to_str().is_none() {
            return Err(OpenError::NotUtf8(path));
        }
        if path.parent().is_none() {
            return Err(OpenError::Root(path));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOTDIR => OpenError::NotADirectory(path.clone()),
            Errno::NOENT => OpenError::NotFound(path.clone()),
            other => io(&path, other.into()),
        })?;
        let stat = rustix::fs::fstat(&root).map_err(|error| io(&path, error.into()))?;
        let key = (stat.st_dev, stat.st_ino);

        let hidden = hidden_directories(options).map_err(|(path, error)| io(&path, error))?;
        if hidden.iter().any(|mask| path.starts_with(&mask.path)) {
            return Err(OpenError::InsideState(path));
        }

        let mut registry = registry();
        loop {
            match registry.get(&key).map(Weak::upgrade) {
                Some(Some(inner)) => return Ok(Workspace { inner }),
                // Another thread is closing it.
                Some(None) => {
                    registry = CLOSED
                        .wait(registry)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        match rustix::fs::flock(&root, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(OpenError::Locked(path)),
            Err(error) => return Err(io(&path, error.into())),
        }
        if folds_case(&root) {
            return Err(OpenError::CaseInsensitive(path));
        }

        let duplicate = || root.try_clone().map_err(|error| io(&path, error));
        let state_dir = hidden[0].path.clone();
        let slots = state_dir.join(STATE_SLOTS).join(slots_key(&path, key));
        let storage = FsStorage::new(duplicate()?, slots);
        let masked_paths = hidden
            .iter()
            .filter_map(|mask| mask.path.strip_prefix(&path).ok()?.to_str())
            .map(str::to_owned)
            .collect();
        let umask = umask();
        let inner = Arc::new(Inner {
            identity: identity(&root).map_err(|error| io(&path, error))?,
            base: Base::new(duplicate()?, hidden.iter().map(|mask| mask.key).collect()),
            entries: Entries::new(),
            chunks: ChunkStore::new(state_dir),
            gate: RwLock::new(()),
            committer: Mutex::new(Committer::default()),
            flush: Mutex::new(()),
            storage: wrap(Arc::new(storage)),
            default_modes: (0o666 & !umask, 0o777 & !umask),
            masked_paths,
            git_wait: GIT_WAIT,
            root: Arc::new(Lineage::base()),
            path,
            _registration: Registration { key, lock: root },
        });
        registry.insert(key, Arc::downgrade(&inner));
        Ok(Workspace { inner })
    }
}

fn identity(directory: &OwnedFd) -> io::Result<Identity> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let statx = rustix::fs::statx(directory, "", AtFlags::EMPTY_PATH, wanted)?;
    let knows_birth = StatxFlags::from_bits_retain(statx.stx_mask).contains(StatxFlags::BTIME);
    let born = &statx.stx_btime;
    Ok(Identity {
        ino: statx.stx_ino,
        born: knows_birth.then(|| Timestamp::from_parts(born.tv_sec, born.tv_nsec.into())),
    })
}

struct Hidden {
    path: PathBuf,
    key: Key,
}

/// The state directory, then the masks that exist.
fn hidden_directories(options: &OpenOptions) -> Result<Vec<Hidden>, (PathBuf, io::Error)> {
    use std::os::unix::fs::MetadataExt;
    let resolve = |path: &Path| {
        let path = std::fs::canonicalize(path)?;
        let metadata = std::fs::metadata(&path)?;
        let key = (metadata.dev(), metadata.ino());
        Ok(Hidden { path, key })
    };
    let state = resolve(&options.state_dir).map_err(|error| (options.state_dir.clone(), error))?;
    let masks = options.masks.iter().filter_map(|mask| {
        resolve(mask)
            .inspect_err(|error: &io::Error| tracing::debug!(?mask, %error, "mask not found"))
            .ok()
    });
    Ok(std::iter::once(state).chain(masks).collect())
}

/// Names the workspace's slots in the state directory: the same after a restart, another
/// for a directory that was replaced.
fn slots_key(path: &Path, (_, ino): Key) -> String {
    let text = format!("{}\0{ino}", path.display());
    Digest::of(text).to_string()[..32].to_owned()
}

/// Whether names in the directory are compared without regard to case.
fn folds_case(root: &OwnedFd) -> bool {
    let flagged =
        rustix::fs::ioctl_getflags(root).is_ok_and(|flags| flags.bits() & CASEFOLD_FLAG != 0);
    let known = rustix::fs::fstatfs(root)
        .is_ok_and(|fs| FOLDING_FILE_SYSTEMS.contains(&(fs.f_type as u64 & 0xffff_ffff)));
    flagged || known || a_name_has_two_spellings(root.as_fd())
}

/// Looks an existing name up in the other case: the same inode means one file.
fn a_name_has_two_spellings(root: rustix::fd::BorrowedFd<'_>) -> bool {
    let Ok(listing) = rustix::fs::Dir::read_from(root) else {
        return false;
    };
    let names = listing
        .take(CASE_PROBE_ENTRIES)
        .filter_map(|entry| entry.ok()?.file_name().to_str().ok().map(str::to_owned));
    for name in names {
        let swapped: String = name
            .chars()
            .map(|c| match c.is_ascii_lowercase() {
                true => c.to_ascii_uppercase(),
                false => c.to_ascii_lowercase(),
            })
            .collect();
        if swapped == name || name::check(&name).is_err() {
            continue;
        }
        let inode = |name: &str| Some(crate::base::stat(root, name).ok()??.st_ino);
        return inode(&name).is_some_and(|ino| inode(&swapped) == Some(ino));
    }
    false
}

/// The process's umask, read without changing it.
fn umask() -> u32 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o022)
}
