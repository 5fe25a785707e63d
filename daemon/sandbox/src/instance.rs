//! One action, from its arguments to its observation, in one fresh instance.

use crate::engine::Machine;
use crate::fs::Volumes;
use crate::guest::exports::forerun::tool::tools as wit;
use crate::guest::limits::HOSTCALL_BYTES_MAX;
use crate::guest::process::{Output, Process};
use crate::guest::{CommandPre, Grant, Inbox, LimitHit, State, ToolPre, Unanswered, timestamp};
use crate::outcome::{self, End};
use crate::registry::{Registry, Version};
use crate::run::{Command, Digests, Done, EgressRefusal, Exec, Outgoing, Program, Run, RunUsage};
use crate::time::{Waits, within};
use crate::toolbox::{Body, Toolbox};
use forerun_snapshot::{Delta, FsError, Quota};
use forerun_types::{
    LimitName, Limits, Observation, ObservationStatus, PathRules, SnapshotId, TouchDenied,
};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use wasmtime::Store;
use wasmtime::component::ResourceTableError;

/// Time that a component has to list its tools.
const LIST_MS: u64 = 5_000;

/// Runs an action to its end. Never fails: what goes wrong is the observation.
pub(crate) async fn run(
    machine: &Machine,
    toolbox: &Toolbox,
    registry: &Registry,
    request: &Run,
    outgoing: Option<mpsc::UnboundedSender<Outgoing>>,
) -> Done {
    let started = Instant::now();
    let Some(parent) = registry.version(request.parent) else {
        return not_held(request.parent);
    };
    let arguments = request.action.arguments.to_value();
    let mut usage = RunUsage::default();
    let settled = match toolbox.prepare(&request.action.tool, &arguments) {
        Err(observation) => Settled::seen(observation),
        Ok(tool) => {
            let mut grant = Grant {
                volumes: Some(volumes(&parent, request)),
                clock_ns: request.clock_ns,
                seed: request.seed,
                outgoing,
                ..Grant::nothing(&request.limits)
            };
            let compiled;
            let call = match &tool.body {
                Body::Component(component) => {
                    compiled = match component.get().await {
                        Ok(compiled) => compiled,
                        Err(error) => return not_compiled(&error, request.parent),
                    };
                    Call::Tool {
                        pre: &compiled,
                        name: &tool.description.name,
                        arguments: request.action.arguments.as_str(),
                    }
                }
                Body::Command(program, manifest) => {
                    let command = Command::of(manifest, &arguments);
                    grant.mounts = command.mounts();
                    grant.process.arguments = command.arguments;
                    grant.process.environment = command.environment;
                    grant.process.stdin = Inbox::of(manifest.stdin(&arguments).into());
                    Call::Command(&program.pre)
                }
                Body::Client => return not_here(&tool.description.name, request.parent),
            };
            let executed = execute(machine, call, grant, &mut usage).await;
            let read_only = tool.description.annotations.read_only;
            let name = &tool.description.name;
            settle(read_only.then_some(name), &request.limits, executed)
        }
    };
    usage.wall_us = micros(started.elapsed());
    conclude(registry, &parent, request.parent, settled, usage)
}

/// Runs a command by itself, with somebody at its streams. Never fails, as [`run`].
pub(crate) async fn exec(
    machine: &Machine,
    registry: &Registry,
    program: &Program,
    exec: Exec,
) -> Done {
    let started = Instant::now();
    let Exec {
        request,
        command,
        streams,
    } = exec;
    let Some(parent) = registry.version(request.parent) else {
        return not_held(request.parent);
    };
    let mut usage = RunUsage::default();
    let grant = Grant {
        volumes: Some(volumes(&parent, &request)),
        mounts: command.mounts(),
        process: Process {
            directory: command.directory(),
            arguments: command.arguments,
            environment: command.environment,
            stdin: Inbox::from(streams.stdin),
            stdout: Output::Pipe(streams.stdout),
            stderr: Output::Pipe(streams.stderr),
        },
        clock_ns: request.clock_ns,
        seed: request.seed,
        limits: &request.limits,
        outgoing: None,
    };
    let executed = execute(machine, Call::Command(&program.pre), grant, &mut usage).await;
    let settled = settle(None, &request.limits, executed);
    usage.wall_us = micros(started.elapsed());
    conclude(registry, &parent, request.parent, settled, usage)
}

fn not_held(parent: SnapshotId) -> Done {
    let text = format!("the snapshot {parent} is not held any more");
    let status = ObservationStatus::Stopped(LimitName::Internal);
    Done::nothing(Observation::new(status, text), parent)
}

fn not_here(tool: &str, parent: SnapshotId) -> Done {
    let text = format!("{tool} is executed by a client, and no sandbox can do it");
    let status = ObservationStatus::Stopped(LimitName::Internal);
    Done::nothing(Observation::new(status, text), parent)
}

