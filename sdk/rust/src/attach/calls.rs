//! The calls of an agent: those that run, and the answers that the daemon may not have
//! received yet.

use crate::agent::{Agent, AgentError, Candidate, Reporter, Request};
use forerun_proto::v1;
use forerun_proto::v1::agent_service_attach_request::Message as ToDaemon;
use forerun_types::{CallId, Usage};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::Instant;

/// Answers that are kept in case the stream that carried them breaks before the daemon
/// has read them. More than any agent has calls.
const ANSWERS_KEPT_MAX: usize = 128;
/// How often progress is reported at most.
const REPORT_EVERY_MAX: Duration = Duration::from_secs(1);
/// How often progress is reported at least, whatever the idle deadline.
const REPORT_EVERY_MIN: Duration = Duration::from_millis(20);

type Outcome = Result<Vec<Candidate>, AgentError>;

/// All calls of one attached agent.
#[derive(Default)]
pub(super) struct Calls {
    running: BTreeMap<CallId, Running>,
    tasks: JoinSet<Outcome>,
    by_task: HashMap<Id, CallId>,
    answers: VecDeque<(CallId, ToDaemon)>,
    next_report: Option<Instant>,
}

struct Running {
    abort: AbortHandle,
    meter: Arc<Meter>,
    width: usize,
    report_every: Duration,
    cancelled: bool,
}

/// What a running call says about itself.
#[derive(Default)]
struct Meter {
    output_tokens: AtomicU64,
    touched: AtomicBool,
}

impl Reporter for Meter {
    fn progress(&self, output_tokens: u64) {
        self.output_tokens
            .fetch_max(output_tokens, Ordering::Relaxed);
        self.touched.store(true, Ordering::Release);
    }
}

impl Meter {
    fn usage(&self) -> v1::Usage {
        v1::Usage {
            output_tokens: self.output_tokens.load(Ordering::Relaxed),
            ..v1::Usage::default()
        }
    }
}

impl Calls {
    /// Starts a call in a task of its own.
    pub(super) fn start(
        &mut self,
        call: CallId,
        agent: Arc<dyn Agent>,
        mut request: Request,
        idle: Duration,
    ) {
        let meter = Arc::new(Meter::default());
        request.reporter = Some(Arc::<Meter>::clone(&meter));
        let width = usize::try_from(request.width).unwrap_or(usize::MAX);
        let abort = self
            .tasks
            .spawn(async move { agent.propose(&request).await });
        self.by_task.insert(abort.id(), call);
        let report_every = match idle {
            Duration::ZERO => REPORT_EVERY_MAX,
            idle => (idle / 4).clamp(REPORT_EVERY_MIN, REPORT_EVERY_MAX),
        };
        let running = Running {
            abort,
            meter,
            width,
            report_every,
            cancelled: false,
        };
        self.running.insert(call, running);
        self.plan_report();
    }

    pub(super) fn is_running(&self, call: CallId) -> bool {
        self.running.contains_key(&call)
    }

    /// The answer that was sent for a call, if it is still kept.
    pub(super) fn answer(&self, call: CallId) -> Option<ToDaemon> {
        let (_, answer) = self.answers.iter().find(|(kept, _)| *kept == call)?;
        Some(answer.clone())
    }

    /// Stops a call by dropping its future. What is to be said at once, if anything:
    /// a call that runs is acknowledged when it has stopped, one that was answered
    /// not at all.
    pub(super) fn cancel(&mut self, call: CallId) -> Option<ToDaemon> {
        if let Some(running) = self.running.get_mut(&call) {
            running.cancelled = true;
            running.abort.abort();
            return None;
        }
        if self.answer(call).is_some() {
            return None;
        }
        Some(cancelled(call, v1::Usage::default()))
    }

