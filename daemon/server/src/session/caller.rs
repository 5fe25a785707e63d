//! The caller's own loop (planner.md): an agent that does not attach, but acts. It holds
//! the target's role without a stream, its next action is the verdict of the step that the
//! planner asks the target about, and it is told when that step is verified.
//!
//! ```text
//! Act ─► waits for its turn ─► answers T(i) ─► decided, executed, verified ─► told
//!         └ nobody waits any more: dropped      └ the owner goes elsewhere: superseded
//! ```
//!
//! What becomes of an act is read from the events that were written, so that nobody is
//! told what is not durable.

use super::actor::Actor;
use forerun_planner::Input;
use forerun_types::{
    Acted, Action, CommitId, Event, EventKind, Hit, NodeId, Observation, ObservationStatus,
    PathChange, PrefixId, Role, Source, StepIndex, Time, Usage,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::sync::oneshot;

/// Acts of one session that may be open at once; stops a caller from filling the memory.
const ACTS_OPEN_MAX: usize = 64;
/// Calls that may wait for one act; stops a caller that asks again and again.
const WAITERS_MAX: usize = 16;
/// Acts whose answers are remembered for their keys.
const ACTS_REMEMBERED_MAX: usize = 64;
/// Predictions that may wait for their turn; stops a caller that predicts without end.
const PREDICTIONS_MAX: usize = 16;
/// Notices that may wait for the next act; the oldest are dropped.
const NOTICES_MAX: usize = 32;
/// What the target of such a session is called.
pub(super) const CALLER: &str = "caller";

/// Something that a caller wants done, or to be told of again.
#[derive(Debug)]
pub(crate) struct ActRequest {
    pub(crate) key: String,
    /// `None` asks for the answer of an earlier act.
    pub(crate) action: Option<Action>,
    pub(crate) reply: oneshot::Sender<ActReply>,
}

/// What a caller expects to do.
#[derive(Debug)]
pub(crate) struct PredictRequest {
    pub(crate) candidates: Vec<Action>,
    /// The act that they come after; none is the last one that is open.
    pub(crate) after: Option<String>,
    pub(crate) ttl: Duration,
    pub(crate) reply: oneshot::Sender<Result<(), ActError>>,
}

/// What became of an act, and what the caller should know beside it.
pub(crate) type ActReply = Result<(Acted, Vec<String>), ActError>;

/// Why an act has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ActError {
    #[error("no act has the key {0:?}, or its answer is forgotten")]
    Unknown(String),
    #[error("the key was used for another action")]
    KeyReused,
    #[error("too many acts are open: {ACTS_OPEN_MAX} of a session, {WAITERS_MAX} calls for one")]
    TooMany,
    #[error("the session has a target agent, whose answers are its verdicts")]
    TargetAttached,
    #[error("{0}")]
    Superseded(String),
    /// Nothing of it is in the workspace.
    #[error("it was not done: {0}")]
    NotDone(String),
    #[error("{PREDICTIONS_MAX} predictions wait for their turn, as many as may")]
    TooManyPredictions,
    /// The first that can not be executed, and why.
    #[error("candidates[{0}]: {1}")]
    InvalidCandidate(usize, String),
}

/// The acts of a session.
#[derive(Default)]
pub(super) struct Caller {
    /// In the order in which they came; only the first can have had its turn.
    open: VecDeque<Act>,
    remembered: VecDeque<(String, Action, ActReply)>,
    /// The executions of nodes that are not verified yet.
    executions: BTreeMap<NodeId, Execution>,
    notices: VecDeque<String>,
    predictions: VecDeque<Prediction>,
    /// How many were taken for the step on a prefix.
    said: Option<(PrefixId, usize)>,
    /// The step that the session goes back to because its act can not be done, and why.
    given_up: Option<(StepIndex, String)>,
}

/// What is expected after an act that is not verified yet.
struct Prediction {
    /// None: whatever comes next.
    after: Option<String>,
    candidates: Vec<Action>,
    until: Time,
}

struct Act {
    key: String,
    action: Action,
    waiters: Vec<oneshot::Sender<ActReply>>,
    /// The step that it is, once it had its turn.
    turn: Option<Turn>,
}

/// An execution, which may be over, and observed, before its act is asked for.
struct Execution {
    began: Time,
    end: Option<Time>,
    observation: Option<Observation>,
}

