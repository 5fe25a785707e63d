//! A suggestion changes the prefixes of the undecided steps, and nothing else (rule 6).

use crate::hand::*;
use crate::sim::said;
use forerun_planner::{Config, Effect, Interrupt, Refusal, Rehashed, State};
use forerun_types::{AskEnd, ExecutionEnd, StepIndex};
use std::time::Duration;

/// Step 0 is decided, steps 1 and 2 have candidates that ran, T(1) to T(3) and A(3) are in
/// flight.
fn ahead() -> Hand {
    let mut hand = Hand::new(4);
    hand.hold_commits = true;
    for (step, text) in [(0, "x"), (1, "y"), (2, "z")] {
        hand.speculates(step, text);
    }
    hand.says(T, 0, "x");
    hand
}

fn ended(hand: &Hand) -> Vec<(forerun_types::Role, u32, AskEnd)> {
    let ended = hand.last.iter().filter_map(|effect| match effect {
        Effect::CallEnded {
            role, step, end, ..
        } => Some((*role, step.0, *end)),
        _ => None,
    });
    ended.collect()
}

#[test]
fn the_calls_on_the_old_prefixes_end_and_the_candidates_stay() {
    let mut hand = ahead();
    let before = [hand.node(1), hand.node(2)];
    let prefix = hand.step(1).expect("step 1").prefix;
    hand.user(suggest(&hand, "use tabs"));
    let dropped: Vec<_> = ended(&hand);
    for (role, step) in [(T, 1), (T, 2), (T, 3), (A, 1), (A, 2), (A, 3)] {
        assert!(dropped.contains(&(role, step, AskEnd::Dropped)));
    }
    assert_eq!(dropped.len(), 6);
    assert_eq!([hand.node(1), hand.node(2)], before);
    assert!(hand.squashed().is_empty());
    assert!(!hand.has(|effect| matches!(effect, Effect::Execute { .. })));
    assert!(hand.asks(T, 1) && hand.asks(T, 2) && hand.asks(T, 3) && hand.asks(A, 3));
    assert_eq!(
        hand.step(1).map(|step| step.prefix),
        Some(said(&prefix, "use tabs"))
    );
    assert_eq!(hand.lines(), ["waiting 1"], "on another prefix");
}

#[test]
fn a_candidate_that_the_target_still_wants_is_kept_with_all_below_it() {
    let mut hand = ahead();
    hand.user(suggest(&hand, "use tabs"));
    hand.says(T, 1, "y");
    assert!(hand.squashed().is_empty());
    assert!(hand.asks(T, 2));
    assert_eq!(hand.planner.counters().matched, 2);
}

#[test]
fn an_answer_that_came_before_it_and_was_not_used_does_not_count() {
    let mut hand = ahead();
    hand.says(T, 2, "z");
    hand.says(T, 3, "other");
    hand.user(suggest(&hand, "use tabs"));
    assert!(ended(&hand).contains(&(T, 2, AskEnd::Dropped)));
    hand.says(T, 1, "y");
    assert!(
        !hand.has(|effect| matches!(effect, Effect::Decide { step, .. } if step.0 == 2)),
        "T(2) was asked on the old prefix"
    );
    hand.says(T, 2, "z");
    assert!(hand.asks(T, 3));
}

#[test]
fn what_still_runs_keeps_running() {
    let mut hand = Hand::new(4);
    hand.says(A, 0, "x");
    let running = hand.running(0);
    hand.user(suggest(&hand, "use tabs"));
    assert_eq!(hand.running(0), running);
    assert!(!hand.has(|effect| matches!(
        effect,
        Effect::ExecutionEnded {
            end: ExecutionEnd::Dropped,
            ..
        }
    )));
    hand.runs(0);
    hand.says(T, 0, "x");
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn what_is_decided_keeps_its_prefix() {
    let mut hand = Hand::with(Config {
        review: Duration::from_secs(10),
        ..Config::default()
    });
    hand.speculates(0, "x");
    hand.says(T, 0, "x");
    let before = hand.step(0).map(|step| step.prefix);
    hand.user(suggest(&hand, "use tabs"));
    assert_eq!(hand.step(0).map(|step| step.prefix), before);
    assert!(hand.asks(T, 1) && hand.asks(A, 1));
    hand.wait(10);
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn in_a_pause_nothing_is_asked_again_before_the_end_of_it() {
    let mut hand = ahead();
    hand.user(Interrupt::Pause);
    hand.user(suggest(&hand, "use tabs"));
    assert!(!hand.asks(T, 1) && !hand.asks(T, 2));
    hand.user(Interrupt::Resume);
    assert!(hand.asks(T, 1) && hand.asks(T, 2));
}

#[test]
fn a_claim_outlives_it_and_the_answer_that_stood_beside_the_path_does_not() {
    let mut hand = ahead();
    hand.user(claim(1, 60));
    hand.says(T, 1, "other");
    hand.user(suggest(&hand, "use tabs"));
    assert_eq!(hand.planner.admission().steps[1].rival, None);
    assert!(hand.asks(T, 1));
    hand.user(accept(1, None));
    assert!(hand.squashed().is_empty(), "the candidate was accepted");
}

#[test]
fn a_stalled_target_is_asked_again_on_the_new_prefix() {
    let mut hand = Hand::new(1);
    hand.fails(T, 0, permanent());
    assert!(matches!(hand.planner.state(), State::Stalled { .. }));
    hand.user(suggest(&hand, "use the other model"));
    assert_eq!(hand.planner.state(), State::Running);
    assert!(hand.asks(T, 0));
}

#[test]
fn it_needs_a_step_that_is_undecided() {
    let mut hand = Hand::new(4);
    hand.hold_commits = true;
    let missed = Interrupt::Suggest {
        step: StepIndex(1),
        prefixes: Rehashed::default(),
    };
    assert_eq!(
        hand.try_user(missed),
        Err(Refusal::Changed { step: StepIndex(1) })
    );
    hand.says(T, 0, "terminate");
    assert_eq!(
        hand.try_user(suggest(&hand, "wait")),
        Err(Refusal::NothingUndecided)
    );
}
