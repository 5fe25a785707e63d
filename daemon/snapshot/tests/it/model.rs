//! Random programs of file-system operations on a branch and on a plain directory give
//! the same results and the same trees, before and after the commit.

use crate::support::{Manifest, MemoryLog, Paths, Scratch, branch_manifest, manifest, settle};
use forerun_snapshot::{Branch, FsError, NodeKind, Snapshot, Timestamp};
use proptest::prelude::*;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(String),
    Write(String, u64, Vec<u8>),
    Append(String, Vec<u8>),
    SetLen(String, u64),
    Read(String),
    Mkdir(String),
    Symlink(String, String),
    ReadLink(String),
    Link(String, String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String),
    List(String),
    Touch(String, u32),
    SaveByRename(String, Vec<u8>),
    /// Freeze, and go on from the new snapshot.
    Freeze,
    /// Freeze, and commit everything that was frozen.
    Commit,
}

/// Few names, so that operations meet. `a`, `b/x`, … exist in the base.
fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c", "x"]);
    prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        1 => any::<u8>().prop_map(|byte| vec![byte; 70_000]),
    ]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let offset = prop_oneof![4 => 0..40u64, 1 => 65_000..140_000u64];
    prop_oneof![
        3 => path().prop_map(Op::Create),
        4 => (path(), offset.clone(), bytes()).prop_map(|(p, o, b)| Op::Write(p, o, b)),
        2 => (path(), bytes()).prop_map(|(p, b)| Op::Append(p, b)),
        2 => (path(), offset).prop_map(|(p, o)| Op::SetLen(p, o)),
        3 => path().prop_map(Op::Read),
        4 => path().prop_map(Op::Mkdir),
        2 => (path(), path()).prop_map(|(p, t)| Op::Symlink(p, t)),
        1 => path().prop_map(Op::ReadLink),
        2 => (path(), path()).prop_map(|(a, b)| Op::Link(a, b)),
        4 => path().prop_map(Op::Unlink),
        4 => path().prop_map(Op::Rmdir),
        8 => (path(), path()).prop_map(|(a, b)| Op::Rename(a, b)),
        2 => path().prop_map(Op::List),
        1 => (path(), any::<u32>()).prop_map(|(p, t)| Op::Touch(p, t)),
        2 => (path(), bytes()).prop_map(|(p, b)| Op::SaveByRename(p, b)),
        2 => Just(Op::Freeze),
        1 => Just(Op::Commit),
    ]
}

/// What an operation returns: bytes, or the kind of its error.
type Outcome = Result<Vec<u8>, String>;

