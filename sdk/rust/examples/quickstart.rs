//! Two agents work on a directory; a person decides one step, looks, commits and undoes:
//! `cargo run --example quickstart --package forerun-sdk -- DIR`, with a daemon that answers
//! (`forerun socket --start`).

use forerun_sdk::{
    Action, Agent, AgentError, Candidate, EventKind, Forerun, Request, Result, Role, async_trait,
};
use std::path::Path;
use std::time::Duration;

/// An agent is a function of what it is asked on; it keeps nothing between calls.
struct Planner {
    thinks: Duration,
    looks_at: &'static str,
}

#[async_trait]
impl Agent for Planner {
    async fn propose(&self, request: &Request) -> std::result::Result<Vec<Candidate>, AgentError> {
        tokio::time::sleep(self.thinks).await;
        let (tool, arguments) = match request.step().0 {
            0 => (
                "write_file",
                r#"{"path":"index.html","content":"<h1>Forerun</h1>\n"}"#,
            ),
            1 => (
                "write_file",
                r#"{"path":"style.css","content":"h1 { color: red }\n"}"#,
            ),
            2 => (self.looks_at, r#"{"path":"index.html"}"#),
            _ => ("terminate", r#"{"answer":"a page with a heading"}"#),
        };
        let action = Action::parse(tool, arguments);
        let action = action.map_err(|error| AgentError::Permanent(error.to_string()))?;
        Ok(vec![Candidate::new(action)])
    }
}

/// Runs, interrupts, commits and undoes; says what happens.
pub(crate) async fn work(
    daemon: &Forerun,
    workspace: &Path,
    say: &mut impl FnMut(String),
) -> Result<()> {
    let session = daemon.session(workspace).task("A page").open().await?;
    let fast = Planner {
        thinks: Duration::ZERO,
        looks_at: "stat",
    };
    let slow = Planner {
        thinks: Duration::from_millis(800),
        looks_at: "read_file",
    };
    session.attach(Role::Approximation, fast).await?;
    session.attach(Role::Target, slow).await?;
    let mut steps = session.steps();
    while let Some(event) = steps.next().await {
        match event?.kind {
            EventKind::Waiting { step, .. } if step.0 == 0 => {
                let mine = r#"{"path":"index.html","content":"<h1>Mine</h1>\n"}"#;
                session
                    .replace(step, Action::parse("write_file", mine)?)
                    .await?;
            }
            EventKind::Answer {
                step,
                source,
                action,
                matched,
                ..
            } => {
                let how = if matched { "as proposed" } else { "corrected" };
                say(format!("{} {source} {} {how}", step.0, action.tool));
            }
            EventKind::Committed { step, changed, .. } => {
                let paths: Vec<_> = changed.into_iter().map(|change| change.path).collect();
                say(format!("{} committed {}", step.0, paths.join(" ")));
            }
            EventKind::Stalled { reason, hint, .. } => {
                say(format!("waits for you: {reason}; {hint}"));
                session.stop().await?;
            }
            EventKind::Ended { answer, .. } => {
                say(format!("answer: {}", answer.unwrap_or_default()));
                break;
            }
            _ => {}
        }
    }
    session.close().await?;
    for undone in session.undo(None, false).await? {
        let paths: Vec<_> = undone
            .changed
            .into_iter()
            .map(|change| change.path)
            .collect();
        say(format!("{} undone {}", undone.step.0, paths.join(" ")));
    }
    Ok(())
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example talks to its user")]
async fn main() -> Result<()> {
    let workspace = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());
    let daemon = Forerun::connect().await?;
    work(&daemon, Path::new(&workspace), &mut |line| {
        println!("{line}")
    })
    .await
}
