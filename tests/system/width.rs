//! Several candidates a step, executed side by side in sandboxes of their own.

use crate::support::{Home, events_until, object, presented};
use forerun_sdk::{Agent, AgentError, Candidate, Request, Role};
use forerun_types::{Action, EventKind, TERMINATE, View};
use std::time::Duration;

/// How long the target thinks: the candidates have run by then.
const TARGET: Duration = Duration::from_millis(400);

fn write(path: &str) -> Action {
    let arguments = serde_json::json!({ "path": path, "content": "text\n" });
    Action::parse("write_file", &arguments.to_string()).expect("valid")
}

/// Writes two files, the second of which is the approximation agent's second guess.
struct Guesses(Role);

#[forerun_sdk::async_trait]
impl Agent for Guesses {
    async fn propose(&self, request: &Request) -> Result<Vec<Candidate>, AgentError> {
        let paths: &[&str] = match (request.steps_before(), self.0) {
            (0, _) => &["first.txt"],
            (1, Role::Approximation) => &["wrong.txt", "right.txt", "wrong too.txt", "late.txt"],
            (1, Role::Target) => &["right.txt"],
            _ => &[],
        };
        if self.0 == Role::Target {
            tokio::time::sleep(TARGET).await;
        }
        let mut actions: Vec<_> = paths.iter().map(|path| write(path)).collect();
        if actions.is_empty() {
            actions.push(Action::parse(TERMINATE, r#"{"answer": "done"}"#).expect("valid"));
        }
        Ok(actions.into_iter().map(Candidate::new).collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_guess_that_is_right_is_adopted_and_not_executed_again() {
    let home = Home::new();
    let workspace = home.workspace("work");
    let client = home.client().await;
    let opened = client.session(&workspace).task("write").width(3).depth(1);
    let session = opened.open().await.expect("a session");
    for role in [Role::Approximation, Role::Target] {
        session.attach(role, Guesses(role)).await.expect("attached");
    }
    let shown = presented(&session).await;
    let candidates = shown.iter().find_map(|event| match &event.kind {
        EventKind::Proposed { step, siblings, .. } if step.0 == 1 => Some(siblings.clone()),
        _ => None,
    });
    let candidates = candidates.expect("a proposal");
    assert_eq!(candidates.len(), 2, "as many as the width, with the first");
    let answered = shown.iter().find_map(|event| match &event.kind {
        EventKind::Answer {
            step,
            node,
            matched,
            corrects,
            ..
        } if step.0 == 1 => Some((*node, *matched, *corrects)),
        _ => None,
    });
    assert_eq!(answered, Some((candidates[0].node, true, None)));

    let log = events_until(&session, View::Trace, |kind| kind.is_last()).await;
    let started = log.iter().filter(
        |event| matches!(event.kind, EventKind::ExecutionStarted { step, .. } if step.0 == 1),
    );
    assert_eq!(started.count(), 3, "each candidate once");
    assert!(workspace.join("right.txt").exists() && workspace.join("first.txt").exists());
    for path in ["wrong.txt", "wrong too.txt", "late.txt"] {
        assert!(!workspace.join(path).exists(), "{path}");
    }
    let info = session.info().await.expect("a session");
    assert_eq!((info.width, info.counts.corrected), (3, 0));
}

#[test]
fn a_width_is_one_to_eight() {
    let home = Home::new();
    let workspace = home.workspace("work").display().to_string();
    let spec = home.script(
        "plan.toml",
        "answer = \"done\"\n[[step]]\ntool = \"list_dir\"\narguments = {}\n",
    );
    let run = |width: &str| {
        home.output(&[
            "run",
            "--json",
            "--width",
            width,
            "--workspace",
            &workspace,
            "--target",
            &spec,
            "--approximation",
            &spec,
            "nothing",
        ])
    };
    for width in ["0", "9"] {
        let refused = run(width);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && said.contains("must be 1 to 8"),
            "{said}"
        );
    }
    let output = run("8");
    let session = object(&String::from_utf8(output.stdout).expect("text"), "session");
    assert_eq!(session["session"]["width"], 8);
}
