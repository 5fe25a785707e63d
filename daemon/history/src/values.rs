//! The values that arguments are made of, and where they stand in arguments, observations and
//! texts.
//!
//! **Invariant:** everything here costs time in proportion to a limit, whatever it is given.

use forerun_types::{Action, CanonicalJson};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Most bytes of a value that can be derived, as JSON text; stops documents that are passed as
/// arguments or come in observations from being kept.
pub(crate) const VALUE_BYTES_MAX: usize = 200;
/// Most bytes of a path; stops an observation's keys from filling the memory.
pub(crate) const PATH_BYTES_MAX: usize = 128;
/// Most arguments of a call that is learned; stops one call from costing as much as many.
pub(crate) const ARGUMENTS_MAX: usize = 16;
/// Most bytes of an observation that is looked at as JSON; stops a large one from being parsed.
const JSON_BYTES_MAX: usize = 64 << 10;
/// Most values of one observation; stops one from crowding out the others.
const LEAVES_MAX: usize = 256;
/// Most bytes of a text that are searched for tokens; stops a large one from being read.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Most tokens of a text; stops prose from crowding out everything else.
const TOKENS_MAX: usize = 128;
/// Most digits of a number among the tokens: as many as a double holds.
const DIGITS_MAX: usize = 15;

/// One argument: its path (a JSON pointer, RFC 6901), and its value as JSON text unless that
/// is too long to be derived.
pub(crate) type Argument = (String, Option<String>);

/// The arguments of a call. Objects are looked into; a list is one value. None if there are
/// too many.
pub(crate) fn arguments(of: &CanonicalJson) -> Option<Vec<Argument>> {
    let mut found = Vec::new();
    look_into(&of.to_value(), &mut String::new(), &mut found).then_some(found)
}

fn look_into(value: &Value, path: &mut String, found: &mut Vec<Argument>) -> bool {
    match value {
        Value::Object(members) if !members.is_empty() => members.iter().all(|(key, value)| {
            let length = path.len();
            push_key(path, key);
            let fits = path.len() <= PATH_BYTES_MAX && look_into(value, path, found);
            path.truncate(length);
            fits
        }),
        value => {
            found.push((path.clone(), short(value)));
            found.len() <= ARGUMENTS_MAX
        }
    }
}

/// The call of a tool, from the paths and values of its arguments. None if they contradict
/// each other.
pub(crate) fn assemble<'a>(
    tool: &str,
    arguments: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<Action> {
    let mut root = Value::Null;
    for (path, text) in arguments {
        let mut place = &mut root;
        for key in path.split('/').skip(1) {
            if place.is_null() {
                *place = Value::Object(Map::new());
            }
            let key = key.replace("~1", "/").replace("~0", "~");
            place = place.as_object_mut()?.entry(key).or_insert(Value::Null);
        }
        *place = serde_json::from_str(text).ok()?;
    }
    Action::parse(tool, &root.to_string()).ok()
}

/// The single values of an observation that is JSON, in its order, with their paths. In those
/// `*` stands for each element of a list, and `~` for the keys of an object.
pub(crate) fn leaves(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let is_json = text.trim_start().starts_with(['{', '[']);
    if is_json && text.len() <= JSON_BYTES_MAX {
        // Parsing it canonically bounds its depth, too.
        if let Ok(json) = CanonicalJson::parse(text) {
            descend(&json.to_value(), &mut String::new(), &mut found);
        }
    }
    found
}

fn descend(value: &Value, path: &mut String, found: &mut Vec<(String, String)>) {
    if found.len() >= LEAVES_MAX || path.len() > PATH_BYTES_MAX {
        return;
    }
    let length = path.len();
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                path.push_str("/~");
                descend(&Value::from(key.as_str()), path, found);
                path.truncate(length);
                push_key(path, key);
                descend(value, path, found);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            path.push_str("/*");
            items.iter().for_each(|item| descend(item, path, found));
            path.truncate(length);
        }
        Value::Null => {}
        value => found.extend(short(value).map(|text| (path.clone(), text))),
    }
}

fn push_key(path: &mut String, key: &str) {
    path.push('/');
    path.push_str(&key.replace('~', "~0").replace('/', "~1"));
}

fn short(value: &Value) -> Option<String> {
    Some(value.to_string()).filter(|text| text.len() <= VALUE_BYTES_MAX)
}

/// What kinds of characters a token has: tokens of one shape are likely of one kind, as file
/// names are, or order numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Shape(u16);

impl Shape {
    const LOWER: u16 = 1;
    const UPPER: u16 = 1 << 1;
    const DIGIT: u16 = 1 << 2;
    const OTHER: u16 = 1 << 3;
    /// All digits, and taken as a number.
    const NUMBER: Shape = Shape(1 << 4);
    /// Marks that tell names, paths, addresses and dates apart.
    const MARKS: &str = "/._-@:#";

