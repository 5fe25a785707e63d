//! Reads scripts. Every error says the file, the line, the column, and what to do.

use super::agent::terminate;
use super::{Mistakes, Script, ScriptedStep, Settings};
use forerun_types::{Action, json};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;

/// Most bytes of a script; stops a wrong path from filling memory.
const BYTES_MAX: u64 = 4 << 20;
/// Most steps of a script: more than any session takes.
const STEPS_MAX: usize = 100_000;
/// Longest latency of one step, in milliseconds: a day. Stops a typo from hanging a run.
const LATENCY_MS_MAX: u64 = 86_400_000;

/// A script that can not be used.
#[derive(Debug)]
pub struct ScriptError {
    name: String,
    position: Option<(usize, usize)>,
    problem: String,
    hint: Option<String>,
    source: Option<std::io::Error>,
}

impl ScriptError {
    /// What the script is called: its path if it was loaded.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Line and column, from 1, if the problem has a place.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.position
    }

    /// What is wrong.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// What can be done about it, if something is known to help.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    fn hinted(mut self, hint: impl Into<String>) -> ScriptError {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for ScriptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    task: Option<String>,
    answer: Option<String>,
    #[serde(default)]
    agent: AgentTable,
    #[serde(default)]
    approximation: AgentTable,
    #[serde(default)]
    target: AgentTable,
    #[serde(default)]
    step: Vec<Spanned<StepTable>>,
    #[serde(default)]
    mistake: Vec<Spanned<MistakeTable>>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentTable {
    name: Option<String>,
    latency_ms: Option<Spanned<u64>>,
    mistakes: Option<Spanned<toml::Value>>,
    seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepTable {
    tool: Spanned<String>,
    arguments: Option<Spanned<toml::Value>>,
    latency_ms: Option<Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MistakeTable {
    step: Spanned<usize>,
    tool: Spanned<String>,
    arguments: Option<Spanned<toml::Value>>,
}

/// The text of a script's file.
pub(super) fn file(path: &Path, name: &str) -> Result<String, ScriptError> {
    let error = |problem: &str, source| ScriptError {
        name: name.to_owned(),
        position: None,
        problem: problem.to_owned(),
        hint: None,
        source,
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|source| error(&format!("could not be read: {source}"), Some(source)))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(error("is longer than a script may be (4 MiB)", None));
    }
    String::from_utf8(bytes).map_err(|_| error("is not UTF-8", None))
}

/// The script in a text.
pub(super) fn script(text: &str, name: &str) -> Result<Script, ScriptError> {
    let reader = Reader { text, name };
    let file: File = toml::from_str(text).map_err(|error| reader.toml(&error))?;
    if file.step.is_empty() {
        return Err(reader
            .whole("has no steps")
            .hinted("add one: [[step]] with tool = \"…\" and arguments = { … }"));
    }
    if file.step.len() > STEPS_MAX {
        return Err(reader.whole(format!(
            "has {} steps; at most {STEPS_MAX} are possible",
            file.step.len()
        )));
    }
    let steps = file
        .step
        .into_iter()
        .map(|step| reader.step(step.into_inner()))
        .collect::<Result<Vec<_>, _>>()?;
    let mistakes = reader.mistakes(file.mistake, &steps)?;
    let end = terminate(file.answer.as_deref().unwrap_or("done"));
    Ok(Script {
        name: name.to_owned(),
        task: file.task,
        steps,
        mistakes,
        end,
        approximation: reader.settings(&file.approximation, &file.agent, Mistakes::Listed)?,
        target: reader.settings(&file.target, &file.agent, Mistakes::None)?,
    })
}

struct Reader<'a> {
    text: &'a str,
    name: &'a str,
}

