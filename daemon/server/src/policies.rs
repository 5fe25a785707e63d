//! The policy sets that sessions can name: those that are built in, and the user's own,
//! each a directory with `policy.cedar` and perhaps `examples.toml`. Two layers narrow them:
//! the system's, and that of a session's workspace.
//!
//! - **Invariant:** what can not be read or is not valid is used by nobody. A reload takes
//!   everything or nothing; what was read before stays until then.
//! - A project's layer is untrusted: it is read without following links, is bounded, and can
//!   only forbid.
//! - **Invariant:** what is always allowed beside a set is written only as the owner was shown
//!   it, and only if the set is valid with it.
//! - Agents can not reach any of these files: `.forerun` is hidden from tools.

use crate::daemon::locked;
use forerun_policy::{Definition, Enforcement, Layer, LoadOptions, PolicyError, PolicySet};
use forerun_sandbox::Toolbox;
use forerun_types::Digest;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Of a set's directory: its policies, and its examples.
const POLICY_FILE: &str = "policy.cedar";
const EXAMPLES_FILE: &str = "examples.toml";
/// What follows the name of a set in the name of the file that has what is always allowed
/// beside it.
const ALWAYS_SUFFIX: &str = ".always.cedar";
/// A project's own layer, in its workspace.
const PROJECT_LAYER: &str = ".forerun/policy.cedar";
/// Most bytes of a file of policies or examples; stops a file that is something else.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most sets of the user; stops a directory that is something else.
const OWN_SETS_MAX: usize = 100;
/// Most loaded sets that are kept; stops projects' layers, and the tools of clients, from
/// filling the memory.
const LOADED_MAX: usize = 64;

/// Where policies are.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The directory of the user's own sets.
    pub(crate) own: Option<PathBuf>,
    /// The system's layer.
    pub(crate) system: PathBuf,
    /// Paths that the user gives free.
    pub(crate) unprotected: Vec<String>,
    /// Whether what sets refuse is refused.
    pub(crate) enforcement: Enforcement,
}

/// The sets.
pub(crate) struct Policies {
    places: Places,
    sources: Mutex<Arc<Sources>>,
    loaded: Mutex<HashMap<Key, PolicySet>>,
    /// Held while what is always allowed is written.
    writing: Mutex<()>,
}

/// A set by its name, for tools, in a workspace with this layer.
type Key = (String, Digest, Option<Layer>);

/// What was read.
#[derive(Clone, Default)]
struct Sources {
    own: BTreeMap<String, Own>,
    /// What is always allowed, by the set beside which it is.
    always: BTreeMap<String, Result<Layer, PolicyError>>,
    system: Option<Layer>,
}

/// A set of the user's, or why it is none.
#[derive(Clone)]
struct Own {
    directory: PathBuf,
    definition: Result<Definition, PolicyError>,
}

/// A set that sessions can name.
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) summary: String,
    /// Of a set of the user's.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) problem: Option<PolicyError>,
}

impl Policies {
    /// Reads what is there.
    ///
    /// # Errors
    /// If the system's layer can not be read. A set of the user's that can not be is an error
    /// when it is named.
    pub(crate) fn open(places: Places) -> Result<Policies, PolicyError> {
        Ok(Policies {
            sources: Mutex::new(Arc::new(Sources::read(&places)?)),
            places,
            loaded: Mutex::default(),
            writing: Mutex::default(),
        })
    }

    /// A set, loaded for tools and held against its examples, once.
    pub(crate) fn set(
        &self,
        name: &str,
        toolbox: &Toolbox,
        workspace: Option<&Path>,
    ) -> Result<PolicySet, PolicyError> {
        let project = workspace.map(project_layer).transpose()?.flatten();
        let key = (name.to_owned(), toolbox.digest(), project);
        if let Some(set) = locked(&self.loaded).get(&key) {
            return Ok(set.clone());
        }
        let load = |sources: &Sources| {
            let definition = sources.find(name)?;
            self.load(&definition, sources, key.2.clone(), toolbox)
        };
        let mut sources = self.sources();
        let set = load(&sources).or_else(|error| {
            // It may be new, or mended. What can be used stays until a reload.
            sources = self.read_again(name, error)?;
            let set = load(&sources)?;
            *locked(&self.sources) = Arc::clone(&sources);
            Ok(set)
        })?;
        let mut loaded = locked(&self.loaded);
        // A reload in between must not bring back what it replaced.
        if Arc::ptr_eq(&sources, &self.sources()) {
            if loaded.len() >= LOADED_MAX {
                loaded.clear();
            }
            loaded.insert(key, set.clone());
        }
        Ok(set)
    }

