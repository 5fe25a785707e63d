//! The speculation tree: a path, one slot for each step that is not verified, and in each
//! slot the node that the path goes through, the child of the slot before. Beside it lie
//! its siblings, the other candidates: executed, and nothing below them.
//!
//! A slot exists once its prefix is known, that is once the node before it has an
//! observation. Everything in a slot belongs to that prefix; when the prefix changes, the
//! slot goes, and with it every call and answer (rule 6).
//!
//! **Invariant:** decided slots come before undecided ones.
//! **Invariant:** the number of slots is at most the session's step limit; a verified slot
//! is dropped with everything it knew.

use crate::{Candidate, StepPhase};
use forerun_types::{
    ActionKind, CallId, Digest, ExecutionId, NodeId, PrefixId, Source, StepIndex, Time,
};

/// The steps that are not verified, in order, without gaps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    first: u32,
    slots: Vec<Slot>,
}

/// One step that is not verified.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) step: StepIndex,
    pub(crate) prefix: PrefixId,
    /// A(i).
    pub(crate) approximation: Line,
    /// T(i).
    pub(crate) target: Line,
    /// a_i, in A's order, also after they were squashed: they are still presented before
    /// their correction.
    pub(crate) proposals: Vec<Proposal>,
    /// t_i, until the step is decided.
    pub(crate) answer: Option<Candidate>,
    /// u_i, until it takes effect.
    pub(crate) user: Option<Candidate>,
    /// What the path goes through.
    pub(crate) node: Option<Node>,
    /// The other candidates, in A's order.
    pub(crate) siblings: Vec<Node>,
    /// The verdict's own node while another one is on the path: during a claim, or while it is
    /// executed beside the candidates to be compared with them.
    pub(crate) rival: Option<Box<Node>>,
    pub(crate) decided: Option<Source>,
    pub(crate) review: Review,
    /// Until when the step is claimed.
    pub(crate) claim: Option<Time>,
    pub(crate) retiring: bool,
    pub(crate) shown: Shown,
}

/// The calls of one agent for one step; at most one at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) call: Call,
    /// Failures on this prefix. A rate limit or a lost agent is none.
    pub(crate) failures: u32,
    /// Not asked any more, unless somebody retries.
    pub(crate) exhausted: bool,
    /// Why it failed last.
    pub(crate) reason: String,
}

/// The state of a call that is not accounted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Call {
    /// There is none.
    #[default]
    None,
    InFlight(CallId),
    /// It answered, and the answer is neither used nor dropped yet.
    Answered(CallId),
}

/// a_i as it is presented.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proposal {
    pub(crate) node: NodeId,
    pub(crate) candidate: Candidate,
}

/// A candidate or a verdict, and its execution.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) candidate: Candidate,
    /// Who made the node, which need not be who decides its step.
    pub(crate) source: Source,
    pub(crate) run: Run,
    /// The execution that `result` comes from, until it is accounted for.
    pub(crate) open: Option<ExecutionId>,
    /// The last result; outdated unless `run` is [`Run::Executed`].
    pub(crate) result: Option<Observed>,
    /// How often in a row it was executed again because it was stale.
    pub(crate) reruns: u32,
    /// Of a candidate: what a lossy matcher says. It is about the user's word on its step, or
    /// else about T's.
    pub(crate) likeness: Likeness,
}

/// Whether a verdict means a candidate that is not equal to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// It does not; or there is no verdict.
    #[default]
    No,
    /// It does.
    Yes,
    /// Not known yet.
    Open,
    /// Not known yet: the judge is asked.
    Asked(CallId),
}

/// What a verdict means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// This candidate.
    Candidate(NodeId),
    /// None of them.
    None,
    /// Not known yet.
    Open,
}

/// How far a node's execution is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// To be executed, for the first time or again.
    Proposed,
    Executing {
        execution: ExecutionId,
        speculative: bool,
        gate: Gate,
    },
    /// Executed at its verdict.
    Leaf,
    Executed,
}

/// Whether a running execution may reach beyond its snapshot (rule 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It has not asked to.
    Shut,
    /// It is parked until it may.
    Awaited,
    /// It may.
    Open,
}

/// The result of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) observation: Digest,
    pub(crate) changes: Digest,
    pub(crate) next: PrefixId,
}

/// The review window of a decided step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Review {
    /// An earlier window is open, or the step is undecided.
    #[default]
    Waiting,
    Open {
        until: Time,
    },
    Over,
}

