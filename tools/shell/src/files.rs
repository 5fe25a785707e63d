//! The sandbox's files as the interpreter sees them: `/workspace` and `/tmp` through
//! `std::fs`, and a root that holds these two.
//!
//! Links are followed by the interpreter's own layer above; here a path names what lies at
//! it. Modes do not exist in WASI: `chmod` lasts for the call, and before it a directory
//! and what is called `*.sh` may be executed and nothing else.

use async_trait::async_trait;
use bashkit::{DirEntry, FileSystem, FileSystemExt, FileType, Metadata, Result};
use forerun_tool_kit::kind;
use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a directory of a real system has.
const DIRECTORY_MODE: u32 = 0o755;
/// As most file systems say of a directory, so that `test -s` finds it not empty.
const DIRECTORY_BYTES: u64 = 4096;
/// What a file has unless `chmod` said otherwise.
const FILE_MODE: u32 = 0o644;
/// The two directories that are there.
const ROOTS: [&str; 2] = ["workspace", "tmp"];

/// Files of the sandbox.
pub(crate) struct Files {
    /// What `chmod` set in this call.
    modes: Mutex<HashMap<PathBuf, u32>>,
}

impl Files {
    pub(crate) fn new() -> Files {
        Files {
            modes: Mutex::new(HashMap::new()),
        }
    }

    fn modes(&self) -> MutexGuard<'_, HashMap<PathBuf, u32>> {
        self.modes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        if is_root(path) {
            return Ok(directory());
        }
        let found = fs::symlink_metadata(path).map_err(named)?;
        let file_type = file_type(found.file_type());
        let mode = self.modes().get(path).copied().unwrap_or_else(|| {
            let script = path.extension().is_some_and(|ending| ending == "sh");
            match file_type {
                FileType::Symlink => 0o777,
                FileType::Directory => DIRECTORY_MODE,
                _ if script => DIRECTORY_MODE,
                _ => FILE_MODE,
            }
        });
        let modified = found.modified().unwrap_or(UNIX_EPOCH);
        Ok(Metadata {
            file_type,
            size: match file_type {
                FileType::Directory => DIRECTORY_BYTES,
                _ => found.len(),
            },
            mode,
            modified,
            created: modified,
        })
    }
}

fn directory() -> Metadata {
    Metadata {
        file_type: FileType::Directory,
        size: DIRECTORY_BYTES,
        mode: DIRECTORY_MODE,
        modified: UNIX_EPOCH,
        created: UNIX_EPOCH,
    }
}

fn file_type(found: fs::FileType) -> FileType {
    if found.is_dir() {
        FileType::Directory
    } else if found.is_symlink() {
        FileType::Symlink
    } else {
        FileType::File
    }
}

fn is_root(path: &Path) -> bool {
    path == Path::new("/")
}

/// Outside of the two directories there is nothing, and nothing can be made.
fn writable(path: &Path) -> io::Result<()> {
    let inside = ROOTS.iter().any(|root| {
        path.strip_prefix("/")
            .is_ok_and(|path| path.starts_with(root))
    });
    if inside {
        Ok(())
    } else {
        Err(ErrorKind::PermissionDenied.into())
    }
}

/// The two directories themselves stay.
fn removable(path: &Path) -> io::Result<()> {
    writable(path)?;
    if path.components().count() > 2 {
        Ok(())
    } else {
        Err(ErrorKind::PermissionDenied.into())
    }
}

/// An error with the kind that it has on every system, which commands make their words of.
fn named(error: io::Error) -> io::Error {
    match kind(&error) {
        // As the interpreter's own file systems say it.
        ErrorKind::IsADirectory => io::Error::other("is a directory"),
        ErrorKind::NotADirectory => io::Error::other("not a directory"),
        ErrorKind::DirectoryNotEmpty => io::Error::other("directory not empty"),
        kind if kind == error.kind() => error,
        kind => kind.into(),
    }
}

#[async_trait]
impl FileSystemExt for Files {}

