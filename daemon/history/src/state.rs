//! What was learned, as a text that can be kept and read back. Whoever kept it is not trusted:
//! what can not have come about by learning is refused.

use crate::Predictor;
use serde::{Deserialize, Serialize};

/// The form of the text. Another form is refused: what was learned can be learned again.
const VERSION: u32 = 1;
/// Most bytes of a text that is read; stops a file that is none from filling the memory.
pub const STATE_BYTES_MAX: usize = 32 << 20;

/// A text that holds no predictor.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Longer than any is.
    #[error("failed to read what was learned: {0} bytes, more than {STATE_BYTES_MAX}")]
    TooLong(usize),
    /// No JSON, or not with the fields that belong there.
    #[error("failed to read what was learned")]
    Syntax(#[source] serde_json::Error),
    /// Of another version.
    #[error("failed to read what was learned: version {0}, where {VERSION} is known")]
    Version(u32),
    /// It holds more than is ever kept, or counts that contradict each other.
    #[error("failed to read what was learned: it can not have come about by learning")]
    Impossible,
}

impl StateError {
    /// Stable name of the reason, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            StateError::TooLong(_) => "history_limit",
            StateError::Syntax(_) => "history_invalid",
            StateError::Version(_) => "history_version",
            StateError::Impossible => "history_impossible",
        }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    learned: &'a Predictor,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "version")]
    _version: u32,
    learned: Predictor,
}

impl Predictor {
    /// What was learned, as JSON. It contains arguments of calls, which may be confidential.
    ///
    /// # Errors
    /// None that is known: everything in it has a form in JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let version = VERSION;
        serde_json::to_string(&Written {
            version,
            learned: self,
        })
    }

    /// Reads what [`Predictor::to_json`] wrote.
    ///
    /// # Errors
    /// If the text is too long, is not such a text, or holds what is never learned.
    pub fn from_json(text: &str) -> Result<Predictor, StateError> {
        if text.len() > STATE_BYTES_MAX {
            return Err(StateError::TooLong(text.len()));
        }
        let Version { version } = serde_json::from_str(text).map_err(StateError::Syntax)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let read: Read = serde_json::from_str(text).map_err(StateError::Syntax)?;
        match read.learned.is_valid() {
            true => Ok(read.learned),
            false => Err(StateError::Impossible),
        }
    }
}
