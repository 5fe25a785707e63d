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
//! - **Invariant:** what does harm when it is sent twice is in the journal before it is sent,
//!   and its answer before the action sees it. Run again, the action gets that answer, or, if
//!   there is none, is told that nobody knows; it is never sent again.

use super::Message;
use super::actor::Actor;
use super::approval::Subject;
use super::execute::Launch;
use crate::egress::Target;
use forerun_journal::{EffectFate, EffectId};
use forerun_planner::Input;
use forerun_policy::{ConnectRequest, Counters, Decision, Outcome as PolicyOutcome};
use forerun_sandbox::{EgressAnswer, EgressRefusal, Outgoing};
use forerun_types::{
    EffectEnd, EventKind, ExecutionId, Hasher, HttpRequest, HttpResponse, NodeId, Source, StepIndex,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Sandboxes of all sessions that may be parked ahead of their verdicts; stops parked work
/// from taking all memory. What comes after them is executed at its verdict.
pub(crate) const PARKED_MAX: usize = 256;
/// How long one may be parked ahead of its verdict; after that it is executed then.
const PARKED_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// Bytes of a request's address that people are shown.
const WHAT_BYTES_MAX: usize = 1 << 10;

/// What waits until its step is released.
pub(super) enum Parked {
    Request(Box<(Outgoing, Target)>),
    Client(Box<Launch>),
}

/// A verified request that policy has not decided yet: one at a time is put to the owner.
pub(super) type Undecided = VecDeque<(ExecutionId, Outgoing, Target)>;

/// A request that policy asks the owner about.
pub(super) struct AskedFor {
    pub(super) execution: ExecutionId,
    pub(super) node: NodeId,
    pub(super) step: StepIndex,
    pub(super) outgoing: Outgoing,
    pub(super) target: Target,
    /// What an approval for the session covers: requests of this kind to this host.
    pub(super) kind: String,
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
            self.undecided.push_back((execution, outgoing, target));
            return self.decide_requests();
        }
        let ahead = self.decide_request(execution, &outgoing, &target, true);
        match ahead.outcome {
            PolicyOutcome::Run => self.send_out(execution, outgoing, target),
            _ => {
                let verified = self.decide_request(execution, &outgoing, &target, false);
                if verified.outcome == PolicyOutcome::Deny {
                    self.policy_decided(execution, false, &verified);
                    let reason = format!("{}: {}", verified.code, verified.reason);
                    return self.refuse(execution, outgoing, EgressRefusal::Denied, reason);
                }
                self.policy_decided(execution, true, &ahead);
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
        let permit = match running.speculative {
            true => match Arc::clone(&self.context.parking).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => {
                    let reason = "too much waits for its verdict".to_owned();
                    return self.stop_unexecuted(execution, reason);
                }
            },
            false => None,
        };
        running.parking = permit;
        let held = EventKind::EffectHeld {
            step: running.step,
            node: running.node,
            effect: outgoing.number,
            what: shown(&outgoing.request),
            reason,
        };
        running
            .parked
            .push(Parked::Request(Box::new((outgoing, target))));
        if running.speculative {
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
                    self.undecided.push_back((execution, outgoing, target));
                }
                Parked::Client(launch) => self.ask_client(*launch),
            }
        }
        self.decide_requests();
    }

    /// Decides verified requests, until one is put to the owner.
    pub(super) fn decide_requests(&mut self) {
        while !self.approvals.is_asking() {
            let Some((execution, outgoing, target)) = self.undecided.pop_front() else {
                return;
            };
            let Some(running) = self.executions.get(&execution) else {
                continue;
            };
            let (node, step) = (running.node, running.step);
            let decision = self.decide_request(execution, &outgoing, &target, false);
            self.policy_decided(execution, false, &decision);
            match decision.outcome {
                PolicyOutcome::Run => self.send_out(execution, outgoing, target),
                PolicyOutcome::Ask => {
                    let what = shown(&outgoing.request);
                    let verb = match outgoing.request.is_safe() {
                        true => "reading from",
                        false => outgoing.request.method.as_str(),
                    };
                    let kind = format!("{verb} {}:{}", target.host, target.port);
                    let subject = Subject::Request(Box::new(AskedFor {
                        execution,
                        node,
                        step,
                        outgoing,
                        target,
                        kind,
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

    fn decide_request(
        &self,
        execution: ExecutionId,
        outgoing: &Outgoing,
        target: &Target,
        speculative: bool,
    ) -> Decision {
        let running = &self.executions[&execution];
        let principal = match speculative {
            true => running.source,
            false => (self.sources.get(&running.node).copied()).unwrap_or(Source::Target),
        };
        let tool = self.tree.get(running.node).map(|node| &*node.action.tool);
        let request = &outgoing.request;
        let path = target.path();
        self.context.policy.decide_connect(&ConnectRequest {
            principal,
            tool: tool.unwrap_or_default(),
            step: running.step,
            depth: running.step.0.saturating_sub(self.summary.verified),
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
            listed: self.context.egress.lists(target),
            ahead: self.context.egress.lists_ahead(target),
            read_sensitive: outgoing.read_sensitive || self.sensitive_below(running.parent),
        })
    }

    fn policy_decided(&mut self, execution: ExecutionId, speculative: bool, decision: &Decision) {
        if let Some(running) = self.executions.get(&execution) {
            self.event(EventKind::PolicyDecided {
                node: running.node,
                step: running.step,
                speculative,
                decision: decision.outcome.as_str().to_owned(),
                policies: decision.policies.clone(),
                reason: decision.reason.clone(),
            });
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
        if let Some(running) = self.executions.get(&execution) {
            self.event(EventKind::EffectEnded {
                step: running.step,
                node: running.node,
                effect: outgoing.number,
                what: shown(&outgoing.request),
                end: EffectEnd::Refused,
                detail: reason.clone(),
            });
        }
        // Nobody listens any more if the sandbox was stopped.
        let _ = outgoing.answer.send(EgressAnswer::Refused { why, reason });
    }

    /// Sends a request. From now on it goes its way, whatever becomes of the sandbox.
    pub(super) fn send_out(&mut self, execution: ExecutionId, outgoing: Outgoing, target: Target) {
        let Some(running) = self.executions.get(&execution) else {
            return;
        };
        let (step, node, effect) = (running.step, running.node, outgoing.number);
        let Outgoing {
            mut request,
            answer: reply,
            ..
        } = outgoing;
        let id = EffectId {
            session: self.record.id.clone(),
            node,
            effect,
        };
        let digest = request.digest();
        let what = shown(&request);
        let sending = Sending {
            journal: self.context.log.journal().clone(),
            egress: Arc::clone(&self.context.egress),
            kept: (!request.is_safe()).then_some((id, digest)),
            step,
            what: what.clone(),
        };
        if !request.is_safe() {
            self.effects.push((step, what.clone()));
            let key = idempotency_key(&sending, node, effect);
            let named = |(name, _): &(String, String)| name == IDEMPOTENCY_KEY;
            if !request.headers.iter().any(named) {
                request.headers.push((IDEMPOTENCY_KEY.to_owned(), key));
            }
        }
        self.bytes_out += size(&request);
        self.event(EventKind::EffectSent {
            step,
            node,
            effect,
            what: what.clone(),
        });
        let messages = self.messages.clone();
        self.sending.push(Box::pin(async move {
            let (end, detail, answer) = sending.send(&target, &request).await;
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

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Names a request to its host, so that a copy of it that turns up is known for one
/// (draft-ietf-httpapi-idempotency-key-header).
fn idempotency_key(sending: &Sending, node: NodeId, effect: u32) -> String {
    let session = sending.kept.as_ref().map(|(id, _)| id.session.as_str());
    let digest = Hasher::new("forerun idempotency key")
        .field(session.unwrap_or_default())
        .field(node.0.to_le_bytes())
        .field(effect.to_le_bytes())
        .finish();
    format!("\"{digest}\"")
}

/// What sending a request needs.
struct Sending {
    journal: forerun_journal::Journal,
    egress: Arc<crate::egress::Egress>,
    /// Of a request that is not to be sent twice.
    kept: Option<(EffectId, forerun_types::Digest)>,
    step: StepIndex,
    what: String,
}

impl Sending {
    async fn send(
        self,
        target: &Target,
        request: &HttpRequest,
    ) -> (EffectEnd, String, EgressAnswer) {
        let Sending {
            journal,
            egress,
            kept,
            step,
            what,
        } = self;
        let refused = |end, why, reason: String| {
            let answer = EgressAnswer::Refused {
                why,
                reason: reason.clone(),
            };
            (end, reason, answer)
        };
        if let Some((id, digest)) = kept.clone() {
            let journal = journal.clone();
            let begin = move || journal.begin_effect(&id, step, &digest, &what);
            let fate = match tokio::task::spawn_blocking(begin).await {
                Ok(Ok(fate)) => fate,
                Ok(Err(error)) => {
                    let reason = format!("it could not be noted, so it was not sent: {error}");
                    return refused(EffectEnd::Refused, EgressRefusal::Failed, reason);
                }
                Err(error) => {
                    return refused(EffectEnd::Refused, EgressRefusal::Failed, error.to_string());
                }
            };
            let again = match fate {
                EffectFate::New => None,
                EffectFate::Answered(response) => match serde_json::from_slice(&response) {
                    Ok(response) => {
                        let detail = described(&response);
                        let answer = EgressAnswer::Response(response);
                        return (EffectEnd::Replayed, detail, answer);
                    }
                    Err(error) => Some(format!("effect_unknown: its answer is damaged: {error}")),
                },
                EffectFate::Unknown => Some(
                    "effect_unknown: it was sent before and nobody knows what became of it; it \
                     is not sent again"
                        .to_owned(),
                ),
                EffectFate::Diverged => Some(
                    "effect_diverged: executed again, the action sends something else than \
                     before; that is not sent"
                        .to_owned(),
                ),
            };
            if let Some(reason) = again {
                return refused(EffectEnd::Unknown, EgressRefusal::Denied, reason);
            }
        }
        let answered = egress.send(target, request).await;
        let response = match answered {
            Ok(response) => response,
            Err(unsent) => {
                let end = match unsent.maybe_sent {
                    true => EffectEnd::Unknown,
                    false => EffectEnd::Refused,
                };
                let reason = unsent.reason.clone();
                return (end, reason, unsent.into());
            }
        };
        let detail = described(&response);
        if let Some((id, _)) = kept {
            let bytes = serde_json::to_vec(&response).unwrap_or_default();
            let end = move || journal.end_effect(&id, &bytes);
            let ended = tokio::task::spawn_blocking(end).await;
            let problem = match ended {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(problem) = problem {
                let reason = format!("effect_unknown: its answer could not be kept: {problem}");
                return refused(EffectEnd::Unknown, EgressRefusal::Failed, reason);
            }
        }
        (
            EffectEnd::Answered,
            detail,
            EgressAnswer::Response(response),
        )
    }
}

fn described(response: &HttpResponse) -> String {
    format!("{}, {} bytes", response.status, response.body.len())
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
    let headers = request.headers.iter();
    let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
    (request.url.len() + headers + request.body.len()) as u64
}
