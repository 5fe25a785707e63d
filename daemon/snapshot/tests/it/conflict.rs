//! People change the base between a branch and its commit: the commit names the path,
//! changes nothing, and their version is intact.

use crate::support::{Manifest, MemoryLog, Paths, Scratch, Tap, Tapped, settle};
use forerun_snapshot::{
    Attributes, Branch, CommitError, Delta, Hold, IntentState, KeptCopy, Lease, Location, Observed,
    Place, Recovery, Storage, Timestamp, Workspace,
};
use forerun_types::Digest;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// Freezes `change`, lets a person `interfere`, commits: the path of the conflict and
/// the tree, which is the one that the person left.
fn conflict(change: impl Fn(&mut Branch), interfere: impl Fn(&Path)) -> (String, CommitError) {
    let scratch = Scratch::new();
    scratch.write("dir/file", "original");
    scratch.write("dir/other", "other");
    scratch.write("first", "1");
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let mut branch = workspace.snapshot().branch();
    // Another change, which must not come through alone.
    branch.put("first", "one").expect("writes");
    branch.put("zzz", "last").expect("writes");
    change(&mut branch);
    let (_, delta) = branch.freeze().expect("freezes");
    interfere(scratch.path());
    let theirs = scratch.manifest();
    let error = workspace.commit(&delta, &log).expect_err("conflicts");
    assert_eq!(scratch.manifest(), theirs, "{error}");
    assert!(
        log.states()
            .iter()
            .all(|state| *state == Some(IntentState::Reverted))
    );
    assert!(scratch.leftovers().is_empty());
    assert!(error.hint().is_some());
    (error.path().unwrap_or_default().to_owned(), error)
}

fn edit(branch: &mut Branch) {
    branch.put("dir/file", "by the agent").expect("writes");
}

#[test]
fn a_modified_file_conflicts() {
    let (path, error) = conflict(edit, |root| {
        fs::write(root.join("dir/file"), "by a person").expect("writes");
    });
    assert_eq!(path, "dir/file");
    assert_eq!(error.code(), "conflict");
}

#[test]
fn content_that_changed_under_an_unchanged_time_conflicts() {
    let (path, _) = conflict(edit, |root| {
        let file = fs::File::options().write(true).open(root.join("dir/file"));
        let file = file.expect("opens");
        let before = file.metadata().and_then(|metadata| metadata.modified());
        io::Write::write_all(&mut &file, b"ORIGINAL").expect("writes");
        file.set_modified(before.expect("has a time"))
            .expect("sets");
    });
    assert_eq!(path, "dir/file");
}

#[test]
fn a_deleted_file_conflicts() {
    let (path, error) = conflict(edit, |root| {
        fs::remove_file(root.join("dir/file")).expect("removes");
    });
    assert_eq!(path, "dir/file");
    assert!(error.to_string().ends_with("found nothing"), "{error}");
}

#[test]
fn a_removed_directory_conflicts_and_is_named() {
    let (path, error) = conflict(edit, |root| {
        fs::remove_dir_all(root.join("dir")).expect("removes");
    });
    assert_eq!(path, "dir", "{error}");
}

#[test]
fn a_file_swapped_for_a_link_conflicts_and_the_link_is_not_followed() {
    let outside = tempfile::tempdir().expect("a temporary directory");
    let target = outside.path().join("secret");
    fs::write(&target, "original").expect("writes");
    let (path, error) = conflict(edit, |root| {
        fs::remove_file(root.join("dir/file")).expect("removes");
        symlink(&target, root.join("dir/file")).expect("links");
    });
    assert_eq!(path, "dir/file");
    assert!(error.to_string().contains("a symbolic link"), "{error}");
    assert_eq!(fs::read_to_string(target).expect("reads"), "original");
}

