//! The component's side: which tools there are.

#![expect(unsafe_code, reason = "generated bindings call the canonical ABI")]

use crate::{calls, work};
use bindings::exports::forerun::tool::tools;
use serde_json::Value;

mod bindings {
    wit_bindgen::generate!({
        world: "tool",
        path: "../../../proto/wit",
    });
}

struct Component;

bindings::export!(Component with_types_in bindings);

type Work = fn(&Value) -> String;

const TOOLS: &[(&str, Work)] = &[
    ("calls", |arguments| {
        calls::run(arguments["script"].as_str().unwrap_or_default())
    }),
    ("nothing", |_| String::new()),
    ("nine_operations", |_| work::nine_operations()),
    ("read_all", |_| work::read_all()),
    ("rewrite_all", |_| work::rewrite_all()),
    ("grep_all", |arguments| {
        work::grep_all(arguments["word"].as_str().unwrap_or_default())
    }),
    ("park", |_| work::park()),
];

impl tools::Guest for Component {
    fn list() -> Vec<tools::Tool> {
        TOOLS.iter().map(|(name, _)| tool(name)).collect()
    }

    fn call(name: String, arguments: String) -> Result<tools::Output, String> {
        let arguments = serde_json::from_str(&arguments).map_err(|error| error.to_string())?;
        let (_, work) = TOOLS
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or("no such tool")?;
        Ok(tools::Output {
            content: vec![tools::Content::Text(work(&arguments))],
            structured: None,
            is_error: false,
        })
    }
}

fn tool(name: &str) -> tools::Tool {
    tools::Tool {
        name: name.into(),
        title: name.into(),
        description: "shows what the host does".into(),
        input_schema: r#"{"type":"object"}"#.into(),
        output_schema: None,
        annotations: tools::Annotations {
            read_only: false,
            destructive: true,
            idempotent: false,
            open_world: false,
        },
        deterministic: false,
        speculation: tools::Speculation::Contained,
    }
}
