//! Processes die: agents, within and after the re-attach window, and the daemon. No
//! verified step is lost, and the task still ends.

use crate::support::{Home, events_until, presented};
use forerun_sdk::Session;
use forerun_types::{Event, EventKind, Role, StepIndex, View};
use std::process::{Child, Stdio};

const SCRIPT: &str = r#"
answer = "done"
[target]
latency_ms = 150
[approximation]
latency_ms = 40
[[step]]
tool = "write_file"
arguments = { path = "a.txt", content = "a\n" }
[[step]]
tool = "write_file"
arguments = { path = "b.txt", content = "b\n" }
[[step]]
tool = "write_file"
arguments = { path = "c.txt", content = "c\n" }
[[step]]
tool = "write_file"
arguments = { path = "d.txt", content = "d\n" }
"#;

struct Plan {
    home: Home,
    session: Session,
    spec: String,
}

async fn plan(reattach_ms: u32) -> Plan {
    let home = Home::with_config(&format!("[agents]\nreattach_ms = {reattach_ms}\n"));
    let workspace = home.workspace("work");
    let spec = home.script("plan.toml", SCRIPT);
    let client = home.client().await;
    let session = client
        .session(&workspace)
        .task("write four files")
        .open()
        .await;
    Plan {
        home,
        session: session.expect("a session"),
        spec,
    }
}

impl Plan {
    /// Starts an agent as its own process.
    fn agent(&self, role: Role) -> Child {
        let session = self.session.id().as_str();
        self.home
            .forerun(&[
                "agent",
                &self.spec,
                "--role",
                role.as_str(),
                "--session",
                session,
            ])
            .env("FORERUN_TOKEN", self.session.tokens().role(role))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("an agent")
    }

    async fn until(&self, found: impl Fn(&EventKind) -> bool) {
        events_until(&self.session, View::Presented, found).await;
    }

    /// The plan ends as it should, with every step verified once and in order.
    async fn ends_well(self) {
        let events = presented(&self.session).await;
        let verified: Vec<u32> = events
            .iter()
            .filter_map(|event| match event.kind {
                EventKind::Verified { step, .. } => Some(step.0),
                _ => None,
            })
            .collect();
        assert_eq!(verified, [0, 1, 2, 3, 4]);
        for name in ["a", "b", "c", "d"] {
            let content = std::fs::read_to_string(self.home.path(&format!("work/{name}.txt")));
            assert_eq!(content.expect("written"), format!("{name}\n"));
        }
        let info = self.session.info().await.expect("a session");
        assert_eq!(info.answer.as_deref(), Some("done"));
    }
}

fn kill(mut agent: Child) {
    agent.kill().expect("killed");
    agent.wait().expect("gone");
}

fn decided(wanted: u32) -> impl Fn(&EventKind) -> bool {
    move |kind| matches!(kind, EventKind::Decided { step, .. } if *step == StepIndex(wanted))
}

