//! Agents attach here: one bidirectional stream, from `Hello` to `Closing`.

use crate::auth::Authority;
use crate::daemon::Daemon;
use crate::error::RequestError;
use crate::session::{
    AGENT_QUEUE_MAX, Attach, FromAgent, Message, SessionHandle, StreamId, ToAgent, Welcome, millis,
};
use forerun_planner::{Config, Failure};
use forerun_proto::conversions::{self, ConversionError};
use forerun_proto::v1;
use forerun_proto::v1::agent_service_attach_request::Message as FromWire;
use forerun_proto::v1::agent_service_attach_response::Message as ToWire;
use forerun_proto::v1::agent_service_server::AgentService;
use forerun_types::{Action, CallId, Digest, Role, Usage};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

/// How often each side says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Heartbeats that may be missing before a side is taken for gone.
const HEARTBEATS_MISSED_MAX: u32 = 3;
/// How long a new stream may take to say `Hello`.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of an agent's id or model: both are in events.
const NAME_BYTES_MAX: usize = 256;
/// Most characters of a failure's reason that are kept: stops an agent from filling the
/// journal with one.
const REASON_CHARS_MAX: usize = 1_000;
/// Calls that a `Hello` may name; more than can ever be in flight.
const OPEN_CALLS_MAX: usize = 1_024;

/// Roles that one stream can take: there are no more.
const ROLES_MAX: usize = 2;

/// Streams are numbered so that a message of an earlier one is not taken for a later's.
static STREAMS: AtomicU64 = AtomicU64::new(0);

pub(super) struct Agents(pub(super) Arc<Daemon>);

type Outgoing = mpsc::Sender<Result<v1::AgentServiceAttachResponse, Status>>;

