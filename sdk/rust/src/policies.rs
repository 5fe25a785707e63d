//! Policies: which sets there are, whether one is valid, and why it decides as it does.

use crate::client::{Forerun, authorized, bearer, idempotent};
use crate::error::{Error, Result};
use forerun_proto::v1;
use forerun_proto::v1::policy_service_check_request::Policy as Asked;
use forerun_proto::v1::policy_service_explain_request::{
    Asked as Explain, Connect as WireConnect, Touch as WireTouch,
};
use forerun_proto::v1::policy_side::Policy as Side;
use forerun_types::{Action, Source, Touch};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The policy sets that a session can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySets {
    /// All of them, those that are built in first.
    pub sets: Vec<PolicySetInfo>,
    /// The one of sessions that name none.
    pub default: String,
}

/// A policy set that a session can name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicySetInfo {
    /// Its name.
    pub name: String,
    /// What it is for, in a sentence.
    pub summary: String,
    /// Where it is, if it is the user's own.
    pub directory: Option<PathBuf>,
    /// Why it can not be used, if it can not.
    pub problem: Option<String>,
}

/// A policy set as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyText {
    /// Its name.
    pub name: String,
    /// Its policies, Cedar.
    pub source: String,
    /// Its examples, TOML, if it has some.
    pub examples: Option<String>,
}

/// What is wrong with a policy set, and how it decides its examples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedPolicy {
    /// What is wrong with it. Examples are decided only if nothing is.
    pub problems: Vec<PolicyProblem>,
    /// Its examples.
    pub examples: Vec<PolicyExample>,
    /// How many policies it has, what lies under it included.
    pub policies: u32,
}

/// Something that is wrong with a policy set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyProblem {
    /// The layer that it is in: the set, or what lies under it.
    pub layer: String,
    /// Line, from 1; 0 if it has no place in the text.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The policy that it is about, if it has a name.
    pub policy: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it, if that is known.
    pub hint: String,
}

/// An example of a policy set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyExample {
    /// What it shows.
    pub say: String,
    /// Who asks.
    pub by: String,
    /// What is asked.
    pub asked: String,
    /// What has to become of it: run, hold, ask or deny.
    pub expect: String,
    /// What is wrong with the decision, if it is another one.
    pub failure: Option<String>,
}

/// Something to ask a policy set about.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicyQuestion {
    /// May it be called?
    Call(Action),
    /// May a tool do this to a path, as it sees it or relative to the workspace?
    Touch(Touch, String),
    /// A request that a tool sends.
    Connect {
        /// In capitals.
        method: String,
        /// Absolute.
        url: String,
    },
}

/// How a policy set decides, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// run, hold, ask or deny.
    pub outcome: String,
    /// A stable name of the kind of answer.
    pub code: String,
    /// Why, in one sentence.
    pub reason: String,
    /// The policies that decided.
    pub policies: Vec<PolicyOrigin>,
}

/// A policy that decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyOrigin {
    /// Its id.
    pub id: String,
    /// The layer that it is in.
    pub layer: String,
    /// Cedar.
    pub text: String,
}

/// A policy set, as it is named or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyChoice {
    /// One that sessions can name, as its files are now.
    Name(String),
    /// One that is not installed.
    Text(PolicyText),
}

/// What changes from one policy set to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyDifference {
    /// `equal`, `widens`, `narrows`, `both` or `cannot_tell`.
    pub change: String,
    /// Whether some request is allowed more.
    pub wider: PolicyFinding,
    /// Whether some request is allowed less.
    pub narrower: PolicyFinding,
}

/// Whether there is a request that is decided in a certain way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyFinding {
    /// Proven: there is none. Without it and without a witness, it is not known.
    pub impossible: bool,
    /// One that shows it.
    pub witness: Option<PolicyWitness>,
}

