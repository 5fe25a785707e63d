//! An agent that keeps its own loop acts through a session: every call is the next step and
//! its verdict, and what is told is done.

use crate::support::{Home, events_until, manifest, presented};
use forerun_sdk::{
    Act, ActOutcome, Acted, Action, Agent, AgentError, AllowFor, Anew, Candidate, EventKind, Hit,
    ObservationStatus, Request, Role, Seen, Session, SessionState, StepIndex, View,
};
use std::fs;
use std::time::Duration;

/// Long enough for an execution to end, and for a question to be there.
const A_MOMENT: Duration = Duration::from_millis(400);

fn action(tool: &str, arguments: serde_json::Value) -> Action {
    Action::parse(tool, &arguments.to_string()).expect("valid")
}

fn write(path: &str, content: &str) -> Action {
    action(
        "write_file",
        serde_json::json!({ "path": path, "content": content }),
    )
}

fn read(path: &str) -> Action {
    action("read_file", serde_json::json!({ "path": path }))
}

async fn open(home: &Home) -> Session {
    let client = home.client().await;
    let session = client.session(home.workspace("work")).depth(1).open().await;
    session.expect("a session")
}

fn done(act: Act) -> Acted {
    match act.outcome {
        ActOutcome::Done(acted) => acted,
        pending @ ActOutcome::Pending { .. } => panic!("{pending:?}"),
    }
}

/// Proposes these, step by step, and then nothing useful.
struct Guess(Vec<Action>);

#[forerun_sdk::async_trait]
impl Agent for Guess {
    async fn propose(&self, request: &Request) -> Result<Vec<Candidate>, AgentError> {
        let guess = self.0.get(request.steps_before()).cloned();
        Ok(vec![Candidate::new(guess.unwrap_or_else(|| read("link")))])
    }
}

#[tokio::test]
async fn each_act_is_the_next_step_and_is_in_the_workspace_when_it_is_told() {
    let home = Home::new();
    let session = open(&home).await;
    let first = session
        .act_as("one", write("new.txt", "1"), Duration::ZERO)
        .await;
    let first = done(first.expect("done"));
    assert_eq!((first.step, first.hit), (StepIndex(0), Hit::None));
    assert_eq!(first.observation.status, ObservationStatus::Success);
    assert!(first.commit.is_some());
    assert_eq!(first.changed.len(), 1);
    assert_eq!(
        fs::read_to_string(home.path("work/new.txt")).expect("reads"),
        "1"
    );

    let second = done(session.act(read("new.txt")).await.expect("done"));
    assert_eq!((second.step, second.commit), (StepIndex(1), None));
    assert!(second.observation.text.contains('1'));
    // What can not be done is an observation, as for every agent.
    let unknown = session
        .act(action("no_such_tool", serde_json::json!({})))
        .await;
    let unknown = done(unknown.expect("done"));
    assert_eq!(unknown.observation.status, ObservationStatus::Invalid);
    let denied = done(
        session
            .act(write(".git/hooks/pre-commit", "x"))
            .await
            .expect("done"),
    );
    assert_eq!(denied.observation.status, ObservationStatus::Denied);

    // The same again is not done again.
    let again = session
        .act_as("one", write("new.txt", "1"), Duration::ZERO)
        .await;
    assert_eq!(done(again.expect("told")), first);
    assert_eq!(
        done(
            session
                .act_result("one", Duration::ZERO)
                .await
                .expect("told")
        ),
        first
    );
    assert_eq!(session.info().await.expect("info").counts.verified, 4);
    let other = session
        .act_as("one", write("new.txt", "2"), Duration::ZERO)
        .await;
    assert_eq!(other.expect_err("refused").code(), "IDEMPOTENCY_KEY_REUSED");
    let none = session.act_result("two", Duration::ZERO).await;
    assert_eq!(none.expect_err("refused").code(), "ACT_NOT_FOUND");
    let key = "k".repeat(129);
    let long = session.act_as(&key, read("link"), Duration::ZERO).await;
    assert_eq!(long.expect_err("refused").code(), "REQUEST_INVALID");

    let end = action("terminate", serde_json::json!({ "answer": "that was it" }));
    done(session.act(end).await.expect("done"));
    presented(&session).await;
    let info = session.info().await.expect("info");
    assert_eq!(info.answer.as_deref(), Some("that was it"));
    let late = session.act(read("link")).await;
    assert_eq!(late.expect_err("refused").code(), "SESSION_OVER");
    session.undo(None, false).await.expect("undone");
    assert!(!home.path("work/new.txt").exists());
}

