//! Who may do what: a role's token is good for that role, and for nothing else.

use crate::support::Home;
use forerun_sdk::script::Script;
use forerun_sdk::{Error, Session};
use forerun_types::{Action, AllowFor, ApprovalId, Role, SessionId, StepIndex};

async fn session(home: &Home) -> Session {
    let workspace = home.workspace("work");
    home.client()
        .await
        .session(&workspace)
        .task("t")
        .open()
        .await
        .expect("a session")
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.expect_err("refused").code().to_owned()
}

fn script() -> Script {
    Script::parse("[[step]]\ntool = \"list_dir\"\narguments = {}\n", "test").expect("valid")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_approximation_token_can_not_attach_as_target_or_interrupt() {
    let home = Home::new();
    let owned = session(&home).await;
    let token = owned.tokens().approximation.clone();
    let approximation = home.client().await.existing(owned.id().clone(), token);
    let target = script().agent(Role::Target);
    let attached = approximation.attach(Role::Target, target).await;
    assert_eq!(attached.expect_err("refused").code(), "TOKEN_NOT_ALLOWED");
    let action = Action::parse("list_dir", "{}").expect("valid");
    assert_eq!(
        code(approximation.replace(StepIndex(0), action).await),
        "TOKEN_NOT_ALLOWED"
    );
    assert_eq!(
        code(approximation.accept(StepIndex(0), None).await),
        "TOKEN_NOT_ALLOWED"
    );
    assert_eq!(
        code(
            approximation
                .approve(ApprovalId(1), AllowFor::Session)
                .await
        ),
        "TOKEN_NOT_ALLOWED"
    );
    assert_eq!(code(approximation.pause().await), "TOKEN_NOT_ALLOWED");
    assert_eq!(code(approximation.stop().await), "TOKEN_NOT_ALLOWED");
    assert_eq!(code(approximation.close().await), "TOKEN_NOT_ALLOWED");
    let finish = approximation
        .finish(forerun_sdk::Finish::Discard, &[])
        .await;
    assert_eq!(code(finish), "TOKEN_NOT_ALLOWED");
    // It may look.
    approximation.info().await.expect("allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sessions_token_and_no_token_are_worth_nothing() {
    let home = Home::new();
    let one = session(&home).await;
    let workspace = home.workspace("other");
    let two = home
        .client()
        .await
        .session(&workspace)
        .task("t")
        .open()
        .await
        .expect("a session");
    let crossed = home
        .client()
        .await
        .existing(one.id().clone(), two.tokens().owner.clone());
    assert_eq!(code(crossed.info().await), "TOKEN_INVALID");
    let made_up = home.client().await.existing(one.id().clone(), "own_0");
    assert_eq!(code(made_up.info().await), "TOKEN_INVALID");
    // Whether a session exists is nobody's business.
    let nothing = SessionId::from_random([7; 10]);
    let nowhere = home
        .client()
        .await
        .existing(nothing, two.tokens().owner.clone());
    assert_eq!(code(nowhere.info().await), "TOKEN_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_can_not_take_a_role_that_is_held() {
    let home = Home::new();
    let owned = session(&home).await;
    let first = owned
        .attach(Role::Target, script().agent(Role::Target))
        .await
        .expect("free");
    let options = forerun_sdk::AttachOptions::default().agent_id("another");
    let second = owned
        .attach_with(Role::Target, script().agent(Role::Target), options)
        .await;
    assert_eq!(second.expect_err("taken").code(), "ROLE_TAKEN");
    drop(first);
}
