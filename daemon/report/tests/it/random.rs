//! Every list of events has a picture: well-formed, finite, and the same each time.

use crate::log::{draw, plan};
use crate::page::{groups, parse, texts};
use forerun_report::SVG_BYTES_MAX;
use forerun_types::{
    Action, ApprovalEnd, ApprovalId, AskEnd, CallId, CanonicalJson, CommitId, Digest, EffectEnd,
    Event, EventKind as E, ExecutionEnd, ExecutionId, LeftAlone, NodeId, PrefixId, Role, Sibling,
    Source, StepIndex, Time, Undone, Usage,
};
use proptest::prelude::*;
use proptest::sample::select;

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        8 => (0u64..5_000_000).prop_map(Time),
        1 => any::<u64>().prop_map(Time),
        1 => Just(Time(u64::MAX)),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[<>&\"']{0,300}",
        Just("]]>\u{0}\u{fffe}\u{202e}\u{1f980}</svg>".to_owned()),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    (text(), text()).prop_map(|(tool, value)| Action {
        tool,
        arguments: CanonicalJson::parse(&serde_json::json!({ "a": value }).to_string())
            .expect("valid"),
    })
}

fn step() -> impl Strategy<Value = StepIndex> {
    prop_oneof![9 => 0u32..6, 1 => any::<u32>()].prop_map(StepIndex)
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Approximation, Role::Target])
}

fn node() -> impl Strategy<Value = NodeId> {
    (0u64..8).prop_map(NodeId)
}

fn prefix() -> impl Strategy<Value = PrefixId> {
    (0u64..4).prop_map(|number| PrefixId(Digest::of(number.to_string())))
}

fn of_agents() -> impl Strategy<Value = E> {
    let call = (0u64..8).prop_map(CallId);
    let ends = vec![AskEnd::Used, AskEnd::Dropped, AskEnd::Failed];
    (
        call,
        role(),
        step(),
        prefix(),
        action(),
        select(ends),
        text(),
        0..4,
    )
        .prop_map(
            |(call, role, step, prefix, action, end, reason, which)| match which {
                0 => E::Asked {
                    call,
                    role,
                    step,
                    prefix,
                },
                1 => E::Answered {
                    call,
                    role,
                    step,
                    action: action.clone(),
                    others: vec![action; 20],
                    usage: Usage::default(),
                },
                2 => E::CallEnded {
                    call,
                    role,
                    step,
                    end,
                    reason,
                },
                _ => E::Opened {
                    workspace: reason.clone(),
                    task: reason.clone(),
                    policy: reason,
                    audit: false,
                    depth: step.0,
                },
            },
        )
}

fn of_executions() -> impl Strategy<Value = E> {
    let execution = (0u64..8).prop_map(ExecutionId);
    let ends = vec![
        ExecutionEnd::Used,
        ExecutionEnd::Dropped,
        ExecutionEnd::Failed,
    ];
    (
        execution,
        node(),
        step(),
        any::<bool>(),
        select(ends),
        text(),
        0..5,
    )
        .prop_map(
            |(execution, node, step, speculative, end, reason, which)| match which {
                0 => E::ExecutionStarted {
                    execution,
                    node,
                    step,
                    speculative,
                },
                1 => E::ExecutionFinished {
                    execution,
                    node,
                    step,
                    elapsed_us: u64::from(step.0),
                    observation: Digest::of(""),
                    changes: Digest::of(""),
                },
                2 => E::NotExecuted {
                    execution,
                    node,
                    step,
                    reason,
                },
                3 => E::ExecutionEnded {
                    execution,
                    node,
                    step,
                    end,
                },
                _ => E::Squashed { node, step, reason },
            },
        )
}

fn of_steps() -> impl Strategy<Value = E> {
    let sources = vec![Source::Approximation, Source::Target, Source::User];
    let corrects = proptest::option::of(node());
    (
        step(),
        node(),
        prefix(),
        action(),
        select(sources),
        corrects,
        any::<bool>(),
        0..6,
    )
        .prop_map(
            |(step, node, prefix, action, source, corrects, matched, which)| match which {
                0 => E::Proposed {
                    step,
                    node,
                    prefix,
                    action: action.clone(),
                    siblings: vec![Sibling { node, action }; 20],
                },
                1 => E::Answer {
                    step,
                    node,
                    source,
                    action,
                    matched,
                    corrects,
                },
                2 => E::Decided {
                    step,
                    node,
                    source,
                    action,
                },
                3 => E::Verified {
                    step,
                    node,
                    delta: Digest::of(""),
                    changed: Vec::new(),
                },
                4 => E::Committed {
                    step,
                    commit: CommitId(node.0),
                    changed: Vec::new(),
                },
                _ => E::Waiting { step, prefix },
            },
        )
}

