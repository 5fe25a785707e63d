//! `forerun simulate`: the same figures each time, in every form, without a daemon; and
//! bad input refused by name.

use crate::support::Home;

/// Two steps; the second candidate is wrong.
const TRACE: &str = r#"{"trace":"made","task":1,"step":0,"approximation":{"candidates":[{"tool":"a","arguments":{}}],"seconds":1},"target":{"action":{"tool":"a","arguments":{}}}}
{"trace":"made","task":1,"step":1,"approximation":{"candidates":[{"tool":"b","arguments":{}}],"seconds":1},"target":{"action":{"tool":"c","arguments":{}}}}
"#;

fn trace(home: &Home, name: &str, text: &str) -> String {
    let path = home.path(name);
    std::fs::write(&path, text).expect("file");
    path.display().to_string()
}

#[test]
fn a_replay_stands_beside_off_as_a_table_as_csv_and_as_json() {
    let home = Home::without_daemon();
    let file = trace(&home, "trace.jsonl", TRACE);
    let replay = ["simulate", "replay", &file, "--target-seconds", "4"];
    let table = home.succeed(&replay);
    assert!(table.contains("| made   | off ") && table.contains("| made   | isp "));
    let csv = home.succeed(&[&replay[..], &["--csv"]].concat());
    assert!(csv.starts_with("source,preset,runs,steps,"), "{csv}");
    let json = home.succeed(&[&replay[..], &["--json"]].concat());
    let rows: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object"))
        .collect();
    assert_eq!(rows.len(), 2);
    // T(0) 0..4 and T(1) 1..5, against 4 seconds for each.
    assert_eq!(rows[0]["preset"], "off");
    assert_eq!(rows[0]["seconds"], 8.0);
    assert_eq!(rows[1]["preset"], "isp");
    assert_eq!(rows[1]["seconds"], 5.0);
    assert_eq!(rows[1]["right_first"], 0.5);
}

#[test]
fn predictions_stand_beside_their_baselines() {
    let home = Home::without_daemon();
    let file = trace(&home, "trace.jsonl", TRACE);
    let predict = ["simulate", "predict", &file, "--csv"];
    let csv = home.succeed(&predict);
    assert!(
        csv.starts_with("trace,predictor,calls,tool_first,"),
        "{csv}"
    );
    assert_eq!(csv.lines().count(), 5, "{csv}");
    let folds = home.succeed(&[&predict[..], &["--folds", "2", "--seed", "1"]].concat());
    assert_eq!(csv, folds, "of one task there is one part");
    let confidence = home.succeed(&[&predict[..], &["--confidence"]].concat());
    assert!(confidence.starts_with("trace,confidence,"), "{confidence}");
}

#[test]
fn the_papers_figures_are_the_same_each_time_and_are_written_as_csv_and_svg() {
    let home = Home::without_daemon();
    let dir = home.path("figures").display().to_string();
    let paper = ["simulate", "paper", "--figure", "12", "--seeds", "5"];
    let text = home.succeed(&[&paper[..], &["--out", &dir]].concat());
    assert!(text.contains("Figure 12"), "{text}");
    assert_eq!(text, home.succeed(&paper));
    let read = |name: &str| std::fs::read_to_string(home.path("figures").join(name));
    let csv = read("figure-12.csv").expect("the figure");
    assert_eq!(csv, home.succeed(&[&paper[..], &["--csv"]].concat()));
    let svg = read("figure-12-seconds_per_step.svg").expect("the plot");
    assert!(svg.starts_with("<svg"));
}

#[test]
fn what_can_not_be_simulated_is_refused_by_name() {
    let home = Home::without_daemon();
    let missing = home.path("missing.jsonl").display().to_string();
    let stderr = home.fail(66, &["simulate", "replay", &missing]);
    assert!(stderr.contains(&missing), "{stderr}");
    let broken = trace(&home, "broken.jsonl", &format!("{TRACE}nonsense\n"));
    let stderr = home.fail(65, &["simulate", "replay", &broken]);
    assert!(
        stderr.contains(&broken) && stderr.contains("line 3"),
        "{stderr}"
    );
    let empty = trace(&home, "empty.jsonl", "\n");
    home.fail(65, &["simulate", "replay", &empty]);
    for wrong in [
        &["simulate", "replay"][..],
        &["simulate", "replay", &empty, "--preset", "fast"],
        &["simulate", "replay", &empty, "--target-seconds", "-1"],
        &["simulate", "paper", "--figure", "13"],
        &["simulate", "paper", "--seeds", "0"],
        &["simulate", "compare", "--tau", "1000"],
    ] {
        home.fail(64, wrong);
    }
}
