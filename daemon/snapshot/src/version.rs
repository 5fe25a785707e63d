//! What is known of an object in the base at one moment, so that it can be recognised
//! later, or seen to be another.

use rustix::fs::{FileType, Stat, Statx};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Permission bits of a mode, with setuid, setgid and sticky.
pub(crate) const MODE_BITS: u32 = 0o7777;

/// A point in time as file systems hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z; negative before.
    pub secs: i64,
    /// Nanoseconds within the second, less than 1,000,000,000.
    pub nanos: u32,
}

impl Timestamp {
    /// The current time of the machine's clock.
    pub fn now() -> Timestamp {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp {
            secs: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
            nanos: now.subsec_nanos(),
        }
    }

    pub(crate) fn from_parts(secs: i64, nanos: i64) -> Timestamp {
        Timestamp {
            secs,
            nanos: u32::try_from(nanos.clamp(0, 999_999_999)).unwrap_or(0),
        }
    }
}

/// What an object in the base is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ObjectKind {
    File,
    Directory,
    Symlink,
    /// A socket, a FIFO or a device: never read, never shown.
    Special,
}

impl ObjectKind {
    fn of_mode(mode: u32) -> ObjectKind {
        match FileType::from_raw_mode(mode) {
            FileType::RegularFile => ObjectKind::File,
            FileType::Directory => ObjectKind::Directory,
            FileType::Symlink => ObjectKind::Symlink,
            _ => ObjectKind::Special,
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObjectKind::File => "a file",
            ObjectKind::Directory => "a directory",
            ObjectKind::Symlink => "a symbolic link",
            ObjectKind::Special => "a special file",
        })
    }
}

/// The attributes by which one version of an object is told from another. Device
/// numbers and ctime are left out: the first change with a reboot, the second with
/// every rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) kind: ObjectKind,
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) modified: Timestamp,
    pub(crate) mode: u32,
}

impl Version {
    pub(crate) fn of(stat: &Stat) -> Version {
        Version {
            kind: ObjectKind::of_mode(stat.st_mode),
            ino: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: Timestamp::from_parts(stat.st_mtime, stat.st_mtime_nsec as i64),
            mode: stat.st_mode & MODE_BITS,
        }
    }

    pub(crate) fn of_statx(statx: &Statx) -> Version {
        let mode = u32::from(statx.stx_mode);
        Version {
            kind: ObjectKind::of_mode(mode),
            ino: statx.stx_ino,
            size: statx.stx_size,
            modified: Timestamp::from_parts(statx.stx_mtime.tv_sec, statx.stx_mtime.tv_nsec.into()),
            mode: mode & MODE_BITS,
        }
    }

    /// Whether both are the same inode of the same kind; its content may be another.
    pub(crate) fn same_object(&self, other: &Version) -> bool {
        self.kind == other.kind && self.ino == other.ino
    }

    /// Whether nothing shows that the object was changed. Directories are told apart by
    /// identity alone: size and mtime of a directory change with its entries.
    pub(crate) fn same_version(&self, other: &Version) -> bool {
        self.same_object(other)
            && (self.kind == ObjectKind::Directory
                || (self.size == other.size
                    && self.modified == other.modified
                    && (self.kind == ObjectKind::Symlink || self.mode == other.mode)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if self.kind == ObjectKind::File {
            write!(f, " of {} bytes with mode {:o}", self.size, self.mode)?;
        }
        Ok(())
    }
}
