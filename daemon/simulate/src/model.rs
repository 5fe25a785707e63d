//! The world of the simulations of *Interactive Speculative Planning*: agents with given
//! latencies, an approximation agent that is right with a given probability, and a person
//! who loses patience.
//!
//! What an agent answers is a function of the seed and the prefix, so that runs of
//! different settings with the same seed have the same plan to make.

use crate::chance::{Chance, Latency, Purpose, below, digest};
use crate::engine::{Asked, Reply, Running, Simulation, World};
use crate::meter::{Meter, Run};
use forerun_planner::{
    Candidate, Config, Experience, Interrupt, Outcome, Planner, Presented, Seen, State,
};
use forerun_types::{ActionKey, ActionKind, PrefixId, Role, Usage};
use std::collections::BTreeSet;
use std::time::Duration;

/// Agents, tools and a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// How long the target thinks (tT).
    pub target: Latency,
    /// How long the approximation agent thinks (tA).
    pub approximation: Latency,
    /// How long an execution takes (e).
    pub execution: Latency,
    /// How often the approximation agent is right.
    pub accuracy: Accuracy,
    /// Tokens of an answer of the target.
    pub target_tokens: u64,
    /// Tokens of an answer of the approximation agent.
    pub approximation_tokens: u64,
    /// At how many steps, chosen at random, the user gives the target's answer before the
    /// target does, 1 to 5 seconds after the candidate is shown.
    pub interruptions: u32,
}

/// How often the approximation agent is right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Accuracy {
    /// Equally at each step, independently.
    Same(f64),
    /// Steps are easy or hard, and one can see which.
    Kinds {
        /// How often it is right at an easy step.
        easy: f64,
        /// How often it is right at a hard step.
        hard: f64,
        /// The share of easy steps.
        share: f64,
    },
}

/// How long a person waits at least, and at most, before interrupting.
const PATIENCE_SECONDS: (f64, f64) = (1.0, 5.0);

impl Default for Model {
    /// The constants of the paper's simulations: tT = 8, tA = 2, e = 0, 20 and 10 tokens.
    fn default() -> Model {
        Model {
            target: Latency::Constant(8.0),
            approximation: Latency::Constant(2.0),
            execution: Latency::Constant(0.0),
            accuracy: Accuracy::Same(0.5),
            target_tokens: 20,
            approximation_tokens: 10,
            interruptions: 0,
        }
    }
}

impl Model {
    /// Runs one session to its end.
    ///
    /// # Panics
    /// If the planner waits for nobody and has not ended, which would be its fault.
    pub fn run(&self, config: &Config, seed: u64) -> Run {
        self.run_experienced(config, seed, &mut Experience::default())
    }

    /// Runs one session to its end, with what earlier ones learned, and adds to that.
    ///
    /// # Panics
    /// As [`Model::run`] does.
    pub fn run_experienced(&self, config: &Config, seed: u64, experience: &mut Experience) -> Run {
        let steps = Chance::of(seed, Purpose::Interruption)
            .choose(self.interruptions as usize, config.max_steps);
        let planner = Planner::experienced(config.clone(), root(), experience.clone());
        let world = Living {
            model: self,
            seed,
            interrupted: steps.into_iter().collect(),
        };
        let mut simulation = Simulation::new(planner, root(), world, Meter::default());

        simulation.run();
        assert_eq!(simulation.planner.state(), State::Ended);
        *experience = simulation.planner.experience().clone();
        let counters = *simulation.planner.counters();
        simulation.observer.finish(&counters)
    }
}

/// The prefix of step 0.
fn root() -> PrefixId {
    PrefixId(digest(0))
}

/// A model that draws with a seed.
struct Living<'a> {
    model: &'a Model,
    seed: u64,
    interrupted: BTreeSet<u32>,
}

impl Living<'_> {
    fn chance(&self, purpose: Purpose, prefix: &PrefixId) -> Chance {
        Chance::at(self.seed, purpose, prefix)
    }

    /// t_i.
    fn truth(&self, prefix: &PrefixId) -> Candidate {
        self.action(prefix, Purpose::Truth)
    }

    /// a_i.
    fn guess(&self, prefix: &PrefixId) -> Candidate {
        let accuracy = match self.model.accuracy {
            Accuracy::Same(accuracy) => accuracy,
            Accuracy::Kinds { easy, hard, .. } if self.is_easy(prefix) => easy.max(hard),
            Accuracy::Kinds { easy, hard, .. } => easy.min(hard),
        };
        if self.chance(Purpose::Accuracy, prefix).unit() < accuracy {
            self.truth(prefix)
        } else {
            self.action(prefix, Purpose::Mistake)
        }
    }

    /// Easy steps and hard ones are done with different tools.
    fn action(&self, prefix: &PrefixId, purpose: Purpose) -> Candidate {
        Candidate {
            action: ActionKey(digest(self.chance(purpose, prefix).number())),
            kind: ActionKind::Tool,
            tool: u64::from(self.is_easy(prefix)),
        }
    }

    fn is_easy(&self, prefix: &PrefixId) -> bool {
        match self.model.accuracy {
            Accuracy::Same(_) => true,
            Accuracy::Kinds { share, .. } => self.chance(Purpose::Kind, prefix).unit() < share,
        }
    }
}

impl World for Living<'_> {
    fn answer(&mut self, asked: &Asked) -> Reply {
        let model = self.model;
        let prefix = &asked.prefix;
        let (latency, purpose, candidate, tokens) = match asked.role {
            Role::Target => {
                let truth = self.truth(prefix);
                let purpose = Purpose::TargetTime;
                (model.target, purpose, truth, model.target_tokens)
            }
            Role::Approximation => {
                let guess = self.guess(prefix);
                let purpose = Purpose::ApproximationTime;
                (
                    model.approximation,
                    purpose,
                    guess,
                    model.approximation_tokens,
                )
            }
        };
        Reply {
            after: latency.draw(&mut self.chance(purpose, prefix)),
            answer: Ok(candidate),
            usage: Usage {
                output_tokens: tokens,
                ..Usage::default()
            },
        }
    }

    fn execute(&mut self, running: &Running) -> (Duration, Outcome) {
        let next = below(&running.prefix, &running.action);
        let mut chance = self.chance(Purpose::ExecutionTime, &next);
        let outcome = Outcome::Completed {
            observation: next.0,
            changes: running.action.0,
            next,
        };
        (self.model.execution.draw(&mut chance), outcome)
    }

    fn person(&mut self, line: &Presented) -> Option<(Duration, Interrupt)> {
        let Presented::Proposed {
            step, node, prefix, ..
        } = line
        else {
            return None;
        };
        if !self.interrupted.contains(&step.0) {
            return None;
        }
        let (least, most) = PATIENCE_SECONDS;
        let share = self.chance(Purpose::Patience, prefix).unit();
        let interrupt = Interrupt::Replace {
            step: *step,
            seen: Seen::Node(*node),
            candidate: self.truth(prefix),
            near: Vec::new(),
        };
        let after = Duration::from_secs_f64(least + (most - least) * share);
        Some((after, interrupt))
    }
}
