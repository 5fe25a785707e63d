//! Which line the presented stream goes on with (Algorithm 2 of Interactive Speculative
//! Planning, as planner.md corrects it).
//!
//! shown(t_i) = max(end(T_i), shown(a_i) if an a_i exists, shown(t_(i-1))), and a_i is shown
//! when it is there, t_(i-1) was shown, and its parent is the node kept for step i-1. So
//! the order is a_0 t_0 a_1 t_1 …, and nothing beyond the first mismatch is ever shown.

use crate::Presented;
use crate::tree::{Meaning, Shown, Slot};
use forerun_types::{NodeId, Source};

/// The next line of the tree, and what is shown of its step once it was said. `None`
/// when nothing more can be shown now. That a step waits is said only when everything else
/// `is_done`: before, it may be about to be decided, or A about to be asked again.
pub(crate) fn next_line(slots: &[Slot], is_done: bool) -> Option<(usize, Presented, Shown)> {
    for (position, slot) in slots.iter().enumerate() {
        let next = next_of_step(slot);
        let next = next.or_else(|| waiting(slot, slot.shown).filter(|_| is_done));
        if let Some((line, shown)) = next {
            return Some((position, line, shown));
        }
        slot.decided?; // nothing is shown below an undecided step
    }
    None
}

fn next_of_step(slot: &Slot) -> Option<(Presented, Shown)> {
    let shown = slot.shown;
    proposal(slot, shown)
        .or_else(|| observation(slot, shown))
        .or_else(|| answer(slot, shown))
}

/// a_i; said again if candidates joined it.
fn proposal(slot: &Slot, shown: Shown) -> Option<(Presented, Shown)> {
    let (proposal, siblings) = slot.proposals.split_first()?;
    if shown.proposals == slot.proposals.len() {
        return None;
    }
    let line = Presented::Proposed {
        step: slot.step,
        node: proposal.node,
        prefix: slot.prefix,
        action: proposal.candidate.action,
        siblings: (siblings.iter())
            .map(|sibling| (sibling.node, sibling.candidate.action))
            .collect(),
    };
    let shown = Shown {
        proposals: slot.proposals.len(),
        waiting: false,
        line: Some(proposal.node),
        ..shown
    };
    Some((line, shown))
}

/// What the node that is on the screen returned.
fn observation(slot: &Slot, shown: Shown) -> Option<(Presented, Shown)> {
    let node = slot.node.as_ref().filter(|node| {
        node.next_prefix().is_some()
            && shown.line == Some(node.id)
            && shown.observed != Some(node.id)
    })?;
    let line = Presented::Observed {
        step: slot.step,
        node: node.id,
    };
    let shown = Shown {
        observed: Some(node.id),
        ..shown
    };
    Some((line, shown))
}

/// t_i or u_i: the decision, or T's answer during a claim.
fn answer(slot: &Slot, shown: Shown) -> Option<(Presented, Shown)> {
    let node = slot.node.as_ref()?;
    let (id, candidate, source, matched) = match slot.decided {
        Some(source) => (node.id, node.candidate, source, node.source != source),
        None => {
            let answer = slot.answer.filter(|_| slot.claim.is_some())?;
            let meaning = slot.matching(&answer);
            let mut candidates = slot.candidates().filter(|_| slot.rival.is_none());
            let matching = candidates.find(|of| meaning == Meaning::Candidate(of.id));
            let matched = matching.is_some_and(|of| of.source == Source::Approximation);
            let stands = slot.rival.as_deref().or(matching).unwrap_or(node);
            let action = matching.map_or(answer, |of| of.candidate.meant_by(answer));
            (stands.id, action, Source::Target, matched)
        }
    };
    if shown.answer == Some((id, source)) {
        return None;
    }
    let line = Presented::Answer {
        step: slot.step,
        node: id,
        source,
        action: candidate.action,
        matched,
        corrects: shown.line.filter(|_| !is_on_line(slot, shown, id)),
    };
    let shown = Shown {
        answer: Some((id, source)),
        line: Some(id),
        ..shown
    };
    Some((line, shown))
}

/// Whether the last line of the step was about this node: that of A is about all candidates.
fn is_on_line(slot: &Slot, shown: Shown, node: NodeId) -> bool {
    let proposed = |id: NodeId| slot.proposals.iter().any(|of| of.node == id);
    shown.line == Some(node) || (shown.line.is_some_and(proposed) && proposed(node))
}

/// l_i runs: a_i is shown, or there will be none, and T thinks.
fn waiting(slot: &Slot, shown: Shown) -> Option<(Presented, Shown)> {
    let nothing_comes = !slot.approximation.call.in_flight();
    let awaited = slot.target.call.in_flight() && slot.user.is_none() && slot.claim.is_none();
    if shown.waiting || !awaited || !nothing_comes {
        return None;
    }
    let line = Presented::Waiting {
        step: slot.step,
        prefix: slot.prefix,
    };
    let shown = Shown {
        waiting: true,
        ..shown
    };
    Some((line, shown))
}
