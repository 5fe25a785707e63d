//! What a decision costs: a call, a call with long arguments, and a path inside a sandbox,
//! under `coding` and under a set of a thousand policies.
//!
//! `cargo bench -p forerun-policy --bench decide`. The reference is the smallest set there is
//! (one permit): what a request costs, whatever the policies. On two virtual cores, the fastest
//! tenth of the samples, since other work ran beside them:
//!
//! | | time |
//! |---|---|
//! | reference: one policy | 1.5 µs |
//! | `coding` | 2.3 µs |
//! | `coding`, 4 KiB of arguments | 3.3 µs |
//! | 1,000 policies | 75 µs |
//!
//! A policy whose condition a rule does not know itself (a sum, an address) costs what Cedar
//! needs for it, and the first of a decision what it takes to put the request into Cedar's
//! values.

use criterion::{Criterion, criterion_group, criterion_main};
use forerun_policy::{CallRequest, Counters, PolicySet};
use forerun_types::{
    Action, Annotations, Digest, Source, Speculation, StepIndex, ToolDescription, Touch, fold,
};
use serde_json::json;
use std::fmt::Write;
use std::hint::black_box;

/// Long arguments, in bytes.
const LONG: usize = 4 << 10;
/// Policies of the large set.
const MANY: usize = 1_000;
/// Policies of the set that is left to Cedar, but for one.
const LEFT: usize = 100;

fn tools() -> Vec<ToolDescription> {
    let text = json!({ "type": "string" });
    let schema = json!({
        "type": "object",
        "properties": { "path": text, "content": text },
    });
    let tool = |name: &str| ToolDescription {
        name: name.to_owned(),
        title: name.to_owned(),
        description: String::new(),
        input_schema: schema.clone(),
        output_schema: None,
        annotations: Annotations::default(),
        deterministic: true,
        speculation: Speculation::Contained,
        component: Digest::of(name),
        client: false,
    };
    ["write_file", "read_file", "grep", "delete"]
        .map(tool)
        .to_vec()
}

fn write_file(content_bytes: usize) -> Action {
    let arguments = json!({ "path": "src/lib.rs", "content": "x".repeat(content_bytes) });
    Action::parse("write_file", &arguments.to_string()).expect("valid")
}

fn decide(set: &PolicySet, action: &Action) -> bool {
    let decision = set.decide_call(&CallRequest {
        principal: Source::Approximation,
        action,
        step: StepIndex(3),
        depth: 2,
        speculative: true,
        counters: Counters::default(),
        read_sensitive: false,
    });
    decision.policies.is_empty()
}

fn decisions(criterion: &mut Criterion) {
    let one = "@id(\"all\") permit (principal, action in Action::\"call\", resource);";
    let one = PolicySet::load("one", one, &tools()).expect("valid");
    let coding = PolicySet::ready("coding", &tools()).expect("valid");
    let mut many = String::from("@id(\"all\") permit (principal, action, resource);\n");
    for id in 0..MANY - 1 {
        let _ = writeln!(
            many,
            "@id(\"p{id}\") forbid (principal, action in Action::\"call\", resource) \
             when {{ context.step == {id} && context.depth > 50 }};"
        );
    }
    let many = PolicySet::load("many", &many, &tools()).expect("valid");
    let mut left = String::from("@id(\"all\") permit (principal, action, resource);\n");
    for id in 0..LEFT - 1 {
        let _ = writeln!(
            left,
            "@id(\"p{id}\") forbid (principal, action in Action::\"call\", resource) \
             when {{ context.step + context.depth > {} }};",
            id + LEFT
        );
    }
    let left = PolicySet::load("left", &left, &tools()).expect("valid");
    let (short, long) = (write_file(20), write_file(LONG));
    let mut group = criterion.benchmark_group("decision");
    group.bench_function("reference: one policy", |b| {
        b.iter(|| decide(&one, black_box(&short)))
    });
    group.bench_function("coding", |b| b.iter(|| decide(&coding, black_box(&short))));
    group.bench_function("coding, 4 KiB of arguments", |b| {
        b.iter(|| decide(&coding, black_box(&long)));
    });
    group.bench_function("1,000 policies", |b| {
        b.iter(|| decide(&many, black_box(&short)))
    });
    group.bench_function("100 policies that are left to Cedar", |b| {
        b.iter(|| decide(&left, black_box(&short)))
    });
    group.finish();

    let mut group = criterion.benchmark_group("path");
    for (name, set) in [("coding", &coding), ("1,000 policies", &many)] {
        let rules = set.path_rules(Source::Approximation, true);
        let directory = rules.in_directory("/workspace/src");
        let path = "/workspace/src/lib.rs";
        group.bench_function(format!("{name}, whole path"), |b| {
            b.iter(|| {
                rules
                    .decide(Touch::Write, black_box(path), &fold(path))
                    .is_ok()
            });
        });
        group.bench_function(format!("{name}, directory known"), |b| {
            b.iter(|| directory.allow(Touch::Write, black_box("lib.rs")));
        });
    }
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
