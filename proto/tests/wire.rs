//! What holds for the whole of `forerun.v1`: every event survives the wire, and the
//! definitions keep the rules by which other languages generate code from them.

use forerun_proto::{FILE_DESCRIPTOR_SET, v1};
use forerun_types::{
    Action, ApprovalEnd, ApprovalId, AskEnd, CallId, ChangeKind, CommitId, Digest, EffectEnd,
    Event, EventKind, ExecutionEnd, ExecutionId, LeftAlone, LimitName, NodeId, Observation,
    ObservationStatus, PathChange, Predictor, PrefixId, Role, Sibling, Source, StepIndex, Time,
    Undone, Usage,
};
use proptest::prelude::*;
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use std::collections::BTreeSet;
use std::mem::discriminant;

fn text() -> impl Strategy<Value = String> {
    ".{0,12}"
}

fn step() -> impl Strategy<Value = StepIndex> {
    any::<u32>().prop_map(StepIndex)
}

fn node() -> impl Strategy<Value = NodeId> {
    any::<u64>().prop_map(NodeId)
}

fn call() -> impl Strategy<Value = CallId> {
    any::<u64>().prop_map(CallId)
}

fn execution() -> impl Strategy<Value = ExecutionId> {
    any::<u64>().prop_map(ExecutionId)
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn prefix() -> impl Strategy<Value = PrefixId> {
    digest().prop_map(PrefixId)
}

fn time() -> impl Strategy<Value = Time> {
    any::<u64>().prop_map(Time)
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Approximation, Role::Target])
}

fn source() -> impl Strategy<Value = Source> {
    prop::sample::select(vec![Source::Approximation, Source::Target, Source::User])
}

fn ask_end() -> impl Strategy<Value = AskEnd> {
    prop::sample::select(vec![AskEnd::Used, AskEnd::Dropped, AskEnd::Failed])
}

fn execution_end() -> impl Strategy<Value = ExecutionEnd> {
    prop::sample::select(vec![
        ExecutionEnd::Used,
        ExecutionEnd::Dropped,
        ExecutionEnd::Failed,
    ])
}

fn approval() -> impl Strategy<Value = ApprovalId> {
    any::<u64>().prop_map(ApprovalId)
}

fn approval_end() -> impl Strategy<Value = ApprovalEnd> {
    prop::sample::select(vec![
        ApprovalEnd::Allowed,
        ApprovalEnd::AllowedForSession,
        ApprovalEnd::AllowedAlways,
        ApprovalEnd::Refused,
        ApprovalEnd::TimedOut,
        ApprovalEnd::Withdrawn,
    ])
}

fn effect_end() -> impl Strategy<Value = EffectEnd> {
    prop::sample::select(vec![
        EffectEnd::Answered,
        EffectEnd::Replayed,
        EffectEnd::Refused,
        EffectEnd::Unknown,
    ])
}

fn action() -> impl Strategy<Value = Action> {
    ("[a-z_]{1,12}", any::<i64>(), text()).prop_map(|(tool, number, text)| {
        let arguments = serde_json::json!({"number": number, "text": text});
        Action::parse(&tool, &arguments.to_string()).expect("an object with two keys")
    })
}

fn usage() -> impl Strategy<Value = Usage> {
    any::<[u64; 4]>().prop_map(|[a, b, c, d]| Usage {
        input_tokens: a,
        cached_input_tokens: b,
        output_tokens: c,
        cost_micros: d,
    })
}

fn observation() -> impl Strategy<Value = Observation> {
    let status = prop::sample::select(vec![
        ObservationStatus::Success,
        ObservationStatus::Denied,
        ObservationStatus::Stopped(LimitName::WallTime),
    ]);
    (status, text()).prop_map(|(status, text)| Observation::new(status, text))
}

fn changed() -> impl Strategy<Value = Vec<PathChange>> {
    let kind = prop_oneof![
        Just(ChangeKind::Created),
        Just(ChangeKind::Deleted),
        text().prop_map(|from| ChangeKind::Renamed { from }),
    ];
    prop::collection::vec(
        (text(), kind).prop_map(|(path, kind)| PathChange { path, kind }),
        0..3,
    )
}

fn siblings() -> impl Strategy<Value = Vec<Sibling>> {
    let sibling = (node(), action()).prop_map(|(node, action)| Sibling { node, action });
    prop::collection::vec(sibling, 0..3)
}

