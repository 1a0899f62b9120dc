//! Pure. The file that keeps a partition's producers: `<offset>.snapshot`, Kafka's format version 1.
//!
//! ```text
//! version i16 | crc u32 over what follows | count i32 | entries
//! entry: producer id i64, epoch i16, last sequence i32, last offset i64, offset delta i32, timestamp i64,
//!        coordinator epoch i32, transaction's first offset i64
//! ```
//!
//! Kafka's entry has room for the last batch only. The four before it follow the entries, under the same CRC, where Kafka's
//! reader does not look: so a producer whose retry comes after a restart is answered as it would have been before.
//! A file without them (Kafka's own) is read as Kafka reads it.
//!
//! ```text
//! trailer: "gregor" | for each entry a count u8, then batches: last sequence i32, last offset i64, offset delta i32,
//!          timestamp i64
//! ```
//!
//! Source: `ProducerStateManager.writeSnapshot`, `ProducerSnapshot.json`.

use super::{BATCHES_RETAINED, BatchMetadata, CoordinatorEpoch, ProducerEntry, ProducerState, Window, is_expired};
use bytes::{Buf, BufMut};
use protocol::{
    ids::{Offset, ProducerEpoch, ProducerId, Sequence, WallMillis},
    record_batch::crc32c,
};

const VERSION: i16 = 1;
const CRC_AT: usize = 2;
const ENTRIES_AT: usize = 6;
const ENTRY_BYTES: usize = 46;
const BATCH_BYTES: usize = 24;
const TRAILER: &[u8] = b"gregor";

/// Why a snapshot file is not used. It is then deleted, and an older one or the log itself is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// It ends too early.
    #[error("the snapshot ends early")]
    Truncated,
    /// Another format version.
    #[error("snapshot version {0} is not known")]
    Version(i16),
    /// Not the bytes that were written.
    #[error("stored CRC {stored:#010x} is not the computed {computed:#010x}")]
    Crc {
        /// In the file.
        stored: u32,
        /// Of its bytes.
        computed: u32,
    },
}

impl ProducerState {
    /// The contents of the snapshot file for this state; its name is [`Self::end_offset`]'s.
    pub fn encode_snapshot(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(ENTRIES_AT + 4 + self.producers.len() * (ENTRY_BYTES + 1) + TRAILER.len());
        file.put_i16(VERSION);
        file.put_u32(0);
        file.put_i32(i32::try_from(self.producers.len()).expect("fewer producers than a snapshot can count"));
        for (producer_id, entry) in &self.producers {
            let last = entry.last_batch().unwrap_or(&BatchMetadata::NONE);
            file.put_i64(producer_id.0);
            file.put_i16(entry.producer_epoch.0);
            file.put_i32(last.last_sequence.0);
            file.put_i64(last.last_offset.0);
            file.put_i32(last.offset_delta);
            file.put_i64(entry.last_timestamp.0);
            file.put_i32(entry.coordinator_epoch.0);
            file.put_i64(entry.transaction_first_offset.unwrap_or(Offset::UNKNOWN).0);
        }
        if !self.producers.is_empty() {
            self.encode_windows(&mut file);
        }
        let crc = crc32c(&file[ENTRIES_AT..]);
        file[CRC_AT..ENTRIES_AT].copy_from_slice(&crc.to_be_bytes());
        file
    }

    fn encode_windows(&self, file: &mut Vec<u8>) {
        file.put_slice(TRAILER);
        for entry in self.producers.values() {
            let batches = entry.batches.as_slice();
            file.put_u8(batches.len() as u8);
            for batch in batches {
                file.put_i32(batch.last_sequence.0);
                file.put_i64(batch.last_offset.0);
                file.put_i32(batch.offset_delta);
                file.put_i64(batch.timestamp.0);
            }
        }
    }

    /// Reads a snapshot file that was taken at `end_offset`, without the producers that have expired since.
    ///
    /// # Errors
    /// When the file is not one, or was torn.
    pub fn decode_snapshot(
        file: &[u8],
        end_offset: Offset,
        now: WallMillis,
        expiration_ms: i64,
    ) -> Result<Self, SnapshotError> {
        let mut rest = file;
        let version = rest.try_get_i16().map_err(|_| SnapshotError::Truncated)?;
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let stored = rest.try_get_u32().map_err(|_| SnapshotError::Truncated)?;
        let computed = crc32c(rest);
        if stored != computed {
            return Err(SnapshotError::Crc { stored, computed });
        }
        let count = rest.try_get_i32().map_err(|_| SnapshotError::Truncated)?;
        let count = usize::try_from(count).map_err(|_| SnapshotError::Truncated)?;
        if rest.len() / ENTRY_BYTES < count {
            return Err(SnapshotError::Truncated);
        }
        let mut entries: Vec<_> = (0..count).map(|_| decode_entry(&mut rest)).collect();
        if rest.starts_with(TRAILER) {
            rest.advance(TRAILER.len());
            for (_, entry) in &mut entries {
                decode_window(&mut rest, entry)?;
            }
        }
        let mut state = Self::new(end_offset);
        for (producer_id, entry) in entries {
            if is_expired(&entry, now, expiration_ms) {
                continue;
            }
            if let Some(first_offset) = entry.transaction_first_offset {
                state.ongoing.insert(first_offset, producer_id);
            }
            state.producers.insert(producer_id, entry);
        }
        Ok(state)
    }
}

/// Reads one entry; the caller has checked that it is whole.
fn decode_entry(rest: &mut &[u8]) -> (ProducerId, ProducerEntry) {
    let producer_id = ProducerId(rest.get_i64());
    let producer_epoch = ProducerEpoch(rest.get_i16());
    let last_sequence = Sequence(rest.get_i32());
    let last_offset = Offset(rest.get_i64());
    let offset_delta = rest.get_i32();
    let last_timestamp = WallMillis(rest.get_i64());
    let coordinator_epoch = CoordinatorEpoch(rest.get_i32());
    let first_offset = Offset(rest.get_i64());
    let mut batches = Window::EMPTY;
    if last_offset.0 >= 0 {
        batches.push(BatchMetadata { last_sequence, last_offset, offset_delta, timestamp: last_timestamp });
    }
    let transaction_first_offset = (first_offset.0 >= 0).then_some(first_offset);
    let entry = ProducerEntry { producer_epoch, coordinator_epoch, last_timestamp, transaction_first_offset, batches };
    (producer_id, entry)
}

fn decode_window(rest: &mut &[u8], entry: &mut ProducerEntry) -> Result<(), SnapshotError> {
    let count = usize::from(rest.try_get_u8().map_err(|_| SnapshotError::Truncated)?);
    if count > BATCHES_RETAINED || rest.len() < count * BATCH_BYTES {
        return Err(SnapshotError::Truncated);
    }
    entry.batches = Window::EMPTY;
    for _ in 0..count {
        entry.batches.push(BatchMetadata {
            last_sequence: Sequence(rest.get_i32()),
            last_offset: Offset(rest.get_i64()),
            offset_delta: rest.get_i32(),
            timestamp: WallMillis(rest.get_i64()),
        });
    }
    Ok(())
}
