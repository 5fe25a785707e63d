//! The order of a commit's operations, and which moves need a slot. Pure.
//!
//! What is moved goes straight from one path to the other wherever that is possible: in a
//! slot, somebody else's object would be where nobody looks for it, and, with the slots in
//! the workspace, where `git clean -fdx` removes it.
//!
//! - Removals have paths of the version before: what is in a directory is removed or moved
//!   out before the directory is.
//! - Placements have paths of the version after: a directory is there before what is
//!   placed in it.
//! - Nothing is placed where something is still to be removed.
//!
//! A move is a removal and a placement in one. Where moves wait for each other in a
//! circle, and one of them leads out of a directory that moves and back into it, that one
//! is done after its directory's, from where that brings it. Otherwise one of them is taken
//! apart: what it moves waits in a slot.

use crate::name;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// One step, by the numbers of what is removed and placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a slot, or away.
    Remove(usize),
    /// What is placed there comes from a slot.
    Place(usize),
    /// Straight from one path to the other.
    Move {
        removed: usize,
        placed: usize,
        /// The move of the directory that it was in, if that was done before.
        carrier: Option<Carrier>,
    },
}

/// A directory that was moved with something in it that is to be moved on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carrier {
    pub(super) removed: usize,
    pub(super) placed: usize,
}

impl Carrier {
    /// Where it brings what was at `path`: `from` and `to` are its own paths.
    pub(super) fn brings(path: &str, from: &str, to: &str) -> Option<String> {
        let rest = path.strip_prefix(from)?.strip_prefix('/')?;
        Some(name::join(to, rest))
    }
}

/// Brings everything that is removed and placed into an order in which it can be done:
/// removals first where nothing speaks against it, and in the order in which they come.
/// `moves` pairs those that are one object.
pub(super) fn order(removed: &[&str], placed: &[&str], moves: &[(usize, usize)]) -> Vec<Step> {
    let mut order = Order::new(removed, placed, moves);
    loop {
        while let Some(Reverse(node)) = order.ready.pop() {
            order.take(node);
        }
        let Some(node) = order.circle() else {
            return order.steps;
        };
        order.take_apart(node);
    }
}

/// Removals and placements are nodes, in one row; the two of a move are done together.
struct Order<'a> {
    removals: usize,
    removed: &'a [&'a str],
    placed: &'a [&'a str],
    at_removed: HashMap<&'a str, usize>,
    at_placed: HashMap<&'a str, usize>,
    /// By their placement: removals that are done as far as others wait for them, and what
    /// carries them.
    carried: HashMap<usize, (usize, Carrier)>,
    /// The other node of a move.
    other: Vec<Option<usize>>,
    /// What has to be done before each; what is done is dropped from the end.
    needs: Vec<Vec<usize>>,
    /// How much of that is not done.
    waits: Vec<usize>,
    /// The other way round.
    frees: Vec<Vec<usize>>,
    done: Vec<bool>,
    ready: BinaryHeap<Reverse<usize>>,
    /// Nodes of which each waits for the next, where we look for a circle.
    path: Vec<usize>,
    on_path: HashSet<usize>,
    /// All nodes before this one are done.
    first: usize,
    steps: Vec<Step>,
}

