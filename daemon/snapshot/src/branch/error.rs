//! What a file-system operation on a branch can fail with.

use rustix::io::Errno;

/// A failed operation. Each has one counterpart in WASI's `error-code`.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// No such name, or the node is gone.
    #[error("no such file or directory")]
    NotFound,
    /// The name is taken.
    #[error("the name exists already")]
    Exists,
    /// A directory was needed.
    #[error("not a directory")]
    NotADirectory,
    /// Anything but a directory was needed.
    #[error("is a directory")]
    IsADirectory,
    /// The directory has entries, perhaps ones that are not shown.
    #[error("directory not empty")]
    NotEmpty,
    /// Empty, `.`, `..`, or with `/` or NUL.
    #[error("not a valid name")]
    InvalidName,
    /// A name, path or link target that no file system takes.
    #[error("name or path too long")]
    NameTooLong,
    /// The operation makes no sense on this node: a directory moved into itself, the
    /// target of what is no link.
    #[error("invalid argument")]
    InvalidArgument,
    /// The name is reserved, or the base does not let us.
    #[error("operation not permitted")]
    NotPermitted,
    /// The limit on unverified bytes or nodes would be passed.
    #[error("the limit on unverified changes is reached")]
    Quota,
    /// The file would be longer than a file can be.
    #[error("file too large")]
    TooLarge,
    /// Somebody changed the base while it was read.
    #[error("the file was changed by somebody else while it was read")]
    Changed,
    /// The base could not be read.
    #[error("the workspace could not be read")]
    Io(#[source] std::io::Error),
}

impl FsError {
    /// A stable name.
    pub fn code(&self) -> &'static str {
        match self {
            FsError::NotFound => "not_found",
            FsError::Exists => "exists",
            FsError::NotADirectory => "not_a_directory",
            FsError::IsADirectory => "is_a_directory",
            FsError::NotEmpty => "not_empty",
            FsError::InvalidName => "invalid_name",
            FsError::NameTooLong => "name_too_long",
            FsError::InvalidArgument => "invalid_argument",
            FsError::NotPermitted => "not_permitted",
            FsError::Quota => "quota",
            FsError::TooLarge => "too_large",
            FsError::Changed => "changed",
            FsError::Io(_) => "io",
        }
    }
}

/// A failed access to the base. An ancestor that is no directory any more, or a link
/// by now, means that the path is gone; a mount point is not entered.
impl From<Errno> for FsError {
    fn from(errno: Errno) -> FsError {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => FsError::NotFound,
            Errno::ACCESS | Errno::PERM | Errno::XDEV => FsError::NotPermitted,
            Errno::NAMETOOLONG => FsError::NameTooLong,
            other => FsError::Io(other.into()),
        }
    }
}
