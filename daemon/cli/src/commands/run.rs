//! `forerun run`: the main job. Opens a session, starts the agents as processes of their
//! own, shows the stream, and says at the end what was done and what it saved.

use super::agent::Spec;
use super::approval::{self, Asker};
use super::connect;
use super::metrics::Metrics;
use super::models::Models;
use super::report::Destination;
use super::session::{commit_name, json, print_diff};
use super::watch::show;
use crate::args::{CommitArg, Global, RunArgs, WindowArg};
use crate::example::{self, Example};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::style::visible;
use forerun_sdk::model::ModelOptions;
use forerun_sdk::{
    CommitMode, DepthControl, Finish, Forerun, Session, SessionInfo, SessionState, Window,
};
use forerun_types::{EventKind, FileDiff, Matcher, Role, Usage, View};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// The approximation agent that is none: the daemon predicts from what was done before.
const HISTORY: &str = "history";

/// One run of a plan.
#[derive(Clone)]
struct Plan {
    task: String,
    instructions: String,
    workspace: PathBuf,
    approximation: Option<String>,
    target: String,
    models: ModelOptions,
    policy: Option<String>,
    depth: Option<u32>,
    depth_control: DepthControl,
    matcher: Matcher,
    width: Option<u32>,
    window: Window,
    commit: CommitMode,
    review: Duration,
    seed: Option<u64>,
    clock_ns: Option<u64>,
}

impl Plan {
    /// What is to be started to run ahead, if it is not history.
    fn approximation_agent(&self) -> Option<&String> {
        let spec = self.approximation.as_ref();
        spec.filter(|spec| *spec != HISTORY)
    }
}

/// Where the picture of the run goes.
struct Picture {
    destination: Destination,
    /// What is printed goes elsewhere if the picture goes to stdout.
    output: Output,
}

/// How it ended.
struct Ended {
    session: Session,
    info: SessionInfo,
    diff: Vec<FileDiff>,
    /// SIGINT stopped it.
    interrupted: bool,
    /// It was stopped, and nothing of it is left.
    taken_back: bool,
}

pub(crate) async fn run(
    global: &Global,
    output: Output,
    args: RunArgs,
) -> Result<ExitCode, Failure> {
    // A file that can not be written is reported before anything is done.
    let picture = args.report.as_deref().map(Destination::check).transpose()?;
    let picture = picture.map(|destination| Picture {
        destination,
        output,
    });
    let output = match &picture {
        Some(picture) if picture.destination.is_stdout() => output.aside(),
        _ => output,
    };
    if args.task.is_none() {
        return run_example(global, output, args, picture).await;
    }
    let of_the_paper = args.setting.is_some();
    let plan = plan(output, args)?;
    let daemon = connect(global).await?;
    let ended = execute(global, &daemon, output, &plan).await?;
    report(output, &ended);
    draw(picture.as_ref(), &ended).await?;
    if of_the_paper && let Some(metrics) = Metrics::over(std::slice::from_ref(&ended.info)) {
        metrics.print(output);
    }
    Ok(exit_code(&ended))
}

fn plan(output: Output, args: RunArgs) -> Result<Plan, Failure> {
    let models = Models::load()?;
    let pair = models.pair(&args, |name| std::env::var(name).ok())?;
    if let Some(why) = &pair.chosen {
        let target = &pair.target;
        output.note(&match &pair.approximation {
            Some(approximation) => {
                format!("agents: {approximation} runs ahead of {target} ({why})")
            }
            None => format!("agent: {target} ({why})"),
        });
    }
    let workspace = match args.workspace {
        Some(workspace) => workspace,
        None => {
            std::env::current_dir().map_err(|error| Failure::io("no working directory", &error))?
        }
    };
    // Relative paths are the terminal's; the daemon has another working directory.
    let workspace = std::path::absolute(&workspace)
        .map_err(|error| Failure::io("the workspace's path is not valid", &error))?;
    Ok(Plan {
        task: args.task.unwrap_or_default(),
        instructions: String::new(),
        workspace,
        approximation: pair.approximation,
        target: pair.target,
        models: models.options(),
        policy: args.policy,
        depth: pair.depth,
        depth_control: args.depth_control,
        matcher: args.matcher,
        width: args.width,
        window: window(args.window),
        commit: commit(args.commit.unwrap_or(CommitArg::Step)),
        review: Duration::from_millis(args.review_ms),
        seed: args.seed,
        clock_ns: args.clock_ns,
    })
}

