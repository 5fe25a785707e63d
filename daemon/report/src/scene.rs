//! What is drawn of a run: bars, each with a beginning and an end, and marks.

use crate::glyph::Glyph;
use crate::run::{Call, Edge, End, Execution, Outgoing, Run, Wait};
use forerun_types::{AskEnd, EffectEnd, ExecutionEnd, PrefixId, Role, Time};
use std::collections::BTreeMap;

/// The parts of the picture, from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Approximation,
    Target,
    Executions,
    /// What is shown of the steps, and what becomes of them.
    Steps,
    Effects,
    Person,
}

impl Lane {
    pub(crate) const ALL: [Lane; 6] = [
        Lane::Approximation,
        Lane::Target,
        Lane::Executions,
        Lane::Steps,
        Lane::Effects,
        Lane::Person,
    ];

    /// Its name, and what it is called at its side.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Lane::Approximation => ("approximation", "A proposes"),
            Lane::Target => ("target", "T decides"),
            Lane::Executions => ("executions", "executions"),
            Lane::Steps => ("steps", "steps"),
            Lane::Effects => ("effects", "effects"),
            Lane::Person => ("person", "person"),
        }
    }
}

/// What a bar looks like: how what it stands for ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Look {
    Used,
    Dropped,
    Failed,
    /// It has not ended, or the log does not say how.
    Open,
    /// A person is waited for.
    Wait,
}

impl Look {
    pub(crate) const ALL: [Look; 5] = [
        Look::Used,
        Look::Dropped,
        Look::Failed,
        Look::Open,
        Look::Wait,
    ];

    /// The class of its bars.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Look::Used => "used",
            Look::Dropped => "dropped",
            Look::Failed => "failed",
            Look::Open => "open",
            Look::Wait => "wait",
        }
    }

    /// What the legend says of it.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Look::Used => "used",
            Look::Dropped => "cancelled or dropped",
            Look::Failed => "failed",
            Look::Open => "end not in the log",
            Look::Wait => "waits for the person",
        }
    }
}

/// Something that took time.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub(crate) lane: Lane,
    pub(crate) from: Time,
    pub(crate) to: Time,
    /// Until when its result waited.
    pub(crate) tail: Option<Time>,
    pub(crate) look: Look,
    /// What stands in it where it fits, and in short.
    pub(crate) label: String,
    pub(crate) short: String,
    pub(crate) about: String,
    pub(crate) signs: Vec<(Time, Glyph)>,
}

/// Something that happened at an instant.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) lane: Lane,
    /// Of the rows of marks that its lane has.
    pub(crate) row: usize,
    pub(crate) at: Time,
    pub(crate) glyph: Glyph,
    pub(crate) label: String,
    pub(crate) about: String,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) first: Time,
    pub(crate) last: Time,
    /// By lane, then by beginning.
    pub(crate) bars: Vec<Bar>,
    /// By lane, then by time.
    pub(crate) marks: Vec<Mark>,
    /// Where the person went back: what follows is another generation of the plan.
    pub(crate) backtracks: Vec<Time>,
}

impl Scene {
    pub(crate) fn new(run: &Run) -> Scene {
        let (first, last) = run.span.unwrap_or_default();
        let scope = Scope { run, first, last };
        let verdicts = verdicts(run);
        let calls = run.calls.values().map(|call| scope.call(call, &verdicts));
        let executions = run.executions.values();
        let executions = executions.map(|execution| scope.execution(execution));
        let effects = run.effects.values().map(|effect| scope.effect(effect));
        let waits = run.waits.iter();
        let waits = waits.flat_map(|(wait, edges)| scope.waits(*wait, edges));
        let mut bars: Vec<Bar> = calls
            .chain(executions)
            .chain(effects)
            .chain(waits)
            .collect();
        bars.sort_by_key(|bar| (bar.lane, bar.from));
        let mut marks: Vec<Mark> = scope.moments().collect();
        marks.extend(scope.squashed());
        marks.sort_by_key(|mark| (mark.lane, mark.row, mark.at));
        let backtracks = run.moments.iter();
        let mut backtracks: Vec<Time> = backtracks
            .filter(|moment| moment.glyph == Glyph::Backtracked)
            .map(|moment| moment.at)
            .collect();
        backtracks.sort_unstable();
        backtracks.dedup();
        Scene {
            first,
            last,
            bars,
            marks,
            backtracks,
        }
    }
}

/// What the verdict said of what the approximation agent proposed on a prefix.
fn verdicts(run: &Run) -> BTreeMap<PrefixId, Glyph> {
    let mut verdicts = BTreeMap::new();
    for node in run.nodes.values() {
        let (Some(prefix), Some(verdict)) = (node.prefix, node.verdict) else {
            continue;
        };
        // Of several candidates one that matches is enough.
        let known = verdicts.entry(prefix).or_insert(verdict);
        if verdict == Glyph::Matched {
            *known = verdict;
        }
    }
    verdicts
}

