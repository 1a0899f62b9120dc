//! Pure. Topic keys of Kafka 4.1.0, and for each the broker keys that stand in where a topic says nothing.
//!
//! Names, kinds and defaults are those of Kafka's `LogConfig`; the stand-ins, in order, those of
//! `ServerTopicConfigSynonyms`.

use super::{COMPRESSION, Check::*, Key, Kind::*, TIMESTAMP, Treatment, keys};

keys! { KEYS
    public honoured "cleanup.policy", List, Some("delete"), EachOf(&["compact", "delete"]),
        "What happens to old records: delete them, or with compact keep the newest of each key.";
    public honoured "compression.gzip.level", Int, Some("-1"), Level(1, 9),
        "How hard gzip tries where compression.type is gzip; -1 is its usual level.";
    public mapped "compression.lz4.level", Int, Some("9"), Between(1, 17),
        "Has no effect: lz4 has one level here.";
    public honoured "compression.type", Text, Some("producer"), OneOf(COMPRESSION),
        "The codec in which batches are kept; producer leaves them as they come.";
    public honoured "compression.zstd.level", Int, Some("3"), Between(-131072, 22),
        "How hard zstd tries where compression.type is zstd.";
    public honoured "delete.retention.ms", Long, Some("86400000"), AtLeast(0),
        "How long a key without a value stays in a compacted log once it was cleaned.";
    public honoured "file.delete.delay.ms", Long, Some("60000"), AtLeast(0),
        "How long a removed file stays on the disk.";
    public honoured "flush.messages", Long, Some("9223372036854775807"), AtLeast(1),
        "After how many records the log is forced to the disk.";
    public honoured "flush.ms", Long, Some("9223372036854775807"), AtLeast(0),
        "After how long a record is forced to the disk.";
    public honoured "follower.replication.throttled.replicas", List, Some(""), Throttled,
        "Which followers' replication is throttled, as partition:broker, or * for all.";
    public honoured "index.interval.bytes", Int, Some("4096"), AtLeast(0),
        "How many bytes of log between two entries of the index.";
    internal honoured "internal.segment.bytes", Int, None, AtLeast(1),
        "As segment.bytes, without its lower bound; for tests.";
    public honoured "leader.replication.throttled.replicas", List, Some(""), Throttled,
        "Which leaders' replication is throttled, as partition:broker, or * for all.";
    public mapped "local.retention.bytes", Long, Some("-2"), AtLeast(-2),
        "How much stays local once it is in remote storage; -2 is retention.bytes.";
    public mapped "local.retention.ms", Long, Some("-2"), AtLeast(-2),
        "How long records stay local once they are in remote storage; -2 is retention.ms.";
    public honoured "max.compaction.lag.ms", Long, Some("9223372036854775807"), AtLeast(1),
        "After which time a record is compacted, however little else there is to clean.";
    public honoured "max.message.bytes", Int, Some("1048588"), AtLeast(0), "The largest record batch that is accepted.";
    public honoured "message.timestamp.after.max.ms", Long, Some("3600000"), AtLeast(0),
        "How far in the future a record's timestamp may lie.";
    public honoured "message.timestamp.before.max.ms", Long, Some("9223372036854775807"), AtLeast(0),
        "How far in the past a record's timestamp may lie.";
    public honoured "message.timestamp.type", Text, Some("CreateTime"), OneOf(TIMESTAMP),
        "Whose time a record carries: CreateTime is the producer's, LogAppendTime the broker's.";
    public honoured "min.cleanable.dirty.ratio", Double, Some("0.5"), Ratio,
        "How much of a compacted log must not have been cleaned before it is.";
    public honoured "min.compaction.lag.ms", Long, Some("0"), AtLeast(0),
        "How long a record is certain to stay before it is compacted.";
    public honoured "min.insync.replicas", Int, Some("1"), AtLeast(1),
        "How many replicas must be in sync for acks=all to be accepted.";
    public mapped "preallocate", Boolean, Some("false"), Any,
        "Has no effect: files grow with what they hold.";
    public mapped "remote.log.copy.disable", Boolean, Some("false"), Any,
        "Whether nothing more is copied to remote storage.";
    public mapped "remote.log.delete.on.disable", Boolean, Some("false"), Any,
        "Whether remote segments go when remote storage is turned off.";
    public mapped "remote.storage.enable", Boolean, Some("false"), Any, "Whether old segments move to remote storage.";
    public honoured "retention.bytes", Long, Some("-1"), Any,
        "How large a partition may grow before its oldest segments go; -1 is without limit.";
    public honoured "retention.ms", Long, Some("604800000"), AtLeast(-1), "How long records are kept; -1 is for ever.";
    public honoured "segment.bytes", Int, Some("1073741824"), AtLeast(14),
        "How large one file of the log may grow. Kafka refuses less than 1 MiB.";
    public honoured "segment.index.bytes", Int, Some("10485760"), AtLeast(4), "How large an index may grow.";
    public mapped "segment.jitter.ms", Long, Some("0"), AtLeast(0),
        "Has no effect: segments roll when they are due.";
    public honoured "segment.ms", Long, Some("604800000"), AtLeast(1),
        "How old a segment may grow before the next begins.";
    public honoured "unclean.leader.election.enable", Boolean, Some("false"), Any,
        "Whether a replica that may lack committed records may lead when no other can.";
}

