//! Reading the base: the real directory, held by capability.
//!
//! Every path is resolved by the kernel from the directory's own descriptor, beneath
//! it, through no symbolic link, no magic link and no mount point. Files are opened only
//! where a regular one was just seen, without waiting, and looked at again, so that a
//! FIFO or a device can neither block nor be set off. Nothing here writes.

use crate::backing::{Backing, OpenCount, OpenPermit};
use crate::chunks::ChunkStore;
use crate::content::{CHUNK_BYTES, Content};
use crate::version::{ObjectKind, Timestamp, Version};
use crate::{FsError, name};
use forerun_types::Digest;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Statx, StatxFlags, makedev,
};
use rustix::io::Errno;
use std::sync::Arc;

/// Largest file that is read whole when it is first changed: cheaper than to keep it
/// open, and its previous content is at hand.
const WHOLE_FILE_BYTES_MAX: u64 = 2 * CHUNK_BYTES;

/// Base files of a workspace that are held open because a tool has them open; of further
/// ones each read opens them again. Stops tools with many open files from using up the
/// process's descriptors, of which there may be 1,024.
const READING_MAX: usize = 256;

/// How often a read is tried again when the file changes under it.
const READ_ATTEMPTS: usize = 3;

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Resolves a path below `root`; the empty path is the root itself.
pub(crate) fn open_beneath(root: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { "." } else { path };
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), RESOLVE)
}

/// Makes a file below `root`, for nobody but us yet, and opens it for writing.
pub(crate) fn create_beneath(root: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let private = Mode::from_raw_mode(0o600);
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, private, RESOLVE)
}

/// Opens a regular file for reading, with its attributes.
pub(crate) fn open_file(root: impl AsFd, path: &str) -> Result<(OwnedFd, Stat), Errno> {
    // What is seen on the way is not safe to show, but good enough to stay away from.
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    let seen = rustix::fs::statx(&root, path, flags, StatxFlags::TYPE)?;
    match FileType::from_raw_mode(seen.stx_mode.into()) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Errno::ISDIR),
        _ => return Err(Errno::NOENT),
    }
    open_seen(root, path)
}

/// As [`open_file`], where a regular file was just seen.
fn open_seen(root: impl AsFd, path: &str) -> Result<(OwnedFd, Stat), Errno> {
    let file = open_beneath(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let stat = rustix::fs::fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((file, stat)),
        FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::NOENT),
    }
}

/// A directory's raw names, with their types; unsorted, without `.` and `..`.
pub(crate) fn raw_list(root: impl AsFd, path: &str) -> Result<Vec<(Vec<u8>, FileType)>, Errno> {
    let handle = open_beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut entries = Vec::new();
    for entry in Dir::read_from(&handle)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW)
            {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            },
            known => known,
        };
        entries.push((name.to_bytes().to_vec(), kind));
    }
    Ok(entries)
}

/// A link's target as the file system has it.
pub(crate) fn read_target(root: impl AsFd, path: &str) -> Result<Vec<u8>, Errno> {
    let handle = open_beneath(root, path, OFlags::PATH)?;
    if FileType::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode) != FileType::Symlink {
        return Err(Errno::INVAL);
    }
    Ok(rustix::fs::readlinkat(&handle, "", Vec::new())?.into_bytes())
}

