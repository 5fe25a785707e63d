//! Pins: what a step saw is compared with what executing it now would show.

use crate::support::{MemoryLog, Paths, Scratch};
use forerun_snapshot::{Branch, CommitError, FsError, Inode, NodeKind, Snapshot, Workspace};
use proptest::prelude::*;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Bytes of a chunk, which is what is compared of a file.
const CHUNK: u64 = 64 << 10;

#[derive(Clone, Debug)]
enum Look {
    Kind(String),
    Metadata(String),
    Read(String),
    /// One chunk of a large file.
    ReadChunk(String, u64),
    List(String),
    ReadLink(String),
}

#[derive(Clone, Debug)]
enum Edit {
    Nothing,
    Write(String, u8),
    /// Same length, at an offset; the mtime is put back, as a writer by mmap leaves it.
    Patch(String, u64),
    SaveByRename(String, u8),
    Touch(String),
    Chmod(String, u32),
    Remove(String),
    Mkdir(String),
    Symlink(String, String),
    Rename(String, String),
}

/// Paths that exist, and some that do not.
fn path() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "", "a", "b", "b/x", "b/c", "b/c/a", "b/c/new", "big", "hot", "link", "new", "new/x", "d",
        "d/e", "d/e/f",
    ])
    .prop_map(str::to_owned)
}

fn look() -> impl Strategy<Value = Look> {
    prop_oneof![
        2 => path().prop_map(Look::Kind),
        2 => path().prop_map(Look::Metadata),
        4 => path().prop_map(Look::Read),
        2 => (Just("big".to_owned()), 0..4u64).prop_map(|(p, n)| Look::ReadChunk(p, n)),
        3 => path().prop_map(Look::List),
        1 => Just("link".to_owned()).prop_map(Look::ReadLink),
    ]
}

fn edit() -> impl Strategy<Value = Edit> {
    let byte = prop::sample::select(vec![7u8, 8]);
    prop_oneof![
        1 => Just(Edit::Nothing),
        4 => (path(), byte.clone()).prop_map(|(p, b)| Edit::Write(p, b)),
        3 => (prop::sample::select(vec!["hot", "big"]), 0..3u64)
            .prop_map(|(p, n)| Edit::Patch(p.into(), n * CHUNK + 5)),
        3 => (path(), byte).prop_map(|(p, b)| Edit::SaveByRename(p, b)),
        2 => path().prop_map(Edit::Touch),
        2 => (path(), prop::sample::select(vec![0o600, 0o755]))
            .prop_map(|(p, m)| Edit::Chmod(p, m)),
        3 => path().prop_map(Edit::Remove),
        2 => path().prop_map(Edit::Mkdir),
        2 => (path(), path()).prop_map(|(p, t)| Edit::Symlink(p, t)),
        3 => (path(), path()).prop_map(|(a, b)| Edit::Rename(a, b)),
    ]
}

/// Everything that a look tells: of each name on the way what it is, then the answer.
fn ask(branch: &mut Branch, look: &Look, with_times: bool) -> Vec<String> {
    let (Look::Kind(path)
    | Look::Metadata(path)
    | Look::Read(path)
    | Look::ReadChunk(path, _)
    | Look::List(path)
    | Look::ReadLink(path)) = look;
    let mut told = Vec::new();
    let mut node = Inode::ROOT;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        let found = branch.lookup(node, name);
        match found {
            Ok(found) => node = found,
            Err(error) => {
                told.push(error.code().to_owned());
                return told;
            }
        }
        told.push(format!("{:?}", branch.kind(node).expect("a kind")));
    }
    let answer = |branch: &mut Branch| -> Result<String, FsError> {
        Ok(match look {
            Look::Kind(_) => String::new(),
            Look::Metadata(_) => {
                let metadata = branch.metadata(node)?;
                let modified = with_times.then_some(metadata.modified);
                format!("{} {:o} {modified:?}", metadata.size, metadata.mode)
            }
            Look::Read(_) => {
                let mut bytes = vec![0; 4 * CHUNK as usize];
                let count = branch.read(node, 0, &mut bytes)?;
                forerun_types::Digest::of(&bytes[..count]).to_string()
            }
            Look::ReadChunk(_, index) => {
                let mut bytes = vec![0; CHUNK as usize];
                let count = branch.read(node, index * CHUNK, &mut bytes)?;
                forerun_types::Digest::of(&bytes[..count]).to_string()
            }
            Look::List(_) => format!("{:?}", branch.list(node)?),
            Look::ReadLink(_) => branch.read_link(node)?,
        })
    };
    told.push(answer(branch).unwrap_or_else(|error| error.code().to_owned()));
    told
}

