//! What policy puts to the owner: a verified action, or the commit of a step, waits until
//! they allow or refuse it, or the time for it is over, which refuses it.
//!
//! At most one question is open, because the step after it can not be decided before. No
//! agent can answer one: interrupts are the owner's. While an action is unverified nobody
//! is asked about it; it waits for its verdict first.

use super::actor::{Actor, Retiring};
use super::execute::Launch;
use super::outgoing::AskedFor;
use super::retire::REFUSED_COMMIT_HINT;
use super::{InterruptError, Phase};
use forerun_planner::{Input, RetireResult};
use forerun_policy::{Decision, Grant};
use forerun_sandbox::EgressRefusal;
use forerun_types::{
    ApprovalEnd, ApprovalId, EventKind, ExecutionId, NodeId, Observation, ObservationStatus,
    StepIndex, Time,
};
use std::collections::BTreeSet;

/// Bytes of an action that a question shows.
pub(super) const WHAT_BYTES_MAX: usize = 4 << 10;
/// Most bytes of what the owner says to a refusal: the agents read it.
const REASON_BYTES_MAX: usize = 4 << 10;

/// The questions of a session.
#[derive(Default)]
pub(super) struct Approvals {
    open: Option<Open>,
    last: u64,
    /// What the owner allowed until the session ends: the same policies about the same.
    allowed: BTreeSet<(Grant, Vec<String>)>,
}

/// A question that waits.
struct Open {
    id: ApprovalId,
    subject: Subject,
    /// What an approval for longer covers.
    grant: Grant,
    policies: Vec<String>,
    /// When it is refused by itself.
    until: Option<Time>,
}

/// What a question is about.
pub(super) enum Subject {
    Call(Box<Launch>),
    Request(Box<AskedFor>),
    Commit { node: NodeId, step: StepIndex },
}

impl Subject {
    fn step(&self) -> StepIndex {
        match self {
            Subject::Call(launch) => launch.step,
            Subject::Request(asked) => asked.step,
            Subject::Commit { step, .. } => *step,
        }
    }

    fn node(&self) -> NodeId {
        match self {
            Subject::Call(launch) => launch.node,
            Subject::Request(asked) => asked.node,
            Subject::Commit { node, .. } => *node,
        }
    }
}

impl Approvals {
    /// Whether a question is open.
    pub(super) fn is_asking(&self) -> bool {
        self.open.is_some()
    }

    /// When the open question is refused by itself.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.open.as_ref()?.until
    }
}

impl Actor {
    /// Asks the owner, unless they allowed the like for the session.
    pub(super) fn request_approval(&mut self, subject: Subject, what: String, decision: Decision) {
        self.approvals.last += 1;
        let id = ApprovalId(self.approvals.last);
        let open = Open {
            id,
            until: self.approval_deadline(),
            policies: decision.policies,
            grant: self.grant_of(&subject),
            subject,
        };
        let kind = (open.grant.clone(), open.policies.clone());
        if self.approvals.allowed.contains(&kind) {
            return self.end_approval(open, ApprovalEnd::AllowedForSession, String::new());
        }
        self.event(EventKind::ApprovalRequested {
            step: open.subject.step(),
            node: open.subject.node(),
            approval: id,
            what: cut(what, WHAT_BYTES_MAX),
            policies: open.policies.clone(),
            reason: decision.reason,
            always: decision.grantable.then(|| open.grant.permit()),
        });
        self.approvals.open = Some(open);
    }

    fn grant_of(&self, subject: &Subject) -> Grant {
        match subject {
            Subject::Call(launch) => Grant::Call {
                tool: launch.action.tool.clone(),
                client: self.context.clients.contains_key(&launch.action.tool),
            },
            Subject::Request(asked) => Grant::Connect {
                host: asked.target.host.clone(),
                port: asked.target.port,
                method: match asked.outgoing.request.is_safe() {
                    true => None,
                    false => Some(asked.outgoing.request.method.clone()),
                },
            },
            Subject::Commit { .. } => Grant::Commit,
        }
    }

