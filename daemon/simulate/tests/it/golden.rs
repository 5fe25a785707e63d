//! The golden values of planner.md, all of them: tT=8, tA=2, n=10, e=0 unless said
//! otherwise. Expectations hold within three standard errors at 10,000 seeds.

use forerun_planner::{Config, Outcome, Planner, Window};
use forerun_simulate::chance::{Latency, below, digest};
use forerun_simulate::engine::{Asked, Reply, Running, Simulation, World};
use forerun_simulate::meter::{Meter, Run};
use forerun_simulate::model::{Accuracy, Model};
use forerun_simulate::statistics::{Summary, in_parallel};
use forerun_types::{ActionKey, ActionKind, PrefixId, Role, Usage};
use proptest::prelude::*;
use std::time::Duration;

const STEPS: u32 = 10;
const SEEDS: u64 = 10_000;

fn config(window: Window, depth: u32) -> Config {
    Config {
        depth,
        window,
        max_steps: STEPS,
        ..Config::default()
    }
}

fn model(accuracy: f64, approximation: f64) -> Model {
    Model {
        accuracy: Accuracy::Same(accuracy),
        approximation: Latency::Constant(approximation),
        ..Model::default()
    }
}

fn total(window: Window, depth: u32, accuracy: f64) -> f64 {
    let run = model(accuracy, 2.0).run(&config(window, depth), 1);
    assert_eq!(run.verified.len(), STEPS as usize);
    run.seconds
}

fn seconds_per_step(model: &Model, config: &Config) -> Summary {
    Summary::of(in_parallel(0..SEEDS, |seed| {
        model.run(config, seed).seconds_per_step()
    }))
}

/// The exact value is given with a number of digits, of which `half` is half a unit.
#[track_caller]
fn expect(what: &str, found: &Summary, exact: f64, half: f64) {
    assert!(
        (found.mean - exact).abs() <= 3.0 * found.error() + half + 1e-9,
        "{what}: {:.4} ± {:.4}, not {exact}",
        found.mean,
        found.error()
    );
}

#[test]
fn barrier_totals_with_an_agent_that_is_always_right() {
    let totals: Vec<f64> = (1..=10).map(|k| total(Window::Barrier, k, 1.0)).collect();
    assert_eq!(
        totals,
        [80.0, 50.0, 44.0, 38.0, 32.0, 32.0, 32.0, 32.0, 32.0, 26.0]
    );
}

#[test]
fn sliding_totals_with_an_agent_that_is_always_right() {
    let totals: Vec<f64> = (1..=8).map(|k| total(Window::Sliding, k, 1.0)).collect();
    assert_eq!(totals, [80.0, 42.0, 32.0, 26.0, 26.0, 26.0, 26.0, 26.0]);
}

#[test]
fn an_agent_that_is_always_wrong_costs_no_time() {
    for window in [Window::Barrier, Window::Sliding] {
        for k in 0..=10 {
            assert_eq!(total(window, k, 0.0), 80.0, "k={k}");
        }
    }
}

#[test]
fn off_takes_the_sum_of_all_thinking_and_executing() {
    for accuracy in [0.0, 1.0] {
        let model = Model {
            execution: Latency::Constant(0.5),
            ..model(accuracy, 2.0)
        };
        let run = model.run(&config(Window::Sliding, 0), 3);
        assert_eq!((run.seconds, run.approximation_calls), (85.0, 0));
    }
}

#[test]
fn a_slow_approximation_agent_is_never_slower_than_off() {
    for seed in 0..20 {
        for approximation in [7.0, 8.0, 9.0, 100.0] {
            for (window, k) in [(Window::Sliding, 4), (Window::Barrier, 3)] {
                for execution in [0.0, 1.0, 20.0] {
                    let model = Model {
                        execution: Latency::Constant(execution),
                        ..model(0.5, approximation)
                    };
                    let off = model.run(&config(window, 0), seed).seconds;
                    let on = model.run(&config(window, k), seed).seconds;
                    let what = format!("{window:?} tA={approximation} e={execution} {seed}");
                    assert!(on <= off, "{what}: {on} > {off}");
                }
            }
        }
    }
}

