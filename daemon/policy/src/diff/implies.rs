//! When one condition holds wherever another does.
//!
//! - **Invariant:** [`implies`] is sound: where `a` holds, `b` holds too, or can not be
//!   evaluated. It is not complete: `false` says nothing.
//! - Goes by the form of conditions alone: comparisons of the same thing with constants, and
//!   `&&`, `||` and `!` of these. Asks nobody, and tries no requests.

use crate::expression::{Expression, is_like};
use crate::fact::{Fact, field};
use serde_json::Value;
use std::borrow::Cow;

/// Most pairs of conditions that are compared: stops `&&` and `||` by turns, which double them.
const PAIRS_MAX: usize = 100_000;
/// Stands for a wildcard where a pattern is taken for a text.
const ANYTHING: char = '\u{10ffff}';

/// Whether `b` holds wherever `a` does, or can not be evaluated there.
pub(super) fn implies(a: &Expression, b: &Expression) -> bool {
    follows(a, b, &mut { PAIRS_MAX })
}

fn follows(a: &Expression, b: &Expression, left: &mut usize) -> bool {
    use Expression::{All, AnyOf, Not};
    *left = left.saturating_sub(1);
    if *left == 0 {
        return false;
    }
    match (a, b) {
        _ if a == b || is(a, false) || is(b, true) => true,
        (_, All(parts)) => parts.iter().all(|part| follows(a, part, left)),
        (AnyOf(parts), _) => parts.iter().all(|part| follows(part, b, left)),
        (Not(a), Not(b)) if follows(b, a, left) => true,
        _ => {
            let mut some = |parts: &[Expression], is_of_a: bool| {
                let mut parts = parts.iter();
                parts.any(|part| match is_of_a {
                    true => follows(part, b, left),
                    false => follows(a, part, left),
                })
            };
            matches!(a, All(parts) if some(parts, true))
                || matches!(b, AnyOf(parts) if some(parts, false))
                || each_value(a)
                    .is_some_and(|parts| parts.iter().all(|part| follows(part, b, left)))
                || compared(a, b)
        }
    }
}

/// Whether an expression is this constant.
pub(super) fn is(expression: &Expression, flag: bool) -> bool {
    match expression {
        Expression::Literal(fact) => *fact == Fact::Flag(flag),
        Expression::All(parts) => flag && parts.is_empty(),
        Expression::AnyOf(parts) => !flag && parts.is_empty(),
        _ => false,
    }
}

/// A comparison with several values, as one for each.
fn each_value(a: &Expression) -> Option<Vec<Expression>> {
    let (of, Worth::OneOf(facts)) = comparison(a)? else {
        return None;
    };
    let equal = |fact: Cow<'_, Fact<'static>>| {
        let literal = Expression::Literal(fact.into_owned());
        Expression::Equal(Box::new(of.clone()), Box::new(literal))
    };
    (facts.len() > 1).then(|| facts.into_iter().map(equal).collect())
}

/// Whether two comparisons are of the same thing, and one follows from the other.
fn compared(a: &Expression, b: &Expression) -> bool {
    match (comparison(a), comparison(b)) {
        (Some((of, a)), Some((same, b))) => of == same && a.is_within(&b),
        _ => false,
    }
}

