//! Every way in which a call of this SDK fails, with a stable code and, where there is
//! one, the remedy.
//!
//! What the daemon refuses comes as google.rpc details; they are decoded here and
//! nowhere else.

use crate::endpoint::EndpointError;
use crate::model::ModelError;
use crate::script::ScriptError;
use forerun_proto::conversions::ConversionError;
use forerun_proto::reason;
use forerun_types::JsonError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Result of a call of this SDK.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint is not one that can be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No daemon answers, and starting one is forbidden.
    #[error("no daemon answers on {endpoint}")]
    NotRunning {
        /// Where one was looked for.
        endpoint: String,
    },
    /// What is at the socket's place belongs to somebody else, or could be replaced by
    /// somebody else.
    #[error("{path} is not safe to connect to: {problem}")]
    Unsafe {
        /// The socket, or its directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The `forerun` program was not found.
    #[error("the forerun program was not found: looked at {}", .looked_at.join(", "))]
    BinaryNotFound {
        /// Every place that was looked at.
        looked_at: Vec<String>,
    },
    /// The daemon was started, and stopped or did not answer.
    #[error("the daemon did not start: {problem}{}", tail(.log_tail))]
    StartFailed {
        /// What happened instead.
        problem: String,
        /// Its log.
        log: PathBuf,
        /// The last lines that it wrote there.
        log_tail: String,
    },
    /// Something of the local system failed.
    #[error("{doing} {path}")]
    Io {
        /// What was being done: "could not read".
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The daemon could not be reached, or the connection broke.
    #[error("the daemon can not be reached")]
    Unreachable {
        /// What the transport says.
        #[source]
        source: Box<Status>,
    },
    /// The daemon refused the call.
    #[error(transparent)]
    Refused(#[from] Box<Refusal>),
    /// The daemon sent something that this SDK can not read.
    #[error("the daemon sent an invalid {what}: {source}")]
    Invalid {
        /// What it was.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: ConversionError,
    },
    /// The two sides speak different major versions of the protocol.
    #[error("the daemon speaks protocol {theirs}, this program speaks {ours}")]
    Protocol {
        /// Our version.
        ours: String,
        /// The daemon's.
        theirs: String,
    },
    /// The daemon does not know a call that this program makes.
    #[error("the daemon that runs does not know this call; it is of an earlier version")]
    EarlierDaemon,
    /// An argument can not be sent.
    #[error("{what} {problem}")]
    Argument {
        /// Which one.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A script of a scripted agent is not valid.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// A model can not be an agent.
    #[error(transparent)]
    Model(#[from] ModelError),
}

fn tail(log_tail: &str) -> String {
    if log_tail.is_empty() {
        String::new()
    } else {
        format!("; it said:\n{log_tail}")
    }
}

/// A call that the daemon refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The stable name of the reason, one of `forerun_proto::reason`, or the name of the
    /// gRPC code if the daemon gave none.
    pub reason: String,
    /// What it says.
    pub message: String,
    /// What can be done, if there is something.
    pub hint: Option<String>,
    /// Fields of the request that are not valid, by path, and what is wrong with each.
    pub fields: Vec<(String, String)>,
    /// The state that the call would have needed.
    pub needed: Option<String>,
    /// The path in the workspace that is concerned.
    pub path: Option<String>,
    /// How long to wait before trying again.
    pub retry_after: Option<Duration>,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (field, problem) in &self.fields {
            let said = self.message.contains(field) && self.message.contains(problem);
            if !said {
                write!(f, "; {field}: {problem}")?;
            }
        }
        Ok(())
    }
}

/// Arguments of an action that are no JSON object that can be sent.
impl From<JsonError> for Error {
    fn from(error: JsonError) -> Error {
        Error::Argument {
            what: "the action's arguments:",
            problem: error.to_string(),
        }
    }
}

impl Error {
    /// A stable name for the kind of error, for programs and logs.
    pub fn code(&self) -> &str {
        match self {
            Error::Endpoint(error) => error.code(),
            Error::NotRunning { .. } => "DAEMON_NOT_RUNNING",
            Error::Unsafe { .. } => "SOCKET_UNSAFE",
            Error::BinaryNotFound { .. } => "BINARY_NOT_FOUND",
            Error::StartFailed { .. } => "DAEMON_START_FAILED",
            Error::Io { .. } => "IO",
            Error::Unreachable { .. } => "DAEMON_UNREACHABLE",
            Error::Refused(refusal) => &refusal.reason,
            Error::Invalid { .. } => "DAEMON_MESSAGE_INVALID",
            Error::Protocol { .. } | Error::EarlierDaemon => reason::PROTOCOL_MISMATCH,
            Error::Argument { .. } => "ARGUMENT_INVALID",
            Error::Script(_) => "SCRIPT_INVALID",
            Error::Model(error) => error.code(),
        }
    }

    /// What can be done about it, if anything is known to help.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Endpoint(error) => Some(error.hint().to_owned()),
            Error::NotRunning { .. } => Some(
                "start it with `forerun serve`, or allow it to be started (--no-spawn and \
                 FORERUN_NO_SPAWN forbid it)"
                    .to_owned(),
            ),
            Error::Unsafe { .. } => Some(
                "set FORERUN_ENDPOINT to a socket in a directory that only you can write to"
                    .to_owned(),
            ),
            Error::BinaryNotFound { .. } => Some(
                "install forerun into a directory of PATH, or set FORERUN_BIN to its path"
                    .to_owned(),
            ),
            Error::StartFailed { log, .. } => {
                Some(format!("its whole log is in {}", log.display()))
            }
            Error::Unreachable { .. } => {
                Some("`forerun status` says whether the daemon still runs".to_owned())
            }
            Error::Refused(refusal) => refusal.hint.clone(),
            Error::Protocol { .. } | Error::EarlierDaemon => Some(
                "`forerun shutdown` stops the daemon; the next call starts the installed one"
                    .to_owned(),
            ),
            Error::Script(error) => error.hint().map(str::to_owned),
            Error::Model(error) => error.hint(),
            Error::Io { .. } | Error::Invalid { .. } | Error::Argument { .. } => None,
        }
    }

    /// What an answer of the daemon means.
    pub(crate) fn from_status(status: Status) -> Error {
        if status.code() == Code::Unimplemented {
            return Error::EarlierDaemon;
        }
        match Refusal::read(&status) {
            Some(refusal) => Error::Refused(Box::new(refusal)),
            None => Error::Unreachable {
                source: Box::new(status),
            },
        }
    }

    /// Whether the same call may work in a moment without anybody doing anything.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Error::Unreachable { .. } | Error::NotRunning { .. } => true,
            Error::Refused(refusal) => matches!(
                refusal.reason.as_str(),
                reason::SHUTTING_DOWN | reason::WATCHER_TOO_SLOW
            ),
            _ => false,
        }
    }

    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Error {
        Error::Io {
            doing,
            path: path.into(),
            source,
        }
    }
}

