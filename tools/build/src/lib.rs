//! Builds a package of this workspace as a WebAssembly component, from the build script
//! of the package that embeds it, so that one `cargo build` makes everything.
//!
//! - The nested builds share one target directory, `components` in the outer one: what
//!   `cargo test` made serves `cargo clippy` and a release, too. It must never be the
//!   outer one itself: the outer build holds its lock until it ends.
//! - Settings of the outer build (flags, wrappers such as clippy, profiles) do not reach
//!   the component: the same sources give the same component, whoever builds it.
//! - `Cargo.lock` is used as it is, never changed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target of every component.
const TARGET: &str = "wasm32-wasip2";

/// Release settings of components: small (compiling takes about a microsecond a byte),
/// optimised across crates, without names.
const PROFILE: [&str; 5] = [
    "profile.release.opt-level=\"s\"",
    "profile.release.lto=true",
    "profile.release.codegen-units=1",
    "profile.release.strip=true",
    "profile.release.panic=\"abort\"",
];

/// Environment of the outer build that would change the component or break its build.
const LEAKING: [&str; 8] = [
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_INCREMENTAL",
    "CLIPPY_ARGS",
];

/// Prefixes of further such variables.
const LEAKING_PREFIXES: [&str; 5] = [
    "CARGO_BUILD_",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "CARGO_CFG_",
    "CARGO_FEATURE_",
];

/// Why a component could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A variable that cargo sets for build scripts is missing.
    #[error("{0} is not set: this runs only in a build script")]
    NotABuildScript(&'static str),
    /// The compiler cannot make components.
    #[error("the target {TARGET} is not installed; run: rustup target add {TARGET}")]
    MissingTarget,
    /// The nested cargo could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The nested cargo failed; its output is above.
    #[error("cargo rustc --target {TARGET} -p {package} failed:\n{output}")]
    Failed {
        /// The package.
        package: String,
        /// What cargo said.
        output: String,
    },
    /// The build left no component where one was expected.
    #[error("{path} was not built; is it a library?")]
    NoArtifact {
        /// Where it was looked for.
        path: PathBuf,
    },
}

/// What cargo marks a target directory with.
const CACHE_TAG: &str = "CACHEDIR.TAG";

/// Which component a package is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its library, which exports an interface.
    Library,
    /// Its program, which exports `wasi:cli/run`.
    Program,
}

