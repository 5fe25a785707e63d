//! A commit stops at every operation of its storage and of its log; recovery, which is
//! stopped as well, leaves the tree from before or the one from after, bit for bit.

use crate::ops::{self, OpenNodes};
use crate::power::{Lesser, Power, Stopping, StoppingLog};
use crate::shapes::{base, shapes};
use crate::support::{Manifest, MemoryLog, Paths, Scratch, branch_manifest, settle};
use forerun_snapshot::{Branch, Delta, IntentState, Storage, Workspace};
use forerun_types::CommitId;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

/// What a workspace holds, and what a branch does to it.
struct Shape<'a> {
    name: &'a str,
    base: &'a dyn Fn(&Scratch),
    change: &'a dyn Fn(&mut Branch),
    disk: Disk,
}

/// What the file system can do.
#[derive(Clone, Copy)]
enum Disk {
    Usual,
    WithoutExchange,
    WithoutDirectoryMoves,
}

impl Disk {
    fn storage(self, inner: Arc<dyn Storage>) -> Arc<dyn Storage> {
        Arc::new(Lesser {
            inner,
            exchanges: !matches!(self, Disk::WithoutExchange),
            moves_directories: !matches!(self, Disk::WithoutDirectoryMoves),
        })
    }
}

struct Start {
    scratch: Scratch,
    log: MemoryLog,
    before: Manifest,
    after: Manifest,
    disk: Disk,
}

impl Shape<'_> {
    /// Commits with the power for `operations`; whether that was enough.
    fn commit(&self, operations: usize) -> (Start, bool) {
        let scratch = Scratch::in_memory();
        (self.base)(&scratch);
        let before = scratch.manifest();
        let log = MemoryLog::default();
        let power = Power::for_operations(operations);
        let (workspace, delta, after) = self.prepare(&scratch, Arc::clone(&power));
        let stopping = StoppingLog {
            inner: &log,
            power: Arc::clone(&power),
        };
        let done = workspace.commit(&delta, &stopping).is_ok()
            && workspace.flush(&stopping).is_ok()
            && !power.is_off();
        drop(workspace);
        let start = Start {
            scratch,
            log,
            before,
            after,
            disk: self.disk,
        };
        (start, done)
    }

    fn prepare(&self, scratch: &Scratch, power: Arc<Power>) -> (Workspace, Delta, Manifest) {
        let workspace = scratch.open_with(|inner| {
            let inner = self.disk.storage(inner);
            Arc::new(Stopping { inner, power })
        });
        let mut branch = workspace.snapshot().branch();
        (self.change)(&mut branch);
        let (snapshot, delta) = branch.freeze().expect("freezes");
        let after = branch_manifest(&mut snapshot.branch());
        (workspace, delta, after)
    }

    /// Stops the commit everywhere, and with `nested` each recovery everywhere, too.
    fn check(&self, nested: bool) {
        let mut applied = 0;
        for operations in 0.. {
            let mut stops = 0;
            loop {
                let (start, done) = self.commit(operations);
                if nested && start.recover_stopped(stops) {
                    stops += 1;
                    start.recover_and_check(&format!("{} {operations} {stops}", self.name));
                    continue;
                }
                applied +=
                    usize::from(start.recover_and_check(&format!("{} {operations}", self.name)));
                if done {
                    assert!(applied > 1, "was stopped on both sides of the record");
                    return;
                }
                break;
            }
        }
    }
}

impl Start {
    /// Recovers with the power for `operations`; whether it went off.
    fn recover_stopped(&self, operations: usize) -> bool {
        let power = Power::for_operations(operations);
        let workspace = self.scratch.open_with(|inner| {
            let (inner, power) = (self.disk.storage(inner), Arc::clone(&power));
            Arc::new(Stopping { inner, power }) as Arc<dyn Storage>
        });
        let log = StoppingLog {
            inner: &self.log,
            power: Arc::clone(&power),
        };
        workspace.recover(&log).is_err()
    }

