//! Changes of names and of directories, to be taken back and done again on the same
//! inodes, and which of them a crash leaves.

use forerun_types::Digest;
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FileType, Mode, RenameFlags, Stat, Timespec, Timestamps, fchmod, futimens,
    renameat_with, statat,
};
use std::io;
use std::sync::Arc;

/// What is there after the power went, besides what was synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Survival {
    /// Nothing: the most that POSIX lets a system forget.
    Synced,
    /// The changes up to some point, in order: a journal writes whole transactions, and
    /// what was synced since the last one (`btrfs`) or ends it (`ext4`, `xfs`).
    Prefix(u64),
    /// Some changes and not others, though each only with those it builds on: no order
    /// between directories.
    Part(u64),
}

/// A change, and whether it will be there whatever happens.
pub(crate) struct Change {
    pub(crate) what: What,
    pub(crate) is_synced: bool,
}

/// What was changed, by inodes rather than by paths.
pub(crate) enum What {
    /// A rename. What is made comes from a grave, what is removed goes to one.
    Moved {
        from: Name,
        to: Name,
        object: Object,
    },
    Exchanged {
        a: Name,
        b: Name,
        objects: [Object; 2],
    },
    /// Of a directory; modes and times before and after.
    Attributes {
        directory: Directory,
        before: Box<Stat>,
        after: Box<Stat>,
    },
}

#[derive(Clone)]
pub(crate) struct Directory {
    pub(crate) handle: Arc<OwnedFd>,
    pub(crate) ino: u64,
}

#[derive(Clone)]
pub(crate) struct Name {
    pub(crate) directory: Directory,
    pub(crate) name: String,
    /// Whether it is a name for what has none: not made yet, or removed.
    pub(crate) is_grave: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) ino: u64,
    pub(crate) is_directory: bool,
}

impl Survival {
    /// For each change, whether it is there.
    pub(crate) fn of(self, changes: &[Change]) -> Vec<bool> {
        let synced = changes.iter().map(|change| change.is_synced);
        let mut survives: Vec<_> = synced.collect();
        match self {
            Survival::Synced => {}
            Survival::Prefix(seed) => {
                let count = seed % (changes.len() as u64 + 1);
                survives[..count as usize].fill(true);
            }
            Survival::Part(_) => {
                for (index, change) in changes.iter().enumerate() {
                    let mut before = changes[..index].iter().zip(&survives);
                    let has_all = before
                        .all(|(it, survives)| *survives || !change.what.is_kept_after(&it.what));
                    survives[index] |= has_all && self.coin(index);
                }
            }
        }
        survives
    }

    /// Heads or tails.
    pub(crate) fn coin(self, throw: usize) -> bool {
        let seed = match self {
            Survival::Synced => 0,
            Survival::Prefix(seed) | Survival::Part(seed) => seed,
        };
        Digest::of(format!("{seed} {throw}")).short().as_str() < "8"
    }
}

/// What was changed in a directory is durable, and what that builds on.
pub(crate) fn sync(changes: &mut [Change], directory: u64) {
    for later in (0..changes.len()).rev() {
        let (before, rest) = changes.split_at_mut(later);
        let change = &mut rest[0];
        change.is_synced |= change.what.touches(directory);
        if change.is_synced {
            for earlier in before {
                earlier.is_synced |= change.what.builds_on(&earlier.what);
            }
        }
    }
}

impl Name {
    pub(crate) fn object(&self) -> io::Result<Object> {
        let stat = statat(
            &self.directory.handle,
            &self.name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        Ok(Object {
            ino: stat.st_ino,
            is_directory: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
        })
    }

    fn is(&self, other: &Name) -> bool {
        self.directory.ino == other.directory.ino && self.name == other.name
    }

    fn rename(&self, to: &Name, flags: RenameFlags) {
        let (from, into) = (&self.directory.handle, &to.directory.handle);
        renameat_with(from, &self.name, into, &to.name, flags).expect("moves as before");
    }
}

impl What {
    pub(crate) fn do_again(&self) {
        match self {
            What::Moved { from, to, object } => {
                assert!(from.object().is_ok_and(|found| found == *object));
                from.rename(to, RenameFlags::NOREPLACE);
            }
            What::Exchanged { a, b, objects } => {
                let found = [a, b].map(|name| name.object().expect("is there"));
                assert!(found == *objects);
                a.rename(b, RenameFlags::EXCHANGE);
            }
            What::Attributes {
                directory, after, ..
            } => directory.set_attributes(after),
        }
    }

