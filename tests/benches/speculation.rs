//! What speculation gains and costs, measured on the real program: a plan of twelve steps
//! with agents at a tenth of the paper's latencies, once without speculation, once with an
//! approximation agent that is always right, once with one that is always wrong.
//!
//! Right is compared with V_last, the time that the algorithm takes without mismatches and
//! without any overhead of ours (S_i = max(S_(i-1) + tA + e, V_(i-k)), V_i = max(S_i +
//! max(tT, tA + e), V_(i-1))); wrong is compared with the run without speculation.
//!
//!     cargo bench -p forerun-cli --bench speculation --profile dev

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::path::Path;
use std::process::{Command, Stdio};

const RUNS: usize = 5;
const TARGET_S: f64 = 0.8;
const APPROXIMATION_S: f64 = 0.2;
const DEPTH: usize = 4;
/// Steps, the final answer included.
const STEPS: usize = 12;

fn main() {
    let home = tempfile::tempdir().expect("directory");
    let mut daemon = forerun(home.path(), &["serve"])
        .stderr(Stdio::null())
        .spawn()
        .expect("the daemon starts");
    while !forerun(home.path(), &["status"])
        .output()
        .expect("runs")
        .status
        .success()
    {
        std::thread::yield_now();
    }
    let (off, _) = median(home.path(), "off", "none", 0);
    let (right, execution) = median(home.path(), "right", "none", DEPTH);
    let (wrong, _) = median(home.path(), "wrong", "all", DEPTH);
    let bound = v_last(execution);
    println!(
        "median of {RUNS}, {STEPS} steps, T {TARGET_S} s, A {APPROXIMATION_S} s, depth {DEPTH}"
    );
    println!("e (mean execution)      {:8.2} ms", execution * 1e3);
    println!("without speculation     {off:8.3} s");
    println!(
        "always right            {right:8.3} s = {:.3} x V_last ({bound:.3} s), {:.2} x as fast as off",
        right / bound,
        off / right
    );
    println!(
        "always wrong            {wrong:8.3} s = {:.3} x off",
        wrong / off
    );
    daemon.kill().expect("killed");
    daemon.wait().expect("gone");
}

/// The time without mismatches and without overhead, in seconds.
fn v_last(execution: f64) -> f64 {
    let (mut started, mut verified) = (vec![0.0; STEPS], vec![0.0f64; STEPS]);
    for i in 0..STEPS {
        let after_previous = if i == 0 {
            0.0
        } else {
            started[i - 1] + APPROXIMATION_S + execution
        };
        let window = if i < DEPTH { 0.0 } else { verified[i - DEPTH] };
        started[i] = f64::max(after_previous, window);
        let answered: f64 = started[i] + TARGET_S.max(APPROXIMATION_S + execution);
        verified[i] = answered.max(if i == 0 { 0.0 } else { verified[i - 1] });
    }
    verified[STEPS - 1]
}

/// Median of the session's time, and the mean time of an execution, in seconds.
fn median(home: &Path, name: &str, mistakes: &str, depth: usize) -> (f64, f64) {
    let mut results: Vec<(f64, f64)> = (0..RUNS)
        .map(|run| one(home, &format!("{name}-{run}"), mistakes, depth))
        .collect();
    results.sort_by(|a, b| a.0.total_cmp(&b.0));
    results[RUNS / 2]
}

fn one(home: &Path, name: &str, mistakes: &str, depth: usize) -> (f64, f64) {
    let workspace = home.join(name);
    std::fs::create_dir(&workspace).expect("directory");
    let mut script = format!(
        "answer = \"done\"\n[target]\nlatency_ms = {}\n[approximation]\nlatency_ms = {}\nmistakes = \"{mistakes}\"\n",
        TARGET_S * 1e3,
        APPROXIMATION_S * 1e3
    );
    for step in 0..STEPS - 1 {
        script.push_str(&format!(
            "[[step]]\ntool = \"write_file\"\narguments = {{ path = \"{step}.txt\", content = \"{step}\" }}\n"
        ));
    }
    let file = home.join(format!("{name}.toml"));
    std::fs::write(&file, script).expect("script");
    let spec = format!("script:{}", file.display());
    let workspace = workspace.display().to_string();
    let depth = depth.to_string();
    let output = forerun(
        home,
        &[
            "run",
            "--json",
            "--workspace",
            &workspace,
            "--target",
            &spec,
            "--approximation",
            &spec,
            "--depth",
            &depth,
            "write files",
        ],
    )
    .output()
    .expect("runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let stdout = String::from_utf8(output.stdout).expect("text");
    let session: serde_json::Value = stdout
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .rfind(|value: &serde_json::Value| value["type"] == "session")
        .expect("a summary");
    let session = &session["session"];
    let micros = |key: &str| session[key].as_f64().expect("a number") / 1e6;
    let executions = session["counts"]["executions"].as_f64().expect("a number");
    (micros("elapsed_us"), micros("execution_us") / executions)
}

fn forerun(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forerun"));
    command
        .args(arguments)
        .env("HOME", home)
        .env("XDG_STATE_HOME", home.join("state"))
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("FORERUN_ENDPOINT")
        .env_remove("FORERUN_STATE_DIR")
        .env("FORERUN_NO_SPAWN", "1");
    command
}
