//! The picture of a run: written beside it, drawn again later, and refused before anything is
//! done if its file can not be written.

use crate::support::{Home, object};
use std::path::Path;

/// The approximation agent is wrong at the second of three steps.
const SCRIPT: &str = r#"
answer = "done"
[target]
latency_ms = 200
[approximation]
latency_ms = 40
mistakes = "listed"
[[step]]
tool = "read_file"
arguments = { path = "README.md" }
[[step]]
tool = "list_dir"
arguments = { path = "src" }
[[step]]
tool = "write_file"
arguments = { path = "new.txt", content = "new\n" }
[[mistake]]
step = 1
tool = "delete"
arguments = { path = "obsolete.txt" }
"#;

/// What follows `forerun run` here, but for the report.
fn arguments<'a>(workspace: &'a str, spec: &'a str) -> Vec<&'a str> {
    vec![
        "run",
        "--json",
        "--workspace",
        workspace,
        "--approximation",
        spec,
        "--target",
        spec,
        "look <and> write",
    ]
}

/// How many bars of a lane have a look.
fn bars(svg: &str, lane: &str, look: &str) -> usize {
    let page = roxmltree::Document::parse(svg).expect("XML");
    let group = |node: &roxmltree::Node<'_, '_>, class: &str| {
        node.tag_name().name() == "g" && node.attribute("class") == Some(class)
    };
    let mut nodes = page.descendants();
    let lane = nodes.find(|node| group(node, &format!("lane {lane}")));
    let lane = lane.expect("the lane");
    let bars = lane.descendants();
    bars.filter(|node| group(node, &format!("bar {look}")))
        .count()
}

#[test]
fn a_run_is_drawn_and_the_same_picture_is_drawn_later() {
    let home = Home::new();
    let workspace = home.workspace("work").display().to_string();
    let spec = home.script("plan.toml", SCRIPT);
    let file = home.path("run.svg").display().to_string();
    // What is there is overwritten, also if it is longer.
    std::fs::write(&file, "x".repeat(1 << 20)).expect("file");
    let mut run = arguments(&workspace, &spec);
    run.extend(["--report", &file]);
    let ndjson = home.succeed(&run);
    let svg = std::fs::read_to_string(&file).expect("the picture");
    // Three steps and the end, each decided by a call of the target.
    assert_eq!(bars(&svg, "target", "used"), 4, "{svg}");
    assert!(bars(&svg, "executions", "dropped") >= 1, "{svg}");
    assert_eq!(bars(&svg, "executions", "used"), 3, "{svg}");
    assert!(svg.contains("look &lt;and&gt; write"), "{svg}");

    let session = object(&ndjson, "session")["session"].clone();
    let id = session["id"].as_str().expect("an id");
    let later = home.path("later.svg").display().to_string();
    home.succeed(&["session", "report", id, &later]);
    let later = std::fs::read_to_string(&later).expect("the picture");
    let printed = home.succeed(&["session", "report", id]);
    assert_eq!(later, printed);
    assert_eq!(bars(&later, "target", "used"), 4);
}

#[test]
fn a_picture_on_stdout_has_it_alone() {
    let home = Home::new();
    let workspace = home.workspace("work").display().to_string();
    let spec = home.script("plan.toml", SCRIPT);
    let mut run = arguments(&workspace, &spec);
    run.extend(["--report", "-"]);
    let svg = home.succeed(&run);
    assert!(svg.starts_with("<svg "), "{svg}");
    assert_eq!(bars(&svg, "target", "used"), 4);
}

#[test]
fn a_picture_that_can_not_be_written_is_told_before_the_run() {
    let home = Home::new();
    let workspace = home.workspace("work").display().to_string();
    let spec = home.script("plan.toml", SCRIPT);
    let directory = home.path("work").display().to_string();
    let nowhere = home.path("nowhere/run.svg").display().to_string();
    for file in [&directory, &nowhere] {
        let mut run = arguments(&workspace, &spec);
        run.extend(["--report", file]);
        let stderr = home.fail(74, &run);
        assert!(stderr.contains(file.as_str()), "{stderr}");
    }
    assert_eq!(
        home.succeed(&["session", "list", "--json"]),
        "",
        "none was opened"
    );
    assert!(!Path::new(&nowhere).exists());
}

#[test]
fn a_run_that_fails_leaves_no_file_for_its_picture() {
    let home = Home::new();
    let workspace = home.workspace("work").display().to_string();
    let file = home.path("run.svg").display().to_string();
    let mut run = arguments(&workspace, "script:/nowhere.toml");
    run.extend(["--report", &file]);
    home.fail(66, &run);
    assert!(!Path::new(&file).exists());
}
