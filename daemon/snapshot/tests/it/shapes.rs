//! What a branch may do to a workspace: every kind of operation, alone and together.

use crate::support::{Paths, Scratch};
use forerun_snapshot::{Branch, FsError, Timestamp};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

pub(crate) fn base(scratch: &Scratch) {
    for path in [
        "a",
        "b",
        "dir/a",
        "dir/b",
        "dir/deep/c",
        "tree/x/y/z",
        "tree/x/w",
    ] {
        scratch.write(path, &format!("{path} of the base"));
    }
    symlink("a", scratch.path().join("link")).expect("links");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(scratch.path().join("b"), mode).expect("chmods");
}

/// The time that a shape gives to what it touches.
pub(crate) const TOUCHED: Timestamp = Timestamp { secs: 9, nanos: 0 };

pub(crate) type Change = fn(&mut Branch) -> Result<(), FsError>;

/// Each with its name.
pub(crate) fn shapes() -> Vec<(&'static str, Change)> {
    vec![
        ("replace", |b| b.put("a", "new")),
        ("replace two", |b| {
            b.put("a", "new").and(b.put("dir/a", "new"))
        }),
        ("create", |b| b.put("new", "new")),
        ("create below", |b| b.put("dir/deep/new", "new")),
        ("delete", |b| b.rm("a")),
        ("delete a tree", |b| b.rm_all("tree")),
        ("new tree", |b| {
            b.mkdir("n")?;
            b.mkdir("n/m")?;
            b.put("n/m/one", "1")?;
            b.put("n/two", "2")
        }),
        ("move a file", |b| b.mv("a", "dir/moved")),
        ("move a file over a file", |b| b.mv("a", "b")),
        ("move a directory", |b| b.mv("dir", "moved")),
        ("move into a new directory", |b| {
            b.mkdir("n")?;
            b.mv("dir", "n/dir")?;
            b.mv("a", "n/dir/a2")
        }),
        ("swap", |b| {
            b.mv("a", "t")?;
            b.mv("b", "a")?;
            b.mv("t", "b")
        }),
        ("swap directories", |b| {
            b.mv("dir", "t")?;
            b.mv("tree", "dir")?;
            b.mv("t", "tree")
        }),
        ("parent becomes child", |b| {
            b.mv("tree/x", "x")?;
            b.mv("tree", "x/tree")
        }),
        ("file becomes directory", |b| {
            b.rm("a")?;
            b.mkdir("a")?;
            b.put("a/inside", "i")
        }),
        ("directory becomes file", |b| {
            b.rm_all("tree")?;
            b.put("tree", "now a file")
        }),
        ("link becomes file", |b| {
            b.rm("link")?;
            b.put("link", "now a file")
        }),
        ("file becomes link", |b| {
            b.rm("a")?;
            let root = b.root();
            b.symlink(root, "a", "b").map(drop)
        }),
        ("hard links", |b| {
            let (node, root) = (b.resolve("a")?, b.root());
            b.link(node, root, "a2")?;
            let dir = b.resolve("dir")?;
            b.link(node, dir, "a3")
        }),
        ("edit in a moved directory", |b| {
            b.mv("tree", "moved")?;
            b.put("moved/x/w", "edited")?;
            b.rm("moved/x/y/z")?;
            b.put("moved/x/y/new", "n")
        }),
        ("times", |b| {
            let node = b.resolve("dir")?;
            let time = Some(TOUCHED);
            b.set_times(node, time, time)?;
            b.put("dir/a", "new")?;
            b.set_times(node, time, time)
        }),
        ("moved within what takes its parent's place", |b| {
            b.mkdir("dir/away")?;
            b.mv("tree/x", "dir/x")?;
            b.rm_all("tree")?;
            b.mv("dir", "tree")?;
            b.mkdir("dir")
        }),
        ("save by rename", |b| {
            b.put("a.tmp", "new")?;
            b.mv("a.tmp", "a")
        }),
        ("a chain of renames", |b| {
            b.mv("b", "c")?;
            b.mv("a", "b")?;
            b.put("a", "new")
        }),
        ("replace what was moved", |b| {
            b.mv("a", "dir/moved")?;
            b.put("dir/moved", "new")?;
            b.put("a", "another")
        }),
        ("a cycle of three files", |b| {
            b.mv("a", "t")?;
            b.mv("dir/a", "a")?;
            b.mv("dir/deep/c", "dir/a")?;
            b.mv("t", "dir/deep/c")
        }),
        ("a cycle of a file, a link and a directory", |b| {
            b.mv("a", "t")?;
            b.mv("link", "a")?;
            b.mv("dir", "link")?;
            b.mv("t", "dir")
        }),
        ("a cycle of directories at two depths", |b| {
            b.mv("tree/x", "t")?;
            b.mv("dir", "tree/x")?;
            b.mv("t", "dir")?;
            b.put("dir/w", "edited")?;
            b.put("tree/x/new", "new")
        }),
        ("a child takes the place of its parent", |b| {
            b.mv("tree/x", "t")?;
            b.rm_all("tree")?;
            b.mv("t", "tree")
        }),
        ("a chain of moves against the order of names", |b| {
            b.mv("a", "0")?;
            b.mv("b", "a")?;
            b.mv("dir/a", "b")?;
            b.mv("tree/x/w", "dir/a")
        }),
        ("moves through new directories and moved ones", |b| {
            b.mkdir("n")?;
            b.mkdir("n/m")?;
            b.mv("dir", "n/m/dir")?;
            b.mv("n/m/dir/deep", "n/deep")?;
            b.mv("a", "n/m/dir/deep")?;
            b.mv("tree/x", "n/m/x")?;
            b.rm_all("tree")?;
            b.mv("b", "n/m/x/y/b")
        }),
        ("renames in directories that are renamed", |b| {
            b.mv("dir/a", "dir/a2")?;
            b.mv("dir/deep/c", "dir/deep/c2")?;
            b.mv("dir/deep", "dir/deeper")?;
            b.mv("dir", "dir2")?;
            b.mv("tree/x/y/z", "tree/x/z")?;
            b.mv("tree", "dir2/tree")?;
            b.put("dir2/deeper/new", "new")
        }),
        ("moves beside a swap", |b| {
            b.mv("dir", "t")?;
            b.mv("tree", "dir")?;
            b.mv("t", "tree")?;
            b.mv("a", "tree/moved")?;
            b.mv("b", "a")?;
            b.mv("dir/x/y/z", "b")
        }),
        ("move a file and edit it", |b| {
            b.mv("a", "dir/moved")?;
            b.put("dir/moved", "edited")?;
            b.mv("dir/a", "a")
        }),
        ("move over what was removed", |b| {
            b.rm_all("tree")?;
            b.mv("dir", "tree")?;
            b.rm("b")?;
            b.mv("link", "b")
        }),
        ("delete what was emptied by moves", |b| {
            b.mv("dir/a", "dir-a")?;
            b.mv("dir/b", "tree/b")?;
            b.mv("dir/deep", "tree/deep")?;
            b.rm_all("dir")
        }),
        ("directory becomes link", |b| {
            b.rm_all("tree")?;
            let root = b.root();
            b.symlink(root, "tree", "dir").map(drop)
        }),
        ("link becomes directory", |b| {
            b.rm("link")?;
            b.mkdir("link")?;
            b.mv("a", "link/a")
        }),
        ("link to another target", |b| {
            b.rm("link")?;
            let root = b.root();
            b.symlink(root, "link", "dir/b").map(drop)
        }),
        ("nothing in it", |b| {
            b.put("a", "")?;
            b.put("empty", "")?;
            b.mkdir("nothing")?;
            b.mkdir("tree/nothing")
        }),
        ("a hole and a cut", |b| {
            b.put("a", "starts")?;
            let (a, c) = (b.resolve("a")?, b.resolve("dir/deep/c")?);
            b.set_len(a, 100_000)?;
            b.write(a, 70_000, b"goes on")?;
            b.set_len(c, 3)
        }),
        ("new tree with links", |b| {
            b.mkdir("n")?;
            b.mkdir("n/m")?;
            b.mkdir("n/m/o")?;
            b.put("n/m/o/one", "1")?;
            let (m, one) = (b.resolve("n/m")?, b.resolve("n/m/o/one")?);
            b.symlink(m, "to", "o/one")?;
            b.link(one, m, "two")?;
            let root = b.root();
            b.link(one, root, "three")
        }),
        ("hard links over files", |b| {
            b.put("new", "new")?;
            b.rm("a")?;
            b.rm("dir/a")?;
            let (new, root, dir) = (b.resolve("new")?, b.root(), b.resolve("dir")?);
            b.link(new, root, "a")?;
            b.link(new, dir, "a")
        }),
        ("times of what was moved and made", |b| {
            b.mv("dir", "moved")?;
            b.mkdir("moved/new")?;
            b.put("moved/new/file", "new")?;
            let time = Some(TOUCHED);
            for path in ["moved/new/file", "moved/new", "moved"] {
                let node = b.resolve(path)?;
                b.set_times(node, time, time)?;
            }
            Ok(())
        }),
        ("more files than are synced one by one", |b| {
            b.mkdir("many")?;
            for index in 0..17 {
                b.put(&format!("many/{index}"), "new")?;
                b.put(&format!("dir/{index}"), "new")?;
            }
            b.put("a", "new")
        }),
        ("everything", |b| {
            b.put("a", "new")?;
            b.rm("b")?;
            b.mv("dir/deep", "deep")?;
            b.rm_all("dir")?;
            b.mkdir("dir")?;
            b.put("dir/x", "y")?;
            b.mv("tree/x", "dir/x2")?;
            b.mv("dir/x2/w", "b")?;
            b.rm("link")
        }),
    ]
}
