//! Pure. Why a replica refuses, and which error code of Kafka's says so.
//!
//! It decides nothing: [`super::state`] refuses, and a handler answers with the code told here.

use protocol::error_code::ErrorCode;
use protocol::ids::{BrokerId, LeaderEpoch, Offset};

/// Why a produce is refused before anything is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefusal {
    /// This replica does not lead.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// acks=all, and too few replicas are in sync.
    #[error("{in_sync} replicas are in sync, of {effective_min_isr} that are needed")]
    NotEnoughReplicas {
        /// How many are.
        in_sync: usize,
        /// How many must be.
        effective_min_isr: usize,
    },
    /// The log failed.
    #[error("the log is offline")]
    Offline,
}

impl AppendRefusal {
    /// The code that Kafka answers with (`Partition.appendRecordsToLeader`).
    pub fn error_code(self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
            Self::Offline => ErrorCode::KafkaStorageError,
        }
    }
}

/// Why records are not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeletionRefusal {
    /// This replica does not lead, or not any more.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// `cleanup.policy` does not contain `delete`.
    #[error("the topic is only compacted")]
    Compacted,
    /// What is not committed is not deleted, and there is nothing before the first record.
    #[error("offset {offset} is not in 0 to the high watermark {high_watermark}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The high watermark.
        high_watermark: Offset,
    },
    /// Not every replica deleted the records in time.
    #[error("not every replica deleted the records in time")]
    TimedOut,
    /// The log failed.
    #[error("the log is offline")]
    Offline,
}

impl DeletionRefusal {
    /// The code that Kafka answers with (`Partition.deleteRecordsOnLeader`, `DelayedDeleteRecords`).
    pub fn error_code(self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::Compacted => ErrorCode::PolicyViolation,
            Self::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::TimedOut => ErrorCode::RequestTimedOut,
            Self::Offline => ErrorCode::KafkaStorageError,
        }
    }
}

/// Why a fetch, or a look-up of an offset, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchRefusal {
    /// The sender's leader epoch is over.
    #[error("leader epoch {asked} is fenced by {current}")]
    FencedLeaderEpoch {
        /// What the sender believes.
        asked: LeaderEpoch,
        /// What is known here.
        current: LeaderEpoch,
    },
    /// The sender knows a leader epoch that this broker has not heard of yet.
    #[error("leader epoch {asked} is not known yet, {current} is")]
    UnknownLeaderEpoch {
        /// What the sender believes.
        asked: LeaderEpoch,
        /// What is known here.
        current: LeaderEpoch,
    },
    /// This replica does not lead, and only a leader may answer.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// The fetching broker is not known as a replica of the partition.
    #[error("broker {follower} is not known as a replica")]
    UnknownReplica {
        /// Who fetched.
        follower: BrokerId,
        /// Whether its request named the current leader epoch.
        named_epoch: bool,
    },
    /// The fetch is of an earlier life of the fetching broker (KIP-903).
    #[error("broker {follower} has registered anew since")]
    StaleBrokerEpoch {
        /// Who fetched.
        follower: BrokerId,
    },
    /// There is no such offset, or none that can be compared.
    #[error("offset {offset} is outside {log_start_offset} to {log_end_offset}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The first one there is.
        log_start_offset: Offset,
        /// One past the last one there is.
        log_end_offset: Offset,
    },
    /// The offset may exist, and this replica cannot tell yet (KIP-207, KIP-392).
    #[error("offset {offset} cannot be told of yet, the high watermark is {high_watermark}")]
    OffsetNotAvailable {
        /// The offset asked for.
        offset: Offset,
        /// How far this replica knows.
        high_watermark: Offset,
    },
    /// The log failed.
    #[error("the log is offline")]
    Offline,
}

impl FetchRefusal {
    /// The code that Kafka answers with (`Partition.fetchRecords`).
    pub fn error_code(self) -> ErrorCode {
        match self {
            Self::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            Self::UnknownLeaderEpoch { .. } | Self::UnknownReplica { named_epoch: true, .. } => {
                ErrorCode::UnknownLeaderEpoch
            }
            Self::NotLeader | Self::UnknownReplica { named_epoch: false, .. } | Self::StaleBrokerEpoch { .. } => {
                ErrorCode::NotLeaderOrFollower
            }
            Self::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::OffsetNotAvailable { .. } => ErrorCode::OffsetNotAvailable,
            Self::Offline => ErrorCode::KafkaStorageError,
        }
    }
}
