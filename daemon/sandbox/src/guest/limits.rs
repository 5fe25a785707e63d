//! The limits that are counted inside: memory, and the error that names a limit.

use forerun_types::LimitName;
use wasmtime::ResourceLimiter;

/// Bytes of the host's memory that one call between guest and host may move; stops a
/// guest from making the host allocate gigabytes at once.
pub(crate) const HOSTCALL_BYTES_MAX: usize = 32 << 20;
/// Bytes of one table entry, roughly.
const TABLE_ENTRY_BYTES: usize = 8;

/// A limit was hit. Ends the guest as a trap; the outcome finds it in the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit on {0} was reached")]
pub(crate) struct LimitHit(pub(crate) LimitName);

/// Sums linear memories and tables over the whole instance.
pub(crate) struct MemoryLimiter {
    limit: u64,
    used: u64,
    pub(crate) peak: u64,
}

impl MemoryLimiter {
    pub(crate) fn new(limit: u64) -> MemoryLimiter {
        MemoryLimiter {
            limit,
            used: 0,
            peak: 0,
        }
    }

    fn grow(&mut self, current: usize, desired: usize) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        let used = self.used.saturating_add(more);
        if used > self.limit {
            return Err(LimitHit(LimitName::Memory).into());
        }
        self.used = used;
        self.peak = self.peak.max(used);
        Ok(true)
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(current, desired)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(
            current.saturating_mul(TABLE_ENTRY_BYTES),
            desired.saturating_mul(TABLE_ENTRY_BYTES),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_are_summed() {
        let mut limiter = MemoryLimiter::new(1_000);
        assert!(limiter.memory_growing(0, 600, None).expect("fits"));
        assert!(limiter.table_growing(0, 50, None).expect("fits exactly"));
        let error = limiter.memory_growing(600, 601, None).expect_err("full");
        assert_eq!(error.downcast_ref(), Some(&LimitHit(LimitName::Memory)));
        assert_eq!(limiter.peak, 1_000);
    }

    #[test]
    fn a_memory_that_grows_past_its_own_maximum_fails_without_ending_the_guest() {
        let mut limiter = MemoryLimiter::new(1_000);
        assert!(!limiter.memory_growing(0, 200, Some(100)).expect("no limit"));
    }
}
