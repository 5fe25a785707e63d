//! The first command of the README: the built-in example, with and without speculation.

use crate::support::{Home, manifest, object};

#[test]
fn the_example_ends_as_the_readme_says() {
    let home = Home::new();
    let directory = home.path("example").display().to_string();
    let ndjson = home.succeed(&["run", "--json", "--workspace", &directory]);
    let comparison = object(&ndjson, "comparison");
    assert_eq!(comparison["same_changes"], true);
    assert_eq!(comparison["same_answer"], true);
    let session = &object(&ndjson, "session")["session"];
    assert_eq!(session["counts"]["verified"], 12);
    assert_eq!(session["counts"]["corrected"], 2);
    let workspace = home.path("example/workspace");
    let before = manifest(&workspace);
    assert!(before.len() >= 100, "{} files", before.len());
    assert_eq!(before, manifest(&home.path("example/workspace-off")));

    let id = session["id"].as_str().expect("an id");
    home.succeed(&["session", "commit", id]);
    let after = manifest(&workspace);
    let changed: Vec<&String> = after
        .iter()
        .filter(|(path, entry)| before.get(*path) != Some(entry))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(
        changed,
        [
            "CHANGES.md",
            "daemon/server/src/services/agent.rs",
            "daemon/server/src/session/agents.rs",
            "daemon/server/src/session/mod.rs"
        ]
    );
    assert_eq!(after.len(), before.len() + 1);
}

#[test]
fn the_examples_workspaces_are_equal_when_each_step_is_committed() {
    let home = Home::new();
    let directory = home.path("example").display().to_string();
    let arguments = [
        "run",
        "--json",
        "--commit",
        "step",
        "--workspace",
        &directory,
    ];
    let ndjson = home.succeed(&arguments);
    let comparison = object(&ndjson, "comparison");
    assert_eq!(comparison["same_answer"], true);
    assert!(comparison["same_changes"].is_null(), "{comparison}");
    let workspace = manifest(&home.path("example/workspace"));
    assert!(workspace.contains_key("CHANGES.md"));
    assert_eq!(workspace, manifest(&home.path("example/workspace-off")));
}
