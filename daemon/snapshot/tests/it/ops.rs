//! Operations of programs, and what they do: to a branch, and to a plain directory.

use crate::support::{Manifest, Paths};
use forerun_snapshot::{Branch, FsError, Inode, NodeKind, Timestamp};
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Nodes that a program can have open at once.
const HANDLES: usize = 3;
/// Nanoseconds of every time that an operation sets: such times are compared.
pub(crate) const SET_NANOS: u32 = 5;
/// Nanoseconds of every time in the base.
pub(crate) const BASE_NANOS: u32 = 6;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(String),
    Write(String, u64, Vec<u8>),
    Append(String, Vec<u8>),
    SetLen(String, u64),
    Read(String),
    Stat(String),
    Mkdir(String),
    Symlink(String, String),
    ReadLink(String),
    Link(String, String),
    Unlink(String),
    Rmdir(String),
    /// Removes a directory with all that is in it, and makes it again.
    Renew(String),
    Rename(String, String),
    List(String),
    Touch(String, u32),
    SaveByRename(String, Vec<u8>),
    /// Opens a file or a directory; what was open in that place is closed.
    Open(usize, String),
    ReadOpen(usize),
    /// Writes to the open file, or makes an entry in the open directory.
    WriteOpen(usize, u64, Vec<u8>),
    Close(usize),
    /// Freeze, and go on from the new snapshot. What was open is closed.
    Freeze,
    /// Commit what was frozen, under the branch.
    CommitBelow,
    /// Freeze, and commit everything that was frozen.
    Commit,
    /// The same, and go on from the workspace opened anew.
    Restart,
}

/// Few names, so that operations meet. `a`, `b/x`, … exist in the base.
fn path() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["a", "b", "c", "x"]);
    let names = |depth: usize| prop::collection::vec(name(), depth);
    prop_oneof![4 => names(1), 4 => names(2), 1 => names(3)].prop_map(|names| names.join("/"))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..20),
        1 => any::<u8>().prop_map(|byte| vec![byte; 70_000]),
        1 => any::<u8>().prop_map(|byte| vec![byte; 65_536]),
    ]
}

/// Around the ends of short files and of chunks.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => Just(0u64),
        8 => 0..40u64,
        1 => 65_530..65_542u64,
        2 => 65_000..140_000u64,
    ]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let handle = || 0..HANDLES;
    let on_names = prop_oneof![
        3 => path().prop_map(Op::Create),
        4 => path().prop_map(Op::Mkdir),
        2 => (path(), path()).prop_map(|(p, t)| Op::Symlink(p, t)),
        2 => (path(), path()).prop_map(|(a, b)| Op::Link(a, b)),
        4 => path().prop_map(Op::Unlink),
        3 => path().prop_map(Op::Rmdir),
        2 => path().prop_map(Op::Renew),
        8 => (path(), path()).prop_map(|(a, b)| Op::Rename(a, b)),
        2 => path().prop_map(Op::List),
        1 => Just(Op::List(String::new())),
    ];
    let on_contents = prop_oneof![
        4 => (path(), offset(), bytes()).prop_map(|(p, o, b)| Op::Write(p, o, b)),
        2 => (path(), bytes()).prop_map(|(p, b)| Op::Append(p, b)),
        2 => (path(), offset()).prop_map(|(p, o)| Op::SetLen(p, o)),
        3 => path().prop_map(Op::Read),
        2 => path().prop_map(Op::Stat),
        1 => path().prop_map(Op::ReadLink),
        1 => (path(), any::<u32>()).prop_map(|(p, t)| Op::Touch(p, t)),
        2 => (path(), bytes()).prop_map(|(p, b)| Op::SaveByRename(p, b)),
    ];
    let on_open = prop_oneof![
        3 => (handle(), path()).prop_map(|(h, p)| Op::Open(h, p)),
        2 => handle().prop_map(Op::ReadOpen),
        2 => (handle(), offset(), bytes()).prop_map(|(h, o, b)| Op::WriteOpen(h, o, b)),
        1 => handle().prop_map(Op::Close),
    ];
    let on_versions = prop_oneof![
        4 => Just(Op::Freeze),
        2 => Just(Op::CommitBelow),
        2 => Just(Op::Commit),
        1 => Just(Op::Restart),
    ];
    prop_oneof![
        31 => on_names,
        17 => on_contents,
        8 => on_open,
        4 => on_versions,
    ]
}

