//! Finding the daemon, or starting it exactly once.

use crate::fake::{Fake, SOON, soon};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// A program that notes its start, and is then a process and nothing else: the daemon
/// that it seems to become is the fake.
struct Program {
    path: PathBuf,
    starts: PathBuf,
}

impl Program {
    fn new(fake: &Fake, then: &str) -> Program {
        let path = fake.dir().join("forerun");
        let starts = fake.dir().join("starts");
        let script = format!(
            "#!/bin/sh\necho \"$$ $(cut -d' ' -f6 /proc/$$/stat) $PWD $FORERUN_STATE_DIR $FORERUN_TOKEN$*\" >> '{}'\n{then}\n",
            starts.display()
        );
        std::fs::write(&path, script).expect("file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        Program { path, starts }
    }

    fn starts(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.starts).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until it was started.
    async fn started(&self) -> String {
        soon(async {
            loop {
                if let Some(start) = self.starts().pop() {
                    return start;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }
}

/// The processes that it was end with the test.
impl Drop for Program {
    fn drop(&mut self) {
        for start in self.starts() {
            let pid = start.split(' ').next().and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

#[tokio::test]
async fn programs_that_look_for_the_daemon_at_once_start_one() {
    let mut fake = Fake::new();
    let program = Program::new(&fake, "exec sleep 60");
    let looking: Vec<_> = (0..4)
        .map(|_| tokio::spawn(fake.builder().binary(&program.path).connect()))
        .collect();
    let start = program.started().await;
    fake.start();
    for connected in looking {
        let daemon = soon(connected).await.expect("no panic").expect("connects");
        assert_eq!(daemon.status().await.expect("status").version, "0.0.0");
    }
    assert_eq!(program.starts().len(), 1, "{:?}", program.starts());
    let words: Vec<&str> = start.split(' ').collect();
    assert_eq!(words[0], words[1], "leads a session of its own: {start}");
    let endpoint = format!("unix://{}", fake.socket().display());
    let state_dir = fake.dir().join("state").display().to_string();
    let expected = ["/", &state_dir, "serve", "--endpoint", &endpoint];
    assert_eq!(words[2..], expected);
}

#[tokio::test]
async fn a_daemon_that_runs_is_not_started_again() {
    let fake = Fake::started();
    let program = Program::new(&fake, "exit 1");
    let daemon = fake
        .builder()
        .binary(&program.path)
        .connect()
        .await
        .expect("it runs");
    assert_eq!(daemon.state_dir(), fake.dir().join("state"));
    assert!(program.starts().is_empty());
}

#[tokio::test]
async fn a_daemon_that_stops_at_once_is_reported_with_its_last_words() {
    let fake = Fake::new();
    std::fs::write(fake.dir().join("state/daemon.log"), "an older failure\n").expect("log");
    let program = Program::new(
        &fake,
        "echo 'the journal is newer than this program' >&2; exit 3",
    );
    let error = soon(fake.builder().binary(&program.path).connect())
        .await
        .expect_err("it stopped");
    assert_eq!(error.code(), "DAEMON_START_FAILED");
    let message = error.to_string();
    assert!(message.contains("exit status: 3"), "{message}");
    assert!(message.contains("the journal is newer"), "{message}");
    assert!(!message.contains("older failure"), "{message}");
    assert!(error.hint().expect("one").contains("daemon.log"));
}

#[tokio::test]
async fn a_daemon_that_never_serves_is_given_up() {
    let fake = Fake::new();
    let program = Program::new(&fake, "exec sleep 60");
    let connect = fake.builder().binary(&program.path);
    let connect = connect.start_timeout(Duration::from_millis(300)).connect();
    let error = soon(connect).await.expect_err("it never serves");
    assert_eq!(error.code(), "DAEMON_START_FAILED");
    assert!(error.to_string().contains("0.3 s"), "{error}");
    program.started().await;
    assert_eq!(program.starts().len(), 1);
}

#[tokio::test]
async fn who_forbids_a_start_is_told_that_nobody_answers() {
    let fake = Fake::new();
    let error = fake
        .builder()
        .no_spawn()
        .connect()
        .await
        .expect_err("nobody");
    assert_eq!(error.code(), "DAEMON_NOT_RUNNING");
    assert!(error.to_string().contains("forerun.sock"), "{error}");
    assert!(error.hint().expect("one").contains("forerun serve"));
}

#[tokio::test]
async fn a_socket_that_others_can_replace_is_not_connected_to() {
    let fake = Fake::started();
    let parent = fake.dir().join("state");
    std::fs::set_permissions(&parent, std::fs::Permissions::from_mode(0o777)).expect("chmod");
    let error = fake.builder().connect().await.expect_err("not safe");
    assert_eq!(error.code(), "SOCKET_UNSAFE");
}

#[tokio::test]
async fn another_major_version_is_refused_with_both() {
    let fake = Fake::started();
    fake.state().protocol_major = Some(2);
    let error = fake
        .builder()
        .no_spawn()
        .connect()
        .await
        .expect_err("another major");
    assert_eq!(error.code(), "PROTOCOL_MISMATCH");
    assert_eq!(
        error.to_string(),
        "the daemon speaks protocol 2.7, this program speaks 1.0"
    );
}

#[tokio::test]
async fn something_that_listens_and_is_silent_is_given_up() {
    let fake = Fake::new();
    let _listener = std::os::unix::net::UnixListener::bind(fake.socket()).expect("bind");
    let connect = fake
        .builder()
        .start_timeout(Duration::from_millis(200))
        .connect();
    let error = tokio::time::timeout(SOON, connect)
        .await
        .expect("bounded")
        .expect_err("silent");
    assert_eq!(error.code(), "DAEMON_UNREACHABLE");
}
