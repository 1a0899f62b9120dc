//! A cluster of combined nodes in the simulated world, and a client that speaks to it on the wire.

use broker::{Broker, BrokerConfig, ListenerConfig};
use bytes::{Bytes, BytesMut};
use client::{Connection, ConnectionOptions};
use controller::{Controller, ControllerConfig};
use metadata::config::Properties;
use protocol::{
    compression::Compression,
    error_code::ErrorCode,
    ids::{BrokerId, ProducerEpoch, ProducerId, Sequence, TopicId, WallMillis},
    messages::{
        CreateTopicsRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse, ProduceRequest, Request, StrBytes,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::PartitionProduceResponse,
        topic_name,
    },
    record_batch::BatchBuilder,
};
use runtime::{
    disk::Disk,
    net::Stream,
    observe::NodeId,
    simulation::{self, Crash, disk},
    sync::{self, ShutdownTrigger},
    time::{self, Instant},
};
use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

pub const CLUSTER: &str = "AAAAAAAAAAAAAAAAAAAAAQ";
const CLIENT_PORT: u16 = 9092;
const INTER_BROKER_PORT: u16 = 9091;
const CONTROLLER_PORT: u16 = 9093;

/// A machine with a controller and a broker on it.
struct Machine {
    node: NodeId,
    disk: disk::Disk,
    /// Log directories beside the first.
    others: Vec<disk::Disk>,
    stop: Option<ShutdownTrigger>,
}

/// A cluster of combined nodes, 1 to n, at 10.0.0.1 and so on.
pub struct Cluster {
    machines: BTreeMap<i32, Machine>,
    properties: Arc<Properties>,
    /// Whether brokers have no listener of their own configured.
    one_listener: bool,
}

/// Runs a story with one seed.
pub fn run<T, F>(seed: u64, story: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    match simulation::run(seed, simulation::Options::default(), story).result {
        Ok(told) => told,
        Err(failure) => panic!("seed {seed}: {failure}"),
    }
}

/// Far enough ahead that only something broken takes longer.
pub fn soon() -> Instant {
    time::now() + Duration::from_secs(30)
}

/// Waits until something holds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = soon();
    while !condition().await {
        assert!(time::now() < deadline, "{what} never came");
        time::sleep(Duration::from_millis(20)).await;
    }
}

impl Cluster {
    /// Starts a cluster of this many nodes.
    pub fn start(nodes: i32) -> Self {
        Self::start_with(nodes, &[])
    }

    /// As [`Cluster::start`], with these settings.
    pub fn start_with(nodes: i32, settings: &[(&str, &str)]) -> Self {
        Self::start_on(nodes, 1, settings)
    }

    /// As [`Cluster::start_with`], each node with this many log directories.
    pub fn start_on(nodes: i32, directories: u64, settings: &[(&str, &str)]) -> Self {
        let mut properties = Properties::new();
        for (name, value) in [("replica.lag.time.max.ms", "2000")].iter().chain(settings) {
            properties = properties.with(name, value).unwrap();
        }
        // A node's metadata log and its partitions lie in one directory, as they do by default.
        let machine = |id: i32| Machine {
            node: simulation::add_node(&format!("node-{id}"), [10, 0, 0, id as u8].into()),
            disk: disk::Disk::new(id as u64),
            others: (1..directories).map(|more| disk::Disk::new(id as u64 + 100 * more)).collect(),
            stop: None,
        };
        let machines = (1..=nodes).map(|id| (id, machine(id))).collect();
        let mut cluster = Self { machines, properties: Arc::new(properties), one_listener: nodes == 1 };
        (1..=nodes).for_each(|id| cluster.boot(id));
        cluster
    }

    /// Starts a node that is down.
    pub fn boot(&mut self, id: i32) {
        let (broker, controller) = (self.broker_config(id), self.controller_config(id));
        let machine = self.machines.get_mut(&id).unwrap();
        let (trigger, stop) = sync::shutdown();
        machine.stop = Some(trigger);
        let metadata = Disk::simulated(machine.disk.clone());
        let logs = [&machine.disk].into_iter().chain(&machine.others).cloned().map(Disk::simulated).collect();
        simulation::start(machine.node, async move {
            let controller = Controller::start(controller, metadata).await.unwrap();
            let broker = Broker::start(broker, logs).await.unwrap();
            stop.requested().await;
            broker.stop().await;
            controller.stop().await;
        });
    }

