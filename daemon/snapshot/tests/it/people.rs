//! People who work on a workspace while sessions read, change and commit it. Each thing
//! that a person writes carries a tag of its own. In the end every tag is in the
//! workspace, or in a conflict copy, or the same person wrote over it later.
//!
//! How long it lasts is told by `FORERUN_PEOPLE_SECONDS`, and with which seed by
//! `FORERUN_PEOPLE_SEED`.

use crate::mounts;
use crate::support::{MemoryLog, Paths, Scratch, manifest, settle, tell};
use forerun_snapshot::{Branch, FsError, NodeKind, Workspace};
use rustix::fs::{Timespec, Timestamps};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Length of each test, unless `FORERUN_PEOPLE_SECONDS` says otherwise.
const SECONDS: u64 = 4;
/// How much longer a test may last until enough was tried, on a slow disk.
const PATIENCE: u32 = 10;
/// Commits that are enough.
const COMMITS_MIN: u64 = 10;
const PEOPLE: usize = 3;
const SESSIONS: usize = 2;
/// Files of a person, and in each of their subdirectories.
const FILES: u64 = 4;
/// How often a person cleans, once or twice, so that some of it meets a commit.
const CLEANS: u64 = 5;
/// A file with more lines loses those of the sessions.
const LINES_MAX: usize = 40;

/// Numbers that are hard to foresee (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

