//! Conformance: the cases of `cases.txt`, written from the text of WASI, each on the same
//! files in a sandbox and on stock wasmtime-wasi over a plain directory. What they return
//! must be equal line by line; where the design wants another answer, the case is in the
//! table of `WASI.md` beside this crate, with the reason, and nothing else is.

use crate::fixture::{Fixture, fill};
use crate::stock::Stock;
use forerun_types::{LimitName, ObservationStatus};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use wasmtime::Config;

const CASES: &str = include_str!("cases.txt");
const DIFFERENCES: &str = include_str!("../../../WASI.md");

/// The least number of cases; stops the file from being read wrongly without a notice.
const CASES_MIN: usize = 250;
/// The words for a guest that was ended by a trap.
const TRAP: &str = "(trap)";

/// What every case starts from. `/` is an empty directory, `->` makes a link.
const FILES: [(&str, &str); 25] = [
    ("a.txt", "alpha"),
    ("b.txt", "beta and more"),
    ("empty", ""),
    ("dir/c.txt", "gamma"),
    ("dir/sub/d.txt", "delta"),
    ("full/x", "1"),
    ("full/y", "2"),
    ("emptydir", "/"),
    ("link", "->a.txt"),
    ("chain", "->link"),
    ("dirlink", "->dir"),
    ("dangling", "->none"),
    ("loop", "->loop"),
    ("loop1", "->loop2"),
    ("loop2", "->loop1"),
    ("abs", "->/etc/passwd"),
    ("absdir", "->/etc"),
    ("out", "->../outside"),
    ("outdir", "->.."),
    ("deeplink", "->dir/sub/../c.txt"),
    ("slashlink", "->dir/"),
    ("fileslash", "->a.txt/"),
    ("dir/up", "->.."),
    ("dir/back", "->../a.txt"),
    ("dir/self", "->."),
];

struct Case {
    name: &'static str,
    calls: Vec<&'static str>,
}

fn cases() -> Vec<Case> {
    CASES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut parts = line.split(" | ").map(str::trim);
            Case {
                name: parts.next().expect("a name"),
                calls: parts.collect(),
            }
        })
        .collect()
}

/// The cases that the table lists: `| case | here | wasmtime-wasi | why |`.
fn listed() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    DIFFERENCES
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let name = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
            let unquoted = |cell: &'static str| cell.trim_matches('`');
            Some((name, (unquoted(cells.get(2)?), unquoted(cells.get(3)?))))
        })
        .collect()
}

fn big() -> String {
    (0..20_000).map(|number| format!("{number:09}\n")).collect()
}

async fn on_stock(stock: &Stock, files: &[(&str, &str)], script: &str) -> String {
    let directory = tempfile::tempdir().expect("temporary directory");
    let (root, tmp) = (
        directory.path().join("workspace"),
        directory.path().join("tmp"),
    );
    std::fs::create_dir(&root).expect("created");
    std::fs::create_dir(&tmp).expect("created");
    fill(&root, files);
    let arguments = json!({ "script": script }).to_string();
    let directories = [(root.as_path(), "/workspace"), (tmp.as_path(), "/tmp")];
    stock
        .call(&directories, false, "calls", &arguments)
        .await
        .unwrap_or_else(|_| TRAP.to_owned())
}

async fn in_a_sandbox(fixture: &Fixture, script: &str) -> String {
    let done = fixture.try_run("calls", json!({ "script": script })).await;
    fixture.sandboxes.drop_snapshot(done.snapshot);
    match done.observation.status {
        ObservationStatus::Success => done.observation.text,
        ObservationStatus::Stopped(LimitName::Trap) => TRAP.to_owned(),
        other => panic!("{script}: {other:?}: {}", done.observation.text),
    }
}

/// The lines that differ, here and there, and the first call that they are of.
fn difference(case: &Case, ours: &str, stock: &str) -> Option<(&'static str, String, String)> {
    if ours == stock {
        return None;
    }
    if ours == TRAP || stock == TRAP {
        let text = |text: &str| if text == TRAP { TRAP } else { "goes on" }.to_owned();
        return Some(("", text(ours), text(stock)));
    }
    let lines = case.calls.iter().zip(ours.lines().zip(stock.lines()));
    let different: Vec<_> = lines.filter(|(_, (one, other))| one != other).collect();
    let join = |lines: Vec<&str>| lines.join("; ");
    Some((
        different.first().map_or("", |(call, _)| call),
        join(different.iter().map(|(_, (ours, _))| *ours).collect()),
        join(different.iter().map(|(_, (_, stock))| *stock).collect()),
    ))
}

#[tokio::test]
async fn every_case_returns_what_stock_wasmtime_wasi_returns_or_is_listed() {
    let cases = cases();
    assert!(cases.len() >= CASES_MIN, "only {} cases", cases.len());
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "a name is there twice");
    let big = big();
    let mut files = FILES.to_vec();
    files.push(("big", &big));
    let fixture = Fixture::new(&files);
    let stock = Stock::new(&Config::new(), forerun_test_guests::PROBE);
    let listed = listed();
    let mut wrong = Vec::new();
    for case in &cases {
        let script = case.calls.join("\n");
        let ours = in_a_sandbox(&fixture, &script).await;
        let theirs = on_stock(&stock, &files, &script).await;
        let calls = case.calls.len();
        for text in [&ours, &theirs] {
            assert!(
                text == TRAP || text.lines().count() == calls && !text.contains("no call"),
                "{} is not written rightly:\n{text}",
                case.name
            );
        }
        let found = difference(case, &ours, &theirs);
        match (found, listed.get(case.name)) {
            (None, None) => {}
            (None, Some(_)) => wrong.push(format!("{}: listed, but equal", case.name)),
            (Some((_, ours, stock)), Some(listed)) if (&*ours, &*stock) == *listed => {}
            (Some((call, ours, stock)), _) => {
                wrong.push(format!("| `{}` | `{ours}` | `{stock}` | {call}", case.name));
            }
        }
    }
    for name in listed.keys().filter(|name| !names.contains(**name)) {
        wrong.push(format!("{name}: listed, but no case"));
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
