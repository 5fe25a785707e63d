//! The golden values of planner.md: tT=8, tA=2, n=10, e=0 unless said otherwise.

use crate::sim::*;
use forerun_planner::{Interrupt, Presented, Seen, Window};
use forerun_types::{AskEnd, Role};
use proptest::prelude::*;

/// One second of a model, in microseconds of session time.
const S: u64 = 1_000_000;
const N: u32 = 10;

fn total(window: Window, k: u32, p: f64, (t, a, e): (u64, u64, u64), seed: u64) -> u64 {
    let mut sim = Sim::new(config(k, window, N), World::new(seed, p, t, a, e));
    sim.run();
    assert_eq!(sim.verified_at.len(), N as usize);
    sim.verified_at[N as usize - 1]
}

#[test]
fn barrier_totals_with_an_agent_that_is_always_right() {
    let totals: Vec<u64> = (1..=10)
        .map(|k| total(Window::Barrier, k, 1.0, (8 * S, 2 * S, 0), 1) / S)
        .collect();
    assert_eq!(totals, [80, 50, 44, 38, 32, 32, 32, 32, 32, 26]);
}

#[test]
fn an_agent_that_is_always_wrong_costs_no_time() {
    for window in [Window::Barrier, Window::Sliding] {
        for k in 0..=10 {
            assert_eq!(total(window, k, 0.0, (8 * S, 2 * S, 0), 1), 80 * S, "k={k}");
        }
    }
}

#[test]
fn sliding_seconds_per_step_with_an_agent_that_is_always_right() {
    let totals: Vec<u64> = (1..=8)
        .map(|k| total(Window::Sliding, k, 1.0, (8 * S, 2 * S, 0), 1) / S)
        .collect();
    assert_eq!(totals, [80, 42, 32, 26, 26, 26, 26, 26]);
}

#[test]
fn off_takes_the_sum_of_all_thinking_and_executing() {
    let times = (8 * S, 2 * S, S / 2);
    for p in [0.0, 1.0] {
        assert_eq!(total(Window::Sliding, 0, p, times, 3), 10 * (8 * S + S / 2));
    }
}

#[test]
fn a_slow_approximation_agent_is_never_slower_than_off() {
    for seed in 0..20 {
        for a in [7 * S, 8 * S, 9 * S, 100 * S] {
            for (window, k) in [(Window::Sliding, 4), (Window::Barrier, 3)] {
                for e in [0, S, 20 * S] {
                    let off = total(window, 0, 0.5, (8 * S, a, e), seed);
                    let speculative = total(window, k, 0.5, (8 * S, a, e), seed);
                    let times = format!("{window:?} tA={a} e={e} seed={seed}");
                    assert!(speculative <= off, "{times}: {speculative} > {off}");
                }
            }
        }
    }
}

/// Mean and standard error of seconds per step.
fn mean(runs: impl Iterator<Item = u64>) -> (f64, f64) {
    let values: Vec<f64> = runs.map(|us| us as f64 / 1e6 / f64::from(N)).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}

#[track_caller]
fn expect(what: &str, (mean, error): (f64, f64), exact: f64) {
    // The exact value is given with three digits.
    let tolerance = 3.0 * error + 0.0006;
    assert!(
        (mean - exact).abs() <= tolerance,
        "{what}: {mean:.4} ± {error:.4}, not {exact}"
    );
}

#[test]
fn independent_mistakes_cost_what_the_expectation_says() {
    const SEEDS: u64 = 600;
    let table = [
        (Window::Barrier, 2, 2, 0.5, 6.133),
        (Window::Barrier, 2, 2, 0.8, 5.466),
        (Window::Barrier, 4, 2, 0.5, 5.435),
        (Window::Barrier, 4, 2, 0.8, 4.292),
        (Window::Barrier, 5, 2, 0.2, 6.921),
        (Window::Barrier, 5, 2, 0.5, 5.356),
        (Window::Barrier, 5, 2, 0.8, 4.034),
        (Window::Barrier, 5, 2, 0.9, 3.636),
        (Window::Barrier, 10, 2, 0.5, 5.300),
        (Window::Barrier, 10, 2, 0.8, 3.680),
        (Window::Barrier, 5, 1, 0.5, 4.916),
        (Window::Barrier, 5, 1, 0.8, 3.373),
        (Window::Barrier, 5, 4, 0.5, 6.237),
        (Window::Barrier, 5, 6, 0.8, 6.678),
        (Window::Barrier, 5, 8, 0.8, 8.0),
        (Window::Sliding, 2, 2, 0.5, 5.855),
        (Window::Sliding, 2, 2, 0.8, 4.870),
        (Window::Sliding, 3, 2, 0.5, 5.408),
        (Window::Sliding, 3, 2, 0.8, 4.016),
        (Window::Sliding, 4, 2, 0.5, 5.300),
        (Window::Sliding, 4, 2, 0.8, 3.680),
        (Window::Sliding, 7, 2, 0.8, 3.680),
    ];
    for (window, k, a, p, exact) in table {
        let runs = (0..SEEDS).map(|seed| total(window, k, p, (8 * S, a * S, 0), seed));
        expect(&format!("{window:?} k={k} tA={a} p={p}"), mean(runs), exact);
    }
}

