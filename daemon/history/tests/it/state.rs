//! What was learned is kept as a text; what comes back is not trusted.

use crate::{call, returned, run};
use forerun_history::{Predictor, Run};
use serde_json::{Value, json};

fn taught() -> Predictor {
    let mut predictor = Predictor::default();
    for number in 0..20 {
        let open = call("open", &format!(r#"{{"id":"x{number}","mode":"r"}}"#));
        let list = returned(&format!(r#"{{"ids":["x{number}"]}}"#));
        let steps = [(call("list", "{}"), list), (open, returned("ok"))];
        predictor.learn(&run("", &steps));
    }
    predictor
}

fn state() -> Value {
    let text = taught().to_json().expect("a text");
    serde_json::from_str(&text).expect("JSON")
}

fn code(text: &str) -> &'static str {
    Predictor::from_json(text).map_or_else(|error| error.code(), |_| "read")
}

#[test]
fn what_was_learned_survives_its_text() {
    let predictor = taught();
    let again = Predictor::from_json(&predictor.to_json().unwrap()).unwrap();
    assert_eq!(again, predictor);
    let list = (call("list", "{}"), returned(r#"{"ids":["new"]}"#));
    let run = run("", &[list]);
    assert_eq!(again.predict(&run, 3), predictor.predict(&run, 3));
    assert_eq!(
        again.predict(&run, 3)[0].action,
        call("open", r#"{"id":"new","mode":"r"}"#)
    );
}

#[test]
fn what_is_no_state_is_refused() {
    assert_eq!(code(&state().to_string()), "read");
    for text in ["", "nonsense", "{}", "[]", r#"{"version":"1"}"#] {
        assert_eq!(code(text), "history_invalid", "{text}");
    }
    assert_eq!(code(&" ".repeat(40 << 20)), "history_limit");
    assert_eq!(code(&"[".repeat(1 << 20)), "history_invalid");
    let mut other = state();
    other["version"] = json!(2);
    assert_eq!(code(&other.to_string()), "history_version");
    let mut more = state();
    more["learned"]["more"] = json!(1);
    assert_eq!(code(&more.to_string()), "history_invalid");
}

#[test]
fn what_can_not_have_been_learned_is_refused() {
    let hits = json!({"hits": 9, "trials": 3});
    let many = |count: usize, entry: Value| -> Value {
        (0..count)
            .map(|n| {
                let mut entry = entry.clone();
                entry[0]["tool"] = json!(format!("t{n}"));
                entry
            })
            .collect()
    };
    let learned = &state()["learned"];
    let slot = learned["arguments"]["slots"][0].clone();
    let table = [
        // More hits than trials, and more trials than are counted.
        ("/grades/0/1/records/0", hits.clone()),
        ("/grades/0/1/records/0", json!({"hits": 0, "trials": 5000})),
        ("/arguments/slots/0/1/kinds/0", hits.clone()),
        ("/arguments/slots/0/1/sources/0/1/overall", hits),
        // Counts that are 0, or whose sum overflows.
        ("/sequence/contexts/0/1/counts/0/1", json!(0)),
        ("/sequence/contexts/0/1/counts/0/1", json!(u32::MAX)),
        ("/arguments/forms/0/1/counts/0/1", json!(0)),
        ("/calls/0/1/total", json!(0)),
        // More than is kept.
        ("/arguments/slots", many(600, slot)),
        ("/arguments/slots/0/0/path", json!("/".repeat(500_000))),
        ("/arguments/forms/0/1/counts/0/0", json!(vec!["/a"; 40])),
        ("/sequence/contexts/0/0", json!(vec![Value::Null; 9])),
    ];
    for (place, value) in table {
        let mut state = state();
        let found = state["learned"].pointer_mut(place).expect(place);
        assert_ne!(*found, value);
        *found = value;
        assert_eq!(code(&state.to_string()), "history_impossible", "{place}");
    }
}

#[test]
fn an_agent_that_never_repeats_itself_fills_no_memory() {
    let mut predictor = Predictor::default();
    let mut sizes = Vec::new();
    for number in 0..400 {
        let mut run = Run::new("a task");
        for step in 0..20 {
            let arguments: Vec<String> = (0..8)
                .map(|n| format!(r#""a{number}-{n}":"v{number}-{step}-{n}""#))
                .collect();
            let tool = format!("tool-{number}-{step}");
            let action = call(&tool, &format!("{{{}}}", arguments.join(",")));
            run.push(&action, Some(&returned(&format!("new T-{number}-{step}"))));
        }
        predictor.learn(&run);
        sizes.push(predictor.to_json().unwrap().len());
    }
    // No larger at the end than when all limits were met first.
    let most = |sizes: &[usize]| sizes.iter().copied().max();
    assert!(most(&sizes[200..]) <= most(&sizes[..200]).map(|size| size * 11 / 10));
    let again = Predictor::from_json(&predictor.to_json().unwrap()).unwrap();
    assert_eq!(again, predictor);
}
