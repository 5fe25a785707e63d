//! Descriptors: an open node, and the methods of `wasi:filesystem` on it.

use super::failure::FsFailure;
use super::resolve::{Entry, Last, Resolved};
use super::streams::{DirectoryStream, ReadFrom, WriteTo};
use super::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, HostDescriptor,
    MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use super::volumes::{Mount, Place, Volumes};
use super::{SharedVolumes, View};
use forerun_snapshot::{FsError, Inode, Metadata, NodeKind, Timestamp};
use forerun_types::Touch;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

/// Most bytes that one call of `read` returns; a guest asks again for more.
pub(crate) const READ_BYTES_MAX: u64 = 1 << 20;

/// Largest offset in a file, as `off_t` has it.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// An open node. While it is open the node stays usable, even without a name.
pub struct Descriptor {
    open: Open,
    kind: NodeKind,
    flags: DescriptorFlags,
}

/// Keeps a node in its branch.
pub(crate) struct Open {
    pub(crate) volumes: SharedVolumes,
    pub(crate) place: Place,
}

impl Open {
    pub(crate) fn new(volumes: &SharedVolumes, place: Place) -> Open {
        volumes.with(|volumes| volumes.branch(place.mount).hold(place.node));
        Open {
            volumes: volumes.clone(),
            place,
        }
    }

    /// Runs `work` on the volumes.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&mut Volumes, Place) -> Result<T, FsFailure>,
    ) -> Result<T, FsFailure> {
        self.volumes
            .with(|volumes| work(volumes, self.place))
            .unwrap_or(Err(ErrorCode::Io.into()))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.volumes
            .with(|volumes| volumes.branch(self.place.mount).release(self.place.node));
    }
}

impl Descriptor {
    /// The root of a mount.
    pub(crate) fn root(volumes: &SharedVolumes, mount: Mount) -> Descriptor {
        Descriptor {
            open: Open::new(
                volumes,
                Place {
                    mount,
                    node: Inode::ROOT,
                },
            ),
            kind: NodeKind::Directory,
            flags: DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY,
        }
    }

    fn directory(&self) -> Result<&Open, FsFailure> {
        match self.kind {
            NodeKind::Directory => Ok(&self.open),
            _ => Err(ErrorCode::NotDirectory.into()),
        }
    }

    /// What works on files does not on anything else, or without these flags.
    fn file(&self, needed: DescriptorFlags) -> Result<&Open, FsFailure> {
        match self.kind {
            NodeKind::File if self.flags.contains(needed) => Ok(&self.open),
            _ => Err(ErrorCode::BadDescriptor.into()),
        }
    }
}

type Fd = Resource<Descriptor>;

impl View<'_> {
    fn get(&self, fd: &Fd) -> Result<&Descriptor, FsFailure> {
        Ok(self.table.get(fd)?)
    }

    /// Resolves a path that is to be changed by its last name.
    fn entry(
        volumes: &mut Volumes,
        start: Place,
        path: &str,
        unnamed: ErrorCode,
    ) -> Result<Entry, FsFailure> {
        match volumes.resolve(start, path, Last::Entry)? {
            Resolved::Entry(entry) => Ok(entry),
            Resolved::Directory(_) => Err(unnamed.into()),
        }
    }
}

