//! The vocabulary that every part of Forerun shares: ids, actions, canonical JSON,
//! digests, observations, prefixes, tools, limits, path rules and session events.
//!
//! This crate knows nobody: no I/O, no clock, no randomness, no wire format. What is
//! here is plain data with the checks that make it valid, so that the planner, the
//! sandbox, the policy and the journal can talk about the same things.

mod act;
mod action;
mod digest;
mod event;
mod http;
mod id;
pub mod json;
mod limits;
mod matcher;
mod observation;
mod path_rules;
mod prefix;
mod time;
mod tool;

pub use act::{ActOutcome, Acted, Hit};
pub use action::{ASK_USER, Action, ActionKey, ActionKind, TERMINATE};
pub use digest::{Digest, DigestParseError, Hasher};
pub use event::{
    AllowFor, ApprovalEnd, AskEnd, ChangeKind, EffectEnd, Event, EventKind, ExecutionEnd, FileDiff,
    LeftAlone, PathChange, Predictor, Sibling, Undone, Usage, View,
};
pub use http::{HttpRequest, HttpResponse};
pub use id::{
    ApprovalId, CallId, CommitId, ExecutionId, IdParseError, NodeId, Role, SessionId, SnapshotId,
    Source, StepIndex,
};
pub use json::{CanonicalJson, JsonError};
pub use limits::Limits;
pub use matcher::{Matcher, MatcherParseError};
pub use observation::{LimitName, Observation, ObservationStatus};
pub use path_rules::{
    DirectoryRules, PathPattern, PathRule, PathRules, RuleEffect, Touch, TouchDenied, extension,
    fold,
};
pub use prefix::{Entry, PrefixId};
pub use time::Time;
pub use tool::{Annotations, Speculation, ToolDescription};
