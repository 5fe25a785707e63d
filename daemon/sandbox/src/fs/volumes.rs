//! The branches of one sandbox and the rules on their paths.

use super::failure::FsFailure;
use super::resolve::{self, Entry, Last, Resolved, Tree};
use super::types::ErrorCode;
use super::{TMP, WORKSPACE};
use forerun_snapshot::{Branch, FsError, Inode, Layout, Located, NodeKind};
use forerun_types::{DirectoryRules, PathPattern, PathRules, Touch, TouchDenied, fold};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Nodes that are looked at when a directory is moved under rules that depend on names;
/// stops a move from taking minutes. A larger directory is not moved.
const MOVED_NODES_MAX: usize = 50_000;

/// Bytes of the whole path of what is touched; stops a guest that goes down from
/// directory to directory from making what no path can name, and each step slower.
const PATH_BYTES_MAX: usize = 4_096;

/// Refused touches that are noted of one action; stops a guest that touches everything from
/// filling memory. What comes after these is let through like them.
const NOTED_MAX: usize = 100;

/// Directories whose rules are remembered; stops a guest that walks through everything
/// from filling memory.
const DIRECTORIES_MAX: usize = 10_000;

/// One of the two directories that a guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mount {
    /// The workspace.
    Workspace,
    /// Temporary files.
    Tmp,
}

/// A node of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) mount: Mount,
    pub(crate) node: Inode,
}

/// Everything that a guest can read and change.
pub(crate) struct Volumes {
    pub(crate) workspace: Branch,
    pub(crate) tmp: Branch,
    rules: PathRules,
    /// Directories in which something was touched.
    directories: Directories,
    /// Whether a rule depends on more than the subtree that a path lies in.
    names_matter: bool,
    /// The first touch that was refused.
    pub(crate) denied: Option<TouchDenied>,
    /// Touches that would have been refused, were everything enforced.
    pub(crate) noted: Vec<TouchDenied>,
    /// Whether a rule says what is sensitive.
    watches: bool,
    /// Whether something sensitive was read.
    pub(crate) read_sensitive: Arc<AtomicBool>,
    /// Counts what can have changed a file's content.
    pub(crate) writes: u64,
    /// Where streams read ahead into.
    pub(crate) ahead: Vec<u8>,
}

/// Where directories are, as long as none was moved or removed.
#[derive(Default)]
struct Directories {
    layout: Option<[Layout; 2]>,
    known: HashMap<(Mount, Inode), Known>,
}

/// A directory in which something was touched.
struct Known {
    /// Its path, as the guest sees it.
    path: String,
    rules: DirectoryRules,
}

impl Volumes {
    pub(crate) fn new(workspace: Branch, tmp: Branch, rules: PathRules) -> Volumes {
        Volumes {
            workspace,
            tmp,
            names_matter: rules
                .rules
                .iter()
                .any(|rule| depends_on_names(&rule.pattern)),
            watches: rules.know_sensitive(),
            rules,
            directories: Directories::default(),
            denied: None,
            noted: Vec::new(),
            read_sensitive: Arc::default(),
            writes: 0,
            ahead: Vec::new(),
        }
    }

    pub(crate) fn branch(&mut self, mount: Mount) -> &mut Branch {
        match mount {
            Mount::Workspace => &mut self.workspace,
            Mount::Tmp => &mut self.tmp,
        }
    }

    /// Finds a path from a directory.
    pub(crate) fn resolve(
        &mut self,
        start: Place,
        path: &str,
        last: Last,
    ) -> Result<Resolved, FsFailure> {
        Ok(resolve::resolve(
            self.branch(start.mount),
            start.node,
            path,
            last,
        )?)
    }

    /// Finds a node that exists.
    pub(crate) fn find(
        &mut self,
        start: Place,
        path: &str,
        last: Last,
        touch: Touch,
    ) -> Result<Inode, FsFailure> {
        match self.resolve(start, path, last)? {
            Resolved::Directory(directory) => {
                self.touch_node(touch, start.mount, directory)?;
                Ok(directory)
            }
            Resolved::Entry(entry) => {
                self.touch_entry(touch, start.mount, &entry)?;
                let (node, kind) = entry.node.ok_or(ErrorCode::NoEntry)?;
                if entry.demands_directory && kind != NodeKind::Directory {
                    return Err(ErrorCode::NotDirectory.into());
                }
                Ok(node)
            }
        }
    }

    /// Asks the rules about a name in a directory.
    pub(crate) fn touch_entry(
        &mut self,
        touch: Touch,
        mount: Mount,
        entry: &Entry,
    ) -> Result<(), FsFailure> {
        let name = entry.name.as_str();
        let watches = self.watches;
        let known = self.directory(mount, entry.directory)?;
        if watches && touch == Touch::Read {
            let path = match known.rules.known(Touch::Sensitive, &fold(name)) {
                Some(false) => None,
                _ => Some(format!("{}/{name}", known.path)),
            };
            if let Some(path) = path {
                self.watch(&path);
            }
        }
        let known = self.directory(mount, entry.directory)?;
        let fits = known.path.len() + 1 + name.len() <= PATH_BYTES_MAX;
        if fits && known.rules.allow(touch, &fold(name)) {
            return Ok(());
        }
        let path = format!("{}/{name}", known.path);
        self.decide(touch, &path)
    }

    /// Notes whether a name in a directory is sensitive to read: it gets another one.
    pub(crate) fn watch_entry(&mut self, mount: Mount, entry: &Entry) -> Result<(), FsFailure> {
        let path = format!(
            "{}/{}",
            self.directory(mount, entry.directory)?.path,
            entry.name
        );
        self.watch(&path);
        Ok(())
    }

