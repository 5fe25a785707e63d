//! Server-sent events (WHATWG HTML, "Server-sent events"), decoded from chunks that may be
//! cut anywhere. Pure: bytes in, events out.
//!
//! Only `data` is kept: both protocols say in it of which kind an event is. `id` and
//! `retry` are ignored, since a call is never taken up again in the middle.

use super::error::CallError;

/// Most bytes of one line: stops a server from filling memory with a line that never ends.
pub(super) const LINE_BYTES_MAX: usize = 1 << 20;
/// Most bytes of one event's data: stops one whose lines never end in an empty one.
pub(super) const EVENT_BYTES_MAX: usize = 4 << 20;

/// The state between two chunks.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    line: Vec<u8>,
    data: String,
    has_data: bool,
    after_cr: bool,
    started: bool,
}

impl Decoder {
    /// The events that are complete with this chunk.
    ///
    /// # Errors
    /// If a line or an event is too long, or no UTF-8.
    pub(super) fn feed(&mut self, chunk: &[u8]) -> Result<Vec<String>, CallError> {
        let mut events = Vec::new();
        for &byte in chunk {
            let after_cr = std::mem::take(&mut self.after_cr);
            match byte {
                // The second half of a CR LF.
                b'\n' if after_cr => {}
                b'\n' | b'\r' => {
                    self.after_cr = byte == b'\r';
                    events.extend(self.end_of_line()?);
                }
                _ if self.line.len() == LINE_BYTES_MAX => {
                    return Err(CallError::Limit(format!(
                        "a line of the stream is longer than {LINE_BYTES_MAX} bytes"
                    )));
                }
                _ => self.line.push(byte),
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self) -> Result<Option<String>, CallError> {
        let bytes = std::mem::take(&mut self.line);
        let mut line = std::str::from_utf8(&bytes)
            .map_err(|_| CallError::Malformed("the stream is no UTF-8".to_owned()))?;
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return Ok(std::mem::take(&mut self.has_data).then_some(data));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            let value = value.strip_prefix(' ').unwrap_or(value);
            if self.data.len() + value.len() >= EVENT_BYTES_MAX {
                return Err(CallError::Limit(format!(
                    "an event of the stream is longer than {EVENT_BYTES_MAX} bytes"
                )));
            }
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push('\n');
            }
            self.data.push_str(value);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(stream: &[u8]) -> Vec<String> {
        Decoder::default().feed(stream).expect("valid")
    }

    #[test]
    fn every_line_ending_comment_and_field_is_read_as_the_specification_says() {
        let stream = "\u{feff}: a comment\r\nevent: message\ndata: one\rdata:two\n\nid: 7\n\ndata\n\ndata: cut";
        assert_eq!(decode(stream.as_bytes()), ["one\ntwo", ""]);
    }

    #[test]
    fn a_line_or_an_event_without_end_is_refused() {
        let mut decoder = Decoder::default();
        decoder
            .feed(&[b'x'; LINE_BYTES_MAX])
            .expect("just long enough");
        assert!(matches!(decoder.feed(b"x"), Err(CallError::Limit(_))));
        let line = [b"data: ".as_slice(), &[b'x'; 1 << 19], b"\n"].concat();
        let mut decoder = Decoder::default();
        let refused = (0..64).find_map(|_| decoder.feed(&line).err());
        assert!(matches!(refused, Some(CallError::Limit(_))));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let refused = Decoder::default().feed(b"data: \xff\n\n");
        assert!(matches!(refused, Err(CallError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn where_chunks_are_cut_does_not_matter(
            events in prop::collection::vec("[ a-z{}\":é]{0,12}", 0..6),
            ending in prop::sample::select(vec!["\n", "\r", "\r\n"]),
            size in 1usize..9,
        ) {
            let stream: String = events
                .iter()
                .map(|event| format!("data: {event}{ending}{ending}"))
                .collect();
            let mut decoder = Decoder::default();
            let mut cut = Vec::new();
            for chunk in stream.as_bytes().chunks(size) {
                cut.extend(decoder.feed(chunk).expect("valid"));
            }
            prop_assert_eq!(&cut, &events);
        }
    }
}
