//! The daemon, connected: opens sessions, finds those that exist.

use crate::connect::Connect;
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::info::SessionInfo;
use crate::open::SessionBuilder;
use crate::session::{Session, Tokens};
use forerun_proto::v1::action_service_client::ActionServiceClient;
use forerun_proto::v1::agent_service_client::AgentServiceClient;
use forerun_proto::v1::daemon_service_client::DaemonServiceClient;
use forerun_proto::v1::policy_service_client::PolicyServiceClient;
use forerun_proto::v1::session_service_client::SessionServiceClient;
use forerun_proto::v1::tool_service_client::ToolServiceClient;
use forerun_proto::{MESSAGE_BYTES_MAX, v1};
use forerun_types::{Digest, SessionId};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

/// Name of the owner key's file in the daemon's state directory.
const OWNER_KEY_FILE: &str = "owner.key";
/// Most bytes of a key that make sense; stops a wrong file from being sent as one.
const OWNER_KEY_BYTES_MAX: usize = 1_024;

/// How long after a broken connection a call is made again.
const RECONNECT_WAIT: Duration = Duration::from_millis(100);

/// A connected daemon. Clones share the connection, which is made again when it breaks.
#[derive(Clone, Debug)]
pub struct Forerun {
    channel: Channel,
    endpoint: Endpoint,
    state_dir: PathBuf,
}

/// What runs, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DaemonStatus {
    /// Version of the program.
    pub version: String,
    /// Version of the protocol, major and minor.
    pub protocol: (u32, u32),
    /// Process id.
    pub pid: u32,
    /// Where it keeps its state.
    pub state_dir: PathBuf,
    /// Where it listens, as it says itself.
    pub endpoint: String,
    /// Sessions that are not finished.
    pub sessions: u32,
    /// Milliseconds since 1970.
    pub started_at_ms: u64,
}

impl Forerun {
    /// Connects to the daemon of this user; starts it if none answers.
    ///
    /// # Errors
    /// As [`Connect::connect`].
    pub async fn connect() -> Result<Forerun> {
        Connect::default().connect().await
    }

    /// Connects in another way than [`Forerun::connect`].
    pub fn builder() -> Connect {
        Connect::default()
    }

    pub(crate) fn new(
        channel: Channel,
        endpoint: Endpoint,
        status: v1::DaemonServiceStatusResponse,
    ) -> Forerun {
        Forerun {
            channel,
            endpoint,
            state_dir: status.state_dir.into(),
        }
    }

    /// Where the daemon listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where the daemon keeps its state, as it says itself.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// A session to be opened on a workspace. A relative path is one from the current
    /// directory.
    pub fn session(&self, workspace: impl AsRef<Path>) -> SessionBuilder {
        SessionBuilder::new(self.clone(), workspace.as_ref())
    }

    /// A session that exists, with a token of it: the owner's for everything, a role's for
    /// attaching in that role and watching. Asks nothing yet.
    pub fn existing(&self, id: SessionId, token: impl Into<String>) -> Session {
        Session::new(self.clone(), id, Tokens::single(token.into()))
    }

    /// A session of this user that exists, with the owner key. Asks nothing yet.
    ///
    /// # Errors
    /// If the owner key can not be read.
    pub fn owned(&self, id: SessionId) -> Result<Session> {
        Ok(self.existing(id, self.owner_key()?))
    }

    /// All sessions of this user, newest first, at most `limit` if one is given.
    ///
    /// # Errors
    /// If the owner key can not be read, or the daemon can not be reached.
    pub async fn sessions(&self, limit: Option<u32>) -> Result<Vec<SessionInfo>> {
        let request = v1::SessionServiceListRequest {
            limit: limit.unwrap_or(0),
        };
        let bearer = bearer(&self.owner_key()?)?;
        let answer = idempotent(|| {
            let (mut service, request) = (self.session_service(), authorized(&bearer, request));
            async move { service.list(request).await }
        })
        .await?;
        crate::info::sessions(answer)
    }

    /// What runs, and where.
    ///
    /// # Errors
    /// If the daemon can not be reached.
    pub async fn status(&self) -> Result<DaemonStatus> {
        let status = self
            .daemon_service()
            .status(v1::DaemonServiceStatusRequest {})
            .await
            .map_err(Error::from_status)?
            .into_inner();
        let protocol = status.protocol.unwrap_or_default();
        Ok(DaemonStatus {
            version: status.version,
            protocol: (protocol.major, protocol.minor),
            pid: status.pid,
            state_dir: status.state_dir.into(),
            endpoint: status.endpoint,
            sessions: status.sessions,
            started_at_ms: status.started_at_ms,
        })
    }

    /// Asks the daemon to stop: commits finish, what is not verified is squashed.
    ///
    /// # Errors
    /// If the owner key can not be read, or the daemon can not be reached.
    pub async fn shutdown(&self) -> Result<()> {
        let bearer = bearer(&self.owner_key()?)?;
        let request = authorized(&bearer, v1::DaemonServiceShutdownRequest {});
        self.daemon_service()
            .shutdown(request)
            .await
            .map_err(Error::from_status)?;
        Ok(())
    }

    /// The per-user key that counts as the owner token of every session.
    pub(crate) fn owner_key(&self) -> Result<String> {
        let path = self.state_dir.join(OWNER_KEY_FILE);
        let key = std::fs::read_to_string(&path)
            .map_err(|error| Error::io("could not read the owner key", &path, error))?;
        let key = key.trim();
        if key.is_empty() || key.len() > OWNER_KEY_BYTES_MAX {
            return Err(Error::Argument {
                what: "the owner key",
                problem: format!("in {} is none", path.display()),
            });
        }
        Ok(key.to_owned())
    }

    pub(crate) fn session_service(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn agent_service(&self) -> AgentServiceClient<Channel> {
        AgentServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn action_service(&self) -> ActionServiceClient<Channel> {
        ActionServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn tool_service(&self) -> ToolServiceClient<Channel> {
        ToolServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn policy_service(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn daemon_service(&self) -> DaemonServiceClient<Channel> {
        DaemonServiceClient::new(self.channel.clone())
    }
}

/// What a token looks like in the metadata of a request.
pub(crate) type Bearer = MetadataValue<Ascii>;

/// The metadata for a token.
pub(crate) fn bearer(token: &str) -> Result<Bearer> {
    let mut value: Bearer = format!("Bearer {token}")
        .parse()
        .map_err(|_| Error::Argument {
            what: "the token",
            problem: "has characters that no token has".to_owned(),
        })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A request that carries a token.
pub(crate) fn authorized<T>(bearer: &Bearer, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", bearer.clone());
    request
}

/// Makes a call that its idempotency key, or its nature, makes safe to make twice: once
/// more after a broken connection.
pub(crate) async fn idempotent<T, F>(mut call: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    let answer = match call().await.map_err(Error::from_status) {
        Err(error) if error.is_passing() => {
            tokio::time::sleep(RECONNECT_WAIT).await;
            call().await.map_err(Error::from_status)
        }
        answer => answer,
    };
    answer.map(tonic::Response::into_inner)
}

/// A key that no other call has: 128 random bits.
///
/// # Errors
/// If the system has no random bits.
pub fn draw_key() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Argument {
        what: "the idempotency key",
        problem: format!("could not be drawn: {error}"),
    })?;
    let mut key = Digest::of(bytes).to_string();
    key.truncate(32);
    Ok(key)
}
