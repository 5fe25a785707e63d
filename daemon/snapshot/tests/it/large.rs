//! Large files: what is stored of them, where, and what is read when the base changes.

use crate::support::{MemoryLog, Paths, Scratch, branch_manifest};
use forerun_snapshot::{Branch, ContentUsage, Delta, FsError, Inode, Snapshot};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// As the snapshots cut files.
const CHUNK: u64 = 64 << 10;
/// More than what is read whole.
const LARGE: usize = 500_000;

/// Bytes that differ from place to place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n / 251 + n % 7) as u8).collect()
}

fn write_at(branch: &mut Branch, path: &str, offset: u64, data: &[u8]) {
    let file = branch.resolve(path).expect("is there");
    branch.write(file, offset, data).expect("writes");
}

fn read_all(branch: &mut Branch, path: &str) -> Result<Vec<u8>, FsError> {
    let file = branch.resolve(path)?;
    let mut bytes = vec![0; branch.metadata(file)?.size as usize];
    branch.read(file, 0, &mut bytes)?;
    Ok(bytes)
}

/// A change of some bytes in each of two steps, on a file of `LARGE` bytes.
fn two_steps(scratch: &Scratch) -> (Vec<Delta>, Snapshot, Vec<u8>) {
    let mut expected = pattern(LARGE);
    fs::write(scratch.path().join("large"), &expected).expect("writes");
    let mut snapshot = scratch.open().snapshot();
    let mut deltas = Vec::new();
    for (offset, byte) in [(70_000, 1), (400_000, 2)] {
        let mut branch = snapshot.branch();
        write_at(&mut branch, "large", offset as u64, &[byte; 10]);
        expected[offset..offset + 10].fill(byte);
        let (next, delta) = branch.freeze().expect("freezes");
        snapshot = next;
        deltas.push(delta);
    }
    (deltas, snapshot, expected)
}

/// Overwrites the first bytes in place, and leaves the length as it is.
fn scribble(path: &Path) {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .expect("opens");
    file.write_all(b"somebody").expect("writes");
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .expect("sets the time");
}

#[test]
fn one_byte_in_a_gibibyte_takes_one_chunk_until_the_commit() {
    let scratch = Scratch::new();
    let file = fs::File::create(scratch.path().join("disk")).expect("creates");
    file.set_len(1 << 30).expect("extends");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    write_at(&mut branch, "disk", (1 << 29) + 5, b"x");
    let most = |usage: ContentUsage| usage.memory + usage.spilled <= 2 * CHUNK;
    assert!(most(workspace.content_usage()));
    let (snapshot, delta) = branch.freeze().expect("freezes");
    assert!(most(workspace.content_usage()));
    let bytes = delta.to_bytes().expect("reads");
    assert!(bytes.len() as u64 <= 2 * CHUNK, "{} bytes", bytes.len());
    assert_eq!(
        fs::read_dir(scratch.state.path()).expect("lists").count(),
        0
    );
    let mut branch = snapshot.branch();
    let file = branch.resolve("disk").expect("is there");
    let mut buf = [9; 3];
    branch.read(file, (1 << 29) + 4, &mut buf).expect("reads");
    assert_eq!(buf, *b"\0x\0");
    drop((branch, snapshot, delta));
    assert_eq!(workspace.content_usage(), ContentUsage::default());
}

#[test]
fn a_large_file_is_committed_with_what_was_not_read_and_descendants_go_on() {
    let scratch = Scratch::new();
    let (deltas, snapshot, mut expected) = two_steps(&scratch);
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let mut below = snapshot.branch();
    for delta in &deltas {
        workspace.commit(delta, &log).expect("commits");
        assert_eq!(read_all(&mut below, "large").expect("reads"), expected);
    }
    assert_eq!(
        fs::read(scratch.path().join("large")).expect("reads"),
        expected
    );
    write_at(&mut below, "large", 200_000, b"more");
    expected[200_000..200_004].copy_from_slice(b"more");
    let (_, delta) = below.freeze().expect("freezes");
    workspace.commit(&delta, &log).expect("commits");
    assert_eq!(
        fs::read(scratch.path().join("large")).expect("reads"),
        expected
    );
    let changed = delta.changed();
    assert_eq!(changed.len(), 1, "{changed:?}");
}

