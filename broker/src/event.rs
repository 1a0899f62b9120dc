//! What a replica says about itself, for whoever observes: the trace, invariants, metrics.

use protocol::ids::{BrokerEpoch, BrokerId, LeaderEpoch, MetadataOffset, Offset, PartitionEpoch, TopicPartition};
use runtime::observe::{Digest, Event};
use std::{collections::BTreeSet, sync::Arc};

/// Something that a broker did or decided.
#[derive(Clone, Debug)]
pub enum ReplicaEvent {
    /// The broker's registration was accepted: from here on it acts under this epoch.
    Registered {
        /// The metadata offset of the registration.
        broker_epoch: BrokerEpoch,
    },
    /// A committed metadata record reached this broker's image.
    MetadataApplied {
        /// The record's ordinal.
        offset: MetadataOffset,
        /// The record itself.
        record: Arc<metadata::record::Record>,
    },
    /// The broker took a snapshot of the metadata instead of records.
    MetadataSnapshot {
        /// The next offset after the snapshot.
        next: MetadataOffset,
        /// The digest of the image that it holds.
        digest: u64,
    },
    /// The broker has the image that the records so far make.
    MetadataImage {
        /// The next offset after it.
        next: MetadataOffset,
        /// Its digest.
        digest: u64,
    },
    /// This replica leads, and is ready to serve.
    BecameLeader {
        /// Which partition.
        partition: TopicPartition,
        /// In which leader epoch.
        leader_epoch: LeaderEpoch,
        /// At which partition epoch.
        partition_epoch: PartitionEpoch,
        /// The committed in-sync replicas.
        isr: BTreeSet<BrokerId>,
        /// The log end offset when it became leader.
        leader_epoch_start_offset: Offset,
        /// The high watermark it starts from; may be stale.
        high_watermark: Offset,
    },
    /// This replica follows.
    BecameFollower {
        /// Which partition.
        partition: TopicPartition,
        /// In which leader epoch.
        leader_epoch: LeaderEpoch,
        /// Whom it follows, if there is a leader.
        leader: Option<BrokerId>,
        /// Its log end offset.
        log_end_offset: Offset,
        /// Its high watermark.
        high_watermark: Offset,
    },
    /// The high watermark moved, on the leader or on a follower.
    HighWatermark {
        /// Which partition.
        partition: TopicPartition,
        /// In which leader epoch.
        leader_epoch: LeaderEpoch,
        /// Whether this replica leads.
        leading: bool,
        /// Its new value.
        high_watermark: Offset,
        /// The replica's log end offset at that moment.
        log_end_offset: Offset,
        /// The committed in-sync replicas as this replica knows them (empty on a follower).
        isr: BTreeSet<BrokerId>,
        /// The maximal in-sync replicas (empty on a follower).
        maximal_isr: BTreeSet<BrokerId>,
        /// `min(min.insync.replicas, replicas)`.
        effective_min_isr: usize,
    },
    /// The leader counted a follower's fetch.
    FollowerFetched {
        /// Which partition.
        partition: TopicPartition,
        /// In which leader epoch.
        leader_epoch: LeaderEpoch,
        /// Who fetched.
        follower: BrokerId,
        /// Under which broker epoch.
        broker_epoch: BrokerEpoch,
        /// The follower's log end offset.
        fetch_offset: Offset,
    },
    /// The leader asks the controller for other in-sync replicas.
    IsrProposed {
        /// Which partition.
        partition: TopicPartition,
        /// In which leader epoch.
        leader_epoch: LeaderEpoch,
        /// The committed in-sync replicas.
        isr: BTreeSet<BrokerId>,
        /// The proposed ones.
        proposed: BTreeSet<BrokerId>,
    },
    /// The leader learned that other in-sync replicas are committed.
    IsrCommitted {
        /// Which partition.
        partition: TopicPartition,
        /// In which leader epoch.
        leader_epoch: LeaderEpoch,
        /// At which partition epoch.
        partition_epoch: PartitionEpoch,
        /// The committed in-sync replicas.
        isr: BTreeSet<BrokerId>,
    },
    /// A produce with acks=all begins to wait.
    ProduceWaits {
        /// Which partition.
        partition: TopicPartition,
        /// For the high watermark to reach this.
        required: Offset,
        /// For so long at most.
        within_ms: u64,
    },
    /// A produce with acks=all waits no longer, for whatever reason.
    ProduceWaited {
        /// Which partition.
        partition: TopicPartition,
        /// What it waited for.
        required: Offset,
    },
    /// A producer was told that its batch is written.
    Acknowledged {
        /// Which partition.
        partition: TopicPartition,
        /// The leader epoch in which the batch was appended.
        leader_epoch: LeaderEpoch,
        /// First offset of the batch.
        base_offset: Offset,
        /// Last offset of the batch.
        last_offset: Offset,
        /// -1 (all) or 1.
        acks: i16,
        /// The high watermark at that moment.
        high_watermark: Offset,
        /// Whether the batch was a duplicate of one appended earlier.
        duplicate: bool,
    },
    /// A reader was told that there is nothing at this offset and will not be: it must look for another position.
    OutOfRange {
        /// Which partition.
        partition: TopicPartition,
        /// Where it wanted to read.
        offset: Offset,
        /// Whether this replica leads.
        leading: bool,
    },
    /// A follower cut its log where it differs from the leader's.
    Diverged {
        /// Which partition.
        partition: TopicPartition,
        /// In which leader epoch the divergence was found.
        leader_epoch: LeaderEpoch,
        /// The new log end offset.
        truncated_to: Offset,
    },
    /// Stored bytes of this replica were found not to be what was written.
    Damaged {
        /// Which partition.
        partition: TopicPartition,
    },
    /// A leader sent this replica what is no batch as it was written, and nothing of it was appended.
    BrokenBatch {
        /// Which partition.
        partition: TopicPartition,
    },
    /// This broker coordinates the groups of a partition from now on, in this leader epoch: it has read them all.
    CoordinatorLoaded {
        /// Which partition.
        partition: TopicPartition,
        /// In which leader epoch.
        leader_epoch: LeaderEpoch,
        /// Where the log ended when it began to read.
        end: Offset,
        /// What it made of what it read.
        recorded: Arc<groups::shard::Recorded>,
    },
    /// The coordinator of a partition's groups has appended what it decided.
    GroupsWritten {
        /// Which partition.
        partition: TopicPartition,
        /// In which leader epoch.
        leader_epoch: LeaderEpoch,
        /// The first offset of the batch.
        base_offset: Offset,
        /// One past its last offset.
        end: Offset,
        /// What is in it.
        records: Arc<[groups::record::Record]>,
    },
    /// The replica is no longer served by this broker.
    Stopped {
        /// Which partition.
        partition: TopicPartition,
    },
}

