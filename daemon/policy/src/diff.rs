//! What changes from one set to another: whether some request is allowed more, or less.
//!
//! More is in the order run, hold, ask, deny: a request is *wider* after a change if its
//! outcome then is nearer to run, *narrower* if it is nearer to deny.
//!
//! ```text
//!              touches: every kind of path there is, tried ──▶ always known
//!  two sets ─┤
//!              calls, commits, …: implied, policy by policy ──▶ impossible
//!                                 else requests are tried ────▶ a witness, or unknown
//! ```
//!
//! - **Invariant:** `Impossible` is proven, and a witness was decided by both sets. So what
//!   widens something is never said to narrow. What is neither proven nor found is `Unknown`.
//! - The sets are compared for the tools that they were loaded for: a policy about what no
//!   tool does changes nothing.
//! - Pure, as decisions are; the same sets have the same difference and the same witnesses.
//!
//! The proof, for "nothing is narrower": each forbid that is new implies one that was there,
//! each permit that is gone implies one that is there, and no new policy can fail, which
//! would deny. Since a mode is allowed if a permit holds and no forbid does, each mode that
//! was allowed is so still, and the first of them is no later.

mod implies;
mod search;
mod touches;

use crate::expression::Expression;
use crate::fact::{Fact, Fields};
use crate::paths::WORKSPACE;
use crate::rule::Rule;
use crate::{Decision, Outcome, PolicySet};
use cedar_policy::Effect;
use forerun_types::Source;
use implies::{implies, is, is_total, known};
use serde::Serialize;
use std::collections::{BTreeSet, HashSet};
use std::fmt;

/// How one set differs from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Whether some request is allowed more.
    pub wider: Finding,
    /// Whether some request is allowed less.
    pub narrower: Finding,
}

/// Whether there is a request that is decided in a certain way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// There is none; this is proven.
    Impossible,
    /// There is this one.
    Shown(Box<Witness>),
    /// None was found, and there may be one.
    Unknown,
}

/// What a change of policies amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Every request is decided as before.
    Equal,
    /// Some requests are allowed more, and none less.
    Widens,
    /// Some requests are allowed less, and none more.
    Narrows,
    /// Some requests are allowed more, and others less.
    Both,
    /// Something is not known. What is known stands in the [`Difference`].
    CannotTell,
}

/// A request that two sets decide differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// Who acts.
    pub principal: Source,
    /// The action as policies name it: `call:write_file`, `commit`, `read`, `write`, `delete`.
    pub action: String,
    /// The tool's name, the path as a sandbox sees it, or the workspace.
    pub resource: String,
    /// What policies see of the circumstances, but for the mode, as the schema names it.
    pub context: serde_json::Value,
    /// How it was decided.
    pub before: Decision,
    /// How it is decided.
    pub after: Decision,
}

/// Why sets can not be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiffError {
    /// They were loaded for different tools.
    #[error("compare policy sets that were loaded for different tools")]
    OtherTools,
}

impl DiffError {
    /// A stable name for programs.
    pub fn code(self) -> &'static str {
        match self {
            DiffError::OtherTools => "policy_other_tools",
        }
    }
}

impl PolicySet {
    /// What changes when `after` takes the place of this set.
    ///
    /// Quick where the form of the policies tells; where requests have to be tried, it can take
    /// a second, and with sets of a thousand policies most of a minute. It is for people who
    /// wait, not for every reload.
    ///
    /// # Errors
    /// If the sets were loaded for different tools.
    pub fn diff(&self, after: &PolicySet) -> Result<Difference, DiffError> {
        let (schema, other) = (&self.0.schema, &after.0.schema);
        if schema.text != other.text || schema.tools != other.tools {
            return Err(DiffError::OtherTools);
        }
        let mut sought = Sought::new();
        touches::compare(self, after, &mut sought);
        // By name, so that the witness is the same each time.
        let actions: BTreeSet<_> = self.0.slices.keys().chain(after.0.slices.keys()).collect();
        for action in actions {
            Slices::new(self, after, action).compare(&mut sought);
        }
        Ok(sought.difference())
    }
}

