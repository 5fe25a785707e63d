//! Random programs of file-system operations on a branch and on a plain directory give
//! the same results and the same trees, before and after the commit.
//!
//! How many programs are run is told by `PROPTEST_CASES` (for each test), and with which
//! seed by `PROPTEST_RNG_SEED`.

use crate::ops::{self, Extra, Op, OpenNodes, Plain, compare, extra, op};
use crate::support::{
    Manifest, MemoryLog, Paths, Scratch, Tap, Tapped, branch_manifest, manifest, settle, tell,
};
use forerun_snapshot::{Branch, Delta, Inode, Snapshot, Storage, Workspace};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Programs of each of the tests, unless `PROPTEST_CASES` says otherwise.
const PROGRAMS: u32 = 1_000;
/// One program in so many works on a disk; the others in memory, where syncing is free.
const ON_DISK: u32 = 50;

/// What a program works on, and what it does.
#[derive(Clone, Debug)]
struct Program {
    on_disk: bool,
    /// Objects of the base besides the small tree, which may be left out.
    seeded: bool,
    extras: Vec<Extra>,
    ops: Vec<Op>,
}

fn program(extras: std::ops::Range<usize>, seeded: bool) -> impl Strategy<Value = Program> {
    (
        prop::bool::weighted(1.0 / f64::from(ON_DISK)),
        prop::collection::vec(extra(), extras),
        prop::collection::vec(op(), 40..80),
    )
        .prop_map(move |(on_disk, extras, ops)| Program {
            on_disk,
            seeded,
            extras,
            ops,
        })
}

/// Both sides of a program under way.
struct Run {
    scratch: Scratch,
    model: tempfile::TempDir,
    plain: Plain,
    workspace: Workspace,
    log: MemoryLog,
    head: Snapshot,
    branch: Branch,
    open: OpenNodes,
    /// Not committed yet, and the tree that the newest of them leads to.
    frozen: Vec<Delta>,
    at_freeze: Manifest,
    /// Whether times of directories and of copies are those that the base gave them.
    committed: bool,
}

impl Run {
    fn new(program: &Program) -> Run {
        let scratch = match program.on_disk {
            true => Scratch::new(),
            false => Scratch::in_memory(),
        };
        let model = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let model = model.expect("a temporary directory");
        for root in [scratch.path(), model.path()] {
            if program.seeded {
                ops::seed_tree(root);
            }
            program.extras.iter().for_each(|extra| extra.add(root));
            ops::stamp(root);
        }
        Run::over(scratch, model, MemoryLog::default())
    }

    /// On two trees that are equal.
    fn over(scratch: Scratch, model: tempfile::TempDir, log: MemoryLog) -> Run {
        let workspace = scratch.open();
        let head = workspace.snapshot();
        Run {
            plain: Plain::new(model.path()),
            at_freeze: manifest(model.path()),
            branch: head.branch(),
            scratch,
            model,
            workspace,
            log,
            head,
            open: OpenNodes::default(),
            frozen: Vec::new(),
            committed: false,
        }
    }

    fn step(&mut self, index: usize, op: &Op) -> bool {
        let expected = self.plain.run(op);
        let found = ops::on_branch(&mut self.branch, &mut self.open, op);
        let compared = |outcome: &ops::Outcome| match (op, outcome) {
            // A commit puts new objects into the base, and changes directories for it. A
            // name that it removed is kept for the undo, and counts as one.
            (Op::Stat(_), Ok(line)) if self.committed => {
                let line = String::from_utf8_lossy(line).into_owned();
                let mut fields: Vec<_> = line.split(' ').collect();
                fields.remove(2);
                let line = fields.join(" ");
                let was_set = line.ends_with(&format!(".{}", ops::SET_NANOS));
                let known = was_set && !line.starts_with('d');
                Ok(match known {
                    true => line.into_bytes(),
                    false => line.rsplit_once(' ').map_or("", |(all, _)| all).into(),
                })
            }
            // The last byte is how many names a file has.
            (Op::ReadOpen(_), Ok(bytes)) if self.committed => {
                Ok(bytes[..bytes.len().saturating_sub(1)].to_vec())
            }
            (_, outcome) => outcome.clone(),
        };
        assert_eq!(
            compared(&found),
            compared(&expected),
            "operation {index}: {op:?}"
        );
        match op {
            Op::Freeze => self.freeze(),
            Op::CommitBelow => self.commit_frozen(),
            Op::Commit | Op::Restart => {
                self.freeze();
                self.commit_frozen();
            }
            _ => {}
        }
        found.is_ok()
    }

