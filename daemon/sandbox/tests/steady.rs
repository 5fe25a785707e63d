//! What sandboxes take from the process that they run in: memory, descriptors, threads,
//! page faults. These are counts, not times, and tell at once when the engine has lost a
//! setting: without the pool, or without what it keeps resident, an action has 4 page
//! faults and more instead of none; without the scan of the page map (Linux 6.7), a slot
//! keeps 1.2 MiB instead of some 140 KiB.
//!
//! A binary of its own, with one test, because these belong to the whole process: nothing
//! else may run in it.

#![expect(
    clippy::print_stdout,
    reason = "the figures are for who runs this by hand"
)]

use forerun_sandbox::{ComponentSource, Execution, Run, SandboxConfig, Sandboxes};
use forerun_snapshot::{OpenOptions, Workspace};
use forerun_types::{
    Action, Limits, ObservationStatus, PathPattern, PathRule, PathRules, RuleEffect, SnapshotId,
    Touch,
};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Sandboxes that wait at the same time.
const WAITING: usize = 1_000;
/// Resident memory that each of them may have.
const WAITING_BYTES_MAX: u64 = 256 << 10;

/// Actions before the first look, for what is only ever allocated once.
const WARM_UP: usize = 4_000;
/// Actions between two looks.
const ACTIONS: usize = 4_000;
/// Actions that are under way at once.
const AT_ONCE: usize = 32;
/// Seconds for which actions are run instead, if this is set.
const SECONDS: &str = "FORERUN_STEADY_SECONDS";
/// Resident memory that may come up in that time; an action that leaked a page would take
/// 16 MiB.
const GROWTH_BYTES_MAX: u64 = 8 << 20;

/// Page faults of one action.
const FAULTS_MAX: f64 = 1.0;

fn start(state_dir: &Path, max_concurrent: usize) -> Sandboxes {
    let mut config = SandboxConfig::new(state_dir.to_owned());
    config.threads = 2;
    config.max_concurrent = max_concurrent;
    config.components.push(ComponentSource {
        name: "probe".into(),
        wasm: forerun_test_guests::PROBE.into(),
    });
    Sandboxes::start(config).expect("starts")
}

fn request(parent: SnapshotId, tool: &str, arguments: &str) -> Run {
    Run {
        action: Action::parse(tool, arguments).expect("an action"),
        parent,
        limits: Limits {
            wall_ms: 600_000,
            ..Limits::default()
        },
        clock_ns: 0,
        seed: [0; 32],
        rules: PathRules::from(vec![PathRule {
            policy: "all".into(),
            effect: RuleEffect::Permit,
            touches: vec![Touch::Read, Touch::Write, Touch::Delete],
            pattern: PathPattern::Any,
        }]),
    }
}

/// What the process has.
#[derive(Clone, Copy, Debug)]
struct Use {
    resident: u64,
    descriptors: usize,
    threads: usize,
    faults: u64,
}

impl Use {
    fn now() -> Use {
        let read = |path: &str| fs::read_to_string(path).expect("readable");
        let count = |path: &str| fs::read_dir(path).expect("readable").count();
        let pages = read("/proc/self/statm");
        let pages: u64 = field(&pages, 1).parse().expect("a number");
        // The name of the process, in parentheses, may hold blanks.
        let stat = read("/proc/self/stat");
        let (_, stat) = stat.rsplit_once(')').expect("a name");
        Use {
            resident: pages * 4_096,
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            faults: field(stat, 7).parse().expect("a number"),
        }
    }
}

fn field(text: &str, index: usize) -> &str {
    text.split_whitespace().nth(index).expect("a field")
}

async fn finish(sandboxes: &Sandboxes, execution: Execution) {
    let done = execution.await;
    assert_eq!(
        done.observation.status,
        ObservationStatus::Success,
        "{}",
        done.observation.text
    );
    sandboxes.drop_snapshot(done.snapshot);
}

