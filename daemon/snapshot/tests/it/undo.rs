//! Undo, redo and expiry: what the crash suite does not show of them.

use crate::ops::compare;
use crate::support::{Manifest, MemoryLog, Paths, Scratch, settle};
use forerun_snapshot::{
    Branch, CommitError, FsError, IntentState, Retention, Timestamp, Workspace,
};
use forerun_types::CommitId;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

struct Start {
    scratch: Scratch,
    log: MemoryLog,
    workspace: Workspace,
    before: Manifest,
}

fn start() -> Start {
    let scratch = Scratch::in_memory();
    for path in ["a", "b", "dir/a", "dir/b", "tree/x/y"] {
        scratch.write(path, &format!("{path} of the base"));
    }
    let mode = |path: &str, mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(scratch.path().join(path), permissions).expect("chmods");
    };
    mode("a", 0o640);
    mode("tree/x", 0o700);
    mode("tree/x/y", 0o755);
    Start {
        before: scratch.manifest(),
        workspace: scratch.open(),
        log: MemoryLog::default(),
        scratch,
    }
}

impl Start {
    fn commit(&self, change: impl FnOnce(&mut Branch) -> Result<(), FsError>) -> CommitId {
        let mut branch = self.workspace.snapshot().branch();
        change(&mut branch).expect("changes");
        let (_, delta) = branch.freeze().expect("freezes");
        let commit = self.workspace.commit(&delta, &self.log);
        commit.expect("commits").id
    }

    /// Undoes, and returns the paths that were left alone.
    fn undo(&self, commit: CommitId, force: bool) -> Vec<String> {
        let undo = self.workspace.undo(commit, force, &self.log);
        let undo = undo.expect("undoes");
        undo.left.into_iter().map(|left| left.path).collect()
    }

    /// Opens the workspace anew, with nothing flushed: all commits are recovered.
    fn crash_and_recover(self, commits: usize, expected: &Manifest) -> Start {
        assert_eq!(self.log.states(), vec![None; commits]);
        drop(self.workspace);
        let workspace = self.scratch.open();
        let recovery = workspace.recover(&self.log).expect("recovers");
        assert_eq!(recovery.applied.len(), commits, "{recovery:?}");
        compare(&self.scratch.manifest(), expected, "recovered");
        Start { workspace, ..self }
    }

    fn state(&self, commit: CommitId) -> Option<IntentState> {
        self.log.states()[commit.0 as usize - 1]
    }
}

#[test]
fn modes_of_files_and_directories_come_back() {
    let start = start();
    let commit = start.commit(|branch| {
        branch.put("a", "new")?;
        branch.rm_all("tree")
    });
    assert_eq!(start.undo(commit, false), [] as [&str; 0]);
    compare(&start.scratch.manifest(), &start.before, "undone");
}

#[test]
fn a_chain_of_commits_is_undone_newest_first() {
    let start = start();
    let mut trees = vec![start.before.clone()];
    let mut commits = Vec::new();
    for round in 0..4 {
        commits.push(start.commit(|branch| {
            branch.put("a", &format!("round {round}"))?;
            match round {
                0 => branch.mv("dir", "moved"),
                1 => branch.put("moved/a", "edited"),
                2 => branch.mv("moved/b", "b"),
                _ => branch.rm_all("moved"),
            }
        }));
        trees.push(start.scratch.manifest());
    }
    trees.pop();
    for (commit, expected) in commits.into_iter().zip(trees).rev() {
        assert_eq!(start.undo(commit, false), [] as [&str; 0]);
        compare(&start.scratch.manifest(), &expected, &commit.to_string());
    }
}

