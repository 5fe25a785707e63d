//! Policies: which sets there are, whether one is valid, and why it decides as it does.

use super::blocking;
use crate::daemon::Daemon;
use crate::egress::{Egress, Target};
use crate::error::RequestError;
use crate::policies::Listed;
use forerun_policy::{
    CallRequest, ConnectRequest, Counters, Definition, Finding, PolicyError, PolicySet, Tested,
};
use forerun_proto::conversions::{self, ConversionError};
use forerun_proto::v1;
use forerun_proto::v1::policy_service_check_request::Policy as Asked;
use forerun_proto::v1::policy_service_check_response::{PolicyExample, PolicyProblem};
use forerun_proto::v1::policy_service_diff_response::{PolicyFinding, PolicyWitness};
use forerun_proto::v1::policy_service_explain_request::Asked as Explained;
use forerun_proto::v1::policy_service_explain_response::PolicyOrigin;
use forerun_proto::v1::policy_service_server::PolicyService;
use forerun_proto::v1::policy_side::Policy as Side;
use forerun_types::{Action, Source, StepIndex, Touch};
use std::path::Path;
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub(super) struct Policies(pub(super) Arc<Daemon>);

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn list(
        &self,
        request: Request<v1::PolicyServiceListRequest>,
    ) -> Reply<v1::PolicyServiceListResponse> {
        self.0
            .authorize_user(request.metadata(), "list the policy sets")?;
        let daemon = Arc::clone(&self.0);
        let sets = blocking(move || Ok(daemon.policies.list()?)).await?;
        Ok(Response::new(v1::PolicyServiceListResponse {
            sets: sets.into_iter().map(listed).collect(),
            default: self.0.config.settings.policy.clone(),
        }))
    }

    async fn get(
        &self,
        request: Request<v1::PolicyServiceGetRequest>,
    ) -> Reply<v1::PolicyServiceGetResponse> {
        self.0
            .authorize_user(request.metadata(), "read a policy set")?;
        let (daemon, name) = (Arc::clone(&self.0), request.into_inner().name);
        let definition = blocking(move || Ok(daemon.policies.definition(&name)?)).await?;
        let below = definition.below.into_iter();
        let below = below.map(|layer| (layer.name, layer.source));
        let layers = below.chain([(definition.name, definition.source)]);
        Ok(Response::new(v1::PolicyServiceGetResponse {
            layers: layers
                .map(|(name, source)| v1::PolicyLayer { name, source })
                .collect(),
            examples: definition.examples.unwrap_or_default(),
        }))
    }

    async fn check(
        &self,
        request: Request<v1::PolicyServiceCheckRequest>,
    ) -> Reply<v1::PolicyServiceCheckResponse> {
        self.0
            .authorize_user(request.metadata(), "check a policy set")?;
        let daemon = Arc::clone(&self.0);
        let asked = request.into_inner().policy;
        let asked = asked.ok_or_else(|| ConversionError::new("policy", "is not set"));
        let asked = asked.map_err(RequestError::from)?;
        let checked = blocking(move || {
            let definition = match asked {
                Asked::Name(name) => daemon.policies.definition(&name)?,
                Asked::Text(text) => definition(text),
            };
            check(&daemon, &definition)
        });
        Ok(Response::new(checked.await?))
    }

    async fn diff(
        &self,
        request: Request<v1::PolicyServiceDiffRequest>,
    ) -> Reply<v1::PolicyServiceDiffResponse> {
        self.0
            .authorize_user(request.metadata(), "compare policy sets")?;
        let daemon = Arc::clone(&self.0);
        let v1::PolicyServiceDiffRequest { before, after } = request.into_inner();
        let side = |field, side: Option<v1::PolicySide>| {
            let policy = side.and_then(|side| side.policy);
            policy.ok_or_else(|| RequestError::from(ConversionError::new(field, "is not set")))
        };
        let sides = [side("before", before)?, side("after", after)?];
        let compared = blocking(move || {
            let sandboxes = daemon.sandboxes();
            let tools = sandboxes.toolbox().tools();
            let mut sets = Vec::new();
            for side in sides {
                let definition = match side {
                    Side::Name(name) => daemon.policies.definition(&name)?,
                    Side::Text(text) => definition(text),
                };
                sets.push(definition.assemble(tools, &Default::default())?);
            }
            let difference = sets[0].diff(&sets[1]);
            difference.map_err(|error| RequestError::Internal(error.to_string()))
        });
        let difference = compared.await?;
        Ok(Response::new(v1::PolicyServiceDiffResponse {
            change: difference.change().as_str().to_owned(),
            wider: Some(finding(&difference.wider)),
            narrower: Some(finding(&difference.narrower)),
        }))
    }

    async fn explain(
        &self,
        request: Request<v1::PolicyServiceExplainRequest>,
    ) -> Reply<v1::PolicyServiceExplainResponse> {
        self.0
            .authorize_user(request.metadata(), "ask why policy decides as it does")?;
        let question = Question::of(request.into_inner()).map_err(RequestError::from)?;
        let daemon = Arc::clone(&self.0);
        let explained = blocking(move || {
            let name = match question.policy.as_str() {
                "" => &daemon.config.settings.policy,
                name => name,
            };
            let workspace = question.workspace.as_str();
            let workspace = (!workspace.is_empty()).then(|| Path::new(workspace));
            let set = daemon.policy(name, workspace)?;
            Ok(question.explain(&set, &daemon.egress))
        });
        Ok(Response::new(explained.await?))
    }

    async fn reload(
        &self,
        request: Request<v1::PolicyServiceReloadRequest>,
    ) -> Reply<v1::PolicyServiceReloadResponse> {
        self.0
            .authorize_user(request.metadata(), "reload the policies")?;
        let daemon = Arc::clone(&self.0);
        let read =
            blocking(move || Ok(daemon.policies.reload(daemon.sandboxes().toolbox())?)).await?;
        Ok(Response::new(v1::PolicyServiceReloadResponse {
            sets: read.into_iter().map(listed).collect(),
        }))
    }
}

