//! Pure. Who of a group's members is to read which partitions: the assignors that the coordinator itself runs (KIP-848).
//!
//! An assignor sees what each member asks for and what it was to have before, and answers what each is to have now. It never
//! looks at what members hold at the moment: to get from there to here without reading twice is `consumer::reconcile`'s. It
//! ignores racks, as Kafka's do since 4.0.

mod balance;
mod range;
mod uniform;

#[cfg(test)]
mod tests;

use crate::ids::{InstanceId, MemberId};
use crate::record::TopicPartitions;
use protocol::ids::{PartitionIndex, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// An assignor, by what `group.consumer.assignors` and a member's `group.remote.assignor` call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Spreads partitions evenly and leaves them where they are if it can (`UniformAssignor`).
    Uniform,
    /// Gives each member a range of each topic, so that topics with equally many partitions are read together
    /// (`RangeAssignor`).
    Range,
}

impl Assignor {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor of that name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    /// What each member is to have. Every member of `group` is in the answer.
    ///
    /// Each partition of a topic that somebody asks for is given to one member that asks for it. A topic that
    /// `group.partition_counts` does not know has no partitions.
    pub fn assign(self, group: &GroupSpec) -> BTreeMap<MemberId, TopicPartitions> {
        match self {
            Self::Uniform if group.is_homogeneous() => uniform::assign(group),
            Self::Uniform => balance::assign(group),
            Self::Range => range::assign(group),
        }
    }
}

/// What an assignor is told of a member (`MemberSubscription`, `MemberAssignment`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberSpec {
    /// Its name over restarts, if it has one.
    pub instance: Option<InstanceId>,
    /// The topics that it asks for.
    pub topics: BTreeSet<TopicId>,
    /// What it was to have before.
    pub target: TopicPartitions,
}

/// What an assignor is told of a group (`GroupSpec`, `SubscribedTopicDescriber`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSpec {
    /// The members.
    pub members: BTreeMap<MemberId, MemberSpec>,
    /// How many partitions each topic has.
    pub partition_counts: BTreeMap<TopicId, usize>,
}

impl GroupSpec {
    /// Whether all members ask for the same topics (`SubscriptionType`).
    fn is_homogeneous(&self) -> bool {
        let mut members = self.members.values();
        members.next().is_none_or(|first| members.all(|member| member.topics == first.topics))
    }

    /// The topic's partitions.
    fn partitions(&self, topic: TopicId) -> impl Iterator<Item = PartitionIndex> + use<> {
        let count = self.partition_counts.get(&topic).copied().unwrap_or(0);
        (0..count).map(|index| PartitionIndex(i32::try_from(index).expect("a topic has fewer than 2^31 partitions")))
    }

    /// What each member may keep of what it was to have: partitions that exist, of topics that it asks for, and that no member
    /// before it keeps.
    fn kept(&self) -> Vec<Vec<(TopicId, PartitionIndex)>> {
        let mut taken = BTreeSet::new();
        let keep = |member: &MemberSpec| {
            let asked = member.target.iter().filter(|(topic, _)| member.topics.contains(topic));
            asked
                .flat_map(|(topic, partitions)| {
                    let count = self.partition_counts.get(topic).copied().unwrap_or(0);
                    let exists =
                        move |partition: &PartitionIndex| usize::try_from(partition.0).is_ok_and(|p| p < count);
                    partitions.iter().copied().filter(exists).map(|partition| (*topic, partition))
                })
                .filter(|partition| taken.insert(*partition))
                .collect()
        };
        self.members.values().map(keep).collect()
    }
}

/// Partitions one by one, by topic.
fn by_topic(partitions: impl IntoIterator<Item = (TopicId, PartitionIndex)>) -> TopicPartitions {
    let mut by_topic = TopicPartitions::new();
    for (topic, partition) in partitions {
        by_topic.entry(topic).or_default().insert(partition);
    }
    by_topic
}
