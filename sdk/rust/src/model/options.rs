//! What can be configured about calls of models: limits, times, prices.

use forerun_types::Usage;
use serde::Deserialize;
use std::time::Duration;

/// How a model is called. What is not said is chosen.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallOptions {
    /// Most tokens of one answer: stops a model that never ends. A protocol that can do
    /// without is not told one that is not set.
    pub max_output_tokens: Option<u32>,
    /// How random answers are. Some models take none, so it is sent only if it is set.
    pub temperature: Option<f64>,
    /// How long connecting may take: stops waiting for a server that is not there.
    pub connect_ms: u64,
    /// How long the first byte of an answer may take: stops waiting for a server that
    /// took the request and forgot it. Less than the daemon waits (`agents.idle_ms`), so
    /// that the reason is known.
    pub first_byte_ms: u64,
    /// How long a stream may be silent after that: stops waiting for one that hangs.
    pub idle_ms: u64,
}

impl Default for CallOptions {
    fn default() -> Self {
        CallOptions {
            max_output_tokens: None,
            temperature: None,
            connect_ms: 10_000,
            first_byte_ms: 100_000,
            idle_ms: 60_000,
        }
    }
}

impl CallOptions {
    pub(super) fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    pub(super) fn first_byte(&self) -> Duration {
        Duration::from_millis(self.first_byte_ms)
    }

    pub(super) fn idle(&self) -> Duration {
        Duration::from_millis(self.idle_ms)
    }
}

/// What a model costs, in a currency of your choice for a million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Prompt tokens.
    pub input: f64,
    /// Generated tokens.
    pub output: f64,
    /// Prompt tokens that were read from a cache; as `input` if it is not said.
    pub cached_input: Option<f64>,
    /// Prompt tokens that were written to a cache; as `input` if it is not said.
    pub cache_write: Option<f64>,
}

/// The tokens of a call, as far as they have prices of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    /// All of the prompt.
    pub(super) input: u64,
    /// Those of `input` that were read from a cache.
    pub(super) cached: u64,
    /// Those of `input` that were written to a cache.
    pub(super) written: u64,
    pub(super) output: u64,
}

impl Tokens {
    pub(super) fn usage(&self, price: Option<&Price>) -> Usage {
        Usage {
            input_tokens: self.input,
            cached_input_tokens: self.cached,
            output_tokens: self.output,
            cost_micros: price.map_or(0, |price| self.cost_micros(price)),
        }
    }

    /// A price for a million tokens is what one token costs in millionths.
    fn cost_micros(&self, price: &Price) -> u64 {
        let plain = self
            .input
            .saturating_sub(self.cached.saturating_add(self.written));
        let cost = plain as f64 * price.input
            + self.cached as f64 * price.cached_input.unwrap_or(price.input)
            + self.written as f64 * price.cache_write.unwrap_or(price.input)
            + self.output as f64 * price.output;
        // Rounds, and saturates: a price that is no number costs nothing.
        cost.round() as u64
    }
}

/// What two calls for one step used together.
pub(super) fn add(one: Usage, other: Usage) -> Usage {
    Usage {
        input_tokens: one.input_tokens.saturating_add(other.input_tokens),
        cached_input_tokens: one
            .cached_input_tokens
            .saturating_add(other.cached_input_tokens),
        output_tokens: one.output_tokens.saturating_add(other.output_tokens),
        cost_micros: one.cost_micros.saturating_add(other.cost_micros),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_token_has_its_price() {
        let tokens = Tokens {
            input: 1_000,
            cached: 600,
            written: 100,
            output: 50,
        };
        let mut price = Price {
            input: 2.0,
            output: 8.0,
            cached_input: Some(0.5),
            cache_write: Some(2.5),
        };
        assert_eq!(
            tokens.usage(Some(&price)).cost_micros,
            600 + 300 + 250 + 400
        );
        price.cached_input = None;
        price.cache_write = None;
        assert_eq!(tokens.usage(Some(&price)).cost_micros, 2_000 + 400);
        assert_eq!(tokens.usage(None).cost_micros, 0);
    }
}
