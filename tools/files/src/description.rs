//! What a tool says about itself, and what a call of it returns.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Error;

/// How a tool presents itself to agents and people.
#[derive(Clone, Debug)]
pub struct Description {
    /// What calls use.
    pub name: &'static str,
    /// A short name for people.
    pub title: &'static str,
    /// What it does, when to use it, an example, its limits.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// JSON Schema of the structured output.
    pub output_schema: Value,
    /// Hints about its effects.
    pub annotations: Annotations,
    /// How it may run before its verdict.
    pub speculation: Speculation,
}

/// Hints of a tool about its effects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Annotations {
    /// Leaves the workspace as it was.
    pub read_only: bool,
    /// May delete or overwrite.
    pub destructive: bool,
    /// A second call with the same arguments changes nothing more.
    pub idempotent: bool,
}

impl Annotations {
    /// Those of a tool that only looks.
    pub(crate) const READ_ONLY: Annotations = Annotations {
        read_only: true,
        destructive: false,
        idempotent: true,
    };
}

/// How a tool may run before its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speculation {
    /// On a branch that is committed or dropped.
    Contained,
    /// Changes nothing at all.
    Pure,
}

/// What a call returned.
#[derive(Clone, Debug)]
pub struct Output {
    /// The result for a reader.
    pub text: String,
    /// The result for a program, as the tool's output schema says.
    pub structured: Value,
}

/// Reads a tool's arguments.
pub(crate) fn parse<T: DeserializeOwned>(arguments: Value) -> Result<T, Error> {
    serde_json::from_value(arguments).map_err(Error::arguments)
}
