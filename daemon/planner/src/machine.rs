//! The state machine of one session.
//!
//! ```text
//! node     Proposed ──execute──▶ Executing ──completed──▶ Executed
//!             ▲  ▲                │ ⇅ parked, released       │
//!             │  └─ parent changed ─┼────────────────────────┤ (run again; the last result counts)
//!             │                     └─not executed─▶ Leaf ───┘ (executed when decided)
//!             └────────────── stale, conflict ◀── Retiring
//! step     (no slot) ─open─▶ Speculative ─▶ Awaited ─decide─▶ InReview ─▶ Decided ─▶ Retiring ─▶ Verified
//!                                 ▲            ▲                 │
//!                                 └────────────┴─ an earlier step was replaced, or observed something else
//! call     (none) ─ask─▶ InFlight ─answer─▶ Answered ─▶ used | dropped
//!                            └─ cancelled ─▶ dropped;  failed ─▶ failed
//! session  Running ⇄ Stalled;  Running | Stalled ⇄ Paused;  each ─stop─▶ Stopping ─▶ Ended
//!          each ─backtrack below the first unverified step─▶ Backtracking ─undone─▶ as before
//! ```
//!
//! How it works: an input or an interrupt is first *recorded* in the tree, then
//! [`Planner::advance`] applies the rules until none applies any more. What is recorded
//! while the session is paused waits there, which is all that a pause is.
//!
//! Transitions in words, in the order in which `advance` tries them:
//! - *expire*: a claim whose time is over ends.
//! - *compare* (rule 4): where a verdict is known, the candidate that matches stays with all
//!   below it, and its siblings are squashed; any other is squashed with all below it, and the verdict's action becomes the
//!   node, executed at once, speculatively if its step is not decided yet. During a claim T's
//!   answer only stands beside the path. While it is not known which candidate a verdict means
//!   ([`comparison`] finds out), all stays as it is, and the step is not decided.
//! - *present*, then *decide* (rules 5 and 12): the lowest undecided step is decided if it has a
//!   verdict and every step before it is decided and has an observation that holds.
//! - *review*: windows open and close one after another.
//! - *open and ask* (rules 1 and 3): the next step starts on the observation of the one before.
//!   The slot of the lowest undecided step is opened even if nobody can be asked, so that the
//!   user can decide it.
//! - *go on below the next* (rule 2): the path leaves a candidate that is parked for a sibling
//!   that is not. Then *open and ask* once more.
//! - *execute*: what has a parent that holds. A leaf, once decided.
//! - *release*: what the first step does beyond its snapshot, if it is decided and reviewed.
//! - *retire*: the first step, if it is decided, reviewed and executed. One at a time.
//! - *stall*: the lowest undecided step can get no verdict from T.
//!
//! A step that is stale when it is to retire (somebody changed what it saw) is executed again
//! at once, its verdict stays; after [`STALE_RERUNS_MAX`] times the session stalls.
//!
//! When a node is executed again (its parent's changes are others, it was stale or it conflicted): the same
//! observation keeps everything below and executes it again only if the changes differ; another
//! observation drops all below, decisions included (rule 6).
//!
//! A suggestion changes the prefixes of the undecided steps: their calls end, their nodes stay.
//! A backtrack drops the steps from one on; verified ones are undone first, and until that is
//! done nothing else is.
//!
//! **Invariant:** while paused nothing is launched, decided or retired.
//! **Invariant:** an undecided step has at most `depth - 1` undecided steps before it.
//! **Invariant:** at the end every call and every execution is accounted for.
//!
//! Deadlines of agents are the server's; it reports them as failures.

mod backtrack;
mod comparison;
mod rules;

use crate::agents::{APPROXIMATION_TRIES, Approximation, Judge, TARGET_TRIES, Target};
use crate::clockwork::{self, Clock};
use crate::depth::{Depth, Experience};
use crate::ledger::Ledger;
use crate::tree::{Call, Gate, Node, Observed, Proposal, Review, Run, Tree};
use crate::window::Guard;
use crate::{
    Admission, Candidate, Config, Counters, Effect, EndReason, Failure, Input, Interrupt, Outcome,
    Presented, Refusal, Rehashed, RetireResult, State, StepFacts, StepView,
};
use backtrack::Backtrack;
use forerun_types::{
    ActionKey, ActionKind, AskEnd, CallId, ExecutionEnd, ExecutionId, NodeId, PrefixId, Role,
    Source, StepIndex, Time,
};
use std::time::Duration;

