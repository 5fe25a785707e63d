//! Promotion: what a commit has put into the base leaves the tables of the snapshots
//! that were made on top of it, and becomes a reference to the base.
//!
//! A table is promoted when its snapshot is branched from, against the newest of its
//! ancestors that the base holds: a node that both share is in the base as it is. Before
//! that, the commit gave every node that it placed its names among the base's entries,
//! so that a node keeps its inode when it leaves the table.
//!
//! **Invariant**: a promoted table over the base as it was committed shows what the
//! table showed.

use crate::node::{Binding, Body, Directory, Inode, Link, Node, NodeRef, Table};

/// `table` without what the base holds since all changes of `verified` are in it.
/// `between` are the tables of the versions between the two: a name that one of them
/// binds otherwise will be that in the base for a while. The cost is that of `verified`.
pub(crate) fn promote(table: &Table, verified: &Table, between: &[&Table]) -> Table {
    let mut left = table.clone();
    for (inode, old) in verified {
        if table.get(inode) == Some(old) {
            left.remove(inode);
        }
    }
    // What is left keeps its name in the table, though the base holds the directory.
    let mut named = Vec::new();
    for (inode, old) in verified {
        let (Some(node), Some(old)) = (table.get(inode), old.directory()) else {
            continue;
        };
        let between: Vec<_> = between
            .iter()
            .filter_map(|table| table.get(inode)?.directory())
            .collect();
        let over_base = over_base(node, old, &left, &between);
        let directory = over_base.directory();
        let is_needed = directory.is_some_and(|directory| !directory.bindings.is_empty());
        if is_needed || left.contains_key(inode) {
            named.extend(node.links.iter().map(|link| (*inode, link.clone())));
            left.insert(*inode, NodeRef::new(over_base));
        }
    }
    for (inode, link) in named {
        keep_name(&mut left, table, inode, link);
    }
    left
}

/// A directory that the base holds with the entries of `old`: what differs from that or
/// did, and what is still in the table.
fn over_base(node: &Node, old: &Directory, left: &Table, between: &[&Directory]) -> Node {
    let mut node = node.clone();
    if let Body::Directory(directory) = &mut node.body {
        directory.lower = true;
        directory.bindings = std::mem::take(&mut directory.bindings)
            .into_iter()
            .filter_map(|(name, binding)| {
                let Some(placed) = old.bindings.get(&name) else {
                    return Some((name, binding));
                };
                let covers = placed.now;
                let is_left = binding.now.is_some_and(|now| left.contains_key(&now));
                let differed = between.iter().any(|directory| {
                    let then = directory.bindings.get(&name);
                    then.is_some_and(|then| then.now != covers)
                });
                let stays = is_left || differed || binding.now != covers;
                stays.then_some((name, Binding { covers, ..binding }))
            })
            .collect();
    }
    node
}

/// Binds what is left in the directories that it lies in, up to the root.
fn keep_name(left: &mut Table, table: &Table, mut inode: Inode, mut link: Link) {
    loop {
        let dir = link.directory;
        if !left.contains_key(&dir) {
            let Some(node) = table.get(&dir) else { return };
            let mut node = Node::clone(node);
            node.body = Body::Directory(Directory {
                lower: true,
                ..Directory::default()
            });
            left.insert(dir, NodeRef::new(node));
        }
        let Some(node) = left.get_mut(&dir) else {
            return;
        };
        let is_bound = node
            .directory()
            .is_some_and(|directory| directory.bindings.contains_key(&link.name));
        if !is_bound && let Body::Directory(directory) = &mut node.make_mut().body {
            let own = Binding {
                covers: Some(inode),
                now: Some(inode),
            };
            directory.bindings.insert(link.name, own);
        }
        match node.links.first().cloned() {
            Some(above) if !is_bound => (inode, link) = (dir, above),
            _ => return,
        }
    }
}
