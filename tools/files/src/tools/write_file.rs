//! `write_file`: a whole file, new or replaced.

use forerun_tool_kit::text::count;
use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool,
};
use std::fs;

/// Creates a file with the given text, or replaces all of an existing one. Missing
/// directories are made. Use edit_file to change a part of a file. Example: {"path":
/// "docs/notes.md", "content": "# Notes\n"}. The text is written exactly as given; end it
/// with a newline where that is usual.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteFile {
    /// The file, relative to /workspace.
    #[schemars(length(min = 1))]
    path: String,
    /// The whole new text of the file.
    content: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Written {
    path: String,
    bytes: usize,
    created: bool,
}

impl Tool for WriteFile {
    const NAME: &'static str = "write_file";
    const TITLE: &'static str = "Write file";
    const ANNOTATIONS: Annotations = Annotations {
        idempotent: true,
        ..Annotations::CHANGES
    };
    type Structured = Written;

    fn call(self, places: &Places) -> Result<Output<Written>, Error> {
        let place = places.find_within(&self.path)?;
        let created = fs::symlink_metadata(&place.path).is_err();
        if created {
            place.make_parents()?;
        }
        fs::write(&place.path, &self.content).map_err(Error::io("write", &place.shown))?;
        Ok(Output::new(
            format!(
                "{} {} ({})",
                if created { "created" } else { "replaced" },
                place.shown,
                count(self.content.len(), "byte")
            ),
            Written {
                path: place.shown,
                bytes: self.content.len(),
                created,
            },
        ))
    }
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