    /// A directory's path and its rules.
    fn directory(&mut self, mount: Mount, directory: Inode) -> Result<&Known, FsFailure> {
        let layout = [self.workspace.layout(), self.tmp.layout()];
        if self.directories.layout != Some(layout)
            || self.directories.known.len() >= DIRECTORIES_MAX
        {
            self.directories.layout = Some(layout);
            self.directories.known.clear();
        }
        if !self.directories.known.contains_key(&(mount, directory)) {
            let path = self.path_of(mount, directory)?;
            let rules = self.rules.in_directory(&fold(&path));
            let known = Known { path, rules };
            self.directories.known.insert((mount, directory), known);
        }
        // It was put there just now, if it was not there.
        self.directories
            .known
            .get(&(mount, directory))
            .ok_or_else(|| ErrorCode::Io.into())
    }

    /// Asks the rules about a node, under the name that it has now.
    pub(crate) fn touch_node(
        &mut self,
        touch: Touch,
        mount: Mount,
        node: Inode,
    ) -> Result<(), FsFailure> {
        match self.path_of(mount, node) {
            Ok(path) => {
                if touch == Touch::Read {
                    self.watch(&path);
                }
                self.decide(touch, &path)
            }
            // A node without a name can only be reached by who has it open.
            Err(FsError::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the rules about moving `from` to `to`: delete on the one side, write on the
    /// other, and the same for everything below a directory where names matter.
    pub(crate) fn touch_move(
        &mut self,
        from: (Mount, &Entry),
        to: (Mount, &Entry),
    ) -> Result<(), FsFailure> {
        let mut path = |(mount, entry): (Mount, &Entry)| -> Result<String, FsFailure> {
            Ok(format!(
                "{}/{}",
                self.directory(mount, entry.directory)?.path,
                entry.name
            ))
        };
        let (from_path, to_path) = (path(from)?, path(to)?);
        // Under another name it is as sensitive as it was.
        self.watch(&from_path);
        self.decide(Touch::Delete, &from_path)?;
        self.decide(Touch::Write, &to_path)?;
        let Some((node, NodeKind::Directory)) = from.1.node else {
            return Ok(());
        };
        if !self.names_matter && !self.watches {
            return Ok(());
        }
        let mut pending = vec![(node, String::new())];
        let mut seen = 0;
        while let Some((directory, below)) = pending.pop() {
            for child in self.branch(from.0).list(directory)? {
                seen += 1;
                if seen > MOVED_NODES_MAX {
                    return Err(ErrorCode::NotPermitted.into());
                }
                let relative = format!("{below}/{}", child.name);
                self.watch(&format!("{from_path}{relative}"));
                self.decide(Touch::Delete, &format!("{from_path}{relative}"))?;
                self.decide(Touch::Write, &format!("{to_path}{relative}"))?;
                if child.kind == NodeKind::Directory {
                    let inode = self.branch(from.0).lookup(directory, &child.name)?;
                    pending.push((inode, relative));
                }
            }
        }
        Ok(())
    }

    /// The path of a node as the guest sees it.
    fn path_of(&mut self, mount: Mount, node: Inode) -> Result<String, FsError> {
        let root = match mount {
            Mount::Workspace => WORKSPACE,
            Mount::Tmp => TMP,
        };
        match self.branch(mount).path_of(node)? {
            path if path.is_empty() => Ok(root.to_owned()),
            path => Ok(format!("{root}/{path}")),
        }
    }

    /// Notes whether it is sensitive to read a path.
    fn watch(&self, path: &str) {
        if self.watches
            && self
                .rules
                .decide(Touch::Sensitive, path, &fold(path))
                .is_ok()
        {
            self.read_sensitive.store(true, Ordering::Relaxed);
        }
    }

    fn decide(&mut self, touch: Touch, path: &str) -> Result<(), FsFailure> {
        if path.len() > PATH_BYTES_MAX {
            return Err(ErrorCode::NameTooLong.into());
        }
        let folded = fold(path);
        let Err(denied) = self.rules.decide(touch, path, &folded) else {
            return Ok(());
        };
        match &self.rules.enforced {
            Some(enforced) if enforced.decide(touch, path, &folded).is_ok() => {
                if self.noted.len() < NOTED_MAX && !self.noted.contains(&denied) {
                    self.noted.push(denied);
                }
                Ok(())
            }
            _ => {
                self.denied.get_or_insert(denied);
                Err(ErrorCode::NotPermitted.into())
            }
        }
    }
}

impl Tree for Branch {
    fn lookup(&mut self, directory: Inode, name: &str) -> Result<(Inode, NodeKind), FsError> {
        let located = Branch::lookup_path(self, directory, name)?;
        located.node.ok_or(FsError::NotFound)
    }

    fn lookup_path(&mut self, start: Inode, path: &str) -> Option<Located> {
        Branch::lookup_path(self, start, path).ok()
    }

    fn read_link(&mut self, link: Inode) -> Result<String, FsError> {
        Branch::read_link(self, link)
    }
}

/// Whether moving a directory can take a path out of a pattern, or into it, although
/// the directory itself was and is on the same side.
fn depends_on_names(pattern: &PathPattern) -> bool {
    match pattern {
        PathPattern::Any | PathPattern::Subtree(_) => false,
        PathPattern::Path(_)
        | PathPattern::Name(_)
        | PathPattern::Extension(_)
        | PathPattern::Not(_) => true,
        PathPattern::All(patterns) | PathPattern::AnyOf(patterns) => {
            patterns.iter().any(depends_on_names)
        }
    }
}
