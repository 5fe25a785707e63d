//! The sets that are built in, and what lies under every set.

use crate::{Definition, Layer, PolicyError};

/// A set of `policies/`.
pub(crate) struct Ready {
    pub(crate) name: &'static str,
    pub(crate) source: &'static str,
    pub(crate) examples: &'static str,
    /// Forbids that it shares with others.
    below: &'static [Shared],
}

/// Forbids of `policies/`.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    pub(crate) name: &'static str,
    pub(crate) source: &'static str,
}

/// What could run outside of any sandbox: under every set.
pub(crate) const PROTECTED: Shared = Shared {
    name: "protected",
    source: include_str!("../../../policies/protected.cedar"),
};

/// Files with credentials.
const SECRETS: Shared = Shared {
    name: "secrets",
    source: include_str!("../../../policies/secrets.cedar"),
};

macro_rules! ready {
    ($name:literal, $below:expr) => {
        Ready {
            name: $name,
            source: include_str!(concat!("../../../policies/", $name, "/policy.cedar")),
            examples: include_str!(concat!("../../../policies/", $name, "/examples.toml")),
            below: $below,
        }
    };
}

/// All of them, the default one first.
pub(crate) const SETS: &[Ready] = &[
    ready!("workspace-write", &[]),
    ready!("read-only", &[]),
    ready!("coding", &[SECRETS]),
    ready!("network-allow-list", &[SECRETS]),
    ready!("locked-down", &[SECRETS]),
];

/// The set of this name.
pub(crate) fn find(name: &str) -> Result<&'static Ready, PolicyError> {
    SETS.iter()
        .find(|set| set.name == name)
        .ok_or_else(|| PolicyError::UnknownSet {
            name: name.to_owned(),
            known: SETS.iter().map(|set| set.name.to_owned()).collect(),
        })
}

impl Ready {
    pub(crate) fn definition(&self) -> Definition {
        Definition {
            name: self.name.to_owned(),
            source: self.source.to_owned(),
            examples: Some(self.examples.to_owned()),
            below: self.below.iter().copied().map(Layer::from).collect(),
        }
    }
}

