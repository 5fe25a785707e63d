//! Planners with a fault each, to see that the planner's tests would find it.
//!
//! The build script copies the planner and what watches it in its own tests (the simulated world,
//! the monitor, the properties), and breaks one rule in the copy for each mutant. A mutant is caught
//! when the monitor or a property fails in one of the random schedules that are run here; what the
//! planner asserts of itself does not count.
//!
//! Nothing but a test: no other crate uses it, and nothing in the planner knows of it.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};

/// A fault of a planner.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// What it is called.
    pub name: &'static str,
    /// What it does wrong.
    pub does: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/mutants.rs"));

/// How a planner was caught.
#[derive(Debug)]
pub struct Caught {
    /// In which schedule; they are the same in every run.
    pub schedule: u32,
    /// What failed, and where.
    pub failure: String,
}

thread_local! {
    static TURN: Cell<&'static str> = const { Cell::new("") };
    static FAILURE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Whether the planner that runs in this thread has this fault.
fn is_its_turn(name: &str) -> bool {
    TURN.get() == name
}

/// Runs at most so many random schedules of the planner with a fault, or of the planner as it is,
/// until those who watch it find something.
pub fn hunt(mutant: Option<Mutant>, schedules: u32) -> Option<Caught> {
    panic::set_hook(Box::new(|info| FAILURE.set(info.to_string())));
    TURN.set(mutant.map_or("", |mutant| mutant.name));
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let caught = (1..=schedules).find_map(|schedule| {
        panic::catch_unwind(AssertUnwindSafe(|| copy::check(&mut runner))).err()?;
        let failure = FAILURE.take();
        let is_its_own = failure.contains("/copy/planner/");
        (!is_its_own).then_some(Caught { schedule, failure })
    });
    drop(panic::take_hook());
    caught
}