#[test]
fn a_base_file_that_is_overwritten_is_never_mixed_with_what_was_seen() {
    let scratch = Scratch::new();
    let path = scratch.path().join("large");
    fs::write(&path, pattern(LARGE)).expect("writes");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    write_at(&mut branch, "large", 100_000, b"x");
    let (_, before) = branch.freeze().expect("freezes");
    let mut branch = workspace.snapshot().branch();
    write_at(&mut branch, "large", 100_000, b"x");
    scribble(&path);
    let read = read_all(&mut branch, "large");
    assert!(matches!(read, Err(FsError::Changed)), "{read:?}");
    assert!(matches!(branch.freeze().map(drop), Err(FsError::Changed)));
    let tree = scratch.manifest();
    let error = workspace
        .commit(&before, &MemoryLog::default())
        .expect_err("conflicts");
    assert_eq!(error.code(), "conflict");
    assert_eq!(scratch.manifest(), tree);
    assert!(scratch.leftovers().is_empty());
}

#[test]
fn a_base_file_that_is_replaced_is_read_on_as_it_was_and_conflicts() {
    let scratch = Scratch::new();
    let path = scratch.path().join("large");
    let mut expected = pattern(LARGE);
    fs::write(&path, &expected).expect("writes");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    write_at(&mut branch, "large", 100_000, b"x");
    expected[100_000] = b'x';
    scratch.write("new", "somebody else's");
    fs::rename(scratch.path().join("new"), &path).expect("replaces");
    assert_eq!(read_all(&mut branch, "large").expect("reads"), expected);
    let (_, delta) = branch.freeze().expect("freezes");
    let error = workspace
        .commit(&delta, &MemoryLog::default())
        .expect_err("conflicts");
    assert_eq!(error.code(), "conflict");
    assert_eq!(scratch.read("large"), "somebody else's");
}

#[test]
fn what_is_stored_of_a_large_file_is_what_was_changed_and_goes_on_after_a_restart() {
    let scratch = Scratch::new();
    let (deltas, _, expected) = two_steps(&scratch);
    let mut snapshot = scratch.open().snapshot();
    let mut read = Vec::new();
    for delta in &deltas {
        let bytes = delta.to_bytes().expect("reads");
        assert!((bytes.len() as u64) < 2 * CHUNK, "{} bytes", bytes.len());
        let again = Delta::from_bytes(&bytes).expect("reads");
        assert_eq!(again.to_bytes().expect("reads"), bytes);
        assert_eq!(again.digest(), delta.digest());
        snapshot = snapshot.graft(&again).expect("fits");
        read.push(again);
    }
    let mut branch = snapshot.branch();
    assert_eq!(read_all(&mut branch, "large").expect("reads"), expected);
    let net = snapshot.delta().expect("has a net");
    let log = MemoryLog::default();
    let workspace = scratch.open();
    // Those that were read know nothing of the workspace that they come from.
    for delta in &read {
        workspace.commit(delta, &log).expect("commits");
    }
    assert_eq!(
        fs::read(scratch.path().join("large")).expect("reads"),
        expected
    );
    let stale = workspace.snapshot().graft(&read[0]).map(drop);
    let stale = stale.expect_err("is stale").to_string();
    assert_eq!(stale, "large is not what the delta was made from");
    assert_eq!(net.changed().len(), 1);
}

#[test]
fn a_stored_change_follows_its_file_through_renames_and_links() {
    let scratch = Scratch::new();
    let mut expected = pattern(LARGE);
    fs::create_dir(scratch.path().join("dir")).expect("creates");
    for name in ["dir/inner", "moved", "linked", "over"] {
        fs::write(scratch.path().join(name), &expected).expect("writes");
    }
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    for name in ["dir/inner", "moved", "linked"] {
        write_at(&mut branch, name, 300_000, b"x");
    }
    expected[300_000] = b'x';
    branch.mv("dir", "other").expect("renames");
    branch.mv("moved", "over").expect("renames");
    let linked = branch.resolve("linked").expect("is there");
    branch.link(linked, Inode::ROOT, "link").expect("links");
    branch.rm("linked").expect("removes");
    let (snapshot, delta) = branch.freeze().expect("freezes");
    let tree = branch_manifest(&mut snapshot.branch());
    let bytes = delta.to_bytes().expect("reads");
    assert!((bytes.len() as u64) < 4 * CHUNK, "{} bytes", bytes.len());
    let delta = Delta::from_bytes(&bytes).expect("reads");
    let grafted = workspace.snapshot().graft(&delta).expect("fits");
    assert_eq!(branch_manifest(&mut grafted.branch()), tree);
    workspace
        .commit(&delta, &MemoryLog::default())
        .expect("commits");
    assert_eq!(scratch.manifest(), tree);
    assert_eq!(tree["other/inner"].2, expected);
}

