//! Whole paths: an answer is repeated only as long as it holds, whatever somebody does to
//! the directories above.

use crate::support::{MemoryLog, Paths, Scratch, tell};
use forerun_snapshot::{Branch, CommitError, FsError, Inode, Metadata};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

const PATH: &str = "a/b/c";

fn show(branch: &mut Branch, path: &str) -> Result<Metadata, FsError> {
    branch
        .metadata_at(Inode::ROOT, path)
        .map(|(_, metadata)| metadata)
}

/// A branch that was told of [`PATH`], and what.
fn told(scratch: &Scratch) -> (Branch, Metadata) {
    scratch.write(PATH, "content");
    let mut branch = scratch.open().snapshot().branch();
    let first = show(&mut branch, PATH).expect("is there");
    assert_eq!(show(&mut branch, PATH).expect("is there"), first);
    (branch, first)
}

fn is_missing<T>(result: Result<T, FsError>) -> bool {
    matches!(result, Err(FsError::NotFound | FsError::NotADirectory))
}

fn nobody_finds(branch: &mut Branch, path: &str) {
    assert!(is_missing(show(branch, path)));
    let located = branch.lookup_path(Inode::ROOT, path);
    assert!(is_missing(
        located.and_then(|located| { located.node.ok_or(FsError::NotFound) })
    ));
}

#[test]
fn a_path_is_its_names_one_after_another() {
    let scratch = Scratch::new();
    scratch.write("a/b/base", "x");
    symlink("b", scratch.path().join("a/link")).expect("links");
    let mut branch = scratch.open().snapshot().branch();
    branch.put("a/b/new", "xy").expect("writes");
    branch.mkdir("n").expect("makes");
    branch.put("n/new", "xyz").expect("writes");
    for path in ["a", "a/b", "a/b/base", "a/b/new", "a/link", "n", "n/new"] {
        for _ in 0..2 {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let directory = parent.split('/').filter(|name| !name.is_empty());
            let directory = directory.fold(Inode::ROOT, |dir, name| {
                branch.lookup(dir, name).expect("is there")
            });
            let node = branch.lookup(directory, name).expect("is there");
            let located = branch.lookup_path(Inode::ROOT, path).expect("is there");
            let metadata = branch.metadata(node).expect("is there");
            assert_eq!(located.directory, directory, "{path}");
            assert_eq!(located.node, Some((node, metadata.kind)), "{path}");
            let shown = branch.metadata_at(Inode::ROOT, path).expect("is there");
            assert_eq!(shown, (node, metadata), "{path}");
        }
    }
    let located = branch
        .lookup_path(Inode::ROOT, "a/b/none")
        .expect("a place");
    assert_eq!(located.node, None);
    for path in ["none/x", "a/.forerun/x"] {
        let error = branch.lookup_path(Inode::ROOT, path);
        assert!(matches!(error, Err(FsError::NotFound)), "{path}");
    }
    for path in ["a/b/base/x", "a/link/base", "n/new/x"] {
        let error = branch.lookup_path(Inode::ROOT, path);
        assert!(matches!(error, Err(FsError::NotADirectory)), "{path}");
    }
    for path in ["", "/a", "a/", "a//b", "a/../a", "./a", "n/..", "n/../a"] {
        let error = branch.lookup_path(Inode::ROOT, path);
        assert!(matches!(error, Err(FsError::InvalidName)), "{path:?}");
    }
}

#[test]
fn a_change_made_just_before_is_noticed() {
    let scratch = Scratch::new();
    let (mut branch, first) = told(&scratch);
    let path = scratch.path().join(PATH);
    fs::write(&path, "longer content").expect("writes");
    assert_eq!(show(&mut branch, PATH).expect("is there").size, 14);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("sets");
    assert_eq!(show(&mut branch, PATH).expect("is there").mode, 0o700);
    fs::hard_link(&path, scratch.path().join("other")).expect("links");
    assert_eq!(show(&mut branch, PATH).expect("is there").nlink, 2);
    scratch.write("new", "by rename");
    fs::rename(scratch.path().join("new"), &path).expect("renames");
    let now = show(&mut branch, PATH).expect("is there");
    assert_eq!((now.size, now.nlink, now.mode), (9, 1, first.mode));
    fs::remove_file(&path).expect("removes");
    nobody_finds(&mut branch, PATH);
    fs::create_dir(&path).expect("makes");
    assert_ne!(show(&mut branch, PATH).expect("is there").kind, first.kind);
    fs::rename(scratch.path().join("a"), scratch.path().join("z")).expect("renames");
    nobody_finds(&mut branch, PATH);
    show(&mut branch, "z/b/c").expect("is there");
}

