//! Pure. What a partition knows of the idempotent and transactional producers that write to it.
//!
//! For each producer its epoch and the last five batches, so that a retried batch is recognised and a lost one is noticed
//! (KIP-98, KIP-360). A batch is checked before it is written ([`ProducerState::check`]), and noted only after
//! ([`ProducerState::apply`]): a failed write changes nothing here. Replaying a log's headers gives the same table as
//! having appended them, on every replica.
//!
//! The rules are those of Kafka's `ProducerStateManager`, `ProducerAppendInfo` and `ProducerStateEntry`.

mod snapshot;

pub use snapshot::SnapshotError;

use protocol::{
    error_code::ErrorCode,
    ids::{Offset, ProducerEpoch, ProducerId, Sequence, WallMillis},
    record_batch::BatchHeader,
};
use std::collections::BTreeMap;

/// How many batches of each producer are kept to recognise a retry: as many as a producer may have in flight
/// (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
pub const BATCHES_RETAINED: usize = 5;

/// The leader epoch of the transaction coordinator that wrote a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoordinatorEpoch(pub i32);

impl CoordinatorEpoch {
    /// No marker was seen.
    pub const UNKNOWN: Self = Self(-1);
}

/// A transaction's end, as a control batch says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransactionMarker {
    /// Whether the transaction is committed; aborted otherwise.
    pub committed: bool,
    /// Of the coordinator that decided.
    pub coordinator_epoch: CoordinatorEpoch,
}

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMetadata {
    /// Sequence of its last record.
    pub last_sequence: Sequence,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Last offset less first.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp: WallMillis,
}

impl BatchMetadata {
    const NONE: Self = Self {
        last_sequence: Sequence::NONE,
        last_offset: Offset::UNKNOWN,
        offset_delta: 0,
        timestamp: WallMillis(-1),
    };

    /// Sequence of its first record (`DefaultRecordBatch.decrementSequence`).
    pub fn first_sequence(&self) -> Sequence {
        self.last_sequence.plus(self.offset_delta.wrapping_neg())
    }

    /// Offset of its first record.
    pub fn first_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }
}

/// The newest batches of one producer, oldest first; at most [`BATCHES_RETAINED`].
#[derive(Clone, Copy, Debug)]
pub struct Window {
    kept: [BatchMetadata; BATCHES_RETAINED],
    count: u8,
}

impl Window {
    const EMPTY: Self = Self { kept: [BatchMetadata::NONE; BATCHES_RETAINED], count: 0 };

    /// The batches, oldest first.
    pub fn as_slice(&self) -> &[BatchMetadata] {
        &self.kept[..usize::from(self.count)]
    }

    fn push(&mut self, batch: BatchMetadata) {
        if usize::from(self.count) == BATCHES_RETAINED {
            self.kept.rotate_left(1);
            self.count -= 1;
        }
        self.kept[usize::from(self.count)] = batch;
        self.count += 1;
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Window {}

/// What is known of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The newest epoch it wrote in.
    pub producer_epoch: ProducerEpoch,
    /// Of the coordinator whose marker came last.
    pub coordinator_epoch: CoordinatorEpoch,
    /// The largest timestamp of its last batch or marker.
    pub last_timestamp: WallMillis,
    /// Where its open transaction begins.
    pub transaction_first_offset: Option<Offset>,
    /// Its newest batches, in this epoch.
    pub batches: Window,
}

impl ProducerEntry {
    const NEW: Self = Self {
        producer_epoch: ProducerEpoch::NONE,
        coordinator_epoch: CoordinatorEpoch::UNKNOWN,
        last_timestamp: WallMillis(-1),
        transaction_first_offset: None,
        batches: Window::EMPTY,
    };

    /// Its last batch, if it has one in this epoch.
    pub fn last_batch(&self) -> Option<&BatchMetadata> {
        self.batches.as_slice().last()
    }

    fn last_sequence(&self) -> Sequence {
        self.last_batch().map_or(Sequence::NONE, |batch| batch.last_sequence)
    }