#[test]
fn a_stored_change_of_another_file_is_refused() {
    let scratch = Scratch::new();
    let (deltas, ..) = two_steps(&scratch);
    let bytes = deltas[0].to_bytes().expect("reads");
    let with = |from: &str, to: &str| {
        let len = u64::from_le_bytes(bytes[8..16].try_into().expect("eight")) as usize;
        let header = std::str::from_utf8(&bytes[16..16 + len]).expect("JSON");
        assert!(header.contains(from), "{from} is in {header}");
        let header = header.replacen(from, to, 1);
        let mut bytes = bytes.clone();
        bytes.splice(16..16 + len, header.bytes());
        bytes[8..16].copy_from_slice(&(header.len() as u64).to_le_bytes());
        Delta::from_bytes(&bytes)
    };
    let over = r#""over":{"path":"large","len":500000}"#;
    assert!(with(over, r#""over":{"path":"other","len":500000}"#).is_err());
    assert!(with(over, r#""over":{"path":"large","len":500001}"#).is_err());
    assert!(with(over, r#""over":{"path":"large","len":0}"#).is_err());
    assert!(with(over, r#""over":null"#).is_err());
    // Fewer bytes: can not be told before the rest is there, and is then.
    let delta = with(over, r#""over":{"path":"large","len":499999}"#).expect("reads");
    let workspace = scratch.open();
    assert!(workspace.snapshot().graft(&delta).is_err());
    let tree = scratch.manifest();
    let error = workspace
        .commit(&delta, &MemoryLog::default())
        .expect_err("is not what it claims");
    assert_eq!(error.code(), "conflict");
    assert_eq!(scratch.manifest(), tree);
    assert!(scratch.leftovers().is_empty());
}

#[test]
fn a_large_file_that_is_cut_removed_or_extended_keeps_nothing_of_what_is_gone() {
    let scratch = Scratch::new();
    for name in ["cut", "emptied", "gone"] {
        fs::write(scratch.path().join(name), pattern(LARGE)).expect("writes");
    }
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    let cut = branch.resolve("cut").expect("is there");
    branch.set_len(cut, 100_000).expect("cuts");
    branch.set_len(cut, 300_000).expect("extends");
    write_at(&mut branch, "emptied", 90_000, b"x");
    branch.put("emptied", "y").expect("writes");
    write_at(&mut branch, "gone", 90_000, b"x");
    branch.rm("gone").expect("removes");
    let (_, delta) = branch.freeze().expect("freezes");
    let delta = Delta::from_bytes(&delta.to_bytes().expect("reads")).expect("reads");
    workspace
        .commit(&delta, &MemoryLog::default())
        .expect("commits");
    let mut expected = pattern(100_000);
    expected.resize(300_000, 0);
    assert_eq!(
        fs::read(scratch.path().join("cut")).expect("reads"),
        expected
    );
    assert_eq!(scratch.read("emptied"), "y");
    assert!(!scratch.path().join("gone").exists());
}

#[test]
fn a_file_that_was_changed_and_removed_is_compared_in_full_before_it_goes() {
    let scratch = Scratch::new();
    let path = scratch.path().join("gone");
    fs::write(&path, pattern(LARGE)).expect("writes");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    write_at(&mut branch, "gone", 90_000, b"x");
    branch.rm("gone").expect("removes");
    let (_, delta) = branch.freeze().expect("freezes");
    // Another content under the same attributes.
    let times = fs::metadata(&path).and_then(|m| m.modified()).expect("has");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("opens");
    file.seek(SeekFrom::Start(5)).expect("seeks");
    file.write_all(b"person").expect("writes");
    file.set_modified(times).expect("sets the time");
    let error = workspace
        .commit(&delta, &MemoryLog::default())
        .expect_err("conflicts");
    assert_eq!(error.code(), "conflict");
}

#[test]
fn what_does_not_fit_in_memory_is_on_disk_and_commits_all_the_same() {
    let scratch = Scratch::new();
    fs::write(scratch.path().join("base"), pattern(LARGE)).expect("writes");
    let workspace = scratch.open();
    workspace.set_content_memory(100_000);
    let mut branch = workspace.snapshot().branch();
    let mut expected = Vec::new();
    branch.put("new", "").expect("creates");
    let new = branch.resolve("new").expect("is there");
    for n in 0..300_u32 {
        let piece = vec![n as u8; 1_001];
        branch.append(new, &piece).expect("appends");
        expected.extend(piece);
    }
    write_at(&mut branch, "new", 150_000, &[7; 100]);
    expected[150_000..150_100].fill(7);
    write_at(&mut branch, "base", 65_530, &[8; 10]);
    let usage = workspace.content_usage();
    assert!(usage.memory <= 100_000, "{usage:?}");
    assert!(usage.spilled >= 3 * CHUNK, "{usage:?}");
    let names = fs::read_dir(scratch.state.path()).expect("lists").count();
    assert_eq!(names, 0, "what is spilled has no name");
    assert_eq!(read_all(&mut branch, "new").expect("reads"), expected);
    let (snapshot, delta) = branch.freeze().expect("freezes");
    let bytes = delta.to_bytes().expect("reads");
    assert_eq!(
        Delta::from_bytes(&bytes).expect("reads").digest(),
        delta.digest()
    );
    workspace
        .commit(&delta, &MemoryLog::default())
        .expect("commits");
    assert_eq!(
        fs::read(scratch.path().join("new")).expect("reads"),
        expected
    );
    let base = fs::read(scratch.path().join("base")).expect("reads");
    assert_eq!(base[65_530..65_540], [8; 10]);
    assert_eq!(base[..65_530], pattern(LARGE)[..65_530]);
    drop((snapshot, delta));
    assert_eq!(workspace.content_usage(), ContentUsage::default());
}

#[test]
fn a_write_that_finds_no_room_changes_nothing() {
    let scratch = Scratch::new();
    scratch.write("file", "content");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    branch.put("file", "changed").expect("writes");
    let usage = branch.usage();
    workspace.set_content_memory(0);
    // Nothing can be spilled into a directory that is gone.
    fs::remove_dir(scratch.state.path()).expect("removes");
    let file = branch.resolve("file").expect("is there");
    assert!(branch.write(file, 5, &[1; 200_000]).is_err());
    assert_eq!(branch.usage(), usage);
    assert_eq!(branch.get("file").expect("reads"), "changed");
    fs::create_dir(scratch.state.path()).expect("creates");
    branch.write(file, 5, b"!").expect("writes");
    assert_eq!(branch.get("file").expect("reads"), "chang!d");
}

#[test]
fn more_large_files_than_are_held_open_are_changed_all_the_same() {
    let scratch = Scratch::in_memory();
    let names: Vec<_> = (0..100).map(|n| format!("file-{n}")).collect();
    for name in &names {
        fs::write(scratch.path().join(name), pattern(140_000)).expect("writes");
    }
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    for name in &names {
        write_at(&mut branch, name, 70_000, b"x");
    }
    let held = fs::read_dir("/proc/self/fd")
        .expect("lists")
        .filter(|entry| {
            let target = entry
                .as_ref()
                .ok()
                .and_then(|e| fs::read_link(e.path()).ok());
            target.is_some_and(|target| target.starts_with(scratch.path()))
        });
    assert!(held.count() < 80, "not all of them are held");
    let (_, delta) = branch.freeze().expect("freezes");
    workspace
        .commit(&delta, &MemoryLog::default())
        .expect("commits");
    let mut expected = pattern(140_000);
    expected[70_000] = b'x';
    for name in &names {
        assert_eq!(
            fs::read(scratch.path().join(name)).expect("reads"),
            expected
        );
    }
}
