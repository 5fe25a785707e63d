//! One script in one interpreter.

use crate::files::Files;
use bashkit::{Bash, ExecOptions, ExecutionLimits, MemoryLimits, SessionLimits};
use forerun_tool_kit::Error;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a stream that are kept, of which the tool shows a part; stops a loop that
/// prints from using up the memory.
const STREAM_BYTES_KEPT: usize = 4 << 20;
/// Bytes that the interpreter holds for pipes and substitutions; with the rest of it
/// below the sandbox's memory.
const INTERMEDIATE_BYTES_MAX: u64 = 64 << 20;
/// Steps of the parser: more than any script of 1 MiB needs.
const PARSER_STEPS_MAX: usize = 10_000_000;
/// What has a limit of the sandbox already needs none here: longer than any action.
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Commands that reach out, or that wait for a person at a terminal.
const LEFT_OUT: [&str; 10] = [
    "curl", "wget", "http", "vi", "vim", "nano", "less", "more", "man", "clear",
];

/// How a script ended, whole.
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) exit_code: i32,
}

pub(crate) fn run(script: &str, stdin: &str) -> Result<Ended, Error> {
    let broken = |error: &dyn std::fmt::Display| Error::Refused(format!("cannot run: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| broken(&error))?;
    let limits = ExecutionLimits {
        max_work_units: u64::MAX,
        max_aggregate_input_bytes: u64::MAX,
        max_live_intermediate_bytes: INTERMEDIATE_BYTES_MAX,
        max_parser_operations: PARSER_STEPS_MAX,
        max_stdout_bytes: STREAM_BYTES_KEPT,
        max_stderr_bytes: STREAM_BYTES_KEPT,
        timeout: TIME_MAX,
        ..ExecutionLimits::cli()
    };
    let mut bash = Bash::builder()
        .fs(Arc::new(Files::new()))
        .cwd("/workspace")
        .env("HOME", "/workspace")
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .username("agent")
        .hostname("sandbox")
        .limits(limits)
        .session_limits(SessionLimits::unlimited())
        .memory_limits(MemoryLimits::unlimited())
        .builtin_filter(|name| !LEFT_OUT.contains(&name))
        .build();
    let options = ExecOptions::new().stdin(stdin);
    match runtime.block_on(bash.exec_with_options(script, options)) {
        Ok(result) => Ok(Ended {
            stdout: result.stdout.text_lossy().into_owned(),
            stderr: result.stderr.text_lossy().into_owned(),
            exit_code: result.exit_code,
        }),
        // As bash: a script that does not parse is a script that failed.
        Err(error @ bashkit::Error::Parse { .. }) => Ok(Ended {
            stdout: String::new(),
            stderr: format!("bash: {error}\n"),
            exit_code: 2,
        }),
        Err(error) => Err(broken(&error)),
    }
}
