//! `make_dir`: a directory, with those that it lies in.

use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool,
};
use std::fs;

/// Makes a directory, and the missing ones that it lies in. Seldom needed: write_file, copy
/// and move make missing directories themselves. Example: {"path": "tests/fixtures"}. A
/// directory that is there already is no error; a file at the path is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MakeDir {
    /// The directory, relative to /workspace.
    #[schemars(length(min = 1))]
    path: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Made {
    path: String,
    created: bool,
}

impl Tool for MakeDir {
    const NAME: &'static str = "make_dir";
    const TITLE: &'static str = "Make directory";
    const ANNOTATIONS: Annotations = Annotations {
        destructive: false,
        idempotent: true,
        ..Annotations::CHANGES
    };
    type Structured = Made;

    fn call(self, places: &Places) -> Result<Output<Made>, Error> {
        let place = places.find_within(&self.path)?;
        let created = match fs::metadata(&place.path) {
            Ok(metadata) if metadata.is_dir() => false,
            Ok(_) => {
                return Err(Error::Refused(format!(
                    "cannot make {}: there is a file",
                    place.shown
                )));
            }
            Err(_) => {
                place.make_parents()?;
                fs::create_dir(&place.path).map_err(Error::io("make", &place.shown))?;
                true
            }
        };
        let text = if created {
            format!("made {}", place.shown)
        } else {
            format!("{} is there already", place.shown)
        };
        Ok(Output::new(
            text,
            Made {
                path: place.shown,
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
    fn directories_are_made_with_their_parents_and_once() {
        let files = Fixture::new(&[]);
        let call = json!({"path": "a/b/c"});
        assert_eq!(files.text("make_dir", &call), "made a/b/c");
        assert!(files.path("a/b/c").is_dir());
        assert_eq!(files.text("make_dir", &call), "a/b/c is there already");
        assert_eq!(files.text("make_dir", &json!({"path": "d/"})), "made d");
    }

    #[test]
    fn a_file_is_not_in_the_way_silently() {
        let files = Fixture::new(&[("a", "x")]);
        assert_eq!(
            files.error("make_dir", &json!({"path": "a"})),
            "cannot make a: there is a file"
        );
        let error = files.error("make_dir", &json!({"path": "a/b"}));
        assert!(error.contains("not a directory"), "{error}");
        let error = files.error("make_dir", &json!({"path": "../out"}));
        assert!(error.contains("climbs out"), "{error}");
    }
}
