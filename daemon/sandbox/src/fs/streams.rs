//! Streams over open files, and listings. All of them are ready at any time.

use super::View;
use super::descriptor::{Open, READ_BYTES_MAX, descriptor_type, read_at, write_at};
use super::failure::{FsFailure, StreamFailure};
use super::types::{DirectoryEntry, ErrorCode, HostDirectoryEntryStream};
use forerun_snapshot::DirEntry;
use wasmtime::component::Resource;
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, OutputStream, StreamError, StreamResult};

/// Most bytes that a guest may write in one go; it asks how many it may.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// Reads a file from an offset on. Closed at the first end of the file that it meets, and
/// after a failure.
pub(crate) struct ReadFrom {
    file: Open,
    offset: u64,
    closed: bool,
}

impl ReadFrom {
    pub(crate) fn new(file: Open, offset: u64) -> ReadFrom {
        ReadFrom {
            file,
            offset,
            closed: false,
        }
    }
}

#[async_trait]
impl Pollable for ReadFrom {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for ReadFrom {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut bytes = vec![0; size.min(usize::try_from(READ_BYTES_MAX).unwrap_or(size))];
        let offset = self.offset;
        let read = self
            .file
            .with(|volumes, place| read_at(volumes, place, offset, &mut bytes));
        self.closed = !matches!(read, Ok(1..));
        let read = read.map_err(stream_error)?;
        if self.closed {
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

/// Writes a file, each time at once. What fails is told by the next call, as
/// `last-operation-failed`, and closes the stream.
pub(crate) struct WriteTo {
    file: Open,
    position: Position,
    state: WriteState,
}

enum Position {
    At(u64),
    /// The end of the file, wherever that is by then.
    End,
}

enum WriteState {
    /// As many bytes may be written next; 0 until the guest has asked.
    Open(usize),
    Failed(ErrorCode),
    Closed,
}

impl WriteTo {
    /// From an offset on.
    pub(crate) fn at(file: Open, offset: u64) -> WriteTo {
        WriteTo {
            file,
            position: Position::At(offset),
            state: WriteState::Open(0),
        }
    }

    pub(crate) fn end(file: Open) -> WriteTo {
        WriteTo {
            file,
            position: Position::End,
            state: WriteState::Open(0),
        }
    }

    /// Tells a failure, once.
    fn settle(&mut self) -> StreamResult<()> {
        match self.state {
            WriteState::Open(_) => Ok(()),
            WriteState::Closed => Err(StreamError::Closed),
            WriteState::Failed(code) => {
                self.state = WriteState::Closed;
                Err(StreamError::LastOperationFailed(StreamFailure(code).into()))
            }
        }
    }
}

#[async_trait]
impl Pollable for WriteTo {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for WriteTo {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.settle()?;
        let WriteState::Open(permit) = std::mem::replace(&mut self.state, WriteState::Open(0))
        else {
            return Err(StreamError::Closed);
        };
        if bytes.len() > permit {
            return Err(StreamError::trap(
                "more was written to a file than `check-write` permitted",
            ));
        }
        let position = &mut self.position;
        let written = self.file.with(|volumes, place| match position {
            Position::At(offset) => {
                write_at(volumes, place, *offset, &bytes)?;
                *offset += bytes.len() as u64;
                Ok(())
            }
            Position::End => {
                volumes.branch(place.mount).append(place.node, &bytes)?;
                Ok(())
            }
        });
        match written {
            Ok(()) => Ok(()),
            Err(FsFailure::Code(code)) => {
                self.state = WriteState::Failed(code);
                Ok(())
            }
            Err(FsFailure::Trap(error)) => Err(StreamError::Trap(error)),
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.settle()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.settle()?;
        self.state = WriteState::Open(WRITE_BYTES_MAX);
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