impl HostDescriptor for View<'_> {
    fn read_via_stream(
        &mut self,
        fd: Fd,
        offset: u64,
    ) -> Result<Resource<DynInputStream>, FsFailure> {
        let descriptor = self.get(&fd)?;
        // `cat` of a directory is to say so.
        if descriptor.kind == NodeKind::Directory {
            return Err(ErrorCode::IsDirectory.into());
        }
        let file = descriptor.file(DescriptorFlags::READ)?;
        let stream = ReadFrom::new(Open::new(&file.volumes, file.place), offset);
        Ok(self.table.push(Box::new(stream) as DynInputStream)?)
    }

    fn write_via_stream(
        &mut self,
        fd: Fd,
        offset: u64,
    ) -> Result<Resource<DynOutputStream>, FsFailure> {
        let file = self.get(&fd)?.file(DescriptorFlags::WRITE)?;
        let stream = WriteTo::at(Open::new(&file.volumes, file.place), offset);
        Ok(self.table.push(Box::new(stream) as DynOutputStream)?)
    }

    fn append_via_stream(&mut self, fd: Fd) -> Result<Resource<DynOutputStream>, FsFailure> {
        let file = self.get(&fd)?.file(DescriptorFlags::WRITE)?;
        let stream = WriteTo::end(Open::new(&file.volumes, file.place));
        Ok(self.table.push(Box::new(stream) as DynOutputStream)?)
    }

    fn advise(&mut self, fd: Fd, _: u64, length: u64, _: Advice) -> Result<(), FsFailure> {
        self.get(&fd)?.file(DescriptorFlags::empty())?;
        if length > OFFSET_MAX {
            return Err(ErrorCode::Invalid.into());
        }
        Ok(())
    }

    fn sync_data(&mut self, fd: Fd) -> Result<(), FsFailure> {
        self.get(&fd).map(|_| ())
    }

    fn get_flags(&mut self, fd: Fd) -> Result<DescriptorFlags, FsFailure> {
        Ok(self.get(&fd)?.flags)
    }

    fn get_type(&mut self, fd: Fd) -> Result<DescriptorType, FsFailure> {
        Ok(descriptor_type(self.get(&fd)?.kind))
    }

    fn set_size(&mut self, fd: Fd, size: u64) -> Result<(), FsFailure> {
        let descriptor = self.get(&fd)?;
        let file = descriptor.file(DescriptorFlags::empty())?;
        // As `ftruncate` says it.
        if !descriptor.flags.contains(DescriptorFlags::WRITE) || size > OFFSET_MAX {
            return Err(ErrorCode::Invalid.into());
        }
        file.with(|volumes, place| {
            volumes.writes += 1;
            Ok(volumes.branch(place.mount).set_len(place.node, size)?)
        })
    }

    fn set_times(
        &mut self,
        fd: Fd,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Result<(), FsFailure> {
        let now = self.now;
        self.get(&fd)?.open.with(|volumes, place| {
            volumes.touch_node(Touch::Write, place.mount, place.node)?;
            set_times(volumes, place, (accessed, modified), now)
        })
    }

    fn read(&mut self, fd: Fd, length: u64, offset: u64) -> Result<(Vec<u8>, bool), FsFailure> {
        let file = self.get(&fd)?.file(DescriptorFlags::READ)?;
        file.with(|volumes, place| {
            let length = usize::try_from(length.min(READ_BYTES_MAX)).unwrap_or(0);
            let mut bytes = vec![0; length];
            let read = read_at(volumes, place, offset, &mut bytes)?;
            bytes.truncate(read);
            let at_end = match length {
                0 => offset >= volumes.branch(place.mount).metadata(place.node)?.size,
                _ => read == 0,
            };
            Ok((bytes, at_end))
        })
    }

    fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: u64) -> Result<u64, FsFailure> {
        let file = self.get(&fd)?.file(DescriptorFlags::WRITE)?;
        file.with(|volumes, place| {
            write_at(volumes, place, offset, &bytes)?;
            Ok(bytes.len() as u64)
        })
    }

    fn read_directory(&mut self, fd: Fd) -> Result<Resource<DirectoryStream>, FsFailure> {
        let entries = self.get(&fd)?.directory()?.with(|volumes, place| {
            volumes.touch_node(Touch::Read, place.mount, place.node)?;
            match volumes.branch(place.mount).list(place.node) {
                // Removed while it was open.
                Err(FsError::NotFound) => Ok(Vec::new()),
                entries => Ok(entries?),
            }
        })?;
        Ok(self.table.push(DirectoryStream::new(entries))?)
    }

    fn sync(&mut self, fd: Fd) -> Result<(), FsFailure> {
        self.get(&fd).map(|_| ())
    }

    fn create_directory_at(&mut self, fd: Fd, path: String) -> Result<(), FsFailure> {
        self.get(&fd)?.directory()?.with(|volumes, start| {
            let entry = View::entry(volumes, start, &path, ErrorCode::Exist)?;
            if entry.node.is_some() {
                return Err(ErrorCode::Exist.into());
            }
            volumes.touch_entry(Touch::Write, start.mount, &entry)?;
            volumes
                .branch(start.mount)
                .create_dir(entry.directory, &entry.name)?;
            Ok(())
        })
    }

    fn stat(&mut self, fd: Fd) -> Result<DescriptorStat, FsFailure> {
        let descriptor = self.get(&fd)?;
        let may_read =
            descriptor.kind == NodeKind::File && descriptor.flags.contains(DescriptorFlags::READ);
        descriptor.open.with(|volumes, place| {
            // Who may read a file's content knows its size.
            if !may_read {
                volumes.touch_node(Touch::Read, place.mount, place.node)?;
            }
            Ok(stat(&volumes.branch(place.mount).metadata(place.node)?))
        })
    }

    fn stat_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
    ) -> Result<DescriptorStat, FsFailure> {
        self.get(&fd)?.directory()?.with(|volumes, start| {
            let node = volumes.find(start, &path, last(flags), Touch::Read)?;
            Ok(stat(&volumes.branch(start.mount).metadata(node)?))
        })
    }

    fn set_times_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Result<(), FsFailure> {
        let now = self.now;
        self.get(&fd)?.directory()?.with(|volumes, start| {
            let node = volumes.find(start, &path, last(flags), Touch::Write)?;
            let place = Place { node, ..start };
            set_times(volumes, place, (accessed, modified), now)
        })
    }

    fn link_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        old_path: String,
        new_fd: Fd,
        new_path: String,
    ) -> Result<(), FsFailure> {
        if flags.contains(PathFlags::SYMLINK_FOLLOW) {
            return Err(ErrorCode::Invalid.into());
        }
        let target = self.get(&new_fd)?.directory()?.place;
        self.get(&fd)?.directory()?.with(|volumes, start| {
            let old = View::entry(volumes, start, &old_path, ErrorCode::NotPermitted)?;
            let (node, kind) = old.node.ok_or(ErrorCode::NoEntry)?;
            let new = View::entry(volumes, target, &new_path, ErrorCode::Exist)?;
            volumes.watch_entry(start.mount, &old)?;
            volumes.touch_entry(Touch::Delete, start.mount, &old)?;
            volumes.touch_entry(Touch::Write, target.mount, &new)?;
            if old.demands_directory && kind != NodeKind::Directory {
                return Err(ErrorCode::NotDirectory.into());
            }
            if new.node.is_some() {
                return Err(ErrorCode::Exist.into());
            }
            if kind == NodeKind::Directory {
                return Err(ErrorCode::NotPermitted.into());
            }
            if new.demands_directory {
                return Err(ErrorCode::NoEntry.into());
            }
            if start.mount != target.mount {
                return Err(ErrorCode::CrossDevice.into());
            }
            Ok(volumes
                .branch(start.mount)
                .link(node, new.directory, &new.name)?)
        })
    }

    fn open_at(
        &mut self,
        fd: Fd,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Fd, FsFailure> {
        let directory = self.get(&fd)?.directory()?;
        let (place, kind) = directory.with(|volumes, start| {
            let wanted = Wanted {
                last: last(path_flags),
                open_flags,
                flags,
            };
            let (node, kind) = open(volumes, start, &path, &wanted)?;
            Ok((Place { node, ..start }, kind))
        })?;
        let volumes = directory.volumes.clone();
        let descriptor = Descriptor {
            open: Open::new(&volumes, place),
            kind,
            flags: flags_of(kind, flags),
        };
        if kind == NodeKind::File && descriptor.flags.contains(DescriptorFlags::READ) {
            descriptor
                .open
                .with(|volumes, place| Ok(volumes.branch(place.mount).open(place.node)?))?;
        }
        Ok(self.table.push(descriptor)?)
    }

    fn readlink_at(&mut self, fd: Fd, path: String) -> Result<String, FsFailure> {
        self.get(&fd)?.directory()?.with(|volumes, start| {
            let node = volumes.find(start, &path, Last::Link, Touch::Read)?;
            let target = volumes.branch(start.mount).read_link(node)?;
            if target.starts_with('/') {
                return Err(ErrorCode::NotPermitted.into());
            }
            Ok(target)
        })
    }

    fn remove_directory_at(&mut self, fd: Fd, path: String) -> Result<(), FsFailure> {
        self.get(&fd)?.directory()?.with(|volumes, start| {
            let entry = View::entry(volumes, start, &path, ErrorCode::Invalid)?;
            volumes.touch_entry(Touch::Delete, start.mount, &entry)?;
            Ok(volumes
                .branch(start.mount)
                .rmdir(entry.directory, &entry.name)?)
        })
    }

    fn rename_at(
        &mut self,
        fd: Fd,
        old_path: String,
        new_fd: Fd,
        new_path: String,
    ) -> Result<(), FsFailure> {
        let target = self.get(&new_fd)?.directory()?.place;
        self.get(&fd)?.directory()?.with(|volumes, start| {
            let old = View::entry(volumes, start, &old_path, ErrorCode::Busy)?;
            let (_, kind) = old.node.ok_or(ErrorCode::NoEntry)?;
            let new = View::entry(volumes, target, &new_path, ErrorCode::Busy)?;
            if (old.demands_directory || new.demands_directory) && kind != NodeKind::Directory {
                return Err(ErrorCode::NotDirectory.into());
            }
            volumes.touch_move((start.mount, &old), (target.mount, &new))?;
            if start.mount != target.mount {
                return Err(ErrorCode::CrossDevice.into());
            }
            Ok(volumes.branch(start.mount).rename(
                old.directory,
                &old.name,
                new.directory,
                &new.name,
            )?)
        })
    }

    fn symlink_at(&mut self, fd: Fd, target: String, path: String) -> Result<(), FsFailure> {
        if target.starts_with('/') {
            return Err(ErrorCode::NotPermitted.into());
        }
        if target.is_empty() {
            return Err(ErrorCode::NoEntry.into());
        }
        self.get(&fd)?.directory()?.with(|volumes, start| {
            let entry = View::entry(volumes, start, &path, ErrorCode::Exist)?;
            if entry.node.is_some() {
                return Err(ErrorCode::Exist.into());
            }
            if entry.demands_directory {
                return Err(ErrorCode::NoEntry.into());
            }
            volumes.touch_entry(Touch::Write, start.mount, &entry)?;
            volumes
                .branch(start.mount)
                .symlink(entry.directory, &entry.name, &target)?;
            Ok(())
        })
    }

    fn unlink_file_at(&mut self, fd: Fd, path: String) -> Result<(), FsFailure> {
        self.get(&fd)?.directory()?.with(|volumes, start| {
            let entry = View::entry(volumes, start, &path, ErrorCode::IsDirectory)?;
            volumes.touch_entry(Touch::Delete, start.mount, &entry)?;
            let (_, kind) = entry.node.ok_or(ErrorCode::NoEntry)?;
            if kind == NodeKind::Directory {
                return Err(ErrorCode::IsDirectory.into());
            }
            if entry.demands_directory {
                return Err(ErrorCode::NotDirectory.into());
            }
            Ok(volumes
                .branch(start.mount)
                .unlink(entry.directory, &entry.name)?)
        })
    }

    fn is_same_object(&mut self, one: Fd, other: Fd) -> wasmtime::Result<bool> {
        let one = self.table.get(&one)?.open.place;
        let other = self.table.get(&other)?.open.place;
        Ok(one == other)
    }

    fn metadata_hash(&mut self, fd: Fd) -> Result<MetadataHashValue, FsFailure> {
        Ok(metadata_hash(self.get(&fd)?.open.place))
    }

    fn metadata_hash_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
    ) -> Result<MetadataHashValue, FsFailure> {
        self.get(&fd)?.directory()?.with(|volumes, start| {
            let node = volumes.find(start, &path, last(flags), Touch::Read)?;
            Ok(metadata_hash(Place { node, ..start }))
        })
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        self.table.delete(fd)?;
        Ok(())
    }
}

