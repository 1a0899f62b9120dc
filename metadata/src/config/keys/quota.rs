//! Pure. Broker keys that exist as dynamic settings only, beside Kafka's `KafkaConfig` (`QuotaConfig.brokerQuotaConfigs`).
//!
//! `kafka-reassign-partitions --throttle` sets them. Internal here: they are told of only where they were given.

use super::{Check::*, Key, Kind::*, Treatment, keys};

keys! { KEYS
    internal honoured "follower.replication.throttled.rate", Long, Some("9223372036854775807"), AtLeast(0),
        "How many bytes a second throttled followers copy at most.";
    internal honoured "leader.replication.throttled.rate", Long, Some("9223372036854775807"), AtLeast(0),
        "How many bytes a second throttled leaders give at most.";
    internal honoured "replica.alter.log.dirs.io.max.bytes.per.second", Long, Some("9223372036854775807"), AtLeast(0),
        "How fast replicas move between directories at most, in bytes a second.";
}
