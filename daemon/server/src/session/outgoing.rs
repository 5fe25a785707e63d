//! The effect barrier: what an action wants to send beyond its sandbox.
//!
//! ```text
//!  request ──▶ policy, as things are ─┬─ run ──────────────────────────────▶ sent
//!                                     ├─ deny, for the target too ─────────▶ refused
//!                                     └─ else parked ─ released ▶ policy ─┬─ run ─▶ sent
//!                                         (decided, reviewed, the first)  ├─ ask ─▶ the owner
//!                                                                         └─ deny ▶ refused
//! ```
//!
//! What a client's tool does is an effect, too: it is asked for when its step is released,
//! unless policy lets it run ahead.
//!
//! - **Invariant:** what is parked was not sent, so that losing its sandbox costs nothing.
//! - **Invariant:** what does harm when it is sent twice (all but reading) is never sent ahead,
//!   and never sent again (`sending`).
//! - A request whose action does not wait for it any more is not sent.

use super::Message;
use super::actor::Actor;
use super::approval::Subject;
use super::decided::{inputs, policy_decided};
use super::execute::Launch;
use super::sending::{Outcome, Sending};
use crate::egress::Target;
use forerun_planner::{Input, State};
use forerun_policy::{ConnectRequest, Counters, Decision, Outcome as PolicyOutcome};
use forerun_sandbox::{EgressAnswer, EgressRefusal, Outgoing};
use forerun_types::{EffectEnd, EventKind, ExecutionId, HttpRequest, NodeId, Source, StepIndex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Sandboxes of all sessions that may be parked ahead of their verdicts: half of the places
/// that there are, so that what is verified finds one. What comes after them is executed at
/// its verdict.
pub(crate) const PARKED_MAX: usize = 32;
/// How long one may be parked ahead of its verdict; after that it is executed then.
const PARKED_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// Bytes of a request's address that people are shown.
const WHAT_BYTES_MAX: usize = 1 << 10;

/// What waits until its step is released.
pub(super) enum Parked {
    Request(Box<(Outgoing, Target)>),
    Client(Box<Launch>),
}

/// Verified requests that wait for their turn: one at a time is put to the owner, and none
/// goes out while the session is paused.
#[derive(Default)]
pub(super) struct Waiting {
    undecided: VecDeque<(ExecutionId, Outgoing, Target)>,
    /// What the owner allowed.
    allowed: VecDeque<(ExecutionId, Outgoing, Target)>,
}

/// A request that policy asks the owner about.
pub(super) struct AskedFor {
    pub(super) execution: ExecutionId,
    pub(super) node: NodeId,
    pub(super) step: StepIndex,
    pub(super) outgoing: Outgoing,
    pub(super) target: Target,
}

/// How sending ended; the action hears of it when that is written.
pub(crate) struct Sent {
    step: StepIndex,
    node: NodeId,
    effect: u32,
    what: String,
    end: EffectEnd,
    detail: String,
    answer: EgressAnswer,
    reply: oneshot::Sender<EgressAnswer>,
}

impl Actor {
    /// An action wants to send a request.
    pub(super) fn wants_out(&mut self, execution: ExecutionId, outgoing: Outgoing) {
        let Some(running) = self.executions.get(&execution) else {
            // It was stopped; that nobody answers denies the request.
            return;
        };
        let released = running.released;
        let target = match Target::parse(&outgoing.request.url) {
            Ok(target) => target,
            Err(reason) => {
                return self.refuse(execution, outgoing, EgressRefusal::Failed, reason);
            }
        };
        if let Some(reason) = self.context.egress.out_of_reach(&target) {
            return self.refuse(execution, outgoing, EgressRefusal::Address, reason);
        }
        if released {
            self.waiting
                .undecided
                .push_back((execution, outgoing, target));
            return self.decide_requests();
        }
        let (ahead, inputs) = self.decide_request(execution, &outgoing, &target, true);
        match ahead.outcome {
            PolicyOutcome::Run if outgoing.request.is_safe() => {
                self.send_out(execution, outgoing, target);
            }
            _ => {
                let (verified, last) = self.decide_request(execution, &outgoing, &target, false);
                if verified.outcome == PolicyOutcome::Deny {
                    self.request_decided(execution, false, &verified, last);
                    let reason = format!("{}: {}", verified.code, verified.reason);
                    return self.refuse(execution, outgoing, EgressRefusal::Denied, reason);
                }
                self.request_decided(execution, true, &ahead, inputs);
                self.hold_request(execution, outgoing, target, ahead.reason);
            }
        }
    }

    fn hold_request(
        &mut self,
        execution: ExecutionId,
        outgoing: Outgoing,
        target: Target,
        reason: String,
    ) {
        let Some(running) = self.executions.get_mut(&execution) else {
            return;
        };
        let permit = match running.speculative && running.parking.is_none() {
            true => match Arc::clone(&self.context.parking).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => {
                    let reason = "too much waits for its verdict".to_owned();
                    return self.stop_unexecuted(execution, reason);
                }
            },
            false => running.parking.take(),
        };
        running.parking = permit;
        let held = EventKind::EffectHeld {
            step: running.step,
            node: running.node,
            effect: outgoing.number,
            what: shown(&outgoing.request),
            reason,
        };
        let first = running.parked.is_empty();
        let parked = Parked::Request(Box::new((outgoing, target)));
        running.parked.push(parked);
        if running.speculative && first {
            let messages = self.messages.clone();
            tokio::spawn(async move {
                tokio::time::sleep(PARKED_TIME_MAX).await;
                if let Some(messages) = messages.upgrade() {
                    let _ = messages.send(Message::ParkedTooLong(execution)).await;
                }
            });
        }
        self.event(held);
        self.plan(Input::Parked { execution });
    }

    /// A client's tool is asked for when the step is released.
    pub(super) fn hold_client(&mut self, launch: Launch) {
        let execution = launch.execution;
        if let Some(running) = self.executions.get_mut(&execution) {
            running.parked.push(Parked::Client(Box::new(launch)));
            self.plan(Input::Parked { execution });
        }
    }

    /// What is parked ahead of its verdict for too long is executed at its verdict.
    pub(super) fn parked_too_long(&mut self, execution: ExecutionId) {
        let waits = self
            .executions
            .get(&execution)
            .is_some_and(|running| !running.released && !running.parked.is_empty());
        if waits {
            let reason = "it waited too long for its verdict".to_owned();
            self.stop_unexecuted(execution, reason);
        }
    }

    fn stop_unexecuted(&mut self, execution: ExecutionId, reason: String) {
        let running = self.executions.get(&execution);
        if let Some(task) = running.and_then(|running| running.task.as_ref()) {
            task.abort();
        }
        self.not_executed(execution, reason);
    }

    /// The step is decided and reviewed, and all before it are verified.
    pub(super) fn released(&mut self, execution: ExecutionId) {
        let Some(running) = self.executions.get_mut(&execution) else {
            return;
        };
        running.released = true;
        running.parking = None;
        for parked in std::mem::take(&mut running.parked) {
            match parked {
                Parked::Request(request) => {
                    let (outgoing, target) = *request;
                    self.waiting
                        .undecided
                        .push_back((execution, outgoing, target));
                }
                Parked::Client(launch) => self.ask_client(*launch),
            }
        }
        self.decide_requests();
    }

    /// The owner allowed a request.
    pub(super) fn allow_request(&mut self, asked: AskedFor) {
        let AskedFor {
            execution,
            outgoing,
            target,
            ..
        } = asked;
        self.waiting
            .allowed
            .push_back((execution, outgoing, target));
    }

    /// Decides verified requests, until one is put to the owner, and sends those that may be.
    pub(super) fn decide_requests(&mut self) {
        if self.planner.state() == State::Paused {
            return;
        }
        while let Some((execution, outgoing, target)) = self.waiting.allowed.pop_front() {
            self.send_out(execution, outgoing, target);
        }
        while !self.approvals.is_asking() {
            let Some((execution, outgoing, target)) = self.waiting.undecided.pop_front() else {
                return;
            };
            let Some(running) = self.executions.get(&execution) else {
                continue;
            };
            if outgoing.answer.is_closed() {
                self.withdrawn(execution, &outgoing);
                continue;
            }
            let (node, step) = (running.node, running.step);
            let (decision, inputs) = self.decide_request(execution, &outgoing, &target, false);
            self.request_decided(execution, false, &decision, inputs);
            match decision.outcome {
                PolicyOutcome::Run => self.send_out(execution, outgoing, target),
                PolicyOutcome::Ask => {
                    let what = shown(&outgoing.request);
                    let subject = Subject::Request(Box::new(AskedFor {
                        execution,
                        node,
                        step,
                        outgoing,
                        target,
                    }));
                    self.request_approval(subject, what, decision);
                }
                PolicyOutcome::Hold | PolicyOutcome::Deny => {
                    let reason = format!("{}: {}", decision.code, decision.reason);
                    self.refuse(execution, outgoing, EgressRefusal::Denied, reason);
                }
            }
        }
    }

    /// An execution is over: nobody waits for what it wanted to send.
    pub(super) fn forget_requests_of(&mut self, execution: ExecutionId) {
        let others = |(of, _, _): &(ExecutionId, Outgoing, Target)| *of != execution;
        self.waiting.undecided.retain(others);
        self.waiting.allowed.retain(others);
        self.withdraw_approval_of(execution);
    }

    fn withdrawn(&mut self, execution: ExecutionId, outgoing: &Outgoing) {
        let detail = "the action did not wait for it".to_owned();
        self.unsent(execution, outgoing, detail);
    }

    /// Notes that a request is not sent.
    fn unsent(&mut self, execution: ExecutionId, outgoing: &Outgoing, detail: String) {
        if let Some(running) = self.executions.get(&execution) {
            self.event(EventKind::EffectEnded {
                step: running.step,
                node: running.node,
                effect: outgoing.number,
                what: shown(&outgoing.request),
                end: EffectEnd::Refused,
                detail,
            });
        }
    }

    fn decide_request(
        &self,
        execution: ExecutionId,
        outgoing: &Outgoing,
        target: &Target,
        speculative: bool,
    ) -> (Decision, String) {
        let running = &self.executions[&execution];
        let principal = match speculative {
            true => running.source,
            false => (self.sources.get(&running.node).copied()).unwrap_or(Source::Target),
        };
        let tool = self.tree.get(running.node).map(|node| &*node.action.tool);
        let request = &outgoing.request;
        let path = target.path();
        let asked = ConnectRequest {
            principal,
            tool: tool.unwrap_or_default(),
            step: running.step,
            depth: match speculative {
                true => running.step.0.saturating_sub(self.summary.verified),
                false => 0,
            },
            speculative,
            counters: Counters {
                calls: running.step.0.into(),
                bytes_written: self.written_below(running.parent),
                commits: self.summary.committed.into(),
                bytes_out: self.bytes_out,
            },
            scheme: target.url.scheme(),
            host: &target.host,
            port: target.port,
            method: &request.method,
            path: &path,
            body_length: request.body.len() as u64,
            headers_length: headers_size(request),
            listed: self.context.egress.lists(target),
            ahead: self.context.egress.lists_ahead(target),
            read_sensitive: outgoing.read_sensitive || self.sensitive_below(running.parent),
        };
        (self.context.policy.decide_connect(&asked), inputs(&asked))
    }

    fn request_decided(
        &mut self,
        execution: ExecutionId,
        speculative: bool,
        decision: &Decision,
        inputs: String,
    ) {
        if let Some(running) = self.executions.get(&execution) {
            let (node, step) = (Some(running.node), running.step);
            self.event(policy_decided(node, step, speculative, decision, inputs));
        }
    }

    /// Answers that a request is not sent.
    pub(super) fn refuse(
        &mut self,
        execution: ExecutionId,
        outgoing: Outgoing,
        why: EgressRefusal,
        reason: String,
    ) {
        self.unsent(execution, &outgoing, reason.clone());
        // Nobody listens any more if the sandbox was stopped.
        let _ = outgoing.answer.send(EgressAnswer::Refused { why, reason });
    }

    /// Sends a request. From now on it goes its way, whatever becomes of the sandbox.
    pub(super) fn send_out(&mut self, execution: ExecutionId, outgoing: Outgoing, target: Target) {
        if outgoing.answer.is_closed() {
            return self.withdrawn(execution, &outgoing);
        }
        let Some(running) = self.executions.get_mut(&execution) else {
            return;
        };
        let (step, node, effect) = (running.step, running.node, outgoing.number);
        let sequence = running.sequence.clone();
        let Outgoing {
            request,
            answer: reply,
            ..
        } = outgoing;
        let what = shown(&request);
        let sending = Sending {
            journal: self.context.log.journal().clone(),
            egress: Arc::clone(&self.context.egress),
            session: self.record.id.clone(),
            node,
            step,
            what: what.clone(),
            sequence,
        };
        if !request.is_safe() {
            self.effects.push((step, what.clone()));
        }
        self.bytes_out += size(&request);
        self.event(EventKind::EffectSent {
            step,
            node,
            effect,
            what: what.clone(),
        });
        self.under_way.insert((node, effect), (step, what.clone()));
        let messages = self.messages.clone();
        self.sending.push(Box::pin(async move {
            let Outcome {
                end,
                detail,
                answer,
            } = sending.send(&target, request).await;
            let sent = Box::new(Sent {
                step,
                node,
                effect,
                what,
                end,
                detail,
                answer,
                reply,
            });
            if let Some(messages) = messages.upgrade() {
                let _ = messages.send(Message::Sent(sent)).await;
            }
        }));
    }

    /// A request was answered, or was not.
    pub(super) fn sent(&mut self, sent: Sent) {
        self.under_way.remove(&(sent.node, sent.effect));
        if sent.end == EffectEnd::Refused {
            let same =
                |(step, what): &(StepIndex, String)| (*step, what) == (sent.step, &sent.what);
            if let Some(at) = self.effects.iter().rposition(same) {
                self.effects.remove(at);
            }
        }
        self.event(EventKind::EffectEnded {
            step: sent.step,
            node: sent.node,
            effect: sent.effect,
            what: sent.what,
            end: sent.end,
            detail: sent.detail,
        });
        let _ = sent.reply.send(sent.answer);
    }
}

impl Actor {
    /// The session is over: what is under way is told, since nobody will hear of its end.
    pub(super) fn leave_under_way(&mut self) {
        for ((node, effect), (step, what)) in std::mem::take(&mut self.under_way) {
            self.event(EventKind::EffectEnded {
                step,
                node,
                effect,
                what,
                end: EffectEnd::Unknown,
                detail: "the session ended before it was answered".to_owned(),
            });
        }
    }
}

/// What people are shown of a request.
fn shown(request: &HttpRequest) -> String {
    let mut text = request.to_string();
    if text.len() > WHAT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(WHAT_BYTES_MAX));
        text.push('…');
    }
    text
}

fn size(request: &HttpRequest) -> u64 {
    (request.url.len() + request.body.len()) as u64 + headers_size(request)
}

fn headers_size(request: &HttpRequest) -> u64 {
    let headers = request.headers.iter();
    let sizes = headers.map(|(name, value)| (name.len() + value.len()) as u64);
    sizes.sum()
}
