//! The commands, one file a topic.

mod agent;
mod approval;
mod daemon;
mod doctor;
mod exec;
mod interrupt;
mod log;
mod mcp;
mod metrics;
mod models;
mod policy;
mod report;
mod run;
mod session;
mod simulate;
mod tool;
mod watch;

pub(crate) use agent::agent;
pub(crate) use daemon::{COMPILE, compile, serve, shutdown, socket, status};
pub(crate) use doctor::doctor;
pub(crate) use exec::exec;
pub(crate) use interrupt::interrupt;
pub(crate) use log::log;
pub(crate) use mcp::mcp;
pub(crate) use policy::policy;
pub(crate) use run::run;
pub(crate) use session::session;
pub(crate) use simulate::simulate;
pub(crate) use tool::tool;
pub(crate) use watch::watch;

use crate::args::Global;
use crate::failure::Failure;
use forerun_sdk::{Forerun, Session};
use forerun_types::SessionId;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// Finds the daemon, or starts it.
async fn connect(global: &Global) -> Result<Forerun, Failure> {
    let mut connect = Forerun::builder();
    if let Some(endpoint) = &global.endpoint {
        connect = connect.endpoint(endpoint);
    }
    if global.no_spawn {
        connect = connect.no_spawn();
    }
    Ok(connect.connect().await?)
}

/// Asks a person for a yes; `None` where nobody can answer.
fn confirm(question: &str) -> Result<Option<bool>, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let mut answer = String::new();
    write!(io::stderr(), "{question} [y/N] ")
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::io("the question could not be asked", &error))?;
    Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
}

/// An error with its causes, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A session of this user.
async fn owned(global: &Global, id: &SessionId) -> Result<Session, Failure> {
    Ok(connect(global).await?.owned(id.clone())?)
}
