//! Pure. What was written of groups: every batch that a coordinator has appended, with what is in it.

use super::Ledger;
use crate::event::NamedPartition;
use broker::event::ReplicaEvent;
use groups::{
    ids::{Generation, GroupEpoch, MemberEpoch, MemberId},
    record::{ClassicGroupValue, CommittedOffset, CurrentAssignmentValue, Record},
};
use protocol::ids::{LeaderEpoch, Offset, TopicPartition};
use std::{collections::BTreeMap, sync::Arc};

/// One batch of a coordinator.
#[derive(Clone, Debug)]
struct Written {
    /// Its first offset.
    base_offset: Offset,
    /// One past its last offset.
    end: Offset,
    /// In which leader epoch it was written.
    leader_epoch: LeaderEpoch,
    /// What is in it.
    records: Arc<[Record]>,
}

/// The batches of each partition of `__consumer_offsets`, in the order of their offsets.
#[derive(Clone, Debug, Default)]
pub struct GroupLogs {
    partitions: BTreeMap<TopicPartition, Vec<Written>>,
    /// Everything that was ever appended, by where and in which leader epoch.
    appended: BTreeMap<(TopicPartition, LeaderEpoch, Offset), Arc<[Record]>>,
}

impl GroupLogs {
    /// Accounts for a batch. One of a coordinator that has been replaced is nothing: it is never committed. What the new one
    /// writes over was not, either.
    pub(super) fn observe(&mut self, event: &ReplicaEvent) {
        let ReplicaEvent::GroupsWritten { partition, leader_epoch, base_offset, end, records } = event else { return };
        let (base_offset, end, leader_epoch) = (*base_offset, *end, *leader_epoch);
        self.appended.insert((*partition, leader_epoch, base_offset), records.clone());
        let written = Written { base_offset, end, leader_epoch, records: records.clone() };
        let batches = self.partitions.entry(*partition).or_default();
        if batches.last().is_some_and(|last| last.leader_epoch > written.leader_epoch) {
            return;
        }
        let kept = batches.partition_point(|batch| batch.end <= written.base_offset);
        batches.truncate(kept);
        batches.push(written);
    }

    /// The partition in which a group lives, once something was written of it.
    pub fn home(&self, group: &str) -> Option<TopicPartition> {
        let has = |batches: &&Vec<Written>| {
            batches.iter().flat_map(|batch| batch.records.iter()).any(|record| &**record.group() == group)
        };
        self.partitions.iter().find(|(_, batches)| has(batches)).map(|(partition, _)| *partition)
    }

    /// What a coordinator appended at an offset in a leader epoch, whether or not it is there still.
    pub fn written(&self, at: TopicPartition, leader_epoch: LeaderEpoch, base_offset: Offset) -> Option<&[Record]> {
        self.appended.get(&(at, leader_epoch, base_offset)).map(AsRef::as_ref)
    }

    /// What was written of a group, in order, each record with where its batch ends.
    pub fn of<'a>(&'a self, group: &'a str) -> impl DoubleEndedIterator<Item = (Offset, &'a Record)> {
        let home = self.home(group).and_then(|home| self.partitions.get(&home));
        let records =
            home.into_iter().flatten().flat_map(|batch| batch.records.iter().map(|record| (batch.end, record)));
        records.filter(move |(_, record)| &**record.group() == group)
    }

    /// What was committed of a partition, in order, each with where its batch ends; nothing where it was deleted.
    pub fn commits<'a>(
        &'a self,
        group: &'a str,
        of: &'a NamedPartition,
    ) -> impl DoubleEndedIterator<Item = (Offset, Option<&'a CommittedOffset>)> {
        self.of(group).filter_map(move |(end, record)| match record {
            Record::Offset { topic, partition, value, .. } if **topic == *of.topic && *partition == of.partition => {
                Some((end, value.as_ref()))
            }
            _ => None,
        })
    }

    /// What was written of a classic group, in order, each with where its batch ends; nothing where it was deleted.
    pub fn classic<'a>(
        &'a self,
        group: &'a str,
    ) -> impl DoubleEndedIterator<Item = (Offset, Option<&'a ClassicGroupValue>)> {
        self.of(group).filter_map(|(end, record)| match record {
            Record::ClassicGroup { value, .. } => Some((end, value.as_ref())),
            _ => None,
        })
    }

    /// The epochs of a consumer group, in order, each with where its batch ends; nothing where it was deleted.
    pub fn epochs<'a>(&'a self, group: &'a str) -> impl DoubleEndedIterator<Item = (Offset, Option<GroupEpoch>)> {
        self.of(group).filter_map(|(end, record)| match record {
            Record::ConsumerGroup { value, .. } => Some((end, value.as_ref().map(|value| value.epoch))),
            _ => None,
        })
    }

    /// What the members of a consumer group were given, in order, each with where its batch ends; nothing where one left.
    pub fn given<'a>(
        &'a self,
        group: &'a str,
    ) -> impl DoubleEndedIterator<Item = (Offset, &'a MemberId, Option<&'a CurrentAssignmentValue>)> {
        self.of(group).filter_map(|(end, record)| match record {
            Record::CurrentAssignment { member, value, .. } => Some((end, member, value.as_ref())),
            _ => None,
        })
    }
}

impl Ledger {
    /// Up to where everything that was written of a group is committed.
    pub fn group_committed(&self, group: &str) -> Offset {
        let home = self.groups.home(group).and_then(|home| self.committed.get(&home));
        home.map_or(Offset::ZERO, |committed| committed.true_high_watermark)
    }

    /// The generation of a classic group that is committed.
    pub fn committed_generation(&self, group: &str) -> Option<Generation> {
        let committed = self.group_committed(group);
        let (_, value) = self.groups.classic(group).rev().find(|(end, _)| *end <= committed)?;
        value.map(|value| value.generation)
    }

    /// The epoch of a consumer group's member that is committed.
    pub fn committed_member_epoch(&self, group: &str, member: &str) -> Option<MemberEpoch> {
        let committed = self.group_committed(group);
        let mut given = self.groups.given(group).rev();
        let (_, _, value) = given.find(|(end, id, _)| *end <= committed && &***id == member)?;
        value.map(|value| value.member_epoch)
    }
}
