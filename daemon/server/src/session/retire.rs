//! The end of a step: its delta goes to the workspace (`commit = step`) or to the journal
//! (`commit = session`), off the actor's task; the actor hears how it went.

use super::actor::{Actor, Retiring};
use super::approval::Subject;
use super::decided::{inputs, policy_decided};
use super::{Message, Retired, Retirement, Unretired};
use forerun_journal::{CommitMode, Journal};
use forerun_planner::{Input, RetireResult};
use forerun_policy::{CommitRequest, Decision, Outcome, PolicySet};
use forerun_snapshot::{CommitError, Delta, Workspace};
use forerun_types::{
    ChangeKind, CommitId, Digest, EventKind, NodeId, PathChange, SessionId, Source, StepIndex,
};

/// Paths that a question about a commit names.
const NAMED_PATHS_MAX: usize = 5;
/// What an owner can do about a commit that may not be.
pub(super) const REFUSED_COMMIT_HINT: &str =
    "replace the step, or stop the session; with --commit session the commit is yours";

impl Actor {
    /// Starts to retire a decided, executed and reviewed step. Its `decided` event is
    /// durable by now.
    pub(super) fn start_retirement(&mut self, retiring: Retiring) {
        let Retiring {
            node,
            step,
            approved,
        } = retiring;
        let result = self.tree.get(node).and_then(|node| node.result.as_ref());
        let outdated = result
            .and_then(|result| result.fresh_until)
            .is_some_and(|until| self.now() > until);
        let delta = result.and_then(|result| self.context.sandboxes.delta(result.snapshot));
        let lost = delta.is_none() && result.is_some_and(|result| result.sandboxed);
        let source = self.sources.get(&node).copied().unwrap_or(Source::Target);
        let work = Work {
            session: self.record.id.clone(),
            step,
            source,
            approved,
            lost,
            outdated,
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
            let retirement = retirement.unwrap_or_else(|error| {
                let reason = format!("the commit failed: {error}");
                Err(conflict(reason, "retry, or stop the session")).into()
            });
            let _ = messages
                .send(Message::Retired(node, step, retirement))
                .await;
        });
    }

    /// A step was retired, or could not be.
    pub(super) fn retired(&mut self, node: NodeId, step: StepIndex, ended: Retired) {
        self.retiring = false;
        let Retired {
            decided,
            retirement,
        } = ended;
        if let Some((decision, inputs)) = decided {
            self.event(policy_decided(Some(node), step, false, &decision, inputs));
        }
        let result = match retirement {
            Ok(commit) => {
                self.advance(node, step, commit);
                RetireResult::Done
            }
            Err(Unretired::Asked { what, decision }) => {
                return self.request_approval(Subject::Commit { node, step }, what, decision);
            }
            Err(Unretired::Stale { reason }) => RetireResult::Stale { reason },
            Err(Unretired::Conflict { reason, hint }) => RetireResult::Conflict { reason, hint },
        };
        self.plan(Input::Retired { node, result });
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
        self.remember(id);
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
            self.head_written = result.written;
            self.head_sensitive |= result.sensitive;
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
        self.leave_under_way();
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
    approved: bool,
    /// The delta should be there, and is not.
    lost: bool,
    /// It was executed so long ahead that nobody knows whether it is still so.
    outdated: bool,
    mode: CommitMode,
    delta: Option<Delta>,
    workspace: Workspace,
    policy: PolicySet,
    journal: Journal,
}

impl Work {
    fn run(self) -> Retired {
        if let (CommitMode::Step, Some(delta), false, false) =
            (self.mode, &self.delta, self.lost, self.outdated)
            && !delta.is_empty()
        {
            let intents = self.journal.intents(&self.session, self.step);
            let asked = Asked {
                principal: self.source,
                approved: self.approved,
            };
            let committed = commit(&self.workspace, &self.policy, asked, delta, &intents);
            return Retired {
                decided: committed.decided,
                retirement: committed.result.map(Some),
            };
        }
        self.keep().into()
    }

