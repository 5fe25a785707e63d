//! Everything a request can fail with, and the one place where that becomes
//! `google.rpc.Status`: a code, a stable reason, the field, the state that was needed,
//! and a hint.

use crate::registry::RegistryError;
use crate::session::archive::ArchiveError;
use crate::session::{ActError, InterruptError};
use forerun_journal::JournalError;
use forerun_policy::PolicyError;
use forerun_proto::conversions::ConversionError;
use forerun_proto::reason;
use forerun_sandbox::LoadError;
use forerun_snapshot::{CommitError, OpenError};
use forerun_types::{Role, SessionId};
use std::collections::HashMap;
use std::error::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Why a request had no effect.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("{0}")]
    Invalid(#[from] ConversionError),
    #[error("this call needs a token")]
    TokenMissing,
    #[error("the token belongs to no such session")]
    TokenInvalid,
    #[error("the token may not {0}")]
    TokenNotAllowed(String),
    #[error("there is no session {0}")]
    NoSession(SessionId),
    #[error("the session has ended")]
    SessionOver,
    #[error("{open} sessions are open, as many as the daemon takes", open = .0)]
    TooManySessions(u32),
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error("{0}")]
    RoleTaken(String),
    #[error("the protocol's major version is {ours} here and {theirs} there")]
    Protocol { ours: u32, theirs: u32 },
    #[error("{0}")]
    ProtocolViolation(String),
    #[error("{0}")]
    Interrupt(#[from] InterruptError),
    #[error("{0}")]
    Act(#[from] ActError),
    #[error("the workspace can not be opened")]
    Workspace(#[from] OpenError),
    #[error("the workspace can not be recovered")]
    Recovery(#[from] CommitError),
    #[error("the policy can not be loaded")]
    Policy(#[from] PolicyError),
    #[error("{0}")]
    Archive(#[from] ArchiveError),
    #[error("the component can not be run")]
    Component(#[from] LoadError),
    #[error("{0}")]
    Registry(#[from] RegistryError),
    #[error("the journal failed")]
    Journal(#[from] JournalError),
    #[error("the system refused")]
    Io(#[from] std::io::Error),
    #[error("the daemon is stopping")]
    Stopping,
    #[error("a fault of the daemon's own: {0}")]
    Internal(String),
}

impl RequestError {
    pub(crate) fn not_allowed_to_attach(role: Role) -> RequestError {
        RequestError::TokenNotAllowed(format!("attach as {role}; that needs the {role} token"))
    }

    fn code(&self) -> (Code, &'static str) {
        match self {
            RequestError::Invalid(_) => (Code::InvalidArgument, reason::REQUEST_INVALID),
            RequestError::TokenMissing => (Code::Unauthenticated, reason::TOKEN_MISSING),
            RequestError::TokenInvalid => (Code::Unauthenticated, reason::TOKEN_INVALID),
            RequestError::TokenNotAllowed(_) => (Code::PermissionDenied, reason::TOKEN_NOT_ALLOWED),
            RequestError::NoSession(_) => (Code::NotFound, reason::SESSION_NOT_FOUND),
            RequestError::SessionOver => (Code::FailedPrecondition, reason::SESSION_OVER),
            RequestError::TooManySessions(_) => (Code::ResourceExhausted, reason::SESSIONS_LIMIT),
            RequestError::KeyReused
            | RequestError::Interrupt(InterruptError::KeyReused)
            | RequestError::Act(ActError::KeyReused) => {
                (Code::AlreadyExists, reason::IDEMPOTENCY_KEY_REUSED)
            }
            RequestError::Act(ActError::Unknown(_)) => (Code::NotFound, reason::ACT_NOT_FOUND),
            RequestError::Act(ActError::Superseded(_)) => (Code::Aborted, reason::ACT_SUPERSEDED),
            RequestError::Act(ActError::NotDone(_)) => {
                (Code::FailedPrecondition, reason::ACT_NOT_DONE)
            }
            RequestError::Act(ActError::TooMany | ActError::TooManyPredictions) => {
                (Code::ResourceExhausted, reason::ACTS_LIMIT)
            }
            RequestError::Act(ActError::InvalidCandidate(..)) => {
                (Code::InvalidArgument, reason::REQUEST_INVALID)
            }
            RequestError::RoleTaken(_) | RequestError::Act(ActError::TargetAttached) => {
                (Code::AlreadyExists, reason::ROLE_TAKEN)
            }
            RequestError::Protocol { .. } => (Code::FailedPrecondition, reason::PROTOCOL_MISMATCH),
            RequestError::ProtocolViolation(_) => {
                (Code::InvalidArgument, reason::PROTOCOL_VIOLATION)
            }
            RequestError::Interrupt(InterruptError::Refused { changed: true, .. }) => {
                (Code::Aborted, reason::SEEN_CHANGED)
            }
            RequestError::Interrupt(InterruptError::Refused { .. }) => {
                (Code::FailedPrecondition, reason::INTERRUPT_REFUSED)
            }
            RequestError::Interrupt(
                InterruptError::InvalidAction(_) | InterruptError::InvalidSuggestion(_),
            ) => (Code::InvalidArgument, reason::REQUEST_INVALID),
            RequestError::Interrupt(InterruptError::Ended) => {
                (Code::FailedPrecondition, reason::SESSION_OVER)
            }
            RequestError::Workspace(error) => match error.code() {
                "workspace_not_found" => (Code::NotFound, reason::WORKSPACE_NOT_FOUND),
                "workspace_not_a_directory" => {
                    (Code::InvalidArgument, reason::WORKSPACE_NOT_A_DIRECTORY)
                }
                "workspace_inside_state" => (Code::InvalidArgument, reason::WORKSPACE_INSIDE_STATE),
                "workspace_locked" => (Code::FailedPrecondition, reason::WORKSPACE_LOCKED),
                _ => (Code::FailedPrecondition, reason::WORKSPACE_UNUSABLE),
            },
            RequestError::Registry(error) => match error {
                RegistryError::Name(_) => (Code::InvalidArgument, reason::REQUEST_INVALID),
                RegistryError::NotThere(_) => (Code::NotFound, reason::TOOL_NOT_FOUND),
                RegistryError::Taken { .. } => (Code::AlreadyExists, reason::TOOL_EXISTS),
                RegistryError::Pin { .. } => (Code::FailedPrecondition, reason::TOOL_CHANGED),
                RegistryError::Full => (Code::ResourceExhausted, reason::TOOLS_LIMIT),
                RegistryError::Storage(..) => (Code::Internal, reason::INTERNAL),
            },
            RequestError::Component(_) => (Code::InvalidArgument, reason::COMPONENT_INVALID),
            RequestError::Policy(error) => match error.code() {
                "policy_unknown_set" => (Code::NotFound, reason::POLICY_NOT_FOUND),
                _ => (Code::InvalidArgument, reason::POLICY_INVALID),
            },
            RequestError::Archive(ArchiveError::Conflict { .. }) => {
                (Code::Aborted, reason::COMMIT_CONFLICT)
            }
            RequestError::Archive(ArchiveError::State { .. }) => {
                (Code::FailedPrecondition, reason::SESSION_STATE)
            }
            RequestError::Recovery(_) => (Code::FailedPrecondition, reason::COMMIT_FAILED),
            RequestError::Archive(ArchiveError::Journal(_)) | RequestError::Journal(_) => {
                (Code::Internal, reason::JOURNAL_FAILED)
            }
            RequestError::Stopping => (Code::Unavailable, reason::SHUTTING_DOWN),
            RequestError::Io(_) | RequestError::Internal(_) => (Code::Internal, reason::INTERNAL),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            RequestError::TokenMissing | RequestError::TokenInvalid => Some(
                "send the session's token, or the owner key, as `authorization: Bearer …`".into(),
            ),
            RequestError::NoSession(_) => Some("`forerun session list` shows them".into()),
            RequestError::Act(ActError::Superseded(_)) => {
                Some("the next act carries what happened as its notices".into())
            }
            RequestError::Act(ActError::TargetAttached) => {
                Some("act through a session that no target agent is attached to".into())
            }
            RequestError::TooManySessions(_) => {
                Some("stop or finish one, or raise max_sessions".into())
            }
            RequestError::Workspace(error) => error.hint().map(Into::into),
            RequestError::Recovery(error) => error.hint().map(Into::into),
            RequestError::Policy(error) => error.hint(),
            RequestError::Registry(RegistryError::Taken { .. }) => Some(
                "--replace puts it in its place; sessions that are open keep the old one".into(),
            ),
            RequestError::Registry(RegistryError::NotThere(_)) => {
                Some("`forerun tool list` shows what there is".into())
            }
            RequestError::Archive(
                ArchiveError::State { hint, .. } | ArchiveError::Conflict { hint, .. },
            ) => Some(hint.clone()).filter(|hint| !hint.is_empty()),
            RequestError::Journal(error) => error.hint().map(Into::into),
            RequestError::Protocol { .. } => Some("use a client of the daemon's version".into()),
            _ => None,
        }
    }
}

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Status {
        let (code, reason) = error.code();
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !message.ends_with(&cause_text) {
                message = format!("{message}: {cause_text}");
            }
            source = cause.source();
        }
        if code == Code::Internal {
            tracing::error!(%message, reason, "a request failed");
        }
        let mut metadata = HashMap::new();
        if let Some(hint) = error.hint() {
            metadata.insert(reason::METADATA_HINT.to_owned(), hint);
        }
        if let RequestError::Interrupt(InterruptError::Refused { needed, .. }) = &error {
            metadata.insert(reason::METADATA_NEEDED.to_owned(), (*needed).to_owned());
        }
        let mut details = ErrorDetails::with_error_info(reason, reason::DOMAIN, metadata);
        if let RequestError::Invalid(error) = &error {
            details.add_bad_request_violation(error.path(), error.problem());
        }
        Status::with_error_details(code, message, details)
    }
}