/// What of a step was presented.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    /// How many of the proposals.
    pub(crate) proposals: usize,
    pub(crate) waiting: bool,
    /// The node that the last line of this step was about.
    pub(crate) line: Option<NodeId>,
    /// Whose answer was shown last, and its node.
    pub(crate) answer: Option<(NodeId, Source)>,
    /// The node whose observation was shown last.
    pub(crate) observed: Option<NodeId>,
}

impl Tree {
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(crate) fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.slots
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The first step that is not verified.
    pub(crate) fn first(&self) -> StepIndex {
        StepIndex(self.first)
    }

    /// The first step that has no slot.
    pub(crate) fn end(&self) -> StepIndex {
        self.slots
            .last()
            .map_or(self.first(), |slot| slot.step.next())
    }

    /// Where the slot of a step is.
    pub(crate) fn position(&self, step: StepIndex) -> Option<usize> {
        let offset = usize::try_from(step.0.checked_sub(self.first)?).ok()?;
        (offset < self.slots.len()).then_some(offset)
    }

    /// Where the lowest undecided step is; one past the last slot if all are decided.
    pub(crate) fn lowest(&self) -> usize {
        self.slots.partition_point(|slot| slot.decided.is_some())
    }

    /// The lowest undecided step.
    pub(crate) fn lowest_step(&self) -> StepIndex {
        self.slots
            .get(self.lowest())
            .map_or(self.end(), |slot| slot.step)
    }

    /// The tools of the candidates on the path that T or the user may still refuse.
    pub(crate) fn guesses(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().filter_map(|slot| {
            let open = slot.verdict().is_none() || slot.is_open();
            let open = open && slot.decided.is_none();
            let node = slot.node.as_ref().filter(|_| open && slot.is_proposal())?;
            Some(node.candidate.tool)
        })
    }

    /// Whether every node before `position` has a result that holds, so that the prefix
    /// and the parent snapshot there are what they will be.
    pub(crate) fn settled(&self, position: usize) -> bool {
        self.slots
            .iter()
            .take(position)
            .all(|slot| slot.node.as_ref().is_some_and(Node::is_executed))
    }

    /// Adds a slot for the next step.
    pub(crate) fn open(&mut self, prefix: PrefixId) {
        let step = self.end();
        self.slots.push(Slot {
            step,
            prefix,
            approximation: Line::default(),
            target: Line::default(),
            proposals: Vec::new(),
            answer: None,
            user: None,
            node: None,
            siblings: Vec::new(),
            rival: None,
            decided: None,
            review: Review::Waiting,
            claim: None,
            retiring: false,
            shown: Shown::default(),
        });
    }

    /// Takes the last slot off, if it is at `position` or after it.
    pub(crate) fn pop_from(&mut self, position: usize) -> Option<Slot> {
        if self.slots.len() > position {
            self.slots.pop()
        } else {
            None
        }
    }

    /// Takes the first slot off: its step is verified.
    pub(crate) fn retire(&mut self) -> Option<Slot> {
        if self.slots.is_empty() {
            return None;
        }
        self.first += 1;
        Some(self.slots.remove(0))
    }

    /// Steps from `first` on are not verified any more. There must be no slot.
    pub(crate) fn rewind(&mut self, first: StepIndex) {
        debug_assert!(self.slots.is_empty() && first.0 <= self.first);
        self.first = first.0;
    }

    /// How far the step at `position` is.
    pub(crate) fn phase(&self, position: usize) -> StepPhase {
        let slot = &self.slots[position];
        if slot.decided.is_none() {
            if position == self.lowest() && self.settled(position) {
                StepPhase::Awaited
            } else {
                StepPhase::Speculative
            }
        } else if slot.retiring {
            StepPhase::Retiring
        } else if slot.review == Review::Over {
            StepPhase::Decided
        } else {
            StepPhase::InReview
        }
    }
}

impl Slot {
    /// What decides the step as things are: the user outranks T, and during a claim T's
    /// answer is no verdict.
    pub(crate) fn verdict(&self) -> Option<(Candidate, Source)> {
        if let Some(candidate) = self.user {
            return Some((candidate, Source::User));
        }
        let answer = self.answer.filter(|_| self.claim.is_none())?;
        Some((answer, Source::Target))
    }

    /// Whether T or the user has spoken, whatever holds their word back.
    pub(crate) fn has_verdict(&self) -> bool {
        self.decided.is_some() || self.user.is_some() || self.answer.is_some()
    }

