//! What is executed ahead without an agent that was asked for it: what history predicts, and
//! what a caller says that it will do next.

use super::actor::Actor;
use super::caller::{ActError, PredictRequest};
use crate::foresight;
use forerun_history::Run;
use forerun_planner::Input;
use forerun_types::{
    Action, Entry, EventKind, NodeId, Predictor, PrefixId, Role, Speculation, StepIndex,
};
use std::sync::Arc;

/// Steps of a caller after which they are learned. Its session has no task that ends, and may
/// be as long as the host's day.
const LEARN_EVERY: usize = 24;

/// What a session knows of what comes next.
pub(super) struct Foresight {
    workspace: Arc<foresight::Workspace>,
    task: String,
    /// The run up to a prefix, the last one that was predicted from.
    current: (PrefixId, Run),
    /// What was verified and not learned.
    verified: Run,
}

impl Foresight {
    pub(super) fn new(
        workspace: Arc<foresight::Workspace>,
        task: &str,
        root: PrefixId,
    ) -> Foresight {
        Foresight {
            workspace,
            task: task.to_owned(),
            current: (root, Run::new(task)),
            verified: Run::new(task),
        }
    }
}

impl Actor {
    /// The target is asked for a step: what history predicts is executed meanwhile, unless an
    /// approximation agent is asked as well, after which it has its say.
    pub(super) fn foresee(&mut self, step: StepIndex, prefix: PrefixId) {
        if !self.agents.has(Role::Approximation) {
            let most = self.planner.config().width.max(1) as usize;
            let actions = self.predict(prefix, most);
            self.offer(step, prefix, Predictor::History, actions);
        }
    }

    /// The step that waits for the caller is one that it has predicted: that is executed
    /// meanwhile. Whether there was something.
    pub(super) fn foresee_callers(&mut self) -> bool {
        let Some((step, prefix)) = self.agents.step_of_caller() else {
            return false;
        };
        let width = self.planner.config().width.max(1) as usize;
        let actions = self.caller.predicted(self.now(), prefix, width);
        if actions.is_empty() {
            return false;
        }
        self.offer(step, prefix, Predictor::Caller, actions);
        self.decide();
        true
    }

    /// The approximation agent answered: what history knows comes after its candidates.
    pub(super) fn foresee_beside(&mut self, step: StepIndex, prefix: PrefixId) {
        let width = self.planner.config().width as usize;
        if width > 1 {
            let actions = self.predict(prefix, width);
            self.offer(step, prefix, Predictor::History, actions);
        }
    }

    /// What history predicts on a prefix.
    pub(super) fn predict(&mut self, prefix: PrefixId, most: usize) -> Vec<Action> {
        let Some(foresight) = &mut self.foresight else {
            return Vec::new();
        };
        let (at, run) = &mut foresight.current;
        let (base, entries) = self.prefixes.since(prefix, |known| known == at);
        if base.is_none() {
            *run = Run::new(&foresight.task);
        }
        *at = prefix;
        for entry in &entries {
            // What the owner says changes what comes next, but nobody knows how.
            if let Entry::Step {
                action,
                observation,
            } = entry
            {
                run.push(action, Some(observation));
            }
        }
        let mut actions = foresight.workspace.predict(run, most);
        // What never runs ahead, or is no tool any more, would only take the place of others.
        let toolbox = self.context.sandboxes.toolbox();
        actions.retain(|action| {
            let tool = toolbox.get(&action.tool);
            tool.is_some_and(|tool| tool.speculation != Speculation::Never)
        });
        actions
    }

    fn offer(&mut self, step: StepIndex, prefix: PrefixId, by: Predictor, actions: Vec<Action>) {
        if actions.is_empty() {
            return;
        }
        let candidates = actions.iter().map(|action| self.candidate(action));
        let candidates = candidates.collect();
        self.event(EventKind::Predicted { step, by, actions });
        self.plan(Input::Offered { prefix, candidates });
    }

    /// A caller says what it expects to do.
    pub(super) fn caller_predicts(&mut self, request: PredictRequest) {
        let toolbox = self.context.sandboxes.toolbox();
        let invalid = request
            .candidates
            .iter()
            .enumerate()
            .find_map(|(at, action)| {
                let problem = toolbox.check(action).err()?;
                Some(ActError::InvalidCandidate(at, problem.text))
            });
        let taken = match invalid {
            Some(error) => Err(error),
            None => self.seat_caller().and_then(|()| {
                let now = self.now();
                self.caller
                    .expect(request.after, request.candidates, now, request.ttl)
            }),
        };
        // Nobody may be there to hear it.
        let _ = request.reply.send(taken);
    }

    /// A step is verified: it belongs to what is learned.
    pub(super) fn remember(&mut self, node: NodeId) {
        let Some(foresight) = &mut self.foresight else {
            return;
        };
        if let Some(node) = self.tree.get(node)
            && let Some(result) = &node.result
        {
            foresight
                .verified
                .push(&node.action, Some(&result.observation));
        }
        if foresight.verified.len() >= LEARN_EVERY && self.agents.is_callers() {
            self.learn();
        }
    }

    /// Learns from what was verified since it was done last.
    pub(super) fn learn(&mut self) {
        let Some(foresight) = &mut self.foresight else {
            return;
        };
        let run = std::mem::replace(&mut foresight.verified, Run::new(&foresight.task));
        if !run.is_empty() {
            let workspace = Arc::clone(&foresight.workspace);
            tokio::task::spawn_blocking(move || workspace.learn(&run));
        }
    }
}
