//! Work for measuring, through `std`. Everything happens below `/workspace`.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROOT: &str = "/workspace";

/// Nine operations on files, as a tool that edits would do them.
pub(crate) fn nine_operations() -> String {
    match try_nine_operations() {
        Ok(length) => length.to_string(),
        Err(error) => format!("failed: {error}"),
    }
}

fn try_nine_operations() -> std::io::Result<u64> {
    let root = Path::new(ROOT);
    fs::create_dir(root.join("nine"))?;
    fs::write(root.join("nine/a"), "some text\n")?;
    fs::metadata(root.join("nine/a"))?;
    let text = fs::read_to_string(root.join("nine/a"))?;
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(root.join("nine/a"))?;
    file.write_all(text.as_bytes())?;
    drop(file);
    fs::rename(root.join("nine/a"), root.join("nine/b"))?;
    let listed = fs::read_dir(root.join("nine"))?.count() as u64;
    fs::copy(root.join("nine/b"), root.join("c"))?;
    fs::remove_file(root.join("nine/b"))?;
    Ok(listed)
}

/// Reads every file below the root; answers with the number of bytes.
pub(crate) fn read_all() -> String {
    let mut buffer = Vec::new();
    let mut total = 0;
    for path in files() {
        buffer.clear();
        let read = fs::File::open(path).and_then(|mut file| file.read_to_end(&mut buffer));
        total += read.unwrap_or_default();
    }
    total.to_string()
}

/// Writes every file below the root again, as it is; answers with their number.
pub(crate) fn rewrite_all() -> String {
    let files = files();
    for path in &files {
        let written = fs::read(path).and_then(|bytes| fs::write(path, bytes));
        if let Err(error) = written {
            return format!("failed: {error}");
        }
    }
    files.len().to_string()
}

/// Counts the files below the root that hold a word.
pub(crate) fn grep_all(word: &str) -> String {
    let mut buffer = Vec::new();
    let mut found = 0;
    for path in files() {
        buffer.clear();
        let read = fs::File::open(path).and_then(|mut file| file.read_to_end(&mut buffer));
        let text = String::from_utf8_lossy(&buffer);
        if read.is_ok() && text.contains(word) {
            found += 1;
        }
    }
    found.to_string()
}

fn files() -> Vec<PathBuf> {
    let mut pending = vec![PathBuf::from(ROOT)];
    let mut files = Vec::new();
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}

/// Waits for longer than any test takes.
pub(crate) fn park() -> String {
    std::thread::sleep(Duration::from_secs(100_000));
    "woke up".into()
}
