//! What policy puts to the owner: the step waits, whoever else is there, until the owner
//! allows or refuses it, or takes the plan elsewhere.

use crate::support::{Home, Plan, events_until, presented};
use forerun_sdk::{Role, Session, SessionState};
use forerun_types::{Action, AllowFor, ApprovalEnd, ApprovalId, Event, EventKind, StepIndex, View};
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

/// A session on `work`, whose agents agree on the plan, in a home that has the tool and the
/// set.
async fn again(home: &Home, plan: &[Action]) -> Session {
    let client = home.client().await;
    let session = client.session(home.path("work")).policy("asking");
    let session = session.task("call out").open().await;
    let session = session.expect("a session");
    for role in [Role::Approximation, Role::Target] {
        let attached = session.attach(role, Plan(plan.to_vec(), role)).await;
        attached.expect("attached");
    }
    session
}

/// As [`again`], in a new home.
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
    again(home, plan).await
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
    session
        .approve(first, AllowFor::Session)
        .await
        .expect("allowed");
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
async fn what_is_allowed_always_is_shown_first_and_asked_in_no_later_session() {
    let home = Home::new();
    let session = open(&home, &[call_out("one", "one.txt")]).await;
    asked(&session).await;
    let id = session.id().to_string();
    let open_question = session.info().await.expect("info").approval.expect("open");
    let permit = open_question.always.expect("can be allowed always");
    assert!(
        permit.contains(r#"resource == Tool::"call_out""#),
        "{permit}"
    );

    // Nobody agrees: it is shown, and nothing is written.
    let file = home.path("config/forerun/policies/asking.always.cedar");
    let shown = home.fail(75, &["approve", &id, "--always"]);
    assert!(
        shown.contains(permit.trim_end()) && shown.contains("--yes"),
        "{shown}"
    );
    assert!(!file.exists());
    home.succeed(&["approve", &id, "--always", "--yes"]);
    let events = presented(&session).await;
    assert_eq!(ends(&events), [ApprovalEnd::AllowedAlways]);
    assert_eq!(observed(&events, 0), ["one\n"]);
    let written = fs::read_to_string(&file).expect("reads");
    assert!(written.contains(permit.trim_end()), "{written}");

    let session = again(
        &home,
        &[call_out("two", "two.txt"), write("README.md", "x\n")],
    )
    .await;
    let (_, events) = asked(&session).await;
    assert_eq!(observed(&events, 0), ["two\n"], "was not asked about");
    let ahead = events.iter().any(
        |event| matches!(&event.kind, EventKind::NotExecuted { step, .. } if *step == StepIndex(0)),
    );
    assert!(ahead, "nothing runs ahead because of it");
    // This one is a question because something forbids it: that can not be allowed always.
    let question = session.info().await.expect("info").approval.expect("open");
    assert_eq!((question.step, question.always), (StepIndex(1), None));
    let refused = home.fail(
        75,
        &["approve", &session.id().to_string(), "--always", "--yes"],
    );
    assert!(refused.contains("forbids"), "{refused}");
    session.stop().await.expect("stops");
    presented(&session).await;

    // It is the user's: what is wrong in it is told, and changes nothing;
    fs::write(&file, format!("{written} permit")).expect("writes");
    let wrong = home.fail(65, &["policy", "reload"]);
    assert!(wrong.contains("asking.always.cedar"), "{wrong}");
    // without the permit, the question is back.
    fs::remove_file(&file).expect("removes");
    home.succeed(&["policy", "reload"]);
    let session = again(&home, &[call_out("three", "three.txt")]).await;
    asked(&session).await;
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
            session
                .approve(approval, AllowFor::Once)
                .await
                .expect("allowed");
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
async fn under_audit_what_a_set_refuses_is_told_and_happens_at_its_verdict() {
    let home = Home::with_config("policy = \"locked-down\"\nenforcement = \"audit\"\n");
    let workspace = home.workspace("work");
    fs::write(workspace.join(".netrc"), "password secret").expect("writes");
    let read = |path: &str| {
        let arguments = serde_json::json!({ "path": path });
        Action::parse("read_file", &arguments.to_string()).expect("valid")
    };
    let plan = [
        write("new.txt", "x"),
        read(".netrc"),
        write(".mcp.json", "{}"),
    ];
    let client = home.client().await;
    let session = client.session(&workspace).task("t").open().await;
    let session = session.expect("a session");
    for role in [Role::Approximation, Role::Target] {
        let attached = session.attach(role, Plan(plan.to_vec(), role)).await;
        attached.expect("attached");
    }
    presented(&session).await;
    let events = events_until(&session, View::Trace, |kind| {
        matches!(kind, EventKind::Finished { .. })
    })
    .await;
    assert!(
        matches!(&events[0].kind, EventKind::Opened { audit: true, .. }),
        "{events:#?}"
    );
    assert!(workspace.join("new.txt").exists());
    // What is protected, and credentials, are so all the same.
    assert!(!workspace.join(".mcp.json").exists());
    assert!(observed(&events, 1)[0].contains("does not allow to read"));

    // The call and its commit would have been questions; nothing of it ran ahead.
    let noted: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::PolicyDecided {
                step,
                speculative,
                decision,
                enforced: Some(enforced),
                inputs,
                ..
            } if *step == StepIndex(0) => {
                let inputs: serde_json::Value = serde_json::from_str(inputs).expect("JSON");
                let of = inputs.get("tool").or(inputs.get("changed")).cloned();
                Some((*speculative, decision.as_str(), enforced.as_str(), of))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        noted,
        [
            (false, "run", "ask", Some("write_file".into())),
            (false, "run", "ask", Some(1.into())),
        ]
    );
    assert!(ends(&events).is_empty());
    let explained = home.succeed(&["policy", "explain", "call", "delete", "{\"path\":\"a\"}"]);
    assert!(
        explained.contains("audit only, or it would be ask"),
        "{explained}"
    );
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
