//! Guests that use the system interface itself against the host, and components that are
//! none: each is contained, what it ran into is named, and others go on unharmed.

use crate::fixture::Fixture;
use forerun_sandbox::{Done, LoadError};
use forerun_types::{LimitName, ObservationStatus};
use serde_json::json;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn fixture() -> Fixture {
    let mut fixture = Fixture::new(&[("a", "still here")]);
    fixture.limits.cpu_ms = 1_000;
    fixture
}

async fn unharmed(fixture: &mut Fixture) {
    let text = fixture.text("read_file", json!({"path": "a"})).await;
    assert_eq!(text, "still here");
}

/// Runs an attack that must end in a limit, whose name and value are told.
async fn stopped(fixture: &mut Fixture, attack: &str, limit: LimitName, words: &str) -> Done {
    let done = fixture.try_run(attack, json!({})).await;
    let text = &done.observation.text;
    let expected = ObservationStatus::Stopped(limit);
    assert_eq!(done.observation.status, expected, "{attack}: {text}");
    assert!(text.contains(words), "{attack}: {text}");
    assert!(text.contains("nothing was changed"), "{attack}: {text}");
    assert!(fixture.changed(&done).is_empty(), "{attack}");
    unharmed(fixture).await;
    done
}

#[tokio::test]
async fn calling_the_host_without_end_runs_into_cpu_time() {
    let mut fixture = fixture();
    fixture.limits.cpu_ms = 100;
    for attack in ["call_without_end", "ask_without_end", "print_without_end"] {
        stopped(&mut fixture, attack, LimitName::Cpu, "100 ms of CPU time").await;
    }
    // What the host does counts in full, and not once a call.
    fixture.limits.cpu_ms = 200;
    let attack = "write_much_without_end";
    let done = stopped(&mut fixture, attack, LimitName::Cpu, "200 ms of CPU time").await;
    assert!(done.usage.cpu_us < 400_000, "{:?}", done.usage);
}

#[tokio::test]
async fn waiting_for_very_much_or_for_nothing_at_once_is_no_way_to_hang() {
    let mut fixture = fixture();
    let done = fixture
        .try_run("wait_for_one_thing_a_million_times", json!({}))
        .await;
    // Either it is answered or it is too much for one call; it ends in any case.
    let status = done.observation.status;
    assert!(
        status == ObservationStatus::Success
            || status == ObservationStatus::Stopped(LimitName::Trap),
        "{}",
        done.observation.text
    );
    stopped(&mut fixture, "wait_for_nothing", LimitName::Trap, "poll").await;
}

#[tokio::test]
async fn every_kind_of_handle_is_counted() {
    let mut fixture = fixture();
    for attack in [
        "open_handles",
        "open_directories",
        "open_timers",
        "open_streams",
    ] {
        stopped(
            &mut fixture,
            attack,
            LimitName::Handles,
            "1024 open handles",
        )
        .await;
    }
}

#[tokio::test]
async fn a_hundred_thousand_files_run_into_the_limit_on_changes() {
    let mut fixture = fixture();
    fixture.limits.cpu_ms = 60_000;
    fixture.limits.delta_nodes = 100_000;
    stopped(
        &mut fixture,
        "create_files",
        LimitName::Delta,
        "100000 files",
    )
    .await;
}

#[tokio::test]
async fn enormous_files_run_into_the_limit_on_changes() {
    let mut fixture = fixture();
    fixture.limits.delta_bytes = 32 << 20;
    for attack in [
        "huge_file",
        "huge_file_by_one_byte",
        "copy_a_file_into_itself",
    ] {
        stopped(&mut fixture, attack, LimitName::Delta, "32 MiB").await;
    }
}

#[tokio::test]
async fn offsets_and_lengths_at_the_end_of_all_numbers_are_harmless() {
    let mut fixture = fixture();
    let text = fixture.text("write_at_the_end_of_all", json!({})).await;
    let invalid = r#"Err("invalid")"#;
    assert_eq!(text, format!("[{}]", [invalid; 4].join(", ")));
    assert_eq!(fixture.text("read_all_at_once", json!({})).await, "Ok(1)");
    unharmed(&mut fixture).await;
}

#[tokio::test]
async fn directories_go_no_deeper_than_a_path_can_say() {
    let mut fixture = fixture();
    fixture.limits.cpu_ms = 20_000;
    let text = fixture.text("deep_directories", json!({})).await;
    assert_eq!(text, "name-too-long at 2043");
    unharmed(&mut fixture).await;
    // Deeper than there are handles: what goes through all of it opens one at a time. By
    // paths of 4,000 bytes, which takes its time.
    fixture.limits.wall_ms = 110_000;
    fixture.text("copy", json!({"from": "d", "to": "e"})).await;
    for path in ["d", "e"] {
        let all = json!({"path": path, "recursive": true});
        fixture.text("delete", all).await;
    }
    assert_eq!(fixture.text("list_dir", json!({})).await, "a (10)");
}

