//! The simulations of *Interactive Speculative Planning*: figures 9 to 12, and its study of
//! impatience (figures 20 to 22).
//!
//! What differs from the paper: its algorithm is the planner's, which never is slower than no
//! speculation; and the agents of figures 20 to 22 are drawn from the means and
//! deviations that its Table 2 gives for OpenAGI, since its logs are not published.

use crate::chance::Latency;
use crate::meter::Run;
use crate::model::{Accuracy, Model};
use crate::statistics::{Summary, in_parallel};
use crate::study::{Axis, Point, Study};
use forerun_planner::{Config, Window};
use std::ops::Range;

/// The numbers of the figures that can be reproduced, in the paper's order.
pub const FIGURES: [u8; 7] = [9, 10, 11, 12, 20, 21, 22];

/// Steps of each plan.
const STEPS: u32 = 10;
/// k of the second experiment.
const DEPTH_OF_SPEEDS: u32 = 5;
/// k of the paper's experiments with real agents.
const DEPTH_OF_IMPATIENCE: u32 = 4;
/// Steps of a plan of the study of impatience: OpenAGI's plans have as many on the mean.
const STEPS_OF_IMPATIENCE: u32 = 5;

const ACCURACY: Axis = Axis {
    column: "accuracy",
    label: "accuracy of the approximation agent",
    digits: 1,
};
const SECONDS: Axis = Axis {
    column: "seconds_per_step",
    label: "seconds per step",
    digits: 3,
};
const TOKENS: Axis = Axis {
    column: "tokens",
    label: "tokens generated",
    digits: 0,
};
const TOKENS_PRO_RATED: Axis = Axis {
    column: "tokens_pro_rated",
    label: "tokens, cancelled calls in proportion",
    digits: 0,
};
const PEAK: Axis = Axis {
    column: "peak_calls",
    label: "most calls in flight at once",
    digits: 0,
};
const IMPATIENT: Axis = Axis {
    column: "impatient_steps",
    label: "share of steps at which the user gets impatient",
    digits: 3,
};

/// How the paper is to be reproduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paper {
    /// One run at each point for each of them.
    pub seeds: Range<u64>,
    /// The paper's is the barrier.
    pub window: Window,
}

/// A pair of agents of the paper's experiments on OpenAGI.
struct Setting {
    id: &'static str,
    title: &'static str,
    /// Mean and deviation of seconds per step.
    target: (f64, f64),
    approximation: (f64, f64),
    thresholds: &'static [f64],
}

/// Seconds per step without speculation, from Table 2: ReAct 8.69 ± 2.75, chain of thought
/// 7.98 ± 2.72, debate 34.84 ± 58.94, and direct generation with the same model 1.49 ± 0.43.
const SETTINGS: [Setting; 3] = [
    Setting {
        id: "figure-20",
        title: "Figure 20: impatience, setting 1 (direct generation, ReAct)",
        target: (8.69, 2.75),
        approximation: (1.49, 0.43),
        thresholds: &[5.0, 6.0, 7.0, 8.0, 9.0, 10.0],
    },
    Setting {
        id: "figure-21",
        title: "Figure 21: impatience, setting 2 (direct generation, chain of thought)",
        target: (7.98, 2.72),
        approximation: (1.49, 0.43),
        thresholds: &[5.0, 6.0, 7.0, 8.0, 9.0, 10.0],
    },
    Setting {
        id: "figure-22",
        title: "Figure 22: impatience, setting 3 (chain of thought, debate)",
        target: (34.84, 58.94),
        approximation: (7.98, 2.72),
        thresholds: &[11.0, 13.0, 17.0, 19.0, 21.0],
    },
];

impl Paper {
    /// One of [`FIGURES`]; `None` if it is not one of them.
    pub fn figure(&self, number: u8) -> Option<Study> {
        Some(match number {
            9 => self.depths(),
            10 => self.speeds(),
            11 => self.rates(),
            12 => self.interrupts(),
            20 => self.impatience(&SETTINGS[0]),
            21 => self.impatience(&SETTINGS[1]),
            22 => self.impatience(&SETTINGS[2]),
            _ => return None,
        })
    }

    fn config(&self, depth: u32) -> Config {
        Config {
            depth,
            window: self.window,
            max_steps: STEPS,
            ..Config::default()
        }
    }

    fn runs(&self, model: &Model, config: &Config) -> Vec<Run> {
        in_parallel(self.seeds.clone(), |seed| model.run(config, seed))
    }

    /// Figure 9: accuracy and k.
    fn depths(&self) -> Study {
        let mut points = Vec::new();
        for depth in 1..=10 {
            for accuracy in accuracies() {
                let model = Model {
                    accuracy: Accuracy::Same(accuracy),
                    ..Model::default()
                };
                let runs = self.runs(&model, &self.config(depth));
                points.push(time_and_tokens(format!("k={depth}"), accuracy, &runs));
            }
        }
        points.extend(alone());
        Study {
            id: "figure-9",
            title: "Figure 9: time and tokens by accuracy and k".to_owned(),
            x: ACCURACY,
            measures: vec![SECONDS, TOKENS, TOKENS_PRO_RATED],
            points,
        }
    }

