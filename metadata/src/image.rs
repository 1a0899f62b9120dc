//! Pure. What the cluster's metadata is at one offset: the result of every record before it.
//!
//! An image is cheap to clone and never changes under a reader: its maps are persistent, so the next image shares all
//! that did not change. It is changed only by [`crate::delta`]; controllers, brokers and the simulator's ledger hold one
//! each, and at equal offsets they hold the same.

mod brokers;
mod configs;
mod features;
mod producer_ids;
mod snapshot;
mod topics;

pub use brokers::{BrokerImage, BrokersImage};
pub use configs::ConfigsImage;
pub use features::{FeaturesImage, METADATA_VERSION, METADATA_VERSION_LEVEL, METADATA_VERSION_RANGE};
pub use producer_ids::ProducerIdsImage;
pub use snapshot::SnapshotError;
pub use topics::{PartitionImage, TopicImage, TopicsImage};

use protocol::ids::{BrokerId, MetadataOffset, TopicId, TopicPartition};

/// The cluster's metadata after every record before `offset`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    pub(crate) offset: MetadataOffset,
    pub(crate) brokers: BrokersImage,
    pub(crate) topics: TopicsImage,
    /// The dynamic settings.
    pub configs: ConfigsImage,
    /// The finalized feature levels.
    pub features: FeaturesImage,
    /// Which producer ids were given away.
    pub producer_ids: ProducerIdsImage,
}

impl Image {
    /// The offset of the next record: how many records this image holds.
    pub fn offset(&self) -> MetadataOffset {
        self.offset
    }

    /// Every registered broker, fenced or not, in the order of ids.
    pub fn brokers(&self) -> impl Iterator<Item = (BrokerId, &BrokerImage)> {
        self.brokers.iter()
    }

    /// A broker's registration.
    pub fn broker(&self, broker_id: BrokerId) -> Option<&BrokerImage> {
        self.brokers.get(broker_id)
    }

    /// Whether a broker may lead and be in an ISR: registered, unfenced and not in controlled shutdown
    /// (`ClusterControlManager.isActive`).
    pub fn is_active(&self, broker_id: BrokerId) -> bool {
        self.broker(broker_id).is_some_and(BrokerImage::is_active)
    }

    /// Every topic, in the order of ids.
    pub fn topics(&self) -> impl Iterator<Item = &TopicImage> {
        self.topics.iter()
    }

    /// Every topic, in the order of names.
    pub fn topics_by_name(&self) -> impl Iterator<Item = &TopicImage> {
        self.topics.iter_by_name()
    }

    /// A topic by its identity.
    pub fn topic(&self, topic_id: TopicId) -> Option<&TopicImage> {
        self.topics.get(topic_id)
    }

    /// A topic by its name.
    pub fn topic_by_name(&self, name: &str) -> Option<&TopicImage> {
        self.topics.by_name(name)
    }

    /// Topic names from `start` on, in order.
    pub fn topic_names_from(&self, start: &str) -> impl Iterator<Item = &str> {
        self.topics.names_from(start)
    }

    /// A partition.
    pub fn partition(&self, of: TopicPartition) -> Option<&PartitionImage> {
        self.topic(of.topic_id)?.partition(of.partition)
    }

    /// Every partition of every topic.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &PartitionImage)> {
        self.topics().flat_map(|topic| {
            let topic_id = topic.id;
            topic.partitions().map(move |(partition, state)| (TopicPartition { topic_id, partition }, state))
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
