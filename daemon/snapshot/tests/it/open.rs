//! Files that a tool has open, and names that it knows from a listing: what somebody does
//! meanwhile may stay unseen for as long as the step lasts, and never longer.

use crate::support::{MemoryLog, Paths, Scratch};
use forerun_snapshot::{Branch, CommitError, FsError, Inode, Workspace};
use rustix::fs::{CWD, FileType, Mode};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Lists `dir` and opens a file in it for reading.
fn open(branch: &mut Branch, dir: &str, name: &str) -> Result<Inode, FsError> {
    let dir = branch.resolve(dir)?;
    branch.list(dir)?;
    let file = branch.lookup(dir, name)?;
    branch.hold(file);
    branch.open(file)?;
    Ok(file)
}

fn text(branch: &mut Branch, file: Inode) -> String {
    let mut buffer = [0; 100];
    let count = branch.read(file, 0, &mut buffer).expect("reads");
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

fn is_stale(workspace: &Workspace, branch: Branch) -> bool {
    let (_, delta) = branch.freeze().expect("freezes");
    matches!(workspace.validate(&delta), Err(CommitError::Stale(_)))
}

#[test]
fn an_open_file_stays_what_it_was_and_the_step_is_stale_then() {
    let scratch = Scratch::new();
    scratch.write("d/file", "old");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    let file = open(&mut branch, "d", "file").expect("opens");
    let first = branch.metadata(file).expect("is there");
    scratch.write("new", "somebody's");
    fs::rename(scratch.path().join("new"), scratch.path().join("d/file")).expect("renames");
    assert_eq!(text(&mut branch, file), "old");
    assert_eq!(branch.metadata(file).expect("is there").size, first.size);
    branch.release(file);
    assert!(is_stale(&workspace, branch));
}

#[test]
fn who_writes_into_an_open_file_is_noticed_by_the_next_read() {
    let scratch = Scratch::new();
    scratch.write("d/file", "old");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    let file = open(&mut branch, "d", "file").expect("opens");
    scratch.write("d/file", "in place");
    assert_eq!(text(&mut branch, file), "in place");
    let (_, delta) = branch.freeze().expect("freezes");
    workspace.validate(&delta).expect("it saw one version only");

    let mut branch = workspace.snapshot().branch();
    let file = open(&mut branch, "d", "file").expect("opens");
    assert_eq!(text(&mut branch, file), "in place");
    scratch.write("d/file", "again");
    assert_eq!(text(&mut branch, file), "again");
    assert!(is_stale(&workspace, branch), "it saw two");
}

#[test]
fn a_listed_file_that_is_gone_can_not_be_opened_and_the_step_is_stale() {
    let scratch = Scratch::new();
    scratch.write("d/file", "old");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    let dir = branch.resolve("d").expect("is there");
    branch.list(dir).expect("lists");
    fs::remove_file(scratch.path().join("d/file")).expect("removes");
    let opened = open_listed(&mut branch, dir);
    assert!(matches!(opened, Err(FsError::NotFound)), "{opened:?}");
    // That it is there again does not make both answers true.
    scratch.write("d/file", "old");
    assert!(is_stale(&workspace, branch));
}

fn open_listed(branch: &mut Branch, dir: Inode) -> Result<(), FsError> {
    let file = branch.lookup(dir, "file").expect("was listed");
    branch.hold(file);
    branch.open(file)
}

#[test]
fn what_is_put_in_place_of_a_listed_file_is_not_opened() {
    let fifo = |path: &Path| {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).expect("makes");
    };
    let link = |path: &Path| symlink("/etc/passwd", path).expect("links");
    let directory = |path: &Path| fs::create_dir(path).expect("makes");
    let others: [&dyn Fn(&Path); 3] = [&fifo, &link, &directory];
    for put in others {
        let scratch = Scratch::new();
        scratch.write("d/file", "old");
        let workspace = scratch.open();
        let mut branch = workspace.snapshot().branch();
        let dir = branch.resolve("d").expect("is there");
        branch.list(dir).expect("lists");
        let path = scratch.path().join("d/file");
        fs::remove_file(&path).expect("removes");
        put(&path);
        open_listed(&mut branch, dir).expect_err("is no file any more");
        assert!(is_stale(&workspace, branch));
    }
}

#[test]
fn more_open_files_than_are_held_are_read_all_the_same() {
    const FILES: usize = 300;
    let scratch = Scratch::new();
    for index in 0..FILES {
        scratch.write(&format!("d/{index}"), &index.to_string());
    }
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    let files: Vec<_> = (0..FILES)
        .map(|index| open(&mut branch, "d", &index.to_string()).expect("opens"))
        .collect();
    for (index, file) in files.into_iter().enumerate() {
        assert_eq!(text(&mut branch, file), index.to_string());
        branch.release(file);
    }
    assert!(!is_stale(&workspace, branch));
}

#[test]
fn a_listing_says_nothing_of_what_a_commit_moved() {
    let scratch = Scratch::new();
    scratch.write("d/file", "old");
    let workspace = scratch.open();
    let mut reader = workspace.snapshot().branch();
    let dir = reader.resolve("d").expect("is there");
    reader.list(dir).expect("lists");
    let mut writer = workspace.snapshot().branch();
    writer.mv("d/file", "d/other").expect("renames");
    let (_, delta) = writer.freeze().expect("freezes");
    let log = MemoryLog::default();
    workspace.commit(&delta, &log).expect("commits");
    let found = reader.lookup(dir, "file");
    assert!(matches!(found, Err(FsError::NotFound)), "{found:?}");
}

#[test]
fn a_file_that_grows_after_it_was_opened_is_read_to_its_end() {
    let scratch = Scratch::new();
    scratch.write("d/file", "short");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    let file = open(&mut branch, "d", "file").expect("opens");
    let long = "x".repeat(200_000);
    scratch.write("d/file", &long);
    let mut buffer = vec![0; 300_000];
    let count = branch.read(file, 0, &mut buffer).expect("reads");
    assert_eq!(count, long.len());
    let (_, delta) = branch.freeze().expect("freezes");
    scratch.write("d/file", &long[..100_000]);
    let cut = workspace.validate(&delta);
    assert!(
        matches!(cut, Err(CommitError::Stale(_))),
        "all of it is pinned"
    );
}
