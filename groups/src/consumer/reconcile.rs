//! Pure. One member's way from what it has to what it is to have: `CurrentAssignmentBuilder`, KIP-848.
//!
//! ```text
//!            its target changes                    it gave back               the others gave back
//!   Stable ----------------------> Unrevoked ---------------------> Unreleased --------------------> Stable
//!     \_____________________________ nothing to give back ______________/                              /
//!      \____________________________ nothing to wait for _____________________________________________/
//! ```
//!
//! A member that has something to give back stays in its epoch until it says that it did. A partition is given to a member only
//! when no other holds it: not even to give it back.

use super::request::HeartbeatError;
use super::state::State;
use crate::ids::{GroupEpoch, MemberEpoch, MemberId};
use crate::record::{CurrentAssignmentValue, MemberState, TopicPartitions};
use protocol::ids::TopicId;
use std::collections::BTreeSet;

/// A member and where it is to get.
pub(super) struct Reconciliation<'a> {
    /// Who holds what.
    pub state: &'a State,
    /// Which member.
    pub member: &'a MemberId,
    /// What it has.
    pub current: CurrentAssignmentValue,
    /// The epoch of what it is to have.
    pub target_epoch: GroupEpoch,
    /// What it is to have.
    pub target: &'a TopicPartitions,
    /// The topics that it asks for. What it is to have of others it does not get, and what it has of others it gives back.
    pub asked: &'a BTreeSet<TopicId>,
    /// Whether it asks for other topics than before.
    pub subscription_changed: bool,
    /// What it says that it owns, if it says.
    pub owned: Option<&'a TopicPartitions>,
}

/// Whether two sets of partitions have any in common.
fn overlap(some: &TopicPartitions, others: &TopicPartitions) -> bool {
    some.iter().any(|(topic, partitions)| others.get(topic).is_some_and(|others| !partitions.is_disjoint(others)))
}

/// Whether `part` is in `whole`.
pub(super) fn is_subset(part: &TopicPartitions, whole: &TopicPartitions) -> bool {
    part.iter().all(|(topic, partitions)| {
        partitions.is_empty() || whole.get(topic).is_some_and(|whole| partitions.is_subset(whole))
    })
}

/// Splits partitions by topic in those that pass and those that do not.
fn split(
    partitions: &TopicPartitions,
    passes: impl Fn(&TopicId, &protocol::ids::PartitionIndex) -> bool,
) -> (TopicPartitions, TopicPartitions) {
    let (mut yes, mut no) = (TopicPartitions::new(), TopicPartitions::new());
    for (topic, partitions) in partitions {
        for partition in partitions {
            let side = if passes(topic, partition) { &mut yes } else { &mut no };
            side.entry(*topic).or_default().insert(*partition);
        }
    }
    (yes, no)
}

fn add(partitions: &mut TopicPartitions, more: TopicPartitions) {
    for (topic, more) in more {
        partitions.entry(topic).or_default().extend(more);
    }
}

impl Reconciliation<'_> {
    /// The next step, or what it has if there is none to take yet.
    ///
    /// # Errors
    /// When the member is in a state that only a later version knows and still owns something: it is to start from nothing.
    pub fn next(self) -> Result<CurrentAssignmentValue, HeartbeatError> {
        match self.current.state {
            MemberState::Stable if self.current.member_epoch != MemberEpoch::from(self.target_epoch) => {
                Ok(self.towards_target())
            }
            MemberState::UnrevokedPartitions if !self.still_owns(&self.current.pending_revocation) => {
                Ok(self.towards_target())
            }
            MemberState::Stable | MemberState::UnrevokedPartitions => Ok(self.shrink_to_subscription()),
            MemberState::UnreleasedPartitions => Ok(self.towards_target()),
            MemberState::Unknown => {
                if self.owned.is_none_or(|owned| owned.values().any(|partitions| !partitions.is_empty())) {
                    return Err(HeartbeatError::UnknownState { member: self.member.clone() });
                }
                Ok(self.towards_target())
            }
        }
    }

    /// Whether the member may own any of these: it does if it does not say.
    fn still_owns(&self, partitions: &TopicPartitions) -> bool {
        self.owned.is_none_or(|owned| overlap(owned, partitions))
    }

    /// Whether nobody else holds the partition.
    fn is_free(&self, topic: &TopicId, partition: &protocol::ids::PartitionIndex) -> bool {
        self.state.owner(*topic, *partition).is_none_or(|owner| owner.member == *self.member)
    }

    /// Keeps what is in the target, gives back the rest, and only then takes what is free (`computeNextAssignment`).
    fn towards_target(self) -> CurrentAssignmentValue {
        let (target, _) = split(self.target, |topic, _| self.asked.contains(topic));
        let is_target = |topic: &TopicId, partition: &_| target.get(topic).is_some_and(|set| set.contains(partition));
        let (mut assigned, pending_revocation) = split(&self.current.assigned, is_target);
        let previous_member_epoch = self.current.member_epoch;
        if !pending_revocation.is_empty() && self.still_owns(&pending_revocation) {
            return CurrentAssignmentValue {
                member_epoch: self.current.member_epoch,
                previous_member_epoch,
                state: MemberState::UnrevokedPartitions,
                assigned,
                pending_revocation,
            };
        }
        let has = |topic: &TopicId, partition: &_| assigned.get(topic).is_some_and(|set| set.contains(partition));
        let (_, missing) = split(&target, has);
        let (free, unreleased) = split(&missing, |topic, partition| self.is_free(topic, partition));
        add(&mut assigned, free);
        CurrentAssignmentValue {
            member_epoch: MemberEpoch::from(self.target_epoch),
            previous_member_epoch,
            state: if unreleased.is_empty() { MemberState::Stable } else { MemberState::UnreleasedPartitions },
            assigned,
            pending_revocation: TopicPartitions::new(),
        }
    }

    /// Adds to what is to be given back what the member no longer asks for, in the epoch in which it is
    /// (`updateCurrentAssignment`).
    fn shrink_to_subscription(self) -> CurrentAssignmentValue {
        let (assigned, unsubscribed) = split(&self.current.assigned, |topic, _| self.asked.contains(topic));
        if !self.subscription_changed || unsubscribed.is_empty() {
            return self.current;
        }
        let mut pending_revocation = self.current.pending_revocation.clone();
        add(&mut pending_revocation, unsubscribed);
        let previous_member_epoch = self.current.member_epoch;
        if self.still_owns(&pending_revocation) {
            let state = MemberState::UnrevokedPartitions;
            CurrentAssignmentValue { previous_member_epoch, state, assigned, pending_revocation, ..self.current }
        } else {
            CurrentAssignmentValue { previous_member_epoch, assigned, ..self.current }
        }
    }
}
