//! Puts what policy asks to the user through the host's own form, where the host has one
//! (elicitation). The host shows it to the user and not to the model.

use forerun_sdk::{Act, ActOutcome, AllowFor, ApprovalId, Result, Session};
use rmcp::RoleServer;
use rmcp::model::{ElicitRequestParams, ElicitationAction, ElicitationSchema};
use rmcp::service::{ElicitationMode, Peer};
use std::time::Duration;
use tokio::sync::Mutex;

/// How long an act waits for the owner before it is worth a form.
const FORM_WAIT: Duration = Duration::from_millis(500);
/// How often it is looked at whether a form is still needed.
const SETTLED_WAIT: Duration = Duration::from_secs(2);
/// The field of the form, and what can be chosen in it.
const DECISION: &str = "decision";
const ONCE: &str = "allow once";
const SESSION: &str = "allow for this session";
const REFUSE: &str = "refuse";

/// The user behind a host.
pub(super) struct User<'a> {
    host: &'a Peer<RoleServer>,
    /// Held while a form is open.
    forms: &'a Mutex<()>,
    has_forms: bool,
}

impl<'a> User<'a> {
    pub(super) fn behind(host: &'a Peer<RoleServer>, forms: &'a Mutex<()>) -> User<'a> {
        let has_forms = host
            .supported_elicitation_modes()
            .contains(&ElicitationMode::Form);
        User {
            host,
            forms,
            has_forms,
        }
    }

    /// How long an act may wait for the owner; zero is the daemon's default.
    pub(super) fn wait(&self) -> Duration {
        match self.has_forms {
            true => FORM_WAIT,
            false => Duration::ZERO,
        }
    }

    /// Has the user decide what an act waits for, and goes on waiting for it. An act is
    /// returned as it is if there is no form, or nobody decides.
    pub(super) async fn decide(&self, session: &Session, mut act: Act) -> Result<Act> {
        let mut asked = None;
        while self.has_forms && asks(&act).is_some() {
            let _one_at_a_time = self.forms.lock().await;
            // Another call may have asked it meanwhile.
            act = session.act_result(&act.key, self.wait()).await?;
            let (Some(approval), ActOutcome::Pending { reason, .. }) = (asks(&act), &act.outcome)
            else {
                break;
            };
            // Decided, and open all the same: that is for a terminal.
            if asked.replace(approval) == Some(approval) {
                break;
            }
            let choice = tokio::select! {
                choice = self.ask(reason) => choice,
                settled = settled(session, &act.key, approval) => {
                    act = settled?;
                    continue;
                }
            };
            let decided = match choice.as_deref() {
                Some(ONCE) => session.approve(approval, AllowFor::Once).await,
                Some(SESSION) => session.approve(approval, AllowFor::Session).await,
                Some(REFUSE) => session.refuse(approval, "").await,
                _ => break,
            };
            // Somebody may have been faster, in a terminal.
            if let Err(error) = decided
                && error.code() != forerun_proto::reason::INTERRUPT_REFUSED
            {
                return Err(error);
            }
            act = session.act_result(&act.key, self.wait()).await?;
        }
        Ok(act)
    }

    /// What the user chose, if they did.
    async fn ask(&self, reason: &str) -> Option<String> {
        let schema = serde_json::json!({
            "type": "object",
            "properties": { DECISION: {
                "type": "string",
                "enum": [ONCE, SESSION, REFUSE],
            } },
            "required": [DECISION],
        });
        let schema = schema.as_object().cloned().unwrap_or_default();
        let form = ElicitRequestParams::FormElicitationParams {
            meta: None,
            message: format!("Forerun's policy asks you. {reason}"),
            requested_schema: ElicitationSchema::from_json_schema(schema).ok()?,
        };
        // A host that can not ask now leaves it to a terminal.
        let answer = self.host.create_elicitation(form).await.ok()?;
        match answer.action {
            ElicitationAction::Accept => {
                let decision = answer.content?.get(DECISION)?.as_str()?.to_owned();
                Some(decision)
            }
            ElicitationAction::Decline => Some(REFUSE.to_owned()),
            _ => None,
        }
    }
}

/// What policy asks the owner, if an act waits for that.
fn asks(act: &Act) -> Option<ApprovalId> {
    match act.outcome {
        ActOutcome::Pending { approval, .. } => approval,
        ActOutcome::Done(_) => None,
    }
}

/// Until an act does not wait for this any more, whoever decided it.
async fn settled(session: &Session, key: &str, approval: ApprovalId) -> Result<Act> {
    loop {
        let act = session.act_result(key, SETTLED_WAIT).await?;
        if asks(&act) != Some(approval) {
            return Ok(act);
        }
    }
}
