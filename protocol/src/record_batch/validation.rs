//! Pure. What a broker checks before a batch enters its log: from a producer, and from a partition's leader.
//!
//! Source: `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords` and `LogValidator.java`, in that order.
//! Where Kafka walks the records of every batch, this looks at the header and the CRC; records are walked only where a rule is
//! about them (keys of a compacted topic).

use super::records::{RecordViews, payload};
use super::{BatchError, BatchHeader, HEADER_BYTES, RECORD_BYTES_MIN, TimestampType, batches, check_crc};
use crate::compression::Compression;
use crate::ids::{Offset, WallMillis};

/// How much a batch may grow when it is decompressed for a check, against `max.message.bytes`.
const DECOMPRESSION_FACTOR: usize = 64;
/// The most bytes that a batch may grow to when it is decompressed for a check.
const DECOMPRESSED_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Which timestamps a topic accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampRule {
    /// `message.timestamp.type=LogAppendTime`: the producer's do not matter.
    LogAppendTime,
    /// `message.timestamp.type=CreateTime`: the producer's, not too far from the broker's clock.
    CreateTime {
        /// The broker's clock.
        now: WallMillis,
        /// `message.timestamp.before.max.ms`: how far in the past.
        before_ms_max: i64,
        /// `message.timestamp.after.max.ms`: how far in the future.
        after_ms_max: i64,
    },
}

/// What a topic allows in a produced batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceLimits {
    /// `max.message.bytes`: the largest whole batch.
    pub max_message_bytes: usize,
    /// The version of the produce request; zstd is allowed from 7 on (KIP-110).
    pub produce_version: i16,
    /// Whether each record needs a key: the topic is compacted.
    pub keys_required: bool,
    /// Which timestamps are accepted.
    pub timestamps: TimestampRule,
}

/// Checks the records of one partition of a produce request: exactly one batch, and nothing wrong with it.
///
/// Stricter than Kafka in one thing: bytes after the batch are refused, where Kafka drops a last batch that is cut off.
///
/// # Errors
/// Says the first rule that was broken; [`BatchError::error_code`] is what the client is told.
pub fn validate_produced(bytes: &[u8], limits: &ProduceLimits) -> Result<BatchHeader, BatchError> {
    let header = the_one_batch(bytes, limits.produce_version)?;
    if header.base_offset != Offset::ZERO {
        return Err(BatchError::BaseOffsetNotZero(header.base_offset));
    }
    if header.size() > limits.max_message_bytes {
        return Err(BatchError::TooLarge { size: header.size(), limit: limits.max_message_bytes });
    }
    check_crc(&header, bytes)?;
    check_count(&header)?;
    if header.is_control() {
        return Err(BatchError::ControlBatch);
    }
    if header.has_producer_id() && header.base_sequence.0 < 0 {
        return Err(BatchError::BadSequence { producer_id: header.producer_id, base_sequence: header.base_sequence });
    }
    check_timestamps(&header, limits.timestamps)?;
    if limits.keys_required {
        check_keys(&header, bytes, decompression_budget(limits.max_message_bytes))?;
    }
    Ok(header)
}

/// How much a batch may be once it is decompressed.
pub(super) fn decompression_budget(max_message_bytes: usize) -> usize {
    max_message_bytes.saturating_mul(DECOMPRESSION_FACTOR).min(DECOMPRESSED_BYTES_MAX)
}

fn the_one_batch(bytes: &[u8], produce_version: i16) -> Result<BatchHeader, BatchError> {
    let header = match BatchHeader::parse(bytes) {
        Ok(header) => header,
        Err(BatchError::Truncated { .. }) => return Err(BatchError::NoBatch),
        Err(BatchError::BadMagic { magic }) if (0..=1).contains(&magic) => return Err(BatchError::OldMagic { magic }),
        Err(other) => return Err(other),
    };
    if bytes.len() < header.size() {
        return Err(BatchError::NoBatch);
    }
    let codec = header.compression();
    if codec.is_none() || (codec == Some(Compression::Zstd) && produce_version < 7) {
        return Err(BatchError::UnsupportedCompression { code: (header.attributes & 7) as u8 });
    }
    if bytes.len() > header.size() {
        return Err(BatchError::MoreThanOneBatch { trailing: bytes.len() - header.size() });
    }
    Ok(header)
}

