//! `grep`: lines by content.

use crate::walk;
use forerun_tool_kit::text::{count, cut};
use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool,
};
use regex::{Regex, RegexBuilder};
use std::fs;
use std::io::Read;
use std::ops::Range;

/// Lines that are returned unless `limit` says otherwise.
const MATCHES_DEFAULT: usize = 200;
/// Most lines that can be asked for.
const MATCHES_MAX: usize = 2_000;
/// Most lines around each match.
const CONTEXT_MAX: usize = 10;
/// Where a line is cut; stops minified files from filling an agent's context.
const LINE_BYTES_MAX: usize = 400;
/// Largest file that is searched.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// How much of a file is looked at to tell whether it is text.
const PROBE_BYTES: usize = 8 << 10;
/// Largest compiled pattern; stops a pattern from using up the memory.
const PATTERN_BYTES_MAX: usize = 4 << 20;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grep {
    /// The regular expression.
    #[schemars(length(min = 1))]
    pattern: String,
    /// Directory or file to search, relative to /workspace.
    #[serde(default = "super::here")]
    #[schemars(length(min = 1))]
    path: String,
    /// Only files that match this glob, such as `*.rs`.
    #[schemars(length(min = 1))]
    glob: Option<String>,
    /// Let upper and lower case match.
    #[serde(default)]
    ignore_case: bool,
    /// Lines to show before and after each match.
    #[serde(default)]
    #[schemars(range(max = CONTEXT_MAX))]
    context: usize,
    /// Most matching lines to return.
    #[serde(default = "matches_default")]
    #[schemars(range(min = 1, max = MATCHES_MAX))]
    limit: usize,
}

fn matches_default() -> usize {
    MATCHES_DEFAULT
}

#[derive(Serialize, JsonSchema)]
struct Match {
    path: String,
    line: usize,
    text: String,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Matches {
    matches: Vec<Match>,
    files: usize,
    truncated: bool,
}

impl Tool for Grep {
    const NAME: &'static str = "grep";
    const TITLE: &'static str = "Search in files";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Structured = Matches;

    fn description() -> String {
        format!(
            "Searches files for a regular expression (Rust syntax: no look-around, no \
             back-references) line by line, and returns `path:line: text` ordered by path. \
             `path` may be a directory or one file; `glob` restricts the files by name. \
             Example: {{\"pattern\": \"fn \\\\w+_test\", \"path\": \"src\", \"glob\": \"*.rs\"}}. \
             With `context`, lines around a match have `-` in place of `:`. Binary, ignored \
             and very large files are left out. {MATCHES_DEFAULT} matching lines unless \
             `limit` is given; lines are cut after {LINE_BYTES_MAX} bytes."
        )
    }

    fn call(self, places: &Places) -> Result<Output<Matches>, Error> {
        let place = places.find(&self.path)?;
        let pattern = compile(&self, false)?;
        let probe = compile(&self, true)?;
        let glob = self.glob.as_deref().map(walk::matcher).transpose()?;
        let mut search = Search {
            probe: (!self.pattern.contains(['A', 'z'])).then_some(probe),
            pattern,
            context: self.context.min(CONTEXT_MAX),
            limit: self.limit.clamp(1, MATCHES_MAX),
            lines: Vec::new(),
            matches: Vec::new(),
            files: 0,
            skipped_large: 0,
            truncated: false,
        };
        for file in walk::files(&place, false)? {
            let shown = place.show_below(&file.relative);
            let name = if file.relative.is_empty() {
                &shown
            } else {
                &file.relative
            };
            if glob.as_ref().is_some_and(|glob| !glob.is_match(name)) {
                continue;
            }
            match read(&file.path) {
                Content::Text(text) => search.file(&shown, &text),
                Content::TooLarge => search.skipped_large += 1,
                Content::NoText => {}
            }
            if search.truncated {
                break;
            }
        }
        Ok(search.output())
    }
}

struct Search {
    pattern: Regex,
    /// Finds every file that has a matching line, and perhaps some more; absent where
    /// the pattern may ask for the start or end of the text (`\A`, `\z`).
    probe: Option<Regex>,
    context: usize,
    limit: usize,
    lines: Vec<String>,
    matches: Vec<Match>,
    files: usize,
    skipped_large: usize,
    truncated: bool,
}

/// For a line, or (`whole`) for a text of many.
fn compile(arguments: &Grep, whole: bool) -> Result<Regex, Error> {
    RegexBuilder::new(&arguments.pattern)
        .case_insensitive(arguments.ignore_case)
        .multi_line(whole)
        .crlf(whole)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| Error::Refused(format!("the pattern is not valid: {error}")))
}

enum Content {
    Text(String),
    TooLarge,
    NoText,
}