    /// Figure 10: accuracy and the speed of A.
    fn speeds(&self) -> Study {
        let mut points = Vec::new();
        for seconds in 1..=8 {
            for accuracy in accuracies() {
                let model = Model {
                    accuracy: Accuracy::Same(accuracy),
                    approximation: Latency::Constant(f64::from(seconds)),
                    ..Model::default()
                };
                let runs = self.runs(&model, &self.config(DEPTH_OF_SPEEDS));
                points.push(time_and_tokens(format!("tA={seconds} s"), accuracy, &runs));
            }
        }
        points.extend(alone());
        Study {
            id: "figure-10",
            title: "Figure 10: time and tokens by accuracy and speed of A (k=5)".to_owned(),
            x: ACCURACY,
            measures: vec![SECONDS, TOKENS, TOKENS_PRO_RATED],
            points,
        }
    }

    /// Figure 11: calls in flight. With an agent that is always right every call lives to
    /// its end, so that one run shows the most.
    fn rates(&self) -> Study {
        let mut points = Vec::new();
        for depth in 1..=10 {
            for seconds in 1..=8 {
                let seconds = f64::from(seconds);
                let model = Model {
                    accuracy: Accuracy::Same(1.0),
                    approximation: Latency::Constant(seconds),
                    ..Model::default()
                };
                let run = model.run(&self.config(depth), self.seeds.start);
                points.push(Point {
                    series: format!("k={depth}"),
                    x: seconds,
                    values: vec![Summary::of([f64::from(run.peak_calls)])],
                });
            }
        }
        Study {
            id: "figure-11",
            title: "Figure 11: calls in flight by speed of A and k".to_owned(),
            x: Axis {
                column: "approximation_seconds",
                label: "seconds per step of the approximation agent",
                digits: 0,
            },
            measures: vec![PEAK],
            points,
        }
    }

    /// Figure 12: interruptions.
    fn interrupts(&self) -> Study {
        let points = (0..=STEPS).map(|interruptions| {
            let model = Model {
                interruptions,
                ..Model::default()
            };
            let runs = self.runs(&model, &self.config(STEPS));
            Point {
                series: "k=10, accuracy 0.5".to_owned(),
                x: f64::from(interruptions),
                values: vec![Summary::of(runs.iter().map(Run::seconds_per_step))],
            }
        });
        Study {
            id: "figure-12",
            title: "Figure 12: time by interruptions of the user".to_owned(),
            x: Axis {
                column: "interruptions",
                label: "interruptions",
                digits: 0,
            },
            measures: vec![SECONDS],
            points: points.collect(),
        }
    }

    /// Figures 20 to 22: at how many steps somebody waits longer than they can bear.
    fn impatience(&self, setting: &Setting) -> Study {
        let log_normal = |(mean, deviation)| Latency::LogNormal { mean, deviation };
        let runs: Vec<(f64, Vec<Run>, Vec<Run>)> = accuracies()
            .map(|accuracy| {
                let model = Model {
                    target: log_normal(setting.target),
                    approximation: log_normal(setting.approximation),
                    accuracy: Accuracy::Same(accuracy),
                    ..Model::default()
                };
                let config = |depth| Config {
                    max_steps: STEPS_OF_IMPATIENCE,
                    ..self.config(depth)
                };
                let on = self.runs(&model, &config(DEPTH_OF_IMPATIENCE));
                (accuracy, on, self.runs(&model, &config(0)))
            })
            .collect();
        let mut points = Vec::new();
        for threshold in setting.thresholds {
            for speculates in [true, false] {
                let how = if speculates { "speculative" } else { "off" };
                for (accuracy, on, off) in &runs {
                    let runs = if speculates { on } else { off };
                    let shares = runs.iter().map(|run| {
                        let long = run.waits.iter().filter(|wait| *wait > threshold);
                        long.count() as f64 / run.waits.len() as f64
                    });
                    points.push(Point {
                        series: format!("{threshold} s, {how}"),
                        x: *accuracy,
                        values: vec![Summary::of(shares)],
                    });
                }
            }
        }
        Study {
            id: setting.id,
            title: setting.title.to_owned(),
            x: ACCURACY,
            measures: vec![IMPATIENT],
            points,
        }
    }
}

fn accuracies() -> impl Iterator<Item = f64> {
    (0..=10).map(|tenths| f64::from(tenths) / 10.0)
}

fn time_and_tokens(series: String, x: f64, runs: &[Run]) -> Point {
    let values = vec![
        Summary::of(runs.iter().map(Run::seconds_per_step)),
        Summary::of(runs.iter().map(|run| run.tokens.launched)),
        Summary::of(runs.iter().map(|run| run.tokens.pro_rated)),
    ];
    Point { series, x, values }
}

/// One agent by itself: the bounds that the paper draws.
fn alone() -> Vec<Point> {
    let model = Model::default();
    let off = Config {
        depth: 0,
        max_steps: STEPS,
        ..Config::default()
    };
    let only_approximation = Model {
        target: model.approximation,
        target_tokens: model.approximation_tokens,
        ..model.clone()
    };
    let arms = [("T only", model), ("A only", only_approximation)];
    let points = arms.into_iter().flat_map(|(name, model)| {
        let run = model.run(&off, 0);
        accuracies().map(move |accuracy| {
            time_and_tokens(name.to_owned(), accuracy, std::slice::from_ref(&run))
        })
    });
    points.collect()
}
