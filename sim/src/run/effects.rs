//! Every kind of fault does something: a run with it goes another way than the same run without, in what brokers, controllers
//! and clients say, and not only in that the fault is told of.

use super::*;
use crate::faults::hold;

/// Somebody writes, deletes, reads; segments are small and soon deleted, so that clocks and closed segments matter.
const SCENARIO: &str = r#"
title = "One fault"
lasts = "12s"
[cluster]
combined = false
[cluster.properties]
"log.retention.check.interval.ms" = "500"
[[topic]]
name = "orders"
[topic.configs]
"segment.bytes" = "1024"
"retention.ms" = "60000"
[[workload]]
kind = "produce"
topic = "orders"
rate_per_s = 40
[[workload]]
kind = "consume"
topic = "orders"
"#;

/// What everybody said in a run, but the world.
fn said(scenario: &Scenario) -> (Outcome, Vec<String>) {
    let outcome = run(scenario, 1, Options { keep: Some(0..u64::MAX), ..Options::default() });
    assert!(outcome.failure.is_none(), "{:?} {:?}", outcome.failure, outcome.story);
    let is_worlds = |line: &&String| line.contains(" n0 ");
    let others = outcome.kept.iter().filter(|line| !is_worlds(line));
    // Without the number of the event, which counts what the world says too.
    let said = others.filter_map(|line| line.split_once(' ')).map(|(_, rest)| rest.to_owned()).collect();
    (outcome, said)
}

#[test]
fn every_kind_of_fault_changes_what_somebody_says() {
    let quiet = Scenario::parse(SCENARIO).expect("a valid file");
    let (_, without) = said(&quiet);
    let mut idle = Vec::new();
    for kind in faults::all() {
        let step = Step {
            at: Some(Span::millis(4_000)),
            fault: Some(kind.name.into()),
            node: Some("leader of orders-0".into()),
            lasts: Some(Span::millis(3_000)),
            // At its most a loss leaves a connection asleep for longer than a cluster may take to become whole, as TCP does.
            strength: kind.strength.map(|(least, most)| (most / 2).max(least)),
            api: kind.name.starts_with("hold-").then(|| hold::APIS[1].into()),
            ..Step::default()
        };
        let (outcome, with) = said(&Scenario { timeline: vec![step], ..quiet.clone() });
        assert_eq!(outcome.faults.get(kind.name), Some(&1), "{} does not begin", kind.name);
        if with == without {
            idle.push(kind.name);
        }
    }
    assert_eq!(idle, Vec::<&str>::new());
}
