//! One line for one event: what a person reads while a plan runs.

use crate::style::{Style, visible};
use forerun_types::{
    Action, ApprovalEnd, AskEnd, ChangeKind, EffectEnd, Event, EventKind, Observation,
    ObservationStatus, PathChange, Predictor, Source, Undone,
};
use std::fmt::Write;

/// Longest part of an action or observation on a line.
const EXCERPT_CHARS: usize = 96;

/// The event as a line, without its end; `None` for what is only in the trace or says
/// nothing that the lines around it do not say.
pub(crate) fn line(event: &Event, style: Style) -> Option<String> {
    let at = style.dim(&format!("{:7.2}s", event.at.as_secs_f64()));
    let text = text(&event.kind, style)?;
    Some(format!("{at}  {text}"))
}

fn text(kind: &EventKind, style: Style) -> Option<String> {
    Some(match kind {
        EventKind::Opened {
            workspace,
            policy,
            audit,
            depth,
            ..
        } => {
            let noted = if *audit { ", audit only" } else { "" };
            format!("session on {workspace} (policy {policy}{noted}, depth {depth})")
        }
        EventKind::AgentAttached {
            role,
            agent,
            reattached,
            ..
        } => {
            let again = if *reattached { " again" } else { "" };
            style.dim(&format!("{role} agent {agent} attached{again}"))
        }
        EventKind::AgentDetached {
            role,
            agent,
            reattach_ms,
        } => style.warn(&format!(
            "{role} agent {agent} is gone; its calls wait {} s for it (forerun agent starts it again)",
            *reattach_ms as f64 / 1000.0
        )),
        EventKind::AgentLost { role, agent } => {
            style.warn(&format!("{role} agent {agent} did not come back"))
        }
        EventKind::Proposed {
            step,
            action,
            siblings,
            ..
        } => {
            let candidates = siblings.iter().map(|sibling| &sibling.action);
            let candidates = std::iter::once(action).chain(candidates);
            let text = candidates.map(describe).collect::<Vec<_>>().join(" | ");
            format!("{step:>3}  a  {}", style.dim(&text))
        }
        EventKind::Observed { observation, .. } => {
            style.dim(&format!("        {}", observed(observation)))
        }
        EventKind::Answer {
            step,
            source,
            action,
            matched,
            corrects,
            ..
        } => {
            let who = if *source == Source::User { "u" } else { "t" };
            let text = describe(action);
            if *matched {
                format!("{step:>3}  {who}  {} {text}", style.good("✓"))
            } else if corrects.is_some() {
                let who_corrects = if *source == Source::User {
                    "you"
                } else {
                    "the target"
                };
                let rolled = style.bad(&format!("✗ {who_corrects} corrected it; rolled back"));
                format!("{step:>3}  {who}  {rolled}: {text}")
            } else {
                format!("{step:>3}  {who}  {text}")
            }
        }
        EventKind::Verified { step, changed, .. } if !changed.is_empty() => {
            format!(
                "{step:>3}     {} {}",
                style.good("verified"),
                changes(changed)
            )
        }
        EventKind::Committed { step, commit, .. } => {
            format!("{step:>3}     {} as {commit}", style.good("committed"))
        }
        EventKind::ReviewOpened { step, until, .. } => style.warn(&format!(
            "{step:>3}     in review until {:.2}s: replace or accept it",
            until.as_secs_f64()
        )),
        EventKind::Claimed { step, until } => style.warn(&format!(
            "{step:>3}     claimed until {:.2}s: the verdict is yours",
            until.as_secs_f64()
        )),
        EventKind::Unclaimed { step, reason } => {
            style.warn(&format!("{step:>3}     no longer claimed: {reason}"))
        }
        EventKind::Question { step, question, .. } => style.warn(&format!(
            "{step:>3}     the plan asks: {} (forerun answer)",
            excerpt(question)
        )),
        EventKind::ApprovalRequested {
            step,
            approval,
            what,
            reason,
            ..
        } => style.warn(&format!(
            "{step:>3}     {approval} waits for you: {} (forerun approve, or refuse)\n          {}",
            excerpt(what),
            visible(reason)
        )),
        EventKind::ApprovalEnded {
            step,
            approval,
            end,
            reason,
        } => {
            let how = match end {
                ApprovalEnd::Allowed => "allowed",
                ApprovalEnd::AllowedForSession => "allowed for the session",
                ApprovalEnd::AllowedAlways => "allowed, and from now on always",
                ApprovalEnd::Refused => "refused",
                ApprovalEnd::TimedOut => "refused: nobody answered in time",
                ApprovalEnd::Withdrawn => "withdrawn",
            };
            let reason = match reason.as_str() {
                "" => String::new(),
                reason => format!(": {}", excerpt(reason)),
            };
            style.warn(&format!("{step:>3}     {approval} {how}{reason}"))
        }
        EventKind::EffectHeld {
            step, what, reason, ..
        } => style.dim(&format!(
            "{step:>3}     waits for its verdict: {} ({})",
            excerpt(what),
            visible(reason)
        )),
        EventKind::EffectSent { step, what, .. } => {
            style.warn(&format!("{step:>3}     sent: {}", excerpt(what)))
        }
        EventKind::EffectEnded {
            step,
            what,
            end,
            detail,
            ..
        } => {
            let how = match end {
                EffectEnd::Answered => "answered",
                EffectEnd::Replayed => "was sent before, not again",
                EffectEnd::Refused => "not sent",
                EffectEnd::Unknown => "sent, and nobody knows what became of it",
            };
            let line = format!("{step:>3}     {how}: {} ({})", excerpt(what), visible(detail));
            match end {
                EffectEnd::Unknown => style.warn(&line),
                _ => style.dim(&line),
            }
        }
        EventKind::Suggested { step, text } => style.warn(&format!(
            "{step:>3}  u  you said: {}",
            excerpt(text)
        )),
        EventKind::Backtracked { step, .. } => style.warn(&format!(
            "{step:>3}  u  you went back; it is decided anew"
        )),
        EventKind::Stalled { step, reason, hint } => {
            let hint = if hint.is_empty() {
                String::new()
            } else {
                format!("\n          hint: {hint}")
            };
            style.bad(&format!("{step:>3}     stalled: {reason}{hint}"))
        }
        EventKind::Continued { reason } => style.warn(&format!("goes on: {reason}")),
        EventKind::Paused => style.warn("paused"),
        EventKind::Resumed => style.warn("resumed"),
        EventKind::Refused { what, reason } => {
            style.warn(&format!("refused: {}: {reason}", excerpt(what)))
        }
        EventKind::Ended { reason, steps, .. } => format!("ended: {reason} after {steps} steps"),
        EventKind::Finished {
            outcome, changed, ..
        } => {
            let changed = if changed.is_empty() {
                String::new()
            } else {
                format!(": {}", changes(changed))
            };
            format!("finished: {outcome}{changed}")
        }
        EventKind::Interrupted { reason } => style.bad(&format!("interrupted: {reason}")),
        EventKind::Kept { path, copy, .. } => style.warn(&format!(
            "kept: another version of {} is in {}",
            visible(path),
            visible(copy)
        )),
        EventKind::Undone(event) => undone(event, style),
        EventKind::Asked {
            call, role, step, ..
        } => style.dim(&format!("{step:>3}  ·  {call} asks {role}")),
        EventKind::Answered {
            call,
            role,
            step,
            action,
            ..
        } => style.dim(&format!(
            "{step:>3}  ·  {call} {role} answered {}",
            describe(action)
        )),
        EventKind::Predicted { step, by, actions } => {
            let who = match by {
                Predictor::History => "history expects",
                Predictor::Caller => "the caller expects",
            };
            let actions: Vec<_> = actions.iter().map(describe).collect();
            style.dim(&format!("{step:>3}  ·  {who} {}", actions.join(" | ")))
        }
        EventKind::CallEnded {
            role,
            step,
            end: AskEnd::Failed,
            reason,
            ..
        } => style.warn(&format!(
            "{step:>3}     {role} agent: {}",
            visible(reason)
        )),
        EventKind::CallEnded {
            call,
            step,
            end,
            reason,
            ..
        } => style.dim(&format!("{step:>3}  ·  {call} {end:?}: {reason}").to_lowercase()),
        EventKind::PolicyDecided {
            step,
            decision,
            policies,
            enforced,
            ..
        } => {
            let noted = match enforced {
                Some(enforced) => format!(", only noted: {enforced}"),
                None => String::new(),
            };
            let policies = policies.join(", ");
            style.dim(&format!("{step:>3}  ·  policy: {decision}{noted} ({policies})"))
        }
        EventKind::ExecutionStarted {
            execution,
            step,
            speculative,
            ..
        } => {
            let how = if *speculative {
                "speculatively"
            } else {
                "verified"
            };
            style.dim(&format!("{step:>3}  ·  {execution} runs {how}"))
        }
        EventKind::ExecutionFinished {
            execution,
            step,
            elapsed_us,
            ..
        } => style.dim(&format!(
            "{step:>3}  ·  {execution} finished in {:.2} ms",
            *elapsed_us as f64 / 1000.0
        )),
        EventKind::NotExecuted {
            execution,
            step,
            reason,
            ..
        } => style.dim(&format!(
            "{step:>3}  ·  {execution} waits for the verdict: {reason}"
        )),
        EventKind::ExecutionEnded {
            execution,
            step,
            end,
            ..
        } => style.dim(&format!("{step:>3}  ·  {execution} {end:?}").to_lowercase()),
        EventKind::Squashed { node, step, reason } => {
            style.dim(&format!("{step:>3}  ·  {node} squashed: {reason}"))
        }
        EventKind::Verified { .. } | EventKind::Waiting { .. } | EventKind::Decided { .. } => {
            return None;
        }
    })
}

