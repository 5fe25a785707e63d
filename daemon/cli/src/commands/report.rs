//! The picture of a run, drawn from its log: `forerun run --report`, `forerun session report`.

use crate::failure::{Exit, Failure};
use crate::output::Output;
use forerun_report::Picture;
use forerun_sdk::Session;
use forerun_types::View;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The name that stands for stdout.
const STDOUT: &str = "-";

/// Where a picture goes.
#[derive(Debug)]
pub(super) struct Destination {
    path: PathBuf,
}

impl Destination {
    /// A file that can be written now, or stdout. Nothing is left behind: a file that appears
    /// in the workspace before the run begins would be a part of it.
    pub(super) fn check(path: &Path) -> Result<Destination, Failure> {
        let destination = Destination {
            path: path.to_owned(),
        };
        if !destination.is_stdout() {
            writable(path).map_err(|error| destination.not_written(&error))?;
        }
        Ok(destination)
    }

    pub(super) fn is_stdout(&self) -> bool {
        self.path.as_os_str() == STDOUT
    }

    /// Draws the session's log as it is now.
    pub(super) async fn write(&self, output: Output, session: &Session) -> Result<(), Failure> {
        let mut picture = Picture::new(session.id());
        let mut events = session.watch_from(View::Trace, 0, false);
        while let Some(event) = events.next().await {
            picture.add(&event?);
        }
        let svg = picture.svg();
        if self.is_stdout() {
            output.line(svg.trim_end());
            return Ok(());
        }
        std::fs::write(&self.path, svg).map_err(|error| self.not_written(&error))?;
        output.note(&format!("written: {}", self.path.display()));
        Ok(())
    }

    fn not_written(&self, error: &io::Error) -> Failure {
        let message = format!("{} can not be written: {error}", self.path.display());
        let failure = Failure::new(Exit::Io, "REPORT_UNWRITABLE", message);
        match error.kind() {
            ErrorKind::NotFound => failure.hint("make its directory first"),
            _ => failure,
        }
    }
}

/// Whether a file can be written, by trying, without changing what is there.
fn writable(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(found) if found.is_file() => OpenOptions::new().write(true).open(path).map(drop),
        // Opening a pipe, or a device, can do something, or wait.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            OpenOptions::new().write(true).create_new(true).open(path)?;
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}