#[tokio::test]
async fn odd_names_have_their_own_errors() {
    let mut fixture = fixture();
    let text = fixture.text("names", json!({})).await;
    let codes = [
        r#"Err("invalid")"#,
        r#"Err("invalid")"#,
        r#"Err("not-permitted")"#,
        r#"Err("not-permitted")"#,
        r#"Err("not-directory")"#,
        r#"Err("not-permitted")"#,
        "Ok(())",
        r#"Err("no-entry")"#,
        r#"Err("name-too-long")"#,
    ];
    assert_eq!(text, format!("[{}]", codes.join(", ")));
    assert_eq!(
        fixture.text("follow_loops", json!({})).await,
        "[false, false, false, false]"
    );
}

#[tokio::test]
async fn names_of_the_base_that_are_no_utf_8_are_neither_shown_nor_lost() {
    let fixture = Fixture::with(&[("a", "still here"), ("d/b", "x")], |root| {
        let name = std::ffi::OsString::from_vec(vec![b'x', 0xff, b'y']);
        fs::write(root.join(&name), "hidden").expect("written");
        fs::write(root.join("d").join(&name), "hidden").expect("written");
        let target = std::ffi::OsString::from_vec(vec![0xfe]);
        symlink(target, root.join("odd")).expect("linked");
    });
    let mut fixture = fixture;
    let listed = fixture.text("list_dir", json!({})).await;
    assert!(
        listed.contains("a (10)") && !listed.contains('\u{fffd}'),
        "{listed}"
    );
    let found = fixture.text("grep", json!({"pattern": "hidden"})).await;
    assert!(!found.contains("xy"), "{found}");
    // What holds a name that cannot be said is not empty.
    let removed = fixture
        .run(
            "program",
            json!({"operations": [
                {"op": "remove", "path": "d/b"},
                {"op": "remove_dir", "path": "d"},
                {"op": "stat", "path": "odd"},
                {"op": "read_link", "path": "odd"}
            ]}),
        )
        .await;
    let lines: Vec<&str> = removed.observation.text.lines().collect();
    assert_eq!(lines[..2], ["ok ", "error DirectoryNotEmpty"], "{lines:?}");
    assert!(
        lines[2..].iter().all(|line| line.starts_with("error")),
        "{lines:?}"
    );
    unharmed(&mut fixture).await;
}

#[tokio::test]
async fn a_directory_that_becomes_a_link_out_while_it_is_read_shows_nothing_of_outside() {
    static OVER: AtomicBool = AtomicBool::new(false);
    let fixture = Fixture::new(&[("race/secret", "inside"), ("a", "still here")]);
    let root = fixture.root();
    let race = root.join("race");
    let (beside, link) = (root.join("beside"), root.join("link"));
    let host = std::thread::spawn(move || {
        // `..` is where the fixture keeps what is not for tools.
        while !OVER.load(Ordering::Relaxed) {
            symlink("..", &link).expect("linked");
            swap(&race, &beside, &link);
        }
    });
    for _ in 0..3 {
        let done = fixture.try_run("read_until_told", json!({})).await;
        let text = &done.observation.text;
        assert!(!text.contains("not for tools"), "{text}");
        assert!(!text.contains("workspace"), "{text}");
    }
    OVER.store(true, Ordering::Relaxed);
    host.join().expect("ends");
}

/// Puts the link in the directory's place, and the directory back.
fn swap(directory: &Path, beside: &Path, link: &Path) {
    fs::rename(directory, beside).expect("renamed");
    fs::rename(link, directory).expect("renamed");
    fs::remove_file(directory).expect("removed");
    fs::rename(beside, directory).expect("renamed");
}

#[tokio::test]
async fn closing_its_output_is_no_harm_to_a_guest() {
    let mut fixture = fixture();
    assert_eq!(fixture.text("close_output", json!({})).await, "went on");
}

#[tokio::test]
async fn there_is_no_network_of_any_kind() {
    let mut fixture = fixture();
    for (attack, text) in [
        ("send_a_datagram", "sent: false"),
        ("listen", "listening: false"),
        ("connect", "failed: refused"),
        ("look_up", "failed: refused"),
    ] {
        let done = fixture.run(attack, json!({})).await;
        assert_eq!(done.observation.text, text);
    }
}

#[tokio::test]
async fn what_a_way_out_is_answered_is_a_denial_by_its_own_error() {
    let mut fixture = fixture();
    assert_eq!(
        fixture.text("sockets", json!({})).await,
        "name: permanent-resolver-failure\n\
         connect: access-denied\n\
         listen: access-denied\n\
         datagram: access-denied"
    );
    assert_eq!(
        fixture.text("request", json!({})).await,
        "ErrorCode::HttpRequestDenied"
    );
    let held = fixture.run("hold_requests", json!({})).await;
    let handles = ObservationStatus::Stopped(LimitName::Handles);
    assert_eq!(
        held.observation.status, handles,
        "{}",
        held.observation.text
    );
    unharmed(&mut fixture).await;
}

