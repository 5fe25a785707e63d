//! Who may open a workspace, and what a tool can not see or reach.

use crate::support::{MemoryLog, Paths, Scratch};
use forerun_snapshot::{FsError, Inode, OpenError, OpenOptions, Quota, Workspace};
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

fn code(result: Result<Workspace, OpenError>) -> &'static str {
    let error = result.map(drop).expect_err("is refused");
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()));
    error.code()
}

#[test]
fn what_is_no_workspace_is_refused_by_name() {
    let scratch = Scratch::new();
    scratch.write("file", "x");
    let open = |path: &str| Workspace::open(&scratch.path().join(path), &scratch.options());
    assert_eq!(code(open("missing")), "workspace_not_found");
    assert_eq!(code(open("file")), "workspace_not_a_directory");
    assert_eq!(code(open("file/below")), "workspace_not_a_directory");
    let inside = scratch.state.path().join("inside");
    fs::create_dir(&inside).expect("makes");
    for path in [scratch.state.path(), &inside] {
        assert_eq!(
            code(Workspace::open(path, &scratch.options())),
            "workspace_inside_state"
        );
    }
    symlink(&inside, scratch.path().join("link")).expect("links");
    assert_eq!(code(open("link")), "workspace_inside_state");
}

const CHILD: &str = "FORERUN_TEST_OPEN";

#[test]
fn a_second_process_is_refused_while_the_first_has_it_open() {
    if let Some(path) = std::env::var_os(CHILD) {
        let mut paths = std::env::split_paths(&path);
        let (workspace, state_dir) = (paths.next().expect("two"), paths.next().expect("two"));
        let options = OpenOptions {
            state_dir,
            masks: Vec::new(),
        };
        let code = match Workspace::open(&workspace, &options) {
            Ok(_) => 0,
            Err(OpenError::Locked(_)) => 17,
            Err(_) => 1,
        };
        std::process::exit(code);
    }
    let scratch = Scratch::new();
    let other_state = tempfile::tempdir().expect("a temporary directory");
    let child = || {
        let paths = std::env::join_paths([scratch.path(), other_state.path()]).expect("joins");
        let name = "isolation::a_second_process_is_refused_while_the_first_has_it_open";
        Command::new(std::env::current_exe().expect("is running"))
            .args(["--exact", name])
            .env(CHILD, paths)
            .output()
            .expect("runs")
            .status
            .code()
    };
    let first = scratch.open();
    let snapshot = first.snapshot();
    assert_eq!(child(), Some(17));
    drop(first);
    assert_eq!(child(), Some(17), "a snapshot keeps it open");
    drop(snapshot);
    assert_eq!(child(), Some(0));
}

#[test]
fn openings_in_one_process_are_one_workspace() {
    let scratch = Scratch::new();
    scratch.write("a", "a");
    let link = scratch.state.path().join("link");
    symlink(scratch.path(), &link).expect("links");
    let one = scratch.open();
    let two = Workspace::open(&link, &scratch.options()).expect("is shared");
    assert_eq!(one.path(), two.path());
    let (node_one, node_two) = (
        one.snapshot().branch().resolve("a").expect("is there"),
        two.snapshot().branch().resolve("a").expect("is there"),
    );
    assert_eq!(node_one, node_two);
}

#[test]
fn a_workspace_can_be_opened_again_and_again_from_many_threads() {
    let scratch = Scratch::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    drop(scratch.open());
                }
            });
        }
    });
}

#[test]
fn the_daemons_directories_are_hidden_at_any_depth_and_in_any_case() {
    let scratch = Scratch::new();
    for path in [
        ".forerun/policy",
        "a/.ForeRun/x",
        "a/b",
        "state/secret",
        "deep/mask/secret",
    ] {
        scratch.write(path, "secret");
    }
    let options = OpenOptions {
        state_dir: scratch.path().join("state"),
        masks: vec![
            scratch.path().join("deep/mask"),
            scratch.path().join("missing"),
        ],
    };
    let workspace = Workspace::open(scratch.path(), &options).expect("can be masked");
    let mut branch = workspace.snapshot().branch();
    for hidden in [
        ".forerun",
        "a/.ForeRun",
        "a/.ForeRun/x",
        "state",
        "state/secret",
        "deep/mask",
    ] {
        assert!(
            matches!(branch.resolve(hidden), Err(FsError::NotFound)),
            "{hidden}"
        );
    }
    let names = |branch: &mut forerun_snapshot::Branch, path: &str| {
        let node = branch.resolve(path).expect("is there");
        let entries = branch.list(node).expect("lists");
        entries
            .into_iter()
            .map(|entry| entry.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&mut branch, ""), ["a", "deep"]);
    assert_eq!(names(&mut branch, "a"), ["b"]);
    for reserved in [".FORERUN", "a/.forerun", "state", "deep/mask"] {
        assert!(
            matches!(branch.put(reserved, "x"), Err(FsError::NotPermitted)),
            "{reserved}"
        );
        assert!(
            matches!(branch.mkdir(reserved), Err(FsError::NotPermitted)),
            "{reserved}"
        );
        assert!(
            matches!(branch.mv("a/b", reserved), Err(FsError::NotPermitted)),
            "{reserved}"
        );
    }
    assert!(matches!(
        branch.mv("deep", "elsewhere"),
        Err(FsError::NotPermitted)
    ));
    assert!(matches!(branch.rm_all("deep"), Err(FsError::NotEmpty)));
}

