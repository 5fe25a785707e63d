//! Recorded runs: what is refused, and what a replay takes.

use forerun_planner::Config;
use forerun_simulate::meter::Run;
use forerun_simulate::preset::Preset;
use forerun_simulate::replay::{Replay, compare};
use forerun_simulate::trace::{self, Episode};
use proptest::prelude::*;
use std::error::Error;

/// Three steps; the second candidate is wrong.
const TRACE: &str = r#"
{"trace":"made","task":1,"step":0,"approximation":{"candidates":[{"tool":"read","arguments":{"path":"a"}}],"seconds":1,"output_tokens":10},"target":{"action":{"tool":"read","arguments":{ "path" : "a" }},"output_tokens":20}}
{"trace":"made","task":1,"step":1,"approximation":{"candidates":[{"tool":"read","arguments":{"path":"b"}},{"tool":"read","arguments":{"path":"c"}}],"seconds":1,"output_tokens":10},"target":{"action":{"tool":"read","arguments":{"path":"c"}},"output_tokens":20}}
{"trace":"made","task":1,"step":2,"approximation":{"candidates":[{"tool":"end","arguments":{}}],"seconds":1,"output_tokens":10},"target":{"action":{"tool":"end","arguments":{}},"output_tokens":20}}
"#;

fn replay(preset: Preset) -> Replay {
    Replay {
        config: preset.config(),
        target_seconds: 5.0,
    }
}

fn only(text: &str) -> Episode {
    let mut episodes = trace::parse(text).expect("a trace");
    assert_eq!(episodes.len(), 1);
    episodes.remove(0)
}

#[test]
fn a_recorded_run_takes_what_it_takes_by_hand() {
    // T(0) 0..5, A(0) 0..1; T(1) 1..6, A(1) 1..2 is wrong; T(2) 2..6 and A(2) 2..3 below it are
    // in vain; T(2) 6..11, A(2) 6..7.
    let run = replay(Preset::Isp).run(&only(TRACE));
    assert_eq!(run.seconds, 11.0);
    assert_eq!((run.target_calls, run.approximation_calls), (4, 4));
    assert_eq!((run.matched, run.mismatched), (2, 1));
    assert_eq!((run.executions, run.wasted_executions), (5, 2));
    assert_eq!(run.tokens.launched, 4.0 * 20.0 + 4.0 * 10.0);
    assert_eq!(run.wasted.launched, 20.0 + 10.0 + 10.0);
    assert_eq!(run.wasted.pro_rated, 20.0 * 4.0 / 5.0 + 10.0 + 10.0);
}

#[test]
fn without_speculation_a_recorded_run_takes_the_time_of_its_target() {
    let run = replay(Preset::Off).run(&only(TRACE));
    assert_eq!((run.seconds, run.approximation_calls), (15.0, 0));
    assert_eq!(run.wasted.launched, 0.0);
}

#[test]
fn each_source_has_a_row_for_each_preset() {
    let episodes = trace::parse(TRACE).expect("a trace");
    let arms = [
        ("off", replay(Preset::Off)),
        ("isp", replay(Preset::Isp)),
        ("speculative-actions", replay(Preset::SpeculativeActions)),
    ];
    let expected = "\
source,preset,runs,steps,right_first,right_any,seconds,speedup,target_calls,approximation_calls,executions,wasted_executions,tokens,wasted_tokens,wasted_pro_rated
made,off,1,3,,1.000,15.0,1.000,3,0,3,0,60,0,0
made,isp,1,3,0.667,1.000,11.0,1.364,4,4,5,2,120,40,36
made,speculative-actions,1,3,0.667,1.000,15.0,1.000,3,3,4,1,90,10,10
";
    assert_eq!(compare(&episodes, &arms).csv(), expected);
}

#[test]
fn a_run_without_candidates_takes_the_time_of_its_target() {
    let text = r#"{"trace":"calls","task":3,"trial":1,"calls":[{"tool":"a","arguments":{}},{"tool":"b","arguments":{}}]}"#;
    let episode = only(text);
    assert_eq!(
        (episode.source.as_str(), episode.task.as_str()),
        ("calls", "3")
    );
    let run: Run = replay(Preset::Isp).run(&episode);
    assert_eq!((run.seconds, run.hit_rate()), (10.0, None));
    assert_eq!(run.approximation_calls, 0);
}

