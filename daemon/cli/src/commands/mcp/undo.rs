//! Takes the last steps of a session back while it goes on.

use super::listed;
use crate::failure::{Exit, Failure};
use forerun_sdk::{Anew, EventKind, Seen, Session, StepIndex, Undone, View};

/// What the session's log has where steps were taken back.
const ASKED: &str = "The steps from here on were taken back.";

/// Takes the last `steps` verified steps back, and tells what that did.
pub(super) async fn undo(session: &Session, steps: u32) -> Result<String, Failure> {
    let info = session.info().await?;
    let Some(first) = info.counts.verified.checked_sub(1) else {
        return Ok("There is nothing to undo.".to_owned());
    };
    let first = StepIndex(first.saturating_sub(steps - 1));
    if !info.end_reason.is_empty() {
        return Ok(told(&session.undo(Some(first), false).await?));
    }
    session
        .backtrack(first, Seen::Any, Anew::Suggestion(ASKED.to_owned()))
        .await?;
    let mut undone = Vec::new();
    let mut in_part = false;
    let mut events = session.watch_from(View::Presented, info.last_sequence, true);
    while let Some(event) = events.next().await {
        match event?.kind {
            EventKind::Undone(what) => undone.push(what),
            EventKind::Backtracked { step, .. } if step <= first => break,
            EventKind::Backtracked { .. } => in_part = true,
            EventKind::Refused { reason, .. } if in_part => {
                let message = format!("{}not everything could be undone: {reason}", told(&undone));
                return Err(
                    Failure::new(Exit::NotNow, "UNDO_REFUSED", message).hint(format!(
                        "the session is paused; the user goes on with `forerun resume {}`",
                        session.id()
                    )),
                );
            }
            kind if kind.is_last() => break,
            _ => {}
        }
    }
    Ok(told(&undone))
}

fn told(undone: &[Undone]) -> String {
    let mut lines = Vec::new();
    for step in undone {
        if !step.changed.is_empty() {
            lines.push(format!(
                "undid step {}:\n{}",
                step.step,
                listed(&step.changed)
            ));
        }
        for left in &step.left {
            lines.push(format!(
                "left alone in step {}: {}: {}\n",
                step.step, left.path, left.reason
            ));
        }
    }
    match lines.is_empty() {
        true => "Undone; nothing had been changed.".to_owned(),
        false => lines.concat(),
    }
}
