//! The cluster as simulated machines: what starts, stops, crashes, cuts and heals them.
//!
//! With `run`, the one place that drives `runtime::simulation`. Everything here runs on the harness node, which never
//! fails. Nodes have the ids that the cluster knows them by: brokers from 1, controllers of their own from 101, clients
//! from 1001.

use crate::{
    event::WorldEvent,
    invariants::Judge,
    observed::{Fact, Observed},
    recording::{FIRST_CLIENT, Recorder},
    scenario::{Cluster, GROUP_PROPERTIES, Scenario},
};
use broker::{Broker, BrokerConfig, ListenerConfig};
use controller::{Controller, ControllerConfig};
use metadata::config::{Origin, Properties};
use protocol::api::ApiKey;
use protocol::ids::{BrokerId, ClusterUuid, PartitionIndex};
use runtime::{
    disk::Disk,
    hold::Held,
    observe::{self, Envelope, Event},
    simulation::{self, Crash, NodeId, disk, net},
    sync,
};
use std::{
    any::Any,
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

mod clients;
mod disks;
mod gone;
mod links;
mod pace;
mod rot;

pub use disks::Which;

/// The name of the listener for brokers.
const INTER_BROKER: &str = "REPLICATION";
const CLIENT_PORT: u16 = 9092;
const INTER_BROKER_PORT: u16 = 9091;
const CONTROLLER_PORT: u16 = 9093;
const FIRST_CONTROLLER: i32 = 101;
/// Over how many partitions groups are spread.
pub const OFFSETS_PARTITIONS: &str = "2";

/// What the subscribers of a run share with the run.
#[derive(Default)]
pub struct Shared {
    /// Ledger and invariants.
    pub judge: Judge,
    /// The story so far.
    pub timeline: crate::timeline::Timeline,
    /// What clients were told.
    pub history: crate::history::History,
    /// How often groups processed what was written.
    pub delivery: crate::delivery::Delivery,
    /// Everything that happened, where it is recorded.
    pub recorder: Option<Recorder>,
    /// The ids that the cluster has, of the nodes of the runtime.
    ids: BTreeMap<NodeId, i32>,
}

impl Shared {
    /// Takes an event in, and tells whether it broke the first claim.
    fn observe(&mut self, envelope: &Envelope, event: &dyn Event) -> bool {
        let any: &dyn Any = event;
        let fact = if let Some(event) = any.downcast_ref() {
            Fact::Replica(event)
        } else if let Some(event) = any.downcast_ref() {
            Fact::Log(event)
        } else if let Some(event) = any.downcast_ref() {
            Fact::Client(event)
        } else if let Some(event) = any.downcast_ref() {
            Fact::Member(event)
        } else if let Some(event) = any.downcast_ref() {
            Fact::Controller(event)
        } else if let Some(event) = any.downcast_ref() {
            Fact::World(event)
        } else {
            if let (Some(recorder), Some(event)) = (&self.recorder, any.downcast_ref()) {
                recorder.lock().network(envelope.at, event);
            }
            return false;
        };
        let broker = BrokerId(self.ids.get(&envelope.node).copied().unwrap_or(-1));
        let observed = Observed { at: envelope.at, ordinal: envelope.ordinal, broker, fact };
        if let Fact::Client(event) = fact {
            self.history.count(event);
        }
        self.delivery.count(&fact);
        let held = self.judge.violation.is_none();
        self.judge.observe(&observed);
        self.timeline.observe(&observed, &self.judge.ledger);
        let violation = self.judge.violation.as_ref().filter(|_| held);
        if let Some(recorder) = &self.recorder {
            let mut recording = recorder.lock();
            recording.observe(envelope.node, &observed, &self.judge.ledger, held);
            if let Some(violation) = violation {
                recording.broken(envelope.at, violation.invariant, &violation.what);
            }
        }
        violation.is_some()
    }
}

/// One machine of the cluster.
struct Machine {
    node: NodeId,
    ip: IpAddr,
    metadata_disk: disk::Disk,
    log_disk: disk::Disk,
    /// How often that was replaced.
    replaced: u64,
    is_broker: bool,
    is_controller: bool,
    running: bool,
    paused: bool,
    stop: Option<sync::ShutdownTrigger>,
}

/// See the module.
pub struct World {
    cluster: Cluster,
    machines: BTreeMap<i32, Machine>,
    clients: BTreeMap<i32, NodeId>,
    cuts: BTreeMap<(i32, i32), u32>,
    slow: BTreeMap<(i32, i32), Vec<u64>>,
    lossy: BTreeMap<(i32, i32), Vec<u64>>,
    narrow: BTreeMap<(i32, i32), Vec<u64>>,
    clogs: BTreeMap<(i32, i32), u32>,
    holds: BTreeMap<(i32, Held, ApiKey), Vec<u64>>,
    skewed: BTreeMap<i32, Vec<(i64, i64)>>,
    slowed: BTreeMap<i32, Vec<u64>>,
    paused_clients: BTreeSet<i32>,
    disks: disks::Disks,
    properties: Arc<Properties>,
    shared: Rc<RefCell<Shared>>,
    broken: Arc<sync::Notify>,
    ended: Arc<sync::Notify>,
    faults_begun: u32,
    gone: BTreeSet<BrokerId>,
}

impl World {
    /// Makes the machines; none of them runs yet. What happens to them is told to the recorder, if there is one.
    pub fn new(scenario: &Scenario, recorder: Option<Recorder>) -> Self {
        let cluster = scenario.cluster.clone();
        let mut world = Self {
            properties: Arc::new(properties(&cluster)),
            machines: BTreeMap::new(),
            clients: BTreeMap::new(),
            cuts: BTreeMap::new(),
            slow: BTreeMap::new(),
            lossy: BTreeMap::new(),
            narrow: BTreeMap::new(),
            clogs: BTreeMap::new(),
            holds: BTreeMap::new(),
            skewed: BTreeMap::new(),
            slowed: BTreeMap::new(),
            paused_clients: BTreeSet::new(),
            disks: disks::Disks::default(),
            shared: Rc::new(RefCell::new(Shared { recorder, ..Shared::default() })),
            broken: Arc::default(),
            ended: Arc::default(),
            faults_begun: 0,
            gone: BTreeSet::new(),
            cluster,
        };
        for id in 1..=world.cluster.brokers {
            let is_controller = world.cluster.combined && id <= world.cluster.controllers;
            world.add_machine(id, true, is_controller);
        }
        if !world.cluster.combined {
            for id in FIRST_CONTROLLER..FIRST_CONTROLLER + world.cluster.controllers {
                world.add_machine(id, false, true);
            }
        }
        world.subscribe();
        let (controllers, budget) = (world.cluster.controllers, world.cluster.budget);
        let replica_lag_ms = world.properties.unsigned("replica.lag.time.max.ms");
        observe::emit(|| WorldEvent::Built { controllers, budget, replica_lag_ms });
        world
    }

    fn add_machine(&mut self, id: i32, is_broker: bool, is_controller: bool) {
        let ip = IpAddr::from([10, 0, (id / 100) as u8, (id % 100) as u8]);
        let node = simulation::add_node(&format!("n{id}"), ip);
        let (metadata_disk, log_disk) = (disk::Disk::new(2 * id as u64), disk::Disk::new(2 * id as u64 + 1));
        let machine = Machine {
            node,
            ip,
            metadata_disk,
            log_disk,
            replaced: 0,
            is_broker,
            is_controller,
            running: false,
            paused: false,
            stop: None,
        };
        self.machines.insert(id, machine);
        self.shared.borrow_mut().ids.insert(node, id);
        self.know(node, id);
        self.set_links(id);
    }

    fn know(&self, node: NodeId, id: i32) {
        if let Some(recorder) = &self.shared.borrow().recorder {
            recorder.lock().know(node, id);
        }
    }

    /// What the subscribers know.
    pub fn shared(&self) -> Rc<RefCell<Shared>> {
        Rc::clone(&self.shared)
    }

    /// Told when the first invariant breaks.
    pub fn broken(&self) -> Arc<sync::Notify> {
        Arc::clone(&self.broken)
    }

    /// Told when a process has ended by itself: see [`World::notice_ends`].
    pub fn ended(&self) -> Arc<sync::Notify> {
        Arc::clone(&self.ended)
    }

    fn subscribe(&self) {
        let (shared, broken) = (Rc::clone(&self.shared), Arc::clone(&self.broken));
        simulation::subscribe(Box::new(move |envelope, event| {
            if shared.borrow_mut().observe(envelope, event) {
                broken.notify_one();
            }
        }));
    }

    // ------------------------------------------------------------------------------------------------ processes

    /// Starts the process of a machine that is down and was not taken away.
    pub fn start(&mut self, id: i32) {
        if self.is_gone(id) {
            return;
        }
        let config = self.broker_config(id);
        let controllers = self.controllers();
        let properties = Arc::clone(&self.properties);
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| !machine.running) else { return };
        let (trigger, shutdown) = sync::shutdown();
        (machine.running, machine.paused, machine.stop) = (true, false, Some(trigger));
        observe::emit(|| WorldEvent::Started { broker: id });
        let metadata_disk = Disk::simulated(machine.metadata_disk.clone());
        let log_disk = Disk::simulated(machine.log_disk.clone());
        let (is_broker, is_controller, ip) = (machine.is_broker, machine.is_controller, machine.ip);
        let ended = Arc::clone(&self.ended);
        simulation::start(machine.node, async move {
            let controller = is_controller.then(|| {
                let bind = format!("{ip}:{CONTROLLER_PORT}");
                let config = ControllerConfig {
                    inter_broker_listener: INTER_BROKER.into(),
                    ..ControllerConfig::new(BrokerId(id), cluster_id(), bind, controllers, properties)
                };
                (config, metadata_disk)
            });
            let broker = is_broker.then(|| (config, vec![log_disk]));
            if let Err(why) = serve(controller, broker, shutdown).await {
                tracing::error!(why, "node {id} ended");
                ended.notify_one();
            }
        });
    }

    /// Ends a process without warning. False if it was down already.
    pub fn crash(&mut self, id: i32, power: bool) -> bool {
        // What a failing disk has dropped is gone, however the process ends.
        let struck = self.struck(id);
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.running) else { return false };
        let asked = machine.stop.take().is_none();
        machine.running = false;
        if !simulation::is_running(machine.node) && asked && struck.is_none() {
            // It was asked to stop, and has.
            observe::emit(|| WorldEvent::Stopped { broker: id });
            return true;
        }
        let power = power || struck == Some(true);
        simulation::crash(machine.node, if power { Crash::Power } else { Crash::Process });
        observe::emit(|| WorldEvent::Crashed { broker: id, power });
        if power {
            machine.metadata_disk.power_loss();
            machine.log_disk.power_loss();
        }
        true
    }

    /// Asks a process to stop in good order. False if it was down already.
    pub fn stop(&mut self, id: i32) -> bool {
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.running) else { return false };
        machine.stop.take().map(|trigger| trigger.request()).is_some()
    }

    /// Whether a process runs, as far as is known, and nobody has asked it to stop.
    pub fn is_up(&self, id: i32) -> bool {
        self.machines.get(&id).is_some_and(|machine| machine.running && machine.stop.is_some())
    }

    /// Whether a process was asked to stop and has not.
    pub fn is_stopping(&self, id: i32) -> bool {
        let machine = self.machines.get(&id).filter(|machine| machine.running && machine.stop.is_none());
        machine.is_some_and(|machine| simulation::is_running(machine.node))
    }

    /// Freezes a process. False if it does not run.
    pub fn pause(&mut self, id: i32) -> bool {
        let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.running && !machine.paused) else {
            return false;
        };
        machine.paused = true;
        simulation::pause(machine.node);
        true
    }

    /// Lets a frozen process go on.
    pub fn resume(&mut self, id: i32) {
        if let Some(machine) = self.machines.get_mut(&id).filter(|machine| machine.running && machine.paused) {
            machine.paused = false;
            simulation::resume(machine.node);
        }
    }

    /// Whether this node may crash so within the fault budget: see [`crate::ledger::Ledger::may_crash`].
    pub fn may_crash(&self, id: i32, power: bool) -> bool {
        self.shared.borrow().judge.ledger.may_crash(BrokerId(id), power, &self.disks.at_risk())
    }

    // ------------------------------------------------------------------------------------------------ who is who

    /// The runtime's node of a machine or a client.
    fn node(&self, id: i32) -> NodeId {
        match self.machines.get(&id) {
            Some(machine) => machine.node,
            None => self.clients[&id],
        }
    }

    /// All machines and clients.
    pub fn everybody(&self) -> Vec<i32> {
        self.machines.keys().chain(self.clients.keys()).copied().collect()
    }

    /// The clients.
    pub fn clients(&self) -> impl Iterator<Item = i32> + '_ {
        self.clients.keys().copied()
    }

    /// The nodes that hold partitions.
    pub fn brokers(&self) -> Vec<i32> {
        self.machines.iter().filter(|(_, machine)| machine.is_broker).map(|(id, _)| *id).collect()
    }

    /// The controllers, where they have machines of their own; else none.
    pub fn controllers_apart(&self) -> Vec<i32> {
        self.machines.iter().filter(|(_, machine)| !machine.is_broker).map(|(id, _)| *id).collect()
    }

    /// The nodes that hold partitions or metadata.
    pub fn nodes(&self) -> Vec<i32> {
        self.machines.keys().copied().collect()
    }

    /// Whether the id is a client's.
    pub fn is_client(&self, id: i32) -> bool {
        id >= FIRST_CLIENT
    }

    /// The second node of a fault between two: as asked, or the next one.
    pub fn other(&self, target: crate::faults::Target) -> i32 {
        let next = || {
            let nodes = self.nodes();
            nodes.iter().copied().find(|id| *id > target.node).unwrap_or(nodes[0])
        };
        target.other.filter(|other| *other != target.node).unwrap_or_else(next)
    }

    /// The nodes that a scenario's words name: an id, `all`, `leader of TOPIC-PARTITION`, `active controller`,
    /// `majority of controllers`, `replica N of TOPIC-PARTITION` by the assignment, the preferred leader being 1.
    ///
    /// # Errors
    /// The words that name nothing.
    pub fn resolve(&self, words: &str) -> Result<Vec<i32>, String> {
        if let Ok(id) = words.parse() {
            return if self.machines.contains_key(&id) { Ok(vec![id]) } else { Err(format!("there is no node {id}")) };
        }
        let shared = self.shared.borrow();
        match words {
            "all" => Ok(self.nodes()),
            "active controller" => {
                let active = shared.timeline.active_controller();
                active.map(|id| vec![id]).ok_or_else(|| "no controller is active".into())
            }
            "majority of controllers" => {
                let all = self.machines.iter().filter(|(_, machine)| machine.is_controller);
                let all: Vec<i32> = all.map(|(id, _)| *id).collect();
                Ok(all[..all.len() / 2 + 1].to_vec())
            }
            _ => {
                let named = words.split_once(" of ").and_then(|(which, place)| {
                    let (topic, partition) = place.rsplit_once('-')?;
                    let topic = shared.judge.ledger.image.topic_by_name(topic)?;
                    let state = topic.partition(PartitionIndex(partition.parse().ok()?))?;
                    match which.strip_prefix("replica ") {
                        Some(number) => state.replicas.get(number.parse::<usize>().ok()?.checked_sub(1)?).copied(),
                        None => state.leader.filter(|_| which == "leader"),
                    }
                });
                named.map(|id| vec![id.0]).ok_or_else(|| format!("'{words}' names no node now"))
            }
        }
    }

    /// The next fault's number.
    pub fn next_fault(&mut self) -> u32 {
        self.faults_begun += 1;
        self.faults_begun
    }

    /// Which machines are down.
    pub fn down(&self) -> BTreeSet<i32> {
        self.machines.iter().filter(|(_, machine)| !machine.running).map(|(id, _)| *id).collect()
    }

    fn controllers(&self) -> BTreeMap<BrokerId, String> {
        let controllers = self.machines.iter().filter(|(_, machine)| machine.is_controller);
        controllers.map(|(id, machine)| (BrokerId(*id), format!("{}:{CONTROLLER_PORT}", machine.ip))).collect()
    }

    fn broker_config(&self, id: i32) -> BrokerConfig {
        let ip = self.machines[&id].ip;
        let listener = |name: &str, port: u16| ListenerConfig {
            name: name.into(),
            bind: format!("{ip}:{port}"),
            advertised_host: ip.to_string(),
            advertised_port: port,
        };
        BrokerConfig {
            node_id: BrokerId(id),
            cluster_id: cluster_id(),
            rack: None,
            client_listener: listener("PLAINTEXT", CLIENT_PORT),
            inter_broker_listener: listener(INTER_BROKER, INTER_BROKER_PORT),
            controllers: self.controllers(),
            properties: Arc::clone(&self.properties),
        }
    }
}