/// The text of a file; lossy, so that one odd byte does not hide the rest.
fn read(path: &std::path::Path) -> Content {
    let mut bytes = Vec::new();
    let Ok(file) = fs::File::open(path) else {
        return Content::NoText;
    };
    if file
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .is_err()
        || bytes[..bytes.len().min(PROBE_BYTES)].contains(&0)
    {
        return Content::NoText;
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Content::TooLarge;
    }
    Content::Text(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

impl Search {
    fn file(&mut self, shown: &str, text: &str) {
        // Most files have no match at all: look once before going through the lines.
        if self
            .probe
            .as_ref()
            .is_some_and(|probe| !probe.is_match(text))
        {
            return;
        }
        let lines: Vec<&str> = text.lines().collect();
        let mut found = false;
        let mut printed = 0;
        for (index, line) in lines.iter().enumerate() {
            if !self.pattern.is_match(line) {
                continue;
            }
            if self.matches.len() == self.limit {
                self.truncated = true;
                break;
            }
            let first = index.saturating_sub(self.context).max(printed);
            if self.context > 0 && !self.lines.is_empty() && (first > printed || !found) {
                self.lines.push("--".into());
            }
            found = true;
            self.context(shown, &lines, first..index);
            if index >= printed {
                self.line(shown, index, line, ':');
            } else if let Some(at) = self.lines.len().checked_sub(printed - index) {
                // Shown already as context of the match above: now it is a match.
                self.lines[at] = format_line(shown, index, line, ':');
            }
            let last = (index + self.context).min(lines.len() - 1);
            self.context(shown, &lines, (index + 1).max(printed)..last + 1);
            printed = printed.max(last + 1);
            self.matches.push(Match {
                path: shown.to_owned(),
                line: index + 1,
                text: cut(line, LINE_BYTES_MAX).0.to_owned(),
            });
        }
        self.files += usize::from(found);
    }

    fn context(&mut self, shown: &str, lines: &[&str], range: Range<usize>) {
        for (index, line) in lines.iter().enumerate().take(range.end).skip(range.start) {
            self.line(shown, index, line, '-');
        }
    }

    fn line(&mut self, shown: &str, index: usize, line: &str, mark: char) {
        self.lines.push(format_line(shown, index, line, mark));
    }

    fn output(self) -> Output<Matches> {
        let mut text = self.lines.join("\n");
        if self.matches.is_empty() {
            text.push_str("[no match]");
        }
        if self.truncated {
            text.push_str(&format!(
                "\n[cut after {}; narrow the search or raise the limit]",
                count(self.matches.len(), "match")
            ));
        }
        if self.skipped_large > 0 {
            text.push_str(&format!(
                "\n[{} larger than {} MiB not searched]",
                count(self.skipped_large, "file"),
                FILE_BYTES_MAX >> 20
            ));
        }
        Output::new(
            text,
            Matches {
                matches: self.matches,
                files: self.files,
                truncated: self.truncated,
            },
        )
    }
}

fn format_line(shown: &str, index: usize, line: &str, mark: char) -> String {
    let (text, was_cut) = cut(line, LINE_BYTES_MAX);
    let dots = if was_cut { "…" } else { "" };
    format!("{shown}{mark}{}{mark} {text}{dots}", index + 1)
}

#[cfg(test)]
mod tests {
    use crate::tools::testing::Fixture;
    use serde_json::{Value, json};

    fn tree() -> Fixture {
        Fixture::new(&[
            ("b.rs", "one\ntwo\nthree\nfour two\n"),
            ("a/x.txt", "TWO\n"),
            (".gitignore", "ignored\n"),
            ("ignored", "two\n"),
            ("binary", "two\0\n"),
        ])
    }

    fn grep(arguments: Value) -> String {
        tree().text("grep", &arguments)
    }

    #[test]
    fn matching_lines_come_ordered_with_their_numbers() {
        assert_eq!(
            grep(json!({"pattern": "two"})),
            "b.rs:2: two\nb.rs:4: four two"
        );
        assert_eq!(
            grep(json!({"pattern": "two", "ignore_case": true})),
            "a/x.txt:1: TWO\nb.rs:2: two\nb.rs:4: four two"
        );
        assert_eq!(
            grep(json!({"pattern": "^two$", "path": "b.rs"})),
            "b.rs:2: two"
        );
        assert_eq!(
            grep(json!({"pattern": "TWO", "glob": "*.rs"})),
            "[no match]"
        );
        assert_eq!(
            grep(json!({"pattern": "TWO", "path": "a"})),
            "a/x.txt:1: TWO"
        );
    }

    #[test]
    fn anchors_mean_a_line_whatever_its_end() {
        let files = Fixture::new(&[("f", "one\r\ntwo\r\nthree")]);
        let found = |pattern: &str| files.text("grep", &json!({"pattern": pattern}));
        assert_eq!(found("two$"), "f:2: two");
        assert_eq!(found("^three$"), "f:3: three");
        assert_eq!(found(r"\Atwo\z"), "f:2: two");
        assert_eq!(found("one\ntwo"), "[no match]");
    }

    #[test]
    fn context_overlaps_without_repeating_a_line() {
        assert_eq!(
            grep(json!({"pattern": "two", "context": 1})),
            "b.rs-1- one\nb.rs:2: two\nb.rs-3- three\nb.rs:4: four two"
        );
        assert_eq!(
            grep(json!({"pattern": "t", "context": 1, "path": "b.rs"})),
            "b.rs-1- one\nb.rs:2: two\nb.rs:3: three\nb.rs:4: four two"
        );
        let gap = Fixture::new(&[("f", "x\n1\n2\n3\nx\n")]);
        assert_eq!(
            gap.text("grep", &json!({"pattern": "x", "context": 1})),
            "f:1: x\nf-2- 1\n--\nf-4- 3\nf:5: x"
        );
    }

    #[test]
    fn results_are_bounded_and_say_so() {
        let files = Fixture::new(&[("many", &"hit\n".repeat(500)), ("long", &"y".repeat(1_000))]);
        let output = files
            .call("grep", &json!({"pattern": "hit", "limit": 3}))
            .expect("runs");
        assert_eq!(
            output.structured.as_ref().expect("structured")["truncated"],
            true
        );
        assert!(
            output
                .text()
                .ends_with("[cut after 3 matches; narrow the search or raise the limit]")
        );
        assert!(files.text("grep", &json!({"pattern": "y"})).len() < 500);
    }

    #[test]
    fn a_pattern_that_is_wrong_or_too_large_is_refused() {
        assert!(
            tree()
                .error("grep", &json!({"pattern": "("}))
                .contains("not valid")
        );
        let large = json!({"pattern": "(\\w{500}){500}"});
        assert!(tree().error("grep", &large).contains("not valid"));
    }
}
