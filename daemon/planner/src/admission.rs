//! Which interrupt is possible when.
//!
//! Plain facts about a session and its steps, and one check. It changes nothing and knows
//! nothing of the machine, so that it can be tested by itself and shown to a client.

use crate::{Interrupt, Refusal, Seen};
use forerun_types::{NodeId, PrefixId, StepIndex};
use serde::Serialize;

/// Everything that decides whether an interrupt is possible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Admission {
    /// The plan ended.
    pub ended: bool,
    /// A stop waits for a commit.
    pub stopping: bool,
    /// The owner paused.
    pub paused: bool,
    /// The session waits for its owner.
    pub stalled: bool,
    /// A backtrack waits for steps to be undone.
    pub backtracking: bool,
    /// The first step that is not verified.
    pub unverified: StepIndex,
    /// The lowest undecided step, or the next one if all are decided; `None` if the plan
    /// is decided to its end.
    pub undecided: Option<StepIndex>,
    /// The steps that are not verified, from `unverified` on without gaps.
    pub steps: Vec<StepFacts>,
}

/// What decides whether a step can be interrupted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepFacts {
    /// How far it is.
    pub phase: StepPhase,
    /// What it is asked on.
    pub prefix: PrefixId,
    /// The node on the path, if there is one.
    pub node: Option<NodeId>,
    /// The other candidates.
    pub siblings: Vec<NodeId>,
    /// T's answer, if it is shown beside the node during a claim.
    pub rival: Option<NodeId>,
    /// Whether it is claimed.
    pub claimed: bool,
}

/// How far a step that is not verified is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum StepPhase {
    /// An earlier step is undecided, or has no observation at present.
    Speculative,
    /// The lowest undecided step: its verdict is awaited.
    Awaited,
    /// Decided; its review window is open, or will be.
    InReview,
    /// Decided, and its review is over.
    Decided,
    /// Decided, and being recorded.
    Retiring,
}

impl Admission {
    /// Whether `interrupt` is possible.
    ///
    /// # Errors
    /// If it is not; says which state it would have needed.
    pub fn check(&self, interrupt: &Interrupt) -> Result<(), Refusal> {
        if self.ended {
            return Err(Refusal::Ended);
        }
        if self.stopping {
            return Err(Refusal::Stopping);
        }
        let goes_on = matches!(
            interrupt,
            Interrupt::Stop | Interrupt::Pause | Interrupt::Resume
        );
        if self.backtracking && !goes_on {
            return Err(Refusal::Backtracking);
        }
        match interrupt {
            Interrupt::Suggest { step, .. } => match self.undecided {
                None => Err(Refusal::NothingUndecided),
                Some(undecided) => require(*step == undecided, Refusal::Changed { step: *step }),
            },
            Interrupt::Backtrack { step, seen, .. } => self.backtrack(*step, *seen),
            Interrupt::Claim { step, seen, .. } | Interrupt::Replace { step, seen, .. } => {
                self.open_step(*step)?.seen(*step, *seen)
            }
            Interrupt::Accept { step, node } => self.open_step(*step)?.candidate(*step, *node),
            Interrupt::Unclaim { step } => {
                let claimed = self.step(*step).is_some_and(|facts| facts.claimed);
                require(claimed, Refusal::NotClaimed { step: *step })
            }
            Interrupt::Retry => require(self.stalled, Refusal::NotStalled),
            Interrupt::Pause => require(!self.paused, Refusal::Paused),
            Interrupt::Resume => require(self.paused, Refusal::NotPaused),
            Interrupt::Stop => Ok(()),
        }
    }

    /// The facts of an unverified step.
    pub fn step(&self, step: StepIndex) -> Option<&StepFacts> {
        let offset = step.0.checked_sub(self.unverified.0)?;
        self.steps.get(usize::try_from(offset).ok()?)
    }

