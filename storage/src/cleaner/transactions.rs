//! Pure. What of a log's transactions a cleaning must know: which were aborted, and whose data it has come across.
//!
//! A transaction's marker stays until nothing of the transaction is left, and an aborted one's data goes at once
//! (`CleanedTransactionMetadata`). Kafka finds aborted transactions in its transaction index; here the log is gone through
//! beforehand, by headers.

use crate::producer_state::EndTransactionMarker;
use protocol::{
    ids::{Offset, ProducerId},
    record_batch::BatchHeader,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Aborted transactions in a log, found by going through its batches in order.
#[derive(Debug, Default)]
pub(crate) struct AbortedTransactions {
    ongoing: BTreeMap<ProducerId, Offset>,
    /// The producer of each and the offset of its marker, by first offset.
    aborted: BTreeMap<Offset, (ProducerId, Offset)>,
}

impl AbortedTransactions {
    /// Takes the next batch; a control batch with what it says.
    pub fn note(&mut self, header: &BatchHeader, marker: Option<EndTransactionMarker>) {
        if !header.is_transactional() {
            return;
        }
        if !header.is_control() {
            self.ongoing.entry(header.producer_id).or_insert(header.base_offset);
        } else if let Some(marker) = marker
            && let Some(first_offset) = self.ongoing.remove(&header.producer_id)
            && !marker.committed
        {
            self.aborted.insert(first_offset, (header.producer_id, header.last_offset()));
        }
    }

    /// The first offset of a transaction that is not decided in these batches, if there is one. A log that was just opened
    /// does not know of one that is decided above the high watermark.
    pub fn undecided(&self) -> Option<Offset> {
        self.ongoing.values().min().copied()
    }

    /// Ready to go through the same batches again, from an offset on.
    pub fn cleaned_from(&self, offset: Offset) -> CleanedTransactions {
        let told = self.aborted.iter().filter(|(_, (_, marker))| *marker >= offset);
        let aborted = told.map(|(first_offset, (producer_id, _))| (*first_offset, *producer_id)).collect();
        CleanedTransactions { aborted, ..CleanedTransactions::default() }
    }
}

/// The transactions of a log, while it is gone through.
#[derive(Debug, Default)]
pub(crate) struct CleanedTransactions {
    /// Aborted ones that were not come to yet.
    aborted: VecDeque<(Offset, ProducerId)>,
    /// Aborted ones whose marker was not come to yet, and whether one of their batches was.
    ongoing_aborted: BTreeMap<ProducerId, bool>,
    /// Producers of committed ones of which a batch was come across, and no marker yet.
    ongoing_committed: BTreeSet<ProducerId>,
}

impl CleanedTransactions {
    /// Whether a batch of data is of an aborted transaction.
    pub fn on_data(&mut self, header: &BatchHeader) -> bool {
        self.come_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.ongoing_aborted.get_mut(&header.producer_id) {
            Some(seen) => {
                *seen = true;
                true
            }
            None => {
                self.ongoing_committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Whether nothing is left of the transaction that a control batch ends, so that it may go. One without records was
    /// cleaned before.
    pub fn on_control(&mut self, header: &BatchHeader, marker: Option<EndTransactionMarker>) -> bool {
        self.come_to(header.last_offset());
        if header.record_count == 0 {
            return true;
        }
        match marker {
            Some(EndTransactionMarker { committed: false, .. }) => {
                self.ongoing_aborted.remove(&header.producer_id) != Some(true)
            }
            Some(EndTransactionMarker { committed: true, .. }) => !self.ongoing_committed.remove(&header.producer_id),
            None => false,
        }
    }

    fn come_to(&mut self, offset: Offset) {
        while let Some((first_offset, producer_id)) = self.aborted.front().copied()
            && first_offset <= offset
        {
            self.aborted.pop_front();
            self.ongoing_aborted.entry(producer_id).or_insert(false);
        }
    }
}
