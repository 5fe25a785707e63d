//! How a program that exists becomes a tool: a small TOML file that says how it presents
//! itself, and how a call's arguments become the program's.
//!
//! ```toml
//! name = "count"
//! title = "Count"
//! description = "Counts lines, words and bytes. Example: {\"paths\": [\"a.txt\"]}."
//! read_only = true
//! argv = ["-l", ["--files0-from", "{list}"], "-w{words?}", "--", "{paths}"]
//! stdin = "{input}"
//!
//! [input_schema]
//! type = "object"
//! ```
//!
//! In `argv`, `{name}` is an argument of the call: a text as it is, any other value as
//! JSON; alone in its entry, a list becomes one entry each. `{name?}` is nothing, but asks
//! for the argument to be there and not `false`. An entry with an argument that is not
//! there is left out; of a nested list of entries, all are or none. No shell reads any of
//! it, so nothing has to be quoted; a program that takes values for flags wants a `--`.

use serde::Deserialize;
use serde_json::Value;

/// A program as a tool.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) input_schema: Value,
    #[serde(default)]
    pub(crate) read_only: bool,
    #[serde(default)]
    pub(crate) destructive: bool,
    #[serde(default)]
    pub(crate) idempotent: bool,
    /// Whether what it does matters beyond the workspace; policy may ask the user then.
    #[serde(default)]
    pub(crate) open_world: bool,
    /// Whether the same call on the same files always prints the same.
    #[serde(default)]
    pub(crate) deterministic: bool,
    /// Whether it may run before its verdict; without that, `contained`.
    #[serde(default)]
    pub(crate) speculation: Speculation,
    #[serde(default)]
    argv: Vec<Entry>,
    /// What the program reads.
    #[serde(default)]
    stdin: Option<String>,
    /// Its environment.
    #[serde(default)]
    pub(crate) environment: std::collections::BTreeMap<String, String>,
}

/// As in the interface of tool components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Speculation {
    Never,
    #[default]
    Contained,
    Pure,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Entry {
    One(String),
    /// All of them, or none.
    Group(Vec<String>),
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// What is wrong with it, with its line.
    pub(crate) fn parse(text: &str) -> Result<Manifest, String> {
        let manifest: Manifest = toml::from_str(text).map_err(|error| error.to_string())?;
        let templates = manifest.argv.iter().flat_map(Entry::parts);
        for template in templates.chain(manifest.stdin.iter()) {
            let known = |name: &str| {
                let properties = manifest.input_schema.get("properties");
                properties.is_some_and(|properties| properties.get(name).is_some())
            };
            for piece in pieces(template) {
                if let Piece::Value(name) | Piece::Flag(name) = piece
                    && !known(name)
                {
                    return Err(format!(
                        "{template:?} names {name:?}, which is no property of input_schema"
                    ));
                }
            }
        }
        Ok(manifest)
    }

    /// The program's arguments for a call; `name` is the first.
    pub(crate) fn arguments(&self, call: &Value) -> Vec<String> {
        let mut arguments = vec![self.name.clone()];
        for entry in &self.argv {
            let parts: Option<Vec<_>> = entry.parts().iter().map(|part| fill(part, call)).collect();
            arguments.extend(parts.into_iter().flatten().flatten());
        }
        arguments
    }

    /// What the program reads in a call.
    pub(crate) fn stdin(&self, call: &Value) -> String {
        let filled = self
            .stdin
            .as_deref()
            .and_then(|template| fill(template, call));
        filled.unwrap_or_default().concat()
    }
}

impl Entry {
    fn parts(&self) -> &[String] {
        match self {
            Entry::One(one) => std::slice::from_ref(one),
            Entry::Group(group) => group,
        }
    }
}

enum Piece<'a> {
    Text(&'a str),
    Value(&'a str),
    Flag(&'a str),
}

/// Takes a template apart. A brace that begins no name is text.
fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (text, from) = rest.split_at(start);
        let name = from[1..].split_once('}').map(|(name, _)| name);
        let bare = name.map(|name| name.trim_end_matches('?'));
        let (Some(name), Some(bare)) = (name, bare) else {
            break;
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if bare.is_empty() || !bare.chars().all(is_name) {
            pieces.push(Piece::Text(&rest[..=start]));
            rest = &rest[start + 1..];
            continue;
        }
        pieces.push(Piece::Text(text));
        pieces.push(match name == bare {
            true => Piece::Value(bare),
            false => Piece::Flag(bare),
        });
        rest = &from[name.len() + 2..];
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| !matches!(piece, Piece::Text("")));
    pieces
}

/// What a template becomes; `None` if an argument that it names is not there.
fn fill(template: &str, call: &Value) -> Option<Vec<String>> {
    let of = |name: &str| call.get(name).filter(|value| !value.is_null());
    let pieces = pieces(template);
    if let [Piece::Value(name)] = pieces[..]
        && let Value::Array(values) = of(name)?
    {
        return Some(values.iter().map(text).collect());
    }
    let mut filled = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Value(name) => filled.push_str(&text(of(name)?)),
            Piece::Flag(name) => {
                of(name).filter(|value| **value != Value::Bool(false))?;
            }
        }
    }
    Some(vec![filled])
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(argv: &str) -> Result<Manifest, String> {
        let text = format!(
            r#"
            name = "grep"
            title = "Grep"
            description = "Finds."
            argv = {argv}
            stdin = "{{input}}"
            [input_schema.properties]
            pattern = {{}}
            paths = {{}}
            quiet = {{}}
            count = {{}}
            input = {{}}
            "#
        );
        Manifest::parse(&text)
    }

    #[test]
    fn arguments_are_filled_in_and_what_is_not_there_is_left_out() {
        let argv =
            r#"["-q{quiet?}", ["-m", "{count}"], "--re={pattern}", "{}", "{ x", "--", "{paths}"]"#;
        let manifest = manifest(argv).expect("valid");
        let call = json!({"pattern": "a {b} $c", "paths": ["x", "-y"], "quiet": false});
        let found = manifest.arguments(&call);
        assert_eq!(
            found,
            ["grep", "--re=a {b} $c", "{}", "{ x", "--", "x", "-y"]
        );
        let call = json!({"quiet": true, "count": 3, "paths": [], "pattern": null, "input": "in"});
        assert_eq!(
            manifest.arguments(&call),
            ["grep", "-q", "-m", "3", "{}", "{ x", "--"]
        );
        assert_eq!(manifest.stdin(&call), "in");
        assert_eq!(manifest.stdin(&json!({})), "");
    }

    #[test]
    fn a_name_that_no_schema_has_or_a_key_that_means_nothing_is_refused() {
        let error = manifest(r#"["{patern}"]"#).expect_err("a typo");
        assert!(error.contains("patern"), "{error}");
        let error = manifest("[]\nargs = []").expect_err("a typo");
        assert!(error.contains("args"), "{error}");
        assert!(manifest("7").is_err());
    }
}