#[test]
fn what_the_branch_changes_itself_it_sees() {
    let scratch = Scratch::new();
    let (mut branch, first) = told(&scratch);
    branch.put(PATH, "changed").expect("writes");
    assert_eq!(show(&mut branch, PATH).expect("is there").size, 7);
    branch.rm(PATH).expect("removes");
    nobody_finds(&mut branch, PATH);
    branch.revert();
    assert_eq!(show(&mut branch, PATH).expect("is there").size, first.size);
    branch.mv("a", "z").expect("renames");
    nobody_finds(&mut branch, PATH);
    assert_eq!(
        show(&mut branch, "z/b/c").expect("is there").size,
        first.size
    );
}

#[test]
fn a_commit_that_moves_what_was_told_of_is_followed() {
    let scratch = Scratch::new();
    let (mut reader, first) = told(&scratch);
    let workspace = scratch.open();
    let mut writer = workspace.snapshot().branch();
    writer.mv("a", "z").expect("renames");
    writer.symlink(Inode::ROOT, "a", "z").expect("links");
    let (_, delta) = writer.freeze().expect("freezes");
    let log = MemoryLog::default();
    workspace.commit(&delta, &log).expect("commits");
    nobody_finds(&mut reader, PATH);
    assert_eq!(show(&mut reader, "z/b/c").expect("is there"), first);
}

/// Puts a link to `target` where the directory `a` was, and the directory at `aside`.
fn swap(scratch: &Scratch, aside: &Path, target: &Path) {
    let a = scratch.path().join("a");
    fs::rename(&a, aside).expect("renames");
    symlink(target, &a).expect("links");
}

#[test]
fn a_link_to_elsewhere_in_place_of_a_directory_leads_nowhere() {
    let scratch = Scratch::new();
    let (mut branch, _) = told(&scratch);
    let outside = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(outside.path().join("b")).expect("makes");
    fs::write(outside.path().join("b/c"), "content").expect("writes");
    swap(&scratch, &scratch.path().join("aside"), outside.path());
    nobody_finds(&mut branch, PATH);
}

/// The one change that a glance can not see. It tells nothing that was not told before.
#[test]
fn a_link_to_the_very_directory_repeats_what_was_told_and_nothing_else() {
    let scratch = Scratch::new();
    scratch.write("a/b/other", "other");
    let (mut branch, first) = told(&scratch);
    let (dir, _) = branch.metadata_at(Inode::ROOT, "a/b").expect("is there");
    let file = branch.resolve(PATH).expect("is there");
    let moved = scratch.state.path().join("moved");
    swap(&scratch, &moved, &moved);
    // Nothing that is asked for the first time.
    assert!(is_missing(branch.metadata(file)));
    assert!(is_missing(branch.read(file, 0, &mut [0; 8])));
    assert!(is_missing(branch.list(dir)));
    nobody_finds(&mut branch, "a/b/other");
    nobody_finds(&mut branch, "a/b/none");
    // What was told: the same again, or nothing any more.
    let again = show(&mut branch, PATH);
    assert!(again.as_ref().is_ok_and(|again| *again == first) || is_missing(again));
    fs::write(moved.join("b/c"), "private").expect("writes");
    assert!(is_missing(show(&mut branch, PATH)));
    nobody_finds(&mut scratch.open().snapshot().branch(), PATH);

    branch.put("result", "made of it").expect("writes");
    let (_, delta) = branch.freeze().expect("freezes");
    let error = scratch.open().commit(&delta, &MemoryLog::default());
    assert!(matches!(error, Err(CommitError::Stale(_))));
}

#[test]
fn a_hidden_directory_in_place_of_another_stays_hidden() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.state.path().join("b")).expect("makes");
    fs::write(scratch.state.path().join("b/c"), "content").expect("writes");
    let (mut branch, _) = told(&scratch);
    let a = scratch.path().join("a");
    fs::rename(&a, scratch.path().join("aside")).expect("renames");
    if fs::rename(scratch.state.path(), &a).is_err() {
        tell("SKIPPED: the state is on another file system");
        return;
    }
    nobody_finds(&mut branch, PATH);
    fs::rename(&a, scratch.state.path()).expect("renames");
}

