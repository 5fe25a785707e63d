//! Packs this repository's own sources into the archive that the built-in example works
//! on: a real tree of some hundred files, the same on every machine.

use std::path::{Path, PathBuf};

/// What of the repository goes into the example's workspace.
const ROOTS: [&str; 6] = ["daemon", "sdk", "tools", "proto", "policies", "tests"];
const FILES: [&str; 6] = [
    "Cargo.toml",
    "README.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "clippy.toml",
    "rust-toolchain.toml",
];

/// What fuzzing found is no source.
const FUZZ_INPUTS: &str = "corpus";

fn main() -> std::io::Result<()> {
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let repository = manifest.join("../..").canonicalize()?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let mut paths: Vec<PathBuf> = FILES
        .iter()
        .map(|name| repository.join(name))
        .filter(|path| path.is_file())
        .collect();
    for root in ROOTS {
        let root = repository.join(root);
        println!("cargo::rerun-if-changed={}", root.display());
        let files = ignore::WalkBuilder::new(&root)
            .require_git(false)
            .filter_entry(|entry| entry.file_name() != FUZZ_INPUTS)
            .build();
        paths.extend(
            files
                .filter_map(Result::ok)
                .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
                .map(ignore::DirEntry::into_path),
        );
    }
    for name in FILES {
        println!(
            "cargo::rerun-if-changed={}",
            repository.join(name).display()
        );
    }
    paths.sort();
    let archive = std::fs::File::create(out.join("example.tar"))?;
    let mut archive = tar::Builder::new(archive);
    for path in &paths {
        append(&mut archive, &repository, path)?;
    }
    archive.finish()
}

/// Adds one file with a mode and time that do not depend on the machine.
fn append(
    archive: &mut tar::Builder<std::fs::File>,
    repository: &Path,
    path: &Path,
) -> std::io::Result<()> {
    let content = std::fs::read(path)?;
    let name = path.strip_prefix(repository).unwrap_or(path);
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    archive.append_data(&mut header, name, content.as_slice())
}
