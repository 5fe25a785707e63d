//! Replays recorded runs in virtual time: what would it have taken with speculation, and
//! what without.
//!
//! The target does what it did, as long as all steps before are what they were. Below a
//! wrong prefix nobody knows what the agents would have said: their calls take the times
//! recorded at that step, and never match.

use crate::chance::{below, digest};
use crate::engine::{Asked, Reply, Running, Simulation, World};
use crate::meter::{Meter, Run, Tokens};
use crate::table::{Cell, Table};
use crate::trace::{Episode, Step};
use forerun_planner::{Candidate, Config, Failure, Outcome, Planner, State};
use forerun_types::{Action, ActionKey, ActionKind, PrefixId, Role, StepIndex};
use std::time::Duration;

/// How traces are replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The planner's settings; the plan is as long as the trace.
    pub config: Config,
    /// How long the target thinks where a trace does not say, in seconds.
    pub target_seconds: f64,
}

/// Many runs, taken together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Total {
    /// How many runs.
    pub runs: u64,
    /// Their steps.
    pub steps: u64,
    /// Steps for which something was proposed.
    pub contested: u64,
    /// Steps of which the first candidate was right.
    pub hits: u64,
    /// Seconds, all runs one after another.
    pub seconds: f64,
    /// Calls of the target.
    pub target_calls: u64,
    /// Calls of the approximation agent.
    pub approximation_calls: u64,
    /// Executions.
    pub executions: u64,
    /// Executions whose step did not keep them.
    pub wasted_executions: u64,
    /// Tokens of all calls.
    pub tokens: Tokens,
    /// Tokens of calls whose answer was not used.
    pub wasted: Tokens,
}

impl Total {
    fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.steps += run.verified.len() as u64;
        self.contested += run.matched + run.mismatched;
        self.hits += run.matched;
        self.seconds += run.seconds;
        self.target_calls += run.target_calls;
        self.approximation_calls += run.approximation_calls;
        self.executions += run.executions;
        self.wasted_executions += run.wasted_executions;
        self.tokens.add(&run.tokens);
        self.wasted.add(&run.wasted);
    }
}

/// Each source of `episodes` under each of the named settings, the first of which the others are
/// compared with.
pub fn compare(episodes: &[Episode], arms: &[(&str, Replay)]) -> Table {
    let columns = [
        "source",
        "preset",
        "runs",
        "steps",
        "right_first",
        "right_any",
        "seconds",
        "speedup",
        "target_calls",
        "approximation_calls",
        "executions",
        "wasted_executions",
        "tokens",
        "wasted_tokens",
        "wasted_pro_rated",
    ];
    let mut table = Table::new("Recorded runs, replayed", &columns);
    let mut sources: Vec<&str> = Vec::new();
    for episode in episodes {
        if !sources.contains(&episode.source.as_str()) {
            sources.push(&episode.source);
        }
    }
    for source in sources {
        let of = || episodes.iter().filter(|episode| episode.source == source);
        let mut first = None;
        for (name, replay) in arms {
            let mut total = Total::default();
            of().for_each(|episode| total.add(&replay.run(episode)));
            let base: f64 = *first.get_or_insert(total.seconds);
            table.rows.push(vec![
                source.into(),
                (*name).into(),
                Cell::Count(total.runs),
                Cell::Count(total.steps),
                rate(total.hits, total.contested),
                any(of().flat_map(|episode| &episode.steps)),
                Cell::Number(total.seconds, 1),
                ratio(base, total.seconds),
                Cell::Count(total.target_calls),
                Cell::Count(total.approximation_calls),
                Cell::Count(total.executions),
                Cell::Count(total.wasted_executions),
                Cell::Number(total.tokens.launched, 0),
                Cell::Number(total.wasted.launched, 0),
                Cell::Number(total.wasted.pro_rated, 0),
            ]);
        }
    }
    table
}

fn rate(hits: u64, of: u64) -> Cell {
    ratio(hits as f64, of as f64)
}

