//! A program of file operations, and a transcript of what each did. The same program
//! on the same files must give the same transcript in a sandbox and on a real directory.

use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Operations, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    /// What is done.
    pub operations: Vec<Operation>,
}

/// One operation. Paths are below the root, as they are given: nothing is normalised.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "op")]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Operation {
    Read {
        path: String,
    },
    Write {
        path: String,
        content: String,
    },
    Append {
        path: String,
        content: String,
    },
    CreateNew {
        path: String,
    },
    Truncate {
        path: String,
        length: u64,
    },
    WriteAt {
        path: String,
        offset: u64,
        content: String,
    },
    ReadAt {
        path: String,
        offset: u64,
        length: u64,
    },
    Rename {
        from: String,
        to: String,
    },
    Copy {
        from: String,
        to: String,
    },
    Link {
        from: String,
        to: String,
    },
    Symlink {
        target: String,
        path: String,
    },
    ReadLink {
        path: String,
    },
    MakeDir {
        path: String,
    },
    MakeDirs {
        path: String,
    },
    List {
        path: String,
    },
    Remove {
        path: String,
    },
    RemoveDir {
        path: String,
    },
    RemoveAll {
        path: String,
    },
    Stat {
        path: String,
    },
    LinkStat {
        path: String,
    },
    /// Opens for reading and truncates, as no ordinary program can.
    OpenTruncated {
        path: String,
    },
    /// Writes to a file that lost its name while it was open, and reads it back.
    WriteUnlinked {
        path: String,
    },
    /// Appends through two handles in turn.
    AppendTwice {
        path: String,
    },
}

impl Program {
    /// Runs all operations below `root`; one line each.
    pub fn run(&self, root: &Path) -> String {
        let lines: Vec<String> = self
            .operations
            .iter()
            .map(|operation| match operation.run(root) {
                Ok(result) => format!("ok {result}"),
                Err(error) => format!("error {}", kind(&error)),
            })
            .collect();
        lines.join("\n")
    }
}

/// The kind of an error. `std` has no name for this one on the guests' target.
fn kind(error: &io::Error) -> String {
    /// `ENOTEMPTY` of wasi-libc.
    const NOT_EMPTY: i32 = 55;
    if cfg!(target_os = "wasi") && error.raw_os_error() == Some(NOT_EMPTY) {
        return "DirectoryNotEmpty".into();
    }
    format!("{:?}", error.kind())
}

impl Operation {
    fn run(&self, root: &Path) -> io::Result<String> {
        // Not `join`: that would let an absolute path replace the root.
        let at = |path: &str| format!("{}/{path}", root.display());
        match self {
            Operation::Read { path } => fs::read_to_string(at(path)),
            Operation::Write { path, content } => done(fs::write(at(path), content)),
            Operation::Append { path, content } => {
                let mut file = OpenOptions::new().append(true).open(at(path))?;
                done(file.write_all(content.as_bytes()))
            }
            Operation::CreateNew { path } => done(fs::File::create_new(at(path)).map(|_| ())),
            Operation::Truncate { path, length } => {
                let file = OpenOptions::new().write(true).open(at(path))?;
                done(file.set_len(*length))
            }
            Operation::WriteAt {
                path,
                offset,
                content,
            } => {
                let mut file = OpenOptions::new().write(true).open(at(path))?;
                file.seek(SeekFrom::Start(*offset))?;
                done(file.write_all(content.as_bytes()))
            }
            Operation::ReadAt {
                path,
                offset,
                length,
            } => {
                let mut file = fs::File::open(at(path))?;
                file.seek(SeekFrom::Start(*offset))?;
                let mut bytes = Vec::new();
                file.take(*length).read_to_end(&mut bytes)?;
                Ok(format!("{bytes:?}"))
            }
            Operation::Rename { from, to } => done(fs::rename(at(from), at(to))),
            Operation::Copy { from, to } => Ok(fs::copy(at(from), at(to))?.to_string()),
            Operation::Link { from, to } => done(fs::hard_link(at(from), at(to))),
            Operation::Symlink { target, path } => done(symlink(target, &at(path))),
            Operation::ReadLink { path } => {
                Ok(fs::read_link(at(path))?.to_string_lossy().into_owned())
            }
            Operation::MakeDir { path } => done(fs::create_dir(at(path))),
            Operation::MakeDirs { path } => done(fs::create_dir_all(at(path))),
            Operation::List { path } => list(&at(path)),
            Operation::Remove { path } => done(fs::remove_file(at(path))),
            Operation::RemoveDir { path } => done(fs::remove_dir(at(path))),
            Operation::RemoveAll { path } => done(fs::remove_dir_all(at(path))),
            Operation::Stat { path } => Ok(describe(&fs::metadata(at(path))?)),
            Operation::LinkStat { path } => Ok(describe(&fs::symlink_metadata(at(path))?)),
            Operation::OpenTruncated { path } => open_truncated(&at(path)),
            Operation::WriteUnlinked { path } => {
                let mut file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(at(path))?;
                fs::remove_file(at(path))?;
                file.write_all(b"nameless")?;
                file.seek(SeekFrom::Start(0))?;
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                Ok(text)
            }
            Operation::AppendTwice { path } => {
                let open = || OpenOptions::new().append(true).create(true).open(at(path));
                let (mut one, mut two) = (open()?, open()?);
                one.write_all(b"1")?;
                two.write_all(b"2")?;
                one.write_all(b"3")?;
                fs::read_to_string(at(path))
            }
        }
    }
}

