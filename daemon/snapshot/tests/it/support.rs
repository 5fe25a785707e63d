//! What the suites share: scratch workspaces, manifests of a tree, an intent log in
//! memory.

use forerun_snapshot::{
    Attributes, Branch, FsError, Hold, Inode, Intent, IntentLog, IntentLogError, IntentState, Kept,
    KeptCopy, Lease, Location, NodeKind, Observed, OpenOptions, Pieces, Retention, Storage,
    Timestamp, Workspace,
};
use forerun_types::{CommitId, Digest};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Tells whoever runs the tests what was tried, or what could not be.
#[expect(clippy::print_stderr, reason = "the output of a test")]
pub(crate) fn tell(text: &str) {
    eprintln!("{text}");
}

/// A workspace directory and a state directory, removed at the end.
pub(crate) struct Scratch {
    pub(crate) workspace: tempfile::TempDir,
    pub(crate) state: tempfile::TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        Scratch {
            workspace: tempfile::tempdir().expect("a temporary directory"),
            state: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// In memory where that is possible, for suites that sync a lot.
    pub(crate) fn in_memory() -> Scratch {
        let make = || tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Scratch {
            workspace: make().expect("a temporary directory"),
            state: make().expect("a temporary directory"),
        }
    }

    /// With slots in `.forerun`, because the state lies on another file system.
    pub(crate) fn with_foreign_state() -> Option<Scratch> {
        let state = tempfile::tempdir_in("/dev/shm").ok()?;
        let workspace = tempfile::tempdir().expect("a temporary directory");
        let device = |path: &Path| fs::metadata(path).map(|m| m.dev()).ok();
        (device(state.path()) != device(workspace.path())).then_some(Scratch { workspace, state })
    }

    pub(crate) fn path(&self) -> &Path {
        self.workspace.path()
    }

    pub(crate) fn options(&self) -> OpenOptions {
        OpenOptions {
            state_dir: self.state.path().to_owned(),
            masks: Vec::new(),
        }
    }

    pub(crate) fn open(&self) -> Workspace {
        Workspace::open(self.path(), &self.options()).expect("opens")
    }

    pub(crate) fn open_with(
        &self,
        wrap: impl FnOnce(Arc<dyn Storage>) -> Arc<dyn Storage>,
    ) -> Workspace {
        Workspace::open_with(self.path(), &self.options(), wrap).expect("opens")
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("has a parent")).expect("creates");
        fs::write(path, content).expect("writes");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap_or_else(|error| format!("! {error}"))
    }

    pub(crate) fn manifest(&self) -> Manifest {
        manifest(self.path())
    }

    /// Slots that are left, in either place, and probes.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let state = self.state.path().join("slots");
        for root in fs::read_dir(state).into_iter().flatten().flatten() {
            found.extend(fs::read_dir(root.path()).into_iter().flatten().flatten());
        }
        let own = self.path().join(".forerun/slots");
        found.extend(fs::read_dir(own).into_iter().flatten().flatten());
        let found = found.into_iter().map(|entry| entry.path());
        let is_empty =
            |path: &PathBuf| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        let (ready, mut found): (Vec<_>, Vec<_>) = found.partition(is_empty);
        // A commit makes some for the next ones.
        if ready.len() > 8 {
            found.extend(ready);
        }
        found
    }
}

/// Path → type, permission bits (of files), content or target; without `.forerun`.
pub(crate) type Manifest = BTreeMap<String, (char, u32, Vec<u8>)>;

pub(crate) fn manifest(root: &Path) -> Manifest {
    fn walk(root: &Path, relative: &str, out: &mut Manifest) {
        for entry in fs::read_dir(root.join(relative)).expect("lists") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("UTF-8");
            if name == ".forerun" {
                continue;
            }
            let path = match relative {
                "" => name,
                relative => format!("{relative}/{name}"),
            };
            let metadata = entry.metadata().expect("metadata");
            let mode = metadata.mode() & 0o7777;
            if metadata.is_dir() {
                out.insert(path.clone(), ('d', mode, Vec::new()));
                walk(root, &path, out);
            } else if metadata.is_symlink() {
                let target = fs::read_link(entry.path()).expect("a target");
                let target = target.into_os_string().into_encoded_bytes();
                out.insert(path, ('l', 0, target));
            } else {
                let content = fs::read(entry.path()).expect("reads");
                out.insert(path, ('f', mode, content));
            }
        }
    }
    let mut out = Manifest::new();
    walk(root, "", &mut out);
    out
}

/// An intent log in memory. Keeps intents as the JSON text that a real one would store.
#[derive(Default)]
pub(crate) struct MemoryLog {
    pub(crate) intents: Mutex<Vec<(String, Option<IntentState>)>>,
    /// By the directory of their slots.
    owners: Mutex<HashMap<String, CommitId>>,
    pub(crate) fail_marks: AtomicBool,
}

