//! Pure. Records applied to an image give the next image, and say what changed.
//!
//! This is the only place that changes an image. Every record here is committed, so one that does not fit the image
//! (an unknown topic, a stale broker epoch) is a bug of the controller that decided it, or of the log that brought it:
//! to go on would be to disagree with the other nodes, so it is an assertion, in release too.

use crate::image::{BrokerImage, Image, PartitionImage, TopicImage};
use crate::record::{ConfigResource, Record};
use protocol::ids::{BrokerEpoch, BrokerId, DirectoryId, MetadataOffset, PartitionIndex, TopicId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What differs between two images: what a broker must look at again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Brokers that were registered, changed or removed.
    pub brokers: BTreeSet<BrokerId>,
    /// Topics that are new.
    pub topics_created: BTreeSet<TopicId>,
    /// Topics that are gone, as they were.
    pub topics_removed: BTreeMap<TopicId, TopicImage>,
    /// Partitions that are new or changed; those of removed topics are not listed.
    pub partitions: BTreeSet<TopicPartition>,
    /// Resources whose dynamic settings changed.
    pub configs: BTreeSet<ConfigResource>,
    /// Whether a finalized feature level changed.
    pub features: bool,
    /// Whether a block of producer ids was given away.
    pub producer_ids: bool,
}

impl Changes {
    /// What differs between `old` and `new`, whatever records lie between: for an image that came as a snapshot.
    pub fn between(old: &Image, new: &Image) -> Self {
        let mut changes = Self {
            brokers: new.brokers.changed_since(&old.brokers).into_iter().collect(),
            configs: new.configs.changed_since(&old.configs).into_iter().collect(),
            features: new.features != old.features,
            producer_ids: new.producer_ids != old.producer_ids,
            ..Self::default()
        };
        for topic_id in new.topics.changed_since(&old.topics) {
            match (old.topic(topic_id), new.topic(topic_id)) {
                (Some(before), None) => {
                    changes.topics_removed.insert(topic_id, before.clone());
                }
                (before, Some(after)) => {
                    let partitions = match before {
                        Some(before) => after.changed_since(before),
                        None => after.partitions().map(|(partition, _)| partition).collect(),
                    };
                    if before.is_none() {
                        changes.topics_created.insert(topic_id);
                    }
                    let of = |partition| TopicPartition { topic_id, partition };
                    changes.partitions.extend(partitions.into_iter().map(of));
                }
                (None, None) => unreachable!("topic {topic_id} differs, so one side has it"),
            }
        }
        changes
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Records being applied to an image, with the account of what they change.
#[derive(Clone, Debug)]
pub struct Delta {
    base: Image,
    image: Image,
}

impl Delta {
    /// Nothing applied yet.
    pub fn new(base: &Image) -> Self {
        Self { base: base.clone(), image: base.clone() }
    }

    /// Applies the next record.
    ///
    /// # Panics
    /// When the record does not fit: see the module.
    pub fn apply(&mut self, record: &Record) {
        let offset = self.image.offset;
        apply(&mut self.image, offset, record);
    }

    /// The image as it is with what was applied so far.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The next image, and what differs from the one that the delta began with.
    pub fn finish(self) -> (Image, Changes) {
        let changes = Changes::between(&self.base, &self.image);
        (self.image, changes)
    }
}

/// Applies the record at `offset` to the image, which must hold every record before it and no more.
///
/// # Panics
/// When the record does not fit: see the module.
pub fn apply(image: &mut Image, offset: MetadataOffset, record: &Record) {
    assert_eq!(offset, image.offset, "record {} is not the image's next", record.name());
    match record {
        Record::RegisterBroker { .. } => register_broker(image, offset, record),
        Record::FenceBroker { broker_id, broker_epoch } => {
            registration(image, *broker_id, *broker_epoch, record).fenced = true;
        }
        Record::UnfenceBroker { broker_id, broker_epoch } => {
            registration(image, *broker_id, *broker_epoch, record).fenced = false;
        }
        Record::BrokerControlledShutdown { broker_id, broker_epoch } => {
            let broker = registration(image, *broker_id, *broker_epoch, record);
            broker.controlled_shutdown = true;
            broker.controlled_shutdown_offset = Some(offset);
        }
        Record::UnregisterBroker { broker_id, broker_epoch } => {
            registration(image, *broker_id, *broker_epoch, record);
            image.brokers.remove(*broker_id);
        }
        Record::Topic { name, topic_id } => {
            assert!(image.topic(*topic_id).is_none(), "topic {topic_id} exists already");
            assert!(image.topic_by_name(name).is_none(), "topic {name} exists already");
            image.topics.insert(TopicImage::new(*topic_id, name));
        }
        Record::RemoveTopic { topic_id } => {
            let topic = image.topics.remove(*topic_id);
            let topic = topic.unwrap_or_else(|| panic!("RemoveTopic names topic {topic_id}, which does not exist"));
            image.configs.clear(&ConfigResource::Topic(topic.name.to_string()));
        }
        Record::Partition { .. } => create_partition(image, record),
        Record::PartitionChange { .. } => change_partition(image, record),
        Record::ReplicaDirectory { topic_id, partition, broker_id, directory } => {
            let state = changed_partition(image, *topic_id, *partition, record);
            let at = state.replicas.iter().position(|replica| replica == broker_id);
            let at = at.unwrap_or_else(|| panic!("broker {broker_id} keeps no replica of {topic_id}-{partition}"));
            state.directories.resize(state.replicas.len(), DirectoryId::ZERO);
            state.directories[at] = *directory;
        }
        Record::Config { resource, name, value } => match value {
            Some(value) => image.configs.set(resource, name, value),
            None => image.configs.unset(resource, name),
        },
        Record::ProducerIds { next_producer_id, .. } => {
            let given = image.producer_ids.next_producer_id;
            assert!(*next_producer_id > given, "producer ids up to {given} are given away, not {next_producer_id}");
            image.producer_ids.next_producer_id = *next_producer_id;
        }
        Record::FeatureLevel { name, level } => image.features.set(name, *level),
        Record::NoOp => {}
    }
    image.offset = offset.next();
}

/// The registration that a record is about.
fn registration<'a>(
    image: &'a mut Image,
    broker_id: BrokerId,
    broker_epoch: BrokerEpoch,
    record: &Record,
) -> &'a mut BrokerImage {
    let name = record.name();
    let broker = image.brokers.get_mut(broker_id);
    let broker = broker.unwrap_or_else(|| panic!("{name} names broker {broker_id}, which is not registered"));
    assert_eq!(broker.epoch, broker_epoch, "{name} names another registration of broker {broker_id}");
    broker
}

