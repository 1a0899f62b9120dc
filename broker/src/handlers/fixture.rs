//! Metadata to test handlers with: three brokers and a few topics.

use metadata::{
    delta,
    image::Image,
    record::{Endpoint, LeaderRecoveryState, Record, SecurityProtocol},
};
use protocol::ids::{BrokerEpoch, BrokerId, IncarnationId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The listener that every broker of the fixture has.
pub(super) const LISTENER: &str = "PLAINTEXT";

/// A cluster to be described.
pub(super) struct Cluster {
    image: Image,
}

/// The id of the topic with this number.
pub(super) fn topic_id(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(number))
}

impl Cluster {
    /// Brokers 1 to `brokers`, unfenced, on ports 9001 and so on.
    pub(super) fn of(brokers: i32) -> Self {
        let mut cluster = Self { image: Image::default() };
        for id in 1..=brokers {
            let endpoint = Endpoint {
                name: LISTENER.to_owned(),
                host: format!("broker-{id}"),
                port: 9_000 + id as u16,
                security_protocol: SecurityProtocol::Plaintext,
            };
            cluster = cluster.with(Record::RegisterBroker {
                broker_id: BrokerId(id),
                incarnation_id: IncarnationId(Uuid::from_u128(id as u128)),
                listeners: vec![endpoint],
                rack: Some(format!("rack-{id}")),
                directories: Vec::new(),
                fenced: false,
                controlled_shutdown: false,
                features: BTreeMap::new(),
            });
        }
        cluster
    }

    /// The cluster after one more record.
    pub(super) fn with(mut self, record: Record) -> Self {
        let offset = self.image.offset();
        delta::apply(&mut self.image, offset, &record);
        self
    }

    /// A topic whose partitions are on brokers 1, 2 and 3, led by 1.
    pub(super) fn topic(mut self, number: u128, name: &str, partitions: i32) -> Self {
        self = self.with(Record::Topic { name: name.to_owned(), topic_id: topic_id(number) });
        let replicas: Vec<BrokerId> = self.image.brokers().map(|(id, _)| id).collect();
        for partition in 0..partitions {
            self = self.with(Record::Partition {
                topic_id: topic_id(number),
                partition: PartitionIndex(partition),
                replicas: replicas.clone(),
                directories: Vec::new(),
                isr: replicas.clone(),
                elr: Vec::new(),
                last_known_elr: Vec::new(),
                leader: replicas.first().copied(),
                leader_epoch: LeaderEpoch(4),
                partition_epoch: PartitionEpoch(7),
                leader_recovery_state: LeaderRecoveryState::Recovered,
            });
        }
        self
    }

    /// The cluster with a broker fenced; its leaderships stay, as they do for a moment.
    pub(super) fn fenced(self, broker_id: i32) -> Self {
        let broker_epoch: BrokerEpoch = self.image.broker(BrokerId(broker_id)).expect("it is registered").epoch;
        self.with(Record::FenceBroker { broker_id: BrokerId(broker_id), broker_epoch })
    }

    /// Its metadata.
    pub(super) fn image(&self) -> &Image {
        &self.image
    }
}
