//! Interrupts from a second terminal while `forerun run` is going: scenario 1 (t_i is
//! awaited) and scenario 2 (t_i is in review), matching and not.

use crate::support::{Home, events_until, only_session, presented};
use forerun_sdk::Session;
use forerun_types::{Event, EventKind, Source, StepIndex, View};
use std::process::{Child, Stdio};

/// The target thinks long about step 1, so that a person can be faster.
const SCRIPT: &str = r##"
answer = "done"
[target]
latency_ms = 30
[approximation]
latency_ms = 10
[[step]]
tool = "read_file"
arguments = { path = "README.md" }
[[step]]
tool = "write_file"
arguments = { path = "one.txt", content = "one\n" }
latency_ms = { approximation = 10, target = SLOW }
[[step]]
tool = "write_file"
arguments = { path = "two.txt", content = "two\n" }
"##;

const PROPOSED: [&str; 2] = ["write_file", r#"{"path": "one.txt", "content": "one\n"}"#];
const OTHER: [&str; 2] = ["write_file", r#"{"path": "mine.txt", "content": "mine\n"}"#];

struct Going {
    home: Home,
    run: Child,
    session: Session,
}

/// Starts `forerun run` and finds its session.
async fn going(slow_ms: u32, extra: &[&str]) -> Going {
    let home = Home::new();
    let workspace = home.workspace("work");
    let spec = home.script("plan.toml", &SCRIPT.replace("SLOW", &slow_ms.to_string()));
    let mut arguments = vec![
        "run",
        "--json",
        "--workspace",
        workspace.to_str().expect("text"),
    ];
    arguments.extend(["--target", &spec, "--approximation", &spec]);
    arguments.extend(extra);
    arguments.push("write two files");
    let run = home
        .forerun(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    let id = only_session(&home).await;
    let session = home.client().await.owned(id).expect("the owner key");
    Going { home, run, session }
}

impl Going {
    fn id(&self) -> &str {
        self.session.id().as_str()
    }

    /// Until step 1's proposal is shown and its verdict is awaited.
    async fn awaits_step_1(&self) {
        let waiting = |kind: &EventKind| {
            matches!(
                kind,
                EventKind::Proposed {
                    step: StepIndex(1),
                    ..
                }
            )
        };
        events_until(&self.session, View::Presented, waiting).await;
    }

    async fn until(&self, found: impl Fn(&EventKind) -> bool) {
        events_until(&self.session, View::Presented, found).await;
    }

    /// The end: the run succeeded; its presented events.
    async fn end(mut self) -> (Home, Vec<Event>) {
        let events = presented(&self.session).await;
        assert!(self.run.wait().expect("waited").success());
        (self.home, events)
    }
}

fn answer_of(events: &[Event], wanted: u32, by: Source) -> Option<(bool, bool)> {
    events.iter().find_map(|event| match &event.kind {
        EventKind::Answer {
            step,
            source,
            matched,
            corrects,
            ..
        } if step.0 == wanted && *source == by => Some((*matched, corrects.is_some())),
        _ => None,
    })
}

fn decided_by(events: &[Event], wanted: u32) -> Vec<Source> {
    let decided = events.iter().filter_map(|event| match &event.kind {
        EventKind::Decided { step, source, .. } if step.0 == wanted => Some(*source),
        _ => None,
    });
    decided.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_matches_the_proposal_keeps_everything_below_it() {
    let going = going(30_000, &[]).await;
    going.awaits_step_1().await;
    going
        .home
        .succeed(&["replace", going.id(), "1", PROPOSED[0], PROPOSED[1]]);
    let (home, events) = going.end().await;
    assert_eq!(answer_of(&events, 1, Source::User), Some((true, false)));
    assert_eq!(decided_by(&events, 1), [Source::User]);
    assert!(home.path("work/one.txt").exists() && home.path("work/two.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_differs_rolls_the_proposal_back() {
    let going = going(30_000, &[]).await;
    going.awaits_step_1().await;
    going
        .home
        .succeed(&["replace", going.id(), "1", OTHER[0], OTHER[1]]);
    let (home, events) = going.end().await;
    assert_eq!(answer_of(&events, 1, Source::User), Some((false, true)));
    assert!(!home.path("work/one.txt").exists());
    assert!(home.path("work/mine.txt").exists() && home.path("work/two.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_proposal_is_the_verdict() {
    let going = going(30_000, &[]).await;
    going.awaits_step_1().await;
    going.home.succeed(&["accept", going.id(), "1"]);
    let (home, events) = going.end().await;
    assert_eq!(decided_by(&events, 1), [Source::User]);
    assert!(home.path("work/one.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_keeps_the_targets_answer_from_being_the_verdict() {
    let going = going(2_000, &[]).await;
    going.awaits_step_1().await;
    going.home.succeed(&["claim", going.id(), "1"]);
    going
        .until(|kind| matches!(kind, EventKind::Claimed { .. }))
        .await;
    let target_answered = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::Answer {
                step: StepIndex(1),
                source: Source::Target,
                ..
            }
        )
    };
    going.until(target_answered).await;
    assert!(!going.home.path("work/one.txt").exists());
    going
        .home
        .succeed(&["replace", going.id(), "1", OTHER[0], OTHER[1]]);
    let (home, events) = going.end().await;
    assert_eq!(decided_by(&events, 1), [Source::User]);
    assert!(home.path("work/mine.txt").exists() && !home.path("work/one.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_given_back_leaves_the_verdict_to_the_target() {
    let going = going(1_000, &[]).await;
    going.awaits_step_1().await;
    going.home.succeed(&["claim", going.id(), "1"]);
    going
        .until(|kind| {
            matches!(
                kind,
                EventKind::Answer {
                    step: StepIndex(1),
                    ..
                }
            )
        })
        .await;
    going.home.succeed(&["unclaim", going.id(), "1"]);
    let (home, events) = going.end().await;
    assert_eq!(decided_by(&events, 1), [Source::Target]);
    assert!(home.path("work/one.txt").exists());
}

/// Until step 1 was answered and its review window is open.
async fn in_review(review_ms: &str) -> Going {
    let going = going(30, &["--review-ms", review_ms]).await;
    let reviewed = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::ReviewOpened {
                step: StepIndex(0),
                ..
            }
        )
    };
    going.until(reviewed).await;
    going.home.succeed(&["accept", going.id(), "0"]);
    going
        .until(|kind| {
            matches!(
                kind,
                EventKind::ReviewOpened {
                    step: StepIndex(1),
                    ..
                }
            )
        })
        .await;
    going
}

#[tokio::test(flavor = "multi_thread")]
async fn a_matching_replacement_in_review_ends_the_review() {
    let going = in_review("20000").await;
    assert!(!going.home.path("work/one.txt").exists());
    going
        .home
        .succeed(&["replace", going.id(), "1", PROPOSED[0], PROPOSED[1]]);
    going
        .until(|kind| {
            matches!(
                kind,
                EventKind::ReviewOpened {
                    step: StepIndex(2),
                    ..
                }
            )
        })
        .await;
    going
        .until(|kind| {
            matches!(
                kind,
                EventKind::Committed {
                    step: StepIndex(1),
                    ..
                }
            )
        })
        .await;
    assert!(going.home.path("work/one.txt").exists());
    going.home.succeed(&["accept", going.id(), "2"]);
    going
        .until(|kind| {
            matches!(
                kind,
                EventKind::ReviewOpened {
                    step: StepIndex(3),
                    ..
                }
            )
        })
        .await;
    going.home.succeed(&["accept", going.id(), "3"]);
    let (_, events) = going.end().await;
    assert_eq!(decided_by(&events, 1).last(), Some(&Source::User));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_different_replacement_in_review_rolls_the_verdict_back() {
    let going = in_review("20000").await;
    going
        .home
        .succeed(&["replace", going.id(), "1", OTHER[0], OTHER[1]]);
    going
        .until(|kind| {
            matches!(
                kind,
                EventKind::ReviewOpened {
                    step: StepIndex(2),
                    ..
                }
            )
        })
        .await;
    going
        .until(|kind| {
            matches!(
                kind,
                EventKind::Committed {
                    step: StepIndex(1),
                    ..
                }
            )
        })
        .await;
    going.home.succeed(&["stop", going.id()]);
    let mut run = going.run;
    assert_eq!(run.wait().expect("waited").code(), Some(1));
    assert!(going.home.path("work/mine.txt").exists());
    assert!(!going.home.path("work/one.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_holds_everything_and_resume_goes_on() {
    let going = going(1_000, &[]).await;
    going.awaits_step_1().await;
    going.home.succeed(&["pause", going.id()]);
    let show = going.home.succeed(&["session", "show", going.id()]);
    assert!(show.contains("paused"), "{show}");
    // The target answers meanwhile; nothing is decided by it.
    let answered = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::Answered {
                step: StepIndex(1),
                role: forerun_types::Role::Target,
                ..
            }
        )
    };
    events_until(&going.session, View::Trace, answered).await;
    assert!(!going.home.path("work/one.txt").exists());
    going.home.succeed(&["resume", going.id()]);
    let (home, events) = going.end().await;
    assert!(home.path("work/one.txt").exists());
    let at = |wanted: &dyn Fn(&EventKind) -> bool| {
        events
            .iter()
            .position(|event| wanted(&event.kind))
            .expect("it happened")
    };
    let resumed = at(&|kind| matches!(kind, EventKind::Resumed));
    let decided = at(&|kind| {
        matches!(
            kind,
            EventKind::Decided {
                step: StepIndex(1),
                ..
            }
        )
    });
    assert!(resumed < decided);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_possible_now_is_refused_with_the_reason() {
    let going = going(30_000, &[]).await;
    going.awaits_step_1().await;
    let id = going.id().to_owned();
    let late = going
        .home
        .fail(75, &["replace", &id, "0", PROPOSED[0], PROPOSED[1]]);
    assert!(late.contains("step 0"), "{late}");
    let unseen = going.home.fail(
        75,
        &[
            "replace",
            &id,
            "1",
            PROPOSED[0],
            PROPOSED[1],
            "--node",
            "node_999",
        ],
    );
    assert!(unseen.contains("changed"), "{unseen}");
    let unknown = going
        .home
        .fail(65, &["replace", &id, "1", "write_fil", "{}"]);
    assert!(unknown.contains("write_file"), "{unknown}");
    let schema = going
        .home
        .fail(65, &["replace", &id, "1", "write_file", "{}"]);
    assert!(schema.contains("path"), "{schema}");
    let json = going
        .home
        .fail(65, &["replace", &id, "1", "write_file", "{nonsense"]);
    assert!(json.contains("JSON"), "{json}");
    going.home.fail(75, &["resume", &id]);
    going.home.succeed(&["stop", &id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_stops_the_plan_and_keeps_what_is_verified() {
    let mut going = going(30_000, &[]).await;
    going.awaits_step_1().await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(going.run.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("sent");
    assert_eq!(going.run.wait().expect("waited").code(), Some(130));
    let info = going.session.info().await.expect("a session");
    assert_eq!(info.end_reason, "stopped");
    assert_eq!(info.counts.verified, 1);
    assert!(!going.home.path("work/one.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_terminal_watches_the_same_stream() {
    let going = going(500, &[]).await;
    let watched = going.home.succeed(&["watch", going.id(), "--json"]);
    let (_, events) = going.end().await;
    let seen = crate::support::events(&watched);
    assert_eq!(seen[..events.len()], events[..]);
}
