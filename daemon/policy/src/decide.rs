//! Decisions: requests put to the rules of a set, mode by mode.
//!
//! A rule knows most conditions itself. Cedar evaluates the others, one policy at a time;
//! [`By::Cedar`] has it decide all of them, to hold the rules against.

use crate::arguments::convert;
use crate::fact::{Fact, Question};
use crate::paths::{self, in_workspace, uid};
use crate::schema::call_action;
use crate::touch::touch_action;
use crate::{CallRequest, CommitRequest, Counters, Decision, Outcome, PolicySet};
use cedar_policy::{
    Authorizer, Decision as CedarDecision, Effect, Entities, PolicySet as Cedar, Request, Response,
    Schema,
};
use forerun_types::{ChangeKind, PathChange, Source, Touch, TouchDenied, fold};
use std::fmt;

/// What was said about one mode.
struct Answer {
    allowed: bool,
    policies: Vec<String>,
}

/// Who answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The rules of the action's slice.
    Rules,
    /// Cedar, with all policies and a request that it finds to be valid. Slow.
    Cedar,
}

impl PolicySet {
    /// Decides a call of a tool. Unverified actions are asked for run, hold, ask; those
    /// of the target and the user whose verdict is there, for run and ask.
    pub fn decide_call(&self, call: &CallRequest<'_>) -> Decision {
        let decide = |set: &PolicySet| set.decide_call_by(By::Rules, call);
        self.enforce_or_note(modes(call.principal, call.speculative), decide)
    }

    pub(crate) fn decide_call_by(&self, by: By, call: &CallRequest<'_>) -> Decision {
        let tool = &call.action.tool;
        let schema = &self.0.schema;
        let (Some(kind), Some(attributes)) = (schema.arguments.get(tool), schema.tools.get(tool))
        else {
            let reason = format!("there is no tool {tool:?}");
            return Decision::deny("policy_unknown_tool", Vec::new(), reason);
        };
        let arguments = call.action.arguments.to_value();
        let arguments = match convert(kind, &arguments) {
            Ok(arguments) => arguments,
            Err(error) => return Decision::deny("policy_arguments", Vec::new(), error),
        };
        let context = [
            ("step", Fact::count(u64::from(call.step.0))),
            ("depth", Fact::count(u64::from(call.depth))),
            ("speculative", Fact::Flag(call.speculative)),
            ("counters", call.counters.fact()),
            ("args", arguments.record),
            ("args_partial", Fact::Flag(arguments.partial)),
            ("read_sensitive", Fact::Flag(call.read_sensitive)),
        ];
        let action = call_action(tool);
        let resource = Fact::entity("Tool", tool);
        let question = Question::new(call.principal, &action, resource, attributes, context);
        let modes = modes(call.principal, call.speculative);
        self.decide(by, modes, format_args!("a call of {tool}"), question)
    }

    /// Decides whether a verified delta may reach the workspace: each of its paths, then
    /// the commit as a whole, for run and ask.
    pub fn decide_commit(&self, commit: &CommitRequest<'_>) -> Decision {
        let decide = |set: &PolicySet| set.decide_commit_by(By::Rules, commit);
        self.enforce_or_note(VERIFIED, decide)
    }

    pub(crate) fn decide_commit_by(&self, by: By, commit: &CommitRequest<'_>) -> Decision {
        if let Some(denied) = self.denied_change(commit) {
            return denied;
        }
        let count = |is: fn(&ChangeKind) -> bool| {
            let changes = commit.changed.iter();
            changes.filter(|change| is(&change.kind)).count() as u64
        };
        let counts = [
            ("created", count(|kind| matches!(kind, ChangeKind::Created))),
            (
                "modified",
                count(|kind| matches!(kind, ChangeKind::Modified)),
            ),
            ("deleted", count(|kind| matches!(kind, ChangeKind::Deleted))),
            (
                "renamed",
                count(|kind| matches!(kind, ChangeKind::Renamed { .. })),
            ),
            (
                "attributes",
                count(|kind| matches!(kind, ChangeKind::Attributes)),
            ),
            ("shared", commit.shared as u64),
        ];
        self.decide_counts(by, commit.principal, counts)
    }

