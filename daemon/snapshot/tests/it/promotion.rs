//! Promotion: snapshots that were made on top of a commit show the same after it, and
//! hold no more than what is not committed.

use crate::ops::{compare, seed_tree};
use crate::support::{MemoryLog, Paths, Scratch, branch_manifest};
use forerun_snapshot::{Branch, Delta, DeltaUsage, Inode, Snapshot};
use std::collections::BTreeMap;

/// Path → inode, of everything that a snapshot shows.
fn inodes(branch: &mut Branch) -> BTreeMap<String, Inode> {
    let paths = branch_manifest(branch);
    paths
        .into_keys()
        .map(|path| {
            let inode = branch.resolve(&path).expect("is there");
            (path, inode)
        })
        .collect()
}

/// A chain of steps of all kinds; each is one on the snapshot before.
fn steps() -> Vec<fn(&mut Branch)> {
    vec![
        |b| {
            b.mkdir("new").expect("makes");
            b.put("new/file", "one").expect("writes");
            b.put("a", "changed").expect("writes");
        },
        |b| {
            b.mv("b", "moved").expect("renames");
            b.put("moved/c/more", "more").expect("writes");
        },
        |b| {
            b.rm_all("c").expect("removes");
            b.mkdir("c").expect("makes");
            b.put("c/instead", "other").expect("writes");
        },
        |b| {
            let file = b.resolve("new/file").expect("is there");
            b.link(file, Inode::ROOT, "linked").expect("links");
            let dir = b.resolve("moved").expect("is there");
            b.link(file, dir, "third").expect("links");
        },
        |b| {
            b.rm("a").expect("removes");
            b.symlink(Inode::ROOT, "a", "c/instead").expect("links");
        },
        |b| {
            b.put("linked", "through one of its names").expect("writes");
            b.mv("moved", "new/inner").expect("renames");
        },
        |b| {
            b.put("c/tmp", "saved").expect("writes");
            b.mv("c/tmp", "c/instead").expect("renames");
            b.rm("new/inner/third").expect("removes");
        },
        |b| {
            b.mv("new/inner/c", "deep").expect("renames");
            b.rm_all("new/inner").expect("removes");
        },
        |b| {
            b.rm("x").expect("removes");
            b.mkdir("x").expect("makes");
            b.mv("deep", "x/deep").expect("renames");
        },
        |b| b.put("x/deep/more", "the last").expect("writes"),
    ]
}

#[test]
fn ten_descendants_show_the_same_before_and_after_each_commit_and_can_be_committed() {
    let scratch = Scratch::in_memory();
    seed_tree(scratch.path());
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let mut chain: Vec<(Snapshot, Delta)> = Vec::new();
    for step in steps() {
        let head = chain
            .last()
            .map_or(workspace.snapshot(), |(head, _)| head.clone());
        let mut branch = head.branch();
        step(&mut branch);
        chain.push(branch.freeze().expect("freezes"));
    }
    let mut shown: Vec<_> = Vec::new();
    for (snapshot, _) in &chain {
        let mut branch = snapshot.branch();
        shown.push((branch_manifest(&mut branch), inodes(&mut branch)));
    }
    for index in 0..chain.len() {
        // Made before the commit, and still at work after it.
        let mut live: Vec<_> = chain
            .iter()
            .map(|(snapshot, _)| snapshot.branch())
            .collect();
        workspace.commit(&chain[index].1, &log).expect("commits");
        for at in index..chain.len() {
            let what = format!("{at} after the commit of {index}");
            let (snapshot, _) = &chain[at];
            for branch in [&mut snapshot.branch(), &mut live[at]] {
                compare(&branch_manifest(branch), &shown[at].0, &what);
                assert_eq!(inodes(branch), shown[at].1, "{what}");
            }
            if at == index {
                assert_eq!(snapshot.branch().usage(), DeltaUsage::default());
                assert!(snapshot.delta().expect("has a net").is_empty(), "{what}");
            }
            // What is not committed yet, as one delta on the base.
            let net = snapshot.delta().expect("has a net");
            let grafted = workspace.snapshot().graft(&net).expect("grafts");
            compare(&branch_manifest(&mut grafted.branch()), &shown[at].0, &what);
        }
    }
    // One more step on the promoted head, and one on a table that was never promoted.
    let (head, _) = chain.last().expect("ten");
    let mut branch = head.branch();
    branch.put("linked", "again").expect("writes");
    assert_eq!(branch.get("new/file").expect("reads"), "again");
    branch.mv("x/deep", "out").expect("renames");
    let expected = branch_manifest(&mut branch);
    let (_, delta) = branch.freeze().expect("freezes");
    workspace.commit(&delta, &log).expect("commits");
    compare(&scratch.manifest(), &expected, "committed");
    assert_eq!(scratch.read("new/file"), "again");
}

