//! Compiled components, kept in the state directory.
//!
//! An entry's name is a digest over the component, the engine's version and its
//! settings, so a change of any of them finds no entry. An entry begins with a keyed
//! digest over its name and its content; the key lies in a file that only we can read.
//! What does not check out (torn, changed, of another key) is compiled again and
//! replaced: compiled code is machine code, and none is run that we did not write.
//!
//! A cache that cannot be used costs time, nothing else.

mod compiler;
mod load;

pub use compiler::{COMPILE_BYTES, COMPILE_CPU_SECONDS, compile_process};

use crate::config::StartError;
use forerun_types::Digest;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use wasmtime::Engine;
use wasmtime::component::Component;

const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 32;
/// Largest entry that is read; stops a wrong file from filling the memory.
const ENTRY_BYTES_MAX: u64 = 512 << 20;

pub(crate) struct Cache {
    directory: PathBuf,
    key: [u8; KEY_BYTES],
    /// What compiles in a process of its own; empty: this process does.
    compiler: Vec<OsString>,
}

impl Cache {
    /// Opens the cache below `directory`, which must be ours alone.
    pub(crate) fn open(directory: &Path, compiler: Vec<OsString>) -> Result<Cache, StartError> {
        let compiled = directory.join("compiled");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&compiled)
            .map_err(StartError::state(&compiled))?;
        let key_path = directory.join("compiled.key");
        let key = read_key(&key_path)
            .or_else(|_| write_key(&key_path))
            .map_err(StartError::state(&key_path))?;
        Ok(Cache {
            directory: compiled,
            key,
            compiler,
        })
    }

    /// The component, compiled: from the cache, or anew.
    pub(crate) fn compile(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Component> {
        let name = name(engine, wasm);
        let path = self.directory.join(&name);
        if let Some(component) = self.load(engine, &name, &path) {
            return Ok(component);
        }
        let code = match self.compiler.as_slice() {
            [] => engine.precompile_component(wasm)?,
            program => compiler::compile(program, wasm)?,
        };
        let component = load::load(engine, &code)?;
        if let Err(error) = self.store(&name, &path, &code) {
            tracing::warn!(%error, path = %path.display(), "compiled code cannot be kept");
        }
        Ok(component)
    }

    fn load(&self, engine: &Engine, name: &str, path: &Path) -> Option<Component> {
        let mut entry = Vec::new();
        let file = File::open(path).ok()?;
        file.take(ENTRY_BYTES_MAX).read_to_end(&mut entry).ok()?;
        let (tag, code) = entry.split_at_checked(TAG_BYTES)?;
        if self.tag(name, code) != *tag {
            tracing::warn!(path = %path.display(), "kept code is not what was written; compiling again");
            return None;
        }
        match load::load(engine, code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "kept code does not fit; compiling again");
                None
            }
        }
    }

    fn store(&self, name: &str, path: &Path, code: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(self.tag(name, code).as_bytes())?;
        file.write_all(code)?;
        file.persist(path)?;
        Ok(())
    }

    fn tag(&self, name: &str, code: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.key)
            .update(name.as_bytes())
            .update(code)
            .finalize()
    }
}

/// The name of an entry, of fixed length.
fn name(engine: &Engine, wasm: &[u8]) -> String {
    /// Lets a BLAKE3 digest be fed by what implements [`Hash`].
    struct Feed(blake3::Hasher);
    impl Hasher for Feed {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut feed = Feed(blake3::Hasher::new_derive_key(
        "forerun compiled component v1",
    ));
    feed.0.update(&Digest::of(wasm).0);
    // Holds wasmtime's version, the target and every setting that code depends on.
    engine.precompile_compatibility_hash().hash(&mut feed);
    Digest(*feed.0.finalize().as_bytes()).to_string()
}

fn read_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(io::Error::other("the key can be read by others"));
    }
    let bytes = fs::read(path)?;
    bytes
        .try_into()
        .map_err(|_| io::Error::other("the key has a wrong length"))
}

/// Makes a new key; what was written with another is compiled again.
fn write_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let new = path.with_extension("key.new");
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty component.
    const WASM: &[u8] = b"\0asm\x0d\0\x01\0";

    fn fixture() -> (tempfile::TempDir, Engine) {
        (tempfile::tempdir().expect("temporary"), Engine::default())
    }

    fn entry(directory: &Path, engine: &Engine) -> PathBuf {
        directory.join("compiled").join(name(engine, WASM))
    }

    #[test]
    fn a_compiled_component_is_kept_and_found_again() {
        let (directory, engine) = fixture();
        let cache = Cache::open(directory.path(), Vec::new()).expect("opens");
        let path = entry(directory.path(), &engine);
        assert!(cache.load(&engine, &name(&engine, WASM), &path).is_none());
        cache.compile(&engine, WASM).expect("compiles");
        let again = Cache::open(directory.path(), Vec::new()).expect("opens again");
        assert!(again.load(&engine, &name(&engine, WASM), &path).is_some());
    }

    #[test]
    fn what_is_torn_or_changed_or_from_elsewhere_is_compiled_again() {
        let (directory, engine) = fixture();
        let cache = Cache::open(directory.path(), Vec::new()).expect("opens");
        cache.compile(&engine, WASM).expect("compiles");
        let path = entry(directory.path(), &engine);
        let good = fs::read(&path).expect("kept");
        let mut changed = good.clone();
        *changed.last_mut().expect("not empty") ^= 1;
        for bad in [&good[..good.len() / 2], &good[..10], &[], &changed] {
            fs::write(&path, bad).expect("written");
            assert!(cache.load(&engine, &name(&engine, WASM), &path).is_none());
            cache.compile(&engine, WASM).expect("compiles again");
            assert_eq!(fs::read(&path).expect("replaced"), good);
        }
        // Ours, but under the name of another component.
        assert!(cache.load(&engine, "other", &path).is_none());
        fs::remove_file(directory.path().join("compiled.key")).expect("removed");
        let other_key = Cache::open(directory.path(), Vec::new()).expect("opens");
        assert!(
            other_key
                .load(&engine, &name(&engine, WASM), &path)
                .is_none()
        );
    }

    #[test]
    fn the_key_is_ours_alone() {
        let (directory, _) = fixture();
        Cache::open(directory.path(), Vec::new()).expect("opens");
        let path = directory.path().join("compiled.key");
        let key = fs::read(&path).expect("there");
        assert_eq!(
            fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        Cache::open(directory.path(), Vec::new()).expect("opens");
        assert_ne!(
            fs::read(&path).expect("there"),
            key,
            "a key that leaked is replaced"
        );
    }

    #[test]
    fn other_settings_are_another_entry() {
        let (_, engine) = fixture();
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).expect("valid");
        assert_ne!(name(&engine, WASM), name(&other, WASM));
        assert_ne!(name(&engine, WASM), name(&engine, b"other"));
    }
}
