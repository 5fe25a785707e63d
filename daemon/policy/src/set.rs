//! A policy set: loading it, and what is kept of it.

use crate::conditions::Toucher;
use crate::paths::{flaw, in_workspace};
use crate::rule::Rule;
use crate::schema::{ToolSchema, call_action};
use crate::source::{Named, Source};
use crate::touch::{TouchPolicy, rules};
use crate::{Definition, PolicyError, Problem, audit, ready};
use cedar_policy::ffi::DetailedError;
use cedar_policy::{ActionConstraint, Effect, PolicySet as Cedar, ValidationMode, Validator};
use forerun_types::{Digest, Hasher, PathRules, Source as Principal, ToolDescription, fold};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// Most bytes of one layer: stops a file of a project from holding up every session.
const LAYER_BYTES_MAX: usize = 256 << 10;
/// Most policies of one layer: one that is left to Cedar costs microseconds of every decision
/// that it is about.
const LAYER_POLICIES_MAX: usize = 1_000;

/// A set of policies that is valid for a toolbox. Immutable; clones are cheap.
#[derive(Clone)]
pub struct PolicySet(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    name: String,
    digest: Digest,
    pub(crate) schema: ToolSchema,
    /// The policies that can matter for an action, by its name. Touches have path rules.
    pub(crate) slices: HashMap<String, Vec<Arc<Rule>>>,
    /// All policies, to hold rules against.
    pub(crate) cedar: Cedar,
    /// By id.
    policies: HashMap<String, Written>,
    touches: Vec<TouchPolicy>,
    unprotected: Vec<String>,
    /// Who touches, and the rules for that.
    rules: Vec<(Principal, bool, PathRules)>,
    /// What is enforced all the same, if this set only takes note of what it refuses.
    pub(crate) enforced: Option<PolicySet>,
}

/// A policy as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The layer that it is in.
    pub layer: String,
    /// Cedar.
    pub text: String,
    /// What its `@reason` says.
    pub reason: Option<String>,
}

/// Policies from one place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layer {
    /// Where they are from, for messages.
    pub name: String,
    /// Cedar.
    pub source: String,
}

/// What lies around a set: what the user's configuration says, and who narrows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Paths, relative to the workspace, that stay writable with everything below them
    /// though the set protects them.
    pub unprotected: Vec<String>,
    /// Layers that can only forbid: the system's, the project's. Since forbid wins, they can
    /// narrow a set and nothing else.
    pub narrowing: Vec<Layer>,
    /// What the user permits always, beside the set ([`crate::Grant`]).
    pub granting: Option<Layer>,
    /// Whether what the set refuses is refused.
    pub enforcement: Enforcement,
}

/// Whether what a set refuses is refused, or only noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// It is refused.
    #[default]
    Enforce,
    /// It happens, and the decision says what would have become of it. What is protected,
    /// and what narrows the set, is enforced all the same; nothing happens sooner than it
    /// would where the set allows it.
    Audit,
}

impl PolicySet {
    /// A ready set, such as `workspace-write`, for a toolbox.
    ///
    /// # Errors
    /// If there is no set of this name, a tool can not be described to policies, or the
    /// set's examples fail for this toolbox.
    pub fn ready(name: &str, tools: &[ToolDescription]) -> Result<PolicySet, PolicyError> {
        PolicySet::ready_with(name, tools, &LoadOptions::default())
    }

    /// As [`PolicySet::ready`], with the user's options.
    ///
    /// # Errors
    /// As [`PolicySet::ready`], and if a path to unprotect is none.
    pub fn ready_with(
        name: &str,
        tools: &[ToolDescription],
        options: &LoadOptions,
    ) -> Result<PolicySet, PolicyError> {
        Definition::ready(name)?.load(tools, options)
    }

    /// A set from its Cedar source, for a toolbox. `name` is for messages and events.
    ///
    /// # Errors
    /// If the source does not parse, is not valid in strict mode, has an annotation
    /// without a meaning, a policy without an `@id`, or a condition on touches that path
    /// rules can not say. Every problem is listed, with its line and column. What is
    /// protected is so under every set.
    pub fn load(
        name: &str,
        source: &str,
        tools: &[ToolDescription],
    ) -> Result<PolicySet, PolicyError> {
        PolicySet::load_with(name, source, tools, &LoadOptions::default())
    }

