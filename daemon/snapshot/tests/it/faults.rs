//! Storage that fails: at every single operation of a commit, of its taking back and of
//! its recovery. The workspace is the one before or the one after, the error is clear,
//! and the next commit works once the fault is gone.

use crate::ops::compare;
use crate::support::{
    Manifest, MemoryLog, Paths, Scratch, Tap, Tapped, branch_manifest, settle, tell,
};
use forerun_snapshot::{Branch, Commit, CommitError, FsError, IntentState, Storage, Workspace};
use rustix::fs::IFlags;
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const ERRNOS: [Errno; 5] = [
    Errno::IO,
    Errno::NOSPC,
    Errno::XDEV,
    Errno::ACCESS,
    Errno::ROFS,
];

/// For how long a storage fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasts {
    /// One operation.
    Once,
    /// Every change from there on, until it is mended.
    Changes,
    /// Everything from there on, until it is mended.
    All,
}

/// Fails the operation after so many, and perhaps those after it.
struct Fault {
    left: AtomicUsize,
    errno: Errno,
    lasts: Lasts,
    mended: AtomicBool,
    met: AtomicUsize,
}

impl Fault {
    fn after(operations: usize, errno: Errno, lasts: Lasts) -> Arc<Fault> {
        Arc::new(Fault {
            left: AtomicUsize::new(operations),
            errno,
            lasts,
            mended: AtomicBool::new(false),
            met: AtomicUsize::new(0),
        })
    }

    /// Ends it; whether it was met.
    fn mend(&self) -> bool {
        self.mended.store(true, Ordering::SeqCst);
        self.met.load(Ordering::SeqCst) > 0
    }
}

impl Tap for Arc<Fault> {
    fn before(&self, operation: &'static str) -> io::Result<()> {
        let step = |left: usize| left.checked_sub(1);
        let reached = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, step)
            .is_err();
        if !reached || self.mended.load(Ordering::SeqCst) {
            return Ok(());
        }
        let reads = [
            "observe",
            "digest",
            "read",
            "list",
            "is_writable",
            "same_mount",
        ];
        let first = self.met.load(Ordering::SeqCst) == 0;
        let fails = match self.lasts {
            Lasts::Once => first,
            Lasts::Changes => first || !reads.contains(&operation),
            Lasts::All => true,
        };
        if fails {
            self.met.fetch_add(1, Ordering::SeqCst);
            return Err(self.errno.into());
        }
        Ok(())
    }
}

fn open(scratch: &Scratch, fault: &Arc<Fault>) -> Workspace {
    let tap = Arc::clone(fault);
    scratch.open_with(|inner| Arc::new(Tapped { inner, tap }) as Arc<dyn Storage>)
}

fn base(scratch: &Scratch) {
    for path in ["a", "b", "dir/a", "dir/deep/c", "tree/x/y", "tree/w"] {
        scratch.write(path, &format!("{path} of the base"));
    }
    symlink("a", scratch.path().join("link")).expect("links");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(scratch.path().join("b"), mode).expect("chmods");
}

type Change = fn(&mut Branch) -> Result<(), FsError>;

/// Commits of all kinds of operations.
const SHAPES: [(&str, Change); 8] = [
    ("replace", |b| b.put("a", "new").and(b.put("dir/a", "new"))),
    ("new", |b| {
        b.put("dir/new", "1")?;
        b.mkdir("n")?;
        b.mkdir("n/m")?;
        b.put("n/m/one", "1")
    }),
    ("delete", |b| b.rm("a").and(b.rm_all("tree"))),
    ("move", |b| {
        b.mv("dir", "moved")?;
        b.mv("a", "b")?;
        b.put("moved/a", "edited")
    }),
    ("swap", |b| {
        b.mv("dir", "t")?;
        b.mv("tree", "dir")?;
        b.mv("t", "tree")
    }),
    ("links", |b| {
        let (node, root) = (b.resolve("a")?, b.root());
        b.link(node, root, "a2")?;
        b.rm("link")?;
        b.symlink(root, "link", "b").map(drop)
    }),
    ("times", |b| {
        let node = b.resolve("dir")?;
        let time = Some(forerun_snapshot::Timestamp { secs: 9, nanos: 0 });
        b.put("dir/a", "new")?;
        b.set_times(node, time, time)
    }),
    ("everything", |b| {
        b.put("a", "new")?;
        b.rm("b")?;
        b.mv("dir/deep", "deep")?;
        b.rm_all("dir")?;
        b.mkdir("dir")?;
        b.put("dir/x", "y")?;
        b.mv("tree/x", "dir/x2")?;
        b.rm("link")
    }),
];

