//! How long agents and executions take: exponentially weighted moving averages.

use forerun_types::Role;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The weight of the newest duration: the last ten count for nine tenths.
const NEWEST: f64 = 0.2;
/// The most calls of the target that it makes sense to overlap, whatever was measured.
const OVERLAP_MAX: f64 = 1024.0;

/// Averages, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Pace {
    target: Option<f64>,
    approximation: Option<f64>,
    execution: Option<f64>,
}

impl Pace {
    pub(crate) fn answered(&mut self, role: Role, took: Duration) {
        average(
            match role {
                Role::Target => &mut self.target,
                Role::Approximation => &mut self.approximation,
            },
            took,
        );
    }

    pub(crate) fn executed(&mut self, took: Duration) {
        average(&mut self.execution, took);
    }

    /// How many calls of the target fit into the time of one: ceil(tT / (tA + e)). `None`
    /// before both agents answered.
    pub(crate) fn overlap(&self) -> Option<u32> {
        let each = self.approximation? + self.execution.unwrap_or(0.0);
        // Averages of equal times differ in their last digits.
        let calls = (self.target? / each - 1e-6).ceil();
        // A ratio of zeros is no number: there is nothing to overlap.
        let calls = if calls.is_nan() { 1.0 } else { calls };
        Some(calls.clamp(1.0, OVERLAP_MAX) as u32)
    }
}

fn average(of: &mut Option<f64>, took: Duration) {
    let took = took.as_secs_f64();
    *of = Some(of.map_or(took, |before| before + NEWEST * (took - before)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(target: u64, approximation: u64, execution: u64) -> Pace {
        let mut pace = Pace::default();
        for _ in 0..3 {
            pace.answered(Role::Target, Duration::from_millis(target));
            pace.answered(Role::Approximation, Duration::from_millis(approximation));
            pace.executed(Duration::from_millis(execution));
        }
        pace
    }

    #[test]
    fn as_many_calls_overlap_as_fit_into_the_time_of_one() {
        let table = [
            ((8000, 2000, 0), 4),
            ((8000, 2000, 1), 4),
            ((8001, 2000, 0), 5),
            ((8000, 3000, 1000), 2),
            ((8000, 9000, 0), 1),
            ((8000, 0, 0), 1024),
            ((0, 0, 0), 1),
        ];
        for ((target, approximation, execution), calls) in table {
            let found = pace(target, approximation, execution).overlap();
            assert_eq!(found, Some(calls), "{target} {approximation} {execution}");
        }
        assert_eq!(Pace::default().overlap(), None);
    }

    #[test]
    fn an_agent_that_becomes_slower_is_noticed_within_ten_calls() {
        let mut pace = pace(8000, 2000, 0);
        for _ in 0..10 {
            pace.answered(Role::Target, Duration::from_secs(16));
        }
        assert_eq!(pace.overlap(), Some(8));
    }
}
