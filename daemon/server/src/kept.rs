//! Files of the state directory with what was learned. None of it has to be there: what can not
//! be read is learned again.

use rustix::fs::OFlags;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// The text of a regular file of at most so many bytes: another would block, or fill the
/// memory.
pub(crate) fn read(file: &Path, bytes_max: usize) -> io::Result<String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    let mut options = std::fs::OpenOptions::new();
    let opened = options.read(true).custom_flags(flags).open(file)?;
    let metadata = opened.metadata()?;
    if !metadata.is_file() || metadata.len() > bytes_max as u64 {
        return Err(io::Error::other("it is no such file, or too long"));
    }
    let mut text = String::new();
    opened.take(bytes_max as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// Whole or not at all; of a crash of the machine nothing has to survive.
pub(crate) fn write(file: &Path, text: &str) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    crate::socket::private_directory(directory)?;
    let mut partial = tempfile::NamedTempFile::new_in(directory)?;
    partial.write_all(text.as_bytes())?;
    partial.persist(file).map_err(|error| error.error)?;
    Ok(())
}
