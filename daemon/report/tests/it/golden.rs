//! What is in the picture of runs that are known.

use crate::log::{Log, action, draw, plan};
use crate::page::{about, groups, lane, parse, place, rows, texts};
use forerun_types::{
    ApprovalEnd, ApprovalId, AskEnd, CommitId, EffectEnd, Event, EventKind, NodeId, Role, Source,
    StepIndex, Time, Undone,
};

#[test]
fn a_run_has_a_lane_for_each_agent_for_executions_and_for_the_steps() {
    let log = plan(3);
    let svg = draw(&log.events);
    let page = parse(&svg);
    let lanes: Vec<_> = groups(page.root_element(), "lane")
        .into_iter()
        .map(|lane| lane.attribute("class").unwrap())
        .collect();
    assert_eq!(
        lanes,
        [
            "lane approximation",
            "lane target",
            "lane executions",
            "lane steps"
        ]
    );
    let ends = |name: &'static str| {
        let lane = lane(&page, name).expect("a lane");
        ["bar used", "bar dropped", "bar failed", "bar open"].map(|end| groups(lane, end).len())
    };
    // Step 1 was wrong; below it, both were asked in vain.
    assert_eq!(ends("lane approximation"), [2, 2, 0, 0]);
    assert_eq!(ends("lane target"), [3, 1, 0, 0]);
    assert_eq!(ends("lane executions"), [3, 1, 0, 0]);
    let target = lane(&page, "lane target").unwrap();
    assert_eq!(rows(target), 2, "as many as overlap");
    assert_eq!(rows(lane(&page, "lane approximation").unwrap()), 1);
}

#[test]
fn bars_stand_where_their_time_is_with_step_and_tool() {
    let svg = draw(&plan(3).events);
    let page = parse(&svg);
    let target = lane(&page, "lane target").unwrap();
    let bars = groups(target, "bar used");
    let places: Vec<_> = bars.iter().map(|bar| place(*bar)).collect();
    // From 100 to 900 ms, and from 920 ms on, of 2560.
    let second = (places[1][0] - places[0][0]) / 0.820;
    assert!((places[0][2] / second - 0.8).abs() < 0.002, "{places:?}");
    assert_eq!(texts(bars[0]), ["0 read_file"]);
    assert!(about(bars[0]).starts_with("T(0) used, 0.800 s from 0.10 s: read_file {"));
    let approximation = lane(&page, "lane approximation").unwrap();
    let cancelled = groups(lane(&page, "lane target").unwrap(), "bar dropped");
    assert!(
        about(cancelled[0]).starts_with("T(2) cancelled, "),
        "{}",
        about(cancelled[0])
    );
    let dropped = groups(approximation, "bar dropped");
    assert!(about(dropped[1]).contains("A(2) dropped, 0.200 s from 1.13 s: grep "));
}

#[test]
fn verdicts_commits_and_squashes_are_marked() {
    let svg = draw(&plan(3).events);
    let page = parse(&svg);
    let steps = lane(&page, "lane steps").unwrap();
    let marks: Vec<_> = groups(steps, "mark").into_iter().map(about).collect();
    let count = |what: &str| marks.iter().filter(|mark| mark.contains(what)).count();
    assert_eq!(count(" proposed, "), 3);
    assert_eq!(count(" matched, "), 2);
    assert_eq!(count(" corrected, "), 1);
    assert_eq!(count(" verified, "), 3);
    assert_eq!(count(" committed, "), 3);
    assert_eq!(
        count("1 node squashed from step 1 on, 1.72 s: corrected"),
        1
    );
    // The candidate that was corrected has a sign, and so has its execution.
    let approximation = lane(&page, "lane approximation").unwrap();
    let signs = |class| {
        let is_sign = move |node: &roxmltree::Node<'_, '_>| node.attribute("class") == Some(class);
        approximation.descendants().filter(is_sign).count()
    };
    assert_eq!((signs("lgood"), signs("lbad")), (2, 1));
}