#[test]
fn a_directory_swapped_for_a_link_conflicts_and_the_link_is_not_followed() {
    let outside = tempfile::tempdir().expect("a temporary directory");
    fs::write(outside.path().join("file"), "original").expect("writes");
    let (path, _) = conflict(edit, |root| {
        fs::rename(root.join("dir"), root.join("moved")).expect("renames");
        symlink(outside.path(), root.join("dir")).expect("links");
    });
    assert_eq!(path, "dir");
    assert_eq!(fs::read_dir(outside.path()).expect("lists").count(), 1);
}

#[test]
fn a_changed_mode_conflicts() {
    let (path, error) = conflict(edit, |root| {
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(root.join("dir/file"), mode).expect("chmods");
    });
    assert_eq!(path, "dir/file");
    assert!(error.to_string().contains("mode 700"), "{error}");
}

#[test]
fn a_name_that_a_person_took_conflicts() {
    let create = |branch: &mut Branch| branch.put("dir/new", "agent").expect("writes");
    let (path, _) = conflict(create, |root| {
        fs::write(root.join("dir/new"), "person").expect("writes");
    });
    assert_eq!(path, "dir/new");
}

#[test]
fn removing_a_file_that_a_person_changed_conflicts() {
    let remove = |branch: &mut Branch| branch.rm("dir/file").expect("removes");
    let (path, _) = conflict(remove, |root| {
        fs::write(root.join("dir/file"), "by a person").expect("writes");
    });
    assert_eq!(path, "dir/file");
}

#[test]
fn removing_a_directory_into_which_a_person_put_a_file_conflicts() {
    let remove = |branch: &mut Branch| branch.rm_all("dir").expect("removes");
    let (path, _) = conflict(remove, |root| {
        fs::write(root.join("dir/notes"), "mine").expect("writes");
    });
    assert_eq!(path, "dir/notes");
}

#[test]
fn moving_a_directory_to_a_name_that_a_person_took_conflicts() {
    let rename = |branch: &mut Branch| branch.mv("dir", "moved").expect("renames");
    let (path, _) = conflict(rename, |root| {
        fs::create_dir(root.join("moved")).expect("makes")
    });
    assert_eq!(path, "moved");
}

#[test]
fn a_moved_directory_takes_a_persons_new_file_along() {
    let scratch = Scratch::new();
    scratch.write("dir/file", "x");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    branch.mv("dir", "moved").expect("renames");
    let (_, delta) = branch.freeze().expect("freezes");
    scratch.write("dir/notes", "mine");
    workspace
        .commit(&delta, &MemoryLog::default())
        .expect("commits");
    assert_eq!(scratch.read("moved/notes"), "mine");
}

#[test]
fn a_change_since_an_unverified_ancestor_looked_conflicts() {
    let scratch = Scratch::new();
    scratch.write("file", "one");
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let mut reader = workspace.snapshot().branch();
    assert_eq!(reader.get("file").expect("reads"), "one");
    let (read, read_delta) = reader.freeze().expect("freezes");
    scratch.write("file", "by a person");

    let write = |snapshot: &forerun_snapshot::Snapshot| {
        let mut branch = snapshot.branch();
        branch.put("file", "by the agent").expect("writes");
        branch.freeze().expect("freezes").1
    };
    let error = workspace
        .commit(&write(&read), &log)
        .expect_err("conflicts");
    assert_eq!(error.path(), Some("file"));
    let stale = workspace.retire(&read_delta).expect_err("is stale");
    assert_eq!(stale.path(), Some("file"));

    // Once the step that looked is verified, only later looks count.
    let mut reader = workspace.snapshot().branch();
    assert_eq!(reader.get("file").expect("reads"), "by a person");
    let (read, read_delta) = reader.freeze().expect("freezes");
    workspace.retire(&read_delta).expect("is as it was");
    scratch.write("file", "by a person again");
    workspace.commit(&write(&read), &log).expect("commits");
    assert_eq!(scratch.read("file"), "by the agent");
}

