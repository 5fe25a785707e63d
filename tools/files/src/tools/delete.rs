//! `delete`: a file, or a directory with all that is in it.

use super::Kind;
use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool, kind as kind_of,
};
use std::path::Path;
use std::{fs, io};

/// Deletes a file, a symbolic link (not what it points to), or an empty directory; with
/// `recursive` a directory and all that is in it. Example: {"path": "src/old.rs"}. A path
/// that does not exist is an error; /workspace itself cannot be deleted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delete {
    /// What to delete, relative to /workspace.
    #[schemars(length(min = 1))]
    path: String,
    /// Delete a directory with all that is in it.
    #[serde(default)]
    recursive: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Deleted {
    path: String,
    r#type: Kind,
}

impl Tool for Delete {
    const NAME: &'static str = "delete";
    const TITLE: &'static str = "Delete";
    const ANNOTATIONS: Annotations = Annotations::CHANGES;
    type Structured = Deleted;

    fn call(self, places: &Places) -> Result<Output<Deleted>, Error> {
        let place = places.find_within(&self.path)?;
        let metadata =
            fs::symlink_metadata(&place.path).map_err(Error::io("delete", &place.shown))?;
        let (kind, result) = if metadata.is_dir() {
            let removed = if self.recursive {
                remove_tree(&place.path)
            } else {
                fs::remove_dir(&place.path)
            };
            (Kind::Directory, removed)
        } else if metadata.is_symlink() {
            (Kind::Symlink, fs::remove_file(&place.path))
        } else {
            (Kind::File, fs::remove_file(&place.path))
        };
        result.map_err(|source| {
            if kind_of(&source) == std::io::ErrorKind::DirectoryNotEmpty && !self.recursive {
                Error::Refused(format!(
                    "cannot delete {}: the directory is not empty; set recursive to delete all of it",
                    place.shown
                ))
            } else {
                Error::io("delete", &place.shown)(source)
            }
        })?;
        Ok(Output::new(
            format!("deleted {} {}", kind.name(), place.shown),
            Deleted {
                path: place.shown,
                r#type: kind,
            },
        ))
    }
}

/// Removes a directory and all that is in it. Only one directory is open at a time, other
/// than in `remove_dir_all`: a tree may be deeper than there are handles. Safe with paths
/// because nobody else changes the sandbox's files meanwhile.
fn remove_tree(root: &Path) -> io::Result<()> {
    let mut unremoved = vec![root.to_owned()];
    while let Some(directory) = unremoved.last() {
        let entries: Vec<_> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
        let known = unremoved.len();
        for entry in entries {
            if entry.file_type()?.is_dir() {
                unremoved.push(entry.path());
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        if unremoved.len() == known
            && let Some(empty) = unremoved.pop()
        {
            fs::remove_dir(empty)?;
        }
    }
    Ok(())
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
    fn a_tree_is_deleted_whatever_is_in_it() {
        let files = Fixture::new(&[("a/b/c", ""), ("a/b/d/e", ""), ("a/f/g/h", ""), ("k", "")]);
        std::os::unix::fs::symlink("../k", files.path("a/link")).expect("linked");
        std::fs::create_dir(files.path("a/f/empty")).expect("created");
        files.text("delete", &json!({"path": "a", "recursive": true}));
        assert!(!files.path("a").exists());
        assert!(files.path("k").exists());
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
