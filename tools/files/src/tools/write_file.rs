//! `write_file`: a whole file, new or replaced.

use crate::description::parse;
use crate::text::count;
use crate::{Annotations, Description, Error, Output, Places, Speculation, Tool};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;

pub(crate) const TOOL: Tool = Tool { describe, run };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    path: String,
    content: String,
}

fn describe() -> Description {
    Description {
        name: "write_file",
        title: "Write file",
        description: "Creates a file with the given text, or replaces all of an existing \
             one. Missing directories are made. Use edit_file to change a part of a file. \
             Example: {\"path\": \"docs/notes.md\", \"content\": \"# Notes\\n\"}. \
             The text is written exactly as given; end it with a newline where that is usual."
            .into(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "path": {"type": "string", "minLength": 1, "description": "The file, relative to /workspace."},
                "content": {"type": "string", "description": "The whole new text of the file."}
            },
            "required": ["path", "content"],
            "additionalProperties": false
        }),
        output_schema: json!({
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "bytes": {"type": "integer"},
                "created": {"type": "boolean"}
            },
            "required": ["path", "bytes", "created"]
        }),
        annotations: Annotations {
            read_only: false,
            destructive: true,
            idempotent: true,
        },
        speculation: Speculation::Contained,
    }
}

fn run(places: &Places, arguments: Value) -> Result<Output, Error> {
    let arguments: Arguments = parse(arguments)?;
    let place = places.find_within(&arguments.path)?;
    let created = fs::symlink_metadata(&place.path).is_err();
    if created {
        place.make_parents()?;
    }
    fs::write(&place.path, &arguments.content).map_err(Error::io("write", &place.shown))?;
    Ok(Output {
        text: format!(
            "{} {} ({})",
            if created { "created" } else { "replaced" },
            place.shown,
            count(arguments.content.len(), "byte")
        ),
        structured: json!({
            "path": place.shown,
            "bytes": arguments.content.len(),
            "created": created,
        }),
    })
}

#[cfg(test)]
mod tests {
    use crate::tools::testing::Fixture;
    use serde_json::json;

    #[test]
    fn a_file_is_created_with_its_directories_and_then_replaced() {
        let files = Fixture::new(&[]);
        let write = |content: &str| {
            files.text(
                "write_file",
                &json!({"path": "a/b/c.txt", "content": content}),
            )
        };
        assert_eq!(write("long text"), "created a/b/c.txt (9 bytes)");
        assert_eq!(write("x"), "replaced a/b/c.txt (1 byte)");
        assert_eq!(files.read("a/b/c.txt"), "x");
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let files = Fixture::new(&[("dir/a", ""), ("file", "")]);
        let error = |path| files.error("write_file", &json!({"path": path, "content": ""}));
        assert_eq!(error("dir"), "cannot write dir: it is a directory");
        assert!(
            error("file/x").contains("not a directory"),
            "{}",
            error("file/x")
        );
        assert!(error(".").contains("names the whole directory"));
        assert!(error("/etc/x").contains("outside of the workspace"));
    }
}
