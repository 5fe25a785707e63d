//! The guest's random numbers: a stream of BLAKE3 output, determined by the seed.
//!
//! Unpredictable to whom the seed is unknown, equal in every run that has the same.

use blake3::OutputReader;
use wasmtime::bail;
use wasmtime::component::HasData;
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

/// Most random bytes in one call; stops a guest from making the host allocate.
const BYTES_MAX: u64 = 1 << 20;

/// The streams of one instance. The insecure one is apart, so that what it shows says
/// nothing about the other.
pub(crate) struct Random {
    secure: OutputReader,
    insecure: OutputReader,
}

impl Random {
    pub(crate) fn new(seed: &[u8; 32]) -> Random {
        Random {
            secure: stream("forerun guest random v1", seed),
            insecure: stream("forerun guest insecure random v1", seed),
        }
    }
}

fn stream(domain: &'static str, seed: &[u8; 32]) -> OutputReader {
    blake3::Hasher::new_derive_key(domain)
        .update(seed)
        .finalize_xof()
}

fn bytes(stream: &mut OutputReader, length: u64) -> wasmtime::Result<Vec<u8>> {
    if length > BYTES_MAX {
        bail!("{length} random bytes at once; at most {BYTES_MAX} are given");
    }
    let mut bytes = vec![0; usize::try_from(length)?];
    stream.fill(&mut bytes);
    Ok(bytes)
}

fn number(stream: &mut OutputReader) -> u64 {
    let mut bytes = [0; 8];
    stream.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

pub(crate) struct HasRandom;

impl HasData for HasRandom {
    type Data<'a> = &'a mut Random;
}

impl random::Host for Random {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        bytes(&mut self.secure, length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(number(&mut self.secure))
    }
}

impl insecure::Host for Random {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        bytes(&mut self.insecure, length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(number(&mut self.insecure))
    }
}

impl insecure_seed::Host for Random {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((number(&mut self.insecure), number(&mut self.insecure)))
    }
}
