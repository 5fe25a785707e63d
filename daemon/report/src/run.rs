//! What happened in a run, by id: the sum of its events, with texts cut to what can be shown.
//!
//! Events are summed up as they come. What belongs together (a call and its end, a claim and
//! its end) finds each other by id when the picture is drawn, so that a beginning or an end
//! that is missing, or comes in another order, costs nothing but itself.

use crate::glyph::Glyph;
use crate::svg::cut;
use forerun_types::{
    Action, ApprovalEnd, ApprovalId, AskEnd, CallId, EffectEnd, Event, EventKind, ExecutionEnd,
    ExecutionId, NodeId, PrefixId, Role, Source, StepIndex, Time,
};
use std::collections::BTreeMap;

/// Most things that are kept of a run: calls, executions, nodes, waits and moments together.
/// Stops a log without end from filling the memory and the picture.
pub(crate) const THINGS_MAX: usize = 16_000;
/// Most characters of a tool's name; stops a name of 128 bytes from hiding its neighbours.
const TOOL_CHARS_MAX: usize = 32;
/// Most characters of anything else that somebody said: it is shown when one points at it.
const TEXT_CHARS_MAX: usize = 100;
/// Most candidates of one answer; as many as a session can be told to take.
const CANDIDATES_MAX: usize = 8;

/// The sum of the events of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    pub(crate) opened: Option<Opened>,
    /// The times of the first and the last event.
    pub(crate) span: Option<(Time, Time)>,
    pub(crate) events: u64,
    /// The highest sequence number; those of a whole log are 1, 2, 3 and so on.
    pub(crate) last_sequence: u64,
    /// Events of which something is not in the picture.
    pub(crate) left_out: u64,
    pub(crate) calls: BTreeMap<CallId, Call>,
    pub(crate) executions: BTreeMap<ExecutionId, Execution>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) waits: BTreeMap<Wait, Vec<Edge>>,
    pub(crate) effects: BTreeMap<(NodeId, u32), Outgoing>,
    pub(crate) squashed: BTreeMap<Time, Squashed>,
    pub(crate) moments: Vec<Moment>,
    pub(crate) totals: Totals,
    pub(crate) end: Option<End>,
    /// What was last proposed for a step, or decided, and is not known to be executed.
    expected: BTreeMap<StepIndex, Vec<Said>>,
    last_proposed: Option<NodeId>,
    things: usize,
}

/// How the session began.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) task: String,
    pub(crate) policy: String,
    pub(crate) depth: u32,
}

/// An action, as it can be shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) tool: String,
    pub(crate) text: String,
}

/// A call of an agent.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) role: Role,
    pub(crate) step: StepIndex,
    pub(crate) prefix: Option<PrefixId>,
    pub(crate) asked: Option<Time>,
    pub(crate) answered: Option<Time>,
    pub(crate) said: Said,
    pub(crate) ended: Option<(Time, AskEnd)>,
    pub(crate) reason: String,
}

/// One launch of an action.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    pub(crate) node: NodeId,
    pub(crate) step: StepIndex,
    pub(crate) speculative: bool,
    pub(crate) started: Option<Time>,
    /// It returned, or it was not executed for a reason.
    pub(crate) returned: Option<Time>,
    pub(crate) reason: String,
    pub(crate) ended: Option<(Time, ExecutionEnd)>,
}

/// What is known of a node of the tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) said: Said,
    /// What the agents were asked on.
    pub(crate) prefix: Option<PrefixId>,
    /// What the verdict said of it, [`Glyph::Matched`] or [`Glyph::Corrected`].
    pub(crate) verdict: Option<Glyph>,
}

/// What the session, or a step of it, waits for a person with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    Claim(StepIndex),
    Review(StepIndex),
    Approval(ApprovalId),
    Question(NodeId),
    Pause,
    Stall,
}

/// A beginning or an end of a [`Wait`].
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) sequence: u64,
    pub(crate) at: Time,
    pub(crate) begins: bool,
    /// When it ends by itself.
    pub(crate) until: Option<Time>,
    pub(crate) about: String,
}

/// Something that an action sends beyond the workspace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) step: StepIndex,
    pub(crate) what: String,
    pub(crate) held: Option<Time>,
    pub(crate) sent: Option<Time>,
    pub(crate) ended: Option<(Time, EffectEnd)>,
}

/// Nodes that were squashed at one instant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Squashed {
    pub(crate) nodes: u32,
    pub(crate) lowest: StepIndex,
    pub(crate) reason: String,
}

