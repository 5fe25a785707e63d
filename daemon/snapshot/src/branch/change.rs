//! The two primitives that every change of names is made of: a name gets a node, a name
//! loses its node.

use super::{Branch, FsError};
use crate::node::{Binding, Body, Inode, Link, Node, NodeKind, NodeRef, Times};
use std::sync::Arc;

impl Branch {
    /// A new node, not bound to any name yet.
    pub(crate) fn create(&mut self, body: Body) -> Inode {
        let inode = self.workspace.inner.entries.fresh();
        let node = Node {
            links: Vec::new(),
            body,
            times: Times {
                accessed: self.now,
                modified: self.now,
                explicit: false,
            },
            mode: None,
            created: true,
        };
        self.nodes.insert(inode, NodeRef::new(node));
        inode
    }

    /// Gives a free name to a node that is in the table. The directory is in the table.
    pub(crate) fn bind(&mut self, node: Inode, dir: Inode, name: &str) -> Result<(), FsError> {
        let name: Arc<str> = name.into();
        let directory = self.directory_mut(dir)?;
        let old = directory.bindings.get(&name).copied();
        let binding = Binding {
            covers: old.and_then(|old| old.covers),
            now: Some(node),
        };
        directory.bindings.insert(Arc::clone(&name), binding);
        if old.is_some() {
            self.usage.nodes = self.usage.nodes.saturating_sub(1);
        }
        self.touch_directory(dir);
        if let Some(node) = self.nodes.get_mut(&node) {
            node.make_mut().links.push(Link {
                directory: dir,
                name,
            });
        }
        Ok(())
    }

    /// Takes a name from a node. The directory is in the table; the node need not be.
    pub(crate) fn unbind(&mut self, node: Inode, dir: Inode, name: &str) -> Result<(), FsError> {
        let of_parent = self
            .origin
            .table
            .get(&dir)
            .and_then(|parent| parent.directory()?.bindings.get(name))
            .is_some();
        let lower = self.directory_mut(dir)?.lower;
        // Unknown counts as taken: a whiteout too many hides nothing.
        let hidden = lower && self.workspace.inner.is_taken(dir, name).unwrap_or(true);
        let directory = self.directory_mut(dir)?;
        let old = directory.bindings.get(name).copied();
        // A name that only this branch ever had leaves no trace. One that an unverified
        // ancestor bound has to stay: the base may hold it before this branch ends.
        if old.is_some_and(|old| old.covers.is_none()) && !of_parent && !hidden {
            directory.bindings.remove(name);
        } else {
            let covers = old.map_or(Some(node), |old| old.covers);
            let whiteout = Binding { covers, now: None };
            directory.bindings.insert(name.into(), whiteout);
            self.usage.nodes += 1;
        }
        self.touch_directory(dir);
        if let Some(changed) = self.nodes.get_mut(&node) {
            let changed = changed.make_mut();
            changed
                .links
                .retain(|link| link.directory != dir || *link.name != *name);
            self.moves += u64::from(changed.directory().is_some());
        }
        Ok(())
    }

    /// Frees a node that has no name and is not held. A base directory stays, as the
    /// record of what was removed from it.
    pub(crate) fn forget_if_unlinked(&mut self, node: Inode) {
        if node == Inode::ROOT || self.holds.contains_key(&node) {
            return;
        }
        let Some(changed) = self.nodes.get(&node) else {
            return;
        };
        let records = changed.directory().is_some_and(|directory| directory.lower);
        if !changed.links.is_empty() || records {
            return;
        }
        let bytes = match &changed.body {
            Body::File(content) => content.len(),
            Body::Symlink(target) => target.len() as u64,
            Body::BaseFile | Body::Directory(_) => 0,
        };
        self.nodes.remove(&node);
        self.usage.bytes = self.usage.bytes.saturating_sub(bytes);
        self.usage.nodes = self.usage.nodes.saturating_sub(1);
    }

    /// Removes a name for good: remembers what had it, and frees that if nothing else
    /// refers to it. A directory is known to be empty.
    pub(super) fn remove(&mut self, node: Inode, dir: Inode, name: &str) -> Result<(), FsError> {
        self.raise_directory(dir)?;
        self.check_room(0, 1)?;
        if !self.nodes.contains_key(&node) {
            self.see_removed(node)?;
            let is_directory = self.kind_of(node)? == NodeKind::Directory;
            // One of several names: the others are fewer from now on.
            let has_several = self.workspace.inner.entries.has_several(node);
            if is_directory || has_several || self.holds.contains_key(&node) {
                self.raise(node)?;
            }
        } else if let Some(Body::BaseFile) = self.node(node).map(|node| &node.body) {
            self.see_removed(node)?;
        }
        self.unbind(node, dir, name)?;
        if self.node(node).is_some_and(|node| !node.links.is_empty()) {
            // One name of several: each further one was charged for.
            self.usage.nodes = self.usage.nodes.saturating_sub(1);
        }
        self.forget_if_unlinked(node);
        Ok(())
    }

    fn touch_directory(&mut self, dir: Inode) {
        let now = self.now;
        if let Some(node) = self.nodes.get_mut(&dir) {
            let times = &mut node.make_mut().times;
            times.modified = now;
            times.explicit = false;
        }
    }
}
