//! Bad input: a clear message that says what and where, a hint, a stable exit code, and
//! nothing lost.

use crate::support::{Home, events, manifest, object};
use forerun_types::{EventKind, ObservationStatus};
use std::process::Stdio;

fn run<'a>(workspace: &'a str, spec: &'a str) -> Vec<&'a str> {
    vec![
        "run",
        "--workspace",
        workspace,
        "--target",
        spec,
        "--depth",
        "0",
        "a task",
    ]
}

const ONE_STEP: &str = "answer = \"done\"\n[[step]]\ntool = \"list_dir\"\narguments = {}\n";

#[test]
fn a_workspace_that_can_not_be_one_is_refused_by_name() {
    let home = Home::new();
    let spec = home.script("plan.toml", ONE_STEP);
    let missing = home.path("missing").display().to_string();
    let stderr = home.fail(66, &run(&missing, &spec));
    assert!(
        stderr.contains(&missing) && stderr.contains("hint:"),
        "{stderr}"
    );

    std::fs::write(home.path("file"), "").expect("file");
    let file = home.path("file").display().to_string();
    let stderr = home.fail(66, &run(&file, &spec));
    assert!(
        stderr.contains(&file) && stderr.contains("directory"),
        "{stderr}"
    );

    let stderr = home.fail(66, &run("/", &spec));
    assert!(stderr.contains("root of the file system"), "{stderr}");

    let inside = home.path("state/forerun/inside");
    std::fs::create_dir_all(&inside).expect("directory");
    let inside = inside.display().to_string();
    let stderr = home.fail(66, &run(&inside, &spec));
    assert!(
        stderr.contains("state") && stderr.contains("hint:"),
        "{stderr}"
    );
}

#[test]
fn a_script_with_an_error_is_reported_with_its_line() {
    let home = Home::new();
    home.workspace("work");
    let work = home.path("work").display().to_string();
    let spec = home.script("broken.toml", "answer = \"x\"\n[[step]]\ntool = 7\n");
    let stderr = home.fail(65, &run(&work, &spec));
    assert!(stderr.contains("broken.toml:3"), "{stderr}");
    let stderr = home.fail(64, &run(&work, "nothing"));
    assert!(stderr.contains("script:FILE"), "{stderr}");
    let missing = format!("script:{}", home.path("none.toml").display());
    let stderr = home.fail(66, &run(&work, &missing));
    assert!(stderr.contains("none.toml"), "{stderr}");
}

