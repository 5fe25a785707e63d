//! A branch: the mutable version of the workspace that one sandbox works on.
//!
//! Everything is by [`Inode`] and single name; resolving paths is the sandbox's work.
//! A look-up that finds no change goes to the base; the first change of a base object
//! copies it up, under the same inode. What is hidden ([`crate::name`], special files,
//! names that are not UTF-8) is neither found nor listed, and can not be created over.
//!
//! **Invariants**
//! - A failed operation changes nothing.
//! - The base is only read, and what was seen of it is remembered at the first look.

mod change;
mod copy_up;
mod error;
mod files;
mod names;
mod paths;

use crate::base::{Glance, OpenFile};
use crate::node::{Body, Directory, Inode, Node, NodeKind, Table};
use crate::pins::{self, Aspect, Pins, SURVEYS_MAX};
use crate::seen::{Current, Lineage, SeenMap};
use crate::version::{ObjectKind, Timestamp, Version};
use crate::{Delta, Snapshot, Workspace, name, net};
pub use error::FsError;
pub use paths::Located;
use paths::{Fresh, Paths, Step};
use std::collections::{BTreeMap, HashMap};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// What a branch and its unverified ancestors may hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of changed files, by their length: stops a tool that fills memory and disk.
    pub bytes: u64,
    /// Changed nodes, removals included: stops a tool that creates files without end.
    pub nodes: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Quota {
            bytes: 1 << 30,
            nodes: 200_000,
        }
    }
}

/// What the unverified changes along a branch's path hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeltaUsage {
    /// Bytes of changed files, by their length.
    pub bytes: u64,
    /// Changed nodes, removals included.
    pub nodes: u64,
}

/// What is shown of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: NodeKind,
    /// Bytes of a file or of a link's target; 0 for a directory.
    pub size: u64,
    /// Names that the node has; 1 for a directory, 0 for what was unlinked.
    pub nlink: u64,
    /// Last change of the content.
    pub modified: Timestamp,
    /// Last access, as far as it is known.
    pub accessed: Timestamp,
    /// Permission bits.
    pub mode: u32,
}

/// Where directories are: as long as it is the same, each has the path that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Directories that the branch moved or removed.
    own: u64,
    /// Base entries that may have moved.
    base: u64,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: String,
    /// What it names.
    pub kind: NodeKind,
}

/// A mutable version of a workspace. Dropping it is a rollback.
pub struct Branch {
    workspace: Workspace,
    parent: Arc<Lineage>,
    /// The table that the branch started with: the parent's, without what the base holds.
    origin: Current,
    nodes: Changing,
    /// First looks of this branch at base objects that it changed.
    seen: SeenMap,
    /// What this branch was told.
    pins: Pins,
    /// The same by path, for being asked again.
    paths: Paths,
    /// Bytes of base content that `seen` keeps.
    retained: u64,
    /// Nodes that are open.
    holds: HashMap<Inode, Hold>,
    usage: DeltaUsage,
    quota: Quota,
    now: Timestamp,
    /// Directories that were moved or removed.
    moves: u64,
}

impl Branch {
    pub(crate) fn new(workspace: Workspace, parent: Arc<Lineage>, quota: Quota) -> Branch {
        let origin = parent.current();
        Branch {
            workspace,
            nodes: Changing::from(origin.table.clone()),
            origin,
            usage: parent.usage,
            parent,
            seen: SeenMap::new(),
            pins: Pins::default(),
            paths: Paths::default(),
            retained: 0,
            holds: HashMap::new(),
            quota,
            now: Timestamp::now(),
            moves: 0,
        }
    }

    /// The workspace's directory.
    pub fn root(&self) -> Inode {
        Inode::ROOT
    }

    /// Sets the time that changes get from now on; at first it is that of the branch's
    /// making. Such times are shown by [`Branch::metadata`] and are no part of a delta.
    pub fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// The node that a name in a directory stands for. A link is not followed.
    ///
    /// # Errors
    /// [`FsError::NotFound`], also for what is hidden; [`FsError::NotADirectory`].
    pub fn lookup(&mut self, dir: Inode, name: &str) -> Result<Inode, FsError> {
        self.find(dir, name)?.ok_or(FsError::NotFound)
    }

    /// What a node is; less to see than all of its attributes.
    ///
    /// # Errors
    /// [`FsError::NotFound`] if the base lost it.
    pub fn kind(&mut self, node: Inode) -> Result<NodeKind, FsError> {
        self.kind_of(node)
    }

    /// A node's attributes.
    ///
    /// # Errors
    /// [`FsError::NotFound`] if the base lost it.
    pub fn metadata(&mut self, node: Inode) -> Result<Metadata, FsError> {
        self.make_room_beside(node)?;
        let (metadata, version) = self.attributes(node)?;
        if let Some(version) = version {
            self.pins.attributes(node, version);
        }
        self.derive(node, Aspect::Attributes);
        Ok(metadata)
    }

