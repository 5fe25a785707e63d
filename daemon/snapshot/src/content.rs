//! The content of a changed file: a persistent, sparse sequence of 64 KiB chunks, over
//! the version of a base file that it was made from.
//!
//! A clone shares every chunk; a write copies the chunks that it touches, and reads of
//! the base file no more than it needs for that. What no chunk covers is read from the
//! base file as far as that counts, and is zeros beyond.
//!
//! **Invariants**
//! - A chunk stands for the whole of its 64 KiB: what it is short of is zeros.
//! - A write is done whole or not at all.

use crate::FsError;
use crate::backing::Backing;
use crate::chunks::{Chunk, ChunkStore};
use forerun_types::Digest;
use imbl::OrdMap;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// Bytes of a chunk: what a write to a shared file copies at least.
pub(crate) const CHUNK_BYTES: u64 = 64 << 10;

/// Zeros for the holes of a sparse file.
static ZEROS: [u8; CHUNK_BYTES as usize] = [0; CHUNK_BYTES as usize];

/// A file's bytes.
#[derive(Clone, Default)]
pub(crate) struct Content {
    len: u64,
    /// Chunk index → its bytes, at least one.
    chunks: OrdMap<u64, Arc<Chunk>>,
    /// Where the bytes are that no chunk covers.
    lower: Option<Lower>,
    /// Digest of the whole, once somebody has asked for it.
    digest: OnceLock<Digest>,
}

/// The first bytes of an old content.
#[derive(Clone)]
struct Lower {
    source: Source,
    /// How many of its bytes count; not 0.
    len: u64,
}

#[derive(Clone)]
enum Source {
    Base(Arc<Backing>),
    /// What a delta that was read from bytes expects at this path. Not read before it is
    /// known which snapshot or base that is.
    Expected(Arc<str>),
}

/// What a content has that an older one has not.
pub(crate) struct Difference<'a> {
    /// How many bytes of the older one count, where nothing is said of them.
    pub(crate) kept: u64,
    /// Offset and bytes of what is different.
    pub(crate) chunks: Vec<(u64, &'a Chunk)>,
}

impl Content {
    /// The whole of a base file.
    pub(crate) fn over(backing: Backing) -> Content {
        let len = backing.len();
        let mut content = Content::default();
        content.put_over(Source::Base(Arc::new(backing)), len);
        content.len = len;
        content
    }

    /// The first bytes of what is expected at a path.
    pub(crate) fn over_expected(path: &str, len: u64) -> Content {
        let mut content = Content::default();
        content.put_over(Source::Expected(path.into()), len);
        content.len = len;
        content
    }

    fn put_over(&mut self, source: Source, len: u64) {
        self.lower = (len > 0).then_some(Lower { source, len });
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes that its chunks hold, those shared with others included.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.chunks.values().map(|chunk| chunk.len() as u64).sum()
    }

