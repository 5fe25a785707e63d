//! `forerun agent`: an agent as its own process.

use super::connect;
use crate::args::{AgentArgs, Global};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use forerun_sdk::script::{Script, ScriptAgent};
use forerun_sdk::{AttachOptions, Session};
use forerun_types::Role;
use std::path::Path;

/// What an agent specification names.
pub(crate) enum Spec {
    /// A scripted agent.
    Script(Script),
}

impl Spec {
    /// Reads `script:FILE`.
    ///
    /// # Errors
    /// If the kind is not known, or the script can not be read.
    pub(crate) fn load(spec: &str) -> Result<Spec, Failure> {
        match spec.split_once(':') {
            Some(("script", file)) if !file.is_empty() => {
                let script = Script::load(Path::new(file)).map_err(forerun_sdk::Error::from)?;
                Ok(Spec::Script(script))
            }
            _ => Err(Failure::new(
                Exit::Usage,
                "AGENT_SPEC_INVALID",
                format!("{spec:?} names no agent"),
            )
            .hint("an agent is given as script:FILE")),
        }
    }

    /// The agent in one role.
    pub(crate) fn agent(&self, role: Role) -> ScriptAgent {
        match self {
            Spec::Script(script) => script.agent(role),
        }
    }
}

/// Attaches, and stays until the session needs the agent no more.
pub(crate) async fn agent(global: &Global, output: Output, args: AgentArgs) -> Result<(), Failure> {
    let spec = Spec::load(&args.spec)?;
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
