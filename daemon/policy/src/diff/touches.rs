//! Touches of two sets, compared on every kind of path there is.
//!
//! Path rules tell paths apart by the directories and paths that they name, by names and by
//! extensions. So a path is decided like one of these:
//!
//! - a *landmark*: a path that some rule names, or one above it;
//! - a name below the deepest landmark above it, in a directory that no rule names: one of the
//!   names that are compared, or another, with one of the extensions that are compared, or
//!   another.
//!
//! These are finitely many. **Invariant:** if none of them shows a difference, there is none;
//! if they are more than [`PLACES_MAX`], nothing is said to be impossible.

use super::{Directions, Sought, Witness};
use crate::PolicySet;
use crate::paths::{WORKSPACE, ancestors};
use forerun_types::{PathPattern, PathRule, PathRules, RuleEffect, Source, Touch};
use serde_json::json;
use std::collections::BTreeSet;

/// Most paths that are tried for one kind of touch: stops large sets from taking minutes.
const PLACES_MAX: usize = 2_000_000;

/// Compares what the sets say of touches.
pub(super) fn compare(before: &PolicySet, after: &PolicySet, sought: &mut Sought) {
    let mut done: Vec<(Touch, PathRules, PathRules)> = Vec::new();
    for principal in [Source::Target, Source::Approximation, Source::User] {
        for speculative in [false, true] {
            let rules = |set: &PolicySet| set.path_rules(principal, speculative);
            let (old, new) = (rules(before), rules(after));
            // What is sensitive changes no request, but what sessions may send later.
            let sensitive = [&old, &new].map(|rules| of_touch(rules, Touch::Sensitive));
            let [gone, added] =
                [[0, 1], [1, 0]].map(|[a, b]| only_in(&sensitive[a], &sensitive[b]));
            if !gone.is_empty() || !added.is_empty() {
                sought.leave_open(Directions {
                    wider: true,
                    narrower: true,
                });
            }
            for touch in [Touch::Read, Touch::Write, Touch::Delete] {
                let pair = (touch, of_touch(&old, touch), of_touch(&new, touch));
                // Most askers have the same rules.
                if done.contains(&pair) {
                    continue;
                }
                let asked = (principal, speculative, touch);
                compare_rules((before, after), asked, (&pair.1, &pair.2), sought);
                done.push(pair);
            }
        }
    }
}

fn compare_rules(
    sets: (&PolicySet, &PolicySet),
    (principal, speculative, touch): (Source, bool, Touch),
    (old, new): (&PathRules, &PathRules),
    sought: &mut Sought,
) {
    let (gone, added) = (only_in(old, new), only_in(new, old));
    let some = |rules: &[PathRule], effect| rules.iter().any(|rule| rule.effect == effect);
    let possible = Directions {
        wider: some(&gone, RuleEffect::Forbid) || some(&added, RuleEffect::Permit),
        narrower: some(&gone, RuleEffect::Permit) || some(&added, RuleEffect::Forbid),
    };
    if sought.wants(possible).none() {
        return;
    }
    // All as permits: together they allow the paths that they are about.
    let differing = gone.into_iter().chain(added).map(|rule| PathRule {
        effect: RuleEffect::Permit,
        ..rule
    });
    let differing = PathRules::from(differing.collect::<Vec<_>>());
    let allows = |rules: &PathRules, path: &str| rules.decide(touch, path, path).is_ok();
    let decide =
        |set: &PolicySet, path: &str| set.decide_touch(principal, speculative, touch, path);
    let places = Places::of([old, new]);
    let tried = places.landmarks.iter().map(|path| (path.clone(), true));
    let tried = tried.chain(places.elsewhere().map(|path| (path, false)));
    for (index, (path, is_landmark)) in tried.enumerate() {
        let wanted = sought.wants(possible);
        if wanted.none() {
            return;
        }
        if index >= PLACES_MAX {
            sought.leave_open(wanted);
            return;
        }
        // Landmarks are decided by what is below them, too; other places, by themselves.
        if !is_landmark && !allows(&differing, &path) {
            continue;
        }
        let (was, is) = (allows(old, &path), allows(new, &path));
        if (is && !was && wanted.wider) || (was && !is && wanted.narrower) {
            sought.offer(Witness {
                principal,
                action: touch.to_string(),
                context: json!({ "speculative": speculative }),
                before: decide(sets.0, &path),
                after: decide(sets.1, &path),
                resource: path,
            });
        }
    }
}