impl Op {
    /// Whether it is no operation on the tree, but one on the version.
    pub(crate) fn is_on_versions(&self) -> bool {
        matches!(
            self,
            Op::Freeze | Op::CommitBelow | Op::Commit | Op::Restart
        )
    }
}

/// One more object of a base tree; what is missing above it is made.
#[derive(Clone, Debug)]
pub(crate) enum Extra {
    File(String, Vec<u8>, u32),
    Directory(String, u32),
    Symlink(String, String),
}

pub(crate) fn extra() -> impl Strategy<Value = Extra> {
    let file = prop::sample::select(vec![0o644, 0o600, 0o664, 0o755, 0o700]);
    let directory = prop::sample::select(vec![0o755, 0o700, 0o775]);
    prop_oneof![
        4 => (path(), bytes(), file).prop_map(|(p, b, m)| Extra::File(p, b, m)),
        2 => (path(), directory).prop_map(|(p, m)| Extra::Directory(p, m)),
        1 => (path(), path()).prop_map(|(p, t)| Extra::Symlink(p, t)),
    ]
}

impl Extra {
    /// Adds it to a tree, if its place is free.
    pub(crate) fn add(&self, root: &Path) {
        let (Extra::File(path, ..) | Extra::Directory(path, _) | Extra::Symlink(path, _)) = self;
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut full = root.to_owned();
        for name in above.split('/').filter(|name| !name.is_empty()) {
            full.push(name);
            match fs::symlink_metadata(&full) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return,
                Err(_) => fs::create_dir(&full).expect("makes"),
            }
        }
        full.push(name);
        if fs::symlink_metadata(&full).is_ok() {
            return;
        }
        let mode = |mode: u32| {
            fs::set_permissions(&full, fs::Permissions::from_mode(mode)).expect("chmods");
        };
        match self {
            Extra::File(_, content, bits) => {
                fs::write(&full, content).expect("writes");
                mode(*bits);
            }
            Extra::Directory(_, bits) => {
                fs::create_dir(&full).expect("makes");
                mode(*bits);
            }
            Extra::Symlink(_, target) => symlink(target, &full).expect("links"),
        }
    }
}

/// What an operation returns: bytes, or the kind of its error.
pub(crate) type Outcome = Result<Vec<u8>, String>;

/// The nodes of a branch that a program has open.
#[derive(Default)]
pub(crate) struct OpenNodes([Option<Inode>; HANDLES]);

impl OpenNodes {
    pub(crate) fn close_all(&mut self, branch: &mut Branch) {
        for node in self.0.iter_mut().filter_map(Option::take) {
            branch.release(node);
        }
    }
}

pub(crate) fn on_branch(branch: &mut Branch, open: &mut OpenNodes, op: &Op) -> Outcome {
    try_on_branch(branch, open, op).map_err(|error| error.code().to_owned())
}

