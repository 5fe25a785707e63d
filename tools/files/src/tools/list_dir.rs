//! `list_dir`: what is in a directory.

use crate::description::parse;
use crate::{Annotations, Description, Error, Output, Places, Speculation, Tool};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Most entries that are listed; stops a huge tree from filling an agent's context.
const ENTRIES_MAX: usize = 2_000;
/// Deepest listing.
const DEPTH_MAX: u32 = 8;

pub(crate) const TOOL: Tool = Tool { describe, run };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    depth: Option<u32>,
}

fn describe() -> Description {
    Description {
        name: "list_dir",
        title: "List directory",
        description: format!(
            "Lists a directory, one entry a line, ordered by name: directories end in `/`, \
             symbolic links show their target, files their size in bytes. Hidden and ignored \
             entries are shown. Use it to get an overview; glob finds files by name, grep by \
             content. Example: {{\"path\": \"src\", \"depth\": 2}}. \
             At most {ENTRIES_MAX} entries; the last line says if there are more."
        ),
        input_schema: json!({
            "type": "object",
            "properties": {
                "path": {"type": "string", "minLength": 1, "default": ".", "description": "The directory, relative to /workspace."},
                "depth": {"type": "integer", "minimum": 1, "maximum": DEPTH_MAX, "default": 1, "description": "How many levels to list."}
            },
            "additionalProperties": false
        }),
        output_schema: json!({
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "entries": {"type": "array", "items": {
                    "type": "object",
                    "properties": {
                        "path": {"type": "string"},
                        "type": {"enum": ["file", "directory", "symlink"]},
                        "bytes": {"type": "integer"}
                    },
                    "required": ["path", "type"]
                }},
                "truncated": {"type": "boolean"}
            },
            "required": ["path", "entries", "truncated"]
        }),
        annotations: Annotations::READ_ONLY,
        speculation: Speculation::Pure,
    }
}

struct Listing {
    lines: Vec<String>,
    entries: Vec<Value>,
    truncated: bool,
}

fn run(places: &Places, arguments: Value) -> Result<Output, Error> {
    let arguments: Arguments = parse(arguments)?;
    let place = places.find(arguments.path.as_deref().unwrap_or("."))?;
    let mut listing = Listing {
        lines: Vec::new(),
        entries: Vec::new(),
        truncated: false,
    };
    let depth = arguments.depth.unwrap_or(1).clamp(1, DEPTH_MAX);
    listing
        .add(&place.path, "", depth)
        .map_err(Error::io("list", &place.shown))?;
    let mut text = listing.lines.join("\n");
    if listing.truncated {
        text.push_str(&format!("\n[cut after {ENTRIES_MAX} entries]"));
    } else if text.is_empty() {
        text.push_str("[the directory is empty]");
    }
    Ok(Output {
        text,
        structured: json!({
            "path": place.shown,
            "entries": listing.entries,
            "truncated": listing.truncated,
        }),
    })
}

impl Listing {
    fn add(&mut self, directory: &Path, prefix: &str, depth: u32) -> std::io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        for name in names {
            if self.entries.len() >= ENTRIES_MAX {
                self.truncated = true;
                return Ok(());
            }
            let path = directory.join(&name);
            let shown = format!("{prefix}{name}");
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            if metadata.is_dir() {
                self.lines.push(format!("{shown}/"));
                self.entries
                    .push(json!({"path": shown, "type": "directory"}));
                if depth > 1 {
                    // A directory that cannot be read is shown and stays closed.
                    let _ = self.add(&path, &format!("{shown}/"), depth - 1);
                }
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).unwrap_or_default();
                self.lines.push(format!("{shown} -> {}", target.display()));
                self.entries.push(json!({"path": shown, "type": "symlink"}));
            } else {
                let bytes = metadata.len();
                self.lines.push(format!("{shown} ({bytes})"));
                self.entries
                    .push(json!({"path": shown, "type": "file", "bytes": bytes}));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::tools::testing::Fixture;
    use serde_json::json;

    #[test]
    fn entries_are_sorted_and_of_three_kinds() {
        let files = Fixture::new(&[("b.txt", "12"), ("a/deep/x", ""), (".hidden", "")]);
        std::os::unix::fs::symlink("b.txt", files.path("link")).expect("linked");
        assert_eq!(
            files.text("list_dir", &json!({})),
            ".hidden (0)\na/\nb.txt (2)\nlink -> b.txt"
        );
        assert_eq!(
            files.text("list_dir", &json!({"path": "a", "depth": 2})),
            "deep/\ndeep/x (0)"
        );
    }

    #[test]
    fn a_huge_directory_is_cut() {
        let files = Fixture::new(&[]);
        for index in 0..2_001 {
            std::fs::write(files.path(&format!("{index:05}")), "").expect("written");
        }
        let output = files.call("list_dir", &json!({})).expect("lists");
        assert!(output.text.ends_with("[cut after 2000 entries]"));
        assert_eq!(output.structured["truncated"], true);
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let files = Fixture::new(&[("a", "")]);
        assert!(
            files
                .error("list_dir", &json!({"path": "a"}))
                .contains("not a directory")
        );
        assert!(
            files
                .error("list_dir", &json!({"path": "b"}))
                .contains("no such file")
        );
        assert!(
            files
                .error("list_dir", &json!({"path": "/"}))
                .contains("outside")
        );
    }
}
