//! Pure. From a seed to a scenario: which faults may happen at all, how often, how long, how strong, and to whom.
//!
//! Swarm testing (Groce and others, 2012): each seed switches most kinds off, so that the ones that are on meet each other.

use crate::{
    event::Budget,
    faults::{self, hold},
    scenario::{Acks, Assigning, Cluster, Delivers, Expect, Scenario, Span, Step, Topic, Workload, WorkloadKind},
};
use draws::Draws;
use std::collections::BTreeMap;

mod draws;
mod variation;

/// How long the faults' phase lasts, in milliseconds.
const LASTS_MS: u64 = 45_000;
/// No fault begins before, so that there is something to break, nor later than this before the end.
const QUIET_MS: u64 = 2_000;

/// The kinds of faults that cost a leader its lead.
const DEPOSING: [&str; 5] = ["kill", "power-loss", "pause", "restart", "isolate"];
/// The kinds that may hit all nodes at once; the fault budget says how many it may be.
const AT_ONCE: [&str; 4] = ["kill", "power-loss", "pause", "restart"];
/// Ordinals of the draws under a kind's name: whether it is on, and its bid for each step.
const ON: u64 = 0;
const FIRST_BID: u64 = 1;
/// Who coordinates the only group.
const COORDINATOR: &str = "leader of __consumer_offsets-0";
/// The kinds that leave something rotten.
const ROT: [&str; 3] = ["bit-flip", "header-flip", "misdirected-write"];
/// How soon after one of these whoever leads next may fall too, in milliseconds.
const HEIR_MS_MAX: u64 = 2_000;

/// So many seeds of a hundred have a consumer group.
const GROUP: u64 = 30;
/// One seed in so many varies a kept story.
const VARIED_EVERY: u64 = 8;

/// The scenario of a seed: mostly whatever the dice say, now and then a variation of a story that is kept because it is
/// dangerous.
pub fn scenario(seed: u64) -> Scenario {
    let draws = Draws { seed };
    match draws.draw("varied", 0).is_multiple_of(VARIED_EVERY) {
        true => variation::scenario(&draws),
        false => drawn(&draws),
    }
}

fn drawn(draws: &Draws) -> Scenario {
    let seed = draws.seed;
    let partitions = partitions(draws);
    // Mostly what people run. A leader that may be alone in sync is a world of its own, and so is one that waits for all.
    let (replicas, min_insync_replicas) = match draws.draw("replicas", 0) % 10 {
        0 | 1 => (2, 1),
        2 => (3, 1),
        3 => (3, 3),
        _ => (3, 2),
    };
    let mut workloads = vec![Workload {
        kind: WorkloadKind::Produce,
        topic: "orders".into(),
        clients: draws.between("clients", 0, 1, 3) as i32,
        rate_per_s: draws.log_between("rate", 0, 5, 60) as u32,
        acks: Acks::All,
        waits: draws.chance("waits", 0, 50),
        idempotent: true,
        gives_up: None,
        records: None,
        keys: None,
        assigning: Assigning::default(),
        delivers: Delivers::default(),
    }];
    if draws.chance("consume", 0, 50) {
        workloads.push(Workload { kind: WorkloadKind::Consume, clients: 1, ..workloads[0].clone() });
    }
    workloads.extend(group(draws, &workloads[0]));
    if draws.chance("reread", 0, 25) {
        workloads.push(Workload { kind: WorkloadKind::Reread, clients: 1, ..workloads[0].clone() });
    }
    if draws.chance("mixed-acks", 0, 30) {
        // Whoever waits for all and soon gives up is told of refusals.
        let gives_up = Some(Span::millis(draws.log_between("gives-up", 0, 500, 5_000)));
        let (acks, gives_up) = match draws.draw("acks", 0) % 4 {
            0 => (Acks::Zero, None),
            1 => (Acks::One, None),
            _ => (Acks::All, gives_up),
        };
        workloads.push(Workload { clients: 1, acks, idempotent: false, gives_up, ..workloads[0].clone() });
    }
    workloads.extend(operators(draws, &workloads[0]));
    let nodes = Nodes::draw(draws, &workloads);
    let (replicas, min_insync_replicas) = (replicas.min(nodes.brokers as i16), min_insync_replicas.min(nodes.brokers));
    let configs = compaction(draws, &mut workloads).unwrap_or_else(|| retention(draws));
    let mut topics = vec![Topic { name: "orders".into(), partitions, replicas, min_insync_replicas, configs }];
    if draws.chance("recreate", 0, 20) {
        topics.push(Topic { name: "fleeting".into(), partitions: 1, ..topics[0].clone() });
        workloads.push(Workload {
            kind: WorkloadKind::Recreate,
            topic: "fleeting".into(),
            clients: 1,
            ..workloads[0].clone()
        });
    }
    Scenario {
        title: format!("what the swarm drew from seed {seed:x}"),
        seeds: vec![seed],
        pins: Vec::new(),
        lasts: Span::millis(LASTS_MS),
        cluster: cluster(draws, nodes, &workloads),
        timeline: timeline(draws, nodes.brokers, has_group(&workloads)),
        topics,
        workloads,
        expect: Expect::default(),
    }
}

