//! Random sessions: agents, latencies, failures, conflicts, widths, windows, interrupts and
//! crashes, and which property is asked of them.

mod pokes;
mod world;

use crate::sim::*;
use forerun_planner::{DepthControl, Window};
use forerun_types::Matcher;
use proptest::prelude::*;
use std::time::Duration;

pub(crate) use world::verdict;

/// The step limit of every session.
pub(crate) const STEPS_MAX: u32 = 12;

/// A session, and what is asked of it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) property: Property,
    pub(crate) session: Session,
    pub(crate) trouble: Trouble,
    pub(crate) pokes: Vec<Poke>,
}

/// What has to hold, besides the rules that the monitor knows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Property {
    /// Whatever happens, the plan comes to its end and is T's.
    TheEnd,
    /// A stop after the last poke ends everything.
    AStop,
    /// Nobody interrupts and nothing fails, but what steps saw is changed by others: the plan
    /// is still the one of `off`.
    Stale,
    /// Nobody interrupts and nothing fails: the plan is the one of `off`.
    Calm,
}

/// What may go wrong in a world; each in percent.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) seed: u64,
    accuracy: u64,
    target_fails: u64,
    approximation_fails: u64,
    not_executed: u64,
    parked: u64,
    execution_fails: u64,
    conflicts: u64,
    pub(crate) stales: u64,
    /// How many candidates A gives, equal ones among them.
    candidates: u64,
    /// In how many cases of a hundred A finds another way of saying what T will say.
    other_ways: u64,
    judge_fails: u64,
    /// Executing again may return something else.
    unstable: bool,
    t: u64,
    a: u64,
    e: u64,
    commit: u64,
    judging: u64,
}

/// How a session is configured; times in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) depth: u32,
    pub(crate) width: u32,
    pub(crate) barrier: bool,
    pub(crate) review: u64,
    pub(crate) control: DepthControl,
    pub(crate) matcher: Matcher,
    /// How many calls the judge takes at once; 0: there is none.
    pub(crate) judges: u32,
}

/// Something that somebody does after some time, whatever the state.
#[derive(Clone, Debug)]
pub(crate) struct Poke {
    after: u64,
    what: What,
    /// Counted from the first unverified step.
    offset: u32,
    choice: u64,
}

/// What somebody does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Claim,
    Unclaim,
    Replace,
    Accept,
    Retry,
    Suggest,
    Offer,
    Backtrack,
    Pause,
    Resume,
    Lose,
    Attach,
    Stray,
    Crash,
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let percent = || prop_oneof![Just(0u64), 0..60u64];
    let rates = (
        percent(),
        percent(),
        (percent(), percent()),
        percent(),
        (percent(), percent()),
    );
    let times = (1..9000u64, 1..9000u64, 0..3000u64, 0..500u64, 0..9000u64);
    let candidates = prop_oneof![Just(1u64), 1..12u64];
    let agents = (any::<u64>(), 0..=100u64, candidates, 0..=100u64, percent());
    (agents, rates, any::<bool>(), times).prop_map(
        |(
            (seed, accuracy, candidates, other_ways, judge_fails),
            (tf, af, (ne, parked), ef, (co, st)),
            unstable,
            (t, a, e, commit, judging),
        )| Trouble {
            seed,
            accuracy,
            candidates,
            other_ways,
            judge_fails,
            target_fails: tf,
            approximation_fails: af,
            not_executed: ne,
            parked,
            execution_fails: ef,
            conflicts: co,
            stales: st,
            unstable,
            t,
            a,
            e,
            commit,
            judging,
        },
    )
}

/// The same agents, and nothing goes wrong.
pub(crate) fn calm(mut trouble: Trouble) -> Trouble {
    trouble.target_fails = 0;
    trouble.approximation_fails = 0;
    trouble.not_executed = 0;
    trouble.parked = 0;
    trouble.execution_fails = 0;
    trouble.conflicts = 0;
    trouble.stales = 0;
    trouble.unstable = false;
    trouble.judge_fails = 0;
    trouble
}

fn session() -> impl Strategy<Value = Session> {
    let width = prop_oneof![Just(1u32), 0..10u32];
    let control = prop_oneof![
        2 => Just(DepthControl::Fixed),
        1 => Just(DepthControl::Auto),
        1 => (1..1000u16).prop_map(|tau| DepthControl::Dynamic(tau.try_into().expect("a tau"))),
    ];
    let review = prop_oneof![Just(0), 0..6000u64];
    let matcher = prop_oneof![
        3 => Just(Matcher::Exact),
        1 => Just(Matcher::Fuzzy { per_mille: 300 }),
        2 => Just(Matcher::Effect),
        1 => Just(Matcher::Judge { steps: 1 }),
        1 => (0..5u32).prop_map(|steps| Matcher::Judge { steps }),
    ];
    let all = (
        (0..6u32, width, any::<bool>(), review, control),
        (matcher, 0..5u32),
    );
    all.prop_map(
        |((depth, width, barrier, review, control), (matcher, judges))| Session {
            depth,
            width,
            barrier,
            review,
            control,
            matcher,
            judges: match matcher {
                Matcher::Judge { .. } => judges,
                Matcher::Exact | Matcher::Fuzzy { .. } | Matcher::Effect => 0,
            },
        },
    )
}

fn pokes() -> impl Strategy<Value = Vec<Poke>> {
    let what = prop_oneof![
        4 => Just(What::Claim),
        1 => Just(What::Unclaim),
        4 => Just(What::Replace),
        3 => Just(What::Accept),
        1 => Just(What::Retry),
        2 => Just(What::Suggest),
        3 => Just(What::Offer),
        2 => Just(What::Backtrack),
        2 => Just(What::Pause),
        2 => Just(What::Resume),
        1 => Just(What::Lose),
        1 => Just(What::Attach),
        1 => Just(What::Stray),
        1 => Just(What::Crash),
    ];
    let poke =
        (0..6000u64, what, 0..4u32, any::<u64>()).prop_map(|(after, what, offset, choice)| Poke {
            after,
            what,
            offset,
            choice,
        });
    prop::collection::vec(poke, 0..40)
}

/// Every case.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    let property = prop_oneof![
        5 => Just(Property::TheEnd),
        3 => Just(Property::AStop),
        1 => Just(Property::Stale),
        1 => Just(Property::Calm),
    ];
    let all = (property, session(), trouble(), pokes());
    all.prop_map(|(property, session, trouble, pokes)| Case {
        property,
        session,
        trouble,
        pokes,
    })
}

/// Begins a session.
pub(crate) fn begin(session: &Session, trouble: &Trouble) -> Sim {
    let window = if session.barrier {
        Window::Barrier
    } else {
        Window::Sliding
    };
    let mut config = config(session.depth, window, STEPS_MAX);
    config.width = session.width;
    config.control = session.control;
    config.review = Duration::from_micros(session.review);
    config.matcher = session.matcher;
    Sim::new(config, world::world(trouble, session.judges))
}

/// Does what comes from outside, each when its time has come.
pub(crate) fn interfere(sim: &mut Sim, case: &Case) {
    for poke in &case.pokes {
        pokes::poke(sim, case.trouble.seed, poke);
    }
}
