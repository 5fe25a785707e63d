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
//! - No path is ever followed through a symbolic link, out of the base, or over a
//!   mount point. Names that come in are single, normalised components.
//! - A commit is in the base whole or not at all, whatever crashes when, and an object
//!   that is not ours or the version that was recorded is never unlinked.
//! - This crate reads no configuration, prints nothing, and knows no policy.
//!
//! **What it costs**: medians of `cargo bench -p forerun-snapshot --bench snapshot`,
//! release, Linux 6.18, a quiet VM of 2 vCPUs, base on tmpfs.
//!
//! | | measured | wanted |
//! |---|---|---|
//! | `std::fs::metadata` at depth 3, for comparison | 0.47 µs | |
//! | `branch()` over 100,000 files; 0, 1,000, 100,000 nodes changed | 0.10, 0.13, 0.13 µs | 0.2 µs |
//! | drop 100 changed files of 4 KiB at 100,000 nodes | 27 µs | 30 µs |
//! | freeze 10 changed files of 4 KiB, hashing included | 51 µs | 50 µs, **not met** |
//! | look-up with attributes at depth 3, base file | 9.1 × metadata | 1.1 ×, **not met** |
//! | the same, changed file | 0.9 × metadata | less than 1 × |
//! | change one byte of a file of 1 GiB | 11 µs | |
//! | open a workspace of 100,000 files | 0.02 ms | 5 ms |
//!
//! A look-up in the base takes `openat2`, `fstat` and `close` for each name, and again
//! for the attributes; one such access to a whole path takes about twice as long as
//! `metadata`. Chunks that were spilled cost a drop one more system call each.

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

pub use branch::{Branch, DeltaUsage, DirEntry, FsError, Located, Metadata, Quota};
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
