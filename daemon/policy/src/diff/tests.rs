//! Changes to the ready sets of which it is known what they do, and random ones.

use super::*;
use crate::fixtures::tool;
use crate::random::{Call, OF_ANY_CALL, call, policies, tools};
use crate::{Definition, Layer, LoadOptions};
use forerun_types::{Speculation, ToolDescription};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

/// A tool of each kind that the ready sets tell apart.
fn few_tools() -> Vec<ToolDescription> {
    let text = json!({ "type": "object", "required": ["path"],
        "properties": { "path": { "type": "string" } } });
    let mut tools = [
        "write_file",
        "look_outside",
        "act_outside",
        "client",
        "never",
    ]
    .map(|name| tool(name, text.clone()))
    .to_vec();
    tools[1].annotations.open_world = true;
    tools[1].annotations.read_only = true;
    tools[2].annotations.open_world = true;
    tools[3].annotations.open_world = true;
    tools[3].client = true;
    tools[4].speculation = Speculation::Never;
    tools
}

/// A set of nothing but this.
fn load(source: &str, tools: &[ToolDescription]) -> Result<PolicySet, crate::PolicyError> {
    let own = Layer {
        name: "test".to_owned(),
        source: source.to_owned(),
    };
    PolicySet::of_layers(own, &[], tools, &LoadOptions::default())
}

fn set(source: &str) -> PolicySet {
    load(source, &few_tools()).unwrap_or_else(|error| panic!("{error}\n{source}"))
}

/// The policies of each ready set, with what lies under it.
fn ready() -> Vec<Vec<String>> {
    Definition::all_ready()
        .map(|definition| {
            let set = definition
                .assemble(&few_tools(), &LoadOptions::default())
                .unwrap();
            let mut ids: Vec<_> = set
                .0
                .cedar
                .policies()
                .map(|policy| policy.id().to_string())
                .collect();
            ids.sort_unstable();
            ids.iter()
                .map(|id| set.policy(id).unwrap().text.clone())
                .collect()
        })
        .collect()
}

fn source(policies: &[String]) -> String {
    policies.join("\n")
}

/// A set, and how it is called in messages.
type Mutation = (String, Vec<String>);

/// Sets that allow more than this one, or the same, and nothing less.
fn widened(policies: &[String]) -> Vec<Mutation> {
    let mut mutations = Vec::new();
    let changed = |index: usize, text: String| {
        let mut policies = policies.to_vec();
        policies[index] = text;
        policies
    };
    for (index, policy) in policies.iter().enumerate() {
        let is_forbid = policy.contains("\nforbid ");
        if is_forbid {
            let mut fewer = policies.to_vec();
            fewer.remove(index);
            mutations.push((format!("dropped {policy}"), fewer));
        }
        for (at, literal) in literals(policy) {
            let (before, after) = (&policy[..at], &policy[at + literal.len()..]);
            let mut push = |before: &str, new: &str, after: &str| {
                let said = format!("{literal} became {new:?} in {policy}");
                mutations.push((said, changed(index, format!("{before}{new}{after}"))));
            };
            let is_path = before.ends_with("Path::");
            match literal.parse::<u64>() {
                Ok(number) if is_forbid => {
                    push(before, &(number + 1).to_string(), after);
                    push(before, &(2 * number + 1).to_string(), after);
                }
                Ok(_) => {}
                Err(_) if is_path && is_forbid => {
                    push(
                        before,
                        &format!("{}/deep\"", literal.trim_end_matches('"')),
                        after,
                    );
                }
                Err(_) if is_path && literal == "\"/tmp\"" => push(before, "\"/\"", after),
                // A name of a list is left out.
                Err(_) if is_forbid && !before.ends_with("::") => {
                    let first = after.strip_prefix(',');
                    let last = before.trim_end().strip_suffix(',');
                    match (first, last) {
                        (Some(after), _) => push(before, "", after),
                        (None, Some(before)) => push(before, "", after),
                        (None, None) => {}
                    }
                }
                Err(_) => {}
            }
        }
    }
    mutations
}

/// The texts and numbers that a policy compares something with.
fn literals(policy: &str) -> Vec<(usize, &str)> {
    let start = policy.find("\nwhen").unwrap_or(policy.len());
    let mut found = Vec::new();
    let mut at = start;
    while let Some(next) = policy[at..].find(|c: char| c == '"' || c.is_ascii_digit()) {
        let begin = at + next;
        let rest = &policy[begin..];
        let end = match rest.strip_prefix('"') {
            Some(inner) => inner.find('"').map_or(rest.len(), |end| end + 2),
            None => rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len()),
        };
        found.push((begin, &rest[..end]));
        at = begin + end;
    }
    found
}