#[test]
fn special_files_and_names_that_are_not_utf8_are_invisible_and_in_the_way() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    scratch.write("dir/visible", "x");
    let status = Command::new("mkfifo")
        .arg(scratch.path().join("dir/fifo"))
        .status();
    assert!(status.expect("runs").success());
    let name = OsStr::from_bytes(b"dir/\xff");
    fs::write(scratch.path().join(name), "x").expect("writes");
    let mut branch = scratch.open().snapshot().branch();
    let dir = branch.resolve("dir").expect("is there");
    assert_eq!(branch.list(dir).expect("lists").len(), 1);
    assert!(matches!(branch.resolve("dir/fifo"), Err(FsError::NotFound)));
    assert!(matches!(
        branch.put("dir/fifo", "x"),
        Err(FsError::NotPermitted)
    ));
    branch.rm("dir/visible").expect("removes");
    assert!(matches!(
        branch.rmdir(Inode::ROOT, "dir"),
        Err(FsError::NotEmpty)
    ));
}

#[test]
fn a_link_is_never_followed() {
    let outside = tempfile::tempdir().expect("a temporary directory");
    fs::write(outside.path().join("secret"), "secret").expect("writes");
    let scratch = Scratch::new();
    symlink(outside.path(), scratch.path().join("out")).expect("links");
    symlink("/etc/passwd", scratch.path().join("file")).expect("links");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    let link = branch.resolve("out").expect("the link itself");
    assert!(matches!(
        branch.lookup(link, "secret"),
        Err(FsError::NotADirectory)
    ));
    assert!(matches!(branch.get("file"), Err(FsError::InvalidArgument)));
    // A directory that was looked up, and is a link by now.
    scratch.write("dir/secret", "mine");
    let dir = branch.resolve("dir").expect("is there");
    let file = branch.resolve("dir/secret").expect("is there");
    fs::remove_dir_all(scratch.path().join("dir")).expect("removes");
    symlink(outside.path(), scratch.path().join("dir")).expect("links");
    assert!(branch.lookup(dir, "secret").is_err());
    assert!(branch.read(file, 0, &mut [0; 8]).is_err());
    assert!(branch.write(file, 0, b"x").is_err());
    for name in ["..", ".", "", "a/b", "a\0b"] {
        assert!(
            matches!(branch.lookup(Inode::ROOT, name), Err(FsError::InvalidName)),
            "{name:?}"
        );
        let made = branch.create_file(Inode::ROOT, name);
        assert!(matches!(made, Err(FsError::InvalidName)), "{name:?}");
    }
}

#[test]
fn the_quota_counts_unverified_changes_along_the_path_and_frees_what_is_undone() {
    let scratch = Scratch::new();
    scratch.write("big", &"x".repeat(600));
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let quota = Quota {
        bytes: 1_000,
        nodes: 10,
    };
    let mut branch = workspace.snapshot().branch_with(quota);
    assert!(matches!(
        branch.put("a", &"y".repeat(1_001)),
        Err(FsError::Quota)
    ));
    branch.put("a", &"y".repeat(500)).expect("fits");
    let big = branch.resolve("big").expect("is there");
    assert!(
        matches!(branch.write(big, 0, b"z"), Err(FsError::Quota)),
        "the copy counts"
    );
    assert!(
        matches!(branch.set_len(big, 1 << 40), Err(FsError::Quota)),
        "and a hole"
    );
    branch.rm("a").expect("removes");
    branch.write(big, 0, b"z").expect("fits again");
    for _ in 0..50 {
        branch.put("temporary", "t").expect("fits");
        branch.rm("temporary").expect("removes");
    }
    let (snapshot, delta) = branch.freeze().expect("freezes");
    let mut child = snapshot.branch_with(quota);
    assert!(
        matches!(child.put("b", &"y".repeat(500)), Err(FsError::Quota)),
        "inherited"
    );
    workspace.commit(&delta, &log).expect("commits");
    child
        .put("b", &"y".repeat(500))
        .expect("what is verified is free");
    let many = (0..20).find_map(|n| child.mkdir(&format!("d{n}")).err());
    assert!(matches!(many, Some(FsError::Quota)));
}

#[test]
fn an_unlinked_file_that_is_held_stays_usable_and_leaves_nothing() {
    let scratch = Scratch::new();
    scratch.write("file", "content");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    let file = branch.resolve("file").expect("is there");
    branch.hold(file);
    branch.rm("file").expect("removes");
    let mut buf = [0; 7];
    assert_eq!(branch.read(file, 0, &mut buf).expect("reads"), 7);
    branch.write(file, 0, b"C").expect("writes");
    assert_eq!(branch.metadata(file).expect("metadata").nlink, 0);
    assert_eq!(branch.path_of(file).ok(), None);
    branch.put("file", "another").expect("writes");
    branch.release(file);
    assert!(branch.metadata(file).is_err() || branch.path_of(file).is_err());
    let (_, delta) = branch.freeze().expect("freezes");
    workspace
        .commit(&delta, &MemoryLog::default())
        .expect("commits");
    assert_eq!(scratch.read("file"), "another");
}

#[test]
fn branches_and_snapshots_can_change_threads() {
    fn send<T: Send>() {}
    fn sync<T: Send + Sync>() {}
    send::<forerun_snapshot::Branch>();
    sync::<forerun_snapshot::Snapshot>();
    sync::<forerun_snapshot::Delta>();
    sync::<Workspace>();
}