/// Freezes what a change makes of the workspace as it is, and tells the tree after it.
fn frozen(workspace: &Workspace, change: Change) -> (forerun_snapshot::Delta, Manifest) {
    let mut branch = workspace.snapshot().branch();
    change(&mut branch).expect("changes");
    let (snapshot, delta) = branch.freeze().expect("freezes");
    let after = branch_manifest(&mut snapshot.branch());
    (delta, after)
}

/// What is wrong with an error that this fault caused: it is to tell the kind of the
/// fault, a path, and what can be done about it.
fn unclear(error: &CommitError, errno: Errno) -> Option<String> {
    let code = match errno {
        Errno::IO | Errno::NOSPC => "commit_io",
        _ => "unwritable",
    };
    // Slots are nobody's business; of all that is here only they have such names.
    let names = |path: &str| !path.is_empty() && !path.contains('-');
    let clear = error.code() == code && error.path().is_some_and(names) && error.hint().is_some();
    (!clear).then(|| format!("{errno}: {error:?}"))
}

/// One more commit works and leaves nothing behind.
fn check_next(scratch: &Scratch, workspace: &Workspace, log: &MemoryLog, context: &str) {
    let mut expected = scratch.manifest();
    let (delta, after) = frozen(workspace, |branch| branch.put("next", "next"));
    let next = workspace.commit(&delta, log);
    assert!(next.is_ok(), "{context}: the next commit: {next:?}");
    expected.insert("next".to_owned(), after["next"].clone());
    compare(&scratch.manifest(), &expected, context);
    let recovery = workspace.recover(log).expect("recovers");
    assert!(recovery.kept.is_empty(), "{context}: {recovery:?}");
    compare(&scratch.manifest(), &expected, context);
    assert_eq!(settle(workspace, log), [], "{context}");
    let left = scratch.leftovers();
    assert!(left.is_empty(), "{context}: {left:?}");
    assert!(log.states().iter().all(Option::is_some), "{context}");
}

/// A commit with a fault in it. Returns whether the fault was met, and the error.
fn commit_with(name: &str, change: Change, fault: &Arc<Fault>) -> (bool, Option<CommitError>) {
    let context = format!(
        "{name} {:?} {:?} {:?}",
        fault.left, fault.errno, fault.lasts
    );
    let scratch = Scratch::in_memory();
    base(&scratch);
    let before = scratch.manifest();
    let workspace = open(&scratch, fault);
    let (delta, after) = frozen(&workspace, change);
    let log = MemoryLog::default();
    let result: Result<Commit, _> = workspace.commit(&delta, &log);
    let at_return = scratch.manifest();
    let met = fault.mend();
    match &result {
        Ok(_) => compare(&at_return, &after, &context),
        Err(_) => {
            // A storage that goes on failing can not be used to take anything back: that
            // is done first of all when it works again.
            if fault.lasts == Lasts::Once {
                compare(&at_return, &before, &context);
            } else if at_return != before {
                let (empty, _) = frozen(&workspace, |_| Ok(()));
                let finished = workspace.commit(&empty, &log);
                assert!(finished.is_ok(), "{context}: {finished:?}");
                compare(&scratch.manifest(), &before, &context);
            }
            let applied = log.states().first() == Some(&Some(IntentState::Applied));
            assert!(!applied, "{context}");
        }
    }
    check_next(&scratch, &workspace, &log, &context);
    (met, result.err())
}

