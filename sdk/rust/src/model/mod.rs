//! Agents that are models behind OpenAI's or Anthropic's protocol. `README.md` beside this
//! file says how to use and configure them.
//!
//! ```no_run
//! # use forerun_sdk::{Forerun, Result, Role, model::{ModelAgent, ModelOptions}};
//! # async fn run() -> Result<()> {
//! let options = ModelOptions::default();
//! let fast = ModelAgent::from_env(&"openai:gpt-4.1-mini".parse()?, &options)?;
//! let slow = ModelAgent::from_env(&"openai+cot:gpt-4.1".parse()?, &options)?;
//! let session = Forerun::connect().await?.session("./site").task("…").open().await?;
//! session.attach(Role::Approximation, fast).await?;
//! session.attach(Role::Target, slow).await?;
//! # Ok(()) }
//! ```
//!
//! ```text
//! Request ─▶ prompt ─▶ plan: one to eight questions ─▶ http ─▶ server
//!            (text)    (style)      │                    │
//! Candidate ◀───────────────────────┴─ openai, anthropic ◀─ sse ◀─ bytes
//! ```
//!
//! **Invariants**
//! - An answer depends on the prefix, and on nothing else that this side knows: no history
//!   of calls, and no tool turns of a model's own, which another model could not continue.
//! - Keys come from the environment, and are in no error, log or `Debug`.
//! - Nothing that a server sends is believed: it has limits, and is checked, before it
//!   becomes a candidate; whatever it is instead is an [`AgentError`] that says why.
//! - Dropping a call closes its connection.

mod anthropic;
mod error;
mod http;
mod key;
mod openai;
mod options;
mod plan;
mod prompt;
mod spec;
mod sse;
mod turn;

pub use error::ModelError;
pub use options::{CallOptions, Price};
pub use spec::{ModelSpec, Protocol, Style, isp_setting};

use crate::agent::{Agent, AgentError, Candidate, Request};
use async_trait::async_trait;
use http::Server;
use key::ApiKey;
use std::collections::BTreeMap;

/// How models are called, and what they cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelOptions {
    /// Limits and times of a call.
    pub call: CallOptions,
    /// Prices by the model's name. What has none counts tokens, and costs nothing.
    pub prices: BTreeMap<String, Price>,
}

/// A model as an agent.
#[derive(Debug)]
pub struct ModelAgent {
    spec: ModelSpec,
    server: Server,
    price: Option<Price>,
}

impl ModelAgent {
    /// A model whose key, and whose server if `spec` names none, are said by the
    /// environment: `OPENAI_API_KEY` and `OPENAI_BASE_URL`, `ANTHROPIC_API_KEY` and
    /// `ANTHROPIC_BASE_URL`. A server that is not the provider's own may do without a key.
    ///
    /// # Errors
    /// If there is no key, or it or the URL can not be used.
    pub fn from_env(spec: &ModelSpec, options: &ModelOptions) -> Result<ModelAgent, ModelError> {
        ModelAgent::from_variables(spec, options, |name| std::env::var(name).ok())
    }

    /// The same, with another environment.
    ///
    /// # Errors
    /// As [`ModelAgent::from_env`].
    pub fn from_variables(
        spec: &ModelSpec,
        options: &ModelOptions,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<ModelAgent, ModelError> {
        let protocol = spec.protocol;
        let set = |name: &str| {
            let value = variable(name)?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let named = spec
            .base_url
            .clone()
            .or_else(|| set(protocol.base_url_variable()));
        let key_variable = protocol.key_variable();
        let key = match set(key_variable) {
            Some(text) => Some(ApiKey::new(&text).ok_or(ModelError::KeyInvalid {
                variable: key_variable,
            })?),
            None if named.is_none() => {
                return Err(ModelError::KeyMissing {
                    variable: key_variable,
                });
            }
            None => None,
        };
        let base_url = named.as_deref().unwrap_or(protocol.base_url());
        Ok(ModelAgent {
            spec: spec.clone(),
            server: Server::new(protocol, &spec.model, base_url, key, options.call.clone())?,
            price: options.prices.get(&spec.model).copied(),
        })
    }
}

#[async_trait]
impl Agent for ModelAgent {
    async fn propose(&self, request: &Request) -> Result<Vec<Candidate>, AgentError> {
        let step = plan::Step::new(&self.server, request, self.price.as_ref());
        step.propose(self.spec.style)
            .await
            .map_err(|error| self.server.without_key(error.into()))
    }

    fn model(&self) -> String {
        self.spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-very-secret";

    fn agent(spec: &str, variables: &[(&str, &str)]) -> Result<ModelAgent, ModelError> {
        let spec = spec.parse().expect("valid");
        ModelAgent::from_variables(&spec, &ModelOptions::default(), |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_a_key_the_error_names_the_variable_and_what_to_do() {
        for (spec, variable) in [
            ("openai:gpt", "OPENAI_API_KEY"),
            ("anthropic:claude", "ANTHROPIC_API_KEY"),
        ] {
            let error = agent(spec, &[(variable, "  ")]).expect_err("no key");
            assert_eq!(error.code(), "MODEL_KEY_MISSING");
            assert!(error.to_string().contains(variable));
            assert!(
                error
                    .hint()
                    .is_some_and(|hint| hint.contains("script:FILE"))
            );
        }
    }

    #[test]
    fn a_server_of_ones_own_needs_no_key() {
        agent("openai:m@http://localhost:1/v1", &[]).expect("named by the specification");
        let variables = [("ANTHROPIC_BASE_URL", "http://localhost:1")];
        agent("anthropic:m", &variables).expect("named by the environment");
    }

    #[test]
    fn a_key_is_shown_nowhere() {
        let shown = format!(
            "{:?}",
            agent("openai:gpt@http://[::1]/v1", &[("OPENAI_API_KEY", KEY)])
        );
        assert!(
            shown.starts_with("Ok(") && shown.contains("ApiKey"),
            "{shown}"
        );
        assert!(!shown.contains(KEY), "{shown}");
        let broken = format!("{KEY}\nsecond line");
        let error = agent("openai:gpt", &[("OPENAI_API_KEY", &broken)]).expect_err("two lines");
        assert!(!format!("{error:?} {error} {:?}", error.hint()).contains(KEY));
    }
}
