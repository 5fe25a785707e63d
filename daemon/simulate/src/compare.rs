//! Ways to find the depth, side by side: fixed k, `auto` and `dynamic(tau)`, over a grid of
//! agents.
//!
//! Each way has one session after another, and takes along what it learned; all have the same
//! plans to make.

use crate::chance::Latency;
use crate::model::{Accuracy, Model};
use crate::preset;
use crate::statistics::{Summary, in_parallel};
use crate::table::{Cell, Table};
use forerun_planner::{Config, DepthControl, Experience, Tau};
use std::fmt;
use std::ops::Range;

/// The target's time in each cell of the grid, in seconds.
const TARGET_SECONDS: f64 = 8.0;
/// tA/tT.
const RATIOS: [f64; 3] = [0.125, 0.25, 0.5];
/// The shares of easy steps.
const SHARES: [f64; 3] = [0.8, 0.5, 0.2];
/// How often the approximation agent is right at easy steps, and at hard ones.
const EASY: f64 = 0.95;
const HARD: f64 = 0.2;
/// How often it is right where one step looks like another.
const ACCURACIES: [f64; 4] = [0.2, 0.5, 0.8, 0.95];
/// The deepest that is tried.
pub const DEPTH_MAX: u32 = 10;
/// Into how many parts each line of the front is cut to find the nearest point.
const FRONT_PARTS: u32 = 200;
/// A shallower fixed depth is as good as the best if it is slower by less than this share.
const AS_GOOD: f64 = 0.001;

/// What is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    /// One session for each.
    pub seeds: Range<u64>,
    /// Steps of a session.
    pub steps: u32,
    /// The values of tau that are tried.
    pub taus: Vec<Tau>,
}

/// One cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// How often the approximation agent is right.
    pub accuracy: Accuracy,
    /// tA/tT.
    pub ratio: f64,
}

/// A way to find the depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Always the same.
    Fixed(u32),
    /// [`DepthControl::Auto`].
    Auto,
    /// [`DepthControl::Dynamic`].
    Dynamic(Tau),
}

/// How a way did in a cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The way.
    pub way: Way,
    /// Seconds per step.
    pub seconds: Summary,
    /// Tokens per step of calls whose answer was not used, those of cancelled calls in
    /// proportion to their time.
    pub wasted: Summary,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Fixed(depth) => write!(f, "k={depth}"),
            Way::Auto => f.write_str("auto"),
            Way::Dynamic(tau) => write!(f, "dynamic({})", f64::from(u16::from(*tau)) / 1000.0),
        }
    }
}

impl Way {
    fn config(self, steps: u32) -> Config {
        let (depth, control) = match self {
            Way::Fixed(depth) => (depth, DepthControl::Fixed),
            Way::Auto => (DEPTH_MAX, DepthControl::Auto),
            Way::Dynamic(tau) => (DEPTH_MAX, DepthControl::Dynamic(tau)),
        };
        Config {
            depth,
            control,
            max_steps: steps,
            ..Config::default()
        }
    }
}

impl Place {
    /// The grid: where a look at a step tells how hard it is, and where it does not.
    pub fn grid() -> Vec<Place> {
        let kinds = SHARES.map(|share| Accuracy::Kinds {
            easy: EASY,
            hard: HARD,
            share,
        });
        let accuracies = kinds.into_iter().chain(ACCURACIES.map(Accuracy::Same));
        let places = accuracies.flat_map(|accuracy| RATIOS.map(|ratio| Place { accuracy, ratio }));
        places.collect()
    }

    /// Whether a look at a step tells how hard it is.
    pub fn has_kinds(&self) -> bool {
        matches!(self.accuracy, Accuracy::Kinds { .. })
    }

    fn model(&self) -> Model {
        Model {
            target: Latency::Constant(TARGET_SECONDS),
            approximation: Latency::Constant(TARGET_SECONDS * self.ratio),
            accuracy: self.accuracy,
            ..Model::default()
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.accuracy {
            Accuracy::Same(accuracy) => write!(f, "p={accuracy}"),
            Accuracy::Kinds { share, .. } => write!(f, "{:.0} % easy", share * 100.0),
        }
    }
}

impl Compare {
    /// Every way in one cell, fixed depths first and in ascending order, beginning with off.
    pub fn at(&self, place: &Place) -> Vec<Score> {
        let mut ways: Vec<Way> = (0..=DEPTH_MAX).map(Way::Fixed).collect();
        ways.push(Way::Auto);
        ways.extend(self.taus.iter().map(|tau| Way::Dynamic(*tau)));
        in_parallel(0..ways.len() as u64, |way| {
            self.one(place, ways[way as usize])
        })
    }

