//! What a prediction costs a session's turn, and what learning costs beside it: after a thousand
//! runs of an agent that looks and edits, at several lengths of the run so far.

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use forerun_history::{Predictor, Run};
use forerun_types::{Action, Observation, ObservationStatus};
use std::hint::black_box;

/// Runs that were learned before.
const RUNS: usize = 1_000;

/// A run of so many steps: directories are listed, files of them read and edited.
fn run(seed: usize, steps: usize) -> Run {
    let mut run = Run::new(&format!("fix what is wrong in src/part{}", seed % 50));
    for step in 0..steps {
        let file = format!("src/part{}/file{}.rs", seed % 50, (seed + step / 3) % 20);
        let (tool, arguments) = match step % 3 {
            0 => (
                "grep",
                serde_json::json!({ "path": "src", "pattern": format!("fn {step}") }),
            ),
            1 => ("read_file", serde_json::json!({ "path": file })),
            _ => (
                "edit_file",
                serde_json::json!({ "path": file, "old": "a", "new": "b" }),
            ),
        };
        let action = Action::parse(tool, &arguments.to_string()).expect("an action");
        let lines = (0..20).map(|line| format!("{file}:{line}: fn part_{line}()\n"));
        let seen = Observation::new(ObservationStatus::Success, lines.collect::<String>());
        run.push(&action, Some(&seen));
    }
    run
}

fn predict(criterion: &mut Criterion) {
    let mut predictor = Predictor::default();
    for seed in 0..RUNS {
        predictor.learn(&run(seed, 24));
    }
    let mut group = criterion.benchmark_group("predict");
    for steps in [1, 10, 100, 200] {
        let run = run(7, steps);
        group.bench_with_input(BenchmarkId::from_parameter(steps), &run, |bencher, run| {
            bencher.iter(|| black_box(predictor.predict(run, 3)));
        });
    }
    group.finish();
    let learned = run(7, 24);
    criterion.bench_function("learn 24 steps", |bencher| {
        bencher.iter_batched(
            || predictor.clone(),
            |mut predictor| predictor.learn(&learned),
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, predict);
criterion_main!(benches);
