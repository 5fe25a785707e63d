//! Operations on what a node holds: bytes, link target, times.

use super::{Branch, FsError};
use crate::content::CHUNK_BYTES;
use crate::node::{Body, Inode, Node, NodeKind, Times};
use crate::pins::Aspect;
use crate::version::{Timestamp, Version};
use std::sync::Arc;

/// Longest file, as `off_t` has it.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

impl Branch {
    /// Reads at an offset; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// [`FsError::IsADirectory`]; [`FsError::Changed`] if a base file does not hold still,
    /// or is another than when it was first changed here.
    pub fn read(&mut self, file: Inode, offset: u64, buf: &mut [u8]) -> Result<usize, FsError> {
        match self.node(file).map(|node| &node.body) {
            Some(Body::File(content)) => {
                let count = content.read(offset, buf)?;
                self.derive(file, Aspect::Content);
                return Ok(count);
            }
            Some(Body::Directory(_)) => return Err(FsError::IsADirectory),
            Some(Body::Symlink(_)) => return Err(FsError::InvalidArgument),
            Some(Body::BaseFile) | None => {}
        }
        if offset > FILE_BYTES_MAX {
            return Ok(0);
        }
        match self.read_base(file, offset, buf) {
            Ok(count) => Ok(count),
            Err(FsError::NotFound) if self.kind_of(file)? == NodeKind::Symlink => {
                Err(FsError::InvalidArgument)
            }
            Err(FsError::Io(error)) if error.raw_os_error() == Some(ISDIR) => {
                Err(FsError::IsADirectory)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes at an offset, all of it or nothing. What lies between the end of the file
    /// and the offset becomes a hole.
    ///
    /// # Errors
    /// [`FsError::Quota`], also if there is no room left on the disk;
    /// [`FsError::TooLarge`], [`FsError::IsADirectory`], [`FsError::Changed`].
    pub fn write(&mut self, file: Inode, offset: u64, data: &[u8]) -> Result<(), FsError> {
        let end = offset
            .checked_add(data.len() as u64)
            .filter(|end| *end <= FILE_BYTES_MAX)
            .ok_or(FsError::TooLarge)?;
        let len = self.file_len(file)?;
        if data.is_empty() {
            return Ok(());
        }
        let growth = end.saturating_sub(len);
        let now = self.now;
        let store = Arc::clone(&self.workspace.inner.chunks);
        let node = self.raise_content(file, growth, false)?;
        let written = match &mut node.body {
            Body::File(content) => content.write(&store, offset, data),
            _ => Ok(()),
        };
        match written {
            Ok(()) => touch(node, now),
            Err(_) => self.usage.bytes = self.usage.bytes.saturating_sub(growth),
        }
        written
    }

    /// Writes at the end of the file; returns the offset at which the data begins.
    ///
    /// # Errors
    /// As [`Branch::write`].
    pub fn append(&mut self, file: Inode, data: &[u8]) -> Result<u64, FsError> {
        let end = self.file_len(file)?;
        self.write(file, end, data)?;
        Ok(end)
    }

    /// Cuts a file, or extends it by a hole.
    ///
    /// # Errors
    /// As [`Branch::write`].
    pub fn set_len(&mut self, file: Inode, len: u64) -> Result<(), FsError> {
        if len > FILE_BYTES_MAX {
            return Err(FsError::TooLarge);
        }
        let discard = len == 0;
        let old = self.file_len(file)?;
        let now = self.now;
        let node = self.raise_content(file, len.saturating_sub(old), discard)?;
        let mut freed = 0;
        if let Body::File(content) = &mut node.body {
            // Only cutting can fail, and that was charged with nothing.
            let cut = content.len().saturating_sub(len);
            content.set_len(len)?;
            freed = cut;
        }
        touch(node, now);
        self.usage.bytes = self.usage.bytes.saturating_sub(freed);
        Ok(())
    }

    /// Sets times; `None` leaves one as it is. Such times are part of the delta.
    ///
    /// # Errors
    /// [`FsError::NotFound`], [`FsError::Quota`].
    pub fn set_times(
        &mut self,
        node: Inode,
        accessed: Option<Timestamp>,
        modified: Option<Timestamp>,
    ) -> Result<(), FsError> {
        match self.kind_of(node)? {
            // A placed file is a new one: its content has to come along.
            NodeKind::File => self.raise_content(node, 0, false).map(|_| ())?,
            _ => self.raise(node)?,
        }
        let changed = self.nodes.get_mut(&node).ok_or(FsError::NotFound)?;
        let times = &mut changed.make_mut().times;
        *times = Times {
            accessed: accessed.unwrap_or(times.accessed),
            modified: modified.unwrap_or(times.modified),
            explicit: true,
        };
        Ok(())
    }

    /// The target of a link, as it was written.
    ///
    /// # Errors
    /// [`FsError::InvalidArgument`] if the node is no link.
    pub fn read_link(&mut self, node: Inode) -> Result<String, FsError> {
        match self.node(node).map(|node| &node.body) {
            Some(Body::Symlink(target)) => {
                let target = target.to_string();
                self.derive(node, Aspect::Target);
                Ok(target)
            }
            Some(_) => Err(FsError::InvalidArgument),
            None => {
                self.make_room_beside(node)?;
                let target = self.workspace.inner.read_link(node)?;
                self.pins.target(node, &target);
                Ok(target)
            }
        }
    }

    /// Reads a base file, and pins the chunks that were read.
    fn read_base(&mut self, file: Inode, offset: u64, buf: &mut [u8]) -> Result<usize, FsError> {
        self.make_room_beside(file)?;
        let inner = Arc::clone(&self.workspace.inner);
        let end = offset.saturating_add(buf.len() as u64);
        let wanted = offset / CHUNK_BYTES..end.div_ceil(CHUNK_BYTES);
        if buf.is_empty() || self.pins.has_chunks(file, wanted.clone()).is_some() {
            let (count, version) = inner.read(file, offset, buf)?;
            if buf.is_empty() || self.pins.has_chunks(file, wanted.clone()) == Some(version) {
                return Ok(count);
            }
        }
        // Never more than the file has, whatever was asked for.
        let size = Version::of(&inner.stat(file)?).size;
        let start = wanted.start * CHUNK_BYTES;
        let last = wanted.end.min(size / CHUNK_BYTES + 1).max(wanted.start + 1);
        let mut chunks = vec![0; ((last - wanted.start) * CHUNK_BYTES) as usize];
        let (count, version) = inner.read(file, start, &mut chunks)?;
        for (index, chunk) in (wanted.start..).zip(chunks.chunks(CHUNK_BYTES as usize)) {
            let begin = (index - wanted.start) * CHUNK_BYTES;
            let len = (count as u64).saturating_sub(begin).min(CHUNK_BYTES);
            self.pins
                .chunk(file, version, index, &chunk[..len as usize]);
        }
        if !self.pins.is_full() {
            self.see(file, version, None, None);
        }
        let skipped = (offset - start) as usize;
        let told = count.saturating_sub(skipped).min(buf.len());
        buf[..told].copy_from_slice(&chunks[skipped..skipped + told]);
        Ok(told)
    }

    fn file_len(&self, file: Inode) -> Result<u64, FsError> {
        if let Some(Body::File(content)) = self.node(file).map(|node| &node.body) {
            return Ok(content.len());
        }
        let (metadata, _) = self.attributes(file)?;
        match metadata.kind {
            NodeKind::File => Ok(metadata.size),
            NodeKind::Directory => Err(FsError::IsADirectory),
            NodeKind::Symlink => Err(FsError::InvalidArgument),
        }
    }
}

/// `EISDIR` on Linux.
const ISDIR: i32 = 21;

/// A change of the content takes back times that were set before.
fn touch(node: &mut Node, now: Timestamp) {
    node.times = Times {
        accessed: node.times.accessed,
        modified: now,
        explicit: false,
    };
}
