//! What a session's log adds up to: one fold over its events, the same for a session
//! that runs and for one that is read back from the journal.

use forerun_types::{
    ApprovalId, AskEnd, CallId, Event, EventKind, ExecutionEnd, NodeId, Role, StepIndex, Time,
    Usage,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What the session is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// The plan goes on.
    #[default]
    Open,
    /// Its owner paused it.
    Paused,
    /// It waits for its owner.
    Stalled {
        step: StepIndex,
        reason: String,
        hint: String,
    },
    /// The plan ended; with `commit = session`, `Finish` is awaited.
    Ended,
    /// Nothing more can happen to it, except that kept changes are committed.
    Finished,
    /// The daemon stopped before it ended.
    Interrupted,
}

/// The sum of a session's events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) phase: Phase,
    pub(crate) last_sequence: u64,
    /// The time of the last event.
    pub(crate) last_at: Time,
    pub(crate) verified: u32,
    pub(crate) committed: u32,
    pub(crate) proposed: u32,
    pub(crate) matched: u32,
    pub(crate) corrected: u32,
    pub(crate) squashed: u32,
    pub(crate) peak_calls: u32,
    pub(crate) executions: u32,
    pub(crate) executions_dropped: u32,
    pub(crate) execution_us: u64,
    pub(crate) approximation: RoleSummary,
    pub(crate) target: RoleSummary,
    /// What waits for the owner's approval.
    pub(crate) approval: Option<PendingApproval>,
    pub(crate) end_reason: String,
    pub(crate) answer: Option<String>,
    /// When the plan ended.
    pub(crate) ended_at: Option<Time>,
    /// Not accounted for.
    open_calls: BTreeMap<CallId, Time>,
    /// Not answered.
    in_flight: BTreeSet<CallId>,
    last_proposed: Option<NodeId>,
    /// A stall that a pause hides.
    stall_below_pause: Option<Phase>,
}

/// A question that policy puts to the owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingApproval {
    pub(crate) id: ApprovalId,
    pub(crate) step: StepIndex,
    pub(crate) what: String,
    pub(crate) policies: Vec<String>,
    pub(crate) reason: String,
    /// The permit that allows the like always, if one can.
    #[serde(default)]
    pub(crate) always: Option<String>,
}

/// What one role did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoleSummary {
    pub(crate) calls: u32,
    pub(crate) dropped: u32,
    /// Summed over its calls, which overlap.
    pub(crate) time_us: u64,
    pub(crate) usage: Usage,
}

