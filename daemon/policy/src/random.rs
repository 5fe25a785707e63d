//! Random requests, and random policies about them, for this crate's tests.

use crate::fixtures::{tool, toolbox};
use crate::{CallRequest, Counters};
use forerun_types::{Action, Source, Speculation, StepIndex, ToolDescription};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A tool with arguments of every type, all but one optional.
pub(crate) const SEARCH: &str = "search";

/// The shipped tools, one of every other kind, and [`SEARCH`].
pub(crate) fn tools() -> Vec<ToolDescription> {
    let mut tools = toolbox();
    for (number, speculation) in [
        Speculation::Never,
        Speculation::Contained,
        Speculation::Pure,
    ]
    .into_iter()
    .cycle()
    .enumerate()
    .take(12)
    {
        let mut other = tool(&format!("other-{number}"), json!({ "type": "object" }));
        other.speculation = speculation;
        other.annotations.open_world = number % 2 == 0;
        other.annotations.read_only = number % 4 < 2;
        other.client = number >= 6;
        tools.push(other);
    }
    let text = json!({ "type": "string" });
    let range = json!({ "type": "object", "properties": { "from": { "type": "integer" } } });
    tools.push(tool(
        SEARCH,
        json!({ "type": "object", "required": ["pattern"], "properties": {
            "pattern": text, "path": text, "limit": { "type": "integer" },
            "all": { "type": "boolean" }, "globs": { "type": "array", "items": text },
            "range": range,
        } }),
    ));
    tools
}

pub(crate) fn arguments() -> impl Strategy<Value = Value> {
    let text = || prop::sample::select(vec!["", "a", "src/a.rs", "src/", "*", "é", "x.rs.rs"]);
    let number = || prop_oneof![-2_i64..40, Just(i64::MAX), Just(i64::MIN)];
    (
        text(),
        prop::option::of(prop_oneof![
            text().prop_map(str::to_owned),
            "a{0,3}[a-z]{1020,1030}"
        ]),
        prop::option::of(number()),
        prop::option::of(any::<bool>()),
        prop::option::of(prop::collection::vec(text(), 0..3)),
        prop::option::of(prop::option::of(number())),
        prop::option::of(Just(json!(0.5))),
    )
        .prop_map(|(pattern, path, limit, all, globs, range, unheard)| {
            let range = range.map(|from| json!({ "from": from }));
            json!({
                "pattern": pattern, "path": path, "limit": limit, "all": all, "globs": globs,
                "range": range, "unheard": unheard,
            })
        })
}

/// Numbers at which policies change their mind.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    let limits = [16, 20, 100, 500, 2_000, 1 << 28, i64::MAX as u64];
    let near = (prop::sample::select(limits.to_vec()), 0_u64..3);
    prop_oneof![0_u64..40, near.prop_map(|(limit, more)| limit - 1 + more)]
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) principal: Source,
    pub(crate) action: Action,
    step: u32,
    depth: u32,
    speculative: bool,
    counters: Counters,
}

impl Call {
    pub(crate) fn request(&self) -> CallRequest<'_> {
        CallRequest {
            principal: self.principal,
            action: &self.action,
            step: StepIndex(self.step),
            depth: self.depth,
            speculative: self.speculative,
            counters: self.counters,
            read_sensitive: false,
        }
    }
}

pub(crate) fn principal() -> impl Strategy<Value = Source> {
    prop::sample::select(vec![Source::Approximation, Source::Target, Source::User])
}

pub(crate) fn call() -> impl Strategy<Value = Call> {
    let names: Vec<_> = tools().into_iter().map(|tool| tool.name).collect();
    let tool = prop_oneof![prop::sample::select(names), Just(SEARCH.to_owned())];
    let action = (tool, arguments()).prop_map(|(tool, searched)| {
        let arguments = match tool.as_str() {
            SEARCH => searched.to_string(),
            _ => r#"{"path":"a","content":"","pattern":"a","from":"a","to":"b"}"#.to_owned(),
        };
        Action::parse(&tool, &arguments).unwrap()
    });
    let counters = [number(), number(), number()];
    (
        principal(),
        action,
        number(),
        number(),
        any::<bool>(),
        counters,
    )
        .prop_map(
            |(principal, action, step, depth, speculative, counters)| Call {
                principal,
                action,
                step: step as u32,
                depth: depth as u32,
                speculative,
                counters: Counters {
                    calls: counters[0],
                    bytes_written: counters[1],
                    commits: counters[2],
                    bytes_out: counters[0] / 2,
                },
            },
        )
}

pub(crate) fn counts() -> impl Strategy<Value = [u64; 6]> {
    [number(), number(), number(), number(), number(), number()]
}

