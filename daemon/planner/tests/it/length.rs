//! A session may be long: what is verified is forgotten.

use crate::sim::{action, config, digest, outcome, root};
use forerun_planner::{Effect, Input, Planner, RetireResult, Window};
use forerun_types::{PrefixId, Role, Time};
use std::collections::VecDeque;

/// Drives a session whose agents are always right until so many steps are verified; how much
/// the planner says of itself then.
fn size_after(steps: u32) -> usize {
    let mut planner = Planner::new(config(4, Window::Sliding, u32::MAX), root());
    let mut inputs: VecDeque<Input> = [Role::Approximation, Role::Target]
        .map(|role| Input::AgentAttached { role, capacity: 4 })
        .into();
    let mut now = 0;
    while planner.verified() < steps {
        now += 1;
        let input = inputs.pop_front().expect("somebody works");
        for effect in planner.handle(Time(now), input) {
            inputs.extend(reaction(&effect));
        }
    }
    format!("{planner:?}").len()
}

fn reaction(effect: &Effect) -> Option<Input> {
    match effect {
        Effect::Ask { call, step, .. } => Some(Input::Answered {
            call: *call,
            candidate: action(&format!("tool {step}")),
            others: Vec::new(),
            near: Vec::new(),
        }),
        Effect::Execute {
            execution,
            action,
            step,
            ..
        } => Some(Input::Executed {
            execution: *execution,
            outcome: outcome(&PrefixId(digest(step.0)), action),
        }),
        Effect::Retire { node, .. } => Some(Input::Retired {
            node: *node,
            result: RetireResult::Done,
        }),
        _ => None,
    }
}

#[test]
fn a_planner_does_not_grow_with_what_is_verified() {
    let (short, long) = (size_after(100), size_after(20_000));
    // Numbers have more digits, and one step more may be under way.
    assert!(long < short * 2, "{short} and then {long}");
}
