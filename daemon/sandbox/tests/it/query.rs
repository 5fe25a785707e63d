//! The `query` tool through the sandbox.

use crate::fixture::Fixture;
use forerun_types::ObservationStatus;
use serde_json::{Value, json};

const PACKAGE: &str = r#"{
  "name": "demo",
  "version": "1.2.3",
  "dependencies": {"zod": "^3.0.0", "axios": "1.0.0"},
  "files": ["dist", "src"]
}
"#;

fn fixture() -> Fixture {
    Fixture::new(&[
        ("package.json", PACKAGE),
        (
            "log.jsonl",
            "{\"level\":\"info\",\"ms\":3}\n{\"level\":\"error\",\"ms\":40}\n",
        ),
        ("broken.json", "{\n  \"a\": 1,\n  \"b\" 2\n}\n"),
    ])
}

async fn error(arguments: Value) -> String {
    let done = fixture().run("query", arguments).await;
    assert_eq!(done.observation.status, ObservationStatus::ToolError);
    done.observation.text
}

#[tokio::test]
async fn values_are_taken_out_of_files_and_of_what_is_given() {
    let mut fixture = fixture();
    for (arguments, text) in [
        (
            json!({"filter": ".version", "path": "package.json"}),
            "\"1.2.3\"",
        ),
        (
            json!({"filter": ".dependencies | keys[]", "path": "package.json", "raw": true}),
            "axios\nzod",
        ),
        (
            json!({"filter": "{name, n: (.files | length)}", "path": "/workspace/package.json"}),
            r#"{"name":"demo","n":2}"#,
        ),
        (
            json!({"filter": "select(.level == \"error\") | .ms", "path": "log.jsonl"}),
            "40",
        ),
        (
            json!({"filter": "map(.ms) | add", "path": "log.jsonl", "slurp": true}),
            "43",
        ),
        (
            json!({"filter": "[.[] | . * 2 | tostring] | join(\"-\")", "input": "[1, 2]", "raw": true}),
            "2-4",
        ),
        (
            json!({"filter": "reduce range(5) as $i (0; . + $i)", "input": "null"}),
            "10",
        ),
        (json!({"filter": "empty", "input": "1"}), "[no results]"),
        (
            json!({"filter": ".a | test(\"^x+$\")", "input": "{\"a\": \"xxx\"}"}),
            "true",
        ),
    ] {
        assert_eq!(fixture.text("query", arguments).await, text);
    }
    let done = fixture
        .run("query", json!({"filter": ".files", "path": "package.json"}))
        .await;
    assert_eq!(
        done.observation.structured.as_deref(),
        Some(r#"{"results":[["dist","src"]],"truncated":false}"#)
    );
}

#[tokio::test]
async fn errors_say_where() {
    for (arguments, words) in [
        (
            json!({"filter": ".a | nosuch(1)", "input": "1"}),
            "the filter nosuch is not defined at column 6",
        ),
        (
            json!({"filter": ".a | $x", "input": "1"}),
            "the variable $x is not defined at column 6",
        ),
        (
            json!({"filter": "[.a", "input": "1"}),
            "expected closing bracket at its end",
        ),
        (json!({"filter": ".a |", "input": "1"}), "at its end"),
        (
            json!({"filter": ".b", "path": "broken.json"}),
            "broken.json is no JSON: expected `:` at line 3 column 7",
        ),
        (
            json!({"filter": ".ms | keys", "path": "log.jsonl"}),
            "the filter failed on value 1 of log.jsonl",
        ),
        (
            json!({"filter": ".", "path": "none"}),
            "cannot read none: no such file",
        ),
        (json!({"filter": ".", "path": "../x"}), "climbs out"),
        (json!({"filter": "."}), "give either `path` or `input`"),
        (
            json!({"filter": "import \"a\" as a; .", "input": "1"}),
            "no modules",
        ),
    ] {
        let text = error(arguments).await;
        assert!(text.contains(words), "{text}");
    }
}

#[tokio::test]
async fn endless_results_are_cut() {
    let mut fixture = fixture();
    let text = fixture
        .text(
            "query",
            json!({"filter": "repeat(.)", "input": "\"0123456789\""}),
        )
        .await;
    assert!(text.len() < 70_000);
    assert!(text.ends_with("[cut after 64 KiB; narrow the filter]"));
}