/// Who shares out one or two partitions hardly ever takes back what was to go: with more of them more is found.
fn partitions(draws: &Draws) -> i32 {
    let has_many = draws.chance("group", 0, GROUP) && draws.chance("many-partitions", 0, 60);
    let (least, most) = if has_many { (4, 8) } else { (1, 3) };
    draws.between("partitions", 0, least, most) as i32
}

/// The members of a group, if there is one.
fn group(draws: &Draws, like: &Workload) -> Option<Workload> {
    let assigning = Assigning::ALL[draws.draw("assigning", 0) as usize % Assigning::ALL.len()];
    let clients = draws.between("members", 0, 1, 4) as i32;
    let delivers = if draws.chance("delivers", 0, 25) { Delivers::AtMostOnce } else { Delivers::AtLeastOnce };
    let members = Workload { kind: WorkloadKind::Group, clients, assigning, delivers, ..like.clone() };
    draws.chance("group", 0, GROUP).then_some(members)
}

/// The operators of the topic, each on a machine of its own.
fn operators(draws: &Draws, like: &Workload) -> Vec<Workload> {
    let operators = [
        (WorkloadKind::Reassign, draws.chance("reassign", 0, 20)),
        (WorkloadKind::Reconfigure, draws.chance("reconfigure", 0, 15)),
        (WorkloadKind::DeleteRecords, draws.chance("delete-records", 0, 15)),
        (WorkloadKind::Grow, draws.chance("grow", 0, 15)),
        (WorkloadKind::Throttle, draws.chance("throttle", 0, 10)),
    ];
    let on = operators.into_iter().filter(|(_, on)| *on);
    on.map(|(kind, _)| Workload { kind, clients: 1, ..like.clone() }).collect()
}

/// The load by which the simulator's speed is measured: five brokers, three controllers apart, six clients that write 500
/// records a second between them with three replicas each, and the faults that the seed draws.
pub fn load(seed: u64) -> Scenario {
    const BROKERS: i32 = 5;
    let produce = Workload {
        kind: WorkloadKind::Produce,
        topic: "orders".into(),
        clients: 6,
        rate_per_s: 83,
        acks: Acks::All,
        waits: false,
        idempotent: true,
        gives_up: None,
        records: None,
        keys: None,
        assigning: Assigning::default(),
        delivers: Delivers::default(),
    };
    let orders =
        Topic { name: "orders".into(), partitions: 6, replicas: 3, min_insync_replicas: 2, configs: BTreeMap::new() };
    Scenario {
        title: format!("500 records a second under what the swarm drew from seed {seed:x}"),
        seeds: vec![seed],
        pins: Vec::new(),
        lasts: Span::millis(LASTS_MS),
        cluster: Cluster { brokers: BROKERS, combined: false, ..Cluster::default() },
        timeline: timeline(&Draws { seed }, BROKERS, false),
        topics: vec![orders],
        workloads: vec![produce],
        expect: Expect::default(),
    }
}

