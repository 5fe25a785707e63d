//! Core modules for WASI 0.1 become components: the adapters of the Bytecode Alliance, of
//! wasmtime's own version, put what they import in terms of WASI 0.2.
//!
//! A program says what it is by its imports and its `_start`. A module with tools has to
//! carry its interface in a custom section, which the generators of bindings put there.

use std::borrow::Cow;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

/// How a WebAssembly module begins that is no component.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// What a core module has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A program, with `_start`.
    Program,
    /// A library that exports `forerun:tool/tools`.
    Tools,
}

/// The component of a core module; what is none is left as it is.
///
/// # Errors
/// If it is a core module, but not of that kind.
pub(super) fn component(wasm: &[u8], kind: Kind) -> Result<Cow<'_, [u8]>, String> {
    if !wasm.starts_with(CORE_MODULE) {
        return Ok(Cow::Borrowed(wasm));
    }
    let (adapter, missing) = match kind {
        Kind::Program => (
            WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
            "no program for WASI 0.1",
        ),
        Kind::Tools => (
            WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            "none that carries the interface forerun:tool",
        ),
    };
    ComponentEncoder::default()
        .module(wasm)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter))
        .and_then(|encoder| encoder.validate(true).encode())
        .map(Cow::Owned)
        .map_err(|error| format!("it is a core module, and {missing}: {error:#}"))
}
