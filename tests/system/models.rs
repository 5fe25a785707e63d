//! Models as agents: `forerun run` with nothing but a key, both protocols, rate limits, and
//! what is said without a key. The server is the strict one of the SDK's tests.

#[path = "../../sdk/rust/tests/sdk/model/rules.rs"]
mod rules;
#[path = "../../sdk/rust/tests/sdk/model/said.rs"]
mod said;
#[path = "../../sdk/rust/tests/sdk/model/server.rs"]
#[expect(dead_code, reason = "the SDK's tests also cut, break off and hang")]
mod server;

use crate::support::{Home, events, manifest, object};
use forerun_types::{AskEnd, EventKind};
use rules::KEY;
use serde_json::json;
use server::{ModelServer, Respond, Seen};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the slow model thinks: longer than the fast one and two executions take.
const THINKS: Duration = Duration::from_millis(400);

/// What the slow model does, by the number of steps in its prompt.
const PLAN: [(&str, &str); 4] = [
    ("read_file", r#"{"path":"README.md"}"#),
    (
        "edit_file",
        r##"{"path":"README.md","old":"Old text.","new":"New text."}"##,
    ),
    ("delete", r#"{"path":"obsolete.txt"}"#),
    (
        "terminate",
        r#"{"answer":"README.md is new, obsolete.txt is gone."}"#,
    ),
];
/// What the fast one does instead of the third.
const MISTAKE: (&str, &str) = ("delete", r#"{"path":"src/main.rs"}"#);

fn steps(seen: &Seen) -> usize {
    seen.body["messages"]
        .to_string()
        .matches("## Step ")
        .count()
}

/// The fast model and the slow one.
fn think(seen: &Seen) -> Respond {
    let kind = match seen.path.as_str() {
        "/v1/messages" => "anthropic",
        _ => "openai",
    };
    let fast = seen.body["model"].to_string().contains("mini");
    let step = steps(seen);
    let (tool, arguments) = match (fast, step) {
        (true, 2) => MISTAKE,
        _ => PLAN[step],
    };
    let respond = said::calls(kind, tool, arguments).cut(11);
    if fast { respond } else { respond.after(THINKS) }
}

/// Runs the task in a workspace of that name, and returns what was printed.
fn run(home: &Home, work: &str, variables: &[(&str, String)], arguments: &[&str]) -> String {
    let work = home.workspace(work).display().to_string();
    let line = ["run", "--json", "--workspace", &work];
    let line = [&line, arguments, &["tidy up"]].concat();
    let mut command = home.forerun(&line);
    command.env("NO_PROXY", "*");
    for (name, value) in variables {
        command.env(name, value);
    }
    let output = command.output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(!text(&output.stderr).contains(KEY) && !text(&output.stdout).contains(KEY));
    text(&output.stdout)
}

/// The workspace is what the slow model alone would have made of it.
fn is_done(home: &Home, work: &str) {
    let done = home.workspace("expected");
    std::fs::write(done.join("README.md"), "# Title\n\nNew text.\n").expect("file");
    std::fs::remove_file(done.join("obsolete.txt")).expect("file");
    assert_eq!(manifest(&home.path(work)), manifest(&done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_all_that_a_run_needs_and_the_slow_models_word_counts() {
    let server = ModelServer::answering(think).await;
    let home = Home::with_config("[models.prices.\"gpt-4.1\"]\ninput = 2\noutput = 8\n");
    let variables = [
        ("OPENAI_API_KEY", KEY.to_owned()),
        ("OPENAI_BASE_URL", format!("{}/v1", server.address())),
    ];
    let printed = tokio::task::block_in_place(|| run(&home, "work", &variables, &[]));
    is_done(&home, "work");
    let session = &object(&printed, "session")["session"];
    assert_eq!(session["answer"], "README.md is new, obsolete.txt is gone.");
    assert_eq!(session["counts"]["corrected"], 1);
    assert!(
        session["counts"]["matched"].as_u64() >= Some(2),
        "{session}"
    );
    // Each of the four answers that counted: 1000 prompt tokens and 50 generated.
    let target = &session["usage"]["target"];
    assert!(target["input_tokens"].as_u64() >= Some(4_000), "{session}");
    assert!(
        target["cost_micros"].as_u64() >= Some(4 * 2_400),
        "{session}"
    );
    assert_eq!(session["usage"]["approximation"]["cost_micros"], 0);
    let models: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.body["model"].clone())
        .collect();
    assert!(models.contains(&json!("gpt-4.1")) && models.contains(&json!("gpt-4.1-mini")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_protocols_work_together_and_a_rate_limit_is_shown_and_waited_for() {
    let limited = AtomicBool::new(false);
    let server = ModelServer::answering(move |seen| {
        let slow = seen.path == "/v1/messages";
        if slow && steps(seen) == 1 && !limited.swap(true, Ordering::SeqCst) {
            let body =
                r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
            return Respond::status(429, body).header("retry-after-ms", "300");
        }
        think(seen)
    })
    .await;
    let home = Home::new();
    let approximation = format!("openai:mini@{}/v1", server.address());
    let target = format!("anthropic:large@{}", server.address());
    let variables = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"].map(|name| (name, KEY.to_owned()));
    let arguments = ["--approximation", &approximation, "--target", &target];
    let printed = tokio::task::block_in_place(|| run(&home, "work", &variables, &arguments));
    is_done(&home, "work");
    server.seen();
    let failed: Vec<_> = events(&printed)
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::CallEnded { end, reason, .. } => Some((end, reason)),
            _ => None,
        })
        .collect();
    let limited = "rate limited for 0.3 s: slow down".to_owned();
    assert_eq!(failed, [(AskEnd::Failed, limited)]);
}

/// Setting 2 of the paper, with one mistake: the eleven metrics are those of its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_of_the_paper_prints_its_metrics_and_they_are_what_the_log_says() {
    let server = ModelServer::answering(|seen| {
        let slow = seen.body["messages"].to_string().contains("step by step");
        let (tool, arguments) = match (slow, steps(seen)) {
            (false, 2) => MISTAKE,
            (_, step) => PLAN[step],
        };
        let respond = said::calls("openai", tool, arguments).cut(11);
        if slow { respond.after(THINKS) } else { respond }
    })
    .await;
    let home = Home::with_config("");
    let prices = "[models.prices.\"gpt-4-turbo\"]\ninput = 10\noutput = 30\n";
    std::fs::write(home.path("config/forerun/config.toml"), prices).expect("prices");
    let variables = [
        ("OPENAI_API_KEY", KEY.to_owned()),
        ("OPENAI_BASE_URL", format!("{}/v1", server.address())),
    ];
    let setting = ["--setting", "isp-2"];
    let printed = tokio::task::block_in_place(|| run(&home, "work", &variables, &setting));
    is_done(&home, "work");
    server.seen();
    let session = &object(&printed, "session")["session"];
    let id = session["id"].as_str().expect("an id");
    let metrics = object(&printed, "metrics");

    // From the log alone.
    let (mut tokens, mut cost, mut steps, mut end) = (0, 0, 0.0, 0.0);
    let (mut in_flight, mut peak) = (BTreeSet::new(), 0);
    for event in events(&home.succeed(&["log", "export", id])) {
        match event.kind {
            EventKind::Asked { call, .. } => {
                in_flight.insert(call);
                peak = peak.max(in_flight.len());
            }
            EventKind::CallEnded { call, .. } => drop(in_flight.remove(&call)),
            EventKind::Answered { call, usage, .. } => {
                in_flight.remove(&call);
                tokens += usage.output_tokens;
                cost += usage.cost_micros;
            }
            EventKind::Verified { .. } => steps += 1.0,
            EventKind::Ended { .. } => end = event.at.as_secs_f64(),
            _ => {}
        }
    }
    assert!(steps == 4.0 && peak >= 2 && cost > 0, "{metrics}");
    let expected = [
        ("TT", end),
        ("ST", end / steps),
        ("TO", tokens as f64),
        ("SO", tokens as f64 / steps),
        ("MC", peak as f64),
    ];
    let of = |name: &str| {
        metrics[name]
            .as_f64()
            .unwrap_or_else(|| panic!("{metrics}"))
    };
    for (name, value) in expected {
        assert!((of(name) - value).abs() < 1e-6, "{name}: {value} {metrics}");
        assert_eq!(of(&format!("min-{name}")), of(name), "of one session");
    }
    assert!((of("cost") - cost as f64 / 1e6).abs() < 1e-9, "{metrics}");

    // Over several, with the least of each; and for people.
    tokio::task::block_in_place(|| run(&home, "again", &variables, &setting));
    server.seen();
    let over = object(&home.succeed(&["session", "metrics", "--json"]), "metrics");
    assert_eq!(over["sessions"], 2);
    assert!(over["min-TT"].as_f64() <= over["TT"].as_f64(), "{over}");
    let one = home.succeed(&["session", "metrics", id]);
    for name in [
        "TT", "min-TT", "ST", "min-ST", "TO", "min-TO", "SO", "min-SO", "MC", "min-MC",
    ] {
        assert!(one.contains(&format!(" {name} ")), "{one}");
    }
    assert!(one.contains("cost 0.1"), "{one}");
}

#[test]
fn without_a_key_the_variable_is_named_and_nothing_is_opened() {
    let home = Home::new();
    let work = home.workspace("work").display().to_string();
    let stderr = home.fail(64, &["run", "--workspace", &work, "tidy up"]);
    for word in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "script:FILE"] {
        assert!(stderr.contains(word), "{stderr}");
    }
    let stderr = home.fail(
        77,
        &["run", "--workspace", &work, "--setting", "isp-2", "tidy up"],
    );
    assert!(stderr.contains("OPENAI_API_KEY is not set"), "{stderr}");
    assert!(stderr.contains("script:FILE"), "{stderr}");
    assert_eq!(home.succeed(&["session", "list", "--json"]), "");
}
