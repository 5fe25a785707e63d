//! The state double: what the workspace and each node's snapshot hold, as one number each.
//!
//! An execution runs on the state of its parent, and leaves that state with its changes. What
//! is recorded has to have run on exactly what was recorded before it: that is what makes the
//! workspace the one of T alone (rule 10), however often something was executed again.

use forerun_types::{Digest, ExecutionId, NodeId};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A digest of everything in a workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State(u64);

/// The state of every node that has a result that holds.
#[derive(Default)]
pub(super) struct States {
    running: BTreeMap<ExecutionId, State>,
    nodes: BTreeMap<NodeId, Ran>,
}

#[derive(Clone, Copy)]
struct Ran {
    execution: ExecutionId,
    on: State,
    left: State,
}

impl States {
    /// An execution begins on a state; what its node had before does not hold any more.
    pub(super) fn launched(&mut self, execution: ExecutionId, node: NodeId, on: State) {
        self.nodes.remove(&node);
        self.running.insert(execution, on);
    }

    pub(super) fn completed(&mut self, execution: ExecutionId, node: NodeId, changes: &Digest) {
        if let Some(on) = self.running.remove(&execution) {
            let mut hasher = DefaultHasher::new();
            (on.0, changes).hash(&mut hasher);
            let left = State(hasher.finish());
            let ran = Ran {
                execution,
                on,
                left,
            };
            self.nodes.insert(node, ran);
        }
    }

    /// The planner will execute the node again, or never.
    pub(super) fn dropped(&mut self, execution: ExecutionId, node: NodeId) {
        self.running.remove(&execution);
        if self.holds(node) == Some(execution) {
            self.nodes.remove(&node);
        }
    }

    /// The execution whose result the node has, if it has one that holds.
    pub(super) fn holds(&self, node: NodeId) -> Option<ExecutionId> {
        self.nodes.get(&node).map(|ran| ran.execution)
    }

    /// What the node ran on.
    pub(super) fn below(&self, node: NodeId) -> Option<State> {
        self.nodes.get(&node).map(|ran| ran.on)
    }

    /// What the node left.
    pub(super) fn of(&self, node: NodeId) -> Option<State> {
        self.nodes.get(&node).map(|ran| ran.left)
    }
}
