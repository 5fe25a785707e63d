//! The power goes at every operation of a commit, of a flush, an undo or an expiry, and
//! what was not synced is gone. Recovery, during which it goes again, leaves the tree
//! from before or the one from after, bit for bit; undo and redo work from there.
//!
//! `POWER_CUTS` multiplies how much is tried at each operation.

use crate::changes::Survival;
use crate::ops::{self, OpenNodes};
use crate::power::{Power, Stopping, StoppingLog};
use crate::shapes::{TOUCHED, base, shapes};
use crate::support::{Manifest, MemoryLog, Paths, Scratch, branch_manifest, settle};
use crate::volatile::{Deaf, Disk, Volatile};
use forerun_snapshot::{Branch, IntentState, Recovery, Retention, Storage, Timestamp, Workspace};
use forerun_types::{CommitId, Digest};
use proptest::prelude::*;
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// What is done to a workspace, one after another.
enum Step<'a> {
    Commit(&'a dyn Fn(&mut Branch)),
    Flush,
    /// Undoes the last commit that is in the workspace: an undo, too.
    Undo,
    /// All that can be.
    Expire,
}

struct Story<'a> {
    name: &'a str,
    base: &'a dyn Fn(&Scratch),
    steps: &'a [Step<'a>],
}

/// A machine that went off, or was still on at the end.
struct Machine {
    scratch: Scratch,
    disk: Arc<Disk>,
    log: MemoryLog,
    /// The tree after so many commits were recorded.
    trees: Vec<Manifest>,
    /// What got explicit times in the last of these.
    touched: Vec<String>,
    is_done: bool,
}

const EXPIRE_ALL: Retention = Retention {
    age: Duration::ZERO,
    bytes: 0,
};

impl Story<'_> {
    /// Plays it as long as there is power.
    fn play(&self, power: &Arc<Power>, scratch: Scratch, deaf: Option<Deaf>) -> Machine {
        (self.base)(&scratch);
        let mut machine = Machine {
            disk: Disk::of(&scratch, deaf),
            trees: vec![scratch.manifest()],
            touched: Vec::new(),
            log: MemoryLog::default(),
            is_done: false,
            scratch,
        };
        let workspace = machine.open(power);
        let mut undoable = Vec::new();
        for step in self.steps {
            let log = StoppingLog {
                inner: &machine.log,
                power: Arc::clone(power),
            };
            let done = match step {
                Step::Commit(change) => {
                    let mut branch = workspace.snapshot().branch();
                    change(&mut branch);
                    let (snapshot, delta) = branch.freeze().expect("freezes");
                    let mut after = snapshot.branch();
                    machine.trees.push(branch_manifest(&mut after));
                    machine.touched = machine.touched_in(&mut after);
                    undoable.push(machine.trees.len() - 1);
                    workspace.commit(&delta, &log).map(drop)
                }
                Step::Flush => workspace.flush(&log).map(drop),
                Step::Undo => {
                    let last = undoable.pop().expect("a commit to undo");
                    machine.trees.push(machine.trees[last - 1].clone());
                    undoable.push(machine.trees.len() - 1);
                    let undone = workspace.undo(CommitId(last as u64), false, &log);
                    undone.map(|undo| assert_eq!(undo.left, [], "{}", self.name))
                }
                Step::Expire => {
                    undoable.clear();
                    let expired = workspace.expire(EXPIRE_ALL, Timestamp::now(), &log);
                    expired.map(drop)
                }
            };
            if let Err(error) = done {
                assert!(power.is_off(), "{}: {error}", self.name);
                return machine;
            }
        }
        machine.is_done = !power.is_off();
        machine
    }

    /// Stops it everywhere, and looks what becomes of it.
    fn check(&self, cuts: Cuts) {
        self.check_on(&Scratch::in_memory, None, cuts);
    }

    fn check_on(&self, scratch: &dyn Fn() -> Scratch, deaf: Option<Deaf>, cuts: Cuts) {
        self.stop_everywhere(cuts, &|operations, survival, context| {
            let machine = self.play(&Power::for_operations(operations), scratch(), deaf);
            machine.disk.forget(survival);
            machine.recover_and_check(context);
            machine.is_done
        });
    }

    /// The same, and each recovery stops as well, again and again, a little later each
    /// time.
    fn check_with_stopped_recoveries(&self, cuts: Cuts) {
        self.stop_everywhere(cuts, &|operations, survival, context| {
            let power = Power::for_operations(operations);
            let machine = self.play(&power, Scratch::in_memory(), None);
            machine.disk.forget(survival);
            let mut context = context.to_owned();
            for stop in 0.. {
                let survival = one_cut(&context, stop)[0];
                context += &format!(", {stop} {survival:?}");
                if machine.recover_stopped(stop, survival) {
                    break;
                }
            }
            machine.recover_and_check(&context);
            machine.is_done
        });
    }

    /// The same, and a file that is to be replaced or moved is open for writing for a
    /// moment, each in turn: what was applied is taken back, and applied again.
    fn check_with_writers(&self, cuts: Cuts) {
        for leases in 0.. {
            let is_met = Cell::new(false);
            self.stop_everywhere(cuts, &|operations, survival, context| {
                let power = Power::with_writer(operations, leases);
                let machine = self.play(&power, Scratch::in_memory(), None);
                is_met.set(is_met.get() || power.met_writer());
                machine.disk.forget(survival);
                machine.recover_and_check(&format!("{context}, after {leases} leases"));
                machine.is_done
            });
            if !is_met.get() {
                return;
            }
        }
    }

    /// Until it is done without a stop.
    fn stop_everywhere(&self, cuts: Cuts, check: &dyn Fn(usize, Survival, &str) -> bool) {
        for operations in 0.. {
            let mut is_done = true;
            for survival in cuts(self.name, operations) {
                let context = format!("{} {operations} {survival:?}", self.name);
                is_done &= check(operations, survival, &context);
            }
            if is_done {
                return;
            }
        }
    }
}

