//! Deltas for reading: unified text for each changed path.

use super::{Delta, Placed, What};
use crate::content::Content;
use forerun_types::{ChangeKind, FileDiff, PathChange};
use similar::TextDiff;
use std::collections::HashMap;
use std::time::Duration;

/// Largest file, old or new, that is compared line by line.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Longest unified text of one file; what is over is cut at a line and marked.
const UNIFIED_BYTES_MAX: usize = 1 << 20;
/// Longest unified text of a delta; files after it are shown without their lines.
const DELTA_BYTES_MAX: usize = 16 << 20;
/// Longest time spent on finding the best lines for one file.
const TIME_MAX: Duration = Duration::from_millis(500);
/// A file with a NUL in its first bytes is binary, as for git.
const BINARY_PROBE_BYTES: usize = 8_000;

pub(super) fn diff(delta: &Delta) -> Vec<FileDiff> {
    let removed: HashMap<_, _> = delta
        .removed()
        .iter()
        .map(|removed| (removed.path.as_str(), removed))
        .collect();
    let placed: HashMap<_, _> = delta
        .placed()
        .iter()
        .map(|placed| (placed.path.as_str(), placed))
        .collect();
    let mut left = DELTA_BYTES_MAX;
    let changed = delta.changed().into_iter().map(|change| {
        let sides = match change.kind {
            ChangeKind::Deleted => removed.get(change.path.as_str()).map(|removed| Sides {
                old: Side::of_pre(&removed.pre),
                new: Side::Absent,
                modes: (removed.pre.mode, None),
            }),
            _ => placed.get(change.path.as_str()).map(|placed| sides(placed)),
        };
        let mut diff = render(change, sides);
        if diff.unified.len() > left {
            diff.unified =
                headers(&diff.change, (None, None)) + "(not shown: the diff is too long)\n";
        }
        left = left.saturating_sub(diff.unified.len());
        diff
    });
    changed.collect()
}

/// A path before and after.
struct Sides {
    old: Side,
    new: Side,
    modes: (Option<u32>, Option<u32>),
}

enum Side {
    Absent,
    Text(Content),
    Target(String),
    /// A directory, or what has no lines.
    Other,
    /// A file whose content is not at hand.
    Unknown,
}

impl Side {
    fn of_pre(pre: &super::Pre) -> Side {
        use crate::version::ObjectKind;
        match (&pre.old, pre.kind) {
            (Some(content), _) => Side::Text(content.clone()),
            (None, ObjectKind::File | ObjectKind::Symlink) => Side::Unknown,
            (None, _) => Side::Other,
        }
    }
}

fn sides(placed: &Placed) -> Sides {
    let (new, mode) = match &placed.what {
        What::File { content, mode, .. } => (Side::Text(content.clone()), *mode),
        What::Symlink { target, .. } => (Side::Target(target.clone()), None),
        _ => (Side::Other, None),
    };
    let pre = placed.what.replaces();
    let old = match (&placed.what, pre) {
        (_, Some(pre)) => Side::of_pre(pre),
        (What::Moved { .. } | What::Times { .. }, None) => Side::Other,
        (_, None) => Side::Absent,
    };
    Sides {
        old,
        new,
        modes: (pre.and_then(|pre| pre.mode), mode),
    }
}

fn render(change: PathChange, sides: Option<Sides>) -> FileDiff {
    let Some(Sides { old, new, modes }) = sides else {
        let unified = headers(&change, (None, None));
        return FileDiff {
            change,
            binary: false,
            unified,
        };
    };
    let mut unified = headers(&change, modes);
    let differ = format!("Files a/{0} and b/{0} differ\n", change.path);
    let mut binary = false;
    match (text(&old), text(&new)) {
        (Ok(old), Ok(new)) if old != new => {
            unified += &lines(&change, old.as_deref(), new.as_deref());
        }
        (Ok(_), Ok(_)) => {}
        (Err(Unshown::Binary), _) | (_, Err(Unshown::Binary)) => {
            binary = true;
            unified += &format!("Binary f{}", &differ[1..]);
        }
        _ => unified += &differ,
    }
    FileDiff {
        change,
        binary,
        unified,
    }
}

/// Git's header lines.
fn headers(change: &PathChange, modes: (Option<u32>, Option<u32>)) -> String {
    let path = &change.path;
    let from = match &change.kind {
        ChangeKind::Renamed { from } => from,
        _ => path,
    };
    let mut text = format!("diff --git a/{from} b/{path}\n");
    match (&change.kind, modes) {
        (ChangeKind::Created, (_, Some(new))) => {
            text += &format!("new file mode {}\n", git_mode(new));
        }
        (ChangeKind::Deleted, (Some(old), _)) => {
            text += &format!("deleted file mode {}\n", git_mode(old));
        }
        (ChangeKind::Renamed { from }, _) => {
            text += &format!("rename from {from}\nrename to {path}\n");
        }
        (_, (Some(old), Some(new))) if old != new => {
            text += &format!("old mode 100{old:03o}\nnew mode 100{new:03o}\n");
        }
        _ => {}
    }
    text
}

/// A file's mode as git knows them: executable or not.
fn git_mode(mode: u32) -> &'static str {
    if mode & 0o111 != 0 {
        "100755"
    } else {
        "100644"
    }
}

enum Unshown {
    Binary,
    Unknown,
}

/// The text of a side; `None` if there is none.
fn text(side: &Side) -> Result<Option<String>, Unshown> {
    match side {
        Side::Absent | Side::Other => Ok(None),
        Side::Unknown => Err(Unshown::Unknown),
        Side::Target(target) => Ok(Some(target.clone())),
        Side::Text(content) if content.len() > FILE_BYTES_MAX => Err(Unshown::Binary),
        Side::Text(content) => {
            let bytes = content.to_vec().map_err(|_| Unshown::Unknown)?;
            if bytes.iter().take(BINARY_PROBE_BYTES).any(|byte| *byte == 0) {
                return Err(Unshown::Binary);
            }
            String::from_utf8(bytes)
                .map(Some)
                .map_err(|_| Unshown::Binary)
        }
    }
}

fn lines(change: &PathChange, old: Option<&str>, new: Option<&str>) -> String {
    let name = |side: &str, text: Option<&str>| match text {
        Some(_) => format!("{side}/{}", change.path),
        None => "/dev/null".to_owned(),
    };
    let unified = TextDiff::configure()
        .timeout(TIME_MAX)
        .diff_lines(old.unwrap_or(""), new.unwrap_or(""))
        .unified_diff()
        .context_radius(3)
        .header(&name("a", old), &name("b", new))
        .to_string();
    if unified.len() <= UNIFIED_BYTES_MAX {
        return unified;
    }
    let end = unified
        .char_indices()
        .take_while(|(at, _)| *at < UNIFIED_BYTES_MAX)
        .filter(|(_, c)| *c == '\n')
        .map(|(at, _)| at + 1)
        .last()
        .unwrap_or(0);
    format!("{}(cut: the diff is too long)\n", &unified[..end])
}