    fn of(token: &str) -> Shape {
        Shape(token.chars().fold(0, |shape, c| {
            shape
                | match c {
                    'a'..='z' => Shape::LOWER,
                    'A'..='Z' => Shape::UPPER,
                    '0'..='9' => Shape::DIGIT,
                    c => Shape::MARKS
                        .find(c)
                        .map_or(Shape::OTHER, |mark| 1 << (5 + mark)),
                }
        }))
    }

    /// Ordinary words are no values.
    fn is_word(self) -> bool {
        self.0 == Shape::LOWER
    }
}

/// The tokens of a text that may be values, in its order, as JSON text. A number is there
/// twice: as a text, and as a number.
pub(crate) fn tokens(text: &str) -> Vec<(Shape, String)> {
    let text = &text[..text.floor_char_boundary(TEXT_BYTES_MAX)];
    let between = |c: char| c.is_whitespace() || "\"'`()[]{}<>,;=|".contains(c);
    let mut found = Vec::new();
    for token in text.split(between) {
        let token = token.trim_matches(['.', ':', '!', '?']);
        let shape = Shape::of(token);
        if token.is_empty() || shape.is_word() {
            continue;
        }
        if found.len() >= TOKENS_MAX {
            break;
        }
        if let Some(text) = short(&Value::from(token)) {
            found.push((shape, text));
        }
        let is_number = shape.0 == Shape::DIGIT && token.len() <= DIGITS_MAX;
        if is_number && (token == "0" || !token.starts_with('0')) {
            found.push((Shape::NUMBER, token.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> CanonicalJson {
        CanonicalJson::parse(text).unwrap()
    }

    #[test]
    fn arguments_are_taken_apart_and_put_together() {
        for text in [
            r#"{"a":1,"b":{"c/d~":["x",{"y":2}],"e":null}}"#,
            "{}",
            r#"{"a":{}}"#,
            "[1,2]",
            r#""text""#,
        ] {
            let found = arguments(&parsed(text)).unwrap();
            let pairs = found
                .iter()
                .map(|(path, value)| (path.as_str(), value.as_deref().unwrap()));
            assert_eq!(assemble("tool", pairs).unwrap().arguments, parsed(text));
        }
        let paths: Vec<String> = arguments(&parsed(r#"{"a":1,"b":{"c/d~":2}}"#))
            .unwrap()
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        assert_eq!(paths, ["/a", "/b/c~1d~0"]);
    }

    #[test]
    fn contradicting_paths_make_no_arguments() {
        for pairs in [
            [("/a", "1"), ("/a/b", "2")],
            [("/b", "1"), ("/a", "no JSON")],
        ] {
            assert_eq!(assemble("tool", pairs.into_iter()), None);
        }
    }

    #[test]
    fn an_observation_has_its_values_and_keys_in_order() {
        let found = leaves(r#"{"orders":[{"id":7},{"id":8}],"owner":{"ann":true,"bob":null}}"#);
        let text: Vec<String> = found
            .iter()
            .map(|(path, value)| format!("{path} {value}"))
            .collect();
        let expected = [
            "/~ \"orders\"",
            "/orders/*/~ \"id\"",
            "/orders/*/id 7",
            "/orders/*/~ \"id\"",
            "/orders/*/id 8",
            "/~ \"owner\"",
            "/owner/~ \"ann\"",
            "/owner/ann true",
            "/owner/~ \"bob\"",
        ];
        assert_eq!(text, expected);
    }

    #[test]
    fn tokens_are_what_looks_like_a_value() {
        let found = tokens("Please read 'src/main.rs', cancel JG7FMM (page 12) by 2024-05-20.");
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
        let expected = [
            r#""Please""#,
            r#""src/main.rs""#,
            r#""JG7FMM""#,
            r#""12""#,
            "12",
            r#""2024-05-20""#,
        ];
        assert_eq!(texts, expected);
        assert_eq!(Shape::of("JG7FMM"), Shape::of("2FBBAH"));
        assert_ne!(Shape::of("a.rs"), Shape::of("a-rs"));
    }

    #[test]
    fn the_huge_the_deep_and_the_odd_cost_no_more_than_the_limits() {
        let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
        let wide = format!("[{}1]", "1,".repeat(30_000));
        let odd = "\u{202e}é\u{0}\u{1f600} ".repeat(60_000);
        for text in [deep, wide, odd, "\"".repeat(1 << 20)] {
            assert!(leaves(&text).len() <= LEAVES_MAX);
            assert!(tokens(&text).len() <= TOKENS_MAX + 1);
        }
        let many: Vec<String> = (0..100).map(|n| format!("\"{n}\":1")).collect();
        assert_eq!(arguments(&parsed(&format!("{{{}}}", many.join(",")))), None);
        let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(1 << 20));
        let found = arguments(&parsed(&long)).unwrap();
        assert_eq!(found, [("/text".to_owned(), None)]);
    }
}
