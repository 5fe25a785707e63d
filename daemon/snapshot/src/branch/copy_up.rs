//! Copy-up: the first change of a base object, and remembering what it was.

use super::{Branch, FsError};
use crate::content::Content;
use crate::node::{Binding, Body, Directory, Inode, Link, Node, NodeKind, NodeRef, Times};
use crate::pins::is_racy;
use crate::seen::Seen;
use crate::version::{ObjectKind, Timestamp, Version};
use forerun_types::Digest;
use rustix::fs::Stat;
use std::sync::Arc;

/// Largest file that is read for its digest when it is removed unread; a larger one is
/// recognised by its attributes. Stops `rm` of a disk image from reading all of it.
const REMOVAL_DIGEST_BYTES_MAX: u64 = 64 << 20;
/// Largest file whose previous content is kept for showing what changed.
const RETAINED_FILE_BYTES_MAX: u64 = 1 << 20;
/// All previous contents that one branch keeps; stops a tool that touches everything.
const RETAINED_BYTES_MAX: u64 = 16 << 20;

impl Branch {
    /// Remembers the first look at a base object.
    pub(super) fn see(
        &mut self,
        entry: Inode,
        version: Version,
        digest: Option<Digest>,
        content: Option<&Content>,
    ) {
        let fits = |content: &&Content| {
            content.stored_bytes() <= RETAINED_FILE_BYTES_MAX
                && self.retained + content.stored_bytes() <= RETAINED_BYTES_MAX
        };
        let content = content.filter(fits).cloned();
        let kept = content.as_ref().map_or(0, Content::stored_bytes);
        let seen = self.seen.entry(entry).or_insert(Seen {
            version,
            racy: is_racy(&version),
            digest: None,
            content: None,
        });
        if seen.version == version && seen.digest.is_none() {
            seen.digest = digest;
            if content.is_some() {
                seen.content = content;
                self.retained += kept;
            }
        }
    }

    /// Remembers a base object that is about to lose its name.
    pub(super) fn see_removed(&mut self, entry: Inode) -> Result<(), FsError> {
        let inner = Arc::clone(&self.workspace.inner);
        let version = Version::of(&inner.stat(entry)?);
        match version.kind {
            ObjectKind::File if version.size <= RETAINED_FILE_BYTES_MAX => {
                let (content, version, digest) = inner.load(entry, RETAINED_FILE_BYTES_MAX)?;
                self.see(entry, version, Some(digest), Some(&content));
            }
            ObjectKind::File if version.size <= REMOVAL_DIGEST_BYTES_MAX => {
                let (version, digest) = inner.digest(entry)?;
                self.see(entry, version, Some(digest), None);
            }
            ObjectKind::Symlink => {
                let target = inner.read_link(entry)?;
                self.see(entry, version, Some(Digest::of(target)), None);
            }
            _ => self.see(entry, version, None, None),
        }
        Ok(())
    }

    /// Makes room for a node.
    pub(super) fn charge(&mut self, bytes: u64, nodes: u64) -> Result<(), FsError> {
        self.check_room(bytes, nodes)?;
        self.usage.bytes += bytes;
        self.usage.nodes += nodes;
        Ok(())
    }

    /// Whether the quota leaves room.
    pub(super) fn check_room(&self, bytes: u64, nodes: u64) -> Result<(), FsError> {
        let used = self.usage();
        if used.bytes.saturating_add(bytes) > self.quota.bytes
            || used.nodes.saturating_add(nodes) > self.quota.nodes
        {
            return Err(FsError::Quota);
        }
        Ok(())
    }

    /// Puts a node for a base directory, and for all directories above it, into the
    /// table.
    pub(crate) fn raise_directory(&mut self, dir: Inode) -> Result<(), FsError> {
        if self.directory(dir)?.is_some() {
            return Ok(());
        }
        let stat = self.workspace.inner.stat(dir)?;
        let links = match dir {
            Inode::ROOT => Vec::new(),
            _ => {
                self.see(dir, Version::of(&stat), None, None);
                self.raise_binding(dir)?
            }
        };
        self.charge(0, 1)?;
        let directory = Directory {
            lower: true,
            ..Directory::default()
        };
        let body = Body::Directory(directory);
        self.insert_base(dir, &stat, links, body);
        Ok(())
    }

    /// Puts a node for a base link into the table.
    pub(super) fn raise_symlink(&mut self, node: Inode) -> Result<(), FsError> {
        if self.nodes.contains_key(&node) {
            return Ok(());
        }
        let inner = Arc::clone(&self.workspace.inner);
        let stat = inner.stat(node)?;
        let target = inner.read_link(node)?;
        let links = self.raise_binding(node)?;
        self.charge(target.len() as u64, links.len() as u64)?;
        self.see(node, Version::of(&stat), Some(Digest::of(&target)), None);
        self.insert_base(node, &stat, links, Body::Symlink(target.into()));
        Ok(())
    }

    /// Puts a node for a base file into the table, its content still in the base.
    pub(super) fn raise_file(&mut self, node: Inode) -> Result<(), FsError> {
        let raised = self.node(node).map(|node| &node.body);
        if raised.is_some_and(|body| !matches!(body, Body::BaseFile)) {
            return Ok(());
        }
        let is_raised = raised.is_some();
        let stat = self.workspace.inner.stat(node)?;
        if is_raised {
            // Those who looked at it before may be in the base by now.
            self.see(node, Version::of(&stat), None, None);
            return Ok(());
        }
        let links = self.raise_binding(node)?;
        self.charge(0, links.len() as u64)?;
        self.see(node, Version::of(&stat), None, None);
        self.insert_base(node, &stat, links, Body::BaseFile);
        Ok(())
    }

