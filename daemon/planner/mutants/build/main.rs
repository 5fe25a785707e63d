//! Makes the mutants: a copy of the planner with the edits of [`list`], and beside it a copy of
//! what watches the planner in its own tests. Each text that is to be replaced has to be there
//! exactly once, so that a mutant can not turn into the planner itself unnoticed when the planner
//! changes.
//!
//! All mutants are one copy, in which each edit asks whether it is its turn: twenty copies would
//! take minutes to compile.

#![expect(
    clippy::print_stdout,
    reason = "cargo reads what a build script prints"
)]

mod list;

use list::{MUTANTS, Mutant};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What the copy has beside the planner: those of its tests that watch it, and a way to run one
/// random case.
const COPY: &str = r#"
mod cases;
mod monitor;
#[path = "planner/lib.rs"]
mod planner;
mod properties;
mod sim;

pub(super) fn check(runner: &mut proptest::test_runner::TestRunner) {
    use proptest::strategy::{Strategy, ValueTree};
    let case = cases::case().new_tree(runner).expect("a case").current();
    drop(properties::check(&case));
}
"#;

fn main() {
    let planner = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo says")).join("..");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo says"));
    let copy = out.join("copy");
    let (source, tests) = (planner.join("src"), planner.join("tests/it"));
    for path in [&source, &tests] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    if copy.exists() {
        fs::remove_dir_all(&copy).expect("an old copy goes");
    }
    copy_tree(&tests, &copy, &|text| {
        text.replace("crate::", "crate::copy::")
            .replace("forerun_planner::", "crate::copy::planner::")
    });
    copy_tree(&source, &copy.join("planner"), &|text| {
        text.replace("crate::", "crate::copy::planner::")
    });
    let mut all = String::new();
    for mutant in MUTANTS {
        mutate(mutant, &copy.join("planner"));
        let Mutant { name, does, .. } = mutant;
        writeln!(all, "Mutant {{ name: {name:?}, does: {does:?} }},").expect("a string takes it");
    }
    fs::write(copy.join("mod.rs"), COPY).expect("the copy can be written");
    let all = format!(
        "#[path = {:?}]
        #[allow(warnings, reason = \"a copy, of which not all is used\")]
        mod copy;
        /// Every mutant.
        pub const MUTANTS: &[Mutant] = &[{all}];",
        copy.join("mod.rs")
    );
    fs::write(out.join("mutants.rs"), all).expect("the list can be written");
}

fn mutate(mutant: &Mutant, planner: &Path) {
    let its_turn = format!("crate::is_its_turn({:?})", mutant.name);
    for edit in mutant.edits {
        let path = planner.join(edit.file);
        let text = fs::read_to_string(&path).expect("the file of an edit is there");
        let count = text.matches(edit.replace).count();
        assert_eq!(
            count, 1,
            "{}: what is to be replaced is to be in {} exactly once:\n{}",
            mutant.name, edit.file, edit.replace
        );
        let by = edit.by.replace("MUTATED", &its_turn);
        assert_ne!(by, edit.by, "{}: an edit that is always on", mutant.name);
        fs::write(&path, text.replace(edit.replace, &by)).expect("a copy can be written");
    }
}

/// Copies the Rust files of a directory.
fn copy_tree(from: &Path, to: &Path, change: &dyn Fn(String) -> String) {
    fs::create_dir_all(to).expect("a directory for the copy");
    for entry in fs::read_dir(from).expect("a directory to copy") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy_tree(&path, &target, change);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            fs::write(target, change(text)).expect("a copy can be written");
        }
    }
}
