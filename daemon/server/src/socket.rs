//! The daemon's door: a Unix socket of mode 0600 in a directory of mode 0700, open to
//! the daemon's own user only.
//!
//! A stale socket is taken over only after nobody answered on it, and only if it is a
//! socket that we own: anything else at that path is left alone.

use futures_util::Stream;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};

/// How long accepting rests after a failure, such as too many open files, which would
/// come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another daemon answers there.
    #[error("a daemon is already listening on {0}")]
    InUse(PathBuf),
    /// Something that is no socket, or not ours, is at the path.
    #[error("{path} is {found}, and is left alone")]
    Foreign {
        /// The socket's path.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The directory can be entered by others.
    #[error("the directory {0} belongs to another user or is open to others")]
    OpenDirectory(PathBuf),
    /// The system refused.
    #[error("{path} could not be opened")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Opens the socket at `path`.
///
/// # Errors
/// If a daemon answers there, if something foreign is in the way, or if the directory
/// is not ours alone.
pub(crate) async fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let io_error = |source| SocketError::Io {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        private_directory(parent).map_err(io_error)?;
        let metadata = std::fs::metadata(parent).map_err(io_error)?;
        if metadata.uid() != own_uid() || metadata.mode() & 0o022 != 0 {
            return Err(SocketError::OpenDirectory(parent.to_owned()));
        }
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::Foreign {
                path: path.to_owned(),
                found: "no socket".into(),
            });
        }
        Ok(metadata) if metadata.uid() != own_uid() => {
            let found = format!("a socket of user {}", metadata.uid());
            return Err(SocketError::Foreign {
                path: path.to_owned(),
                found,
            });
        }
        Ok(_) => {
            if UnixStream::connect(path).await.is_ok() {
                return Err(SocketError::InUse(path.to_owned()));
            }
            std::fs::remove_file(path).map_err(io_error)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error(error)),
    }
    let listener = UnixListener::bind(path).map_err(io_error)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(io_error)?;
    Ok(listener)
}

/// Makes a directory that only its owner can enter, unless it exists.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Accepted connections whose peer is our own user; others are closed at once.
pub(crate) struct OwnPeers {
    listener: UnixListener,
    /// Accepting failed: no try before this has passed.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl OwnPeers {
    pub(crate) fn new(listener: UnixListener) -> OwnPeers {
        OwnPeers {
            listener,
            pause: None,
        }
    }
}

impl Stream for OwnPeers {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match self.listener.poll_accept(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => {
                    // Out of descriptors, or the peer is gone already: one connection is
                    // lost, the door stays open.
                    tracing::warn!(%error, "a connection was not accepted");
                    self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                }
                Poll::Ready(Ok((stream, _))) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == own_uid() => return Poll::Ready(Some(Ok(stream))),
                    Ok(peer) => {
                        tracing::warn!(uid = peer.uid(), "refused another user's connection")
                    }
                    Err(error) => {
                        tracing::warn!(%error, "refused a connection without credentials")
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_taken_over_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("run").join("forerun.sock");
        let first = bind(&path).await.expect("a fresh path");
        let mode = std::fs::metadata(&path).expect("socket").mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert!(matches!(bind(&path).await, Err(SocketError::InUse(_))));
        drop(first);
        bind(&path).await.expect("nobody answers any more");
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_left_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let dir = dir.path().join("private");
        private_directory(&dir).expect("directory");
        let path = dir.join("forerun.sock");
        std::fs::write(&path, "precious").expect("file");
        assert!(matches!(
            bind(&path).await,
            Err(SocketError::Foreign { .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).expect("file"), "precious");
    }

    #[tokio::test]
    async fn another_users_socket_is_left_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let dir = dir.path().join("private");
        private_directory(&dir).expect("directory");
        let path = dir.join("forerun.sock");
        drop(UnixListener::bind(&path).expect("a socket"));
        if std::os::unix::fs::chown(&path, Some(own_uid() + 1), None).is_err() {
            eprintln!("SKIPPED: only root can give a socket away");
            return;
        }
        assert!(matches!(
            bind(&path).await,
            Err(SocketError::Foreign { .. })
        ));
        assert!(path.exists());
    }
}
