//! Pure. The topic configuration that a log obeys.

use protocol::record_batch::TimestampType;

/// What a log is told by its topic's configuration. The broker resolves it from the metadata image; the default is Kafka's.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment that would become larger is rolled first.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment whose first record is older, in record time, is rolled at the next append.
    pub segment_ms: i64,
    /// `segment.index.bytes`: a segment whose index would become larger is rolled.
    pub segment_index_bytes: u64,
    /// `index.interval.bytes`: bytes of batches between two index entries.
    pub index_interval_bytes: u64,
    /// `max.message.bytes`: the largest batch a producer may send. Enforced by whoever validates the batch.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `flush.messages`: records after which [`crate::log::Log::wants_flush`] says yes.
    pub flush_messages: u64,
    /// `flush.ms`: milliseconds after which it does.
    pub flush_ms: u64,
    /// `producer.id.expiration.ms`: how long a silent producer is remembered.
    pub producer_id_expiration_ms: i64,
    /// `retention.ms`; -1 is for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 is without limit.
    pub retention_bytes: i64,
    /// Whether `cleanup.policy` contains `delete`.
    pub deletes: bool,
    /// Whether `cleanup.policy` contains `compact`: then offsets may be missing between batches.
    pub compacts: bool,
    /// `min.cleanable.dirty.ratio`: a log is cleaned once more of it is dirty, from 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: how long a record is certain to stay.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: after which time a log is cleaned however little of it is dirty.
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`: how long a tombstone stays once it has been cleaned.
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`: how long a deleted partition's directory is kept under its new name.
    pub file_delete_delay_ms: u64,
}

impl LogConfig {
    /// How old a segment may grow: what waits to be compacted for `max.compaction.lag.ms` cannot be while it is active
    /// (`LogConfig.maxSegmentMs`).
    pub fn segment_ms_max(&self) -> i64 {
        if self.compacts { self.segment_ms.min(self.max_compaction_lag_ms) } else { self.segment_ms }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            message_timestamp_type: TimestampType::CreateTime,
            flush_messages: i64::MAX as u64,
            flush_ms: i64::MAX as u64,
            producer_id_expiration_ms: 86_400_000,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            deletes: true,
            compacts: false,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 86_400_000,
            file_delete_delay_ms: 60_000,
        }
    }
}
