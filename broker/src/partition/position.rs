//! Pure. Who reads a replica, from where, and what that comes to: the words of a fetch.
//!
//! It decides nothing: [`super::state`] does.

use super::isr::FollowerFetch;
use protocol::ids::{LeaderEpoch, Offset};

/// Which records a reader may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All below the high watermark.
    #[default]
    ReadUncommitted,
    /// All below the last stable offset: no record of an open transaction (KIP-98).
    ReadCommitted,
}

/// Who fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A replica of the partition.
    Follower(FollowerFetch),
    /// A client.
    Consumer {
        /// What it may see.
        isolation: Isolation,
        /// Whether only the leader may answer: requests before version 11, which know no follower reads (KIP-392).
        leader_only: bool,
    },
}

/// Where a fetch begins, and what its sender knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPosition {
    /// The leader epoch that the sender believes is current; nothing in old requests (KIP-320).
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// The first offset wanted.
    pub fetch_offset: Offset,
    /// The leader epoch of the record before; nothing if there is none, or in old requests (KIP-595).
    pub last_fetched_epoch: Option<LeaderEpoch>,
}

/// From where a follower copies, and what it tells its leader of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerPosition {
    /// The leader epoch that it follows in.
    pub leader_epoch: LeaderEpoch,
    /// Its log end offset.
    pub fetch_offset: Offset,
    /// The newest epoch in its log, if there is any.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The first offset that it keeps.
    pub log_start_offset: Offset,
    /// The high watermark that it knows.
    pub high_watermark: Offset,
}

/// Where a follower cuts its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It ends here from now on.
    To(Offset),
    /// It is emptied, and begins and ends here.
    RestartAt(Offset),
    /// It stays as it is.
    Nowhere,
}

/// A leader epoch and the offset after its last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch asked for, or the largest below it that the log has.
    pub leader_epoch: LeaderEpoch,
    /// The first offset that does not belong to it.
    pub end_offset: Offset,
}

/// What a fetch gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchPlan {
    /// No records: the sender's log parts from this one no later than there (KIP-595).
    Diverges(EpochEnd),
    /// Records from the fetch offset up to this one, exclusive.
    Read {
        /// Nothing at or past this may be sent.
        upto: Offset,
    },
}
