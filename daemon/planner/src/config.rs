//! What a session's planner is told once, at its start.

use crate::DepthControl;
use forerun_types::Matcher;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The settings of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// k: how many steps may be undecided at once. With 1 planning does not overlap, but
    /// a_i executes while T(i) thinks; 0 is `off`: one step at a time, and the
    /// approximation agent is never asked.
    pub depth: u32,
    /// K: how many of A's candidates for a step are executed, side by side; 0 counts as 1,
    /// and more than [`Config::WIDTH_MAX`] as that.
    pub width: u32,
    /// Whether it is always k, or less when more does not pay.
    #[serde(default)]
    pub control: DepthControl,
    /// How the k undecided steps move along the plan.
    pub window: Window,
    /// Which candidates a verdict means beside those that are equal to it.
    #[serde(default)]
    pub matcher: Matcher,
    /// How long a decided step can still be replaced by the user. Zero: no window.
    pub review: Duration,
    /// The plan ends when this many steps are verified, if nothing ended it before.
    pub max_steps: u32,
}

impl Config {
    /// Most candidates a step: stops an agent that answers with a list of everything from
    /// filling the machine with sandboxes.
    pub const WIDTH_MAX: u32 = 8;

    /// How many candidates of a step are used.
    pub(crate) fn candidates_max(&self) -> usize {
        self.width.clamp(1, Config::WIDTH_MAX) as usize
    }
}

/// How the k undecided steps move along the plan (rule 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Step i may start when step i-k is decided.
    #[default]
    Sliding,
    /// As in Interactive Speculative Planning: a new window starts when all k steps are
    /// decided, or when one of them turned out to be wrong.
    Barrier,
}

impl Default for Config {
    /// The preset `isp`: depth 4, width 1, sliding, exact, no review.
    fn default() -> Self {
        Config {
            depth: 4,
            width: 1,
            control: DepthControl::Fixed,
            window: Window::Sliding,
            matcher: Matcher::Exact,
            review: Duration::ZERO,
            max_steps: 100,
        }
    }
}