    /// As [`PolicySet::load`], with the user's options.
    ///
    /// # Errors
    /// As [`PolicySet::load`]; if a path to unprotect is none, or a layer that narrows permits
    /// something, is too large, or has a policy of a name that is taken.
    pub fn load_with(
        name: &str,
        source: &str,
        tools: &[ToolDescription],
        options: &LoadOptions,
    ) -> Result<PolicySet, PolicyError> {
        let own = Layer {
            name: name.to_owned(),
            source: source.to_owned(),
        };
        let below = std::iter::once(Layer::from(ready::PROTECTED));
        let below = below.chain(options.narrowing.iter().cloned());
        PolicySet::of_layers(own, &below.collect::<Vec<_>>(), tools, options)
    }

    /// A set of nothing but these layers.
    pub(crate) fn of_layers(
        own: Layer,
        below: &[Layer],
        tools: &[ToolDescription],
        options: &LoadOptions,
    ) -> Result<PolicySet, PolicyError> {
        let unprotected = options.unprotected.iter().map(|path| unprotect(path));
        let unprotected = unprotected.collect::<Result<Vec<_>, _>>()?;
        let schema = ToolSchema::generate(tools)?;
        let (mut policies, mut touches) = (Vec::new(), Vec::new());
        let mut written = HashMap::new();
        let mut whose: HashMap<String, &str> = HashMap::new();
        let layers = below.iter().map(|layer| (layer, Part::Narrows));
        let granting = options.granting.iter().map(|layer| (layer, Part::Grants));
        let layers: Vec<_> = layers.chain(granting).chain([(&own, Part::Own)]).collect();
        for (layer, part) in &layers {
            let (of_layer, of_touches) =
                read(layer, *part, &whose, &schema, tools).map_err(|problems| {
                    PolicyError::Invalid {
                        set: layer.name.clone(),
                        problems,
                    }
                })?;
            for named in &of_layer {
                whose.insert(named.id.clone(), layer.name.as_str());
                let policy = Written {
                    layer: layer.name.clone(),
                    text: named.policy.to_string(),
                    reason: named.reason.clone(),
                };
                written.insert(named.id.clone(), policy);
            }
            policies.extend(of_layer);
            touches.extend(of_touches);
        }
        let enforced = match options.enforcement {
            Enforcement::Enforce => None,
            Enforcement::Audit => Some(PolicySet::of_layers(
                audit::everything(),
                below,
                tools,
                &LoadOptions {
                    unprotected: options.unprotected.clone(),
                    ..LoadOptions::default()
                },
            )?),
        };
        let sources = layers.iter().map(|(layer, _)| layer.source.as_str());
        let sources = sources.chain(enforced.iter().map(|_| audit::EVERYTHING));
        let mut set = Inner {
            digest: digest(&own.name, sources, &schema, &unprotected),
            slices: slices(&policies, tools),
            cedar: Cedar::from_policies(policies.iter().map(|named| named.policy.clone()))
                .expect("the ids were found to be distinct"),
            policies: written,
            name: own.name,
            schema,
            touches,
            unprotected,
            rules: Vec::new(),
            enforced,
        };
        for principal in [Principal::Approximation, Principal::Target, Principal::User] {
            for speculative in [false, true] {
                let rules = set.compile(principal, speculative, &set.unprotected);
                set.rules.push((principal, speculative, rules));
            }
        }
        Ok(PolicySet(Arc::new(set)))
    }

    /// The set's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Digest of everything that decisions depend on: the policies, the schema with the
    /// tools' arguments, and what the user unprotected.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// A policy as it is written; `None` if there is none of this id.
    pub fn policy(&self, id: &str) -> Option<&Written> {
        self.0.policies.get(id)
    }

    /// Whether what it refuses is refused.
    pub fn enforcement(&self) -> Enforcement {
        match self.0.enforced {
            Some(_) => Enforcement::Audit,
            None => Enforcement::Enforce,
        }
    }

    /// How many policies it has, what lies under it included.
    pub fn policies(&self) -> usize {
        self.0.policies.len()
    }

    /// What a sandbox may do to paths, for an action from `principal`.
    pub fn path_rules(&self, principal: Principal, speculative: bool) -> PathRules {
        let known = self
            .0
            .rules
            .iter()
            .find(|(whose, when, _)| *whose == principal && *when == speculative);
        let mut rules = known.map(|(_, _, rules)| rules.clone()).unwrap_or_default();
        let enforced = self.0.enforced.as_ref();
        rules.enforced = enforced.map(|set| Box::new(set.path_rules(principal, speculative)));
        rules
    }
}

