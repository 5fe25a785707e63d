//! Tools that a program of the owner's executes itself: known like all, called when policy
//! lets them be, and never twice.

use crate::support::{Home, PATIENCE};
use forerun_sdk::schemars::{self, JsonSchema};
use forerun_sdk::{
    ActOutcome, Acted, Action, Agent, AgentError, AllowFor, Candidate, Hit, ObservationStatus,
    OfferedTool, Request, Role, Session, ToolCall,
};
use serde::Deserialize;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn action(tool: &str, arguments: serde_json::Value) -> Action {
    Action::parse(tool, &arguments.to_string()).expect("valid")
}

fn look_up(key: &str) -> Action {
    action("look_up", json!({ "key": key }))
}

/// The calls that a tool has had.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<ToolCall>>>);

impl Calls {
    fn all(&self) -> Vec<ToolCall> {
        self.0.lock().expect("no panic").clone()
    }

    /// A tool that notes its calls, and answers with its key after a moment.
    fn tool(&self, name: &str) -> OfferedTool {
        let calls = self.clone();
        let schema = json!({
            "type": "object", "required": ["key"],
            "properties": { "key": { "type": "string" } },
        });
        OfferedTool::new(name, "Looks something up.", schema, move |call| {
            let calls = calls.clone();
            async move {
                let key = call.action.arguments.to_value()["key"].to_string();
                calls.0.lock().expect("no panic").push(call);
                tokio::time::sleep(Duration::from_millis(100)).await;
                match key.as_str() {
                    "\"panic\"" => panic!("as wanted"),
                    "\"fail\"" => Err("there is none".to_owned()),
                    "\"slow\"" => {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                        Ok("late".to_owned())
                    }
                    _ => Ok(format!("{key} was looked up")),
                }
            }
        })
    }
}

async fn act(session: &Session, action: Action) -> Acted {
    match session.act(action).await.expect("done").outcome {
        ActOutcome::Done(acted) => acted,
        pending @ ActOutcome::Pending { .. } => panic!("{pending:?}"),
    }
}

/// Always proposes this.
struct Always(Action);

#[forerun_sdk::async_trait]
impl Agent for Always {
    async fn propose(&self, _: &Request) -> Result<Vec<Candidate>, AgentError> {
        Ok(vec![Candidate::new(self.0.clone())])
    }
}

#[tokio::test]
async fn a_function_of_ones_own_is_a_tool_of_the_session_that_names_it() {
    let home = Home::new();
    let client = home.client().await;
    let calls = Calls::default();
    let offer = client.offer(vec![calls.tool("look_up")]).await;
    let offer = offer.expect("taken");
    let builder = client.session(home.workspace("work")).depth(1);
    let session = builder.tools(&offer).open().await.expect("a session");

    let found = act(&session, look_up("this")).await;
    assert_eq!(found.observation.text, "\"this\" was looked up");
    assert_eq!(found.observation.status, ObservationStatus::Success);
    assert!(found.changed.is_empty() && found.commit.is_none());
    let failed = act(&session, look_up("fail")).await;
    assert_eq!(failed.observation.status, ObservationStatus::ToolError);
    assert_eq!(failed.observation.text, "there is none");
    let panicked = act(&session, look_up("panic")).await;
    assert_eq!(panicked.observation.status, ObservationStatus::ToolError);
    // What does not fit the schema never reaches it.
    let invalid = act(&session, action("look_up", json!({ "key": 1 }))).await;
    assert_eq!(invalid.observation.status, ObservationStatus::Invalid);
    let called = calls.all();
    assert_eq!(called.len(), 3);
    assert_eq!((&called[0].session, called[1].step.0), (session.id(), 1));
    // Its time counts as that of any tool.
    let timings = session.info().await.expect("info").timings;
    assert!(
        timings.execution >= Duration::from_millis(300),
        "{timings:?}"
    );

    // Other sessions have it not, nor has one that it is offered to under a name that is taken.
    let other = client.session(home.workspace("other")).open().await;
    let unknown = act(&other.expect("a session"), look_up("this")).await;
    assert_eq!(unknown.observation.status, ObservationStatus::Invalid);
    let taken = client.offer(vec![calls.tool("read_file")]).await;
    let taken = taken.expect_err("taken");
    assert_eq!(taken.code(), "REQUEST_INVALID");
    assert!(taken.to_string().contains("read_file"), "{taken}");
}

