//! `forerun mcp`: a server of the Model Context Protocol on stdin and stdout. A host that
//! knows nothing of Forerun calls the toolbox; each call is an act in a session, which is
//! opened with the first one and closed when the host goes away.
//!
//! What the owner has to allow is no tool, which a model could call: it is asked in the
//! host's own form, where the host has one, or else in a terminal.

mod elicit;
mod install;
mod tools;
mod undo;
mod wrap;

use self::elicit::User;
use self::tools::{DIFF, UNDO, described, own_tools, result_tool};
use self::wrap::Wrapped;
use super::connect;
use crate::args::{CommitArg, Global, McpArgs, McpCommand};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use forerun_proto::reason;
use forerun_sdk::{
    Act, ActOutcome, Action, ChangeKind, CommitMode, Error, EventKind, Forerun, ObservationStatus,
    Offer, PathChange, Session, SessionInfo, SessionState, ToolDescription, View,
};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, Implementation, JsonObject, ListPromptsResult,
    ListToolsResult, PaginatedRequestParams, Prompt, PromptMessage, Role, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

/// What became of a call that waits for the owner.
const RESULT: &str = "result";
/// Calls that are predicted at once.
const PREDICTIONS: u32 = 3;
/// Most bytes of a diff that a model is given.
const DIFF_BYTES_MAX: usize = 64 << 10;

/// `forerun mcp` and `forerun mcp install`.
pub(crate) async fn mcp(global: &Global, output: Output, args: McpArgs) -> Result<(), Failure> {
    match args.command {
        Some(McpCommand::Install(install)) => install::install(output, &install),
        None => Box::pin(serve(global, output, args)).await,
    }
}

async fn serve(global: &Global, output: Output, args: McpArgs) -> Result<(), Failure> {
    let workspace = match args.workspace {
        Some(workspace) => workspace,
        None => std::env::current_dir()
            .map_err(|error| Failure::io("the working directory is not known", &error))?,
    };
    if !workspace.is_dir() {
        let message = format!("the workspace {} is no directory", workspace.display());
        return Err(Failure::new(Exit::NoInput, "WORKSPACE_NOT_FOUND", message));
    }
    if std::io::stdin().is_terminal() {
        output.note("waiting for an MCP host; `forerun mcp install` tells one to start this");
    }
    let wrapped = match args.wrap.is_empty() {
        true => None,
        false => Some(Wrapped::start(&args.wrap, &args.name, &args.pure).await?),
    };
    let daemon = connect(global).await?;
    let tools = daemon.tools().await?.tools;
    let server = Server(Arc::new(Shared {
        global: global.clone(),
        workspace,
        policy: args.policy,
        commit: args.commit,
        predict: !args.no_predict,
        tools,
        wrapped,
        state: Mutex::new(State {
            daemon,
            session: None,
            offer: None,
        }),
        forms: Mutex::default(),
    }));
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Data,
            "MCP",
            format!("the host can not be served: {error}"),
        )
        .hint("an MCP host starts this command; `forerun mcp install` tells it to")
    };
    let mut terminate = signal(SignalKind::terminate())
        .map_err(|error| Failure::io("signals can not be heard", &error))?;
    let shared = Arc::clone(&server.0);
    let running = tokio::select! {
        running = server.serve(rmcp::transport::stdio_pipes()) => running,
        _ = terminate.recv() => return Ok(()),
    };
    let running = running.map_err(|error| unusable(&error))?;
    let wrapped_ended = async {
        match &shared.wrapped {
            Some(wrapped) => wrapped.ended().await,
            None => std::future::pending().await,
        }
    };
    let mut alone = false;
    tokio::select! {
        ended = running.waiting() => drop(ended.map_err(|error| unusable(&error))?),
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        () = wrapped_ended => alone = true,
    }
    if let Some(session) = shared.state.lock().await.session.take() {
        let info = session.close().await?;
        if info.counts.verified > info.counts.committed && args.commit == Some(CommitArg::Session) {
            output.note(&format!(
                "{0} is not in the workspace yet: forerun session commit {0}",
                session.id()
            ));
        }
    }
    match alone {
        true => Err(
            Failure::new(Exit::Failed, "MCP", "the wrapped MCP server ended")
                .hint("the host starts both again"),
        ),
        false => Ok(()),
    }
}

