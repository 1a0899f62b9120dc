//! Claims about the settings of a topic.

use super::*;
use crate::image::tests::Story;
use crate::record::{ConfigResource, Record};

fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_topic_that_says_nothing_has_kafkas_defaults() {
    insta::assert_debug_snapshot!(TopicConfig::resolve(&Image::default(), &Properties::new(), "orders"), @"
    TopicConfig {
        cleanup_policy: CleanupPolicy {
            delete: true,
            compact: false,
        },
        compression_type: Producer,
        compression_gzip_level: -1,
        compression_lz4_level: 9,
        compression_zstd_level: 3,
        delete_retention_ms: 86400000,
        file_delete_delay_ms: 60000,
        flush_messages: 9223372036854775807,
        flush_ms: 9223372036854775807,
        follower_throttled_replicas: Of(
            {},
        ),
        index_interval_bytes: 4096,
        leader_throttled_replicas: Of(
            {},
        ),
        max_compaction_lag_ms: 9223372036854775807,
        max_message_bytes: 1048588,
        message_timestamp_after_max_ms: 3600000,
        message_timestamp_before_max_ms: 9223372036854775807,
        message_timestamp_type: CreateTime,
        min_cleanable_dirty_ratio: 0.5,
        min_compaction_lag_ms: 0,
        min_insync_replicas: 1,
        preallocate: false,
        producer_id_expiration_ms: 86400000,
        retention_bytes: None,
        retention_ms: Some(
            604800000,
        ),
        segment_bytes: 1073741824,
        segment_index_bytes: 10485760,
        segment_jitter_ms: 0,
        segment_ms: 604800000,
        unclean_leader_election_enable: false,
    }
    ");
}

#[test]
fn what_a_topic_says_holds() {
    let set = |name: &str, value: &str| Record::Config {
        resource: ConfigResource::Topic("orders".into()),
        name: name.into(),
        value: Some(value.into()),
    };
    let image = Story::default()
        .record(set("retention.ms", "-1"))
        .record(set("retention.bytes", "1000"))
        .record(set("cleanup.policy", "compact,delete"))
        .record(set("min.insync.replicas", "2"))
        .record(set("internal.segment.bytes", "512"))
        .record(set("compression.type", "zstd"))
        .0;
    let config = TopicConfig::resolve(&image, &Properties::new(), "orders");
    assert_eq!((config.retention_ms, config.retention_bytes), (None, Some(1000)));
    assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: true });
    assert_eq!(config.segment_bytes, 512);
    assert_eq!(config.compression_type, CompressionType::Zstd);
    assert_eq!((config.effective_min_isr(3), config.effective_min_isr(1)), (2, 1));
}

#[test]
fn throttled_replicas_are_pairs_or_all() {
    let named = |text: &str| {
        let replicas = throttled_replicas(text);
        [(0, 1), (1, 2), (1, 1)]
            .map(|(partition, broker)| replicas.contains(PartitionIndex(partition), BrokerId(broker)))
    };
    assert_eq!(named(""), [false, false, false]);
    assert_eq!(named("*"), [true, true, true]);
    assert_eq!(named("0:1, 1:2"), [true, true, false]);
    assert_eq!(named("0:99999999999,1:1"), [false, false, true]);
}

#[test]
fn settings_that_a_topic_cannot_have_are_refused() {
    let refusal = |pairs: &[(&str, &str)]| validate(&settings(pairs)).expect_err("refused").to_string();
    let refusals = [
        refusal(&[("retention.msec", "1")]),
        refusal(&[("retention.ms", "one")]),
        refusal(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]),
        refusal(&[("remote.storage.enable", "true")]),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @"
    Unknown topic config name: retention.msec (did you mean retention.ms?)
    Invalid value one for configuration retention.ms: Not a number of type LONG
    conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)
    Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.
    ");
    assert_eq!(validate(&settings(&[("retention.ms", "1"), ("remote.storage.enable", "false")])), Ok(()));
}
