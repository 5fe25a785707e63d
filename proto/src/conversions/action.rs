//! Roles, sources, actions, observations, usage.

use super::{ConversionError, enumeration, same_variants};
use crate::v1;
use forerun_types::{
    Action, CanonicalJson, JsonError, LimitName, Observation, ObservationStatus, Role, Source,
    Usage,
};

same_variants!(Role, v1::Role: Approximation Target);
same_variants!(Source, v1::Source: Approximation Target User);
same_variants!(LimitName, v1::LimitName: Memory Cpu WallTime Delta Handles Trap Internal);

impl From<Action> for v1::Action {
    fn from(action: Action) -> v1::Action {
        v1::Action {
            tool: action.tool,
            arguments: action.arguments.into(),
        }
    }
}

impl TryFrom<v1::Action> for Action {
    type Error = ConversionError;
    fn try_from(action: v1::Action) -> Result<Action, ConversionError> {
        Action::parse(&action.tool, &action.arguments).map_err(|error| {
            let field = match error {
                JsonError::ToolName { .. } => "tool",
                _ => "arguments",
            };
            ConversionError::new(field, error)
        })
    }
}

impl From<Observation> for v1::Observation {
    fn from(observation: Observation) -> v1::Observation {
        use ObservationStatus as Ours;
        use v1::ObservationStatus as Wire;
        let (status, limit) = match observation.status {
            Ours::Success => (Wire::Success, None),
            Ours::ToolError => (Wire::ToolError, None),
            Ours::Invalid => (Wire::Invalid, None),
            Ours::Denied => (Wire::Denied, None),
            Ours::Stopped(limit) => (Wire::Stopped, Some(limit)),
        };
        v1::Observation {
            status: status.into(),
            limit: limit
                .map_or(v1::LimitName::Unspecified, v1::LimitName::from)
                .into(),
            text: observation.text,
            structured: observation.structured,
            truncated: observation.truncated,
        }
    }
}

impl TryFrom<v1::Observation> for Observation {
    type Error = ConversionError;
    fn try_from(observation: v1::Observation) -> Result<Observation, ConversionError> {
        use ObservationStatus as Ours;
        use v1::ObservationStatus as Wire;
        let status = match Wire::try_from(observation.status) {
            Ok(Wire::Success) => Ours::Success,
            Ok(Wire::ToolError) => Ours::ToolError,
            Ok(Wire::Invalid) => Ours::Invalid,
            Ok(Wire::Denied) => Ours::Denied,
            Ok(Wire::Stopped) => {
                Ours::Stopped(enumeration::<v1::LimitName, _>("limit", observation.limit)?)
            }
            Ok(Wire::Unspecified) => return Err(ConversionError::not_set("status")),
            Err(_) => {
                return Err(ConversionError::new(
                    "status",
                    format_args!("unknown value {}", observation.status),
                ));
            }
        };
        if let Some(text) = &observation.structured {
            // Agents are told that this is JSON; the daemon is believed about its form.
            CanonicalJson::parse(text)
                .map_err(|problem| ConversionError::new("structured", problem))?;
        }
        Ok(Observation {
            status,
            text: observation.text,
            structured: observation.structured,
            truncated: observation.truncated,
        })
    }
}

impl From<Usage> for v1::Usage {
    fn from(usage: Usage) -> v1::Usage {
        v1::Usage {
            input_tokens: usage.input_tokens,
            cached_input_tokens: usage.cached_input_tokens,
            output_tokens: usage.output_tokens,
            cost_micros: usage.cost_micros,
        }
    }
}

impl From<v1::Usage> for Usage {
    fn from(usage: v1::Usage) -> Usage {
        Usage {
            input_tokens: usage.input_tokens,
            cached_input_tokens: usage.cached_input_tokens,
            output_tokens: usage.output_tokens,
            cost_micros: usage.cost_micros,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status() -> impl Strategy<Value = ObservationStatus> {
        prop_oneof![
            Just(ObservationStatus::Success),
            Just(ObservationStatus::ToolError),
            Just(ObservationStatus::Invalid),
            Just(ObservationStatus::Denied),
            prop::sample::select(vec![
                LimitName::Memory,
                LimitName::Cpu,
                LimitName::WallTime,
                LimitName::Delta,
                LimitName::Handles,
                LimitName::Trap,
                LimitName::Internal,
            ])
            .prop_map(ObservationStatus::Stopped),
        ]
    }

    proptest! {
        #[test]
        fn an_observation_comes_back_unchanged(
            status in status(), text in ".*", structured in prop::option::of(any::<i64>()), truncated: bool
        ) {
            let structured = structured.map(|number| format!("{{\"n\":{number}}}"));
            let observation = Observation { status, text, structured, truncated };
            let wire = v1::Observation::from(observation.clone());
            prop_assert_eq!(Observation::try_from(wire), Ok(observation));
        }

        #[test]
        fn usage_comes_back_unchanged(
            input_tokens: u64, cached_input_tokens: u64, output_tokens: u64, cost_micros: u64
        ) {
            let usage = Usage { input_tokens, cached_input_tokens, output_tokens, cost_micros };
            prop_assert_eq!(Usage::from(v1::Usage::from(usage)), usage);
        }
    }

    #[test]
    fn an_action_is_canonical_after_the_wire() {
        let wire = v1::Action {
            tool: "move".to_owned(),
            arguments: r#"{"to": "b", "from": "a"}"#.to_owned(),
        };
        let action = Action::try_from(wire).expect("valid");
        assert_eq!(action.arguments.as_str(), r#"{"from":"a","to":"b"}"#);
        assert_eq!(
            Action::try_from(v1::Action::from(action.clone())),
            Ok(action)
        );
    }

    #[test]
    fn an_action_without_a_tool_names_that_field() {
        let error = Action::try_from(v1::Action::default()).expect_err("no tool");
        assert_eq!(error.path(), "tool");
    }

    #[test]
    fn a_stopped_observation_says_which_limit() {
        let mut wire = v1::Observation::from(Observation::new(
            ObservationStatus::Stopped(LimitName::Cpu),
            "stopped",
        ));
        wire.limit = 0;
        let error = Observation::try_from(wire).expect_err("no limit");
        assert_eq!(error.to_string(), "limit: is not set");
    }
}
