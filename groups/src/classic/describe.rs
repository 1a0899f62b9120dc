//! Pure. What DescribeGroups and ListGroups tell of a classic group.

use super::{ClassicGroup, State};
use crate::ids::{GroupId, InstanceId, MemberId};
use bytes::Bytes;

/// A group, for ListGroups (`ClassicGroup.asListedGroup`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Which.
    pub group: GroupId,
    /// What kind of members it has, or had last; empty if it never had any.
    pub protocol_type: String,
    /// What it is doing.
    pub state: State,
}

/// A group, for DescribeGroups (`GroupMetadataManager.describeGroups`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Which.
    pub group: GroupId,
    /// What it is doing.
    pub state: State,
    /// What kind of members it has, or had last; empty if it never had any.
    pub protocol_type: String,
    /// What it speaks; empty unless it is stable.
    pub protocol: String,
    /// Its members.
    pub members: Vec<MemberDescription>,
}

/// A member, for DescribeGroups (`ClassicGroupMember.describe`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Which.
    pub member: MemberId,
    /// Its name over restarts, if it has one.
    pub instance: Option<InstanceId>,
    /// What its client calls itself.
    pub client_id: String,
    /// From where it came.
    pub client_host: String,
    /// What it said for the protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

impl ClassicGroup {
    /// The group, for ListGroups.
    pub fn overview(&self) -> Overview {
        Overview {
            group: self.group.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            state: self.state,
        }
    }

    /// The group, for DescribeGroups. A group that is not there is described as dead.
    pub fn describe(&self) -> Description {
        let is_stable = self.state == State::Stable;
        let members = self.roster.iter().map(|(id, member)| MemberDescription {
            member: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if is_stable { self.metadata(member) } else { Bytes::new() },
            assignment: member.assignment.clone(),
        });
        Description {
            group: self.group.clone(),
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: self.protocol.clone().filter(|_| is_stable).unwrap_or_default(),
            members: members.collect(),
        }
    }
}
