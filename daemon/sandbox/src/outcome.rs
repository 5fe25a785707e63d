//! How an end becomes an observation: which words, and what is cut.

use crate::guest::exports::forerun::tool::tools as wit;
use forerun_snapshot::{Delta, FsError};
use forerun_types::{
    CanonicalJson, LimitName, Limits, Observation, ObservationStatus, TouchDenied,
};

/// Bytes of stderr that are shown of a tool that crashed.
const STDERR_BYTES: usize = 4 << 10;
/// Paths that are named where a list of them could be long.
const PATHS_SHOWN: usize = 3;

/// How the guest ended.
pub(crate) enum End {
    /// It returned a result.
    Output(wit::Output),
    /// It did not take the call.
    Refused(String),
    /// It is a command, and ended with this code.
    Exit(i32),
    /// It was stopped by a limit.
    Limit(LimitName),
    /// It trapped.
    Trap(String),
}

impl End {
    /// One phrase, for an end that is no result.
    pub(crate) fn describe(&self, limits: &Limits) -> String {
        match self {
            End::Output(output) => text(&output.content),
            End::Refused(refusal) => refusal.clone(),
            End::Exit(code) => format!("it exited with code {code}"),
            End::Limit(limit) => limit_text(*limit, limits),
            End::Trap(trap) => format!("the tool crashed: {trap}"),
        }
    }
}

/// What an agent sees.
pub(crate) fn observe(end: &End, limits: &Limits, stdout: &str, stderr: &str) -> Observation {
    match end {
        End::Output(output) => result(output, limits),
        End::Exit(code) => exit(*code, limits, stdout, stderr),
        End::Refused(refusal) => {
            let (text, truncated) = cut(refusal, limits.output_bytes);
            Observation {
                truncated,
                ..Observation::new(ObservationStatus::Invalid, text)
            }
        }
        End::Limit(limit) => Observation::new(
            ObservationStatus::Stopped(*limit),
            format!(
                "{}; it was stopped and nothing was changed",
                end.describe(limits)
            ),
        ),
        End::Trap(_) => {
            let mut text = format!("{}; nothing was changed", end.describe(limits));
            let stderr = stderr.trim_end();
            if !stderr.is_empty() {
                text.push('\n');
                text.push_str(tail(stderr, STDERR_BYTES));
            }
            Observation::new(ObservationStatus::Stopped(LimitName::Trap), text)
        }
    }
}

