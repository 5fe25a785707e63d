//! Why a policy set can not be used.

use std::fmt;

/// Why a policy set could not be loaded. Nothing may run under it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// There is no ready set of this name.
    #[error("find the policy set {name:?}; there is {}", known.join(", "))]
    UnknownSet {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// A tool can not be described to policies.
    #[error("describe the tool {tool:?} to policies: {reason}")]
    Tool {
        /// The tool's name.
        tool: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The set is not valid.
    #[error("load the policy set {set:?}: {}", list(problems))]
    Invalid {
        /// The set's name.
        set: String,
        /// Everything that is wrong with it, in the order of the source.
        problems: Vec<Problem>,
    },
    /// The set does not decide as its examples say.
    #[error("load the policy set {set:?}: it fails its examples: {}", failures.join("; "))]
    Examples {
        /// The set's name.
        set: String,
        /// One sentence for each example that failed.
        failures: Vec<String>,
    },
    /// A layer could not be read.
    #[error("read the policies {path}: {reason}")]
    Unreadable {
        /// Where it is.
        path: String,
        /// Why not.
        reason: String,
    },
    /// What is always allowed could not be written.
    #[error("write the policies {path}: {reason}")]
    Unwritable {
        /// Where they are.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A path that the user wants unprotected is none.
    #[error("unprotect {path:?}: {reason}")]
    Unprotect {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// One thing that is wrong with a set's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The policy that it is about, if it has a name.
    pub policy: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl PolicyError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            PolicyError::UnknownSet { .. } => "policy_unknown_set",
            PolicyError::Tool { .. } => "policy_tool",
            PolicyError::Invalid { .. } => "policy_invalid",
            PolicyError::Examples { .. } => "policy_examples",
            PolicyError::Unreadable { .. } => "policy_unreadable",
            PolicyError::Unprotect { .. } => "policy_unprotect",
            PolicyError::Unwritable { .. } => "policy_unwritable",
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PolicyError::UnknownSet { name, known } => {
                let near = known
                    .iter()
                    .find(|known| known.contains(name.as_str()) || name.contains(known.as_str()));
                near.map(|near| format!("did you mean {near:?}?"))
            }
            PolicyError::Tool { .. } => {
                Some("a tool's name has 1 to 128 letters, digits, `_`, `-`, `.` or `/`".to_owned())
            }
            PolicyError::Invalid { problems, .. } => {
                problems.iter().find_map(|problem| problem.hint.clone())
            }
            PolicyError::Examples { .. } => {
                Some("change the policies or the examples, so that they agree".to_owned())
            }
            PolicyError::Unreadable { .. } => {
                Some("nothing runs under policies that can not be read".to_owned())
            }
            PolicyError::Unwritable { .. } => Some("allow it once, or for the session".to_owned()),
            PolicyError::Unprotect { .. } => {
                Some("give a path relative to the workspace, such as .github/workflows".to_owned())
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if let Some(policy) = &self.policy {
            write!(f, "policy {policy:?}: ")?;
        }
        f.write_str(&self.message)
    }
}

fn list(problems: &[Problem]) -> String {
    let texts: Vec<_> = problems.iter().map(Problem::to_string).collect();
    texts.join("; ")
}