/// What to try where a story of that name stops.
type Cuts = fn(&str, usize) -> Vec<Survival>;

/// Each kind of survival, with other seeds at each place.
fn all_cuts(name: &str, operations: usize) -> Vec<Survival> {
    let wanted = std::env::var("POWER_CUTS").ok();
    let wanted = wanted.and_then(|count| count.parse().ok()).unwrap_or(1);
    let seeds = (0..wanted).map(|round| seed(&format!("{name} {operations} {round}")));
    seeds
        .flat_map(|seed| [Survival::Prefix(seed), Survival::Part(seed)])
        .chain([Survival::Synced])
        .collect()
}

/// One of them.
fn one_cut(name: &str, operations: usize) -> Vec<Survival> {
    let mut all = all_cuts(name, operations);
    let chosen = seed(&format!("{name} {operations}")) as usize % all.len();
    vec![all.swap_remove(chosen)]
}

/// Only what was synced.
fn worst_cut(_: &str, _: usize) -> Vec<Survival> {
    vec![Survival::Synced]
}

fn unlimited() -> Arc<Power> {
    Power::for_operations(usize::MAX)
}

/// The same in each run.
fn seed(of: &str) -> u64 {
    u64::from_str_radix(&Digest::of(of).short()[..8], 16).expect("is hexadecimal")
}

impl Machine {
    fn open(&self, power: &Arc<Power>) -> Workspace {
        self.scratch.open_with(|inner| {
            let disk = Arc::clone(&self.disk);
            let inner = Arc::new(Volatile { inner, disk });
            let power = Arc::clone(power);
            Arc::new(Stopping { inner, power }) as Arc<dyn Storage>
        })
    }

    fn touched_in(&self, after: &mut Branch) -> Vec<String> {
        let last = self.trees.last().expect("a tree");
        let is_touched = |path: &&String| {
            let node = after.resolve(path).expect("is listed");
            after.metadata(node).expect("metadata").modified == TOUCHED
        };
        last.keys().filter(is_touched).cloned().collect()
    }

    /// Recovers with the power for so many operations; whether that was enough.
    fn recover_stopped(&self, operations: usize, survival: Survival) -> bool {
        let power = Power::for_operations(operations);
        let workspace = self.open(&power);
        let log = StoppingLog {
            inner: &self.log,
            power: Arc::clone(&power),
        };
        let recovered = workspace.recover(&log);
        drop(workspace);
        self.disk.forget(survival);
        match recovered {
            Ok(_) => true,
            Err(error) => {
                assert!(power.is_off(), "{error}");
                false
            }
        }
    }