/// Fails every operation of every shape; returns the errors, with what caused them.
fn commit_everywhere(
    lasts: Lasts,
    errnos: impl Fn(usize) -> Vec<Errno>,
) -> Vec<(Errno, CommitError)> {
    let mut errors = Vec::new();
    for (name, change) in SHAPES {
        for operations in 0.. {
            let mut met = false;
            for errno in errnos(operations) {
                let fault = Fault::after(operations, errno, lasts);
                let (was_met, error) = commit_with(name, change, &fault);
                met |= was_met;
                errors.extend(error.map(|error| (errno, error)));
            }
            if !met {
                assert!(operations > 10, "{name} was tried");
                break;
            }
        }
    }
    errors
}

#[test]
fn an_operation_that_fails_once_leaves_the_workspace_as_it_was_or_as_it_is_to_be() {
    commit_everywhere(Lasts::Once, |_| ERRNOS.to_vec());
}

#[test]
fn a_storage_that_goes_on_refusing_changes_is_put_right_when_it_is_mended() {
    commit_everywhere(Lasts::Changes, |nth| vec![ERRNOS[nth % ERRNOS.len()]]);
}

#[test]
fn a_storage_that_goes_on_failing_is_put_right_when_it_is_mended() {
    commit_everywhere(Lasts::All, |_| vec![Errno::IO]);
}

#[test]
fn a_fault_is_told_by_its_kind_and_its_path() {
    let errors = commit_everywhere(Lasts::Changes, |_| ERRNOS.to_vec());
    let unclear = errors
        .iter()
        .filter_map(|(errno, error)| unclear(error, *errno));
    let unclear: std::collections::BTreeSet<_> = unclear.collect();
    assert!(unclear.is_empty(), "{unclear:#?}");
}

/// Its caller was told so, whatever became of the daemon then.
#[test]
fn a_commit_that_failed_is_taken_back_by_the_recovery_of_the_next_daemon() {
    let mut recovered = 0;
    for (name, change) in SHAPES {
        for operations in 0.. {
            let fault = Fault::after(operations, Errno::ROFS, Lasts::Changes);
            let scratch = Scratch::in_memory();
            base(&scratch);
            let before = scratch.manifest();
            let workspace = open(&scratch, &fault);
            let (delta, after) = frozen(&workspace, change);
            let log = MemoryLog::default();
            let result = workspace.commit(&delta, &log);
            recovered += usize::from(scratch.manifest() != before && result.is_err());
            drop(workspace);
            let met = fault.mend();

            let context = format!("{name} {operations}");
            let workspace = scratch.open();
            workspace.recover(&log).expect("recovers");
            let expected = match result {
                Ok(_) => &after,
                Err(_) => &before,
            };
            compare(&scratch.manifest(), expected, &context);
            check_next(&scratch, &workspace, &log, &context);
            if !met {
                break;
            }
        }
    }
    assert!(recovered > 0, "some could not be taken back at once");
}

