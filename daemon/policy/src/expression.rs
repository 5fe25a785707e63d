//! Conditions of policies, read from Cedar's JSON form into what is quick to evaluate.
//! Cedar builds a policy's condition anew for each question, and a request's values before
//! it; most conditions are a few comparisons, which need neither.
//!
//! - **Invariant:** what is answered here, Cedar answers too, and without an error. Where
//!   that is not plain, the answer is `None`, and Cedar is asked: sums, types of extensions,
//!   entities with others above them, sets compared with sets, a value that is not there.
//! - Never decides: what follows from a policy's condition is in decide.rs.
//!
//! The order of operands matters where Cedar's does: `a && b` is false if `a` is, whatever
//! `b` is; if only `b` is known, `a` could fail.

use crate::fact::{Fact, Question, field};
use crate::source::entity;
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

/// Entities that are in nothing but themselves.
const FLAT: [&str; 6] = ["Agent", "Mode", "Role", "Speculation", "Tool", "Workspace"];

static TRUE: Fact<'static> = Fact::Flag(true);
static FALSE: Fact<'static> = Fact::Flag(false);

/// An expression of Cedar's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    Literal(Fact<'static>),
    Principal,
    Resource,
    Context,
    /// `of.name`
    Attribute(Box<Expression>, String),
    /// `of has name`
    Has(Box<Expression>, String),
    /// All, from left to right.
    All(Vec<Expression>),
    /// One, from left to right.
    AnyOf(Vec<Expression>),
    Not(Box<Expression>),
    Equal(Box<Expression>, Box<Expression>),
    /// `left < right`
    Less(Box<Expression>, Box<Expression>),
    /// `left <= right`
    AtMost(Box<Expression>, Box<Expression>),
    /// `left in right`
    In(Box<Expression>, Box<Expression>),
    /// `of is type`
    Is(Box<Expression>, String),
    /// `of like pattern`: the texts between the wildcards, which are at least one.
    Like(Box<Expression>, Vec<String>),
    /// `set.contains(item)`
    Contains(Box<Expression>, Box<Expression>),
    /// `if 0 then 1 else 2`
    If(Box<[Expression; 3]>),
    /// What is Cedar's to say, in its JSON form.
    Other(Value),
}

impl Expression {
    /// Everything that a policy demands besides its action, which slices go by.
    pub(crate) fn of_policy(json: &Value) -> Expression {
        let mut all = Vec::new();
        for (scope, of) in [
            ("principal", Expression::Principal),
            ("resource", Expression::Resource),
        ] {
            match Expression::scope(&json[scope], of) {
                Expression::All(none) if none.is_empty() => {}
                demanded => all.push(demanded),
            }
        }
        for clause in json["conditions"].as_array().into_iter().flatten() {
            let body = Expression::read(&clause["body"]);
            all.push(if clause["kind"] == "unless" {
                Expression::Not(Box::new(body))
            } else {
                body
            });
        }
        Expression::All(all)
    }

    /// What a scope demands of a principal or resource.
    fn scope(json: &Value, of: Expression) -> Expression {
        let named = |json: &Value| match entity(&json["entity"]) {
            Some((kind, id)) => Expression::entity(kind, id),
            None => Expression::Other(json.clone()),
        };
        let of = Box::new(of);
        match json["op"].as_str() {
            Some("All") => Expression::All(Vec::new()),
            Some("==") => Expression::Equal(of, Box::new(named(json))),
            Some("in") => Expression::In(of, Box::new(named(json))),
            Some("is") => {
                let kind = json["entity_type"].as_str().unwrap_or_default().to_owned();
                let is = Expression::Is(of.clone(), kind);
                match json.get("in") {
                    None => is,
                    Some(inside) => {
                        let inside = Expression::In(of, Box::new(named(inside)));
                        Expression::All(vec![is, inside])
                    }
                }
            }
            _ => Expression::Other(json.clone()),
        }
    }

    /// Reads an expression; what it does not know is Cedar's.
    pub(crate) fn read(json: &Value) -> Expression {
        Expression::known(json).unwrap_or_else(|| Expression::Other(json.clone()))
    }