/// Something that happened at an instant.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Time,
    pub(crate) glyph: Glyph,
    pub(crate) step: Option<StepIndex>,
    pub(crate) about: String,
}

/// How many there were.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) verified: u32,
    pub(crate) committed: u32,
    pub(crate) proposed: u32,
    pub(crate) matched: u32,
    pub(crate) corrected: u32,
    pub(crate) nodes_squashed: u32,
}

/// How the plan ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Ended { at: Time, reason: String },
    Interrupted { reason: String },
}

impl Run {
    pub(crate) fn add(&mut self, event: &Event) {
        let at = event.at;
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
        self.events += 1;
        self.last_sequence = self.last_sequence.max(event.sequence);
        if self.things >= THINGS_MAX {
            self.left_out += 1;
        } else {
            self.keep(at, event.sequence, &event.kind);
        }
        self.count(at, &event.kind);
    }

    /// Keeps what is drawn of an event; at most a few things, but for the candidates of a step.
    fn keep(&mut self, at: Time, sequence: u64, kind: &EventKind) {
        use EventKind as E;
        match kind {
            E::Opened {
                task,
                policy,
                depth,
                ..
            } => {
                self.opened = Some(Opened {
                    task: cut(task, TEXT_CHARS_MAX),
                    policy: cut(policy, TOOL_CHARS_MAX),
                    depth: *depth,
                });
            }
            E::Asked {
                call,
                role,
                step,
                prefix,
            } => {
                let call = self.call(*call, *role, *step);
                call.asked = Some(at);
                call.prefix = Some(*prefix);
            }
            E::Answered {
                call,
                role,
                step,
                action,
                others,
                ..
            } => {
                let call = self.call(*call, *role, *step);
                call.answered = Some(at);
                call.said = said(action);
                let candidates = std::iter::once(action).chain(others).map(said);
                self.expect(*step, candidates.take(CANDIDATES_MAX).collect());
            }
            E::CallEnded {
                call,
                role,
                step,
                end,
                reason,
            } => {
                let call = self.call(*call, *role, *step);
                call.ended = Some((at, *end));
                call.reason = text(reason);
            }
            E::ExecutionStarted {
                execution,
                node,
                step,
                speculative,
            } => {
                self.name(*node, *step);
                let execution = self.execution(*execution, *node, *step);
                execution.started = Some(at);
                execution.speculative = *speculative;
            }
            E::ExecutionFinished {
                execution,
                node,
                step,
                ..
            } => {
                self.execution(*execution, *node, *step).returned = Some(at);
                // What the plan asked its owner was answered.
                self.edge(Wait::Question(*node), sequence, at, None);
            }
            E::NotExecuted {
                execution,
                node,
                step,
                reason,
            } => {
                let execution = self.execution(*execution, *node, *step);
                execution.returned = Some(at);
                execution.reason = text(reason);
            }
            E::ExecutionEnded {
                execution,
                node,
                step,
                end,
            } => {
                self.execution(*execution, *node, *step).ended = Some((at, *end));
                self.edge(Wait::Question(*node), sequence, at, None);
            }
            E::Squashed { step, reason, .. } => {
                self.things += usize::from(!self.squashed.contains_key(&at));
                let squashed = self.squashed.entry(at).or_insert_with(|| Squashed {
                    nodes: 0,
                    lowest: *step,
                    reason: text(reason),
                });
                squashed.nodes = squashed.nodes.saturating_add(1);
                squashed.lowest = squashed.lowest.min(*step);
            }
            E::Proposed {
                step,
                node,
                prefix,
                action,
                siblings,
            } => {
                self.propose(*node, *prefix, action);
                for sibling in siblings.iter().take(CANDIDATES_MAX) {
                    self.propose(sibling.node, *prefix, &sibling.action);
                }
                if self.last_proposed != Some(*node) {
                    self.moment(at, Glyph::Proposed, *step, &action.to_string());
                }
            }
            E::Answer {
                step,
                node,
                action,
                matched,
                corrects,
                ..
            } => {
                self.node(*node).said = said(action);
                let glyph = match (matched, corrects) {
                    (true, _) => Glyph::Matched,
                    (false, Some(_)) => Glyph::Corrected,
                    (false, None) => Glyph::Uncontested,
                };
                if *matched {
                    self.node(*node).verdict = Some(Glyph::Matched);
                }
                if let Some(corrected) = corrects {
                    self.node(*corrected).verdict = Some(Glyph::Corrected);
                }
                self.moment(at, glyph, *step, &action.to_string());
            }
            E::Decided {
                step,
                node,
                source,
                action,
            } => {
                self.node(*node).said = said(action);
                if *source == Source::User {
                    self.edge(Wait::Claim(*step), sequence, at, None);
                    self.moment(at, Glyph::Decided, *step, &action.to_string());
                }
            }
            E::ReviewOpened { step, until, .. } => {
                let about = format!("review of step {step}");
                self.edge_until(Wait::Review(*step), sequence, at, *until, about);
            }
            E::Claimed { step, until } => {
                let about = format!("claim of step {step}");
                self.edge_until(Wait::Claim(*step), sequence, at, *until, about);
            }
            E::Unclaimed { step, .. } => self.edge(Wait::Claim(*step), sequence, at, None),
            E::Question {
                step,
                node,
                question,
            } => {
                let about = format!("step {step} asks: {}", text(question));
                self.edge(Wait::Question(*node), sequence, at, Some(about));
            }
            E::ApprovalRequested {
                step,
                approval,
                what,
                reason,
                ..
            } => {
                let (what, reason) = (text(what), text(reason));
                let about = format!("step {step} waits for approval: {what} ({reason})");
                self.edge(Wait::Approval(*approval), sequence, at, Some(about));
            }
            E::ApprovalEnded {
                step,
                approval,
                end,
                ..
            } => {
                self.edge(Wait::Approval(*approval), sequence, at, None);
                if matches!(end, ApprovalEnd::Refused | ApprovalEnd::TimedOut) {
                    self.moment(at, Glyph::Refused, *step, "approval refused");
                }
            }
            E::EffectHeld {
                step,
                node,
                effect,
                what,
                ..
            } => self.outgoing(*node, *effect, *step, what).held = Some(at),
            E::EffectSent {
                step,
                node,
                effect,
                what,
            } => self.outgoing(*node, *effect, *step, what).sent = Some(at),
            E::EffectEnded {
                step,
                node,
                effect,
                what,
                end,
                ..
            } => self.outgoing(*node, *effect, *step, what).ended = Some((at, *end)),
            E::Verified { step, .. } => {
                self.edge(Wait::Review(*step), sequence, at, None);
                self.moment(at, Glyph::Verified, *step, "");
            }
            E::Committed { step, commit, .. } => {
                self.moment(at, Glyph::Committed, *step, &commit.to_string());
            }
            E::Suggested { step, text } => {
                self.moment(at, Glyph::Suggested, *step, text);
            }
            E::Backtracked { step, .. } => {
                self.edge(Wait::Review(*step), sequence, at, None);
                self.moment(at, Glyph::Backtracked, *step, "");
            }
            E::Undone(undone) => {
                let about = format!("{} left alone", undone.left.len());
                self.moment(at, Glyph::Undone, undone.step, &about);
            }
            E::Stalled { step, reason, .. } => {
                let about = format!("step {step} stalled: {}", text(reason));
                self.edge(Wait::Stall, sequence, at, Some(about));
            }
            E::Continued { .. } => self.edge(Wait::Stall, sequence, at, None),
            E::Paused => self.edge(Wait::Pause, sequence, at, Some("paused".to_owned())),
            E::Resumed => self.edge(Wait::Pause, sequence, at, None),
            E::Refused { what, reason } => {
                let about = format!("{}: {}", text(what), text(reason));
                self.push(at, Glyph::Refused, None, about);
            }
            E::Ended { reason, .. } => {
                self.push(at, Glyph::End, None, text(reason));
            }
            E::Interrupted { reason } => {
                self.push(at, Glyph::End, None, text(reason));
            }
            E::Finished { outcome, .. } => {
                self.push(at, Glyph::End, None, text(outcome));
            }
            E::AgentAttached { .. }
            | E::AgentDetached { .. }
            | E::AgentLost { .. }
            | E::Predicted { .. }
            | E::PolicyDecided { .. }
            | E::Observed { .. }
            | E::Waiting { .. }
            | E::Kept { .. } => {}
        }
    }

