//! Every interrupt, in both scenarios: while t_i is awaited, and in its review.

use crate::hand::*;
use forerun_planner::{Effect, Input, Interrupt, Refusal, RetireResult, Seen, State, StepPhase};
use forerun_types::{AskEnd, NodeId, Source, StepIndex};

fn ended(hand: &Hand, of: forerun_types::Role, at: u32, how: AskEnd) -> bool {
    hand.has(|effect| {
        matches!(effect, Effect::CallEnded { role, step, end, .. }
            if (*role, step.0, *end) == (of, at, how))
    })
}

fn decided_by(hand: &Hand, at: u32, by: Source) -> bool {
    hand.has(|effect| {
        matches!(effect, Effect::Decide { step, source, .. }
            if (step.0, *source) == (at, by))
    })
}

/// Two steps ahead; t_0 is awaited.
fn ahead() -> Hand {
    let mut hand = Hand::new(4);
    hand.speculates(0, "x");
    hand.speculates(1, "y");
    hand
}

#[test]
fn scenario_1_a_matching_replacement_keeps_everything_below() {
    let mut hand = ahead();
    hand.user(replace(0, "x"));
    assert_eq!(hand.lines(), ["u0 matches", "a1", "o1", "waiting 1"]);
    assert!(decided_by(&hand, 0, Source::User));
    assert!(ended(&hand, T, 0, AskEnd::Dropped) && ended(&hand, A, 0, AskEnd::Used));
    assert!(hand.squashed().is_empty());
    assert!(hand.asks(T, 1) && hand.asks(T, 2), "only T(0) is cancelled");
    assert_eq!(hand.planner.verified(), 1);
    assert_eq!(hand.planner.counters().by_user, 1);
}

#[test]
fn scenario_1_another_replacement_squashes_what_is_below() {
    let mut hand = ahead();
    hand.user(replace(0, "mine"));
    assert_eq!(hand.lines(), ["u0 corrects"]);
    assert_eq!(hand.squashed(), [1, 0]);
    assert!(hand.monitor.calls.is_empty());
    hand.runs(0);
    assert!(hand.asks(T, 1) && hand.asks(A, 1));
    assert_eq!(hand.monitor.verified[0].source, Source::User);
}

#[test]
fn scenario_1_without_a_proposal() {
    let mut hand = Hand::new(4);
    hand.user(replace(0, "mine"));
    assert_eq!(hand.lines(), ["u0"]);
    assert!(ended(&hand, A, 0, AskEnd::Dropped) && ended(&hand, T, 0, AskEnd::Dropped));
}