    pub(crate) fn take_back(&self) {
        match self {
            What::Moved { from, to, .. } => to.rename(from, RenameFlags::NOREPLACE),
            What::Exchanged { a, b, .. } => a.rename(b, RenameFlags::EXCHANGE),
            What::Attributes {
                directory, before, ..
            } => directory.set_attributes(before),
        }
    }

    fn names(&self) -> Vec<&Name> {
        match self {
            What::Moved { from, to, .. } => vec![from, to],
            What::Exchanged { a, b, .. } => vec![a, b],
            What::Attributes { .. } => Vec::new(),
        }
    }

    /// Whether a directory is another after it.
    fn touches(&self, directory: u64) -> bool {
        match self {
            What::Attributes { directory: it, .. } => it.ino == directory,
            _ => self
                .names()
                .iter()
                .any(|name| name.directory.ino == directory),
        }
    }

    /// The object that has a name, or one more name, only since.
    fn made(&self) -> Option<u64> {
        match self {
            What::Moved { from, object, .. } if from.is_grave => Some(object.ino),
            _ => None,
        }
    }

    fn removed_directory(&self) -> Option<u64> {
        match self {
            What::Moved { to, object, .. } if to.is_grave && object.is_directory => {
                Some(object.ino)
            }
            _ => None,
        }
    }

    fn objects(&self) -> Vec<u64> {
        match self {
            What::Moved { object, .. } => vec![object.ino],
            What::Exchanged { objects, .. } => objects.map(|object| object.ino).to_vec(),
            What::Attributes { directory, .. } => vec![directory.ino],
        }
    }

    fn moves_directory(&self) -> bool {
        match self {
            What::Moved { from, to, object } => {
                object.is_directory && !from.is_grave && !to.is_grave
            }
            What::Exchanged { objects, .. } => objects.iter().any(|object| object.is_directory),
            What::Attributes { .. } => false,
        }
    }

    /// Whether it can not be there without an earlier one: both change one name or the same
    /// attributes, the earlier one made what the later one is about, a directory has to be
    /// emptied before it is removed, and directories are never moved into themselves.
    fn builds_on(&self, earlier: &What) -> bool {
        let (names, others) = (self.names(), earlier.names());
        let shares_name = names.iter().any(|name| others.iter().any(|it| it.is(name)));
        let objects = self.objects();
        let is_about = earlier.made().is_some_and(|made| objects.contains(&made));
        let empties = self.removed_directory();
        let attributes = |what: &What| matches!(what, What::Attributes { .. });
        shares_name
            || is_about
            || empties.is_some_and(|it| earlier.touches(it))
            || (self.moves_directory() && earlier.moves_directory())
            || (attributes(self) && attributes(earlier) && objects == earlier.objects())
    }

    /// Whether a file system that logs changes one by one keeps it after an earlier one all
    /// the same: what happens in a new directory comes after that, and for the move of a
    /// directory, whole transactions are written.
    fn is_kept_after(&self, earlier: &What) -> bool {
        self.builds_on(earlier)
            || earlier.made().is_some_and(|made| self.touches(made))
            || self.moves_directory()
            || earlier.moves_directory()
    }
}

impl Directory {
    fn set_attributes(&self, stat: &Stat) {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        fchmod(&self.handle, mode).expect("chmods");
        futimens(&self.handle, &times(stat)).expect("sets times");
    }
}

pub(crate) fn times(stat: &Stat) -> Timestamps {
    let spec = |tv_sec: i64, tv_nsec| Timespec { tv_sec, tv_nsec };
    Timestamps {
        last_access: spec(stat.st_atime, stat.st_atime_nsec as i64),
        last_modification: spec(stat.st_mtime, stat.st_mtime_nsec as i64),
    }
}