/// How the topic keeps the last record of each key, if it does, and of how few keys the records are. Nobody deletes its records
/// by hand then: that is not allowed.
fn compaction(draws: &Draws, workloads: &mut [Workload]) -> Option<BTreeMap<String, String>> {
    let is_on = draws.chance("compaction", 0, 20);
    if !is_on || workloads.iter().any(|workload| workload.kind == WorkloadKind::DeleteRecords) {
        return None;
    }
    let keys = draws.log_between("keys", 0, 2, 60) as u32;
    workloads.iter_mut().for_each(|workload| workload.keys = Some(keys));
    let configs = [
        ("cleanup.policy", "compact".to_string()),
        ("min.cleanable.dirty.ratio", "0.05".to_string()),
        ("segment.bytes", draws.log_between("compacted-segment", 0, 512, 8_192).to_string()),
        ("delete.retention.ms", draws.log_between("delete-retention", 0, 15_000, 60_000).to_string()),
        ("file.delete.delay.ms", "1000".to_string()),
    ];
    Some(configs.map(|(key, value)| (key.to_string(), value)).into())
}

/// How the topic lets go of its records, if it does: some seconds' worth, or some segments.
fn retention(draws: &Draws) -> BTreeMap<String, String> {
    let mut configs = BTreeMap::new();
    let mut set = |key: &str, value: u64| configs.insert(key.to_string(), value.to_string());
    match draws.draw("retention", 0) % 8 {
        0 => drop(set("retention.ms", draws.log_between("retention-ms", 0, 1_000, 10_000))),
        1 => drop(set("retention.bytes", draws.log_between("retention-bytes", 0, 2_048, 32_768))),
        _ => return configs,
    }
    set("segment.bytes", draws.log_between("retained-segment", 0, 1_024, 8_192));
    set("file.delete.delay.ms", 1_000);
    configs
}

/// The nodes of a cluster.
#[derive(Clone, Copy)]
struct Nodes {
    brokers: i32,
    controllers: i32,
    combined: bool,
}

impl Nodes {
    /// Mostly as many as most clusters have; now and then one alone, or many, and more where partitions move.
    fn draw(draws: &Draws, workloads: &[Workload]) -> Self {
        let moves = workloads.iter().any(|workload| workload.kind == WorkloadKind::Reassign);
        let brokers = match draws.draw("brokers", 0) % 20 {
            _ if moves => draws.between("brokers", 1, 4, 5),
            0 => 1,
            1 => 2,
            2 | 3 => draws.between("brokers", 2, 4, 7),
            _ => 3,
        } as i32;
        let controllers = match draws.draw("controllers", 0) % 10 {
            0 => 1,
            1 => 5,
            _ => 3,
        };
        // An even number of controllers spares no more of them than one less.
        let odd = |count: i32| count - (count + 1) % 2;
        match draws.chance("combined", 0, 60) {
            true => Self { brokers, controllers: odd(controllers.min(brokers)), combined: true },
            false => Self { brokers, controllers, combined: false },
        }
    }
}

/// What a record of a workload takes in a log when it is alone in its batch.
const RECORD_BYTES: u64 = 90;