    /// Retires what is not committed, at least not now.
    fn keep(self) -> Retirement {
        if self.lost {
            let reason = "the step's changes are lost".to_owned();
            return Err(conflict(reason, "retry executes the step again"));
        }
        if self.outdated {
            let reason = "what a client answered ahead of the verdict is too old".to_owned();
            return Err(Unretired::Stale { reason });
        }
        // `terminate` and what is answered by the owner have no delta.
        let Some(delta) = &self.delta else {
            return Ok(None);
        };
        match self.mode {
            CommitMode::Step => self.workspace.retire(delta).map_err(refused)?,
            CommitMode::Session => {
                self.workspace.validate(delta).map_err(refused)?;
                if !delta.is_empty() {
                    self.store(delta)?;
                }
            }
        }
        Ok(None)
    }

    /// Keeps the delta until the session is finished.
    fn store(&self, delta: &Delta) -> Result<(), Unretired> {
        let store = |bytes: Vec<u8>| {
            let stored = self.journal.store_delta(&self.session, self.step, &bytes);
            stored.map_err(|error| describe(&error))
        };
        let bytes = delta.to_bytes().map_err(|error| describe(&error));
        bytes
            .and_then(store)
            .map_err(|reason| conflict(reason, "free space in the state directory, then retry"))
    }
}

/// Whom policy is asked for.
pub(super) struct Asked {
    pub(super) principal: Source,
    /// The owner allowed what policy would ask.
    pub(super) approved: bool,
}

/// What became of a commit.
pub(super) struct Committed {
    /// What policy said, and what it was asked, in JSON.
    pub(super) decided: Option<(Decision, String)>,
    pub(super) result: Result<(CommitId, Vec<PathChange>), Unretired>,
}

/// Asks policy about every path of the delta, then commits it.
pub(super) fn commit(
    workspace: &Workspace,
    policy: &PolicySet,
    asked: Asked,
    delta: &Delta,
    intents: &dyn forerun_snapshot::IntentLog,
) -> Committed {
    let changed = delta.changed();
    let shared = match workspace.shared(delta) {
        Ok(shared) => shared,
        Err(error) => {
            return Committed {
                decided: None,
                result: Err(refused(error)),
            };
        }
    };
    let request = CommitRequest {
        principal: asked.principal,
        changed: &changed,
        shared: shared.len(),
    };
    let decision = policy.decide_commit(&request);
    let result = match decision.outcome {
        Outcome::Ask if !asked.approved => {
            let what = describe_commit(&changed, &shared);
            let decision = decision.clone();
            Err(Unretired::Asked { what, decision })
        }
        Outcome::Hold | Outcome::Deny => {
            let reason = format!("policy does not allow this commit: {}", decision.reason);
            Err(conflict(reason, REFUSED_COMMIT_HINT))
        }
        Outcome::Run | Outcome::Ask => match workspace.commit(delta, intents) {
            Ok(committed) => Ok((committed.id, committed.changed)),
            Err(error) => Err(refused(error)),
        },
    };
    Committed {
        decided: Some((decision, inputs(&request))),
        result,
    }
}

/// What is in a commit that the owner is asked about, in one line.
fn describe_commit(changed: &[PathChange], shared: &[String]) -> String {
    let deleted = |change: &&PathChange| change.kind == ChangeKind::Deleted;
    let mut paths: Vec<&str> = match shared {
        // What makes it a question goes first.
        [] => changed.iter().filter(deleted).map(|c| &*c.path).collect(),
        shared => shared.iter().map(String::as_str).collect(),
    };
    if paths.is_empty() {
        paths = changed.iter().map(|change| &*change.path).collect();
    }
    let more = paths.len().saturating_sub(NAMED_PATHS_MAX);
    paths.truncate(NAMED_PATHS_MAX);
    let dots = if more > 0 { ", …" } else { "" };
    let count = |is: fn(&ChangeKind) -> bool| changed.iter().filter(|c| is(&c.kind)).count();
    let counts = [
        (count(|kind| *kind == ChangeKind::Created), "created"),
        (count(|kind| *kind == ChangeKind::Deleted), "deleted"),
        (shared.len(), "with other names"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: String = counts.map(|(n, what)| format!(", {n} {what}")).collect();
    let names = paths.join(", ");
    format!("commit of {} paths{counts}: {names}{dots}", changed.len())
}

fn refused(error: CommitError) -> Unretired {
    if let CommitError::Stale(error) = &error {
        return Unretired::Stale {
            reason: error.to_string(),
        };
    }
    conflict(
        describe(&error),
        error
            .hint()
            .unwrap_or("retry executes the step again on what is there now"),
    )
}

fn conflict(reason: String, hint: &str) -> Unretired {
    Unretired::Conflict {
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
