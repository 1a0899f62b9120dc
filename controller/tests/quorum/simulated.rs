//! In the simulated world, with crashes and power losses: nothing answered is lost, and every node applies the same.

use crate::support::{CLUSTER, FakeBroker, Outcome, soon};
use controller::{Controller, ControllerConfig, QuorumOptions, event::ControllerEvent};
use metadata::config::Properties;
use protocol::ids::{BrokerId, MetadataOffset};
use runtime::{
    disk::Disk,
    net::Listener,
    observe::NodeId,
    simulation::{self, Crash, Failure, disk},
    task, time,
};
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

/// What the controllers said about themselves, held against each other.
#[derive(Default)]
struct Ledger {
    /// The record at each offset, by whoever applied it first.
    committed: BTreeMap<MetadataOffset, Vec<u8>>,
    /// Which node led in each term.
    leaders: BTreeMap<u64, NodeId>,
    /// How far each life of each node has come.
    next: BTreeMap<(NodeId, u32), MetadataOffset>,
    snapshots: u64,
}

impl Ledger {
    fn hear(&mut self, node: NodeId, life: u32, event: &ControllerEvent) {
        match event {
            ControllerEvent::Applied { offset, record } => {
                let next = self.next.entry((node, life)).or_default();
                assert_eq!(offset, next, "node {node} applies in order");
                *next = offset.next();
                let bytes = record.encode().to_vec();
                let known = self.committed.entry(*offset).or_insert_with(|| bytes.clone());
                assert_eq!(*known, bytes, "node {node} applies another record at {offset}");
            }
            ControllerEvent::SnapshotInstalled { next, .. } => {
                self.snapshots += 1;
                let before = self.next.insert((node, life), *next).unwrap_or_default();
                assert!(before <= *next, "node {node} goes back from {before} to {next}");
            }
            ControllerEvent::Activated { term } => {
                let leader = *self.leaders.entry(*term).or_insert(node);
                assert_eq!(leader, node, "two leaders in term {term}");
            }
            ControllerEvent::Resigned { .. } | ControllerEvent::BrokerDead { .. } => {}
        }
    }
}

type Running = Arc<Mutex<BTreeMap<BrokerId, Arc<Controller>>>>;

struct World {
    nodes: BTreeMap<BrokerId, NodeId>,
    disks: BTreeMap<BrokerId, disk::Disk>,
    voters: BTreeMap<BrokerId, String>,
    running: Running,
    /// Whether a controller may stop by itself.
    may_fail: bool,
}

impl World {
    fn new() -> Self {
        let ids = || (1..=3).map(BrokerId);
        let nodes = ids().map(|id| {
            let node = simulation::add_node(&format!("controller-{id}"), [10, 0, 0, id.0 as u8].into());
            (id, node)
        });
        let faults = disk::Faults { slow_sync: 10, slow_append: 2, ..disk::Faults::default() };
        let disks = ids().map(|id| {
            let disk = disk::Disk::new(id.0 as u64);
            disk.set_faults(faults);
            (id, disk)
        });
        Self {
            nodes: nodes.collect(),
            disks: disks.collect(),
            voters: ids().map(|id| (id, format!("10.0.0.{id}:9093"))).collect(),
            running: Running::default(),
            may_fail: false,
        }
    }

    fn boot(&self, id: BrokerId) {
        let mut config =
            ControllerConfig::new(id, CLUSTER, &self.voters[&id], self.voters.clone(), Arc::new(Properties::new()));
        // So small that segments roll, snapshots are taken and sent, and records are let go.
        config.quorum = QuorumOptions {
            snapshot_entries: 20,
            kept_entries: 4,
            segment_bytes: 2_000,
            recent_bytes: 500,
            ..config.quorum
        };
        let (disk, running) = (Disk::simulated(self.disks[&id].clone()), self.running.clone());
        let may_fail = self.may_fail;
        simulation::start(self.nodes[&id], async move {
            let controller = Arc::new(Controller::start(config, disk).await.unwrap());
            running.lock().unwrap().insert(id, controller.clone());
            let why = controller.failed().await;
            assert!(may_fail, "controller {id} failed: {why}");
            running.lock().unwrap().remove(&id);
        });
    }

    fn crash(&self, id: BrokerId, kind: Crash) {
        self.running.lock().unwrap().remove(&id);
        simulation::crash(self.nodes[&id], kind);
        if kind == Crash::Power {
            self.disks[&id].power_loss();
        }
    }

