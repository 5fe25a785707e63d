//! The user's own tools: components that were added, kept in the state directory.
//!
//! ```text
//! tools/NAME/component.wasm   what runs
//!            manifest.toml    of a program: how it presents itself, see the sandbox
//!            digest           of both, as they were added
//! ```
//!
//! **Invariants**
//! - What is offered under a name is what was added under it: files that do not have the
//!   digest any more are not loaded, and the list says so.
//! - A session keeps the tools that it was opened with, whatever is added or removed.
//! - An entry appears and goes away as a whole.

use crate::error::RequestError;
use forerun_sandbox::{LoadError, Sandboxes};
use forerun_types::{Digest, Hasher};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

const COMPONENT: &str = "component.wasm";
const MANIFEST: &str = "manifest.toml";
const DIGEST: &str = "digest";
/// Begins the name of what is not an entry yet, or not any more.
const PARTIAL: &str = ".partial-";
/// Longest name of an entry.
const NAME_BYTES_MAX: usize = 64;
/// Entries that there may be; stops a loop from filling every agent's context.
const ENTRIES_MAX: usize = 256;

/// A component with, if it is a program, its manifest.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) wasm: Vec<u8>,
    pub(crate) manifest: Option<String>,
}

impl Source {
    /// What is pinned.
    pub(crate) fn digest(&self) -> Digest {
        match &self.manifest {
            None => Digest::of(&self.wasm),
            Some(manifest) => Hasher::new("forerun registered program v1")
                .digest(&Digest::of(&self.wasm))
                .field(manifest)
                .finish(),
        }
    }
}

/// One entry, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) digest: Option<Digest>,
    /// The names of its tools.
    pub(crate) tools: Vec<String>,
    /// Why it is not offered.
    pub(crate) problem: Option<String>,
}

/// Why an entry could not be added or removed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("the name {0:?} may have 1 to 64 lower-case letters, digits, - and _ only")]
    Name(String),
    #[error("there is no {0}")]
    NotThere(String),
    #[error("{name} is {now} already, and this is {new}")]
    Taken {
        name: String,
        now: Digest,
        new: Digest,
    },
    #[error("the component is {found}, not {wanted}")]
    Pin { wanted: Digest, found: Digest },
    #[error("{ENTRIES_MAX} components are there, as many as are taken")]
    Full,
    #[error("the tools can not be kept in {}", .0.display())]
    Storage(PathBuf, #[source] io::Error),
}

/// The tools that there are now.
pub(crate) struct Registry {
    directory: PathBuf,
    /// With the shipped tools only.
    shipped: Sandboxes,
    current: RwLock<Current>,
    /// Held while something is added or removed.
    changing: Mutex<()>,
}

#[derive(Clone)]
struct Current {
    sandboxes: Sandboxes,
    entries: BTreeMap<String, Entry>,
}

