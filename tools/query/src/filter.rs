//! Compiles a filter, runs it over values, and says where either went wrong.

use jaq_core::load::{Arena, Error as LoadError, File, Loader, span};
use jaq_core::{Compiler, Ctx, Vars, data, unwrap_valr};
use jaq_json::{Val, read};
use serde_json::Value;

/// Errors that are reported at once.
const ERRORS_MAX: usize = 3;

/// Results as lines and as values.
pub(crate) struct Found {
    pub(crate) lines: Vec<String>,
    pub(crate) values: Vec<Value>,
    pub(crate) truncated: bool,
}

/// Runs `code` over the values of `text`, which is called `shown` in messages.
///
/// # Errors
/// A sentence: what is wrong with the filter, the text or a value, and where.
pub(crate) fn run(
    code: &str,
    shown: &str,
    text: &str,
    slurp: bool,
    raw: bool,
    bytes_max: usize,
) -> Result<Found, String> {
    let arena = Arena::default();
    let defs = jaq_core::defs()
        .chain(jaq_std::defs())
        .chain(jaq_json::defs());
    let funs = jaq_core::funs()
        .chain(jaq_std::funs())
        .chain(jaq_json::funs());
    let modules = Loader::new(defs)
        .load(&arena, File { code, path: () })
        .map_err(|errors| {
            let errors = errors.into_iter().map(|(_, error)| error);
            invalid(code, errors.flat_map(|error| unloaded(code, error)))
        })?;
    let filter = Compiler::default()
        .with_funs(funs)
        .compile(modules)
        .map_err(|errors| {
            let errors = errors.into_iter().flat_map(|(_, errors)| errors);
            invalid(
                code,
                errors.map(|(name, undefined)| {
                    (
                        start(code, name),
                        format!("the {} {name} is not defined", undefined.as_str()),
                    )
                }),
            )
        })?;
    let mut values = Vec::new();
    for value in read::parse_many(text.as_bytes()) {
        values.push(value.map_err(|error| no_json(shown, text, &error.to_string()))?);
    }
    if slurp {
        values = vec![values.into_iter().collect()];
    }
    let several = values.len() > 1;
    let mut found = Found {
        lines: Vec::new(),
        values: Vec::new(),
        truncated: false,
    };
    let mut bytes = 0;
    for (index, value) in values.into_iter().enumerate() {
        let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
        for result in filter.id.run((context, value)).map(unwrap_valr) {
            let result = result.map_err(|error| {
                let which = if several {
                    format!("value {} of {shown}", index + 1)
                } else {
                    shown.to_owned()
                };
                format!("the filter failed on {which}: {error}")
            })?;
            let json = result.to_string();
            let value = serde_json::from_str(&json).unwrap_or(Value::String(json.clone()));
            let line = match &value {
                Value::String(text) if raw => text.clone(),
                _ => json,
            };
            bytes += line.len() + 1;
            if bytes > bytes_max {
                found.truncated = true;
                return Ok(found);
            }
            found.lines.push(line);
            found.values.push(value);
        }
    }
    Ok(found)
}

fn unloaded(code: &str, error: LoadError<&str>) -> Vec<(usize, String)> {
    match error {
        LoadError::Io(modules) => modules
            .into_iter()
            .map(|(path, _)| (start(code, path), "there are no modules".to_owned()))
            .collect(),
        LoadError::Lex(errors) => errors
            .into_iter()
            .map(|(expected, at)| (start(code, at), format!("expected {}", expected.as_str())))
            .collect(),
        LoadError::Parse(errors) => errors
            .into_iter()
            .map(|(expected, at)| (start(code, at), format!("expected {}", expected.as_str())))
            .collect(),
    }
}

fn start(code: &str, part: &str) -> usize {
    span(code, part).start.min(code.len())
}

/// The errors of a filter, each with the column and what follows there.
fn invalid(code: &str, errors: impl Iterator<Item = (usize, String)>) -> String {
    let errors: Vec<String> = errors
        .take(ERRORS_MAX)
        .map(|(at, message)| {
            let (line, column) = position(code, at);
            let rest: String = code
                .get(at..)
                .unwrap_or_default()
                .chars()
                .take(20)
                .collect();
            let place = if rest.is_empty() {
                "at its end".to_owned()
            } else if code.contains('\n') {
                format!("at line {line}, column {column} ({rest:?})")
            } else {
                format!("at column {column} ({rest:?})")
            };
            format!("{message} {place}")
        })
        .collect();
    format!("the filter is not valid: {}", errors.join("; "))
}

/// What is wrong with a text that is no JSON, with the line of it.
fn no_json(shown: &str, text: &str, error: &str) -> String {
    // Counted again by a parser that knows lines.
    let precise = serde_json::Deserializer::from_str(text)
        .into_iter::<serde::de::IgnoredAny>()
        .find_map(Result::err)
        .map(|error| error.to_string());
    format!(
        "{shown} is no JSON: {}",
        precise.unwrap_or_else(|| error.to_owned())
    )
}

/// Line and column of a byte offset, from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    (line, column)
}
