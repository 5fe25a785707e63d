//! The conditions of `touch` policies, read from Cedar's JSON form, and what is left of
//! them once it is known who touches.
//!
//! Only what path rules can say is accepted:
//! `resource ==`, `resource in`, `resource.name ==`, `resource.ext ==`,
//! `[…].contains(resource.name)`, `[…].contains(resource.ext)`, `context.unprotected`,
//! `context.speculative`, `context.mode`, `principal.role`, and `&&`, `||`, `!` of these.

use crate::source::entity;
use forerun_types::{PathPattern, Source};
use serde_json::Value;

/// A condition that compiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// What is known whatever is touched.
    Constant(bool),
    /// The path is one that the user's configuration unprotects.
    Unprotected,
    /// The action's verdict is awaited.
    Speculative,
    /// The action comes from there.
    Role(Source),
    /// About the path alone.
    Path(PathPattern),
    /// All of them.
    All(Vec<Condition>),
    /// One of them.
    AnyOf(Vec<Condition>),
    /// Not that.
    Not(Box<Condition>),
}

/// Who touches, and what the user unprotected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Toucher<'a> {
    pub(crate) principal: Source,
    pub(crate) speculative: bool,
    /// Folded, absolute.
    pub(crate) unprotected: &'a [String],
}

/// Why a condition does not compile.
#[derive(Debug)]
pub(crate) struct Refused {
    /// What it is.
    pub(crate) what: String,
    /// A text of the source at which it is.
    pub(crate) near: Option<String>,
}