#[tokio::test]
async fn honest_actions_go_on_while_all_of_these_run() {
    let mut fixture = fixture();
    fixture.limits.cpu_ms = 300;
    fixture.limits.wall_ms = 3_000;
    let attacks = [
        "spin",
        "recurse",
        "wait",
        "allocate",
        "call_without_end",
        "print_without_end",
        "open_handles",
        "fill_a_file",
        "fill_tmp",
        "create_files",
        "huge_file",
        "enormous_answer",
        "trap",
        "exit",
    ];
    let running: Vec<_> = attacks
        .iter()
        .map(|attack| fixture.sandboxes.run(fixture.request(attack, &json!({}))))
        .collect();
    for _ in 0..20 {
        let done = fixture.try_run("read_file", json!({"path": "a"})).await;
        // One that shares its thread with attackers can lose its time to them, no more.
        let lost = done.observation.status == ObservationStatus::Stopped(LimitName::WallTime);
        assert!(
            lost || done.observation.text == "still here",
            "{}",
            done.observation.text
        );
    }
    for (attack, execution) in attacks.iter().zip(running) {
        let done = execution.await;
        assert!(
            matches!(done.observation.status, ObservationStatus::Stopped(_)),
            "{attack}: {}",
            done.observation.text
        );
    }
    unharmed(&mut fixture).await;
}

/// A component that looks like a tool as far as its exports' names go.
fn component(core: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (core module $m {core} (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $t (export "list" (func $f)) (export "call" (func $f)))
            (export "forerun:tool/tools@0.1.0" (instance $t)))"#
    );
    wat::parse_str(text).expect("a component")
}

async fn refused(wasm: Vec<u8>) -> String {
    let mut fixture = fixture();
    let sandboxes = fixture.sandboxes.clone();
    let result = tokio::task::spawn_blocking(move || sandboxes.with("odd", &wasm, None).map(drop))
        .await
        .expect("loading never panics");
    let error = result.expect_err("it is no tool");
    unharmed(&mut fixture).await;
    message(&error)
}

fn message(error: &LoadError) -> String {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    message
}

#[tokio::test]
async fn a_start_function_without_end_runs_into_time() {
    let message = refused(component("(func $spin (loop $l (br $l))) (start $spin)")).await;
    // Both limits are the same while a component lists its tools.
    let is_named = message.contains("CPU time") || message.contains("wall time");
    assert!(is_named, "{message}");
}

#[tokio::test]
async fn a_start_function_that_recurses_or_traps_is_a_crash() {
    for core in [
        "(func $again (call $again)) (start $again)",
        "(func $stop unreachable) (start $stop)",
    ] {
        let message = refused(component(core)).await;
        assert!(message.contains("crashed"), "{message}");
    }
}

#[tokio::test]
async fn memories_and_tables_that_grow_without_end_run_into_memory_or_their_own_end() {
    // Goes on until it cannot grow any more, and then crashes.
    for grow in [
        "(memory 1) (func $grow (loop $l (br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 16))))) unreachable) (start $grow)",
        "(table 1 funcref) (func $grow (loop $l (br_if $l (i32.ne (i32.const -1) (table.grow (ref.null func) (i32.const 1024))))) unreachable) (start $grow)",
    ] {
        let message = refused(component(grow)).await;
        assert!(
            message.contains("of memory") || message.contains("crashed"),
            "{message}"
        );
    }
    let message = refused(component("(memory 65536)")).await;
    assert!(message.contains("of memory"), "{message}");
    let message = refused(component("(table 4000000000 funcref)")).await;
    assert!(message.contains("table"), "{message}");
    let many = "(memory 1)".repeat(1_000);
    refused(component(&many)).await;
}

#[tokio::test]
async fn what_imports_something_unknown_is_refused_by_its_name() {
    for import in [
        "evil:thing/door@1.0.0",
        "wasi:http/outgoing-handler@0.2.12",
        "wasi:filesystem/types@0.3.0",
    ] {
        let text = format!(
            r#"(component
                (import "{import}" (instance $d (export "open" (func))))
                (core module $m (func (export "f")))
                (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i "f")))
                (instance $t (export "list" (func $f)) (export "call" (func $f)))
                (export "forerun:tool/tools@0.1.0" (instance $t)))"#
        );
        let message = refused(wat::parse_str(text).expect("a component")).await;
        assert!(message.contains(import), "{message}");
    }
}

#[tokio::test]
async fn what_is_no_component_is_refused() {
    let cut = &forerun_test_guests::PROBE[..forerun_test_guests::PROBE.len() / 2];
    let mut flipped = forerun_test_guests::PROBE.to_vec();
    for index in (64..flipped.len()).step_by(997) {
        flipped[index] ^= 0x55;
    }
    let core = wat::parse_str("(module)").expect("a module");
    for wasm in [
        Vec::new(),
        b"not a component".to_vec(),
        vec![0; 1 << 20],
        cut.to_vec(),
        flipped,
        core,
        component(""),
        wat::parse_str("(component)").expect("a component"),
    ] {
        let message = refused(wasm).await;
        assert!(!message.is_empty());
    }
}
