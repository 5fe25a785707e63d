//! The schema of a toolbox: the static part, and one action for each tool, with the
//! types of its arguments generated from its JSON Schema.

use crate::PolicyError;
use crate::fact::{Fact, Fields};
use cedar_policy::{Entities, Entity, Schema};
use forerun_types::{Source, Speculation, ToolDescription};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

use crate::paths::{WORKSPACE, uid};

/// The part that does not depend on the tools.
pub(crate) const STATIC: &str = include_str!("../../../policies/schema.cedarschema");
/// What the companion of a text argument is called: its name and this.
pub(crate) const LENGTH_SUFFIX: &str = "_length";
/// Longest name of a tool; the same limit as for actions.
const TOOL_NAME_BYTES_MAX: usize = 128;
/// Deepest nesting of argument records that is shown to policies; stops a hostile
/// JSON Schema from overflowing the stack. What is deeper is left out.
const RECORD_DEPTH_MAX: usize = 8;

/// How Cedar sees an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `String`, with a companion for its length.
    Text,
    /// `Long`.
    Whole,
    /// `Bool`.
    Flag,
    /// `Set` of texts, whole numbers or flags.
    Set(Box<Kind>),
    /// A record.
    Record(BTreeMap<String, Field>),
}

/// One argument, or one member of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) kind: Kind,
    pub(crate) required: bool,
}

/// What a set is validated against, and what its requests are built from.
pub(crate) struct ToolSchema {
    pub(crate) schema: Schema,
    /// Agents, tools, the workspace and the actions.
    pub(crate) entities: Entities,
    /// The arguments of each tool.
    pub(crate) arguments: HashMap<String, Kind>,
    /// What each tool says of itself: the attributes of its entity.
    pub(crate) tools: HashMap<String, Fields<'static>>,
    /// The whole schema as text.
    pub(crate) text: String,
}

