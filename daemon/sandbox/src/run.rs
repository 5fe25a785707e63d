//! What goes into a sandbox and what comes out: plain data, and the future between.

use crate::fs::WORKSPACE;
use crate::guest::{CommandPre, PipeWriter, State};
use crate::registry::Registry;
use crate::toolbox::Manifest;
use forerun_types::{
    Action, Digest, HttpRequest, HttpResponse, LimitName, Limits, Observation, ObservationStatus,
    PathRules, SnapshotId, TouchDenied,
};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};
use wasmtime_wasi_io::bytes::Bytes;

/// One action to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The tool and its arguments.
    pub action: Action,
    /// The snapshot that it builds on.
    pub parent: SnapshotId,
    /// What it may use at most.
    pub limits: Limits,
    /// The wall clock that the guest finds at its start, in nanoseconds since 1970. Its
    /// clocks are virtual: the monotonic one starts at 0; both advance by a microsecond
    /// with each reading and by the full time with each sleep, so that they are the same
    /// in every run of the action, however fast the machine is.
    pub clock_ns: u64,
    /// Seed of every random number that the guest can get.
    pub seed: [u8; 32],
    /// Which paths it may touch.
    pub rules: PathRules,
}

/// A compiled WASI command.
#[derive(Clone)]
pub struct Program {
    pub(crate) pre: Arc<CommandPre<State>>,
}

/// What a command is started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Its arguments, its own name first.
    pub arguments: Vec<String>,
    /// Its environment; it gets nothing of the daemon's.
    pub environment: Vec<(String, String)>,
    /// Where it finds the workspace, which is also its working directory.
    pub mount: String,
}

impl Command {
    /// A call of a program that is a tool.
    pub(crate) fn of(manifest: &Manifest, call: &serde_json::Value) -> Command {
        let environment = manifest.environment.iter();
        Command {
            arguments: manifest.arguments(call),
            environment: environment
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            mount: WORKSPACE.to_owned(),
        }
    }

    /// The names of the workspace: as wished, and as the directory that relative paths
    /// start from, for programs that know no working directory.
    pub(crate) fn mounts(&self) -> Vec<String> {
        match self.mount.as_str() {
            "." => vec![".".to_owned()],
            mount => vec![mount.to_owned(), ".".to_owned()],
        }
    }

    pub(crate) fn directory(&self) -> Option<String> {
        self.mount.starts_with('/').then(|| self.mount.clone())
    }
}

/// What a command reads and prints, as it happens.
pub struct Streams {
    /// What it reads; its end is the end of its input.
    pub stdin: mpsc::Receiver<Bytes>,
    /// What it prints.
    pub stdout: PipeWriter,
    /// What it complains.
    pub stderr: PipeWriter,
}

/// A command to run by itself.
pub struct Exec {
    /// What it builds on, and under which limits and rules. The action is not looked at.
    pub request: Run,
    /// What it is started with.
    pub command: Command,
    /// Its streams.
    pub streams: Streams,
}

/// A request that a running action makes of the world. It waits for its answer, and its
/// wall time stands still meanwhile.
#[derive(Debug)]
pub struct Outgoing {
    /// Which of the action's requests it is, from 0. The same in every run of the action.
    pub number: u32,
    /// What it wants to send.
    pub request: HttpRequest,
    /// Whether the action had read something sensitive by then.
    pub read_sensitive: bool,
    /// Where the answer goes. To drop it is to deny the request.
    pub answer: oneshot::Sender<EgressAnswer>,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EgressAnswer {
    /// It was sent, now or when the action ran before, and this came back.
    Response(HttpResponse),
    /// There is no response.
    Refused {
        /// What the guest is told.
        why: EgressRefusal,
        /// What people, and agents, are told.
        reason: String,
    },
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EgressRefusal {
    /// Policy, or the user, does not allow it.
    Denied,
    /// Its address is one that no tool may reach.
    Address,
    /// Nobody knows the host.
    Unknown,
    /// There is no connection to the host.
    Unreachable,
    /// The response did not come in time.
    Late,
    /// The response is larger than what is kept.
    TooLarge,
    /// Something else went wrong.
    Failed,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What an agent sees.
    pub observation: Observation,
    /// The parent with the action's changes; held until it is dropped.
    pub snapshot: SnapshotId,
    /// What the outcome is compared and bound by.
    pub digests: Digests,
    /// The first touch that the path rules refused, if any, even if the tool went on.
    pub denied: Option<String>,
    /// Touches that the path rules refuse, and that were only noted.
    pub noted: Vec<TouchDenied>,
    /// Whether it read something that the path rules call sensitive.
    pub read_sensitive: bool,
    /// What it used.
    pub usage: RunUsage,
}

/// What the outcome of an action is compared and bound by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// Everything that an agent sees.
    pub observation: Digest,
    /// The net changes, for comparing outcomes.
    pub changes: Digest,
    /// The delta that a verdict binds to.
    pub delta: Digest,
}

/// What an action used. Differs from run to run, so it is no part of the observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunUsage {
    /// From its start to its end, in microseconds, without the wait for a free sandbox.
    pub wall_us: u64,
    /// Of which it kept its thread busy.
    pub cpu_us: u64,
    /// Most bytes of memory that it held.
    pub memory_peak: u64,
}

/// A running action. Dropping it stops the sandbox: a guest that computes without end
/// is gone two milliseconds later, and leaves nothing behind.
#[must_use = "dropping an execution stops it"]
pub struct Execution {
    receiver: oneshot::Receiver<Done>,
    registry: Arc<Registry>,
    parent: SnapshotId,
}

impl Execution {
    pub(crate) fn new(
        receiver: oneshot::Receiver<Done>,
        registry: Arc<Registry>,
        parent: SnapshotId,
    ) -> Execution {
        Execution {
            receiver,
            registry,
            parent,
        }
    }
}

impl Future for Execution {
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done> {
        let parent = self.parent;
        Pin::new(&mut self.receiver).poll(cx).map(|result| {
            // The sender is lost only if the sandbox's own code panicked.
            result.unwrap_or_else(|_| {
                Done::nothing(
                    Observation::new(
                        ObservationStatus::Stopped(LimitName::Internal),
                        "the sandbox failed; nothing was changed",
                    ),
                    parent,
                )
            })
        })
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        self.receiver.close();
        // It may have ended just now: nobody will ever ask for that snapshot.
        if let Ok(done) = self.receiver.try_recv()
            && done.snapshot != self.parent
        {
            self.registry.drop_snapshot(done.snapshot);
        }
    }
}

impl Done {
    /// An end without a child snapshot: nothing could be run on the parent.
    pub(crate) fn nothing(observation: Observation, parent: SnapshotId) -> Done {
        let none = Digest::of([]);
        Done {
            digests: Digests {
                observation: observation.digest(),
                changes: none,
                delta: none,
            },
            observation,
            snapshot: parent,
            denied: None,
            noted: Vec::new(),
            read_sensitive: false,
            usage: RunUsage::default(),
        }
    }
}
