//! Actions that are other ways of saying the same: how much alike they are, and what they do.
//!
//! `tool x~3` is the third way of saying `tool x`. Whatever a matcher may look at, there are ways
//! that differ in it, and ways that differ in nothing else.

use super::{Candidate, draw};
use forerun_types::{ActionKey, ActionKind, Digest, Matcher};

/// How many ways there are.
pub(crate) const WAYS: u64 = 8;
/// Where the way is in an action's digest.
const PLACE: usize = 8;

/// The way that a text is written in, and what it says.
pub(super) fn parse(text: &str) -> (&str, u8) {
    match text.split_once('~') {
        None => (text, 0),
        Some((what, way)) => (what, way.parse().expect("a way is a number")),
    }
}

pub(super) fn key(what: Digest, way: u8) -> ActionKey {
    let mut digest = what;
    digest.0[PLACE] = way;
    ActionKey(digest)
}

/// Another way of saying it; there is one of the end and of a question only.
pub(crate) fn reworded(candidate: Candidate, way: u64) -> Candidate {
    if candidate.kind != ActionKind::Tool {
        return candidate;
    }
    let way = u8::try_from(way % WAYS).expect("there are few");
    Candidate {
        action: key(what(&candidate.action).0, way),
        ..candidate
    }
}

fn way(action: &ActionKey) -> u8 {
    action.0.0[PLACE]
}

/// What it says, in whatever way.
pub(crate) fn what(action: &ActionKey) -> ActionKey {
    key(action.0, 0)
}

/// What is seen when it is executed: of the ways 0 to 3, and of 4 to 7, the last one sees
/// something else than the others.
pub(crate) fn seen(action: &ActionKey) -> ActionKey {
    key(action.0, u8::from(way(action) % 4 == 3))
}

/// What it changes: of the ways 0 to 3, and of 4 to 7, the third one changes something else.
pub(crate) fn changed(action: &ActionKey) -> ActionKey {
    key(action.0, u8::from(way(action) % 4 == 2))
}

/// Whether the letters are much alike: those of the ways 0 to 3 are, and those of 4 to 7.
pub(crate) fn is_near(one: &ActionKey, other: &ActionKey) -> bool {
    one != other && what(one) == what(other) && way(one) / 4 == way(other) / 4
}

/// Whether a judge says that it is the same.
pub(crate) fn is_judged_same(seed: u64, one: &ActionKey, other: &ActionKey) -> bool {
    let pair = (one.min(other), one.max(other));
    let drawn = draw(seed, ("judge", pair)) % 24;
    if what(one) == what(other) {
        drawn < 16
    } else {
        drawn < 3
    }
}

/// Whether a matcher may take an action for the verdict.
pub(crate) fn may_stand_for(
    matcher: Matcher,
    seed: u64,
    action: &ActionKey,
    verdict: &ActionKey,
) -> bool {
    let lossy = match matcher {
        Matcher::Exact => false,
        Matcher::Fuzzy { .. } => is_near(action, verdict),
        Matcher::Effect => {
            let does = |of| (what(of), seen(of), changed(of));
            does(action) == does(verdict)
        }
        Matcher::Judge { .. } => is_judged_same(seed, action, verdict),
    };
    action == verdict || lossy
}
