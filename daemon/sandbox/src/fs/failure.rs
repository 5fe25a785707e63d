//! What an operation fails with: a code that the guest sees, or a trap that ends it.

use super::types::ErrorCode;
use crate::guest::LimitHit;
use forerun_snapshot::FsError;
use forerun_types::LimitName;
use std::fmt;
use wasmtime::component::ResourceTableError;

/// A failed operation. Not wasmtime's own error type, which captures a backtrace for
/// every missing file.
#[derive(Debug)]
pub enum FsFailure {
    /// For the guest.
    Code(ErrorCode),
    /// The end of the guest.
    Trap(wasmtime::Error),
}

impl From<ErrorCode> for FsFailure {
    fn from(code: ErrorCode) -> FsFailure {
        FsFailure::Code(code)
    }
}

impl From<FsError> for FsFailure {
    fn from(error: FsError) -> FsFailure {
        FsFailure::Code(match error {
            FsError::NotFound => ErrorCode::NoEntry,
            FsError::Exists => ErrorCode::Exist,
            FsError::NotADirectory => ErrorCode::NotDirectory,
            FsError::IsADirectory => ErrorCode::IsDirectory,
            FsError::NotEmpty => ErrorCode::NotEmpty,
            FsError::InvalidName | FsError::InvalidArgument => ErrorCode::Invalid,
            FsError::NameTooLong => ErrorCode::NameTooLong,
            FsError::NotPermitted => ErrorCode::NotPermitted,
            FsError::TooLarge => ErrorCode::FileTooLarge,
            FsError::Changed => ErrorCode::Busy,
            FsError::Io(_) => ErrorCode::Io,
            // A guest that went on would return an error that hides the limit.
            FsError::Quota => return FsFailure::Trap(LimitHit(LimitName::Delta).into()),
        })
    }
}

/// A full table names the limit; anything else is a handle that the guest made up.
impl From<ResourceTableError> for FsFailure {
    fn from(error: ResourceTableError) -> FsFailure {
        FsFailure::Trap(error.into())
    }
}

/// The code of a failed stream operation, which a guest can ask for.
#[derive(Debug)]
pub(crate) struct StreamFailure(pub(crate) ErrorCode);

impl fmt::Display for StreamFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl std::error::Error for StreamFailure {}