/// What is known of the step of an act.
struct Turn {
    step: StepIndex,
    at: Time,
    /// Its answer was heard in the log: what is asked after it is asked anew.
    answered: bool,
    observation: Option<Observation>,
    commit: Option<CommitId>,
    changed: Vec<PathChange>,
    hit: Hit,
    hidden: Duration,
    instead: Option<Action>,
    verified: bool,
}

impl Turn {
    fn new(step: StepIndex, at: Time) -> Turn {
        Turn {
            step,
            at,
            answered: false,
            observation: None,
            commit: None,
            changed: Vec::new(),
            hit: Hit::None,
            hidden: Duration::ZERO,
            instead: None,
            verified: false,
        }
    }

    /// An execution that was begun before the act was asked for is its step's.
    fn foreseen(&mut self, execution: &Execution) {
        let end = execution.end.filter(|end| *end <= self.at);
        self.hit = match end {
            Some(_) => Hit::Full,
            None if execution.began <= self.at => Hit::Joined,
            None => Hit::None,
        };
        self.hidden = end.unwrap_or(self.at) - execution.began.min(self.at);
    }

    /// What the caller is told.
    fn acted(self) -> Acted {
        let nothing = || Observation::new(ObservationStatus::Success, String::new());
        Acted {
            step: self.step,
            // Only what is not executed has none: the end of the plan.
            observation: self.observation.unwrap_or_else(nothing),
            commit: self.commit,
            changed: self.changed,
            hit: self.hit,
            hidden: self.hidden,
            instead: self.instead,
        }
    }
}

impl Caller {
    /// Takes a request. One that can be answered now is.
    fn take(&mut self, request: ActRequest) {
        let ActRequest { key, action, reply } = request;
        let same = |of: &Action| action.as_ref().is_none_or(|action| action == of);
        if let Some(act) = self.open.iter_mut().find(|act| act.key == key) {
            act.waiters.retain(|waiter| !waiter.is_closed());
            let refusal = match same(&act.action) {
                true if act.waiters.len() < WAITERS_MAX => return act.waiters.push(reply),
                true => ActError::TooMany,
                false => ActError::KeyReused,
            };
            // Nobody may be there to hear it.
            let _ = reply.send(Err(refusal));
            return;
        }
        if let Some((_, of, answer)) = self.remembered.iter().find(|(of, _, _)| *of == key) {
            let answer = match same(of) {
                true => answer.clone(),
                false => Err(ActError::KeyReused),
            };
            let _ = reply.send(answer);
            return;
        }
        let refusal = match action {
            None => ActError::Unknown(key),
            Some(_) if self.open.len() >= ACTS_OPEN_MAX => ActError::TooMany,
            Some(action) => {
                return self.open.push_back(Act {
                    key,
                    action,
                    waiters: vec![reply],
                    turn: None,
                });
            }
        };
        let _ = reply.send(Err(refusal));
    }

    /// Keeps what is expected to come after an act, or after all that are open.
    pub(super) fn expect(
        &mut self,
        after: Option<String>,
        candidates: Vec<Action>,
        now: Time,
        ttl: Duration,
    ) -> Result<(), ActError> {
        let until = now + ttl;
        let after = match after {
            None => self.open.back().map(|act| act.key.clone()),
            Some(after) => {
                let open = self.open.iter().any(|act| act.key == after);
                if !open && self.remembered.iter().all(|(key, ..)| *key != after) {
                    return Err(ActError::Unknown(after));
                }
                Some(after)
            }
        };
        self.predictions.retain(|known| now < known.until);
        if self.predictions.len() >= PREDICTIONS_MAX {
            return Err(ActError::TooManyPredictions);
        }
        self.predictions.push_back(Prediction {
            after,
            candidates,
            until,
        });
        Ok(())
    }

