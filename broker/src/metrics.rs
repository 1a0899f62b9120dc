//! What a broker counts while it works: one relaxed addition where the thing happens, and no lock.
//!
//! Everything that can be looked up when somebody asks is not counted here: see `report`.

use protocol::api::{API_TABLE, Api};
use std::sync::atomic::{AtomicU64, Ordering};

/// Keys below this are Kafka's own.
const KAFKA_KEYS: usize = 128;
/// From here on keys are gregor's.
const OWN_KEYS_FROM: i16 = 20_000;
const OWN_KEYS: usize = 16;

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds so many.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What went through one replica since it was opened.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Records that producers wrote (`BrokerTopicMetrics.MessagesInPerSec`).
    pub messages_in: Counter,
    /// Bytes of the batches that producers wrote.
    pub bytes_in: Counter,
    /// Bytes of records that consumers were sent.
    pub bytes_out: Counter,
    /// Bytes of batches that came from the leader.
    pub replication_bytes_in: Counter,
    /// Bytes of records that followers were sent.
    pub replication_bytes_out: Counter,
    /// Batches of producers that were refused.
    pub failed_produces: Counter,
    /// Reads of consumers that were refused.
    pub failed_fetches: Counter,
}

/// What belongs to no partition.
#[derive(Debug)]
pub struct Metrics {
    requests: Vec<Counter>,
    /// Connections that were accepted.
    pub connections: Counter,
    /// Connections that have ended.
    pub connections_ended: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let requests = (0..KAFKA_KEYS + OWN_KEYS).map(|_| Counter::default()).collect();
        Self { requests, connections: Counter::default(), connections_ended: Counter::default() }
    }
}

impl Metrics {
    /// A request of this API is about to be handled.
    pub fn request(&self, api: &Api) {
        if let Some(counter) = self.requests.get(slot(api)) {
            counter.add(1);
        }
    }

    /// How many requests each API has had; those that had none are left out.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = API_TABLE.iter().map(|api| (api.name, self.requests.get(slot(api)).map_or(0, Counter::get)));
        counts.filter(|(_, count)| *count > 0)
    }
}

fn slot(api: &Api) -> usize {
    let key = api.key.0;
    let place = if key < OWN_KEYS_FROM { i32::from(key) } else { KAFKA_KEYS as i32 + i32::from(key - OWN_KEYS_FROM) };
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_api_has_a_counter_of_its_own() {
        let metrics = Metrics::default();
        let slots: BTreeSet<usize> = API_TABLE.iter().map(slot).collect();
        assert_eq!(slots.len(), API_TABLE.len());
        for api in API_TABLE {
            metrics.request(api);
        }
        assert!(metrics.requests().eq(API_TABLE.iter().map(|api| (api.name, 1))));
    }
}
