//! The user goes back to a step: among those that are not verified, and beyond.

use crate::hand::*;
use crate::sim::root;
use forerun_planner::{Config, Effect, Input, Interrupt, Refusal, RetireResult, State};
use forerun_types::{Source, StepIndex};
use std::time::Duration;

/// Steps 0 to 2 are verified, step 3 has a candidate that ran.
fn far() -> Hand {
    let mut hand = Hand::new(4);
    for (step, text) in [(0, "w"), (1, "x"), (2, "y"), (3, "z")] {
        hand.speculates(step, text);
    }
    for (step, text) in [(0, "w"), (1, "x"), (2, "y")] {
        hand.says(T, step, text);
    }
    assert_eq!(hand.planner.verified(), 3);
    hand
}

fn undoes(hand: &Hand) -> Option<u32> {
    hand.last.iter().find_map(|effect| match effect {
        Effect::Undo { from } => Some(from.0),
        _ => None,
    })
}

#[test]
fn verified_steps_are_undone_and_the_step_is_asked_anew_on_its_new_prefix() {
    let mut hand = far();
    hand.user(backtrack(&hand, 1, None));
    assert_eq!(undoes(&hand), Some(1));
    assert_eq!(hand.squashed(), [3]);
    assert_eq!(hand.lines(), ["back to 1, generation 1"]);
    assert_eq!(hand.planner.verified(), 1);
    assert!(hand.asks(T, 1) && hand.asks(A, 1));
    assert_eq!(hand.monitor.calls.len(), 2, "all others were cancelled");
    hand.speculates(1, "other");
    hand.says(T, 1, "other");
    assert_eq!(hand.planner.verified(), 2);
}

#[test]
fn the_users_action_decides_the_step_at_once() {
    let mut hand = far();
    hand.user(backtrack(&hand, 1, Some("mine")));
    assert_eq!(hand.lines(), ["back to 1, generation 1", "u1"]);
    assert!(!hand.asks(T, 1), "nobody has to be asked");
    hand.runs(1);
    assert_eq!(hand.planner.verified(), 2);
    assert_eq!(hand.monitor.verified[1].source, Source::User);
    hand.user(backtrack(&hand, 0, Some("mine too")));
    assert_eq!(hand.lines(), ["back to 0, generation 2", "u0"]);
    assert_eq!(hand.monitor.known_prefix_of(0), Some(root()));
}

#[test]
fn steps_that_are_not_verified_only_leave_the_tree() {
    let mut hand = Hand::with(Config {
        review: Duration::from_secs(10),
        ..Config::default()
    });
    for (step, text) in [(0, "x"), (1, "y"), (2, "z")] {
        hand.speculates(step, text);
    }
    hand.says(T, 0, "x");
    hand.says(T, 1, "y");
    hand.user(backtrack(&hand, 1, None));
    assert_eq!(undoes(&hand), None);
    assert_eq!(hand.squashed(), [2, 1]);
    assert!(hand.asks(T, 1) && hand.asks(A, 1));
    assert_eq!(
        hand.step(0).map(|step| step.review_until.is_some()),
        Some(true)
    );
    assert_eq!(
        hand.try_user(backtrack(&hand, 2, None)),
        Err(Refusal::NotAwaited { step: StepIndex(2) })
    );
}

#[test]
fn a_commit_that_is_under_way_is_waited_for_and_undone() {
    let mut hand = Hand::new(4);
    hand.hold_commits = true;
    hand.speculates(0, "x");
    hand.speculates(1, "y");
    hand.says(T, 0, "x");
    hand.user(backtrack(&hand, 0, Some("mine")));
    assert_eq!(hand.squashed(), [1]);
    assert_eq!(hand.planner.state(), State::Backtracking);
    assert!(hand.monitor.calls.is_empty() && undoes(&hand).is_none());
    assert_eq!(
        hand.try_user(suggest(&hand, "wait")),
        Err(Refusal::Backtracking)
    );
    hand.committed(RetireResult::Done);
    assert_eq!(undoes(&hand), Some(0));
    assert_eq!(hand.lines(), ["back to 0, generation 1", "u0"]);
    assert_eq!(hand.planner.verified(), 0);
}

#[test]
fn a_commit_that_fails_meanwhile_needs_no_undo() {
    let mut hand = Hand::new(4);
    hand.hold_commits = true;
    hand.speculates(0, "x");
    hand.says(T, 0, "x");
    hand.user(backtrack(&hand, 0, Some("mine")));
    hand.committed(RetireResult::Conflict {
        reason: "somebody was there".to_owned(),
        hint: "look at it".to_owned(),
    });
    assert_eq!(undoes(&hand), None);
    assert_eq!(hand.lines(), ["back to 0, generation 1", "u0"]);
    assert_eq!(hand.planner.state(), State::Running, "it is not stalled");
}

#[test]
fn in_a_pause_it_acts_at_once_and_nothing_is_launched() {
    let mut hand = far();
    hand.user(Interrupt::Pause);
    hand.user(backtrack(&hand, 1, Some("mine")));
    assert_eq!(undoes(&hand), Some(1));
    assert_eq!(hand.lines(), ["back to 1, generation 1"]);
    assert_eq!(hand.planner.state(), State::Paused);
    hand.user(Interrupt::Resume);
    assert_eq!(hand.lines(), ["resumed", "u1"]);
}

#[test]
fn what_can_not_be_undone_stays_verified_and_the_session_pauses() {
    let mut hand = far();
    hand.undo_keeps = 1;
    hand.user(backtrack(&hand, 0, Some("mine")));
    assert_eq!(
        hand.lines(),
        [
            "back to 1, generation 1",
            "refused 0: what it replaced is not kept any more",
            "paused"
        ]
    );
    assert_eq!(hand.planner.verified(), 1);
    hand.user(Interrupt::Resume);
    assert!(hand.asks(T, 1), "it goes on from there");
}

#[test]
fn a_session_that_stalled_goes_on_from_the_step() {
    let mut hand = far();
    hand.fails(T, 3, permanent());
    assert!(matches!(hand.planner.state(), State::Stalled { .. }));
    hand.user(backtrack(&hand, 2, None));
    assert_eq!(hand.planner.state(), State::Running);
    assert!(hand.asks(T, 2));
}

#[test]
fn a_stop_while_it_goes_back_ends_the_session_when_that_is_done() {
    let mut hand = Hand::new(4);
    hand.hold_commits = true;
    hand.speculates(0, "x");
    hand.says(T, 0, "x");
    hand.user(backtrack(&hand, 0, None));
    hand.user(Interrupt::Stop);
    assert_eq!(hand.planner.state(), State::Stopping);
    hand.committed(RetireResult::Done);
    assert_eq!(hand.lines(), ["stopped after 1"]);
}

#[test]
fn an_end_that_is_in_review_can_be_taken_back() {
    let mut hand = Hand::with(Config {
        review: Duration::from_secs(10),
        ..Config::default()
    });
    hand.says(T, 0, "terminate");
    hand.user(backtrack(&hand, 0, None));
    hand.says(T, 0, "x");
    hand.runs(0);
    assert!(hand.asks(T, 1));
    let unknown = hand.planner.counters().unknown;
    let undone = forerun_planner::Undone {
        first: StepIndex(0),
        node: None,
        next: root(),
        refused: None,
    };
    hand.input(Input::Undone(undone));
    assert_eq!(hand.planner.counters().unknown, unknown + 1, "nobody asked");
}
