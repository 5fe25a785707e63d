//! The state directory: private to the user, with a lock and the chain's key.
//!
//! **Invariant:** the directory is 0700 and every file in it that is made here is 0600,
//! from the moment it exists. Two processes that start at once agree on one key.

use crate::JournalError;
use crate::chain::{KEY_BYTES, Key};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Access for the owner only.
const DIRECTORY_MODE: u32 = 0o700;
/// Access for the owner only.
const FILE_MODE: u32 = 0o600;

/// A state directory that this process holds the journal's lock of.
pub(crate) struct StateDir {
    path: PathBuf,
    /// Unlocked by the kernel when it is closed, however the process ends.
    _lock: File,
}

impl StateDir {
    /// Makes the directory if need be, checks that it is ours, and locks it.
    pub(crate) fn open(path: &Path) -> Result<StateDir, JournalError> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)
            .map_err(JournalError::file("create", path))?;
        let metadata = fs::metadata(path).map_err(JournalError::file("inspect", path))?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(JournalError::ForeignOwner {
                path: path.to_owned(),
                owner: metadata.uid(),
            });
        }
        if metadata.mode() & 0o777 != DIRECTORY_MODE {
            fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE))
                .map_err(JournalError::file("make private", path))?;
        }
        let lock = private_file(&path.join("journal.lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(StateDir {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(JournalError::InUse {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(JournalError::file("lock", path)(error)),
        }
    }

    /// The database's path. The file is there, and private: SQLite gives the files that
    /// it makes beside it the same mode. Its name is durable, so that what is written to
    /// it is not lost with it.
    pub(crate) fn database(&self) -> Result<PathBuf, JournalError> {
        let path = self.path.join("journal.db");
        private_file(&path)?;
        self.sync()?;
        Ok(path)
    }

    /// Makes the names of the directory and in it durable.
    fn sync(&self) -> Result<(), JournalError> {
        let sync = |directory: &Path| File::open(directory)?.sync_all();
        sync(&self.path).map_err(JournalError::file("sync", &self.path))?;
        match self
            .path
            .parent()
            .filter(|above| !above.as_os_str().is_empty())
        {
            // One that may not be read is not ours: then this one was there before.
            Some(above) => match sync(above) {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
                other => other.map_err(JournalError::file("sync", above)),
            },
            None => Ok(()),
        }
    }

    /// Where the key is.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.path.join("journal.key")
    }

    /// The key, made now if this is a new state directory.
    pub(crate) fn key(&self) -> Result<Key, JournalError> {
        let path = self.key_path();
        match fs::metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let begun = fs::metadata(self.path.join("journal.db")).is_ok_and(|db| db.len() > 0);
                if begun {
                    return Err(JournalError::KeyMissing { path });
                }
                self.make_key(&path)?;
            }
            Err(error) => return Err(JournalError::file("inspect", &path)(error)),
        }
        let mut bytes = Vec::with_capacity(KEY_BYTES);
        private_file(&path)?
            .take(KEY_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(JournalError::file("read", &path))?;
        match bytes.try_into() {
            Ok(bytes) => Ok(Key::new(bytes)),
            Err(_) => Err(JournalError::KeyMismatch { path }),
        }
    }

    /// Writes a new key under a name of its own and links it into place, so that the
    /// key is never seen half written and the first of two wins.
    fn make_key(&self, path: &Path) -> Result<(), JournalError> {
        let mut random = [0; KEY_BYTES + 8];
        getrandom::fill(&mut random).map_err(|error| JournalError::File {
            what: "draw random bytes for",
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let (key, name) = random.split_at(KEY_BYTES);
        let suffix: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let draft = self.path.join(format!("journal.key.{suffix}"));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(FILE_MODE)
                .open(&draft)?;
            file.write_all(key)?;
            file.sync_all()?;
            match fs::hard_link(&draft, path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                other => other,
            }
        };
        let written = write();
        let removed = fs::remove_file(&draft);
        written
            .and(removed)
            .map_err(JournalError::file("create", path))?;
        self.sync()
    }
}

/// Opens a file for reading and writing, making it if need be, and makes it private.
fn private_file(path: &Path) -> Result<File, JournalError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
        .map_err(JournalError::file("open", path))?;
    let metadata = file
        .metadata()
        .map_err(JournalError::file("inspect", path))?;
    if metadata.mode() & 0o777 != FILE_MODE {
        file.set_permissions(fs::Permissions::from_mode(FILE_MODE))
            .map_err(JournalError::file("make private", path))?;
    }
    Ok(file)
}
