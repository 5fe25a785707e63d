//! `edit_file`: exact replacement of a piece of text.

use crate::description::parse;
use crate::text::count;
use crate::{Annotations, Description, Error, Output, Places, Speculation, Tool, text};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;

/// How many places an ambiguous edit names.
const PLACES_SHOWN: usize = 5;

pub(crate) const TOOL: Tool = Tool { describe, run };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    path: String,
    old: String,
    new: String,
    #[serde(default)]
    replace_all: bool,
}

fn describe() -> Description {
    Description {
        name: "edit_file",
        title: "Edit file",
        description: "Replaces a piece of text in a file by another. `old` must occur \
             exactly once, character for character, white space and indentation included; \
             give enough lines around it to make it unique, or set `replace_all`. Read the \
             file first. Example: {\"path\": \"src/main.rs\", \"old\": \"let limit = 10;\", \
             \"new\": \"let limit = 20;\"}. If `old` is not found, or more than once, \
             nothing is changed and the error says how often it occurs and on which lines."
            .into(),
        input_schema: json!({
            "type": "object",
            "properties": {
                "path": {"type": "string", "minLength": 1, "description": "The file, relative to /workspace."},
                "old": {"type": "string", "minLength": 1, "description": "The text to replace, exactly as it is in the file."},
                "new": {"type": "string", "description": "The text to put in its place; empty to delete it."},
                "replace_all": {"type": "boolean", "default": false, "description": "Replace every occurrence instead of the only one."}
            },
            "required": ["path", "old", "new"],
            "additionalProperties": false
        }),
        output_schema: json!({
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "replacements": {"type": "integer"},
                "first_line": {"type": "integer"}
            },
            "required": ["path", "replacements", "first_line"]
        }),
        annotations: Annotations {
            read_only: false,
            destructive: true,
            idempotent: false,
        },
        speculation: Speculation::Contained,
    }
}

fn run(places: &Places, arguments: Value) -> Result<Output, Error> {
    let arguments: Arguments = parse(arguments)?;
    let Arguments { old, new, .. } = &arguments;
    let place = places.find_within(&arguments.path)?;
    if old.is_empty() {
        return Err(Error::Refused(
            "`old` is empty; use write_file for a new file".into(),
        ));
    }
    if old == new {
        return Err(Error::Refused("`old` and `new` are the same text".into()));
    }
    let before = text::read(&place)?;
    let found: Vec<usize> = before
        .match_indices(old.as_str())
        .map(|(at, _)| at)
        .collect();
    let Some(&first) = found.first() else {
        return Err(Error::Refused(not_found(&before, old, &place.shown)));
    };
    if found.len() > 1 && !arguments.replace_all {
        let mut lines: Vec<String> = found
            .iter()
            .take(PLACES_SHOWN)
            .map(|at| line_of(&before, *at).to_string())
            .collect();
        if found.len() > PLACES_SHOWN {
            lines.push("…".into());
        }
        return Err(Error::Refused(format!(
            "`old` occurs {} times in {} (lines {}); make it longer so that it is unique, or set replace_all",
            found.len(),
            place.shown,
            lines.join(", ")
        )));
    }
    let after = before.replace(old.as_str(), new);
    fs::write(&place.path, after).map_err(Error::io("write", &place.shown))?;
    let line = line_of(&before, first);
    Ok(Output {
        text: format!(
            "{}: replaced {} {}",
            place.shown,
            count(found.len(), "occurrence"),
            if found.len() == 1 {
                format!("(line {line})")
            } else {
                format!("(first on line {line})")
            }
        ),
        structured: json!({
            "path": place.shown,
            "replacements": found.len(),
            "first_line": line,
        }),
    })
}

/// The line of a byte offset, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Says why nothing matched, if that can be guessed: other white space or line ends.
fn not_found(text: &str, old: &str, shown: &str) -> String {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let wanted = squeeze(old);
    let mut message = format!("`old` does not occur in {shown}; nothing was changed");
    if text.contains("\r\n") && !old.contains("\r\n") && old.contains('\n') {
        message.push_str(" (the file has \\r\\n line ends)");
    } else if !wanted.is_empty() && squeeze(text).contains(&wanted) {
        message.push_str(
            " (it does with other white space: copy the text exactly as read_file returns it)",
        );
    }
    message
}

#[cfg(test)]
mod tests {
    use crate::tools::testing::Fixture;
    use serde_json::json;

    #[test]
    fn the_only_occurrence_is_replaced_and_its_line_named() {
        let files = Fixture::new(&[("a.rs", "fn a() {}\nfn b() {}\n")]);
        let edit = json!({"path": "a.rs", "old": "fn b()", "new": "pub fn b()"});
        assert_eq!(
            files.text("edit_file", &edit),
            "a.rs: replaced 1 occurrence (line 2)"
        );
        assert_eq!(files.read("a.rs"), "fn a() {}\npub fn b() {}\n");
    }

    #[test]
    fn an_ambiguous_edit_changes_nothing_and_names_the_lines() {
        let files = Fixture::new(&[("a", "x\ny\nx\n")]);
        let error = files.error("edit_file", &json!({"path": "a", "old": "x", "new": "z"}));
        assert!(
            error.contains("occurs 2 times in a (lines 1, 3)"),
            "{error}"
        );
        assert_eq!(files.read("a"), "x\ny\nx\n");
        let all = json!({"path": "a", "old": "x", "new": "z", "replace_all": true});
        assert_eq!(
            files.text("edit_file", &all),
            "a: replaced 2 occurrences (first on line 1)"
        );
        assert_eq!(files.read("a"), "z\ny\nz\n");
    }

    #[test]
    fn text_that_is_not_there_is_refused_with_a_guess() {
        let files = Fixture::new(&[("a", "let  x = 1;\n"), ("crlf", "a\r\nb\r\n")]);
        let error =
            |path, old| files.error("edit_file", &json!({"path": path, "old": old, "new": "z"}));
        assert!(error("a", "let y").contains("does not occur in a"));
        assert!(error("a", "let x = 1;").contains("other white space"));
        assert!(error("crlf", "a\nb").contains("line ends"));
        assert!(error("none", "a").contains("no such file"));
        assert_eq!(files.read("a"), "let  x = 1;\n");
    }

    #[test]
    fn an_edit_that_changes_nothing_is_an_error() {
        let files = Fixture::new(&[("a", "x")]);
        let same = json!({"path": "a", "old": "x", "new": "x"});
        assert!(files.error("edit_file", &same).contains("same text"));
    }
}