fn number(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// A line by which what a person wrote is known again; all are of one length.
fn tag(person: usize, count: u64) -> String {
    format!("tag-{person:02}-{count:08}\n")
}

fn is_tag(line: &str) -> bool {
    line.len() == tag(0, 0).len() - 1 && line.starts_with("tag-")
}

/// What a person did to a path, in order.
#[derive(Clone, Debug)]
enum Did {
    /// What was there is theirs to throw away; perhaps a new tag is there instead.
    Overwrote(Option<String>, &'static str),
    Appended(String, &'static str),
}

/// Which habits people have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Habits {
    /// Nothing is kept open for long.
    Tidy,
    /// Descriptors stay open for writing, files stay mapped, and both are written to
    /// without a trace in the time of modification.
    Descriptors,
}

struct Person<'a> {
    number: usize,
    root: &'a Path,
    outside: &'a Path,
    dice: Dice,
    count: u64,
    habits: Habits,
    /// By the path under which the person knows the file.
    log: BTreeMap<String, Vec<Did>>,
    open: HashMap<String, File>,
    maps: HashMap<String, Map>,
}

impl Person<'_> {
    fn tag(&mut self) -> String {
        self.count += 1;
        tag(self.number, self.count)
    }

    /// The name for a file, whichever name its directory has at the moment.
    fn choose(&mut self) -> (String, PathBuf) {
        let own = format!("p{}", self.number);
        let file = format!("f{}", self.dice.roll(FILES));
        let directory = match self.dice.roll(3) {
            0 => String::new(),
            _ => "sub".to_owned(),
        };
        let known = format!("{own}/{directory}/{file}");
        let mut at = self.root.join(&own).join(&directory);
        if !directory.is_empty() && !is_directory(&at) {
            at = self.root.join(&own).join("sub-moved");
        }
        (known, at.join(file))
    }

    /// Who replaces or deletes a file writes no more to what it was.
    fn replaced(&mut self, known: &str, tag: Option<String>, how: &'static str) {
        self.open.remove(known);
        self.maps.remove(known);
        self.did(known, Did::Overwrote(tag, how));
    }

    fn did(&mut self, known: &str, what: Did) {
        self.log.entry(known.to_owned()).or_default().push(what);
    }

    /// One thing that people do. What fails was not done: a session was faster.
    fn act(&mut self) -> io::Result<()> {
        let (known, path) = self.choose();
        let is_link = fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
        if is_link {
            fs::remove_file(&path)?;
            self.did(&known, Did::Overwrote(None, "removed a link"));
        }
        let actions = match self.habits {
            Habits::Tidy => 8,
            Habits::Descriptors => 13,
        };
        match self.dice.roll(actions) {
            0 | 1 => {
                let tag = self.tag();
                let temporary = path.with_file_name(format!(".saving-{}", self.count));
                fs::write(&temporary, &tag)?;
                fs::rename(&temporary, &path).inspect_err(|_| drop(fs::remove_file(&temporary)))?;
                self.replaced(&known, Some(tag), "saved by rename");
            }
            2 => {
                let tag = self.tag();
                let file = File::options().append(true).create(true).open(&path);
                file?.write_all(tag.as_bytes())?;
                self.did(&known, Did::Appended(tag, "appended"));
            }
            3 => {
                let tag = self.tag();
                // What is mapped must not be cut off.
                self.maps.remove(&known);
                // A failure in between leaves the file empty.
                let mut file = File::create(&path)?;
                self.did(&known, Did::Overwrote(None, "emptied"));
                file.write_all(tag.as_bytes())?;
                self.did(&known, Did::Overwrote(Some(tag), "saved in place"));
            }
            4 => {
                fs::remove_file(&path)?;
                self.replaced(&known, None, "deleted");
            }
            5 => {
                let mode = [0o644, 0o600, 0o755][self.dice.roll(3) as usize];
                let file = File::open(&path)?;
                file.set_permissions(fs::Permissions::from_mode(mode))?;
            }
            6 => {
                let (from, to) = match self.dice.roll(2) {
                    0 => ("sub", "sub-moved"),
                    _ => ("sub-moved", "sub"),
                };
                let own = self.root.join(format!("p{}", self.number));
                if is_directory(&own.join(from)) && !own.join(to).exists() {
                    fs::rename(own.join(from), own.join(to))?;
                    if from == "sub" && self.dice.roll(2) == 0 {
                        // What the sessions know as a directory leads outside by now.
                        symlink(self.outside, own.join(from))?;
                        std::thread::sleep(Duration::from_millis(self.dice.roll(20)));
                        fs::remove_file(own.join(from))?;
                    }
                }
            }
            7 => {
                fs::remove_file(&path)?;
                self.replaced(&known, None, "replaced by a link");
                symlink(self.outside.join("f0"), &path)?;
            }
            8 => {
                if !self.open.contains_key(&known) {
                    let file = File::options().read(true).append(true).open(&path)?;
                    self.open.insert(known.clone(), file);
                }
                let tag = self.tag();
                self.open[&known].write_all_at(tag.as_bytes(), 0)?;
                self.did(&known, Did::Appended(tag, "appended through a descriptor"));
            }
            9 => {
                let tag = self.tag();
                let file = File::options().read(true).write(true).open(&path)?;
                let old = file.metadata()?;
                std::thread::sleep(Duration::from_millis(self.dice.roll(20)));
                // All of it, or a line of somebody else would be cut in two.
                if old.len() == tag.len() as u64 {
                    file.write_all_at(tag.as_bytes(), 0)?;
                    let time = |secs, nanos: i64| Timespec {
                        tv_sec: secs,
                        tv_nsec: nanos,
                    };
                    let times = Timestamps {
                        last_access: time(old.atime(), old.atime_nsec()),
                        last_modification: time(old.mtime(), old.mtime_nsec()),
                    };
                    rustix::fs::futimens(&file, &times)?;
                    self.did(&known, Did::Overwrote(Some(tag), "wrote without a trace"));
                }
            }
            10 | 11 => {
                let tag = self.tag();
                if !self.maps.contains_key(&known) {
                    let file = File::options().read(true).write(true).open(&path)?;
                    if file.metadata()?.len() != tag.len() as u64 {
                        return Ok(());
                    }
                    self.maps.insert(known.clone(), Map::of(&file, tag.len())?);
                }
                self.maps[&known].write(tag.as_bytes());
                self.did(&known, Did::Overwrote(Some(tag), "wrote through a map"));
            }
            _ => {
                self.open.remove(&known);
                self.maps.remove(&known);
            }
        }
        Ok(())
    }
}

/// The start of a file, mapped for writing. The descriptor is closed.
struct Map {
    address: *mut std::ffi::c_void,
    len: usize,
}

#[expect(
    unsafe_code,
    reason = "there is no other way to write without a descriptor"
)]
mod map {
    use super::Map;
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
    use std::fs::File;
    use std::{io, ptr};

    impl Map {
        pub(super) fn of(file: &File, len: usize) -> io::Result<Map> {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: at an address that the kernel chooses, so nothing is unmapped by it.
            let mapped =
                unsafe { mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, file, 0) };
            Ok(Map {
                address: mapped?,
                len,
            })
        }

