//! The journal on a real disk: durability, order, tampering, foreign files.

#![cfg(test)]

mod chain;
mod commits;
mod durability;
mod order;
mod remembered;
mod state_dir;

use forerun_journal::{CommitMode, Journal, SessionRecord, SessionState, TokenHashes};
use forerun_types::{Digest, Event, EventKind, SessionId, Time};
use std::path::{Path, PathBuf};

/// A state directory that goes away with the test.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn open(&self) -> Journal {
        Journal::open(&self.path()).unwrap()
    }

    /// Changes the database as somebody would who has no business to.
    fn tamper(&self, statements: &str) {
        let connection = rusqlite::Connection::open(self.path().join("journal.db")).unwrap();
        connection.execute_batch(statements).unwrap();
    }
}

fn id(number: u8) -> SessionId {
    SessionId::from_random([number; 10])
}

fn record(number: u8) -> SessionRecord {
    let digest = Digest::of([number]);
    SessionRecord {
        id: id(number),
        workspace: "/home/me/site".into(),
        task: "fix the build".into(),
        instructions: String::new(),
        policy: "workspace-write".into(),
        policy_digest: digest,
        tools: digest,
        depth: 4,
        commit: CommitMode::Step,
        seed: u64::MAX,
        clock_ns: 1_700_000_000_000_000_000,
        opened_at_ms: 1_700_000_000_000,
        tokens: TokenHashes {
            owner: digest,
            approximation: digest,
            target: digest,
        },
        settings: serde_json::json!({ "review_ms": 10 }),
        state: SessionState::Open,
    }
}

fn said(number: u64) -> (Time, EventKind) {
    (
        Time(number),
        EventKind::Continued {
            reason: format!("line {number}"),
        },
    )
}

fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.sequence).collect()
}

/// A journal with one session of `events` events.
fn journal_with(home: &Home, events: u64) -> Journal {
    let journal = home.open();
    journal.create_session(&record(1)).unwrap();
    journal
        .append_blocking(&id(1), (1..=events).map(said).collect())
        .unwrap();
    journal
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
