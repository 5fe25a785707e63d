//! Rule 9: agents that fail, are rate limited, or are lost; actions that can not be
//! executed; answers that come too late.

use crate::hand::*;
use forerun_planner::{Effect, Input, Interrupt, Outcome, Refusal, State};
use forerun_types::{AskEnd, CallId, StepIndex};

fn lost(role: forerun_types::Role) -> Input {
    Input::AgentLost { role }
}

fn attached(role: forerun_types::Role) -> Input {
    Input::AgentAttached { role, capacity: 4 }
}

fn stalled_at(hand: &Hand) -> Option<u32> {
    match hand.planner.state() {
        State::Stalled { step, .. } => Some(step.0),
        _ => None,
    }
}

#[test]
fn a_failed_proposal_is_asked_for_once_more_and_then_t_goes_alone() {
    let mut hand = Hand::new(4);
    hand.fails(A, 0, transient());
    assert!(hand.asks(A, 0));
    hand.fails(A, 0, transient());
    assert!(!hand.asks(A, 0));
    assert_eq!(hand.lines(), ["waiting 0"]);
    hand.says(T, 0, "x");
    hand.runs(0);
    assert!(hand.asks(A, 1), "it is asked again at the next step");
}

#[test]
fn a_permanent_failure_of_a_is_not_asked_again_on_the_same_step() {
    let mut hand = Hand::new(4);
    hand.fails(A, 0, permanent());
    assert!(!hand.asks(A, 0) && hand.asks(T, 0));
}

#[test]
fn an_agent_that_attaches_again_is_asked_again_at_once() {
    let mut hand = Hand::new(4);
    hand.fails(A, 0, permanent());
    hand.input(attached(A));
    assert!(hand.asks(A, 0));
    hand.speculates(0, "x");
    hand.fails(T, 1, permanent());
    hand.input(attached(T));
    assert!(hand.asks(T, 1), "not only at the lowest step");
}

#[test]
fn after_three_failures_in_a_row_a_is_left_alone_for_a_while() {
    let mut hand = Hand::new(4);
    hand.fails(A, 0, transient());
    hand.fails(A, 0, transient());
    hand.says(T, 0, "x");
    hand.runs(0);
    hand.fails(A, 1, transient());
    assert!(!hand.asks(A, 1), "the third failure begins a back-off");
    hand.wait(1);
    assert!(!hand.asks(A, 1));
    hand.wait(1);
    assert!(hand.asks(A, 1), "T still thinks about step 1");
}

