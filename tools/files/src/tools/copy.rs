//! `copy`: a file, or a directory with all that is in it.

use forerun_tool_kit::text::count;
use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Place, Places, Serialize, Tool, symlink,
};
use std::fs;
use std::path::{Path, PathBuf};

/// Most entries of a directory that is copied; stops a call from running for minutes.
const ENTRIES_MAX: usize = 20_000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Copy {
    /// What to copy, relative to /workspace.
    #[schemars(length(min = 1))]
    from: String,
    /// The path of the copy, relative to /workspace.
    #[schemars(length(min = 1))]
    to: String,
    /// Replace a file that is at `to`.
    #[serde(default)]
    overwrite: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Copied {
    from: String,
    to: String,
    files: usize,
    replaced: bool,
}

impl Tool for Copy {
    const NAME: &'static str = "copy";
    const TITLE: &'static str = "Copy";
    const ANNOTATIONS: Annotations = Annotations::CHANGES;
    type Structured = Copied;

    fn description() -> String {
        format!(
            "Copies a file, or a directory with all that is in it. `to` is the path of the \
             copy, not the directory to copy into; missing directories are made. Example: \
             {{\"from\": \"config/dev.toml\", \"to\": \"config/test.toml\"}}. An existing file at \
             `to` is replaced only with `overwrite`; an existing directory never. Symbolic \
             links inside a directory are copied as links. At most {ENTRIES_MAX} entries."
        )
    }

    fn call(self, places: &Places) -> Result<Output<Copied>, Error> {
        let from = places.find(&self.from)?;
        let to = places.find_within(&self.to)?;
        let refused = |reason: &str| {
            Error::Refused(format!(
                "cannot copy {} to {}: {reason}",
                from.shown, to.shown
            ))
        };
        let source = fs::metadata(&from.path).map_err(Error::io("copy", &from.shown))?;
        let existing = fs::symlink_metadata(&to.path).ok();
        if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(refused(
                "there is a directory; give the full path of the copy",
            ));
        }
        if existing.is_some() && (source.is_dir() || !self.overwrite) {
            return Err(refused(if source.is_dir() {
                "there is a file"
            } else {
                "it exists already; set overwrite to replace it"
            }));
        }
        // Looked at whole before anything is written: what is copied is what was there.
        let entries = if source.is_dir() {
            let entries = walk(&from.path).map_err(Error::io("read", &from.shown))?;
            if entries.len() > ENTRIES_MAX {
                return Err(refused(&format!("it has more than {ENTRIES_MAX} entries")));
            }
            entries
        } else {
            Vec::new()
        };
        to.make_parents()?;
        let files = if source.is_dir() {
            copy_tree(&from, &to, &entries)?
        } else {
            if from.shown == to.shown {
                return Err(refused("they are the same file"));
            }
            fs::copy(&from.path, &to.path).map_err(Error::io("write", &to.shown))?;
            1
        };
        Ok(Output::new(
            format!(
                "copied {} to {} ({})",
                from.shown,
                to.shown,
                count(files, "file")
            ),
            Copied {
                from: from.shown,
                to: to.shown,
                files,
                replaced: existing.is_some(),
            },
        ))
    }
}

/// Everything below, a directory before what is in it, until it is more than can be copied.
/// Only one directory is open at a time: a tree may be deeper than there are handles.
fn walk(root: &Path) -> std::io::Result<Vec<(PathBuf, fs::FileType)>> {
    let mut entries = Vec::new();
    let mut unread = vec![PathBuf::new()];
    while let Some(directory) = unread.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let (kind, path) = (entry.file_type()?, directory.join(entry.file_name()));
            if kind.is_dir() {
                unread.push(path.clone());
            }
            entries.push((path, kind));
            if entries.len() > ENTRIES_MAX {
                return Ok(entries);
            }
        }
    }
    Ok(entries)
}

fn copy_tree(
    from: &Place,
    to: &Place,
    entries: &[(PathBuf, fs::FileType)],
) -> Result<usize, Error> {
    let mut files = 0;
    fs::create_dir(&to.path).map_err(Error::io("make", &to.shown))?;
    for (relative, kind) in entries {
        let (source, target) = (from.path.join(relative), to.path.join(relative));
        let copied = if kind.is_dir() {
            fs::create_dir(&target)
        } else if kind.is_symlink() {
            fs::read_link(&source).and_then(|link| symlink(&link, &target))
        } else {
            files += 1;
            fs::copy(&source, &target).map(drop)
        };
        let shown = to.show_below(&relative.to_string_lossy());
        copied.map_err(Error::io("write", &shown))?;
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use crate::tools::testing::Fixture;
    use serde_json::json;

    #[test]
    fn a_file_is_copied_into_directories_that_are_made() {
        let files = Fixture::new(&[("a", "x")]);
        let call = json!({"from": "a", "to": "b/c"});
        assert_eq!(files.text("copy", &call), "copied a to b/c (1 file)");
        assert_eq!(
            (files.read("a"), files.read("b/c")),
            ("x".into(), "x".into())
        );
    }

    #[test]
    fn a_directory_is_copied_whole_even_into_itself() {
        let files = Fixture::new(&[("dir/a", "1"), ("dir/b/c", "2")]);
        std::os::unix::fs::symlink("a", files.path("dir/link")).expect("linked");
        assert_eq!(
            files.text("copy", &json!({"from": "dir", "to": "dir/b/copy"})),
            "copied dir to dir/b/copy (2 files)"
        );
        assert_eq!(files.read("dir/b/copy/b/c"), "2");
        let link = std::fs::read_link(files.path("dir/b/copy/link")).expect("a link");
        assert_eq!(link.to_str(), Some("a"));
        assert!(!files.path("dir/b/copy/b/copy").exists());
    }

    #[test]
    fn nothing_is_replaced_unasked_and_no_directory_ever() {
        let files = Fixture::new(&[("a", "new"), ("b", "old"), ("dir/x", "")]);
        let error = |from, to, overwrite| {
            files.error(
                "copy",
                &json!({"from": from, "to": to, "overwrite": overwrite}),
            )
        };
        assert!(error("a", "b", false).contains("set overwrite"));
        assert!(error("a", "dir", true).contains("there is a directory"));
        assert!(error("dir", "b", true).contains("there is a file"));
        assert!(error("a", "a", true).contains("same file"));
        assert!(error("none", "c", false).contains("no such file"));
        assert_eq!(files.read("a"), "new");
        files.text("copy", &json!({"from": "a", "to": "b", "overwrite": true}));
        assert_eq!(files.read("b"), "new");
    }
}
