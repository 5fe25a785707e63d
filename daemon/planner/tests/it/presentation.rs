//! The presented stream, and what is executed when.

use crate::hand::*;
use forerun_planner::{Config, Effect, Input, State};
use forerun_types::{AskEnd, ExecutionEnd, Source};

#[test]
fn a_step_is_proposed_observed_awaited_and_answered() {
    let mut hand = Hand::new(4);
    hand.says(A, 0, "x");
    assert_eq!(hand.lines(), ["a0", "waiting 0"]);
    hand.runs(0);
    assert_eq!(hand.lines(), ["o0"]);
    hand.says(T, 0, "x");
    assert_eq!(hand.lines(), ["t0 matches"]);
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn a_correction_is_shown_and_the_path_below_it_is_dropped() {
    let mut hand = Hand::new(4);
    hand.speculates(0, "x");
    hand.speculates(1, "y");
    assert!(hand.asks(T, 2) && hand.asks(A, 2));
    hand.says(T, 0, "z");
    assert_eq!(hand.lines(), ["t0 corrects"]);
    assert_eq!(hand.squashed(), [1, 0]);
    assert!(hand.monitor.calls.is_empty());
    let execute = |effect: &Effect| {
        matches!(
            effect,
            Effect::Execute {
                speculative: false,
                source: Source::Target,
                parent: None,
                ..
            }
        )
    };
    assert!(hand.has(execute));
    hand.runs(0);
    assert_eq!(hand.lines(), ["o0"]);
    assert!(hand.asks(A, 1) && hand.asks(T, 1));
}

#[test]
fn nothing_beyond_the_first_mismatch_is_shown_when_answers_come_out_of_order() {
    let mut hand = Hand::new(4);
    for (step, text) in [(0, "x"), (1, "y"), (2, "z")] {
        hand.speculates(step, text);
    }
    hand.says(T, 2, "z");
    assert!(hand.lines().is_empty());
    hand.says(T, 1, "other");
    assert!(hand.lines().is_empty());
    assert_eq!(hand.squashed(), [2, 1]);
    // t_1 runs at once, speculatively, since step 0 is not decided.
    let (_, node) = hand.running(1).expect("t_1 runs");
    assert!(hand.has(|effect| matches!(
        effect,
        Effect::Execute {
            speculative: true,
            ..
        }
    )));
    hand.runs(1);
    assert!(hand.asks(T, 2), "the plan goes on below it");
    hand.says(T, 0, "x");
    assert_eq!(
        hand.lines(),
        ["t0 matches", "a1", "t1 corrects", "o1", "waiting 2"][..4]
    );
    assert_eq!(hand.planner.head(), Some(node));
}

#[test]
fn in_a_barrier_nothing_starts_below_an_undecided_correction() {
    let mut hand = Hand::barrier(4);
    hand.speculates(0, "x");
    hand.speculates(1, "y");
    hand.says(T, 1, "other");
    hand.runs(1);
    assert!(!hand.asks(T, 2));
    hand.says(T, 0, "x");
    assert!(hand.asks(T, 2));
}

#[test]
fn an_answer_before_the_proposal_is_uncontested() {
    let mut hand = Hand::new(4);
    hand.says(T, 0, "x");
    assert_eq!(hand.lines(), ["t0"]);
    assert!(!hand.asks(A, 0));
    assert_eq!(hand.planner.counters().uncontested, 1);
    assert!(hand.has(|effect| matches!(
        effect,
        Effect::CallEnded {
            role: A,
            end: AskEnd::Dropped,
            ..
        }
    )));
}

#[test]
fn a_running_execution_of_a_match_is_awaited() {
    let mut hand = Hand::new(4);
    hand.says(A, 0, "x");
    let running = hand.running(0);
    hand.says(T, 0, "x");
    assert_eq!(hand.running(0), running);
    assert_eq!(hand.planner.verified(), 0);
    hand.runs(0);
    assert_eq!(hand.planner.verified(), 1);
    assert!(hand.has(|effect| matches!(
        effect,
        Effect::ExecutionEnded {
            end: ExecutionEnd::Used,
            ..
        }
    )));
}

#[test]
fn terminate_matches_by_name_and_keeps_the_answer_of_the_target() {
    let mut hand = Hand::new(4);
    hand.says(A, 0, "terminate perhaps");
    assert!(hand.monitor.executions.is_empty());
    assert!(!hand.asks(T, 1), "nothing is asked below it");
    hand.says(T, 0, "terminate surely");
    assert_eq!(hand.lines(), ["t0 matches", "terminated after 1"]);
    let action = crate::sim::action("terminate surely").action;
    assert_eq!(hand.monitor.verified[0].action, action);
    assert_eq!(hand.planner.state(), State::Ended);
}

#[test]
fn an_end_that_only_the_approximation_agent_wants_ends_nothing() {
    let mut hand = Hand::new(4);
    hand.says(A, 0, "terminate too early");
    hand.says(T, 0, "x");
    hand.runs(0);
    assert_eq!(hand.planner.state(), State::Running);
    assert!(hand.asks(T, 1));
}

#[test]
fn a_question_is_not_asked_before_its_verdict() {
    let mut hand = Hand::new(4);
    hand.says(A, 0, "ask_user which");
    assert!(hand.monitor.executions.is_empty() && !hand.asks(T, 1));
    hand.says(T, 0, "ask_user which");
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
fn the_plan_ends_at_its_step_limit() {
    let mut hand = Hand::with(Config {
        max_steps: 1,
        ..Config::default()
    });
    hand.speculates(0, "x");
    assert!(!hand.asks(T, 1));
    hand.says(T, 0, "x");
    assert_eq!(hand.lines(), ["t0 matches", "step limit after 1"]);
}

#[test]
fn without_agents_a_session_waits_for_them() {
    let mut hand = Hand::unattended(Config::default());
    hand.input(Input::Tick);
    assert_eq!(hand.planner.state(), State::Running);
    hand.input(Input::AgentAttached {
        role: T,
        capacity: 1,
    });
    assert!(hand.asks(T, 0) && !hand.asks(A, 0));
    // Whoever comes later still helps with the step that the target thinks about.
    hand.input(Input::AgentAttached {
        role: A,
        capacity: 1,
    });
    assert!(hand.asks(A, 0));
}

#[test]
fn capacity_below_depth_lowers_depth() {
    let mut hand = Hand::new(4);
    hand.input(Input::AgentAttached {
        role: T,
        capacity: 2,
    });
    hand.speculates(0, "x");
    hand.speculates(1, "y");
    assert!(hand.asks(T, 1) && !hand.asks(T, 2));
    hand.says(T, 1, "y");
    assert!(!hand.asks(T, 2), "two steps are undecided");
    hand.says(T, 0, "x");
    assert!(hand.asks(T, 2) && !hand.asks(T, 3));
}

#[test]
fn off_never_asks_the_approximation_agent_and_takes_one_step_at_a_time() {
    let mut hand = Hand::new(0);
    assert!(hand.asks(T, 0) && !hand.asks(A, 0));
    hand.says(T, 0, "x");
    assert!(!hand.asks(T, 1));
    hand.runs(0);
    assert!(hand.asks(T, 1) && !hand.asks(A, 1));
}