/// The server; clones are the same one.
#[derive(Clone)]
struct Server(Arc<Shared>);

struct Shared {
    global: Global,
    workspace: PathBuf,
    policy: Option<String>,
    commit: Option<CommitArg>,
    predict: bool,
    tools: Vec<ToolDescription>,
    /// The server whose tools are offered in place of the toolbox.
    wrapped: Option<Wrapped>,
    state: Mutex<State>,
    /// One form at a time.
    forms: Mutex<()>,
}

struct State {
    daemon: Forerun,
    /// Opened with the first call.
    session: Option<Session>,
    /// The wrapped server's tools, as the session has them.
    offer: Option<Offer>,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .build();
        let mut info = ServerConfig::new(capabilities);
        info.server_info =
            Implementation::new("forerun", env!("CARGO_PKG_VERSION")).with_title("Forerun");
        info.with_instructions(self.0.instructions())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let result = result_tool(self.0.result_tool());
        let tools = match &self.0.wrapped {
            None => {
                let tools = self.0.tools.iter().map(described);
                tools.chain(own_tools()).chain([result]).collect()
            }
            // What a server outside of any sandbox did can not be shown, or undone.
            Some(wrapped) => wrapped.tools().chain([result]).collect(),
        };
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let user = User::behind(&context.peer, &self.0.forms);
        let called = self.0.call(&request.name, arguments, &user);
        tokio::select! {
            result = called => Ok(result?.into()),
            // What has not had its turn is dropped by this.
            () = context.ct.cancelled() => Ok(failed("it was cancelled".to_owned()).into()),
        }
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = match self.0.wrapped {
            None => vec![
                Prompt::new(DIFF, Some("Show what the session changed"), None),
                Prompt::new(UNDO, Some("Take the last step back"), None),
            ],
            Some(_) => Vec::new(),
        };
        Ok(ListPromptsResult::with_all_items(prompts))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let told = match request.name.as_str() {
            DIFF if self.0.wrapped.is_none() => self.0.diff().await,
            UNDO if self.0.wrapped.is_none() => self.0.undo(1).await,
            name => {
                let problem = format!("there is no prompt {name}; `prompts/list` says which");
                return Err(ErrorData::invalid_params(problem, None));
            }
        };
        let text = told.unwrap_or_else(|failure| failure.to_string());
        let messages = vec![PromptMessage::new_text(Role::User, text)];
        Ok(GetPromptResult::new(messages).into())
    }
}

