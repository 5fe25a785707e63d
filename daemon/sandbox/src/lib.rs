//! Runs one action: a tool component in a fresh WebAssembly instance, on a branch of a
//! snapshot of the workspace.
//!
//! [`Sandboxes::run`] takes a [`Run`] (an action, the snapshot it builds on, limits,
//! clock, seed, path rules) and answers with a [`Done`] (the observation, the child
//! snapshot, digests). Both are plain data that can be serialised, so that sandboxes can
//! move into processes of their own.
//!
//! **Invariants**
//! - No instance outlives its action, and none is used twice: all state is in the
//!   snapshot, so all state can be rolled back.
//! - No path of a guest reaches the host. `fs::resolve` takes every path apart; a branch
//!   only ever gets single names. This crate never writes to the workspace: it has no
//!   access to the committer.
//! - The same action on the same snapshot with the same clock and seed gives the same
//!   observation and the same changes.
//! - Every limit ends in an observation that names it. A guest can stop itself, never
//!   the daemon.
//! - Nothing that comes from elsewhere is ever loaded as machine code (`cache`).
//!
//! # What a waiting sandbox takes
//!
//! 77 KiB of resident memory, with 1,000 that sleep at once (`tests/steady.rs`): the pages
//! that the guest has written to in its linear memory (data, heap and stack; what it only
//! reads is shared with the image), the pages of its stacks for calls, and its store, table
//! and two branches. It has no thread and no descriptor. When it ends, its slot keeps what
//! it touched for the next one. The kernel's limit on mappings is the limit on their
//! number: 1,023 at once where `vm.max_map_count` is as it comes (`engine::slots`).

mod cache;
mod config;
mod engine;
mod executor;
mod fs;
mod guest;
mod instance;
mod outcome;
mod registry;
mod run;
mod sandboxes;
mod self_check;
mod time;
mod toolbox;

pub use cache::{COMPILE_BYTES, COMPILE_CPU_SECONDS, compile_process};
pub use config::{ComponentSource, SandboxConfig, StartError};
pub use engine::engine_settings;
pub use guest::{PipeReader, PipeWriter, pipe};
pub use run::{
    Command, Digests, Done, EgressAnswer, EgressRefusal, Exec, Execution, Outgoing, Program, Run,
    RunUsage, Streams,
};
pub use sandboxes::Sandboxes;
pub use toolbox::{LoadError, Toolbox};
pub use wasmtime_wasi_io::bytes::Bytes;
