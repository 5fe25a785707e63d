//! Pins: what a branch was told about the base, and whether the base says the same now.
//!
//! | pin | is taken when | holds while |
//! |---|---|---|
//! | name | a name is looked up | nothing, or an object of that kind, has it |
//! | attributes | attributes are shown | kind, size, mtime and mode are equal |
//! | chunk | bytes are read | the chunk of 64 KiB that they lie in is equal |
//! | whole | a file is copied up or removed | its digest is equal |
//! | target | a link is read | its target is equal |
//! | listing | a directory is listed | names and kinds are equal |
//! | survey | there is no room for more pins | nothing in the directory has another version |
//!
//! The first answer counts; an answer that differs from it makes the pins *torn*: they
//! hold at no time. An ancestor of a path is pinned by the look-up that led through it.
//! Link counts and access times are not pinned, and neither is what is hidden.
//!
//! What the answer came from is the branch's *origin*, the table it started with, over
//! the base. Of a name that the origin binds, and of a node that it holds, the origin
//! keeps the answer; it is compared once the base holds the origin's changes, that is,
//! once the parent is verified. Until then the base must not be asked: so what a
//! session's own steps put into the base is never somebody else's change.

use crate::Workspace;
use crate::content::CHUNK_BYTES;
use crate::name;
use crate::net::View;
use crate::node::{Body, Directory, Inode, Table};
use crate::seen::SeenMap;
use crate::version::{ObjectKind, Timestamp, Version};
use crate::workspace::Inner;
use forerun_types::{Digest, Hasher};
use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Pins that one branch takes one by one; after that it surveys whole directories. Stops
/// a tool that walks through everything from filling memory.
pub(crate) const PINS_MAX: usize = 100_000;
/// Directories that one branch surveys; stops a tool that walks without end.
pub(crate) const SURVEYS_MAX: usize = 1_000_000;
/// How far a file's mtime must lie before a read for a change after the read to show in
/// it: twice the coarsest clock that kernels give files their times by.
const RACY_NANOS: i128 = 20_000_000;

pub(crate) const READS_DOMAIN: &str = "forerun reads v2";

/// Somebody changed what a step has seen: executed now, it might see something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} was changed since the step saw it: expected {expected}, found {found}")]
pub struct Stale {
    /// The path, relative to the workspace.
    pub path: String,
    /// What the step saw.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// What a name was said to be: nothing, or an entry of a kind.
pub(crate) type Answer = Option<(ObjectKind, Inode)>;

/// Pieces of a file.
struct Chunks {
    version: Version,
    /// Whether an equal version does not prove equal content.
    racy: bool,
    digests: BTreeMap<u64, Digest>,
}

/// What was told of a node that the origin holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aspect {
    Attributes,
    Content,
    Target,
    Listing,
}

/// The pins of a branch.
#[derive(Default)]
pub(crate) struct Pins {
    count: usize,
    names: BTreeMap<Inode, BTreeMap<Arc<str>, Answer>>,
    attributes: BTreeMap<Inode, Version>,
    chunks: BTreeMap<Inode, Chunks>,
    targets: BTreeMap<Inode, Digest>,
    listings: BTreeMap<Inode, Digest>,
    /// `None` if something in the directory was changed at that moment.
    surveys: BTreeMap<Inode, Option<Digest>>,
    derived: BTreeSet<(Inode, Aspect)>,
    /// The first object of which two different things were told.
    torn: Option<(Inode, Option<Arc<str>>)>,
}

impl Pins {
    /// Whether single pins are used up, so that directories have to be surveyed.
    pub(crate) fn is_full(&self) -> bool {
        self.count >= PINS_MAX
    }

    pub(crate) fn name(&mut self, directory: Inode, name: &str, answer: Answer) {
        let kind = |answer: &Answer| answer.map(|(kind, _)| kind);
        let first = self.names.get(&directory).and_then(|names| names.get(name));
        match first {
            Some(first) if kind(first) == kind(&answer) => {}
            Some(_) => self.tear(directory, Some(name)),
            None if self.is_full() => {}
            None => {
                self.count += 1;
                let names = self.names.entry(directory).or_default();
                names.insert(name.into(), answer);
            }
        }
    }