    /// Decides a commit whose paths may all be changed, by how many there are of each kind.
    pub(crate) fn decide_counts(
        &self,
        by: By,
        principal: Source,
        counts: [(&str, u64); 6],
    ) -> Decision {
        let resource = Fact::entity("Workspace", paths::WORKSPACE);
        let context = counts.map(|(name, count)| (name, Fact::count(count)));
        let question = Question::new(principal, "commit", resource, &[], context);
        self.decide(by, VERIFIED, "a commit", question)
    }

    /// The first mode that is allowed, else a denial.
    pub(crate) fn decide(
        &self,
        by: By,
        modes: &[Outcome],
        what: impl fmt::Display,
        mut question: Question<'_>,
    ) -> Decision {
        let mut forbidding: Vec<String> = Vec::new();
        for mode in modes {
            question.in_mode(mode.as_str());
            let entities = &self.0.schema.entities;
            let answer = match by {
                By::Rules => self.ask(&question, entities),
                By::Cedar => self.ask_cedar(&question, entities),
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    let reason = format!("policy could not decide {what} ({error})");
                    return Decision::deny("policy_error", Vec::new(), reason);
                }
            };
            if answer.allowed {
                return self.allow(*mode, forbidding, answer.policies);
            }
            let new = answer
                .policies
                .into_iter()
                .filter(|id| !forbidding.contains(id));
            forbidding.extend(new.collect::<Vec<_>>());
        }
        match forbidding.first() {
            Some(first) => {
                let reason = format!("policy {first:?} forbids {what}{}", self.because(first));
                Decision::deny("policy_forbidden", forbidding, reason)
            }
            None => {
                let reason = format!("no policy of {:?} permits {what}", self.name());
                Decision::deny("policy_not_permitted", Vec::new(), reason)
            }
        }
    }

    fn allow(&self, mode: Outcome, forbidding: Vec<String>, permitting: Vec<String>) -> Decision {
        let (code, says) = match mode {
            Outcome::Run => ("policy_run", "permits it"),
            Outcome::Hold => ("policy_hold", "holds it until its verdict"),
            Outcome::Ask | Outcome::Deny => ("policy_ask", "puts it to the user"),
        };
        let grantable = mode != Outcome::Run && forbidding.is_empty();
        // Why it may not run says more than why it may wait.
        let why = forbidding
            .first()
            .or(permitting.first())
            .map_or("", String::as_str);
        let reason = format!("policy {why:?} {says}{}", self.because(why));
        let policies = forbidding.into_iter().chain(permitting).collect();
        Decision {
            outcome: mode,
            policies,
            reason,
            code,
            enforced: None,
            grantable,
        }
    }

    fn because(&self, policy: &str) -> String {
        let reason = self
            .policy(policy)
            .and_then(|written| written.reason.as_ref());
        reason
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default()
    }

    /// Decides what a sandbox asks of its path rules: `path` as the sandbox sees it.
    pub fn decide_touch(
        &self,
        principal: Source,
        speculative: bool,
        touch: Touch,
        path: &str,
    ) -> Decision {
        let rules = self.path_rules(principal, speculative);
        match rules.decide(touch, path, &fold(path)) {
            Ok(()) => Decision {
                outcome: Outcome::Run,
                policies: Vec::new(),
                reason: format!("a policy permits to {touch} {path}, and none forbids it"),
                code: "policy_run",
                enforced: None,
                grantable: false,
            },
            Err(denied) => {
                let decide =
                    |set: &PolicySet| set.decide_touch(principal, speculative, touch, path);
                self.note(self.denial(denied), Outcome::Run, decide)
            }
        }
    }

    /// The denial of the first path of a delta that may not be changed.
    pub(crate) fn denied_change(&self, commit: &CommitRequest<'_>) -> Option<Decision> {
        let rules = self.path_rules(commit.principal, false);
        let mut touched = commit.changed.iter().flat_map(touches);
        let denied = touched.find_map(|(touch, path)| {
            let path = in_workspace(path);
            rules.decide(touch, &path, &fold(&path)).err()
        });
        denied.map(|denied| self.denial(denied))
    }

    fn denial(&self, denied: TouchDenied) -> Decision {
        let (touch, path) = (denied.touch, &denied.path);
        if denied.policy.is_empty() {
            let reason = format!("no policy of {:?} permits to {touch} {path}", self.name());
            Decision::deny("policy_not_permitted", Vec::new(), reason)
        } else {
            let because = self.because(&denied.policy);
            let reason = format!(
                "policy {:?} forbids to {touch} {path}{because}",
                denied.policy
            );
            Decision::deny("policy_forbidden", vec![denied.policy], reason)
        }
    }

    /// Decides a touch as Cedar does, without the compiled rules. Slow: it is there to
    /// hold the rules against.
    pub(crate) fn cedar_allows(
        &self,
        principal: Source,
        speculative: bool,
        unprotected: &[String],
        touch: Touch,
        path: &str,
    ) -> Result<bool, String> {
        let folded = fold(path);
        let rules = self.0.compile(principal, speculative, unprotected);
        let mut below = Vec::new();
        rules.named_below(touch, &folded, &mut |named| below.push(named));
        if !self
            .cedar_answers(principal, speculative, unprotected, touch, path)?
            .allowed
        {
            return Ok(false);
        }
        // A forbid of what is below forbids this; a missing permit there does not.
        for named in below {
            let answer = self.cedar_answers(principal, speculative, unprotected, touch, named)?;
            if !answer.allowed && !answer.policies.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn cedar_answers(
        &self,
        principal: Source,
        speculative: bool,
        unprotected: &[String],
        touch: Touch,
        path: &str,
    ) -> Result<Answer, String> {
        let folded = fold(path);
        let is_unprotected = unprotected.iter().any(|root| {
            folded
                .strip_prefix(root.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let context = [
            ("speculative", Fact::Flag(speculative)),
            ("unprotected", Fact::Flag(is_unprotected)),
        ];
        let schema = &self.0.schema;
        let entities = schema
            .entities
            .clone()
            .add_entities([paths::entity(path)], Some(&schema.schema))
            .map_err(|error| error.to_string())?;
        let resource = Fact::entity("Path", &folded);
        let question = Question::new(principal, touch_action(touch), resource, &[], context);
        self.ask_cedar(&question, &entities)
    }

    /// Puts one question to the rules that are about its action. A policy that can not be
    /// evaluated is an error, since Cedar would go on as if it were not there.
    fn ask(&self, question: &Question<'_>, entities: &Entities) -> Result<Answer, String> {
        let (mut permitting, mut forbidding) = (Vec::new(), Vec::new());
        let mut request = None;
        for rule in self.0.slices.get(question.action).into_iter().flatten() {
            let holds = match rule.holds(question) {
                Some(holds) => holds,
                None => {
                    let request = match &request {
                        Some(request) => request,
                        // The question was built from the schema. To hold it against that
                        // would cost more than to decide it.
                        None => request.insert(PolicySet::request(question, None)?),
                    };
                    let response = authorize(request, &rule.cedar, entities)?;
                    response.diagnostics().reason().next().is_some()
                }
            };
            match rule.effect {
                _ if !holds => {}
                Effect::Permit => permitting.push(rule.id.clone()),
                Effect::Forbid => forbidding.push(rule.id.clone()),
            }
        }
        let allowed = forbidding.is_empty() && !permitting.is_empty();
        let mut policies = if forbidding.is_empty() {
            permitting
        } else {
            forbidding
        };
        policies.sort_unstable();
        Ok(Answer { allowed, policies })
    }

    /// Puts one question to Cedar, with all policies, and holds it against the schema.
    fn ask_cedar(&self, question: &Question<'_>, entities: &Entities) -> Result<Answer, String> {
        let request = PolicySet::request(question, Some(&self.0.schema.schema))?;
        let response = authorize(&request, &self.0.cedar, entities)?;
        let mut policies: Vec<String> = response
            .diagnostics()
            .reason()
            .map(|id| AsRef::<str>::as_ref(id).to_owned())
            .collect();
        policies.sort_unstable();
        Ok(Answer {
            allowed: response.decision() == CedarDecision::Allow,
            policies,
        })
    }

    /// A question as Cedar's, held against `schema` if there is one.
    fn request(question: &Question<'_>, schema: Option<&Schema>) -> Result<Request, String> {
        let uid_of = |fact: &Fact<'_>| match fact {
            Fact::Entity(kind, id) => Ok(uid(kind, id)),
            other => Err(format!("{other:?} is no entity")),
        };
        Request::new(
            uid_of(&question.principal)?,
            uid("Action", question.action),
            uid_of(&question.resource)?,
            question.cedar_context()?,
            schema,
        )
        .map_err(|error| error.to_string())
    }
}

/// What Cedar says of policies, all of which it could evaluate.
fn authorize(request: &Request, policies: &Cedar, entities: &Entities) -> Result<Response, String> {
    let response = Authorizer::new().is_authorized(request, policies, entities);
    let failed = response.diagnostics().errors().next();
    match failed.map(ToString::to_string) {
        Some(error) => Err(error),
        None => Ok(response),
    }
}

/// What is asked of verified actions, in turn.
const VERIFIED: &[Outcome] = &[Outcome::Run, Outcome::Ask];

/// What is asked, in turn. Of the target's and the user's verified actions nothing is held.
pub(crate) fn modes(principal: Source, speculative: bool) -> &'static [Outcome] {
    match speculative || principal == Source::Approximation {
        true => &[Outcome::Run, Outcome::Hold, Outcome::Ask],
        false => VERIFIED,
    }
}

impl Counters {
    /// As policies see them.
    pub(crate) fn fact(&self) -> Fact<'static> {
        let counters = [
            ("calls", self.calls),
            ("bytes_written", self.bytes_written),
            ("commits", self.commits),
            ("bytes_out", self.bytes_out),
        ];
        let counters = counters.map(|(name, count)| (name.into(), Fact::count(count)));
        Fact::Record(counters.into())
    }
}

/// What a change does to which path.
fn touches(change: &PathChange) -> Vec<(Touch, &str)> {
    let path = change.path.as_str();
    match &change.kind {
        ChangeKind::Created | ChangeKind::Modified | ChangeKind::Attributes => {
            vec![(Touch::Write, path)]
        }
        ChangeKind::Deleted => vec![(Touch::Delete, path)],
        ChangeKind::Renamed { from } => vec![(Touch::Delete, from), (Touch::Write, path)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::set;
    use forerun_types::{Action, StepIndex};

    /// Decides a `write_file` of `path`.
    fn write(set: &PolicySet, principal: Source, speculative: bool, path: &str) -> Decision {
        let arguments = serde_json::json!({ "path": path, "content": "" }).to_string();
        call(set, principal, speculative, "write_file", &arguments)
    }

    fn call(
        set: &PolicySet,
        principal: Source,
        speculative: bool,
        tool: &str,
        arguments: &str,
    ) -> Decision {
        set.decide_call(&CallRequest {
            principal,
            action: &Action::parse(tool, arguments).unwrap(),
            step: StepIndex(3),
            depth: 2,
            speculative,
            counters: Counters {
                calls: 7,
                bytes_written: 1_000,
                commits: 3,
                bytes_out: 0,
            },
            read_sensitive: false,
        })
    }

    fn permit(id: &str, condition: &str) -> String {
        format!(
            "@id({id:?}) permit (principal, action in Action::\"call\", resource) when {{ {condition} }};\n"
        )
    }

    fn forbid(id: &str, condition: &str) -> String {
        permit(id, condition).replace("permit", "forbid")
    }

    #[test]
    fn nothing_is_permitted_by_no_policy() {
        for source in [
            "",
            &permit(
                "a",
                "context.mode == Mode::\"hold\" && false == context.speculative",
            ),
        ] {
            let decision = write(&set(source), Source::Target, false, "a");
            assert_eq!(
                (decision.outcome, decision.code),
                (Outcome::Deny, "policy_not_permitted")
            );
            assert_eq!(decision.policies, [] as [&str; 0]);
            assert!(
                decision.reason.contains("do not retry"),
                "{}",
                decision.reason
            );
        }
    }

    #[test]
    fn the_decision_is_the_first_mode_that_is_allowed() {
        use Outcome::*;
        let cases: [(&[&str], Outcome, Outcome); 7] = [
            (&["run", "hold", "ask"], Run, Run),
            (&["run"], Run, Run),
            (&["hold", "ask"], Hold, Ask),
            (&["hold"], Hold, Deny),
            (&["ask"], Ask, Ask),
            (&["run", "ask"], Run, Run),
            (&[], Deny, Deny),
        ];
        for (modes, unverified, verified) in cases {
            let source: String = modes
                .iter()
                .map(|mode| permit(mode, &format!("context.mode == Mode::{mode:?}")))
                .collect();
            let set = set(&source);
            let outcome = |principal, speculative| write(&set, principal, speculative, "a").outcome;
            assert_eq!(
                outcome(Source::Approximation, true),
                unverified,
                "{modes:?}"
            );
            assert_eq!(outcome(Source::Target, true), unverified, "{modes:?}");
            assert_eq!(outcome(Source::Target, false), verified, "{modes:?}");
            assert_eq!(outcome(Source::User, false), verified, "{modes:?}");
        }
    }

    #[test]
    fn forbid_wins_and_the_decision_names_who_decided() {
        let source = permit("all", "true")
            + &forbid(
                "no-secrets",
                "resource == Tool::\"write_file\" && context.step == 3",
            )
            .replace("forbid", "@reason(\"they are secret\") forbid");
        let decision = write(&set(&source), Source::Target, false, "a");
        assert_eq!(
            (decision.outcome, decision.code),
            (Outcome::Deny, "policy_forbidden")
        );
        assert_eq!(decision.policies, ["no-secrets"]);
        assert_eq!(
            decision.reason,
            "policy \"no-secrets\" forbids a call of write_file: they are secret; \
             it will be denied again, so do not retry it"
        );
        let other = call(
            &set(&source),
            Source::Target,
            false,
            "grep",
            r#"{"pattern":"a"}"#,
        );
        assert_eq!(
            (other.outcome, other.policies),
            (Outcome::Run, vec!["all".to_owned()])
        );
    }

    #[test]
    fn a_hold_names_what_forbade_to_run_and_what_permits_to_wait() {
        let source = permit("all", "true")
            + &forbid(
                "later",
                "context.speculative && context.mode == Mode::\"run\"",
            );
        let decision = write(&set(&source), Source::Approximation, true, "a");
        assert_eq!(
            (decision.outcome, decision.code),
            (Outcome::Hold, "policy_hold")
        );
        assert_eq!(decision.policies, ["later", "all"]);
        assert_eq!(
            write(&set(&source), Source::Target, false, "a").outcome,
            Outcome::Run
        );
    }

    #[test]
    fn arguments_counters_and_roles_can_be_asked_for() {
        let write_file = |condition: &str| {
            permit("a", condition).replace("in Action::\"call\"", "== Action::\"call:write_file\"")
        };
        for (condition, expected) in [
            ("context.args.path like \"src/*\"", Outcome::Run),
            ("context.args.path == \"src\"", Outcome::Deny),
            (
                "context.args.path_length == 8 && context.args.content_length == 0",
                Outcome::Run,
            ),
            ("context.args_partial", Outcome::Deny),
            (
                "context.counters.calls == 7 && context.counters.bytes_written == 1000",
                Outcome::Run,
            ),
            (
                "context.counters.commits == 3 && context.depth == 2",
                Outcome::Run,
            ),
            (
                "principal.role == Role::\"target\" && !context.speculative",
                Outcome::Run,
            ),
            ("principal.role == Role::\"user\"", Outcome::Deny),
            (
                "resource.deterministic && !resource.open_world",
                Outcome::Run,
            ),
        ] {
            let decision = write(
                &set(&write_file(condition)),
                Source::Target,
                false,
                "src/a.rs",
            );
            assert_eq!(decision.outcome, expected, "{condition}: {decision:?}");
        }
    }

    #[test]
    fn arguments_that_break_the_schema_are_denied_and_named() {
        let set = set(&permit("all", "true"));
        for (arguments, named) in [
            ("{}", "content"),
            (r#"{"path":1,"content":""}"#, "path"),
            ("[]", "object"),
        ] {
            let decision = call(&set, Source::User, false, "write_file", arguments);
            assert_eq!(
                (decision.outcome, decision.code),
                (Outcome::Deny, "policy_arguments")
            );
            assert!(decision.reason.contains(named), "{}", decision.reason);
        }
    }

    #[test]
    fn a_policy_that_can_not_be_evaluated_denies() {
        let source =
            permit("all", "true") + &forbid("overflow", "context.step * 9223372036854775807 > 0");
        let decision = write(&set(&source), Source::Target, false, "a");
        assert_eq!(
            (decision.outcome, decision.code),
            (Outcome::Deny, "policy_error")
        );
        assert!(decision.reason.contains("overflow"), "{}", decision.reason);
    }

    #[test]
    fn a_commit_is_decided_path_by_path_and_as_a_whole() {
        let source = "
            @id(\"src\") permit (principal, action in Action::\"touch\", resource in Path::\"/workspace/src\");
            @id(\"no-key\") forbid (principal, action == Action::\"delete\", resource) when { resource.ext == \"key\" };
            @id(\"commit\") permit (principal, action == Action::\"commit\", resource);
            @id(\"few\") forbid (principal, action == Action::\"commit\", resource)
            when { context.deleted + context.renamed > 1 && context.mode == Mode::\"run\" };";
        let set = set(source);
        let decide = |changed: &[(&str, ChangeKind)]| {
            let changed: Vec<_> = changed
                .iter()
                .map(|(path, kind)| PathChange {
                    path: (*path).to_owned(),
                    kind: kind.clone(),
                })
                .collect();
            let decision = set.decide_commit(&CommitRequest {
                principal: Source::Target,
                changed: &changed,
                shared: 0,
            });
            (decision.outcome, decision.policies)
        };
        let from = |from: &str| ChangeKind::Renamed {
            from: from.to_owned(),
        };
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        use ChangeKind::*;
        assert_eq!(decide(&[]), (Outcome::Run, ids(&["commit"])));
        assert_eq!(
            decide(&[("src/a", Created), ("src/b", Modified)]).0,
            Outcome::Run
        );
        assert_eq!(
            decide(&[("src/a", Created), ("b", Attributes)]),
            (Outcome::Deny, ids(&[]))
        );
        assert_eq!(
            decide(&[("src/a.KEY", Deleted)]),
            (Outcome::Deny, ids(&["no-key"]))
        );
        assert_eq!(decide(&[("src/a.key", Modified)]).0, Outcome::Run);
        assert_eq!(
            decide(&[("src/a", from("src/b.key"))]),
            (Outcome::Deny, ids(&["no-key"]))
        );
        assert_eq!(decide(&[("src/a", from("b"))]).0, Outcome::Deny);
        let two = decide(&[("src/a", Deleted), ("src/c", from("src/b"))]);
        assert_eq!(two, (Outcome::Ask, ids(&["few", "commit"])));
    }
}