impl Registry {
    /// Loads what was added earlier. What can not be loaded is listed with the reason.
    pub(crate) fn open(state_dir: &Path, shipped: Sandboxes) -> Result<Registry, RegistryError> {
        let directory = state_dir.join("tools");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| RegistryError::Storage(directory.clone(), error))?;
        let registry = Registry {
            current: RwLock::new(Current {
                sandboxes: shipped.clone(),
                entries: BTreeMap::new(),
            }),
            directory,
            shipped,
            changing: Mutex::default(),
        };
        registry.clear_partial();
        let current = registry.load_all(&registry.stored()?);
        *registry.write() = current;
        Ok(registry)
    }

    /// Runs actions, with the tools that there are now.
    pub(crate) fn sandboxes(&self) -> Sandboxes {
        self.read().sandboxes
    }

    /// What was added, by name.
    pub(crate) fn entries(&self) -> BTreeMap<String, Entry> {
        self.read().entries
    }

    /// Adds a component, or replaces one if `replace`. `check` has the last word on the
    /// tools that there would be. Blocks while it is compiled.
    pub(crate) fn add(
        &self,
        name: &str,
        source: &Source,
        pin: Option<Digest>,
        replace: bool,
        check: impl FnOnce(&Sandboxes) -> Result<(), RequestError>,
    ) -> Result<Entry, RequestError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        check_name(name)?;
        let digest = source.digest();
        let found = Digest::of(&source.wasm);
        if let Some(wanted) = pin.filter(|wanted| *wanted != found) {
            return Err(RegistryError::Pin { wanted, found }.into());
        }
        let mut names = self.stored()?;
        match self.entries().get(name) {
            Some(entry) if entry.digest == Some(digest) && entry.problem.is_none() => {
                return Ok(entry.clone());
            }
            Some(entry) if !replace => {
                let (name, new) = (name.to_owned(), digest);
                let now = entry.digest.unwrap_or(digest);
                return Err(RegistryError::Taken { name, now, new }.into());
            }
            Some(_) => {}
            None if names.len() >= ENTRIES_MAX => return Err(RegistryError::Full.into()),
            None => names.push(name.to_owned()),
        }
        names.sort();
        // All of the others first: whose tool has the same name is to blame.
        let others: Vec<_> = names.into_iter().filter(|other| other != name).collect();
        let mut current = self.load_all(&others);
        let entry = current.load(name, source)?;
        check(&current.sandboxes)?;
        self.store(name, source)
            .map_err(|error| RegistryError::Storage(self.directory.clone(), error))?;
        current.entries.insert(name.to_owned(), entry.clone());
        *self.write() = current;
        Ok(entry)
    }

    /// Removes a component.
    pub(crate) fn remove(&self, name: &str) -> Result<(), RequestError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if check_name(name).is_err() || !self.entries().contains_key(name) {
            return Err(RegistryError::NotThere(name.to_owned()).into());
        }
        self.discard(name)
            .map_err(|error| RegistryError::Storage(self.directory.clone(), error))?;
        let current = self.load_all(&self.stored()?);
        *self.write() = current;
        Ok(())
    }

    fn load_all(&self, names: &[String]) -> Current {
        let mut current = Current {
            sandboxes: self.shipped.clone(),
            entries: BTreeMap::new(),
        };
        for name in names {
            let entry = match self.read_source(name) {
                Ok(source) => current.load(name, &source).unwrap_or_else(|error| Entry {
                    digest: Some(source.digest()),
                    tools: Vec::new(),
                    problem: Some(error.to_string()),
                }),
                Err(problem) => Entry {
                    digest: None,
                    tools: Vec::new(),
                    problem: Some(problem),
                },
            };
            if let Some(problem) = &entry.problem {
                tracing::warn!(tool = name, problem, "a tool is not offered");
            }
            current.entries.insert(name.clone(), entry);
        }
        current
    }

    /// The files of an entry, if they are what was added.
    fn read_source(&self, name: &str) -> Result<Source, String> {
        let directory = self.directory.join(name);
        let read = |file: &str| fs::read(directory.join(file)).map_err(|error| error.to_string());
        let text = |file: &str| String::from_utf8(read(file)?).map_err(|error| error.to_string());
        let source = Source {
            wasm: read(COMPONENT)?,
            manifest: match directory.join(MANIFEST).exists() {
                true => Some(text(MANIFEST)?),
                false => None,
            },
        };
        match text(DIGEST)?.trim() == source.digest().to_string() {
            true => Ok(source),
            false => Err("its files were changed since it was added".to_owned()),
        }
    }

    fn stored(&self) -> Result<Vec<String>, RegistryError> {
        let failed = |error| RegistryError::Storage(self.directory.clone(), error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_string_lossy();
            if check_name(&name).is_ok() {
                names.push(name.into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn store(&self, name: &str, source: &Source) -> io::Result<()> {
        let partial = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(&self.directory)?;
        fs::write(partial.path().join(COMPONENT), &source.wasm)?;
        if let Some(manifest) = &source.manifest {
            fs::write(partial.path().join(MANIFEST), manifest)?;
        }
        fs::write(partial.path().join(DIGEST), source.digest().to_string())?;
        if self.directory.join(name).exists() {
            self.discard(name)?;
        }
        fs::rename(partial.keep(), self.directory.join(name))
    }

    fn discard(&self, name: &str) -> io::Result<()> {
        let gone = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(&self.directory)?;
        fs::rename(self.directory.join(name), gone.path().join(name))
    }

    /// Removes what an earlier daemon had not finished.
    fn clear_partial(&self) {
        for entry in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    fn read(&self) -> Current {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Current> {
        self.current.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    /// Adds the tools of an entry; says which they are.
    fn load(&mut self, name: &str, source: &Source) -> Result<Entry, LoadError> {
        let known: Vec<_> = self.names();
        let manifest = source.manifest.as_deref();
        self.sandboxes = self.sandboxes.with(name, &source.wasm, manifest)?;
        let mut tools = self.names();
        tools.retain(|tool| !known.contains(tool));
        Ok(Entry {
            digest: Some(source.digest()),
            tools,
            problem: None,
        })
    }

    fn names(&self) -> Vec<String> {
        let tools = self.sandboxes.toolbox().tools().iter();
        tools.map(|tool| tool.name.clone()).collect()
    }
}

fn check_name(name: &str) -> Result<(), RegistryError> {
    let is_fine = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    match !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_fine) {
        true => Ok(()),
        false => Err(RegistryError::Name(name.to_owned())),
    }
}