        pub(super) fn write(&self, bytes: &[u8]) {
            assert!(bytes.len() <= self.len);
            // SAFETY: that many bytes are mapped for writing until this is dropped, and the
            // file is not cut off: who would do that drops the map first.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.address.cast(), bytes.len()) };
        }
    }

    impl Drop for Map {
        fn drop(&mut self) {
            // SAFETY: mapped by `of`, and nobody has another pointer to it.
            let unmapped = unsafe { munmap(self.address, self.len) };
            unmapped.expect("unmaps");
        }
    }
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// What sessions move.
#[derive(Clone, Copy)]
enum Moves {
    /// Anything, and they remove what has no tag.
    Everything,
    /// What is [`KEPT`], which they change in no other way.
    Kept,
}

/// How the names begin of what nobody but the sessions touches.
const KEPT: &str = "keep";

/// An agent's session: whatever it does keeps the tags that it saw.
struct Session {
    workspace: Workspace,
    dice: Dice,
    count: u64,
    number: usize,
    moves: Moves,
    commits: u64,
    failures: BTreeMap<&'static str, u64>,
    kept: Vec<String>,
}

impl Session {
    fn files(
        branch: &mut Branch,
        at: &str,
        found: &mut Vec<(String, NodeKind)>,
    ) -> Result<(), FsError> {
        let directory = branch.resolve(at)?;
        for entry in branch.list(directory)? {
            let path = match at {
                "" => entry.name,
                at => format!("{at}/{}", entry.name),
            };
            if path == ".git" {
                continue;
            }
            if entry.kind == NodeKind::Directory {
                Self::files(branch, &path, found)?;
            }
            found.push((path, entry.kind));
        }
        Ok(())
    }

    fn act(&mut self, branch: &mut Branch) -> Result<(), FsError> {
        let mut found = Vec::new();
        Self::files(branch, "", &mut found)?;
        self.count += 1;
        if found.is_empty() || self.dice.roll(10) == 0 {
            let name = format!("agent-{}-{}", self.number, self.count % 20);
            return branch.put(&name, "agent\n");
        }
        let (path, kind) = found.swap_remove(self.dice.roll(found.len() as u64) as usize);
        let roll = match self.moves {
            Moves::Everything => self.dice.roll(8),
            Moves::Kept if path.starts_with(KEPT) => 7,
            Moves::Kept => self.dice.roll(6),
        };
        match (kind, roll) {
            (NodeKind::File, 0..=5) => {
                let text = branch.get(&path)?;
                let many = text.lines().count() > LINES_MAX;
                let lines = text.lines().filter(|line| !many || is_tag(line));
                let mut text: String = lines.flat_map(|line| [line, "\n"]).collect();
                text.push_str(&format!("agent-{}-{:08}\n", self.number, self.count));
                branch.put(&path, &text)
            }
            (NodeKind::File, 6) => {
                let text = branch.get(&path)?;
                match text.lines().any(is_tag) {
                    true => Ok(()),
                    false => branch.rm(&path),
                }
            }
            (_, 7) => {
                let to = format!("{path}-m");
                match (path.strip_suffix("-m"), branch.resolve(&to)) {
                    (Some(back), _) if branch.resolve(back).is_err() => branch.mv(&path, back),
                    (None, Err(FsError::NotFound)) => branch.mv(&path, &to),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Some steps, one on top of the other, their commits, and now and then a flush.
    fn turn(&mut self, log: &MemoryLog, course: &Course) {
        self.steps(log, course);
        if self.dice.roll(4) == 0 {
            let kept = self.workspace.flush(log).expect("flushes");
            self.kept
                .extend(kept.into_iter().map(|(_, kept)| kept.copy));
        }
    }

    fn steps(&mut self, log: &MemoryLog, course: &Course) {
        let mut snapshot = self.workspace.snapshot();
        let mut steps = Vec::new();
        for _ in 0..=self.dice.roll(3) {
            let mut branch = snapshot.branch();
            for _ in 0..=self.dice.roll(3) {
                // Somebody changed it while it was read: that is no more than an answer.
                let _ = self.act(&mut branch);
            }
            let Ok((next, delta)) = branch.freeze() else {
                break;
            };
            steps.push(delta);
            snapshot = next;
        }
        for delta in steps {
            match self.workspace.commit(&delta, log) {
                Ok(_) => {
                    self.commits += 1;
                    course.commits.fetch_add(1, Ordering::SeqCst);
                }
                Err(error) => {
                    let is_conflict = error.code() == "conflict";
                    course
                        .conflicts
                        .fetch_add(is_conflict.into(), Ordering::SeqCst);
                    *self.failures.entry(error.code()).or_default() += 1;
                    return;
                }
            }
        }
    }
}

/// How long a test lasts, and what its sessions have tried.
struct Course {
    start: Instant,
    lasts: Duration,
    stop: AtomicBool,
    commits: AtomicU64,
    conflicts: AtomicU64,
}

impl Course {
    fn start() -> Course {
        Course {
            start: Instant::now(),
            lasts: Duration::from_secs(number("FORERUN_PEOPLE_SECONDS", SECONDS)),
            stop: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
        }
    }

    fn is_enough(&self) -> bool {
        self.commits.load(Ordering::SeqCst) > COMMITS_MIN
            && self.conflicts.load(Ordering::SeqCst) > 0
    }

    fn is_over(&self) -> bool {
        let elapsed = self.start.elapsed();
        elapsed >= self.lasts && (self.is_enough() || elapsed >= PATIENCE * self.lasts)
    }
}

/// Runs sessions until it is over, and returns what they tell.
fn sessions(
    scratch: &Scratch,
    log: &MemoryLog,
    course: &Course,
    moves: Moves,
    people: impl FnOnce(),
) -> Vec<Session> {
    let seed = number("FORERUN_PEOPLE_SEED", 1);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..SESSIONS)
            .map(|number| {
                let mut session = Session {
                    workspace: scratch.open(),
                    dice: Dice(seed * 1_000 + number as u64),
                    count: 0,
                    number,
                    moves,
                    commits: 0,
                    failures: BTreeMap::new(),
                    kept: Vec::new(),
                };
                scope.spawn(move || {
                    while !course.stop.load(Ordering::SeqCst) {
                        session.turn(log, course);
                    }
                    session
                })
            })
            .collect();
        /// Also if a person panics, or the sessions would go on for ever.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let stop = Stop(&course.stop);
        people();
        drop(stop);
        let ended = running.into_iter().map(|session| session.join());
        ended.map(|session| session.expect("a session")).collect()
    })
}

/// All lines of all files below a directory, by path; conflict copies included.
fn lines(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).expect("lists") {
        let path = entry.expect("an entry").path();
        let metadata = fs::symlink_metadata(&path).expect("metadata");
        if metadata.is_dir() {
            found.extend(lines(&path));
        } else if metadata.is_file() {
            let text = fs::read(&path).expect("reads");
            let text = String::from_utf8_lossy(&text).into_owned();
            found.extend(text.lines().map(|line| (path.clone(), line.to_owned())));
        }
    }
    found
}

