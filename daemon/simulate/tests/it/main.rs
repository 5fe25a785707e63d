//! The simulator's tests: one binary.

mod compare;
mod docs;
mod golden;
mod paper;
mod predict;
mod replay;
