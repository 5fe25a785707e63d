//! Asking the person at the terminal what policy puts to the session's owner. Where nobody
//! sits at one, `forerun approve` and `refuse` answer from elsewhere.

use crate::failure::Failure;
use crate::output::Output;
use forerun_sdk::Session;
use forerun_types::{ApprovalId, EventKind};
use std::io::{BufRead, IsTerminal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The question that is open, and what is typed.
pub(super) struct Asker {
    /// Whether somebody can be asked here.
    attended: bool,
    open: Option<ApprovalId>,
    typed: Option<UnboundedReceiver<String>>,
}

impl Asker {
    pub(super) fn new(output: Output) -> Asker {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Asker {
            attended: terminal && !output.json,
            open: None,
            typed: None,
        }
    }

    /// Asks, or forgets what it asked.
    pub(super) fn hear(&mut self, output: Output, session: &Session, event: &EventKind) {
        match event {
            EventKind::ApprovalRequested { approval, .. } if self.attended => {
                self.open = Some(*approval);
                self.typed.get_or_insert_with(lines);
                output.note("allow it? [y]es, for the [s]ession, [n]o, or say why not:");
            }
            EventKind::ApprovalRequested { .. } => {
                let id = session.id();
                output.note(&format!("forerun approve {id}, or forerun refuse {id}"));
            }
            EventKind::ApprovalEnded { .. } => self.open = None,
            _ => {}
        }
    }

    /// The next line that answers the open question; pending while there is none.
    pub(super) async fn answer(&mut self) -> (ApprovalId, String) {
        if let (Some(open), Some(typed)) = (self.open, &mut self.typed)
            && let Some(line) = typed.recv().await
        {
            self.open = None;
            return (open, line);
        }
        std::future::pending().await
    }
}

/// Carries out what was typed.
pub(super) async fn answer(
    session: &Session,
    (approval, line): (ApprovalId, String),
) -> Result<(), Failure> {
    match line.trim() {
        "y" | "yes" => session.approve(approval, false).await?,
        "s" | "session" => session.approve(approval, true).await?,
        "n" | "no" | "" => session.refuse(approval, "").await?,
        reason => session.refuse(approval, reason).await?,
    };
    Ok(())
}

/// What is typed, line by line. A thread that nobody waits for: reading from a terminal can
/// not be given up.
fn lines() -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        for line in lines {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
