//! The command line, one table of commands and flags.

use clap::{Args, Parser, Subcommand, ValueEnum};
use forerun_planner::Tau;
use forerun_sdk::DepthControl;
use forerun_simulate::paper::FIGURES;
use forerun_simulate::preset::Preset;
use forerun_types::{ApprovalId, Matcher, NodeId, Role, SessionId};
use std::ffi::OsString;
use std::ops::Range;
use std::path::PathBuf;

/// Lets a fast agent run ahead of a slow one, safely: every unverified action runs in a
/// sandbox on a snapshot of your workspace, and is committed or rolled back when the slow
/// agent, or you, have decided.
#[derive(Debug, Parser)]
#[command(
    name = "forerun",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Where the daemon listens, such as unix:///run/user/1000/forerun/forerun.sock
    #[arg(long, global = true, value_name = "URI")]
    pub(crate) endpoint: Option<String>,
    /// Do not start a daemon if none answers
    #[arg(long, global = true)]
    pub(crate) no_spawn: bool,
    /// Print data as JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a task: show the live stream, interrupt with a second terminal, see what it
    /// saved. Without a task, run the built-in example with and without speculation
    Run(RunArgs),
    /// Run any WASI program in a sandbox, on a copy-on-write view of a directory; then see,
    /// commit, keep or discard what it changed
    Exec(ExecArgs),
    /// Attach an agent to a session, as its own process
    Agent(AgentArgs),
    /// Show a session's events as they come
    Watch(WatchArgs),
    /// Say that you are deciding a step: the target's answer is no verdict meanwhile
    Claim {
        session: SessionId,
        step: u32,
        /// How long the claim lasts, in seconds
        #[arg(long, default_value_t = 60)]
        ttl: u64,
        #[command(flatten)]
        seen: SeenArgs,
    },
    /// Give a claim back
    Unclaim { session: SessionId, step: u32 },
    /// Decide a step yourself
    Replace {
        session: SessionId,
        step: u32,
        /// The tool
        tool: String,
        /// Its arguments, as JSON
        #[arg(default_value = "{}")]
        arguments: String,
        #[command(flatten)]
        seen: SeenArgs,
    },
    /// Decide a step as it was proposed
    Accept {
        session: SessionId,
        step: u32,
        /// Which proposal, if several are shown
        #[arg(long)]
        node: Option<NodeId>,
    },
    /// Answer a question that the plan asks you
    Answer {
        session: SessionId,
        step: u32,
        text: String,
    },
    /// Allow what policy asks you about in a session
    Approve {
        session: SessionId,
        /// Which question; the one that is open, if you do not say
        #[arg(long, value_name = "ID")]
        approval: Option<ApprovalId>,
        /// And the like until the session ends
        #[arg(long)]
        for_session: bool,
        /// And the like in every session under this policy set: shows the permit for it, and
        /// adds it to your policies once you agree
        #[arg(long, conflicts_with = "for_session")]
        always: bool,
        /// With --always: agree without being asked
        #[arg(long, requires = "always")]
        yes: bool,
    },
    /// Refuse what policy asks you about in a session
    Refuse {
        session: SessionId,
        /// What the agents are told
        #[arg(default_value = "")]
        reason: String,
        /// Which question; the one that is open, if you do not say
        #[arg(long, value_name = "ID")]
        approval: Option<ApprovalId>,
    },
    /// Let a stalled session try again
    Retry { session: SessionId },
    /// Launch, decide and commit nothing until `resume`
    Pause { session: SessionId },
    /// Go on after `pause`
    Resume { session: SessionId },
    /// Say something to the agents: they are asked again with it, from the next undecided
    /// step on
    Suggest { session: SessionId, text: String },
    /// Go back to a step: it and all after it are undone, and it is decided anew, by you or
    /// by the agents with what you suggest
    Backtrack(BacktrackArgs),
    /// End a session; what is verified is kept
    Stop {
        session: SessionId,
        /// Take it back, newest step first; what you changed since is left alone
        #[arg(long)]
        undo: bool,
    },
    /// Sessions: list, show, metrics, report, diff, commit, discard, undo, redo
    #[command(subcommand)]
    Session(SessionCommand),
    /// The log of what was asked, decided and done: verify, export
    #[command(subcommand)]
    Log(LogCommand),
    /// Tools: list, show, add, remove, call
    #[command(subcommand)]
    Tool(ToolCommand),
    /// Serve the tools to an MCP host, on stdin and stdout: each call runs in a sandbox under
    /// policy, and can be undone
    Mcp(McpArgs),
    /// Policies: list, show, check, test, explain, reload
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Run the planner in virtual time: on the models of the paper, on recorded runs, and with
    /// every way to find the depth. Needs no daemon
    #[command(subcommand)]
    Simulate(SimulateCommand),
    /// Run the daemon in the foreground
    Serve(ServeArgs),
    /// What the daemon starts to compile a component
    #[command(name = crate::commands::COMPILE, hide = true)]
    CompileComponent,
    /// Show the daemon that answers
    Status,
    /// Stop the daemon: commits finish, speculation is squashed
    Shutdown,
    /// Print where the daemon listens
    Socket {
        /// Start it if none answers, and return when it serves
        #[arg(long)]
        start: bool,
    },
    /// Show what a workspace's file system can do, and whether a daemon answers
    Doctor {
        /// The workspace
        #[arg(default_value = ".", value_name = "DIR")]
        dir: PathBuf,
    },
}

