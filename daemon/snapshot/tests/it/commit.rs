//! What a commit leaves behind, and what the snapshots that were there before it see.

use crate::mounts;
use crate::support::{MemoryLog, Paths, Scratch, branch_manifest, manifest, settle, tell};
use forerun_snapshot::{Inode, IntentState, OpenOptions, Recovery, Snapshot, Timestamp, Workspace};
use forerun_types::{ChangeKind, PathChange};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::Ordering;

fn change(path: &str, kind: ChangeKind) -> PathChange {
    PathChange {
        path: path.into(),
        kind,
    }
}

#[test]
fn a_commit_reports_what_it_changed_and_leaves_nothing_else() {
    let scratch = Scratch::new();
    scratch.write("keep", "1");
    scratch.write("edit", "before\n");
    scratch.write("gone/file", "2");
    scratch.write("old/deep/file", "3");
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let mut branch = workspace.snapshot().branch();
    branch.put("edit", "after\n").expect("writes");
    branch.rm_all("gone").expect("removes");
    branch.mv("old", "new").expect("renames");
    branch.mkdir("made").expect("makes");
    branch.put("made/file", "4").expect("writes");
    let (_, delta) = branch.freeze().expect("freezes");
    assert_eq!(
        scratch.read("edit"),
        "before\n",
        "nothing before the commit"
    );

    let commit = workspace.commit(&delta, &log).expect("commits");
    let from = "old".to_owned();
    let expected = [
        change("edit", ChangeKind::Modified),
        change("gone", ChangeKind::Deleted),
        change("gone/file", ChangeKind::Deleted),
        change("made", ChangeKind::Created),
        change("made/file", ChangeKind::Created),
        change("new", ChangeKind::Renamed { from }),
    ];
    assert_eq!(commit.changed, expected);
    assert_eq!(log.states(), [None]);
    assert_eq!(workspace.flush(&log).expect("flushes"), []);
    assert_eq!(log.states(), [Some(IntentState::Applied)]);
    let paths: Vec<_> = scratch.manifest().into_keys().collect();
    let left = [
        "edit",
        "keep",
        "made",
        "made/file",
        "new",
        "new/deep",
        "new/deep/file",
    ];
    assert_eq!(paths, left);
    assert_eq!(scratch.read("edit"), "after\n");
    assert_eq!(scratch.leftovers().len(), 1, "what undoes it");
    assert_eq!(settle(&workspace, &log), []);
    assert!(scratch.leftovers().is_empty());
    assert!(
        !scratch.path().join(".forerun").exists(),
        "slots are in the state directory"
    );
}

#[test]
fn slots_that_are_ready_may_go_away_and_do_not_outlive_the_workspace() {
    let scratch = Scratch::new();
    let (workspace, log) = (scratch.open(), MemoryLog::default());
    let slots = || {
        let state = scratch.state.path().join("slots");
        let of_workspace = fs::read_dir(state).expect("lists").next();
        let root = of_workspace.expect("there is one").expect("reads").path();
        fs::read_dir(root)
            .expect("lists")
            .flatten()
            .map(|entry| entry.path())
    };
    let commit = |text: &str| {
        let mut branch = workspace.snapshot().branch();
        branch.put("file", text).expect("writes");
        let (_, delta) = branch.freeze().expect("freezes");
        workspace.commit(&delta, &log).expect("commits");
        assert_eq!(scratch.read("file"), text);
    };
    commit("one");
    let ready: Vec<_> = slots()
        .filter(|slot| fs::remove_dir(slot).is_ok())
        .collect();
    assert!(!ready.is_empty(), "none was ready");
    commit("two");
    assert_eq!(settle(&workspace, &log), []);
    assert!(slots().count() > 0, "none is ready");
    drop(workspace);
    assert_eq!(slots().collect::<Vec<_>>(), [] as [std::path::PathBuf; 0]);
}

