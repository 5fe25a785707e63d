//! Path rules: asked with the path that was found, at every touch.

use crate::fixture::{Fixture, rule};
use forerun_types::{ObservationStatus, PathPattern, RuleEffect, Touch};
use serde_json::{Value, json};

const CHANGE: [Touch; 2] = [Touch::Write, Touch::Delete];

/// `.git/hooks` cannot be changed, nor any file called `.mcp.json`; `hidden` is secret.
fn protected() -> Fixture {
    let mut fixture = Fixture::new(&[
        (".git/hooks/pre-commit", "theirs"),
        (".git/index", "index"),
        ("hidden/key", "a key"),
        ("to_hooks", "->.git/hooks"),
        ("tools/.mcp.json", "{}"),
        ("a", "mine"),
        ("dir/b", "mine"),
    ]);
    let subtree = |path: &str| PathPattern::Subtree(path.into());
    fixture.rules.rules.extend([
        rule(
            RuleEffect::Forbid,
            &CHANGE,
            subtree("/workspace/.git/hooks"),
        ),
        rule(
            RuleEffect::Forbid,
            &CHANGE,
            PathPattern::Name(".mcp.json".into()),
        ),
        rule(
            RuleEffect::Forbid,
            &[Touch::Read],
            subtree("/workspace/hidden"),
        ),
    ]);
    fixture
}

async fn denied(fixture: &mut Fixture, operations: Value) {
    let count = operations.as_array().expect("a list").len();
    let done = fixture
        .run("program", json!({ "operations": operations }))
        .await;
    let lines: Vec<&str> = done.observation.text.lines().collect();
    assert_eq!(lines.len(), count);
    for (line, operation) in lines.iter().zip(operations.as_array().expect("a list")) {
        assert_eq!(*line, "error PermissionDenied", "{operation}");
    }
    assert!(
        done.denied.is_some(),
        "the outcome tells that something was refused"
    );
    assert!(fixture.changed(&done).is_empty());
}

#[tokio::test]
async fn a_denial_names_the_rule_and_says_not_to_retry() {
    let mut fixture = protected();
    let path = ".git/hooks/pre-commit";
    let done = fixture
        .run("write_file", json!({"path": path, "content": "ours"}))
        .await;
    assert_eq!(done.observation.status, ObservationStatus::Denied);
    assert!(
        done.observation.text.starts_with(
            "policy does not allow to write /workspace/.git/hooks/pre-commit (policy test); trying again will not help"
        ),
        "{}",
        done.observation.text
    );
    assert!(fixture.changed(&done).is_empty());
    assert_eq!(
        fixture.text("read_file", json!({"path": path})).await,
        "theirs"
    );
}

#[tokio::test]
async fn what_is_protected_cannot_be_changed_in_any_way() {
    denied(
        &mut protected(),
        json!([
            {"op": "write", "path": ".git/hooks/pre-commit", "content": "x"},
            {"op": "write", "path": ".git/hooks/new", "content": "x"},
            {"op": "append", "path": ".git/hooks/pre-commit", "content": "x"},
            {"op": "truncate", "path": ".git/hooks/pre-commit", "length": 0},
            {"op": "open_truncated", "path": ".git/hooks/pre-commit"},
            {"op": "create_new", "path": ".git/hooks/new"},
            {"op": "make_dir", "path": ".git/hooks/new"},
            {"op": "symlink", "target": "../../a", "path": ".git/hooks/new"},
            {"op": "remove", "path": ".git/hooks/pre-commit"},
            {"op": "remove_dir", "path": ".git/hooks"},
            {"op": "link", "from": "a", "to": ".git/hooks/new"},
            {"op": "link", "from": ".git/hooks/pre-commit", "to": "mine"},
            {"op": "rename", "from": "a", "to": ".git/hooks/pre-commit"},
            {"op": "rename", "from": ".git/hooks/pre-commit", "to": "mine"},
            {"op": "rename", "from": ".git/hooks", "to": "hooks"},
            {"op": "rename", "from": ".git", "to": "git"},
            {"op": "rename", "from": "dir", "to": ".git/hooks"}
        ]),
    )
    .await;
}

#[tokio::test]
async fn other_spellings_and_links_are_seen_through() {
    denied(
        &mut protected(),
        json!([
            {"op": "write", "path": "to_hooks/pre-commit", "content": "x"},
            {"op": "write", "path": "to_hooks/new", "content": "x"},
            {"op": "remove", "path": "to_hooks/pre-commit"},
            {"op": "rename", "from": "a", "to": "to_hooks/new"},
            {"op": "write", "path": "dir/../.git/./hooks//pre-commit", "content": "x"},
            {"op": "make_dirs", "path": ".GIT/Hooks"},
            {"op": "make_dir", "path": ".git/HOOKS"},
            {"op": "write", "path": ".mcp.json", "content": "x"},
            {"op": "write", "path": "dir/.MCP.json", "content": "x"},
            {"op": "rename", "from": "a", "to": "dir/.mcp.json"},
            {"op": "rename", "from": "tools", "to": "other"}
        ]),
    )
    .await;
}