/// The planner of one session.
#[derive(Clone, Debug)]
pub struct Planner {
    config: Config,
    clock: Clock,
    tree: Tree,
    window: Guard,
    depth: Depth,
    ledger: Ledger,
    approximation: Approximation,
    target: Target,
    judge: Judge,
    head: Head,
    stall: Option<Stall>,
    backtrack: Option<Backtrack>,
    stopping: bool,
    ended: bool,
}

/// The last verified step.
#[derive(Clone, Copy, Debug)]
struct Head {
    node: Option<NodeId>,
    /// What comes after it is asked on this; `None` if nothing can come after it.
    next: Option<PrefixId>,
}

/// Why the session waits for its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stall {
    step: StepIndex,
    cause: Cause,
    reason: String,
    hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// T gives no verdict for this prefix.
    Target(PrefixId),
    /// This decided node can not be executed or recorded.
    Step(NodeId),
}

/// How often in a row a stale step is executed again before the user is asked; stops a file
/// that changes all the time from keeping a session busy for ever.
const STALE_RERUNS_MAX: u32 = 3;

const MISMATCH: &str = "another answer is the verdict";
const ALIKE: &str = "a candidate is the same step";
const CHANGED: &str = "the step before it changed";
const ANSWERED: &str = "the target answered first";
const BY_USER: &str = "the user decided";
const SUGGESTED: &str = "the user suggested something";
const WENT_BACK: &str = "the user went back";
const STOPPED: &str = "the session was stopped";

impl Planner {
    /// A session that has not begun; `root` is the prefix of step 0.
    pub fn new(config: Config, root: PrefixId) -> Planner {
        Planner::experienced(config, root, Experience::default())
    }

    /// The same, with what earlier sessions learned.
    pub fn experienced(config: Config, root: PrefixId, experience: Experience) -> Planner {
        Planner {
            clock: Clock::default(),
            tree: Tree::default(),
            window: Guard::new(config.window),
            depth: Depth::new(config.control, experience),
            ledger: Ledger::default(),
            approximation: Approximation::default(),
            target: Target::default(),
            judge: Judge::default(),
            head: Head {
                node: None,
                next: Some(root),
            },
            stall: None,
            backtrack: None,
            stopping: false,
            ended: false,
            config,
        }
    }

    /// Takes note of an input, and says what is to be done. Unknown and late ids are
    /// counted and otherwise ignored.
    pub fn handle(&mut self, now: Time, input: Input) -> Vec<Effect> {
        self.clock.observe(now);
        self.depth.told(self.clock.now(), &input);
        match input {
            Input::AgentAttached { role, capacity } => self.attached(role, capacity),
            Input::AgentLost { role } => self.lost(role),
            Input::Answered {
                call,
                candidate,
                others,
                near,
            } => self.answered(call, candidate, others, &near),
            Input::Offered { prefix, candidates } => self.offered(prefix, candidates),
            Input::JudgeAttached { capacity } => self.judge.attach(capacity),
            Input::JudgeLost => self.judge_lost(),
            Input::Judged { call, same } => self.judged(call, &same),
            Input::Failed { call, failure } => self.failed(call, failure),
            Input::Executed { execution, outcome } => self.executed(execution, outcome),
            Input::Parked { execution } => self.parked(execution),
            Input::Retired { node, result } => self.retired(node, result),
            Input::Undone(undone) => self.undone(undone),
            Input::Tick => {}
        }
        self.advance();
        self.take()
    }

