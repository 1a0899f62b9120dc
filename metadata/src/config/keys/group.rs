//! Pure. Group keys of Kafka 4.1.0 (KIP-848 and later).

use super::{Check::*, Key, Kind::*, Treatment, keys};

keys! { KEYS
    public ignored "consumer.heartbeat.interval.ms", Int, Some("5000"), AtLeast(1),
        "How often a member is told to report.";
    public ignored "consumer.session.timeout.ms", Int, Some("45000"), AtLeast(1), "How long a member may be silent.";
    public ignored "share.auto.offset.reset", Text, Some("latest"), Any, "";
    public ignored "share.heartbeat.interval.ms", Int, Some("5000"), Any, "";
    public ignored "share.isolation.level", Text, Some("read_uncommitted"), Any, "";
    public ignored "share.record.lock.duration.ms", Int, Some("30000"), Any, "";
    public ignored "share.session.timeout.ms", Int, Some("45000"), Any, "";
    public ignored "streams.heartbeat.interval.ms", Int, Some("5000"), Any, "";
    public ignored "streams.num.standby.replicas", Int, Some("0"), Any, "";
    public ignored "streams.session.timeout.ms", Int, Some("45000"), Any, "";
}
