//! Pure. A record batch of format version 2, as it lies on the wire and in the log: its 61-byte header, and its checksum.
//!
//! The data path never decodes records: a broker parses the header, checks the CRC once, and patches base offset and leader
//! epoch, which both lie outside the CRC. Records are decoded by consumers and by the command line ([`records()`]).
//!
//! ```text
//!   0  base offset i64          21  attributes i16          43  producer id i64
//!   8  batch length i32         23  last offset delta i32   51  producer epoch i16
//!  12  leader epoch i32         27  base timestamp i64      53  base sequence i32
//!  16  magic i8                 35  max timestamp i64       57  record count i32
//!  17  crc u32, over 21..                                   61  records
//! ```
//!
//! Source: Kafka's `DefaultRecordBatch.java` (KIP-98).

mod builder;
mod compaction;
mod partitioner;
mod recompression;
mod records;
mod validation;
pub mod varint;

pub use builder::BatchBuilder;
pub use compaction::{Unpacked, emptied};
pub use partitioner::{murmur2, partition_for_key};
pub use recompression::recompress;
pub use records::{Header, Record, RecordView, RecordViews, records};
pub use validation::{ProduceLimits, TimestampRule, validate_compacted, validate_produced, validate_replicated};

use crate::compression::Compression;
use crate::error_code::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, WallMillis};

/// Bytes of a batch before its first record.
pub const HEADER_BYTES: usize = 61;
/// Bytes of a batch that its length field does not count: base offset and the length itself.
pub const LOG_OVERHEAD: usize = 12;
/// The only format that is served: the one with headers, producer ids and transactions.
pub const MAGIC: i8 = 2;
/// The smallest record: its length, attributes, two deltas, two lengths, and the count of its headers.
pub const RECORD_BYTES_MIN: usize = 7;

const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

const COMPRESSION_BITS: i16 = 0x07;
const LOG_APPEND_TIME_BIT: i16 = 0x08;
const TRANSACTIONAL_BIT: i16 = 0x10;
const CONTROL_BIT: i16 = 0x20;
const DELETE_HORIZON_BIT: i16 = 0x40;

/// Whose clock a batch's timestamps are from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimestampType {
    /// The producer's, record by record.
    #[default]
    CreateTime,
    /// The leader's at the append: every record has the batch's max timestamp.
    LogAppendTime,
}

/// The 61 bytes before a batch's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; zero in what a producer sends.
    pub base_offset: Offset,
    /// Bytes that follow the length field. The whole batch is [`BatchHeader::size`].
    pub batch_length: i32,
    /// The leader's epoch at the append.
    pub leader_epoch: LeaderEpoch,
    /// The format: always 2 in a header that was parsed.
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Compression, timestamp type, transactional, control; see the methods.
    pub attributes: i16,
    /// Last offset less base offset. Stays when compaction removes the last record.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to; see [`BatchHeader::delete_horizon`].
    pub base_timestamp: WallMillis,
    /// The largest timestamp of a record, or the time of the append.
    pub max_timestamp: WallMillis,
    /// Who produced it, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// In which epoch of the producer, or [`ProducerEpoch::NONE`].
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, or [`Sequence::NONE`].
    pub base_sequence: Sequence,
    /// Records inside; fewer than the offsets it spans once compacted.
    pub record_count: i32,
}

