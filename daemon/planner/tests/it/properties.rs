//! Random agents, latencies, failures, conflicts, orders and interrupts. The rules
//! themselves are checked by the monitor, effect by effect.

use crate::sim::*;
use forerun_planner::{
    Candidate, DepthControl, Failure, Input, Interrupt, Outcome, RetireResult, Seen, State,
    StepView, Window,
};
use forerun_types::{CallId, Digest, ExecutionId, NodeId, PrefixId, Role, Source, StepIndex};
use proptest::prelude::*;
use std::time::Duration;

const N: u32 = 12;

/// What may go wrong in a world; each in percent.
#[derive(Clone, Debug)]
struct Trouble {
    seed: u64,
    accuracy: u64,
    target_fails: u64,
    approximation_fails: u64,
    not_executed: u64,
    parked: u64,
    execution_fails: u64,
    conflicts: u64,
    stales: u64,
    /// How many candidates A gives, equal ones among them.
    candidates: u64,
    /// Executing again may return something else.
    unstable: bool,
    t: u64,
    a: u64,
    e: u64,
    commit: u64,
}

#[derive(Clone, Debug)]
struct Session {
    depth: u32,
    width: u32,
    barrier: bool,
    review: u64,
    control: DepthControl,
}

/// Something that somebody does after some time, whatever the state.
#[derive(Clone, Debug)]
struct Poke {
    after: u64,
    what: What,
    /// Counted from the first unverified step.
    offset: u32,
    choice: u64,
}

#[derive(Clone, Copy, Debug)]
enum What {
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
    Stop,
    Lose,
    Attach,
    Stray,
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
    let times = (1..9000u64, 1..9000u64, 0..3000u64, 0..500u64);
    let candidates = prop_oneof![Just(1u64), 1..12u64];
    let agents = (any::<u64>(), 0..=100u64, candidates);
    (agents, rates, any::<bool>(), times).prop_map(
        |(
            (seed, accuracy, candidates),
            (tf, af, (ne, parked), ef, (co, st)),
            unstable,
            (t, a, e, commit),
        )| Trouble {
            seed,
            accuracy,
            candidates,
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
        },
    )
}

