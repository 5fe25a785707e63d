//! The daemon: what is shared by all sessions, from start to clean stop.
//!
//! Start: parse everything, lock the state directory, open the journal, compile the
//! tools, recover what an earlier crash left, then open the door. Stop: close the door,
//! let commits finish, squash speculation, end streams with a reason.

use crate::auth::{self, Authority, OwnerKey, Tokens};
use crate::client_tools::{self, ClientTools};
use crate::config::Config;
use crate::egress::Egress;
use crate::error::RequestError;
use crate::experience::Experiences;
use crate::foresight::Foresight;
use crate::network::Port;
use crate::policies::{Places, Policies};
use crate::registry::{Registry, RegistryError};
use crate::services;
use crate::session::{
    self, Context, Log, Message, Phase, SessionHandle, SessionSettings, Settler, Summary, View,
    archive,
};
use crate::socket::{self, OwnPeers, SocketError};
use forerun_journal::{CommitMode, Journal, JournalError, SessionRecord, SessionState};
use forerun_planner::Experience;
use forerun_policy::{PolicyError, PolicySet};
use forerun_proto::conversions::ConversionError;
use forerun_sandbox::{SandboxConfig, Sandboxes, StartError};
use forerun_snapshot::{IntentState, OpenOptions, Timestamp, Workspace};
use forerun_types::{Digest, EffectEnd, Event, EventKind, SessionId, Time, Undone};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{Semaphore, oneshot, watch};
use tonic::transport::Server;

/// How long sessions may take to end when the daemon stops.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long streams may take to end after that.
const STREAMS_GRACE: Duration = Duration::from_secs(2);
/// How long a daemon has been up before it compiles what no call has needed yet.
const COMPILE_AFTER: Duration = Duration::from_secs(60);
/// Name of the lock file in the state directory.
const LOCK_FILE: &str = "daemon.lock";