/// Why a batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("a batch of {need} bytes ends after {have}")]
    Truncated {
        /// Bytes that there are.
        have: usize,
        /// Bytes that the header, or the length field, asks for.
        need: usize,
    },
    /// The length field is smaller than the header itself.
    #[error("batch length {batch_length} is too small")]
    BadLength {
        /// As announced.
        batch_length: i32,
    },
    /// Another format than version 2.
    #[error("record format version {magic} is not supported")]
    BadMagic {
        /// As announced.
        magic: i8,
    },
    /// The checksum does not match the bytes.
    #[error("stored CRC {stored:#010x} is not the computed {computed:#010x}")]
    BadCrc {
        /// In the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// A produce request's partition carries no whole batch.
    #[error("a partition of a produce request must have one record batch")]
    NoBatch,
    /// A produce request's partition carries something after its batch.
    #[error("{trailing} bytes follow the one record batch of a partition")]
    MoreThanOneBatch {
        /// Bytes after the first batch.
        trailing: usize,
    },
    /// Format version 0 or 1 in a produce request of version 3 or newer.
    #[error("record format version {magic} is not allowed in a produce request")]
    OldMagic {
        /// As announced.
        magic: i8,
    },
    /// A client chose its own offsets.
    #[error("base offset {0} of a produced batch must be 0")]
    BaseOffsetNotZero(Offset),
    /// The record count and the offsets do not agree.
    #[error("{record_count} records cannot span offsets 0 to {last_offset_delta}")]
    BadCount {
        /// As announced.
        record_count: i32,
        /// As announced.
        last_offset_delta: i32,
    },
    /// A client sent a control batch.
    #[error("clients may not write control records")]
    ControlBatch,
    /// An idempotent batch without a sequence.
    #[error("producer {producer_id} sent sequence {base_sequence}")]
    BadSequence {
        /// Who sent it.
        producer_id: ProducerId,
        /// The negative sequence.
        base_sequence: Sequence,
    },
    /// Compression bits that no codec has, or zstd in a produce request before version 7.
    #[error("compression type {code} is not supported here")]
    UnsupportedCompression {
        /// The attribute's three bits.
        code: u8,
    },
    /// Larger than `max.message.bytes`.
    #[error("a batch of {size} bytes is larger than the {limit} allowed")]
    TooLarge {
        /// Bytes of the whole batch.
        size: usize,
        /// The topic's limit.
        limit: usize,
    },
    /// The producer claims the broker's timestamp, or its own lies outside what the topic accepts.
    #[error("timestamp {timestamp} is not acceptable")]
    BadTimestamp {
        /// The batch's timestamp.
        timestamp: WallMillis,
    },
    /// A record of a compacted topic lacks a key.
    #[error("record {index} of a compacted topic has no key")]
    NoKey {
        /// Which record of the batch.
        index: i32,
    },
    /// A record's own bytes are not as they should be.
    #[error("record {index} is malformed: {what}")]
    BadRecord {
        /// Which record of the batch.
        index: i32,
        /// What is wrong.
        what: &'static str,
    },
    /// A batch from a leader does not begin where the log ends.
    #[error("expected a batch at offset {expected}, got {got}")]
    OutOfOrderOffset {
        /// Where the log ends.
        expected: Offset,
        /// Where the batch begins.
        got: Offset,
    },
    /// The compressed part does not decompress.
    #[error("the compressed records are corrupt")]
    CorruptCompression,
    /// Decompressed, the records are larger than may be held.
    #[error("the records need more than the {budget} bytes allowed")]
    OverBudget {
        /// The reader's budget.
        budget: usize,
    },
}

impl BatchError {
    /// What a client is told (as Kafka's `LogValidator` and `ProduceRequest.validateRecords`).
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Truncated { .. }
            | Self::BadLength { .. }
            | Self::BadMagic { .. }
            | Self::BadCrc { .. }
            | Self::OutOfOrderOffset { .. }
            | Self::CorruptCompression => ErrorCode::CorruptMessage,
            Self::NoBatch
            | Self::MoreThanOneBatch { .. }
            | Self::OldMagic { .. }
            | Self::BaseOffsetNotZero(_)
            | Self::BadCount { .. }
            | Self::ControlBatch
            | Self::BadSequence { .. }
            | Self::NoKey { .. }
            | Self::BadRecord { .. } => ErrorCode::InvalidRecord,
            Self::UnsupportedCompression { .. } => ErrorCode::UnsupportedCompressionType,
            Self::TooLarge { .. } | Self::OverBudget { .. } => ErrorCode::MessageTooLarge,
            Self::BadTimestamp { .. } => ErrorCode::InvalidTimestamp,
        }
    }
}

