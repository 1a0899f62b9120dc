//! Pure. Partitions spread evenly over members that all ask for the same topics: `UniformHomogeneousAssignmentBuilder`.
//!
//! Balance comes first: no member has two more than another. A partition moves only where balance needs it. It differs from
//! Kafka in whom it lets have one more where not all can have equally many: first those who had more before, so that a member
//! that joins or leaves moves nothing between the others.

use super::{GroupSpec, by_topic};
use crate::ids::MemberId;
use crate::record::TopicPartitions;
use std::collections::{BTreeMap, BTreeSet};

/// An even spread of all partitions over all members.
///
/// # Panics
/// When the members ask for different topics.
pub(super) fn assign(group: &GroupSpec) -> BTreeMap<MemberId, TopicPartitions> {
    assert!(group.is_homogeneous(), "members ask for different topics: {group:?}");
    let Some(first) = group.members.values().next() else { return BTreeMap::new() };
    let mut unassigned: BTreeSet<_> =
        first.topics.iter().flat_map(|topic| group.partitions(*topic).map(|partition| (*topic, partition))).collect();

    let mut shares = group.kept();
    let quotas = quotas(&shares, unassigned.len());
    for (share, quota) in shares.iter_mut().zip(&quotas) {
        share.truncate(*quota);
        for partition in share.iter() {
            unassigned.remove(partition);
        }
    }

    let mut unassigned = unassigned.into_iter();
    for (share, quota) in shares.iter_mut().zip(&quotas) {
        share.extend(unassigned.by_ref().take(quota - share.len()));
    }
    assert_eq!(unassigned.next(), None, "the quotas {quotas:?} add up to all partitions");
    group.members.keys().cloned().zip(shares.into_iter().map(by_topic)).collect()
}

/// How many partitions each member is to have: all the same, or some one more, and of these first the ones that had more.
fn quotas<T>(shares: &[Vec<T>], partitions: usize) -> Vec<usize> {
    let least = partitions / shares.len();
    let mut extra = partitions % shares.len();
    let mut quotas = vec![least; shares.len()];
    for had_more in [true, false] {
        let candidates = quotas.iter_mut().zip(shares).filter(|(_, share)| (share.len() > least) == had_more);
        for (quota, _) in candidates.take(extra) {
            *quota += 1;
            extra -= 1;
        }
    }
    quotas
}
