//! Runs the planner in virtual time: the very state machine that serves sessions, against
//! agents, tools and people that are functions of a seed.
//!
//! **Invariant:** no speculation algorithm is here. What is asked, executed, decided and
//! squashed is [`forerun_planner::Planner`]'s alone, through its public interface.
//! **Invariant:** no clock and no source of randomness but the seeds that are given.

#![forbid(unsafe_code)]

pub mod chance;
pub mod compare;
pub mod engine;
pub mod meter;
pub mod model;
pub mod paper;
pub mod predict;
pub mod preset;
pub mod replay;
pub mod statistics;
pub mod study;
pub mod table;
pub mod trace;