impl<'a> Order<'a> {
    fn new(removed: &'a [&'a str], placed: &'a [&'a str], moves: &[(usize, usize)]) -> Order<'a> {
        let removals = removed.len();
        let count = removals + placed.len();
        let at_removed: HashMap<_, _> = removed.iter().copied().zip(0..).collect();
        let at_placed: HashMap<_, _> = placed.iter().copied().zip(removals..).collect();
        let mut needs = vec![Vec::new(); count];
        for (node, path) in removed.iter().enumerate() {
            if let Some(directory) = above(&at_removed, path) {
                needs[directory].push(node);
            }
        }
        for (node, path) in (removals..).zip(placed) {
            needs[node].extend(at_removed.get(path));
            needs[node].extend(above(&at_placed, path));
        }
        let mut frees = vec![Vec::new(); count];
        for (node, needs) in needs.iter().enumerate() {
            for needed in needs {
                frees[*needed].push(node);
            }
        }
        let mut other = vec![None; count];
        for (removed, placed) in moves {
            other[*removed] = Some(removals + placed);
            other[removals + placed] = Some(*removed);
        }
        let mut order = Order {
            removals,
            removed,
            placed,
            at_removed,
            at_placed,
            carried: HashMap::new(),
            other,
            waits: needs.iter().map(Vec::len).collect(),
            needs,
            frees,
            done: vec![false; count],
            ready: BinaryHeap::new(),
            path: Vec::new(),
            on_path: HashSet::new(),
            first: 0,
            steps: Vec::with_capacity(count),
        };
        for node in 0..count {
            // The two nodes of a move are one.
            if order.of_move(node) == node {
                order.look_at(node);
            }
        }
        order
    }

    /// The node that stands for a move: its removal.
    fn of_move(&self, node: usize) -> usize {
        self.other[node].map_or(node, |other| node.min(other))
    }

    /// A node that waits for nothing can be done.
    fn look_at(&mut self, node: usize) {
        let waits = |node: usize| self.waits[node] > 0;
        if !waits(node) && !self.other[node].is_some_and(waits) {
            self.ready.push(Reverse(self.of_move(node)));
        }
    }

    fn take(&mut self, node: usize) {
        self.steps
            .push(match (self.other[node], self.carried.get(&node)) {
                (Some(other), _) => Step::Move {
                    removed: node,
                    placed: other - self.removals,
                    carrier: None,
                },
                (None, Some((removed, carrier))) => Step::Move {
                    removed: *removed,
                    placed: node - self.removals,
                    carrier: Some(*carrier),
                },
                (None, None) if node < self.removals => Step::Remove(node),
                (None, None) => Step::Place(node - self.removals),
            });
        self.finish(node);
        if let Some(other) = self.other[node] {
            self.finish(other);
        }
    }

    fn finish(&mut self, node: usize) {
        self.done[node] = true;
        for freed in std::mem::take(&mut self.frees[node]) {
            self.waits[freed] -= 1;
            if self.waits[freed] == 0 {
                self.look_at(freed);
            }
        }
    }

    /// Does the removal of a move that waits for its place alone, or lets its directory
    /// carry it.
    fn take_apart(&mut self, node: usize) {
        let carrier = self.carrier(node);
        let Some(placed) = self.other[node].take() else {
            return self.take(node);
        };
        self.other[placed] = None;
        match carrier {
            Some(carrier) => {
                self.carried.insert(placed, (node, carrier));
                // It leaves its path when the directory does.
                if let Some(next) = self.at_placed.get(self.removed[node]).copied() {
                    self.needs[next].push(carrier.removed);
                    self.frees[carrier.removed].push(next);
                    self.waits[next] += 1;
                }
                // Its place waits for the directory's already: it is below that.
                self.finish(node);
            }
            None => self.take(node),
        }
    }

    /// What carries a removal to where it can be moved on: its directory is moved, it goes
    /// to a place below that, and nothing is placed where it is meanwhile.
    fn carrier(&self, node: usize) -> Option<Carrier> {
        let path = self.removed[node];
        let removed = above(&self.at_removed, path)?;
        let placed = self.other[removed]? - self.removals;
        let goes_to = self.placed[self.other[node]? - self.removals];
        let to = self.placed[placed];
        let meanwhile = Carrier::brings(path, self.removed[removed], to)?;
        let carries = name::is_below(goes_to, to) && !self.at_placed.contains_key(&*meanwhile);
        carries.then_some(Carrier { removed, placed })
    }

    /// A move to be taken apart, of a circle of nodes that wait for each other; `None` if
    /// everything is done.
    fn circle(&mut self) -> Option<usize> {
        loop {
            while let Some(last) = self.path.last()
                && self.done[*last]
            {
                self.leave();
            }
            let next = match self.path.last() {
                Some(last) => self.waits_for(*last),
                None => {
                    let left = |node: &usize| !self.done[*node];
                    self.first = (self.first..self.done.len()).find(left)?;
                    Some(self.first)
                }
            };
            // What is not done and not ready waits for something.
            let next = self.of_move(next?);
            if self.on_path.insert(next) {
                self.path.push(next);
                continue;
            }
            // Removals wait for those below, placements for those above and for removals: a
            // circle has a move in it that leads back, from a removal to a placement.
            while let Some(last) = self.path.last().copied() {
                self.leave();
                if self.other[last].is_some() && self.waits[last] == 0 {
                    return Some(last);
                }
            }
        }
    }

    fn leave(&mut self) {
        if let Some(last) = self.path.pop() {
            self.on_path.remove(&last);
        }
    }

    /// Something that has to be done before a node: for a move, before its removal first.
    fn waits_for(&mut self, node: usize) -> Option<usize> {
        for node in [Some(node), self.other[node]].into_iter().flatten() {
            while let Some(needed) = self.needs[node].last().copied() {
                if !self.done[needed] {
                    return Some(needed);
                }
                self.needs[node].pop();
            }
        }
        None
    }
}

