//! How deep sessions go: as they are told, or as far as it pays, by what earlier sessions in the
//! workspace saw of their agents.

use crate::support::{Home, Plan, presented};
use forerun_sdk::{DepthControl, Role};
use forerun_types::Action;

fn writes(prefix: &str) -> Vec<Action> {
    let write = |step| {
        let arguments = serde_json::json!({ "path": format!("{prefix}{step}"), "content": "" });
        Action::parse("write_file", &arguments.to_string()).expect("valid")
    };
    (0..8).map(write).collect()
}

/// Runs a plan of eight steps, of which the approximation agent guesses none or all, and returns
/// how many calls were in flight at once.
async fn peak(home: &Home, control: DepthControl, right: bool) -> u32 {
    let client = home.client().await;
    let session = client.session(home.path("work")).task("t").depth(4);
    let session = session.depth_control(control).open().await;
    let session = session.expect("a session");
    let guesses = if right { "right" } else { "wrong" };
    for (role, plan) in [
        (Role::Approximation, writes(guesses)),
        (Role::Target, writes("right")),
    ] {
        session
            .attach(role, Plan(plan, role))
            .await
            .expect("attached");
    }
    presented(&session).await;
    session.info().await.expect("info").counts.peak_calls
}

#[tokio::test]
async fn what_was_learned_of_the_agents_bounds_the_depth_of_the_next_session() {
    let cheap = DepthControl::Dynamic { tau: 100 };
    let mut home = Home::new();
    home.workspace("work");
    let fixed = peak(&home, DepthControl::Fixed, false).await;
    assert!(fixed > 2, "it runs ahead of what is wrong: {fixed}");
    // That session learned, too, and what it learned outlives the daemon.
    let daemon = home.daemon();
    daemon.kill().expect("ends");
    daemon.wait().expect("ended");
    home.start_daemon();
    assert_eq!(peak(&home, cheap, false).await, 2, "one step at a time");
    // Right often enough, it is trusted again.
    let mut last = 0;
    for _ in 0..4 {
        last = peak(&home, cheap, true).await;
    }
    assert!(last > 2, "{last}");
}