fn try_on_branch(branch: &mut Branch, open: &mut OpenNodes, op: &Op) -> Result<Vec<u8>, FsError> {
    match op {
        Op::Create(path) => {
            let (dir, name) = branch.parent(path)?;
            branch.create_file(dir, name)?;
        }
        Op::Write(path, offset, data) => {
            let file = branch.resolve(path)?;
            branch.write(file, *offset, data)?;
        }
        Op::Append(path, data) => {
            let file = branch.resolve(path)?;
            branch.append(file, data)?;
        }
        Op::SetLen(path, len) => {
            let file = branch.resolve(path)?;
            branch.set_len(file, *len)?;
        }
        Op::Read(path) => {
            let file = branch.resolve(path)?;
            return read_whole(branch, file);
        }
        Op::Stat(path) => {
            let node = branch.resolve(path)?;
            let found = branch.metadata(node)?;
            let kind = match found.kind {
                NodeKind::File => 'f',
                NodeKind::Directory => 'd',
                NodeKind::Symlink => 'l',
            };
            let modified = (found.modified.secs, found.modified.nanos);
            return Ok(stat_line(
                kind,
                found.size,
                found.nlink,
                found.mode,
                modified,
            ));
        }
        Op::Mkdir(path) => {
            let (dir, name) = branch.parent(path)?;
            branch.create_dir(dir, name)?;
        }
        Op::Symlink(path, target) => {
            let (dir, name) = branch.parent(path)?;
            branch.symlink(dir, name, target)?;
        }
        Op::ReadLink(path) => {
            let node = branch.resolve(path)?;
            return branch.read_link(node).map(String::into_bytes);
        }
        Op::Link(from, to) => {
            let node = branch.resolve(from)?;
            let (dir, name) = branch.parent(to)?;
            branch.link(node, dir, name)?;
        }
        Op::Unlink(path) => branch.rm(path)?,
        Op::Rmdir(path) => {
            let (dir, name) = branch.parent(path)?;
            branch.rmdir(dir, name)?;
        }
        Op::Renew(path) => {
            branch.rm_all(path)?;
            branch.mkdir(path)?;
        }
        Op::Rename(from, to) => branch.mv(from, to)?,
        Op::List(path) => {
            let dir = branch.resolve(path)?;
            return list(branch, dir);
        }
        Op::Touch(path, secs) => {
            let node = branch.resolve(path)?;
            let time = Timestamp {
                secs: i64::from(*secs),
                nanos: SET_NANOS,
            };
            branch.set_times(node, Some(time), Some(time))?;
        }
        Op::SaveByRename(path, data) => {
            let (dir, name) = branch.parent(path)?;
            if let Ok(old) = branch.lookup(dir, name)
                && branch.metadata(old)?.kind == NodeKind::Directory
            {
                return Err(FsError::IsADirectory);
            }
            let file = branch.create_file(dir, "saved.tmp")?;
            branch.write(file, 0, data)?;
            branch.rename(dir, "saved.tmp", dir, name)?;
        }
        Op::Open(handle, path) => {
            let node = branch.resolve(path)?;
            if branch.metadata(node)?.kind == NodeKind::Symlink {
                return Err(FsError::InvalidArgument);
            }
            branch.hold(node);
            if let Some(old) = open.0[*handle].replace(node) {
                branch.release(old);
            }
        }
        Op::ReadOpen(handle) => {
            let Some(node) = open.0[*handle] else {
                return Ok(Vec::new());
            };
            let found = branch.metadata(node)?;
            if found.kind == NodeKind::Directory {
                return list(branch, node);
            }
            let mut bytes = read_whole(branch, node)?;
            assert_eq!(bytes.len() as u64, found.size);
            bytes.push(found.nlink as u8);
            return Ok(bytes);
        }
        Op::WriteOpen(handle, offset, data) => {
            let Some(node) = open.0[*handle] else {
                return Ok(Vec::new());
            };
            match branch.metadata(node)?.kind {
                NodeKind::Directory => branch.create_file(node, "x").map(drop)?,
                _ => branch.write(node, *offset, data)?,
            }
        }
        Op::Close(handle) => {
            if let Some(node) = open.0[*handle].take() {
                branch.release(node);
            }
        }
        Op::Freeze | Op::CommitBelow | Op::Commit | Op::Restart => {}
    }
    Ok(Vec::new())
}