fn not_compiled(error: &str, parent: SnapshotId) -> Done {
    let text = format!("the tool can not be compiled: {error}");
    let status = ObservationStatus::Stopped(LimitName::Internal);
    Done::nothing(Observation::new(status, text), parent)
}

/// Holds what came of an action.
fn conclude(
    registry: &Registry,
    parent: &Version,
    parent_id: SnapshotId,
    settled: Settled,
    usage: RunUsage,
) -> Done {
    let Settled {
        observation,
        frozen,
        denied,
        noted,
        read_sensitive,
    } = settled;
    // An outcome that changes nothing is the parent again, under an id of its own.
    let frozen = match frozen {
        Some(frozen) => Ok(frozen),
        None => parent
            .workspace
            .branch()
            .freeze()
            .map(|(workspace, delta)| {
                let tmp = parent.tmp.clone();
                (Version { workspace, tmp }, delta)
            }),
    };
    match frozen {
        Ok((version, delta)) => Done {
            digests: Digests {
                observation: observation.digest(),
                changes: delta.changes(),
                delta: delta.binding(),
            },
            observation,
            snapshot: registry.insert(version, Some(delta)),
            denied,
            noted,
            read_sensitive,
            usage,
        },
        Err(error) => Done {
            usage,
            ..Done::nothing(outcome::unfrozen(&error), parent_id)
        },
    }
}

/// What a sandbox left behind.
struct Executed {
    end: End,
    volumes: Option<Volumes>,
    /// Why a request to the world was refused.
    refused: Option<Unanswered>,
    stdout: String,
    stderr: String,
}

/// What is called in an instance.
enum Call<'a> {
    Tool {
        pre: &'a ToolPre<State>,
        name: &'a str,
        arguments: &'a str,
    },
    Command(&'a CommandPre<State>),
}

impl Call<'_> {
    async fn make(&self, store: &mut Store<State>) -> wasmtime::Result<End> {
        match self {
            Call::Tool {
                pre,
                name,
                arguments,
            } => {
                let guest = pre.instantiate_async(&mut *store).await?;
                let tools = guest.forerun_tool_tools();
                Ok(match tools.call_call(store, name, arguments).await? {
                    Ok(output) => End::Output(output),
                    Err(refusal) => End::Refused(refusal),
                })
            }
            Call::Command(pre) => {
                let guest = pre.instantiate_async(&mut *store).await?;
                let result = guest.wasi_cli_run().call_run(store).await?;
                Ok(End::Exit(i32::from(result.is_err())))
            }
        }
    }
}

/// Branches of what an action starts from, under its limits and rules.
fn volumes(parent: &Version, request: &Run) -> Volumes {
    let quota = Quota {
        bytes: request.limits.delta_bytes,
        nodes: request.limits.delta_nodes,
    };
    let mut workspace = parent.workspace.branch_with(quota);
    let mut tmp = parent.tmp.branch_with(quota);
    let now = timestamp(request.clock_ns);
    workspace.set_now(now);
    tmp.set_now(now);
    Volumes::new(workspace, tmp, request.rules.clone())
}

async fn execute(
    machine: &Machine,
    call: Call<'_>,
    grant: Grant<'_>,
    usage: &mut RunUsage,
) -> Executed {
    let limits = grant.limits;
    let is_command = matches!(call, Call::Command(_));
    let mut store = store(machine, grant);
    let mut cpu = Duration::ZERO;
    let waits = store.data().waits.clone();
    let end = match within(limits, &waits, &mut cpu, call.make(&mut store)).await {
        Ok(end) => end,
        Err(error) => match error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            Some(exit) if is_command => End::Exit(exit.0),
            _ => End::of_trap(&error),
        },
    };
    usage.cpu_us = micros(cpu);
    let state = store.into_data();
    usage.memory_peak = state.memory.peak;
    Executed {
        end,
        volumes: state.take_volumes(),
        refused: state.egress.refused(),
        stdout: state.process.stdout.text(),
        stderr: state.process.stderr.text(),
    }
}

type Frozen = (Version, Delta);
/// What is seen, and what is kept.
struct Settled {
    observation: Observation,
    frozen: Option<Frozen>,
    /// The first touch that was refused.
    denied: Option<String>,
    /// Those that were only noted.
    noted: Vec<TouchDenied>,
    read_sensitive: bool,
}

impl Settled {
    /// Nothing is kept.
    fn seen(observation: Observation) -> Settled {
        Settled {
            observation,
            frozen: None,
            denied: None,
            noted: Vec::new(),
            read_sensitive: false,
        }
    }
}