    /// Does what the user wants, if it is possible now.
    ///
    /// # Errors
    /// If it is not; the refusal says which state it would have needed, and nothing has
    /// changed.
    pub fn interrupt(&mut self, now: Time, interrupt: Interrupt) -> Result<Vec<Effect>, Refusal> {
        self.admission().check(&interrupt)?;
        self.clock.observe(now);
        match interrupt {
            Interrupt::Claim { step, ttl, .. } => self.claim(step, ttl),
            Interrupt::Unclaim { step } => self.unclaim(step),
            Interrupt::Replace {
                step,
                candidate,
                near,
                ..
            } => self.replace(step, candidate, &near),
            Interrupt::Accept { step, node } => self.accept(step, node),
            Interrupt::Suggest { prefixes, .. } => self.suggest(&prefixes),
            Interrupt::Backtrack {
                step,
                prefix,
                candidate,
                ..
            } => self.backtrack(Backtrack {
                step,
                prefix,
                candidate,
            }),
            Interrupt::Retry => self.retry("retry"),
            Interrupt::Pause => {
                self.clock.pause();
                self.ledger.present(Presented::Paused);
            }
            Interrupt::Resume => {
                let pause = self.clock.resume();
                self.ledger.present(Presented::Resumed);
                clockwork::postpone(&mut self.tree, &mut self.ledger, pause);
            }
            Interrupt::Stop => self.stop(),
        }
        self.advance();
        Ok(self.take())
    }

    fn take(&mut self) -> Vec<Effect> {
        let effects = self.ledger.take();
        self.depth.said(self.clock.now(), &effects);
        effects
    }

    /// When [`Input::Tick`] is due, if nothing comes before. `None`: not at all.
    pub fn next_timeout(&self) -> Option<Time> {
        if self.ended || self.stopping || self.backtrack.is_some() || self.clock.is_paused() {
            return None;
        }
        let now = self.clock.now();
        let timeouts = [
            clockwork::next_end(&self.tree),
            self.approximation.timeout(now),
            self.target.timeout(now),
        ];
        timeouts.into_iter().flatten().min()
    }

    /// What the session is doing.
    pub fn state(&self) -> State {
        if self.ended {
            return State::Ended;
        }
        if self.stopping {
            return State::Stopping;
        }
        if self.backtrack.is_some() {
            return State::Backtracking;
        }
        if self.clock.is_paused() {
            return State::Paused;
        }
        match &self.stall {
            None => State::Running,
            Some(stall) => State::Stalled {
                step: stall.step,
                reason: stall.reason.clone(),
                hint: stall.hint.clone(),
            },
        }
    }

    /// The node of the last verified step.
    pub fn head(&self) -> Option<NodeId> {
        self.head.node
    }

    /// How many steps are verified.
    pub fn verified(&self) -> u32 {
        self.tree.first().0
    }

    /// The steps that are not verified, in order.
    pub fn steps(&self) -> Vec<StepView> {
        let views = self
            .tree
            .slots()
            .iter()
            .enumerate()
            .map(|(position, slot)| {
                let node = slot.node.as_ref();
                StepView {
                    step: slot.step,
                    prefix: slot.prefix,
                    phase: self.tree.phase(position),
                    node: node.map(|node| node.id),
                    action: node.map(|node| node.candidate.action),
                    siblings: (slot.siblings.iter())
                        .map(|node| (node.id, node.candidate.action))
                        .collect(),
                    source: slot.decided.or(node.map(|node| node.source)),
                    executed: node.is_some_and(Node::is_executed),
                    claimed_until: slot.claim,
                    review_until: match slot.review {
                        Review::Open { until } => Some(until),
                        Review::Waiting | Review::Over => None,
                    },
                }
            });
        views.collect()
    }

    /// What decides which interrupts are possible now.
    pub fn admission(&self) -> Admission {
        let facts = self.tree.slots().iter().enumerate();
        Admission {
            ended: self.ended,
            stopping: self.stopping,
            paused: self.clock.is_paused(),
            stalled: self.stall.is_some(),
            backtracking: self.backtrack.is_some(),
            unverified: self.tree.first(),
            undecided: self.undecided(),
            steps: facts
                .map(|(position, slot)| StepFacts {
                    phase: self.tree.phase(position),
                    prefix: slot.prefix,
                    node: slot.node.as_ref().map(|node| node.id),
                    siblings: slot.siblings.iter().map(|node| node.id).collect(),
                    rival: slot.rival.as_ref().map(|node| node.id),
                    claimed: slot.claim.is_some(),
                })
                .collect(),
        }
    }

    /// The lowest undecided step, or the next one, if there can be one.
    fn undecided(&self) -> Option<StepIndex> {
        let step = self.tree.lowest_step();
        let before = self.tree.lowest().checked_sub(1);
        let goes_on = match before.and_then(|before| self.tree.slots()[before].node.as_ref()) {
            Some(node) => node.candidate.kind != ActionKind::Terminate,
            None => self.head.next.is_some(),
        };
        (goes_on && step.0 < self.config.max_steps).then_some(step)
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.ledger.counters
    }