#[test]
fn touching_a_file_without_changing_it_is_no_conflict() {
    let scratch = Scratch::new();
    scratch.write("file", "same");
    let workspace = scratch.open();
    let mut branch = workspace.snapshot().branch();
    branch.put("file", "by the agent").expect("writes");
    let (_, delta) = branch.freeze().expect("freezes");
    fs::remove_file(scratch.path().join("file")).expect("removes");
    scratch.write("file", "same");
    workspace
        .commit(&delta, &MemoryLog::default())
        .expect("commits");
    assert_eq!(scratch.read("file"), "by the agent");
}

#[test]
fn two_sessions_that_change_one_file_conflict_and_two_files_do_not() {
    let scratch = Scratch::new();
    scratch.write("a", "a");
    scratch.write("b", "b");
    let (one, two) = (scratch.open(), scratch.open());
    let log = MemoryLog::default();
    let freeze = |workspace: &Workspace, paths: &[&str]| -> Delta {
        let mut branch = workspace.snapshot().branch();
        for path in paths {
            branch.put(path, "changed").expect("writes");
        }
        branch.freeze().expect("freezes").1
    };
    let (first, second, third) = (
        freeze(&one, &["a"]),
        freeze(&two, &["b"]),
        freeze(&two, &["a"]),
    );
    one.commit(&first, &log).expect("commits");
    two.commit(&second, &log).expect("commits");
    // The same content: what a session wanted is there, but not what it was made from.
    assert_eq!(
        two.commit(&third, &log).expect_err("conflicts").path(),
        Some("a")
    );
}

#[test]
fn a_commit_waits_for_git_and_gives_up_in_the_end() {
    let scratch = Scratch::new();
    scratch.write(".git/index.lock", "");
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let mut branch = workspace.snapshot().branch();
    branch.put("file", "x").expect("writes");
    let (_, delta) = branch.freeze().expect("freezes");
    let error = workspace.commit(&delta, &log).expect_err("is busy");
    assert_eq!(
        error.to_string(),
        "the workspace is busy: .git/index.lock exists"
    );
    assert!(!scratch.path().join("file").exists());
    assert!(log.states().is_empty() && scratch.leftovers().is_empty());
    fs::remove_file(scratch.path().join(".git/index.lock")).expect("removes");
    workspace.commit(&delta, &log).expect("commits");
}

type Action = Box<dyn FnOnce(&Path) + Send>;

/// Lets a person act right before, or right after, the nth rename or exchange: the races
/// that validation can not see.
struct Racing {
    inner: Arc<dyn Storage>,
    root: PathBuf,
    before: bool,
    countdown: Mutex<(usize, Option<Action>)>,
    /// The person, who may have to wait until the commit lets go of a file.
    person: Mutex<Option<JoinHandle<()>>>,
}

/// How long a commit waits for a person who waits for it.
const PATIENCE: Duration = Duration::from_millis(50);

impl Racing {
    fn new(
        inner: Arc<dyn Storage>,
        root: PathBuf,
        nth: usize,
        before: bool,
        action: impl FnOnce(&Path) + Send + 'static,
    ) -> Arc<Racing> {
        Arc::new(Racing {
            inner,
            root,
            before,
            countdown: Mutex::new((nth, Some(Box::new(action)))),
            person: Mutex::new(None),
        })
    }

    /// Waits until the person is done.
    fn join(&self) {
        let person = self.person.lock().expect("not poisoned").take();
        if let Some(person) = person {
            person.join().expect("the person is fine");
        }
    }

    fn step<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let action = {
            let mut countdown = self.countdown.lock().expect("not poisoned");
            let now = countdown.0 == 0;
            countdown.0 = countdown.0.wrapping_sub(1);
            if now { countdown.1.take() } else { None }
        };
        let act = |wanted: bool, action: Option<Action>| match action {
            Some(action) if wanted == self.before => {
                let root = self.root.clone();
                let (done, wait) = mpsc::channel();
                let person = std::thread::spawn(move || {
                    action(&root);
                    let _ = done.send(());
                });
                let _ = wait.recv_timeout(PATIENCE);
                *self.person.lock().expect("not poisoned") = Some(person);
                None
            }
            other => other,
        };
        let action = act(true, action);
        let result = operation();
        act(false, action);
        result
    }
}

