//! When a verdict means a candidate: the setting, and the part of it that compares texts.
//!
//! `exact` compares canonical actions. The others are lossy: they take some actions that are
//! not equal for the same step. What then stands in the trajectory is the action that was
//! executed. The planner applies the matcher; strings are compared here, at the edge, since
//! it knows none.
//!
//! **Invariant:** an action is never near one of another tool, whatever the threshold.
//! **Invariant:** comparing two actions takes a bounded time, whatever their arguments are.

use crate::{Action, ActionKey, ActionKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// Longest text, in bytes, that is compared by its edits. Longer ones have to be equal.
const FUZZY_BYTES_MAX: usize = 4 << 10;
/// Most cells of the tables of edits of two actions together; stops an action with very many
/// long arguments from holding up a session. Two texts of the longest kind take so many.
const FUZZY_CELLS_MAX: usize = 2 * FUZZY_BYTES_MAX * FUZZY_BYTES_MAX;
/// The threshold of `fuzzy` without one, in thousandths.
const FUZZY_DEFAULT: u16 = 300;
/// The threshold at which all texts are near, in thousandths.
const FUZZY_MAX: u16 = 1000;

/// How a verdict is compared with the candidates of its step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Matcher {
    /// The same tool and equal arguments as canonical JSON.
    #[default]
    Exact,
    /// Also the same tool and each text argument within this normalised Levenshtein distance
    /// (edits / longer length), if other values are equal. Of tools that change nothing only,
    /// unless policy says otherwise.
    Fuzzy {
        /// The distance that is too far, in thousandths: 1 to 1000.
        per_mille: u16,
    },
    /// Also the same tool, an equal observation and equal changes, when both are executed on
    /// the same snapshot.
    Effect,
    /// Also what an agent says that was attached to judge.
    Judge {
        /// Of how many steps it judges at once: 1 to [`Matcher::STEPS_MAX`]. Above 1 the
        /// judgement is postponed until so many steps wait for it, or no more can.
        steps: u32,
    },
}

/// A text that names no matcher.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no matcher: exact, fuzzy(0.3) with a threshold above 0 and up to 1, effect, judge, \
     or postponed(4) with 2 to {max} steps are",
    max = Matcher::STEPS_MAX
)]
pub struct MatcherParseError(String);

impl Matcher {
    /// Most steps that are judged at once; stops a call from growing without end.
    pub const STEPS_MAX: u32 = 32;

    /// Which of the candidates are near the verdict without being equal to it; only `fuzzy`
    /// has such. `permitted` says of a tool whether its calls may be taken for one another:
    /// it changes nothing, or policy says so.
    pub fn near<'a>(
        self,
        verdict: &Action,
        candidates: impl IntoIterator<Item = &'a Action>,
        permitted: impl Fn(&str) -> bool,
    ) -> Vec<ActionKey> {
        let Matcher::Fuzzy { per_mille } = self else {
            return Vec::new();
        };
        if verdict.kind() != ActionKind::Tool || !permitted(&verdict.tool) {
            return Vec::new();
        }
        let candidates = candidates.into_iter();
        candidates
            .filter(|candidate| *candidate != verdict && is_near(candidate, verdict, per_mille))
            .map(Action::key)
            .collect()
    }
}

/// Symmetric in the two actions.
fn is_near(a: &Action, b: &Action, per_mille: u16) -> bool {
    if a.tool != b.tool {
        return false;
    }
    let (a, b) = (a.arguments.to_value(), b.arguments.to_value());
    let (Value::Object(a), Value::Object(b)) = (&a, &b) else {
        return a == b;
    };
    let mut cells = FUZZY_CELLS_MAX;
    a.len() == b.len()
        && a.iter().all(|(name, a)| match (a, b.get(name)) {
            (Value::String(a), Some(Value::String(b))) => is_near_text(a, b, per_mille, &mut cells),
            (a, b) => Some(a) == b,
        })
}

