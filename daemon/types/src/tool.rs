//! How a tool presents itself.

use crate::{Digest, Hasher};
use serde::{Deserialize, Serialize};

/// A tool as agents, policies and people see it. Follows the Model Context Protocol's
/// tool object (2025-06-18), plus what speculation needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolDescription {
    /// The name that actions use.
    pub name: String,
    /// A short name for people.
    pub title: String,
    /// What it does, when to use it, an example, its limits: written for a model.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: serde_json::Value,
    /// JSON Schema of the structured output, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<serde_json::Value>,
    /// MCP's hints.
    pub annotations: Annotations,
    /// Whether the same arguments on the same state always return the same.
    pub deterministic: bool,
    /// Whether and how it may run before its verdict.
    pub speculation: Speculation,
    /// Digest of the component that implements it; of its description, if a client does.
    pub component: Digest,
    /// Whether a program of the owner's executes it, outside of every sandbox.
    #[serde(default)]
    pub client: bool,
}

/// Hints of a tool about itself. Each guards another hazard. `read_only` is enforced,
/// not believed: a delta of a read-only tool is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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

/// Whether and how a tool may run before its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Speculation {
    /// Not before the verdict.
    Never,
    /// On a branch that is committed or dropped.
    Contained,
    /// Changes nothing at all.
    Pure,
}

impl ToolDescription {
    /// Digest of a tool set, which every prefix contains: an agent that is shown other
    /// tools is asked another question.
    pub fn set_digest<'a>(tools: impl IntoIterator<Item = &'a ToolDescription>) -> Digest {
        let mut tools: Vec<_> = tools.into_iter().collect();
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        tools
            .iter()
            .fold(Hasher::new("forerun tool set v1"), |hasher, tool| {
                hasher
                    .field(&tool.name)
                    .field(&tool.description)
                    .field(tool.input_schema.to_string())
                    .digest(&tool.component)
            })
            .finish()
    }
}
