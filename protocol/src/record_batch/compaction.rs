//! Pure. A batch of which compaction keeps some of the records, or only what its header says.
//!
//! Records keep their offsets and timestamps, and the batch the offsets that it spans, so that the last sequence of its
//! producer stays known. Source: `MemoryRecords.filterTo` and `buildRetainedRecordsInto`, KIP-534 for the delete horizon.

use super::records::{RecordView, RecordViews, payload};
use super::varint::{i32_len, i64_len, put_i32, put_i64};
use super::{
    ATTRIBUTES_AT, BatchError, BatchHeader, COMPRESSION_BITS, DELETE_HORIZON_BIT, HEADER_BYTES, LOG_OVERHEAD,
    TimestampType, crc32c,
};
use crate::compression::{self, Compression};
use crate::ids::WallMillis;
use bytes::{BufMut, BytesMut};
use std::borrow::Cow;

/// One whole batch with its records decompressed.
#[derive(Clone, Debug)]
pub struct Unpacked<'a> {
    header: BatchHeader,
    payload: Cow<'a, [u8]>,
}

impl<'a> Unpacked<'a> {
    /// Decompresses the one whole batch in `batch` into at most `budget` bytes. The CRC is not checked: see
    /// [`super::check_crc`].
    ///
    /// # Errors
    /// What is wrong with it; `OverBudget` if it would need more than `budget`.
    pub fn of(batch: &'a [u8], budget: usize) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(batch)?;
        Ok(Self { header, payload: payload(&header, batch, budget)? })
    }

    /// The records, one after another.
    pub fn records(&self) -> RecordViews<'_> {
        RecordViews::new(&self.header, &self.payload)
    }

    /// The batch with those records alone that are marked in `kept`, in order, in its own codec, and with a delete horizon
    /// if it has one already or is given one.
    ///
    /// # Errors
    /// What is wrong with a record.
    ///
    /// # Panics
    /// If no record is kept: then see [`emptied`].
    pub fn retaining(&self, delete_horizon: Option<WallMillis>, kept: &[bool]) -> Result<BytesMut, BatchError> {
        let horizon = self.header.delete_horizon().or(delete_horizon);
        let (mut base_timestamp, mut newest, mut record_count) = (horizon, WallMillis(-1), 0);
        let mut records = BytesMut::with_capacity(self.payload.len());
        for (record, _) in self.records().zip(kept).filter(|(_, kept)| **kept) {
            let record = record?;
            let timestamp = self.timestamp_of(&record);
            let base = *base_timestamp.get_or_insert(timestamp);
            newest = newest.max(timestamp);
            put_record(&mut records, &record, timestamp.0.wrapping_sub(base.0));
            record_count += 1;
        }
        assert!(record_count > 0, "a record is kept");
        let packed = match self.header.compression().unwrap_or_default() {
            Compression::None => records.to_vec(),
            codec => compression::compress(codec, &records),
        };
        let attributes = self.header.attributes | if horizon.is_some() { DELETE_HORIZON_BIT } else { 0 };
        let max_timestamp = match self.header.timestamp_type() {
            TimestampType::CreateTime => newest,
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        let base_timestamp = base_timestamp.expect("a record is kept");
        Ok(with_records(
            BatchHeader { attributes, base_timestamp, max_timestamp, record_count, ..self.header },
            &packed,
        ))
    }

    fn timestamp_of(&self, record: &RecordView<'_>) -> WallMillis {
        match self.header.timestamp_type() {
            TimestampType::LogAppendTime => self.header.max_timestamp,
            TimestampType::CreateTime => WallMillis(self.header.base_timestamp.0.wrapping_add(record.timestamp_delta)),
        }
    }
}

/// A batch without records: what it says of its producer, its leader epoch and its offsets
/// (`DefaultRecordBatch.writeEmptyHeader`).
pub fn emptied(header: &BatchHeader) -> BytesMut {
    let attributes = header.attributes & !(COMPRESSION_BITS | DELETE_HORIZON_BIT);
    with_records(BatchHeader { attributes, base_timestamp: WallMillis(-1), record_count: 0, ..*header }, &[])
}

fn with_records(mut header: BatchHeader, packed: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + packed.len());
    bytes.put_bytes(0, HEADER_BYTES);
    bytes.put_slice(packed);
    header.batch_length = (bytes.len() - LOG_OVERHEAD) as i32;
    header.write(&mut bytes);
    header.crc = crc32c(&bytes[ATTRIBUTES_AT..]);
    header.write(&mut bytes);
    bytes
}

