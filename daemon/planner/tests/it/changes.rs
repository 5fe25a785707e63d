//! Rule 6: what happens below a step that is executed again.

use crate::hand::*;
use forerun_planner::{Config, Effect, Input, Interrupt, Refusal, RetireResult, State, Window};
use forerun_types::StepIndex;

fn conflict() -> RetireResult {
    RetireResult::Conflict {
        reason: "src/lib.rs was changed by somebody".to_owned(),
        hint: "look at it, then retry".to_owned(),
    }
}

/// Steps 0 and 1 are decided, 2 and 3 are not; T(2) and T(3) are in flight; the commit of
/// step 0 has conflicted.
fn conflicted() -> Hand {
    let mut hand = Hand::new(4);
    hand.hold_commits = true;
    hand.says(A, 0, "x");
    hand.runs_with(0, "seen", "changes");
    for (step, text) in [(1, "y"), (2, "z")] {
        hand.speculates(step, text);
    }
    hand.says(T, 0, "x");
    hand.says(T, 1, "y");
    hand.committed(conflict());
    assert_eq!(
        hand.lines(),
        ["stalled 0: src/lib.rs was changed by somebody"]
    );
    hand
}

fn stale() -> RetireResult {
    RetireResult::Stale {
        reason: "src/lib.rs was changed by somebody".to_owned(),
    }
}

/// As [`conflicted`], but step 0 is stale.
fn outdated() -> Hand {
    let mut hand = Hand::new(4);
    hand.hold_commits = true;
    hand.says(A, 0, "x");
    hand.runs_with(0, "seen", "changes");
    for (step, text) in [(1, "y"), (2, "z")] {
        hand.speculates(step, text);
    }
    hand.says(T, 0, "x");
    hand.says(T, 1, "y");
    hand.committed(stale());
    hand
}

#[test]
fn a_stale_step_is_executed_again_at_once_and_its_verdict_stays() {
    let mut hand = outdated();
    assert!(hand.lines().is_empty());
    assert_eq!(hand.planner.state(), State::Running);
    assert_eq!(runs_now(&hand), [0]);
    assert!(hand.has(|effect| matches!(
        effect,
        Effect::Execute {
            parent: None,
            speculative: false,
            ..
        }
    )));
    hand.runs_with(0, "seen", "changes");
    assert!(hand.squashed().is_empty() && runs_now(&hand).is_empty());
    hand.committed(RetireResult::Done);
    hand.committed(RetireResult::Done);
    assert_eq!(hand.planner.verified(), 2);
}

#[test]
fn a_stale_step_that_observes_something_else_drops_all_below() {
    let mut hand = outdated();
    hand.runs_with(0, "something else", "changes");
    assert_eq!(hand.squashed(), [2, 1]);
    assert_eq!(hand.lines()[0], "o0", "it is shown again");
    assert!(hand.asks(T, 1) && hand.asks(A, 1));
}

#[test]
fn a_step_that_is_stale_for_ever_waits_for_the_user_in_the_end() {
    let mut hand = outdated();
    for _ in 0..2 {
        for _ in 0..2 {
            hand.runs_with(0, "seen", "changes");
            hand.committed(stale());
            assert_eq!(hand.planner.state(), State::Running);
        }
        hand.runs_with(0, "seen", "changes");
        hand.committed(stale());
        assert_eq!(
            hand.lines(),
            ["stalled 0: src/lib.rs was changed by somebody"]
        );
        assert!(runs_now(&hand).is_empty());
        hand.user(Interrupt::Retry);
        assert_eq!(runs_now(&hand), [0]);
        hand.runs_with(0, "seen", "changes");
        hand.committed(stale());
    }
    hand.runs_with(0, "seen", "changes");
    hand.committed(RetireResult::Done);
    hand.committed(RetireResult::Done);
    assert_eq!(hand.planner.verified(), 2);
}

fn runs_now(hand: &Hand) -> Vec<u32> {
    let started = hand.last.iter().filter_map(|effect| match effect {
        Effect::Execute { step, .. } => Some(step.0),
        _ => None,
    });
    started.collect()
}

#[test]
fn a_conflict_stalls_until_a_retry_executes_the_step_on_the_fresh_head() {
    let mut hand = conflicted();
    let step = StepIndex(0);
    assert!(matches!(
        hand.planner.state(),
        State::Stalled { hint, .. } if hint == "look at it, then retry"
    ));
    assert_eq!(
        hand.try_user(replace(0, "mine")),
        Err(Refusal::Decided { step })
    );
    assert!(hand.monitor.executions.is_empty());
    hand.user(Interrupt::Retry);
    assert!(hand.has(|effect| matches!(
        effect,
        Effect::Execute {
            parent: None,
            speculative: false,
            ..
        }
    )));
    assert_eq!(runs_now(&hand), [0]);
}