#[tokio::test]
async fn what_was_foreseen_is_done_already_and_what_was_not_leaves_no_trace() {
    let home = Home::new();
    let session = open(&home).await;
    let guesses = vec![write("a.txt", "a"), write("wrong.txt", "w")];
    let attached = session.attach(Role::Approximation, Guess(guesses)).await;
    attached.expect("attached");
    // The first act says that somebody acts here; until then nobody is asked.
    let foreseen = |kind: &EventKind| matches!(kind, EventKind::ExecutionFinished { step, .. } if *step == StepIndex(0));
    let first = session.act(write("a.txt", "a")).await.expect("done");
    let first = done(first);
    events_until(&session, View::Trace, foreseen).await;
    let at = |of: u32| move |kind: &EventKind| matches!(kind, EventKind::ExecutionFinished { step, .. } if *step == StepIndex(of));
    events_until(&session, View::Trace, at(1)).await;
    assert!(!home.path("work/wrong.txt").exists());
    let second = done(session.act(write("b.txt", "b")).await.expect("done"));
    assert_eq!(second.hit, Hit::None);
    events_until(&session, View::Trace, at(2)).await;
    let third = done(session.act(read("link")).await.expect("done"));
    assert_eq!(third.hit, Hit::Full, "{third:?}");
    assert!(third.hidden > Duration::ZERO);
    // It was observed before anybody asked for it.
    assert!(third.observation.text.contains("fn main"), "{third:?}");
    assert!(first.step < second.step && second.step < third.step);
    let found = manifest(&home.path("work"));
    assert!(found.contains_key("a.txt") && found.contains_key("b.txt"));
    assert!(!found.contains_key("wrong.txt"));
    let counts = session.info().await.expect("info").counts;
    assert!(counts.matched >= 1 && counts.corrected >= 1, "{counts:?}");
}

#[tokio::test]
async fn acts_that_come_at_once_are_done_in_the_order_in_which_they_came() {
    let home = Home::new();
    let session = open(&home).await;
    let mut acts = Vec::new();
    for number in 0..12 {
        let session = session.clone();
        let text = number.to_string();
        acts.push(tokio::spawn(async move {
            let act = session.act(write("last.txt", &text)).await.expect("done");
            (done(act).step, text)
        }));
    }
    let mut last = (StepIndex(0), String::new());
    let mut steps = Vec::new();
    for act in acts {
        let (step, text) = act.await.expect("ends");
        steps.push(step.0);
        if step >= last.0 {
            last = (step, text);
        }
    }
    steps.sort_unstable();
    assert_eq!(steps, (0..12).collect::<Vec<_>>());
    assert_eq!(
        fs::read_to_string(home.path("work/last.txt")).expect("reads"),
        last.1
    );
}

