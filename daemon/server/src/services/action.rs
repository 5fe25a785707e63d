//! Acts: an agent that keeps its own loop does one action after another through a session.

use crate::daemon::Daemon;
use crate::error::RequestError;
use crate::session::{ActRequest, Message, Phase, PredictRequest, View};
use forerun_proto::conversions::{self, ConversionError};
use forerun_proto::v1;
use forerun_proto::v1::action_service_server::ActionService;
use forerun_types::{ActOutcome, Action, Role, SessionId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// How long an Act waits for the owner before it answers `pending` (planner.md).
const OWNER_WAIT: Duration = Duration::from_secs(20);
/// Longest such wait; a client that wants to wait longer asks again.
const OWNER_WAIT_MAX: Duration = Duration::from_secs(60 * 60);
/// How often one that waits looks what it waits for, once its wait is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest key of an Act.
const KEY_BYTES_MAX: usize = 128;
/// Candidates of one Predict; as many as can run side by side.
const CANDIDATES_MAX: usize = 8;
/// How long a prediction waits for its turn.
const PREDICTION_TTL: Duration = Duration::from_secs(60);
/// Longest such wait.
const PREDICTION_TTL_MAX: Duration = Duration::from_secs(60 * 60);

pub(super) struct Actions(pub(super) Arc<Daemon>);

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ActionService for Actions {
    async fn act(
        &self,
        request: Request<v1::ActionServiceActRequest>,
    ) -> Reply<v1::ActionServiceActResponse> {
        let session = self.authorize(request.metadata(), &request.get_ref().session)?;
        let request = request.into_inner();
        let action = conversions::required("action", request.action).map_err(RequestError::from)?;
        let outcome = self
            .outcome(&session, request.key, Some(action), request.wait_ms)
            .await?;
        let outcome = Some(outcome);
        Ok(Response::new(v1::ActionServiceActResponse { outcome }))
    }

    async fn act_result(
        &self,
        request: Request<v1::ActionServiceActResultRequest>,
    ) -> Reply<v1::ActionServiceActResultResponse> {
        let session = self.authorize(request.metadata(), &request.get_ref().session)?;
        let request = request.into_inner();
        let outcome = self
            .outcome(&session, request.key, None, request.wait_ms)
            .await?;
        let outcome = Some(outcome);
        Ok(Response::new(v1::ActionServiceActResultResponse {
            outcome,
        }))
    }

    async fn predict(
        &self,
        request: Request<v1::ActionServicePredictRequest>,
    ) -> Reply<v1::ActionServicePredictResponse> {
        let session = self.authorize(request.metadata(), &request.get_ref().session)?;
        let request = request.into_inner();
        let given = request.candidates.len();
        if !(1..=CANDIDATES_MAX).contains(&given) {
            let problem = format!("has {given}; it must be 1 to {CANDIDATES_MAX}");
            let error = ConversionError::new("candidates", problem);
            return Err(RequestError::from(error).into());
        }
        let candidates = conversions::list("candidates", request.candidates);
        let candidates = candidates.map_err(RequestError::from)?;
        let after = request.after.filter(|after| !after.is_empty());
        let ttl = match request.ttl_ms {
            0 => PREDICTION_TTL,
            ttl_ms => Duration::from_millis(ttl_ms).min(PREDICTION_TTL_MAX),
        };
        let handle = self.0.live(&session).ok_or(RequestError::SessionOver)?;
        let taken = handle
            .call(|reply| {
                Message::Predict(PredictRequest {
                    candidates,
                    after,
                    ttl,
                    reply,
                })
            })
            .await;
        taken
            .ok_or(RequestError::SessionOver)?
            .map_err(RequestError::from)?;
        Ok(Response::new(v1::ActionServicePredictResponse {}))
    }
}

impl Actions {
    fn authorize(&self, metadata: &MetadataMap, session: &str) -> Result<SessionId, RequestError> {
        let (record, authority) = self.0.authorize(metadata, session)?;
        if !authority.may_attach(Role::Target) {
            return Err(RequestError::TokenNotAllowed(
                "act; that needs the target token".to_owned(),
            ));
        }
        Ok(record.id)
    }

    /// Waits for what becomes of an act: to its end, unless that waits for the owner.
    async fn outcome(
        &self,
        session: &SessionId,
        key: String,
        action: Option<Action>,
        wait_ms: u64,
    ) -> Result<v1::ActOutcome, RequestError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let problem = format!("has {} bytes; it must be 1 to {KEY_BYTES_MAX}", key.len());
            return Err(ConversionError::new("key", problem).into());
        }
        let handle = self.0.live(session).ok_or(RequestError::SessionOver)?;
        let is_new = action.is_some();
        let (reply, mut answer) = oneshot::channel();
        let request = ActRequest { key, action, reply };
        if !handle.send(Message::Act(request)).await {
            return Err(RequestError::SessionOver);
        }
        let mut wait = match wait_ms {
            0 => OWNER_WAIT,
            wait_ms => Duration::from_millis(wait_ms).min(OWNER_WAIT_MAX),
        };
        loop {
            tokio::select! {
                answer = &mut answer => {
                    // The session ended without it.
                    let (acted, notices) = answer.map_err(|_| RequestError::SessionOver)??;
                    return Ok(v1::ActOutcome {
                        outcome: Some(ActOutcome::Done(acted).into()),
                        notices,
                    });
                }
                () = tokio::time::sleep(wait) => {}
            }
            if let Some(view) = handle.call(Message::Inspect).await
                && let Some(pending) = pending(&view)
            {
                if is_new {
                    // It was answered, not cancelled: it has its turn though nobody waits.
                    tokio::spawn(answer);
                }
                return Ok(v1::ActOutcome {
                    outcome: Some(pending.into()),
                    notices: Vec::new(),
                });
            }
            wait = LOOK_EVERY;
        }
    }
}

/// What the session waits for its owner for, if it does.
fn pending(view: &View) -> Option<ActOutcome> {
    let summary = &view.summary;
    if let Some(approval) = &summary.approval {
        return Some(ActOutcome::Pending {
            reason: format!("{}: {}", approval.reason, approval.what),
            approval: Some(approval.id),
        });
    }
    let reason = match &summary.phase {
        Phase::Paused => "the session's owner paused it".to_owned(),
        Phase::Stalled { reason, hint, .. } => format!("{reason}; {hint}"),
        _ => format!("step {} asks the session's owner", view.question?),
    };
    Some(ActOutcome::Pending {
        reason,
        approval: None,
    })
}
