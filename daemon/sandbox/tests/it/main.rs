//! Actions on real workspaces, through the public entry: the shipped tools, hostile
//! guests, path rules, repeatability, and comparisons with a real directory and with
//! stock wasmtime-wasi.

mod conformance;
mod escapes;
mod files;
mod fixture;
mod hostile;
mod kit;
mod limits;
mod query;
mod repeat;
mod rules;
mod scripts;
mod shell;
mod stock;
mod toolbox;
mod wasi;
