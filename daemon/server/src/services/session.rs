//! Sessions: opened, watched, interrupted and finished by their owner.

use super::blocking;
use crate::config::DEPTH_MAX;
use crate::daemon::{Daemon, NewSession};
use crate::error::RequestError;
use crate::session::archive::{self, FinishOutcome, UndoRequest};
use crate::session::{
    Anew, InterruptError, Interruption, Message, PendingApproval, Phase, RoleSummary,
    SessionSettings, UserInterrupt, View,
};
use forerun_journal::{CommitMode, SessionRecord, SessionState};
use forerun_planner::{Config, DepthControl, Seen, Tau, Window};
use forerun_proto::conversions::{self, ConversionError};
use forerun_proto::v1;
use forerun_proto::v1::session_service_interrupt_request::Interrupt as Wire;
use forerun_proto::v1::session_service_interrupt_request::backtrack::Anew as WireAnew;
use forerun_proto::v1::session_service_server::SessionService;
use forerun_proto::v1::session_service_verify_response::Broken;
use forerun_types::{AllowFor, ApprovalId, Event, Matcher, SessionId, StepIndex};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// Events that may wait for one watcher; it reads the journal at its own pace.
const WATCH_QUEUE_MAX: usize = 64;
/// Events that one read of the journal brings.
const WATCH_PAGE: usize = 256;
/// How long a watcher hears nothing at most.
const WATCH_HEARTBEAT: Duration = Duration::from_secs(10);
/// How long a watcher may not read; then it is cut off, and can resume.
const WATCH_STALL: Duration = Duration::from_secs(30);
/// How often a watcher of a stopping daemon looks whether its session has ended.
const LAST_WORDS_POLL: Duration = Duration::from_millis(20);
/// Most bytes of a task or of instructions: both are part of every prompt.
const TASK_BYTES_MAX: usize = 1 << 20;
/// Longest review window: stops a typo from holding up a session for ever.
const REVIEW_MAX_MS: u64 = 86_400_000;
/// How long a claim lasts if the client does not say (planner.md).
const CLAIM_TTL: Duration = Duration::from_secs(60);