impl ToolSchema {
    pub(crate) fn generate(tools: &[ToolDescription]) -> Result<ToolSchema, PolicyError> {
        let mut text = STATIC.to_owned();
        let mut arguments = HashMap::new();
        for tool in tools {
            let refused = |reason: &str| PolicyError::Tool {
                tool: tool.name.clone(),
                reason: reason.to_owned(),
            };
            if !is_tool_name(&tool.name) {
                return Err(refused("its name has other characters, or is too long"));
            }
            let kind = record(&tool.input_schema, 0)
                .ok_or_else(|| refused("its input schema is not that of an object"))?;
            text.push_str(&action(&tool.name, &kind));
            if arguments.insert(tool.name.clone(), kind).is_some() {
                return Err(refused("there are two of this name"));
            }
        }
        let broken = |reason: String| PolicyError::Tool {
            tool: tools
                .iter()
                .map(|tool| tool.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
            reason,
        };
        let (schema, _) = Schema::from_cedarschema_str(&text).map_err(|e| broken(e.to_string()))?;
        let entities = Entities::from_entities(entities(tools), Some(&schema))
            .map_err(|error| broken(error.to_string()))?;
        Ok(ToolSchema {
            schema,
            entities,
            arguments,
            tools: tools
                .iter()
                .map(|tool| (tool.name.clone(), attributes(tool)))
                .collect(),
            text,
        })
    }
}

/// The name of a tool's action.
pub(crate) fn call_action(tool: &str) -> String {
    format!("call:{tool}")
}

fn is_tool_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    (1..=TOOL_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// The type of an object schema.
fn record(schema: &Value, depth: usize) -> Option<Kind> {
    if depth > RECORD_DEPTH_MAX || !matches!(schema.get("type"), None | Some(Value::String(_))) {
        return None;
    }
    if schema.get("type").is_some_and(|name| name != "object") {
        return None;
    }
    let mut fields = BTreeMap::new();
    let none = serde_json::Map::new();
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&none);
    let is_required = |name: &str| {
        let listed = schema.get("required").and_then(Value::as_array);
        listed.is_some_and(|names| names.iter().any(|required| required == name))
    };
    for (name, property) in properties {
        let is_companion = name
            .strip_suffix(LENGTH_SUFFIX)
            .and_then(|text| kind(properties.get(text)?, depth))
            .is_some_and(|(kind, _)| kind == Kind::Text);
        if name.starts_with("__") || name.chars().any(char::is_control) || is_companion {
            continue;
        }
        if let Some((kind, nullable)) = kind(property, depth) {
            let required = is_required(name) && !nullable;
            fields.insert(name.clone(), Field { kind, required });
        }
    }
    Some(Kind::Record(fields))
}

/// The type of a property, and whether it may be null. `None` if Cedar has no type.
fn kind(schema: &Value, depth: usize) -> Option<(Kind, bool)> {
    let (name, nullable) = match schema.get("type") {
        Some(Value::String(name)) => (name.as_str(), false),
        Some(Value::Array(names)) => match names.as_slice() {
            [Value::String(name), Value::String(null)] if null == "null" => (name.as_str(), true),
            [Value::String(null), Value::String(name)] if null == "null" => (name.as_str(), true),
            _ => return None,
        },
        None => {
            let values = schema.get("enum")?.as_array()?;
            return values
                .iter()
                .all(Value::is_string)
                .then_some((Kind::Text, false));
        }
        Some(_) => return None,
    };
    let kind = match name {
        "string" => Kind::Text,
        "integer" => Kind::Whole,
        "boolean" => Kind::Flag,
        "array" => {
            let (items, nullable) = kind(schema.get("items")?, depth)?;
            if nullable || matches!(items, Kind::Set(_) | Kind::Record(_)) {
                return None;
            }
            Kind::Set(Box::new(items))
        }
        "object" => record(schema, depth + 1)?,
        _ => return None,
    };
    Some((kind, nullable))
}

fn action(tool: &str, arguments: &Kind) -> String {
    let mut text = format!(
        "\naction {:?} in [\"call\"] appliesTo {{\n  principal: [Agent],\n  resource: [Tool],\n  \
         context: {{\n    mode: Mode,\n    step: Long,\n    depth: Long,\n    speculative: Bool,\n    \
         counters: Counters,\n    args: ",
        call_action(tool)
    );
    write_kind(arguments, &mut text);
    text.push_str(",\n    args_partial: Bool,\n    read_sensitive: Bool,\n  }\n};\n");
    text
}

fn write_kind(kind: &Kind, out: &mut String) {
    match kind {
        Kind::Text => out.push_str("String"),
        Kind::Whole => out.push_str("Long"),
        Kind::Flag => out.push_str("Bool"),
        Kind::Set(items) => {
            out.push_str("Set<");
            write_kind(items, out);
            out.push('>');
        }
        Kind::Record(fields) => {
            out.push('{');
            for (index, (name, field)) in fields.iter().enumerate() {
                let comma = if index > 0 { ", " } else { " " };
                let mark = if field.required { "" } else { "?" };
                let _ = write!(out, "{comma}{name:?}{mark}: ");
                write_kind(&field.kind, out);
                if field.kind == Kind::Text {
                    let _ = write!(out, ", {:?}{mark}: Long", format!("{name}{LENGTH_SUFFIX}"));
                }
            }
            out.push_str(" }");
        }
    }
}

/// Everything that is known before a request comes.
fn entities(tools: &[ToolDescription]) -> Vec<Entity> {
    let entity = |uid, attributes: Fields<'_>| {
        let attributes = attributes
            .into_iter()
            .map(|(name, fact)| (name.into_owned(), fact.to_cedar()));
        Entity::new(uid, attributes.collect(), HashSet::new())
            .expect("flags and entities evaluate without an error")
    };
    let mut entities = vec![entity(uid("Workspace", WORKSPACE), Vec::new())];
    for source in [Source::Approximation, Source::Target, Source::User] {
        let role = Fact::entity("Role", source.as_str());
        let agent = uid("Agent", source.as_str());
        entities.push(entity(agent, vec![("role".into(), role)]));
    }
    let tools = tools.iter();
    entities.extend(tools.map(|tool| entity(uid("Tool", &tool.name), attributes(tool))));
    entities
}

