//! Attaches an agent to a session: the daemon asks over a stream, the agent answers.
//!
//! ```text
//!            Welcome              stream breaks
//! attaching ────────▶ attached ────────────────▶ attaching again ──▶ gives up
//!                        │  ▲                          │
//!                        │  └──────────────────────────┘ same agent id, open calls
//!                        ├─ Closing: the session needs no more answers
//!                        └─ detached by its owner
//! ```
//!
//! **Invariants**
//! - Each call runs at most once at a time and is ended by one message: its answer, its
//!   failure, or the acknowledgement of its cancellation.
//! - A broken stream stops no call and loses no answer: those that the daemon still waits
//!   for are sent on the next stream.

mod calls;
mod link;
mod prefixes;

use crate::agent::{Agent, Request, Tools};
use crate::client::draw_key;
use crate::error::{Error, Result};
use crate::session::Session;
use calls::Calls;
use forerun_proto::conversions::{ConversionError, optional_text, text};
use forerun_proto::v1;
use forerun_proto::v1::agent_service_attach_request::Message as ToDaemon;
use forerun_proto::v1::agent_service_attach_response::Message as FromDaemon;
use forerun_types::{CallId, PrefixId, Role, StepIndex};
use link::{Link, Opening};
use prefixes::{Prefixes, Resolved};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a broken stream is taken up again before the agent gives up: longer than any
/// re-attach window, since a session that waits for an agent takes it up later, too.
const REATTACH_FOR: Duration = Duration::from_secs(120);
/// The first pause before attaching again; each further one is twice as long.
const REATTACH_WAIT_MIN: Duration = Duration::from_millis(20);
/// The longest pause.
const REATTACH_WAIT_MAX: Duration = Duration::from_secs(2);

/// How an agent attaches. What is not said is chosen.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    agent: Option<String>,
    model: Option<String>,
    capacity: Option<u32>,
}

impl AttachOptions {
    /// The agent's id. One that is started again with the same id takes up its calls.
    #[must_use]
    pub fn agent_id(mut self, id: impl Into<String>) -> AttachOptions {
        self.agent = Some(id.into());
        self
    }

    /// The model, instead of [`Agent::model`].
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> AttachOptions {
        self.model = Some(model.into());
        self
    }

    /// How many calls at once, instead of [`Agent::capacity`].
    #[must_use]
    pub fn capacity(mut self, capacity: u32) -> AttachOptions {
        self.capacity = Some(capacity);
        self
    }
}

/// An attached agent. Dropping this leaves it attached.
#[derive(Debug)]
pub struct Attachment {
    agent: String,
    role: Role,
    stop: Arc<Notify>,
    task: JoinHandle<Result<String>>,
}

impl Attachment {
    /// The agent's id.
    pub fn agent_id(&self) -> &str {
        &self.agent
    }

    /// What it does.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether it answers no more.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until the session needs it no more, and returns why.
    ///
    /// # Errors
    /// If the daemon refuses to take it back after a broken connection, or can not be
    /// reached for long.
    pub async fn ended(self) -> Result<String> {
        match self.task.await {
            Ok(ended) => ended,
            // The agent's own panics end in a failed call, so this is the runtime's end.
            Err(_) => Ok("the program is ending".to_owned()),
        }
    }

    /// Takes the agent away: its calls fail at once instead of waiting for it.
    ///
    /// # Errors
    /// As [`Attachment::ended`].
    pub async fn detach(self) -> Result<()> {
        self.stop.notify_one();
        self.ended().await.map(drop)
    }
}

/// Attaches `agent`, and answers in a task from then on.
pub(crate) async fn attach(
    session: Session,
    role: Role,
    agent: Arc<dyn Agent>,
    options: AttachOptions,
) -> Result<Attachment> {
    let id = match options.agent {
        Some(id) => id,
        None => format!("{role}-{}", &draw_key()?[..12]),
    };
    let opening = Opening {
        role,
        agent: id.clone(),
        model: options.model.unwrap_or_else(|| agent.model()),
        capacity: options.capacity.unwrap_or_else(|| agent.capacity()).max(1),
    };
    let (link, welcome) = Link::open(&session, &opening, Vec::new()).await?;
    let stop = Arc::new(Notify::new());
    let worker = Worker {
        session,
        opening,
        agent,
        tools: Arc::new(welcome.tools),
        prefixes: Prefixes::default(),
        calls: Calls::default(),
        stop: Arc::clone(&stop),
    };
    Ok(Attachment {
        agent: id,
        role,
        stop,
        task: tokio::spawn(worker.run(link)),
    })
}

/// The agent's side of the conversation.
struct Worker {
    session: Session,
    opening: Opening,
    agent: Arc<dyn Agent>,
    tools: Arc<Tools>,
    prefixes: Prefixes,
    calls: Calls,
    stop: Arc<Notify>,
}

/// Why a stream is not served any more.
enum Left {
    /// It broke; another one can take its place.
    Broken(Error),
    /// The session needs no more answers.
    Closed(String),
    /// The owner of the attachment took the agent away.
    Detached,
}

impl From<Error> for Left {
    fn from(error: Error) -> Left {
        Left::Broken(error)
    }
}

