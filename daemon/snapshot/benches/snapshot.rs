//! What branching, freezing, looking up and opening cost, beside what the system does
//! for the same purpose, in the same run. The crate's documentation has the figures.
//!
//! `cargo bench -p forerun-snapshot`

use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use criterion::{SamplingMode, measurement::WallTime};
use forerun_snapshot::{Branch, Inode, NodeKind, OpenOptions, Snapshot, Workspace};
use std::fs;
use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Files of the base, in 100 directories.
const FILES: usize = 100_000;
/// Nodes that are changed in the larger snapshots.
const CHANGED: [usize; 2] = [1_000, 100_000];
/// Files that are changed before they are stashed.
const STASHED: usize = 10;
/// Small files that are read, in 100 directories at depth 4.
const READ: usize = 10_000;
/// A small file.
const FILE_BYTES: usize = 4_096;

struct Scratch {
    dir: tempfile::TempDir,
    options: OpenOptions,
    _state: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Scratch {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = tempfile::tempdir().expect("a temporary directory");
        let options = OpenOptions {
            state_dir: state.path().to_owned(),
            masks: Vec::new(),
        };
        Scratch {
            dir,
            options,
            _state: state,
        }
    }

    fn with_files() -> Scratch {
        let scratch = Scratch::new();
        for n in 0..FILES {
            let path = scratch.dir.path().join(format!("a/d{}/f{n}", n % 100));
            fs::create_dir_all(path.parent().expect("has one")).expect("creates");
            fs::write(path, [1; 100]).expect("writes");
        }
        scratch
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn open(&self) -> Workspace {
        Workspace::open(self.path(), &self.options).expect("opens")
    }
}

/// Writes new files; each has content of its own.
fn write_new(branch: &mut Branch, prefix: &str, count: usize, len: usize) {
    for n in 0..count {
        let file = branch
            .create_file(Inode::ROOT, &format!("{prefix}-{n}"))
            .expect("creates");
        let mut bytes = [7; FILE_BYTES];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        branch.write(file, 0, &bytes[..len]).expect("writes");
    }
}

/// With short new files, so that all of it is in memory.
fn changed(snapshot: &Snapshot, count: usize) -> Snapshot {
    let mut branch = snapshot.branch();
    write_new(&mut branch, "new", count, 16);
    branch.freeze().expect("freezes").0
}

fn branch_and_drop(criterion: &mut Criterion) {
    let scratch = Scratch::with_files();
    let workspace = scratch.open();
    let base = workspace.snapshot();
    let mut group = criterion.benchmark_group("branch()");
    group.bench_function("0 nodes changed", |b| b.iter(|| base.branch()));
    for count in CHANGED {
        let snapshot = changed(&base, count);
        group.bench_function(format!("{count} nodes changed"), |b| {
            b.iter(|| snapshot.branch());
        });
    }
    group.finish();

    let large = changed(&base, CHANGED[1]);
    criterion.bench_function("drop 100 changed files of 4 KiB at 100000 nodes", |b| {
        let changed = || {
            let mut branch = large.branch();
            write_new(&mut branch, "more", 100, FILE_BYTES);
            branch
        };
        b.iter_batched(changed, drop, BatchSize::PerIteration);
    });
    criterion.bench_function("processor time of that drop", |b| {
        b.iter_custom(|count| {
            let mut taken = Duration::ZERO;
            for _ in 0..count {
                let mut branch = large.branch();
                write_new(&mut branch, "more", 100, FILE_BYTES);
                let start = processor_time();
                drop(branch);
                taken += processor_time() - start;
            }
            taken
        });
    });
    criterion.bench_function("freeze 10 changed files of 4 KiB at 100000 nodes", |b| {
        let changed = || {
            let mut branch = large.branch();
            write_new(&mut branch, "more", 10, FILE_BYTES);
            branch
        };
        let freeze = |branch: Branch| branch.freeze().expect("freezes");
        b.iter_batched(changed, freeze, BatchSize::PerIteration);
    });
}

/// What this thread has used so far.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.try_into().expect("is positive"),
        now.tv_nsec.try_into().expect("is positive"),
    )
}

