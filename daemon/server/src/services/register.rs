//! A client offers tools that it executes itself: one bidirectional stream, from the offer
//! until either side ends it.

use crate::client_tools::{self, CALL_TIMEOUT, OfferError, Registration, ToClient};
use crate::daemon::Daemon;
use crate::error::RequestError;
use crate::session::millis;
use forerun_proto::conversions::{self, ConversionError};
use forerun_proto::v1;
use forerun_proto::v1::tool_service_register_request::Message as FromWire;
use forerun_proto::v1::tool_service_register_response::Message as ToWire;
use forerun_types::{Digest, Observation, ToolDescription};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// How often each side says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Heartbeats that may be missing before a client is taken for gone.
const HEARTBEATS_MISSED_MAX: u32 = 3;
/// How long a new stream may take to say what it offers.
const OFFER_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages that may wait for a client that does not read.
const QUEUE_MAX: usize = 64;
/// How long it may not read; then it is taken for gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) type Responses = ReceiverStream<Result<v1::ToolServiceRegisterResponse, Status>>;

/// Serves one stream; it is the client that ends it, or the daemon that stops.
pub(super) fn serve(
    daemon: Arc<Daemon>,
    mut incoming: Streaming<v1::ToolServiceRegisterRequest>,
) -> Responses {
    let (outgoing, responses) = mpsc::channel(QUEUE_MAX);
    // The response's headers must not wait for the offer: some clients send nothing before
    // they have them.
    tokio::spawn(async move {
        if let Err(error) = attend(&daemon, &mut incoming, &outgoing).await {
            let _ = outgoing.try_send(Err(error.into()));
        }
    });
    ReceiverStream::new(responses)
}

async fn attend(
    daemon: &Daemon,
    incoming: &mut Streaming<v1::ToolServiceRegisterRequest>,
    outgoing: &mpsc::Sender<Result<v1::ToolServiceRegisterResponse, Status>>,
) -> Result<(), RequestError> {
    let tools = offer(daemon, incoming).await?;
    let (registration, calls) = daemon.clients.register(tools)?;
    let mut stream = Stream {
        daemon,
        outgoing,
        pending: HashMap::new(),
    };
    let served = stream.pump(&registration, incoming, calls).await;
    // What is pending is dropped with the stream, and its callers are told.
    daemon.clients.remove(&registration);
    served
}

/// What the client offers, which is the first thing that it says.
async fn offer(
    daemon: &Daemon,
    incoming: &mut Streaming<v1::ToolServiceRegisterRequest>,
) -> Result<Vec<ToolDescription>, RequestError> {
    let violation = |text: &str| RequestError::ProtocolViolation(text.to_owned());
    let first = tokio::time::timeout(OFFER_TIMEOUT, incoming.message())
        .await
        .map_err(|_| violation("no offer came in time"))?
        .map_err(|_| violation("the stream broke before the offer"))?;
    let Some(FromWire::Offer(offer)) = first.and_then(|request| request.message) else {
        return Err(violation("the first message must be an offer"));
    };
    let tools = offer.tools.into_iter().map(|tool| v1::ToolDescription {
        // Not the client's to say.
        component: Digest::of("").to_string(),
        client: true,
        ..tool
    });
    let tools: Vec<ToolDescription> = conversions::list("offer.tools", tools.collect())?;
    // Whether they can be had beside those that there are now; a session asks again.
    let sandboxes = daemon.sandboxes();
    sandboxes
        .with_client_tools(&tools)
        .map_err(|error| ConversionError::new("offer.tools", error.to_string()))?;
    Ok(tools)
}

struct Stream<'a> {
    daemon: &'a Daemon,
    outgoing: &'a mpsc::Sender<Result<v1::ToolServiceRegisterResponse, Status>>,
    /// Calls that the client has not answered.
    pending: HashMap<u64, oneshot::Sender<Observation>>,
}

impl Stream<'_> {
    /// Carries messages both ways until one side ends.
    async fn pump(
        &mut self,
        registration: &Registration,
        incoming: &mut Streaming<v1::ToolServiceRegisterRequest>,
        mut calls: mpsc::Receiver<ToClient>,
    ) -> Result<(), RequestError> {
        self.send(ToWire::Registered(v1::ToolsRegistered {
            registration: registration.id().to_owned(),
            heartbeat_ms: millis(HEARTBEAT),
        }))
        .await?;
        let mut told = self.daemon.stopping();
        let stopping = async {
            let _ = told.wait_for(|stopping| *stopping).await;
        };
        tokio::pin!(stopping);
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.tick().await;
        let mut silent = 0;
        loop {
            tokio::select! {
                message = incoming.message() => match message {
                    Ok(Some(message)) => {
                        silent = 0;
                        self.hear(message.message)?;
                    }
                    Ok(None) | Err(_) => return Ok(()),
                },
                Some(message) = calls.recv() => self.tell(message).await?,
                _ = heartbeat.tick() => {
                    silent += 1;
                    if silent > HEARTBEATS_MISSED_MAX {
                        return Err(RequestError::ProtocolViolation("no heartbeat came".to_owned()));
                    }
                    self.send(ToWire::Heartbeat(v1::ToolHeartbeat {})).await?;
                }
                () = &mut stopping => return Err(RequestError::Stopping),
            }
        }
    }

    fn hear(&mut self, message: Option<FromWire>) -> Result<(), RequestError> {
        let answer = match message {
            Some(FromWire::Answer(answer)) => answer,
            Some(FromWire::Offer(_)) => {
                let text = "a stream offers once; open another one".to_owned();
                return Err(RequestError::ProtocolViolation(text));
            }
            Some(FromWire::Heartbeat(_)) | None => return Ok(()),
        };
        let observation = conversions::required("answer.observation", answer.observation)?;
        let most = self.daemon.config.settings.limits.output_bytes;
        let observation = client_tools::accept(observation, most)
            .map_err(|problem| ConversionError::new("answer.observation.status", problem))?;
        // One that is not there was cancelled meanwhile.
        if let Some(reply) = self.pending.remove(&answer.call) {
            let _ = reply.send(observation);
        }
        Ok(())
    }

    async fn tell(&mut self, message: ToClient) -> Result<(), RequestError> {
        let message = match message {
            ToClient::Call { call, what, reply } => {
                self.pending.insert(call, reply);
                ToWire::Call(v1::ToolCall {
                    call,
                    session: what.session.to_string(),
                    step: what.step.0,
                    action: Some(what.action.into()),
                    speculative: what.speculative,
                    deadline_ms: millis(CALL_TIMEOUT),
                })
            }
            ToClient::Cancel { call } => {
                if self.pending.remove(&call).is_none() {
                    return Ok(());
                }
                ToWire::Cancel(v1::ToolCancel { call })
            }
        };
        self.send(message).await
    }

    async fn send(&self, message: ToWire) -> Result<(), RequestError> {
        let message = Ok(v1::ToolServiceRegisterResponse {
            message: Some(message),
        });
        let sent = self.outgoing.send_timeout(message, SEND_TIMEOUT).await;
        sent.map_err(|_| RequestError::ProtocolViolation("the client does not read".to_owned()))
    }
}

impl From<OfferError> for RequestError {
    fn from(error: OfferError) -> RequestError {
        match error {
            OfferError::Random(error) => RequestError::Io(error),
            other => ConversionError::new("offer", other.to_string()).into(),
        }
    }
}
