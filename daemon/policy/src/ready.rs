//! The sets that are built in.

use crate::examples::Examples;
use crate::{PolicyError, PolicySet};
use forerun_types::ToolDescription;

/// A set of `policies/`.
pub(crate) struct Ready {
    pub(crate) name: &'static str,
    pub(crate) source: &'static str,
    pub(crate) examples: &'static str,
}

/// All of them.
pub(crate) const SETS: &[Ready] = &[Ready {
    name: "workspace-write",
    source: include_str!("../../../policies/workspace-write/policy.cedar"),
    examples: include_str!("../../../policies/workspace-write/examples.toml"),
}];

/// The set of this name.
pub(crate) fn find(name: &str) -> Result<&'static Ready, PolicyError> {
    SETS.iter()
        .find(|set| set.name == name)
        .ok_or_else(|| PolicyError::UnknownSet {
            name: name.to_owned(),
            known: SETS.iter().map(|set| set.name).collect(),
        })
}

impl Ready {
    /// The set's examples.
    pub(crate) fn examples(&self) -> Result<Examples, PolicyError> {
        Examples::parse(self.examples).map_err(|failure| PolicyError::Examples {
            set: self.name.to_owned(),
            failures: vec![failure],
        })
    }

    /// Holds the set against its examples, on this toolbox and the tools that the
    /// examples describe.
    pub(crate) fn check(&self, tools: &[ToolDescription]) -> Result<(), PolicyError> {
        let examples = self.examples()?;
        let mut tools = tools.to_vec();
        let further = examples.tools();
        tools.retain(|tool| further.iter().all(|example| example.name != tool.name));
        tools.extend(further);
        let set = PolicySet::load(self.name, self.source, &tools)?;
        let failures = examples.failures(&set);
        if failures.is_empty() {
            return Ok(());
        }
        Err(PolicyError::Examples {
            set: self.name.to_owned(),
            failures,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::toolbox;
    use crate::{CallRequest, LoadOptions, Outcome};
    use forerun_types::{Action, Source, StepIndex, Touch, fold};
    use std::fmt::Write;
    use std::path::PathBuf;

    /// Set this to write the generated part of the sets' README.md anew.
    const BLESS: &str = "FORERUN_BLESS";
    const BEGIN: &str = "<!-- the examples, generated from examples.toml -->\n";

    fn table(examples: &Examples) -> String {
        let mut text = String::from("| | by | asked | decision |\n|---|---|---|---|\n");
        for example in &examples.examples {
            let who = if example.is_speculative() {
                format!("{}, unverified", example.by)
            } else {
                example.by.to_string()
            };
            let mut asked = match (&example.call, &example.touch, &example.path) {
                (Some(tool), _, _) if example.arguments.is_null() => format!("`{tool}`"),
                (Some(tool), _, _) => format!("`{tool} {}`", example.arguments),
                (_, Some(touch), Some(path)) => format!("{touch} `{path}`"),
                _ => {
                    let mut changes = example.commit.clone().unwrap_or_default();
                    if example.shared > 0 {
                        changes.push(format!("{} of them shared", example.shared));
                    }
                    if example.deletions > 0 {
                        changes.push(format!("{} deletions", example.deletions));
                    }
                    format!("commit {}", changes.join(", "))
                }
            };
            if !example.unprotected.is_empty() {
                let _ = write!(
                    asked,
                    " with `{}` unprotected",
                    example.unprotected.join("`, `")
                );
            }
            let (say, expect) = (&example.say, example.expect);
            let policy = example
                .policy
                .iter()
                .map(|id| format!(" (`{id}`)"))
                .collect::<String>();
            let _ = writeln!(text, "| {say} | {who} | {asked} | **{expect}**{policy} |");
        }
        text
    }

    #[test]
    fn the_ready_sets_load_and_their_examples_hold() {
        for ready in SETS {
            let set = PolicySet::ready(ready.name, &toolbox()).unwrap();
            assert_eq!(set.name(), ready.name);
            let examples = ready.examples().unwrap().examples;
            assert!(examples.len() >= 25, "{}", ready.name);
            for outcome in [Outcome::Run, Outcome::Hold, Outcome::Ask, Outcome::Deny] {
                assert!(
                    examples.iter().any(|example| example.expect == outcome),
                    "{outcome}"
                );
            }
        }
    }

    #[test]
    fn every_policy_of_a_ready_set_decides_an_example() {
        for ready in SETS {
            let examples = ready.examples().unwrap().examples;
            let permits_of_touches = ["read-everything", "write-everything"];
            for line in ready
                .source
                .lines()
                .filter_map(|line| line.strip_prefix("@id(\""))
            {
                let id = line.trim_end_matches("\")");
                let shown = examples
                    .iter()
                    .any(|example| example.policy.as_deref() == Some(id));
                assert!(shown || permits_of_touches.contains(&id), "{id}");
            }
        }
    }

    #[test]
    fn the_readme_shows_the_examples_as_they_are() {
        for ready in SETS {
            let path: PathBuf = [
                env!("CARGO_MANIFEST_DIR"),
                "../../policies",
                ready.name,
                "README.md",
            ]
            .iter()
            .collect();
            let text = std::fs::read_to_string(&path).unwrap();
            let (written, _) = text.split_once(BEGIN).expect("the place of the table");
            let current = format!("{written}{BEGIN}{}", table(&ready.examples().unwrap()));
            if std::env::var_os(BLESS).is_some() {
                std::fs::write(&path, &current).unwrap();
            }
            let on_disk = std::fs::read_to_string(&path).unwrap();
            assert!(
                on_disk == current,
                "{path:?} is old: run the tests with {BLESS}=1"
            );
        }
    }

    #[test]
    fn a_set_whose_examples_fail_is_refused_and_says_which() {
        let ready = |examples| Ready {
            name: "test",
            source: SETS[0].source,
            examples,
        };
        let failures = |examples| match ready(examples).check(&toolbox()) {
            Err(PolicyError::Examples { failures, .. }) => failures.join("\n"),
            other => panic!("{other:?}"),
        };
        let wrong = failures(
            "[[example]]\nsay = \"hooks\"\ntouch = \"write\"\n\
             path = \"/workspace/.git/hooks/a\"\nexpect = \"run\"",
        );
        assert_eq!(
            wrong,
            r#""hooks": deny instead of run (policies ["protected-git"])"#
        );
        let other_policy = failures(
            "[[example]]\nsay = \"hooks\"\ntouch = \"write\"\npolicy = \"protected-ci\"\n\
             path = \"/workspace/.git/hooks/a\"\nexpect = \"deny\"",
        );
        assert!(
            other_policy.contains("instead of \"protected-ci\""),
            "{other_policy}"
        );
        let no_tool = failures("[[example]]\nsay = \"x\"\ncall = \"fly\"\nexpect = \"deny\"");
        assert!(no_tool.contains("no tool \"fly\""), "{no_tool}");
        assert!(failures("[[example]]\nsay = \"x\"\nexpect = \"run\"").contains("has to have"));
        assert!(failures("[[example]]\nsay = \"x\"\nexpects = \"run\"").contains("expects"));
        assert!(failures("[[example]]\nsay = \"x\"\nexpect = \"maybe\"").contains("maybe"));
    }

    #[test]
    fn an_unknown_set_lists_those_that_exist() {
        let error = PolicySet::ready("workspace", &toolbox()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "find the policy set \"workspace\"; there is workspace-write"
        );
        assert_eq!(
            error.hint().as_deref(),
            Some("did you mean \"workspace-write\"?")
        );
    }

    #[test]
    fn the_users_options_reach_the_rules_and_the_digest() {
        let load = |unprotected: &[&str]| {
            let unprotected = unprotected.iter().map(|path| (*path).to_owned()).collect();
            PolicySet::ready_with("workspace-write", &toolbox(), &LoadOptions { unprotected })
        };
        let (plain, free) = (load(&[]).unwrap(), load(&[".GitHub/workflows/"]).unwrap());
        let allows = |set: &PolicySet| {
            let path = "/workspace/.github/workflows/ci.yml";
            set.path_rules(Source::Target, false)
                .decide(Touch::Write, path, &fold(path))
                .is_ok()
        };
        assert!(!allows(&plain) && allows(&free));
        assert_ne!(plain.digest(), free.digest());
        for path in ["/etc", "../up", "", "a//b"] {
            assert_eq!(
                load(&[path]).unwrap_err().code(),
                "policy_unprotect",
                "{path}"
            );
        }
    }

    #[test]
    fn an_unknown_tool_is_denied_by_the_default_set() {
        let set = PolicySet::ready("workspace-write", &toolbox()).unwrap();
        let action = Action::parse("launch_rocket", "{}").unwrap();
        let decision = set.decide_call(&CallRequest {
            principal: Source::User,
            action: &action,
            step: StepIndex(0),
            depth: 0,
            speculative: false,
            counters: Default::default(),
        });
        assert_eq!(
            (decision.outcome, decision.code),
            (Outcome::Deny, "policy_unknown_tool")
        );
    }
}
