//! Predicting recorded runs from others: how they are split, and what history is worth.

use forerun_simulate::predict::{Outcome, Split};
use forerun_simulate::trace::{self, Episode};

/// See the page beside it.
pub(crate) const AIRLINE: &str = include_str!("../traces/tau-airline.jsonl");

fn outcome(text: &str, split: Split) -> Outcome {
    let episodes = trace::parse(text).expect("a trace");
    Outcome::of(&episodes.iter().collect::<Vec<&Episode>>(), split)
}

#[test]
fn history_beats_a_bigram_and_repeated_arguments_at_tasks_that_it_has_not_seen() {
    let outcome = outcome(AIRLINE, Split::Tasks);
    let (history, bigram) = (outcome.history, outcome.bigram);
    assert_eq!(history.calls, 577);
    assert!(history.tool_first > bigram.tool_first, "{history:?}");
    assert!(history.tool_any > bigram.tool_any, "{history:?}");
    assert!(history.call_first > bigram.call_first, "{history:?}");
    assert!(history.call_any > bigram.call_any, "{history:?}");
    let (derived, repeated) = (outcome.derived, outcome.repeated);
    assert!(derived.call_first > repeated.call_first, "{derived:?}");
    assert!(derived.call_any > repeated.call_any, "{derived:?}");
}

#[test]
fn tasks_that_come_again_are_known_again_and_confidence_keeps_its_word() {
    let outcome = outcome(AIRLINE, Split::Order);
    let (history, repeated) = (outcome.history, outcome.repeated);
    assert!(
        history.call_first >= 10 * repeated.call_first,
        "{history:?}"
    );
    for least in [0.2, 0.5, 0.7] {
        let sure = outcome.candidates.iter().filter(|one| one.0 >= least);
        let right: Vec<bool> = sure.map(|one| one.1).collect();
        let hits = right.iter().filter(|right| **right).count();
        assert!(right.len() >= 10, "at {least} {} candidates", right.len());
        let share = hits as f64 / right.len() as f64;
        assert!(share >= least, "at {least} {share} are right");
    }
}

#[test]
fn a_task_is_predicted_from_other_tasks_only_unless_runs_are_taken_in_order() {
    let runs: Vec<String> = (0..40)
        .map(|run| {
            let task = run % 10;
            format!(
                r#"{{"trace":"x","task":{task},"trial":{run},"calls":[{{"tool":"t{task}","arguments":{{}}}}]}}"#
            )
        })
        .collect();
    let text = runs.join("\n");
    for split in [
        Split::Tasks,
        Split::Folds { parts: 3, seed: 7 },
        Split::Folds { parts: 99, seed: 7 },
    ] {
        let outcome = outcome(&text, split);
        assert_eq!(outcome.history.calls, 40);
        assert_eq!((outcome.history.tool_any, outcome.history.call_any), (0, 0));
        assert_eq!((outcome.bigram.tool_any, outcome.repeated.call_any), (0, 0));
    }
    assert!(outcome(&text, Split::Order).history.tool_any > 0);
}

#[test]
fn a_habit_that_all_tasks_share_is_found_and_the_baselines_count_what_they_say() {
    let runs: Vec<String> = (0..10)
        .map(|task| {
            let call = |tool: &str| format!(r#"{{"tool":"{tool}","arguments":{{"id":{task}}}}}"#);
            let calls = [call("look"), call("act"), call("act")].join(",");
            format!(r#"{{"trace":"x","task":{task},"calls":[{calls}]}}"#)
        })
        .collect();
    let outcome = outcome(&runs.join("\n"), Split::Tasks);
    let history = outcome.history;
    // That `look` comes first is known, but not its argument; the others follow from it.
    assert_eq!((history.calls, history.tool_first), (30, 30));
    assert_eq!((history.call_first, history.call_any), (20, 20));
    // After `act` comes an end as often as another one, of which a bigram of calls knows
    // nothing; the first `act` repeats the arguments of another task.
    assert_eq!(
        (outcome.bigram.tool_first, outcome.bigram.call_first),
        (30, 10)
    );
    assert_eq!(outcome.repeated.call_first, 10);
}