/// Which tags are nowhere and were not written over by who wrote them.
fn lost(log: &BTreeMap<String, Vec<Did>>, found: &BTreeSet<String>) -> Vec<String> {
    let mut lost = Vec::new();
    for (known, did) in log {
        for (index, what) in did.iter().enumerate() {
            let (Did::Appended(tag, how) | Did::Overwrote(Some(tag), how)) = what else {
                continue;
            };
            let later = &did[index + 1..];
            let overwritten = later.iter().any(|did| matches!(did, Did::Overwrote(..)));
            if !overwritten && !found.contains(tag.trim_end()) {
                lost.push(format!(
                    "{} ({how} to {known}, then {later:?})",
                    tag.trim_end()
                ));
            }
        }
    }
    lost
}

/// What holds once everybody has gone home. `elsewhere` are lines that are kept outside
/// of the workspace's files.
fn check(
    scratch: &Scratch,
    log: &MemoryLog,
    sessions: Vec<Session>,
    people: &[BTreeMap<String, Vec<Did>>],
    elsewhere: impl IntoIterator<Item = String>,
) {
    let mut kept = Vec::new();
    let (mut commits, mut failures) = (0, BTreeMap::new());
    for session in sessions {
        commits += session.commits;
        kept.extend(session.kept);
        for (code, count) in session.failures {
            *failures.entry(code).or_insert(0) += count;
        }
    }
    let workspace = scratch.open();
    let recovery = workspace.recover(log).expect("recovers");
    kept.extend(recovery.kept.into_iter().map(|(_, kept)| kept.copy));
    kept.extend(settle(&workspace, log).into_iter().map(|kept| kept.copy));
    let summary = format!(
        "{commits} commits, {failures:?}, {} kept copies",
        kept.len()
    );
    tell(&summary);

    let lines = lines(scratch.path());
    let mut found: BTreeSet<String> = lines.iter().map(|(_, line)| line.clone()).collect();
    found.extend(elsewhere);
    let lost: Vec<_> = people.iter().flat_map(|log| lost(log, &found)).collect();
    assert!(lost.is_empty(), "{summary}: lost {lost:#?}");
    let own = scratch.path().join(".forerun");
    for (path, line) in &lines {
        let whole = is_tag(line) || line.starts_with("agent");
        let git = path.starts_with(scratch.path().join(".git"));
        assert!(
            whole || git || path.starts_with(&own),
            "{path:?} is torn: {line:?}"
        );
    }
    // Each copy is reported once.
    let reported: BTreeSet<_> = kept.iter().collect();
    assert_eq!(reported.len(), kept.len(), "{kept:?}");
    assert!(scratch.leftovers().is_empty(), "{:?}", scratch.leftovers());
    assert!(log.states().iter().all(Option::is_some));
    let refused = failures.get("conflict").copied().unwrap_or(0);
    assert!(
        commits > COMMITS_MIN && refused > 0,
        "{summary}: hardly anything was tried"
    );
    let other = |code: &&&str| !["conflict", "stale", "busy", "commit_io"].contains(*code);
    let other: Vec<_> = failures.keys().filter(other).collect();
    assert!(other.is_empty(), "{summary}");
}

