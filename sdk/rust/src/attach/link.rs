//! One stream of an attached agent: opened with a greeting, kept alive by heartbeats.

use crate::agent::Tools;
use crate::client::{authorized, bearer};
use crate::error::{Error, Result};
use crate::session::Session;
use forerun_proto::conversions::{At as _, ConversionError, text};
use forerun_proto::v1::agent_service_attach_request::Message as ToDaemon;
use forerun_proto::v1::agent_service_attach_response::Message as FromDaemon;
use forerun_proto::{PROTOCOL, v1};
use forerun_types::{CallId, Role};
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Messages that may wait for the daemon; more means that it does not read, and the
/// stream is taken for broken.
const OUTGOING_MAX: usize = 1_024;
/// How long the daemon may take to welcome an agent.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(30);
/// Bounds of the heartbeat that the daemon asks for: stops one that never comes, and one
/// that keeps both sides busy.
const HEARTBEAT_RANGE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));
/// How long a stream that is closed by us waits for the daemon to see it.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// How the agent introduces itself, on every stream the same.
pub(super) struct Opening {
    pub(super) role: Role,
    pub(super) agent: String,
    pub(super) model: String,
    pub(super) capacity: u32,
}

/// What the daemon said when it took the agent.
pub(super) struct Welcome {
    pub(super) tools: Tools,
    /// Those of the agent's calls that the daemon still waits for.
    pub(super) open_calls: HashSet<CallId>,
}

/// One stream.
pub(super) struct Link {
    outgoing: Option<mpsc::Sender<v1::AgentServiceAttachRequest>>,
    incoming: Streaming<v1::AgentServiceAttachResponse>,
    heartbeat: Duration,
    heard: Instant,
    spoke: Instant,
}

impl Link {
    /// Opens a stream and waits for the welcome.
    pub(super) async fn open(
        session: &Session,
        opening: &Opening,
        open_calls: Vec<CallId>,
    ) -> Result<(Link, Welcome)> {
        let (outgoing, requests) = mpsc::channel(OUTGOING_MAX);
        let bearer = bearer(session.tokens().role(opening.role))?;
        let request = authorized(&bearer, ReceiverStream::new(requests));
        let now = Instant::now();
        let hello = v1::Hello {
            protocol: Some(PROTOCOL),
            features: Vec::new(),
            session: session.id().to_string(),
            agent: opening.agent.clone(),
            model: opening.model.clone(),
            roles: vec![v1::RoleCapacity {
                role: v1::Role::from(opening.role).into(),
                capacity: opening.capacity,
            }],
            tokens: Vec::new(),
            open_calls: open_calls.iter().map(ToString::to_string).collect(),
        };
        send(&outgoing, ToDaemon::Hello(hello))?;
        let open = async {
            let mut incoming = session
                .daemon()
                .agent_service()
                .attach(request)
                .await
                .map_err(Error::from_status)?
                .into_inner();
            let welcome = match receive(&mut incoming).await? {
                FromDaemon::Welcome(welcome) => welcome,
                FromDaemon::Closing(closing) => {
                    return Err(Error::from_status(Status::failed_precondition(
                        closing.reason,
                    )));
                }
                _ => {
                    return Err(Error::Invalid {
                        what: "greeting",
                        source: ConversionError::new("message", "is not welcome"),
                    });
                }
            };
            Ok((incoming, welcome))
        };
        let (incoming, welcome) = tokio::time::timeout(WELCOME_TIMEOUT, open)
            .await
            .map_err(|_| broken("the daemon did not welcome the agent"))??;
        let heartbeat =
            Duration::from_millis(welcome.heartbeat_ms).clamp(HEARTBEAT_RANGE.0, HEARTBEAT_RANGE.1);
        let link = Link {
            outgoing: Some(outgoing),
            incoming,
            heartbeat,
            heard: Instant::now(),
            spoke: now,
        };
        Ok((link, read_welcome(welcome)?))
    }

    /// Queues a message. Never waits.
    pub(super) fn send(&mut self, message: ToDaemon) -> Result<()> {
        let outgoing = self
            .outgoing
            .as_ref()
            .ok_or_else(|| broken("the stream was closed"))?;
        send(outgoing, message)?;
        self.spoke = Instant::now();
        Ok(())
    }

    /// The daemon's next message. May be dropped and called again without losing any.
    pub(super) async fn receive(&mut self) -> Result<FromDaemon> {
        let message = receive(&mut self.incoming).await?;
        self.heard = Instant::now();
        Ok(message)
    }

    /// When something has to be said or the daemon has been silent for too long.
    pub(super) fn silent_at(&self) -> Instant {
        (self.spoke + self.heartbeat).min(self.heard + 3 * self.heartbeat)
    }

    /// Says that the agent is there if it has said nothing for long.
    ///
    /// # Errors
    /// If the daemon has been silent for too long.
    pub(super) fn keep_alive(&mut self) -> Result<()> {
        let now = Instant::now();
        if now >= self.heard + 3 * self.heartbeat {
            return Err(broken("the daemon went silent"));
        }
        if now >= self.spoke + self.heartbeat {
            self.send(ToDaemon::Heartbeat(v1::AgentHeartbeat {}))?;
        }
        Ok(())
    }

    /// Closes our side and waits until the daemon has seen everything.
    pub(super) async fn finish(&mut self) {
        self.outgoing = None;
        let drained = async { while receive(&mut self.incoming).await.is_ok() {} };
        // A daemon that does not close its side either has read it or never will.
        let _ = tokio::time::timeout(FINISH_TIMEOUT, drained).await;
    }
}

async fn receive(incoming: &mut Streaming<v1::AgentServiceAttachResponse>) -> Result<FromDaemon> {
    loop {
        let message = incoming
            .message()
            .await
            .map_err(Error::from_status)?
            .ok_or_else(|| broken("the daemon ended the stream"))?;
        // Without one, it is of a kind that a later minor version knows.
        if let Some(message) = message.message {
            return Ok(message);
        }
    }
}

fn send(outgoing: &mpsc::Sender<v1::AgentServiceAttachRequest>, message: ToDaemon) -> Result<()> {
    let message = v1::AgentServiceAttachRequest {
        message: Some(message),
    };
    outgoing
        .try_send(message)
        .map_err(|_| broken("the daemon does not read the agent's messages"))
}

/// An error that another stream may cure.
fn broken(what: &str) -> Error {
    Error::from_status(Status::unavailable(what))
}

fn read_welcome(welcome: v1::Welcome) -> Result<Welcome> {
    let theirs = welcome.protocol.unwrap_or_default();
    if theirs.major != PROTOCOL.major {
        return Err(Error::Protocol {
            ours: format!("{}.{}", PROTOCOL.major, PROTOCOL.minor),
            theirs: format!("{}.{}", theirs.major, theirs.minor),
        });
    }
    let convert = || -> Result<Welcome, ConversionError> {
        let tools = welcome
            .tools
            .ok_or_else(|| ConversionError::new("tools", "is not set"))?;
        let (digest, descriptions) = tools.into_tools().at("tools")?;
        let open_calls = welcome
            .open_calls
            .iter()
            .map(|call| text("open_calls", call))
            .collect::<Result<_, _>>()?;
        Ok(Welcome {
            tools: Tools {
                digest,
                descriptions,
            },
            open_calls,
        })
    };
    convert().map_err(|source| Error::Invalid {
        what: "welcome",
        source,
    })
}