    /// As [`Branch::metadata`], with the version that it was taken from, if that is of the
    /// base; nothing is told, so nothing is pinned.
    fn attributes(&self, node: Inode) -> Result<(Metadata, Option<Version>), FsError> {
        let is_of_base = self
            .node(node)
            .is_none_or(|node| matches!(node.body, Body::BaseFile));
        let glance = match is_of_base {
            true => Some(self.glance(node)?),
            false => None,
        };
        let version = glance.map(|glance| glance.version);
        let inner = &self.workspace.inner;
        let Some(changed) = self.nodes.get(&node) else {
            let glance = glance.ok_or(FsError::NotFound)?;
            return Ok((of_base(&glance)?, version));
        };
        let (size, default_mode) = match &changed.body {
            Body::BaseFile => (
                version.map_or(0, |version| version.size),
                inner.default_modes.0,
            ),
            Body::File(content) => (content.len(), inner.default_modes.0),
            Body::Directory(_) => (0, inner.default_modes.1),
            Body::Symlink(target) => (target.len() as u64, 0o777),
        };
        let metadata = Metadata {
            kind: changed.kind(),
            size,
            nlink: changed.links.len().max(usize::from(node == Inode::ROOT)) as u64,
            modified: changed.times.modified,
            accessed: changed.times.accessed,
            mode: changed.mode.unwrap_or(default_mode),
        };
        Ok((metadata, version))
    }

    /// A node's current path relative to the root, which is the empty path; the first
    /// in order if it has several.
    ///
    /// # Errors
    /// [`FsError::NotFound`] if it has none, [`FsError::NameTooLong`] if it is so deep that
    /// no kernel would open it.
    pub fn path_of(&self, node: Inode) -> Result<String, FsError> {
        net::View::new(&self.workspace, &self.nodes).path(node)
    }

    /// A directory's entries, sorted by name.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`].
    pub fn list(&mut self, dir: Inode) -> Result<Vec<DirEntry>, FsError> {
        self.make_room(dir)?;
        let changed = self.directory(dir)?;
        let origin = self
            .origin
            .table
            .get(&dir)
            .and_then(|node| node.directory());
        let inner = &self.workspace.inner;
        let moves = inner.entries.moves();
        let mut of_base = None;
        if changed.is_none_or(|directory| directory.lower) {
            let mut entries = inner.list(dir)?;
            entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            let names = entries.iter().map(|(name, kind)| (name.as_str(), *kind));
            let told = pins::listing_digest(names, origin);
            of_base = Some((entries, told));
        }
        let shown = of_base.iter().flat_map(|(entries, _)| entries);
        let mut shown = shown
            .map(|(name, kind)| Ok((name.as_str(), node_kind(*kind)?)))
            .collect::<Result<Vec<_>, FsError>>()?;
        if let Some(directory) = changed {
            let mut merged: BTreeMap<_, _> = shown.into_iter().collect();
            for (name, binding) in &directory.bindings {
                match binding.now.and_then(|inode| self.nodes.get(&inode)) {
                    Some(node) => merged.insert(name, node.kind()),
                    None => merged.remove(name.as_ref()),
                };
            }
            shown = merged.into_iter().collect();
        }
        let entries = shown.into_iter().map(|(name, kind)| DirEntry {
            name: name.to_owned(),
            kind,
        });
        let entries = entries.collect();
        if let Some((of_base, told)) = of_base {
            self.pins.listing(dir, told);
            self.paths.list(dir, of_base, moves);
        }
        if self.origin.table.contains_key(&dir) {
            self.pins.derive(dir, Aspect::Listing);
        }
        Ok(entries)
    }

    /// Tells whether directories still are where they were.
    pub fn layout(&self) -> Layout {
        Layout {
            own: self.moves,
            base: self.workspace.inner.entries.moves(),
        }
    }

    /// Keeps a node usable after its last name is removed, until it is released as often
    /// as it was held.
    pub fn hold(&mut self, node: Inode) {
        self.holds.entry(node).or_default().count += 1;
    }

    /// Ends one hold.
    pub fn release(&mut self, node: Inode) {
        let Some(hold) = self.holds.get_mut(&node) else {
            return;
        };
        hold.count -= 1;
        if hold.count == 0 {
            self.holds.remove(&node);
            self.forget_if_unlinked(node);
        }
    }

    /// What the unverified changes along this branch's path hold.
    pub fn usage(&self) -> DeltaUsage {
        let (_, verified) = self.parent.unverified();
        DeltaUsage {
            bytes: self.usage.bytes.saturating_sub(verified.usage.bytes),
            nodes: self.usage.nodes.saturating_sub(verified.usage.nodes),
        }
    }