impl MemoryLog {
    pub(crate) fn states(&self) -> Vec<Option<IntentState>> {
        let intents = self.intents.lock().expect("not poisoned");
        intents.iter().map(|(_, state)| *state).collect()
    }
}

impl IntentLog for MemoryLog {
    fn record(&self, _: &Path, intent: &Intent) -> Result<CommitId, IntentLogError> {
        let json = serde_json::to_string(intent).map_err(IntentLogError::new)?;
        let mut intents = self.intents.lock().expect("not poisoned");
        intents.push((json, None));
        let id = CommitId(intents.len() as u64);
        let directory = intent.directory().to_owned();
        self.owners
            .lock()
            .expect("not poisoned")
            .insert(directory, id);
        Ok(id)
    }

    fn mark(&self, commits: &[CommitId], state: IntentState) -> Result<(), IntentLogError> {
        if self.fail_marks.load(Ordering::SeqCst) {
            return Err(IntentLogError::new("the disk is full"));
        }
        for commit in commits {
            let (intent, _) = self.load(*commit)?;
            let mut intents = self.intents.lock().expect("not poisoned");
            let entry = &mut intents[commit.0 as usize - 1].1;
            let fits = match state {
                IntentState::Expired => *entry == Some(IntentState::Applied),
                IntentState::Reverted => entry
                    .is_none_or(|old| matches!(old, IntentState::Failed | IntentState::Reverted)),
                state => entry.is_none_or(|old| old == state),
            };
            assert!(fits, "{commit} was {entry:?} and becomes {state:?}");
            *entry = Some(state);
            if let Some(undoes) = intent.undoes().filter(|undoes| undoes.whole)
                && state == IntentState::Applied
            {
                intents[undoes.commit.0 as usize - 1].1 = Some(IntentState::Undone);
            }
        }
        Ok(())
    }

    fn load(&self, commit: CommitId) -> Result<(Intent, Option<IntentState>), IntentLogError> {
        let intents = self.intents.lock().expect("not poisoned");
        let (json, state) = intents
            .get(commit.0 as usize - 1)
            .ok_or_else(|| IntentLogError::new("no such commit"))?;
        let intent = serde_json::from_str(json).map_err(IntentLogError::new)?;
        Ok((intent, *state))
    }

    fn owner(&self, directory: &str) -> Result<Option<CommitId>, IntentLogError> {
        let owners = self.owners.lock().expect("not poisoned");
        Ok(owners.get(directory).copied())
    }

    fn kept(&self, _: &Path) -> Result<Vec<Kept>, IntentLogError> {
        let mut kept = Vec::new();
        for (index, state) in self.states().into_iter().enumerate() {
            let commit = CommitId(index as u64 + 1);
            if state == Some(IntentState::Applied) {
                kept.push(Kept {
                    commit,
                    // One second apart, from the start of time.
                    recorded: Timestamp {
                        secs: index as i64,
                        nanos: 0,
                    },
                    bytes: self.load(commit)?.0.kept_bytes(),
                });
            }
        }
        Ok(kept)
    }

    fn unfinished(&self, _: &Path) -> Result<Vec<(CommitId, Intent)>, IntentLogError> {
        let intents = self.intents.lock().expect("not poisoned");
        let is_unfinished =
            |state: &Option<IntentState>| matches!(state, None | Some(IntentState::Failed));
        let unfinished = intents
            .iter()
            .enumerate()
            .filter(|(_, (_, state))| is_unfinished(state));
        unfinished
            .map(|(index, (json, _))| {
                let intent = serde_json::from_str(json).map_err(IntentLogError::new)?;
                Ok((CommitId(index as u64 + 1), intent))
            })
            .collect()
    }
}

/// Flushes and expires everything; returns what was kept aside.
pub(crate) fn settle(workspace: &Workspace, log: &MemoryLog) -> Vec<KeptCopy> {
    let nothing = Retention {
        age: std::time::Duration::ZERO,
        bytes: 0,
    };
    let flushed = workspace.flush(log).expect("flushes");
    let now = Timestamp::now();
    let expired = workspace.expire(nothing, now, log).expect("expires");
    let kept = flushed.into_iter().chain(expired.kept);
    kept.map(|(_, copy)| copy).collect()
}

/// Path-wise access to a branch, for short tests.
pub(crate) trait Paths {
    fn resolve(&mut self, path: &str) -> Result<Inode, FsError>;
    fn parent<'a>(&mut self, path: &'a str) -> Result<(Inode, &'a str), FsError>;
    fn put(&mut self, path: &str, content: &str) -> Result<(), FsError>;
    fn get(&mut self, path: &str) -> Result<String, FsError>;
    fn mkdir(&mut self, path: &str) -> Result<(), FsError>;
    fn rm(&mut self, path: &str) -> Result<(), FsError>;
    fn mv(&mut self, from: &str, to: &str) -> Result<(), FsError>;
    fn rm_all(&mut self, path: &str) -> Result<(), FsError>;
}

