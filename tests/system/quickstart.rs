//! The Rust quick start, on a real daemon: what it says, and what it leaves.

use crate::support::{Home, manifest};

#[path = "../../sdk/rust/examples/quickstart.rs"]
#[expect(dead_code, reason = "its main connects to the user's own daemon")]
mod example;

#[tokio::test]
async fn the_quick_start_says_what_it_does_and_leaves_nothing_behind() {
    let home = Home::new();
    let (client, workspace) = (home.client().await, home.workspace("work"));
    let before = manifest(&workspace);
    let mut said = Vec::new();
    example::work(&client, &workspace, &mut |line| said.push(line))
        .await
        .expect("it works");
    said.sort();
    let expected = [
        "0 committed index.html",
        "0 undone index.html",
        "0 user write_file corrected",
        "1 committed style.css",
        "1 target write_file as proposed",
        "1 undone style.css",
        "2 target read_file corrected",
        "3 target terminate as proposed",
        "answer: a page with a heading",
    ];
    assert_eq!(said, expected);
    assert_eq!(manifest(&workspace), before);
}
