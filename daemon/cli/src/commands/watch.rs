//! `forerun watch`: a session's events as they come.

use super::owned;
use crate::args::{Global, WatchArgs};
use crate::failure::Failure;
use crate::output::Output;
use crate::render;
use forerun_types::{Event, View};

pub(crate) async fn watch(
    global: &Global,
    output: Output,
    args: &WatchArgs,
) -> Result<(), Failure> {
    let session = owned(global, &args.session).await?;
    let view = if args.trace {
        View::Trace
    } else {
        View::Presented
    };
    let mut events = session.watch_from(view, args.after, !args.no_follow);
    while let Some(event) = events.next().await {
        show(output, &event?);
        if output.reader_is_gone() {
            break;
        }
    }
    Ok(())
}

/// Prints one event.
pub(crate) fn show(output: Output, event: &Event) {
    if output.json {
        output.value(event);
    } else if let Some(line) = render::line(event, output.style) {
        output.line(&line);
    }
}