fn of_people() -> impl Strategy<Value = E> {
    let approval = (0u64..3).prop_map(ApprovalId);
    let ends = vec![
        ApprovalEnd::Allowed,
        ApprovalEnd::Refused,
        ApprovalEnd::Withdrawn,
    ];
    (
        step(),
        node(),
        approval,
        select(ends),
        time(),
        text(),
        0..14,
    )
        .prop_map(
            |(step, node, approval, end, until, said, which)| match which {
                0 => E::Claimed { step, until },
                1 => E::Unclaimed { step, reason: said },
                2 => E::ReviewOpened { step, node, until },
                3 => E::Question {
                    step,
                    node,
                    question: said,
                },
                4 => E::ApprovalRequested {
                    step,
                    node,
                    approval,
                    what: said.clone(),
                    policies: Vec::new(),
                    always: None,
                    reason: said,
                },
                5 => E::ApprovalEnded {
                    step,
                    approval,
                    end,
                    reason: said,
                },
                6 => E::Suggested { step, text: said },
                7 => E::Backtracked {
                    step,
                    generation: step.0,
                },
                8 => E::Stalled {
                    step,
                    reason: said,
                    hint: String::new(),
                },
                9 => E::Continued { reason: said },
                10 => E::Paused,
                11 => E::Resumed,
                12 => E::Refused {
                    what: said.clone(),
                    reason: said,
                },
                _ => E::Undone(Undone {
                    step,
                    undoes: CommitId(1),
                    redo: step.0 == 1,
                    commit: None,
                    changed: Vec::new(),
                    left: vec![LeftAlone {
                        path: said.clone(),
                        reason: said,
                    }],
                }),
            },
        )
}

fn of_the_rest() -> impl Strategy<Value = E> {
    let ends = vec![
        EffectEnd::Answered,
        EffectEnd::Replayed,
        EffectEnd::Refused,
        EffectEnd::Unknown,
    ];
    (step(), node(), 0u32..3, select(ends), text(), 0..6).prop_map(
        |(step, node, effect, end, what, which)| match which {
            0 => E::EffectHeld {
                step,
                node,
                effect,
                what: what.clone(),
                reason: what,
            },
            1 => E::EffectSent {
                step,
                node,
                effect,
                what,
            },
            2 => E::EffectEnded {
                step,
                node,
                effect,
                what,
                end,
                detail: String::new(),
            },
            3 => E::Ended {
                reason: what,
                answer: None,
                steps: step.0,
            },
            4 => E::Interrupted { reason: what },
            _ => E::Finished {
                outcome: what,
                commit: None,
                changed: Vec::new(),
            },
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        of_agents(),
        of_executions(),
        of_steps(),
        of_people(),
        of_the_rest()
    ];
    let sequence = prop_oneof![9 => 0u64..200, 1 => any::<u64>()];
    (sequence, time(), kind).prop_map(|(sequence, at, kind)| Event { sequence, at, kind })
}

/// A picture is long, and is read by a parser: fewer than usual, of many events each.
const CASES: u32 = 96;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn every_list_of_events_has_a_picture(events in proptest::collection::vec(event(), 0..120)) {
        let svg = draw(&events);
        prop_assert!(svg.len() <= SVG_BYTES_MAX);
        prop_assert_eq!(&svg, &draw(&events), "the same each time");
        let page = parse(&svg);
        for node in page.descendants() {
            prop_assert!(!["script", "a", "image", "foreignObject"].contains(&node.tag_name().name()));
            for attribute in node.attributes() {
                let value = attribute.value();
                prop_assert!(!value.contains("NaN") && !value.contains("inf"), "{}", value);
                prop_assert!(!attribute.name().starts_with("on") && attribute.name() != "href");
            }
        }
        for text in texts(page.root_element()) {
            let is_fit = |c: char| !c.is_control() && c != '\u{202e}';
            prop_assert!(text.chars().all(is_fit), "{:?}", text);
        }
    }

    /// What belongs together finds each other in whatever order it comes, as far as it comes.
    #[test]
    fn a_shuffled_log_has_the_same_calls_and_executions(
        order in Just(plan(6).events).prop_shuffle(),
        kept in 0usize..200,
    ) {
        let bars = |events: &[Event]| {
            let svg = draw(events);
            let page = parse(&svg);
            ["lane approximation", "lane target", "lane executions"].map(|lane| {
                let lanes = groups(page.root_element(), lane);
                let bars = lanes.iter().map(|lane| {
                    ["bar used", "bar dropped", "bar open"].map(|end| groups(*lane, end).len())
                });
                bars.collect::<Vec<_>>()
            })
        };
        prop_assert_eq!(bars(&order), bars(&plan(6).events));
        let some = &order[..kept.min(order.len())];
        parse(&draw(some));
    }
}