/// A request that two sets decide differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyWitness {
    /// Who acts.
    pub principal: String,
    /// As policies name it, such as `call:write_file`, `commit`, `write`.
    pub action: String,
    /// The tool's name, the path as a tool sees it, or the workspace.
    pub resource: String,
    /// What policies see of the circumstances, JSON.
    pub context: String,
    /// How it was decided: run, hold, ask or deny.
    pub before: String,
    /// How it is decided.
    pub after: String,
    /// All of it in a line.
    pub line: String,
}

impl Forerun {
    /// The policy sets that a session can name.
    ///
    /// # Errors
    /// If the daemon can not be reached.
    pub async fn policies(&self) -> Result<PolicySets> {
        let bearer = bearer(&self.owner_key()?)?;
        let answer = idempotent(|| {
            let request = authorized(&bearer, v1::PolicyServiceListRequest {});
            let mut service = self.policy_service();
            async move { service.list(request).await }
        })
        .await?;
        Ok(PolicySets {
            sets: answer.sets.into_iter().map(info).collect(),
            default: answer.default,
        })
    }

    /// A policy set as it is written: one text, what it shares with others first.
    ///
    /// # Errors
    /// If there is none of this name, or it can not be read.
    pub async fn policy(&self, name: &str) -> Result<PolicyText> {
        let bearer = bearer(&self.owner_key()?)?;
        let answer = idempotent(|| {
            let name = name.to_owned();
            let request = authorized(&bearer, v1::PolicyServiceGetRequest { name });
            let mut service = self.policy_service();
            async move { service.get(request).await }
        })
        .await?;
        let sources: Vec<_> = answer
            .layers
            .into_iter()
            .map(|layer| layer.source)
            .collect();
        Ok(PolicyText {
            name: name.to_owned(),
            source: sources.join("\n"),
            examples: (!answer.examples.is_empty()).then_some(answer.examples),
        })
    }

    /// Checks a set that a session can name, as its files are now, and its examples.
    ///
    /// # Errors
    /// If there is none of this name, or it can not be read.
    pub async fn check_policy(&self, name: &str) -> Result<CheckedPolicy> {
        self.check(Asked::Name(name.to_owned())).await
    }

    /// Checks a set that is not installed, and its examples.
    ///
    /// # Errors
    /// If the daemon can not be reached.
    pub async fn check_policy_text(&self, text: PolicyText) -> Result<CheckedPolicy> {
        self.check(Asked::Text(v1::PolicyText {
            name: text.name,
            source: text.source,
            examples: text.examples.unwrap_or_default(),
        }))
        .await
    }

    async fn check(&self, policy: Asked) -> Result<CheckedPolicy> {
        let bearer = bearer(&self.owner_key()?)?;
        let answer = idempotent(|| {
            let policy = Some(policy.clone());
            let request = authorized(&bearer, v1::PolicyServiceCheckRequest { policy });
            let mut service = self.policy_service();
            async move { service.check(request).await }
        })
        .await?;
        let problems = answer.problems.into_iter().map(|problem| PolicyProblem {
            layer: problem.layer,
            line: problem.line,
            column: problem.column,
            policy: problem.policy,
            message: problem.message,
            hint: problem.hint,
        });
        let examples = answer.examples.into_iter().map(|example| PolicyExample {
            say: example.say,
            by: example.by,
            asked: example.asked,
            expect: example.expect,
            failure: (!example.failure.is_empty()).then_some(example.failure),
        });
        Ok(CheckedPolicy {
            problems: problems.collect(),
            examples: examples.collect(),
            policies: answer.policies,
        })
    }

