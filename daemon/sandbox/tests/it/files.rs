//! The shipped file tools as a component, on a real workspace.

use crate::fixture::Fixture;
use forerun_types::ObservationStatus;
use serde_json::json;

#[tokio::test]
async fn a_session_of_edits_builds_on_itself_and_leaves_the_disk_alone() {
    let mut fixture = Fixture::new(&[
        ("src/main.rs", "fn main() {\n    let limit = 10;\n}\n"),
        ("README.md", "# Demo\n"),
    ]);
    let text = fixture
        .text("read_file", json!({"path": "src/main.rs"}))
        .await;
    assert_eq!(text, "fn main() {\n    let limit = 10;\n}\n");
    let edit = json!({"path": "src/main.rs", "old": "limit = 10", "new": "limit = 20"});
    let text = fixture.text("edit_file", edit).await;
    assert_eq!(text, "src/main.rs: replaced 1 occurrence (line 2)");
    let write = json!({"path": "src/deep/new.rs", "content": "// limit\n"});
    assert_eq!(
        fixture.text("write_file", write).await,
        "created src/deep/new.rs (9 bytes)"
    );
    assert_eq!(
        fixture.text("grep", json!({"pattern": "limit"})).await,
        "src/deep/new.rs:1: // limit\nsrc/main.rs:2:     let limit = 20;"
    );
    assert_eq!(
        fixture.text("glob", json!({"pattern": "*.rs"})).await,
        "src/deep/new.rs\nsrc/main.rs"
    );
    fixture
        .text("move", json!({"from": "src/deep", "to": "lib"}))
        .await;
    fixture.text("delete", json!({"path": "README.md"})).await;
    assert_eq!(
        fixture.text("list_dir", json!({"depth": 2})).await,
        "lib/\nlib/new.rs (9)\nsrc/\nsrc/main.rs (34)"
    );
    let diff = fixture
        .sandboxes
        .snapshot(fixture.head)
        .expect("held")
        .diff()
        .expect("diffs");
    assert_eq!(diff.len(), 4, "{diff:?}");
}

#[tokio::test]
async fn the_outcome_names_the_changed_paths_and_carries_structured_output() {
    let mut fixture = Fixture::new(&[("a.txt", "x\n")]);
    let write = json!({"path": "a.txt", "content": "y\n"});
    let done = fixture.run("write_file", write).await;
    assert_eq!(fixture.changed(&done), ["a.txt"]);
    assert_eq!(
        done.observation.structured.as_deref(),
        Some(r#"{"bytes":2,"created":false,"path":"a.txt"}"#)
    );
    assert_eq!(done.digests.observation, done.observation.digest());
    assert!(
        done.usage.wall_us > 0 && done.usage.memory_peak > 0,
        "{:?}",
        done.usage
    );
    let done = fixture.run("read_file", json!({"path": "a.txt"})).await;
    assert!(fixture.changed(&done).is_empty());
}

#[tokio::test]
async fn siblings_do_not_see_each_other() {
    let mut fixture = Fixture::new(&[]);
    let one = fixture
        .try_run("write_file", json!({"path": "a", "content": "1"}))
        .await;
    let two = fixture
        .try_run("write_file", json!({"path": "a", "content": "2"}))
        .await;
    assert_ne!(one.digests.changes, two.digests.changes);
    for (snapshot, text) in [(one.snapshot, "1"), (two.snapshot, "2")] {
        fixture.head = snapshot;
        assert_eq!(fixture.text("read_file", json!({"path": "a"})).await, text);
    }
}

#[tokio::test]
async fn temporary_files_last_for_the_session_and_are_no_change_of_the_workspace() {
    let mut fixture = Fixture::new(&[]);
    let write = json!({"path": "/tmp/notes", "content": "later"});
    let done = fixture.run("write_file", write).await;
    assert!(fixture.changed(&done).is_empty());
    assert_eq!(
        fixture
            .text("read_file", json!({"path": "/tmp/notes"}))
            .await,
        "later"
    );
    let moved = json!({"from": "/tmp/notes", "to": "notes"});
    fixture.text("move", moved).await;
    assert_eq!(
        fixture.text("read_file", json!({"path": "notes"})).await,
        "later"
    );
}

#[tokio::test]
async fn ignore_files_are_honoured_and_git_is_left_out() {
    let mut fixture = Fixture::new(&[
        (".gitignore", "target/\n"),
        ("target/a.rs", "needle"),
        (".git/config", "needle"),
        ("src/a.rs", "needle"),
        ("src/.ignore", "b.rs\n"),
        ("src/b.rs", "needle"),
    ]);
    let grep = json!({"pattern": "needle"});
    assert_eq!(fixture.text("grep", grep).await, "src/a.rs:1: needle");
}

#[tokio::test]
async fn a_tools_own_error_is_an_error_that_says_what_to_do() {
    let mut fixture = Fixture::new(&[("a", "x x\n")]);
    let done = fixture
        .run("edit_file", json!({"path": "a", "old": "x", "new": "y"}))
        .await;
    assert_eq!(done.observation.status, ObservationStatus::ToolError);
    assert!(
        done.observation.text.contains("occurs 2 times"),
        "{}",
        done.observation.text
    );
    let mut fixture = Fixture::new(&[("dir/a", ""), ("b", "")]);
    for (tool, arguments, words) in [
        (
            "delete",
            json!({"path": "dir"}),
            "set recursive to delete all of it",
        ),
        (
            "move",
            json!({"from": "b", "to": "dir"}),
            "there is a directory",
        ),
        (
            "write_file",
            json!({"path": "b/c", "content": ""}),
            "not a directory",
        ),
        (
            "write_file",
            json!({"path": "n".repeat(300), "content": ""}),
            "too long",
        ),
        (
            "move",
            json!({"from": "dir", "to": "dir/in/side"}),
            "not valid",
        ),
        (
            "move",
            json!({"from": "dir", "to": "/tmp/dir"}),
            "different file systems",
        ),
    ] {
        let done = fixture.try_run(tool, arguments).await;
        assert_eq!(done.observation.status, ObservationStatus::ToolError);
        assert!(
            done.observation.text.contains(words),
            "{}",
            done.observation.text
        );
    }
    let done = fixture.run("read_file", json!({"path": "none"})).await;
    assert_eq!(done.observation.status, ObservationStatus::ToolError);
    assert_eq!(
        done.observation.text,
        "cannot read none: no such file or directory"
    );
}
