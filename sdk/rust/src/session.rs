//! One session: watched, interrupted, finished.

use crate::agent::Agent;
use crate::attach::{AttachOptions, Attachment};
use crate::client::{Forerun, authorized, bearer, draw_key, idempotent};
use crate::error::Result;
use crate::info::{Finish, Finished, SessionInfo};
use crate::open::millis;
use crate::watch::Events;
use forerun_proto::conversions::Seen;
use forerun_proto::v1;
use forerun_proto::v1::session_service_client::SessionServiceClient;
use forerun_proto::v1::session_service_interrupt_request as wire;
use forerun_proto::v1::session_service_interrupt_request::Interrupt;
use forerun_types::{
    Action, AllowFor, ApprovalId, EventKind, FileDiff, NodeId, Role, SessionId, StepIndex, Undone,
    View,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::Channel;

/// What its bearer may do.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Everything that changes the session.
    pub owner: String,
    /// Attaching as approximation agent, and watching.
    pub approximation: String,
    /// Attaching as target agent, and watching.
    pub target: String,
}

impl Tokens {
    pub(crate) fn single(token: String) -> Tokens {
        Tokens {
            owner: token.clone(),
            approximation: token.clone(),
            target: token,
        }
    }

    /// The token for attaching in a role.
    pub fn role(&self, role: Role) -> &str {
        match role {
            Role::Approximation => &self.approximation,
            Role::Target => &self.target,
        }
    }
}

/// Tokens are not printed.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// What [`Session::stop_and_undo`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenBack {
    /// What became of each commit, newest first.
    pub undone: Vec<Undone>,
    /// Why those before the last of these are still in the workspace, if they are.
    pub refused: Option<String>,
}

/// How a step that one goes back to is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anew {
    /// By the caller, with this action.
    Action(Action),
    /// By the agents, who see this.
    Suggestion(String),
}

/// One session. Clones are the same session.
///
/// Dropping it ends nothing: the session goes on in the daemon until its plan ends or
/// [`Session::close`] is called.
#[derive(Clone, Debug)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    daemon: Forerun,
    id: SessionId,
    tokens: Tokens,
}

/// What a look at a session's log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLog {
    /// Events that are as they were written, counted from the first.
    pub intact: u64,
    /// The first event that can not be trusted (0 for the session's record), and why.
    pub broken: Option<(u64, String)>,
}

impl Session {
    pub(crate) fn new(daemon: Forerun, id: SessionId, tokens: Tokens) -> Session {
        Session {
            inner: Arc::new(Inner { daemon, id, tokens }),
        }
    }

    /// The session's id.
    pub fn id(&self) -> &SessionId {
        &self.inner.id
    }

    /// The session's tokens; all the same if it was found with one.
    pub fn tokens(&self) -> &Tokens {
        &self.inner.tokens
    }

    /// The daemon that has it.
    pub fn daemon(&self) -> &Forerun {
        &self.inner.daemon
    }

    /// Attaches an agent. It answers until the session needs it no more, and attaches
    /// again by itself when the connection breaks; dropping the [`Attachment`] does not
    /// end it.
    ///
    /// # Errors
    /// If the daemon refuses the agent, or can not be reached.
    pub async fn attach(&self, role: Role, agent: impl Agent) -> Result<Attachment> {
        self.attach_with(role, agent, AttachOptions::default())
            .await
    }

    /// As [`Session::attach`], with an id, a model or a capacity of one's own.
    ///
    /// # Errors
    /// If the daemon refuses the agent, or can not be reached.
    pub async fn attach_with(
        &self,
        role: Role,
        agent: impl Agent,
        options: AttachOptions,
    ) -> Result<Attachment> {
        crate::attach::attach(self.clone(), role, Arc::new(agent), options).await
    }

    /// The orderly stream for people, from the start, until nothing more can happen.
    pub fn steps(&self) -> Events {
        self.watch(View::Presented)
    }

    /// The session's events from the start, until nothing more can happen.
    pub fn watch(&self, view: View) -> Events {
        self.watch_from(view, 0, true)
    }

