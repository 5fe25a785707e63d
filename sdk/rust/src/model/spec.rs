//! What names a model: `openai:MODEL`, `anthropic+react:MODEL@https://host/v1`.

use super::error::ModelError;
use std::fmt;
use std::str::FromStr;

/// The wire protocol of a model's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// OpenAI's chat completions, which most servers speak.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
}

impl Protocol {
    /// Every protocol, in the order in which defaults are looked for.
    pub const ALL: [Protocol; 2] = [Protocol::OpenAi, Protocol::Anthropic];

    /// As a specification spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::OpenAi => "openai",
            Protocol::Anthropic => "anthropic",
        }
    }

    /// The variable of the environment that has the key.
    pub fn key_variable(self) -> &'static str {
        match self {
            Protocol::OpenAi => "OPENAI_API_KEY",
            Protocol::Anthropic => "ANTHROPIC_API_KEY",
        }
    }

    /// The variable of the environment that has the base URL, if it is another one.
    pub fn base_url_variable(self) -> &'static str {
        match self {
            Protocol::OpenAi => "OPENAI_BASE_URL",
            Protocol::Anthropic => "ANTHROPIC_BASE_URL",
        }
    }

    /// The provider's own server, with the part of the path that clients of the provider
    /// expect in a base URL.
    pub(super) fn base_url(self) -> &'static str {
        match self {
            Protocol::OpenAi => "https://api.openai.com/v1",
            Protocol::Anthropic => "https://api.anthropic.com",
        }
    }

    /// What is asked, below the base URL.
    pub(super) fn path(self) -> &'static str {
        match self {
            Protocol::OpenAi => "chat/completions",
            Protocol::Anthropic => "v1/messages",
        }
    }
}

/// How a model is led to its next step: the styles of *Interactive Speculative Planning*,
/// section 5.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Style {
    /// One call, which gives the step and nothing else.
    #[default]
    Direct,
    /// Chain of thought: one call, which reasons first.
    Cot,
    /// ReAct: one call that reasons, a second that acts.
    React,
    /// Multi-agent debate: two agents, two rounds, four calls.
    Debate,
}

impl Style {
    /// As a specification spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Style::Direct => "direct",
            Style::Cot => "cot",
            Style::React => "react",
            Style::Debate => "debate",
        }
    }
}

/// Names a model: `PROTOCOL[+STYLE]:MODEL[@BASE_URL]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// How its server is spoken to.
    pub protocol: Protocol,
    /// How it is led to its next step.
    pub style: Style,
    /// The model, as its server calls it.
    pub model: String,
    /// The server, if it is named here and not by the environment.
    pub base_url: Option<String>,
}

impl ModelSpec {
    /// Whether this is to name a model, so that a mistake in it is one of this kind.
    pub fn is_meant_by(spec: &str) -> bool {
        let kind = spec.split([':', '+']).next().unwrap_or_default();
        Protocol::ALL
            .iter()
            .any(|protocol| protocol.as_str() == kind)
    }
}

impl FromStr for ModelSpec {
    type Err = ModelError;
    fn from_str(spec: &str) -> Result<ModelSpec, ModelError> {
        let wrong = |problem: String| ModelError::Spec {
            spec: spec.to_owned(),
            problem,
        };
        let (kind, rest) = spec
            .split_once(':')
            .ok_or_else(|| wrong("there is no \":\"".to_owned()))?;
        let (protocol, style) = kind.split_once('+').unwrap_or((kind, "direct"));
        let protocol = Protocol::ALL
            .into_iter()
            .find(|known| known.as_str() == protocol)
            .ok_or_else(|| wrong(format!("{protocol:?} is no protocol")))?;
        let style = [Style::Direct, Style::Cot, Style::React, Style::Debate]
            .into_iter()
            .find(|known| known.as_str() == style)
            .ok_or_else(|| wrong(format!("{style:?} is no planning style")))?;
        // Names of models may have an "@" themselves.
        let at = ["@https://", "@http://"]
            .iter()
            .filter_map(|at| rest.find(at))
            .min();
        let (model, base_url) = match at {
            Some(at) => (&rest[..at], Some(rest[at + 1..].to_owned())),
            None => (rest, None),
        };
        if model.is_empty() || model.chars().any(char::is_whitespace) {
            return Err(wrong(
                "the model's name is empty, or has white space".to_owned(),
            ));
        }
        Ok(ModelSpec {
            protocol,
            style,
            model: model.to_owned(),
            base_url,
        })
    }
}

impl fmt::Display for ModelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol.as_str())?;
        if self.style != Style::Direct {
            write!(f, "+{}", self.style.as_str())?;
        }
        write!(f, ":{}", self.model)?;
        match &self.base_url {
            Some(base_url) => write!(f, "@{base_url}"),
            None => Ok(()),
        }
    }
}

/// A setting of *Interactive Speculative Planning*, section 5.2: the specifications of its
/// approximation and its target agent. `None` if there is no such setting.
pub fn isp_setting(name: &str) -> Option<(ModelSpec, ModelSpec)> {
    let spec = |style, model: &str| ModelSpec {
        protocol: Protocol::OpenAi,
        style,
        model: model.to_owned(),
        base_url: None,
    };
    let (large, small) = ("gpt-4-turbo", "gpt-3.5-turbo");
    Some(match name {
        "isp-1" => (spec(Style::Direct, large), spec(Style::React, large)),
        "isp-2" => (spec(Style::Direct, large), spec(Style::Cot, large)),
        "isp-3" => (spec(Style::Cot, large), spec(Style::Debate, large)),
        "isp-4" => (spec(Style::Direct, small), spec(Style::Direct, large)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_is_read_and_written() {
        for (text, model, base_url) in [
            ("openai:gpt-4.1", "gpt-4.1", None),
            ("anthropic+react:claude@20240620", "claude@20240620", None),
            (
                "openai+debate:org/m:7b@http://localhost:8080/v1",
                "org/m:7b",
                Some("http://localhost:8080/v1"),
            ),
        ] {
            let spec: ModelSpec = text.parse().expect(text);
            assert_eq!(spec.model, model);
            assert_eq!(spec.base_url.as_deref(), base_url);
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn what_names_no_model_says_why_and_what_would() {
        for (text, says) in [
            ("openai", "no \":\""),
            ("openai:", "empty"),
            ("openai:two words", "white space"),
            ("openai+tot:gpt", "no planning style"),
            ("gemini:x", "no protocol"),
        ] {
            let error = text.parse::<ModelSpec>().expect_err(text);
            assert!(error.to_string().contains(says), "{error}");
            assert!(
                error
                    .hint()
                    .is_some_and(|hint| hint.contains("openai:MODEL"))
            );
        }
    }

    #[test]
    fn the_settings_are_those_of_the_paper() {
        let pairs: Vec<String> = ["isp-1", "isp-2", "isp-3", "isp-4"]
            .iter()
            .map(|name| isp_setting(name).expect("one of four"))
            .map(|(a, t)| format!("{a} {t}"))
            .collect();
        assert_eq!(
            pairs,
            [
                "openai:gpt-4-turbo openai+react:gpt-4-turbo",
                "openai:gpt-4-turbo openai+cot:gpt-4-turbo",
                "openai+cot:gpt-4-turbo openai+debate:gpt-4-turbo",
                "openai:gpt-3.5-turbo openai:gpt-4-turbo",
            ]
        );
        assert_eq!(isp_setting("isp-5"), None);
    }
}