/// The rules that are about a touch.
fn of_touch(rules: &PathRules, touch: Touch) -> PathRules {
    let rules = rules.rules.iter();
    let of_touch = rules.filter(|rule| rule.touches.contains(&touch)).cloned();
    PathRules::from(of_touch.collect::<Vec<_>>())
}

/// The rules of one set that the other does not have, under whatever name.
fn only_in(one: &PathRules, other: &PathRules) -> Vec<PathRule> {
    let same = |a: &PathRule, b: &PathRule| a.effect == b.effect && a.pattern == b.pattern;
    let only = one.rules.iter();
    let only = only.filter(|rule| !other.rules.iter().any(|known| same(known, rule)));
    only.cloned().collect()
}

/// The kinds of paths that rules tell apart.
struct Places {
    /// Those of the workspace first.
    landmarks: Vec<String>,
    /// A last component of each kind.
    names: Vec<String>,
    /// A name that is in no rule.
    other: String,
}

impl Places {
    fn of(sets: [&PathRules; 2]) -> Places {
        let mut mentioned = Mentioned::default();
        mentioned.add_path(WORKSPACE);
        for rule in sets.into_iter().flat_map(|rules| &rules.rules) {
            mentioned.add(&rule.pattern);
        }
        let Mentioned {
            paths,
            names,
            extensions,
        } = mentioned;
        let mut other = "other".to_owned();
        let all = paths.iter().chain(&names).chain(&extensions);
        while all.clone().any(|known| known.contains(&other)) {
            other.push('x');
        }
        let others = [other.clone(), format!("{other}.{other}")];
        let extended = extensions
            .iter()
            .map(|extension| format!("{other}.{extension}"));
        let names = others.into_iter().chain(extended).chain(names);
        let (inside, outside): (Vec<_>, Vec<_>) = paths
            .into_iter()
            .partition(|path| path.starts_with(WORKSPACE));
        Places {
            names: names.collect(),
            landmarks: inside.into_iter().chain(outside).collect(),
            other,
        }
    }

    /// Paths of every kind but the landmarks; first those that look usual.
    fn elsewhere(&self) -> impl Iterator<Item = String> {
        let between = [String::new(), format!("/{}", self.other)];
        between.into_iter().flat_map(move |between| {
            let directories = self.landmarks.iter().map(|path| path.trim_end_matches('/'));
            directories.flat_map(move |directory| {
                let between = between.clone();
                let names = self.names.iter();
                names.map(move |name| format!("{directory}{between}/{name}"))
            })
        })
    }
}

/// What rules tell paths apart by.
#[derive(Default)]
struct Mentioned {
    /// With all that are above them.
    paths: BTreeSet<String>,
    names: BTreeSet<String>,
    extensions: BTreeSet<String>,
}

impl Mentioned {
    fn add(&mut self, pattern: &PathPattern) {
        match pattern {
            PathPattern::Any => {}
            PathPattern::Path(path) | PathPattern::Subtree(path) => self.add_path(path),
            PathPattern::Name(name) => drop(self.names.insert(name.clone())),
            PathPattern::Extension(extension) => drop(self.extensions.insert(extension.clone())),
            PathPattern::All(patterns) | PathPattern::AnyOf(patterns) => {
                patterns.iter().for_each(|pattern| self.add(pattern));
            }
            PathPattern::Not(pattern) => self.add(pattern),
        }
    }

    fn add_path(&mut self, path: &str) {
        self.paths.insert(path.to_owned());
        self.paths.extend(ancestors(path).map(str::to_owned));
    }
}
