//! What holds for every session. The rules themselves are checked by the monitor, effect by
//! effect; here is what can be said of a whole run.

use crate::cases::*;
use crate::sim::Sim;
use crate::sim::wording::{self, may_stand_for};
use forerun_planner::{Interrupt, State};
use forerun_types::{Matcher, Role, Source};

/// Runs a case and panics if its property does not hold, or a rule is broken.
pub(crate) fn check(case: &Case) -> Sim {
    let sim = match case.property {
        Property::TheEnd => the_plan_comes_to_its_end(case),
        Property::AStop => a_stop_ends_everything(case),
        Property::Stale | Property::Calm => the_plan_is_the_one_of_off(case),
    };
    assert_eq!(sim.planner.state(), State::Ended);
    assert!(sim.planner.steps().is_empty() && sim.planner.verified() <= STEPS_MAX);
    is_lossless(&sim, case);
    sim.replay();
    sim
}

fn the_plan_comes_to_its_end(case: &Case) -> Sim {
    let mut sim = begin(&case.session, &case.trouble);
    interfere(&mut sim, case);
    sim.run_to_the_end();
    sim
}

fn a_stop_ends_everything(case: &Case) -> Sim {
    let mut sim = begin(&case.session, &case.trouble);
    interfere(&mut sim, case);
    sim.run_until(sim.now + case.trouble.seed % 5000);
    sim.interrupt(Interrupt::Stop);
    sim.run();
    sim
}

/// Without interrupts: the trajectory and the workspace are those of one step at a time. With
/// `effect` the workspace is, and what was seen; how an action is said may differ. The other
/// lossy matchers promise no more than [`is_lossless`] looks at.
fn the_plan_is_the_one_of_off(case: &Case) -> Sim {
    let calm = calm(case.trouble.clone());
    let mut trouble = calm.clone();
    if let Property::Stale = case.property {
        trouble.stales = 1 + case.trouble.seed % 59;
    }
    let mut fast = begin(&case.session, &trouble);
    fast.run_to_the_end();
    if let Matcher::Fuzzy { .. } | Matcher::Judge { .. } = case.session.matcher {
        return fast;
    }
    let off = Session {
        depth: 0,
        ..case.session.clone()
    };
    let mut slow = begin(&off, &calm);
    slow.run();
    assert!(!slow.monitor.asked.contains_key(&Role::Approximation));
    let said = |action| match case.session.matcher {
        Matcher::Effect => wording::what(&action),
        _ => action,
    };
    let plan = |sim: &Sim| -> Vec<_> {
        let steps = sim.monitor.verified.iter();
        steps
            .map(|step| (said(step.action), step.next, step.state))
            .collect()
    };
    assert_eq!(plan(&fast), plan(&slow));
    fast
}

/// Rule 10: what is verified is what T alone would have done, given what the user decided; or
/// what the session's matcher may take for that.
fn is_lossless(sim: &Sim, case: &Case) {
    let (seed, matcher) = (case.trouble.seed, case.session.matcher);
    let mut prefix = sim.monitor.root;
    for step in &sim.monitor.verified {
        assert_eq!(step.prefix, prefix);
        if step.source == Source::Target {
            let verdict = verdict(seed, &prefix).action;
            assert!(may_stand_for(matcher, seed, &step.action, &verdict));
        }
        prefix = step.next;
    }
}
