//! Whole-crate tests: branches against a plain directory, commits against crashes and
//! against people.

mod bytes;
mod changes;
mod commit;
mod conflict;
mod crash;
mod faults;
mod forget;
mod isolation;
mod large;
mod model;
mod mounts;
mod open;
mod ops;
mod paths;
mod people;
mod pins;
mod power;
mod promotion;
mod shapes;
mod support;
mod undo;
mod volatile;