/// What a thing is worth when a comparison of it holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Worth<'e> {
    /// One of these.
    OneOf(Vec<Cow<'e, Fact<'static>>>),
    /// None of these.
    NoneOf(Vec<Cow<'e, Fact<'static>>>),
    /// A whole number from here to there, both included.
    Between(i64, i64),
    /// A text of this form.
    Like(&'e [String]),
    /// A text that is not of this form.
    Unlike(&'e [String]),
}

impl<'e> Worth<'e> {
    /// What it is worth when the comparison does not hold.
    fn negated(self) -> Option<Worth<'e>> {
        Some(match self {
            Worth::OneOf(facts) => match facts.as_slice() {
                [fact] if matches!(**fact, Fact::Flag(_)) => {
                    Worth::OneOf(vec![Cow::Owned(Fact::Flag(**fact == Fact::Flag(false)))])
                }
                _ => complement(&facts).unwrap_or(Worth::NoneOf(facts)),
            },
            Worth::NoneOf(facts) => Worth::OneOf(facts),
            Worth::Between(i64::MIN, most) if most < i64::MAX => Worth::Between(most + 1, i64::MAX),
            Worth::Between(least, i64::MAX) if least > i64::MIN => {
                Worth::Between(i64::MIN, least - 1)
            }
            Worth::Between(..) => return None,
            Worth::Like(pieces) => Worth::Unlike(pieces),
            Worth::Unlike(pieces) => Worth::Like(pieces),
        })
    }

    /// Whether everything that this allows is allowed by the other.
    fn is_within(&self, other: &Worth<'_>) -> bool {
        match (self, other) {
            (Worth::OneOf(facts), other) => facts.iter().all(|fact| other.allows(fact)),
            (Worth::NoneOf(all), Worth::NoneOf(some)) => some.iter().all(|fact| all.contains(fact)),
            (Worth::Between(least, most), Worth::Between(from, to)) => {
                from <= least && most <= to || least > most
            }
            (Worth::Between(..) | Worth::Like(_), Worth::NoneOf(facts)) => {
                facts.iter().all(|fact| !self.allows(fact))
            }
            (Worth::Like(all), Worth::Like(some)) => is_covered(all, some),
            (Worth::Unlike(some), Worth::Unlike(all)) => is_covered(all, some),
            _ => false,
        }
    }

    fn allows(&self, fact: &Fact<'_>) -> bool {
        match (self, fact) {
            (Worth::OneOf(facts), _) => facts.iter().any(|other| **other == *fact),
            (Worth::NoneOf(facts), _) => facts.iter().all(|other| **other != *fact),
            (Worth::Between(least, most), Fact::Whole(number)) => (least..=most).contains(&number),
            (Worth::Like(pieces), Fact::Text(text)) => is_like(pieces, text),
            (Worth::Unlike(pieces), Fact::Text(text)) => !is_like(pieces, text),
            _ => false,
        }
    }
}

/// Whether every text of one form is of the other. A wildcard of the first can only be
/// covered by one of the second.
fn is_covered(pieces: &[String], by: &[String]) -> bool {
    let mut all = pieces.iter().chain(by);
    !all.any(|piece| piece.contains(ANYTHING))
        && is_like(by, &pieces.join(ANYTHING.encode_utf8(&mut [0; 4])))
}

/// The other values of a type that has few.
fn complement<'e>(facts: &[Cow<'e, Fact<'static>>]) -> Option<Worth<'e>> {
    let values: &[&str] = match facts.first()?.as_ref() {
        Fact::Entity(kind, _) if kind == "Mode" => &["run", "hold", "ask"],
        Fact::Entity(kind, _) if kind == "Role" => &["approximation", "target", "user"],
        _ => return None,
    };
    let Fact::Entity(kind, _) = facts.first()?.as_ref() else {
        return None;
    };
    let values = values
        .iter()
        .map(|value| Fact::Entity(kind.clone(), (*value).into()));
    let others = values.filter(|value| facts.iter().all(|fact| **fact != *value));
    Some(Worth::OneOf(others.map(Cow::Owned).collect()))
}

/// A comparison of something with constants: of what, and what it is worth if it holds.
pub(super) fn comparison(expression: &Expression) -> Option<(&Expression, Worth<'_>)> {
    use Expression::*;
    let one = |fact| Worth::OneOf(vec![Cow::Borrowed(fact)]);
    Some(match expression {
        Attribute(..) => (expression, Worth::OneOf(vec![Cow::Owned(Fact::Flag(true))])),
        Not(inner) => {
            let (of, worth) = comparison(inner)?;
            (of, worth.negated()?)
        }
        Equal(left, right) => match (&**left, &**right) {
            (Literal(fact), of) | (of, Literal(fact)) if is_plain(fact) => (of, one(fact)),
            _ => return None,
        },
        Less(left, right) => match (&**left, &**right) {
            (of, Literal(Fact::Whole(most))) => {
                (of, Worth::Between(i64::MIN, most.checked_sub(1)?))
            }
            (Literal(Fact::Whole(least)), of) => {
                (of, Worth::Between(least.checked_add(1)?, i64::MAX))
            }
            _ => return None,
        },
        AtMost(left, right) => match (&**left, &**right) {
            (of, Literal(Fact::Whole(most))) => (of, Worth::Between(i64::MIN, *most)),
            (Literal(Fact::Whole(least)), of) => (of, Worth::Between(*least, i64::MAX)),
            _ => return None,
        },
        Contains(set, of) => match &**set {
            Literal(Fact::Set(facts)) if facts.iter().all(is_plain) => (
                &**of,
                Worth::OneOf(facts.iter().map(Cow::Borrowed).collect()),
            ),
            _ => return None,
        },
        Like(of, pieces) => (&**of, Worth::Like(pieces)),
        _ => return None,
    })
}

