//! Pure. What an administrator is told of groups, without the wire's shapes.
//!
//! Driven by `groups`.

use crate::PartitionName;
use crate::consumer::MemberId;
use crate::consumer::consumer_protocol::{PROTOCOL_TYPE, decode_assignment};
use crate::error::ClientError;
use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, PartitionIndex};
use protocol::messages::list_groups_response::ListedGroup;
use protocol::messages::{StrBytes, consumer_group_describe_response, describe_groups_response};
use std::collections::BTreeSet;
use std::fmt;

/// The protocol by which the members of a group agree (`GroupType`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupType {
    /// Its members share by themselves (JoinGroup, SyncGroup).
    Classic,
    /// Its coordinator shares (KIP-848).
    Consumer,
    /// One that this client does not know, by its name.
    Other(String),
}

impl GroupType {
    /// The type of this name, whatever its case.
    pub fn from_name(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "classic" => Self::Classic,
            "consumer" => Self::Consumer,
            _ => Self::Other(name.to_owned()),
        }
    }
}

impl fmt::Display for GroupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "Classic",
            Self::Consumer => "Consumer",
            Self::Other(name) => name,
        })
    }
}

/// What a group is doing (`GroupState`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// It has no members; what it has committed is kept.
    Empty,
    /// A classic group waits for its members to join.
    PreparingRebalance,
    /// A classic group waits for the shares of its members.
    CompletingRebalance,
    /// The coordinator of a consumer group makes up the shares.
    Assigning,
    /// Members of a consumer group go over to their shares.
    Reconciling,
    /// Every member has its share.
    Stable,
    /// It is being forgotten.
    Dead,
    /// One that this client does not know, by its name.
    Other(String),
}

impl GroupState {
    const KNOWN: [Self; 7] = [
        Self::Empty,
        Self::PreparingRebalance,
        Self::CompletingRebalance,
        Self::Assigning,
        Self::Reconciling,
        Self::Stable,
        Self::Dead,
    ];

    /// The state of this name, whatever its case.
    pub fn from_name(name: &str) -> Self {
        let known = Self::KNOWN.into_iter().find(|state| state.to_string().eq_ignore_ascii_case(name));
        known.unwrap_or_else(|| Self::Other(name.to_owned()))
    }

    /// Every state that this client knows.
    pub fn known() -> impl Iterator<Item = Self> {
        Self::KNOWN.into_iter()
    }

    /// Whether nobody is in the group, so that its offsets may be changed and it may be deleted.
    pub fn has_no_members(&self) -> bool {
        matches!(self, Self::Empty | Self::Dead)
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
            Self::Other(name) => name,
        })
    }
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Its name.
    pub group_id: String,
    /// What its members are to each other: `consumer` for consumers, and empty for a group that only commits.
    pub protocol_type: String,
    /// What it is doing; nothing from brokers that do not say (ListGroups before version 4).
    pub state: Option<GroupState>,
    /// Its protocol; nothing from brokers that do not say (ListGroups before version 5).
    pub group_type: Option<GroupType>,
}

impl GroupListing {
    pub(super) fn from_wire(group: &ListedGroup) -> Self {
        let given = |name: &StrBytes| (!name.is_empty()).then(|| name.to_string());
        Self {
            group_id: group.group_id.to_string(),
            protocol_type: group.protocol_type.to_string(),
            state: given(&group.group_state).map(|name| GroupState::from_name(&name)),
            group_type: given(&group.group_type).map(|name| GroupType::from_name(&name)),
        }
    }

    /// Whether it is a group of consumers, or has nothing but offsets (as `ListGroupsOptions.forConsumerGroups`).
    pub fn is_of_consumers(&self) -> bool {
        matches!(self.group_type, None | Some(GroupType::Classic | GroupType::Consumer))
            && (self.protocol_type.is_empty() || self.protocol_type == PROTOCOL_TYPE)
    }
}

/// Rises with each change of what the members of a consumer group want, or of the topics they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupEpoch(pub i32);

/// The group epoch of the share that a member of a consumer group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberEpoch(pub i32);

impl fmt::Display for GroupEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for MemberEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A group as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its protocol.
    pub group_type: GroupType,
    /// What it is doing.
    pub state: GroupState,
    /// How partitions are shared, by the assignor's name; empty while that is not agreed.
    pub assignor: String,
    /// Who coordinates it.
    pub coordinator: BrokerId,
    /// Of a consumer group: what its members want now.
    pub group_epoch: Option<GroupEpoch>,
    /// Of a consumer group: what the shares were made up for.
    pub target_epoch: Option<GroupEpoch>,
    /// Who is in it, by id.
    pub members: Vec<MemberDescription>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id, which the coordinator or itself gave it.
    pub member_id: MemberId,
    /// Its `group.instance.id`, if it is a static member.
    pub instance_id: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// From where it came.
    pub client_host: String,
    /// What it has. Nothing during a rebalance of a classic group, and of members that are no consumers.
    pub assignment: BTreeSet<PartitionName>,
    /// Of a consumer group: what it is to have.
    pub target: Option<BTreeSet<PartitionName>>,
    /// Of a consumer group: which share it has.
    pub member_epoch: Option<MemberEpoch>,
    /// Of a consumer group: whether it speaks the group's protocol, or still the classic one; nothing where that is not told.
    pub is_upgraded: Option<bool>,
}

