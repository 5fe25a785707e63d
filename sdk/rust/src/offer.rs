//! Tools that this program executes itself: its own functions, for the sessions that name
//! them.
//!
//! **Invariants**
//! - Each call runs once, and is answered by one message. One that is not wanted any more is
//!   cancelled by dropping its future.
//! - The tools are there for as long as the [`Offer`] is and its stream lasts: a broken one is
//!   not taken up again, because nobody could tell whether what was under way was done.

use crate::client::{Forerun, authorized, bearer};
use crate::error::{Error, Result};
use forerun_proto::conversions::{self, ConversionError};
use forerun_proto::v1;
use forerun_proto::v1::tool_service_register_request::Message as ToDaemon;
use forerun_proto::v1::tool_service_register_response::Message as FromDaemon;
use forerun_types::{
    Action, Annotations, Digest, Observation, ObservationStatus, SessionId, Speculation, StepIndex,
    ToolDescription,
};
use futures_util::future::{BoxFuture, FutureExt as _};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// Messages that may wait for the daemon.
const OUTGOING_MAX: usize = 256;
/// How long the daemon may take to take an offer.
const OFFER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bounds of the heartbeat that the daemon asks for.
const HEARTBEAT_RANGE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));

type Run = dyn Fn(ToolCall) -> BoxFuture<'static, Result<String, String>> + Send + Sync;

/// One call of a tool that this program executes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolCall {
    /// The session that calls.
    pub session: SessionId,
    /// The step that it is.
    pub step: StepIndex,
    /// What is called, with arguments that are valid by the tool's schema.
    pub action: Action,
    /// Whether the verdict is awaited: the call may turn out not to have been meant.
    pub speculative: bool,
}

/// A tool that this program executes, in no sandbox.
pub struct OfferedTool {
    description: ToolDescription,
    run: Arc<Run>,
}

impl OfferedTool {
    /// A tool by the name that actions use (lower-case letters, digits and `_`), with a
    /// description for models, a JSON Schema of its arguments, and what it does: the text
    /// that is observed, or that of the tool's own error.
    ///
    /// It is never called before its verdict, unless [`OfferedTool::pure`] says that it may.
    pub fn new<F>(
        name: &str,
        description: &str,
        input_schema: serde_json::Value,
        run: impl Fn(ToolCall) -> F + Send + Sync + 'static,
    ) -> OfferedTool
    where
        F: Future<Output = Result<String, String>> + Send + 'static,
    {
        OfferedTool {
            description: ToolDescription {
                name: name.to_owned(),
                title: String::new(),
                description: description.to_owned(),
                input_schema,
                output_schema: None,
                annotations: Annotations::default(),
                deterministic: false,
                speculation: Speculation::Never,
                component: Digest::of(""),
                client: true,
            },
            run: Arc::new(move |call| Box::pin(run(call))),
        }
    }

    /// A tool whose arguments are a type: its JSON Schema is derived from that (fields are the
    /// arguments, their comments what models read of them), and it is called with a value of it.
    ///
    /// ```no_run
    /// use forerun_sdk::OfferedTool;
    /// use forerun_sdk::schemars::{self, JsonSchema};
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize, JsonSchema)]
    /// struct LookUp {
    ///     /// What to look for.
    ///     word: String,
    ///     /// At most so many entries.
    ///     limit: Option<u32>,
    /// }
    ///
    /// let tool = OfferedTool::typed("look_up", "Finds entries of the glossary.", |look: LookUp, _| async move {
    ///     Ok(format!("nothing has {}", look.word))
    /// });
    /// ```
    pub fn typed<A, F>(
        name: &str,
        description: &str,
        run: impl Fn(A, ToolCall) -> F + Send + Sync + 'static,
    ) -> OfferedTool
    where
        A: DeserializeOwned + JsonSchema,
        F: Future<Output = Result<String, String>> + Send + 'static,
    {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.meta_schema = None;
            settings.inline_subschemas = true;
        });
        let schema = settings.into_generator().into_root_schema_for::<A>();
        let schema = schema.to_value();
        let mut tool =
            OfferedTool::new(name, description, schema, |_| async { Err(String::new()) });
        tool.run =
            Arc::new(
                move |call| match serde_json::from_value(call.action.arguments.to_value()) {
                    Ok(arguments) => Box::pin(run(arguments, call)),
                    Err(error) => Box::pin(std::future::ready(Err(error.to_string()))),
                },
            );
        tool
    }

    /// It changes nothing at all: policy may let it run before its verdict, too. What it
    /// answered so counts for ten seconds; a later verdict calls it again.
    #[must_use]
    pub fn pure(mut self) -> OfferedTool {
        self.description.annotations.read_only = true;
        self.description.speculation = Speculation::Pure;
        self
    }
}

impl fmt::Debug for OfferedTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfferedTool")
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

/// Tools that are offered; dropping it withdraws them.
#[derive(Debug)]
pub struct Offer {
    registration: String,
    task: JoinHandle<Result<()>>,
}

impl Offer {
    /// What it is known by, for [`SessionBuilder::tools`](crate::SessionBuilder::tools).
    pub fn registration(&self) -> &str {
        &self.registration
    }