    fn cut(&self, id: BrokerId, inwards: bool, outwards: bool) {
        for (other, node) in &self.nodes {
            if *other != id && inwards {
                simulation::net::cut(*node, self.nodes[&id]);
            }
            if *other != id && outwards {
                simulation::net::cut(self.nodes[&id], *node);
            }
        }
    }

    /// Breaks something, and mends it again.
    async fn step(&self, seed: u64, step: u64) {
        let draw = |what: u64, below: u64| simulation::prf(seed, &[step, what]) % below;
        let id = BrokerId(1 + draw(1, 3) as i32);
        let lasts = Duration::from_millis(200 + draw(2, 2_500));
        match draw(3, 8) {
            0 | 1 => {
                let kind = if draw(4, 2) == 0 { Crash::Process } else { Crash::Power };
                self.crash(id, kind);
                time::sleep(lasts).await;
                self.boot(id);
            }
            2 => {
                // All of them at once: the log is all that is left.
                self.nodes.keys().for_each(|id| self.crash(*id, Crash::Power));
                time::sleep(lasts).await;
                self.nodes.keys().for_each(|id| self.boot(*id));
            }
            3 | 4 => {
                self.cut(id, true, true);
                time::sleep(lasts).await;
                simulation::net::heal_all();
            }
            5 => {
                self.cut(id, draw(4, 2) == 0, draw(4, 2) == 1);
                time::sleep(lasts).await;
                simulation::net::heal_all();
            }
            6 => {
                simulation::pause(self.nodes[&id]);
                time::sleep(lasts).await;
                simulation::resume(self.nodes[&id]);
            }
            _ => simulation::stall(self.nodes[&id], lasts),
        }
        time::sleep(Duration::from_millis(draw(5, 2_000))).await;
    }
}

