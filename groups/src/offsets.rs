//! Pure. How far each group has come in each partition, when that is forgotten, and what is refused.
//!
//! It holds what the records say. Whether a member may commit at all is its group's to say. Source: Kafka's
//! `OffsetMetadataManager`, `OffsetExpirationConditionImpl`.

use crate::{
    ids::{GroupId, TopicName},
    record::{CommittedOffset, Record},
};
use protocol::ids::{PartitionIndex, WallMillis};
use std::collections::{BTreeMap, BTreeSet};

/// The committed offsets of one group.
pub type GroupOffsets = BTreeMap<TopicName, BTreeMap<PartitionIndex, CommittedOffset>>;

/// From when on a group's offsets grow old (KIP-211).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ageing {
    /// They do not: it has members, or is about to.
    Not,
    /// From when each was committed on.
    SinceCommitted,
    /// From when the group lost its last member on.
    Since(WallMillis),
}

/// The offsets of all groups of one partition of `__consumer_offsets`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    groups: BTreeMap<GroupId, GroupOffsets>,
}

impl Offsets {
    /// Takes one record's word for it. What is deleted need not be there.
    pub fn apply(
        &mut self,
        group: &GroupId,
        topic: &TopicName,
        partition: PartitionIndex,
        value: Option<&CommittedOffset>,
    ) {
        let Some(value) = value else { return self.remove(group, topic, partition) };
        if !self.groups.contains_key(group) {
            self.groups.insert(group.clone(), GroupOffsets::new());
        }
        let topics = self.groups.get_mut(group).expect("inserted above");
        if !topics.contains_key(topic) {
            topics.insert(topic.clone(), BTreeMap::new());
        }
        topics.get_mut(topic).expect("inserted above").insert(partition, value.clone());
    }

    fn remove(&mut self, group: &GroupId, topic: &TopicName, partition: PartitionIndex) {
        let Some(topics) = self.groups.get_mut(group) else { return };
        if let Some(partitions) = topics.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                topics.remove(topic);
            }
        }
        if topics.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Everything that a group has committed, if it has.
    pub fn of(&self, group: &str) -> Option<&GroupOffsets> {
        self.groups.get(group)
    }

    /// One committed offset.
    pub fn get(&self, group: &str, topic: &str, partition: PartitionIndex) -> Option<&CommittedOffset> {
        self.groups.get(group)?.get(topic)?.get(&partition)
    }

    /// The groups that have committed anything.
    pub fn groups(&self) -> impl Iterator<Item = &GroupId> {
        self.groups.keys()
    }

    /// The records that forget everything of a group.
    pub fn forget_group(&self, group: &str) -> Vec<Record> {
        let Some((group, topics)) = self.groups.get_key_value(group) else { return Vec::new() };
        let places = topics.iter().flat_map(|(topic, partitions)| partitions.keys().map(move |at| (topic, *at)));
        places.map(|(topic, partition)| forget(group, topic, partition)).collect()
    }

    /// The records that forget everything of topics that are gone (`OffsetMetadataManager.onPartitionsDeleted`).
    pub fn forget_topics(&self, gone: &BTreeSet<TopicName>) -> Vec<Record> {
        let mut records = Vec::new();
        // Asked at each change of the metadata, and seldom is anything gone.
        let groups = if gone.is_empty() { None } else { Some(&self.groups) };
        for (group, topics) in groups.into_iter().flatten() {
            for (topic, partitions) in topics.iter().filter(|(topic, _)| gone.contains(*topic)) {
                records.extend(partitions.keys().map(|partition| forget(group, topic, *partition)));
            }
        }
        records
    }

    /// The records that forget what of a group has grown too old; a topic that it reads does not. Says too whether nothing
    /// is left then (`OffsetMetadataManager.cleanupExpiredOffsets`).
    pub fn forget_old(
        &self,
        group: &str,
        ageing: Ageing,
        reads: impl Fn(&str) -> bool,
        (now, retention_ms): (WallMillis, i64),
    ) -> (Vec<Record>, bool) {
        let Some((group, topics)) = self.groups.get_key_value(group) else { return (Vec::new(), true) };
        let (mut records, mut all) = (Vec::new(), true);
        for (topic, partitions) in topics {
            let is_read = reads(topic);
            for (partition, committed) in partitions {
                if !is_read && is_old(committed, ageing, now, retention_ms) {
                    records.push(forget(group, topic, *partition));
                } else {
                    all = false;
                }
            }
        }
        (records, all)
    }
}

