//! Accounts for a run: time, tokens, waste, concurrency, waits. It keeps its books from
//! what the planner is told and says, as a watcher of a real session could.

use crate::engine::{Asked, Event, Observer, Reply};
use forerun_planner::{Effect, Input, Presented, RetireResult};
use forerun_types::{AskEnd, CallId, ExecutionEnd, Role, StepIndex, Time, Usage};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a run took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Run {
    /// When the plan ended, in seconds.
    pub seconds: f64,
    /// When each step was verified, in order.
    pub verified: Vec<Time>,
    /// Calls of the approximation agent.
    pub approximation_calls: u64,
    /// Calls of the target agent.
    pub target_calls: u64,
    /// Executions.
    pub executions: u64,
    /// Executions whose step did not keep them.
    pub wasted_executions: u64,
    /// Tokens of all calls.
    pub tokens: Tokens,
    /// Tokens of calls whose answer was not used.
    pub wasted: Tokens,
    /// Of each step, how long its verdict was awaited on the screen.
    pub waits: Vec<f64>,
    /// Decided steps whose candidate was the target's answer.
    pub matched: u64,
    /// Decided steps whose candidate was another.
    pub mismatched: u64,
    /// Decided steps without a candidate.
    pub uncontested: u64,
    /// Steps that the user decided.
    pub by_user: u64,
    /// The most calls in flight at once.
    pub peak_calls: u32,
    /// The most calls of the target in flight at once.
    pub peak_target_calls: u32,
}

/// Tokens, counted in the ways that bills are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Tokens {
    /// Prompt tokens.
    pub prompt: f64,
    /// Generated tokens, if what was cancelled is billed as a whole. The paper counts so.
    pub launched: f64,
    /// Generated tokens of calls that answered before they were cancelled. What would have
    /// been said at the very instant of its cancellation is not in it.
    pub finished: f64,
    /// The same, with what would have been said at the instant of its cancellation.
    pub finished_or_tied: f64,
    /// Generated tokens, with those of cancelled calls in proportion to their time.
    pub pro_rated: f64,
}

impl Run {
    /// Seconds per step.
    pub fn seconds_per_step(&self) -> f64 {
        self.seconds / (self.verified.len() as f64).max(1.0)
    }

    /// Which share of the candidates was right. `None` if there were none.
    pub fn hit_rate(&self) -> Option<f64> {
        let contested = self.matched + self.mismatched;
        (contested > 0).then(|| self.matched as f64 / contested as f64)
    }
}

/// Watches one run.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    run: Run,
    open: BTreeMap<CallId, Open>,
    /// When the candidate of the awaited step was shown.
    proposed: Option<(StepIndex, Time)>,
    /// When a verdict was shown last.
    answered: Time,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    asked: Time,
    due: Time,
    usage: Usage,
    /// When it answered or was cancelled.
    left: Option<(Time, bool)>,
}

impl Meter {
    /// The books so far.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The books, closed.
    pub fn finish(self, counters: &forerun_planner::Counters) -> Run {
        Run {
            matched: counters.matched,
            mismatched: counters.mismatched,
            uncontested: counters.uncontested,
            by_user: counters.by_user,
            peak_calls: counters.peak_calls,
            peak_target_calls: counters.peak_target_calls,
            ..self.run
        }
    }

    fn close(&mut self, now: Time, call: CallId, end: AskEnd) {
        let Some(open) = self.open.remove(&call) else {
            return;
        };
        let (left, finished) = open.left.unwrap_or((now, false));
        let output = open.usage.output_tokens as f64;
        let tied = left >= open.due;
        let share = if finished || tied {
            1.0
        } else {
            (left - open.asked).as_secs_f64() / (open.due - open.asked).as_secs_f64()
        };
        let tokens = Tokens {
            prompt: open.usage.input_tokens as f64,
            launched: output,
            finished: if finished { output } else { 0.0 },
            finished_or_tied: if finished || tied { output } else { 0.0 },
            pro_rated: output * share,
        };
        self.run.tokens.add(&tokens);
        if end != AskEnd::Used {
            self.run.wasted.add(&tokens);
        }
    }

    fn presented(&mut self, now: Time, line: &Presented) {
        match line {
            Presented::Proposed { step, .. } => self.proposed = Some((*step, now)),
            Presented::Answer { step, .. } => {
                let since = match self.proposed {
                    Some((of, time)) if of == *step => time,
                    _ => self.answered,
                };
                self.run.waits.push((now - since).as_secs_f64());
                self.answered = now;
            }
            Presented::Ended { .. } => self.run.seconds = now.as_secs_f64(),
            _ => {}
        }
    }
}

impl Observer for Meter {
    fn asked(&mut self, now: Time, asked: &Asked, reply: &Reply) {
        match asked.role {
            Role::Approximation => self.run.approximation_calls += 1,
            Role::Target => self.run.target_calls += 1,
        }
        let open = Open {
            asked: now,
            due: now + reply.after,
            usage: reply.usage,
            left: None,
        };
        self.open.insert(asked.call, open);
    }

    fn before(&mut self, now: Time, event: &Event) {
        match event {
            Event::Input(Input::Answered { call, .. }) => {
                if let Some(open) = self.open.get_mut(call) {
                    open.left = Some((now, true));
                }
            }
            Event::Input(Input::Retired {
                result: RetireResult::Done,
                ..
            }) => self.run.verified.push(now),
            _ => {}
        }
    }

    fn after(&mut self, now: Time, _event: &Event, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::CancelCall { call } => {
                    if let Some(open) = self.open.get_mut(call) {
                        open.left = Some((now, false));
                    }
                }
                Effect::CallEnded { call, end, .. } => self.close(now, *call, *end),
                Effect::Execute { .. } => self.run.executions += 1,
                Effect::ExecutionEnded { end, .. } if *end != ExecutionEnd::Used => {
                    self.run.wasted_executions += 1;
                }
                Effect::Present(line) => self.presented(now, line),
                _ => {}
            }
        }
    }
}

impl Tokens {
    /// Adds others.
    pub fn add(&mut self, other: &Tokens) {
        self.prompt += other.prompt;
        self.launched += other.launched;
        self.finished += other.finished;
        self.finished_or_tied += other.finished_or_tied;
        self.pro_rated += other.pro_rated;
    }
}
