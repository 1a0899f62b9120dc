//! Pure. What a consumer group tells of itself to admin clients, and how it is deleted.

use super::topics::Topics;
use super::{ConsumerGroup, ConsumerGroupConfig, target};
use crate::assignors::Assignor;
use crate::ids::{GroupEpoch, GroupId, MemberEpoch, MemberId, TopicName};
use crate::record::{MemberValue, Record, TopicPartitions};
use protocol::error_code::ErrorCode;
use protocol::ids::{PartitionIndex, TopicId};
use std::collections::BTreeSet;
use std::fmt;

/// What a consumer group is up to (`ConsumerGroupState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// It has no members.
    Empty,
    /// What its members are to have is yet to be computed.
    Assigning,
    /// Not all members have what they are to have.
    Reconciling,
    /// All have.
    Stable,
    /// It does not exist.
    Dead,
}

impl GroupState {
    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A group in a list of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Which.
    pub group: GroupId,
    /// What kind of members it has: always `consumer`.
    pub protocol_type: &'static str,
    /// What it is up to.
    pub state: GroupState,
    /// What kind of group it is: always `consumer`.
    pub group_type: &'static str,
}

/// Partitions of one topic, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedPartitions {
    /// The topic.
    pub topic_id: TopicId,
    /// Its name.
    pub topic: TopicName,
    /// The partitions.
    pub partitions: BTreeSet<PartitionIndex>,
}

/// Which protocol a member speaks; the number is that of ConsumerGroupDescribe version 1 (KIP-1099).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum MemberType {
    /// JoinGroup and its kin.
    Classic = 0,
    /// ConsumerGroupHeartbeat.
    Consumer = 1,
}

/// A member, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: MemberId,
    /// Its epoch.
    pub member_epoch: MemberEpoch,
    /// What it said of itself.
    pub value: MemberValue,
    /// What it has.
    pub assignment: Vec<DescribedPartitions>,
    /// What it is to have.
    pub target: Vec<DescribedPartitions>,
    /// Which protocol it speaks.
    pub member_type: MemberType,
}

/// A group, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// What it is up to.
    pub state: GroupState,
    /// Its epoch.
    pub group_epoch: GroupEpoch,
    /// The epoch of what its members are to have.
    pub target_epoch: GroupEpoch,
    /// Its assignor.
    pub assignor: Assignor,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// Why a group is not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// There is none.
    #[error("The group does not exist")]
    NotFound,
    /// It has members.
    #[error("The group has {members} members")]
    NotEmpty {
        /// How many.
        members: usize,
    },
}

impl DeleteError {
    /// Kafka's code for it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::GroupIdNotFound,
            Self::NotEmpty { .. } => ErrorCode::NonEmptyGroup,
        }
    }
}

/// Partitions with the names of their topics, leaving out topics that are gone.
fn named(partitions: Option<&TopicPartitions>, topics: &dyn Topics) -> Vec<DescribedPartitions> {
    let known = partitions.into_iter().flatten().filter_map(|(topic_id, partitions)| {
        let topic = topics.name(*topic_id)?;
        Some(DescribedPartitions { topic_id: *topic_id, topic, partitions: partitions.clone() })
    });
    known.collect()
}

impl ConsumerGroup {
    /// What the group is up to (`ConsumerGroup.maybeUpdateGroupState`).
    pub fn group_state(&self) -> GroupState {
        let state = self.state();
        if state.is_absent() {
            GroupState::Dead
        } else if state.members().is_empty() {
            GroupState::Empty
        } else if state.group_epoch() > state.target_epoch() {
            GroupState::Assigning
        } else if state.members().keys().all(|member| state.is_reconciled(member)) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// The group in a list of groups (`asListedGroup`).
    pub fn overview(&self) -> Overview {
        Overview {
            group: self.state().id().clone(),
            protocol_type: "consumer",
            state: self.group_state(),
            group_type: "consumer",
        }
    }

    /// The group for ConsumerGroupDescribe (`asDescribedGroup`).
    pub fn describe(&self, topics: &dyn Topics, config: &ConsumerGroupConfig) -> Described {
        let state = self.state();
        let member = |(member, value): (&MemberId, &MemberValue)| DescribedMember {
            member: member.clone(),
            member_epoch: state.member_epoch(member),
            value: value.clone(),
            assignment: named(state.currents().get(member).map(|current| &current.assigned), topics),
            target: named(state.targets().get(member), topics),
            member_type: if value.classic.is_some() { MemberType::Classic } else { MemberType::Consumer },
        };
        Described {
            state: self.group_state(),
            group_epoch: state.group_epoch(),
            target_epoch: state.target_epoch(),
            assignor: target::preferred(state, config),
            members: state.members().iter().map(member).collect(),
        }
    }

    /// Whether the group may be deleted (`validateDeleteGroup`).
    ///
    /// # Errors
    /// When it does not exist, or has members.
    pub fn validate_delete(&self) -> Result<(), DeleteError> {
        match self.group_state() {
            GroupState::Empty => Ok(()),
            GroupState::Dead => Err(DeleteError::NotFound),
            GroupState::Assigning | GroupState::Reconciling | GroupState::Stable => {
                Err(DeleteError::NotEmpty { members: self.state().members().len() })
            }
        }
    }

    /// The records that leave nothing of the group (`createGroupTombstoneRecords`). The group's own comes last, so that whoever
    /// reads some of them still knows whose they are.
    pub fn delete(&self) -> Vec<Record> {
        let state = self.state();
        let group = state.id();
        let currents = state.currents().keys().map(|member| Record::CurrentAssignment {
            group: group.clone(),
            member: member.clone(),
            value: None,
        });
        let targets = state.targets().keys().map(|member| Record::TargetAssignment {
            group: group.clone(),
            member: member.clone(),
            value: None,
        });
        let members = state.members().keys().map(|member| Record::Member {
            group: group.clone(),
            member: member.clone(),
            value: None,
        });
        let regexes = state.regexes().keys().map(|regex| Record::RegularExpression {
            group: group.clone(),
            regex: regex.clone(),
            value: None,
        });
        let epochs = [
            Record::TargetEpoch { group: group.clone(), value: None },
            Record::ConsumerGroup { group: group.clone(), value: None },
        ];
        currents.chain(targets).chain(members).chain(regexes).chain(epochs).collect()
    }
}