pub(super) struct Sessions(pub(super) Arc<Daemon>);

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl SessionService for Sessions {
    type WatchStream = ReceiverStream<Result<v1::SessionServiceWatchResponse, Status>>;

    async fn create(
        &self,
        request: Request<v1::SessionServiceCreateRequest>,
    ) -> Reply<v1::SessionServiceCreateResponse> {
        self.0
            .authorize_user(request.metadata(), "open a session")?;
        let request = request.into_inner();
        let key = request.idempotency_key.clone();
        let new = self.new_session(request).map_err(RequestError::from)?;
        let created = self.0.create(new, &key).await?;
        let view = self.0.view(&created.record.id).await?;
        Ok(Response::new(v1::SessionServiceCreateResponse {
            session: Some(info(&created.record, &view)),
            owner_token: created.tokens.owner.clone(),
            approximation_token: created.tokens.approximation.clone(),
            target_token: created.tokens.target.clone(),
        }))
    }

    async fn get(
        &self,
        request: Request<v1::SessionServiceGetRequest>,
    ) -> Reply<v1::SessionServiceGetResponse> {
        let (record, _) = self
            .0
            .authorize(request.metadata(), &request.get_ref().session)?;
        let view = self.0.view(&record.id).await?;
        Ok(Response::new(v1::SessionServiceGetResponse {
            session: Some(info(&record, &view)),
        }))
    }

    async fn list(
        &self,
        request: Request<v1::SessionServiceListRequest>,
    ) -> Reply<v1::SessionServiceListResponse> {
        self.0
            .authorize_user(request.metadata(), "list the sessions")?;
        let mut records = self
            .0
            .log
            .journal()
            .sessions()
            .map_err(RequestError::from)?;
        records.sort_by_key(|record| std::cmp::Reverse(record.opened_at_ms));
        match request.get_ref().limit {
            0 => {}
            limit => records.truncate(limit as usize),
        }
        let mut sessions = Vec::with_capacity(records.len());
        for record in records {
            let view = self.0.view(&record.id).await?;
            sessions.push(info(&record, &view));
        }
        Ok(Response::new(v1::SessionServiceListResponse { sessions }))
    }

    async fn close(
        &self,
        request: Request<v1::SessionServiceCloseRequest>,
    ) -> Reply<v1::SessionServiceCloseResponse> {
        let session = &request.get_ref().session;
        let record = self
            .0
            .authorize_owner(request.metadata(), session, "close the session")?;
        if let Some(handle) = self.0.live(&record.id) {
            let reason = "its owner closed it".to_owned();
            handle
                .call(|done| Message::Close {
                    reason,
                    by_daemon: false,
                    done,
                })
                .await;
        }
        let view = self.0.view(&record.id).await?;
        Ok(Response::new(v1::SessionServiceCloseResponse {
            session: Some(info(&record, &view)),
        }))
    }

    async fn watch(
        &self,
        request: Request<v1::SessionServiceWatchRequest>,
    ) -> Reply<Self::WatchStream> {
        let (record, _) = self
            .0
            .authorize(request.metadata(), &request.get_ref().session)?;
        let request = request.into_inner();
        let watcher = Watcher {
            bell: self.0.log.bell(&record.id),
            daemon: Arc::clone(&self.0),
            session: record.id,
            after: request.after_sequence,
            trace: request.view() == v1::View::Trace,
            follow: request.follow,
        };
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE_MAX);
        tokio::spawn(watcher.run(sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn interrupt(
        &self,
        request: Request<v1::SessionServiceInterruptRequest>,
    ) -> Reply<v1::SessionServiceInterruptResponse> {
        let session = &request.get_ref().session;
        let record = self
            .0
            .authorize_owner(request.metadata(), session, "interrupt")?;
        let (metadata, _, request) = request.into_parts();
        let what = interrupt(request.interrupt).map_err(RequestError::from)?;
        let handle = self.0.live(&record.id).ok_or(RequestError::SessionOver)?;
        if let UserInterrupt::Approve {
            approval,
            allow_for: AllowFor::Always,
        } = &what
        {
            self.0
                .authorize_user(&metadata, "change what is always allowed")?;
            self.allow_always(&record, *approval).await?;
        }
        let key = request.idempotency_key;
        let answer = handle
            .call(|reply| Message::Interrupt(Box::new(Interruption { what, key, reply })))
            .await;
        let sequence = answer
            .unwrap_or(Err(InterruptError::Ended))
            .map_err(RequestError::from)?;
        Ok(Response::new(v1::SessionServiceInterruptResponse {
            sequence,
        }))
    }

    async fn diff(
        &self,
        request: Request<v1::SessionServiceDiffRequest>,
    ) -> Reply<v1::SessionServiceDiffResponse> {
        let (record, _) = self
            .0
            .authorize(request.metadata(), &request.get_ref().session)?;
        if let Some(handle) = self.0.live(&record.id)
            && let Some(files) = handle.call(Message::Diff).await
        {
            let files = files.map_err(RequestError::Internal)?;
            let files = files.into_iter().map(Into::into).collect();
            return Ok(Response::new(v1::SessionServiceDiffResponse { files }));
        }
        let daemon = Arc::clone(&self.0);
        let files = blocking(move || {
            let workspace = daemon.open_workspace(&record.workspace)?;
            Ok(archive::diff(&daemon.log, &record.id, &workspace)?)
        })
        .await?;
        let files = files.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::SessionServiceDiffResponse { files }))
    }

    async fn finish(
        &self,
        request: Request<v1::SessionServiceFinishRequest>,
    ) -> Reply<v1::SessionServiceFinishResponse> {
        let session = &request.get_ref().session;
        let record = self
            .0
            .authorize_owner(request.metadata(), session, "finish the session")?;
        let request = request.into_inner();
        let outcome = match request.outcome() {
            v1::FinishOutcome::Commit => FinishOutcome::Commit,
            v1::FinishOutcome::Discard => FinishOutcome::Discard,
            v1::FinishOutcome::Keep => FinishOutcome::Keep,
            v1::FinishOutcome::Unspecified => {
                let error = ConversionError::new("outcome", "is not set");
                return Err(RequestError::from(error).into());
            }
        };
        if !request.paths.is_empty() {
            let problem = "changes are committed as a whole; choosing paths is not possible yet";
            return Err(RequestError::from(ConversionError::new("paths", problem)).into());
        }
        let daemon = Arc::clone(&self.0);
        let finished = blocking(move || {
            let _one_at_a_time = daemon.finishing();
            let workspace = daemon.open_workspace(&record.workspace)?;
            let policy = daemon.policy(&record.policy, Some(&record.workspace))?;
            let finished = archive::finish(&daemon.log, &record, &workspace, &policy, outcome)?;
            daemon.record_finish(&record, &finished)?;
            let settler = daemon.settler(workspace);
            settler.flush();
            settler.expire();
            Ok(finished)
        })
        .await?;
        let (commit, changed) = finished.commit.unzip();
        Ok(Response::new(v1::SessionServiceFinishResponse {
            outcome: outcome_to_wire(finished.outcome).into(),
            commit: commit.map(|id| id.to_string()),
            changed: changed
                .unwrap_or_default()
                .into_iter()
                .map(Into::into)
                .collect(),
        }))
    }

    async fn undo(
        &self,
        request: Request<v1::SessionServiceUndoRequest>,
    ) -> Reply<v1::SessionServiceUndoResponse> {
        let session = &request.get_ref().session;
        let record = self
            .0
            .authorize_owner(request.metadata(), session, "undo its steps")?;
        let request = request.into_inner();
        let wanted = UndoRequest {
            from: request.from_step.map(StepIndex),
            force: request.force,
            redo: request.redo,
        };
        let daemon = Arc::clone(&self.0);
        let undone = blocking(move || {
            let _one_at_a_time = daemon.finishing();
            let workspace = daemon.open_workspace(&record.workspace)?;
            let undone = archive::undo(&daemon.log, &record, &workspace, wanted)?;
            daemon.settler(workspace).flush();
            Ok(undone)
        })
        .await?;
        Ok(Response::new(v1::SessionServiceUndoResponse {
            undone: undone.into_iter().map(Into::into).collect(),
        }))
    }

    async fn verify(
        &self,
        request: Request<v1::SessionServiceVerifyRequest>,
    ) -> Reply<v1::SessionServiceVerifyResponse> {
        let session = &request.get_ref().session;
        let record = self
            .0
            .authorize_owner(request.metadata(), session, "verify its log")?;
        let daemon = Arc::clone(&self.0);
        let found = blocking(move || Ok(daemon.log.journal().verify(&record.id)?)).await?;
        Ok(Response::new(v1::SessionServiceVerifyResponse {
            intact: found.intact,
            broken: found.broken.map(|broken| Broken {
                sequence: broken.sequence,
                reason: broken.reason.to_owned(),
            }),
        }))
    }
}

