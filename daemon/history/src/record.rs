//! How often something was right, and what that is worth.

use serde::{Deserialize, Serialize};

/// At so many trials both counts are halved: what was true long ago counts less than what is
/// true now, and counts do not overflow.
const TRIALS_MAX: u32 = 1024;
/// The bound holds with 95 % (one-sided) if trials are alike and independent of each other.
const Z: f64 = 1.645;
/// How many trials a prior opinion is worth.
const STRENGTH: f64 = 2.0;

/// Hits among trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    hits: u32,
    trials: u32,
}

impl Record {
    /// Takes note of one trial.
    pub(crate) fn note(&mut self, hit: bool) {
        self.hits += u32::from(hit);
        self.trials += 1;
        if self.trials >= TRIALS_MAX {
            self.hits /= 2;
            self.trials /= 2;
        }
    }

    /// The lower end of Wilson's score interval (1927) for the rate of hits; 0 without trials.
    pub(crate) fn lower_bound(self) -> f64 {
        if self.hits == 0 {
            return 0.0;
        }
        let (hits, trials) = (f64::from(self.hits), f64::from(self.trials));
        let rate = hits / trials;
        let spread = Z * (rate * (1.0 - rate) / trials + Z * Z / (4.0 * trials * trials)).sqrt();
        let bound = (rate + Z * Z / (2.0 * trials) - spread) / (1.0 + Z * Z / trials);
        bound.clamp(0.0, rate)
    }

    /// The rate of hits, drawn towards what is believed without them.
    pub(crate) fn estimate(self, prior: f64) -> f64 {
        (f64::from(self.hits) + STRENGTH * prior) / (f64::from(self.trials) + STRENGTH)
    }

    /// Whether these counts can have come about by [`Record::note`].
    pub(crate) fn is_valid(self) -> bool {
        self.hits <= self.trials && self.trials < TRIALS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(hits: u32, trials: u32) -> Record {
        Record { hits, trials }
    }

    #[test]
    fn the_bound_is_the_published_one() {
        // Computed by hand from Wilson's formula, z = 1.645.
        for (hits, trials, bound) in [(0, 0, 0.0), (0, 9, 0.0), (1, 1, 0.2698), (9, 10, 0.6523)] {
            let found = record(hits, trials).lower_bound();
            assert!((found - bound).abs() < 1e-4, "{hits}/{trials}: {found}");
        }
    }

    #[test]
    fn the_bound_is_below_the_rate_and_rises_with_evidence() {
        for rate in 1..=4 {
            let mut last = 0.0;
            for trials in (4..400).step_by(4) {
                let bound = record(trials * rate / 4, trials).lower_bound();
                assert!(bound < f64::from(rate) / 4.0 && bound > last);
                last = bound;
            }
        }
    }

    #[test]
    fn a_habit_that_ended_is_forgotten() {
        let mut record = Record::default();
        (0..100_000).for_each(|_| record.note(true));
        (0..2_000).for_each(|_| record.note(false));
        assert!(record.is_valid());
        assert!(record.lower_bound() < 0.3, "{record:?}");
    }
}
