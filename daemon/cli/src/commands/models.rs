//! Which models a run has: what the command line says, then the `[models]` table of the
//! configuration, then what the keys in the environment allow.
//!
//! A model that costs money is never added beside a script that was named.

use super::agent::Spec;
use super::daemon::default_config_file;
use crate::args::RunArgs;
use crate::failure::{Exit, Failure};
use forerun_sdk::model::{CallOptions, ModelOptions, Price, Protocol, isp_setting};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::ErrorKind;

/// Most undecided steps in a setting of the paper (its k).
const ISP_DEPTH: u32 = 4;

/// The `[models]` table.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Models {
    /// The approximation agent of runs that name none.
    approximation: Option<String>,
    /// The target agent of runs that name none.
    target: Option<String>,
    /// How models are called.
    call: CallOptions,
    /// What they cost.
    prices: BTreeMap<String, Price>,
}

/// The rest of the file is the daemon's.
#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    models: Models,
}

/// The agents of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) approximation: Option<String>,
    pub(super) target: String,
    pub(super) depth: Option<u32>,
    /// Why these, if nobody named them on the command line.
    pub(super) chosen: Option<String>,
}

impl Models {
    /// From the configuration of this user; the defaults if there is none.
    pub(super) fn load() -> Result<Models, Failure> {
        let Some(path) = default_config_file() else {
            return Ok(Models::default());
        };
        let invalid = |problem: &dyn std::fmt::Display| {
            let message = format!("{}: {problem}", path.display());
            Failure::new(Exit::Data, "CONFIG_INVALID", message.trim_end())
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Models::parse(&text).map_err(|error| invalid(&error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Models::default()),
            Err(error) => Err(invalid(&error)),
        }
    }

    fn parse(text: &str) -> Result<Models, toml::de::Error> {
        toml::from_str::<File>(text).map(|file| file.models)
    }

    /// How models are called, and what they cost.
    pub(super) fn options(self) -> ModelOptions {
        ModelOptions {
            call: self.call,
            prices: self.prices,
        }
    }

    /// The agents of a run of a task.
    pub(super) fn pair(
        &self,
        args: &RunArgs,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Pair, Failure> {
        if let Some(name) = &args.setting {
            let (approximation, target) = isp_setting(name).ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    "SETTING_UNKNOWN",
                    format!("{name:?} is no setting"),
                )
                .hint("isp-1, isp-2, isp-3 or isp-4")
            })?;
            return Ok(Pair {
                chosen: Some(format!("setting {name}")),
                approximation: Some(approximation.to_string()),
                target: target.to_string(),
                depth: args.depth.or(Some(ISP_DEPTH)),
            });
        }
        let named = [&args.approximation, &args.target];
        let scripted = named
            .iter()
            .copied()
            .flatten()
            .any(|spec| Spec::is_script(spec));
        let with_key = Protocol::ALL.into_iter().find(|protocol| {
            variable(protocol.key_variable()).is_some_and(|key| !key.trim().is_empty())
        });
        let defaults = with_key.filter(|_| !scripted).map(default_models);
        let target = args
            .target
            .clone()
            .or_else(|| self.target.clone())
            .or_else(|| Some(defaults?.1.to_owned()))
            .ok_or_else(|| missing("target", "a plan's verdicts are the target's"))?;
        let approximation = match args.depth {
            Some(0) => None,
            _ => Some(
                args.approximation
                    .clone()
                    .or_else(|| self.approximation.clone())
                    .or_else(|| Some(defaults?.0.to_owned()))
                    .ok_or_else(|| {
                        missing("approximation", "--depth 0 runs without speculation")
                    })?,
            ),
        };
        let by_key = with_key.map_or("", Protocol::key_variable);
        let chosen = match (&args.target, &args.approximation, args.depth) {
            (Some(_), Some(_), _) | (Some(_), None, Some(0)) => None,
            _ if self.target.is_some() || self.approximation.is_some() => {
                Some("config.toml".to_owned())
            }
            _ => Some(format!("{by_key} is set")),
        };
        Ok(Pair {
            approximation,
            target,
            depth: args.depth,
            chosen,
        })
    }
}

/// The models of a run that names none: a small one of the provider, and a large one that
/// every account can stream. `[models]` in the configuration names others.
fn default_models(protocol: Protocol) -> (&'static str, &'static str) {
    match protocol {
        Protocol::OpenAi => ("openai:gpt-4.1-mini", "openai:gpt-4.1"),
        Protocol::Anthropic => ("anthropic:claude-haiku-4-5", "anthropic:claude-sonnet-4-5"),
    }
}

