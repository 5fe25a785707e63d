//! The one place where kept machine code is taken back.

#![expect(
    unsafe_code,
    reason = "deserializing compiled code trusts it; the caller has checked whose it is"
)]

use wasmtime::Engine;
use wasmtime::component::Component;

/// Takes what [`Engine::precompile_component`] gave: here, in a process that we started, or
/// earlier. Bytes that were kept are taken only after their keyed digest was found right,
/// in memory, after they were read.
pub(super) fn load(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes are output of `Engine::precompile_component`, unchanged: they came
    // through a pipe from a process of this very program, or the caller has compared their
    // keyed digest, with a key that only this user can read; and it holds them in memory
    // where nobody else writes. Wasmtime itself refuses code of another
    // version or of other settings.
    unsafe { Component::deserialize(engine, code) }
}