/// What a tool says of itself.
fn attributes(tool: &ToolDescription) -> Fields<'static> {
    let speculation = match tool.speculation {
        Speculation::Never => "never",
        Speculation::Contained => "contained",
        Speculation::Pure => "pure",
    };
    [
        ("read_only", Fact::Flag(tool.annotations.read_only)),
        ("destructive", Fact::Flag(tool.annotations.destructive)),
        ("idempotent", Fact::Flag(tool.annotations.idempotent)),
        ("open_world", Fact::Flag(tool.annotations.open_world)),
        ("deterministic", Fact::Flag(tool.deterministic)),
        ("speculation", Fact::entity("Speculation", speculation)),
        ("client", Fact::Flag(tool.client)),
    ]
    .map(|(name, fact)| (name.into(), fact))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::tool;
    use serde_json::json;

    fn generated(schema: Value) -> String {
        let kind = record(&schema, 0).expect("an object");
        let mut text = String::new();
        write_kind(&kind, &mut text);
        text
    }

    #[test]
    fn argument_types_come_from_the_json_schema() {
        let schema = json!({
            "type": "object",
            "required": ["path", "content"],
            "properties": {
                "path": { "type": "string" },
                "content": { "type": ["string", "null"] },
                "limit": { "type": "integer" },
                "all": { "type": "boolean" },
                "globs": { "type": "array", "items": { "type": "string" } },
                "kind": { "enum": ["file", "directory"] },
                "range": { "type": "object", "properties": { "from": { "type": "integer" } } },
            },
        });
        assert_eq!(
            generated(schema),
            r#"{ "all"?: Bool, "content"?: String, "content_length"?: Long, "globs"?: Set<String>, "#
                .to_owned()
                + r#""kind"?: String, "kind_length"?: Long, "limit"?: Long, "path": String, "#
                + r#""path_length": Long, "range"?: { "from"?: Long } }"#
        );
    }

    #[test]
    fn what_cedar_has_no_type_for_is_left_out() {
        let schema = json!({
            "type": "object",
            "required": ["ratio"],
            "properties": {
                "ratio": { "type": "number" },
                "either": { "anyOf": [{ "type": "string" }, { "type": "integer" }] },
                "mixed": { "enum": ["a", 1] },
                "edits": { "type": "array", "items": { "type": "object" } },
                "tuple": { "type": "array" },
                "any": {},
                "__cedar": { "type": "string" },
            },
        });
        assert_eq!(generated(schema), "{ }");
    }

    #[test]
    fn an_argument_can_not_pose_as_the_length_of_another() {
        let schema = json!({ "properties": {
            "content": { "type": "string" }, "content_length": { "type": "integer" },
            "width_length": { "type": "integer" },
        } });
        assert_eq!(
            generated(schema),
            r#"{ "content"?: String, "content_length"?: Long, "width_length"?: Long }"#
        );
    }

    #[test]
    fn odd_names_make_a_valid_schema_or_a_clear_error() {
        let odd = json!({ "type": "object", "properties": {
            "with space": { "type": "string" }, "q\"uote": { "type": "integer" },
            "é": { "type": "boolean" }, "if": { "type": "string" }, "": { "type": "string" },
        } });
        assert!(ToolSchema::generate(&[tool("a.b-c/d_e", odd)]).is_ok());
        for name in ["", "a b", "a\"", "é", &"n".repeat(129)] {
            let error = ToolSchema::generate(&[tool(name, json!({}))]).err();
            assert_eq!(
                error.map(|error| error.code()),
                Some("policy_tool"),
                "{name}"
            );
        }
        let twice = [tool("a", json!({})), tool("a", json!({}))];
        assert!(ToolSchema::generate(&twice).is_err());
        assert!(ToolSchema::generate(&[tool("a", json!({ "type": "string" }))]).is_err());
    }

    #[test]
    fn nesting_without_end_is_cut() {
        let mut schema = json!({ "type": "object" });
        for _ in 0..100 {
            schema = json!({ "type": "object", "properties": { "in": schema } });
        }
        assert!(ToolSchema::generate(&[tool("deep", schema)]).is_ok());
    }
}
