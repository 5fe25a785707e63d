//! The log of a session: exported as it was written, and verified. A hand in the journal
//! shows.

use crate::support::{Home, events};
use forerun_types::EventKind;

const PLAN: &str = "answer = \"done\"\n[[step]]\ntool = \"list_dir\"\narguments = {}\n";

#[test]
fn a_log_is_exported_whole_and_a_changed_line_of_it_is_found() {
    let mut home = Home::new();
    let work = home.workspace("work").display().to_string();
    let spec = home.script("plan.toml", PLAN);
    for _ in 0..2 {
        home.succeed(&[
            "run",
            "--workspace",
            &work,
            "--depth",
            "0",
            "--target",
            &spec,
            "look",
        ]);
    }
    let sessions = home.succeed(&["session", "list", "--json"]);
    let sessions: Vec<serde_json::Value> = sessions
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let id = sessions[0]["id"].as_str().expect("an id").to_owned();
    let exported = events(&home.succeed(&["log", "export", &id]));
    let numbers: Vec<u64> = exported.iter().map(|event| event.sequence).collect();
    let whole: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, whole, "without gaps");
    let decided = |kind: &EventKind| matches!(kind, EventKind::PolicyDecided { .. });
    assert!(exported.iter().any(|event| decided(&event.kind)));

    let verified = home.succeed(&["log", "verify"]);
    assert_eq!(verified.matches(" intact ").count(), 2, "{verified}");
    assert!(verified.contains(&format!("{id} intact {} events", numbers.len())));

    // Somebody else changes what was decided.
    home.daemon().kill().expect("killed");
    home.daemon().wait().expect("gone");
    let journal = home.path("state/forerun/journal.db");
    let database = rusqlite::Connection::open(journal).expect("opens");
    let changed = database.execute(
        "UPDATE events SET kind = replace(kind, '\"run\"', '\"deny\"') \
         WHERE sequence = (SELECT max(sequence) FROM events WHERE kind LIKE '%\"run\"%') \
         AND kind LIKE '%\"run\"%'",
        [],
    );
    assert!(changed.expect("writes") >= 1);
    drop(database);
    home.start_daemon();
    let verified = home.output(&["log", "verify"]);
    assert_eq!(verified.status.code(), Some(65));
    let told = String::from_utf8(verified.stdout).expect("text");
    assert!(told.contains(" broken from event "), "{told}");
}