#[test]
fn a_failed_target_is_retried_twice_and_then_the_session_stalls() {
    let mut hand = Hand::new(4);
    hand.speculates(0, "x");
    for _ in 0..2 {
        hand.fails(T, 0, transient());
        assert!(hand.asks(T, 0));
    }
    hand.fails(T, 0, transient());
    assert!(!hand.asks(T, 0));
    assert_eq!(
        hand.lines(),
        ["stalled 0: the target agent failed: no route"]
    );
    assert_eq!(stalled_at(&hand), Some(0));
    hand.user(Interrupt::Retry);
    assert_eq!(hand.lines()[0], "continued: retry");
    assert!(hand.asks(T, 0));
    hand.says(T, 0, "x");
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn a_failure_above_the_lowest_step_is_kept_until_the_step_is_the_lowest() {
    let mut hand = Hand::new(4);
    hand.speculates(0, "x");
    hand.fails(T, 1, transient());
    assert!(!hand.asks(T, 1) && hand.asks(A, 1));
    hand.says(T, 0, "x");
    assert!(hand.asks(T, 1));
    hand.fails(T, 1, transient());
    hand.fails(T, 1, transient());
    assert_eq!(stalled_at(&hand), Some(1));
}

#[test]
fn a_stalled_step_can_be_decided_by_the_user() {
    let mut hand = Hand::new(4);
    hand.speculates(0, "x");
    hand.fails(T, 0, permanent());
    assert_eq!(stalled_at(&hand), Some(0));
    hand.user(accept(0, None));
    assert!(
        hand.lines()
            .contains(&"continued: the step goes on".to_owned())
    );
    assert_eq!(hand.planner.verified(), 1);
    assert_eq!(stalled_at(&hand), None);
    hand.fails(T, 1, permanent());
    hand.user(replace(1, "mine"));
    assert_eq!(stalled_at(&hand), None);
}

#[test]
fn while_stalled_nobody_is_asked() {
    let mut hand = Hand::new(4);
    hand.says(A, 0, "x");
    hand.fails(T, 0, permanent());
    hand.runs(0);
    assert!(hand.monitor.calls.is_empty());
}

#[test]
fn a_lost_target_stalls_the_session_once_it_is_needed_and_its_return_is_a_retry() {
    let mut hand = Hand::new(4);
    hand.speculates(0, "x");
    hand.says(T, 0, "x");
    hand.speculates(1, "y");
    hand.input(lost(T));
    assert_eq!(hand.lines(), ["stalled 1: no target agent is attached"]);
    assert_eq!(hand.planner.verified(), 1, "what is verified stays");
    hand.user(Interrupt::Retry);
    assert_eq!(stalled_at(&hand), Some(1), "a retry does not bring it back");
    hand.input(attached(T));
    assert_eq!(hand.lines()[0], "continued: a target agent is attached");
    assert!(hand.asks(T, 1) && hand.asks(T, 2));
}

#[test]
fn a_lost_target_whose_answer_is_there_does_not_stall_yet() {
    let mut hand = Hand::new(4);
    hand.speculates(0, "x");
    hand.says(A, 1, "y");
    hand.says(T, 0, "x");
    hand.says(T, 1, "y");
    hand.input(lost(T));
    assert_eq!(stalled_at(&hand), None);
    hand.runs(1);
    assert_eq!(stalled_at(&hand), Some(2));
    assert_eq!(hand.planner.verified(), 2);
}

#[test]
fn without_its_approximation_agent_a_session_goes_on_step_by_step() {
    let mut hand = Hand::new(4);
    hand.speculates(0, "x");
    hand.input(lost(A));
    assert_eq!(stalled_at(&hand), None);
    let cancels = |effect: &Effect| matches!(effect, Effect::CancelCall { .. });
    assert!(!hand.has(cancels), "nobody is there to be told");
    hand.says(T, 0, "x");
    hand.says(T, 1, "y");
    hand.runs(1);
    assert_eq!(hand.planner.verified(), 2);
    assert!(hand.asks(T, 2) && !hand.asks(A, 2));
    hand.input(attached(A));
    assert!(hand.asks(A, 2));
}

#[test]
fn a_rate_limit_is_no_failure_halves_the_calls_and_waits_as_told() {
    let mut hand = Hand::new(8);
    for (step, text) in [(0, "x"), (1, "y"), (2, "z")] {
        hand.speculates(step, text);
    }
    assert!(hand.asks(T, 3));
    hand.fails(T, 0, rate_limited(5));
    assert!(!hand.asks(T, 0));
    hand.speculates(3, "w");
    assert!(
        !hand.asks(T, 4),
        "two calls at most, and three are in flight"
    );
    hand.wait(5);
    assert!(hand.asks(T, 0), "the lowest step is always asked for");
    assert!(!hand.asks(T, 4));
    for _ in 0..20 {
        hand.fails(T, 0, rate_limited(5));
        hand.wait(5);
    }
    assert_eq!(stalled_at(&hand), None);
    hand.says(T, 1, "y");
    hand.says(T, 2, "z");
    hand.says(T, 3, "w");
    assert!(hand.asks(T, 4), "answers bring the calls back");
}

#[test]
fn a_rate_limited_approximation_agent_waits_too() {
    let mut hand = Hand::new(4);
    for _ in 0..5 {
        hand.fails(A, 0, rate_limited(3));
        assert!(!hand.asks(A, 0));
        hand.wait(3);
        assert!(hand.asks(A, 0));
    }
}

#[test]
fn an_action_that_is_held_back_runs_at_its_verdict() {
    let mut hand = Hand::new(4);
    hand.says(A, 0, "x");
    let reason = "held by policy".to_owned();
    hand.ends(0, Outcome::NotExecuted { reason });
    assert!(hand.monitor.executions.is_empty() && !hand.asks(T, 1));
    hand.says(T, 0, "x");
    assert!(hand.has(|effect| matches!(
        effect,
        Effect::Execute {
            speculative: false,
            ..
        }
    )));
    hand.runs(0);
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn what_reaches_beyond_its_snapshot_is_released_after_its_review_and_in_order() {
    let mut hand = Hand::reviewed(4, 10);
    hand.says(A, 0, "x");
    hand.runs(0);
    hand.says(A, 1, "y");
    let (execution, _) = hand.running(1).expect("it runs ahead");
    hand.input(Input::Parked { execution });
    let released = |hand: &Hand| hand.has(|effect| *effect == Effect::Release { execution });
    assert!(!released(&hand) && !hand.asks(T, 2), "nothing is below it");
    hand.says(T, 1, "y");
    assert!(!released(&hand), "the step before is undecided");
    hand.says(T, 0, "x");
    assert!(!released(&hand), "it is reviewed");
    hand.wait(10);
    assert_eq!(hand.planner.verified(), 1);
    assert!(!released(&hand), "now this one is");
    hand.user(Interrupt::Pause);
    hand.wait(20);
    assert!(!released(&hand));
    hand.user(Interrupt::Resume);
    hand.wait(10);
    assert!(released(&hand));
    hand.input(Input::Parked { execution });
    assert!(!released(&hand), "once is enough");
    hand.runs(1);
    assert_eq!(hand.planner.verified(), 2);
}

#[test]
fn what_is_parked_and_not_the_verdict_never_reaches_anything() {
    let mut hand = Hand::new(4);
    hand.says(A, 0, "x");
    let (execution, _) = hand.running(0).expect("it runs ahead");
    hand.input(Input::Parked { execution });
    hand.says(T, 0, "y");
    assert!(hand.has(|effect| *effect == Effect::StopExecution { execution }));
    assert!(!hand.has(|effect| matches!(effect, Effect::Release { .. })));
    hand.input(Input::Parked { execution });
    hand.runs(0);
    assert!(!hand.has(|effect| matches!(effect, Effect::Release { .. })));
}

#[test]
fn a_verdict_that_finds_its_action_running_lets_a_limit_decide_whether_it_runs_again() {
    let mut hand = Hand::new(4);
    hand.says(A, 0, "x");
    hand.says(T, 0, "x");
    let reason = "out of time".to_owned();
    hand.ends(0, Outcome::NotExecuted { reason });
    assert!(hand.running(0).is_some(), "again, with verified priority");
    assert_eq!(stalled_at(&hand), None);
}

#[test]
fn an_action_that_can_not_be_executed_stalls_the_session_until_a_retry() {
    let mut hand = Hand::new(4);
    hand.says(T, 0, "x");
    let reason = "no memory".to_owned();
    hand.ends(0, Outcome::Failed { reason });
    assert_eq!(
        hand.lines(),
        ["stalled 0: the action could not be executed: no memory"]
    );
    assert!(hand.monitor.executions.is_empty());
    hand.user(Interrupt::Retry);
    hand.runs(0);
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn late_answers_and_unknown_ids_are_counted_and_never_used() {
    let mut hand = Hand::new(4);
    hand.speculates(0, "x");
    let late = hand.call(T, 1).expect("it was asked");
    let (execution, _) = {
        hand.says(A, 1, "y");
        hand.running(1).expect("it runs")
    };
    hand.says(T, 0, "z");
    assert!(hand.has(|effect| *effect == Effect::CancelCall { call: late }));
    let candidate = crate::sim::action("y");
    for call in [late, late, CallId(0), CallId(12345)] {
        hand.input(Input::Answered {
            call,
            candidate,
            others: Vec::new(),
            near: Vec::new(),
        });
        assert!(hand.last.is_empty());
    }
    let reason = String::new();
    hand.input(Input::Executed {
        execution,
        outcome: Outcome::Failed { reason },
    });
    assert!(hand.last.is_empty());
    let counters = hand.planner.counters();
    assert_eq!(
        (
            counters.late_answers,
            counters.late_results,
            counters.unknown
        ),
        (2, 1, 2)
    );
    let dropped = hand
        .monitor
        .ends
        .iter()
        .filter(|end| **end == (T, AskEnd::Dropped));
    assert_eq!(dropped.count(), 1);
}

#[test]
fn retry_needs_a_stall() {
    let mut hand = Hand::new(4);
    assert_eq!(hand.try_user(Interrupt::Retry), Err(Refusal::NotStalled));
    assert_eq!(hand.planner.steps()[0].step, StepIndex(0));
}
