//! A disk that forgets: real directories, and what of their changes would be gone if the
//! power went now.
//!
//! Every change of a name since the last sync of everything is kept with the inodes it was
//! made on, and nothing that was removed is really gone, so that all of it can be taken
//! back and any part of it be done again, on the same inodes. What a crash leaves:
//!
//! - The sync of a file makes its content and attributes durable, not its name. Of a file
//!   that was not synced, the name may be there, and the content is not.
//! - The sync of a directory makes durable what changed in that directory, and the earlier
//!   changes without which that makes no sense. It does not make the directory's own name
//!   durable: what was synced in a directory that nothing leads to is lost with it.
//! - A rename or an exchange is there as a whole or not at all, as on every file system
//!   with a journal. A link's target and times come with its name; it can not be synced.
//! - Of what was not synced, [`Survival`] says how much is there all the same.
//!
//! What is known by inode number alone stays so: no number is given away again before
//! everything is synced.

use crate::changes::{self, Change, Directory, Name, Survival, What, times};
use crate::support::{Scratch, delegate};
use forerun_snapshot::{
    Attributes, Hold, Lease, Location, Observed, Pieces, Place, Storage, Timestamp,
};
use forerun_types::Digest;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, futimens, lstat, openat};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A sync that has no effect, for tests of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deaf {
    /// Of files.
    File,
    /// Of directories so far below the slots of all commits.
    Directory(usize),
    /// Of everything.
    Everything,
}

/// The storage of a workspace on such a disk.
pub(crate) struct Volatile {
    pub(crate) inner: Arc<dyn Storage>,
    pub(crate) disk: Arc<Disk>,
}

pub(crate) struct Disk {
    workspace: PathBuf,
    state: PathBuf,
    /// Where removed objects are, and new ones while they are taken back.
    graves: tempfile::TempDir,
    deaf: Option<Deaf>,
    cache: Mutex<Cache>,
}

/// What has happened since everything was synced.
#[derive(Default)]
struct Cache {
    changes: Vec<Change>,
    /// Files whose content was not synced, by inode number.
    unsynced: BTreeMap<u64, File>,
    directories: HashMap<u64, Arc<OwnedFd>>,
    graves: usize,
}

impl Disk {
    pub(crate) fn of(scratch: &Scratch, deaf: Option<Deaf>) -> Arc<Disk> {
        let beside = scratch.path().parent().expect("is no root");
        Arc::new(Disk {
            workspace: scratch.path().to_owned(),
            state: scratch.state.path().join("slots"),
            graves: tempfile::tempdir_in(beside).expect("a temporary directory"),
            deaf,
            cache: Mutex::default(),
        })
    }

    /// The power is gone: leaves what survives on the real directories.
    pub(crate) fn forget(&self, survival: Survival) {
        let cache = std::mem::take(&mut *self.cache());
        let survives = survival.of(&cache.changes);
        for change in cache.changes.iter().rev() {
            change.what.take_back();
        }
        let changes = cache.changes.iter().zip(survives);
        for (change, _) in changes.filter(|(_, survives)| *survives) {
            change.what.do_again();
        }
        for (index, file) in cache.unsynced.values().enumerate() {
            lose_content(file, survival.coin(index));
        }
        self.clear_graves();
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, at: &Location) -> io::Result<PathBuf> {
        let root = match at.place {
            Place::Workspace => self.workspace.clone(),
            // Named after the workspace, the only one there.
            Place::State => {
                let mut roots = fs::read_dir(&self.state)?;
                roots.next().ok_or(io::ErrorKind::NotFound)??.path()
            }
        };
        Ok(root.join(&at.path))
    }

    fn clear_graves(&self) {
        for entry in fs::read_dir(self.graves.path()).expect("lists") {
            let entry = entry.expect("an entry");
            match entry.file_type().expect("a type").is_dir() {
                true => fs::remove_dir_all(entry.path()).expect("removes"),
                false => fs::remove_file(entry.path()).expect("removes"),
            }
        }
    }

