//! The picture of a run: what is in it, and that every log has one.

mod golden;
mod limits;
mod log;
mod page;
mod random;