fn ask_all(snapshot: &Snapshot, looks: &[Look], with_times: bool) -> (Branch, Vec<Vec<String>>) {
    let mut branch = snapshot.branch();
    let told = looks.iter().map(|look| ask(&mut branch, look, with_times));
    let told = told.collect();
    (branch, told)
}

fn set_modified(path: &Path, time: SystemTime) {
    let times = FileTimes::new().set_modified(time);
    File::open(path)
        .expect("opens")
        .set_times(times)
        .expect("sets");
}

fn seed(root: &Path) {
    fs::create_dir_all(root.join("b/c")).expect("creates");
    fs::create_dir_all(root.join("d/e")).expect("creates");
    for path in ["a", "b/x", "b/c/a", "d/e/f"] {
        fs::write(root.join(path), [7; 10]).expect("writes");
    }
    fs::write(root.join("big"), vec![7; 150_000]).expect("writes");
    fs::write(root.join("hot"), [7; 100]).expect("writes");
    symlink("b/x", root.join("link")).expect("links");
    // Far from now, so that an mtime tells; except for one that never does.
    let old = SystemTime::now() - Duration::from_secs(3_600);
    for path in ["a", "b/x", "b/c/a", "d/e/f", "big"] {
        set_modified(&root.join(path), old);
    }
    let future = SystemTime::now() + Duration::from_secs(3_600);
    set_modified(&root.join("hot"), future);
}

/// What fails, fails: it is a person who tries.
fn apply(root: &Path, edit: &Edit) -> std::io::Result<()> {
    match edit {
        Edit::Nothing => Ok(()),
        Edit::Write(path, byte) => fs::write(root.join(path), [*byte; 10]),
        Edit::Patch(path, offset) => {
            let path = root.join(path);
            let modified = fs::metadata(&path)?.modified()?;
            let file = File::options().write(true).open(&path)?;
            let len = file.metadata()?.len();
            file.write_all_at(&[9], *offset % len)?;
            // An old time tells of a change; only what was just written is racy.
            if modified > SystemTime::now() {
                set_modified(&path, modified);
            }
            Ok(())
        }
        Edit::SaveByRename(path, byte) => {
            let temporary = root.join(".saving");
            fs::write(&temporary, [*byte; 10])?;
            fs::rename(&temporary, root.join(path)).or_else(|_| fs::remove_file(temporary))
        }
        Edit::Touch(path) => {
            if path != "link" {
                let times = FileTimes::new().set_modified(SystemTime::now());
                File::open(root.join(path))?.set_times(times)?;
            }
            Ok(())
        }
        Edit::Chmod(path, mode) => {
            let path = root.join(path);
            let is_file = fs::symlink_metadata(&path)?.is_file();
            let permissions = fs::Permissions::from_mode(*mode);
            if is_file {
                fs::set_permissions(path, permissions)
            } else {
                Ok(())
            }
        }
        Edit::Remove(path) if path.is_empty() => Ok(()),
        Edit::Remove(path) => {
            let path = root.join(path);
            if fs::symlink_metadata(&path)?.is_dir() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            }
        }
        Edit::Mkdir(path) => fs::create_dir(root.join(path)),
        Edit::Symlink(path, target) => {
            apply(root, &Edit::Remove(path.clone()))?;
            symlink(target, root.join(path))
        }
        Edit::Rename(from, to) => fs::rename(root.join(from), root.join(to)),
    }
}

/// What the session's own step does before.
#[derive(Clone, Debug)]
enum Own {
    Put(String),
    Remove(String),
    Rename(String, String),
    Mkdir(String),
}

fn own() -> impl Strategy<Value = Own> {
    prop_oneof![
        4 => path().prop_map(Own::Put),
        2 => path().prop_map(Own::Remove),
        3 => (path(), path()).prop_map(|(a, b)| Own::Rename(a, b)),
        2 => path().prop_map(Own::Mkdir),
    ]
}

