//! Every file-system operation of the committer, as a trait, so that a test can stop at
//! each of them.
//!
//! The operations are small enough to be atomic for a crash, or to leave nothing but an
//! unfinished object in a slot. None follows a symbolic link or replaces an object.

use crate::version::{Timestamp, Version};
use forerun_types::Digest;
use std::borrow::Cow;
use std::io;

/// A tree that the committer works in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The workspace.
    Workspace,
    /// The workspace's slots in the daemon's state directory.
    State,
}

/// A path in one of the trees; the empty path is the tree's root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    /// The tree.
    pub place: Place,
    /// Proper components separated by `/`.
    pub path: String,
}

impl Location {
    /// A path in the workspace.
    pub fn workspace(path: impl Into<String>) -> Location {
        Location {
            place: Place::Workspace,
            path: path.into(),
        }
    }

    /// A name below this path.
    pub(crate) fn join(&self, name: &str) -> Location {
        Location {
            place: self.place,
            path: crate::name::join(&self.path, name),
        }
    }
}

/// What is known of an object that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    pub(crate) version: Version,
    pub(crate) accessed: Timestamp,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Names that it has, wherever.
    pub(crate) names: u64,
}

/// What a staged object gets besides its content.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// Access and modification time, if they are not simply now.
    pub times: Option<(Timestamp, Timestamp)>,
    /// The file that it is to replace: owner, group, extended attributes and access
    /// lists are taken over from it, or the operation fails.
    pub like: Option<Location>,
}

/// The content of a file to be written: offset and bytes of each piece.
pub type Pieces<'a> = dyn Iterator<Item = io::Result<(u64, Cow<'a, [u8]>)>> + 'a;

/// Keeps a staged file from going away: while it is held, its inode number can not be
/// given to another.
pub trait Hold: Send {
    /// Makes the file's content and attributes durable. To be called once: after a
    /// failure nobody knows what a second try would be worth.
    ///
    /// # Errors
    /// If the content may be lost.
    fn sync(&self) -> io::Result<()>;
}

/// A read lease: while it is held, nobody has the file open for writing or mapped so.
pub trait Lease: Send {
    /// Whether nobody has asked to open the file for writing since it was taken. Who
    /// asks waits until the lease is dropped.
    ///
    /// # Errors
    /// As the operating system has them.
    fn is_held(&self) -> io::Result<bool>;
}

/// The file-system operations of a commit. Each works on trees that are held by
/// capability, through no link and over no mount point.
pub trait Storage: Send + Sync {
    /// What is at a location; `None` if nothing is, or if its path leads through what is
    /// no directory.
    ///
    /// # Errors
    /// As the operating system has them; so for all operations.
    fn observe(&self, at: &Location) -> io::Result<Option<Observed>>;

    /// Digest of a file's content or of a link's target, with the version that it is of.
    ///
    /// # Errors
    /// Also if the file does not hold still.
    fn digest(&self, at: &Location) -> io::Result<(Observed, Digest)>;

    /// A small file of our own.
    ///
    /// # Errors
    /// Also if it is longer than `bytes_max`.
    fn read(&self, at: &Location, bytes_max: u64) -> io::Result<Vec<u8>>;

    /// The names in a directory, all of them.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn list(&self, at: &Location) -> io::Result<Vec<Vec<u8>>>;

    /// Whether entries may be added to and removed from a directory.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn is_writable(&self, directory: &Location) -> io::Result<bool>;

    /// Whether objects can be renamed from one tree's location to the other's, as far as
    /// mounts and devices tell.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn same_mount(&self, a: &Location, b: &Location) -> io::Result<bool>;

    /// Whether every directory can be moved; else it has to be made anew.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn moves_directories(&self) -> io::Result<bool>;

    /// Makes a directory and what is missing above it, for nobody but us. Fine if it
    /// exists.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn make_own_directory(&self, at: &Location) -> io::Result<()>;

    /// Makes a directory where nothing is; `owner` is tried, not insisted on.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn make_directory(&self, at: &Location, mode: u32, owner: Option<(u32, u32)>)
    -> io::Result<()>;

    /// Writes a new file; it is durable once it is synced. `pieces` are offset and
    /// bytes, in order, read as they are asked for; what they leave out up to `len` is a
    /// hole.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn write_file(
        &self,
        at: &Location,
        len: u64,
        pieces: &mut Pieces<'_>,
        attributes: &Attributes,
    ) -> io::Result<Box<dyn Hold>>;

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn read_link(&self, at: &Location) -> io::Result<String>;

    /// Takes a read lease on the file with that inode number; `None` where the system
    /// grants us none.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if somebody has the file open for writing. Also if
    /// another file is there.
    fn lease(&self, at: &Location, ino: u64) -> io::Result<Option<Box<dyn Lease>>>;

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn make_symlink(
        &self,
        at: &Location,
        target: &str,
        times: Option<(Timestamp, Timestamp)>,
    ) -> io::Result<()>;

    /// Gives a file or link one more name.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn link(&self, existing: &Location, at: &Location) -> io::Result<()>;

    /// Sets the times of a directory.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn set_times(&self, at: &Location, accessed: Timestamp, modified: Timestamp) -> io::Result<()>;

    /// Moves an object to where nothing is, in one step (`RENAME_NOREPLACE`). If a
    /// directory on the way was moved meanwhile, the object is moved back.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn rename(&self, from: &Location, to: &Location) -> io::Result<()>;

    /// Lets two objects change places, in one step (`RENAME_EXCHANGE`), likewise.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn exchange(&self, a: &Location, b: &Location) -> io::Result<()>;

    /// Removes a file or link that was classified.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn remove_file(&self, at: &Location) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn remove_directory(&self, at: &Location) -> io::Result<()>;

    /// Makes a directory's entries durable.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn sync_directory(&self, at: &Location) -> io::Result<()>;

    /// Makes everything on the location's file system durable.
    ///
    /// # Errors
    /// See [`Storage::observe`].
    fn sync_all(&self, at: &Location) -> io::Result<()>;
}