impl Shared {
    /// What a host calls to hear what became of a call that waited for the user.
    fn result_tool(&self) -> &'static str {
        match self.wrapped {
            None => RESULT,
            Some(_) => wrap::RESULT,
        }
    }

    fn instructions(&self) -> String {
        if self.wrapped.is_some() {
            return "These tools are another server's, under the user's policy: a call may be \
                    denied, or wait for the user."
                .to_owned();
        }
        let when = match self.commit {
            Some(CommitArg::Session) => {
                "What they change stays apart until the user commits the session."
            }
            Some(CommitArg::Step) | None => {
                "What they change is in the workspace when they return, and can be taken back \
                 with `undo`."
            }
        };
        format!(
            "These tools work on {}, each call in a sandbox under the user's policy. {when} \
             Prefer them over other tools that read, write or run something there. Paths are \
             relative to the workspace.",
            self.workspace.display()
        )
    }

    /// Calls a tool, the toolbox's or our own.
    async fn call(
        &self,
        name: &str,
        arguments: JsonObject,
        user: &User<'_>,
    ) -> Result<CallToolResult, ErrorData> {
        let invalid = |problem: String| ErrorData::invalid_params(problem, None);
        let told = match name {
            DIFF if self.wrapped.is_none() => self.diff().await,
            UNDO if self.wrapped.is_none() => {
                let steps = match arguments.get("steps") {
                    None => Some(1),
                    Some(steps) => steps.as_u64().and_then(|steps| u32::try_from(steps).ok()),
                };
                let steps = steps.filter(|steps| *steps > 0);
                let steps = steps.ok_or_else(|| invalid("steps must be 1 or more".to_owned()))?;
                self.undo(steps).await
            }
            _ if name == self.result_tool() => {
                let key = arguments.get("key").and_then(|key| key.as_str());
                let key = key.ok_or_else(|| invalid("key must be a string".to_owned()))?;
                return Ok(self.result(key, user).await.unwrap_or_else(broken));
            }
            _ => {
                let known = match &self.wrapped {
                    None => (self.tools.iter().any(|tool| tool.name == name)).then_some(name),
                    Some(wrapped) => wrapped.action_name(name),
                };
                let name = known.ok_or_else(|| invalid(format!("there is no tool {name}")))?;
                let arguments = Value::Object(arguments).to_string();
                let action = Action::parse(name, &arguments)
                    .map_err(|error| invalid(format!("the arguments are not valid: {error}")))?;
                return Ok(self.act(action, user).await.unwrap_or_else(broken));
            }
        };
        Ok(match told {
            Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
            Err(failure) => broken(failure),
        })
    }

    /// Does an action as the session's next step. A session that came to the most steps it
    /// may have is followed by another.
    async fn act(&self, action: Action, user: &User<'_>) -> Result<CallToolResult, Failure> {
        loop {
            let session = self.session().await?;
            let key = forerun_sdk::draw_key()?;
            let act = session.act_as(&key, action.clone(), user.wait()).await;
            if let Err(error) = &act
                && error.code() == reason::SESSION_OVER
                && let Ok(info) = session.info().await
            {
                self.forget(&session).await;
                // Then, and only then, it was certainly not done.
                if info.end_reason == "step limit" {
                    continue;
                }
                return Err(over(&info));
            }
            return self.settle(&session, act, user).await;
        }
    }

    /// Has the user decide what an act waits for, and tells what became of it.
    async fn settle(
        &self,
        session: &Session,
        act: forerun_sdk::Result<Act>,
        user: &User<'_>,
    ) -> Result<CallToolResult, Failure> {
        let act = match act {
            Ok(act) => user.decide(session, act).await,
            error => error,
        };
        match act {
            Ok(act) => Ok(self.told(session, act)),
            Err(error) => Err(self.lost(session, error).await),
        }
    }

    /// What became of an act that waited for the owner.
    async fn result(&self, key: &str, user: &User<'_>) -> Result<CallToolResult, Failure> {
        let session = self.session().await?;
        let act = session.act_result(key, user.wait()).await;
        self.settle(&session, act, user).await
    }

    fn told(&self, session: &Session, act: Act) -> CallToolResult {
        let mut result = match act.outcome {
            ActOutcome::Pending { reason, approval } => {
                let how = match approval {
                    Some(_) => format!(
                        "the user runs `forerun approve {0}`, or `forerun refuse {0} REASON`, in \
                         a terminal",
                        session.id()
                    ),
                    None => format!("the user sees `forerun session show {}`", session.id()),
                };
                let text = format!(
                    "This is not done yet: it waits for the user. {reason}. Tell them: {how}. \
                     Then call `{}` with the key {}.",
                    self.result_tool(),
                    act.key
                );
                CallToolResult::success(vec![ContentBlock::text(text)])
            }
            ActOutcome::Done(acted) => {
                let observation = acted.observation;
                let content = vec![ContentBlock::text(observation.text)];
                let mut result = match observation.status {
                    ObservationStatus::Success => CallToolResult::success(content),
                    _ => CallToolResult::error(content),
                };
                let structured = observation.structured;
                result.structured_content =
                    structured.and_then(|text| serde_json::from_str(&text).ok());
                if let Some(instead) = acted.instead {
                    let text = format!("note: the user did this in its place: {instead}");
                    result.content.push(ContentBlock::text(text));
                }
                result
            }
        };
        let notices = act
            .notices
            .into_iter()
            .map(|notice| format!("note: {notice}"));
        result.content.extend(notices.map(ContentBlock::text));
        result
    }

    /// What the session has changed: as a difference, or, once it is committed, by step.
    async fn diff(&self) -> Result<String, Failure> {
        let Some(session) = self.state.lock().await.session.clone() else {
            return Ok("Nothing was changed.".to_owned());
        };
        let mut text = String::new();
        for file in session.diff().await? {
            text += &listed(std::slice::from_ref(&file.change));
            text += &file.unified;
        }
        let mut committed = BTreeMap::new();
        let mut events = session.watch_from(View::Presented, 0, false);
        while let Some(event) = events.next().await {
            match event?.kind {
                EventKind::Committed { step, changed, .. } => {
                    committed.insert(step, changed);
                }
                EventKind::Backtracked { step, .. } => drop(committed.split_off(&step)),
                _ => {}
            }
        }
        for (step, changed) in committed.iter().filter(|(_, changed)| !changed.is_empty()) {
            text += &format!("step {step}:\n{}", listed(changed));
        }
        if text.is_empty() {
            text.push_str("Nothing was changed.");
        }
        let end = text.floor_char_boundary(DIFF_BYTES_MAX);
        if end < text.len() {
            text.truncate(end);
            text += "\n(cut here)";
        }
        Ok(text)
    }

    /// Takes the last steps back.
    async fn undo(&self, steps: u32) -> Result<String, Failure> {
        match self.state.lock().await.session.clone() {
            Some(session) => undo::undo(&session, steps).await,
            None => Ok("There is nothing to undo.".to_owned()),
        }
    }

    /// The session; the first call opens it.
    async fn session(&self) -> Result<Session, Failure> {
        let mut state = self.state.lock().await;
        if state.offer.take_if(|offer| offer.is_over()).is_some()
            && let Some(session) = state.session.take()
        {
            // Its tools are gone; it may be gone itself.
            let _ = session.close().await;
        }
        if let Some(session) = &state.session {
            return Ok(session.clone());
        }
        let mut session = state
            .daemon
            .session(&self.workspace)
            .task("calls of an MCP host");
        if let Some(policy) = &self.policy {
            session = session.policy(policy);
        }
        if self.commit == Some(CommitArg::Session) {
            session = session.commit(CommitMode::Session);
        }
        if let Some(wrapped) = &self.wrapped {
            let offer = wrapped.offer(&state.daemon).await?;
            session = session.tools(&offer);
            state.offer = Some(offer);
        }
        let session = session.predict(self.predict).width(PREDICTIONS);
        let session = session.depth(1).open().await?;
        state.session = Some(session.clone());
        Ok(session)
    }

    async fn forget(&self, session: &Session) {
        let mut state = self.state.lock().await;
        state.session.take_if(|known| known.id() == session.id());
    }

    /// An act failed. If the daemon is gone, the next one finds another.
    async fn lost(&self, session: &Session, error: Error) -> Failure {
        let unreachable = matches!(error, Error::Unreachable { .. } | Error::NotRunning { .. });
        if unreachable && let Ok(daemon) = connect(&self.global).await {
            self.state.lock().await.daemon = daemon;
        }
        let over = error.code() == reason::SESSION_OVER;
        if !unreachable && !over {
            return error.into();
        }
        let info = session.info().await;
        if over || info.is_ok_and(|info| info.state == SessionState::Interrupted) {
            self.forget(session).await;
        }
        Failure::from(error).hint("it may have been done; look before you do it again")
    }
}

/// Changed paths, a line each, for a model.
fn listed(changed: &[PathChange]) -> String {
    let lines = changed.iter().map(|change| {
        let path = &change.path;
        match &change.kind {
            ChangeKind::Created => format!("created {path}\n"),
            ChangeKind::Modified => format!("modified {path}\n"),
            ChangeKind::Deleted => format!("deleted {path}\n"),
            ChangeKind::Renamed { from } => format!("renamed {from} to {path}\n"),
            ChangeKind::Attributes => format!("attributes of {path}\n"),
        }
    });
    lines.collect()
}

/// Why nothing can be done in a session any more.
fn over(info: &SessionInfo) -> Failure {
    let message = match info.state {
        SessionState::Interrupted => {
            "the daemon stopped; whether this was done is to be looked at".to_owned()
        }
        _ => format!("the user ended the session: {}", info.end_reason),
    };
    Failure::new(Exit::NotNow, reason::SESSION_OVER, message)
        .hint("the next call opens another session")
}

/// A failure that the model is to see.
fn broken(failure: Failure) -> CallToolResult {
    failed(failure.to_string())
}

fn failed(text: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}