    /// What was learned so far, for sessions to come.
    pub fn experience(&self) -> &Experience {
        self.depth.experience()
    }

    /// The session's settings.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// Inputs, as they are recorded.
impl Planner {
    fn attached(&mut self, role: Role, capacity: u32) {
        self.forgive(role);
        match role {
            Role::Approximation => self.approximation.attach(),
            Role::Target => {
                self.target.attach(capacity);
                let stalled = self.stall.as_ref().map(|stall| stall.cause);
                if matches!(stalled, Some(Cause::Target(_))) {
                    self.retry("a target agent is attached");
                }
            }
        }
    }

    fn lost(&mut self, role: Role) {
        match role {
            Role::Approximation => self.approximation.lose(),
            Role::Target => self.target.lose(),
        }
        for slot in self.tree.slots_mut() {
            let call = match role {
                Role::Approximation => slot.approximation.call,
                Role::Target => slot.target.call,
            };
            if call.in_flight() {
                let reason = "the agent is lost";
                self.ledger.end_call(slot, role, AskEnd::Failed, reason);
            }
        }
    }

    fn answered(
        &mut self,
        call: CallId,
        candidate: Candidate,
        others: Vec<Candidate>,
        near: &[ActionKey],
    ) {
        let Some((role, step)) = self.ledger.arrived(call) else {
            return;
        };
        let Some(position) = self.tree.position(step) else {
            return;
        };
        let slot = &mut self.tree.slots_mut()[position];
        match role {
            Role::Approximation => {
                self.approximation.answered();
                slot.approximation.call = Call::Answered(call);
                self.propose(position, [candidate].into_iter().chain(others));
            }
            Role::Target => {
                self.target.answered();
                slot.target.call = Call::Answered(call);
                slot.answer = Some(candidate);
                if slot.approximation.call.in_flight() {
                    let role = Role::Approximation;
                    self.ledger.end_call(slot, role, AskEnd::Dropped, ANSWERED);
                }
                if slot.user.is_none() {
                    self.liken(position, &candidate, near);
                }
            }
        }
    }

    fn offered(&mut self, prefix: PrefixId, candidates: Vec<Candidate>) {
        let mut slots = self.tree.slots().iter();
        let open = slots.position(|slot| slot.prefix == prefix && !slot.has_verdict());
        if let Some(position) = open.filter(|_| self.config.depth > 0) {
            self.propose(position, candidates.into_iter());
        }
    }

    /// Rule 2: candidates join those of their step, as far as the width goes.
    fn propose(&mut self, position: usize, candidates: impl Iterator<Item = Candidate>) {
        let width = self.config.candidates_max();
        let slot = &mut self.tree.slots_mut()[position];
        for candidate in candidates {
            // What T said before the user suggested something is a candidate, too.
            let known = slot
                .candidates()
                .any(|node| node.candidate.matches(&candidate));
            if known || slot.candidates().count().max(slot.proposals.len()) >= width {
                continue;
            }
            let node = Node::new(self.ledger.node_id(), candidate, Source::Approximation);
            slot.proposals.push(Proposal {
                node: node.id,
                candidate,
            });
            match &slot.node {
                None => slot.node = Some(node),
                Some(_) => slot.siblings.push(node),
            }
        }
    }

    fn failed(&mut self, call: CallId, failure: Failure) {
        if self.ledger.judgements().contains_key(&call) {
            return self.judge_failed(call, &failure);
        }
        let target_calls = self.ledger.in_flight(Role::Target);
        let Some((role, step)) = self.ledger.arrived(call) else {
            return;
        };
        let now = self.clock.now();
        let Some(position) = self.tree.position(step) else {
            return;
        };
        let slot = &mut self.tree.slots_mut()[position];
        let end = match failure {
            Failure::RateLimited { .. } => "rate limited",
            Failure::Transient { .. } | Failure::Permanent { .. } => "the agent failed",
        };
        self.ledger.end_call(slot, role, AskEnd::Failed, end);
        let line = match role {
            Role::Approximation => &mut slot.approximation,
            Role::Target => &mut slot.target,
        };
        let tries = match role {
            Role::Approximation => APPROXIMATION_TRIES,
            Role::Target => TARGET_TRIES,
        };
        match failure {
            Failure::RateLimited { retry_after } => {
                match role {
                    Role::Approximation => self.approximation.rate_limited(now, retry_after),
                    Role::Target => self.target.rate_limited(now, target_calls, retry_after),
                }
                return;
            }
            Failure::Transient { reason } => {
                line.failures += 1;
                line.exhausted = line.failures >= tries;
                line.reason = reason;
            }
            Failure::Permanent { reason } => {
                line.failures += 1;
                line.exhausted = true;
                line.reason = reason;
            }
        }
        if role == Role::Approximation {
            self.approximation.failed(now);
        }
    }

