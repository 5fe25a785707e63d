//! A delta: the net difference between two versions of a workspace, as paths, with what
//! the base is expected to hold where it applies.
//!
//! **Invariants** (of one that was frozen, and of one that passed [`Delta::from_bytes`])
//! - Every path is proper ([`name::is_proper_path`]) and appears at most once on each
//!   side.
//! - Removed objects are listed children first, with their paths before; placed ones
//!   parents first, with their paths after. Every move is on both sides.

mod bytes;
mod diff;

use crate::commit::CommitError;
use crate::commit::intent::TimesOf;
use crate::content::Content;
use crate::name;
use crate::pins::{READS_DOMAIN, Reads};
use crate::seen::Lineage;
use crate::version::{ObjectKind, Version};
use crate::workspace::Inner;
pub use bytes::DeltaParseError;
pub use forerun_types::FileDiff;
use forerun_types::{ChangeKind, Digest, Hasher, PathChange};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

/// The net changes of a step, or of a session. Cheap to clone.
#[derive(Clone)]
pub struct Delta {
    parts: Arc<Parts>,
}

struct Parts {
    removed: Vec<Removed>,
    placed: Vec<Placed>,
    digest: Digest,
    changes: Digest,
    /// The version that these changes lead to, if it was made in this process.
    lineage: Weak<Lineage>,
    /// What the step saw, if these are the changes of one step.
    pins: Option<Arc<Reads>>,
}

/// An object that is no longer at its path.
#[derive(Clone)]
pub(crate) struct Removed {
    pub(crate) path: String,
    pub(crate) pre: Pre,
    /// Where it is placed; `None` if it is deleted.
    pub(crate) moved_to: Option<String>,
}

/// An object that is to be at a path.
#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) path: String,
    pub(crate) what: What,
}

#[derive(Clone)]
pub(crate) enum What {
    /// The object that was at `from`.
    Moved {
        from: String,
        times: Option<TimesOf>,
    },
    File {
        content: Content,
        digest: Digest,
        /// `None` for the default of a new file.
        mode: Option<u32>,
        times: Option<TimesOf>,
        /// Files of one group are one file with several names.
        group: Option<u32>,
        replaces: Option<Pre>,
    },
    Symlink {
        target: String,
        times: Option<TimesOf>,
        replaces: Option<Pre>,
    },
    Directory {
        times: Option<TimesOf>,
    },
    /// A directory that stays gets explicit times.
    Times {
        times: TimesOf,
    },
}

/// What the base is expected to hold at a path.
#[derive(Clone)]
pub(crate) struct Pre {
    pub(crate) kind: ObjectKind,
    /// As it was seen in the base. `None` if an ancestor made it.
    pub(crate) version: Option<Version>,
    pub(crate) digest: Option<Digest>,
    pub(crate) mode: Option<u32>,
    /// Its content, if that is at hand: for showing what changed.
    pub(crate) old: Option<Content>,
    /// Whether the step was shown all its content. Not known of a delta that was read from
    /// bytes.
    pub(crate) read: bool,
}

impl Delta {
    pub(crate) fn new(
        removed: Vec<Removed>,
        placed: Vec<Placed>,
        lineage: Option<Arc<Lineage>>,
    ) -> Delta {
        Delta::of_step(removed, placed, lineage, None)
    }

    /// As [`Delta::new`], of a step that took `pins`.
    pub(crate) fn of_step(
        removed: Vec<Removed>,
        placed: Vec<Placed>,
        lineage: Option<Arc<Lineage>>,
        pins: Option<Arc<Reads>>,
    ) -> Delta {
        let changes = changes(&removed, &placed);
        let digest = bytes::digest(&removed, &placed, &changes);
        Delta {
            parts: Arc::new(Parts {
                removed,
                placed,
                digest,
                changes,
                lineage: lineage.map_or_else(Weak::new, |lineage| Arc::downgrade(&lineage)),
                pins,
            }),
        }
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.parts.removed.is_empty() && self.parts.placed.is_empty()
    }

    /// The identity of the delta, expectations included: what a verdict binds to.
    pub fn digest(&self) -> Digest {
        self.parts.digest
    }

    /// What is changed, in canonical order of paths: equal for two deltas that leave the
    /// same behind. Times count only if a tool set them.
    pub fn changes(&self) -> Digest {
        self.parts.changes
    }