impl Refusal {
    /// The refusal in a status; `None` if it comes from the transport, not the daemon.
    fn read(status: &Status) -> Option<Refusal> {
        let details = status.get_error_details();
        let info = details
            .error_info()
            .filter(|info| info.domain == reason::DOMAIN);
        if info.is_none() && is_of_the_transport(status) {
            return None;
        }
        let metadata = |key: &str| info.and_then(|info| info.metadata.get(key)).cloned();
        Some(Refusal {
            reason: info.map_or_else(
                || code_name(status.code()).to_owned(),
                |info| info.reason.clone(),
            ),
            message: status.message().to_owned(),
            hint: metadata(reason::METADATA_HINT),
            fields: details
                .bad_request()
                .map(|request| &request.field_violations)
                .into_iter()
                .flatten()
                .map(|field| (field.field.clone(), field.description.clone()))
                .collect(),
            needed: metadata(reason::METADATA_NEEDED),
            path: metadata(reason::METADATA_PATH),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
        })
    }
}

/// Codes that tonic and h2 produce when a connection breaks, and that the daemon never
/// uses without ErrorInfo.
fn is_of_the_transport(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled
    )
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tonic_types::ErrorDetails;

    fn metadata(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_call_that_the_daemon_does_not_know_says_how_to_get_one_that_does() {
        let error = Error::from_status(Status::unimplemented(""));
        assert_eq!(error.code(), reason::PROTOCOL_MISMATCH);
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("forerun shutdown"))
        );
    }

    #[test]
    fn the_daemons_details_become_code_hint_and_fields() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info(
                reason::INTERRUPT_REFUSED,
                reason::DOMAIN,
                metadata(&[
                    (reason::METADATA_HINT, "wait for the next step"),
                    (reason::METADATA_NEEDED, "a review window"),
                ]),
            )
            .add_bad_request_violation("step", "is decided")
            .set_retry_info(Some(Duration::from_secs(2)));
        let status = Status::with_error_details(Code::FailedPrecondition, "too late", details);
        let error = Error::from_status(status);
        assert_eq!(error.code(), "INTERRUPT_REFUSED");
        assert_eq!(error.hint().as_deref(), Some("wait for the next step"));
        assert_eq!(error.to_string(), "too late; step: is decided");
        let Error::Refused(refusal) = error else {
            panic!("a refusal, not {error:?}");
        };
        assert_eq!(refusal.needed.as_deref(), Some("a review window"));
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_refusal_without_details_keeps_the_name_of_its_code() {
        let error = Error::from_status(Status::data_loss("some of it"));
        assert_eq!(error.code(), "DATA_LOSS");
        assert!(!error.is_passing());
    }

    #[test]
    fn a_broken_connection_is_passing_and_a_stopping_daemon_is_too() {
        assert!(Error::from_status(Status::unavailable("broken pipe")).is_passing());
        let mut details = ErrorDetails::new();
        details.set_error_info(reason::SHUTTING_DOWN, reason::DOMAIN, metadata(&[]));
        let status = Status::with_error_details(Code::Unavailable, "stopping", details.clone());
        assert!(Error::from_status(status).is_passing());
        details.set_error_info(reason::INTERNAL, reason::DOMAIN, metadata(&[]));
        let status = Status::with_error_details(Code::Internal, "a fault", details);
        assert!(!Error::from_status(status).is_passing());
    }
}
