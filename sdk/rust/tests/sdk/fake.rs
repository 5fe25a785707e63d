//! An in-process daemon: real gRPC on a Unix socket in a temporary directory, behaviour
//! as the test says. Agent streams are handed to the test, which plays the daemon's part.

use forerun_proto::reason;
use forerun_proto::v1;
use forerun_proto::v1::agent_service_attach_request::Message as FromAgent;
use forerun_proto::v1::agent_service_attach_response::Message as ToAgent;
use forerun_proto::v1::agent_service_server::{AgentService, AgentServiceServer};
use forerun_proto::v1::daemon_service_server::{DaemonService, DaemonServiceServer};
use forerun_proto::v1::session_service_server::{SessionService, SessionServiceServer};
use forerun_sdk::{Connect, Digest, Forerun, Session, SessionId, ToolDescription};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

/// How long anything may take that is about to happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// What one stream of Watch does.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchPlan {
    /// Sends so many events of the log; `None`: all, and then what `end` says.
    pub(crate) events: Option<usize>,
    /// Starts so much earlier than it was asked to: what a client may see twice.
    pub(crate) rewind: u64,
    /// Leaves this event out.
    pub(crate) skip: Option<u64>,
    /// Says after its events that everything up to here was sent.
    pub(crate) heartbeat: Option<u64>,
    /// Ends so; `None`: breaks.
    pub(crate) end: Option<End>,
}

#[derive(Clone, Debug)]
pub(crate) enum End {
    Clean,
    Open,
    Refuse(Status),
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) created: Vec<v1::SessionServiceCreateRequest>,
    pub(crate) interrupts: Vec<v1::SessionServiceInterruptRequest>,
    pub(crate) finishes: Vec<v1::SessionServiceFinishRequest>,
    pub(crate) watches: Vec<v1::SessionServiceWatchRequest>,
    pub(crate) bearers: Vec<String>,
    /// Answers to the next calls of Interrupt, before it succeeds.
    pub(crate) refusals: VecDeque<Status>,
    pub(crate) log: Vec<v1::Event>,
    pub(crate) plans: VecDeque<WatchPlan>,
    pub(crate) protocol_major: Option<u32>,
    pub(crate) attach_refusal: Option<Status>,
}

pub(crate) struct Fake {
    dir: tempfile::TempDir,
    shared: Arc<Shared>,
    attaches: mpsc::UnboundedReceiver<AgentStream>,
    /// A runtime of its own, so that a stop ends every connection as a crash would.
    server: Option<Runtime>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    state_dir: PathBuf,
    attached: mpsc::UnboundedSender<AgentStream>,
}