    /// A set as it is written. Of the user's, what is in the files now.
    pub(crate) fn definition(&self, name: &str) -> Result<Definition, PolicyError> {
        Sources::read(&self.places)?.find(name)
    }

    /// All sets, as they are in their files now: those that are built in first.
    pub(crate) fn list(&self) -> Result<Vec<Listed>, PolicyError> {
        let ready = Definition::all_ready().map(|definition| Listed {
            summary: definition.summary(),
            name: definition.name,
            directory: None,
            problem: None,
        });
        let sources = Sources::read(&self.places)?;
        Ok(ready.chain(sources.listed()).collect())
    }

    /// Reads the user's sets, what is always allowed and the system's layer anew, and holds the
    /// sets against these tools.
    ///
    /// # Errors
    /// If any of them can not be used; then nothing has changed.
    pub(crate) fn reload(&self, toolbox: &Toolbox) -> Result<Vec<Listed>, PolicyError> {
        let new = Sources::read(&self.places)?;
        for own in new.own.values() {
            self.load(
                own.definition.as_ref().map_err(Clone::clone)?,
                &new,
                None,
                toolbox,
            )?;
        }
        // Also beside the sets that are built in; beside one that is gone it is nobody's.
        for name in new.always.keys() {
            if let Ok(definition) = new.find(name) {
                self.load(&definition, &new, None, toolbox)?;
            }
        }
        let listed = new.listed().collect();
        *locked(&self.sources) = Arc::new(new);
        locked(&self.loaded).clear();
        Ok(listed)
    }

    /// Allows something always beside a set: adds the permit to the user's file for that, and
    /// returns where it is. Sessions that are open keep the set that they have. Blocks.
    ///
    /// # Errors
    /// If the set is not valid with it, or the file can not be written; then nothing has
    /// changed.
    pub(crate) fn allow_always(
        &self,
        name: &str,
        permit: &str,
        toolbox: &Toolbox,
    ) -> Result<PathBuf, PolicyError> {
        let _one_at_a_time = locked(&self.writing);
        let Some(directory) = &self.places.own else {
            let reason = "there is no directory for the configuration of this user".to_owned();
            return Err(unwritable(Path::new(name), reason));
        };
        let path = directory.join(format!("{name}{ALWAYS_SUFFIX}"));
        let layer = match read_always(&path)? {
            Some(layer) => layer,
            None => Layer {
                name: path.display().to_string(),
                source: format!(
                    "// What you always allow beside the policy set {name}. It is yours to change: \
                     without\n// a permit you are asked again. `forerun policy reload` reads it anew."
                ),
            },
        };
        let Some(source) = layer.with(permit)? else {
            return Ok(path);
        };
        let mut new = Sources::clone(&self.sources());
        let layer = Layer {
            source: source.clone(),
            ..layer
        };
        new.always.insert(name.to_owned(), Ok(layer));
        self.load(&new.find(name)?, &new, None, toolbox)?;
        write_whole(directory, &path, &source)
            .map_err(|error| unwritable(&path, error.to_string()))?;
        *locked(&self.sources) = Arc::new(new);
        locked(&self.loaded).retain(|(of, _, _), _| of != name);
        Ok(path)
    }

    fn load(
        &self,
        definition: &Definition,
        sources: &Sources,
        project: Option<Layer>,
        toolbox: &Toolbox,
    ) -> Result<PolicySet, PolicyError> {
        let narrowing = sources.system.iter().cloned().chain(project);
        let always = sources.always.get(&definition.name).cloned();
        let options = LoadOptions {
            unprotected: self.places.unprotected.clone(),
            narrowing: narrowing.collect(),
            granting: always.transpose()?,
            enforcement: self.places.enforcement,
        };
        definition.load(toolbox.tools(), &options)
    }