/// A condition of what `leaves` says.
pub(crate) fn condition(leaves: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    let leaf = prop::sample::select(leaves.to_vec()).prop_map(str::to_owned);
    leaf.prop_recursive(4, 16, 2, |inner| {
        let (a, b, c) = (inner.clone(), inner.clone(), inner.clone());
        prop_oneof![
            (a, b).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (c, inner.clone(), inner).prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
        ]
    })
}

pub(crate) const OF_ANY_CALL: &[&str] = &[
    "context.mode == Mode::\"run\"",
    "context.mode != Mode::\"ask\"",
    "[Mode::\"hold\", Mode::\"ask\"].contains(context.mode)",
    "context.speculative",
    "context.speculative == false",
    "principal.role == Role::\"user\"",
    "principal.role in [Role::\"target\", Role::\"approximation\"]",
    "principal is Agent",
    "resource.open_world",
    "!resource.read_only",
    "resource.speculation == Speculation::\"never\"",
    "resource == Tool::\"search\"",
    "resource in [Tool::\"search\", Tool::\"grep\"]",
    "resource is Tool in Tool::\"grep\"",
    "context.depth > 16",
    "16 >= context.depth",
    "context.step < context.depth",
    "context.counters.calls <= 2000",
    "context.counters has calls",
    "context.counters == {calls: 1, bytes_written: 2, commits: 3}",
    "context.step * 9223372036854775807 > 0",
    "context.counters.bytes_written + 1 > 100",
    "context.step - 5 == -1",
    "(context.depth > 3) == context.speculative",
    "(if context.speculative then context.step else context.depth) > 10",
    "context.args_partial",
    "action == Action::\"call:search\"",
    "[1, 2, 3].contains(context.step)",
    "[1, 2, 3].containsAny([context.step])",
    "ip(\"10.0.0.1\").isInRange(ip(\"10.0.0.0/8\"))",
];

pub(crate) const OF_A_SEARCH: &[&str] = &[
    "context.args.pattern == \"a\"",
    "context.args.pattern like \"src/*\"",
    "context.args.pattern like \"*.rs\"",
    "context.args.pattern like \"*s*rs\"",
    "context.args.pattern like \"\\*\"",
    "context.args.pattern_length > 3",
    "(context.args has path && context.args.path like \"*a*\")",
    "(context.args has path && context.args.path_length > 1024)",
    "(context.args has path && context.args.path == context.args.pattern)",
    "(context.args has limit && context.args.limit < 7)",
    "(context.args has limit && context.args.limit + 1 < 7)",
    "(context.args has globs && context.args.globs.contains(\"a\"))",
    "(context.args has globs && context.args.globs == [\"a\", \"\"])",
    "(context.args has globs && context.args.globs.isEmpty())",
    "(context.args has range && context.args.range has from && context.args.range.from > 2)",
    "context.args has range.from",
    "(context.args has all && context.args.all)",
    "context.args_partial",
    "context.mode == Mode::\"run\"",
    "context.speculative",
];

pub(crate) const OF_A_COMMIT: &[&str] = &[
    "context.mode == Mode::\"run\"",
    "context.deleted > 20",
    "context.created + context.deleted > 20",
    "context.shared == 0",
    "resource == Workspace::\"/workspace\"",
    "resource in Workspace::\"/workspace\"",
    "principal.role == Role::\"user\"",
];

pub(crate) fn policies() -> impl Strategy<Value = String> {
    let policy = |action: &'static str, leaves: &[&'static str]| {
        let effect = prop::sample::select(vec!["permit", "permit", "forbid"]);
        let kind = prop::sample::select(vec!["when", "unless"]);
        (effect, kind, condition(leaves), condition(leaves)).prop_map(
            move |(effect, kind, first, second)| {
                format!(
                    "{effect} (principal, {action}, resource) \
                     when {{ {first} }} {kind} {{ {second} }};\n"
                )
            },
        )
    };
    let policy = prop_oneof![
        policy("action in Action::\"call\"", OF_ANY_CALL),
        policy("action == Action::\"call:search\"", OF_A_SEARCH),
        policy("action == Action::\"commit\"", OF_A_COMMIT),
        Just("permit (principal, action, resource);\n".to_owned()),
        Just("permit (principal is Agent, action, resource is Tool);\n".to_owned()),
    ];
    prop::collection::vec(policy, 1..5).prop_map(|policies| {
        let named = policies.into_iter().enumerate();
        named
            .map(|(index, policy)| format!("@id(\"p{index}\") {policy}"))
            .collect()
    })
}
