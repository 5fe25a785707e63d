//! Bytes that claim to be a delta: reading them, and grafting and committing what was
//! read, neither panics nor touches anything outside of the workspace.
//!
//! An input is a header and contents, parted by a byte that no text has; magic and length
//! are put before it.

#![no_main]

use forerun_snapshot::{
    Delta, Intent, IntentLog, IntentLogError, IntentState, Kept, OpenOptions, Workspace,
};
use forerun_types::CommitId;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;

/// Parts header and contents.
const END_OF_HEADER: u8 = 0xff;

/// A log that keeps nothing: no commit is recovered here.
struct Forgetful;

impl IntentLog for Forgetful {
    fn record(&self, _: &Path, _: &Intent) -> Result<CommitId, IntentLogError> {
        Ok(CommitId(1))
    }
    fn mark(&self, _: &[CommitId], _: IntentState) -> Result<(), IntentLogError> {
        Ok(())
    }
    fn load(&self, _: CommitId) -> Result<(Intent, Option<IntentState>), IntentLogError> {
        Err(IntentLogError::new("nothing is kept"))
    }
    fn owner(&self, _: &str) -> Result<Option<CommitId>, IntentLogError> {
        Ok(None)
    }
    fn kept(&self, _: &Path) -> Result<Vec<Kept>, IntentLogError> {
        Ok(Vec::new())
    }
    fn unfinished(&self, _: &Path) -> Result<Vec<(CommitId, Intent)>, IntentLogError> {
        Ok(Vec::new())
    }
}

/// `work/`, which the corpus's deltas are for, beside `state/` and `outside`.
struct Tree(TempDir);

impl Tree {
    fn new() -> Tree {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let root = root.expect("a temporary directory");
        let work = root.path().join("work");
        fs::create_dir_all(work.join("old/deep")).expect("makes");
        fs::create_dir(root.path().join("state")).expect("makes");
        for (path, text) in [("edit", "before"), ("gone", "x"), ("old/file", "y")] {
            fs::write(work.join(path), text).expect("writes");
        }
        symlink("../outside", work.join("out")).expect("links");
        fs::create_dir(root.path().join("outside")).expect("makes");
        fs::write(root.path().join("outside/file"), "outside").expect("writes");
        Tree(root)
    }

    fn open(&self) -> Workspace {
        let options = OpenOptions {
            state_dir: self.0.path().join("state"),
            masks: Vec::new(),
        };
        Workspace::open(&self.0.path().join("work"), &options).expect("opens")
    }

    /// Every path below a directory, with its content.
    fn manifest(&self, of: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut directories = vec![self.0.path().join(of)];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).expect("lists") {
                let path = entry.expect("an entry").path();
                let metadata = fs::symlink_metadata(&path).expect("metadata");
                let content = if metadata.is_dir() {
                    directories.push(path.clone());
                    b"directory".to_vec()
                } else if metadata.is_symlink() {
                    let target = fs::read_link(&path).expect("a target");
                    target.into_os_string().into_encoded_bytes()
                } else {
                    fs::read(&path).expect("reads")
                };
                found.insert(path.display().to_string(), content);
            }
        }
        found
    }
}

static TREE: LazyLock<Tree> = LazyLock::new(Tree::new);
static WORKSPACE: LazyLock<Workspace> = LazyLock::new(|| TREE.open());

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == END_OF_HEADER);
    let (header, contents) = data.split_at(end.unwrap_or(data.len()));
    let mut bytes = b"frdelta1".to_vec();
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    bytes.extend(contents.get(1..).unwrap_or_default());
    let Ok(delta) = Delta::from_bytes(&bytes) else {
        return;
    };
    let written = delta.to_bytes().expect("nothing has to be read for it");
    let again = Delta::from_bytes(&written).expect("what was written can be read");
    assert_eq!(again.digest(), delta.digest());
    assert_eq!(again.changes(), delta.changes());
    let _ = (delta.changed(), delta.diff());
    let Ok(grafted) = WORKSPACE.snapshot().graft(&delta) else {
        return;
    };
    let _ = grafted.diff();
    let tree = Tree::new();
    let (before, outside) = (tree.manifest("work"), tree.manifest("outside"));
    if tree.open().commit(&delta, &Forgetful).is_err() {
        assert_eq!(tree.manifest("work"), before);
    }
    assert_eq!(tree.manifest("outside"), outside);
});
