//! Grafting: applying a delta to another snapshot than the one it was made from, as long
//! as everything that it changes is the same there.

use crate::branch::{Branch, Quota};
use crate::content::Content;
use crate::delta::{Placed, Pre, Removed, What};
use crate::node::{Body, Inode, NodeKind};
use crate::version::ObjectKind;
use crate::{Delta, FsError, Snapshot, name};
use forerun_types::Digest;
use std::collections::HashMap;

/// Bytes read at a time when a file is compared.
const PIECE_BYTES: usize = 64 << 10;

/// A delta that does not fit a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum GraftError {
    /// The snapshot does not hold what the delta was made from.
    #[error("{path} is not what the delta was made from")]
    Stale {
        /// The path, relative to the workspace.
        path: String,
    },
    /// The operation failed for another reason.
    #[error("failed to apply the delta at {path}")]
    Fs {
        /// The path, relative to the workspace.
        path: String,
        /// Why.
        #[source]
        source: FsError,
    },
}

/// The steps are those of a commit, on a branch: everything that goes away goes first,
/// then everything is placed, parents first. A graft was within a quota once.
pub(crate) fn graft(snapshot: &Snapshot, delta: &Delta) -> Result<Snapshot, GraftError> {
    let mut branch = snapshot.branch_with(Quota {
        bytes: u64::MAX,
        nodes: u64::MAX,
    });
    let mut contents = HashMap::new();
    for placed in delta.placed() {
        if let What::File { content, .. } = &placed.what
            && let Some((path, _)) = content.expected()
        {
            let old = resolve(&mut branch, path).and_then(|node| branch.content(node));
            let content = old.and_then(|old| content.completed(&old));
            contents.insert(placed.path.as_str(), content.map_err(at(path))?);
        }
    }
    let mut parked = HashMap::new();
    for removed in delta.removed() {
        let node = take_away(&mut branch, removed).map_err(at(&removed.path))?;
        parked.insert(removed.path.as_str(), node);
    }
    let mut groups = HashMap::new();
    for placed in delta.placed() {
        put(&mut branch, placed, &parked, &contents, &mut groups).map_err(at(&placed.path))?;
    }
    branch
        .freeze()
        .map(|(snapshot, _)| snapshot)
        .map_err(at(""))
}

fn at(path: &str) -> impl FnOnce(FsError) -> GraftError {
    let path = path.to_owned();
    move |source| match source {
        FsError::NotFound
        | FsError::Exists
        | FsError::NotADirectory
        | FsError::IsADirectory
        | FsError::NotEmpty
        | FsError::Changed => GraftError::Stale { path },
        source => GraftError::Fs { path, source },
    }
}

fn resolve(branch: &mut Branch, path: &str) -> Result<Inode, FsError> {
    path.split('/')
        .filter(|name| !name.is_empty())
        .try_fold(Inode::ROOT, |dir, name| branch.lookup(dir, name))
}

fn take_away(branch: &mut Branch, removed: &Removed) -> Result<Inode, FsError> {
    let (directory, name) = name::split(&removed.path);
    let directory = resolve(branch, directory)?;
    let node = branch.lookup(directory, name)?;
    compare(branch, node, &removed.pre)?;
    if removed.moved_to.is_some() {
        branch.park(node, directory, name)?;
    } else if removed.pre.kind == ObjectKind::Directory {
        branch.rmdir(directory, name)?;
    } else {
        branch.unlink(directory, name)?;
    }
    Ok(node)
}

