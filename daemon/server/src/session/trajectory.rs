//! What the ids that the planner speaks of stand for: actions, observations, snapshots
//! and prefixes of one session.

use forerun_types::{
    Action, ActionKey, Digest, Entry, NodeId, Observation, PathChange, PrefixId, SnapshotId,
};
use std::collections::{BTreeMap, HashMap};

/// Prefixes by id, each as what it adds to the one before.
pub(crate) struct Prefixes {
    task: String,
    instructions: String,
    root: PrefixId,
    entries: HashMap<PrefixId, (PrefixId, Entry)>,
}

impl Prefixes {
    /// Only the root, on which step 0 is asked.
    pub(crate) fn new(task: &str, instructions: &str, tools: &Digest) -> Prefixes {
        Prefixes {
            task: task.to_owned(),
            instructions: instructions.to_owned(),
            root: PrefixId::root(task, instructions, tools),
            entries: HashMap::new(),
        }
    }

    pub(crate) fn root(&self) -> PrefixId {
        self.root
    }

    /// Task and instructions.
    pub(crate) fn opening(&self) -> (String, String) {
        (self.task.clone(), self.instructions.clone())
    }

    /// Adds `entry` below `parent`.
    pub(crate) fn extend(&mut self, parent: PrefixId, entry: Entry) -> PrefixId {
        let id = parent.extend(&entry);
        self.entries.entry(id).or_insert((parent, entry));
        id
    }

    /// The entries that lead to `prefix` from the nearest one that is `known`, oldest
    /// first; from the root, with no base, if none is.
    pub(crate) fn since(
        &self,
        prefix: PrefixId,
        known: impl Fn(&PrefixId) -> bool,
    ) -> (Option<PrefixId>, Vec<Entry>) {
        let mut entries = Vec::new();
        let mut at = prefix;
        let base = loop {
            if known(&at) {
                break Some(at);
            }
            match self.entries.get(&at) {
                Some((parent, entry)) => {
                    entries.push(entry.clone());
                    at = *parent;
                }
                None => break None,
            }
        };
        entries.reverse();
        (base, entries)
    }
}

/// What is known of one node of the speculation tree.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) action: Action,
    /// The prefix that its action was given on.
    pub(crate) prefix: PrefixId,
    /// Once executed.
    pub(crate) result: Option<NodeResult>,
}

/// What executing a node brought.
#[derive(Clone, Debug)]
pub(crate) struct NodeResult {
    pub(crate) observation: Observation,
    pub(crate) snapshot: SnapshotId,
    /// Whether a sandbox ran it, so that there is a delta.
    pub(crate) sandboxed: bool,
    /// Digest of the delta, which a verdict binds to.
    pub(crate) delta: Digest,
    pub(crate) changed: Vec<PathChange>,
    /// The prefix below it.
    pub(crate) next: PrefixId,
}

/// The session's nodes that are not verified yet, and the actions that were given.
#[derive(Default)]
pub(crate) struct Tree {
    actions: HashMap<ActionKey, Action>,
    nodes: BTreeMap<NodeId, Node>,
}

impl Tree {
    /// Remembers an action and returns its key.
    pub(crate) fn intern(&mut self, action: &Action) -> ActionKey {
        let key = action.key();
        self.actions.entry(key).or_insert_with(|| action.clone());
        key
    }

    pub(crate) fn action(&self, key: ActionKey) -> Option<&Action> {
        self.actions.get(&key)
    }

    pub(crate) fn insert(&mut self, id: NodeId, node: Node) {
        self.nodes.insert(id, node);
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(&id)
    }

    pub(crate) fn remove(&mut self, id: NodeId) -> Option<Node> {
        self.nodes.remove(&id)
    }

    /// Whether any unverified node but `id` has been executed, so that a snapshot hangs on
    /// the head.
    pub(crate) fn has_snapshots_beside(&self, id: NodeId) -> bool {
        self.nodes
            .iter()
            .any(|(other, node)| *other != id && node.result.is_some())
    }

    pub(crate) fn snapshots(&self) -> impl Iterator<Item = SnapshotId> {
        self.nodes
            .values()
            .filter_map(|node| Some(node.result.as_ref()?.snapshot))
    }
}