/// A produced batch holds every offset that it spans, and as many records as its bytes have room for.
fn check_count(header: &BatchHeader) -> Result<(), BatchError> {
    let spanned = i64::from(header.last_offset_delta) + 1;
    let uncompressed = header.compression() == Some(Compression::None);
    let room = (header.size() - HEADER_BYTES) / RECORD_BYTES_MIN;
    let fits = !uncompressed || usize::try_from(header.record_count).is_ok_and(|count| count <= room);
    if header.record_count > 0 && spanned == i64::from(header.record_count) && fits {
        Ok(())
    } else {
        Err(BatchError::BadCount { record_count: header.record_count, last_offset_delta: header.last_offset_delta })
    }
}

fn check_timestamps(header: &BatchHeader, rule: TimestampRule) -> Result<(), BatchError> {
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchError::BadTimestamp { timestamp: header.max_timestamp });
    }
    let TimestampRule::CreateTime { now, before_ms_max, after_ms_max } = rule else { return Ok(()) };
    // -1 is "no timestamp", which any topic accepts.
    let (first, last) = (header.base_timestamp, header.max_timestamp);
    if first.0 != -1 && i128::from(now.0) - i128::from(first.0) > i128::from(before_ms_max) {
        return Err(BatchError::BadTimestamp { timestamp: first });
    }
    if last.0 != -1 && i128::from(last.0) - i128::from(now.0) > i128::from(after_ms_max) {
        return Err(BatchError::BadTimestamp { timestamp: last });
    }
    Ok(())
}

fn check_keys(header: &BatchHeader, batch: &[u8], budget: usize) -> Result<(), BatchError> {
    let bytes = payload(header, batch, budget)?;
    for (index, record) in RecordViews::new(header, &bytes).enumerate() {
        if record?.key.is_none() {
            return Err(BatchError::NoKey { index: index as i32 });
        }
    }
    Ok(())
}

/// Checks what a leader sent to its follower: whole batches, sound, without a gap from `expected` on.
///
/// A last batch that is cut off, as a fetch may be, is left out: the sizes of the returned headers say how many bytes count.
///
/// # Errors
/// `OutOfOrderOffset` where a batch does not begin where the one before it ended; else what is wrong with a batch.
pub fn validate_replicated(bytes: &[u8], expected: Offset) -> Result<Vec<BatchHeader>, BatchError> {
    check_replicated(bytes, expected, false)
}

/// As [`validate_replicated`], of a log that was compacted: offsets may be missing before a batch.
///
/// # Errors
/// `OutOfOrderOffset` where a batch begins before the one before it ended; else what is wrong with a batch.
pub fn validate_compacted(bytes: &[u8], expected: Offset) -> Result<Vec<BatchHeader>, BatchError> {
    check_replicated(bytes, expected, true)
}

fn check_replicated(bytes: &[u8], expected: Offset, gaps: bool) -> Result<Vec<BatchHeader>, BatchError> {
    let mut headers = Vec::new();
    let mut expected = expected;
    for batch in batches(bytes) {
        let (header, batch) = batch?;
        check_crc(&header, batch)?;
        let follows = header.base_offset == expected || (gaps && header.base_offset > expected);
        if !follows || header.last_offset_delta < 0 {
            return Err(BatchError::OutOfOrderOffset { expected, got: header.base_offset });
        }
        if header.compression().is_none() {
            return Err(BatchError::UnsupportedCompression { code: (header.attributes & 7) as u8 });
        }
        expected = header.next_offset();
        headers.push(header);
    }
    Ok(headers)
}
