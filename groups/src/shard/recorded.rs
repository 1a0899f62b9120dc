//! Pure. What a log says of its groups, before anybody's clock runs: what any two readings of it must agree about, whichever of
//! its records a compaction had taken out before.

use super::{Group, GroupShard};
use crate::{
    consumer::State,
    ids::GroupId,
    offsets::{GroupOffsets, Offsets},
    record::ClassicGroupValue,
};
use std::collections::{BTreeMap, BTreeSet};

/// See the module. Made by [`GroupShard::recorded`].
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    classic: BTreeMap<GroupId, ClassicGroupValue>,
    consumer: BTreeMap<GroupId, State>,
    offsets: Offsets,
}

/// All of one group, to be compared and told of.
#[derive(Debug, PartialEq)]
struct One<'a> {
    classic: Option<&'a ClassicGroupValue>,
    consumer: Option<&'a State>,
    offsets: Option<&'a GroupOffsets>,
}

impl Recorded {
    fn of(&self, group: &GroupId) -> One<'_> {
        One { classic: self.classic.get(group), consumer: self.consumer.get(group), offsets: self.offsets.of(group) }
    }

    fn groups(&self) -> impl Iterator<Item = &GroupId> {
        self.classic.keys().chain(self.consumer.keys()).chain(self.offsets.groups())
    }

    /// The first group about which this is not what another reading says, with what is said of it here and there.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let groups: BTreeSet<&GroupId> = self.groups().chain(other.groups()).collect();
        let differs = |group: &&GroupId| self.of(group) != other.of(group);
        let group = groups.into_iter().find(differs)?;
        Some(format!("{group} is {:?} here and {:?} there", self.of(group), other.of(group)))
    }
}

impl GroupShard {
    /// Whether anything is known of a group, while the log is read.
    pub fn has_read_of(&self, group: &GroupId) -> bool {
        self.loading.contains_key(group) || self.groups.contains_key(group) || self.offsets.of(group).is_some()
    }

    /// What the log says, after [`Self::load`] has taken all of it and before [`Self::loaded`].
    pub fn recorded(&self) -> Recorded {
        let classic = self.loading.iter().filter(|(group, _)| !self.groups.contains_key(*group));
        let consumer = self.groups.iter().filter_map(|(id, group)| match group {
            Group::Consumer(group) => Some((id.clone(), group.state().clone())),
            Group::Classic(_) => None,
        });
        Recorded {
            classic: classic.map(|(group, value)| (group.clone(), value.clone())).collect(),
            consumer: consumer.collect(),
            offsets: self.offsets.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{Generation, GroupEpoch},
        record::{CommittedOffset, ConsumerGroupValue, Record},
        shard::Config,
    };
    use protocol::ids::{Offset, PartitionIndex, WallMillis};

    fn read(records: &[Record]) -> Recorded {
        let mut shard = GroupShard::new(Config::default());
        records.iter().for_each(|record| shard.load(record.clone()));
        shard.recorded()
    }

    fn offset(at: i64) -> Record {
        let (group, topic, partition) = ("a".into(), "orders".into(), PartitionIndex(0));
        let (leader_epoch, metadata, expires_at) = (None, String::new(), None);
        let value =
            CommittedOffset { offset: Offset(at), leader_epoch, metadata, committed_at: WallMillis(0), expires_at };
        Record::Offset { group, topic, partition, value: Some(value) }
    }

    fn classic(value: Option<i32>) -> Record {
        let value = value.map(|generation| ClassicGroupValue {
            protocol_type: "consumer".into(),
            generation: Generation(generation),
            protocol: None,
            leader: None,
            state_since: None,
            members: vec![],
        });
        Record::ClassicGroup { group: "b".into(), value }
    }

    fn consumer(epoch: i32) -> Record {
        let value = Some(ConsumerGroupValue { epoch: GroupEpoch(epoch), metadata_hash: 0 });
        Record::ConsumerGroup { group: "b".into(), value }
    }

    #[test]
    fn what_was_written_over_makes_no_difference_and_what_is_left_does() {
        let all = read(&[offset(1), classic(Some(4)), offset(2), classic(Some(5)), classic(None), consumer(6)]);
        assert_eq!(all.difference(&read(&[offset(2), consumer(6)])), None);
        // Where the deletion of the classic group was forgotten before the group itself was.
        assert_eq!(all.difference(&read(&[classic(Some(4)), consumer(6), offset(2)])), None);
        for other in [&[offset(1), consumer(6)][..], &[consumer(6)], &[offset(2), consumer(7)], &[offset(2)]] {
            assert!(all.difference(&read(other)).is_some());
        }
        let before = read(&[classic(Some(4))]);
        assert!(before.difference(&read(&[classic(Some(5))])).is_some_and(|said| said.starts_with("b is ")));
        assert!(before.difference(&read(&[])).is_some());
    }
}
