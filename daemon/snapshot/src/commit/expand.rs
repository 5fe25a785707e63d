//! Moves of directories, taken apart: where the file system can not move a directory
//! (overlayfs, if it lies in a lower layer), what is in it is moved one by one into a new
//! one. Reads the workspace, changes nothing.

use super::Like;
use super::error::CommitError;
use super::storage::Location;
use super::undo::as_found;
use super::validate::conflict;
use crate::Delta;
use crate::delta::{Placed, Removed, What};
use crate::name;
use crate::version::ObjectKind;
use crate::workspace::Inner;
use std::collections::{HashMap, HashSet};

/// A delta without moves of directories, that leaves the same behind, and what its new
/// directories and files take over. `delta` was validated.
pub(super) fn expand(
    inner: &Inner,
    delta: &Delta,
    likes: &HashMap<String, Like>,
) -> Result<(Delta, HashMap<String, Like>), CommitError> {
    let mut expansion = Expansion {
        inner,
        gone: delta.removed().iter().map(|it| it.path.clone()).collect(),
        removed: Vec::new(),
        placed: delta
            .placed()
            .iter()
            .map(|placed| (placed.path.clone(), placed.what.clone()))
            .collect(),
        likes: likes.clone(),
    };
    for removed in delta.removed() {
        match &removed.moved_to {
            Some(to) if removed.pre.kind == ObjectKind::Directory => {
                expansion.directory(&removed.path, to)?;
                expansion.removed.push(Removed {
                    moved_to: None,
                    ..removed.clone()
                });
            }
            _ => expansion.removed.push(removed.clone()),
        }
    }
    let Expansion {
        mut removed,
        placed,
        likes,
        ..
    } = expansion;
    removed.sort_by(|a, b| name::order(&b.path, &a.path));
    let placed = placed.into_iter().map(|(path, what)| Placed { path, what });
    let mut placed: Vec<_> = placed.collect();
    placed.sort_by(|a, b| name::order(&a.path, &b.path));
    Ok((Delta::new(removed, placed, None), likes))
}

struct Expansion<'a> {
    inner: &'a Inner,
    /// What the delta itself takes away, by the path before.
    gone: HashSet<String>,
    removed: Vec<Removed>,
    placed: HashMap<String, What>,
    likes: HashMap<String, Like>,
}

impl Expansion<'_> {
    /// A new directory for one that is moved, and all that stays in it.
    fn directory(&mut self, from: &str, to: &str) -> Result<(), CommitError> {
        let storage = &*self.inner.storage;
        let at = Location::workspace(from);
        let failed = |error| CommitError::of_io("list", from, error);
        if let Some(found) = storage.observe(&at).map_err(failed)? {
            let like = Like::Directory {
                mode: found.version.mode,
                owner: Some((found.uid, found.gid)),
            };
            self.likes.entry(to.to_owned()).or_insert(like);
        }
        let times = match self.placed.get(to) {
            Some(What::Moved { times, .. }) => *times,
            Some(What::Times { times }) => Some(*times),
            _ => None,
        };
        self.placed.insert(to.to_owned(), What::Directory { times });
        for raw in storage.list(&at).map_err(failed)? {
            let name = String::from_utf8(raw).map_err(|_| CommitError::Unwritable {
                path: from.to_owned(),
                reason: "its file system can not move it as a whole, and a name in it is no text"
                    .to_owned(),
            })?;
            let path = name::join(from, &name);
            if name::is_masked(&name) {
                return Err(CommitError::Unwritable {
                    path,
                    reason: "its file system can not move the directory that it is in".to_owned(),
                });
            }
            if !self.gone.contains(&path) {
                self.entry(path, name::join(to, &name))?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, from: String, to: String) -> Result<(), CommitError> {
        let at = Location::workspace(&*from);
        let found = self.inner.storage.observe(&at);
        let found = found.map_err(|error| CommitError::of_io("look at", &from, error))?;
        let Some(found) = found else { return Ok(()) };
        let mut pre = as_found(found.version);
        let moved_to = match self.placed.get_mut(&to) {
            _ if found.version.kind == ObjectKind::Directory => {
                self.directory(&from, &to)?;
                None
            }
            // Another version of it takes the place that it would be moved to.
            Some(What::File { replaces, .. } | What::Symlink { replaces, .. })
                if replaces.is_some() =>
            {
                pre = replaces.take().unwrap_or(pre);
                let like = Like::File(at);
                self.likes.entry(to).or_insert(like);
                None
            }
            // It was not there a moment ago, when the delta was validated.
            Some(_) => {
                let expected = "nothing".to_owned();
                return Err(conflict(&to, expected, Some(&found.version)));
            }
            None => {
                let what = What::Moved {
                    from: from.clone(),
                    times: None,
                };
                self.placed.insert(to.clone(), what);
                Some(to)
            }
        };
        self.removed.push(Removed {
            path: from,
            pre,
            moved_to,
        });
        Ok(())
    }
}
