//! Tools as hosts are told of them: those of the toolbox, and what there is beside it.

use forerun_sdk::ToolDescription;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::Value;
use std::sync::Arc;

/// Shows what the session changed. A prompt, too.
pub(super) const DIFF: &str = "diff";
/// Takes steps back. A prompt, too.
pub(super) const UNDO: &str = "undo";

/// A tool of the toolbox, as hosts want it. Only what reads is called in parallel by them.
pub(super) fn described(tool: &ToolDescription) -> Tool {
    let object = |schema: &Value| Arc::new(schema.as_object().cloned().unwrap_or_default());
    let hints = &tool.annotations;
    let annotations = ToolAnnotations::new()
        .read_only(hints.read_only)
        .destructive(hints.destructive)
        .idempotent(hints.idempotent)
        .open_world(hints.open_world);
    // Without a schema of its output: what waits for the user has none.
    let described = Tool::new(
        tool.name.clone(),
        tool.description.clone(),
        object(&tool.input_schema),
    );
    described
        .with_title(tool.title.clone())
        .with_annotations(annotations)
}

/// What there is beside the toolbox.
pub(super) fn own_tools() -> [Tool; 2] {
    [
        Tool::new(
            DIFF,
            "Shows what was changed in this session, step by step.",
            schema(serde_json::json!({}), &[]),
        )
        .with_annotations(reads()),
        Tool::new(
            UNDO,
            "Takes the last steps of this session back. What somebody changed since is left \
             alone and named.",
            schema(
                serde_json::json!({ "steps": {
                    "type": "integer", "minimum": 1,
                    "description": "How many; 1 if it is not said.",
                } }),
                &[],
            ),
        )
        .with_annotations(
            ToolAnnotations::new()
                .read_only(false)
                .destructive(true)
                .idempotent(false)
                .open_world(false),
        ),
    ]
}

/// What a host calls to hear what became of a call that waited for the user.
pub(super) fn result_tool(name: &'static str) -> Tool {
    Tool::new(
        name,
        "The result of a call that waited for the user, once they decided.",
        schema(
            serde_json::json!({ "key": {
                "type": "string",
                "description": "The key that the call returned.",
            } }),
            &["key"],
        ),
    )
    .with_annotations(reads())
}

fn schema(properties: Value, required: &[&str]) -> Arc<JsonObject> {
    let schema = serde_json::json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    match schema {
        Value::Object(object) => Arc::new(object),
        _ => Arc::default(),
    }
}

fn reads() -> ToolAnnotations {
    ToolAnnotations::new().read_only(true).open_world(false)
}
