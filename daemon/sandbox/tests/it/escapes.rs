//! Every way out of the workspace that a path could be.

use crate::fixture::Fixture;
use forerun_types::ObservationStatus;
use serde_json::{Value, json};

async fn program(fixture: &mut Fixture, operations: Value) -> Vec<String> {
    let text = fixture
        .text("program", json!({ "operations": operations }))
        .await;
    assert!(!text.contains("not for tools"), "{text}");
    assert!(!text.contains("root:"), "{text}");
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn tools_refuse_paths_that_climb_out_or_are_absolute() {
    let mut fixture = Fixture::new(&[("a", "x")]);
    for path in [
        "../secret",
        "../../etc/passwd",
        "/etc/passwd",
        "a/../../secret",
        "/",
    ] {
        for (tool, arguments) in [
            ("read_file", json!({"path": path})),
            ("write_file", json!({"path": path, "content": "x"})),
            ("edit_file", json!({"path": path, "old": "a", "new": "b"})),
            ("delete", json!({"path": path, "recursive": true})),
            ("move", json!({"from": "a", "to": path})),
            ("move", json!({"from": path, "to": "b"})),
            ("list_dir", json!({"path": path})),
            ("grep", json!({"pattern": "x", "path": path})),
            ("glob", json!({"pattern": "*", "path": path})),
        ] {
            let done = fixture.run(tool, arguments).await;
            let observation = done.observation;
            assert_eq!(
                observation.status,
                ObservationStatus::ToolError,
                "{tool} {path}"
            );
            assert!(
                observation.text.contains("/workspace"),
                "{}",
                observation.text
            );
        }
    }
}

#[tokio::test]
async fn the_file_system_refuses_what_a_guest_does_not() {
    let mut fixture = Fixture::new(&[("dir/a", "x")]);
    let lines = program(
        &mut fixture,
        json!([
            {"op": "read", "path": "../secret"},
            {"op": "read", "path": "dir/../../secret"},
            {"op": "read", "path": "../../../../etc/passwd"},
            {"op": "list", "path": ".."},
            {"op": "list", "path": "dir/../.."},
            {"op": "write", "path": "../new", "content": "x"},
            {"op": "make_dir", "path": "../new"},
            {"op": "rename", "from": "dir/a", "to": "../a"},
            {"op": "rename", "from": "../secret", "to": "stolen"},
            {"op": "link", "from": "../secret", "to": "stolen"},
            {"op": "remove", "path": "../secret"},
            {"op": "remove_all", "path": "../workspace"},
            {"op": "list", "path": "/etc/.."}
        ]),
    )
    .await;
    for (index, line) in lines.iter().enumerate() {
        assert!(line.starts_with("error"), "{index}: {line}");
    }
}

#[tokio::test]
async fn links_that_a_guest_makes_lead_nowhere() {
    let mut fixture = Fixture::new(&[("dir/a", "x")]);
    let lines = program(
        &mut fixture,
        json!([
            {"op": "symlink", "target": "/etc/passwd", "path": "absolute"},
            {"op": "symlink", "target": "../secret", "path": "up"},
            {"op": "symlink", "target": "..", "path": "parent"},
            {"op": "symlink", "target": "../../secret", "path": "dir/up"},
            {"op": "symlink", "target": "dir/../../secret", "path": "around"},
            {"op": "read", "path": "absolute"},
            {"op": "read", "path": "up"},
            {"op": "read", "path": "parent/secret"},
            {"op": "list", "path": "parent"},
            {"op": "list", "path": "parent/"},
            {"op": "read", "path": "dir/up"},
            {"op": "read", "path": "around"},
            {"op": "write", "path": "up", "content": "x"},
            {"op": "write", "path": "parent/new", "content": "x"},
            {"op": "rename", "from": "dir/a", "to": "parent/a"},
            {"op": "stat", "path": "up"}
        ]),
    )
    .await;
    assert_eq!(lines[0], "error PermissionDenied", "an absolute target");
    for (index, line) in lines.iter().enumerate().skip(5) {
        assert_eq!(
            line,
            if index == 5 {
                "error NotFound"
            } else {
                "error PermissionDenied"
            },
            "{index}"
        );
    }
}

#[tokio::test]
async fn links_that_are_in_the_workspace_lead_nowhere_either() {
    let mut fixture = Fixture::new(&[
        ("absolute", "->/etc/passwd"),
        ("up", "->../secret"),
        ("parent", "->.."),
        ("dir/up", "->../../secret"),
        ("deep/er/loop", "->../loop"),
        ("deep/loop", "->er/loop"),
    ]);
    let lines = program(
        &mut fixture,
        json!([
            {"op": "read", "path": "absolute"},
            {"op": "stat", "path": "absolute"},
            {"op": "read_link", "path": "absolute"},
            {"op": "write", "path": "absolute", "content": "x"},
            {"op": "read", "path": "up"},
            {"op": "read", "path": "parent/secret"},
            {"op": "list", "path": "parent"},
            {"op": "list", "path": "parent/"},
            {"op": "list", "path": "parent/."},
            {"op": "read", "path": "dir/up"},
            {"op": "open_truncated", "path": "up"},
            {"op": "append", "path": "up", "content": "x"},
            {"op": "copy", "from": "up", "to": "copy"},
            {"op": "make_dir", "path": "parent/new"}
        ]),
    )
    .await;
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line, "error PermissionDenied", "{index}");
    }
    let done = fixture.run("read_file", json!({"path": "up"})).await;
    assert_eq!(done.observation.status, ObservationStatus::ToolError);
    assert!(done.observation.text.contains("leads out of the workspace"));
    let loops = program(&mut fixture, json!([{"op": "read", "path": "deep/loop"}])).await;
    assert!(loops[0].starts_with("error"), "{loops:?}");
    let removed = fixture.run("delete", json!({"path": "up"})).await;
    assert_eq!(fixture.changed(&removed), ["up"], "the link, not the file");
}