#[async_trait]
impl FileSystem for Files {
    async fn read_file(&self, path: &Path) -> Result<Vec<u8>> {
        if is_root(path) || fs::metadata(path).map_err(named)?.is_dir() {
            return Err(io::Error::other("is a directory").into());
        }
        Ok(fs::read(path).map_err(named)?)
    }

    async fn write_file(&self, path: &Path, content: &[u8]) -> Result<()> {
        writable(path)?;
        Ok(fs::write(path, content).map_err(named)?)
    }

    async fn append_file(&self, path: &Path, content: &[u8]) -> Result<()> {
        writable(path)?;
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(named)?;
        Ok(file.write_all(content).map_err(named)?)
    }

    async fn mkdir(&self, path: &Path, recursive: bool) -> Result<()> {
        if recursive
            && self
                .metadata(path)
                .is_ok_and(|found| found.file_type.is_dir())
        {
            return Ok(());
        }
        writable(path)?;
        let make = if recursive {
            fs::create_dir_all
        } else {
            fs::create_dir
        };
        Ok(make(path).map_err(named)?)
    }

    async fn remove(&self, path: &Path, recursive: bool) -> Result<()> {
        removable(path)?;
        let is_dir = fs::symlink_metadata(path).map_err(named)?.is_dir();
        let remove = match (is_dir, recursive) {
            (false, _) => fs::remove_file,
            (true, false) => fs::remove_dir,
            (true, true) => fs::remove_dir_all,
        };
        remove(path).map_err(named)?;
        self.modes().retain(|known, _| !known.starts_with(path));
        Ok(())
    }

    async fn stat(&self, path: &Path) -> Result<Metadata> {
        Ok(self.metadata(path)?)
    }

    async fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>> {
        let mut entries: Vec<DirEntry> = if is_root(path) {
            ROOTS
                .iter()
                .map(|name| DirEntry {
                    name: (*name).to_owned(),
                    metadata: directory(),
                })
                .collect()
        } else {
            let mut entries = Vec::new();
            for entry in fs::read_dir(path).map_err(named)? {
                let entry = entry.map_err(named)?;
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let metadata = self.metadata(&path.join(&name))?;
                entries.push(DirEntry { name, metadata });
            }
            entries
        };
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        Ok(self.metadata(path).is_ok())
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        removable(from)?;
        removable(to)?;
        match fs::rename(from, to) {
            // Between /workspace and /tmp a file is copied; a directory is not.
            Err(error)
                if kind(&error) == ErrorKind::CrossesDevices
                    && fs::symlink_metadata(from).is_ok_and(|found| found.is_file()) =>
            {
                fs::copy(from, to).map_err(named)?;
                fs::remove_file(from).map_err(named)?;
            }
            renamed => renamed.map_err(named)?,
        }
        let mut modes = self.modes();
        modes.remove(to);
        if let Some(mode) = modes.remove(from) {
            modes.insert(to.to_owned(), mode);
        }
        Ok(())
    }

    async fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        writable(to)?;
        if is_root(from) || fs::metadata(from).map_err(named)?.is_dir() {
            return Err(io::Error::other("is a directory").into());
        }
        fs::copy(from, to).map_err(named)?;
        let mut modes = self.modes();
        if let Some(mode) = modes.get(from).copied() {
            modes.insert(to.to_owned(), mode);
        }
        Ok(())
    }

    async fn symlink(&self, target: &Path, link: &Path) -> Result<()> {
        writable(link)?;
        Ok(forerun_tool_kit::symlink(target, link).map_err(named)?)
    }

    async fn read_link(&self, path: &Path) -> Result<PathBuf> {
        Ok(fs::read_link(path).map_err(named)?)
    }

    async fn chmod(&self, path: &Path, mode: u32) -> Result<()> {
        self.metadata(path)?;
        self.modes().insert(path.to_owned(), mode);
        Ok(())
    }

    async fn set_modified_time(&self, path: &Path, time: SystemTime) -> Result<()> {
        writable(path)?;
        let file = fs::OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(named)?;
        Ok(file.set_modified(time).map_err(named)?)
    }
}
