//! Deltas as bytes: a magic text, a JSON header with everything but contents, then the
//! contents' stored pieces one after another. Of a large file that was changed in part,
//! only the changed pieces are stored, and which object they are changes of: one that the
//! delta itself expects in the base, by its digest.
//!
//! Bytes that are read back are untrusted: every count, length, path and target is
//! checked before it is used, digests are recomputed, and nothing panics or allocates
//! by a number that the bytes do not back up.

use super::{Delta, Placed, Pre, Removed, What, path_before};
use crate::chunks::{Chunk, ChunkStore};
use crate::commit::intent::TimesOf;
use crate::content::{CHUNK_BYTES, Content, Difference};
use crate::version::{MODE_BITS, ObjectKind, Version};
use crate::{FsError, name};
use forerun_types::{Digest, Hasher};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

const MAGIC: &[u8; 8] = b"frdelta1";
/// Most bytes of a header; stops a stored delta from filling memory with paths.
const HEADER_BYTES_MAX: usize = 256 << 20;
/// Most removed and placed objects together; the default quota, with room.
const OBJECTS_MAX: usize = 1_000_000;
/// Longest file in a stored delta: it may be one hole, and a hole costs time to digest.
const FILE_BYTES_MAX: u64 = 1 << 40;
/// All holes of a stored delta together, for the same reason; the default quota, with room.
const HOLE_BYTES_MAX: u64 = 1 << 33;

/// Bytes that are not a delta.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a delta: {reason}")]
pub struct DeltaParseError {
    reason: String,
}

