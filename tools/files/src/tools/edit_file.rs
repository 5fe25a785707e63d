//! `edit_file`: exact replacement of a piece of text, or a unified patch.

use super::patch;
use forerun_tool_kit::text::{self, count};
use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool,
};
use std::fs;

/// How many places an ambiguous edit names.
const PLACES_SHOWN: usize = 5;

/// Changes a part of a file, in one of two ways. With `old` and `new`: replaces a piece of
/// text; `old` must occur exactly once, character for character, white space and indentation
/// included; give enough lines around it to make it unique, or set `replace_all`. With
/// `patch`: applies the hunks of a unified diff of this file; use it for several changes at
/// once. Read the file first. Example: {"path": "src/main.rs", "old": "let limit = 10;",
/// "new": "let limit = 20;"}. Example of a patch: {"path": "src/main.rs", "patch": "@@ -3,2
/// +3,2 @@\n fn main() {\n-    let limit = 10;\n+    let limit = 20;\n"}. Line numbers of a
/// patch may be a little off, its context lines and removed lines may not. If anything does
/// not fit, nothing is changed, and the error says what and where.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditFile {
    /// The file, relative to /workspace.
    #[schemars(length(min = 1))]
    path: String,
    /// The text to replace, exactly as it is in the file.
    #[schemars(length(min = 1))]
    old: Option<String>,
    /// The text to put in its place; empty to delete it.
    new: Option<String>,
    /// Replace every occurrence of `old` instead of the only one.
    #[serde(default)]
    replace_all: bool,
    /// Hunks of a unified diff, instead of `old` and `new`.
    #[schemars(length(min = 1))]
    patch: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Edited {
    path: String,
    /// Pieces of text replaced, or hunks applied.
    replacements: usize,
    /// The first line that was changed, as it was numbered before.
    first_line: usize,
}

impl Tool for EditFile {
    const NAME: &'static str = "edit_file";
    const TITLE: &'static str = "Edit file";
    const ANNOTATIONS: Annotations = Annotations::CHANGES;
    type Structured = Edited;

    fn call(self, places: &Places) -> Result<Output<Edited>, Error> {
        let place = places.find_within(&self.path)?;
        let (after, replacements, first_line, what) = match (&self.old, &self.new, &self.patch) {
            (Some(old), Some(new), None) => {
                let before = text::read(&place)?;
                let (after, number, line) =
                    replace(&before, old, new, self.replace_all, &place.shown)?;
                let what = format!("replaced {}", count(number, "occurrence"));
                (after, number, line, what)
            }
            (None, None, Some(patch)) if !self.replace_all => {
                let before = text::read(&place)?;
                let (after, number, line) = patch::apply(&before, patch).map_err(|reason| {
                    Error::Refused(format!(
                        "cannot patch {}: {reason}; nothing was changed",
                        place.shown
                    ))
                })?;
                let what = format!("applied {}", count(number, "hunk"));
                (after, number, line, what)
            }
            _ => {
                return Err(Error::Refused(
                    "give either `old` and `new`, or `patch` alone".into(),
                ));
            }
        };
        fs::write(&place.path, after).map_err(Error::io("write", &place.shown))?;
        let first = if replacements == 1 { "" } else { "first on " };
        Ok(Output::new(
            format!("{}: {what} ({first}line {first_line})", place.shown),
            Edited {
                path: place.shown,
                replacements,
                first_line,
            },
        ))
    }
}

/// The text after the replacement, how many there were, and the line of the first.
fn replace(
    before: &str,
    old: &str,
    new: &str,
    all: bool,
    shown: &str,
) -> Result<(String, usize, usize), Error> {
    if old.is_empty() {
        return Err(Error::Refused(
            "`old` is empty; use write_file for a new file".into(),
        ));
    }
    if old == new {
        return Err(Error::Refused("`old` and `new` are the same text".into()));
    }
    let found: Vec<usize> = before.match_indices(old).map(|(at, _)| at).collect();
    let Some(&first) = found.first() else {
        return Err(Error::Refused(not_found(before, old, shown)));
    };
    if found.len() > 1 && !all {
        let mut lines: Vec<String> = found
            .iter()
            .take(PLACES_SHOWN)
            .map(|at| line_of(before, *at).to_string())
            .collect();
        if found.len() > PLACES_SHOWN {
            lines.push("…".into());
        }
        return Err(Error::Refused(format!(
            "`old` occurs {} times in {shown} (lines {}); make it longer so that it is unique, or set replace_all",
            found.len(),
            lines.join(", ")
        )));
    }
    Ok((
        before.replace(old, new),
        found.len(),
        line_of(before, first),
    ))
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

    #[test]
    fn a_patch_is_applied_whole_or_not_at_all() {
        let files = Fixture::new(&[("a", "1\n2\n3\n4\n5\n")]);
        let patch =
            "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n-1\n+one\n 2\n@@ -4,2 +4,3 @@\n 4\n+4.5\n 5\n";
        assert_eq!(
            files.text("edit_file", &json!({"path": "a", "patch": patch})),
            "a: applied 2 hunks (first on line 1)"
        );
        assert_eq!(files.read("a"), "one\n2\n3\n4\n4.5\n5\n");
        let error = files.error("edit_file", &json!({"path": "a", "patch": patch}));
        assert!(
            error.starts_with("cannot patch a: hunk 1 does not fit"),
            "{error}"
        );
        assert_eq!(files.read("a"), "one\n2\n3\n4\n4.5\n5\n");
    }

    #[test]
    fn the_two_ways_are_not_mixed() {
        let files = Fixture::new(&[("a", "x")]);
        for arguments in [
            json!({"path": "a"}),
            json!({"path": "a", "old": "x"}),
            json!({"path": "a", "old": "x", "new": "y", "patch": "@@ @@"}),
        ] {
            let error = files.error("edit_file", &arguments);
            assert!(error.contains("either `old` and `new`"), "{error}");
        }
    }
}
