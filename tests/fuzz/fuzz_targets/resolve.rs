//! Paths of a guest, over links of any sort: the resolver finds what the kernel finds
//! beneath the same directory, or nothing if the kernel finds nothing.
//!
//! An input is text: the path, and on each further line a link as `directory name>target`
//! where the directory is a digit.

#![no_main]

#[path = "../../../daemon/sandbox/src/fs/resolve.rs"]
mod resolve;

/// The part of the sandbox's generated types that the resolver needs.
mod types {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum ErrorCode {
        Busy,
        Invalid,
        Io,
        Loop,
        NameTooLong,
        NoEntry,
        NotDirectory,
        NotPermitted,
    }
}

use forerun_snapshot::{Branch, FsError, Inode, Located, NodeKind, OpenOptions, Workspace};
use libfuzzer_sys::fuzz_target;
use resolve::{Last, Resolved, Tree, resolve};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::cell::RefCell;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const DIRECTORIES: [&str; 4] = ["", "d", "d/e", "f"];
/// Links of one input; more than a path may follow.
const LINKS_MAX: usize = 60;
/// Inputs after which the tree is made anew, because a workspace remembers names.
const INPUTS_MAX: usize = 2_000;

struct Found(Branch);

impl Tree for Found {
    fn lookup(&mut self, directory: Inode, name: &str) -> Result<(Inode, NodeKind), FsError> {
        let node = self.0.lookup(directory, name)?;
        Ok((node, self.0.metadata(node)?.kind))
    }

    fn lookup_path(&mut self, start: Inode, path: &str) -> Option<Located> {
        self.0.lookup_path(start, path).ok()
    }

    fn read_link(&mut self, link: Inode) -> Result<String, FsError> {
        self.0.read_link(link)
    }
}

struct Fixture {
    directory: TempDir,
    workspace: Workspace,
    inputs: usize,
}

impl Fixture {
    fn new() -> Fixture {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let directory = directory.expect("a temporary directory");
        let root = directory.path().join("work");
        let state_dir = directory.path().join("state");
        fs::create_dir(&state_dir).expect("makes");
        for name in DIRECTORIES {
            fs::create_dir_all(root.join(name)).expect("makes");
        }
        for name in ["a", "d/b", "d/e/c"] {
            fs::write(root.join(name), "").expect("writes");
        }
        let options = OpenOptions {
            state_dir,
            masks: Vec::new(),
        };
        let workspace = Workspace::open(&root, &options).expect("opens");
        Fixture {
            directory,
            workspace,
            inputs: 0,
        }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// Makes the links, as far as the kernel lets us.
    fn link(&self, lines: &mut dyn Iterator<Item = &str>) -> Vec<PathBuf> {
        let mut made = Vec::new();
        for line in lines.take(LINKS_MAX) {
            let parts = line.split_once('>').and_then(|(place, target)| {
                let directory = place.chars().next()?.to_digit(4)? as usize;
                Some((directory, &place[1..], target))
            });
            let Some((directory, name, target)) = parts else {
                continue;
            };
            let hidden = name.eq_ignore_ascii_case(".forerun");
            let proper = !name.contains(['/', '\0']) && !["", ".", ".."].contains(&name);
            let path = self.root().join(DIRECTORIES[directory]).join(name);
            if proper && !hidden && symlink(target, &path).is_ok() {
                made.push(path);
            }
        }
        made
    }
}

/// What the kernel finds, relative to the root.
fn of_kernel(root: &Path, path: &str, last: Last) -> Option<String> {
    let directory = File::open(root).expect("opens");
    let mut flags = OFlags::PATH | OFlags::CLOEXEC;
    if last == Last::Link {
        flags |= OFlags::NOFOLLOW;
    }
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let found = loop {
        match rustix::fs::openat2(&directory, path, flags, Mode::empty(), beneath) {
            // Somebody renamed something, anywhere, while it went up.
            Err(Errno::AGAIN) => {}
            other => break other.ok()?,
        }
    };
    let found = fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).expect("a path");
    let found = found.strip_prefix(root).expect("is beneath");
    Some(found.to_str().expect("text").to_owned())
}

thread_local! {
    static FIXTURE: RefCell<Option<Fixture>> = const { RefCell::new(None) };
}

fuzz_target!(|text: &str| {
    FIXTURE.with_borrow_mut(|fixture| {
        if fixture
            .as_ref()
            .is_some_and(|fixture| fixture.inputs >= INPUTS_MAX)
        {
            *fixture = None;
        }
        let fixture = fixture.get_or_insert_with(Fixture::new);
        fixture.inputs += 1;
        let mut lines = text.split('\n');
        let path = lines.next().unwrap_or_default();
        let made = fixture.link(&mut lines);
        for last in [Last::Follow, Last::Link, Last::Entry] {
            let mut tree = Found(fixture.workspace.snapshot().branch());
            let found = match resolve(&mut tree, Inode::ROOT, path, last) {
                Ok(Resolved::Directory(node)) => Some(tree.0.path_of(node).expect("has a path")),
                Ok(Resolved::Entry(entry)) => {
                    let name = entry.name.as_str();
                    assert!(!name.contains('/') && !["", ".", ".."].contains(&name));
                    let now = tree.lookup(entry.directory, name).ok();
                    assert_eq!(now, entry.node);
                    let above = tree.0.path_of(entry.directory).expect("has a path");
                    let path = format!("{above}/{name}");
                    let is_it = |(_, kind): &(Inode, NodeKind)| {
                        !entry.demands_directory || *kind == NodeKind::Directory
                    };
                    let found = entry.node.filter(is_it);
                    found.map(|_| path.trim_start_matches('/').to_owned())
                }
                Err(_) => None,
            };
            // The kernel has no way to ask for a link that a slash follows.
            if last != Last::Entry {
                assert_eq!(found, of_kernel(&fixture.root(), path, last), "{last:?}");
            }
        }
        for link in made {
            fs::remove_file(link).expect("removes");
        }
    });
});