/// Permits that can be evaluated for every request.
fn random_permits(count: usize) -> Vec<String> {
    let total: Vec<_> = OF_ANY_CALL
        .iter()
        .copied()
        .filter(|leaf| {
            !["+", " - ", "*", "ip(", "search", "grep", "Any", "{"]
                .iter()
                .any(|part| leaf.contains(part))
        })
        .collect();
    let mut runner = TestRunner::deterministic();
    let condition = crate::random::condition(&total);
    let permit = |number| {
        let condition = condition.new_tree(&mut runner).unwrap().current();
        format!(
            "@id(\"added-{number}\")\npermit (principal, action in Action::\"call\", resource)\n\
             when {{ {condition} }};"
        )
    };
    (0..count).map(permit).collect()
}

#[test]
fn what_widens_is_never_called_narrowing_and_the_reverse_never_widening() {
    let permits = random_permits(100);
    // Each set on a thread of its own.
    let counts = std::thread::scope(|scope| {
        let permits = &permits;
        let compare = |policies| scope.spawn(move || compare_mutations(policies, permits));
        let running: Vec<_> = ready().into_iter().map(compare).collect();
        let counts = running.into_iter().map(|thread| thread.join().unwrap());
        counts.collect::<Vec<_>>()
    });
    let (mut all, mut told, mut equal) = (0, 0, 0);
    for (of_all, of_told, of_equal) in counts {
        all += of_all;
        told += of_told;
        equal += of_equal;
    }
    assert!(all >= 1_000, "{all}");
    assert!(
        told + equal >= all * 85 / 100,
        "{told} and {equal} of {all} were told"
    );
}

/// Compares a set with its mutations, both ways: how many there are, how many were told to
/// widen, and how many to change nothing.
fn compare_mutations(policies: Vec<String>, permits: &[String]) -> (usize, usize, usize) {
    let (mut all, mut told, mut equal) = (0, 0, 0);
    let original = set(&source(&policies));
    let mut mutations = widened(&policies);
    mutations.extend(permits.iter().map(|permit| {
        let added = [policies.as_slice(), std::slice::from_ref(permit)].concat();
        (format!("added {permit}"), added)
    }));
    for (said, policies) in mutations {
        // A condition that is always false is refused.
        let Ok(mutated) = load(&source(&policies), &few_tools()) else {
            continue;
        };
        let there = original.diff(&mutated).unwrap();
        let back = mutated.diff(&original).unwrap();
        assert_eq!(there.narrower.witness(), None, "{said}");
        assert_eq!(back.wider.witness(), None, "{said}");
        match there.change() {
            Change::Widens => {
                told += 1;
                assert_eq!(back.change(), Change::Narrows, "{said}");
                let witness = there.wider.witness().unwrap();
                assert!(rank(witness.after.outcome) > rank(witness.before.outcome));
            }
            Change::Equal => {
                equal += 1;
                assert_eq!(back.change(), Change::Equal, "{said}");
            }
            Change::CannotTell => {}
            other => panic!("{other}: {said}"),
        }
        all += 1;
    }
    (all, told, equal)
}

/// Whether no request shows what is said to be impossible.
fn agrees(
    difference: &Difference,
    [before, after]: [&PolicySet; 2],
    call: &Call,
) -> Result<(), TestCaseError> {
    let [before, after] = [before, after].map(|set| set.decide_call(&call.request()));
    let (was, is) = (rank(before.outcome), rank(after.outcome));
    prop_assert!(
        is <= was || difference.wider != Finding::Impossible,
        "{call:?} is wider"
    );
    prop_assert!(
        is >= was || difference.narrower != Finding::Impossible,
        "{call:?} is narrower"
    );
    Ok(())
}

#[test]
fn no_request_contradicts_what_is_said_of_any_two_sets() {
    let config = ProptestConfig::with_cases(32);
    let calls = || prop::collection::vec(call(), 100);
    proptest!(config, |(one in policies(), other in policies(), both in any::<bool>(), calls in calls())| {
        let other = other.replace("@id(\"p", "@id(\"q");
        let other = if both { format!("{one}{other}") } else { other };
        let (Ok(one), Ok(other)) = (load(&one, &tools()), load(&other, &tools())) else {
            return Ok(());
        };
        let there = one.diff(&other).unwrap();
        let back = other.diff(&one).unwrap();
        let shown = |finding: &Finding| finding.witness().is_some();
        prop_assert!(!(shown(&there.wider) && back.narrower == Finding::Impossible));
        prop_assert!(!(shown(&there.narrower) && back.wider == Finding::Impossible));
        for call in &calls {
            agrees(&there, [&one, &other], call)?;
            agrees(&back, [&other, &one], call)?;
        }
    });
}