fn do_own(branch: &mut Branch, own: &Own) {
    let _ = match own {
        Own::Put(path) => branch.put(path, "by the session"),
        Own::Remove(path) if path.is_empty() => Ok(()),
        Own::Remove(path) => match branch.resolve(path).and_then(|node| branch.kind(node)) {
            Ok(NodeKind::Directory) => branch.rm_all(path),
            Ok(_) => branch.rm(path),
            Err(_) => Ok(()),
        },
        Own::Rename(from, to) => branch.mv(from, to),
        Own::Mkdir(path) => branch.mkdir(path),
    };
}

fn validate(workspace: &Workspace, branch: Branch) -> Result<(), CommitError> {
    let (_, delta) = branch.freeze().expect("freezes");
    workspace.validate(&delta)
}

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: cases.and_then(|n| n.parse().ok()).unwrap_or(default),
        failure_persistence: Some(Box::new(
            proptest::test_runner::FileFailurePersistence::WithSource("regressions"),
        )),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_step_is_stale_exactly_if_it_would_see_something_else(
        looks in prop::collection::vec(look(), 1..8),
        edits in prop::collection::vec(edit(), 1..3),
    ) {
        let scratch = Scratch::in_memory();
        seed(scratch.path());
        let workspace = scratch.open();
        let (branch, before) = ask_all(&workspace.snapshot(), &looks, true);
        for edit in &edits {
            let _ = apply(scratch.path(), edit);
        }
        let found = validate(&workspace, branch);
        let (_, after) = ask_all(&workspace.snapshot(), &looks, true);
        prop_assert_eq!(found.is_err(), before != after, "{:?}", found);
    }

    #[test]
    fn its_own_commits_make_no_step_stale_and_a_persons_edit_of_them_does(
        owns in prop::collection::vec(own(), 1..6),
        looks in prop::collection::vec(look(), 1..8),
        edits in prop::collection::vec(edit(), 1..3),
    ) {
        let scratch = Scratch::in_memory();
        seed(scratch.path());
        let workspace = scratch.open();
        let log = MemoryLog::default();
        let mut own = workspace.snapshot().branch();
        let (first, rest) = owns.split_at(owns.len() / 2);
        for own_change in first {
            do_own(&mut own, own_change);
        }
        let (one, delta_one) = own.freeze().expect("freezes");
        let mut own = one.branch();
        for own_change in rest {
            do_own(&mut own, own_change);
        }
        let (two, delta_two) = own.freeze().expect("freezes");
        // Times are not those of the base until the base holds the objects, and what the
        // session wrote is compared as a whole.
        let looks: Vec<_> = looks
            .into_iter()
            .filter(|look| !matches!(look, Look::Metadata(_) | Look::ReadChunk(..)))
            .collect();
        let (early, told_early) = ask_all(&two, &looks, false);
        workspace.commit(&delta_one, &log).expect("commits");
        let (late, told_late) = ask_all(&two, &looks, false);
        prop_assert_eq!(&told_early, &told_late);
        workspace.commit(&delta_two, &log).expect("commits");
        let (early, late) = (early.freeze().expect("freezes").1, late.freeze().expect("freezes").1);
        for delta in [&early, &late] {
            let found = workspace.validate(delta);
            prop_assert!(found.is_ok(), "{:?}", found);
        }

        for edit in edits.iter().filter(|edit| !matches!(edit, Edit::Touch(_))) {
            let _ = apply(scratch.path(), edit);
        }
        let (_, after) = ask_all(&workspace.snapshot(), &looks, false);
        for delta in [&early, &late] {
            let found = workspace.validate(delta);
            prop_assert_eq!(found.is_err(), told_early != after, "{:?}", found);
        }
    }
}

/// Runs a step on a tree, then an edit; returns what is stale.
fn stale(step: impl FnOnce(&mut Branch), edit: impl FnOnce(&Path)) -> Option<String> {
    let (code, path) = refused(step, edit)?;
    assert_eq!(code, "stale", "{path}");
    Some(path)
}

