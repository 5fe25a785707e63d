//! The built-in example: a real edit of a real source tree, with scripted agents at a
//! tenth of the latencies of *Interactive Speculative Planning* (T 0.8 s, A 0.2 s).

use crate::failure::{Exit, Failure};
use std::path::{Path, PathBuf};

/// Forerun's own sources, as they were when this program was built.
const SOURCES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/example.tar"));
/// What the agents do.
const SCRIPT: &str = include_str!("../example/script.toml");
/// What they are asked to do.
pub(crate) const TASK: &str = include_str!("../example/task.txt");
/// How they are to go about it.
pub(crate) const INSTRUCTIONS: &str = include_str!("../example/instructions.txt");

/// The example's files: one directory with the script and a workspace a run.
pub(crate) struct Example {
    directory: PathBuf,
}

impl Example {
    /// Makes the directory, at `directory` or a new one under the temporary directory.
    ///
    /// # Errors
    /// If `directory` exists and is not empty, or can not be written.
    pub(crate) fn create(directory: Option<&Path>) -> Result<Example, Failure> {
        let failed = |error| Failure::io("the example could not be written", &error);
        let directory = match directory {
            Some(directory) => {
                std::fs::create_dir_all(directory).map_err(failed)?;
                if std::fs::read_dir(directory)
                    .map_err(failed)?
                    .next()
                    .is_some()
                {
                    let message = format!("{} is not empty", directory.display());
                    return Err(Failure::new(Exit::NoInput, "WORKSPACE_NOT_EMPTY", message)
                        .hint("the example needs a new directory; to work in yours, say what is to be done: forerun run --workspace DIR TASK"));
                }
                directory.canonicalize().map_err(failed)?
            }
            None => tempfile::Builder::new()
                .prefix("forerun-example-")
                .tempdir()
                .map_err(failed)?
                .keep(),
        };
        std::fs::write(directory.join("script.toml"), SCRIPT).map_err(failed)?;
        Ok(Example { directory })
    }

    /// The agents' specification.
    pub(crate) fn spec(&self) -> String {
        format!("script:{}", self.directory.join("script.toml").display())
    }

    /// A fresh copy of the source tree.
    ///
    /// # Errors
    /// If it can not be written.
    pub(crate) fn workspace(&self, name: &str) -> Result<PathBuf, Failure> {
        let failed = |error| Failure::io("the example's workspace could not be written", &error);
        let workspace = self.directory.join(name);
        std::fs::create_dir(&workspace).map_err(failed)?;
        let mut archive = tar::Archive::new(SOURCES);
        archive.set_preserve_mtime(true);
        archive.unpack(&workspace).map_err(failed)?;
        Ok(workspace)
    }
}