#[test]
fn a_user_who_answers_early_saves_what_the_expectation_says() {
    const SEEDS: u64 = 600;
    let run = |m: u32, seed: u64| {
        let mut order: Vec<u32> = (0..N).collect();
        order.sort_by_key(|step| draw(seed, &format!("order {step}"), &root()));
        order.truncate(m as usize);
        let mut world = World::new(seed, 0.5, 8 * S, 2 * S, 0);
        world.user = Box::new(move |line| match line {
            Presented::Proposed {
                step, node, prefix, ..
            } if order.contains(&step.0) => Some((
                S + (unit(seed, "delay", prefix) * 4.0 * S as f64) as u64,
                Interrupt::Replace {
                    step: *step,
                    seen: Seen::Node(*node),
                    candidate: truth(seed, prefix),
                },
            )),
            _ => None,
        });
        let mut sim = Sim::new(config(10, Window::Sliding, N), world);
        sim.run();
        sim.verified_at[N as usize - 1]
    };
    for (m, exact) in [
        (0, 5.30),
        (1, 5.21),
        (3, 5.00),
        (5, 4.78),
        (7, 4.50),
        (10, 4.02),
    ] {
        let (mean, error) = mean((0..SEEDS).map(|seed| run(m, seed)));
        // The exact value is given with two digits.
        let close = (mean - exact).abs() <= 3.0 * error + 0.006;
        assert!(close, "m={m}: {mean:.4} ± {error:.4}, not {exact}");
    }
}

#[test]
fn tokens_of_a_run_that_is_always_wrong() {
    let mut sim = Sim::new(
        config(5, Window::Barrier, N),
        World::new(1, 0.0, 8 * S, 2 * S, 0),
    );
    sim.run();
    let asked = &sim.monitor.asked;
    assert_eq!(
        asked[&Role::Approximation] * 10 + asked[&Role::Target] * 20,
        1020
    );
    // Answers at the instant of cancellation do not count (rule 13: T before A).
    assert_eq!(finished_tokens(&sim), 470);
    assert_eq!(sim.monitor.peak_target, 4, "ceil(tT/tA)");
    assert_eq!(sim.planner.counters().mismatched, u64::from(N));
    assert_eq!(sim.planner.counters().peak_target_calls, 4);
    let used = (Role::Target, AskEnd::Used);
    let used = sim.monitor.ends.iter().filter(|end| **end == used);
    assert_eq!(used.count(), N as usize);
}

/// Tokens of calls that answered before they were cancelled.
fn finished_tokens(sim: &Sim) -> u32 {
    use forerun_planner::{Effect, Input};
    use std::collections::BTreeMap;
    let mut in_flight = BTreeMap::new();
    let mut tokens = 0;
    for (_, event, effects) in &sim.tape {
        if let Ok(Input::Answered { call, .. }) = event
            && let Some(role) = in_flight.remove(call)
        {
            tokens += if role == Role::Target { 20 } else { 10 };
        }
        for effect in effects {
            match effect {
                Effect::Ask { call, role, .. } => {
                    in_flight.insert(*call, *role);
                }
                Effect::CancelCall { call } => {
                    in_flight.remove(call);
                }
                _ => {}
            }
        }
    }
    tokens
}

#[test]
fn tokens_of_a_run_that_is_always_right() {
    let mut sim = Sim::new(
        config(5, Window::Barrier, N),
        World::new(1, 1.0, 8 * S, 2 * S, 0),
    );
    sim.run();
    let asked = &sim.monitor.asked;
    assert_eq!(
        asked[&Role::Approximation] * 10 + asked[&Role::Target] * 20,
        300
    );
    assert_eq!(sim.planner.counters().matched, u64::from(N));
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
        let n = times.len() as u32;
        let mut world = World::new(7, 1.0, 0, 0, 0);
        let (t, a, e) = (times.clone(), times.clone(), times.clone());
        world.target = Box::new(move |asked| {
            (t[asked.step as usize].0, Ok(vec![truth(7, &asked.prefix)]))
        });
        world.approximation = Box::new(move |asked| {
            (a[asked.step as usize].1, Ok(vec![truth(7, &asked.prefix)]))
        });
        world.execute = Box::new(move |running| {
            (e[running.step as usize].2, outcome(&running.prefix, &running.action))
        });
        let mut sim = Sim::new(config(k, Window::Sliding, n), world);
        sim.run();
        prop_assert_eq!(&sim.verified_at, &verified_at(&times, k as usize));
        prop_assert_eq!(sim.planner.counters().mismatched, 0);
    }
}
