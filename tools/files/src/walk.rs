//! Walking a tree in a fixed order, without what ignore files leave out.

use forerun_tool_kit::{Error, Place};
use globset::{Glob, GlobMatcher};
use ignore::WalkBuilder;
use std::path::PathBuf;

/// Most files that one walk looks at; stops a call from running for minutes.
pub(crate) const FILES_MAX: usize = 200_000;

/// A file that a walk found.
pub(crate) struct Found {
    /// Relative to where the walk began, `/`-separated; empty for the start itself.
    pub(crate) relative: String,
    /// For `std::fs`.
    pub(crate) path: PathBuf,
}

/// Files below a place, ordered by path, component by component. `.gitignore` and
/// `.ignore` files are honoured (also where there is no repository) unless `all`; the
/// insides of `.git` are never shown. Symbolic links are listed and not followed.
pub(crate) fn files(start: &Place, all: bool) -> Result<Vec<Found>, Error> {
    std::fs::metadata(&start.path).map_err(Error::io("search", &start.shown))?;
    let walk = WalkBuilder::new(&start.path)
        .standard_filters(false)
        .ignore(!all)
        .git_ignore(!all)
        .git_exclude(!all)
        .require_git(false)
        .sort_by_file_name(Ord::cmp)
        .filter_entry(|entry| entry.depth() == 0 || entry.file_name() != ".git")
        .build();
    let mut found = Vec::new();
    for entry in walk {
        // What cannot be read is left out, as if it were not there.
        let Ok(entry) = entry else { continue };
        if entry.file_type().is_none_or(|kind| kind.is_dir()) {
            continue;
        }
        let relative = entry
            .path()
            .strip_prefix(&start.path)
            .unwrap_or(entry.path());
        let Some(relative) = relative.to_str() else {
            continue;
        };
        found.push(Found {
            relative: relative.to_owned(),
            path: entry.path().to_owned(),
        });
        if found.len() > FILES_MAX {
            return Err(Error::Refused(format!(
                "{} holds more than {FILES_MAX} files; search a part of it",
                start.shown
            )));
        }
    }
    Ok(found)
}

/// A glob over relative paths. One without `/` matches names at any depth, as in
/// ignore files; `*` does not cross directories, `**` does.
pub(crate) fn matcher(pattern: &str) -> Result<GlobMatcher, Error> {
    let anchored = if pattern.contains('/') {
        pattern.trim_start_matches("./").to_owned()
    } else {
        format!("**/{pattern}")
    };
    globset::GlobBuilder::new(&anchored)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map(|glob: Glob| glob.compile_matcher())
        .map_err(|error| {
            Error::Refused(format!(
                "the glob {pattern:?} is not valid: {}",
                error.kind()
            ))
        })
}
