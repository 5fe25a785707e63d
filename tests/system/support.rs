//! A daemon of one's own, a workspace, scripts, and what can be asked about them.

use forerun_sdk::{Agent, AgentError, Candidate, Forerun, Request, Role, Session};
use forerun_types::{Action, Event, EventKind, SessionId, TERMINATE, View};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long the target of a [`Plan`] thinks; the approximation agent runs ahead meanwhile.
const THOUGHT: Duration = Duration::from_millis(400);

/// Directories and a daemon of a test's own. The daemon ends with it.
pub(crate) struct Home {
    directory: TempDir,
    daemon: Option<Child>,
    /// Variables of the program's environment, beside those that every home sets.
    environment: Vec<(String, String)>,
}

impl Home {
    /// New directories, and a running daemon.
    pub(crate) fn new() -> Home {
        Home::with_config("")
    }

    /// The same, with a configuration file.
    pub(crate) fn with_config(config: &str) -> Home {
        let mut home = Home::without_daemon();
        home.configure(config);
        home.start_daemon();
        home
    }

    /// Writes the configuration file.
    pub(crate) fn configure(&self, config: &str) {
        std::fs::create_dir_all(self.path("config/forerun")).expect("configuration directory");
        std::fs::write(self.path("config/forerun/config.toml"), config).expect("configuration");
    }

    /// Sets a variable of the environment in which the program runs.
    pub(crate) fn set(&mut self, name: &str, value: impl ToString) {
        self.environment.push((name.to_owned(), value.to_string()));
    }

    /// Makes a certificate for `localhost` that is its own root; the paths of it and of its
    /// key.
    pub(crate) fn certificate(&self) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a certificate");
        let (certificate, key) = (self.path("cert.pem"), self.path("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).expect("writes");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("writes");
        (certificate, key)
    }

    /// New directories only.
    pub(crate) fn without_daemon() -> Home {
        let directory = tempfile::Builder::new()
            .prefix("fr-")
            .tempdir()
            .expect("directory");
        for name in ["state", "run", "config", "tmp"] {
            std::fs::create_dir(directory.path().join(name)).expect("directory");
            let mode = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(directory.path().join(name), mode).expect("mode");
        }
        Home {
            directory,
            daemon: None,
            environment: Vec::new(),
        }
    }

    /// Starts `forerun serve` and waits until it answers.
    pub(crate) fn start_daemon(&mut self) {
        let log = std::fs::File::create(self.path("daemon.log")).expect("log");
        let daemon = self
            .forerun(&["serve"])
            .stderr(log)
            .stdin(Stdio::null())
            .spawn();
        self.daemon = Some(daemon.expect("the daemon starts"));
        self.wait_until("the daemon answers", || {
            self.forerun(&["status"])
                .output()
                .expect("runs")
                .status
                .success()
        });
    }

    /// The daemon's process.
    pub(crate) fn daemon(&mut self) -> &mut Child {
        self.daemon.as_mut().expect("a running daemon")
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    /// The program, in these directories, never starting a daemon by itself.
    pub(crate) fn forerun(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forerun"));
        command
            .args(arguments)
            .env("HOME", self.path("."))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("TMPDIR", self.path("tmp"))
            .env("FORERUN_NO_SPAWN", "1")
            .env_remove("FORERUN_ENDPOINT")
            .env_remove("FORERUN_STATE_DIR")
            .env_remove("FORERUN_TOKEN")
            .env_remove("OPENAI_API_KEY")
            .env_remove("OPENAI_BASE_URL")
            .env_remove("ANTHROPIC_API_KEY")
            .env_remove("ANTHROPIC_BASE_URL")
            .env_remove("CODEX_HOME")
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().cloned());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.forerun(arguments).output().expect("the program runs")
    }

    /// Runs the program, which has to succeed, and returns what it wrote to stdout.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(
            output.status.success(),
            "forerun {arguments:?} failed with {}:\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs the program, which has to fail with this exit code, and returns its stderr.
    pub(crate) fn fail(&self, exit: i32, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(
            output.status.code(),
            Some(exit),
            "forerun {arguments:?}: {stderr}"
        );
        assert!(!stderr.contains("panicked"), "{stderr}");
        stderr
    }

    /// A client of the daemon.
    pub(crate) async fn client(&self) -> Forerun {
        let endpoint = format!("unix://{}", self.path("run/forerun/forerun.sock").display());
        Forerun::builder()
            .endpoint(endpoint)
            .state_dir(self.path("state/forerun"))
            .no_spawn()
            .connect()
            .await
            .expect("the daemon answers")
    }

    /// A workspace with some files.
    pub(crate) fn workspace(&self, name: &str) -> PathBuf {
        let workspace = self.path(name);
        std::fs::create_dir_all(workspace.join("src/deep")).expect("directory");
        std::fs::write(workspace.join("README.md"), "# Title\n\nOld text.\n").expect("file");
        std::fs::write(workspace.join("src/main.rs"), "fn main() {}\n").expect("file");
        std::fs::write(workspace.join("src/deep/notes.txt"), "one\ntwo\n").expect("file");
        std::fs::write(workspace.join("obsolete.txt"), "remove me\n").expect("file");
        let script = workspace.join("run.sh");
        std::fs::write(&script, "#!/bin/sh\necho old\n").expect("file");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("mode");
        let link = workspace.join("link");
        if !link.is_symlink() {
            std::os::unix::fs::symlink("src/main.rs", link).expect("link");
        }
        workspace
    }

    /// Writes a script and returns its specification.
    pub(crate) fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("script");
        format!("script:{}", path.display())
    }

