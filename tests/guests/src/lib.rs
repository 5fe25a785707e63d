//! Guests for tests: a component whose tools do what tools should not, a program of file
//! operations that can run in a sandbox and on a real directory, a component that shows
//! what its host does, and a program for `forerun exec`.

pub use forerun_hostile_guest::program;

/// The hostile component; its tools are named in `forerun_hostile_guest`.
pub const HOSTILE: &[u8] = include!(concat!(env!("OUT_DIR"), "/hostile.rs"));

/// The component that shows what its host does; see `forerun_probe_guest`.
pub const PROBE: &[u8] = include!(concat!(env!("OUT_DIR"), "/probe.rs"));

/// The example of the tool kit as a component.
pub const EXAMPLE: &[u8] = include!(concat!(env!("OUT_DIR"), "/example.rs"));

/// A program; its arguments are what it does, see `tests/guests/command`.
pub const COMMAND: &[u8] = include!(concat!(env!("OUT_DIR"), "/command.rs"));
