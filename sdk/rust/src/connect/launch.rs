//! Starts the daemon: under a lock, detached, with its output in a log.

use super::detach;
use crate::endpoint::{Endpoint, Locations, STATE_DIR_VARIABLE};
use crate::error::{Error, Result};
use crate::model::Protocol;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

/// The program's name.
const BINARY: &str = "forerun";
/// The log of started daemons, in the state directory.
const LOG_FILE: &str = "daemon.log";
/// A log longer than this is put aside at the next start, so that it can not fill the
/// disk over the years.
const LOG_BYTES_MAX: u64 = 8 << 20;
/// How much of the log an error quotes: enough for its last words, not for a screen full.
const TAIL_BYTES_MAX: u64 = 2_048;

/// The right to start the daemon of one endpoint. The system gives it back when the
/// holder ends, however it ends.
pub(super) struct Lock {
    _file: Flock<File>,
}

/// Takes the lock of the endpoint; `None` if another program is starting the daemon.
///
/// The file stays: removing it would let two programs hold two locks of one name.
pub(super) fn lock(endpoint: &Endpoint) -> Result<Option<Lock>> {
    let mut path = endpoint.path().as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let file = private_file()
        .open(&path)
        .map_err(|error| Error::io("could not open the lock", &path, error))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok(Some(Lock { _file: file })),
        Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => Ok(None),
        Err((_, errno)) => Err(Error::io("could not lock", path, errno.into())),
    }
}

/// Finds the program: what was given, or `FORERUN_BIN`, or else beside the running
/// program, or else in `PATH`.
pub(super) fn find_binary(given: Option<&Path>) -> Result<PathBuf> {
    let named = given.map(Path::to_owned).or_else(|| {
        std::env::var_os("FORERUN_BIN")
            .filter(|bin| !bin.is_empty())
            .map(PathBuf::from)
    });
    find_binary_in(
        named.as_deref(),
        std::env::current_exe().ok().as_deref(),
        std::env::var_os("PATH"),
    )
}

fn find_binary_in(
    named: Option<&Path>,
    running: Option<&Path>,
    path: Option<OsString>,
) -> Result<PathBuf> {
    let candidates: Vec<PathBuf> = match named {
        // Somebody who names one does not want another.
        Some(named) => vec![named.to_owned()],
        None => {
            let beside = running.and_then(Path::parent).map(Path::to_owned);
            let path = path.unwrap_or_default();
            beside
                .into_iter()
                .chain(std::env::split_paths(&path))
                // A program must not depend on where it was started.
                .filter(|directory| directory.is_absolute())
                .map(|directory| directory.join(BINARY))
                .collect()
        }
    };
    candidates
        .iter()
        .find(|candidate| is_executable(candidate))
        .map(|found| std::path::absolute(found).unwrap_or_else(|_| found.clone()))
        .ok_or_else(|| Error::BinaryNotFound {
            looked_at: candidates
                .iter()
                .map(|candidate| candidate.display().to_string())
                .collect(),
        })
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A daemon that was started and does not serve yet. Holds the lock until it is dropped.
pub(super) struct Starting {
    /// Has its exit status once it has one. The thread at the other end also sees to it
    /// that a daemon that ends does not stay a zombie for as long as this program runs.
    ended: Receiver<io::Result<ExitStatus>>,
    log: PathBuf,
    log_start: u64,
    _lock: Lock,
}

/// Starts `forerun serve` detached from this program.
pub(super) fn start(binary: &Path, locations: &Locations, lock: Lock) -> Result<Starting> {
    let log = locations.state_dir.join(LOG_FILE);
    let log_error = |error| Error::io("could not open the log", &log, error);
    if std::fs::metadata(&log).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
        std::fs::rename(&log, log.with_extension("log.old")).map_err(log_error)?;
    }
    let output = private_file().append(true).open(&log).map_err(log_error)?;
    let log_start = output.metadata().map_err(log_error)?.len();
    let mut command = Command::new(binary);
    command
        .args(["serve", "--endpoint", &locations.endpoint.to_string()])
        .env(STATE_DIR_VARIABLE, &locations.state_dir)
        // A token and keys of ours are not the daemon's business.
        .env_remove("FORERUN_TOKEN")
        .env_remove(Protocol::OpenAi.key_variable())
        .env_remove(Protocol::Anthropic.key_variable())
        // It must not keep a directory busy that happens to be ours.
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(log_error)?)
        .stderr(output);
    let mut child = detach::into_own_session(&mut command)
        .spawn()
        .map_err(|error| Error::io("could not start", binary, error))?;
    tracing::debug!(binary = %binary.display(), pid = child.id(), "started the daemon");
    let (sender, ended) = mpsc::channel();
    std::thread::Builder::new()
        .name("forerun-reaper".to_owned())
        .spawn(move || sender.send(child.wait()))
        .map_err(|error| Error::io("could not watch", binary, error))?;
    Ok(Starting {
        ended,
        log,
        log_start,
        _lock: lock,
    })
}

