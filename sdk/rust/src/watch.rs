//! Watches a session: a stream of events that resumes by itself.
//!
//! **Invariants**
//! - Every event of the view is given once, in the order of its sequence number, however
//!   often the connection breaks.
//! - An event that this version does not know is left out; nothing else is.

use crate::client::{authorized, bearer};
use crate::error::{Error, Result};
use crate::session::Session;
use forerun_proto::v1::session_service_watch_response::Message;
use forerun_proto::{WATCH_HEARTBEAT, v1};
use forerun_types::{Event, View};
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Status, Streaming};

/// How long a broken stream is taken up again without any success, until its error is
/// given out.
const RESUME_FOR: Duration = Duration::from_secs(30);
/// The first pause before a stream is taken up again; each further one is twice as long.
const RESUME_WAIT_MIN: Duration = Duration::from_millis(20);
/// The longest pause.
const RESUME_WAIT_MAX: Duration = Duration::from_secs(2);

/// The events of a session. Ends after the last event that there can be; an error is the
/// last item.
pub struct Events {
    stream: BoxStream<'static, Result<Event>>,
}

impl Events {
    pub(crate) fn new(session: Session, view: View, after_sequence: u64, follow: bool) -> Events {
        let cursor = Cursor {
            session,
            view,
            follow,
            last: after_sequence,
            stream: None,
            failing: None,
            over: false,
        };
        Events {
            stream: stream::unfold(cursor, |mut cursor| async move {
                cursor.next().await.map(|item| (item, cursor))
            })
            .boxed(),
        }
    }

    /// The next event; `None` after the last. May be dropped and called again without
    /// losing any.
    pub async fn next(&mut self) -> Option<Result<Event>> {
        self.stream.next().await
    }
}

impl Stream for Events {
    type Item = Result<Event>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(context)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// Where a watcher is in the log, and the stream from there on.
struct Cursor {
    session: Session,
    view: View,
    follow: bool,
    /// Everything of the view up to here was given.
    last: u64,
    stream: Option<Streaming<v1::SessionServiceWatchResponse>>,
    /// Since when nothing has worked, and how long the next pause is.
    failing: Option<(Instant, Duration)>,
    over: bool,
}

impl Cursor {
    async fn next(&mut self) -> Option<Result<Event>> {
        while !self.over {
            match self.step().await {
                Ok(Some(event)) => {
                    // Undos may follow; they are not waited for.
                    self.over = self.follow && event.kind.is_last();
                    return Some(Ok(event));
                }
                Ok(None) => {}
                Err(error) => {
                    self.stream = None;
                    if let Err(error) = self.wait_to_resume(error).await {
                        self.over = true;
                        return Some(Err(error));
                    }
                }
            }
        }
        None
    }

    /// One message, or a stream to get them from.
    async fn step(&mut self) -> Result<Option<Event>> {
        let Some(stream) = &mut self.stream else {
            self.stream = Some(self.open().await?);
            return Ok(None);
        };
        let message = tokio::time::timeout(3 * WATCH_HEARTBEAT, stream.message())
            .await
            .map_err(|_| {
                Error::from_status(Status::unavailable("the stream of events went silent"))
            })?
            .map_err(Error::from_status)?;
        let Some(message) = message else {
            self.over = true;
            return Ok(None);
        };
        self.failing = None;
        match message.message {
            Some(Message::Event(event)) => self.event(event),
            Some(Message::Heartbeat(heartbeat)) => {
                self.last = self.last.max(heartbeat.sequence);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn event(&mut self, event: v1::Event) -> Result<Option<Event>> {
        if event.sequence <= self.last {
            return Ok(None);
        }
        // The trace has every event, so a gap is a loss: the log still has them.
        if self.view == View::Trace && event.sequence != self.last + 1 {
            return Err(Error::from_status(Status::unavailable(format!(
                "event {} was sent after event {}",
                event.sequence, self.last
            ))));
        }
        self.last = event.sequence;
        if event.kind.is_none() {
            tracing::debug!(
                sequence = event.sequence,
                "left out an event of an unknown kind"
            );
            return Ok(None);
        }
        let event = Event::try_from(event).map_err(|source| Error::Invalid {
            what: "event",
            source,
        })?;
        Ok(Some(event))
    }

    async fn open(&self) -> Result<Streaming<v1::SessionServiceWatchResponse>> {
        let request = v1::SessionServiceWatchRequest {
            session: self.session.id().to_string(),
            after_sequence: self.last,
            view: v1::View::from(self.view).into(),
            follow: self.follow,
        };
        let bearer = bearer(&self.session.tokens().owner)?;
        let answer = self
            .session
            .daemon()
            .session_service()
            .watch(authorized(&bearer, request))
            .await
            .map_err(Error::from_status)?;
        Ok(answer.into_inner())
    }

    /// Pauses before the stream is taken up again; gives the error back if that is
    /// pointless, or was tried for long enough.
    async fn wait_to_resume(&mut self, error: Error) -> Result<()> {
        let now = Instant::now();
        let (since, wait) = self.failing.unwrap_or((now, RESUME_WAIT_MIN));
        if !error.is_passing() || now.duration_since(since) >= RESUME_FOR {
            return Err(error);
        }
        tracing::debug!(%error, after = self.last, "the stream of events broke; resuming");
        self.failing = Some((since, (2 * wait).min(RESUME_WAIT_MAX)));
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
