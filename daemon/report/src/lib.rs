//! The picture of a run: what both agents, the sandboxes and the person did, in lanes along
//! the time of the session, as *Interactive Speculative Planning* draws its runs (figures 2,
//! 3, 6 and 7). It is drawn from the log alone, of a run that ended and of one that goes on.
//!
//! ```text
//! events ──► Run (what happened, by id) ──► Scene (bars and marks) ──► SVG
//! ```
//!
//! **Invariant:** every list of events has a picture: also one that is cut off, out of order,
//! or makes no sense.
//! **Invariant:** the same events give the same bytes.
//! **Invariant:** what agents, tools and people said is cut, freed of what would reorder or
//! break a line, and escaped; the picture has no script and refers to nothing outside of it.
//! **Invariant:** a picture has at most [`SVG_BYTES_MAX`] bytes, and says what it leaves out.

#![forbid(unsafe_code)]

mod draw;
mod glyph;
mod layout;
mod run;
mod scene;
mod svg;

use forerun_types::{Event, SessionId};
use run::Run;

/// Most bytes of a picture; follows from the other limits, and tests hold it. Stops a log
/// without end from becoming a file without end.
pub const SVG_BYTES_MAX: usize = 32 << 20;

/// A picture that is being collected, event by event, so that a log need not be held whole.
#[derive(Clone, Debug)]
pub struct Picture {
    session: String,
    run: Run,
}

impl Picture {
    /// Of this session, without an event yet.
    pub fn new(session: &SessionId) -> Picture {
        Picture {
            session: session.to_string(),
            run: Run::default(),
        }
    }

    /// Adds an event. The trace view has all of them; of the presented view alone, calls and
    /// executions are missing, and the picture says so.
    pub fn add(&mut self, event: &Event) {
        self.run.add(event);
    }

    /// What was added so far, as the text of an SVG file.
    pub fn svg(&self) -> String {
        draw::svg(&self.session, &self.run)
    }
}
