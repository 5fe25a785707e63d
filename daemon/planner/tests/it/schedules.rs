//! Many schedules: every one of them keeps the rules, and they are really different ones.
//!
//! A schedule is what a planner is told, in its order: who answers, fails, executes or
//! interrupts next, and which of what it says is equal to something that was said before. Times,
//! digests and names do not count: two sessions that differ in nothing else are one schedule.
//!
//! `FORERUN_SCHEDULES=1000000 cargo test -p forerun-planner schedules` runs more of them.

use crate::cases::{Case, case};
use crate::properties::check;
use crate::sim::Sim;
use forerun_planner::{Candidate, Input, Interrupt, Outcome, RetireResult};
use forerun_types::{Digest, Role};
use proptest::test_runner::{Config, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;
use std::sync::Mutex;

/// How many different schedules a test run covers.
const SCHEDULES: usize = 100_000;
/// How many cases a thread runs before it looks whether they were enough.
const BATCH: u32 = 500;

/// What was run so far.
#[derive(Default)]
struct Tally {
    cases: usize,
    schedules: BTreeSet<u64>,
}

#[test]
fn whatever_the_schedule_the_rules_hold_and_the_plan_is_the_targets() {
    let wanted = wanted();
    let tally = Mutex::new(Tally::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| while run(&tally) < wanted {});
        }
    });
    let Tally { cases, schedules } = tally.into_inner().expect("no thread failed");
    println!("{} different schedules in {cases} cases", schedules.len());
    assert!(schedules.len() >= wanted);
}

/// Runs a batch of random cases; how many schedules were seen by now. Of a case that fails
/// proptest finds a smaller one.
fn run(tally: &Mutex<Tally>) -> usize {
    let config = Config {
        cases: BATCH,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let ran = TestRunner::new(config).run(&case(), |case| {
        let schedule = schedule(&case, &check(&case));
        let mut tally = tally.lock().expect("no thread fails here");
        tally.cases += 1;
        tally.schedules.insert(schedule);
        Ok(())
    });
    if let Err(error) = ran {
        panic!("{error}");
    }
    let tally = tally.lock().expect("no thread fails here");
    assert!(
        tally.schedules.len() > tally.cases / 2,
        "cases have become alike"
    );
    tally.schedules.len()
}

/// How many schedules to cover.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a test runs is not the planner's"
)]
fn wanted() -> usize {
    let wanted = std::env::var("FORERUN_SCHEDULES").ok();
    wanted.map_or(SCHEDULES, |wanted| wanted.parse().expect("a number"))
}

/// The digest of a session's schedule.
fn schedule(case: &Case, sim: &Sim) -> u64 {
    let mut form = Form::default();
    let session = &case.session;
    (session.depth, session.width, session.barrier).hash(&mut form.hasher);
    (session.review > 0, discriminant(&session.control)).hash(&mut form.hasher);
    session.matcher.hash(&mut form.hasher);
    for (_, told, _) in &sim.tape {
        match told {
            Ok(input) => form.input(input),
            Err(interrupt) => form.interrupt(interrupt),
        }
    }
    form.hasher.finish()
}

/// Hashes inputs without times, and digests by the order in which they come.
#[derive(Default)]
struct Form {
    hasher: DefaultHasher,
    names: BTreeMap<Digest, usize>,
}

impl Form {
    fn name(&mut self, digest: Digest) {
        let next = self.names.len();
        self.names
            .entry(digest)
            .or_insert(next)
            .hash(&mut self.hasher);
    }

    fn candidate(&mut self, candidate: &Candidate) {
        discriminant(&candidate.kind).hash(&mut self.hasher);
        self.name(candidate.action.0);
    }

    fn input(&mut self, input: &Input) {
        discriminant(input).hash(&mut self.hasher);
        match input {
            Input::AgentAttached { role, capacity } => {
                (*role == Role::Target, capacity).hash(&mut self.hasher);
            }
            Input::AgentLost { role } => (*role == Role::Target).hash(&mut self.hasher),
            Input::Answered {
                call,
                candidate,
                others,
                near,
            } => {
                (call.0, near.len()).hash(&mut self.hasher);
                self.candidate(candidate);
                others.iter().for_each(|other| self.candidate(other));
            }
            Input::JudgeAttached { capacity } => capacity.hash(&mut self.hasher),
            Input::Judged { call, same } => {
                (call.0, same.len()).hash(&mut self.hasher);
                same.iter().for_each(|node| node.0.hash(&mut self.hasher));
            }
            Input::Offered { prefix, candidates } => {
                self.name(prefix.0);
                candidates.iter().for_each(|other| self.candidate(other));
            }
            Input::Failed { call, failure } => {
                (call.0, discriminant(failure)).hash(&mut self.hasher);
            }
            Input::Executed { execution, outcome } => {
                (execution.0, discriminant(outcome)).hash(&mut self.hasher);
                if let Outcome::Completed {
                    observation,
                    changes,
                    next,
                } = outcome
                {
                    for digest in [*observation, *changes, next.0] {
                        self.name(digest);
                    }
                }
            }
            Input::Retired { node, result } => {
                (node.0, discriminant::<RetireResult>(result)).hash(&mut self.hasher);
            }
            Input::Undone(undone) => {
                (undone.first.0, undone.refused.is_some()).hash(&mut self.hasher);
            }
            Input::Parked { execution } => execution.0.hash(&mut self.hasher),
            Input::JudgeLost | Input::Tick => {}
        }
    }

    fn interrupt(&mut self, interrupt: &Interrupt) {
        discriminant(interrupt).hash(&mut self.hasher);
        match interrupt {
            Interrupt::Claim { step, .. } | Interrupt::Unclaim { step } => {
                step.0.hash(&mut self.hasher);
            }
            Interrupt::Replace {
                step, candidate, ..
            } => {
                step.0.hash(&mut self.hasher);
                self.candidate(candidate);
            }
            Interrupt::Accept { step, node } => {
                (step.0, node.map(|node| node.0)).hash(&mut self.hasher);
            }
            Interrupt::Suggest { step, .. } => step.0.hash(&mut self.hasher),
            Interrupt::Backtrack {
                step, candidate, ..
            } => {
                step.0.hash(&mut self.hasher);
                candidate.iter().for_each(|other| self.candidate(other));
            }
            Interrupt::Retry | Interrupt::Pause | Interrupt::Resume | Interrupt::Stop => {}
        }
    }
}