    /// Asks a node to stop in good order, and waits until it has.
    pub async fn stop(&mut self, id: i32) {
        let machine = self.machines.get_mut(&id).unwrap();
        machine.stop.take().unwrap().request();
        let node = machine.node;
        eventually("the end of a node", async || !simulation::is_running(node)).await;
    }

    /// Takes a node's power.
    pub fn power_off(&mut self, id: i32) {
        let machine = self.machines.get_mut(&id).unwrap();
        machine.stop = None;
        simulation::crash(machine.node, Crash::Power);
        machine.disk.power_loss();
        machine.others.iter().for_each(disk::Disk::power_loss);
    }

    /// A node's second log directory fails for good.
    pub fn fail_second_disk(&self, id: i32) {
        self.machines[&id].others[0].set_faults(disk::Faults { offline: true, ..disk::Faults::default() });
    }

    /// Whether there are files in a directory of a node's disk.
    pub fn has(&self, id: i32, directory: &str) -> bool {
        let files = self.machines[&id].disk.files();
        files.iter().any(|file| file.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
    }

    /// Breaks a file of a node that is down. Answers whether it is there.
    pub fn damage(&self, id: i32, path: &str, damage: disk::Damage) -> bool {
        self.machines[&id].disk.damage(path, damage)
    }

    /// The files on a node's disk.
    pub fn files(&self, id: i32) -> Vec<String> {
        self.machines[&id].disk.files()
    }

    /// Where clients find a node.
    pub fn address(id: i32) -> String {
        format!("10.0.0.{id}:{CLIENT_PORT}")
    }

    /// Where other brokers find it.
    pub fn inter_broker_address(id: i32) -> String {
        format!("10.0.0.{id}:{INTER_BROKER_PORT}")
    }

    fn controllers(&self) -> BTreeMap<BrokerId, String> {
        self.machines.keys().map(|id| (BrokerId(*id), format!("10.0.0.{id}:{CONTROLLER_PORT}"))).collect()
    }

    fn controller_config(&self, id: i32) -> ControllerConfig {
        let bind = format!("10.0.0.{id}:{CONTROLLER_PORT}");
        ControllerConfig {
            inter_broker_listener: self.broker_config(id).inter_broker_listener.name,
            ..ControllerConfig::new(BrokerId(id), CLUSTER, bind, self.controllers(), self.properties.clone())
        }
    }

    fn broker_config(&self, id: i32) -> BrokerConfig {
        let listener = |name: &str, port: u16| ListenerConfig {
            name: name.to_owned(),
            bind: format!("10.0.0.{id}:{port}"),
            advertised_host: format!("10.0.0.{id}"),
            advertised_port: port,
        };
        let client = listener("PLAINTEXT", CLIENT_PORT);
        let inter_broker = if self.one_listener { client.clone() } else { listener("INTERNAL", INTER_BROKER_PORT) };
        BrokerConfig {
            node_id: BrokerId(id),
            cluster_id: CLUSTER.to_owned(),
            rack: Some(format!("rack-{id}")),
            client_listener: client,
            inter_broker_listener: inter_broker,
            controllers: self.controllers(),
            properties: self.properties.clone(),
        }
    }

    /// A connection to a node, once clients are served there.
    pub async fn connect(id: i32) -> Connection {
        connect(&Self::address(id)).await
    }

    /// Waits until clients of node 1 see every node.
    pub async fn whole(&self) {
        let connection = Self::connect(1).await;
        eventually("every broker", async || {
            let brokers = metadata(&connection, &[]).await.brokers;
            brokers.len() == self.machines.len()
        })
        .await;
    }
}

/// A connection to an address, as soon as somebody listens there.
pub async fn connect(address: &str) -> Connection {
    let deadline = soon();
    loop {
        let options = ConnectionOptions { client_id: "test".to_owned(), ..ConnectionOptions::default() };
        match Connection::connect(address, options).await {
            Ok(connection) => return connection,
            Err(error) => assert!(time::now() < deadline, "{address}: {error}"),
        }
        time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a node says of these topics.
pub async fn metadata(connection: &Connection, topics: &[&str]) -> MetadataResponse {
    let topic = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default()
        .with_topics(Some(topics.iter().map(topic).collect()))
        .with_allow_auto_topic_creation(false);
    connection.call(&request).await.unwrap()
}

/// Asks for a topic to be created, and returns its id.
pub async fn create_topic(
    connection: &Connection,
    name: &str,
    partitions: i32,
    replicas: i16,
    configs: &[(&'static str, &'static str)],
) -> TopicId {
    let config = |(name, value): &(&'static str, &'static str)| {
        let value = StrBytes::from_static_str(value);
        CreatableTopicConfig::default().with_name(StrBytes::from_static_str(name)).with_value(Some(value))
    };
    let topic = CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
        .with_configs(configs.iter().map(config).collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(20_000);
    let response = connection.call(&request).await.unwrap();
    let created = &response.topics[0];
    assert_eq!(ErrorCode::from_wire(created.error_code), ErrorCode::None, "{:?}", created.error_message);
    TopicId(created.topic_id)
}

/// A connection to the broker that leads partition 0, once it serves.
pub async fn connect_to_leader(connection: &Connection, topic: &str) -> Connection {
    let leading = Cluster::connect(leader(connection, topic, 0).await).await;
    eventually("a leader that serves", async || list_offset(&leading, topic, -1, 5).await.0 == 0).await;
    leading
}

/// Looks up an offset of partition 0: the error, and the offset.
pub async fn list_offset(connection: &Connection, topic: &str, timestamp: i64, version: i16) -> (i16, i64) {
    let partition =
        ListOffsetsPartition::default().with_partition_index(0).with_timestamp(timestamp).with_current_leader_epoch(-1);
    let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let response = connection.call_at(version, &request).await.unwrap();
    let partition = &response.topics[0].partitions[0];
    (partition.error_code, partition.offset)
}

/// Who leads a partition.
pub async fn leader(connection: &Connection, topic: &str, partition: usize) -> i32 {
    let response = metadata(connection, &[topic]).await;
    let topic = &response.topics[0];
    topic.partitions.get(partition).map_or(-1, |partition| partition.leader_id.0)
}

/// Values as one batch of nobody's.
pub fn batch(values: &[&str]) -> Bytes {
    batch_of(values, ProducerId::NONE, ProducerEpoch::NONE, Sequence::NONE)
}

/// Values as one batch of an idempotent producer.
pub fn batch_of(values: &[&str], producer_id: ProducerId, epoch: ProducerEpoch, sequence: Sequence) -> Bytes {
    let mut batch = BatchBuilder::new(Compression::None);
    for value in values {
        batch.push(WallMillis(time::wall_now()), None, Some(value.as_bytes()), &[]);
    }
    batch.finish(producer_id, epoch, sequence)
}

/// A produce request for one partition, in a version that names topics by name.
pub fn produce_request(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic])
}

/// Produces to one partition by name.
pub async fn produce(
    connection: &Connection,
    topic: &str,
    partition: i32,
    records: Bytes,
    acks: i16,
) -> PartitionProduceResponse {
    let request = produce_request(topic, partition, records, acks);
    let response = connection.call_at(9, &request).await.unwrap();
    response.responses[0].partition_responses[0].clone()
}

/// Bytes on a connection of their own, without a client in between.
pub struct Raw {
    stream: Stream,
    buffer: BytesMut,
}

impl Raw {
    /// Connects, once somebody listens there.
    pub async fn connect(address: &str) -> Self {
        // Waits until clients are served; this connection's first request may be anything.
        drop(connect(address).await);
        Self { stream: Stream::connect(address).await.unwrap(), buffer: BytesMut::new() }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.send(bytes, &[]).await.unwrap();
    }

    /// Sends a request.
    pub async fn ask<R: Request>(&mut self, correlation_id: i32, version: i16, request: &R) {
        let frame = protocol::frame::encode_request(correlation_id, Some("raw"), version, request).unwrap();
        self.send(&frame).await;
    }

    /// The next answer, without its length; `None` when the connection ends.
    pub async fn next(&mut self) -> Option<Bytes> {
        let frames = protocol::frame::FrameReader::new(1 << 24);
        loop {
            if let Some(frame) = frames.next(&mut self.buffer).unwrap() {
                return Some(frame);
            }
            match time::timeout(Duration::from_secs(60), self.stream.read(&mut self.buffer)).await.unwrap() {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}
