//! The agents of one session: which stream holds which role, which calls are open on it,
//! and which prefixes it has seen, so that a prefix is sent as what it adds.
//!
//! A broken stream keeps its calls for the re-attach window; the same agent takes them up
//! again, and only then they fail. Nothing here decides: it delivers what the planner
//! asked for, and reports.
//!
//! A caller (see the module of that name) holds the target's role without a stream: its
//! calls are sent nowhere, wait as long as they have to, and nobody takes the role away.

use super::caller::{ActError, CALLER};
use super::trajectory::Prefixes;
use forerun_types::{CallId, Entry, PrefixId, Role, StepIndex, Time};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages that may wait for one agent; more means that it does not read, and its
/// stream is closed so that it costs nobody but itself.
pub(crate) const AGENT_QUEUE_MAX: usize = 1_024;
/// Prefixes that a stream is believed to remember; beyond it they are told to forget,
/// and the next one is sent whole.
const KNOWN_PREFIXES_MAX: usize = 4_096;
/// T calls in flight that one agent may offer: stops a capacity that floods the agent.
const CAPACITY_MAX: u32 = 64;

/// When calls, streams and questions are given up.
#[derive(Clone, Debug)]
pub(crate) struct Deadlines {
    /// How long a broken stream keeps its calls.
    pub(crate) reattach: Duration,
    /// How long a call may be silent.
    pub(crate) idle: Duration,
    /// How long a call may take at all.
    pub(crate) total: Duration,
    /// How long the owner may take to approve something; zero is for ever.
    pub(crate) approval: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines {
            reattach: Duration::from_secs(30),
            idle: Duration::from_secs(120),
            total: Duration::from_secs(60 * 60),
            approval: Duration::from_secs(60 * 60),
        }
    }
}

/// One stream of one attached agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StreamId(pub(crate) u64);

/// What an agent is told.
#[derive(Clone, Debug)]
pub(crate) enum ToAgent {
    /// Give step `step` on `prefix`.
    Generate {
        call: CallId,
        role: Role,
        step: StepIndex,
        prefix: PrefixId,
        /// The prefix that `append` extends; none means that it is whole.
        base: Option<PrefixId>,
        /// Task and instructions, when the prefix is whole.
        opening: Option<(String, String)>,
        append: Vec<Entry>,
        /// How many candidates are wanted at most.
        width: u32,
        idle: Duration,
        total: Duration,
    },
    /// The answer is not needed any more.
    Cancel { call: CallId },
    /// These prefixes will not be built upon.
    Forget { prefixes: Vec<PrefixId> },
    /// The stream is closed by the daemon.
    Close { reason: String },
}

/// A role that an agent asks for.
#[derive(Debug)]
pub(crate) struct Attach {
    pub(crate) stream: StreamId,
    pub(crate) agent: String,
    pub(crate) model: String,
    pub(crate) roles: Vec<(Role, u32)>,
    /// Calls that the agent still works on from an earlier stream.
    pub(crate) open_calls: Vec<CallId>,
    pub(crate) to_agent: mpsc::Sender<ToAgent>,
}

/// A role that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) role: Role,
    pub(crate) capacity: u32,
    pub(crate) reattached: bool,
}

/// A role's holder.
struct Seat {
    agent: String,
    model: String,
    capacity: u32,
    stream: Option<StreamId>,
    /// When the stream broke.
    broken: Option<Time>,
}

impl Seat {
    /// Whether a caller holds it.
    fn is_callers(&self) -> bool {
        self.stream.is_none() && self.broken.is_none()
    }
}

struct Stream {
    to_agent: mpsc::Sender<ToAgent>,
    known: HashSet<PrefixId>,
}

struct OpenCall {
    role: Role,
    step: StepIndex,
    prefix: PrefixId,
    asked: Time,
    /// When the agent last said anything about it.
    heard: Time,
    /// It was sent whole on the agent's request; once is enough for a sound agent.
    rebased: bool,
}

