//! Languages in the sandbox: `run_javascript`.

use crate::fixture::Fixture;
use forerun_types::{LimitName, ObservationStatus};
use serde_json::{Value, json};

async fn text(fixture: &mut Fixture, code: &str) -> String {
    fixture.text("run_javascript", json!({"code": code})).await
}

async fn error(fixture: &mut Fixture, code: &str) -> String {
    let done = fixture.run("run_javascript", json!({"code": code})).await;
    assert_eq!(
        done.observation.status,
        ObservationStatus::ToolError,
        "{code}: {}",
        done.observation.text
    );
    done.observation.text
}

#[tokio::test]
async fn a_script_logs_and_returns_its_last_value() {
    let mut fixture = Fixture::new(&[]);
    for (code, shown) in [
        ("1 + 1", "=> 2"),
        ("console.log('a', 1); 'b'", "a 1\n=> b"),
        ("let x = 1;", "[no output]"),
        ("[1, 2, 3].map(n => n ** 2).at(-1)", "=> 9"),
        (
            "class A { #p = 5; get p() { return this.#p } } new A().p",
            "=> 5",
        ),
        (
            "'2024-01-02'.replace(/(\\d+)-(\\d+)-(\\d+)/, '$3.$2.$1')",
            "=> 02.01.2024",
        ),
        ("async function f() { await null; return 7 } f()", "=> 7"),
        (
            "Promise.resolve(1).then(v => console.log('then', v)); undefined",
            "then 1",
        ),
        (
            "const {a, ...rest} = {a: 1, b: 2}; JSON.stringify(rest)",
            "=> {\"b\":2}",
        ),
    ] {
        assert_eq!(text(&mut fixture, code).await, shown, "{code}");
    }
    let done = fixture
        .run(
            "run_javascript",
            json!({"code": "({n: 1, list: ['x', null]})"}),
        )
        .await;
    let structured: Value =
        serde_json::from_str(&done.observation.structured.expect("structured")).expect("JSON");
    assert_eq!(structured["value"], json!({"n": 1, "list": ["x", null]}));
}

#[tokio::test]
async fn files_are_read_written_and_listed() {
    let mut fixture = Fixture::new(&[("data.json", "[3, 1, 2]"), ("src/a.js", "")]);
    let code = "const sorted = JSON.parse(readFile('data.json')).sort(); \
                writeFile('out/sorted.json', JSON.stringify(sorted)); listDir()";
    let done = fixture.run("run_javascript", json!({"code": code})).await;
    assert_eq!(fixture.changed(&done), ["out", "out/sorted.json"]);
    let structured = done.observation.structured.expect("structured");
    assert!(
        structured.contains(r#"["data.json","out/","src/"]"#),
        "{structured}"
    );
    assert_eq!(
        fixture
            .text("read_file", json!({"path": "out/sorted.json"}))
            .await,
        "[1,2,3]"
    );
    let caught = "try { readFile('none') } catch (e) { e.message }";
    assert_eq!(
        text(&mut fixture, caught).await,
        "=> cannot read none: no such file or directory"
    );
}

#[tokio::test]
async fn what_goes_wrong_is_said_with_what_was_logged() {
    let mut fixture = Fixture::new(&[]);
    let thrown = error(&mut fixture, "console.log('before'); null.x").await;
    assert!(thrown.starts_with("uncaught TypeError"), "{thrown}");
    assert!(thrown.ends_with("[log]\nbefore\n"), "{thrown}");
    assert!(error(&mut fixture, "let = ;").await.contains("SyntaxError"));
    assert!(error(&mut fixture, "throw 'plain'").await.contains("plain"));
    let rejected = "Promise.reject(new RangeError('far'))";
    assert!(error(&mut fixture, rejected).await.contains("far"));
    assert!(
        error(&mut fixture, "readFile('../x')")
            .await
            .contains("climbs out")
    );
    assert!(
        error(&mut fixture, "writeFile(1, 2)")
            .await
            .contains("must be a string")
    );
    let deep = error(&mut fixture, "function f() { f() } f()").await;
    assert!(deep.to_lowercase().contains("recursi"), "{deep}");
    assert!(
        error(&mut fixture, "require('fs')")
            .await
            .contains("require")
    );
}

#[tokio::test]
async fn endless_scripts_are_stopped_and_long_logs_cut() {
    let mut fixture = Fixture::new(&[]);
    let long = text(
        &mut fixture,
        "for (let i = 0; i < 20000; i++) console.log('0123456789')",
    )
    .await;
    assert!(long.len() < 70_000 && long.contains("[the log was cut]"));
    fixture.limits.cpu_ms = 300;
    let done = fixture
        .run("run_javascript", json!({"code": "for (;;) {}"}))
        .await;
    let cpu = ObservationStatus::Stopped(LimitName::Cpu);
    assert_eq!(done.observation.status, cpu, "{}", done.observation.text);
}

#[tokio::test]
async fn random_numbers_and_the_clock_repeat() {
    let fixture = Fixture::new(&[]);
    let code = json!({"code": "[Math.random(), Date.now(), new Date().toISOString()]"});
    let one = fixture.try_run("run_javascript", code.clone()).await;
    let two = fixture.try_run("run_javascript", code).await;
    assert_eq!(one.observation.status, ObservationStatus::Success);
    assert_eq!(one.digests, two.digests, "{}", one.observation.text);
}