/// What people use for the same purpose: each a process, as they would run it. Takes
/// minutes, so that it is left out if the run is for something else.
fn references(criterion: &mut Criterion) {
    let mut filters = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    if filters.any(|filter| !filter.starts_with("instead")) {
        return;
    }
    let scratch = Scratch::with_files();
    let base = scratch.path();
    let mut group = criterion.benchmark_group("instead of branch()");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_secs(1));
    let copies = tempfile::tempdir().expect("a temporary directory");
    let target = copies.path().join("copy");
    let cp = |how: &str| {
        let mut command = Command::new("cp");
        command.args(["-a", how]).arg(base).arg(&target);
        command
    };
    let remove = || fs::remove_dir_all(&target).unwrap_or_default();
    reference(&mut group, "cp -a", || cp("--reflink=never"), remove);
    reference(
        &mut group,
        "cp --reflink",
        || cp("--reflink=always"),
        remove,
    );

    let lower = base.display();
    for name in ["upper", "work", "merged"] {
        fs::create_dir(copies.path().join(name)).expect("creates");
    }
    let at = copies.path().display();
    let options = format!("lowerdir={lower},upperdir={at}/upper,workdir={at}/work,userxattr");
    let overlay = || {
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--mount",
            "mount",
            "-t",
            "overlay",
        ]);
        command.args(["overlay", "-o", &options]);
        command.arg(copies.path().join("merged"));
        command
    };
    reference(
        &mut group,
        "overlayfs mount in a user namespace",
        overlay,
        || (),
    );

    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(base).args(["-c", "user.name=bench"]);
        command.args(["-c", "user.email=bench@localhost", "-c", "gc.auto=0"]);
        command.args(args);
        command
    };
    let commit: [&[&str]; 3] = [&["init", "-q"], &["add", "-A"], &["commit", "-qm", "base"]];
    if commit.iter().all(|args| run(&mut git(args))) {
        let tree = target.to_string_lossy().into_owned();
        let add = || git(&["worktree", "add", "-q", "--detach", &tree]);
        reference(&mut group, "git worktree add", add, || {
            remove();
            run(&mut git(&["worktree", "prune"]));
        });
        // The way back rather than the way there: what was changed is put away.
        for n in 0..STASHED {
            let path = base.join(format!("a/d{n}/f{n}"));
            fs::write(path, "changed").expect("writes");
        }
        let stash = || git(&["stash", "-q"]);
        reference(&mut group, "git stash of 10 changed files", stash, || {
            run(&mut git(&["stash", "pop", "-q"]));
        });
    }
    group.finish();
}