/// Whether a value is the same as another only if it is written the same.
fn is_plain(fact: &Fact<'_>) -> bool {
    !matches!(fact, Fact::Set(_) | Fact::Record(_))
}

/// A condition where the resource is known. Only of one that can not fail: what is left out
/// is not evaluated.
pub(super) fn known(
    condition: &Expression,
    resource: &Fact<'static>,
    attributes: &[(Cow<'static, str>, Fact<'static>)],
) -> Expression {
    use Expression::*;
    let known = |inner: &Expression| known(inner, resource, attributes);
    let boxed = |inner: &Expression| Box::new(known(inner));
    let flag = |flag| Literal(Fact::Flag(flag));
    // What is left, of which no part is a constant any more.
    let parts = |parts: &[Expression], neutral: bool, many: fn(Vec<Expression>) -> Expression| {
        let parts: Vec<_> = parts.iter().map(known).collect();
        if parts.iter().any(|part| is(part, !neutral)) {
            return flag(!neutral);
        }
        let mut left: Vec<_> = parts
            .into_iter()
            .filter(|part| !is(part, neutral))
            .collect();
        match left.len() {
            0 => flag(neutral),
            1 => left.remove(0),
            _ => many(left),
        }
    };
    match condition {
        Resource => Literal(resource.clone()),
        Attribute(of, name) if **of == Resource => match field(attributes, name) {
            Some(fact) => Literal(fact.clone()),
            None => condition.clone(),
        },
        Literal(_) | Principal | Context | Other(_) => condition.clone(),
        Attribute(of, name) => Attribute(boxed(of), name.clone()),
        Has(of, name) if **of == Resource && field(attributes, name).is_some() => flag(true),
        Has(..) => condition.clone(),
        All(inner) => parts(inner, true, All),
        AnyOf(inner) => parts(inner, false, AnyOf),
        Not(inner) => match known(inner) {
            inner if is(&inner, true) => flag(false),
            inner if is(&inner, false) => flag(true),
            inner => Not(Box::new(inner)),
        },
        Equal(left, right) => match (known(left), known(right)) {
            (Literal(left), Literal(right)) if is_plain(&left) && is_plain(&right) => {
                flag(left == right)
            }
            (left, right) => Equal(Box::new(left), Box::new(right)),
        },
        Is(of, kind) => match known(of) {
            Literal(Fact::Entity(found, _)) => flag(found == *kind),
            of => Is(Box::new(of), kind.clone()),
        },
        In(left, right) => match (known(left), known(right)) {
            (Literal(left), Literal(right)) => match crate::expression::within(&left, &right) {
                Some(within) => flag(within),
                None => In(Box::new(Literal(left)), Box::new(Literal(right))),
            },
            (left, right) => In(Box::new(left), Box::new(right)),
        },
        Less(left, right) => Less(boxed(left), boxed(right)),
        AtMost(left, right) => AtMost(boxed(left), boxed(right)),
        Like(of, pieces) => Like(boxed(of), pieces.clone()),
        Contains(set, item) => Contains(boxed(set), boxed(item)),
        If(inner) => {
            let [condition, then, or] = &**inner;
            match known(condition) {
                condition if is(&condition, true) => known(then),
                condition if is(&condition, false) => known(or),
                condition => If(Box::new([condition, known(then), known(or)])),
            }
        }
    }
}

/// Whether a valid policy can be evaluated for every request: it adds nothing, calls no
/// function of an extension, and takes attributes of nothing but what a request has.
pub(super) fn is_total(policy: &Value) -> bool {
    let clauses = policy["conditions"].as_array().into_iter().flatten();
    clauses
        .map(|clause| &clause["body"])
        .all(is_total_expression)
}

fn is_total_expression(expression: &Value) -> bool {
    let Some((operator, inner)) = expression
        .as_object()
        .and_then(|members| members.iter().next())
    else {
        return false;
    };
    let total = |name: &str| is_total_expression(&inner[name]);
    match operator.as_str() {
        "Value" | "Var" => true,
        "Set" => inner
            .as_array()
            .is_some_and(|items| items.iter().all(is_total_expression)),
        "Record" => {
            let members = inner.as_object();
            members.is_some_and(|members| members.values().all(is_total_expression))
        }
        "." => is_of_request(&inner["left"]),
        "has" | "like" => total("left"),
        "is" => total("left") && inner.get("in").is_none_or(is_total_expression),
        "!" | "isEmpty" => total("arg"),
        "==" | "!=" | "<" | "<=" | ">" | ">=" | "&&" | "||" | "in" | "contains" | "containsAll"
        | "containsAny" => total("left") && total("right"),
        "if-then-else" => total("if") && total("then") && total("else"),
        _ => false,
    }
}

