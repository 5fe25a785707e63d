//! A set as it is written: its policies, and the table of examples that it must decide.

use crate::examples::Examples;
use crate::{Layer, LoadOptions, Outcome, PolicyError, PolicySet, ready};
use forerun_types::ToolDescription;

/// A set as it is written. A ready one has what it needs with it; a user's own is two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Its policies, in Cedar.
    pub source: String,
    /// Its examples, in TOML, if it has some.
    pub examples: Option<String>,
    /// Forbids that belong to it and stand elsewhere.
    pub below: Vec<Layer>,
}

/// How an example was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    /// What it shows.
    pub say: String,
    /// What is asked, in a line.
    pub asked: String,
    /// Who asks.
    pub by: String,
    /// What has to become of it.
    pub expect: Outcome,
    /// What is wrong with the decision, if anything is.
    pub failure: Option<String>,
}

impl Definition {
    /// A ready set.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn ready(name: &str) -> Result<Definition, PolicyError> {
        ready::find(name).map(ready::Ready::definition)
    }

    /// All ready sets, the default one first.
    pub fn all_ready() -> impl Iterator<Item = Definition> {
        ready::SETS.iter().map(ready::Ready::definition)
    }

    /// What the set is for: the first sentence of the comment at its beginning.
    pub fn summary(&self) -> String {
        let comment = self
            .source
            .lines()
            .map_while(|line| line.strip_prefix("//"));
        let comment: Vec<_> = comment.map(str::trim).collect();
        let comment = comment.join(" ");
        let text = comment
            .strip_prefix(&format!("{}:", self.name))
            .unwrap_or(&comment)
            .trim();
        text.split_once(". ")
            .map_or(text, |(first, _)| first)
            .trim_end_matches('.')
            .to_owned()
    }

    /// Decides each example, on this toolbox and the tools that the examples describe.
    ///
    /// # Errors
    /// If the set or its examples can not be read.
    pub fn test(&self, tools: &[ToolDescription]) -> Result<Vec<Tested>, PolicyError> {
        let Some(examples) = &self.examples else {
            return Ok(Vec::new());
        };
        let examples = Examples::parse(examples).map_err(|failure| PolicyError::Examples {
            set: self.name.clone(),
            failures: vec![failure],
        })?;
        let further = examples.tools();
        let mut tools = tools.to_vec();
        tools.retain(|tool| further.iter().all(|example| example.name != tool.name));
        tools.extend(further);
        let set = self.assemble(&tools, &LoadOptions::default())?;
        Ok(examples.test(&set))
    }

    /// The set, for a toolbox.
    ///
    /// # Errors
    /// If it is not valid, a tool can not be described to policies, a path to unprotect is
    /// none, or an example is not decided as the table says.
    pub fn load(
        &self,
        tools: &[ToolDescription],
        options: &LoadOptions,
    ) -> Result<PolicySet, PolicyError> {
        let failures = self.test(tools)?.into_iter().filter_map(|tested| {
            let failure = tested.failure?;
            Some(format!("{:?}: {failure}", tested.say))
        });
        let failures: Vec<_> = failures.collect();
        if !failures.is_empty() {
            return Err(PolicyError::Examples {
                set: self.name.clone(),
                failures,
            });
        }
        self.assemble(tools, options)
    }

    /// The set, whatever its examples say.
    ///
    /// # Errors
    /// As [`Definition::load`], but for the examples.
    pub fn assemble(
        &self,
        tools: &[ToolDescription],
        options: &LoadOptions,
    ) -> Result<PolicySet, PolicyError> {
        let below = self.below.iter().chain(&options.narrowing).cloned();
        let options = LoadOptions {
            narrowing: below.collect(),
            ..options.clone()
        };
        PolicySet::load_with(&self.name, &self.source, tools, &options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_the_first_sentence_of_the_comment_that_a_set_begins_with() {
        let of = |source: &str| {
            let definition = Definition {
                name: "mine".to_owned(),
                source: source.to_owned(),
                examples: None,
                below: Vec::new(),
            };
            definition.summary()
        };
        assert_eq!(of("// mine: for me.\n// And so on.\n\n// Later."), "for me");
        assert_eq!(of("// For\n// all of us\npermit"), "For all of us");
        assert_eq!(of("permit"), "");
        for ready in Definition::all_ready() {
            assert!(ready.summary().len() > 20, "{}", ready.name);
        }
    }
}