    /// What the step was told of the workspace, in canonical order of paths: names,
    /// attributes, and contents by their digest. That of nothing for a delta of several
    /// steps, and for one that was read from bytes: what a step saw binds only while its
    /// snapshot lives.
    pub fn reads(&self) -> Digest {
        match &self.parts.pins {
            Some(pins) => pins.digest(),
            None => Hasher::new(READS_DOMAIN).finish(),
        }
    }

    /// What a verdict binds to: changes, expectations, and what was read to make them.
    pub fn binding(&self) -> Digest {
        Hasher::new("forerun binding v1")
            .digest(&self.digest())
            .digest(&self.reads())
            .finish()
    }

    /// The changed paths, in order. What lies in a directory that was moved is not
    /// listed.
    pub fn changed(&self) -> Vec<PathChange> {
        let deleted = self
            .removed()
            .iter()
            .filter(|removed| removed.moved_to.is_none())
            .map(|removed| PathChange {
                path: removed.path.clone(),
                kind: ChangeKind::Deleted,
            });
        let placed = self.placed().iter().map(|placed| PathChange {
            path: placed.path.clone(),
            kind: placed.what.change(),
        });
        let mut changed: Vec<_> = deleted.chain(placed).collect();
        changed.sort_by(|a, b| name::order(&a.path, &b.path));
        changed
    }

    /// Bytes of the files that it writes, each as a whole; holes count as well.
    pub fn bytes(&self) -> u64 {
        let sizes = self.placed().iter().map(|placed| match &placed.what {
            What::File { content, .. } => content.len(),
            _ => 0,
        });
        sizes.fold(0, u64::saturating_add)
    }

    /// What is changed, for reading: one entry for each of [`Delta::changed`]. A delta
    /// that was read from bytes does not know the previous contents; graft it onto a
    /// snapshot and ask that.
    pub fn diff(&self) -> Vec<FileDiff> {
        diff::diff(self)
    }

    pub(crate) fn removed(&self) -> &[Removed] {
        &self.parts.removed
    }

    pub(crate) fn placed(&self) -> &[Placed] {
        &self.parts.placed
    }

    /// Base paths that it removes, and those that it moves, from and to.
    pub(crate) fn moves(&self) -> (Vec<&str>, Vec<(&str, &str)>) {
        let (mut removed, mut moved) = (Vec::new(), Vec::new());
        for Removed { path, moved_to, .. } in self.removed() {
            match moved_to {
                Some(to) => moved.push((path.as_str(), to.as_str())),
                None => removed.push(path.as_str()),
            }
        }
        (removed, moved)
    }

    /// Compares what the step saw with what the base holds now. A step that saw something
    /// else is executed again, except where it would then overwrite or remove what
    /// somebody made, without having looked at it: that is for a person to decide.
    ///
    /// # Errors
    /// [`CommitError::Stale`], [`CommitError::Conflict`].
    pub(crate) fn check_reads(&self, inner: &Inner) -> Result<(), CommitError> {
        let stale = match &self.parts.pins {
            Some(pins) => pins.changed(inner),
            None => return Ok(()),
        };
        let Some(first) = stale.first() else {
            return Ok(());
        };
        let unread = self.changes_unread();
        Err(match stale.iter().find(|it| unread.contains(&it.path)) {
            Some(lost) => CommitError::Conflict {
                path: lost.path.clone(),
                expected: lost.expected.clone(),
                found: lost.found.clone(),
            },
            None => CommitError::Stale(first.clone()),
        })
    }

    /// Whether the step puts something at a path of the version after, or takes something
    /// away there, without having been shown what is there.
    pub(crate) fn changes_unread_at(&self, path: &str) -> bool {
        let mut placed = self.placed().iter();
        let mut removed = self.removed().iter();
        placed.any(|placed| placed.path == path && placed.what.is_unread())
            || removed.any(|removed| name::is_below(path, &removed.path))
    }

    /// Where the step puts something or takes something away without having been shown
    /// what is there, by the paths of the version before.
    fn changes_unread(&self) -> HashSet<String> {
        let by_path: HashMap<_, _> = self
            .placed()
            .iter()
            .map(|placed| (placed.path.as_str(), placed))
            .collect();
        let placed = self.placed().iter();
        let placed = placed.filter(|placed| placed.what.is_unread());
        // Who lists a directory and removes what is in it would remove more now.
        let removed = self.removed().iter().flat_map(|Removed { path, .. }| {
            let (directory, _) = name::split(path);
            let directory = if directory.is_empty() { "." } else { directory };
            [path.clone(), directory.to_owned()]
        });
        placed
            .filter_map(|placed| path_before(&by_path, &placed.path))
            .chain(removed)
            .collect()
    }