/// The record that forgets one committed offset.
pub fn forget(group: &GroupId, topic: &TopicName, partition: PartitionIndex) -> Record {
    Record::Offset { group: group.clone(), topic: topic.clone(), partition, value: None }
}

fn is_old(committed: &CommittedOffset, ageing: Ageing, now: WallMillis, retention_ms: i64) -> bool {
    let since = match ageing {
        Ageing::Not => return false,
        Ageing::SinceCommitted => committed.committed_at,
        Ageing::Since(since) => since,
    };
    match committed.expires_at {
        Some(expires_at) => now >= expires_at,
        None => now.0.saturating_sub(since.0) >= retention_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ids::Offset;

    fn committed(offset: i64, committed_at: i64, expires_at: Option<i64>) -> CommittedOffset {
        CommittedOffset {
            offset: Offset(offset),
            leader_epoch: None,
            metadata: String::new(),
            committed_at: WallMillis(committed_at),
            expires_at: expires_at.map(WallMillis),
        }
    }

    fn offsets() -> Offsets {
        let mut offsets = Offsets::default();
        for (topic, partition, at) in [("a", 0, 100), ("a", 1, 200), ("b", 0, 300)] {
            let value = committed(7, at, None);
            offsets.apply(&"g".into(), &topic.into(), PartitionIndex(partition), Some(&value));
        }
        offsets
    }

    fn old(offsets: &Offsets, ageing: Ageing, reads: &str, now: i64) -> (Vec<String>, bool) {
        let (records, all) = offsets.forget_old("g", ageing, |topic| topic == reads, (WallMillis(now), 1_000));
        let place = |record: &Record| match record {
            Record::Offset { topic, partition, value: None, .. } => format!("{topic}-{partition}"),
            other => panic!("{other:?}"),
        };
        (records.iter().map(place).collect(), all)
    }

    #[test]
    fn the_last_record_of_a_key_wins_and_a_deletion_of_nothing_is_nothing() {
        let mut offsets = offsets();
        offsets.apply(&"g".into(), &"a".into(), PartitionIndex(0), Some(&committed(9, 400, None)));
        assert_eq!(offsets.get("g", "a", PartitionIndex(0)).map(|value| value.offset), Some(Offset(9)));
        offsets.apply(&"other".into(), &"a".into(), PartitionIndex(0), None);
        offsets.apply(&"g".into(), &"c".into(), PartitionIndex(0), None);
        for (topic, partition) in [("a", 0), ("a", 1), ("b", 0)] {
            offsets.apply(&"g".into(), &topic.into(), PartitionIndex(partition), None);
        }
        assert_eq!(offsets, Offsets::default());
    }

    #[test]
    fn a_group_without_members_forgets_by_when_it_lost_them() {
        assert_eq!(old(&offsets(), Ageing::Since(WallMillis(500)), "", 1_499), (vec![], false));
        let (forgotten, all) = old(&offsets(), Ageing::Since(WallMillis(500)), "", 1_500);
        assert_eq!((forgotten.len(), all), (3, true));
    }

    #[test]
    fn what_a_group_reads_does_not_grow_old() {
        let (forgotten, all) = old(&offsets(), Ageing::SinceCommitted, "a", 9_999);
        assert_eq!((forgotten, all), (vec!["b-0".into()], false));
        assert_eq!(old(&offsets(), Ageing::SinceCommitted, "", 1_200), (vec!["a-0".into(), "a-1".into()], false));
        assert_eq!(old(&offsets(), Ageing::Not, "", i64::MAX), (vec![], false));
    }

    #[test]
    fn a_client_of_an_old_version_says_itself_when_its_offset_ends() {
        let mut offsets = Offsets::default();
        offsets.apply(&"g".into(), &"a".into(), PartitionIndex(0), Some(&committed(1, 0, Some(50))));
        assert_eq!(old(&offsets, Ageing::SinceCommitted, "", 49), (vec![], false));
        assert_eq!(old(&offsets, Ageing::SinceCommitted, "", 50), (vec!["a-0".into()], true));
    }

    #[test]
    fn what_is_gone_is_forgotten_for_every_group() {
        let mut offsets = offsets();
        offsets.apply(&"h".into(), &"b".into(), PartitionIndex(3), Some(&committed(1, 0, None)));
        assert_eq!(offsets.forget_topics(&BTreeSet::from(["b".into()])).len(), 2);
        assert_eq!(offsets.forget_group("g").len(), 3);
        assert_eq!(offsets.forget_group("nobody").len(), 0);
    }
}