fn cluster(draws: &Draws, nodes: Nodes, workloads: &[Workload]) -> Cluster {
    let producing = workloads.iter().filter(|workload| workload.kind == WorkloadKind::Produce);
    let longest = draws.log_between("delay", 0, 200, 20_000);
    // A follower that may fetch less than is written while a fetch is on its way never catches up: four times as much.
    let records_per_s: u64 = producing.map(|workload| workload.clients as u64 * u64::from(workload.rate_per_s)).sum();
    let round_trip_us = 2 * longest + 5_000;
    let fetch_least = (4 * records_per_s * RECORD_BYTES * round_trip_us / 1_000_000).max(512);
    let mut properties = BTreeMap::new();
    let mut set = |name: &str, value: u64| properties.insert(name.to_string(), value.to_string());
    set("log.segment.bytes", draws.log_between("segment", 0, 2_048, 65_536));
    set("replica.lag.time.max.ms", draws.between("lag", 0, 1_000, 5_000));
    set("replica.fetch.max.bytes", draws.log_between("fetch", 0, fetch_least, 65_536));
    set("broker.session.timeout.ms", draws.between("session", 0, 2_000, 4_000));
    set("log.retention.check.interval.ms", draws.log_between("retention-check", 0, 300, 3_000));
    // What groups remember grows old within a run where a clock jumps, and is read back in many pieces.
    set("offsets.retention.check.interval.ms", draws.log_between("offsets-check", 0, 300, 5_000));
    set("offsets.load.buffer.size", draws.log_between("offsets-load", 0, 1_024, 1 << 20));
    if draws.chance("offsets-retention", 0, 50) {
        set("offsets.retention.minutes", 1);
    }
    // Where more is destroyed than a cluster can bear, less can be said of it.
    let budget = match (draws.chance("beyond", 0, 8), draws.chance("edge", 0, 15)) {
        (true, _) => Budget::Beyond,
        (false, true) => Budget::Edge,
        (false, false) => Budget::Within,
    };
    let Nodes { brokers, controllers, combined } = nodes;
    Cluster { brokers, controllers, combined, budget, delay_us: (longest / 10, longest), properties }
}

fn has_group(workloads: &[Workload]) -> bool {
    workloads.iter().any(|workload| workload.kind == WorkloadKind::Group)
}

fn timeline(draws: &Draws, brokers: i32, has_group: bool) -> Vec<Step> {
    let anybody = |what, step| draws.between(what, step, 1, brokers as u64).to_string();
    let mut on: Vec<_> = faults::all().iter().filter(|kind| draws.chance(kind.name, ON, 50)).collect();
    // A run in which nobody has to give up a lead shows little.
    if !on.iter().any(|kind| DEPOSING.contains(&kind.name)) {
        let any = DEPOSING[draws.draw("deposing", 0) as usize % DEPOSING.len()];
        on.extend(faults::find(any));
    }
    // Short pauses between faults, or long ones: fixed for a seed.
    let pause_ms = draws.log_between("pause", 0, 500, 8_000);
    let mut steps = Vec::new();
    let mut at = QUIET_MS;
    for step in 0.. {
        at += draws.between("begin", step, pause_ms / 2, pause_ms * 3 / 2);
        if at + QUIET_MS > LASTS_MS {
            break;
        }
        // The story begins with somebody's fall.
        let fall = on.iter().find(|kind| step == 0 && DEPOSING.contains(&kind.name));
        // Each kind bids for each step, so that one kind more moves only the steps that it gets.
        let most = on.iter().max_by_key(|kind| draws.draw(kind.name, FIRST_BID + step));
        let kind = fall.or(most).expect("one of the deposing kinds is on");
        let least = if fall.is_some() { 4_500 } else { 200 };
        let lasts = draws.log_between("lasts", step, least, kind.lasts_ms_max);
        // Half of the faults aim at whoever leads, or coordinates the group; the other half at anybody.
        let node = match draws.draw("whom", step) % 8 {
            _ if fall.is_some() => "leader of orders-0".to_string(),
            0 | 1 if has_group => COORDINATOR.to_string(),
            0..=3 => "leader of orders-0".to_string(),
            4 => "active controller".to_string(),
            5 if AT_ONCE.contains(&kind.name) && draws.chance("everybody", step, 50) => "all".to_string(),
            _ => anybody("node", step),
        };
        steps.push(Step {
            at: Some(Span::millis(at)),
            fault: Some(kind.name.into()),
            node: Some(node.clone()),
            other: Some(anybody("other", step)),
            lasts: Some(Span::millis(lasts)),
            strength: kind.strength.map(|(least, most)| draws.log_between("strength", step, least, most)),
            api: kind
                .name
                .starts_with("hold-")
                .then(|| hold::APIS[draws.draw("api", step) as usize % hold::APIS.len()].into()),
            ..Step::default()
        });
        steps.extend(consequences(draws, step, (kind.name, &node), (at, lasts), brokers));
        // Half of the time the next fault comes while this one lasts.
        at += if draws.chance("overlap", step, 50) { 0 } else { lasts };
    }
    steps
}

