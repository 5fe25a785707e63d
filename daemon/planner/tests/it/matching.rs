//! Which candidates a verdict means: the matchers, one after another. `x~3` is another way of
//! saying `x`; with `~1` it does the same, with `~2` it changes something else, with `~3` it sees
//! something else.

use crate::hand::*;
use crate::sim::action;
use forerun_planner::{Config, Effect, Input, Interrupt, Outcome, Pair, Refusal, RetireResult};
use forerun_types::{AskEnd, CallId, ExecutionEnd, ExecutionId, Matcher, NodeId, StepIndex};
use std::time::Duration;

const FUZZY: Matcher = Matcher::Fuzzy { per_mille: 300 };
const JUDGE: Matcher = Matcher::Judge { steps: 1 };

fn matched_by(matcher: Matcher) -> Hand {
    Hand::with(Config {
        matcher,
        ..Config::default()
    })
}

/// Two steps ahead; t_0 is awaited.
fn ahead(matcher: Matcher) -> Hand {
    let mut hand = matched_by(matcher);
    hand.speculates(0, "x");
    hand.speculates(1, "y");
    assert!(hand.asks(T, 2));
    hand
}

fn near(step: u32, text: &str, near: &[&str]) -> Interrupt {
    match replace(step, text) {
        Interrupt::Replace {
            step,
            seen,
            candidate,
            ..
        } => Interrupt::Replace {
            step,
            seen,
            candidate,
            near: near.iter().map(|text| action(text).action).collect(),
        },
        other => other,
    }
}

