//! `read_file`: the text of a file, or some lines of it.

use forerun_tool_kit::text::{self, count, cut};
use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool,
};

/// Lines that are returned unless `limit` says otherwise.
const LINES_DEFAULT: usize = 2_000;
/// Most bytes that are returned; stops one file from filling an agent's context.
const BYTES_MAX: usize = 256 << 10;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadFile {
    /// The file, relative to /workspace.
    #[schemars(length(min = 1))]
    path: String,
    /// The first line to return, from 1.
    #[schemars(range(min = 1))]
    offset: Option<usize>,
    /// How many lines to return at most.
    #[schemars(range(min = 1))]
    limit: Option<usize>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Lines {
    path: String,
    first_line: usize,
    lines: usize,
    total_lines: usize,
    truncated: bool,
}

impl Tool for ReadFile {
    const NAME: &'static str = "read_file";
    const TITLE: &'static str = "Read file";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Structured = Lines;

    fn description() -> String {
        format!(
            "Returns the text of a file exactly as it is. Use it before editing a file, and \
             with `offset` and `limit` for a part of a long one. Example: \
             {{\"path\": \"src/main.rs\", \"offset\": 120, \"limit\": 40}}. \
             At most {LINES_DEFAULT} lines unless `limit` is given, and {} KiB; where more \
             follows, a last line in brackets says how to go on. UTF-8 text only.",
            BYTES_MAX >> 10
        )
    }

    fn call(self, places: &Places) -> Result<Output<Lines>, Error> {
        let place = places.find(&self.path)?;
        let whole = text::read(&place)?;
        let lines: Vec<&str> = whole.split_inclusive('\n').collect();
        let first = self.offset.unwrap_or(1).max(1);
        if first > lines.len().max(1) {
            return Err(Error::Refused(format!(
                "{} has {}; line {first} is past its end",
                place.shown,
                count(lines.len(), "line")
            )));
        }
        let limit = self.limit.unwrap_or(LINES_DEFAULT);
        let wanted = lines.iter().skip(first - 1).take(limit);
        let mut text = String::new();
        let mut taken = 0;
        for line in wanted {
            if text.len() + line.len() > BYTES_MAX {
                break;
            }
            text.push_str(line);
            taken += 1;
        }
        let next = first + taken;
        let mut truncated = next <= lines.len() && !lines.is_empty();
        if truncated && taken == 0 {
            let line = lines[first - 1];
            let (start, _) = cut(line, BYTES_MAX);
            text = format!(
                "{start}\n[line {first} is {} bytes long and was cut; continue with offset {}]",
                line.len(),
                first + 1
            );
            taken = 1;
        } else if truncated {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&format!(
                "[lines {first} to {} of {}; continue with offset {next}]",
                next - 1,
                lines.len()
            ));
        } else if lines.is_empty() {
            text.push_str("[the file is empty]");
            truncated = false;
        }
        Ok(Output::new(
            text,
            Lines {
                path: place.shown,
                first_line: first,
                lines: taken,
                total_lines: lines.len(),
                truncated,
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use crate::tools::testing::Fixture;
    use serde_json::json;

    #[test]
    fn a_file_is_returned_exactly() {
        let files = Fixture::new(&[("a.txt", "one\r\ntwo\n\nno newline")]);
        let output = files
            .call("read_file", &json!({"path": "a.txt"}))
            .expect("reads");
        assert_eq!(output.text(), "one\r\ntwo\n\nno newline");
        assert_eq!(
            output.structured.as_ref().expect("structured")["total_lines"],
            4
        );
        assert_eq!(
            output.structured.as_ref().expect("structured")["truncated"],
            false
        );
    }

    #[test]
    fn a_range_says_how_to_go_on() {
        let files = Fixture::new(&[("a.txt", "1\n2\n3\n4\n")]);
        assert_eq!(
            files.text(
                "read_file",
                &json!({"path": "a.txt", "offset": 2, "limit": 2})
            ),
            "2\n3\n[lines 2 to 3 of 4; continue with offset 4]"
        );
        assert_eq!(
            files.text("read_file", &json!({"path": "a.txt", "offset": 4})),
            "4\n"
        );
    }

    #[test]
    fn a_long_file_is_cut_at_a_line_and_a_long_line_anywhere() {
        let line = format!("{}\n", "x".repeat(1_000));
        let files = Fixture::new(&[("many", &line.repeat(1_000)), ("one", &"é".repeat(300_000))]);
        let text = files.text("read_file", &json!({"path": "many"}));
        assert!(text.len() < 270_000);
        assert!(
            text.ends_with("[lines 1 to 261 of 1000; continue with offset 262]"),
            "{}",
            &text[text.len() - 80..]
        );
        let text = files.text("read_file", &json!({"path": "one"}));
        assert!(text.contains("was cut"));
    }

    #[test]
    fn what_cannot_be_read_is_said_plainly() {
        let files = Fixture::new(&[("a", "x\n"), ("dir/b", ""), ("empty", "")]);
        std::fs::write(files.path("binary"), [0xff, 0, 1]).expect("written");
        assert_eq!(
            files.text("read_file", &json!({"path": "empty"})),
            "[the file is empty]"
        );
        let error = |path| files.error("read_file", &json!({"path": path}));
        assert_eq!(error("none"), "cannot read none: no such file or directory");
        assert!(error("dir").contains("is a directory"));
        assert!(error("binary").contains("no UTF-8 text (3 bytes)"));
        assert!(error("../../etc/passwd").contains("climbs out"));
        assert!(
            files
                .error("read_file", &json!({"path": "a", "offset": 9}))
                .contains("has 1 line; line 9 is past its end")
        );
    }
}
