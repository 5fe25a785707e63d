//! Asking the person at the terminal what policy puts to the session's owner. Where nobody
//! sits at one, `forerun approve` and `refuse` answer from elsewhere.

use crate::failure::Failure;
use crate::output::Output;
use forerun_sdk::Session;
use forerun_types::{AllowFor, ApprovalId, EventKind};
use std::io::{BufRead, IsTerminal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The question that is open, and what is typed.
pub(super) struct Asker {
    output: Output,
    /// Whether somebody can be asked here.
    attended: bool,
    open: Option<Open>,
    typed: Option<UnboundedReceiver<String>>,
}

/// An open question.
struct Open {
    approval: ApprovalId,
    /// The permit that allows the like always, if one can.
    always: Option<String>,
    /// The permit was shown, and waits for a yes.
    shown: bool,
}

impl Asker {
    pub(super) fn new(output: Output) -> Asker {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Asker {
            output,
            attended: terminal && !output.json,
            open: None,
            typed: None,
        }
    }

    /// Asks, or forgets what it asked.
    pub(super) fn hear(&mut self, session: &Session, event: &EventKind) {
        match event {
            EventKind::ApprovalRequested {
                approval, always, ..
            } if self.attended => {
                let always = always.clone();
                let offered = always.as_ref().map_or("", |_| ", [a]lways");
                self.open = Some(Open {
                    approval: *approval,
                    always,
                    shown: false,
                });
                self.typed.get_or_insert_with(lines);
                self.output.note(&format!(
                    "allow it? [y]es, for the [s]ession{offered}, [n]o, or say why not:"
                ));
            }
            EventKind::ApprovalRequested { .. } => {
                let id = session.id();
                self.output
                    .note(&format!("forerun approve {id}, or forerun refuse {id}"));
            }
            EventKind::ApprovalEnded { .. } => self.open = None,
            _ => {}
        }
    }

    /// What answers the open question next; pending while there is none.
    pub(super) async fn answer(&mut self) -> Answer {
        while let (Some(open), Some(typed)) = (&mut self.open, &mut self.typed)
            && let Some(line) = typed.recv().await
        {
            let line = line.trim();
            let asked_again = match (line, &open.always) {
                ("a" | "always", Some(permit)) if !open.shown => {
                    open.shown = true;
                    self.output.note(permit.trim_end());
                    Some("add this to your policies? [y]es, or another answer to the question:")
                }
                _ => None,
            };
            if let Some(question) = asked_again {
                self.output.note(question);
                continue;
            }
            let answer = Answer {
                approval: open.approval,
                says: Says::of(line, open.shown),
            };
            self.open = None;
            return answer;
        }
        std::future::pending().await
    }
}

/// An answer to a question.
pub(super) struct Answer {
    approval: ApprovalId,
    says: Says,
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
enum Says {
    Allow(AllowFor),
    /// And why.
    Refuse(String),
}

impl Says {
    /// `shown`: a permit was shown, and yes is for that.
    fn of(line: &str, shown: bool) -> Says {
        match line {
            "y" | "yes" if shown => Says::Allow(AllowFor::Always),
            "y" | "yes" => Says::Allow(AllowFor::Once),
            "s" | "session" => Says::Allow(AllowFor::Session),
            "n" | "no" => Says::Refuse(String::new()),
            reason => Says::Refuse(reason.to_owned()),
        }
    }
}

/// Carries out what was typed.
pub(super) async fn answer(session: &Session, answer: Answer) -> Result<(), Failure> {
    match answer.says {
        Says::Allow(allow_for) => session.approve(answer.approval, allow_for).await?,
        Says::Refuse(reason) => session.refuse(answer.approval, reason).await?,
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