#[test]
fn actions_that_can_not_run_are_steps_whose_observation_is_the_error() {
    let home = Home::new();
    home.workspace("work");
    std::os::unix::fs::symlink("/etc", home.path("work/etc")).expect("link");
    let before = manifest(&home.path("work"));
    let steps = [
        ("frobnicate", r#"{}"#, ObservationStatus::Invalid),
        (
            "write_fil",
            r#"{"path": "x", "content": ""}"#,
            ObservationStatus::Invalid,
        ),
        ("read_file", r#"{"path": 7}"#, ObservationStatus::Invalid),
        (
            "read_file",
            r#"{"path": "a", "extra": 1}"#,
            ObservationStatus::Invalid,
        ),
        (
            "read_file",
            r#"{"path": "../../etc/passwd"}"#,
            ObservationStatus::ToolError,
        ),
        (
            "read_file",
            r#"{"path": "/etc/passwd"}"#,
            ObservationStatus::ToolError,
        ),
        (
            "read_file",
            r#"{"path": "etc/passwd"}"#,
            ObservationStatus::ToolError,
        ),
        (
            "write_file",
            r#"{"path": "etc/forerun-was-here", "content": "x"}"#,
            ObservationStatus::ToolError,
        ),
        (
            "write_file",
            r#"{"path": ".git/hooks/pre-commit", "content": "x"}"#,
            ObservationStatus::Denied,
        ),
        (
            "write_file",
            r#"{"path": ".forerun/x", "content": "x"}"#,
            ObservationStatus::Denied,
        ),
    ];
    let mut script = String::from("answer = \"done\"\n");
    for (tool, arguments, _) in &steps {
        script.push_str(&format!(
            "[[step]]\ntool = \"{tool}\"\narguments = '{arguments}'\n"
        ));
    }
    let spec = home.script("plan.toml", &script);
    let work = home.path("work").display().to_string();
    for depth in ["0", "4"] {
        let ndjson = home.succeed(&[
            "run",
            "--json",
            "--workspace",
            &work,
            "--target",
            &spec,
            "--approximation",
            &spec,
            "--depth",
            depth,
            "a task",
        ]);
        let observed: Vec<_> = events(&ndjson)
            .into_iter()
            .filter_map(|event| match event.kind {
                EventKind::Observed {
                    step, observation, ..
                } => Some((step.0, observation)),
                _ => None,
            })
            .collect();
        for (index, (tool, arguments, status)) in steps.iter().enumerate() {
            let (_, observation) = observed
                .iter()
                .find(|(step, _)| *step as usize == index)
                .unwrap_or_else(|| panic!("step {index} was not observed: {observed:#?}"));
            assert_eq!(
                observation.status, *status,
                "{tool} {arguments}: {observation:?}"
            );
            assert!(!observation.text.contains("root:"), "{observation:?}");
        }
        assert_eq!(object(&ndjson, "session")["session"]["answer"], "done");
        assert_eq!(manifest(&home.path("work")), before);
    }
    assert!(!std::path::Path::new("/etc/forerun-was-here").exists());
}

#[test]
fn a_second_daemon_a_foreign_socket_and_a_broken_configuration_are_refused() {
    let home = Home::new();
    let stderr = home.fail(75, &["serve"]);
    assert!(
        stderr.contains("another daemon") && stderr.contains("hint:"),
        "{stderr}"
    );
    let endpoint = format!("unix://{}", home.path("run/other/forerun.sock").display());
    let stderr = home.fail(75, &["serve", "--endpoint", &endpoint]);
    assert!(stderr.contains("another daemon"), "{stderr}");

    let other = Home::without_daemon();
    std::fs::create_dir(other.path("run/forerun")).expect("directory");
    std::fs::write(other.path("run/forerun/forerun.sock"), "precious").expect("file");
    let stderr = other.fail(77, &["serve"]);
    assert!(
        stderr.contains("forerun.sock") && stderr.contains("hint:"),
        "{stderr}"
    );
    let kept = std::fs::read_to_string(other.path("run/forerun/forerun.sock")).expect("file");
    assert_eq!(kept, "precious");

    let configured = Home::without_daemon();
    std::fs::create_dir_all(configured.path("config/forerun")).expect("directory");
    let config = configured.path("config/forerun/config.toml");
    std::fs::write(&config, "depth = 2\n[limits]\ncpu_seconds = 1\n").expect("file");
    let stderr = configured.fail(65, &["serve"]);
    assert!(
        stderr.contains("cpu_seconds") && stderr.contains("line 3"),
        "{stderr}"
    );
}

#[test]
fn without_a_daemon_or_a_session_the_commands_say_so() {
    let home = Home::without_daemon();
    let stderr = home.fail(69, &["session", "list"]);
    assert!(
        stderr.contains("no daemon") && stderr.contains("forerun serve"),
        "{stderr}"
    );
    let home = Home::new();
    let stderr = home.fail(66, &["session", "show", "ses_0000000000000000"]);
    assert!(
        stderr.contains("no session") && stderr.contains("session list"),
        "{stderr}"
    );
    let stderr = home.fail(64, &["session", "show", "nonsense"]);
    assert!(stderr.contains("ses_"), "{stderr}");
    home.workspace("work");
    let work = home.path("work").display().to_string();
    let spec = home.script("plan.toml", ONE_STEP);
    let mut arguments = run(&work, &spec);
    arguments.extend(["--policy", "workspace-wrote"]);
    let stderr = home.fail(66, &arguments);
    assert!(stderr.contains("workspace-write"), "{stderr}");
}

#[test]
fn sigterm_stops_the_daemon_cleanly() {
    let mut home = Home::new();
    home.workspace("work");
    let work = home.path("work").display().to_string();
    let slow = "[target]\nlatency_ms = 60000\n[[step]]\ntool = \"list_dir\"\narguments = {}\n";
    let spec = home.script("slow.toml", slow);
    let mut run = home
        .forerun(&run(&work, &spec))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    home.wait_until("a session is open", || {
        home.succeed(&["session", "list"]).contains("open")
    });
    let pid = nix::unistd::Pid::from_raw(i32::try_from(home.daemon().id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("sent");
    assert_eq!(home.daemon().wait().expect("waited").code(), Some(0));
    assert!(!home.path("run/forerun/forerun.sock").exists());
    run.kill().expect("killed");
    run.wait().expect("gone");
    home.start_daemon();
    assert!(home.succeed(&["session", "list"]).contains("interrupted"));
}

#[test]
fn doctor_says_what_a_workspace_can_do_and_why_a_directory_can_not_be_one() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let told = home.succeed(&["doctor", workspace.to_str().expect("text")]);
    assert!(told.contains("(pid "), "{told}");
    assert!(told.contains("in one step"), "{told}");
    let json = home.succeed(&["doctor", "--json", workspace.to_str().expect("text")]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["exchange"], true);
    assert_eq!(json["leases"], true);
    let missing = home.output(&["doctor", "nowhere"]);
    assert_eq!(missing.status.code(), Some(66));
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(text.contains("nowhere does not exist"), "{text}");
}