    fn recover_and_check(&self, context: &str) {
        let workspace = self.scratch.open();
        let recorded = self.log.states().len();
        let recovery = workspace.recover(&self.log).expect(context);
        let context = format!("{context}: {recovery:?}");
        self.compare(recorded, &context);
        if recorded == 1 && self.trees.len() == 2 {
            self.compare_times(&context);
        }
        assert_eq!(recovery.kept, [], "{context}");
        let states = self.log.states();
        let is_there =
            |state: &Option<IntentState>| state.is_some_and(|state| state != IntentState::Reverted);
        assert!(states.iter().all(is_there), "{context}: {states:?}");
        let again = workspace.recover(&self.log).expect("recovers again");
        assert_eq!(again, Recovery::default(), "{context}");
        self.undo_and_redo(&workspace, &context);
        assert_eq!(settle(&workspace, &self.log), [], "{context}");
        assert!(self.scratch.leftovers().is_empty(), "{context}");
    }

    fn compare(&self, recorded: usize, context: &str) {
        ops::compare(&self.scratch.manifest(), &self.trees[recorded], context);
    }

    fn compare_times(&self, context: &str) {
        for path in &self.touched {
            let found = fs::symlink_metadata(self.scratch.path().join(path));
            let seconds = found.expect("is there").mtime();
            assert_eq!(seconds, TOUCHED.secs, "{path} {context}");
        }
    }

    /// Undoes the newest commit, brings it back, and undoes what can be, newest first.
    fn undo_and_redo(&self, workspace: &Workspace, context: &str) {
        let undo = |commit: CommitId, what: &str| {
            let undo = workspace.undo(commit, false, &self.log);
            undo.unwrap_or_else(|error| panic!("{what} {commit} {context}: {error}"))
        };
        let states = self.log.states();
        let newest = states.len();
        if states.last() != Some(&Some(IntentState::Applied)) {
            return;
        }
        let mut commit = CommitId(newest as u64);
        for (what, tree) in [("undo", newest - 1), ("redo", newest), ("undo", newest - 1)] {
            let undone = undo(commit, what);
            assert_eq!(undone.left, [], "{what} {context}");
            self.compare(tree, &format!("{what} {context}"));
            commit = undone.commit.expect("something was undone").id;
        }
        let is_there = |older: &usize| states[older - 1] == Some(IntentState::Applied);
        for older in (1..newest).rev().take_while(is_there) {
            let undone = undo(CommitId(older as u64), "undo");
            assert_eq!(undone.left, [], "{older} {context}");
            self.compare(older - 1, &format!("undo {older} {context}"));
        }
    }
}