fn outcome_to_wire(outcome: FinishOutcome) -> v1::FinishOutcome {
    match outcome {
        FinishOutcome::Commit => v1::FinishOutcome::Commit,
        FinishOutcome::Discard => v1::FinishOutcome::Discard,
        FinishOutcome::Keep => v1::FinishOutcome::Keep,
    }
}

impl Sessions {
    fn new_session(
        &self,
        request: v1::SessionServiceCreateRequest,
    ) -> Result<NewSession, ConversionError> {
        let settings = &self.0.config.settings;
        let (window, commit) = (request.window(), request.commit());
        let workspace = std::path::PathBuf::from(&request.workspace);
        if !workspace.is_absolute() {
            return Err(ConversionError::new(
                "workspace",
                "must be an absolute path",
            ));
        }
        for (field, text) in [
            ("task", &request.task),
            ("instructions", &request.instructions),
        ] {
            if text.len() > TASK_BYTES_MAX {
                let problem = format!("has {} bytes; at most {TASK_BYTES_MAX}", text.len());
                return Err(ConversionError::new(field, problem));
            }
        }
        let depth = request.depth.unwrap_or(settings.depth);
        if depth > DEPTH_MAX {
            return Err(ConversionError::new(
                "depth",
                format!("is {depth}; at most {DEPTH_MAX}"),
            ));
        }
        let width = request.width.unwrap_or(settings.width);
        if !(1..=Config::WIDTH_MAX).contains(&width) {
            let problem = format!("is {width}; it must be 1 to {}", Config::WIDTH_MAX);
            return Err(ConversionError::new("width", problem));
        }
        if request.review_ms > REVIEW_MAX_MS {
            return Err(ConversionError::new(
                "review_ms",
                format!("at most {REVIEW_MAX_MS}"),
            ));
        }
        let control = depth_control(request.depth_control(), request.tau)?;
        let matcher = matcher(&request.matcher)?;
        let policy = Some(request.policy).filter(|name| !name.is_empty());
        Ok(NewSession {
            workspace,
            task: request.task,
            instructions: request.instructions,
            policy: policy.unwrap_or_else(|| settings.policy.clone()),
            depth,
            commit: match commit {
                v1::CommitMode::Session => CommitMode::Session,
                v1::CommitMode::Step | v1::CommitMode::Unspecified => CommitMode::Step,
            },
            seed: request.seed,
            clock_ns: request.clock_ns,
            settings: SessionSettings {
                width,
                window: match window {
                    v1::Window::Barrier => Window::Barrier,
                    v1::Window::Sliding | v1::Window::Unspecified => Window::Sliding,
                },
                review_ms: request.review_ms,
                max_steps: request
                    .max_steps
                    .map_or(settings.max_steps, |max| max.clamp(1, settings.max_steps)),
                limits: conversions::limits_over(&settings.limits, request.limits),
                predict: request.predict,
                control,
                matcher,
            },
            registrations: request.registrations,
        })
    }
}