fn undone() -> impl Strategy<Value = Undone> {
    let commit = || any::<u64>().prop_map(CommitId);
    let left = (text(), text()).prop_map(|(path, reason)| LeftAlone { path, reason });
    let left = prop::collection::vec(left, 0..3);
    let commits = (commit(), prop::option::of(commit()));
    (step(), commits, any::<bool>(), changed(), left).prop_map(
        |(step, (undoes, commit), redo, changed, left)| Undone {
            step,
            undoes,
            redo,
            commit,
            changed,
            left,
        },
    )
}

/// One strategy for each kind of event.
fn kinds() -> Vec<BoxedStrategy<EventKind>> {
    macro_rules! kind {
        ($kind:ident { $($field:ident: $strategy:expr),* $(,)? }) => {
            ($($strategy,)*)
                .prop_map(|($($field,)*)| EventKind::$kind { $($field),* })
                .boxed()
        };
    }
    let yes = any::<bool>;
    vec![
        kind!(Opened {
            workspace: text(),
            task: text(),
            policy: text(),
            audit: yes(),
            depth: any::<u32>()
        }),
        kind!(AgentAttached {
            role: role(),
            agent: text(),
            model: text(),
            capacity: any::<u32>(),
            reattached: yes()
        }),
        kind!(AgentDetached {
            role: role(),
            agent: text(),
            reattach_ms: any::<u64>()
        }),
        kind!(AgentLost {
            role: role(),
            agent: text()
        }),
        kind!(Asked {
            call: call(),
            role: role(),
            step: step(),
            prefix: prefix()
        }),
        kind!(Answered {
            call: call(),
            role: role(),
            step: step(),
            action: action(),
            others: prop::collection::vec(action(), 0..3),
            usage: usage()
        }),
        kind!(Predicted {
            step: step(),
            by: prop::sample::select(vec![Predictor::History, Predictor::Caller]),
            actions: prop::collection::vec(action(), 0..3),
        }),
        kind!(CallEnded {
            call: call(),
            role: role(),
            step: step(),
            end: ask_end(),
            reason: text()
        }),
        kind!(PolicyDecided {
            node: prop::option::of(node()),
            step: step(),
            speculative: yes(),
            decision: text(),
            policies: prop::collection::vec(text(), 0..3),
            reason: text(),
            inputs: text(),
            enforced: prop::option::of(text()),
        }),
        kind!(ExecutionStarted {
            execution: execution(),
            node: node(),
            step: step(),
            speculative: yes()
        }),
        kind!(ExecutionFinished {
            execution: execution(),
            node: node(),
            step: step(),
            elapsed_us: any::<u64>(),
            observation: digest(),
            changes: digest(),
        }),
        kind!(NotExecuted {
            execution: execution(),
            node: node(),
            step: step(),
            reason: text()
        }),
        kind!(ExecutionEnded {
            execution: execution(),
            node: node(),
            step: step(),
            end: execution_end()
        }),
        kind!(Squashed {
            node: node(),
            step: step(),
            reason: text()
        }),
        kind!(Proposed {
            step: step(),
            node: node(),
            prefix: prefix(),
            action: action(),
            siblings: siblings()
        }),
        kind!(Observed {
            step: step(),
            node: node(),
            observation: observation()
        }),
        kind!(Waiting {
            step: step(),
            prefix: prefix()
        }),
        kind!(Answer {
            step: step(),
            node: node(),
            source: source(),
            action: action(),
            matched: yes(),
            corrects: prop::option::of(node()),
        }),
        kind!(Decided {
            step: step(),
            node: node(),
            source: source(),
            action: action()
        }),
        kind!(ReviewOpened {
            step: step(),
            node: node(),
            until: time()
        }),
        kind!(Claimed {
            step: step(),
            until: time()
        }),
        kind!(Unclaimed {
            step: step(),
            reason: text()
        }),
        kind!(Question {
            step: step(),
            node: node(),
            question: text()
        }),
        kind!(ApprovalRequested {
            step: step(),
            node: node(),
            approval: approval(),
            what: text(),
            policies: prop::collection::vec(text(), 0..3),
            reason: text(),
            always: prop::option::of(text())
        }),
        kind!(ApprovalEnded {
            step: step(),
            approval: approval(),
            end: approval_end(),
            reason: text()
        }),
        kind!(EffectHeld {
            step: step(),
            node: node(),
            effect: any::<u32>(),
            what: text(),
            reason: text()
        }),
        kind!(EffectSent {
            step: step(),
            node: node(),
            effect: any::<u32>(),
            what: text()
        }),
        kind!(EffectEnded {
            step: step(),
            node: node(),
            effect: any::<u32>(),
            what: text(),
            end: effect_end(),
            detail: text()
        }),
        kind!(Verified {
            step: step(),
            node: node(),
            delta: digest(),
            changed: changed()
        }),
        kind!(Committed {
            step: step(),
            commit: any::<u64>().prop_map(CommitId),
            changed: changed()
        }),
        kind!(Suggested {
            step: step(),
            text: text()
        }),
        kind!(Backtracked {
            step: step(),
            generation: any::<u32>()
        }),
        kind!(Stalled {
            step: step(),
            reason: text(),
            hint: text()
        }),
        kind!(Continued { reason: text() }),
        Just(EventKind::Paused).boxed(),
        Just(EventKind::Resumed).boxed(),
        kind!(Refused {
            what: text(),
            reason: text()
        }),
        kind!(Ended {
            reason: text(),
            answer: prop::option::of(text()),
            steps: any::<u32>()
        }),
        kind!(Finished {
            outcome: text(),
            commit: prop::option::of(any::<u64>().prop_map(CommitId)),
            changed: changed(),
        }),
        kind!(Interrupted { reason: text() }),
        kind!(Kept {
            commit: any::<u64>().prop_map(CommitId),
            path: text(),
            copy: text()
        }),
        undone().prop_map(EventKind::Undone).boxed(),
    ]
}

