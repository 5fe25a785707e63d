//! What comes from outside, whatever the state: people, agents that come and go, inputs that
//! mean nothing, and the end of the process.

use super::world::{failure, verdict};
use super::{Poke, What};
use crate::sim::wording::{WAYS, reworded};
use crate::sim::*;
use forerun_planner::{Candidate, Input, Interrupt, Outcome, RetireResult, Seen, State, StepView};
use forerun_types::{CallId, ExecutionId, NodeId, Role, StepIndex};
use std::time::Duration;

fn seen(view: Option<&StepView>, choice: u64) -> Seen {
    match (view, choice % 5) {
        (Some(view), 1) => Seen::Prefix(view.prefix),
        (Some(view), 2) => view.node.map_or(Seen::Any, Seen::Node),
        (_, 3) => Seen::Node(NodeId(choice % 20)),
        _ => Seen::Any,
    }
}

/// What a user may come up with.
fn idea(sim: &Sim, seed: u64, view: Option<&StepView>, choice: u64) -> Candidate {
    let there = view.and_then(|view| view.action);
    let way = (choice >> 4) % (2 * WAYS);
    let idea = match (view, choice % 4) {
        (Some(view), 0) => verdict(seed, &view.prefix),
        (_, 1) if there.is_some() => sim.monitor.candidates[&there.expect("just checked")],
        (_, 2) => action(&format!("ask_user {choice}")),
        _ => action(&format!("tool {choice}")),
    };
    if way < WAYS {
        reworded(idea, way)
    } else {
        idea
    }
}

pub(super) fn poke(sim: &mut Sim, seed: u64, poke: &Poke) {
    let now = sim.now + poke.after;
    sim.run_until(now);
    let views = sim.planner.steps();
    let step = StepIndex(sim.planner.verified() + poke.offset % 4).0;
    let step = StepIndex(if poke.choice.is_multiple_of(11) {
        step.saturating_sub(1)
    } else {
        step
    });
    // What is awaited is what people mean most often.
    let awaited = sim.monitor.lowest();
    let is_awaited = poke.choice.is_multiple_of(3);
    let step = match poke.what {
        What::Claim | What::Replace | What::Accept if is_awaited => StepIndex(awaited),
        _ => step,
    };
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
            let candidate = idea(sim, seed, view, choice >> 8);
            let near = sim.near(step.0, &candidate);
            sim.interrupt(Interrupt::Replace {
                step,
                seen,
                candidate,
                near,
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
            let candidates =
                (0..choice % 4).map(|place| idea(sim, seed, view, (choice >> 8) + place));
            let candidates = candidates.collect::<Vec<_>>();
            sim.feed(Input::Offered { prefix, candidates });
        }
        What::Backtrack => backtrack(sim, seed, choice),
        What::Retry => sim.interrupt(Interrupt::Retry),
        What::Pause => sim.interrupt(Interrupt::Pause),
        What::Resume => sim.interrupt(Interrupt::Resume),
        What::Lose if sim.world.judges > 0 && (choice >> 1).is_multiple_of(2) => {
            sim.feed(Input::JudgeLost);
            let capacity = (choice % 7) as u32;
            sim.at(now + choice % 20_000, Input::JudgeAttached { capacity });
        }
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
        What::Crash => sim.crash(choice % 5000, (choice % 7) as u32),
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
    let candidate = (choice % 3 != 1).then(|| idea(sim, seed, view, choice >> 8));
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
    sim.feed(Input::Judged {
        call: CallId(0),
        same: vec![NodeId(choice % 20)],
    });
    sim.feed(Input::Tick);
    assert_eq!(sim.planner.counters().unknown, unknown + 4);
}