    /// Puts a node of any kind into the table. A file of several names comes with its
    /// content: one of them alone can not be moved in the base.
    pub(crate) fn raise(&mut self, node: Inode) -> Result<(), FsError> {
        match self.kind_of(node)? {
            NodeKind::File if self.workspace.inner.entries.has_several(node) => {
                self.raise_content(node, 0, false).map(|_| ())
            }
            NodeKind::File => self.raise_file(node),
            NodeKind::Directory => self.raise_directory(node),
            NodeKind::Symlink => self.raise_symlink(node),
        }
    }

    /// A file's content for changing, with room for `growth` more bytes. `discard` if
    /// the old content is of no interest.
    pub(super) fn raise_content(
        &mut self,
        file: Inode,
        growth: u64,
        discard: bool,
    ) -> Result<&mut Node, FsError> {
        match self.kind_of(file)? {
            NodeKind::File => {}
            NodeKind::Directory => return Err(FsError::IsADirectory),
            NodeKind::Symlink => return Err(FsError::InvalidArgument),
        }
        if let Some(Body::File(_)) = self.node(file).map(|node| &node.body) {
            self.charge(growth, 0)?;
        } else {
            let inner = Arc::clone(&self.workspace.inner);
            let size = Version::of(&inner.stat(file)?).size;
            let wanted = growth.saturating_add(if discard { 0 } else { size });
            let used = self.usage();
            if used.bytes.saturating_add(wanted) > self.quota.bytes {
                return Err(FsError::Quota);
            }
            let content = if discard && size > RETAINED_FILE_BYTES_MAX {
                let (version, digest) = inner.digest(file)?;
                self.see(file, version, Some(digest), None);
                Content::default()
            } else {
                let room = match discard {
                    true => u64::MAX,
                    false => self.quota.bytes - used.bytes,
                };
                let content = self.base_content(file, room)?;
                if discard { Content::default() } else { content }
            };
            self.raise_file(file)?;
            self.charge(content.len().saturating_add(growth), 0)?;
            if let Some(node) = self.nodes.get_mut(&file) {
                node.make_mut().body = Body::File(content);
            }
        }
        let node = self.nodes.get_mut(&file).ok_or(FsError::NotFound)?;
        Ok(node.make_mut())
    }

    /// A base file's content as it is now, if it is not longer than `bytes_max`.
    fn base_content(&mut self, file: Inode, bytes_max: u64) -> Result<Content, FsError> {
        let inner = &self.workspace.inner;
        let (content, version, digest) = inner.content(file, bytes_max)?;
        self.see(file, version, digest, Some(&content));
        Ok(content)
    }

    /// A file's content, for putting a difference on it.
    pub(crate) fn content(&mut self, file: Inode) -> Result<Content, FsError> {
        match self.node(file).map(|node| &node.body) {
            Some(Body::File(content)) => Ok(content.clone()),
            Some(Body::BaseFile) | None => self.base_content(file, u64::MAX),
            Some(Body::Directory(_) | Body::Symlink(_)) => Err(FsError::InvalidArgument),
        }
    }

    /// Gives a file another content.
    pub(crate) fn set_content(&mut self, file: Inode, content: &Content) -> Result<(), FsError> {
        self.set_len(file, 0)?;
        let content = content.adopted(&self.workspace.inner.chunks)?;
        let node = self.raise_content(file, content.len(), true)?;
        node.body = Body::File(content);
        Ok(())
    }

    /// Binds a base object in its directory, so that it keeps its name here whatever
    /// happens to the base; one that a commit placed under several names under each that
    /// it still has. Returns the links, or an error if the object lost its name.
    fn raise_binding(&mut self, entry: Inode) -> Result<Vec<Link>, FsError> {
        let inner = Arc::clone(&self.workspace.inner);
        let mut links = inner.entries.links(entry);
        if links.len() > 1 {
            links.retain(|link| inner.is_linked(entry, link).unwrap_or(false));
        }
        let mut bound = Vec::new();
        for link in links {
            match self.raise_directory(link.directory) {
                // The name went with its directory.
                Err(FsError::NotFound) => continue,
                other => other?,
            }
            let own = Binding {
                covers: Some(entry),
                now: Some(entry),
            };
            let directory = self.directory_mut(link.directory)?;
            let binding = directory
                .bindings
                .entry(Arc::clone(&link.name))
                .or_insert(own);
            if binding.now == Some(entry) {
                bound.push(link);
            }
        }
        match bound.is_empty() {
            true => Err(FsError::NotFound),
            false => Ok(bound),
        }
    }

    /// The entries of a directory that is in the table.
    pub(super) fn directory_mut(&mut self, dir: Inode) -> Result<&mut Directory, FsError> {
        let node = self.nodes.get_mut(&dir).ok_or(FsError::NotFound)?;
        match &mut node.make_mut().body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(FsError::NotADirectory),
        }
    }

    fn insert_base(&mut self, node: Inode, stat: &Stat, links: Vec<Link>, body: Body) {
        let version = Version::of(stat);
        let changed = Node {
            links,
            body,
            times: Times {
                accessed: Timestamp::from_parts(stat.st_atime, stat.st_atime_nsec as i64),
                modified: version.modified,
                explicit: false,
            },
            mode: Some(version.mode),
            created: false,
        };
        self.nodes.insert(node, NodeRef::new(changed));
    }
}
