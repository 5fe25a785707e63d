//! Opening, interrupting and finishing sessions; what the daemon refuses.

use crate::fake::{Fake, refusal, session_id};
use forerun_proto::v1::session_service_interrupt_request::Interrupt;
use forerun_proto::v1::session_service_interrupt_request::backtrack;
use forerun_proto::{reason, v1};
use forerun_sdk::{
    Action, AllowFor, Anew, ApprovalId, CommitId, CommitMode, DepthControl, Error, Finish,
    LeftAlone, NodeId, Seen, SessionState, StepIndex, Undone, VerifiedLog, Window,
};
use std::time::Duration;
use tonic::{Code, Status};

#[tokio::test]
async fn a_session_is_opened_as_it_was_described() {
    let fake = Fake::started();
    let session = fake
        .connect()
        .await
        .session(fake.dir())
        .task("rename it")
        .instructions("be careful")
        .policy("workspace-write")
        .depth(0)
        .depth_control(DepthControl::Dynamic { tau: 700 })
        .matcher("fuzzy(0.3)".parse().expect("a matcher"))
        .width(3)
        .window(Window::Barrier)
        .review(Duration::from_millis(250))
        .max_steps(9)
        .commit(CommitMode::Session)
        .seed(3)
        .clock_ns(4)
        .predict(true)
        .open()
        .await
        .expect("open");
    assert_eq!(session.id(), &session_id());
    assert_eq!(session.tokens().owner, "own_1");
    assert!(!format!("{session:?}").contains("own_1"));
    let state = fake.state();
    let [request] = state.created.as_slice() else {
        panic!("one request, not {}", state.created.len());
    };
    assert!(!request.idempotency_key.is_empty());
    let expected = v1::SessionServiceCreateRequest {
        workspace: fake.dir().display().to_string(),
        task: "rename it".to_owned(),
        instructions: "be careful".to_owned(),
        policy: "workspace-write".to_owned(),
        depth: Some(0),
        window: v1::Window::Barrier.into(),
        review_ms: 250,
        max_steps: Some(9),
        commit: v1::CommitMode::Session.into(),
        seed: Some(3),
        clock_ns: Some(4),
        idempotency_key: request.idempotency_key.clone(),
        limits: None,
        width: Some(3),
        registrations: Vec::new(),
        predict: true,
        depth_control: v1::DepthControl::Dynamic.into(),
        tau: 700,
        matcher: "fuzzy(0.3)".to_owned(),
    };
    assert_eq!(request, &expected);
}