impl Fake {
    /// A daemon that is not started yet.
    pub(crate) fn new() -> Fake {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (attached, attaches) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            state_dir: dir.path().join("state"),
            attached,
        });
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&shared.state_dir)
            .expect("directory");
        std::fs::write(shared.state_dir.join("owner.key"), "key_owner\n").expect("key");
        Fake {
            dir,
            shared,
            attaches,
            server: None,
        }
    }

    pub(crate) fn started() -> Fake {
        let mut fake = Fake::new();
        fake.start();
        fake
    }

    pub(crate) fn start(&mut self) {
        let socket = self.socket();
        let _ = std::fs::remove_file(&socket);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let entered = runtime.enter();
        let listener = UnixListener::bind(&socket).expect("bind");
        let shared = &self.shared;
        let (_, health) = tonic_health::server::health_reporter();
        let server = tonic::transport::Server::builder()
            .add_service(health)
            .add_service(SessionServiceServer::from_arc(Arc::clone(shared)))
            .add_service(AgentServiceServer::from_arc(Arc::clone(shared)))
            .add_service(DaemonServiceServer::from_arc(Arc::clone(shared)))
            .serve_with_incoming(UnixListenerStream::new(listener));
        runtime.spawn(server);
        drop(entered);
        self.server = Some(runtime);
    }

    /// Ends the server and every connection, as a crash would.
    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.shared.state_dir.join("forerun.sock")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no test panics with it")
    }

    pub(crate) fn builder(&self) -> Connect {
        Forerun::builder()
            .endpoint(format!("unix://{}", self.socket().display()))
            .state_dir(&self.shared.state_dir)
    }

    pub(crate) async fn connect(&self) -> Forerun {
        let connected = self.builder().no_spawn().connect().await;
        connected.expect("the fake serves")
    }

    pub(crate) async fn session(&self) -> Session {
        let session = self.connect().await.session(self.dir()).open().await;
        session.expect("the fake takes everything")
    }

    /// The next stream of an agent.
    pub(crate) async fn attached(&mut self) -> AgentStream {
        soon(self.attaches.recv()).await.expect("the fake lives")
    }

    /// As [`Fake::attached`], after the greeting.
    pub(crate) async fn welcomed(&mut self, open_calls: &[&str]) -> (AgentStream, v1::Hello) {
        let mut stream = self.attached().await;
        let hello = stream.hello().await;
        stream.welcome(open_calls);
        (stream, hello)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The daemon's end of an agent's stream.
pub(crate) struct AgentStream {
    pub(crate) bearer: String,
    from_agent: Streaming<v1::AgentServiceAttachRequest>,
    to_agent: mpsc::Sender<Result<v1::AgentServiceAttachResponse, Status>>,
}

impl AgentStream {
    pub(crate) async fn hello(&mut self) -> v1::Hello {
        match self.receive().await {
            FromAgent::Hello(hello) => hello,
            other => panic!("hello, not {other:?}"),
        }
    }

    pub(crate) fn welcome(&self, open_calls: &[&str]) {
        self.welcome_with(open_calls, 10_000);
    }

    pub(crate) fn welcome_with(&self, open_calls: &[&str], heartbeat_ms: u64) {
        self.send(ToAgent::Welcome(v1::Welcome {
            protocol: Some(forerun_proto::PROTOCOL),
            features: Vec::new(),
            heartbeat_ms,
            reattach_ms: 30_000,
            tools: Some(v1::ToolSet::new(tools_digest(), [tool()])),
            open_calls: open_calls.iter().map(|call| (*call).to_owned()).collect(),
        }));
    }

    pub(crate) fn send(&self, message: ToAgent) {
        let message = v1::AgentServiceAttachResponse {
            message: Some(message),
        };
        self.to_agent
            .try_send(Ok(message))
            .expect("the agent reads");
    }

    /// The agent's next message that is no heartbeat.
    pub(crate) async fn receive(&mut self) -> FromAgent {
        loop {
            let message = soon(self.from_agent.message()).await.expect("not broken");
            match message
                .expect("not ended")
                .message
                .expect("of a known kind")
            {
                FromAgent::Heartbeat(_) => {}
                message => return message,
            }
        }
    }

    /// Whether the agent's next message, whatever it is, comes before its end of the stream.
    pub(crate) async fn receive_any(&mut self) -> Option<FromAgent> {
        let message = soon(self.from_agent.message()).await.ok()??;
        message.message
    }

    /// Breaks the stream, as a lost connection would.
    pub(crate) fn break_off(self) {
        let _ = self
            .to_agent
            .try_send(Err(Status::unavailable("broken pipe")));
    }
}

pub(crate) fn tool() -> ToolDescription {
    ToolDescription {
        name: "read_file".to_owned(),
        title: "Read a file".to_owned(),
        description: "Reads a file.".to_owned(),
        input_schema: serde_json::json!({"type": "object"}),
        output_schema: None,
        annotations: forerun_types::Annotations::default(),
        deterministic: true,
        speculation: forerun_types::Speculation::Pure,
        component: Digest::of("component"),
        client: false,
    }
}

pub(crate) fn tools_digest() -> Digest {
    ToolDescription::set_digest(&[tool()])
}

/// Bounds a wait.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future)
        .await
        .expect("it happens soon")
}