/// An operand that conditions are made from.
enum Operand<'a> {
    Resource,
    Attribute(&'static str),
    Mode,
    Role,
    Flag(Condition),
    Text(&'a str),
    Bool(bool),
    Entity(&'a str, &'a str),
    Set(Vec<Operand<'a>>),
}

impl Condition {
    /// Reads an expression.
    pub(crate) fn read(expression: &Value) -> Result<Condition, Refused> {
        let (operator, inner) = single(expression)?;
        match operator {
            "&&" => Ok(Condition::All(vec![
                Condition::read(&inner["left"])?,
                Condition::read(&inner["right"])?,
            ])),
            "||" => Ok(Condition::AnyOf(vec![
                Condition::read(&inner["left"])?,
                Condition::read(&inner["right"])?,
            ])),
            "!" => Ok(Condition::Not(Box::new(Condition::read(&inner["arg"])?))),
            "==" => equal(operand(&inner["left"])?, operand(&inner["right"])?),
            "!=" => {
                let same = equal(operand(&inner["left"])?, operand(&inner["right"])?)?;
                Ok(Condition::Not(Box::new(same)))
            }
            "in" => within(&operand(&inner["left"])?, operand(&inner["right"])?),
            "is" => is(inner),
            "contains" => contains(operand(&inner["left"])?, &operand(&inner["right"])?),
            "." | "Value" => match operand(expression)? {
                Operand::Flag(condition) => Ok(condition),
                Operand::Bool(constant) => Ok(Condition::Constant(constant)),
                _ => Err(refused("a value where a condition is expected", None)),
            },
            other => Err(refused(format!("`{other}`"), Some(other))),
        }
    }

    /// The pattern that is left once it is known who touches.
    pub(crate) fn pattern(&self, toucher: Toucher<'_>) -> PathPattern {
        match self {
            Condition::Constant(value) => constant(*value),
            Condition::Speculative => constant(toucher.speculative),
            Condition::Role(role) => constant(toucher.principal == *role),
            Condition::Unprotected => {
                let paths = toucher.unprotected.iter().cloned();
                PathPattern::AnyOf(paths.map(PathPattern::Subtree).collect())
            }
            Condition::Path(pattern) => pattern.clone(),
            Condition::All(conditions) => {
                let mut patterns = Vec::new();
                for pattern in conditions
                    .iter()
                    .map(|condition| condition.pattern(toucher))
                {
                    match pattern {
                        PathPattern::Any => {}
                        PathPattern::All(inner) => patterns.extend(inner),
                        never if is_never(&never) => return never,
                        other => patterns.push(other),
                    }
                }
                one_or(patterns, PathPattern::Any, PathPattern::All)
            }
            Condition::AnyOf(conditions) => {
                let mut patterns = Vec::new();
                for pattern in conditions
                    .iter()
                    .map(|condition| condition.pattern(toucher))
                {
                    match pattern {
                        PathPattern::Any => return PathPattern::Any,
                        PathPattern::AnyOf(inner) => patterns.extend(inner),
                        other => patterns.push(other),
                    }
                }
                one_or(patterns, constant(false), PathPattern::AnyOf)
            }
            Condition::Not(condition) => match condition.pattern(toucher) {
                PathPattern::Any => constant(false),
                never if is_never(&never) => PathPattern::Any,
                PathPattern::Not(inner) => *inner,
                other => PathPattern::Not(Box::new(other)),
            },
        }
    }
}

/// Whether a pattern matches no path at all, and says so plainly.
pub(crate) fn is_never(pattern: &PathPattern) -> bool {
    matches!(pattern, PathPattern::AnyOf(patterns) if patterns.is_empty())
}

fn constant(value: bool) -> PathPattern {
    if value {
        PathPattern::Any
    } else {
        PathPattern::AnyOf(Vec::new())
    }
}

fn one_or(
    mut patterns: Vec<PathPattern>,
    empty: PathPattern,
    many: fn(Vec<PathPattern>) -> PathPattern,
) -> PathPattern {
    match patterns.len() {
        0 => empty,
        1 => patterns.remove(0),
        _ => many(patterns),
    }
}

fn equal(left: Operand<'_>, right: Operand<'_>) -> Result<Condition, Refused> {
    use Operand::*;
    match (left, right) {
        (Resource, Entity("Path", path)) | (Entity("Path", path), Resource) => {
            Ok(Condition::Path(PathPattern::Path(path.to_owned())))
        }
        (Attribute(attribute), Text(text)) | (Text(text), Attribute(attribute)) => {
            named(attribute, text).map(Condition::Path)
        }
        (Role, Entity("Role", role)) | (Entity("Role", role), Role) => of_role(role),
        (Mode, Entity("Mode", mode)) | (Entity("Mode", mode), Mode) => {
            Ok(Condition::Constant(mode == "run"))
        }
        (Flag(condition), Bool(true)) | (Bool(true), Flag(condition)) => Ok(condition),
        (Flag(condition), Bool(false)) | (Bool(false), Flag(condition)) => {
            Ok(Condition::Not(Box::new(condition)))
        }
        _ => Err(refused("a comparison of these", Some("=="))),
    }
}

fn within(left: &Operand<'_>, right: Operand<'_>) -> Result<Condition, Refused> {
    let subtree = |operand: &Operand<'_>| match operand {
        Operand::Entity("Path", path) => {
            Ok(Condition::Path(PathPattern::Subtree((*path).to_owned())))
        }
        _ => Err(refused("`in` of something else than a path", Some(" in "))),
    };
    match (left, right) {
        (Operand::Resource, Operand::Set(paths)) => Ok(Condition::AnyOf(
            paths.iter().map(subtree).collect::<Result<_, _>>()?,
        )),
        (Operand::Resource, path) => subtree(&path),
        _ => Err(refused(
            "`in` for something else than the resource",
            Some(" in "),
        )),
    }
}

fn is(inner: &Value) -> Result<Condition, Refused> {
    let known = match single(&inner["left"])? {
        ("Var", variable) if variable == "resource" => "Path",
        ("Var", variable) if variable == "principal" => "Agent",
        _ => {
            return Err(refused(
                "`is` for something else than the resource",
                Some(" is "),
            ));
        }
    };
    let kind = Condition::Constant(inner["entity_type"] == known);
    match inner.get("in") {
        None => Ok(kind),
        Some(path) => {
            let inside = within(&operand(&inner["left"])?, operand(path)?)?;
            Ok(Condition::All(vec![kind, inside]))
        }
    }
}

fn contains(set: Operand<'_>, item: &Operand<'_>) -> Result<Condition, Refused> {
    let Operand::Set(members) = set else {
        return Err(refused(
            "`contains` of something else than a list",
            Some("contains"),
        ));
    };
    let conditions = members.into_iter().map(|member| match (member, item) {
        (Operand::Text(text), Operand::Attribute(attribute)) => {
            named(attribute, text).map(Condition::Path)
        }
        (Operand::Entity("Role", role), Operand::Role) => of_role(role),
        _ => Err(refused("`contains` of these", Some("contains"))),
    });
    Ok(Condition::AnyOf(conditions.collect::<Result<_, _>>()?))
}

fn of_role(role: &str) -> Result<Condition, Refused> {
    [Source::Approximation, Source::Target, Source::User]
        .into_iter()
        .find(|source| source.as_str() == role)
        .map(Condition::Role)
        .ok_or_else(|| refused(format!("the role {role:?}"), Some(role)))
}

/// A name or an extension that can match at all.
fn named(attribute: &str, text: &str) -> Result<PathPattern, Refused> {
    let near = format!("{text:?}");
    let never = |why: &str| {
        Err(refused(
            format!("{near}, which never matches: {why}"),
            Some(&near),
        ))
    };
    if forerun_types::fold(text) != text {
        return never("names are compared in folded form, without case");
    }
    match attribute {
        "name" if text.contains('/') => never("a name has no slash"),
        "name" => Ok(PathPattern::Name(text.to_owned())),
        _ if text.contains(['/', '.']) => never("an extension has no dot and no slash"),
        _ => Ok(PathPattern::Extension(text.to_owned())),
    }
}

fn operand(expression: &Value) -> Result<Operand<'_>, Refused> {
    match single(expression)? {
        ("Var", variable) if variable == "resource" => Ok(Operand::Resource),
        ("Var", variable) => Err(refused(format!("`{}`", plain(variable)), variable.as_str())),
        ("Value", value) => literal(value),
        ("Set", Value::Array(items)) => Ok(Operand::Set(
            items.iter().map(operand).collect::<Result<_, _>>()?,
        )),
        (".", access) => {
            let attribute = access["attr"].as_str().unwrap_or_default();
            match (access["left"]["Var"].as_str(), attribute) {
                (Some("resource"), "name") => Ok(Operand::Attribute("name")),
                (Some("resource"), "ext") => Ok(Operand::Attribute("ext")),
                (Some("principal"), "role") => Ok(Operand::Role),
                (Some("context"), "mode") => Ok(Operand::Mode),
                (Some("context"), "unprotected") => Ok(Operand::Flag(Condition::Unprotected)),
                (Some("context"), "speculative") => Ok(Operand::Flag(Condition::Speculative)),
                _ => Err(refused(
                    format!("`.{attribute}`"),
                    Some(&format!(".{attribute}")),
                )),
            }
        }
        (operator, _) => Err(refused(format!("`{operator}` as a value"), Some(operator))),
    }
}

fn literal(value: &Value) -> Result<Operand<'_>, Refused> {
    match value {
        Value::Bool(flag) => Ok(Operand::Bool(*flag)),
        Value::String(text) => Ok(Operand::Text(text)),
        Value::Array(items) => Ok(Operand::Set(
            items.iter().map(literal).collect::<Result<_, _>>()?,
        )),
        other => match entity(&other["__entity"]) {
            Some((kind, id)) => Ok(Operand::Entity(kind, id)),
            None => Err(refused(format!("the value {other}"), None)),
        },
    }
}

/// The one operator of an expression, and what it is applied to.
fn single(expression: &Value) -> Result<(&str, &Value), Refused> {
    let members = expression.as_object().filter(|members| members.len() == 1);
    match members.and_then(|members| members.iter().next()) {
        Some((operator, inner)) => Ok((operator, inner)),
        None => Err(refused("an expression of this kind", None)),
    }
}

fn plain(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn refused(what: impl Into<String>, near: Option<&str>) -> Refused {
    Refused {
        what: what.into(),
        near: near.map(str::to_owned),
    }
}