#[tokio::test]
async fn each_interrupt_says_what_it_is_and_has_a_key_of_its_own() {
    let fake = Fake::started();
    let session = fake.session().await;
    let action = Action::parse("read_file", r#"{"path":"a"}"#).expect("valid");
    let seen = Seen::Node(NodeId(5));
    session
        .claim(3, seen, Duration::from_secs(60))
        .await
        .expect("claim");
    session.unclaim(3).await.expect("unclaim");
    session
        .replace(StepIndex(3), action.clone())
        .await
        .expect("replace");
    session
        .replace_seen(3, seen, action)
        .await
        .expect("replace");
    session.accept(3, Some(NodeId(6))).await.expect("accept");
    session.answer(3, "yes").await.expect("answer");
    session
        .approve(ApprovalId(7), AllowFor::Session)
        .await
        .expect("approve");
    session.refuse(ApprovalId(8), "no").await.expect("refuse");
    session.retry().await.expect("retry");
    session.pause().await.expect("pause");
    session.resume().await.expect("resume");
    session.suggest("be brief").await.expect("suggest");
    let anew = Anew::Suggestion("use tabs".to_owned());
    session.backtrack(2, seen, anew).await.expect("backtrack");
    assert_eq!(session.stop().await.expect("stop"), 42);
    let state = fake.state();
    let names: Vec<&str> = state
        .interrupts
        .iter()
        .map(|request| match request.interrupt.as_ref().expect("one") {
            Interrupt::Claim(claim) => {
                assert_eq!((claim.step, claim.ttl_ms), (3, 60_000));
                let seen = claim.seen.as_ref().and_then(|seen| seen.seen.as_ref());
                assert_eq!(seen, Some(&v1::seen::Seen::Node("node_5".to_owned())));
                "claim"
            }
            Interrupt::Unclaim(_) => "unclaim",
            Interrupt::Replace(replace) if replace.seen.is_some() => "replace seen",
            Interrupt::Replace(replace) => {
                let action = replace.action.as_ref().expect("one");
                assert_eq!(action.arguments, r#"{"path":"a"}"#);
                "replace"
            }
            Interrupt::Accept(accept) => {
                assert_eq!(accept.node.as_deref(), Some("node_6"));
                "accept"
            }
            Interrupt::Answer(answer) => {
                assert_eq!(answer.text, "yes");
                "answer"
            }
            Interrupt::Approve(approve) => {
                assert_eq!(
                    (approve.approval.as_str(), approve.allow_for()),
                    ("apr_7", v1::AllowFor::Session)
                );
                "approve"
            }
            Interrupt::Refuse(refuse) => {
                assert_eq!(
                    (refuse.approval.as_str(), refuse.reason.as_str()),
                    ("apr_8", "no")
                );
                "refuse"
            }
            Interrupt::Retry(_) => "retry",
            Interrupt::Pause(_) => "pause",
            Interrupt::Resume(_) => "resume",
            Interrupt::Suggest(suggest) => {
                assert_eq!(suggest.text, "be brief");
                "suggest"
            }
            Interrupt::Backtrack(backtrack) => {
                let suggestion = "use tabs".to_owned();
                let anew = backtrack::Anew::Suggestion(suggestion);
                assert_eq!((backtrack.step, backtrack.anew.as_ref()), (2, Some(&anew)));
                assert!(backtrack.seen.is_some());
                "backtrack"
            }
            Interrupt::Stop(stop) => {
                assert!(!stop.undo);
                "stop"
            }
        })
        .collect();
    let expected = [
        "claim",
        "unclaim",
        "replace",
        "replace seen",
        "accept",
        "answer",
        "approve",
        "refuse",
        "retry",
        "pause",
        "resume",
        "suggest",
        "backtrack",
        "stop",
    ];
    assert_eq!(names, expected);
    let keys: std::collections::BTreeSet<_> = state
        .interrupts
        .iter()
        .map(|request| &request.idempotency_key)
        .collect();
    assert_eq!(keys.len(), expected.len());
    assert!(state.bearers.iter().all(|bearer| bearer == "own_1"));
}

#[tokio::test]
async fn after_a_broken_connection_an_interrupt_is_sent_again_with_the_same_key() {
    let fake = Fake::started();
    let session = fake.session().await;
    fake.state()
        .refusals
        .push_back(Status::unavailable("broken pipe"));
    session.pause().await.expect("the second try");
    let state = fake.state();
    assert_eq!(state.interrupts.len(), 2);
    assert_eq!(state.interrupts[0], state.interrupts[1]);
}

#[tokio::test]
async fn a_refusal_is_typed_and_is_not_sent_again() {
    let fake = Fake::started();
    let session = fake.session().await;
    fake.state().refusals.push_back(refusal(
        Code::Aborted,
        reason::SEEN_CHANGED,
        "step 3 is not what you saw any more",
        "look at it again",
    ));
    let error = session.retry().await.expect_err("refused");
    assert_eq!(error.code(), reason::SEEN_CHANGED);
    assert_eq!(error.hint().as_deref(), Some("look at it again"));
    assert_eq!(error.to_string(), "step 3 is not what you saw any more");
    assert!(matches!(error, Error::Refused(_)));
    assert_eq!(fake.state().interrupts.len(), 1);
}

#[tokio::test]
async fn a_log_that_is_broken_says_where_and_why() {
    let fake = Fake::started();
    let log = fake.session().await.verify_log().await.expect("a look");
    let expected = VerifiedLog {
        intact: 6,
        broken: Some((7, "the event was changed".to_owned())),
    };
    assert_eq!(log, expected);
}

#[tokio::test]
async fn undo_and_redo_say_what_they_did_and_what_they_left() {
    let fake = Fake::started();
    let session = fake.session().await;
    let undone = session.undo(Some(StepIndex(2)), false).await.expect("undo");
    let expected = Undone {
        step: StepIndex(2),
        undoes: CommitId(3),
        redo: false,
        commit: None,
        changed: Vec::new(),
        left: vec![LeftAlone {
            path: "a".to_owned(),
            reason: "changed since".to_owned(),
        }],
    };
    assert_eq!(undone, std::slice::from_ref(&expected));
    let redone = session.redo(None, true).await.expect("redo");
    let expected = Undone {
        step: StepIndex(9),
        redo: true,
        commit: Some(CommitId(4)),
        ..expected
    };
    assert_eq!(redone, [expected]);
}

#[tokio::test]
async fn finish_diff_info_and_close_come_back_as_plain_values() {
    let fake = Fake::started();
    let session = fake.session().await;
    let paths = ["src".to_owned()];
    let finished = session.finish(Finish::Keep, &paths).await.expect("finish");
    assert_eq!(finished.outcome, Finish::Keep);
    assert_eq!(finished.commit, Some(CommitId(3)));
    assert_eq!(fake.state().finishes[0].paths, paths);
    let diff = session
        .diff()
        .await
        .expect("a diff longer than tonic's default limit");
    assert_eq!(diff[0].change.path, "a");
    assert_eq!(
        session.info().await.expect("info").state,
        SessionState::Open
    );
    assert_eq!(
        session.close().await.expect("close").state,
        SessionState::Finished
    );
}

#[tokio::test]
async fn the_owner_key_opens_every_session_of_the_user() {
    let fake = Fake::started();
    let daemon = fake.connect().await;
    let sessions = daemon.sessions(None).await.expect("list");
    let session = daemon
        .owned(sessions[0].id.clone())
        .expect("the key is there");
    session.pause().await.expect("pause");
    daemon.shutdown().await.expect("shutdown");
    assert_eq!(fake.state().bearers, ["key_owner"; 3]);
    daemon
        .existing(session_id(), "apx_1")
        .info()
        .await
        .expect("any token");
    assert_eq!(fake.state().bearers[3], "apx_1");
    std::fs::remove_file(daemon.state_dir().join("owner.key")).expect("remove");
    let error = daemon.sessions(None).await.expect_err("no key");
    assert!(error.to_string().contains("owner.key"), "{error}");
}
