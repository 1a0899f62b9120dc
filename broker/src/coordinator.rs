//! The group coordinator of this broker: for each partition of `__consumer_offsets` that it leads, the groups that live there.
//!
//! It finds the shard of a group, starts one when this broker begins to lead such a partition and ends it when that is over.
//! What a group may do is decided in the crate `groups`; how records and answers go is in [`shard`]. Driven by the handlers of
//! the group APIs and by the metadata.

mod loading;
mod shard;
mod topics;

pub use shard::{Decided, Shard};

use crate::partitions::Partitions;
use groups::{
    assignors::Assignor,
    classic,
    consumer::ConsumerGroupConfig,
    effects::Effects,
    ids::TopicName,
    migration::MigrationPolicy,
    shard::{Answer, Clock, Config, GroupShard},
};
use metadata::{
    config::Properties,
    delta::Changes,
    image::{Image, TopicImage},
};
use protocol::{
    error_code::ErrorCode,
    ids::{BrokerId, PartitionIndex, TopicPartition},
};
use runtime::{sync::Lock, task};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// The topic in which groups live.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The rank of the list of shards: a shard's own lock is never taken under it.
const RANK: u8 = 3;

/// What a broker's settings say of groups.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Of the groups themselves.
    pub groups: Config,
    /// Whether consumer groups (KIP-848) are served: `group.coordinator.rebalance.protocols`.
    pub consumer_groups: bool,
    /// How much is read at a time when they are loaded, in bytes: `offsets.load.buffer.size`.
    pub load_bytes: usize,
}

impl CoordinatorConfig {
    /// Reads them.
    pub fn new(properties: &Properties) -> Self {
        let minutes = properties.int("offsets.retention.minutes");
        let groups = Config {
            classic: classic::Config {
                initial_rebalance_delay_ms: properties.int("group.initial.rebalance.delay.ms"),
                min_session_timeout_ms: properties.int("group.min.session.timeout.ms"),
                max_session_timeout_ms: properties.int("group.max.session.timeout.ms"),
                max_size: usize::try_from(properties.int("group.max.size")).unwrap_or(usize::MAX),
                ..classic::Config::default()
            },
            consumer: consumer_groups(properties),
            migration: properties
                .text("group.consumer.migration.policy")
                .and_then(MigrationPolicy::from_name)
                .unwrap_or_default(),
            offsets_retention_ms: i64::from(minutes) * 60_000,
            offsets_retention_check_interval_ms: properties.unsigned("offsets.retention.check.interval.ms"),
            offset_metadata_bytes_max: usize::try_from(properties.int("offset.metadata.max.bytes")).unwrap_or(0),
        };
        let protocols = properties.list("group.coordinator.rebalance.protocols");
        let consumer_groups = protocols.contains(&"consumer");
        Self {
            groups,
            consumer_groups,
            load_bytes: usize::try_from(properties.int("offsets.load.buffer.size")).unwrap_or(1),
        }
    }
}

fn consumer_groups(properties: &Properties) -> ConsumerGroupConfig {
    let millis = |key| Duration::from_millis(properties.unsigned(key));
    let assignors = properties.list("group.consumer.assignors");
    ConsumerGroupConfig {
        session_timeout: millis("group.consumer.session.timeout.ms"),
        heartbeat_interval: millis("group.consumer.heartbeat.interval.ms"),
        size_max: usize::try_from(properties.int("group.consumer.max.size")).unwrap_or(usize::MAX),
        assignors: assignors.iter().filter_map(|name| Assignor::from_name(name)).collect(),
        regex_refresh_interval: millis("group.consumer.regex.refresh.interval.ms"),
    }
}

/// See the module.
pub struct Coordinator {
    node_id: BrokerId,
    config: CoordinatorConfig,
    partitions: Arc<Partitions>,
    shards: Lock<BTreeMap<PartitionIndex, Arc<Shard>>>,
}

impl Coordinator {
    /// One that coordinates nothing yet.
    pub fn new(node_id: BrokerId, config: CoordinatorConfig, partitions: Arc<Partitions>) -> Self {
        Self { node_id, config, partitions, shards: Lock::new(RANK, BTreeMap::new()) }
    }

    /// What it was started with.
    pub fn config(&self) -> &CoordinatorConfig {
        &self.config
    }