/// A commit stops (as in a crash) at one operation, and its recovery fails at another.
#[test]
fn a_recovery_that_fails_anywhere_is_completed_by_the_next() {
    for (index, (name, change)) in SHAPES.into_iter().enumerate() {
        for stop in 0.. {
            // Not every pair: the steps through both are of different lengths.
            let mut failing = (stop * 5 + index) % 7;
            let mut stopped = true;
            loop {
                let errno = ERRNOS[(stop + failing) % ERRNOS.len()];
                let lasts = match failing % 3 {
                    0 => Lasts::Once,
                    1 => Lasts::Changes,
                    _ => Lasts::All,
                };
                let context = format!("{name} {stop} {failing} {errno} {lasts:?}");
                let crash = Fault::after(stop, Errno::IO, Lasts::All);
                let scratch = Scratch::in_memory();
                base(&scratch);
                let before = scratch.manifest();
                let log = MemoryLog::default();
                let workspace = open(&scratch, &crash);
                let (delta, after) = frozen(&workspace, change);
                let _ = workspace.commit(&delta, &log);
                drop(workspace);
                stopped &= crash.mend();

                let fault = Fault::after(failing, errno, lasts);
                let workspace = open(&scratch, &fault);
                let _ = workspace.recover(&log);
                let met = fault.mend();
                let again = workspace.recover(&log);
                assert!(again.is_ok(), "{context}: {again:?}");
                let expected = match log.states().first() {
                    Some(Some(IntentState::Applied)) => &after,
                    _ => &before,
                };
                compare(&scratch.manifest(), expected, &context);
                check_next(&scratch, &workspace, &log, &context);
                if !met {
                    break;
                }
                failing += 7;
            }
            if !stopped {
                break;
            }
        }
    }
}

/// A tmpfs of this size is mounted for the tests of a full disk.
const DISK: &str = "size=1m,nr_inodes=220";
const INSIDE: &str = "FORERUN_TEST_FULL_DISK";

/// Runs a test of this module again in a mount namespace of its own, where a directory is
/// a small file system. Returns that directory in the namespace.
fn small_disk(test: &str) -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os(INSIDE) {
        return Some(directory.into());
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let script = format!(
        "mount --make-rprivate / && mount -t tmpfs -o {DISK} tmpfs \"${INSIDE}\" || exit 77
         exec \"$0\" --exact faults::{test} --nocapture",
    );
    let run = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .arg(std::env::current_exe().expect("is running"))
        .env(INSIDE, directory.path())
        .output();
    match run {
        Ok(run) if run.status.success() => {}
        Ok(run) if run.status.code() != Some(101) => {
            tell("SKIPPED: no file system of one's own can be mounted here");
        }
        Ok(run) => panic!(
            "{}\n{}",
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&run.stderr)
        ),
        Err(error) => tell(&format!("SKIPPED: no mount namespace: {error}")),
    }
    None
}

fn fill_bytes(disk: &Path, but: u64) {
    let mut filler = File::create(disk.join("filler")).expect("creates");
    let _ = io::copy(&mut io::repeat(0).take(16 << 20), &mut filler);
    let len = filler.metadata().expect("metadata").len();
    filler.set_len(len.saturating_sub(but)).expect("cuts");
}

fn fill_inodes(disk: &Path, but: u64) {
    fs::create_dir(disk.join("filler")).expect("makes");
    let name = |index: u64| disk.join("filler").join(index.to_string());
    let count = (0..)
        .take_while(|index| File::create(name(*index)).is_ok())
        .count() as u64;
    for index in count.saturating_sub(but)..count {
        fs::remove_file(name(index)).expect("removes");
    }
}

fn empty(disk: &Path) {
    let filler = disk.join("filler");
    fs::remove_file(&filler)
        .or_else(|_| fs::remove_dir_all(&filler))
        .expect("removes");
}

fn on_a_disk_that_is_full(disk: &Path, fill: fn(&Path, u64), left: impl Iterator<Item = u64>) {
    let (mut refused, mut done) = (0, 0);
    for left in left {
        let make = || tempfile::tempdir_in(disk).expect("a temporary directory");
        let scratch = Scratch {
            workspace: make(),
            state: make(),
        };
        base(&scratch);
        let before = scratch.manifest();
        let workspace = scratch.open();
        let log = MemoryLog::default();
        let change: Change = |b| {
            SHAPES[7].1(b)?;
            for index in 0..8 {
                b.put(&format!("dir/{index}"), &"x".repeat(10_000))?;
            }
            b.mkdir("dir/below")?;
            b.put("dir/below/file", "x")
        };
        let (delta, after) = frozen(&workspace, change);
        fill(disk, left);
        let result = workspace.commit(&delta, &log);
        let context = format!("{left} left: {result:?}");
        match &result {
            Ok(_) => done += 1,
            Err(error) => {
                refused += 1;
                assert_eq!(error.code(), "commit_io", "{context}");
                assert!(error.to_string().starts_with("failed to "), "{context}");
            }
        }
        let expected = if result.is_ok() { &after } else { &before };
        compare(&scratch.manifest(), expected, &context);
        empty(disk);
        if result.is_err() {
            let again = workspace.commit(&delta, &log);
            assert!(again.is_ok(), "{context}: {again:?}");
            compare(&scratch.manifest(), &after, &context);
        }
        check_next(&scratch, &workspace, &log, &context);
    }
    assert!(refused > 3 && done > 3, "{refused} {done}");
}