impl Summary {
    /// Adds one event.
    pub(crate) fn add(&mut self, event: &Event) {
        self.last_sequence = event.sequence;
        self.last_at = event.at;
        match &event.kind {
            EventKind::Asked { call, role, .. } => {
                self.role(*role).calls += 1;
                self.open_calls.insert(*call, event.at);
                self.in_flight.insert(*call);
                let in_flight = u32::try_from(self.in_flight.len()).unwrap_or(u32::MAX);
                self.peak_calls = self.peak_calls.max(in_flight);
            }
            EventKind::Answered {
                call, role, usage, ..
            } => {
                self.in_flight.remove(call);
                let sum = &mut self.role(*role).usage;
                // An agent may say anything of what it used.
                let add = |sum: &mut u64, used: u64| *sum = sum.saturating_add(used);
                add(&mut sum.input_tokens, usage.input_tokens);
                add(&mut sum.cached_input_tokens, usage.cached_input_tokens);
                add(&mut sum.output_tokens, usage.output_tokens);
                add(&mut sum.cost_micros, usage.cost_micros);
            }
            EventKind::CallEnded {
                call, role, end, ..
            } => {
                self.in_flight.remove(call);
                let asked = self.open_calls.remove(call);
                let role = self.role(*role);
                role.dropped += u32::from(*end == AskEnd::Dropped);
                if let Some(asked) = asked {
                    role.time_us += event.at.0.saturating_sub(asked.0);
                }
            }
            EventKind::ExecutionStarted { .. } => self.executions += 1,
            EventKind::ExecutionFinished { elapsed_us, .. } => self.execution_us += elapsed_us,
            EventKind::ExecutionEnded { end, .. } => {
                self.executions_dropped += u32::from(*end == ExecutionEnd::Dropped);
            }
            EventKind::Squashed { .. } => self.squashed += 1,
            // Said again, with others that joined it, it is the same one.
            EventKind::Proposed { node, .. } => {
                let before = self.last_proposed.replace(*node);
                self.proposed += u32::from(before != Some(*node));
            }
            EventKind::Answer {
                matched, corrects, ..
            } => {
                self.matched += u32::from(*matched);
                self.corrected += u32::from(corrects.is_some());
            }
            EventKind::ApprovalRequested {
                step,
                approval,
                what,
                policies,
                reason,
                always,
                ..
            } => {
                self.approval = Some(PendingApproval {
                    id: *approval,
                    step: *step,
                    what: what.clone(),
                    policies: policies.clone(),
                    reason: reason.clone(),
                    always: always.clone(),
                });
            }
            EventKind::ApprovalEnded { .. } => self.approval = None,
            EventKind::Verified { .. } => self.verified += 1,
            EventKind::Committed { .. } => self.committed += 1,
            EventKind::Backtracked { step, .. } => self.verified = step.0,
            // After the end these are what the plan did, whatever becomes of it.
            EventKind::Undone(undone) if self.ended_at.is_none() && !undone.redo => {
                self.committed = self.committed.saturating_sub(1);
            }
            EventKind::Stalled { step, reason, hint } => {
                let stall = Phase::Stalled {
                    step: *step,
                    reason: reason.clone(),
                    hint: hint.clone(),
                };
                if self.phase == Phase::Paused {
                    self.stall_below_pause = Some(stall);
                } else {
                    self.phase = stall;
                }
            }
            EventKind::Continued { .. } => {
                self.stall_below_pause = None;
                if matches!(self.phase, Phase::Stalled { .. }) {
                    self.phase = Phase::Open;
                }
            }
            EventKind::Paused => {
                let before = std::mem::replace(&mut self.phase, Phase::Paused);
                self.stall_below_pause = matches!(before, Phase::Stalled { .. }).then_some(before);
            }
            EventKind::Resumed => {
                self.phase = self.stall_below_pause.take().unwrap_or_default();
            }
            EventKind::Ended { reason, answer, .. } => {
                self.phase = Phase::Ended;
                self.approval = None;
                self.end_reason.clone_from(reason);
                self.answer.clone_from(answer);
                self.ended_at = Some(event.at);
            }
            EventKind::Finished { .. } => self.phase = Phase::Finished,
            EventKind::Interrupted { reason } => {
                self.phase = Phase::Interrupted;
                self.approval = None;
                self.end_reason.clone_from(reason);
                self.ended_at.get_or_insert(event.at);
            }
            _ => {}
        }
    }

    fn role(&mut self, role: Role) -> &mut RoleSummary {
        match role {
            Role::Approximation => &mut self.approximation,
            Role::Target => &mut self.target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerun_types::{Action, PrefixId};

    #[test]
    fn a_sum_that_was_written_down_goes_on_as_one_that_was_not() {
        let call = |call| EventKind::Asked {
            call: CallId(call),
            role: Role::Target,
            step: StepIndex(0),
            prefix: PrefixId(forerun_types::Digest::of("")),
        };
        let end = |call| EventKind::CallEnded {
            call: CallId(call),
            role: Role::Target,
            step: StepIndex(0),
            end: AskEnd::Dropped,
            reason: String::new(),
        };
        let stalled = EventKind::Stalled {
            step: StepIndex(1),
            reason: "why".to_owned(),
            hint: "what".to_owned(),
        };
        let kinds = [
            call(1),
            call(2),
            stalled,
            EventKind::Paused,
            end(2),
            EventKind::Resumed,
            end(1),
        ];
        let events: Vec<Event> = (1..)
            .zip(kinds)
            .map(|(sequence, kind)| Event {
                sequence,
                at: Time(sequence * 10),
                kind,
            })
            .collect();
        let mut whole = Summary::default();
        events.iter().for_each(|event| whole.add(event));
        assert_eq!((whole.target.calls, whole.target.time_us), (2, 90));
        for cut in 0..=events.len() {
            let mut sum = Summary::default();
            events[..cut].iter().for_each(|event| sum.add(event));
            let text = serde_json::to_string(&sum).expect("serializes");
            let mut sum: Summary = serde_json::from_str(&text).expect("parses");
            events[cut..].iter().for_each(|event| sum.add(event));
            assert_eq!(sum, whole, "{cut}");
        }
    }

    #[test]
    fn an_agent_that_says_it_used_everything_is_believed_and_no_more() {
        let usage = Usage {
            input_tokens: u64::MAX,
            cost_micros: u64::MAX,
            ..Usage::default()
        };
        let mut sum = Summary::default();
        for sequence in 1..=2 {
            sum.add(&Event {
                sequence,
                at: Time(0),
                kind: EventKind::Answered {
                    call: CallId(sequence),
                    role: Role::Target,
                    step: StepIndex(0),
                    action: Action::parse("stat", "{}").expect("an action"),
                    others: Vec::new(),
                    usage,
                },
            });
        }
        assert_eq!(sum.target.usage, usage);
    }
}
