//! What one action, and one session, may use at most.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits of one execution. Every one that is hit ends in an observation that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of linear memory and tables, summed over the instance: stops a tool that
    /// allocates without end.
    pub memory_bytes: u64,
    /// CPU time: stops a tool that computes for ever.
    pub cpu_ms: u64,
    /// Wall time: stops a tool that waits for ever.
    pub wall_ms: u64,
    /// Bytes of stdout, stderr and result text each; what is over is cut and marked:
    /// stops a tool that prints without end.
    pub output_bytes: u64,
    /// Bytes of unverified changes along the path: stops a tool that fills the disk.
    pub delta_bytes: u64,
    /// Changed nodes along the path: stops a tool that creates files without end.
    pub delta_nodes: u64,
    /// Open handles: stops a tool that leaks descriptors.
    pub handles: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_bytes: 256 << 20,
            cpu_ms: 10_000,
            wall_ms: 30_000,
            output_bytes: 1 << 20,
            delta_bytes: 1 << 30,
            delta_nodes: 200_000,
            handles: 1_024,
        }
    }
}

impl Limits {
    /// CPU time as a duration.
    pub fn cpu(&self) -> Duration {
        Duration::from_millis(self.cpu_ms)
    }

    /// Wall time as a duration.
    pub fn wall(&self) -> Duration {
        Duration::from_millis(self.wall_ms)
    }
}
