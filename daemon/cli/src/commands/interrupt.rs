//! Interrupts from a second terminal: claim, replace, accept and the rest.

use super::session::{left_alone, print_undone};
use super::{confirm, owned};
use crate::args::{Command, Global, SeenArgs};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use forerun_sdk::{Anew, Seen, Session};
use forerun_types::{Action, AllowFor, ApprovalId, SessionId, StepIndex};
use std::time::Duration;

/// Carries out one interrupt; every other command is handled by the caller.
pub(crate) async fn interrupt(
    global: &Global,
    output: Output,
    command: Command,
) -> Result<(), Failure> {
    if let Command::Stop {
        session,
        undo: true,
    } = &command
    {
        return stop_and_undo(global, output, session).await;
    }
    let (session, sequence) = carry_out(global, output, command).await?;
    if output.json {
        output.value(&serde_json::json!({ "session": session.to_string(), "sequence": sequence }));
    }
    Ok(())
}

async fn carry_out(
    global: &Global,
    output: Output,
    command: Command,
) -> Result<(SessionId, u64), Failure> {
    let id = session_of(&command)?;
    // What the user typed is checked before the daemon is asked anything.
    let action = match &command {
        Command::Replace {
            tool, arguments, ..
        } => Some(parse(tool, arguments)?),
        Command::Backtrack(args) => match &args.tool {
            Some(tool) => Some(parse(tool, &args.arguments)?),
            None => None,
        },
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
        Command::Approve {
            approval,
            for_session,
            always,
            yes,
            ..
        } => {
            let approval = asked(&session, approval).await?;
            let allow_for = match (for_session, always) {
                (true, _) => AllowFor::Session,
                (_, true) => AllowFor::Always,
                _ => AllowFor::Once,
            };
            if allow_for == AllowFor::Always {
                agree(output, &session, approval, yes).await?;
            }
            session.approve(approval, allow_for).await?
        }
        Command::Refuse {
            approval, reason, ..
        } => {
            let approval = asked(&session, approval).await?;
            session.refuse(approval, reason).await?
        }
        Command::Retry { .. } => session.retry().await?,
        Command::Pause { .. } => session.pause().await?,
        Command::Resume { .. } => session.resume().await?,
        Command::Suggest { text, .. } => session.suggest(text).await?,
        Command::Backtrack(args) => {
            let anew = match (action, args.suggest) {
                (Some(action), _) => Anew::Action(action),
                (None, Some(text)) => Anew::Suggestion(text),
                (None, None) => return Err(no_interrupt()),
            };
            let step = StepIndex(args.step);
            let seen = seen_of(&args.seen);
            match args.keep_effects {
                true => session.backtrack_keeping_effects(step, seen, anew).await?,
                false => session.backtrack(step, seen, anew).await?,
            }
        }
        Command::Stop { .. } => session.stop().await?,
        _ => return Err(no_interrupt()),
    };
    Ok((id, sequence))
}

/// Shows the permit that allows something always, and asks whether it shall be so.
async fn agree(
    output: Output,
    session: &Session,
    approval: ApprovalId,
    yes: bool,
) -> Result<(), Failure> {
    let pending = session.info().await?.approval;
    let pending = pending.filter(|pending| pending.id == approval);
    let Some(permit) = pending.and_then(|pending| pending.always) else {
        let message = "no permit can allow this always: a policy forbids it".to_owned();
        let hint = "allow it once, or for the session; `forerun policy explain` names the policy";
        return Err(Failure::new(Exit::NotNow, "NOT_GRANTABLE", message).hint(hint));
    };
    output.note(permit.trim_end());
    let agreed = yes || confirm("add this to your policies?")?.unwrap_or(false);
    if agreed {
        return Ok(());
    }
    let message = "nothing was allowed";
    let hint = "--yes agrees to the permit where nobody can be asked";
    Err(Failure::new(Exit::NotNow, "NOT_CONFIRMED", message).hint(hint))
}

/// Stops, waits until everything is taken back, and says what was and what was not.
async fn stop_and_undo(global: &Global, output: Output, id: &SessionId) -> Result<(), Failure> {
    let taken_back = owned(global, id).await?.stop_and_undo().await?;
    print_undone(output, &taken_back.undone);
    if let Some(reason) = taken_back.refused {
        let message = format!("the session was stopped, and not all of it was undone: {reason}");
        let hint = format!("`forerun session undo {id}` tries again");
        return Err(Failure::new(Exit::Failed, "NOT_UNDONE", message).hint(hint));
    }
    left_alone(&taken_back.undone)
}

fn session_of(command: &Command) -> Result<SessionId, Failure> {
    match command {
        Command::Claim { session, .. }
        | Command::Unclaim { session, .. }
        | Command::Replace { session, .. }
        | Command::Accept { session, .. }
        | Command::Answer { session, .. }
        | Command::Approve { session, .. }
        | Command::Refuse { session, .. }
        | Command::Retry { session }
        | Command::Pause { session }
        | Command::Resume { session }
        | Command::Suggest { session, .. }
        | Command::Stop { session, .. } => Ok(session.clone()),
        Command::Backtrack(args) => Ok(args.session.clone()),
        _ => Err(no_interrupt()),
    }
}

/// The question that is meant: the one that is open, if the user did not say.
async fn asked(session: &Session, named: Option<ApprovalId>) -> Result<ApprovalId, Failure> {
    if let Some(approval) = named {
        return Ok(approval);
    }
    let open = session.info().await?.approval;
    open.map(|open| open.id).ok_or_else(|| {
        let message = format!("nothing waits for your approval in {}", session.id());
        Failure::new(Exit::NotNow, "NOTHING_ASKED", message).hint(format!(
            "`forerun watch {}` shows what it does",
            session.id()
        ))
    })
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
