//! A controller and its image, told what happens in short words; the invariants hold after every record.

use super::*;
use metadata::delta;
use metadata::image::PartitionImage;
use protocol::ids::{PartitionIndex, TopicPartition};
use protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use protocol::messages::broker_registration_request::{Feature, Listener};
use protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
use protocol::messages::{StrBytes, WireBrokerId, topic_name};
use std::fmt::Write;
use uuid::Uuid;

/// The cluster of every story.
pub(super) const CLUSTER: &str = "cluster";
/// The session timeout of every story, in milliseconds.
pub(super) const TIMEOUT: u64 = 3_000;

/// See the module.
pub(super) struct Story {
    pub control: Control,
    pub image: Image,
    pub now: MonotonicMillis,
    /// The records of the last decision.
    pub records: Vec<Record>,
    topics: u128,
}

impl Story {
    /// A new cluster whose node has these static settings.
    pub fn new(settings: &[(&str, &str)]) -> Self {
        let with =
            |properties: Properties, (name, value): &(&str, &str)| properties.with(name, value).expect("a value");
        let properties = Arc::new(settings.iter().fold(Properties::new(), with));
        let settings = ControlSettings { cluster_id: CLUSTER.into(), properties, session_timeout_ms: TIMEOUT };
        let mut story = Self {
            control: Control::new(settings),
            image: Image::default(),
            now: MonotonicMillis(0),
            records: Vec::new(),
            topics: 0,
        };
        story.decide(ControlRequest::Bootstrap);
        story
    }

    /// A cluster of unfenced brokers 1 to `brokers`.
    pub fn with_brokers(settings: &[(&str, &str)], brokers: i32) -> Self {
        let mut story = Self::new(settings);
        for id in 1..=brokers {
            story.register(id, 1, None);
            story.beat(id);
        }
        story
    }

    /// Another controller becomes active, with these static settings.
    pub fn reconfigured(&mut self, settings: &[(&str, &str)]) {
        self.control = control(settings);
        self.control.activate(&self.image, self.now);
        self.decide(ControlRequest::Bootstrap);
    }

    /// Decides, commits and applies.
    pub fn decide(&mut self, request: ControlRequest) -> ControlResponse {
        let Decision { records, response } = self.control.handle(&self.image, request, self.now);
        for record in &records {
            let before = self.image.clone();
            delta::apply(&mut self.image, before.offset(), record);
            invariants::check(&before, record, &self.image, &self.control.settings.properties);
        }
        self.records = records;
        self.control.applied(&self.image, self.now);
        response
    }

    /// Lets time pass.
    pub fn wait(&mut self, millis: u64) -> Vec<SessionEffect> {
        self.now = self.now.plus(millis);
        self.control.sessions_mut().tick(self.now)
    }

    /// The epoch that a broker is registered under; -1 if it is not.
    pub fn epoch(&self, id: i32) -> i64 {
        self.image.broker(BrokerId(id)).map_or(-1, |broker| broker.epoch.0)
    }

    /// A registration of one start of a broker; `previous` is the epoch in its clean-shutdown file.
    pub fn registration(&self, id: i32, start: u128, previous: Option<i64>) -> BrokerRegistrationRequest {
        let listener = Listener::default()
            .with_name(StrBytes::from_static_str("INTERNAL"))
            .with_host(StrBytes::from_static_str("localhost"))
            .with_port(9000 + id as u16);
        let feature = Feature::default()
            .with_name(StrBytes::from_static_str(METADATA_VERSION))
            .with_min_supported_version(7)
            .with_max_supported_version(METADATA_VERSION_LEVEL);
        BrokerRegistrationRequest::default()
            .with_broker_id(WireBrokerId(id))
            .with_cluster_id(StrBytes::from_static_str(CLUSTER))
            .with_incarnation_id(incarnation(id, start))
            .with_listeners(vec![listener])
            .with_features(vec![feature])
            .with_log_dirs(vec![Uuid::from_u128(1_000 + id as u128)])
            .with_previous_broker_epoch(previous.unwrap_or(-1))
    }

    /// Registers one start of a broker.
    pub fn register(&mut self, id: i32, start: u128, previous: Option<i64>) -> BrokerRegistrationResponse {
        let request = self.registration(id, start, previous);
        let ControlResponse::RegisterBroker(response) = self.decide(ControlRequest::RegisterBroker(request)) else {
            panic!("another request's response")
        };
        response
    }