    /// Recovers, and compares; whether the commit is in the workspace.
    fn recover_and_check(&self, context: &str) -> bool {
        let workspace = self.scratch.open_with(|inner| self.disk.storage(inner));
        let recorded = !self.log.states().is_empty();
        let recovery = workspace.recover(&self.log).expect("recovers");
        let tree = self.scratch.manifest();
        let expected = if recorded { &self.after } else { &self.before };
        ops::compare(&tree, expected, &format!("{context}: {recovery:?}"));
        assert!(recovery.kept.is_empty(), "{context}: {recovery:?}");
        let states = self.log.states();
        assert!(
            states
                .iter()
                .all(|state| *state == Some(IntentState::Applied)),
            "{context}: {states:?}"
        );
        let again = workspace.recover(&self.log).expect("recovers again");
        assert_eq!(again, forerun_snapshot::Recovery::default(), "{context}");
        if recorded {
            self.undo_and_redo(&workspace, context);
        }
        assert_eq!(settle(&workspace, &self.log), [], "{context}");
        assert!(self.scratch.leftovers().is_empty(), "{context}");
        recorded
    }

    fn undo_and_redo(&self, workspace: &Workspace, context: &str) {
        let mut commit = CommitId(1);
        for expected in [&self.before, &self.after] {
            let undo = workspace.undo(commit, false, &self.log).expect(context);
            assert_eq!(undo.left, [], "{context}");
            commit = undo.commit.expect("something was undone").id;
            ops::compare(
                &self.scratch.manifest(),
                expected,
                &format!("undo {context}"),
            );
        }
        workspace.flush(&self.log).expect("flushes");
        let (undone, applied) = (Some(IntentState::Undone), Some(IntentState::Applied));
        assert_eq!(self.log.states(), [undone, undone, applied], "{context}");
    }
}

fn check(names: impl Fn(&str) -> bool, nested: bool, disk: Disk) {
    for (name, change) in shapes().into_iter().filter(|(name, _)| names(name)) {
        let change = |branch: &mut Branch| change(branch).expect("changes");
        Shape {
            name,
            base: &base,
            change: &change,
            disk,
        }
        .check(nested);
    }
}

#[test]
fn a_commit_that_stops_anywhere_is_recovered_whole_or_not_at_all() {
    check(|_| true, false, Disk::Usual);
}

#[test]
fn a_recovery_that_stops_anywhere_is_recovered_as_well() {
    let nested = [
        "everything",
        "swap",
        "hard links",
        "new tree",
        "moves through new directories and moved ones",
        "moves beside a swap",
        "renames in directories that are renamed",
    ];
    check(|name| nested.contains(&name), true, Disk::Usual);
}

#[test]
fn files_that_can_not_change_places_are_replaced_in_two_steps_that_are_recovered_as_one() {
    check(|_| true, false, Disk::WithoutExchange);
    check(|name| name == "everything", true, Disk::WithoutExchange);
}

#[test]
fn a_commit_with_slots_in_the_workspace_is_recovered_from_there() {
    let Some(scratch) = Scratch::with_foreign_state() else {
        return;
    };
    scratch.write("a", "before");
    let log = MemoryLog::default();
    for operations in 0.. {
        let power = Power::for_operations(operations);
        let workspace = scratch.open_with(|inner| {
            let power = Arc::clone(&power);
            Arc::new(Stopping { inner, power }) as Arc<dyn Storage>
        });
        let mut branch = workspace.snapshot().branch();
        branch.put("a", &format!("{operations}")).expect("writes");
        let (_, delta) = branch.freeze().expect("freezes");
        let recorded = log.states().len();
        let before = scratch.read("a");
        let stopping = StoppingLog {
            inner: &log,
            power: Arc::clone(&power),
        };
        let done = workspace.commit(&delta, &stopping).is_ok()
            && workspace.flush(&stopping).is_ok()
            && !power.is_off();
        drop(workspace);
        let workspace = scratch.open();
        workspace.recover(&log).expect("recovers");
        let expected = match log.states().len() > recorded {
            true => format!("{operations}"),
            false => before,
        };
        assert_eq!(scratch.read("a"), expected);
        assert_eq!(settle(&workspace, &log), []);
        assert!(scratch.leftovers().is_empty(), "{:?}", scratch.leftovers());
        if done {
            return;
        }
    }
}