/// Whether an expression is a variable, or an attribute of what is.
fn is_of_request(expression: &Value) -> bool {
    expression.get("Var").is_some()
        || expression
            .get(".")
            .is_some_and(|access| is_of_request(&access["left"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::set;

    /// The condition of a policy about calls of `write_file`.
    fn rule(condition: &str) -> Expression {
        let set = set(&format!(
            "@id(\"a\") permit (principal, action == Action::\"call:write_file\", resource) when {{ {condition} }};"
        ));
        set.0.slices["call:write_file"][0].condition.clone()
    }

    fn total(condition: &str) -> bool {
        let set = set(&format!(
            "@id(\"a\") permit (principal, action == Action::\"call:write_file\", resource) when {{ {condition} }};"
        ));
        is_total(&set.0.slices["call:write_file"][0].json)
    }

    #[test]
    fn one_condition_follows_from_another() {
        let path = "context.args.path";
        for (a, b) in [
            ("context.step > 5", "context.step > 4"),
            ("context.step > 5", "context.step >= 6"),
            ("context.step == 5", "context.step < 6"),
            (
                "context.step > 5 && context.depth > 1",
                "context.depth != 0",
            ),
            (
                "context.step > 5",
                "context.step > 5 || context.speculative",
            ),
            ("!(context.step > 5)", "context.step <= 7"),
            (
                "[1, 2].contains(context.step)",
                "[3, 2, 1].contains(context.step)",
            ),
            (
                "context.mode != Mode::\"run\"",
                "[Mode::\"hold\", Mode::\"ask\"].contains(context.mode)",
            ),
            (
                "context.mode == Mode::\"ask\"",
                "context.mode != Mode::\"run\"",
            ),
            (
                "principal.role == Role::\"user\"",
                "principal.role != Role::\"target\"",
            ),
            ("context.speculative == false", "!context.speculative"),
            (
                &format!("{path} == \"src/a\""),
                &format!("{path} like \"src/*\""),
            ),
            (
                &format!("{path} like \"src/*.rs\""),
                &format!("{path} like \"s*s\""),
            ),
            (
                &format!("{path} like \"src/*\""),
                &format!("{path} != \"doc/a\""),
            ),
            (
                &format!("!({path} like \"*\\**\")"),
                &format!("!({path} like \"a\\*b\")"),
            ),
            ("context.step >= 6", "context.step > 5"),
            ("!context.speculative", "false == context.speculative"),
        ] {
            assert!(implies(&rule(a), &rule(b)), "{a} implies {b}");
        }
    }

    #[test]
    fn what_does_not_follow_is_not_said_to() {
        let path = "context.args.path";
        for (a, b) in [
            ("context.step > 5", "context.depth > 5"),
            ("context.step > 5", "context.step > 6"),
            ("context.step > 4", "context.step == 5"),
            (
                "context.mode == Mode::\"ask\"",
                "context.mode == Mode::\"run\"",
            ),
            ("context.step > 5 || context.depth > 5", "context.step > 5"),
            ("context.step != 5", "context.step > 5"),
            (
                &format!("{path} like \"a*\""),
                &format!("{path} like \"a?*\""),
            ),
            (
                &format!("{path} like \"*\""),
                &format!("{path} like \"\\*\""),
            ),
            (
                &format!("{path} like \"a*b\""),
                &format!("{path} like \"a*c*b\""),
            ),
            (
                &format!("!({path} like \"a*\")"),
                &format!("!({path} like \"*\")"),
            ),
        ] {
            assert!(!implies(&rule(a), &rule(b)), "{a} implies {b}");
        }
    }

    #[test]
    fn sums_and_attributes_of_others_can_fail() {
        assert!(total(
            "context.args.path like \"*\" && [1].contains(context.step)"
        ));
        assert!(total(
            "context.args has path && resource.open_world == context.speculative"
        ));
        assert!(!total("context.step + 1 > 2"));
        assert!(!total("Tool::\"grep\".open_world"));
        assert!(!total("ip(\"10.0.0.1\").isLoopback()"));
    }
}
