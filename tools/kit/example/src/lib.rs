//! A whole tool component, as an example.

use forerun_tool_kit::{Annotations, Deserialize, Error, JsonSchema, Output, Places, Tool, text};

/// Counts the words of a text file. Example: {"path": "README.md"}.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CountWords {
    /// The file, relative to /workspace.
    path: String,
}

impl Tool for CountWords {
    const NAME: &'static str = "count_words";
    const TITLE: &'static str = "Count words";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Structured = usize;

    fn call(self, places: &Places) -> Result<Output<usize>, Error> {
        let text = text::read(&places.find(&self.path)?)?;
        let words = text.split_whitespace().count();
        Ok(Output::new(text::count(words, "word"), words))
    }
}

forerun_tool_kit::export!(CountWords);