impl Worker {
    async fn run(mut self, mut link: Link) -> Result<String> {
        loop {
            let Err(left) = self.serve(&mut link).await;
            drop(link);
            match left {
                Left::Closed(reason) => return Ok(reason),
                Left::Detached => return Ok("detached".to_owned()),
                Left::Broken(error) if error.is_passing() => {
                    tracing::debug!(%error, agent = self.opening.agent, "attaching again");
                }
                Left::Broken(error) => return Err(error),
            }
            let stop = Arc::clone(&self.stop);
            link = tokio::select! {
                link = self.attach_again() => link?,
                () = stop.notified() => return Ok("detached".to_owned()),
            };
        }
    }

    /// Serves one stream until it is left.
    async fn serve(&mut self, link: &mut Link) -> Result<std::convert::Infallible, Left> {
        loop {
            let wake = link
                .silent_at()
                .min(self.calls.report_at().unwrap_or(link.silent_at()));
            tokio::select! {
                message = link.receive() => match message? {
                    FromDaemon::Generate(generate) => self.generate(link, generate)?,
                    FromDaemon::Cancel(cancel) => {
                        let call = parse(text("cancel.call", &cancel.call))?;
                        if let Some(message) = self.calls.cancel(call) {
                            link.send(message)?;
                        }
                    }
                    FromDaemon::Forget(forget) => {
                        for prefix in forget.prefixes {
                            self.prefixes.forget(parse(text("forget.prefixes", &prefix))?);
                        }
                    }
                    FromDaemon::Closing(closing) => return Err(Left::Closed(closing.reason)),
                    // A second Welcome says nothing new; a heartbeat was heard.
                    FromDaemon::Welcome(_) | FromDaemon::Heartbeat(_) => {}
                },
                message = self.calls.ended() => link.send(message)?,
                () = tokio::time::sleep_until(wake) => {
                    for message in self.calls.reports() {
                        link.send(message)?;
                    }
                    link.keep_alive()?;
                }
                () = self.stop.notified() => {
                    for message in self.calls.abandon() {
                        link.send(message)?;
                    }
                    link.finish().await;
                    return Err(Left::Detached);
                }
            }
        }
    }

    /// Starts a call, or says why it can not be started.
    fn generate(&mut self, link: &mut Link, generate: v1::Generate) -> Result<()> {
        let call: CallId = parse(text("generate.call", &generate.call))?;
        if self.calls.is_running(call) {
            return Ok(());
        }
        if let Some(answer) = self.calls.answer(call) {
            return link.send(answer);
        }
        let prefix_id: PrefixId = parse(text("generate.prefix", &generate.prefix))?;
        let base: Option<PrefixId> =
            parse(optional_text("generate.base", generate.base.as_deref()))?;
        if generate.tools_digest != self.tools.digest.to_string() {
            let reason = "the call is about other tools than those of the welcome".to_owned();
            return link.send(failed(call, v1::FailureKind::Permanent, reason));
        }
        let resolved = self
            .prefixes
            .resolve(prefix_id, base, generate.append, &self.tools.digest);
        let prefix = match resolved {
            Ok(Resolved::Prefix(prefix)) => prefix,
            Ok(Resolved::Rebase) => {
                return link.send(ToDaemon::Rebase(v1::Rebase {
                    call: call.to_string(),
                }));
            }
            Err(error) => {
                let reason = error.to_string();
                return link.send(failed(call, v1::FailureKind::Permanent, reason));
            }
        };
        let deadline = match generate.deadline_ms {
            0 => None,
            ms => Instant::now().checked_add(Duration::from_millis(ms)),
        };
        let request = Request {
            prefix_id,
            prefix,
            tools: Arc::clone(&self.tools),
            step: StepIndex(generate.step),
            role: self.opening.role,
            width: generate.width.max(1),
            deadline,
            priority: generate.priority,
            reporter: None,
        };
        let idle = Duration::from_millis(generate.idle_deadline_ms);
        self.calls
            .start(call, Arc::clone(&self.agent), request, idle);
        Ok(())
    }

    /// A new stream for the same agent, with the calls that are still open.
    async fn attach_again(&mut self) -> Result<Link> {
        let since = Instant::now();
        let mut wait = REATTACH_WAIT_MIN;
        loop {
            tokio::time::sleep(wait).await;
            let open = self.calls.open();
            match Link::open(&self.session, &self.opening, open).await {
                Ok((mut link, welcome)) => {
                    self.tools = Arc::new(welcome.tools);
                    for message in self.calls.reconcile(&welcome.open_calls) {
                        link.send(message)?;
                    }
                    return Ok(link);
                }
                Err(error) if error.is_passing() && since.elapsed() < REATTACH_FOR => {
                    wait = (2 * wait).min(REATTACH_WAIT_MAX);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A field of a message of the daemon. One that can not be read makes the stream useless.
fn parse<T>(converted: Result<T, ConversionError>) -> Result<T> {
    converted.map_err(|source| Error::Invalid {
        what: "message to an agent",
        source,
    })
}

fn failed(call: CallId, kind: v1::FailureKind, reason: String) -> ToDaemon {
    ToDaemon::Failed(v1::Failed {
        call: call.to_string(),
        kind: kind.into(),
        reason,
        ..v1::Failed::default()
    })
}
