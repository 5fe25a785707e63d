//! A component that shows what a host does with it: `calls` makes raw calls of
//! `wasi:filesystem` and `wasi:io` from a script and writes down what each returns, the
//! others are work for measuring. It runs on any host that has WASI 0.2, so that two
//! hosts can be compared.

#[cfg(target_arch = "wasm32")]
mod calls;
#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(target_arch = "wasm32")]
mod work;