#[test]
fn the_header_has_the_totals_and_the_legend_what_occurs() {
    let svg = draw(&plan(3).events);
    let page = parse(&svg);
    let all = texts(page.root_element());
    assert_eq!(all[0], "rename <it> & go");
    assert!(
        all[1].ends_with(", policy coding, depth 2; ended: terminated"),
        "{}",
        all[1]
    );
    assert_eq!(
        all[2],
        "3 steps verified, 3 commits in 2.56 s; 2 of 3 proposals matched, 1 corrected"
    );
    assert_eq!(
        all[3],
        "4 target calls, 4 approximation calls, 4 executions; 1 node squashed; 0 effects"
    );
    let legend = texts(lane(&page, "legend").unwrap());
    assert_eq!(
        legend,
        [
            "used",
            "cancelled or dropped",
            "proposed",
            "matched",
            "corrected",
            "squashed",
            "verified",
            "committed",
            "end"
        ]
    );
    let axis = texts(lane(&page, "axis").unwrap());
    assert_eq!(axis.first(), Some(&"0.0"));
    assert_eq!(axis.last(), Some(&"s"));
    assert!(axis.contains(&"2.5"));
}

#[test]
fn what_the_person_and_policy_do_has_a_lane() {
    let mut log = Log::default();
    let step = StepIndex(0);
    let node = NodeId(1);
    log.opened();
    log.at(
        100,
        EventKind::Claimed {
            step,
            until: Time(60_000_000),
        },
    );
    log.at(
        300,
        EventKind::Decided {
            step,
            node,
            source: Source::User,
            action: action("delete"),
        },
    );
    log.at(
        300,
        EventKind::Unclaimed {
            step,
            reason: "replaced".into(),
        },
    );
    log.at(
        400,
        EventKind::ReviewOpened {
            step,
            node,
            until: Time(700_000),
        },
    );
    log.at(
        500,
        EventKind::ApprovalRequested {
            step,
            node,
            approval: ApprovalId(1),
            what: "delete all".into(),
            policies: Vec::new(),
            always: None,
            reason: "it is much".into(),
        },
    );
    log.at(800, EventKind::Paused);
    log.at(900, EventKind::Resumed);
    log.at(
        950,
        EventKind::ApprovalEnded {
            step,
            approval: ApprovalId(1),
            end: ApprovalEnd::Allowed,
            reason: String::new(),
        },
    );
    log.at(
        960,
        EventKind::Suggested {
            step,
            text: "use tabs".into(),
        },
    );
    log.at(
        970,
        EventKind::Backtracked {
            step,
            generation: 1,
        },
    );
    log.at(
        980,
        EventKind::Stalled {
            step,
            reason: "no agent".into(),
            hint: String::new(),
        },
    );
    log.at(
        985,
        EventKind::Refused {
            what: "an answer".into(),
            reason: "it is late".into(),
        },
    );
    let svg = draw(&log.events);
    let page = parse(&svg);
    let person = lane(&page, "lane person").expect("a lane");
    let bars = groups(person, "bar");
    let said: Vec<_> = bars.iter().map(|bar| about(*bar)).collect();
    assert_eq!(
        said,
        [
            "claim of step 0, 0.200 s from 0.10 s",
            "review of step 0, 0.300 s from 0.40 s",
            "step 0 waits for approval: delete all (it is much), 0.450 s from 0.50 s",
            "paused, 0.100 s from 0.80 s",
            "step 0 stalled: no agent, 0.005 s from 0.98 s",
        ]
    );
    assert_eq!(
        rows(person),
        2,
        "review and approval overlap, and approval and pause"
    );
    let marks: Vec<_> = groups(person, "mark").into_iter().map(about).collect();
    assert_eq!(marks.len(), 4);
    assert!(marks[0].starts_with("step 0 decided by the person, 0.30 s: delete {"));
    assert_eq!(marks[1], "step 0 suggested, 0.96 s: use tabs");
    assert_eq!(marks[2], "step 0 went back, 0.97 s");
    assert_eq!(marks[3], "refused, 0.98 s: an answer: it is late");
    let is_line = |node: &roxmltree::Node<'_, '_>| node.attribute("class") == Some("back");
    assert_eq!(
        page.descendants().filter(is_line).count(),
        1,
        "another generation"
    );
}

