//! Pipes between a guest's standard streams and whoever runs it.
//!
//! Bounded on both sides: a guest that prints faster than it is read waits, and what is
//! sent to a guest that does not read waits outside.

use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore, mpsc};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, OutputStream, StreamError, StreamResult};

/// What a guest may write in one go; it asks how much.
const CHUNK_BYTES: usize = 64 << 10;
/// Writes that may wait for the reader; more wait in the guest.
const WRITES_MAX: usize = 16;

/// A pipe out of a guest.
pub fn pipe() -> (PipeWriter, PipeReader) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(WRITES_MAX));
    let writer = PipeWriter {
        sender,
        room: Arc::clone(&room),
    };
    (writer, PipeReader { receiver, room })
}

/// The guest's end of a pipe.
#[derive(Clone)]
pub struct PipeWriter {
    sender: mpsc::UnboundedSender<Bytes>,
    room: Arc<Semaphore>,
}

/// The other end.
pub struct PipeReader {
    receiver: mpsc::UnboundedReceiver<Bytes>,
    room: Arc<Semaphore>,
}

impl PipeReader {
    /// What the guest wrote next; `None` once it has ended and all was read.
    pub async fn read(&mut self) -> Option<Bytes> {
        let bytes = self.receiver.recv().await?;
        if self.room.available_permits() < WRITES_MAX {
            self.room.add_permits(1);
        }
        Some(bytes)
    }
}

#[async_trait]
impl Pollable for PipeWriter {
    async fn ready(&mut self) {
        // Never closed; the permit is given back at once.
        let _ = self.room.acquire().await;
    }
}

#[async_trait]
impl OutputStream for PipeWriter {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        // A guest that writes through several handles at once can be over by one each.
        if let Ok(permit) = self.room.try_acquire() {
            permit.forget();
        }
        self.sender.send(bytes).map_err(|_| StreamError::Closed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match (self.sender.is_closed(), self.room.available_permits()) {
            (true, _) => Err(StreamError::Closed),
            (false, 0) => Ok(0),
            (false, _) => Ok(CHUNK_BYTES),
        }
    }
}

/// The guest's end of a pipe into it. All handles on it read from the same place.
#[derive(Clone)]
pub(crate) struct Inbox(Arc<Mutex<Incoming>>);

struct Incoming {
    unread: Bytes,
    /// Where more comes from; `None` once there can be no more.
    source: Option<mpsc::Receiver<Bytes>>,
}

impl Inbox {
    /// All of it is there already.
    pub(crate) fn of(bytes: Bytes) -> Inbox {
        Inbox::new(bytes, None)
    }

    pub(crate) fn from(source: mpsc::Receiver<Bytes>) -> Inbox {
        Inbox::new(Bytes::new(), Some(source))
    }

    fn new(unread: Bytes, source: Option<mpsc::Receiver<Bytes>>) -> Inbox {
        Inbox(Arc::new(Mutex::new(Incoming { unread, source })))
    }
}

impl Incoming {
    fn take(&mut self, received: Option<Bytes>) {
        match received {
            Some(bytes) => self.unread = bytes,
            None => self.source = None,
        }
    }
}

#[async_trait]
impl Pollable for Inbox {
    async fn ready(&mut self) {
        let mut incoming = self.0.lock().await;
        while incoming.unread.is_empty()
            && let Some(source) = &mut incoming.source
        {
            let received = source.recv().await;
            incoming.take(received);
        }
    }
}

#[async_trait]
impl InputStream for Inbox {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        // Held only while another handle of the same guest is polled.
        let Ok(mut incoming) = self.0.try_lock() else {
            return Ok(Bytes::new());
        };
        if incoming.unread.is_empty()
            && let Some(source) = &mut incoming.source
        {
            match source.try_recv() {
                Ok(bytes) => incoming.take(Some(bytes)),
                Err(mpsc::error::TryRecvError::Disconnected) => incoming.take(None),
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
        }
        if incoming.unread.is_empty() && incoming.source.is_none() && size > 0 {
            return Err(StreamError::Closed);
        }
        let size = size.min(incoming.unread.len());
        Ok(incoming.unread.split_to(size))
    }

    // The provided one tries ten times and traps where nothing was read.
    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.ready().await;
        self.read(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_writer_waits_for_its_reader_and_ends_with_it() {
        let (mut writer, mut reader) = pipe();
        let mut written = 0;
        while writer.check_write().expect("open") > 0 {
            writer.write(Bytes::from_static(b"abc")).expect("accepted");
            written += 1;
        }
        assert_eq!(written, WRITES_MAX);
        assert_eq!(reader.read().await.as_deref(), Some(&b"abc"[..]));
        writer.ready().await;
        assert!(writer.check_write().expect("open") > 0);
        drop(reader);
        assert!(matches!(writer.check_write(), Err(StreamError::Closed)));
    }

    #[tokio::test]
    async fn what_comes_in_is_read_in_pieces_by_all_handles_and_then_it_is_over() {
        let (sender, receiver) = mpsc::channel(4);
        let mut one = Inbox::from(receiver);
        let mut two = one.clone();
        assert!(one.read(4).expect("nothing yet").is_empty());
        sender
            .send(Bytes::from_static(b"abcdef"))
            .await
            .expect("sent");
        assert_eq!(one.blocking_read(4).await.expect("there"), &b"abcd"[..]);
        assert_eq!(two.blocking_read(4).await.expect("the rest"), &b"ef"[..]);
        drop(sender);
        assert!(matches!(
            two.blocking_read(1).await,
            Err(StreamError::Closed)
        ));
    }
}
