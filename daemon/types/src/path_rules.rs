//! Which paths of a workspace a sandbox may touch: the compiled form of a policy's
//! `touch` part, as plain data, so that it can cross into a sandbox wherever that runs.

use serde::{Deserialize, Serialize};
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
}

impl fmt::Display for Touch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Touch::Read => "read",
            Touch::Write => "write",
            Touch::Delete => "delete",
        })
    }
}

/// Rules with default deny: a touch is allowed if a permit matches and no forbid does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRules {
    /// All rules; their order does not matter.
    pub rules: Vec<PathRule>,
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
    /// This path (folded, absolute as a guest sees it, such as `/workspace/.git/hooks`)
    /// and everything below it. A write or delete of one of its ancestors counts as
    /// touching it.
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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy does not allow to {touch} {path}")]
pub struct TouchDenied {
    /// What was tried.
    pub touch: Touch,
    /// The path, as the guest sees it.
    pub path: String,
    /// The forbidding policy; empty when nothing permits.
    pub policy: String,
}

impl PathRules {
    /// Decides one touch. `path` is resolved (no links, no `..`), absolute as the guest
    /// sees it; `folded` is the same path, folded as [`fold`] does.
    ///
    /// # Errors
    /// If a forbid matches or no permit does; names the policy.
    pub fn decide(&self, touch: Touch, path: &str, folded: &str) -> Result<(), TouchDenied> {
        let matching = |effect| {
            self.rules.iter().find(move |rule| {
                rule.effect == effect
                    && rule.touches.contains(&touch)
                    && rule
                        .pattern
                        .matches(folded, effect == RuleEffect::Forbid && touch != Touch::Read)
            })
        };
        let denied = |policy: &str| {
            Err(TouchDenied {
                touch,
                path: path.to_owned(),
                policy: policy.to_owned(),
            })
        };
        if let Some(forbid) = matching(RuleEffect::Forbid) {
            return denied(&forbid.policy);
        }
        if matching(RuleEffect::Permit).is_some() {
            Ok(())
        } else {
            denied("")
        }
    }
}

impl PathPattern {
    /// `or_above`: a path above a subtree counts as the subtree (for forbidden writes).
    fn matches(&self, folded: &str, or_above: bool) -> bool {
        let name = folded.rsplit('/').next().unwrap_or(folded);
        match self {
            PathPattern::Any => true,
            PathPattern::Subtree(root) => {
                is_below(folded, root) || (or_above && is_below(root, folded))
            }
            PathPattern::Name(wanted) => name == wanted,
            PathPattern::Extension(wanted) => name
                .rsplit_once('.')
                .is_some_and(|(stem, ext)| !stem.is_empty() && ext == wanted),
            PathPattern::All(patterns) => patterns.iter().all(|p| p.matches(folded, or_above)),
            PathPattern::AnyOf(patterns) => patterns.iter().any(|p| p.matches(folded, or_above)),
            PathPattern::Not(pattern) => !pattern.matches(folded, false),
        }
    }
}

/// Whether `path` is `root` or below it, by whole components.
fn is_below(path: &str, root: &str) -> bool {
    let root = root.strip_suffix('/').unwrap_or(root);
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Folds a path for comparison: Unicode NFC, then simple lower case, so that a name
/// that some file system would take for a protected one is treated like it.
pub fn fold(path: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    let composed: String = path.nfc().collect();
    composed.to_lowercase().nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> PathRules {
        let rule = |effect, touches: &[Touch], pattern| PathRule {
            policy: format!("{effect:?}"),
            effect,
            touches: touches.to_vec(),
            pattern,
        };
        PathRules {
            rules: vec![
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
            ],
        }
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
    fn nothing_is_allowed_by_no_rule() {
        let denied = PathRules::default().decide(Touch::Read, "/workspace/a", "/workspace/a");
        assert_eq!(denied.map_err(|denied| denied.policy), Err(String::new()));
    }
}
