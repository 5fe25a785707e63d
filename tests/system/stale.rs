//! A person at work beside the session: what a step saw before its verdict is what it would
//! see at its verdict, or it is executed again.

use crate::support::{Home, events_until, manifest, only_session, presented};
use forerun_sdk::Session;
use forerun_types::{Event, EventKind, StepIndex, View};
use std::process::{Child, Stdio};

/// The target thinks long about the first two steps; the plan reads, and writes beside it.
const SCRIPT: &str = r##"
answer = "done"
[target]
latency_ms = 30
[approximation]
latency_ms = 10
[[step]]
tool = "read_file"
arguments = { path = "README.md" }
latency_ms = { approximation = 10, target = SLOW }
[[step]]
tool = "write_file"
arguments = { path = "one.txt", content = "one\n" }
latency_ms = { approximation = 10, target = SLOW }
[[step]]
tool = "list_dir"
arguments = { path = "src" }
"##;

const EDITED: &str = "# A person wrote this\n";

struct Going {
    home: Home,
    run: Child,
    session: Session,
}

impl Going {
    async fn start(slow_ms: u32) -> Going {
        let home = Home::new();
        let workspace = home.workspace("work");
        let spec = home.script("plan.toml", &SCRIPT.replace("SLOW", &slow_ms.to_string()));
        let run = home
            .forerun(&["run", "--json", "--workspace"])
            .arg(&workspace)
            .args(["--target", &spec, "--approximation", &spec, "look around"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("runs");
        let id = only_session(&home).await;
        let session = home.client().await.owned(id).expect("the owner key");
        Going { home, run, session }
    }

    /// Until the last step was executed ahead of every verdict.
    async fn is_ahead(&self) {
        let ahead = |kind: &EventKind| {
            matches!(
                kind,
                EventKind::ExecutionFinished {
                    step: StepIndex(2),
                    ..
                }
            )
        };
        let events = events_until(&self.session, View::Trace, ahead).await;
        let decided = |event: &Event| matches!(event.kind, EventKind::Decided { .. });
        assert!(!events.iter().any(decided), "the verdict was too fast");
    }

    /// The end of the plan: all events, and how often each step was executed.
    async fn end(mut self) -> (Home, Vec<Event>, [usize; 3]) {
        let events = presented(&self.session).await;
        let trace = events_until(&self.session, View::Trace, |kind| {
            matches!(kind, EventKind::Ended { .. })
        })
        .await;
        assert!(self.run.wait().expect("waited").success());
        let runs = [0, 1, 2].map(|wanted| {
            let started = trace.iter().filter(|event| {
                matches!(event.kind, EventKind::ExecutionStarted { step, .. } if step.0 == wanted)
            });
            started.count()
        });
        (self.home, events, runs)
    }
}

/// What was shown last of a step.
fn observed(events: &[Event], wanted: u32) -> String {
    let mut texts = events.iter().filter_map(|event| match &event.kind {
        EventKind::Observed {
            step, observation, ..
        } if step.0 == wanted => Some(observation.text.clone()),
        _ => None,
    });
    texts.next_back().expect("an observation")
}

/// The workspace after a run without speculation on what a person had edited before it.
fn off(home: &Home, edit: impl Fn(&std::path::Path)) -> std::path::PathBuf {
    let workspace = home.workspace("off");
    edit(&workspace);
    let spec = home.script("off.toml", &SCRIPT.replace("SLOW", "30"));
    let directory = workspace.to_str().expect("text").to_owned();
    home.succeed(&[
        "run",
        "--depth",
        "0",
        "--workspace",
        &directory,
        "--target",
        &spec,
        "--approximation",
        &spec,
        "look around",
    ]);
    workspace
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_read_what_a_person_then_changed_shows_what_the_target_would_have_seen() {
    let going = Going::start(4_000).await;
    going.is_ahead().await;
    let edit = |root: &std::path::Path| {
        std::fs::write(root.join("README.md"), EDITED).expect("written");
    };
    edit(&going.home.path("work"));
    let (home, events, runs) = going.end().await;
    assert!(observed(&events, 0).contains("A person wrote this"));
    assert_eq!(runs[0], 2, "{runs:?}");
    let stalled = |event: &&Event| matches!(event.kind, EventKind::Stalled { .. });
    assert_eq!(events.iter().find(stalled), None);
    let off = off(&home, edit);
    assert_eq!(manifest(&home.path("work")), manifest(&off));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_grew_is_made_again_and_what_is_below_the_step_before_stays() {
    let going = Going::start(4_000).await;
    going.is_ahead().await;
    let edit = |root: &std::path::Path| {
        std::fs::write(root.join("src/new.rs"), "// new\n").expect("written");
    };
    edit(&going.home.path("work"));
    let (home, events, runs) = going.end().await;
    assert!(observed(&events, 2).contains("new.rs"));
    assert_eq!(runs, [1, 1, 2]);
    assert_eq!(manifest(&home.path("work")), manifest(&off(&home, edit)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_what_nobody_looked_at_changes_nothing() {
    let going = Going::start(3_000).await;
    going.is_ahead().await;
    let edit = |root: &std::path::Path| {
        std::fs::write(root.join("obsolete.txt"), "not so obsolete\n").expect("written");
        std::fs::write(root.join("src/deep/notes.txt"), "edited\n").expect("written");
    };
    edit(&going.home.path("work"));
    let (home, _, runs) = going.end().await;
    assert_eq!(runs, [1, 1, 1]);
    assert_eq!(manifest(&home.path("work")), manifest(&off(&home, edit)));
}
