//! Pure. What a topic's settings come to, typed: the topic's own, or a stand-in of the broker's, or the default.

use super::Properties;
use super::effective::{self, Layers};
use super::keys::{self, Scope};
use super::values::{ConfigError, known, parse_boolean, parse_double, parse_list, parse_long};
use crate::image::Image;
use protocol::ids::{BrokerId, PartitionIndex};
use std::collections::{BTreeMap, BTreeSet};

/// What happens to records that are older than they need be; both may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments go.
    pub delete: bool,
    /// Of each key, only the last record stays.
    pub compact: bool,
}

/// How batches are kept (`BrokerCompressionType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompressionType {
    /// As they came.
    Producer,
    /// Without compression.
    Uncompressed,
    /// By gzip.
    Gzip,
    /// By snappy.
    Snappy,
    /// By lz4.
    Lz4,
    /// By zstd.
    Zstd,
}

/// Whose time a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, when it appended.
    LogAppendTime,
}

/// Which replicas of a topic are copied no faster than the brokers' throttles allow (KIP-73).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThrottledReplicas {
    /// Every one.
    All,
    /// These; most often none.
    Of(BTreeSet<(PartitionIndex, BrokerId)>),
}

/// The settings of one topic. Times are in milliseconds, sizes in bytes; `None` is "without limit".
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`
    pub compression_type: CompressionType,
    /// `compression.gzip.level`
    pub compression_gzip_level: i32,
    /// `compression.lz4.level`
    pub compression_lz4_level: i32,
    /// `compression.zstd.level`
    pub compression_zstd_level: i32,
    /// `delete.retention.ms`
    pub delete_retention_ms: u64,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: u64,
    /// `flush.messages`
    pub flush_messages: u64,
    /// `flush.ms`
    pub flush_ms: u64,
    /// `follower.replication.throttled.replicas`
    pub follower_throttled_replicas: ThrottledReplicas,
    /// `index.interval.bytes`
    pub index_interval_bytes: u64,
    /// `leader.replication.throttled.replicas`
    pub leader_throttled_replicas: ThrottledReplicas,
    /// `max.compaction.lag.ms`
    pub max_compaction_lag_ms: u64,
    /// `max.message.bytes`
    pub max_message_bytes: u32,
    /// `message.timestamp.after.max.ms`
    pub message_timestamp_after_max_ms: u64,
    /// `message.timestamp.before.max.ms`
    pub message_timestamp_before_max_ms: u64,
    /// `message.timestamp.type`
    pub message_timestamp_type: TimestampType,
    /// `min.cleanable.dirty.ratio`
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: u64,
    /// `min.insync.replicas`, as it is set: not yet bounded by how many replicas there are.
    pub min_insync_replicas: usize,
    /// `preallocate`
    pub preallocate: bool,
    /// `producer.id.expiration.ms`, which is the broker's
    pub producer_id_expiration_ms: u64,
    /// `retention.bytes`
    pub retention_bytes: Option<u64>,
    /// `retention.ms`
    pub retention_ms: Option<u64>,
    /// `internal.segment.bytes`, or else `segment.bytes`
    pub segment_bytes: u64,
    /// `segment.index.bytes`
    pub segment_index_bytes: u64,
    /// `segment.jitter.ms`
    pub segment_jitter_ms: u64,
    /// `segment.ms`
    pub segment_ms: u64,
    /// `unclean.leader.election.enable`
    pub unclean_leader_election_enable: bool,
}

/// What a topic's settings say about its elections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionConfig {
    /// `min.insync.replicas`, as it is set: not yet bounded by how many replicas there are.
    pub min_insync_replicas: usize,
    /// `unclean.leader.election.enable`
    pub unclean_leader_election_enable: bool,
}

impl ElectionConfig {
    /// As [`TopicConfig::resolve`], without the rest.
    pub fn resolve(image: &Image, properties: &Properties, topic: &str) -> Self {
        Self::of(&Reader { layers: &Layers::of_topic(image, properties, topic) })
    }

    /// How many replicas must be in sync, given how many there are: `min(min.insync.replicas, replicas)`
    /// (`ReplicationControlManager.getTopicEffectiveMinIsr`).
    pub fn effective_min_isr(self, replicas: usize) -> usize {
        self.min_insync_replicas.min(replicas)
    }

    fn of(value: &Reader<'_>) -> Self {
        Self {
            min_insync_replicas: value.unsigned("min.insync.replicas") as usize,
            unclean_leader_election_enable: value.boolean("unclean.leader.election.enable"),
        }
    }
}

impl TopicConfig {
    /// The settings of a topic, on the node whose static settings these are. A topic that does not exist has the
    /// broker's.
    pub fn resolve(image: &Image, properties: &Properties, topic: &str) -> Self {
        Self::of(&Layers::of_topic(image, properties, topic))
    }

    /// As [`ElectionConfig::effective_min_isr`].
    pub fn effective_min_isr(&self, replicas: usize) -> usize {
        self.min_insync_replicas.min(replicas)
    }

    fn of(layers: &Layers<'_>) -> Self {
        let value = Reader { layers };
        let policies = value.text("cleanup.policy");
        let ElectionConfig { min_insync_replicas, unclean_leader_election_enable } = ElectionConfig::of(&value);
        let has = |policy: &str| parse_list(&policies).any(|item| item == policy);
        Self {
            cleanup_policy: CleanupPolicy { delete: has("delete"), compact: has("compact") },
            compression_type: compression_type(&value.text("compression.type")),
            compression_gzip_level: value.int("compression.gzip.level"),
            compression_lz4_level: value.int("compression.lz4.level"),
            compression_zstd_level: value.int("compression.zstd.level"),
            delete_retention_ms: value.unsigned("delete.retention.ms"),
            file_delete_delay_ms: value.unsigned("file.delete.delay.ms"),
            flush_messages: value.unsigned("flush.messages"),
            flush_ms: value.unsigned("flush.ms"),
            follower_throttled_replicas: throttled_replicas(&value.text("follower.replication.throttled.replicas")),
            index_interval_bytes: value.unsigned("index.interval.bytes"),
            leader_throttled_replicas: throttled_replicas(&value.text("leader.replication.throttled.replicas")),
            max_compaction_lag_ms: value.unsigned("max.compaction.lag.ms"),
            max_message_bytes: value.int("max.message.bytes").unsigned_abs(),
            message_timestamp_after_max_ms: value.unsigned("message.timestamp.after.max.ms"),
            message_timestamp_before_max_ms: value.unsigned("message.timestamp.before.max.ms"),
            message_timestamp_type: timestamp_type(&value.text("message.timestamp.type")),
            min_cleanable_dirty_ratio: parse_double(&value.text("min.cleanable.dirty.ratio")).expect(JUDGED),
            min_compaction_lag_ms: value.unsigned("min.compaction.lag.ms"),
            min_insync_replicas,
            preallocate: value.boolean("preallocate"),
            producer_id_expiration_ms: effective::broker_long(layers, "producer.id.expiration.ms").unsigned_abs(),
            retention_bytes: u64::try_from(value.long("retention.bytes")).ok(),
            retention_ms: u64::try_from(value.long("retention.ms")).ok(),
            segment_bytes: value.optional("internal.segment.bytes").unwrap_or_else(|| value.unsigned("segment.bytes")),
            segment_index_bytes: value.unsigned("segment.index.bytes"),
            segment_jitter_ms: value.unsigned("segment.jitter.ms"),
            segment_ms: value.unsigned("segment.ms"),
            unclean_leader_election_enable,
        }
    }
}

/// Why a value that stands in a layer can be read.
const JUDGED: &str = "a value is judged before it is set, and one that no longer fits is passed over";

/// Reads typed values of topic keys.
struct Reader<'a> {
    layers: &'a Layers<'a>,
}

impl Reader<'_> {
    fn text(&self, name: &'static str) -> String {
        effective::topic_value(self.layers, name).unwrap_or_else(|| panic!("{name} has no default")).value
    }

    fn long(&self, name: &'static str) -> i64 {
        parse_long(&self.text(name)).expect(JUDGED)
    }

    fn int(&self, name: &'static str) -> i32 {
        i32::try_from(self.long(name)).expect(JUDGED)
    }

    fn unsigned(&self, name: &'static str) -> u64 {
        u64::try_from(self.long(name)).expect(JUDGED)
    }

    fn optional(&self, name: &'static str) -> Option<u64> {
        let value = effective::topic_value(self.layers, name)?;
        Some(u64::try_from(parse_long(&value.value).expect(JUDGED)).expect(JUDGED))
    }

    fn boolean(&self, name: &'static str) -> bool {
        parse_boolean(&self.text(name)).expect(JUDGED)
    }
}

fn compression_type(text: &str) -> CompressionType {
    match text {
        "producer" => CompressionType::Producer,
        "uncompressed" => CompressionType::Uncompressed,
        "gzip" => CompressionType::Gzip,
        "snappy" => CompressionType::Snappy,
        "lz4" => CompressionType::Lz4,
        "zstd" => CompressionType::Zstd,
        _ => unreachable!("{JUDGED}: {text}"),
    }
}

impl ThrottledReplicas {
    /// Whether a partition's replica on a broker is among them (`ReplicationQuotaManager.isThrottled`).
    pub fn contains(&self, partition: PartitionIndex, broker_id: BrokerId) -> bool {
        match self {
            Self::All => true,
            Self::Of(replicas) => replicas.contains(&(partition, broker_id)),
        }
    }
}

fn throttled_replicas(text: &str) -> ThrottledReplicas {
    if text.trim() == "*" {
        return ThrottledReplicas::All;
    }
    let pair = |item: &str| {
        let (partition, broker_id) = item.split_once(':').expect(JUDGED);
        // A number that is too large for one names no replica.
        Some((PartitionIndex(partition.parse().ok()?), BrokerId(broker_id.parse().ok()?)))
    };
    ThrottledReplicas::Of(parse_list(text).filter_map(pair).collect())
}

fn timestamp_type(text: &str) -> TimestampType {
    match text {
        "CreateTime" => TimestampType::CreateTime,
        "LogAppendTime" => TimestampType::LogAppendTime,
        _ => unreachable!("{JUDGED}: {text}"),
    }
}

/// Judges the settings that a topic is to have of its own (`LogConfig.validate`).
///
/// # Errors
/// An unknown key, a value that its key does not take, two values that cannot both hold.
pub fn validate(settings: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (name, value) in settings {
        known(Scope::Topic, name)?.check(value)?;
    }
    let long = |name: &str| {
        let default = keys::find(Scope::Topic, name).and_then(|key| key.default);
        settings.get(name).map(String::as_str).or(default).and_then(parse_long).expect("checked above, or a default")
    };
    let (min_lag, max_lag) = (long("min.compaction.lag.ms"), long("max.compaction.lag.ms"));
    if min_lag > max_lag {
        return Err(ConfigError::Conflict(format!(
            "conflict topic config setting min.compaction.lag.ms ({min_lag}) > max.compaction.lag.ms ({max_lag})"
        )));
    }
    if settings.get("remote.storage.enable").and_then(|value| parse_boolean(value)) == Some(true) {
        return Err(ConfigError::Conflict(
            "Tiered Storage functionality is disabled in the broker. \
             Topic cannot be configured with remote log storage."
                .to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