    /// Takes every change back; what was seen of the base stays seen, because whoever saw it
    /// may tell of it.
    pub fn revert(&mut self) {
        *self.nodes = self.origin.table.clone();
        self.usage = self.parent.usage;
        self.moves += 1;
        self.holds.clear();
    }

    /// Nodes in this branch's table: what it shows otherwise than the base does.
    pub fn nodes_held(&self) -> usize {
        self.nodes.len()
    }

    /// Ends the branch: the new version, and its net changes against the one it was
    /// branched from. What was unlinked and is still held is dropped.
    ///
    /// # Errors
    /// [`FsError::Changed`] if another session's commit took away a directory that was
    /// changed here; [`FsError::NameTooLong`] if something was changed so deep that no
    /// kernel would open its path.
    pub fn freeze(mut self) -> Result<(Snapshot, Delta), FsError> {
        for node in std::mem::take(&mut self.holds).into_keys() {
            self.forget_if_unlinked(node);
        }
        let (chain, verified) = self.parent.unverified();
        let lineage = Arc::new(Lineage::child(
            &self.parent,
            self.origin,
            self.nodes.table,
            self.usage,
            (self.pins, self.seen),
            Arc::downgrade(&self.workspace.inner),
        ));
        let delta = net::delta(
            &self.workspace,
            &lineage.reads.origin,
            &lineage.table,
            lineage.seen(),
            (&chain, verified.seen()),
            Arc::clone(&lineage),
            Some(Arc::clone(&lineage.reads)),
        )?;
        Ok((Snapshot::new(self.workspace, lineage), delta))
    }

    /// Like [`Branch::lookup`], with `None` for a name that nothing visible has.
    fn find(&mut self, dir: Inode, name: &str) -> Result<Option<Inode>, FsError> {
        name::check(name)?;
        if let Some(now) = self.bound(dir, name)? {
            self.pin_derived(dir, name, now);
            return Ok(now);
        }
        if let Some((known, _)) = self.recall(dir, name) {
            return Ok(Some(known.node));
        }
        let step = self.search(dir, name, Fresh::No)?;
        if let Some(step) = &step {
            self.remember(dir, name, dir, step);
        }
        Ok(step.map(|step| step.node))
    }

    /// Looks a name up, in the base by a safe resolution if no listing had it.
    fn search(&mut self, dir: Inode, name: &str, fresh: Fresh) -> Result<Option<Step>, FsError> {
        name::check(name)?;
        if name::is_masked(name) {
            return self.directory(dir).map(|_| None);
        }
        if let Some(now) = self.bound(dir, name)? {
            self.pin_derived(dir, name, now);
            let Some(node) = now else { return Ok(None) };
            let kind = self.kind_of(node)?;
            let found = None;
            return Ok(Some(Step { node, kind, found }));
        }
        self.make_room(dir)?;
        if fresh == Fresh::No
            && let Some((node, kind)) = self.listed(dir, name)
        {
            let found = None;
            return Ok(Some(Step { node, kind, found }));
        }
        // As in the base: one look, and another only to tell why there is nothing.
        let found = self.workspace.inner.lookup(dir, name)?;
        let Some(found) = found else {
            self.directory(dir)?;
            self.pins.name(dir, name, None);
            return Ok(None);
        };
        let kind = found.glance.version.kind;
        self.pins.name(dir, name, Some((kind, found.node)));
        Ok(Some(Step {
            node: found.node,
            kind: node_kind(kind)?,
            found: Some(found),
        }))
    }

    /// What the table says of a name: nothing, or what has it, if anything has.
    fn bound(&self, dir: Inode, name: &str) -> Result<Option<Option<Inode>>, FsError> {
        let Some(node) = self.nodes.get(&dir) else {
            return Ok(None);
        };
        if node.links.is_empty() && dir != Inode::ROOT {
            return Err(FsError::NotFound);
        }
        let directory = node.directory().ok_or(FsError::NotADirectory)?;
        Ok(match directory.bindings.get(name) {
            Some(binding) => Some(binding.now),
            None if directory.lower => None,
            None => Some(None),
        })
    }

    /// Pins what the table said of a name, if that is what the origin says.
    fn pin_derived(&mut self, dir: Inode, name: &str, now: Option<Inode>) {
        let Some(origin) = self
            .origin
            .table
            .get(&dir)
            .and_then(|node| node.directory())
        else {
            return;
        };
        let binding = origin.bindings.get(name);
        let same = match binding {
            Some(binding) => binding.now == now,
            None => !origin.lower && now.is_none(),
        };
        if !same {
            return;
        }
        let kind = now
            .and_then(|now| self.origin.table.get(&now))
            .map(|node| node.kind());
        match (kind, now) {
            _ if self.pins.is_full() => self.pins.derive(dir, Aspect::Listing),
            (Some(kind), Some(now)) => self.pins.name(dir, name, Some((kind.into(), now))),
            (None, None) => self.pins.name(dir, name, None),
            _ => {}
        }
    }