    /// What is expected of the step that is asked for now, on `prefix`: as many actions for one
    /// step as may run, whatever a caller says again and again. What came too late, or after an
    /// act that was not done, or that others followed, is forgotten.
    pub(super) fn predicted(&mut self, now: Time, prefix: PrefixId, most: usize) -> Vec<Action> {
        let last = self.remembered.back();
        let last = last
            .filter(|(_, _, answer)| answer.is_ok())
            .map(|(key, ..)| key);
        let open = |key: &String| self.open.iter().any(|act| act.key == *key);
        let mut candidates = Vec::new();
        self.predictions.retain(|prediction| {
            let waits = prediction.after.as_ref().is_some_and(open);
            let valid = now < prediction.until;
            let is_next = prediction.after.is_none() || prediction.after.as_ref() == last;
            if valid && is_next && !waits {
                candidates.extend(prediction.candidates.iter().cloned());
            }
            valid && waits
        });
        let said = match self.said {
            Some((of, said)) if of == prefix => said,
            _ => 0,
        };
        candidates.truncate(most.saturating_sub(said));
        self.said = Some((prefix, said + candidates.len()));
        candidates
    }

    /// Whether the step is that of an act that the owner has not decided instead.
    pub(super) fn acts_at(&self, step: StepIndex) -> bool {
        let act = self.open.front().filter(|act| act.is_at(step));
        let turn = act.and_then(|act| act.turn.as_ref());
        turn.is_some_and(|turn| turn.instead.is_none())
    }

    /// The next act, once the one before is verified; it is `step` from now on. Those that
    /// nobody waits for any more are dropped.
    fn next(&mut self, step: StepIndex, now: Time) -> Option<Action> {
        if self.open.front().is_some_and(|act| act.turn.is_some()) {
            return None;
        }
        self.open
            .retain(|act| act.waiters.iter().any(|to| !to.is_closed()));
        let act = self.open.front_mut()?;
        act.turn = Some(Turn::new(step, now));
        Some(act.action.clone())
    }

    /// Learns from events that were written, and tells those whose acts ended with them.
    pub(super) fn hear(&mut self, events: &[Event]) {
        for event in events {
            self.hear_one(event);
        }
        if let Some(mut act) = self.open.pop_front_if(|act| act.is_verified())
            && let Some(turn) = act.turn.take()
        {
            let notices = self.notices.drain(..).collect();
            self.answer(act, Ok((turn.acted(), notices)));
        }
    }

    fn hear_one(&mut self, event: &Event) {
        let at = event.at;
        match &event.kind {
            EventKind::ExecutionStarted { node, step, .. } => {
                // Executed again, it was not done before after all.
                if let Some(turn) = self.turn(*step).filter(|turn| turn.answered) {
                    (turn.hit, turn.hidden) = (Hit::None, Duration::ZERO);
                }
                let execution = Execution {
                    began: at,
                    end: None,
                    observation: None,
                };
                self.executions.insert(*node, execution);
            }
            EventKind::ExecutionFinished { node, .. } => {
                if let Some(execution) = self.executions.get_mut(node) {
                    execution.end = Some(at);
                }
            }
            EventKind::NotExecuted { node, .. } | EventKind::Squashed { node, .. } => {
                self.executions.remove(node);
            }
            EventKind::Answer {
                step,
                node,
                source,
                matched,
                ..
            } => {
                let turn = self
                    .open
                    .front_mut()
                    .filter(|act| act.is_at(*step))
                    .and_then(|act| act.turn.as_mut());
                if let Some(turn) = turn {
                    let execution = self.executions.get(node);
                    turn.observation = execution.and_then(|known| known.observation.clone());
                    if let Some(known) = execution
                        && *source == Source::Target
                        && *matched
                    {
                        turn.foreseen(known);
                    }
                }
            }
            EventKind::Decided {
                step,
                source: Source::User,
                action,
                ..
            } => match self.open.front_mut().filter(|act| act.is_at(*step)) {
                Some(act) => {
                    let other = act.action != *action;
                    if let Some(turn) = act.turn.as_mut() {
                        turn.instead = other.then(|| action.clone());
                    }
                }
                None => self.notice(format!("the session's owner did step {step}: {action}")),
            },
            EventKind::Observed {
                step,
                node,
                observation,
            } => {
                if let Some(execution) = self.executions.get_mut(node) {
                    execution.observation = Some(observation.clone());
                }
                if let Some(turn) = self.turn(*step) {
                    turn.observation = Some(observation.clone());
                }
            }
            EventKind::Verified {
                step,
                node,
                changed,
                ..
            } => {
                self.executions.remove(node);
                if let Some(turn) = self.turn(*step) {
                    turn.changed.clone_from(changed);
                    turn.verified = true;
                }
            }
            EventKind::Committed { step, commit, .. } => {
                if let Some(turn) = self.turn(*step) {
                    turn.commit = Some(*commit);
                }
            }
            EventKind::Suggested { text, .. } => {
                self.notice(format!("the session's owner says: {text}"));
            }
            EventKind::Backtracked { step, .. }
                if self.given_up.as_ref().is_some_and(|(of, _)| of == step) =>
            {
                if let Some((_, reason)) = self.given_up.take() {
                    self.supersede(*step, &ActError::NotDone(reason));
                }
            }
            EventKind::Backtracked { step, .. } => {
                let why = format!("the session's owner undid step {step} and all after it");
                self.notice(why.clone());
                self.supersede(*step, &ActError::Superseded(why));
            }
            EventKind::Answered {
                role: Role::Target,
                step,
                ..
            } => {
                if let Some(turn) = self.turn(*step) {
                    turn.answered = true;
                }
            }
            // The prefix of a step that was answered is another one now.
            EventKind::Asked {
                role: Role::Target,
                step,
                ..
            } => {
                let why = "the session's owner said something to this step".to_owned();
                self.supersede(*step, &ActError::Superseded(why));
            }
            _ => {}
        }
    }

