//! A person steers a plan that goes on: says something, goes back, answers a question, stops
//! and takes everything back. The agents are functions of the prefix, in this process; the
//! target waits at its last step until it hears from a person.

use crate::support::{Home, PATIENCE, events_until, manifest, presented};
use forerun_sdk::{Agent, AgentError, Candidate, CommitMode, Entry, Request, Role, Session};
use forerun_types::{ASK_USER, Action, Event, EventKind, StepIndex, TERMINATE, Undone, View};
use std::path::Path;

/// What comes after a number of steps, once a person has said something or before.
type Plan = fn(steps: usize, heard: bool) -> Option<Action>;

/// An agent that follows a plan, and waits where that has nothing.
struct Follows(Plan);

#[forerun_sdk::async_trait]
impl Agent for Follows {
    async fn propose(&self, request: &Request) -> Result<Vec<Candidate>, AgentError> {
        let suggestion = |entry: &Entry| matches!(entry, Entry::Suggestion { .. });
        let heard = request.entries().any(suggestion);
        match (self.0)(request.steps_before(), heard) {
            Some(action) => Ok(vec![Candidate::new(action)]),
            None => {
                tokio::time::sleep(PATIENCE).await;
                Err(AgentError::Permanent("nobody said anything".to_owned()))
            }
        }
    }
}

fn write(path: &str, content: &str) -> Action {
    let arguments = serde_json::json!({ "path": path, "content": content });
    Action::parse("write_file", &arguments.to_string()).expect("valid")
}

fn terminate(answer: &str) -> Action {
    let arguments = serde_json::json!({ "answer": answer });
    Action::parse(TERMINATE, &arguments.to_string()).expect("valid")
}

/// Three files, then nothing; with a suggestion, another second file and the end.
fn target(steps: usize, heard: bool) -> Option<Action> {
    match (steps, heard) {
        (0, _) => Some(write("a.txt", "a\n")),
        (1, false) => Some(write("b.txt", "b\n")),
        (2, false) => Some(write("README.md", "overwritten\n")),
        (1, true) => Some(write("c.txt", "c\n")),
        (2 | 3, true) => Some(terminate("as you said")),
        _ => None,
    }
}

/// Runs ahead with what the target says, and with a fourth file.
fn approximation(steps: usize, heard: bool) -> Option<Action> {
    target(steps, heard).or_else(|| Some(write("d.txt", "d\n")))
}

async fn open(home: &Home, commit: CommitMode, plans: [Plan; 2]) -> Session {
    let workspace = home.workspace("work");
    let client = home.client().await;
    let opened = client.session(&workspace).task("write").commit(commit);
    let session = opened.open().await.expect("a session");
    for (role, plan) in [Role::Approximation, Role::Target].into_iter().zip(plans) {
        let attached = session.attach(role, Follows(plan)).await;
        attached.expect("attached");
    }
    session
}

/// Until three steps are verified, the fourth is proposed, and the target waits.
async fn at_step_3(home: &Home, commit: CommitMode) -> Session {
    let session = open(home, commit, [approximation, target]).await;
    let proposed = |kind: &EventKind| matches!(kind, EventKind::Proposed { step, .. } if *step == StepIndex(3));
    events_until(&session, View::Presented, proposed).await;
    let verified = |kind: &EventKind| matches!(kind, EventKind::Verified { step, .. } if *step == StepIndex(2));
    events_until(&session, View::Presented, verified).await;
    if commit == CommitMode::Step {
        let committed = |kind: &EventKind| matches!(kind, EventKind::Committed { step, .. } if *step == StepIndex(2));
        events_until(&session, View::Presented, committed).await;
        assert!(home.path("work/b.txt").exists());
    }
    session
}

fn undone(events: &[Event]) -> Vec<&Undone> {
    let undone = events.iter().filter_map(|event| match &event.kind {
        EventKind::Undone(undone) => Some(undone),
        _ => None,
    });
    undone.collect()
}

