//! Which paths of a workspace a sandbox may touch: the compiled form of a policy's
//! `touch` part, as plain data, so that it can cross into a sandbox wherever that runs.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// What is done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Touch {
    /// Content, attributes, listing or link target are read.
    Read,
    /// The object is created, changed, or becomes the target of a rename or link.
    Write,
    /// The object is removed, or is the source of a rename or link.
    Delete,
    /// What is sensitive is read. Never asked for, never refused: where it is permitted,
    /// reading marks the session, and policy sees that when it decides what may be sent.
    Sensitive,
}

impl Touch {
    /// All of them.
    pub const ALL: [Touch; 4] = [Touch::Read, Touch::Write, Touch::Delete, Touch::Sensitive];
}

impl fmt::Display for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Touch::Read => "read",
            Touch::Write => "write",
            Touch::Delete => "delete",
            Touch::Sensitive => "read as sensitive",
        })
    }
}

/// Rules with default deny: a touch is allowed if a permit matches and no forbid does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRules {
    /// All rules; their order does not matter.
    pub rules: Vec<PathRule>,
    /// If there, what these refuse is only noted, and this is what is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforced: Option<Box<PathRules>>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRule {
    /// The policy that it comes from, for explanations.
    pub policy: String,
    /// Whether it permits or forbids.
    pub effect: RuleEffect,
    /// What it is about.
    pub touches: Vec<Touch>,
    /// Where it applies.
    pub pattern: PathPattern,
}

/// Whether a rule permits or forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    /// Allows, unless something forbids.
    Permit,
    /// Refuses, whatever permits.
    Forbid,
}

/// Where a rule applies. Compared with the *folded* path: Unicode NFC, then case fold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathPattern {
    /// Everywhere.
    Any,
    /// This path alone (folded, absolute as a guest sees it).
    Path(String),
    /// This path, such as `/workspace/.git/hooks`, and everything below it.
    Subtree(String),
    /// Every path with this folded last component.
    Name(String),
    /// Every path whose folded last component ends with this extension (no dot).
    Extension(String),
    /// Both.
    All(Vec<PathPattern>),
    /// One of them.
    AnyOf(Vec<PathPattern>),
    /// Not that.
    Not(Box<PathPattern>),
}

/// A touch that the rules refuse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("policy does not allow to {touch} {path}")]
pub struct TouchDenied {
    /// What was tried.
    pub touch: Touch,
    /// The path, as the guest sees it.
    pub path: String,
    /// The forbidding policy; empty when nothing permits.
    pub policy: String,
}

impl From<Vec<PathRule>> for PathRules {
    /// Rules that are enforced.
    fn from(rules: Vec<PathRule>) -> PathRules {
        PathRules {
            rules,
            enforced: None,
        }
    }
}

impl PathRules {
    /// Decides one touch. `path` is resolved (no links, no `..`), absolute as the guest
    /// sees it; `folded` is the same path, folded as [`fold`] does.
    ///
    /// A write or delete also touches every path below it that a forbid names: moving
    /// or removing a directory must not get around what protects a part of it.
    ///
    /// # Errors
    /// If a forbid matches or no permit does; names the policy.
    pub fn decide(&self, touch: Touch, path: &str, folded: &str) -> Result<(), TouchDenied> {
        let matching = |effect, at: &str| {
            self.rules
                .iter()
                .find(|rule| rule.concerns(effect, touch) && rule.pattern.matches(at, name(at)))
        };
        let denied = |policy: &str| {
            Err(TouchDenied {
                touch,
                path: path.to_owned(),
                policy: policy.to_owned(),
            })
        };
        let mut forbid = matching(RuleEffect::Forbid, folded);
        self.named_below(touch, folded, &mut |named| {
            forbid = forbid.or_else(|| matching(RuleEffect::Forbid, named));
        });
        match forbid {
            Some(forbid) => denied(&forbid.policy),
            None if matching(RuleEffect::Permit, folded).is_some() => Ok(()),
            None => denied(""),
        }
    }

