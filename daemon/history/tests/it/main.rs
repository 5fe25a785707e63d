//! The predictor's tests: what it can derive, what its confidence is worth, and what it does
//! with what is hostile.

mod derive;
mod properties;
mod state;

use forerun_history::{Predictor, Run};
use forerun_types::{Action, Observation, ObservationStatus};

pub(crate) fn call(tool: &str, arguments: &str) -> Action {
    Action::parse(tool, arguments).expect("an action")
}

pub(crate) fn returned(text: &str) -> Observation {
    Observation::new(ObservationStatus::Success, text)
}

/// A run: its task, and calls with what they returned.
pub(crate) fn run(task: &str, steps: &[(Action, Observation)]) -> Run {
    let mut run = Run::new(task);
    for (action, observation) in steps {
        run.push(action, Some(observation));
    }
    run
}

/// The first candidate, as one line.
pub(crate) fn first(predictor: &Predictor, run: &Run) -> String {
    let candidates = predictor.predict(run, 3);
    candidates
        .first()
        .map_or(String::new(), |one| one.action.to_string())
}
