//! The net difference of two tables, as paths: what becomes a delta.
//!
//! Works inode by inode: where a node was bound before, where it is bound after, and
//! whether it changed. The cost is that of the changes, whatever the size of the table
//! or of the base, because equal parts of persistent maps are skipped.

mod merge;

use crate::commit::intent::TimesOf;
use crate::delta::{Placed, Pre, Removed, What};
use crate::name::{self, PATH_BYTES_MAX};
use crate::node::{Binding, Body, Inode, Link, Node, Table, Times};
use crate::pins::Reads;
use crate::seen::{Lineage, Seen, SeenMap, first_look_in};
use crate::version::{ObjectKind, Version};
use crate::{Delta, FsError, Workspace};
use forerun_types::Digest;
use imbl::ordmap::DiffItem;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

/// A table over its base, for finding where nodes are.
pub(crate) struct View<'a> {
    workspace: &'a Workspace,
    nodes: &'a Table,
}

impl<'a> View<'a> {
    pub(crate) fn new(workspace: &'a Workspace, nodes: &'a Table) -> View<'a> {
        View { workspace, nodes }
    }

    /// A node's path, the first in order if it has several.
    ///
    /// # Errors
    /// [`FsError::NotFound`] if it has none; [`FsError::NameTooLong`] beyond
    /// [`PATH_BYTES_MAX`], where the walk ends: a guest decides how deep a node is.
    pub(crate) fn path(&self, node: Inode) -> Result<String, FsError> {
        if node == Inode::ROOT {
            return Ok(String::new());
        }
        let mut first = Err(FsError::NotFound);
        for link in self.links(node) {
            match (self.path_of_link(&link), &first) {
                (Ok(path), Ok(other)) if path > *other => {}
                (Err(_), Ok(_)) => {}
                (path, _) => first = path,
            }
        }
        first
    }

    /// As [`View::path`], of many nodes: the directories that they are in are looked up once.
    pub(crate) fn path_by(
        &self,
        known: &mut HashMap<Inode, Option<Rc<str>>>,
        node: Inode,
    ) -> Option<Rc<str>> {
        let mut path_of = |node| {
            let path = known.entry(node);
            path.or_insert_with(|| self.path(node).ok().map(Rc::from))
                .clone()
        };
        match self.links(node).as_slice() {
            [link] => {
                let above = path_of(link.directory)?;
                Some(name::join(&above, &link.name).into())
            }
            _ => path_of(node),
        }
    }

    fn path_of_link(&self, link: &Link) -> Result<String, FsError> {
        let mut names = vec![Arc::clone(&link.name)];
        let mut bytes = link.name.len();
        let mut at = link.directory;
        while at != Inode::ROOT {
            let link = self.links(at).into_iter().next().ok_or(FsError::NotFound)?;
            bytes += link.name.len() + 1;
            if bytes > PATH_BYTES_MAX {
                return Err(FsError::NameTooLong);
            }
            names.push(link.name);
            at = link.directory;
        }
        names.reverse();
        Ok(names.join("/"))
    }

    /// Where a node is bound.
    fn links(&self, node: Inode) -> Vec<Link> {
        if let Some(changed) = self.nodes.get(&node) {
            return changed.links.clone();
        }
        let mut links = self.workspace.inner.entries.links(node);
        links.retain(|link| self.is_bound(link, node) && self.is_there(link.directory));
        links
    }

    /// Whether a name of the base still is that node's.
    fn is_bound(&self, link: &Link, node: Inode) -> bool {
        let directory = self.nodes.get(&link.directory);
        let binding = directory.and_then(|node| node.directory()?.bindings.get(&link.name));
        binding.is_none_or(|binding| binding.now == Some(node))
    }

    /// Whether a directory, and every one of the base above it, was left where it is:
    /// what was in one that was removed went with it.
    fn is_there(&self, directory: Inode) -> bool {
        let mut at = directory;
        while at != Inode::ROOT && !self.nodes.contains_key(&at) {
            let above = self.workspace.inner.entries.links(at);
            match above.first() {
                Some(link) if self.is_bound(link, at) => at = link.directory,
                _ => return false,
            }
        }
        true
    }
}

/// What turns `before` into `after`, where `before` is what the base is to hold when the
/// delta is committed. `pins` are those of the one step that did it.
pub(crate) fn delta(
    workspace: &Workspace,
    before: &Table,
    after: &Table,
    own: &SeenMap,
    (chain, verified): (&[Arc<Lineage>], &SeenMap),
    lineage: Arc<Lineage>,
    pins: Option<Arc<Reads>>,
) -> Result<Delta, FsError> {
    let mut net = Net {
        before: View::new(workspace, before),
        after: View::new(workspace, after),
        own,
        chain,
        verified,
        reads: pins.as_deref(),
        removed: Vec::new(),
        placed: Vec::new(),
        unlike: HashSet::new(),
        groups: 0,
    };
    for node in affected(before, after) {
        net.compare(node)?;
    }
    let default_mode = workspace.inner.default_modes.0;
    let (removed, placed) = merge::merge(net.removed, net.placed, &net.unlike, default_mode);
    Ok(Delta::of_step(removed, placed, Some(lineage), pins))
}

