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
    let folds = (1..=3).map(|seed| Split::Folds { parts: 5, seed });
    for split in folds.chain([Split::Tasks]) {
        let outcome = outcome(AIRLINE, split);
        let (history, bigram, repeat) = (outcome.history, outcome.bigram, outcome.repeat);
        assert_eq!(history.calls, 577);
        assert!(history.tool_first > bigram.tool_first, "{outcome:?}");
        assert!(history.tool_any > bigram.tool_any, "{outcome:?}");
        for baseline in [bigram, repeat] {
            assert!(history.call_first > baseline.call_first, "{outcome:?}");
            assert!(history.call_any > baseline.call_any, "{outcome:?}");
        }
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
        assert_eq!((outcome.bigram.tool_any, outcome.repeat.call_any), (0, 0));
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
    assert_eq!(outcome.repeat.call_first, 10);
}
