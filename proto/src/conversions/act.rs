//! What became of an action that a caller did through a session.

use super::{At as _, ConversionError, enumeration, list, optional_text, required, same_variants};
use crate::v1;
use crate::v1::act_outcome as wire;
use forerun_types::{ActOutcome, Acted, Hit, StepIndex};
use std::time::Duration;

same_variants!(Hit, v1::Hit: None Joined Full);

impl From<ActOutcome> for wire::Outcome {
    fn from(outcome: ActOutcome) -> wire::Outcome {
        match outcome {
            ActOutcome::Done(acted) => wire::Outcome::Done(wire::Done {
                step: acted.step.0,
                observation: Some(acted.observation.into()),
                commit: acted.commit.map(|commit| commit.to_string()),
                changed: acted.changed.into_iter().map(Into::into).collect(),
                hit: v1::Hit::from(acted.hit).into(),
                hidden_us: u64::try_from(acted.hidden.as_micros()).unwrap_or(u64::MAX),
                instead: acted.instead.map(Into::into),
            }),
            ActOutcome::Pending { reason, approval } => wire::Outcome::Pending(wire::Pending {
                reason,
                approval: approval.map(|approval| approval.to_string()),
            }),
        }
    }
}

impl TryFrom<wire::Outcome> for ActOutcome {
    type Error = ConversionError;
    fn try_from(outcome: wire::Outcome) -> Result<ActOutcome, ConversionError> {
        match outcome {
            wire::Outcome::Done(done) => done.try_into().map(ActOutcome::Done).at("done"),
            wire::Outcome::Pending(pending) => Ok(ActOutcome::Pending {
                reason: pending.reason,
                approval: optional_text("approval", pending.approval.as_deref()).at("pending")?,
            }),
        }
    }
}

impl TryFrom<wire::Done> for Acted {
    type Error = ConversionError;
    fn try_from(done: wire::Done) -> Result<Acted, ConversionError> {
        Ok(Acted {
            step: StepIndex(done.step),
            observation: required("observation", done.observation)?,
            commit: optional_text("commit", done.commit.as_deref())?,
            changed: list("changed", done.changed)?,
            hit: enumeration::<v1::Hit, _>("hit", done.hit)?,
            hidden: Duration::from_micros(done.hidden_us),
            instead: done
                .instead
                .map(TryInto::try_into)
                .transpose()
                .at("instead")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerun_types::{
        Action, ApprovalId, ChangeKind, CommitId, Observation, ObservationStatus, PathChange,
    };

    #[test]
    fn an_outcome_comes_back_as_it_was() {
        let done = |hit, commit, instead| {
            ActOutcome::Done(Acted {
                step: StepIndex(3),
                observation: Observation::new(ObservationStatus::Success, "text"),
                commit,
                changed: vec![PathChange {
                    path: "a".to_owned(),
                    kind: ChangeKind::Created,
                }],
                hit,
                hidden: Duration::from_micros(7),
                instead,
            })
        };
        let action = Action::parse("tool", "{}").expect("valid");
        let pending = |approval| ActOutcome::Pending {
            reason: "why".to_owned(),
            approval,
        };
        for outcome in [
            done(Hit::None, None, None),
            done(Hit::Joined, Some(CommitId(1)), None),
            done(Hit::Full, Some(CommitId(2)), Some(action)),
            pending(None),
            pending(Some(ApprovalId(4))),
        ] {
            let wire = wire::Outcome::from(outcome.clone());
            assert_eq!(ActOutcome::try_from(wire), Ok(outcome));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let wire = wire::Outcome::Done(wire::Done::default());
        let error = ActOutcome::try_from(wire).expect_err("nothing is set");
        assert_eq!(error.path(), "done.observation");
    }
}
