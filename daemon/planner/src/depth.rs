//! How far ahead of the verdicts a session goes.
//!
//! Watches what the planner is told and says, as anybody could; learns from it how long
//! things take and how often the approximation agent is right; and says whether one more
//! step may start. It never makes a session deeper than it is configured, and the lowest
//! undecided step always starts.
//!
//! - `fixed`: as configured.
//! - `auto`: k = ceil(tT / (tA + e)), the most target calls that fit into the time of one.
//! - `dynamic(tau)`: one more step starts if the approximation agent was right so far, at all
//!   steps that are not decided, to the judgement of [`forecast`]. After *Dynamic Speculative
//!   Planning*, which predicts k once for each window; here the prediction is renewed with each
//!   candidate, whose tool says most about it.
//!
//! **Invariant:** only decided steps are learned from: below a wrong prefix nobody knows what is right.

mod forecast;
mod pace;

use crate::{Effect, Input, Outcome};
use forecast::Forecast;
use forerun_types::{AskEnd, CallId, ExecutionId, Role, Source, StepIndex, Time};
use pace::Pace;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the depth of a session is found, up to the one that is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DepthControl {
    /// It is the one that is configured.
    #[default]
    Fixed,
    /// As many target calls as fit into the time of one.
    Auto,
    /// As far as the approximation agent is expected to be right.
    Dynamic(Tau),
}

/// What a second that is saved is worth, beside one that agents work in vain: below ½ sessions
/// are cheaper, above ½ faster. In thousandths, 1 to 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Tau(u16);

/// A number that is no [`Tau`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tau is 1 to 999 thousandths, not {0}")]
pub struct TauError(u16);

impl TryFrom<u16> for Tau {
    type Error = TauError;
    fn try_from(thousandths: u16) -> Result<Tau, TauError> {
        match thousandths {
            1..=999 => Ok(Tau(thousandths)),
            _ => Err(TauError(thousandths)),
        }
    }
}

impl From<Tau> for u16 {
    fn from(tau: Tau) -> u16 {
        tau.0
    }
}

impl Tau {
    fn share(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

/// What sessions learn for those after them: how long agents take, and how often the approximation
/// agent is right with which tool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Experience {
    pace: Pace,
    forecast: Forecast,
}

/// The depth of one session.
#[derive(Clone, Debug)]
pub(crate) struct Depth {
    control: DepthControl,
    experience: Experience,
    calls: BTreeMap<CallId, (Role, StepIndex, Time)>,
    executions: BTreeMap<ExecutionId, Time>,
    /// The tools of the candidates of steps that are not decided.
    guesses: BTreeMap<StepIndex, u64>,
}

impl Depth {
    pub(crate) fn new(control: DepthControl, experience: Experience) -> Depth {
        Depth {
            control,
            experience,
            calls: BTreeMap::new(),
            executions: BTreeMap::new(),
            guesses: BTreeMap::new(),
        }
    }

    pub(crate) fn experience(&self) -> &Experience {
        &self.experience
    }

    /// At most so many steps may be undecided.
    pub(crate) fn limit(&self, configured: u32) -> u32 {
        match self.control {
            DepthControl::Fixed | DepthControl::Dynamic(_) => configured,
            DepthControl::Auto => self
                .experience
                .pace
                .overlap()
                .map_or(configured, |calls| calls.min(configured)),
        }
    }

    /// Whether a step may start below candidates with these tools, of which none is decided.
    pub(crate) fn reaches(&self, undecided: impl Iterator<Item = u64>) -> bool {
        match self.control {
            DepthControl::Fixed | DepthControl::Auto => true,
            DepthControl::Dynamic(tau) => {
                let forecast = &self.experience.forecast;
                let right: f64 = undecided.map(|tool| forecast.chance(tool)).product();
                forecast::expectile(right, tau.share()) >= 0.5
            }
        }
    }

    /// Takes note of what the planner is told.
    pub(crate) fn told(&mut self, now: Time, input: &Input) {
        match input {
            Input::Answered {
                call, candidate, ..
            } => {
                let Some((role, step, asked)) = self.calls.remove(call) else {
                    return;
                };
                self.experience.pace.answered(role, now - asked);
                if role == Role::Approximation {
                    self.guesses.insert(step, candidate.tool);
                }
            }
            Input::Executed { execution, outcome } => {
                let began = self.executions.remove(execution);
                if let (Some(began), Outcome::Completed { .. }) = (began, outcome) {
                    self.experience.pace.executed(now - began);
                }
            }
            _ => {}
        }
    }

    /// Takes note of what the planner wants.
    pub(crate) fn said(&mut self, now: Time, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Ask {
                    call, role, step, ..
                } => {
                    self.calls.insert(*call, (*role, *step, now));
                    if *role == Role::Target {
                        // The step begins, maybe anew: on another prefix.
                        self.guesses.remove(step);
                    }
                }
                Effect::CallEnded {
                    call,
                    role,
                    step,
                    end,
                    ..
                } => {
                    self.calls.remove(call);
                    if (*role, *end) == (Role::Approximation, AskEnd::Used) {
                        self.learn(*step, true);
                    }
                }
                Effect::Decide { step, source, .. } => match source {
                    Source::Target => self.learn(*step, false),
                    // The user may be of another mind than the target.
                    Source::User | Source::Approximation => {
                        self.guesses.remove(step);
                    }
                },
                Effect::Execute { execution, .. } => {
                    self.executions.insert(*execution, now);
                }
                Effect::StopExecution { execution } => {
                    self.executions.remove(execution);
                }
                _ => {}
            }
        }
    }

    fn learn(&mut self, step: StepIndex, right: bool) {
        if let Some(tool) = self.guesses.remove(&step) {
            self.experience.forecast.learn(tool, right);
        }
    }
}