impl Storage for Racing {
    fn rename(&self, from: &Location, to: &Location) -> io::Result<()> {
        match from.place == Place::Workspace || to.place == Place::Workspace {
            true => self.step(|| self.inner.rename(from, to)),
            false => self.inner.rename(from, to),
        }
    }
    fn exchange(&self, a: &Location, b: &Location) -> io::Result<()> {
        match a.place == Place::Workspace || b.place == Place::Workspace {
            true => self.step(|| self.inner.exchange(a, b)),
            false => self.inner.exchange(a, b),
        }
    }
    fn remove_directory(&self, at: &Location) -> io::Result<()> {
        match at.place == Place::Workspace {
            true => self.step(|| self.inner.remove_directory(at)),
            false => self.inner.remove_directory(at),
        }
    }
    crate::support::delegate!(inner: observe digest read read_link list is_writable same_mount moves_directories lease
        make_own_directory make_directory write_file make_symlink link set_times remove_file
        sync_directory sync_all);
}

/// A commit of an exchange, a deletion, a move and a new file, with a person who acts at
/// the `nth` renaming operation. Returns the scratch and the commit's result.
fn race(nth: usize, before: bool, action: impl FnOnce(&Path) + Send + 'static) -> Race {
    race_after(|_| {}, nth, before, action)
}

struct Race {
    scratch: Scratch,
    pristine: Manifest,
    result: Result<forerun_snapshot::Commit, CommitError>,
    kept: Vec<KeptCopy>,
}

/// As [`race`], with something that the person did before.
fn race_after(
    earlier: impl FnOnce(&Path),
    nth: usize,
    before: bool,
    action: impl FnOnce(&Path) + Send + 'static,
) -> Race {
    let scratch = Scratch::new();
    scratch.write("deleted", "d");
    scratch.write("moved", "m");
    scratch.write("edited", "original");
    scratch.write("emptied/file", "e");
    earlier(scratch.path());
    let pristine = scratch.manifest();
    let root = scratch.path().to_owned();
    let mut racing = None;
    let workspace = scratch.open_with(|inner| {
        Arc::clone(racing.insert(Racing::new(inner, root, nth, before, action))) as _
    });
    let log = MemoryLog::default();
    let mut branch = workspace.snapshot().branch();
    branch.rm("deleted").expect("removes");
    branch.rm_all("emptied").expect("removes");
    branch.mv("moved", "new-place").expect("renames");
    branch.put("edited", "by the agent").expect("writes");
    branch.put("a-new-one", "n").expect("writes");
    let (_, delta) = branch.freeze().expect("freezes");
    let result = workspace.commit(&delta, &log);
    racing.expect("was made").join();
    let state = match &result {
        Ok(_) => None,
        Err(_) => Some(IntentState::Reverted),
    };
    assert_eq!(log.states(), [state]);
    let kept = settle(&workspace, &log);
    assert!(scratch.leftovers().is_empty());
    Race {
        scratch,
        pristine,
        result,
        kept,
    }
}

/// Renaming operations of the commit above.
const RACE_STEPS: usize = 6;

