//! `forerun tool`: list, show, add, remove, call.

use super::connect;
use super::session::print_diff;
use crate::args::{Global, ToolCommand};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::render;
use crate::style::{visible, visible_lines};
use forerun_sdk::{Action, AddTool, Called, Finish, ToolDescription, Tools};
use std::path::Path;
use std::process::ExitCode;

pub(crate) async fn tool(
    global: &Global,
    output: Output,
    command: ToolCommand,
) -> Result<ExitCode, Failure> {
    let daemon = connect(global).await?;
    match command {
        ToolCommand::List => list(output, &daemon.tools().await?),
        ToolCommand::Show { tool } => {
            let tools = daemon.tools().await?.tools;
            let found = tools.iter().find(|known| known.name == tool);
            let found = found.ok_or_else(|| {
                Failure::new(
                    Exit::NoInput,
                    "TOOL_NOT_FOUND",
                    format!("there is no tool {tool}"),
                )
                .hint("`forerun tool list` shows what there is")
            })?;
            show(output, found);
        }
        ToolCommand::Add {
            component,
            name,
            manifest,
            digest,
            replace,
        } => {
            let stem = component.file_stem().unwrap_or_default().to_string_lossy();
            let manifest = match &manifest {
                Some(path) => Some(text(path)?),
                None => None,
            };
            let added = daemon
                .add_tool(AddTool {
                    name: name.unwrap_or_else(|| stem.into_owned()),
                    component: std::fs::read(&component)
                        .map_err(|error| unreadable(&component, &error))?,
                    manifest,
                    digest,
                    replace,
                })
                .await?;
            if output.json {
                output.value(&json(&added));
            } else {
                let tools = added.tools.join(", ");
                output.line(&format!("added {}: {}", added.name, visible(&tools)));
                output.note(&format!(
                    "{}; sessions that are open keep what they have",
                    added.digest
                ));
            }
        }
        ToolCommand::Remove { name } => {
            daemon.remove_tool(&name).await?;
            output.note(&format!("removed {name}; sessions that are open keep it"));
        }
        ToolCommand::Call {
            tool,
            arguments,
            workspace,
            commit,
            policy,
        } => {
            let action = Action::parse(&tool, &arguments).map_err(|error| {
                let message = format!("the arguments are not valid: {error}");
                Failure::new(Exit::Data, "ARGUMENTS_INVALID", message)
            })?;
            let called = daemon.call_tool(action, workspace.as_deref(), policy.as_deref());
            return finish(output, called.await?, commit).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what a call brought, and commits or drops what it changed.
async fn finish(output: Output, called: Called, commit: bool) -> Result<ExitCode, Failure> {
    let observation = &called.observation;
    let failed = observation.is_error();
    if output.json {
        output.value(&serde_json::json!({
            "observation": observation,
            "changed": called.changed,
            "committed": commit && !failed && !called.changed.is_empty(),
        }));
    } else {
        output.line(&visible_lines(&observation.text));
    }
    if let Some(session) = called.session
        && !called.changed.is_empty()
    {
        let commits = commit && !failed;
        if !output.json {
            print_diff(output.aside(), &session.diff().await?);
        }
        let finish = match commits {
            true => Finish::Commit,
            false => Finish::Discard,
        };
        session.finish(finish, &[]).await?;
        if !output.json {
            let changed = render::changes(&called.changed);
            output.note(&match commits {
                true => format!(
                    "committed: {changed}\n undo: forerun session undo {}",
                    session.id()
                ),
                false => format!("dropped: {changed}; --commit writes it"),
            });
        }
    }
    Ok(match failed {
        true => ExitCode::from(Exit::Failed as u8),
        false => ExitCode::SUCCESS,
    })
}

fn list(output: Output, tools: &Tools) {
    let by = |name: &str| {
        let added = tools.added.iter();
        let mut of = added.filter(|added| added.tools.iter().any(|tool| tool == name));
        of.next().map_or("shipped", |added| added.name.as_str())
    };
    if output.json {
        let of_tools = tools.tools.iter().map(|tool| {
            let mut value = serde_json::json!(tool);
            value["source"] = by(&tool.name).into();
            value
        });
        output.value(&serde_json::json!({
            "tools": of_tools.collect::<Vec<_>>(),
            "added": tools.added.iter().map(json).collect::<Vec<_>>(),
        }));
        return;
    }
    for tool in &tools.tools {
        let first = tool.description.split_terminator(". ").next();
        let line = format!(
            "{:<18} {:<9} {}",
            tool.name,
            by(&tool.name),
            visible(first.unwrap_or_default().trim_end_matches('.'))
        );
        output.line(&line);
    }
    for added in &tools.added {
        if let Some(problem) = &added.problem {
            output.note(&format!(
                "{} is not offered: {}",
                added.name,
                visible(problem)
            ));
        }
    }
}

fn show(output: Output, tool: &ToolDescription) {
    if output.json {
        output.value(tool);
        return;
    }
    let flags = [
        ("reads only", tool.annotations.read_only),
        ("may delete or overwrite", tool.annotations.destructive),
        ("idempotent", tool.annotations.idempotent),
        ("reaches outside", tool.annotations.open_world),
        ("deterministic", tool.deterministic),
    ];
    let flags = flags.iter().filter(|(_, is)| *is).map(|(flag, _)| *flag);
    let schema = serde_json::to_string_pretty(&tool.input_schema).unwrap_or_default();
    output.line(&format!(
        "{}: {}\n\n{}\n\nhints       {}\nspeculation {}\ncomponent   {}\narguments   {}",
        tool.name,
        visible(&tool.title),
        visible_lines(&tool.description),
        flags.collect::<Vec<_>>().join(", "),
        format!("{:?}", tool.speculation).to_lowercase(),
        tool.component,
        visible_lines(&schema),
    ));
}

fn json(added: &forerun_sdk::Added) -> serde_json::Value {
    serde_json::json!({
        "name": added.name,
        "digest": added.digest,
        "tools": added.tools,
        "problem": added.problem,
    })
}

fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("{} can not be read: {error}", path.display());
    Failure::new(Exit::NoInput, "FILE", message)
}
