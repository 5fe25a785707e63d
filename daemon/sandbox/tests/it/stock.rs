//! The probe guest on stock wasmtime-wasi over a plain directory: what the sandbox is
//! compared with, by tests and by benches.

use std::path::Path;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

wasmtime::component::bindgen!({
    path: "../../proto/wit",
    world: "forerun:tool/tool",
    exports: { default: async },
});

/// A component, ready to be instantiated.
pub(crate) struct Stock {
    engine: Engine,
    component: ToolPre<State>,
}

struct State {
    ctx: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.ctx,
            table: &mut self.table,
        }
    }
}

impl Stock {
    pub(crate) fn new(config: &Config, wasm: &[u8]) -> Stock {
        let engine = Engine::new(config).expect("an engine");
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("links");
        let component = Component::new(&engine, wasm).expect("compiles");
        let component = linker.instantiate_pre(&component).expect("links");
        Stock {
            component: ToolPre::new(component).expect("a tool"),
            engine,
        }
    }

    /// Calls a tool of the component in a fresh instance. `directories` are what it sees,
    /// under these names; with `inline`, files are read on this thread. A trap is an error.
    pub(crate) async fn call(
        &self,
        directories: &[(&Path, &str)],
        inline: bool,
        tool: &str,
        arguments: &str,
    ) -> wasmtime::Result<String> {
        let mut ctx = WasiCtxBuilder::new();
        ctx.allow_blocking_current_thread(inline);
        for (directory, name) in directories {
            ctx.preopened_dir(directory, name, FsPerms::ReadWrite)?;
        }
        let state = State {
            ctx: ctx.build(),
            table: ResourceTable::new(),
        };
        let mut store = Store::new(&self.engine, state);
        // Nothing is interrupted: an engine that counts epochs is given all of them.
        store.set_epoch_deadline(u64::MAX / 2);
        let guest = self.component.instantiate_async(&mut store).await?;
        let tools = guest.forerun_tool_tools();
        match tools.call_call(&mut store, tool, arguments).await? {
            Ok(output) => Ok(output
                .content
                .into_iter()
                .map(|content| match content {
                    exports::forerun::tool::tools::Content::Text(text) => text,
                    exports::forerun::tool::tools::Content::Blob(_) => "a blob".into(),
                })
                .collect()),
            Err(refusal) => Ok(refusal),
        }
    }
}