/// Decides what is seen and what is kept. `read_only` is the name of a tool that says of
/// itself that it changes nothing.
fn settle(read_only: Option<&String>, limits: &Limits, executed: Executed) -> Settled {
    let Executed {
        end,
        volumes,
        refused,
        stdout,
        stderr,
    } = executed;
    let mut observation = outcome::observe(&end, limits, &stdout, &stderr);
    if let Some(Unanswered { why, reason }) = refused
        && observation.status == ObservationStatus::ToolError
    {
        if matches!(why, EgressRefusal::Denied | EgressRefusal::Address) {
            observation.status = ObservationStatus::Denied;
        }
        observation.text = format!("{reason}\n{}", observation.text);
    }
    let Some(mut volumes) = volumes else {
        return Settled::seen(observation);
    };
    let denied = volumes.denied.as_ref().map(outcome::denial);
    if let Some(denial) = &denied
        && observation.status == ObservationStatus::ToolError
    {
        observation.status = ObservationStatus::Denied;
        observation.text = format!("{denial}\n{}", observation.text);
    }
    let kept = matches!(
        observation.status,
        ObservationStatus::Success | ObservationStatus::ToolError
    );
    if !kept {
        volumes.workspace.revert();
        volumes.tmp.revert();
    }
    let settled = Settled {
        denied,
        noted: std::mem::take(&mut volumes.noted),
        read_sensitive: volumes.read_sensitive.load(Ordering::Relaxed),
        ..Settled::seen(Observation::new(observation.status, ""))
    };
    match freeze(volumes) {
        Ok((_, delta)) if let Some(tool) = read_only.filter(|_| !delta.is_empty()) => Settled {
            observation: outcome::not_read_only(tool, &delta),
            ..settled
        },
        Ok(frozen) => Settled {
            observation,
            frozen: Some(frozen),
            ..settled
        },
        Err(error) => Settled {
            observation: outcome::unfrozen(&error),
            ..settled
        },
    }
}

fn freeze(volumes: Volumes) -> Result<Frozen, FsError> {
    let (workspace, delta) = volumes.workspace.freeze()?;
    let (tmp, _) = volumes.tmp.freeze()?;
    Ok((Version { workspace, tmp }, delta))
}

/// Asks a component for its tools, in an instance that can reach nothing.
pub(crate) async fn list(
    machine: &Machine,
    component: &ToolPre<State>,
) -> Result<Vec<wit::Tool>, String> {
    let limits = Limits {
        cpu_ms: LIST_MS,
        wall_ms: LIST_MS,
        ..Limits::default()
    };
    let mut store = store(machine, Grant::nothing(&limits));
    let call = async {
        let guest = component.instantiate_async(&mut store).await?;
        guest.forerun_tool_tools().call_list(&mut store).await
    };
    within(&limits, &Waits::default(), &mut Duration::default(), call)
        .await
        .map_err(|error| End::of_trap(&error).describe(&limits))
}

/// Calls a name that need not be listed, with the whole grant; for the self-check.
pub(crate) async fn call(
    machine: &Machine,
    component: &ToolPre<State>,
    volumes: Volumes,
    name: &str,
) -> Result<String, String> {
    let limits = Limits::default();
    let grant = Grant {
        volumes: Some(volumes),
        ..Grant::nothing(&limits)
    };
    let mut store = store(machine, grant);
    let call = async {
        let guest = component.instantiate_async(&mut store).await?;
        let tools = guest.forerun_tool_tools();
        tools.call_call(&mut store, name, "{}").await
    };
    within(&limits, &Waits::default(), &mut Duration::default(), call)
        .await
        .map_err(|error| End::of_trap(&error).describe(&limits))?
        .map(|output| outcome::text(&output.content))
}

fn store(machine: &Machine, grant: Grant<'_>) -> Store<State> {
    let mut store = Store::new(&machine.engine, State::new(grant));
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    // A guest that computes ends its turn at every tick.
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    store
}

impl End {
    /// What a trap means. Limits are found in the error, wherever they were hit.
    pub(crate) fn of_trap(error: &wasmtime::Error) -> End {
        if let Some(LimitHit(limit)) = error.downcast_ref() {
            return End::Limit(*limit);
        }
        if let Some(ResourceTableError::Full) = error.downcast_ref() {
            return End::Limit(LimitName::Handles);
        }
        if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            return End::Trap(format!("it exited with status {}", exit.0));
        }
        if let Some(trap) = error.downcast_ref::<wasmtime::Trap>() {
            return End::Trap(trap.to_string());
        }
        End::Trap(error.root_cause().to_string())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Rules that allow everything, for what the sandbox does itself.
pub(crate) fn allow_all() -> PathRules {
    use forerun_types::{PathPattern, PathRule, RuleEffect, Touch};
    PathRules::from(vec![PathRule {
        policy: "sandbox".into(),
        effect: RuleEffect::Permit,
        touches: vec![Touch::Read, Touch::Write, Touch::Delete],
        pattern: PathPattern::Any,
    }])
}