/// As [`stale`], with how the step is refused.
fn refused(
    step: impl FnOnce(&mut Branch),
    edit: impl FnOnce(&Path),
) -> Option<(&'static str, String)> {
    let scratch = Scratch::new();
    seed(scratch.path());
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    step(&mut branch);
    let (_, delta) = branch.freeze().expect("freezes");
    workspace.validate(&delta).expect("is as it was");
    edit(scratch.path());
    let error = workspace.retire(&delta).err()?;
    let committed = workspace.commit(&delta, &MemoryLog::default());
    let committed = committed.expect_err("is refused, too");
    assert_eq!(committed.code(), error.code());
    Some((error.code(), error.path().expect("names a path").to_owned()))
}

#[test]
fn a_file_that_was_not_there_appears() {
    let miss = |branch: &mut Branch| assert!(branch.resolve("b/new").is_err());
    let path = stale(miss, |root| {
        fs::write(root.join("b/new"), "x").expect("writes")
    });
    assert_eq!(path.as_deref(), Some("b/new"));
    let path = stale(miss, |root| {
        fs::write(root.join("b/other"), "x").expect("writes")
    });
    assert_eq!(path, None);
}

#[test]
fn a_listing_grows_and_a_file_that_nobody_listed_does_not_matter() {
    let list = |branch: &mut Branch| {
        let dir = branch.resolve("b").expect("is there");
        assert_eq!(branch.list(dir).expect("lists").len(), 2);
    };
    let path = stale(list, |root| {
        fs::write(root.join("b/new"), "x").expect("writes")
    });
    assert_eq!(path.as_deref(), Some("b"));
    let path = stale(list, |root| {
        fs::write(root.join("b/x"), "other").expect("writes")
    });
    assert_eq!(path, None);
    let path = stale(list, |root| {
        fs::write(root.join("b/c/new"), "x").expect("writes")
    });
    assert_eq!(path, None);
}

#[test]
fn attributes_are_compared_only_if_they_were_shown() {
    let exists = |branch: &mut Branch| assert!(branch.resolve("b/x").is_ok());
    let show = |branch: &mut Branch| {
        let node = branch.resolve("b/x").expect("is there");
        branch.metadata(node).expect("metadata");
    };
    let chmod = |root: &Path| {
        fs::set_permissions(root.join("b/x"), fs::Permissions::from_mode(0o711)).expect("chmods");
    };
    assert_eq!(stale(exists, chmod), None);
    assert_eq!(stale(show, chmod).as_deref(), Some("b/x"));
}

#[test]
fn the_same_content_under_another_time_is_the_same_and_a_racy_read_is_compared() {
    let read = |path: &'static str| {
        move |branch: &mut Branch| {
            let node = branch.resolve(path).expect("is there");
            branch.read(node, 0, &mut [0; 100]).expect("reads");
        }
    };
    let rewrite = |root: &Path| fs::write(root.join("a"), [7; 10]).expect("writes");
    assert_eq!(stale(read("a"), rewrite), None);
    let patch = |root: &Path| apply(root, &Edit::Patch("hot".into(), 5)).expect("patches");
    assert_eq!(stale(read("hot"), patch).as_deref(), Some("hot"));
}

#[test]
fn a_link_gets_another_target() {
    let read = |branch: &mut Branch| {
        let node = branch.resolve("link").expect("is there");
        assert_eq!(branch.read_link(node).expect("a target"), "b/x");
    };
    let retarget = |root: &Path| {
        fs::remove_file(root.join("link")).expect("removes");
        symlink("a", root.join("link")).expect("links");
    };
    assert_eq!(stale(read, retarget).as_deref(), Some("link"));
}

#[test]
fn a_directory_on_the_way_becomes_a_link_or_moves_away() {
    let read = |branch: &mut Branch| drop(branch.get("d/e/f").expect("reads"));
    let swap = |root: &Path| {
        fs::rename(root.join("d"), root.join("away")).expect("moves");
        symlink("away", root.join("d")).expect("links");
    };
    assert_eq!(stale(read, swap).as_deref(), Some("d"));
    let moved = |root: &Path| fs::rename(root.join("d/e"), root.join("e")).expect("moves");
    assert_eq!(stale(read, moved).as_deref(), Some("d/e"));
    let miss = |branch: &mut Branch| assert!(branch.resolve("d/e/none").is_err());
    assert_eq!(stale(miss, moved).as_deref(), Some("d/e"));
}

