//! Going back in a session that is open: to a step that is decided anew, or at a stop that
//! undoes everything. What was committed is taken back off the actor's task, newest first;
//! with `commit = session` the branch goes back to the snapshot before the step.
//!
//! A path that somebody changed since is left alone and named in the event `undone`.

use super::actor::Actor;
use super::archive::{UndoRequest, take_back, undoable};
use super::retire::describe;
use super::suggest::check_suggestion;
use super::{Anew, InterruptError, Message, UserInterrupt, WentBack};
use forerun_journal::{CommitMode, Journal};
use forerun_planner::{Candidate, Interrupt, Seen, State, Undone};
use forerun_snapshot::Workspace;
use forerun_types::{Entry, EventKind, NodeId, PrefixId, SessionId, SnapshotId, StepIndex};
use tokio::sync::mpsc;

/// A verified step, as far as going back needs it.
pub(super) struct Verified {
    pub(super) node: NodeId,
    /// What it was asked on.
    pub(super) prefix: PrefixId,
    /// What it ran on. With `commit = step` only the temporary files are kept: the workspace
    /// is read anew.
    pub(super) before: SnapshotId,
}

/// Where the user goes back to, until that is done.
pub(super) struct Backtracking {
    step: StepIndex,
    prefix: PrefixId,
    suggestion: Option<String>,
}

impl Actor {
    pub(super) fn backtrack(
        &mut self,
        step: StepIndex,
        seen: Seen,
        anew: &Anew,
    ) -> Result<(), InterruptError> {
        let (candidate, suggestion) = match anew {
            Anew::Action(action) => {
                self.check_user_action(action)?;
                (Some(self.candidate(action)), None)
            }
            Anew::Suggestion(text) => {
                check_suggestion(text)?;
                (None, Some(text.clone()))
            }
        };
        let verified = self.history.get(step.0 as usize);
        if let Some(verified) = verified {
            let same = match seen {
                Seen::Any => true,
                Seen::Node(node) => node == verified.node,
                Seen::Prefix(prefix) => prefix == verified.prefix,
            };
            if !same {
                return Err(forerun_planner::Refusal::Changed { step }.into());
            }
        }
        let views = self.planner.steps();
        let view = views.iter().find(|view| view.step == step);
        let known = verified
            .map(|verified| verified.prefix)
            .or(view.map(|view| view.prefix));
        // A step that nothing is known of is refused by the planner.
        let mut prefix = known.unwrap_or(self.head_prefix);
        if let Some(text) = suggestion.clone() {
            prefix = self.prefixes.extend(prefix, Entry::Suggestion { text });
        }
        let to = Backtracking {
            step,
            prefix,
            suggestion,
        };
        self.go_back(to, seen, candidate)
    }

    /// What was sent can not be taken back: who goes back before it has to say that they know.
    pub(super) fn check_nothing_sent(&self, from: StepIndex) -> Result<(), InterruptError> {
        match self.effects.iter().find(|(step, _)| *step >= from) {
            None => Ok(()),
            Some((step, what)) => Err(InterruptError::Refused {
                reason: format!(
                    "step {step} has done what can not be taken back: {what}; go back with \
                     keep_effects (--keep-effects) if it is to stay"
                ),
                needed: "no effect at or after the step, or keep_effects",
                changed: false,
            }),
        }
    }

    fn go_back(
        &mut self,
        to: Backtracking,
        seen: Seen,
        candidate: Option<Candidate>,
    ) -> Result<(), InterruptError> {
        let interrupt = Interrupt::Backtrack {
            step: to.step,
            seen,
            prefix: to.prefix,
            candidate,
        };
        let now = self.now();
        let effects = self.planner.interrupt(now, interrupt)?;
        self.backtracking = Some(to);
        self.perform(effects);
        Ok(())
    }

    /// An act that can not be executed, or committed, is the caller's to think about: it is
    /// dropped and told, and the session does not wait for its owner.
    pub(super) fn give_up_act(&mut self) {
        let stalled = match self.planner.state() {
            State::Stalled { step, .. } => Some(step),
            // It stalls when the session is resumed.
            State::Paused => return,
            _ => None,
        };
        // The owner may have gone somewhere else with it.
        let Some((step, reason)) = self
            .stalled_act
            .take()
            .filter(|(step, _)| stalled == Some(*step))
        else {
            return;
        };
        let views = self.planner.steps();
        let Some(view) = views.iter().find(|view| view.step == step) else {
            return;
        };
        let to = Backtracking {
            step,
            prefix: view.prefix,
            suggestion: None,
        };
        let sent = self.effects.iter().filter(|(of, _)| *of >= step);
        let sent: Vec<_> = sent.map(|(_, what)| what.as_str()).collect();
        let reason = match sent.is_empty() {
            true => reason,
            false => format!(
                "{reason}; but this went out before, and is not taken back, so do not repeat it: {}",
                sent.join(", ")
            ),
        };
        if self.go_back(to, Seen::Any, None).is_ok() {
            self.caller.give_up(step, reason);
            self.decide();
        }
    }

    /// The plan goes on from an earlier step.
    pub(super) fn backtracked(&mut self, step: StepIndex, generation: u32) {
        self.event(EventKind::Backtracked { step, generation });
        self.prefixes.forget_suggestions_after(step);
        self.effects.retain(|(of, _)| *of < step);
        self.answer = None;
        let wanted = self.backtracking.take().filter(|to| to.step == step);
        let Some(wanted) = wanted else { return };
        let above = self.tree.node_at(step.0.checked_sub(1).map(StepIndex));
        match above.and_then(|node| node.result.as_mut()) {
            Some(result) => result.next = wanted.prefix,
            None => self.head_prefix = wanted.prefix,
        }
        if let Some(text) = wanted.suggestion {
            self.prefixes.suggest(step, &text);
            self.event(EventKind::Suggested { step, text });
        }
    }

