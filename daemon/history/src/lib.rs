//! Predicts the next call of an agent from what agents did before: no model, no training
//! before use.
//!
//! A pure function of the runs that it learned and of the run so far. It stands beside the planner
//! and not in it, because the planner knows ids only, and this reads what they stand for:
//! tools, arguments, observations.
//!
//! **Invariant:** no clock, no randomness, no I/O. The same runs in the same order give the
//! same predictions.
//! **Invariant:** a confidence is a lower bound of what was seen: of how often candidates like
//! this one were right, in runs that had not been learned yet. What was never tried has none.
//! **Invariant:** memory and time have limits, whatever is observed; what was read back is
//! checked before it is believed.

#![forbid(unsafe_code)]

mod arguments;
mod calls;
mod pairs;
mod predictor;
mod record;
mod run;
mod sequence;
mod source;
mod state;
mod values;

pub use predictor::{CANDIDATES_MAX, Candidate, Predictor};
pub use run::Run;
pub use state::{STATE_BYTES_MAX, StateError};
