//! Decides what a session does next: which agent is asked, which action is executed,
//! decided, presented, verified or squashed, and when.
//!
//! A pure state machine. The server feeds it [`Input`]s and [`Interrupt`]s with a time
//! stamp; it answers with [`Effect`]s that carry ids, never trajectories. The daemon,
//! the simulator and every test drive the same code.
//!
//! **Invariant:** no clock, no randomness, no I/O, no `async`. The same inputs at the same
//! times give the same effects.
//! **Invariant:** an answer counts only on the prefix that it was asked on.
//! **Invariant:** steps are decided, presented and retired in order, without gaps.
//! **Invariant:** every call and every execution ends exactly once.
//!
//! [`machine`](Planner) has the diagram and the transitions in words.

#![forbid(unsafe_code)]

mod admission;
mod agents;
mod clockwork;
mod config;
mod depth;
mod effect;
mod input;
mod interrupt;
mod ledger;
mod machine;
mod presentation;
mod status;
mod tree;
mod window;

pub use admission::{Admission, StepFacts, StepPhase};
pub use config::{Config, Window};
pub use depth::{DepthControl, Experience, Tau, TauError};
pub use effect::{Effect, EndReason, Pair, Presented};
pub use input::{Candidate, Failure, Input, Outcome, Rehashed, RetireResult, Undone};
pub use interrupt::{Interrupt, Refusal, Seen};
pub use machine::Planner;
pub use status::{Counters, State, StepView};
