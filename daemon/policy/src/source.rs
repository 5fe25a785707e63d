//! A set's source: its policies with their names, and where in the text they are.
//!
//! What Cedar would accept silently though it can never be meant is refused here: a
//! policy without a name, an annotation that nobody reads, an entity that never exists.

use crate::Problem;
use crate::paths::{WORKSPACE, flaw};
use cedar_policy::ffi::DetailedError;
use cedar_policy::{Policy, PolicyId, PolicySet, PrincipalConstraint};
use serde_json::Value;
use std::collections::HashSet;
use std::str::FromStr;

/// Names a policy; every policy has one.
const ID: &str = "id";
/// Why the policy is there, as a part of a sentence for agents and users.
const REASON: &str = "reason";

/// One policy of a set.
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) reason: Option<String>,
    /// Carries `id` as its Cedar id.
    pub(crate) policy: Policy,
    /// The policy in Cedar's JSON form.
    pub(crate) json: Value,
    /// Where it is in the source.
    pub(crate) span: Span,
}

/// A part of the source, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// The source of a set, for messages about it.
pub(crate) struct Source<'a>(pub(crate) &'a str);

impl Source<'_> {
    /// A problem at a place of the source.
    pub(crate) fn problem(
        &self,
        offset: usize,
        policy: Option<&str>,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Problem {
        let before = &self.0[..self.0.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Problem {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            policy: policy.map(str::to_owned),
            message: message.into(),
            hint,
        }
    }

    /// A problem of a policy, at the first place within it that is written like
    /// `needle`, else at its start.
    pub(crate) fn problem_in(
        &self,
        named: &Named,
        needle: Option<&str>,
        message: impl Into<String>,
        hint: Option<String>,
    ) -> Problem {
        let Span { start, end } = named.span;
        let inside = needle.and_then(|needle| self.0.get(start..end)?.find(needle));
        self.problem(start + inside.unwrap_or(0), Some(&named.id), message, hint)
    }

    /// A problem that Cedar found.
    pub(crate) fn problem_of_cedar(&self, error: &DetailedError, named: Option<&Named>) -> Problem {
        let labelled = error.source_locations.first().map(|label| label.loc.start);
        let start = labelled
            .or(named.map(|named| named.span.start))
            .unwrap_or(0);
        let id = named.map(|named| named.id.as_str());
        // Cedar begins its messages with the policy's id, which is ours already.
        let prefix = id.map(|id| format!("for policy `{id}`, "));
        let message = prefix
            .and_then(|prefix| error.message.strip_prefix(&prefix))
            .unwrap_or(&error.message);
        self.problem(start, id, message, error.help.clone())
    }

    /// Reads the policies.
    pub(crate) fn parse(&self) -> Result<Vec<Named>, Vec<Problem>> {
        let parsed = PolicySet::from_str(self.0).map_err(|errors| {
            let errors = errors.iter().map(DetailedError::from);
            errors
                .map(|error| self.problem_of_cedar(&error, None))
                .collect::<Vec<_>>()
        })?;
        let mut problems = Vec::new();
        for template in parsed.templates() {
            let start = self.find(&template.to_string()).start;
            let hint = "write the condition out: nothing fills the slots of a template";
            problems.push(self.problem(start, None, "a template is no policy", Some(hint.into())));
        }
        let mut named: Vec<Named> = Vec::new();
        for policy in parsed.policies() {
            let span = self.find(&policy.to_string());
            match self.name(policy, span) {
                Ok(policy) => named.push(policy),
                Err(mut found) => problems.append(&mut found),
            }
        }
        named.sort_by_key(|named| named.span.start);
        let mut ids = HashSet::new();
        for named in &named {
            if !ids.insert(named.id.as_str()) {
                let hint = "give each policy an `@id` of its own".to_owned();
                problems.push(self.problem_in(named, None, "there are two of this id", Some(hint)));
            }
        }
        if problems.is_empty() {
            Ok(named)
        } else {
            Err(problems)
        }
    }

    fn find(&self, text: &str) -> Span {
        let start = self.0.find(text).unwrap_or(0);
        Span {
            start,
            end: start + text.len(),
        }
    }

    fn name(&self, policy: &Policy, span: Span) -> Result<Named, Vec<Problem>> {
        let mut problems = Vec::new();
        let (mut id, mut reason) = (None, None);
        for (key, value) in policy.annotations() {
            match key {
                ID if !value.is_empty() => id = Some(value.to_owned()),
                REASON if !value.is_empty() => reason = Some(value.to_owned()),
                ID | REASON => {
                    let message = format!("the annotation `@{key}` is empty");
                    problems.push(self.problem(span.start, None, message, None));
                }
                _ => {
                    let written = format!("@{key}");
                    let at = self
                        .0
                        .get(span.start..span.end)
                        .and_then(|text| text.find(&written));
                    problems.push(self.problem(
                        span.start + at.unwrap_or(0),
                        id.as_deref(),
                        format!("the annotation `{written}` has no meaning"),
                        Some("`@id` and `@reason` are the annotations that exist".to_owned()),
                    ));
                }
            }
        }
        if id.is_none() && problems.is_empty() {
            let hint = "decisions name policies: put @id(\"…\") before it".to_owned();
            problems.push(self.problem(span.start, None, "a policy has no name", Some(hint)));
        }
        let json = policy.to_json().map_err(|error| {
            vec![self.problem(span.start, id.as_deref(), error.to_string(), None)]
        })?;
        match id {
            Some(id) if problems.is_empty() => Ok(Named {
                policy: policy.new_id(PolicyId::new(&id)),
                id,
                reason,
                json,
                span,
            }),
            _ => Err(problems),
        }
    }

    /// What a policy says about entities that never exist, so that it would never
    /// apply, or never fail to.
    pub(crate) fn dead_parts(&self, named: &Named, tools: &[&str]) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !matches!(
            named.policy.principal_constraint(),
            PrincipalConstraint::Any | PrincipalConstraint::Is(_)
        ) {
            problems.push(self.principal_problem(named));
        }
        visit_entities(&named.json["resource"], &mut |kind, id| {
            problems.extend(self.dead_entity(named, tools, kind, id));
        });
        visit_entities(&named.json["conditions"], &mut |kind, id| {
            problems.extend(self.dead_entity(named, tools, kind, id));
        });
        problems
    }

    fn principal_problem(&self, named: &Named) -> Problem {
        self.problem_in(
            named,
            Some("principal"),
            "principals are told apart by their role, not by their id",
            Some("write when { principal.role == Role::\"target\" }".to_owned()),
        )
    }

    fn dead_entity(&self, named: &Named, tools: &[&str], kind: &str, id: &str) -> Option<Problem> {
        let needle = format!("{id:?}");
        let problem = |message, hint| Some(self.problem_in(named, Some(&needle), message, hint));
        match kind {
            "Agent" => Some(self.principal_problem(named)),
            "Tool" if !tools.contains(&id) => {
                let hint = format!("there is {}", tools.join(", "));
                problem(format!("there is no tool {id:?}"), Some(hint))
            }
            "Workspace" if id != WORKSPACE => {
                let hint = format!("write Workspace::{WORKSPACE:?}");
                problem(format!("there is no workspace {id:?}"), Some(hint))
            }
            "Path" => {
                let why = flaw(id)?;
                let hint = "write it as a sandbox sees it, in lower case: \
                            Path::\"/workspace/.github/workflows\"";
                problem(
                    format!("the path {id:?} never matches: {why}"),
                    Some(hint.to_owned()),
                )
            }
            _ => None,
        }
    }
}

/// Visits every entity that a part of a policy's JSON form names.
fn visit_entities(json: &Value, visit: &mut dyn FnMut(&str, &str)) {
    match json {
        Value::Object(members) => {
            if let Some((kind, id)) = entity(json) {
                visit(kind, id);
            }
            members
                .values()
                .for_each(|value| visit_entities(value, visit));
        }
        Value::Array(items) => items.iter().for_each(|value| visit_entities(value, visit)),
        _ => {}
    }
}

/// The type and id of an entity in Cedar's JSON form.
pub(crate) fn entity(json: &Value) -> Option<(&str, &str)> {
    let members = json.as_object()?;
    match (members.get("type"), members.get("id")) {
        (Some(Value::String(kind)), Some(Value::String(id))) if members.len() == 2 => {
            Some((kind, id))
        }
        _ => None,
    }
}