impl Difference {
    /// What it amounts to.
    pub fn change(&self) -> Change {
        use Finding::{Impossible, Shown, Unknown};
        match (&self.wider, &self.narrower) {
            (Impossible, Impossible) => Change::Equal,
            (Shown(_), Impossible) => Change::Widens,
            (Impossible, Shown(_)) => Change::Narrows,
            (Shown(_), Shown(_)) => Change::Both,
            (Unknown, _) | (_, Unknown) => Change::CannotTell,
        }
    }
}

impl Finding {
    /// The request that shows it, if one was found.
    pub fn witness(&self) -> Option<&Witness> {
        match self {
            Finding::Shown(witness) => Some(witness),
            Finding::Impossible | Finding::Unknown => None,
        }
    }
}

impl Change {
    /// Its name as it is spelled everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Equal => "equal",
            Change::Widens => "widens",
            Change::Narrows => "narrows",
            Change::Both => "both",
            Change::CannotTell => "cannot_tell",
        }
    }
}

/// For people: `cannot tell`, and the names of the others.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::CannotTell => f.write_str("cannot tell"),
            told => f.write_str(told.as_str()),
        }
    }
}

/// One line: `target: write /workspace/a {…}: deny before, run after`.
impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (self.before.outcome, self.after.outcome);
        let Witness {
            principal,
            action,
            resource,
            context,
            ..
        } = self;
        // The name of a tool is in that of its action.
        let resource = match action.strip_prefix("call:") {
            Some(_) => String::new(),
            None => format!(" {resource}"),
        };
        let what = action.replacen(':', " ", 1);
        write!(
            f,
            "{principal}: {what}{resource} {context}: {before} before, {after} after"
        )
    }
}

/// What is looked for, and what was found.
struct Sought {
    wider: Open,
    narrower: Open,
}

/// One direction.
#[derive(Default)]
struct Open {
    witness: Option<Box<Witness>>,
    /// Some part of the sets could not be told.
    unknown: bool,
}

impl Sought {
    fn new() -> Sought {
        Sought {
            wider: Open::default(),
            narrower: Open::default(),
        }
    }

    /// Which directions are still to be shown, of these.
    fn wants(&self, of: Directions) -> Directions {
        Directions {
            wider: of.wider && self.wider.witness.is_none(),
            narrower: of.narrower && self.narrower.witness.is_none(),
        }
    }

    /// Takes a request as a witness if its decisions show what is still to be shown.
    fn offer(&mut self, witness: Witness) {
        let (before, after) = (rank(witness.before.outcome), rank(witness.after.outcome));
        let open = match after.cmp(&before) {
            std::cmp::Ordering::Greater => &mut self.wider,
            std::cmp::Ordering::Less => &mut self.narrower,
            std::cmp::Ordering::Equal => return,
        };
        open.witness.get_or_insert_with(|| Box::new(witness));
    }

    /// Notes directions of which nothing is known.
    fn leave_open(&mut self, of: Directions) {
        self.wider.unknown |= of.wider;
        self.narrower.unknown |= of.narrower;
    }

    fn difference(self) -> Difference {
        let finding = |open: Open| match (open.witness, open.unknown) {
            (Some(witness), _) => Finding::Shown(witness),
            (None, true) => Finding::Unknown,
            (None, false) => Finding::Impossible,
        };
        Difference {
            wider: finding(self.wider),
            narrower: finding(self.narrower),
        }
    }
}

/// Some of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Directions {
    wider: bool,
    narrower: bool,
}

impl Directions {
    fn none(self) -> bool {
        !self.wider && !self.narrower
    }
}

/// How much is allowed: more is larger.
fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Run => 3,
        Outcome::Hold => 2,
        Outcome::Ask => 1,
        Outcome::Deny => 0,
    }
}

