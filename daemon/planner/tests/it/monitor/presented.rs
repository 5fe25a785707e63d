//! What people are shown, and when: Algorithm 2, line by line.

use super::Monitor;
use forerun_planner::Presented;
use forerun_types::Source;

impl Monitor {
    pub(super) fn present(&mut self, line: &Presented) {
        match line {
            Presented::Proposed {
                step,
                node,
                prefix,
                siblings,
                ..
            } => {
                assert_eq!(step.0, self.lowest(), "proposed before its turn");
                assert!(self.all_shown(), "a_i before t_(i-1)");
                let nodes = [node]
                    .into_iter()
                    .chain(siblings.iter().map(|(node, _)| node));
                let new = nodes.filter(|node| self.proposed.insert(**node)).count();
                assert!(new > 0, "{node} is shown twice");
                self.nodes.insert(*node);
                self.nodes.extend(siblings.iter().map(|(node, _)| *node));
                assert!(siblings.len() < self.config.width.clamp(1, 8) as usize);
                let parent = step
                    .0
                    .checked_sub(1)
                    .and_then(|step| self.decided.get(&step));
                assert_eq!(*prefix, self.prefix_below(parent.map(|of| of.node)));
            }
            Presented::Observed { step, node } => {
                assert!(step.0 <= self.lowest() && !self.squashed.contains(node));
                assert!(self.next_of.contains_key(node));
            }
            Presented::Waiting { step, .. } => {
                assert_eq!(step.0, self.lowest());
                assert!(self.all_shown());
            }
            Presented::Answer {
                step,
                node,
                source,
                action,
                corrects,
                ..
            } => {
                assert_ne!(*corrects, Some(*node));
                self.nodes.insert(*node);
                let earlier = self.decided.range(..step.0);
                assert!(
                    earlier.clone().all(|(_, of)| of.shown),
                    "t_i before t_(i-1)"
                );
                if let Some(decided) = self.decided.get_mut(&step.0) {
                    assert_eq!(
                        (decided.node, decided.source, decided.action),
                        (*node, *source, *action)
                    );
                    assert!(!decided.shown);
                    decided.shown = true;
                } else {
                    assert_eq!(*source, Source::Target);
                    assert!(self.claims.contains(&step.0), "shown before it was decided");
                    assert_eq!(step.0, self.lowest());
                    let before = self.announced.insert(step.0, (*node, *source));
                    assert_ne!(before, Some((*node, *source)), "said twice in a row");
                }
            }
            Presented::ReviewOpened { step, node, until } => {
                assert!(self.decided[&step.0].shown);
                assert_eq!(self.decided[&step.0].node, *node);
                self.reviews.insert(step.0, *until);
            }
            Presented::Claimed { step, .. } => {
                assert!(step.0 <= self.lowest() && step.0 as usize >= self.verified.len());
                self.claims.insert(step.0);
            }
            Presented::Unclaimed { step, .. } => {
                assert!(self.claims.remove(&step.0), "unclaimed without a claim");
            }
            Presented::Stalled { .. } => {
                self.stalled = true;
                self.stale.1 = 0;
            }
            Presented::Continued { .. } => self.stalled = false,
            Presented::Paused => self.paused = true,
            Presented::Resumed => self.paused = false,
            Presented::Refused { step, .. } => {
                self.chosen.remove(&step.0);
                self.word_refused(step.0);
            }
            Presented::Backtracked { step, generation } => {
                let (to, prefix) = self.going_back.take().expect("the user went back");
                assert_eq!((step.0, *generation), (to, self.generation + 1));
                assert_eq!(
                    step.0,
                    self.lowest(),
                    "what was decided there is not any more"
                );
                assert!(!self.undoing);
                self.generation = *generation;
                self.said.retain(|before, _| before <= &step.0);
                self.likeness_before(step.0);
                if let Some(text) = self.says.take() {
                    self.was_said(&text);
                }
                self.stale = (0, 0);
                self.reviews.retain(|review, _| *review < step.0);
                if let Some(candidate) = self.decides_there.take() {
                    self.learn(step.0, &candidate);
                    self.user_said(step.0, candidate.action);
                    self.chosen.insert(step.0);
                }
                let above = self.decided.values().next_back().map(|of| of.node);
                self.set_prefix_below(above, prefix);
            }
            Presented::Ended { node, steps, .. } => {
                assert_eq!(*steps as usize, self.verified.len());
                assert_eq!(*node, self.verified.last().map(|step| step.node));
                self.ended = true;
            }
        }
    }

    /// A decision made during a claim may have been shown before it was made.
    pub(super) fn all_shown(&self) -> bool {
        self.decided.values().all(|of| of.shown)
    }
}