impl Paths for Branch {
    fn resolve(&mut self, path: &str) -> Result<Inode, FsError> {
        if path.is_empty() {
            return Ok(Inode::ROOT);
        }
        let located = self.lookup_path(Inode::ROOT, path)?;
        located.node.map(|(node, _)| node).ok_or(FsError::NotFound)
    }

    fn parent<'a>(&mut self, path: &'a str) -> Result<(Inode, &'a str), FsError> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.resolve(directory)?;
        match self.kind(directory)? {
            NodeKind::Directory => Ok((directory, name)),
            _ => Err(FsError::NotADirectory),
        }
    }

    /// As `std::fs::write`.
    fn put(&mut self, path: &str, content: &str) -> Result<(), FsError> {
        let (directory, name) = self.parent(path)?;
        let file = match self.lookup(directory, name) {
            Ok(file) => file,
            Err(FsError::NotFound) => self.create_file(directory, name)?,
            Err(error) => return Err(error),
        };
        self.set_len(file, 0)?;
        self.write(file, 0, content.as_bytes())
    }

    fn get(&mut self, path: &str) -> Result<String, FsError> {
        let file = self.resolve(path)?;
        let size = self.metadata(file)?.size as usize;
        let mut bytes = vec![0; size + 16];
        let count = self.read(file, 0, &mut bytes)?;
        bytes.truncate(count);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn mkdir(&mut self, path: &str) -> Result<(), FsError> {
        let (directory, name) = self.parent(path)?;
        self.create_dir(directory, name).map(drop)
    }

    fn rm(&mut self, path: &str) -> Result<(), FsError> {
        let (directory, name) = self.parent(path)?;
        self.unlink(directory, name)
    }

    fn mv(&mut self, from: &str, to: &str) -> Result<(), FsError> {
        let (from_directory, from) = self.parent(from)?;
        let (to_directory, to) = self.parent(to)?;
        self.rename(from_directory, from, to_directory, to)
    }

    fn rm_all(&mut self, path: &str) -> Result<(), FsError> {
        let node = self.resolve(path)?;
        for entry in self.list(node)? {
            let below = format!("{path}/{}", entry.name);
            match entry.kind {
                NodeKind::Directory => self.rm_all(&below)?,
                _ => self.rm(&below)?,
            }
        }
        let (directory, name) = self.parent(path)?;
        self.rmdir(directory, name)
    }
}

/// The tree that a branch shows, as a manifest.
pub(crate) fn branch_manifest(branch: &mut Branch) -> Manifest {
    fn walk(branch: &mut Branch, dir: Inode, relative: &str, out: &mut Manifest) {
        for entry in branch.list(dir).expect("lists") {
            let path = match relative {
                "" => entry.name.clone(),
                relative => format!("{relative}/{}", entry.name),
            };
            let node = branch.lookup(dir, &entry.name).expect("a listed name");
            let metadata = branch.metadata(node).expect("metadata");
            assert_eq!(metadata.kind, entry.kind, "{path}");
            assert!(
                branch.path_of(node).is_ok_and(|first| first <= path),
                "{path}"
            );
            match entry.kind {
                NodeKind::Directory => {
                    out.insert(path.clone(), ('d', metadata.mode, Vec::new()));
                    walk(branch, node, &path, out);
                }
                NodeKind::Symlink => {
                    let target = branch.read_link(node).expect("a target");
                    out.insert(path, ('l', 0, target.into_bytes()));
                }
                NodeKind::File => {
                    let mut bytes = vec![0; metadata.size as usize + 1];
                    let count = branch.read(node, 0, &mut bytes).expect("reads");
                    assert_eq!(count as u64, metadata.size, "{path}");
                    bytes.truncate(count);
                    out.insert(path, ('f', metadata.mode, bytes));
                }
            }
        }
    }
    let mut out = Manifest::new();
    walk(branch, Inode::ROOT, "", &mut out);
    out
}

/// Is told of each operation before it takes place, and may let it fail.
pub(crate) trait Tap: Send + Sync {
    fn before(&self, operation: &'static str) -> io::Result<()>;
}

/// A storage whose operations are told to somebody else first.
pub(crate) struct Tapped<T> {
    pub(crate) inner: Arc<dyn Storage>,
    pub(crate) tap: T,
}

macro_rules! tapped {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        impl<T: Tap> Storage for Tapped<T> {
            $(fn $name(&self, $($arg: $type),*) -> io::Result<$out> {
                self.tap.before(stringify!($name))?;
                self.inner.$name($($arg),*)
            })*
        }
    };
}

