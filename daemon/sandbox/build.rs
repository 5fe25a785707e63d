//! Writes the `bindgen!` call for `wasi:filesystem`, over the very WIT files of the
//! `wasmtime-wasi` that this build resolves: nothing is copied, so nothing can drift.

use cargo_metadata::MetadataCommand;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let wit = wit_directory();
    let file = wit.join("deps").join("filesystem.wit");
    assert!(file.is_file(), "{} is not there", file.display());
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    let call = CALL.replace("{path}", &wit.display().to_string());
    fs::write(out.join("filesystem.rs"), call).expect("OUT_DIR is writable");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", file.display());
}

fn wit_directory() -> PathBuf {
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    // Without it, what other platforms would need is downloaded too.
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let metadata = MetadataCommand::new()
        .current_dir(manifest)
        .other_options(vec!["--locked".into(), "--filter-platform".into(), target])
        .exec()
        .unwrap_or_else(|error| panic!("cargo metadata failed: {error}"));
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == "wasmtime-wasi")
        .expect("wasmtime-wasi is a dependency");
    let source = package
        .manifest_path
        .parent()
        .expect("a manifest lies in a directory");
    source.join("src/p2/wit").into_std_path_buf()
}

const CALL: &str = r#"
wasmtime::component::bindgen!({
    path: "{path}",
    world: "wasi:filesystem/imports",
    imports: { default: trappable },
    require_store_data_send: true,
    with: {
        "wasi:io": wasmtime_wasi_io::bindings::wasi::io,
        "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
        "wasi:filesystem/types.descriptor": crate::fs::Descriptor,
        "wasi:filesystem/types.directory-entry-stream": crate::fs::DirectoryStream,
    },
    trappable_error_type: {
        "wasi:filesystem/types.error-code" => crate::fs::FsFailure,
    },
});
"#;
