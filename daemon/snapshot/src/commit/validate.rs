//! Validation: does the base still hold what the delta was made from, and may we write
//! where it writes? Nothing is changed here.

use super::error::CommitError;
use super::intent::{Recorded, RemovedDirectory, TimesOf};
use super::storage::{Location, Observed, Storage};
use crate::Delta;
use crate::delta::{Placed, Pre, Removed, What, path_before};
use crate::name;
use crate::version::{ObjectKind, Version};
use crate::workspace::Inner;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// The base as it was found: what each operation expects, by the path in the delta.
pub(super) struct Found {
    /// Objects that go away, by their path before.
    pub(super) removed: HashMap<String, Gone>,
    /// Objects that are replaced, by their path after: where they are, and what.
    pub(super) replaced: HashMap<String, (Location, Recorded)>,
    /// Times of directories that get explicit ones, by their path after.
    pub(super) times: HashMap<String, TimesOf>,
}

/// An object that goes away.
pub(super) enum Gone {
    /// Into a slot.
    Parked(Recorded),
    /// A directory that will be empty.
    Emptied(RemovedDirectory),
}

/// Compares the base with everything that the delta expects.
pub(super) fn validate(inner: &Inner, delta: &Delta) -> Result<Found, CommitError> {
    let validation = Validation {
        storage: &*inner.storage,
        parents: RefCell::default(),
        removed: delta
            .removed()
            .iter()
            .map(|removed| (removed.path.as_str(), removed))
            .collect(),
        placed: delta
            .placed()
            .iter()
            .map(|placed| (placed.path.as_str(), placed))
            .collect(),
    };
    check_paths(delta, inner.masked_paths())?;
    let mut found = Found {
        removed: HashMap::new(),
        replaced: HashMap::new(),
        times: HashMap::new(),
    };
    let mut directories = HashSet::new();
    for removed in delta.removed() {
        directories.insert(name::split(&removed.path).0.to_owned());
        let gone = validation.check_removed(removed)?;
        if removed.moved_to.is_some() && removed.pre.kind == ObjectKind::Directory {
            // A directory's own `..` entry is written when it gets another parent.
            directories.insert(removed.path.clone());
        }
        found.removed.insert(removed.path.clone(), gone);
    }
    for placed in delta.placed() {
        let Some(before) = validation.path_before(&placed.path) else {
            continue;
        };
        let at = Location::workspace(&before);
        match (&placed.what, placed.what.replaces()) {
            (_, Some(pre)) => {
                directories.insert(name::split(&before).0.to_owned());
                let (_, recorded) = validation.check(&before, &placed.path, pre)?;
                found.replaced.insert(placed.path.clone(), (at, recorded));
            }
            (What::Times { .. }, None) => {
                let observed = validation.check_directory(&before)?;
                found.times.insert(placed.path.clone(), times_of(&observed));
            }
            (_, None) => {
                directories.insert(name::split(&before).0.to_owned());
                validation.check_absent(&before, &placed.path)?;
            }
        }
    }
    for directory in directories {
        validation.check_directory(&directory)?;
        validation.check_writable(&directory)?;
    }
    Ok(found)
}

/// Files that are replaced, and that have further names.
pub(crate) fn shared(inner: &Inner, delta: &Delta) -> Result<Vec<String>, CommitError> {
    let placed = delta.placed().iter().map(|placed| (&*placed.path, placed));
    let placed: HashMap<_, _> = placed.collect();
    let mut found = Vec::new();
    let mut replaced: HashMap<u64, u64> = HashMap::new();
    for Placed { path, what } in delta.placed() {
        let Some(before) = what.replaces().and_then(|_| path_before(&placed, path)) else {
            continue;
        };
        let observed = inner.storage.observe(&Location::workspace(before));
        let observed = observed.map_err(|error| CommitError::of_io("look at", path, error))?;
        if let Some(observed) = observed.filter(|it| it.version.kind == ObjectKind::File) {
            *replaced.entry(observed.version.ino).or_default() += 1;
            found.push((path, observed));
        }
    }
    found.retain(|(_, observed)| observed.names > replaced[&observed.version.ino]);
    Ok(found.into_iter().map(|(path, _)| path.clone()).collect())
}

/// A delta may have come from elsewhere: its paths are checked again.
fn check_paths(delta: &Delta, masks: &[String]) -> Result<(), CommitError> {
    let removed = delta.removed().iter().map(|removed| (&removed.path, true));
    let placed = delta.placed().iter().map(|placed| (&placed.path, false));
    for (path, takes_away) in removed.chain(placed) {
        let hidden = masks
            .iter()
            .any(|mask| name::is_below(path, mask) || (takes_away && name::is_below(mask, path)));
        if hidden || !name::is_proper_path(path) {
            return Err(CommitError::Malformed {
                reason: format!("{path:?} can not be changed by a tool"),
            });
        }
    }
    Ok(())
}

pub(super) fn times_of(observed: &Observed) -> TimesOf {
    TimesOf {
        accessed: observed.accessed,
        modified: observed.version.modified,
    }
}

/// A conflict, in words that tell the two sides apart.
pub(super) fn conflict(path: &str, expected: String, found: Option<&Version>) -> CommitError {
    let mut found = found.map_or("nothing".to_owned(), Version::to_string);
    if found == expected {
        found += " that was changed since";
    }
    CommitError::Conflict {
        path: path.to_owned(),
        expected,
        found,
    }
}