/// A run, and the time that is drawn of it.
struct Scope<'a> {
    run: &'a Run,
    first: Time,
    last: Time,
}

impl Scope<'_> {
    fn call(&self, call: &Call, verdicts: &BTreeMap<PrefixId, Glyph>) -> Bar {
        let ended = call.ended.map(|(at, _)| at);
        let (from, to) = self.ordered(call.asked, call.answered.or(ended));
        let (lane, who) = match call.role {
            Role::Approximation => (Lane::Approximation, "A"),
            Role::Target => (Lane::Target, "T"),
        };
        let (look, how) = match call.ended {
            Some((_, AskEnd::Used)) => (Look::Used, "used"),
            Some((_, AskEnd::Dropped)) if call.answered.is_none() => (Look::Dropped, "cancelled"),
            Some((_, AskEnd::Dropped)) => (Look::Dropped, "dropped"),
            Some((_, AskEnd::Failed)) => (Look::Failed, "failed"),
            None => (Look::Open, "not ended"),
        };
        // On one prefix an agent may be asked more than once: after a failure, or when the
        // session goes back.
        let verdict = call.prefix.and_then(|prefix| verdicts.get(&prefix));
        let verdict = verdict.filter(|verdict| {
            let is_meant = match verdict {
                Glyph::Matched => look == Look::Used,
                _ => call.answered.is_some(),
            };
            is_meant && lane == Lane::Approximation
        });
        let reason = in_brackets(&call.reason);
        Bar {
            about: format!(
                "{who}({}) {how}{reason}, {}: {}",
                call.step,
                times(from, to),
                call.said.text
            ),
            lane,
            from,
            to,
            tail: None,
            look,
            label: labelled(call.step.0, &call.said.tool),
            short: call.step.to_string(),
            signs: verdict.map(|glyph| (to, *glyph)).into_iter().collect(),
        }
    }

    fn execution(&self, execution: &Execution) -> Bar {
        let ended = execution.ended.map(|(at, _)| at);
        let (from, to) = self.ordered(execution.started, execution.returned.or(ended));
        let tail = execution
            .returned
            .map(|_| ended.unwrap_or(self.last).max(to));
        let (look, how) = match execution.ended {
            Some((_, ExecutionEnd::Used)) => (Look::Used, "used"),
            Some((_, ExecutionEnd::Dropped)) => (Look::Dropped, "dropped"),
            Some((_, ExecutionEnd::Failed)) => (Look::Failed, "failed"),
            None => (Look::Open, "not ended"),
        };
        let node = self.run.nodes.get(&execution.node);
        let said = node.map(|node| &node.said);
        let (tool, text) = said.map_or(("", ""), |said| (said.tool.as_str(), said.text.as_str()));
        let when = match execution.speculative {
            true => "ahead of its verdict",
            false => "after its verdict",
        };
        let verdict = node.and_then(|node| node.verdict);
        Bar {
            about: format!(
                "step {} {when}, {how}{}, {}: {text}",
                execution.step,
                in_brackets(&execution.reason),
                times(from, to),
            ),
            lane: Lane::Executions,
            from,
            to,
            tail,
            look,
            label: labelled(execution.step.0, tool),
            short: execution.step.to_string(),
            signs: verdict
                .map(|glyph| (tail.unwrap_or(to), glyph))
                .into_iter()
                .collect(),
        }
    }

    fn effect(&self, effect: &Outgoing) -> Bar {
        let ended = effect.ended.map(|(at, _)| at);
        let (from, to) = self.ordered(effect.held.or(effect.sent).or(ended), ended);
        let (look, how) = match effect.ended {
            Some((_, EffectEnd::Answered)) => (Look::Used, "answered"),
            Some((_, EffectEnd::Replayed)) => (Look::Used, "was sent before, not again"),
            Some((_, EffectEnd::Refused)) => (Look::Dropped, "not sent"),
            Some((_, EffectEnd::Unknown)) => (Look::Failed, "sent, without an answer"),
            None => (Look::Open, "held"),
        };
        Bar {
            about: format!(
                "step {} {how}, {}: {}",
                effect.step,
                times(from, to),
                effect.what
            ),
            lane: Lane::Effects,
            from,
            to,
            tail: None,
            look,
            label: labelled(effect.step.0, &effect.what),
            short: effect.step.to_string(),
            signs: effect
                .sent
                .map(|at| (at, Glyph::Sent))
                .into_iter()
                .collect(),
        }
    }

    /// Each beginning ends with the next end or beginning in the log, or by itself.
    fn waits(&self, wait: Wait, edges: &[Edge]) -> Vec<Bar> {
        let mut edges: Vec<&Edge> = edges.iter().collect();
        edges.sort_by_key(|edge| edge.sequence);
        let begins = edges.iter().enumerate().filter(|(_, edge)| edge.begins);
        let bar = |(position, edge): (usize, &&Edge)| {
            let next = edges.get(position + 1).map(|next| next.at);
            let end = match (next, edge.until) {
                (Some(next), Some(until)) => Some(next.min(until)),
                (next, until) => next.or(until),
            };
            let (from, to) = self.ordered(Some(edge.at), end);
            let (look, label) = match wait {
                Wait::Claim(_) => (Look::Wait, "claim"),
                Wait::Review(_) => (Look::Wait, "review"),
                Wait::Approval(_) => (Look::Wait, "approval"),
                Wait::Question(_) => (Look::Wait, "question"),
                Wait::Pause => (Look::Wait, "paused"),
                Wait::Stall => (Look::Failed, "stalled"),
            };
            let short = match wait {
                Wait::Claim(step) | Wait::Review(step) => step.to_string(),
                _ => String::new(),
            };
            Bar {
                about: format!("{}, {}", edge.about, times(from, to)),
                lane: Lane::Person,
                from,
                to,
                tail: None,
                look,
                label: match short.as_str() {
                    "" => label.to_owned(),
                    step => format!("{label} {step}"),
                },
                short,
                signs: Vec::new(),
            }
        };
        begins.map(bar).collect()
    }

    fn moments(&self) -> impl Iterator<Item = Mark> {
        self.run.moments.iter().map(|moment| {
            let (lane, row) = match moment.glyph {
                Glyph::Proposed => (Lane::Steps, 0),
                Glyph::Matched | Glyph::Corrected | Glyph::Uncontested => (Lane::Steps, 1),
                Glyph::Suggested | Glyph::Decided | Glyph::Backtracked | Glyph::Refused => {
                    (Lane::Person, 0)
                }
                _ => (Lane::Steps, 2),
            };
            let step = moment.step.map(|step| step.to_string()).unwrap_or_default();
            let of = match moment.step {
                Some(step) => format!("step {step} "),
                None => String::new(),
            };
            let about = match moment.about.as_str() {
                "" => String::new(),
                about => format!(": {about}"),
            };
            Mark {
                lane,
                row,
                at: moment.at,
                glyph: moment.glyph,
                label: step,
                about: format!(
                    "{of}{}, {}{about}",
                    moment.glyph.meaning(),
                    seconds(moment.at)
                ),
            }
        })
    }

    fn squashed(&self) -> impl Iterator<Item = Mark> {
        self.run.squashed.iter().map(|(at, squashed)| {
            let nodes = match squashed.nodes {
                1 => "1 node".to_owned(),
                nodes => format!("{nodes} nodes"),
            };
            Mark {
                lane: Lane::Steps,
                row: 2,
                at: *at,
                glyph: Glyph::Squashed,
                label: String::new(),
                about: format!(
                    "{nodes} squashed from step {} on, {}: {}",
                    squashed.lowest,
                    seconds(*at),
                    squashed.reason
                ),
            }
        })
    }

    /// A beginning and an end within what is drawn, in this order. A beginning that the log
    /// does not have is before it, an end that it does not have is after it.
    fn ordered(&self, from: Option<Time>, to: Option<Time>) -> (Time, Time) {
        let inside = |at: Time| at.clamp(self.first, self.last.max(self.first));
        let from = inside(from.unwrap_or(self.first));
        (from, inside(to.unwrap_or(self.last)).max(from))
    }
}

/// A step and a name.
fn labelled(step: u32, name: &str) -> String {
    match name {
        "" => step.to_string(),
        name => format!("{step} {name}"),
    }
}

fn in_brackets(reason: &str) -> String {
    match reason {
        "" => String::new(),
        reason => format!(" ({reason})"),
    }
}

/// An instant, for people.
fn seconds(at: Time) -> String {
    format!("{:.2} s", at.as_secs_f64())
}

fn times(from: Time, to: Time) -> String {
    let took = (to - from).as_secs_f64();
    format!("{:.3} s from {}", took, seconds(from))
}

/// What became of the plan, and when.
pub(crate) fn outcome(run: &Run) -> (Time, String) {
    let (_, last) = run.span.unwrap_or_default();
    match &run.end {
        Some(End::Ended { at, reason }) => (*at, format!("ended: {reason}")),
        Some(End::Interrupted { reason }) => (last, format!("interrupted: {reason}")),
        None => (last, "has not ended".to_owned()),
    }
}
