//! Guests for tests: a component whose tools do what tools should not, a program of file
//! operations that can run in a sandbox and on a real directory, and a component that
//! shows what its host does.

pub use forerun_hostile_guest::program;

/// The hostile component; its tools are named in `forerun_hostile_guest`.
pub const HOSTILE: &[u8] = include!(concat!(env!("OUT_DIR"), "/hostile.rs"));

<<<<<<< HEAD
/// A program; its arguments are what it does, see `tests/guests/command`.
pub const COMMAND: &[u8] = include!(concat!(env!("OUT_DIR"), "/command.rs"));
=======
/// The component that shows what its host does; see `forerun_probe_guest`.
pub const PROBE: &[u8] = include!(concat!(env!("OUT_DIR"), "/probe.rs"));
>>>>>>> 70a64ed (sandbox: 534 cases of wasi:filesystem against stock wasmtime-wasi, and what they found)
