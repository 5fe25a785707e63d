//! Scripted agents: a file says which steps an agent gives, how long it takes, and which
//! mistakes it makes. For tests, demonstrations, and measurements that must repeat.
//!
//! ```toml
//! answer = "renamed"                 # of the `terminate` after the last step
//!
//! [target]
//! latency_ms = 800
//! [approximation]
//! latency_ms = 200
//! mistakes = "listed"                # or "none", "all", or a probability such as 0.2
//!
//! [[step]]
//! tool = "read_file"
//! arguments = { path = "src/lib.rs" }
//! [[step]]
//! tool = "move"
//! arguments = '{"from": "a", "to": "b"}'
//!
//! [[mistake]]                        # what the approximation agent gives instead
//! step = 1
//! tool = "delete"
//! arguments = { path = "a" }
//! ```
//!
//! `[agent]` says for both roles what neither says for itself. Steps count from 0. A
//! scripted agent is a pure function of the prefix: it answers by the number of steps in
//! it, whatever they were.

mod agent;
mod read;

pub use agent::ScriptAgent;
pub use read::ScriptError;

use forerun_types::{Action, Role};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A script, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    pub(crate) name: String,
    pub(crate) task: Option<String>,
    pub(crate) steps: Vec<ScriptedStep>,
    pub(crate) mistakes: BTreeMap<usize, Action>,
    pub(crate) end: Action,
    pub(crate) approximation: Settings,
    pub(crate) target: Settings,
}

/// One step of a script.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScriptedStep {
    pub(crate) action: Action,
    pub(crate) approximation_latency: Option<Duration>,
    pub(crate) target_latency: Option<Duration>,
}

/// How the agent of one role behaves.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) latency: Duration,
    pub(crate) mistakes: Mistakes,
    pub(crate) seed: u64,
}

/// When an agent gives something else than its script.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mistakes {
    /// Never.
    None,
    /// Where the script lists one.
    Listed,
    /// At every step.
    All,
    /// At each step with this probability, drawn once for the step from the seed; and
    /// where the script lists one.
    Probability(f64),
}

impl Script {
    /// Reads a script from a file.
    ///
    /// # Errors
    /// If the file can not be read, or is no valid script; says where.
    pub fn load(path: impl AsRef<Path>) -> Result<Script, ScriptError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        Script::parse(&read::file(path, &name)?, &name)
    }

    /// Reads a script from a text; `name` is what errors call it.
    ///
    /// # Errors
    /// If it is no valid script; says where.
    pub fn parse(text: &str, name: &str) -> Result<Script, ScriptError> {
        read::script(text, name)
    }

    /// What errors and reports call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The task that the script is an answer to, if it says one.
    pub fn task(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// The actions of the script, without the `terminate` that follows the last.
    pub fn actions(&self) -> impl ExactSizeIterator<Item = &Action> {
        self.steps.iter().map(|step| &step.action)
    }

    /// The same script, in which the agent of `role` errs otherwise.
    #[must_use]
    pub fn with_mistakes(mut self, role: Role, mistakes: Mistakes) -> Script {
        self.settings_mut(role).mistakes = mistakes;
        self
    }

    /// The same script, in which the agent of `role` takes so long for a step, also where
    /// the step says otherwise.
    #[must_use]
    pub fn with_latency(mut self, role: Role, latency: Duration) -> Script {
        self.settings_mut(role).latency = latency;
        for step in &mut self.steps {
            match role {
                Role::Approximation => step.approximation_latency = None,
                Role::Target => step.target_latency = None,
            }
        }
        self
    }

    /// The agent of a role.
    pub fn agent(&self, role: Role) -> ScriptAgent {
        ScriptAgent::new(Arc::new(self.clone()), role)
    }

    pub(crate) fn settings(&self, role: Role) -> &Settings {
        match role {
            Role::Approximation => &self.approximation,
            Role::Target => &self.target,
        }
    }

    fn settings_mut(&mut self, role: Role) -> &mut Settings {
        match role {
            Role::Approximation => &mut self.approximation,
            Role::Target => &mut self.target,
        }
    }

    /// What is right at step `index`.
    pub(crate) fn right(&self, index: usize) -> &Action {
        self.steps.get(index).map_or(&self.end, |step| &step.action)
    }
}