impl Sessions {
    /// Adds the permit that an open question shows to the user's policies. A question that is
    /// not open any more is left to the session, which knows why.
    async fn allow_always(
        &self,
        record: &SessionRecord,
        approval: ApprovalId,
    ) -> Result<(), RequestError> {
        let pending = self.0.view(&record.id).await?.summary.approval;
        let Some(pending) = pending.filter(|pending| pending.id == approval) else {
            return Ok(());
        };
        let Some(permit) = pending.always else {
            return Err(InterruptError::Refused {
                reason: format!("no permit can allow this always: {}", pending.reason),
                needed: "a question that no policy's forbid leads to",
                changed: false,
            }
            .into());
        };
        let (daemon, set) = (Arc::clone(&self.0), record.policy.clone());
        blocking(move || {
            let sandboxes = daemon.sandboxes();
            let path = daemon
                .policies
                .allow_always(&set, &permit, sandboxes.toolbox())?;
            tracing::info!(path = %path.display(), policy = set, "something is always allowed from now on");
            Ok(())
        })
        .await
    }
}

/// How deep a session goes, from the wire.
fn depth_control(control: v1::DepthControl, tau: u32) -> Result<DepthControl, ConversionError> {
    let refused = |problem: String| Err(ConversionError::new("tau", problem));
    match (control, tau) {
        (v1::DepthControl::Dynamic, tau) => {
            let thousandths = u16::try_from(if tau == 0 { 500 } else { tau });
            match Tau::try_from(thousandths.unwrap_or(u16::MAX)) {
                Ok(tau) => Ok(DepthControl::Dynamic(tau)),
                Err(_) => refused(format!("is {tau}; it must be 1 to 999 thousandths")),
            }
        }
        (_, 1..) => refused("is for DEPTH_CONTROL_DYNAMIC only".to_owned()),
        (v1::DepthControl::Auto, 0) => Ok(DepthControl::Auto),
        (v1::DepthControl::Fixed | v1::DepthControl::Unspecified, 0) => Ok(DepthControl::Fixed),
    }
}

/// A matcher, from the wire.
fn matcher(text: &str) -> Result<Matcher, ConversionError> {
    let refused = |problem: String| ConversionError::new("matcher", problem);
    match text {
        "" => Ok(Matcher::Exact),
        text => match text.parse() {
            Ok(Matcher::Judge { .. }) => Err(refused(
                "no agent can attach to judge yet; exact, fuzzy and effect need none".to_owned(),
            )),
            Ok(matcher) => Ok(matcher),
            Err(error) => Err(refused(error.to_string())),
        },
    }
}

