//! Pure. Which partition a record goes to when its sender names none.
//!
//! A key decides by its hash, as in Java's client. Without a key, records stick to one partition until a batch's worth of
//! bytes has gone there, then move to another (KIP-480, KIP-794 without its weights). Driven by `producer`.

use protocol::ids::PartitionIndex;
use protocol::record_batch::partition_for_key;

/// The partition that keyless records of one topic stick to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sticky {
    current: Option<PartitionIndex>,
    bytes: usize,
}

impl Sticky {
    /// The partition for a record of `bytes` without a key.
    ///
    /// A new one is drawn from what `led` tells, the partitions that have a leader, by `random`; from all `partitions` if none has.
    ///
    /// # Panics
    /// When `partitions` is not positive: a topic has at least one.
    pub fn choose(
        &mut self,
        partitions: i32,
        led: impl FnOnce() -> Vec<PartitionIndex>,
        bytes: usize,
        batch_bytes: usize,
        random: u64,
    ) -> PartitionIndex {
        assert!(partitions > 0, "a topic has at least one partition, not {partitions}");
        let draw = |from: u64| random % from;
        let current = self.current.filter(|_| self.bytes < batch_bytes).unwrap_or_else(|| {
            self.bytes = 0;
            let led = led();
            match led.len() {
                0 => PartitionIndex(draw(partitions as u64) as i32),
                led_count => led[draw(led_count as u64) as usize],
            }
        });
        self.current = Some(current);
        self.bytes += bytes;
        current
    }
}

/// The partition of a record with a key: the positive murmur2 hash of the key, modulo all partitions, led or not.
pub fn for_key(key: &[u8], partitions: i32) -> PartitionIndex {
    partition_for_key(key, partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led() -> Vec<PartitionIndex> {
        vec![PartitionIndex(1), PartitionIndex(3)]
    }

    #[test]
    fn keyless_records_stick_until_a_batch_is_full() {
        let mut sticky = Sticky::default();
        let chosen = [0, 0, 1, 1, 1, 0, 0].map(|random| sticky.choose(4, led, 50, 100, random).0);
        assert_eq!(chosen, [1, 1, 3, 3, 3, 3, 1]);
    }

    #[test]
    fn a_topic_without_leaders_still_has_partitions() {
        assert_eq!(Sticky::default().choose(4, Vec::new, 1, 100, 6), PartitionIndex(2));
    }
}
