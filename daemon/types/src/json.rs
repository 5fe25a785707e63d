//! Canonical JSON: one text for every JSON value that means the same.
//!
//! Key order, white space, string escapes and the form of a number do not matter;
//! integers beyond ±2^53 are compared by their decimal text; duplicate keys are
//! refused, because readers disagree about which one counts. The form follows RFC 8785
//! (JCS) with two differences: keys are ordered by their UTF-8 bytes, and integers
//! that a double can not hold keep their digits instead of being rounded.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// Most bytes of one JSON text; stops an agent from filling memory with arguments.
pub const BYTES_MAX: usize = 4 << 20;
/// Deepest nesting; stops recursion from overflowing the stack.
pub const DEPTH_MAX: usize = 64;
/// Largest magnitude below which every integer is exact as a double.
const EXACT_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// A JSON value in canonical form. Equal if and only if the values mean the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CanonicalJson(String);

/// A text that has no canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all, or a key twice in one object; says where.
    #[error("{0}")]
    Syntax(String),
    /// A number that is no finite double.
    #[error("the number {0} is out of range")]
    NumberRange(String),
    /// Deeper than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// Longer than [`BYTES_MAX`].
    #[error("{0} bytes long; at most {BYTES_MAX} are accepted")]
    TooLong(usize),
    /// An empty or overlong tool name.
    #[error("a tool name has 1 to {max} bytes, not {found}")]
    ToolName {
        /// Most bytes of a name.
        max: usize,
        /// Bytes of the name that was given.
        found: usize,
    },
}

impl CanonicalJson {
    /// Reads a JSON text and puts it into canonical form.
    ///
    /// # Errors
    /// If the text is no JSON, has a key twice in one object, a number that is no
    /// finite double, or is longer than [`BYTES_MAX`] or deeper than [`DEPTH_MAX`].
    pub fn parse(text: &str) -> Result<CanonicalJson, JsonError> {
        if text.len() > BYTES_MAX {
            return Err(JsonError::TooLong(text.len()));
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let raw: &RawValue = Deserialize::deserialize(&mut deserializer).map_err(syntax)?;
        deserializer.end().map_err(syntax)?;
        let mut canonical = String::with_capacity(text.len());
        write_value(raw.get(), 0, &mut canonical)?;
        Ok(CanonicalJson(canonical))
    }

    /// The canonical form of a value that is in memory already.
    ///
    /// # Errors
    /// As [`CanonicalJson::parse`].
    pub fn from_value(value: &serde_json::Value) -> Result<CanonicalJson, JsonError> {
        CanonicalJson::parse(&value.to_string())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value, with numbers as serde_json holds them.
    pub fn to_value(&self) -> serde_json::Value {
        serde_json::from_str(&self.0).unwrap_or(serde_json::Value::Null)
    }
}

impl TryFrom<String> for CanonicalJson {
    type Error = JsonError;
    fn try_from(text: String) -> Result<Self, JsonError> {
        CanonicalJson::parse(&text)
    }
}

impl From<CanonicalJson> for String {
    fn from(json: CanonicalJson) -> String {
        json.0
    }
}

impl fmt::Display for CanonicalJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err"
)]
fn syntax(error: serde_json::Error) -> JsonError {
    JsonError::Syntax(error.to_string())
}

/// `text` is valid JSON by now; what may still be wrong is a number or a key.
fn write_value(text: &str, depth: usize, out: &mut String) -> Result<(), JsonError> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if depth >= DEPTH_MAX && text.starts_with(['{', '[']) {
        return Err(JsonError::TooDeep);
    }
    match text.as_bytes().first() {
        Some(b'{') => {
            let members = read(text, Members)?;
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write_value(value.get(), depth + 1, out)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let items = read(text, Items)?;
            out.push('[');
            for (index, value) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(value.get(), depth + 1, out)?;
            }
            out.push(']');
        }
        Some(b'"') => write_string(&serde_json::from_str::<String>(text).map_err(syntax)?, out),
        Some(b't' | b'f' | b'n') => out.push_str(text),
        _ => write_number(text, out)?,
    }
    Ok(())
}