/// What a command printed, then what it complained, then its code unless that is 0.
fn exit(code: i32, limits: &Limits, stdout: &str, stderr: &str) -> Observation {
    let mut text = stdout.to_owned();
    let mut add = |part: &str| {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(part);
    };
    if !stderr.is_empty() {
        add("[stderr]\n");
        add(stderr);
    }
    if code != 0 {
        add(&format!("[exit code {code}]"));
    }
    let (text, truncated) = cut(&text, limits.output_bytes);
    Observation {
        status: match code {
            0 => ObservationStatus::Success,
            _ => ObservationStatus::ToolError,
        },
        text,
        structured: Some(format!(r#"{{"exit_code":{code}}}"#)),
        truncated,
    }
}

fn result(output: &wit::Output, limits: &Limits) -> Observation {
    let status = if output.is_error {
        ObservationStatus::ToolError
    } else {
        ObservationStatus::Success
    };
    let (text, mut truncated) = cut(&text(&output.content), limits.output_bytes);
    let mut structured = None;
    if let Some(json) = &output.structured {
        if json.len() as u64 > limits.output_bytes {
            truncated = true;
        } else {
            match CanonicalJson::parse(json) {
                Ok(json) => structured = Some(String::from(json)),
                Err(error) => {
                    return Observation::new(
                        ObservationStatus::ToolError,
                        format!("{text}\n[the tool's structured output is not valid: {error}]"),
                    );
                }
            }
        }
    }
    Observation {
        status,
        text,
        structured,
        truncated,
    }
}

/// The text of a result; what is no text is named.
pub(crate) fn text(content: &[wit::Content]) -> String {
    let parts: Vec<String> = content
        .iter()
        .map(|content| match content {
            wit::Content::Text(text) => text.clone(),
            wit::Content::Blob(blob) => {
                format!("[{} bytes of {}]", blob.data.len(), blob.mime_type)
            }
        })
        .collect();
    parts.join("\n")
}

/// Cuts at a character boundary and says so at the end.
fn cut(text: &str, max: u64) -> (String, bool) {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    if text.len() <= max {
        return (text.to_owned(), false);
    }
    let end = (0..=max)
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    let marked = format!(
        "{}\n[{} more bytes were cut]",
        &text[..end],
        text.len() - end
    );
    (marked, true)
}

/// The last bytes: a panic's message is at the end.
fn tail(text: &str, max: usize) -> &str {
    let start = text.len().saturating_sub(max);
    let start = (start..=text.len())
        .find(|&start| text.is_char_boundary(start))
        .unwrap_or(text.len());
    &text[start..]
}

fn limit_text(limit: LimitName, limits: &Limits) -> String {
    match limit {
        LimitName::Memory => format!(
            "the tool needed more than its limit of {} of memory",
            bytes(limits.memory_bytes)
        ),
        LimitName::Cpu => format!(
            "the tool computed for longer than its limit of {} of CPU time",
            time(limits.cpu_ms)
        ),
        LimitName::WallTime => format!(
            "the tool did not end within its limit of {} of wall time",
            time(limits.wall_ms)
        ),
        LimitName::Delta => format!(
            "the changes of this step and of the unverified ones before it reached their limit of {} or {} files",
            bytes(limits.delta_bytes),
            limits.delta_nodes
        ),
        LimitName::Handles => format!(
            "the tool held more than its limit of {} open handles",
            limits.handles
        ),
        LimitName::Trap | LimitName::Internal => "the sandbox failed".into(),
    }
}

fn bytes(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 20 && b.is_multiple_of(1 << 20) => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b.is_multiple_of(1 << 10) => format!("{} KiB", b >> 10),
        b => format!("{b} bytes"),
    }
}

fn time(ms: u64) -> String {
    if ms >= 1_000 && ms.is_multiple_of(1_000) {
        format!("{} s", ms / 1_000)
    } else {
        format!("{ms} ms")
    }
}

/// One sentence for an agent.
pub(crate) fn denial(denied: &TouchDenied) -> String {
    if denied.policy.is_empty() {
        format!("{denied} (no policy permits it); trying again will not help")
    } else {
        format!(
            "{denied} (policy {}); trying again will not help",
            denied.policy
        )
    }
}

/// A tool that said it changes nothing, and did.
pub(crate) fn not_read_only(tool: &str, delta: &Delta) -> Observation {
    let changed = delta.changed();
    let mut paths: Vec<&str> = changed
        .iter()
        .take(PATHS_SHOWN)
        .map(|change| change.path.as_str())
        .collect();
    if changed.len() > PATHS_SHOWN {
        paths.push("…");
    }
    Observation::new(
        ObservationStatus::Stopped(LimitName::Trap),
        format!(
            "{tool} says that it only reads, but it changed {}; its changes were dropped",
            paths.join(", ")
        ),
    )
}

/// The branch could not become a snapshot.
pub(crate) fn unfrozen(error: &FsError) -> Observation {
    Observation::new(
        ObservationStatus::Stopped(LimitName::Internal),
        format!("the changes could not be kept: {error}; nothing was changed"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters_and_marked() {
        assert_eq!(cut("aéb", 2), ("a\n[3 more bytes were cut]".into(), true));
        assert_eq!(cut("aéb", 4), ("aéb".into(), false));
        assert_eq!(tail("éb", 2), "b");
    }

    #[test]
    fn every_limit_is_named_with_its_value() {
        let limits = Limits::default();
        for (limit, words) in [
            (LimitName::Memory, "256 MiB of memory"),
            (LimitName::Cpu, "10 s of CPU time"),
            (LimitName::WallTime, "30 s of wall time"),
            (LimitName::Delta, "1024 MiB or 200000 files"),
            (LimitName::Handles, "1024 open handles"),
        ] {
            let observation = observe(&End::Limit(limit), &limits, "", "");
            assert_eq!(observation.status, ObservationStatus::Stopped(limit));
            assert!(observation.text.contains(words), "{}", observation.text);
            assert!(observation.text.contains("nothing was changed"));
        }
    }

    #[test]
    fn structured_output_is_made_canonical_or_refused() {
        let output = |structured: &str| wit::Output {
            content: vec![wit::Content::Text("x".into())],
            structured: Some(structured.into()),
            is_error: false,
        };
        let seen = result(&output(r#"{"b": 1.0, "a": 2}"#), &Limits::default());
        assert_eq!(seen.structured.as_deref(), Some(r#"{"a":2,"b":1}"#));
        let seen = result(&output("{"), &Limits::default());
        assert_eq!(seen.status, ObservationStatus::ToolError);
        assert!(seen.structured.is_none());
    }
}