    /// Waits for the next call to end, and says what the daemon is to be told. Never ends
    /// while nothing runs. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> ToDaemon {
        loop {
            let Some(joined) = self.tasks.join_next_with_id().await else {
                std::future::pending::<()>().await;
                continue;
            };
            let id = match &joined {
                Ok((id, _)) => *id,
                Err(error) => error.id(),
            };
            let Some(call) = self.by_task.remove(&id) else {
                continue;
            };
            let Some(running) = self.running.remove(&call) else {
                continue;
            };
            let message = message(call, &running, joined.map(|(_, outcome)| outcome));
            self.keep(call, message.clone());
            return message;
        }
    }

    fn keep(&mut self, call: CallId, message: ToDaemon) {
        self.answers.push_back((call, message));
        if self.answers.len() > ANSWERS_KEPT_MAX {
            self.answers.pop_front();
        }
    }

    /// Every call that runs, or whose answer may not have arrived.
    pub(super) fn open(&self) -> Vec<CallId> {
        let answered = self.answers.iter().map(|(call, _)| *call);
        self.running.keys().copied().chain(answered).collect()
    }

    /// After attaching again: stops what the daemon does not wait for any more, and says
    /// what it still waits for and was sent before.
    pub(super) fn reconcile(&mut self, wanted: &HashSet<CallId>) -> Vec<ToDaemon> {
        for (call, running) in &mut self.running {
            if !wanted.contains(call) {
                running.cancelled = true;
                running.abort.abort();
            }
        }
        self.answers.retain(|(call, _)| wanted.contains(call));
        self.answers
            .iter()
            .map(|(_, message)| message.clone())
            .collect()
    }

    /// Stops everything because the agent leaves; says so for each call.
    pub(super) fn abandon(&mut self) -> Vec<ToDaemon> {
        self.tasks.abort_all();
        self.by_task.clear();
        std::mem::take(&mut self.running)
            .into_iter()
            .map(|(call, running)| {
                let usage = running.meter.usage();
                failed(call, v1::FailureKind::Transient, "the agent left", 0, usage)
            })
            .collect()
    }

    /// When progress is to be reported next.
    pub(super) fn report_at(&self) -> Option<Instant> {
        self.next_report
    }

    /// The progress of every call that has made some since the last report, if it is time.
    pub(super) fn reports(&mut self) -> Vec<ToDaemon> {
        if self.next_report.is_none_or(|at| Instant::now() < at) {
            return Vec::new();
        }
        self.next_report = None;
        self.plan_report();
        self.running
            .iter()
            .filter(|(_, running)| running.meter.touched.swap(false, Ordering::Acquire))
            .map(|(call, running)| {
                ToDaemon::Progress(v1::Progress {
                    call: call.to_string(),
                    output_tokens: running.meter.output_tokens.load(Ordering::Relaxed),
                })
            })
            .collect()
    }

    fn plan_report(&mut self) {
        let every = self.running.values().map(|running| running.report_every);
        let soonest = every.min().map(|every| Instant::now() + every);
        self.next_report = match (self.next_report, soonest) {
            (Some(planned), Some(soonest)) => Some(planned.min(soonest)),
            (planned, soonest) => planned.or(soonest),
        };
    }
}

/// How a call's end is told.
fn message(call: CallId, running: &Running, outcome: Result<Outcome, JoinError>) -> ToDaemon {
    let usage = running.meter.usage();
    match outcome {
        Ok(Ok(candidates)) if running.cancelled => cancelled(call, sum(&candidates)),
        _ if running.cancelled => cancelled(call, usage),
        Ok(Ok(candidates)) if candidates.is_empty() => {
            let reason = "the agent gave no candidate";
            failed(call, v1::FailureKind::Permanent, reason, 0, usage)
        }
        Ok(Ok(mut candidates)) => {
            let usage = sum(&candidates);
            candidates.truncate(running.width);
            ToDaemon::Generated(v1::Generated {
                call: call.to_string(),
                candidates: candidates
                    .into_iter()
                    .map(|candidate| v1::Candidate {
                        action: Some(candidate.action.into()),
                        confidence: candidate.confidence,
                        note: candidate.note,
                    })
                    .collect(),
                usage: Some(usage),
            })
        }
        Ok(Err(AgentError::Transient(reason))) => {
            failed(call, v1::FailureKind::Transient, &reason, 0, usage)
        }
        Ok(Err(AgentError::Permanent(reason))) => {
            failed(call, v1::FailureKind::Permanent, &reason, 0, usage)
        }
        Ok(Err(AgentError::RateLimited {
            reason,
            retry_after,
        })) => {
            let wait = crate::open::millis(retry_after);
            failed(call, v1::FailureKind::RateLimited, &reason, wait, usage)
        }
        Err(error) => {
            let reason = if error.is_panic() {
                "the agent panicked"
            } else {
                "the agent's program is ending"
            };
            failed(call, v1::FailureKind::Permanent, reason, 0, usage)
        }
    }
}

fn sum(candidates: &[Candidate]) -> v1::Usage {
    let total = candidates
        .iter()
        .fold(Usage::default(), |sum, candidate| Usage {
            input_tokens: sum
                .input_tokens
                .saturating_add(candidate.usage.input_tokens),
            cached_input_tokens: sum
                .cached_input_tokens
                .saturating_add(candidate.usage.cached_input_tokens),
            output_tokens: sum
                .output_tokens
                .saturating_add(candidate.usage.output_tokens),
            cost_micros: sum.cost_micros.saturating_add(candidate.usage.cost_micros),
        });
    total.into()
}

fn cancelled(call: CallId, usage: v1::Usage) -> ToDaemon {
    ToDaemon::Cancelled(v1::Cancelled {
        call: call.to_string(),
        usage: Some(usage),
    })
}

fn failed(
    call: CallId,
    kind: v1::FailureKind,
    reason: &str,
    retry_after_ms: u64,
    usage: v1::Usage,
) -> ToDaemon {
    ToDaemon::Failed(v1::Failed {
        call: call.to_string(),
        kind: kind.into(),
        reason: reason.to_owned(),
        retry_after_ms,
        usage: Some(usage),
    })
}
