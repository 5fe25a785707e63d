//! What can go wrong, in words that help an agent to do better next time.

use std::io;

/// Why a tool did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No tool of this component.
    #[error("there is no tool {0:?}")]
    UnknownTool(String),
    /// Arguments that are no JSON or not those of the tool.
    #[error("the arguments are not valid: {0}")]
    Arguments(String),
    /// A path that is not below `/workspace` or `/tmp`.
    #[error(
        "{path}: {reason}; paths are relative to /workspace, or absolute below /workspace or /tmp"
    )]
    Outside {
        /// As it was given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file system refused.
    #[error("cannot {verb} {path}: {}", phrase(.source))]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The path, as it was given.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// Something about the request does not fit the files; a sentence.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// For `map_err`: what was tried, and the path as it is shown.
    pub fn io(verb: &'static str, path: &str) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { verb, path, source }
    }
}

/// The kind of an error. `std` leaves some without a name on this target.
pub fn kind(error: &io::Error) -> io::ErrorKind {
    /// `errno` values of wasi-libc, which are those of WASI 0.1.
    #[cfg(target_os = "wasi")]
    const UNNAMED: [(i32, io::ErrorKind); 8] = [
        (19, io::ErrorKind::QuotaExceeded),
        (22, io::ErrorKind::FileTooLarge),
        (31, io::ErrorKind::IsADirectory),
        (37, io::ErrorKind::InvalidFilename),
        (51, io::ErrorKind::StorageFull),
        (54, io::ErrorKind::NotADirectory),
        (55, io::ErrorKind::DirectoryNotEmpty),
        (75, io::ErrorKind::CrossesDevices),
    ];
    #[cfg(not(target_os = "wasi"))]
    const UNNAMED: [(i32, io::ErrorKind); 0] = [];
    UNNAMED
        .iter()
        .find(|(number, _)| error.raw_os_error() == Some(*number))
        .map_or(error.kind(), |(_, kind)| *kind)
}

/// The same words on every system, without numbers.
fn phrase(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    match kind(error) {
        Kind::NotFound => "no such file or directory".into(),
        Kind::PermissionDenied => {
            "not permitted (the path leads out of the workspace, or a policy protects it)".into()
        }
        Kind::AlreadyExists => "it exists already".into(),
        Kind::NotADirectory => "a part of the path, or the path itself, is not a directory".into(),
        Kind::IsADirectory => "it is a directory".into(),
        Kind::DirectoryNotEmpty => "the directory is not empty".into(),
        Kind::InvalidFilename => "the name is too long or not allowed".into(),
        Kind::CrossesDevices => "/workspace and /tmp are different file systems".into(),
        Kind::QuotaExceeded | Kind::StorageFull => "there is no room for more changes".into(),
        Kind::InvalidInput => "the path or the operation is not valid".into(),
        Kind::InvalidData => "it is not UTF-8 text".into(),
        other => other.to_string(),
    }
}
