//! What policy puts to the owner: the step waits, whoever else is there, until the owner
//! allows or refuses it, or takes the plan elsewhere.

use crate::support::{Home, Plan, events_until, presented};
use forerun_sdk::{Role, Session, SessionState};
use forerun_types::{Action, ApprovalEnd, ApprovalId, Event, EventKind, StepIndex, View};
use std::fs;

/// A set that asks about tools that reach beyond the workspace.
const ASKING: &str = r#"
@id("tools-on-the-workspace")
permit (principal, action in Action::"call", resource) unless { resource.open_world };

@id("tools-that-reach-outside")
@reason("the tool reaches beyond the workspace")
permit (principal, action in Action::"call", resource)
when { resource.open_world && (context.mode == Mode::"hold" || context.mode == Mode::"ask") };

@id("files")
permit (principal, action in Action::"touch", resource);

@id("commits")
permit (principal, action == Action::"commit", resource);

@id("shared-files")
forbid (principal, action == Action::"commit", resource)
when { context.shared > 0 && context.mode == Mode::"run" };
"#;
/// A tool that says of itself that it reaches beyond the workspace.
const MANIFEST: &str = r#"
name = "call_out"
title = "Call out"
description = "Says a text, and writes it to a file."
speculation = "contained"
open_world = true
argv = ["say={text}", ["write={file}:{text}"]]

[input_schema]
type = "object"
required = ["text"]
[input_schema.properties]
text = { type = "string" }
file = { type = "string" }
"#;

fn call_out(text: &str, file: &str) -> Action {
    let arguments = serde_json::json!({ "text": text, "file": file });
    Action::parse("call_out", &arguments.to_string()).expect("valid")
}

fn write(path: &str, content: &str) -> Action {
    let arguments = serde_json::json!({ "path": path, "content": content });
    Action::parse("write_file", &arguments.to_string()).expect("valid")
}

/// A session on `work`, whose agents agree on the plan.
async fn open(home: &Home, plan: &[Action]) -> Session {
    let (program, manifest) = (home.path("call_out.wasm"), home.path("call_out.toml"));
    fs::write(&program, forerun_test_guests::COMMAND).expect("writes");
    fs::write(&manifest, MANIFEST).expect("writes");
    let (program, manifest) = (program.display(), manifest.display());
    home.succeed(&[
        "tool",
        "add",
        &program.to_string(),
        "--manifest",
        &manifest.to_string(),
    ]);
    let set = home.path("config/forerun/policies/asking");
    fs::create_dir_all(&set).expect("makes");
    fs::write(set.join("policy.cedar"), ASKING).expect("writes");
    let workspace = home.workspace("work");
    // Another name for it: a commit that replaces it is a question.
    let shared = (workspace.join("README.md"), home.path("store"));
    fs::hard_link(shared.0, shared.1).expect("links");
    let client = home.client().await;
    let session = client.session(&workspace).policy("asking");
    let session = session.task("call out").open().await;
    let session = session.expect("a session");
    for role in [Role::Approximation, Role::Target] {
        let attached = session.attach(role, Plan(plan.to_vec(), role)).await;
        attached.expect("attached");
    }
    session
}

/// Until a question is open.
async fn asked(session: &Session) -> (ApprovalId, Vec<Event>) {
    let requested = |kind: &EventKind| matches!(kind, EventKind::ApprovalRequested { .. });
    let events = events_until(session, View::Trace, requested).await;
    match events.last().map(|event| &event.kind) {
        Some(EventKind::ApprovalRequested { approval, .. }) => (*approval, events),
        other => panic!("{other:?}"),
    }
}

fn ends(events: &[Event]) -> Vec<ApprovalEnd> {
    let ends = events.iter().filter_map(|event| match &event.kind {
        EventKind::ApprovalEnded { end, .. } => Some(*end),
        _ => None,
    });
    ends.collect()
}

/// The observations of a step, by their text.
fn observed(events: &[Event], of: u32) -> Vec<&str> {
    let texts = events.iter().filter_map(|event| match &event.kind {
        EventKind::Observed {
            step, observation, ..
        } if *step == StepIndex(of) => Some(observation.text.as_str()),
        _ => None,
    });
    texts.collect()
}

#[tokio::test]
async fn an_action_that_policy_asks_about_waits_for_its_verdict_and_then_for_the_owner() {
    let home = Home::new();
    let session = open(&home, &[call_out("hello", "said.txt")]).await;
    let (approval, events) = asked(&session).await;
    let at = |found: fn(&EventKind) -> bool| events.iter().position(|event| found(&event.kind));
    let held = at(|kind| matches!(kind, EventKind::NotExecuted { .. }));
    let decided = at(|kind| matches!(kind, EventKind::Decided { .. }));
    assert!(held.is_some(), "the approximation agent's was not run");
    assert!(held < decided && decided < Some(events.len() - 1));
    assert!(observed(&events, 0).is_empty());

    let open = session.info().await.expect("info").approval.expect("open");
    assert_eq!((open.id, open.step), (approval, StepIndex(0)));
    assert_eq!(open.policies, ["tools-that-reach-outside"]);
    assert!(open.what.contains("call_out") && open.what.contains("hello"));
    let id = session.id().to_string();
    let shown = home.succeed(&["session", "show", &id]);
    assert!(shown.contains(&format!("forerun approve {id}")), "{shown}");
    assert!(!home.path("work/said.txt").exists());

    home.fail(75, &["approve", &id, "--approval", "apr_77"]);
    home.succeed(&["approve", &id]);
    let events = presented(&session).await;
    assert_eq!(ends(&events), [ApprovalEnd::Allowed]);
    assert_eq!(observed(&events, 0), ["hello\n"]);
    assert!(home.path("work/said.txt").exists());
    home.fail(75, &["approve", &id]);
}

