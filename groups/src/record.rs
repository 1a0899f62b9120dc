//! Pure. The records of `__consumer_offsets`, in Kafka's own schemas: what is known of groups, and nothing else.
//!
//! A key says by its version what its value is; a value that is absent deletes (`CoordinatorRecordType`, the JSON files of
//! Kafka's group-coordinator module).

use crate::ids::{Generation, GroupEpoch, GroupId, InstanceId, MemberEpoch, MemberId, TopicName};
use bytes::Bytes;
use protocol::ids::{LeaderEpoch, Offset, PartitionIndex, TopicId, WallMillis};
use std::collections::{BTreeMap, BTreeSet};

mod codec;
pub(crate) mod wire;

pub use codec::RecordError;

/// Partitions by topic.
pub type TopicPartitions = BTreeMap<TopicId, BTreeSet<PartitionIndex>>;

/// What changed, for one key. No value deletes what was there.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// How far a group has come in a partition: key versions 0 and 1.
    Offset {
        /// Whose.
        group: GroupId,
        /// Of which topic.
        topic: TopicName,
        /// Of which partition.
        partition: PartitionIndex,
        /// How far.
        value: Option<CommittedOffset>,
    },
    /// A classic group as its last rebalance left it: key version 2.
    ClassicGroup {
        /// Which.
        group: GroupId,
        /// What it is.
        value: Option<ClassicGroupValue>,
    },
    /// A consumer group's epoch: key version 3.
    ConsumerGroup {
        /// Which.
        group: GroupId,
        /// What it is.
        value: Option<ConsumerGroupValue>,
    },
    /// What earlier versions of Kafka remembered of the topics: key version 4. Only ever deleted.
    PartitionMetadata {
        /// Whose.
        group: GroupId,
    },
    /// A member of a consumer group, by what it said of itself: key version 5.
    Member {
        /// Of which group.
        group: GroupId,
        /// Which.
        member: MemberId,
        /// What it is.
        value: Option<MemberValue>,
    },
    /// The epoch of a consumer group's target assignment: key version 6.
    TargetEpoch {
        /// Which group's.
        group: GroupId,
        /// Which epoch.
        value: Option<GroupEpoch>,
    },
    /// What a member is to get: key version 7.
    TargetAssignment {
        /// In which group.
        group: GroupId,
        /// Who.
        member: MemberId,
        /// What.
        value: Option<TopicPartitions>,
    },
    /// What a member has: key version 8.
    CurrentAssignment {
        /// In which group.
        group: GroupId,
        /// Who.
        member: MemberId,
        /// What, and under which epoch.
        value: Option<CurrentAssignmentValue>,
    },
    /// Which topics a regular expression was resolved to: key version 16.
    RegularExpression {
        /// In which group.
        group: GroupId,
        /// The expression.
        regex: String,
        /// The topics.
        value: Option<RegularExpressionValue>,
    },
}

impl Record {
    /// Whose it is.
    pub fn group(&self) -> &GroupId {
        match self {
            Self::Offset { group, .. }
            | Self::ClassicGroup { group, .. }
            | Self::ConsumerGroup { group, .. }
            | Self::PartitionMetadata { group }
            | Self::Member { group, .. }
            | Self::TargetEpoch { group, .. }
            | Self::TargetAssignment { group, .. }
            | Self::CurrentAssignment { group, .. }
            | Self::RegularExpression { group, .. } => group,
        }
    }
}

/// How far a group has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// Of the last record that was read, if the client said.
    pub leader_epoch: Option<LeaderEpoch>,
    /// What the client wants to be told again.
    pub metadata: String,
    /// When it was committed.
    pub committed_at: WallMillis,
    /// When it ends, where a client of an old version asked for it (OffsetCommit before version 5).
    pub expires_at: Option<WallMillis>,
}

/// A classic group as its last rebalance left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicGroupValue {
    /// `consumer`, or another kind of members.
    pub protocol_type: String,
    /// The generation.
    pub generation: Generation,
    /// The protocol that was chosen, where there are members.
    pub protocol: Option<String>,
    /// The member that assigns.
    pub leader: Option<MemberId>,
    /// Since when its state has been what it is.
    pub state_since: Option<WallMillis>,
    /// The members.
    pub members: Vec<ClassicMemberValue>,
}

/// A member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMemberValue {
    /// Its id.
    pub member: MemberId,
    /// Its name over restarts, if it has one.
    pub instance: Option<InstanceId>,
    /// What its client calls itself.
    pub client_id: String,
    /// From where it came.
    pub client_host: String,
    /// How long a rebalance waits for it, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// What it said for the chosen protocol.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

/// A consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupValue {
    /// Its epoch.
    pub epoch: GroupEpoch,
    /// A hash of what is known of its topics, zero where nothing is; a tagged field since Kafka 4.1.
    pub metadata_hash: i64,
}

/// What a member of a consumer group said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberValue {
    /// Its name over restarts, if it has one.
    pub instance: Option<InstanceId>,
    /// Its rack, if it said.
    pub rack: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// From where it came.
    pub client_host: String,
    /// The topics that it named.
    pub topics: Vec<TopicName>,
    /// The regular expression that it gave.
    pub regex: Option<String>,
    /// How long it may take to give partitions back, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it wants.
    pub assignor: Option<String>,
    /// For a member that speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

/// What a consumer group keeps of a member that speaks the classic protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMember {
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// Its protocols, best first, with what it said for each.
    pub protocols: Vec<(String, Bytes)>,
}

/// What a member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentAssignmentValue {
    /// Its epoch.
    pub member_epoch: MemberEpoch,
    /// Its epoch before, for an answer that was lost.
    pub previous_member_epoch: MemberEpoch,
    /// How far it is on its way to its target.
    pub state: MemberState,
    /// What it may read.
    pub assigned: TopicPartitions,
    /// What it is to give back.
    pub pending_revocation: TopicPartitions,
}

/// How far a member is on its way to its target (`MemberState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It has what it is to have.
    Stable,
    /// It is to give partitions back, and has not said yet that it did.
    UnrevokedPartitions,
    /// It waits for partitions that others are to give back.
    UnreleasedPartitions,
    /// A newer version of Kafka wrote something that this one does not know.
    Unknown,
}

/// Which topics a regular expression was resolved to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegularExpressionValue {
    /// Their names.
    pub topics: BTreeSet<TopicName>,
    /// The metadata offset at which it was resolved.
    pub version: i64,
    /// When it was resolved.
    pub resolved_at: WallMillis,
}
