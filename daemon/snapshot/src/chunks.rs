//! Where the bytes of changed files are kept: in memory up to a limit for the whole
//! workspace, beyond it in a temporary file without a name in the state directory.
//!
//! A chunk is shared by every snapshot that holds it, and gives its room back when the
//! last of them is gone: memory at once, a place in the file as a hole.

use crate::FsError;
use crate::content::CHUNK_BYTES;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// Bytes of changed files that a workspace keeps in memory unless told otherwise: stops
/// tools that write within their quota from filling it, many at a time.
pub(crate) const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// Bytes of a chunk, as a length in memory.
const CHUNK_LEN: usize = CHUNK_BYTES as usize;

/// For contents that are not of a workspace yet: those of a delta that was read from
/// bytes, which bound them.
static UNBOUND: LazyLock<Arc<ChunkStore>> = LazyLock::new(|| {
    Arc::new(ChunkStore {
        directory: PathBuf::new(),
        memory_max: AtomicU64::new(u64::MAX),
        memory: AtomicU64::new(0),
        spill: Mutex::default(),
    })
});

/// The room for the chunks of a workspace.
pub(crate) struct ChunkStore {
    /// Where the temporary file is made.
    directory: PathBuf,
    memory_max: AtomicU64,
    memory: AtomicU64,
    spill: Mutex<Spill>,
}

/// The temporary file, in places of one chunk each.
#[derive(Default)]
struct Spill {
    /// Made when it is first needed, and given up when nothing is in it.
    file: Option<Arc<File>>,
    /// Places before `end` that are free.
    free: Vec<u64>,
    end: u64,
}

/// At most [`CHUNK_BYTES`] of a file.
pub(crate) struct Chunk {
    store: Arc<ChunkStore>,
    held: Held,
}

enum Held {
    Memory(Vec<u8>),
    Spilled {
        file: Arc<File>,
        place: u64,
        len: usize,
    },
}

impl ChunkStore {
    pub(crate) fn new(directory: PathBuf) -> Arc<ChunkStore> {
        Arc::new(ChunkStore {
            directory,
            memory_max: AtomicU64::new(MEMORY_BYTES_MAX),
            memory: AtomicU64::new(0),
            spill: Mutex::default(),
        })
    }