#[test]
fn a_directory_that_an_undo_made_again_is_taken_away_by_the_next_one() {
    let start = start();
    let made = start.commit(|branch| {
        branch.mkdir("new")?;
        branch.mkdir("new/empty")?;
        branch.put("new/file", "new")
    });
    let removed = start.commit(|branch| branch.rm_all("new"));
    assert_eq!(start.undo(removed, false), [] as [&str; 0]);
    // What somebody puts there stays, and the directory with it.
    start.scratch.write("new/empty/mine", "by a person");
    assert_eq!(start.undo(made, false), ["new", "new/empty"]);
    assert_eq!(start.scratch.read("new/empty/mine"), "by a person");
    fs::remove_file(start.scratch.path().join("new/empty/mine")).expect("removes");
    assert_eq!(start.undo(made, false), [] as [&str; 0]);
    compare(&start.scratch.manifest(), &start.before, "undone");
}

#[test]
fn what_somebody_changed_since_stays_and_the_rest_is_undone() {
    let start = start();
    let commit = start.commit(|branch| {
        branch.put("a", "by the agent")?;
        branch.put("b", "by the agent")?;
        branch.put("new/one", "1").or_else(|_| {
            branch.mkdir("new")?;
            branch.put("new/one", "1")
        })?;
        branch.rm("dir/a")?;
        branch.mv("tree/x", "dir/x")
    });
    start.scratch.write("a", "by a person");
    start.scratch.write("new/mine", "by a person");
    start.scratch.write("dir/a", "by a person");
    start
        .scratch
        .write("dir/x/y", "by a person, where it was moved to");
    assert_eq!(start.undo(commit, false), ["a", "dir/a", "new"]);
    let read = |path: &str| start.scratch.read(path);
    assert_eq!(read("a"), "by a person");
    assert_eq!(read("b"), "b of the base");
    assert_eq!(read("new/mine"), "by a person");
    assert!(!start.scratch.path().join("new/one").exists());
    assert_eq!(read("dir/a"), "by a person");
    assert_eq!(read("tree/x/y"), "by a person, where it was moved to");
    start.workspace.flush(&start.log).expect("flushes");
    assert_eq!(
        start.state(commit),
        Some(IntentState::Applied),
        "in part only"
    );

    let undo = start
        .workspace
        .undo(commit, true, &start.log)
        .expect("undoes");
    let forced = undo.commit.expect("something was left").id;
    assert_eq!(read("a"), "a of the base");
    assert_eq!(read("dir/a"), "dir/a of the base");
    assert_eq!(read("new/mine"), "by a person");
    assert_eq!(start.undo(forced, false), [] as [&str; 0]);
    assert_eq!(read("a"), "by a person", "a redo brings it back");
    assert_eq!(read("dir/a"), "by a person");
}

#[test]
fn a_commit_that_was_undone_reverted_or_expired_can_not_be_undone() {
    let start = start();
    let commit = start.commit(|branch| branch.put("a", "new"));
    let undo = start
        .workspace
        .undo(commit, false, &start.log)
        .expect("undoes");
    let undo = undo.commit.expect("undone").id;
    start.workspace.flush(&start.log).expect("flushes");
    let refused = |commit| {
        let error = start
            .workspace
            .undo(commit, false, &start.log)
            .expect_err("refused");
        assert_eq!(error.code(), "not_undoable");
        error.to_string()
    };
    assert!(refused(commit).contains("undone before"));
    assert_eq!(settle(&start.workspace, &start.log), []);
    assert!(refused(undo).contains("not kept"));
    assert!(start.scratch.leftovers().is_empty());
    let unknown = start.workspace.undo(CommitId(9), false, &start.log);
    assert!(matches!(unknown, Err(CommitError::Log(_))));
}

#[test]
fn without_its_copies_a_commit_is_left_alone() {
    let start = start();
    let commit = start.commit(|branch| branch.put("a", "new").and(branch.rm("b")));
    start.workspace.flush(&start.log).expect("flushes");
    for slots in start.scratch.leftovers() {
        for copy in fs::read_dir(slots).expect("lists").flatten() {
            if copy.file_name() != "intent" {
                fs::write(copy.path(), "tampered with").expect("writes");
            }
        }
    }
    assert_eq!(start.undo(commit, false), ["a", "b"]);
    assert_eq!(start.scratch.read("a"), "new");
    assert!(!start.scratch.path().join("b").exists());
    // Somebody wrote there: that is kept when the rest expires.
    let kept = settle(&start.workspace, &start.log);
    let mut kept: Vec<_> = kept
        .iter()
        .map(|kept| start.scratch.read(&kept.copy))
        .collect();
    kept.dedup();
    assert_eq!(kept, ["tampered with"]);
}

