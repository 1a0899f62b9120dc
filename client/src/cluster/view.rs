//! Pure. What a client believes of a cluster: its brokers, its topics, and who leads which partition.
//!
//! Belief only moves forward: a partition's leadership is replaced by one of the same or a later leader epoch and never by an
//! older one (KIP-320), and a topic's identity never goes back to one that another has replaced (KIP-516). Driven by `cluster`.

use crate::PartitionName;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, LeaderEpoch, PartitionIndex, TopicId};
use protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use protocol::messages::{MetadataResponse, WireBrokerId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A broker as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// The name or address that it advertises.
    pub host: String,
    /// The port that it advertises.
    pub port: u16,
    /// The rack that it stands in, if it says.
    pub rack: Option<String>,
}

impl BrokerAddress {
    /// `host:port`, an IPv6 address in brackets.
    pub fn endpoint(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A topic as the newest metadata has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its identity; all zeroes from brokers that know of none (Metadata before version 10).
    pub topic_id: TopicId,
    /// Whether the cluster keeps its own state in it.
    pub is_internal: bool,
    /// Its partitions, from zero on.
    pub partitions: BTreeMap<PartitionIndex, Partition>,
}

/// A partition as the newest metadata has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Who leads it, or nobody.
    pub leader: Option<BrokerId>,
    /// In which leader epoch; [`LeaderEpoch::UNKNOWN`] from brokers that do not say (Metadata before version 7).
    pub leader_epoch: LeaderEpoch,
    /// Who should hold it, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Who is in sync.
    pub isr: Vec<BrokerId>,
}

/// A leader that can be asked, and in which leader epoch it was elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The broker.
    pub broker: BrokerId,
    /// Its leader epoch; [`LeaderEpoch::UNKNOWN`] when the metadata does not say.
    pub leader_epoch: LeaderEpoch,
}

/// All that a client believes of the cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    cluster_id: Option<String>,
    controller: Option<BrokerId>,
    brokers: BTreeMap<BrokerId, BrokerAddress>,
    topics: BTreeMap<Arc<str>, Arc<Topic>>,
    /// What the newest answer said against a topic that was asked for.
    errors: BTreeMap<Arc<str>, ErrorCode>,
    /// Identities of topics that have since been deleted and created again.
    retired: BTreeSet<TopicId>,
}

impl ClusterView {
    /// The cluster's id, once a broker has said it.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// The broker to send a controller's requests to.
    pub fn controller(&self) -> Option<BrokerId> {
        self.controller
    }

    /// The brokers that live, by id.
    pub fn brokers(&self) -> &BTreeMap<BrokerId, BrokerAddress> {
        &self.brokers
    }

    /// A topic by name, once the metadata has had it.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The name of the topic with this identity.
    pub fn name_of(&self, topic_id: TopicId) -> Option<&Arc<str>> {
        self.topics.iter().find(|(_, topic)| topic.topic_id == topic_id).map(|(name, _)| name)
    }

    /// What the newest answer said against this topic, if anything.
    pub fn topic_error(&self, name: &str) -> Option<ErrorCode> {
        self.errors.get(name).copied()
    }

    /// The topics that exist, by name: those that the newest answer about them says nothing against.
    pub fn existing(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Topic>)> {
        self.topics.iter().filter(|(name, _)| !self.is_gone(name))
    }