#[tokio::test]
async fn a_link_made_to_what_is_protected_does_not_help() {
    let mut fixture = protected();
    let done = fixture
        .run(
            "program",
            json!({"operations": [
                {"op": "symlink", "target": ".git/hooks", "path": "mine"},
                {"op": "write", "path": "mine/pre-commit", "content": "x"},
                {"op": "symlink", "target": ".git/hooks/pre-commit", "path": "direct"},
                {"op": "write", "path": "direct", "content": "x"},
                {"op": "read", "path": "direct"}
            ]}),
        )
        .await;
    assert_eq!(
        done.observation.text,
        "ok \nerror PermissionDenied\nok \nerror PermissionDenied\nok theirs"
    );
    assert_eq!(fixture.changed(&done), ["direct", "mine"]);
}

#[tokio::test]
async fn what_may_not_be_read_is_not_read() {
    denied(
        &mut protected(),
        json!([
            {"op": "read", "path": "hidden/key"},
            {"op": "stat", "path": "hidden/key"},
            {"op": "list", "path": "hidden"},
            {"op": "copy", "from": "hidden/key", "to": "copy"}
        ]),
    )
    .await;
}

#[tokio::test]
async fn what_is_beside_the_protected_can_be_changed() {
    let mut fixture = protected();
    let write = json!({"path": ".git/index", "content": "new"});
    fixture.text("write_file", write).await;
    let write = json!({"path": ".git/hooks-of-mine", "content": "x"});
    fixture.text("write_file", write).await;
    fixture
        .text("move", json!({"from": "dir", "to": "moved"}))
        .await;
}

#[tokio::test]
async fn a_directory_that_was_moved_is_under_the_rules_of_its_new_place() {
    let mut fixture = protected();
    let done = fixture
        .run(
            "program",
            json!({"operations": [
                {"op": "read", "path": "dir/b"},
                {"op": "rename", "from": "dir", "to": "hidden/dir"},
                {"op": "read", "path": "hidden/dir/b"},
                {"op": "rename", "from": "hidden/dir", "to": "back"},
                {"op": "read", "path": "back/b"}
            ]}),
        )
        .await;
    assert_eq!(
        done.observation.text,
        "ok mine\nok \nerror PermissionDenied\nok \nok mine"
    );
}

#[tokio::test]
async fn nothing_is_allowed_without_a_permit() {
    let mut fixture = Fixture::new(&[("a", "x")]);
    fixture.rules.rules.clear();
    let done = fixture.run("read_file", json!({"path": "a"})).await;
    assert_eq!(done.observation.status, ObservationStatus::Denied);
    assert!(done.observation.text.contains("no policy permits it"));
}

/// What is below `hidden` is sensitive, and `key` files anywhere.
fn sensitive() -> Fixture {
    let mut fixture = Fixture::new(&[
        ("hidden/key", "a key"),
        ("dir/hidden.txt", "mine"),
        ("dir/deep/token.key", "a token"),
        ("to_hidden", "->hidden"),
        ("a", "mine"),
    ]);
    for pattern in [
        PathPattern::Subtree("/workspace/hidden".into()),
        PathPattern::Extension("key".into()),
    ] {
        let sensitive = rule(RuleEffect::Permit, &[Touch::Sensitive], pattern);
        fixture.rules.rules.push(sensitive);
    }
    fixture
}

#[tokio::test]
async fn what_is_sensitive_is_noticed_under_whatever_name_it_is_read() {
    for operations in [
        json!([{"op": "read", "path": "hidden/key"}]),
        json!([{"op": "read", "path": "to_hidden/key"}]),
        json!([{"op": "read", "path": "dir/../hidden/key"}]),
        json!([{"op": "rename", "from": "hidden/key", "to": "plain"}, {"op": "read", "path": "plain"}]),
        json!([{"op": "rename", "from": "hidden", "to": "plain"}, {"op": "read", "path": "plain/key"}]),
        json!([{"op": "link", "from": "hidden/key", "to": "plain"}, {"op": "read", "path": "plain"}]),
        json!([{"op": "rename", "from": "dir", "to": "other"}]),
    ] {
        let mut fixture = sensitive();
        let done = fixture
            .run("program", json!({ "operations": operations }))
            .await;
        assert!(
            done.read_sensitive,
            "{operations}: {}",
            done.observation.text
        );
    }
    for operations in [
        json!([{"op": "read", "path": "a"}, {"op": "read", "path": "dir/hidden.txt"}]),
        json!([{"op": "write", "path": "hidden/new", "content": "x"}]),
        json!([{"op": "rename", "from": "a", "to": "b"}, {"op": "read", "path": "b"}]),
    ] {
        let mut fixture = sensitive();
        let done = fixture
            .run("program", json!({ "operations": operations }))
            .await;
        assert!(
            !done.read_sensitive,
            "{operations}: {}",
            done.observation.text
        );
    }
}