tapped! {
    observe(at: &Location) -> Option<Observed>;
    digest(at: &Location) -> (Observed, Digest);
    read(at: &Location, bytes_max: u64) -> Vec<u8>;
    list(at: &Location) -> Vec<Vec<u8>>;
    is_writable(at: &Location) -> bool;
    same_mount(a: &Location, b: &Location) -> bool;
    moves_directories() -> bool;
    make_own_directory(at: &Location) -> ();
    make_directory(at: &Location, mode: u32, owner: Option<(u32, u32)>) -> ();
    write_file(
        at: &Location,
        len: u64,
        pieces: &mut Pieces<'_>,
        attributes: &Attributes
    ) -> Box<dyn Hold>;
    read_link(at: &Location) -> String;
    lease(at: &Location, ino: u64) -> Option<Box<dyn Lease>>;
    make_symlink(at: &Location, target: &str, times: Option<(Timestamp, Timestamp)>) -> ();
    link(existing: &Location, at: &Location) -> ();
    set_times(at: &Location, accessed: Timestamp, modified: Timestamp) -> ();
    rename(from: &Location, to: &Location) -> ();
    exchange(a: &Location, b: &Location) -> ();
    remove_file(at: &Location) -> ();
    remove_directory(at: &Location) -> ();
    sync_directory(at: &Location) -> ();
    sync_all(at: &Location) -> ();
}

/// Passes operations of [`Storage`] on to a field, for doubles.
macro_rules! delegate {
    ($field:ident: $($name:ident)*) => { $(crate::support::delegate!(@ $field $name);)* };
    (@ $f:ident observe) => { fn observe(&self, at: &Location) -> io::Result<Option<Observed>> { self.$f.observe(at) } };
    (@ $f:ident digest) => { fn digest(&self, at: &Location) -> io::Result<(Observed, Digest)> { self.$f.digest(at) } };
    (@ $f:ident read) => { fn read(&self, at: &Location, bytes_max: u64) -> io::Result<Vec<u8>> { self.$f.read(at, bytes_max) } };
    (@ $f:ident list) => { fn list(&self, at: &Location) -> io::Result<Vec<Vec<u8>>> { self.$f.list(at) } };
    (@ $f:ident is_writable) => { fn is_writable(&self, at: &Location) -> io::Result<bool> { self.$f.is_writable(at) } };
    (@ $f:ident same_mount) => { fn same_mount(&self, a: &Location, b: &Location) -> io::Result<bool> { self.$f.same_mount(a, b) } };
    (@ $f:ident moves_directories) => { fn moves_directories(&self) -> io::Result<bool> { self.$f.moves_directories() } };
    (@ $f:ident make_own_directory) => { fn make_own_directory(&self, at: &Location) -> io::Result<()> { self.$f.make_own_directory(at) } };
    (@ $f:ident make_directory) => { fn make_directory(&self, at: &Location, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> { self.$f.make_directory(at, mode, owner) } };
    (@ $f:ident write_file) => { fn write_file(&self, at: &Location, len: u64, pieces: &mut forerun_snapshot::Pieces<'_>, attributes: &Attributes) -> io::Result<Box<dyn Hold>> { self.$f.write_file(at, len, pieces, attributes) } };
    (@ $f:ident read_link) => { fn read_link(&self, at: &Location) -> io::Result<String> { self.$f.read_link(at) } };
    (@ $f:ident lease) => { fn lease(&self, at: &Location, ino: u64) -> io::Result<Option<Box<dyn Lease>>> { self.$f.lease(at, ino) } };
    (@ $f:ident make_symlink) => { fn make_symlink(&self, at: &Location, target: &str, times: Option<(Timestamp, Timestamp)>) -> io::Result<()> { self.$f.make_symlink(at, target, times) } };
    (@ $f:ident link) => { fn link(&self, existing: &Location, at: &Location) -> io::Result<()> { self.$f.link(existing, at) } };
    (@ $f:ident set_times) => { fn set_times(&self, at: &Location, accessed: Timestamp, modified: Timestamp) -> io::Result<()> { self.$f.set_times(at, accessed, modified) } };
    (@ $f:ident remove_file) => { fn remove_file(&self, at: &Location) -> io::Result<()> { self.$f.remove_file(at) } };
    (@ $f:ident sync_directory) => { fn sync_directory(&self, at: &Location) -> io::Result<()> { self.$f.sync_directory(at) } };
    (@ $f:ident sync_all) => { fn sync_all(&self, at: &Location) -> io::Result<()> { self.$f.sync_all(at) } };
}
pub(crate) use delegate;