async fn killed_and_started_again(role: Role, reattach_ms: u32, after_window: bool) {
    let plan = plan(reattach_ms).await;
    let other = if role == Role::Target {
        Role::Approximation
    } else {
        Role::Target
    };
    let mut stays = plan.agent(other);
    let victim = plan.agent(role);
    plan.until(decided(0)).await;
    kill(victim);
    plan.until(|kind| matches!(kind, EventKind::AgentDetached { .. }))
        .await;
    if after_window {
        plan.until(|kind| matches!(kind, EventKind::AgentLost { .. }))
            .await;
    }
    let mut again = plan.agent(role);
    plan.until(|kind| matches!(kind, EventKind::Ended { .. }))
        .await;
    assert!(again.wait().expect("waited").success());
    assert!(stays.wait().expect("waited").success());
    plan.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_comes_back_within_the_window_goes_on() {
    killed_and_started_again(Role::Target, 30_000, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_comes_back_after_the_window_goes_on() {
    killed_and_started_again(Role::Target, 50, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approximation_agent_that_comes_back_within_the_window_goes_on() {
    killed_and_started_again(Role::Approximation, 30_000, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approximation_agent_that_comes_back_after_the_window_goes_on() {
    killed_and_started_again(Role::Approximation, 50, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approximation_agent_that_never_comes_back_is_done_without() {
    let plan = plan(50).await;
    let mut target = plan.agent(Role::Target);
    let approximation = plan.agent(Role::Approximation);
    plan.until(decided(0)).await;
    kill(approximation);
    plan.until(|kind| matches!(kind, EventKind::Ended { .. }))
        .await;
    assert!(target.wait().expect("waited").success());
    plan.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_of_the_daemon_what_is_verified_is_there_and_nothing_else() {
    let mut plan = plan(30_000).await;
    let target = plan.agent(Role::Target);
    let approximation = plan.agent(Role::Approximation);
    plan.until(|kind| {
        matches!(
            kind,
            EventKind::Committed {
                step: StepIndex(1),
                ..
            }
        )
    })
    .await;
    plan.home.daemon().kill().expect("killed");
    plan.home.daemon().wait().expect("gone");
    kill(target);
    kill(approximation);
    plan.home.start_daemon();
    let session = plan
        .home
        .client()
        .await
        .owned(plan.session.id().clone())
        .expect("owned");
    let last = |kind: &EventKind| matches!(kind, EventKind::Interrupted { .. });
    let events = events_until(&session, View::Trace, last).await;
    let committed: Vec<u32> = events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::Committed { step, .. } => Some(step.0),
            _ => None,
        })
        .collect();
    for (index, name) in ["a", "b", "c", "d"].iter().enumerate() {
        let is_there = plan.home.path(&format!("work/{name}.txt")).exists();
        let index = u32::try_from(index).expect("small");
        assert_eq!(
            is_there,
            committed.contains(&index),
            "{name}: {committed:?}"
        );
    }
    assert!(committed.contains(&1));
}

/// A step edits a file, and once that is in the workspace, so does a person; by then,
/// `second` and the step after it were executed on top. Returns the running plan.
async fn edited_by_a_person(second: &str) -> (Plan, [Child; 2]) {
    let home = Home::new();
    let workspace = home.workspace("work");
    let text = r#"
answer = "done"
[target]
latency_ms = 1000
[approximation]
latency_ms = 10
[[step]]
tool = "edit_file"
arguments = { path = "README.md", old = "Old text", new = "New text" }
latency_ms = { approximation = 10, target = 50 }
[[step]]
SECOND
[[step]]
tool = "read_file"
arguments = { path = "README.md" }
"#;
    let spec = home.script("plan.toml", &text.replace("SECOND", second));
    let client = home.client().await;
    let session = client
        .session(&workspace)
        .task("edit")
        .open()
        .await
        .expect("a session");
    let plan = Plan {
        home,
        session,
        spec,
    };
    let agents = [plan.agent(Role::Approximation), plan.agent(Role::Target)];
    plan.until(|kind| {
        matches!(
            kind,
            EventKind::Committed {
                step: StepIndex(0),
                ..
            }
        )
    })
    .await;
    let on_top = |kind: &EventKind| {
        matches!(
            kind,
            EventKind::ExecutionFinished {
                step: StepIndex(2),
                ..
            }
        )
    };
    events_until(&plan.session, View::Trace, on_top).await;
    let readme = plan.home.path("work/README.md");
    std::fs::write(&readme, "A person wrote this. New text\n").expect("written");
    (plan, agents)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_edit_that_a_step_would_overwrite_unread_stalls_it_and_names_the_path() {
    let second = r#"tool = "write_file"
arguments = { path = "README.md", content = "All of it\n" }"#;
    let (plan, mut agents) = edited_by_a_person(second).await;
    plan.until(
        |kind| matches!(kind, EventKind::Stalled { reason, .. } if reason.contains("README.md")),
    )
    .await;
    let read = || std::fs::read_to_string(plan.home.path("work/README.md")).expect("file");
    assert_eq!(read(), "A person wrote this. New text\n");
    // Whoever sees that may still want the step.
    plan.session.retry().await.expect("allowed");
    plan.until(|kind| matches!(kind, EventKind::Ended { .. }))
        .await;
    assert_eq!(read(), "All of it\n");
    for agent in &mut agents {
        assert!(agent.wait().expect("waited").success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_edit_of_what_a_step_edits_is_kept_because_the_step_runs_again() {
    let second = r#"tool = "edit_file"
arguments = { path = "README.md", old = "New text", new = "Newer text" }"#;
    let (plan, mut agents) = edited_by_a_person(second).await;
    let events = presented(&plan.session).await;
    let stalled = |event: &&Event| matches!(event.kind, EventKind::Stalled { .. });
    assert_eq!(events.iter().find(stalled), None);
    let merged = std::fs::read_to_string(plan.home.path("work/README.md")).expect("file");
    assert_eq!(merged, "A person wrote this. Newer text\n");
    for agent in &mut agents {
        assert!(agent.wait().expect("waited").success());
    }
}
