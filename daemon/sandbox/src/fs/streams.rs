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

/// Bytes that are read at least, for the reads to come.
const AHEAD_BYTES: usize = 64 << 10;
/// Most bytes that a guest may write in one go; it asks how many it may.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// Reads a file from an offset on. Closed at the first end of the file that it meets, and
/// after a failure.
///
/// It reads ahead: finding a file of the base again costs more than reading 64 KiB of it,
/// and most files are read to their end, which takes two reads.
pub(crate) struct ReadFrom {
    file: Open,
    offset: u64,
    closed: bool,
    ahead: Ahead,
}

/// What was read ahead.
#[derive(Default)]
struct Ahead {
    bytes: Bytes,
    /// Whether the file ends after these bytes.
    to_end: bool,
    /// The state of the volumes that they are of; 0 is none.
    writes: u64,
}

impl ReadFrom {
    pub(crate) fn new(file: Open, offset: u64) -> ReadFrom {
        ReadFrom {
            file,
            offset,
            closed: false,
            ahead: Ahead::default(),
        }
    }

    /// The next bytes, at most `size`; none at the end.
    fn next(&mut self, size: usize) -> Result<Bytes, FsFailure> {
        let (offset, ahead) = (self.offset, &mut self.ahead);
        self.file.with(|volumes, place| {
            let is_known = ahead.writes == volumes.writes + 1;
            if !is_known || ahead.bytes.is_empty() && !ahead.to_end {
                let length =
                    size.clamp(AHEAD_BYTES, usize::try_from(READ_BYTES_MAX).unwrap_or(size));
                let mut buffer = std::mem::take(&mut volumes.ahead);
                if buffer.len() < length {
                    buffer.resize(length, 0);
                }
                let read = read_at(volumes, place, offset, &mut buffer[..length]);
                if let Ok(read) = read {
                    *ahead = Ahead {
                        bytes: Bytes::copy_from_slice(&buffer[..read]),
                        to_end: read < length,
                        writes: volumes.writes + 1,
                    };
                }
                volumes.ahead = buffer;
                read?;
            }
            let count = size.min(ahead.bytes.len());
            Ok(ahead.bytes.split_to(count))
        })
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
        let next = self.next(size);
        self.closed = next.as_ref().map_or(true, Bytes::is_empty);
        let bytes = next.map_err(stream_error)?;
        if self.closed {
            return Err(StreamError::Closed);
        }
        self.offset += bytes.len() as u64;
        Ok(bytes)
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
                volumes.writes += 1;
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
