//! Another MCP server behind policy and prediction: its tools are registered as functions of
//! ours, so a call of the host is an act whose execution is a call of that server.
//!
//! What the server does, it does outside of any sandbox: it can be held, asked for and denied,
//! and not undone. What it says of its tools is passed on to the host and not believed; that one
//! changes nothing is for the user to say, who starts this.

use crate::failure::{Exit, Failure};
use forerun_sdk::{Forerun, Offer, OfferedTool};
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ContentBlock, PaginatedRequestParams, Tool,
};
use rmcp::service::{Peer, RunningService};
use rmcp::{RoleClient, ServiceExt as _};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

/// How long the server may take to start and to say what it has.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Most tools that are taken from it; stops a server from listing without end.
const TOOLS_MAX: usize = 256;
/// What a host calls to hear what became of a call that waited for the user. Of the toolbox it is
/// `result`, which a server may well have.
pub(super) const RESULT: &str = "forerun_result";
/// Longest name of a tool, as policies and logs see it.
const NAME_BYTES_MAX: usize = 64;

/// A server that runs, and its tools.
pub(super) struct Wrapped {
    server: RunningService<RoleClient, ()>,
    /// Killed when this is dropped.
    process: Mutex<Child>,
    tools: Vec<Tool>,
    /// What its tools are called in actions, by their own names.
    names: BTreeMap<String, String>,
    pure: Vec<String>,
}

impl Wrapped {
    /// Starts the server and asks it for its tools. Those in `pure` change nothing, by the
    /// user's word; actions call all of them `{prefix}_{name}`.
    pub(super) async fn start(
        command: &[OsString],
        prefix: &str,
        pure: &[String],
    ) -> Result<Wrapped, Failure> {
        let shown = command[0].to_string_lossy().into_owned();
        let failed = |problem: String| {
            let message = format!("the MCP server {shown} can not be wrapped: {problem}");
            Failure::new(Exit::Data, "MCP", message)
        };
        let mut process = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                failed(error.to_string())
                    .hint("what follows --wrap is the program and its arguments")
            })?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(failed("it has no input or output".to_owned()));
        };
        let start = async {
            let server = ().serve((stdout, stdin)).await;
            let server = server.map_err(|error| failed(error.to_string()))?;
            let tools = list(&server).await.map_err(failed)?;
            Ok::<_, Failure>((server, tools))
        };
        let (server, mut tools) = tokio::time::timeout(START_TIMEOUT, start)
            .await
            .map_err(|_| failed(format!("it said nothing for {START_TIMEOUT:?}")))??;
        let mut known = BTreeSet::from([RESULT.to_owned()]);
        if let Some(twice) = tools
            .iter()
            .find(|tool| !known.insert(tool.name.to_string()))
        {
            let name = &twice.name;
            return Err(failed(format!(
                "it has a tool {name} twice, or one of ours"
            )));
        }
        let known = |name: &String| tools.iter().any(|tool| tool.name == *name);
        if let Some(unknown) = pure.iter().find(|name| !known(name)) {
            let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
            let hint = format!("its tools are {}", names.join(", "));
            return Err(failed(format!("it has no tool {unknown}")).hint(hint));
        }
        let names = action_names(prefix, tools.iter().map(|tool| tool.name.as_ref()));
        for tool in &mut tools {
            // What waits for the user has no structured result.
            tool.output_schema = None;
        }
        Ok(Wrapped {
            server,
            process: Mutex::new(process),
            tools,
            names,
            pure: pure.to_vec(),
        })
    }

    /// Waits until the server has ended.
    pub(super) async fn ended(&self) {
        // An error is an end, too: there is nothing to wait for.
        let _ = self.process.lock().await.wait().await;
    }

    /// Its tools, as the host is told of them.
    pub(super) fn tools(&self) -> impl Iterator<Item = Tool> {
        self.tools.iter().cloned()
    }

    /// What actions call one of its tools.
    pub(super) fn action_name(&self, tool: &str) -> Option<&str> {
        self.names.get(tool).map(String::as_str)
    }

    /// Registers its tools, for the sessions that name them.
    pub(super) async fn offer(&self, daemon: &Forerun) -> Result<Offer, Failure> {
        let tools = self.tools.iter().map(|tool| self.offered(tool)).collect();
        Ok(daemon.offer(tools).await?)
    }

    fn offered(&self, tool: &Tool) -> OfferedTool {
        let peer = self.server.peer().clone();
        let name = tool.name.to_string();
        let schema = Value::Object(tool.input_schema.as_ref().clone());
        let description = tool.description.as_deref().unwrap_or_default();
        let pure = self.pure.contains(&name);
        let offered = OfferedTool::new(&self.names[&name], description, schema, move |call| {
            let arguments = call.action.arguments.to_value();
            forward(peer.clone(), name.clone(), arguments)
        });
        match pure {
            true => offered.pure(),
            false => offered,
        }
    }
}