    /// What was read, with one set of the user's as it is in its files now.
    fn read_again(&self, name: &str, error: PolicyError) -> Result<Arc<Sources>, PolicyError> {
        if Definition::ready(name).is_ok() {
            return Err(error);
        }
        let mut new = Sources::read(&self.places)?;
        let mut sources = Sources::clone(&self.sources());
        sources.own.remove(name);
        sources.own.extend(new.own.remove_entry(name));
        Ok(Arc::new(sources))
    }

    fn sources(&self) -> Arc<Sources> {
        Arc::clone(&locked(&self.sources))
    }
}

impl Sources {
    fn read(places: &Places) -> Result<Sources, PolicyError> {
        let (mut own, mut always) = (BTreeMap::new(), BTreeMap::new());
        let entries = places.own.iter().flat_map(std::fs::read_dir).flatten();
        for entry in entries.flatten().take(OWN_SETS_MAX) {
            let path = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if let Some(set) = name.strip_suffix(ALWAYS_SUFFIX) {
                if let Some(layer) = read_always(&path).transpose() {
                    always.insert(set.to_owned(), layer);
                }
            } else if path.is_dir() {
                let definition = read_set(&name, &path);
                let set = Own {
                    directory: path,
                    definition,
                };
                own.insert(name, set);
            }
        }
        let system = read_file(CWD, &places.system, ResolveFlags::empty())
            .map_err(|reason| unreadable(&places.system, reason))?;
        let system = system.map(|source| Layer {
            name: places.system.display().to_string(),
            source,
        });
        Ok(Sources {
            own,
            always,
            system,
        })
    }

    fn find(&self, name: &str) -> Result<Definition, PolicyError> {
        match (Definition::ready(name), self.own.get(name)) {
            (Ok(ready), _) => Ok(ready),
            (_, Some(own)) => own.definition.clone(),
            (Err(PolicyError::UnknownSet { name, mut known }), None) => {
                known.extend(self.own.keys().cloned());
                Err(PolicyError::UnknownSet { name, known })
            }
            (Err(error), None) => Err(error),
        }
    }

    fn listed(&self) -> impl Iterator<Item = Listed> {
        self.own.iter().map(|(name, own)| {
            let definition = own.definition.as_ref();
            Listed {
                name: name.clone(),
                summary: definition.map(Definition::summary).unwrap_or_default(),
                directory: Some(own.directory.clone()),
                problem: definition.err().cloned(),
            }
        })
    }
}

fn read_set(name: &str, directory: &Path) -> Result<Definition, PolicyError> {
    if Definition::ready(name).is_ok() {
        let reason = "a set that is built in has this name".to_owned();
        return Err(unreadable(directory, reason));
    }
    let read = |file: &str| {
        let path = directory.join(file);
        read_file(CWD, &path, ResolveFlags::empty()).map_err(|reason| unreadable(&path, reason))
    };
    let source = read(POLICY_FILE)?;
    let none = || unreadable(directory, format!("it has no {POLICY_FILE}"));
    Ok(Definition {
        name: name.to_owned(),
        source: source.ok_or_else(none)?,
        examples: read(EXAMPLES_FILE)?,
        below: Vec::new(),
    })
}

/// What is always allowed beside a set, if anything is.
fn read_always(path: &Path) -> Result<Option<Layer>, PolicyError> {
    let source = read_file(CWD, path, ResolveFlags::empty());
    let source = source.map_err(|reason| unreadable(path, reason))?;
    Ok(source.map(|source| Layer {
        name: path.display().to_string(),
        source,
    }))
}

/// Puts a text in the place of a file, whole or not at all.
fn write_whole(directory: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

/// The layer of a workspace, if it has one.
fn project_layer(workspace: &Path) -> Result<Option<Layer>, PolicyError> {
    let at = workspace.join(PROJECT_LAYER);
    let read = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = match openat(CWD, workspace, flags, Mode::empty()) {
            // Who opens the workspace says so.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            root => root.map_err(|error| error.to_string())?,
        };
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        read_file(root.as_fd(), Path::new(PROJECT_LAYER), inside)
    };
    let source = read().map_err(|reason| unreadable(&at, reason))?;
    Ok(source.map(|source| Layer {
        name: PROJECT_LAYER.to_owned(),
        source,
    }))
}

