//! The planner's suites: properties over random worlds, interrupts,
//! failures, and prefixes that change. Every effect of every test goes through
//! [`monitor::Monitor`], which knows the rules independently of the planner.
//! Whether it would notice is tested, too: see `mutants`, beside `tests`.

mod backtrack;
mod cases;
mod changes;
mod failures;
mod hand;
mod interrupts;
mod length;
mod matching;
mod monitor;
mod presentation;
mod properties;
mod schedules;
mod sim;
mod suggest;
mod width;