    /// One without a limit, and without a file.
    pub(crate) fn unbound() -> &'static Arc<ChunkStore> {
        &UNBOUND
    }

    /// Sets how many bytes are kept in memory from now on.
    pub(crate) fn set_memory_max(&self, bytes: u64) {
        self.memory_max.store(bytes, Ordering::Relaxed);
    }

    /// Bytes that are kept in memory.
    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Bytes of the temporary file that are in use.
    pub(crate) fn spilled(&self) -> u64 {
        let spill = self.lock();
        (spill.end - spill.free.len() as u64) * CHUNK_BYTES
    }

    /// Keeps a chunk's bytes.
    ///
    /// # Errors
    /// [`FsError::Quota`] if there is no room left on the disk either.
    pub(crate) fn put(self: &Arc<Self>, bytes: Vec<u8>) -> Result<Arc<Chunk>, FsError> {
        debug_assert!(bytes.len() <= CHUNK_LEN);
        let held = if self.reserve(bytes.capacity()) {
            Held::Memory(bytes)
        } else {
            self.spill(&bytes)?
        };
        let store = Arc::clone(self);
        Ok(Arc::new(Chunk { store, held }))
    }

    fn reserve(&self, bytes: usize) -> bool {
        let max = self.memory_max.load(Ordering::Relaxed);
        self.memory
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |memory| {
                memory
                    .checked_add(bytes as u64)
                    .filter(|memory| *memory <= max)
            })
            .is_ok()
    }

    fn spill(&self, bytes: &[u8]) -> Result<Held, FsError> {
        let (file, place) = {
            let mut spill = self.lock();
            let file = match &spill.file {
                Some(file) => Arc::clone(file),
                None => {
                    let file = tempfile::tempfile_in(&self.directory).map_err(no_room)?;
                    Arc::clone(spill.file.insert(Arc::new(file)))
                }
            };
            let place = spill.free.pop().unwrap_or_else(|| {
                spill.end += 1;
                spill.end - 1
            });
            (file, place)
        };
        if let Err(error) = file.write_all_at(bytes, place * CHUNK_BYTES) {
            self.free(&file, place);
            return Err(no_room(error));
        }
        let len = bytes.len();
        Ok(Held::Spilled { file, place, len })
    }

    /// Gives a place back. Its disk blocks go with it; a file system that makes no holes
    /// keeps them for the next chunk.
    fn free(&self, file: &File, place: u64) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Err(error) = rustix::fs::fallocate(file, flags, place * CHUNK_BYTES, CHUNK_BYTES) {
            tracing::trace!(%error, "failed to make a hole in a temporary file");
        }
        let mut spill = self.lock();
        spill.free.push(place);
        if spill.free.len() as u64 == spill.end {
            *spill = Spill::default();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Spill> {
        self.spill.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chunk {
    pub(crate) fn len(&self) -> usize {
        match &self.held {
            Held::Memory(bytes) => bytes.len(),
            Held::Spilled { len, .. } => *len,
        }
    }

    /// Fills `buf` from `start` on; what is not in the chunk is zero.
    pub(crate) fn read(&self, start: usize, buf: &mut [u8]) -> Result<(), FsError> {
        let count = self.len().saturating_sub(start).min(buf.len());
        let (have, rest) = buf.split_at_mut(count);
        rest.fill(0);
        match &self.held {
            _ if have.is_empty() => {}
            Held::Memory(bytes) => have.copy_from_slice(&bytes[start..start + count]),
            Held::Spilled { file, place, .. } => file
                .read_exact_at(have, place * CHUNK_BYTES + start as u64)
                .map_err(FsError::Io)?,
        }
        Ok(())
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> Result<Cow<'_, [u8]>, FsError> {
        if let Held::Memory(bytes) = &self.held {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut bytes = vec![0; self.len()];
        self.read(0, &mut bytes)?;
        Ok(Cow::Owned(bytes))
    }

    /// Writes into a chunk that nobody else holds, where that can be done whole or not at
    /// all. `false` if it can not, and nothing was changed.
    pub(crate) fn write(&mut self, start: usize, data: &[u8]) -> bool {
        let end = start + data.len();
        match &mut self.held {
            Held::Memory(bytes) => {
                if end > bytes.capacity() {
                    let capacity = end.max(2 * bytes.capacity()).min(CHUNK_LEN);
                    if !self.store.reserve(capacity - bytes.capacity()) {
                        return false;
                    }
                    let mut grown = Vec::with_capacity(capacity);
                    grown.extend_from_slice(bytes);
                    *bytes = grown;
                }
                if end > bytes.len() {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(data);
                true
            }
            // What lies beyond the length is not read, so it may be written in part.
            Held::Spilled { file, place, len } if start == *len => {
                let written = file.write_all_at(data, *place * CHUNK_BYTES + start as u64);
                if written.is_ok() {
                    *len = end;
                }
                written.is_ok()
            }
            Held::Spilled { .. } => false,
        }
    }

    /// Whether its bytes are kept by this store.
    pub(crate) fn is_in(&self, store: &Arc<ChunkStore>) -> bool {
        Arc::ptr_eq(&self.store, store)
    }

    /// A chunk of the first `len` bytes.
    pub(crate) fn prefix(&self, len: usize) -> Result<Arc<Chunk>, FsError> {
        let mut bytes = vec![0; len.min(self.len())];
        self.read(0, &mut bytes)?;
        self.store.put(bytes)
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        match &self.held {
            Held::Memory(bytes) => {
                let capacity = bytes.capacity() as u64;
                self.store.memory.fetch_sub(capacity, Ordering::Relaxed);
            }
            Held::Spilled { file, place, .. } => self.store.free(file, *place),
        }
    }
}

fn no_room(error: io::Error) -> FsError {
    match Errno::from_io_error(&error) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => FsError::Quota,
        _ => FsError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_limit_is_in_the_file_and_goes_with_its_last_holder() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = ChunkStore::new(directory.path().to_owned());
        store.set_memory_max(3 * CHUNK_BYTES / 2);
        let chunks: Vec<_> = (0..5u8)
            .map(|n| store.put(vec![n; CHUNK_LEN]).expect("has room"))
            .collect();
        assert_eq!(store.memory(), CHUNK_BYTES);
        assert_eq!(store.spilled(), 4 * CHUNK_BYTES);
        for (n, chunk) in chunks.iter().enumerate() {
            assert_eq!(*chunk.bytes().expect("reads"), [n as u8; CHUNK_LEN]);
        }
        let names = std::fs::read_dir(directory.path()).expect("lists").count();
        assert_eq!(names, 0, "the file has no name");

        let file = store.lock().file.clone().expect("a file");
        let blocks = || std::os::unix::fs::MetadataExt::blocks(&file.metadata().expect("is open"));
        let before = blocks();
        let shared = Arc::clone(&chunks[4]);
        drop(chunks);
        assert_eq!(store.memory(), 0);
        assert_eq!(store.spilled(), CHUNK_BYTES, "one is still held");
        assert!(blocks() < before || before == 0, "holes were made");
        assert_eq!(*shared.bytes().expect("reads"), [4; CHUNK_LEN]);
        drop(shared);
        assert!(store.lock().file.is_none(), "and the file is given up");
    }

    #[test]
    fn a_directory_that_takes_no_file_is_an_error_that_changes_nothing() {
        let store = ChunkStore::new("/nonexistent".into());
        store.set_memory_max(10);
        let kept = store.put(vec![1; 10]).expect("has room");
        assert!(matches!(store.put(vec![2; 10]), Err(FsError::Io(_))));
        assert_eq!((store.memory(), store.spilled()), (10, 0));
        assert_eq!(*kept.bytes().expect("reads"), [1; 10]);
    }

    #[test]
    fn a_spilled_chunk_grows_at_its_end_and_is_not_changed_elsewhere() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = ChunkStore::new(directory.path().to_owned());
        store.set_memory_max(0);
        let mut chunk = store.put(b"abc".to_vec()).expect("has room");
        let own = Arc::get_mut(&mut chunk).expect("is held once");
        assert!(own.write(3, b"def"));
        assert!(!own.write(1, b"x"));
        assert!(!own.write(7, b"x"));
        assert_eq!(*chunk.bytes().expect("reads"), *b"abcdef");
    }
}