    fn one(&self, place: &Place, way: Way) -> Score {
        let (model, config) = (place.model(), way.config(self.steps));
        let mut experience = Experience::default();
        let runs: Vec<(f64, f64)> = self
            .seeds
            .clone()
            .map(|seed| {
                let run = model.run_experienced(&config, seed, &mut experience);
                let steps = run.verified.len() as f64;
                (run.seconds / steps, run.wasted.pro_rated / steps)
            })
            .collect();
        Score {
            way,
            seconds: Summary::of(runs.iter().map(|run| run.0)),
            wasted: Summary::of(runs.iter().map(|run| run.1)),
        }
    }

    /// What the page of this crate documents.
    pub fn documented() -> Compare {
        Compare {
            seeds: 0..50,
            steps: 100,
            taus: Vec::new(),
        }
    }

    /// The preset `dynamic` beside the best fixed depth, in every cell.
    pub fn acceptance(&self) -> Table {
        let columns = [
            "accuracy",
            "tA/tT",
            "best_k",
            "seconds",
            "dynamic_seconds",
            "time",
            "wasted",
            "dynamic_wasted",
            "waste",
            "above_front",
        ];
        let mut table = Table::new("dynamic beside the best fixed depth", &columns);
        for place in Place::grid() {
            let (best, dynamic, above) = self.judge(&place);
            let way = match best.way {
                Way::Fixed(depth) => Cell::Count(u64::from(depth)),
                Way::Auto | Way::Dynamic(_) => Cell::None,
            };
            table.rows.push(vec![
                Cell::Text(place.to_string()),
                Cell::Number(place.ratio, 3),
                way,
                Cell::Number(best.seconds.mean, 3),
                Cell::Number(dynamic.seconds.mean, 3),
                Cell::Number(dynamic.seconds.mean / best.seconds.mean, 3),
                Cell::Number(best.wasted.mean, 2),
                Cell::Number(dynamic.wasted.mean, 2),
                Cell::Number(dynamic.wasted.mean / best.wasted.mean, 3),
                Cell::Number(above, 3),
            ]);
        }
        table
    }

    /// The best fixed depth, the preset `dynamic`, and how far that is above the front.
    pub fn judge(&self, place: &Place) -> (Score, Score, f64) {
        let with_preset = Compare {
            taus: vec![preset::dynamic_tau()],
            ..self.clone()
        };
        let scores = with_preset.at(place);
        let dynamic = scores[scores.len() - 1];
        (best_fixed(&scores), dynamic, above_front(&scores, &dynamic))
    }

    /// All cells and ways. The last columns compare each with the best fixed depth.
    pub fn table(&self) -> Table {
        let columns = [
            "accuracy",
            "tA/tT",
            "way",
            "seconds_per_step",
            "error",
            "wasted_per_step",
            "time_to_best",
            "waste_to_best",
        ];
        let mut table = Table::new("Ways to find the depth", &columns);
        for place in Place::grid() {
            let results = self.at(&place);
            let best = best_fixed(&results);
            for result in &results {
                table.rows.push(vec![
                    Cell::Text(place.to_string()),
                    Cell::Number(place.ratio, 3),
                    Cell::Text(result.way.to_string()),
                    Cell::Number(result.seconds.mean, 3),
                    Cell::Number(result.seconds.error(), 3),
                    Cell::Number(result.wasted.mean, 2),
                    Cell::Number(result.seconds.mean / best.seconds.mean, 3),
                    Cell::Number(result.wasted.mean / best.wasted.mean, 3),
                ]);
            }
        }
        table
    }
}

/// The best fixed depth: the smallest that is slower than the fastest by less than a thousandth.
///
/// # Panics
/// If there is none, which [`Compare::at`] does not do.
pub fn best_fixed(results: &[Score]) -> Score {
    let fixed = || {
        results
            .iter()
            .filter(|result| matches!(result.way, Way::Fixed(_)))
    };
    let fastest = fixed()
        .map(|result| result.seconds.mean)
        .fold(f64::INFINITY, f64::min);
    let best = fixed().find(|result| result.seconds.mean <= fastest * (1.0 + AS_GOOD));
    *best.expect("a fixed depth is among the ways")
}

/// How far a score is above the front of fixed depths, as a share, on the axis on which it is
/// farther: the least t so that some point of the front is worse, if it grows by t. The
/// front is drawn with straight lines, as sessions of two depths in turn are on them.
pub fn above_front(scores: &[Score], score: &Score) -> f64 {
    let fixed = scores
        .iter()
        .filter(|score| matches!(score.way, Way::Fixed(_)));
    let front: Vec<(f64, f64)> = fixed
        .map(|score| (score.seconds.mean, score.wasted.mean))
        .collect();
    let mut least = f64::INFINITY;
    for pair in front.windows(2) {
        for part in 0..=FRONT_PARTS {
            let part = f64::from(part) / f64::from(FRONT_PARTS);
            let between = |one: f64, other: f64| one + part * (other - one);
            let seconds = between(pair[0].0, pair[1].0);
            let wasted = between(pair[0].1, pair[1].1);
            let above = (score.seconds.mean / seconds).max(score.wasted.mean / wasted);
            least = least.min(above);
        }
    }
    least - 1.0
}
