//! Long runs can be read, and no run has a picture without end.

use crate::log::{Log, draw, plan};
use crate::page::{groups, lane, parse, place, rows, texts};
use forerun_report::SVG_BYTES_MAX;
use forerun_types::{AskEnd, EventKind, Role};
use std::collections::BTreeSet;

/// As wide as the widest picture; programs open it.
const WIDTH_MAX: f64 = 30_200.0;

#[test]
fn two_hundred_steps_have_their_numbers() {
    for steps in [1, 12, 200] {
        let svg = draw(&plan(steps).events);
        let page = parse(&svg);
        let width: f64 = page
            .root_element()
            .attribute("width")
            .unwrap()
            .parse()
            .unwrap();
        assert!(width <= WIDTH_MAX);
        for name in ["lane approximation", "lane target"] {
            let bars = groups(lane(&page, name).unwrap(), "bar");
            let mut numbers = BTreeSet::new();
            for bar in &bars {
                let number = texts(*bar).first().and_then(|text| text.split(' ').next());
                let number: Option<u32> = number.and_then(|number| number.parse().ok());
                numbers.insert(number.unwrap_or_else(|| panic!("{name}: {:?}", place(*bar))));
            }
            assert!(numbers.len() >= steps as usize, "{name}");
        }
        assert!(
            svg.len() < 3_000 * steps as usize + 20_000,
            "{} bytes",
            svg.len()
        );
    }
}

#[test]
fn a_log_without_end_has_a_picture_with_one() {
    let mut log = Log::default();
    log.opened();
    // The longest that may be said, of what takes the most room.
    let reason = "\"".repeat(200);
    for call in 0..17_000 {
        log.asked(call, call, Role::Target, u32::MAX);
        log.answered(call + 5, call, Role::Target, u32::MAX, &"\"".repeat(128));
        log.call_ended(call + 9, call, Role::Target, u32::MAX, AskEnd::Dropped);
        let last = log.events.last_mut().unwrap();
        if let EventKind::CallEnded { reason: of_it, .. } = &mut last.kind {
            of_it.clone_from(&reason);
        }
    }
    let svg = draw(&log.events);
    assert!(svg.len() <= SVG_BYTES_MAX, "{} bytes", svg.len());
    let page = parse(&svg);
    let said = texts(page.root_element());
    let left_out = said
        .iter()
        .any(|text| text.ends_with("events; a picture has at most 16000 things."));
    assert!(left_out, "it says so");
}

#[test]
fn a_thousand_calls_at_once_have_few_rows() {
    let mut log = Log::default();
    log.opened();
    for call in 0..1_000 {
        log.asked(10, call, Role::Target, 3);
    }
    log.ended(900, 0);
    let svg = draw(&log.events);
    let page = parse(&svg);
    let target = lane(&page, "lane target").unwrap();
    assert_eq!(rows(target), 48);
    assert!(
        texts(page.root_element()).contains(&"Left out: 952 bars; a lane has at most 48 rows.")
    );
}