impl From<Shared> for Layer {
    fn from(shared: Shared) -> Layer {
        Layer {
            name: shared.name.to_owned(),
            source: shared.source.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::Examples;
    use crate::fixtures::toolbox;
    use crate::{CallRequest, LoadOptions, Outcome, PolicySet};
    use forerun_types::{Action, Source, StepIndex, Touch, fold};
    use std::collections::BTreeSet;
    use std::fmt::Write;
    use std::path::PathBuf;

    /// Set this to write the generated part of the sets' README.md anew.
    const BLESS: &str = "FORERUN_BLESS";
    const BEGIN: &str = "<!-- the examples, generated from examples.toml -->\n";

    fn examples(ready: &Ready) -> Examples {
        Examples::parse(ready.examples).unwrap()
    }

    fn table(examples: &Examples) -> String {
        let mut text = String::from("| | by | asked | decision |\n|---|---|---|---|\n");
        for example in &examples.examples {
            let (say, who, asked) = (&example.say, example.who(), example.asked());
            let policy = example.policy.iter().map(|id| format!(" (`{id}`)"));
            let (expect, policy) = (example.expect, policy.collect::<String>());
            let _ = writeln!(text, "| {say} | {who} | {asked} | **{expect}**{policy} |");
        }
        text
    }

    /// The ids of policies, in order.
    fn ids(source: &str) -> impl Iterator<Item = &str> {
        let lines = source
            .lines()
            .filter_map(|line| line.strip_prefix("@id(\""));
        lines.map(|line| line.trim_end_matches("\")"))
    }

    #[test]
    fn the_ready_sets_load_and_their_examples_hold() {
        for ready in SETS {
            let set = PolicySet::ready(ready.name, &toolbox()).unwrap();
            assert_eq!(set.name(), ready.name);
            let examples = examples(ready).examples;
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
        let mut shared_shown = BTreeSet::new();
        for ready in SETS {
            let examples = examples(ready).examples;
            let shows = |id: &str| {
                let mut examples = examples.iter();
                examples.any(|example| example.policy.as_deref() == Some(id))
            };
            for id in ids(ready.source) {
                // Rules do not say which permit it was that let a touch pass.
                let permits_touches = id.starts_with("read-") || id.starts_with("write-");
                assert!(shows(id) || permits_touches, "{}: {id}", ready.name);
            }
            let shared = ids(PROTECTED.source).chain(ids(SECRETS.source));
            shared_shown.extend(shared.filter(|id| shows(id)));
        }
        let shared = ids(PROTECTED.source).chain(ids(SECRETS.source));
        assert_eq!(shared_shown, shared.collect());
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
            let current = format!("{written}{BEGIN}{}", table(&examples(ready)));
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
        let failures = |examples: &str| {
            let definition = Definition {
                examples: Some(examples.to_owned()),
                ..SETS[0].definition()
            };
            match definition.load(&toolbox(), &LoadOptions::default()) {
                Err(PolicyError::Examples { failures, .. }) => failures.join("\n"),
                other => panic!("{other:?}"),
            }
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
            "find the policy set \"workspace\"; there is workspace-write, read-only, coding, network-allow-list, locked-down"
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
            let options = LoadOptions {
                unprotected,
                ..LoadOptions::default()
            };
            PolicySet::ready_with("workspace-write", &toolbox(), &options)
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
            read_sensitive: false,
        });
        assert_eq!(
            (decision.outcome, decision.code),
            (Outcome::Deny, "policy_unknown_tool")
        );
    }

    #[test]
    fn what_is_protected_is_so_under_every_set() {
        let all = "@id(\"all\") permit (principal, action, resource);";
        let own = PolicySet::load("mine", all, &toolbox()).unwrap();
        let ready = SETS
            .iter()
            .map(|ready| PolicySet::ready(ready.name, &toolbox()).unwrap());
        for set in ready.chain([own]) {
            for (source, path) in [
                (Source::Target, "/workspace/.git/hooks/pre-commit"),
                (Source::User, "/workspace/.bashrc"),
                (Source::Approximation, "/workspace/.forerun/policy.cedar"),
            ] {
                let rules = set.path_rules(source, false);
                let decided = rules.decide(Touch::Write, path, &fold(path));
                assert!(decided.is_err(), "{} {path}", set.name());
            }
        }
    }

    #[test]
    fn a_layer_narrows_a_set_and_can_do_nothing_else() {
        let load = |source: &str| {
            let project = Layer {
                name: ".forerun/policy.cedar".to_owned(),
                source: source.to_owned(),
            };
            let options = LoadOptions {
                narrowing: vec![project],
                ..LoadOptions::default()
            };
            PolicySet::ready_with("coding", &toolbox(), &options)
        };
        let narrow = load(
            "@id(\"no-docs\") @reason(\"they are generated\")\n\
             forbid (principal, action == Action::\"write\", resource)\n\
             when { resource in Path::\"/workspace/docs\" };",
        )
        .unwrap();
        let path = "/workspace/docs/a.md";
        let decided = narrow
            .path_rules(Source::Target, false)
            .decide(Touch::Write, path, path);
        assert_eq!(decided.unwrap_err().policy, "no-docs");
        let plain = PolicySet::ready("coding", &toolbox()).unwrap();
        assert_ne!(plain.digest(), narrow.digest());

        let large = "// ".repeat(100_000);
        let twice = "@id(\"licences\") forbid (principal, action, resource);";
        let many: String = (0..1_001)
            .map(|id| {
                format!(
                    "@id(\"p{id}\") forbid (principal, action == Action::\"commit\", resource);\n"
                )
            })
            .collect();
        for (source, message) in [
            (
                "@id(\"x\")\npermit (principal, action, resource);",
                "can only forbid",
            ),
            (
                "@id(\"protected-git\") forbid (principal, action, resource);",
                "protected has",
            ),
            ("forbid", "unexpected"),
            (large.as_str(), "bytes"),
            (many.as_str(), "more than 1000 policies"),
        ] {
            let error = load(source).unwrap_err();
            let PolicyError::Invalid { set, problems } = &error else {
                panic!("{error:?}");
            };
            assert_eq!(set, ".forerun/policy.cedar");
            let said = &problems[0].message;
            assert!(said.contains(message), "{said} is not about {message}");
        }
        // The set's own policy is the one that is told: it was read last.
        let PolicyError::Invalid { set, problems } = load(twice).unwrap_err() else {
            panic!("no problem of the source");
        };
        assert_eq!(set, "coding");
        assert!(problems[0].message.contains(".forerun/policy.cedar has"));
    }
}