proptest! {
    #[test]
    fn every_event_comes_back_unchanged(
        sequence: u64, at in time(), kinds in kinds()
    ) {
        for kind in kinds {
            let event = Event { sequence, at, kind };
            let bytes = v1::Event::from(event.clone()).encode_to_vec();
            let wire = v1::Event::decode(bytes.as_slice()).expect("just encoded");
            prop_assert_eq!(Event::try_from(wire), Ok(event));
        }
    }
}

#[test]
fn the_events_above_are_all_that_the_wire_has() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let distinct: Vec<_> = kinds()
        .iter()
        .map(|kind| {
            let kind = kind.new_tree(&mut runner).expect("no filter").current();
            discriminant(&v1::event::Kind::from(kind))
        })
        .collect();
    for (index, kind) in distinct.iter().enumerate() {
        assert!(!distinct[..index].contains(kind), "listed twice: {index}");
    }
    let files = files();
    let event = files
        .iter()
        .flat_map(|file| &file.message_type)
        .find(|message| message.name() == "Event")
        .expect("event.proto defines it");
    let on_the_wire = event
        .field
        .iter()
        .filter(|field| field.oneof_index.is_some())
        .count();
    assert_eq!(distinct.len(), on_the_wire);
}

fn files() -> Vec<FileDescriptorProto> {
    FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)
        .expect("written by the build script")
        .file
}

#[test]
fn every_rpc_has_a_request_and_a_response_of_its_own() {
    let mut seen = BTreeSet::new();
    for service in files().iter().flat_map(|file| &file.service) {
        assert!(service.name().ends_with("Service"), "{}", service.name());
        for method in &service.method {
            let stem = format!(".forerun.v1.{}{}", service.name(), method.name());
            assert_eq!(method.input_type(), format!("{stem}Request"));
            assert_eq!(method.output_type(), format!("{stem}Response"));
            assert!(seen.insert(stem));
        }
    }
    assert!(seen.len() >= 11, "{seen:?}");
}

#[test]
fn every_enumeration_starts_with_unspecified_and_prefixes_its_values() {
    for file in files() {
        for enumeration in &file.enum_type {
            let prefix = shouting(enumeration.name());
            assert_eq!(
                enumeration.value[0].name(),
                format!("{prefix}_UNSPECIFIED"),
                "{}",
                enumeration.name()
            );
            for value in &enumeration.value {
                assert!(
                    value.name().starts_with(&format!("{prefix}_")),
                    "{}",
                    value.name()
                );
            }
        }
    }
}

fn shouting(name: &str) -> String {
    name.char_indices()
        .flat_map(|(index, letter)| {
            let gap = (index > 0 && letter.is_uppercase()).then_some('_');
            gap.into_iter().chain(letter.to_uppercase())
        })
        .collect()
}

#[test]
fn every_file_is_of_the_package_that_its_folder_names() {
    for file in files() {
        assert_eq!(file.package(), "forerun.v1", "{}", file.name());
        assert!(file.name().starts_with("forerun/v1/"), "{}", file.name());
        assert_eq!(file.syntax(), "proto3", "{}", file.name());
        for message in &file.message_type {
            assert_snake(message);
        }
    }
}

fn assert_snake(message: &DescriptorProto) {
    for field in &message.field {
        assert!(
            field
                .name()
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
            "{}.{}",
            message.name(),
            field.name()
        );
    }
    message.nested_type.iter().for_each(assert_snake);
}
