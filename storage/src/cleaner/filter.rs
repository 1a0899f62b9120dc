//! Pure. What a cleaning leaves of one batch.
//!
//! The rules are those of `Cleaner.cleanInto`, `Cleaner.shouldRetainRecord` and `MemoryRecords.filterTo`:
//!
//! - of records with a key only the newest stays, as far as the map knows; above that everything stays as it is;
//! - a tombstone gets a delete horizon when it is first come across, and goes once that has passed (KIP-534); so does the
//!   marker of a transaction of which nothing is left;
//! - what an aborted transaction wrote goes at once;
//! - the last batch of each producer that is known stays, without records if need be: its sequence is needed. So does the
//!   last batch of a segment, and the last one below the bound of the cleaning, for where they end.

use super::{offset_map::OffsetMap, transactions::CleanedTransactions};
use crate::producer_state::{EndTransactionMarker, ProducerState};
use bytes::BytesMut;
use protocol::{
    ids::{Offset, ProducerEpoch, ProducerId, WallMillis},
    record_batch::{BatchError, BatchHeader, RecordView, Unpacked, emptied},
};
use std::collections::BTreeMap;

/// What a producer's state is read from: the batch that must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastOfProducer {
    /// It ends here.
    Data(Offset),
    /// A marker of this epoch, for no data was written in it.
    Marker(ProducerEpoch),
}

/// The last batch of each producer that is known.
#[derive(Debug, Default)]
pub(crate) struct LastOfProducers(BTreeMap<ProducerId, LastOfProducer>);

impl LastOfProducers {
    /// As of now (`UnifiedLog.lastRecordsOfActiveProducers`).
    pub fn of(producers: &ProducerState) -> Self {
        let last = |(producer_id, entry): (ProducerId, &crate::producer_state::ProducerEntry)| {
            let marker = LastOfProducer::Marker(entry.producer_epoch);
            (producer_id, entry.last_batch().map_or(marker, |batch| LastOfProducer::Data(batch.last_offset)))
        };
        Self(producers.iter().map(last).collect())
    }

    fn holds(&self, header: &BatchHeader) -> bool {
        match self.0.get(&header.producer_id) {
            Some(LastOfProducer::Data(last_offset)) => header.last_offset() == *last_offset,
            Some(LastOfProducer::Marker(epoch)) => header.is_control() && header.producer_epoch == *epoch,
            None => false,
        }
    }
}

/// One cleaning, as far as it is the same for all batches.
pub(crate) struct Rules {
    pub now: WallMillis,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
    /// The cleaning stops here.
    pub first_uncleanable: Offset,
    pub producers: LastOfProducers,
    /// How much a batch may be once it is decompressed.
    pub budget: usize,
}

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays as it is.
    Stays,
    /// It is replaced by this one.
    Becomes(BytesMut),
    /// It goes.
    Goes,
}

/// A batch as it lies in the log.
#[derive(Clone, Copy)]
pub(crate) struct Lying<'a> {
    pub header: &'a BatchHeader,
    pub bytes: &'a [u8],
    /// What it says, if it ends a transaction.
    pub marker: Option<EndTransactionMarker>,
    /// Whether it is the last one that goes into its new segment.
    pub is_last: bool,
}

impl Rules {
    /// Decides on the next batch of the log, and names the offsets of the records that go.
    ///
    /// # Errors
    /// What is wrong with the batch.
    pub fn judge(
        &self,
        batch: &Lying<'_>,
        map: &OffsetMap,
        transactions: &mut CleanedTransactions,
        gone: &mut impl FnMut(Offset),
    ) -> Result<Fate, BatchError> {
        let header = batch.header;
        let nothing_left = match header.is_control() {
            true => transactions.on_control(header, batch.marker),
            false => transactions.on_data(header),
        };
        // Of what lies above nothing is known yet: not even a horizon is given.
        if header.base_offset > map.latest() || header.next_offset() > self.first_uncleanable {
            return Ok(Fate::Stays);
        }
        let horizon_passed = header.delete_horizon().is_some_and(|horizon| horizon <= self.now);
        let discards = nothing_left && (!header.is_control() || horizon_passed);
        let stays_empty = (header.has_producer_id() && self.producers.holds(header))
            || header.next_offset() == self.first_uncleanable
            || batch.is_last;
        let unpacked = Unpacked::of(batch.bytes, self.budget)?;
        let (mut kept, mut tombstones, mut count) = (Vec::new(), false, 0);
        for record in unpacked.records() {
            let record = record?;
            let offset = header.base_offset.plus(i64::from(record.offset_delta));
            let keep = !discards && (header.is_control() || self.keeps(header, &record, offset, map));
            kept.push(keep);
            if keep {
                count += 1;
                tombstones |= record.value.is_none();
            } else {
                gone(offset);
            }
        }
        if count == 0 {
            return Ok(match (stays_empty, header.record_count) {
                (true, 0) => Fate::Stays,
                (true, _) => Fate::Becomes(emptied(header)),
                (false, _) => Fate::Goes,
            });
        }
        // A batch has one horizon: of one that is not known to its end, some tombstones would go too early.
        let may_go = (tombstones && header.last_offset() <= map.latest()) || (nothing_left && header.is_control());
        let horizon = (may_go && header.delete_horizon().is_none())
            .then(|| WallMillis(self.now.0.saturating_add(self.delete_retention_ms)));
        if count == kept.len() && horizon.is_none() {
            return Ok(Fate::Stays);
        }
        unpacked.retaining(horizon, &kept).map(Fate::Becomes)
    }

    fn keeps(&self, header: &BatchHeader, record: &RecordView<'_>, offset: Offset, map: &OffsetMap) -> bool {
        if offset > map.latest() {
            return true;
        }
        // One without a key was written before the topic was compacted: Kafka counts it as invalid, and drops it.
        let Some(key) = record.key else { return false };
        let is_newest = map.get(key).is_none_or(|newest| offset >= newest);
        let is_deletion_over = header.delete_horizon().is_some_and(|horizon| self.now >= horizon);
        is_newest && (record.value.is_some() || !is_deletion_over)
    }
}