/// What is moved was never in them.
#[test]
fn a_commit_of_moves_is_recovered_though_the_slots_are_gone() {
    let change = |branch: &mut Branch| {
        branch.mv("a", "dir/deep/a").expect("moves");
        branch.mv("b", "a").expect("moves");
        branch.mv("dir", "tree/dir").expect("moves");
        branch.mv("tree/x/w", "tree/dir/a2").expect("moves");
        // In directories that move themselves.
        branch.mv("tree/dir/b", "tree/dir/b2").expect("moves");
        branch.mv("tree/x/y/z", "tree/x/y/z2").expect("moves");
        branch.mv("tree/x/y", "tree/x/y2").expect("moves");
    };
    for operations in 0.. {
        let Some(scratch) = Scratch::with_foreign_state() else {
            return;
        };
        base(&scratch);
        let before = scratch.manifest();
        let log = MemoryLog::default();
        let power = Power::for_operations(operations);
        let workspace = scratch.open_with(|inner| {
            let power = Arc::clone(&power);
            Arc::new(Stopping { inner, power }) as Arc<dyn Storage>
        });
        let mut branch = workspace.snapshot().branch();
        change(&mut branch);
        let (snapshot, delta) = branch.freeze().expect("freezes");
        let after = branch_manifest(&mut snapshot.branch());
        let stopping = StoppingLog {
            inner: &log,
            power: Arc::clone(&power),
        };
        let done = workspace.commit(&delta, &stopping).is_ok() && !power.is_off();
        drop((workspace, snapshot, delta));
        // As `git clean -fdx` does.
        let _ = std::fs::remove_dir_all(scratch.path().join(".forerun"));
        let workspace = scratch.open();
        let recovery = workspace.recover(&log).expect("recovers");
        let expected = match log.states().is_empty() {
            true => &before,
            false => &after,
        };
        let context = format!("{operations} {recovery:?}");
        ops::compare(&scratch.manifest(), expected, &context);
        if !log.states().is_empty() {
            let undo = workspace.undo(CommitId(1), false, &log).expect(&context);
            assert_eq!(undo.left, [], "{context}");
            ops::compare(&scratch.manifest(), &before, &context);
        }
        if done {
            return;
        }
    }
}

/// As the first version of intents had it: what is moved is parked, then placed.
fn without_moves(intent: &str) -> String {
    let mut intent: Value = serde_json::from_str(intent).expect("is JSON");
    let (mut parked, mut placed) = (Vec::new(), Vec::new());
    for operation in intent["operations"].as_array().expect("a list") {
        let Some(it) = operation.get("move") else {
            placed.push(operation.clone());
            continue;
        };
        let (slot, pre) = (&it["slot"], &it["pre"]);
        parked.push(json!({ "park": { "path": it["from"], "slot": slot, "pre": pre } }));
        placed.push(json!({ "place": {
            "slot": slot, "path": it["path"], "post": pre, "contents": null,
        } }));
    }
    assert!(!parked.is_empty(), "something is moved");
    intent["operations"] = parked.into_iter().chain(placed).collect();
    intent["format"] = json!(1);
    intent.to_string()
}

#[test]
fn an_intent_of_the_first_version_is_recovered_and_undone() {
    let shape = Shape {
        name: "the first version",
        base: &base,
        disk: Disk::Usual,
        change: &|branch| {
            branch.mv("a", "dir/moved").expect("moves");
            branch.mv("dir/deep", "deep").expect("moves");
            branch.put("b", "new").expect("writes");
        },
    };
    let recorded = (0..).find(|operations| !shape.commit(*operations).0.log.states().is_empty());
    let recorded = recorded.expect("is recorded");
    for stop in 0.. {
        let (start, _) = shape.commit(recorded);
        assert_eq!(start.scratch.manifest(), start.before);
        for (intent, _) in start.log.intents.lock().expect("not poisoned").iter_mut() {
            *intent = without_moves(intent);
        }
        let stopped = start.recover_stopped(stop);
        start.recover_and_check(&format!("{stop}"));
        if !stopped {
            return;
        }
    }
}