    pub(crate) fn attributes(&mut self, node: Inode, version: Version) {
        let holds = shows_the_same;
        if !first(&mut self.count, &mut self.attributes, node, version, holds) {
            self.tear(node, None);
        }
    }

    /// Whether all these chunks were read of this version of a file.
    pub(crate) fn has_chunks(&self, file: Inode, wanted: std::ops::Range<u64>) -> Option<Version> {
        let chunks = self.chunks.get(&file)?;
        let count = chunks.digests.range(wanted.clone()).count() as u64;
        (count == wanted.end - wanted.start).then_some(chunks.version)
    }

    pub(crate) fn chunk(&mut self, file: Inode, version: Version, index: u64, bytes: &[u8]) {
        let racy = is_racy(&version);
        let digest = Digest::of(bytes);
        let chunks = self.chunks.entry(file).or_insert_with(|| Chunks {
            version,
            racy,
            digests: BTreeMap::new(),
        });
        chunks.racy |= racy || chunks.version != version;
        let digests = &mut chunks.digests;
        if !first(&mut self.count, digests, index, digest, Digest::eq) {
            self.tear(file, None);
        }
    }

    pub(crate) fn target(&mut self, link: Inode, target: &str) {
        let digest = Digest::of(target);
        if !first(&mut self.count, &mut self.targets, link, digest, Digest::eq) {
            self.tear(link, None);
        }
    }

    pub(crate) fn listing(&mut self, directory: Inode, digest: Digest) {
        let listings = &mut self.listings;
        if !first(&mut self.count, listings, directory, digest, Digest::eq) {
            self.tear(directory, None);
        }
    }

    pub(crate) fn survey(&mut self, directory: Inode, digest: Option<Digest>) {
        self.surveys.entry(directory).or_insert(digest);
    }

    pub(crate) fn is_surveyed(&self, directory: Inode) -> bool {
        self.surveys.contains_key(&directory)
    }

    pub(crate) fn surveys(&self) -> usize {
        self.surveys.len()
    }

    /// Bounded by the origin's nodes.
    pub(crate) fn derive(&mut self, node: Inode, aspect: Aspect) {
        self.derived.insert((node, aspect));
    }

    /// What was told of an object can not all be true at one time.
    pub(crate) fn tear(&mut self, node: Inode, name: Option<&str>) {
        self.torn.get_or_insert((node, name.map(Arc::from)));
    }
}

/// Pins an answer, if there is none yet and room for it; whether it is the same as the one
/// that is pinned, if there is one.
fn first<K: Ord, V>(
    count: &mut usize,
    pinned: &mut BTreeMap<K, V>,
    of: K,
    answer: V,
    is_same: impl FnOnce(&V, &V) -> bool,
) -> bool {
    match pinned.entry(of) {
        Entry::Occupied(first) => return is_same(first.get(), &answer),
        Entry::Vacant(free) if *count < PINS_MAX => {
            free.insert(answer);
            *count += 1;
        }
        Entry::Vacant(_) => {}
    }
    true
}

/// Everything that a branch has seen, with what it takes to ask again.
pub(crate) struct Reads {
    pub(crate) pins: Pins,
    /// First looks at what was changed.
    pub(crate) seen: SeenMap,
    /// The table that the branch started with.
    pub(crate) origin: Table,
    /// Whether the base holds the origin's changes.
    parent_verified: Arc<AtomicBool>,
    workspace: Weak<Inner>,
    digest: OnceLock<Digest>,
}

impl Reads {
    pub(crate) fn new(
        pins: Pins,
        seen: SeenMap,
        origin: Table,
        parent_verified: Arc<AtomicBool>,
        workspace: Weak<Inner>,
    ) -> Reads {
        Reads {
            pins,
            seen,
            origin,
            parent_verified,
            workspace,
            digest: OnceLock::new(),
        }
    }

