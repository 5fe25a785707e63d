//! The log of a session: every kind of event, both ways. The matches are exhaustive on
//! both sides, so that a new kind does not compile until it has a wire form.

use super::{At, ConversionError, enumeration, list, optional_text, required, same_variants, text};
use crate::v1;
use crate::v1::event::{self as wire, Kind};
use forerun_types::{
    AllowFor, ApprovalEnd, AskEnd, EffectEnd, Event, EventKind, ExecutionEnd, LeftAlone, Predictor,
    Role, Sibling, Source, StepIndex, Time, Undone, View,
};

same_variants!(View, v1::View: Presented Trace);
same_variants!(Predictor, v1::Predictor: History Caller);
same_variants!(AskEnd, v1::AskEnd: Used Dropped Failed);
same_variants!(AllowFor, v1::AllowFor: Once Session Always);
same_variants!(ApprovalEnd, v1::ApprovalEnd: Allowed AllowedForSession AllowedAlways Refused TimedOut Withdrawn);
same_variants!(EffectEnd, v1::EffectEnd: Answered Replayed Refused Unknown);
same_variants!(ExecutionEnd, v1::ExecutionEnd: Used Dropped Failed);

impl From<Event> for v1::Event {
    fn from(event: Event) -> v1::Event {
        v1::Event {
            sequence: event.sequence,
            at_us: event.at.0,
            kind: Some(event.kind.into()),
        }
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = ConversionError;
    fn try_from(event: v1::Event) -> Result<Event, ConversionError> {
        Ok(Event {
            sequence: event.sequence,
            at: Time(event.at_us),
            kind: event
                .kind
                .ok_or_else(|| ConversionError::not_set("kind"))?
                .try_into()?,
        })
    }
}

impl From<EventKind> for Kind {
    fn from(kind: EventKind) -> Kind {
        match kind {
            EventKind::Opened {
                workspace,
                task,
                policy,
                audit,
                depth,
            } => Kind::Opened(wire::Opened {
                workspace,
                task,
                policy,
                audit,
                depth,
            }),
            EventKind::AgentAttached {
                role,
                agent,
                model,
                capacity,
                reattached,
            } => Kind::AgentAttached(wire::AgentAttached {
                role: role_to_wire(role),
                agent,
                model,
                capacity,
                reattached,
            }),
            EventKind::AgentDetached {
                role,
                agent,
                reattach_ms,
            } => Kind::AgentDetached(wire::AgentDetached {
                role: role_to_wire(role),
                agent,
                reattach_ms,
            }),
            EventKind::AgentLost { role, agent } => Kind::AgentLost(wire::AgentLost {
                role: role_to_wire(role),
                agent,
            }),
            EventKind::Asked {
                call,
                role,
                step,
                prefix,
            } => Kind::Asked(wire::Asked {
                call: call.to_string(),
                role: role_to_wire(role),
                step: step.0,
                prefix: prefix.to_string(),
            }),
            EventKind::Answered {
                call,
                role,
                step,
                action,
                others,
                usage,
            } => Kind::Answered(wire::Answered {
                call: call.to_string(),
                role: role_to_wire(role),
                step: step.0,
                action: Some(action.into()),
                usage: Some(usage.into()),
                others: others.into_iter().map(Into::into).collect(),
            }),
            EventKind::CallEnded {
                call,
                role,
                step,
                end,
                reason,
            } => Kind::CallEnded(wire::CallEnded {
                call: call.to_string(),
                role: role_to_wire(role),
                step: step.0,
                end: v1::AskEnd::from(end).into(),
                reason,
            }),
            EventKind::PolicyDecided {
                node,
                step,
                speculative,
                decision,
                policies,
                reason,
                inputs,
                enforced,
            } => Kind::PolicyDecided(wire::PolicyDecided {
                node: node.map(|node| node.to_string()),
                step: step.0,
                speculative,
                decision,
                policies,
                reason,
                inputs,
                enforced,
            }),
            EventKind::ExecutionStarted {
                execution,
                node,
                step,
                speculative,
            } => Kind::ExecutionStarted(wire::ExecutionStarted {
                execution: execution.to_string(),
                node: node.to_string(),
                step: step.0,
                speculative,
            }),
            EventKind::ExecutionFinished {
                execution,
                node,
                step,
                elapsed_us,
                observation,
                changes,
            } => Kind::ExecutionFinished(wire::ExecutionFinished {
                execution: execution.to_string(),
                node: node.to_string(),
                step: step.0,
                elapsed_us,
                observation: observation.to_string(),
                changes: changes.to_string(),
            }),
            EventKind::NotExecuted {
                execution,
                node,
                step,
                reason,
            } => Kind::NotExecuted(wire::NotExecuted {
                execution: execution.to_string(),
                node: node.to_string(),
                step: step.0,
                reason,
            }),
            EventKind::ExecutionEnded {
                execution,
                node,
                step,
                end,
            } => Kind::ExecutionEnded(wire::ExecutionEnded {
                execution: execution.to_string(),
                node: node.to_string(),
                step: step.0,
                end: v1::ExecutionEnd::from(end).into(),
            }),
            EventKind::Squashed { node, step, reason } => Kind::Squashed(wire::Squashed {
                node: node.to_string(),
                step: step.0,
                reason,
            }),
            EventKind::Predicted { step, by, actions } => Kind::Predicted(wire::Predicted {
                step: step.0,
                by: v1::Predictor::from(by).into(),
                actions: actions.into_iter().map(Into::into).collect(),
            }),
            EventKind::Proposed {
                step,
                node,
                prefix,
                action,
                siblings,
            } => Kind::Proposed(wire::Proposed {
                step: step.0,
                node: node.to_string(),
                prefix: prefix.to_string(),
                action: Some(action.into()),
                siblings: siblings.into_iter().map(Into::into).collect(),
            }),
            EventKind::Observed {
                step,
                node,
                observation,
            } => Kind::Observed(wire::Observed {
                step: step.0,
                node: node.to_string(),
                observation: Some(observation.into()),
            }),
            EventKind::Waiting { step, prefix } => Kind::Waiting(wire::Waiting {
                step: step.0,
                prefix: prefix.to_string(),
            }),
            EventKind::Answer {
                step,
                node,
                source,
                action,
                matched,
                corrects,
            } => Kind::Answer(wire::Answer {
                step: step.0,
                node: node.to_string(),
                source: source_to_wire(source),
                action: Some(action.into()),
                matched,
                corrects: corrects.map(|node| node.to_string()),
            }),
            EventKind::Decided {
                step,
                node,
                source,
                action,
            } => Kind::Decided(wire::Decided {
                step: step.0,
                node: node.to_string(),
                source: source_to_wire(source),
                action: Some(action.into()),
            }),
            EventKind::ReviewOpened { step, node, until } => {
                Kind::ReviewOpened(wire::ReviewOpened {
                    step: step.0,
                    node: node.to_string(),
                    until_us: until.0,
                })
            }
            EventKind::Claimed { step, until } => Kind::Claimed(wire::Claimed {
                step: step.0,
                until_us: until.0,
            }),
            EventKind::Unclaimed { step, reason } => Kind::Unclaimed(wire::Unclaimed {
                step: step.0,
                reason,
            }),
            EventKind::Question {
                step,
                node,
                question,
            } => Kind::Question(wire::Question {
                step: step.0,
                node: node.to_string(),
                question,
            }),
            EventKind::ApprovalRequested {
                step,
                node,
                approval,
                what,
                policies,
                reason,
                always,
            } => Kind::ApprovalRequested(wire::ApprovalRequested {
                step: step.0,
                node: node.to_string(),
                approval: approval.to_string(),
                what,
                policies,
                reason,
                always,
            }),
            EventKind::ApprovalEnded {
                step,
                approval,
                end,
                reason,
            } => Kind::ApprovalEnded(wire::ApprovalEnded {
                step: step.0,
                approval: approval.to_string(),
                end: v1::ApprovalEnd::from(end).into(),
                reason,
            }),
            EventKind::EffectHeld {
                step,
                node,
                effect,
                what,
                reason,
            } => Kind::EffectHeld(wire::EffectHeld {
                step: step.0,
                node: node.to_string(),
                effect,
                what,
                reason,
            }),
            EventKind::EffectSent {
                step,
                node,
                effect,
                what,
            } => Kind::EffectSent(wire::EffectSent {
                step: step.0,
                node: node.to_string(),
                effect,
                what,
            }),
            EventKind::EffectEnded {
                step,
                node,
                effect,
                what,
                end,
                detail,
            } => Kind::EffectEnded(wire::EffectEnded {
                step: step.0,
                node: node.to_string(),
                effect,
                what,
                end: v1::EffectEnd::from(end).into(),
                detail,
            }),
            EventKind::Verified {
                step,
                node,
                delta,
                changed,
            } => Kind::Verified(wire::Verified {
                step: step.0,
                node: node.to_string(),
                delta: delta.to_string(),
                changed: changed.into_iter().map(Into::into).collect(),
            }),
            EventKind::Committed {
                step,
                commit,
                changed,
            } => Kind::Committed(wire::Committed {
                step: step.0,
                commit: commit.to_string(),
                changed: changed.into_iter().map(Into::into).collect(),
            }),
            EventKind::Suggested { step, text } => {
                Kind::Suggested(wire::Suggested { step: step.0, text })
            }
            EventKind::Backtracked { step, generation } => Kind::Backtracked(wire::Backtracked {
                step: step.0,
                generation,
            }),
            EventKind::Stalled { step, reason, hint } => Kind::Stalled(wire::Stalled {
                step: step.0,
                reason,
                hint,
            }),
            EventKind::Continued { reason } => Kind::Continued(wire::Continued { reason }),
            EventKind::Paused => Kind::Paused(wire::Paused {}),
            EventKind::Resumed => Kind::Resumed(wire::Resumed {}),
            EventKind::Refused { what, reason } => Kind::Refused(wire::Refused { what, reason }),
            EventKind::Ended {
                reason,
                answer,
                steps,
            } => Kind::Ended(wire::Ended {
                reason,
                answer,
                steps,
            }),
            EventKind::Finished {
                outcome,
                commit,
                changed,
            } => Kind::Finished(wire::Finished {
                outcome,
                commit: commit.map(|commit| commit.to_string()),
                changed: changed.into_iter().map(Into::into).collect(),
            }),
            EventKind::Interrupted { reason } => Kind::Interrupted(wire::Interrupted { reason }),
            EventKind::Kept { commit, path, copy } => Kind::Kept(wire::Kept {
                commit: commit.to_string(),
                path,
                copy,
            }),
            EventKind::Undone(undone) => Kind::Undone(undone.into()),
        }
    }
}

impl TryFrom<Kind> for EventKind {
    type Error = ConversionError;
    fn try_from(kind: Kind) -> Result<EventKind, ConversionError> {
        match kind {
            Kind::Opened(event) => Ok(EventKind::Opened {
                workspace: event.workspace,
                task: event.task,
                policy: event.policy,
                audit: event.audit,
                depth: event.depth,
            }),
            Kind::AgentAttached(event) => agent_attached(event).at("agent_attached"),
            Kind::AgentDetached(event) => agent_detached(event).at("agent_detached"),
            Kind::AgentLost(event) => agent_lost(event).at("agent_lost"),
            Kind::Asked(event) => asked(&event).at("asked"),
            Kind::Answered(event) => answered(event).at("answered"),
            Kind::Predicted(event) => predicted(event).at("predicted"),
            Kind::CallEnded(event) => call_ended(event).at("call_ended"),
            Kind::PolicyDecided(event) => policy_decided(event).at("policy_decided"),
            Kind::ExecutionStarted(event) => execution_started(&event).at("execution_started"),
            Kind::ExecutionFinished(event) => execution_finished(&event).at("execution_finished"),
            Kind::NotExecuted(event) => not_executed(event).at("not_executed"),
            Kind::ExecutionEnded(event) => execution_ended(&event).at("execution_ended"),
            Kind::Squashed(event) => squashed(event).at("squashed"),
            Kind::Proposed(event) => proposed(event).at("proposed"),
            Kind::Observed(event) => observed(event).at("observed"),
            Kind::Waiting(event) => waiting(&event).at("waiting"),
            Kind::Answer(event) => answer(event).at("answer"),
            Kind::Decided(event) => decided(event).at("decided"),
            Kind::ReviewOpened(event) => review_opened(&event).at("review_opened"),
            Kind::Claimed(event) => Ok(EventKind::Claimed {
                step: StepIndex(event.step),
                until: Time(event.until_us),
            }),
            Kind::Unclaimed(event) => Ok(EventKind::Unclaimed {
                step: StepIndex(event.step),
                reason: event.reason,
            }),
            Kind::Question(event) => question(event).at("question"),
            Kind::ApprovalRequested(event) => approval_requested(event).at("approval_requested"),
            Kind::ApprovalEnded(event) => approval_ended(event).at("approval_ended"),
            Kind::EffectHeld(event) => effect_held(event).at("effect_held"),
            Kind::EffectSent(event) => effect_sent(event).at("effect_sent"),
            Kind::EffectEnded(event) => effect_ended(event).at("effect_ended"),
            Kind::Verified(event) => verified(event).at("verified"),
            Kind::Committed(event) => committed(event).at("committed"),
            Kind::Suggested(event) => Ok(EventKind::Suggested {
                step: StepIndex(event.step),
                text: event.text,
            }),
            Kind::Backtracked(event) => Ok(EventKind::Backtracked {
                step: StepIndex(event.step),
                generation: event.generation,
            }),
            Kind::Stalled(event) => Ok(EventKind::Stalled {
                step: StepIndex(event.step),
                reason: event.reason,
                hint: event.hint,
            }),
            Kind::Continued(event) => Ok(EventKind::Continued {
                reason: event.reason,
            }),
            Kind::Paused(wire::Paused {}) => Ok(EventKind::Paused),
            Kind::Resumed(wire::Resumed {}) => Ok(EventKind::Resumed),
            Kind::Refused(event) => Ok(EventKind::Refused {
                what: event.what,
                reason: event.reason,
            }),
            Kind::Ended(event) => Ok(EventKind::Ended {
                reason: event.reason,
                answer: event.answer,
                steps: event.steps,
            }),
            Kind::Finished(event) => finished(event).at("finished"),
            Kind::Interrupted(event) => Ok(EventKind::Interrupted {
                reason: event.reason,
            }),
            Kind::Kept(event) => kept(event).at("kept"),
            Kind::Undone(event) => Undone::try_from(event).map(EventKind::Undone).at("undone"),
        }
    }
}

impl From<Sibling> for wire::Sibling {
    fn from(sibling: Sibling) -> wire::Sibling {
        wire::Sibling {
            node: sibling.node.to_string(),
            action: Some(sibling.action.into()),
        }
    }
}

impl TryFrom<wire::Sibling> for Sibling {
    type Error = ConversionError;
    fn try_from(sibling: wire::Sibling) -> Result<Sibling, ConversionError> {
        Ok(Sibling {
            node: text("node", &sibling.node)?,
            action: required("action", sibling.action)?,
        })
    }
}

impl From<Undone> for wire::Undone {
    fn from(undone: Undone) -> wire::Undone {
        let left = undone.left.into_iter().map(|left| wire::LeftAlone {
            path: left.path,
            reason: left.reason,
        });
        wire::Undone {
            step: undone.step.0,
            undoes: undone.undoes.to_string(),
            redo: undone.redo,
            commit: undone.commit.map(|commit| commit.to_string()),
            changed: undone.changed.into_iter().map(Into::into).collect(),
            left: left.collect(),
        }
    }
}

impl TryFrom<wire::Undone> for Undone {
    type Error = ConversionError;
    fn try_from(undone: wire::Undone) -> Result<Undone, ConversionError> {
        let left = undone.left.into_iter().map(|left| LeftAlone {
            path: left.path,
            reason: left.reason,
        });
        Ok(Undone {
            step: StepIndex(undone.step),
            undoes: text("undoes", &undone.undoes)?,
            redo: undone.redo,
            commit: optional_text("commit", undone.commit.as_deref())?,
            changed: list("changed", undone.changed)?,
            left: left.collect(),
        })
    }
}

type Converted = Result<EventKind, ConversionError>;

fn role_to_wire(role: Role) -> i32 {
    v1::Role::from(role).into()
}

fn role(number: i32) -> Result<Role, ConversionError> {
    enumeration::<v1::Role, _>("role", number)
}

fn source_to_wire(source: Source) -> i32 {
    v1::Source::from(source).into()
}

fn source(number: i32) -> Result<Source, ConversionError> {
    enumeration::<v1::Source, _>("source", number)
}

fn agent_attached(event: wire::AgentAttached) -> Converted {
    Ok(EventKind::AgentAttached {
        role: role(event.role)?,
        agent: event.agent,
        model: event.model,
        capacity: event.capacity,
        reattached: event.reattached,
    })
}

fn agent_detached(event: wire::AgentDetached) -> Converted {
    Ok(EventKind::AgentDetached {
        role: role(event.role)?,
        agent: event.agent,
        reattach_ms: event.reattach_ms,
    })
}

fn agent_lost(event: wire::AgentLost) -> Converted {
    Ok(EventKind::AgentLost {
        role: role(event.role)?,
        agent: event.agent,
    })
}

fn asked(event: &wire::Asked) -> Converted {
    Ok(EventKind::Asked {
        call: text("call", &event.call)?,
        role: role(event.role)?,
        step: StepIndex(event.step),
        prefix: text("prefix", &event.prefix)?,
    })
}

fn answered(event: wire::Answered) -> Converted {
    Ok(EventKind::Answered {
        call: text("call", &event.call)?,
        role: role(event.role)?,
        step: StepIndex(event.step),
        action: required("action", event.action)?,
        others: list("others", event.others)?,
        usage: event.usage.unwrap_or_default().into(),
    })
}

fn call_ended(event: wire::CallEnded) -> Converted {
    Ok(EventKind::CallEnded {
        call: text("call", &event.call)?,
        role: role(event.role)?,
        step: StepIndex(event.step),
        end: enumeration::<v1::AskEnd, _>("end", event.end)?,
        reason: event.reason,
    })
}

fn predicted(event: wire::Predicted) -> Converted {
    Ok(EventKind::Predicted {
        step: StepIndex(event.step),
        by: enumeration::<v1::Predictor, _>("by", event.by)?,
        actions: list("actions", event.actions)?,
    })
}

fn policy_decided(event: wire::PolicyDecided) -> Converted {
    Ok(EventKind::PolicyDecided {
        node: optional_text("node", event.node.as_deref())?,
        step: StepIndex(event.step),
        speculative: event.speculative,
        decision: event.decision,
        policies: event.policies,
        reason: event.reason,
        inputs: event.inputs,
        enforced: event.enforced,
    })
}

fn execution_started(event: &wire::ExecutionStarted) -> Converted {
    Ok(EventKind::ExecutionStarted {
        execution: text("execution", &event.execution)?,
        node: text("node", &event.node)?,
        step: StepIndex(event.step),
        speculative: event.speculative,
    })
}

fn execution_finished(event: &wire::ExecutionFinished) -> Converted {
    Ok(EventKind::ExecutionFinished {
        execution: text("execution", &event.execution)?,
        node: text("node", &event.node)?,
        step: StepIndex(event.step),
        elapsed_us: event.elapsed_us,
        observation: text("observation", &event.observation)?,
        changes: text("changes", &event.changes)?,
    })
}

fn not_executed(event: wire::NotExecuted) -> Converted {
    Ok(EventKind::NotExecuted {
        execution: text("execution", &event.execution)?,
        node: text("node", &event.node)?,
        step: StepIndex(event.step),
        reason: event.reason,
    })
}

fn execution_ended(event: &wire::ExecutionEnded) -> Converted {
    Ok(EventKind::ExecutionEnded {
        execution: text("execution", &event.execution)?,
        node: text("node", &event.node)?,
        step: StepIndex(event.step),
        end: enumeration::<v1::ExecutionEnd, _>("end", event.end)?,
    })
}

fn squashed(event: wire::Squashed) -> Converted {
    Ok(EventKind::Squashed {
        node: text("node", &event.node)?,
        step: StepIndex(event.step),
        reason: event.reason,
    })
}

fn proposed(event: wire::Proposed) -> Converted {
    Ok(EventKind::Proposed {
        step: StepIndex(event.step),
        node: text("node", &event.node)?,
        prefix: text("prefix", &event.prefix)?,
        action: required("action", event.action)?,
        siblings: list("siblings", event.siblings)?,
    })
}

fn observed(event: wire::Observed) -> Converted {
    Ok(EventKind::Observed {
        step: StepIndex(event.step),
        node: text("node", &event.node)?,
        observation: required("observation", event.observation)?,
    })
}

fn waiting(event: &wire::Waiting) -> Converted {
    Ok(EventKind::Waiting {
        step: StepIndex(event.step),
        prefix: text("prefix", &event.prefix)?,
    })
}

fn answer(event: wire::Answer) -> Converted {
    Ok(EventKind::Answer {
        step: StepIndex(event.step),
        node: text("node", &event.node)?,
        source: source(event.source)?,
        action: required("action", event.action)?,
        matched: event.matched,
        corrects: optional_text("corrects", event.corrects.as_deref())?,
    })
}

fn decided(event: wire::Decided) -> Converted {
    Ok(EventKind::Decided {
        step: StepIndex(event.step),
        node: text("node", &event.node)?,
        source: source(event.source)?,
        action: required("action", event.action)?,
    })
}

fn review_opened(event: &wire::ReviewOpened) -> Converted {
    Ok(EventKind::ReviewOpened {
        step: StepIndex(event.step),
        node: text("node", &event.node)?,
        until: Time(event.until_us),
    })
}

fn question(event: wire::Question) -> Converted {
    Ok(EventKind::Question {
        step: StepIndex(event.step),
        node: text("node", &event.node)?,
        question: event.question,
    })
}

fn approval_requested(event: wire::ApprovalRequested) -> Converted {
    Ok(EventKind::ApprovalRequested {
        step: StepIndex(event.step),
        node: text("node", &event.node)?,
        approval: text("approval", &event.approval)?,
        what: event.what,
        policies: event.policies,
        reason: event.reason,
        always: event.always,
    })
}

fn approval_ended(event: wire::ApprovalEnded) -> Converted {
    Ok(EventKind::ApprovalEnded {
        step: StepIndex(event.step),
        approval: text("approval", &event.approval)?,
        end: enumeration::<v1::ApprovalEnd, _>("end", event.end)?,
        reason: event.reason,
    })
}

fn effect_held(event: wire::EffectHeld) -> Converted {
    Ok(EventKind::EffectHeld {
        step: StepIndex(event.step),
        node: text("node", &event.node)?,
        effect: event.effect,
        what: event.what,
        reason: event.reason,
    })
}

fn effect_sent(event: wire::EffectSent) -> Converted {
    Ok(EventKind::EffectSent {
        step: StepIndex(event.step),
        node: text("node", &event.node)?,
        effect: event.effect,
        what: event.what,
    })
}

fn effect_ended(event: wire::EffectEnded) -> Converted {
    Ok(EventKind::EffectEnded {
        step: StepIndex(event.step),
        node: text("node", &event.node)?,
        effect: event.effect,
        what: event.what,
        end: enumeration::<v1::EffectEnd, _>("end", event.end)?,
        detail: event.detail,
    })
}

fn verified(event: wire::Verified) -> Converted {
    Ok(EventKind::Verified {
        step: StepIndex(event.step),
        node: text("node", &event.node)?,
        delta: text("delta", &event.delta)?,
        changed: list("changed", event.changed)?,
    })
}

fn committed(event: wire::Committed) -> Converted {
    Ok(EventKind::Committed {
        step: StepIndex(event.step),
        commit: text("commit", &event.commit)?,
        changed: list("changed", event.changed)?,
    })
}

fn kept(event: wire::Kept) -> Converted {
    Ok(EventKind::Kept {
        commit: text("commit", &event.commit)?,
        path: event.path,
        copy: event.copy,
    })
}

fn finished(event: wire::Finished) -> Converted {
    Ok(EventKind::Finished {
        outcome: event.outcome,
        commit: optional_text("commit", event.commit.as_deref())?,
        changed: list("changed", event.changed)?,
    })
}