#[test]
fn slots_are_in_the_workspace_where_the_state_lies_on_another_file_system() {
    let Some(scratch) = Scratch::with_foreign_state() else {
        return;
    };
    scratch.write("file", "before");
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let mut branch = workspace.snapshot().branch();
    branch.put("file", "after").expect("writes");
    let (_, delta) = branch.freeze().expect("freezes");
    workspace.commit(&delta, &log).expect("commits");
    assert_eq!(scratch.read("file"), "after");
    assert!(scratch.path().join(".forerun/slots").exists());
    assert_eq!(
        scratch.read(".forerun/.gitignore"),
        "/slots\n/conflicts\n/id\n"
    );
    assert_eq!(settle(&workspace, &log), []);
    assert!(scratch.leftovers().is_empty());
    let names = workspace
        .snapshot()
        .branch()
        .list(Inode::ROOT)
        .expect("lists");
    assert_eq!(
        names.len(),
        1,
        "the daemon's directory is hidden: {names:?}"
    );
}

#[test]
fn saving_by_rename_keeps_a_script_executable() {
    let scratch = Scratch::new();
    scratch.write("run.sh", "#!/bin/sh\n");
    let mode = fs::Permissions::from_mode(0o751);
    fs::set_permissions(scratch.path().join("run.sh"), mode).expect("chmods");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    branch
        .put("run.sh.tmp", "#!/bin/sh\nexit 1\n")
        .expect("writes");
    branch.mv("run.sh.tmp", "run.sh").expect("renames");
    let (_, delta) = branch.freeze().expect("freezes");
    assert_eq!(delta.changed(), [change("run.sh", ChangeKind::Modified)]);
    workspace
        .commit(&delta, &MemoryLog::default())
        .expect("commits");
    let metadata = fs::metadata(scratch.path().join("run.sh")).expect("metadata");
    assert_eq!(metadata.mode() & 0o7777, 0o751);
}

#[test]
fn three_ways_of_saving_make_the_same_changes() {
    let scratch = Scratch::new();
    scratch.write("file", "before");
    let snapshot = scratch.open().snapshot();
    let changes = |save: &dyn Fn(&mut forerun_snapshot::Branch)| {
        let mut branch = snapshot.branch();
        save(&mut branch);
        branch.freeze().expect("freezes").1.changes()
    };
    let in_place = changes(&|branch| branch.put("file", "after").expect("writes"));
    let by_rename = changes(&|branch| {
        branch.put("tmp", "after").expect("writes");
        branch.mv("tmp", "file").expect("renames");
    });
    let anew = changes(&|branch| {
        branch.rm("file").expect("removes");
        branch.put("file", "after").expect("writes");
    });
    let other = changes(&|branch| branch.put("file", "other").expect("writes"));
    assert_eq!(in_place, by_rename);
    assert_eq!(in_place, anew);
    assert_ne!(in_place, other);
}

#[test]
fn writing_what_is_there_already_is_no_change() {
    let scratch = Scratch::new();
    scratch.write("file", "same");
    scratch.write("dir/file", "same");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    branch.put("file", "same").expect("writes");
    branch.rm_all("dir").expect("removes");
    branch.mkdir("dir").expect("makes");
    branch.put("dir/file", "same").expect("writes");
    branch.put("temporary", "x").expect("writes");
    branch.rm("temporary").expect("removes");
    branch.mv("file", "moved").expect("renames");
    branch.mv("moved", "file").expect("renames");
    let (_, delta) = branch.freeze().expect("freezes");
    assert!(delta.is_empty(), "{delta:?}");
}

#[test]
fn files_of_one_node_are_hard_links_after_the_commit() {
    let scratch = Scratch::new();
    scratch.write("old", "content");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    let old = branch.resolve("old").expect("is there");
    branch.mkdir("dir").expect("makes");
    let dir = branch.resolve("dir").expect("is there");
    branch.link(old, dir, "new").expect("links");
    let (_, delta) = branch.freeze().expect("freezes");
    workspace
        .commit(&delta, &MemoryLog::default())
        .expect("commits");
    let inode = |path: &str| {
        fs::metadata(scratch.path().join(path))
            .expect("is there")
            .ino()
    };
    assert_eq!(inode("old"), inode("dir/new"));
    assert_eq!(scratch.read("dir/new"), "content");
}

