//! A session's log: an event is in the journal before anybody sees it, and a watcher
//! reads the journal, so that a slow one costs nobody and a lost one misses nothing.

use forerun_journal::{Journal, JournalError};
use forerun_types::{Event, EventKind, SessionId, Time};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The journal, and a bell per session that rings when something was written.
#[derive(Clone)]
pub(crate) struct Log {
    journal: Journal,
    bells: Arc<Mutex<HashMap<SessionId, watch::Sender<u64>>>>,
}

impl Log {
    pub(crate) fn new(journal: Journal) -> Log {
        Log {
            journal,
            bells: Arc::default(),
        }
    }

    /// Writes the events, durably, then wakes the watchers.
    pub(crate) async fn append(
        &self,
        session: &SessionId,
        events: Vec<(Time, EventKind)>,
    ) -> Result<Vec<Event>, JournalError> {
        let written = self.journal.append(session, events).await?;
        self.ring(session, &written);
        Ok(written)
    }

    /// The same, for what blocks on the disk anyway.
    pub(crate) fn append_blocking(
        &self,
        session: &SessionId,
        events: Vec<(Time, EventKind)>,
    ) -> Result<Vec<Event>, JournalError> {
        let written = self.journal.append_blocking(session, events)?;
        self.ring(session, &written);
        Ok(written)
    }

    fn ring(&self, session: &SessionId, written: &[Event]) {
        if let Some(last) = written.last() {
            let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(bell) = bells.get(session) {
                bell.send_replace(last.sequence);
            }
        }
    }

    /// Rings whenever something was written, from now on.
    pub(crate) fn bell(&self, session: &SessionId) -> watch::Receiver<u64> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|_, bell| bell.receiver_count() > 0);
        bells
            .entry(session.clone())
            .or_insert_with(|| watch::channel(0).0)
            .subscribe()
    }

    /// The journal that it writes to.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }
}