    /// The base holds these changes: they leave the tables of the snapshots after them,
    /// and what was seen to make them no longer binds. To be called under the gate.
    pub(crate) fn verify(&self, inner: &Inner) {
        if let Some(lineage) = self.parts.lineage.upgrade() {
            lineage.verify(inner);
        }
    }
}

impl std::fmt::Debug for Delta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delta")
            .field("digest", &self.digest())
            .field("changed", &self.changed())
            .finish()
    }
}

impl What {
    pub(crate) fn is_moved(&self) -> bool {
        matches!(self, What::Moved { .. })
    }

    pub(crate) fn replaces(&self) -> Option<&Pre> {
        match self {
            What::File { replaces, .. } | What::Symlink { replaces, .. } => replaces.as_ref(),
            _ => None,
        }
    }

    /// Whether it is put where the step was not shown all that is there.
    fn is_unread(&self) -> bool {
        match self {
            What::File { replaces, .. } | What::Symlink { replaces, .. } => {
                replaces.as_ref().is_none_or(|pre| !pre.read)
            }
            // Of what is placed in a new directory, that is all that was looked up.
            What::Moved { .. } | What::Directory { .. } => true,
            What::Times { .. } => false,
        }
    }

    fn change(&self) -> ChangeKind {
        match self {
            What::Moved { from, .. } => ChangeKind::Renamed { from: from.clone() },
            What::Directory { .. } => ChangeKind::Created,
            What::Times { .. } => ChangeKind::Attributes,
            What::File { .. } | What::Symlink { .. } => match self.replaces() {
                None => ChangeKind::Created,
                Some(pre) if pre.kind == self.kind() && pre.digest == self.digest() => {
                    ChangeKind::Attributes
                }
                Some(_) => ChangeKind::Modified,
            },
        }
    }

    fn kind(&self) -> ObjectKind {
        match self {
            What::Symlink { .. } => ObjectKind::Symlink,
            What::Directory { .. } | What::Times { .. } => ObjectKind::Directory,
            What::File { .. } | What::Moved { .. } => ObjectKind::File,
        }
    }

    /// Digest of a file's content or of a link's target.
    pub(crate) fn digest(&self) -> Option<Digest> {
        match self {
            What::File { digest, .. } => Some(*digest),
            What::Symlink { target, .. } => Some(Digest::of(target)),
            _ => None,
        }
    }
}

/// Where a path of the version after was before; `None` if it lies in a new directory.
pub(crate) fn path_before(placed: &HashMap<&str, &Placed>, path: &str) -> Option<String> {
    let mut above = name::split(path).0;
    while !above.is_empty() {
        match placed.get(above).map(|placed| &placed.what) {
            Some(What::Moved { from, .. }) => {
                return Some(format!("{from}{}", &path[above.len()..]));
            }
            Some(What::Directory { .. }) => return None,
            _ => above = name::split(above).0,
        }
    }
    Some(path.to_owned())
}

/// Digest of the net changes alone.
fn changes(removed: &[Removed], placed: &[Placed]) -> Digest {
    let mut lines: Vec<(&str, String)> = Vec::new();
    for removed in removed.iter().filter(|removed| removed.moved_to.is_none()) {
        lines.push((&removed.path, "deleted".into()));
    }
    for Placed { path, what } in placed {
        let (text, times) = match what {
            What::Moved { from, times } => (format!("moved {from}"), times),
            What::Directory { times } => ("directory".into(), times),
            What::Times { times } => ("times".into(), &Some(*times)),
            What::Symlink { target, times, .. } => (format!("link {target}"), times),
            What::File {
                digest,
                mode,
                times,
                group,
                replaces,
                ..
            } => {
                let old = replaces.as_ref().and_then(|pre| pre.mode);
                let mode = mode.filter(|mode| Some(*mode) != old);
                (format!("file {digest} {mode:?} {group:?}"), times)
            }
        };
        lines.push((path, format!("{text} {times:?}")));
    }
    lines.sort_by(|(a, x), (b, y)| name::order(a, b).then_with(|| x.cmp(y)));
    lines
        .iter()
        .fold(Hasher::new("forerun changes v1"), |hasher, (path, line)| {
            hasher.field(path).field(line)
        })
        .finish()
}
