//! What a commit costs, beside the least that the same durability takes when it is
//! written by hand: what replaces a file is written and synced, a record of it goes into
//! a database in one transaction, and the two change places.
//!
//! On the disk that the target directory is on. `cargo bench -p forerun-journal`
//!
//! Linux 6.18, a VM of 2 vCPUs whose disk others used, too; ratios of medians, each of
//! one run, over seven runs (1,000 files, and in memory: over earlier ones). Wanted is
//! 2 × at most.
//!
//! | | by hand | commit |
//! |---|---|---|
//! | 1 file, ext4 on the disk | 0.7–0.8 ms | 1.0–1.7 × |
//! | 1,000 files, ext4 on the disk | 80–300 ms | 0.5–1.3 × |
//! | 1 file, ext4 in memory | 0.1–0.3 ms | 1.4–3.6 × |
//! | 1,000 files, ext4 in memory | 25–30 ms | 1.8–2.5 × |
//!
//! In memory a sync costs next to nothing, so that system calls are what is left: many
//! times those by hand, because everything is looked at safely before and after it is
//! touched. On the disk, one file takes one more sync than by hand, of the slot's
//! directory; that directory's own name was synced with those of the next commits.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, criterion_group, criterion_main};
use forerun_journal::Journal;
use forerun_snapshot::{Delta, Inode, OpenOptions, Retention, Timestamp, Workspace};
use rusqlite::{Connection, params};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, RenameFlags};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Files that are replaced by one commit.
const COUNTS: [usize; 2] = [1, 1_000];
/// A small file.
const FILE_BYTES: usize = 4_096;
/// Bytes of the record of one replaced file, as the committer's is.
const RECORD_BYTES: usize = 600;
/// Files of displaced versions that pile up before they are cleared, untimed.
const DISPLACED_MAX: usize = 4_000;

/// A directory on the disk, with files to be replaced.
struct Disk {
    dir: tempfile::TempDir,
    round: u64,
}

impl Disk {
    fn new(files: usize) -> Disk {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        for name in ["workspace/src", "state"] {
            fs::create_dir_all(dir.path().join(name)).expect("makes");
        }
        let disk = Disk { dir, round: 0 };
        for n in 0..files {
            let path = disk.path("workspace/src").join(format!("f{n}"));
            fs::write(path, disk.bytes(n)).expect("writes");
        }
        let state = disk.open("state");
        rustix::fs::syncfs(state).expect("syncs");
        disk
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn open(&self, name: &str) -> OwnedFd {
        fs::File::open(self.path(name)).expect("opens").into()
    }

    /// Content that no file had before.
    fn bytes(&self, file: usize) -> [u8; FILE_BYTES] {
        let mut bytes = [7; FILE_BYTES];
        bytes[..8].copy_from_slice(&self.round.to_le_bytes());
        bytes[8..16].copy_from_slice(&file.to_le_bytes());
        bytes
    }
}

/// The committer with its journal.
struct Ours {
    disk: Disk,
    files: usize,
    workspace: Workspace,
    journal: Journal,
    displaced: usize,
}

impl Ours {
    fn new(files: usize) -> Ours {
        let disk = Disk::new(files);
        let journal = Journal::open(&disk.path("state")).expect("opens");
        let options = OpenOptions {
            state_dir: disk.path("state"),
            masks: Vec::new(),
        };
        let workspace = Workspace::open(&disk.path("workspace"), &options).expect("opens");
        Ours {
            disk,
            files,
            workspace,
            journal,
            displaced: 0,
        }
    }

    fn delta(&mut self) -> Delta {
        self.disk.round += 1;
        let mut branch = self.workspace.snapshot().branch();
        for n in 0..self.files {
            let path = format!("src/f{n}");
            let located = branch.lookup_path(Inode::ROOT, &path).expect("is there");
            let (file, _) = located.node.expect("is there");
            branch.write(file, 0, &self.disk.bytes(n)).expect("writes");
        }
        branch.freeze().expect("freezes").1
    }

