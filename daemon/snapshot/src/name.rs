//! Names and paths: what one component may be, and which names are hidden.
//!
//! Everything that reaches the base passes through here first, so that no name can
//! climb, be empty, or reach the daemon's own directory.

use crate::FsError;

/// Longest name of one component in bytes, as Linux file systems have it.
pub(crate) const NAME_BYTES_MAX: usize = 255;
/// Longest path in bytes (`PATH_MAX`); stops a delta from naming what no kernel opens.
pub(crate) const PATH_BYTES_MAX: usize = 4_096;
/// Longest target of a symbolic link in bytes, as `symlink(2)` has it.
pub(crate) const TARGET_BYTES_MAX: usize = 4_095;

/// The daemon's directory in a workspace: hidden at any depth and in any case, because
/// a case-insensitive copy of the workspace would make the spellings one.
pub(crate) const OWN_DIRECTORY: &str = ".forerun";

/// Whether a name is hidden from tools.
pub(crate) fn is_masked(name: &str) -> bool {
    name.eq_ignore_ascii_case(OWN_DIRECTORY)
}

/// Checks a single component.
pub(crate) fn check(name: &str) -> Result<(), FsError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(FsError::NameTooLong);
    }
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(FsError::InvalidName);
    }
    Ok(())
}

/// Checks a link's target. It is not resolved: where it leads is a reader's business.
pub(crate) fn check_target(target: &str) -> Result<(), FsError> {
    if target.len() > TARGET_BYTES_MAX {
        return Err(FsError::NameTooLong);
    }
    if target.is_empty() || target.contains('\0') {
        return Err(FsError::InvalidName);
    }
    Ok(())
}

/// Whether a `/`-separated path below the root consists of proper components and
/// touches nothing that is hidden.
pub(crate) fn is_proper_path(path: &str) -> bool {
    path.len() <= PATH_BYTES_MAX
        && path
            .split('/')
            .all(|name| check(name).is_ok() && !is_masked(name))
}

/// `directory/name`, where the root is the empty path.
pub(crate) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() {
        name.to_owned()
    } else {
        format!("{directory}/{name}")
    }
}

/// A path's directory (empty for the root) and its last component.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// A path and every directory above it, up to the root.
pub(crate) fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| (!path.is_empty()).then(|| split(path).0))
}

/// Whether `path` is `root` or lies below it.
pub(crate) fn is_below(path: &str, root: &str) -> bool {
    root.is_empty()
        || path
            .strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Order in which a parent comes before everything below it, and siblings by name.
pub(crate) fn order(a: &str, b: &str) -> std::cmp::Ordering {
    a.split('/').cmp(b.split('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_can_not_climb_or_hide() {
        for bad in ["", ".", "..", "a/b", "/", "a\0b"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        assert!(check(&"x".repeat(256)).is_err());
        assert!(check("...").is_ok());
        assert!(is_masked(".ForeRun"));
        assert!(!is_proper_path("a/.FORERUN/x"));
        assert!(!is_proper_path("a//b"));
        assert!(is_proper_path("a/b"));
    }

    #[test]
    fn parents_come_before_children_even_beside_names_with_low_bytes() {
        let mut paths = vec!["a!/x", "a/b", "a", "a!"];
        paths.sort_by(|a, b| order(a, b));
        assert_eq!(paths, ["a", "a/b", "a!", "a!/x"]);
    }
}
