//! Pure. Which log directory keeps a replica, and which replicas are out of reach when one fails (KIP-858).
//!
//! In Kafka a broker with several directories chooses, and tells the controller afterwards (AssignReplicasToDirs). Here the
//! controller chooses with the assignment, and the broker obeys: there is no time in which nobody knows what a failed
//! directory held. A broker tells only of what is elsewhere: what moved, and what was there before it was asked. Where every
//! broker has only one, nothing is chosen, for with it goes the broker.

use super::draft::Draft;
use super::partitions;
use metadata::image::{BrokerImage, Image, PartitionImage};
use metadata::record::Record;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerEpoch, BrokerId, DirectoryId, PartitionIndex, TopicId, TopicPartition};
use protocol::messages::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse,
    assign_replicas_to_dirs_response::{DirectoryData, PartitionData, TopicData},
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// How many replicas each directory keeps; nothing in a cluster in which nobody ever had a choice.
pub(super) struct Loads(Option<BTreeMap<DirectoryId, usize>>);

impl Loads {
    /// Counts them.
    pub fn of(image: &Image) -> Self {
        let mut loads = BTreeMap::new();
        let each = image.partitions().flat_map(|(_, state)| &state.directories);
        for directory in each.filter(|directory| directory.is_chosen()) {
            *loads.entry(*directory).or_default() += 1;
        }
        let choice = !loads.is_empty() || image.brokers().any(|(_, broker)| broker.directories.len() > 1);
        Self(choice.then_some(loads))
    }

    /// The record of a new partition, with the emptiest directory for each of its replicas.
    pub fn place(&mut self, image: &Image, mut record: Record) -> Record {
        if let (Some(loads), Record::Partition { replicas, directories, .. }) = (&mut self.0, &mut record) {
            *directories = replicas.iter().map(|replica| choose(loads, image, *replica)).collect();
        }
        record
    }
}

fn choose(loads: &mut BTreeMap<DirectoryId, usize>, image: &Image, broker_id: BrokerId) -> DirectoryId {
    let directories = image.broker(broker_id).map_or(&[][..], |broker| &broker.directories);
    let load = |directory: &&DirectoryId| loads.get(*directory).copied().unwrap_or(0);
    let Some(emptiest) = directories.iter().min_by_key(load).copied() else { return DirectoryId::ZERO };
    *loads.entry(emptiest).or_default() += 1;
    emptiest
}

/// The directory that keeps a replica; all zeroes where none was chosen.
fn directory_of(state: &PartitionImage, replica: BrokerId) -> DirectoryId {
    let at = state.replicas.iter().position(|assigned| *assigned == replica);
    at.and_then(|at| state.directories.get(at)).copied().unwrap_or(DirectoryId::ZERO)
}

/// Whether the directory that keeps a replica works, as far as is known.
pub(super) fn is_online(image: &Image, state: &PartitionImage, replica: BrokerId) -> bool {
    let directory = directory_of(state, replica);
    directory == DirectoryId::ZERO
        || image.broker(replica).is_some_and(|broker| broker.directories.contains(&directory))
}

/// A broker has started without directories that were chosen for replicas of it: it keeps them in others, which it chooses.
/// What is lost stays so until the broker says where it has copied it to.
pub(super) fn forget_lost(draft: &mut Draft<'_>, broker_id: BrokerId) {
    let image = draft.image().clone();
    for (of, state) in image.partitions() {
        let is_lost = directory_of(state, broker_id) == DirectoryId::LOST;
        if state.replicas.contains(&broker_id) && !is_lost && !is_online(&image, state, broker_id) {
            let TopicPartition { topic_id, partition } = of;
            draft.push(Record::ReplicaDirectory { topic_id, partition, broker_id, directory: DirectoryId::ZERO });
        }
    }
}

/// A broker says where replicas of it are (`ReplicationControlManager.handleAssignReplicasToDirs`). A directory that the
/// broker has not registered, or that has failed, is refused with `LOG_DIR_NOT_FOUND`: the broker tells of its failure by
/// itself. With [`DirectoryId::LOST`] a broker says that what it has of a partition is damaged:
/// see [`partitions::lose_replica`].
pub(super) fn assign(draft: &mut Draft<'_>, request: AssignReplicasToDirsRequest) -> AssignReplicasToDirsResponse {
    let broker_id = BrokerId::from(request.broker_id);
    let registered = draft.image().broker(broker_id).map(|broker| broker.epoch);
    if registered != Some(BrokerEpoch(request.broker_epoch)) {
        return AssignReplicasToDirsResponse::default().with_error_code(ErrorCode::StaleBrokerEpoch.code());
    }
    let mut answered = Vec::with_capacity(request.directories.len());
    for asked in request.directories {
        let directory = DirectoryId(asked.id);
        let topics = asked.topics.into_iter().map(|topic| {
            let each = topic.partitions.into_iter().map(|partition| {
                let partition = PartitionIndex(partition.partition_index);
                let of = TopicPartition { topic_id: TopicId(topic.topic_id), partition };
                let code = assign_one(draft, broker_id, of, directory).err().unwrap_or(ErrorCode::None);
                PartitionData::default().with_partition_index(partition.0).with_error_code(code.code())
            });
            let partitions = each.collect();
            TopicData::default().with_topic_id(topic.topic_id).with_partitions(partitions)
        });
        let topics = topics.collect();
        answered.push(DirectoryData::default().with_id(asked.id).with_topics(topics));
    }
    AssignReplicasToDirsResponse::default().with_directories(answered)
}

fn assign_one(
    draft: &mut Draft<'_>,
    broker_id: BrokerId,
    of: TopicPartition,
    directory: DirectoryId,
) -> Result<(), ErrorCode> {
    let TopicPartition { topic_id, partition } = of;
    let image = draft.image();
    let topic = image.topic(topic_id).ok_or(ErrorCode::UnknownTopicId)?;
    let state = topic.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if !state.replicas.contains(&broker_id) {
        return Err(ErrorCode::NotLeaderOrFollower);
    }
    if directory == DirectoryId::LOST {
        return match directory_of(state, broker_id) {
            DirectoryId::LOST => Ok(()),
            _ => partitions::lose_replica(draft, of, broker_id),
        };
    }
    if !image.broker(broker_id).is_some_and(|broker| broker.directories.contains(&directory)) {
        return Err(ErrorCode::LogDirNotFound);
    }
    if directory_of(state, broker_id) != directory {
        draft.push(Record::ReplicaDirectory { topic_id, partition, broker_id, directory });
    }
    Ok(())
}

/// The directories of a broker that are left when these have failed.
pub(super) fn remaining(broker: &BrokerImage, failed: &[Uuid]) -> Vec<DirectoryId> {
    broker.directories.iter().copied().filter(|directory| !failed.contains(&directory.0)).collect()
}

/// Whether a broker keeps a replica for which no directory was chosen: it may lie in any.
pub(super) fn keeps_unplaced(image: &Image, broker_id: BrokerId) -> bool {
    let unplaced = |state: &PartitionImage| directory_of(state, broker_id) == DirectoryId::ZERO;
    image.partitions().any(|(_, state)| state.replicas.contains(&broker_id) && unplaced(state))
}