    /// Waits for a condition, with a bound.
    pub(crate) fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let start = std::time::Instant::now();
        while !condition() {
            let log = std::fs::read_to_string(self.path("daemon.log")).unwrap_or_default();
            assert!(
                start.elapsed() < PATIENCE,
                "waited in vain until {what}; daemon:\n{log}"
            );
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// Everything in a directory but `.forerun`: path → type, mode, and content or target.
pub(crate) fn manifest(root: &Path) -> BTreeMap<String, (char, u32, String)> {
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, (char, u32, String)>) {
        for entry in std::fs::read_dir(at).expect("directory") {
            let path = entry.expect("entry").path();
            let relative = path
                .strip_prefix(root)
                .expect("below")
                .display()
                .to_string();
            if relative == ".forerun" {
                continue;
            }
            let metadata = std::fs::symlink_metadata(&path).expect("metadata");
            let mode = metadata.mode() & 0o7777;
            let entry = if metadata.is_symlink() {
                (
                    'l',
                    0,
                    std::fs::read_link(&path)
                        .expect("link")
                        .display()
                        .to_string(),
                )
            } else if metadata.is_dir() {
                walk(root, &path, found);
                ('d', mode, String::new())
            } else {
                let content = std::fs::read(&path).expect("file");
                ('f', mode, blake3::hash(&content).to_string())
            };
            found.insert(relative, entry);
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// The events of NDJSON, other objects left out.
pub(crate) fn events(ndjson: &str) -> Vec<Event> {
    ndjson
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The last JSON object of that type in NDJSON.
pub(crate) fn object(ndjson: &str, kind: &str) -> serde_json::Value {
    ndjson
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .rfind(|value| value["type"] == kind)
        .unwrap_or_else(|| panic!("no {kind} in {ndjson}"))
}

/// Reads a session's events until one is found, and returns all up to it.
pub(crate) async fn events_until(
    session: &Session,
    view: View,
    found: impl Fn(&EventKind) -> bool,
) -> Vec<Event> {
    let mut stream = session.watch(view);
    let mut events = Vec::new();
    let read = async {
        while let Some(event) = stream.next().await {
            let event = event.expect("the stream goes on");
            events.push(event);
            if found(&events.last().expect("one").kind) {
                return true;
            }
        }
        false
    };
    let complete = tokio::time::timeout(PATIENCE, read).await;
    assert_eq!(complete, Ok(true), "not found in {events:#?}");
    events
}

/// Waits until the session's plan has ended, and returns the presented events.
pub(crate) async fn presented(session: &Session) -> Vec<Event> {
    events_until(session, View::Presented, |kind| {
        matches!(kind, EventKind::Ended { .. })
    })
    .await
}

/// The session that a running `forerun run` opened.
pub(crate) async fn only_session(home: &Home) -> SessionId {
    only_new_session(home, &BTreeSet::new()).await
}

/// The same, in a home that knows others from before.
pub(crate) async fn only_new_session(home: &Home, known: &BTreeSet<SessionId>) -> SessionId {
    let client = home.client().await;
    let start = std::time::Instant::now();
    loop {
        let sessions = client.sessions(None).await.expect("a list");
        let mut new = sessions
            .iter()
            .filter(|session| !known.contains(&session.id));
        if let Some(session) = new.next() {
            return session.id.clone();
        }
        assert!(start.elapsed() < PATIENCE, "no session was opened");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Says the actions in order, then the end; after a while, if it is the target.
pub(crate) struct Plan(pub(crate) Vec<Action>, pub(crate) Role);

#[forerun_sdk::async_trait]
impl Agent for Plan {
    async fn propose(&self, request: &Request) -> Result<Vec<Candidate>, AgentError> {
        if self.1 == Role::Target {
            tokio::time::sleep(THOUGHT).await;
        }
        let action = self.0.get(request.steps_before());
        let end = || Action::parse(TERMINATE, r#"{"answer": "done"}"#).expect("valid");
        Ok(vec![Candidate::new(action.cloned().unwrap_or_else(end))])
    }
}