fn put(
    branch: &mut Branch,
    placed: &Placed,
    parked: &HashMap<&str, Inode>,
    contents: &HashMap<&str, Content>,
    groups: &mut HashMap<u32, Inode>,
) -> Result<(), FsError> {
    let (directory, name) = name::split(&placed.path);
    let directory = resolve(branch, directory)?;
    let node = match &placed.what {
        What::Moved { from, .. } => {
            let node = parked.get(from.as_str()).copied();
            let node = node.ok_or(FsError::NotFound)?;
            branch.unpark(node, directory, name)?;
            node
        }
        What::Directory { .. } => branch.create_dir(directory, name)?,
        What::Times { .. } => {
            let node = branch.lookup(directory, name)?;
            match branch.metadata(node)?.kind {
                NodeKind::Directory => node,
                _ => return Err(FsError::NotADirectory),
            }
        }
        What::File {
            content,
            mode,
            group,
            replaces,
            ..
        } => {
            let linked = group.and_then(|group| groups.get(&group).copied());
            let node = match (replaces, linked) {
                (None, Some(node)) => {
                    branch.link(node, directory, name)?;
                    node
                }
                (None, None) => branch.create_file(directory, name)?,
                (Some(pre), linked) => {
                    let node = branch.lookup(directory, name)?;
                    compare(branch, node, pre)?;
                    // What has other names too keeps its content under them.
                    let alone = pre.kind == ObjectKind::File
                        && group.is_none()
                        && branch.metadata(node)?.nlink == 1;
                    match linked {
                        Some(linked) if linked == node => node,
                        None if alone => node,
                        other => {
                            branch.unlink(directory, name)?;
                            match other {
                                Some(linked) => {
                                    branch.link(linked, directory, name)?;
                                    linked
                                }
                                None => branch.create_file(directory, name)?,
                            }
                        }
                    }
                }
            };
            let completed = contents.get(placed.path.as_str());
            branch.set_content(node, completed.unwrap_or(content))?;
            branch.set_mode(node, *mode);
            if let Some(group) = group {
                groups.insert(*group, node);
            }
            node
        }
        What::Symlink {
            target, replaces, ..
        } => {
            if let Some(pre) = replaces {
                let node = branch.lookup(directory, name)?;
                compare(branch, node, pre)?;
                branch.unlink(directory, name)?;
            }
            branch.symlink(directory, name, target)?
        }
    };
    let times = match &placed.what {
        What::Times { times } => Some(*times),
        What::Moved { times, .. }
        | What::Directory { times }
        | What::File { times, .. }
        | What::Symlink { times, .. } => *times,
    };
    if let Some(times) = times {
        branch.set_times(node, Some(times.accessed), Some(times.modified))?;
    }
    Ok(())
}

/// Whether a node is what the delta expects: by digest where that is known.
fn compare(branch: &mut Branch, node: Inode, pre: &Pre) -> Result<(), FsError> {
    let metadata = branch.metadata(node)?;
    let (kind, digest) = match metadata.kind {
        NodeKind::Directory => (ObjectKind::Directory, None),
        NodeKind::Symlink => {
            let target = branch.read_link(node)?;
            (ObjectKind::Symlink, Some(Digest::of(target)))
        }
        NodeKind::File if pre.digest.is_some() => {
            let mut hasher = blake3::Hasher::new();
            let mut buffer = vec![0; PIECE_BYTES];
            let mut offset = 0;
            loop {
                let count = branch.read(node, offset, &mut buffer)?;
                if count == 0 {
                    break;
                }
                hasher.update(&buffer[..count]);
                offset += count as u64;
            }
            let digest = Digest(*hasher.finalize().as_bytes());
            (ObjectKind::File, Some(digest))
        }
        NodeKind::File => (ObjectKind::File, None),
    };
    let same_content = match (pre.digest, pre.version) {
        (Some(expected), _) => digest == Some(expected),
        (None, Some(version)) => {
            kind == ObjectKind::Directory
                || (version.size == metadata.size && version.modified == metadata.modified)
        }
        (None, None) => true,
    };
    let same_mode = kind != ObjectKind::File || pre.mode.is_none_or(|mode| mode == metadata.mode);
    if kind == pre.kind && same_content && same_mode {
        Ok(())
    } else {
        Err(FsError::Changed)
    }
}

impl Branch {
    /// Takes a node's name, and keeps the node.
    fn park(&mut self, node: Inode, dir: Inode, name: &str) -> Result<(), FsError> {
        self.raise(node)?;
        self.unbind(node, dir, name)
    }

    /// Gives a parked node a name.
    fn unpark(&mut self, node: Inode, dir: Inode, name: &str) -> Result<(), FsError> {
        self.check_free(dir, name)?;
        self.raise_directory(dir)?;
        self.bind(node, dir, name)
    }

    fn set_mode(&mut self, node: Inode, mode: Option<u32>) {
        if let Some(node) = self.node_mut(node)
            && matches!(node.body, Body::File(_))
        {
            node.mode = mode;
        }
    }
}
