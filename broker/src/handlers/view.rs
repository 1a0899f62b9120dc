//! Pure. The cluster as the clients of one listener see it.
//!
//! A broker that is fenced, or lacks that listener, is not there for them (`KRaftMetadataCache.scala`). Read by every
//! handler that describes brokers or partitions.

use metadata::{
    image::{BrokerImage, Image, PartitionImage},
    record::Endpoint,
};
use protocol::{
    ids::BrokerId,
    messages::{StrBytes, WireBrokerId},
};

/// What everybody may do with a topic where nobody is authorized: read, write, create, delete, alter, describe, describe
/// and alter its configs; a bit for each code of `AclOperation.java`, for `AclEntry.supportedOperations(TOPIC)`.
pub(super) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// What everybody may do with the cluster where nobody is authorized: create, alter, describe, cluster action, describe
/// and alter configs, idempotent write (`AclEntry.supportedOperations(CLUSTER)`).
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// "The operations were not asked for" on the wire.
pub(super) const OPERATIONS_UNKNOWN: i32 = i32::MIN;

/// The cluster at one metadata offset, seen through one listener.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    /// The metadata.
    pub image: &'a Image,
    /// The listener's name.
    pub listener: &'a str,
    /// The broker that is asked.
    pub node_id: BrokerId,
}

impl<'a> View<'a> {
    /// Every registered broker that has this listener, fenced or not, with the listener's endpoint.
    pub fn brokers(self) -> impl Iterator<Item = (BrokerId, &'a BrokerImage, &'a Endpoint)> {
        self.image.brokers().filter_map(move |(id, broker)| Some((id, broker, broker.listener(self.listener)?)))
    }

    /// As [`Self::brokers`], without the fenced ones.
    pub fn alive(self) -> impl Iterator<Item = (BrokerId, &'a BrokerImage, &'a Endpoint)> {
        self.brokers().filter(|(_, broker, _)| !broker.fenced)
    }

    /// Whether clients of this listener can reach the broker.
    pub fn is_alive(self, broker_id: BrokerId) -> bool {
        self.image.broker(broker_id).is_some_and(|broker| !broker.fenced && broker.listener(self.listener).is_some())
    }

    /// Whom clients should send requests for the controller to. With KRaft that is any live broker, for each forwards
    /// them (KIP-590): the one that is asked, if it lives.
    pub fn controller_id(self) -> BrokerId {
        if self.is_alive(self.node_id) {
            return self.node_id;
        }
        self.alive().next().map_or(BrokerId::NONE, |(id, ..)| id)
    }

    /// The partition's leader, if clients can reach it.
    pub fn leader(self, partition: &PartitionImage) -> Option<BrokerId> {
        partition.leader.filter(|leader| self.is_alive(*leader))
    }

    /// The replicas that clients cannot reach.
    pub fn offline(self, partition: &PartitionImage) -> Vec<WireBrokerId> {
        partition.replicas.iter().filter(|replica| !self.is_alive(**replica)).map(|replica| (*replica).into()).collect()
    }
}

/// Whether a topic is Kafka's own (`Topic.java`, `INTERNAL_TOPICS`).
pub(super) fn is_internal(topic: &str) -> bool {
    matches!(topic, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

/// Ids as the messages want them.
pub(super) fn wire_ids(ids: &[BrokerId]) -> Vec<WireBrokerId> {
    ids.iter().map(|id| (*id).into()).collect()
}

/// Text as the messages want it.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
