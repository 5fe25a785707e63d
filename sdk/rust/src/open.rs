//! Opens sessions.

use crate::client::{Forerun, authorized, bearer, draw_key, idempotent};
use crate::error::{Error, Result};
use crate::info::{CommitMode, DepthControl, Window};
use crate::offer::Offer;
use crate::session::{Session, Tokens};
use forerun_proto::v1;
use forerun_types::{Limits, Matcher};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A session to be opened. What is not said is the daemon's default.
#[derive(Clone, Debug)]
pub struct SessionBuilder {
    daemon: Forerun,
    workspace: PathBuf,
    request: v1::SessionServiceCreateRequest,
}

impl SessionBuilder {
    pub(crate) fn new(daemon: Forerun, workspace: &Path) -> SessionBuilder {
        SessionBuilder {
            daemon,
            workspace: workspace.to_owned(),
            request: v1::SessionServiceCreateRequest::default(),
        }
    }

    /// What is to be done.
    #[must_use]
    pub fn task(mut self, task: impl Into<String>) -> SessionBuilder {
        self.request.task = task.into();
        self
    }

    /// How agents should go about it.
    #[must_use]
    pub fn instructions(mut self, instructions: impl Into<String>) -> SessionBuilder {
        self.request.instructions = instructions.into();
        self
    }

    /// Name of the policy set.
    #[must_use]
    pub fn policy(mut self, policy: impl Into<String>) -> SessionBuilder {
        self.request.policy = policy.into();
        self
    }

    /// How many steps may be undecided at once; 0 switches speculation off.
    #[must_use]
    pub fn depth(mut self, depth: u32) -> SessionBuilder {
        self.request.depth = Some(depth);
        self
    }

    /// How deep the session goes, up to its depth; fixed if it is not said.
    #[must_use]
    pub fn depth_control(mut self, control: DepthControl) -> SessionBuilder {
        let (wire, tau) = control.to_wire();
        self.request.depth_control = wire.into();
        self.request.tau = tau;
        self
    }

    /// Which candidates a verdict means beside those that are equal to it; exact if it is not
    /// said.
    #[must_use]
    pub fn matcher(mut self, matcher: Matcher) -> SessionBuilder {
        self.request.matcher = matcher.to_string();
        self
    }

    /// How many candidates of the approximation agent are executed side by side for a step,
    /// at most 8.
    #[must_use]
    pub fn width(mut self, width: u32) -> SessionBuilder {
        self.request.width = Some(width);
        self
    }

    /// Whether the next action is predicted from what was done in this workspace before, and
    /// executed ahead where that pays: no agent is needed for it.
    #[must_use]
    pub fn predict(mut self, predict: bool) -> SessionBuilder {
        self.request.predict = predict;
        self
    }

    /// When a step may start.
    #[must_use]
    pub fn window(mut self, window: Window) -> SessionBuilder {
        self.request.window = window.to_wire().into();
        self
    }

    /// How long a verdict can be replaced before it takes effect. Whole milliseconds.
    #[must_use]
    pub fn review(mut self, review: Duration) -> SessionBuilder {
        self.request.review_ms = millis(review);
        self
    }

    /// The plan ends after so many steps.
    #[must_use]
    pub fn max_steps(mut self, max_steps: u32) -> SessionBuilder {
        self.request.max_steps = Some(max_steps);
        self
    }

    /// When verified changes reach the workspace.
    #[must_use]
    pub fn commit(mut self, mode: CommitMode) -> SessionBuilder {
        self.request.commit = mode.to_wire().into();
        self
    }

    /// Where tools get their random numbers from. Two sessions with the same seed and
    /// clock are a fair pair.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> SessionBuilder {
        self.request.seed = Some(seed);
        self
    }

    /// What tools see as the time, in nanoseconds since 1970.
    #[must_use]
    pub fn clock_ns(mut self, clock_ns: u64) -> SessionBuilder {
        self.request.clock_ns = Some(clock_ns);
        self
    }

    /// What one action may use at most.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> SessionBuilder {
        self.request.limits = Some(limits.into());
        self
    }

    /// Tools that this program executes itself, beside the daemon's. May be said more than
    /// once.
    #[must_use]
    pub fn tools(mut self, offer: &Offer) -> SessionBuilder {
        let registration = offer.registration().to_owned();
        self.request.registrations.push(registration);
        self
    }

    /// The key under which opening twice is opening once. Otherwise one is drawn.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> SessionBuilder {
        self.request.idempotency_key = key.into();
        self
    }

    /// Opens the session.
    ///
    /// # Errors
    /// If the owner key can not be read, or the daemon refuses, for the workspace, the policy or a value, or can not be
    /// reached.
    pub async fn open(mut self) -> Result<Session> {
        let workspace = absolute(&self.workspace)?;
        self.request.workspace = workspace;
        if self.request.idempotency_key.is_empty() {
            self.request.idempotency_key = draw_key()?;
        }
        let bearer = bearer(&self.daemon.owner_key()?)?;
        let answer = idempotent(|| {
            let request = authorized(&bearer, self.request.clone());
            let mut service = self.daemon.session_service();
            async move { service.create(request).await }
        })
        .await?;
        let info = crate::info::session(answer.session)?;
        let tokens = Tokens {
            owner: answer.owner_token,
            approximation: answer.approximation_token,
            target: answer.target_token,
        };
        Ok(Session::new(self.daemon, info.id, tokens))
    }
}

/// The path from the root, without touching the file system: whether it exists is for
/// the daemon to say.
fn absolute(path: &Path) -> Result<String> {
    let path = std::path::absolute(path)
        .map_err(|error| Error::io("could not make absolute", path, error))?;
    path.into_os_string()
        .into_string()
        .map_err(|path| Error::Argument {
            what: "the workspace",
            problem: format!("{} is not UTF-8", path.to_string_lossy()),
        })
}

/// Whole milliseconds, at most what the wire can carry.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