    fn executed(&mut self, execution: ExecutionId, outcome: Outcome) {
        let Some(step) = self.ledger.finished(execution) else {
            return;
        };
        let Some(position) = self.tree.position(step) else {
            return;
        };
        let slot = &mut self.tree.slots_mut()[position];
        let decided = slot.decided.is_some();
        let path = slot.node.as_ref().map(|node| node.id);
        let executing = slot.nodes_mut().find_map(|node| match node.run {
            Run::Executing {
                execution: of,
                speculative,
                ..
            } if of == execution => Some((node, speculative)),
            _ => None,
        });
        let Some((node, speculative)) = executing else {
            return;
        };
        let is_path = path == Some(node.id);
        match outcome {
            Outcome::Completed {
                observation,
                changes,
                next,
            } => {
                let observed = Observed {
                    observation,
                    changes,
                    next,
                };
                node.run = Run::Executed;
                node.open = Some(execution);
                let before = node.result.replace(observed);
                if let Some(before) = before.filter(|_| is_path) {
                    self.observed_again(position, before, observed);
                }
            }
            Outcome::NotExecuted { reason } | Outcome::Failed { reason } => {
                let id = node.id;
                let end = ExecutionEnd::Failed;
                self.ledger.ended(execution, id, step, end);
                if speculative {
                    node.run = Run::Leaf;
                } else {
                    debug_assert!(decided, "verified priority is for decided steps");
                    node.run = Run::Proposed;
                    self.stall_at(
                        step,
                        Cause::Step(id),
                        format!("the action could not be executed: {reason}"),
                        "retry executes it again".to_owned(),
                    );
                }
            }
        }
    }

    fn parked(&mut self, execution: ExecutionId) {
        let slots = self.tree.slots_mut().iter_mut();
        let runs = slots.flat_map(|slot| slot.nodes_mut().map(|node| &mut node.run));
        for run in runs {
            if let Run::Executing {
                execution: of,
                gate,
                ..
            } = run
                && *of == execution
                && *gate == Gate::Shut
            {
                *gate = Gate::Awaited;
            }
        }
    }

    /// Rule 6: a node was executed again.
    fn observed_again(&mut self, position: usize, before: Observed, now: Observed) {
        if before.observation != now.observation || before.next != now.next {
            self.drop_below(position, CHANGED);
            if let Some(slot) = self.tree.slots_mut().get_mut(position) {
                slot.shown.observed = None;
            }
            return;
        }
        if before.changes == now.changes {
            return;
        }
        for slot in self.tree.slots_mut().iter_mut().skip(position + 1) {
            let step = slot.step;
            for node in slot.nodes_mut() {
                if node.candidate.kind != ActionKind::Terminate && node.run != Run::Leaf {
                    self.ledger.end_execution(node, step, ExecutionEnd::Dropped);
                    node.run = Run::Proposed;
                }
            }
        }
        self.compare_again(position + 1);
    }