#[test]
fn an_effect_is_held_sent_and_answered() {
    let (step, node, what) = (
        StepIndex(2),
        NodeId(5),
        "POST https://example.org/a".to_owned(),
    );
    let mut log = Log::default();
    log.opened();
    let reason = "not verified".to_owned();
    log.at(
        100,
        EventKind::EffectHeld {
            step,
            node,
            effect: 0,
            what: what.clone(),
            reason,
        },
    );
    log.at(
        500,
        EventKind::EffectSent {
            step,
            node,
            effect: 0,
            what: what.clone(),
        },
    );
    let (end, detail) = (EffectEnd::Answered, "200".to_owned());
    log.at(
        600,
        EventKind::EffectEnded {
            step,
            node,
            effect: 0,
            what: what.clone(),
            end,
            detail,
        },
    );
    let (end, detail) = (EffectEnd::Refused, "denied".to_owned());
    log.at(
        700,
        EventKind::EffectEnded {
            step,
            node,
            effect: 1,
            what,
            end,
            detail,
        },
    );
    let svg = draw(&log.events);
    let page = parse(&svg);
    let effects = lane(&page, "lane effects").expect("a lane");
    let said: Vec<_> = groups(effects, "bar").into_iter().map(about).collect();
    assert_eq!(
        said,
        [
            "step 2 answered, 0.500 s from 0.10 s: POST https://example.org/a",
            "step 2 not sent, 0.000 s from 0.70 s: POST https://example.org/a"
        ]
    );
    assert!(
        texts(page.root_element()).contains(&"sent"),
        "in the legend"
    );
}

#[test]
fn what_runs_is_open_until_now() {
    let mut events = plan(3).events;
    let answer = |event: &Event| matches!(event.kind, EventKind::Answered { role: Role::Target, step, .. } if step.0 == 1);
    let cut = events.iter().position(answer).expect("T answers step 1");
    events.truncate(cut);
    let svg = draw(&events);
    let page = parse(&svg);
    assert!(texts(page.root_element())[1].ends_with("has not ended"));
    let open = groups(lane(&page, "lane target").unwrap(), "bar open");
    assert_eq!(open.len(), 2);
    let [x, _, width, _] = place(open[0]);
    let [later_x, _, later_width, _] = place(open[1]);
    assert!(
        (x + width - later_x - later_width).abs() < 0.2,
        "both until the last event"
    );
}

#[test]
fn a_log_without_its_beginning_says_so() {
    let events = plan(3).events;
    let svg = draw(&events[4..]);
    let page = parse(&svg);
    let all = texts(page.root_element());
    assert_eq!(all[0], "a run");
    assert!(
        all.contains(&"The log is not whole, nor is the picture: 4 events missing."),
        "{all:?}"
    );
    // The first calls have no beginning: they come from before.
    let target = groups(lane(&page, "lane target").unwrap(), "bar used");
    assert_eq!(target.len(), 3);
    let nothing = draw(&[]);
    assert!(texts(parse(&nothing).root_element()).contains(&"The log has no events."));
}

#[test]
fn an_interrupted_run_and_what_was_undone_later_are_told() {
    let mut log = plan(2);
    log.events.pop();
    log.at(
        1740,
        EventKind::Interrupted {
            reason: "the daemon stopped".into(),
        },
    );
    log.at(
        1740,
        EventKind::Undone(Undone {
            step: StepIndex(1),
            undoes: CommitId(2),
            redo: false,
            commit: None,
            changed: Vec::new(),
            left: Vec::new(),
        }),
    );
    let svg = draw(&log.events);
    let page = parse(&svg);
    let all = texts(page.root_element());
    assert!(
        all[1].ends_with("; interrupted: the daemon stopped"),
        "{}",
        all[1]
    );
    assert!(all.contains(&"undone or redone"));
}

#[test]
fn a_failed_call_looks_failed() {
    let mut log = Log::default();
    log.opened();
    log.asked(10, 1, Role::Target, 0);
    log.call_ended(500, 1, Role::Target, 0, AskEnd::Failed);
    let svg = draw(&log.events);
    let page = parse(&svg);
    let failed = groups(lane(&page, "lane target").unwrap(), "bar failed");
    assert_eq!(about(failed[0]), "T(0) failed, 0.490 s from 0.01 s: ");
}

#[test]
fn what_is_squashed_unseen_has_the_tool_that_was_proposed() {
    let mut log = Log::default();
    log.opened();
    log.asked(10, 1, Role::Approximation, 7);
    log.answered(100, 1, Role::Approximation, 7, "grep");
    log.started(100, 1, 1, 7);
    log.finished(400, 1, 1, 7);
    let svg = draw(&log.events);
    let page = parse(&svg);
    let bars = groups(lane(&page, "lane executions").unwrap(), "bar");
    assert_eq!(texts(bars[0]), ["7 grep"]);
}
