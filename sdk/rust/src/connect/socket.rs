//! The daemon's Unix socket, seen from outside: is it safe to use, and does anybody
//! listen.

use crate::error::{Error, Result};
use hyper_util::rt::TokioIo;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint as Address};

/// Checks that the socket at `path`, if there is one, and its directory belong to us and
/// can be replaced by nobody else.
pub(super) fn check(path: &Path) -> Result<()> {
    let problem = |path: &Path, problem: String| {
        Err(Error::Unsafe {
            path: path.to_owned(),
            problem,
        })
    };
    if let Some(parent) = path.parent() {
        match std::fs::metadata(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("could not read", parent, error)),
            Ok(directory) if directory.uid() != own_uid() => {
                return problem(parent, format!("it belongs to user {}", directory.uid()));
            }
            Ok(directory) if directory.mode() & 0o022 != 0 => {
                let mode = directory.mode() & 0o7777;
                return problem(parent, format!("others can write to it (mode {mode:04o})"));
            }
            Ok(_) => {}
        }
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("could not read", path, error)),
        Ok(found) if !found.file_type().is_socket() => problem(path, "it is no socket".to_owned()),
        Ok(found) if found.uid() != own_uid() => {
            problem(path, format!("it belongs to user {}", found.uid()))
        }
        Ok(_) => Ok(()),
    }
}

/// Makes a directory that only its owner can enter, unless it exists.
pub(super) fn make_private_directory(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::io("could not make the directory", path, error))
}

/// One connection, whose peer is our own user.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    let peer = stream.peer_cred()?.uid();
    if peer != own_uid() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {peer} listens on the socket"),
        ));
    }
    Ok(stream)
}

/// Whether a failed connection means that no daemon runs there, rather than that
/// something is wrong.
pub(super) fn means_nobody_listens(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// A channel that connects when it is first used, and again when a connection breaks.
/// Its authority is `localhost`: a path is none.
pub(super) fn channel(path: &Path) -> Channel {
    let path: PathBuf = path.to_owned();
    Address::from_static("http://localhost").connect_with_connector_lazy(tower::service_fn(
        move |_| {
            let path = path.clone();
            async move { connect(&path).await.map(TokioIo::new) }
        },
    ))
}

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    fn private() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let inner = dir.path().join("forerun");
        make_private_directory(&inner).expect("directory");
        let socket = inner.join("forerun.sock");
        (dir, socket)
    }

    #[test]
    fn a_socket_of_ours_in_a_private_directory_is_safe() {
        let (_dir, socket) = private();
        check(&socket).expect("nothing there yet");
        let _listener = UnixListener::bind(&socket).expect("bind");
        check(&socket).expect("ours");
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let (_dir, socket) = private();
        let parent = socket.parent().expect("it has one");
        std::fs::set_permissions(parent, std::fs::Permissions::from_mode(0o777)).expect("chmod");
        let error = check(&socket).expect_err("open to all");
        assert_eq!(error.code(), "SOCKET_UNSAFE");
        assert!(error.to_string().contains("0777"), "{error}");
    }

    #[test]
    fn what_is_no_socket_is_refused_also_behind_a_link() {
        let (_dir, socket) = private();
        std::fs::write(&socket, "text").expect("file");
        assert_eq!(check(&socket).expect_err("a file").code(), "SOCKET_UNSAFE");
        std::fs::remove_file(&socket).expect("remove");
        let target = socket.with_extension("real");
        let _listener = UnixListener::bind(&target).expect("bind");
        std::os::unix::fs::symlink(&target, &socket).expect("link");
        assert_eq!(check(&socket).expect_err("a link").code(), "SOCKET_UNSAFE");
    }

    #[tokio::test]
    async fn a_stale_socket_and_a_missing_one_mean_that_nobody_listens() {
        let (_dir, socket) = private();
        let missing = connect(&socket).await.expect_err("missing");
        assert!(means_nobody_listens(&missing), "{missing}");
        drop(UnixListener::bind(&socket).expect("bind"));
        let stale = connect(&socket).await.expect_err("stale");
        assert!(means_nobody_listens(&stale), "{stale}");
    }
}
