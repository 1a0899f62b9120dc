//! Pure. Which offset is the newest of each key, in a memory that is fixed beforehand.
//!
//! Keys are known by sixteen bytes of their SHA-256, as Kafka's `SkimpyOffsetMap` knows them by their MD5: two keys that
//! were taken for one would lose a record, so the hash must be one for which nobody can find two.

use protocol::ids::Offset;
use sha2::{Digest, Sha256};

const HASH_BYTES: usize = 16;

#[derive(Clone, Copy)]
struct Slot {
    hash: [u8; HASH_BYTES],
    offset: Offset,
}

const EMPTY: Slot = Slot { hash: [0; HASH_BYTES], offset: Offset::UNKNOWN };

/// How many bytes a key takes.
pub(crate) const SLOT_BYTES: usize = size_of::<Slot>();

/// The newest offsets. Nothing is ever removed.
pub(crate) struct OffsetMap {
    slots: Vec<Slot>,
    keys: usize,
    keys_max: usize,
    /// Up to where every key is in the map, inclusive.
    latest: Offset,
}

impl OffsetMap {
    /// Room for so many keys, at most `memory` bytes filled to `load_factor`. At least one key always fits.
    pub fn new(memory: u64, load_factor: f64, keys_max: u64) -> Self {
        let affordable = (memory / SLOT_BYTES as u64).max(2);
        let wanted = (keys_max as f64 / load_factor.clamp(0.01, 1.0)) as u64 + 2;
        let slots = usize::try_from(affordable.min(wanted)).unwrap_or(usize::MAX);
        let keys_max = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        Self { slots: vec![EMPTY; slots], keys: 0, keys_max, latest: Offset::UNKNOWN }
    }

    /// Up to where every key is in the map, inclusive; nothing of what lies above is known.
    pub fn latest(&self) -> Offset {
        self.latest
    }

    /// Notes that every key up to this offset is in the map.
    pub fn reached(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }

    /// The newest offset of a key, if it is in the map.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = &self.slots[self.find(&hash(key))];
        (slot.offset != Offset::UNKNOWN).then_some(slot.offset)
    }

    /// Notes a key's offset, which is newer than all before. Answers no, and does nothing, where there is no room for
    /// another key.
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = hash(key);
        let at = self.find(&hash);
        if self.slots[at].offset == Offset::UNKNOWN {
            if self.keys >= self.keys_max {
                return false;
            }
            self.keys += 1;
        }
        self.slots[at] = Slot { hash, offset };
        self.reached(offset);
        true
    }

    /// Where a hash is, or would be. There is always an empty slot.
    fn find(&self, hash: &[u8; HASH_BYTES]) -> usize {
        let start = u64::from_be_bytes(hash[..8].try_into().expect("eight bytes"));
        let mut at = (start % self.slots.len() as u64) as usize;
        while self.slots[at].offset != Offset::UNKNOWN && self.slots[at].hash != *hash {
            at = (at + 1) % self.slots.len();
        }
        at
    }
}

fn hash(key: &[u8]) -> [u8; HASH_BYTES] {
    Sha256::digest(key)[..HASH_BYTES].try_into().expect("a digest is longer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_key_takes_twenty_four_bytes_as_kafkas_does() {
        assert_eq!(SLOT_BYTES, 24);
    }

    proptest! {
        #[test]
        fn it_is_a_map_until_it_is_full(
            keys in prop::collection::vec(prop::collection::vec(0..4u8, 0..3), 1..80), memory in 0..2000u64, keys_max in 0..100u64,
        ) {
            let (mut map, mut model) = (OffsetMap::new(memory, 0.9, keys_max), BTreeMap::new());
            prop_assert!(map.slots.len() * SLOT_BYTES <= (memory as usize).max(2 * SLOT_BYTES));
            for (at, key) in keys.iter().enumerate() {
                let offset = Offset(at as i64 * 3);
                if map.put(key, offset) {
                    model.insert(key.clone(), offset);
                    prop_assert_eq!(map.latest(), offset);
                } else {
                    prop_assert!(!model.contains_key(key));
                    prop_assert!(!model.is_empty());
                }
                for key in &keys {
                    prop_assert_eq!(map.get(key), model.get(key).copied());
                }
            }
            let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
            if memory > 100 * 30 && keys_max as usize >= distinct.len() {
                prop_assert_eq!(model.len(), distinct.len());
            }
        }

        #[test]
        fn as_many_keys_fit_as_were_asked_for(keys_max in 1..500u64) {
            let mut map = OffsetMap::new(1 << 20, 0.9, keys_max);
            for at in 0..keys_max {
                prop_assert!(map.put(&at.to_be_bytes(), Offset(at as i64)));
            }
        }
    }
}