fn names(work: &Path) -> Vec<bool> {
    let there = ["a.txt", "b.txt", "c.txt", "d.txt"].map(|name| work.join(name).exists());
    there.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_says_reaches_the_target_at_its_place_and_what_ran_stays() {
    let home = Home::new();
    let session = at_step_3(&home, CommitMode::Step).await;
    home.succeed(&["suggest", session.id().as_str(), "that is enough"]);
    let events = presented(&session).await;
    let said = events.iter().find_map(|event| match &event.kind {
        EventKind::Suggested { step, text } => Some((step.0, text.as_str())),
        _ => None,
    });
    assert_eq!(said, Some((3, "that is enough")));
    let info = session.info().await.expect("a session");
    assert_eq!(info.answer.as_deref(), Some("as you said"));
    assert_eq!((info.counts.verified, info.counts.committed), (4, 3));
    assert_eq!(names(&home.path("work")), [true, true, false, false]);
    home.fail(75, &["suggest", session.id().as_str(), "too late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_goes_back_to_a_committed_step_and_takes_another_way() {
    let home = Home::new();
    home.workspace("work");
    let before = manifest(&home.path("work"));
    let session = at_step_3(&home, CommitMode::Step).await;
    let id = session.id().as_str();
    home.fail(
        75,
        &["backtrack", id, "7", "--suggest", "there is no step 7"],
    );
    home.succeed(&["backtrack", id, "1", "--suggest", "leave README.md alone"]);
    let events = presented(&session).await;
    let order: Vec<_> = undone(&events).iter().map(|undone| undone.step.0).collect();
    assert_eq!(order, [2, 1], "newest first");
    let back = |event: &Event| {
        event.kind
            == EventKind::Backtracked {
                step: StepIndex(1),
                generation: 1,
            }
    };
    assert!(events.iter().any(back));
    assert_eq!(names(&home.path("work")), [true, false, true, false]);
    let info = session.info().await.expect("a session");
    assert_eq!(info.answer.as_deref(), Some("as you said"));
    assert_eq!((info.counts.verified, info.counts.committed), (3, 2));
    let after = manifest(&home.path("work"));
    assert_eq!(after["README.md"], before["README.md"]);

    // An undo takes back what is there, and a redo does not bring the other way back.
    home.succeed(&["session", "undo", id]);
    assert_eq!(manifest(&home.path("work")), before);
    home.succeed(&["session", "redo", id]);
    assert_eq!(manifest(&home.path("work")), after);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_changed_is_left_alone_and_the_plan_goes_on_with_it() {
    let home = Home::new();
    let session = at_step_3(&home, CommitMode::Step).await;
    std::fs::write(home.path("work/README.md"), "by a person\n").expect("writes");
    let arguments = r#"{"from": "README.md", "to": "moved.md"}"#;
    home.succeed(&["backtrack", session.id().as_str(), "2", "move", arguments]);
    let moved = |kind: &EventKind| {
        matches!(kind, EventKind::Committed { step, changed, .. }
            if *step == StepIndex(2) && changed.iter().any(|change| change.path == "moved.md"))
    };
    let events = events_until(&session, View::Presented, moved).await;
    let undone = undone(&events);
    assert_eq!(undone.len(), 1);
    assert_eq!(undone[0].left[0].path, "README.md");
    let moved = std::fs::read_to_string(home.path("work/moved.md")).expect("moved");
    assert_eq!(moved, "by a person\n");
    session.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_commit_session_the_branch_goes_back() {
    let home = Home::new();
    home.workspace("work");
    let before = manifest(&home.path("work"));
    let session = at_step_3(&home, CommitMode::Session).await;
    let id = session.id().as_str();
    let mine = r#"{"path": "c.txt", "content": "mine\n"}"#;
    home.succeed(&["backtrack", id, "1", "write_file", mine]);
    let overwritten = |kind: &EventKind| matches!(kind, EventKind::Backtracked { step, .. } if *step == StepIndex(1));
    events_until(&session, View::Presented, overwritten).await;
    home.succeed(&["suggest", id, "that is enough"]);
    presented(&session).await;
    assert_eq!(manifest(&home.path("work")), before, "nothing is in it yet");
    home.succeed(&["session", "commit", id]);
    assert_eq!(names(&home.path("work")), [true, false, true, false]);
    let mine = std::fs::read_to_string(home.path("work/c.txt")).expect("written");
    assert_eq!(mine, "mine\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_can_take_everything_back_and_says_what_it_did() {
    for commit in [CommitMode::Step, CommitMode::Session] {
        let home = Home::new();
        home.workspace("work");
        let before = manifest(&home.path("work"));
        let session = at_step_3(&home, commit).await;
        let report = home.succeed(&["stop", "--undo", "--json", session.id().as_str()]);
        let steps: Vec<Undone> = report
            .lines()
            .map(|line| serde_json::from_str(line).expect("an undone step"))
            .collect();
        let committed = if commit == CommitMode::Step { 3 } else { 0 };
        assert_eq!(steps.len(), committed, "{report}");
        assert_eq!(manifest(&home.path("work")), before);
        let last = |kind: &EventKind| kind.is_last();
        let events = events_until(&session, View::Presented, last).await;
        let outcome = if committed > 0 { "undone" } else { "discarded" };
        let finished = |event: &Event| matches!(&event.kind, EventKind::Finished { outcome: of, .. } if of == outcome);
        assert!(finished(events.last().expect("one")), "{events:#?}");
        let info = session.info().await.expect("a session");
        assert_eq!(
            (info.end_reason.as_str(), info.counts.committed),
            ("stopped", 0)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_leaves_something_alone_says_so() {
    let home = Home::new();
    let session = at_step_3(&home, CommitMode::Step).await;
    std::fs::write(home.path("work/a.txt"), "by a person\n").expect("writes");
    let said = home.fail(1, &["stop", "--undo", session.id().as_str()]);
    assert!(said.contains("1 path was left alone"), "{said}");
    assert_eq!(names(&home.path("work")), [true, false, false, false]);
}

/// Asks a person, and writes down the answer.
fn asks(steps: usize, _heard: bool) -> Option<Action> {
    match steps {
        0 => Some(Action::parse(ASK_USER, r#"{"question": "which colour?"}"#).expect("valid")),
        1 => Some(write("a.txt", "a\n")),
        _ => Some(terminate("asked")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_when_it_is_decided_and_the_answer_is_its_observation() {
    let home = Home::new();
    let session = open(&home, CommitMode::Step, [asks, asks]).await;
    let question = |kind: &EventKind| matches!(kind, EventKind::Question { .. });
    let events = events_until(&session, View::Trace, question).await;
    for event in &events {
        let speculated = matches!(
            event.kind,
            EventKind::ExecutionStarted {
                speculative: true,
                ..
            }
        );
        assert!(!speculated, "{event:?}");
    }
    home.fail(75, &["answer", session.id().as_str(), "1", "blue"]);
    home.succeed(&["answer", session.id().as_str(), "0", "blue"]);
    let events = presented(&session).await;
    let observed = events.iter().find_map(|event| match &event.kind {
        EventKind::Observed {
            step, observation, ..
        } if step.0 == 0 => Some(observation.text.as_str()),
        _ => None,
    });
    assert_eq!(observed, Some("blue"));
    assert!(home.path("work/a.txt").exists());
}