    /// Reads into `buf`; short at the end of the file.
    ///
    /// # Errors
    /// [`FsError::Changed`] if the base file was written to.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, FsError> {
        let wanted = self.len.saturating_sub(offset).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < wanted {
            let (index, start) = locate(offset + done as u64);
            let count = (wanted - done).min(CHUNK_BYTES as usize - start);
            self.read_chunk(index, start, &mut buf[done..done + count])?;
            done += count;
        }
        Ok(wanted)
    }

    /// Fills `buf` with what is in one chunk from `start` on.
    fn read_chunk(&self, index: u64, start: usize, buf: &mut [u8]) -> Result<(), FsError> {
        if let Some(chunk) = self.chunks.get(&index) {
            return chunk.read(start, buf);
        }
        let count = self.lower_len(index).saturating_sub(start).min(buf.len());
        let (have, rest) = buf.split_at_mut(count);
        rest.fill(0);
        match &self.lower {
            Some(lower) if !have.is_empty() => match &lower.source {
                Source::Base(backing) => backing.read(index * CHUNK_BYTES + start as u64, have),
                Source::Expected(_) => Err(FsError::Changed),
            },
            _ => Ok(()),
        }
    }

    /// Bytes of the old content that lie in a chunk.
    fn lower_len(&self, index: u64) -> usize {
        self.lower.as_ref().map_or(0, |lower| {
            lower
                .len
                .saturating_sub(index * CHUNK_BYTES)
                .min(CHUNK_BYTES) as usize
        })
    }

    /// Writes all of `data` or nothing, extending the file as needed. The caller has
    /// checked that `offset + data.len()` does not overflow.
    ///
    /// # Errors
    /// [`FsError::Quota`] if the disk is full, [`FsError::Changed`] if the base file was
    /// written to.
    pub(crate) fn write(
        &mut self,
        store: &Arc<ChunkStore>,
        offset: u64,
        data: &[u8],
    ) -> Result<(), FsError> {
        if data.is_empty() {
            return Ok(());
        }
        if !self.write_in_place(offset, data) {
            let mut written = Vec::new();
            let mut done = 0;
            while done < data.len() {
                let (index, start) = locate(offset + done as u64);
                let count = (data.len() - done).min(CHUNK_BYTES as usize - start);
                let data = &data[done..done + count];
                written.push((index, store.put(self.chunk_with(index, start, data)?)?));
                done += count;
            }
            self.chunks.extend(written);
        }
        self.len = self.len.max(offset + data.len() as u64);
        self.digest = OnceLock::new();
        Ok(())
    }

    /// Writes into a chunk that is there and is nobody else's, if that is all.
    fn write_in_place(&mut self, offset: u64, data: &[u8]) -> bool {
        let (index, start) = locate(offset);
        start + data.len() <= CHUNK_BYTES as usize
            && self
                .chunks
                .get_mut(&index)
                .and_then(Arc::get_mut)
                .is_some_and(|chunk| chunk.write(start, data))
    }

    /// The bytes of a chunk with some of them replaced.
    fn chunk_with(&self, index: u64, start: usize, data: &[u8]) -> Result<Vec<u8>, FsError> {
        let old = match self.chunks.get(&index) {
            Some(chunk) => chunk.len(),
            None => self.lower_len(index),
        };
        let end = start + data.len();
        if start == 0 && end >= old {
            return Ok(data.to_vec());
        }
        let mut bytes = vec![0; old.max(end)];
        self.read_chunk(index, 0, &mut bytes[..old])?;
        bytes[start..end].copy_from_slice(data);
        Ok(bytes)
    }

    /// Puts a whole chunk at an offset that is one's beginning.
    ///
    /// # Errors
    /// As [`Content::write`].
    pub(crate) fn put(
        &mut self,
        store: &Arc<ChunkStore>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), FsError> {
        let chunk = store.put(bytes.to_vec())?;
        self.chunks.insert(offset / CHUNK_BYTES, chunk);
        self.len = self.len.max(offset + bytes.len() as u64);
        self.digest = OnceLock::new();
        Ok(())
    }

    /// Cuts the file, or extends it by a hole.
    ///
    /// # Errors
    /// As [`Content::write`], and nothing is changed.
    pub(crate) fn set_len(&mut self, len: u64) -> Result<(), FsError> {
        if len == self.len {
            return Ok(());
        }
        if len < self.len {
            let (index, start) = locate(len);
            let (mut kept, boundary, _) = self.chunks.split_lookup(&index);
            if let Some(chunk) = boundary
                && start > 0
            {
                let cut = match chunk.len() > start {
                    true => chunk.prefix(start)?,
                    false => chunk,
                };
                kept.insert(index, cut);
            }
            self.chunks = kept;
            self.lower = self.lower.take().filter(|_| len > 0);
            if let Some(lower) = &mut self.lower {
                lower.len = lower.len.min(len);
            }
        }
        self.len = len;
        self.digest = OnceLock::new();
        Ok(())
    }

    /// What is not a hole, in order: offset and bytes. Zeros of a base file are left out
    /// as a hole where they fill a chunk.
    ///
    /// # Errors
    /// As [`Content::read`].
    pub(crate) fn pieces(
        &self,
    ) -> impl Iterator<Item = Result<(u64, Cow<'_, [u8]>), FsError>> + use<'_> {
        let lower = self.lower.as_ref().map_or(0, |lower| lower.len);
        let lower_end = lower.div_ceil(CHUNK_BYTES);
        let mut next = 0;
        std::iter::from_fn(move || {
            loop {
                let index = match next < lower_end {
                    true => next,
                    false => *self.chunks.range(next..).next()?.0,
                };
                next = index + 1;
                let bytes = match self.chunks.get(&index) {
                    Some(chunk) => chunk.bytes(),
                    None => {
                        let mut bytes = vec![0; self.lower_len(index)];
                        match self.read_chunk(index, 0, &mut bytes) {
                            Ok(()) if bytes == ZEROS[..bytes.len()] => continue,
                            read => read.map(|()| Cow::Owned(bytes)),
                        }
                    }
                };
                return Some(bytes.map(|bytes| (index * CHUNK_BYTES, bytes)));
            }
        })
    }

    /// Digest of the file's bytes, holes included; computed piece by piece when it is
    /// first asked for.
    ///
    /// # Errors
    /// As [`Content::read`].
    pub(crate) fn digest(&self) -> Result<Digest, FsError> {
        if let Some(digest) = self.digest.get() {
            return Ok(*digest);
        }
        let digest = match self.whole() {
            Some(backing) => backing.digest()?,
            None => {
                let mut hasher = SparseHasher::default();
                for piece in self.pieces() {
                    let (offset, bytes) = piece?;
                    hasher.add(offset, &bytes);
                }
                hasher.finish(self.len)
            }
        };
        Ok(*self.digest.get_or_init(|| digest))
    }

    /// The base file that it is, unchanged.
    fn whole(&self) -> Option<&Backing> {
        let backing = self.backing()?;
        let lower = self.lower.as_ref()?;
        let same = self.chunks.is_empty() && lower.len == self.len && self.len == backing.len();
        same.then_some(backing)
    }

    fn backing(&self) -> Option<&Arc<Backing>> {
        match &self.lower.as_ref()?.source {
            Source::Base(backing) => Some(backing),
            Source::Expected(_) => None,
        }
    }

    /// Notes a digest that was computed while the bytes were read, or that is claimed and
    /// will be checked.
    pub(crate) fn presume_digest(&self, digest: Digest) {
        let _ = self.digest.set(digest);
    }

    /// All bytes in one piece. For files that are known to be small.
    ///
    /// # Errors
    /// As [`Content::read`].
    pub(crate) fn to_vec(&self) -> Result<Vec<u8>, FsError> {
        let mut bytes = vec![0; self.len as usize];
        self.read(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Whether both share all their storage.
    pub(crate) fn shares(&self, other: &Content) -> bool {
        let same_lower = match (&self.lower, &other.lower) {
            (None, None) => true,
            (Some(one), Some(other)) => one.len == other.len && one.source.is(&other.source),
            _ => false,
        };
        same_lower && self.len == other.len && self.chunks.ptr_eq(&other.chunks)
    }

    /// Whether bytes of it are somewhere else, where somebody may change them.
    pub(crate) fn has_lower(&self) -> bool {
        self.lower.is_some()
    }

    /// The path of the old content that it needs, and how many of its bytes, if that was
    /// not put under it yet.
    pub(crate) fn expected(&self) -> Option<(&str, u64)> {
        match self.lower.as_ref() {
            Some(Lower {
                source: Source::Expected(path),
                len,
            }) => Some((path, *len)),
            _ => None,
        }
    }

    /// Puts the old content under it that it needs, and checks that the digest is that
    /// which was presumed.
    ///
    /// # Errors
    /// [`FsError::Changed`] if it is not.
    pub(crate) fn completed(&self, old: &Content) -> Result<Content, FsError> {
        let Some((_, len)) = self.expected() else {
            return Ok(self.clone());
        };
        if old.len < len {
            return Err(FsError::Changed);
        }
        let mut content = old.clone();
        content.set_len(len)?;
        content.chunks = self.chunks.clone().union(content.chunks);
        content.len = self.len;
        content.digest = OnceLock::new();
        match self.digest.get() == Some(&content.digest()?) {
            true => Ok(content),
            false => Err(FsError::Changed),
        }
    }

    /// Puts its bytes into a workspace's room, where they are not there yet.
    ///
    /// # Errors
    /// As [`Content::write`].
    pub(crate) fn adopted(&self, store: &Arc<ChunkStore>) -> Result<Content, FsError> {
        let mut content = self.clone();
        for (index, chunk) in self.chunks.iter().filter(|(_, chunk)| !chunk.is_in(store)) {
            let bytes = chunk.bytes()?.into_owned();
            content.chunks.insert(*index, store.put(bytes)?);
        }
        Ok(content)
    }

    /// The chunks alone: offset and bytes.
    pub(crate) fn chunks(&self) -> Vec<(u64, &Chunk)> {
        let chunks = self.chunks.iter();
        chunks
            .map(|(index, chunk)| (index * CHUNK_BYTES, &**chunk))
            .collect()
    }

    /// What it has that an older content has not from which it was made; `None` if it was
    /// made from another.
    pub(crate) fn since(&self, old: &Content) -> Option<Difference<'_>> {
        let (own, older) = (self.lower.as_ref()?, old.lower.as_ref()?);
        let mut overwritten = old
            .chunks
            .keys()
            .take_while(|index| **index * CHUNK_BYTES < own.len);
        let is_later = own.source.is(&older.source)
            && own.len <= older.len
            && overwritten.all(|index| self.chunks.contains_key(index));
        if !is_later {
            return None;
        }
        let chunks = self.chunks.iter().filter(|&(index, chunk)| {
            let is_kept = *index * CHUNK_BYTES + chunk.len() as u64 <= own.len;
            let is_old = old
                .chunks
                .get(index)
                .is_some_and(|old| Arc::ptr_eq(old, chunk));
            !(is_kept && is_old)
        });
        Some(Difference {
            kept: own.len,
            chunks: chunks
                .map(|(index, chunk)| (index * CHUNK_BYTES, &**chunk))
                .collect(),
        })
    }
}

impl Source {
    fn is(&self, other: &Source) -> bool {
        match (self, other) {
            (Source::Base(one), Source::Base(other)) => Arc::ptr_eq(one, other),
            (Source::Expected(one), Source::Expected(other)) => one == other,
            _ => false,
        }
    }
}

/// Digest of a file of which only the pieces that are no hole are added.
#[derive(Default)]
pub(crate) struct SparseHasher {
    hasher: blake3::Hasher,
    at: u64,
}

impl SparseHasher {
    /// Adds a piece that begins where the last one ended, or later.
    pub(crate) fn add(&mut self, offset: u64, bytes: &[u8]) {
        self.add_zeros(offset - self.at);
        self.hasher.update(bytes);
        self.at = offset + bytes.len() as u64;
    }

    /// The digest of a file of this length.
    pub(crate) fn finish(mut self, len: u64) -> Digest {
        self.add_zeros(len - self.at);
        Digest(*self.hasher.finalize().as_bytes())
    }

    fn add_zeros(&mut self, mut count: u64) {
        while count > 0 {
            let piece = count.min(CHUNK_BYTES);
            self.hasher.update(&ZEROS[..piece as usize]);
            count -= piece;
        }
    }
}

fn locate(offset: u64) -> (u64, usize) {
    (offset / CHUNK_BYTES, (offset % CHUNK_BYTES) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Version;
    use proptest::prelude::*;
    use std::io::Write;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let offset = prop_oneof![0..200u64, 65_000..66_000u64, 131_000..131_200u64];
        let data = prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..300),
            1 => (any::<u8>(), 60_000..140_000usize).prop_map(|(byte, len)| vec![byte; len]),
        ];
        prop_oneof![
            (offset.clone(), data).prop_map(|(offset, data)| Step::Write(offset, data)),
            offset.prop_map(Step::SetLen),
        ]
    }

    /// A base file of some length, and its bytes.
    fn base(len: usize) -> (Content, Vec<u8>) {
        let bytes: Vec<_> = (0..len).map(|n| (n / 251) as u8).collect();
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&bytes).expect("writes");
        let version = Version::of(&rustix::fs::fstat(&file).expect("is open"));
        let backing =
            Backing::new(file.into(), version, &Default::default()).expect("is the first");
        (Content::over(backing), bytes)
    }

    proptest! {
        /// In memory and in the file, over nothing and over a base file.
        #[test]
        fn content_is_a_growing_vector(
            lower in prop_oneof![Just(0usize), Just(66_000), Just(131_072), Just(200_000)],
            memory in prop_oneof![Just(0u64), Just(70_000), Just(u64::MAX)],
            steps in prop::collection::vec(step(), 0..20),
        ) {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let store = ChunkStore::new(directory.path().to_owned());
            store.set_memory_max(memory);
            let (mut content, mut model) = base(lower);
            let first = content.clone();
            let mut frozen = Vec::new();
            for (index, step) in steps.into_iter().enumerate() {
                // Now and then nobody else holds the chunks.
                if index % 3 > 0 {
                    frozen.push((content.clone(), model.clone()));
                }
                match step {
                    Step::Write(offset, data) if !data.is_empty() => {
                        let end = offset as usize + data.len();
                        model.resize(model.len().max(end), 0);
                        model[offset as usize..end].copy_from_slice(&data);
                        content.write(&store, offset, &data).expect("has room");
                    }
                    Step::Write(..) => {}
                    Step::SetLen(len) => {
                        model.resize(len as usize, 0);
                        content.set_len(len).expect("has room");
                    }
                }
            }
            prop_assert!(store.memory() <= memory);
            frozen.push((content, model));
            for (content, model) in &frozen {
                prop_assert_eq!(&content.to_vec().expect("reads"), model);
                prop_assert_eq!(content.digest().expect("reads"), Digest::of(model));
                check_difference(content, &first)?;
            }
            for pair in frozen.windows(2) {
                check_difference(&pair[1].0, &pair[0].0)?;
            }
            drop((frozen, first));
            prop_assert_eq!((store.memory(), store.spilled()), (0, 0));
        }
    }

    /// A difference put on the old content gives the new one.
    fn check_difference(new: &Content, old: &Content) -> Result<(), TestCaseError> {
        let Some(difference) = new.since(old) else {
            prop_assert!(!new.has_lower(), "it was made from the older one");
            return Ok(());
        };
        let store = ChunkStore::unbound();
        let mut read = Content::over_expected("path", difference.kept);
        for (offset, chunk) in difference.chunks {
            let bytes = chunk.bytes().expect("reads");
            read.put(store, offset, &bytes).expect("has room");
        }
        read.set_len(new.len()).expect("has room");
        read.presume_digest(new.digest().expect("reads"));
        let again = read.completed(old).expect("is the same");
        prop_assert_eq!(again.to_vec().expect("reads"), new.to_vec().expect("reads"));
        Ok(())
    }

    #[test]
    fn a_base_file_that_somebody_wrote_to_is_not_read_on() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("file");
        std::fs::write(&path, vec![1; 300_000]).expect("writes");
        let file = std::fs::File::open(&path).expect("opens");
        let version = Version::of(&rustix::fs::fstat(&file).expect("is open"));
        let backing =
            Backing::new(file.into(), version, &Default::default()).expect("is the first");
        let mut content = Content::over(backing);
        let store = ChunkStore::unbound();
        content.write(store, 0, &[2; 10]).expect("writes");
        std::fs::write(&path, vec![3; 299_999]).expect("writes");
        let mut buf = [0; 10];
        assert_eq!(content.read(0, &mut buf).expect("its own"), 10);
        let changed = |result: Result<(), FsError>| matches!(result, Err(FsError::Changed));
        assert!(changed(content.read(200_000, &mut buf).map(drop)));
        assert!(changed(content.digest().map(drop)));
        assert!(changed(content.write(store, 200_000, &[2])));
        assert!(changed(content.write(store, 65_530, &[2; 10])));
        let mut buf = [0; 16];
        content.read(65_520, &mut buf).expect("is its own");
        assert_eq!(buf, [1; 16], "nothing was written");
    }
}