/// What comes with a fault now and then: an operator who restarts one node restarts the others too, one after another; and
/// whoever leads next falls soon after, while it has hardly been heard of.
fn consequences(
    draws: &Draws,
    step: u64,
    (kind, node): (&str, &String),
    (at, lasts): (u64, u64),
    brokers: i32,
) -> Vec<Step> {
    let fault = |at, kind: &str, node: String, lasts| Step {
        at: Some(Span::millis(at)),
        fault: Some(kind.into()),
        node: Some(node),
        lasts: Some(Span::millis(lasts)),
        ..Step::default()
    };
    let mut steps = Vec::new();
    if kind == "restart" && draws.chance("roll", step, 30) {
        let pause = draws.log_between("roll-pause", step, 300, 5_000);
        steps.extend((1..=brokers).map(|id| fault(at + lasts + id as u64 * pause, kind, id.to_string(), lasts)));
    }
    // What rotted shows when it is read: whoever has it starts again, perhaps without what it knew of its log.
    if ROT.contains(&kind) && draws.chance("rot-read", step, 60) {
        for reader in 0..draws.between("rot-readers", step, 1, 2) {
            let nth = step * 2 + reader;
            let begins = at + draws.log_between("rot-read-at", nth, 100, 4_000);
            let by = draws.draw("rot-read-by", nth) as usize % (2 * DEPOSING.len());
            let what = DEPOSING.get(by).unwrap_or(&"lost-files");
            let lasts = draws.log_between("rot-read-lasts", nth, 100, 3_000);
            let strength = Some(draws.draw("rot-read-strength", nth) >> 24);
            steps.push(Step { strength, ..fault(begins, what, node.clone(), lasts) });
        }
    }
    if DEPOSING.contains(&kind) && draws.chance("heir", step, 20) {
        let begins = at + draws.log_between("heir-at", step, 100, HEIR_MS_MAX);
        let lasts = draws.log_between("heir-lasts", step, 200, 8_000);
        steps.push(fault(begins, "kill", "leader of orders-0".into(), lasts));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_seed_is_a_file_and_the_file_is_the_seed() {
        for seed in 0..50 {
            let drawn = scenario(seed);
            assert_eq!(Scenario::parse(&drawn.to_toml()).expect("the swarm's own file"), drawn);
        }
    }

    #[test]
    fn every_kind_of_fault_is_drawn() {
        let drawn: BTreeSet<String> =
            (0..200).flat_map(|seed| scenario(seed).timeline).filter_map(|step| step.fault).collect();
        let known: BTreeSet<String> = faults::all().iter().map(|kind| kind.name.to_string()).collect();
        assert_eq!(drawn, known);
    }

    #[test]
    fn the_coordinator_is_the_group_s() {
        let partitions = crate::world::OFFSETS_PARTITIONS.parse().expect("a number");
        let at = broker::coordinator::partition_for(&load(1).workloads[0].group(), partitions);
        assert_eq!(COORDINATOR, format!("leader of __consumer_offsets-{}", at.0));
    }

    #[test]
    fn seeds_differ() {
        let files: BTreeSet<String> =
            (0..100).map(|seed| scenario(seed).to_toml().replace(&format!("{seed:x}"), "")).collect();
        assert_eq!(files.len(), 100);
    }
}