/// Every node that may be bound elsewhere, or hold something else.
fn affected(before: &Table, after: &Table) -> BTreeSet<Inode> {
    let mut affected = BTreeSet::new();
    let bound = |affected: &mut BTreeSet<Inode>, binding: &Binding| {
        affected.extend(binding.covers);
        affected.extend(binding.now);
    };
    for item in before.diff(after) {
        let (node, old, new) = match item {
            DiffItem::Add(node, new) => (node, None, Some(new)),
            DiffItem::Remove(node, old) => (node, Some(old), None),
            DiffItem::Update { old, new } => (old.0, Some(old.1), Some(new.1)),
        };
        affected.insert(*node);
        let old = old.and_then(|node| node.directory());
        let new = new.and_then(|node| node.directory());
        match (old, new) {
            (Some(old), Some(new)) => {
                for item in old.bindings.diff(&new.bindings) {
                    match item {
                        DiffItem::Add(_, binding) | DiffItem::Remove(_, binding) => {
                            bound(&mut affected, binding);
                        }
                        DiffItem::Update { old, new } => {
                            bound(&mut affected, old.1);
                            bound(&mut affected, new.1);
                        }
                    }
                }
            }
            (Some(one), None) | (None, Some(one)) => {
                for binding in one.bindings.values() {
                    bound(&mut affected, binding);
                }
            }
            (None, None) => {}
        }
    }
    affected.remove(&Inode::ROOT);
    affected
}

struct Net<'a> {
    before: View<'a>,
    after: View<'a>,
    own: &'a SeenMap,
    chain: &'a [Arc<Lineage>],
    /// First looks of the newest version that the base holds.
    verified: &'a SeenMap,
    /// What the one step saw that made the difference.
    reads: Option<&'a Reads>,
    removed: Vec<Removed>,
    placed: Vec<Placed>,
    /// Paths of removed directories whose mode is not that of a new one.
    unlike: HashSet<String>,
    groups: u32,
}