/// The agents of one session.
pub(crate) struct Agents {
    deadlines: Deadlines,
    /// How many candidates A is asked for.
    width: u32,
    seats: BTreeMap<Role, Seat>,
    streams: BTreeMap<StreamId, Stream>,
    calls: BTreeMap<CallId, OpenCall>,
}

/// What time brought about.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// A call was silent, or took too long.
    Call { call: CallId, reason: String },
    /// The re-attach window of a role is over.
    Role { role: Role, agent: String },
}

impl Agents {
    pub(crate) fn new(deadlines: Deadlines, width: u32) -> Agents {
        Agents {
            deadlines,
            width: width.max(1),
            seats: BTreeMap::new(),
            streams: BTreeMap::new(),
            calls: BTreeMap::new(),
        }
    }

    /// Gives the roles to the agent's stream. The same agent takes over from its earlier
    /// stream; calls that it does not hold any more are sent again.
    ///
    /// # Errors
    /// If another living agent holds one of the roles; nothing is taken then.
    pub(crate) fn attach(
        &mut self,
        attach: Attach,
        prefixes: &Prefixes,
    ) -> Result<Vec<Attached>, String> {
        for (role, _) in &attach.roles {
            if let Some(seat) = self.seats.get(role)
                && (seat.is_callers() || (seat.stream.is_some() && seat.agent != attach.agent))
            {
                return Err(format!(
                    "agent {:?} holds the role {role} already",
                    seat.agent
                ));
            }
        }
        let stream = attach.stream;
        self.streams.insert(
            stream,
            Stream {
                to_agent: attach.to_agent,
                known: HashSet::new(),
            },
        );
        let mut attached = Vec::new();
        for (role, capacity) in attach.roles {
            let capacity = capacity.clamp(1, CAPACITY_MAX);
            let seat = Seat {
                agent: attach.agent.clone(),
                model: attach.model.clone(),
                capacity,
                stream: Some(stream),
                broken: None,
            };
            let earlier = self.seats.insert(role, seat);
            if let Some(old) = earlier.as_ref().and_then(|seat| seat.stream)
                && old != stream
            {
                self.close(old, "another stream of the same agent took over");
            }
            let reattached = earlier.is_some_and(|seat| seat.agent == attach.agent);
            attached.push(Attached {
                role,
                capacity,
                reattached,
            });
            let again: Vec<CallId> = self
                .calls
                .iter()
                .filter(|(call, open)| open.role == role && !attach.open_calls.contains(call))
                .map(|(call, _)| *call)
                .collect();
            for call in again {
                self.send_generate(call, prefixes);
            }
        }
        Ok(attached)
    }

    /// Gives the target's role to a caller; whether it was free.
    ///
    /// # Errors
    /// If an agent holds it.
    pub(super) fn seat_caller(&mut self) -> Result<bool, ActError> {
        match self.seats.get(&Role::Target) {
            Some(seat) if seat.is_callers() => Ok(false),
            Some(_) => Err(ActError::TargetAttached),
            None => {
                let seat = Seat {
                    agent: CALLER.to_owned(),
                    model: String::new(),
                    capacity: 1,
                    stream: None,
                    broken: None,
                };
                self.seats.insert(Role::Target, seat);
                Ok(true)
            }
        }
    }

    /// What the planner asks the caller, if there is one.
    pub(super) fn call_of_caller(&self) -> Option<(CallId, StepIndex)> {
        if !self.is_callers() {
            return None;
        }
        let calls = self
            .calls
            .iter()
            .filter(|(_, open)| open.role == Role::Target);
        calls
            .map(|(call, open)| (*call, open.step))
            .min_by_key(|(_, step)| *step)
    }

    /// Whether a caller holds the target's role.
    pub(super) fn is_callers(&self) -> bool {
        self.seats.get(&Role::Target).is_some_and(Seat::is_callers)
    }

