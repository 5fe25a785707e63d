//! The one place where wire types become `forerun-types`, and back.
//!
//! Towards the wire everything is `From`; from the wire everything is `TryFrom`, with an
//! error that names the field by its path, such as
//! `events[3].answer.action.arguments: expected value at line 1 column 1`.

mod act;
mod action;
mod event;
mod limits;
mod path;
mod prefix;
mod tool;

pub use limits::limits_over;
pub use prefix::{Appended, Seen, entries_to_wire, prefix_to_wire, seen_from_wire};

use std::fmt::Display;
use std::str::FromStr;

/// A wire value that is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct ConversionError {
    path: String,
    problem: String,
}

impl ConversionError {
    /// `field` has a problem, a phrase that follows "field: ".
    pub fn new(field: &str, problem: impl Display) -> ConversionError {
        ConversionError {
            path: field.to_owned(),
            problem: problem.to_string(),
        }
    }

    /// The field by its path from the message that was converted.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// The same, seen from the message that has this one in `field`.
    pub fn inside(self, field: &str) -> ConversionError {
        let path = match self.path.as_str() {
            "" => field.to_owned(),
            path if path.starts_with('[') => format!("{field}{path}"),
            path => format!("{field}.{path}"),
        };
        ConversionError { path, ..self }
    }

    fn not_set(field: &str) -> ConversionError {
        ConversionError::new(field, "is not set")
    }
}

/// Names the field in which a conversion failed.
pub trait At<T> {
    /// The same result; its error is seen from the message that has the value in `field`.
    ///
    /// # Errors
    /// The error that was there before, with a longer path.
    fn at(self, field: &str) -> Result<T, ConversionError>;
}

impl<T> At<T> for Result<T, ConversionError> {
    fn at(self, field: &str) -> Result<T, ConversionError> {
        self.map_err(|error| error.inside(field))
    }
}

/// An id, a digest or anything else that is a text on the wire.
///
/// # Errors
/// If the text is none of the kind.
pub fn text<T>(field: &str, text: &str) -> Result<T, ConversionError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse()
        .map_err(|problem| ConversionError::new(field, problem))
}

/// As [`text`], for a field that need not be set.
///
/// # Errors
/// If it is set, and none of the kind.
pub fn optional_text<T>(field: &str, value: Option<&str>) -> Result<Option<T>, ConversionError>
where
    T: FromStr,
    T::Err: Display,
{
    value.map(|value| text(field, value)).transpose()
}

/// A message that has to be there.
///
/// # Errors
/// If it is not, or is not valid.
pub fn required<W, T>(field: &str, value: Option<W>) -> Result<T, ConversionError>
where
    T: TryFrom<W, Error = ConversionError>,
{
    let value = value.ok_or_else(|| ConversionError::not_set(field))?;
    T::try_from(value).at(field)
}

/// Every message of a list.
///
/// # Errors
/// If one is not valid; the path has its index.
pub fn list<W, T>(field: &str, values: Vec<W>) -> Result<Vec<T>, ConversionError>
where
    T: TryFrom<W, Error = ConversionError>,
{
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| T::try_from(value).at(&format!("{field}[{index}]")))
        .collect()
}

/// The value of an enumeration, `W` on the wire. Zero, "unspecified", is not valid.
///
/// # Errors
/// If it is zero, or a number that this version does not know.
pub fn enumeration<W, T>(field: &str, number: i32) -> Result<T, ConversionError>
where
    W: TryFrom<i32>,
    T: TryFrom<W, Error = ConversionError>,
{
    let value = W::try_from(number)
        .map_err(|_| ConversionError::new(field, format_args!("unknown value {number}")))?;
    T::try_from(value).at(field)
}

/// Both directions of an enumeration that has the same variants on both sides.
macro_rules! same_variants {
    ($ours:path, $wire:path: $($variant:ident)*) => {
        impl From<$ours> for $wire {
            fn from(value: $ours) -> $wire {
                match value {
                    $(<$ours>::$variant => <$wire>::$variant,)*
                }
            }
        }

        impl TryFrom<$wire> for $ours {
            type Error = ConversionError;
            fn try_from(value: $wire) -> Result<$ours, ConversionError> {
                match value {
                    <$wire>::Unspecified => Err(ConversionError::not_set("")),
                    $(<$wire>::$variant => Ok(<$ours>::$variant),)*
                }
            }
        }
    };
}
use same_variants;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1;
    use forerun_types::{Event, Role};

    #[test]
    fn an_error_names_the_field_by_its_path() {
        let event = v1::Event {
            sequence: 7,
            at_us: 1,
            kind: Some(v1::event::Kind::Answer(v1::event::Answer {
                step: 3,
                node: "node_1".to_owned(),
                source: v1::Source::Target.into(),
                action: Some(v1::Action {
                    tool: "read_file".to_owned(),
                    arguments: "{".to_owned(),
                }),
                matched: true,
                corrects: None,
            })),
        };
        let events = vec![
            v1::Event {
                kind: None,
                ..event.clone()
            },
            event,
        ];
        let error = list::<_, Event>("events", events[1..].to_vec()).expect_err("no JSON");
        assert_eq!(error.path(), "events[0].answer.action.arguments");
        assert!(error.problem().contains("EOF"), "{error}");
        let error = list::<_, Event>("events", events).expect_err("no kind");
        assert_eq!(error.to_string(), "events[0].kind: is not set");
    }

    #[test]
    fn an_enumeration_that_is_zero_or_unknown_is_refused() {
        let error = enumeration::<v1::Role, Role>("role", 0).expect_err("zero");
        assert_eq!(error.to_string(), "role: is not set");
        let error = enumeration::<v1::Role, Role>("role", 99).expect_err("unknown");
        assert_eq!(error.to_string(), "role: unknown value 99");
    }
}
