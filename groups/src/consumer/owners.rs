//! Pure. Which member holds each partition of a group at the moment, and under which epoch.
//!
//! Derived from the members' current assignments, and kept so that nobody has to look through all members. An entry is removed
//! only by the member whose it is: a record of the member before may come later than the record of the member after, and must
//! not free what is no longer its own (KAFKA-16147).

use crate::ids::{MemberEpoch, MemberId};
use crate::record::CurrentAssignmentValue;
use protocol::ids::{PartitionIndex, TopicId};
use std::collections::BTreeMap;

/// Who holds a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The member.
    pub member: MemberId,
    /// Its epoch (`currentPartitionEpoch`).
    pub member_epoch: MemberEpoch,
}

/// Who holds what. A partition that a member is to give back is held until it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owners(BTreeMap<(TopicId, PartitionIndex), Owner>);

impl Owners {
    /// Who holds the partition.
    pub fn of(&self, topic: TopicId, partition: PartitionIndex) -> Option<&Owner> {
        self.0.get(&(topic, partition))
    }

    /// Takes in that the member held `before` and holds `after`.
    pub fn replace(
        &mut self,
        member: &MemberId,
        before: Option<&CurrentAssignmentValue>,
        after: Option<&CurrentAssignmentValue>,
    ) {
        for partition in before.into_iter().flat_map(held) {
            if self.0.get(&partition).is_some_and(|owner| owner.member == *member) {
                self.0.remove(&partition);
            }
        }
        if let Some(assignment) = after {
            for partition in held(assignment) {
                self.0.insert(partition, Owner { member: member.clone(), member_epoch: assignment.member_epoch });
            }
        }
        if runtime::mutant!("Z19") {
            self.forget_what_was_given_back_and_again(before, after);
        }
    }

    /// The planted bug: what was to be given back is taken out last, although the member may have been given it again.
    fn forget_what_was_given_back_and_again(
        &mut self,
        before: Option<&CurrentAssignmentValue>,
        after: Option<&CurrentAssignmentValue>,
    ) {
        let (Some(before), Some(after)) = (before, after) else { return };
        if before.pending_revocation == after.pending_revocation {
            return;
        }
        for (topic, partitions) in &before.pending_revocation {
            for partition in partitions {
                if self.0.remove(&(*topic, *partition)).is_some() {
                    runtime::mutant_diverged!("Z19");
                }
            }
        }
    }
}

/// All that a member holds.
fn held(assignment: &CurrentAssignmentValue) -> impl Iterator<Item = (TopicId, PartitionIndex)> {
    let topics = assignment.assigned.iter().chain(&assignment.pending_revocation);
    topics.flat_map(|(topic, partitions)| partitions.iter().map(|partition| (*topic, *partition)))
}