#[test]
fn explicit_times_are_kept_and_others_are_those_of_the_commit() {
    let scratch = Scratch::new();
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    branch.set_now(Timestamp { secs: 1, nanos: 0 });
    for path in ["dir", "dir/below"] {
        branch.mkdir(path).expect("makes");
    }
    for path in ["dir/set", "dir/unset"] {
        branch.put(path, "x").expect("writes");
    }
    let time = Some(Timestamp { secs: 77, nanos: 5 });
    for path in ["dir/set", "dir"] {
        let node = branch.resolve(path).expect("is there");
        branch.set_times(node, time, time).expect("sets");
    }
    let (_, delta) = branch.freeze().expect("freezes");
    workspace
        .commit(&delta, &MemoryLog::default())
        .expect("commits");
    let metadata = |path: &str| fs::metadata(scratch.path().join(path)).expect("is there");
    for path in ["dir", "dir/set"] {
        assert_eq!(
            (metadata(path).mtime(), metadata(path).mtime_nsec()),
            (77, 5),
            "{path}"
        );
    }
    assert!(metadata("dir/unset").mtime() > 1_000_000);
}

#[test]
fn two_live_descendants_see_the_same_tree_before_and_after_a_commit_moves_it() {
    let scratch = Scratch::new();
    scratch.write("src/deep/a", "a");
    scratch.write("src/b", "b");
    scratch.write("other", "o");
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let mut branch = workspace.snapshot().branch();
    branch.mv("src", "lib").expect("renames");
    branch.rm("other").expect("removes");
    branch.put("made", "m").expect("writes");
    let (first, first_delta) = branch.freeze().expect("freezes");

    let mut second = first.branch();
    second.mv("lib/deep", "deep").expect("renames");
    second.put("deep/new", "n").expect("writes");
    second.rm("made").expect("removes");
    let (second, second_delta) = second.freeze().expect("freezes");
    let mut third = first.branch();
    third.put("lib/b", "changed").expect("writes");
    let open = third.resolve("lib/deep/a").expect("is there");

    let tree = |snapshot: &Snapshot| branch_manifest(&mut snapshot.branch());
    let before = (tree(&first), tree(&second), branch_manifest(&mut third));
    workspace.commit(&first_delta, &log).expect("commits");
    let after = (tree(&first), tree(&second), branch_manifest(&mut third));
    assert_eq!(before, after);
    let mut byte = [0];
    third
        .read(open, 0, &mut byte)
        .expect("reads an open file of a moved directory");
    assert_eq!(&byte, b"a");
    assert_eq!(manifest(scratch.path()), before.0);

    workspace.commit(&second_delta, &log).expect("commits");
    assert_eq!(manifest(scratch.path()), before.1);
    assert_eq!(tree(&second), before.1);
    assert!(second.delta().expect("has a net").is_empty());
}

#[test]
fn a_squashed_branch_leaves_the_base_as_it_was() {
    let scratch = Scratch::new();
    scratch.write("dir/file", "x");
    let before = scratch.manifest();
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    branch.rm_all("dir").expect("removes");
    branch.put("new", "y").expect("writes");
    let (snapshot, delta) = branch.freeze().expect("freezes");
    drop((snapshot, delta));
    let mut dropped = workspace.snapshot().branch();
    dropped.put("new", "y").expect("writes");
    drop(dropped);
    assert_eq!(scratch.manifest(), before);
    assert!(scratch.leftovers().is_empty());
}

#[test]
fn a_commit_whose_mark_fails_is_marked_with_the_next_ones() {
    let scratch = Scratch::new();
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let put = |path: &str| {
        let mut branch = workspace.snapshot().branch();
        branch.put(path, "x").expect("writes");
        branch.freeze().expect("freezes").1
    };
    log.fail_marks.store(true, Ordering::SeqCst);
    workspace.commit(&put("one"), &log).expect("is applied");
    let error = workspace.flush(&log).expect_err("the log fails");
    assert_eq!(error.code(), "commit_log");
    assert_eq!(log.states(), [None]);
    workspace.commit(&put("two"), &log).expect("goes on");
    log.fail_marks.store(false, Ordering::SeqCst);
    workspace.flush(&log).expect("flushes");
    assert_eq!(log.states(), [Some(IntentState::Applied); 2]);
    assert_eq!(settle(&workspace, &log), []);
    assert!(scratch.leftovers().is_empty());
}

