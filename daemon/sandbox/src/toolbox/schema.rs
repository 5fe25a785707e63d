//! Checks arguments against a tool's JSON Schema, before anything is started.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Problems that are reported at once.
const PROBLEMS_MAX: usize = 5;
/// Where the description of a problem is cut; it may repeat the offending value.
const PROBLEM_CHARS_MAX: usize = 300;

/// A compiled schema.
pub(crate) struct Schema(Validator);

impl Schema {
    /// Compiles a schema of draft 2020-12. References lead nowhere outside of it, and
    /// patterns run in linear time: a component is not trusted.
    pub(crate) fn new(schema: &Value) -> Result<Schema, String> {
        if !schema.is_object() {
            return Err("it is not an object".into());
        }
        jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .build(schema)
            .map(Schema)
            .map_err(|error| error.to_string())
    }

    /// # Errors
    /// What is wrong, each problem with the JSON path of where.
    pub(crate) fn check(&self, arguments: &Value) -> Result<(), String> {
        let mut problems = self.0.iter_errors(arguments).map(|error| {
            let text = error.to_string();
            let text: String = match text.char_indices().nth(PROBLEM_CHARS_MAX) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            };
            format!("at ${}: {text}", path(error.instance_path().as_str()))
        });
        let shown: Vec<String> = problems.by_ref().take(PROBLEMS_MAX).collect();
        if shown.is_empty() {
            return Ok(());
        }
        let more = problems.count();
        let mut text = shown.join("; ");
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        Err(text)
    }
}

/// A JSON pointer (`/a/0/b`) as a path (`.a[0].b`).
fn path(pointer: &str) -> String {
    pointer
        .split('/')
        .skip(1)
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .map(|part| {
            if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
                format!("[{part}]")
            } else {
                format!(".{part}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Schema {
        Schema::new(&json!({
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "edits": {"type": "array", "items": {"type": "object", "properties": {"line": {"type": "integer"}}}}
            },
            "required": ["path"],
            "additionalProperties": false
        }))
        .expect("valid")
    }

    #[test]
    fn each_problem_names_its_place() {
        schema().check(&json!({"path": "a"})).expect("valid");
        let problem = |value| schema().check(&value).expect_err("refused");
        assert_eq!(
            problem(json!({"path": 1})),
            "at $.path: 1 is not of type \"string\""
        );
        assert!(problem(json!({})).starts_with("at $: \"path\" is a required property"));
        let nested = problem(json!({"path": "a", "edits": [{}, {"line": "x"}]}));
        assert!(nested.starts_with("at $.edits[1].line:"), "{nested}");
        assert!(problem(json!({"path": "a", "colour": 1})).contains("'colour'"));
        assert!(problem(json!([])).starts_with("at $:"));
    }

    #[test]
    fn a_huge_value_is_not_repeated_whole() {
        assert!(
            schema()
                .check(&json!({"path": vec!["x"; 10_000]}))
                .expect_err("refused")
                .len()
                < 500
        );
    }

    #[test]
    fn what_is_no_schema_or_reaches_out_is_refused() {
        assert!(Schema::new(&json!([])).is_err());
        assert!(Schema::new(&json!({"type": "nonsense"})).is_err());
        assert!(Schema::new(&json!({"$ref": "https://example.com/schema.json"})).is_err());
        assert!(Schema::new(&json!({"$ref": "file:///etc/passwd"})).is_err());
    }
}
