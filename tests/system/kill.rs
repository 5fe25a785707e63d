//! `kill -9` of the daemon at any moment, again and again over the same workspace and
//! state: no verified step is lost, no unverified one is visible, no file is torn, and
//! nothing is left that grows.
//!
//! How often is told by `FORERUN_KILLS`, and with which seed by `FORERUN_KILL_SEED`.

use crate::support::{Home, events_until, only_new_session};
use forerun_types::{Action, EventKind, StepIndex, View};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Kills, unless `FORERUN_KILLS` says otherwise.
const KILLS: u64 = 20;
/// Steps of a plan that one daemon does not get to the end of.
const STEPS: u64 = 60;
/// Empty slot directories that there may be: one set of them.
const SLOTS_READY_MAX: usize = 8;
/// Longest time from the opening of a session to the kill, in milliseconds.
const LIFE_MS: u64 = 900;

fn number(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// The next of a row of numbers that are hard to foresee (xorshift).
fn roll(state: &mut u64, sides: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % sides
}

/// A content that no other step writes, of several chunks at times.
fn content(round: u64, step: u64) -> String {
    format!("{round} {step}\n").repeat(1 + (step as usize * 7_919) % 4_000)
}

/// Steps that write, replace, move and delete a few files; the approximation is often
/// wrong, and then about files of its own, too.
fn script(round: u64) -> String {
    let mut text = format!(
        "answer = \"done\"\n\
         [target]\nlatency_ms = 12\n\
         [approximation]\nlatency_ms = 3\nmistakes = \"listed\"\nseed = {round}\n"
    );
    let mut step_of = |step: u64, kind: &str, tool: &str, arguments: String| {
        writeln!(text, "[[{kind}]]").expect("writes");
        if kind == "mistake" {
            writeln!(text, "step = {step}").expect("writes");
        }
        writeln!(text, "tool = \"{tool}\"\narguments = '{arguments}'").expect("writes");
    };
    for step in 0..STEPS {
        let file = format!("d{}/f{}", step % 3, step % 5);
        let (tool, arguments) = match step % 6 {
            4 => (
                "move",
                serde_json::json!({"from": format!("d{}/f{}", (step - 1) % 3, (step - 1) % 5),
                    "to": format!("moved/{}", step % 5), "overwrite": true}),
            ),
            5 => (
                "delete",
                serde_json::json!({"path": format!("moved/{}", (step - 1) % 5)}),
            ),
            _ => (
                "write_file",
                serde_json::json!({"path": file, "content": content(round, step)}),
            ),
        };
        step_of(step, "step", tool, arguments.to_string());
    }
    for step in (2..STEPS).step_by(5) {
        let wrong = serde_json::json!({"path": format!("wrong/{step}"), "content": "wrong\n"});
        step_of(step, "mistake", "write_file", wrong.to_string());
    }
    text
}

/// Every file of the workspace, by path.
fn files(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("directory") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                if path != root.join(".forerun") {
                    directories.push(path);
                }
                continue;
            }
            let relative = path.strip_prefix(root).expect("below").display();
            let text = std::fs::read_to_string(&path).expect("text");
            found.insert(relative.to_string(), text);
        }
    }
    found
}

/// What a verified step does to files.
fn apply(files: &mut BTreeMap<String, String>, action: &Action) {
    let arguments = action.arguments.to_value();
    let argument = |name: &str| arguments[name].as_str().expect("a text").to_owned();
    match action.tool.as_str() {
        "write_file" => drop(files.insert(argument("path"), argument("content"))),
        "delete" => drop(files.remove(&argument("path"))),
        "move" => {
            let moved = files.remove(&argument("from")).expect("is there");
            files.insert(argument("to"), moved);
        }
        other => panic!("no step has the tool {other}"),
    }
}