#[test]
#[expect(clippy::approx_constant, reason = "3.140 is a time, not pi")]
fn with_a_barrier_independent_mistakes_cost_what_the_expectation_says() {
    let accuracies = [0.2, 0.5, 0.8, 0.9, 1.0];
    let table = [
        (2, [7.083, 6.133, 5.466, 5.255, 5.0]),
        (4, [6.925, 5.435, 4.292, 4.015, 3.8]),
        (5, [6.921, 5.356, 4.034, 3.636, 3.2]),
        (10, [6.920, 5.300, 3.680, 3.140, 2.6]),
    ];
    for (k, row) in table {
        for (accuracy, exact) in accuracies.into_iter().zip(row) {
            let found = seconds_per_step(&model(accuracy, 2.0), &config(Window::Barrier, k));
            expect(&format!("k={k} p={accuracy}"), &found, exact, 0.0005);
        }
    }
}

#[test]
fn with_another_approximation_agent_mistakes_cost_what_the_expectation_says() {
    let table = [
        (1.0, [4.916, 3.373]),
        (4.0, [6.237, 5.356]),
        (6.0, [7.119, 6.678]),
        (8.0, [8.0, 8.0]),
    ];
    for (seconds, row) in table {
        for (accuracy, exact) in [0.5, 0.8].into_iter().zip(row) {
            let found = seconds_per_step(&model(accuracy, seconds), &config(Window::Barrier, 5));
            expect(&format!("tA={seconds} p={accuracy}"), &found, exact, 0.0005);
        }
    }
}

#[test]
fn with_a_sliding_window_mistakes_cost_what_the_expectation_says() {
    let table = [
        (2, [5.855, 4.870, 4.2]),
        (3, [5.408, 4.016, 3.2]),
        (4, [5.300, 3.680, 2.6]),
        (7, [5.300, 3.680, 2.6]),
    ];
    for (k, row) in table {
        for (accuracy, exact) in [0.5, 0.8, 1.0].into_iter().zip(row) {
            let found = seconds_per_step(&model(accuracy, 2.0), &config(Window::Sliding, k));
            expect(&format!("k={k} p={accuracy}"), &found, exact, 0.0005);
        }
    }
}

#[test]
fn a_user_who_answers_early_saves_what_the_expectation_says() {
    let row = [
        5.30, 5.21, 5.11, 5.00, 4.89, 4.78, 4.64, 4.50, 4.35, 4.20, 4.02,
    ];
    for (interruptions, exact) in (0..).zip(row) {
        let model = Model {
            interruptions,
            ..model(0.5, 2.0)
        };
        let found = seconds_per_step(&model, &config(Window::Sliding, 10));
        expect(&format!("m={interruptions}"), &found, exact, 0.005);
    }
}

#[test]
fn tokens_of_a_run_that_is_always_wrong() {
    let run = model(0.0, 2.0).run(&config(Window::Barrier, 5), 1);
    let tokens = run.tokens;
    assert_eq!((tokens.launched, tokens.pro_rated), (1020.0, 790.0));
    assert_eq!((tokens.finished, tokens.finished_or_tied), (470.0, 540.0));
    // All that counts is the target's ten answers.
    assert_eq!(run.wasted.launched, 1020.0 - 200.0);
    assert_eq!((run.matched, run.mismatched), (0, 10));
}

#[test]
fn tokens_of_a_run_that_is_always_right() {
    let run = model(1.0, 2.0).run(&config(Window::Barrier, 5), 1);
    assert_eq!((run.tokens.launched, run.tokens.finished), (300.0, 300.0));
    assert_eq!((run.wasted, run.matched), (Default::default(), 10));
}

#[test]
fn at_most_as_many_targets_think_at_once_as_fit_into_the_time_of_one() {
    for (seconds, most) in [(1.0, 8), (2.0, 4), (3.0, 3), (4.0, 2), (7.0, 2), (8.0, 1)] {
        for depth in 1..=10 {
            for accuracy in [0.0, 0.5, 1.0] {
                let run = model(accuracy, seconds).run(&config(Window::Barrier, depth), 5);
                assert_eq!(
                    run.peak_target_calls,
                    most.min(depth),
                    "tA={seconds} k={depth}"
                );
            }
        }
    }
}

