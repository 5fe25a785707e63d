//! The `query` tool: JSON through a filter in the jq language.
//!
//! The language is the `jaq` crates'. It only reads: a file of the workspace, or what is
//! given. Output is bounded, also for a filter that never ends.

#[cfg(target_arch = "wasm32")]
mod filter;

use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool,
};
use serde_json::Value;

/// Bytes of results that are returned.
#[cfg(target_arch = "wasm32")]
const RESULT_BYTES_MAX: usize = 64 << 10;

/// Filters JSON with the jq language and returns the results, one a line. Use it to take
/// values out of JSON files (package.json, lock files, API answers, JSON lines) instead of
/// reading them whole. Example: {"filter": ".dependencies | keys[]", "path": "package.json",
/// "raw": true}. Give either `path` or `input`; several values in a row (JSON lines) are
/// filtered one after the other, or together as one array with `slurp`. It changes no file.
/// No modules, `input`, `env` or files inside the filter. At most 64 KiB of results; a last
/// line says if there are more.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "used in a sandbox")
)]
pub struct Query {
    /// The filter, in the jq language.
    #[schemars(length(min = 1))]
    filter: String,
    /// The JSON file, relative to /workspace.
    #[schemars(length(min = 1))]
    path: Option<String>,
    /// The JSON itself, as text, instead of a file.
    input: Option<String>,
    /// Show strings without quotes and escapes.
    #[serde(default)]
    raw: bool,
    /// Filter all values of the input as one array.
    #[serde(default)]
    slurp: bool,
}

/// What a filter returned.
#[derive(Serialize, JsonSchema)]
pub struct Results {
    /// In order.
    results: Vec<Value>,
    /// Whether there are more.
    truncated: bool,
}

impl Tool for Query {
    const NAME: &'static str = "query";
    const TITLE: &'static str = "Query JSON";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Structured = Results;

    fn call(self, places: &Places) -> Result<Output<Results>, Error> {
        run(&self, places)
    }
}

forerun_tool_kit::export!(Query);

#[cfg(not(target_arch = "wasm32"))]
fn run(_: &Query, _: &Places) -> Result<Output<Results>, Error> {
    Err(Error::Refused("query runs in a sandbox only".into()))
}

#[cfg(target_arch = "wasm32")]
fn run(query: &Query, places: &Places) -> Result<Output<Results>, Error> {
    let (shown, text) = match (&query.path, &query.input) {
        (Some(path), None) => {
            let place = places.find(path)?;
            let text = forerun_tool_kit::text::read(&place)?;
            (place.shown, text)
        }
        (None, Some(input)) => ("the input".to_owned(), input.clone()),
        _ => return Err(Error::Refused("give either `path` or `input`".into())),
    };
    let found = filter::run(
        &query.filter,
        &shown,
        &text,
        query.slurp,
        query.raw,
        RESULT_BYTES_MAX,
    )
    .map_err(Error::Refused)?;
    let mut lines = found.lines;
    let truncated = found.truncated;
    if truncated {
        lines.push(format!(
            "[cut after {} KiB; narrow the filter]",
            RESULT_BYTES_MAX >> 10
        ));
    } else if lines.is_empty() {
        lines.push("[no results]".into());
    }
    Ok(Output::new(
        lines.join("\n"),
        Results {
            results: found.values,
            truncated,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_an_example_that_is_accepted() {
        let tool = &list()[0];
        let (_, rest) = tool.description.split_once("Example: ").expect("present");
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let example = values.next().expect("one value").expect("JSON");
        let places = Places::new("/workspace".as_ref(), "/tmp".as_ref());
        let called = forerun_tool_kit::call(TOOLS, &places, "query", &example.to_string());
        assert!(matches!(called, Err(Error::Refused(_))), "{called:?}");
        assert_eq!(tool.input_schema["required"], serde_json::json!(["filter"]));
    }
}