    /// What changes from one policy set to another: whether some request is allowed more, or
    /// less, with a request that shows it. Can take a minute for very large sets.
    ///
    /// # Errors
    /// If one of them can not be read or is not valid.
    pub async fn diff_policies(
        &self,
        before: &PolicyChoice,
        after: &PolicyChoice,
    ) -> Result<PolicyDifference> {
        let bearer = bearer(&self.owner_key()?)?;
        let side = |choice: &PolicyChoice| v1::PolicySide {
            policy: Some(match choice {
                PolicyChoice::Name(name) => Side::Name(name.clone()),
                PolicyChoice::Text(text) => Side::Text(v1::PolicyText {
                    name: text.name.clone(),
                    source: text.source.clone(),
                    examples: text.examples.clone().unwrap_or_default(),
                }),
            }),
        };
        let request = v1::PolicyServiceDiffRequest {
            before: Some(side(before)),
            after: Some(side(after)),
        };
        let answer = idempotent(|| {
            let request = authorized(&bearer, request.clone());
            let mut service = self.policy_service();
            async move { service.diff(request).await }
        })
        .await?;
        let finding = |finding: Option<v1::policy_service_diff_response::PolicyFinding>| {
            let finding = finding.unwrap_or_default();
            PolicyFinding {
                impossible: finding.impossible,
                witness: finding.witness.map(|witness| PolicyWitness {
                    principal: witness.principal,
                    action: witness.action,
                    resource: witness.resource,
                    context: witness.context,
                    before: witness.before,
                    after: witness.after,
                    line: witness.line,
                }),
            }
        };
        Ok(PolicyDifference {
            change: answer.change,
            wider: finding(answer.wider),
            narrower: finding(answer.narrower),
        })
    }

    /// How a policy set decides, and why. `policy`: the default one if there is no name;
    /// `workspace`: whose own layer counts as well.
    ///
    /// # Errors
    /// If the set can not be used, or the daemon can not be reached.
    pub async fn explain_policy(
        &self,
        policy: Option<&str>,
        workspace: Option<&Path>,
        (by, speculative): (Source, bool),
        question: &PolicyQuestion,
    ) -> Result<Explained> {
        let bearer = bearer(&self.owner_key()?)?;
        let workspace = workspace.map(std::path::absolute).transpose();
        let workspace = workspace.map_err(|error| Error::Argument {
            what: "the workspace",
            problem: error.to_string(),
        })?;
        let asked = match question {
            PolicyQuestion::Call(action) => Explain::Call(action.clone().into()),
            PolicyQuestion::Connect { method, url } => Explain::Connect(WireConnect {
                method: method.clone(),
                url: url.clone(),
            }),
            PolicyQuestion::Touch(touch, path) => Explain::Touch(WireTouch {
                kind: touch.to_string(),
                path: path.clone(),
            }),
        };
        let request = v1::PolicyServiceExplainRequest {
            policy: policy.unwrap_or_default().to_owned(),
            workspace: workspace
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
            by: v1::Source::from(by).into(),
            speculative,
            asked: Some(asked),
        };
        let answer = idempotent(|| {
            let request = authorized(&bearer, request.clone());
            let mut service = self.policy_service();
            async move { service.explain(request).await }
        })
        .await?;
        let policies = answer.policies.into_iter().map(|policy| PolicyOrigin {
            id: policy.id,
            layer: policy.layer,
            text: policy.text,
        });
        Ok(Explained {
            outcome: answer.outcome,
            code: answer.code,
            reason: answer.reason,
            policies: policies.collect(),
        })
    }

    /// Has the user's sets and the system's layer read anew, all or none, and returns the
    /// user's. Sessions keep the set that they started with.
    ///
    /// # Errors
    /// If any of them can not be used; then nothing has changed.
    pub async fn reload_policies(&self) -> Result<Vec<PolicySetInfo>> {
        let bearer = bearer(&self.owner_key()?)?;
        let answer = idempotent(|| {
            let request = authorized(&bearer, v1::PolicyServiceReloadRequest {});
            let mut service = self.policy_service();
            async move { service.reload(request).await }
        })
        .await?;
        Ok(answer.sets.into_iter().map(info).collect())
    }
}

fn info(set: v1::PolicySetInfo) -> PolicySetInfo {
    PolicySetInfo {
        name: set.name,
        summary: set.summary,
        directory: (!set.directory.is_empty()).then(|| set.directory.into()),
        problem: (!set.problem.is_empty()).then_some(set.problem),
    }
}
