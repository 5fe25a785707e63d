//! `stat`: what lies at a path.

use super::Kind;
use forerun_tool_kit::text::count;
use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool, kind,
};
use std::fs;
use std::io::ErrorKind;

/// Says what lies at a path: a file and its size, a directory and how many entries it has, a
/// symbolic link and its target, or nothing. Use it to see whether something exists, or how
/// large it is before reading it. Example: {"path": "Cargo.toml"}. A link is not followed.
/// No times or owners are shown. A path that does not exist is an answer, not an error.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stat {
    /// The path, relative to /workspace.
    #[schemars(length(min = 1))]
    path: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Status {
    path: String,
    exists: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<Kind>,
    /// The size of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// What is in a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<usize>,
    /// What a link points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl Tool for Stat {
    const NAME: &'static str = "stat";
    const TITLE: &'static str = "Look at a path";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Structured = Status;

    fn call(self, places: &Places) -> Result<Output<Status>, Error> {
        let place = places.find(&self.path)?;
        let mut status = Status {
            path: place.shown.clone(),
            exists: true,
            r#type: None,
            bytes: None,
            entries: None,
            target: None,
        };
        let metadata = match fs::symlink_metadata(&place.path) {
            Ok(metadata) => metadata,
            Err(error)
                if matches!(kind(&error), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                status.exists = false;
                return Ok(Output::new(
                    format!("{} does not exist", place.shown),
                    status,
                ));
            }
            Err(error) => return Err(Error::io("look at", &place.shown)(error)),
        };
        let found = Kind::of(&metadata);
        status.r#type = Some(found);
        let detail = match found {
            Kind::File => {
                status.bytes = Some(metadata.len());
                count(
                    usize::try_from(metadata.len()).unwrap_or(usize::MAX),
                    "byte",
                )
            }
            Kind::Directory => {
                let entries = fs::read_dir(&place.path)
                    .map_err(Error::io("list", &place.shown))?
                    .count();
                status.entries = Some(entries);
                match entries {
                    1 => "1 entry".into(),
                    _ => format!("{entries} entries"),
                }
            }
            Kind::Symlink => {
                let target = fs::read_link(&place.path).map_err(Error::io("read", &place.shown))?;
                let target = target.to_string_lossy().into_owned();
                status.target = Some(target.clone());
                format!("to {target}")
            }
        };
        Ok(Output::new(
            format!("{}: {}, {detail}", place.shown, found.name()),
            status,
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::tools::testing::Fixture;
    use serde_json::json;

    #[test]
    fn each_kind_is_told_with_what_matters_about_it() {
        let files = Fixture::new(&[("dir/a", "12"), ("dir/b", "")]);
        std::os::unix::fs::symlink("dir/a", files.path("link")).expect("linked");
        let text = |path| files.text("stat", &json!({"path": path}));
        assert_eq!(text("dir/a"), "dir/a: file, 2 bytes");
        assert_eq!(text("dir"), "dir: directory, 2 entries");
        assert_eq!(text("link"), "link: symlink, to dir/a");
        let answer = files
            .call("stat", &json!({"path": "dir/a"}))
            .expect("looks");
        assert_eq!(
            answer.structured,
            Some(json!({"path": "dir/a", "exists": true, "type": "file", "bytes": 2}))
        );
    }

    #[test]
    fn what_is_not_there_is_an_answer_and_what_lies_outside_an_error() {
        let files = Fixture::new(&[("a", "")]);
        let text = |path| files.text("stat", &json!({"path": path}));
        assert_eq!(text("none"), "none does not exist");
        assert_eq!(text("a/b"), "a/b does not exist");
        let error = files.error("stat", &json!({"path": "/etc/passwd"}));
        assert!(error.contains("outside of the workspace"), "{error}");
    }
}