    /// The owner answers.
    pub(super) fn answer_approval(
        &mut self,
        approval: ApprovalId,
        end: ApprovalEnd,
        reason: &str,
    ) -> Result<(), InterruptError> {
        match self.approvals.open.take_if(|open| open.id == approval) {
            Some(open) => {
                if end != ApprovalEnd::Allowed && end != ApprovalEnd::Refused {
                    let allowed = (open.grant.clone(), open.policies.clone());
                    self.approvals.allowed.insert(allowed);
                }
                self.end_approval(open, end, cut(reason.to_owned(), REASON_BYTES_MAX));
                Ok(())
            }
            None => Err(InterruptError::Refused {
                reason: format!("nobody asks for {approval}: it was answered, or withdrawn"),
                needed: "an open question of policy",
                changed: true,
            }),
        }
    }

    /// A question that nobody answered is refused. While the session is paused its time
    /// stands still.
    pub(super) fn expire_approval(&mut self, now: Time) {
        let paused = self.summary.phase == Phase::Paused;
        let deadline = self.approval_deadline();
        if let Some(open) = &mut self.approvals.open
            && open.until.is_some_and(|until| until <= now)
        {
            if paused {
                open.until = deadline;
            } else if let Some(open) = self.approvals.open.take() {
                self.end_approval(open, ApprovalEnd::TimedOut, String::new());
            }
        }
    }

    /// Withdraws the question of an execution that is stopped.
    pub(super) fn withdraw_approval_of(&mut self, execution: ExecutionId) {
        let stopped = |open: &mut Open| match &open.subject {
            Subject::Call(launch) => launch.execution == execution,
            Subject::Request(asked) => asked.execution == execution,
            Subject::Commit { .. } => false,
        };
        if let Some(open) = self.approvals.open.take_if(stopped) {
            self.end_approval(open, ApprovalEnd::Withdrawn, String::new());
        }
    }

    /// Withdraws the question about a commit, because the owner does something else about
    /// its step.
    pub(super) fn withdraw_approval_of_commit(&mut self) {
        let is_commit = |open: &mut Open| matches!(open.subject, Subject::Commit { .. });
        if let Some(open) = self.approvals.open.take_if(is_commit) {
            self.end_approval(open, ApprovalEnd::Withdrawn, String::new());
            self.decide();
        }
    }

    fn approval_deadline(&self) -> Option<Time> {
        let timeout = self.context.deadlines.approval;
        (!timeout.is_zero()).then(|| self.now() + timeout)
    }

    fn end_approval(&mut self, open: Open, end: ApprovalEnd, reason: String) {
        self.event(EventKind::ApprovalEnded {
            step: open.subject.step(),
            approval: open.id,
            end,
            reason: reason.clone(),
        });
        let refused = match end {
            ApprovalEnd::Allowed | ApprovalEnd::AllowedForSession | ApprovalEnd::AllowedAlways => {
                return match open.subject {
                    Subject::Call(launch) => self.start(*launch),
                    Subject::Request(asked) => {
                        self.allow_request(*asked);
                        self.decide_requests();
                    }
                    Subject::Commit { node, step } => self.retirements.push(Retiring {
                        node,
                        step,
                        approved: true,
                    }),
                };
            }
            ApprovalEnd::Refused if reason.is_empty() => "the user did not allow it".to_owned(),
            ApprovalEnd::Refused => format!("the user did not allow it: {reason}"),
            ApprovalEnd::TimedOut => "it needs the user, who did not answer in time".to_owned(),
            ApprovalEnd::Withdrawn => "it was withdrawn before the user answered".to_owned(),
        };
        match open.subject {
            Subject::Call(launch) => {
                let text = format!("user_refused: {refused}. Do not retry this action.");
                let observation = Observation::new(ObservationStatus::Denied, text);
                self.complete_without_sandbox(launch.execution, observation);
            }
            Subject::Request(asked) => {
                let reason = format!("user_refused: {refused}. Do not retry this request.");
                self.refuse(
                    asked.execution,
                    asked.outgoing,
                    EgressRefusal::Denied,
                    reason,
                );
                self.decide_requests();
            }
            Subject::Commit { node, .. } => self.plan(Input::Retired {
                node,
                result: RetireResult::Conflict {
                    reason: format!("the commit was not made: {refused}"),
                    hint: REFUSED_COMMIT_HINT.to_owned(),
                },
            }),
        }
    }
}

/// At most so many bytes of a text, with a mark where it was cut.
pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
    text
}
