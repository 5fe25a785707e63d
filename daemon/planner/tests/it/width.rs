//! Several candidates a step: siblings that are executed side by side (rules 2 and 4a).

use crate::hand::*;
use crate::sim::action;
use forerun_planner::{Config, Effect, Input, Outcome, Refusal};
use forerun_types::{AskEnd, StepIndex};

fn wide(width: u32) -> Hand {
    Hand::with(Config {
        width,
        ..Config::default()
    })
}

fn launched(hand: &Hand) -> usize {
    let is_launch = |effect: &&Effect| matches!(effect, Effect::Execute { .. });
    hand.last.iter().filter(is_launch).count()
}

/// Steps 0 and 1 have three candidates each, all of which ran; the path goes through the
/// first ones, and A and T are asked for step 2.
fn ahead() -> Hand {
    let mut hand = wide(3);
    for step in [0, 1] {
        hand.offers(step, &["x", "y", "z"]);
        for text in ["x", "y", "z"] {
            hand.candidate_runs(step, text);
        }
    }
    assert!(hand.asks(T, 2) && hand.asks(A, 2));
    hand
}

fn held() -> Outcome {
    Outcome::NotExecuted {
        reason: "policy holds it".to_owned(),
    }
}

#[test]
fn candidates_are_executed_side_by_side_and_shown_on_one_line() {
    let mut hand = wide(3);
    hand.offers(0, &["x", "y", "z"]);
    assert_eq!(launched(&hand), 3);
    assert_eq!(hand.lines(), ["a0++", "waiting 0"]);
    hand.candidate_runs(0, "y");
    assert!(!hand.asks(T, 1), "the path goes below the first one");
    hand.candidate_runs(0, "x");
    assert!(hand.asks(T, 1) && hand.asks(A, 1));
    assert_eq!(hand.lines(), ["o0"]);
}

#[test]
fn equal_candidates_are_one_and_more_than_the_width_are_none() {
    let mut hand = wide(2);
    hand.offers(0, &["x", "x", "terminate now", "terminate later", "y"]);
    assert_eq!(launched(&hand), 1, "terminate is not executed");
    assert_eq!(hand.lines(), ["a0+", "waiting 0"]);
    let mut narrow = wide(1);
    narrow.offers(0, &["x", "y"]);
    assert_eq!(narrow.lines(), ["a0", "waiting 0"]);
}

#[test]
fn a_verdict_that_matches_the_path_keeps_what_is_below_and_squashes_the_siblings() {
    let mut hand = ahead();
    hand.says(T, 0, "x");
    assert_eq!(hand.squashed(), [0, 0]);
    assert_eq!(hand.lines(), ["t0 matches", "a1++", "o1", "waiting 1"]);
    assert!(hand.asks(T, 2) && hand.asks(A, 2));
}

#[test]
fn a_verdict_that_matches_a_sibling_adopts_it_and_squashes_what_is_below_the_other() {
    let mut hand = ahead();
    let kept = hand.candidate(0, "y").expect("a candidate");
    hand.says(T, 0, "y");
    assert_eq!(hand.squashed(), [1, 1, 1, 0, 0]);
    assert_eq!(hand.lines()[..2], ["t0 matches", "o0"]);
    assert_eq!(launched(&hand), 0, "it ran already");
    assert_eq!(hand.planner.head(), Some(kept));
    assert!(hand.asks(T, 1) && hand.asks(A, 1), "on its own prefix");
    assert_eq!(hand.planner.counters().matched, 1);
}

