//! Pure. Each topic cut into ranges, one for each member that asks for it: `RangeAssignor`, KIP-848.
//!
//! Members stand in one order for all topics, so members with the same subscription get the same range of topics with equally
//! many partitions. It does not look at what was before: members that stay keep their place in the order, and little else.

use super::{GroupSpec, MemberSpec, by_topic};
use crate::ids::MemberId;
use crate::record::TopicPartitions;
use protocol::ids::TopicId;
use std::collections::BTreeMap;

/// Ranges of each topic: as long for each of its members as can be, the first few one longer.
pub(super) fn assign(group: &GroupSpec) -> BTreeMap<MemberId, TopicPartitions> {
    let members = ordered(group);
    let mut assignment: BTreeMap<MemberId, TopicPartitions> =
        group.members.keys().map(|member| (member.clone(), TopicPartitions::new())).collect();
    for topic in group.partition_counts.keys() {
        let asking: Vec<_> = members.iter().filter(|(_, spec)| spec.topics.contains(topic)).collect();
        let mut partitions = group.partitions(*topic);
        for (rank, (member, _)) in asking.iter().enumerate() {
            let range = partitions.by_ref().take(quota(group, *topic, asking.len(), rank)).map(|index| (*topic, index));
            assignment.entry((*member).clone()).or_default().extend(by_topic(range));
        }
    }
    assignment
}

/// Static members by their instance id, then the others by their member id (`RangeAssignor.sortMemberIds`): a static member
/// keeps its place when it comes back under another member id.
fn ordered(group: &GroupSpec) -> Vec<(&MemberId, &MemberSpec)> {
    let mut members: Vec<_> = group.members.iter().collect();
    members.sort_by_key(|(member, spec)| (spec.instance.is_none(), spec.instance.as_ref(), *member));
    members
}

/// How many partitions of the topic the member gets that is the `rank`th of `members`.
fn quota(group: &GroupSpec, topic: TopicId, members: usize, rank: usize) -> usize {
    let count = group.partition_counts.get(&topic).copied().unwrap_or(0);
    count / members + usize::from(rank < count % members)
}