/// The flags that a descriptor has when these were asked for: it can at least be read,
/// and only directories have contents to be mutated.
fn flags_of(kind: NodeKind, asked: DescriptorFlags) -> DescriptorFlags {
    let mut flags = asked & (DescriptorFlags::READ | DescriptorFlags::WRITE);
    if !flags.contains(DescriptorFlags::WRITE) {
        flags |= DescriptorFlags::READ;
    }
    if kind == NodeKind::Directory {
        flags |= asked & DescriptorFlags::MUTATE_DIRECTORY;
    }
    flags
}

/// Reads as `pread` does.
pub(crate) fn read_at(
    volumes: &mut Volumes,
    place: Place,
    offset: u64,
    bytes: &mut [u8],
) -> Result<usize, FsFailure> {
    if offset > OFFSET_MAX {
        return Err(ErrorCode::Invalid.into());
    }
    let branch = volumes.branch(place.mount);
    // The kernel refuses to read across the largest offset, even where nothing is.
    if offset > OFFSET_MAX - READ_BYTES_MAX && offset >= branch.metadata(place.node)?.size {
        return Ok(0);
    }
    Ok(branch.read(place.node, offset, bytes)?)
}

/// Writes as `pwrite` does, but always all of it.
pub(crate) fn write_at(
    volumes: &mut Volumes,
    place: Place,
    offset: u64,
    bytes: &[u8],
) -> Result<(), FsFailure> {
    let end = offset.checked_add(bytes.len() as u64);
    if end.is_none_or(|end| end > OFFSET_MAX) {
        return Err(ErrorCode::Invalid.into());
    }
    volumes.writes += 1;
    Ok(volumes
        .branch(place.mount)
        .write(place.node, offset, bytes)?)
}

