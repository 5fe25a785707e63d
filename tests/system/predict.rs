//! What is executed ahead without an agent that was asked: a caller's own guesses, and what
//! history says. The outcome is that of the acts alone.

use crate::support::{Home, PATIENCE, events_until};
use forerun_sdk::{
    Act, ActOutcome, Acted, Action, Event, EventKind, Forerun, Hit, Offer, OfferedTool, Predictor,
    Session, View,
};
use serde_json::json;
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

fn action(tool: &str, arguments: serde_json::Value) -> Action {
    Action::parse(tool, &arguments.to_string()).expect("valid")
}

fn look_up(key: &str) -> Action {
    action("look_up", json!({ "key": key }))
}

fn done(act: Act) -> Acted {
    match act.outcome {
        ActOutcome::Done(acted) => acted,
        pending @ ActOutcome::Pending { .. } => panic!("{pending:?}"),
    }
}

async fn act(session: &Session, action: Action) -> Acted {
    done(session.act(action).await.expect("done"))
}

/// A tool that looks something up elsewhere, which takes a while.
async fn offer(client: &Forerun, takes: Duration) -> Offer {
    let schema = json!({
        "type": "object", "required": ["key"],
        "properties": { "key": { "type": "string" } },
    });
    let tool = OfferedTool::new(
        "look_up",
        "Looks something up.",
        schema,
        move |call| async move {
            tokio::time::sleep(takes).await;
            Ok(format!("found {}", call.action.arguments.as_str()))
        },
    );
    client.offer(vec![tool.pure()]).await.expect("taken")
}

/// Waits until there were so many such events.
async fn until(session: &Session, count: usize, is_one: impl Fn(&EventKind) -> bool) {
    let seen = Cell::new(0);
    events_until(session, View::Trace, |kind| {
        seen.set(seen.get() + usize::from(is_one(kind)));
        seen.get() == count
    })
    .await;
}

/// Waits until so many executions have finished.
async fn finished(session: &Session, count: usize) {
    let is_one = |kind: &EventKind| matches!(kind, EventKind::ExecutionFinished { .. });
    until(session, count, is_one).await;
}

async fn trace(session: &Session) -> Vec<Event> {
    let mut events = session.watch_from(View::Trace, 0, false);
    let mut all = Vec::new();
    while let Some(event) = events.next().await {
        all.push(event.expect("an event"));
    }
    all
}

fn predicted(events: &[Event], who: Predictor) -> usize {
    let by = |event: &&Event| matches!(event.kind, EventKind::Predicted { by, .. } if by == who);
    events.iter().filter(by).count()
}

#[tokio::test]
async fn what_a_caller_predicts_runs_side_by_side_and_its_act_finds_it_done() {
    let home = Home::new();
    let client = home.client().await;
    let offer = offer(&client, Duration::from_millis(100)).await;
    let workspace = home.workspace("work");
    let builder = client.session(&workspace).depth(1).width(3);
    let session = builder.tools(&offer).open().await.expect("a session");

    // Before anything was done.
    let write = action("write_file", json!({ "path": "new.txt", "content": "x" }));
    let guesses = [look_up("one"), look_up("two"), write.clone()];
    let ttl = Duration::ZERO;
    session.predict(&guesses, None, ttl).await.expect("taken");
    finished(&session, 3).await;
    assert!(!workspace.join("new.txt").exists(), "nothing is committed");
    let two = act(&session, look_up("two")).await;
    assert_eq!(two.observation.text, "found {\"key\":\"two\"}");
    assert_eq!(two.hit, Hit::Full);
    assert!(two.hidden >= Duration::from_millis(100), "{two:?}");

    // While an act is under way, and after that one.
    let key = "third";
    let under_way = session.act_as(key, look_up("three"), Duration::ZERO);
    let foreseen = async {
        let decided = |kind: &EventKind| matches!(kind, EventKind::Decided { .. });
        until(&session, 2, decided).await;
        let guess = [write.clone()];
        session
            .predict(&guess, Some(key), ttl)
            .await
            .expect("taken");
    };
    let (three, ()) = tokio::join!(under_way, foreseen);
    assert_eq!(done(three.expect("done")).hit, Hit::None);
    // Three guesses, the third act, and what was predicted after it.
    finished(&session, 5).await;
    let written = act(&session, write).await;
    assert_eq!((written.hit, written.changed.len()), (Hit::Full, 1));
    assert!(workspace.join("new.txt").exists());
    let events = trace(&session).await;
    assert_eq!(predicted(&events, Predictor::Caller), 2);
    let counts = session.info().await.expect("info").counts;
    assert_eq!(
        (counts.proposed, counts.matched, counts.verified),
        (2, 2, 3)
    );
}

