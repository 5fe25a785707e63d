//! That the planner's tests are worth something: each mutant is caught, the planner is not.

use forerun_planner_mutants::{MUTANTS, hunt};

/// The most random schedules for each; a few dozen are enough for nearly all mutants, and a few
/// thousand for those that only a rare turn of the user shows.
const SCHEDULES: u32 = 8000;

#[test]
fn each_mutant_is_caught_and_the_planner_itself_is_not() {
    let mut free = Vec::new();
    for mutant in MUTANTS {
        match hunt(Some(*mutant), SCHEDULES) {
            Some(caught) => println!("{} {}: {caught:?}", mutant.name, mutant.does),
            None => free.push(mutant.name),
        }
    }
    assert_eq!(free, [""; 0], "nobody notices them");
    let caught = hunt(None, SCHEDULES);
    assert!(caught.is_none(), "the planner: {caught:?}");
}