fn write_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

fn write_number(text: &str, out: &mut String) -> Result<(), JsonError> {
    let value: f64 = text
        .parse()
        .map_err(|_| JsonError::NumberRange(text.to_owned()))?;
    if !value.is_finite() {
        return Err(JsonError::NumberRange(text.chars().take(80).collect()));
    }
    let is_integer_text = !text.contains(['.', 'e', 'E']);
    if value == 0.0 {
        out.push('0');
    } else if is_integer_text && value.abs() >= EXACT_INTEGER_MAX {
        out.push_str(text);
    } else if value.fract() == 0.0 && value.abs() < EXACT_INTEGER_MAX {
        let _ = write!(out, "{}", value as i64);
    } else {
        out.push_str(&serde_json::Value::from(value).to_string());
    }
    Ok(())
}

fn read<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> Result<S::Value, JsonError> {
    seed.deserialize(&mut serde_json::Deserializer::from_str(text))
        .map_err(syntax)
}

/// Reads one object's members, each value still as text; refuses a key twice.
struct Members;

impl<'de> DeserializeSeed<'de> for Members {
    type Value = BTreeMap<String, &'de RawValue>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Deserializer::deserialize_map(deserializer, self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = BTreeMap<String, &'de RawValue>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut members = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
            if members.insert(key.clone(), value).is_some() {
                return Err(serde::de::Error::custom(format_args!(
                    "the key {key:?} appears twice"
                )));
            }
        }
        Ok(members)
    }
}

/// Reads one array's items, each still as text.
struct Items;

impl<'de> DeserializeSeed<'de> for Items {
    type Value = Vec<&'de RawValue>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Deserializer::deserialize_seq(deserializer, self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = Vec<&'de RawValue>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> String {
        CanonicalJson::parse(text).map_or_else(|error| format!("! {error}"), String::from)
    }

    #[test]
    fn spelling_does_not_matter() {
        assert_eq!(
            canonical(r#" { "b" : [ 1.0 , 1e2 , -0 ] , "a" : "\u00e9\/" } "#),
            r#"{"a":"é/","b":[1,100,0]}"#
        );
        assert_eq!(canonical("1.50"), "1.5");
        assert_eq!(canonical("1E-2"), "0.01");
        assert_eq!(canonical("null"), "null");
    }

    #[test]
    fn large_integers_keep_their_digits() {
        assert_eq!(canonical("9007199254740993"), "9007199254740993");
        assert_ne!(canonical("9007199254740993"), canonical("9007199254740992"));
        assert_eq!(
            canonical("123456789012345678901234567890"),
            "123456789012345678901234567890"
        );
    }

    #[test]
    fn what_has_no_canonical_form_is_refused() {
        assert!(canonical(r#"{"a":1,"\u0061":2}"#).contains("\"a\" appears twice"));
        assert!(canonical("1e999").contains("out of range"));
        assert!(canonical(&"[".repeat(200)).starts_with('!'));
        assert!(canonical(&format!("{}{}", "[".repeat(65), "]".repeat(65))).starts_with('!'));
        assert!(canonical(r#"{"a":1} x"#).starts_with('!'));
        assert!(canonical("").starts_with('!'));
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>()
                .prop_filter("finite", |x| x.is_finite())
                .prop_map(Into::into),
            ".*".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_form_is_a_fixed_point(value in json()) {
            let once = CanonicalJson::from_value(&value).expect("every value has a form");
            let pretty = serde_json::to_string_pretty(&value).expect("serialises");
            prop_assert_eq!(&CanonicalJson::parse(once.as_str()).expect("canonical"), &once);
            prop_assert_eq!(&CanonicalJson::parse(&pretty).expect("valid"), &once);
        }

        #[test]
        fn no_text_panics(text in ".{0,64}") {
            let _ = CanonicalJson::parse(&text);
        }
    }
}
