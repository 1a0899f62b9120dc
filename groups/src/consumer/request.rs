//! Pure. What a member asks in a ConsumerGroupHeartbeat, whether that makes sense, and all that can be wrong with it.

use super::ConsumerGroupConfig;
use crate::assignors::Assignor;
use crate::ids::{GroupId, InstanceId, MemberEpoch, MemberId, TopicName};
use crate::record::TopicPartitions;
use protocol::error_code::ErrorCode;

/// The first version whose clients make their own member ids (`CONSUMER_GENERATED_MEMBER_ID_REQUIRED_VERSION`, KIP-1082).
const OWN_MEMBER_ID_VERSION: i16 = 1;

/// A ConsumerGroupHeartbeat. What the member leaves out has not changed since it last said it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatRequest {
    /// The version of the request.
    pub api_version: i16,
    /// Who asks; empty in version 0, when it joins.
    pub member: MemberId,
    /// The member's epoch, or that it joins or leaves.
    pub member_epoch: MemberEpoch,
    /// Its name over restarts.
    pub instance: Option<InstanceId>,
    /// Its rack.
    pub rack: Option<String>,
    /// How long it may take to give partitions back, in milliseconds; -1 on the wire is nothing here.
    pub rebalance_timeout_ms: Option<i32>,
    /// The topics that it names.
    pub topics: Option<Vec<TopicName>>,
    /// A regular expression for topics; empty to take it back.
    pub regex: Option<String>,
    /// The assignor that it wants.
    pub assignor: Option<String>,
    /// The partitions that it owns.
    pub owned: Option<TopicPartitions>,
    /// What its client calls itself.
    pub client_id: String,
    /// From where it comes.
    pub client_host: String,
}

/// Why a heartbeat is refused. Nothing changes then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeartbeatError {
    /// The request contradicts itself.
    #[error("{reason}")]
    InvalidRequest {
        /// What is wrong.
        reason: &'static str,
    },
    /// The assignor does not exist here.
    #[error("ServerAssignor {assignor} is not supported")]
    UnsupportedAssignor {
        /// Which was asked for.
        assignor: String,
    },
    /// The regular expression is none.
    #[error("SubscribedTopicRegex `{regex}` is not a valid regular expression: {reason}")]
    InvalidRegex {
        /// Which was given.
        regex: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The group does not exist, and the member does not join.
    #[error("Group {group} not found")]
    GroupNotFound {
        /// Which.
        group: GroupId,
    },
    /// The group is a classic group with members, and cannot become a consumer group.
    #[error("Cannot upgrade classic group {group} to consumer group because {reason}.")]
    NotUpgraded {
        /// Which.
        group: GroupId,
        /// Why not.
        reason: &'static str,
    },
    /// The group may not have more members.
    #[error("The consumer group has reached its maximum capacity of {size_max} members")]
    GroupMaxSizeReached {
        /// How many it may have.
        size_max: usize,
    },
    /// The member is not in the group.
    #[error("Member {member} is not a member of group {group}")]
    UnknownMember {
        /// Which member.
        member: MemberId,
        /// Which group.
        group: GroupId,
    },
    /// No member has the instance id.
    #[error("Instance id {instance} is unknown")]
    UnknownInstance {
        /// Which.
        instance: InstanceId,
    },
    /// The member's epoch is one that it cannot have, or no longer.
    #[error("Member {member} has the member epoch {got}, and the group coordinator knows {expected}")]
    FencedMemberEpoch {
        /// Which member.
        member: MemberId,
        /// Which epoch it claims.
        got: MemberEpoch,
        /// Which it has.
        expected: MemberEpoch,
    },
    /// The member is in a state that a later version wrote.
    #[error("Member {member} is in an unknown state; it must abandon all its partitions and rejoin")]
    UnknownState {
        /// Which member.
        member: MemberId,
    },
    /// Another member has the instance id and has not left.
    #[error("Member {member} cannot join because its instance id {instance} is owned by member {owner}")]
    UnreleasedInstanceId {
        /// Who wants to join.
        member: MemberId,
        /// As what.
        instance: InstanceId,
        /// Who is in.
        owner: MemberId,
    },
    /// Another member has taken over the instance id.
    #[error("Member {member} with instance id {instance} was fenced by member {owner}")]
    FencedInstanceId {
        /// Who asks.
        member: MemberId,
        /// As what.
        instance: InstanceId,
        /// Who is in.
        owner: MemberId,
    },
}