    /// Notes what an operation made, even if it failed half-way.
    fn making<T>(&self, at: &Location, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let is_there = || {
            self.path(at)
                .is_ok_and(|path| fs::symlink_metadata(path).is_ok())
        };
        let was_there = is_there();
        let result = operation();
        if !was_there && is_there() {
            let mut cache = self.cache();
            let to = cache.name(self.path(at)?)?;
            let from = cache.grave(self)?;
            let object = to.object()?;
            cache.push(What::Moved { from, to, object });
        }
        result
    }

    /// Moves an object into a grave.
    fn remove(&self, at: &Location, is_directory: bool) -> io::Result<()> {
        let mut cache = self.cache();
        let path = self.path(at)?;
        let from = cache.name(path.clone())?;
        let object = from.object()?;
        match (is_directory, object.is_directory) {
            (true, false) => return Err(Errno::NOTDIR.into()),
            (false, true) => return Err(Errno::ISDIR.into()),
            (true, true) if fs::read_dir(path)?.next().is_some() => {
                return Err(Errno::NOTEMPTY.into());
            }
            _ => {}
        }
        let to = cache.grave(self)?;
        let removal = What::Moved { from, to, object };
        removal.do_again();
        cache.push(removal);
        Ok(())
    }

    /// Notes that a directory's mode or times are other ones now.
    fn changed_attributes(&self, at: &Location, before: Stat) -> io::Result<()> {
        let mut cache = self.cache();
        let directory = cache.directory(self.path(at)?)?;
        let after = Box::new(fstat(&directory.handle)?);
        let before = Box::new(before);
        cache.push(What::Attributes {
            directory,
            before,
            after,
        });
        Ok(())
    }

    fn attributes(&self, at: &Location) -> io::Result<Stat> {
        Ok(lstat(self.path(at)?)?)
    }
}

impl Cache {
    fn push(&mut self, what: What) {
        let is_synced = false;
        self.changes.push(Change { what, is_synced });
    }

    fn directory(&mut self, path: PathBuf) -> io::Result<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = openat(CWD, path, flags, Mode::empty())?;
        let ino = fstat(&handle)?.st_ino;
        let known = self.directories.entry(ino);
        let handle = Arc::clone(known.or_insert_with(|| Arc::new(handle)));
        Ok(Directory { handle, ino })
    }

    fn name(&mut self, path: PathBuf) -> io::Result<Name> {
        let name = path.file_name().expect("has a name").to_str();
        Ok(Name {
            name: name.expect("UTF-8").to_owned(),
            directory: self.directory(path.parent().expect("is no root").to_owned())?,
            is_grave: false,
        })
    }

    fn grave(&mut self, disk: &Disk) -> io::Result<Name> {
        self.graves += 1;
        let name = self.name(disk.graves.path().join(self.graves.to_string()))?;
        Ok(Name {
            is_grave: true,
            ..name
        })
    }
}

/// Its blocks were never written: it is empty, or as long and as old as it should be, and
/// all zeros.
fn lose_content(file: &File, is_empty: bool) {
    let stat = fstat(file).expect("metadata");
    let len = if is_empty { 0 } else { stat.st_size as usize };
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let file = File::options().write(true).open(path).expect("opens");
    file.set_len(len as u64).expect("cuts");
    file.write_all_at(&vec![0; len], 0).expect("writes");
    futimens(&file, &times(&stat)).expect("sets times");
}

struct Watched {
    disk: Arc<Disk>,
    ino: u64,
    /// Keeps the inode, as the real one does.
    _inner: Box<dyn Hold>,
}

impl Hold for Watched {
    fn sync(&self) -> io::Result<()> {
        if self.disk.deaf != Some(Deaf::File) {
            self.disk.cache().unsynced.remove(&self.ino);
        }
        Ok(())
    }
}

impl Storage for Volatile {
    delegate!(inner: observe digest read read_link list is_writable same_mount moves_directories lease);

