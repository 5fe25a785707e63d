//! A commit stops at every operation of its storage and of its log; recovery, which is
//! stopped as well, leaves the tree from before or the one from after, bit for bit.

use crate::ops::{self, OpenNodes};
use crate::power::{Lesser, Power, Stopping, StoppingLog};
use crate::shapes::{base, shapes};
use crate::support::{Manifest, MemoryLog, Paths, Scratch, branch_manifest, settle};
use forerun_snapshot::{Branch, Delta, IntentState, Storage, Workspace};
use forerun_types::CommitId;
use proptest::prelude::*;
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
    let nested = ["everything", "swap", "hard links", "new tree"];
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
