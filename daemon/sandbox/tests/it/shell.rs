//! The `shell` tool against a corpus of scripts with what real bash printed for them, and
//! what its users are promised beside that.

use crate::fixture::Fixture;
use forerun_types::{LimitName, ObservationStatus};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Of the corpus, the part that must print what bash prints.
const PASSED_PERCENT_MIN: usize = 90;

/// A script, and what bash did with it.
#[derive(Default)]
struct Case {
    name: String,
    files: Vec<(String, String)>,
    stdin: String,
    script: String,
    stdout: String,
    exit_code: i64,
}

/// The cases of a corpus file; `record.py` beside the corpus describes the format.
fn cases(topic: &str, text: &str) -> Vec<Case> {
    let mut sections: Vec<(&str, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        if line == "%% no newline\n" {
            let (_, body) = sections.last_mut().expect("a section");
            body.pop();
        } else if let Some(head) = line.strip_prefix("%% ") {
            sections.push((head.trim_end(), String::new()));
        } else {
            let (_, body) = sections.last_mut().expect("a section");
            body.push_str(line);
        }
    }
    let mut shared = Vec::new();
    let mut cases: Vec<Case> = Vec::new();
    for (head, body) in sections {
        let (word, rest) = head.split_once(' ').unwrap_or((head, ""));
        match (word, cases.last_mut()) {
            ("case", _) => cases.push(Case {
                name: format!("{topic}/{rest}"),
                files: shared.clone(),
                ..Case::default()
            }),
            ("file", None) => shared.push((rest.to_owned(), body)),
            ("file", Some(case)) => case.files.push((rest.to_owned(), body)),
            ("stdin", Some(case)) => case.stdin = body,
            ("script", Some(case)) => case.script = body,
            ("stdout", Some(case)) => case.stdout = body,
            ("exit", Some(case)) => case.exit_code = rest.parse().expect("a number"),
            (other, _) => panic!("{topic}: the section {other} is unknown"),
        }
    }
    cases
}

fn tool() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/shell"))
}

fn corpus() -> Vec<Case> {
    let mut paths: Vec<_> = fs::read_dir(tool().join("corpus"))
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "corpus"))
        .collect();
    paths.sort();
    let cases = paths.iter().map(|path| {
        let topic = path.file_stem().expect("named").to_string_lossy();
        cases(&topic, &fs::read_to_string(path).expect("readable"))
    });
    cases.flatten().collect()
}