    fn known(json: &Value) -> Option<Expression> {
        use Expression::*;
        let members = json.as_object().filter(|members| members.len() == 1)?;
        let (operator, inner) = members.iter().next()?;
        let read = |name: &str| Box::new(Expression::read(&inner[name]));
        let (left, right) = (|| read("left"), || read("right"));
        Some(match operator.as_str() {
            "Value" => Literal(literal(inner)?),
            "Set" => Literal(Fact::Set(constants(inner)?)),
            "Var" => match inner.as_str()? {
                "principal" => Principal,
                "resource" => Resource,
                "context" => Context,
                _ => return None,
            },
            "." => Attribute(left(), inner["attr"].as_str()?.to_owned()),
            "has" => Has(left(), inner["attr"].as_str()?.to_owned()),
            "&&" => All(vec![*left(), *right()]),
            "||" => AnyOf(vec![*left(), *right()]),
            "!" => Not(read("arg")),
            "==" => Equal(left(), right()),
            "!=" => Not(Box::new(Equal(left(), right()))),
            "<" => Less(left(), right()),
            ">" => Less(right(), left()),
            "<=" => AtMost(left(), right()),
            ">=" => AtMost(right(), left()),
            "in" => In(left(), right()),
            "is" => {
                let is = Is(left(), inner["entity_type"].as_str()?.to_owned());
                match inner.get("in") {
                    None => is,
                    Some(inside) => {
                        let inside = Box::new(Expression::read(inside));
                        All(vec![is, In(left(), inside)])
                    }
                }
            }
            "like" => Like(left(), pieces(inner["pattern"].as_array()?)?),
            "contains" => Contains(left(), right()),
            "if-then-else" => If(Box::new([*read("if"), *read("then"), *read("else")])),
            _ => return None,
        })
    }

    fn entity(kind: &str, id: &str) -> Expression {
        Expression::Literal(Fact::Entity(kind.to_owned().into(), id.to_owned().into()))
    }

    /// Whether a condition holds; `None` if Cedar has to be asked.
    pub(crate) fn holds(&self, question: &Question<'_>) -> Option<bool> {
        use Expression::*;
        match self {
            All(conditions) => {
                for condition in conditions {
                    if !condition.holds(question)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
            AnyOf(conditions) => {
                for condition in conditions {
                    if condition.holds(question)? {
                        return Some(true);
                    }
                }
                Some(false)
            }
            Not(condition) => condition.holds(question).map(|holds| !holds),
            Equal(left, right) => equal(left.value(question)?, right.value(question)?),
            Less(left, right) => compare(left, right, question).map(Ordering::is_lt),
            AtMost(left, right) => compare(left, right, question).map(Ordering::is_le),
            In(left, right) => within(left.value(question)?, right.value(question)?),
            Is(of, wanted) => match of.value(question)? {
                Fact::Entity(kind, _) => Some(kind == wanted),
                _ => None,
            },
            Has(of, name) => Some(field(of.fields(question)?, name).is_some()),
            Like(of, pieces) => match of.value(question)? {
                Fact::Text(text) => Some(is_like(pieces, text)),
                _ => None,
            },
            Contains(set, item) => match (set.value(question)?, item.value(question)?) {
                (Fact::Set(items), item) => any_equal(items, item),
                _ => None,
            },
            If(parts) => parts[usize::from(!parts[0].holds(question)?) + 1].holds(question),
            Literal(_) | Principal | Resource | Context | Attribute(..) | Other(_) => {
                match self.value(question)? {
                    Fact::Flag(flag) => Some(*flag),
                    _ => None,
                }
            }
        }
    }

    /// What an expression is worth; `None` if Cedar has to be asked.
    fn value<'q>(&'q self, question: &'q Question<'_>) -> Option<&'q Fact<'q>> {
        use Expression::*;
        match self {
            Literal(fact) => Some(fact),
            Principal => Some(&question.principal),
            Resource => Some(&question.resource),
            Attribute(of, name) => field(of.fields(question)?, name),
            If(parts) => parts[usize::from(!parts[0].holds(question)?) + 1].value(question),
            Context | Other(_) => None,
            All(_) | AnyOf(_) | Not(_) | Equal(..) | Less(..) | AtMost(..) | In(..) | Is(..)
            | Has(..) | Like(..) | Contains(..) => {
                Some(if self.holds(question)? { &TRUE } else { &FALSE })
            }
        }
    }

    /// The members of what an expression is worth.
    fn fields<'q>(&'q self, question: &'q Question<'_>) -> Option<&'q [(Cow<'q, str>, Fact<'q>)]> {
        match self {
            Expression::Principal => Some(&question.agent),
            Expression::Resource => Some(question.attributes),
            Expression::Context => Some(&question.context),
            other => match other.value(question)? {
                Fact::Record(fields) => Some(fields),
                _ => None,
            },
        }
    }
}