#[test]
fn a_sibling_that_still_runs_when_it_is_adopted_is_awaited() {
    let mut hand = wide(2);
    hand.offers(0, &["x", "y"]);
    hand.candidate_runs(0, "x");
    hand.says(T, 0, "y");
    assert_eq!(launched(&hand), 0);
    hand.runs(0);
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn a_verdict_that_matches_none_squashes_all() {
    let mut hand = ahead();
    hand.says(T, 0, "other");
    assert_eq!(hand.squashed(), [1, 1, 1, 0, 0, 0]);
    assert_eq!(hand.lines(), ["t0 corrects"]);
    let dropped = |effect: &Effect| {
        matches!(effect, Effect::CallEnded { role: A, step, end: AskEnd::Dropped, .. }
            if step.0 == 0)
    };
    assert!(hand.has(dropped));
}

#[test]
fn below_a_candidate_that_is_parked_the_path_does_not_go_on() {
    let mut hand = wide(3);
    hand.offers(0, &["x", "y", "z"]);
    hand.candidate_runs(0, "y");
    hand.candidate_ends(0, "x", held());
    assert!(hand.asks(T, 1), "below the next one");
    assert_eq!(
        hand.step(0).and_then(|step| step.node),
        hand.candidate(0, "y")
    );
    hand.says(T, 0, "x");
    assert_eq!(launched(&hand), 1, "it runs at its verdict");
    hand.runs(0);
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn a_question_is_a_candidate_that_nothing_goes_on_below() {
    let mut hand = wide(2);
    hand.offers(0, &["ask_user which", "y"]);
    hand.candidate_runs(0, "y");
    assert!(hand.asks(T, 1));
}

#[test]
fn to_accept_one_of_several_it_has_to_be_named() {
    let mut hand = ahead();
    assert_eq!(
        hand.try_user(accept(0, None)),
        Err(Refusal::Ambiguous { step: StepIndex(0) })
    );
    let second = hand.candidate(0, "y");
    hand.user(accept(0, second));
    assert_eq!(hand.planner.head(), second);
    assert_eq!(hand.lines()[0], "u0 matches");
}

#[test]
fn during_a_claim_an_answer_that_is_a_sibling_is_shown_and_changes_nothing() {
    let mut hand = ahead();
    let second = hand.candidate(0, "y");
    hand.user(claim(0, 60));
    hand.says(T, 0, "y");
    assert_eq!(hand.lines(), ["t0 matches"]);
    assert!(hand.squashed().is_empty());
    hand.user(unclaim(0));
    assert_eq!(hand.planner.head(), second);
}

#[test]
fn a_suggestion_keeps_all_candidates() {
    let mut hand = ahead();
    hand.user(suggest(&hand, "use tabs"));
    assert!(hand.squashed().is_empty());
    hand.says(T, 0, "z");
    assert_eq!(hand.planner.counters().matched, 1);
    assert!(hand.asks(T, 1), "on the prefix with the suggestion");
}

#[test]
fn what_nobody_was_asked_for_joins_the_candidates_as_far_as_the_width_goes() {
    let mut hand = wide(3);
    hand.foresees(0, &["x"]);
    assert_eq!(launched(&hand), 1);
    assert_eq!(hand.lines(), ["a0"]);
    hand.offers(0, &["x", "y", "z", "too much"]);
    assert_eq!(launched(&hand), 2, "x runs already");
    assert_eq!(hand.lines(), ["a0++", "waiting 0"]);
    hand.candidate_runs(0, "x");
    hand.foresees(0, &["one more"]);
    assert_eq!(launched(&hand), 0);
    hand.says(T, 0, "z");
    hand.candidate_runs(0, "z");
    assert_eq!(hand.planner.counters().matched, 1);
}

#[test]
fn what_is_foreseen_without_an_approximation_agent_is_executed_too() {
    let mut hand = wide(1);
    hand.input(Input::AgentLost { role: A });
    hand.foresees(0, &["x"]);
    hand.candidate_runs(0, "x");
    assert!(hand.asks(T, 1), "the path goes on below it");
    hand.says(T, 0, "x");
    assert_eq!(hand.planner.counters().matched, 1);
}

#[test]
fn what_comes_after_the_verdict_or_with_speculation_off_is_not_used() {
    let mut hand = wide(3);
    hand.says(T, 0, "x");
    hand.foresees(0, &["y"]);
    assert_eq!(launched(&hand), 0);
    let prefix = forerun_types::PrefixId(forerun_types::Digest::of("nowhere"));
    let candidates = vec![action("y")];
    hand.input(Input::Offered { prefix, candidates });
    assert_eq!(launched(&hand), 0);
    let mut off = Hand::with(Config {
        depth: 0,
        ..Config::default()
    });
    off.foresees(0, &["y"]);
    assert_eq!(launched(&off), 0);
}
