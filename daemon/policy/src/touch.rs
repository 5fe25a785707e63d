//! The `touch` policies of a set, compiled into path rules.

use crate::Problem;
use crate::conditions::{Condition, Refused, Toucher, is_never};
use crate::source::{Named, Source, entity};
use cedar_policy::{ActionConstraint, Effect};
use forerun_types::{PathPattern, PathRule, PathRules, RuleEffect, Touch};
use serde_json::Value;

/// A policy that says something about touches.
#[derive(Debug)]
pub(crate) struct TouchPolicy {
    id: String,
    effect: RuleEffect,
    touches: Vec<Touch>,
    condition: Condition,
}

impl TouchPolicy {
    /// Compiles a policy; `None` if it says nothing about touches.
    pub(crate) fn compile(source: &Source<'_>, named: &Named) -> Option<Result<Self, Problem>> {
        let touches = touches(&named.policy.action_constraint());
        if touches.is_empty() {
            return None;
        }
        let condition = condition(&named.json).map_err(|Refused { what, near }| {
            let hint = "sandboxes decide touches by rules; their conditions are `resource ==` and \
                        `in`, `resource.name` and `.ext` compared with texts, context.unprotected, \
                        context.speculative, principal.role, and &&, ||, ! of these";
            let message = format!("its condition can not be made into path rules: {what}");
            source.problem_in(named, near.as_deref(), message, Some(hint.to_owned()))
        });
        let effect = match named.policy.effect() {
            Effect::Permit => RuleEffect::Permit,
            Effect::Forbid => RuleEffect::Forbid,
        };
        let id = named.id.clone();
        Some(condition.map(|condition| TouchPolicy {
            id,
            effect,
            touches,
            condition,
        }))
    }

    /// The rule that is left once it is known who touches; `None` if it never applies.
    fn rule(&self, toucher: Toucher<'_>) -> Option<PathRule> {
        let pattern = self.condition.pattern(toucher);
        (!is_never(&pattern)).then(|| PathRule {
            policy: self.id.clone(),
            effect: self.effect,
            touches: self.touches.clone(),
            pattern,
        })
    }
}

/// The rules of a toucher.
pub(crate) fn rules(policies: &[TouchPolicy], toucher: Toucher<'_>) -> PathRules {
    let rules = policies.iter().filter_map(|policy| policy.rule(toucher));
    PathRules::from(rules.collect::<Vec<_>>())
}

/// The name of a touch's action.
pub(crate) fn touch_action(touch: Touch) -> &'static str {
    match touch {
        Touch::Read => "read",
        Touch::Write => "write",
        Touch::Delete => "delete",
        Touch::Sensitive => "sensitive",
    }
}

/// The touches that a policy's scope covers.
fn touches(scope: &ActionConstraint) -> Vec<Touch> {
    let covers = |touch: &Touch| {
        let covers =
            |id: &str| id == touch_action(*touch) || id == "touch" && *touch != Touch::Sensitive;
        match scope {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => uid.id().unescaped() == touch_action(*touch),
            ActionConstraint::In(uids) => uids.iter().any(|uid| covers(uid.id().unescaped())),
        }
    };
    Touch::ALL.into_iter().filter(covers).collect()
}

/// Everything that a policy demands besides its action.
fn condition(json: &Value) -> Result<Condition, Refused> {
    let mut all = vec![scope(&json["resource"])?];
    for clause in json["conditions"].as_array().into_iter().flatten() {
        let body = Condition::read(&clause["body"])?;
        all.push(if clause["kind"] == "unless" {
            Condition::Not(Box::new(body))
        } else {
            body
        });
    }
    Ok(Condition::All(all))
}

