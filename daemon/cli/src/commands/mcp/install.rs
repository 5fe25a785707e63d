//! `forerun mcp install`: tells an MCP host to start `forerun mcp`. What is written in its
//! configuration stays as it is, comments included; the change is shown first, and the same
//! again changes nothing.

use crate::args::{McpHost, McpInstallArgs};
use crate::commands::confirm;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use similar::TextDiff;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use toml_edit::DocumentMut;

/// What a host calls us.
const NAME: &str = "forerun";
/// Longest configuration that is read; stops a wrong file from filling the memory.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Claude Code's own tools that change the workspace without Forerun.
const CLAUDE_BYPASSES: [&str; 4] = ["Bash", "Edit", "NotebookEdit", "Write"];

/// A file that is to be changed.
struct Change {
    path: PathBuf,
    before: String,
    after: String,
}

pub(super) fn install(output: Output, args: &McpInstallArgs) -> Result<(), Failure> {
    let mut changes = Vec::new();
    for (path, edit) in plan(args)? {
        let before = read(&path)?;
        let after = edit(&before).map_err(|problem| {
            let message = format!("{} can not be changed: {problem}", path.display());
            Failure::new(Exit::Data, "MCP_CONFIG_INVALID", message)
                .hint("nothing was written; mend it by hand, or move it away")
        })?;
        if before != after {
            changes.push(Change {
                path,
                before,
                after,
            });
        }
    }
    let host = args.host.name();
    if changes.is_empty() {
        output.note(&format!("{host} starts Forerun already; nothing to change"));
        return Ok(());
    }
    for change in &changes {
        output.line(change.shown().trim_end());
    }
    if args.print || !confirm("write this?")?.unwrap_or(true) {
        output.note("nothing was written");
        return Ok(());
    }
    for change in &changes {
        write(change).map_err(|error| {
            Failure::io(
                &format!("{} can not be written", change.path.display()),
                &error,
            )
        })?;
    }
    output.note(&format!("{host} starts Forerun from its next start on"));
    if !args.deny {
        output.note(match args.host {
            McpHost::Claude => {
                "its own edit and shell tools bypass Forerun: --deny forbids them here"
            }
            McpHost::Codex => {
                "its own shell bypasses Forerun: sandbox_mode = \"read-only\" there keeps it \
                 from writing"
            }
            McpHost::Cursor => {
                "its own edit and terminal tools bypass Forerun: a custom mode without them \
                 does not"
            }
        });
    }
    Ok(())
}

type Edit = Box<dyn Fn(&str) -> Result<String, String>>;

/// The files to be changed, and how.
fn plan(args: &McpInstallArgs) -> Result<Vec<(PathBuf, Edit)>, Failure> {
    let workspace = std::path::absolute(&args.workspace)
        .map_err(|error| Failure::io("the workspace has no path", &error))?;
    if !workspace.is_dir() {
        let message = format!("{} is no directory", workspace.display());
        return Err(Failure::new(Exit::NoInput, "WORKSPACE_NOT_FOUND", message));
    }
    if args.deny && args.host != McpHost::Claude {
        let message = format!(
            "{} has no rules in a file that forbid its tools",
            args.host.name()
        );
        return Err(Failure::new(Exit::Usage, "MCP_DENY", message)
            .hint("without --deny it says what can be done"));
    }
    let command = program();
    let mut plan: Vec<(PathBuf, Edit)> = Vec::new();
    match args.host {
        // It starts servers in the project.
        McpHost::Claude => plan.push((
            workspace.join(".mcp.json"),
            Box::new(move |text| json_with_server(text, &command, &["mcp"])),
        )),
        McpHost::Cursor => plan.push((
            workspace.join(".cursor/mcp.json"),
            Box::new(move |text| {
                let arguments = ["mcp", "--workspace", "${workspaceFolder}"];
                json_with_server(text, &command, &arguments)
            }),
        )),
        McpHost::Codex => plan.push((
            codex_directory()?.join("config.toml"),
            Box::new(move |text| toml_with_server(text, &command)),
        )),
    }
    if args.deny {
        plan.push((
            workspace.join(".claude/settings.json"),
            Box::new(|text| json_with_denied(text, &CLAUDE_BYPASSES)),
        ));
    }
    Ok(plan)
}