    fn commit(&mut self) -> Duration {
        let delta = self.delta();
        let start = Instant::now();
        self.workspace
            .commit(&delta, &self.journal)
            .expect("commits");
        let taken = start.elapsed();
        self.displaced += self.files;
        if self.displaced >= DISPLACED_MAX {
            self.displaced = 0;
            let (journal, now) = (&self.journal, Timestamp::now());
            let none = Retention {
                age: Duration::ZERO,
                bytes: 0,
            };
            self.workspace.flush(journal).expect("flushes");
            self.workspace.expire(none, now, journal).expect("expires");
        }
        taken
    }
}

/// The same by hand.
struct Floor {
    disk: Disk,
    files: usize,
    workspace: OwnedFd,
    database: Connection,
    displaced: usize,
}

impl Floor {
    fn new(files: usize) -> Floor {
        let disk = Disk::new(files);
        Floor {
            workspace: disk.open("workspace"),
            database: database(&disk.path("workspace").join("../floor")),
            disk,
            files,
            displaced: 0,
        }
    }

    fn commit(&mut self) -> Duration {
        self.disk.round += 1;
        let names: Vec<_> = (0..self.files)
            .map(|n| (format!("s{n}"), format!("src/f{n}")))
            .collect();
        // A directory of its own: where many files were removed lately, ext4 is slow to
        // make new ones.
        let slots = format!("state/{}", self.disk.round);
        fs::create_dir(self.disk.path(&slots)).expect("makes");
        let slots = self.disk.open(&slots);
        let record = "r".repeat(RECORD_BYTES * self.files);
        let start = Instant::now();
        for (n, (slot, _)) in names.iter().enumerate() {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o600);
            let file = rustix::fs::openat(&slots, slot, flags, mode).expect("creates");
            rustix::io::write(&file, &self.disk.bytes(n)).expect("writes");
            if self.files == 1 {
                rustix::fs::fsync(&file).expect("syncs");
            }
        }
        if self.files > 1 {
            rustix::fs::syncfs(&slots).expect("syncs");
        }
        self.database
            .prepare_cached("INSERT INTO records (record) VALUES (?1)")
            .and_then(|mut insert| insert.execute(params![record]))
            .expect("records");
        for (slot, path) in &names {
            rustix::fs::renameat_with(&slots, slot, &self.workspace, path, RenameFlags::EXCHANGE)
                .expect("exchanges");
        }
        let taken = start.elapsed();
        self.displaced += self.files;
        if self.displaced >= DISPLACED_MAX {
            self.displaced = 0;
            let state = self.disk.path("state");
            fs::remove_dir_all(&state).expect("removes");
            fs::create_dir(&state).expect("makes");
            rustix::fs::syncfs(self.disk.open("state")).expect("syncs");
        }
        taken
    }
}

fn database(path: &Path) -> Connection {
    let database = Connection::open(path).expect("opens");
    for (pragma, value) in [("journal_mode", "WAL"), ("synchronous", "FULL")] {
        database.pragma_update(None, pragma, value).expect("sets");
    }
    let table = "CREATE TABLE records (id INTEGER PRIMARY KEY, record TEXT NOT NULL)";
    database.execute_batch(table).expect("creates");
    database
}

fn commit(criterion: &mut Criterion) {
    for files in COUNTS {
        let mut group = criterion.benchmark_group(format!("replace {files} files of 4 KiB"));
        group.sample_size(20).sampling_mode(SamplingMode::Flat);
        let mut floor = Floor::new(files);
        bench(&mut group, "by hand", || floor.commit());
        let mut ours = Ours::new(files);
        bench(&mut group, "commit", || ours.commit());
        group.finish();
    }
}

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut once: impl FnMut() -> Duration) {
    group.bench_function(name, |b| {
        b.iter_custom(|count| (0..count).map(|_| once()).sum());
    });
}

criterion_group!(all, commit);
criterion_main!(all);
