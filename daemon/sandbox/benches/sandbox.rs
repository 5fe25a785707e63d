//! What one action costs: a fresh instance, the tool, the frozen branch. On one thread
//! and on two; two must do nearly twice as much, which the pool's settings decide.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forerun_sandbox::{Run, SandboxConfig, Sandboxes};
use forerun_snapshot::{OpenOptions, Workspace};
use forerun_types::{
    Action, Limits, PathPattern, PathRule, PathRules, RuleEffect, SnapshotId, Touch,
};
use std::fs;
use std::hint::black_box;
use std::time::Duration;

/// Files of the workspace that is searched.
const FILES: usize = 100;
/// Actions that are under way at once on two threads.
const AT_ONCE: usize = 32;

fn request(parent: SnapshotId, tool: &str, arguments: &str) -> Run {
    Run {
        action: Action::parse(tool, arguments).expect("an action"),
        parent,
        limits: Limits::default(),
        clock_ns: 0,
        seed: [0; 32],
        rules: PathRules {
            rules: vec![PathRule {
                policy: "all".into(),
                effect: RuleEffect::Permit,
                touches: vec![Touch::Read, Touch::Write, Touch::Delete],
                pattern: PathPattern::Any,
            }],
        },
    }
}

fn actions(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let (root, state_dir) = (
        directory.path().join("workspace"),
        directory.path().join("state"),
    );
    fs::create_dir(&root).expect("created");
    fs::create_dir(&state_dir).expect("created");
    for index in 0..FILES {
        let text = format!("fn number_{index}() {{}}\n").repeat(40);
        fs::write(root.join(format!("{index}.rs")), text).expect("written");
    }
    let options = OpenOptions {
        state_dir,
        masks: Vec::new(),
    };
    let workspace = Workspace::open(&root, &options).expect("opens");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    for threads in [1, 2] {
        let mut config = SandboxConfig::new(directory.path().join("daemon"));
        config.threads = threads;
        let sandboxes = Sandboxes::start(config).expect("starts");
        let head = sandboxes.open(workspace.snapshot());
        let mut group = criterion.benchmark_group(format!("{threads} thread"));
        group.measurement_time(Duration::from_secs(5));
        for (name, tool, arguments) in [
            // Refused by the tool's own code: an instance, and nothing else.
            ("no-op", "read_file", r#"{"path":"../x"}"#),
            (
                "write_file",
                "write_file",
                r#"{"path":"new.txt","content":"hello"}"#,
            ),
            (
                "grep 100 files",
                "grep",
                r#"{"pattern":"number_99\\b","limit":5}"#,
            ),
        ] {
            let run = request(head, tool, arguments);
            let at_once = if threads == 1 { 1 } else { AT_ONCE };
            group.throughput(Throughput::Elements(at_once as u64));
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let executions: Vec<_> =
                        (0..at_once).map(|_| sandboxes.run(run.clone())).collect();
                    runtime.block_on(async {
                        for execution in executions {
                            let done = execution.await;
                            sandboxes.drop_snapshot(done.snapshot);
                            black_box(done);
                        }
                    });
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, actions);
criterion_main!(benches);
