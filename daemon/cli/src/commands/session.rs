//! `forerun session`: list, show, metrics, report, diff, commit, discard, undo, redo.

use super::metrics::Metrics;
use super::report::Destination;
use super::{connect, owned};
use crate::args::{Global, SessionCommand, UndoArgs};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render;
use crate::style::{Style, visible};
use forerun_sdk::{CommitMode, Finish, SessionInfo, SessionState};
use forerun_types::{ChangeKind, FileDiff, StepIndex, Undone};

pub(crate) async fn session(
    global: &Global,
    output: Output,
    command: SessionCommand,
) -> Result<(), Failure> {
    match command {
        SessionCommand::List => {
            let sessions = connect(global).await?.sessions(None).await?;
            if sessions.is_empty() && !output.json {
                output.note("no sessions yet; `forerun run` opens one");
            }
            for info in &sessions {
                if output.json {
                    output.value(&json(info));
                } else {
                    output.line(&row(info));
                }
            }
        }
        SessionCommand::Show { session } => {
            let info = owned(global, &session).await?.info().await?;
            if output.json {
                output.value(&json(&info));
            } else {
                output.line(&page(&info));
            }
        }
        SessionCommand::Metrics { sessions } => {
            let infos = match sessions.is_empty() {
                true => connect(global).await?.sessions(None).await?,
                false => {
                    let mut infos = Vec::new();
                    for session in &sessions {
                        infos.push(owned(global, session).await?.info().await?);
                    }
                    infos
                }
            };
            let ended = |info: &SessionInfo| !info.end_reason.is_empty();
            let infos: Vec<_> = infos.into_iter().filter(ended).collect();
            let metrics = Metrics::over(&infos).ok_or_else(|| {
                let message = "no session has ended with a step";
                Failure::new(Exit::NoInput, "NO_METRICS", message)
            })?;
            metrics.print(output);
        }
        SessionCommand::Report { session, file } => {
            let destination = Destination::check(&file)?;
            let session = owned(global, &session).await?;
            destination.write(output, &session).await?;
        }
        SessionCommand::Diff { session } => {
            let files = owned(global, &session).await?.diff().await?;
            print_diff(output, &files);
        }
        SessionCommand::Commit { session } => {
            finish(global, output, session, Finish::Commit).await?;
        }
        SessionCommand::Discard { session } => {
            finish(global, output, session, Finish::Discard).await?;
        }
        SessionCommand::Undo(args) => undo(global, output, args, false).await?,
        SessionCommand::Redo(args) => undo(global, output, args, true).await?,
    }
    Ok(())
}

async fn undo(global: &Global, output: Output, args: UndoArgs, redo: bool) -> Result<(), Failure> {
    let session = owned(global, &args.session).await?;
    let from = args.from.map(StepIndex);
    let undone = match redo {
        false => session.undo(from, args.force).await?,
        true => session.redo(from, args.force).await?,
    };
    print_undone(output, &undone);
    if args.force {
        return Ok(());
    }
    left_alone(&undone)
}

/// What an undo or a redo did, a line a step.
pub(super) fn print_undone(output: Output, undone: &[Undone]) {
    for undone in undone {
        if output.json {
            output.value(undone);
        } else {
            output.line(&render::undone(undone, output.style));
        }
    }
}

/// An undo that left something alone did not do what was wanted.
pub(super) fn left_alone(undone: &[Undone]) -> Result<(), Failure> {
    let left = undone.iter().map(|undone| undone.left.len()).sum::<usize>();
    if left == 0 {
        return Ok(());
    }
    let paths = if left == 1 { "path was" } else { "paths were" };
    let message = format!("{left} {paths} left alone");
    Err(Failure::new(Exit::Failed, "LEFT_ALONE", message)
        .hint("`forerun session undo --force` takes back what was changed since, too"))
}

async fn finish(
    global: &Global,
    output: Output,
    session: forerun_types::SessionId,
    how: Finish,
) -> Result<(), Failure> {
    let finished = owned(global, &session).await?.finish(how, &[]).await?;
    if output.json {
        output.value(&serde_json::json!({
            "session": session.to_string(),
            "outcome": if how == Finish::Commit { "committed" } else { "discarded" },
            "commit": finished.commit.map(|commit| commit.to_string()),
            "changed": finished.changed,
        }));
    } else if how == Finish::Commit {
        let changed = render::changes(&finished.changed);
        let changed = if changed.is_empty() {
            "nothing to commit".to_owned()
        } else {
            changed
        };
        output.line(&format!("committed: {changed}"));
    } else {
        output.line("discarded: the workspace is as it was");
    }
    Ok(())
}

/// The difference in unified format, as `git apply` takes it where it is text.
pub(crate) fn print_diff(output: Output, files: &[FileDiff]) {
    for file in files {
        if output.json {
            output.value(file);
            continue;
        }
        output.line(&output.style.strong(&heading(file)));
        for line in file.unified.lines() {
            output.line(&coloured(&visible(line), output.style));
        }
    }
}