/// What the scope demands of the resource.
fn scope(resource: &Value) -> Result<Condition, Refused> {
    let odd = || Refused {
        what: "the scope of the resource".to_owned(),
        near: None,
    };
    let path = |json: &Value| match entity(json) {
        Some(("Path", path)) => Ok(path.to_owned()),
        _ => Err(odd()),
    };
    let subtree = |json: &Value| path(json).map(|path| Condition::Path(PathPattern::Subtree(path)));
    match resource["op"].as_str() {
        Some("All") => Ok(Condition::Constant(true)),
        Some("==") => {
            path(&resource["entity"]).map(|path| Condition::Path(PathPattern::Path(path)))
        }
        Some("in") => subtree(&resource["entity"]),
        Some("is") if resource["entity_type"] != "Path" => Ok(Condition::Constant(false)),
        Some("is") => match resource.get("in") {
            None => Ok(Condition::Constant(true)),
            Some(inside) => subtree(&inside["entity"]),
        },
        _ => Err(odd()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PolicySet;
    use crate::fixtures::{problems, set, toolbox};
    use forerun_types::{Source as Principal, fold};
    use proptest::prelude::*;

    const TOUCHES: [Touch; 4] = Touch::ALL;
    const PRINCIPALS: [Principal; 3] =
        [Principal::Approximation, Principal::Target, Principal::User];

    /// Components that policies name, others, and other spellings of both.
    fn component() -> impl Strategy<Value = String> {
        let known = prop::sample::select(vec![
            "workspace",
            "tmp",
            ".git",
            ".GIT",
            "hooks",
            "Hoo\u{212a}s",
            "config",
            ".github",
            "workflows",
            ".vscode",
            "tasks.json",
            ".bashrc",
            ".BASHRC",
            ".mcp.json",
            "src",
            "a",
            "a.rs",
            "A.RS",
            "b.key",
            ".rs",
            "a.",
            "site.code-workspace",
            ".forerun",
            "e\u{301}",
        ]);
        prop_oneof![4 => known.prop_map(str::to_owned), 1 => "[a-cA-C.\u{e9}]{1,3}"]
    }

    fn path() -> impl Strategy<Value = String> {
        let below = prop::collection::vec(component(), 0..4).prop_map(|parts| {
            parts
                .iter()
                .fold("/workspace".to_owned(), |path, part| path + "/" + part)
        });
        let anywhere = prop::collection::vec(component(), 0..3)
            .prop_map(|parts| format!("/{}", parts.join("/")));
        prop_oneof![4 => below, 1 => anywhere]
    }

    /// Whether rules and Cedar say the same of a touch, by whom and when ever.
    fn agree(set: &PolicySet, unprotected: &[String], path: &str) -> Result<(), TestCaseError> {
        for principal in PRINCIPALS {
            for speculative in [false, true] {
                let rules = set.0.compile(principal, speculative, unprotected);
                for touch in TOUCHES {
                    let by_rules = rules.decide(touch, path, &fold(path)).is_ok();
                    let by_cedar =
                        set.cedar_allows(principal, speculative, unprotected, touch, path);
                    prop_assert_eq!(
                        Ok(by_rules),
                        by_cedar,
                        "{} {} {:?}",
                        touch,
                        path,
                        (principal, speculative)
                    );
                }
            }
        }
        Ok(())
    }

    fn condition() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "resource in Path::\"/workspace\"",
            "resource in Path::\"/workspace/.git/hooks\"",
            "resource in [Path::\"/workspace/src\", Path::\"/tmp\"]",
            "resource == Path::\"/workspace/.github\"",
            "Path::\"/workspace/a\" != resource",
            "resource in Path::\"/\"",
            "resource.name == \"hooks\"",
            "[\"a.rs\", \".bashrc\"].contains(resource.name)",
            "resource.ext == \"rs\"",
            "resource.ext != \"\"",
            "[\"key\", \"rs\"].contains(resource.ext)",
            "resource is Path in Path::\"/workspace/.git\"",
            "resource is Path",
            "context.unprotected",
            "context.speculative == false",
            "context.mode == Mode::\"run\"",
            "context.mode == Mode::\"ask\"",
            "principal.role == Role::\"target\"",
            "[Role::\"user\", Role::\"approximation\"].contains(principal.role)",
            "principal is Agent",
        ]);
        leaf.prop_map(str::to_owned)
            .prop_recursive(3, 12, 2, |inner| {
                prop_oneof![
                    (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
                    (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
                    inner.prop_map(|a| format!("!({a})")),
                ]
            })
    }

    fn policies() -> impl Strategy<Value = String> {
        let policy = (
            prop::sample::select(vec!["permit", "permit", "forbid"]),
            prop::sample::select(vec![
                "action in Action::\"touch\"",
                "action == Action::\"read\"",
                "action in [Action::\"write\", Action::\"delete\"]",
                "action == Action::\"delete\"",
            ]),
            prop::sample::select(vec![
                "resource",
                "resource in Path::\"/workspace\"",
                "resource == Path::\"/workspace/a\"",
                "resource is Path",
                "resource is Path in Path::\"/workspace/src\"",
            ]),
            prop::sample::select(vec!["when", "unless"]),
            condition(),
        );
        prop::collection::vec(policy, 1..5).prop_map(|policies| {
            let texts = policies.into_iter().enumerate().map(|(index, policy)| {
                let (effect, action, resource, kind, condition) = policy;
                format!("@id(\"p{index}\") {effect} (principal, {action}, {resource}) {kind} {{ {condition} }};\n")
            });
            texts.collect()
        })
    }

    #[test]
    fn the_default_sets_rules_decide_as_cedar_does() {
        let set = PolicySet::ready("workspace-write", &toolbox()).unwrap();
        let free = prop::sample::select(vec![
            vec![],
            vec!["/workspace/.github".to_owned()],
            vec![
                "/workspace/.git/hooks".to_owned(),
                "/workspace/a".to_owned(),
            ],
        ]);
        proptest!(ProptestConfig::with_cases(48), |(path in path(), free in free)| {
            agree(&set, &free, &path)?;
        });
    }

    #[test]
    fn the_rules_of_any_set_decide_as_cedar_does() {
        let config = ProptestConfig::with_cases(64);
        proptest!(config, |(source in policies(), paths in prop::collection::vec(path(), 3))| {
            // A condition that is always false is refused, as it should be.
            let Ok(set) = PolicySet::load("random", &source, &toolbox()) else {
                return Err(TestCaseError::reject("the set is refused"));
            };
            for path in &paths {
                agree(&set, &["/workspace/src".to_owned()], path)?;
            }
        });
    }

    #[test]
    fn conditions_that_rules_can_not_say_are_refused_with_their_place() {
        for (condition, near) in [
            ("resource.path like \"*.rs\"", "like"),
            ("resource.folded == \"a\"", ".folded"),
            ("resource.name like \"a*\"", "like"),
            (
                "if context.speculative then true else false",
                "if-then-else",
            ),
            (
                "resource in (if context.speculative then Path::\"/a\" else Path::\"/b\")",
                "if-then-else",
            ),
            ("action == Action::\"write\"", "action"),
            ("resource has name", "has"),
            ("resource.name == resource.ext", "comparison"),
        ] {
            let source = format!(
                "@id(\"a\")\nforbid (principal, action == Action::\"write\", resource) when {{\n{condition} }};"
            );
            let found = problems(&source);
            assert_eq!(found.len(), 1, "{condition}: {found:#?}");
            assert!(
                found[0].message.contains(near),
                "{condition}: {}",
                found[0].message
            );
            assert!(
                found[0]
                    .hint
                    .as_deref()
                    .unwrap()
                    .contains("context.unprotected")
            );
        }
    }

    #[test]
    fn a_name_that_never_matches_is_refused() {
        for condition in [
            "resource.name == \"AGENTS.md\"",
            "resource.name == \"a/b\"",
            "resource.ext == \".rs\"",
            "[\"a\", \"B\"].contains(resource.name)",
        ] {
            let source = format!(
                "@id(\"a\")\nforbid (principal, action == Action::\"write\", resource)\nwhen {{ {condition} }};"
            );
            let found = problems(&source);
            assert!(
                found[0].message.contains("never matches"),
                "{condition}: {found:#?}"
            );
            assert_eq!(found[0].line, 3);
        }
    }

    #[test]
    fn a_policy_for_every_action_is_about_touches_too() {
        let set = set("@id(\"all\") permit (principal, action, resource);
             @id(\"not-unverified\") forbid (principal, action in Action::\"touch\", resource)
             when { context.speculative && principal.role == Role::\"approximation\" };");
        let allows = |principal, speculative| {
            set.path_rules(principal, speculative)
                .decide(Touch::Write, "/x", "/x")
                .is_ok()
        };
        assert!(!allows(Principal::Approximation, true));
        assert!(allows(Principal::Approximation, false));
        assert!(allows(Principal::Target, true));
    }

    #[test]
    fn rules_that_can_not_apply_are_left_out() {
        let set = set(
            "@id(\"a\") permit (principal, action == Action::\"read\", resource)
             when { context.speculative };",
        );
        assert_eq!(set.path_rules(Principal::Target, false).rules, []);
        let rules = set.path_rules(Principal::Target, true).rules;
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0].pattern, PathPattern::Any);
        assert_eq!(rules[0].touches, [Touch::Read]);
    }
}
