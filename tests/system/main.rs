//! The whole system: the real `forerun` program, a real daemon over a real socket, real
//! agents as processes, a real workspace. One module a promise of the README.

mod acts;
mod approvals;
mod bad_input;
mod client_tools;
mod depth;
mod effects;
mod equality;
mod example;
mod exec;
mod interrupts;
mod isolation;
mod kill;
mod logs;
mod matching;
mod mcp;
mod models;
mod policies;
mod port;
mod predict;
mod quickstart;
mod report;
mod resilience;
mod simulate;
mod stale;
mod steering;
mod support;
mod tokens;
mod tools;
mod undo;
mod width;
mod wire;
