//! The persistent inode table: changed nodes by inode, shared between forks.
//!
//! A base object's inode is the id of its interned entry, so its identity survives
//! copy-up, and every fork gives it the same number. A node is in the table only if
//! something about it differs from the base, or something below a directory does.
//!
//! **Invariants**
//! - Every node with a link is bound in the table of that link's directory.
//! - A removed base directory keeps its node, without links: the node holds what was
//!   removed from it, which the delta needs.

use crate::content::Content;
use crate::version::{ObjectKind, Timestamp};
use imbl::OrdMap;
use std::sync::Arc;

/// The identity of a node, the same in all snapshots of a workspace while a process
/// runs, and stable across copy-up and renames. Never a host inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(pub(crate) u64);

impl Inode {
    /// The workspace's directory itself.
    pub const ROOT: Inode = Inode(0);

    /// The number, for hashing and for logs.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// What a node is. Sockets, FIFOs and devices are not shown at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; its target is never followed here.
    Symlink,
}

impl From<NodeKind> for ObjectKind {
    fn from(kind: NodeKind) -> ObjectKind {
        match kind {
            NodeKind::File => ObjectKind::File,
            NodeKind::Directory => ObjectKind::Directory,
            NodeKind::Symlink => ObjectKind::Symlink,
        }
    }
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Link {
    pub(crate) directory: Inode,
    pub(crate) name: Arc<str>,
}

/// A changed node.
#[derive(Clone)]
pub(crate) struct Node {
    /// Where it is bound: once for a directory, any number of times for the others.
    pub(crate) links: Vec<Link>,
    pub(crate) body: Body,
    pub(crate) times: Times,
    /// Permission bits; `None` for what a new node gets by default.
    pub(crate) mode: Option<u32>,
    /// Whether a tool made it; in the step that did, it inherits the mode of a file that
    /// it is renamed over.
    pub(crate) created: bool,
}

/// A node's times, as metadata shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) accessed: Timestamp,
    pub(crate) modified: Timestamp,
    /// Whether a tool set them; only then are they part of a delta.
    pub(crate) explicit: bool,
}

#[derive(Clone)]
pub(crate) enum Body {
    /// A base file that was moved, its content still read from the base.
    BaseFile,
    File(Content),
    Directory(Directory),
    Symlink(Arc<str>),
}

/// The changed entries of a directory.
#[derive(Clone, Default)]
pub(crate) struct Directory {
    /// Whether the base's entries show through where nothing is bound here. `false` for
    /// a new directory, which is therefore opaque.
    pub(crate) lower: bool,
    pub(crate) bindings: OrdMap<Arc<str>, Binding>,
}

/// A name that differs from the base, or did once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The base entry that had the name when it was first bound here.
    pub(crate) covers: Option<Inode>,
    /// What has the name now; `None` is a whiteout.
    pub(crate) now: Option<Inode>,
}

impl Node {
    pub(crate) fn kind(&self) -> NodeKind {
        match self.body {
            Body::BaseFile | Body::File(_) => NodeKind::File,
            Body::Directory(_) => NodeKind::Directory,
            Body::Symlink(_) => NodeKind::Symlink,
        }
    }

    pub(crate) fn directory(&self) -> Option<&Directory> {
        match &self.body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }
}

/// A shared node; two are equal if they are one.
#[derive(Clone)]
pub(crate) struct NodeRef(Arc<Node>);

impl NodeRef {
    pub(crate) fn new(node: Node) -> NodeRef {
        NodeRef(Arc::new(node))
    }

    /// The node for changing; copied if another fork holds it.
    pub(crate) fn make_mut(&mut self) -> &mut Node {
        Arc::make_mut(&mut self.0)
    }
}

impl std::ops::Deref for NodeRef {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.0
    }
}

impl PartialEq for NodeRef {
    fn eq(&self, other: &NodeRef) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Changed nodes by inode. A clone is O(1).
pub(crate) type Table = OrdMap<Inode, NodeRef>;
