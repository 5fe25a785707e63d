//! The real storage: Linux system calls relative to directory descriptors.

use super::lease;
use super::storage::{Attributes, Hold, Lease, Location, Observed, Pieces, Place, Storage};
use crate::FsError;
use crate::base::{
    create_beneath, open_beneath, open_file, raw_list, read_target, read_whole, stat,
};
use crate::name;
use crate::version::{ObjectKind, Timestamp, Version};
use forerun_types::Digest;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    Access, AtFlags, Gid, Mode, OFlags, RenameFlags, Stat, StatxFlags, Timespec, Timestamps, Uid,
    XattrFlags,
};
use rustix::io::Errno;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Longest extended attribute that is copied, as the kernel has it (`XATTR_SIZE_MAX`).
const XATTR_BYTES_MAX: usize = 64 << 10;

/// Attributes that the kernel or a security module gives a new file by itself.
const XATTRS_NOT_COPIED: [&[u8]; 2] = [b"security.selinux", b"security.evm"];

/// `OVERLAYFS_SUPER_MAGIC`.
const OVERLAYFS: u64 = 0x794c_7630;

/// The workspace's directory and its slots in the state directory.
pub(crate) struct FsStorage {
    workspace: OwnedFd,
    slots: PathBuf,
    /// Opened, and made, when it is first needed.
    state: OnceLock<OwnedFd>,
}

struct Held(OwnedFd);

impl Hold for Held {
    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }
}

impl FsStorage {
    pub(crate) fn new(workspace: OwnedFd, slots: PathBuf) -> FsStorage {
        FsStorage {
            workspace,
            slots,
            state: OnceLock::new(),
        }
    }

    fn root(&self, place: Place) -> io::Result<BorrowedFd<'_>> {
        if place == Place::Workspace {
            return Ok(self.workspace.as_fd());
        }
        if let Some(state) = self.state.get() {
            return Ok(state.as_fd());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match rustix::fs::open(&self.slots, flags, Mode::empty()) {
            Err(Errno::NOENT) => {
                use std::os::unix::fs::DirBuilderExt;
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&self.slots)?;
                // What is staged there is durable only if what leads there is. The state
                // directory itself holds the log: with it, everything would be gone.
                for above in self.slots.ancestors().skip(1).take(2) {
                    rustix::fs::fsync(rustix::fs::open(above, flags, Mode::empty())?)?;
                }
                rustix::fs::open(&self.slots, flags, Mode::empty())?
            }
            other => other?,
        };
        Ok(self.state.get_or_init(|| opened).as_fd())
    }

    /// The directory that a location is in, and the name in it.
    fn parent<'a>(&self, at: &'a Location) -> io::Result<(OwnedFd, &'a str)> {
        let (directory, name) = name::split(&at.path);
        name::check(name).map_err(|_| Errno::INVAL)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Ok((open_beneath(self.root(at.place)?, directory, flags)?, name))
    }

    /// Whether a directory is still where it was opened.
    fn is_in_place(&self, at: &Location, parent: &OwnedFd) -> io::Result<bool> {
        let (directory, _) = name::split(&at.path);
        let held = rustix::fs::fstat(parent)?;
        let now = stat(self.root(at.place)?, directory)?;
        Ok(now.is_some_and(|now| (now.st_dev, now.st_ino) == (held.st_dev, held.st_ino)))
    }

    fn rename_with(&self, from: &Location, to: &Location, flags: RenameFlags) -> io::Result<()> {
        let (from_parent, _) = self.parent(from)?;
        let (to_parent, _) = self.parent(to)?;
        self.rename_between((from, &from_parent), (to, &to_parent), flags)
    }

    /// Renames through directories that were opened before, unless one of them was moved
    /// since, perhaps out of the workspace.
    fn rename_between(
        &self,
        (from, from_parent): (&Location, &OwnedFd),
        (to, to_parent): (&Location, &OwnedFd),
        flags: RenameFlags,
    ) -> io::Result<()> {
        let (from_name, to_name) = (name::split(&from.path).1, name::split(&to.path).1);
        rustix::fs::renameat_with(from_parent, from_name, to_parent, to_name, flags)?;
        if self.is_in_place(from, from_parent)? && self.is_in_place(to, to_parent)? {
            return Ok(());
        }
        rustix::fs::renameat_with(to_parent, to_name, from_parent, from_name, flags)?;
        Err(Errno::STALE.into())
    }

    /// A new file, for nobody but us yet.
    fn create(&self, at: &Location) -> io::Result<OwnedFd> {
        let (_, name) = name::split(&at.path);
        name::check(name).map_err(|_| Errno::INVAL)?;
        Ok(create_beneath(self.root(at.place)?, &at.path)?)
    }

    /// Gives a new file the owner and the extended attributes of another.
    fn take_over(&self, file: &OwnedFd, source: &OwnedFd, old: &Stat) -> io::Result<()> {
        let new = rustix::fs::fstat(file)?;
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid) {
            let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
            rustix::fs::fchown(file, Some(uid), Some(gid))?;
        }
        // Most files have none: no room is made before it is needed.
        match rustix::fs::flistxattr(source, &mut [] as &mut [u8]) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut names = vec![0; XATTR_BYTES_MAX];
        let count = rustix::fs::flistxattr(source, &mut names)?;
        let mut value = vec![0; XATTR_BYTES_MAX];
        for name in names[..count].split(|byte| *byte == 0) {
            if name.is_empty() || XATTRS_NOT_COPIED.contains(&name) {
                continue;
            }
            let count = rustix::fs::fgetxattr(source, name, &mut value)?;
            rustix::fs::fsetxattr(file, name, &value[..count], XattrFlags::empty())?;
        }
        Ok(())
    }
}