    /// A heartbeat under the registered epoch, caught up with everything.
    pub fn heartbeat(&self, id: i32) -> BrokerHeartbeatRequest {
        BrokerHeartbeatRequest::default()
            .with_broker_id(WireBrokerId(id))
            .with_broker_epoch(self.epoch(id))
            .with_current_metadata_offset(self.image.offset().0 - 1)
    }

    /// Sends a heartbeat.
    pub fn send(&mut self, request: BrokerHeartbeatRequest) -> BrokerHeartbeatResponse {
        let ControlResponse::Heartbeat(response) = self.decide(ControlRequest::Heartbeat(request)) else {
            panic!("another request's response")
        };
        response
    }

    /// A broker is well and wants to take part.
    pub fn beat(&mut self, id: i32) -> BrokerHeartbeatResponse {
        self.send(self.heartbeat(id))
    }

    /// A broker wants to leave in good order.
    pub fn leave(&mut self, id: i32) -> BrokerHeartbeatResponse {
        self.send(self.heartbeat(id).with_want_shut_down(true))
    }

    /// A broker's session ends.
    pub fn fence(&mut self, id: i32) {
        let (broker_id, broker_epoch) = (BrokerId(id), BrokerEpoch(self.epoch(id)));
        self.decide(ControlRequest::FenceBroker { broker_id, broker_epoch });
    }

    /// A broker is killed and starts again; `previous` is the epoch in its clean-shutdown file.
    pub fn restart(&mut self, id: i32, start: u128, previous: Option<i64>) {
        self.fence(id);
        self.now = self.now.plus(TIMEOUT);
        let response = self.register(id, start, previous);
        assert_eq!(response.error_code, 0, "broker {id} registers");
    }

    /// Creates a topic with these replicas, one list a partition.
    pub fn topic(&mut self, name: &str, replicas: &[&[i32]], configs: &[(&str, &str)]) {
        let assignment = |(partition, replicas): (i32, &&[i32])| {
            CreatableReplicaAssignment::default()
                .with_partition_index(partition)
                .with_broker_ids(replicas.iter().copied().map(WireBrokerId).collect())
        };
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments((0..).zip(replicas).map(assignment).collect())
            .with_configs(configs.iter().map(config).collect());
        let response = self.create(CreateTopicsRequest::default().with_topics(vec![topic]));
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0].error_message);
    }

    /// Creates topics.
    pub fn create(&mut self, request: CreateTopicsRequest) -> CreateTopicsResponse {
        let topic_ids = request.topics.iter().map(|_| self.fresh_topic_id()).collect();
        let request = ControlRequest::CreateTopics { request, topic_ids, placement_seed: 1 };
        let ControlResponse::CreateTopics(response) = self.decide(request) else {
            panic!("another request's response")
        };
        response
    }

    fn fresh_topic_id(&mut self) -> TopicId {
        self.topics += 1;
        TopicId(Uuid::from_u128(self.topics))
    }

    /// The first partition of a topic.
    pub fn partition(&self, name: &str) -> &PartitionImage {
        let topic = self.image.topic_by_name(name).expect("the story has it");
        topic.partition(PartitionIndex(0)).expect("every topic has one")
    }

    /// What the leader of a topic's first partition asks for: these in-sync replicas, under their present epochs.
    pub fn alteration(&self, name: &str, isr: &[i32]) -> (TopicPartition, PartitionData) {
        let state = self.partition(name);
        let member =
            |id: &i32| BrokerState::default().with_broker_id(WireBrokerId(*id)).with_broker_epoch(self.epoch(*id));
        let asked = PartitionData::default()
            .with_partition_index(0)
            .with_leader_epoch(state.leader_epoch.0)
            .with_partition_epoch(state.partition_epoch.0)
            .with_new_isr_with_epochs(isr.iter().map(member).collect());
        let topic_id = self.image.topic_by_name(name).expect("the story has it").id;
        (TopicPartition { topic_id, partition: PartitionIndex(0) }, asked)
    }

    /// Sends an AlterPartition as `sender`; returns the partition's error code.
    pub fn alter_as(&mut self, sender: i32, (of, asked): (TopicPartition, PartitionData)) -> ErrorCode {
        let topic = TopicData::default().with_topic_id(of.topic_id.0).with_partitions(vec![asked]);
        let request = AlterPartitionRequest::default()
            .with_broker_id(WireBrokerId(sender))
            .with_broker_epoch(self.epoch(sender))
            .with_topics(vec![topic]);
        let ControlResponse::AlterPartition(response) = self.decide(ControlRequest::AlterPartition(request)) else {
            panic!("another request's response")
        };
        let partition = response.topics.first().map(|topic| topic.partitions[0].error_code);
        ErrorCode::from_code(partition.unwrap_or(response.error_code)).expect("a code of Kafka's")
    }

    /// Moves a topic's first partition to these replicas, or cancels its move; returns the partition's error code and what
    /// is said with it.
    pub fn reassign(&mut self, name: &str, replicas: Option<&[i32]>, any_factor: bool) -> (ErrorCode, String) {
        let replicas = replicas.map(|replicas| replicas.iter().copied().map(WireBrokerId).collect());
        let partition = ReassignablePartition::default().with_partition_index(0).with_replicas(replicas);
        let topic = ReassignableTopic::default().with_name(topic_name(name)).with_partitions(vec![partition]);
        let request = AlterPartitionReassignmentsRequest::default()
            .with_allow_replication_factor_change(any_factor)
            .with_topics(vec![topic]);
        let decided = self.decide(ControlRequest::AlterPartitionReassignments(request));
        let ControlResponse::AlterPartitionReassignments(response) = decided else {
            panic!("another request's response")
        };
        let told = &response.responses[0].partitions[0];
        let message = told.error_message.as_ref().map(ToString::to_string).unwrap_or_default();
        (ErrorCode::from_code(told.error_code).expect("a code of Kafka's"), message)
    }

    /// The leader of a topic's first partition has these in-sync replicas committed.
    pub fn isr(&mut self, name: &str, isr: &[i32]) {
        let leader = self.partition(name).leader.expect("somebody leads").0;
        let asked = self.alteration(name, isr);
        assert_eq!(self.alter_as(leader, asked), ErrorCode::None);
    }

    /// Brokers and partitions, a line each.
    pub fn show(&self) -> String {
        let mut shown = String::new();
        for (id, broker) in self.image.brokers() {
            let state = match (broker.fenced, broker.controlled_shutdown) {
                (true, _) => "fenced",
                (false, true) => "leaving",
                (false, false) => "unfenced",
            };
            writeln!(shown, "broker {id}  {state}").expect("a string takes it");
        }
        for topic in self.image.topics_by_name() {
            for (partition, state) in topic.partitions() {
                writeln!(shown, "{}-{partition}  {}", topic.name, line(state)).expect("a string takes it");
            }
        }
        shown
    }
}