#[tokio::test]
async fn what_the_owner_has_to_allow_is_pending_and_what_nobody_waits_for_is_not_done() {
    let home = Home::new();
    let session = open(&home).await;
    // Another name for it: a commit that replaces it is a question.
    fs::hard_link(home.path("work/README.md"), home.path("store")).expect("links");
    let shared = write("README.md", "new\n");
    let pending = session
        .act_as("shared", shared.clone(), A_MOMENT)
        .await
        .expect("told");
    let ActOutcome::Pending { reason, approval } = pending.outcome else {
        panic!("{pending:?}");
    };
    assert!(reason.contains("README.md"), "{reason}");
    let approval = approval.expect("a question");

    // Behind it one is told to wait, and another waits and goes away.
    let queued = session
        .act_as("queued", write("queued.txt", "q"), A_MOMENT)
        .await;
    let queued = queued.expect("told").outcome;
    assert!(matches!(queued, ActOutcome::Pending { .. }), "{queued:?}");
    let impatient = tokio::time::timeout(A_MOMENT, session.act(write("never.txt", "n"))).await;
    assert!(impatient.is_err());
    session
        .approve(approval, AllowFor::Once)
        .await
        .expect("allowed");
    let acted = done(
        session
            .act_result("shared", Duration::ZERO)
            .await
            .expect("done"),
    );
    assert!(acted.commit.is_some());
    assert_eq!(
        fs::read_to_string(home.path("work/README.md")).expect("reads"),
        "new\n"
    );
    let queued = session.act_result("queued", Duration::ZERO).await;
    assert_eq!(done(queued.expect("done")).step, StepIndex(1));
    let next = done(session.act(read("README.md")).await.expect("done"));
    assert_eq!(next.step, StepIndex(2));
    assert!(home.path("work/queued.txt").exists());
    assert!(!home.path("work/never.txt").exists());

    // `ask_user` asks the owner, and their answer is what it returns.
    let question = action("ask_user", serde_json::json!({ "question": "which one?" }));
    let pending = session
        .act_as("ask", question, A_MOMENT)
        .await
        .expect("told");
    assert!(matches!(
        pending.outcome,
        ActOutcome::Pending { approval: None, .. }
    ));
    session.answer(3, "the second").await.expect("answered");
    let answered = done(
        session
            .act_result("ask", Duration::ZERO)
            .await
            .expect("done"),
    );
    assert_eq!(answered.observation.text, "the second");
}

#[tokio::test]
async fn an_act_whose_commit_can_not_be_says_so_and_the_session_goes_on() {
    let home = Home::new();
    let session = open(&home).await;
    fs::hard_link(home.path("work/README.md"), home.path("store")).expect("links");
    let reads = || fs::read_to_string(home.path("work/README.md")).expect("reads");
    let before = reads();
    let asked = |key: &'static str| {
        let session = session.clone();
        async move {
            let act = session.act_as(key, write("README.md", "new\n"), A_MOMENT);
            match act.await.expect("told").outcome {
                ActOutcome::Pending { approval, .. } => approval.expect("a question"),
                done @ ActOutcome::Done(_) => panic!("{done:?}"),
            }
        }
    };
    let not_done = |key: &'static str| {
        let session = session.clone();
        async move {
            let answer = session.act_result(key, Duration::ZERO).await;
            let error = answer.expect_err("not done");
            assert_eq!(error.code(), "ACT_NOT_DONE", "{error}");
            error.to_string()
        }
    };

    // The owner does not allow it.
    let approval = asked("refused").await;
    session.refuse(approval, "keep it").await.expect("refused");
    let error = not_done("refused").await;
    assert!(error.contains("keep it"), "{error}");
    assert_eq!(reads(), before);

    // Somebody else was there first.
    let approval = asked("late").await;
    fs::write(home.path("work/README.md"), "theirs\n").expect("written");
    session
        .approve(approval, AllowFor::Once)
        .await
        .expect("allowed");
    let error = not_done("late").await;
    assert!(error.contains("README.md"), "{error}");
    assert_eq!(reads(), "theirs\n");

    // And while the owner has paused it, once they resume it.
    let approval = asked("paused").await;
    session.pause().await.expect("paused");
    session.refuse(approval, "not now").await.expect("refused");
    session.resume().await.expect("resumed");
    let error = not_done("paused").await;
    assert!(error.contains("not now"), "{error}");

    // None of these is a step, the next one is, and nobody is told of what nobody undid.
    let next = session.act(write("next.txt", "n")).await.expect("done");
    assert_eq!(next.notices, Vec::<String>::new());
    assert_eq!(done(next).step, StepIndex(0));
    assert_eq!(session.info().await.expect("info").counts.verified, 1);
}

