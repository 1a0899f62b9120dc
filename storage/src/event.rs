//! What a log says about itself, for whoever observes: the trace, invariants, metrics.

use crate::leader_epochs::EpochEntry;
use protocol::{
    ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition},
    record_batch::BatchHeader,
};
use runtime::observe::{Digest, Event};

/// Who caused an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A producer, through the partition's leader.
    Leader,
    /// The leader, through this follower's fetch.
    Follower,
}

/// A batch that a cleaning changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanedBatch {
    /// Its first offset, which stays.
    pub base_offset: Offset,
    /// Its last offset, which stays.
    pub last_offset: Offset,
    /// Its CRC-32C now; nothing if it is gone.
    pub crc: Option<u32>,
    /// The offsets of its records that are gone.
    pub removed: Vec<Offset>,
}

impl CleanedBatch {
    /// `kept` is what it has become, empty if it is gone.
    pub(crate) fn of(header: &BatchHeader, kept: &[u8], removed: Vec<Offset>) -> Self {
        let crc = BatchHeader::parse(kept).ok().map(|kept| kept.crc);
        Self { base_offset: header.base_offset, last_offset: header.last_offset(), crc, removed }
    }
}

/// Something that happened to one log of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// The log was opened, and whatever recovery it needed is done.
    Opened {
        /// Whose log.
        partition: TopicPartition,
        /// First offset kept.
        log_start_offset: Offset,
        /// One past the last record.
        log_end_offset: Offset,
        /// Bytes cut off because they were torn or broken.
        cut_bytes: u64,
    },
    /// One batch was found sound by a recovery, which goes through the end of the log in order and then opens it.
    Recovered {
        /// Whose log.
        partition: TopicPartition,
        /// First offset of the batch.
        base_offset: Offset,
        /// Last offset of the batch.
        last_offset: Offset,
        /// The epoch stamped into the batch.
        leader_epoch: LeaderEpoch,
        /// The batch's CRC-32C.
        crc: u32,
        /// Who produced it, or [`ProducerId::NONE`].
        producer_id: ProducerId,
        /// In which epoch of the producer.
        producer_epoch: ProducerEpoch,
        /// Sequence of the first record.
        base_sequence: Sequence,
    },
    /// One batch was written to the log.
    Appended {
        /// Whose log.
        partition: TopicPartition,
        /// First offset of the batch.
        base_offset: Offset,
        /// Last offset of the batch.
        last_offset: Offset,
        /// The epoch stamped into the batch.
        leader_epoch: LeaderEpoch,
        /// The batch's CRC-32C: its identity for comparisons between replicas.
        crc: u32,
        /// Who produced it, or [`ProducerId::NONE`].
        producer_id: ProducerId,
        /// In which epoch of the producer.
        producer_epoch: ProducerEpoch,
        /// Sequence of the first record.
        base_sequence: Sequence,
        /// Leader or follower append.
        origin: Origin,
    },
    /// Everything from `to` on was removed.
    Truncated {
        /// Whose log.
        partition: TopicPartition,
        /// The new log end offset.
        to: Offset,
        /// The log end offset before.
        from: Offset,
    },
    /// The log is about to be emptied, to begin anew at an offset: where that fails half-way, any beginning of it may be left.
    Emptying {
        /// Whose log.
        partition: TopicPartition,
        /// The first and next offset that it is to have.
        at: Offset,
    },
    /// The log was emptied and begins anew at an offset.
    Restarted {
        /// Whose log.
        partition: TopicPartition,
        /// The new first and next offset.
        at: Offset,
    },
    /// Everything below this offset is on the device.
    Synced {
        /// Whose log.
        partition: TopicPartition,
        /// One past the last durable record.
        up_to: Offset,
    },
    /// A write or a sync failed: nothing may be written to the log any more before it is opened again.
    Failed {
        /// Whose log.
        partition: TopicPartition,
        /// One past what was being written, of which a part may be found when the log is opened again.
        writing: Offset,
    },
    /// The first kept offset moved up.
    StartAdvanced {
        /// Whose log.
        partition: TopicPartition,
        /// The new log start offset.
        to: Offset,
    },
    /// Some records of closed segments were removed, for others have their keys or their time is over; the log's beginning
    /// and end stay. Told when the new files are about to take the place of the old ones: what fails in the middle is finished
    /// by the next start, and until this is durable a crash may undo it.
    Cleaned {
        /// Whose log.
        partition: TopicPartition,
        /// The first offset of the segments that were cleaned.
        from: Offset,
        /// Up to where their records were looked at.
        to: Offset,
        /// The batches that are gone or have another CRC now, in order.
        batches: Vec<CleanedBatch>,
    },
    /// The log is no longer there: its directory has a name under which it waits to be removed.
    Deleted {
        /// Whose log.
        partition: TopicPartition,
    },
    /// The leader epochs that the log knows, after they changed or may have.
    Epochs {
        /// Whose log.
        partition: TopicPartition,
        /// Oldest first.
        entries: Vec<EpochEntry>,
    },
}