fn window(window: Option<WindowArg>) -> Window {
    match window {
        Some(WindowArg::Barrier) => Window::Barrier,
        Some(WindowArg::Sliding) | None => Window::Sliding,
    }
}

fn commit(commit: CommitArg) -> CommitMode {
    match commit {
        CommitArg::Step => CommitMode::Step,
        CommitArg::Session => CommitMode::Session,
    }
}

/// The example: once with speculation, once without, on two copies of the same tree.
async fn run_example(
    global: &Global,
    output: Output,
    args: RunArgs,
    picture: Option<Picture>,
) -> Result<ExitCode, Failure> {
    let example = Example::create(args.workspace.as_deref())?;
    let spec = example.spec();
    let plan = Plan {
        task: example::TASK.trim().to_owned(),
        instructions: example::INSTRUCTIONS.trim().to_owned(),
        workspace: example.workspace("workspace")?,
        approximation: Some(args.approximation.unwrap_or_else(|| spec.clone())),
        target: args.target.unwrap_or(spec),
        models: Models::load()?.options(),
        policy: args.policy,
        depth: args.depth,
        depth_control: args.depth_control,
        matcher: args.matcher,
        width: args.width,
        window: window(args.window),
        commit: commit(args.commit.unwrap_or(CommitArg::Session)),
        review: Duration::from_millis(args.review_ms),
        seed: Some(args.seed.unwrap_or(1)),
        clock_ns: Some(args.clock_ns.unwrap_or(1_700_000_000_000_000_000)),
    };
    output.note(&format!("task: {}", plan.task));
    let daemon = connect(global).await?;
    let ended = execute(global, &daemon, output, &plan).await?;
    draw(picture.as_ref(), &ended).await?;
    if ended.interrupted || args.no_baseline || plan.depth == Some(0) {
        report(output, &ended);
        return Ok(exit_code(&ended));
    }
    output.note("\nthe same task without speculation, with the same seed and clock:\n");
    let off = Plan {
        workspace: example.workspace("workspace-off")?,
        depth: Some(0),
        approximation: None,
        ..plan.clone()
    };
    let baseline = execute(global, &daemon, output, &off).await?;
    report(output, &ended);
    compare(output, &ended, &baseline);
    if plan.commit == CommitMode::Session && !baseline.interrupted {
        baseline.session.finish(Finish::Discard, &[]).await?;
    }
    Ok(if baseline.interrupted {
        ExitCode::from(Exit::Interrupted as u8)
    } else {
        exit_code(&ended)
    })
}