    /// Starts to take back what was recorded of a step and of those after it. The events
    /// that led to this are durable by now.
    pub(super) fn start_undo(&mut self, from: StepIndex) {
        // The session must hear of the end of an undo even while it closes.
        let Some(messages) = self.messages.upgrade() else {
            return;
        };
        self.retiring = true;
        let work = Work {
            session: self.record.id.clone(),
            mode: self.record.commit,
            from,
            to: StepIndex(self.verified()),
            workspace: self.context.workspace.clone(),
            journal: self.context.log.journal().clone(),
        };
        tokio::spawn(async move {
            let undone = messages.clone();
            let end = StepIndex(work.to.0);
            let went_back = tokio::task::spawn_blocking(move || work.run(&undone)).await;
            let went_back = went_back.unwrap_or_else(|error| WentBack {
                first: end,
                refused: Some(format!("the undo failed: {error}")),
            });
            let _ = messages.send(Message::WentBack(went_back)).await;
        });
    }

    /// What was to be taken back is, as far as it can be.
    pub(super) fn went_back(&mut self, went_back: WentBack) {
        self.retiring = false;
        let WentBack { first, refused } = went_back;
        self.rewind(first);
        if let Some(ended) = self.ended_event.take() {
            return self.end_undone(ended, refused);
        }
        let node = self.history.last().map(|verified| verified.node);
        self.plan(forerun_planner::Input::Undone(Undone {
            first,
            node,
            next: self.head_prefix,
            refused,
        }));
    }

    /// The head is the one before `first`, and the workspace is read anew.
    fn rewind(&mut self, first: StepIndex) {
        let sandboxes = self.context.sandboxes.clone();
        let mut taken = self
            .history
            .drain((first.0 as usize).min(self.history.len())..);
        let base = match taken.next() {
            None => None,
            Some(verified) => {
                self.head_prefix = verified.prefix;
                Some(verified.before)
            }
        };
        taken.for_each(|verified| sandboxes.drop_snapshot(verified.before));
        let head = match (self.record.commit, base) {
            (CommitMode::Session, base) => base,
            (CommitMode::Step, base) => {
                let fresh = self.context.workspace.snapshot();
                let head = sandboxes.reopen(base.unwrap_or(self.head), fresh);
                base.into_iter()
                    .for_each(|base| sandboxes.drop_snapshot(base));
                head
            }
        };
        if let Some(head) = head {
            sandboxes.drop_snapshot(std::mem::replace(&mut self.head, head));
        }
    }

    /// Remembers what the step that retires started from.
    pub(super) fn remember_verified(&mut self, node: NodeId, prefix: PrefixId) {
        let sandboxes = &self.context.sandboxes;
        let before = match self.record.commit {
            CommitMode::Session => sandboxes
                .snapshot(self.head)
                .and_then(|snapshot| sandboxes.reopen(self.head, snapshot)),
            CommitMode::Step => sandboxes.reopen(self.head, sandboxes.empty()),
        };
        if let Some(before) = before {
            self.history.push(Verified {
                node,
                prefix,
                before,
            });
        }
    }

    /// A session that was stopped to be undone ends.
    fn end_undone(&mut self, ended: EventKind, refused: Option<String>) {
        for (step, what) in std::mem::take(&mut self.effects) {
            let reason = format!("it can not be taken back: {what}");
            let what = format!("undoing what step {step} has sent");
            self.event(EventKind::Refused { what, reason });
        }
        self.event(ended);
        let outcome = match (self.record.commit, &refused) {
            (_, Some(_)) => None,
            (CommitMode::Step, None) => Some("undone"),
            (CommitMode::Session, None) => Some("discarded"),
        };
        if let Some(reason) = refused {
            let what = UserInterrupt::Stop { undo: true }.to_string();
            self.event(EventKind::Refused { what, reason });
        }
        self.finish_as(outcome);
    }
}

/// What an undo does off the actor's task.
struct Work {
    session: SessionId,
    mode: CommitMode,
    from: StepIndex,
    /// The first step that was not verified.
    to: StepIndex,
    workspace: Workspace,
    journal: Journal,
}

impl Work {
    fn run(self, messages: &mpsc::Sender<Message>) -> WentBack {
        let to_the_end = |refused| WentBack {
            first: self.to,
            refused: Some(refused),
        };
        match self.mode {
            CommitMode::Session => match self.journal.drop_deltas_from(&self.session, self.from) {
                Ok(()) => WentBack {
                    first: self.from,
                    refused: None,
                },
                Err(error) => to_the_end(describe(&error)),
            },
            CommitMode::Step => {
                let request = UndoRequest {
                    from: Some(self.from),
                    force: false,
                    redo: false,
                };
                let commits = self
                    .workspace
                    .flush(&self.journal)
                    .map_err(|e| describe(&e));
                let commits = commits.and_then(|_| {
                    let commits = self.journal.commits(&self.session);
                    commits.map_err(|error| describe(&error))
                });
                let commits = match commits {
                    Ok(commits) => undoable(commits, request),
                    Err(reason) => return to_the_end(reason),
                };
                let done = take_back(&self.workspace, &self.journal, commits, request, |undone| {
                    // The session hears of it as long as it lives.
                    let _ = messages.blocking_send(Message::Undone(undone));
                    Ok(())
                });
                match done {
                    Ok(()) => WentBack {
                        first: self.from,
                        refused: None,
                    },
                    Err((step, error)) => WentBack {
                        first: step.next(),
                        refused: Some(describe(&error)),
                    },
                }
            }
        }
    }
}