#[tokio::test]
async fn a_function_of_a_type_has_the_types_schema_and_gets_its_values() {
    #[derive(Deserialize, JsonSchema)]
    struct LookUp {
        /// What to look for.
        word: String,
        /// At most so many.
        limit: Option<u8>,
    }
    let home = Home::new();
    let client = home.client().await;
    let tool = OfferedTool::typed("find", "Finds words.", |look: LookUp, call| async move {
        Ok(format!("{} {:?} {}", look.word, look.limit, call.step.0))
    });
    let offer = client.offer(vec![tool]).await.expect("taken");
    let builder = client.session(home.workspace("work")).depth(0);
    let session = builder.tools(&offer).open().await.expect("a session");
    let found = act(&session, action("find", json!({ "word": "a", "limit": 7 }))).await;
    assert_eq!(found.observation.text, "a Some(7) 0");
    let found = act(&session, action("find", json!({ "word": "b" }))).await;
    assert_eq!(found.observation.text, "b None 1");
    for arguments in [
        json!({}),
        json!({ "word": 1 }),
        json!({ "word": "a", "limit": 300 }),
    ] {
        let refused = act(&session, action("find", arguments)).await;
        assert_eq!(
            refused.observation.status,
            ObservationStatus::Invalid,
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn it_waits_for_its_verdict_unless_it_was_offered_as_pure() {
    let home = Home::new();
    let client = home.client().await;
    for pure in [false, true] {
        let calls = Calls::default();
        let tool = calls.tool("look_up");
        let tool = if pure { tool.pure() } else { tool };
        let offer = client.offer(vec![tool]).await.expect("taken");
        let workspace = home.workspace(if pure { "pure" } else { "never" });
        let builder = client.session(workspace).depth(1).tools(&offer);
        let session = builder.open().await.expect("a session");
        session
            .attach(Role::Approximation, Always(look_up("next")))
            .await
            .expect("attached");
        // The first act takes the target's role; from then on somebody runs ahead of it.
        act(&session, action("list_dir", json!({}))).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        let ahead = calls.all();
        let next = act(&session, look_up("next")).await;
        assert_eq!(next.observation.text, "\"next\" was looked up");
        if pure {
            assert!(ahead.len() == 1 && ahead[0].speculative, "{ahead:?}");
            assert_eq!(next.hit, Hit::Full);
            assert!(next.hidden >= Duration::from_millis(100), "{next:?}");
        } else {
            assert!(ahead.is_empty(), "{ahead:?}");
            assert_eq!(next.hit, Hit::None);
        }
        // Once for each verdict, whoever thought of it first.
        let verified = calls.all().into_iter().filter(|call| call.step.0 == 1);
        assert_eq!(verified.count(), 1);
        session.close().await.expect("closed");
    }
}

#[tokio::test]
async fn what_was_answered_long_before_its_verdict_is_asked_again() {
    let home = Home::new();
    let client = home.client().await;
    let calls = Calls::default();
    let offer = client.offer(vec![calls.tool("look_up").pure()]).await;
    let offer = offer.expect("taken");
    let builder = client.session(home.workspace("work")).depth(1);
    let session = builder.tools(&offer).open().await.expect("a session");
    let guess = [look_up("this")];
    let foreseen = session.predict(&guess, None, Duration::ZERO).await;
    foreseen.expect("taken");
    // Longer than anybody may believe it.
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(calls.all().len(), 1);
    let found = act(&session, look_up("this")).await;
    assert_eq!(found.observation.text, "\"this\" was looked up");
    assert_eq!(found.hit, Hit::None);
    let speculative: Vec<bool> = calls.all().iter().map(|call| call.speculative).collect();
    assert_eq!(speculative, [true, false]);
}

#[tokio::test]
async fn a_guess_that_was_wrong_is_cancelled() {
    struct Dropped(Arc<Mutex<u32>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            *self.0.lock().expect("no panic") += 1;
        }
    }
    let home = Home::new();
    let client = home.client().await;
    let dropped = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&dropped);
    let schema = json!({ "type": "object" });
    let slow = OfferedTool::new("slow", "Waits.", schema, move |_| {
        let guard = Dropped(Arc::clone(&counted));
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
            Ok(String::new())
        }
    });
    let offer = client.offer(vec![slow.pure()]).await.expect("taken");
    let builder = client.session(home.workspace("work")).depth(1);
    let session = builder.tools(&offer).open().await.expect("a session");
    let guess = Always(action("slow", json!({})));
    session
        .attach(Role::Approximation, guess)
        .await
        .expect("attached");
    act(&session, action("list_dir", json!({}))).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(*dropped.lock().expect("no panic"), 0);
    act(&session, action("list_dir", json!({}))).await;
    let cancelled = async {
        while *dropped.lock().expect("no panic") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, cancelled)
        .await
        .expect("the call is cancelled");
}

