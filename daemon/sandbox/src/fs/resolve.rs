//! Takes a guest's path apart, from a directory that the guest holds.
//!
//! Every path of every operation comes through [`resolve`]. What comes out names an
//! entry by its real directory and a single name, with no link, `.` or `..` left in it.
//!
//! - `..` never leads above the directory the path started from: `not-permitted`.
//! - Symbolic links are followed inside that directory only, at most [`LINKS_MAX`] of
//!   them (`loop`); an absolute target leads out, so it is `not-permitted`.
//! - A trailing slash demands a directory; what ends in `/.` or `/..` is one, and has to
//!   be there.
//! - The empty path is `no-entry`, NUL is `invalid`, an overlong path or name is
//!   `name-too-long`, an absolute path is `not-permitted`.

use super::types::ErrorCode;
use forerun_snapshot::{FsError, Inode, Located, NodeKind};

/// Symbolic links in one path; stops links that point to each other.
const LINKS_MAX: u32 = 40;
/// Bytes of one path, as `PATH_MAX`; stops links that grow as they are followed.
const PATH_BYTES_MAX: usize = 4_096;
/// Bytes of one name, as `NAME_MAX`.
const NAME_BYTES_MAX: usize = 255;
/// Components that are walked through at all: 40 links of the longest target.
const STEPS_MAX: u32 = 100_000;

/// The part of a branch that finding a path needs.
pub(crate) trait Tree {
    /// An entry of a directory.
    fn lookup(&mut self, directory: Inode, name: &str) -> Result<(Inode, NodeKind), FsError>;
    /// A whole path of plain names, no link followed: as looking up one after another.
    /// `None` if that fails, or if the tree can not do it at once.
    fn lookup_path(&mut self, _start: Inode, _path: &str) -> Option<Located> {
        None
    }
    /// The target of a link.
    fn read_link(&mut self, link: Inode) -> Result<String, FsError>;
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// The path ended in the start itself, `.` or `..`: a directory that is not named.
    Directory(Inode),
    /// A name in a directory, which may or may not exist.
    Entry(Entry),
}

/// A name in a real directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The directory.
    pub(crate) directory: Inode,
    /// The single name.
    pub(crate) name: String,
    /// What it names now.
    pub(crate) node: Option<(Inode, NodeKind)>,
    /// Whether the path demanded a directory, by a trailing slash.
    pub(crate) demands_directory: bool,
}

/// Resolves `path` from `start`. With `follow`, a link at the end is followed too; a
/// trailing slash follows it in any case, unless `keep_last` (removing and renaming work
/// on the entry itself).
///
/// # Errors
/// What the guest is to see.
pub(crate) fn resolve(
    tree: &mut impl Tree,
    start: Inode,
    path: &str,
    last: Last,
) -> Result<Resolved, ErrorCode> {
    check(path)?;
    if path.starts_with('/') {
        return Err(ErrorCode::NotPermitted);
    }
    if let Some(entry) = at_once(tree, start, path) {
        return Ok(Resolved::Entry(entry));
    }
    let mut walk = Walk {
        directories: vec![start],
        pending: Vec::new(),
        links: 0,
        steps: 0,
    };
    walk.push(path);
    walk.run(tree, last)
}

/// Resolves a path of plain names without a link in it as a whole. Whatever is else about
/// it, even why it leads nowhere, a walk finds out.
fn at_once(tree: &mut impl Tree, start: Inode, path: &str) -> Option<Entry> {
    let is_plain = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= NAME_BYTES_MAX;
    if !path.split('/').all(is_plain) {
        return None;
    }
    let located = tree.lookup_path(start, path)?;
    if let Some((_, NodeKind::Symlink)) = located.node {
        return None;
    }
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    Some(Entry {
        directory: located.directory,
        name: name.to_owned(),
        node: located.node,
        demands_directory: false,
    })
}

/// What happens to a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// It is followed.
    Follow,
    /// It is what is meant, unless a trailing slash asks for what it points to.
    Link,
    /// It is what is meant, whatever follows it.
    Entry,
}

struct Walk {
    /// The directories from the start to where the walk is; never empty.
    directories: Vec<Inode>,
    /// Components still to come, the next one last.
    pending: Vec<Part>,
    links: u32,
    steps: u32,
}

enum Part {
    Name(String),
    Parent,
    /// `.`, which is the directory that it comes after.
    Here,
    /// An empty component: a slash more, which only matters at the end.
    Slash,
}

impl Walk {
    fn push(&mut self, path: &str) {
        self.pending.extend(path.rsplit('/').map(|part| match part {
            "" => Part::Slash,
            "." => Part::Here,
            ".." => Part::Parent,
            name => Part::Name(name.to_owned()),
        }));
    }

