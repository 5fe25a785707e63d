//! The `run_javascript` tool: a script in a fresh JavaScript engine over the sandbox's
//! files.
//!
//! The engine is the `boa_engine` crate. Nothing outlives a call but files; memory and time
//! are the sandbox's limits. Output is bounded, and says so where it was cut.

#[cfg(target_arch = "wasm32")]
mod engine;

use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool,
};

/// Runs JavaScript (ECMAScript 2025, as a script) and returns what it logged and the value of
/// its last expression. Use it for calculation, data conversion and generated files that are
/// awkward in a shell. Functions over the workspace: `readFile(path)` returns the text,
/// `writeFile(path, text)` creates or replaces a file and makes missing directories,
/// `listDir(path)` returns the sorted names, directories ending in `/`; `console.log` prints.
/// Example: {"code": "const p = JSON.parse(readFile('package.json'));
/// Object.keys(p.dependencies).length"}. Promises are run to their end before it returns. No
/// modules, `require`, timers, network or Node.js API; no variable lasts until the next call,
/// files do. Log and value are cut after 64 KiB each. An uncaught exception is an error of
/// the tool; what was written before it stays.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "used in a sandbox")
)]
pub struct RunJavascript {
    /// The script.
    #[schemars(length(min = 1))]
    code: String,
}

/// What a script logged and returned.
#[derive(Serialize, JsonSchema)]
pub struct Ran {
    /// What `console.log` and its like printed.
    log: String,
    /// The value of the last expression, as JSON where it can be, else as it is printed.
    value: serde_json::Value,
}

impl Tool for RunJavascript {
    const NAME: &'static str = "run_javascript";
    const TITLE: &'static str = "Run JavaScript";
    const ANNOTATIONS: Annotations = Annotations::CHANGES;
    type Structured = Ran;

    fn call(self, places: &Places) -> Result<Output<Ran>, Error> {
        run(&self, places)
    }
}

forerun_tool_kit::export!(RunJavascript);

#[cfg(not(target_arch = "wasm32"))]
fn run(_: &RunJavascript, _: &Places) -> Result<Output<Ran>, Error> {
    Err(Error::Refused(
        "run_javascript runs in a sandbox only".into(),
    ))
}

#[cfg(target_arch = "wasm32")]
fn run(run: &RunJavascript, places: &Places) -> Result<Output<Ran>, Error> {
    engine::run(&run.code, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_has_an_example_that_is_accepted() {
        let tool = &list()[0];
        let (_, rest) = tool.description.split_once("Example: ").expect("present");
        let mut values = serde_json::Deserializer::from_str(rest).into_iter();
        let example: serde_json::Value = values.next().expect("one value").expect("JSON");
        let places = Places::new("/workspace".as_ref(), "/tmp".as_ref());
        let name = "run_javascript";
        let called = forerun_tool_kit::call(TOOLS, &places, name, &example.to_string());
        assert!(matches!(called, Err(Error::Refused(_))), "{called:?}");
    }
}
