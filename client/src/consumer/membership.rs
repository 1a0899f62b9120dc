//! Pure. What a member of a consumer group is, and the words between its machine, its shell and whoever polls.
//!
//! A machine says the next [`Step`] to its shell, which asks the coordinator and hands in the answer; and a [`Duty`] to the
//! poller, which alone calls its user and moves positions. [`classic`] is the machine of the protocol in which members share
//! partitions among themselves; one for KIP-848 would say the same words. Driven by `group`.

pub mod classic;

use super::assignors::Assignor;
use crate::PartitionName;
use crate::retry::Backoff;
use protocol::error_code::ErrorCode;
use protocol::ids::MonotonicMillis;
use protocol::messages::{HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Rises with each rebalance of a classic group; a commit of an older one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(pub i32);

impl Generation {
    /// "In no generation" on the wire.
    pub const NONE: Self = Self(-1);
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A member of a group, by the id that the coordinator gave it. Empty before that.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberId(pub Arc<str>);

impl MemberId {
    /// Of a member that has not been given an id.
    pub fn none() -> Self {
        Self(Arc::from(""))
    }

    /// Whether the coordinator has given one.
    pub fn is_known(&self) -> bool {
        !self.0.is_empty()
    }
}

impl From<&str> for MemberId {
    fn from(id: &str) -> Self {
        Self(Arc::from(id))
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a consumer says who it is: what a commit carries, and a transaction that commits offsets (`ConsumerGroupMetadata`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// Its group.
    pub group_id: Arc<str>,
    /// In which generation it is a member, or [`Generation::NONE`].
    pub generation: Generation,
    /// Its id there, or an empty one.
    pub member_id: MemberId,
    /// Its `group.instance.id`, if it is a static member.
    pub instance_id: Option<Arc<str>>,
}

/// What a member is told by its user, once and for all.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `group.id`.
    pub group_id: Arc<str>,
    /// `group.instance.id`: with it the member is static, and keeps its partitions over a restart (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// After how long without a heartbeat the coordinator gives the member up (`session.timeout.ms`).
    pub session_timeout: Duration,
    /// How often to send one (`heartbeat.interval.ms`).
    pub heartbeat_interval: Duration,
    /// How long the user may take between two polls (`max.poll.interval.ms`); the coordinator waits as long for a member in a
    /// rebalance.
    pub poll_interval_max: Duration,
    /// The assignors that the member can do, the one that it would rather have first.
    pub assignors: Vec<Assignor>,
    /// The rack that it stands in (`client.rack`).
    pub rack: Option<Arc<str>>,
    /// The wait before a coordinator is asked again after an error.
    pub retry_backoff: Backoff,
}

/// Why a consumer is no member of its group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Another consumer has come with the same `group.instance.id`. It stays so until the user subscribes anew.
    #[error("another consumer has taken over the instance id {instance_id}")]
    Fenced {
        /// The instance id of both.
        instance_id: Arc<str>,
    },
    /// The coordinator refuses: the group is full, has other assignors, is somebody else's. The next poll tries again.
    #[error("the coordinator refuses: {0}")]
    Refused(ErrorCode),
    /// The coordinator chose an assignor that this member did not offer, or sent it what no consumer says.
    #[error("the group does not speak as consumers do: {0}")]
    NotConsumers(String),
}

/// Names one life of a member. What was asked in an earlier one is answered to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life(pub(super) u64);

/// What the shell has to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing before then, or before something happens.
    Wait(Option<MonotonicMillis>),
    /// Find out who coordinates the group.
    Find(Life),
    /// Send this to the coordinator, and wait for as long as the rebalance takes.
    Join(Life, Box<JoinGroupRequest>),
    /// Find out how many partitions these topics have: this member shares them out.
    Count(Life, BTreeSet<Arc<str>>),
    /// Send this to the coordinator, and wait for the leader's.
    Sync(Life, Box<SyncGroupRequest>),
    /// Send this to the coordinator.
    Heartbeat(Life, Box<HeartbeatRequest>),
    /// Send this to the coordinator, and do not care for the answer: the user has not polled for too long. Nothing to send for
    /// a static member.
    Leave(Option<Box<LeaveGroupRequest>>),
}

/// What the poller has to do before it reads on. It reports when it has; a duty that is not reported stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Commit, tell the user, and read these no more. The member joins after that.
    GiveUp {
        /// Which; there may be none.
        partitions: BTreeSet<PartitionName>,
        /// They are others' already: nothing can be committed.
        is_lost: bool,
    },
    /// Read these from now on.
    Adopt {
        /// All of them.
        assigned: BTreeSet<PartitionName>,
        /// Those that are new.
        added: BTreeSet<PartitionName>,
        /// Those that are no longer: to be committed and told first.
        revoked: BTreeSet<PartitionName>,
    },
}
