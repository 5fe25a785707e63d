//! JSON Schemas (2020-12) out of types, in the form that models read best: everything in
//! place, no references, and nothing that says how Rust stores a value.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The schema of arguments: an object that accepts no other field.
pub(crate) fn input<T: JsonSchema>() -> Value {
    let mut schema = of::<T>();
    schema.remove("description");
    schema.insert("additionalProperties".into(), false.into());
    Value::Object(schema)
}

/// The schema of a structured result; `None` for `()`.
pub(crate) fn output<T: JsonSchema>() -> Option<Value> {
    let mut schema = of::<T>();
    schema.remove("description");
    (schema.get("type") != Some(&Value::from("null"))).then_some(Value::Object(schema))
}

/// The doc comment of a type.
pub(crate) fn description<T: JsonSchema>() -> String {
    match of::<T>().remove("description") {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

fn of<T: JsonSchema>() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    tidy(&mut schema);
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

/// Takes out what only repeats the Rust type: titles, integer formats, and that what may
/// be absent may be null.
fn tidy(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    schema.remove("title");
    schema.remove("format");
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = unwrap_lines(text);
    }
    without_null(schema);
    for (key, value) in schema.iter_mut() {
        match (key.as_str(), value) {
            ("properties" | "$defs", Value::Object(members)) => members.values_mut().for_each(tidy),
            ("anyOf" | "oneOf" | "allOf", Value::Array(members)) => {
                members.iter_mut().for_each(tidy);
            }
            ("items" | "additionalProperties", member) => tidy(member),
            _ => {}
        }
    }
}

fn without_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(members)) = schema.get_mut("enum") {
        members.retain(|member| !member.is_null());
    }
    if let Some(Value::Array(members)) = schema.get_mut("anyOf") {
        members.retain(|member| member.get("type") != Some(&Value::from("null")));
        if let [Value::Object(only)] = members.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                schema.entry(key).or_insert(value);
            }
        }
    }
}

/// Lines of a doc comment as paragraphs.
fn unwrap_lines(text: &str) -> String {
    text.split("\n\n")
        .map(|paragraph| paragraph.split('\n').collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    /// Does something
    /// to a file.
    ///
    /// Example: {}.
    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema counts")]
    struct Arguments {
        /// The file,
        /// relative to /workspace.
        #[schemars(length(min = 1))]
        path: String,
        /// How many.
        #[schemars(range(min = 1, max = 9))]
        limit: Option<usize>,
        /// How.
        mode: Option<Mode>,
        /// Whether.
        #[serde(default)]
        all: bool,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Fast,
        Slow,
    }

    #[test]
    fn a_schema_says_what_is_accepted_and_nothing_of_rust() {
        assert_eq!(
            input::<Arguments>(),
            json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string", "minLength": 1, "description": "The file, relative to /workspace."},
                    "limit": {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many."},
                    "mode": {"type": "string", "enum": ["fast", "slow"], "description": "How."},
                    "all": {"type": "boolean", "default": false, "description": "Whether."}
                },
                "required": ["path"],
                "additionalProperties": false
            })
        );
    }

    #[test]
    fn the_doc_comment_is_the_description_in_paragraphs() {
        assert_eq!(
            description::<Arguments>(),
            "Does something to a file.\n\nExample: {}."
        );
    }

    #[test]
    fn nothing_structured_has_no_schema() {
        assert_eq!(output::<()>(), None);
        assert!(output::<Mode>().is_some());
    }
}
