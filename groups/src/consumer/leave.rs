//! Pure. How members get out of a group: they leave, or they are removed because a clock ran out.

use super::ConsumerGroup;
use super::draft::Draft;
use super::heartbeat::{Answer, Heartbeat};
use super::request::{HeartbeatError, HeartbeatRequest};
use super::timers::Timeout;
use super::topics::Topics;
use crate::ids::{InstanceId, MemberEpoch, MemberId};
use crate::record::{CurrentAssignmentValue, Record, TopicPartitions};
use protocol::ids::MonotonicMillis;
use std::collections::BTreeMap;
use std::time::Duration;

/// What follows from clocks that ran out.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Expired {
    /// Who is removed, and why.
    pub members: BTreeMap<MemberId, Timeout>,
    /// To append as one batch, and to apply.
    pub records: Vec<Record>,
}

impl ConsumerGroup {
    /// Lets a member go: for good, or for a while if it is static and says so (`consumerGroupLeave`). Its epoch does not
    /// matter; that it is in the group does, and that no other member has taken its place.
    pub(super) fn leave(&self, request: &HeartbeatRequest, topics: &dyn Topics) -> Result<Heartbeat, HeartbeatError> {
        let member = &request.member;
        match &request.instance {
            None if !self.state().members().contains_key(member) => {
                return Err(HeartbeatError::UnknownMember { member: member.clone(), group: self.state().id().clone() });
            }
            None => {}
            Some(instance) => self.check_instance(member, instance)?,
        }
        let records = if request.member_epoch == MemberEpoch::LEAVE_STATIC {
            runtime::reachable!("a static member leaves a consumer group for a while");
            vec![self.pause(member)]
        } else {
            self.remove([member], topics)
        };
        let answer = Answer {
            member: member.clone(),
            member_epoch: request.member_epoch,
            heartbeat_interval: Duration::ZERO,
            assignment: None,
        };
        Ok(Heartbeat { answer, records, heard: None })
    }

    fn check_instance(&self, member: &MemberId, instance: &InstanceId) -> Result<(), HeartbeatError> {
        match self.state().static_member(instance) {
            None => Err(HeartbeatError::UnknownInstance { instance: instance.clone() }),
            Some(owner) if owner != member => Err(HeartbeatError::FencedInstanceId {
                member: member.clone(),
                instance: instance.clone(),
                owner: owner.clone(),
            }),
            Some(_) => Ok(()),
        }
    }

    /// A static member goes and will come back: what it has waits for it until its session ends
    /// (`consumerGroupStaticMemberGroupLeave`).
    fn pause(&self, member: &MemberId) -> Record {
        let current = CurrentAssignmentValue {
            member_epoch: MemberEpoch::LEAVE_STATIC,
            pending_revocation: TopicPartitions::new(),
            ..self.state().current(member)
        };
        Record::CurrentAssignment { group: self.state().id().clone(), member: member.clone(), value: Some(current) }
    }

    /// Takes members out for good: what they held is free, and the group's epoch rises so that others get it
    /// (`consumerGroupFenceMembers`).
    pub(crate) fn remove<'a>(
        &self,
        members: impl IntoIterator<Item = &'a MemberId>,
        topics: &dyn Topics,
    ) -> Vec<Record> {
        let mut draft = Draft::of(self.state());
        for member in members {
            draft.remove_member(member);
        }
        runtime::sometimes!(draft.members().is_empty(), "a consumer group is left by its last member");
        draft.forget_regexes();
        draft.raise_epoch(true, topics);
        draft.into_records()
    }

    /// Removes whoever was silent for too long, or did not give partitions back in time; nothing if no clock ran out. A static
    /// member that left for a while is removed too once its session ends.
    pub fn expire(&self, now: MonotonicMillis, topics: &dyn Topics) -> Expired {
        let members = self.timers.expired(now);
        runtime::sometimes!(!members.is_empty(), "a member of a consumer group is thrown out");
        let records = if members.is_empty() { Vec::new() } else { self.remove(members.keys(), topics) };
        Expired { members, records }
    }
}
