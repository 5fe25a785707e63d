//! `forerun tool`: what is shipped, what a user adds, one call by itself.

use crate::support::Home;
use std::fs;
use std::path::PathBuf;

const MANIFEST: &str = r#"
name = "speak"
title = "Speak"
description = "Says a text, and writes it to a file. Example: {\"text\": \"hello\"}."
speculation = "contained"
argv = ["say={text}", ["write={file}:{text}"], "{more}"]

[environment]
COLOUR = "blue"

[input_schema]
type = "object"
required = ["text"]
additionalProperties = false
[input_schema.properties]
text = { type = "string", description = "What to say." }
file = { type = "string", description = "Where to write it." }
more = { type = "array", items = { type = "string" }, description = "What else to do." }
"#;

/// A daemon, and a program with a manifest.
fn home() -> (Home, PathBuf, PathBuf) {
    let home = Home::new();
    let (program, manifest) = (home.path("speak.wasm"), home.path("speak.toml"));
    fs::write(&program, forerun_test_guests::COMMAND).expect("writes");
    fs::write(&manifest, MANIFEST).expect("writes");
    fs::create_dir(home.path("plain")).expect("makes");
    (home, program, manifest)
}

fn path(path: &std::path::Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn names(home: &Home) -> Vec<String> {
    let list = home.succeed(&["tool", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(list.trim()).expect("JSON");
    let tools = list["tools"].as_array().expect("tools").iter();
    tools
        .map(|tool| tool["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn a_program_with_a_manifest_becomes_a_tool_of_later_sessions_and_can_be_removed() {
    let (home, program, manifest) = home();
    let shipped = names(&home);
    assert!(shipped.contains(&"read_file".to_owned()), "{shipped:?}");
    let add = ["tool", "add", path(&program), "--manifest", path(&manifest)];
    assert_eq!(home.succeed(&add), "added speak: speak\n");
    home.succeed(&add);
    assert!(names(&home).contains(&"speak".to_owned()));
    assert!(
        home.succeed(&["tool", "show", "speak"])
            .contains("What to say.")
    );

    let arguments = r#"{"text": "hello", "file": "said.txt", "more": ["env=COLOUR"]}"#;
    let work = home.path("plain");
    let call = [
        "tool",
        "call",
        "speak",
        arguments,
        "--workspace",
        path(&work),
    ];
    assert_eq!(home.succeed(&call), "hello\nCOLOUR=Some(\"blue\")\n");
    assert!(!work.join("said.txt").exists(), "dropped");
    home.succeed(&[&call[..], &["--commit"]].concat());
    assert_eq!(
        fs::read_to_string(work.join("said.txt")).expect("reads"),
        "hello"
    );

    let plan = r#"
        answer = "done"
        [[step]]
        tool = "speak"
        arguments = { text = "from a plan", file = "plan.txt" }
    "#;
    let spec = home.script("plan.toml", plan);
    let run = [
        "run",
        "--workspace",
        path(&work),
        "--target",
        &spec,
        "--approximation",
        &spec,
        "speak",
    ];
    home.succeed(&run);
    assert_eq!(
        fs::read_to_string(work.join("plan.txt")).expect("reads"),
        "from a plan"
    );

    home.succeed(&["tool", "remove", "speak"]);
    assert_eq!(names(&home), shipped);
    home.fail(66, &["tool", "remove", "speak"]);
    home.fail(66, &["tool", "show", "speak"]);
    let refused = home.fail(1, &["tool", "call", "speak", arguments]);
    assert_eq!(refused, "");
}

#[test]
fn tools_stay_over_a_restart_and_one_that_was_changed_is_noticed() {
    let (mut home, program, manifest) = home();
    home.succeed(&["tool", "add", path(&program), "--manifest", path(&manifest)]);
    home.daemon().kill().expect("killed");
    home.daemon().wait().expect("gone");
    home.start_daemon();
    assert!(names(&home).contains(&"speak".to_owned()));

    home.daemon().kill().expect("killed");
    home.daemon().wait().expect("gone");
    let stored = home.path("state/forerun/tools/speak/manifest.toml");
    let text = fs::read_to_string(&stored)
        .expect("reads")
        .replace("Says", "Reads");
    fs::write(&stored, text).expect("writes");
    home.start_daemon();
    assert!(!names(&home).contains(&"speak".to_owned()));
    let output = home.output(&["tool", "list"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("speak is not offered: its files were changed"),
        "{told}"
    );
    home.succeed(&[
        "tool",
        "add",
        path(&program),
        "--manifest",
        path(&manifest),
        "--replace",
    ]);
    assert!(names(&home).contains(&"speak".to_owned()));
}

#[test]
fn what_is_not_what_was_meant_is_refused_with_the_reason() {
    let (home, program, manifest) = home();
    let (program, manifest) = (path(&program), path(&manifest));
    let add = ["tool", "add", program, "--manifest", manifest];
    let with = |more: &[&'static str]| [&add[..], more].concat();
    let other = "0".repeat(64);
    let pinned = [&add[..], &["--digest", &other]].concat();
    assert!(home.fail(65, &pinned).contains("not 0000"));
    assert!(
        home.fail(65, &with(&["--name", "../up"]))
            .contains("lower-case")
    );
    // A component with tools of its own is no program, and the other way round.
    assert!(
        home.fail(65, &["tool", "add", program])
            .contains("forerun:tool")
    );
    home.succeed(&add);
    fs::write(manifest, MANIFEST.replace("Says", "Shouts")).expect("writes");
    assert!(home.fail(75, &add).contains("--replace"));
    let twice = home.fail(65, &with(&["--name", "again"]));
    assert!(twice.contains("taken by another tool"), "{twice}");
    home.succeed(&with(&["--replace"]));
    assert!(home.succeed(&["tool", "show", "speak"]).contains("Shouts"));
    fs::write(manifest, MANIFEST.replace("{file}", "{fil}")).expect("writes");
    assert!(
        home.fail(65, &with(&["--name", "typo"]))
            .contains("no property")
    );
}

#[test]
fn a_call_by_itself_is_checked_as_an_agent_s_is() {
    let (home, ..) = home();
    let work = home.path("plain");
    fs::create_dir_all(work.join(".git/hooks")).expect("makes");
    let call = |arguments: &str| {
        let call = [
            "tool",
            "call",
            "write_file",
            arguments,
            "--json",
            "--commit",
            "--workspace",
        ];
        let output = home.output(&[&call[..], &[path(&work)]].concat());
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), answer)
    };
    let (code, answer) = call(r#"{"path": "a", "content": "x", "colour": 1}"#);
    assert_eq!(
        (code, &answer["observation"]["status"]["kind"]),
        (Some(1), &"invalid".into())
    );
    let (code, answer) = call(r#"{"path": ".git/hooks/pre-commit", "content": "x"}"#);
    assert_eq!(
        (code, &answer["observation"]["status"]["kind"]),
        (Some(1), &"denied".into())
    );
    assert_eq!(answer["committed"], false);
    let (code, answer) = call(r#"{"path": "a", "content": "x"}"#);
    assert_eq!((code, &answer["committed"]), (Some(0), &true.into()));
    assert_eq!(fs::read_to_string(work.join("a")).expect("reads"), "x");
    home.fail(65, &["tool", "call", "write_file", "{nonsense"]);
}