fn read_whole(branch: &mut Branch, file: Inode) -> Result<Vec<u8>, FsError> {
    let mut bytes = vec![0; 1 << 20];
    let count = branch.read(file, 0, &mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// In the one order that there is, whatever was changed since the last time.
fn list(branch: &mut Branch, dir: Inode) -> Result<Vec<u8>, FsError> {
    let names: Vec<_> = branch.list(dir)?.into_iter().map(|e| e.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    Ok(names.join("\n").into_bytes())
}

/// What is compared of an object's attributes: times only if they are known ones.
fn stat_line(kind: char, size: u64, nlink: u64, mode: u32, modified: (i64, u32)) -> Vec<u8> {
    let (size, nlink) = match kind {
        'd' => (0, 1),
        _ => (size, nlink),
    };
    let known = [SET_NANOS, BASE_NANOS].contains(&modified.1);
    let modified = known.then(|| format!("{}.{}", modified.0, modified.1));
    let modified = modified.as_deref().unwrap_or("-");
    format!("{kind} {size} {nlink} {mode:o} {modified}").into_bytes()
}

/// A plain directory: links are not followed, so a path that leads through a link is not
/// found, and a link is neither read nor written. A new file that replaces one inherits
/// its mode; what is new is what is none of the base's files.
pub(crate) struct Plain {
    root: PathBuf,
    /// The files of the base, open, so that their inodes are not given to others.
    of_base: Vec<File>,
    open: [Option<File>; HANDLES],
}

impl Plain {
    pub(crate) fn new(root: &Path) -> Plain {
        Plain {
            root: root.to_owned(),
            of_base: files(root),
            open: Default::default(),
        }
    }

    /// What is open is closed, and what is there is no new file any more.
    pub(crate) fn begin_step(&mut self) {
        self.open = Default::default();
        self.of_base = files(&self.root);
    }

    pub(crate) fn run(&mut self, op: &Op) -> Outcome {
        self.try_run(op).map_err(|error| kind(&error).to_owned())
    }

    fn try_run(&mut self, op: &Op) -> io::Result<Vec<u8>> {
        let root = self.root.as_path();
        let file = |path: &str, options: &OpenOptions| -> io::Result<File> {
            let full = plain(root, path)?;
            let metadata = fs::symlink_metadata(&full)?;
            if metadata.is_symlink() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            options.open(full)
        };
        let writing = OpenOptions::new().write(true).to_owned();
        match op {
            Op::Create(path) => {
                File::create_new(plain(root, path)?)?;
            }
            Op::Write(path, offset, data) => file(path, &writing)?.write_all_at(data, *offset)?,
            Op::Append(path, data) => {
                let mut file = file(path, &writing)?;
                file.seek(SeekFrom::End(0))?;
                file.write_all(data)?;
            }
            Op::SetLen(path, len) => file(path, &writing)?.set_len(*len)?,
            Op::Read(path) => {
                file(path, OpenOptions::new().read(true))?;
                return fs::read(plain(root, path)?);
            }
            Op::Stat(path) => {
                let found = fs::symlink_metadata(plain(root, path)?)?;
                let kind = match found.file_type() {
                    kind if kind.is_dir() => 'd',
                    kind if kind.is_symlink() => 'l',
                    _ => 'f',
                };
                let modified = (found.mtime(), found.mtime_nsec() as u32);
                let mode = found.mode() & 0o7777;
                return Ok(stat_line(kind, found.len(), found.nlink(), mode, modified));
            }
            Op::Mkdir(path) => fs::create_dir(plain(root, path)?)?,
            Op::Symlink(path, target) => symlink(target, plain(root, path)?)?,
            Op::ReadLink(path) => {
                let target = fs::read_link(plain(root, path)?)?;
                return Ok(target.into_os_string().into_encoded_bytes());
            }
            Op::Link(from, to) => {
                let (from, to) = (plain(root, from)?, plain(root, to));
                // A link is twinned: a commit can not tell two names from two links.
                if fs::symlink_metadata(&from)?.is_symlink() {
                    symlink(fs::read_link(from)?, to?)?;
                } else {
                    fs::hard_link(from, to?)?;
                }
            }
            Op::Unlink(path) => {
                let path = plain(root, path)?;
                if fs::symlink_metadata(&path)?.is_dir() {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                fs::remove_file(path)?;
            }
            Op::Rmdir(path) => fs::remove_dir(plain(root, path)?)?,
            Op::Renew(path) => {
                let path = plain(root, path)?;
                if !fs::symlink_metadata(&path)?.is_dir() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                fs::remove_dir_all(&path)?;
                fs::create_dir(path)?;
            }
            Op::Rename(from, to) => {
                let (from, to) = (plain(root, from)?, plain(root, to)?);
                let old = fs::symlink_metadata(&to).ok().filter(fs::Metadata::is_file);
                let new = fs::symlink_metadata(&from)?;
                fs::rename(from, &to)?;
                let inode = |file: &File| file.metadata().expect("metadata").ino();
                if let Some(old) = old
                    && new.is_file()
                    && new.ino() != old.ino()
                    && self.of_base.iter().all(|file| inode(file) != new.ino())
                {
                    fs::set_permissions(to, old.permissions())?;
                }
            }
            Op::List(path) => {
                let path = plain(root, path)?;
                if !fs::symlink_metadata(&path)?.is_dir() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                return names(&path);
            }
            Op::Touch(path, secs) => {
                let path = plain(root, path)?;
                fs::symlink_metadata(&path)?;
                set_times(&path, i64::from(*secs), SET_NANOS);
            }
            Op::SaveByRename(path, data) => {
                let path = plain(root, path)?;
                let mode = fs::symlink_metadata(&path).ok();
                if mode.as_ref().is_some_and(fs::Metadata::is_dir) {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                let temporary = path.with_file_name("saved.tmp");
                fs::write(&temporary, data)?;
                if let Some(old) = mode
                    && old.is_file()
                {
                    fs::set_permissions(&temporary, old.permissions())?;
                }
                fs::rename(temporary, path)?;
            }
            Op::Open(handle, path) => {
                let path = plain(root, path)?;
                let found = fs::symlink_metadata(&path)?;
                if found.is_symlink() {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                let options = OpenOptions::new()
                    .read(true)
                    .write(!found.is_dir())
                    .to_owned();
                self.open[*handle] = Some(options.open(path)?);
            }
            Op::ReadOpen(handle) => {
                let Some(file) = &self.open[*handle] else {
                    return Ok(Vec::new());
                };
                let found = file.metadata()?;
                if found.is_dir() {
                    // The kernel's answer; the C library makes an empty listing of it.
                    return match found.nlink() {
                        0 => Err(io::ErrorKind::NotFound.into()),
                        _ => names(&held(file)),
                    };
                }
                let mut bytes = vec![0; found.len() as usize];
                file.read_exact_at(&mut bytes, 0)?;
                bytes.push(found.nlink() as u8);
                return Ok(bytes);
            }
            Op::WriteOpen(handle, offset, data) => match &self.open[*handle] {
                None => {}
                Some(file) if file.metadata()?.is_dir() => {
                    File::create_new(held(file).join("x"))?;
                }
                Some(file) => file.write_all_at(data, *offset)?,
            },
            Op::Close(handle) => self.open[*handle] = None,
            Op::Freeze | Op::CommitBelow | Op::Commit | Op::Restart => {}
        }
        Ok(Vec::new())
    }
}

/// An open directory's own path, even if it was removed.
fn held(directory: &File) -> PathBuf {
    format!("/proc/self/fd/{}", directory.as_raw_fd()).into()
}

fn names(directory: &Path) -> io::Result<Vec<u8>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name().into_string().expect("UTF-8"));
    }
    names.sort();
    Ok(names.join("\n").into_bytes())
}

/// The path, if every directory on the way is one.
fn plain(root: &Path, path: &str) -> io::Result<PathBuf> {
    let mut at = root.to_owned();
    let mut names = path.split('/').peekable();
    while let Some(name) = names.next() {
        at.push(name);
        if names.peek().is_some() && !fs::symlink_metadata(&at)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
    }
    Ok(at)
}

fn kind(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "not_found",
        io::ErrorKind::AlreadyExists => "exists",
        io::ErrorKind::NotADirectory => "not_a_directory",
        io::ErrorKind::IsADirectory => "is_a_directory",
        io::ErrorKind::DirectoryNotEmpty => "not_empty",
        io::ErrorKind::InvalidInput => "invalid_argument",
        io::ErrorKind::PermissionDenied => "not_permitted",
        other => panic!("unexpected {other:?}: {error}"),
    }
}

/// A small tree with each kind of object in it.
pub(crate) fn seed_tree(root: &Path) {
    fs::create_dir_all(root.join("b/c")).expect("creates");
    fs::create_dir_all(root.join("c/a/b")).expect("creates");
    fs::write(root.join("a"), "a of the base").expect("writes");
    fs::write(root.join("b/x"), "x of the base").expect("writes");
    fs::write(root.join("b/c/a"), vec![7; 70_000]).expect("writes");
    fs::write(root.join("c/a/x"), "").expect("writes");
    fs::set_permissions(root.join("b/x"), fs::Permissions::from_mode(0o755)).expect("chmods");
    symlink("b/x", root.join("x")).expect("links");
}

/// Every object below a directory, children first, with its metadata.
fn objects(root: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).expect("lists") {
        let path = entry.expect("an entry").path();
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        if path.file_name().is_some_and(|name| name == ".forerun") {
            continue;
        }
        if metadata.is_dir() {
            found.extend(objects(&path));
        }
        found.push((path, metadata));
    }
    found
}

/// The files below a directory, open.
fn files(root: &Path) -> Vec<File> {
    let files = objects(root)
        .into_iter()
        .filter(|(_, found)| found.is_file());
    files
        .map(|(path, _)| File::open(path).expect("opens"))
        .collect()
}

/// Whether a file or a link has several names.
pub(crate) fn has_hard_links(root: &Path) -> bool {
    let mut objects = objects(root).into_iter();
    objects.any(|(_, found)| !found.is_dir() && found.nlink() > 1)
}

/// Gives everything below a directory a time by which it is known again.
pub(crate) fn stamp(root: &Path) {
    let mut objects = objects(root);
    objects.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (index, (path, _)) in objects.iter().enumerate().rev() {
        set_times(path, 1_000_000_000 + index as i64, BASE_NANOS);
    }
}

fn set_times(path: &Path, secs: i64, nanos: u32) {
    let time = Timespec {
        tv_sec: secs,
        tv_nsec: nanos.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("sets times");
}

/// The times that operations gave to files and links, by path.
pub(crate) fn times_that_were_set(root: &Path) -> Vec<(PathBuf, i64, u64)> {
    let of = objects(root).into_iter();
    let mut times: Vec<_> = of
        .filter(|(_, found)| !found.is_dir() && found.mtime_nsec() == i64::from(SET_NANOS))
        .map(|(path, found)| {
            let path = path.strip_prefix(root).expect("is below").to_owned();
            (path, found.mtime(), found.nlink())
        })
        .collect();
    times.sort();
    times
}

pub(crate) fn compare(found: &Manifest, expected: &Manifest, what: &str) {
    if found == expected {
        return;
    }
    let show = |manifest: &Manifest| {
        manifest
            .iter()
            .map(|(path, (kind, mode, content))| {
                let digest = forerun_types::Digest::of(content).short();
                format!("{kind} {mode:o} {path} {} {digest}\n", content.len())
            })
            .collect::<String>()
    };
    panic!("{what}: found\n{}expected\n{}", show(found), show(expected));
}