    fn turn(&mut self, step: StepIndex) -> Option<&mut Turn> {
        let act = self.open.front_mut().filter(|act| act.is_at(step))?;
        act.turn.as_mut()
    }

    fn notice(&mut self, text: String) {
        self.notices.push_back(text);
        if self.notices.len() > NOTICES_MAX {
            self.notices.pop_front();
        }
    }

    /// An act from `step` on is not what the session does any more.
    fn supersede(&mut self, step: StepIndex, why: &ActError) {
        let from = |act: &mut Act| {
            let turn = act.turn.as_ref();
            turn.is_some_and(|turn| turn.answered && turn.step >= step)
        };
        if let Some(act) = self.open.pop_front_if(from) {
            self.answer(act, Err(why.clone()));
        }
    }

    /// The session goes back to a step whose act can not be done.
    pub(super) fn give_up(&mut self, step: StepIndex, reason: String) {
        self.given_up = Some((step, reason));
    }

    fn answer(&mut self, act: Act, answer: ActReply) {
        for waiter in act.waiters {
            // Nobody may be there to hear it; they ask again with the key.
            let _ = waiter.send(answer.clone());
        }
        self.remembered.push_back((act.key, act.action, answer));
        if self.remembered.len() > ACTS_REMEMBERED_MAX {
            self.remembered.pop_front();
        }
    }
}

impl Act {
    fn is_at(&self, step: StepIndex) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.step == step)
    }

    fn is_verified(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.verified)
    }
}

impl Actor {
    /// A caller acts, or asks what became of an act. The first act takes the target's role.
    pub(super) fn act(&mut self, request: ActRequest) {
        if request.action.is_some()
            && let Err(error) = self.seat_caller()
        {
            return drop(request.reply.send(Err(error)));
        }
        self.caller.take(request);
    }

    /// A caller takes the target's role, unless it has it.
    pub(super) fn seat_caller(&mut self) -> Result<(), ActError> {
        if self.agents.seat_caller()? {
            let (role, capacity) = (Role::Target, 1);
            self.event(EventKind::AgentAttached {
                role,
                agent: CALLER.to_owned(),
                model: String::new(),
                capacity,
                reattached: false,
            });
            self.plan(Input::AgentAttached { role, capacity });
        }
        Ok(())
    }

    /// Answers what the target is asked with what the caller does next; whether it did.
    pub(super) fn serve_caller(&mut self) -> bool {
        let Some((call, step)) = self.agents.call_of_caller() else {
            return false;
        };
        let Some(action) = self.caller.next(step, self.now()) else {
            return false;
        };
        self.agents.end_call_of_caller(call);
        let candidate = self.candidate(&action);
        self.event(EventKind::Answered {
            call,
            role: Role::Target,
            step,
            action,
            others: Vec::new(),
            usage: Usage::default(),
        });
        self.plan(Input::Answered {
            call,
            candidate,
            others: Vec::new(),
            // What a caller does is done as it says.
            near: Vec::new(),
        });
        self.decide();
        true
    }
}