fn listed(set: Listed) -> v1::PolicySetInfo {
    let directory = set
        .directory
        .map(|directory| directory.display().to_string());
    v1::PolicySetInfo {
        name: set.name,
        summary: set.summary,
        directory: directory.unwrap_or_default(),
        problem: set
            .problem
            .map(|problem| problem.to_string())
            .unwrap_or_default(),
    }
}

/// A set that is not installed.
fn definition(text: v1::PolicyText) -> Definition {
    Definition {
        name: text.name,
        source: text.source,
        examples: (!text.examples.is_empty()).then_some(text.examples),
        below: Vec::new(),
    }
}

fn finding(finding: &Finding) -> PolicyFinding {
    PolicyFinding {
        impossible: *finding == Finding::Impossible,
        witness: finding.witness().map(|witness| PolicyWitness {
            principal: witness.principal.to_string(),
            action: witness.action.clone(),
            resource: witness.resource.clone(),
            context: witness.context.to_string(),
            before: witness.before.outcome.to_string(),
            after: witness.after.outcome.to_string(),
            line: witness.to_string(),
        }),
    }
}

/// What is wrong with a set, and with what it decides. That is an answer, not an error.
fn check(
    daemon: &Daemon,
    definition: &Definition,
) -> Result<v1::PolicyServiceCheckResponse, RequestError> {
    let sandboxes = daemon.sandboxes();
    let tools = sandboxes.toolbox().tools();
    let mut answer = v1::PolicyServiceCheckResponse::default();
    let tested = definition.test(tools).and_then(|tested| {
        let set = definition.assemble(tools, &Default::default())?;
        Ok((tested, set))
    });
    match tested {
        Ok((tested, set)) => {
            answer.policies = u32::try_from(set.policies()).unwrap_or(u32::MAX);
            answer.examples = tested.into_iter().map(example).collect();
        }
        Err(PolicyError::Invalid { set, problems }) => {
            answer.problems = problems
                .into_iter()
                .map(|problem| PolicyProblem {
                    layer: set.clone(),
                    line: u32::try_from(problem.line).unwrap_or(u32::MAX),
                    column: u32::try_from(problem.column).unwrap_or(u32::MAX),
                    policy: problem.policy.unwrap_or_default(),
                    message: problem.message,
                    hint: problem.hint.unwrap_or_default(),
                })
                .collect();
        }
        Err(PolicyError::Examples { set, failures }) => {
            answer.problems = failures
                .into_iter()
                .map(|message| PolicyProblem {
                    layer: set.clone(),
                    message,
                    ..PolicyProblem::default()
                })
                .collect();
        }
        Err(error) => return Err(error.into()),
    }
    Ok(answer)
}