    fn make_own_directory(&self, at: &Location) -> io::Result<()> {
        if at.path.is_empty() {
            // A tree's root is made, and synced, by the storage itself.
            return self.inner.make_own_directory(at);
        }
        let mut ends: Vec<_> = at.path.match_indices('/').map(|(end, _)| end).collect();
        ends.push(at.path.len());
        for end in ends {
            let above = Location {
                place: at.place,
                path: at.path[..end].to_owned(),
            };
            let make = || self.inner.make_own_directory(&above);
            self.disk.making(&above, make)?;
        }
        Ok(())
    }
    /// First private, then with its mode.
    fn make_directory(
        &self,
        at: &Location,
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> io::Result<()> {
        let make = || self.inner.make_directory(at, mode, owner);
        self.disk.making(at, make)?;
        let mut private = self.disk.attributes(at)?;
        private.st_mode = 0o700;
        self.disk.changed_attributes(at, private)
    }
    fn write_file(
        &self,
        at: &Location,
        len: u64,
        pieces: &mut Pieces<'_>,
        attributes: &Attributes,
    ) -> io::Result<Box<dyn Hold>> {
        let write = || self.inner.write_file(at, len, pieces, attributes);
        let hold = self.disk.making(at, write)?;
        // For reading: a lease on it may be asked for.
        let file = File::open(self.disk.path(at)?)?;
        let ino = fstat(&file)?.st_ino;
        self.disk.cache().unsynced.insert(ino, file);
        Ok(Box::new(Watched {
            disk: Arc::clone(&self.disk),
            ino,
            _inner: hold,
        }))
    }
    fn make_symlink(
        &self,
        at: &Location,
        target: &str,
        times: Option<(Timestamp, Timestamp)>,
    ) -> io::Result<()> {
        let make = || self.inner.make_symlink(at, target, times);
        self.disk.making(at, make)
    }
    fn link(&self, existing: &Location, at: &Location) -> io::Result<()> {
        self.disk.making(at, || self.inner.link(existing, at))
    }
    fn set_times(&self, at: &Location, accessed: Timestamp, modified: Timestamp) -> io::Result<()> {
        let before = self.disk.attributes(at)?;
        self.inner.set_times(at, accessed, modified)?;
        self.disk.changed_attributes(at, before)
    }
    fn rename(&self, from: &Location, to: &Location) -> io::Result<()> {
        self.inner.rename(from, to)?;
        let mut cache = self.disk.cache();
        let from = cache.name(self.disk.path(from)?)?;
        let to = cache.name(self.disk.path(to)?)?;
        let object = to.object()?;
        cache.push(What::Moved { from, to, object });
        Ok(())
    }
    fn exchange(&self, a: &Location, b: &Location) -> io::Result<()> {
        self.inner.exchange(a, b)?;
        let mut cache = self.disk.cache();
        let a = cache.name(self.disk.path(a)?)?;
        let b = cache.name(self.disk.path(b)?)?;
        let objects = [b.object()?, a.object()?];
        cache.push(What::Exchanged { a, b, objects });
        Ok(())
    }
    fn remove_file(&self, at: &Location) -> io::Result<()> {
        self.disk.remove(at, false)
    }
    fn remove_directory(&self, at: &Location) -> io::Result<()> {
        self.disk.remove(at, true)
    }
    fn sync_directory(&self, at: &Location) -> io::Result<()> {
        let mut cache = self.disk.cache();
        let directory = cache.directory(self.disk.path(at)?)?;
        let depth = at.path.split('/').filter(|name| !name.is_empty()).count();
        if at.place == Place::Workspace || self.disk.deaf != Some(Deaf::Directory(depth)) {
            changes::sync(&mut cache.changes, directory.ino);
        }
        Ok(())
    }
    fn sync_all(&self, _: &Location) -> io::Result<()> {
        if self.disk.deaf != Some(Deaf::Everything) {
            *self.disk.cache() = Cache::default();
            self.disk.clear_graves();
        }
        Ok(())
    }
}