fn done(result: io::Result<()>) -> io::Result<String> {
    result.map(|()| String::new())
}

fn list(path: &str) -> io::Result<String> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let mark = match (kind.is_dir(), kind.is_symlink()) {
            (true, _) => "/",
            (_, true) => "@",
            _ => "",
        };
        entries.push(format!("{}{mark}", entry.file_name().to_string_lossy()));
    }
    entries.sort();
    Ok(entries.join(" "))
}

fn describe(metadata: &fs::Metadata) -> String {
    let kind = metadata.file_type();
    match (kind.is_dir(), kind.is_symlink()) {
        (true, _) => "directory".into(),
        (_, true) => "symlink".into(),
        _ => format!("file {}", metadata.len()),
    }
}

#[cfg(unix)]
fn symlink(target: &str, path: &str) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(unix)]
fn open_truncated(path: &str) -> io::Result<String> {
    // What the sandbox's guest does by its descriptor; the effect is the same.
    fs::File::open(path)?;
    OpenOptions::new().write(true).truncate(true).open(path)?;
    Ok(String::new())
}

/// `std` has no stable way to make a link on this target.
#[cfg(target_arch = "wasm32")]
fn symlink(target: &str, path: &str) -> io::Result<()> {
    let (root, relative) = raw::workspace(path)?;
    root.symlink_at(target, &relative).map_err(raw::error)
}

#[cfg(target_arch = "wasm32")]
fn open_truncated(path: &str) -> io::Result<String> {
    use wasip2::filesystem::types::{DescriptorFlags, OpenFlags, PathFlags};
    let (root, relative) = raw::workspace(path)?;
    root.open_at(
        PathFlags::SYMLINK_FOLLOW,
        &relative,
        OpenFlags::TRUNCATE,
        DescriptorFlags::READ,
    )
    .map(|_| String::new())
    .map_err(raw::error)
}

#[cfg(target_arch = "wasm32")]
mod raw {
    //! The system interface itself.

    use std::io;
    use wasip2::filesystem::preopens::get_directories;
    use wasip2::filesystem::types::{Descriptor, ErrorCode};

    pub(super) fn workspace(path: &str) -> io::Result<(Descriptor, String)> {
        get_directories()
            .into_iter()
            .find_map(|(descriptor, name)| {
                let relative = path.strip_prefix(&name)?.strip_prefix('/')?;
                Some((descriptor, relative.to_owned()))
            })
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn error(code: ErrorCode) -> io::Error {
        match code {
            ErrorCode::NotPermitted | ErrorCode::Access => io::ErrorKind::PermissionDenied,
            ErrorCode::Exist => io::ErrorKind::AlreadyExists,
            ErrorCode::NoEntry => io::ErrorKind::NotFound,
            ErrorCode::NotDirectory => io::ErrorKind::NotADirectory,
            ErrorCode::IsDirectory => io::ErrorKind::IsADirectory,
            _ => io::ErrorKind::Other,
        }
        .into()
    }
}