    /// The session's events after a position. Without `follow`, the stream ends after
    /// those that there are.
    pub fn watch_from(&self, view: View, after_sequence: u64, follow: bool) -> Events {
        Events::new(self.clone(), view, after_sequence, follow)
    }

    /// What the session is and does.
    ///
    /// # Errors
    /// If the daemon refuses, or can not be reached.
    pub async fn info(&self) -> Result<SessionInfo> {
        let request = v1::SessionServiceGetRequest {
            session: self.id().to_string(),
        };
        let answer = self
            .call(request, |mut service, request| async move {
                service.get(request).await
            })
            .await?;
        crate::info::session(answer.session)
    }

    /// What differs from the workspace as the session found it.
    ///
    /// # Errors
    /// If the daemon refuses, or can not be reached.
    pub async fn diff(&self) -> Result<Vec<FileDiff>> {
        let request = v1::SessionServiceDiffRequest {
            session: self.id().to_string(),
        };
        let answer = self
            .call(request, |mut service, request| async move {
                service.diff(request).await
            })
            .await?;
        crate::info::diff(answer)
    }

    /// With `commit = session`: commits, discards or keeps the changes, of `paths` only if
    /// there are any.
    ///
    /// # Errors
    /// If the daemon refuses, for instance because a file was changed meanwhile, or can
    /// not be reached.
    pub async fn finish(&self, finish: Finish, paths: &[String]) -> Result<Finished> {
        let request = v1::SessionServiceFinishRequest {
            session: self.id().to_string(),
            outcome: finish.to_wire().into(),
            paths: paths.to_vec(),
            idempotency_key: draw_key()?,
        };
        let answer = self
            .call(request, |mut service, request| async move {
                service.finish(request).await
            })
            .await?;
        crate::info::finished(answer)
    }

    /// Takes committed steps of an ended session back, newest first: from a step on, or
    /// all. What somebody changed since is left alone, unless `force`.
    ///
    /// # Errors
    /// If the session has not ended, nothing can be undone, or the daemon can not be
    /// reached.
    pub async fn undo(&self, from: Option<StepIndex>, force: bool) -> Result<Vec<Undone>> {
        self.undo_or_redo(from, force, false).await
    }

    /// Brings undone steps back, oldest first: from a step on, or all.
    ///
    /// # Errors
    /// As [`Session::undo`].
    pub async fn redo(&self, from: Option<StepIndex>, force: bool) -> Result<Vec<Undone>> {
        self.undo_or_redo(from, force, true).await
    }

    async fn undo_or_redo(
        &self,
        from: Option<StepIndex>,
        force: bool,
        redo: bool,
    ) -> Result<Vec<Undone>> {
        let request = v1::SessionServiceUndoRequest {
            session: self.id().to_string(),
            from_step: from.map(|step| step.0),
            force,
            redo,
            idempotency_key: draw_key()?,
        };
        let answer = self
            .call(request, |mut service, request| async move {
                service.undo(request).await
            })
            .await?;
        crate::info::undone(answer)
    }

    /// Whether the session's log is what was written, event by event.
    ///
    /// # Errors
    /// If the daemon refuses, or can not be reached.
    pub async fn verify_log(&self) -> Result<VerifiedLog> {
        let request = v1::SessionServiceVerifyRequest {
            session: self.id().to_string(),
        };
        let answer = self
            .call(request, |mut service, request| async move {
                service.verify(request).await
            })
            .await?;
        Ok(VerifiedLog {
            intact: answer.intact,
            broken: answer.broken.map(|broken| (broken.sequence, broken.reason)),
        })
    }

    /// Ends the session and frees what it holds. Verified steps are kept.
    ///
    /// # Errors
    /// If the daemon refuses, or can not be reached.
    pub async fn close(&self) -> Result<SessionInfo> {
        let request = v1::SessionServiceCloseRequest {
            session: self.id().to_string(),
            idempotency_key: draw_key()?,
        };
        let answer = self
            .call(request, |mut service, request| async move {
                service.close(request).await
            })
            .await?;
        crate::info::session(answer.session)
    }