    fn find_duplicate(&self, header: &BatchHeader) -> Option<BatchMetadata> {
        if header.producer_epoch != self.producer_epoch {
            return None;
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        let same = |batch: &&BatchMetadata| batch.first_sequence() == first && batch.last_sequence == last;
        self.batches.as_slice().iter().find(same).copied()
    }

    fn enter_epoch(&mut self, producer_epoch: ProducerEpoch) {
        if self.producer_epoch != producer_epoch {
            self.producer_epoch = producer_epoch;
            self.batches = Window::EMPTY;
        }
    }
}

/// Why a producer's batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// A newer instance of this producer has written already.
    #[error("producer {producer_id} writes in epoch {producer_epoch} after epoch {current}")]
    InvalidProducerEpoch {
        /// Who.
        producer_id: ProducerId,
        /// In which epoch.
        producer_epoch: ProducerEpoch,
        /// The newest known.
        current: ProducerEpoch,
    },
    /// A batch before this one is missing, or this one is a retry older than what is remembered.
    #[error("producer {producer_id} sent sequence {got} after {last}")]
    OutOfOrderSequence {
        /// Who.
        producer_id: ProducerId,
        /// The last sequence known, -1 when none is in this epoch.
        last: Sequence,
        /// The first sequence of the refused batch.
        got: Sequence,
    },
    /// A batch outside the transaction that this producer has open.
    #[error("producer {producer_id} wrote outside its open transaction")]
    InvalidTransactionState {
        /// Who.
        producer_id: ProducerId,
    },
}

impl ProducerError {
    /// What the producer is told.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidTransactionState { .. } => ErrorCode::InvalidTxnState,
        }
    }
}

/// What to do with batches that a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append them.
    Append,
    /// This batch was appended before: answer with its offsets, and append nothing.
    Duplicate(BatchMetadata),
}

/// The producers of one partition, as of one offset of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerState {
    producers: BTreeMap<ProducerId, ProducerEntry>,
    /// Open transactions, by first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Ended transactions whose markers may lie above the high watermark: first offset to the marker's offset.
    unreplicated: BTreeMap<Offset, Offset>,
    /// One past the last offset that is part of this state.
    end_offset: Offset,
}

/// The state of one producer within one append, before anything of it is written.
#[derive(Clone, Copy)]
struct Pending {
    producer_epoch: ProducerEpoch,
    last_sequence: Sequence,
    in_transaction: bool,
    /// No state at all was there before this append: any sequence is taken (KIP-360).
    unknown: bool,
}

impl ProducerState {
    /// Nothing known, as of an offset.
    pub fn new(end_offset: Offset) -> Self {
        Self { end_offset, ..Self::default() }
    }

