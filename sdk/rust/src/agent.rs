//! What an agent is: a pure function of the prefix that it is asked on.

use async_trait::async_trait;
use forerun_types::{Action, Digest, Entry, PrefixId, Role, StepIndex, ToolDescription, Usage};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How many calls an agent takes at once, unless it says otherwise: room for the depth of
/// the default preset and for its retries.
const CAPACITY: u32 = 8;

/// Gives the next step of a plan.
///
/// An agent keeps no state of its own between calls: the same request means the same
/// question, calls come in any order and overlap, and what an answer says beside the
/// action never enters a prefix. A call that is not wanted any more is cancelled by
/// dropping its future.
#[async_trait]
pub trait Agent: Send + Sync + 'static {
    /// Candidates for the next step, best first: one at least, [`Request::width`] at most.
    ///
    /// # Errors
    /// If no answer can be given; the kind says whether to ask again.
    async fn propose(&self, request: &Request) -> Result<Vec<Candidate>, AgentError>;

    /// The model behind it, for people and for reports.
    fn model(&self) -> String {
        String::new()
    }

    /// How many calls it takes at once.
    fn capacity(&self) -> u32 {
        CAPACITY
    }
}

#[async_trait]
impl Agent for Box<dyn Agent> {
    async fn propose(&self, request: &Request) -> Result<Vec<Candidate>, AgentError> {
        (**self).propose(request).await
    }
    fn model(&self) -> String {
        (**self).model()
    }
    fn capacity(&self) -> u32 {
        (**self).capacity()
    }
}

/// A candidate for a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What to do.
    pub action: Action,
    /// From 0 to 1, if the agent can tell.
    pub confidence: Option<f64>,
    /// For people.
    pub note: String,
    /// What it cost. Candidates of one answer are summed.
    pub usage: Usage,
}

impl Candidate {
    /// An action, and nothing else.
    pub fn new(action: Action) -> Candidate {
        Candidate {
            action,
            confidence: None,
            note: String::new(),
            usage: Usage::default(),
        }
    }
}

/// Why an agent could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// It may work the next time.
    #[error("{0}")]
    Transient(String),
    /// No failure, but a request to slow down.
    #[error("rate limited: {reason}")]
    RateLimited {
        /// What the model's service says.
        reason: String,
        /// For how long to wait.
        retry_after: Duration,
    },
    /// Asking again is pointless.
    #[error("{0}")]
    Permanent(String),
}

/// What a step is asked on: the task, and the steps before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub(crate) task: Arc<str>,
    pub(crate) instructions: Arc<str>,
    pub(crate) entries: Vec<Arc<Entry>>,
}

/// The tools that can be called, and their digest.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) digest: Digest,
    pub(crate) descriptions: Vec<ToolDescription>,
}

/// Receives what a running call says about itself.
pub(crate) trait Reporter: Send + Sync {
    /// The call has generated so many tokens so far.
    fn progress(&self, output_tokens: u64);
}

/// One question to an agent.
#[derive(Clone)]
pub struct Request {
    pub(crate) prefix_id: PrefixId,
    pub(crate) prefix: Arc<Prefix>,
    pub(crate) tools: Arc<Tools>,
    pub(crate) step: StepIndex,
    pub(crate) role: Role,
    pub(crate) width: u32,
    pub(crate) deadline: Option<Instant>,
    pub(crate) priority: u32,
    pub(crate) reporter: Option<Arc<dyn Reporter>>,
}

impl Request {
    /// A question as the daemon would ask it, for trying agents without a daemon.
    pub fn new(
        role: Role,
        task: &str,
        instructions: &str,
        entries: Vec<Entry>,
        tools: Vec<ToolDescription>,
    ) -> Request {
        let digest = ToolDescription::set_digest(&tools);
        let root = PrefixId::root(task, instructions, &digest);
        let steps = entries.iter().filter(|entry| is_step(entry)).count();
        Request {
            prefix_id: entries
                .iter()
                .fold(root, |prefix, entry| prefix.extend(entry)),
            prefix: Arc::new(Prefix {
                task: task.into(),
                instructions: instructions.into(),
                entries: entries.into_iter().map(Arc::new).collect(),
            }),
            tools: Arc::new(Tools {
                digest,
                descriptions: tools,
            }),
            step: StepIndex(u32::try_from(steps).unwrap_or(u32::MAX)),
            role,
            width: 1,
            deadline: None,
            priority: 0,
            reporter: None,
        }
    }

    /// What the user wants done.
    pub fn task(&self) -> &str {
        &self.prefix.task
    }

    /// How to go about it.
    pub fn instructions(&self) -> &str {
        &self.prefix.instructions
    }

    /// What came before, oldest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.prefix.entries.iter().map(|entry| &**entry)
    }

    /// How many steps came before.
    pub fn steps_before(&self) -> usize {
        self.entries().filter(|entry| is_step(entry)).count()
    }

    /// The tools that can be called. `terminate` and `ask_user` always can be.
    pub fn tools(&self) -> &[ToolDescription] {
        &self.tools.descriptions
    }

    /// Digest of everything that the answer may depend on.
    pub fn prefix_id(&self) -> PrefixId {
        self.prefix_id
    }

    /// The step that is asked for.
    pub fn step(&self) -> StepIndex {
        self.step
    }

    /// The role in which it is asked.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How many candidates are wanted at most.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// When the answer is given up.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How many undecided steps lie before this one: 0 is the most urgent.
    pub fn priority(&self) -> u32 {
        self.priority
    }

    /// Says that the agent is still at it, which renews the idle deadline; also what is
    /// counted as wasted if the call is cancelled.
    pub fn progress(&self, output_tokens: u64) {
        if let Some(reporter) = &self.reporter {
            reporter.progress(output_tokens);
        }
    }
}

fn is_step(entry: &Entry) -> bool {
    matches!(entry, Entry::Step { .. })
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("step", &self.step)
            .field("role", &self.role)
            .field("prefix", &self.prefix_id)
            .finish_non_exhaustive()
    }
}