#[tonic::async_trait]
impl AgentService for Agents {
    type AttachStream = ReceiverStream<Result<v1::AgentServiceAttachResponse, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<v1::AgentServiceAttachRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let metadata = request.metadata().clone();
        let mut incoming = request.into_inner();
        let (outgoing, responses) = mpsc::channel(AGENT_QUEUE_MAX);
        let daemon = Arc::clone(&self.0);
        // The response's headers must not wait for Hello: some clients send nothing
        // before they have them.
        tokio::spawn(async move {
            let mut stream = match Stream::open(&daemon, &metadata, &mut incoming, &outgoing).await
            {
                Ok(stream) => stream,
                Err(error) => {
                    let _ = outgoing.send(Err(error.into())).await;
                    return;
                }
            };
            if let Err(error) = stream.pump(&mut incoming, &outgoing).await {
                let _ = outgoing.try_send(Err(error.into()));
            }
            stream.session.send(Message::Detached(stream.id)).await;
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

/// One attached stream.
struct Stream {
    id: StreamId,
    session: SessionHandle,
    from_session: mpsc::Receiver<ToAgent>,
    tools: Digest,
}

impl Stream {
    /// Reads `Hello`, checks who it is, takes the roles, and says `Welcome`.
    async fn open(
        daemon: &Daemon,
        metadata: &MetadataMap,
        incoming: &mut Streaming<v1::AgentServiceAttachRequest>,
        outgoing: &Outgoing,
    ) -> Result<Stream, RequestError> {
        let violation = |text: &str| RequestError::ProtocolViolation(text.to_owned());
        let first = tokio::time::timeout(HELLO_TIMEOUT, incoming.message())
            .await
            .map_err(|_| violation("no Hello came in time"))?
            .map_err(|_| violation("the stream broke before Hello"))?;
        let Some(FromWire::Hello(hello)) = first.and_then(|request| request.message) else {
            return Err(violation("the first message must be Hello"));
        };
        let theirs = hello.protocol.unwrap_or_default().major;
        let ours = forerun_proto::PROTOCOL.major;
        if theirs != ours {
            return Err(RequestError::Protocol { ours, theirs });
        }
        let (record, authority) = daemon.authorize(metadata, &hello.session)?;
        let mut authorities = vec![authority];
        for token in hello.tokens.iter().take(ROLES_MAX) {
            authorities.push(daemon.authority(&record, token)?);
        }
        let roles = roles(&hello, &authorities)?;
        for (field, text) in [("hello.agent", &hello.agent), ("hello.model", &hello.model)] {
            if text.len() > NAME_BYTES_MAX {
                return Err(ConversionError::new(field, "is longer than 256 bytes").into());
            }
        }
        let open_calls = hello
            .open_calls
            .iter()
            .take(OPEN_CALLS_MAX)
            .map(|call| conversions::text("hello.open_calls", call))
            .collect::<Result<Vec<CallId>, _>>()?;
        let session = daemon.live(&record.id).ok_or(RequestError::SessionOver)?;
        let id = StreamId(STREAMS.fetch_add(1, Ordering::Relaxed));
        let (to_agent, from_session) = mpsc::channel(AGENT_QUEUE_MAX);
        let attach = Attach {
            stream: id,
            agent: hello.agent,
            model: hello.model,
            roles,
            open_calls,
            to_agent,
        };
        let welcome = session.call(|reply| Message::Attach(attach, reply)).await;
        let welcome = welcome
            .ok_or(RequestError::SessionOver)?
            .map_err(RequestError::RoleTaken)?;
        let toolbox = &welcome.tools;
        let tools = toolbox.digest();
        let tool_set = v1::ToolSet::new(tools, toolbox.tools().iter().cloned());
        send(
            outgoing,
            ToWire::Welcome(welcome_to_wire(&welcome, tool_set)),
        )
        .await?;
        Ok(Stream {
            id,
            session,
            from_session,
            tools,
        })
    }

    /// Carries messages both ways until one side ends.
    async fn pump(
        &mut self,
        incoming: &mut Streaming<v1::AgentServiceAttachRequest>,
        outgoing: &Outgoing,
    ) -> Result<(), RequestError> {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.tick().await;
        let mut silent = 0;
        loop {
            tokio::select! {
                message = incoming.message() => match message {
                    Ok(Some(message)) => {
                        silent = 0;
                        if let Some(message) = message.message {
                            self.hear(message).await?;
                        }
                    }
                    Ok(None) | Err(_) => return Ok(()),
                },
                message = self.from_session.recv() => match message {
                    Some(ToAgent::Close { reason }) => {
                        send(outgoing, ToWire::Closing(v1::Closing { reason })).await?;
                        return Ok(());
                    }
                    Some(message) => send(outgoing, self.to_wire(message)).await?,
                    None => return Ok(()),
                },
                _ = heartbeat.tick() => {
                    silent += 1;
                    if silent > HEARTBEATS_MISSED_MAX {
                        return Err(RequestError::ProtocolViolation("no heartbeat came".to_owned()));
                    }
                    send(outgoing, ToWire::Heartbeat(v1::AgentHeartbeat {})).await?;
                }
            }
        }
    }

    async fn hear(&self, message: FromWire) -> Result<(), RequestError> {
        let (call, said) = match message {
            FromWire::Generated(generated) => {
                let usage = generated.usage.map_or_else(Usage::default, Into::into);
                let actions = generated.candidates.into_iter().map(action);
                let actions = actions.take(Config::WIDTH_MAX as usize).collect();
                (generated.call, FromAgent::Generated { actions, usage })
            }
            FromWire::Progress(progress) => (progress.call, FromAgent::Progress),
            FromWire::Failed(failed) => {
                let (failure, reason) = failure(&failed);
                (failed.call, FromAgent::Failed { failure, reason })
            }
            FromWire::Cancelled(cancelled) => (cancelled.call, FromAgent::Cancelled),
            FromWire::Rebase(rebase) => (rebase.call, FromAgent::Rebase),
            FromWire::Heartbeat(_) => return Ok(()),
            FromWire::Hello(_) => {
                return Err(RequestError::ProtocolViolation(
                    "Hello came twice".to_owned(),
                ));
            }
        };
        let call: CallId = conversions::text("call", &call)?;
        self.session
            .send(Message::FromAgent(self.id, call, said))
            .await;
        Ok(())
    }

    fn to_wire(&self, message: ToAgent) -> ToWire {
        match message {
            ToAgent::Generate {
                call,
                role,
                step,
                prefix,
                base,
                opening,
                append,
                width,
                idle,
                total,
            } => {
                let append = match opening {
                    Some((task, instructions)) => {
                        conversions::prefix_to_wire(&task, &instructions, &append)
                    }
                    None => conversions::entries_to_wire(&append),
                };
                ToWire::Generate(v1::Generate {
                    call: call.to_string(),
                    role: v1::Role::from(role).into(),
                    step: step.0,
                    prefix: prefix.to_string(),
                    base: base.map(|base| base.to_string()),
                    append,
                    tools_digest: self.tools.to_string(),
                    width,
                    deadline_ms: millis(total),
                    idle_deadline_ms: millis(idle),
                    priority: 0,
                })
            }
            ToAgent::Cancel { call } => ToWire::Cancel(v1::Cancel {
                call: call.to_string(),
            }),
            ToAgent::Forget { prefixes } => ToWire::Forget(v1::Forget {
                prefixes: prefixes.iter().map(ToString::to_string).collect(),
            }),
            ToAgent::Close { reason } => ToWire::Closing(v1::Closing { reason }),
        }
    }
}

/// The roles that `Hello` asks for, each allowed by one of the tokens.
fn roles(hello: &v1::Hello, authorities: &[Authority]) -> Result<Vec<(Role, u32)>, RequestError> {
    if hello.agent.is_empty() {
        return Err(ConversionError::new("hello.agent", "is not set").into());
    }
    let twice = hello.roles.len() == ROLES_MAX && hello.roles[0].role == hello.roles[1].role;
    if hello.roles.len() > ROLES_MAX || twice {
        return Err(ConversionError::new("hello.roles", "names a role twice").into());
    }
    if hello.roles.is_empty() {
        return Err(ConversionError::new("hello.roles", "names no role").into());
    }
    hello
        .roles
        .iter()
        .map(|wanted| {
            let role: Role =
                conversions::enumeration::<v1::Role, Role>("hello.roles", wanted.role)?;
            if authorities
                .iter()
                .any(|authority| authority.may_attach(role))
            {
                Ok((role, wanted.capacity))
            } else {
                Err(RequestError::not_allowed_to_attach(role))
            }
        })
        .collect()
}

/// A candidate's action. Arguments that are no JSON, or have no canonical form, are kept as
/// the text that they are: calling a tool with them is an action whose observation is the
/// error.
fn action(candidate: v1::Candidate) -> Result<Action, String> {
    let wire = candidate.action.ok_or("a candidate has no action")?;
    let (tool, arguments) = (wire.tool.clone(), wire.arguments.clone());
    match Action::try_from(wire) {
        Ok(action) => Ok(action),
        Err(error) => {
            let text = serde_json::Value::from(arguments).to_string();
            Action::parse(&tool, &text).map_err(|_| error.to_string())
        }
    }
}

/// What a failure is to the planner, and what it is to people.
fn failure(failed: &v1::Failed) -> (Failure, String) {
    let reason: String = failed.reason.chars().take(REASON_CHARS_MAX).collect();
    match failed.kind() {
        v1::FailureKind::RateLimited => {
            let retry_after = Duration::from_millis(failed.retry_after_ms);
            let wait = retry_after.as_secs_f64();
            let told = format!("rate limited for {wait:.1} s: {reason}");
            (Failure::RateLimited { retry_after }, told)
        }
        v1::FailureKind::Permanent => {
            let told = reason.clone();
            (Failure::Permanent { reason }, told)
        }
        v1::FailureKind::Transient | v1::FailureKind::Unspecified => {
            let told = reason.clone();
            (Failure::Transient { reason }, told)
        }
    }
}

fn welcome_to_wire(welcome: &Welcome, tools: v1::ToolSet) -> v1::Welcome {
    v1::Welcome {
        protocol: Some(forerun_proto::PROTOCOL),
        features: Vec::new(),
        heartbeat_ms: millis(HEARTBEAT),
        reattach_ms: millis(welcome.reattach),
        tools: Some(tools),
        open_calls: welcome.open_calls.iter().map(ToString::to_string).collect(),
    }
}

/// Sends.
///
/// # Errors
/// If the peer has not read for as long as it may be silent: its stream is ended, so that
/// its role is free for somebody who reads.
async fn send(outgoing: &Outgoing, message: ToWire) -> Result<(), RequestError> {
    let response = v1::AgentServiceAttachResponse {
        message: Some(message),
    };
    match outgoing
        .send_timeout(Ok(response), HEARTBEAT * HEARTBEATS_MISSED_MAX)
        .await
    {
        // That it is gone is seen where its messages are read.
        Ok(()) | Err(SendTimeoutError::Closed(_)) => Ok(()),
        Err(SendTimeoutError::Timeout(_)) => Err(RequestError::ProtocolViolation(
            "the agent does not read".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(tool: &str, arguments: &str) -> Result<Action, String> {
        action(v1::Candidate {
            action: Some(v1::Action {
                tool: tool.to_owned(),
                arguments: arguments.to_owned(),
            }),
            ..v1::Candidate::default()
        })
    }

    #[test]
    fn arguments_that_are_no_json_stay_an_action_and_are_kept_as_text() {
        let valid = said("read_file", r#"{"path": "a"}"#).expect("an action");
        assert_eq!(valid.arguments.as_str(), r#"{"path":"a"}"#);
        for broken in ["{nonsense", r#"{"a":1,"a":2}"#, ""] {
            let kept = said("read_file", broken).expect("an action");
            let text = serde_json::Value::from(broken);
            assert_eq!(kept.arguments.to_value(), text);
        }
    }

    #[test]
    fn what_names_no_tool_is_no_action() {
        assert!(action(v1::Candidate::default()).is_err());
        assert!(said("", "{}").is_err());
        assert!(said(&"x".repeat(1_000), "{}").is_err());
    }
}
