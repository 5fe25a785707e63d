//! Everything that belongs to one instance: its state, its limits, and what it can
//! call. Interfaces are linked one by one, so that nothing is there that was not meant.

mod clock;
mod egress;
pub(crate) mod limits;
mod pipe;
pub(crate) mod process;
mod random;
pub(crate) mod stdio;

pub(crate) use clock::timestamp;
pub(crate) use limits::LimitHit;
pub(crate) use pipe::Inbox;
pub use pipe::{PipeReader, PipeWriter, pipe};
pub(crate) use wasmtime_wasi::p2::bindings::CommandPre;

use crate::fs::{self, HasFs, SharedVolumes, View, Volumes, WORKSPACE};
use crate::run::Outgoing;
use crate::time::Waits;
use clock::{Clock, ClockView, HasClock};
use egress::Egress;
pub(crate) use egress::Unanswered;
use forerun_types::Limits;
use limits::MemoryLimiter;
use process::{HasProcess, Process, ProcessView};
use random::{HasRandom, Random};
use std::sync::Arc;
use tokio::sync::mpsc;
use wasmtime::Engine;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliCtx, WasiCliCtxView};
use wasmtime_wasi::p2::bindings::{cli, clocks, random as wasi_random, sockets};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsCtx, WasiSocketsCtxView};
use wasmtime_wasi_http::p2::bindings::http as wasi_http;
use wasmtime_wasi_http::{WasiHttp, WasiHttpCtxView};
use wasmtime_wasi_io::bindings::wasi::io;

wasmtime::component::bindgen!({
    path: "../../proto/wit",
    world: "forerun:tool/tool",
    exports: { default: async },
});

/// The state of one instance.
pub(crate) struct State {
    table: ResourceTable,
    pub(crate) memory: MemoryLimiter,
    volumes: SharedVolumes,
    clock: Clock,
    random: Random,
    cli: WasiCliCtx,
    sockets: WasiSocketsCtx,
    pub(crate) egress: Egress,
    pub(crate) waits: Waits,
    pub(crate) process: Process,
    /// Where the workspace is found, by each of these names.
    mounts: Vec<String>,
}

/// What an instance is given.
pub(crate) struct Grant<'a> {
    /// What it can read and change; nothing at all while it only lists its tools.
    pub(crate) volumes: Option<Volumes>,
    /// Names under which it finds the workspace.
    pub(crate) mounts: Vec<String>,
    pub(crate) process: Process,
    pub(crate) limits: &'a Limits,
    pub(crate) clock_ns: u64,
    pub(crate) seed: [u8; 32],
    /// Where requests to the world go; without it they are denied.
    pub(crate) outgoing: Option<mpsc::UnboundedSender<Outgoing>>,
}

impl<'a> Grant<'a> {
    /// No files, a clock that stands at 1970, a seed that everybody knows.
    pub(crate) fn nothing(limits: &'a Limits) -> Grant<'a> {
        Grant {
            volumes: None,
            mounts: vec![WORKSPACE.to_owned()],
            process: Process::bare(WORKSPACE, output_bytes(limits)),
            limits,
            clock_ns: 0,
            seed: [0; 32],
            outgoing: None,
        }
    }
}

impl State {
    pub(crate) fn new(grant: Grant<'_>) -> State {
        let mut table = ResourceTable::new();
        table.set_max_capacity(grant.limits.handles as usize);
        let waits = Waits::default();
        let volumes = grant.volumes.as_ref();
        let read_sensitive = volumes.map(|volumes| Arc::clone(&volumes.read_sensitive));
        let read_sensitive = read_sensitive.unwrap_or_default();
        State {
            table,
            memory: MemoryLimiter::new(grant.limits.memory_bytes),
            volumes: SharedVolumes::new(grant.volumes),
            clock: Clock::new(grant.clock_ns),
            random: Random::new(&grant.seed),
            cli: WasiCliCtx::default(),
            sockets: WasiSocketsCtx::default(),
            egress: Egress::new(grant.outgoing, waits.clone(), read_sensitive),
            waits,
            process: grant.process,
            mounts: grant.mounts,
        }
    }

