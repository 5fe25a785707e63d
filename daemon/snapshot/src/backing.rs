//! A base file's content as it was when a tool first changed the file, held open.
//!
//! What a changed file was not written to is read from here, whatever has the file's
//! name by then: a commit swaps in another object and does not touch this one, and so
//! does everybody who saves by rename. Who writes to the object itself is noticed.

use crate::FsError;
use crate::base::{digest_of, read_full};
use crate::version::Version;
use forerun_types::Digest;
use rustix::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Changed base files of a workspace that are held open; of further ones the content is
/// copied. Stops a tool that changes many large files from using up the process's
/// descriptors, of which there may be 1,024.
const OPEN_MAX: usize = 64;

/// How many base files are held open.
#[derive(Clone, Default)]
pub(crate) struct OpenCount(Arc<AtomicUsize>);

/// A file that is held open, as long as it is.
pub(crate) struct OpenPermit(OpenCount);

impl OpenCount {
    /// One more, unless so many are open already.
    pub(crate) fn take(&self, most: usize) -> Option<OpenPermit> {
        let others = self.0.fetch_add(1, Ordering::Relaxed);
        // From here on `drop` counts it out.
        let permit = OpenPermit(self.clone());
        (others < most).then_some(permit)
    }
}

impl Drop for OpenPermit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One version of a base file.
pub(crate) struct Backing {
    file: OwnedFd,
    version: Version,
    digest: OnceLock<Digest>,
    _permit: OpenPermit,
}

impl Backing {
    /// Holds a file of which this is the version; `None` if too many are held.
    pub(crate) fn new(file: OwnedFd, version: Version, open: &OpenCount) -> Option<Backing> {
        Some(Backing {
            _permit: open.take(OPEN_MAX)?,
            file,
            version,
            digest: OnceLock::new(),
        })
    }

    /// Bytes of the file.
    pub(crate) fn len(&self) -> u64 {
        self.version.size
    }

    /// Fills the buffer, which lies within the file.
    ///
    /// # Errors
    /// [`FsError::Changed`] if somebody wrote to the file since.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), FsError> {
        let count = read_full(&self.file, offset, buf)?;
        self.check()?;
        if count == buf.len() {
            Ok(())
        } else {
            Err(FsError::Changed)
        }
    }

    /// Digest of the whole, read piece by piece when it is first asked for.
    ///
    /// # Errors
    /// As [`Backing::read`].
    pub(crate) fn digest(&self) -> Result<Digest, FsError> {
        if let Some(digest) = self.digest.get() {
            return Ok(*digest);
        }
        let (digest, len) = digest_of(&self.file, self.len(), |_, _| {})?;
        self.check()?;
        if len != self.len() {
            return Err(FsError::Changed);
        }
        Ok(*self.digest.get_or_init(|| digest))
    }

    /// The mode is not looked at: it says nothing of the content.
    fn check(&self) -> Result<(), FsError> {
        let now = Version::of(&rustix::fs::fstat(&self.file)?);
        let mode = self.version.mode;
        match (Version { mode, ..now }) == self.version {
            true => Ok(()),
            false => Err(FsError::Changed),
        }
    }
}
