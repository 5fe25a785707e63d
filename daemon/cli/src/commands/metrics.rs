//! The eleven metrics of *Interactive Speculative Planning* (section 5.3) over sessions, which
//! are the paper's tasks. Tokens are those that agents generated in answers, whether they were
//! used or not; what a cancelled call had generated is known to its provider only.

use crate::output::Output;
use forerun_sdk::SessionInfo;

/// Means over sessions, and least values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Metrics {
    sessions: usize,
    /// TT: seconds from opening to the end of the plan.
    time: Spread,
    /// ST: seconds a step.
    step_time: Spread,
    /// TO: generated tokens.
    tokens: Spread,
    /// SO: generated tokens a step.
    step_tokens: Spread,
    /// MC: most calls of agents in flight at once.
    concurrent: Spread,
    /// Cost, in the currency of the price table.
    cost: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    mean: f64,
    least: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Spread {
        Spread {
            mean: values.iter().sum::<f64>() / values.len() as f64,
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
        }
    }
}

impl Metrics {
    /// The metrics of sessions with at least one step; `None` if there is none.
    pub(super) fn over(sessions: &[SessionInfo]) -> Option<Metrics> {
        let with_steps = sessions.iter().filter(|info| info.counts.verified > 0);
        let sessions: Vec<_> = with_steps.collect();
        if sessions.is_empty() {
            return None;
        }
        let spread = |value: &dyn Fn(&SessionInfo) -> f64| {
            Spread::of(&sessions.iter().map(|info| value(info)).collect::<Vec<_>>())
        };
        let time = |info: &SessionInfo| info.timings.elapsed.as_secs_f64();
        let steps = |info: &SessionInfo| f64::from(info.counts.verified);
        let tokens = |info: &SessionInfo| {
            let usages = [info.approximation_usage, info.target_usage];
            usages.map(|usage| usage.output_tokens as f64).iter().sum()
        };
        let cost = |info: &SessionInfo| {
            let usages = [info.approximation_usage, info.target_usage];
            usages
                .map(|usage| usage.cost_micros as f64 / 1e6)
                .iter()
                .sum()
        };
        Some(Metrics {
            sessions: sessions.len(),
            time: spread(&time),
            step_time: spread(&|info| time(info) / steps(info)),
            tokens: spread(&tokens),
            step_tokens: spread(&|info| {
                let tokens: f64 = tokens(info);
                tokens / steps(info)
            }),
            concurrent: spread(&|info| f64::from(info.counts.peak_calls)),
            cost: spread(&cost).mean,
        })
    }

    pub(super) fn print(&self, output: Output) {
        let rows = [
            ("TT", self.time, "s"),
            ("ST", self.step_time, "s a step"),
            ("TO", self.tokens, "generated tokens"),
            ("SO", self.step_tokens, "generated tokens a step"),
            ("MC", self.concurrent, "calls at once, at most"),
        ];
        if output.json {
            let mut value = serde_json::json!({ "type": "metrics", "sessions": self.sessions });
            for (name, spread, _) in rows {
                value[name] = spread.mean.into();
                value[format!("min-{name}")] = spread.least.into();
            }
            value["cost"] = self.cost.into();
            return output.value(&value);
        }
        let sessions = match self.sessions {
            1 => "1 session".to_owned(),
            count => format!("{count} sessions"),
        };
        output.line(&format!("metrics of the paper, over {sessions}:"));
        for (name, Spread { mean, least }, unit) in rows {
            output.line(&format!(
                "  {name} {mean:.2}  min-{name} {least:.2}  {unit}"
            ));
        }
        output.line(&format!("  cost {:.6}", self.cost));
    }
}
