//! The component's side: bindings, and the conversion of descriptions and results.

use crate::{Answer, Content, Description, Entry, Error, Places, Speculation};
use bindings::exports::forerun::tool::tools;

#[allow(missing_docs, unsafe_code, reason = "generated for the canonical ABI")]
pub mod bindings {
    wit_bindgen::generate!({
        world: "tool",
        path: "../../proto/wit",
        pub_export_macro: true,
    });
}

/// Answered, but not listed: the preopened directories, one a line. The daemon asks for
/// them when it starts, to see that a guest is given these and no others.
const PREOPENS: &str = "forerun:preopens";

/// The tools that a component offers.
pub trait Tools {
    /// In the order in which they are listed.
    const TOOLS: &'static [Entry];
}

impl<T: Tools> tools::Guest for T {
    fn list() -> Vec<tools::Tool> {
        crate::list(T::TOOLS).into_iter().map(describe).collect()
    }

    fn call(name: String, arguments: String) -> Result<tools::Output, String> {
        if name == PREOPENS {
            return Ok(text(preopens(), false));
        }
        let places = Places::new("/workspace".as_ref(), "/tmp".as_ref());
        match crate::call(T::TOOLS, &places, &name, &arguments) {
            Ok(answer) => Ok(output(answer)),
            Err(error @ (Error::UnknownTool(_) | Error::Arguments(_))) => Err(error.to_string()),
            Err(error) => Ok(text(error.to_string(), true)),
        }
    }
}

fn output(answer: Answer) -> tools::Output {
    tools::Output {
        content: answer
            .content
            .into_iter()
            .map(|content| match content {
                Content::Text(text) => tools::Content::Text(text),
                Content::Blob { mime_type, data } => {
                    tools::Content::Blob(tools::Blob { mime_type, data })
                }
            })
            .collect(),
        structured: answer.structured.map(|value| value.to_string()),
        is_error: false,
    }
}

fn text(text: String, is_error: bool) -> tools::Output {
    tools::Output {
        content: vec![tools::Content::Text(text)],
        structured: None,
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
        output_schema: tool.output_schema.map(|schema| schema.to_string()),
        annotations: tools::Annotations {
            read_only: tool.annotations.read_only,
            destructive: tool.annotations.destructive,
            idempotent: tool.annotations.idempotent,
            open_world: tool.annotations.open_world,
        },
        deterministic: tool.deterministic,
        speculation: match tool.speculation {
            Speculation::Never => tools::Speculation::Never,
            Speculation::Contained => tools::Speculation::Contained,
            Speculation::Pure => tools::Speculation::Pure,
        },
    }
}
