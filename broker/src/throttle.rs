//! How fast replication may be for the replicas that a topic names (KIP-73), and how fast replicas may move between log
//! directories (KIP-113).
//!
//! It never waits: it says whether a rate is used up, and whoever asked leaves the partition out for a little. Asked by
//! `partition` on the leader's side and by `replication` on the follower's (`ReplicationQuotaManager`).

pub mod meter;

use metadata::config::Properties;
use meter::Meter;
use protocol::ids::MonotonicMillis;
use runtime::sync::Lock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The rank of a meter's lock: taken under a partition's, and none under it.
const RANK: u8 = 21;

/// One rate, and how much of it is used.
pub struct Throttle {
    bytes_per_second: AtomicU64,
    used: Lock<Meter>,
}

/// The throttles of a broker.
pub struct Throttles {
    /// What leaders send to followers that are not in sync.
    pub leaders: Throttle,
    /// What followers copy that are not in sync.
    pub followers: Throttle,
    /// What is copied from one directory to another.
    pub moves: Throttle,
}

impl Throttle {
    fn new(properties: &Properties, windows: &str, window_seconds: &str) -> Self {
        let windows = usize::try_from(properties.long(windows)).unwrap_or(usize::MAX);
        let meter = Meter::new(windows, properties.unsigned(window_seconds).saturating_mul(1_000));
        Self { bytes_per_second: AtomicU64::new(u64::MAX), used: Lock::new(RANK, meter) }
    }

    /// Sets the rate, in bytes a second.
    pub fn set_rate(&self, bytes_per_second: u64) {
        self.bytes_per_second.store(bytes_per_second, Ordering::Relaxed);
    }

    /// So many throttled bytes went by.
    pub fn record(&self, bytes: u64, now: MonotonicMillis) {
        self.used.lock().record(bytes, now);
    }

    /// Whether more went by than may.
    pub fn is_exceeded(&self, now: MonotonicMillis) -> bool {
        self.used.lock().exceeds(self.bytes_per_second.load(Ordering::Relaxed), now)
    }
}

impl Throttles {
    /// Without limits, until the metadata sets some.
    pub fn new(properties: &Properties) -> Self {
        let throttle =
            || Throttle::new(properties, "replication.quota.window.num", "replication.quota.window.size.seconds");
        let moves = Throttle::new(
            properties,
            "alter.log.dirs.replication.quota.window.num",
            "alter.log.dirs.replication.quota.window.size.seconds",
        );
        Self { leaders: throttle(), followers: throttle(), moves }
    }
}
