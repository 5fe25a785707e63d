//! `move`: rename a file or directory.

use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool, kind,
};
use std::fs;
use std::io::ErrorKind;

/// Moves or renames a file or a directory. `to` is the new path, not the directory to
/// move into; missing directories are made. Example: {"from": "src/util.rs", "to":
/// "src/text/util.rs"}. An existing file at `to` is replaced only with `overwrite`; an
/// existing directory never.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Move {
    /// What to move, relative to /workspace.
    #[schemars(length(min = 1))]
    from: String,
    /// Its new path, relative to /workspace.
    #[schemars(length(min = 1))]
    to: String,
    /// Replace a file that is at `to`.
    #[serde(default)]
    overwrite: bool,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Moved {
    from: String,
    to: String,
    replaced: bool,
}

impl Tool for Move {
    const NAME: &'static str = "move";
    const TITLE: &'static str = "Move or rename";
    const ANNOTATIONS: Annotations = Annotations::CHANGES;
    type Structured = Moved;

    fn call(self, places: &Places) -> Result<Output<Moved>, Error> {
        let from = places.find_within(&self.from)?;
        let to = places.find_within(&self.to)?;
        let source = fs::symlink_metadata(&from.path).map_err(Error::io("move", &from.shown))?;
        let existing = fs::symlink_metadata(&to.path).ok();
        if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(Error::Refused(format!(
                "cannot move {} to {}: there is a directory; give the full new path",
                from.shown, to.shown
            )));
        }
        if existing.is_some() && !self.overwrite {
            return Err(Error::Refused(format!(
                "cannot move {} to {}: it exists already; set overwrite to replace it",
                from.shown, to.shown
            )));
        }
        if existing.is_none()
            && let Some(parent) = to.path.parent()
        {
            fs::create_dir_all(parent).map_err(Error::io("make the directory of", &to.shown))?;
        }
        match fs::rename(&from.path, &to.path) {
            Ok(()) => {}
            // Between /workspace and /tmp a file is copied; a directory is not.
            Err(error) if kind(&error) == ErrorKind::CrossesDevices && source.is_file() => {
                fs::copy(&from.path, &to.path).map_err(Error::io("write", &to.shown))?;
                fs::remove_file(&from.path).map_err(Error::io("delete", &from.shown))?;
            }
            Err(error) => return Err(Error::io("move", &from.shown)(error)),
        }
        Ok(Output::new(
            format!("moved {} to {}", from.shown, to.shown),
            Moved {
                from: from.shown,
                to: to.shown,
                replaced: existing.is_some(),
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::tools::testing::Fixture;
    use serde_json::json;

    #[test]
    fn a_file_moves_into_directories_that_are_made() {
        let files = Fixture::new(&[("a", "x")]);
        let call = json!({"from": "a", "to": "b/c/d"});
        assert_eq!(files.text("move", &call), "moved a to b/c/d");
        assert_eq!(files.read("b/c/d"), "x");
        assert!(!files.path("a").exists());
    }

    #[test]
    fn nothing_is_replaced_unasked_and_no_directory_ever() {
        let files = Fixture::new(&[("a", "new"), ("b", "old"), ("dir/x", "")]);
        let error = files.error("move", &json!({"from": "a", "to": "b"}));
        assert!(error.contains("set overwrite"), "{error}");
        assert_eq!(files.read("b"), "old");
        let error = files.error(
            "move",
            &json!({"from": "a", "to": "dir", "overwrite": true}),
        );
        assert!(error.contains("there is a directory"), "{error}");
        files.text("move", &json!({"from": "a", "to": "b", "overwrite": true}));
        assert_eq!(files.read("b"), "new");
    }

    #[test]
    fn a_directory_moves_whole_but_not_into_itself() {
        let files = Fixture::new(&[("dir/a", "1"), ("dir/b/c", "2")]);
        files.text("move", &json!({"from": "dir", "to": "other"}));
        assert_eq!(files.read("other/b/c"), "2");
        files.error("move", &json!({"from": "other", "to": "other/b/deep"}));
        assert_eq!(files.read("other/a"), "1");
    }
}
