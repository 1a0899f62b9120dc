//! Reading the groups of a partition of `__consumer_offsets` back from its log.
//!
//! All of the log is read, committed or not: its leader will see it committed, or lead no more. A record that cannot be read
//! is counted and skipped; it never keeps a coordinator from serving (`CoordinatorLoaderImpl`).

use super::CoordinatorConfig;
use crate::partition::Partition;
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
}

/// Reads the whole log of a partition that this broker leads in this epoch. Nothing if it does not, or not yet, or if the log
/// cannot be read.
pub(super) async fn load(
    partitions: &Partitions,
    of: TopicPartition,
    leader_epoch: LeaderEpoch,
    config: &CoordinatorConfig,
) -> Option<Loaded> {
    let replica = partitions.get(of)?;
    let end = replica.leads_in(leader_epoch)?;
    let (mut groups, mut read, mut at) = (GroupShard::new(config.groups.clone()), Read::default(), Offset::ZERO);
    while at < end {
        let slice = match replica.read_in(leader_epoch, at, config.load_bytes) {
            Ok(Some(slice)) => slice,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(partition = %of, %error, "the groups of a partition cannot be loaded");
                return None;
            }
        };
        at = slice.next_offset;
        let bytes =
            task::blocking(move || slice.check().map_err(std::io::Error::other).and_then(|()| slice.slice.read()));
        match bytes.await.and_then(|bytes| bytes) {
            Ok(bytes) => replay(&bytes, &mut groups, &mut read),
            Err(error) => {
                tracing::error!(partition = %of, %error, "the groups of a partition cannot be read");
                return None;
            }
        }
        task::yield_now().await;
    }
    if read.skipped > 0 {
        tracing::warn!(partition = %of, skipped = read.skipped, "records of groups were skipped that cannot be read");
    }
    sometimes!(read.records > 0, "a group coordinator loads records");
    tracing::debug!(partition = %of, %leader_epoch, records = read.records, "groups are loaded");
    Some(Loaded { replica, groups, end })
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
            let key = record.key.as_deref().unwrap_or_default();
            match Record::decode(key, record.value.as_deref()) {
                Ok(record) => {
                    read.records += 1;
                    groups.load(record);
                }
                Err(error) => {
                    tracing::debug!(%error, "a record of a group cannot be read");
                    read.skipped += 1;
                }
            }
        }
    }
}