#[tokio::test]
async fn searches_do_not_follow_links() {
    let mut fixture = Fixture::new(&[("parent", "->.."), ("a", "not for tools, says this file")]);
    let text = fixture.text("grep", json!({"pattern": "not for"})).await;
    assert_eq!(text, "a:1: not for tools, says this file");
}

#[tokio::test]
async fn odd_names_are_refused_and_nothing_worse() {
    let mut fixture = Fixture::new(&[("a", "x")]);
    let long_name = "n".repeat(256);
    let long_path = "d/".repeat(3_000);
    let lines = program(
        &mut fixture,
        json!([
            {"op": "write", "path": long_name, "content": ""},
            {"op": "read", "path": long_path},
            {"op": "read", "path": "nul\u{0}byte"},
            {"op": "symlink", "target": "", "path": "empty"},
            {"op": "read", "path": "a"}
        ]),
    )
    .await;
    assert!(
        lines[..4].iter().all(|line| line.starts_with("error")),
        "{lines:?}"
    );
    assert_eq!(lines[4], "ok x");
}

#[tokio::test]
async fn the_daemons_own_directory_is_not_there() {
    let mut fixture = Fixture::new(&[(".forerun/id", "ours"), ("a", "x")]);
    assert_eq!(fixture.text("list_dir", json!({})).await, "a (1)");
    let lines = program(
        &mut fixture,
        json!([
            {"op": "read", "path": ".forerun/id"},
            {"op": "write", "path": ".forerun/id", "content": "theirs"},
            {"op": "make_dir", "path": ".FORERUN"},
            {"op": "rename", "from": "a", "to": ".forerun"}
        ]),
    )
    .await;
    assert!(
        lines.iter().all(|line| line.starts_with("error")),
        "{lines:?}"
    );
}