    /// A topic by name, if it exists as far as is known.
    pub fn existing_topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name).filter(|_| !self.is_gone(name))
    }

    fn is_gone(&self, name: &str) -> bool {
        self.errors.get(name) == Some(&ErrorCode::UnknownTopicOrPartition)
    }

    /// Takes in an answer about all topics: one that it leaves out does not exist.
    pub fn apply_listing(&mut self, response: &MetadataResponse) {
        self.apply(response);
        let listed: BTreeSet<&str> =
            response.topics.iter().filter_map(|topic| topic.name.as_ref()).map(|name| name.as_str()).collect();
        let gone: Vec<Arc<str>> = self.topics.keys().filter(|name| !listed.contains(&***name)).cloned().collect();
        self.errors.extend(gone.into_iter().map(|name| (name, ErrorCode::UnknownTopicOrPartition)));
    }

    /// Who leads the partition, if somebody does whose address is known: a broker that is behind may leave it out.
    pub fn leader(&self, partition: &PartitionName) -> Option<Leader> {
        let known = self.topics.get(&partition.topic)?.partitions.get(&partition.partition)?;
        let leader = known.leader.filter(|broker| self.brokers.contains_key(broker))?;
        Some(Leader { broker: leader, leader_epoch: known.leader_epoch })
    }

    /// Takes in an answer to a Metadata request. What it says of brokers replaces what was known; what it says of a partition
    /// counts unless it is of an older leader epoch, or of an identity of the topic that has been replaced.
    pub fn apply(&mut self, response: &MetadataResponse) {
        if let Some(cluster_id) = &response.cluster_id {
            self.cluster_id = Some(cluster_id.to_string());
        }
        self.controller = BrokerId::from_wire(response.controller_id.0);
        if !response.brokers.is_empty() {
            let address = |host: &str, port, rack| BrokerAddress { host: host.to_owned(), port, rack };
            self.brokers = (response.brokers.iter())
                .filter_map(|broker| {
                    let rack = broker.rack.as_ref().map(ToString::to_string);
                    Some((broker.node_id.into(), address(&broker.host, u16::try_from(broker.port).ok()?, rack)))
                })
                .collect();
        }
        for topic in &response.topics {
            self.apply_topic(topic);
        }
    }

    fn apply_topic(&mut self, answered: &MetadataResponseTopic) {
        let Some(name) = answered.name.as_ref().filter(|name| !name.is_empty()) else { return };
        let name = match self.topics.get_key_value(name.as_str()) {
            Some((known, _)) => known.clone(),
            None => Arc::from(name.as_str()),
        };
        let code = ErrorCode::from_code(answered.error_code).unwrap_or(ErrorCode::UnknownServerError);
        if code != ErrorCode::None {
            self.errors.insert(name, code);
            return;
        }
        let topic_id = TopicId(answered.topic_id);
        if self.retired.contains(&topic_id) {
            return;
        }
        self.errors.remove(&name);
        let known = Arc::make_mut(self.topics.entry(name).or_default());
        if known.topic_id != topic_id {
            if known.topic_id != TopicId::ZERO {
                self.retired.insert(known.topic_id);
            }
            *known = Topic { topic_id, ..Topic::default() };
        }
        known.is_internal = answered.is_internal;
        for partition in &answered.partitions {
            known.apply_partition(partition);
        }
    }

    /// Takes in who leads a partition from a Produce or Fetch error (KIP-951). True when that is news: a later leader epoch.
    ///
    /// `address` is where the leader is, when the answer said so too.
    pub fn learn_leader(&mut self, partition: &PartitionName, leader: Leader, address: Option<BrokerAddress>) -> bool {
        let Some(topic) = self.topics.get_mut(&partition.topic) else { return false };
        match topic.partitions.get(&partition.partition) {
            Some(known) if known.leader_epoch < leader.leader_epoch => {}
            _ => return false,
        }
        if let Some(address) = address {
            self.brokers.insert(leader.broker, address);
        }
        if !self.brokers.contains_key(&leader.broker) {
            return false;
        }
        let known = Arc::make_mut(topic).partitions.get_mut(&partition.partition).expect("it was just there");
        known.leader = Some(leader.broker);
        known.leader_epoch = leader.leader_epoch;
        true
    }
}

