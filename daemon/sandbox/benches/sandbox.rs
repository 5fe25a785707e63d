//! What one action costs, from the request to the observation: a fresh instance, the
//! tool, the frozen branch, path rules as a policy would make them; beside a bare instance
//! of the same component in the same engine with a host that does nothing, and beside the
//! same guest on stock wasmtime-wasi over a plain directory with inline blocking.
//!
//! `cargo bench -p forerun-sandbox`
//!
//! Linux 6.18, a slow VM of 2 vCPUs while other builds stood still, dev profile with this
//! crate and the snapshots at `opt-level = 3`; medians of one run. Trust the ratios.
//!
//! | | wanted | found |
//! |---|---|---|
//! | a bare instance | | 67 µs |
//! | no-op | 3 × that, 30 µs | 2.7 ×, 183 µs |
//! | `write_file` | 40 µs | 325 µs |
//! | nine operations | 60 µs | 452 µs |
//! | read 10,000 files of the base | 0.8 × stock | 0.96 × |
//! | search them | 0.8 × stock | 1.01 × |
//! | read 10,000 changed files | 0.5 × stock | 0.53 × |
//! | search them | 0.5 × stock | 0.65 × |
//!
//! Of reading the base, a profile has `openat2` at 26 %, `pread` at 10 %, `fstat` at 8 % and
//! the digests at 4 %; the rest is spread thin.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use criterion::{SamplingMode, measurement::WallTime};
use forerun_sandbox::{ComponentSource, Run, SandboxConfig, Sandboxes, engine_settings};
use forerun_snapshot::{OpenOptions, Workspace};
use forerun_test_guests::PROBE;
use forerun_types::{
    Action, Limits, ObservationStatus, PathPattern, PathRule, PathRules, RuleEffect, SnapshotId,
    Touch,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use stock::Stock;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, Store};

#[path = "../tests/it/stock.rs"]
mod stock;

/// Files of the workspace that is read, in 100 directories.
const FILES: usize = 10_000;
/// Actions that are under way at once where throughput is measured.
const AT_ONCE: usize = 32;
/// A word that is in one file of all.
const WORD: &str = "number_4711()";

struct World {
    directory: TempDir,
    runtime: Runtime,
    workspace: Workspace,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (root, state_dir) = (
            directory.path().join("workspace"),
            directory.path().join("state"),
        );
        for index in 0..100 {
            fs::create_dir_all(root.join(format!("d{index}"))).expect("created");
        }
        fs::create_dir(&state_dir).expect("created");
        for index in 0..FILES {
            let text = format!("fn number_{index}() {{}}\n").repeat(40);
            let path = root.join(format!("d{}/{index}.rs", index % 100));
            fs::write(path, text).expect("written");
        }
        let options = OpenOptions {
            state_dir,
            masks: Vec::new(),
        };
        World {
            workspace: Workspace::open(&root, &options).expect("opens"),
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime"),
            directory,
        }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("workspace")
    }

    fn sandboxes(&self, threads: usize) -> Sandboxes {
        let mut config = SandboxConfig::new(self.directory.path().join("daemon"));
        config.threads = threads;
        config.components.push(ComponentSource {
            name: "probe".into(),
            wasm: PROBE.into(),
        });
        Sandboxes::start(config).expect("starts")
    }

    /// Runs so many actions of a kind at once, to their end.
    fn run(&self, sandboxes: &Sandboxes, run: &Run, at_once: usize) {
        let executions: Vec<_> = (0..at_once).map(|_| sandboxes.run(run.clone())).collect();
        self.runtime.block_on(async {
            for execution in executions {
                let done = execution.await;
                let observation = &done.observation;
                assert_eq!(
                    observation.status,
                    ObservationStatus::Success,
                    "{}",
                    observation.text
                );
                sandboxes.drop_snapshot(done.snapshot);
            }
        });
    }

    /// A snapshot on which every file of the workspace is a changed one.
    fn changed(&self, sandboxes: &Sandboxes, head: SnapshotId) -> SnapshotId {
        let run = request(head, "rewrite_all", "{}");
        let done = self.runtime.block_on(sandboxes.run(run));
        assert_eq!(done.observation.text, FILES.to_string());
        done.snapshot
    }
}

fn request(parent: SnapshotId, tool: &str, arguments: &str) -> Run {
    Run {
        action: Action::parse(tool, arguments).expect("an action"),
        parent,
        limits: Limits {
            cpu_ms: 600_000,
            wall_ms: 600_000,
            ..Limits::default()
        },
        clock_ns: 0,
        seed: [0; 32],
        rules: rules(),
    }
}