#[test]
fn an_intent_of_a_later_version_is_refused() {
    let scratch = Scratch::in_memory();
    base(&scratch);
    let log = MemoryLog::default();
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    branch.mv("a", "moved").expect("moves");
    let (_, delta) = branch.freeze().expect("freezes");
    let commit = workspace.commit(&delta, &log).expect("commits").id;
    let tree = scratch.manifest();
    let later = |intent: &str| intent.replacen("\"format\":3", "\"format\":4", 1);
    for (intent, _) in log.intents.lock().expect("not poisoned").iter_mut() {
        *intent = later(intent);
    }
    let refused = workspace.undo(commit, false, &log).expect_err("is refused");
    assert!(refused.to_string().contains("format 4"), "{refused}");
    log.intents.lock().expect("not poisoned")[0].1 = None;
    drop(workspace);
    let refused = scratch.open().recover(&log).expect_err("is refused");
    assert!(refused.to_string().contains("format 4"), "{refused}");
    assert_eq!(scratch.manifest(), tree);
}

/// What a person did between the crash and the recovery.
#[test]
fn a_recovery_never_loses_what_a_person_did_after_the_crash() {
    let shape = Shape {
        name: "people",
        base: &base,
        disk: Disk::Usual,
        change: &|branch| {
            branch.put("a", "by the agent").expect("writes");
            branch.rm("b").expect("removes");
            branch.put("new", "by the agent").expect("writes");
            branch.put("dir/a", "by the agent").expect("writes");
        },
    };
    for path in ["a", "b", "new", "dir/a"] {
        for operations in 0.. {
            let (start, done) = shape.commit(operations);
            start.scratch.write(path, "by a person");
            let workspace = start.scratch.open();
            let recovery = workspace.recover(&start.log).expect("recovers");
            let context = format!("{path} {operations} {recovery:?}");
            assert_eq!(start.scratch.read(path), "by a person", "{context}");
            let mut found = start.scratch.manifest();
            found.remove(path);
            let without = |manifest: &Manifest| {
                let mut manifest = manifest.clone();
                manifest.remove(path);
                manifest
            };
            let whole = [without(&start.before), without(&start.after)];
            assert!(whole.contains(&found), "{context}: torn: {found:?}");
            assert!(start.log.states().iter().all(Option::is_some), "{context}");
            settle(&workspace, &start.log);
            assert_eq!(start.scratch.read(path), "by a person", "{context}");
            assert!(start.scratch.leftovers().is_empty(), "{context}");
            if done {
                break;
            }
        }
    }
}

#[test]
fn directories_that_can_not_be_moved_are_made_anew_and_that_is_recovered_as_one() {
    check(|_| true, false, Disk::WithoutDirectoryMoves);
    check(
        |name| name == "everything",
        true,
        Disk::WithoutDirectoryMoves,
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24),
        failure_persistence: Some(Box::new(
            proptest::test_runner::FileFailurePersistence::WithSource("regressions"),
        )),
        ..ProptestConfig::default()
    })]

    #[test]
    fn generated_commits_are_recovered_whole_or_not_at_all(
        program in prop::collection::vec(ops::op(), 10..40)
    ) {
        let base = |scratch: &Scratch| ops::seed_tree(scratch.path());
        let change = |branch: &mut Branch| {
            let mut open = OpenNodes::default();
            for op in &program {
                let _ = ops::on_branch(branch, &mut open, op);
            }
            open.close_all(branch);
            branch.put("at-least-this", "x").expect("writes");
        };
        for disk in [Disk::Usual, Disk::WithoutExchange, Disk::WithoutDirectoryMoves] {
            Shape { name: "generated", base: &base, change: &change, disk }.check(false);
        }
    }
}