impl Event for ReplicaEvent {
    fn kind(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "registered",
            Self::MetadataApplied { .. } => "metadata-applied",
            Self::MetadataSnapshot { .. } => "metadata-snapshot",
            Self::BecameLeader { .. } => "became-leader",
            Self::BecameFollower { .. } => "became-follower",
            Self::HighWatermark { .. } => "high-watermark",
            Self::FollowerFetched { .. } => "follower-fetched",
            Self::IsrProposed { .. } => "isr-proposed",
            Self::IsrCommitted { .. } => "isr-committed",
            Self::ProduceWaits { .. } => "produce-waits",
            Self::ProduceWaited { .. } => "produce-waited",
            Self::Acknowledged { .. } => "acknowledged",
            Self::OutOfRange { .. } => "out-of-range",
            Self::MetadataImage { .. } => "metadata-image",
            Self::Diverged { .. } => "diverged",
            Self::Damaged { .. } => "damaged",
            Self::BrokenBatch { .. } => "broken-batch",
            Self::CoordinatorLoaded { .. } => "coordinator-loaded",
            Self::GroupsWritten { .. } => "groups-written",
            Self::Stopped { .. } => "stopped",
        }
    }

    fn digest(&self, into: &mut Digest) {
        match self {
            Self::Registered { broker_epoch } => into.i64(broker_epoch.0),
            Self::MetadataApplied { offset, record } => {
                into.i64(offset.0);
                into.bytes(&record.encode());
            }
            Self::MetadataSnapshot { next, digest } | Self::MetadataImage { next, digest } => {
                into.i64(next.0);
                into.u64(*digest);
            }
            Self::BecameLeader { partition, leader_epoch, partition_epoch, isr, high_watermark, .. } => {
                place(into, partition, *leader_epoch);
                into.i64(i64::from(partition_epoch.0));
                brokers(into, isr);
                into.i64(high_watermark.0);
            }
            Self::BecameFollower { partition, leader_epoch, leader, log_end_offset, high_watermark } => {
                place(into, partition, *leader_epoch);
                into.i64(leader.map_or(-1, |leader| i64::from(leader.0)));
                into.i64(log_end_offset.0);
                into.i64(high_watermark.0);
            }
            Self::HighWatermark { partition, leader_epoch, high_watermark, maximal_isr, .. } => {
                place(into, partition, *leader_epoch);
                into.i64(high_watermark.0);
                brokers(into, maximal_isr);
            }
            Self::FollowerFetched { partition, leader_epoch, follower, fetch_offset, .. } => {
                place(into, partition, *leader_epoch);
                into.i64(i64::from(follower.0));
                into.i64(fetch_offset.0);
            }
            Self::IsrProposed { partition, leader_epoch, proposed, .. } => {
                place(into, partition, *leader_epoch);
                brokers(into, proposed);
            }
            Self::IsrCommitted { partition, leader_epoch, partition_epoch, isr } => {
                place(into, partition, *leader_epoch);
                into.i64(i64::from(partition_epoch.0));
                brokers(into, isr);
            }
            Self::Acknowledged { partition, leader_epoch, base_offset, last_offset, acks, .. } => {
                place(into, partition, *leader_epoch);
                into.i64(base_offset.0);
                into.i64(last_offset.0);
                into.i64(i64::from(*acks));
            }
            Self::Diverged { partition, leader_epoch, truncated_to: offset }
            | Self::CoordinatorLoaded { partition, leader_epoch, end: offset, .. } => {
                place(into, partition, *leader_epoch);
                into.i64(offset.0);
            }
            Self::GroupsWritten { partition, leader_epoch, base_offset, records, .. } => {
                place(into, partition, *leader_epoch);
                contents(into, *base_offset, records);
            }
            Self::ProduceWaits { partition, required: offset, .. }
            | Self::ProduceWaited { partition, required: offset }
            | Self::OutOfRange { partition, offset, .. } => {
                place(into, partition, LeaderEpoch::UNKNOWN);
                into.i64(offset.0);
            }
            Self::Damaged { partition } | Self::BrokenBatch { partition } | Self::Stopped { partition } => {
                place(into, partition, LeaderEpoch::UNKNOWN);
            }
        }
    }
}

fn place(into: &mut Digest, partition: &TopicPartition, leader_epoch: LeaderEpoch) {
    into.bytes(partition.topic_id.0.as_bytes());
    into.i64(i64::from(partition.partition.0));
    into.i64(i64::from(leader_epoch.0));
}

fn contents(into: &mut Digest, base_offset: Offset, records: &[groups::record::Record]) {
    into.i64(base_offset.0);
    for (key, value) in records.iter().map(groups::record::Record::encode) {
        into.bytes(&key);
        into.bytes(&value.unwrap_or_default());
    }
}

fn brokers(into: &mut Digest, brokers: &BTreeSet<BrokerId>) {
    into.u64(brokers.len() as u64);
    brokers.iter().for_each(|broker| into.i64(i64::from(broker.0)));
}