/// The program of a node: runs until it is asked to stop, and ends by itself where nothing useful can be done any more, as
/// `gregor server` does.
async fn serve(
    controller: Option<(ControllerConfig, Disk)>,
    broker: Option<(BrokerConfig, Vec<Disk>)>,
    shutdown: sync::Shutdown,
) -> Result<(), String> {
    let controller = match controller {
        Some((config, disk)) => Some(Controller::start(config, disk).await.map_err(|error| error.to_string())?),
        None => None,
    };
    let broker = match broker {
        Some((config, disks)) => Some(Broker::start(config, disks).await.map_err(|error| error.to_string())?),
        None => None,
    };
    runtime::select! {
        () = shutdown.requested() => {}
        () = every_directory_failed(broker.as_ref()) => return Err("every log directory failed".into()),
        why = controller_failed(controller.as_ref()) => return Err(why),
    }
    if let Some(broker) = broker {
        broker.stop().await;
    }
    if let Some(controller) = controller {
        controller.stop().await;
    }
    Ok(())
}

async fn every_directory_failed(broker: Option<&Broker>) {
    match broker {
        Some(broker) => broker.failed().await,
        None => std::future::pending().await,
    }
}

async fn controller_failed(controller: Option<&Controller>) -> String {
    match controller {
        Some(controller) => controller.failed().await,
        None => std::future::pending().await,
    }
}