/// How the value of a stand-in becomes the value of the topic key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// As it is.
    Same,
    /// From minutes to milliseconds; a negative number stays.
    Minutes,
    /// From hours to milliseconds; a negative number stays.
    Hours,
}

/// A broker key that stands in for a topic key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The broker key.
    pub name: &'static str,
    /// How its value is read.
    pub conversion: Conversion,
}

const fn same(name: &'static str) -> Synonym {
    Synonym { name, conversion: Conversion::Same }
}

const fn minutes(name: &'static str) -> Synonym {
    Synonym { name, conversion: Conversion::Minutes }
}

const fn hours(name: &'static str) -> Synonym {
    Synonym { name, conversion: Conversion::Hours }
}

/// For each topic key, the broker keys that stand in for it, the first that is given winning.
const SYNONYMS: &[(&str, &[Synonym])] = &[
    ("cleanup.policy", &[same("log.cleanup.policy")]),
    ("compression.gzip.level", &[same("compression.gzip.level")]),
    ("compression.lz4.level", &[same("compression.lz4.level")]),
    ("compression.type", &[same("compression.type")]),
    ("compression.zstd.level", &[same("compression.zstd.level")]),
    ("delete.retention.ms", &[same("log.cleaner.delete.retention.ms")]),
    ("file.delete.delay.ms", &[same("log.segment.delete.delay.ms")]),
    ("flush.messages", &[same("log.flush.interval.messages")]),
    ("flush.ms", &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")]),
    ("index.interval.bytes", &[same("log.index.interval.bytes")]),
    ("local.retention.bytes", &[same("log.local.retention.bytes")]),
    ("local.retention.ms", &[same("log.local.retention.ms")]),
    ("max.compaction.lag.ms", &[same("log.cleaner.max.compaction.lag.ms")]),
    ("max.message.bytes", &[same("message.max.bytes")]),
    ("message.timestamp.after.max.ms", &[same("log.message.timestamp.after.max.ms")]),
    ("message.timestamp.before.max.ms", &[same("log.message.timestamp.before.max.ms")]),
    ("message.timestamp.type", &[same("log.message.timestamp.type")]),
    ("min.cleanable.dirty.ratio", &[same("log.cleaner.min.cleanable.ratio")]),
    ("min.compaction.lag.ms", &[same("log.cleaner.min.compaction.lag.ms")]),
    ("min.insync.replicas", &[same("min.insync.replicas")]),
    ("preallocate", &[same("log.preallocate")]),
    ("retention.bytes", &[same("log.retention.bytes")]),
    ("retention.ms", &[same("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")]),
    ("segment.bytes", &[same("log.segment.bytes")]),
    ("segment.index.bytes", &[same("log.index.size.max.bytes")]),
    ("segment.jitter.ms", &[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")]),
    ("segment.ms", &[same("log.roll.ms"), hours("log.roll.hours")]),
    ("unclean.leader.election.enable", &[same("unclean.leader.election.enable")]),
];

/// The broker keys that stand in for a topic key, in order; none for a key that only topics have.
pub fn synonyms(topic_key: &str) -> &'static [Synonym] {
    SYNONYMS.iter().find(|(name, _)| *name == topic_key).map_or(&[], |(_, synonyms)| synonyms)
}

/// The broker keys that give the same setting in other units, the strongest first and this one among them
/// (`DynamicBrokerConfig.brokerConfigSynonyms`).
pub fn alternatives(broker_key: &'static str) -> Vec<&'static str> {
    let of = |synonyms: &[Synonym]| synonyms.len() > 1 && synonyms.iter().any(|synonym| synonym.name == broker_key);
    match SYNONYMS.iter().find(|(_, synonyms)| of(synonyms)) {
        // The scheduler's interval only stands in for the other one.
        Some((_, synonyms)) if broker_key != "log.flush.scheduler.interval.ms" => {
            synonyms.iter().map(|synonym| synonym.name).collect()
        }
        Some(_) | None => vec![broker_key],
    }
}

/// The topic keys that a broker key stands in for.
pub fn stands_in_for(broker_key: &str) -> impl Iterator<Item = &'static str> {
    let of = move |synonyms: &[Synonym]| synonyms.iter().any(|synonym| synonym.name == broker_key);
    SYNONYMS.iter().filter(move |(_, synonyms)| of(synonyms)).map(|(name, _)| *name)
}
