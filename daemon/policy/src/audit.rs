//! Sets that take note of what they refuse, and let it happen: for trying a set out.
//!
//! - **Invariant:** what lies under the set, which is what is protected and the layers that
//!   narrow it, is enforced all the same.
//! - **Invariant:** an action of which a refusal is noted is not done before its verdict:
//!   to audit is no reason to run ahead.

use crate::{Decision, Layer, Outcome, PolicySet};

/// What stands in the set's place to decide what is enforced.
pub(crate) const EVERYTHING: &str = "@id(\"audit\") permit (principal, action, resource);";

pub(crate) fn everything() -> Layer {
    Layer {
        name: "audit".to_owned(),
        source: EVERYTHING.to_owned(),
    }
}

impl PolicySet {
    /// The set's decision of what is asked in these modes, or a note of it.
    pub(crate) fn enforce_or_note(
        &self,
        modes: &[Outcome],
        decide: impl Fn(&PolicySet) -> Decision,
    ) -> Decision {
        let waits = modes.contains(&Outcome::Hold);
        let instead = if waits { Outcome::Hold } else { Outcome::Run };
        self.note(decide(self), instead, decide)
    }

    /// A decision, or, where the set only takes note and nothing else refuses, that of
    /// `instead`.
    pub(crate) fn note(
        &self,
        decision: Decision,
        instead: Outcome,
        decide: impl Fn(&PolicySet) -> Decision,
    ) -> Decision {
        let Some(enforced) = &self.0.enforced else {
            return decision;
        };
        let allowed = matches!(decision.outcome, Outcome::Run | Outcome::Hold);
        if allowed || decide(enforced).outcome != Outcome::Run {
            return decision;
        }
        let outcome = decision.outcome;
        Decision {
            outcome: instead,
            enforced: Some(outcome),
            reason: format!("audit only, or it would be {outcome}: {}", decision.reason),
            code: "policy_audit",
            grantable: false,
            ..decision
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fixtures::toolbox;
    use crate::{
        CallRequest, CommitRequest, Counters, Decision, Enforcement, Layer, LoadOptions, Outcome,
        PolicySet,
    };
    use forerun_types::{Action, ChangeKind, PathChange, Source, StepIndex, Touch};

    /// `locked-down`, noting only, with a project that keeps its documents.
    fn audited() -> PolicySet {
        let project = Layer {
            name: "project".to_owned(),
            source: "@id(\"no-docs\") forbid (principal, action == Action::\"write\", resource)
                     when { resource in Path::\"/workspace/docs\" };
                     @id(\"no-moves\") forbid (principal, action == Action::\"call:move\", resource);"
                .to_owned(),
        };
        let options = LoadOptions {
            narrowing: vec![project],
            enforcement: Enforcement::Audit,
            ..LoadOptions::default()
        };
        PolicySet::ready_with("locked-down", &toolbox(), &options).expect("is valid")
    }

    fn call(set: &PolicySet, tool: &str, arguments: &str, speculative: bool) -> Decision {
        set.decide_call(&CallRequest {
            principal: Source::Target,
            action: &Action::parse(tool, arguments).expect("an action"),
            step: StepIndex(0),
            depth: 1,
            speculative,
            counters: Counters::default(),
            read_sensitive: false,
        })
    }

    #[test]
    fn what_the_set_refuses_is_noted_and_happens_at_its_verdict() {
        let set = audited();
        let write = r#"{"path":"a","content":""}"#;
        let verified = call(&set, "write_file", write, false);
        assert_eq!(verified.outcome, Outcome::Run);
        assert_eq!(verified.enforced, Some(Outcome::Ask));
        assert_eq!(verified.code, "policy_audit");
        assert!(!verified.policies.is_empty());
        let ahead = call(&set, "write_file", write, true);
        assert_eq!((ahead.outcome, ahead.enforced), (Outcome::Hold, None));
    }

    #[test]
    fn what_narrows_a_set_is_enforced_under_audit() {
        let set = audited();
        let moved = call(&set, "move", r#"{"from":"a","to":"b"}"#, false);
        assert_eq!((moved.outcome, moved.enforced), (Outcome::Deny, None));
        assert_eq!(moved.policies, ["no-moves"]);
        let unknown = call(&set, "unheard", "{}", false);
        assert_eq!((unknown.outcome, unknown.enforced), (Outcome::Deny, None));
    }

    #[test]
    fn touches_and_commits_are_noted_as_calls_are() {
        let set = audited();
        let touch = |speculative, path: &str| {
            let path = format!("/workspace/{path}");
            let decision = set.decide_touch(Source::Target, speculative, Touch::Write, &path);
            (decision.outcome, decision.enforced)
        };
        assert_eq!(touch(true, "a"), (Outcome::Run, Some(Outcome::Deny)));
        assert_eq!(touch(false, "a"), (Outcome::Run, None));
        assert_eq!(touch(true, "docs/a"), (Outcome::Deny, None));
        assert_eq!(touch(false, ".git/hooks/pre-commit"), (Outcome::Deny, None));

        let commit = |path: &str| {
            let changed = [PathChange {
                path: path.to_owned(),
                kind: ChangeKind::Created,
            }];
            let decision = set.decide_commit(&CommitRequest {
                principal: Source::Target,
                changed: &changed,
                shared: 0,
            });
            (decision.outcome, decision.enforced)
        };
        assert_eq!(commit("a"), (Outcome::Run, Some(Outcome::Ask)));
        assert_eq!(commit("docs/a"), (Outcome::Deny, None));
        assert_eq!(commit(".mcp.json"), (Outcome::Deny, None));
    }

    #[test]
    fn the_rules_of_a_sandbox_say_what_is_enforced() {
        let rules = audited().path_rules(Source::Target, true);
        let enforced = rules.enforced.as_ref().expect("is there");
        let allows = |path: &str| enforced.decide(Touch::Write, path, path).is_ok();
        assert!(allows("/workspace/a"));
        assert!(!allows("/workspace/docs/a"));
        let plain = PolicySet::ready("locked-down", &toolbox()).expect("is valid");
        assert_eq!(plain.path_rules(Source::Target, true).enforced, None);
        assert_ne!(plain.digest(), audited().digest());
    }
}