    /// Ends the instance's access to its volumes and hands them out.
    pub(crate) fn take_volumes(&self) -> Option<Volumes> {
        self.volumes.take()
    }
}

/// Bytes of an output that are kept.
pub(crate) fn output_bytes(limits: &Limits) -> usize {
    usize::try_from(limits.output_bytes).unwrap_or(usize::MAX)
}

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// Links everything that a tool may import.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    io::error::add_to_linker::<State, HasTable>(l, |state| &mut state.table)?;
    io::poll::add_to_linker::<State, HasTable>(l, |state| &mut state.table)?;
    io::streams::add_to_linker::<State, HasTable>(l, |state| &mut state.table)?;
    clocks::wall_clock::add_to_linker::<State, HasClock>(l, clock)?;
    clocks::monotonic_clock::add_to_linker::<State, HasClock>(l, clock)?;
    wasi_random::random::add_to_linker::<State, HasRandom>(l, |state| &mut state.random)?;
    wasi_random::insecure::add_to_linker::<State, HasRandom>(l, |state| &mut state.random)?;
    wasi_random::insecure_seed::add_to_linker::<State, HasRandom>(l, |state| &mut state.random)?;
    fs::types::add_to_linker::<State, HasFs>(l, files)?;
    fs::preopens::add_to_linker::<State, HasFs>(l, files)?;
    cli::environment::add_to_linker::<State, HasProcess>(l, process)?;
    cli::stdin::add_to_linker::<State, HasProcess>(l, process)?;
    cli::stdout::add_to_linker::<State, HasProcess>(l, process)?;
    cli::stderr::add_to_linker::<State, HasProcess>(l, process)?;
    cli::exit::add_to_linker::<State, WasiCli>(l, cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(l, cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(l, cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(l, cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(l, cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(l, cli)?;
    // Linked so that a guest that imports them starts; every use is refused.
    let options = sockets::network::LinkOptions::default();
    sockets::network::add_to_linker::<State, WasiSockets>(l, &options, sockets)?;
    sockets::instance_network::add_to_linker::<State, WasiSockets>(l, sockets)?;
    sockets::ip_name_lookup::add_to_linker::<State, WasiSockets>(l, sockets)?;
    sockets::tcp::add_to_linker::<State, WasiSockets>(l, sockets)?;
    sockets::tcp_create_socket::add_to_linker::<State, WasiSockets>(l, sockets)?;
    sockets::udp::add_to_linker::<State, WasiSockets>(l, sockets)?;
    sockets::udp_create_socket::add_to_linker::<State, WasiSockets>(l, sockets)?;
    let options = wasi_http::types::LinkOptions::default();
    wasi_http::types::add_to_linker::<State, WasiHttp>(l, &options, egress)?;
    wasi_http::outgoing_handler::add_to_linker::<State, WasiHttp>(l, egress)?;
    Ok(linker)
}

fn clock(state: &mut State) -> ClockView<'_> {
    ClockView {
        clock: &state.clock,
        waits: &state.waits,
        table: &mut state.table,
    }
}

fn files(state: &mut State) -> View<'_> {
    View {
        volumes: &state.volumes,
        mounts: &state.mounts,
        table: &mut state.table,
        now: state.clock.wall_timestamp(),
    }
}

fn process(state: &mut State) -> ProcessView<'_> {
    ProcessView {
        process: &mut state.process,
        table: &mut state.table,
    }
}

fn cli(state: &mut State) -> WasiCliCtxView<'_> {
    WasiCliCtxView {
        ctx: &mut state.cli,
        table: &mut state.table,
    }
}

fn sockets(state: &mut State) -> WasiSocketsCtxView<'_> {
    WasiSocketsCtxView {
        ctx: &mut state.sockets,
        table: &mut state.table,
    }
}

fn egress(state: &mut State) -> WasiHttpCtxView<'_> {
    state.egress.view(&mut state.table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime_wasi::filesystem::WasiFilesystem;

    #[test]
    fn the_bound_file_system_is_the_version_that_wasmtime_wasi_carries() {
        /// Only a type: nothing is ever called.
        struct Stock;
        fn never(_: &mut Stock) -> wasmtime_wasi::filesystem::WasiFilesystemCtxView<'_> {
            unreachable!("nothing is instantiated")
        }
        fn ours(_: &mut Stock) -> View<'_> {
            unreachable!("nothing is instantiated")
        }
        let engine = Engine::default();
        let mut linker: Linker<Stock> = Linker::new(&engine);
        fs::types::add_to_linker::<Stock, HasFs>(&mut linker, ours).expect("links");
        let stock = wasmtime_wasi::p2::bindings::filesystem::types::add_to_linker::<
            Stock,
            WasiFilesystem,
        >(&mut linker, never);
        // Interfaces are linked by a name that holds the version: what is defined twice
        // has one name, so it has one version.
        let message = format!("{:#}", stock.expect_err("the same interface twice"));
        assert!(message.contains("defined twice"), "{message}");
    }
}