    /// The step that the caller is to do next, if it is asked for.
    pub(super) fn step_of_caller(&self) -> Option<(StepIndex, PrefixId)> {
        let (call, step) = self.call_of_caller()?;
        Some((step, self.prefix_of(call)?))
    }

    /// What an open call is asked on.
    pub(super) fn prefix_of(&self, call: CallId) -> Option<PrefixId> {
        self.calls.get(&call).map(|open| open.prefix)
    }

    /// Whether an agent holds the role.
    pub(super) fn has(&self, role: Role) -> bool {
        self.seats.contains_key(&role)
    }

    /// The caller answers.
    pub(super) fn end_call_of_caller(&mut self, call: CallId) {
        self.calls.remove(&call);
    }

    /// Opens a call. If the role has no stream now, it is sent when the agent is back.
    pub(crate) fn ask(
        &mut self,
        now: Time,
        call: CallId,
        role: Role,
        step: StepIndex,
        prefix: PrefixId,
        prefixes: &Prefixes,
    ) {
        self.calls.insert(
            call,
            OpenCall {
                role,
                step,
                prefix,
                asked: now,
                heard: now,
                rebased: false,
            },
        );
        self.send_generate(call, prefixes);
    }

    /// Ends a call and tells the agent that it can stop.
    pub(crate) fn cancel(&mut self, call: CallId) {
        if let Some(open) = self.calls.remove(&call) {
            self.send(open.role, ToAgent::Cancel { call });
        }
    }

    /// Ends a call that was answered or failed, if `stream` is the one that holds it.
    pub(crate) fn end(&mut self, stream: StreamId, call: CallId) -> Option<(Role, StepIndex)> {
        if !self.holds(stream, call) {
            return None;
        }
        self.calls.remove(&call).map(|open| (open.role, open.step))
    }

    /// The agent is at work on a call.
    pub(crate) fn progress(&mut self, now: Time, stream: StreamId, call: CallId) {
        if self.holds(stream, call)
            && let Some(open) = self.calls.get_mut(&call)
        {
            open.heard = now;
        }
    }

