//! The public entry: starts everything, hands actions to executors.

use crate::cache::Cache;
use crate::config::{SandboxConfig, StartError};
use crate::engine::{Machine, Ticker};
use crate::executor::Executors;
use crate::registry::{Registry, Version};
use crate::run::{Exec, Execution, Outgoing, Program, Run};
use crate::toolbox::{self, LoadError, Loader, Toolbox};
use crate::{instance, self_check};
use forerun_snapshot::{Delta, OpenOptions, Snapshot, Workspace};
use forerun_types::{SnapshotId, ToolDescription};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Runs actions in sandboxes, and holds the snapshots they run on. Clones share all of
/// it; when the last one is dropped, the threads end.
#[derive(Clone)]
pub struct Sandboxes {
    shared: Arc<Shared>,
    toolbox: Arc<Toolbox>,
}

struct Shared {
    executors: Executors,
    registry: Arc<Registry>,
    machine: Arc<Machine>,
    cache: Arc<Cache>,
    /// The empty directory that temporary files begin with.
    scratch: Workspace,
    _scratch_dir: TempDir,
}

impl Shared {
    fn loader(&self) -> Loader<'_> {
        Loader {
            machine: &self.machine,
            cache: &self.cache,
            executors: &self.executors,
        }
    }
}

impl Sandboxes {
    /// Starts the engine and the threads, loads the components (compiled code comes
    /// from the cache in the state directory where it can), and checks that a guest
    /// gets what it should and no more. Blocks; takes a second per MB of new component.
    ///
    /// # Errors
    /// If any of that fails.
    pub fn start(config: SandboxConfig) -> Result<Sandboxes, StartError> {
        let directory = config.state_dir.join("sandbox");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(StartError::state(&directory))?;

        let (scratch, scratch_dir) = open_scratch(&directory)?;
        let machine = Arc::new(Machine::new(&config)?);
        // The other process makes code for engines with a pool.
        let compiler = match machine.pooled {
            true => config.compiler.clone(),
            false => Vec::new(),
        };
        let cache = Arc::new(Cache::open(&directory, compiler)?);
        let ticker = Ticker::start(&machine.engine).map_err(StartError::Thread)?;
        let executors = Executors::start(&config, ticker)?;
        let mut sandboxes = Sandboxes {
            shared: Arc::new(Shared {
                executors,
                registry: Arc::new(Registry::new()),
                machine,
                cache,
                scratch,
                _scratch_dir: scratch_dir,
            }),
            toolbox: Arc::new(Toolbox::default()),
        };
        for shipped in &config.shipped {
            let toolbox = sandboxes
                .shared
                .loader()
                .add_shipped(&sandboxes.toolbox, shipped);
            let toolbox = toolbox.map_err(|source| StartError::Component {
                component: shipped.name.to_owned(),
                source,
            })?;
            sandboxes.toolbox = Arc::new(toolbox);
        }
        for component in &config.components {
            sandboxes = sandboxes
                .with(&component.name, &component.wasm, None)
                .map_err(|source| StartError::Component {
                    component: component.name.clone(),
                    source,
                })?;
        }
        self_check::check(&sandboxes)?;
        Ok(sandboxes)
    }

    /// The tools that actions can name.
    pub fn toolbox(&self) -> &Toolbox {
        &self.toolbox
    }

    /// A handle with the tools of one more component; this one keeps the tools that it
    /// has. With a `manifest` the component is a WASI command, and one tool. Blocks while
    /// it is compiled.
    ///
    /// # Errors
    /// If it is none, cannot be compiled or described, or a tool's name is reserved,
    /// malformed or taken.
    pub fn with(
        &self,
        name: &str,
        wasm: &[u8],
        manifest: Option<&str>,
    ) -> Result<Sandboxes, LoadError> {
        let loader = self.shared.loader();
        let toolbox = match manifest {
            Some(manifest) => loader.add_program(&self.toolbox, wasm, manifest)?,
            None => loader.add(&self.toolbox, name, wasm)?,
        };
        Ok(Sandboxes {
            shared: Arc::clone(&self.shared),
            toolbox: Arc::new(toolbox),
        })
    }

    /// A handle that also knows tools that a client executes: their names are taken and
    /// their arguments checked; running one here ends in an observation that says so.
    ///
    /// # Errors
    /// If a tool's name is reserved, malformed or taken, or it has a text or a schema that no
    /// tool may have.
    pub fn with_client_tools(&self, tools: &[ToolDescription]) -> Result<Sandboxes, LoadError> {
        Ok(Sandboxes {
            shared: Arc::clone(&self.shared),
            toolbox: Arc::new(self.toolbox.with_client(tools)?),
        })
    }

    /// Holds a snapshot, such as the verified state of a session, with an empty
    /// directory for temporary files.
    pub fn open(&self, snapshot: Snapshot) -> SnapshotId {
        self.shared.registry.insert(
            Version {
                workspace: snapshot,
                tmp: self.shared.scratch.snapshot(),
            },
            None,
        )
    }