#[allow(
    clippy::unnecessary_cast,
    reason = "other processors count names in 32 bits"
)]
fn observed(stat: &Stat) -> Observed {
    Observed {
        version: Version::of(stat),
        accessed: Timestamp::from_parts(stat.st_atime, stat.st_atime_nsec as i64),
        uid: stat.st_uid,
        gid: stat.st_gid,
        names: stat.st_nlink as u64,
    }
}

fn timestamps(accessed: Timestamp, modified: Timestamp) -> Timestamps {
    let spec = |time: Timestamp| Timespec {
        tv_sec: time.secs,
        tv_nsec: time.nanos.into(),
    };
    Timestamps {
        last_access: spec(accessed),
        last_modification: spec(modified),
    }
}

fn write_all(file: &OwnedFd, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn of_fs_error(error: FsError) -> io::Error {
    match error {
        FsError::NotFound => Errno::NOENT.into(),
        FsError::NotPermitted => Errno::ACCESS.into(),
        FsError::Io(error) => error,
        FsError::Changed => Errno::STALE.into(),
        other => io::Error::other(other),
    }
}

impl Storage for FsStorage {
    fn observe(&self, at: &Location) -> io::Result<Option<Observed>> {
        Ok(stat(self.root(at.place)?, &at.path)?.as_ref().map(observed))
    }

    fn digest(&self, at: &Location) -> io::Result<(Observed, Digest)> {
        let root = self.root(at.place)?;
        match read_whole(root, &at.path, u64::MAX, |_, _| {}) {
            Ok((stat, digest)) => Ok((observed(&stat), digest)),
            Err(FsError::NotFound) => {
                let found = self.observe(at)?.ok_or(Errno::NOENT)?;
                if found.version.kind != ObjectKind::Symlink {
                    return Err(Errno::NOENT.into());
                }
                Ok((found, Digest::of(read_target(root, &at.path)?)))
            }
            Err(error) => Err(of_fs_error(error)),
        }
    }

    fn read(&self, at: &Location, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        read_whole(
            self.root(at.place)?,
            &at.path,
            bytes_max,
            |offset, piece| {
                bytes.truncate(offset as usize);
                bytes.extend_from_slice(piece);
            },
        )
        .map_err(of_fs_error)?;
        Ok(bytes)
    }

    fn list(&self, at: &Location) -> io::Result<Vec<Vec<u8>>> {
        let entries = raw_list(self.root(at.place)?, &at.path)?;
        Ok(entries.into_iter().map(|(name, _)| name).collect())
    }

    fn is_writable(&self, directory: &Location) -> io::Result<bool> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let handle = match open_beneath(self.root(directory.place)?, &directory.path, flags) {
            Err(Errno::ACCESS) => return Ok(false),
            other => other?,
        };
        let access = Access::WRITE_OK | Access::EXEC_OK;
        match rustix::fs::accessat(&handle, ".", access, AtFlags::EACCESS) {
            Ok(()) => Ok(true),
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn same_mount(&self, a: &Location, b: &Location) -> io::Result<bool> {
        let identity = |at: &Location| -> io::Result<_> {
            let handle = open_beneath(self.root(at.place)?, &at.path, OFlags::PATH)?;
            let flags = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
            let statx = rustix::fs::statx(&handle, "", AtFlags::EMPTY_PATH, flags)?;
            Ok((statx.stx_mnt_id, statx.stx_dev_major, statx.stx_dev_minor))
        };
        Ok(identity(a)? == identity(b)?)
    }

    /// overlayfs moves no directory of a lower layer, and nothing shows where one lies.
    fn moves_directories(&self) -> io::Result<bool> {
        Ok(rustix::fs::fstatfs(&self.workspace)?.f_type as u64 != OVERLAYFS)
    }

    fn make_own_directory(&self, at: &Location) -> io::Result<()> {
        let mut path = String::new();
        for name in at.path.split('/').filter(|name| !name.is_empty()) {
            path = name::join(&path, name);
            let step = Location {
                place: at.place,
                path: path.clone(),
            };
            let (parent, name) = self.parent(&step)?;
            match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Opening it shows that it is a directory of ours, and no link.
        open_beneath(
            self.root(at.place)?,
            &at.path,
            OFlags::PATH | OFlags::DIRECTORY,
        )?;
        Ok(())
    }

    fn make_directory(
        &self,
        at: &Location,
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> io::Result<()> {
        let (parent, name) = self.parent(at)?;
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let made = open_beneath(&parent, name, flags)?;
        if let Some((uid, gid)) = owner {
            let now = rustix::fs::fstat(&made)?;
            if (uid, gid) != (now.st_uid, now.st_gid)
                && let Err(error) =
                    rustix::fs::fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            {
                tracing::warn!(path = at.path, %error, "failed to restore a directory's owner");
            }
        }
        rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?;
        Ok(())
    }

    fn write_file(
        &self,
        at: &Location,
        len: u64,
        pieces: &mut Pieces<'_>,
        attributes: &Attributes,
    ) -> io::Result<Box<dyn Hold>> {
        let file = self.create(at)?;
        let mut end = 0;
        for piece in pieces {
            let (offset, bytes) = piece?;
            write_all(&file, offset, &bytes)?;
            end = offset + bytes.len() as u64;
        }
        if end != len {
            rustix::fs::ftruncate(&file, len)?;
        }
        if let Some(like) = &attributes.like {
            let (source, old) = open_file(self.root(like.place)?, &like.path)?;
            self.take_over(&file, &source, &old)?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(attributes.mode))?;
        if let Some((accessed, modified)) = attributes.times {
            rustix::fs::futimens(&file, &timestamps(accessed, modified))?;
        }
        Ok(Box::new(Held(file)))
    }

    fn read_link(&self, at: &Location) -> io::Result<String> {
        let target = read_target(self.root(at.place)?, &at.path)?;
        String::from_utf8(target).map_err(|_| Errno::ILSEQ.into())
    }

    fn lease(&self, at: &Location, ino: u64) -> io::Result<Option<Box<dyn Lease>>> {
        match open_file(self.root(at.place)?, &at.path) {
            Ok((_, stat)) if stat.st_ino != ino => Err(Errno::STALE.into()),
            Ok((file, _)) => lease::take(file),
            // Who may not read it may still replace it.
            Err(Errno::ACCESS | Errno::PERM) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn make_symlink(
        &self,
        at: &Location,
        target: &str,
        times: Option<(Timestamp, Timestamp)>,
    ) -> io::Result<()> {
        let (parent, name) = self.parent(at)?;
        rustix::fs::symlinkat(target, &parent, name)?;
        if let Some((accessed, modified)) = times {
            let times = timestamps(accessed, modified);
            rustix::fs::utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    fn link(&self, existing: &Location, at: &Location) -> io::Result<()> {
        let (from_parent, from_name) = self.parent(existing)?;
        let (to_parent, to_name) = self.parent(at)?;
        rustix::fs::linkat(
            &from_parent,
            from_name,
            &to_parent,
            to_name,
            AtFlags::empty(),
        )?;
        Ok(())
    }

    fn set_times(&self, at: &Location, accessed: Timestamp, modified: Timestamp) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = open_beneath(self.root(at.place)?, &at.path, flags)?;
        rustix::fs::futimens(&directory, &timestamps(accessed, modified))?;
        Ok(())
    }

    fn rename(&self, from: &Location, to: &Location) -> io::Result<()> {
        self.rename_with(from, to, RenameFlags::NOREPLACE)
    }

    fn exchange(&self, a: &Location, b: &Location) -> io::Result<()> {
        self.rename_with(a, b, RenameFlags::EXCHANGE)
    }

    fn remove_file(&self, at: &Location) -> io::Result<()> {
        let (parent, name) = self.parent(at)?;
        rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
        Ok(())
    }

    fn remove_directory(&self, at: &Location) -> io::Result<()> {
        let (parent, name) = self.parent(at)?;
        rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?;
        Ok(())
    }

    fn sync_directory(&self, at: &Location) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = open_beneath(self.root(at.place)?, &at.path, flags)?;
        rustix::fs::fsync(&directory)?;
        Ok(())
    }

    fn sync_all(&self, at: &Location) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = open_beneath(self.root(at.place)?, &at.path, flags)?;
        rustix::fs::syncfs(&directory)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_rename_into_a_directory_that_is_moved_away_is_taken_back() {
        let (root, away) = (tempfile::tempdir(), tempfile::tempdir());
        let (root, away) = (root.expect("makes"), away.expect("makes"));
        fs::create_dir(root.path().join("dir")).expect("makes");
        fs::write(root.path().join("dir/file"), "theirs").expect("writes");
        fs::write(root.path().join("staged"), "ours").expect("writes");
        let workspace = OwnedFd::from(fs::File::open(root.path()).expect("opens"));
        let storage = FsStorage::new(workspace, away.path().join("slots"));
        let (staged, file) = (
            Location::workspace("staged"),
            Location::workspace("dir/file"),
        );
        let (from, _) = storage.parent(&staged).expect("opens");
        let (to, _) = storage.parent(&file).expect("opens");
        fs::rename(root.path().join("dir"), away.path().join("dir")).expect("moves");
        let result = storage.rename_between((&staged, &from), (&file, &to), RenameFlags::EXCHANGE);
        assert_eq!(
            Errno::from_io_error(&result.expect_err("is refused")),
            Some(Errno::STALE)
        );
        let read = |path: std::path::PathBuf| fs::read_to_string(path).expect("reads");
        assert_eq!(read(away.path().join("dir/file")), "theirs");
        assert_eq!(read(root.path().join("staged")), "ours");
    }
}
