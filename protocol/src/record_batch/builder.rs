//! Pure. Builds a batch out of records, as a producer does.

use super::varint::{i32_len, i64_len, put_i32, put_i64};
use super::{BatchHeader, HEADER_BYTES, Header, LOG_OVERHEAD, MAGIC, TRANSACTIONAL_BIT, crc32c};
use crate::compression::{self, Compression};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, WallMillis};
use bytes::{BufMut, Bytes, BytesMut};

/// Collects records, and finishes into the bytes of one batch whose base offset is zero.
///
/// Records are written once, behind room for the header; without compression they are not copied again.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    compression: Compression,
    transactional: bool,
    bytes: BytesMut,
    record_count: i32,
    base_timestamp: WallMillis,
    max_timestamp: WallMillis,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(compression: Compression) -> Self {
        let mut bytes = BytesMut::with_capacity(1024);
        bytes.put_bytes(0, HEADER_BYTES);
        Self {
            compression,
            transactional: false,
            bytes,
            record_count: 0,
            base_timestamp: WallMillis(-1),
            max_timestamp: WallMillis(-1),
        }
    }

    /// The same, marked as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.transactional = true;
        self
    }

    /// Appends a record; its offset in the batch is the number of records before it.
    pub fn push(&mut self, timestamp: WallMillis, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) {
        if self.record_count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.0.wrapping_sub(self.base_timestamp.0);
        let length = body_len(timestamp_delta, self.record_count, key, value, headers);
        put_i32(&mut self.bytes, length as i32);
        self.bytes.put_i8(0);
        put_i64(&mut self.bytes, timestamp_delta);
        put_i32(&mut self.bytes, self.record_count);
        put_nullable(&mut self.bytes, key);
        put_nullable(&mut self.bytes, value);
        put_i32(&mut self.bytes, headers.len() as i32);
        for header in headers {
            put_nullable(&mut self.bytes, Some(header.key.as_bytes()));
            put_nullable(&mut self.bytes, header.value.as_deref());
        }
        self.record_count += 1;
    }

    /// How many records were pushed.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether nothing was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Bytes of the batch as it stands, before compression.
    pub fn size_estimate(&self) -> usize {
        self.bytes.len()
    }

    /// The most bytes that a record adds to a batch, whatever its place in it.
    pub fn record_bytes_max(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
        let body = body_len(i64::MIN, i32::MAX, key, value, headers);
        body + i32_len(body as i32)
    }

    /// The batch: compressed, summed, with base offset 0 and no leader epoch, as a produce request carries it.
    ///
    /// Without idempotence pass [`ProducerId::NONE`], [`ProducerEpoch::NONE`] and [`Sequence::NONE`].
    ///
    /// # Panics
    /// If nothing was pushed: a batch has at least one record.
    pub fn finish(self, producer_id: ProducerId, producer_epoch: ProducerEpoch, base_sequence: Sequence) -> Bytes {
        assert!(self.record_count > 0, "a batch has at least one record");
        let mut bytes = match self.compression {
            Compression::None => self.bytes,
            codec => {
                let packed = compression::compress(codec, &self.bytes[HEADER_BYTES..]);
                let mut bytes = BytesMut::with_capacity(HEADER_BYTES + packed.len());
                bytes.put_bytes(0, HEADER_BYTES);
                bytes.put_slice(&packed);
                bytes
            }
        };
        let mut header = BatchHeader {
            base_offset: Offset::ZERO,
            batch_length: (bytes.len() - LOG_OVERHEAD) as i32,
            leader_epoch: LeaderEpoch::UNKNOWN,
            magic: MAGIC,
            crc: 0,
            attributes: i16::from(self.compression.code()) | if self.transactional { TRANSACTIONAL_BIT } else { 0 },
            last_offset_delta: self.record_count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id,
            producer_epoch,
            base_sequence,
            record_count: self.record_count,
        };
        header.write(&mut bytes);
        header.crc = crc32c(&bytes[super::ATTRIBUTES_AT..]);
        header.write(&mut bytes);
        bytes.freeze()
    }
}

fn body_len(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) -> usize {
    let of_headers =
        |header: &Header| nullable_len(Some(header.key.as_bytes())) + nullable_len(header.value.as_deref());
    1 + i64_len(timestamp_delta)
        + i32_len(offset_delta)
        + nullable_len(key)
        + nullable_len(value)
        + i32_len(headers.len() as i32)
        + headers.iter().map(of_headers).sum::<usize>()
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| i32_len(bytes.len() as i32) + bytes.len())
}

fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_i32(out, -1),
        Some(bytes) => {
            put_i32(out, bytes.len() as i32);
            out.put_slice(bytes);
        }
    }
}