    /// Counts as `forerun session show` does.
    fn count(&mut self, at: Time, kind: &EventKind) {
        let add = |sum: &mut u32| *sum = sum.saturating_add(1);
        let totals = &mut self.totals;
        match kind {
            // Said again, with others that joined it, it is the same one.
            EventKind::Proposed { node, .. } => {
                let before = self.last_proposed.replace(*node);
                let is_new = u32::from(before != Some(*node));
                totals.proposed = totals.proposed.saturating_add(is_new);
            }
            EventKind::Answer {
                matched, corrects, ..
            } => {
                if *matched {
                    add(&mut totals.matched);
                }
                if corrects.is_some() {
                    add(&mut totals.corrected);
                }
            }
            EventKind::Squashed { .. } => add(&mut totals.nodes_squashed),
            EventKind::Verified { .. } => add(&mut totals.verified),
            EventKind::Committed { .. } => add(&mut totals.committed),
            EventKind::Backtracked { step, .. } => totals.verified = step.0,
            EventKind::Undone(undone) if self.end.is_none() && !undone.redo => {
                totals.committed = totals.committed.saturating_sub(1);
            }
            EventKind::Ended { reason, .. } => {
                let reason = text(reason);
                self.end = Some(End::Ended { at, reason });
            }
            EventKind::Interrupted { reason } => {
                let reason = text(reason);
                self.end.get_or_insert(End::Interrupted { reason });
            }
            _ => {}
        }
    }