    /// Whether its tools are not executed any more.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Forerun {
    /// Offers tools that this program executes, to the sessions that name the offer.
    ///
    /// # Errors
    /// If a tool's name is taken or can not be one, its schema is none, or the daemon can not
    /// be reached.
    pub async fn offer(&self, tools: Vec<OfferedTool>) -> Result<Offer> {
        let (outgoing, requests) = mpsc::channel(OUTGOING_MAX);
        let request = authorized(&bearer(&self.owner_key()?)?, ReceiverStream::new(requests));
        let descriptions = tools.iter().map(|tool| tool.description.clone().into());
        let offer = v1::ToolOffer {
            tools: descriptions.collect(),
        };
        send(&outgoing, ToDaemon::Offer(offer))?;
        let open = async {
            let answer = self.tool_service().register(request).await;
            let mut incoming = answer.map_err(Error::from_status)?.into_inner();
            match receive(&mut incoming).await? {
                FromDaemon::Registered(registered) => Ok((incoming, registered)),
                _ => Err(invalid(ConversionError::new(
                    "message",
                    "is not registered",
                ))),
            }
        };
        let (incoming, registered) = tokio::time::timeout(OFFER_TIMEOUT, open)
            .await
            .map_err(|_| broken("the daemon did not take the offer"))??;
        let heartbeat = Duration::from_millis(registered.heartbeat_ms)
            .clamp(HEARTBEAT_RANGE.0, HEARTBEAT_RANGE.1);
        let tools = tools.into_iter();
        let worker = Worker {
            tools: tools
                .map(|tool| (tool.description.name, tool.run))
                .collect(),
            calls: HashMap::new(),
            outgoing,
            heartbeat,
        };
        Ok(Offer {
            registration: registered.registration,
            task: tokio::spawn(worker.run(incoming)),
        })
    }
}

/// Executes what is called.
struct Worker {
    tools: HashMap<String, Arc<Run>>,
    calls: HashMap<u64, AbortHandle>,
    outgoing: mpsc::Sender<v1::ToolServiceRegisterRequest>,
    heartbeat: Duration,
}

impl Drop for Worker {
    fn drop(&mut self) {
        for call in self.calls.values() {
            call.abort();
        }
    }
}

impl Worker {
    async fn run(mut self, mut incoming: Streaming<v1::ToolServiceRegisterResponse>) -> Result<()> {
        let mut heartbeat = tokio::time::interval(self.heartbeat);
        let mut silent = 0;
        loop {
            tokio::select! {
                message = receive(&mut incoming) => {
                    silent = 0;
                    self.hear(message?)?;
                }
                _ = heartbeat.tick() => {
                    silent += 1;
                    if silent > 3 {
                        return Err(broken("the daemon went silent"));
                    }
                    send(&self.outgoing, ToDaemon::Heartbeat(v1::ToolHeartbeat {}))?;
                }
            }
        }
    }

    fn hear(&mut self, message: FromDaemon) -> Result<()> {
        self.calls.retain(|_, task| !task.is_finished());
        match message {
            FromDaemon::Call(call) => self.start(call)?,
            FromDaemon::Cancel(cancel) => {
                if let Some(task) = self.calls.remove(&cancel.call) {
                    task.abort();
                }
            }
            FromDaemon::Registered(_) | FromDaemon::Heartbeat(_) => {}
        }
        Ok(())
    }

    fn start(&mut self, call: v1::ToolCall) -> Result<()> {
        let id = call.call;
        let called = ToolCall {
            session: conversions::text("call.session", &call.session).map_err(invalid)?,
            step: StepIndex(call.step),
            action: conversions::required("call.action", call.action).map_err(invalid)?,
            speculative: call.speculative,
        };
        let run = self.tools.get(&called.action.tool).cloned();
        let outgoing = self.outgoing.clone();
        let task = tokio::spawn(async move {
            let answered = match run {
                Some(run) => AssertUnwindSafe(run(called)).catch_unwind().await,
                None => Ok(Err("it is not offered".to_owned())),
            };
            let (status, text) = match answered {
                Ok(Ok(text)) => (ObservationStatus::Success, text),
                Ok(Err(text)) => (ObservationStatus::ToolError, text),
                Err(_) => (ObservationStatus::ToolError, "the tool panicked".to_owned()),
            };
            let answer = v1::ToolAnswer {
                call: id,
                observation: Some(Observation::new(status, text).into()),
            };
            let message = v1::ToolServiceRegisterRequest {
                message: Some(ToDaemon::Answer(answer)),
            };
            // Without a stream there is nobody to answer.
            let _ = outgoing.send(message).await;
        });
        self.calls.insert(id, task.abort_handle());
        Ok(())
    }
}

async fn receive(incoming: &mut Streaming<v1::ToolServiceRegisterResponse>) -> Result<FromDaemon> {
    loop {
        let message = incoming.message().await.map_err(Error::from_status)?;
        let message = message.ok_or_else(|| broken("the daemon ended the stream"))?;
        // Without one, it is of a kind that a later minor version knows.
        if let Some(message) = message.message {
            return Ok(message);
        }
    }
}

fn send(outgoing: &mpsc::Sender<v1::ToolServiceRegisterRequest>, message: ToDaemon) -> Result<()> {
    let message = v1::ToolServiceRegisterRequest {
        message: Some(message),
    };
    outgoing
        .try_send(message)
        .map_err(|_| broken("the daemon does not read"))
}

fn broken(what: &str) -> Error {
    Error::from_status(Status::unavailable(what))
}

fn invalid(source: ConversionError) -> Error {
    Error::Invalid {
        what: "call of a tool",
        source,
    }
}