fn last(flags: PathFlags) -> Last {
    if flags.contains(PathFlags::SYMLINK_FOLLOW) {
        Last::Follow
    } else {
        Last::Link
    }
}

struct Wanted {
    last: Last,
    open_flags: OpenFlags,
    flags: DescriptorFlags,
}

/// Opens or creates. Reading needs the right to read, anything that can change the file
/// (write access, truncation, creation) the right to write.
fn open(
    volumes: &mut Volumes,
    start: Place,
    path: &str,
    wanted: &Wanted,
) -> Result<(Inode, NodeKind), FsFailure> {
    let Wanted {
        open_flags, flags, ..
    } = wanted;
    let create = open_flags.contains(OpenFlags::CREATE);
    let exclusive = open_flags.contains(OpenFlags::EXCLUSIVE);
    let truncate = open_flags.contains(OpenFlags::TRUNCATE);
    let directory = open_flags.contains(OpenFlags::DIRECTORY);
    let write = flags.contains(DescriptorFlags::WRITE);
    if directory && (create || exclusive || truncate) {
        return Err(ErrorCode::Invalid.into());
    }
    if flags.intersects(
        DescriptorFlags::FILE_INTEGRITY_SYNC
            | DescriptorFlags::DATA_INTEGRITY_SYNC
            | DescriptorFlags::REQUESTED_WRITE_SYNC,
    ) {
        return Err(ErrorCode::Unsupported.into());
    }
    // O_EXCL means the entry itself, so that a link is never created through.
    let last = if create && exclusive {
        Last::Entry
    } else {
        wanted.last
    };
    let entry = match volumes.resolve(start, path, last)? {
        Resolved::Directory(_) if create && exclusive => return Err(ErrorCode::Exist.into()),
        Resolved::Directory(node) => {
            if write || truncate || create {
                return Err(ErrorCode::IsDirectory.into());
            }
            volumes.touch_node(Touch::Read, start.mount, node)?;
            return Ok((node, NodeKind::Directory));
        }
        Resolved::Entry(entry) => entry,
    };
    match entry.node {
        None if !create => {
            volumes.touch_entry(Touch::Read, start.mount, &entry)?;
            Err(ErrorCode::NoEntry.into())
        }
        None if entry.demands_directory => Err(ErrorCode::IsDirectory.into()),
        None => {
            volumes.touch_entry(Touch::Write, start.mount, &entry)?;
            let branch = volumes.branch(start.mount);
            let node = branch.create_file(entry.directory, &entry.name)?;
            Ok((node, NodeKind::File))
        }
        Some(_) if create && exclusive => Err(ErrorCode::Exist.into()),
        Some((_, NodeKind::Symlink)) => Err(ErrorCode::Loop.into()),
        Some((_, NodeKind::File)) if directory || entry.demands_directory => {
            Err(ErrorCode::NotDirectory.into())
        }
        Some((_, NodeKind::Directory)) if write || truncate || create => {
            Err(ErrorCode::IsDirectory.into())
        }
        Some((node, kind)) => {
            if flags.contains(DescriptorFlags::READ) || !write {
                volumes.touch_entry(Touch::Read, start.mount, &entry)?;
            }
            if write || truncate {
                volumes.touch_entry(Touch::Write, start.mount, &entry)?;
            }
            if truncate {
                volumes.writes += 1;
                volumes.branch(start.mount).set_len(node, 0)?;
            }
            Ok((node, kind))
        }
    }
}