pub(crate) fn on_branch(branch: &mut Branch, op: &Op) -> Outcome {
    let run = |branch: &mut Branch| -> Result<Vec<u8>, FsError> {
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
                let mut buf = vec![0; 300_000];
                let count = branch.read(file, 0, &mut buf)?;
                buf.truncate(count);
                return Ok(buf);
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
            Op::Rename(from, to) => branch.mv(from, to)?,
            Op::List(path) => {
                let dir = branch.resolve(path)?;
                let names = branch.list(dir)?.into_iter().map(|entry| entry.name);
                return Ok(names.collect::<Vec<_>>().join("\n").into_bytes());
            }
            Op::Touch(path, secs) => {
                let node = branch.resolve(path)?;
                let time = Timestamp {
                    secs: i64::from(*secs),
                    nanos: 5,
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
            Op::Freeze | Op::Commit => {}
        }
        Ok(Vec::new())
    };
    run(branch).map_err(|error| error.code().to_owned())
}

/// The same on a plain directory, links not followed: a path that leads through a link
/// is not found, and a link is neither read nor written. A new file that replaces one
/// inherits its mode; what is new is what is none of the base's files.
fn on_directory(root: &Path, of_base: &[File], op: &Op) -> Outcome {
    let run = || -> io::Result<Vec<u8>> {
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
            Op::Mkdir(path) => fs::create_dir(plain(root, path)?)?,
            Op::Symlink(path, target) => symlink(target, plain(root, path)?)?,
            Op::ReadLink(path) => {
                let target = fs::read_link(plain(root, path)?)?;
                return Ok(target.into_os_string().into_encoded_bytes());
            }
            Op::Link(from, to) => {
                let (from, to) = (plain(root, from)?, plain(root, to));
                fs::symlink_metadata(&from)?;
                fs::hard_link(from, to?)?;
            }
            Op::Unlink(path) => {
                let path = plain(root, path)?;
                if fs::symlink_metadata(&path)?.is_dir() {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                fs::remove_file(path)?;
            }
            Op::Rmdir(path) => fs::remove_dir(plain(root, path)?)?,
            Op::Rename(from, to) => {
                let (from, to) = (plain(root, from)?, plain(root, to)?);
                let old = fs::symlink_metadata(&to).ok().filter(fs::Metadata::is_file);
                let new = fs::symlink_metadata(&from)?;
                fs::rename(from, &to)?;
                let inode = |file: &File| file.metadata().expect("metadata").ino();
                if let Some(old) = old
                    && new.is_file()
                    && new.ino() != old.ino()
                    && of_base.iter().all(|file| inode(file) != new.ino())
                {
                    fs::set_permissions(to, old.permissions())?;
                }
            }
            Op::List(path) => {
                let path = plain(root, path)?;
                if !fs::symlink_metadata(&path)?.is_dir() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                let mut names = Vec::new();
                for entry in fs::read_dir(path)? {
                    names.push(entry?.file_name().into_string().expect("UTF-8"));
                }
                names.sort();
                return Ok(names.join("\n").into_bytes());
            }
            Op::Touch(path, secs) => {
                let path = plain(root, path)?;
                let metadata = fs::symlink_metadata(&path)?;
                let time = UNIX_EPOCH + Duration::new(u64::from(*secs), 5);
                let times = FileTimes::new().set_accessed(time).set_modified(time);
                if !metadata.is_symlink() {
                    File::open(path)?.set_times(times)?;
                }
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
            Op::Freeze | Op::Commit => {}
        }
        Ok(Vec::new())
    };
    run().map_err(|error| kind(&error).to_owned())
}

/// The path, if every directory on the way is one.
fn plain(root: &Path, path: &str) -> io::Result<std::path::PathBuf> {
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

/// Returns the files, open, so that their inodes are not given to others.
pub(crate) fn seed_tree(root: &Path) -> Vec<File> {
    fs::create_dir_all(root.join("b/c")).expect("creates");
    fs::create_dir_all(root.join("c/a/b")).expect("creates");
    fs::write(root.join("a"), "a of the base").expect("writes");
    fs::write(root.join("b/x"), "x of the base").expect("writes");
    fs::write(root.join("b/c/a"), vec![7; 70_000]).expect("writes");
    fs::write(root.join("c/a/x"), "").expect("writes");
    fs::set_permissions(root.join("b/x"), fs::Permissions::from_mode(0o755)).expect("chmods");
    symlink("b/x", root.join("x")).expect("links");
    let files = ["a", "b/x", "b/c/a", "c/a/x"];
    files
        .map(|file| File::open(root.join(file)).expect("opens"))
        .into()
}

/// Runs a program on both sides; the last commit takes everything over.
fn run(program: &[Op]) {
    let scratch = Scratch::new();
    let model = tempfile::tempdir().expect("a temporary directory");
    seed_tree(scratch.path());
    let of_base = seed_tree(model.path());
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let mut head: Snapshot = workspace.snapshot();
    let mut frozen = Vec::new();
    let mut branch = head.branch();
    for (index, op) in program.iter().enumerate() {
        let expected = on_directory(model.path(), &of_base, op);
        let found = on_branch(&mut branch, op);
        assert_eq!(found, expected, "operation {index}: {op:?}");
        if matches!(op, Op::Freeze | Op::Commit) {
            let (snapshot, delta) = branch.freeze().expect("freezes");
            let again = forerun_snapshot::Delta::from_bytes(&delta.to_bytes()).expect("reads");
            assert_eq!(again.digest(), delta.digest());
            assert_eq!(again.changes(), delta.changes());
            frozen.push(delta);
            head = snapshot;
            branch = head.branch();
        }
        if matches!(op, Op::Commit) {
            for delta in frozen.drain(..) {
                workspace.commit(&delta, &log).expect("commits");
            }
            compare(&manifest(scratch.path()), &manifest(model.path()), "base");
        }
    }
    compare(
        &branch_manifest(&mut branch),
        &manifest(model.path()),
        "branch",
    );
    let (snapshot, delta) = branch.freeze().expect("freezes");
    // The net of everything that is not committed, grafted onto the base, is the same.
    let net = snapshot.delta().expect("has a net");
    let grafted = workspace.snapshot().graft(&net).expect("grafts");
    compare(
        &branch_manifest(&mut grafted.branch()),
        &manifest(model.path()),
        "graft",
    );
    for delta in frozen.iter().chain([&delta]) {
        workspace.commit(delta, &log).expect("commits");
    }
    compare(
        &manifest(scratch.path()),
        &manifest(model.path()),
        "committed",
    );
    let mut after = snapshot.branch();
    compare(
        &branch_manifest(&mut after),
        &manifest(model.path()),
        "descendant",
    );
    assert!(snapshot.delta().expect("has a net").is_empty());
    assert_eq!(settle(&workspace, &log), []);
    assert!(scratch.leftovers().is_empty(), "{:?}", scratch.leftovers());
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

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150),
        failure_persistence: Some(Box::new(
            proptest::test_runner::FileFailurePersistence::WithSource("regressions"),
        )),
        max_shrink_iters: 3_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_branch_behaves_like_a_directory_and_so_does_its_commit(
        program in prop::collection::vec(op(), 1..60)
    ) {
        run(&program);
    }
}