/// Reads a regular file; `None` if there is none.
fn read_file(
    directory: impl AsFd,
    path: &Path,
    resolve: ResolveFlags,
) -> Result<Option<String>, String> {
    // Not blocking: it could be a pipe.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file: OwnedFd = match openat2(directory, path, flags, Mode::empty(), resolve) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::XDEV) => return Err("it is, or lies behind, a link".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let file = File::from(file);
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    let text = String::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
    Ok(Some(text))
}

fn unreadable(path: &Path, reason: String) -> PolicyError {
    PolicyError::Unreadable {
        path: path.display().to_string(),
        reason,
    }
}

fn unwritable(path: &Path, reason: String) -> PolicyError {
    PolicyError::Unwritable {
        path: path.display().to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const OWN: &str = "@id(\"look\") permit (principal, action == Action::\"read\", resource);";

    fn places(root: &Path) -> Places {
        Places {
            own: Some(root.join("policies")),
            system: root.join("system.cedar"),
            unprotected: Vec::new(),
            enforcement: Enforcement::Enforce,
        }
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("makes");
        fs::write(path, text).expect("writes");
    }

    #[test]
    fn the_users_sets_are_found_beside_those_that_are_built_in() {
        let root = tempfile::tempdir().expect("a directory");
        write(root.path(), "policies/mine/policy.cedar", OWN);
        write(root.path(), "policies/empty/readme", "");
        write(root.path(), "policies/coding/policy.cedar", OWN);
        let policies = Policies::open(places(root.path())).expect("reads");
        assert_eq!(policies.definition("mine").expect("is there").source, OWN);
        let coding = policies.definition("coding").expect("is there");
        assert!(
            coding.source.contains("licences"),
            "the one that is built in"
        );
        let listed = policies.list().expect("reads");
        let names: Vec<_> = listed.iter().map(|set| set.name.as_str()).collect();
        assert!(
            names.starts_with(&["workspace-write", "read-only"]),
            "{names:?}"
        );
        let problems = listed.iter().filter(|set| set.problem.is_some());
        let problems: Vec<_> = problems.map(|set| set.name.as_str()).collect();
        assert_eq!(problems, ["coding", "empty"]);
        match policies.definition("elsewhere") {
            Err(PolicyError::UnknownSet { known, .. }) => {
                assert!(known.contains(&"mine".to_owned()), "{known:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_project_can_not_have_another_file_read_or_hold_up_a_session() {
        let root = tempfile::tempdir().expect("a directory");
        let work = root.path().join("work");
        fs::create_dir_all(work.join(".forerun")).expect("makes");
        assert_eq!(project_layer(&work), Ok(None));
        write(&work, ".forerun/policy.cedar", "// nothing");
        let layer = project_layer(&work).expect("reads").expect("is there");
        assert_eq!(layer.source, "// nothing");

        let refused = |why: &str| {
            let error = project_layer(&work).expect_err("refused").to_string();
            assert!(error.contains(why), "{error}");
            fs::remove_file(work.join(PROJECT_LAYER)).expect("removes");
        };
        write(&work, ".forerun/policy.cedar", &"/".repeat(1 << 21));
        refused("more than");
        write(root.path(), "elsewhere", "secret");
        fs::remove_file(work.join(PROJECT_LAYER)).ok();
        symlink(root.path().join("elsewhere"), work.join(PROJECT_LAYER)).expect("links");
        refused("a link");
        rustix::fs::mkfifoat(CWD, work.join(PROJECT_LAYER), Mode::RWXU).expect("makes");
        refused("no file");
        fs::remove_dir(work.join(".forerun")).expect("removes");
        write(root.path(), "other/policy.cedar", "// other");
        symlink(root.path().join("other"), work.join(".forerun")).expect("links");
        let error = project_layer(&work).expect_err("refused").to_string();
        assert!(error.contains("a link"), "{error}");
    }

    #[test]
    fn a_system_layer_that_can_not_be_read_lets_nothing_start() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("system.cedar")).expect("makes");
        assert!(Policies::open(places(root.path())).is_err());
    }
}
