//! For any runs: the same history gives the same predictions, no confidence is above what was
//! proven, and nothing that is observed does harm.

use crate::{call, returned};
use forerun_history::{CANDIDATES_MAX, Candidate, Predictor, Run};
use forerun_types::{Action, Observation, ObservationStatus};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Steps = Vec<(Action, Observation)>;

/// As many steps of each run, for few tools and values: much is repeated.
fn runs() -> impl Strategy<Value = Vec<Steps>> {
    let observation = prop_oneof![
        Just(returned("nothing")),
        Just(Observation::new(ObservationStatus::ToolError, "no")),
        prop::collection::vec(0..5u32, 0..4).prop_map(|ids| returned(&format!(
            r#"{{"ids":{ids:?},"note":"see A-{}"}}"#,
            ids.len()
        ))),
    ];
    let step = (0..3u32, 0..5u32, observation).prop_map(|(tool, value, observation)| {
        let action = call(&format!("tool-{tool}"), &format!(r#"{{"id":{value}}}"#));
        (action, observation)
    });
    prop::collection::vec(prop::collection::vec(step, 0..8), 0..12)
}

fn finished(steps: &[(Action, Observation)]) -> Run {
    crate::run("do it with A-1", steps)
}

fn taught(runs: &[Steps]) -> Predictor {
    let mut predictor = Predictor::default();
    runs.iter()
        .for_each(|steps| predictor.learn(&finished(steps)));
    predictor
}

/// What is predicted at each step of a run, and what came instead; nothing at its end.
fn predicted<'a>(
    predictor: &'a Predictor,
    steps: &'a [(Action, Observation)],
) -> impl Iterator<Item = (Vec<Candidate>, Option<&'a Action>)> {
    (0..=steps.len()).map(move |known| {
        let candidates = predictor.predict(&finished(&steps[..known]), 3);
        (candidates, steps.get(known).map(|(action, _)| action))
    })
}

/// The bound without a closed form: the lowest rate that is no more than z deviations below
/// what was seen, found by bisection.
fn bound(hits: u32, trials: u32) -> f64 {
    let (seen, trials) = (f64::from(hits) / f64::from(trials), f64::from(trials));
    let (mut low, mut high) = (0.0, seen);
    for _ in 0..60 {
        let rate: f64 = (low + high) / 2.0;
        match seen - rate > 1.645 * (rate * (1.0 - rate) / trials).sqrt() {
            true => low = rate,
            false => high = rate,
        }
    }
    high
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_history_gives_the_same_predictions(runs in runs(), steps in runs()) {
        let (one, other) = (taught(&runs), taught(&runs));
        prop_assert_eq!(&one, &other);
        let again = Predictor::from_json(&one.to_json().unwrap()).unwrap();
        prop_assert_eq!(&one, &again);
        for steps in &steps {
            prop_assert!(predicted(&one, steps).eq(predicted(&again, steps)));
        }
    }

    #[test]
    fn no_confidence_is_above_what_the_tool_s_candidates_proved(runs in runs()) {
        // Counted from outside: all candidates of a tool that were judged so far. Those of a
        // grade are some of these, so the best that they can have proven is that all hits are
        // theirs, and no misses.
        let mut predictor = Predictor::default();
        let mut hits: BTreeMap<String, u32> = BTreeMap::new();
        for steps in &runs {
            let mut now = Vec::new();
            for (candidates, came) in predicted(&predictor, steps) {
                for candidate in candidates {
                    let proven = hits.get(&candidate.action.tool).copied().unwrap_or(0);
                    let most = match proven { 0 => 0.0, hits => bound(hits, hits) };
                    prop_assert!(candidate.confidence <= most + 1e-9);
                    if came == Some(&candidate.action) {
                        now.push(candidate.action.tool);
                    }
                }
            }
            now.into_iter().for_each(|tool| *hits.entry(tool).or_default() += 1);
            predictor.learn(&finished(steps));
        }
    }

    #[test]
    fn candidates_are_distinct_and_no_more_than_asked_for(runs in runs(), most in 0..20usize) {
        let predictor = taught(&runs);
        for steps in &runs {
            let candidates = predictor.predict(&finished(steps), most);
            prop_assert!(candidates.len() <= most.min(CANDIDATES_MAX));
            for (number, one) in candidates.iter().enumerate() {
                prop_assert!(candidates[..number].iter().all(|other| other.action != one.action));
            }
            let tools = predictor.tools(&finished(steps));
            prop_assert!(tools.iter().map(|(_, chance)| chance).sum::<f64>() <= 1.0 + 1e-9);
            prop_assert!(tools.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        }
    }

    #[test]
    fn whatever_is_observed_is_learned_and_predicted_without_harm(
        texts in prop::collection::vec(prop_oneof![
            ".{0,80}",
            "[\\[\\]{}\":,0-9a-z\\\\]{0,80}",
            (1..2000usize).prop_map(|n| "[".repeat(n)),
            (1..2000usize).prop_map(|n| format!("{}1{}", "{\"\u{202e}/~*\":".repeat(n % 60), "}".repeat(n % 60))),
            (1..40_000usize).prop_map(|n| "é7/ ".repeat(n)),
        ], 0..6),
        tool in "\\PC{1,20}",
    ) {
        let mut predictor = Predictor::default();
        let mut run = Run::new(&texts.concat());
        for text in &texts {
            let arguments = serde_json::json!({ "text": text, text.as_str(): [text] });
            let action = call(&tool, &arguments.to_string());
            run.push(&action, Some(&returned(text)));
            predictor.predict(&run, 3);
        }
        (0..3).for_each(|_| predictor.learn(&run));
        predictor.predict(&run, 8);
        prop_assert!(Predictor::from_json(&predictor.to_json().unwrap()).is_ok());
    }
}

/// An agent that goes on with the next element in so many of a hundred cases, and else opens
/// something that nobody could know.
fn world(right: u64, runs: u64) -> Vec<Steps> {
    let mut seed = right;
    let mut number = move || {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        seed >> 33
    };
    let mut steps = |of: u64| -> Steps {
        let list = returned(&format!(r#"["i{of}-0","i{of}-1","i{of}-2"]"#));
        let mut steps = vec![(call("list", "{}"), list)];
        for n in 0..3 {
            let id = match number() % 100 < right {
                true => format!("i{of}-{n}"),
                false => format!("other-{}", number()),
            };
            let action = call("open", &format!(r#"{{"id":"{id}"}}"#));
            steps.push((action, returned("ok")));
        }
        steps
    };
    (0..runs).map(&mut steps).collect()
}

#[test]
fn of_candidates_at_least_their_confidence_is_right() {
    for right in [10, 30, 50, 70, 90, 100] {
        let mut predictor = Predictor::default();
        let (mut promised, mut kept) = (0.0, 0.0);
        for steps in world(right, 300) {
            for (candidates, came) in predicted(&predictor, &steps) {
                for candidate in candidates {
                    promised += candidate.confidence;
                    kept += f64::from(u8::from(came == Some(&candidate.action)));
                }
            }
            predictor.learn(&finished(&steps));
        }
        assert!(promised <= kept, "{right} %: {promised} of {kept}");
        // And it is no empty promise.
        assert!(promised >= 0.6 * kept, "{right} %: {promised} of {kept}");
    }
}
