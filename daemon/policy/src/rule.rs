//! The policies of a set, ready to be asked.

use crate::expression::Expression;
use crate::fact::Question;
use crate::source::Named;
use cedar_policy::{Effect, PolicySet as Cedar};
use serde_json::Value;

/// A policy, without its action: a rule is only asked about actions that it is about.
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) effect: Effect,
    /// What it demands.
    pub(crate) condition: Expression,
    /// The policy in Cedar's JSON form.
    pub(crate) json: Value,
    /// The policy alone, for what the condition leaves to Cedar.
    pub(crate) cedar: Cedar,
}

impl Rule {
    pub(crate) fn new(named: &Named) -> Rule {
        Rule {
            id: named.id.clone(),
            effect: named.policy.effect(),
            condition: Expression::of_policy(&named.json),
            json: named.json.clone(),
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
    use crate::random::{Call, call, counts, policies, principal, tools};
    use crate::ready::SETS;
    use crate::{Decision, Definition, LoadOptions, PolicySet};
    use forerun_types::Source;
    use proptest::prelude::*;
    use std::cell::Cell;

    /// What must be the same: all but how an error is put.
    fn told(decision: Decision) -> Decision {
        let reason = match decision.code {
            "policy_error" => String::new(),
            _ => decision.reason,
        };
        Decision { reason, ..decision }
    }

    fn agree_on_call(set: &PolicySet, call: &Call) -> Result<(), TestCaseError> {
        let [rules, cedar] =
            [By::Rules, By::Cedar].map(|by| set.decide_call_by(by, &call.request()));
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
