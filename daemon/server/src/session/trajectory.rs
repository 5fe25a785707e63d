//! What the ids that the planner speaks of stand for: actions, observations, snapshots
//! and prefixes of one session.

use forerun_types::{
    Action, ActionKey, Digest, Entry, NodeId, Observation, PathChange, PrefixId, SnapshotId,
    StepIndex, Time,
};
use std::collections::{BTreeMap, HashMap};

/// Prefixes by id, each as what it adds to the one before.
pub(crate) struct Prefixes {
    task: String,
    instructions: String,
    root: PrefixId,
    /// What the user said before a step.
    suggestions: BTreeMap<StepIndex, Vec<String>>,
    entries: HashMap<PrefixId, (PrefixId, Entry)>,
}

impl Prefixes {
    /// Only the root, on which step 0 is asked.
    pub(crate) fn new(task: &str, instructions: &str, tools: &Digest) -> Prefixes {
        Prefixes {
            task: task.to_owned(),
            instructions: instructions.to_owned(),
            root: PrefixId::root(task, instructions, tools),
            suggestions: BTreeMap::new(),
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

    /// The prefix below a step: with what it did, and what the user said after it.
    pub(crate) fn below(&mut self, parent: PrefixId, step: StepIndex, entry: Entry) -> PrefixId {
        let said = self.suggestions.get(&step.next()).cloned();
        let below = self.extend(parent, entry);
        said.into_iter().flatten().fold(below, |prefix, text| {
            self.extend(prefix, Entry::Suggestion { text })
        })
    }

    /// Remembers what the user said before a step: should the step before it be executed
    /// again, it is said there again.
    pub(crate) fn suggest(&mut self, step: StepIndex, text: &str) {
        let said = self.suggestions.entry(step).or_default();
        said.push(text.to_owned());
    }

    /// Forgets what was said after a step, which is decided anew.
    pub(crate) fn forget_suggestions_after(&mut self, step: StepIndex) {
        self.suggestions
            .retain(|said_before, _| *said_before <= step);
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
    pub(crate) step: StepIndex,
    /// None is the head.
    pub(crate) parent: Option<NodeId>,
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
    /// Bytes that were written on the way to it, its own included.
    pub(crate) written: u64,
    /// Whether something sensitive was read on the way to it.
    pub(crate) sensitive: bool,
    /// The prefix below it.
    pub(crate) next: PrefixId,
    /// Until when it may be used without executing it again; none is for ever.
    pub(crate) fresh_until: Option<Time>,
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

    /// All nodes; each comes after its parent, since it was made after it.
    pub(crate) fn nodes_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut Node)> {
        self.nodes.iter_mut().map(|(id, node)| (*id, node))
    }

    /// The first node of an unverified step; of a decided one there is no other.
    pub(crate) fn node_at(&mut self, step: Option<StepIndex>) -> Option<&mut Node> {
        let mut nodes = self.nodes.values_mut();
        nodes.find(|node| Some(node.step) == step)
    }

    /// The actions of the nodes of a step.
    pub(crate) fn actions_at(&self, step: StepIndex) -> impl Iterator<Item = &Action> {
        let nodes = self.nodes.values();
        let of_step = nodes.filter(move |node| node.step == step);
        of_step.map(|node| &node.action)
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