/// Builds `package` and returns the path of its component, in the target directory of
/// components. Tells cargo to run the calling build script again when a source of the component changes.
///
/// # Errors
/// If the target is missing or the build fails; the error says what to do.
pub fn build(package: &str, kind: Kind) -> Result<PathBuf, BuildError> {
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let cargo = variable("CARGO")?;
    require_target(&variable("RUSTC")?)?;

    let target_dir = target_directory(&out_dir).join("components");
    let mut command = Command::new(&cargo);
    command
        .current_dir(&manifest_dir)
        .args(["rustc", "--release", "--locked", "--quiet"])
        .args(match kind {
            // A library that is an `rlib`, too, would be built without link-time
            // optimisation.
            Kind::Library => ["--lib", "--crate-type", "cdylib"].as_slice(),
            Kind::Program => &["--bins"],
        })
        .args(["--target", TARGET, "--package", package, "--target-dir"])
        .arg(&target_dir);
    for setting in PROFILE {
        command.args(["--config", setting]);
    }
    for (name, _) in env::vars_os() {
        let leaks = name.to_str().is_some_and(|name| {
            LEAKING.contains(&name) || LEAKING_PREFIXES.iter().any(|p| name.starts_with(p))
        });
        if leaks {
            command.env_remove(name);
        }
    }
    let output = command.output().map_err(|source| BuildError::Start {
        program: cargo,
        source,
    })?;
    if !output.status.success() {
        return Err(BuildError::Failed {
            package: package.to_owned(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }

    let artifact = target_dir.join(TARGET).join("release").join(match kind {
        Kind::Library => package.replace('-', "_"),
        Kind::Program => package.to_owned(),
    });
    let component = artifact.with_extension("wasm");
    if !component.is_file() {
        return Err(BuildError::NoArtifact { path: component });
    }
    watch(&artifact.with_extension("d"), &manifest_dir);
    Ok(component)
}

/// For a build script's `main`: as [`embed_kind`], of a library.
pub fn embed(package: &str, name: &str) {
    embed_kind(package, Kind::Library, name);
}

/// For a build script's `main`: builds `package` and writes `<name>.rs` into `OUT_DIR`,
/// with a constant `name` that holds the component's bytes. Ends the build script with
/// a readable message if that fails.
pub fn embed_kind(package: &str, kind: Kind, name: &str) {
    let made = build(package, kind).and_then(|component| {
        let file = PathBuf::from(variable("OUT_DIR")?).join(format!("{}.rs", name.to_lowercase()));
        let text = format!("include_bytes!({component:?})\n");
        fs::write(&file, text).map_err(|source| BuildError::Start {
            program: file.display().to_string(),
            source,
        })
    });
    if let Err(error) = made {
        report(&error.to_string());
        std::process::exit(1);
    }
}

/// The outer build's target directory: the nearest one above `out_dir` that cargo has
/// marked, or `out_dir` itself where none is.
fn target_directory(out_dir: &Path) -> &Path {
    out_dir
        .ancestors()
        .find(|directory| directory.join(CACHE_TAG).is_file())
        .unwrap_or(out_dir)
}

fn variable(name: &'static str) -> Result<String, BuildError> {
    env::var(name).map_err(|_| BuildError::NotABuildScript(name))
}

/// Looks for the target's libraries beside the compiler's own.
fn require_target(rustc: &str) -> Result<(), BuildError> {
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|source| BuildError::Start {
            program: rustc.to_owned(),
            source,
        })?;
    let libdir = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && Path::new(&libdir).is_dir() {
        Ok(())
    } else {
        Err(BuildError::MissingTarget)
    }
}

/// Tells cargo which files the component was made of, from the dependency list that
/// the compiler wrote (`artifact: source source …`, spaces escaped), and the lock file.
fn watch(dependencies: &Path, manifest_dir: &Path) {
    let list = fs::read_to_string(dependencies).unwrap_or_default();
    for source in sources(&list) {
        directive(&format!("rerun-if-changed={source}"));
        if let Some(crate_dir) = source.split_once("/src/").map(|(dir, _)| dir) {
            directive(&format!("rerun-if-changed={crate_dir}/Cargo.toml"));
        }
    }
    if let Some(lock) = manifest_dir
        .ancestors()
        .map(|dir| dir.join("Cargo.lock"))
        .find(|lock| lock.is_file())
    {
        directive(&format!("rerun-if-changed={}", lock.display()));
    }
    directive("rerun-if-changed=build.rs");
}

fn sources(list: &str) -> Vec<String> {
    let Some((_, sources)) = list.split_once(": ") else {
        return Vec::new();
    };
    let mut found: Vec<String> = sources
        .replace("\\ ", "\u{0}")
        .split_whitespace()
        .map(|source| source.replace('\u{0}', " "))
        .collect();
    found.sort();
    found.dedup();
    found
}

#[expect(clippy::print_stdout, reason = "how a build script talks to cargo")]
fn directive(text: &str) {
    println!("cargo::{text}");
}

fn report(message: &str) {
    for line in message.lines() {
        directive(&format!("error={line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_list_is_read_with_its_escaped_spaces() {
        let list = "/out/a.wasm: /src/my\\ crate/src/lib.rs /src/x/src/a.rs /src/x/src/a.rs\n";
        assert_eq!(
            sources(list),
            ["/src/my crate/src/lib.rs", "/src/x/src/a.rs"]
        );
        assert!(sources("").is_empty());
    }

    #[test]
    fn components_of_all_profiles_are_built_in_one_place() {
        let target = tempfile::tempdir().unwrap();
        let out = target.path().join("debug/build/tools-0123/out");
        fs::create_dir_all(&out).unwrap();
        assert_eq!(target_directory(&out), out);
        fs::write(target.path().join(CACHE_TAG), "").unwrap();
        assert_eq!(target_directory(&out), target.path());
    }

    #[test]
    fn a_compiler_without_the_target_is_told_apart_from_one_that_does_not_start() {
        assert!(matches!(
            require_target("/nonexistent/rustc"),
            Err(BuildError::Start { .. })
        ));
        assert!(matches!(
            require_target("/bin/false"),
            Err(BuildError::MissingTarget)
        ));
    }
}