/// Opens the session, starts the agents, and shows the stream until the plan ends.
async fn execute(
    global: &Global,
    daemon: &Forerun,
    output: Output,
    plan: &Plan,
) -> Result<Ended, Failure> {
    // A script with an error, or a missing key, is reported before anything is opened.
    for spec in plan.approximation_agent().into_iter().chain([&plan.target]) {
        Spec::load(spec, &plan.models)?;
    }
    let mut builder = daemon
        .session(&plan.workspace)
        .task(&plan.task)
        .instructions(&plan.instructions)
        .window(plan.window)
        .predict(plan.approximation.as_deref() == Some(HISTORY))
        .depth_control(plan.depth_control)
        .matcher(plan.matcher)
        .review(plan.review)
        .commit(plan.commit);
    if let Some(policy) = &plan.policy {
        builder = builder.policy(policy);
    }
    if let Some(depth) = plan.depth {
        builder = builder.depth(depth);
    }
    if let Some(width) = plan.width {
        builder = builder.width(width);
    }
    if let Some(seed) = plan.seed {
        builder = builder.seed(seed);
    }
    if let Some(clock_ns) = plan.clock_ns {
        builder = builder.clock_ns(clock_ns);
    }
    let session = builder.open().await?;
    output.note(&format!(
        "session {}; in a second terminal: forerun watch {0}",
        session.id()
    ));
    let _agents = start_agents(global, daemon, &session, plan)?;
    let (interrupted, undone) = follow(output, &session).await?;
    let info = session.info().await?;
    let taken_back = match plan.commit {
        CommitMode::Step => undone && info.counts.committed == 0,
        CommitMode::Session => info.state == SessionState::Finished,
    };
    let diff = match plan.commit {
        CommitMode::Session => session.diff().await?,
        CommitMode::Step => Vec::new(),
    };
    Ok(Ended {
        session,
        taken_back,
        diff,
        info,
        interrupted,
    })
}

/// Each agent is a process of its own, with its role's token and no other.
fn start_agents(
    global: &Global,
    daemon: &Forerun,
    session: &Session,
    plan: &Plan,
) -> Result<Vec<Child>, Failure> {
    let failed = |error| Failure::io("an agent could not be started", &error);
    let program = std::env::current_exe().map_err(failed)?;
    let agents = [
        (Role::Target, Some(&plan.target)),
        (Role::Approximation, plan.approximation_agent()),
    ];
    let mut children = Vec::new();
    for (role, spec) in agents {
        let Some(spec) = spec else { continue };
        let mut command = Command::new(&program);
        command
            .args([
                "agent",
                spec,
                "--role",
                role.as_str(),
                "--session",
                session.id().as_str(),
            ])
            .args([
                "--endpoint",
                &daemon.endpoint().to_string(),
                "--no-spawn",
                "--quiet",
            ])
            .env("FORERUN_TOKEN", session.tokens().role(role))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // A Ctrl-C is for the plan; its agents end with the session.
            .process_group(0)
            .kill_on_drop(true);
        if global.json {
            command.arg("--json");
        }
        children.push(command.spawn().map_err(failed)?);
    }
    Ok(children)
}

/// Shows the stream until the plan ends. The first SIGINT stops the plan and keeps what
/// is verified; the second ends the program. A reader that went away stops it as well:
/// nothing is decided unseen. Whether SIGINT stopped it, and whether something was undone.
async fn follow(output: Output, session: &Session) -> Result<(bool, bool), Failure> {
    let failed = |error| Failure::io("SIGINT can not be handled", &error);
    // Listens from here on: a signal that comes between two events is not lost.
    let mut sigint = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut events = session.watch(View::Presented);
    let mut interrupted = false;
    let mut undone = false;
    let mut asker = Asker::new(output);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            answer = asker.answer() => {
                // Somebody else may have answered, or the plan gone on: the log says so.
                if let Err(failure) = approval::answer(session, answer).await {
                    output.note(&failure.message);
                }
                continue;
            }
            _ = sigint.recv() => {
                if interrupted {
                    return Err(Failure::new(Exit::Interrupted, "INTERRUPTED", "interrupted twice")
                        .hint("the session goes on stopping; `forerun session list` shows it"));
                }
                interrupted = true;
                output.note("stopping; verified steps are kept");
                session.stop().await?;
                continue;
            }
        };
        let Some(event) = event.transpose()? else {
            return Ok((interrupted, undone));
        };
        show(output, &event);
        asker.hear(session, &event.kind);
        if output.reader_is_gone() && !interrupted {
            interrupted = true;
            session.stop().await?;
        }
        match event.kind {
            EventKind::Undone(_) => undone = true,
            EventKind::Ended { .. } => return Ok((interrupted, undone)),
            _ => {}
        }
    }
}