/// What two sets say about one action.
struct Slices<'s> {
    before: &'s PolicySet,
    after: &'s PolicySet,
    action: &'s str,
    /// Policies that are in both.
    common: Vec<Known<'s>>,
    /// Policies that are in the first set only.
    gone: Vec<Known<'s>>,
    /// Policies that are in the second set only.
    new: Vec<Known<'s>>,
}

/// A policy, for a resource that is known from the action.
struct Known<'s> {
    rule: &'s Rule,
    condition: Expression,
    /// Whether it can be evaluated for every request.
    total: bool,
}

impl<'s> Slices<'s> {
    fn new(before: &'s PolicySet, after: &'s PolicySet, action: &'s str) -> Slices<'s> {
        let none = Fields::new();
        let tool = action.strip_prefix("call:");
        let resource = match (tool, action) {
            (Some(tool), _) => Some(Fact::Entity("Tool".into(), tool.to_owned().into())),
            (None, "commit") => Some(Fact::entity("Workspace", WORKSPACE)),
            _ => None,
        };
        let attributes = tool.and_then(|tool| before.0.schema.tools.get(tool));
        let prepare = |rule: &'s Rule| {
            let total = is_total(&rule.json);
            let condition = match &resource {
                Some(resource) if total => {
                    known(&rule.condition, resource, attributes.unwrap_or(&none))
                }
                _ => rule.condition.clone(),
            };
            Known {
                rule,
                condition,
                total,
            }
        };
        // What is never true for this resource is no policy of this action.
        let of = |set: &'s PolicySet| {
            let rules = set.0.slices.get(action).into_iter().flatten();
            let rules = rules.map(|rule| prepare(rule));
            rules.filter(|known| !is(&known.condition, false))
        };
        let keys = |set| of(set).map(|known| known.key()).collect::<HashSet<_>>();
        let (keys_before, keys_after) = (keys(before), keys(after));
        let (common, gone) = of(before).partition(|known| keys_after.contains(&known.key()));
        Slices {
            before,
            after,
            action,
            common,
            gone,
            new: of(after)
                .filter(|known| !keys_before.contains(&known.key()))
                .collect(),
        }
    }

    /// What of this action is wider or narrower.
    fn compare(&self, sought: &mut Sought) {
        let mut all = self.common.iter().chain(&self.gone).chain(&self.new);
        if all.all(|known| known.rule.effect == Effect::Forbid) {
            return; // Nothing permits it: it is denied, as before.
        }
        let possible = Directions {
            wider: !self.is_within(&self.gone, &self.new),
            narrower: !self.is_within(&self.new, &self.gone),
        };
        if sought.wants(possible).none() {
            return;
        }
        search::witnesses(self, possible, sought);
        sought.leave_open(sought.wants(possible));
    }

    /// Whether a set that has `more` in place of `less` can not allow less: its own forbids
    /// imply one of the other's, the other's permits imply one of its own, and it can not
    /// fail where the other did not.
    fn is_within(&self, more: &[Known<'_>], less: &[Known<'_>]) -> bool {
        let implied = |one: &Known<'_>, by: &[Known<'_>]| {
            let others = by.iter().chain(&self.common);
            let mut others = others.filter(|other| other.rule.effect == one.rule.effect);
            others.any(|other| implies(&one.condition, &other.condition))
        };
        let forbids = |known: &&Known<'_>| known.rule.effect == Effect::Forbid;
        let permits = |known: &&Known<'_>| known.rule.effect == Effect::Permit;
        more.iter().all(|known| known.total)
            && more.iter().filter(forbids).all(|new| implied(new, less))
            && less.iter().filter(permits).all(|gone| implied(gone, more))
    }
}

impl Known<'_> {
    /// What it says, whatever its name.
    fn key(&self) -> String {
        let effect = self.rule.effect;
        match self.total {
            true => format!("{effect} {:?}", self.condition),
            false => {
                let (resource, conditions) =
                    (&self.rule.json["resource"], &self.rule.json["conditions"]);
                format!("{effect} {resource} {conditions}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
