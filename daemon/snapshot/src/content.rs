//! The content of a changed file: a persistent, sparse sequence of 64 KiB chunks.
//!
//! A clone shares every chunk; a write copies the chunks that it touches. What no chunk
//! covers reads as zeros.

use forerun_types::Digest;
use imbl::OrdMap;
use std::sync::{Arc, OnceLock};

/// Bytes of a chunk: what a write to a shared file copies at least.
pub(crate) const CHUNK_BYTES: u64 = 64 << 10;

/// Zeros for the holes of a sparse file.
static ZEROS: [u8; CHUNK_BYTES as usize] = [0; CHUNK_BYTES as usize];

/// A file's bytes.
#[derive(Clone, Default)]
pub(crate) struct Content {
    len: u64,
    /// Chunk index → its bytes, at most [`CHUNK_BYTES`]; what is short reads as zeros.
    chunks: OrdMap<u64, Arc<Vec<u8>>>,
    /// Digest of the whole, once somebody has asked for it.
    digest: OnceLock<Digest>,
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Reads into `buf`; short at the end of the file.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let wanted = self.len.saturating_sub(offset).min(buf.len() as u64) as usize;
        let mut done = 0;
        while done < wanted {
            let (index, start) = locate(offset + done as u64);
            let count = (wanted - done).min(CHUNK_BYTES as usize - start);
            let out = &mut buf[done..done + count];
            let have = self.chunks.get(&index).map_or(&[][..], |chunk| chunk);
            let have = have.get(start..).unwrap_or(&[]);
            let have = &have[..have.len().min(count)];
            out[..have.len()].copy_from_slice(have);
            out[have.len()..].fill(0);
            done += count;
        }
        wanted
    }

    /// Writes all of `data`, extending the file as needed. The caller has checked that
    /// `offset + data.len()` does not overflow.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let (index, start) = locate(offset + done as u64);
            let count = (data.len() - done).min(CHUNK_BYTES as usize - start);
            let chunk = Arc::make_mut(self.chunks.entry(index).or_default());
            if chunk.len() < start + count {
                chunk.resize(start + count, 0);
            }
            chunk[start..start + count].copy_from_slice(&data[done..done + count]);
            done += count;
        }
        if !data.is_empty() {
            self.len = self.len.max(offset + data.len() as u64);
            self.digest = OnceLock::new();
        }
    }

    /// Cuts the file, or extends it by a hole.
    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (index, start) = locate(len);
            let (mut kept, boundary, _) = self.chunks.split_lookup(&index);
            if let Some(mut chunk) = boundary
                && start > 0
            {
                Arc::make_mut(&mut chunk).truncate(start);
                kept.insert(index, chunk);
            }
            self.chunks = kept;
        }
        if len != self.len {
            self.len = len;
            self.digest = OnceLock::new();
        }
    }

    /// The stored pieces in order: offset and bytes. Holes are left out.
    pub(crate) fn extents(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.chunks
            .iter()
            .filter(|(_, chunk)| !chunk.is_empty())
            .map(|(index, chunk)| (index * CHUNK_BYTES, chunk.as_slice()))
    }

    /// Digest of the file's bytes, holes included.
    pub(crate) fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            let mut at = 0;
            for (offset, bytes) in self.extents() {
                hash_zeros(&mut hasher, offset - at);
                hasher.update(bytes);
                at = offset + bytes.len() as u64;
            }
            hash_zeros(&mut hasher, self.len - at);
            Digest(*hasher.finalize().as_bytes())
        })
    }

    /// Notes a digest that was computed while the bytes were read.
    pub(crate) fn presume_digest(&self, digest: Digest) {
        let _ = self.digest.set(digest);
    }

    /// All bytes in one piece. For files that are known to be small.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.read(0, &mut bytes);
        bytes
    }

    /// Whether both share all their storage.
    pub(crate) fn shares(&self, other: &Content) -> bool {
        self.len == other.len && self.chunks.ptr_eq(&other.chunks)
    }
}

fn locate(offset: u64) -> (u64, usize) {
    (offset / CHUNK_BYTES, (offset % CHUNK_BYTES) as usize)
}

fn hash_zeros(hasher: &mut blake3::Hasher, mut count: u64) {
    while count > 0 {
        let piece = count.min(CHUNK_BYTES);
        hasher.update(&ZEROS[..piece as usize]);
        count -= piece;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let offset = prop_oneof![0..200u64, 65_000..66_000u64, 131_000..131_200u64];
        prop_oneof![
            (offset.clone(), prop::collection::vec(any::<u8>(), 0..300))
                .prop_map(|(offset, data)| Step::Write(offset, data)),
            offset.prop_map(Step::SetLen),
        ]
    }

    proptest! {
        #[test]
        fn content_is_a_growing_vector(steps in prop::collection::vec(step(), 0..20)) {
            let (mut content, mut model) = (Content::default(), Vec::new());
            let mut frozen = Vec::new();
            for step in steps {
                frozen.push((content.clone(), model.clone()));
                match step {
                    Step::Write(offset, data) if !data.is_empty() => {
                        let end = offset as usize + data.len();
                        model.resize(model.len().max(end), 0);
                        model[offset as usize..end].copy_from_slice(&data);
                        content.write(offset, &data);
                    }
                    Step::Write(..) => {}
                    Step::SetLen(len) => {
                        model.resize(len as usize, 0);
                        content.set_len(len);
                    }
                }
            }
            frozen.push((content, model));
            for (content, model) in frozen {
                prop_assert_eq!(&content.to_vec(), &model);
                prop_assert_eq!(content.digest(), Digest::of(&model));
            }
        }
    }
}