#[test]
fn a_long_plan_takes_what_the_closed_form_says() {
    let long = |window, depth| Config {
        max_steps: 4000,
        ..config(window, depth)
    };
    let mean = |accuracy: f64, config: &Config| {
        let model = model(accuracy, 2.0);
        Summary::of(in_parallel(0..40, |seed| {
            model.run(config, seed).seconds_per_step()
        }))
    };
    for accuracy in [0.2f64, 0.5, 0.8] {
        for depth in [2, 5] {
            let wrong = (1.0 - accuracy) / (1.0 - accuracy.powi(depth));
            let found = mean(accuracy, &long(Window::Barrier, depth.unsigned_abs()));
            // The end of the plan makes a difference of less than one call of the target.
            expect("barrier", &found, 2.0 + 6.0 * wrong, 8.0 / 4000.0);
        }
        let found = mean(accuracy, &long(Window::Sliding, 4));
        expect(
            "sliding",
            &found,
            2.0 + 6.0 * (1.0 - accuracy),
            8.0 / 4000.0,
        );
    }
}

/// Agents that agree, with times that are given for each step, in microseconds.
struct Agreed(Vec<(u64, u64, u64)>);

impl World for Agreed {
    fn answer(&mut self, asked: &Asked) -> Reply {
        let (target, approximation, _) = self.0[asked.step.0 as usize];
        let micros = match asked.role {
            Role::Target => target,
            Role::Approximation => approximation,
        };
        Reply {
            after: Duration::from_micros(micros),
            answer: Ok(forerun_planner::Candidate {
                action: ActionKey(asked.prefix.0),
                kind: ActionKind::Tool,
                tool: 0,
            }),
            usage: Usage::default(),
        }
    }

    fn execute(&mut self, running: &Running) -> (Duration, Outcome) {
        let (_, _, micros) = self.0[running.step.0 as usize];
        let next = below(&running.prefix, &running.action);
        let outcome = Outcome::Completed {
            observation: next.0,
            changes: next.0,
            next,
        };
        (Duration::from_micros(micros), outcome)
    }
}

/// S_i and V_i of planner.md. If T answers before A (or with it), T's action is executed
/// instead (rule 4c), so that A's time counts at most T's.
fn verified_at(times: &[(u64, u64, u64)], k: usize) -> Vec<u64> {
    let mut starts: Vec<u64> = Vec::new();
    let mut verified: Vec<u64> = Vec::new();
    for (i, (t, a, e)) in times.iter().enumerate() {
        let executed = |(t, a, e): &(u64, u64, u64)| t.min(a) + e;
        let ready = i
            .checked_sub(1)
            .map_or(0, |before| starts[before] + executed(&times[before]));
        let window = i.checked_sub(k).map_or(0, |before| verified[before]);
        let start = ready.max(window);
        starts.push(start);
        let before = verified.last().copied().unwrap_or(0);
        verified.push(before.max(start + (*t).max(a.min(t) + e)));
    }
    verified
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn without_a_mismatch_each_step_is_verified_when_the_formula_says(
        times in prop::collection::vec((1..2000u64, 1..2000u64, 0..2000u64), 1..14),
        k in 1..7u32,
    ) {
        let config = Config {
            max_steps: times.len() as u32,
            ..config(Window::Sliding, k)
        };
        let root = PrefixId(digest(0));
        let world = Agreed(times.clone());
        let mut simulation = Simulation::new(Planner::new(config, root), root, world, Meter::default());
        simulation.run();
        let run: &Run = simulation.observer.run();
        let found: Vec<u64> = run.verified.iter().map(|time| time.0).collect();
        prop_assert_eq!(found, verified_at(&times, k as usize));
        prop_assert_eq!(simulation.planner.counters().mismatched, 0);
    }
}
