//! The component's side: bindings, and the conversion of descriptions and results.

#![expect(unsafe_code, reason = "generated bindings call the canonical ABI")]

use crate::{Description, Output, Places, Speculation};
use bindings::exports::forerun::tool::tools;

mod bindings {
    wit_bindgen::generate!({
        world: "tool",
        path: "../../proto/wit",
    });
}

/// Answered, but not listed: the preopened directories, one a line. The daemon asks for
/// them when it starts, to see that a guest is given these and no others.
const PREOPENS: &str = "forerun:preopens";

struct Component;

bindings::export!(Component with_types_in bindings);

impl tools::Guest for Component {
    fn list() -> Vec<tools::Tool> {
        crate::list().into_iter().map(describe).collect()
    }

    fn call(name: String, arguments: String) -> Result<tools::Output, String> {
        if name == PREOPENS {
            return Ok(text(preopens(), None, false));
        }
        let places = Places::new("/workspace".as_ref(), "/tmp".as_ref());
        match crate::call(&places, &name, &arguments) {
            Ok(Output {
                text: result,
                structured,
            }) => Ok(text(result, Some(structured.to_string()), false)),
            Err(error @ (crate::Error::UnknownTool(_) | crate::Error::Arguments(_))) => {
                Err(error.to_string())
            }
            Err(error) => Ok(text(error.to_string(), None, true)),
        }
    }
}

fn text(text: String, structured: Option<String>, is_error: bool) -> tools::Output {
    tools::Output {
        content: vec![tools::Content::Text(text)],
        structured,
        is_error,
    }
}

fn preopens() -> String {
    let mut names: Vec<String> = wasip2::filesystem::preopens::get_directories()
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    names.sort_unstable();
    names.join("\n")
}

fn describe(tool: Description) -> tools::Tool {
    tools::Tool {
        name: tool.name.to_owned(),
        title: tool.title.to_owned(),
        description: tool.description,
        input_schema: tool.input_schema.to_string(),
        output_schema: Some(tool.output_schema.to_string()),
        annotations: tools::Annotations {
            read_only: tool.annotations.read_only,
            destructive: tool.annotations.destructive,
            idempotent: tool.annotations.idempotent,
            open_world: false,
        },
        deterministic: true,
        speculation: match tool.speculation {
            Speculation::Contained => tools::Speculation::Contained,
            Speculation::Pure => tools::Speculation::Pure,
        },
    }
}