#[test]
fn an_edit_during_the_application_is_never_lost_and_the_commit_is_whole_or_not_at_all() {
    let mut conflicts = 0;
    for before in [true, false] {
        for nth in 0..RACE_STEPS {
            for how in 0..3 {
                let Race {
                    scratch,
                    pristine,
                    result,
                    ..
                } = race(nth, before, move |root| {
                    let path = root.join("edited");
                    match how {
                        0 => fs::write(path, "by a person").expect("writes"),
                        1 => {
                            fs::write(root.join("swap"), "by a person").expect("writes");
                            fs::rename(root.join("swap"), path).expect("renames");
                        }
                        _ => {
                            fs::remove_file(&path).expect("removes");
                            fs::write(path, "by a person").expect("writes");
                        }
                    }
                });
                let context = format!("{nth} {before} {how} {result:?}");
                assert_eq!(scratch.read("edited"), "by a person", "{context}");
                let mut left = scratch.manifest();
                left.remove("edited");
                if result.is_err() {
                    conflicts += 1;
                    let mut pristine = pristine;
                    pristine.remove("edited");
                    assert_eq!(left, pristine, "{context}");
                } else {
                    let paths: Vec<_> = left.into_keys().collect();
                    assert_eq!(paths, ["a-new-one", "new-place"], "{context}");
                }
            }
        }
    }
    assert!(conflicts >= RACE_STEPS, "the races were met: {conflicts}");
}

#[test]
fn a_name_taken_during_the_application_is_never_lost() {
    for nth in 0..RACE_STEPS {
        for name in ["a-new-one", "new-place", "emptied/mine"] {
            let race = race(nth, true, move |root| {
                // The directory may be gone by then, and the name taken by the commit.
                let _ = fs::File::create_new(root.join(name))
                    .and_then(|mut file| io::Write::write_all(&mut file, b"person"));
            });
            let Race {
                scratch, result, ..
            } = race;
            let taken = scratch.read(name) == "person";
            assert!(result.is_ok() || taken, "{nth} {name} {result:?}");
            if taken {
                let error = result.expect_err("the name was taken");
                assert!(
                    error.path().is_some_and(|path| name.starts_with(path)),
                    "{error}"
                );
                assert_eq!(scratch.read("edited"), "original");
                assert_eq!(scratch.read("deleted"), "d");
                assert_eq!(scratch.read("emptied/file"), "e");
            }
        }
    }
}

/// Perhaps so late that what was moved can not go back to its name.
#[test]
fn what_is_moved_is_not_lost_when_a_person_takes_its_name() {
    let mut kept = 0;
    for before in [true, false] {
        for (nth, how) in (0..RACE_STEPS).flat_map(|nth| [(nth, 0), (nth, 1), (nth, 2)]) {
            let was_there = Arc::new(AtomicBool::new(true));
            let person_saw = Arc::clone(&was_there);
            let race = race(nth, before, move |root| {
                let path = root.join("moved");
                person_saw.store(path.exists(), Ordering::SeqCst);
                match how {
                    0 => fs::write(&path, "by a person").expect("writes"),
                    1 => {
                        fs::write(root.join("swap"), "by a person").expect("writes");
                        fs::rename(root.join("swap"), &path).expect("renames");
                    }
                    _ => {
                        let _ = fs::remove_file(&path);
                        fs::write(&path, "by a person").expect("writes");
                    }
                }
                // Stops the commit, if it has not come that far.
                let _ = fs::File::create_new(root.join("a-new-one"));
            });
            let context = format!("{nth} {before} {how} {:?} {:?}", race.result, race.kept);
            let scratch = &race.scratch;
            assert_eq!(scratch.read("moved"), "by a person", "{context}");
            let is_new = scratch.read("new-place") == "m";
            assert_eq!(is_new, race.result.is_ok(), "{context}");
            let copies = race.kept.iter().filter(|it| scratch.read(&it.copy) == "m");
            let copies = copies.inspect(|it| assert_eq!(it.path, "moved", "{context}"));
            let copies = copies.count();
            let is_lost = was_there.load(Ordering::SeqCst);
            assert!(is_lost || is_new || copies == 1, "{context}");
            kept += copies;
        }
    }
    assert!(kept > 0, "some could not go back");
}