#[test]
fn scenario_1_accepting_the_candidate_decides_it() {
    let mut hand = ahead();
    hand.user(accept(0, Some(hand.node(0))));
    assert_eq!(hand.lines()[0], "u0 matches");
    assert!(decided_by(&hand, 0, Source::User));
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn during_a_claim_a_matching_answer_is_shown_and_decides_only_when_it_is_given_back() {
    let mut hand = ahead();
    hand.user(claim(0, 60));
    assert_eq!(hand.lines(), ["claimed 0 until 60"]);
    assert!(hand.asks(T, 0), "T goes on");
    hand.says(T, 0, "x");
    assert_eq!(hand.lines(), ["t0 matches"]);
    assert!(!decided_by(&hand, 0, Source::Target));
    hand.user(unclaim(0));
    assert!(decided_by(&hand, 0, Source::Target));
    assert_eq!(
        hand.lines(),
        ["unclaimed 0: it was given back", "a1", "o1", "waiting 1"]
    );
}

#[test]
fn during_a_claim_another_answer_is_shown_and_leaves_the_path_alone() {
    let mut hand = ahead();
    hand.user(claim(0, 60));
    hand.says(T, 0, "z");
    assert_eq!(hand.lines(), ["t0 corrects"]);
    assert!(hand.squashed().is_empty());
    assert_eq!(
        hand.try_user(accept(0, None)),
        Err(Refusal::Ambiguous { step: StepIndex(0) })
    );
    // Back to a_0, which T does not want.
    let proposal = hand.node(0);
    hand.user(accept(0, Some(proposal)));
    assert_eq!(
        hand.lines(),
        [
            "unclaimed 0: the user decided",
            "u0 goes back",
            "a1",
            "o1",
            "waiting 1"
        ]
    );
    assert_eq!(hand.planner.head(), Some(proposal));
}

#[test]
fn during_a_claim_the_answer_of_the_target_can_be_accepted() {
    let mut hand = ahead();
    hand.user(claim(0, 60));
    hand.says(T, 0, "z");
    let rival = hand.planner.admission().steps[0].rival.expect("t_0");
    hand.user(accept(0, Some(rival)));
    assert!(hand.lines().contains(&"u0 matches".to_owned()));
    assert_eq!(hand.squashed(), [1, 0]);
    assert_eq!(hand.running(0).map(|(_, node)| node), Some(rival));
}

#[test]
fn when_a_claim_is_over_the_answer_of_the_target_decides() {
    let mut hand = ahead();
    hand.user(claim(0, 60));
    hand.says(T, 0, "z");
    let rival = hand.planner.admission().steps[0].rival;
    hand.wait(59);
    assert!(hand.last.is_empty());
    hand.wait(1);
    assert_eq!(hand.lines(), ["unclaimed 0: its time is over"]);
    assert!(decided_by(&hand, 0, Source::Target));
    assert_eq!(hand.squashed(), [1, 0]);
    assert_eq!(Some(hand.node(0)), rival, "it is the node that was shown");
}

#[test]
fn a_replacement_during_a_claim_outranks_the_answer() {
    let mut hand = ahead();
    hand.user(claim(0, 60));
    hand.says(T, 0, "x");
    hand.user(replace(0, "mine"));
    assert_eq!(
        hand.lines(),
        ["unclaimed 0: the user decided", "u0 corrects"]
    );
    assert!(ended(&hand, T, 0, AskEnd::Dropped));
}

#[test]
fn during_a_claim_an_uncontested_answer_runs_speculatively() {
    let mut hand = Hand::new(4);
    hand.user(claim(0, 60));
    hand.says(T, 0, "x");
    assert_eq!(hand.lines(), ["t0"]);
    assert!(hand.has(|effect| matches!(
        effect,
        Effect::Execute {
            speculative: true,
            ..
        }
    )));
    hand.runs(0);
    hand.user(accept(0, None));
    assert_eq!(hand.planner.verified(), 1);
    assert_eq!(hand.monitor.verified[0].source, Source::User);
}

#[test]
fn claiming_again_renews_a_claim_and_no_claim_lasts_for_ever() {
    let mut hand = ahead();
    hand.user(claim(0, 60));
    hand.wait(50);
    hand.user(claim(0, 60));
    assert_eq!(hand.lines(), ["claimed 0 until 110"]);
    hand.user(claim(0, 1_000_000));
    let limit = 50 + Interrupt::CLAIM_TTL_MAX.as_secs();
    assert_eq!(hand.lines(), [format!("claimed 0 until {limit}")]);
}

/// Steps 0 and 1 are decided, and step 0 is in review for ten seconds.
fn in_review() -> Hand {
    let mut hand = Hand::reviewed(4, 10);
    hand.speculates(0, "x");
    hand.speculates(1, "y");
    hand.says(T, 0, "x");
    let lines = ["t0 matches", "a1", "o1", "review 0 until 10", "waiting 1"];
    assert_eq!(hand.lines(), lines);
    hand.says(T, 1, "y");
    hand
}

#[test]
fn review_windows_open_one_after_another_and_computation_goes_on() {
    let mut hand = in_review();
    assert_eq!(hand.lines(), ["t1 matches"]);
    assert!(hand.asks(T, 2), "nobody waits for a review");
    assert_eq!(hand.planner.verified(), 0);
    hand.wait(10);
    assert_eq!(hand.lines(), ["review 1 until 20"]);
    assert_eq!(hand.planner.verified(), 1);
    hand.wait(10);
    assert_eq!(hand.planner.verified(), 2);
}

#[test]
fn scenario_2_a_matching_replacement_ends_the_review_and_keeps_all() {
    let mut hand = in_review();
    hand.user(replace(0, "x"));
    assert!(decided_by(&hand, 0, Source::User));
    assert_eq!(hand.lines(), ["u0 matches", "review 1 until 10"]);
    assert!(hand.squashed().is_empty());
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn scenario_2_another_replacement_undecides_what_is_below() {
    let mut hand = in_review();
    hand.user(replace(0, "mine"));
    assert_eq!(hand.lines(), ["u0 corrects"]);
    assert_eq!(hand.squashed(), [1, 0]);
    hand.runs(0);
    assert_eq!(hand.planner.verified(), 1);
    hand.speculates(1, "w");
    hand.says(T, 1, "w");
    assert!(decided_by(&hand, 1, Source::Target));
}

#[test]
fn scenario_2_a_step_whose_window_is_yet_to_open_can_be_replaced() {
    let mut hand = in_review();
    hand.user(replace(1, "mine"));
    assert_eq!(hand.lines(), ["u1 corrects"]);
    assert_eq!(hand.squashed(), [1]);
    assert_eq!(hand.planner.steps().len(), 2);
}

#[test]
fn a_claim_keeps_a_review_open_until_it_is_given_back() {
    let mut hand = in_review();
    hand.user(claim(0, 60));
    hand.wait(30);
    hand.input(Input::Tick);
    assert!(hand.last.is_empty());
    assert_eq!(hand.planner.admission().steps[0].phase, StepPhase::InReview);
    hand.user(unclaim(0));
    assert_eq!(
        hand.lines(),
        ["unclaimed 0: it was given back", "review 1 until 40"]
    );
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn a_claim_on_a_step_that_is_dropped_ends() {
    let mut hand = in_review();
    hand.user(claim(1, 60));
    hand.user(replace(0, "mine"));
    assert!(
        hand.lines()
            .contains(&"unclaimed 1: another answer is the verdict".to_owned())
    );
}

#[test]
fn while_paused_answers_are_recorded_and_nothing_goes_on() {
    let mut hand = ahead();
    hand.user(Interrupt::Pause);
    hand.says(T, 0, "x");
    assert!(hand.last.is_empty());
    hand.says(A, 2, "z");
    assert!(hand.last.is_empty());
    assert_eq!(hand.planner.state(), State::Paused);
    assert_eq!(hand.planner.next_timeout(), None);
    hand.user(Interrupt::Resume);
    assert_eq!(
        hand.lines(),
        ["resumed", "t0 matches", "a1", "o1", "waiting 1"]
    );
    assert!(hand.running(2).is_some());
}

#[test]
fn a_replacement_during_a_pause_takes_effect_at_its_end() {
    let mut hand = ahead();
    hand.user(Interrupt::Pause);
    hand.says(T, 0, "x");
    hand.user(replace(0, "mine"));
    assert!(hand.last.is_empty());
    hand.user(replace(0, "better"));
    hand.user(Interrupt::Resume);
    assert_eq!(hand.lines(), ["resumed", "u0 corrects"]);
    let better = crate::sim::action("better").action;
    assert_eq!(hand.step(0).and_then(|view| view.action), Some(better));
}

#[test]
fn a_recorded_replacement_of_a_step_that_is_dropped_is_refused_aloud() {
    let mut hand = in_review();
    hand.user(Interrupt::Pause);
    hand.user(replace(1, "second"));
    hand.user(replace(0, "first"));
    hand.user(Interrupt::Resume);
    assert!(
        hand.lines()
            .contains(&"refused 1: another answer is the verdict".to_owned())
    );
}

#[test]
fn a_pause_takes_nothing_of_a_claim_or_a_review() {
    let mut hand = in_review();
    hand.wait(4);
    hand.user(claim(1, 10));
    hand.user(Interrupt::Pause);
    hand.wait(100);
    assert!(hand.last.is_empty());
    hand.user(Interrupt::Resume);
    assert_eq!(
        hand.lines(),
        ["resumed", "review 0 until 110", "claimed 1 until 114"]
    );
    hand.wait(6);
    assert_eq!(hand.planner.verified(), 1);
}

#[test]
fn a_claim_made_during_a_pause_begins_at_its_end() {
    let mut hand = ahead();
    hand.user(Interrupt::Pause);
    hand.wait(50);
    hand.user(claim(0, 10));
    hand.wait(50);
    hand.user(Interrupt::Resume);
    assert_eq!(hand.lines(), ["resumed", "claimed 0 until 110"]);
}

#[test]
fn stop_drops_what_is_not_verified_at_once_even_while_paused() {
    let mut hand = ahead();
    hand.says(T, 0, "x");
    hand.user(Interrupt::Pause);
    hand.user(Interrupt::Stop);
    assert_eq!(hand.lines(), ["stopped after 1"]);
    assert_eq!(hand.squashed(), [1]);
    assert_eq!(hand.planner.state(), State::Ended);
    assert_eq!(hand.try_user(Interrupt::Stop), Err(Refusal::Ended));
}

#[test]
fn stop_waits_for_a_commit_that_has_begun() {
    for (result, steps) in [
        (RetireResult::Done, 1),
        (
            RetireResult::Conflict {
                reason: "a path".to_owned(),
                hint: String::new(),
            },
            0,
        ),
    ] {
        let mut hand = ahead();
        hand.hold_commits = true;
        hand.says(T, 0, "x");
        hand.user(Interrupt::Stop);
        assert_eq!(hand.planner.state(), State::Stopping);
        assert_eq!(hand.try_user(Interrupt::Pause), Err(Refusal::Stopping));
        hand.committed(result);
        assert_eq!(hand.lines(), [format!("stopped after {steps}")]);
    }
}

#[test]
fn an_interrupt_meant_for_something_else_is_refused() {
    let mut hand = ahead();
    let step = StepIndex(0);
    let proposal = hand.node(0);
    let prefix = hand.step(0).expect("it is there").prefix;
    let elsewhere = Seen::Prefix(hand.step(1).expect("it is there").prefix);
    assert_eq!(
        hand.try_user(replace_seen(0, elsewhere, "mine")),
        Err(Refusal::Changed { step })
    );
    hand.user(Interrupt::Claim {
        step,
        seen: Seen::Prefix(prefix),
        ttl: std::time::Duration::from_secs(5),
    });
    hand.user(unclaim(0));
    hand.user(replace_seen(0, Seen::Node(proposal), "mine"));
}

#[test]
fn what_the_user_saw_may_have_been_corrected_meanwhile() {
    let mut hand = Hand::reviewed(4, 10);
    hand.speculates(0, "x");
    let proposal = Seen::Node(hand.node(0));
    hand.says(T, 0, "z");
    assert_eq!(
        hand.try_user(replace_seen(0, proposal, "mine")),
        Err(Refusal::Changed { step: StepIndex(0) })
    );
}

#[test]
fn each_refusal_names_the_state_that_it_would_have_needed() {
    let step = StepIndex;
    let mut hand = ahead();
    let refused = |hand: &mut Hand, interrupt, refusal: Refusal, needed: &str| {
        assert_eq!(hand.try_user(interrupt), Err(refusal));
        assert_eq!(refusal.needed(), needed);
        assert!(refusal.to_string().contains("this needs"), "{refusal}");
        assert!(hand.last.is_empty());
    };
    refused(
        &mut hand,
        replace(1, "mine"),
        Refusal::NotAwaited { step: step(1) },
        "every earlier step decided and executed",
    );
    refused(
        &mut hand,
        claim(9, 1),
        Refusal::NotAwaited { step: step(9) },
        "every earlier step decided and executed",
    );
    refused(
        &mut hand,
        accept(0, Some(NodeId(999))),
        Refusal::Changed { step: step(0) },
        "the step as it was seen",
    );
    refused(
        &mut hand,
        unclaim(0),
        Refusal::NotClaimed { step: step(0) },
        "a claimed step",
    );
    refused(
        &mut hand,
        Interrupt::Retry,
        Refusal::NotStalled,
        "a stalled session",
    );
    refused(
        &mut hand,
        Interrupt::Resume,
        Refusal::NotPaused,
        "a paused session",
    );
    hand.says(T, 0, "x");
    refused(
        &mut hand,
        replace(0, "mine"),
        Refusal::Verified { step: step(0) },
        "a step that is awaited or in review",
    );
    hand.says(A, 2, "z");
    hand.says(T, 1, "other");
    refused(
        &mut hand,
        accept(1, None),
        Refusal::Decided { step: step(1) },
        "a step that is awaited or in review",
    );
    hand.runs(1);
    refused(
        &mut hand,
        accept(2, None),
        Refusal::NoCandidate { step: step(2) },
        "a candidate",
    );
    hand.user(Interrupt::Pause);
    refused(
        &mut hand,
        Interrupt::Pause,
        Refusal::Paused,
        "a session that is not paused",
    );
}
