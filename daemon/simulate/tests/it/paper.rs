//! The figures of the paper: what must hold of each, whatever the seeds.

use forerun_planner::Window;
use forerun_simulate::paper::{FIGURES, Paper};
use forerun_simulate::study::Study;

fn figure(number: u8, seeds: u64) -> Study {
    let paper = Paper {
        seeds: 0..seeds,
        window: Window::Barrier,
    };
    paper.figure(number).expect("one of the figures")
}

/// The mean of a measure at a point.
fn mean(study: &Study, series: &str, x: f64, measure: usize) -> f64 {
    let at = |point: &&forerun_simulate::study::Point| {
        point.series == series && (point.x - x).abs() < 1e-9
    };
    let point = study.points.iter().find(at).expect("a point");
    point.values[measure].mean
}

#[test]
fn figure_9_has_the_bounds_and_the_deterministic_values() {
    let study = figure(9, 20);
    for accuracy in [0.0, 0.5, 1.0] {
        assert_eq!(mean(&study, "T only", accuracy, 0), 8.0);
        assert_eq!(mean(&study, "A only", accuracy, 0), 2.0);
        assert_eq!(mean(&study, "k=1", accuracy, 0), 8.0);
    }
    assert_eq!(mean(&study, "k=5", 0.0, 0), 8.0);
    assert_eq!(mean(&study, "k=5", 0.0, 1), 1020.0);
    assert_eq!(mean(&study, "k=5", 0.0, 2), 790.0);
    assert_eq!(mean(&study, "k=10", 1.0, 0), 2.6);
    assert_eq!(mean(&study, "k=10", 1.0, 1), 300.0);
}

#[test]
fn figure_10_shows_that_a_faster_agent_saves_more() {
    let study = figure(10, 100);
    let at = |seconds| mean(&study, &format!("tA={seconds} s"), 0.8, 0);
    let all: Vec<f64> = (1..=8).map(at).collect();
    assert!(all.is_sorted(), "{all:?}");
    assert_eq!(all[7], 8.0);
}

#[test]
fn figure_11_shows_one_call_more_than_targets_that_overlap() {
    let study = figure(11, 1);
    for depth in 1..=10u32 {
        for seconds in 1..=8u32 {
            let most = mean(&study, &format!("k={depth}"), f64::from(seconds), 0);
            let overlapping = depth.min(8u32.div_ceil(seconds));
            assert_eq!(most, f64::from(overlapping + 1), "k={depth} tA={seconds}");
        }
    }
}

#[test]
fn figure_12_shows_that_interruptions_save_time() {
    let study = figure(12, 500);
    let all: Vec<f64> = study
        .points
        .iter()
        .map(|point| point.values[0].mean)
        .collect();
    assert_eq!(all.len(), 11);
    assert!(all.is_sorted_by(|one, next| one > next), "{all:?}");
}

#[test]
fn figures_20_to_22_show_less_impatience_the_better_the_agent() {
    for (number, threshold) in [(20, 6), (21, 6), (22, 13)] {
        let study = figure(number, 200);
        let with =
            |how: &str, accuracy| mean(&study, &format!("{threshold} s, {how}"), accuracy, 0);
        for tenths in 0..=10 {
            let accuracy = f64::from(tenths) / 10.0;
            let (on, off) = (with("speculative", accuracy), with("off", accuracy));
            assert!(on <= off, "figure {number}, p={accuracy}: {on} > {off}");
        }
        assert!(with("speculative", 1.0) < with("off", 1.0) * 0.8);
        assert!(with("speculative", 1.0) < with("speculative", 0.2));
    }
}

#[test]
fn every_figure_has_a_row_for_each_measurement_and_a_plot_of_each_measure() {
    for number in FIGURES {
        let study = figure(number, 2);
        let table = study.table();
        assert_eq!(table.rows.len(), study.points.len() * study.measures.len());
        assert_eq!(table.csv().lines().count(), table.rows.len() + 1);
        for (measure, axis) in study.measures.iter().enumerate() {
            let svg = study.svg(measure).expect("there is something to draw");
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            assert!(svg.contains(axis.label) && svg.contains(&study.points[0].series));
            assert!(!svg.contains("NaN"));
            assert!(study.overview(measure).contains(&study.points[0].series));
        }
    }
    let paper = Paper {
        seeds: 0..1,
        window: Window::Sliding,
    };
    assert!(paper.figure(13).is_none());
}

#[test]
fn a_study_without_points_is_not_drawn() {
    let mut study = figure(11, 1);
    study.points.clear();
    let error = study.svg(0).expect_err("nothing to draw").to_string();
    assert_eq!(error, "failed to draw figure-11: it has no points");
}