fn check(names: impl Fn(&str) -> bool, check: impl Fn(&Story<'_>)) {
    for (name, change) in shapes().into_iter().filter(|(name, _)| names(name)) {
        let change = |branch: &mut Branch| change(branch).expect("changes");
        check(&Story {
            name,
            base: &base,
            steps: &[Step::Commit(&change), Step::Flush],
        });
    }
}

#[test]
fn a_commit_is_there_whole_or_not_at_all_after_the_power_went() {
    assert!(shapes().len() >= 30);
    check(|_| true, |story| story.check(all_cuts));
}

#[test]
fn a_recovery_may_lose_power_as_often_as_it_likes() {
    let names = [
        "everything",
        "hard links",
        "a cycle of a file, a link and a directory",
        "a cycle of directories at two depths",
        "new tree with links",
        "a chain of moves against the order of names",
        "moves through new directories and moved ones",
        "moves beside a swap",
        "renames in directories that are renamed",
    ];
    check(
        |name| names.contains(&name),
        |story| story.check_with_stopped_recoveries(one_cut),
    );
}

#[test]
fn a_commit_that_waited_for_a_writer_is_there_whole_or_not_at_all() {
    check(
        |name| name == "delete a tree",
        |story| story.check_with_writers(all_cuts),
    );
    check(
        |name| ["directory becomes file", "everything"].contains(&name),
        |story| story.check_with_writers(one_cut),
    );
}

#[test]
fn a_commit_that_was_never_flushed_comes_back() {
    for (name, change) in shapes() {
        let change = |branch: &mut Branch| change(branch).expect("changes");
        let story = Story {
            name,
            base: &base,
            steps: &[Step::Commit(&change)],
        };
        let machine = story.play(&unlimited(), Scratch::in_memory(), None);
        assert!(machine.is_done, "{name}");
        machine.disk.forget(Survival::Synced);
        assert_eq!(machine.scratch.manifest(), machine.trees[0], "{name}");
        machine.recover_and_check(name);
        assert_eq!(machine.trees.len(), 2, "{name}");
    }
}

/// A few commits that build on each other.
fn chain() -> [fn(&mut Branch); 4] {
    [
        |b| {
            b.put("a", "first").expect("writes");
            b.mv("dir", "moved").expect("moves");
            b.put("new", "first").expect("writes");
        },
        |b| {
            b.put("moved/a", "second").expect("writes");
            b.mv("a", "moved/deep/a").expect("moves");
            b.rm_all("tree").expect("removes");
        },
        |b| {
            b.mv("moved", "tree").expect("moves");
            b.put("a", "third").expect("writes");
            b.put("b", "third").expect("writes");
        },
        |b| {
            b.mv("tree/deep", "t").expect("moves");
            b.rm_all("tree").expect("removes");
            b.mv("t", "tree").expect("moves");
            b.put("a", "fourth").expect("writes");
        },
    ]
}

/// The same with files alone, in many directories: nothing keeps these in order.
fn files() -> [fn(&mut Branch); 4] {
    [
        |b| {
            b.put("a", "first").expect("writes");
            b.put("dir/a", "first").expect("writes");
            b.put("new", "first").expect("writes");
            b.rm("tree/x/y/z").expect("removes");
        },
        |b| {
            b.put("dir/b", "second").expect("writes");
            b.mv("tree/x/w", "tree/x/y/w").expect("moves");
            b.mv("a", "dir/deep/a").expect("moves");
        },
        |b| {
            b.mv("dir/deep/a", "a").expect("moves");
            b.rm("dir/b").expect("removes");
            b.put("tree/x/y/w", "third").expect("writes");
        },
        |b| {
            b.mv("a", "t").expect("moves");
            b.mv("dir/a", "a").expect("moves");
            b.mv("t", "dir/a").expect("moves");
            b.rm_all("tree").expect("removes");
            b.put("dir/deep/new", "fourth").expect("writes");
        },
    ]
}

#[test]
fn commits_that_wait_for_one_flush_come_back_in_order() {
    for (name, commits) in [("four commits", chain()), ("of files", files())] {
        let mut steps: Vec<_> = commits.iter().map(|it| Step::Commit(it)).collect();
        steps.push(Step::Flush);
        let story = Story {
            name,
            base: &base,
            steps: &steps,
        };
        story.check(all_cuts);
        story.check_with_stopped_recoveries(one_cut);
    }
}

#[test]
fn undo_redo_and_expiry_are_there_whole_or_not_at_all() {
    let chain = chain();
    let [first, second, third, fourth] = &chain;
    Story {
        name: "undo and redo",
        base: &base,
        steps: &[
            Step::Commit(first),
            Step::Flush,
            Step::Commit(second),
            Step::Undo,
            Step::Undo,
            Step::Flush,
            Step::Commit(third),
            Step::Undo,
        ],
    }
    .check(all_cuts);
    Story {
        name: "expiry",
        base: &base,
        steps: &[
            Step::Commit(first),
            Step::Commit(second),
            Step::Undo,
            Step::Flush,
            Step::Expire,
            Step::Commit(second),
            Step::Commit(third),
            Step::Flush,
            Step::Commit(fourth),
            Step::Expire,
        ],
    }
    .check(all_cuts);
}

#[test]
fn slots_in_the_workspace_are_there_after_the_power_went() {
    if Scratch::with_foreign_state().is_none() {
        return;
    }
    let scratch = || Scratch::with_foreign_state().expect("as before");
    check(
        |name| ["everything", "new tree", "moves beside a swap"].contains(&name),
        |story| story.check_on(&scratch, None, one_cut),
    );
    check(
        |name| name == "create",
        |story| {
            let steps = &story.steps[..1];
            let machine = Story { steps, ..*story }.play(&unlimited(), scratch(), None);
            machine.disk.forget(Survival::Synced);
            let ignored = machine.scratch.read(".forerun/.gitignore");
            assert!(ignored.contains("/slots"), "{ignored:?}");
        },
    );
}

/// What a person did between the crash and the recovery.
#[test]
fn a_recovery_keeps_what_a_person_did_after_the_power_went() {
    let change = |branch: &mut Branch| {
        branch.put("a", "by the agent").expect("writes");
        branch.rm("b").expect("removes");
        branch.put("new", "by the agent").expect("writes");
        branch.put("dir/a", "by the agent").expect("writes");
    };
    for path in ["a", "b", "new", "dir/a"] {
        let story = Story {
            name: path,
            base: &base,
            steps: &[Step::Commit(&change), Step::Flush],
        };
        story.stop_everywhere(all_cuts, &|operations, survival, context| {
            let power = Power::for_operations(operations);
            let machine = story.play(&power, Scratch::in_memory(), None);
            machine.disk.forget(survival);
            machine.scratch.write(path, "by a person");
            let workspace = machine.scratch.open();
            let recovery = workspace.recover(&machine.log).expect(context);
            let context = format!("{context}: {recovery:?}");
            assert_eq!(machine.scratch.read(path), "by a person", "{context}");
            let without = |mut manifest: Manifest| {
                manifest.remove(path);
                manifest
            };
            let found = without(machine.scratch.manifest());
            let mut whole = machine.trees.iter().cloned().map(without);
            assert!(
                whole.any(|tree| tree == found),
                "{context}: torn: {found:?}"
            );
            settle(&workspace, &machine.log);
            assert_eq!(machine.scratch.read(path), "by a person", "{context}");
            assert!(machine.scratch.leftovers().is_empty(), "{context}");
            machine.is_done
        });
    }
}

/// The suite sees what it is to see: each sync that is left out loses something.
#[test]
fn every_sync_is_needed() {
    let left_out = [
        (Deaf::File, "replace"),
        (Deaf::File, "new tree"),
        (Deaf::Directory(0), "create"),
        (Deaf::Directory(1), "replace"),
        (Deaf::Directory(2), "new tree"),
        (Deaf::Directory(3), "new tree"),
        (Deaf::Everything, "delete"),
        (Deaf::Everything, "more files than are synced one by one"),
    ];
    for (deaf, name) in left_out {
        let checked = || {
            let in_memory = Scratch::in_memory;
            let checks = |story: &Story<'_>| story.check_on(&in_memory, Some(deaf), worst_cut);
            check(|it| it == name, checks);
        };
        let found = catch_unwind(AssertUnwindSafe(checked));
        assert!(found.is_err(), "{deaf:?} was left out of {name}");
    }
    let change = |branch: &mut Branch| branch.put("a", "new").expect("writes");
    let story = Story {
        name: "recovery",
        base: &base,
        steps: &[Step::Commit(&change)],
    };
    let checked = || {
        let machine = story.play(&unlimited(), Scratch::in_memory(), Some(Deaf::Everything));
        machine.disk.forget(Survival::Synced);
        assert!(machine.recover_stopped(usize::MAX, Survival::Synced));
        machine.recover_and_check("recovery");
    };
    let found = catch_unwind(AssertUnwindSafe(checked));
    assert!(found.is_err(), "a sync was left out of a recovery");
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    Flush,
    Undo,
    UndoAndRedo,
    Expire,
}

fn then() -> impl Strategy<Value = Then> {
    prop::sample::select(vec![
        Then::Nothing,
        Then::Nothing,
        Then::Flush,
        Then::Undo,
        Then::UndoAndRedo,
        Then::Expire,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(8),
        failure_persistence: Some(Box::new(
            proptest::test_runner::FileFailurePersistence::WithSource("regressions"),
        )),
        ..ProptestConfig::default()
    })]

    #[test]
    fn generated_commits_are_there_whole_or_not_at_all(
        parts in prop::collection::vec((prop::collection::vec(ops::op(), 5..25), then()), 1..4)
    ) {
        let changes: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(index, (program, _))| {
                move |branch: &mut Branch| {
                    let mut open = OpenNodes::default();
                    for op in program {
                        let _ = ops::on_branch(branch, &mut open, op);
                    }
                    open.close_all(branch);
                    branch.put("at-least-this", &index.to_string()).expect("writes");
                }
            })
            .collect();
        let mut steps = Vec::new();
        for (change, (_, then)) in changes.iter().zip(&parts) {
            steps.push(Step::Commit(change));
            match then {
                Then::Nothing => {}
                Then::Flush => steps.push(Step::Flush),
                Then::Undo => steps.push(Step::Undo),
                Then::UndoAndRedo => steps.extend([Step::Undo, Step::Undo]),
                Then::Expire => steps.extend([Step::Flush, Step::Expire]),
            }
        }
        let name = Digest::of(format!("{parts:?}")).short();
        let base = |scratch: &Scratch| ops::seed_tree(scratch.path());
        let story = Story { name: &name, base: &base, steps: &steps };
        story.check(one_cut);
        story.check_with_stopped_recoveries(one_cut);
    }
}