/// How a host starts this program: by its name, if that finds it.
fn program() -> String {
    let own = std::env::current_exe().and_then(|path| path.canonicalize());
    let Ok(own) = own else {
        return NAME.to_owned();
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|directory| directory.join(NAME));
    match found.find_map(|path| path.canonicalize().ok()) {
        Some(found) if found == own => NAME.to_owned(),
        _ => own.display().to_string(),
    }
}

fn codex_directory() -> Result<PathBuf, Failure> {
    if let Some(directory) = std::env::var_os("CODEX_HOME").filter(|value| !value.is_empty()) {
        return Ok(directory.into());
    }
    let home = std::env::home_dir().ok_or_else(|| {
        Failure::new(Exit::NoInput, "HOME", "the home directory is not known")
            .hint("CODEX_HOME says where Codex keeps its configuration")
    })?;
    Ok(home.join(".codex"))
}

fn json_with_server(text: &str, command: &str, arguments: &[&str]) -> Result<String, String> {
    edit_json(text, |root| {
        let servers = root.object_value_or_create("mcpServers");
        let servers = servers.ok_or("mcpServers is no object")?;
        let wanted = serde_json::json!({ "command": command, "args": arguments });
        let arguments = arguments.iter().map(|argument| (*argument).into());
        let value = CstInputValue::Object(vec![
            ("command".to_owned(), command.into()),
            ("args".to_owned(), CstInputValue::Array(arguments.collect())),
        ]);
        match servers.get(NAME) {
            Some(server) => {
                let is = server.value().and_then(|value| value.to_serde_value());
                if is != Some(wanted) {
                    server.set_value(value);
                }
            }
            None => drop(servers.append(NAME, value)),
        }
        Ok(())
    })
}

fn json_with_denied(text: &str, tools: &[&str]) -> Result<String, String> {
    edit_json(text, |root| {
        let permissions = root.object_value_or_create("permissions");
        let permissions = permissions.ok_or("permissions is no object")?;
        let deny = permissions.array_value_or_create("deny");
        let deny = deny.ok_or("permissions.deny is no list")?;
        for tool in tools {
            let is = |value: Option<serde_json::Value>| value.is_some_and(|value| value == *tool);
            if !deny
                .elements()
                .iter()
                .any(|element| is(element.to_serde_value()))
            {
                deny.append((*tool).into());
            }
        }
        Ok(())
    })
}

fn edit_json(
    text: &str,
    edit: impl Fn(&CstObject) -> Result<(), &'static str>,
) -> Result<String, String> {
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    let root = CstRootNode::parse(text, &ParseOptions::default());
    let root = root.map_err(|error| format!("it is not JSON: {error}"))?;
    let object = root.object_value_or_create();
    edit(&object.ok_or("it is no object")?)?;
    Ok(root.to_string())
}

fn toml_with_server(text: &str, command: &str) -> Result<String, String> {
    let document = text.parse::<DocumentMut>();
    let mut document = document.map_err(|error| format!("it is not TOML: {error}"))?;
    let table = |implicit: bool| {
        let mut table = toml_edit::Table::new();
        table.set_implicit(implicit);
        toml_edit::Item::Table(table)
    };
    let servers = document.entry("mcp_servers").or_insert_with(|| table(true));
    let servers = servers
        .as_table_like_mut()
        .ok_or("mcp_servers is no table")?;
    let server = servers.entry(NAME).or_insert_with(|| table(false));
    let server = server
        .as_table_like_mut()
        .ok_or("mcp_servers.forerun is no table")?;
    if server.get("command").and_then(|value| value.as_str()) != Some(command) {
        server.insert("command", toml_edit::value(command));
    }
    let arguments = server.get("args").and_then(|value| value.as_array());
    let are = arguments.map(|array| array.iter().map(|value| value.as_str()).collect());
    if are != Some(vec![Some("mcp")]) {
        let array: toml_edit::Array = ["mcp"].into_iter().collect();
        server.insert("args", toml_edit::value(array));
    }
    Ok(document.to_string())
}

impl Change {
    fn shown(&self) -> String {
        let name = self.path.display().to_string();
        TextDiff::from_lines(&self.before, &self.after)
            .unified_diff()
            .header(&name, &name)
            .to_string()
    }
}

