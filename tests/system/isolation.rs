//! What is not verified is not in the workspace, and nothing outside of it changes.

use crate::support::{Home, events, manifest, object};
use forerun_types::EventKind;
use inotify::{EventMask, Inotify, WatchMask};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

const SCRIPT: &str = r#"
answer = "done"
[target]
latency_ms = 200
[approximation]
latency_ms = 20
mistakes = "listed"
[[step]]
tool = "edit_file"
arguments = { path = "README.md", old = "Old text", new = "New text" }
[[step]]
tool = "write_file"
arguments = { path = "src/new.rs", content = "// new\n" }
[[step]]
tool = "delete"
arguments = { path = "obsolete.txt" }
[[mistake]]
step = 1
tool = "write_file"
arguments = { path = "src/wrong.rs", content = "// wrong\n" }
"#;

/// Every change below a directory, with its time, until it is stopped.
struct Changes {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<(SystemTime, PathBuf)>>,
}

impl Changes {
    fn of(root: &Path) -> Changes {
        let mut inotify = Inotify::init().expect("inotify");
        let mask = WatchMask::CREATE
            | WatchMask::MODIFY
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::ATTRIB;
        let mut watched = BTreeMap::new();
        let mut directories = vec![root.to_owned()];
        while let Some(directory) = directories.pop() {
            let watch = inotify.watches().add(&directory, mask).expect("a watch");
            for entry in std::fs::read_dir(&directory).expect("directory") {
                let entry = entry.expect("entry");
                if entry.file_type().expect("type").is_dir() {
                    directories.push(entry.path());
                }
            }
            watched.insert(watch.get_watch_descriptor_id(), directory);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut changes = Vec::new();
            let mut buffer = [0; 16_384];
            while !stopped.load(Ordering::SeqCst) {
                match inotify.read_events(&mut buffer) {
                    Ok(found) => {
                        for event in found {
                            assert!(!event.mask.contains(EventMask::Q_OVERFLOW));
                            let directory = &watched[&event.wd.get_watch_descriptor_id()];
                            let path = event.name.map_or(directory.clone(), |n| directory.join(n));
                            changes.push((SystemTime::now(), path));
                        }
                    }
                    Err(_) => std::thread::park_timeout(Duration::from_millis(1)),
                }
            }
            changes
        });
        Changes { stop, thread }
    }

    fn end(self) -> Vec<(SystemTime, PathBuf)> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the watcher")
    }
}

fn run(home: &Home, commit: &str) -> (String, SystemTime) {
    let spec = home.script("plan.toml", SCRIPT);
    let work = home.path("work").display().to_string();
    let ndjson = home.succeed(&[
        "run",
        "--json",
        "--workspace",
        &work,
        "--target",
        &spec,
        "--approximation",
        &spec,
        "--commit",
        commit,
        "a task",
    ]);
    let session = object(&ndjson, "session");
    let opened = session["session"]["opened_at_ms"].as_u64().expect("a time");
    (
        ndjson,
        SystemTime::UNIX_EPOCH + Duration::from_millis(opened),
    )
}

#[test]
fn each_change_lies_after_its_steps_decision() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let changes = Changes::of(&workspace);
    let (ndjson, opened) = run(&home, "step");
    let changes = changes.end();
    let mut decided = BTreeMap::new();
    for event in events(&ndjson) {
        if let EventKind::Decided { step, .. } = event.kind {
            decided.insert(step.0, opened + Duration::from_micros(event.at.0));
        }
    }
    let steps: BTreeMap<PathBuf, u32> = [("README.md", 0), ("src/new.rs", 1), ("obsolete.txt", 2)]
        .map(|(path, step)| (workspace.join(path), step))
        .into();
    let mut seen = 0;
    for (at, path) in &changes {
        if path.starts_with(workspace.join(".forerun")) || *path == workspace {
            continue;
        }
        let step = steps.get(path).or_else(|| {
            // The directory's own times change with its entry.
            (*path == workspace.join("src")).then_some(&1)
        });
        let step = step.unwrap_or_else(|| panic!("{} was changed", path.display()));
        assert!(
            *at >= decided[step],
            "{} was changed before step {step} was decided",
            path.display()
        );
        seen += 1;
    }
    assert!(seen >= 3, "{changes:?}");
    assert!(!workspace.join("src/wrong.rs").exists());
}

#[test]
fn with_commit_session_no_change_lies_before_the_commit() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let before = manifest(&workspace);
    let changes = Changes::of(&workspace);
    let (ndjson, _) = run(&home, "session");
    let changes = changes.end();
    assert_eq!(changes, [], "nothing may be touched");
    assert_eq!(manifest(&workspace), before);
    let id = object(&ndjson, "session")["session"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    home.succeed(&["session", "commit", &id]);
    assert!(workspace.join("src/new.rs").exists());
}

/// In a mount namespace where everything but the test's own directory is read-only, the
/// run passes: nothing else needs to be written.
#[test]
fn nothing_outside_the_workspace_and_the_daemons_directories_is_written() {
    let home = Home::without_daemon();
    home.workspace("work");
    let spec = home.script("plan.toml", SCRIPT);
    let program = env!("CARGO_BIN_EXE_forerun");
    let own = home.path(".").canonicalize().expect("path");
    let own = own.display();
    let script = format!(
        "set -e
         mount --make-rprivate /
         mount --bind {own} {own}
         mount -o remount,bind,ro /
         for m in $(awk '{{print $2}}' /proc/self/mounts); do
             case \"$m\" in {own}|/|/proc*|/sys*|/dev*) ;; *) mount -o remount,bind,ro \"$m\" 2>/dev/null || true ;; esac
         done
         if touch /forerun-probe 2>/dev/null; then echo 'the root is still writable'; exit 9; fi
         {program} run --json --workspace {own}/work --target {spec} --approximation {spec} 'a task'
         {program} shutdown",
    );
    let allowed = Command::new("unshare").args(["--mount", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: mount namespaces are not allowed here");
        return;
    }
    let mut command = home.forerun(&[]);
    let environment: Vec<_> = command
        .get_envs()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
        .filter(|(key, _)| key != "FORERUN_NO_SPAWN")
        .collect();
    command = Command::new("unshare");
    let output = command
        .args(["--mount", "bash", "-c", &script])
        .envs(environment)
        .env_remove("FORERUN_NO_SPAWN")
        .output()
        .expect("runs");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(home.path("work/src/new.rs").exists());
}