/// The cases that the documentation says to fail: lines that begin "- `topic/case`".
fn documented_failures() -> BTreeSet<String> {
    fs::read_to_string(tool().join("docs/README.md"))
        .expect("readable")
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once('`'))
        .filter(|(name, _)| name.contains('/'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

async fn run(fixture: &mut Fixture, arguments: Value) -> Value {
    let done = fixture.run("shell", arguments).await;
    match done.observation.structured {
        Some(structured) => serde_json::from_str(&structured).expect("JSON"),
        None => json!({"stdout": "", "stderr": done.observation.text, "exit_code": null}),
    }
}

#[tokio::test]
async fn the_corpus_prints_what_bash_prints_but_for_the_documented_failures() {
    let corpus = corpus();
    assert!(corpus.len() >= 150, "{} scripts", corpus.len());
    let mut failed = BTreeSet::new();
    let mut report = String::new();
    for case in &corpus {
        let files: Vec<(&str, &str)> = case
            .files
            .iter()
            .map(|(path, content)| (path.as_str(), content.as_str()))
            .collect();
        let mut fixture = Fixture::new(&files);
        let call = json!({"script": case.script, "stdin": case.stdin});
        let ended = run(&mut fixture, call).await;
        if ended["stdout"] != case.stdout.as_str() || ended["exit_code"] != case.exit_code {
            failed.insert(case.name.clone());
            report.push_str(&format!(
                "== {}\n{}-- bash, exit {}\n{}-- here, exit {}\n{}-- stderr\n{}\n",
                case.name,
                case.script,
                case.exit_code,
                case.stdout,
                ended["exit_code"],
                ended["stdout"].as_str().unwrap_or_default(),
                ended["stderr"].as_str().unwrap_or_default(),
            ));
        }
    }
    let documented = documented_failures();
    let unexpected: Vec<_> = failed.symmetric_difference(&documented).collect();
    assert!(
        unexpected.is_empty(),
        "docs/README.md and the corpus disagree about {unexpected:#?}\n{report}"
    );
    let passed = corpus.len() - failed.len();
    assert!(
        passed * 100 >= corpus.len() * PASSED_PERCENT_MIN,
        "only {passed} of {} scripts pass\n{report}",
        corpus.len()
    );
}

#[tokio::test]
async fn a_script_changes_the_workspace_and_nothing_else() {
    let mut fixture = Fixture::new(&[("src/a.txt", "one\n"), ("secret", "->../secret")]);
    let script = "sed -i s/one/two/ src/a.txt; mkdir out; cp src/a.txt out/b; cat ../secret secret; \
                  echo x > /etc/passwd; cd /; ls; rm -rf /tmp";
    let done = fixture.run("shell", json!({"script": script})).await;
    assert_eq!(fixture.changed(&done), ["out", "out/b", "src/a.txt"]);
    assert_eq!(
        fixture.text("read_file", json!({"path": "out/b"})).await,
        "two\n"
    );
    assert!(!done.observation.text.contains("not for tools"));
}

#[tokio::test]
async fn each_call_starts_anew_and_files_stay() {
    let mut fixture = Fixture::new(&[]);
    let first = json!({"script": "x=1; mkdir d; cd d; echo kept > /tmp/f; pwd"});
    assert_eq!(fixture.text("shell", first).await, "/workspace/d\n");
    let second = json!({"script": "echo \"[$x]\"; pwd; cat /tmp/f"});
    assert_eq!(
        fixture.text("shell", second).await,
        "[]\n/workspace\nkept\n"
    );
}

#[tokio::test]
async fn failure_is_a_result_with_its_words() {
    let mut fixture = Fixture::new(&[]);
    let text = fixture
        .text("shell", json!({"script": "echo a; cat none; exit 3"}))
        .await;
    assert_eq!(
        text,
        "a\n[stderr]\ncat: none: No such file or directory\n[exit code 3]"
    );
    let ended = run(&mut fixture, json!({"script": "if then; fi ("})).await;
    assert_eq!(ended["exit_code"], 2, "{ended}");
    assert!(
        ended["stderr"]
            .as_str()
            .is_some_and(|text| text.contains("syntax")),
        "{ended}"
    );
}

#[tokio::test]
async fn there_is_no_network_and_no_other_program() {
    let mut fixture = Fixture::new(&[]);
    for program in ["curl", "wget", "ssh", "git", "python3", "node", "nc"] {
        let script = format!("command -v {program}; {program} http://127.0.0.1/");
        let ended = run(&mut fixture, json!({"script": script})).await;
        assert_eq!(ended["exit_code"], 127, "{program}: {ended}");
    }
}

#[tokio::test]
async fn long_output_is_cut_and_endless_loops_are_stopped() {
    let mut fixture = Fixture::new(&[]);
    let ended = run(&mut fixture, json!({"script": "seq 100000; echo end"})).await;
    let stdout = ended["stdout"].as_str().expect("text");
    assert!(stdout.len() < 70_000 && stdout.contains("bytes left out]"));
    assert!(stdout.starts_with("1\n2\n") && stdout.ends_with("100000\nend\n"));
    assert_eq!(ended["truncated"], true);
    fixture.limits.cpu_ms = 300;
    let done = fixture
        .run("shell", json!({"script": "while :; do :; done"}))
        .await;
    let cpu = ObservationStatus::Stopped(LimitName::Cpu);
    assert_eq!(done.observation.status, cpu, "{}", done.observation.text);
}

#[tokio::test]
async fn the_same_script_gives_the_same_again() {
    let fixture = Fixture::new(&[("b", ""), ("a", "")]);
    let script = json!({"script": "echo $RANDOM; date +%s; ls; mktemp"});
    let one = fixture.try_run("shell", script.clone()).await;
    let two = fixture.try_run("shell", script).await;
    assert_eq!(one.digests, two.digests, "{}", one.observation.text);
}