#[test]
fn trials_and_arms_are_runs_of_their_own() {
    let text = r#"{"trace":"x","task":1,"trial":0,"calls":[]}
{"trace":"x","task":1,"trial":1,"calls":[]}
{"trace":"x","arm":"fast","task":"1","step":0,"target":{"action":{"tool":"a","arguments":{}},"seconds":2}}
{"trace":"x","arm":"slow","task":"1","step":0,"target":{"action":{"tool":"a","arguments":{}},"seconds":3}}"#;
    let episodes = trace::parse(text).expect("a trace");
    let sources: Vec<&str> = episodes
        .iter()
        .map(|episode| episode.source.as_str())
        .collect();
    assert_eq!(sources, ["x", "x", "x: fast", "x: slow"]);
    assert_eq!(replay(Preset::Isp).run(&episodes[0]), Run::default());
    assert_eq!(replay(Preset::Isp).run(&episodes[3]).seconds, 3.0);
}

#[test]
fn what_is_no_trace_is_refused_with_its_place() {
    let call = r#"{"tool":"a","arguments":{}}"#;
    let step = |number: u32, rest: &str| {
        format!(r#"{{"trace":"x","task":1,"step":{number},"target":{{"action":{call}{rest}}}}}"#)
    };
    let many = vec![call; 65].join(",");
    let table = [
        ("nonsense".to_owned(), "trace_line_invalid", "line 1"),
        (
            format!("\n\n{}", step(1, "")),
            "trace_step_out_of_order",
            "line 3, step",
        ),
        (
            format!("{0}\n{0}", step(0, "")),
            "trace_step_out_of_order",
            "line 2, step",
        ),
        (
            r#"{"trace":"x","task":1}"#.to_owned(),
            "trace_line_unknown",
            "line 1",
        ),
        (
            step(0, r#","seconds":-1"#),
            "trace_seconds_invalid",
            "line 1, target",
        ),
        (
            step(0, r#","seconds":1e9"#),
            "trace_seconds_invalid",
            "line 1, target",
        ),
        (
            r#"{"trace":"x","task":1,"calls":[{"tool":"a","arguments":{"a":1,"a":2}}]}"#.to_owned(),
            "trace_action_invalid",
            "line 1, calls",
        ),
        (
            step(0, &format!(r#"}},"approximation":{{"candidates":[{many}]"#)),
            "trace_limit",
            "line 1, approximation",
        ),
        (
            format!("\"{}\"", "x".repeat(5 << 20)),
            "trace_limit",
            "line 1",
        ),
    ];
    for (text, code, place) in table {
        let error = trace::parse(&text).expect_err(code);
        assert_eq!(error.code(), code);
        assert_eq!(
            error.to_string(),
            format!("failed to read a trace: {place}")
        );
        assert!(error.source().is_some());
    }
}

#[test]
fn presets_are_known_by_their_names() {
    for preset in Preset::ALL {
        assert_eq!(preset.name().parse(), Ok(preset));
    }
    assert!("fast".parse::<Preset>().is_err());
}

/// A run of random times and candidates.
fn episode() -> impl Strategy<Value = String> {
    let step = (0..90u32, 0..60u32, 0..20u32, any::<bool>());
    prop::collection::vec(step, 1..20).prop_map(|steps| {
        let lines = steps.iter().enumerate().map(|(number, (t, a, e, right))| {
            let guess = if *right { "right" } else { "wrong" };
            format!(
                r#"{{"trace":"x","task":1,"step":{number},"approximation":{{"candidates":[{{"tool":"{guess}","arguments":{{"n":{number}}}}}],"seconds":{a}}},"target":{{"action":{{"tool":"right","arguments":{{"n":{number}}}}},"seconds":{t}}},"execute":{{"seconds":{e}}}}}"#
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn speculation_never_makes_a_recorded_run_slower(text in episode(), depth in 1..8u32) {
        let episode = only(&text);
        let off = replay(Preset::Off).run(&episode).seconds;
        let config = Config { depth, ..Preset::Isp.config() };
        let fixed = Replay { config, target_seconds: 5.0 };
        for replay in [fixed, replay(Preset::Isp), replay(Preset::Dynamic)] {
            let run = replay.run(&episode);
            prop_assert!(run.seconds <= off, "{} > {off}", run.seconds);
            prop_assert_eq!(run.verified.len(), episode.steps.len());
        }
    }
}