/// The nearest node above a path.
fn above(nodes: &HashMap<&str, usize>, path: &str) -> Option<usize> {
    name::above(path)
        .skip(1)
        .find_map(|path| nodes.get(path).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Removals and placements by their paths, moves as `from>to`, in the order in which
    /// they are to be done. All that is in one of them is given, as of a delta.
    fn ordered(removed: &[&str], placed: &[&str], moves: &[(&str, &str)]) -> Vec<String> {
        let mut removed: Vec<_> = removed.to_vec();
        removed.extend(moves.iter().map(|(from, _)| from));
        removed.sort_by(|a, b| name::order(b, a));
        let mut placed: Vec<_> = placed.to_vec();
        placed.extend(moves.iter().map(|(_, to)| to));
        placed.sort_by(|a, b| name::order(a, b));
        let number = |paths: &[&str], path: &str| {
            let found = paths.iter().position(|it| *it == path);
            found.expect("is in it")
        };
        let pairs: Vec<_> = moves
            .iter()
            .map(|(from, to)| (number(&removed, from), number(&placed, to)))
            .collect();
        let steps = order(&removed, &placed, &pairs);
        let text = |step: &Step| match *step {
            Step::Remove(node) => format!("-{}", removed[node]),
            Step::Place(node) => format!("+{}", placed[node]),
            Step::Move {
                removed: from,
                placed: to,
                carrier,
            } => {
                let by = |by: Carrier| {
                    Carrier::brings(removed[from], removed[by.removed], placed[by.placed])
                };
                let from = carrier.map_or(Some(removed[from].to_owned()), by);
                format!("{}>{}", from.expect("is below it"), placed[to])
            }
        };
        steps.iter().map(text).collect()
    }

    #[test]
    fn moves_are_done_when_their_place_is_free_and_what_leads_to_it_is_there() {
        let chain = [("a", "b"), ("b", "c"), ("c", "0")];
        assert_eq!(ordered(&[], &[], &chain), ["c>0", "b>c", "a>b"]);
        let over = ordered(&["b"], &[], &[("a", "b")]);
        assert_eq!(over, ["-b", "a>b"]);
        let out = ordered(&["dir"], &["new"], &[("dir/f", "new/f")]);
        assert_eq!(out, ["+new", "dir/f>new/f", "-dir"]);
        let nested = ordered(&[], &[], &[("d", "e/d"), ("d/s", "s"), ("x", "e")]);
        assert_eq!(nested, ["x>e", "d/s>s", "d>e/d"]);
        let inside_out = ordered(&[], &[], &[("t", "x/t"), ("t/x", "x")]);
        assert_eq!(inside_out, ["t/x>x", "t>x/t"]);
    }

    #[test]
    fn one_move_of_a_circle_is_taken_apart_and_none_beside_it() {
        let swap = [("a", "b"), ("b", "a"), ("c", "a/c"), ("b/d", "d")];
        let swapped = ordered(&[], &[], &swap);
        assert_eq!(swapped, ["b/d>d", "-a", "b>a", "c>a/c", "+b"]);
        let up = ordered(&["tree"], &[], &[("tree/x", "tree")]);
        assert_eq!(up, ["-tree/x", "-tree", "+tree"]);
        let down = ordered(&[], &["d"], &[("d", "d/d")]);
        assert_eq!(down, ["-d", "+d", "+d/d"]);
    }

    /// What is renamed in a directory that is renamed never waits in a slot.
    #[test]
    fn what_is_moved_in_a_directory_that_moves_is_carried_by_it() {
        let inner = ordered(&[], &[], &[("d", "e"), ("d/f", "e/g"), ("d/h", "e/i")]);
        assert_eq!(inner, ["d>e", "e/f>e/g", "e/h>e/i"]);
        let deep = ordered(&[], &[], &[("d", "e"), ("d/s", "e/t"), ("d/s/f", "e/t/g")]);
        assert_eq!(deep, ["d>e", "e/s>e/t", "e/t/f>e/t/g"]);
        let up = ordered(&[], &["e/n"], &[("d", "e"), ("d/s/f", "e/n/f")]);
        assert_eq!(up, ["d>e", "+e/n", "e/s/f>e/n/f"]);
        // Something else takes its place there: a slot it is.
        let taken = ordered(&[], &["e/f"], &[("d", "e"), ("d/f", "e/g")]);
        assert_eq!(taken, ["-d/f", "d>e", "+e/f", "+e/g"]);
    }

    /// Too long for whoever would recurse, or look at everything again and again.
    #[test]
    fn a_long_chain_is_put_in_order_at_once() {
        let names: Vec<_> = (0..=100_000).map(|index| format!("{index:06}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let count = names.len() - 1;
        let removed: Vec<_> = names[..count].iter().rev().copied().collect();
        let forth: Vec<_> = (0..count).map(|index| (count - 1 - index, index)).collect();
        let forwards = order(&removed, &names[1..], &forth);
        assert!(forwards.iter().all(|it| matches!(it, Step::Move { .. })));
        // All of them round, in one circle, and two by two in many.
        let round: Vec<_> = (0..count)
            .map(|index| (count - 1 - index, (index + 1) % count))
            .collect();
        let two_by_two: Vec<_> = (0..count)
            .map(|index| (count - 1 - index, index ^ 1))
            .collect();
        for (moves, circles) in [(round, 1), (two_by_two, count / 2)] {
            let steps = order(&removed, &names[..count], &moves);
            let apart = steps.iter().filter(|it| matches!(it, Step::Place(_)));
            assert_eq!(apart.count(), circles);
        }
    }

    proptest! {
        /// Whatever is asked for: each thing once, and in an order in which it can be done.
        #[test]
        fn every_step_can_be_done_when_it_is_its_turn(
            removed in prop::collection::btree_set("[ab](/[ab]){0,2}", 0..8),
            placed in prop::collection::btree_set("[ab](/[ab]){0,2}", 0..8),
            pairs in prop::collection::vec((0..8usize, 0..8usize), 0..8),
        ) {
            let mut removed: Vec<_> = removed.iter().map(String::as_str).collect();
            removed.reverse();
            let placed: Vec<_> = placed.iter().map(String::as_str).collect();
            let mut moves: Vec<(usize, usize)> = Vec::new();
            for (from, to) in pairs {
                let is_free = moves.iter().all(|pair| pair.0 != from && pair.1 != to);
                if from < removed.len() && to < placed.len() && is_free && removed[from] != placed[to] {
                    moves.push((from, to));
                }
            }
            let mut left: BTreeMap<_, _> = removed.iter().copied().zip(0..).collect();
            let mut to_come: BTreeMap<_, _> = placed.iter().copied().zip(0..).collect();
            let (mut in_slots, mut aboard) = (HashSet::new(), HashSet::new());
            let steps = order(&removed, &placed, &moves);
            let carried: HashMap<_, _> = steps
                .iter()
                .filter_map(|step| match step {
                    Step::Move { removed, carrier, .. } => Some((*removed, (*carrier)?)),
                    _ => None,
                })
                .collect();
            for step in steps {
                let (from, to) = match step {
                    Step::Remove(from) => (Some(from), None),
                    Step::Place(to) => (None, Some(to)),
                    Step::Move { removed, placed, .. } => {
                        prop_assert!(moves.contains(&(removed, placed)));
                        (Some(removed), Some(placed))
                    }
                };
                if let Some(from) = from {
                    let path = removed[from];
                    match carried.get(&from) {
                        None => prop_assert_eq!(left.remove(path), Some(from)),
                        Some(by) => {
                            prop_assert!(aboard.contains(&from));
                            prop_assert!(moves.contains(&(by.removed, by.placed)));
                            prop_assert!(!to_come.contains_key(placed[by.placed]));
                            let at = Carrier::brings(path, removed[by.removed], placed[by.placed]);
                            prop_assert!(!placed.contains(&&*at.expect("is below it")));
                        }
                    }
                    // What is left below is carried along.
                    let below = |it: &&str, _: &mut usize| name::is_below(it, path);
                    for (_, number) in left.extract_if(.., below) {
                        prop_assert!(carried.contains_key(&number));
                        aboard.insert(number);
                    }
                    if to.is_none() {
                        in_slots.insert(from);
                    }
                }
                if let Some(to) = to {
                    let path = placed[to];
                    prop_assert_eq!(to_come.remove(path), Some(to));
                    prop_assert!(!left.contains_key(path));
                    prop_assert!(!to_come.keys().any(|it| name::is_below(path, it)));
                    let origin = moves.iter().find(|pair| pair.1 == to);
                    if let (Some((origin, _)), None) = (origin, from) {
                        prop_assert!(in_slots.contains(origin));
                    }
                }
            }
            prop_assert!(left.is_empty() && to_come.is_empty());
        }
    }
}
