//! The same action on the same state with the same clock and seed: the same outcome.

use crate::fixture::Fixture;
use serde_json::json;

#[tokio::test]
async fn the_same_seed_and_clock_give_the_same_digests() {
    let fixture = Fixture::new(&[("a", "x")]);
    for tool in ["random", "clock", "touch", "trap"] {
        let one = fixture.try_run(tool, json!({})).await;
        let two = fixture.try_run(tool, json!({})).await;
        assert_eq!(one.observation, two.observation, "{tool}");
        assert_eq!(one.digests, two.digests, "{tool}");
    }
    let write = json!({"path": "b", "content": "y"});
    let one = fixture.try_run("write_file", write.clone()).await;
    let two = fixture.try_run("write_file", write).await;
    assert_eq!(one.digests, two.digests);
}

#[tokio::test]
async fn another_seed_gives_other_random_numbers() {
    let mut fixture = Fixture::new(&[]);
    let one = fixture.try_run("random", json!({})).await;
    fixture.seed = [8; 32];
    let two = fixture.try_run("random", json!({})).await;
    assert_ne!(one.observation.text, two.observation.text);
}

#[tokio::test]
async fn the_clock_is_the_one_that_was_given_and_a_sleep_takes_its_time() {
    let mut fixture = Fixture::new(&[]);
    fixture.clock_ns = 1_000_000_000_000_000_000;
    let text = fixture.text("clock", json!({})).await;
    assert!(text.starts_with("1000000000s 5."), "{text}");
    let touched = fixture.text("touch", json!({})).await;
    assert!(
        touched.contains("tv_sec: 1000000000") || touched.contains("1000000000"),
        "{touched}"
    );
}

#[tokio::test]
async fn changes_do_not_depend_on_when_they_were_made() {
    let mut fixture = Fixture::new(&[]);
    let write = json!({"path": "b", "content": "y"});
    let one = fixture.try_run("write_file", write.clone()).await;
    fixture.clock_ns += 3_600_000_000_000;
    let two = fixture.try_run("write_file", write).await;
    assert_eq!(one.digests.changes, two.digests.changes);
}
