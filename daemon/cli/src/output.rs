//! What goes to stdout (data) and stderr (everything else). A reader that goes away, as
//! `| head` does, is no error; that data could not be written is one, told at the end.

use crate::style::Style;
use serde::Serialize;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// How this run prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) style: Style,
    /// Data goes to stderr: stdout belongs to a program that was run.
    aside: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Output {
        Output {
            json,
            style: Style::of(&io::stdout()),
            aside: false,
        }
    }

    /// The same, for a command whose stdout is another program's.
    pub(crate) fn aside(self) -> Output {
        Output {
            style: Style::of(&io::stderr()),
            aside: true,
            ..self
        }
    }

    /// A line of data.
    pub(crate) fn line(self, text: &str) {
        match self.aside {
            false => print(&mut io::stdout().lock(), text),
            true => print(&mut io::stderr().lock(), text),
        }
    }

    /// A value as one line of JSON.
    pub(crate) fn value(self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(&text),
            Err(error) => self.note(&format!("a value could not be printed: {error}")),
        }
    }

    /// Whether nobody reads any more.
    pub(crate) fn reader_is_gone(self) -> bool {
        READER_GONE.load(Ordering::Relaxed)
    }

    /// Something for people that is no data.
    pub(crate) fn note(self, text: &str) {
        print(&mut io::stderr().lock(), text);
    }
}

/// The reader of stdout or stderr went away.
static READER_GONE: AtomicBool = AtomicBool::new(false);
/// Data could not be written.
static WRITE_FAILED: AtomicBool = AtomicBool::new(false);

fn print(stream: &mut impl Write, text: &str) {
    match writeln!(stream, "{text}").and_then(|()| stream.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            READER_GONE.store(true, Ordering::Relaxed);
        }
        Err(_) => WRITE_FAILED.store(true, Ordering::Relaxed),
    }
}

/// Whether some output could not be written, other than because nobody reads it.
pub(crate) fn write_failed() -> bool {
    WRITE_FAILED.load(Ordering::Relaxed)
}
