//! Guests that take more than they should: each ends in an observation that names what
//! it ran into, nothing is changed, and the next action runs as if it had not been.

use crate::fixture::Fixture;
use forerun_sandbox::Done;
use forerun_types::{LimitName, ObservationStatus};
use serde_json::json;
use std::time::{Duration, Instant};

async fn stopped(fixture: &mut Fixture, tool: &str, limit: LimitName, words: &str) -> Done {
    let before = fixture.head;
    let done = fixture.run(tool, json!({})).await;
    let text = &done.observation.text;
    assert_eq!(
        done.observation.status,
        ObservationStatus::Stopped(limit),
        "{tool}: {text}"
    );
    assert!(text.contains(words), "{tool}: {text}");
    assert!(text.contains("nothing was changed"), "{tool}: {text}");
    assert!(fixture.changed(&done).is_empty(), "{tool}");
    assert_ne!(
        done.snapshot, before,
        "an outcome has a snapshot of its own"
    );
    assert_eq!(
        fixture.text("read_file", json!({"path": "a"})).await,
        "still here"
    );
    done
}

fn fixture() -> Fixture {
    Fixture::new(&[("a", "still here")])
}

#[tokio::test]
async fn a_trap_drops_the_changes_and_shows_the_last_words() {
    let done = stopped(&mut fixture(), "trap", LimitName::Trap, "on purpose").await;
    assert!(done.observation.text.starts_with("the tool crashed: "));
}

#[tokio::test]
async fn exiting_is_a_crash() {
    stopped(&mut fixture(), "exit", LimitName::Trap, "exited").await;
}

#[tokio::test]
async fn endless_recursion_is_a_crash() {
    stopped(&mut fixture(), "recurse", LimitName::Trap, "stack").await;
}

#[tokio::test]
async fn an_endless_loop_runs_into_cpu_time() {
    let mut fixture = fixture();
    fixture.limits.cpu_ms = 50;
    let done = stopped(&mut fixture, "spin", LimitName::Cpu, "50 ms of CPU time").await;
    assert!(done.usage.cpu_us >= 40_000, "{:?}", done.usage);
}

#[tokio::test]
async fn an_endless_loop_runs_into_wall_time_if_that_is_less() {
    let mut fixture = fixture();
    fixture.limits.wall_ms = 100;
    stopped(
        &mut fixture,
        "spin",
        LimitName::WallTime,
        "100 ms of wall time",
    )
    .await;
}

#[tokio::test]
async fn waiting_for_ever_runs_into_wall_time_and_takes_no_cpu() {
    let mut fixture = fixture();
    fixture.limits.wall_ms = 300;
    let done = stopped(
        &mut fixture,
        "wait",
        LimitName::WallTime,
        "300 ms of wall time",
    )
    .await;
    assert!(done.usage.cpu_us < 200_000, "{:?}", done.usage);
    stopped(
        &mut fixture,
        "wait_in_short_sleeps",
        LimitName::WallTime,
        "wall time",
    )
    .await;
}

#[tokio::test]
async fn allocating_without_end_runs_into_memory() {
    let mut fixture = fixture();
    fixture.limits.memory_bytes = 32 << 20;
    let done = stopped(
        &mut fixture,
        "allocate",
        LimitName::Memory,
        "32 MiB of memory",
    )
    .await;
    assert!(done.usage.memory_peak <= 32 << 20, "{:?}", done.usage);
}

#[tokio::test]
async fn a_guest_that_does_not_fit_at_all_is_stopped_by_memory_too() {
    let mut fixture = fixture();
    let limits = fixture.limits.clone();
    fixture.limits.memory_bytes = 4_096;
    let done = fixture.try_run("trap", json!({})).await;
    let memory = ObservationStatus::Stopped(LimitName::Memory);
    assert_eq!(done.observation.status, memory, "{}", done.observation.text);
    fixture.limits = limits;
    assert_eq!(
        fixture.text("read_file", json!({"path": "a"})).await,
        "still here"
    );
}

#[tokio::test]
async fn printing_without_end_is_cut_and_no_failure() {
    let mut fixture = fixture();
    assert_eq!(fixture.text("print", json!({})).await, "printed");
    fixture.limits.output_bytes = 10_000;
    let done = fixture.run("print_and_trap", json!({})).await;
    let text = &done.observation.text;
    assert!(text.contains("more bytes were cut"), "{text}");
    assert!(text.len() < 6_000, "{}", text.len());
}