impl Inner {
    pub(crate) fn compile(
        &self,
        principal: Principal,
        speculative: bool,
        unprotected: &[String],
    ) -> PathRules {
        rules(
            &self.touches,
            Toucher {
                principal,
                speculative,
                unprotected,
            },
        )
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet")
            .field("name", &self.0.name)
            .field("digest", &self.0.digest)
            .finish_non_exhaustive()
    }
}

/// A path of the user's configuration, as policies compare it.
pub(crate) fn unprotect(path: &str) -> Result<String, PolicyError> {
    let absolute = fold(&in_workspace(path.strip_suffix('/').unwrap_or(path))).into_owned();
    let reason = if path.starts_with('/') {
        Some("it is absolute")
    } else {
        flaw(&absolute)
    };
    match reason {
        Some(reason) => Err(PolicyError::Unprotect {
            path: path.to_owned(),
            reason,
        }),
        None => Ok(absolute),
    }
}

/// What a layer is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The set itself.
    Own,
    /// What the user permits always. Some of it may be about tools that are not there now.
    Grants,
    /// Forbids only.
    Narrows,
}

/// Reads a layer: its policies, and what they say of touches. `whose` has the names that
/// are taken, and by which layer.
fn read(
    layer: &Layer,
    part: Part,
    whose: &HashMap<String, &str>,
    schema: &ToolSchema,
    tools: &[ToolDescription],
) -> Result<(Vec<Named>, Vec<TouchPolicy>), Vec<Problem>> {
    let text = Source(&layer.source);
    if layer.source.len() > LAYER_BYTES_MAX {
        let message = format!("it has more than {LAYER_BYTES_MAX} bytes");
        return Err(vec![text.problem(0, None, message, None)]);
    }
    let policies = text.parse()?;
    if policies.len() > LAYER_POLICIES_MAX {
        let message = format!("it has more than {LAYER_POLICIES_MAX} policies");
        return Err(vec![text.problem(0, None, message, None)]);
    }
    let mut problems = Vec::new();
    for named in &policies {
        if let Some(other) = whose.get(&named.id) {
            let message = format!("{other} has a policy of this id");
            let hint = "give each policy an `@id` of its own".to_owned();
            problems.push(text.problem_in(named, None, message, Some(hint)));
        }
        if part == Part::Narrows && named.policy.effect() == Effect::Permit {
            let hint = "permits belong in a policy set of the user's configuration".to_owned();
            let message = "this layer can only forbid";
            problems.push(text.problem_in(named, Some("permit"), message, Some(hint)));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    check(&text, &policies, schema, tools, part)?;
    let touches = compile(&text, &policies)?;
    Ok((policies, touches))
}

/// Finds everything that is wrong with policies that parse, in the order of the source.
fn check(
    source: &Source<'_>,
    policies: &[Named],
    schema: &ToolSchema,
    tools: &[ToolDescription],
    part: Part,
) -> Result<(), Vec<Problem>> {
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    let mut problems: Vec<Problem> = policies
        .iter()
        .filter(|_| part != Part::Grants)
        .flat_map(|named| source.dead_parts(named, &names))
        .collect();
    let cedar = Cedar::from_policies(policies.iter().map(|named| named.policy.clone()));
    let cedar = match cedar {
        Ok(cedar) => cedar,
        Err(error) => return Err(vec![source.problem(0, None, error.to_string(), None)]),
    };
    let result = Validator::new(schema.schema.clone()).validate(&cedar, ValidationMode::Strict);
    let named = |id: &cedar_policy::PolicyId| {
        let id: &str = id.as_ref();
        policies.iter().find(|named| named.id == id)
    };
    // Cedar tells some causes by their consequences too: what it can not place is told
    // only of policies of which nothing better is known. A warning is about a policy
    // that can not mean what it says.
    let errors = result
        .validation_errors()
        .map(|error| (error.policy_id().clone(), DetailedError::from(error)));
    let warnings = result
        .validation_warnings()
        .map(|warning| (warning.policy_id().clone(), DetailedError::from(warning)));
    let mut told = HashSet::new();
    let (placed, consequences): (Vec<_>, Vec<_>) =
        errors.partition(|(_, error)| !error.source_locations.is_empty());
    for round in [placed, consequences, warnings.collect()] {
        let new: Vec<_> = round
            .into_iter()
            .filter(|(id, _)| !told.contains(id))
            .collect();
        for (id, error) in new {
            problems.push(source.problem_of_cedar(&error, named(&id)));
            told.insert(id);
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    Err(problems)
}

/// The path rules of policies that are valid.
fn compile(source: &Source<'_>, policies: &[Named]) -> Result<Vec<TouchPolicy>, Vec<Problem>> {
    let (mut touches, mut problems) = (Vec::new(), Vec::new());
    for compiled in policies
        .iter()
        .filter_map(|named| TouchPolicy::compile(source, named))
    {
        match compiled {
            Ok(touch) => touches.push(touch),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(touches)
    } else {
        Err(problems)
    }
}

/// The policies whose scope covers an action, for each action that rules decide.
fn slices(policies: &[Named], tools: &[ToolDescription]) -> HashMap<String, Vec<Arc<Rule>>> {
    let rules = policies.iter().map(|named| Arc::new(Rule::new(named)));
    let rules: Vec<_> = rules.collect();
    let calls = tools.iter().map(|tool| (call_action(&tool.name), "call"));
    let others = ["commit", "connect"].map(|action| (action.to_owned(), action));
    let slice = |action: &str, group: &str| {
        let covers = |named: &Named| match named.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => uid.id().unescaped() == action,
            ActionConstraint::In(uids) => uids
                .iter()
                .any(|uid| [action, group].contains(&uid.id().unescaped())),
        };
        let rules = policies.iter().zip(&rules);
        let covering = rules.filter(|(named, _)| covers(named));
        covering.map(|(_, rule)| Arc::clone(rule)).collect()
    };
    let actions = calls.chain(others);
    actions
        .map(|(action, group)| (action.clone(), slice(&action, group)))
        .collect()
}

fn digest<'a>(
    name: &str,
    sources: impl Iterator<Item = &'a str>,
    schema: &ToolSchema,
    unprotected: &[String],
) -> Digest {
    let hasher = Hasher::new("forerun policy set v3")
        .field(name)
        .field(&schema.text);
    // What tools say of themselves, by name.
    let tools: BTreeMap<_, _> = schema.tools.iter().collect();
    let hasher = hasher.field(format!("{tools:?}"));
    let hasher = unprotected
        .iter()
        .fold(hasher, |hasher, path| hasher.field(path));
    // Their number ends the paths.
    let hasher = hasher.field(unprotected.len().to_string());
    sources
        .fold(hasher, |hasher, source| hasher.field(source))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{problems, set, tool, toolbox};
    use serde_json::json;

    /// The only problem of a source: where it is, and what it says.
    fn problem(source: &str) -> ((usize, usize), String, String) {
        let found = problems(source);
        assert_eq!(found.len(), 1, "{found:#?}");
        let problem = found.into_iter().next().unwrap();
        let place = (problem.line, problem.column);
        (place, problem.message, problem.hint.unwrap_or_default())
    }

    #[test]
    fn a_syntax_error_names_its_line_and_column() {
        let ((line, column), message, _) = problem(
            "// a comment\n@id(\"a\")\npermit (principal, action, resource) whenn { true };",
        );
        assert_eq!((line, column), (3, 38), "{message}");
        assert!(message.contains("whenn"), "{message}");
        let error = PolicySet::load("mine", "permit", &toolbox()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("load the policy set \"mine\": line 1, column ")
        );
    }

    #[test]
    fn an_annotation_without_a_meaning_is_refused() {
        let (place, message, hint) =
            problem("@id(\"a\")\n@mode(\"hold\")\nforbid (principal, action, resource);");
        assert_eq!(
            (place, message.as_str()),
            ((2, 1), "the annotation `@mode` has no meaning")
        );
        assert!(hint.contains("@reason"));
    }

    #[test]
    fn a_policy_without_a_name_or_with_anothers_is_refused() {
        let (place, message, _) = problem("\nforbid (principal, action, resource);");
        assert_eq!((place, message.as_str()), ((2, 1), "a policy has no name"));
        let twice = "@id(\"a\")\nforbid (principal, action, resource);\n\
                     @id(\"a\")\npermit (principal, action, resource);";
        let (place, message, _) = problem(twice);
        assert_eq!(
            (place, message.as_str()),
            ((3, 1), "there are two of this id")
        );
        let (_, message, _) = problem("@id(\"\")\nforbid (principal, action, resource);");
        assert!(message.contains("empty"));
    }

    #[test]
    fn a_template_is_refused() {
        let (place, message, _) =
            problem("@id(\"a\")\npermit (principal == ?principal, action, resource);");
        assert_eq!(
            (place, message.as_str()),
            ((1, 1), "a template is no policy")
        );
    }

    #[test]
    fn validation_is_strict() {
        let forbid = |action: &str, condition: &str| {
            format!(
                "@id(\"a\")\nforbid (principal, action == Action::\"{action}\", resource)\nwhen {{ {condition} }};"
            )
        };
        for (action, condition, expected) in [
            ("call:write_file", "context.args.paht == \"a\"", "paht"),
            ("call:write_file", "context.args.path == 1", "type"),
            ("call:write_file", "context.speculativ", "speculativ"),
            ("call:write_file", "context.mode == Mode::\"runn\"", "runn"),
            (
                "call:write_file",
                "principal.role == Role::\"tagret\"",
                "tagret",
            ),
            ("call:wirte_file", "true", "wirte_file"),
            ("write", "context.args.path == \"a\"", "args"),
        ] {
            let found = problems(&forbid(action, condition));
            assert!(
                found[0].message.contains(expected),
                "{condition}: {found:#?}"
            );
            assert_eq!(found[0].policy.as_deref(), Some("a"));
            assert!(found[0].line >= 2, "{found:#?}");
        }
    }

    #[test]
    fn an_optional_argument_must_be_looked_for() {
        let optional =
            json!({ "type": "object", "properties": { "limit": { "type": "integer" } } });
        let tools = [tool("t", optional)];
        let load = |condition: &str| {
            let source = format!(
                "@id(\"a\") permit (principal, action == Action::\"call:t\", resource) when {{ {condition} }};"
            );
            PolicySet::load("test", &source, &tools)
        };
        assert!(load("context.args.limit < 3").is_err());
        assert!(load("context.args has limit && context.args.limit < 3").is_ok());
    }

    #[test]
    fn a_policy_that_can_never_apply_is_refused() {
        let (_, message, _) = problem(
            "@id(\"a\") forbid (principal, action == Action::\"commit\", resource)
             when { context.deleted > 1 && false };",
        );
        assert!(message.contains("impossible"), "{message}");
    }

    #[test]
    fn an_entity_that_never_exists_is_refused() {
        let forbid = |condition: &str| {
            format!(
                "@id(\"a\") forbid (principal, action in Action::\"call\", resource) when {{ {condition} }};"
            )
        };
        let (_, message, hint) = problem(&forbid("resource == Tool::\"wirte_file\""));
        assert_eq!(message, "there is no tool \"wirte_file\"");
        assert!(hint.contains("write_file"));
        let (place, message, _) = problem(
            "@id(\"a\") forbid (principal == Agent::\"target\", action == Action::\"commit\", resource);",
        );
        assert_eq!(place, (1, 18));
        assert!(message.contains("role"), "{message}");
        assert!(
            problem(&forbid("principal == Agent::\"target\""))
                .1
                .contains("role")
        );
        let (place, message, _) = problem(
            "@id(\"a\")\nforbid (principal, action == Action::\"write\", resource)\n\
             when { resource in Path::\"/workspace/.GitHub\" };",
        );
        assert_eq!(place, (3, 26));
        assert!(message.contains("folded"), "{message}");
    }

    #[test]
    fn what_is_wrong_is_listed_as_a_whole_and_in_order() {
        let source = "@id(\"a\") permit (principal, action in Action::\"call\", resource) when { context.x };\n\
                      @id(\"b\") permit (principal, action in Action::\"call\", resource) when { context.y };";
        let found = problems(source);
        let lines: Vec<_> = found.iter().map(|problem| problem.line).collect();
        assert!(
            lines.is_sorted() && lines.contains(&1) && lines.contains(&2),
            "{found:#?}"
        );
    }

    #[test]
    fn a_damaged_set_is_an_error_and_no_panic() {
        let source = include_str!("../../../policies/workspace-write/policy.cedar");
        for end in (0..source.len())
            .step_by(97)
            .filter(|end| source.is_char_boundary(*end))
        {
            let _ = PolicySet::load("cut", &source[..end], &toolbox());
        }
        for text in ["\u{0}", "é", "@id(\"é\")", "permit(\"", "//", "?resource"] {
            let _ = PolicySet::load("odd", text, &toolbox());
        }
    }

    #[test]
    fn the_digest_tells_sets_and_toolboxes_apart() {
        let source = "@id(\"a\") permit (principal, action in Action::\"call\", resource);";
        let digest = set(source).digest();
        assert_eq!(set(source).digest(), digest);
        assert_ne!(set(&source.replace("\"a\"", "\"b\"")).digest(), digest);
        let fewer = &toolbox()[1..];
        assert_ne!(
            PolicySet::load("test", source, fewer).unwrap().digest(),
            digest
        );
    }
}