    /// Whether there is anything that it is sensitive to read.
    pub fn know_sensitive(&self) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.concerns(RuleEffect::Permit, Touch::Sensitive))
    }

    /// Visits the paths below `folded` that a touch of it touches too: those that the
    /// forbids of this touch name. None for a read.
    pub fn named_below<'a>(&'a self, touch: Touch, folded: &str, visit: &mut dyn FnMut(&'a str)) {
        if matches!(touch, Touch::Read | Touch::Sensitive) {
            return;
        }
        for rule in &self.rules {
            if rule.concerns(RuleEffect::Forbid, touch) {
                rule.pattern.visit_paths(&mut |named| {
                    if named.len() > folded.len() && is_below(named, folded) {
                        visit(named);
                    }
                });
            }
        }
    }
}

/// What rules say of the names in one directory: most names are decided alike, and it is
/// known which are not.
#[derive(Clone, Debug)]
pub struct DirectoryRules {
    /// Folded names that a rule singles out, in this directory or everywhere.
    names: HashSet<String>,
    /// Folded extensions that a rule singles out.
    extensions: HashSet<String>,
    /// Whether all other names may be touched, by the order of [`Touch`].
    others: [bool; Touch::ALL.len()],
}

impl PathRules {
    /// What is decided for names in a directory, whose path is `folded`.
    pub fn in_directory(&self, folded: &str) -> DirectoryRules {
        let mut singled = DirectoryRules {
            names: HashSet::new(),
            extensions: HashSet::new(),
            others: [false; Touch::ALL.len()],
        };
        for rule in &self.rules {
            rule.pattern.single_out(folded, &mut singled);
        }
        singled.others = Touch::ALL.map(|touch| {
            let some = |effect| {
                let mut rules = self.rules.iter();
                rules.any(|rule| rule.concerns(effect, touch) && rule.pattern.matches_in(folded))
            };
            some(RuleEffect::Permit) && !some(RuleEffect::Forbid)
        });
        singled
    }
}

impl DirectoryRules {
    /// Whether a name, folded, may be touched as nearly all of its directory may. If not,
    /// [`PathRules::decide`] has the say.
    pub fn allow(&self, touch: Touch, folded_name: &str) -> bool {
        self.known(touch, folded_name) == Some(true)
    }

    /// What is decided for a name, folded, if that is what is decided for nearly all of its
    /// directory. If it is not known, [`PathRules::decide`] has the say.
    pub fn known(&self, touch: Touch, folded_name: &str) -> Option<bool> {
        let singled_out = self.names.contains(folded_name)
            || !self.extensions.is_empty() && self.extensions.contains(extension(folded_name));
        (!singled_out).then(|| self.others[touch as usize])
    }
}

impl PathRule {
    fn concerns(&self, effect: RuleEffect, touch: Touch) -> bool {
        self.effect == effect && self.touches.contains(&touch)
    }
}

impl PathPattern {
    /// `name` is the last component of `folded`.
    fn matches(&self, folded: &str, name: &str) -> bool {
        match self {
            PathPattern::Any => true,
            PathPattern::Path(path) => folded == path,
            PathPattern::Subtree(root) => is_below(folded, root),
            PathPattern::Name(wanted) => name == wanted,
            PathPattern::Extension(wanted) => extension(name) == wanted,
            PathPattern::All(patterns) => patterns.iter().all(|p| p.matches(folded, name)),
            PathPattern::AnyOf(patterns) => patterns.iter().any(|p| p.matches(folded, name)),
            PathPattern::Not(pattern) => !pattern.matches(folded, name),
        }
    }

    /// Whether it matches the names in a directory that it does not single out.
    fn matches_in(&self, directory: &str) -> bool {
        match self {
            PathPattern::Any => true,
            PathPattern::Subtree(root) => is_below(directory, root),
            PathPattern::Path(_) | PathPattern::Name(_) | PathPattern::Extension(_) => false,
            PathPattern::All(patterns) => patterns.iter().all(|p| p.matches_in(directory)),
            PathPattern::AnyOf(patterns) => patterns.iter().any(|p| p.matches_in(directory)),
            PathPattern::Not(pattern) => !pattern.matches_in(directory),
        }
    }

