//! `forerun policy`: list, show, check, test, diff, explain, reload.

use super::connect;
use crate::args::{ExplainArgs, ExplainCommand, Global, PolicyCommand};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::style::visible;
use forerun_sdk::{
    Action, CheckedPolicy, Explained, Forerun, PolicyChoice, PolicyProblem, PolicyQuestion,
    PolicySetInfo, PolicyText, Source, Touch,
};
use std::collections::BTreeMap;
use std::path::Path;

/// Who asks, and whether the verdict is awaited.
const ASKERS: [(&str, Source, bool); 3] = [
    ("unverified", Source::Approximation, true),
    ("target", Source::Target, false),
    ("user", Source::User, false),
];

pub(crate) async fn policy(
    global: &Global,
    output: Output,
    command: PolicyCommand,
) -> Result<(), Failure> {
    let daemon = connect(global).await?;
    match command {
        PolicyCommand::List => {
            let policies = daemon.policies().await?;
            if output.json {
                output.value(&serde_json::json!({
                    "sets": policies.sets,
                    "default": policies.default,
                }));
            } else {
                let sets = policies.sets.iter();
                sets.for_each(|set| list_line(output, set, &policies.default));
            }
        }
        PolicyCommand::Show { name, examples } => {
            let text = daemon.policy(&name).await?;
            if output.json {
                output.value(&serde_json::json!({
                    "name": text.name,
                    "source": text.source,
                    "examples": text.examples,
                }));
            } else if examples {
                output.line(text.examples.unwrap_or_default().trim_end());
            } else {
                output.line(text.source.trim_end());
            }
        }
        PolicyCommand::Check { set } => check(&daemon, output, &set, false).await?,
        PolicyCommand::Test { set } => check(&daemon, output, &set, true).await?,
        PolicyCommand::Diff { before, after } => diff(&daemon, output, &before, &after).await?,
        PolicyCommand::Explain(command) => explain(&daemon, output, command).await?,
        PolicyCommand::Reload => {
            let sets = daemon.reload_policies().await?;
            if output.json {
                output.value(&serde_json::json!({ "sets": sets }));
            } else {
                let names: Vec<_> = sets.iter().map(|set| visible(&set.name)).collect();
                let read = match names.is_empty() {
                    true => "you have no sets of your own".to_owned(),
                    false => format!("read {}", names.join(", ")),
                };
                output.note(&format!("{read}; sessions that are open keep theirs"));
            }
        }
    }
    Ok(())
}

fn list_line(output: Output, set: &PolicySetInfo, default: &str) {
    let mark = if set.name == default {
        " (default)"
    } else {
        ""
    };
    let name = output.style.strong(&visible(&set.name));
    output.line(&format!("{name}{mark}: {}", visible(&set.summary)));
    if let Some(directory) = &set.directory {
        output.line(&format!(
            "    {}",
            visible(&directory.display().to_string())
        ));
    }
    if let Some(problem) = &set.problem {
        let problem = format!("    can not be used: {}", visible(problem));
        output.line(&output.style.bad(&problem));
    }
}

/// Checks what is meant by a name or a directory.
async fn checked(daemon: &Forerun, set: &str) -> Result<CheckedPolicy, Failure> {
    match choice(set)? {
        PolicyChoice::Name(name) => Ok(daemon.check_policy(&name).await?),
        PolicyChoice::Text(text) => Ok(daemon.check_policy_text(text).await?),
    }
}

/// What is meant by a name or a directory.
fn choice(set: &str) -> Result<PolicyChoice, Failure> {
    let directory = Path::new(set);
    if !directory.is_dir() {
        return Ok(PolicyChoice::Name(set.to_owned()));
    }
    let read = |file: &str| match std::fs::read_to_string(directory.join(file)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let doing = format!("{} could not be read", directory.join(file).display());
            Err(Failure::io(&doing, &error))
        }
    };
    let source = read("policy.cedar")?.ok_or_else(|| {
        let message = format!("{set} has no policy.cedar");
        Failure::new(Exit::NoInput, "POLICY_NOT_FOUND", message)
            .hint("`forerun policy show coding` prints one to start from")
    })?;
    let name = std::path::absolute(directory).ok();
    let name = name
        .as_deref()
        .and_then(Path::file_name)
        .unwrap_or_default();
    Ok(PolicyChoice::Text(PolicyText {
        name: name.to_string_lossy().into_owned(),
        source,
        examples: read("examples.toml")?,
    }))
}

/// What changes from one set to another; succeeds whatever it is.
async fn diff(daemon: &Forerun, output: Output, before: &str, after: &str) -> Result<(), Failure> {
    let difference = daemon
        .diff_policies(&choice(before)?, &choice(after)?)
        .await?;
    if output.json {
        output.value(&serde_json::json!(difference));
        return Ok(());
    }
    let (before, after) = (visible(before), visible(after));
    output.line(&match difference.change.as_str() {
        "equal" => format!("{after} decides everything as {before} does"),
        "widens" => format!("{after} widens {before}: it allows more, and nothing less"),
        "narrows" => format!("{after} narrows {before}: it allows less, and nothing more"),
        "both" => format!("{after} allows some things more than {before}, and others less"),
        _ => format!("cannot tell all of what changes from {before} to {after}"),
    });
    for (what, finding) in [("more", &difference.wider), ("less", &difference.narrower)] {
        match &finding.witness {
            Some(witness) => output.line(&format!("  {what}: {}", visible(&witness.line))),
            None if finding.impossible => {}
            None => output.line(&format!("  {what}: not known")),
        }
    }
    Ok(())
}