/// Attributes of an object, links not followed; `None` if nothing is there.
pub(crate) fn stat(root: impl AsFd, path: &str) -> Result<Option<Stat>, Errno> {
    match open_beneath(root, path, OFlags::PATH) {
        Ok(handle) => Ok(Some(rustix::fs::fstat(&handle)?)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

fn glance(root: impl AsFd, path: &str, flags: AtFlags) -> Option<Statx> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let statx = rustix::fs::statx(root, path, flags | AtFlags::NO_AUTOMOUNT, wanted).ok()?;
    let told = StatxFlags::from_bits_retain(statx.stx_mask);
    told.contains(wanted).then_some(statx)
}

/// Reads a whole file piece by piece and digests it; the attributes are those after, and
/// the version is the same as before.
///
/// # Errors
/// [`FsError::Changed`] if the file does not hold still, [`FsError::Quota`] if it is
/// longer than `bytes_max`.
pub(crate) fn read_whole(
    root: impl AsFd,
    path: &str,
    bytes_max: u64,
    mut piece: impl FnMut(u64, &[u8]),
) -> Result<(Stat, Digest), FsError> {
    for _ in 0..READ_ATTEMPTS {
        let (file, stat) = open_file(&root, path)?;
        let before = Version::of(&stat);
        if before.size > bytes_max {
            return Err(FsError::Quota);
        }
        let (digest, len) = digest_of(&file, before.size, &mut piece)?;
        let after = rustix::fs::fstat(&file)?;
        if before == Version::of(&after) && len == before.size {
            return Ok((after, digest));
        }
    }
    Err(FsError::Changed)
}

/// Reads a file of which `size` is expected, piece by piece. Returns digest and length of
/// what was read: somewhat more than `size` if the file is longer.
pub(crate) fn digest_of(
    file: impl AsFd,
    size: u64,
    mut piece: impl FnMut(u64, &[u8]),
) -> Result<(Digest, u64), Errno> {
    // One byte more than expected, so that the first short read is the end.
    let mut buffer = vec![0; size.saturating_add(1).min(CHUNK_BYTES) as usize];
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    while offset <= size {
        let count = read_until(&file, offset, &mut buffer, size - offset)?;
        hasher.update(&buffer[..count]);
        piece(offset, &buffer[..count]);
        offset += count as u64;
        if count < buffer.len() {
            break;
        }
    }
    Ok((Digest(*hasher.finalize().as_bytes()), offset))
}

/// Fills the buffer as far as the file reaches.
pub(crate) fn read_full(file: impl AsFd, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
    read_until(file, offset, buf, u64::MAX)
}

/// As [`read_full`], and content with as much as is expected: who asks has another way to
/// tell whether there is more.
fn read_until(file: impl AsFd, offset: u64, buf: &mut [u8], expected: u64) -> Result<usize, Errno> {
    let mut done = 0;
    while done < buf.len() && (done as u64) < expected.max(1) {
        match rustix::io::pread(&file, &mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// An object at one moment: what it is, and all that is shown of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glance {
    device: u64,
    pub(crate) version: Version,
    pub(crate) links: u64,
    pub(crate) accessed: Timestamp,
}

impl Glance {
    pub(crate) fn of(stat: &Stat) -> Glance {
        Glance {
            device: stat.st_dev,
            version: Version::of(stat),
            links: stat.st_nlink,
            accessed: Timestamp::from_parts(stat.st_atime, stat.st_atime_nsec as i64),
        }
    }

    fn of_statx(statx: &Statx) -> Glance {
        Glance {
            device: makedev(statx.stx_dev_major, statx.stx_dev_minor),
            version: Version::of_statx(statx),
            links: statx.stx_nlink.into(),
            accessed: Timestamp::from_parts(statx.stx_atime.tv_sec, statx.stx_atime.tv_nsec.into()),
        }
    }

    /// Whether both are the same inode of the same kind; its content may be another.
    pub(crate) fn is_same_object(&self, other: &Glance) -> bool {
        self.device == other.device && self.version.same_object(&other.version)
    }
}

/// A base file that is open for reading, whatever has its name by now.
pub(crate) struct OpenFile {
    file: OwnedFd,
    glance: Glance,
    _permit: OpenPermit,
}

impl OpenFile {
    /// As it was when it was opened, or read last.
    pub(crate) fn glance(&self) -> Glance {
        self.glance
    }

    /// Reads at an offset, between two looks that find the same.
    pub(crate) fn read(
        &mut self,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<(usize, Version), FsError> {
        for _ in 0..READ_ATTEMPTS {
            let before = self.glance.version;
            let rest = before.size.saturating_sub(offset);
            let count = read_until(&self.file, offset, buf, rest)?;
            self.glance = Glance::of(&rustix::fs::fstat(&self.file)?);
            if self.glance.version == before {
                return Ok((count, before));
            }
        }
        Err(FsError::Changed)
    }
}

/// The base of a workspace and what is hidden in it.
pub(crate) struct Base {
    root: OwnedFd,
    /// The mount that it is on, where the kernel tells.
    mount: Option<u64>,
    /// Directories that are hidden wherever they appear, by device and inode.
    masks: Vec<(u64, u64)>,
    /// Changed files whose old content is held open.
    open: OpenCount,
    /// Files that tools have open.
    reading: OpenCount,
}

impl Base {
    pub(crate) fn new(root: OwnedFd, masks: Vec<(u64, u64)>) -> Base {
        let mount = glance(&root, "", AtFlags::EMPTY_PATH).map(|statx| statx.stx_mnt_id);
        Base {
            root,
            mount,
            masks,
            open: OpenCount::default(),
            reading: OpenCount::default(),
        }
    }

    pub(crate) fn root(&self) -> &OwnedFd {
        &self.root
    }

    /// Whether an object is shown to tools.
    pub(crate) fn is_visible(&self, stat: &Stat) -> bool {
        Version::of(stat).kind != ObjectKind::Special
            && !self.masks.contains(&(stat.st_dev, stat.st_ino))
    }

    pub(crate) fn stat(&self, path: &str) -> Result<Option<Stat>, FsError> {
        Ok(stat(&self.root, path)?)
    }

    /// What the kernel finds at a path on this mount; how it got there, nobody knows.
    /// For comparing with what was found safely, never for showing. `None` if it can not
    /// be told that way.
    pub(crate) fn glance(&self, path: &str) -> Option<Glance> {
        let statx = glance(&self.root, path, AtFlags::SYMLINK_NOFOLLOW)?;
        (Some(statx.stx_mnt_id) == self.mount).then(|| Glance::of_statx(&statx))
    }

    /// Opens a file for reading, where one was just seen; `None` if too many are open.
    pub(crate) fn open(&self, path: &str) -> Result<Option<OpenFile>, FsError> {
        let Some(_permit) = self.reading.take(READING_MAX) else {
            return Ok(None);
        };
        let (file, stat) = open_seen(&self.root, path)?;
        Ok(Some(OpenFile {
            file,
            glance: Glance::of(&stat),
            _permit,
        }))
    }

    /// Reads at an offset: attributes, bytes, attributes again.
    pub(crate) fn read(
        &self,
        path: &str,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<(usize, Version), FsError> {
        for _ in 0..READ_ATTEMPTS {
            let (file, stat) = open_file(&self.root, path)?;
            let before = Version::of(&stat);
            let rest = before.size.saturating_sub(offset);
            let count = read_until(&file, offset, buf, rest)?;
            if before == Version::of(&rustix::fs::fstat(&file)?) {
                return Ok((count, before));
            }
        }
        Err(FsError::Changed)
    }

    /// A file's content: a small one whole, with its digest; of a larger one what is
    /// needed when it is needed.
    pub(crate) fn content(
        &self,
        path: &str,
        bytes_max: u64,
        store: &Arc<ChunkStore>,
    ) -> Result<(Content, Version, Option<Digest>), FsError> {
        let (file, stat) = open_file(&self.root, path)?;
        let version = Version::of(&stat);
        if version.size > bytes_max {
            return Err(FsError::Quota);
        }
        if version.size > WHOLE_FILE_BYTES_MAX
            && let Some(backing) = Backing::new(file, version, &self.open)
        {
            return Ok((Content::over(backing), version, None));
        }
        let (content, version, digest) = self.load(path, bytes_max, store)?;
        Ok((content, version, Some(digest)))
    }

    /// Copies a whole file into chunks.
    pub(crate) fn load(
        &self,
        path: &str,
        bytes_max: u64,
        store: &Arc<ChunkStore>,
    ) -> Result<(Content, Version, Digest), FsError> {
        let mut loaded = Ok(Content::default());
        let (stat, digest) = read_whole(&self.root, path, bytes_max, |offset, bytes| {
            if offset == 0 {
                loaded = Ok(Content::default());
            }
            if let Ok(content) = &mut loaded
                && let Err(error) = content.write(store, offset, bytes)
            {
                loaded = Err(error);
            }
        })?;
        let content = loaded?;
        content.presume_digest(digest);
        Ok((content, Version::of(&stat), digest))
    }

    /// A link's target.
    pub(crate) fn read_link(&self, path: &str) -> Result<String, FsError> {
        let target = read_target(&self.root, path).map_err(|error| match error {
            Errno::INVAL => FsError::InvalidArgument,
            other => other.into(),
        })?;
        String::from_utf8(target).map_err(|_| FsError::InvalidName)
    }

    /// A directory's visible entries, unsorted.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<(String, ObjectKind)>, FsError> {
        let mut entries = Vec::new();
        for (raw, kind) in raw_list(&self.root, path)? {
            let kind = match kind {
                FileType::RegularFile => ObjectKind::File,
                FileType::Directory => ObjectKind::Directory,
                FileType::Symlink => ObjectKind::Symlink,
                _ => continue,
            };
            let Ok(name) = String::from_utf8(raw) else {
                continue;
            };
            if name::is_masked(&name) {
                continue;
            }
            let hidden = kind == ObjectKind::Directory
                && !self.masks.is_empty()
                && self
                    .stat(&name::join(path, &name))?
                    .is_some_and(|stat| !self.is_visible(&stat));
            if !hidden {
                entries.push((name, kind));
            }
        }
        Ok(entries)
    }

    /// All names of a directory, hidden ones too.
    pub(crate) fn raw_names(&self, path: &str) -> Result<Vec<Vec<u8>>, FsError> {
        let entries = raw_list(&self.root, path)?;
        Ok(entries.into_iter().map(|(name, _)| name).collect())
    }
}