#[test]
fn an_inode_number_that_is_used_again_shows_what_it_is_used_for() {
    let scratch = Scratch::new();
    let (mut branch, _) = told(&scratch);
    let path = scratch.path().join(PATH);
    let ino = fs::metadata(&path).expect("is there").ino();
    fs::remove_file(&path).expect("removes");
    let is_reused = (0..100).any(|n| {
        let other = scratch.path().join(format!("a/b/{n}"));
        fs::write(&other, "another").expect("writes");
        fs::set_permissions(&other, fs::Permissions::from_mode(0o640)).expect("sets");
        let is_it = fs::metadata(&other).expect("is there").ino() == ino;
        if is_it {
            fs::rename(&other, &path).expect("renames");
        }
        is_it
    });
    if !is_reused {
        tell("SKIPPED: inode numbers are not used again here");
        return;
    }
    assert_eq!(show(&mut branch, PATH).expect("is there").mode, 0o640);
}

const CHILD: &str = "FORERUN_TEST_MOUNT";

#[test]
fn a_mount_over_a_directory_is_not_entered() {
    let name = "paths::a_mount_over_a_directory_is_not_entered";
    if std::env::var_os(CHILD).is_none() {
        let exe = std::env::current_exe().expect("is running");
        let child = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount"])
            .arg(exe)
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output();
        match child {
            Ok(output) if output.status.success() => {}
            Ok(output) if String::from_utf8_lossy(&output.stderr).starts_with("unshare") => {
                tell("SKIPPED: no user namespaces here");
            }
            Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => tell(&format!("SKIPPED: {error}")),
        }
        return;
    }
    let scratch = Scratch::new();
    scratch.write("other/c", "content");
    let (mut branch, _) = told(&scratch);
    let over = scratch.path().join("a/b");
    // Something else, and the very same directory.
    for from in [scratch.path().join("other"), over.clone()] {
        let mount = Command::new("mount")
            .arg("--bind")
            .args([&from, &over])
            .status();
        assert!(mount.expect("runs").success());
        assert!(show(&mut branch, PATH).is_err());
        assert!(branch.lookup_path(Inode::ROOT, PATH).is_err());
        let unmount = Command::new("umount").arg(&over).status();
        assert!(unmount.expect("runs").success());
        show(&mut branch, PATH).expect("is there");
    }
}

/// Far less than a daemon's threads have, and than what a tree of [`DEPTH`] would take by
/// recursion.
const STACK: usize = 256 << 10;
/// Directories in each other that one action can leave: `a/a/…` up to `PATH_MAX`.
const DEPTH_OF_ACTION: usize = 1_500;
const DEPTH: usize = 12_000;

/// Puts what is called `top` into `depth` new directories, from the inside out, so that
/// every single path is short.
fn bury(branch: &mut Branch, depth: usize) {
    for _ in 0..depth {
        branch.mkdir("above").expect("makes");
        branch.mv("top", "above/d").expect("moves");
        branch.mv("above", "top").expect("moves");
    }
}

fn on_a_small_stack(run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, run);
        thread.expect("starts").join().expect("does not panic");
    });
}

#[test]
fn what_lies_deeper_than_a_path_can_say_is_not_frozen() {
    let scratch = Scratch::new();
    scratch.write("top/file", "x");
    on_a_small_stack(|| {
        let workspace = scratch.open();
        let mut branch = workspace.snapshot().branch();
        bury(&mut branch, DEPTH);
        assert!(matches!(branch.freeze(), Err(FsError::NameTooLong)));
        let mut branch = workspace.snapshot().branch();
        assert_eq!(branch.get("top/file").expect("is there"), "x");
    });
}

#[test]
fn a_tree_that_gets_deeper_with_every_action_overflows_no_stack() {
    let scratch = Scratch::new();
    scratch.write("top/dir/file", "x");
    on_a_small_stack(|| {
        let workspace = scratch.open();
        let mut snapshot = workspace.snapshot();
        let mut branch = snapshot.branch();
        let (dir, file) = (
            branch.resolve("top/dir").expect("is there"),
            branch.resolve("top/dir/file").expect("is there"),
        );
        for _ in 0..DEPTH / DEPTH_OF_ACTION {
            bury(&mut branch, DEPTH_OF_ACTION);
            (snapshot, _) = branch.freeze().expect("every path is short enough");
            branch = snapshot.branch();
        }
        assert!(matches!(branch.path_of(file), Err(FsError::NameTooLong)));
        let mut bytes = [0; 2];
        assert_eq!(branch.read(file, 0, &mut bytes).expect("is there"), 1);
        assert_eq!(branch.list(dir).expect("is there").len(), 1);
        let (_, delta) = branch.freeze().expect("nothing was changed");
        assert!(delta.is_empty());
        let mut branch = snapshot.branch();
        branch.write(file, 0, b"y").expect("writes");
        assert!(matches!(branch.freeze(), Err(FsError::NameTooLong)));
    });
}