fn ratio(one: f64, of: f64) -> Cell {
    match of > 0.0 {
        true => Cell::Number(one / of, 3),
        false => Cell::None,
    }
}

/// How often the target's action is among the candidates, as they are recorded.
fn any<'a>(steps: impl Iterator<Item = &'a Step>) -> Cell {
    let (mut hits, mut of) = (0, 0);
    for step in steps.filter(|step| !step.candidates.is_empty()) {
        of += 1;
        hits += u64::from(step.candidates.contains(&step.target));
    }
    rate(hits, of)
}

impl Replay {
    /// Replays one run.
    ///
    /// # Panics
    /// If the planner waits for nobody and has not ended, which would be its fault.
    pub fn run(&self, episode: &Episode) -> Run {
        if episode.steps.is_empty() {
            return Run::default();
        }
        // Where nothing was proposed there is nobody to ask.
        let config = Config {
            depth: if episode.is_proposed() {
                self.config.depth
            } else {
                0
            },
            max_steps: u32::try_from(episode.steps.len()).unwrap_or(u32::MAX),
            ..self.config.clone()
        };
        let root = PrefixId(digest(0));
        let mut truth = vec![root];
        for step in &episode.steps {
            let prefix = truth[truth.len() - 1];
            truth.push(below(&prefix, &step.target.key()));
        }
        let world = Recorded {
            steps: &episode.steps,
            truth,
            target_seconds: self.target_seconds,
        };
        let mut simulation =
            Simulation::new(Planner::new(config, root), root, world, Meter::default());
        simulation.run();
        assert_eq!(simulation.planner.state(), State::Ended);
        let counters = *simulation.planner.counters();
        simulation.observer.finish(&counters)
    }
}

/// The agents and tools of a recorded run.
struct Recorded<'a> {
    steps: &'a [Step],
    /// The prefix of each step, as it was.
    truth: Vec<PrefixId>,
    target_seconds: f64,
}

impl Recorded<'_> {
    fn step(&self, step: StepIndex) -> (&Step, PrefixId) {
        // No step beyond the plan's last is asked for.
        (&self.steps[step.0 as usize], self.truth[step.0 as usize])
    }
}

impl World for Recorded<'_> {
    fn answer(&mut self, asked: &Asked) -> Reply {
        let (step, truth) = self.step(asked.step);
        let right = asked.prefix == truth;
        let (seconds, usage, answer) = match asked.role {
            Role::Target => {
                let answer = match right {
                    true => candidate(&step.target),
                    false => stranger(&asked.prefix, 1),
                };
                let seconds = step.target_seconds.unwrap_or(self.target_seconds);
                (seconds, step.target_usage, Ok(answer))
            }
            Role::Approximation => {
                let answer = match step.candidates.first() {
                    Some(first) if right => Ok(candidate(first)),
                    Some(_) => Ok(stranger(&asked.prefix, 2)),
                    None => Err(Failure::Permanent {
                        reason: "nothing was proposed".to_owned(),
                    }),
                };
                (step.approximation_seconds, step.approximation_usage, answer)
            }
        };
        Reply {
            after: Duration::from_secs_f64(seconds),
            answer,
            usage,
        }
    }

    fn execute(&mut self, running: &Running) -> (Duration, Outcome) {
        let (step, _) = self.step(running.step);
        let next = below(&running.prefix, &running.action);
        let outcome = Outcome::Completed {
            observation: next.0,
            changes: running.action.0,
            next,
        };
        (Duration::from_secs_f64(step.execution_seconds), outcome)
    }
}

/// A recorded action. A plan is as long as its record: that an action ends a plan is not
/// looked at.
fn candidate(action: &Action) -> Candidate {
    Candidate {
        action: action.key(),
        kind: ActionKind::Tool,
        tool: action.tool_number(),
    }
}

/// An action that nobody else gives: of `who`, on a prefix that never was.
fn stranger(prefix: &PrefixId, who: u64) -> Candidate {
    let who = ActionKey(digest(who));
    Candidate {
        action: ActionKey(below(prefix, &who).0),
        kind: ActionKind::Tool,
        tool: 0,
    }
}