impl Reader<'_> {
    fn step(&self, step: StepTable) -> Result<ScriptedStep, ScriptError> {
        let action = self.action(&step.tool, step.arguments.as_ref())?;
        let (approximation_latency, target_latency) = match step.latency_ms {
            None => (None, None),
            Some(latency) => self.latencies(&latency)?,
        };
        Ok(ScriptedStep {
            action,
            approximation_latency,
            target_latency,
        })
    }

    /// `latency_ms = 100` for both roles, or `{ approximation = 100, target = 400 }`.
    fn latencies(
        &self,
        latency: &Spanned<toml::Value>,
    ) -> Result<(Option<Duration>, Option<Duration>), ScriptError> {
        let span = latency.span();
        let number = |value: &toml::Value| match value {
            toml::Value::Integer(ms) => self.latency(*ms, span.clone()).map(Some),
            _ => Err(self.at(span.clone(), "latency_ms is a number of milliseconds")),
        };
        match latency.get_ref() {
            toml::Value::Table(table) => {
                let unknown = table
                    .keys()
                    .find(|key| !matches!(key.as_str(), "approximation" | "target"));
                if let Some(key) = unknown {
                    return Err(self
                        .at(span.clone(), format!("unknown role `{key}`"))
                        .hinted("the roles are approximation and target"));
                }
                let of = |role| table.get(role).map_or(Ok(None), number);
                Ok((of("approximation")?, of("target")?))
            }
            value => number(value).map(|both| (both, both)),
        }
    }

    fn latency(&self, ms: i64, span: Range<usize>) -> Result<Duration, ScriptError> {
        u64::try_from(ms)
            .ok()
            .filter(|ms| *ms <= LATENCY_MS_MAX)
            .map(Duration::from_millis)
            .ok_or_else(|| {
                self.at(
                    span,
                    format!("latency_ms is 0 to {LATENCY_MS_MAX}, not {ms}"),
                )
            })
    }

    fn mistakes(
        &self,
        mistakes: Vec<Spanned<MistakeTable>>,
        steps: &[ScriptedStep],
    ) -> Result<BTreeMap<usize, Action>, ScriptError> {
        let mut listed = BTreeMap::new();
        for mistake in mistakes {
            let mistake = mistake.into_inner();
            let (index, span) = (*mistake.step.get_ref(), mistake.step.span());
            let Some(step) = steps.get(index) else {
                let last = steps.len() - 1;
                return Err(self
                    .at(span, format!("there is no step {index}"))
                    .hinted(format!("steps count from 0; the last is {last}")));
            };
            let action = self.action(&mistake.tool, mistake.arguments.as_ref())?;
            if action.key() == step.action.key() {
                return Err(self
                    .at(
                        span,
                        format!("the mistake is what is right at step {index}"),
                    )
                    .hinted("give another tool or other arguments"));
            }
            if listed.insert(index, action).is_some() {
                return Err(self.at(span, format!("step {index} has a mistake already")));
            }
        }
        Ok(listed)
    }

    fn settings(
        &self,
        own: &AgentTable,
        both: &AgentTable,
        mistakes: Mistakes,
    ) -> Result<Settings, ScriptError> {
        let latency = match own.latency_ms.as_ref().or(both.latency_ms.as_ref()) {
            None => Duration::ZERO,
            Some(ms) => {
                self.latency(i64::try_from(*ms.get_ref()).unwrap_or(i64::MAX), ms.span())?
            }
        };
        Ok(Settings {
            name: own
                .name
                .clone()
                .or_else(|| both.name.clone())
                .unwrap_or_else(|| "script".to_owned()),
            latency,
            mistakes: match &own.mistakes {
                None => mistakes,
                Some(mistakes) => self.when(mistakes)?,
            },
            seed: own.seed.or(both.seed).unwrap_or(0),
        })
    }

    fn when(&self, mistakes: &Spanned<toml::Value>) -> Result<Mistakes, ScriptError> {
        let probability = match mistakes.get_ref() {
            toml::Value::String(text) => match text.as_str() {
                "none" => return Ok(Mistakes::None),
                "listed" => return Ok(Mistakes::Listed),
                "all" => return Ok(Mistakes::All),
                _ => None,
            },
            toml::Value::Float(probability) => Some(*probability),
            toml::Value::Integer(0) => Some(0.0),
            toml::Value::Integer(1) => Some(1.0),
            _ => None,
        };
        probability
            .filter(|probability| (0.0..=1.0).contains(probability))
            .map(Mistakes::Probability)
            .ok_or_else(|| {
                self.at(
                    mistakes.span(),
                    format!("mistakes can not be {}", mistakes.get_ref()),
                )
                .hinted("it is \"none\", \"listed\", \"all\", or a probability from 0 to 1")
            })
    }

    /// An action whose arguments are a table, or JSON text.
    fn action(
        &self,
        tool: &Spanned<String>,
        arguments: Option<&Spanned<toml::Value>>,
    ) -> Result<Action, ScriptError> {
        let text = match arguments {
            None => "{}".to_owned(),
            Some(arguments) => match arguments.get_ref() {
                toml::Value::String(text) => text.clone(),
                value @ toml::Value::Table(_) => self.json(value, &arguments.span())?.to_string(),
                value => {
                    let found = value.type_str();
                    return Err(self
                        .at(
                            arguments.span(),
                            format!("arguments are a table or JSON text, not {found}"),
                        )
                        .hinted("write arguments = { path = \"…\" }"));
                }
            },
        };
        Action::parse(tool.get_ref(), &text).map_err(|error| match error {
            json::JsonError::ToolName { .. } => self.at(tool.span(), error),
            _ => {
                let span = arguments.map_or_else(|| tool.span(), Spanned::span);
                self.at(span, format!("the arguments are no JSON: {error}"))
                    .hinted("a table is easier to get right: arguments = { path = \"…\" }")
            }
        })
    }

    fn json(
        &self,
        value: &toml::Value,
        span: &Range<usize>,
    ) -> Result<serde_json::Value, ScriptError> {
        Ok(match value {
            toml::Value::String(text) => text.as_str().into(),
            toml::Value::Integer(number) => (*number).into(),
            toml::Value::Float(number) => serde_json::Number::from_f64(*number)
                .ok_or_else(|| self.at(span.clone(), format!("{number} is no JSON number")))?
                .into(),
            toml::Value::Boolean(value) => (*value).into(),
            toml::Value::Datetime(time) => time.to_string().into(),
            toml::Value::Array(items) => items
                .iter()
                .map(|item| self.json(item, span))
                .collect::<Result<Vec<_>, _>>()?
                .into(),
            toml::Value::Table(members) => members
                .iter()
                .map(|(key, member)| Ok((key.clone(), self.json(member, span)?)))
                .collect::<Result<serde_json::Map<_, _>, ScriptError>>()?
                .into(),
        })
    }

    fn toml(&self, error: &toml::de::Error) -> ScriptError {
        let error_at = |problem: &str| match error.span() {
            Some(span) => self.at(span, problem),
            None => self.whole(problem),
        };
        // The parser lists what it would have taken after the first sentence.
        match error.message().split_once(", expected ") {
            Some((problem, expected)) => error_at(problem).hinted(format!("expected {expected}")),
            None => error_at(error.message()),
        }
    }

    fn at(&self, span: Range<usize>, problem: impl fmt::Display) -> ScriptError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .map_or(0, |line| line.chars().count())
            + 1;
        ScriptError {
            position: Some((line, column)),
            ..self.whole(problem)
        }
    }

    fn whole(&self, problem: impl fmt::Display) -> ScriptError {
        ScriptError {
            name: self.name.to_owned(),
            position: None,
            problem: problem.to_string(),
            hint: None,
            source: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerun_types::Role;

    const STEP: &str = "[[step]]\ntool = \"a\"\n";

    /// The error of a script, and its hint.
    fn error(text: &str) -> (String, String) {
        let error = script(text, "demo.toml").expect_err(text);
        let hint = error.hint().unwrap_or_default().to_owned();
        (error.to_string(), hint)
    }

    #[test]
    fn a_syntax_error_names_file_line_and_column() {
        let (message, _) = error("[[step]]\ntool = \"a\"\narguments = {");
        assert!(message.starts_with("demo.toml:3:"), "{message}");
        let (message, _) = error("[[step]]\ntool \"a\"\n");
        assert!(message.starts_with("demo.toml:2:6: "), "{message}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_those_that_there_are() {
        let (message, hint) = error("[[step]]\ntool = \"a\"\nlatency = 3\n");
        assert_eq!(message, "demo.toml:3:1: unknown field `latency`");
        assert!(hint.contains("latency_ms"), "{hint}");
    }

    #[test]
    fn what_the_parser_can_not_see_has_a_place_too() {
        let cases = [
            ("[[step]]\ntool = \"\"\n", "demo.toml:2:8: a tool name has"),
            (
                "[[step]]\ntool = \"a\"\narguments = '{\"x\": }'\n",
                "demo.toml:3:13: the arguments are no JSON",
            ),
            (
                "[[step]]\ntool = \"a\"\narguments = { x = nan }\n",
                "demo.toml:3:13: NaN is no JSON number",
            ),
            (
                "[[step]]\ntool = \"a\"\narguments = 3\n",
                "demo.toml:3:13: arguments are a table or JSON text, not integer",
            ),
            (
                "[[step]]\ntool = \"a\"\nlatency_ms = -1\n",
                "demo.toml:3:14: latency_ms is 0 to 86400000, not -1",
            ),
            (
                "[[step]]\ntool = \"a\"\nlatency_ms = { t = 1 }\n",
                "demo.toml:3:14: unknown role `t`",
            ),
            (
                "[[step]]\ntool = \"a\"\n[[mistake]]\nstep = 1\ntool = \"b\"\n",
                "demo.toml:4:8: there is no step 1",
            ),
            (
                "[[step]]\ntool = \"a\"\n[[mistake]]\nstep = 0\ntool = \"a\"\n",
                "demo.toml:4:8: the mistake is what is right at step 0",
            ),
            (
                "[approximation]\nmistakes = 1.5\n[[step]]\ntool = \"a\"\n",
                "demo.toml:2:12: mistakes can not be 1.5",
            ),
        ];
        for (text, expected) in cases {
            let (message, _) = error(text);
            assert!(message.starts_with(expected), "{message}\n{expected}");
        }
    }

    #[test]
    fn a_second_mistake_at_the_same_step_is_refused() {
        let mistake = "[[mistake]]\nstep = 0\ntool = \"b\"\n";
        let (message, _) = error(&format!("{STEP}{mistake}{mistake}"));
        assert_eq!(message, "demo.toml:7:8: step 0 has a mistake already");
    }

    #[test]
    fn a_script_without_steps_says_how_to_add_one() {
        let (message, hint) = error("answer = \"x\"");
        assert_eq!(message, "demo.toml: has no steps");
        assert!(hint.contains("[[step]]"), "{hint}");
    }

    #[test]
    fn a_file_that_can_not_be_read_is_named() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let missing = dir.path().join("missing.toml");
        let error = Script::load(&missing).expect_err("missing");
        assert!(
            error
                .to_string()
                .starts_with(&missing.display().to_string()),
            "{error}"
        );
        let binary = dir.path().join("binary.toml");
        std::fs::write(&binary, [0xff, 0xfe]).expect("file");
        let error = Script::load(&binary).expect_err("binary");
        assert!(error.to_string().ends_with("is not UTF-8"), "{error}");
    }

    #[test]
    fn a_table_and_json_text_are_the_same_arguments() {
        let text = "[[step]]\ntool = \"a\"\narguments = { n = 1, deep = { list = [true, 1.5, \"x\"] } }\n\
                    [[step]]\ntool = \"a\"\narguments = '{\"deep\": {\"list\": [true, 1.5, \"x\"]}, \"n\": 1.0}'\n";
        let script = script(text, "test").expect("valid");
        let actions: Vec<_> = script.actions().collect();
        assert_eq!(actions[0], actions[1]);
    }

    #[test]
    fn what_a_role_does_not_say_the_agent_says_for_both() {
        let text = format!(
            "task = \"t\"\n[agent]\nlatency_ms = 5\nname = \"both\"\n[target]\nlatency_ms = 7\n{STEP}"
        );
        let script = script(&text, "test").expect("valid");
        assert_eq!(script.task(), Some("t"));
        let of = |role| script.settings(role);
        assert_eq!(of(Role::Approximation).latency, Duration::from_millis(5));
        assert_eq!(of(Role::Target).latency, Duration::from_millis(7));
        assert_eq!(of(Role::Target).name, "both");
        assert_eq!(of(Role::Approximation).mistakes, Mistakes::Listed);
        assert_eq!(of(Role::Target).mistakes, Mistakes::None);
        let slow = script.with_latency(Role::Target, Duration::from_secs(1));
        assert_eq!(slow.agent(Role::Target).latency(0), Duration::from_secs(1));
    }
}
