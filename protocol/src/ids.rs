//! Pure. Kafka's nouns as types, so that no bare integer crosses a function boundary.
//!
//! Each is a transparent wrapper: ordered, copied, printed as its number. Which epoch is meant is always said by the type.

use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Declares a newtype over an integer with the traits that every noun has.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number!(
    /// A node of the cluster, broker or controller: `node.id`.
    BrokerId(i32)
);
number!(
    /// A partition's index within its topic.
    PartitionIndex(i32)
);
number!(
    /// A position in a partition's log, counted in records.
    Offset(i64)
);
number!(
    /// Rises with each change of a partition's leader; stamped into each batch.
    LeaderEpoch(i32)
);
number!(
    /// Rises with each change of a partition's metadata, whether the leader changed or not.
    PartitionEpoch(i32)
);
number!(
    /// The metadata offset of a broker's registration: names one life of one broker (KIP-841, KIP-903).
    BrokerEpoch(i64)
);
number!(
    /// Names an idempotent or transactional producer (KIP-98).
    ProducerId(i64)
);
number!(
    /// Rises when a producer id is taken over or bumped (KIP-98, KIP-360).
    ProducerEpoch(i16)
);
number!(
    /// The position of a record in what one producer sends to one partition; wraps to zero after 2^31-1.
    Sequence(i32)
);
number!(
    /// The ordinal of a record in the cluster's metadata log. Not a Raft index: one entry may hold several records.
    MetadataOffset(i64)
);
number!(
    /// Milliseconds on a node's monotonic clock. Never sent, never stored, never compared between nodes.
    MonotonicMillis(u64)
);
number!(
    /// Milliseconds since 1970 on a wall clock, which may be wrong and may jump. What Kafka means by a timestamp.
    WallMillis(i64)
);

impl BrokerId {
    /// "No broker" on the wire.
    pub const NONE: Self = Self(-1);

    /// From the wire, where a negative id means none.
    pub fn from_wire(id: i32) -> Option<Self> {
        (id >= 0).then_some(Self(id))
    }
}

impl Offset {
    /// The first offset of an empty log.
    pub const ZERO: Self = Self(0);
    /// "No offset" on the wire.
    pub const UNKNOWN: Self = Self(-1);

    /// The offset `count` records further on.
    #[must_use]
    pub fn plus(self, count: i64) -> Self {
        Self(self.0 + count)
    }
}

impl LeaderEpoch {
    /// "No leader epoch" on the wire.
    pub const UNKNOWN: Self = Self(-1);

    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl PartitionEpoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl BrokerEpoch {
    /// "No broker epoch" on the wire.
    pub const UNKNOWN: Self = Self(-1);
}

impl ProducerId {
    /// The producer of batches that are neither idempotent nor transactional.
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// The epoch of batches that are neither idempotent nor transactional.
    pub const NONE: Self = Self(-1);
}

impl Sequence {
    /// The sequence of batches that are neither idempotent nor transactional.
    pub const NONE: Self = Self(-1);

    /// The sequence `count` records further on; 2^31-1 is followed by zero (`DefaultRecordBatch.incrementSequence`).
    #[must_use]
    pub fn plus(self, count: i32) -> Self {
        Self(((i64::from(self.0) + i64::from(count)) & i64::from(i32::MAX)) as i32)
    }
}

impl MetadataOffset {
    /// The metadata offset after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl MonotonicMillis {
    /// Milliseconds from `earlier` to this, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The instant `millis` later.
    #[must_use]
    pub fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// Declares a newtype over a UUID, printed as Kafka prints one: URL-safe base64 of its 16 bytes, 22 characters.
macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Uuid);
        impl $name {
            /// The id that names nothing: all zeroes.
            pub const ZERO: Self = Self(Uuid::nil());

            /// Reads Kafka's 22 characters.
            pub fn parse(text: &str) -> Option<Self> {
                base64_decode(text).map(|bytes| Self(Uuid::from_bytes(bytes)))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base64_encode(self.0.as_bytes()))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl From<Uuid> for $name {
            fn from(value: Uuid) -> Self {
                Self(value)
            }
        }
    };
}

identity!(
    /// A topic's identity (KIP-516). A topic that is deleted and created again has another.
    TopicId
);
identity!(
    /// A log directory's identity, kept in its `meta.properties` (KIP-858).
    DirectoryId
);
impl DirectoryId {
    /// Of a replica whose records are nowhere on its broker any more (`DirectoryId.LOST`).
    pub const LOST: Self = Self(Uuid::from_u128(1));

    /// Whether it names a directory, rather than that none was chosen or that it is lost.
    pub fn is_chosen(self) -> bool {
        self != Self::ZERO && self != Self::LOST
    }
}

identity!(
    /// One start of one broker process (KIP-631).
    IncarnationId
);
identity!(
    /// The cluster's identity: 16 bytes, as `kafka-storage random-uuid` prints them.
    ClusterUuid
);

/// A partition, by the identity of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's identity; its name is for the edge only.
    pub topic_id: TopicId,
    /// Which of the topic's partitions.
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic_id, self.partition)
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64_encode(bytes: &[u8; 16]) -> String {
    let bits = u128::from_be_bytes(*bytes);
    // 22 digits of six bits hold 132 bits: the last digit carries two bits of the number, then four zeroes.
    let digit = |at: u32| if at < 21 { (bits >> (122 - 6 * at)) & 63 } else { (bits & 3) << 4 };
    (0..22).map(|at| char::from(ALPHABET[digit(at) as usize])).collect()
}

fn base64_decode(text: &str) -> Option<[u8; 16]> {
    if text.len() != 22 {
        return None;
    }
    let mut bits = 0u128;
    for (at, symbol) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|known| *known == symbol)? as u128;
        if at < 21 {
            bits |= digit << (122 - 6 * at);
        } else if digit & 15 == 0 {
            bits |= digit >> 4;
        } else {
            return None;
        }
    }
    Some(bits.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_topic_id_prints_as_kafka_prints_it() {
        let id = TopicId(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        assert_eq!(id.to_string(), "ASNFZ4mrze8BI0VniavN7w");
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn a_sequence_wraps_to_zero() {
        assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).plus(3), Sequence(1));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bits: u128) {
            let id = TopicId(Uuid::from_u128(bits));
            prop_assert_eq!(TopicId::parse(&id.to_string()), Some(id));
        }

        #[test]
        fn other_text_is_refused_or_canonical(text in "[A-Za-z0-9_-]{22}") {
            if let Some(id) = TopicId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
