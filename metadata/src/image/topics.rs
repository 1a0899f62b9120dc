//! Pure. Which topics exist, and for each partition who keeps it, who leads it, and who is in sync.

use crate::record::LeaderRecoveryState;
use imbl::{OrdMap, ordmap::DiffItem};
use protocol::ids::{BrokerId, DirectoryId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One partition, as the controller sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionImage {
    /// The assignment, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// The log directory of each replica, all zeroes where the broker chooses.
    pub directories: Vec<DirectoryId>,
    /// The in-sync replicas.
    pub isr: Vec<BrokerId>,
    /// The eligible leader replicas: not in sync, but known to hold all that is committed (KIP-966).
    pub elr: Vec<BrokerId>,
    /// The last leader, while the ISR is empty; at most one (KIP-966).
    pub last_known_elr: Vec<BrokerId>,
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// Rises with each change of the leader, to none included.
    pub leader_epoch: LeaderEpoch,
    /// Rises with each change of this partition.
    pub partition_epoch: PartitionEpoch,
    /// Whether the leader was elected uncleanly and has not recovered.
    pub leader_recovery_state: LeaderRecoveryState,
    /// The replicas that a reassignment brings, while it goes on (KIP-455).
    #[serde(skip)]
    pub adding_replicas: Vec<BrokerId>,
    /// The replicas that leave once the reassignment is complete.
    #[serde(skip)]
    pub removing_replicas: Vec<BrokerId>,
}

impl PartitionImage {
    /// The replica that leads when everything is well: the first of the assignment.
    pub fn preferred_leader(&self) -> Option<BrokerId> {
        self.replicas.first().copied()
    }

    /// Whether its replicas are being moved (`PartitionReassignmentReplicas.isReassignmentInProgress`).
    pub fn is_reassigning(&self) -> bool {
        !self.adding_replicas.is_empty() || !self.removing_replicas.is_empty()
    }

    /// The replication factor.
    pub fn replication_factor(&self) -> usize {
        self.replicas.len()
    }
}

/// One topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicImage {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    pub(crate) partitions: OrdMap<PartitionIndex, Arc<PartitionImage>>,
}

impl TopicImage {
    /// A topic without partitions.
    pub(crate) fn new(id: TopicId, name: &str) -> Self {
        Self { id, name: name.into(), partitions: OrdMap::new() }
    }

    /// Its partitions, in order.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionIndex, &PartitionImage)> {
        self.partitions.iter().map(|(index, partition)| (*index, &**partition))
    }

    /// One of its partitions.
    pub fn partition(&self, partition: PartitionIndex) -> Option<&PartitionImage> {
        self.partitions.get(&partition).map(|partition| &**partition)
    }

    /// How many partitions it has.
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// The partitions that one side lacks, or that differ.
    pub(crate) fn changed_since(&self, old: &Self) -> Vec<PartitionIndex> {
        changed_keys(&old.partitions, &self.partitions)
    }
}

/// Every topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopicsImage {
    by_id: OrdMap<TopicId, TopicImage>,
    by_name: OrdMap<Arc<str>, TopicId>,
}

impl TopicsImage {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &TopicImage> {
        self.by_id.values()
    }

    pub(crate) fn iter_by_name(&self) -> impl Iterator<Item = &TopicImage> {
        self.by_name.values().filter_map(|id| self.by_id.get(id))
    }

    pub(crate) fn names_from(&self, start: &str) -> impl Iterator<Item = &str> {
        self.by_name
            .range::<_, str>((std::ops::Bound::Included(start), std::ops::Bound::Unbounded))
            .map(|(name, _)| &**name)
    }

    pub(crate) fn get(&self, id: TopicId) -> Option<&TopicImage> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: TopicId) -> Option<&mut TopicImage> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&TopicImage> {
        self.by_id.get(self.by_name.get(name)?)
    }

    pub(crate) fn insert(&mut self, topic: TopicImage) {
        self.by_name.insert(topic.name.clone(), topic.id);
        self.by_id.insert(topic.id, topic);
    }

    pub(crate) fn remove(&mut self, id: TopicId) -> Option<TopicImage> {
        let topic = self.by_id.remove(&id)?;
        self.by_name.remove(&topic.name);
        Some(topic)
    }

    /// The topics that one side lacks, or that differ.
    pub(crate) fn changed_since(&self, old: &Self) -> Vec<TopicId> {
        changed_keys(&old.by_id, &self.by_id)
    }
}

/// The keys whose values differ between two maps, in order. Costs what differs, not what is there.
pub(crate) fn changed_keys<K: Ord + Clone, V: PartialEq>(old: &OrdMap<K, V>, new: &OrdMap<K, V>) -> Vec<K> {
    old.diff(new)
        .map(|item| match item {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key.clone(),
            DiffItem::Update { new: (key, _), .. } => key.clone(),
        })
        .collect()
}
