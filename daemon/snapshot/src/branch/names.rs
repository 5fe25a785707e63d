//! Operations on names: create, link, unlink, rename. Errors are those of Linux, in the
//! order in which Linux finds them.

use super::{Branch, FsError};
use crate::content::Content;
use crate::name;
use crate::node::{Body, Directory, Inode, NodeKind};

impl Branch {
    /// A new, empty file.
    ///
    /// # Errors
    /// [`FsError::Exists`], [`FsError::NotPermitted`] for a reserved or hidden name,
    /// [`FsError::Quota`].
    pub fn create_file(&mut self, dir: Inode, name: &str) -> Result<Inode, FsError> {
        self.create_in(dir, name, Body::File(Content::default()), 0)
    }

    /// A new, empty directory.
    ///
    /// # Errors
    /// As [`Branch::create_file`].
    pub fn create_dir(&mut self, dir: Inode, name: &str) -> Result<Inode, FsError> {
        self.create_in(dir, name, Body::Directory(Directory::default()), 0)
    }

    /// A new symbolic link. Its target is text; where it leads is checked by nobody.
    ///
    /// # Errors
    /// As [`Branch::create_file`]; [`FsError::InvalidName`] for an empty target.
    pub fn symlink(&mut self, dir: Inode, name: &str, target: &str) -> Result<Inode, FsError> {
        name::check_target(target)?;
        self.create_in(dir, name, Body::Symlink(target.into()), target.len() as u64)
    }

    /// One more name for a file. A base file is copied up. A symbolic link gets a twin
    /// instead: nothing but its times could tell the two from one.
    ///
    /// # Errors
    /// [`FsError::NotPermitted`] for a directory; else as [`Branch::create_file`].
    pub fn link(&mut self, node: Inode, dir: Inode, name: &str) -> Result<(), FsError> {
        let kind = self.kind_of(node)?;
        self.check_free(dir, name)?;
        match kind {
            NodeKind::Directory => return Err(FsError::NotPermitted),
            NodeKind::File => {
                let is_raised = self
                    .node(node)
                    .is_some_and(|node| matches!(node.body, Body::File(_)));
                let file = self.raise_content(node, 0, false)?;
                // A placed file is a new one, but this one has the same content.
                file.times.explicit |= !is_raised;
            }
            NodeKind::Symlink => {
                let target = self.read_link(node)?;
                return self.symlink(dir, name, &target).map(drop);
            }
        }
        if self.node(node).is_none_or(|node| node.links.is_empty()) {
            return Err(FsError::NotFound);
        }
        self.raise_directory(dir)?;
        self.charge(0, 1)?;
        self.bind(node, dir, name)
    }