impl Topic {
    fn apply_partition(&mut self, answered: &MetadataResponsePartition) {
        let ids = |nodes: &[WireBrokerId]| nodes.iter().map(|node| BrokerId(node.0)).collect::<Vec<_>>();
        let heard = Partition {
            leader: BrokerId::from_wire(answered.leader_id.0),
            leader_epoch: LeaderEpoch(answered.leader_epoch),
            replicas: ids(&answered.replica_nodes),
            isr: ids(&answered.isr_nodes),
        };
        let known = self.partitions.entry(PartitionIndex(answered.partition_index)).or_insert_with(|| heard.clone());
        if heard.leader_epoch >= known.leader_epoch || heard.leader_epoch == LeaderEpoch::UNKNOWN {
            *known = heard;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::messages::metadata_response::MetadataResponseBroker;
    use protocol::messages::{StrBytes, topic_name};
    use uuid::Uuid;

    /// An answer that says: topic "orders" has identity `id`, and its partition 0 the leader `leader` in `epoch`.
    fn orders(id: u128, leader: i32, epoch: i32) -> MetadataResponse {
        let partition = MetadataResponsePartition::default()
            .with_leader_id(WireBrokerId(leader))
            .with_leader_epoch(epoch)
            .with_replica_nodes(vec![WireBrokerId(1), WireBrokerId(2)]);
        let topic = MetadataResponseTopic::default()
            .with_name(Some(topic_name("orders")))
            .with_topic_id(Uuid::from_u128(id))
            .with_partitions(vec![partition]);
        let broker = |id: i32| {
            MetadataResponseBroker::default()
                .with_node_id(WireBrokerId(id))
                .with_host(StrBytes::from_string(format!("b{id}")))
                .with_port(9092)
        };
        MetadataResponse::default().with_brokers(vec![broker(1), broker(2)]).with_topics(vec![topic])
    }

    fn partition() -> PartitionName {
        PartitionName::new("orders", PartitionIndex(0))
    }

    fn leader_after(answers: &[MetadataResponse]) -> Option<(i32, i32)> {
        let mut view = ClusterView::default();
        answers.iter().for_each(|answer| view.apply(answer));
        view.leader(&partition()).map(|leader| (leader.broker.0, leader.leader_epoch.0))
    }

    #[test]
    fn an_older_leader_epoch_is_ignored() {
        assert_eq!(leader_after(&[orders(1, 1, 4), orders(1, 2, 5), orders(1, 1, 4)]), Some((2, 5)));
    }

    #[test]
    fn a_partition_without_a_leader_has_none_to_ask() {
        assert_eq!(leader_after(&[orders(1, 1, 4), orders(1, -1, 5)]), None);
    }

    #[test]
    fn a_leader_that_an_answer_leaves_out_is_to_be_looked_for() {
        let mut late = orders(1, 2, 4);
        late.brokers.retain(|broker| broker.node_id.0 == 2);
        assert_eq!(leader_after(&[orders(1, 1, 5), late.clone()]), None);
        assert_eq!(leader_after(&[orders(1, 1, 5), late, orders(1, 1, 5)]), Some((1, 5)));
    }

    #[test]
    fn a_topic_created_again_starts_over_in_epoch_zero() {
        assert_eq!(leader_after(&[orders(1, 1, 4), orders(2, 2, 0)]), Some((2, 0)));
    }

    #[test]
    fn a_topic_that_was_replaced_does_not_come_back() {
        assert_eq!(leader_after(&[orders(1, 1, 4), orders(2, 2, 0), orders(1, 1, 9)]), Some((2, 0)));
    }

    #[test]
    fn a_topic_in_error_keeps_what_was_known_of_it() {
        let mut view = ClusterView::default();
        view.apply(&orders(1, 1, 4));
        let mut gone = orders(1, -1, -1);
        gone.topics[0].error_code = ErrorCode::UnknownTopicOrPartition.code();
        view.apply(&gone);
        assert_eq!(view.topic_error("orders"), Some(ErrorCode::UnknownTopicOrPartition));
        assert_eq!(view.leader(&partition()).map(|leader| leader.broker), Some(BrokerId(1)));
        view.apply(&orders(1, 1, 4));
        assert_eq!(view.topic_error("orders"), None);
    }

    #[test]
    fn a_topic_that_a_listing_leaves_out_does_not_exist() {
        let mut view = ClusterView::default();
        view.apply_listing(&orders(1, 1, 4));
        assert_eq!(view.existing().count(), 1);
        let mut none = orders(1, 1, 4);
        none.topics.clear();
        view.apply(&none);
        assert_eq!(view.existing().count(), 1, "it was not asked about");
        view.apply_listing(&none);
        assert_eq!((view.existing().count(), view.existing_topic("orders")), (0, None));
        view.apply_listing(&orders(1, 1, 4));
        assert_eq!(view.existing().count(), 1);
    }

    #[test]
    fn a_leader_heard_of_in_an_error_counts_only_when_it_is_newer() {
        let mut view = ClusterView::default();
        view.apply(&orders(1, 1, 4));
        let leader = |broker, epoch| Leader { broker: BrokerId(broker), leader_epoch: LeaderEpoch(epoch) };
        assert!(!view.learn_leader(&partition(), leader(2, 4), None));
        assert!(!view.learn_leader(&partition(), leader(7, 5), None), "nobody knows where broker 7 is");
        assert!(view.learn_leader(&partition(), leader(2, 5), None));
        assert_eq!(view.leader(&partition()), Some(leader(2, 5)));
    }

    #[test]
    fn an_ipv6_address_is_bracketed() {
        let address = |host: &str| BrokerAddress { host: host.to_owned(), port: 9092, rack: None }.endpoint();
        assert_eq!([address("::1"), address("kafka-1")], ["[::1]:9092", "kafka-1:9092"]);
    }

    proptest! {
        #[test]
        fn the_leader_epoch_of_a_topic_never_goes_back(answers in prop::collection::vec((1i32..3, 0i32..6), 1..20)) {
            let mut view = ClusterView::default();
            let mut newest = -1;
            for (leader, epoch) in answers {
                view.apply(&orders(1, leader, epoch));
                newest = newest.max(epoch);
                prop_assert_eq!(view.leader(&partition()).map(|leader| leader.leader_epoch), Some(LeaderEpoch(newest)));
            }
        }
    }
}