    /// To go back to a step it has to be there, or to have been.
    fn backtrack(&self, step: StepIndex, seen: Seen) -> Result<(), Refusal> {
        if step < self.unverified {
            return Ok(());
        }
        match self.step(step) {
            Some(facts) if facts.phase != StepPhase::Speculative => facts.seen(step, seen),
            Some(_) | None => Err(Refusal::NotAwaited { step }),
        }
    }

    /// The facts of a step that the user may decide.
    fn open_step(&self, step: StepIndex) -> Result<&StepFacts, Refusal> {
        if step < self.unverified {
            return Err(Refusal::Verified { step });
        }
        let facts = self.step(step).ok_or(Refusal::NotAwaited { step })?;
        match facts.phase {
            StepPhase::Awaited | StepPhase::InReview => Ok(facts),
            StepPhase::Speculative => Err(Refusal::NotAwaited { step }),
            StepPhase::Decided | StepPhase::Retiring => Err(Refusal::Decided { step }),
        }
    }
}

impl StepFacts {
    fn has(&self, node: NodeId) -> bool {
        self.node == Some(node) || self.rival == Some(node) || self.siblings.contains(&node)
    }

    fn seen(&self, step: StepIndex, seen: Seen) -> Result<(), Refusal> {
        let same = match seen {
            Seen::Any => true,
            Seen::Prefix(prefix) => prefix == self.prefix,
            Seen::Node(node) => self.has(node),
        };
        require(same, Refusal::Changed { step })
    }

    fn candidate(&self, step: StepIndex, node: Option<NodeId>) -> Result<(), Refusal> {
        let named = [self.node, self.rival].into_iter().flatten().count();
        match (node, named + self.siblings.len()) {
            (_, 0) => Err(Refusal::NoCandidate { step }),
            (None, 1) => Ok(()),
            (None, _) => Err(Refusal::Ambiguous { step }),
            (Some(node), _) => require(self.has(node), Refusal::Changed { step }),
        }
    }
}