#[test]
fn an_answer_that_changed_while_the_step_ran_holds_at_no_time() {
    let scratch = Scratch::new();
    seed(scratch.path());
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    branch.get("a").expect("reads");
    scratch.write("a", "another");
    branch.get("a").expect("reads");
    fs::write(scratch.path().join("a"), [7; 10]).expect("writes");
    let error = validate(&workspace, branch).expect_err("is torn");
    assert_eq!((error.code(), error.path()), ("stale", Some("a")));
}

#[test]
fn a_step_whose_changes_are_dropped_has_still_seen_what_it_saw() {
    let step = |branch: &mut Branch| {
        assert_eq!(branch.get("a").expect("reads").len(), 10);
        branch.put("b/x", "by the session").expect("writes");
        branch.revert();
        assert_eq!(branch.usage(), forerun_snapshot::DeltaUsage::default());
        assert_eq!(branch.get("b/x").expect("reads").len(), 10);
    };
    let edit = |root: &Path| fs::write(root.join("a"), "another").expect("writes");
    assert_eq!(stale(step, edit).as_deref(), Some("a"));
}

/// Executed again, such a step would do to the new version what it did to the old one.
#[test]
fn what_a_step_changed_after_it_was_read_is_stale_and_what_it_changed_unread_is_a_conflict() {
    fn edit(root: &Path) {
        fs::write(root.join("b/x"), "by a person").expect("writes");
    }
    let stale = Some(("stale", "b/x".to_owned()));
    let conflict = Some(("conflict", "b/x".to_owned()));
    let read_and_write = |branch: &mut Branch| {
        branch.get("b/x").expect("reads");
        branch.put("b/x", "by the agent").expect("writes");
    };
    assert_eq!(refused(read_and_write, edit), stale);
    let read_and_save_by_rename = |branch: &mut Branch| {
        branch.get("b/x").expect("reads");
        branch.put("b/x~", "by the agent").expect("writes");
        branch.mv("b/x~", "b/x").expect("renames");
    };
    assert_eq!(refused(read_and_save_by_rename, edit), stale);
    let look_and_write = |branch: &mut Branch| {
        let node = branch.resolve("b/x").expect("is there");
        branch.metadata(node).expect("metadata");
        branch.put("b/x", "by the agent").expect("writes");
    };
    assert_eq!(refused(look_and_write, edit), conflict);
    let remove = |branch: &mut Branch| {
        branch.get("b/x").expect("reads");
        branch.rm("b/x").expect("removes");
    };
    assert_eq!(refused(remove, edit), conflict);
    let replace_by_another = |branch: &mut Branch| branch.mv("a", "b/x").expect("renames");
    assert_eq!(refused(replace_by_another, edit), conflict);
}

#[test]
fn what_a_step_made_where_somebody_else_made_something_is_a_conflict() {
    fn edit(root: &Path) {
        fs::write(root.join("b/new"), "by a person").expect("writes");
    }
    let conflict = Some(("conflict", "b/new".to_owned()));
    let create = |branch: &mut Branch| {
        // The listing is stale as well; executed again, the step would overwrite.
        let dir = branch.resolve("b").expect("is there");
        branch.list(dir).expect("lists");
        branch.put("b/new", "by the agent").expect("writes");
    };
    assert_eq!(refused(create, edit), conflict);
    let move_there = |branch: &mut Branch| branch.mv("a", "b/new").expect("renames");
    assert_eq!(refused(move_there, edit), conflict);
    let remove_all = |branch: &mut Branch| branch.rm_all("b").expect("removes");
    assert_eq!(refused(remove_all, edit).expect("is refused").0, "conflict");
}