#[tokio::test]
async fn a_caller_is_told_what_the_owner_said_did_and_undid() {
    let home = Home::new();
    let session = open(&home).await;
    done(session.act(write("a.txt", "a")).await.expect("done"));
    session.suggest("use spaces").await.expect("said");
    session
        .replace(1, write("owner.txt", "o"))
        .await
        .expect("decided");
    let act = session.act(write("b.txt", "b")).await.expect("done");
    let told = act.notices.join("\n");
    assert!(
        told.contains("use spaces") && told.contains("owner.txt"),
        "{told}"
    );
    assert_eq!(done(act).step, StepIndex(2));

    let anew = Anew::Suggestion("not like this".to_owned());
    session
        .backtrack(1, Seen::Any, anew)
        .await
        .expect("goes back");
    let act = session.act(read("a.txt")).await.expect("done");
    let told = act.notices.join("\n");
    assert!(
        told.contains("undid step 1") && told.contains("not like this"),
        "{told}"
    );
    assert_eq!(done(act).step, StepIndex(1));
    let found = manifest(&home.path("work"));
    assert!(found.contains_key("a.txt"));
    assert!(!found.contains_key("b.txt") && !found.contains_key("owner.txt"));
    // Told once.
    assert!(
        session
            .act(read("a.txt"))
            .await
            .expect("done")
            .notices
            .is_empty()
    );
}

#[tokio::test]
async fn an_act_that_waits_is_superseded_by_an_owner_who_goes_back() {
    let home = Home::new();
    let session = open(&home).await;
    fs::hard_link(home.path("work/README.md"), home.path("store")).expect("links");
    done(session.act(write("a.txt", "a")).await.expect("done"));
    let shared = write("README.md", "new\n");
    let pending = session
        .act_as("shared", shared, A_MOMENT)
        .await
        .expect("told");
    assert!(matches!(pending.outcome, ActOutcome::Pending { .. }));
    let anew = Anew::Suggestion("another way".to_owned());
    session
        .backtrack(0, Seen::Any, anew)
        .await
        .expect("goes back");
    let error = session.act_result("shared", Duration::ZERO).await;
    assert_eq!(error.expect_err("not done").code(), "ACT_SUPERSEDED");
    let act = session.act(write("c.txt", "c")).await.expect("done");
    assert!(
        act.notices.join("\n").contains("another way"),
        "{:?}",
        act.notices
    );
    assert_eq!(done(act).step, StepIndex(0));
    assert!(!home.path("work/a.txt").exists() && home.path("work/c.txt").exists());
}

#[tokio::test]
async fn only_the_targets_token_acts_and_there_is_one_target() {
    let home = Home::new();
    let session = open(&home).await;
    let (client, id) = (home.client().await, session.id().clone());
    let tokens = session.tokens().clone();
    let fast = client.existing(id.clone(), tokens.approximation);
    let refused = fast.act(read("link")).await;
    assert_eq!(refused.expect_err("refused").code(), "TOKEN_NOT_ALLOWED");
    let slow = client.existing(id, tokens.target);
    done(slow.act(read("link")).await.expect("done"));
    let taken = session.attach(Role::Target, Guess(Vec::new())).await;
    assert_eq!(taken.expect_err("refused").code(), "ROLE_TAKEN");
    let info = session.info().await.expect("info");
    assert!(
        info.agents
            .iter()
            .any(|agent| agent.agent == "caller" && agent.connected)
    );

    let planned = open(&home).await;
    planned
        .attach(Role::Target, Guess(vec![read("link")]))
        .await
        .expect("attached");
    let refused = planned.act(read("link")).await;
    assert_eq!(refused.expect_err("refused").code(), "ROLE_TAKEN");
    assert_ne!(
        planned.info().await.expect("info").state,
        SessionState::Paused
    );
}
