//! The file system that a guest sees: `wasi:filesystem` over two branches, the
//! workspace's at `/workspace` and one for temporary files at `/tmp`.
//!
//! - `resolve`: the one place where paths are taken apart. Branches get single names.
//! - `volumes`: the branches, the path rules, and who may touch what.
//! - `descriptor`: the methods of a descriptor. `streams`: reading, writing, listing.
//!
//! **Invariants.** A descriptor is a node of a branch, not a path: it stays what it was
//! when names change around it. Every path rule is asked with the path that was found,
//! at the moment of the touch. No method waits.

#![expect(
    unreachable_pub,
    reason = "generated code names these types as `pub`, in modules that are not"
)]

mod descriptor;
mod failure;
mod resolve;
mod streams;
mod volumes;

mod generated {
    include!(concat!(env!("OUT_DIR"), "/filesystem.rs"));
}

pub use descriptor::Descriptor;
pub use failure::FsFailure;
pub(crate) use generated::wasi::filesystem::{preopens, types};
pub use streams::DirectoryStream;
pub(crate) use volumes::{Mount, Volumes};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime::component::{HasData, Resource, ResourceTable};

/// The volumes of one sandbox, shared by its descriptors and streams.
#[derive(Clone)]
pub(crate) struct SharedVolumes(Arc<Mutex<Option<Volumes>>>);

impl SharedVolumes {
    pub(crate) fn new(volumes: Option<Volumes>) -> SharedVolumes {
        SharedVolumes(Arc::new(Mutex::new(volumes)))
    }

    /// Ends all access and hands the volumes out.
    pub(crate) fn take(&self) -> Option<Volumes> {
        self.lock().take()
    }

    fn are_present(&self) -> bool {
        self.lock().is_some()
    }

    /// Runs `work` on the volumes; `None` once they were taken.
    fn with<T>(&self, work: impl FnOnce(&mut Volumes) -> T) -> Option<T> {
        self.lock().as_mut().map(work)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Volumes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the host functions of the file system work on.
pub(crate) struct View<'a> {
    pub(crate) volumes: &'a SharedVolumes,
    /// The names of the workspace.
    pub(crate) mounts: &'a [String],
    pub(crate) table: &'a mut ResourceTable,
    /// The time that "now" means.
    pub(crate) now: forerun_snapshot::Timestamp,
}

/// Names [`View`] for the linker.
pub(crate) struct HasFs;

impl HasData for HasFs {
    type Data<'a> = View<'a>;
}

/// Where tools find the workspace, and what rules call it wherever it is found.
pub(crate) const WORKSPACE: &str = "/workspace";
/// Where guests find the directory for temporary files.
pub(crate) const TMP: &str = "/tmp";

impl preopens::Host for View<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        if !self.volumes.are_present() {
            return Ok(Vec::new());
        }
        let workspaces = self
            .mounts
            .iter()
            .map(|name| (Mount::Workspace, name.as_str()));
        workspaces
            .chain([(Mount::Tmp, TMP)])
            .map(|(mount, name)| {
                let root = Descriptor::root(self.volumes, mount);
                Ok((self.table.push(root)?, name.to_owned()))
            })
            .collect()
    }
}

impl types::Host for View<'_> {
    fn convert_error_code(&mut self, failure: FsFailure) -> wasmtime::Result<types::ErrorCode> {
        match failure {
            FsFailure::Code(code) => Ok(code),
            FsFailure::Trap(error) => Err(error),
        }
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime_wasi_io::streams::Error>,
    ) -> wasmtime::Result<Option<types::ErrorCode>> {
        let error = self.table.get(&error)?;
        Ok(error
            .downcast_ref::<failure::StreamFailure>()
            .map(|failure| failure.0))
    }
}
