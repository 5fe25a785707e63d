//! The one place where kept machine code is taken back.

#![expect(
    unsafe_code,
    reason = "deserializing compiled code trusts it; the caller has checked whose it is"
)]

use wasmtime::Engine;
use wasmtime::component::Component;

/// Takes back what [`Component::serialize`] gave. Only for bytes whose keyed digest was
/// found right, in memory, after they were read.
pub(super) fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are output of `Component::serialize`, unchanged: the caller has
    // compared their keyed digest, with a key that only this user can read, and holds
    // them in memory where nobody else writes. Wasmtime itself refuses code of another
    // version or of other settings.
    unsafe { Component::deserialize(engine, code) }
}