    /// Notes the names in a directory that it does not treat as the others there: also
    /// those that lead to a path that it names, which a touch from above may touch.
    fn single_out(&self, directory: &str, singled: &mut DirectoryRules) {
        match self {
            PathPattern::Any => {}
            PathPattern::Path(path) | PathPattern::Subtree(path) => {
                let rest = path.strip_prefix(directory).unwrap_or_default();
                let next = rest
                    .strip_prefix('/')
                    .and_then(|rest| rest.split('/').next());
                singled.names.extend(next.map(str::to_owned));
            }
            PathPattern::Name(name) => drop(singled.names.insert(name.clone())),
            PathPattern::Extension(extension) => {
                singled.extensions.insert(extension.clone());
            }
            PathPattern::All(patterns) | PathPattern::AnyOf(patterns) => {
                patterns
                    .iter()
                    .for_each(|p| p.single_out(directory, singled));
            }
            PathPattern::Not(pattern) => pattern.single_out(directory, singled),
        }
    }

    fn visit_paths<'a>(&'a self, visit: &mut dyn FnMut(&'a str)) {
        match self {
            PathPattern::Path(path) | PathPattern::Subtree(path) => visit(path),
            PathPattern::All(patterns) | PathPattern::AnyOf(patterns) => {
                patterns.iter().for_each(|p| p.visit_paths(visit));
            }
            PathPattern::Not(pattern) => pattern.visit_paths(visit),
            PathPattern::Any | PathPattern::Name(_) | PathPattern::Extension(_) => {}
        }
    }
}

/// The last component of a path.
fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What follows the last dot of a name; empty for a name without one, or with one at
/// its start only.
pub fn extension(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => extension,
        _ => "",
    }
}

/// Whether `path` is `root` or below it, by whole components.
fn is_below(path: &str, root: &str) -> bool {
    let root = root.strip_suffix('/').unwrap_or(root);
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Folds a path for comparison: Unicode NFC, then without case, then without the
/// invisible characters that some file systems ignore, so that a name that one of them
/// would take for a protected one is treated like it. Folding twice changes nothing.
/// A path folds as its names do.
pub fn fold(path: &str) -> Cow<'_, str> {
    use unicode_normalization::UnicodeNormalization;
    if path.is_ascii() {
        return match path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => path.to_ascii_lowercase().into(),
            false => path.into(),
        };
    }
    // By way of upper case, or letters such as U+017F (long s) would keep apart.
    let visible: String = path.chars().filter(|c| !is_ignorable(*c)).nfc().collect();
    let folded = visible.to_lowercase().to_uppercase().to_lowercase();
    folded.nfc().collect::<String>().into()
}

