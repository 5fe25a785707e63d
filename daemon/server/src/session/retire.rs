//! The end of a step: its delta goes to the workspace (`commit = step`) or to the journal
//! (`commit = session`), off the actor's task; the actor hears how it went.

use super::actor::Actor;
use super::{Message, Retirement};
use forerun_journal::{CommitMode, Journal};
use forerun_planner::{Input, RetireResult};
use forerun_policy::{CommitRequest, Outcome, PolicySet};
use forerun_snapshot::{CommitError, Delta, Workspace};
use forerun_types::{
    CommitId, Digest, EventKind, NodeId, PathChange, SessionId, Source, StepIndex,
};

impl Actor {
    /// Starts to retire a decided, executed and reviewed step. Its `decided` event is
    /// durable by now.
    pub(super) fn start_retirement(&mut self, node: NodeId, step: StepIndex) {
        let result = self.tree.get(node).and_then(|node| node.result.as_ref());
        let delta = result.and_then(|result| self.context.sandboxes.delta(result.snapshot));
        let lost = delta.is_none() && result.is_some_and(|result| result.sandboxed);
        let source = self.sources.get(&node).copied().unwrap_or(Source::Target);
        let work = Work {
            session: self.record.id.clone(),
            step,
            source,
            lost,
            mode: self.record.commit,
            delta,
            workspace: self.context.workspace.clone(),
            policy: self.context.policy.clone(),
            journal: self.context.log.journal().clone(),
        };
        // The session must hear of the end of a commit even while it closes.
        let Some(messages) = self.messages.upgrade() else {
            return;
        };
        self.retiring = true;
        tokio::spawn(async move {
            let retirement = tokio::task::spawn_blocking(move || work.run()).await;
            let retirement = retirement.unwrap_or_else(|error| Retirement {
                result: conflict(
                    format!("the commit failed: {error}"),
                    "retry, or stop the session",
                ),
                commit: None,
            });
            let _ = messages
                .send(Message::Retired(node, step, retirement))
                .await;
        });
    }

    /// A step was retired, or could not be.
    pub(super) fn retired(&mut self, node: NodeId, step: StepIndex, retirement: Retirement) {
        self.retiring = false;
        if matches!(retirement.result, RetireResult::Done) {
            self.advance(node, step, retirement.commit);
        }
        self.plan(Input::Retired {
            node,
            result: retirement.result,
        });
    }

    /// The node is the last verified one now.
    fn advance(
        &mut self,
        id: NodeId,
        step: StepIndex,
        commit: Option<(CommitId, Vec<PathChange>)>,
    ) {
        if let Some(prefix) = self.tree.get(id).map(|node| node.prefix) {
            self.remember_verified(id, prefix);
        }
        let node = self.tree.remove(id);
        self.sources.remove(&id);
        let result = node.and_then(|node| node.result);
        let (delta, changed) = match &result {
            Some(result) => (result.delta, result.changed.clone()),
            None => (Digest::of(""), Vec::new()),
        };
        self.event(EventKind::Verified {
            step,
            node: id,
            delta,
            changed,
        });
        if let Some((commit, changed)) = commit {
            self.context.settler.soon();
            self.event(EventKind::Committed {
                step,
                commit,
                changed,
            });
        }
        if let Some(result) = result {
            let old = std::mem::replace(&mut self.head, result.snapshot);
            self.context.sandboxes.drop_snapshot(old);
            self.head_prefix = result.next;
        }
    }

    /// The plan ended. If its owner wants it undone, that is done before it is told.
    pub(super) fn ended(&mut self, ended: EventKind) {
        if self.undo_at_end {
            self.ended_event = Some(ended);
            self.undo_from = Some(StepIndex(0));
        } else {
            self.event(ended);
            self.finish_as(None);
        }
    }