#[test]
fn steps_that_were_branched_before_and_after_promotion_commit_the_same() {
    for early in [true, false] {
        let scratch = Scratch::in_memory();
        seed_tree(scratch.path());
        let workspace = scratch.open();
        let log = MemoryLog::default();
        let mut expected = None;
        let mut pending: Vec<(Snapshot, Delta)> = Vec::new();
        let mut head = workspace.snapshot();
        for step in steps() {
            let mut branch = head.branch();
            // A pipeline of two: the step before is committed while this one runs.
            if early && pending.len() > 1 {
                workspace
                    .commit(&pending.remove(0).1, &log)
                    .expect("commits");
            }
            step(&mut branch);
            if !early && pending.len() > 1 {
                workspace
                    .commit(&pending.remove(0).1, &log)
                    .expect("commits");
            }
            expected = Some(branch_manifest(&mut branch));
            let (snapshot, delta) = branch.freeze().expect("freezes");
            head = snapshot.clone();
            pending.push((snapshot, delta));
        }
        for (_, delta) in pending {
            workspace.commit(&delta, &log).expect("commits");
        }
        compare(&scratch.manifest(), &expected.expect("ten"), "committed");
    }
}

/// Steps that are committed one by one while `ahead` more are not.
fn run_chain(count: usize, ahead: usize) -> (DeltaUsage, usize) {
    let scratch = Scratch::in_memory();
    seed_tree(scratch.path());
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let mut pending: Vec<Delta> = Vec::new();
    let mut head = workspace.snapshot();
    let mut most = (DeltaUsage::default(), 0);
    for n in 0..count {
        let mut branch = head.branch();
        branch
            .put("saved.tmp", &format!("version {n}"))
            .expect("writes");
        branch.mv("saved.tmp", "saved").expect("renames");
        branch.put(&format!("b/f{}", n % 7), "x").expect("writes");
        branch.mkdir(&format!("dir-{n}")).expect("makes");
        branch.put(&format!("dir-{n}/file"), "y").expect("writes");
        if n >= 10 {
            branch.rm_all(&format!("dir-{}", n - 10)).expect("removes");
        }
        let node = branch.resolve("saved").expect("is there");
        branch
            .link(node, Inode::ROOT, &format!("link-{}", n % 3))
            .or_else(|_| branch.rm(&format!("link-{}", n % 3)))
            .expect("links or removes");
        let usage = branch.usage();
        most.0.bytes = most.0.bytes.max(usage.bytes);
        most.0.nodes = most.0.nodes.max(usage.nodes);
        most.1 = most.1.max(branch.nodes_held());
        let (snapshot, delta) = branch.freeze().expect("freezes");
        head = snapshot;
        pending.push(delta);
        if pending.len() > ahead {
            let delta = pending.remove(0);
            workspace.commit(&delta, &log).expect("commits");
            log.intents.lock().expect("not poisoned").clear();
        }
    }
    let known = workspace.entries_known();
    assert!(known < 200, "{known} entries are known");
    most
}

#[test]
fn after_many_commits_memory_and_quota_are_those_of_what_is_not_committed() {
    let count = std::env::var("FORERUN_CHAIN").ok();
    let count = count.and_then(|n| n.parse().ok()).unwrap_or(500);
    let (few, many) = (run_chain(40, 4), run_chain(count, 4));
    assert_eq!(few.1, many.1, "nodes in a table");
    assert!(
        many.0.bytes <= few.0.bytes + 64 && many.0.nodes <= few.0.nodes,
        "{many:?} {few:?}"
    );
    let (one, direct) = (run_chain(40, 0), run_chain(200, 0));
    assert_eq!(one.1, direct.1);
}