/// Characters without a shape of their own (the common part of Unicode's
/// `Default_Ignorable_Code_Point`).
fn is_ignorable(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules() -> PathRules {
        let rule = |effect, touches: &[Touch], pattern| PathRule {
            policy: format!("{effect:?}"),
            effect,
            touches: touches.to_vec(),
            pattern,
        };
        PathRules::from(vec![
            rule(
                RuleEffect::Permit,
                &[Touch::Read, Touch::Write, Touch::Delete],
                PathPattern::Any,
            ),
            rule(
                RuleEffect::Forbid,
                &[Touch::Write, Touch::Delete],
                PathPattern::Subtree("/workspace/.git/hooks".into()),
            ),
        ])
    }

    fn allows(touch: Touch, path: &str) -> bool {
        rules().decide(touch, path, &fold(path)).is_ok()
    }

    #[test]
    fn a_protected_subtree_is_protected_from_above_and_in_any_case() {
        assert!(allows(Touch::Read, "/workspace/.git/hooks/pre-commit"));
        assert!(!allows(Touch::Write, "/workspace/.git/hooks/pre-commit"));
        assert!(!allows(Touch::Write, "/workspace/.GIT/Hooks/x"));
        assert!(!allows(Touch::Delete, "/workspace/.git"));
        assert!(allows(Touch::Write, "/workspace/.git/hooks-of-mine"));
        assert!(allows(Touch::Write, "/workspace/.git/index"));
    }

    #[test]
    fn names_that_some_file_system_takes_for_another_fold_alike() {
        for name in [
            ".git/hoo\u{212a}s",
            ".git/hook\u{17f}",
            ".g\u{200d}it/HOOKS",
            ".git/hooks\u{fe0f}",
        ] {
            assert_eq!(fold(name), ".git/hooks", "{name:?}");
        }
        assert_eq!(fold("e\u{301}"), fold("\u{c9}"));
        assert_ne!(fold("caf\u{e9}"), fold("cafe"));
    }

    #[test]
    fn an_exception_from_a_forbid_holds_below_and_not_above() {
        let inside = |root: &str| PathPattern::Subtree(root.into());
        let forbid = PathPattern::All(vec![
            inside("/workspace/vendor"),
            PathPattern::Not(Box::new(inside("/workspace/vendor/ours"))),
        ]);
        let mut rules = rules();
        rules.rules[1].pattern = forbid;
        let allows = |path: &str| rules.decide(Touch::Delete, path, path).is_ok();
        assert!(allows("/workspace/vendor/ours/a"));
        assert!(!allows("/workspace/vendor/theirs/a"));
        assert!(!allows("/workspace/vendor"));
        assert!(!allows("/workspace"));
        assert!(allows("/workspace/vendored"));
    }

    fn any_pattern() -> impl Strategy<Value = PathPattern> {
        let path = "/w(/[ab]){0,3}/?";
        let leaf = prop_oneof![
            Just(PathPattern::Any),
            path.prop_map(PathPattern::Path),
            path.prop_map(PathPattern::Subtree),
            "[ab](\\.[xy])?".prop_map(PathPattern::Name),
            "[xy]?".prop_map(PathPattern::Extension),
        ];
        leaf.prop_recursive(2, 6, 2, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(PathPattern::All),
                prop::collection::vec(inner.clone(), 0..3).prop_map(PathPattern::AnyOf),
                inner.prop_map(|pattern| PathPattern::Not(Box::new(pattern))),
            ]
        })
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(path in "\\PC{0,12}") {
            let once = fold(&path);
            prop_assert_eq!(fold(&once), &*once);
        }

        #[test]
        fn a_path_folds_as_its_names_do(path in "/[^/]{0,6}/[^/]{0,6}") {
            let (directory, name) = path.rsplit_once('/').expect("has a slash");
            prop_assert_eq!(fold(&path), format!("{}/{}", fold(directory), fold(name)));
        }

        #[test]
        fn what_is_allowed_in_a_directory_is_what_the_rules_allow(
            patterns in prop::collection::vec((any::<bool>(), any_pattern()), 0..5),
            directory in "/w(/[ab]){0,2}",
            name in "[abc](\\.[xyz])?",
            touch in prop::sample::select(Touch::ALL.to_vec()),
        ) {
            let rule = |(permits, pattern)| PathRule {
                policy: String::new(),
                effect: if permits { RuleEffect::Permit } else { RuleEffect::Forbid },
                touches: vec![touch],
                pattern,
            };
            let rules = PathRules::from(patterns.into_iter().map(rule).collect::<Vec<_>>());
            let path = format!("{directory}/{name}");
            let allowed = rules.decide(touch, &path, &path).is_ok();
            let inside = rules.in_directory(&directory);
            if inside.allow(touch, &name) {
                prop_assert!(allowed);
            } else if allowed {
                let singled = inside.names.contains(&name)
                    || inside.extensions.contains(extension(&name));
                prop_assert!(singled, "allowed, and not known to be");
            }
        }
    }

    #[test]
    fn nothing_is_allowed_by_no_rule() {
        let denied = PathRules::default().decide(Touch::Read, "/workspace/a", "/workspace/a");
        assert_eq!(denied.map_err(|denied| denied.policy), Err(String::new()));
    }
}