#[tokio::test]
async fn a_program_that_goes_away_takes_its_tools_along() {
    let home = Home::new();
    let client = home.client().await;
    let calls = Calls::default();
    let offer = client.offer(vec![calls.tool("look_up")]).await;
    let offer = offer.expect("taken");
    let late = client.session(home.workspace("late")).tools(&offer);
    let builder = client.session(home.workspace("work")).depth(1);
    let session = builder.tools(&offer).open().await.expect("a session");
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        drop(offer);
    };
    let (lost, ()) = tokio::join!(act(&session, look_up("slow")), leaving);
    assert_eq!(lost.observation.status, ObservationStatus::ToolError);
    assert!(lost.observation.text.contains("not known"), "{lost:?}");
    let gone = act(&session, look_up("this")).await;
    assert!(gone.observation.text.contains("gone away"), "{gone:?}");
    assert_eq!(calls.all().len(), 1);
    // The session goes on, and no other can be opened with it.
    let listed = act(&session, action("list_dir", json!({}))).await;
    assert_eq!(listed.observation.status, ObservationStatus::Success);
    let late = late.open().await.expect_err("nobody offers it");
    assert_eq!(late.code(), "REQUEST_INVALID");
    assert!(late.to_string().contains("its stream has ended"), "{late}");
}

#[tokio::test]
async fn policy_decides_on_it_as_on_what_reaches_outside() {
    let home = Home::new();
    let client = home.client().await;
    let calls = Calls::default();
    let offer = client.offer(vec![calls.tool("look_up").pure()]).await;
    let offer = offer.expect("taken");
    let open = |policy: &str| {
        let workspace = home.workspace(policy);
        let builder = client.session(workspace).policy(policy).depth(1);
        builder.tools(&offer).open()
    };
    let locked_down = open("locked-down").await.expect("a session");
    let denied = act(&locked_down, look_up("this")).await;
    assert_eq!(denied.observation.status, ObservationStatus::Denied);
    // It only looks, and is put to the owner.
    let read_only = open("read-only").await.expect("a session");
    let asked = read_only
        .act_as("one", look_up("this"), Duration::from_millis(200))
        .await;
    let ActOutcome::Pending { approval, .. } = asked.expect("asked").outcome else {
        panic!("it is put to the owner");
    };
    assert!(calls.all().is_empty());
    let approval = approval.expect("an approval");
    read_only
        .approve(approval, AllowFor::Once)
        .await
        .expect("approved");
    let done = read_only.act_result("one", Duration::ZERO).await;
    assert!(matches!(done.expect("done").outcome, ActOutcome::Done(_)));
    assert_eq!(calls.all().len(), 1);
}
