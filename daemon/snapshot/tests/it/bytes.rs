//! Deltas that were stored are not trusted when they are read back.

use crate::support::{MemoryLog, Paths, Scratch};
use forerun_snapshot::Delta;
use proptest::prelude::*;
use std::sync::LazyLock;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let scratch = Scratch::in_memory();
    scratch.write("edit", "before");
    scratch.write("gone", "x");
    scratch.write("old/file", "y");
    let mut branch = scratch.open().snapshot().branch();
    branch.put("edit", "after").expect("writes");
    branch.rm("gone").expect("removes");
    branch.mv("old", "new").expect("renames");
    branch.mkdir("dir").expect("makes");
    branch.put("dir/file", &"z".repeat(70_000)).expect("writes");
    let dir = branch.resolve("dir").expect("is there");
    branch.symlink(dir, "link", "../edit").expect("links");
    branch
        .freeze()
        .expect("freezes")
        .1
        .to_bytes()
        .expect("reads")
});

/// The bytes with a text in the header replaced, and the header's length with it.
fn with(from: &str, to: &str) -> Vec<u8> {
    let len = u64::from_le_bytes(BYTES[8..16].try_into().expect("eight")) as usize;
    let header = std::str::from_utf8(&BYTES[16..16 + len]).expect("JSON");
    assert!(header.contains(from), "{from} is in {header}");
    let header = header.replacen(from, to, 1);
    let mut bytes = BYTES[..8].to_vec();
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(&BYTES[16 + len..]);
    bytes
}

#[test]
fn a_delta_survives_its_bytes() {
    let delta = Delta::from_bytes(&BYTES).expect("reads");
    assert_eq!(delta.to_bytes().expect("reads"), *BYTES);
    assert_eq!(delta.changed().len(), 6);
}

#[test]
fn what_a_branch_could_not_have_made_is_refused() {
    let refused = [
        (r#""path":"gone""#, r#""path":"../gone""#),
        (r#""path":"gone""#, r#""path":"/gone""#),
        (r#""path":"gone""#, r#""path":".FORERUN/policy""#),
        (r#""path":"gone""#, r#""path":"a//b""#),
        (r#""path":"gone""#, r#""path":"zzz""#),
        (r#""path":"dir/file""#, r#""path":"dir/../../file""#),
        (r#""moved_to":"new""#, r#""moved_to":"elsewhere""#),
        (r#""from":"old""#, r#""from":"gone""#),
        (r#""len":70000"#, r#""len":69999"#),
        (r#""len":70000"#, r#""len":18446744073709551615"#),
        (r#"[65536,4464]"#, r#"[65536,4465]"#),
        (r#"[65536,4464]"#, r#"[0,4464]"#),
        (r#""target":"../edit""#, r#""target":"""#),
        (r#""kind":"directory""#, r#""kind":"special""#),
    ];
    for (from, to) in refused {
        assert!(
            Delta::from_bytes(&with(from, to)).is_err(),
            "{from} -> {to}"
        );
    }
    let mut longer = BYTES.clone();
    longer.push(0);
    assert!(Delta::from_bytes(&longer).is_err());
    let mut content = BYTES.clone();
    *content.last_mut().expect("has bytes") ^= 1;
    let error = Delta::from_bytes(&content)
        .map(drop)
        .expect_err("is refused");
    assert!(error.to_string().contains("digest"), "{error}");
}

#[test]
fn a_proper_delta_of_another_tree_conflicts() {
    let delta = Delta::from_bytes(&BYTES).expect("reads");
    let scratch = Scratch::in_memory();
    scratch.write("edit", "something else");
    let error = scratch
        .open()
        .commit(&delta, &MemoryLog::default())
        .expect_err("conflicts");
    assert_eq!(error.code(), "conflict");
}

proptest! {
    #[test]
    fn no_bytes_panic(mut noise in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
        if magic {
            noise.splice(0..0, BYTES[..16].iter().copied());
        }
        let _ = Delta::from_bytes(&noise);
    }

    #[test]
    fn no_damage_panics_and_what_is_read_can_be_used(
        at in 0..BYTES.len().min(4_000),
        byte: u8,
        cut in prop::option::of(0..BYTES.len()),
    ) {
        let mut bytes = BYTES.clone();
        bytes[at] = byte;
        bytes.truncate(cut.unwrap_or(bytes.len()));
        if let Ok(delta) = Delta::from_bytes(&bytes) {
            let _ = (delta.changed(), delta.diff(), delta.to_bytes());
            let scratch = Scratch::in_memory();
            scratch.write("edit", "before");
            let workspace = scratch.open();
            let _ = workspace.snapshot().graft(&delta).map(drop);
            let before = scratch.manifest();
            if workspace.commit(&delta, &MemoryLog::default()).is_err() {
                prop_assert_eq!(scratch.manifest(), before);
            }
        }
    }
}
