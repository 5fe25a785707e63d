//! Tools: listed, added, removed, called, offered by clients (`register`); and programs that a
//! person runs, one stream each, from the component to the exit code.

use super::blocking;
use crate::daemon::Daemon;
use crate::error::RequestError;
use crate::exec::{Ended, Setting};
use crate::registry::{Entry, Source};
use forerun_proto::conversions::{self, ConversionError};
use forerun_proto::v1;
use forerun_proto::v1::tool_service_exec_request::Message as FromWire;
use forerun_proto::v1::tool_service_exec_response::Message as ToWire;
use forerun_proto::v1::tool_service_server::ToolService;
use forerun_sandbox::{Bytes, Command, Done, Execution, PipeReader, Sandboxes, Streams, pipe};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

/// How long a stream may take for its next message, until the component is there.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest component; stops a client from filling the memory, and a compiler from taking
/// minutes.
const COMPONENT_BYTES_MAX: u64 = 64 << 20;
/// Bytes of all arguments and variables; as much as Linux gives a process by default.
const ARGUMENTS_BYTES_MAX: usize = 2 << 20;
/// Messages that may wait for a client that does not read.
const QUEUE_MAX: usize = 16;
/// Pieces of input that may wait for a command that does not read.
const STDIN_MAX: usize = 16;
/// Where a command finds the workspace unless it is said.
const MOUNT: &str = "/workspace";
/// Where it finds room for temporary files.
const TMP: &str = "/tmp";

pub(super) struct Tools(pub(super) Arc<Daemon>);