    fn run(&mut self, tree: &mut impl Tree, last: Last) -> Result<Resolved, ErrorCode> {
        while let Some(part) = self.pending.pop() {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(ErrorCode::Loop);
            }
            let name = match part {
                Part::Here | Part::Slash => continue,
                Part::Parent => {
                    self.up()?;
                    continue;
                }
                Part::Name(name) => name,
            };
            if name.len() > NAME_BYTES_MAX {
                return Err(ErrorCode::NameTooLong);
            }
            let directory = self.here();
            let node = match tree.lookup(directory, &name) {
                Ok(node) => Some(node),
                Err(FsError::NotFound) => None,
                Err(FsError::NotADirectory) => return Err(ErrorCode::NotDirectory),
                Err(FsError::NameTooLong) => return Err(ErrorCode::NameTooLong),
                Err(FsError::InvalidName) => return Err(ErrorCode::Invalid),
                Err(FsError::NotPermitted) => return Err(ErrorCode::NotPermitted),
                Err(FsError::Changed) => return Err(ErrorCode::Busy),
                Err(_) => return Err(ErrorCode::Io),
            };
            // Only slashes left: this is the last name, and a directory is meant.
            let is_last = self.pending.iter().all(|part| matches!(part, Part::Slash));
            let demands_directory = is_last && !self.pending.is_empty();
            let entry = |node| {
                Resolved::Entry(Entry {
                    directory,
                    name: name.clone(),
                    node,
                    demands_directory,
                })
            };
            match node {
                None if is_last => return Ok(entry(None)),
                None => return Err(ErrorCode::NoEntry),
                Some((link, NodeKind::Symlink)) => {
                    let follows = !is_last
                        || match last {
                            Last::Follow => true,
                            Last::Link => demands_directory,
                            Last::Entry => false,
                        };
                    if !follows {
                        return Ok(entry(node));
                    }
                    self.follow(tree, link)?;
                }
                Some(_) if is_last => return Ok(entry(node)),
                Some((inode, NodeKind::Directory)) => self.directories.push(inode),
                Some((_, NodeKind::File)) => return Err(ErrorCode::NotDirectory),
            }
        }
        Ok(Resolved::Directory(self.here()))
    }

    fn here(&self) -> Inode {
        *self
            .directories
            .last()
            .expect("`up` never removes the start")
    }

    fn up(&mut self) -> Result<(), ErrorCode> {
        if self.directories.len() == 1 {
            return Err(ErrorCode::NotPermitted);
        }
        self.directories.pop();
        Ok(())
    }

    fn follow(&mut self, tree: &mut impl Tree, link: Inode) -> Result<(), ErrorCode> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(ErrorCode::Loop);
        }
        let target = tree.read_link(link).map_err(|_| ErrorCode::Io)?;
        check(&target)?;
        if target.starts_with('/') {
            return Err(ErrorCode::NotPermitted);
        }
        self.push(&target);
        Ok(())
    }
}

