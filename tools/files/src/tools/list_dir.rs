//! `list_dir`: what is in a directory.

use super::Kind;
use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool,
};
use std::fs;
use std::path::Path;

/// Most entries that are listed; stops a huge tree from filling an agent's context.
const ENTRIES_MAX: usize = 2_000;
/// Deepest listing.
const DEPTH_MAX: u32 = 8;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListDir {
    /// The directory, relative to /workspace.
    #[serde(default = "super::here")]
    #[schemars(length(min = 1))]
    path: String,
    /// How many levels to list.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = DEPTH_MAX))]
    depth: u32,
}

fn one() -> u32 {
    1
}

#[derive(Serialize, JsonSchema)]
struct Entry {
    path: String,
    r#type: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Listed {
    path: String,
    entries: Vec<Entry>,
    truncated: bool,
}

impl Tool for ListDir {
    const NAME: &'static str = "list_dir";
    const TITLE: &'static str = "List directory";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Structured = Listed;

    fn description() -> String {
        format!(
            "Lists a directory, one entry a line, ordered by name: directories end in `/`, \
             symbolic links show their target, files their size in bytes. Hidden and ignored \
             entries are shown. Use it to get an overview; glob finds files by name, grep by \
             content. Example: {{\"path\": \"src\", \"depth\": 2}}. \
             At most {ENTRIES_MAX} entries; the last line says if there are more."
        )
    }

    fn call(self, places: &Places) -> Result<Output<Listed>, Error> {
        let place = places.find(&self.path)?;
        let mut listing = Listing {
            lines: Vec::new(),
            entries: Vec::new(),
            truncated: false,
        };
        let depth = self.depth.clamp(1, DEPTH_MAX);
        listing
            .add(&place.path, "", depth)
            .map_err(Error::io("list", &place.shown))?;
        let mut text = listing.lines.join("\n");
        if listing.truncated {
            text.push_str(&format!("\n[cut after {ENTRIES_MAX} entries]"));
        } else if text.is_empty() {
            text.push_str("[the directory is empty]");
        }
        Ok(Output::new(
            text,
            Listed {
                path: place.shown,
                entries: listing.entries,
                truncated: listing.truncated,
            },
        ))
    }
}

struct Listing {
    lines: Vec<String>,
    entries: Vec<Entry>,
    truncated: bool,
}

impl Listing {
    fn push(&mut self, path: String, r#type: Kind, bytes: Option<u64>) {
        self.entries.push(Entry {
            path,
            r#type,
            bytes,
        });
    }

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
                self.push(shown.clone(), Kind::Directory, None);
                if depth > 1 {
                    // A directory that cannot be read is shown and stays closed.
                    let _ = self.add(&path, &format!("{shown}/"), depth - 1);
                }
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).unwrap_or_default();
                self.lines.push(format!("{shown} -> {}", target.display()));
                self.push(shown, Kind::Symlink, None);
            } else {
                let bytes = metadata.len();
                self.lines.push(format!("{shown} ({bytes})"));
                self.push(shown, Kind::File, Some(bytes));
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
        assert!(output.text().ends_with("[cut after 2000 entries]"));
        assert_eq!(
            output.structured.as_ref().expect("structured")["truncated"],
            true
        );
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
