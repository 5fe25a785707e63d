//! What a question tells policies: who asks for what, in values that borrow from the
//! request. Cedar's own values are made from them only if Cedar has to be asked.
//!
//! Never evaluates anything, and knows no policy.

use crate::paths::uid;
use cedar_policy::{Context, RestrictedExpression};
use forerun_types::Source;
use std::borrow::Cow;

/// A value of Cedar's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fact<'a> {
    /// `Bool`.
    Flag(bool),
    /// `Long`.
    Whole(i64),
    /// `String`.
    Text(Cow<'a, str>),
    /// An entity: its type and its id.
    Entity(Cow<'a, str>, Cow<'a, str>),
    /// `Set`.
    Set(Vec<Fact<'a>>),
    /// A record. No name is there twice.
    Record(Fields<'a>),
}

/// The members of a record, or the attributes of an entity.
pub(crate) type Fields<'a> = Vec<(Cow<'a, str>, Fact<'a>)>;

/// One question, but for the mode, which [`Question::in_mode`] sets.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// The name of the action.
    pub(crate) action: &'a str,
    pub(crate) principal: Fact<'a>,
    /// The attributes of the principal.
    pub(crate) agent: [(Cow<'a, str>, Fact<'a>); 1],
    pub(crate) resource: Fact<'a>,
    /// The attributes of the resource. May lack some: Cedar is asked for those.
    pub(crate) attributes: &'a [(Cow<'a, str>, Fact<'a>)],
    /// The context. Its first member is the mode.
    pub(crate) context: Fields<'a>,
}

impl<'a> Question<'a> {
    /// A question of an agent about a resource, in the mode `run`.
    pub(crate) fn new(
        principal: Source,
        action: &'a str,
        resource: Fact<'a>,
        attributes: &'a [(Cow<'a, str>, Fact<'a>)],
        context: impl IntoIterator<Item = (&'a str, Fact<'a>)>,
    ) -> Question<'a> {
        let name = principal.as_str();
        let context = context.into_iter().map(|(name, fact)| (name.into(), fact));
        Question {
            action,
            principal: Fact::entity("Agent", name),
            agent: [("role".into(), Fact::entity("Role", name))],
            resource,
            attributes,
            context: std::iter::once(("mode".into(), Fact::entity("Mode", "run")))
                .chain(context)
                .collect(),
        }
    }

    /// Asks for another mode.
    pub(crate) fn in_mode(&mut self, mode: &'static str) {
        self.context[0].1 = Fact::entity("Mode", mode);
    }

    /// The context as Cedar's.
    pub(crate) fn cedar_context(&self) -> Result<Context, String> {
        let context = self.context.iter();
        let context = context.map(|(name, fact)| (name.to_string(), fact.to_cedar()));
        Context::from_pairs(context).map_err(|error| error.to_string())
    }
}

impl<'a> Fact<'a> {
    pub(crate) fn entity(kind: &'a str, id: &'a str) -> Fact<'a> {
        Fact::Entity(kind.into(), id.into())
    }

    /// A number of Cedar's; what is larger than these becomes the largest.
    pub(crate) fn count(number: u64) -> Fact<'a> {
        Fact::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// The value as Cedar's.
    pub(crate) fn to_cedar(&self) -> RestrictedExpression {
        match self {
            Fact::Flag(flag) => RestrictedExpression::new_bool(*flag),
            Fact::Whole(number) => RestrictedExpression::new_long(*number),
            Fact::Text(text) => RestrictedExpression::new_string(text.to_string()),
            Fact::Entity(kind, id) => RestrictedExpression::new_entity_uid(uid(kind, id)),
            Fact::Set(items) => RestrictedExpression::new_set(items.iter().map(Fact::to_cedar)),
            Fact::Record(members) => {
                let members = members.iter();
                let members = members.map(|(name, fact)| (name.to_string(), fact.to_cedar()));
                RestrictedExpression::new_record(members)
                    .expect("the names of a record are distinct")
            }
        }
    }
}

/// The value of a name.
pub(crate) fn field<'f, 'a>(
    fields: &'f [(Cow<'a, str>, Fact<'a>)],
    name: &str,
) -> Option<&'f Fact<'a>> {
    let found = fields.iter().find(|(known, _)| known == name);
    found.map(|(_, fact)| fact)
}
