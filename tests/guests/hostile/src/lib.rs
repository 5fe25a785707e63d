//! A component whose tools misbehave, one way each, and one tool that runs a program of
//! file operations. Tests look at what the sandbox makes of them.

#[cfg(target_arch = "wasm32")]
mod attacks;
#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(target_arch = "wasm32")]
mod network;
pub mod program;
