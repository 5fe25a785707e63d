//! What executing an action returned.

use crate::{Digest, Hasher};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What an agent sees of an executed action. Contains nothing that differs between two
/// runs of the same action on the same state: no durations, no host paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// How the action ended.
    pub status: ObservationStatus,
    /// The text that the tool returned, or the error.
    pub text: String,
    /// The tool's structured output, canonical JSON text, if it gave any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<String>,
    /// Whether `text` was cut at the output limit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "limit")]
pub enum ObservationStatus {
    /// The tool returned a result. Its changes are kept.
    Success,
    /// The tool returned an error of its own. Its changes are kept.
    ToolError,
    /// The action could not be started: unknown tool, or arguments that break its schema.
    Invalid,
    /// Policy refused the action. Retrying is pointless.
    Denied,
    /// The sandbox was stopped by a limit or a trap; nothing was changed.
    Stopped(LimitName),
}

/// The limit that stopped a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitName {
    /// Linear memories and tables of the instance, summed.
    Memory,
    /// CPU time.
    Cpu,
    /// Wall-clock time.
    WallTime,
    /// Bytes or nodes of unverified changes.
    Delta,
    /// Open handles.
    Handles,
    /// Not a limit: the guest trapped.
    Trap,
    /// Not a limit: the daemon failed to run the sandbox.
    Internal,
}

impl LimitName {
    /// Whether the outcome may be another one for verified work. Such an outcome of a
    /// speculative execution counts as *not executed* (planner rule 11).
    pub fn depends_on_load(self) -> bool {
        matches!(
            self,
            LimitName::WallTime | LimitName::Delta | LimitName::Internal
        )
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LimitName::Memory => "memory",
            LimitName::Cpu => "CPU time",
            LimitName::WallTime => "wall time",
            LimitName::Delta => "unverified changes",
            LimitName::Handles => "open handles",
            LimitName::Trap => "trap",
            LimitName::Internal => "internal",
        })
    }
}

impl Observation {
    /// An observation with a text and nothing else.
    pub fn new(status: ObservationStatus, text: impl Into<String>) -> Observation {
        Observation {
            status,
            text: text.into(),
            structured: None,
            truncated: false,
        }
    }

    /// Whether the action did anything but succeed.
    pub fn is_error(&self) -> bool {
        self.status != ObservationStatus::Success
    }

    /// Digest of everything an agent sees.
    pub fn digest(&self) -> Digest {
        Hasher::new("forerun observation v1")
            .field(format!("{:?}", self.status))
            .field(&self.text)
            .field(self.structured.as_deref().unwrap_or(""))
            .field([
                u8::from(self.structured.is_some()),
                u8::from(self.truncated),
            ])
            .finish()
    }
}