struct Validation<'a> {
    storage: &'a dyn Storage,
    /// Directories that were found to be there.
    parents: RefCell<HashSet<String>>,
    removed: HashMap<&'a str, &'a Removed>,
    placed: HashMap<&'a str, &'a Placed>,
}

impl Validation<'_> {
    /// Where a path of the version after was before; `None` if it lies in a new
    /// directory.
    fn path_before(&self, path: &str) -> Option<String> {
        path_before(&self.placed, path)
    }

    fn observe(&self, path: &str) -> Result<Option<Observed>, CommitError> {
        self.storage
            .observe(&Location::workspace(path))
            .map_err(|error| CommitError::of_io("look at", path, error))
    }

    fn check_removed(&self, removed: &Removed) -> Result<Gone, CommitError> {
        let (observed, recorded) = self.check(&removed.path, &removed.path, &removed.pre)?;
        if removed.pre.kind != ObjectKind::Directory || removed.moved_to.is_some() {
            return Ok(Gone::Parked(recorded));
        }
        let names = self
            .storage
            .list(&Location::workspace(&removed.path))
            .map_err(|error| CommitError::of_io("list", &removed.path, error))?;
        for raw in names {
            let name = String::from_utf8_lossy(&raw);
            let path = name::join(&removed.path, &name);
            if !self.removed.contains_key(path.as_str()) {
                return Err(CommitError::Conflict {
                    path,
                    expected: "nothing".into(),
                    found: "an entry of a directory that is to be removed".into(),
                });
            }
        }
        Ok(Gone::Emptied(RemovedDirectory {
            recorded,
            uid: observed.uid,
            gid: observed.gid,
        }))
    }

    /// Compares an object with what is expected; `shown` is its path in messages.
    fn check(
        &self,
        path: &str,
        shown: &str,
        pre: &Pre,
    ) -> Result<(Observed, Recorded), CommitError> {
        let expected = describe(pre);
        self.check_parents(path)?;
        let Some(observed) = self.observe(path)? else {
            return Err(conflict(shown, expected, None));
        };
        let version = observed.version;
        let differs = || conflict(shown, expected.clone(), Some(&version));
        if version.kind != pre.kind || pre.mode.is_some_and(|mode| mode != version.mode) {
            return Err(differs());
        }
        if pre.kind == ObjectKind::Directory {
            if pre.version.is_some_and(|pre| pre.ino != version.ino) {
                return Err(differs());
            }
            let digest = None;
            return Ok((observed, Recorded { version, digest }));
        }
        let Some(digest) = pre.digest else {
            if pre.version.is_none_or(|pre| !pre.same_version(&version)) {
                return Err(differs());
            }
            let digest = None;
            return Ok((observed, Recorded { version, digest }));
        };
        let (observed, found) = self
            .storage
            .digest(&Location::workspace(path))
            .map_err(|error| CommitError::of_io("read", shown, error))?;
        if found != digest || observed.version != version {
            return Err(differs());
        }
        let digest = Some(digest);
        Ok((observed, Recorded { version, digest }))
    }

    fn check_absent(&self, before: &str, shown: &str) -> Result<(), CommitError> {
        self.check_parents(before)?;
        if self.removed.contains_key(before) {
            return Ok(());
        }
        match self.observe(before)? {
            None => Ok(()),
            Some(found) => Err(conflict(shown, "nothing".into(), Some(&found.version))),
        }
    }

    /// Every directory above the path is there, and is one.
    fn check_parents(&self, path: &str) -> Result<(), CommitError> {
        let directory = name::split(path).0;
        if !self.parents.borrow().contains(directory) {
            self.check_directory(directory)?;
            self.parents.borrow_mut().insert(directory.to_owned());
        }
        Ok(())
    }

    fn check_directory(&self, path: &str) -> Result<Observed, CommitError> {
        if let Some(found) = self.observe(path)?
            && found.version.kind == ObjectKind::Directory
        {
            return Ok(found);
        }
        // Name the first one that is wrong, not the last one that was looked for.
        let mut above = String::new();
        for name in path.split('/') {
            above = name::join(&above, name);
            let found = self.observe(&above)?.map(|found| found.version);
            if found.is_none_or(|found| found.kind != ObjectKind::Directory) {
                return Err(conflict(&above, "a directory".into(), found.as_ref()));
            }
        }
        Err(conflict(path, "a directory".into(), None))
    }

    fn check_writable(&self, directory: &str) -> Result<(), CommitError> {
        let shown = if directory.is_empty() { "." } else { directory };
        match self.storage.is_writable(&Location::workspace(directory)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(CommitError::Unwritable {
                path: shown.to_owned(),
                reason: "no permission to change this directory".into(),
            }),
            Err(error) => Err(CommitError::of_io("look at", shown, error)),
        }
    }
}

fn describe(pre: &Pre) -> String {
    match (&pre.version, pre.mode) {
        (Some(version), _) => version.to_string(),
        (None, Some(mode)) => format!("{} as the session left it, with mode {mode:o}", pre.kind),
        (None, None) => format!("{} as the session left it", pre.kind),
    }
}
