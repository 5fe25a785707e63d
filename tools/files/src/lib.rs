//! The tools that read and change files, as one component.
//!
//! Plain `std::fs` over two directories, the workspace and the one for temporary files,
//! so that the logic runs and is tested natively too. What keeps a path inside is the
//! sandbox. The checks here exist for good messages.
//!
//! **Invariants.** The same arguments on the same files give the same output: listings
//! are sorted, and no time, inode or host path is shown. Every output is bounded, and
//! says so where it was cut.

mod tools;
mod walk;

forerun_tool_kit::export!(
    tools::copy::Copy,
    tools::delete::Delete,
    tools::edit_file::EditFile,
    tools::glob::Glob,
    tools::grep::Grep,
    tools::list_dir::ListDir,
    tools::make_dir::MakeDir,
    tools::move_path::Move,
    tools::read_file::ReadFile,
    tools::stat::Stat,
    tools::write_file::WriteFile,
);

#[cfg(test)]
mod tests {
    use super::*;
    use forerun_tool_kit::{Error, Places, call};
    use serde_json::Value;

    #[test]
    fn tools_are_listed_by_name() {
        let names: Vec<_> = list().into_iter().map(|tool| tool.name).collect();
        assert!(names.is_sorted(), "{names:?}");
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
            let result = call(TOOLS, &places, tool.name, &example.to_string());
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
            call(TOOLS, &places, "read", "{}"),
            Err(Error::UnknownTool(_))
        ));
        assert!(matches!(
            call(TOOLS, &places, "read_file", r#"{"path":"a","colour":1}"#),
            Err(Error::Arguments(_))
        ));
        assert!(matches!(
            call(TOOLS, &places, "read_file", "{"),
            Err(Error::Arguments(_))
        ));
    }
}
