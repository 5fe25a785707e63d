//! What a tool says about itself.

use serde_json::Value;

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
    /// JSON Schema of the structured output, if there is any.
    pub output_schema: Option<Value>,
    /// Hints about its effects.
    pub annotations: Annotations,
    /// Whether the same arguments on the same files always give the same.
    pub deterministic: bool,
    /// How it may run before its verdict.
    pub speculation: Speculation,
}

/// Hints of a tool about its effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Annotations {
    /// Leaves the workspace as it was.
    pub read_only: bool,
    /// May delete or overwrite.
    pub destructive: bool,
    /// A second call with the same arguments changes nothing more.
    pub idempotent: bool,
    /// Reaches beyond the workspace.
    pub open_world: bool,
}

impl Annotations {
    /// Those of a tool that only looks.
    pub const READ_ONLY: Annotations = Annotations {
        read_only: true,
        destructive: false,
        idempotent: true,
        open_world: false,
    };
    /// Those of a tool that may change everything in the workspace and nothing else.
    pub const CHANGES: Annotations = Annotations {
        read_only: false,
        destructive: true,
        idempotent: false,
        open_world: false,
    };
}

/// How a tool may run before its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speculation {
    /// Not at all.
    Never,
    /// On a branch that is committed or dropped.
    Contained,
    /// Changes nothing at all.
    Pure,
}
