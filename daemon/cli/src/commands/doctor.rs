//! `forerun doctor`: what a workspace's file system can do for commits, and whether a
//! daemon answers. Changes nothing but what it makes to try things out, and removes that.

use super::daemon::locations;
use super::{connect, with_causes};
use crate::args::Global;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use forerun_snapshot::{Abilities, OpenError, OpenOptions, Workspace};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// `forerun doctor [DIR]`
pub(crate) async fn doctor(global: &Global, output: Output, dir: &Path) -> Result<(), Failure> {
    let locations = locations(global)?;
    let mut quiet = global.clone();
    quiet.no_spawn = true;
    let status = match connect(&quiet).await {
        Ok(client) => client.status().await.ok(),
        Err(_) => None,
    };
    let (state_dir, work_dir) = (locations.state_dir, dir.to_owned());
    let (state_shown, dir) = (state_dir.clone(), dir);
    let tried = tokio::task::spawn_blocking(move || abilities(&work_dir, &state_dir));
    let abilities = tried
        .await
        .map_err(|error| Failure::new(Exit::Software, "DOCTOR", error.to_string()))?;
    if output.json {
        output.value(&serde_json::json!({
            "daemon": status.map(|status| serde_json::json!({
                "pid": status.pid,
                "version": status.version,
            })),
            "state_dir": state_shown,
            "workspace": dir,
            "slots_in_state": abilities.as_ref().ok().map(|it| it.slots_in_state),
            "exchange": abilities.as_ref().ok().map(|it| it.exchange),
            "leases": abilities.as_ref().ok().map(|it| it.leases),
            "directories": abilities.as_ref().ok().map(|it| it.directories),
        }));
        return abilities.map(drop);
    }
    let daemon = match status {
        Some(status) => format!("{} (pid {})", status.version, status.pid),
        None => "not running; the next command starts it".to_owned(),
    };
    output.line(&format!("daemon     {daemon}"));
    output.line(&format!("state      {}", state_shown.display()));
    output.line(&format!("workspace  {}", dir.display()));
    let found = abilities?;
    let told = [
        (
            "slots",
            found.slots_in_state,
            "in the state directory",
            "in .forerun, because the state directory is on another mount",
        ),
        (
            "replace",
            found.exchange,
            "in one step",
            "in two steps: for a moment, nothing is at the path",
        ),
        (
            "renames",
            found.directories,
            "of a directory in one step",
            "of a directory file by file: the file system can not move all of them",
        ),
        (
            "writers",
            found.leases,
            "seen: a file that is open for writing is not replaced",
            "not seen: what is written to a replaced file later is kept in .forerun/conflicts",
        ),
    ];
    for (name, is_best, best, else_) in told {
        let text = if is_best { best } else { else_ };
        output.line(&format!("  {name:<8} {text}"));
    }
    Ok(())
}

fn abilities(dir: &Path, state_dir: &Path) -> Result<Abilities, Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(|error| Failure::io("the state directory can not be made", &error))?;
    let options = OpenOptions {
        state_dir: state_dir.to_owned(),
        masks: Vec::new(),
    };
    let workspace = Workspace::open(dir, &options).map_err(|error| {
        let exit = match error {
            OpenError::Locked(_) => Exit::NotNow,
            OpenError::Io { .. } => Exit::Io,
            _ => Exit::NoInput,
        };
        with_hint(exit, error.code(), with_causes(&error), error.hint())
    })?;
    workspace.abilities().map_err(|error| {
        with_hint(
            Exit::NotAllowed,
            error.code(),
            with_causes(&error),
            error.hint(),
        )
    })
}

fn with_hint(exit: Exit, code: &str, message: String, hint: Option<&str>) -> Failure {
    let failure = Failure::new(exit, &code.to_uppercase(), message);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