    /// Removes a name of a file or a link.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::IsADirectory`].
    pub fn unlink(&mut self, dir: Inode, name: &str) -> Result<(), FsError> {
        let node = self.lookup(dir, name)?;
        if self.kind_of(node)? == NodeKind::Directory {
            return Err(FsError::IsADirectory);
        }
        self.remove(node, dir, name)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::NotADirectory`], [`FsError::NotEmpty`]; the
    /// last also for a directory whose entries are hidden.
    pub fn rmdir(&mut self, dir: Inode, name: &str) -> Result<(), FsError> {
        let node = self.lookup(dir, name)?;
        if self.kind_of(node)? != NodeKind::Directory {
            return Err(FsError::NotADirectory);
        }
        if !self.is_empty(node)? {
            return Err(FsError::NotEmpty);
        }
        self.remove(node, dir, name)
    }

    /// Moves a name, over an existing one if that is of the same sort. A directory of
    /// any size is moved in O(1). A file that this branch made and that replaces one inherits
    /// its mode, so that saving by rename keeps a script executable.
    ///
    /// # Errors
    /// As `rename(2)`; [`FsError::NotPermitted`] also if the source contains a hidden
    /// directory of the daemon.
    pub fn rename(
        &mut self,
        from_dir: Inode,
        from: &str,
        to_dir: Inode,
        to: &str,
    ) -> Result<(), FsError> {
        name::check(to)?;
        let source = self.lookup(from_dir, from)?;
        let target = self.find(to_dir, to)?;
        if target.is_none() {
            self.check_free(to_dir, to)?;
        }
        if self.is_within(to_dir, source) {
            return Err(FsError::InvalidArgument);
        }
        if target.is_some_and(|target| self.is_within(from_dir, target)) {
            return Err(FsError::NotEmpty);
        }
        if target == Some(source) {
            return Ok(());
        }
        let kind = self.kind_of(source)?;
        if let Some(target) = target {
            match (kind, self.kind_of(target)?) {
                (NodeKind::Directory, NodeKind::Directory) if !self.is_empty(target)? => {
                    return Err(FsError::NotEmpty);
                }
                (NodeKind::Directory, NodeKind::Directory) => {}
                (NodeKind::Directory, _) => return Err(FsError::NotADirectory),
                (_, NodeKind::Directory) => return Err(FsError::IsADirectory),
                _ => {}
            }
        }
        if self.workspace.inner.contains_mask(source) {
            return Err(FsError::NotPermitted);
        }

        self.raise(source)?;
        self.raise_directory(from_dir)?;
        self.raise_directory(to_dir)?;
        self.check_room(0, 2)?;
        let mut inherited = None;
        if let Some(target) = target {
            let (replaced, _) = self.attributes(target)?;
            if replaced.kind == NodeKind::File && kind == NodeKind::File {
                inherited = Some(replaced.mode);
            }
            self.remove(target, to_dir, to)?;
        }
        self.unbind(source, from_dir, from)?;
        self.bind(source, to_dir, to)?;
        if let Some(node) = self.nodes.get_mut(&source)
            && node.created
            && !self.origin.table.contains_key(&source)
            && inherited.is_some()
        {
            node.make_mut().mode = inherited;
        }
        Ok(())
    }

    fn create_in(
        &mut self,
        dir: Inode,
        name: &str,
        body: Body,
        bytes: u64,
    ) -> Result<Inode, FsError> {
        self.check_free(dir, name)?;
        self.raise_directory(dir)?;
        self.charge(bytes, 1)?;
        let node = self.create(body);
        self.bind(node, dir, name)?;
        Ok(node)
    }

    /// Whether a name can be given to something.
    pub(crate) fn check_free(&mut self, dir: Inode, name: &str) -> Result<(), FsError> {
        if self.find(dir, name)?.is_some() {
            return Err(FsError::Exists);
        }
        let changed = self.directory(dir)?;
        let is_bound = changed.is_some_and(|directory| directory.bindings.contains_key(name));
        let lower = changed.is_none_or(|directory| directory.lower);
        let hidden = name::is_masked(name)
            || (!is_bound && lower && self.workspace.inner.is_taken(dir, name)?);
        if hidden {
            return Err(FsError::NotPermitted);
        }
        Ok(())
    }

    /// Whether a directory has no entries, hidden ones included.
    fn is_empty(&mut self, dir: Inode) -> Result<bool, FsError> {
        if !self.list(dir)?.is_empty() {
            return Ok(false);
        }
        let changed = self.directory(dir)?;
        if changed.is_some_and(|directory| !directory.lower) {
            return Ok(true);
        }
        let names = self.workspace.inner.raw_names(dir)?;
        Ok(names.iter().all(|raw| {
            std::str::from_utf8(raw).is_ok_and(|name| {
                changed.is_some_and(|directory| directory.bindings.contains_key(name))
            })
        }))
    }

    /// Whether `dir` is `node` or lies below it.
    fn is_within(&self, dir: Inode, node: Inode) -> bool {
        let mut at = dir;
        loop {
            if at == node {
                return true;
            }
            let above = match self.nodes.get(&at) {
                Some(changed) => changed.links.first().map(|link| link.directory),
                None => self
                    .workspace
                    .inner
                    .entries
                    .place(at)
                    .map(|link| link.directory),
            };
            match above {
                Some(above) if at != Inode::ROOT => at = above,
                _ => return false,
            }
        }
    }
}
