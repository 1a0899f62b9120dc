//! What the simulated world itself does: operations of its clients, and faults. Emitted like every other event, so that
//! it stands in the trace, in the order in which it happened.

mod member;

pub use member::{Committed, Member, MemberDid, MemberEvent};

use protocol::ids::{Offset, PartitionIndex, TopicPartition};
use runtime::observe::{Digest, Event};
use serde::{Deserialize, Serialize};

/// The identity of a record that a workload wrote: unique in a run, carried in the record's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// Which writer.
    pub writer: u32,
    /// The writer's operation, counted from zero.
    pub operation: u64,
}

impl Tag {
    /// Writers of the final check have ids from here on.
    pub const DRAIN_WRITER: u32 = 1 << 24;

    /// The value of the record: 12 bytes.
    pub fn to_value(self) -> [u8; 12] {
        let mut value = [0; 12];
        value[..4].copy_from_slice(&self.writer.to_be_bytes());
        value[4..].copy_from_slice(&self.operation.to_be_bytes());
        value
    }

    /// Reads a record's value; `None` if no workload wrote it.
    pub fn from_value(value: &[u8]) -> Option<Self> {
        let value: [u8; 12] = value.try_into().ok()?;
        let (writer, operation) = value.split_at(4);
        Some(Self {
            writer: u32::from_be_bytes(writer.try_into().ok()?),
            operation: u64::from_be_bytes(operation.try_into().ok()?),
        })
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.writer, self.operation)
    }
}

/// The key of a record that is one of few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// Which.
    pub key: u32,
    /// The record has no value: it deletes its key.
    pub deletes: bool,
}

impl Keyed {
    /// What a writer's operation writes, where there are so many keys: the same in every run, and often what was written before.
    pub fn of(tag: Tag, keys: u32) -> Self {
        const DELETES_EVERY: u64 = 6;
        let mixed = (tag.operation + (u64::from(tag.writer) << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
        Self { key: (mixed % u64::from(keys.max(1))) as u32, deletes: (mixed >> 20).is_multiple_of(DELETES_EVERY) }
    }
}

/// A partition as clients name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPartition {
    /// The topic's name.
    pub topic: String,
    /// Which of its partitions.
    pub partition: PartitionIndex,
}

impl std::fmt::Display for NamedPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a simulated client asked, and what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A writer is about to send a record.
    SendInvoked {
        /// Where to.
        to: NamedPartition,
        /// Which record.
        tag: Tag,
        /// With acks=all by an idempotent producer: the strongest promise.
        safe: bool,
        /// Its key, if it has one.
        keyed: Option<Keyed>,
    },
    /// The record was acknowledged.
    SendAcknowledged {
        /// Where to.
        to: NamedPartition,
        /// Which record.
        tag: Tag,
        /// The offset that the broker reported; `None` with acks=0.
        offset: Option<Offset>,
        /// As in the invocation.
        safe: bool,
    },
    /// The record was refused: it must never become visible.
    SendRefused {
        /// Where to.
        to: NamedPartition,
        /// Which record.
        tag: Tag,
        /// The broker's error.
        error: String,
    },
    /// Nobody knows whether the record was written.
    SendUnknown {
        /// Where to.
        to: NamedPartition,
        /// Which record.
        tag: Tag,
    },
    /// An operator is about to delete records.
    DeletionInvoked {
        /// Where.
        of: NamedPartition,
        /// Those before this offset; nothing stands for all that are committed.
        before: Option<Offset>,
    },
    /// Records were deleted on every live replica.
    DeletionAcknowledged {
        /// Where.
        of: NamedPartition,
        /// No live replica keeps anything below.
        low_watermark: Offset,
    },
    /// A reader received a record.
    Polled {
        /// Where from.
        from: NamedPartition,
        /// At which offset.
        offset: Offset,
        /// Which record.
        tag: Tag,
        /// Which reader; the final drain is reader `u32::MAX`.
        reader: u32,
    },
    /// A reader received a record that no workload wrote: a program that is tested did.
    PolledForeign {
        /// Where from.
        from: NamedPartition,
        /// At which offset.
        offset: Offset,
        /// Which reader.
        reader: u32,
    },
    /// A reader received a batch that is not what was written.
    GotDamaged {
        /// Where from.
        from: NamedPartition,
        /// Where it is in the partition.
        offset: Offset,
    },
}

impl ClientEvent {
    /// The reader that reads everything after the cluster was healed.
    pub const DRAIN: u32 = u32::MAX;
    /// Readers with numbers from here on are members of groups: what they read begins where their group was.
    pub const GROUPED: u32 = 1 << 24;
    /// Each member is another reader each time that it comes back.
    pub const LIVES: u32 = 1 << 10;
}

impl Event for ClientEvent {
    fn kind(&self) -> &'static str {
        match self {
            Self::SendInvoked { .. } => "send-invoked",
            Self::SendAcknowledged { .. } => "send-acknowledged",
            Self::SendRefused { .. } => "send-refused",
            Self::SendUnknown { .. } => "send-unknown",
            Self::DeletionInvoked { .. } => "deletion-invoked",
            Self::DeletionAcknowledged { .. } => "deletion-acknowledged",
            Self::Polled { .. } => "polled",
            Self::PolledForeign { .. } => "polled-foreign",
            Self::GotDamaged { .. } => "got-damaged",
        }
    }

    fn digest(&self, into: &mut Digest) {
        const NO_RECORD: Tag = Tag { writer: u32::MAX, operation: 0 };
        let (place, tag, extra) = match self {
            Self::SendInvoked { to, tag, .. } | Self::SendRefused { to, tag, .. } | Self::SendUnknown { to, tag } => {
                (to, tag, -1)
            }
            Self::SendAcknowledged { to, tag, offset, .. } => (to, tag, offset.map_or(-1, |offset| offset.0)),
            Self::Polled { from, offset, tag, .. } => (from, tag, offset.0),
            Self::PolledForeign { from, offset, .. } | Self::GotDamaged { from, offset } => {
                (from, &NO_RECORD, offset.0)
            }
            Self::DeletionInvoked { of, before } => (of, &NO_RECORD, before.map_or(-1, |before| before.0)),
            Self::DeletionAcknowledged { of, low_watermark } => (of, &NO_RECORD, low_watermark.0),
        };
        into.str(&place.topic);
        into.i64(i64::from(place.partition.0));
        into.u64(u64::from(tag.writer));
        into.u64(tag.operation);
        into.i64(extra);
    }
}

