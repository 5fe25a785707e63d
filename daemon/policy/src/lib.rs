//! Decides what an action may do: run, be held until its verdict, be put to the user,
//! or be denied. Policies are written in Cedar; the ready sets and the static part of
//! the schema are in `policies/` at the top of the repository.
//!
//! ```text
//!   tools ──▶ schema ──▶ strict validation ──▶ PolicySet ──┬─▶ decide_call    rules, sliced by action
//!   source ─────────────────────▲                          ├─▶ decide_connect rules, sliced by action
//!                                                          ├─▶ decide_commit  rules + path rules
//!                                                          └─▶ path_rules     plain data, for sandboxes
//!   two sets ──▶ diff              what one allows more or less than the other
//! ```
//!
//! - Default deny, forbid wins. **The mode is part of the question:** Cedar is asked
//!   whether the action may *run*, then *hold*, then *ask*, and the first that is allowed
//!   is the decision. So no two permits can contradict each other, and a typing error
//!   denies.
//! - **Invariant:** a policy that Cedar could not evaluate denies, whatever else permits.
//! - **Invariant:** rules decide as Cedar would. What a rule can not tell of its policy's
//!   condition, it has Cedar evaluate.
//! - **Invariant:** the path rules of a set decide as Cedar would: a condition that does
//!   not compile into them is refused when the set is loaded.
//! - A set is layers: what is protected lies under every one, and the system and the project
//!   may narrow it. Only the user's own layer permits anything.
//! - **Invariant:** a set is immutable, and a set that is not valid, or a ready set whose
//!   examples fail, does not exist.
//! - Pure: no files, no clock, no configuration. A decision depends on the set and the
//!   request alone.

mod arguments;
mod audit;
mod conditions;
mod connect;
mod decide;
mod definition;
mod diff;
mod error;
mod examples;
mod expression;
mod fact;
mod grant;
mod paths;
mod ready;
mod request;
mod rule;
mod schema;
mod set;
mod source;
mod touch;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod random;

pub use connect::ConnectRequest;
pub use definition::{Definition, Tested};
pub use diff::{Change, DiffError, Difference, Finding, Witness};
pub use error::{PolicyError, Problem};
pub use grant::Grant;
pub use request::{CallRequest, CommitRequest, Counters, Decision, Outcome};
pub use set::{Enforcement, Layer, LoadOptions, PolicySet, Written};