impl HeartbeatError {
    /// Kafka's code for it.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidRequest { .. } => ErrorCode::InvalidRequest,
            Self::UnsupportedAssignor { .. } => ErrorCode::UnsupportedAssignor,
            Self::InvalidRegex { .. } => ErrorCode::InvalidRegularExpression,
            Self::GroupNotFound { .. } | Self::NotUpgraded { .. } => ErrorCode::GroupIdNotFound,
            Self::GroupMaxSizeReached { .. } => ErrorCode::GroupMaxSizeReached,
            Self::UnknownMember { .. } | Self::UnknownInstance { .. } => ErrorCode::UnknownMemberId,
            Self::FencedMemberEpoch { .. } | Self::UnknownState { .. } => ErrorCode::FencedMemberEpoch,
            Self::UnreleasedInstanceId { .. } => ErrorCode::UnreleasedInstanceId,
            Self::FencedInstanceId { .. } => ErrorCode::FencedInstanceId,
        }
    }
}

fn require(holds: bool, reason: &'static str) -> Result<(), HeartbeatError> {
    if holds { Ok(()) } else { Err(HeartbeatError::InvalidRequest { reason }) }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

impl HeartbeatRequest {
    /// Whether the request makes sense by itself (`throwIfConsumerGroupHeartbeatRequestIsInvalid`).
    ///
    /// # Errors
    /// When a name is empty, when a member that joins leaves out what must be known of it, or when its assignor is not one of
    /// the configured.
    pub fn validate(&self, group: &GroupId, config: &ConsumerGroupConfig) -> Result<(), HeartbeatError> {
        require(!is_blank(group), "GroupId can't be empty.")?;
        require(!self.instance.as_deref().is_some_and(is_blank), "InstanceId can't be empty.")?;
        require(!self.rack.as_deref().is_some_and(is_blank), "RackId can't be empty.")?;
        require(self.member_epoch >= MemberEpoch::LEAVE_STATIC, "MemberEpoch is invalid.")?;
        let joins = self.member_epoch == MemberEpoch::JOIN;
        let may_lack_id = joins && self.api_version < OWN_MEMBER_ID_VERSION;
        require(may_lack_id || !is_blank(&self.member), "MemberId can't be empty.")?;
        if joins {
            self.validate_join()?;
        }
        if self.member_epoch == MemberEpoch::LEAVE_STATIC {
            require(self.instance.is_some(), "InstanceId can't be null.")?;
        }
        match &self.assignor {
            Some(name) if !Assignor::from_name(name).is_some_and(|assignor| config.assignors.contains(&assignor)) => {
                Err(HeartbeatError::UnsupportedAssignor { assignor: name.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn validate_join(&self) -> Result<(), HeartbeatError> {
        require(self.rebalance_timeout_ms.is_some(), "RebalanceTimeoutMs must be provided in first request.")?;
        let owns_nothing = self.owned.as_ref().is_some_and(|owned| owned.values().all(|set| set.is_empty()));
        require(owns_nothing, "TopicPartitions must be empty when (re-)joining.")?;
        // An empty list is fine: such a member reads nothing, and is in the group.
        let subscribes = self.topics.is_some() || self.regex.is_some();
        require(subscribes, "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
    }

    /// Whether it says all that a member says when it joins or when it does not know what the coordinator knows: the answer
    /// then says all too.
    pub(super) fn is_full(&self) -> bool {
        self.member_epoch == MemberEpoch::JOIN
            || self.rebalance_timeout_ms.is_some()
                && (self.topics.is_some() || self.regex.is_some())
                && self.owned.is_some()
    }
}