fn require(condition: bool, otherwise: Refusal) -> Result<(), Refusal> {
    if condition { Ok(()) } else { Err(otherwise) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Candidate, Rehashed};
    use forerun_types::{ActionKey, ActionKind, Digest};
    use proptest::prelude::*;
    use std::time::Duration;

    fn prefix(number: u64) -> PrefixId {
        PrefixId(Digest::of(number.to_le_bytes()))
    }

    fn facts() -> impl Strategy<Value = StepFacts> {
        let phase = prop_oneof![
            Just(StepPhase::Speculative),
            Just(StepPhase::Awaited),
            Just(StepPhase::InReview),
            Just(StepPhase::Decided),
            Just(StepPhase::Retiring),
        ];
        let node = || prop::option::of((0..4u64).prop_map(NodeId));
        let siblings = prop::collection::vec((0..4u64).prop_map(NodeId), 0..3);
        (phase, 0..3u64, node(), siblings, node(), any::<bool>()).prop_map(
            |(phase, number, node, siblings, rival, claimed)| StepFacts {
                phase,
                prefix: prefix(number),
                node,
                siblings,
                rival,
                claimed,
            },
        )
    }

    fn admission() -> impl Strategy<Value = Admission> {
        let flags = prop::array::uniform5(any::<bool>());
        let undecided = prop::option::of((0..6u32).prop_map(StepIndex));
        let steps = prop::collection::vec(facts(), 0..4);
        (flags, 0..3u32, undecided, steps).prop_map(
            |([ended, stopping, paused, stalled, backtracking], first, undecided, steps)| {
                Admission {
                    ended,
                    stopping,
                    paused,
                    stalled,
                    backtracking,
                    unverified: StepIndex(first),
                    undecided,
                    steps,
                }
            },
        )
    }

    fn interrupt() -> impl Strategy<Value = Interrupt> {
        let seen = prop_oneof![
            Just(Seen::Any),
            (0..3u64).prop_map(|number| Seen::Prefix(prefix(number))),
            (0..4u64).prop_map(|number| Seen::Node(NodeId(number))),
        ];
        let node = prop::option::of((0..4u64).prop_map(NodeId));
        (0..10, 0..8u32, seen, node).prop_map(|(kind, step, seen, node)| {
            let step = StepIndex(step);
            match kind {
                0 => Interrupt::Claim {
                    step,
                    seen,
                    ttl: Duration::from_secs(1),
                },
                1 => Interrupt::Unclaim { step },
                2 => Interrupt::Replace {
                    step,
                    seen,
                    candidate: Candidate {
                        action: ActionKey(Digest::of("mine")),
                        kind: ActionKind::Tool,
                        tool: 0,
                    },
                    near: Vec::new(),
                },
                3 => Interrupt::Accept { step, node },
                4 => Interrupt::Retry,
                5 => Interrupt::Pause,
                6 => Interrupt::Resume,
                7 => Interrupt::Suggest {
                    step,
                    prefixes: Rehashed::default(),
                },
                8 => Interrupt::Backtrack {
                    step,
                    seen,
                    prefix: prefix(9),
                    candidate: None,
                },
                _ => Interrupt::Stop,
            }
        })
    }

    fn shows(facts: &StepFacts, node: NodeId) -> bool {
        [facts.node, facts.rival].contains(&Some(node)) || facts.siblings.contains(&node)
    }

    fn named_step(interrupt: &Interrupt) -> Option<StepIndex> {
        match interrupt {
            Interrupt::Claim { step, .. }
            | Interrupt::Unclaim { step }
            | Interrupt::Replace { step, .. }
            | Interrupt::Suggest { step, .. }
            | Interrupt::Backtrack { step, .. }
            | Interrupt::Accept { step, .. } => Some(*step),
            Interrupt::Retry | Interrupt::Pause | Interrupt::Resume | Interrupt::Stop => None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_admitted_is_about_something_that_is_there(
            admission in admission(),
            interrupt in interrupt(),
        ) {
            let Ok(()) = admission.check(&interrupt) else { return Ok(()) };
            prop_assert!(!admission.ended && !admission.stopping);
            let Some(step) = named_step(&interrupt) else { return Ok(()) };
            prop_assert!(!admission.backtracking);
            match interrupt {
                Interrupt::Suggest { .. } => {
                    prop_assert_eq!(Some(step), admission.undecided);
                    return Ok(());
                }
                Interrupt::Backtrack { .. } if step < admission.unverified => return Ok(()),
                _ => {}
            }
            let facts = admission.step(step).expect("an unverified step");
            if let Interrupt::Unclaim { .. } = interrupt {
                prop_assert!(facts.claimed);
            } else if let Interrupt::Backtrack { .. } = interrupt {
                prop_assert!(facts.phase != StepPhase::Speculative);
            } else {
                prop_assert!(matches!(facts.phase, StepPhase::Awaited | StepPhase::InReview));
            }
            match interrupt {
                Interrupt::Claim { seen, .. }
                | Interrupt::Replace { seen, .. }
                | Interrupt::Backtrack { seen, .. } => match seen {
                    Seen::Any => {}
                    Seen::Prefix(prefix) => prop_assert_eq!(prefix, facts.prefix),
                    Seen::Node(node) => prop_assert!(shows(facts, node)),
                },
                Interrupt::Accept { node: Some(node), .. } => prop_assert!(shows(facts, node)),
                Interrupt::Accept { node: None, .. } => {
                    let named = [facts.node, facts.rival].into_iter().flatten().count();
                    prop_assert_eq!(named + facts.siblings.len(), 1);
                }
                _ => {}
            }
        }

        #[test]
        fn what_is_refused_says_what_it_would_have_needed(
            admission in admission(),
            interrupt in interrupt(),
        ) {
            let Err(refusal) = admission.check(&interrupt) else { return Ok(()) };
            prop_assert!(refusal.to_string().contains("this needs"));
            prop_assert!(!refusal.needed().is_empty() && !refusal.code().contains(' '));
        }

        #[test]
        fn an_open_session_can_always_be_stopped(admission in admission()) {
            let open = !admission.ended && !admission.stopping;
            prop_assert_eq!(admission.check(&Interrupt::Stop).is_ok(), open);
        }
    }
}
