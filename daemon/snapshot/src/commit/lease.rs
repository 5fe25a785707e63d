//! Read leases (`fcntl(2)`, `F_SETLEASE`): how the committer learns that nobody has a
//! file open for writing, or mapped so, while it takes the file's place.
//!
//! The only module here that calls the C library itself, because no safe wrapper has
//! leases.
#![expect(unsafe_code, reason = "fcntl(F_SETLEASE) has no safe wrapper")]

use super::storage::Lease;
use rustix::fd::{AsRawFd, OwnedFd};
use std::io;
use std::sync::Once;

/// A lease on an open file; given back when this is dropped, by closing it.
struct Leased(OwnedFd);

/// Takes a read lease on a file that was opened for reading; `None` where the system
/// grants us none: another's file, or a file system without leases.
pub(super) fn take(file: OwnedFd) -> io::Result<Option<Box<dyn Lease>>> {
    static IGNORED: Once = Once::new();
    IGNORED.call_once(|| {
        // SAFETY: ignoring a signal runs no code of ours. Who asks for a leased file makes
        // the kernel send SIGIO, which would end the process; we ask for the lease instead.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    });
    // SAFETY: the descriptor is open, and the argument is a plain number.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) } {
        0 => Ok(Some(Box::new(Leased(file)))),
        _ => match io::Error::last_os_error() {
            busy if busy.kind() == io::ErrorKind::WouldBlock => Err(busy),
            refused => {
                tracing::debug!(%refused, "no lease");
                Ok(None)
            }
        },
    }
}

impl Lease for Leased {
    fn is_held(&self) -> io::Result<bool> {
        // SAFETY: the descriptor is open; the call has no argument.
        match unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_GETLEASE) } {
            -1 => Err(io::Error::last_os_error()),
            state => Ok(state == libc::F_RDLCK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};
    use std::time::Duration;

    fn lease(path: &std::path::Path) -> io::Result<Option<Box<dyn Lease>>> {
        take(OwnedFd::from(File::open(path).expect("opens")))
    }

    #[test]
    fn a_writer_denies_the_lease_and_a_later_one_breaks_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, "x").expect("writes");
        let writer = OpenOptions::new().write(true).open(&path).expect("opens");
        let denied = lease(&path).map(|lease| lease.is_some());
        assert_eq!(
            denied.map_err(|error| error.kind()),
            Err(io::ErrorKind::WouldBlock)
        );
        drop(writer);

        let Some(held) = lease(&path).expect("nobody writes") else {
            eprintln!("SKIPPED: no leases here");
            return;
        };
        assert!(held.is_held().expect("asks"));
        std::thread::scope(|scope| {
            let late = scope.spawn(|| OpenOptions::new().write(true).open(&path).map(drop));
            while held.is_held().expect("asks") {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(!late.is_finished(), "waits until the lease is given back");
            drop(held);
            late.join().expect("joins").expect("opens");
        });
    }
}