#[test]
fn the_oldest_commits_expire_first_by_age_and_by_bytes() {
    let start = start();
    let bytes = "a of the base".len() as u64;
    let commits: Vec<_> = (0..4)
        .map(|round| {
            start.commit(|branch| {
                branch.put("a", &format!("{round:>width$}", width = bytes as usize))
            })
        })
        .collect();
    start.workspace.flush(&start.log).expect("flushes");
    let expire = |age: u64, bytes| {
        let retention = Retention {
            age: Duration::from_secs(age),
            bytes,
        };
        // The log of this suite records one commit a second, from the start of time.
        let now = Timestamp { secs: 4, nanos: 0 };
        let expired = start.workspace.expire(retention, now, &start.log);
        expired.expect("expires").commits
    };
    assert_eq!(expire(4, 4 * bytes), []);
    assert_eq!(expire(3, 4 * bytes), [commits[0]]);
    assert_eq!(expire(3, bytes), [commits[1], commits[2]]);
    assert_eq!(start.scratch.leftovers().len(), 1);
    assert_eq!(start.undo(commits[3], false), [] as [&str; 0]);
}

#[test]
fn times_that_were_set_come_back_with_the_directories() {
    let start = start();
    let modified = |path: &str| {
        let metadata = fs::metadata(start.scratch.path().join(path)).expect("metadata");
        metadata.modified().expect("a time")
    };
    let times = [modified("dir"), modified("tree")];
    let commit = start.commit(|branch| {
        let time = Some(Timestamp { secs: 9, nanos: 0 });
        branch.mkdir("new")?;
        branch.mv("tree", "moved")?;
        for path in ["dir", "new", "moved"] {
            let node = branch.resolve(path)?;
            branch.set_times(node, time, time)?;
        }
        Ok(())
    });
    assert_ne!(modified("dir"), times[0]);
    assert_eq!(start.undo(commit, false), [] as [&str; 0]);
    compare(&start.scratch.manifest(), &start.before, "undone");
    assert_eq!([modified("dir"), modified("tree")], times);
}

/// A link is moved, and an equal one takes its place.
#[test]
fn what_is_equal_to_what_was_moved_is_not_taken_for_it() {
    let start = start();
    std::os::unix::fs::symlink("a", start.scratch.path().join("x")).expect("links");
    start.commit(|branch| {
        branch.mv("x", "y")?;
        let root = branch.root();
        branch.symlink(root, "x", "a").map(drop)
    });
    let after = start.scratch.manifest();
    start.crash_and_recover(1, &after);
}

/// What a directory leaves behind that was made and removed again is nothing at all.
#[test]
fn a_directory_that_came_and_went_before_the_flush_is_recovered() {
    let start = start();
    start.commit(|branch| branch.mkdir("d"));
    start.commit(|branch| branch.rm_all("d"));
    let before = start.before.clone();
    start.crash_and_recover(2, &before);
}

/// Several commits that nobody flushed, on the same paths, and then a crash: the first
/// ones are in the workspace although nothing there shows it any more.
#[test]
fn commits_that_were_not_flushed_are_recovered_in_their_order() {
    let start = start();
    start.commit(|branch| branch.put("new", "1"));
    start.commit(|branch| branch.put("new", "2").and(branch.rm("a")));
    start.commit(|branch| branch.mv("new", "newer"));
    start.commit(|branch| branch.rm("newer").and(branch.put("a", "again")));
    let after = start.scratch.manifest();
    let start = start.crash_and_recover(4, &after);
    for commit in (1..=4).rev().map(CommitId) {
        assert_eq!(start.undo(commit, false), [] as [&str; 0]);
    }
    compare(&start.scratch.manifest(), &start.before, "undone");
}
