//! Runs a WASI command in a sandbox, on a copy-on-write view of a directory.

use crate::client::{Forerun, authorized, bearer};
use crate::error::{Error, Result};
use crate::session::Session;
use forerun_proto::conversions::{self, ConversionError};
use forerun_proto::v1;
use forerun_proto::v1::tool_service_exec_request::Message as ToDaemon;
use forerun_proto::v1::tool_service_exec_response::Message as FromDaemon;
use forerun_types::{Limits, PathChange};
use std::path::PathBuf;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Bytes of one piece of a component or of input.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that may wait to be sent.
const QUEUE_MAX: usize = 16;

/// A command to be run, with [`Forerun::exec`].
#[derive(Clone, Debug, Default)]
pub struct Exec {
    /// What it is called, its first argument.
    pub name: String,
    /// A component that exports `wasi:cli/run`, or a module for WASI 0.1.
    pub component: Vec<u8>,
    /// Its further arguments.
    pub arguments: Vec<String>,
    /// Its environment; it gets no other.
    pub environment: Vec<(String, String)>,
    /// The directory that it works on; an empty one if there is none.
    pub workspace: Option<PathBuf>,
    /// Where it finds that: an absolute path, or `.`; `/workspace` if there is none.
    pub mount: Option<String>,
    /// The policy set; the daemon's default if there is none.
    pub policy: Option<String>,
    /// What it may use; the daemon's default if there is none.
    pub limits: Option<Limits>,
}

/// A command that runs. Dropping it stops the command.
#[derive(Debug)]
pub struct Running {
    session: Option<Session>,
    answers: Streaming<v1::ToolServiceExecResponse>,
    requests: mpsc::Sender<v1::ToolServiceExecRequest>,
}

/// Where a command reads from. Dropping the last one is the end of its input.
#[derive(Clone, Debug)]
pub struct Stdin {
    requests: mpsc::Sender<v1::ToolServiceExecRequest>,
}

/// What happens while a command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecEvent {
    /// It printed.
    Stdout(Vec<u8>),
    /// It complained.
    Stderr(Vec<u8>),
    /// It has ended; nothing follows.
    Ended(ExecEnded),
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecEnded {
    /// Its exit code, or why it was stopped.
    pub exit: std::result::Result<i32, String>,
    /// The first path that policy kept it from.
    pub denied: Option<String>,
    /// What it changed. Nothing of it is in the workspace yet.
    pub changed: Vec<PathChange>,
}

impl Forerun {
    /// Runs a command. With a workspace it is a session of one step: its diff can be
    /// looked at, committed or discarded, and its commit undone.
    ///
    /// # Errors
    /// If the component can not be run, the workspace can not be opened, or the daemon can
    /// not be reached.
    pub async fn exec(&self, exec: Exec) -> Result<Running> {
        let key = self.owner_key()?;
        let (requests, outgoing) = mpsc::channel(QUEUE_MAX);
        let workspace = exec.workspace.map(std::path::absolute).transpose();
        let workspace = workspace.map_err(|error| Error::Argument {
            what: "the workspace",
            problem: error.to_string(),
        })?;
        let start = v1::ExecStart {
            name: exec.name,
            component_bytes: exec.component.len() as u64,
            arguments: exec.arguments,
            environment: exec
                .environment
                .into_iter()
                .map(|(name, value)| v1::EnvironmentVariable { name, value })
                .collect(),
            workspace: workspace.map(|path| path.display().to_string()),
            mount: exec.mount.unwrap_or_default(),
            policy: exec.policy.unwrap_or_default(),
            limits: exec.limits.map(Into::into),
        };
        let pieces = requests.clone();
        let component = exec.component;
        tokio::spawn(async move {
            let component = component.chunks(PIECE_BYTES);
            let component = component.map(|piece| ToDaemon::Component(piece.to_vec()));
            for message in [ToDaemon::Start(Box::new(start))]
                .into_iter()
                .chain(component)
            {
                // Who does not take it says why in the answer.
                if send(&pieces, message).await.is_err() {
                    return;
                }
            }
        });
        let request = authorized(&bearer(&key)?, ReceiverStream::new(outgoing));
        let answers = self.tool_service().exec(request).await;
        let mut answers = answers.map_err(Error::from_status)?.into_inner();
        let first = answers.message().await.map_err(Error::from_status)?;
        let Some(FromDaemon::Started(started)) = first.and_then(|answer| answer.message) else {
            return Err(unexpected());
        };
        let session = match started.session {
            Some(id) => {
                let id = conversions::text("session", &id).map_err(invalid)?;
                Some(self.existing(id, key))
            }
            None => None,
        };
        Ok(Running {
            session,
            answers,
            requests,
        })
    }
}

impl Running {
    /// The session that it is; `None` without a workspace.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Where it reads from. To be asked for once, also if there is nothing to be read.
    pub fn stdin(&mut self) -> Stdin {
        let (closed, _) = mpsc::channel(1);
        let requests = std::mem::replace(&mut self.requests, closed);
        Stdin { requests }
    }

    /// What happens next; the last is [`ExecEvent::Ended`].
    ///
    /// # Errors
    /// If the daemon stops, or the connection breaks: then the command is stopped.
    pub async fn next(&mut self) -> Result<ExecEvent> {
        loop {
            let answer = self.answers.message().await.map_err(Error::from_status)?;
            return Ok(match answer.ok_or_else(unexpected)?.message {
                Some(FromDaemon::Stdout(bytes)) => ExecEvent::Stdout(bytes),
                Some(FromDaemon::Stderr(bytes)) => ExecEvent::Stderr(bytes),
                Some(FromDaemon::Ended(ended)) => ExecEvent::Ended(ExecEnded {
                    exit: ended.exit_code.ok_or(ended.stopped),
                    denied: ended.denied,
                    changed: conversions::list("changed", ended.changed).map_err(invalid)?,
                }),
                // Of a later version.
                Some(FromDaemon::Started(_)) | None => continue,
            });
        }
    }
}

impl Stdin {
    /// Gives the command more to read; `false` once it reads no more.
    pub async fn write(&self, bytes: &[u8]) -> bool {
        for piece in bytes.chunks(PIECE_BYTES) {
            if send(&self.requests, ToDaemon::Stdin(piece.to_vec()))
                .await
                .is_err()
            {
                return false;
            }
        }
        true
    }
}

async fn send(
    requests: &mpsc::Sender<v1::ToolServiceExecRequest>,
    message: ToDaemon,
) -> std::result::Result<(), ()> {
    let message = Some(message);
    let request = v1::ToolServiceExecRequest { message };
    requests.send(request).await.map_err(|_| ())
}

fn invalid(source: ConversionError) -> Error {
    Error::Invalid {
        what: "command",
        source,
    }
}

fn unexpected() -> Error {
    Error::from_status(tonic::Status::unavailable(
        "the stream ended before the command",
    ))
}
