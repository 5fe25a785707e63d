//! The daemon: sessions as actors, the gRPC services, configuration. The only place
//! where planner, sandboxes, snapshots, policy and journal meet.
//!
//! - [`serve`] runs it. Everything that it needs comes in as a [`Config`]; this crate
//!   reads no environment and prints nothing.
//! - `session` has the actor that drives one plan, `exec` what a person runs without one;
//!   `registry` has the tools that the user added, `client_tools` those that clients execute
//!   themselves, `policies` the policy sets;
//!   `services` is where wire types end;
//!   `error` is the one place where an error becomes a gRPC status.
//!
//! **Invariants**
//! - An event is durable before anybody sees it.
//! - No task waits for an agent, a sandbox or a client while it holds a session up: a
//!   slow, wrong or hostile peer costs its own session at most.
//! - Nothing here writes to a workspace; that is the committer's, in `forerun-snapshot`.

mod auth;
mod client_tools;
mod config;
mod daemon;
mod egress;
mod error;
mod exec;
mod experience;
mod foresight;
mod kept;
mod network;
mod policies;
mod registry;
mod services;
mod session;
mod socket;

pub use config::{AgentSettings, Config, ConfigError, DEPTH_MAX, Elsewhere, Settings};
pub use daemon::{ServeError, serve};
pub use forerun_sandbox::{COMPILE_BYTES, COMPILE_CPU_SECONDS, compile_process};
pub use socket::SocketError;