/// A refusal as the daemon writes it.
pub(crate) fn refusal(code: Code, reason: &str, message: &str, hint: &str) -> Status {
    let mut details = ErrorDetails::new();
    let metadata = HashMap::from([(reason::METADATA_HINT.to_owned(), hint.to_owned())]);
    details.set_error_info(reason, reason::DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

pub(crate) fn session_id() -> SessionId {
    SessionId::from_random([7; 10])
}

fn info() -> v1::SessionInfo {
    v1::SessionInfo {
        id: session_id().to_string(),
        state: v1::SessionState::Open.into(),
        ..v1::SessionInfo::default()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    fn note_bearer<T>(&self, request: &Request<T>) -> String {
        let value = request.metadata().get("authorization");
        let bearer = value
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default()
            .to_owned();
        self.state().bearers.push(bearer.clone());
        bearer
    }
}

#[tonic::async_trait]
impl AgentService for Shared {
    type AttachStream = ReceiverStream<Result<v1::AgentServiceAttachResponse, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentServiceAttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let bearer = self.note_bearer(&request);
        if let Some(refusal) = self.state().attach_refusal.clone() {
            return Err(refusal);
        }
        let (to_agent, messages) = mpsc::channel(64);
        let stream = AgentStream {
            bearer,
            from_agent: request.into_inner(),
            to_agent,
        };
        self.attached
            .send(stream)
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

#[tonic::async_trait]
impl SessionService for Shared {
    type WatchStream = BoxStream<'static, Result<v1::SessionServiceWatchResponse, Status>>;

    async fn create(
        &self,
        request: Request<v1::SessionServiceCreateRequest>,
    ) -> Result<Response<v1::SessionServiceCreateResponse>, Status> {
        self.state().created.push(request.into_inner());
        Ok(Response::new(v1::SessionServiceCreateResponse {
            session: Some(info()),
            owner_token: "own_1".to_owned(),
            approximation_token: "apx_1".to_owned(),
            target_token: "tgt_1".to_owned(),
        }))
    }

    async fn get(
        &self,
        request: Request<v1::SessionServiceGetRequest>,
    ) -> Result<Response<v1::SessionServiceGetResponse>, Status> {
        self.note_bearer(&request);
        let session = Some(info());
        Ok(Response::new(v1::SessionServiceGetResponse { session }))
    }

    async fn list(
        &self,
        request: Request<v1::SessionServiceListRequest>,
    ) -> Result<Response<v1::SessionServiceListResponse>, Status> {
        self.note_bearer(&request);
        let sessions = vec![info()];
        Ok(Response::new(v1::SessionServiceListResponse { sessions }))
    }

    async fn close(
        &self,
        request: Request<v1::SessionServiceCloseRequest>,
    ) -> Result<Response<v1::SessionServiceCloseResponse>, Status> {
        self.note_bearer(&request);
        let session = Some(v1::SessionInfo {
            state: v1::SessionState::Finished.into(),
            ..info()
        });
        Ok(Response::new(v1::SessionServiceCloseResponse { session }))
    }

    async fn watch(
        &self,
        request: Request<v1::SessionServiceWatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.note_bearer(&request);
        let request = request.into_inner();
        let mut state = self.state();
        let plan = state.plans.pop_front().unwrap_or(WatchPlan {
            end: Some(End::Clean),
            ..WatchPlan::default()
        });
        let after = request.after_sequence.saturating_sub(plan.rewind);
        state.watches.push(request);
        let event =
            |event: &v1::Event| v1::session_service_watch_response::Message::Event(event.clone());
        let events = state
            .log
            .iter()
            .filter(|event| event.sequence > after && Some(event.sequence) != plan.skip)
            .take(plan.events.unwrap_or(usize::MAX))
            .map(event);
        let heartbeat = plan.heartbeat.map(|sequence| {
            v1::session_service_watch_response::Message::Heartbeat(v1::WatchHeartbeat { sequence })
        });
        let messages: Vec<_> = events
            .chain(heartbeat)
            .map(|message| {
                Ok(v1::SessionServiceWatchResponse {
                    message: Some(message),
                })
            })
            .collect();
        let messages = stream::iter(messages);
        Ok(Response::new(match plan.end {
            Some(End::Clean) => messages.boxed(),
            Some(End::Open) => messages.chain(stream::pending()).boxed(),
            Some(End::Refuse(status)) => messages.chain(stream::iter([Err(status)])).boxed(),
            None => {
                let broken = Err(Status::unavailable("connection reset"));
                messages.chain(stream::iter([broken])).boxed()
            }
        }))
    }

    async fn interrupt(
        &self,
        request: Request<v1::SessionServiceInterruptRequest>,
    ) -> Result<Response<v1::SessionServiceInterruptResponse>, Status> {
        self.note_bearer(&request);
        let mut state = self.state();
        state.interrupts.push(request.into_inner());
        match state.refusals.pop_front() {
            Some(refusal) => Err(refusal),
            None => Ok(Response::new(v1::SessionServiceInterruptResponse {
                sequence: 42,
            })),
        }
    }

    async fn diff(
        &self,
        request: Request<v1::SessionServiceDiffRequest>,
    ) -> Result<Response<v1::SessionServiceDiffResponse>, Status> {
        self.note_bearer(&request);
        let files = vec![v1::FileDiff {
            path: "a".to_owned(),
            kind: v1::ChangeKind::Created.into(),
            // More than tonic takes by default.
            unified: "+line\n".repeat(1 << 20),
            ..v1::FileDiff::default()
        }];
        Ok(Response::new(v1::SessionServiceDiffResponse { files }))
    }

    async fn finish(
        &self,
        request: Request<v1::SessionServiceFinishRequest>,
    ) -> Result<Response<v1::SessionServiceFinishResponse>, Status> {
        self.note_bearer(&request);
        let request = request.into_inner();
        let outcome = request.outcome;
        self.state().finishes.push(request);
        Ok(Response::new(v1::SessionServiceFinishResponse {
            outcome,
            commit: Some("commit_3".to_owned()),
            changed: Vec::new(),
        }))
    }

    async fn undo(
        &self,
        request: Request<v1::SessionServiceUndoRequest>,
    ) -> Result<Response<v1::SessionServiceUndoResponse>, Status> {
        self.note_bearer(&request);
        let request = request.into_inner();
        let undone = v1::event::Undone {
            step: request.from_step.unwrap_or(9),
            undoes: "commit_3".to_owned(),
            redo: request.redo,
            commit: request.force.then(|| "commit_4".to_owned()),
            changed: Vec::new(),
            left: vec![v1::event::LeftAlone {
                path: "a".to_owned(),
                reason: "changed since".to_owned(),
            }],
        };
        Ok(Response::new(v1::SessionServiceUndoResponse {
            undone: vec![undone],
        }))
    }

    async fn verify(
        &self,
        request: Request<v1::SessionServiceVerifyRequest>,
    ) -> Result<Response<v1::SessionServiceVerifyResponse>, Status> {
        self.note_bearer(&request);
        let broken = v1::session_service_verify_response::Broken {
            sequence: 7,
            reason: "the event was changed".to_owned(),
        };
        Ok(Response::new(v1::SessionServiceVerifyResponse {
            intact: 6,
            broken: Some(broken),
        }))
    }
}

#[tonic::async_trait]
impl DaemonService for Shared {
    async fn status(
        &self,
        _request: Request<v1::DaemonServiceStatusRequest>,
    ) -> Result<Response<v1::DaemonServiceStatusResponse>, Status> {
        let major = self.state().protocol_major;
        Ok(Response::new(v1::DaemonServiceStatusResponse {
            version: "0.0.0".to_owned(),
            protocol: Some(v1::ProtocolVersion {
                major: major.unwrap_or(forerun_proto::PROTOCOL.major),
                minor: 7,
            }),
            pid: std::process::id(),
            state_dir: self.state_dir.display().to_string(),
            endpoint: String::new(),
            sessions: 1,
            started_at_ms: 0,
        }))
    }

    async fn shutdown(
        &self,
        request: Request<v1::DaemonServiceShutdownRequest>,
    ) -> Result<Response<v1::DaemonServiceShutdownResponse>, Status> {
        self.note_bearer(&request);
        Ok(Response::new(v1::DaemonServiceShutdownResponse {}))
    }
}