/// Whether the normalised distance is below the threshold. Takes what it costs from `cells`;
/// what can not be paid is not near.
fn is_near_text(a: &str, b: &str, per_mille: u16, cells: &mut usize) -> bool {
    if a == b {
        return true;
    }
    if a.len().max(b.len()) > FUZZY_BYTES_MAX {
        return false;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let longer = a.len().max(b.len());
    // The most edits that are still below the threshold.
    let Some(below) = (longer * usize::from(per_mille)).checked_sub(1) else {
        return false;
    };
    let edits_max = below / usize::from(FUZZY_MAX);
    let cost = a.len() * b.len().min(2 * edits_max + 1);
    let Some(rest) = cells.checked_sub(cost) else {
        return false;
    };
    *cells = rest;
    edits_within(&a, &b, edits_max)
}

/// Whether `a` becomes `b` by at most `max` insertions, deletions and replacements.
/// Looks only at the band of the table that so few edits can reach (Ukkonen 1985).
fn edits_within(a: &[char], b: &[char], max: usize) -> bool {
    const FAR: usize = usize::MAX / 2;
    if a.len().abs_diff(b.len()) > max {
        return false;
    }
    // Edits between what was read of `a` and each beginning of `b`.
    let mut row: Vec<usize> = (0..=b.len())
        .map(|at| if at > max { FAR } else { at })
        .collect();
    for (read, from) in (1usize..).zip(a) {
        let low = read.saturating_sub(max).max(1);
        let high = (read + max).min(b.len());
        let mut diagonal = row[low - 1];
        row[low - 1] = if low == 1 && read <= max { read } else { FAR };
        let mut least = row[low - 1];
        for at in low..=high {
            let above = row[at];
            let replaced = diagonal + usize::from(*from != b[at - 1]);
            row[at] = replaced.min(above + 1).min(row[at - 1] + 1);
            least = least.min(row[at]);
            diagonal = above;
        }
        if least > max {
            return false;
        }
        if high < b.len() {
            row[high + 1] = FAR;
        }
    }
    row[b.len()] <= max
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Matcher::Exact => f.write_str("exact"),
            Matcher::Fuzzy { per_mille } => {
                write!(f, "fuzzy({})", f64::from(*per_mille) / f64::from(FUZZY_MAX))
            }
            Matcher::Effect => f.write_str("effect"),
            Matcher::Judge { steps: 0 | 1 } => f.write_str("judge"),
            Matcher::Judge { steps } => write!(f, "postponed({steps})"),
        }
    }
}

impl FromStr for Matcher {
    type Err = MatcherParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let problem = || MatcherParseError(text.chars().take(40).collect());
        let inside = |name: &str| {
            let rest = text.strip_prefix(name)?.strip_prefix('(')?;
            rest.strip_suffix(')')
        };
        match text {
            "exact" => return Ok(Matcher::Exact),
            "effect" => return Ok(Matcher::Effect),
            "judge" => return Ok(Matcher::Judge { steps: 1 }),
            "fuzzy" => {
                let per_mille = FUZZY_DEFAULT;
                return Ok(Matcher::Fuzzy { per_mille });
            }
            _ => {}
        }
        if let Some(threshold) = inside("fuzzy") {
            let threshold: f64 = threshold.parse().map_err(|_| problem())?;
            let thousandths = (threshold * f64::from(FUZZY_MAX)).round();
            // A number that is none is not in the range, either.
            if !(1.0..=f64::from(FUZZY_MAX)).contains(&thousandths) || threshold > 1.0 {
                return Err(problem());
            }
            let per_mille = thousandths as u16;
            return Ok(Matcher::Fuzzy { per_mille });
        }
        let steps = inside("postponed").and_then(|steps| steps.parse().ok());
        match steps {
            Some(steps @ 2..=Matcher::STEPS_MAX) => Ok(Matcher::Judge { steps }),
            _ => Err(problem()),
        }
    }
}

