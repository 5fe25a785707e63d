//! `forerun.v1`: the language between the daemon and everybody else.
//!
//! The protobuf sources are in `forerun/v1`; [`v1`] is generated from them when the crate
//! is built. Only the server and the SDK know gRPC, and even there wire types die at the
//! edge: [`conversions`] is the one place where they become `forerun-types` and back,
//! which is why this crate depends on that one. [`reason`] has the stable names of errors
//! that both sides use.
//!
//! **Invariants**
//! - A wire value that is not valid never becomes a value of `forerun-types`; the error
//!   names the field by its path.
//! - Every variant of `forerun-types` has a wire form, and comes back from it unchanged.

pub mod conversions;
pub mod reason;

use std::time::Duration;

/// The generated messages, clients and servers.
#[expect(
    missing_docs,
    reason = "generated; what is not evident from its name is documented in the .proto files"
)]
pub mod v1 {
    tonic::include_proto!("forerun.v1");
}

/// The descriptors of `forerun.v1`, encoded, as server reflection wants them.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/forerun.v1.descriptors.bin"));

/// The version of the protocol that this crate speaks. Another major version is refused.
pub const PROTOCOL: v1::ProtocolVersion = v1::ProtocolVersion { major: 1, minor: 0 };

/// How often a watcher is told that there is nothing new. One that has heard nothing for
/// three times as long takes its stream for broken and resumes.
pub const WATCH_HEARTBEAT: Duration = Duration::from_secs(10);

/// Most bytes of one message in either direction: room for a diff or a whole prefix, and
/// a bound on what a peer can make us allocate.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