impl Event for LogEvent {
    fn kind(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "log-opened",
            Self::Recovered { .. } => "batch-recovered",
            Self::Appended { .. } => "log-appended",
            Self::Truncated { .. } => "log-truncated",
            Self::Emptying { .. } => "log-emptying",
            Self::Restarted { .. } => "log-restarted",
            Self::Synced { .. } => "log-synced",
            Self::Failed { .. } => "log-failed",
            Self::StartAdvanced { .. } => "log-start-advanced",
            Self::Cleaned { .. } => "log-cleaned",
            Self::Deleted { .. } => "log-deleted",
            Self::Epochs { .. } => "leader-epochs",
        }
    }

    fn digest(&self, into: &mut Digest) {
        let partition = |into: &mut Digest, partition: &TopicPartition| {
            into.bytes(partition.topic_id.0.as_bytes());
            into.i64(i64::from(partition.partition.0));
        };
        match self {
            Self::Opened { partition: of, log_start_offset, log_end_offset, cut_bytes } => {
                partition(into, of);
                into.i64(log_start_offset.0);
                into.i64(log_end_offset.0);
                into.u64(*cut_bytes);
            }
            Self::Recovered { partition: of, base_offset, last_offset, leader_epoch, crc, .. } => {
                partition(into, of);
                into.i64(base_offset.0);
                into.i64(last_offset.0);
                into.i64(i64::from(leader_epoch.0));
                into.u64(u64::from(*crc));
            }
            Self::Appended { partition: of, base_offset, last_offset, leader_epoch, crc, origin, .. } => {
                partition(into, of);
                into.i64(base_offset.0);
                into.i64(last_offset.0);
                into.i64(i64::from(leader_epoch.0));
                into.u64(u64::from(*crc) << 1 | u64::from(*origin == Origin::Leader));
            }
            Self::Truncated { partition: of, to, from } => {
                partition(into, of);
                into.i64(to.0);
                into.i64(from.0);
            }
            Self::Restarted { partition: of, at: offset }
            | Self::Emptying { partition: of, at: offset }
            | Self::Failed { partition: of, writing: offset }
            | Self::Synced { partition: of, up_to: offset }
            | Self::StartAdvanced { partition: of, to: offset } => {
                partition(into, of);
                into.i64(offset.0);
            }
            Self::Cleaned { partition: of, from, to, batches } => {
                partition(into, of);
                into.i64(from.0);
                into.i64(to.0);
                for batch in batches {
                    into.i64(batch.base_offset.0);
                    into.u64(batch.crc.map_or(0, |crc| u64::from(crc) << 1 | 1));
                    batch.removed.iter().for_each(|offset| into.i64(offset.0));
                }
            }
            Self::Deleted { partition: of } => partition(into, of),
            Self::Epochs { partition: of, entries } => {
                partition(into, of);
                for entry in entries {
                    into.i64(i64::from(entry.leader_epoch.0));
                    into.i64(entry.start_offset.0);
                }
            }
        }
    }
}
