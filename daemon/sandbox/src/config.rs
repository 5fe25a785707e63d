//! What the sandboxes are started with, and why they may not start.

use crate::toolbox::LoadError;
use std::borrow::Cow;
use std::path::PathBuf;

/// Sandboxes that run at the same time unless configured; more wait for their turn.
const CONCURRENT_DEFAULT: usize = 64;

/// How sandboxes run.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// The daemon's state directory (0700, exists). Compiled code is kept here.
    pub state_dir: PathBuf,
    /// Threads that run sandboxes.
    pub threads: usize,
    /// Sandboxes that run at the same time; further ones wait.
    pub max_concurrent: usize,
    /// What compiles components in a process of its own: a program and its arguments, which
    /// calls [`compile_process`](crate::compile_process) for engines with a pool. Empty:
    /// this process compiles, and no limit holds.
    pub compiler: Vec<std::ffi::OsString>,
    /// Shipped components whose tools are offered.
    pub shipped: Vec<forerun_tools::Component>,
    /// Further ones.
    pub components: Vec<ComponentSource>,
}

/// A tool component and the name it is known by.
#[derive(Clone, Debug)]
pub struct ComponentSource {
    /// The name, for messages.
    pub name: String,
    /// The WebAssembly component.
    pub wasm: Cow<'static, [u8]>,
}

impl SandboxConfig {
    /// One thread a core, and the components that are shipped.
    pub fn new(state_dir: PathBuf) -> SandboxConfig {
        SandboxConfig {
            state_dir,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            max_concurrent: CONCURRENT_DEFAULT,
            compiler: Vec::new(),
            shipped: forerun_tools::COMPONENTS.to_vec(),
            components: Vec::new(),
        }
    }
}

/// Why sandboxes could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A part of the state directory could not be made or used.
    #[error("cannot use {path}")]
    State {
        /// The path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The WebAssembly engine refused its configuration.
    #[error("cannot configure the WebAssembly engine: {0}")]
    Engine(String),
    /// A thread could not be started.
    #[error("cannot start a sandbox thread")]
    Thread(#[source] std::io::Error),
    /// A tool component could not be loaded.
    #[error("cannot load the tool component {component}")]
    Component {
        /// Its name.
        component: String,
        /// Why not.
        #[source]
        source: LoadError,
    },
    /// The place for temporary files could not be made.
    #[error("cannot make room for temporary files")]
    Scratch(#[source] forerun_snapshot::OpenError),
    /// A guest was given something else than it should be, or could reach too much.
    #[error("the sandbox's self-check failed: {0}")]
    SelfCheck(String),
}

impl StartError {
    /// A stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            StartError::State { .. } => "sandbox_state",
            StartError::Engine(_) => "sandbox_engine",
            StartError::Thread(_) => "sandbox_thread",
            StartError::Component { .. } => "sandbox_component",
            StartError::Scratch(_) => "sandbox_scratch",
            StartError::SelfCheck(_) => "sandbox_self_check",
        }
    }

    pub(crate) fn state(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> StartError {
        let path = path.into();
        move |source| StartError::State { path, source }
    }
}