impl Starting {
    /// Fails if the daemon has stopped.
    pub(super) fn check(&self) -> Result<()> {
        let problem = match self.ended.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Ok(Ok(status)) => format!("it stopped with {status}"),
            Ok(Err(error)) => format!("it can not be watched: {error}"),
            Err(TryRecvError::Disconnected) => "it stopped".to_owned(),
        };
        Err(Error::StartFailed {
            problem,
            log_tail: tail(&self.log, self.log_start),
            log: self.log.clone(),
        })
    }
}

/// What to say when the time is over.
pub(super) fn timed_out(locations: &Locations, timeout: Duration) -> Error {
    let log = locations.state_dir.join(LOG_FILE);
    Error::StartFailed {
        problem: format!("it did not serve within {} s", timeout.as_secs_f32()),
        log_tail: tail(&log, 0),
        log,
    }
}

/// The end of what was written to the log from `start` on.
fn tail(log: &Path, start: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let end = file.metadata()?.len();
        let start = start.max(end.saturating_sub(TAIL_BYTES_MAX));
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    // The log is an extra; without it the error is still right.
    read().unwrap_or_default()
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &Path) {
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("directory");
        std::fs::write(path, "#!/bin/sh\n").expect("file");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    #[test]
    fn the_program_is_looked_for_where_it_was_named_then_beside_us_then_in_the_path() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let [named, beside, in_path] =
            ["named/forerun", "beside/forerun", "path/forerun"].map(|name| dir.path().join(name));
        let running = dir.path().join("beside/other");
        let find = |name: Option<&Path>| {
            let path = std::env::join_paths(["relative".as_ref(), in_path.parent().expect("one")]);
            find_binary_in(name, Some(&running), Some(path.expect("no colon")))
        };
        let error = find(None).expect_err("nothing there");
        assert_eq!(error.code(), "BINARY_NOT_FOUND");
        assert!(!error.to_string().contains("relative"), "{error}");
        program(&in_path);
        assert_eq!(find(None).expect("in PATH"), in_path);
        program(&beside);
        assert_eq!(find(None).expect("beside us"), beside);
        let error = find(Some(&named)).expect_err("a name is not replaced");
        assert!(error.to_string().contains("named/forerun"), "{error}");
        program(&named);
        assert_eq!(find(Some(&named)).expect("named"), named);
    }

    #[test]
    fn a_file_that_can_not_be_executed_is_not_the_program() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("forerun");
        std::fs::write(&path, "text").expect("file");
        find_binary_in(Some(&path), None, None).expect_err("not executable");
        find_binary_in(Some(dir.path()), None, None).expect_err("a directory");
    }

    #[test]
    fn one_endpoint_has_one_lock_which_ends_with_its_holder() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let endpoint = Endpoint::unix(dir.path().join("f.sock")).expect("short");
        let first = lock(&endpoint).expect("lock");
        assert!(first.is_some());
        assert!(lock(&endpoint).expect("lock").is_none());
        drop(first);
        assert!(lock(&endpoint).expect("lock").is_some());
    }
}