    /// Takes the next image: which partitions of the topic this broker leads, and which topics are gone.
    pub fn apply(&self, image: &Image, changes: &Changes) {
        let topic = image.topic_by_name(OFFSETS_TOPIC);
        let is_ours = |of: &TopicPartition| topic.is_some_and(|topic| topic.id == of.topic_id);
        let was_ours = |topic: &TopicImage| &*topic.name == OFFSETS_TOPIC;
        if changes.partitions.iter().any(is_ours) || changes.topics_removed.values().any(was_ours) {
            self.place(topic);
        }
        let name = |topic: &TopicImage| TopicName::from(&*topic.name);
        let is_gone = |topic: &&TopicImage| image.topic_by_name(&topic.name).is_none();
        let gone: BTreeSet<TopicName> = changes.topics_removed.values().filter(is_gone).map(name).collect();
        let new = changes.topics_created.iter().copied().chain(changes.partitions.iter().map(|of| of.topic_id));
        let mut changed: BTreeSet<TopicName> = new.filter_map(|id| image.topic(id)).map(name).collect();
        changed.extend(changes.topics_removed.values().map(name));
        if !changed.is_empty() {
            self.all().iter().for_each(|shard| shard.on_topics_changed(&changed, &gone));
        }
    }

    /// Starts and ends shards, so that there is one for each partition that this broker leads, in its leader epoch.
    fn place(&self, topic: Option<&TopicImage>) {
        let mut over = Vec::new();
        {
            let mut shards = self.shards.lock();
            let led: BTreeMap<PartitionIndex, _> = topic
                .into_iter()
                .flat_map(|topic| topic.partitions().map(move |(partition, state)| (topic.id, partition, state)))
                .filter(|(_, _, state)| state.leader == Some(self.node_id))
                .map(|(topic_id, partition, state)| {
                    (partition, (TopicPartition { topic_id, partition }, state.leader_epoch))
                })
                .collect();
            shards.retain(|partition, shard| {
                let stays = led.get(partition) == Some(&(shard.partition(), shard.leader_epoch()));
                if !stays {
                    over.push(shard.clone());
                }
                stays
            });
            for (partition, (of, leader_epoch)) in led {
                shards.entry(partition).or_insert_with(|| {
                    let shard = Arc::new(Shard::new(of, leader_epoch, self.config.clone(), self.partitions.clone()));
                    task::spawn(shard.clone().run());
                    shard
                });
            }
        }
        over.iter().for_each(|shard| shard.end());
    }

    /// Every shard is over: the broker stops.
    pub fn stop(&self) {
        let all = std::mem::take(&mut *self.shards.lock());
        all.values().for_each(|shard| shard.end());
    }

    /// Every shard, in the order of their partitions.
    pub fn all(&self) -> Vec<Arc<Shard>> {
        self.shards.lock().values().cloned().collect()
    }

    /// The shard in which a group lives.
    ///
    /// # Errors
    /// `COORDINATOR_NOT_AVAILABLE` while the topic does not exist, `NOT_COORDINATOR` where another broker leads.
    pub fn of_group(&self, image: &Image, group: &str) -> Result<Arc<Shard>, ErrorCode> {
        let topic = image.topic_by_name(OFFSETS_TOPIC).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        let partition = partition_for(group, topic.partition_count());
        self.shards.lock().get(&partition).cloned().ok_or(ErrorCode::NotCoordinator)
    }
}

/// The partition of `__consumer_offsets` in which a group lives: Java's hash of its name, without the sign
/// (`GroupCoordinatorService.partitionFor`).
pub fn partition_for(group: &str, partitions: usize) -> PartitionIndex {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let count = i32::try_from(partitions).expect("as many partitions as there are").max(1);
    PartitionIndex((hash & i32::MAX) % count)
}

/// What a decision comes to: an answer for whoever asked, and what is to be done.
pub type Decision<T> = (T, Effects<Answer>);

/// A decision about the groups of one shard, at one instant.
pub trait Decide<T>: FnOnce(&mut GroupShard, Clock) -> Decision<T> {}

impl<T, F: FnOnce(&mut GroupShard, Clock) -> Decision<T>> Decide<T> for F {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_lives_where_kafka_puts_it() {
        // As Java 17 says: (name.hashCode() & 0x7fffffff) % 50.
        for (group, partition) in [
            ("", 0),
            ("a", 47),
            ("my-group", 36),
            ("console-consumer-1", 24),
            ("gr\u{fc}\u{df}e", 23),
            ("\u{1f600}", 49),
        ] {
            assert_eq!(partition_for(group, 50), PartitionIndex(partition), "{group}");
        }
        assert_eq!(partition_for("a", 1), PartitionIndex(0));
    }
}