    /// The agent does not know the base of a call's prefix: it is sent whole, once a
    /// stream, so that asking for it again and again floods nobody.
    pub(crate) fn rebase(&mut self, stream: StreamId, call: CallId, prefixes: &Prefixes) {
        if !self.holds(stream, call) {
            return;
        }
        match self.calls.get_mut(&call) {
            Some(open) if !open.rebased => open.rebased = true,
            _ => return,
        }
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.known.clear();
        }
        self.send_generate(call, prefixes);
    }

    /// A stream ended. Its roles wait for the agent to come back.
    pub(crate) fn detached(&mut self, now: Time, stream: StreamId) -> Vec<(Role, String)> {
        self.streams.remove(&stream);
        let mut roles = Vec::new();
        for (role, seat) in &mut self.seats {
            if seat.stream == Some(stream) {
                seat.stream = None;
                seat.broken = Some(now);
                roles.push((*role, seat.agent.clone()));
                for open in self.calls.values_mut().filter(|open| open.role == *role) {
                    open.heard = now;
                    open.rebased = false;
                }
            }
        }
        roles
    }

    /// The next instant at which [`Agents::expire`] has something to say.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let calls = self
            .calls
            .values()
            .filter(|open| self.is_attached(open.role))
            .map(|open| (open.heard + self.deadlines.idle).min(open.asked + self.deadlines.total));
        let seats = self
            .seats
            .values()
            .filter_map(|seat| Some(seat.broken? + self.deadlines.reattach));
        calls.chain(seats).min()
    }

    /// What has timed out by now. Silent calls are cancelled; lost roles lose their calls.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<Expired> {
        let mut expired = Vec::new();
        let late: Vec<(CallId, &str)> = self
            .calls
            .iter()
            .filter(|(_, open)| self.is_attached(open.role))
            .filter_map(|(call, open)| {
                if now >= open.asked + self.deadlines.total {
                    Some((*call, "took longer than its total deadline"))
                } else if now >= open.heard + self.deadlines.idle {
                    Some((*call, "was silent for longer than its idle deadline"))
                } else {
                    None
                }
            })
            .collect();
        for (call, reason) in late {
            self.cancel(call);
            expired.push(Expired::Call {
                call,
                reason: reason.to_owned(),
            });
        }
        let lost: Vec<Role> = self
            .seats
            .iter()
            .filter(|(_, seat)| {
                seat.broken
                    .is_some_and(|at| now >= at + self.deadlines.reattach)
            })
            .map(|(role, _)| *role)
            .collect();
        for role in lost {
            self.calls.retain(|_, open| open.role != role);
            if let Some(seat) = self.seats.remove(&role) {
                expired.push(Expired::Role {
                    role,
                    agent: seat.agent,
                });
            }
        }
        expired
    }

    /// Closes every stream.
    pub(crate) fn close_all(&mut self, reason: &str) {
        for stream in self.streams.keys().copied().collect::<Vec<_>>() {
            self.close(stream, reason);
        }
    }

    /// Who holds which role, and whether a stream is there.
    pub(crate) fn seats(&self) -> impl Iterator<Item = super::Seat> {
        self.seats.iter().map(|(role, seat)| super::Seat {
            role: *role,
            agent: seat.agent.clone(),
            model: seat.model.clone(),
            capacity: seat.capacity,
            connected: seat.broken.is_none(),
        })
    }

    fn is_attached(&self, role: Role) -> bool {
        self.seats
            .get(&role)
            .is_some_and(|seat| seat.stream.is_some())
    }

    /// Whether the call belongs to a role that this stream holds.
    pub(crate) fn holds(&self, stream: StreamId, call: CallId) -> bool {
        self.calls
            .get(&call)
            .and_then(|open| self.seats.get(&open.role))
            .is_some_and(|seat| seat.stream == Some(stream))
    }

    fn close(&mut self, stream: StreamId, reason: &str) {
        if let Some(stream) = self.streams.remove(&stream) {
            // A full queue means that the agent does not read; dropping it closes the stream.
            let _ = stream.to_agent.try_send(ToAgent::Close {
                reason: reason.to_owned(),
            });
        }
    }

    fn send_generate(&mut self, call: CallId, prefixes: &Prefixes) {
        let Some(open) = self.calls.get(&call) else {
            return;
        };
        let Some(stream) = self.seats.get(&open.role).and_then(|seat| seat.stream) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&stream) else {
            return;
        };
        let mut forget = Vec::new();
        if stream.known.len() >= KNOWN_PREFIXES_MAX {
            forget = stream.known.drain().collect();
        }
        let (base, append) = prefixes.since(open.prefix, |prefix| stream.known.contains(prefix));
        stream.known.insert(open.prefix);
        let message = ToAgent::Generate {
            call,
            role: open.role,
            step: open.step,
            prefix: open.prefix,
            base,
            opening: base.is_none().then(|| prefixes.opening()),
            append,
            width: match open.role {
                Role::Approximation => self.width,
                Role::Target => 1,
            },
            idle: self.deadlines.idle,
            total: self.deadlines.total,
        };
        let role = open.role;
        if !forget.is_empty() {
            self.send(role, ToAgent::Forget { prefixes: forget });
        }
        self.send(role, message);
    }

    /// Sends to the role's stream. One that is full is dropped, which closes it; the
    /// service then reports it as detached.
    fn send(&mut self, role: Role, message: ToAgent) {
        let Some(id) = self.seats.get(&role).and_then(|seat| seat.stream) else {
            return;
        };
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = stream.to_agent.try_send(message) {
            tracing::warn!(%role, "an agent does not read its messages; its stream is closed");
            self.streams.remove(&id);
        }
    }
}
