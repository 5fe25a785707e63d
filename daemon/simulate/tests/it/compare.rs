//! What the ways to find the depth promise.

use forerun_planner::{Config, DepthControl, Experience, Tau};
use forerun_simulate::chance::Latency;
use forerun_simulate::compare::{Compare, Place, Way};
use forerun_simulate::model::{Accuracy, Model};

fn tau(thousandths: u16) -> Tau {
    Tau::try_from(thousandths).expect("from 1 to 999")
}

fn model(approximation: f64) -> Model {
    Model {
        approximation: Latency::Constant(approximation),
        accuracy: Accuracy::Same(1.0),
        ..Model::default()
    }
}

#[test]
fn auto_overlaps_as_many_targets_as_fit_and_is_as_fast_as_the_deepest() {
    for (approximation, calls) in [(1.0, 8), (2.0, 4), (3.0, 3), (4.0, 2), (7.0, 2)] {
        let config = |control| Config {
            depth: 10,
            control,
            max_steps: 40,
            ..Config::default()
        };
        let mut experience = Experience::default();
        let model = model(approximation);
        model.run_experienced(&config(DepthControl::Auto), 0, &mut experience);
        let auto = model.run_experienced(&config(DepthControl::Auto), 1, &mut experience);
        let deepest = model.run(&config(DepthControl::Fixed), 1);
        assert_eq!(auto.peak_target_calls, calls, "tA={approximation}");
        assert_eq!(auto.seconds, deepest.seconds, "tA={approximation}");
    }
}

#[test]
fn dynamic_stops_below_an_agent_that_is_always_wrong() {
    let config = Config {
        depth: 10,
        control: DepthControl::Dynamic(tau(500)),
        max_steps: 100,
        ..Config::default()
    };
    let model = Model {
        accuracy: Accuracy::Same(0.0),
        ..Model::default()
    };
    let mut experience = Experience::default();
    model.run_experienced(&config, 0, &mut experience);
    let run = model.run_experienced(&config, 1, &mut experience);
    assert_eq!((run.target_calls, run.approximation_calls), (100, 100));
    assert_eq!(run.seconds, 800.0);
}

#[test]
fn what_was_learned_survives_its_text() {
    let mut experience = Experience::default();
    model(2.0).run_experienced(&Config::default(), 0, &mut experience);
    assert_ne!(experience, Experience::default());
    let text = serde_json::to_string(&experience).unwrap();
    let mut again: Experience = serde_json::from_str(&text).unwrap();
    // Sessions that begin with it do the same. (Of the numbers the last digit may differ.)
    let config = Config {
        depth: 10,
        control: DepthControl::Dynamic(tau(800)),
        ..Config::default()
    };
    let model = Model::default();
    let run = model.run_experienced(&config, 1, &mut experience);
    assert_eq!(model.run_experienced(&config, 1, &mut again), run);
    assert_ne!(model.run(&config, 1), run, "it makes a difference");
}

#[test]
fn where_difficulty_is_visible_dynamic_is_nearly_as_fast_as_the_best_depth_and_wastes_less() {
    let compare = Compare::documented();
    let places: Vec<Place> = Place::grid().into_iter().filter(Place::has_kinds).collect();
    assert_eq!(places.len(), 9);
    let (mut fixed, mut wasted) = (0.0, 0.0);
    for place in &places {
        let (best, dynamic, _) = compare.judge(place);
        let slower = dynamic.seconds.mean / best.seconds.mean;
        assert!(slower <= 1.02, "{place} {}: {slower}", place.ratio);
        assert!(dynamic.wasted.mean <= best.wasted.mean * 1.001, "{place}");
        fixed += best.wasted.mean;
        wasted += dynamic.wasted.mean;
    }
    assert!(wasted <= fixed * 0.7, "{wasted} of {fixed}");
}

#[test]
fn where_all_steps_look_alike_dynamic_stays_on_the_front_of_fixed_depths() {
    let compare = Compare::documented();
    for place in Place::grid().iter().filter(|place| !place.has_kinds()) {
        let (.., above) = compare.judge(place);
        assert!(above <= 0.02, "{place} {}: {above}", place.ratio);
    }
}

#[test]
fn a_larger_tau_is_faster_and_wastes_more() {
    let compare = Compare {
        taus: [50, 200, 500, 800, 950, 990].map(tau).to_vec(),
        ..Compare::documented()
    };
    for place in Place::grid().iter().filter(|place| place.has_kinds()) {
        let scores = compare.at(place);
        let dynamic: Vec<_> = scores
            .iter()
            .filter(|score| matches!(score.way, Way::Dynamic(_)))
            .collect();
        for pair in dynamic.windows(2) {
            // Equal but for what was learned in another order.
            let (one, next) = (pair[0], pair[1]);
            let what = format!("{place} {}: {} {}", place.ratio, one.way, next.way);
            assert!(next.seconds.mean <= one.seconds.mean * 1.01, "{what}");
            assert!(next.wasted.mean >= one.wasted.mean * 0.98, "{what}");
        }
        let (cheapest, fastest) = (dynamic[0], dynamic[dynamic.len() - 1]);
        assert!(fastest.seconds.mean < cheapest.seconds.mean);
        assert!(fastest.wasted.mean > cheapest.wasted.mean);
    }
}