    fn freeze(&mut self) {
        self.open.close_all(&mut self.branch);
        self.plain.begin_step();
        let branch = std::mem::replace(&mut self.branch, self.head.branch());
        let (snapshot, delta) = branch.freeze().expect("freezes");
        let again = Delta::from_bytes(&delta.to_bytes().expect("reads")).expect("reads");
        assert_eq!(again.digest(), delta.digest());
        assert_eq!(again.changes(), delta.changes());
        self.frozen.push(delta);
        self.at_freeze = manifest(self.model.path());
        self.branch = snapshot.branch();
        self.head = snapshot;
    }

    fn commit_frozen(&mut self) {
        for delta in self.frozen.drain(..) {
            self.committed = true;
            self.workspace.commit(&delta, &self.log).expect("commits");
        }
        compare(&manifest(self.scratch.path()), &self.at_freeze, "base");
    }

    /// Opens the workspace anew. In a base, names that are hard links of each other are
    /// files of their own, so with such ones everything goes on as it is.
    fn restart(self) -> Run {
        self.compare_times();
        let trees = [self.scratch.path(), self.model.path()];
        if trees.into_iter().any(ops::has_hard_links) {
            return self;
        }
        let Run {
            scratch,
            model,
            log,
            workspace,
            head,
            branch,
            ..
        } = self;
        drop((workspace, head, branch));
        // Nothing was flushed.
        let recovery = scratch.open().recover(&log).expect("recovers");
        assert!(recovery.reverted.is_empty() && recovery.kept.is_empty());
        for root in [scratch.path(), model.path()] {
            ops::stamp(root);
        }
        Run::over(scratch, model, log)
    }

    /// Times that were set are in the base. One that a write of equal bytes did away with
    /// may stay: such a write is no change.
    fn compare_times(&self) {
        let [found, expected] =
            [self.scratch.path(), self.model.path()].map(ops::times_that_were_set);
        // One more name for a file of the base makes a new file of it.
        for (path, time, _) in expected.iter().filter(|(.., names)| *names == 1) {
            let is_set = found
                .iter()
                .any(|(known, of, _)| known == path && of == time);
            assert!(is_set, "{time} of {path:?} in {found:?}");
        }
    }

