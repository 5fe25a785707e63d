//! What branching, freezing and looking up cost, beside `std::fs::metadata`.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use forerun_snapshot::{Branch, Inode, OpenOptions, Snapshot, Workspace};
use std::fs;
use std::hint::black_box;

/// Files of the base, in 100 directories.
const FILES: usize = 10_000;
/// Nodes that are changed in the larger snapshot.
const CHANGED: usize = 1_000;

fn resolve(branch: &mut Branch, path: &str) -> Inode {
    path.split('/').fold(Inode::ROOT, |dir, name| {
        branch.lookup(dir, name).expect("is in the base")
    })
}

fn changed(snapshot: &Snapshot, count: usize) -> Snapshot {
    let mut branch = snapshot.branch();
    for n in 0..count {
        let file = branch
            .create_file(Inode::ROOT, &format!("new-{n}"))
            .expect("creates");
        branch.write(file, 0, &[7; 4096]).expect("writes");
    }
    branch.freeze().expect("freezes").0
}

fn benches(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let state_dir = tempfile::tempdir().expect("a temporary directory");
    for n in 0..FILES {
        let path = dir.path().join(format!("a/d{}/f{n}", n % 100));
        fs::create_dir_all(path.parent().expect("has one")).expect("creates");
        fs::write(path, [1; 4096]).expect("writes");
    }
    let options = OpenOptions {
        state_dir: state_dir.path().to_owned(),
        masks: Vec::new(),
    };
    let workspace = Workspace::open(dir.path(), &options).expect("opens");
    let base = workspace.snapshot();
    let large = changed(&base, CHANGED);

    criterion.bench_function("branch, nothing changed", |b| b.iter(|| base.branch()));
    criterion.bench_function("branch, 1000 nodes changed", |b| b.iter(|| large.branch()));
    criterion.bench_function("freeze 10 new files of 4 KiB", |b| {
        b.iter_batched(
            || {
                let mut branch = large.branch();
                for n in 0..10 {
                    let name = format!("more-{n}");
                    let file = branch.create_file(Inode::ROOT, &name).expect("creates");
                    branch.write(file, 0, &[9; 4096]).expect("writes");
                }
                branch
            },
            |branch| branch.freeze().expect("freezes"),
            BatchSize::SmallInput,
        );
    });

    let mut branch = large.branch();
    let path = dir.path().join("a/d7/f7");
    criterion.bench_function("std::fs::metadata at depth 3", |b| {
        b.iter(|| fs::metadata(black_box(&path)).expect("is there"));
    });
    criterion.bench_function("resolve and metadata at depth 3, base", |b| {
        b.iter(|| {
            let node = resolve(&mut branch, black_box("a/d7/f7"));
            branch.metadata(node).expect("is there")
        });
    });
    criterion.bench_function("resolve and metadata, changed", |b| {
        b.iter(|| {
            let node = resolve(&mut branch, black_box("new-500"));
            branch.metadata(node).expect("is there")
        });
    });
}

criterion_group!(all, benches);
criterion_main!(all);
