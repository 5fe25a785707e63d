//! Decisions of policy as the log has them: what was asked, what was said, and by which
//! policies.

use forerun_policy::{Decision, Outcome};
use forerun_types::{EventKind, NodeId, Source, StepIndex, Touch, TouchDenied};
use serde::Serialize;

/// The event of a decision. `inputs` is what [`inputs`] makes of the request.
pub(crate) fn policy_decided(
    node: Option<NodeId>,
    step: StepIndex,
    speculative: bool,
    decision: &Decision,
    inputs: String,
) -> EventKind {
    EventKind::PolicyDecided {
        node,
        step,
        speculative,
        decision: decision.outcome.as_str().to_owned(),
        policies: decision.policies.clone(),
        reason: decision.reason.clone(),
        inputs,
        enforced: decision.enforced.map(|outcome| outcome.as_str().to_owned()),
    }
}

/// What policy was asked, in JSON. A call's arguments are left to its action's event.
pub(crate) fn inputs(request: &impl Serialize) -> String {
    // Numbers, texts and flags only: this can not fail.
    serde_json::to_string(request).unwrap_or_default()
}

/// The event of a touch that would be refused, were everything enforced.
pub(crate) fn touch_noted(
    node: NodeId,
    step: StepIndex,
    (source, speculative): (Source, bool),
    denied: TouchDenied,
) -> EventKind {
    #[derive(Serialize)]
    struct TouchRequest<'a> {
        principal: Source,
        speculative: bool,
        touch: Touch,
        path: &'a str,
    }
    let reason = denied.to_string();
    let TouchDenied {
        touch,
        path,
        policy,
    } = denied;
    EventKind::PolicyDecided {
        node: Some(node),
        step,
        speculative,
        decision: Outcome::Run.as_str().to_owned(),
        policies: Some(policy)
            .filter(|id| !id.is_empty())
            .into_iter()
            .collect(),
        reason,
        inputs: inputs(&TouchRequest {
            principal: source,
            speculative,
            touch,
            path: &path,
        }),
        enforced: Some(Outcome::Deny.as_str().to_owned()),
    }
}