    /// Compares every answer with the one that the base gives now; all that differ.
    pub(crate) fn changed(&self, inner: &Inner) -> Vec<Stale> {
        let mut check = Check {
            reads: self,
            inner,
            is_whole: self.parent_verified.load(Ordering::Acquire),
            versions: HashMap::new(),
            stale: Vec::new(),
        };
        check.torn();
        check.names();
        check.attributes();
        check.contents();
        check.targets();
        check.listings();
        check.derived();
        check.stale
    }

    /// Whether all the content of a file was shown.
    pub(crate) fn shows_content(&self, file: Inode) -> bool {
        let pins = &self.pins;
        let is_whole = |chunks: &Chunks| {
            chunks.digests.len() as u64 >= chunks.version.size.div_ceil(CHUNK_BYTES).max(1)
        };
        pins.chunks.get(&file).is_some_and(is_whole)
            || pins.derived.contains(&(file, Aspect::Content))
    }

    /// What was seen, in canonical order of the paths as the branch saw them.
    pub(crate) fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| {
            let workspace = self.workspace.upgrade().map(|inner| Workspace { inner });
            let view = workspace
                .as_ref()
                .map(|workspace| View::new(workspace, &self.origin));
            let mut known = HashMap::new();
            self.compute_digest(|node| view.as_ref()?.path_by(&mut known, node))
        })
    }

    fn compute_digest(&self, path: impl FnMut(Inode) -> Option<Rc<str>>) -> Digest {
        let mut lines = Lines {
            path,
            lines: Vec::new(),
        };
        let pins = &self.pins;
        for (dir, names) in &pins.names {
            for (name, answer) in names {
                let kind = answer.map_or(0, |(kind, _)| kind as u8 + 1);
                lines.add(*dir, Some(name), "name", &[&[kind]]);
            }
        }
        for (node, version) in &pins.attributes {
            let size = match version.kind {
                ObjectKind::Directory => 0,
                _ => version.size,
            };
            let Timestamp { secs, nanos } = version.modified;
            let shown = [
                &size.to_be_bytes()[..],
                &version.mode.to_be_bytes(),
                &secs.to_be_bytes(),
                &nanos.to_be_bytes(),
            ];
            lines.add(*node, None, "attributes", &shown);
        }
        for (node, chunks) in &pins.chunks {
            for (index, digest) in &chunks.digests {
                lines.add(*node, None, "chunk", &[&index.to_be_bytes(), &digest.0]);
            }
        }
        for (node, seen) in &self.seen {
            if let Some(digest) = seen.digest {
                lines.add(*node, None, "whole", &[&digest.0]);
            }
        }
        for (node, digest) in &pins.targets {
            lines.add(*node, None, "target", &[&digest.0]);
        }
        for (node, digest) in &pins.listings {
            lines.add(*node, None, "listing", &[&digest.0]);
        }
        for (node, digest) in &pins.surveys {
            let digest = digest.as_ref().map_or(&[][..], |digest| &digest.0);
            lines.add(*node, None, "survey", &[digest]);
        }
        for (node, aspect) in &pins.derived {
            let Some(of_origin) = self.origin.get(node) else {
                continue;
            };
            match (aspect, &of_origin.body) {
                (Aspect::Content, Body::File(content)) => match content.digest() {
                    Ok(digest) => lines.add(*node, None, "holds", &[&digest.0]),
                    Err(_) => lines.add(*node, None, "can not be read any more", &[]),
                },
                (Aspect::Target, Body::Symlink(target)) => {
                    lines.add(*node, None, "target", &[&Digest::of(&**target).0]);
                }
                (Aspect::Attributes, Body::File(content)) => {
                    let mode = of_origin.mode.map_or([0; 5], |mode| {
                        let [a, b, c, d] = mode.to_be_bytes();
                        [1, a, b, c, d]
                    });
                    let shown = [&content.len().to_be_bytes()[..], &mode];
                    lines.add(*node, None, "holds attributes", &shown);
                }
                (Aspect::Listing, Body::Directory(directory)) => {
                    for (name, kind) in self.bound(directory) {
                        let kind = kind.map_or(0, |kind| kind as u8 + 1);
                        lines.add(*node, Some(name), "binds", &[&[kind]]);
                    }
                    lines.add(*node, None, "binds no more", &[]);
                }
                _ => {}
            }
        }
        if let Some((node, name)) = &pins.torn {
            lines.add(*node, name.as_deref(), "torn", &[]);
        }
        lines.digest()
    }

    /// The names that a directory of the origin binds, and what they are.
    fn bound<'a>(
        &'a self,
        directory: &'a Directory,
    ) -> impl Iterator<Item = (&'a str, Option<ObjectKind>)> {
        directory.bindings.iter().map(|(name, binding)| {
            let node = binding.now.and_then(|now| self.origin.get(&now));
            (name.as_ref(), node.map(|node| node.kind().into()))
        })
    }
}

