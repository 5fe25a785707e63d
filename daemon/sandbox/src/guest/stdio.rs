//! Where a guest's output goes: memory, up to a limit. What comes after is counted and
//! thrown away; the guest never notices, so printing too much is no way to fail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::bytes::Bytes;
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamResult};

/// What a guest may write in one go; it asks how much.
const CHUNK_BYTES: usize = 64 << 10;

/// An output stream that keeps the first bytes.
#[derive(Clone)]
pub(crate) struct Sink {
    limit: usize,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    cut: u64,
}

impl Sink {
    pub(crate) fn new(limit: usize) -> Sink {
        Sink {
            limit,
            kept: Arc::default(),
        }
    }

    /// What was written, as text; says how much is missing.
    pub(crate) fn text(&self) -> String {
        let kept = self.lock();
        let mut text = String::from_utf8_lossy(&kept.bytes).into_owned();
        if kept.cut > 0 {
            text.push_str(&format!("\n[{} more bytes were cut]", kept.cut));
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Pollable for Sink {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Sink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let limit = self.limit;
        let mut kept = self.lock();
        let room = limit.saturating_sub(kept.bytes.len()).min(bytes.len());
        kept.bytes.extend_from_slice(&bytes[..room]);
        kept.cut = kept.cut.saturating_add((bytes.len() - room) as u64);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_and_marked_and_writing_goes_on() {
        let mut sink = Sink::new(4);
        for _ in 0..3 {
            sink.write(Bytes::from_static(b"abc")).expect("accepted");
            assert!(sink.check_write().expect("open") > 0);
        }
        assert_eq!(sink.text(), "abca\n[5 more bytes were cut]");
    }
}
