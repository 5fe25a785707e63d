//! For an agent that keeps its own loop: it acts through a session instead of attaching to
//! it. Each action is the session's next step, and the call is its verdict.

use crate::client::{authorized, bearer, draw_key, idempotent};
use crate::error::{Error, Result};
use crate::open::millis;
use crate::session::Session;
use forerun_proto::conversions::{At as _, ConversionError};
use forerun_proto::v1;
use forerun_types::{ActOutcome, Action, Role};
use std::time::Duration;

/// An action that was done, or that waits for the session's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Names it, for [`Session::act_result`].
    pub key: String,
    /// What became of it.
    pub outcome: ActOutcome,
    /// What happened to the session since the last one that the caller should know: steps
    /// that its owner decided or undid, and what they said. Not said again.
    pub notices: Vec<String>,
}

impl Session {
    /// Does an action as the session's next step, and waits until that is verified (and
    /// committed, with `commit = step`). Actions are done in the order in which they come.
    ///
    /// The first one takes the target's role; what an approximation agent has executed
    /// already is not executed again. If the step waits for the session's owner for long,
    /// [`ActOutcome::Pending`] says so, and [`Session::act_result`] goes on waiting.
    ///
    /// # Errors
    /// If the session is over or has a target agent, the owner took the plan elsewhere, its
    /// commit was refused or met what somebody changed (`ACT_NOT_DONE`: nothing of it is in the
    /// workspace, and the session goes on), or the daemon can not be reached. What goes wrong in
    /// the tool is the observation.
    pub async fn act(&self, action: Action) -> Result<Act> {
        self.act_as(&draw_key()?, action, Duration::ZERO).await
    }

    /// As [`Session::act`], under a key of one's own: the same key with the same action is
    /// done once and answered the same. It waits for the session's owner for `owner_wait`
    /// before it says so; zero is the daemon's default, 20 seconds.
    ///
    /// # Errors
    /// As [`Session::act`], and if the key was used for another action.
    pub async fn act_as(&self, key: &str, action: Action, owner_wait: Duration) -> Result<Act> {
        let request = v1::ActionServiceActRequest {
            session: self.id().to_string(),
            action: Some(action.into()),
            key: key.to_owned(),
            wait_ms: millis(owner_wait),
        };
        let bearer = bearer(self.tokens().role(Role::Target))?;
        let answer = idempotent(|| {
            let request = authorized(&bearer, request.clone());
            let mut service = self.daemon().action_service();
            async move { service.act(request).await }
        })
        .await?;
        act(key, answer.outcome)
    }

    /// Says what is likely to be done next, best first: it is executed ahead, side by side, as
    /// far as the session's width and policy allow. An action that is one of these finds it
    /// done, or under way; any other drops them. `after` is the key of the action that they
    /// come after, which may still be open; without it, they come after all that are. They
    /// wait for their turn for `ttl` at most; zero is the daemon's default, a minute.
    ///
    /// # Errors
    /// If a candidate can not be executed, there are none or more than 8, `after` is not
    /// known, or as [`Session::act`].
    pub async fn predict(
        &self,
        candidates: &[Action],
        after: Option<&str>,
        ttl: Duration,
    ) -> Result<()> {
        let request = v1::ActionServicePredictRequest {
            session: self.id().to_string(),
            candidates: candidates.iter().cloned().map(Into::into).collect(),
            after: after.map(str::to_owned),
            ttl_ms: millis(ttl),
        };
        let bearer = bearer(self.tokens().role(Role::Target))?;
        idempotent(|| {
            let request = authorized(&bearer, request.clone());
            let mut service = self.daemon().action_service();
            async move { service.predict(request).await }
        })
        .await?;
        Ok(())
    }

    /// What became of an earlier action, waiting for it as [`Session::act_as`] does.
    ///
    /// # Errors
    /// As [`Session::act`], and if there was none, or it is forgotten.
    pub async fn act_result(&self, key: &str, owner_wait: Duration) -> Result<Act> {
        let request = v1::ActionServiceActResultRequest {
            session: self.id().to_string(),
            key: key.to_owned(),
            wait_ms: millis(owner_wait),
        };
        let bearer = bearer(self.tokens().role(Role::Target))?;
        let answer = idempotent(|| {
            let request = authorized(&bearer, request.clone());
            let mut service = self.daemon().action_service();
            async move { service.act_result(request).await }
        })
        .await?;
        act(key, answer.outcome)
    }
}

fn act(key: &str, outcome: Option<v1::ActOutcome>) -> Result<Act> {
    let convert = || {
        let missing = || ConversionError::new("outcome", "is not set");
        let v1::ActOutcome { outcome, notices } = outcome.ok_or_else(missing)?;
        let outcome = ActOutcome::try_from(outcome.ok_or_else(missing)?).at("outcome")?;
        Ok((outcome, notices))
    };
    let (outcome, notices) = convert().map_err(|source| Error::Invalid {
        what: "act",
        source,
    })?;
    Ok(Act {
        key: key.to_owned(),
        outcome,
        notices,
    })
}
