//! What goes to stdout (data) and stderr (everything else). A reader that goes away, as
//! `| head` does, ends the program quietly.

use crate::style::Style;
use serde::Serialize;
use std::io::{self, Write};

/// How this run prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) style: Style,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        Output {
            json,
            style: Style::of(&io::stdout()),
        }
    }

    /// A line of data.
    pub(crate) fn line(self, text: &str) {
        print(&mut io::stdout().lock(), text);
    }

    /// A value as one line of JSON.
    pub(crate) fn value(self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(&text),
            Err(error) => self.note(&format!("a value could not be printed: {error}")),
        }
    }

    /// Something for people that is no data.
    pub(crate) fn note(self, text: &str) {
        print(&mut io::stderr().lock(), text);
    }
}

fn print(stream: &mut impl Write, text: &str) {
    if let Err(error) = writeln!(stream, "{text}").and_then(|()| stream.flush())
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}