    /// One past the last offset that is part of this state.
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// Whether no producer and no transaction is known.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.unreplicated.is_empty()
    }

    /// What is known of a producer.
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    /// Every producer, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.producers.iter().map(|(id, entry)| (*id, entry))
    }

    /// Whether batches that a client sent may be appended, judged by this state and the batches before them in the same
    /// append. Changes nothing. If one of them is a retry, that is the verdict for all of them (as
    /// `UnifiedLog.analyzeAndValidateProducerState`; a produce request has one batch for each partition).
    ///
    /// # Errors
    /// Says which rule the first refused batch broke.
    pub fn check(&self, headers: &[BatchHeader]) -> Result<Verdict, ProducerError> {
        if let [header] = headers {
            return if header.has_producer_id() {
                self.check_one(header, self.pending(header.producer_id))
            } else {
                Ok(Verdict::Append)
            };
        }
        let mut touched: BTreeMap<ProducerId, Pending> = BTreeMap::new();
        for header in headers.iter().filter(|header| header.has_producer_id()) {
            let producer_id = header.producer_id;
            let pending = touched.get(&producer_id).copied().unwrap_or_else(|| self.pending(producer_id));
            match self.check_one(header, pending)? {
                Verdict::Append => {
                    let after = Pending {
                        producer_epoch: header.producer_epoch,
                        last_sequence: header.last_sequence(),
                        in_transaction: header.is_transactional(),
                        unknown: pending.unknown,
                    };
                    touched.insert(producer_id, after);
                }
                duplicate @ Verdict::Duplicate(_) => return Ok(duplicate),
            }
        }
        Ok(Verdict::Append)
    }

    fn pending(&self, producer_id: ProducerId) -> Pending {
        let entry = self.producers.get(&producer_id).unwrap_or(&ProducerEntry::NEW);
        Pending {
            producer_epoch: entry.producer_epoch,
            last_sequence: entry.last_sequence(),
            in_transaction: entry.transaction_first_offset.is_some(),
            unknown: entry.producer_epoch == ProducerEpoch::NONE,
        }
    }

    fn check_one(&self, header: &BatchHeader, pending: Pending) -> Result<Verdict, ProducerError> {
        let (producer_id, producer_epoch, got) = (header.producer_id, header.producer_epoch, header.base_sequence);
        if let Some(duplicate) = self.producers.get(&producer_id).and_then(|entry| entry.find_duplicate(header)) {
            return Ok(Verdict::Duplicate(duplicate));
        }
        if producer_epoch < pending.producer_epoch {
            let current = pending.producer_epoch;
            return Err(ProducerError::InvalidProducerEpoch { producer_id, producer_epoch, current });
        }
        let in_order = if producer_epoch == pending.producer_epoch {
            pending.unknown || got == pending.last_sequence.plus(1)
        } else {
            got == Sequence(0) || pending.producer_epoch == ProducerEpoch::NONE
        };
        if !in_order {
            let last = if producer_epoch == pending.producer_epoch { pending.last_sequence } else { Sequence::NONE };
            return Err(ProducerError::OutOfOrderSequence { producer_id, last, got });
        }
        if pending.in_transaction && !header.is_transactional() {
            return Err(ProducerError::InvalidTransactionState { producer_id });
        }
        Ok(Verdict::Append)
    }

    /// Notes a batch that is in the log, with its final offsets. `marker` is what a control batch says; nothing for an
    /// empty one. What does not fit is taken as it is: the leader has judged it.
    pub fn apply(&mut self, header: &BatchHeader, marker: Option<EndTransactionMarker>) {
        if header.has_producer_id() {
            if !header.is_control() {
                self.apply_data(header);
            } else if let Some(marker) = marker {
                self.apply_marker(header, marker);
            }
        }
        self.end_offset = header.next_offset();
    }

    fn apply_data(&mut self, header: &BatchHeader) {
        let entry = self.producers.entry(header.producer_id).or_insert(ProducerEntry::NEW);
        entry.enter_epoch(header.producer_epoch);
        entry.batches.push(BatchMetadata {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        entry.last_timestamp = header.max_timestamp;
        if header.is_transactional() && entry.transaction_first_offset.is_none() {
            entry.transaction_first_offset = Some(header.base_offset);
            self.ongoing.insert(header.base_offset, header.producer_id);
        }
    }

    fn apply_marker(&mut self, header: &BatchHeader, marker: EndTransactionMarker) {
        let entry = self.producers.entry(header.producer_id).or_insert(ProducerEntry::NEW);
        entry.enter_epoch(header.producer_epoch);
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = header.max_timestamp;
        if let Some(first_offset) = entry.transaction_first_offset.take() {
            self.ongoing.remove(&first_offset);
            self.unreplicated.insert(first_offset, header.last_offset());
        }
    }

    /// The state reaches up to here although the offsets between hold no batch.
    pub fn advance_to(&mut self, end_offset: Offset) {
        self.end_offset = self.end_offset.max(end_offset);
    }

    /// Up to where a read_committed consumer may read: below the first offset of any transaction that is undecided, or was
    /// decided at or above the high watermark (`UnifiedLog.lastStableOffset`).
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        let undecided = self.ongoing.keys().next().copied();
        let unreplicated = self.unreplicated.iter().find(|(_, last)| **last >= high_watermark).map(|(first, _)| *first);
        [undecided, unreplicated].into_iter().flatten().fold(high_watermark, Offset::min)
    }

    /// Forgets transactions that ended below an offset which cannot be lost any more.
    pub fn forget_transactions_below(&mut self, offset: Offset) {
        self.unreplicated.retain(|_, last| *last >= offset);
    }

    /// Forgets the producers that were silent for so long, but for those with an open transaction.
    pub fn expire(&mut self, now: WallMillis, expiration_ms: i64) {
        self.producers.retain(|_, entry| !is_expired(entry, now, expiration_ms));
    }
}

fn is_expired(entry: &ProducerEntry, now: WallMillis, expiration_ms: i64) -> bool {
    entry.transaction_first_offset.is_none() && now.0.saturating_sub(entry.last_timestamp.0) >= expiration_ms
}

#[cfg(test)]
mod tests;