    /// A person is deciding the step: the target's answer is shown, but is no verdict,
    /// until the claim is used, given back, or `ttl` has passed (zero: the daemon's default).
    ///
    /// # Errors
    /// If the step can not be claimed, or is not what was `seen` any more.
    pub async fn claim(
        &self,
        step: impl Into<StepIndex>,
        seen: Seen,
        ttl: Duration,
    ) -> Result<u64> {
        self.interrupt(Interrupt::Claim(wire::Claim {
            step: step.into().0,
            seen: seen.into(),
            ttl_ms: millis(ttl),
        }))
        .await
    }

    /// Gives a claim back.
    ///
    /// # Errors
    /// If the step is not claimed.
    pub async fn unclaim(&self, step: impl Into<StepIndex>) -> Result<u64> {
        let step = step.into().0;
        self.interrupt(Interrupt::Unclaim(wire::Unclaim { step }))
            .await
    }

    /// Decides the step, whatever it is by now.
    ///
    /// # Errors
    /// If the step can not be decided now.
    pub async fn replace(&self, step: impl Into<StepIndex>, action: Action) -> Result<u64> {
        self.replace_seen(step, Seen::Any, action).await
    }

    /// Decides the step, if it still is what was `seen`.
    ///
    /// # Errors
    /// If the step can not be decided now, or is not what was `seen` any more.
    pub async fn replace_seen(
        &self,
        step: impl Into<StepIndex>,
        seen: Seen,
        action: Action,
    ) -> Result<u64> {
        self.interrupt(Interrupt::Replace(wire::Replace {
            step: step.into().0,
            seen: seen.into(),
            action: Some(action.into()),
        }))
        .await
    }

    /// Decides the step as it was proposed; `node` is the proposal that was seen.
    ///
    /// # Errors
    /// If there is no such proposal, or the step can not be decided now.
    pub async fn accept(&self, step: impl Into<StepIndex>, node: Option<NodeId>) -> Result<u64> {
        self.interrupt(Interrupt::Accept(wire::Accept {
            step: step.into().0,
            node: node.map(|node| node.to_string()),
        }))
        .await
    }

    /// Answers the question that an `ask_user` asks.
    ///
    /// # Errors
    /// If the step asks nothing.
    pub async fn answer(&self, step: impl Into<StepIndex>, text: impl Into<String>) -> Result<u64> {
        self.interrupt(Interrupt::Answer(wire::AnswerQuestion {
            step: step.into().0,
            text: text.into(),
        }))
        .await
    }

    /// Allows what policy put to the owner: the event `approval_requested`, or
    /// [`SessionInfo::approval`], says what. It can be allowed for longer than this once.
    ///
    /// # Errors
    /// If it was answered by now, or withdrawn; and [`AllowFor::Always`] if no permit can
    /// allow it, or the owner key, which it needs, can not be read.
    pub async fn approve(&self, approval: ApprovalId, allow_for: AllowFor) -> Result<u64> {
        let approve = Interrupt::Approve(wire::Approve {
            approval: approval.to_string(),
            allow_for: v1::AllowFor::from(allow_for).into(),
        });
        match allow_for {
            AllowFor::Once | AllowFor::Session => self.interrupt(approve).await,
            // A session's token is not good for what outlives the session.
            AllowFor::Always => {
                let with_key = self.daemon().owned(self.id().clone())?;
                with_key.interrupt(approve).await
            }
        }
    }

    /// Refuses what policy put to the owner; the agents are told the reason, if there is
    /// one.
    ///
    /// # Errors
    /// As for [`Session::approve`].
    pub async fn refuse(&self, approval: ApprovalId, reason: impl Into<String>) -> Result<u64> {
        self.interrupt(Interrupt::Refuse(wire::Refuse {
            approval: approval.to_string(),
            reason: reason.into(),
        }))
        .await
    }

    /// Lets a stalled session ask again.
    ///
    /// # Errors
    /// If it is not stalled.
    pub async fn retry(&self) -> Result<u64> {
        self.interrupt(Interrupt::Retry(wire::Retry {})).await
    }

    /// Nothing is launched, decided or committed until [`Session::resume`].
    ///
    /// # Errors
    /// If the plan has ended.
    pub async fn pause(&self) -> Result<u64> {
        self.interrupt(Interrupt::Pause(wire::Pause {})).await
    }

