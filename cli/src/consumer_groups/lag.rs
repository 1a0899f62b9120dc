//! What groups have not read yet, a partition at a time.

use super::ConsumerGroups;
use client::{
    ClientError, OffsetAndMetadata, PartitionName,
    admin::{GroupDescription, MemberDescription},
};
use protocol::ids::{Offset, WallMillis};
use runtime::time;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How far a group has come in a partition, and who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    /// Which partition.
    pub partition: PartitionName,
    /// What the group has committed of it, if it has.
    pub committed: Option<OffsetAndMetadata>,
    /// Behind its last record; nothing where it is not there, or nobody leads it.
    pub log_end: Option<Offset>,
    /// Who has it, if anybody.
    pub member: Option<MemberDescription>,
}

impl PartitionLag {
    /// How many offsets lie between what is committed and the end of the log. Below zero where the log ends before what is
    /// committed: it lost records, or its topic was made anew.
    pub fn lag(&self) -> Option<i64> {
        Some(self.log_end?.0 - self.committed.as_ref()?.offset.0)
    }
}

impl ConsumerGroups {
    /// What each group has not read yet: the partitions of its members, those of whoever has most of them first, and then those
    /// that it has committed and nobody has (`ConsumerGroupService.collectGroupsOffsets`).
    ///
    /// # Errors
    /// When somebody does not answer.
    pub async fn lags(
        &self,
        groups: &BTreeMap<String, GroupDescription>,
    ) -> Result<BTreeMap<String, Vec<PartitionLag>>, ClientError> {
        let names: BTreeSet<String> = groups.keys().cloned().collect();
        let mut lags = BTreeMap::new();
        for (group, committed) in self.admin.group_offsets(&names).await {
            let mut committed = committed?;
            let mut members: Vec<&MemberDescription> = groups[&group].members.iter().collect();
            members.sort_by_key(|member| std::cmp::Reverse(member.assignment.len()));
            let mut rows = Vec::new();
            for member in members {
                rows.extend(member.assignment.iter().map(|partition| PartitionLag {
                    partition: partition.clone(),
                    committed: committed.get(partition).cloned(),
                    log_end: None,
                    member: Some(member.clone()),
                }));
            }
            rows.iter().for_each(|row| drop(committed.remove(&row.partition)));
            rows.extend(committed.into_iter().map(|(partition, committed)| PartitionLag {
                partition,
                committed: Some(committed),
                log_end: None,
                member: None,
            }));
            lags.insert(group, rows);
        }
        let wanted: BTreeSet<PartitionName> = lags.values().flatten().map(|row| row.partition.clone()).collect();
        let ends = self.ends(wanted).await?;
        lags.values_mut().flatten().for_each(|row| row.log_end = ends.get(&row.partition).copied());
        Ok(lags)
    }

    /// Where the logs end that somebody leads.
    async fn ends(&self, wanted: BTreeSet<PartitionName>) -> Result<BTreeMap<PartitionName, Offset>, ClientError> {
        let topics = wanted.iter().map(|partition| &*partition.topic).collect();
        let led = self.partitions_of(topics).await?;
        let led = led.into_iter().filter(|(partition, is_led)| *is_led && wanted.contains(partition));
        let led: Vec<PartitionName> = led.map(|(partition, _)| partition).collect();
        self.consumer.end_offsets(&led, self.timeout).await
    }

    /// How long ago the first record was that a group has not read, of each partition: nothing where nothing is unread. A
    /// partition is left out where that is not known.
    pub async fn ages(&self, rows: &[PartitionLag]) -> BTreeMap<PartitionName, Duration> {
        let (mut ages, mut unread) = (BTreeMap::new(), BTreeMap::new());
        for row in rows {
            let (Some(committed), Some(end)) = (&row.committed, row.log_end) else { continue };
            if committed.offset == end {
                ages.insert(row.partition.clone(), Duration::ZERO);
            } else if committed.offset < end {
                unread.insert(row.partition.clone(), committed.offset..end);
            }
        }
        if unread.is_empty() {
            return ages;
        }
        let found = self.ages.first_unread(&unread).await;
        let now = time::wall_now();
        // A producer's clock may be ahead of this one.
        let age = |timestamp: WallMillis| Duration::from_millis(u64::try_from(now - timestamp.0).unwrap_or(0));
        ages.extend(found.into_iter().map(|(partition, timestamp)| (partition, age(timestamp))));
        ages
    }
}
