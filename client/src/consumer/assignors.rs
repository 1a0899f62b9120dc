//! Pure. Who reads what: the assignors that consumers of Kafka have in common, by the names that they have there.
//!
//! An assignor is run by the leader of a group alone, over what all of its members said. It never asks the cluster: counts of
//! partitions are given in. Driven by `membership`.

mod cooperative_sticky;
mod range;
mod round_robin;

use super::consumer_protocol::Subscription;
use super::membership::{Generation, MemberId};
use crate::PartitionName;
use bytes::Bytes;
use protocol::ids::PartitionIndex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many partitions each topic has; one that does not exist is missing.
pub type PartitionCounts = BTreeMap<Arc<str>, i32>;

/// What each member is to read. Every member is in it.
pub type Assignments = BTreeMap<MemberId, BTreeSet<PartitionName>>;

/// A way to share partitions (`partition.assignment.strategy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assignor {
    /// Of each topic a run of partitions to each member: the same numbers of topics with as many partitions go together.
    Range,
    /// All partitions of all topics, one to each member in turn.
    RoundRobin,
    /// As even as can be, with as few moves as can be, and a partition is taken from one member before another gets it
    /// (KIP-429).
    CooperativeSticky,
}

/// How members give partitions up when a group is rebalanced (`ConsumerPartitionAssignor.RebalanceProtocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebalanceProtocol {
    /// All, before they join.
    Eager,
    /// Those that they lose, after they have joined; then they join once more.
    Cooperative,
}

/// A member as an assignor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub member_id: MemberId,
    /// Its `group.instance.id`, by which it keeps its place in the order when its id changes.
    pub instance_id: Option<Arc<str>>,
    /// What it said.
    pub subscription: Subscription,
}

impl Assignor {
    /// The name that the members of a group agree on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Range, Self::RoundRobin, Self::CooperativeSticky].into_iter().find(|assignor| assignor.name() == name)
    }

    /// Whether members may keep what they have while they join.
    pub const fn supports_cooperative(self) -> bool {
        matches!(self, Self::CooperativeSticky)
    }

    /// What a subscription carries for this assignor. The sticky one says its generation there too, as members whose
    /// subscriptions are older than version 2 do (`CooperativeStickyAssignor.subscriptionUserData`).
    pub fn user_data(self, generation: Option<Generation>) -> Option<Bytes> {
        let generation = generation.unwrap_or(Generation::NONE).0;
        self.supports_cooperative().then(|| Bytes::copy_from_slice(&generation.to_be_bytes()))
    }

    /// Shares the partitions of all subscribed topics among `members`.
    pub fn assign(self, members: &[Member], counts: &PartitionCounts) -> Assignments {
        let mut sorted: Vec<&Member> = members.iter().collect();
        sorted.sort_by_key(|member| member.order());
        let assignments = match self {
            Self::Range => range::assign(&sorted, counts),
            Self::RoundRobin => round_robin::assign(&sorted, counts),
            Self::CooperativeSticky => cooperative_sticky::assign(&sorted, counts),
        };
        assert!(assignments.len() == members.len(), "{} of {} members", assignments.len(), members.len());
        assignments
    }
}

/// The way that all of these assignors can do (`ConsumerCoordinator`: the highest that they have in common).
pub fn rebalance_protocol(assignors: &[Assignor]) -> RebalanceProtocol {
    if assignors.iter().all(|assignor| assignor.supports_cooperative()) {
        RebalanceProtocol::Cooperative
    } else {
        RebalanceProtocol::Eager
    }
}

impl Member {
    /// Members with an instance id come first, in the order of those (`AbstractPartitionAssignor.MemberInfo.compareTo`).
    fn order(&self) -> (bool, &str) {
        match &self.instance_id {
            Some(instance_id) => (false, instance_id),
            None => (true, &self.member_id.0),
        }
    }

    fn wants(&self, partition: &PartitionName) -> bool {
        self.subscription.topics.contains(&partition.topic)
    }
}

/// Every member with nothing.
fn nothing(members: &[&Member]) -> Assignments {
    members.iter().map(|member| (member.member_id.clone(), BTreeSet::new())).collect()
}

/// The topics that somebody wants and that exist, in order, with their counts.
fn wanted_topics<'a>(members: &[&Member], counts: &'a PartitionCounts) -> Vec<(&'a Arc<str>, i32)> {
    let is_wanted = |topic: &Arc<str>| members.iter().any(|member| member.subscription.topics.contains(topic));
    counts.iter().filter(|(topic, _)| is_wanted(topic)).map(|(topic, count)| (topic, *count)).collect()
}

/// Every partition that somebody wants, in order.
fn wanted_partitions(members: &[&Member], counts: &PartitionCounts) -> Vec<PartitionName> {
    let topics = wanted_topics(members, counts).into_iter();
    topics.flat_map(|(topic, count)| (0..count).map(move |index| named(topic, index))).collect()
}

fn named(topic: &Arc<str>, index: i32) -> PartitionName {
    PartitionName { topic: topic.clone(), partition: PartitionIndex(index) }
}

#[cfg(test)]
mod tests;