/// A registration's epoch is its record's offset; the same incarnation keeps the one it has
/// (`ClusterControlManager.registerBroker`).
fn register_broker(image: &mut Image, offset: MetadataOffset, record: &Record) {
    let Record::RegisterBroker {
        broker_id,
        incarnation_id,
        listeners,
        rack,
        directories,
        fenced,
        controlled_shutdown,
        features,
    } = record
    else {
        unreachable!("called with a registration only")
    };
    let before = image.broker(*broker_id).filter(|before| before.incarnation_id == *incarnation_id);
    let epoch = before.map_or(BrokerEpoch(offset.0), |before| before.epoch);
    let shutdown_offset = before.and_then(|before| before.controlled_shutdown_offset).unwrap_or(offset);
    let broker = BrokerImage {
        epoch,
        incarnation_id: *incarnation_id,
        listeners: listeners.clone(),
        rack: rack.clone(),
        directories: directories.clone(),
        fenced: *fenced,
        controlled_shutdown: *controlled_shutdown,
        controlled_shutdown_offset: controlled_shutdown.then_some(shutdown_offset),
        features: features.clone(),
    };
    image.brokers.insert(*broker_id, broker);
}

fn create_partition(image: &mut Image, record: &Record) {
    let Record::Partition {
        topic_id,
        partition,
        replicas,
        directories,
        isr,
        elr,
        last_known_elr,
        leader,
        leader_epoch,
        partition_epoch,
        leader_recovery_state,
    } = record
    else {
        unreachable!("called with a new partition only")
    };
    let state = PartitionImage {
        replicas: replicas.clone(),
        directories: directories.clone(),
        isr: isr.clone(),
        elr: elr.clone(),
        last_known_elr: last_known_elr.clone(),
        leader: *leader,
        leader_epoch: *leader_epoch,
        partition_epoch: *partition_epoch,
        leader_recovery_state: *leader_recovery_state,
        adding_replicas: Vec::new(),
        removing_replicas: Vec::new(),
    };
    let topic = image.topics.get_mut(*topic_id);
    let topic = topic.unwrap_or_else(|| panic!("Partition names topic {topic_id}, which does not exist"));
    let before = topic.partitions.insert(*partition, Arc::new(state));
    assert!(before.is_none(), "partition {topic_id}-{partition} exists already");
}

/// The partition that a record changes, its partition epoch raised already.
fn changed_partition<'a>(
    image: &'a mut Image,
    topic_id: TopicId,
    partition: PartitionIndex,
    record: &Record,
) -> &'a mut PartitionImage {
    let state = image.topics.get_mut(topic_id).and_then(|topic| topic.partitions.get_mut(&partition));
    let name = record.name();
    let state = state.unwrap_or_else(|| panic!("{name} names {topic_id}-{partition}, which does not exist"));
    let state = Arc::make_mut(state);
    state.partition_epoch = state.partition_epoch.next();
    state
}

/// The partition epoch rises with every change, the leader epoch with every one that names a leader
/// (`PartitionRegistration.merge`).
fn change_partition(image: &mut Image, record: &Record) {
    let Record::PartitionChange {
        topic_id,
        partition,
        isr,
        elr,
        last_known_elr,
        leader,
        leader_recovery_state,
        replicas,
        adding_replicas,
        removing_replicas,
    } = record
    else {
        unreachable!("called with a changed partition only")
    };
    let state = changed_partition(image, *topic_id, *partition, record);
    if let Some(isr) = isr {
        state.isr.clone_from(isr);
    }
    if let Some(elr) = elr {
        state.elr.clone_from(elr);
    }
    if let Some(last_known_elr) = last_known_elr {
        state.last_known_elr.clone_from(last_known_elr);
    }
    if let Some(leader) = leader {
        state.leader = *leader;
        state.leader_epoch = state.leader_epoch.next();
    }
    if let Some(leader_recovery_state) = leader_recovery_state {
        state.leader_recovery_state = *leader_recovery_state;
    }
    if let Some(replicas) = replicas {
        let directory = |replica: &BrokerId| {
            let at = state.replicas.iter().position(|before| before == replica);
            at.and_then(|at| state.directories.get(at).copied()).unwrap_or(DirectoryId::ZERO)
        };
        state.directories = replicas.iter().map(directory).collect();
        state.replicas.clone_from(replicas);
    }
    if let Some(adding_replicas) = adding_replicas {
        state.adding_replicas.clone_from(adding_replicas);
    }
    if let Some(removing_replicas) = removing_replicas {
        state.removing_replicas.clone_from(removing_replicas);
    }
}

#[cfg(test)]
mod tests;
