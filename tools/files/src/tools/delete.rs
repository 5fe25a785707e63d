//! `delete`: a file, or a directory with all that is in it.

use crate::description::parse;
use crate::error::kind as kind_of;
use crate::{Annotations, Description, Error, Output, Places, Speculation, Tool};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;

pub(crate) const TOOL: Tool = Tool { describe, run };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    path: String,
    #[serde(default)]
    recursive: bool,
}

fn describe() -> Description {
    Description {
        name: "delete",
        title: "Delete",
        description: "Deletes a file, a symbolic link (not what it points to), or an empty \
             directory; with `recursive` a directory and all that is in it. \
             Example: {\"path\": \"src/old.rs\"}. \
             A path that does not exist is an error; /workspace itself cannot be deleted."
            .into(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "path": {"type": "string", "minLength": 1, "description": "What to delete, relative to /workspace."},
                "recursive": {"type": "boolean", "default": false, "description": "Delete a directory with all that is in it."}
            },
            "required": ["path"],
            "additionalProperties": false
        }),
        output_schema: json!({
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "type": {"enum": ["file", "directory", "symlink"]}
            },
            "required": ["path", "type"]
        }),
        annotations: Annotations {
            read_only: false,
            destructive: true,
            idempotent: false,
        },
        speculation: Speculation::Contained,
    }
}

fn run(places: &Places, arguments: Value) -> Result<Output, Error> {
    let arguments: Arguments = parse(arguments)?;
    let place = places.find_within(&arguments.path)?;
    let metadata = fs::symlink_metadata(&place.path).map_err(Error::io("delete", &place.shown))?;
    let (kind, result) = if metadata.is_dir() {
        let remove = if arguments.recursive {
            fs::remove_dir_all
        } else {
            fs::remove_dir
        };
        ("directory", remove(&place.path))
    } else if metadata.is_symlink() {
        ("symlink", fs::remove_file(&place.path))
    } else {
        ("file", fs::remove_file(&place.path))
    };
    result.map_err(|source| {
        if kind_of(&source) == std::io::ErrorKind::DirectoryNotEmpty && !arguments.recursive {
            Error::Refused(format!(
                "cannot delete {}: the directory is not empty; set recursive to delete all of it",
                place.shown
            ))
        } else {
            Error::io("delete", &place.shown)(source)
        }
    })?;
    Ok(Output {
        text: format!("deleted {kind} {}", place.shown),
        structured: json!({"path": place.shown, "type": kind}),
    })
}

#[cfg(test)]
mod tests {
    use crate::tools::testing::Fixture;
    use serde_json::json;

    #[test]
    fn files_and_empty_directories_are_deleted() {
        let files = Fixture::new(&[("a/b", "")]);
        assert_eq!(
            files.text("delete", &json!({"path": "a/b"})),
            "deleted file a/b"
        );
        assert_eq!(
            files.text("delete", &json!({"path": "a"})),
            "deleted directory a"
        );
        assert!(!files.path("a").exists());
    }

    #[test]
    fn a_full_directory_needs_recursive() {
        let files = Fixture::new(&[("a/b/c", "")]);
        assert!(
            files
                .error("delete", &json!({"path": "a"}))
                .contains("set recursive")
        );
        assert!(files.path("a/b/c").exists());
        files.text("delete", &json!({"path": "a", "recursive": true}));
        assert!(!files.path("a").exists());
    }

    #[test]
    fn a_link_is_deleted_and_not_what_it_points_to() {
        let files = Fixture::new(&[("dir/x", "")]);
        std::os::unix::fs::symlink("dir", files.path("link")).expect("linked");
        let call = json!({"path": "link", "recursive": true});
        assert_eq!(files.text("delete", &call), "deleted symlink link");
        assert!(files.path("dir/x").exists());
    }

    #[test]
    fn the_workspace_and_what_is_not_there_are_refused() {
        let files = Fixture::new(&[]);
        let all = json!({"path": "/workspace", "recursive": true});
        assert!(files.error("delete", &all).contains("whole directory"));
        assert!(
            files
                .error("delete", &json!({"path": "x"}))
                .contains("no such file")
        );
    }
}
