//! Operations on what a node holds: bytes, link target, times.

use super::{Branch, FsError};
use crate::base::Glance;
use crate::content::CHUNK_BYTES;
use crate::node::{Body, Inode, Node, NodeKind, Times};
use crate::pins::Aspect;
use crate::version::{Timestamp, Version};
use std::ops::Range;
use std::sync::Arc;

/// Longest file, as `off_t` has it.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// How often a read is tried again when the file grows under it.
const GROWTH_ATTEMPTS: usize = 3;

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

    /// Opens a base file for reading, for as long as the node is held: it is read as it is
    /// now, whatever has its name later. Only makes reading faster, and of no use for what
    /// was changed here.
    ///
    /// # Errors
    /// [`FsError::NotFound`] if the base lost it.
    pub fn open(&mut self, file: Inode) -> Result<(), FsError> {
        let is_of_base = self
            .node(file)
            .is_none_or(|node| matches!(node.body, Body::BaseFile));
        let Some(hold) = self.holds.get_mut(&file).filter(|_| is_of_base) else {
            return Ok(());
        };
        match self.workspace.inner.open(file) {
            Ok(opened) => hold.file = opened,
            Err(error) => {
                // It was there when it was looked up.
                if matches!(error, FsError::NotFound) {
                    self.pins.tear(file, None);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// What a base object is; an open file as it was when it was opened, or read last.
    pub(super) fn glance(&self, node: Inode) -> Result<Glance, FsError> {
        let opened = self.holds.get(&node).and_then(|hold| hold.file.as_ref());
        match opened {
            Some(opened) => Ok(opened.glance()),
            None => Ok(Glance::of(&self.workspace.inner.stat(node)?)),
        }
    }

    fn read_now(
        &mut self,
        file: Inode,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<(usize, Version), FsError> {
        let opened = self
            .holds
            .get_mut(&file)
            .and_then(|hold| hold.file.as_mut());
        match opened {
            Some(opened) => opened.read(offset, buf),
            None => self.workspace.inner.read(file, offset, buf),
        }
    }

    /// Reads a base file, and pins the chunks that were read.
    fn read_base(&mut self, file: Inode, offset: u64, buf: &mut [u8]) -> Result<usize, FsError> {
        self.make_room_beside(file)?;
        let end = offset.saturating_add(buf.len() as u64);
        let wanted = offset / CHUNK_BYTES..end.div_ceil(CHUNK_BYTES);
        if buf.is_empty() || self.pins.has_chunks(file, wanted.clone()).is_some() {
            let (count, version) = self.read_now(file, offset, buf)?;
            if buf.is_empty() || self.pins.has_chunks(file, wanted.clone()) == Some(version) {
                return Ok(count);
            }
        }
        for _ in 0..GROWTH_ATTEMPTS {
            // Never more than the file has, whatever was asked for.
            let size = self.glance(file)?.version.size;
            let start = wanted.start * CHUNK_BYTES;
            let last = wanted.end.min(size / CHUNK_BYTES + 1);
            let chunks = wanted.start..last.max(wanted.start + 1);
            let most = (chunks.end - chunks.start) * CHUNK_BYTES;
            let (told, version) =
                if offset == start && (end > size || end.is_multiple_of(CHUNK_BYTES)) {
                    // Whole chunks were asked for.
                    let most = buf.len().min(most as usize);
                    let (count, version) = self.read_now(file, offset, &mut buf[..most])?;
                    self.pin_chunks(file, version, chunks, &buf[..count]);
                    (count, version)
                } else {
                    let mut bytes = vec![0; most as usize];
                    let (count, version) = self.read_now(file, start, &mut bytes)?;
                    self.pin_chunks(file, version, chunks, &bytes[..count]);
                    let skipped = (offset - start) as usize;
                    let told = count.saturating_sub(skipped).min(buf.len());
                    buf[..told].copy_from_slice(&bytes[skipped..skipped + told]);
                    (told, version)
                };
            // Short of what was asked for it may only be at the end.
            if told == buf.len() || version.size <= size {
                return Ok(told);
            }
        }
        Err(FsError::Changed)
    }

    /// Pins chunks that were read: `bytes` reach as far as they or the file do.
    fn pin_chunks(&mut self, file: Inode, version: Version, chunks: Range<u64>, bytes: &[u8]) {
        for (place, index) in chunks.enumerate() {
            let begin = (place * CHUNK_BYTES as usize).min(bytes.len());
            let end = (begin + CHUNK_BYTES as usize).min(bytes.len());
            self.pins.chunk(file, version, index, &bytes[begin..end]);
        }
        if !self.pins.is_full() {
            self.see(file, version, None, None);
        }
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