/// Runs short actions, several at once: as many, or as long, as `goes_on` says.
async fn act(sandboxes: &Sandboxes, head: SnapshotId, goes_on: impl Fn(usize) -> bool) -> usize {
    let write = request(
        head,
        "write_file",
        r#"{"path":"new.txt","content":"hello"}"#,
    );
    let read = request(head, "read_file", r#"{"path":"a"}"#);
    let mut count = 0;
    while goes_on(count) {
        let executions: Vec<_> = (0..AT_ONCE)
            .map(|index| sandboxes.run([&write, &read][index % 2].clone()))
            .collect();
        for execution in executions {
            finish(sandboxes, execution).await;
        }
        count += AT_ONCE;
    }
    count
}

#[tokio::test]
async fn sandboxes_take_little_and_leave_nothing_behind() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let (root, snapshots) = (directory.path().join("w"), directory.path().join("s"));
    fs::create_dir(&root).expect("created");
    fs::create_dir(&snapshots).expect("created");
    fs::write(root.join("a"), "still here").expect("written");
    let options = OpenOptions {
        state_dir: snapshots,
        masks: Vec::new(),
    };
    let workspace = Workspace::open(&root, &options).expect("opens");
    let state_dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("steady");
    fs::create_dir_all(&state_dir).expect("created");
    fs::set_permissions(&state_dir, fs::Permissions::from_mode(0o700)).expect("set");

    let sandboxes = start(&state_dir, AT_ONCE);
    let head = sandboxes.open(workspace.snapshot());
    short_actions_do_not_add_up(&sandboxes, head).await;
    an_instance_finds_its_memory_mapped(&sandboxes, head).await;
    drop(sandboxes);

    let sandboxes = start(&state_dir, WAITING + AT_ONCE / 2);
    let head = sandboxes.open(workspace.snapshot());
    a_thousand_can_wait(&sandboxes, head).await;
}

async fn short_actions_do_not_add_up(sandboxes: &Sandboxes, head: SnapshotId) {
    act(sandboxes, head, |count| count < WARM_UP).await;
    let seconds = std::env::var(SECONDS)
        .ok()
        .and_then(|text| text.parse().ok());
    let before = Use::now();
    let started = Instant::now();
    let count = match seconds.map(Duration::from_secs) {
        Some(time) => act(sandboxes, head, |_| started.elapsed() < time).await,
        None => act(sandboxes, head, |count| count < ACTIONS).await,
    };
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let after = Use::now();
    println!("{count} actions, {rate:.0} a second: {before:?} {after:?}");
    let growth = after.resident.saturating_sub(before.resident);
    assert!(growth <= GROWTH_BYTES_MAX, "{before:?} {after:?}");
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.threads, before.threads);
    assert_eq!(sandboxes.held(), 1);
}

async fn an_instance_finds_its_memory_mapped(sandboxes: &Sandboxes, head: SnapshotId) {
    const COUNT: u64 = 500;
    let run = request(head, "nothing", "{}");
    let before = Use::now();
    for _ in 0..COUNT {
        finish(sandboxes, sandboxes.run(run.clone())).await;
    }
    let faults = (Use::now().faults - before.faults) as f64 / COUNT as f64;
    println!("{faults:.2} page faults an action");
    assert!(faults <= FAULTS_MAX, "{faults} page faults an action");
}

async fn a_thousand_can_wait(sandboxes: &Sandboxes, head: SnapshotId) {
    act(sandboxes, head, |count| count < AT_ONCE).await;
    let before = Use::now();
    let park = request(head, "park", "{}");
    let waiting: Vec<_> = (0..WAITING).map(|_| sandboxes.run(park.clone())).collect();
    // Actions are begun in the order in which they were asked for: when these are done,
    // the others wait, or soon do.
    act(sandboxes, head, |count| count < 4 * AT_ONCE).await;
    let during = Use::now();
    let each = during.resident.saturating_sub(before.resident) / WAITING as u64;
    println!("{} KiB each: {before:?} {during:?}", each >> 10);
    assert!(each <= WAITING_BYTES_MAX, "{each} bytes each");
    assert_eq!(during.threads, before.threads);
    drop(waiting);
    act(sandboxes, head, |count| count < WAITING).await;
    assert_eq!(sandboxes.held(), 1);
    let after = Use::now();
    // Without the scan of the page map, all that a slot may keep would be resident.
    let kept = after.resident.saturating_sub(before.resident) / WAITING as u64;
    println!("{} KiB kept for each", kept >> 10);
    assert!(kept <= WAITING_BYTES_MAX, "{kept} bytes kept for each");
    assert_eq!(after.descriptors, before.descriptors, "{after:?}");
}
