//! The `shell` tool: bash scripts over the sandbox's files, without any process.
//!
//! The interpreter and its commands are the `bashkit` crate; `files` lets it see the
//! workspace. What it does not do as bash does is listed in `docs/README.md`, which a test
//! compares with what a corpus of scripts shows.
//!
//! **Invariants.** No network. Nothing outlives a call but files. Output is bounded, and
//! says so where it was cut.

#[cfg(target_arch = "wasm32")]
mod files;
#[cfg(target_arch = "wasm32")]
mod interpreter;

use forerun_tool_kit::{
    Annotations, Deserialize, Error, JsonSchema, Output, Places, Serialize, Tool,
};

/// Bytes of stdout and of stderr that are returned; what is in the middle is left out.
const STREAM_BYTES_MAX: usize = 64 << 10;

/// A script and what it reads.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "used in a sandbox")
)]
pub struct Shell {
    /// The bash script. It begins in /workspace.
    #[schemars(length(min = 1))]
    script: String,
    /// What the script can read from its standard input.
    #[serde(default)]
    stdin: String,
}

/// How a script ended.
#[derive(Serialize, JsonSchema)]
pub struct Ended {
    /// Its standard output, cut in the middle if long.
    stdout: String,
    /// Its standard error, cut in the middle if long.
    stderr: String,
    /// Zero for success.
    exit_code: i32,
    /// Whether one of the streams was cut.
    truncated: bool,
}

impl Tool for Shell {
    const NAME: &'static str = "shell";
    const TITLE: &'static str = "Run a shell script";
    const ANNOTATIONS: Annotations = Annotations::CHANGES;
    type Structured = Ended;

    fn description() -> String {
        format!(
            "Runs a bash script over the files of the workspace and returns stdout, stderr and \
             the exit code. Use it for searching, counting, text processing and changes of many \
             files: pipes, redirection, globs, variables, arrays, functions, loops, \
             here-documents, arithmetic, and the usual commands (find, grep, sed, awk, sort, \
             uniq, cut, tr, head, tail, wc, xargs, tee, diff, jq, tar, cp, mv, rm, mkdir and so \
             on). Example: {{\"script\": \"grep -rl TODO src | sort | head -5\"}}. It begins in \
             /workspace; /tmp is for temporary files; no variable, function or directory change \
             lasts until the next call, files do. It cannot start programs (no git, make, cargo, \
             npm, python, compilers), has no network, keeps no file modes, and stops recursion \
             of functions at depth 16. An exit code other than 0 is a result, not a failure of \
             the call. Each stream is cut in the middle after {} KiB.",
            STREAM_BYTES_MAX >> 10
        )
    }

    fn call(self, _: &Places) -> Result<Output<Ended>, Error> {
        run(&self)
    }
}

forerun_tool_kit::export!(Shell);

#[cfg(target_arch = "wasm32")]
fn run(shell: &Shell) -> Result<Output<Ended>, Error> {
    let ended = interpreter::run(&shell.script, &shell.stdin)?;
    Ok(present(&ended.stdout, &ended.stderr, ended.exit_code))
}

#[cfg(not(target_arch = "wasm32"))]
fn run(_: &Shell) -> Result<Output<Ended>, Error> {
    Err(Error::Refused("shell runs in a sandbox only".into()))
}

/// The streams and the exit code, as text and for a program.
#[cfg_attr(not(target_arch = "wasm32"), cfg(test))]
fn present(stdout: &str, stderr: &str, exit_code: i32) -> Output<Ended> {
    let (stdout, cut_out) = bounded(stdout, STREAM_BYTES_MAX);
    let (stderr, cut_err) = bounded(stderr, STREAM_BYTES_MAX);
    let mut text = stdout.clone();
    let mut section = |head: &str, body: &str| {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(head);
        text.push_str(body);
    };
    if !stderr.is_empty() {
        section("[stderr]\n", &stderr);
    }
    if exit_code != 0 {
        section(&format!("[exit code {exit_code}]"), "");
    } else if stdout.is_empty() && stderr.is_empty() {
        section("[no output]", "");
    }
    Output::new(
        text,
        Ended {
            stdout,
            stderr,
            exit_code,
            truncated: cut_out || cut_err,
        },
    )
}

/// The start and the end of a text that is too long, with a mark between; whether it was.
#[cfg_attr(not(target_arch = "wasm32"), cfg(test))]
fn bounded(text: &str, max: usize) -> (String, bool) {
    if text.len() <= max {
        return (text.to_owned(), false);
    }
    let (start, _) = forerun_tool_kit::text::cut(text, max / 2);
    let end = (text.len() - max / 2..text.len())
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(text.len());
    let left_out = end - start.len();
    (
        format!("{start}\n[{left_out} bytes left out]\n{}", &text[end..]),
        true,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_shows_what_there_is_and_no_more() {
        let text = |stdout, stderr, code| present(stdout, stderr, code).text();
        assert_eq!(text("a\n", "", 0), "a\n");
        assert_eq!(text("", "", 0), "[no output]");
        assert_eq!(text("", "", 1), "[exit code 1]");
        assert_eq!(text("a", "b\n", 2), "a\n[stderr]\nb\n[exit code 2]");
    }

    #[test]
    fn a_long_stream_keeps_its_start_and_its_end() {
        let long = format!("start{}end", "é".repeat(100));
        let (cut, was_cut) = bounded(&long, 40);
        assert!(was_cut);
        assert!(cut.starts_with("starté") && cut.ends_with("éend"), "{cut}");
        assert!(cut.contains("[170 bytes left out]"), "{cut}");
        assert_eq!(bounded("short", 40), ("short".into(), false));
        assert!(present(&"x".repeat(100_000), "", 0).structured.truncated);
    }

    #[test]
    fn the_description_has_an_example_that_is_accepted() {
        let tool = &list()[0];
        assert!(tool.description.contains(r#"{"script": "grep"#));
        let example = r#"{"script": "grep -rl TODO src | sort | head -5"}"#;
        let places = Places::new("/workspace".as_ref(), "/tmp".as_ref());
        let error = forerun_tool_kit::call(TOOLS, &places, "shell", example).expect_err("native");
        assert!(matches!(error, Error::Refused(_)), "{error}");
    }
}