fn calm(mut trouble: Trouble) -> Trouble {
    trouble.target_fails = 0;
    trouble.approximation_fails = 0;
    trouble.not_executed = 0;
    trouble.parked = 0;
    trouble.execution_fails = 0;
    trouble.conflicts = 0;
    trouble.stales = 0;
    trouble.unstable = false;
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
    let all = (0..6u32, width, any::<bool>(), review, control);
    all.prop_map(|(depth, width, barrier, review, control)| Session {
        depth,
        width,
        barrier,
        review,
        control,
    })
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

/// T: mostly tools, now and then a question or the end.
fn verdict(seed: u64, prefix: &PrefixId) -> Candidate {
    match draw(seed, "kind", prefix) % 100 {
        0..5 => action(&format!("terminate {}", draw(seed, "truth", prefix))),
        5..15 => action(&format!("ask_user {}", draw(seed, "truth", prefix))),
        _ => truth(seed, prefix),
    }
}

/// A: T's answer, or a mistake, which may be an end or a question too.
fn proposal(trouble: &Trouble, prefix: &PrefixId) -> Candidate {
    let seed = trouble.seed;
    if draw(seed, "accuracy", prefix) % 100 < trouble.accuracy {
        return verdict(seed, prefix);
    }
    match draw(seed, "mistake", prefix) % 5 {
        0 => action("terminate too early"),
        1 => action("ask_user nothing"),
        _ => action(&format!("tool {}", draw(seed, "mistake", prefix))),
    }
}

fn failure(draw: u64) -> Failure {
    let reason = "a failure".to_owned();
    match draw % 3 {
        0 => Failure::Transient { reason },
        1 => Failure::Permanent { reason },
        _ => Failure::RateLimited {
            retry_after: Duration::from_micros(draw % 5000),
        },
    }
}

fn world(trouble: &Trouble) -> World {
    // Failures come to an end, so that a session that is helped does too.
    const TRIES_MAX: u64 = 6;
    let happens = |what: &str, count: u64, percent: u64, seed: u64, prefix: &PrefixId| {
        count < TRIES_MAX && draw(seed, &format!("{what} {count}"), prefix) % 100 < percent
    };
    let between = |max: u64, what: &str, count: u64, seed: u64, prefix: &PrefixId| {
        draw(seed, &format!("{what} time {count}"), prefix) % (max + 1)
    };
    let (t, a, e, r) = (
        trouble.clone(),
        trouble.clone(),
        trouble.clone(),
        trouble.clone(),
    );
    let mut world = World::new(trouble.seed, 1.0, 0, 0, 0);
    world.target = Box::new(move |asked| {
        let Asked { count, prefix, .. } = asked;
        let after = between(t.t, "t", count, t.seed, &prefix);
        if happens("t fails", count, t.target_fails, t.seed, &prefix) {
            return (after, Err(failure(draw(t.seed, "failure", &prefix))));
        }
        (after, Ok(vec![verdict(t.seed, &prefix)]))
    });
    world.approximation = Box::new(move |asked| {
        let Asked { count, prefix, .. } = asked;
        let after = between(a.a, "a", count, a.seed, &prefix);
        if happens("a fails", count, a.approximation_fails, a.seed, &prefix) {
            return (after, Err(failure(draw(a.seed, "a failure", &prefix))));
        }
        let others = (1..a.candidates).map(|place| {
            if draw(a.seed, &format!("place {place}"), &prefix).is_multiple_of(3) {
                verdict(a.seed, &prefix)
            } else {
                action(&format!(
                    "tool {}",
                    draw(a.seed, "place", &prefix) + place % 4
                ))
            }
        });
        let candidates = std::iter::once(proposal(&a, &prefix)).chain(others);
        (after, Ok(candidates.collect()))
    });
    world.execute = Box::new(move |running| {
        let Running {
            count,
            prefix,
            action,
            speculative,
            ..
        } = running;
        let after = between(e.e, "e", count, e.seed, &prefix);
        let reason = || "a reason".to_owned();
        if speculative && happens("held", count, e.not_executed, e.seed, &prefix) {
            return (after, Outcome::NotExecuted { reason: reason() });
        }
        if happens("fails", count, e.execution_fails, e.seed, &prefix) {
            return (after, Outcome::Failed { reason: reason() });
        }
        let version = if e.unstable { count / 2 } else { 0 };
        let Outcome::Completed { observation, .. } = outcome(&prefix, &action) else {
            unreachable!("tools complete");
        };
        let observation = Digest::of(format!("{observation} {version}"));
        let next = below(&prefix, &action, &observation);
        let changes = Digest::of(if e.unstable {
            count.to_le_bytes()
        } else {
            [0; 8]
        });
        let outcome = Outcome::Completed {
            observation,
            changes,
            next,
        };
        (after, outcome)
    });
    let u = trouble.clone();
    let p = trouble.clone();
    world.parks = Box::new(move |running| {
        let Running { count, prefix, .. } = running;
        happens("parks", count, p.parked, p.seed, &prefix)
    });
    world.undo = Box::new(move |count| {
        let after = between(u.commit, "u", count, u.seed, &root());
        let stays = happens("stays", count, u.conflicts, u.seed, &root());
        (after, u32::from(stays))
    });
    world.retire = Box::new(move |count| {
        let after = between(r.commit, "r", count, r.seed, &root());
        let result = if count < 40 && happens("conflict", count % 6, r.conflicts, r.seed, &root()) {
            RetireResult::Conflict {
                reason: "a person was there".to_owned(),
                hint: "retry".to_owned(),
            }
        } else if count < 40 && happens("stale", count % 6, r.stales, r.seed, &root()) {
            RetireResult::Stale {
                reason: "a person was at what it read".to_owned(),
            }
        } else {
            RetireResult::Done
        };
        (after, result)
    });
    world
}

fn sim(session: &Session, trouble: &Trouble) -> Sim {
    let window = if session.barrier {
        Window::Barrier
    } else {
        Window::Sliding
    };
    let mut config = config(session.depth, window, N);
    config.width = session.width;
    config.control = session.control;
    config.review = Duration::from_micros(session.review);
    Sim::new(config, world(trouble))
}

fn seen(view: Option<&StepView>, choice: u64) -> Seen {
    match (view, choice % 5) {
        (Some(view), 1) => Seen::Prefix(view.prefix),
        (Some(view), 2) => view.node.map_or(Seen::Any, Seen::Node),
        (_, 3) => Seen::Node(NodeId(choice % 20)),
        _ => Seen::Any,
    }
}

/// What a user may come up with.
fn idea(seed: u64, view: Option<&StepView>, choice: u64) -> Candidate {
    let node = view.and_then(|view| view.action);
    match (view, choice % 4) {
        (Some(view), 0) => verdict(seed, &view.prefix),
        (Some(_), 1) if node.is_some() => Candidate {
            action: node.expect("just checked"),
            kind: forerun_types::ActionKind::Tool,
            tool: 0,
        },
        (_, 2) => action(&format!("ask_user {choice}")),
        _ => action(&format!("tool {choice}")),
    }
}

fn poke(sim: &mut Sim, seed: u64, poke: &Poke) {
    let now = sim.now + poke.after;
    sim.run_until(now);
    let views = sim.planner.steps();
    let step = StepIndex(sim.planner.verified() + poke.offset % 4).0;
    let step = StepIndex(if poke.choice.is_multiple_of(11) {
        step.saturating_sub(1)
    } else {
        step
    });
    let view = views.iter().find(|view| view.step == step);
    let choice = poke.choice >> 8;
    let seen = seen(view, choice);
    let role = if choice.is_multiple_of(2) {
        Role::Target
    } else {
        Role::Approximation
    };
    match poke.what {
        What::Claim => {
            let ttl = Duration::from_micros(choice % 9000);
            sim.interrupt(Interrupt::Claim { step, seen, ttl });
        }
        What::Unclaim => sim.interrupt(Interrupt::Unclaim { step }),
        What::Replace => {
            let candidate = idea(seed, view, choice >> 8);
            sim.interrupt(Interrupt::Replace {
                step,
                seen,
                candidate,
            });
        }
        What::Accept => {
            let admission = sim.planner.admission();
            let facts = admission.step(step);
            let rival = facts.and_then(|facts| facts.rival);
            let node = match choice % 5 {
                0 => view.and_then(|view| view.node),
                1 | 2 => rival,
                3 => facts.and_then(|facts| facts.siblings.last().copied()),
                _ => None,
            };
            sim.interrupt(Interrupt::Accept { step, node });
        }
        What::Suggest => {
            sim.suggest(&choice.to_string());
        }
        What::Offer => {
            let prefix = view.map_or(root(), |view| view.prefix);
            let candidates = (0..choice % 4).map(|place| idea(seed, view, (choice >> 8) + place));
            let candidates = candidates.collect();
            sim.feed(Input::Offered { prefix, candidates });
        }
        What::Backtrack => backtrack(sim, seed, choice),
        What::Retry => sim.interrupt(Interrupt::Retry),
        What::Pause => sim.interrupt(Interrupt::Pause),
        What::Resume => sim.interrupt(Interrupt::Resume),
        What::Stop => sim.interrupt(Interrupt::Stop),
        What::Lose => {
            sim.feed(Input::AgentLost { role });
            let capacity = (choice % 7) as u32;
            sim.at(
                now + choice % 20_000,
                Input::AgentAttached { role, capacity },
            );
        }
        What::Attach => {
            let capacity = (choice % 7) as u32;
            sim.feed(Input::AgentAttached { role, capacity });
        }
        What::Stray => stray(sim, choice),
    }
}

/// Goes back, from where the plan is or from what is verified already.
fn backtrack(sim: &mut Sim, seed: u64, choice: u64) {
    let lowest = sim.monitor.lowest();
    let step = StepIndex(lowest.saturating_sub((choice % 5) as u32));
    let Some(prefix) = sim.monitor.known_prefix_of(step.0) else {
        return;
    };
    let views = sim.planner.steps();
    let view = views.iter().find(|view| view.step == step);
    let text = (!choice.is_multiple_of(3)).then(|| choice.to_string());
    let candidate = (choice % 3 != 1).then(|| idea(seed, view, choice >> 8));
    let prefix = text.as_ref().map_or(prefix, |text| said(&prefix, text));
    // If it is refused, nothing is said.
    let before = sim.monitor.says.take();
    sim.monitor.says = if sim.planner.state() == State::Backtracking {
        before
    } else {
        text
    };
    sim.interrupt(Interrupt::Backtrack {
        step,
        seen: seen(view, choice >> 4),
        prefix,
        candidate,
    });
}

/// Ids that never were, and ids that may be anything.
fn stray(sim: &mut Sim, choice: u64) {
    let reason = "late".to_owned();
    let unknown = sim.planner.counters().unknown;
    sim.feed(Input::Failed {
        call: CallId(u64::MAX - choice % 3),
        failure: failure(choice),
    });
    sim.feed(Input::Executed {
        execution: ExecutionId(0),
        outcome: Outcome::Failed { reason },
    });
    sim.feed(Input::Retired {
        node: NodeId(u64::MAX),
        result: RetireResult::Done,
    });
    sim.feed(Input::Tick);
    assert_eq!(sim.planner.counters().unknown, unknown + 3);
}

/// Rule 10: what is verified is what T alone would have done, given what the user decided.
fn check_lossless(sim: &Sim, seed: u64) {
    let mut prefix = sim.monitor.root;
    for step in &sim.monitor.verified {
        assert_eq!(step.prefix, prefix);
        if step.source == Source::Target {
            assert_eq!(step.action, verdict(seed, &prefix).action);
        }
        prefix = step.next;
    }
}

fn config_of(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config_of(800))]

    #[test]
    fn whatever_happens_the_rules_hold_and_the_plan_is_the_targets(
        session in session(),
        trouble in trouble(),
        pokes in pokes(),
    ) {
        let mut sim = sim(&session, &trouble);
        for what in &pokes {
            poke(&mut sim, trouble.seed, what);
        }
        sim.run_to_the_end();
        check_lossless(&sim, trouble.seed);
        prop_assert!(sim.planner.steps().is_empty());
        prop_assert!(sim.planner.verified() <= N);
        sim.replay();
    }

    #[test]
    fn a_stop_at_any_time_ends_the_session_and_accounts_for_everything(
        session in session(),
        trouble in trouble(),
        mut pokes in pokes(),
        choice in any::<u64>(),
    ) {
        let mut sim = sim(&session, &trouble);
        let (what, offset) = (What::Stop, 0);
        pokes.push(Poke { after: choice % 5000, what, offset, choice });
        for what in &pokes {
            poke(&mut sim, trouble.seed, what);
        }
        sim.run();
        prop_assert_eq!(sim.planner.state(), State::Ended);
        check_lossless(&sim, trouble.seed);
        sim.replay();
    }

    #[test]
    fn steps_that_are_stale_are_executed_again_and_the_plan_is_the_one_of_off(
        session in session(),
        trouble in trouble(),
        stales in 1..60u64,
    ) {
        let calm = calm(trouble);
        let trouble = Trouble { stales, ..calm.clone() };
        let mut fast = sim(&session, &trouble);
        fast.run_to_the_end();
        let off = Session { depth: 0, ..session };
        let mut slow = sim(&off, &calm);
        slow.run();
        let actions = |sim: &Sim| -> Vec<_> {
            sim.monitor.verified.iter().map(|step| (step.action, step.next)).collect()
        };
        prop_assert_eq!(actions(&fast), actions(&slow));
        fast.replay();
    }

    #[test]
    fn without_failures_the_trajectory_is_the_one_of_off(
        session in session(),
        trouble in trouble(),
    ) {
        let trouble = calm(trouble);
        let mut fast = sim(&session, &trouble);
        fast.run();
        let off = Session { depth: 0, ..session };
        let mut slow = sim(&off, &trouble);
        slow.run();
        let actions = |sim: &Sim| -> Vec<_> {
            sim.monitor.verified.iter().map(|step| (step.action, step.next)).collect()
        };
        prop_assert_eq!(actions(&fast), actions(&slow));
        prop_assert_eq!(fast.planner.state(), State::Ended);
        prop_assert!(!slow.monitor.asked.contains_key(&Role::Approximation));
    }
}
