//! Carries out what the planner decides: ids become values, effects become messages,
//! launches and events.

use super::actor::{Actor, Retiring};
use super::trajectory::Node;
use forerun_planner::{Effect, EndReason, Presented};
use forerun_types::{EventKind, ExecutionEnd, NodeId, Role, Sibling, StepIndex};

impl Actor {
    /// Carries out the effects in their order.
    pub(super) fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.perform_one(effect);
        }
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::Ask {
                call,
                role,
                step,
                prefix,
            } => {
                self.event(EventKind::Asked {
                    call,
                    role,
                    step,
                    prefix,
                });
                let now = self.now();
                self.agents
                    .ask(now, call, role, step, prefix, &self.prefixes);
                if role == Role::Target {
                    self.foresee(step, prefix);
                }
            }
            Effect::CancelCall { call } => self.agents.cancel(call),
            // Nobody attaches as judge yet, and sessions can not have that matcher.
            Effect::Judge { .. } | Effect::JudgeEnded { .. } => {}
            Effect::CallEnded {
                call,
                role,
                step,
                end,
                reason: why,
            } => {
                let reason = self.failures.remove(&call);
                let reason = reason.unwrap_or_else(|| why.to_owned());
                self.event(EventKind::CallEnded {
                    call,
                    role,
                    step,
                    end,
                    reason,
                });
            }
            Effect::Execute {
                execution,
                node,
                parent,
                step,
                action,
                kind,
                source,
                speculative,
            } => {
                let Some(value) = self.tree.action(action).cloned() else {
                    return;
                };
                let prefix = self.prefix_below(parent);
                if self.tree.get(node).is_none() {
                    self.tree.insert(
                        node,
                        Node {
                            action: value.clone(),
                            step,
                            parent,
                            prefix,
                            result: None,
                        },
                    );
                }
                self.execute(super::execute::Launch {
                    execution,
                    node,
                    parent,
                    step,
                    action: value,
                    kind,
                    source,
                    speculative,
                });
            }
            Effect::Release { execution } => self.released(execution),
            Effect::StopExecution { execution } => self.stop_execution(execution),
            Effect::ExecutionEnded {
                execution,
                node,
                step,
                end,
            } => {
                self.event(EventKind::ExecutionEnded {
                    execution,
                    node,
                    step,
                    end,
                });
                if end != ExecutionEnd::Used {
                    self.executions.remove(&execution);
                }
            }
            Effect::Squash { node, step, reason } => {
                self.event(EventKind::Squashed {
                    node,
                    step,
                    reason: reason.into(),
                });
                self.sources.remove(&node);
                if let Some(result) = self.tree.remove(node).and_then(|node| node.result) {
                    self.context.sandboxes.drop_snapshot(result.snapshot);
                }
            }
            Effect::Decide {
                step,
                node,
                source,
                action,
            } => {
                let Some(action) = self.tree.action(action).cloned() else {
                    return;
                };
                self.answer = action.answer();
                self.sources.insert(node, source);
                self.event(EventKind::Decided {
                    step,
                    node,
                    source,
                    action,
                });
            }
            Effect::Present(presented) => self.present(presented),
            Effect::Retire { node, step } => self.retirements.push(Retiring {
                node,
                step,
                approved: false,
            }),
            Effect::Undo { from } => self.undo_from = Some(from),
        }
    }

    fn present(&mut self, presented: Presented) {
        let kind = match presented {
            Presented::Proposed {
                step,
                node,
                prefix,
                action,
                siblings,
            } => {
                let Some(action) = self.tree.action(action).cloned() else {
                    return;
                };
                let siblings = siblings.into_iter().filter_map(|(node, action)| {
                    let action = self.tree.action(action)?.clone();
                    Some(Sibling { node, action })
                });
                EventKind::Proposed {
                    step,
                    node,
                    prefix,
                    action,
                    siblings: siblings.collect(),
                }
            }
            Presented::Observed { step, node } => return self.present_observation(step, node),
            Presented::Waiting { step, prefix } => EventKind::Waiting { step, prefix },
            Presented::Answer {
                step,
                node,
                source,
                action,
                matched,
                corrects,
            } => {
                let Some(action) = self.tree.action(action).cloned() else {
                    return;
                };
                EventKind::Answer {
                    step,
                    node,
                    source,
                    action,
                    matched,
                    corrects,
                }
            }
            Presented::ReviewOpened { step, node, until } => {
                EventKind::ReviewOpened { step, node, until }
            }
            Presented::Claimed { step, until } => EventKind::Claimed { step, until },
            Presented::Unclaimed { step, reason } => EventKind::Unclaimed {
                step,
                reason: reason.into(),
            },
            Presented::Stalled { step, reason, hint } => {
                if self.caller.acts_at(step) {
                    self.stalled_act = Some((step, reason.clone()));
                }
                EventKind::Stalled { step, reason, hint }
            }
            Presented::Continued { reason } => EventKind::Continued {
                reason: reason.into(),
            },
            Presented::Paused => EventKind::Paused,
            Presented::Resumed => {
                self.event(EventKind::Resumed);
                return self.decide_requests();
            }
            Presented::Refused { step, reason } => EventKind::Refused {
                what: format!("an interrupt of step {step}"),
                reason,
            },
            Presented::Backtracked { step, generation } => {
                return self.backtracked(step, generation);
            }
            Presented::Ended {
                reason,
                node: _,
                steps,
            } => {
                let answer = self
                    .answer
                    .take()
                    .filter(|_| reason == EndReason::Terminated);
                return self.ended(EventKind::Ended {
                    reason: reason.as_str().into(),
                    answer,
                    steps,
                });
            }
        };
        self.event(kind);
    }

    fn present_observation(&mut self, step: StepIndex, node: NodeId) {
        let observation = self.tree.get(node).and_then(|node| node.result.as_ref());
        if let Some(observation) = observation.map(|result| result.observation.clone()) {
            self.event(EventKind::Observed {
                step,
                node,
                observation,
            });
        }
    }
}
