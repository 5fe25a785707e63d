//! Guesses that are not word for word what the target says, and mean the same.

use crate::support::{Home, Plan, presented};
use forerun_sdk::{Role, Session};
use forerun_types::{Action, EventKind, Matcher, StepIndex};
use serde_json::json;
use std::fs;

fn edit(from: &str, to: &str) -> Action {
    let edit = json!({ "path": "README.md", "old": from, "new": to });
    Action::parse("edit_file", &edit.to_string()).expect("valid")
}

fn grep(pattern: &str) -> Action {
    Action::parse("grep", &json!({ "pattern": pattern }).to_string()).expect("valid")
}

fn write(path: &str) -> Action {
    let write = json!({ "path": path, "content": "x" });
    Action::parse("write_file", &write.to_string()).expect("valid")
}

/// Runs what the target wants, with these guesses.
async fn run(home: &Home, matcher: &str, guesses: &[Action], wanted: &[Action]) -> Session {
    let workspace = home.workspace("work");
    let matcher: Matcher = matcher.parse().expect("a matcher");
    let client = home.client().await;
    let session = client.session(&workspace).task("t").matcher(matcher);
    let session = session.open().await.expect("a session");
    for (role, plan) in [(Role::Approximation, guesses), (Role::Target, wanted)] {
        let attached = session.attach(role, Plan(plan.to_vec(), role)).await;
        attached.expect("attached");
    }
    session
}

#[tokio::test]
async fn an_edit_in_other_words_with_the_same_effect_is_no_mistake() {
    let guesses = [edit("Old text.", "New text."), write("one"), write("two")];
    let wanted = [edit("Old", "New"), write("one"), write("two")];

    let home = Home::new();
    let session = run(&home, "exact", &guesses, &wanted).await;
    presented(&session).await;
    let exact = session.info().await.expect("info").counts;
    assert_eq!((exact.corrected, exact.matched), (1, 3), "{exact:?}");
    assert!(
        exact.squashed > 1,
        "what was built on it is squashed: {exact:?}"
    );

    let home = Home::new();
    let session = run(&home, "effect", &guesses, &wanted).await;
    let events = presented(&session).await;
    let effect = session.info().await.expect("info").counts;
    assert_eq!((effect.corrected, effect.matched), (0, 4), "{effect:?}");
    // Only the wording that was compared with it ran in vain; nothing below was run again.
    assert_eq!(effect.executions_dropped, 1, "{effect:?}");
    assert!(effect.executions < exact.executions, "{effect:?} {exact:?}");
    let text = fs::read_to_string(home.path("work/README.md")).expect("reads");
    assert!(text.contains("New text."), "{text}");
    // What was executed stands in the trajectory.
    let decided = events.iter().find_map(|event| match &event.kind {
        EventKind::Decided { step, action, .. } if *step == StepIndex(0) => Some(action.clone()),
        _ => None,
    });
    assert_eq!(decided.as_ref(), Some(&guesses[0]));
}

#[tokio::test]
async fn an_edit_with_another_effect_is_a_mistake_under_every_matcher() {
    for matcher in ["exact", "effect", "fuzzy(1)"] {
        let home = Home::new();
        let guesses = [edit("Old text.", "Other text."), write("one")];
        let wanted = [edit("Old", "New"), write("one")];
        let session = run(&home, matcher, &guesses, &wanted).await;
        presented(&session).await;
        let counts = session.info().await.expect("info").counts;
        assert_eq!(counts.corrected, 1, "{matcher}: {counts:?}");
        let text = fs::read_to_string(home.path("work/README.md")).expect("reads");
        assert!(text.contains("New text."), "{matcher}: {text}");
    }
}

#[tokio::test]
async fn reading_with_nearly_the_same_words_is_near_and_writing_never_is() {
    let home = Home::new();
    let guesses = [grep("Old texts?"), write("one.txt")];
    let wanted = [grep("Old text"), write("one.tex")];
    let session = run(&home, "fuzzy(0.3)", &guesses, &wanted).await;
    presented(&session).await;
    let counts = session.info().await.expect("info").counts;
    assert_eq!((counts.matched, counts.corrected), (2, 1), "{counts:?}");
    assert!(home.path("work/one.tex").exists() && !home.path("work/one.txt").exists());
}

#[tokio::test]
async fn a_matcher_that_is_none_is_refused() {
    let home = Home::new();
    let work = home.workspace("work").display().to_string();
    for (matcher, exit) in [("nearly", 64), ("fuzzy(2)", 64)] {
        let arguments = ["run", "--workspace", &work, "--matcher", matcher, "t"];
        home.fail(exit, &arguments);
    }
    let client = home.client().await;
    let judged = client
        .session(&work)
        .matcher("judge".parse().expect("a matcher"));
    let refused = judged.open().await.expect_err("refused");
    assert!(refused.to_string().contains("judge"), "{refused}");
}
