//! Which tools there are, and what is refused before anything is started.

use crate::fixture::Fixture;
use forerun_sandbox::{ComponentSource, LoadError, SandboxConfig, Sandboxes};
use forerun_types::{LimitName, ObservationStatus, SnapshotId};
use serde_json::json;

#[tokio::test]
async fn an_unknown_tool_is_an_observation_that_suggests_others() {
    let fixture = Fixture::new(&[]);
    let done = fixture.try_run("raed_file", json!({})).await;
    assert_eq!(done.observation.status, ObservationStatus::Invalid);
    assert_eq!(
        done.observation.text,
        "there is no tool \"raed_file\"; did you mean read_file?"
    );
    assert!(fixture.changed(&done).is_empty());
}

#[tokio::test]
async fn arguments_that_break_the_schema_are_an_observation_with_the_path() {
    let fixture = Fixture::new(&[]);
    for (arguments, words) in [
        (json!({"path": 1}), "at $.path: 1 is not of type \"string\""),
        (json!({}), "\"path\" is a required property"),
        (json!({"path": "a", "colour": 1}), "'colour' was unexpected"),
        (json!({"path": "a", "limit": 0}), "at $.limit:"),
        (json!("text"), "at $:"),
    ] {
        let done = fixture.try_run("read_file", arguments).await;
        assert_eq!(done.observation.status, ObservationStatus::Invalid);
        assert!(
            done.observation.text.contains(words),
            "{}",
            done.observation.text
        );
        assert_eq!(done.usage.memory_peak, 0, "nothing was started");
    }
}

#[tokio::test]
async fn a_snapshot_that_is_not_held_is_an_internal_end_and_no_panic() {
    let mut fixture = Fixture::new(&[]);
    fixture.head = SnapshotId(u64::MAX);
    let done = fixture.try_run("list_dir", json!({})).await;
    let internal = ObservationStatus::Stopped(LimitName::Internal);
    assert_eq!(done.observation.status, internal);
}

#[tokio::test]
async fn the_toolbox_lists_the_shipped_tools_under_a_digest() {
    let fixture = Fixture::new(&[]);
    let toolbox = fixture.sandboxes.toolbox();
    for name in [
        "delete",
        "edit_file",
        "glob",
        "grep",
        "list_dir",
        "move",
        "read_file",
        "write_file",
    ] {
        let tool = toolbox.get(name).expect(name);
        assert_eq!(tool.input_schema["additionalProperties"], false);
        assert!(tool.deterministic);
    }
    let names: Vec<_> = toolbox
        .tools()
        .iter()
        .map(|tool| tool.name.clone())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
    assert_ne!(toolbox.digest(), forerun_types::Digest::of([]));
}

#[tokio::test]
async fn what_is_no_tool_component_is_refused() {
    let sandboxes = Fixture::new(&[]).sandboxes.clone();
    let digest = sandboxes.toolbox().digest();
    for wasm in [&b"not wasm"[..], b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"] {
        let error = sandboxes
            .with("bad", wasm, None)
            .map(drop)
            .expect_err("refused");
        assert!(matches!(error, LoadError::Component(_)), "{error}");
    }
    let again = sandboxes.with("again", forerun_test_guests::HOSTILE, None);
    let again = again.map(drop);
    assert!(matches!(again, Err(LoadError::Name { .. })), "{again:?}");
    assert_eq!(
        sandboxes.toolbox().digest(),
        digest,
        "a refusal adds nothing"
    );
}

#[tokio::test]
async fn what_is_said_of_shipped_tools_before_they_are_compiled_is_what_they_say() {
    let sandboxes = Fixture::new(&[]).sandboxes.clone();
    let before = sandboxes.toolbox().clone();
    let state_dir = tempfile::tempdir().expect("temporary directory");
    let mut config = SandboxConfig::new(state_dir.path().to_owned());
    let said: usize = config
        .shipped
        .iter()
        .map(|shipped| (shipped.list)().len())
        .sum();
    config.components = std::mem::take(&mut config.shipped)
        .into_iter()
        .map(|shipped| ComponentSource {
            name: shipped.name.to_owned(),
            wasm: shipped.wasm.into(),
        })
        .collect();
    let asked = tokio::task::spawn_blocking(move || Sandboxes::start(config));
    let asked = asked.await.expect("runs").expect("starts");
    assert_eq!(asked.toolbox().tools().len(), said);
    for tool in asked.toolbox().tools() {
        assert_eq!(before.get(&tool.name), Some(tool));
    }
}