/// Why the daemon did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The state directory can not be used.
    #[error("the state directory {0} can not be used")]
    StateDir(std::path::PathBuf, #[source] io::Error),
    /// Another daemon uses the state directory.
    #[error("another daemon is using {0}")]
    SecondDaemon(std::path::PathBuf),
    /// The journal can not be opened.
    #[error("the journal can not be opened")]
    Journal(#[from] JournalError),
    /// The log of an earlier session can not be read.
    #[error("an earlier session can not be read")]
    Archive(#[from] archive::ArchiveError),
    /// Sandboxes can not be started.
    #[error("the sandboxes can not be started")]
    Sandboxes(#[from] StartError),
    /// The tools that were added can not be looked at.
    #[error("the tools can not be loaded")]
    Tools(#[source] RegistryError),
    /// The socket can not be opened.
    #[error("the socket can not be opened")]
    Socket(#[from] SocketError),
    /// The default policy can not be loaded: nothing may run without one.
    #[error("the policy set {name:?} can not be loaded")]
    Policy {
        /// The set's name.
        name: String,
        /// Why.
        #[source]
        source: PolicyError,
    },
    /// What the configuration says of the network can not be used.
    #[error("the configuration of the network can not be used: {0}")]
    Network(String),
    /// The transport failed.
    #[error("the transport failed")]
    Transport(#[from] tonic::transport::Error),
    /// The system refused something.
    #[error("the system refused")]
    Io(#[from] io::Error),
}

impl ServeError {
    /// What to do about it, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            ServeError::SecondDaemon(_) | ServeError::Socket(SocketError::InUse(_)) => {
                Some("`forerun status` shows it, `forerun shutdown` stops it".to_owned())
            }
            ServeError::Socket(SocketError::Foreign { .. }) => {
                Some("move it away, or choose another place with --endpoint".to_owned())
            }
            ServeError::Socket(SocketError::OpenDirectory(path)) => Some(format!(
                "chmod 700 {}, or choose another place with --endpoint",
                path.display()
            )),
            ServeError::StateDir(..) => {
                Some("set XDG_STATE_HOME to a directory of yours".to_owned())
            }
            ServeError::Journal(error) => error.hint().map(ToOwned::to_owned),
            _ => None,
        }
    }
}

/// What all sessions share.
pub(crate) struct Daemon {
    pub(crate) config: Config,
    pub(crate) log: Log,
    pub(crate) tools: Registry,
    pub(crate) egress: Arc<Egress>,
    /// Places for what is parked ahead of its verdict.
    parking: Arc<Semaphore>,
    pub(crate) clients: ClientTools,
    foresight: Foresight,
    pub(crate) owner_key: OwnerKey,
    pub(crate) started_at: SystemTime,
    sessions: Mutex<HashMap<SessionId, SessionHandle>>,
    created: Mutex<HashMap<String, (NewSession, Created)>>,
    creating: tokio::sync::Mutex<()>,
    finishing: Mutex<()>,
    pub(crate) policies: Policies,
    stopping: watch::Sender<bool>,
}

/// What a client wants of a new session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewSession {
    pub(crate) workspace: std::path::PathBuf,
    pub(crate) task: String,
    pub(crate) instructions: String,
    pub(crate) policy: String,
    pub(crate) depth: u32,
    pub(crate) commit: CommitMode,
    pub(crate) seed: Option<u64>,
    pub(crate) clock_ns: Option<u64>,
    pub(crate) settings: SessionSettings,
    /// The tools of clients that it has beside the daemon's.
    pub(crate) registrations: Vec<String>,
}

/// What it gets.
#[derive(Clone)]
pub(crate) struct Created {
    pub(crate) record: SessionRecord,
    pub(crate) tokens: Arc<Tokens>,
}

/// Runs the daemon until it is told to stop. `ready` is called with the socket's path
/// once it can be connected to.
///
/// # Errors
/// If it can not start, or the transport fails.
pub async fn serve(config: Config, ready: impl FnOnce(&Path)) -> Result<(), ServeError> {
    let state_dir = config.state_dir.clone();
    let in_state_dir = |error| ServeError::StateDir(state_dir.clone(), error);
    socket::private_directory(&state_dir).map_err(in_state_dir)?;
    let _lock = lock(&state_dir)
        .map_err(in_state_dir)?
        .ok_or(ServeError::SecondDaemon(state_dir.clone()))?;
    let listener = socket::bind(&config.socket).await?;
    let journal = Journal::open(&state_dir)?;
    let owner_key = OwnerKey::load_or_create(&state_dir).map_err(in_state_dir)?;
    let mut sandbox_config = SandboxConfig::new(state_dir.clone());
    sandbox_config.compiler.clone_from(&config.compiler);
    let sandboxes = tokio::task::spawn_blocking(move || Sandboxes::start(sandbox_config))
        .await
        .map_err(io::Error::other)??;
    let tools_dir = state_dir.clone();
    let tools = tokio::task::spawn_blocking(move || Registry::open(&tools_dir, sandboxes))
        .await
        .map_err(io::Error::other)?
        .map_err(ServeError::Tools)?;
    let places = Places {
        own: config.policies.clone(),
        system: config.system_policy.clone(),
        unprotected: config.settings.unprotect.clone(),
        enforcement: config.settings.enforcement,
    };
    let (network, secrets) = (&config.settings.network, &config.settings.secrets);
    let egress = Egress::new(network, secrets).map_err(ServeError::Network)?;
    let port = Port::open(&config.settings.listen, &owner_key).map_err(ServeError::Network)?;
    let daemon = Arc::new(Daemon {
        log: Log::new(journal),
        tools,
        egress: Arc::new(egress),
        parking: Arc::new(Semaphore::new(session::PARKED_MAX)),
        clients: ClientTools::default(),
        foresight: Foresight::new(&state_dir),
        owner_key,
        started_at: SystemTime::now(),
        sessions: Mutex::default(),
        created: Mutex::default(),
        creating: tokio::sync::Mutex::default(),
        finishing: Mutex::default(),
        policies: Policies::open(places).map_err(|source| ServeError::Policy {
            name: config.settings.policy.clone(),
            source,
        })?,
        stopping: watch::channel(false).0,
        config,
    });
    let name = &daemon.config.settings.policy;
    daemon
        .policy(name, None)
        .map_err(|source| ServeError::Policy {
            name: name.clone(),
            source,
        })?;
    daemon.recover().await?;
    daemon.expire_soon();
    daemon.compile_later();
    ready(&daemon.config.socket);
    let stopped = Arc::clone(&daemon).stop_signal();
    let mut told = daemon.stopping();
    // Streams that others hold open, such as a health watch, do not keep the daemon.
    let overdue = async {
        let _ = told.wait_for(|stopping| *stopping).await;
        tokio::time::sleep(STOP_GRACE + STREAMS_GRACE).await;
    };
    let at_socket = services::router(&daemon, Server::builder()).await;
    let at_socket = at_socket.serve_with_incoming_shutdown(OwnPeers::new(listener), stopped);
    let at_port = Box::pin(at_port(&daemon, port));
    let served = async { tokio::try_join!(at_socket, at_port) };
    tokio::select! {
        served = served => drop(served?),
        () = overdue => tracing::warn!("some streams were cut off"),
    }
    // The door is closed; nobody can connect any more.
    let _ = std::fs::remove_file(&daemon.config.socket);
    Ok(())
}

/// Serves at the port, if there is one, until the daemon stops.
async fn at_port(daemon: &Arc<Daemon>, port: Option<Port>) -> Result<(), tonic::transport::Error> {
    let Some(Port {
        incoming,
        tls,
        guard,
    }) = port
    else {
        return Ok(());
    };
    let mut told = daemon.stopping();
    let stopped = async move {
        let _ = told.wait_for(|stopping| *stopping).await;
    };
    let server = Server::builder().tls_config(tls)?.layer(guard);
    services::router(daemon, server)
        .await
        .serve_with_incoming_shutdown(incoming, stopped)
        .await
}

/// Holds the state directory's lock as long as the file lives; `None` if it is taken.
fn lock(state_dir: &Path) -> io::Result<Option<std::fs::File>> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(state_dir.join(LOCK_FILE))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

impl Daemon {
    /// Finishes what an earlier daemon left: intents of commits that it had begun, and
    /// sessions that it did not end.
    async fn recover(&self) -> Result<(), ServeError> {
        let open: Vec<SessionRecord> = self
            .log
            .journal()
            .sessions()?
            .into_iter()
            .filter(|record| record.state == SessionState::Open)
            .collect();
        for path in self.log.journal().unfinished_workspaces()? {
            match self.open_workspace(&path) {
                Ok(_) => tracing::info!(workspace = %path.display(), "recovered"),
                Err(error) => {
                    tracing::warn!(workspace = %path.display(), %error, "not recovered yet");
                }
            }
        }
        for record in open {
            self.interrupted(&record).await?;
        }
        Ok(())
    }

    /// Expires in the background what an earlier daemon kept.
    fn expire_soon(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = this.expire_all() {
                tracing::warn!(%error, "old commits could not be expired");
            }
        });
    }

    /// Compiles in the background what no call has needed, once the daemon is likely to
    /// stay.
    fn compile_later(self: &Arc<Self>) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(COMPILE_AFTER).await;
            let sandboxes = this.sandboxes();
            tokio::task::spawn_blocking(move || sandboxes.toolbox().compile_all());
        });
    }

    /// Completes the log of a session that an earlier daemon did not end: steps whose
    /// commit was recorded are verified, even if the daemon died before it could say so.
    async fn interrupted(&self, record: &SessionRecord) -> Result<(), ServeError> {
        let summary = archive::summary(&self.log, &record.id)?;
        let at = summary.last_at;
        let state = match summary.phase {
            Phase::Finished => Some(SessionState::Finished),
            Phase::Ended => Some(SessionState::Ended),
            Phase::Interrupted => Some(SessionState::Interrupted),
            _ => None,
        };
        if let Some(state) = state {
            self.log.journal().set_state(&record.id, state)?;
            return Ok(());
        }
        let events = archive::events(&self.log, &record.id)?;
        let mut missing = Vec::new();
        for commit in self.log.journal().commits(&record.id)? {
            let (step, undoes, commit_state) = (commit.step, commit.undoes, commit.state);
            let commit = commit.id;
            let said = |what: &dyn Fn(&EventKind) -> bool| events.iter().any(|e| what(&e.kind));
            // Of a workspace that can not be opened now, nobody knows.
            let is_in = !matches!(commit_state, None | Some(IntentState::Failed));
            if record.commit != CommitMode::Step || !is_in {
                continue;
            }
            if let Some(undoes) = undoes {
                // The owner went back, and the daemon died before it could say how far.
                let undone = |kind: &EventKind| match kind {
                    EventKind::Undone(known) => known.commit == Some(commit),
                    _ => false,
                };
                if !said(&undone) {
                    let undone = Undone {
                        step,
                        undoes,
                        redo: false,
                        commit: Some(commit),
                        changed: Vec::new(),
                        left: Vec::new(),
                    };
                    missing.push((at, EventKind::Undone(undone)));
                }
                continue;
            }
            // What was verified before the owner went back is not any more.
            let since = events.iter().rposition(|event| match event.kind {
                EventKind::Backtracked { step: to, .. } => to <= step,
                _ => false,
            });
            let verified = events[since.unwrap_or(0)..]
                .iter()
                .any(|event| match event.kind {
                    EventKind::Verified { step: known, .. } => known == step,
                    _ => false,
                });
            let undone = commit_state == Some(IntentState::Undone);
            if !verified && !undone {
                let decided = events.iter().rev().find_map(|event| match event.kind {
                    EventKind::Decided {
                        step: known, node, ..
                    } if known == step => Some(node),
                    _ => None,
                });
                if let Some(node) = decided {
                    let (delta, changed) = (Digest::of(""), Vec::new());
                    missing.push((
                        at,
                        EventKind::Verified {
                            step,
                            node,
                            delta,
                            changed,
                        },
                    ));
                }
            }
            let committed = |kind: &EventKind| match kind {
                EventKind::Committed { commit: known, .. } => *known == commit,
                _ => false,
            };
            if !said(&committed) {
                let changed = Vec::new();
                missing.push((
                    at,
                    EventKind::Committed {
                        step,
                        commit,
                        changed,
                    },
                ));
            }
        }
        missing.extend(self.lost_effects(record, &events)?.map(|lost| (at, lost)));
        let reason = "the daemon stopped before the session ended".to_owned();
        missing.push((at, EventKind::Interrupted { reason }));
        self.log.append(&record.id, missing).await?;
        self.log
            .journal()
            .set_state(&record.id, SessionState::Interrupted)?;
        Ok(())
    }

    /// What was being sent when the daemon stopped: nobody knows what became of it.
    fn lost_effects(
        &self,
        record: &SessionRecord,
        events: &[Event],
    ) -> Result<impl Iterator<Item = EventKind>, ServeError> {
        let mut lost = BTreeMap::new();
        let mut requests = BTreeSet::new();
        for event in events {
            match &event.kind {
                EventKind::EffectSent {
                    step,
                    node,
                    effect,
                    what,
                } => {
                    requests.insert(*node);
                    lost.insert((*node, *effect), (*step, what.clone()));
                }
                EventKind::EffectEnded { node, effect, .. } => {
                    lost.remove(&(*node, *effect));
                }
                _ => {}
            }
        }
        // Calls of clients' tools have no such events.
        for call in self.log.journal().unanswered_effects(&record.id)? {
            if !requests.contains(&call.node) {
                lost.insert((call.node, call.effect), (call.step, call.what));
            }
        }
        let told = |((node, effect), (step, what))| EventKind::EffectEnded {
            step,
            node,
            effect,
            what,
            end: EffectEnd::Unknown,
            detail: "the daemon stopped before it was answered".to_owned(),
        };
        Ok(lost.into_iter().map(told))
    }

    fn experience_of(&self, workspace: &Path) -> (Experiences, Experience) {
        let kept = Experiences::of(&self.config.state_dir, workspace);
        let experience = kept.read();
        (kept, experience)
    }

    /// Opens a workspace, and recovers it first if an earlier daemon left something.
    pub(crate) fn open_workspace(&self, path: &Path) -> Result<Workspace, RequestError> {
        let options = OpenOptions {
            state_dir: self.config.state_dir.clone(),
            masks: Vec::new(),
        };
        let workspace = Workspace::open(path, &options)?;
        let recovery = workspace.recover(self.log.journal())?;
        for (commit, reason) in recovery.reverted {
            tracing::warn!(%commit, reason, workspace = %path.display(), "a commit was taken back");
        }
        self.settler(workspace.clone()).tell(recovery.kept);
        Ok(workspace)
    }

    /// Runs actions, with the tools that there are now.
    pub(crate) fn sandboxes(&self) -> Sandboxes {
        self.tools.sandboxes()
    }

    /// A policy set for the tools that there are now, and for work on a directory.
    pub(crate) fn policy(
        &self,
        name: &str,
        workspace: Option<&Path>,
    ) -> Result<PolicySet, PolicyError> {
        self.policies
            .set(name, self.sandboxes().toolbox(), workspace)
    }

    /// Opens a session. The same key with the same content returns the same session.
    pub(crate) async fn create(
        self: &Arc<Self>,
        new: NewSession,
        key: &str,
    ) -> Result<Created, RequestError> {
        // One at a time: the same key twice at once is one session, and limits hold.
        let _one_at_a_time = self.creating.lock().await;
        if *self.stopping.borrow() {
            return Err(RequestError::Stopping);
        }
        if let Some((earlier, created)) = locked(&self.created).get(key) {
            return if *earlier == new {
                Ok(created.clone())
            } else {
                Err(RequestError::KeyReused)
            };
        }
        if locked(&self.sessions).len() >= self.config.settings.max_sessions as usize {
            return Err(RequestError::TooManySessions(
                self.config.settings.max_sessions,
            ));
        }
        let this = Arc::clone(self);
        let wanted = new.clone();
        let (created, context) = tokio::task::spawn_blocking(move || this.prepare(wanted))
            .await
            .map_err(|error| RequestError::Internal(error.to_string()))??;
        if *self.stopping.borrow() {
            let state = SessionState::Interrupted;
            self.log.journal().set_state(&created.record.id, state)?;
            return Err(RequestError::Stopping);
        }
        let id = created.record.id.clone();
        let on_end = {
            let this = Arc::clone(self);
            let id = id.clone();
            move || this.session_ended(&id)
        };
        let handle = session::spawn(context, created.record.clone(), &new.settings, on_end);
        locked(&self.sessions).insert(id, handle);
        if !key.is_empty() {
            locked(&self.created).insert(key.to_owned(), (new, created.clone()));
        }
        Ok(created)
    }

    fn prepare(&self, new: NewSession) -> Result<(Created, Context), RequestError> {
        let workspace = self.open_workspace(&new.workspace)?;
        let registrations = self.clients.find(&new.registrations)?;
        let mut sandboxes = self.sandboxes();
        for registration in &registrations {
            let with = sandboxes.with_client_tools(registration.tools());
            sandboxes =
                with.map_err(|error| ConversionError::new("registrations", error.to_string()))?;
        }
        let policy = self
            .policies
            .set(&new.policy, sandboxes.toolbox(), Some(workspace.path()))?;
        let tokens = Tokens::draw()?;
        let tools = sandboxes.toolbox().digest();
        let record = self.record_of(&new, &workspace, &policy, tools, &tokens)?;
        self.log.journal().create_session(&record)?;
        let predict = new.settings.predict;
        let context = Context {
            foresight: predict.then(|| self.foresight.of(workspace.path())),
            experience: self.experience_of(workspace.path()),
            log: self.log.clone(),
            sandboxes,
            settler: self.settler(workspace.clone()),
            workspace,
            policy,
            deadlines: self.config.settings.deadlines(),
            limits: new.settings.limits,
            egress: Arc::clone(&self.egress),
            parking: Arc::clone(&self.parking),
            clients: client_tools::by_tool(&registrations),
        };
        Ok((
            Created {
                record,
                tokens: Arc::new(tokens),
            },
            context,
        ))
    }

    /// The record of a session that is to be opened.
    pub(crate) fn record_of(
        &self,
        new: &NewSession,
        workspace: &Workspace,
        policy: &PolicySet,
        tools: Digest,
        tokens: &Tokens,
    ) -> Result<SessionRecord, RequestError> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Ok(SessionRecord {
            id: SessionId::from_random(random()?),
            workspace: workspace.path().to_owned(),
            task: new.task.clone(),
            instructions: new.instructions.clone(),
            policy: new.policy.clone(),
            policy_digest: policy.digest(),
            tools,
            depth: new.depth,
            commit: new.commit,
            seed: match new.seed {
                Some(seed) => seed,
                None => u64::from_le_bytes(random()?),
            },
            clock_ns: new
                .clock_ns
                .unwrap_or_else(|| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)),
            opened_at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            tokens: tokens.hashes(),
            settings: serde_json::to_value(&new.settings)
                .map_err(|error| RequestError::Internal(error.to_string()))?,
            state: SessionState::Open,
        })
    }

    /// Looks after what is committed to a workspace.
    pub(crate) fn settler(&self, workspace: Workspace) -> Settler {
        let retention = self.config.settings.undo.retention();
        Settler::new(self.log.clone(), workspace, retention)
    }

    /// Drops what undoes old commits, in all workspaces. Blocks on the disk.
    fn expire_all(&self) -> Result<(), RequestError> {
        let age = self.config.settings.undo.retention().age;
        for path in self.log.journal().undoable_workspaces()? {
            if path.exists() {
                self.settler(self.open_workspace(&path)?).expire();
            } else {
                let (now, state) = (Timestamp::now(), &self.config.state_dir);
                Workspace::forget(&path, state, age, now, self.log.journal())?;
            }
        }
        Ok(())
    }

    fn session_ended(&self, id: &SessionId) {
        let state = match archive::summary(&self.log, id).map(|summary| summary.phase) {
            Ok(Phase::Finished) => Some(SessionState::Finished),
            Ok(Phase::Ended) => Some(SessionState::Ended),
            Ok(Phase::Interrupted) => Some(SessionState::Interrupted),
            // The journal failed: the next start completes the session's log.
            _ => None,
        };
        if let Some(state) = state
            && let Err(error) = self.log.journal().set_state(id, state)
        {
            tracing::error!(session = %id, %error, "the session's state was not recorded");
        }
        locked(&self.sessions).remove(id);
        locked(&self.created).retain(|_, (_, created)| created.record.id != *id);
    }

    /// The record of a session.
    pub(crate) fn record(&self, id: &SessionId) -> Result<SessionRecord, RequestError> {
        let record = self.log.journal().session(id)?;
        record.ok_or_else(|| RequestError::NoSession(id.clone()))
    }

    /// The session's actor, if its plan has not ended.
    pub(crate) fn live(&self, id: &SessionId) -> Option<SessionHandle> {
        locked(&self.sessions).get(id).cloned()
    }

    /// How a session is, whether it runs or has ended.
    pub(crate) async fn view(&self, id: &SessionId) -> Result<View, RequestError> {
        if let Some(handle) = self.live(id)
            && let Some(view) = handle.call(Message::Inspect).await
        {
            return Ok(view);
        }
        let summary: Summary = archive::summary(&self.log, id)?;
        let elapsed = summary.ended_at.unwrap_or_default() - Time::ZERO;
        Ok(View {
            summary,
            question: None,
            elapsed,
            agents: Vec::new(),
        })
    }

    /// Held while a session is finished, so that two clients do not finish it at once.
    pub(crate) fn finishing(&self) -> MutexGuard<'_, ()> {
        locked(&self.finishing)
    }

    /// Records what became of a session's changes. Blocks on the disk.
    pub(crate) fn record_finish(
        &self,
        record: &SessionRecord,
        finished: &archive::Finished,
    ) -> Result<(), RequestError> {
        let at = archive::summary(&self.log, &record.id)?.last_at;
        if let Some(event) = archive::finished_event(at, finished) {
            self.log.append_blocking(&record.id, vec![event])?;
            self.log
                .journal()
                .set_state(&record.id, SessionState::Finished)?;
        }
        Ok(())
    }

    /// What `token` may do in a session.
    pub(crate) fn authority(
        &self,
        record: &SessionRecord,
        token: &str,
    ) -> Result<Authority, RequestError> {
        auth::authority(&record.tokens, token, &self.owner_key).ok_or(RequestError::TokenInvalid)
    }

    /// Sessions that run now.
    pub(crate) fn session_count(&self) -> usize {
        locked(&self.sessions).len()
    }

    /// Tells the daemon to stop.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Becomes true when the daemon stops.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Resolves when the daemon was told to stop, by a signal or a call, and its sessions
    /// have ended.
    async fn stop_signal(self: Arc<Self>) {
        let mut told = self.stopping();
        tokio::select! {
            () = terminated() => {}
            _ = told.wait_for(|stopping| *stopping) => {}
        }
        self.stop();
        tracing::info!("stopping: commits finish, speculation is squashed");
        let handles: Vec<SessionHandle> = locked(&self.sessions).values().cloned().collect();
        let close = async {
            for handle in handles {
                let (done, closed) = oneshot::channel();
                let reason = "the daemon is stopping".to_owned();
                if handle
                    .send(Message::Close {
                        reason,
                        by_daemon: true,
                        done,
                    })
                    .await
                {
                    let _ = closed.await;
                }
            }
        };
        if tokio::time::timeout(STOP_GRACE, close).await.is_err() {
            tracing::warn!("some sessions did not end in time; their next start recovers them");
        }
    }
}

/// SIGTERM or SIGINT.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A lock that a panic elsewhere does not take from everybody.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while a map was held leaves the map whole: every use is one call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