#[test]
fn names_reasons_comments_and_order_change_nothing() {
    let mut policies = ready().remove(2);
    let before = set(&source(&policies));
    policies.reverse();
    let mut after = source(&policies).replace("@id(\"", "@id(\"other-");
    after = after.replace("permit (", "// A comment.\npermit (");
    assert_eq!(before.diff(&set(&after)).unwrap().change(), Change::Equal);
}

const CALLS: &str = "@id(\"all\") permit (principal, action in Action::\"call\", resource);\n";

fn change(before: &str, after: &str) -> Difference {
    set(&format!("{CALLS}{before}"))
        .diff(&set(&format!("{CALLS}{after}")))
        .unwrap()
}

fn forbid(condition: &str) -> String {
    format!(
        "@id(\"f\") forbid (principal, action in Action::\"call\", resource) when {{ {condition} }};"
    )
}

#[test]
fn a_witness_is_a_request_at_the_border_with_both_decisions() {
    let limit = |limit: u32| {
        forbid(&format!(
            "context.mode == Mode::\"run\" && context.depth > {limit}"
        ))
    };
    let difference = change(&limit(16), &limit(32));
    assert_eq!(difference.change(), Change::Widens);
    let witness = difference.wider.witness().unwrap();
    assert_eq!(witness.context["depth"], 17);
    let line = witness.to_string();
    assert!(line.starts_with("target: call act_outside {"), "{line}");
    assert!(line.ends_with("}: ask before, run after"), "{line}");
    assert_eq!(witness.before.policies, ["f", "all"]);
}

#[test]
fn what_widens_here_and_narrows_there_does_both() {
    let difference = change(&forbid("context.depth > 16"), &forbid("context.step > 16"));
    assert_eq!(difference.change(), Change::Both);
}

#[test]
fn a_permit_that_can_fail_can_narrow() {
    let added = "@id(\"p\") permit (principal, action in Action::\"call\", resource)
        when { context.step * 9223372036854775807 > 0 };";
    let difference = change("", added);
    assert_ne!(difference.narrower, Finding::Impossible);
}

#[test]
fn what_is_not_found_is_not_said_to_be_impossible() {
    // A sum can not be solved.
    let difference = change(&forbid("context.step + context.depth == 123456789"), "");
    assert_eq!(difference.wider, Finding::Unknown);
    assert_eq!(difference.narrower, Finding::Impossible);
    assert_eq!(difference.change(), Change::CannotTell);
}

#[test]
fn a_policy_about_what_no_tool_does_changes_nothing() {
    let added = forbid("resource.destructive && context.speculative");
    assert_eq!(change("", &added).change(), Change::Equal);
    assert_eq!(change(&added, "").change(), Change::Equal);
}

#[test]
fn a_path_that_a_forbid_names_is_touched_from_above() {
    let touches = "@id(\"w\") permit (principal, action in Action::\"touch\", resource);
        @id(\"n\") forbid (principal, action == Action::\"delete\", resource)";
    let by_name = format!("{touches} when {{ resource.name == \"hooks\" }};");
    let by_path = format!("{touches} when {{ resource == Path::\"/workspace/a/hooks\" }};");
    let difference = change(&by_name, &by_path);
    // Fewer paths are forbidden, but to delete what is above them is not allowed any more.
    assert_eq!(difference.change(), Change::Both);
    let narrower = difference.narrower.witness().unwrap();
    assert_eq!(
        (narrower.action.as_str(), narrower.resource.as_str()),
        ("delete", "/workspace")
    );
}

#[test]
fn a_commit_is_compared_by_its_counts() {
    let commits = |limit: u32| {
        format!(
            "@id(\"w\") permit (principal, action in Action::\"touch\", resource);
             @id(\"c\") permit (principal, action == Action::\"commit\", resource);
             @id(\"n\") forbid (principal, action == Action::\"commit\", resource)
             when {{ context.deleted > {limit} && context.mode == Mode::\"run\" }};"
        )
    };
    let difference = change(&commits(20), &commits(10));
    assert_eq!(difference.change(), Change::Narrows);
    let witness = difference.narrower.witness().unwrap();
    assert_eq!(witness.context["deleted"], 11);
    assert_eq!(
        (witness.before.outcome, witness.after.outcome),
        (Outcome::Run, Outcome::Ask)
    );
}

#[test]
fn sets_for_other_tools_are_not_compared() {
    let other = load(CALLS, &few_tools()[1..]).unwrap();
    assert_eq!(set(CALLS).diff(&other), Err(DiffError::OtherTools));
    let mut tools = few_tools();
    tools[0].annotations.open_world = true;
    let other = load(CALLS, &tools).unwrap();
    assert_eq!(set(CALLS).diff(&other), Err(DiffError::OtherTools));
}