#[test]
fn what_a_step_would_overwrite_if_it_ran_again_is_never_only_stale() {
    let conflict = |refused: Option<(&'static str, String)>| {
        assert_eq!(
            refused.as_ref().map(|it| it.0),
            Some("conflict"),
            "{refused:?}"
        );
    };
    // In a directory that both made.
    conflict(refused(
        |branch| {
            branch.mkdir("made").expect("makes");
            branch.put("made/file", "by the agent").expect("writes");
        },
        |root| {
            fs::create_dir(root.join("made")).expect("makes");
            fs::write(root.join("made/file"), "by a person").expect("writes");
        },
    ));
    // Beside a read that is stale for another reason, a large file that was cut unread.
    let large = |root: &Path| fs::write(root.join("large"), vec![7; 300_000]).expect("writes");
    let scratch = Scratch::new();
    seed(scratch.path());
    large(scratch.path());
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    branch.get("a").expect("reads");
    let node = branch.resolve("large").expect("is there");
    branch.set_len(node, 0).expect("cuts");
    let (_, delta) = branch.freeze().expect("freezes");
    fs::write(scratch.path().join("a"), "by a person").expect("writes");
    fs::write(scratch.path().join("large"), vec![8; 300_000]).expect("writes");
    let error = workspace.commit(&delta, &MemoryLog::default());
    assert_eq!(error.expect_err("is refused").code(), "conflict");
    // All that a step found in a directory, and what it would find now.
    conflict(refused(
        |branch| {
            let dir = branch.resolve("b").expect("is there");
            let entries = branch.list(dir).expect("lists");
            for entry in entries.iter().filter(|it| it.kind == NodeKind::File) {
                branch.rm(&format!("b/{}", entry.name)).expect("removes");
            }
        },
        |root| fs::write(root.join("b/new"), "by a person").expect("writes"),
    ));
}

#[test]
fn who_read_the_start_of_a_file_did_not_read_what_a_person_changed_at_its_end() {
    let scratch = Scratch::new();
    scratch.write("file", &"x".repeat(200_000));
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    let node = branch.resolve("file").expect("is there");
    branch.read(node, 0, &mut [0; 100]).expect("reads");
    branch.put("file", "by the agent").expect("writes");
    let (_, delta) = branch.freeze().expect("freezes");
    scratch.write("file", &("x".repeat(199_990) + "a person.."));
    let error = workspace.commit(&delta, &MemoryLog::default());
    assert_eq!(error.expect_err("is refused").code(), "conflict");
}

#[test]
fn the_read_set_has_a_digest_that_neither_order_nor_repetition_changes() {
    let scratch = Scratch::new();
    seed(scratch.path());
    let workspace = scratch.open();
    let reads = |paths: &[&str]| {
        let mut branch = workspace.snapshot().branch();
        for path in paths {
            branch.get(path).expect("reads");
        }
        let delta = branch.freeze().expect("freezes").1;
        (delta.reads(), delta.binding(), delta.changes())
    };
    let (one, two) = (reads(&["a", "b/x"]), reads(&["b/x", "a", "a"]));
    assert_eq!(one, two);
    let other = reads(&["a"]);
    assert_ne!(one.0, other.0);
    assert_ne!(one.1, other.1);
    assert_eq!(one.2, other.2);
}

#[test]
fn beyond_the_limit_of_pins_whole_directories_are_pinned() {
    let scratch = Scratch::in_memory();
    seed(scratch.path());
    fs::remove_file(scratch.path().join("hot")).expect("removes");
    let workspace = scratch.open();
    type Change = fn(&Path);
    let edits: [(&str, Change); 4] = [
        ("b", |root| {
            fs::write(root.join("b/x"), "other").expect("writes")
        }),
        ("b", |root| {
            fs::write(root.join("b/new"), "x").expect("writes")
        }),
        ("b/c", |root| {
            fs::remove_file(root.join("b/c/a")).expect("removes")
        }),
        ("", |root| {
            fs::write(root.join("d/e/f"), "unread").expect("writes")
        }),
    ];
    for (path, edit) in edits {
        let mut branch = workspace.snapshot().branch();
        for n in 0..100_000 {
            assert!(branch.lookup(Inode::ROOT, &format!("no-{n}")).is_err());
        }
        branch.get("b/x").expect("reads");
        branch.get("b/c/a").expect("reads");
        let (_, delta) = branch.freeze().expect("freezes");
        workspace.validate(&delta).expect("is as it was");
        edit(scratch.path());
        let found = workspace.validate(&delta).err();
        let found = found.as_ref().and_then(CommitError::path);
        assert_eq!(found.unwrap_or_default(), path);
        fs::write(scratch.path().join("b/c/a"), [7; 10]).expect("writes");
        let _ = fs::remove_file(scratch.path().join("b/new"));
        let old = SystemTime::now() - Duration::from_secs(3_600);
        for path in ["b/x", "b/c/a", "d/e/f"] {
            set_modified(&scratch.path().join(path), old);
        }
    }
}