#[tokio::test]
async fn a_refusal_is_what_the_agents_observe_and_the_plan_goes_on() {
    let home = Home::new();
    let plan = [call_out("hello", "said.txt"), write("after.txt", "x")];
    let session = open(&home, &plan).await;
    asked(&session).await;
    let id = session.id().to_string();
    home.succeed(&["refuse", &id, "use the local copy"]);
    let events = presented(&session).await;
    assert_eq!(ends(&events), [ApprovalEnd::Refused]);
    let texts = observed(&events, 0);
    assert!(
        texts.len() == 1 && texts[0].contains("use the local copy"),
        "{texts:?}"
    );
    assert!(!home.path("work/said.txt").exists());
    assert!(home.path("work/after.txt").exists());
}

#[tokio::test]
async fn what_is_allowed_for_the_session_is_not_asked_again_and_another_tool_is() {
    let home = Home::new();
    let plan = [
        call_out("one", "one.txt"),
        call_out("two", "two.txt"),
        write("README.md", "shared\n"),
    ];
    let session = open(&home, &plan).await;
    let (first, _) = asked(&session).await;
    session.approve(first, true).await.expect("allowed");
    let commit = |kind: &EventKind| matches!(kind, EventKind::ApprovalRequested { what, .. } if what.contains("commit"));
    let events = events_until(&session, View::Presented, commit).await;
    let allowed = ApprovalEnd::AllowedForSession;
    assert_eq!(ends(&events), [allowed, allowed]);
    assert!(home.path("work/two.txt").exists());

    home.succeed(&["approve", &session.id().to_string()]);
    presented(&session).await;
    let text = fs::read_to_string(home.path("work/README.md")).expect("reads");
    assert_eq!(text, "shared\n");
}

#[tokio::test]
async fn a_question_that_nobody_answers_is_refused() {
    let home = Home::with_config("[approvals]\ntimeout_ms = 300\n");
    let session = open(&home, &[call_out("hello", "said.txt")]).await;
    let events = presented(&session).await;
    assert_eq!(ends(&events), [ApprovalEnd::TimedOut]);
    assert!(observed(&events, 0)[0].contains("did not answer"));
    assert!(!home.path("work/said.txt").exists());
}

#[tokio::test]
async fn a_commit_that_policy_asks_about_is_made_or_stalls_the_session() {
    for allow in [true, false] {
        let home = Home::new();
        let session = open(&home, &[write("README.md", "new\n")]).await;
        let (approval, events) = asked(&session).await;
        let EventKind::ApprovalRequested { what, policies, .. } = &events[events.len() - 1].kind
        else {
            panic!("{events:#?}");
        };
        assert!(what.contains("README.md"), "{what}");
        assert!(policies.contains(&"shared-files".to_owned()));
        let before = fs::read_to_string(home.path("work/README.md")).expect("reads");
        assert!(before.contains("Old text."));
        if allow {
            session.approve(approval, false).await.expect("allowed");
            presented(&session).await;
            let text = fs::read_to_string(home.path("work/README.md")).expect("reads");
            assert_eq!(text, "new\n");
            continue;
        }
        session.refuse(approval, "keep it").await.expect("refused");
        let stalled = |kind: &EventKind| matches!(kind, EventKind::Stalled { reason, .. } if reason.contains("keep it"));
        events_until(&session, View::Presented, stalled).await;
        let state = session.info().await.expect("info").state;
        assert!(matches!(state, SessionState::Stalled { .. }), "{state:?}");
        // Asked again, it is a question again.
        session.retry().await.expect("goes on");
        let again = |kind: &EventKind| matches!(kind, EventKind::ApprovalRequested { approval: id, .. } if *id != approval);
        events_until(&session, View::Presented, again).await;
        session.stop().await.expect("stops");
        presented(&session).await;
        let text = fs::read_to_string(home.path("work/README.md")).expect("reads");
        assert_eq!(text, before);
    }
}

#[tokio::test]
async fn a_question_is_withdrawn_when_the_plan_is_stopped() {
    for plan in [call_out("hello", "said.txt"), write("README.md", "new\n")] {
        let home = Home::new();
        let session = open(&home, &[plan]).await;
        asked(&session).await;
        session.stop().await.expect("stops");
        let events = presented(&session).await;
        assert_eq!(ends(&events), [ApprovalEnd::Withdrawn]);
        assert_eq!(session.info().await.expect("info").approval, None);
        assert!(!home.path("work/said.txt").exists());
        let text = fs::read_to_string(home.path("work/README.md")).expect("reads");
        assert!(text.contains("Old text."));
    }
}
