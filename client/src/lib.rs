//! A client of a Kafka cluster: the connection that brokers and controllers use too, and producer, consumer and admin on it.
//!
//! It never stores anything, and knows nothing of how a broker works inside. Whatever can be wrong about Kafka's client
//! rules (sequences, positions, memberships, which metadata is newer) is in pure machines: [`producer::batches`],
//! [`producer::sequence`], [`consumer::positions`], [`consumer::membership`], [`consumer::assignors`], [`cluster::view`],
//! [`retry`]. Around them stand thin shells on `runtime`, so that the same client runs over real sockets and inside a
//! simulated node.

pub mod admin;
pub mod cluster;
pub mod connection;
pub mod consumer;
pub mod error;
#[cfg(test)]
mod fake;
pub mod producer;
pub mod retry;

pub use admin::Admin;
pub use cluster::{Cluster, ClusterOptions};
pub use connection::{Connection, ConnectionOptions, PendingResponse};
pub use consumer::{
    Assignor, ClassicProtocol, CommitError, Consumer, ConsumerError, ConsumerOptions, ConsumerProtocol, ConsumerRecord,
    GroupError, GroupMetadata, GroupOptions, GroupProtocol, OffsetAndMetadata, RebalanceListener,
};
pub use error::{ClientError, CloseCause};
pub use producer::{Acks, ProduceError, Producer, ProducerOptions, ProducerRecord, RecordMetadata};
pub use retry::Backoff;

use protocol::ids::PartitionIndex;
use std::fmt;
use std::sync::Arc;

/// A partition by the name of its topic: what people and most client APIs say. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionName {
    /// The topic, by name.
    pub topic: Arc<str>,
    /// Which of the topic's partitions.
    pub partition: PartitionIndex,
}

impl PartitionName {
    /// The partition `partition` of `topic`.
    pub fn new(topic: &str, partition: PartitionIndex) -> Self {
        Self { topic: Arc::from(topic), partition }
    }
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
