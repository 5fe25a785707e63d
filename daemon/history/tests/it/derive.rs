//! Where arguments come from: each test teaches a habit with some values, and asks for it with
//! others.

use crate::{call, first, returned, run};
use forerun_history::{Predictor, Run};
use forerun_types::{ASK_USER, Action, Observation, ObservationStatus};

/// Learns runs that `make` makes of numbers.
fn taught(runs: u32, make: impl Fn(u32) -> Run) -> Predictor {
    let mut predictor = Predictor::default();
    (0..runs).for_each(|number| predictor.learn(&make(number)));
    predictor
}

fn read(path: &str) -> (Action, Observation) {
    let action = call("read", &format!(r#"{{"path":"{path}"}}"#));
    (action, returned("some text"))
}

#[test]
fn nothing_is_known_before_anything_was_learned() {
    let predictor = Predictor::default();
    assert_eq!(predictor.predict(&Run::new("a task"), 3), []);
    assert_eq!(predictor.tools(&Run::new("a task")), []);
}

#[test]
fn what_was_seen_once_is_proposed_and_has_no_confidence() {
    let predictor = taught(1, |_| run("", &[read("a"), read("b")]));
    let candidates = predictor.predict(&Run::new(""), 3);
    assert_eq!(candidates[0].action, read("a").0);
    assert_eq!(candidates[0].confidence, 0.0);
}

/// An agent that lists orders and opens each of them.
fn orders(ids: &[String]) -> Vec<(Action, Observation)> {
    let items: Vec<String> = ids
        .iter()
        .map(|id| format!(r#"{{"id":"{id}","state":"open"}}"#))
        .collect();
    let list = returned(&format!(r#"{{"orders":[{}]}}"#, items.join(",")));
    let mut steps = vec![(call("list_orders", "{}"), list)];
    steps.extend(ids.iter().map(|id| {
        let action = call("open_order", &format!(r#"{{"order":{{"id":"{id}"}}}}"#));
        (action, returned("ok"))
    }));
    steps
}

fn ids(of: u32) -> Vec<String> {
    (0..4).map(|n| format!("order-{of}-{n}")).collect()
}

#[test]
fn the_elements_of_a_list_are_gone_through() {
    let predictor = taught(30, |number| run("", &orders(&ids(number))));
    let steps = orders(&ids(99));
    for known in 1..=4 {
        let run = run("", &steps[..known]);
        let candidates = predictor.predict(&run, 3);
        assert_eq!(candidates[0].action, steps[known].0);
        assert!(candidates[0].confidence > 0.7, "{candidates:?}");
    }
}

#[test]
fn the_argument_of_another_tool_is_taken_over() {
    let edit = |path: &str| {
        let action = call("edit", &format!(r#"{{"file":"{path}","mode":"safe"}}"#));
        (action, returned("done"))
    };
    let habit = |number: u32| {
        let path = format!("src/{number}.rs");
        run("", &[read("README"), read(&path), edit(&path)])
    };
    let predictor = taught(8, habit);
    let found = first(&predictor, &run("", &[read("README"), read("lib/new.rs")]));
    assert_eq!(found, edit("lib/new.rs").0.to_string());
}

#[test]
fn numbers_that_rise_are_continued() {
    let page = |number: u32| {
        let action = call("fetch", &format!(r#"{{"page":{number}}}"#));
        (action, returned("a page"))
    };
    let habit = |number: u32| run("", &[0, 10, 20, 30].map(|n| page(7 * number + n)));
    let predictor = taught(8, habit);
    let found = first(&predictor, &run("", &[page(1000), page(1010)]));
    assert_eq!(found, page(1020).0.to_string());
}

#[test]
fn tokens_of_the_task_and_of_a_text_are_found_again() {
    let habit = |number: u32| {
        let (file, ticket) = (format!("src/f{number}.rs"), format!("AB-{number}"));
        let task = format!("Please fix what is wrong in {file}!");
        let (action, _) = read(&file);
        let seen = returned(&format!("// see ticket {ticket}, please"));
        let ticket = call("open", &format!(r#"{{"ticket":"{ticket}"}}"#));
        let steps = [(action, seen), (ticket, returned("a ticket"))];
        (task, steps)
    };
    let predictor = taught(6, |number| {
        let (task, steps) = habit(number);
        run(&task, &steps)
    });
    let (task, steps) = habit(77);
    for known in 0..2 {
        let found = first(&predictor, &run(&task, &steps[..known]));
        assert_eq!(found, steps[known].0.to_string());
    }
}

#[test]
fn the_keys_of_an_object_are_values_too() {
    let habit = |number: u32| {
        let card = format!("card_{number}");
        let user = returned(&format!(r#"{{"methods":{{"{card}":{{"brand":"x"}}}}}}"#));
        let pay = call("pay", &format!(r#"{{"method":"{card}"}}"#));
        [(call("user", "{}"), user), (pay, returned("paid"))]
    };
    let predictor = taught(6, |number| run("", &habit(number)));
    let steps = habit(50);
    let found = first(&predictor, &run("", &steps[..1]));
    assert_eq!(found, steps[1].0.to_string());
}

#[test]
fn what_comes_next_depends_on_whether_the_last_call_failed() {
    let (build, log, ship) = (
        call("build", "{}"),
        call("read_log", "{}"),
        call("ship", "{}"),
    );
    let failed = Observation::new(ObservationStatus::ToolError, "it failed");
    let habit = |number: u32| match number % 2 {
        0 => run(
            "",
            &[
                (build.clone(), failed.clone()),
                (log.clone(), returned("why")),
            ],
        ),
        _ => run(
            "",
            &[
                (build.clone(), returned("built")),
                (ship.clone(), returned("gone")),
            ],
        ),
    };
    let predictor = taught(6, habit);
    let after = |seen: &Observation| first(&predictor, &run("", &[(build.clone(), seen.clone())]));
    assert_eq!(after(&failed), log.to_string());
    assert_eq!(after(&returned("built")), ship.to_string());
}

#[test]
fn the_same_argument_may_come_from_elsewhere_after_another_tool() {
    // Out and back: a search after a search goes where the last one came from; one after a
    // look at the map goes to what the map shows.
    let search = |to: &str| {
        let action = call("search", &format!(r#"{{"from":"home","to":"{to}"}}"#));
        (action, returned("none"))
    };
    let map = |town: &str| {
        (
            call("map", "{}"),
            returned(&format!(r#"{{"town":"{town}"}}"#)),
        )
    };
    let habit = |number: u32| {
        let (one, two) = (format!("A{number}"), format!("B{number}"));
        run(
            "",
            &[
                map(&one),
                search(&one),
                search(&one),
                map(&two),
                search(&two),
                search(&two),
            ],
        )
    };
    let predictor = taught(8, habit);
    let steps = [map("X"), search("X"), search("X"), map("Y")];
    assert_eq!(
        first(&predictor, &run("", &steps)),
        search("Y").0.to_string()
    );
    assert_eq!(
        first(&predictor, &run("", &steps[..2])),
        search("X").0.to_string()
    );
}

#[test]
fn a_question_to_the_user_is_never_proposed() {
    let ask = call(ASK_USER, r#"{"question":"which one?"}"#);
    let predictor = taught(20, |_| run("", &[(ask.clone(), returned("the first"))]));
    assert_eq!(predictor.tools(&Run::new(""))[0].0, ASK_USER);
    assert_eq!(predictor.predict(&Run::new(""), 8), []);
}

#[test]
fn a_run_without_end_is_neither_predicted_nor_learned() {
    let mut endless = Run::new("");
    (0..1000).for_each(|_| endless.push(&read("a").0, None));
    let mut predictor = taught(3, |_| run("", &[read("a"), read("b")]));
    let before = predictor.clone();
    predictor.learn(&endless);
    assert_eq!(predictor, before);
    assert_eq!(predictor.predict(&endless, 3), []);
}
