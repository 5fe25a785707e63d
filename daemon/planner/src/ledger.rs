//! Makes ids, collects effects, and accounts for calls and executions (rule 8).
//!
//! **Invariant:** ids are given out in ascending order and never again, so that an id that
//! was given out and is not open belongs to something that ended. Nothing of what ended
//! has to be kept to recognise a late answer.

use crate::tree::{Call, Gate, Likeness, Line, Node, Run, Slot};
use crate::{Counters, Effect, Pair, Presented};
use forerun_types::{
    ActionKind, AskEnd, CallId, ExecutionEnd, ExecutionId, NodeId, PrefixId, Role, Source,
    StepIndex,
};
use std::collections::BTreeMap;

/// The books of one session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    out: Vec<Effect>,
    next_call: u64,
    next_node: u64,
    next_execution: u64,
    /// Calls in flight.
    calls: BTreeMap<CallId, (Role, StepIndex)>,
    /// Calls of the judge in flight, and how many candidates wait for each; one at least.
    judgements: BTreeMap<CallId, usize>,
    /// Executions that run.
    executions: BTreeMap<ExecutionId, StepIndex>,
    pub(crate) counters: Counters,
}

impl Ledger {
    pub(crate) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.out)
    }

    pub(crate) fn emit(&mut self, effect: Effect) {
        self.out.push(effect);
    }

    pub(crate) fn present(&mut self, line: Presented) {
        self.out.push(Effect::Present(line));
    }

    pub(crate) fn node_id(&mut self) -> NodeId {
        self.next_node += 1;
        NodeId(self.next_node)
    }

    /// How many calls of a role are in flight.
    pub(crate) fn in_flight(&self, role: Role) -> u32 {
        let count = self.calls.values().filter(|(of, _)| *of == role).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Whether nothing is in flight and nothing runs.
    pub(crate) fn is_settled(&self) -> bool {
        self.calls.is_empty() && self.judgements.is_empty() && self.executions.is_empty()
    }

    pub(crate) fn ask(&mut self, slot: &mut Slot, role: Role) {
        self.next_call += 1;
        let call = CallId(self.next_call);
        self.calls.insert(call, (role, slot.step));
        line(slot, role).call = Call::InFlight(call);
        self.emit(Effect::Ask {
            call,
            role,
            step: slot.step,
            prefix: slot.prefix,
        });
        let all = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        let target = self.in_flight(Role::Target);
        self.counters.peak_calls = self.counters.peak_calls.max(all);
        self.counters.peak_target_calls = self.counters.peak_target_calls.max(target);
    }

    /// Asks the judge; the call.
    pub(crate) fn ask_judge(&mut self, pairs: Vec<Pair>) -> CallId {
        self.next_call += 1;
        let call = CallId(self.next_call);
        self.judgements.insert(call, pairs.len());
        self.emit(Effect::Judge { call, pairs });
        call
    }

    /// The calls of the judge in flight.
    pub(crate) fn judgements(&self) -> &BTreeMap<CallId, usize> {
        &self.judgements
    }

    /// Accounts for a call that the judge answered or failed. `false`: it is late or unknown,
    /// which is counted.
    pub(crate) fn end_judgement(
        &mut self,
        call: CallId,
        end: AskEnd,
        reason: &'static str,
    ) -> bool {
        let found = self.judgements.remove(&call).is_some();
        if found {
            self.emit(Effect::JudgeEnded { call, end, reason });
        } else {
            self.count_stray(call.0, self.next_call, |counters| {
                &mut counters.late_answers
            });
        }
        found
    }

    /// The matcher says nothing of a candidate any more. A call of the judge that nobody waits
    /// for then is cancelled.
    pub(crate) fn forget_likeness(&mut self, node: &mut Node) {
        let Likeness::Asked(call) = std::mem::take(&mut node.likeness) else {
            return;
        };
        if let Some(waiting) = self.judgements.get_mut(&call) {
            *waiting -= 1;
            if *waiting == 0 {
                self.emit(Effect::CancelCall { call });
                self.end_judgement(call, AskEnd::Dropped, "nobody waits for it");
            }
        }
    }

    /// The call that an agent answered or failed, which is not in flight any more. A late
    /// or unknown one is counted.
    pub(crate) fn arrived(&mut self, call: CallId) -> Option<(Role, StepIndex)> {
        let found = self.calls.remove(&call);
        if found.is_none() {
            self.count_stray(call.0, self.next_call, |counters| {
                &mut counters.late_answers
            });
        }
        found
    }

    /// Accounts for the call of a slot, if it has one that is not; cancels it first if it
    /// is in flight.
    pub(crate) fn end_call(
        &mut self,
        slot: &mut Slot,
        role: Role,
        end: AskEnd,
        reason: &'static str,
    ) {
        let step = slot.step;
        let call = match std::mem::take(&mut line(slot, role).call) {
            Call::None => return,
            Call::Answered(call) => call,
            Call::InFlight(call) => {
                if self.calls.remove(&call).is_some() && end != AskEnd::Failed {
                    self.emit(Effect::CancelCall { call });
                }
                call
            }
        };
        self.emit(Effect::CallEnded {
            call,
            role,
            step,
            end,
            reason,
        });
    }

    pub(crate) fn execute(
        &mut self,
        node: &mut Node,
        parent: Option<NodeId>,
        step: StepIndex,
        decided: Option<Source>,
    ) {
        self.next_execution += 1;
        let execution = ExecutionId(self.next_execution);
        self.executions.insert(execution, step);
        debug_assert!(node.candidate.kind != ActionKind::Terminate);
        node.run = Run::Executing {
            execution,
            speculative: decided.is_none(),
            gate: Gate::Shut,
        };
        self.emit(Effect::Execute {
            execution,
            node: node.id,
            parent,
            step,
            action: node.candidate.action,
            kind: node.candidate.kind,
            source: decided.unwrap_or(node.source),
            speculative: decided.is_none(),
        });
    }

    /// The step of an execution that ended by itself. A late or unknown one is counted.
    pub(crate) fn finished(&mut self, execution: ExecutionId) -> Option<StepIndex> {
        let found = self.executions.remove(&execution);
        if found.is_none() {
            self.count_stray(execution.0, self.next_execution, |counters| {
                &mut counters.late_results
            });
        }
        found
    }

    /// Accounts for the execution of a node, if it has one that is not; stops it first if
    /// it runs. The node is then to be executed again, if ever.
    pub(crate) fn end_execution(&mut self, node: &mut Node, step: StepIndex, end: ExecutionEnd) {
        if let Run::Executing { execution, .. } = node.run {
            node.run = Run::Proposed;
            if self.executions.remove(&execution).is_some() {
                self.emit(Effect::StopExecution { execution });
            }
            self.ended(execution, node.id, step, end);
        }
        if let Some(execution) = node.open.take() {
            self.ended(execution, node.id, step, end);
        }
    }

    /// Says that an execution is accounted for.
    pub(crate) fn ended(
        &mut self,
        execution: ExecutionId,
        node: NodeId,
        step: StepIndex,
        end: ExecutionEnd,
    ) {
        self.emit(Effect::ExecutionEnded {
            execution,
            node,
            step,
            end,
        });
    }

    /// Drops the candidates that the path does not go through.
    pub(crate) fn squash_siblings(&mut self, slot: &mut Slot, reason: &'static str) {
        for node in std::mem::take(&mut slot.siblings) {
            self.squash(node, slot.step, reason);
        }
    }

    fn squash(&mut self, mut node: Node, step: StepIndex, reason: &'static str) {
        self.forget_likeness(&mut node);
        self.end_execution(&mut node, step, ExecutionEnd::Dropped);
        self.emit(Effect::Squash {
            node: node.id,
            step,
            reason,
        });
    }

    /// Drops all candidates of a slot, with what belongs to them alone.
    pub(crate) fn squash_candidates(&mut self, slot: &mut Slot, reason: &'static str) {
        let step = slot.step;
        if slot.is_proposal() {
            self.end_call(slot, Role::Approximation, AskEnd::Dropped, reason);
        }
        if let Some(node) = slot.node.take() {
            self.squash(node, step, reason);
        }
        self.squash_siblings(slot, reason);
    }

    /// Drops a slot that is out of the tree.
    pub(crate) fn drop_slot(&mut self, mut slot: Slot, reason: &'static str) {
        let step = slot.step;
        self.end_call(&mut slot, Role::Approximation, AskEnd::Dropped, reason);
        self.end_call(&mut slot, Role::Target, AskEnd::Dropped, reason);
        self.squash_candidates(&mut slot, reason);
        self.squash_rival(&mut slot, reason);
        self.unclaim(&mut slot, reason);
        if slot.user.is_some() {
            let reason = reason.to_owned();
            self.present(Presented::Refused { step, reason });
        }
    }

    /// The slot's prefix is another one: nothing that was asked on the old one counts
    /// (rule 6). Its node stays as a candidate, since it runs on the same snapshot.
    pub(crate) fn change_prefix(
        &mut self,
        slot: &mut Slot,
        prefix: PrefixId,
        reason: &'static str,
    ) {
        for role in [Role::Approximation, Role::Target] {
            self.end_call(slot, role, AskEnd::Dropped, reason);
            *line(slot, role) = Line::default();
        }
        if slot.user.is_none() {
            let candidates = slot.candidates_mut();
            candidates.for_each(|node| self.forget_likeness(node));
        }
        if slot
            .rival
            .as_ref()
            .is_some_and(|of| of.source != Source::User)
        {
            self.squash_rival(slot, reason);
        }
        slot.prefix = prefix;
        slot.answer = None;
        slot.shown.waiting = false;
    }

    /// Drops the verdict's own node, which stood beside the path.
    pub(crate) fn squash_rival(&mut self, slot: &mut Slot, reason: &'static str) {
        if let Some(node) = slot.rival.take() {
            self.squash(*node, slot.step, reason);
        }
    }

    /// Ends the claim of a slot, if there is one.
    pub(crate) fn unclaim(&mut self, slot: &mut Slot, reason: &'static str) {
        if slot.claim.take().is_some() {
            self.present(Presented::Unclaimed {
                step: slot.step,
                reason,
            });
        }
    }

    fn count_stray(&mut self, id: u64, last: u64, late: impl FnOnce(&mut Counters) -> &mut u64) {
        let counter = if (1..=last).contains(&id) {
            late(&mut self.counters)
        } else {
            &mut self.counters.unknown
        };
        *counter += 1;
    }
}

fn line(slot: &mut Slot, role: Role) -> &mut Line {
    match role {
        Role::Approximation => &mut slot.approximation,
        Role::Target => &mut slot.target,
    }
}
