//! `forerun agent`: an agent as its own process.

use super::connect;
use super::models::Models;
use crate::args::{AgentArgs, Global};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use forerun_sdk::model::{ModelAgent, ModelError, ModelOptions, ModelSpec};
use forerun_sdk::script::Script;
use forerun_sdk::{Agent, AttachOptions, Session};
use forerun_types::Role;
use std::path::Path;

/// What an agent specification names.
pub(crate) enum Spec {
    /// A scripted agent.
    Script(Box<Script>),
    /// A model, ready to be asked.
    Model(Box<ModelAgent>),
}

impl Spec {
    /// Reads `script:FILE`, `openai:MODEL` or `anthropic:MODEL`.
    ///
    /// # Errors
    /// If the kind is not known, the script can not be read, or the model has no key.
    pub(crate) fn load(spec: &str, options: &ModelOptions) -> Result<Spec, Failure> {
        let failed = |error: ModelError| Failure::from(forerun_sdk::Error::from(error));
        match spec.split_once(':') {
            Some(("script", file)) if !file.is_empty() => {
                let script = Script::load(Path::new(file)).map_err(forerun_sdk::Error::from)?;
                Ok(Spec::Script(Box::new(script)))
            }
            _ if ModelSpec::is_meant_by(spec) => {
                let spec: ModelSpec = spec.parse().map_err(failed)?;
                let agent = ModelAgent::from_env(&spec, options).map_err(failed)?;
                Ok(Spec::Model(Box::new(agent)))
            }
            _ => Err(Failure::new(
                Exit::Usage,
                "AGENT_SPEC_INVALID",
                format!("{spec:?} names no agent"),
            )
            .hint("an agent is given as openai:MODEL, anthropic:MODEL or script:FILE")),
        }
    }

    /// Whether a specification names a script.
    pub(crate) fn is_script(spec: &str) -> bool {
        spec.starts_with("script:")
    }

    /// The agent in one role.
    fn agent(self, role: Role) -> Box<dyn Agent> {
        match self {
            Spec::Script(script) => Box::new(script.agent(role)),
            Spec::Model(agent) => agent,
        }
    }
}

/// Attaches, and stays until the session needs the agent no more.
pub(crate) async fn agent(global: &Global, output: Output, args: AgentArgs) -> Result<(), Failure> {
    let spec = Spec::load(&args.spec, &Models::load()?.options())?;
    let daemon = connect(global).await?;
    let session: Session = match args.token {
        Some(token) => daemon.existing(args.session, token),
        None => daemon.owned(args.session)?,
    };
    let id = args
        .id
        .unwrap_or_else(|| format!("{}:{}", args.role, args.spec));
    let options = AttachOptions::default().agent_id(id).model(args.spec);
    let attachment = session
        .attach_with(args.role, spec.agent(args.role), options)
        .await?;
    let ended = attachment.ended().await?;
    if !args.quiet {
        output.note(&format!("{} agent: {ended}", args.role));
    }
    Ok(())
}