    /// The candidates, that of the path first.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &Node> {
        self.node.iter().chain(&self.siblings)
    }

    pub(crate) fn candidates_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.node.iter_mut().chain(&mut self.siblings)
    }

    /// A candidate, or the rival.
    pub(crate) fn there(&self, id: NodeId) -> Option<&Node> {
        let mut nodes = self.candidates().chain(self.rival.as_deref());
        nodes.find(|node| node.id == id)
    }

    /// The candidates and the rival.
    pub(crate) fn nodes_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        let candidates = self.node.iter_mut().chain(&mut self.siblings);
        candidates.chain(self.rival.as_deref_mut())
    }

    /// What a verdict means, the one predicate that accepts, cancels and accounts: an equal
    /// candidate, else the first in A's order that the matcher takes for it (rule 4a). While
    /// that is not known of one, those after it are not looked at.
    pub(crate) fn matching(&self, verdict: &Candidate) -> Meaning {
        let equal = |node: &&Node| node.candidate == *verdict;
        let by_name = |node: &&Node| node.candidate.matches(verdict);
        let alike = |node: &&Node| node.likeness != Likeness::No;
        let place = |node: &&Node| self.place(node.id);
        let found = self.candidates().find(equal);
        let found = found.or_else(|| self.candidates().filter(by_name).min_by_key(place));
        if let Some(node) = found {
            return Meaning::Candidate(node.id);
        }
        match self.candidates().filter(alike).min_by_key(place) {
            None => Meaning::None,
            Some(node) if node.likeness == Likeness::Yes => Meaning::Candidate(node.id),
            Some(_) => Meaning::Open,
        }
    }

    /// Whether there is a verdict, and it is not known yet what it means. Then the step is not
    /// decided, and its path stays as it is.
    pub(crate) fn is_open(&self) -> bool {
        let verdict = self.verdict();
        verdict.is_some_and(|(verdict, _)| self.matching(&verdict) == Meaning::Open)
    }

    /// The place of a candidate in A's order; those of others come after.
    fn place(&self, node: NodeId) -> usize {
        let place = self.proposals.iter().position(|of| of.node == node);
        place.unwrap_or(self.proposals.len())
    }

    /// The path goes through this sibling; what it went through is one now.
    pub(crate) fn put_on_path(&mut self, sibling: NodeId) {
        if let Some(at) = self.siblings.iter().position(|node| node.id == sibling) {
            let node = self.siblings.remove(at);
            let before = self.node.replace(node);
            self.siblings.extend(before);
            let mut siblings = std::mem::take(&mut self.siblings);
            siblings.sort_by_key(|node| self.place(node.id));
            self.siblings = siblings;
        }
    }

    /// Whether the node on the path is the agent A's.
    pub(crate) fn is_proposal(&self) -> bool {
        self.node
            .as_ref()
            .is_some_and(|node| node.source == Source::Approximation)
    }
}

impl Call {
    pub(crate) fn in_flight(self) -> bool {
        matches!(self, Call::InFlight(_))
    }
}

impl Node {
    /// A node that nothing was done with. `terminate` is not executed: it is complete.
    pub(crate) fn new(id: NodeId, candidate: Candidate, source: Source) -> Node {
        Node {
            id,
            candidate,
            source,
            run: match candidate.kind {
                ActionKind::Terminate => Run::Executed,
                ActionKind::Tool => Run::Proposed,
                ActionKind::AskUser => Run::Leaf,
            },
            open: None,
            result: None,
            reruns: 0,
            likeness: Likeness::No,
        }
    }

    pub(crate) fn is_executed(&self) -> bool {
        self.run == Run::Executed
    }

    /// Whether it goes on at its verdict only, so that there is nothing below it before.
    pub(crate) fn is_parked(&self) -> bool {
        match self.run {
            Run::Leaf => true,
            Run::Executing { gate, .. } => gate == Gate::Awaited,
            Run::Proposed | Run::Executed => false,
        }
    }

    /// Whether two nodes on the same snapshot did the same; `None` while that is not known.
    /// What waits for its verdict, or may reach beyond its snapshot, did nothing that could be
    /// compared.
    pub(crate) fn did_as(&self, other: &Node) -> Option<bool> {
        if !self.is_comparable() || !other.is_comparable() {
            return Some(false);
        }
        let result = |node: &Node| node.result.filter(|_| node.is_executed());
        let (one, two) = (result(self)?, result(other)?);
        Some(one.observation == two.observation && one.changes == two.changes)
    }

    /// Whether it has a result that can be compared, or will have.
    pub(crate) fn is_comparable(&self) -> bool {
        match self.run {
            Run::Leaf => false,
            Run::Executing { gate, .. } => gate == Gate::Shut,
            Run::Proposed | Run::Executed => true,
        }
    }

    /// The prefix below the node, if it has one that holds.
    pub(crate) fn next_prefix(&self) -> Option<PrefixId> {
        let result = self.result.filter(|_| self.is_executed())?;
        Some(result.next)
    }
}