pub(crate) fn descriptor_type(kind: NodeKind) -> DescriptorType {
    match kind {
        NodeKind::File => DescriptorType::RegularFile,
        NodeKind::Directory => DescriptorType::Directory,
        NodeKind::Symlink => DescriptorType::SymbolicLink,
    }
}

fn stat(metadata: &Metadata) -> DescriptorStat {
    DescriptorStat {
        type_: descriptor_type(metadata.kind),
        link_count: metadata.nlink,
        size: metadata.size,
        data_access_timestamp: datetime(metadata.accessed),
        data_modification_timestamp: datetime(metadata.modified),
        // When a node was changed as such is not kept.
        status_change_timestamp: datetime(metadata.modified),
    }
}

/// Times before 1970 have no place in WASI 0.2.
fn datetime(time: Timestamp) -> Option<Datetime> {
    Some(Datetime {
        seconds: u64::try_from(time.secs).ok()?,
        nanoseconds: time.nanos,
    })
}

/// Nanoseconds in a second; more of them are seconds.
const NANOS_PER_SEC: u32 = 1_000_000_000;

fn set_times(
    volumes: &mut Volumes,
    place: Place,
    (accessed, modified): (NewTimestamp, NewTimestamp),
    now: Timestamp,
) -> Result<(), FsFailure> {
    let time = |new| match new {
        NewTimestamp::NoChange => Ok::<_, ErrorCode>(None),
        NewTimestamp::Now => Ok(Some(now)),
        NewTimestamp::Timestamp(Datetime {
            seconds,
            nanoseconds,
        }) => Ok(Some(Timestamp {
            secs: i64::try_from(seconds)
                .ok()
                .and_then(|secs| secs.checked_add(i64::from(nanoseconds / NANOS_PER_SEC)))
                .ok_or(ErrorCode::Overflow)?,
            nanos: nanoseconds % NANOS_PER_SEC,
        })),
    };
    let (accessed, modified) = (time(accessed)?, time(modified)?);
    Ok(volumes
        .branch(place.mount)
        .set_times(place.node, accessed, modified)?)
}

/// The identity of a node, not of its content: std asks for it to tell whether two names
/// are one file. Our own numbers hide nothing.
fn metadata_hash(place: Place) -> MetadataHashValue {
    MetadataHashValue {
        lower: place.node.get(),
        upper: match place.mount {
            Mount::Workspace => 0,
            Mount::Tmp => 1,
        },
    }
}
