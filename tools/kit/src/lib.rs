//! For authors of tools: a struct of arguments and what is done with it become a tool,
//! a list of such tools a `forerun:tool` component.
//!
//! The schema of a tool's arguments is derived from the struct: doc comments are its
//! descriptions, `serde` and `schemars` attributes its rules. The same crate compiled
//! natively says what its tools are ([`Description`]) and can be tested without a
//! sandbox; only `component` knows it is a component. What an interpreter or another
//! large dependency is needed for belongs under `target_arch = "wasm32"`.
//!
//! `example/` is a whole tool. Its crate is a `cdylib` and an `rlib`; `cargo build --target
//! wasm32-wasip2` makes the component.

#[cfg(target_arch = "wasm32")]
pub mod component;
mod description;
mod error;
mod link;
mod places;
mod schema;
pub mod text;
mod tool;

pub use description::{Annotations, Description, Speculation};
pub use error::{Error, kind};
pub use link::symlink;
pub use places::{Place, Places};
pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use tool::{Answer, Content, Entry, Output, Tool, call, list};
