//! `forerun log`: verify, export.

use super::{connect, owned};
use crate::args::{Global, LogCommand};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::style::visible;
use forerun_types::{SessionId, View};

pub(crate) async fn log(
    global: &Global,
    output: Output,
    command: LogCommand,
) -> Result<(), Failure> {
    match command {
        LogCommand::Verify { session } => verify(global, output, session).await,
        LogCommand::Export { session } => export(global, output, &session).await,
    }
}

async fn verify(
    global: &Global,
    output: Output,
    session: Option<SessionId>,
) -> Result<(), Failure> {
    let daemon = connect(global).await?;
    let sessions = match session {
        Some(session) => vec![session],
        None => {
            let all = daemon.sessions(None).await?;
            all.into_iter().map(|info| info.id).collect()
        }
    };
    let mut broken = 0;
    for id in &sessions {
        let found = daemon.owned(id.clone())?.verify_log().await?;
        broken += usize::from(found.broken.is_some());
        if output.json {
            let place = found.broken.as_ref();
            output.value(&serde_json::json!({
                "session": id,
                "intact": found.intact,
                "broken": place.map(|(sequence, reason)| {
                    serde_json::json!({ "sequence": sequence, "reason": reason })
                }),
            }));
            continue;
        }
        let line = match &found.broken {
            None => format!(
                "{id} {} {} events",
                output.style.good("intact"),
                found.intact
            ),
            Some((sequence, reason)) => format!(
                "{id} {} from event {sequence} on: {}",
                output.style.bad("broken"),
                visible(reason)
            ),
        };
        output.line(&line);
    }
    if broken == 0 {
        return Ok(());
    }
    let message = format!(
        "{broken} of {} logs are not what was written",
        sessions.len()
    );
    Err(Failure::new(Exit::Data, "LOG_BROKEN", message)
        .hint("something other than the daemon changed the journal; restore a backup of it"))
}

async fn export(global: &Global, output: Output, session: &SessionId) -> Result<(), Failure> {
    let session = owned(global, session).await?;
    let mut events = session.watch_from(View::Trace, 0, false);
    while let Some(event) = events.next().await {
        output.value(&event?);
        if output.reader_is_gone() {
            break;
        }
    }
    Ok(())
}