/// The file's text; empty if there is none.
fn read(path: &Path) -> Result<String, Failure> {
    let read = || {
        if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
            return Err(io::Error::other(format!(
                "it has over {} MiB",
                FILE_BYTES_MAX >> 20
            )));
        }
        std::fs::read_to_string(path)
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => text
            .map_err(|error| Failure::io(&format!("{} can not be read", path.display()), &error)),
    }
}

/// Writes all or nothing, through a link if it is one, with the mode that it has.
fn write(change: &Change) -> io::Result<()> {
    let path = match change.path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => change.path.clone(),
        path => path?,
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(change.after.as_bytes())?;
    if let Ok(metadata) = std::fs::metadata(&path) {
        file.as_file().set_permissions(metadata.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = r#"{
  "mcpServers": {
    "forerun": {
      "command": "forerun",
      "args": ["mcp"]
    }
  }
}
"#;

    #[test]
    fn a_server_is_added_once_and_the_rest_stays_as_it_was_written() {
        let made = json_with_server("", "forerun", &["mcp"]);
        assert_eq!(made.as_deref(), Ok(SERVER));
        let again = json_with_server(SERVER, "forerun", &["mcp"]);
        assert_eq!(again.as_deref(), Ok(SERVER));
        let others = "{\n  // ours\n  \"mcpServers\": {\n    \"z\": {\"command\": \"z\"}, // last\n    \"a\": {}\n  }\n}\n";
        let with = json_with_server(others, "/bin/forerun", &["mcp"]).expect("valid");
        assert!(with.contains("// ours") && with.contains("\"z\": {\"command\": \"z\"}, // last"));
        assert!(with.contains("\"command\": \"/bin/forerun\""), "{with}");
        assert_eq!(
            json_with_server(&with, "/bin/forerun", &["mcp"]).as_ref(),
            Ok(&with)
        );
        let moved = json_with_server(&with, "forerun", &["mcp"]).expect("valid");
        assert!(
            !moved.contains("/bin/forerun") && moved.contains("// last"),
            "{moved}"
        );
    }

    #[test]
    fn what_has_another_shape_is_left_alone_and_named() {
        for (text, named) in [
            ("[]", "no object"),
            ("{\"mcpServers\": []}", "mcpServers"),
            ("{\"a\": ", "not JSON"),
        ] {
            let error = json_with_server(text, "forerun", &["mcp"]).expect_err(text);
            assert!(error.contains(named), "{text}: {error}");
        }
        let error = json_with_denied("{\"permissions\": {\"deny\": 1}}", &["Bash"]);
        assert!(error.is_err_and(|error| error.contains("permissions.deny")));
        for text in ["mcp_servers = 1", "[mcp_servers]\nforerun = 1", "= 3"] {
            assert!(toml_with_server(text, "forerun").is_err(), "{text}");
        }
    }

    #[test]
    fn tools_are_denied_once() {
        let text = "{\"permissions\": {\"allow\": [\"Read\"], \"deny\": [\"Edit\"]}}";
        let denied = json_with_denied(text, &CLAUDE_BYPASSES).expect("valid");
        let value: serde_json::Value = serde_json::from_str(&denied).expect("JSON");
        let wanted = serde_json::json!(["Edit", "Bash", "NotebookEdit", "Write"]);
        assert_eq!(value["permissions"]["deny"], wanted);
        assert_eq!(value["permissions"]["allow"], serde_json::json!(["Read"]));
        assert_eq!(
            json_with_denied(&denied, &CLAUDE_BYPASSES).as_ref(),
            Ok(&denied)
        );
    }

    #[test]
    fn toml_keeps_its_comments_too() {
        let text = "model = \"m\" # mine\n\n[mcp_servers.other]\ncommand = \"x\"\n";
        let with = toml_with_server(text, "forerun").expect("valid");
        assert!(with.starts_with(text), "{with}");
        let added = "[mcp_servers.forerun]\ncommand = \"forerun\"\nargs = [\"mcp\"]\n";
        assert!(with.contains(added), "{with}");
        assert_eq!(toml_with_server(&with, "forerun").as_ref(), Ok(&with));
    }
}