/// All of its tools, page by page.
async fn list(server: &Peer<RoleClient>) -> Result<Vec<Tool>, String> {
    let mut tools = Vec::new();
    let mut cursor = None;
    loop {
        let page = PaginatedRequestParams::default().with_cursor(cursor);
        let page = server.list_tools(Some(page)).await;
        let page = page.map_err(|error| error.to_string())?;
        tools.extend(page.tools);
        if tools.len() > TOOLS_MAX {
            return Err(format!("it has more than {TOOLS_MAX} tools"));
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(tools);
        }
    }
}

/// Calls the server; dropped, the call is cancelled.
async fn forward(peer: Peer<RoleClient>, name: String, arguments: Value) -> Result<String, String> {
    let mut request = CallToolRequestParams::new(name);
    if let Value::Object(arguments) = arguments {
        request = request.with_arguments(arguments);
    }
    let result = peer.call_tool(request).await;
    let result = result.map_err(|error| format!("the wrapped server failed: {error}"))?;
    let text = text_of(&result);
    match result.is_error {
        Some(true) => Err(text),
        _ => Ok(text),
    }
}

/// A result as a text, which is what an observation has.
fn text_of(result: &CallToolResult) -> String {
    let blocks = result.content.iter().map(|block| match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::ResourceLink(link) => link.uri.clone(),
        other => {
            let value = serde_json::to_value(other).unwrap_or_default();
            let kind = value.get("type").and_then(Value::as_str);
            format!("[{} is not passed on]", kind.unwrap_or("something"))
        }
    });
    let blocks: Vec<_> = blocks.collect();
    match (&result.structured_content, blocks.is_empty()) {
        (Some(structured), true) => structured.to_string(),
        _ => blocks.join("\n"),
    }
}

/// Names that actions can have, different ones for different tools: MCP allows capitals,
/// hyphens, dots and slashes.
fn action_names<'a>(
    prefix: &str,
    tools: impl Iterator<Item = &'a str>,
) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for tool in tools {
        let plain = tool.chars().map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => c,
            _ => '_',
        });
        let mut name: String = prefix.chars().chain(['_']).chain(plain).collect();
        let mut number = 1;
        loop {
            let suffix = match number {
                1 => String::new(),
                number => format!("_{number}"),
            };
            name.truncate(NAME_BYTES_MAX - suffix.len());
            let candidate = format!("{name}{suffix}");
            if !names.values().any(|taken| *taken == candidate) {
                names.insert(tool.to_owned(), candidate);
                break;
            }
            number += 1;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_gets_a_name_of_its_own_that_actions_can_have() {
        let long = "x".repeat(100);
        let other = format!("{long}y");
        let tools = [
            "Read-File",
            "read_file",
            "read.file",
            "naïve",
            &long,
            &other,
        ];
        let names = action_names("fs", tools.into_iter());
        assert_eq!(names["Read-File"], "fs_read_file");
        assert_eq!(names["read_file"], "fs_read_file_2");
        assert_eq!(names["read.file"], "fs_read_file_3");
        assert_eq!(names["naïve"], "fs_na_ve");
        assert_eq!(names[&long].len(), NAME_BYTES_MAX);
        assert!(names[&other].ends_with("x_2") && names[&other].len() == NAME_BYTES_MAX);
    }

    #[test]
    fn what_is_no_text_is_named_and_a_structured_result_alone_is_shown() {
        let mut result = CallToolResult::success(vec![
            ContentBlock::text("one"),
            ContentBlock::image("aGk=", "image/png"),
        ]);
        assert_eq!(text_of(&result), "one\n[image is not passed on]");
        result.content.clear();
        result.structured_content = Some(serde_json::json!({"n": 1}));
        assert_eq!(text_of(&result), r#"{"n":1}"#);
    }
}