#[test]
fn a_grafted_delta_continues_on_another_snapshot_and_says_when_it_is_stale() {
    let scratch = Scratch::new();
    scratch.write("a", "1\n");
    scratch.write("dir/b", "2\n");
    let delta = {
        let workspace = scratch.open();
        let mut branch = workspace.snapshot().branch();
        branch.put("a", "one\n").expect("writes");
        branch.mv("dir", "moved").expect("renames");
        let (_, delta) = branch.freeze().expect("freezes");
        delta.to_bytes().expect("reads")
    };
    // As after a restart.
    let delta = forerun_snapshot::Delta::from_bytes(&delta).expect("reads");
    let workspace = scratch.open();
    let grafted = workspace.snapshot().graft(&delta).expect("fits");
    let mut branch = grafted.branch();
    assert_eq!(branch.get("a").expect("reads"), "one\n");
    assert_eq!(branch.get("moved/b").expect("reads"), "2\n");
    let net = grafted.delta().expect("has a net");
    assert_eq!(net.changes(), delta.changes());
    let unified = &grafted.diff().expect("has a diff")[0].unified;
    assert!(unified.contains("-1\n+one\n"), "{unified}");

    scratch.write("a", "somebody else's\n");
    let error = workspace
        .snapshot()
        .graft(&delta)
        .map(drop)
        .expect_err("is stale");
    assert_eq!(error.to_string(), "a is not what the delta was made from");
}

#[test]
fn a_diff_shows_text_modes_names_and_what_is_binary() {
    let scratch = Scratch::new();
    scratch.write("text", "one\ntwo\nthree\n");
    scratch.write("gone", "bye\n");
    scratch.write("from", "same\n");
    let mut branch = scratch.open().snapshot().branch();
    branch.put("text", "one\n2\nthree\n").expect("writes");
    branch.put("binary", "a\0b").expect("writes");
    branch.rm("gone").expect("removes");
    branch.mv("from", "to").expect("renames");
    let (_, delta) = branch.freeze().expect("freezes");
    let diff = delta.diff();
    let by_path = |path: &str| {
        let found = diff.iter().find(|file| file.change.path == path);
        found.expect("is listed").clone()
    };
    let text = "diff --git a/text b/text\n--- a/text\n+++ b/text\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n";
    assert_eq!(by_path("text").unified, text);
    assert!(by_path("binary").binary);
    assert!(by_path("gone").unified.ends_with("-bye\n"));
    let renamed = "diff --git a/from b/to\nrename from from\nrename to to\n";
    assert_eq!(by_path("to").unified, renamed);
}

#[test]
fn a_stored_delta_says_that_it_does_not_know_what_was_before() {
    let scratch = Scratch::new();
    scratch.write("text", "one\n");
    let mut branch = scratch.open().snapshot().branch();
    branch.put("text", "two\n").expect("writes");
    let (_, delta) = branch.freeze().expect("freezes");
    let bytes = delta.to_bytes().expect("reads");
    let read = forerun_snapshot::Delta::from_bytes(&bytes).expect("reads");
    let unified = &read.diff()[0].unified;
    assert!(
        unified.ends_with("Files a/text and b/text differ\n"),
        "{unified}"
    );
}

#[test]
fn a_copy_that_takes_the_workspaces_path_gets_no_commits_of_the_original() {
    let scratch = Scratch::new();
    scratch.write("gone", "the same in both");
    scratch.write("edit", "before");
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let mut branch = workspace.snapshot().branch();
    branch.rm("gone").expect("removes");
    branch.put("edit", "after").expect("writes");
    let (_, delta) = branch.freeze().expect("freezes");
    let commit = workspace.commit(&delta, &log).expect("commits").id;
    drop(workspace);

    let away = tempfile::tempdir().expect("a temporary directory");
    let original = away.path().join("original");
    fs::rename(scratch.path(), &original).expect("moves");
    fs::create_dir(scratch.path()).expect("makes");
    scratch.write("gone", "the same in both");
    scratch.write("edit", "before");
    let workspace = scratch.open();
    let recovery = workspace.recover(&log).expect("recovers");
    assert_eq!(recovery, Recovery::default());
    assert_eq!(scratch.read("gone"), "the same in both");
    assert_eq!(log.states(), [None], "the original may come back");
    drop(workspace);

    fs::remove_dir_all(scratch.path()).expect("removes");
    fs::rename(&original, scratch.path()).expect("moves back");
    let workspace = scratch.open();
    let recovery = workspace.recover(&log).expect("recovers");
    assert_eq!(recovery.applied, [commit]);
    assert_eq!(scratch.read("edit"), "after");
    assert_eq!(settle(&workspace, &log), []);
    assert_eq!(scratch.leftovers(), [] as [std::path::PathBuf; 0]);
}