fn example(tested: Tested) -> PolicyExample {
    PolicyExample {
        say: tested.say,
        by: tested.by,
        asked: tested.asked,
        expect: tested.expect.to_string(),
        failure: tested.failure.unwrap_or_default(),
    }
}

/// What is asked about a set.
struct Question {
    policy: String,
    workspace: String,
    by: Source,
    speculative: bool,
    what: What,
}

enum What {
    Call(Action),
    Touch(Touch, String),
    /// With this method.
    Connect(String, Target),
}

impl Question {
    fn of(request: v1::PolicyServiceExplainRequest) -> Result<Question, ConversionError> {
        let what = match request.asked {
            Some(Explained::Call(action)) => {
                What::Call(conversions::required("call", Some(action))?)
            }
            Some(Explained::Touch(touch)) => {
                let kind = match touch.kind.as_str() {
                    "read" => Touch::Read,
                    "write" => Touch::Write,
                    "delete" => Touch::Delete,
                    other => {
                        let problem = format!("{other:?} is not read, write or delete");
                        return Err(ConversionError::new("touch.kind", problem));
                    }
                };
                What::Touch(kind, absolute(&touch.path))
            }
            Some(Explained::Connect(connect)) => {
                let target = Target::parse(&connect.url);
                let target =
                    target.map_err(|problem| ConversionError::new("connect.url", problem))?;
                What::Connect(connect.method, target)
            }
            None => return Err(ConversionError::new("asked", "is not set")),
        };
        Ok(Question {
            by: conversions::enumeration::<v1::Source, _>("by", request.by)?,
            policy: request.policy,
            workspace: request.workspace,
            speculative: request.speculative,
            what,
        })
    }

    fn explain(&self, set: &PolicySet, egress: &Egress) -> v1::PolicyServiceExplainResponse {
        let decision = match &self.what {
            What::Call(action) => set.decide_call(&CallRequest {
                principal: self.by,
                action,
                step: StepIndex(0),
                depth: u32::from(self.speculative),
                speculative: self.speculative,
                counters: Counters::default(),
                read_sensitive: false,
            }),
            What::Touch(touch, path) => set.decide_touch(self.by, self.speculative, *touch, path),
            What::Connect(method, target) => set.decide_connect(&ConnectRequest {
                principal: self.by,
                tool: "fetch",
                step: StepIndex(0),
                depth: u32::from(self.speculative),
                speculative: self.speculative,
                counters: Counters::default(),
                scheme: target.url.scheme(),
                host: &target.host,
                port: target.port,
                method,
                path: &target.path(),
                body_length: 0,
                headers_length: 0,
                listed: egress.lists(target),
                ahead: egress.lists_ahead(target),
                read_sensitive: false,
            }),
        };
        let out_of_reach = match &self.what {
            What::Connect(_, target) => egress.out_of_reach(target),
            What::Call(_) | What::Touch(..) => None,
        };
        if let Some(reason) = out_of_reach {
            return v1::PolicyServiceExplainResponse {
                outcome: "deny".to_owned(),
                code: "address_out_of_reach".to_owned(),
                policies: Vec::new(),
                reason,
            };
        }
        let origin = |id: &String| {
            let written = set.policy(id);
            PolicyOrigin {
                id: id.clone(),
                layer: written
                    .map(|written| written.layer.clone())
                    .unwrap_or_default(),
                text: written
                    .map(|written| written.text.clone())
                    .unwrap_or_default(),
            }
        };
        v1::PolicyServiceExplainResponse {
            outcome: decision.outcome.to_string(),
            code: decision.code.to_owned(),
            policies: decision.policies.iter().map(origin).collect(),
            reason: decision.reason,
        }
    }
}

/// A path as a tool sees it.
fn absolute(path: &str) -> String {
    match path.strip_prefix("./").unwrap_or(path) {
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/workspace/{path}"),
    }
}