fn describe(action: &Action) -> String {
    let arguments = action.arguments.as_str();
    if arguments == "{}" {
        action.tool.clone()
    } else {
        excerpt(&action.to_string())
    }
}

fn observed(observation: &Observation) -> String {
    let first = observation
        .text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("");
    let lines = observation.text.lines().count();
    let more = if lines > 1 {
        format!(" (+{} lines)", lines - 1)
    } else {
        String::new()
    };
    let kind = match observation.status {
        ObservationStatus::Success => String::new(),
        ObservationStatus::ToolError => "error: ".to_owned(),
        ObservationStatus::Invalid => "invalid: ".to_owned(),
        ObservationStatus::Denied => "denied: ".to_owned(),
        ObservationStatus::Stopped(limit) => format!("stopped by {limit}: "),
    };
    format!("→ {kind}{}{more}", excerpt(first))
}

/// The text without control characters (it may come from a hostile tool), cut to one line.
fn excerpt(text: &str) -> String {
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == EXCERPT_CHARS {
            out.push('…');
            break;
        }
        out.push(if character.is_control() {
            ' '
        } else {
            character
        });
    }
    out
}

/// Changed paths in a few words.
pub(crate) fn changes(changed: &[PathChange]) -> String {
    const SHOWN: usize = 4;
    let mut text = String::new();
    for (index, change) in changed.iter().take(SHOWN).enumerate() {
        let separator = if index > 0 { ", " } else { "" };
        let path = excerpt(&change.path);
        let _ = match &change.kind {
            ChangeKind::Created => write!(text, "{separator}+{path}"),
            ChangeKind::Modified => write!(text, "{separator}~{path}"),
            ChangeKind::Deleted => write!(text, "{separator}-{path}"),
            ChangeKind::Renamed { from } => write!(text, "{separator}{} → {path}", excerpt(from)),
            ChangeKind::Attributes => write!(text, "{separator}={path}"),
        };
    }
    if changed.len() > SHOWN {
        let _ = write!(text, " and {} more", changed.len() - SHOWN);
    }
    text
}

/// What an undo or a redo did to a step.
pub(crate) fn undone(undone: &Undone, style: Style) -> String {
    let done = if undone.redo { "redone" } else { "undone" };
    let changed = match changes(&undone.changed) {
        nothing if nothing.is_empty() => "nothing to do".to_owned(),
        changed => changed,
    };
    let mut text = format!("step {} {done}: {changed}", undone.step);
    for left in &undone.left {
        let line = format!(
            "left alone: {}: {}",
            visible(&left.path),
            visible(&left.reason)
        );
        text.push('\n');
        text.push_str(&style.warn(&line));
    }
    text
}