/// A controller with these static settings.
fn control(settings: &[(&str, &str)]) -> Control {
    let with = |properties: Properties, (name, value): &(&str, &str)| properties.with(name, value).expect("a value");
    let properties = Arc::new(settings.iter().fold(Properties::new(), with));
    Control::new(ControlSettings { cluster_id: CLUSTER.into(), properties, session_timeout_ms: TIMEOUT })
}

/// One start of a broker.
pub(super) fn incarnation(id: i32, start: u128) -> Uuid {
    Uuid::from_u128((id as u128) << 32 | start)
}

/// A setting of a new topic.
pub(super) fn config((name, value): &(&str, &str)) -> CreatableTopicConfig {
    CreatableTopicConfig::default()
        .with_name(StrBytes::from_string((*name).to_owned()))
        .with_value(Some(StrBytes::from_string((*value).to_owned())))
}

/// A partition on one line; what is empty is left out.
pub(super) fn line(state: &PartitionImage) -> String {
    let list = |name: &str, members: &[BrokerId]| match members {
        [] => String::new(),
        members => {
            let members: Vec<String> = members.iter().map(ToString::to_string).collect();
            format!("  {name} {}", members.join(","))
        }
    };
    let leader = state.leader.map_or("none".to_owned(), |leader| leader.to_string());
    let mut line = format!("leader {leader} epoch {}", state.leader_epoch);
    line += &list("isr", &state.isr);
    line += &list("elr", &state.elr);
    line += &list("last", &state.last_known_elr);
    if state.is_reassigning() {
        line += &list("replicas", &state.replicas);
        line += &list("adding", &state.adding_replicas);
        line += &list("removing", &state.removing_replicas);
    }
    if state.leader_recovery_state == metadata::record::LeaderRecoveryState::Recovering {
        line += "  recovering";
    }
    line
}