    fn call(&mut self, id: CallId, role: Role, step: StepIndex) -> &mut Call {
        self.things += usize::from(!self.calls.contains_key(&id));
        self.calls.entry(id).or_insert_with(|| Call {
            role,
            step,
            prefix: None,
            asked: None,
            answered: None,
            said: Said::default(),
            ended: None,
            reason: String::new(),
        })
    }

    fn execution(&mut self, id: ExecutionId, node: NodeId, step: StepIndex) -> &mut Execution {
        self.things += usize::from(!self.executions.contains_key(&id));
        self.executions.entry(id).or_insert_with(|| Execution {
            node,
            step,
            speculative: false,
            started: None,
            returned: None,
            reason: String::new(),
            ended: None,
        })
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        self.things += usize::from(!self.nodes.contains_key(&id));
        self.nodes.entry(id).or_default()
    }

    /// What a step's next nodes do, first node first: the log says what a node does only when
    /// it is shown, and most of what is squashed never is.
    fn expect(&mut self, step: StepIndex, candidates: Vec<Said>) {
        self.things += usize::from(!self.expected.contains_key(&step));
        self.expected.insert(step, candidates);
    }

    /// Gives a node that is executed, and was not heard of before, what is expected of its step.
    fn name(&mut self, node: NodeId, step: StepIndex) {
        if self.nodes.contains_key(&node) {
            return;
        }
        let next = self.expected.get_mut(&step).filter(|next| !next.is_empty());
        if let Some(said) = next.map(|next| next.remove(0)) {
            self.node(node).said = said;
        }
    }

    fn propose(&mut self, node: NodeId, prefix: PrefixId, action: &Action) {
        let node = self.node(node);
        node.prefix = Some(prefix);
        node.said = said(action);
    }

    fn outgoing(
        &mut self,
        node: NodeId,
        effect: u32,
        step: StepIndex,
        what: &str,
    ) -> &mut Outgoing {
        let id = (node, effect);
        self.things += usize::from(!self.effects.contains_key(&id));
        self.effects.entry(id).or_insert_with(|| Outgoing {
            step,
            what: text(what),
            ..Outgoing::default()
        })
    }

    fn moment(&mut self, at: Time, glyph: Glyph, step: StepIndex, about: &str) {
        self.push(at, glyph, Some(step), text(about));
    }

    fn push(&mut self, at: Time, glyph: Glyph, step: Option<StepIndex>, about: String) {
        self.things += 1;
        self.moments.push(Moment {
            at,
            glyph,
            step,
            about,
        });
    }

    fn edge_until(&mut self, wait: Wait, sequence: u64, at: Time, until: Time, about: String) {
        self.put(wait, sequence, at, Some(until), Some(about));
    }

    /// The beginning of a wait, or its end if nothing is said about it.
    fn edge(&mut self, wait: Wait, sequence: u64, at: Time, about: Option<String>) {
        self.put(wait, sequence, at, None, about);
    }

    fn put(
        &mut self,
        wait: Wait,
        sequence: u64,
        at: Time,
        until: Option<Time>,
        about: Option<String>,
    ) {
        // The end of most questions, reviews and claims is the end of none.
        if about.is_none() && !self.waits.contains_key(&wait) {
            return;
        }
        self.things += 1;
        self.waits.entry(wait).or_default().push(Edge {
            sequence,
            at,
            begins: about.is_some(),
            until,
            about: about.unwrap_or_default(),
        });
    }
}

fn said(action: &Action) -> Said {
    Said {
        tool: cut(&action.tool, TOOL_CHARS_MAX),
        text: text(&action.to_string()),
    }
}

fn text(text: &str) -> String {
    cut(text, TEXT_CHARS_MAX)
}
