//! Where the paths of arguments lead.

use crate::Error;
use crate::error::kind;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

/// What agents call the workspace.
const WORKSPACE: &str = "/workspace";
/// What agents call the directory for temporary files.
const TMP: &str = "/tmp";

/// The two directories that tools work in.
#[derive(Clone, Debug)]
pub struct Places {
    workspace: PathBuf,
    tmp: PathBuf,
}

/// A path of the arguments and where it lies.
#[derive(Clone, Debug)]
pub struct Place {
    /// As it is shown: relative to the workspace, or absolute below `/tmp`.
    pub shown: String,
    /// For `std::fs`.
    pub path: PathBuf,
}

impl Places {
    /// Works in these directories. In a sandbox they are `/workspace` and `/tmp`.
    pub fn new(workspace: &Path, tmp: &Path) -> Places {
        Places {
            workspace: workspace.to_owned(),
            tmp: tmp.to_owned(),
        }
    }

    /// The workspace, for `std::fs`.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// Finds a path of the arguments. `..` is kept for the file system to resolve, for
    /// it may come after a symbolic link; here it is only seen whether it climbs out.
    ///
    /// # Errors
    /// A path that is empty or lies outside, with the rule for paths.
    pub fn find(&self, given: &str) -> Result<Place, Error> {
        let outside = |reason| Error::Outside {
            path: given.to_owned(),
            reason,
        };
        if given.is_empty() {
            return Err(outside("an empty path"));
        }
        let path = Path::new(given);
        let (base, shown_base, relative) = if !path.has_root() {
            (&self.workspace, "", path)
        } else if let Ok(relative) = path.strip_prefix(WORKSPACE) {
            (&self.workspace, "", relative)
        } else if let Ok(relative) = path.strip_prefix(TMP) {
            (&self.tmp, TMP, relative)
        } else {
            return Err(outside("it is outside of the workspace"));
        };
        let mut shown: Vec<&str> = Vec::new();
        for component in relative.components() {
            match component {
                Component::Normal(name) => shown.push(name.to_str().unwrap_or_default()),
                Component::ParentDir => {
                    if shown.pop().is_none() {
                        return Err(outside("it climbs out of the workspace"));
                    }
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        let mut text = shown.join("/");
        if !shown_base.is_empty() {
            text = format!("{shown_base}/{text}");
        }
        if text.is_empty() {
            text.push('.');
        }
        let mut path = base.clone();
        if relative.as_os_str().is_empty() {
            path.push(".");
        } else {
            path.push(relative);
        }
        if given.ends_with('/') && !path.as_os_str().to_string_lossy().ends_with('/') {
            path.push("");
        }
        Ok(Place { shown: text, path })
    }

    /// Finds a path that is to be changed: not one of the two directories themselves.
    ///
    /// # Errors
    /// As [`Places::find`], and for the two directories.
    pub fn find_within(&self, given: &str) -> Result<Place, Error> {
        let place = self.find(given)?;
        if matches!(place.shown.as_str(), "." | "/tmp" | "/tmp/") {
            return Err(Error::Outside {
                path: given.to_owned(),
                reason: "it names the whole directory",
            });
        }
        Ok(place)
    }
}

impl Place {
    /// Makes the directories that the path lies in.
    ///
    /// # Errors
    /// If one cannot be made, or there is something else.
    pub fn make_parents(&self) -> Result<(), Error> {
        let Some(parent) = self.path.parent() else {
            return Ok(());
        };
        std::fs::create_dir_all(parent)
            .map_err(|error| match kind(&error) {
                // There is something, and it is no directory.
                ErrorKind::AlreadyExists => ErrorKind::NotADirectory.into(),
                _ => error,
            })
            .map_err(Error::io("make the directory of", &self.shown))
    }

    /// How an entry below this directory is shown.
    pub fn show_below(&self, relative: &str) -> String {
        match (self.shown.as_str(), relative) {
            (_, "") => self.shown.clone(),
            (".", _) => relative.to_owned(),
            (shown, _) => format!("{}/{relative}", shown.trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(given: &str) -> Result<(String, PathBuf), String> {
        Places::new("/w".as_ref(), "/t".as_ref())
            .find(given)
            .map(|place| (place.shown, place.path))
            .map_err(|error| error.to_string())
    }

    fn ok(shown: &str, path: &str) -> Result<(String, PathBuf), String> {
        Ok((shown.into(), path.into()))
    }

    #[test]
    fn paths_are_relative_to_the_workspace_or_absolute_below_it() {
        assert_eq!(find("a/b.rs"), ok("a/b.rs", "/w/a/b.rs"));
        assert_eq!(find("./a//b"), ok("a/b", "/w/./a//b"));
        assert_eq!(find("/workspace/a"), ok("a", "/w/a"));
        assert_eq!(find("/workspace"), ok(".", "/w/."));
        assert_eq!(find("/tmp/x"), ok("/tmp/x", "/t/x"));
        assert_eq!(find("a/../b"), ok("b", "/w/a/../b"));
    }

    #[test]
    fn a_trailing_slash_is_not_lost() {
        let (_, path) = find("a/").expect("inside");
        assert!(path.to_string_lossy().ends_with("a/"));
    }

    #[test]
    fn climbing_out_is_refused_with_the_rule() {
        for path in ["../a", "a/../../b", "/workspace/../etc/passwd", "/tmp/.."] {
            let message = find(path).expect_err(path);
            assert!(message.contains("climbs out"), "{message}");
            assert!(message.contains("relative to /workspace"), "{message}");
        }
        for path in ["/etc/passwd", "/workspaces/a", "/", "/tmpx"] {
            assert!(find(path).expect_err(path).contains("outside"));
        }
        assert!(find("").expect_err("empty").contains("empty"));
    }
}