fn heading(file: &FileDiff) -> String {
    let path = visible(&file.change.path);
    let binary = if file.binary { " (binary)" } else { "" };
    match &file.change.kind {
        ChangeKind::Created => format!("new: {path}{binary}"),
        ChangeKind::Modified => format!("changed: {path}{binary}"),
        ChangeKind::Deleted => format!("deleted: {path}{binary}"),
        ChangeKind::Renamed { from } => {
            format!("renamed: {} → {path}{binary}", visible(from))
        }
        ChangeKind::Attributes => format!("attributes: {path}{binary}"),
    }
}

fn coloured(line: &str, style: Style) -> String {
    match line.as_bytes().first() {
        Some(b'+') => style.good(line),
        Some(b'-') => style.bad(line),
        Some(b'@') => style.dim(line),
        _ => line.to_owned(),
    }
}

fn row(info: &SessionInfo) -> String {
    let task: String = info
        .task
        .chars()
        .take(48)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!(
        "{}  {:<11}  {:>3} steps  {}  {task}",
        info.id,
        info.state.as_str(),
        info.counts.verified,
        visible(&info.workspace.display().to_string()),
    )
}

fn page(info: &SessionInfo) -> String {
    let mut lines = vec![
        format!("session    {}", info.id),
        format!("state      {}", info.state.as_str()),
    ];
    if let SessionState::Stalled { step, reason, hint } = &info.state {
        lines.push(format!("           step {step}: {reason}"));
        lines.push(format!("           hint: {hint}"));
    }
    lines.push(format!("workspace  {}", info.workspace.display()));
    lines.push(format!("task       {}", visible(&info.task)));
    lines.push(format!(
        "policy     {}, depth {}, width {}, commit {}",
        info.policy,
        info.depth,
        info.width,
        commit_name(info.commit)
    ));
    for agent in &info.agents {
        let there = if agent.connected {
            ""
        } else {
            " (gone, awaited)"
        };
        lines.push(format!("agent      {} {}{there}", agent.role, agent.agent));
    }
    let counts = &info.counts;
    lines.push(format!(
        "steps      {} verified, {} committed; {} of {} proposals were right",
        counts.verified, counts.committed, counts.matched, counts.proposed
    ));
    lines.push(format!(
        "calls      {} of the target, {} of the approximation agent",
        counts.target_calls, counts.approximation_calls
    ));
    lines.push(format!(
        "executed   {} actions, {} of them dropped",
        counts.executions, counts.executions_dropped
    ));
    lines.push(format!(
        "time       {:.2} s",
        info.timings.elapsed.as_secs_f64()
    ));
    if !info.end_reason.is_empty() {
        lines.push(format!("ended      {}", info.end_reason));
    }
    if let Some(open) = &info.approval {
        lines.push(format!("asks       {}", visible(&open.what)));
        lines.push(format!("           because {}", visible(&open.reason)));
        lines.push(format!(
            "           forerun approve {0}, or forerun refuse {0}",
            info.id
        ));
    }
    if let Some(answer) = &info.answer {
        lines.push(format!("answer     {}", visible(answer)));
    }
    lines.join("\n")
}

pub(crate) fn commit_name(mode: CommitMode) -> &'static str {
    match mode {
        CommitMode::Step => "step",
        CommitMode::Session => "session",
    }
}

/// A session as JSON.
pub(crate) fn json(info: &SessionInfo) -> serde_json::Value {
    let stall = match &info.state {
        SessionState::Stalled { step, reason, hint } => {
            serde_json::json!({ "step": step, "reason": reason, "hint": hint })
        }
        _ => serde_json::Value::Null,
    };
    let agents: Vec<_> = info
        .agents
        .iter()
        .map(|agent| {
            serde_json::json!({
                "role": agent.role,
                "agent": agent.agent,
                "model": agent.model,
                "capacity": agent.capacity,
                "connected": agent.connected,
            })
        })
        .collect();
    let counts = &info.counts;
    serde_json::json!({
        "id": info.id,
        "state": info.state.as_str(),
        "stall": stall,
        "workspace": info.workspace,
        "task": info.task,
        "policy": info.policy,
        "depth": info.depth,
        "width": info.width,
        "commit": commit_name(info.commit),
        "seed": info.seed,
        "clock_ns": info.clock_ns,
        "opened_at_ms": info.opened_at_ms,
        "agents": agents,
        "counts": {
            "verified": counts.verified,
            "committed": counts.committed,
            "proposed": counts.proposed,
            "matched": counts.matched,
            "corrected": counts.corrected,
            "squashed": counts.squashed,
            "approximation_calls": counts.approximation_calls,
            "target_calls": counts.target_calls,
            "executions": counts.executions,
            "executions_dropped": counts.executions_dropped,
            "peak_calls": counts.peak_calls,
        },
        "elapsed_us": u64::try_from(info.timings.elapsed.as_micros()).unwrap_or(u64::MAX),
        "execution_us": u64::try_from(info.timings.execution.as_micros()).unwrap_or(u64::MAX),
        "usage": {
            "approximation": info.approximation_usage,
            "target": info.target_usage,
        },
        "end_reason": info.end_reason,
        "answer": info.answer,
        "approval": info.approval.as_ref().map(|open| serde_json::json!({
            "id": open.id.to_string(),
            "step": open.step,
            "what": open.what,
            "policies": open.policies,
            "reason": open.reason,
        })),
    })
}