#[tokio::test]
async fn a_long_answer_is_cut_and_marked_and_an_enormous_one_stops_the_guest() {
    let mut fixture = fixture();
    let done = fixture.run("long_answer", json!({})).await;
    assert_eq!(done.observation.status, ObservationStatus::Success);
    assert!(done.observation.truncated);
    assert!(
        done.observation
            .text
            .ends_with("[3145728 more bytes were cut]")
    );
    let done = fixture.run("enormous_answer", json!({})).await;
    let trap = ObservationStatus::Stopped(LimitName::Trap);
    assert_eq!(done.observation.status, trap, "{}", done.observation.text);
}

#[tokio::test]
async fn structured_output_that_is_no_json_is_an_error_of_the_tool() {
    let done = fixture().run("garbage", json!({})).await;
    assert_eq!(done.observation.status, ObservationStatus::ToolError);
    assert!(
        done.observation.text.contains("not valid"),
        "{}",
        done.observation.text
    );
}

#[tokio::test]
async fn writing_without_end_runs_into_the_limit_on_changes() {
    let mut fixture = fixture();
    fixture.limits.delta_bytes = 8 << 20;
    fixture.limits.delta_nodes = 100;
    for tool in ["fill_a_file", "fill_tmp", "grow_a_file", "create_files"] {
        let done = fixture.try_run(tool, json!({})).await;
        let text = &done.observation.text;
        let delta = ObservationStatus::Stopped(LimitName::Delta);
        // Longer than any file can be is an error of its own.
        let too_large = tool == "grow_a_file"
            && done.observation.status == ObservationStatus::ToolError
            && text.contains("large");
        assert!(
            done.observation.status == delta || too_large,
            "{tool}: {text}"
        );
        assert!(
            too_large || text.contains("8 MiB or 100 files"),
            "{tool}: {text}"
        );
    }
    assert_eq!(
        fixture.text("read_file", json!({"path": "a"})).await,
        "still here"
    );
}

#[tokio::test]
async fn opening_without_end_runs_into_the_limit_on_handles() {
    let mut fixture = fixture();
    fixture.limits.handles = 64;
    stopped(
        &mut fixture,
        "open_handles",
        LimitName::Handles,
        "64 open handles",
    )
    .await;
}

#[tokio::test]
async fn too_many_random_bytes_at_once_are_refused() {
    stopped(
        &mut fixture(),
        "much_random",
        LimitName::Trap,
        "random bytes",
    )
    .await;
}

#[tokio::test]
async fn a_tool_that_says_it_only_reads_and_changes_something_has_failed() {
    let mut fixture = fixture();
    let done = fixture.run("liar", json!({})).await;
    let trap = ObservationStatus::Stopped(LimitName::Trap);
    assert_eq!(done.observation.status, trap);
    assert!(
        done.observation
            .text
            .contains("only reads, but it changed written")
    );
    assert!(fixture.changed(&done).is_empty());
    assert_eq!(fixture.text("list_dir", json!({})).await, "a (10)");
    fixture.text("honest_liar", json!({})).await;
}

#[tokio::test]
async fn there_is_no_network_no_environment_and_no_input() {
    let mut fixture = fixture();
    for tool in ["connect", "look_up"] {
        let done = fixture.run(tool, json!({})).await;
        assert_eq!(done.observation.text, "failed: refused");
    }
    assert_eq!(
        fixture.text("environment", json!({})).await,
        "[] [] Some(\"/workspace\")"
    );
    assert_eq!(fixture.text("read_input", json!({})).await, "Ok(0) ");
}

#[tokio::test]
async fn dropping_an_execution_stops_a_guest_that_computes() {
    let mut fixture = fixture();
    let held = fixture.sandboxes.held();
    // More than there are threads: if one went on, an action after it would wait.
    for _ in 0..8 {
        let execution = fixture.sandboxes.run(fixture.request("spin", &json!({})));
        let waited = tokio::time::timeout(Duration::from_millis(20), execution).await;
        assert!(waited.is_err(), "it spins");
    }
    let started = Instant::now();
    fixture.limits.cpu_ms = 1_000;
    assert_eq!(
        fixture.text("read_file", json!({"path": "a"})).await,
        "still here"
    );
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert!(
        fixture.sandboxes.held() <= held + 100,
        "nothing is left behind"
    );
}

#[tokio::test]
async fn guests_that_compute_take_turns_with_others_on_their_thread() {
    let mut fixture = fixture();
    let spinning: Vec<_> = (0..4)
        .map(|_| fixture.sandboxes.run(fixture.request("spin", &json!({}))))
        .collect();
    let text = fixture.text("read_file", json!({"path": "a"})).await;
    assert_eq!(text, "still here");
    drop(spinning);
}