fn exit_code(ended: &Ended) -> ExitCode {
    if ended.interrupted {
        ExitCode::from(Exit::Interrupted as u8)
    } else if ended.info.answer.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(Exit::Failed as u8)
    }
}

/// What was done, and what to do next.
fn report(output: Output, ended: &Ended) {
    let info = &ended.info;
    if output.json {
        output.value(&serde_json::json!({ "type": "session", "session": json(info) }));
        for file in &ended.diff {
            output.value(&serde_json::json!({ "type": "diff", "file": file }));
        }
        return;
    }
    if !ended.diff.is_empty() {
        output.line("");
        print_diff(output, &ended.diff);
    }
    output.line("");
    if let Some(answer) = &info.answer {
        let heading = output.style.strong("answer:");
        output.line(&format!("{heading} {}", visible(answer)));
    }
    let counts = &info.counts;
    output.line(&format!(
        "{} steps in {:.2} s; {} of {} proposals were right, {} rolled back; {} target and {} approximation calls",
        counts.verified,
        info.timings.elapsed.as_secs_f64(),
        counts.matched,
        counts.proposed,
        counts.corrected,
        counts.target_calls,
        counts.approximation_calls,
    ));
    for (role, usage) in [
        (Role::Target, info.target_usage),
        (Role::Approximation, info.approximation_usage),
    ] {
        if usage != Usage::default() {
            output.line(&spent(role, &usage));
        }
    }
    let id = &info.id;
    if ended.taken_back {
        output.line("its changes were taken back");
    } else if info.commit == CommitMode::Session {
        output.line(&format!(
            "nothing is in {} yet:\n  forerun session commit {id}    writes it, all or nothing\n  forerun session discard {id}   drops it",
            info.workspace.display()
        ));
    } else {
        output.line(&format!(
            "each verified step was committed to {}\n  forerun session undo {id}      takes them back",
            info.workspace.display()
        ));
    }
}

/// What the answers of a model cost.
fn spent(role: Role, usage: &Usage) -> String {
    let cost = match usage.cost_micros {
        0 => String::new(),
        micros => format!(", cost {:.4}", micros as f64 / 1e6),
    };
    format!(
        "{role}: {} prompt tokens ({} from the cache), {} generated{cost}",
        usage.input_tokens, usage.cached_input_tokens, usage.output_tokens
    )
}

/// Draws the run, if that is wanted.
async fn draw(picture: Option<&Picture>, ended: &Ended) -> Result<(), Failure> {
    match picture {
        Some(picture) => {
            picture
                .destination
                .write(picture.output, &ended.session)
                .await
        }
        None => Ok(()),
    }
}

/// The measured difference that speculation made.
fn compare(output: Output, with: &Ended, without: &Ended) {
    let seconds = |ended: &Ended| ended.info.timings.elapsed.as_secs_f64();
    // With `commit = step` the changes are in the workspaces, not in a diff.
    let same_changes = (with.info.commit == CommitMode::Session).then(|| with.diff == without.diff);
    let same_answer = with.info.answer == without.info.answer;
    let speed_up = seconds(without) / seconds(with).max(f64::EPSILON);
    if output.json {
        output.value(&serde_json::json!({
            "type": "comparison",
            "commit": commit_name(with.info.commit),
            "speculative_s": seconds(with),
            "off_s": seconds(without),
            "speed_up": speed_up,
            "same_answer": same_answer,
            "same_changes": same_changes,
        }));
        return;
    }
    let same = match (same_answer, same_changes) {
        (true, Some(true)) => "the same answer and changes",
        (true, None) => "the same answer",
        _ => "NOT the same outcome",
    };
    output.line(&output.style.strong(&format!(
        "with speculation {:.2} s, without {:.2} s: {speed_up:.2} times as fast, {same}",
        seconds(with),
        seconds(without),
    )));
}