/// What the client was told.
#[derive(Default)]
struct Told {
    created: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

/// Creates topics until told to stop, keeping the broker alive on the way.
async fn create_topics(voters: BTreeMap<BrokerId, String>, told: Arc<Mutex<Told>>, until: time::Instant) {
    let listener = Listener::bind("10.0.1.1:9092").await.unwrap();
    task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let mut broker = FakeBroker::new(101, &voters, "10.0.1.1", 9092);
    let mut number = 0;
    while time::now() < until {
        let fenced = match broker.heartbeat(time::now() + Duration::from_secs(2)).await {
            Ok(response) => response.error_code != 0 || response.is_fenced,
            Err(_) => true,
        };
        if fenced {
            let _ = broker.join(time::now() + Duration::from_secs(5)).await;
            continue;
        }
        number += 1;
        let name = format!("topic-{number}");
        match broker.create_topic(&name, time::now() + Duration::from_secs(5)).await {
            Outcome::Done => {
                told.lock().unwrap().created.insert(name);
            }
            Outcome::Unknown(_) => {
                told.lock().unwrap().unknown.insert(name);
            }
            Outcome::Refused(_) => {}
        }
        time::sleep(Duration::from_millis(40)).await;
    }
}

/// What a run came to, for the test to add up.
#[derive(Debug)]
struct Summary {
    created: usize,
    records: usize,
    terms: usize,
    snapshots: u64,
}

async fn scenario(seed: u64) -> Summary {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let hearing = ledger.clone();
    simulation::subscribe(Box::new(move |envelope, event| {
        if let Some(event) = (event as &dyn Any).downcast_ref::<ControllerEvent>() {
            hearing.lock().unwrap().hear(envelope.node, envelope.life, event);
        }
    }));
    let world = World::new();
    world.nodes.keys().for_each(|id| world.boot(*id));
    let told = Arc::new(Mutex::new(Told::default()));
    let until = time::now() + Duration::from_secs(30);
    let client = simulation::add_node("broker", [10, 0, 1, 1].into());
    simulation::start(client, create_topics(world.voters.clone(), told.clone(), until));
    time::sleep(Duration::from_secs(3)).await;
    for step in 0.. {
        if time::now() >= until {
            break;
        }
        world.step(seed, step).await;
    }

    // Everything is whole again: all agree, and on what was promised.
    let deadline = soon();
    let controllers = loop {
        let running: Vec<Arc<Controller>> = world.running.lock().unwrap().values().cloned().collect();
        let leader = running.first().and_then(|controller| controller.leader());
        let agree = |controller: &Arc<Controller>| {
            controller.image() == running[0].image() && controller.leader() == leader && leader.is_some()
        };
        if running.len() == 3 && !simulation::is_running(client) && running.iter().all(agree) {
            break running;
        }
        let state =
            |controller: &Arc<Controller>| (controller.node_id(), controller.leader(), controller.image().offset());
        let states: Vec<_> = running.iter().map(state).collect();
        assert!(time::now() < deadline, "no agreement: {states:?}, client runs: {}", simulation::is_running(client));
        time::sleep(Duration::from_millis(100)).await;
    };
    let image = controllers[0].image();
    for controller in &controllers {
        assert_eq!(controller.image().digest(), image.digest());
    }
    let told = told.lock().unwrap();
    for name in &told.created {
        assert!(image.topic_by_name(name).is_some(), "{name} was promised and is lost");
    }
    for topic in image.topics() {
        assert!(
            told.created.contains(&*topic.name) || told.unknown.contains(&*topic.name),
            "{} was made up",
            topic.name
        );
    }
    let ledger = ledger.lock().unwrap();
    Summary {
        created: told.created.len(),
        records: ledger.committed.len(),
        terms: ledger.leaders.len(),
        snapshots: ledger.snapshots,
    }
}

fn run(seed: u64) -> Summary {
    let outcome = simulation::run(seed, simulation::Options::default(), move || scenario(seed));
    match outcome.result {
        Ok(summary) => summary,
        Err(failure) => panic!("seed {seed}: {failure}"),
    }
}

#[test]
fn nothing_answered_is_lost_and_all_apply_the_same() {
    let summaries: Vec<Summary> = (1..=12).map(run).collect();
    let sum = |of: fn(&Summary) -> usize| summaries.iter().map(of).sum::<usize>();
    assert!(sum(|run| run.created) > 500, "enough was asked for: {summaries:?}");
    assert!(sum(|run| run.terms) > 24, "leaders changed: {summaries:?}");
    assert!(sum(|run| run.snapshots as usize) > 12, "snapshots were installed: {summaries:?}");
    assert!(summaries.iter().all(|run| run.records >= run.created * 3));
}

#[test]
fn a_controller_whose_disk_fails_serves_nobody_and_the_others_go_on() {
    let outcome = simulation::run(3, simulation::Options::default(), || async {
        let world = World { may_fail: true, ..World::new() };
        world.nodes.keys().for_each(|id| world.boot(*id));
        let told = Arc::new(Mutex::new(Told::default()));
        let until = time::now() + Duration::from_secs(20);
        let client = simulation::add_node("broker", [10, 0, 1, 1].into());
        simulation::start(client, create_topics(world.voters.clone(), told.clone(), until));
        time::sleep(Duration::from_secs(5)).await;
        let first = world.running.lock().unwrap().values().find_map(|controller| controller.leader()).unwrap();
        world.disks[&first].set_faults(disk::Faults { offline: true, ..disk::Faults::default() });
        time::sleep(Duration::from_secs(3)).await;
        assert!(!world.running.lock().unwrap().contains_key(&first), "it says that it failed");
        let before = told.lock().unwrap().created.len();
        time::sleep(Duration::from_secs(10)).await;
        assert!(told.lock().unwrap().created.len() > before + 20, "the others go on");
        let second = world.running.lock().unwrap().values().find_map(|controller| controller.leader());
        assert!(second.is_some_and(|second| second != first));
    });
    assert_eq!(outcome.result, Ok(()));
}

#[test]
fn one_seed_is_one_run() {
    let hash = |seed| {
        let outcome = simulation::run(seed, simulation::Options::default(), move || scenario(seed));
        (outcome.hash, outcome.events, outcome.result.map(|_| ()))
    };
    assert_eq!(hash(5).2, Ok(()));
    assert_eq!(hash(5), hash(5));
    assert_ne!(hash(5).0, hash(6).0);
}

#[test]
fn an_idle_quorum_does_little() {
    let outcome = simulation::run(1, simulation::Options::default(), || async {
        let world = World::new();
        world.nodes.keys().for_each(|id| world.boot(*id));
        time::sleep(Duration::from_secs(60)).await;
    });
    assert_eq!(outcome.result, Ok::<(), Failure>(()));
    // Two followers, ten heartbeats a second, each there and back; the ticks of Raft's own clocks.
    let per_second = outcome.steps / 60;
    assert!(per_second < 2_000, "{per_second} steps a second");
}