/// Directories of slots that are left, in the state directory and in the workspace.
fn slots(home: &Home) -> usize {
    let list = |path: &Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let of_state = list(&home.path("state/forerun/slots"));
    let of_workspace = list(&home.path("work/.forerun/slots"));
    let slots = of_state.iter().flat_map(|path| list(path));
    let (empty, used): (Vec<_>, Vec<_>) = slots
        .chain(of_workspace)
        .partition(|path| list(path).is_empty());
    // A commit makes some for the next ones; the next opening clears them.
    assert!(empty.len() <= SLOTS_READY_MAX, "{empty:?}");
    used.len()
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).expect("directory");
    let names = entries.map(|entry| entry.expect("entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_anywhere_loses_nothing_and_shows_nothing_too_early() {
    let kills = number("FORERUN_KILLS", KILLS);
    let mut dice = number("FORERUN_KILL_SEED", 0x9e37_79b9);
    let mut home = Home::new();
    let workspace = home.path("work");
    std::fs::create_dir(&workspace).expect("directory");
    let (mut known, mut first_names) = (BTreeSet::new(), None);
    let (mut cut_short, mut steps) = (0, 0);
    for round in 0..kills {
        let mut expected = files(&workspace);
        let spec = home.script("plan.toml", &script(round));
        let mut run = home
            .forerun(&["run", "--json", "--commit", "step", "--workspace"])
            .arg(&workspace)
            .args(["--target", &spec, "--approximation", &spec, "write files"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("runs");
        let id = only_new_session(&home, &known).await;
        known.insert(id.clone());
        tokio::time::sleep(Duration::from_millis(roll(&mut dice, LIFE_MS))).await;
        home.daemon().kill().expect("killed");
        home.daemon().wait().expect("gone");
        let _ = run.kill();
        run.wait().expect("gone");

        home.start_daemon();
        let client = home.client().await;
        let session = client.owned(id.clone()).expect("owned");
        let events = events_until(&session, View::Trace, |kind| {
            kind.is_last() || matches!(kind, EventKind::Ended { .. })
        })
        .await;
        let (mut decided, mut committed) = (BTreeMap::new(), Vec::new());
        let mut verified = BTreeSet::new();
        for event in &events {
            match &event.kind {
                EventKind::Decided { step, action, .. } => {
                    decided.insert(*step, action.clone());
                }
                EventKind::Verified { step, .. } => assert!(verified.insert(*step)),
                EventKind::Committed { step, .. } => committed.push(*step),
                _ => {}
            }
        }
        let context = format!("round {round}: committed {committed:?}, verified {verified:?}");
        // Whole steps in their order, each of them decided, and no verified one missing.
        let count = u32::try_from(committed.len()).expect("small");
        assert!(
            committed.iter().copied().eq((0..count).map(StepIndex)),
            "{context}"
        );
        let has_changes = |step: &StepIndex| u64::from(step.0) < STEPS;
        let missing = verified.iter().filter(|step| has_changes(step));
        assert!(
            missing.clone().all(|step| committed.contains(step)),
            "{context}"
        );
        committed
            .iter()
            .for_each(|step| apply(&mut expected, &decided[step]));
        let found = files(&workspace);
        let keys = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&found), keys(&expected), "{context}");
        for (path, text) in &found {
            assert!(
                *text == expected[path],
                "{context}: {path} is torn or of another step"
            );
        }

        let ended = events
            .iter()
            .any(|event| matches!(event.kind, EventKind::Ended { .. }));
        cut_short += u64::from(!ended);
        steps += committed.len();
        let listed = home.succeed(&["session", "list", "--json"]);
        let listed = listed.lines().find(|line| line.contains(id.as_str()));
        let listed: serde_json::Value =
            serde_json::from_str(listed.expect("is listed")).expect("JSON");
        if !ended {
            assert_eq!(listed["state"], "interrupted", "{context}");
        }
        // What each finished commit leaves for its undo, and what one was staging that was
        // not recorded: the next session on the workspace clears that.
        let left = slots(&home);
        assert!(left <= steps + 1, "{context}: {left} slots, {steps} steps");
        let now = (names(&home.path("state/forerun")), names(&home.path("tmp")));
        let scratches = names(&home.path("state/forerun/sandbox")).into_iter();
        let scratches = scratches.filter(|name| name.starts_with("scratch-"));
        assert!(scratches.count() <= 1, "{context}: of earlier daemons");
        let first = first_names.get_or_insert_with(|| now.clone());
        assert!(
            now.0.len() <= first.0.len() + 1,
            "{context}: {now:?} {first:?}"
        );
        assert!(now.1.len() <= first.1.len(), "{context}: {now:?} {first:?}");
    }
    // How many depends on the machine's speed.
    assert!(
        cut_short * 10 > kills,
        "{cut_short} of {kills} plans were cut short"
    );
    assert!(steps as u64 > kills, "{steps} steps in {kills} plans");
    println!("{kills} kills, {cut_short} plans cut short, {steps} steps committed");
}
