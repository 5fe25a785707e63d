//! `forerun exec`: any WASI program on a copy-on-write view of a directory.
//!
//! The program's streams are this process's own; everything that Forerun says goes to
//! stderr, once the program has ended. The exit code is the program's.

use super::connect;
use super::session::print_diff;
use crate::args::{ExecArgs, Global};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render;
use crate::style::visible;
use forerun_sdk::{Exec, ExecEnded, ExecEvent, Finish, Limits, Running, Session, Stdin};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

/// Bytes of input that are passed on at once.
const STDIN_BYTES: usize = 64 << 10;
/// How often it is looked whether the program has ended, while nothing comes in.
const STDIN_POLL_MS: u16 = 20;

pub(crate) async fn exec(
    global: &Global,
    output: Output,
    args: ExecArgs,
) -> Result<ExitCode, Failure> {
    let output = output.aside();
    let component = std::fs::read(&args.component).map_err(|error| {
        let path = args.component.display();
        Failure::new(
            Exit::NoInput,
            "COMPONENT",
            format!("{path} can not be read: {error}"),
        )
    })?;
    let name = args.component.file_stem().unwrap_or_default();
    let unlimited = u64::MAX;
    let exec = Exec {
        name: name.to_string_lossy().into_owned(),
        component,
        arguments: args.args.clone(),
        environment: args.env.clone(),
        workspace: args.workspace.clone(),
        mount: Some(args.mount.clone()),
        policy: args.policy.clone(),
        // A person watches it, and can stop it.
        limits: Some(Limits {
            memory_bytes: args.memory.saturating_mul(1 << 20),
            cpu_ms: unlimited,
            wall_ms: args
                .timeout
                .map_or(unlimited, |timeout| timeout.saturating_mul(1_000)),
            ..Limits::default()
        }),
    };
    let mut running = connect(global).await?.exec(exec).await?;
    let over = pass_stdin(running.stdin());
    let session = running.session().cloned();
    let ended = attend(&mut running).await;
    over.store(true, Ordering::Relaxed);
    let Some(ended) = ended? else {
        return Ok(ExitCode::from(Exit::Interrupted as u8));
    };
    if let Some(denied) = &ended.denied {
        output.note(&format!("policy: {}", visible(denied)));
    }
    if let Some(session) = session
        && !ended.changed.is_empty()
    {
        settle(output, &args, &session, &ended).await?;
    } else if !ended.changed.is_empty() && args.workspace.is_none() {
        let changed = render::changes(&ended.changed);
        output.note(&format!("dropped, for there is no --workspace: {changed}"));
    }
    match ended.exit {
        Ok(code) => Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))),
        Err(stopped) => Err(Failure::new(Exit::Failed, "STOPPED", stopped)),
    }
}

/// Prints what the program prints; `None` if SIGINT stopped it.
async fn attend(running: &mut Running) -> Result<Option<ExecEnded>, Failure> {
    let mut interrupted = signal(SignalKind::interrupt())
        .map_err(|error| Failure::io("signals can not be watched", &error))?;
    loop {
        let event = tokio::select! {
            event = running.next() => event?,
            _ = interrupted.recv() => return Ok(None),
        };
        let printed = match event {
            ExecEvent::Stdout(bytes) => print(&mut io::stdout().lock(), &bytes),
            ExecEvent::Stderr(bytes) => print(&mut io::stderr().lock(), &bytes),
            ExecEvent::Ended(ended) => return Ok(Some(ended)),
        };
        match printed {
            // The program is stopped, as a broken pipe would stop it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
            other => other.map_err(|error| Failure::io("the output was not written", &error))?,
        }
    }
}

fn print(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

/// Passes on what comes in, until there is no more, or the program has ended: what is
/// typed after that is for us.
fn pass_stdin(stdin: Stdin) -> Arc<AtomicBool> {
    let runtime = tokio::runtime::Handle::current();
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    std::thread::spawn(move || {
        let mut bytes = vec![0; STDIN_BYTES];
        let stdin_of_ours = io::stdin();
        while !told.load(Ordering::Relaxed) {
            let mut input = [PollFd::new(stdin_of_ours.as_fd(), PollFlags::POLLIN)];
            match poll(&mut input, STDIN_POLL_MS) {
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(_) => return,
            }
            match stdin_of_ours.lock().read(&mut bytes) {
                Ok(read) if read > 0 && runtime.block_on(stdin.write(&bytes[..read])) => {}
                _ => return,
            }
        }
    });
    over
}

/// Shows what the program changed, and does with it what was wished.
async fn settle(
    output: Output,
    args: &ExecArgs,
    session: &Session,
    ended: &ExecEnded,
) -> Result<(), Failure> {
    let asks = args.ask || !(args.commit || args.discard) && io::stdin().is_terminal();
    if !args.discard {
        print_diff(output, &session.diff().await?);
    }
    let finish = match (args.commit, args.discard, asks) {
        (true, ..) => Finish::Commit,
        (_, true, _) => Finish::Discard,
        (.., true) => ask(output)?,
        _ => Finish::Keep,
    };
    let id = session.id();
    if finish != Finish::Keep {
        session.finish(finish, &[]).await?;
    }
    if output.json {
        let outcome = match finish {
            Finish::Commit => "committed",
            Finish::Discard => "discarded",
            Finish::Keep => "kept",
        };
        output.value(&serde_json::json!({
            "session": id.to_string(),
            "outcome": outcome,
            "changed": ended.changed,
        }));
        return Ok(());
    }
    let changed = render::changes(&ended.changed);
    output.note(&match finish {
        Finish::Commit => format!("committed: {changed}\n undo: forerun session undo {id}"),
        Finish::Discard => format!("discarded: {changed}"),
        Finish::Keep => format!(
            "kept: {changed}\n commit: forerun session commit {id}\n discard: forerun session discard {id}"
        ),
    });
    Ok(())
}

fn ask(output: Output) -> Result<Finish, Failure> {
    output.note("[c]ommit, [d]iscard or [k]eep these changes?");
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::io("no answer could be read", &error))?;
    Ok(match answer.trim() {
        "c" | "commit" => Finish::Commit,
        "d" | "discard" => Finish::Discard,
        _ => Finish::Keep,
    })
}