impl Net<'_> {
    fn compare(&mut self, node: Inode) -> Result<(), FsError> {
        let (old_links, new_links) = (self.before.links(node), self.after.links(node));
        let is_directory = [self.after.nodes, self.before.nodes]
            .iter()
            .find_map(|table| table.get(&node))
            .map(|node| node.directory().is_some());
        // A node in neither table is one of the base's: removed, or not changed at all.
        match is_directory {
            None if old_links == new_links => Ok(()),
            Some(true) => self.compare_directory(node, old_links.first(), new_links.first()),
            _ => self.compare_other(node, &old_links, &new_links),
        }
    }

    fn compare_directory(
        &mut self,
        node: Inode,
        old: Option<&Link>,
        new: Option<&Link>,
    ) -> Result<(), FsError> {
        let times = self.new_times(node);
        match (old, new) {
            (None, None) => {}
            (None, Some(new)) => self.place(new, What::Directory { times })?,
            (Some(old), None) => self.remove(node, old, None)?,
            (Some(old), Some(new)) if old != new => self.move_object(node, old, new, times)?,
            (Some(_), Some(new)) => {
                if let Some(times) = times {
                    self.place(new, What::Times { times })?;
                }
            }
        }
        Ok(())
    }

    fn compare_other(&mut self, node: Inode, old: &[Link], new: &[Link]) -> Result<(), FsError> {
        let changed = !old.is_empty() && !new.is_empty() && self.is_changed(node)?;
        if let ([old], [new]) = (old, new)
            && old != new
            && !changed
        {
            return self.move_object(node, old, new, None);
        }
        let added = new.iter().any(|link| !old.contains(link));
        for link in old.iter().filter(|link| !new.contains(link)) {
            self.remove(node, link, None)?;
        }
        if !changed && !added {
            return Ok(());
        }
        let together = (new.len() > 1).then(|| {
            self.groups += 1;
            self.groups
        });
        for link in new {
            let kept = old.contains(link);
            if kept && !changed && together.is_none() {
                continue;
            }
            let replaces = match kept {
                true => Some(self.pre(node)?),
                false => None,
            };
            let what = self.content(node, together, replaces)?;
            self.place(link, what)?;
        }
        Ok(())
    }

    /// What a file or link is to be, from the table after.
    fn content(
        &self,
        node: Inode,
        group: Option<u32>,
        replaces: Option<Pre>,
    ) -> Result<What, FsError> {
        let changed = self.after.nodes.get(&node).ok_or(FsError::Changed)?;
        let times = explicit(&changed.times);
        match &changed.body {
            Body::File(content) => Ok(What::File {
                digest: content.digest()?,
                content: content.clone(),
                mode: changed.mode,
                times,
                group,
                replaces,
            }),
            Body::Symlink(target) => Ok(What::Symlink {
                target: target.to_string(),
                times,
                replaces,
            }),
            Body::BaseFile | Body::Directory(_) => Err(FsError::Changed),
        }
    }

    /// Whether a file or link that is in both versions holds something else.
    fn is_changed(&self, node: Inode) -> Result<bool, FsError> {
        let Some(after) = self.after.nodes.get(&node) else {
            return Ok(false);
        };
        let before = self.before.nodes.get(&node);
        if self.new_times(node).is_some() {
            return Ok(true);
        }
        Ok(match (before.map(|node| &node.body), &after.body) {
            (Some(Body::File(old)), Body::File(new)) => {
                let same = old.shares(new) || old.digest()? == new.digest()?;
                !same || before.is_some_and(|before| before.mode != after.mode)
            }
            (Some(Body::BaseFile) | None, Body::File(new)) => {
                let seen = self.look(node)?;
                seen.digest != Some(new.digest()?) || after.mode != Some(seen.version.mode)
            }
            _ => false,
        })
    }

    /// Times that a tool set since the version before.
    fn new_times(&self, node: Inode) -> Option<TimesOf> {
        let after = explicit(&self.after.nodes.get(&node)?.times)?;
        let before = self.before.nodes.get(&node);
        let before = before.and_then(|node| explicit(&node.times));
        (before != Some(after)).then_some(after)
    }

    fn remove(
        &mut self,
        node: Inode,
        link: &Link,
        moved_to: Option<String>,
    ) -> Result<(), FsError> {
        let path = self.before.path_of_link(link)?;
        let pre = self.pre(node)?;
        if pre.kind == ObjectKind::Directory && !self.is_like_new(node) {
            self.unlike.insert(path.clone());
        }
        self.removed.push(Removed {
            path,
            pre,
            moved_to,
        });
        Ok(())
    }

    /// Whether a directory of the version before has the mode of a new one.
    fn is_like_new(&self, directory: Inode) -> bool {
        let before = self.before.nodes.get(&directory);
        let mode = before.and_then(|node| node.mode);
        let mode = mode.or_else(|| Some(self.look(directory).ok()?.version.mode));
        mode.is_none_or(|mode| mode == self.before.workspace.inner.default_modes.1)
    }

    fn place(&mut self, link: &Link, what: What) -> Result<(), FsError> {
        let path = self.after.path_of_link(link)?;
        self.placed.push(Placed { path, what });
        Ok(())
    }

    fn move_object(
        &mut self,
        node: Inode,
        old: &Link,
        new: &Link,
        times: Option<TimesOf>,
    ) -> Result<(), FsError> {
        let from = self.before.path_of_link(old)?;
        let to = self.after.path_of_link(new)?;
        self.remove(node, old, Some(to))?;
        self.place(new, What::Moved { from, times })
    }

    /// What the base is to hold where a node was.
    fn pre(&self, node: Inode) -> Result<Pre, FsError> {
        let read = self.reads.is_some_and(|reads| reads.shows_content(node));
        let before = self.before.nodes.get(&node).map(|node| &**node);
        if let Some(Node { body, mode, .. }) = before {
            match body {
                Body::File(content) => {
                    return Ok(Pre {
                        kind: ObjectKind::File,
                        version: None,
                        digest: Some(content.digest()?),
                        mode: Some(mode.unwrap_or(self.before.workspace.inner.default_modes.0)),
                        old: Some(content.clone()),
                        read,
                    });
                }
                Body::Symlink(target) => {
                    return Ok(Pre {
                        kind: ObjectKind::Symlink,
                        version: None,
                        digest: Some(Digest::of(target.as_bytes())),
                        mode: None,
                        old: None,
                        read,
                    });
                }
                Body::Directory(_) => {
                    return Ok(Pre {
                        kind: ObjectKind::Directory,
                        version: self.look(node).ok().map(|seen| seen.version),
                        digest: None,
                        mode: None,
                        old: None,
                        read,
                    });
                }
                Body::BaseFile => {}
            }
        }
        let seen = self.look(node)?;
        let Version { kind, mode, .. } = seen.version;
        Ok(Pre {
            kind,
            version: Some(seen.version),
            digest: seen.digest,
            mode: (kind == ObjectKind::File).then_some(mode),
            old: seen.content,
            read,
        })
    }

    fn look(&self, node: Inode) -> Result<Seen, FsError> {
        let Some(mut seen) = first_look_in(node, self.own, self.chain) else {
            return self.look_again(node);
        };
        if let (None, Some(content)) = (seen.digest, &seen.content) {
            // A large file: read now, if it has to be read at all.
            seen.digest = Some(content.digest()?);
        }
        Ok(seen)
    }

    /// A commit that ended meanwhile moved it, and its looks are no part of the chain.
    fn look_again(&self, node: Inode) -> Result<Seen, FsError> {
        let of_base = self.before.nodes.get(&node).map(|node| &node.body);
        if !matches!(of_base, Some(Body::BaseFile)) {
            return Err(FsError::Changed);
        }
        if let Some(seen) = self.verified.get(&node) {
            return Ok(seen.clone());
        }
        let version = Version::of(&self.before.workspace.inner.stat(node)?);
        Ok(Seen {
            version,
            racy: true,
            digest: None,
            content: None,
        })
    }
}

fn explicit(times: &Times) -> Option<TimesOf> {
    times.explicit.then_some(TimesOf {
        accessed: times.accessed,
        modified: times.modified,
    })
}
