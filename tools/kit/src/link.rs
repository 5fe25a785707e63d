//! Symbolic links, which `std` cannot make on every target.

use std::io;
use std::path::Path;

/// Makes a symbolic link at `link`, an absolute path, that says `target`.
///
/// # Errors
/// Those of the file system; on WASI also a path below no preopened directory.
#[cfg(not(target_os = "wasi"))]
pub fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

/// Makes a symbolic link at `link`, an absolute path, that says `target`.
///
/// # Errors
/// Those of the file system; on WASI also a path below no preopened directory.
#[cfg(target_os = "wasi")]
pub fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    use wasip2::filesystem::{preopens, types::ErrorCode};
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let target = target.to_str().ok_or_else(invalid)?;
    for (directory, name) in preopens::get_directories() {
        let Ok(relative) = link.strip_prefix(&name) else {
            continue;
        };
        let relative = relative.to_str().ok_or_else(invalid)?;
        return directory
            .symlink_at(target, relative)
            .map_err(|code| match code {
                ErrorCode::Exist => io::ErrorKind::AlreadyExists.into(),
                ErrorCode::NoEntry => io::ErrorKind::NotFound.into(),
                ErrorCode::NotDirectory => io::ErrorKind::NotADirectory.into(),
                ErrorCode::Quota | ErrorCode::InsufficientSpace => {
                    io::ErrorKind::QuotaExceeded.into()
                }
                ErrorCode::Access | ErrorCode::NotPermitted | ErrorCode::ReadOnly => {
                    io::ErrorKind::PermissionDenied.into()
                }
                other => io::Error::other(other.name().to_owned()),
            });
    }
    Err(io::ErrorKind::NotFound.into())
}
