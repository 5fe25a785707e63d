//! Undo and redo of what a session committed, across a restart, around a person's edits.

use crate::support::{Home, manifest};
use forerun_types::Undone;
use std::fs;

const PLAN: &str = r##"
answer = "done"

[[step]]
tool = "write_file"
arguments = { path = "README.md", content = "# New title\n" }

[[step]]
tool = "write_file"
arguments = { path = "src/new/module.rs", content = "pub fn new() {}\n" }

[[step]]
tool = "move"
arguments = { from = "src/deep", to = "src/moved" }

[[step]]
tool = "edit_file"
arguments = { path = "src/moved/notes.txt", old = "two", new = "three" }

[[step]]
tool = "delete"
arguments = { path = "obsolete.txt" }

[[step]]
tool = "edit_file"
arguments = { path = "run.sh", old = "old", new = "new" }
"##;

/// Runs the plan; the session's id.
fn run(home: &Home, commit: &str) -> String {
    home.workspace("work");
    let spec = home.script("plan.toml", PLAN);
    let work = home.path("work").display().to_string();
    let ndjson = home.succeed(&[
        "run",
        "--json",
        "--commit",
        commit,
        "--workspace",
        &work,
        "--target",
        &spec,
        "--approximation",
        &spec,
        "a task",
    ]);
    let session = crate::support::object(&ndjson, "session");
    session["session"]["id"].as_str().expect("an id").to_owned()
}

fn undone(ndjson: &str) -> Vec<Undone> {
    let parse = |line| serde_json::from_str(line).expect("an undone step");
    ndjson.lines().map(parse).collect()
}

#[test]
fn every_step_can_be_undone_and_redone_also_after_a_restart() {
    let mut home = Home::new();
    home.workspace("work");
    let before = manifest(&home.path("work"));
    let session = run(&home, "step");
    let after = manifest(&home.path("work"));
    assert_ne!(before, after);

    let steps = undone(&home.succeed(&["session", "undo", "--json", &session]));
    let order: Vec<_> = steps.iter().map(|undone| undone.step.0).collect();
    assert_eq!(order, [5, 4, 3, 2, 1, 0], "newest first");
    assert_eq!(manifest(&home.path("work")), before);
    let stderr = home.fail(75, &["session", "undo", &session]);
    assert!(stderr.contains("nothing"), "{stderr}");

    home.daemon().kill().expect("killed");
    home.daemon().wait().expect("gone");
    home.start_daemon();
    let steps = undone(&home.succeed(&["session", "redo", "--json", &session]));
    assert!(
        steps
            .iter()
            .all(|undone| undone.redo && undone.left.is_empty())
    );
    assert_eq!(manifest(&home.path("work")), after);

    home.succeed(&["session", "undo", "--from", "4", &session]);
    assert!(home.path("work/obsolete.txt").exists());
    assert!(home.path("work/src/moved/notes.txt").exists());
    home.succeed(&["session", "undo", &session]);
    assert_eq!(manifest(&home.path("work")), before);
    let log = home.succeed(&["watch", "--json", "--trace", "--no-follow", &session]);
    assert_eq!(log.matches("\"undone\"").count(), 18, "{log}");
}

#[test]
fn what_a_person_changed_since_is_left_alone_unless_it_is_forced() {
    let home = Home::new();
    home.workspace("work");
    let before = manifest(&home.path("work"));
    let session = run(&home, "step");
    fs::write(home.path("work/README.md"), "by a person\n").expect("writes");
    fs::write(home.path("work/src/new/mine.rs"), "by a person\n").expect("writes");

    let stderr = home.fail(1, &["session", "undo", &session]);
    assert!(
        stderr.contains("left alone") && stderr.contains("--force"),
        "{stderr}"
    );
    let mut expected = before.clone();
    let mine = manifest(&home.path("work"));
    for path in ["README.md", "src/new", "src/new/mine.rs"] {
        expected.insert(path.to_owned(), mine[path].clone());
    }
    assert_eq!(mine, expected);
    let read = |path: &str| fs::read_to_string(home.path("work").join(path)).expect("reads");
    assert_eq!(read("README.md"), "by a person\n");

    home.succeed(&["session", "undo", "--force", &session]);
    expected.insert("README.md".to_owned(), before["README.md"].clone());
    assert_eq!(
        manifest(&home.path("work")),
        expected,
        "mine.rs is not of the session"
    );
}

#[test]
fn a_session_that_was_committed_as_a_whole_is_undone_as_a_whole() {
    let home = Home::new();
    home.workspace("work");
    let before = manifest(&home.path("work"));
    let session = run(&home, "session");
    let stderr = home.fail(75, &["session", "undo", &session]);
    assert!(stderr.contains("nothing"), "{stderr}");
    home.succeed(&["session", "commit", &session]);
    let after = manifest(&home.path("work"));
    let steps = undone(&home.succeed(&["session", "undo", "--json", &session]));
    assert_eq!(steps.len(), 1);
    assert_eq!(manifest(&home.path("work")), before);
    home.succeed(&["session", "redo", &session]);
    assert_eq!(manifest(&home.path("work")), after);
}

#[test]
fn what_is_not_kept_any_more_can_not_be_undone_and_takes_no_room() {
    let home = Home::with_config("[undo]\nkeep_bytes = 0\n");
    let session = run(&home, "step");
    let slots = home.path("state/forerun/slots");
    home.wait_until("nothing is kept", || {
        let of_workspaces = fs::read_dir(&slots).into_iter().flatten().flatten();
        of_workspaces
            .flat_map(|slots| fs::read_dir(slots.path()).into_iter().flatten())
            .count()
            == 0
    });
    let stderr = home.fail(75, &["session", "undo", &session]);
    assert!(stderr.contains("nothing"), "{stderr}");
}
