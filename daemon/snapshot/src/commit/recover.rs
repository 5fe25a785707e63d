//! Recovery: an intent that was recorded and not marked is finished, or taken back if a
//! person interfered. Works on what is there alone, and can itself be interrupted.
//!
//! Operations are applied in order and taken back in reverse, so what was done is always
//! a prefix. Of that, a crash may have lost anything that was not synced, except that
//! moves of directories keep their place in the order, as with every journal. Each
//! (path, slot) is classified: what is in the slot says whether the operation took place,
//! and of a move, at which of its paths the object is.

use super::apply::Work;
use super::error::CommitError;
use super::intent::{Intent, Operation, Recorded};
use super::storage::Location;
use super::validate::conflict;
use crate::name;
use std::collections::{HashMap, HashSet};
use std::io;

/// What is known of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// It did not take place.
    Pending,
    /// It took place; what a person did to the object since is theirs.
    Done,
    /// It took place, but what it displaced is not what was recorded.
    Displaced,
    /// It did not take place, and can not.
    Blocked,
    /// Nothing says whether it took place.
    Unknown,
}

/// How far an intent came, as far as that can be seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// An operation took place.
    pub(super) begun: bool,
    /// It looks as if one had, but might have looked so before.
    pub(super) maybe_begun: bool,
    /// An operation did not take place.
    pub(super) unfinished: bool,
    /// Paths where one certainly took place.
    changed: HashSet<String>,
}

impl Operation {
    /// The paths that it changes.
    fn paths(&self) -> impl Iterator<Item = &str> {
        let from = match self {
            Operation::Move { from, .. } => Some(from.as_str()),
            _ => None,
        };
        from.into_iter().chain([self.path()])
    }

    /// Whether what is there tells that it took place.
    fn is_certain(&self) -> bool {
        !matches!(self, Operation::Rmdir { .. } | Operation::SetTimes { .. })
    }
}

