//! How far ahead of the lowest undecided step another one may start (rule 3).

use crate::Window;
use forerun_types::StepIndex;

/// The window of a session.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    kind: Window,
    /// Where the present window of a barrier starts.
    start: u32,
}

impl Guard {
    pub(crate) fn new(kind: Window) -> Guard {
        Guard { kind, start: 0 }
    }

    /// Whether `step` may start while `lowest` is the lowest undecided step and at most
    /// `depth` may be undecided.
    pub(crate) fn allows(&mut self, step: StepIndex, lowest: StepIndex, depth: u32) -> bool {
        if step.0.saturating_sub(lowest.0) >= depth {
            return false;
        }
        match self.kind {
            Window::Sliding => true,
            Window::Barrier => {
                if lowest.0.saturating_sub(self.start) >= depth {
                    self.start = lowest.0;
                }
                step.0.saturating_sub(self.start) < depth
            }
        }
    }

    /// Whether steps may start below an answer of T that is no decision yet.
    pub(crate) fn goes_below_undecided_answers(&self) -> bool {
        self.kind == Window::Sliding
    }

    /// The path was broken off, and goes on with `step`.
    pub(crate) fn restart(&mut self, step: StepIndex) {
        self.start = step.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(guard: &mut Guard, lowest: u32, depth: u32) -> Vec<u32> {
        (0..20)
            .filter(|step| *step >= lowest)
            .filter(|step| guard.allows(StepIndex(*step), StepIndex(lowest), depth))
            .collect()
    }

    #[test]
    fn a_sliding_window_moves_with_each_decision() {
        let mut guard = Guard::new(Window::Sliding);
        assert_eq!(starts(&mut guard, 0, 3), [0, 1, 2]);
        assert_eq!(starts(&mut guard, 1, 3), [1, 2, 3]);
    }

    #[test]
    fn a_barrier_moves_when_all_steps_are_decided() {
        let mut guard = Guard::new(Window::Barrier);
        assert_eq!(starts(&mut guard, 0, 3), [0, 1, 2]);
        assert_eq!(starts(&mut guard, 2, 3), [2]);
        assert_eq!(starts(&mut guard, 3, 3), [3, 4, 5]);
    }

    #[test]
    fn a_barrier_starts_anew_below_a_correction() {
        let mut guard = Guard::new(Window::Barrier);
        assert_eq!(starts(&mut guard, 0, 3), [0, 1, 2]);
        guard.restart(StepIndex(1));
        assert_eq!(starts(&mut guard, 1, 3), [1, 2, 3]);
    }

    #[test]
    fn a_lower_depth_counts_at_once() {
        let mut guard = Guard::new(Window::Barrier);
        assert_eq!(starts(&mut guard, 0, 4), [0, 1, 2, 3]);
        assert_eq!(starts(&mut guard, 1, 2), [1]);
        assert_eq!(starts(&mut guard, 2, 2), [2, 3]);
    }
}