#[tokio::test]
async fn predictions_that_can_not_be_are_refused_and_say_why() {
    let home = Home::new();
    let client = home.client().await;
    let builder = client.session(home.workspace("work")).depth(1).width(3);
    let session = builder.open().await.expect("a session");
    let list = action("list_dir", json!({}));
    let refused = |candidates: Vec<Action>, after: Option<&'static str>| {
        let session = session.clone();
        async move {
            let refused = session.predict(&candidates, after, Duration::ZERO).await;
            refused.expect_err("refused")
        }
    };
    let none = refused(Vec::new(), None).await;
    assert_eq!(none.code(), "REQUEST_INVALID");
    let many = refused(vec![list.clone(); 9], None).await;
    assert!(many.to_string().contains("1 to 8"), "{many}");
    let invalid = action("read_file", json!({ "path": 7 }));
    let invalid = refused(vec![list.clone(), invalid], None).await;
    assert_eq!(invalid.code(), "REQUEST_INVALID");
    assert!(invalid.to_string().contains("candidates[1]"), "{invalid}");
    let after = refused(vec![list.clone()], Some("nothing")).await;
    assert_eq!(after.code(), "ACT_NOT_FOUND");
    // Whatever is said again and again, no more than can run is kept, or written down.
    for number in 0..20 {
        let path = format!("{number}.txt");
        let write = action("write_file", json!({ "path": path, "content": "x" }));
        let guess = [write, list.clone()];
        let again = session.predict(&guess, None, Duration::ZERO).await;
        again.expect("taken");
    }
    let actions = trace(&session)
        .await
        .into_iter()
        .map(|event| match event.kind {
            EventKind::Predicted { actions, .. } => actions.len(),
            _ => 0,
        });
    assert_eq!(actions.sum::<usize>(), 3);
    // It takes the target's token.
    let tokens = session.tokens().approximation.clone();
    let other = client.existing(session.id().clone(), tokens);
    let denied = other.predict(&[list], None, Duration::ZERO).await;
    assert_eq!(denied.expect_err("denied").code(), "TOKEN_NOT_ALLOWED");
}

#[tokio::test]
async fn a_prediction_waits_for_its_turn_and_not_for_ever() {
    let home = Home::new();
    let client = home.client().await;
    let builder = client.session(home.workspace("work")).depth(1).width(3);
    let session = builder.open().await.expect("a session");
    let list = action("list_dir", json!({}));
    session
        .act_as("one", list.clone(), Duration::ZERO)
        .await
        .expect("done");
    session
        .act_as("two", list.clone(), Duration::ZERO)
        .await
        .expect("done");
    // Others followed already; what is known to come too late is not executed.
    let guess = [action("glob", json!({ "pattern": "*" }))];
    session
        .predict(&guess, Some("one"), Duration::ZERO)
        .await
        .expect("taken");
    act(&session, list).await;
    let events = trace(&session).await;
    assert_eq!(predicted(&events, Predictor::Caller), 0);
}

/// One session of calls that repeat, with a pause between them, as those of a model.
async fn repeating(
    client: &Forerun,
    offer: &Offer,
    workspace: &Path,
    predict: bool,
) -> (Vec<Acted>, Vec<Event>) {
    let builder = client.session(workspace).depth(1).width(3);
    let builder = builder.tools(offer).predict(predict);
    let session = builder.open().await.expect("a session");
    let mut acts = Vec::new();
    for _ in 0..3 {
        for key in ["weather", "traffic"] {
            acts.push(act(&session, look_up(key)).await);
            acts.push(act(&session, action("list_dir", json!({}))).await);
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
    session.close().await.expect("closed");
    (acts, trace(&session).await)
}

#[tokio::test]
async fn history_predicts_what_is_slow_where_it_was_done_before_and_leaves_the_rest_alone() {
    let home = Home::new();
    let client = home.client().await;
    let offer = offer(&client, Duration::from_millis(50)).await;
    let workspace = home.workspace("work");
    let (first, events) = repeating(&client, &offer, &workspace, true).await;
    assert!(first.iter().all(|acted| acted.hit == Hit::None));
    assert_eq!(
        predicted(&events, Predictor::History),
        0,
        "nothing is known"
    );

    let learned = async {
        loop {
            let (acts, events) = repeating(&client, &offer, &workspace, true).await;
            let hits = acts.iter().filter(|acted| acted.hit != Hit::None).count();
            if hits >= 3 {
                return (acts, events);
            }
        }
    };
    let (acts, events) = tokio::time::timeout(PATIENCE, learned)
        .await
        .expect("it learns");
    // What a step observed is what it would have been, and listing a directory is too fast.
    for (acted, before) in acts.iter().zip(&first) {
        assert_eq!(acted.observation.text, before.observation.text);
    }
    let actions = events.iter().filter_map(|event| match &event.kind {
        EventKind::Predicted { actions, .. } => Some(actions),
        _ => None,
    });
    let tools: Vec<_> = actions
        .flatten()
        .map(|action| action.tool.as_str())
        .collect();
    assert!(tools.iter().all(|tool| *tool == "look_up"), "{tools:?}");

    // Only where it is wanted, and of one workspace nothing is known in another.
    let (_, off) = repeating(&client, &offer, &workspace, false).await;
    assert_eq!(predicted(&off, Predictor::History), 0);
    let other = home.workspace("other");
    let (_, elsewhere) = repeating(&client, &offer, &other, true).await;
    assert_eq!(predicted(&elsewhere, Predictor::History), 0);
}