/// An interrupt, from the wire.
fn interrupt(wire: Option<Wire>) -> Result<UserInterrupt, ConversionError> {
    let seen = |seen, inside: &str| -> Result<Seen, ConversionError> {
        Ok(
            match conversions::seen_from_wire(seen).map_err(|error| error.inside(inside))? {
                conversions::Seen::Any => Seen::Any,
                conversions::Seen::Prefix(prefix) => Seen::Prefix(prefix),
                conversions::Seen::Node(node) => Seen::Node(node),
            },
        )
    };
    Ok(
        match wire.ok_or_else(|| ConversionError::new("interrupt", "is not set"))? {
            Wire::Claim(claim) => UserInterrupt::Claim {
                step: StepIndex(claim.step),
                seen: seen(claim.seen, "claim")?,
                ttl: match claim.ttl_ms {
                    0 => CLAIM_TTL,
                    ttl => Duration::from_millis(ttl),
                },
            },
            Wire::Unclaim(unclaim) => UserInterrupt::Unclaim {
                step: StepIndex(unclaim.step),
            },
            Wire::Replace(replace) => UserInterrupt::Replace {
                step: StepIndex(replace.step),
                seen: seen(replace.seen, "replace")?,
                action: conversions::required("replace.action", replace.action)?,
            },
            Wire::Accept(accept) => UserInterrupt::Accept {
                step: StepIndex(accept.step),
                node: conversions::optional_text("accept.node", accept.node.as_deref())?,
            },
            Wire::Answer(answer) => UserInterrupt::Answer {
                step: StepIndex(answer.step),
                text: answer.text,
            },
            Wire::Approve(approve) => UserInterrupt::Approve {
                approval: conversions::text("approve.approval", &approve.approval)?,
                allow_for: match approve.allow_for() {
                    v1::AllowFor::Unspecified => AllowFor::Once,
                    _ => conversions::enumeration::<v1::AllowFor, _>(
                        "approve.allow_for",
                        approve.allow_for,
                    )?,
                },
            },
            Wire::Refuse(refuse) => UserInterrupt::Refuse {
                approval: conversions::text("refuse.approval", &refuse.approval)?,
                reason: refuse.reason,
            },
            Wire::Retry(_) => UserInterrupt::Retry,
            Wire::Pause(_) => UserInterrupt::Pause,
            Wire::Resume(_) => UserInterrupt::Resume,
            Wire::Stop(stop) => UserInterrupt::Stop { undo: stop.undo },
            Wire::Suggest(suggest) => UserInterrupt::Suggest { text: suggest.text },
            Wire::Backtrack(backtrack) => UserInterrupt::Backtrack {
                step: StepIndex(backtrack.step),
                seen: seen(backtrack.seen, "backtrack")?,
                keep_effects: backtrack.keep_effects,
                anew: match backtrack.anew {
                    Some(WireAnew::Suggestion(text)) => Anew::Suggestion(text),
                    Some(WireAnew::Action(action)) => {
                        Anew::Action(conversions::required("backtrack.action", Some(action))?)
                    }
                    None => return Err(ConversionError::new("backtrack.anew", "is not set")),
                },
            },
        },
    )
}

/// Sends a session's events from the journal, then waits for more.
struct Watcher {
    daemon: Arc<Daemon>,
    session: SessionId,
    bell: watch::Receiver<u64>,
    after: u64,
    trace: bool,
    follow: bool,
}

type WatchSender = mpsc::Sender<Result<v1::SessionServiceWatchResponse, Status>>;

impl Watcher {
    async fn run(mut self, sender: WatchSender) {
        use v1::session_service_watch_response::Message as Wire;
        let mut stopping = self.daemon.stopping();
        let mut over = false;
        loop {
            self.bell.borrow_and_update();
            let page = self.page();
            let events = match page {
                Ok(events) => events,
                Err(error) => {
                    let _ = sender.send(Err(error.into())).await;
                    return;
                }
            };
            let caught_up = events.len() < WATCH_PAGE;
            for event in events {
                self.after = event.sequence;
                over |= event.kind.is_last();
                if self.trace || event.kind.view() == forerun_types::View::Presented {
                    let message = Some(Wire::Event(event.into()));
                    if !tell(&sender, message).await {
                        return;
                    }
                }
            }
            if !caught_up {
                continue;
            }
            if over || !self.follow {
                return;
            }
            tokio::select! {
                changed = self.bell.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(WATCH_HEARTBEAT) => {
                    let heartbeat = v1::WatchHeartbeat { sequence: self.after };
                    let message = Some(Wire::Heartbeat(heartbeat));
                    if !tell(&sender, message).await {
                        return;
                    }
                }
                () = sender.closed() => return,
                () = stopped(&mut stopping) => {
                    self.last_words(&sender).await;
                    return;
                }
            }
        }
    }

    fn page(&self) -> Result<Vec<Event>, RequestError> {
        Ok(self
            .daemon
            .log
            .journal()
            .events(&self.session, self.after, WATCH_PAGE)?)
    }

