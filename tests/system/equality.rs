//! The outcome equals what the target alone would have done: the workspace after a
//! speculative run is the one after a run without speculation.

use crate::support::{Home, events, manifest, object};
use forerun_types::EventKind;

/// A plan that touches every kind of change: create, overwrite, edit, move, delete, and a
/// script that has to stay executable.
const STEPS: &str = r##"
answer = "done"
[target]
latency_ms = 60
[approximation]
latency_ms = 15
mistakes = "MISTAKES"
[[step]]
tool = "list_dir"
arguments = { path = ".", depth = 3 }
[[step]]
tool = "grep"
arguments = { pattern = "Old" }
[[step]]
tool = "edit_file"
arguments = { path = "README.md", old = "Old text", new = "New text" }
[[step]]
tool = "write_file"
arguments = { path = "docs/guide/start.md", content = "# Start\n" }
[[step]]
tool = "edit_file"
arguments = { path = "run.sh", old = "old", new = "new" }
[[step]]
tool = "move"
arguments = { from = "src/deep", to = "src/shallow" }
[[step]]
tool = "write_file"
arguments = { path = "src/shallow/notes.txt", content = "three\n" }
[[step]]
tool = "read_file"
arguments = { path = "src/shallow/notes.txt" }
[[step]]
tool = "delete"
arguments = { path = "obsolete.txt" }
[[step]]
tool = "glob"
arguments = { pattern = "**/*.md" }
[[mistake]]
step = 3
tool = "delete"
arguments = { path = "src", recursive = true }
[[mistake]]
step = 7
tool = "write_file"
arguments = { path = "README.md", content = "gone" }
"##;

/// Runs the plan and returns its NDJSON.
fn run(home: &Home, workspace: &str, mistakes: &str, extra: &[&str]) -> String {
    let directory = home.workspace(workspace);
    let spec = home.script(
        &format!("{workspace}.toml"),
        &STEPS.replace("MISTAKES", mistakes),
    );
    let mut arguments = vec![
        "run",
        "--json",
        "--seed",
        "7",
        "--clock-ns",
        "1700000000000000000",
    ];
    let directory = directory.to_str().expect("text").to_owned();
    arguments.extend([
        "--workspace",
        &directory,
        "--target",
        &spec,
        "--approximation",
        &spec,
    ]);
    arguments.extend(extra);
    arguments.push("change things");
    home.succeed(&arguments)
}

#[test]
fn right_wrong_or_mixed_guesses_leave_the_workspace_that_the_target_alone_would() {
    let home = Home::new();
    run(&home, "off", "none", &["--depth", "0"]);
    let expected = manifest(&home.path("off"));
    assert!(expected.contains_key("docs/guide/start.md"));
    assert!(!expected.contains_key("obsolete.txt"));
    assert_eq!(expected["run.sh"].1 & 0o111, 0o111);
    for (name, mistakes) in [("right", "none"), ("wrong", "all"), ("mixed", "listed")] {
        let ndjson = run(&home, name, mistakes, &[]);
        assert_eq!(manifest(&home.path(name)), expected, "{name}");
        let session = object(&ndjson, "session");
        let counts = &session["session"]["counts"];
        let rolled_back = counts["corrected"].as_u64().expect("a number");
        match name {
            "right" => assert_eq!(rolled_back, 0),
            "mixed" => assert_eq!(rolled_back, 2),
            _ => assert!(rolled_back >= 10, "{counts}"),
        }
    }
}

#[test]
fn a_barrier_window_ends_in_the_same_workspace() {
    let home = Home::new();
    run(&home, "off", "none", &["--depth", "0"]);
    run(
        &home,
        "barrier",
        "listed",
        &["--window", "barrier", "--depth", "3"],
    );
    assert_eq!(manifest(&home.path("barrier")), manifest(&home.path("off")));
}

#[test]
fn with_commit_session_nothing_is_touched_until_the_diff_is_committed() {
    let home = Home::new();
    run(&home, "off", "none", &["--depth", "0"]);
    let before = manifest(&home.workspace("session"));
    let ndjson = run(&home, "session", "listed", &["--commit", "session"]);
    assert_eq!(manifest(&home.path("session")), before);
    let id = object(&ndjson, "session")["session"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let diff = home.succeed(&["session", "diff", &id]);
    assert!(
        diff.contains("-Old text.") && diff.contains("+New text."),
        "{diff}"
    );
    assert!(diff.contains("deleted: obsolete.txt"), "{diff}");
    home.succeed(&["session", "commit", &id]);
    assert_eq!(manifest(&home.path("session")), manifest(&home.path("off")));
    home.fail(75, &["session", "commit", &id]);
}

#[test]
fn a_kept_session_is_committed_after_a_restart_of_the_daemon() {
    let mut home = Home::new();
    run(&home, "off", "none", &["--depth", "0"]);
    let ndjson = run(&home, "kept", "none", &["--commit", "session"]);
    let id = object(&ndjson, "session")["session"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    home.daemon().kill().expect("killed");
    home.daemon().wait().expect("gone");
    home.start_daemon();
    home.succeed(&["session", "commit", &id]);
    assert_eq!(manifest(&home.path("kept")), manifest(&home.path("off")));
}

#[test]
fn a_discarded_session_leaves_no_trace() {
    let home = Home::new();
    let before = manifest(&home.workspace("discarded"));
    let ndjson = run(&home, "discarded", "listed", &["--commit", "session"]);
    let id = object(&ndjson, "session")["session"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    home.succeed(&["session", "discard", &id]);
    assert_eq!(manifest(&home.path("discarded")), before);
    let show = home.succeed(&["session", "show", &id, "--json"]);
    assert!(show.contains(r#""state":"finished""#), "{show}");
}

#[test]
fn the_presented_order_is_proposal_verdict_proposal_verdict() {
    let home = Home::new();
    let ndjson = run(&home, "order", "listed", &[]);
    let mut shown = Vec::new();
    for event in events(&ndjson) {
        match event.kind {
            EventKind::Proposed { step, .. } => shown.push((step.0, 'a')),
            EventKind::Answer { step, .. } => shown.push((step.0, 't')),
            _ => {}
        }
    }
    let mut sorted = shown.clone();
    sorted.sort_by_key(|(step, who)| (*step, *who));
    assert_eq!(shown, sorted);
    let answers = shown.iter().filter(|(_, who)| *who == 't').count();
    assert_eq!(answers, 11, "{shown:?}");
}