/// What a policy that lets write, and protects what the design does, is compiled to.
fn rules() -> PathRules {
    let rule = |effect, touches: &[Touch], pattern| PathRule {
        policy: "bench".into(),
        effect,
        touches: touches.to_vec(),
        pattern,
    };
    let all = [Touch::Read, Touch::Write, Touch::Delete];
    let mut rules = vec![rule(RuleEffect::Permit, &all, PathPattern::Any)];
    for protected in [".git/hooks", ".git/config", ".vscode", ".idea", ".github"] {
        let path = format!("/workspace/{protected}");
        rules.push(rule(
            RuleEffect::Forbid,
            &all[1..],
            PathPattern::Subtree(path),
        ));
    }
    for name in [".mcp.json", ".bashrc", ".profile", ".zshrc"] {
        rules.push(rule(
            RuleEffect::Forbid,
            &all[1..],
            PathPattern::Name(name.into()),
        ));
    }
    rules.into()
}

/// A component in an instance whose host does nothing: it can only compute.
struct Bare {
    engine: Engine,
    component: stock::ToolPre<()>,
}

impl Bare {
    fn new(config: &Config, wasm: &[u8]) -> Bare {
        let engine = Engine::new(config).expect("an engine");
        let component = Component::new(&engine, wasm).expect("compiles");
        let mut linker = Linker::new(&engine);
        linker
            .define_unknown_imports_as_traps(&component)
            .expect("links");
        let component = linker.instantiate_pre(&component).expect("links");
        Bare {
            component: stock::ToolPre::new(component).expect("a tool"),
            engine,
        }
    }

    /// Calls a tool that calls nothing, in a fresh instance.
    async fn call(&self, tool: &str) {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let guest = self.component.instantiate_async(&mut store).await;
        let tools = guest.expect("starts");
        let called = tools
            .forerun_tool_tools()
            .call_call(&mut store, tool, "{}")
            .await;
        assert!(called.is_ok_and(|answer| answer.is_ok()), "{tool}");
    }
}

fn one_action(criterion: &mut Criterion) {
    let world = World::new();
    let sandboxes = world.sandboxes(1);
    let head = sandboxes.open(world.workspace.snapshot());
    let mut group = criterion.benchmark_group("one action");
    group.measurement_time(Duration::from_secs(5));
    let bare = Bare::new(&engine_settings(64), PROBE);
    group.bench_function("a bare instance", |bencher| {
        bencher.iter(|| world.runtime.block_on(bare.call("nothing")));
    });
    for (name, tool, arguments) in [
        ("no-op", "nothing", "{}"),
        (
            "write_file",
            "write_file",
            r#"{"path":"new.txt","content":"hello"}"#,
        ),
        ("nine operations", "nine_operations", "{}"),
    ] {
        let run = request(head, tool, arguments);
        group.bench_function(name, |bencher| {
            bencher.iter(|| world.run(&sandboxes, &run, 1));
        });
    }
    group.finish();
}

fn many_actions(criterion: &mut Criterion) {
    let world = World::new();
    for threads in [1, 2] {
        let sandboxes = world.sandboxes(threads);
        let head = sandboxes.open(world.workspace.snapshot());
        let mut group = criterion.benchmark_group(format!("32 actions on {threads} threads"));
        group.measurement_time(Duration::from_secs(5));
        group.throughput(Throughput::Elements(AT_ONCE as u64));
        for (name, tool, arguments) in [
            ("no-op", "nothing", "{}"),
            ("nine operations", "nine_operations", "{}"),
        ] {
            let run = request(head, tool, arguments);
            group.bench_function(name, |bencher| {
                bencher.iter(|| world.run(&sandboxes, &run, AT_ONCE));
            });
        }
        group.finish();
    }
}

fn many_files(criterion: &mut Criterion) {
    let world = World::new();
    let sandboxes = world.sandboxes(1);
    let base = sandboxes.open(world.workspace.snapshot());
    let changed = world.changed(&sandboxes, base);
    let stock = Stock::new(&engine_settings(64), PROBE);
    let root = world.root();
    for (name, tool, arguments) in [
        ("read 10000 files", "read_all", "{}".to_owned()),
        (
            "grep 10000 files",
            "grep_all",
            format!(r#"{{"word":"{WORD}"}}"#),
        ),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        bench_stock(&mut group, &world, &stock, &root, (tool, &arguments));
        for (name, head) in [("base", base), ("changed", changed)] {
            let run = request(head, tool, &arguments);
            group.bench_function(name, |bencher| {
                bencher.iter(|| world.run(&sandboxes, &run, 1));
            });
        }
        group.finish();
    }
}

fn bench_stock(
    group: &mut BenchmarkGroup<'_, WallTime>,
    world: &World,
    stock: &Stock,
    root: &Path,
    (tool, arguments): (&str, &str),
) {
    group.bench_function("stock", |bencher| {
        bencher.iter(|| {
            let directories = [(root, "/workspace")];
            let call = stock.call(&directories, true, tool, arguments);
            world.runtime.block_on(call).expect("answers")
        });
    });
}

criterion_group!(benches, one_action, many_actions, many_files);
criterion_main!(benches);