    fn retired(&mut self, node: NodeId, result: RetireResult) {
        let retiring = self.tree.slots().first().is_some_and(|slot| {
            slot.retiring && slot.node.as_ref().is_some_and(|of| of.id == node)
        });
        if !retiring {
            self.ledger.counters.unknown += 1;
            return;
        }
        match result {
            RetireResult::Done => {
                let Some(mut slot) = self.tree.retire() else {
                    return;
                };
                let step = slot.step;
                if let Some(node) = slot.node.as_mut() {
                    self.head = Head {
                        node: Some(node.id),
                        next: node.next_prefix(),
                    };
                    self.ledger.end_execution(node, step, ExecutionEnd::Used);
                }
            }
            RetireResult::Stale { reason } => {
                let reruns = self.take_back();
                if reruns.is_none_or(|reruns| reruns > STALE_RERUNS_MAX) {
                    let hint = "retry executes it again, once nobody changes that any more";
                    self.stall_step(node, reason, hint.to_owned());
                }
            }
            RetireResult::Conflict { reason, hint } => {
                self.take_back();
                self.stall_step(node, reason, hint);
            }
        }
        if self.stopping {
            self.drop_all(STOPPED);
            self.end(EndReason::Stopped);
        } else if self.backtrack.is_some() {
            self.go_back();
        }
    }

    /// The first step did not retire: it is to be executed again. Returns how often that
    /// was so in a row, or `None` of a step that is not executed.
    fn take_back(&mut self) -> Option<u32> {
        let slot = self.tree.slots_mut().first_mut()?;
        let step = slot.step;
        slot.retiring = false;
        let node = slot.node.as_mut()?;
        if node.candidate.kind == ActionKind::Terminate {
            return None;
        }
        self.ledger.end_execution(node, step, ExecutionEnd::Dropped);
        node.run = Run::Proposed;
        node.reruns += 1;
        Some(node.reruns)
    }

    /// The first step waits for the user, who has all attempts before them again.
    fn stall_step(&mut self, id: NodeId, reason: String, hint: String) {
        if self.stopping || self.backtrack.is_some() {
            return;
        }
        let Some(slot) = self.tree.slots_mut().first_mut() else {
            return;
        };
        let step = slot.step;
        if let Some(node) = slot.node.as_mut() {
            node.reruns = 0;
        }
        self.stall_at(step, Cause::Step(id), reason, hint);
    }
}

/// Interrupts, after they were admitted.
impl Planner {
    fn claim(&mut self, step: StepIndex, ttl: Duration) {
        let until = self.clock.waiting_time() + ttl.min(Interrupt::CLAIM_TTL_MAX);
        if let Some(position) = self.tree.position(step) {
            self.tree.slots_mut()[position].claim = Some(until);
            self.ledger.present(Presented::Claimed { step, until });
        }
    }

    fn unclaim(&mut self, step: StepIndex) {
        if let Some(position) = self.tree.position(step) {
            let slot = &mut self.tree.slots_mut()[position];
            self.ledger.unclaim(slot, "it was given back");
        }
    }

    /// Rule 6: the prefixes of undecided steps are others now.
    fn suggest(&mut self, prefixes: &Rehashed) {
        if let Some(prefix) = prefixes.head {
            self.head.next = Some(prefix);
        }
        let mut prefix = self.head.next;
        for slot in self.tree.slots_mut() {
            if let Some(prefix) = prefix.filter(|prefix| *prefix != slot.prefix) {
                debug_assert!(slot.decided.is_none(), "it joins before undecided steps");
                self.ledger.change_prefix(slot, prefix, SUGGESTED);
            }
            for node in slot.nodes_mut() {
                let below = prefixes.below.iter().find(|(id, _)| *id == node.id);
                if let (Some(result), Some((_, next))) = (node.result.as_mut(), below) {
                    result.next = *next;
                }
            }
            let result = slot.node.as_ref().and_then(|node| node.result);
            prefix = result.map(|result| result.next);
        }
    }

    fn retry(&mut self, reason: &'static str) {
        self.forgive(Role::Target);
        self.stall = None;
        self.ledger.present(Presented::Continued { reason });
    }

    /// Forgets failures, so that an agent is asked again where it had given up.
    fn forgive(&mut self, role: Role) {
        for slot in self.tree.slots_mut() {
            let line = match role {
                Role::Approximation => &mut slot.approximation,
                Role::Target => &mut slot.target,
            };
            line.failures = 0;
            line.exhausted = false;
        }
    }

    fn stop(&mut self) {
        if self.backtrack.is_some() || self.is_retiring() {
            self.drop_below(0, STOPPED);
            self.stopping = true;
        } else {
            self.drop_all(STOPPED);
            self.end(EndReason::Stopped);
        }
    }

    fn is_retiring(&self) -> bool {
        self.tree.slots().first().is_some_and(|slot| slot.retiring)
    }
}
