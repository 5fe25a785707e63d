//! Reading text and cutting it.

use crate::Error;
use crate::places::Place;
use std::fs;
use std::io::Read;

/// Largest file that a tool holds in memory; stops one call from using it up.
pub const FILE_BYTES_MAX: u64 = 32 << 20;

/// Reads a whole file as text.
///
/// # Errors
/// If it cannot be read, is a directory, too large, or no UTF-8.
pub fn read(place: &Place) -> Result<String, Error> {
    let file = fs::File::open(&place.path).map_err(Error::io("read", &place.shown))?;
    let metadata = file.metadata().map_err(Error::io("read", &place.shown))?;
    if metadata.is_dir() {
        return Err(Error::Refused(format!(
            "cannot read {}: it is a directory; list_dir shows what is in it",
            place.shown
        )));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", &place.shown))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Error::Refused(format!(
            "cannot read {}: it is larger than {} MiB",
            place.shown,
            FILE_BYTES_MAX >> 20
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        Error::Refused(format!(
            "cannot read {}: it is no UTF-8 text ({} bytes)",
            place.shown,
            error.as_bytes().len()
        ))
    })
}

/// Cuts a text to at most `max` bytes, at a character boundary; says if it did.
pub fn cut(text: &str, max: usize) -> (&str, bool) {
    if text.len() <= max {
        return (text, false);
    }
    let end = (0..=max)
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    (&text[..end], true)
}

/// A count and its noun: `1 file`, `2 files`.
pub fn count(number: usize, noun: &str) -> String {
    let ending = match (number, noun.ends_with("ch")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(cut("aé", 2), ("a", true));
        assert_eq!(cut("aé", 3), ("aé", false));
        assert_eq!(cut("é", 0), ("", true));
    }

    #[test]
    fn counts_read_well() {
        assert_eq!(count(1, "match"), "1 match");
        assert_eq!(count(2, "match"), "2 matches");
        assert_eq!(count(0, "file"), "0 files");
    }
}