    /// Compares everything, commits what is left, and compares again.
    fn end(mut self) {
        let expected = manifest(self.model.path());
        compare(&branch_manifest(&mut self.branch), &expected, "branch");
        self.freeze();
        // The net of everything that is not committed, grafted onto the base, is the same.
        let net = self.head.delta().expect("has a net");
        let grafted = self.workspace.snapshot().graft(&net).expect("grafts");
        let grafted = branch_manifest(&mut grafted.branch());
        compare(&grafted, &expected, "graft");
        self.commit_frozen();
        compare(&branch_manifest(&mut self.branch), &expected, "descendant");
        self.compare_times();
        assert!(self.head.delta().expect("has a net").is_empty());
        assert_eq!(settle(&self.workspace, &self.log), []);
        let left = self.scratch.leftovers();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// What all programs did together.
#[derive(Default)]
struct Summary {
    operations: AtomicU64,
    succeeded: AtomicU64,
    versions: AtomicU64,
}

fn check(test: &'static str, extras: std::ops::Range<usize>, seeded: bool) {
    let cases = std::env::var("PROPTEST_CASES");
    let mut runner = TestRunner::new(ProptestConfig {
        cases: cases
            .map_or(Some(PROGRAMS), |n| n.parse().ok())
            .unwrap_or(PROGRAMS),
        source_file: Some(file!()),
        test_name: Some(test),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 3_000,
        ..ProptestConfig::default()
    });
    let summary = Summary::default();
    let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
    let result = runner.run(&program(extras, seeded), |program| {
        let mut run = Run::new(&program);
        for (index, op) in program.ops.iter().enumerate() {
            let succeeded = run.step(index, op);
            if let Op::Restart = op {
                run = run.restart();
            }
            if op.is_on_versions() {
                count(&summary.versions);
                continue;
            }
            count(&summary.operations);
            if succeeded {
                count(&summary.succeeded);
            }
        }
        run.end();
        Ok(())
    });
    let total = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    tell(&format!(
        "{test}: {} operations, {} of them without an error, and {} on versions",
        total(&summary.operations),
        total(&summary.succeeded),
        total(&summary.versions),
    ));
    if let Err(error) = result {
        panic!("{error}\n{runner}");
    }
}

#[test]
fn a_branch_behaves_like_a_directory_and_so_does_its_commit() {
    check("over_a_small_tree", 0..4, true);
}

#[test]
fn a_branch_of_any_tree_behaves_like_a_directory_and_so_does_its_commit() {
    check("over_any_tree", 0..24, false);
}

/// Programs that once gave other results than a directory.
#[test]
fn programs_that_failed_once_pass() {
    use Op::{
        Commit, CommitBelow, Freeze, Link, Mkdir, Rename, Renew, Restart, Rmdir, SetLen, Touch,
        Write,
    };
    let private = |path: &str| Extra::Directory(path.into(), 0o700);
    let mv = |from: &str, to: &str| Rename(from.into(), to.into());
    let programs: [(bool, Vec<Extra>, Vec<Op>); 7] = [
        // A later commit moved what an earlier one had moved back under its first path.
        (
            false,
            vec![
                Extra::Symlink("c/b".into(), "a".into()),
                Extra::File("a/a/a".into(), Vec::new(), 0o644),
            ],
            vec![
                mv("c/b", "a/a/b"),
                Rmdir("c".into()),
                Commit,
                mv("a/a", "c"),
                Freeze,
                Commit,
                Restart,
            ],
        ),
        // The new directory got the mode of the old one.
        (false, vec![private("d")], vec![Renew("d".into())]),
        (
            false,
            vec![private("x/d")],
            vec![
                mv("x/d", "d"),
                Freeze,
                CommitBelow,
                Rmdir("d".into()),
                Mkdir("d".into()),
            ],
        ),
        // What was moved, committed and removed was found again where it had been moved.
        (
            false,
            vec![Extra::Symlink("l".into(), "target".into())],
            vec![Mkdir("d".into()), mv("l", "d/l"), Commit, Renew("d".into())],
        ),
        // What was moved and committed could not be moved again.
        (
            true,
            Vec::new(),
            vec![mv("b/x", "a"), Commit, mv("a", "b/a"), Freeze],
        ),
        // A change that is none does not take a time away that was set.
        (
            true,
            Vec::new(),
            vec![Touch("a".into(), 9), Freeze, SetLen("a".into(), 13)],
        ),
        // One of two names went with its directory.
        (
            true,
            Vec::new(),
            vec![
                Link("a".into(), "b/a".into()),
                Commit,
                Freeze,
                Renew("b".into()),
                Write("a".into(), 0, vec![0]),
            ],
        ),
    ];
    for (seeded, extras, ops) in programs {
        let program = Program {
            on_disk: false,
            seeded,
            extras,
            ops,
        };
        let mut run = Run::new(&program);
        for (index, op) in program.ops.iter().enumerate() {
            run.step(index, op);
        }
        run.end();
    }
}

/// Counts what a commit does.
#[derive(Default)]
struct Count(AtomicUsize);

impl Tap for Arc<Count> {
    fn before(&self, _: &'static str) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Storage operations of the commit that moves a directory with so many entries.
fn moved(entries: usize) -> usize {
    let scratch = Scratch::in_memory();
    let name = |index: usize| format!("entry-{index:06}");
    fs::create_dir(scratch.path().join("many")).expect("makes");
    for index in 0..entries {
        fs::write(scratch.path().join("many").join(name(index)), "").expect("writes");
    }
    let count = Arc::new(Count::default());
    let tap = Arc::clone(&count);
    let workspace = scratch.open_with(|inner| Arc::new(Tapped { inner, tap }) as Arc<dyn Storage>);
    let mut branch = workspace.snapshot().branch();
    let many = branch.resolve("many").expect("is there");
    let listed: Vec<_> = branch.list(many).expect("lists");
    assert!(
        listed
            .iter()
            .map(|entry| &entry.name)
            .eq((0..entries).map(name).collect::<Vec<_>>().iter())
    );
    branch.mv("many", "moved").expect("renames");
    assert_eq!(branch.resolve("moved").expect("is there"), many);
    let last = name(entries - 1);
    let found = branch.lookup(many, &last).expect("is there");
    assert_eq!(branch.path_of(found).ok(), Some(format!("moved/{last}")));
    assert_eq!(branch.list(many).expect("lists"), listed);
    // What is changed does not depend on what is in the directory.
    assert!(branch.usage().nodes <= 4, "{:?}", branch.usage());
    let (snapshot, delta) = branch.freeze().expect("freezes");
    assert_eq!(delta.changed().len(), 1);
    assert!(delta.to_bytes().expect("reads").len() < 1_024);
    workspace
        .commit(&delta, &MemoryLog::default())
        .expect("commits");
    assert_eq!(
        fs::read_dir(scratch.path().join("moved"))
            .expect("lists")
            .count(),
        entries
    );
    assert_eq!(snapshot.branch().list(many).expect("lists"), listed);
    count.0.load(Ordering::Relaxed)
}

#[test]
fn a_directory_of_a_hundred_thousand_entries_is_moved_like_one_of_one_entry() {
    assert_eq!(moved(100_000), moved(1));
}

#[test]
fn a_new_directory_of_a_hundred_thousand_entries_is_listed_found_in_and_moved() {
    const ENTRIES: usize = 100_000;
    let scratch = Scratch::in_memory();
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    let many = branch.create_dir(Inode::ROOT, "many").expect("makes");
    let name = |index: usize| format!("entry-{index:06}");
    for index in (0..ENTRIES).rev() {
        branch.create_file(many, &name(index)).expect("creates");
    }
    let before = branch.usage().nodes;
    branch.mv("many", "moved").expect("renames");
    assert!(branch.usage().nodes.abs_diff(before) <= 2);
    let listed = branch.list(many).expect("lists");
    assert_eq!(listed.len(), ENTRIES);
    assert!(listed.is_sorted_by_key(|entry| entry.name.clone()));
    for index in [0, 1, ENTRIES / 2, ENTRIES - 1] {
        branch
            .resolve(&format!("moved/{}", name(index)))
            .expect("is there");
    }
    // A version more costs nothing of what the directory holds.
    let (snapshot, delta) = branch.freeze().expect("freezes");
    assert_eq!(delta.changed().len(), ENTRIES + 1);
    let mut branch = snapshot.branch();
    branch.rm(&format!("moved/{}", name(7))).expect("removes");
    branch.mv("moved", "again").expect("renames");
    let (_, delta) = branch.freeze().expect("freezes");
    assert_eq!(delta.changed().len(), 2, "{:?}", delta.changed());
}