fn meet(scratch: &Scratch, habits: Habits) {
    let outside = tempfile::tempdir().expect("a temporary directory");
    for file in 0..FILES {
        fs::write(outside.path().join(format!("f{file}")), "outside\n").expect("writes");
    }
    let untouched = manifest(outside.path());
    for person in 0..PEOPLE {
        for directory in ["", "sub/"] {
            for file in 0..FILES {
                scratch.write(&format!("p{person}/{directory}f{file}"), "agent\n");
            }
        }
    }
    let log = MemoryLog::default();
    let course = Course::start();
    let logs = Mutex::new(Vec::new());
    let ended = sessions(scratch, &log, &course, Moves::Everything, || {
        std::thread::scope(|scope| {
            for number in 0..PEOPLE {
                let (logs, course, outside) = (&logs, &course, outside.path());
                scope.spawn(move || {
                    let mut person = Person {
                        number,
                        root: scratch.path(),
                        outside,
                        dice: Dice(self::number("FORERUN_PEOPLE_SEED", 1) * 77 + number as u64),
                        count: 0,
                        habits,
                        log: BTreeMap::new(),
                        open: HashMap::new(),
                        maps: HashMap::new(),
                    };
                    while !course.is_over() {
                        let own = person.root.join(format!("p{number}"));
                        let _ = fs::create_dir(&own);
                        let _ = person.act();
                        if !is_directory(&own.join("sub")) && !is_directory(&own.join("sub-moved"))
                        {
                            let _ = fs::create_dir(own.join("sub"));
                        }
                        std::thread::sleep(Duration::from_micros(person.dice.roll(3_000)));
                    }
                    logs.lock().expect("not poisoned").push(person.log);
                });
            }
        });
    });
    let logs = logs.into_inner().expect("not poisoned");
    check(scratch, &log, ended, &logs, []);
    assert_eq!(manifest(outside.path()), untouched, "a link was followed");
}

#[test]
fn a_file_that_is_mapped_for_writing_is_not_replaced_though_its_descriptor_is_closed() {
    let scratch = Scratch::new();
    let text = tag(0, 1);
    scratch.write("file", &text);
    let workspace = scratch.open();
    let log = MemoryLog::default();
    let mut branch = workspace.snapshot().branch();
    branch.get("file").expect("reads");
    branch.put("file", "agent\n").expect("writes");
    let (_, delta) = branch.freeze().expect("freezes");
    let options = File::options().read(true).write(true).clone();
    let file = options.open(scratch.path().join("file")).expect("opens");
    let map = Map::of(&file, text.len()).expect("maps");
    drop(file);
    let refused = workspace.commit(&delta, &log).expect_err("is mapped");
    assert_eq!(refused.code(), "busy", "{refused}");
    drop(map);
    workspace.commit(&delta, &log).expect("commits");
    assert_eq!(scratch.read("file"), "agent\n");
}

#[test]
fn nothing_that_people_write_is_lost_on_a_disk() {
    meet(&Scratch::new(), Habits::Tidy);
}

#[test]
fn nothing_that_people_write_is_lost_in_memory() {
    meet(&Scratch::in_memory(), Habits::Tidy);
}

#[test]
fn nothing_that_people_write_through_descriptors_is_lost() {
    meet(&Scratch::new(), Habits::Descriptors);
}

