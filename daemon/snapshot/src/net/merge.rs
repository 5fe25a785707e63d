//! Brings a difference into its net form: what was removed and made again at the same
//! place is a replacement, and what was replaced by the same is nothing.
//!
//! So a file saved in place, saved by rename, or deleted and written anew gives the same
//! delta, and a directory that was emptied and made again is not torn down, unless it had
//! another mode than a new one gets.

use crate::delta::{Placed, Removed, What};
use crate::name;
use crate::version::ObjectKind;
use std::collections::{HashMap, HashSet};

/// Removed objects children first, placed ones parents first. `unlike` are the paths of
/// removed directories whose mode is not that of a new one.
pub(super) fn merge(
    removed: Vec<Removed>,
    placed: Vec<Placed>,
    unlike: &HashSet<String>,
    default_mode: u32,
) -> (Vec<Removed>, Vec<Placed>) {
    let mut removed: HashMap<String, Removed> = removed
        .into_iter()
        .map(|removed| (removed.path.clone(), removed))
        .collect();
    let mut sorted = placed;
    sorted.sort_by(|a, b| name::order(&a.path, &b.path));

    // Paths whose meaning differs between the two versions: no merging below them.
    let mut apart: HashMap<String, bool> = HashMap::new();
    for path in removed.keys() {
        apart.insert(path.clone(), true);
    }
    for placed in &sorted {
        let in_place = matches!(placed.what, What::Times { .. });
        if !in_place {
            apart.insert(placed.path.clone(), true);
        }
    }

    let mut placed = Vec::with_capacity(sorted.len());
    for mut entry in sorted {
        let parent = name::split(&entry.path).0;
        let mergeable = !entry.what.is_moved()
            && !is_apart(parent, &apart)
            && removed
                .get(&entry.path)
                .is_some_and(|removed| removed.moved_to.is_none());
        if mergeable && let Some(old) = removed.remove(&entry.path) {
            let was_directory = old.pre.kind == ObjectKind::Directory;
            match &mut entry.what {
                What::Directory { times } if was_directory && !unlike.contains(&entry.path) => {
                    apart.insert(entry.path.clone(), false);
                    if let Some(times) = *times {
                        entry.what = What::Times { times };
                        placed.push(entry);
                    }
                    continue;
                }
                What::File { replaces, .. } | What::Symlink { replaces, .. } if !was_directory => {
                    *replaces = Some(old.pre);
                }
                _ => {
                    removed.insert(entry.path.clone(), old);
                }
            }
        }
        if !is_nothing(&entry.what, default_mode) {
            placed.push(entry);
        }
    }

    let mut removed: Vec<_> = removed.into_values().collect();
    removed.sort_by(|a, b| name::order(&b.path, &a.path));
    (removed, placed)
}

/// Whether a directory, or one above it, is not the same object in both versions.
fn is_apart(path: &str, apart: &HashMap<String, bool>) -> bool {
    let mut at = path;
    while !at.is_empty() {
        if apart.get(at).copied().unwrap_or(false) {
            return true;
        }
        at = name::split(at).0;
    }
    false
}

/// Whether a replacement leaves everything as it was.
fn is_nothing(what: &What, default_mode: u32) -> bool {
    match what {
        What::File {
            digest,
            mode,
            times,
            group: None,
            replaces: Some(pre),
            ..
        } => {
            let is_of = |modified| pre.version.is_some_and(|seen| seen.modified == modified);
            pre.kind == ObjectKind::File
                && times.is_none_or(|times| is_of(times.modified))
                && pre.digest == Some(*digest)
                && pre.mode == Some(mode.unwrap_or(default_mode))
        }
        What::Symlink {
            target,
            times: None,
            replaces: Some(pre),
        } => {
            pre.kind == ObjectKind::Symlink
                && pre.digest == Some(forerun_types::Digest::of(target.as_bytes()))
        }
        _ => false,
    }
}