    /// The end of [`Session::pause`].
    ///
    /// # Errors
    /// If the session is not paused.
    pub async fn resume(&self) -> Result<u64> {
        self.interrupt(Interrupt::Resume(wire::Resume {})).await
    }

    /// Ends the plan. Verified steps are kept.
    ///
    /// # Errors
    /// If the plan has ended.
    pub async fn stop(&self) -> Result<u64> {
        self.interrupt(Interrupt::Stop(wire::Stop { undo: false }))
            .await
    }

    /// Ends the plan and takes its verified steps back, newest first; returns what that
    /// did, once it is done. What somebody changed since is left alone.
    ///
    /// # Errors
    /// If the plan has ended, or the daemon can not be reached.
    pub async fn stop_and_undo(&self) -> Result<TakenBack> {
        let stop = wire::Stop { undo: true };
        let after = self.interrupt(Interrupt::Stop(stop)).await?;
        let mut events = self.watch_from(View::Presented, after, true);
        let mut taken_back = TakenBack::default();
        while let Some(event) = events.next().await {
            match event?.kind {
                EventKind::Undone(undone) => taken_back.undone.push(undone),
                EventKind::Refused { reason, .. } => taken_back.refused = Some(reason),
                kind if kind.is_last() => break,
                _ => {}
            }
        }
        Ok(taken_back)
    }

    /// Says something that becomes part of what agents are asked on, from the next
    /// undecided step on. They are asked again; candidates that are there stay.
    ///
    /// # Errors
    /// If nothing is left to decide, or the text is empty or too long.
    pub async fn suggest(&self, text: impl Into<String>) -> Result<u64> {
        let text = text.into();
        self.interrupt(Interrupt::Suggest(wire::Suggest { text }))
            .await
    }

    /// Goes back to a step, verified or not, if it still is what was `seen`: it and all
    /// after it are undone, and it is decided anew. The event `backtracked` says when that
    /// is done, and events `undone` before it what was taken back and what was not.
    ///
    /// # Errors
    /// If there is no such step yet, it is not what was `seen` any more, the plan has ended,
    /// or something was sent since that can not be taken back.
    pub async fn backtrack(
        &self,
        step: impl Into<StepIndex>,
        seen: Seen,
        anew: Anew,
    ) -> Result<u64> {
        self.go_back(step.into(), seen, anew, false).await
    }

    /// The same, although something was sent since: that stays as it is.
    ///
    /// # Errors
    /// If there is no such step yet, it is not what was `seen` any more, or the plan has
    /// ended.
    pub async fn backtrack_keeping_effects(
        &self,
        step: impl Into<StepIndex>,
        seen: Seen,
        anew: Anew,
    ) -> Result<u64> {
        self.go_back(step.into(), seen, anew, true).await
    }

    async fn go_back(
        &self,
        step: StepIndex,
        seen: Seen,
        anew: Anew,
        keep_effects: bool,
    ) -> Result<u64> {
        self.interrupt(Interrupt::Backtrack(wire::Backtrack {
            step: step.0,
            seen: seen.into(),
            keep_effects,
            anew: Some(match anew {
                Anew::Action(action) => wire::backtrack::Anew::Action(action.into()),
                Anew::Suggestion(text) => wire::backtrack::Anew::Suggestion(text),
            }),
        }))
        .await
    }

    /// Interrupts, and returns the position of the log at which it had taken effect.
    async fn interrupt(&self, interrupt: Interrupt) -> Result<u64> {
        let request = v1::SessionServiceInterruptRequest {
            session: self.id().to_string(),
            idempotency_key: draw_key()?,
            interrupt: Some(interrupt),
        };
        let answer = self
            .call(request, |mut service, request| async move {
                service.interrupt(request).await
            })
            .await?;
        Ok(answer.sequence)
    }

    /// Calls with the owner's token; once more after a broken connection.
    async fn call<R: Clone, T, F>(
        &self,
        request: R,
        call: impl Fn(SessionServiceClient<Channel>, tonic::Request<R>) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let bearer = bearer(&self.inner.tokens.owner)?;
        idempotent(|| {
            call(
                self.daemon().session_service(),
                authorized(&bearer, request.clone()),
            )
        })
        .await
    }
}