#[test]
fn a_file_that_is_open_for_writing_is_not_replaced() {
    for (nth, before) in (0..RACE_STEPS).flat_map(|nth| [(nth, true), (nth, false)]) {
        let open = Arc::new(Mutex::new(None));
        let editor = Arc::clone(&open);
        let opened = move |root: &Path| {
            let file = fs::File::options().append(true).open(root.join("edited"));
            *editor.lock().expect("not poisoned") = Some(file.expect("opens"));
        };
        let write = move |_: &Path| {
            let open = open.lock().expect("not poisoned");
            let mut file = open.as_ref().expect("was opened");
            io::Write::write_all(&mut file, b" and typed on").expect("writes");
        };
        let race = race_after(opened, nth, before, write);
        let context = format!("{nth} {before} {:?}", race.result);
        let error = race.result.expect_err(&context);
        assert!(matches!(error.code(), "busy" | "conflict"), "{context}");
        // Where the commit does not come that far, nobody typed.
        let text = race.scratch.read("edited");
        assert!(text.starts_with("original"), "{context}: {text}");
        assert_eq!(race.kept, [], "{context}");
    }
}

/// Closes a file once a directory is made again: what was done was taken back.
struct ClosesLate {
    file: Mutex<Option<fs::File>>,
    /// Whether a directory that was made again can be moved: not by who may not write to it.
    moves: bool,
    /// Whether the last operation noted one.
    noted: AtomicBool,
}