/// `all`: shows every example, not only those that fail.
async fn check(daemon: &Forerun, output: Output, set: &str, all: bool) -> Result<(), Failure> {
    let CheckedPolicy {
        problems,
        examples,
        policies,
    } = checked(daemon, set).await?;
    let failed = examples.iter().filter(|example| example.failure.is_some());
    let failed = failed.count();
    if output.json {
        output.value(&serde_json::json!({
            "problems": problems,
            "examples": examples,
            "policies": policies,
        }));
    } else {
        for problem in &problems {
            output.line(&describe(output, problem));
        }
        for example in &examples {
            let mark = match &example.failure {
                Some(_) => output.style.bad("✗"),
                None if all => output.style.good("✓"),
                None => continue,
            };
            let (say, by, asked) = (&example.say, &example.by, &example.asked);
            let line = format!("{say} · {by} · {asked} → {}", example.expect);
            output.line(&format!("{mark} {}", visible(&line)));
            if let Some(failure) = &example.failure {
                output.line(&format!("  {}", visible(failure)));
            }
        }
    }
    if !problems.is_empty() {
        let message = format!("the policy set {} is not valid", visible(set));
        return Err(Failure::new(Exit::Data, "POLICY_INVALID", message));
    }
    if failed > 0 {
        let message = format!(
            "{failed} of {} examples are decided otherwise",
            examples.len()
        );
        return Err(Failure::new(Exit::Data, "POLICY_EXAMPLES", message)
            .hint("change the policies or the examples, so that they agree"));
    }
    if !output.json {
        output.note(&format!(
            "{set} is valid: {policies} policies, {} examples are decided as they say",
            examples.len()
        ));
    }
    Ok(())
}

fn describe(output: Output, problem: &PolicyProblem) -> String {
    let place = match problem.line {
        0 => String::new(),
        line => format!(":{line}:{}", problem.column),
    };
    let policy = match problem.policy.as_str() {
        "" => String::new(),
        id => format!("policy {}: ", visible(id)),
    };
    let (layer, message) = (visible(&problem.layer), visible(&problem.message));
    let text = output
        .style
        .bad(&format!("{layer}{place}: {policy}{message}"));
    match problem.hint.as_str() {
        "" => text,
        hint => format!("{text}\n    hint: {}", visible(hint)),
    }
}

async fn explain(daemon: &Forerun, output: Output, command: ExplainCommand) -> Result<(), Failure> {
    let touch = |touch, path| PolicyQuestion::Touch(touch, path);
    let (question, about): (PolicyQuestion, ExplainArgs) = match command {
        ExplainCommand::Call {
            tool,
            arguments,
            about,
        } => {
            let action = Action::parse(&tool, &arguments).map_err(|error| {
                let message = format!("the arguments of {tool}: {error}");
                Failure::new(Exit::Data, "ARGUMENTS_INVALID", message)
            })?;
            (PolicyQuestion::Call(action), about)
        }
        ExplainCommand::Read(asked) => (touch(Touch::Read, asked.path), asked.about),
        ExplainCommand::Write(asked) => (touch(Touch::Write, asked.path), asked.about),
        ExplainCommand::Delete(asked) => (touch(Touch::Delete, asked.path), asked.about),
        ExplainCommand::Connect { url, method, about } => {
            (PolicyQuestion::Connect { method, url }, about)
        }
    };
    let (policy, workspace) = (about.policy.as_deref(), about.workspace.as_deref());
    let mut answers: Vec<(&str, Explained)> = Vec::new();
    for (who, by, speculative) in ASKERS {
        let answer = daemon.explain_policy(policy, workspace, (by, speculative), &question);
        answers.push((who, answer.await?));
    }
    if output.json {
        output.value(&answers.into_iter().collect::<BTreeMap<_, _>>());
        return Ok(());
    }
    for (who, answer) in &answers {
        let outcome = format!("{:<5}", answer.outcome);
        let outcome = match answer.outcome.as_str() {
            "run" => output.style.good(&outcome),
            "deny" => output.style.bad(&outcome),
            _ => output.style.warn(&outcome),
        };
        output.line(&format!("{who:<11} {outcome} {}", visible(&answer.reason)));
    }
    let policies = answers.iter().flat_map(|(_, answer)| &answer.policies);
    let policies: BTreeMap<_, _> = policies.map(|policy| (&policy.id, policy)).collect();
    for policy in policies.values() {
        let place = format!("// {}", visible(&policy.layer));
        output.line(&format!("\n{}", output.style.dim(&place)));
        policy
            .text
            .lines()
            .for_each(|line| output.line(&visible(line)));
    }
    Ok(())
}
