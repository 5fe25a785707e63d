//! The same program of file operations, in a sandbox and on a real directory.

use crate::fixture::{Fixture, fill};
use forerun_test_guests::program::Program;
use serde_json::{Value, json};

const FILES: [(&str, &str); 6] = [
    ("a.txt", "alpha"),
    ("dir/b.txt", "beta"),
    ("dir/sub/c.txt", "gamma"),
    ("link", "->dir/b.txt"),
    ("dirlink", "->dir"),
    ("loop", "->loop"),
];

async fn same(operations: Value) {
    let program: Program =
        serde_json::from_value(json!({ "operations": operations })).expect("a program");
    let real = tempfile::tempdir().expect("temporary directory");
    fill(real.path(), &FILES);
    let expected = program.run(real.path());
    let mut fixture = Fixture::new(&FILES);
    let seen = fixture
        .text("program", json!({ "operations": operations }))
        .await;
    let lines = seen.lines().zip(expected.lines());
    for (index, (seen, expected)) in lines.enumerate() {
        assert_eq!(seen, expected, "operation {index}: {}", operations[index]);
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn reading_and_writing() {
    same(json!([
        {"op": "read", "path": "a.txt"},
        {"op": "read", "path": "dir/sub/c.txt"},
        {"op": "read", "path": "none"},
        {"op": "read", "path": "a.txt/x"},
        {"op": "read_at", "path": "a.txt", "offset": 2, "length": 2},
        {"op": "read_at", "path": "a.txt", "offset": 99, "length": 2},
        {"op": "write", "path": "a.txt", "content": "new"},
        {"op": "read", "path": "a.txt"},
        {"op": "append", "path": "a.txt", "content": "er"},
        {"op": "append", "path": "dir/b.txt", "content": " and more"},
        {"op": "append", "path": "none", "content": "x"},
        {"op": "read", "path": "a.txt"},
        {"op": "read", "path": "dir/b.txt"},
        {"op": "truncate", "path": "a.txt", "length": 2},
        {"op": "read", "path": "a.txt"},
        {"op": "truncate", "path": "a.txt", "length": 4},
        {"op": "read_at", "path": "a.txt", "offset": 0, "length": 9},
        {"op": "write_at", "path": "a.txt", "offset": 70_000, "content": "end"},
        {"op": "stat", "path": "a.txt"},
        {"op": "read_at", "path": "a.txt", "offset": 69_998, "length": 9},
        {"op": "write_at", "path": "dir/b.txt", "offset": 1, "content": "E"},
        {"op": "read", "path": "dir/b.txt"},
        {"op": "create_new", "path": "fresh"},
        {"op": "create_new", "path": "fresh"},
        {"op": "create_new", "path": "a.txt"},
        {"op": "create_new", "path": "link"},
        {"op": "stat", "path": "fresh"},
        {"op": "write", "path": "none/x", "content": ""},
        {"op": "write", "path": "dir", "content": ""},
        {"op": "copy", "from": "a.txt", "to": "copy"},
        {"op": "stat", "path": "copy"},
        {"op": "append_twice", "path": "log"},
        {"op": "write_unlinked", "path": "ghost"},
        {"op": "stat", "path": "ghost"},
        {"op": "open_truncated", "path": "log"},
        {"op": "stat", "path": "log"}
    ]))
    .await;
}

#[tokio::test]
async fn renaming_and_linking() {
    same(json!([
        {"op": "rename", "from": "a.txt", "to": "b"},
        {"op": "read", "path": "b"},
        {"op": "read", "path": "a.txt"},
        {"op": "write", "path": "c", "content": "over"},
        {"op": "rename", "from": "c", "to": "b"},
        {"op": "read", "path": "b"},
        {"op": "rename", "from": "b", "to": "b"},
        {"op": "read", "path": "b"},
        {"op": "rename", "from": "none", "to": "x"},
        {"op": "rename", "from": "dir", "to": "dir/sub/inside"},
        {"op": "rename", "from": "dir", "to": "b"},
        {"op": "rename", "from": "b", "to": "dir"},
        {"op": "rename", "from": "dir/sub", "to": "moved"},
        {"op": "read", "path": "moved/c.txt"},
        {"op": "list", "path": "dir"},
        {"op": "make_dir", "path": "empty"},
        {"op": "rename", "from": "moved", "to": "empty"},
        {"op": "list", "path": "empty"},
        {"op": "rename", "from": "empty", "to": "dir"},
        {"op": "rename", "from": "link", "to": "link2"},
        {"op": "link_stat", "path": "link2"},
        {"op": "read", "path": "link2"},
        {"op": "link", "from": "b", "to": "hard"},
        {"op": "append", "path": "hard", "content": "!"},
        {"op": "read", "path": "b"},
        {"op": "remove", "path": "b"},
        {"op": "read", "path": "hard"},
        {"op": "link", "from": "hard", "to": "link2"},
        {"op": "link", "from": "none", "to": "x"},
        {"op": "link", "from": "dir/b.txt", "to": "hardbase"},
        {"op": "append", "path": "hardbase", "content": "?"},
        {"op": "read", "path": "dir/b.txt"}
    ]))
    .await;
}

#[tokio::test]
async fn directories() {
    same(json!([
        {"op": "list", "path": "."},
        {"op": "list", "path": "dir"},
        {"op": "list", "path": "dir/"},
        {"op": "list", "path": "dirlink"},
        {"op": "list", "path": "a.txt"},
        {"op": "list", "path": "none"},
        {"op": "make_dir", "path": "new"},
        {"op": "make_dir", "path": "new"},
        {"op": "make_dir", "path": "a.txt"},
        {"op": "make_dir", "path": "none/new"},
        {"op": "make_dir", "path": "slash/"},
        {"op": "make_dirs", "path": "x/y/z"},
        {"op": "make_dirs", "path": "x/y"},
        {"op": "write", "path": "x/y/z/file", "content": "deep"},
        {"op": "list", "path": "x/y/z"},
        {"op": "remove_dir", "path": "x"},
        {"op": "remove_dir", "path": "a.txt"},
        {"op": "remove_dir", "path": "new"},
        {"op": "remove_dir", "path": "new"},
        {"op": "remove", "path": "dir"},
        {"op": "remove", "path": "none"},
        {"op": "remove_all", "path": "x"},
        {"op": "remove_all", "path": "dir"},
        {"op": "stat", "path": "dir"},
        {"op": "link_stat", "path": "dirlink"},
        {"op": "stat", "path": "dirlink"},
        {"op": "make_dir", "path": "dir"},
        {"op": "list", "path": "dir"},
        {"op": "list", "path": "."}
    ]))
    .await;
}

#[tokio::test]
async fn symbolic_links() {
    same(json!([
        {"op": "read", "path": "link"},
        {"op": "read", "path": "dirlink/sub/c.txt"},
        {"op": "read_link", "path": "link"},
        {"op": "read_link", "path": "a.txt"},
        {"op": "read", "path": "loop"},
        {"op": "link_stat", "path": "loop"},
        {"op": "symlink", "target": "a.txt", "path": "s"},
        {"op": "symlink", "target": "b.txt", "path": "s"},
        {"op": "read", "path": "s"},
        {"op": "write", "path": "s", "content": "through"},
        {"op": "read", "path": "a.txt"},
        {"op": "remove", "path": "s"},
        {"op": "read", "path": "a.txt"},
        {"op": "symlink", "target": "../a.txt", "path": "dir/up"},
        {"op": "read", "path": "dir/up"},
        {"op": "read", "path": "dirlink/up"},
        {"op": "symlink", "target": "nowhere", "path": "dangling"},
        {"op": "stat", "path": "dangling"},
        {"op": "link_stat", "path": "dangling"},
        {"op": "write", "path": "dangling", "content": "made"},
        {"op": "read", "path": "nowhere"},
        {"op": "remove_all", "path": "dirlink"},
        {"op": "list", "path": "dir"}
    ]))
    .await;
}

#[tokio::test]
async fn slashes_and_dots() {
    same(json!([
        {"op": "read", "path": "a.txt/"},
        {"op": "read", "path": "a.txt/."},
        {"op": "stat", "path": "dir/"},
        {"op": "stat", "path": "dir/."},
        {"op": "stat", "path": "dir/.."},
        {"op": "read", "path": "dir/../a.txt"},
        {"op": "read", "path": "./dir//b.txt"},
        {"op": "read", "path": "none/../a.txt"},
        {"op": "read", "path": "a.txt/../a.txt"},
        {"op": "stat", "path": "link/"},
        {"op": "stat", "path": "dirlink/"},
        {"op": "write", "path": "new/", "content": ""},
        {"op": "remove", "path": "a.txt/"},
        {"op": "rename", "from": "a.txt/", "to": "x"},
        {"op": "rename", "from": "a.txt", "to": "x/"},
        {"op": "read", "path": "a.txt"}
    ]))
    .await;
}
