//! Reading the groups of a partition of `__consumer_offsets` back from its log.
//!
//! All of the log is read, committed or not: its leader will see it committed, or lead no more. A record that cannot be read
//! is counted and skipped; it never keeps a coordinator from serving (`CoordinatorLoaderImpl`).

use super::CoordinatorConfig;
use crate::partition::{Partition, fetching::FetchError};
use crate::partitions::Partitions;
use groups::{record::Record, shard::GroupShard};
use protocol::{
    ids::{LeaderEpoch, Offset, TopicPartition},
    record_batch::{batches, records},
};
use runtime::{sometimes, task};
use std::sync::Arc;

/// How much a batch may hold when it is decompressed.
const BATCH_BYTES_MAX: usize = 100 << 20;

/// The groups, as the log has them up to an offset.
pub(super) struct Loaded {
    pub replica: Arc<Partition>,
    pub groups: GroupShard,
    pub end: Offset,
}

/// What was made of the records of a log.
#[derive(Default)]
struct Read {
    records: u64,
    skipped: u64,
    pieces: u64,
    /// Deletions of which a cleaner has left nothing but themselves.
    orphans: u64,
}

/// Why there are no groups to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotLoaded {
    /// This broker does not lead the partition in that epoch, or not yet.
    NotLeader,
    /// Its log cannot be read. What is damaged is told: where another replica has it, that one leads.
    Unreadable,
}

/// Reads the whole log of a partition that this broker leads in this epoch.
///
/// # Errors
/// See [`NotLoaded`].
pub(super) async fn load(
    partitions: &Partitions,
    of: TopicPartition,
    leader_epoch: LeaderEpoch,
    config: &CoordinatorConfig,
) -> Result<Loaded, NotLoaded> {
    let replica = partitions.get(of).ok_or(NotLoaded::NotLeader)?;
    let end = replica.leads_in(leader_epoch).ok_or(NotLoaded::NotLeader)?;
    let (mut groups, mut read, mut at) = (GroupShard::new(config.groups.clone()), Read::default(), Offset::ZERO);
    if at < end && runtime::mutant!("S21") {
        runtime::mutant_diverged!("S21");
        at = end;
    }
    while at < end {
        let slice = match replica.read_in(leader_epoch, at, config.load_bytes) {
            Ok(Some(slice)) => slice,
            Ok(None) => break,
            Err(FetchError::Refused(_)) => return Err(NotLoaded::NotLeader),
            Err(FetchError::Read(error)) => {
                tracing::error!(partition = %of, %error, "the groups of a partition cannot be read");
                return Err(NotLoaded::Unreadable);
            }
        };
        at = slice.next_offset;
        let checked = task::blocking(move || (slice.check(), slice.slice.read()));
        match checked.await {
            Ok((Ok(()), Ok(bytes))) => {
                replay(&bytes, &mut groups, &mut read);
                read.pieces += 1;
                if read.orphans > 0 && runtime::mutant!("S30") {
                    runtime::mutant_diverged!("S30");
                    return Err(NotLoaded::Unreadable);
                }
            }
            Ok((Err(error), _)) => {
                tracing::error!(partition = %of, %error, "the groups of a partition are damaged");
                replica.on_failure(&error);
                return Err(NotLoaded::Unreadable);
            }
            Ok((_, Err(error))) | Err(error) => {
                tracing::error!(partition = %of, %error, "the groups of a partition cannot be read");
                return Err(NotLoaded::Unreadable);
            }
        }
        task::yield_now().await;
    }
    if read.skipped > 0 {
        tracing::warn!(partition = %of, skipped = read.skipped, "records of groups were skipped that cannot be read");
    }
    sometimes!(read.records > 0, "a group coordinator loads records");
    sometimes!(read.orphans > 0, "a group coordinator reads a deletion without what it deletes");
    sometimes!(read.pieces > 1, "a group coordinator loads records piece by piece");
    tracing::debug!(partition = %of, %leader_epoch, records = read.records, "groups are loaded");
    Ok(Loaded { replica, groups, end })
}

fn replay(bytes: &[u8], groups: &mut GroupShard, read: &mut Read) {
    for batch in batches(bytes) {
        let Ok((header, batch)) = batch else {
            read.skipped += 1;
            return;
        };
        if header.is_control() {
            continue;
        }
        let Ok(decoded) = records(batch, BATCH_BYTES_MAX) else {
            read.skipped += 1;
            continue;
        };
        for record in decoded {
            read.take(record.key.as_deref().unwrap_or_default(), record.value.as_deref(), groups);
        }
    }
}

impl Read {
    fn take(&mut self, key: &[u8], value: Option<&[u8]>, groups: &mut GroupShard) {
        if value.is_none() && self.pieces > 0 && runtime::mutant!("S32") {
            runtime::mutant_diverged!("S32");
            return;
        }
        match Record::decode(key, value) {
            Ok(record) => {
                self.records += 1;
                self.orphans += u64::from(value.is_none() && !groups.has_read_of(record.group()));
                groups.load(record);
            }
            Err(error) => {
                tracing::debug!(%error, "a record of a group cannot be read");
                self.skipped += 1;
            }
        }
    }
}
