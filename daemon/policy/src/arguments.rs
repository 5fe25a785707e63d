//! An action's arguments as Cedar sees them.

use crate::fact::{Fact, Fields};
use crate::schema::{Field, Kind, LENGTH_SUFFIX};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Longest text that policies see; what is longer is cut, and its whole length is
/// beside it. Stops an agent from making decisions slow with long arguments.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 10;
/// Most items of a list that policies see. As above; `args_partial` says so.
pub(crate) const ITEMS_MAX: usize = 256;

/// The arguments of one call.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    /// The record `args`.
    pub(crate) record: Fact<'a>,
    /// Whether the call has an argument that is not in it, or not whole but for a text.
    pub(crate) partial: bool,
}

/// An argument that is not of the type that the tool's schema says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the argument {at} {what}")]
pub(crate) struct ArgumentError {
    at: String,
    what: &'static str,
}

/// Converts a call's arguments.
pub(crate) fn convert<'a>(
    kind: &'a Kind,
    arguments: &'a Value,
) -> Result<Arguments<'a>, ArgumentError> {
    let mut partial = false;
    let record = value(kind, arguments, "arguments", &mut partial)?;
    Ok(Arguments { record, partial })
}

fn value<'a>(
    kind: &'a Kind,
    given: &'a Value,
    at: &str,
    partial: &mut bool,
) -> Result<Fact<'a>, ArgumentError> {
    let wrong = |what| ArgumentError {
        at: at.to_owned(),
        what,
    };
    match (kind, given) {
        (Kind::Text, Value::String(text)) => Ok(Fact::Text(cut(text).into())),
        (Kind::Text, _) => Err(wrong("is not a text")),
        (Kind::Whole, number) => number
            .as_i64()
            .map(Fact::Whole)
            .ok_or_else(|| wrong("is not a whole number of 64 bits")),
        (Kind::Flag, Value::Bool(flag)) => Ok(Fact::Flag(*flag)),
        (Kind::Flag, _) => Err(wrong("is not true or false")),
        (Kind::Set(items), Value::Array(given)) => {
            *partial |= given.len() > ITEMS_MAX;
            let items = given
                .iter()
                .take(ITEMS_MAX)
                .enumerate()
                .map(|(index, item)| value(items, item, &format!("{at}[{index}]"), partial));
            Ok(Fact::Set(items.collect::<Result<_, _>>()?))
        }
        (Kind::Set(_), _) => Err(wrong("is not a list")),
        (Kind::Record(fields), Value::Object(members)) => record(fields, members, at, partial),
        (Kind::Record(_), _) => Err(wrong("is not an object")),
    }
}

fn record<'a>(
    fields: &'a BTreeMap<String, Field>,
    members: &'a Map<String, Value>,
    at: &str,
    partial: &mut bool,
) -> Result<Fact<'a>, ArgumentError> {
    let mut pairs: Fields<'a> = Vec::with_capacity(2 * fields.len());
    for (name, field) in fields {
        let at = format!("{at}.{name}");
        match members.get(name) {
            None | Some(Value::Null) if field.required => {
                return Err(ArgumentError {
                    at,
                    what: "is missing",
                });
            }
            None | Some(Value::Null) => {}
            Some(given) => {
                let fact = value(&field.kind, given, &at, partial)?;
                pairs.push((name.into(), fact));
                if let Value::String(text) = given {
                    let length = Fact::count(text.len() as u64);
                    pairs.push((format!("{name}{LENGTH_SUFFIX}").into(), length));
                }
            }
        }
    }
    *partial |= members.keys().any(|name| !fields.contains_key(name));
    Ok(Fact::Record(pairs))
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::tool;
    use crate::schema::ToolSchema;
    use serde_json::json;

    fn kind() -> Kind {
        let schema = json!({
            "type": "object",
            "required": ["path"],
            "properties": {
                "path": { "type": "string" },
                "limit": { "type": "integer" },
                "globs": { "type": "array", "items": { "type": "string" } },
                "ratio": { "type": "number" },
                "range": { "type": "object", "required": ["from"],
                           "properties": { "from": { "type": "integer" } } },
            },
        });
        let mut schema = ToolSchema::generate(&[tool("t", schema)]).unwrap();
        schema.arguments.remove("t").unwrap()
    }

    fn shown(arguments: Value) -> (String, bool) {
        let kind = kind();
        let arguments = convert(&kind, &arguments).unwrap();
        (format!("{:?}", arguments.record), arguments.partial)
    }

    fn error(arguments: Value) -> String {
        convert(&kind(), &arguments).err().unwrap().to_string()
    }

    #[test]
    fn what_has_a_type_is_shown_whole() {
        let (_, partial) =
            shown(json!({ "path": "a", "limit": 3, "globs": ["*.rs"], "range": { "from": 1 } }));
        assert!(!partial);
        assert!(!shown(json!({ "path": "a", "limit": null })).1);
    }

    #[test]
    fn what_has_no_type_makes_the_arguments_partial() {
        assert!(shown(json!({ "path": "a", "ratio": 0.5 })).1);
        assert!(shown(json!({ "path": "a", "unheard": 1 })).1);
        assert!(shown(json!({ "path": "a", "range": { "from": 1, "to": 2 } })).1);
        assert!(shown(json!({ "path": "a", "globs": vec!["g"; ITEMS_MAX + 1] })).1);
        assert!(!shown(json!({ "path": "a", "globs": vec!["g"; ITEMS_MAX] })).1);
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_its_length_is_kept() {
        let text = "é".repeat(TEXT_BYTES_MAX);
        assert_eq!(cut(&text).len(), TEXT_BYTES_MAX);
        assert_eq!(cut(&format!("x{text}")).len(), TEXT_BYTES_MAX - 1);
        let (record, partial) = shown(json!({ "path": text }));
        assert!(
            record.contains(&(2 * TEXT_BYTES_MAX).to_string()),
            "{record}"
        );
        assert!(!partial);
    }

    #[test]
    fn arguments_of_another_type_name_their_place() {
        assert_eq!(error(json!({})), "the argument arguments.path is missing");
        assert_eq!(
            error(json!({ "path": 1 })),
            "the argument arguments.path is not a text"
        );
        assert_eq!(error(json!([])), "the argument arguments is not an object");
        assert!(error(json!({ "path": "a", "limit": 0.5 })).contains("limit"));
        assert!(error(json!({ "path": "a", "limit": 1e30 })).contains("64 bits"));
        assert!(error(json!({ "path": "a", "globs": ["a", 1] })).contains("globs[1]"));
        assert!(error(json!({ "path": "a", "range": {} })).contains("range.from is missing"));
    }
}