fn missing(role: &str, also: &str) -> Failure {
    let variables = Protocol::ALL.map(Protocol::key_variable).join(" or ");
    let message = format!("no {role} agent is given");
    Failure::new(Exit::Usage, "ARGUMENT_MISSING", message).hint(format!(
        "export {variables} to have a model chosen (none is beside a script), or give --{role} \
         openai:MODEL@BASE_URL for a server of your own, or --{role} script:FILE; {also}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser as _;

    fn pair(config: &str, keys: &[&str], arguments: &[&str]) -> Result<Pair, Failure> {
        let line = ["forerun", "run"]
            .iter()
            .chain(arguments)
            .chain(&["the task"]);
        let Command::Run(args) = Cli::try_parse_from(line).expect("valid").command else {
            panic!("a run");
        };
        let models = Models::parse(config).expect("valid");
        models.pair(&args, |name| keys.contains(&name).then(|| "key".to_owned()))
    }

    fn agents(config: &str, keys: &[&str], arguments: &[&str]) -> (String, String) {
        let pair = pair(config, keys, arguments).expect("a pair");
        (pair.approximation.unwrap_or_default(), pair.target)
    }

    fn two(approximation: &str, target: &str) -> (String, String) {
        (approximation.to_owned(), target.to_owned())
    }

    #[test]
    fn a_key_is_enough() {
        let openai = two("openai:gpt-4.1-mini", "openai:gpt-4.1");
        let anthropic = two("anthropic:claude-haiku-4-5", "anthropic:claude-sonnet-4-5");
        assert_eq!(agents("", &["OPENAI_API_KEY"], &[]), openai);
        assert_eq!(agents("", &["ANTHROPIC_API_KEY"], &[]), anthropic);
        assert_eq!(
            agents("", &["ANTHROPIC_API_KEY", "OPENAI_API_KEY"], &[]),
            openai
        );
        let chosen = pair("", &["OPENAI_API_KEY"], &[]).expect("a pair").chosen;
        assert_eq!(chosen.as_deref(), Some("OPENAI_API_KEY is set"));
    }

    #[test]
    fn what_is_named_wins_over_the_configuration_and_that_over_a_key() {
        let config = "depth = 2\n[models]\napproximation = \"openai:a\"\ntarget = \"openai:t\"\n";
        let key = ["OPENAI_API_KEY"];
        assert_eq!(agents(config, &key, &[]), two("openai:a", "openai:t"));
        let line = ["--target", "openai:x"];
        assert_eq!(agents(config, &key, &line), two("openai:a", "openai:x"));
        assert_eq!(
            agents("", &key, &line),
            two("openai:gpt-4.1-mini", "openai:x")
        );
        let line = ["--target", "openai:x", "--depth", "0"];
        assert_eq!(agents(config, &key, &line), two("", "openai:x"));
    }

    #[test]
    fn without_a_key_the_hint_names_the_variables_and_a_script() {
        let failure = pair("", &[], &[]).expect_err("no agent");
        assert_eq!(failure.code, "ARGUMENT_MISSING");
        let hint = failure.hint.expect("a hint");
        for word in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "script:FILE"] {
            assert!(hint.contains(word), "{hint}");
        }
    }

    #[test]
    fn no_model_is_added_beside_a_script() {
        let failure = pair("", &["OPENAI_API_KEY"], &["--target", "script:a.toml"]);
        let failure = failure.expect_err("no approximation");
        assert_eq!(failure.message, "no approximation agent is given");
    }

    #[test]
    fn a_setting_names_both_and_the_depth() {
        let pair = pair("", &[], &["--setting", "isp-2"]).expect("a pair");
        assert_eq!(pair.target, "openai+cot:gpt-4-turbo");
        assert_eq!(pair.depth, Some(4));
        let failure = self::pair("", &[], &["--setting", "isp-9"]).expect_err("no setting");
        assert_eq!(failure.code, "SETTING_UNKNOWN");
    }

    #[test]
    fn an_unknown_key_of_the_table_is_named_with_its_line() {
        let error = Models::parse("depth = 1\n[models.call]\nidle = 1\n").expect_err("a typo");
        let error = error.to_string();
        assert!(
            error.contains("line 3") && error.contains("idle_ms"),
            "{error}"
        );
    }
}
