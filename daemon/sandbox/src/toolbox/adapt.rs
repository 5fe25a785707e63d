//! Programs for WASI 0.1, core modules, become components: the adapter of the Bytecode
//! Alliance, of wasmtime's own version, puts what they import in terms of WASI 0.2.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wit_component::ComponentEncoder;

/// How a WebAssembly module begins that is no component.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Whether it is a core module.
pub(super) fn is_module(wasm: &[u8]) -> bool {
    wasm.starts_with(CORE_MODULE)
}

/// The component of a core module.
///
/// # Errors
/// If it is no program for WASI 0.1.
pub(super) fn component(module: &[u8]) -> Result<Vec<u8>, String> {
    ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| {
            encoder.adapter(
                WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
            )
        })
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| format!("it is a core module, and no program for WASI 0.1: {error:#}"))
}
