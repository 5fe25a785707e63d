//! The WebAssembly engine: its settings, its linker, its clock tick.
//!
//! The settings were measured: a pool with default settings is slower on two threads
//! than on one; keeping pages resident and scanning the page map make it twelve times
//! faster. `tests/steady.rs` fails without any one of them.

use crate::config::{SandboxConfig, StartError};
use crate::guest::{self, State};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Length of an epoch: how often a guest that computes is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// How long the ticker goes on after the last sandbox ended, before it sleeps.
const TICK_GRACE: Duration = Duration::from_millis(200);

/// Bytes of each linear memory that stay mapped between two instances.
const MEMORY_KEEP_RESIDENT: usize = 2 << 20;
/// The same for tables.
const TABLE_KEEP_RESIDENT: usize = 64 << 10;
/// The same for stacks; they are zeroed.
const STACK_KEEP_RESIDENT: usize = 64 << 10;
/// Stack of a guest; stops endless recursion.
const WASM_STACK_BYTES: usize = 1 << 20;
/// Stack of a guest and the host code below it.
const ASYNC_STACK_BYTES: usize = 2 << 20;
/// Core modules in one component: the tool, adapters, and some to spare.
const CORE_INSTANCES_PER_COMPONENT: u32 = 24;
/// Linear memories in one component.
const MEMORIES_PER_COMPONENT: u32 = 4;
/// Tables in one component.
const TABLES_PER_COMPONENT: u32 = 12;
/// Entries of one table; a guest with more function pointers does not load.
const TABLE_ELEMENTS: usize = 64 << 10;
/// Memory mappings that one concurrent sandbox may need, with all its memories.
const MAPS_PER_SANDBOX: usize = 32;
/// `vm.max_map_count` where it cannot be read: the kernel's default.
const MAP_COUNT_DEFAULT: usize = 65_530;

/// The engine and the linker that all sandboxes share.
pub(crate) struct Machine {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    /// Whether sandboxes are allocated in a pool.
    pub(crate) pooled: bool,
}

impl Machine {
    pub(crate) fn new(config: &SandboxConfig) -> Result<Machine, StartError> {
        let slots = slots(config.max_concurrent);
        let (engine, pooled) = match Engine::new(&settings(Some(slots))) {
            Ok(engine) => (engine, true),
            Err(error) => {
                tracing::warn!(
                    %error,
                    slots,
                    "no address space for a pool of sandboxes; each is allocated when it starts, which is slower"
                );
                let engine = Engine::new(&settings(None));
                let failed = |error: wasmtime::Error| StartError::Engine(error.to_string());
                (engine.map_err(failed)?, false)
            }
        };
        let linker =
            guest::linker(&engine).map_err(|error| StartError::Engine(error.to_string()))?;
        Ok(Machine {
            engine,
            linker,
            pooled,
        })
    }
}

/// How many sandboxes the kernel's limit on mappings allows.
pub(crate) fn slots(wanted: usize) -> usize {
    let maps = std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(MAP_COUNT_DEFAULT);
    // Half of the mappings are left to everything else in the process.
    wanted.clamp(1, (maps / 2 / MAPS_PER_SANDBOX).max(1))
}

/// The settings of the engine that [`crate::Sandboxes`] starts for so many sandboxes at
/// once: for measuring what is left of a bare instance's speed.
pub fn engine_settings(max_concurrent: usize) -> Config {
    settings(Some(slots(max_concurrent)))
}

fn settings(slots: Option<usize>) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .memory_init_cow(true)
        .async_stack_zeroing(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(ASYNC_STACK_BYTES)
        .wasm_backtrace_max_frames(None);
    if let Some(slots) = slots {
        let count = u32::try_from(slots).unwrap_or(u32::MAX / 64);
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(count)
            .total_core_instances(count.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
            .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
            .total_memories(count.saturating_mul(2))
            .max_memories_per_component(MEMORIES_PER_COMPONENT)
            .max_memory_size(4 << 30)
            .total_tables(count.saturating_mul(4))
            .max_tables_per_component(TABLES_PER_COMPONENT)
            .max_tables_per_module(TABLES_PER_COMPONENT)
            .table_elements(TABLE_ELEMENTS)
            .total_stacks(count)
            .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
            .table_keep_resident(TABLE_KEEP_RESIDENT)
            .async_stack_keep_resident(STACK_KEEP_RESIDENT)
            .pagemap_scan(Enabled::Auto);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// Moves the engine's epoch on while sandboxes run, on a thread of its own; sleeps
/// otherwise, so that an idle daemon does not wake the machine.
#[derive(Clone)]
pub(crate) struct Ticker(Arc<Beat>);

struct Beat {
    active: AtomicUsize,
    asleep: Mutex<bool>,
    wake: Condvar,
}

/// While one exists, the epoch moves.
pub(crate) struct Ticking(Arc<Beat>);

impl Ticker {
    /// The thread ends with the engine.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Ticker> {
        let beat = Arc::new(Beat {
            active: AtomicUsize::new(0),
            asleep: Mutex::new(false),
            wake: Condvar::new(),
        });
        let weak = engine.weak();
        let own = Arc::downgrade(&beat);
        std::thread::Builder::new()
            .name("forerun-ticker".into())
            .spawn(move || {
                let mut last_active = Instant::now();
                while let (Some(engine), Some(beat)) = (weak.upgrade(), own.upgrade()) {
                    engine.increment_epoch();
                    drop(engine);
                    if beat.active.load(Ordering::SeqCst) > 0 {
                        last_active = Instant::now();
                    } else if last_active.elapsed() > TICK_GRACE {
                        beat.sleep();
                        last_active = Instant::now();
                    }
                    drop(beat);
                    std::thread::sleep(TICK);
                }
            })?;
        Ok(Ticker(beat))
    }

    pub(crate) fn tick(&self) -> Ticking {
        if self.0.active.fetch_add(1, Ordering::SeqCst) == 0 {
            let mut asleep = self.0.asleep.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::take(&mut *asleep) {
                self.0.wake.notify_one();
            }
        }
        Ticking(Arc::clone(&self.0))
    }
}

impl Beat {
    fn sleep(&self) {
        /// How long the thread sleeps before it looks whether it is still needed.
        const NAP: Duration = Duration::from_secs(1);
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        *asleep = true;
        // A sandbox that started before the flag was set did not see it.
        if self.active.load(Ordering::SeqCst) == 0 {
            (asleep, _) = self
                .wake
                .wait_timeout(asleep, NAP)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *asleep = false;
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_by_the_kernel_and_never_none() {
        assert_eq!(slots(0), 1);
        assert_eq!(slots(4), 4);
        assert!(slots(usize::MAX) < 10_000_000);
    }

    #[test]
    fn both_ways_of_allocating_are_accepted_by_this_machine() {
        Engine::new(&settings(Some(4))).expect("a pool");
        Engine::new(&settings(None)).expect("on demand");
    }
}
