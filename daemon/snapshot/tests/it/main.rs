//! Whole-crate tests: branches against a plain directory, commits against crashes and
//! against people.

mod bytes;
mod commit;
mod conflict;
mod crash;
mod isolation;
mod model;
mod ops;
mod support;
mod undo;