/// Whether two values are the same. Of sets and records, it is Cedar's to say.
fn equal(left: &Fact<'_>, right: &Fact<'_>) -> Option<bool> {
    match (left, right) {
        (Fact::Flag(left), Fact::Flag(right)) => Some(left == right),
        (Fact::Whole(left), Fact::Whole(right)) => Some(left == right),
        (Fact::Text(left), Fact::Text(right)) => Some(left == right),
        (Fact::Entity(kind, id), Fact::Entity(other, other_id)) => {
            Some(id == other_id && kind == other)
        }
        _ => None,
    }
}

fn any_equal(items: &[Fact<'_>], item: &Fact<'_>) -> Option<bool> {
    let mut found = false;
    for other in items {
        found |= equal(other, item)?;
    }
    Some(found)
}

fn compare(left: &Expression, right: &Expression, question: &Question<'_>) -> Option<Ordering> {
    match (left.value(question)?, right.value(question)?) {
        (Fact::Whole(left), Fact::Whole(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Whether an entity is another, or one of others. Of what has others above it, it is Cedar's
/// to say.
pub(crate) fn within(left: &Fact<'_>, right: &Fact<'_>) -> Option<bool> {
    match (left, right) {
        (Fact::Entity(kind, _), Fact::Set(items)) if FLAT.contains(&kind.as_ref()) => {
            any_equal(items, left)
        }
        (Fact::Entity(kind, _), Fact::Entity(..)) if FLAT.contains(&kind.as_ref()) => {
            equal(left, right)
        }
        _ => None,
    }
}

/// Whether a text is its pieces, in order, with anything between them.
pub(crate) fn is_like(pieces: &[String], text: &str) -> bool {
    match pieces {
        [] => false,
        [whole] => text == whole,
        [first, middle @ .., last] => {
            let Some(mut rest) = text.strip_prefix(first.as_str()) else {
                return false;
            };
            for piece in middle {
                match rest.find(piece.as_str()) {
                    Some(at) => rest = &rest[at + piece.len()..],
                    None => return false,
                }
            }
            rest.ends_with(last.as_str())
        }
    }
}

/// A pattern's texts between its wildcards.
fn pieces(pattern: &[Value]) -> Option<Vec<String>> {
    let mut pieces = vec![String::new()];
    for element in pattern {
        if element == "Wildcard" {
            pieces.push(String::new());
        } else {
            pieces.last_mut()?.push_str(element["Literal"].as_str()?);
        }
    }
    Some(pieces)
}

/// A set of literals.
fn constants(items: &Value) -> Option<Vec<Fact<'static>>> {
    let items = items.as_array()?.iter();
    items
        .map(|item| match Expression::read(item) {
            Expression::Literal(fact) => Some(fact),
            _ => None,
        })
        .collect()
}

/// A value in Cedar's JSON form.
fn literal(value: &Value) -> Option<Fact<'static>> {
    match value {
        Value::Bool(flag) => Some(Fact::Flag(*flag)),
        Value::Number(number) => number.as_i64().map(Fact::Whole),
        Value::String(text) => Some(Fact::Text(text.clone().into())),
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(literal).collect();
            items.map(Fact::Set)
        }
        Value::Object(members) => {
            let (kind, id) = entity(members.get("__entity")?)?;
            Some(Fact::Entity(kind.to_owned().into(), id.to_owned().into()))
        }
        Value::Null => None,
    }
}