fn put_record(out: &mut BytesMut, record: &RecordView<'_>, timestamp_delta: i64) {
    let nullable_len = |bytes: Option<&[u8]>| bytes.map_or(1, |bytes| i32_len(bytes.len() as i32) + bytes.len());
    let (headers, header_bytes) = record.raw_headers();
    let length = 1
        + i64_len(timestamp_delta)
        + i32_len(record.offset_delta)
        + nullable_len(record.key)
        + nullable_len(record.value)
        + i32_len(headers)
        + header_bytes.len();
    put_i32(out, length as i32);
    out.put_i8(0);
    put_i64(out, timestamp_delta);
    put_i32(out, record.offset_delta);
    for bytes in [record.key, record.value] {
        match bytes {
            None => put_i32(out, -1),
            Some(bytes) => {
                put_i32(out, bytes.len() as i32);
                out.put_slice(bytes);
            }
        }
    }
    put_i32(out, headers);
    out.put_slice(header_bytes);
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, Header, check_crc, patch, patch_log_append_time, records};
    use super::*;
    use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};
    use bytes::Bytes;
    use proptest::prelude::*;

    const LARGE: usize = 1 << 20;

    fn batch(codec: Compression, timestamps: &[i64]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec).transactional();
        for (at, timestamp) in timestamps.iter().enumerate() {
            let headers =
                vec![Header { key: "h".to_owned(), value: (at % 2 == 0).then(|| Bytes::from_static(b"v")) }; at % 3];
            let value = (at % 4 != 3).then(|| "value ".repeat(at));
            let value = value.as_ref().map(String::as_bytes);
            builder.push(WallMillis(*timestamp), Some(format!("key {at}").as_bytes()), value, &headers);
        }
        let mut bytes = builder.finish(ProducerId(7), ProducerEpoch(1), Sequence(3)).to_vec();
        patch(&mut bytes, Offset(1000), LeaderEpoch(4));
        bytes
    }

    fn header(bytes: &[u8]) -> BatchHeader {
        let header = BatchHeader::parse(bytes).expect("it has a header");
        check_crc(&header, bytes).expect("its CRC is right");
        assert_eq!(header.size(), bytes.len());
        header
    }

    proptest! {
        #[test]
        fn what_is_kept_is_as_it_was_and_the_batch_spans_what_it_did(
            codec in prop::sample::select(Compression::ALL.to_vec()),
            timestamps in prop::collection::vec(-1..1_000_000i64, 1..20),
            kept in any::<u32>(),
            horizon in prop::option::of(0..2_000_000i64),
            append_time: bool,
        ) {
            let mut original = batch(codec, &timestamps);
            if append_time {
                patch_log_append_time(&mut original, WallMillis(555));
            }
            let before = header(&original);
            let keeps = |offset_delta: i32| kept >> offset_delta & 1 == 1;
            let marks: Vec<bool> = (0..timestamps.len() as i32).map(keeps).collect();
            let wanted: Vec<_> = records(&original, LARGE).expect("sound").into_iter()
                .filter(|record| keeps((record.offset.0 - 1000) as i32)).collect();
            prop_assume!(!wanted.is_empty());
            let unpacked = Unpacked::of(&original, LARGE).expect("sound");
            let bytes = unpacked.retaining(horizon.map(WallMillis), &marks).expect("sound");
            let after = header(&bytes);
            prop_assert_eq!(records(&bytes, LARGE).expect("sound"), wanted.clone());
            prop_assert_eq!((after.base_offset, after.last_offset()), (before.base_offset, before.last_offset()));
            prop_assert_eq!(after.last_sequence(), before.last_sequence());
            prop_assert_eq!(after.leader_epoch, before.leader_epoch);
            prop_assert_eq!(after.record_count as usize, wanted.len());
            prop_assert_eq!((after.compression(), after.is_transactional()), (before.compression(), true));
            prop_assert_eq!(after.delete_horizon(), horizon.map(WallMillis));
            // A horizon that is there stays.
            let again = Unpacked::of(&bytes, LARGE).expect("sound").retaining(Some(WallMillis(1)), &[true; 20]).expect("sound");
            prop_assert_eq!(header(&again).delete_horizon(), Some(WallMillis(horizon.unwrap_or(1))));
            prop_assert_eq!(records(&again, LARGE).expect("sound"), wanted);
        }
    }

    #[test]
    fn an_emptied_batch_says_what_its_header_said() {
        for codec in Compression::ALL {
            let original = batch(codec, &[5, 9, 7]);
            let before = header(&original);
            let bytes = emptied(&before);
            let after = header(&bytes);
            assert_eq!(bytes.len(), HEADER_BYTES);
            assert_eq!(records(&bytes, LARGE), Ok(Vec::new()));
            assert_eq!((after.base_offset, after.last_offset()), (before.base_offset, before.last_offset()));
            assert_eq!((after.producer_id, after.last_sequence()), (before.producer_id, before.last_sequence()));
            assert_eq!((after.max_timestamp, after.is_transactional()), (WallMillis(9), true));
            assert_eq!(emptied(&after), bytes, "and once more");
        }
    }

    #[test]
    fn a_batch_that_unpacks_to_more_than_the_budget_is_refused() {
        let original = batch(Compression::Zstd, &[1; 20]);
        assert_eq!(Unpacked::of(&original, 100).err(), Some(BatchError::OverBudget { budget: 100 }));
    }
}