    /// Holds another snapshot of the workspace with the temporary files of `id`: what a
    /// session goes on with after a commit. `None` if `id` is not held.
    pub fn reopen(&self, id: SnapshotId, snapshot: Snapshot) -> Option<SnapshotId> {
        let version = self.shared.registry.version(id)?;
        Some(self.shared.registry.insert(
            Version {
                workspace: snapshot,
                tmp: version.tmp,
            },
            None,
        ))
    }

    /// The workspace part of a held snapshot.
    pub fn snapshot(&self, id: SnapshotId) -> Option<Snapshot> {
        Some(self.shared.registry.version(id)?.workspace)
    }

    /// What a snapshot that came out of [`Sandboxes::run`] differs by from its parent.
    pub fn delta(&self, id: SnapshotId) -> Option<Delta> {
        self.shared.registry.delta(id)
    }

    /// Lets go of a snapshot. Those built on it are not affected.
    pub fn drop_snapshot(&self, id: SnapshotId) {
        self.shared.registry.drop_snapshot(id);
    }

    /// How many snapshots are held.
    pub fn held(&self) -> usize {
        self.shared.registry.count()
    }

    /// Runs an action. It begins at once, whether or not the execution is polled;
    /// dropping the execution stops it. An unknown tool or arguments that break its
    /// schema end in an observation that says so. Requests to the world are denied.
    pub fn run(&self, request: Run) -> Execution {
        self.run_with(request, None)
    }

    /// The same, and `outgoing` decides about requests to the world.
    pub fn run_with(
        &self,
        request: Run,
        outgoing: Option<mpsc::UnboundedSender<Outgoing>>,
    ) -> Execution {
        let machine = Arc::clone(&self.shared.machine);
        let toolbox = Arc::clone(&self.toolbox);
        let registry = Arc::clone(&self.shared.registry);
        let parent = request.parent;
        self.shared
            .executors
            .run(&self.shared.registry, parent, async move {
                instance::run(&machine, &toolbox, &registry, &request, outgoing).await
            })
    }

    /// Compiles a WASI command, or finds it compiled. Blocks meanwhile.
    ///
    /// # Errors
    /// If it is no component that exports `wasi:cli/run`, or needs what no sandbox has.
    pub fn program(&self, wasm: &[u8]) -> Result<Program, LoadError> {
        let Shared { machine, cache, .. } = &*self.shared;
        toolbox::program(machine, cache, wasm)
    }

    /// Runs a command by itself, with somebody at its streams; otherwise as
    /// [`Sandboxes::run`]. The structured observation has its `exit_code`.
    pub fn exec(&self, program: &Program, exec: Exec) -> Execution {
        let machine = Arc::clone(&self.shared.machine);
        let registry = Arc::clone(&self.shared.registry);
        let program = program.clone();
        let parent = exec.request.parent;
        self.shared
            .executors
            .run(&self.shared.registry, parent, async move {
                instance::exec(&machine, &registry, &program, exec).await
            })
    }

    /// An empty snapshot, for what has no workspace.
    pub fn empty(&self) -> Snapshot {
        self.scratch()
    }

    pub(crate) fn machine(&self) -> &Arc<Machine> {
        &self.shared.machine
    }

    pub(crate) fn executors(&self) -> &Executors {
        &self.shared.executors
    }

    pub(crate) fn scratch(&self) -> Snapshot {
        self.shared.scratch.snapshot()
    }
}

/// Begins the name of a base of `/tmp`.
const SCRATCH_PREFIX: &str = "scratch-";

/// Removes the bases of `/tmp` that a crash left behind: those that nobody holds.
fn clear_scratches(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_one = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(SCRATCH_PREFIX));
        let base = std::fs::File::open(entry.path().join("base"));
        if is_one
            && base.is_ok_and(|base| base.try_lock().is_ok())
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(%error, "a scratch directory of an earlier daemon is left");
        }
    }
}

/// Makes the empty base of `/tmp`. It is removed when the sandboxes end; one that a
/// crash leaves behind, by the next start.
fn open_scratch(directory: &Path) -> Result<(Workspace, TempDir), StartError> {
    clear_scratches(directory);
    let scratch_dir = tempfile::Builder::new()
        .prefix(SCRATCH_PREFIX)
        .tempdir_in(directory)
        .map_err(StartError::state(directory))?;
    let base = scratch_dir.path().join("base");
    let state_dir = scratch_dir.path().join("state");
    for made in [&base, &state_dir] {
        DirBuilder::new()
            .mode(0o700)
            .create(made)
            .map_err(StartError::state(made))?;
    }
    let options = OpenOptions {
        state_dir,
        masks: Vec::new(),
    };
    let scratch = Workspace::open(&base, &options).map_err(StartError::Scratch)?;
    Ok((scratch, scratch_dir))
}
