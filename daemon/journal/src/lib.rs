//! What Forerun remembers: sessions, their events, the deltas of sessions that are
//! committed at their end, commit intents, and the replies to calls that may be
//! repeated. One SQLite database in the daemon's state directory.
//!
//! ```text
//!   callers ── jobs ──▶ writer thread ──▶ one transaction for all that wait ──▶ fsync
//!      ▲                                                                         │
//!      └────────────────────────────── replies ◀────────────────────────────────┘
//!   readers: connections of their own, which never wait for the writer
//! ```
//!
//! - **Invariant:** a write has been synced when the call that made it returns, so what
//!   is shown to anybody after it survives a crash (WAL, `synchronous = FULL`).
//! - **Invariant:** a session's sequences start at 1 and have no gaps.
//! - **Invariant:** events form a keyed BLAKE3 chain per session, whose head is anchored
//!   in the session's row: a changed, removed or cut line shows ([`Journal::verify`]).
//!   The key lies beside the database, so this tells accidents and foreign hands apart
//!   from the daemon; it does not stop somebody who can read the key, nor one who puts a
//!   whole older copy of the database back.
//! - The journal never interprets what it keeps, never reads a clock, and never touches
//!   anything outside the state directory.

mod chain;
mod commits;
mod connection;
mod effects;
mod error;
mod events;
mod journal;
mod migrations;
mod record;
mod replies;
mod sessions;
mod state_dir;
mod writer;

pub use commits::{CommitRecord, StepIntents};
pub use effects::{EffectFate, EffectId, UnansweredEffect};
pub use error::JournalError;
pub use events::{Broken, Verification};
pub use journal::Journal;
pub use record::{CommitMode, SessionRecord, SessionState, TokenHashes};
pub use replies::Recall;