/// What the user saw; the interrupt is refused if it changed since.
#[derive(Debug, Args)]
pub(crate) struct SeenArgs {
    /// The proposal or answer that you saw
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<NodeId>,
}

#[derive(Debug, Args)]
pub(crate) struct BacktrackArgs {
    pub(crate) session: SessionId,
    pub(crate) step: u32,
    /// The tool that you decide the step with
    #[arg(required_unless_present = "suggest")]
    pub(crate) tool: Option<String>,
    /// Its arguments, as JSON
    #[arg(default_value = "{}")]
    pub(crate) arguments: String,
    /// Leave the step to the agents, and say this to them
    #[arg(long, value_name = "TEXT", conflicts_with = "tool")]
    pub(crate) suggest: Option<String>,
    /// Go back although something was sent that can not be taken back
    #[arg(long)]
    pub(crate) keep_effects: bool,
    #[command(flatten)]
    pub(crate) seen: SeenArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What is to be done; without it, the built-in example
    pub(crate) task: Option<String>,
    /// The directory to work in; a new one for the example
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// The fast agent: openai:MODEL, anthropic:MODEL, script:FILE, or history (no agent: what was
    /// done in the workspace before says what comes next)
    #[arg(long, value_name = "SPEC")]
    pub(crate) approximation: Option<String>,
    /// The slow agent: openai:MODEL, anthropic:MODEL or script:FILE
    #[arg(long, value_name = "SPEC")]
    pub(crate) target: Option<String>,
    /// A pair of agents of Interactive Speculative Planning: isp-1, isp-2, isp-3 or isp-4
    #[arg(long, value_name = "NAME", conflicts_with_all = ["approximation", "target"], requires = "task")]
    pub(crate) setting: Option<String>,
    /// The policy set
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// How many steps may be undecided at once; 0 switches speculation off
    #[arg(long, value_name = "K")]
    pub(crate) depth: Option<u32>,
    /// How deep it goes, up to that: fixed, auto, or dynamic[=TAU], where TAU is what a saved
    /// second is worth, 0 to 1
    #[arg(long, value_name = "HOW", default_value = "fixed")]
    pub(crate) depth_control: DepthControl,
    /// How many of the fast agent's candidates for a step run side by side, 1 to 8
    #[arg(long, value_name = "K")]
    pub(crate) width: Option<u32>,
    /// Which guesses a verdict means beside those that are equal to it: exact, effect (what they
    /// return and change is the same), or fuzzy(0.3) (reading with texts that differ little)
    #[arg(long, value_name = "HOW", default_value = "exact")]
    pub(crate) matcher: Matcher,
    /// How the undecided steps move along the plan
    #[arg(long, value_enum)]
    pub(crate) window: Option<WindowArg>,
    /// When changes reach the workspace: each step, or all at the end, after you saw them
    #[arg(long, value_enum)]
    pub(crate) commit: Option<CommitArg>,
    /// How long you can still replace a verdict, in milliseconds
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) review_ms: u64,
    /// Seed of the tools' random numbers
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// What tools see as the time, in nanoseconds since 1970
    #[arg(long, value_name = "NS")]
    pub(crate) clock_ns: Option<u64>,
    /// Write a picture of the run to this file, as SVG: both agents, the sandboxes and you, along
    /// the time. - is stdout; the stream then goes to stderr
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Do not run the task a second time without speculation (only for the example)
    #[arg(long)]
    pub(crate) no_baseline: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WindowArg {
    Sliding,
    Barrier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CommitArg {
    Step,
    Session,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// A WebAssembly program: a component that exports wasi:cli/run, or a module for WASI 0.1
    #[arg(value_name = "COMPONENT")]
    pub(crate) component: PathBuf,
    /// The directory that it works on; without it an empty one
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// Where it finds that: an absolute path, or `.`
    #[arg(long, value_name = "GUEST_PATH", default_value = "/workspace")]
    pub(crate) mount: String,
    /// A variable of its environment; it gets no others
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Write its changes to the directory
    #[arg(long, group = "outcome", requires = "workspace")]
    pub(crate) commit: bool,
    /// Drop its changes
    #[arg(long, group = "outcome")]
    pub(crate) discard: bool,
    /// Ask what is to become of its changes; so without a choice, on a terminal. Else
    /// they are kept for `session commit` and `session discard`
    #[arg(long, group = "outcome", requires = "workspace")]
    pub(crate) ask: bool,
    /// The policy set
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// Stop it after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// The most memory that it may use, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1_024)]
    pub(crate) memory: u64,
    /// Its arguments
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("is not NAME=VALUE".to_owned()),
    }
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct McpArgs {
    #[command(subcommand)]
    pub(crate) command: Option<McpCommand>,
    /// The directory to work in; the working directory if you do not say
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// The policy set
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// When changes reach the workspace: with each call, or when you commit the session
    #[arg(long, value_enum)]
    pub(crate) commit: Option<CommitArg>,
    /// Run nothing ahead: no call is predicted from those before
    #[arg(long)]
    pub(crate) no_predict: bool,
    /// Serve the tools of another MCP server, under policy: the program and its arguments, to
    /// the end of the line
    #[arg(long, num_args = 1.., allow_hyphen_values = true, value_name = "COMMAND")]
    pub(crate) wrap: Vec<OsString>,
    /// A tool of the wrapped server that changes nothing, so that it may run ahead; may be said
    /// more than once
    #[arg(long, value_name = "TOOL", value_delimiter = ',', requires = "wrap")]
    pub(crate) pure: Vec<String>,
    /// What policies and logs call the wrapped server: its tools are NAME_TOOL there
    #[arg(long, value_name = "NAME", default_value = "wrapped", value_parser = wrapped_name)]
    pub(crate) name: String,
}

/// A name that begins those of tools.
fn wrapped_name(name: &str) -> Result<String, String> {
    let is_fine = |c| matches!(c, 'a'..='z' | '0'..='9' | '_');
    match (1..=24).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(is_fine)
    {
        true => Ok(name.to_owned()),
        false => Err("1 to 24 lower-case letters, digits and _, a letter first".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// Tell an MCP host to start `forerun mcp`; shows the change first
    Install(McpInstallArgs),
}

#[derive(Debug, Args)]
pub(crate) struct McpInstallArgs {
    /// Claude Code and Cursor for one workspace, Codex for all
    #[arg(value_enum)]
    pub(crate) host: McpHost,
    /// The workspace
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) workspace: PathBuf,
    /// Only show the change
    #[arg(long)]
    pub(crate) print: bool,
    /// Forbid the host's own edit and shell tools there, which bypass Forerun
    #[arg(long)]
    pub(crate) deny: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum McpHost {
    Claude,
    Codex,
    Cursor,
}

impl McpHost {
    pub(crate) fn name(self) -> &'static str {
        match self {
            McpHost::Claude => "Claude Code",
            McpHost::Codex => "Codex",
            McpHost::Cursor => "Cursor",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The agent: openai[+STYLE]:MODEL[@BASE_URL], anthropic[+STYLE]:MODEL[@BASE_URL], with
    /// a STYLE of cot, react or debate; or script:FILE
    pub(crate) spec: String,
    /// What it does
    #[arg(long)]
    pub(crate) role: Role,
    /// The session
    #[arg(long)]
    pub(crate) session: SessionId,
    /// Say nothing when the session needs the agent no more
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// The same id takes up the calls of an earlier process
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// The role's token; the owner key if there is none
    #[arg(
        long,
        env = "FORERUN_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    pub(crate) session: SessionId,
    /// Only events after this one
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    pub(crate) after: u64,
    /// Everything: every launch, answer, cancel and squash as well
    #[arg(long)]
    pub(crate) trace: bool,
    /// Stop at the last event that there is now
    #[arg(long)]
    pub(crate) no_follow: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// All sessions, newest first
    List,
    /// One session
    Show { session: SessionId },
    /// The eleven metrics of Interactive Speculative Planning, over sessions that have ended
    Metrics {
        /// Of these; of all, if none is named
        sessions: Vec<SessionId>,
    },
    /// Write a picture of a session so far, as SVG: both agents, the sandboxes and you, along
    /// the time
    Report {
        session: SessionId,
        /// The file; - is stdout
        #[arg(value_name = "FILE", default_value = "-")]
        file: PathBuf,
    },
    /// What a session changes, against the workspace
    Diff { session: SessionId },
    /// Write a session's changes to its workspace
    Commit { session: SessionId },
    /// Drop a session's changes
    Discard { session: SessionId },
    /// Take committed steps back, newest first; what you changed since is left alone
    Undo(UndoArgs),
    /// Bring back what was undone
    Redo(UndoArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Whether logs are what was written, by their keyed chain
    Verify {
        /// Of this session; of all, if it is not said
        session: Option<SessionId>,
    },
    /// Every event of a session so far, one JSON object a line
    Export { session: SessionId },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ToolCommand {
    /// The tools that a session has that is opened now
    List,
    /// One tool: what it does, its arguments
    Show { tool: String },
    /// Add a component, for every session from now on
    Add {
        /// A WebAssembly component: with tools of its own, or a program with a manifest
        #[arg(value_name = "COMPONENT")]
        component: PathBuf,
        /// What it is known by; the file's name if it is not said
        #[arg(long)]
        name: Option<String>,
        /// Of a program: how it presents itself, and how a call becomes its arguments
        #[arg(long, value_name = "FILE")]
        manifest: Option<PathBuf>,
        /// The digest that the component must have
        #[arg(long)]
        digest: Option<String>,
        /// Put it in the place of another that has the name
        #[arg(long)]
        replace: bool,
    },
    /// Remove what was added
    Remove { name: String },
    /// Call a tool once, on a copy-on-write view of a directory
    Call {
        tool: String,
        /// Its arguments, as JSON
        #[arg(default_value = "{}")]
        arguments: String,
        /// The directory; without it an empty one
        #[arg(long, value_name = "DIR")]
        workspace: Option<PathBuf>,
        /// Write its changes to the directory; else they are shown and dropped
        #[arg(long, requires = "workspace")]
        commit: bool,
        /// The policy set
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// The sets that a session can name
    List,
    /// A set's policies, or its examples; a copy is a start for your own
    Show {
        name: String,
        /// Its table of examples
        #[arg(long)]
        examples: bool,
    },
    /// Whether a set is valid, and every example is decided as it says
    Check {
        /// A name, or a directory with `policy.cedar` and perhaps `examples.toml`
        #[arg(value_name = "SET")]
        set: String,
    },
    /// The same, and how each example is decided
    Test {
        /// A name, or a directory with `policy.cedar` and perhaps `examples.toml`
        #[arg(value_name = "SET")]
        set: String,
    },
    /// How a set decides something, by which policies, and why
    #[command(subcommand)]
    Explain(ExplainCommand),
    /// What changes from one set to another: whether it widens, narrows or both, with a request
    /// that shows it
    Diff {
        /// A name, or a directory with `policy.cedar`
        #[arg(value_name = "BEFORE")]
        before: String,
        /// A name, or a directory with `policy.cedar`
        #[arg(value_name = "AFTER")]
        after: String,
    },
    /// Read your own sets and the system's layer anew; sessions keep what they started with
    Reload,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExplainCommand {
    /// A call of a tool
    Call {
        tool: String,
        /// Its arguments, as JSON
        #[arg(default_value = "{}")]
        arguments: String,
        #[command(flatten)]
        about: ExplainArgs,
    },
    /// Reading a path
    Read(ExplainPath),
    /// Writing a path, or making it
    Write(ExplainPath),
    /// Deleting a path, or moving it away
    Delete(ExplainPath),
    /// A request that a tool sends
    Connect {
        /// The address, http or https
        url: String,
        /// The method
        #[arg(long, default_value = "GET")]
        method: String,
        #[command(flatten)]
        about: ExplainArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ExplainPath {
    /// Relative to the workspace, or as a tool sees it
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) about: ExplainArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The policy set; the default one if it is not said
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// A workspace, whose own .forerun/policy.cedar counts as well
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimulateCommand {
    /// Repeat the simulations of Interactive Speculative Planning: time and tokens by accuracy and
    /// k (figure 9) and by speed (10), calls in flight (11), interruptions (12), impatience
    /// (20 to 22)
    Paper {
        /// Only these figures
        #[arg(long = "figure", value_name = "N", value_parser = figure)]
        figures: Vec<u8>,
        #[command(flatten)]
        seeds: Seeds,
        /// How the undecided steps move along the plan
        #[arg(long, value_enum, default_value = "barrier")]
        window: WindowArg,
        /// Write a CSV file for each figure, and an SVG plot for each of its measures
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        #[command(flatten)]
        results: Results,
    },
    /// Replay recorded runs, with speculation and without
    Replay(ReplayArgs),
    /// Predict recorded runs from other recorded runs: how often would history alone have known
    /// the next call?
    Predict(PredictArgs),
    /// Compare fixed depths with `auto` and `dynamic`, over a grid of agents
    Compare {
        /// Values of tau to try, in thousandths
        #[arg(long = "tau", value_name = "N", value_parser = tau, value_delimiter = ',',
              default_value = "50,200,500,800,900,950,980")]
        taus: Vec<Tau>,
        /// Steps of each session; what a session learned is kept for the next
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        steps: u32,
        #[command(flatten)]
        seeds: Seeds,
        #[command(flatten)]
        results: Results,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Traces: JSON, one step or one run a line
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// isp, speculative-actions, dynamic or off
    #[arg(long, value_name = "NAME", default_value_t = Preset::Isp)]
    pub(crate) preset: Preset,
    /// How many steps may be undecided at once, in place of the preset's
    #[arg(long, value_name = "K")]
    pub(crate) depth: Option<u32>,
    /// How long the target thinks where a trace does not say
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = seconds)]
    pub(crate) target_seconds: f64,
    #[command(flatten)]
    pub(crate) results: Results,
}

#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// Traces: JSON, one step or one run a line
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Deal the tasks into N parts and predict each from the others, in place of each task
    /// from all others
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub(crate) folds: Option<u32>,
    /// How tasks are dealt
    #[arg(long, value_name = "N", default_value_t = 0, requires = "folds")]
    pub(crate) seed: u64,
    /// Predict each run from those before it, of its own task too
    #[arg(long, conflicts_with = "folds")]
    pub(crate) in_order: bool,
    /// Show how many of its candidates were right, by their confidence
    #[arg(long)]
    pub(crate) confidence: bool,
    #[command(flatten)]
    pub(crate) results: Results,
}

/// Which random runs.
#[derive(Debug, Args)]
pub(crate) struct Seeds {
    /// How many random runs there are of each kind
    #[arg(long = "seeds", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,
    /// The seed of the first one
    #[arg(long = "seed", value_name = "SEED", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=u64::MAX / 2))]
    first: u64,
}

impl Seeds {
    pub(crate) fn range(&self) -> Range<u64> {
        self.first..self.first + self.count
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Results {
    /// Print CSV (`--json` outranks it)
    #[arg(long)]
    pub(crate) csv: bool,
}

fn figure(text: &str) -> Result<u8, String> {
    let known = text.parse().ok().filter(|number| FIGURES.contains(number));
    known.ok_or_else(|| format!("can not be reproduced; these can: {FIGURES:?}"))
}

fn tau(text: &str) -> Result<Tau, String> {
    let number: u16 = text.parse().map_err(|_| "is no whole number".to_owned())?;
    Tau::try_from(number).map_err(|error| error.to_string())
}

/// Longest time of a call: a day.
const SECONDS_MAX: f64 = 86_400.0;

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => Ok(seconds),
        _ => Err(format!("is no number of seconds from 0 to {SECONDS_MAX}")),
    }
}

#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    pub(crate) session: SessionId,
    /// Only this step and later ones
    #[arg(long, value_name = "STEP")]
    pub(crate) from: Option<u32>,
    /// Also what you, or somebody else, changed since
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}