    /// Pins what was told of a node in the table, if the origin holds the same node.
    fn derive(&mut self, node: Inode, aspect: Aspect) {
        let origin = self.origin.table.get(&node);
        if origin.is_some() && origin == self.nodes.get(&node) {
            self.pins.derive(node, aspect);
        }
    }

    /// Surveys a base directory before the first look into it that no pin is left for.
    fn make_room(&mut self, dir: Inode) -> Result<(), FsError> {
        if !self.pins.is_full() || self.pins.is_surveyed(dir) {
            return Ok(());
        }
        if self.pins.surveys() >= SURVEYS_MAX {
            return Err(FsError::Quota);
        }
        let origin = self
            .origin
            .table
            .get(&dir)
            .and_then(|node| node.directory());
        if origin.is_some() {
            self.pins.derive(dir, Aspect::Listing);
        }
        let shows_base = origin.is_none_or(|origin| origin.lower);
        if shows_base && self.workspace.inner.entries.path(dir).is_some() {
            let survey = pins::survey(&self.workspace.inner, dir, origin)?;
            self.pins.survey(dir, survey);
        }
        Ok(())
    }

    /// As [`Branch::make_room`], of the directory that a base object lies in.
    fn make_room_beside(&mut self, node: Inode) -> Result<(), FsError> {
        if !self.pins.is_full() {
            return Ok(());
        }
        match self.workspace.inner.entries.place(node) {
            Some(place) => self.make_room(place.directory),
            None => Ok(()),
        }
    }

    /// The changed entries of a directory; `None` for one that is as in the base.
    fn directory(&self, dir: Inode) -> Result<Option<&Directory>, FsError> {
        match self.nodes.get(&dir) {
            Some(node) if node.links.is_empty() && dir != Inode::ROOT => Err(FsError::NotFound),
            Some(node) => node.directory().map(Some).ok_or(FsError::NotADirectory),
            None if dir == Inode::ROOT => Ok(None),
            None => match Version::of(&self.workspace.inner.stat(dir)?).kind {
                ObjectKind::Directory => Ok(None),
                _ => Err(FsError::NotADirectory),
            },
        }
    }

    fn kind_of(&self, node: Inode) -> Result<NodeKind, FsError> {
        match self.nodes.get(&node) {
            Some(node) => Ok(node.kind()),
            None => node_kind(Version::of(&self.workspace.inner.stat(node)?).kind),
        }
    }

    fn node(&self, node: Inode) -> Option<&Node> {
        self.nodes.get(&node).map(|node| &**node)
    }

    pub(crate) fn node_mut(&mut self, node: Inode) -> Option<&mut Node> {
        self.nodes.get_mut(&node).map(|node| node.make_mut())
    }
}

/// How a node is open.
#[derive(Default)]
struct Hold {
    /// How often.
    count: u32,
    /// For reading, if it is a file of the base.
    file: Option<OpenFile>,
}

/// A branch's table, and how often it may have been changed.
struct Changing {
    table: Table,
    changes: u64,
}

impl Changing {
    fn changes(&self) -> u64 {
        self.changes
    }
}

impl From<Table> for Changing {
    fn from(table: Table) -> Changing {
        Changing { table, changes: 0 }
    }
}

impl Deref for Changing {
    type Target = Table;
    fn deref(&self) -> &Table {
        &self.table
    }
}

impl DerefMut for Changing {
    fn deref_mut(&mut self) -> &mut Table {
        self.changes += 1;
        &mut self.table
    }
}

fn of_base(glance: &Glance) -> Result<Metadata, FsError> {
    let version = glance.version;
    let kind = node_kind(version.kind)?;
    let is_directory = kind == NodeKind::Directory;
    Ok(Metadata {
        kind,
        size: if is_directory { 0 } else { version.size },
        nlink: if is_directory { 1 } else { glance.links },
        modified: version.modified,
        accessed: glance.accessed,
        mode: version.mode,
    })
}

fn node_kind(kind: ObjectKind) -> Result<NodeKind, FsError> {
    match kind {
        ObjectKind::File => Ok(NodeKind::File),
        ObjectKind::Directory => Ok(NodeKind::Directory),
        ObjectKind::Symlink => Ok(NodeKind::Symlink),
        ObjectKind::Special => Err(FsError::NotFound),
    }
}