impl Tap for ClosesLate {
    fn before(&self, operation: &'static str) -> io::Result<()> {
        let notes = operation == "make_own_directory";
        let noted = self.noted.swap(notes, Ordering::SeqCst);
        if operation == "make_directory" {
            self.file.lock().expect("not poisoned").take();
        }
        match operation {
            "rename" if noted && !self.moves => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_commit_that_waited_for_a_writer_removes_its_directories_all_the_same() {
    for moves in [true, false] {
        let scratch = Scratch::in_memory();
        scratch.write("edited", "original");
        scratch.write("tree/x/y", "original");
        let file = fs::File::options()
            .append(true)
            .open(scratch.path().join("edited"));
        let tap = ClosesLate {
            file: Mutex::new(Some(file.expect("opens"))),
            moves,
            noted: AtomicBool::new(false),
        };
        let workspace = scratch.open_with(|inner| Arc::new(Tapped { inner, tap }));
        let mut branch = workspace.snapshot().branch();
        branch.rm_all("tree").expect("removes");
        branch.put("edited", "new").expect("writes");
        let (_, delta) = branch.freeze().expect("freezes");
        let log = MemoryLog::default();
        workspace.commit(&delta, &log).expect("commits");
        assert_eq!(scratch.read("edited"), "new");
        assert!(!scratch.path().join("tree").exists());
        assert_eq!(settle(&workspace, &log), []);
        assert!(scratch.leftovers().is_empty(), "{:?}", scratch.leftovers());
    }
}

#[test]
fn who_opens_a_file_while_it_is_replaced_gets_the_one_that_stays() {
    for nth in 0..RACE_STEPS {
        let race = race(nth, false, |root| {
            let file = fs::File::options().append(true).open(root.join("edited"));
            io::Write::write_all(&mut file.expect("opens"), b", by a person").expect("writes");
        });
        let text = race.scratch.read("edited");
        assert!(
            text.ends_with(", by a person"),
            "{nth} {:?}: {text}",
            race.result
        );
        assert_eq!(race.kept, [], "{nth}");
    }
}

/// Removes `.forerun`, as `git clean -fdx` does, before the nth use of an operation.
struct Cleaning {
    root: PathBuf,
    operation: &'static str,
    left: AtomicUsize,
}

impl Tap for Arc<Cleaning> {
    fn before(&self, operation: &'static str) -> io::Result<()> {
        if operation == self.operation && self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            // What is not there needs not be removed.
            let _ = fs::remove_dir_all(self.root.join(".forerun"));
        }
        Ok(())
    }
}

#[test]
fn slots_that_a_person_removes_stop_neither_this_commit_nor_the_next() {
    let after = [
        ("a", "by the agent"),
        ("b", "by the agent"),
        ("tree/x", "by the agent"),
        ("tree/y/z", "by the agent"),
    ];
    // By a person, and nowhere else: these are moved.
    let moved = [
        ("file", "moved"),
        ("over", "gone too"),
        ("dir/deep/c", "c"),
        ("dir/inside", "tree/y/dir/inside"),
    ];
    for operation in [
        "make_own_directory",
        "make_directory",
        "write_file",
        "sync_directory",
        "exchange",
        "rename",
        "observe",
    ] {
        for nth in 0.. {
            let Some(scratch) = Scratch::with_foreign_state() else {
                return;
            };
            for path in ["a", "b", "gone", "gone too"] {
                scratch.write(path, "original");
            }
            for (path, _) in moved {
                scratch.write(path, path);
            }
            let before = scratch.manifest();
            let cleaning = Arc::new(Cleaning {
                root: scratch.path().to_owned(),
                operation,
                left: AtomicUsize::new(nth),
            });
            let tap = Arc::clone(&cleaning);
            let workspace = scratch.open_with(|inner| Arc::new(Tapped { inner, tap }));
            let log = MemoryLog::default();
            let mut branch = workspace.snapshot().branch();
            branch.rm("gone").expect("removes");
            branch.mkdir("tree").expect("makes");
            branch.mkdir("tree/y").expect("makes");
            for (path, content) in after {
                branch.put(path, content).expect("writes");
            }
            for (from, to) in [
                ("file", "moved"),
                ("over", "gone too"),
                ("dir/deep/c", "c"),
                ("dir", "tree/y/dir"),
            ] {
                branch.mv(from, to).expect("moves");
            }
            let (_, delta) = branch.freeze().expect("freezes");
            let result = workspace.commit(&delta, &log);
            let context = format!("{operation} {nth} {result:?}");
            let is_over = cleaning.left.swap(usize::MAX, Ordering::SeqCst) <= nth;
            match &result {
                Ok(_) => {
                    for (path, content) in after {
                        assert_eq!(scratch.read(path), content, "{context}");
                    }
                    for (from, to) in moved {
                        assert_eq!(scratch.read(to), from, "{context}");
                    }
                    for gone in ["gone", "file", "over", "dir"] {
                        assert!(!scratch.path().join(gone).exists(), "{context}");
                    }
                }
                Err(_) => {
                    assert!(log.states().is_empty(), "{context}: was recorded");
                    assert_eq!(scratch.manifest(), before, "{context}");
                }
            }
            if is_over {
                assert!(nth > 0 && result.is_ok(), "{context}");
                break;
            }
            let mut branch = workspace.snapshot().branch();
            branch.put("next", "next").expect("writes");
            let (_, delta) = branch.freeze().expect("freezes");
            let next = workspace.commit(&delta, &log);
            assert!(next.is_ok(), "{context}: {next:?}");
            assert_eq!(settle(&workspace, &log), [], "{context}");
            drop(workspace);
            let workspace = scratch.open();
            let recovery = workspace.recover(&log).expect("recovers");
            assert_eq!(recovery, Recovery::default(), "{context}");
            assert!(scratch.leftovers().is_empty(), "{context}");
        }
    }
}

#[test]
fn a_directory_moved_out_of_the_workspace_takes_nothing_with_it() {
    let outside = tempfile::tempdir().expect("a temporary directory");
    let scratch = Scratch::new();
    scratch.write("dir/file", "original");
    let root = scratch.path().to_owned();
    let away = outside.path().join("dir");
    let moved = away.clone();
    let workspace = scratch.open_with(|inner| {
        Racing::new(inner, root, 0, true, move |root: &Path| {
            fs::rename(root.join("dir"), moved).expect("renames");
        })
    });
    let mut branch = workspace.snapshot().branch();
    branch.put("dir/file", "by the agent").expect("writes");
    let (_, delta) = branch.freeze().expect("freezes");
    let error = workspace
        .commit(&delta, &MemoryLog::default())
        .expect_err("conflicts");
    assert_eq!(error.path(), Some("dir/file"));
    assert_eq!(
        fs::read_to_string(away.join("file")).expect("reads"),
        "original"
    );
}
