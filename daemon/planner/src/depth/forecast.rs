//! Whether the approximation agent is right, from what can be seen: the tool that it
//! proposes, and how it did lately. Online regression; no training before, no model file.
//!
//! The τ-expectile of something that is 1 with probability p, and else 0, has τ/(1-τ) times
//! the odds of p: for an outcome of this kind, regression with weights τ and 1-τ on the two
//! sides of its errors finds nothing that the one with equal weights does not. So one
//! regression is kept, with equal weights, and serves every τ; [`expectile`] does the rest.
//!
//! That one expectile is a rule for launching: with probability q that the prefix is right, a
//! second earlier saves q seconds, and costs 1-q seconds of work in vain. Weighing them with τ
//! and 1-τ, it pays when the expectile of q is at least ½.

use serde::{Deserialize, Serialize};

/// Weights of tools; tools whose numbers fall together share one. Bounds the memory.
const TOOLS: usize = 64;
/// How fast weights move (AdaGrad): the first outcome moves one by so much.
const RATE: f64 = 0.5;
/// Weights stay within odds of a million to one, so that they can still move.
const WEIGHT_MAX: f64 = 14.0;
/// The weight of the newest outcome in how the agent did lately.
const NEWEST: f64 = 0.1;
/// Before anything was seen the agent is expected to be right three times in four: trying
/// is what one learns from.
const BIAS: f64 = 1.1;

/// A logistic regression, fitted as outcomes come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Forecast {
    bias: Weight,
    lately: Weight,
    tools: Vec<Weight>,
    /// The moving average of outcomes, 0 to 1.
    recent: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Weight {
    value: f64,
    /// The sum of the squares of what moved it.
    moved: f64,
}

impl Default for Forecast {
    fn default() -> Forecast {
        Forecast {
            bias: Weight {
                value: BIAS,
                moved: 0.0,
            },
            lately: Weight::default(),
            tools: vec![Weight::default(); TOOLS],
            recent: 0.5,
        }
    }
}

impl Forecast {
    /// The probability that a candidate with this tool is right.
    pub(crate) fn chance(&self, tool: u64) -> f64 {
        let tool = self.tools.get(place(tool)).map_or(0.0, |tool| tool.value);
        let odds = self.bias.value + tool + self.lately.value * (self.recent - 0.5);
        1.0 / (1.0 + (-odds).exp())
    }

    /// Takes note of an outcome.
    pub(crate) fn learn(&mut self, tool: u64, right: bool) {
        let outcome = f64::from(u8::from(right));
        let error = outcome - self.chance(tool);
        self.bias.pull(error);
        self.lately.pull(error * (self.recent - 0.5));
        self.tools.resize(TOOLS, Weight::default());
        self.tools[place(tool)].pull(error);
        self.recent += NEWEST * (outcome - self.recent);
    }
}

impl Weight {
    fn pull(&mut self, by: f64) {
        self.moved += by * by;
        if self.moved > 0.0 {
            let value = self.value + RATE * by / self.moved.sqrt();
            self.value = value.clamp(-WEIGHT_MAX, WEIGHT_MAX);
        }
    }
}

fn place(tool: u64) -> usize {
    (tool % TOOLS as u64) as usize
}

/// The τ-expectile of an outcome that is 1 with this probability, and else 0.
pub(crate) fn expectile(probability: f64, tau: f64) -> f64 {
    let (right, wrong) = (tau * probability, (1.0 - tau) * (1.0 - probability));
    right / (right + wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outcomes without a pattern: every `of` of ten is right.
    fn train(forecast: &mut Forecast, tool: u64, of: u64, seed: &mut u64) {
        *seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        forecast.learn(tool, (*seed >> 33) % 10 < of);
    }

    #[test]
    fn tools_are_told_apart_within_two_hundred_outcomes() {
        let mut forecast = Forecast::default();
        let mut seed = 7;
        for _ in 0..100 {
            train(&mut forecast, 1, 9, &mut seed);
            train(&mut forecast, 2, 2, &mut seed);
        }
        assert!(forecast.chance(1) > 0.8, "{}", forecast.chance(1));
        assert!(forecast.chance(2) < 0.35, "{}", forecast.chance(2));
        let new = forecast.chance(3);
        assert!((0.2..0.9).contains(&new), "an unknown tool: {new}");
    }

    #[test]
    fn the_chance_of_independent_outcomes_is_found() {
        for of in 0..=10 {
            let mut forecast = Forecast::default();
            let mut seed = of;
            let chances = (0..5000).map(|_| {
                train(&mut forecast, 1, of, &mut seed);
                forecast.chance(1)
            });
            let mean = chances.skip(4000).sum::<f64>() / 1000.0;
            let exact = of as f64 / 10.0;
            assert!((mean - exact).abs() < 0.03, "{mean}, not {exact}");
        }
    }

    #[test]
    fn the_expectile_is_where_the_weighted_errors_balance() {
        for p in [0.01, 0.2, 0.5, 0.95] {
            for tau in [0.05, 0.3, 0.5, 0.9] {
                let e = expectile(p, tau);
                let (above, below) = (tau * p * (1.0 - e), (1.0 - tau) * (1.0 - p) * e);
                assert!((above - below).abs() < 1e-12);
            }
        }
        assert!((expectile(0.3, 0.5) - 0.3).abs() < 1e-12, "½ is the mean");
    }
}