impl DeltaParseError {
    fn new(reason: impl Into<String>) -> DeltaParseError {
        DeltaParseError {
            reason: reason.into(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    removed: Vec<RemovedHeader>,
    placed: Vec<PlacedHeader>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RemovedHeader {
    path: String,
    pre: PreHeader,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved_to: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlacedHeader {
    path: String,
    what: WhatHeader,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WhatHeader {
    Moved {
        from: String,
        times: Option<TimesOf>,
    },
    File {
        len: u64,
        digest: Digest,
        /// What the pieces are put on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        over: Option<OverHeader>,
        /// Length of each stored piece by its offset.
        pieces: Vec<(u64, u64)>,
        mode: Option<u32>,
        times: Option<TimesOf>,
        group: Option<u32>,
        replaces: Option<PreHeader>,
    },
    Symlink {
        target: String,
        times: Option<TimesOf>,
        replaces: Option<PreHeader>,
    },
    Directory {
        times: Option<TimesOf>,
    },
    Times {
        times: TimesOf,
    },
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverHeader {
    /// Path of a file that the delta replaces or removes.
    path: String,
    /// How many of its bytes count.
    len: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreHeader {
    kind: ObjectKind,
    version: Option<Version>,
    digest: Option<Digest>,
    mode: Option<u32>,
}

impl From<&Pre> for PreHeader {
    fn from(pre: &Pre) -> PreHeader {
        PreHeader {
            kind: pre.kind,
            version: pre.version,
            digest: pre.digest,
            mode: pre.mode,
        }
    }
}

/// The stored part of a content.
struct Stored<'a> {
    over: Option<OverHeader>,
    pieces: Vec<(u64, Cow<'a, [u8]>)>,
}

/// The stored parts of a delta's contents, in order.
fn stored<'a>(removed: &'a [Removed], placed: &'a [Placed]) -> Result<Vec<Stored<'a>>, FsError> {
    let contents = || {
        placed.iter().filter_map(|placed| match &placed.what {
            What::File { content, .. } => Some(content),
            _ => None,
        })
    };
    let expected = match contents().any(Content::has_lower) {
        true => expected(removed, placed),
        false => Vec::new(),
    };
    contents()
        .map(|content| {
            let (over, chunks) = difference(content, &expected);
            let pieces = match over {
                None if content.has_lower() => content.pieces().collect::<Result<_, _>>()?,
                _ => chunks
                    .into_iter()
                    .map(|(offset, chunk)| Ok((offset, chunk.bytes()?)))
                    .collect::<Result<_, FsError>>()?,
            };
            Ok(Stored { over, pieces })
        })
        .collect()
}

/// The files that a delta expects in the base, by their paths there.
fn expected<'a>(removed: &'a [Removed], placed: &'a [Placed]) -> Vec<(String, &'a Pre)> {
    let by_path = by_path(placed);
    let removed = removed
        .iter()
        .map(|removed| Some((removed.path.clone(), &removed.pre)));
    let replaced = placed.iter().map(|placed| {
        let pre = placed.what.replaces()?;
        Some((path_before(&by_path, &placed.path)?, pre))
    });
    removed
        .chain(replaced)
        .flatten()
        .filter(|(_, pre)| pre.kind == ObjectKind::File && pre.digest.is_some())
        .collect()
}

fn by_path(placed: &[Placed]) -> HashMap<&str, &Placed> {
    let by_path = placed.iter().map(|placed| (placed.path.as_str(), placed));
    by_path.collect()
}

/// What a content has that one of the expected files has not.
fn difference<'a>(
    content: &'a Content,
    expected: &[(String, &Pre)],
) -> (Option<OverHeader>, Vec<(u64, &'a Chunk)>) {
    if let Some((path, len)) = content.expected() {
        let path = path.to_owned();
        return (Some(OverHeader { path, len }), content.chunks());
    }
    for (path, pre) in expected {
        let difference = pre.old.as_ref().and_then(|old| content.since(old));
        if let Some(Difference { kept, chunks }) = difference {
            let (path, len) = (path.clone(), kept);
            return (Some(OverHeader { path, len }), chunks);
        }
    }
    (None, content.chunks())
}

/// The header; without `stored`, how contents are cut into pieces is left out.
fn header(removed: &[Removed], placed: &[Placed], stored: &[Stored<'_>]) -> Header {
    let mut stored = stored.iter().map(|stored| {
        let pieces = stored.pieces.iter();
        let pieces = pieces.map(|(offset, bytes)| (*offset, bytes.len() as u64));
        (stored.over.clone(), pieces.collect())
    });
    let removed = removed.iter().map(|removed| RemovedHeader {
        path: removed.path.clone(),
        pre: (&removed.pre).into(),
        moved_to: removed.moved_to.clone(),
    });
    let placed = placed.iter().map(|placed| PlacedHeader {
        path: placed.path.clone(),
        what: match &placed.what {
            What::Moved { from, times } => WhatHeader::Moved {
                from: from.clone(),
                times: *times,
            },
            What::File {
                content,
                digest,
                mode,
                times,
                group,
                replaces,
            } => {
                let (over, pieces) = stored.next().unwrap_or_default();
                WhatHeader::File {
                    len: content.len(),
                    digest: *digest,
                    over,
                    pieces,
                    mode: *mode,
                    times: *times,
                    group: *group,
                    replaces: replaces.as_ref().map(Into::into),
                }
            }
            What::Symlink {
                target,
                times,
                replaces,
            } => WhatHeader::Symlink {
                target: target.clone(),
                times: *times,
                replaces: replaces.as_ref().map(Into::into),
            },
            What::Directory { times } => WhatHeader::Directory { times: *times },
            What::Times { times } => WhatHeader::Times { times: *times },
        },
    });
    Header {
        removed: removed.collect(),
        placed: placed.collect(),
    }
}

/// Digest of everything in a delta.
pub(super) fn digest(removed: &[Removed], placed: &[Placed], changes: &Digest) -> Digest {
    // How a content is cut into pieces is nobody's business.
    let header = header(removed, placed, &[]);
    Hasher::new("forerun delta v1")
        .digest(changes)
        .field(json(&header))
        .finish()
}

fn json(header: &Header) -> Vec<u8> {
    serde_json::to_vec(header).expect("a header has string keys only and can not fail")
}

impl Delta {
    /// The delta as bytes, without the previous contents. Of a large file that was
    /// changed in part, the rest is not in it either.
    ///
    /// # Errors
    /// [`FsError::Changed`], [`FsError::Io`] if a content could not be read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FsError> {
        let stored = stored(self.removed(), self.placed())?;
        let header = json(&header(self.removed(), self.placed(), &stored));
        let mut bytes = Vec::with_capacity(MAGIC.len() + 8 + header.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&header);
        for (_, piece) in stored.iter().flat_map(|stored| &stored.pieces) {
            bytes.extend_from_slice(piece);
        }
        Ok(bytes)
    }

    /// Reads a delta back. The bytes are not trusted.
    ///
    /// # Errors
    /// If they are not what [`Delta::to_bytes`] makes of a proper delta.
    pub fn from_bytes(bytes: &[u8]) -> Result<Delta, DeltaParseError> {
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| DeltaParseError::new("wrong magic"))?;
        let (len, rest) = rest
            .split_first_chunk::<8>()
            .ok_or_else(|| DeltaParseError::new("truncated"))?;
        let len = usize::try_from(u64::from_le_bytes(*len))
            .ok()
            .filter(|len| *len <= HEADER_BYTES_MAX)
            .ok_or_else(|| DeltaParseError::new("header too long"))?;
        let (header, mut contents) = rest
            .split_at_checked(len)
            .ok_or_else(|| DeltaParseError::new("truncated"))?;
        let header: Header = serde_json::from_slice(header)
            .map_err(|error| DeltaParseError::new(error.to_string()))?;
        let removed = header.removed.into_iter().map(|removed| Removed {
            path: removed.path,
            pre: removed.pre.into(),
            moved_to: removed.moved_to,
        });
        let removed: Vec<_> = removed.collect();
        let mut holes = HOLE_BYTES_MAX;
        let mut placed = Vec::new();
        for entry in header.placed {
            placed.push(Placed {
                path: entry.path,
                what: read_what(entry.what, &mut contents, &mut holes)?,
            });
        }
        if !contents.is_empty() {
            return Err(DeltaParseError::new("trailing bytes"));
        }
        check(&removed, &placed)?;
        Ok(Delta::new(removed, placed, None))
    }
}

impl From<PreHeader> for Pre {
    fn from(pre: PreHeader) -> Pre {
        Pre {
            kind: pre.kind,
            version: pre.version,
            digest: pre.digest,
            mode: pre.mode,
            old: None,
            read: false,
        }
    }
}

fn read_what(
    what: WhatHeader,
    contents: &mut &[u8],
    holes: &mut u64,
) -> Result<What, DeltaParseError> {
    Ok(match what {
        WhatHeader::Moved { from, times } => What::Moved { from, times },
        WhatHeader::Directory { times } => What::Directory { times },
        WhatHeader::Times { times } => What::Times { times },
        WhatHeader::Symlink {
            target,
            times,
            replaces,
        } => What::Symlink {
            target,
            times,
            replaces: replaces.map(Into::into),
        },
        WhatHeader::File {
            len,
            digest,
            over,
            pieces,
            mode,
            times,
            group,
            replaces,
        } => What::File {
            content: read_content(len, &digest, over.as_ref(), &pieces, contents, holes)?,
            digest,
            mode,
            times,
            group,
            replaces: replaces.map(Into::into),
        },
    })
}

fn read_content(
    len: u64,
    digest: &Digest,
    over: Option<&OverHeader>,
    pieces: &[(u64, u64)],
    contents: &mut &[u8],
    holes: &mut u64,
) -> Result<Content, DeltaParseError> {
    let malformed = || DeltaParseError::new("malformed content");
    let mut content = match over {
        Some(over) if (1..=len).contains(&over.len) => Content::over_expected(&over.path, over.len),
        Some(_) => return Err(malformed()),
        None => Content::default(),
    };
    let kept = over.map_or(0, |over| over.len);
    let (mut end, mut stored) = (0, kept);
    for (offset, count) in pieces {
        let fits = offset % CHUNK_BYTES == 0
            && *offset >= end
            && (1..=CHUNK_BYTES).contains(count)
            && offset.checked_add(*count).is_some_and(|end| end <= len);
        let count = usize::try_from(*count).map_err(|_| malformed())?;
        let (piece, rest) = contents.split_at_checked(count).ok_or_else(malformed)?;
        if !fits {
            return Err(malformed());
        }
        content
            .put(ChunkStore::unbound(), *offset, piece)
            .map_err(|_| malformed())?;
        *contents = rest;
        end = offset + count as u64;
        stored += end.saturating_sub(kept.max(*offset));
    }
    *holes = len
        .checked_sub(stored)
        .filter(|_| len <= FILE_BYTES_MAX)
        .and_then(|hole| holes.checked_sub(hole))
        .ok_or_else(|| DeltaParseError::new("file too large"))?;
    content.set_len(len).map_err(|_| malformed())?;
    if over.is_some() {
        // It is checked when the rest is there.
        content.presume_digest(*digest);
    } else if content.digest().ok() != Some(*digest) {
        return Err(DeltaParseError::new("content does not match its digest"));
    }
    Ok(content)
}

/// Checks all that the committer and grafting rely on.
fn check(removed: &[Removed], placed: &[Placed]) -> Result<(), DeltaParseError> {
    if removed.len() + placed.len() > OBJECTS_MAX {
        return Err(DeltaParseError::new("too many objects"));
    }
    let moved_to = removed
        .iter()
        .filter_map(|removed| removed.moved_to.as_ref());
    let from = placed.iter().filter_map(|placed| match &placed.what {
        What::Moved { from, .. } => Some(from),
        _ => None,
    });
    let paths = removed.iter().map(|removed| &removed.path);
    let paths = paths.chain(placed.iter().map(|placed| &placed.path));
    for path in paths.chain(moved_to).chain(from) {
        if !name::is_proper_path(path) {
            let shown: String = path.chars().take(80).collect();
            return Err(DeltaParseError::new(format!("improper path {shown:?}")));
        }
    }
    let children_first = |pair: &[Removed]| name::order(&pair[0].path, &pair[1].path).is_gt();
    let parents_first = |pair: &[Placed]| name::order(&pair[0].path, &pair[1].path).is_lt();
    if !removed.windows(2).all(children_first) || !placed.windows(2).all(parents_first) {
        return Err(DeltaParseError::new("out of order"));
    }
    check_moves(removed, placed)?;
    check_expected(removed, placed)?;
    placed
        .iter()
        .try_for_each(|placed| check_what(&placed.what))?;
    removed
        .iter()
        .try_for_each(|removed| check_pre(&removed.pre))
}

/// What a content is put on is compared with a digest before that.
fn check_expected(removed: &[Removed], placed: &[Placed]) -> Result<(), DeltaParseError> {
    let expected = expected(removed, placed);
    let expected: HashSet<_> = expected.iter().map(|(path, _)| path.as_str()).collect();
    let is_known = |placed: &Placed| match &placed.what {
        What::File { content, .. } => content
            .expected()
            .is_none_or(|(path, _)| expected.contains(path)),
        _ => true,
    };
    match placed.iter().all(is_known) {
        true => Ok(()),
        false => Err(DeltaParseError::new("a change of what is not expected")),
    }
}

fn check_moves(removed: &[Removed], placed: &[Placed]) -> Result<(), DeltaParseError> {
    let leaving: HashMap<_, _> = removed
        .iter()
        .filter_map(|removed| Some((removed.path.as_str(), removed.moved_to.as_deref()?)))
        .collect();
    let mut arrived = HashSet::new();
    for placed in placed {
        if let What::Moved { from, .. } = &placed.what
            && (leaving.get(from.as_str()) != Some(&placed.path.as_str()) || !arrived.insert(from))
        {
            return Err(DeltaParseError::new("a move from nowhere"));
        }
    }
    if arrived.len() != leaving.len() {
        return Err(DeltaParseError::new("a move to nowhere"));
    }
    Ok(())
}

fn check_what(what: &What) -> Result<(), DeltaParseError> {
    let times = match what {
        What::Times { times } => Some(times),
        What::Moved { times, .. }
        | What::Directory { times }
        | What::File { times, .. }
        | What::Symlink { times, .. } => times.as_ref(),
    };
    if times.is_some_and(|t| t.accessed.nanos >= 1_000_000_000 || t.modified.nanos >= 1_000_000_000)
    {
        return Err(DeltaParseError::new("malformed time"));
    }
    if let What::File {
        mode: Some(mode), ..
    } = what
        && mode & !MODE_BITS != 0
    {
        return Err(DeltaParseError::new("malformed mode"));
    }
    if let What::Symlink { target, .. } = what
        && name::check_target(target).is_err()
    {
        return Err(DeltaParseError::new("malformed link target"));
    }
    match what.replaces() {
        Some(pre) if pre.kind == ObjectKind::Directory => {
            Err(DeltaParseError::new("a directory is not replaced in place"))
        }
        Some(pre) => check_pre(pre),
        None => Ok(()),
    }
}

fn check_pre(pre: &Pre) -> Result<(), DeltaParseError> {
    let known = pre.version.is_some() || pre.digest.is_some();
    if pre.kind == ObjectKind::Special || (!known && pre.kind != ObjectKind::Directory) {
        return Err(DeltaParseError::new("an expectation of nothing"));
    }
    Ok(())
}