impl GroupDescription {
    /// What DescribeGroups tells. Before version 6 a group that is not there is told as dead.
    pub(super) fn from_classic(
        coordinator: BrokerId,
        group: &describe_groups_response::DescribedGroup,
    ) -> Result<Self, ClientError> {
        let message = group.error_message.as_ref().map(ToString::to_string);
        if let Some(error) = ClientError::from_code(group.error_code, message) {
            return Err(error);
        }
        let state = GroupState::from_name(&group.group_state);
        if state == GroupState::Dead {
            return Err(ClientError::Broker { code: ErrorCode::GroupIdNotFound, message: None });
        }
        let is_of_consumers = group.protocol_type.as_str() == PROTOCOL_TYPE;
        let members = group.members.iter().map(|member| MemberDescription {
            member_id: MemberId::from(member.member_id.as_str()),
            instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
            client_id: member.client_id.to_string(),
            client_host: member.client_host.to_string(),
            // What a leader gave its followers is nobody's to check but theirs.
            assignment: match is_of_consumers {
                true => decode_assignment(&member.member_assignment).unwrap_or_default(),
                false => BTreeSet::new(),
            },
            target: None,
            member_epoch: None,
            is_upgraded: None,
        });
        let mut members: Vec<MemberDescription> = members.collect();
        members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
        Ok(Self {
            group_type: GroupType::Classic,
            state,
            assignor: group.protocol_data.to_string(),
            coordinator,
            group_epoch: None,
            target_epoch: None,
            members,
        })
    }

    /// What ConsumerGroupDescribe tells.
    pub(super) fn from_consumer(
        coordinator: BrokerId,
        group: &consumer_group_describe_response::DescribedGroup,
    ) -> Result<Self, ClientError> {
        let message = group.error_message.as_ref().map(ToString::to_string);
        if let Some(error) = ClientError::from_code(group.error_code, message) {
            return Err(error);
        }
        let members = group.members.iter().map(|member| MemberDescription {
            member_id: MemberId::from(member.member_id.as_str()),
            instance_id: member.instance_id.as_ref().map(ToString::to_string),
            client_id: member.client_id.to_string(),
            client_host: member.client_host.to_string(),
            assignment: partitions(&member.assignment),
            target: Some(partitions(&member.target_assignment)),
            member_epoch: Some(MemberEpoch(member.member_epoch)),
            is_upgraded: match member.member_type {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            },
        });
        let mut members: Vec<MemberDescription> = members.collect();
        members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
        Ok(Self {
            group_type: GroupType::Consumer,
            state: GroupState::from_name(&group.group_state),
            assignor: group.assignor_name.to_string(),
            coordinator,
            group_epoch: Some(GroupEpoch(group.group_epoch)),
            target_epoch: Some(GroupEpoch(group.assignment_epoch)),
            members,
        })
    }
}

fn partitions(assignment: &consumer_group_describe_response::Assignment) -> BTreeSet<PartitionName> {
    let topics = assignment.topic_partitions.iter();
    let named = topics.flat_map(|topic| {
        let name = |index: &i32| PartitionName::new(topic.topic_name.as_str(), PartitionIndex(*index));
        topic.partitions.iter().map(name)
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_whatever_their_case() {
        for state in GroupState::known() {
            assert_eq!(GroupState::from_name(&state.to_string().to_lowercase()), state);
        }
        assert_eq!(GroupState::from_name("NotReady"), GroupState::Other("NotReady".to_owned()));
        assert_eq!(GroupType::from_name("CONSUMER"), GroupType::Consumer);
        assert_eq!(GroupType::from_name("Share").to_string(), "Share");
    }

    #[test]
    fn groups_of_others_are_told_apart() {
        let group = |protocol_type: &str, group_type: Option<GroupType>| GroupListing {
            group_id: "g".to_owned(),
            protocol_type: protocol_type.to_owned(),
            state: None,
            group_type,
        };
        assert!(group("consumer", None).is_of_consumers());
        assert!(group("", Some(GroupType::Classic)).is_of_consumers());
        assert!(!group("connect", Some(GroupType::Classic)).is_of_consumers());
        assert!(!group("share", Some(GroupType::from_name("Share"))).is_of_consumers());
    }
}
