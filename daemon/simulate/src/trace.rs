//! Recorded runs: one JSON object a line, either one step (what the approximation agent
//! proposed, what the target did, how long both took) or one run (its calls, in order).
//!
//! **Invariant:** what is not a trace is refused with the number of its line. Nothing is
//! guessed but what a line does not say.

use forerun_types::{Action, JsonError, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;

/// Most bytes of one line; stops a file that is no trace from being held as one.
const LINE_BYTES_MAX: usize = 4 << 20;
/// Most candidates of one step; stops a line from making each step take for ever.
const CANDIDATES_MAX: usize = 64;
/// Longest time of one call: a day. Stops a wrong unit from running out of clock.
const SECONDS_MAX: f64 = 86_400.0;

/// One recorded run.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// The trace it is from.
    pub trace: String,
    /// Where it is from: the trace, and which arm of it.
    pub source: String,
    /// Which task it solved.
    pub task: String,
    /// What was done, in order.
    pub steps: Vec<Step>,
}

/// One recorded step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What the approximation agent proposed, best first.
    pub candidates: Vec<Action>,
    /// How long that took, in seconds.
    pub approximation_seconds: f64,
    /// And what it cost.
    pub approximation_usage: Usage,
    /// What the target did.
    pub target: Action,
    /// How long it thought, in seconds, if it is recorded.
    pub target_seconds: Option<f64>,
    /// And what it cost.
    pub target_usage: Usage,
    /// How long the execution took, in seconds; 0 if it is not recorded.
    pub execution_seconds: f64,
}

/// A file that is no trace.
#[derive(Debug, thiserror::Error)]
#[error("failed to read a trace: {place}")]
pub struct TraceError {
    /// The line, and the field if it is one of several.
    place: String,
    source: LineError,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is no JSON object with a trace's fields.
    #[error("no line of a trace")]
    Json(#[from] serde_json::Error),
    /// Its arguments have no canonical form.
    #[error("no action")]
    Action(#[from] JsonError),
    /// It is neither a step nor a run.
    #[error("neither `calls` nor both of `step` and `target` are there")]
    Neither,
    /// A step is missing, or said twice.
    #[error("step {found} of task {task} where step {expected} belongs")]
    Order {
        /// The task.
        task: String,
        /// What would have come.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// A time that is none.
    #[error("{0} are no seconds: 0 to {SECONDS_MAX} are")]
    Seconds(f64),
    /// A line that is too long.
    #[error("{0} bytes, more than {LINE_BYTES_MAX}")]
    Bytes(usize),
    /// A step with too many candidates.
    #[error("{0} candidates, more than {CANDIDATES_MAX}")]
    Candidates(usize),
}

impl Episode {
    /// Whether anything was proposed.
    pub fn is_proposed(&self) -> bool {
        self.steps.iter().any(|step| !step.candidates.is_empty())
    }
}

impl TraceError {
    /// Stable name of the reason, for programs.
    pub fn code(&self) -> &'static str {
        match self.source {
            LineError::Json(_) => "trace_line_invalid",
            LineError::Action(_) => "trace_action_invalid",
            LineError::Neither => "trace_line_unknown",
            LineError::Order { .. } => "trace_step_out_of_order",
            LineError::Seconds(_) => "trace_seconds_invalid",
            LineError::Bytes(_) | LineError::Candidates(_) => "trace_limit",
        }
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    trace: String,
    arm: Option<String>,
    task: Name,
    trial: Option<u64>,
    step: Option<usize>,
    #[serde(borrow)]
    approximation: Option<Approximation<'a>>,
    #[serde(borrow)]
    target: Option<Target<'a>>,
    execute: Option<Execute>,
    #[serde(borrow)]
    calls: Option<Vec<Call<'a>>>,
}

/// Tasks are numbers in some traces, and words in others.
#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Number(u64),
    Word(String),
}

#[derive(Deserialize)]
struct Call<'a> {
    tool: String,
    #[serde(borrow)]
    arguments: &'a RawValue,
}

#[derive(Deserialize)]
struct Approximation<'a> {
    #[serde(borrow)]
    candidates: Vec<Call<'a>>,
    #[serde(flatten)]
    cost: Cost,
}

#[derive(Deserialize)]
struct Target<'a> {
    #[serde(borrow)]
    action: Call<'a>,
    #[serde(flatten)]
    cost: Cost,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cost {
    seconds: Option<f64>,
    input_tokens: u64,
    output_tokens: u64,
}