    /// The daemon stops: the session's last events, then the reason. The stream is one
    /// that its client can resume.
    async fn last_words(mut self, sender: &WatchSender) {
        use v1::session_service_watch_response::Message as Wire;
        let ended = async {
            while self.daemon.live(&self.session).is_some() {
                tokio::time::sleep(LAST_WORDS_POLL).await;
            }
        };
        let _ = tokio::time::timeout(crate::daemon::STOP_GRACE, ended).await;
        for event in self.page().unwrap_or_default() {
            self.after = event.sequence;
            if self.trace || event.kind.view() == forerun_types::View::Presented {
                let message = Some(Wire::Event(event.into()));
                let _ = sender
                    .send(Ok(v1::SessionServiceWatchResponse { message }))
                    .await;
            }
        }
        let _ = sender.send(Err(RequestError::Stopping.into())).await;
    }
}

/// Sends, unless the watcher is gone or has not read for too long.
async fn tell(
    sender: &WatchSender,
    message: Option<v1::session_service_watch_response::Message>,
) -> bool {
    let message = Ok(v1::SessionServiceWatchResponse { message });
    sender.send_timeout(message, WATCH_STALL).await.is_ok()
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the daemon is gone, which is the same.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// A session as clients see it.
fn info(record: &SessionRecord, view: &View) -> v1::SessionInfo {
    let settings: SessionSettings =
        serde_json::from_value(record.settings.clone()).unwrap_or_default();
    let summary = &view.summary;
    let mut stall = None;
    let state = match &summary.phase {
        Phase::Open if record.state == SessionState::Interrupted => v1::SessionState::Interrupted,
        Phase::Open => v1::SessionState::Open,
        Phase::Paused => v1::SessionState::Paused,
        Phase::Stalled { step, reason, hint } => {
            stall = Some(v1::Stall {
                step: step.0,
                reason: reason.clone(),
                hint: hint.clone(),
            });
            v1::SessionState::Stalled
        }
        Phase::Ended => v1::SessionState::Ended,
        Phase::Finished => v1::SessionState::Finished,
        Phase::Interrupted => v1::SessionState::Interrupted,
    };
    v1::SessionInfo {
        id: record.id.to_string(),
        state: state.into(),
        stall,
        workspace: record.workspace.display().to_string(),
        task: record.task.clone(),
        instructions: record.instructions.clone(),
        policy: record.policy.clone(),
        depth: record.depth,
        window: match settings.window {
            Window::Sliding => v1::Window::Sliding,
            Window::Barrier => v1::Window::Barrier,
        }
        .into(),
        review_ms: settings.review_ms,
        max_steps: settings.max_steps,
        predict: settings.predict,
        commit: match record.commit {
            CommitMode::Step => v1::CommitMode::Step,
            CommitMode::Session => v1::CommitMode::Session,
        }
        .into(),
        seed: record.seed,
        clock_ns: record.clock_ns,
        opened_at_ms: record.opened_at_ms,
        agents: view.agents.iter().map(agent).collect(),
        counts: Some(v1::SessionCounts {
            verified: summary.verified,
            committed: summary.committed,
            proposed: summary.proposed,
            matched: summary.matched,
            corrected: summary.corrected,
            squashed: summary.squashed,
            approximation_calls: summary.approximation.calls,
            target_calls: summary.target.calls,
            executions: summary.executions,
            executions_dropped: summary.executions_dropped,
            peak_calls: summary.peak_calls,
        }),
        timings: Some(v1::SessionTimings {
            elapsed_us: summary
                .ended_at
                .map_or_else(|| micros(view.elapsed), |ended| ended.0),
            approximation_us: summary.approximation.time_us,
            target_us: summary.target.time_us,
            execution_us: summary.execution_us,
        }),
        approximation_usage: Some(usage(&summary.approximation)),
        target_usage: Some(usage(&summary.target)),
        end_reason: summary.end_reason.clone(),
        answer: summary.answer.clone(),
        last_sequence: summary.last_sequence,
        width: settings.width.max(1),
        approval: summary.approval.as_ref().map(approval),
    }
}

fn approval(pending: &PendingApproval) -> v1::Approval {
    v1::Approval {
        id: pending.id.to_string(),
        step: pending.step.0,
        what: pending.what.clone(),
        policies: pending.policies.clone(),
        reason: pending.reason.clone(),
        always: pending.always.clone(),
    }
}

fn agent(seat: &crate::session::Seat) -> v1::AttachedAgent {
    v1::AttachedAgent {
        role: v1::Role::from(seat.role).into(),
        agent: seat.agent.clone(),
        model: seat.model.clone(),
        capacity: seat.capacity,
        connected: seat.connected,
    }
}

fn usage(role: &RoleSummary) -> v1::Usage {
    role.usage.into()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