    /// Nothing more happens. With `commit = step` the changes are in the workspace unless
    /// they had another outcome; with `commit = session` they wait for the owner.
    pub(super) fn finish_as(&mut self, outcome: Option<&str>) {
        let committed = (self.record.commit == CommitMode::Step).then_some("committed");
        if let Some(outcome) = outcome.or(committed) {
            self.event(EventKind::Finished {
                outcome: outcome.to_owned(),
                commit: None,
                changed: Vec::new(),
            });
        }
        self.ended = true;
    }
}

/// What a retirement does off the actor's task.
struct Work {
    session: SessionId,
    step: StepIndex,
    source: Source,
    /// The delta should be there, and is not.
    lost: bool,
    mode: CommitMode,
    delta: Option<Delta>,
    workspace: Workspace,
    policy: PolicySet,
    journal: Journal,
}

impl Work {
    fn run(self) -> Retirement {
        let done = Retirement {
            result: RetireResult::Done,
            commit: None,
        };
        if self.lost {
            let reason = "the step's changes are lost".to_owned();
            let result = conflict(reason, "retry executes the step again");
            return Retirement {
                result,
                commit: None,
            };
        }
        // `terminate` and what is answered by the owner have no delta.
        let Some(delta) = self.delta else { return done };
        let failed = |result| Retirement {
            result,
            commit: None,
        };
        match self.mode {
            CommitMode::Step if delta.is_empty() => match self.workspace.retire(&delta) {
                Ok(()) => done,
                Err(error) => failed(refused(&error)),
            },
            CommitMode::Session if delta.is_empty() => match self.workspace.validate(&delta) {
                Ok(()) => done,
                Err(error) => failed(refused(&error)),
            },
            CommitMode::Session => {
                if let Err(error) = self.workspace.validate(&delta) {
                    return failed(refused(&error));
                }
                let store = |bytes: Vec<u8>| {
                    let stored = self.journal.store_delta(&self.session, self.step, &bytes);
                    stored.map_err(|error| describe(&error))
                };
                let bytes = delta.to_bytes().map_err(|error| describe(&error));
                let result = match bytes.and_then(store) {
                    Ok(()) => RetireResult::Done,
                    Err(reason) => {
                        conflict(reason, "free space in the state directory, then retry")
                    }
                };
                Retirement {
                    result,
                    commit: None,
                }
            }
            CommitMode::Step => {
                let intents = self.journal.intents(&self.session, self.step);
                match commit(&self.workspace, &self.policy, self.source, &delta, &intents) {
                    Ok(commit) => Retirement {
                        result: RetireResult::Done,
                        commit: Some(commit),
                    },
                    Err(result) => failed(result),
                }
            }
        }
    }
}

/// Asks policy about every path of the delta, then commits it.
pub(super) fn commit(
    workspace: &Workspace,
    policy: &PolicySet,
    principal: Source,
    delta: &Delta,
    intents: &dyn forerun_snapshot::IntentLog,
) -> Result<(CommitId, Vec<PathChange>), RetireResult> {
    let changed = delta.changed();
    let shared = workspace.shared(delta).map_err(|error| refused(&error))?;
    let decision = policy.decide_commit(&CommitRequest {
        principal,
        changed: &changed,
        shared: shared.len(),
    });
    if decision.outcome != Outcome::Run {
        let of = match shared.first() {
            Some(path) => format!(" ({path})"),
            None => String::new(),
        };
        return Err(conflict(
            format!("policy does not allow this commit: {}{of}", decision.reason),
            "replace the step, or stop the session; with --commit session the commit is yours",
        ));
    }
    match workspace.commit(delta, intents) {
        Ok(commit) => Ok((commit.id, commit.changed)),
        Err(error) => Err(refused(&error)),
    }
}

fn refused(error: &CommitError) -> RetireResult {
    if let CommitError::Stale(error) = error {
        // Executed again, the step sees what is there now.
        return RetireResult::Stale {
            reason: error.to_string(),
        };
    }
    conflict(
        describe(error),
        error
            .hint()
            .unwrap_or("retry executes the step again on what is there now"),
    )
}

fn conflict(reason: String, hint: &str) -> RetireResult {
    RetireResult::Conflict {
        reason,
        hint: hint.to_owned(),
    }
}

/// An error with its causes, in one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
