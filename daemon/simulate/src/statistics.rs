//! What many runs have in common, and running many.

use serde::Serialize;
use std::ops::Range;

/// Mean and spread of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many values.
    pub count: usize,
    /// Their mean; 0 if there are none.
    pub mean: f64,
    /// Their standard deviation; 0 if there are fewer than two.
    pub deviation: f64,
    /// The smallest; 0 if there are none.
    pub min: f64,
}

impl Summary {
    /// Of these values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Summary {
        // Welford's recurrence: no second pass, and no cancellation.
        let (mut count, mut mean, mut squares, mut min) = (0usize, 0.0, 0.0, f64::INFINITY);
        for value in values {
            count += 1;
            let away = value - mean;
            mean += away / count as f64;
            squares += away * (value - mean);
            min = value.min(min);
        }
        match count {
            0 => Summary::default(),
            1 => Summary {
                count,
                mean,
                deviation: 0.0,
                min,
            },
            _ => Summary {
                count,
                mean,
                deviation: (squares / (count - 1) as f64).sqrt(),
                min,
            },
        }
    }

    /// The standard error of the mean.
    pub fn error(&self) -> f64 {
        self.deviation / (self.count as f64).max(1.0).sqrt()
    }
}

/// One result for each number, in their order, made by as many threads as there are
/// processors.
///
/// # Panics
/// If `run` does.
pub fn in_parallel<T: Send>(numbers: Range<u64>, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let chunk = (numbers.end.saturating_sub(numbers.start))
        .div_ceil(threads)
        .max(1);
    let run = &run;
    std::thread::scope(|scope| {
        let workers: Vec<_> = numbers
            .clone()
            .step_by(usize::try_from(chunk).unwrap_or(usize::MAX))
            .map(|start| {
                let part = start..start.saturating_add(chunk).min(numbers.end);
                scope.spawn(move || part.map(run).collect::<Vec<T>>())
            })
            .collect();
        let parts = workers.into_iter().map(|worker| match worker.join() {
            Ok(part) => part,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        parts.flatten().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_a_mean_a_deviation_and_an_error() {
        let summary = Summary::of([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!((summary.count, summary.mean, summary.min), (8, 5.0, 2.0));
        assert!((summary.deviation - (32.0f64 / 7.0).sqrt()).abs() < 1e-12);
        assert!((summary.error() - summary.deviation / 8f64.sqrt()).abs() < 1e-12);
        assert_eq!(Summary::of([]), Summary::default());
        assert_eq!(Summary::of([3.0]).deviation, 0.0);
    }

    #[test]
    fn the_results_of_threads_come_in_their_order() {
        for count in [0, 1, 2, 3, 100] {
            let results = in_parallel(5..5 + count, |n| n * 2);
            assert_eq!(results, (5..5 + count).map(|n| n * 2).collect::<Vec<_>>());
        }
    }
}