#[test]
fn the_same_observation_and_changes_keep_everything_below() {
    let mut hand = conflicted();
    hand.user(Interrupt::Retry);
    hand.runs_with(0, "seen", "changes");
    assert!(hand.squashed().is_empty() && runs_now(&hand).is_empty());
    assert!(hand.asks(T, 2) && hand.asks(T, 3));
    hand.committed(RetireResult::Done);
    hand.committed(RetireResult::Done);
    assert_eq!(hand.planner.verified(), 2);
}

#[test]
fn the_same_observation_with_other_changes_executes_again_what_is_below() {
    let mut hand = conflicted();
    hand.says(T, 2, "z");
    hand.user(Interrupt::Retry);
    hand.runs_with(0, "seen", "other changes");
    assert!(hand.squashed().is_empty());
    assert_eq!(runs_now(&hand), [1]);
    assert!(hand.asks(T, 3), "answers and calls below are kept");
    hand.runs(1);
    assert_eq!(runs_now(&hand), [2]);
    assert!(hand.lines().contains(&"t2 matches".to_owned()));
    hand.runs(2);
    for _ in 0..3 {
        hand.committed(RetireResult::Done);
    }
    assert_eq!(hand.planner.verified(), 3);
}

#[test]
fn another_observation_drops_all_below() {
    let mut hand = conflicted();
    hand.says(T, 2, "z");
    hand.user(Interrupt::Retry);
    hand.runs_with(0, "something else", "changes");
    assert_eq!(hand.squashed(), [2, 1]);
    assert_eq!(hand.lines()[0], "o0", "it is shown again");
    assert!(hand.asks(T, 1) && hand.asks(A, 1) && !hand.asks(T, 2));
    hand.speculates(1, "y");
    hand.says(T, 1, "y");
    assert!(
        hand.has(|effect| matches!(effect, Effect::Decide { step, .. } if step.0 == 1)),
        "step 1 is decided anew"
    );
}

#[test]
fn nothing_below_is_decided_while_a_step_is_executed_again() {
    let mut hand = conflicted();
    hand.user(Interrupt::Retry);
    hand.says(T, 2, "z");
    assert!(!hand.has(|effect| matches!(effect, Effect::Decide { .. })));
    assert_eq!(
        hand.try_user(replace(2, "mine")),
        Err(Refusal::NotAwaited { step: StepIndex(2) })
    );
    hand.runs_with(0, "seen", "changes");
    assert!(hand.has(|effect| matches!(effect, Effect::Decide { step, .. } if step.0 == 2)));
}

#[test]
fn an_end_that_could_not_be_recorded_is_recorded_by_a_retry() {
    let mut hand = Hand::new(4);
    hand.hold_commits = true;
    hand.says(T, 0, "terminate done");
    hand.committed(conflict());
    assert!(matches!(hand.planner.state(), State::Stalled { .. }));
    let retires = |hand: &Hand| hand.has(|effect| matches!(effect, Effect::Retire { .. }));
    assert!(!retires(&hand));
    hand.user(Interrupt::Retry);
    assert!(retires(&hand));
    hand.committed(RetireResult::Done);
    assert_eq!(hand.lines(), ["terminated after 1"]);
}

#[test]
fn nobody_is_asked_and_nothing_stalls_below_a_step_that_is_executed_again() {
    let (lost, attached) = (
        |role| Input::AgentLost { role },
        |role| Input::AgentAttached { role, capacity: 4 },
    );
    let mut hand = conflicted();
    hand.input(lost(A));
    hand.user(Interrupt::Retry);
    hand.fails(T, 2, transient());
    hand.input(attached(A));
    assert!(!hand.asks(T, 2) && !hand.asks(A, 3));
    hand.input(lost(T));
    assert_eq!(hand.planner.state(), State::Running);
    hand.runs_with(0, "seen", "changes");
    assert!(matches!(hand.planner.state(), State::Stalled { step, .. } if step.0 == 2));
    hand.input(attached(T));
    assert!(hand.asks(T, 2) && hand.asks(A, 3));
}

#[test]
fn a_barrier_starts_anew_below_what_was_dropped() {
    let mut hand = Hand::barrier(2);
    hand.hold_commits = true;
    hand.speculates(0, "x");
    hand.speculates(1, "y");
    hand.says(T, 0, "x");
    hand.says(T, 1, "y");
    assert!(hand.asks(T, 2), "the second window");
    hand.committed(conflict());
    hand.user(Interrupt::Retry);
    hand.runs_with(0, "something else", "changes");
    hand.speculates(1, "y");
    hand.speculates(2, "z");
    hand.says(T, 1, "y");
    assert!(!hand.asks(T, 3), "the window is 1 and 2");
    hand.says(T, 2, "z");
    assert!(hand.asks(T, 3));
}

#[test]
fn a_barrier_starts_anew_below_a_step_that_was_replaced_in_review() {
    let mut hand = Hand::with(Config {
        depth: 2,
        window: Window::Barrier,
        review: std::time::Duration::from_secs(10),
        ..Config::default()
    });
    hand.says(A, 0, "x");
    hand.says(T, 0, "x");
    hand.user(replace(0, "mine"));
    hand.runs(0);
    hand.speculates(1, "y");
    assert!(hand.asks(T, 2), "the window is 1 and 2");
}
