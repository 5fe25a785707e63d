//! The agent that a script describes.

use super::{Mistakes, Script};
use crate::agent::{Agent, AgentError, Candidate, Request};
use async_trait::async_trait;
use forerun_types::{Action, ActionKind, Digest, Hasher, Role, TERMINATE};
use std::sync::Arc;
use std::time::Duration;

/// Gives the steps of a [`Script`] in one role. What it gives depends on the number of
/// steps in the prefix and on nothing else.
#[derive(Clone, Debug)]
pub struct ScriptAgent {
    script: Arc<Script>,
    role: Role,
}

impl ScriptAgent {
    pub(crate) fn new(script: Arc<Script>, role: Role) -> ScriptAgent {
        ScriptAgent { script, role }
    }

    /// What it gives after `index` steps.
    pub fn action(&self, index: usize) -> Action {
        let right = self.script.right(index);
        if self.errs_at(index) {
            let listed = self.script.mistakes.get(&index);
            listed.cloned().unwrap_or_else(|| self.wrong(index, right))
        } else {
            right.clone()
        }
    }

    /// How long it takes to give it.
    pub fn latency(&self, index: usize) -> Duration {
        let of_step = self
            .script
            .steps
            .get(index)
            .and_then(|step| match self.role {
                Role::Approximation => step.approximation_latency,
                Role::Target => step.target_latency,
            });
        of_step.unwrap_or(self.script.settings(self.role).latency)
    }

    fn errs_at(&self, index: usize) -> bool {
        let listed = self.script.mistakes.contains_key(&index);
        match self.script.settings(self.role).mistakes {
            Mistakes::None => false,
            Mistakes::Listed => listed,
            Mistakes::All => true,
            Mistakes::Probability(probability) => {
                let draw = self.draw("errs", index) >> 11;
                listed || (draw as f64) < probability * (1u64 << 53) as f64
            }
        }
    }

    /// Something else than what is right, drawn from the seed: the action of another
    /// step, which a fast model is likely to give too early or twice. Falls back on the
    /// right tool with an argument that it does not have.
    fn wrong(&self, index: usize, right: &Action) -> Action {
        let others: Vec<&Action> = self
            .script
            .actions()
            .filter(|other| other.kind() == ActionKind::Tool && other.key() != right.key())
            .collect();
        if !others.is_empty() {
            let draw = self.draw("wrong", index) % others.len() as u64;
            // Less than the number of others, which is a usize.
            return others[draw as usize].clone();
        }
        let mut arguments = right.arguments.to_value();
        if let Some(arguments) = arguments.as_object_mut() {
            arguments.insert(format!("mistake_{index}"), true.into());
        }
        Action::parse(&right.tool, &arguments.to_string())
            .ok()
            .filter(|wrong| wrong.key() != right.key())
            .unwrap_or_else(|| terminate("a mistake"))
    }

    fn draw(&self, what: &str, index: usize) -> u64 {
        let seed = self.script.settings(self.role).seed;
        let Digest(bytes) = Hasher::new("forerun scripted agent v1")
            .field(what)
            .field(seed.to_le_bytes())
            .field((index as u64).to_le_bytes())
            .finish();
        bytes[..8]
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[async_trait]
impl Agent for ScriptAgent {
    async fn propose(&self, request: &Request) -> Result<Vec<Candidate>, AgentError> {
        let index = request.steps_before();
        tokio::time::sleep(self.latency(index)).await;
        Ok(vec![Candidate::new(self.action(index))])
    }

    fn model(&self) -> String {
        self.script.settings(self.role).name.clone()
    }
}

/// The action that ends a plan.
pub(super) fn terminate(answer: &str) -> Action {
    let arguments = serde_json::json!({ "answer": answer }).to_string();
    Action::parse(TERMINATE, &arguments).expect("an object with one text is canonical JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use forerun_types::{Entry, Observation, ObservationStatus};

    const SCRIPT: &str = r#"
        answer = "done"
        [target]
        latency_ms = 800
        [approximation]
        latency_ms = 200
        [[step]]
        tool = "read_file"
        arguments = { path = "a" }
        [[step]]
        tool = "delete"
        arguments = '{"path": "a"}'
        latency_ms = { target = 1000 }
        [[mistake]]
        step = 1
        tool = "delete"
        arguments = { path = "b" }
    "#;

    fn script() -> Script {
        Script::parse(SCRIPT, "test").expect("valid")
    }

    fn request(role: Role, steps: usize) -> Request {
        let step = Entry::Step {
            action: Action::parse("anything", "{}").expect("valid"),
            observation: Observation::new(ObservationStatus::ToolError, "failed"),
        };
        let suggestion = Entry::Suggestion {
            text: "not a step".to_owned(),
        };
        let mut entries = vec![step; steps];
        entries.push(suggestion);
        Request::new(role, "task", "", entries, Vec::new())
    }

    #[tokio::test(start_paused = true)]
    async fn it_answers_by_the_number_of_steps_and_takes_its_time() {
        let agent = script().agent(Role::Target);
        for (steps, tool, latency_ms) in [
            (1, "delete", 1000),
            (0, "read_file", 800),
            (2, "terminate", 800),
            (9, "terminate", 800),
        ] {
            let start = tokio::time::Instant::now();
            let candidates = agent
                .propose(&request(Role::Target, steps))
                .await
                .expect("an answer");
            assert_eq!(candidates[0].action.tool, tool);
            assert_eq!(start.elapsed(), Duration::from_millis(latency_ms));
        }
        assert_eq!(agent.action(2).answer().as_deref(), Some("done"));
    }

    #[test]
    fn only_the_approximation_makes_the_listed_mistakes() {
        let script = script();
        let (a, t) = (
            script.agent(Role::Approximation),
            script.agent(Role::Target),
        );
        assert_eq!(a.action(0), t.action(0));
        assert_eq!(a.action(1).arguments.as_str(), r#"{"path":"b"}"#);
        assert_eq!(t.action(1).arguments.as_str(), r#"{"path":"a"}"#);
        assert_eq!(a.action(2), t.action(2));
        let right = script.with_mistakes(Role::Approximation, Mistakes::None);
        assert_eq!(right.agent(Role::Approximation).action(1), t.action(1));
    }

    #[test]
    fn who_always_errs_never_gives_what_is_right() {
        let role = Role::Approximation;
        let one_step = "[[step]]\ntool = \"a\"\n[approximation]\nmistakes = \"all\"";
        let one_step = Script::parse(one_step, "test").expect("valid");
        let script = script().with_mistakes(role, Mistakes::All);
        for script in [script, one_step] {
            let agent = script.agent(role);
            for index in 0..4 {
                assert_ne!(
                    agent.action(index).key(),
                    script.right(index).key(),
                    "{index}"
                );
                assert_eq!(agent.action(index), script.agent(role).action(index));
            }
        }
    }

    #[test]
    fn a_probability_is_kept_in_the_long_run_and_depends_on_the_seed() {
        let agent = |seed: u64| {
            let text =
                format!("[approximation]\nmistakes = 0.25\nseed = {seed}\n[[step]]\ntool = \"a\"");
            Script::parse(&text, "test")
                .expect("valid")
                .agent(Role::Approximation)
        };
        let errors =
            |seed| -> Vec<bool> { (0..4000).map(|index| agent(seed).errs_at(index)).collect() };
        let (one, two) = (errors(1), errors(2));
        assert_ne!(one, two);
        let count = one.iter().filter(|errs| **errs).count();
        assert!((900..1100).contains(&count), "{count}");
    }
}