type Answer = Result<v1::ToolServiceExecResponse, Status>;
type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ToolService for Tools {
    type ExecStream = ReceiverStream<Answer>;
    type RegisterStream = super::register::Responses;

    async fn list(
        &self,
        request: Request<v1::ToolServiceListRequest>,
    ) -> Reply<v1::ToolServiceListResponse> {
        self.0
            .authorize_user(request.metadata(), "list the tools")?;
        let sandboxes = self.0.sandboxes();
        let tools = sandboxes.toolbox().tools().iter().cloned();
        let added = self.0.tools.entries();
        Ok(Response::new(v1::ToolServiceListResponse {
            tools: tools.map(Into::into).collect(),
            added: added.into_iter().map(added_to_wire).collect(),
        }))
    }

    async fn add(
        &self,
        request: Request<v1::ToolServiceAddRequest>,
    ) -> Reply<v1::ToolServiceAddResponse> {
        self.0.authorize_user(request.metadata(), "add a tool")?;
        let request = request.into_inner();
        let pin = conversions::optional_text("digest", request.digest.as_deref());
        let pin = pin.map_err(RequestError::from)?;
        if request.component.len() as u64 > COMPONENT_BYTES_MAX {
            let problem = format!("at most {} MiB", COMPONENT_BYTES_MAX >> 20);
            return Err(RequestError::from(ConversionError::new("component", problem)).into());
        }
        let source = Source {
            wasm: request.component,
            manifest: request.manifest,
        };
        let (daemon, name) = (Arc::clone(&self.0), request.name);
        let added = blocking(move || {
            let default = &daemon.config.settings.policy;
            let check = |sandboxes: &Sandboxes| {
                let set = daemon.policies.set(default, sandboxes.toolbox(), None);
                Ok(set.map(drop)?)
            };
            let entry = daemon
                .tools
                .add(&name, &source, pin, request.replace, check)?;
            Ok((name, entry))
        });
        let added = Some(added_to_wire(added.await?));
        Ok(Response::new(v1::ToolServiceAddResponse { added }))
    }

    async fn remove(
        &self,
        request: Request<v1::ToolServiceRemoveRequest>,
    ) -> Reply<v1::ToolServiceRemoveResponse> {
        self.0.authorize_user(request.metadata(), "remove a tool")?;
        let (daemon, name) = (Arc::clone(&self.0), request.into_inner().name);
        blocking(move || daemon.tools.remove(&name)).await?;
        Ok(Response::new(v1::ToolServiceRemoveResponse {}))
    }

    async fn call(
        &self,
        request: Request<v1::ToolServiceCallRequest>,
    ) -> Reply<v1::ToolServiceCallResponse> {
        self.0.authorize_user(request.metadata(), "call a tool")?;
        let request = request.into_inner();
        let action = conversions::required("action", request.action).map_err(RequestError::from)?;
        let limits = request.limits;
        let setting = setting(&self.0, request.workspace, request.policy, limits)?;
        let daemon = Arc::clone(&self.0);
        let started = blocking(move || daemon.start_call(action, setting)).await?;
        let (running, execution) = match started {
            Ok(started) => started,
            Err(refusal) => {
                return Ok(Response::new(v1::ToolServiceCallResponse {
                    session: None,
                    observation: Some(refusal.into()),
                    changed: Vec::new(),
                }));
            }
        };
        // Ended or not, it is noted, even if the client goes away meanwhile.
        let daemon = Arc::clone(&self.0);
        let session = running.session.as_ref().map(|record| record.id.to_string());
        let ended = tokio::spawn(async move {
            let done = execution.await;
            blocking(move || daemon.end(&running, done)).await
        });
        let ended = ended
            .await
            .unwrap_or_else(|error| Err(RequestError::Internal(error.to_string())))?;
        Ok(Response::new(v1::ToolServiceCallResponse {
            session,
            observation: Some(ended.observation.into()),
            changed: ended.changed.into_iter().map(Into::into).collect(),
        }))
    }

    async fn register(
        &self,
        request: Request<Streaming<v1::ToolServiceRegisterRequest>>,
    ) -> Reply<Self::RegisterStream> {
        self.0
            .authorize_user(request.metadata(), "offer tools of its own")?;
        let responses = super::register::serve(Arc::clone(&self.0), request.into_inner());
        Ok(Response::new(responses))
    }

    async fn exec(
        &self,
        request: Request<Streaming<v1::ToolServiceExecRequest>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let metadata = request.metadata().clone();
        let incoming = request.into_inner();
        let (outgoing, responses) = mpsc::channel(QUEUE_MAX);
        let daemon = Arc::clone(&self.0);
        // The response's headers must not wait for the component.
        tokio::spawn(async move {
            if let Err(error) = exec(&daemon, &metadata, incoming, &outgoing).await {
                let _ = outgoing.send(Err(error.into())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

async fn exec(
    daemon: &Arc<Daemon>,
    metadata: &MetadataMap,
    mut incoming: Streaming<v1::ToolServiceExecRequest>,
    outgoing: &mpsc::Sender<Answer>,
) -> Result<(), RequestError> {
    daemon.authorize_user(metadata, "run a command")?;
    let (wasm, command, setting) = read_start(daemon, &mut incoming).await?;
    let (stdin, from_client) = mpsc::channel(STDIN_MAX);
    let (stdout, from_stdout) = pipe();
    let (stderr, from_stderr) = pipe();
    let streams = Streams {
        stdin: from_client,
        stdout,
        stderr,
    };
    let (running, execution) = {
        let daemon = Arc::clone(daemon);
        blocking(move || daemon.start_exec(&wasm, command, setting, streams)).await?
    };
    let session = running.session.as_ref().map(|record| record.id.to_string());
    let started = ToWire::Started(v1::ExecStarted { session });
    let is_there = send(outgoing, started).await;
    tokio::spawn(feed(incoming, stdin));
    let ended = match is_there {
        true => attend(daemon, execution, from_stdout, from_stderr, outgoing).await,
        false => None,
    };
    let daemon = Arc::clone(daemon);
    let ended = blocking(move || match ended {
        Some(done) => daemon.end(&running, done).map(Some),
        None => {
            let reason = "its terminal went away before it ended";
            daemon.abandon(&running, reason).map(|()| None)
        }
    });
    if let Some(ended) = ended.await? {
        send(outgoing, ToWire::Ended(ended.into())).await;
    }
    Ok(())
}

/// Passes on what the command prints until it ends; `None` if nobody waits for that.
async fn attend(
    daemon: &Daemon,
    mut execution: Execution,
    mut stdout: PipeReader,
    mut stderr: PipeReader,
    outgoing: &mpsc::Sender<Answer>,
) -> Option<Done> {
    let mut stopping = daemon.stopping();
    let (mut done, mut out_open, mut err_open) = (None, true, true);
    while done.is_none() || out_open || err_open {
        let message = tokio::select! {
            biased;
            () = outgoing.closed() => return None,
            _ = stopping.wait_for(|stopping| *stopping), if done.is_none() => return None,
            bytes = stdout.read(), if out_open => match bytes {
                Some(bytes) => ToWire::Stdout(bytes.to_vec()),
                None => { out_open = false; continue }
            },
            bytes = stderr.read(), if err_open => match bytes {
                Some(bytes) => ToWire::Stderr(bytes.to_vec()),
                None => { err_open = false; continue }
            },
            ended = &mut execution, if done.is_none() => { done = Some(ended); continue }
        };
        if !send(outgoing, message).await {
            return None;
        }
    }
    done
}

/// Passes on what the client sends for the command to read.
async fn feed(mut incoming: Streaming<v1::ToolServiceExecRequest>, stdin: mpsc::Sender<Bytes>) {
    while let Ok(Some(request)) = incoming.message().await {
        let Some(FromWire::Stdin(bytes)) = request.message else {
            return;
        };
        if stdin.send(bytes.into()).await.is_err() {
            return;
        }
    }
}

async fn send(outgoing: &mpsc::Sender<Answer>, message: ToWire) -> bool {
    let message = Some(message);
    let answer = v1::ToolServiceExecResponse { message };
    outgoing.send(Ok(answer)).await.is_ok()
}

/// Reads what is to be run, and the component.
async fn read_start(
    daemon: &Daemon,
    incoming: &mut Streaming<v1::ToolServiceExecRequest>,
) -> Result<(Vec<u8>, Command, Setting), RequestError> {
    let violation = |text: &str| RequestError::ProtocolViolation(text.to_owned());
    let mut next = async || {
        let message = tokio::time::timeout(START_TIMEOUT, incoming.message()).await;
        let message = message.map_err(|_| violation("the component did not come in time"))?;
        let message = message.map_err(|_| violation("the stream broke before the component"))?;
        Ok::<_, RequestError>(message.and_then(|request| request.message))
    };
    let Some(FromWire::Start(start)) = next().await? else {
        return Err(violation("the first message must be start"));
    };
    let length = start.component_bytes;
    let (command, setting) = convert(daemon, *start)?;
    let mut wasm = Vec::new();
    while (wasm.len() as u64) < length {
        match next().await? {
            Some(FromWire::Component(bytes)) => wasm.extend(bytes),
            _ => return Err(violation("the component is not whole")),
        }
        if wasm.len() as u64 > length {
            return Err(violation("the component is longer than was said"));
        }
    }
    Ok((wasm, command, setting))
}

fn convert(daemon: &Daemon, start: v1::ExecStart) -> Result<(Command, Setting), RequestError> {
    let invalid = |field: &str, problem: String| ConversionError::new(field, problem);
    if start.component_bytes > COMPONENT_BYTES_MAX {
        let problem = format!("at most {} MiB", COMPONENT_BYTES_MAX >> 20);
        return Err(invalid("start.component_bytes", problem).into());
    }
    let environment: Vec<_> = start
        .environment
        .into_iter()
        .map(|variable| (variable.name, variable.value))
        .collect();
    let mut arguments = vec![start.name];
    arguments.extend(start.arguments);
    let pairs = environment
        .iter()
        .map(|(name, value)| name.len() + value.len());
    if arguments
        .iter()
        .map(String::len)
        .chain(pairs)
        .sum::<usize>()
        > ARGUMENTS_BYTES_MAX
    {
        let problem = format!("with the environment at most {ARGUMENTS_BYTES_MAX} bytes");
        return Err(invalid("start.arguments", problem).into());
    }
    let mount = match start.mount.as_str() {
        "" => MOUNT.to_owned(),
        "." => ".".to_owned(),
        mount if mount.starts_with('/') && mount != TMP => mount.to_owned(),
        _ => {
            let problem = format!("must be an absolute path other than {TMP}, or `.`");
            return Err(invalid("start.mount", problem).into());
        }
    };
    let command = Command {
        arguments,
        environment,
        mount,
    };
    let setting = setting(daemon, start.workspace, start.policy, start.limits)?;
    Ok((command, setting))
}

fn setting(
    daemon: &Daemon,
    workspace: Option<String>,
    policy: String,
    limits: Option<v1::Limits>,
) -> Result<Setting, RequestError> {
    let settings = &daemon.config.settings;
    let workspace = workspace.map(PathBuf::from);
    if workspace.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err(ConversionError::new("workspace", "must be an absolute path").into());
    }
    let policy = Some(policy).filter(|name| !name.is_empty());
    Ok(Setting {
        workspace,
        policy: policy.unwrap_or_else(|| settings.policy.clone()),
        limits: conversions::limits_over(&settings.limits, limits),
    })
}

fn added_to_wire((name, entry): (String, Entry)) -> v1::AddedComponent {
    v1::AddedComponent {
        name,
        digest: entry
            .digest
            .map(|digest| digest.to_string())
            .unwrap_or_default(),
        tools: entry.tools,
        problem: entry.problem.unwrap_or_default(),
    }
}

impl From<Ended> for v1::ExecEnded {
    fn from(ended: Ended) -> v1::ExecEnded {
        v1::ExecEnded {
            exit_code: ended.exit_code(),
            stopped: match ended.exit_code() {
                Some(_) => String::new(),
                None => ended.observation.text,
            },
            denied: ended.denied,
            changed: ended.changed.into_iter().map(Into::into).collect(),
        }
    }
}
