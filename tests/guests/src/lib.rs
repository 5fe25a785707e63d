//! Guests for tests: a component whose tools do what tools should not, and a program of
//! file operations that can run in a sandbox and on a real directory.

pub use forerun_hostile_guest::program;

/// The hostile component; its tools are named in `forerun_hostile_guest`.
pub const HOSTILE: &[u8] = include!(concat!(env!("OUT_DIR"), "/hostile.rs"));

/// A program; its arguments are what it does, see `tests/guests/command`.
pub const COMMAND: &[u8] = include!(concat!(env!("OUT_DIR"), "/command.rs"));
