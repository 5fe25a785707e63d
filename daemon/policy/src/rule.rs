//! The policies of a set, ready to be asked.

use crate::expression::Expression;
use crate::fact::Question;
use crate::source::Named;
use cedar_policy::{Effect, PolicySet as Cedar};

/// A policy, without its action: a rule is only asked about actions that it is about.
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) effect: Effect,
    /// What it demands.
    pub(crate) condition: Expression,
    /// The policy alone, for what the condition leaves to Cedar.
    pub(crate) cedar: Cedar,
}

impl Rule {
    pub(crate) fn new(named: &Named) -> Rule {
        Rule {
            id: named.id.clone(),
            effect: named.policy.effect(),
            condition: Expression::of_policy(&named.json),
            cedar: Cedar::from_policies([named.policy.clone()])
                .expect("one policy has an id of its own"),
        }
    }

    /// Whether it holds; `None` if Cedar has to be asked.
    pub(crate) fn holds(&self, question: &Question<'_>) -> Option<bool> {
        self.condition.holds(question)
    }
}

#[cfg(test)]
mod tests {
    use crate::decide::By;
    use crate::fixtures::{tool, toolbox};
    use crate::ready::SETS;
    use crate::{CallRequest, Counters, Decision, Definition, LoadOptions, PolicySet};
    use forerun_types::{Action, Source, Speculation, StepIndex, ToolDescription};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::cell::Cell;

    /// A tool with arguments of every type, all but one optional.
    const SEARCH: &str = "search";

    /// The shipped tools, one of every other kind, and [`SEARCH`].
    fn tools() -> Vec<ToolDescription> {
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

    fn arguments() -> impl Strategy<Value = Value> {
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
    fn number() -> impl Strategy<Value = u64> {
        let limits = [16, 20, 100, 500, 2_000, 1 << 28, i64::MAX as u64];
        let near = (prop::sample::select(limits.to_vec()), 0_u64..3);
        prop_oneof![0_u64..40, near.prop_map(|(limit, more)| limit - 1 + more)]
    }

    #[derive(Clone, Debug)]
    struct Call {
        principal: Source,
        action: Action,
        step: u32,
        depth: u32,
        speculative: bool,
        counters: Counters,
    }

    fn principal() -> impl Strategy<Value = Source> {
        prop::sample::select(vec![Source::Approximation, Source::Target, Source::User])
    }

    fn call() -> impl Strategy<Value = Call> {
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
                    },
                },
            )
    }

    /// What must be the same: all but how an error is put.
    fn told(decision: Decision) -> Decision {
        let reason = match decision.code {
            "policy_error" => String::new(),
            _ => decision.reason,
        };
        Decision { reason, ..decision }
    }

    fn agree_on_call(set: &PolicySet, call: &Call) -> Result<(), TestCaseError> {
        let request = CallRequest {
            principal: call.principal,
            action: &call.action,
            step: StepIndex(call.step),
            depth: call.depth,
            speculative: call.speculative,
            counters: call.counters,
        };
        let [rules, cedar] = [By::Rules, By::Cedar].map(|by| set.decide_call_by(by, &request));
        prop_assert_eq!(told(rules), told(cedar));
        Ok(())
    }

    fn agree_on_commit(
        set: &PolicySet,
        principal: Source,
        counts: [u64; 6],
    ) -> Result<(), TestCaseError> {
        let names = [
            "created",
            "modified",
            "deleted",
            "renamed",
            "attributes",
            "shared",
        ];
        let counts = std::array::from_fn(|index| (names[index], counts[index]));
        let [rules, cedar] =
            [By::Rules, By::Cedar].map(|by| set.decide_counts(by, principal, counts));
        prop_assert_eq!(told(rules), told(cedar));
        Ok(())
    }

    fn counts() -> impl Strategy<Value = [u64; 6]> {
        [number(), number(), number(), number(), number(), number()]
    }

    /// A condition of what `leaves` says.
    fn condition(leaves: &[&'static str]) -> impl Strategy<Value = String> + use<> {
        let leaf = prop::sample::select(leaves.to_vec()).prop_map(str::to_owned);
        leaf.prop_recursive(4, 16, 2, |inner| {
            let (a, b, c) = (inner.clone(), inner.clone(), inner.clone());
            prop_oneof![
                (a, b).prop_map(|(a, b)| format!("({a} && {b})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
                inner.clone().prop_map(|a| format!("!({a})")),
                (c, inner.clone(), inner)
                    .prop_map(|(a, b, c)| format!("(if {a} then {b} else {c})")),
            ]
        })
    }

    const OF_ANY_CALL: &[&str] = &[
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

    const OF_A_SEARCH: &[&str] = &[
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

    const OF_A_COMMIT: &[&str] = &[
        "context.mode == Mode::\"run\"",
        "context.deleted > 20",
        "context.created + context.deleted > 20",
        "context.shared == 0",
        "resource == Workspace::\"/workspace\"",
        "resource in Workspace::\"/workspace\"",
        "principal.role == Role::\"user\"",
    ];

    fn policies() -> impl Strategy<Value = String> {
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

    #[test]
    fn the_rules_of_every_ready_set_decide_as_cedar_does() {
        let sets: Vec<_> = Definition::all_ready()
            .map(|set| set.assemble(&tools(), &LoadOptions::default()).unwrap())
            .collect();
        assert_eq!(sets.len(), SETS.len());
        let config = ProptestConfig::with_cases(160);
        proptest!(config, |(call in call(), by in principal(), counts in counts())| {
            for set in &sets {
                agree_on_call(set, &call)?;
                agree_on_commit(set, by, counts)?;
            }
        });
    }

    #[test]
    fn the_rules_of_any_set_decide_as_cedar_does() {
        let (loaded, refused) = (Cell::new(0), Cell::new(0));
        let config = ProptestConfig::with_cases(96);
        let calls = || prop::collection::vec(call(), 16);
        proptest!(config, |(source in policies(), calls in calls(), counts in counts())| {
            // A condition that is always false is refused, as it should be.
            let Ok(set) = PolicySet::load("random", &source, &tools()) else {
                refused.set(refused.get() + 1);
                return Ok(());
            };
            loaded.set(loaded.get() + 1);
            for call in &calls {
                agree_on_call(&set, call)?;
                agree_on_commit(&set, call.principal, counts)?;
            }
        });
        assert!(loaded > refused, "{loaded:?} loaded, {refused:?} refused");
    }

    #[test]
    fn no_policy_of_a_ready_set_is_left_to_cedar() {
        for set in SETS {
            let set = PolicySet::ready(set.name, &tools()).unwrap();
            for rule in set.0.slices.values().flatten() {
                let condition = format!("{:?}", rule.condition);
                assert!(!condition.contains("Other"), "{}: {condition}", rule.id);
            }
        }
    }
}
