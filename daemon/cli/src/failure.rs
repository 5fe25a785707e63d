//! How a command fails: one line, a hint when there is one, and a stable exit code.
//!
//! | exit | meaning (after sysexits.h) |
//! |---|---|
//! | 0 | it worked |
//! | 1 | the plan did not end with an answer |
//! | 64 | the command line is not valid |
//! | 65 | a file or an argument has wrong content: a script, JSON, a configuration |
//! | 66 | a file or a workspace does not exist, or is not what it must be |
//! | 69 | no daemon answers |
//! | 70 | a fault of Forerun's own |
//! | 74 | reading or writing failed |
//! | 75 | not now: the state does not allow it, or somebody else was faster |
//! | 77 | not allowed |
//! | 130 | interrupted by SIGINT |
//!
//! `forerun exec` ends with the code of the program that it ran, once that has ended.

use forerun_proto::reason;
use forerun_sdk::model::ModelError;
use std::fmt;
use std::process::ExitCode;

/// The exit code of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 64,
    Data = 65,
    NoInput = 66,
    Unavailable = 69,
    Software = 70,
    Io = 74,
    NotNow = 75,
    NotAllowed = 77,
    Interrupted = 130,
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, code: &str, message: impl Into<String>) -> Failure {
        Failure {
            exit,
            code: code.to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn io(doing: &str, error: &std::io::Error) -> Failure {
        Failure::new(Exit::Io, "IO", format!("{doing}: {error}"))
    }

    /// The failure on stderr: for people, or as JSON.
    #[expect(
        clippy::print_stderr,
        reason = "this is where the command line says what failed"
    )]
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json {
            let error = serde_json::json!({
                "error": { "code": self.code, "message": self.message, "hint": self.hint }
            });
            eprintln!("{error}");
        } else {
            eprintln!("{self}");
        }
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<forerun_sdk::Error> for Failure {
    fn from(error: forerun_sdk::Error) -> Failure {
        use forerun_sdk::Error;
        let exit = match &error {
            Error::Endpoint(_) | Error::Argument { .. } => Exit::Usage,
            Error::NotRunning { .. } | Error::Unreachable { .. } | Error::StartFailed { .. } => {
                Exit::Unavailable
            }
            Error::BinaryNotFound { .. } => Exit::Unavailable,
            Error::Unsafe { .. } => Exit::NotAllowed,
            Error::Io { .. } => Exit::Io,
            Error::Script(_) => match std::error::Error::source(&error) {
                Some(source) if source.is::<std::io::Error>() => Exit::NoInput,
                _ => Exit::Data,
            },
            Error::Model(error) => exit_of_model(error),
            Error::Refused(refusal) => exit_of(&refusal.reason),
            _ => Exit::Software,
        };
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Failure {
            exit,
            code: error.code().to_owned(),
            message,
            hint: error.hint(),
        }
    }
}

/// The exit code of a model that can not be an agent.
fn exit_of_model(error: &ModelError) -> Exit {
    match error {
        ModelError::KeyMissing { .. } | ModelError::KeyInvalid { .. } => Exit::NotAllowed,
        ModelError::Tls { .. } => Exit::Unavailable,
        _ => Exit::Usage,
    }
}

/// The exit code of what the daemon refused.
fn exit_of(refused: &str) -> Exit {
    match refused {
        reason::REQUEST_INVALID
        | reason::POLICY_INVALID
        | reason::PROTOCOL_VIOLATION
        | reason::COMPONENT_INVALID
        | reason::TOOL_CHANGED => Exit::Data,
        reason::TOKEN_MISSING
        | reason::TOKEN_INVALID
        | reason::TOKEN_NOT_ALLOWED
        | reason::PEER_NOT_ALLOWED => Exit::NotAllowed,
        reason::SESSION_NOT_FOUND
        | reason::WORKSPACE_NOT_FOUND
        | reason::WORKSPACE_NOT_A_DIRECTORY
        | reason::WORKSPACE_INSIDE_STATE
        | reason::WORKSPACE_UNUSABLE
        | reason::TOOL_NOT_FOUND
        | reason::POLICY_NOT_FOUND => Exit::NoInput,
        reason::SHUTTING_DOWN | reason::PROTOCOL_MISMATCH => Exit::Unavailable,
        reason::JOURNAL_FAILED | reason::INTERNAL => Exit::Software,
        _ => Exit::NotNow,
    }
}