impl Work<'_> {
    /// What the slots and the paths of an intent show.
    pub(super) fn evidence(&self, intent: &Intent) -> io::Result<Evidence> {
        let placed = intent.placed_slots();
        let mut evidence = Evidence::default();
        for operation in &intent.operations {
            let certain = operation.is_certain();
            match self.classify(&placed, operation)? {
                Class::Done | Class::Displaced if certain => {
                    evidence.begun = true;
                    let paths = operation.paths().map(str::to_owned);
                    evidence.changed.extend(paths);
                }
                Class::Done | Class::Displaced => evidence.maybe_begun = true,
                Class::Pending | Class::Blocked => evidence.unfinished |= certain,
                Class::Unknown => {}
            }
        }
        Ok(evidence)
    }

    /// Applies what has not taken place yet.
    pub(super) fn roll_forward(&self, intent: &Intent) -> Result<(), CommitError> {
        let operations = &intent.operations;
        let placed = intent.placed_slots();
        let classify = |operation: &Operation| {
            self.classify(&placed, operation)
                .map_err(|error| CommitError::of_io("look at", operation.path(), error))
        };
        let classes = operations
            .iter()
            .map(classify)
            .collect::<Result<Vec<_>, _>>()?;
        // The last operation that certainly took place: all before it did, too.
        let reached = classes
            .iter()
            .zip(operations)
            .rposition(|(class, operation)| {
                operation.is_certain() && matches!(class, Class::Done | Class::Displaced)
            })
            .map_or(0, |last| last + 1);
        for (index, operation) in operations.iter().enumerate() {
            // Anew: what was applied just now decides what can be known of the next.
            match classify(operation)? {
                Class::Done => {}
                Class::Unknown if index < reached => {}
                Class::Pending => self.apply(operation)?,
                Class::Displaced | Class::Blocked | Class::Unknown => {
                    let expected = "what the commit was recorded with".to_owned();
                    let found = self.storage.observe(&Location::workspace(operation.path()));
                    let found = found.ok().flatten().map(|found| found.version);
                    return Err(conflict(operation.path(), expected, found.as_ref()));
                }
            }
        }
        Ok(())
    }

    /// Applies what a crash lost of an intent of which a later one has begun. Not every
    /// file system keeps changes of unrelated directories in order: with a directory that
    /// somebody syncs, later changes in it may be durable before earlier ones elsewhere.
    /// Where a later one has changed something, this one did before.
    pub(super) fn complete(&self, intent: &Intent, later: &[Evidence]) -> Result<(), CommitError> {
        let placed = intent.placed_slots();
        for operation in &intent.operations {
            let path = operation.path();
            // Of a path in a directory that was moved since, nothing is known, either.
            let was_changed_later = operation
                .paths()
                .flat_map(name::above)
                .any(|path| later.iter().any(|later| later.changed.contains(path)));
            // Times differ as soon as anything was changed in the directory.
            let tells_nothing = matches!(operation, Operation::SetTimes { .. });
            if was_changed_later || tells_nothing {
                continue;
            }
            let class = self.classify(&placed, operation);
            let class = class.map_err(|error| CommitError::of_io("look at", path, error))?;
            match class {
                Class::Pending => self.apply(operation).or_else(unless_changed)?,
                // Somebody was there since: what later commits build on is not taken back.
                Class::Done | Class::Displaced | Class::Blocked | Class::Unknown => {}
            }
        }
        Ok(())
    }

    /// Takes everything back that took place.
    pub(super) fn roll_back(&self, intent: &Intent) -> Result<(), CommitError> {
        let placed = intent.placed_slots();
        let parked: HashSet<_> = intent.parked_slots().collect();
        for operation in intent.operations.iter().rev() {
            let path = operation.path();
            let failed = |error| CommitError::of_io("restore", path, error);
            let is_moved = match operation {
                Operation::Place { slot, .. } => parked.contains(slot.as_str()),
                _ => false,
            };
            match (
                self.classify(&placed, operation).map_err(failed)?,
                operation,
            ) {
                (
                    Class::Displaced,
                    Operation::Exchange {
                        slot, path, post, ..
                    },
                ) => {
                    let (at, slot) = (Location::workspace(path), self.slot(slot));
                    self.swap_back(&at, &slot, &post.version).map_err(failed)?;
                }
                (Class::Done | Class::Displaced, operation) => {
                    self.take_back(operation, is_moved).map_err(failed)?;
                }
                (Class::Pending | Class::Blocked | Class::Unknown, _) => {}
            }
        }
        Ok(())
    }

    /// `placed` tells where what is in a slot goes.
    fn classify(&self, placed: &HashMap<&str, &str>, operation: &Operation) -> io::Result<Class> {
        let at = Location::workspace(operation.path());
        let is_there = |at: &Location| Ok::<_, io::Error>(self.storage.observe(at)?.is_some());
        Ok(match operation {
            Operation::Exchange {
                slot, pre, post, ..
            } => {
                let slot = self.slot(slot);
                if !is_there(&slot)? {
                    match self.is_put(&at, post)? {
                        true => Class::Done,
                        false => Class::Unknown,
                    }
                } else if self.is(&slot, post)? && !self.is_same_object(&at, post)? {
                    match self.is(&at, pre)? {
                        true => Class::Pending,
                        false => Class::Blocked,
                    }
                } else if self.is(&slot, pre)? {
                    Class::Done
                } else if self.is_same_object(&at, post)? {
                    Class::Displaced
                } else {
                    // Both are foreign: the newer one is at the path and stays there.
                    Class::Blocked
                }
            }
            Operation::Park { slot, pre, .. } => {
                let parked = self.slot(slot);
                let elsewhere = placed.get(slot.as_str()).filter(|to| **to != at.path);
                let is_moved = |to: &&str| self.is_same_object(&Location::workspace(*to), pre);
                if is_there(&parked)? {
                    match self.is(&parked, pre)? {
                        true => Class::Done,
                        false => Class::Displaced,
                    }
                // Before a look at the path, where something equal may be by now.
                } else if elsewhere.map_or(Ok(false), is_moved)? {
                    Class::Done
                } else if self.is(&at, pre)? {
                    Class::Pending
                } else {
                    Class::Unknown
                }
            }
            Operation::Move { from, pre, via, .. } => {
                let from = Location::workspace(from);
                let via = via.as_ref().map(Location::workspace);
                let any = |is: &dyn Fn(&Location) -> io::Result<bool>| {
                    Ok::<_, io::Error>(is(&from)? || via.as_ref().map_or(Ok(false), is)?)
                };
                // Two names of one file may be where one of them goes.
                let stays = any(&|at| self.is_same_object(at, pre))?;
                if !stays && self.is_same_object(&at, pre)? {
                    Class::Done
                } else if any(&|at| self.is(at, pre))? {
                    Class::Pending
                } else {
                    Class::Unknown
                }
            }
            Operation::Rmdir { .. } if !is_there(&at)? => Class::Done,
            Operation::Rmdir { pre, .. } => match self.is_removable(&at, &pre.recorded)? {
                true => Class::Pending,
                false => Class::Unknown,
            },
            Operation::Place { slot, post, .. } => {
                if is_there(&self.slot(slot))? {
                    match is_there(&at)? {
                        true => Class::Blocked,
                        false => Class::Pending,
                    }
                } else if self.is_put(&at, post)? {
                    Class::Done
                } else {
                    Class::Unknown
                }
            }
            Operation::SetTimes { post, .. } => match self.storage.observe(&at)? {
                Some(found) if found.version.modified == post.modified => Class::Done,
                _ => Class::Pending,
            },
        })
    }

    /// Whether what was staged is at its path, though perhaps it was staged again.
    fn is_put(&self, at: &Location, post: &Recorded) -> io::Result<bool> {
        Ok(self.is_same_object(at, post)? || self.is(at, post)?)
    }
}

/// What somebody changed since the crash stays so.
fn unless_changed(error: CommitError) -> Result<(), CommitError> {
    match error {
        CommitError::Conflict { .. } | CommitError::Unwritable { .. } => {
            tracing::warn!(%error, "an earlier commit can not be completed");
            Ok(())
        }
        error => Err(error),
    }
}