fn run(command: &mut Command) -> bool {
    let silent = command.stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// Times a command, or says that it can not be run here.
#[expect(clippy::print_stderr, reason = "it is for the person who runs it")]
fn reference(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    command: impl Fn() -> Command,
    undo: impl Fn(),
) {
    let works = run(&mut command());
    undo();
    if !works {
        eprintln!("{name}: not possible here, skipped");
        return;
    }
    group.bench_function(name, |b| {
        b.iter_custom(|count| {
            let mut taken = Duration::ZERO;
            for _ in 0..count {
                let start = Instant::now();
                assert!(run(&mut command()), "{name} worked before");
                taken += start.elapsed();
                undo();
            }
            taken
        });
    });
}

fn look_up(criterion: &mut Criterion) {
    let scratch = Scratch::with_files();
    let workspace = scratch.open();
    let snapshot = changed(&workspace.snapshot(), CHANGED[0]);
    let mut branch = snapshot.branch();
    let dir = branch.create_dir(Inode::ROOT, "b").expect("creates");
    let inner = branch.create_dir(dir, "d").expect("creates");
    branch.create_file(inner, "f").expect("creates");
    let path = scratch.path().join("a/d7/f7");

    let mut group = criterion.benchmark_group("look-up with attributes at depth 3");
    group.bench_function("std::fs::metadata", |b| {
        b.iter(|| fs::metadata(black_box(&path)).expect("is there"));
    });
    let mut names = |name: &str, path: &str| {
        group.bench_function(name, |b| {
            b.iter(|| {
                let names = black_box(path).split('/');
                let node = names.fold(Inode::ROOT, |dir, name| {
                    branch.lookup(dir, name).expect("is there")
                });
                branch.metadata(node).expect("is there")
            });
        });
    };
    names("base file, name by name", "a/d7/f7");
    names("changed file, name by name", "b/d/f");
    for (name, path) in [("base file", "a/d7/f7"), ("changed file", "b/d/f")] {
        group.bench_function(name, |b| {
            b.iter(|| {
                branch
                    .metadata_at(Inode::ROOT, black_box(path))
                    .expect("is there")
            });
        });
    }
    group.finish();
}

/// What a tool does that walks through everything and reads it: lists each directory, and
/// opens and reads each file by its path.
fn read_everything(branch: &mut Branch, dir: &str, buf: &mut [u8]) -> usize {
    let node = match dir {
        "" => Inode::ROOT,
        dir => {
            let located = branch.lookup_path(Inode::ROOT, dir).expect("is there");
            located.node.expect("was listed").0
        }
    };
    let mut total = 0;
    for entry in branch.list(node).expect("lists") {
        let path = match dir {
            "" => entry.name,
            dir => format!("{dir}/{}", entry.name),
        };
        if entry.kind == NodeKind::Directory {
            total += read_everything(branch, &path, buf);
            continue;
        }
        let located = branch.lookup_path(Inode::ROOT, &path).expect("is there");
        let (file, _) = located.node.expect("was listed");
        branch.hold(file);
        branch.open(file).expect("opens");
        let mut offset = 0;
        loop {
            match branch.read(file, offset, buf).expect("reads") {
                0 => break,
                count => offset += count as u64,
            }
        }
        branch.release(file);
        total += offset as usize;
    }
    total
}

/// The same without a branch.
fn read_everything_plainly(dir: &Path, buf: &mut Vec<u8>) -> usize {
    let mut total = 0;
    for entry in fs::read_dir(dir).expect("lists") {
        let entry = entry.expect("an entry");
        if entry.file_type().expect("a type").is_dir() {
            total += read_everything_plainly(&entry.path(), buf);
            continue;
        }
        buf.clear();
        let mut file = fs::File::open(entry.path()).expect("opens");
        total += file.read_to_end(buf).expect("reads");
    }
    total
}

fn small_files(criterion: &mut Criterion) {
    let scratch = Scratch::new();
    let text = "fn number() {}\n".repeat(60);
    for n in 0..READ {
        let path = scratch.path().join(format!("a/b/c{}/d/f{n}", n % 100));
        fs::create_dir_all(path.parent().expect("has one")).expect("creates");
        fs::write(path, &text).expect("writes");
    }
    let snapshot = scratch.open().snapshot();
    let mut group = criterion.benchmark_group(format!("read {READ} small files"));
    group.sample_size(20).sampling_mode(SamplingMode::Flat);
    group.bench_function("std::fs", |b| {
        let mut buf = Vec::new();
        b.iter(|| {
            let total = read_everything_plainly(scratch.path(), &mut buf);
            assert_eq!(total, READ * text.len());
        });
    });
    group.bench_function("of the base", |b| {
        let mut buf = vec![0; 64 << 10];
        b.iter(|| {
            let total = read_everything(&mut snapshot.branch(), "", &mut buf);
            assert_eq!(total, READ * text.len());
        });
    });
    group.finish();
}

fn large_file(criterion: &mut Criterion) {
    let scratch = Scratch::new();
    let file = fs::File::create(scratch.path().join("disk")).expect("creates");
    file.set_len(1 << 30).expect("extends");
    let workspace = scratch.open();
    let snapshot = workspace.snapshot();
    let mut node = snapshot.branch();
    let node = node.lookup(Inode::ROOT, "disk").expect("is there");
    criterion.bench_function("change one byte of 1 GiB", |b| {
        let change = |mut branch: Branch| {
            branch.write(node, 1 << 29, b"x").expect("writes");
            branch
        };
        b.iter_batched(|| snapshot.branch(), change, BatchSize::PerIteration);
    });
}

fn open(criterion: &mut Criterion) {
    let scratch = Scratch::with_files();
    criterion.bench_function("open a workspace of 100000 files", |b| {
        b.iter_with_large_drop(|| drop(scratch.open()));
    });
}

criterion_group!(
    all,
    branch_and_drop,
    look_up,
    small_files,
    large_file,
    open,
    references
);
criterion_main!(all);
