//! The one unsafe line of this crate: a child that is to outlive us gets a session of
//! its own, so that no signal of our terminal reaches it.

#![expect(
    unsafe_code,
    reason = "running code between fork and exec is unsafe by nature; std has no safe setsid yet"
)]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The child that `command` starts will lead a session of its own.
pub(super) fn into_own_session(command: &mut Command) -> &mut Command {
    let setsid = || nix::unistd::setsid().map(drop).map_err(io::Error::from);
    // SAFETY: the closure runs in the child between fork and exec, where only what is
    // async-signal-safe may be called. It calls setsid(2), which is, and turns an errno
    // into an `io::Error`, which does not allocate; it takes no lock and captures nothing.
    unsafe { command.pre_exec(setsid) }
}
