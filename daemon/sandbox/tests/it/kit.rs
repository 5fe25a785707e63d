//! The kit for authors of tools: its example as a component, and the newer file tools in a
//! real sandbox.

use crate::fixture::Fixture;
use forerun_types::{ObservationStatus, Speculation};
use serde_json::json;

#[tokio::test]
async fn the_example_of_the_kit_runs_as_a_component() {
    let mut fixture = Fixture::new(&[("a.txt", "one two\nthree\n")]);
    let example = forerun_test_guests::EXAMPLE;
    let with = fixture.sandboxes.with("example", example, None);
    fixture.sandboxes = with.expect("loads");
    assert_eq!(
        fixture.text("count_words", json!({"path": "a.txt"})).await,
        "3 words"
    );
    let done = fixture.run("count_words", json!({"path": "a.txt"})).await;
    assert_eq!(done.observation.structured.as_deref(), Some("3"));
    let done = fixture.run("count_words", json!({"path": "b.txt"})).await;
    assert_eq!(done.observation.status, ObservationStatus::ToolError);
    let done = fixture.run("count_words", json!({"file": "a.txt"})).await;
    assert_eq!(done.observation.status, ObservationStatus::Invalid);

    let toolbox = fixture.sandboxes.toolbox();
    let tool = toolbox.get("count_words").expect("listed");
    assert_eq!(
        tool.input_schema,
        json!({
            "type": "object",
            "properties": {"path": {"type": "string", "description": "The file, relative to /workspace."}},
            "required": ["path"],
            "additionalProperties": false
        })
    );
    assert_eq!(
        tool.description,
        "Counts the words of a text file. Example: {\"path\": \"README.md\"}."
    );
    assert!(tool.annotations.read_only);
    assert_eq!(tool.speculation, Speculation::Pure);
}

#[tokio::test]
async fn files_are_looked_at_copied_and_patched() {
    let mut fixture = Fixture::new(&[("src/a.rs", "one\ntwo\nthree\n"), ("src/link", "->a.rs")]);
    let copy = json!({"from": "src", "to": "old/src"});
    assert_eq!(
        fixture.text("copy", copy).await,
        "copied src to old/src (1 file)"
    );
    let patch = "@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n";
    assert_eq!(
        fixture
            .text("edit_file", json!({"path": "src/a.rs", "patch": patch}))
            .await,
        "src/a.rs: applied 1 hunk (line 2)"
    );
    assert_eq!(
        fixture.text("read_file", json!({"path": "src/a.rs"})).await,
        "one\n2\nthree\n"
    );
    assert_eq!(
        fixture
            .text("read_file", json!({"path": "old/src/link"}))
            .await,
        "one\ntwo\nthree\n"
    );
    fixture
        .text("make_dir", json!({"path": "empty/deep"}))
        .await;
    for (path, words) in [
        ("src/a.rs", "src/a.rs: file, 12 bytes"),
        ("old", "old: directory, 1 entry"),
        ("empty/deep", "empty/deep: directory, 0 entries"),
        ("old/src/link", "old/src/link: symlink, to a.rs"),
        ("none", "none does not exist"),
    ] {
        assert_eq!(fixture.text("stat", json!({"path": path})).await, words);
    }
}