/// What was seen, line by line.
struct Lines<F> {
    path: F,
    /// Path, what of it, and the answer.
    lines: Vec<(Rc<str>, &'static str, Vec<u8>)>,
}

impl<F: FnMut(Inode) -> Option<Rc<str>>> Lines<F> {
    /// An answer of a fixed length, of a node or of a name in it.
    fn add(&mut self, node: Inode, name: Option<&str>, what: &'static str, answer: &[&[u8]]) {
        let path = (self.path)(node).unwrap_or_default();
        let path = match name {
            Some(name) => name::join(&path, name).into(),
            None => path,
        };
        self.lines.push((path, what, answer.concat()));
    }

    fn digest(mut self) -> Digest {
        self.lines.sort_unstable();
        let hasher = self
            .lines
            .iter()
            .fold(Hasher::new(READS_DOMAIN), |hasher, (path, what, answer)| {
                hasher.field(&**path).field(what).field(answer)
            });
        hasher.finish()
    }
}

/// The names of a base directory that the origin does not bind, in order.
pub(crate) fn listing_digest<'a>(
    entries: impl Iterator<Item = (&'a str, ObjectKind)>,
    origin: Option<&Directory>,
) -> Digest {
    entries
        .filter(|(name, _)| origin.is_none_or(|origin| !origin.bindings.contains_key(*name)))
        .fold(Hasher::new("forerun listing v1"), |hasher, (name, kind)| {
            hasher.field(name).field(kind.to_string())
        })
        .finish()
}

/// The versions of what is in a base directory and is not bound by the origin. `None` if
/// one of them was changed so short a time ago that its version does not tell.
pub(crate) fn survey(
    inner: &Inner,
    directory: Inode,
    origin: Option<&Directory>,
) -> Result<Option<Digest>, crate::FsError> {
    let mut hasher = Hasher::new("forerun survey v1");
    let mut is_clear = true;
    for (name, version) in inner.survey(directory)? {
        if origin.is_some_and(|origin| origin.bindings.contains_key(name.as_str())) {
            continue;
        }
        is_clear &= !is_racy(&version);
        let version = match version.kind {
            // Told apart by what is in it, if that was asked for.
            ObjectKind::Directory => format!("{} {:o}", version.kind, version.mode),
            _ => format!("{version:?}"),
        };
        hasher = hasher.field(&name).field(version);
    }
    Ok(is_clear.then(|| hasher.finish()))
}

/// Whether a file that is changed right after this moment may keep this version.
pub(crate) fn is_racy(version: &Version) -> bool {
    let nanos = |time: Timestamp| i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos);
    version.kind != ObjectKind::Directory
        && nanos(version.modified) + RACY_NANOS >= nanos(Timestamp::now())
}

/// Whether a tool is shown the same attributes.
fn shows_the_same(one: &Version, other: &Version) -> bool {
    one.kind == other.kind
        && one.modified == other.modified
        && one.mode == other.mode
        && (one.size == other.size || one.kind == ObjectKind::Directory)
}

fn shown(path: String) -> String {
    match path.is_empty() {
        true => ".".to_owned(),
        false => path,
    }
}

