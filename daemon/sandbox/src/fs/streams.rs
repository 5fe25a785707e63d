//! Streams over open files, and listings. All of them are ready at any time.

use super::View;
use super::descriptor::{Open, READ_BYTES_MAX, descriptor_type};
use super::failure::{FsFailure, StreamFailure};
use super::types::{DirectoryEntry, HostDirectoryEntryStream};
use forerun_snapshot::DirEntry;
use wasmtime::component::Resource;
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, OutputStream, StreamError, StreamResult};

/// Most bytes that a guest may write in one go; it asks how many it may.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// Reads a file from an offset on.
pub(crate) struct ReadFrom {
    file: Open,
    offset: u64,
}

impl ReadFrom {
    pub(crate) fn new(file: Open, offset: u64) -> ReadFrom {
        ReadFrom { file, offset }
    }
}

#[async_trait]
impl Pollable for ReadFrom {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for ReadFrom {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut bytes = vec![0; size.min(usize::try_from(READ_BYTES_MAX).unwrap_or(size))];
        let read = self
            .file
            .with(|volumes, place| {
                let branch = volumes.branch(place.mount);
                Ok(branch.read(place.node, self.offset, &mut bytes)?)
            })
            .map_err(stream_error)?;
        if read == 0 {
            return Err(StreamError::Closed);
        }
        self.offset += read as u64;
        bytes.truncate(read);
        Ok(bytes.into())
    }

    // The provided one tries ten times and traps where nothing was read.
    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.read(size)
    }
}

/// Writes a file from an offset on.
pub(crate) struct WriteTo {
    file: Open,
    offset: u64,
}

impl WriteTo {
    pub(crate) fn new(file: Open, offset: u64) -> WriteTo {
        WriteTo { file, offset }
    }
}

#[async_trait]
impl Pollable for WriteTo {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for WriteTo {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.file
            .with(|volumes, place| {
                let branch = volumes.branch(place.mount);
                Ok(branch.write(place.node, self.offset, &bytes)?)
            })
            .map_err(stream_error)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

/// Writes to the end of a file, wherever that is by then.
pub(crate) struct AppendTo {
    file: Open,
}

impl AppendTo {
    pub(crate) fn new(file: Open) -> AppendTo {
        AppendTo { file }
    }
}

#[async_trait]
impl Pollable for AppendTo {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for AppendTo {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.file
            .with(|volumes, place| {
                volumes.branch(place.mount).append(place.node, &bytes)?;
                Ok(())
            })
            .map_err(stream_error)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

fn stream_error(failure: FsFailure) -> StreamError {
    match failure {
        FsFailure::Code(code) => StreamError::LastOperationFailed(StreamFailure(code).into()),
        FsFailure::Trap(error) => StreamError::Trap(error),
    }
}

/// The entries that a directory had when it was opened for listing, ordered by name.
pub struct DirectoryStream {
    entries: std::vec::IntoIter<DirEntry>,
}

impl DirectoryStream {
    pub(crate) fn new(entries: Vec<DirEntry>) -> DirectoryStream {
        DirectoryStream {
            entries: entries.into_iter(),
        }
    }
}

impl HostDirectoryEntryStream for View<'_> {
    fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryStream>,
    ) -> Result<Option<DirectoryEntry>, FsFailure> {
        let next = self.table.get_mut(&stream)?.entries.next();
        Ok(next.map(|entry| DirectoryEntry {
            type_: descriptor_type(entry.kind),
            name: entry.name,
        }))
    }

    fn drop(&mut self, stream: Resource<DirectoryStream>) -> wasmtime::Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}