#[test]
fn a_file_with_names_beyond_the_commit_is_shared() {
    let scratch = Scratch::new();
    let store = tempfile::tempdir().expect("a temporary directory");
    scratch.write("own", "1");
    scratch.write("inside-1", "2");
    fs::write(store.path().join("package"), "3").expect("writes");
    let link = |from: &std::path::Path, to: &str| {
        fs::hard_link(from, scratch.path().join(to)).expect("links");
    };
    link(&scratch.path().join("inside-1"), "inside-2");
    link(&store.path().join("package"), "outside");
    let workspace = scratch.open();
    let shared = |paths: &[&str]| {
        let mut branch = workspace.snapshot().branch();
        for path in paths {
            branch.put(path, "new").expect("writes");
        }
        let (_, delta) = branch.freeze().expect("freezes");
        workspace.shared(&delta).expect("looks")
    };
    assert_eq!(shared(&["own", "new"]), [] as [&str; 0]);
    assert_eq!(shared(&["inside-1"]), ["inside-1"]);
    assert_eq!(shared(&["inside-1", "inside-2"]), [] as [&str; 0]);
    assert_eq!(shared(&["outside", "own"]), ["outside"]);
    assert_eq!(fs::read(store.path().join("package")).expect("reads"), b"3");
}

#[test]
fn a_directory_that_an_overlay_can_not_move_is_moved_all_the_same() {
    let fill = |lower: &std::path::Path| {
        fs::create_dir_all(lower.join("work/dir/deep")).expect("makes");
        fs::write(lower.join("work/dir/file"), "lower").expect("writes");
        fs::write(lower.join("work/dir/deep/file"), "lower").expect("writes");
    };
    let mounted = match mounts::Mounted::over("overlay", fill) {
        Ok(mounted) => mounted,
        Err(reason) => return tell(&format!("SKIPPED: no overlay can be mounted: {reason}")),
    };
    let root = mounted.path().join("work");
    let refused = fs::rename(root.join("dir"), root.join("new")).expect_err("is in a lower layer");
    assert_eq!(refused.kind(), std::io::ErrorKind::CrossesDevices);
    let state = tempfile::tempdir_in(mounted.path()).expect("a temporary directory");
    let options = OpenOptions {
        state_dir: state.path().to_owned(),
        masks: Vec::new(),
    };
    let workspace = Workspace::open(&root, &options).expect("opens");
    let log = MemoryLog::default();
    let mut branch = workspace.snapshot().branch();
    branch.mv("dir", "new").expect("renames");
    branch.put("new/deep/file", "changed").expect("writes");
    let (snapshot, delta) = branch.freeze().expect("freezes");
    let mut above = snapshot.branch();
    let file = above.resolve("new/file").expect("is there");
    let before = manifest(&root);
    let commit = workspace.commit(&delta, &log).expect("commits");
    let after = branch_manifest(&mut snapshot.branch());
    assert_eq!(manifest(&root), after);
    assert_eq!(after["new/deep/file"].2, b"changed");
    // Who was at work above it finds everything where it was.
    assert_eq!(above.resolve("new/file").expect("is there"), file);
    assert_eq!(above.get("new/file").expect("reads"), "lower");
    let undo = workspace.undo(commit.id, false, &log).expect("undoes");
    assert_eq!(undo.left, []);
    assert_eq!(manifest(&root), before);
}
