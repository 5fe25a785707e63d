//! A tool component that is compiled when it is needed first. An interpreter takes
//! seconds, and most sessions never call it.

use crate::cache::Cache;
use crate::engine::Machine;
use crate::guest::{State, ToolPre};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A component, compiled or not yet.
pub(crate) struct Lazy {
    compiled: OnceLock<Arc<ToolPre<State>>>,
    /// What it is compiled from; held while it is.
    source: Mutex<Option<Source>>,
}

struct Source {
    wasm: &'static [u8],
    machine: Arc<Machine>,
    cache: Arc<Cache>,
}

impl Lazy {
    pub(crate) fn later(wasm: &'static [u8], machine: &Arc<Machine>, cache: &Arc<Cache>) -> Lazy {
        Lazy {
            compiled: OnceLock::new(),
            source: Mutex::new(Some(Source {
                wasm,
                machine: Arc::clone(machine),
                cache: Arc::clone(cache),
            })),
        }
    }

    pub(crate) fn now(compiled: Arc<ToolPre<State>>) -> Lazy {
        Lazy {
            compiled: OnceLock::from(compiled),
            source: Mutex::default(),
        }
    }

    /// The component, compiled if it is not yet; without blocking the thread.
    ///
    /// # Errors
    /// Why it can not be.
    pub(crate) async fn get(self: &Arc<Self>) -> Result<Arc<ToolPre<State>>, String> {
        if let Some(compiled) = self.compiled.get() {
            return Ok(Arc::clone(compiled));
        }
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || this.get_blocking())
            .await
            .map_err(|error| error.to_string())?
    }

    /// The same, for who may block.
    ///
    /// # Errors
    /// Why it can not be.
    pub(crate) fn get_blocking(&self) -> Result<Arc<ToolPre<State>>, String> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = self.compiled.get() {
            return Ok(Arc::clone(compiled));
        }
        let source = source.as_ref().ok_or("it has no component")?;
        let compiled = super::compile(&source.machine, &source.cache, source.wasm);
        let compiled = compiled.map_err(|error| error.to_string())?;
        Ok(Arc::clone(self.compiled.get_or_init(|| compiled)))
    }
}