#[test]
fn a_disk_that_is_full_stops_a_commit_and_nothing_else() {
    if let Some(disk) = small_disk("a_disk_that_is_full_stops_a_commit_and_nothing_else") {
        on_a_disk_that_is_full(&disk, fill_bytes, (0..60).map(|page| page * 4_096));
    }
}

#[test]
fn a_disk_without_inodes_stops_a_commit_and_nothing_else() {
    if let Some(disk) = small_disk("a_disk_without_inodes_stops_a_commit_and_nothing_else") {
        on_a_disk_that_is_full(&disk, fill_inodes, 0..40);
    }
}

/// An object that nobody may change, until this is dropped.
struct Immutable(File);

impl Immutable {
    /// `None` if that is not possible here.
    fn make(path: &Path) -> Option<Immutable> {
        let file = File::open(path).expect("opens");
        let flags = rustix::fs::ioctl_getflags(&file).ok()?;
        rustix::fs::ioctl_setflags(&file, flags | IFlags::IMMUTABLE).ok()?;
        Some(Immutable(file))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        let flags = rustix::fs::ioctl_getflags(&self.0).expect("flags");
        rustix::fs::ioctl_setflags(&self.0, flags & !IFlags::IMMUTABLE).expect("sets flags");
    }
}

#[test]
fn what_is_immutable_stops_a_commit_that_is_taken_back_whole() {
    let cases: [(&str, Change); 9] = [
        ("dir/a", |b| b.put("dir/a", "new")),
        ("dir/a", |b| b.rm("dir/a")),
        ("dir/a", |b| b.mv("dir/a", "elsewhere")),
        ("dir/deep/c", |b| b.rm_all("dir")),
        ("dir", |b| b.put("dir/a", "new")),
        ("dir", |b| b.put("dir/new", "new")),
        ("dir", |b| b.mv("dir", "moved")),
        ("dir/deep", |b| b.mv("dir/deep/c", "c")),
        ("tree", |b| b.rm_all("tree")),
    ];
    for (path, change) in cases {
        let scratch = Scratch::new();
        base(&scratch);
        let Some(immutable) = Immutable::make(&scratch.path().join(path)) else {
            tell("SKIPPED: nothing can be made immutable here");
            return;
        };
        let before = scratch.manifest();
        let workspace = scratch.open();
        let log = MemoryLog::default();
        let mut branch = workspace.snapshot().branch();
        // Changes before and after the one that can not be.
        branch.put("a", "new").expect("writes");
        branch.put("zzz", "new").expect("writes");
        change(&mut branch).expect("changes");
        let (snapshot, delta) = branch.freeze().expect("freezes");
        let after = branch_manifest(&mut snapshot.branch());
        let result = workspace.commit(&delta, &log);
        let error = result.expect_err("is refused");
        assert_eq!(error.code(), "unwritable", "{path}: {error}");
        let named = error.path().expect("a path");
        assert!(
            Path::new(named).starts_with(path) || Path::new(path).starts_with(named),
            "{path}: {error}"
        );
        compare(&scratch.manifest(), &before, path);
        drop(immutable);
        workspace.commit(&delta, &log).expect("commits");
        compare(&scratch.manifest(), &after, path);
        check_next(&scratch, &workspace, &log, path);
    }
}