#[derive(Deserialize)]
struct Execute {
    seconds: f64,
}

/// The runs that a trace's text records, in the order in which they begin.
///
/// # Errors
/// If a line is not valid.
pub fn parse(text: &str) -> Result<Vec<Episode>, TraceError> {
    let mut episodes = Episodes::default();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let at = |(field, source): (&str, LineError)| TraceError {
            place: match field {
                "" => format!("line {}", number + 1),
                field => format!("line {}, {field}", number + 1),
            },
            source,
        };
        if line.len() > LINE_BYTES_MAX {
            return Err(at(("", LineError::Bytes(line.len()))));
        }
        let line: Line = serde_json::from_str(line).map_err(|error| at(("", error.into())))?;
        episodes.add(line).map_err(at)?;
    }
    Ok(episodes.all)
}

#[derive(Default)]
struct Episodes {
    all: Vec<Episode>,
    /// Where the episode of a source, a task and a trial is.
    places: HashMap<(String, String), usize>,
}

impl Episodes {
    fn add(&mut self, line: Line) -> Result<(), (&'static str, LineError)> {
        let source = match &line.arm {
            Some(arm) => format!("{}: {arm}", line.trace),
            None => line.trace.clone(),
        };
        let task = match &line.task {
            Name::Number(number) => number.to_string(),
            Name::Word(word) => word.clone(),
        };
        // Trials of a task are runs of their own.
        let name = match line.trial {
            Some(trial) => format!("{task}.{trial}"),
            None => task.clone(),
        };
        let place = *self
            .places
            .entry((source.clone(), name))
            .or_insert_with(|| {
                self.all.push(Episode {
                    trace: line.trace.clone(),
                    source,
                    task: task.clone(),
                    steps: Vec::new(),
                });
                self.all.len() - 1
            });
        let steps = &mut self.all[place].steps;
        match (line.calls, line.step, line.target) {
            (Some(calls), None, None) => {
                for call in calls {
                    let target = call.action().map_err(|error| ("calls", error))?;
                    steps.push(Step::of(target));
                }
            }
            (None, Some(found), Some(target)) => {
                let expected = steps.len();
                if found != expected {
                    let order = LineError::Order {
                        task,
                        expected,
                        found,
                    };
                    return Err(("step", order));
                }
                let step = step(target, line.approximation, line.execute)?;
                steps.push(step);
            }
            _ => return Err(("", LineError::Neither)),
        }
        Ok(())
    }
}

fn step(
    target: Target,
    approximation: Option<Approximation>,
    execute: Option<Execute>,
) -> Result<Step, (&'static str, LineError)> {
    let action = target.action.action().map_err(|error| ("target", error))?;
    let mut step = Step::of(action);
    step.target_usage = target.cost.usage();
    step.target_seconds = match target.cost.seconds {
        Some(found) => Some(seconds(found).map_err(|error| ("target", error))?),
        None => None,
    };
    if let Some(approximation) = approximation {
        let at = |error| ("approximation", error);
        let count = approximation.candidates.len();
        if count > CANDIDATES_MAX {
            return Err(at(LineError::Candidates(count)));
        }
        let found = approximation.cost.seconds.unwrap_or(0.0);
        step.approximation_seconds = seconds(found).map_err(at)?;
        step.approximation_usage = approximation.cost.usage();
        let candidates = approximation.candidates.iter().map(Call::action);
        step.candidates = candidates.collect::<Result<_, _>>().map_err(at)?;
    }
    if let Some(execute) = execute {
        step.execution_seconds = seconds(execute.seconds).map_err(|error| ("execute", error))?;
    }
    Ok(step)
}

impl Step {
    fn of(target: Action) -> Step {
        Step {
            candidates: Vec::new(),
            approximation_seconds: 0.0,
            approximation_usage: Usage::default(),
            target,
            target_seconds: None,
            target_usage: Usage::default(),
            execution_seconds: 0.0,
        }
    }
}

impl Call<'_> {
    fn action(&self) -> Result<Action, LineError> {
        Ok(Action::parse(&self.tool, self.arguments.get())?)
    }
}

impl Cost {
    fn usage(&self) -> Usage {
        Usage {
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            ..Usage::default()
        }
    }
}

fn seconds(found: f64) -> Result<f64, LineError> {
    match found {
        0.0..=SECONDS_MAX => Ok(found),
        _ => Err(LineError::Seconds(found)),
    }
}