/// Who cannot be expected to do their part while a fault lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Impairs {
    /// These nodes.
    Nodes(Vec<i32>),
    /// What these two have to do with each other: the cluster can do without either of them.
    Link(i32, i32),
}

/// Whether faults leave enough copies for every promise that the cluster makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Budget {
    /// They do: nothing that was acknowledged may be lost, and the cluster heals by itself.
    #[default]
    Within,
    /// They do, and in the end machines never come back, as many as the rest can do without: nothing that was acknowledged
    /// may be lost, and the rest settles by itself.
    Edge,
    /// They need not: acknowledged records may be lost and partitions wait for an operator, but nothing wrong is ever served.
    Beyond,
}

/// What the world did to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorldEvent {
    /// The world's machines stand ready, and none runs yet.
    Built {
        /// How many of them are controllers.
        controllers: i32,
        /// How much may be lost.
        budget: Budget,
        /// How long a leader counts on a follower that does not catch up, in milliseconds: `replica.lag.time.max.ms`.
        replica_lag_ms: u64,
    },
    /// A fault begins. `id` pairs it with its end.
    FaultBegan {
        /// Counted from one.
        id: u32,
        /// The fault's kind, as scenarios name it.
        kind: &'static str,
        /// What it does to whom, in words.
        what: String,
        /// Who cannot be expected to do their part while it lasts.
        impairs: Impairs,
    },
    /// A fault ended.
    FaultEnded {
        /// As when it began.
        id: u32,
        /// The fault's kind.
        kind: &'static str,
    },
    /// An operator begins to do something.
    Operated {
        /// What, in a scenario's words.
        what: String,
    },
    /// A bit of what a node has stored flipped, and nobody was told.
    Rotted {
        /// The node's id in the cluster.
        broker: i32,
        /// In which partition.
        partition: TopicPartition,
        /// The first offset of the batch that it is in.
        offset: Offset,
    },
    /// A node's process ended by a crash; `power` says whether its disks may have lost bytes.
    Crashed {
        /// The node's id in the cluster.
        broker: i32,
        /// Power loss, not only the process.
        power: bool,
    },
    /// A node that is down lost a disk with partitions, and got an empty one.
    DiskReplaced {
        /// The node's id in the cluster.
        broker: i32,
    },
    /// A node that is down never comes back.
    TakenAway {
        /// The node's id in the cluster.
        broker: i32,
    },
    /// A node's process found nothing more that it could do, and ended; how that counts is told by the event that follows.
    EndedItself {
        /// The node's id in the cluster.
        broker: i32,
    },
    /// A node's process ended in good order.
    Stopped {
        /// The node's id in the cluster.
        broker: i32,
    },
    /// A node's process started.
    Started {
        /// The node's id in the cluster.
        broker: i32,
    },
    /// Every fault is healed; from here on only liveness is judged.
    Healed,
    /// Everything is as it should be again.
    Settled,
}

impl Event for WorldEvent {
    fn kind(&self) -> &'static str {
        match self {
            Self::Built { .. } => "built",
            Self::FaultBegan { .. } => "fault-began",
            Self::FaultEnded { .. } => "fault-ended",
            Self::Operated { .. } => "operated",
            Self::Rotted { .. } => "rotted",
            Self::Crashed { .. } => "crashed",
            Self::DiskReplaced { .. } => "disk-replaced",
            Self::TakenAway { .. } => "taken-away",
            Self::EndedItself { .. } => "ended-itself",
            Self::Stopped { .. } => "stopped",
            Self::Started { .. } => "started",
            Self::Healed => "healed",
            Self::Settled => "settled",
        }
    }

    fn digest(&self, into: &mut Digest) {
        match self {
            Self::Built { controllers, budget, replica_lag_ms } => {
                into.i64(i64::from(*controllers));
                into.u64(*budget as u64);
                into.u64(*replica_lag_ms);
            }
            Self::FaultBegan { id, kind, what, .. } => {
                into.u64(u64::from(*id));
                into.str(kind);
                into.str(what);
            }
            Self::FaultEnded { id, kind } => {
                into.u64(u64::from(*id));
                into.str(kind);
            }
            Self::Operated { what } => into.str(what),
            Self::Rotted { broker, partition, offset } => {
                into.i64(i64::from(*broker));
                into.bytes(partition.topic_id.0.as_bytes());
                into.i64(i64::from(partition.partition.0));
                into.i64(offset.0);
            }
            Self::Crashed { broker, power } => {
                into.i64(i64::from(*broker));
                into.u64(u64::from(*power));
            }
            Self::DiskReplaced { broker }
            | Self::TakenAway { broker }
            | Self::EndedItself { broker }
            | Self::Stopped { broker }
            | Self::Started { broker } => into.i64(i64::from(*broker)),
            Self::Healed | Self::Settled => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_back_from_its_value() {
        let tag = Tag { writer: 7, operation: u64::MAX - 3 };
        assert_eq!(Tag::from_value(&tag.to_value()), Some(tag));
        assert_eq!(Tag::from_value(b"something else"), None);
    }
}