fn check(path: &str) -> Result<(), ErrorCode> {
    if path.is_empty() {
        return Err(ErrorCode::NoEntry);
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(ErrorCode::NameTooLong);
    }
    if path.contains('\0') {
        return Err(ErrorCode::Invalid);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerun_snapshot::{Branch, OpenOptions, Workspace};
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// `a` (file), `d/`, `d/e/`, `d/f` (file), `up -> ..`, `d/l -> e/../f`, `abs -> /etc`,
    /// `d/out -> ../../x`, `loop -> loop`, `d/root -> ..`, `dangling -> none`.
    struct Fixture {
        _directory: TempDir,
        branch: Branch,
    }

    impl Fixture {
        fn new() -> Fixture {
            let directory = tempfile::tempdir().expect("temporary directory");
            let (root, state_dir) = (directory.path().join("w"), directory.path().join("s"));
            fs::create_dir_all(root.join("d/e")).expect("created");
            fs::create_dir(&state_dir).expect("created");
            fs::write(root.join("a"), "").expect("written");
            fs::write(root.join("d/f"), "").expect("written");
            for (target, path) in [
                ("..", "up"),
                ("e/../f", "d/l"),
                ("/etc", "abs"),
                ("../../x", "d/out"),
                ("loop", "loop"),
                ("..", "d/root"),
                ("none", "dangling"),
            ] {
                symlink(target, root.join(path)).expect("linked");
            }
            let options = OpenOptions {
                state_dir,
                masks: Vec::new(),
            };
            let workspace = Workspace::open(&root, &options).expect("opens");
            Fixture {
                branch: workspace.snapshot().branch(),
                _directory: directory,
            }
        }

        fn resolve(&mut self, path: &str, last: Last) -> Result<String, ErrorCode> {
            let root = self.branch.root();
            resolve(&mut self.branch, root, path, last).map(|resolved| match resolved {
                Resolved::Directory(node) => {
                    format!("[{}]", self.branch.path_of(node).expect("named"))
                }
                Resolved::Entry(entry) => format!(
                    "{}:{}{}{}",
                    self.branch.path_of(entry.directory).expect("named"),
                    entry.name,
                    if entry.demands_directory { "/" } else { "" },
                    if entry.node.is_none() { " new" } else { "" },
                ),
            })
        }

        fn follow(&mut self, path: &str) -> Result<String, ErrorCode> {
            self.resolve(path, Last::Follow)
        }
    }

    fn found(text: &str) -> Result<String, ErrorCode> {
        Ok(text.to_owned())
    }

    #[test]
    fn a_path_becomes_a_directory_and_a_single_name() {
        let mut tree = Fixture::new();
        assert_eq!(tree.follow("a"), found(":a"));
        assert_eq!(tree.follow("d/f"), found("d:f"));
        assert_eq!(tree.follow("./d//e/../f"), found("d:f"));
        assert_eq!(tree.follow("d/new"), found("d:new new"));
        assert_eq!(tree.follow("."), found("[]"));
        assert_eq!(tree.follow("d/.."), found("[]"));
        assert_eq!(tree.follow("none/f"), Err(ErrorCode::NoEntry));
        assert_eq!(tree.follow("a/f"), Err(ErrorCode::NotDirectory));
    }

    #[test]
    fn a_trailing_slash_demands_a_directory() {
        let mut tree = Fixture::new();
        assert_eq!(tree.follow("d/"), found(":d/"));
        assert_eq!(tree.follow("a//"), found(":a/"));
        assert_eq!(tree.follow("new/"), found(":new/ new"));
    }

    #[test]
    fn a_dot_at_the_end_is_the_directory_before_it() {
        let mut tree = Fixture::new();
        assert_eq!(tree.follow("d/e/."), found("[d/e]"));
        assert_eq!(tree.resolve("d/root/.", Last::Entry), found("[]"));
        assert_eq!(tree.follow("new/."), Err(ErrorCode::NoEntry));
        assert_eq!(tree.follow("a/."), Err(ErrorCode::NotDirectory));
    }

    #[test]
    fn links_are_followed_where_they_are_meant_to_be() {
        let mut tree = Fixture::new();
        assert_eq!(tree.follow("d/l"), found("d:f"));
        assert_eq!(tree.resolve("d/l", Last::Link), found("d:l"));
        assert_eq!(tree.resolve("d/root/", Last::Link), found("[]"));
        assert_eq!(tree.resolve("d/root/", Last::Entry), found("d:root/"));
        assert_eq!(tree.follow("d/root/a"), found(":a"));
        assert_eq!(tree.follow("dangling"), found(":none new"));
        assert_eq!(tree.follow("loop"), Err(ErrorCode::Loop));
        assert_eq!(tree.resolve("loop", Last::Link), found(":loop"));
    }

    #[test]
    fn nothing_leads_out() {
        let mut tree = Fixture::new();
        for path in [
            "..",
            "../x",
            "d/../..",
            "up",
            "up/x",
            "up/",
            "abs",
            "abs/passwd",
            "d/out",
            "/a",
            "/",
        ] {
            assert_eq!(tree.follow(path), Err(ErrorCode::NotPermitted), "{path}");
        }
        assert_eq!(
            tree.resolve("up/", Last::Link),
            Err(ErrorCode::NotPermitted)
        );
        let start = tree.branch.lookup(Inode::ROOT, "d").expect("there");
        let above = resolve(&mut tree.branch, start, "root/a", Last::Follow);
        assert_eq!(
            above,
            Err(ErrorCode::NotPermitted),
            "not above where a path starts"
        );
    }

    #[test]
    fn odd_paths_have_their_own_errors() {
        let mut tree = Fixture::new();
        assert_eq!(tree.follow(""), Err(ErrorCode::NoEntry));
        assert_eq!(tree.follow("a\0b"), Err(ErrorCode::Invalid));
        assert_eq!(tree.follow(&"n".repeat(256)), Err(ErrorCode::NameTooLong));
        assert_eq!(
            tree.follow(&"d/".repeat(2_100)),
            Err(ErrorCode::NameTooLong)
        );
    }

    proptest! {
        /// Whatever the path: a name that comes out is single, and what it is in is in
        /// the tree.
        #[test]
        fn no_path_leads_out_or_panics(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "d", "e", "f", "l", "up", "abs", "out", "root", "loop", "dangling",
                    "..", ".", "", "new", "\0", "..\u{0}", "...",
                ]),
                0..12,
            ),
            last in prop::sample::select(vec![Last::Follow, Last::Link, Last::Entry]),
        ) {
            thread_local! {
                static TREE: std::cell::RefCell<Fixture> = std::cell::RefCell::new(Fixture::new());
            }
            TREE.with_borrow_mut(|tree| {
                let root = tree.branch.root();
                let path = parts.join("/");
                match resolve(&mut tree.branch, root, &path, last) {
                    Ok(Resolved::Entry(entry)) => {
                        assert!(!matches!(entry.name.as_str(), "" | "." | ".."));
                        assert!(!entry.name.contains(['/', '\0']));
                        assert!(tree.branch.path_of(entry.directory).is_ok());
                        if last == Last::Follow {
                            assert!(!matches!(entry.node, Some((_, NodeKind::Symlink))));
                        }
                    }
                    Ok(Resolved::Directory(node)) => {
                        assert!(tree.branch.path_of(node).is_ok());
                    }
                    Err(_) => {}
                }
            });
        }
    }
}
