//! Pure. A group of either protocol, for what holds of both.

use crate::{
    classic::{ClassicGroup, OffsetExpiration, State},
    consumer::{ConsumerGroup, GroupState},
    ids::{GroupId, TopicName},
    offsets::Ageing,
    record::Record,
};
use protocol::{
    error_code::ErrorCode,
    ids::{MonotonicMillis, WallMillis},
};

/// A group of one of the two protocols.
#[derive(Clone, Debug)]
pub enum Group {
    /// Its members assign the partitions.
    Classic(ClassicGroup),
    /// The coordinator does (KIP-848).
    Consumer(ConsumerGroup),
}

/// Of which protocol a group is, as it is listed (`GroupType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupType {
    /// See [`Group::Classic`].
    Classic,
    /// See [`Group::Consumer`].
    Consumer,
}

impl GroupType {
    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "Classic",
            Self::Consumer => "Consumer",
        }
    }
}

/// A group in a list of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub group: GroupId,
    /// What kind of members it has, or had last; empty if it never had any.
    pub protocol_type: String,
    /// What it is doing, by Kafka's name.
    pub state: &'static str,
    /// Of which protocol it is.
    pub group_type: GroupType,
}

impl Group {
    pub(super) fn classic(&self) -> Option<&ClassicGroup> {
        match self {
            Self::Classic(group) => Some(group),
            Self::Consumer(_) => None,
        }
    }

    pub(super) fn classic_mut(&mut self) -> Option<&mut ClassicGroup> {
        match self {
            Self::Classic(group) => Some(group),
            Self::Consumer(_) => None,
        }
    }

    pub(super) fn consumer(&self) -> Option<&ConsumerGroup> {
        match self {
            Self::Classic(_) => None,
            Self::Consumer(group) => Some(group),
        }
    }

    pub(super) fn list(&self) -> Listed {
        match self {
            Self::Classic(group) => {
                let overview = group.overview();
                Listed {
                    group: overview.group,
                    protocol_type: overview.protocol_type,
                    state: overview.state.name(),
                    group_type: GroupType::Classic,
                }
            }
            Self::Consumer(group) => {
                let overview = group.overview();
                Listed {
                    group: overview.group,
                    protocol_type: overview.protocol_type.to_owned(),
                    state: overview.state.name(),
                    group_type: GroupType::Consumer,
                }
            }
        }
    }

    /// Whether it may be deleted.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP`, or `GROUP_ID_NOT_FOUND` of one that is going.
    pub(super) fn check_delete(&self) -> Result<(), ErrorCode> {
        match self {
            Self::Classic(group) => group.check_delete(),
            Self::Consumer(group) => group.validate_delete().map_err(|error| error.code()),
        }
    }

    /// The records that forget it, which may be deleted.
    pub(super) fn delete(&mut self, wall: WallMillis) -> Vec<Record> {
        match self {
            Self::Classic(group) => vec![group.delete(wall)],
            Self::Consumer(group) => group.delete(),
        }
    }

    /// Whether nobody is in it or on the way into it.
    pub(super) fn is_unused(&self) -> bool {
        match self {
            Self::Classic(group) => group.state() == State::Empty && group.pending() == 0,
            Self::Consumer(group) => group.group_state() == GroupState::Empty,
        }
    }

    /// Whether a member reads a topic, as far as can be told.
    pub(super) fn is_subscribed(&self, topic: &str) -> bool {
        match self {
            Self::Classic(group) => group.is_subscribed(topic),
            Self::Consumer(group) => group.state().is_subscribed_to(&TopicName::from(topic)),
        }
    }

    /// From when on what it has committed grows old (`Group.offsetExpirationCondition`).
    pub(super) fn ageing(&self) -> Ageing {
        match self {
            Self::Classic(group) => match group.offset_expiration() {
                None => Ageing::Not,
                Some(OffsetExpiration::SinceCommit) => Ageing::SinceCommitted,
                Some(OffsetExpiration::Since(since)) => Ageing::Since(since),
            },
            Self::Consumer(_) => Ageing::SinceCommitted,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<MonotonicMillis> {
        match self {
            Self::Classic(group) => group.next_deadline(),
            Self::Consumer(group) => group.next_deadline(),
        }
    }
}
