//! Tools for this crate's tests: those that are shipped, in outline, and made-up ones.

use crate::{Layer, LoadOptions, PolicySet};
use forerun_types::{Annotations, Digest, Speculation, ToolDescription};
use serde_json::{Value, json};

/// A tool that works on the workspace.
pub(crate) fn tool(name: &str, input_schema: Value) -> ToolDescription {
    ToolDescription {
        name: name.to_owned(),
        title: name.to_owned(),
        description: String::new(),
        input_schema,
        output_schema: None,
        annotations: Annotations::default(),
        deterministic: true,
        speculation: Speculation::Contained,
        component: Digest::of(name),
        client: false,
    }
}

/// The shipped tools.
pub(crate) fn toolbox() -> Vec<ToolDescription> {
    let text = |names: &[&str]| {
        let properties = names
            .iter()
            .map(|name| ((*name).to_owned(), json!({ "type": "string" })));
        let properties: serde_json::Map<_, _> = properties.collect();
        json!({ "type": "object", "required": names, "properties": properties })
    };
    vec![
        tool("read_file", text(&["path"])),
        tool("list_dir", text(&["path"])),
        tool("glob", text(&["pattern"])),
        tool("grep", text(&["pattern"])),
        tool("write_file", text(&["path", "content"])),
        tool("edit_file", text(&["path"])),
        tool("delete", text(&["path"])),
        tool("move", text(&["from", "to"])),
    ]
}

/// A set of nothing but this, over the shipped tools, which has to be valid.
pub(crate) fn set(source: &str) -> PolicySet {
    let own = Layer {
        name: "test".to_owned(),
        source: source.to_owned(),
    };
    PolicySet::of_layers(own, &[], &toolbox(), &LoadOptions::default())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The problems of a set over the shipped tools, which has to have some.
pub(crate) fn problems(source: &str) -> Vec<crate::Problem> {
    match PolicySet::load("test", source, &toolbox()) {
        Err(crate::PolicyError::Invalid { problems, .. }) => problems,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the set was loaded"),
    }
}