struct Check<'a> {
    reads: &'a Reads,
    inner: &'a Inner,
    /// Whether the base holds what the origin holds.
    is_whole: bool,
    /// Versions that this check has looked at already.
    versions: HashMap<Inode, Version>,
    /// What was found to differ.
    stale: Vec<Stale>,
}

impl<'a> Check<'a> {
    fn torn(&mut self) {
        let Some((node, name)) = &self.reads.pins.torn else {
            return;
        };
        let path = self.path(*node);
        self.stale.push(Stale {
            path: match name {
                Some(name) => name::join(&path, name),
                None => shown(path),
            },
            expected: "one version".into(),
            found: "another one before the step ended".into(),
        });
    }

    fn names(&mut self) {
        for (dir, names) in &self.reads.pins.names {
            let origin = self.origin(*dir);
            for (name, answer) in names {
                let is_derived = origin
                    .is_some_and(|origin| !origin.lower || origin.bindings.contains_key(name));
                if is_derived && !self.is_whole {
                    continue;
                }
                let expected = answer.map(|(kind, _)| kind);
                let found = self.inner.version_at(*dir, name).unwrap_or(None);
                if let (Some((_, node)), Some(version)) = (answer, found)
                    && self.is_at(*node, *dir, name)
                {
                    self.versions.insert(*node, version);
                }
                let found = found.map(|version| version.kind);
                if found != expected {
                    let text = |kind: Option<ObjectKind>| {
                        kind.map_or("nothing".to_owned(), |kind| kind.to_string())
                    };
                    let path = name::join(&self.path(*dir), name);
                    self.stale.push(Stale {
                        path,
                        expected: text(expected),
                        found: text(found),
                    });
                }
            }
        }
    }

    fn attributes(&mut self) {
        for (node, version) in &self.reads.pins.attributes {
            let found = self.version(*node);
            if !found.is_some_and(|found| shows_the_same(version, &found)) {
                self.changed(*node, version, found);
            }
        }
    }

    fn contents(&mut self) {
        for (file, chunks) in &self.reads.pins.chunks {
            let found = self.version(*file);
            if found == Some(chunks.version) && !chunks.racy {
                continue;
            }
            let mut buffer = vec![0; CHUNK_BYTES as usize];
            let is_equal = chunks.digests.iter().all(|(index, digest)| {
                let read = self.inner.read(*file, index * CHUNK_BYTES, &mut buffer);
                read.is_ok_and(|(count, _)| Digest::of(&buffer[..count]) == *digest)
            });
            if !is_equal {
                self.changed(*file, &chunks.version, found);
            }
        }
        let mut seen: Vec<_> = self.reads.seen.iter().collect();
        seen.sort_by_key(|(node, _)| **node);
        for (node, seen) in seen {
            let Some(digest) = seen.digest else { continue };
            let found = self.version(*node);
            let is_equal = match seen.version.kind {
                _ if found == Some(seen.version) && !seen.racy => true,
                ObjectKind::Symlink => self.target(*node) == Some(digest),
                _ => self
                    .inner
                    .digest(*node)
                    .is_ok_and(|(_, found)| found == digest),
            };
            if !is_equal {
                self.changed(*node, &seen.version, found);
            }
        }
    }

    fn targets(&mut self) {
        for (link, digest) in &self.reads.pins.targets {
            if self.target(*link) != Some(*digest) {
                self.other(*link, "the target that was read", "another one");
            }
        }
    }

    fn listings(&mut self) {
        for (dir, digest) in &self.reads.pins.listings {
            let mut entries = self.inner.list(*dir).unwrap_or_default();
            entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            let entries = entries.iter().map(|(name, kind)| (name.as_str(), *kind));
            if listing_digest(entries, self.origin(*dir)) != *digest {
                self.other(*dir, "the entries that were listed", "others");
            }
        }
        for (dir, digest) in &self.reads.pins.surveys {
            let found = survey(self.inner, *dir, self.origin(*dir));
            if digest.is_none() || found.ok() != Some(*digest) {
                let expected = "what was in the directory";
                self.other(*dir, expected, "something newer");
            }
        }
    }