#[test]
fn nothing_that_people_write_is_lost_on_other_file_systems() {
    for kind in mounts::KINDS {
        match mounts::Mounted::new(kind) {
            Ok(mounted) => {
                let make = || tempfile::tempdir_in(mounted.path());
                let scratch = Scratch {
                    workspace: make().expect("a temporary directory"),
                    state: make().expect("a temporary directory"),
                };
                tell(kind);
                meet(&scratch, Habits::Descriptors);
            }
            Err(reason) => tell(&format!("SKIPPED: {kind} can not be mounted: {reason}")),
        }
    }
}

fn git(root: &Path, arguments: &[&str]) -> io::Result<(bool, String)> {
    let output = Command::new("git")
        .args(["-c", "user.name=P", "-c", "user.email=p@example.org", "-C"])
        .arg(root)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()?;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr),
    ))
}

/// A person who saves, commits, checks out another branch and cleans.
///
/// What the person saves is at the end in the workspace, in git's history, or was saved
/// over. What the sessions move is in the workspace, all of it and whatever became of the
/// commits: the clean is told to leave it alone under each name that it may have, and
/// only in a slot it has another.
fn meet_git(scratch: &Scratch) {
    let root = scratch.path();
    for file in 0..FILES {
        scratch.write(&format!("t{file}"), "agent\n");
    }
    let Ok((true, _)) = git(root, &["init", "-q", "-b", "main"]) else {
        tell("SKIPPED: there is no git");
        return;
    };
    scratch.write(".gitignore", "agent-gitignore\n");
    for arguments in [
        &["add", "."][..],
        &["commit", "-qm", "first"],
        &["branch", "other"],
    ] {
        assert!(git(root, arguments).expect("runs").0, "{arguments:?}");
    }
    let log = MemoryLog::default();
    let course = Course::start();
    let mut person = BTreeMap::new();
    for count in 0..2 * FILES {
        let known = match count % 2 {
            0 => format!("{KEPT}-{count}"),
            _ => format!("{KEPT}/{KEPT}/{count}"),
        };
        // Numbers that no other tag of this person has.
        let tag = tag(1, count);
        scratch.write(&known, &tag);
        person.insert(
            known,
            vec![Did::Overwrote(Some(tag), "left to the sessions")],
        );
    }
    let mut checkouts = 0;
    let mut refused = Vec::new();
    let ended = sessions(scratch, &log, &course, Moves::Kept, || {
        let mut dice = Dice(number("FORERUN_PEOPLE_SEED", 1));
        for count in 0.. {
            if course.is_over() {
                break;
            }
            let known = format!("t{}", dice.roll(FILES));
            let tag = tag(0, count);
            fs::write(root.join(".git/saving"), &tag).expect("writes");
            fs::rename(root.join(".git/saving"), root.join(&known)).expect("renames");
            let did: &mut Vec<_> = person.entry(known).or_default();
            did.push(Did::Overwrote(Some(tag), "saved by rename"));
            let (committed, said) = git(root, &["commit", "-qam", "saved"]).expect("runs");
            if !committed {
                // A file was replaced while git read it. What is not committed yet must not
                // be thrown away.
                refused.push(said);
                continue;
            }
            let branch = ["main", "other"][dice.roll(2) as usize];
            checkouts += u64::from(git(root, &["checkout", "-qf", branch]).expect("runs").0);
            for _ in 0..dice.roll(3) * CLEANS {
                git(root, &["clean", "-fdxq", "-e", &format!("{KEPT}*")]).expect("runs");
            }
        }
    });
    let (_, history) = git(root, &["log", "--all", "-p", "--format="]).expect("runs");
    let history = history.lines().filter_map(|line| line.strip_prefix('+'));
    let history: Vec<_> = history.map(str::to_owned).collect();
    check(scratch, &log, ended, &[person], history);
    assert!(
        checkouts > 3 && refused.len() as u64 <= checkouts,
        "{checkouts}: {refused:?}"
    );
    assert!(git(root, &["fsck", "--strict"]).expect("runs").0);
}

#[test]
fn nothing_is_lost_when_git_checks_out_and_cleans() {
    meet_git(&Scratch::new());
}

#[test]
fn nothing_is_lost_when_git_removes_the_slots_under_a_commit() {
    match Scratch::with_foreign_state() {
        Some(scratch) => meet_git(&scratch),
        None => tell("SKIPPED: one file system holds everything"),
    }
}
