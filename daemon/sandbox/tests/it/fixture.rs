//! A workspace, sandboxes with the shipped tools and the hostile guest, and a session's
//! head that moves on with every action.

use forerun_sandbox::{ComponentSource, Done, Run, SandboxConfig, Sandboxes};
use forerun_snapshot::{OpenOptions, Workspace};
use forerun_types::{
    Action, Digest, Limits, ObservationStatus, PathPattern, PathRule, PathRules, RuleEffect,
    SnapshotId, Touch,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;
use tempfile::TempDir;

/// Longest that any action of a test may take, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

static SANDBOXES: LazyLock<Sandboxes> = LazyLock::new(|| {
    // Kept between runs of the tests, so that components are compiled once.
    let state_dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("state");
    fs::create_dir_all(&state_dir).expect("created");
    fs::set_permissions(&state_dir, fs::Permissions::from_mode(0o700)).expect("set");
    let mut config = SandboxConfig::new(state_dir);
    config.threads = 2;
    config.components.push(ComponentSource {
        name: "hostile".into(),
        wasm: forerun_test_guests::HOSTILE.into(),
    });
    config.components.push(ComponentSource {
        name: "probe".into(),
        wasm: forerun_test_guests::PROBE.into(),
    });
    Sandboxes::start(config).expect("starts")
});

pub(crate) struct Fixture {
    pub(crate) sandboxes: Sandboxes,
    pub(crate) head: SnapshotId,
    pub(crate) limits: Limits,
    pub(crate) rules: PathRules,
    pub(crate) seed: [u8; 32],
    pub(crate) clock_ns: u64,
    directory: TempDir,
    before: BTreeMap<String, String>,
    _workspace: Workspace,
}

/// A message as it is after it has crossed to another process: the same.
fn through_bytes<T>(message: T) -> T
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let bytes = serde_json::to_vec(&message).expect("can be sent");
    let received = serde_json::from_slice(&bytes).expect("can be received");
    assert_eq!(message, received);
    received
}

impl Fixture {
    /// A workspace with these files. A content that begins with `->` makes a link, `/` an
    /// empty directory.
    pub(crate) fn new(files: &[(&str, &str)]) -> Fixture {
        Fixture::with(files, |_| {})
    }

    /// As [`Fixture::new`], with what `more` adds to the workspace.
    pub(crate) fn with(files: &[(&str, &str)], more: impl FnOnce(&Path)) -> Fixture {
        let directory = tempfile::tempdir().expect("temporary directory");
        let root = directory.path().join("workspace");
        let state_dir = directory.path().join("state");
        fs::create_dir(&root).expect("created");
        fs::create_dir(&state_dir).expect("created");
        fs::write(directory.path().join("secret"), "not for tools").expect("written");
        fill(&root, files);
        more(&root);
        let options = OpenOptions {
            state_dir,
            masks: Vec::new(),
        };
        let workspace = Workspace::open(&root, &options).expect("opens");
        let sandboxes = SANDBOXES.clone();
        Fixture {
            head: sandboxes.open(workspace.snapshot()),
            sandboxes,
            limits: Limits::default(),
            rules: allow_all(),
            seed: [7; 32],
            clock_ns: 1_700_000_000_000_000_000,
            before: manifest(directory.path()),
            directory,
            _workspace: workspace,
        }
    }

    pub(crate) fn request(&self, tool: &str, arguments: &Value) -> Run {
        Run {
            action: Action::parse(tool, &arguments.to_string()).expect("an action"),
            parent: self.head,
            limits: self.limits.clone(),
            clock_ns: self.clock_ns,
            seed: self.seed,
            rules: self.rules.clone(),
        }
    }

    /// Runs an action on the head; the head stays.
    pub(crate) async fn try_run(&self, tool: &str, arguments: Value) -> Done {
        let request = through_bytes(self.request(tool, &arguments));
        let execution = self.sandboxes.run(request);
        let done = tokio::time::timeout(PATIENCE, execution).await;
        through_bytes(done.expect("every action ends"))
    }

    /// Runs an action; its snapshot becomes the head.
    pub(crate) async fn run(&mut self, tool: &str, arguments: Value) -> Done {
        let done = self.try_run(tool, arguments).await;
        self.head = done.snapshot;
        done
    }

    /// The text of an action that must succeed.
    pub(crate) async fn text(&mut self, tool: &str, arguments: Value) -> String {
        let done = self.run(tool, arguments).await;
        assert_eq!(
            done.observation.status,
            ObservationStatus::Success,
            "{tool}: {}",
            done.observation.text
        );
        done.observation.text
    }

    /// The changed paths of an outcome.
    pub(crate) fn changed(&self, done: &Done) -> Vec<String> {
        let delta = self.sandboxes.delta(done.snapshot).expect("held");
        delta
            .changed()
            .into_iter()
            .map(|change| change.path)
            .collect()
    }

    /// Where the workspace lies.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    /// Nothing of what the tests' tools did may be on the disk.
    pub(crate) fn assert_host_untouched(&self) {
        assert_eq!(manifest(self.directory.path()), self.before);
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_host_untouched();
        }
    }
}

pub(crate) fn fill(root: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("created");
        match content.strip_prefix("->") {
            Some(target) => std::os::unix::fs::symlink(target, path).expect("linked"),
            None if *content == "/" => fs::create_dir(path).expect("created"),
            None => fs::write(path, content).expect("written"),
        }
    }
}

/// Path, type, mode, digest or target of everything below, without the daemon's own.
fn manifest(root: &Path) -> BTreeMap<String, String> {
    fn add(root: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).expect("readable") {
            let path = entry.expect("readable").path();
            let metadata = fs::symlink_metadata(&path).expect("there");
            let relative = path
                .strip_prefix(root)
                .expect("below")
                .display()
                .to_string();
            let mode = metadata.permissions().mode();
            let content = if metadata.is_dir() {
                add(root, &path, found);
                "directory".to_owned()
            } else if metadata.is_symlink() {
                fs::read_link(&path).expect("a link").display().to_string()
            } else {
                Digest::of(fs::read(&path).expect("readable")).to_string()
            };
            found.insert(relative, format!("{mode:o} {content}"));
        }
    }
    let mut found = BTreeMap::new();
    add(root, root, &mut found);
    found
}

pub(crate) fn rule(effect: RuleEffect, touches: &[Touch], pattern: PathPattern) -> PathRule {
    PathRule {
        policy: "test".into(),
        effect,
        touches: touches.to_vec(),
        pattern,
    }
}

pub(crate) fn allow_all() -> PathRules {
    let all = [Touch::Read, Touch::Write, Touch::Delete];
    PathRules::from(vec![rule(RuleEffect::Permit, &all, PathPattern::Any)])
}