impl TryFrom<String> for Matcher {
    type Error = MatcherParseError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Matcher> for String {
    fn from(matcher: Matcher) -> String {
        matcher.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(tool: &str, arguments: &str) -> Action {
        Action::parse(tool, arguments).expect("valid")
    }

    fn grep(pattern: &str) -> Action {
        let arguments = serde_json::json!({ "pattern": pattern, "limit": 5 });
        of("grep", &arguments.to_string())
    }

    fn near(per_mille: u16, a: &Action, b: &Action) -> bool {
        let near = |a, b| {
            !Matcher::Fuzzy { per_mille }
                .near(a, [b], |_| true)
                .is_empty()
        };
        assert_eq!(near(a, b), near(b, a), "{a} {b}");
        near(a, b)
    }

    /// The whole table, as the textbook has it.
    fn edits(a: &[char], b: &[char]) -> usize {
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (read, from) in a.iter().enumerate() {
            let mut next = vec![read + 1];
            for at in 1..=b.len() {
                let replaced = row[at - 1] + usize::from(*from != b[at - 1]);
                next.push(replaced.min(row[at] + 1).min(next[at - 1] + 1));
            }
            row = next;
        }
        row[b.len()]
    }

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_band_says_what_the_whole_table_says(
            a in "[abc]{0,12}", b in "[abc]{0,12}", max in 0..14usize,
        ) {
            let (a, b) = (chars(&a), chars(&b));
            prop_assert_eq!(edits_within(&a, &b, max), edits(&a, &b) <= max);
        }

        #[test]
        fn a_distance_below_the_threshold_is_near(
            a in "[abcä]{0,12}", b in "[abcä]{0,12}", per_mille in 1..=1000u16,
        ) {
            let edits = edits(&chars(&a), &chars(&b));
            let longer = chars(&a).len().max(chars(&b).len());
            let below = edits > 0 && edits * 1000 < longer * usize::from(per_mille);
            prop_assert_eq!(near(per_mille, &grep(&a), &grep(&b)), below);
        }
    }

    #[test]
    fn only_permitted_tools_are_compared_by_their_edits_and_only_by_fuzzy() {
        let (a, b) = (grep("AGENT_QUEUE"), grep("AGENT_QUEUES"));
        let fuzzy = Matcher::Fuzzy { per_mille: 300 };
        let read_only = |tool: &str| tool == "grep";
        assert_eq!(fuzzy.near(&a, [&a, &b], read_only), [b.key()]);
        assert!(fuzzy.near(&a, [&b], |_| false).is_empty());
        for other in [Matcher::Exact, Matcher::Effect, Matcher::Judge { steps: 1 }] {
            assert!(other.near(&a, [&b], |_| true).is_empty());
        }
    }

    #[test]
    fn what_is_no_tool_is_near_nothing() {
        let asks = |question: &str| {
            let arguments = serde_json::json!({ "question": question });
            of("ask_user", &arguments.to_string())
        };
        assert!(!near(900, &asks("Which file?"), &asks("Which files?")));
    }

    #[test]
    fn everything_but_texts_must_be_equal() {
        let one = of("grep", r#"{"pattern": "abcdefgh", "limit": 5}"#);
        for (tool, other) in [
            ("grep", r#"{"pattern": "abcdefgh", "limit": 6}"#),
            ("grep", r#"{"pattern": "abcdefgh"}"#),
            ("grep", r#"{"pattern": "abcdefgh", "path": "a"}"#),
            ("grep", r#"{"pattern": ["abcdefgh"], "limit": 5}"#),
            ("glob", r#"{"pattern": "abcdefgi", "limit": 5}"#),
        ] {
            assert!(!near(900, &one, &of(tool, other)), "{other}");
        }
        let nested = |text: &str| of("grep", &format!(r#"{{"patterns": ["{text}"]}}"#));
        assert!(!near(900, &nested("abcdefgh"), &nested("abcdefgi")));
        assert!(near(
            900,
            &one,
            &of("grep", r#"{"pattern":"abcdefgi","limit":5}"#)
        ));
    }

    #[test]
    fn long_texts_must_be_equal() {
        let long = "x".repeat(FUZZY_BYTES_MAX);
        assert!(near(900, &grep(&long), &grep(&format!("{}y", &long[1..]))));
        assert!(!near(900, &grep(&long), &grep(&format!("{long}y"))));
    }

    #[test]
    fn very_many_texts_must_be_equal() {
        let many = |count: usize, last: char| {
            let text = format!("{}{last}", "x".repeat(FUZZY_BYTES_MAX - 1));
            let texts = (0..count).map(|name| (name.to_string(), text.clone().into()));
            let arguments: serde_json::Map<String, Value> = texts.collect();
            of("grep", &Value::Object(arguments).to_string())
        };
        assert!(near(1000, &many(2, 'x'), &many(2, 'y')));
        assert!(!near(1000, &many(3, 'x'), &many(3, 'y')));
    }

    #[test]
    fn a_matcher_is_written_as_it_is_read() {
        for text in [
            "exact",
            "fuzzy(0.3)",
            "fuzzy(0.025)",
            "fuzzy(1)",
            "effect",
            "judge",
            "postponed(4)",
        ] {
            let matcher: Matcher = text.parse().expect("a matcher");
            assert_eq!(matcher.to_string(), text);
            let json = serde_json::to_string(&matcher).expect("it is a text");
            assert_eq!(
                serde_json::from_str::<Matcher>(&json).expect("one"),
                matcher
            );
        }
        assert_eq!("fuzzy".parse(), Ok(Matcher::Fuzzy { per_mille: 300 }));
        for text in [
            "",
            "fuzzy(0)",
            "fuzzy(0.0001)",
            "fuzzy(2)",
            "fuzzy(1.0001)",
            "fuzzy(NaN)",
            "fuzzy(",
            "judge(2)",
            "postponed(1)",
            "postponed(33)",
            "postponed(-1)",
        ] {
            let error = text.parse::<Matcher>().expect_err(text);
            assert!(
                error
                    .to_string()
                    .contains("postponed(4) with 2 to 32 steps")
            );
        }
    }
}
