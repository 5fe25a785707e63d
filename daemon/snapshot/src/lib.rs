//! The state of a workspace: immutable snapshots, branches that tools change, deltas,
//! and the committer, the only code that ever writes to the workspace.
//!
//! A [`Workspace`] is a real directory (the *base*), held by capability. A [`Snapshot`]
//! is the base seen through a persistent inode table of changes; a [`Branch`] is a
//! mutable snapshot, owned by one sandbox, made in O(1). Freezing a branch gives a new
//! snapshot and the [`Delta`] against its parent. [`Workspace::commit`] puts a delta
//! into the base: validated, staged, recorded, then applied operation by operation,
//! each a compare-and-swap against what a person may have done meanwhile.
//!
//! **Invariants**
//! - Nothing but `commit`, `undo` and `recover` changes the base; dropping a branch or a
//!   snapshot leaves no trace.
//! - Nothing is shown, and nothing is written, that was reached through a symbolic link,
//!   out of the base, or over a mount point. Names that come in are normalised
//!   components. (An answer that was given is repeated as long as a glance at its path
//!   finds the same object: see `branch/paths.rs`.)
//! - A commit is in the base whole or not at all, whatever crashes when, and an object
//!   that is not ours or the version that was recorded is never unlinked.
//! - This crate reads no configuration, prints nothing, and knows no policy.
//!
//! **What it costs**: medians of `cargo bench -p forerun-snapshot --bench snapshot`,
//! release, Linux 6.18, a VM of 2 vCPUs with little else to do, base on tmpfs. With much
//! else to do all of it takes up to twice as long; the ratios stay.
//!
//! | | measured | wanted |
//! |---|---|---|
//! | `std::fs::metadata` at depth 3, for comparison | 0.46–0.58 µs | |
//! | look-up with attributes at depth 3, base file, by path | 0.86–1.07 × metadata | 1.1 × |
//! | the same, changed file | 0.86–0.89 × metadata | less than 1 × |
//! | base file, one name after another, then the attributes | 4.7–5.2 × metadata | |
//! | the same, changed file | 0.65 × metadata | |
//! | `branch()` over 100,000 files; 0, 1,000, 100,000 nodes changed | 0.10, 0.15, 0.13 µs | 0.2 µs |
//! | drop 100 changed files of 4 KiB at 100,000 nodes | 18–23 µs, 21 µs of processor time | 30 µs |
//! | freeze 10 changed files of 4 KiB, hashing included | 34–38 µs | 50 µs |
//! | change one byte of a file of 1 GiB | 11 µs | |
//! | open a workspace of 100,000 files | 0.02 ms | 5 ms |
//!
//! On 2026-11-28 the machine took five times as long for `metadata` (2.7 µs), whatever ran; in
//! one run beside the code of these figures (89d8e0b), a drop took 0.8–1.0 × as long as there, a
//! freeze 0.9 ×, and `branch()` 0.15–0.19 µs.
//!
//! Beside other work, in the dev profile, a branch took 20 µs a file to list everything and
//! read 10,000 files of 900 bytes at depth 4. Each is opened by its whole path from the root.
//! Relative to a directory that is held open, a loop of the system calls alone took 0.3–0.9 µs
//! less a file with `openat2` and 0.6–1.3 µs less with `openat` (depths 1 to 8): about 5 %, and
//! what somebody moves out of the workspace would stay in reach. So it is not done.
//!
//! Instead of `branch()`, of 100,000 files while other work ran: `cp -a` 5.5 s,
//! `cp --reflink` (xfs) 5.7 s, `git worktree add` 6.2 s, mounting an overlay in a user
//! namespace 8–12 ms, `git stash` of 10 changed files 2.3 s.
//!
//! The first look-up of a path by a branch, and any whose answer changed, is resolved
//! safely: `openat2`, `fstat` and `close` for each name that is not known yet. After
//! that one `statx` of the whole path tells whether the answer holds. Whatever the
//! branch changes makes it ask anew. Chunks that were spilled cost a drop one more
//! system call each. What commits cost is measured beside their journal:
//! `cargo bench -p forerun-journal`.

mod backing;
mod base;
mod branch;
mod chunks;
mod commit;
mod content;
mod delta;
mod entries;
mod graft;
mod name;
mod net;
mod node;
mod pins;
mod promote;
mod seen;
mod snapshot;
mod version;
mod workspace;

pub use branch::{Branch, DeltaUsage, DirEntry, FsError, Layout, Located, Metadata, Quota};
pub use commit::intent::{Intent, IntentLog, IntentLogError, IntentState, Kept, Undoes};
pub use commit::storage::{Attributes, Hold, Lease, Location, Observed, Pieces, Place, Storage};
pub use commit::{Abilities, Commit, CommitError, Expired, KeptCopy, Recovery, Retention, Undo};
pub use delta::{Delta, DeltaParseError, FileDiff};
pub use graft::GraftError;
pub use node::{Inode, NodeKind};
pub use pins::Stale;
pub use snapshot::Snapshot;
pub use version::Timestamp;
pub use workspace::{ContentUsage, OpenError, OpenOptions, Workspace};
