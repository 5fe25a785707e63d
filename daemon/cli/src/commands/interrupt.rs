//! Interrupts from a second terminal: claim, replace, accept and the rest.

use super::owned;
use crate::args::{Command, Global, SeenArgs};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use forerun_sdk::Seen;
use forerun_types::{Action, SessionId, StepIndex};
use std::time::Duration;

/// Carries out one interrupt; every other command is handled by the caller.
pub(crate) async fn interrupt(
    global: &Global,
    output: Output,
    command: Command,
) -> Result<(), Failure> {
    let (session, sequence) = carry_out(global, command).await?;
    if output.json {
        output.value(&serde_json::json!({ "session": session.to_string(), "sequence": sequence }));
    }
    Ok(())
}

async fn carry_out(global: &Global, command: Command) -> Result<(SessionId, u64), Failure> {
    let id = session_of(&command)?;
    // What the user typed is checked before the daemon is asked anything.
    let action = match &command {
        Command::Replace {
            tool, arguments, ..
        } => Some(parse(tool, arguments)?),
        _ => None,
    };
    let session = owned(global, &id).await?;
    let sequence = match command {
        Command::Claim {
            step, ttl, seen, ..
        } => {
            session
                .claim(StepIndex(step), seen_of(&seen), Duration::from_secs(ttl))
                .await?
        }
        Command::Unclaim { step, .. } => session.unclaim(StepIndex(step)).await?,
        Command::Replace { step, seen, .. } => match action {
            Some(action) => {
                session
                    .replace_seen(StepIndex(step), seen_of(&seen), action)
                    .await?
            }
            None => return Err(no_interrupt()),
        },
        Command::Accept { step, node, .. } => session.accept(StepIndex(step), node).await?,
        Command::Answer { step, text, .. } => session.answer(StepIndex(step), text).await?,
        Command::Retry { .. } => session.retry().await?,
        Command::Pause { .. } => session.pause().await?,
        Command::Resume { .. } => session.resume().await?,
        Command::Stop { .. } => session.stop().await?,
        _ => return Err(no_interrupt()),
    };
    Ok((id, sequence))
}

fn session_of(command: &Command) -> Result<SessionId, Failure> {
    match command {
        Command::Claim { session, .. }
        | Command::Unclaim { session, .. }
        | Command::Replace { session, .. }
        | Command::Accept { session, .. }
        | Command::Answer { session, .. }
        | Command::Retry { session }
        | Command::Pause { session }
        | Command::Resume { session }
        | Command::Stop { session } => Ok(session.clone()),
        _ => Err(no_interrupt()),
    }
}

fn no_interrupt() -> Failure {
    Failure::new(Exit::Software, "INTERNAL", "the command is no interrupt")
}

fn seen_of(seen: &SeenArgs) -> Seen {
    seen.node.map_or(Seen::Any, Seen::Node)
}

fn parse(tool: &str, arguments: &str) -> Result<Action, Failure> {
    Action::parse(tool, arguments).map_err(|error| {
        Failure::new(
            Exit::Data,
            "ARGUMENTS_INVALID",
            format!("the arguments of {tool}: {error}"),
        )
        .hint("give them as JSON, as in '{\"path\": \"README.md\"}'")
    })
}