    /// What the origin told, now that the base holds it.
    fn derived(&mut self) {
        let expected = "what the session's own steps left";
        for (node, aspect) in &self.reads.pins.derived {
            let Some(of_origin) = self.reads.origin.get(node).filter(|_| self.is_whole) else {
                continue;
            };
            let holds = match (aspect, &of_origin.body) {
                (Aspect::Content, Body::File(content)) => self
                    .inner
                    .digest(*node)
                    .is_ok_and(|(_, digest)| content.digest().is_ok_and(|known| known == digest)),
                (Aspect::Target, Body::Symlink(target)) => {
                    self.target(*node) == Some(Digest::of(&**target))
                }
                (Aspect::Attributes, Body::File(content)) => {
                    let mode = of_origin.mode.unwrap_or(self.inner.default_modes.0);
                    let times = of_origin.times;
                    self.version(*node).is_some_and(|found| {
                        found.size == content.len()
                            && found.mode == mode
                            && (!times.explicit || found.modified == times.modified)
                    })
                }
                (Aspect::Listing, Body::Directory(directory)) => self.lists(*node, directory),
                _ => true,
            };
            if !holds {
                self.other(*node, expected, "something else");
            }
        }
    }

    /// Whether the base lists what a directory of the origin binds, and nothing more if
    /// that hides the rest.
    fn lists(&self, dir: Inode, directory: &Directory) -> bool {
        let Ok(entries) = self.inner.list(dir) else {
            return false;
        };
        let found: BTreeMap<_, _> = entries
            .iter()
            .map(|(name, kind)| (name.as_str(), *kind))
            .collect();
        let is_known = |name: &&&str| directory.bindings.contains_key(**name);
        self.reads
            .bound(directory)
            .all(|(name, kind)| found.get(name).copied() == kind)
            && (directory.lower || found.keys().all(|name| is_known(&name)))
    }

    fn origin(&self, dir: Inode) -> Option<&'a Directory> {
        self.reads.origin.get(&dir)?.directory()
    }

    fn version(&self, node: Inode) -> Option<Version> {
        let seen = self.versions.get(&node).copied();
        seen.or_else(|| Some(Version::of(&self.inner.stat(node).ok()?)))
    }

    /// Whether a name is the one under which an entry is looked at.
    fn is_at(&self, node: Inode, dir: Inode, name: &str) -> bool {
        let place = self.inner.entries.place(node);
        place.is_some_and(|place| place.directory == dir && *place.name == *name)
    }

    fn target(&self, link: Inode) -> Option<Digest> {
        self.inner.read_link(link).ok().map(Digest::of)
    }

    /// Where an entry is, or was when it was looked up.
    fn path(&self, node: Inode) -> String {
        let mut names = Vec::new();
        let mut at = node;
        let above = loop {
            if let Some(path) = self.inner.entries.path(at) {
                break path;
            }
            let place = self.reads.pins.names.iter().find_map(|(dir, names)| {
                let is_at = |answer: &Answer| answer.is_some_and(|(_, inode)| inode == at);
                let (name, _) = names.iter().find(|(_, answer)| is_at(answer))?;
                Some((*dir, name))
            });
            match place {
                Some((dir, name)) if dir < at => {
                    names.push(name.as_ref());
                    at = dir;
                }
                _ => break String::new(),
            }
        };
        let names = names.iter().rev();
        names.fold(above, |path, name| name::join(&path, name))
    }

    fn changed(&mut self, node: Inode, expected: &Version, found: Option<Version>) {
        let expected = expected.to_string();
        let mut text = found.map_or("nothing".to_owned(), |found| found.to_string());
        if text == expected {
            text += " that was changed since";
        }
        self.other(node, expected, text);
    }

    fn other(&mut self, node: Inode, expected: impl Display, found: impl Display) {
        let path = shown(self.path(node));
        self.stale.push(Stale {
            path,
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }
}