/// Reads `N` bytes at a position that the caller has checked.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`. The batch itself may end later: compare [`BatchHeader::size`].
    ///
    /// # Errors
    /// `Truncated` below 61 bytes, `BadMagic` for another format, `BadLength` if the length cannot hold the header.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() < HEADER_BYTES {
            return Err(BatchError::Truncated { have: bytes.len(), need: HEADER_BYTES });
        }
        let magic = bytes[MAGIC_AT] as i8;
        if magic != MAGIC {
            return Err(BatchError::BadMagic { magic });
        }
        let batch_length = i32::from_be_bytes(field(bytes, 8));
        if batch_length < (HEADER_BYTES - LOG_OVERHEAD) as i32 {
            return Err(BatchError::BadLength { batch_length });
        }
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(field(bytes, 0))),
            batch_length,
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field(bytes, 12))),
            magic,
            crc: u32::from_be_bytes(field(bytes, CRC_AT)),
            attributes: i16::from_be_bytes(field(bytes, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: WallMillis(i64::from_be_bytes(field(bytes, 27))),
            max_timestamp: WallMillis(i64::from_be_bytes(field(bytes, MAX_TIMESTAMP_AT))),
            producer_id: ProducerId(i64::from_be_bytes(field(bytes, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(bytes, 51))),
            base_sequence: Sequence(i32::from_be_bytes(field(bytes, 53))),
            record_count: i32::from_be_bytes(field(bytes, 57)),
        })
    }

    /// Writes the header into the first 61 bytes of `bytes`, all fields as they are, the CRC too.
    ///
    /// # Panics
    /// If `bytes` is shorter than that.
    pub fn write(&self, bytes: &mut [u8]) {
        assert!(bytes.len() >= HEADER_BYTES, "{} bytes cannot hold a batch header", bytes.len());
        bytes[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.leader_epoch.0.to_be_bytes());
        bytes[MAGIC_AT] = self.magic as u8;
        bytes[CRC_AT..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[ATTRIBUTES_AT..23].copy_from_slice(&self.attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.0.to_be_bytes());
        bytes[MAX_TIMESTAMP_AT..43].copy_from_slice(&self.max_timestamp.0.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.0.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.0.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.0.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.record_count.to_be_bytes());
    }

    /// Offset of the last record, present or compacted away.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// Bytes of the whole batch, header and all.
    pub fn size(&self) -> usize {
        // A parsed length is never negative.
        LOG_OVERHEAD + self.batch_length.max(0) as usize
    }

    /// Sequence of the last record, or [`Sequence::NONE`]; wraps to zero past 2^31-1.
    pub fn last_sequence(&self) -> Sequence {
        if self.base_sequence == Sequence::NONE {
            Sequence::NONE
        } else {
            self.base_sequence.plus(self.last_offset_delta)
        }
    }

    /// How the records are compressed, or nothing for bits that no codec has.
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_code((self.attributes & COMPRESSION_BITS) as u8)
    }

    /// Whose clock the timestamps are from.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether it holds a transaction marker instead of a client's records.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// From when on compaction may drop its tombstones, or its transaction marker, if it has come across them before: the
    /// base timestamp then says so (KIP-534).
    pub fn delete_horizon(&self) -> Option<WallMillis> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }

    /// Whether an idempotent or transactional producer sent it.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > ProducerId::NONE
    }
}

/// CRC-32C (Castagnoli), as over everything of a batch from its attributes on.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Checks one whole batch's stored CRC against its bytes.
///
/// # Errors
/// `Truncated` if `batch` is shorter than `header` says, `BadCrc` if the bytes are not those that were summed.
pub fn check_crc(header: &BatchHeader, batch: &[u8]) -> Result<(), BatchError> {
    let Some(summed) = batch.get(ATTRIBUTES_AT..header.size()) else {
        return Err(BatchError::Truncated { have: batch.len(), need: header.size() });
    };
    let computed = crc32c(summed);
    if computed == header.crc { Ok(()) } else { Err(BatchError::BadCrc { stored: header.crc, computed }) }
}

/// Stamps a batch with its place in the log. Both fields lie outside the CRC.
///
/// # Panics
/// If `batch` is shorter than a header: validate first.
pub fn patch(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    assert!(batch.len() >= HEADER_BYTES, "{} bytes are no batch", batch.len());
    batch[0..8].copy_from_slice(&base_offset.0.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
}

/// Stamps a batch with the time of its append (`message.timestamp.type=LogAppendTime`), and sums it again.
///
/// Costs one pass over the batch. `batch` must end where the batch ends.
///
/// # Panics
/// If `batch` is shorter than a header: validate first.
pub fn patch_log_append_time(batch: &mut [u8], now: WallMillis) {
    assert!(batch.len() >= HEADER_BYTES, "{} bytes are no batch", batch.len());
    let attributes = i16::from_be_bytes(field(batch, ATTRIBUTES_AT)) | LOG_APPEND_TIME_BIT;
    batch[ATTRIBUTES_AT..23].copy_from_slice(&attributes.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..43].copy_from_slice(&now.0.to_be_bytes());
    let crc = crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..21].copy_from_slice(&crc.to_be_bytes());
}

/// The batches that lie one after another in `bytes`, each header with its whole batch. CRCs are not checked.
///
/// Ends silently before a last batch that is cut off, as a fetch may be. A broken batch yields its error, and nothing after it:
/// where the next one would begin is not known.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.len() < HEADER_BYTES {
            self.rest = &[];
            return None;
        }
        let header = match BatchHeader::parse(self.rest) {
            Ok(header) => header,
            Err(error) => {
                self.rest = &[];
                return Some(Err(error));
            }
        };
        if self.rest.len() < header.size() {
            self.rest = &[];
            return None;
        }
        let (batch, rest) = self.rest.split_at(header.size());
        self.rest = rest;
        Some(Ok((header, batch)))
    }
}

#[cfg(test)]
mod tests;