/// What becomes of what one node sends to another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Clogged,
    Cut,
}

fn count_down(counts: &mut BTreeMap<(i32, i32), u32>, of: (i32, i32)) {
    if let Some(count) = counts.get_mut(&of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&of);
        }
    }
}

fn push_or_pop(stack: &mut Vec<u64>, value: Option<u64>) {
    match value {
        Some(value) => stack.push(value),
        None => drop(stack.pop()),
    }
}

fn cluster_id() -> String {
    ClusterUuid(uuid::Uuid::from_u128(0x6772_6567_6f72)).to_string()
}

/// The world's own server properties, and over them the scenario's.
fn properties(cluster: &Cluster) -> Properties {
    let own_brokers = cluster.brokers.min(3).to_string();
    let own = [
        // Groups live on as many brokers as topics do.
        ("offsets.topic.num.partitions", OFFSETS_PARTITIONS),
        ("offsets.topic.replication.factor", own_brokers.as_str()),
        // What may be cleaned is there soon, in small segments.
        ("offsets.topic.segment.bytes", "4096"),
        ("log.cleaner.backoff.ms", "700"),
        ("log.cleaner.min.cleanable.ratio", "0.1"),
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
        ("replica.lag.time.max.ms", "2000"),
        ("log.segment.bytes", "65536"),
    ];
    let mut properties = Properties::new();
    let given = cluster.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in own.into_iter().chain(GROUP_PROPERTIES).chain(given) {
        properties.set(name, value, Origin::File).expect("the scenario was checked");
    }
    properties
}
