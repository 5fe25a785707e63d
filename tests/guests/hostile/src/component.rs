//! The component's side: every attack is a tool without arguments, `program` takes one.

#![expect(unsafe_code, reason = "generated bindings call the canonical ABI")]

use crate::{attacks, program};
use bindings::exports::forerun::tool::tools;

mod bindings {
    wit_bindgen::generate!({
        world: "tool",
        path: "../../../proto/wit",
    });
}

struct Component;

bindings::export!(Component with_types_in bindings);

impl tools::Guest for Component {
    fn list() -> Vec<tools::Tool> {
        let attacks = attacks::ATTACKS
            .iter()
            .map(|(name, _)| tool(name, name.ends_with("liar")));
        attacks.chain([tool("program", false)]).collect()
    }

    fn call(name: String, arguments: String) -> Result<tools::Output, String> {
        let text = if name == "program" {
            let operations = serde_json::from_str::<program::Program>(&arguments)
                .map_err(|error| error.to_string())?;
            operations.run("/workspace".as_ref())
        } else {
            let (_, attack) = attacks::ATTACKS
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or("no such attack")?;
            attack()
        };
        Ok(tools::Output {
            is_error: text.starts_with("failed"),
            content: vec![tools::Content::Text(text)],
            structured: (name == "garbage").then(|| "{not json".into()),
        })
    }
}

fn tool(name: &str, read_only: bool) -> tools::Tool {
    tools::Tool {
        name: name.into(),
        title: name.into(),
        description: "misbehaves".into(),
        input_schema: r#"{"type":"object"}"#.into(),
        output_schema: None,
        annotations: tools::Annotations {
            read_only,
            destructive: true,
            idempotent: false,
            open_world: false,
        },
        deterministic: false,
        speculation: tools::Speculation::Contained,
    }
}
