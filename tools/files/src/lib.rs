//! The tools that read and change files, as one component.
//!
//! Plain `std::fs` over two directories, the workspace and the one for temporary files,
//! so that the logic runs and is tested natively too; `component` is the only part that
//! knows it is a component. What keeps a path inside is the sandbox. The checks here
//! exist for good messages.
//!
//! **Invariants.** The same arguments on the same files give the same output: listings
//! are sorted, and no time, inode or host path is shown. Every output is bounded, and
//! says so where it was cut.

#[cfg(target_arch = "wasm32")]
mod component;
mod description;
mod error;
mod places;
mod text;
mod tools;
mod walk;

pub use description::{Annotations, Description, Output, Speculation};
pub use error::Error;
pub use places::Places;

use serde_json::Value;

/// One tool: how it presents itself, and what it does.
pub(crate) struct Tool {
    pub(crate) describe: fn() -> Description,
    pub(crate) run: fn(&Places, Value) -> Result<Output, Error>,
}

/// All tools, by name.
const TOOLS: [(&str, Tool); 8] = [
    ("delete", tools::delete::TOOL),
    ("edit_file", tools::edit_file::TOOL),
    ("glob", tools::glob::TOOL),
    ("grep", tools::grep::TOOL),
    ("list_dir", tools::list_dir::TOOL),
    ("move", tools::move_path::TOOL),
    ("read_file", tools::read_file::TOOL),
    ("write_file", tools::write_file::TOOL),
];

/// The tools of this component, ordered by name.
pub fn list() -> Vec<Description> {
    TOOLS.iter().map(|(_, tool)| (tool.describe)()).collect()
}

/// Calls a tool. `arguments` is JSON text.
///
/// # Errors
/// What the tool could not do, or why it could not be called.
pub fn call(places: &Places, name: &str, arguments: &str) -> Result<Output, Error> {
    let (_, tool) = TOOLS
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| Error::UnknownTool(name.to_owned()))?;
    let arguments = serde_json::from_str(arguments).map_err(Error::arguments)?;
    (tool.run)(places, arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_listed_under_the_name_that_calls_it() {
        for (name, tool) in &TOOLS {
            assert_eq!(*name, (tool.describe)().name);
        }
    }

    #[test]
    fn every_schema_is_strict_and_every_argument_described() {
        for tool in list() {
            let schema = &tool.input_schema;
            assert_eq!(schema["additionalProperties"], false, "{}", tool.name);
            let properties = schema["properties"].as_object().expect("an object");
            assert!(!properties.is_empty(), "{}", tool.name);
            for (name, property) in properties {
                assert!(
                    property["description"].is_string(),
                    "{}: {name} has no description",
                    tool.name
                );
            }
            assert!(
                tool.description.contains("Example: {"),
                "{} shows no example",
                tool.name
            );
        }
    }

    #[test]
    fn the_example_of_every_description_is_accepted_as_arguments() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let places = Places::new(directory.path(), directory.path());
        for tool in list() {
            let (_, rest) = tool.description.split_once("Example: ").expect("present");
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            let example = values.next().expect("one value").expect("JSON");
            let result = call(&places, tool.name, &example.to_string());
            assert!(
                !matches!(result, Err(Error::Arguments(_))),
                "{}: {result:?}",
                tool.name
            );
        }
    }

    #[test]
    fn a_wrong_name_or_argument_is_refused() {
        let places = Places::new("/nonexistent".as_ref(), "/nonexistent".as_ref());
        assert!(matches!(
            call(&places, "read", "{}"),
            Err(Error::UnknownTool(_))
        ));
        assert!(matches!(
            call(&places, "read_file", r#"{"path":"a","colour":1}"#),
            Err(Error::Arguments(_))
        ));
        assert!(matches!(
            call(&places, "read_file", "{"),
            Err(Error::Arguments(_))
        ));
    }
}
