//! The Rust SDK of Forerun: finds or starts the daemon, opens sessions, attaches agents,
//! watches steps, interrupts; or acts through a session, for an agent that keeps its own
//! loop ([`Session::act`]).
//!
//! ```no_run
//! # use forerun_sdk::{Forerun, Role, Result, script::Script};
//! # async fn run() -> Result<()> {
//! let script = Script::load("demo.toml")?;
//! let daemon = Forerun::connect().await?;
//! let session = daemon.session("./site").policy("workspace-write").depth(4).open().await?;
//! session.attach(Role::Approximation, script.agent(Role::Approximation)).await?;
//! session.attach(Role::Target, script.agent(Role::Target)).await?;
//! let mut steps = session.steps();
//! while let Some(event) = steps.next().await {
//!     println!("{:?}", event?.kind);
//! }
//! # Ok(()) }
//! ```
//!
//! **Invariants**
//! - No type that is generated from the protocol is part of the public surface.
//! - Nothing is printed and no configuration file is read; the environment only where
//!   [`Connect`] and [`model::ModelAgent::from_env`] say so.
//! - Every stream takes itself up again after a broken connection, without losing or
//!   repeating anything.

mod act;
mod agent;
mod attach;
mod client;
mod connect;
mod endpoint;
mod error;
mod exec;
mod info;
pub mod model;
mod offer;
mod open;
mod policies;
pub mod script;
mod session;
mod tools;
mod watch;

pub use act::Act;
pub use agent::{Agent, AgentError, Candidate, Request};
pub use attach::{AttachOptions, Attachment};
pub use client::{DaemonStatus, Forerun, draw_key};
pub use connect::Connect;
pub use endpoint::{Endpoint, EndpointError, Locations};
pub use error::{Error, Refusal, Result};
pub use exec::{Exec, ExecEnded, ExecEvent, Running, Stdin};
pub use info::{
    Approval, AttachedAgent, CommitMode, Counts, DepthControl, DepthControlError, Finish, Finished,
    SessionInfo, SessionState, Timings, Window,
};
pub use offer::{Offer, OfferedTool, ToolCall};
pub use open::SessionBuilder;
pub use policies::{
    CheckedPolicy, Explained, PolicyChoice, PolicyDifference, PolicyExample, PolicyFinding,
    PolicyOrigin, PolicyProblem, PolicyQuestion, PolicySetInfo, PolicySets, PolicyText,
    PolicyWitness,
};
/// For the types of [`OfferedTool::typed`]: its derive needs the crate's name in scope.
pub use schemars;
pub use session::{Anew, Session, TakenBack, Tokens, VerifiedLog};
pub use tools::{AddTool, Added, Called, Tools};
pub use watch::Events;

pub use async_trait::async_trait;
pub use forerun_proto::conversions::{ConversionError, Seen};
pub use forerun_types::{
    ActOutcome, Acted, Action, AllowFor, ApprovalEnd, ApprovalId, ChangeKind, CommitId, Digest,
    EffectEnd, Entry, Event, EventKind, FileDiff, Hit, IdParseError, JsonError, LeftAlone, Limits,
    Matcher, NodeId, Observation, ObservationStatus, PathChange, Predictor, PrefixId, Role,
    SessionId, Sibling, Source, StepIndex, Time, ToolDescription, Touch, Undone, Usage, View,
};