/// What decides a step: the text of the action, of these.
fn decided(hand: &Hand, at: u32, texts: &[&'static str]) -> Option<&'static str> {
    let decide = hand.last.iter().find_map(|effect| match effect {
        Effect::Decide { step, action, .. } if step.0 == at => Some(*action),
        _ => None,
    })?;
    let found = texts.iter().find(|text| action(text).action == decide);
    Some(found.expect("one of these"))
}

/// The running execution of an action.
fn execution(hand: &Hand, text: &str) -> Option<ExecutionId> {
    hand.last.iter().find_map(|effect| match effect {
        Effect::Execute {
            execution,
            action: of,
            ..
        } if *of == action(text).action => Some(*execution),
        _ => None,
    })
}

fn completed(hand: &Hand, at: u32, text: &str) -> Outcome {
    let prefix = hand.step(at).expect("it is there").prefix;
    crate::sim::outcome(&prefix, &action(text).action)
}

fn parked() -> Outcome {
    Outcome::NotExecuted {
        reason: "policy holds it".to_owned(),
    }
}

fn executes(hand: &mut Hand, execution: ExecutionId, outcome: Outcome) {
    hand.input(Input::Executed { execution, outcome });
}

fn asked(hand: &Hand) -> Option<(CallId, Vec<Pair>)> {
    hand.last.iter().find_map(|effect| match effect {
        Effect::Judge { call, pairs } => Some((*call, pairs.clone())),
        _ => None,
    })
}

fn judge_ended(hand: &Hand, how: AskEnd) -> bool {
    hand.has(|effect| matches!(effect, Effect::JudgeEnded { end, .. } if *end == how))
}

#[test]
fn exact_takes_nothing_else_for_the_verdict() {
    let mut hand = ahead(Matcher::Exact);
    hand.says_near(T, 0, "x~1", &["x"]);
    assert_eq!(hand.squashed(), [1, 0]);
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x~1"));
}

#[test]
fn fuzzy_keeps_what_is_near_with_all_below_and_writes_down_what_was_executed() {
    let mut hand = ahead(FUZZY);
    hand.says_near(T, 0, "x~1", &["x"]);
    assert!(hand.squashed().is_empty());
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x"));
    assert_eq!(hand.lines(), ["t0 matches", "a1", "o1", "waiting 1"]);
    assert_eq!(hand.planner.verified(), 1);
    let counters = hand.planner.counters();
    assert_eq!((counters.matched, counters.matched_loosely), (1, 1));
    hand.says_near(T, 1, "y~1", &[]);
    assert_eq!(hand.squashed(), [1]);
    assert_eq!(decided(&hand, 1, &["y", "y~1"]), Some("y~1"));
}

#[test]
fn an_equal_candidate_comes_before_one_that_is_near() {
    for matcher in [FUZZY, Matcher::Effect, JUDGE] {
        let mut hand = Hand::with(Config {
            width: 3,
            matcher,
            ..Config::default()
        });
        hand.input(Input::JudgeAttached { capacity: 1 });
        hand.offers(0, &["x", "x~2", "x~1"]);
        for text in ["x", "x~2", "x~1"] {
            hand.candidate_runs(0, text);
        }
        let equal = hand.candidate(0, "x~1");
        hand.says_near(T, 0, "x~1", &["x", "x~2"]);
        assert_eq!(hand.planner.head(), equal);
        assert!(asked(&hand).is_none() && hand.monitor.executions.is_empty());
        assert_eq!(hand.planner.counters().matched_loosely, 0);
    }
}

#[test]
fn of_several_that_are_near_the_first_one_is_kept() {
    let mut hand = Hand::with(Config {
        width: 3,
        matcher: FUZZY,
        ..Config::default()
    });
    hand.offers(0, &["z", "x~2", "x~1"]);
    let first = hand.candidate(0, "x~2");
    hand.says_near(T, 0, "x", &["x~1", "x~2"]);
    hand.candidate_runs(0, "x~2");
    assert_eq!(hand.planner.head(), first);
}

#[test]
fn the_user_s_word_goes_through_the_same_matcher_and_an_acceptance_does_not() {
    let mut hand = ahead(FUZZY);
    hand.user(near(0, "x~1", &["x"]));
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x"));
    assert_eq!(hand.lines()[0], "u0 matches");

    let mut hand = Hand::with(Config {
        width: 2,
        matcher: FUZZY,
        ..Config::default()
    });
    hand.offers(0, &["x", "x~1"]);
    let second = hand.candidate(0, "x~1");
    hand.user(claim(0, 60));
    hand.says_near(T, 0, "x~2", &["x", "x~1"]);
    assert_eq!(hand.lines(), ["t0 matches"], "the first one is meant");
    hand.user(accept(0, second));
    hand.candidate_runs(0, "x~1");
    assert_eq!(hand.planner.head(), second);
}

#[test]
fn fuzzy_counts_in_a_review_too() {
    let mut hand = Hand::with(Config {
        matcher: FUZZY,
        review: Duration::from_secs(10),
        ..Config::default()
    });
    hand.speculates(0, "x");
    hand.says(T, 0, "x");
    hand.user(near(0, "x~1", &["x"]));
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x"));
    assert_eq!(hand.planner.verified(), 1);
}

/// T said that step 0 is `text`; it is executed beside the candidate `x`.
fn beside(text: &str) -> (Hand, ExecutionId) {
    let mut hand = ahead(Matcher::Effect);
    hand.says(T, 0, text);
    assert!(hand.squashed().is_empty() && decided(&hand, 0, &[]).is_none());
    let execution = execution(&hand, text).expect("it is executed beside x");
    (hand, execution)
}

#[test]
fn what_does_the_same_is_the_same_step_and_keeps_all_below() {
    let (mut hand, own) = beside("x~1");
    assert!(hand.asks(T, 1) && hand.asks(T, 2) && hand.asks(A, 2));
    hand.says(T, 1, "y");
    assert!(decided(&hand, 1, &["y"]).is_none(), "held: step 0 is open");
    let outcome = completed(&hand, 0, "x~1");
    executes(&mut hand, own, outcome);
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x"));
    assert_eq!(decided(&hand, 1, &["y"]), Some("y"));
    assert_eq!(hand.squashed(), [0], "its own node");
    let dropped = |effect: &Effect| {
        matches!(effect, Effect::ExecutionEnded { execution, end: ExecutionEnd::Dropped, .. }
            if *execution == own)
    };
    assert!(hand.has(dropped));
    assert_eq!(hand.planner.verified(), 2);
    let counters = hand.planner.counters();
    assert_eq!((counters.matched, counters.matched_loosely), (2, 1));
    assert!(hand.asks(T, 2) && hand.asks(A, 2), "nothing below was lost");
}

#[test]
fn what_sees_or_changes_something_else_is_another_step() {
    for text in ["x~2", "x~3"] {
        let (mut hand, own) = beside(text);
        let outcome = completed(&hand, 0, text);
        executes(&mut hand, own, outcome);
        assert_eq!(decided(&hand, 0, &[text]), Some(text));
        assert_eq!(hand.squashed(), [1, 0]);
        assert_eq!(hand.planner.verified(), 1, "it was executed already");
        assert_eq!(hand.planner.counters().mismatched, 1);
    }
}

#[test]
fn another_tool_is_not_executed_beside_it() {
    let mut hand = ahead(Matcher::Effect);
    hand.says(T, 0, "z");
    assert_eq!(decided(&hand, 0, &["z"]), Some("z"));
    assert_eq!(hand.squashed(), [1, 0]);
}

#[test]
fn neither_an_end_nor_a_question_does_the_same_as_another() {
    for text in ["ask_user this~1", "ask_user that"] {
        let mut hand = matched_by(Matcher::Effect);
        hand.says(A, 0, "ask_user this");
        hand.says(T, 0, text);
        assert!(decided(&hand, 0, &[text]).is_some());
    }
}

#[test]
fn a_candidate_that_still_runs_is_awaited() {
    let mut hand = matched_by(Matcher::Effect);
    hand.says(A, 0, "x");
    let candidate = execution(&hand, "x").expect("it runs");
    hand.says(T, 0, "x~1");
    let own = execution(&hand, "x~1").expect("it runs beside it");
    let outcome = completed(&hand, 0, "x~1");
    executes(&mut hand, own, outcome);
    assert!(decided(&hand, 0, &[]).is_none());
    let outcome = completed(&hand, 0, "x");
    executes(&mut hand, candidate, outcome);
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x"));
}

#[test]
fn what_is_parked_or_was_not_executed_is_no_match_at_once() {
    // The candidate.
    let mut hand = matched_by(Matcher::Effect);
    hand.says(A, 0, "x");
    let candidate = execution(&hand, "x").expect("it runs");
    hand.says(T, 0, "x~1");
    hand.input(Input::Parked {
        execution: candidate,
    });
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x~1"));
    assert_eq!(hand.squashed(), [0]);

    let mut hand = matched_by(Matcher::Effect);
    hand.says(A, 0, "x");
    hand.ends(0, parked());
    hand.says(T, 0, "x~1");
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x~1"));
    assert!(!hand.has(|effect| matches!(
        effect,
        Effect::Execute {
            speculative: true,
            ..
        }
    )));

    // What T said: its execution goes on as the step's.
    let (mut hand, own) = beside("x~1");
    hand.input(Input::Parked { execution: own });
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x~1"));
    let release =
        |effect: &Effect| matches!(effect, Effect::Release { execution } if *execution == own);
    assert!(hand.has(release) && hand.squashed() == [1, 0]);

    for outcome in [
        parked(),
        Outcome::Failed {
            reason: "no memory".to_owned(),
        },
    ] {
        let (mut hand, own) = beside("x~1");
        executes(&mut hand, own, outcome);
        assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x~1"));
        assert_eq!(hand.squashed(), [1, 0]);
        hand.runs(0);
        assert_eq!(hand.planner.verified(), 1);
    }
}

#[test]
fn of_two_that_wait_to_reach_out_one_is_released() {
    let mut hand = matched_by(Matcher::Effect);
    hand.says(A, 0, "x");
    let candidate = execution(&hand, "x").expect("it runs");
    hand.says(T, 0, "x~1");
    let own = execution(&hand, "x~1").expect("it runs beside it");
    hand.input(Input::Parked { execution: own });
    assert!(
        hand.has(|effect| matches!(effect, Effect::Release { execution } if *execution == own))
    );
    hand.input(Input::Parked {
        execution: candidate,
    });
    assert!(!hand.has(|effect| matches!(effect, Effect::Release { .. })));
    let outcome = completed(&hand, 0, "x~1");
    executes(&mut hand, own, outcome);
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn an_open_step_that_is_stopped_dropped_or_gone_back_to_leaves_nothing() {
    let (mut hand, _) = beside("x~1");
    hand.user(Interrupt::Stop);
    assert_eq!(hand.lines(), ["stopped after 0"]);

    let (mut hand, _) = beside("x~1");
    hand.user(backtrack(&hand, 0, None));
    assert!(hand.asks(T, 0) && hand.monitor.executions.is_empty());

    let (mut hand, _) = beside("x~1");
    hand.user(suggest(&hand, "use tabs"));
    assert_eq!(hand.squashed(), [0], "what T said on the prefix before");
    assert!(hand.asks(T, 0));
    hand.says(T, 0, "x");
    assert_eq!(decided(&hand, 0, &["x"]), Some("x"));
}

#[test]
fn while_paused_what_did_the_same_waits() {
    let (mut hand, own) = beside("x~1");
    hand.user(Interrupt::Pause);
    let outcome = completed(&hand, 0, "x~1");
    executes(&mut hand, own, outcome);
    assert!(hand.last.is_empty());
    hand.user(Interrupt::Resume);
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x"));
}

#[test]
fn the_user_may_decide_while_it_is_open() {
    let (mut hand, _) = beside("x~1");
    hand.user(accept(0, Some(hand.node(0))));
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x"));
    assert_eq!(hand.squashed(), [0]);

    let (mut hand, own) = beside("x~1");
    let open = hand.planner.admission().steps[0].rival.expect("t_0");
    assert_eq!(
        hand.try_user(accept(0, None)),
        Err(Refusal::Ambiguous { step: StepIndex(0) })
    );
    hand.user(accept(0, Some(open)));
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x~1"));
    let outcome = completed(&hand, 0, "x~1");
    executes(&mut hand, own, outcome);
    assert_eq!(hand.planner.head(), Some(open));

    // Another word is compared anew.
    let (mut hand, own) = beside("x~1");
    let outcome = completed(&hand, 0, "x~1");
    hand.user(replace(0, "x~2"));
    assert_eq!(hand.squashed(), [0], "what T said");
    let users = execution(&hand, "x~2").expect("it runs beside x");
    executes(&mut hand, own, outcome);
    assert!(hand.last.is_empty(), "it was stopped");
    let outcome = completed(&hand, 0, "x~2");
    executes(&mut hand, users, outcome);
    assert_eq!(decided(&hand, 0, &["x", "x~1", "x~2"]), Some("x~2"));
}

#[test]
fn a_replacement_in_review_keeps_the_window_open_until_it_is_compared() {
    for (text, kept) in [("x~1", "x"), ("x~2", "x~2")] {
        let mut hand = Hand::with(Config {
            matcher: Matcher::Effect,
            review: Duration::from_secs(10),
            ..Config::default()
        });
        hand.speculates(0, "x");
        hand.speculates(1, "y");
        hand.says(T, 0, "x");
        hand.user(replace(0, text));
        let users = execution(&hand, text).expect("it runs beside x");
        assert!(decided(&hand, 0, &[]).is_none());
        hand.wait(60);
        assert_eq!(hand.planner.verified(), 0, "it would be too late");
        assert_eq!(hand.planner.next_timeout(), None);
        let outcome = completed(&hand, 0, text);
        executes(&mut hand, users, outcome);
        assert_eq!(decided(&hand, 0, &["x", "x~2"]), Some(kept));
        assert_eq!(hand.planner.verified(), 1);
        assert_eq!(
            hand.step(1).is_some_and(|step| step.node.is_some()),
            kept == "x"
        );
    }
}

#[test]
fn a_replacement_of_a_step_that_can_not_be_executed_ends_its_stall() {
    let mut hand = Hand::with(Config {
        matcher: Matcher::Effect,
        review: Duration::from_secs(10),
        ..Config::default()
    });
    hand.says(T, 0, "x");
    hand.ends(
        0,
        Outcome::Failed {
            reason: "no memory".to_owned(),
        },
    );
    hand.user(replace(0, "x~1"));
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x~1"));
    hand.runs(0);
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn during_a_claim_nothing_is_compared() {
    let mut hand = ahead(Matcher::Effect);
    hand.user(claim(0, 60));
    hand.says(T, 0, "x~1");
    assert_eq!(hand.lines(), ["t0 corrects"], "as far as is known");
    assert!(hand.monitor.executions.is_empty());
    let shown = hand.planner.admission().steps[0].rival;
    hand.user(unclaim(0));
    let own = execution(&hand, "x~1").expect("it runs beside x");
    assert_eq!(hand.running(0).map(|(_, node)| node), shown);
    let outcome = completed(&hand, 0, "x~1");
    executes(&mut hand, own, outcome);
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x"));
    assert_eq!(hand.lines()[0], "t0 goes back");
}

#[test]
fn what_was_the_same_is_compared_again_on_another_snapshot() {
    let mut hand = matched_by(Matcher::Effect);
    hand.hold_commits = true;
    hand.says(A, 0, "x");
    hand.runs_with(0, "seen", "changes");
    hand.speculates(1, "y");
    hand.speculates(2, "z");
    hand.says(T, 0, "x");
    hand.says(T, 2, "z~1");
    let own = execution(&hand, "z~1").expect("it runs beside z");
    let outcome = completed(&hand, 2, "z~1");
    executes(&mut hand, own, outcome);
    assert_eq!(hand.squashed(), [2], "it is the same");
    hand.committed(RetireResult::Stale {
        reason: "src/lib.rs was changed by somebody".to_owned(),
    });
    hand.runs_with(0, "seen", "other changes");
    assert!(execution(&hand, "z~1").is_none(), "step 1 runs first");
    hand.says(T, 1, "y");
    hand.runs(1);
    let (own, candidate) = (execution(&hand, "z~1"), execution(&hand, "z"));
    let (own, candidate) = own.zip(candidate).expect("both run on the new snapshot");
    let outcome = completed(&hand, 2, "z");
    executes(&mut hand, candidate, outcome);
    assert!(decided(&hand, 2, &[]).is_none());
    let outcome = completed(&hand, 2, "z~2");
    executes(&mut hand, own, outcome);
    assert_eq!(decided(&hand, 2, &["z", "z~1"]), Some("z~1"));
}

/// As [`ahead`], with a judge.
fn judged(steps: u32, capacity: u32) -> Hand {
    let mut hand = ahead(Matcher::Judge { steps });
    hand.input(Input::JudgeAttached { capacity });
    hand
}

fn says(hand: &mut Hand, call: CallId, same: &[NodeId]) {
    let same = same.to_vec();
    hand.input(Input::Judged { call, same });
}

#[test]
fn a_judge_decides_whether_it_is_the_same() {
    for same in [true, false] {
        let mut hand = judged(1, 1);
        hand.says(T, 0, "z");
        let (call, pairs) = asked(&hand).expect("the judge is asked");
        assert_eq!(pairs.len(), 1);
        assert_eq!(pairs[0].verdict, action("z").action);
        assert_eq!(
            (pairs[0].node, pairs[0].action),
            (hand.node(0), action("x").action)
        );
        assert!(decided(&hand, 0, &[]).is_none() && hand.squashed().is_empty());
        hand.says(T, 1, "y");
        assert!(decided(&hand, 1, &["y"]).is_none(), "held: step 0 is open");
        let nodes = if same {
            vec![pairs[0].node]
        } else {
            Vec::new()
        };
        says(&mut hand, call, &nodes);
        assert!(judge_ended(&hand, AskEnd::Used));
        let kept = if same { "x" } else { "z" };
        assert_eq!(decided(&hand, 0, &["x", "z"]), Some(kept));
        assert_eq!(decided(&hand, 1, &["y"]).is_some(), same);
        assert_eq!(hand.squashed().is_empty(), same);
    }
}

#[test]
fn without_a_judge_nothing_else_is_the_same() {
    let mut hand = ahead(JUDGE);
    hand.says(T, 0, "x~1");
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x~1"));
    // One that comes later judges what comes later.
    hand.input(Input::JudgeAttached { capacity: 1 });
    hand.runs(0);
    hand.speculates(1, "y");
    hand.says(T, 1, "y~1");
    assert!(asked(&hand).is_some());
}

#[test]
fn a_judge_that_fails_or_is_lost_says_no() {
    for how in 0..4 {
        let mut hand = judged(1, 1);
        hand.says(T, 0, "x~1");
        let (call, pairs) = asked(&hand).expect("the judge is asked");
        match how {
            0 => hand.input(Input::JudgeLost),
            1 => hand.input(Input::Failed {
                call,
                failure: transient(),
            }),
            2 => hand.input(Input::Failed {
                call,
                failure: permanent(),
            }),
            _ => hand.input(Input::Failed {
                call,
                failure: rate_limited(60),
            }),
        }
        assert!(judge_ended(&hand, AskEnd::Failed));
        assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x~1"));
        says(&mut hand, call, &[pairs[0].node]);
        assert_eq!(hand.planner.counters().late_answers, 1);
    }
}

#[test]
fn nobody_waits_for_a_judge_that_is_rate_limited() {
    let mut hand = judged(1, 1);
    hand.says(T, 0, "x~1");
    let (call, _) = asked(&hand).expect("the judge is asked");
    hand.input(Input::Failed {
        call,
        failure: rate_limited(60),
    });
    hand.runs(0);
    hand.speculates(1, "y");
    hand.says(T, 1, "y~1");
    assert_eq!(decided(&hand, 1, &["y", "y~1"]), Some("y~1"));
    hand.runs(1);
    hand.wait(60);
    hand.speculates(2, "z");
    hand.says(T, 2, "z~1");
    assert!(asked(&hand).is_some());
}

#[test]
fn a_judge_takes_as_many_calls_as_it_says() {
    let mut hand = judged(1, 1);
    hand.says(T, 1, "y~1");
    let (first, pairs) = asked(&hand).expect("about step 1");
    hand.says(T, 0, "x~1");
    assert!(asked(&hand).is_none());
    says(&mut hand, first, &[pairs[0].node]);
    let (second, pairs) = asked(&hand).expect("about step 0");
    says(&mut hand, second, &[pairs[0].node]);
    assert_eq!(decided(&hand, 0, &["x"]), Some("x"));
    assert_eq!(decided(&hand, 1, &["y"]), Some("y"));
}

#[test]
fn a_call_of_the_judge_that_nobody_waits_for_is_cancelled() {
    let cancelled = |hand: &Hand| {
        hand.has(|effect| matches!(effect, Effect::CancelCall { .. }))
            && judge_ended(hand, AskEnd::Dropped)
    };
    let open = || {
        let mut hand = judged(1, 1);
        hand.says(T, 0, "x~1");
        assert!(asked(&hand).is_some());
        hand
    };
    let mut hand = open();
    hand.user(accept(0, None));
    assert!(cancelled(&hand));
    assert_eq!(decided(&hand, 0, &["x", "x~1"]), Some("x"));

    let mut hand = open();
    hand.user(suggest(&hand, "use tabs"));
    assert!(cancelled(&hand) && hand.squashed().is_empty());

    let mut hand = open();
    hand.user(Interrupt::Stop);
    assert!(cancelled(&hand));

    let mut hand = open();
    hand.user(backtrack(&hand, 0, Some("mine")));
    assert!(cancelled(&hand));

    let mut hand = open();
    hand.user(replace(0, "x~2"));
    assert!(
        cancelled(&hand) && asked(&hand).is_some(),
        "about the user's"
    );

    let mut hand = open();
    hand.user(replace(0, "x~1"));
    assert!(
        !cancelled(&hand) && asked(&hand).is_none(),
        "it is the same"
    );
    assert!(decided(&hand, 0, &[]).is_none());
}

#[test]
fn a_postponed_judgement_is_about_several_steps() {
    let mut hand = judged(2, 1);
    hand.says(T, 0, "x~1");
    assert!(asked(&hand).is_none(), "T(1) may add one");
    hand.says(T, 1, "y~1");
    let (call, pairs) = asked(&hand).expect("about both");
    let steps: Vec<u32> = pairs.iter().map(|pair| pair.step.0).collect();
    assert_eq!(steps, [0, 1]);
    hand.speculates(2, "z");
    hand.says(T, 2, "z~1");
    says(&mut hand, call, &[pairs[0].node]);
    assert_eq!(decided(&hand, 0, &["x"]), Some("x"));
    assert_eq!(
        decided(&hand, 1, &["y", "y~1"]),
        Some("y~1"),
        "squashed from there"
    );
    assert!(hand.squashed().contains(&2) && !hand.squashed().contains(&0));
}

#[test]
fn a_postponed_judgement_does_not_wait_for_what_can_not_come() {
    let mut hand = judged(4, 1);
    hand.says(T, 0, "x~1");
    hand.says(T, 1, "y");
    assert!(asked(&hand).is_none(), "T(2) may add one");
    hand.fails(T, 2, permanent());
    let (call, pairs) = asked(&hand).expect("T(2) does not");
    assert_eq!(pairs.len(), 1);
    says(&mut hand, call, &[pairs[0].node]);
    assert_eq!(hand.planner.verified(), 2);

    let mut hand = judged(4, 1);
    hand.user(replace(0, "x~1"));
    assert!(asked(&hand).is_some(), "the user does not wait for others");
}
